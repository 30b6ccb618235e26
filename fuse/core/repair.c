/*
 * repair.c - a map made anew from its chunk files (repair.h).
 *
 * For a map page that neither copy of verifies: of the chunk files of its range
 * those that were made for the layer, as the superblock says that verifies
 * under its DK, or else for one that is no more and may have been merged into
 * it; but none that another layer's map names.  What was made for a layer that
 * is there, and is named by none, a crash has left of that.  Where a chunk has
 * several (one was written under a new salt, or a crash came before the old one
 * was removed), the one whose pages were written in the latest session is
 * taken.
 *
 * Where such a page of another layer of the lineage is lost as well, each gets
 * the files that were made for it.  One that was made for a layer which is no
 * more, or which has it no more, has passed to one of them, and which that is
 * cannot be known.
 *
 * A superblock that is damaged will do if the file's pages verify by the salt
 * in it.  If they do not, or it is not known whose the chunk is, the map names
 * it all the same, by as much of the salt as its name has: it cannot be read,
 * but nobody takes zeros, or what lies below, for what it held.
 *
 * A root page is the set of map pages that the file then has.
 *
 * After an unclean stop one copy that can be read, beside one that cannot, may
 * be the older one: what it says is put together with what there is of files.
 * Of a group nothing else says anything, but its blocks have tags: that copy is
 * taken, and what it has otherwise than the other is older, or does not verify.
 */
#include "repair.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <sealdisk/log.h>

#include "repair_private.h"

static void
repair_done(struct repair *rp)
{
	store_close(rp->map);
	chunk_set_done(&rp->others);
	for (size_t i = 0; i < LINEAGES_MAX; i++)
		store_unlock(rp->lineages[i]);
	lineages_unlock(&rp->writers);
	layers_done(&rp->layers);
	layers_done(&rp->live);
	store_unlock(rp->lock);
	if (rp->dks)
		secret_free(rp->dks, rp->desc.n_keys * sizeof(*rp->dks));
	key_wipe(&rp->map_key);
}

/* ---- pages ---- */

/* Whether the copies of each page are known to have been equal. */
static bool
is_at_rest(const struct repair *rp)
{
	if (rp->meta.state == LAYER_OPEN)
		return rp->desc.type == DESC_DISK && rp->desc.clean &&
		       uuid_equal(&rp->ref.layer, &rp->desc.layer.layer);
	return rp->meta.state == LAYER_SEALED;
}

int
repair_page(struct repair *rp, enum page_kind kind, uint64_t n,
	    union page_body *ret, struct page_taken *ret_taken)
{
	uint64_t base = kind == PAGE_MAP ? MAP_OFFSET : 0;
	struct page_taken *t = ret_taken;
	uint8_t raw[PAGE_LEN];
	bool there = false, unread = false;
	union page_body body;
	struct page_head h;
	int r;

	memset(t, 0, sizeof(*t));
	for (unsigned i = 0; i < 2; i++) {
		r = rp->map->st->ops->read(rp->map, raw, PAGE_LEN,
					   base + page_offset(n, i));
		if (r < 0 && r != -ENODATA && !disk_is_damage(r))
			return r;
		unread |= r < 0 && r != -ENODATA;
		if (r < 0 ||
		    page_decode(raw, rp->map_key.bytes, kind, n, &h, &body) <
			0 ||
		    (there && !page_newer(&h, &t->head)))
			continue;
		there = true;
		t->copy = i;
		t->head = h;
		memcpy(t->mac, raw + PAGE_MAC, sizeof(t->mac));
		*ret = body;
	}
	return there && unread && !is_at_rest(rp) ? PAGE_IN_PART : there;
}

/* ${old} stays until the other copy, newer than it and in its home, is durable:
 * of two that a power cut tears none is left. */
static int
write_page(struct repair *rp, enum page_kind kind, uint64_t n,
	   const struct page_taken *old, const union page_body *body)
{
	uint64_t base = kind == PAGE_MAP ? MAP_OFFSET : 0;
	struct page_head h = {
		kind, n, old->head.generation + 1, rp->desc.session, 0, 0
	};
	unsigned first = old->head.generation > 0 ? !old->copy : 1;
	const struct store_ops *ops = rp->map->st->ops;
	uint8_t raw[PAGE_LEN];
	int r;

	if (page_home(h.generation) != first)
		h.generation++;
	if (h.session < old->head.session)
		h.session = old->head.session;
	r = page_encode(&h, body, rp->map_key.bytes, raw);
	if (r == 0)
		r = ops->write(rp->map, raw, PAGE_LEN,
			       base + page_offset(n, first));
	if (r == 0 && old->head.generation > 0)
		r = ops->sync(rp->map);
	if (r == 0)
		r = ops->write(rp->map, raw, PAGE_LEN,
			       base + page_offset(n, !first));
	rp->report.pages += r == 0;
	return r;
}

/* Those of rp->asked, which are absent, of what there is of files. */
static int
fill_page(struct repair *rp)
{
	int r;

	memset(rp->several, 0, sizeof(rp->several));
	r = each_chunk_file_near(rp->e->st, &rp->ref.lineage,
				 rp->page * MAP_CHUNKS, repair_consider, rp);
	for (unsigned i = 0; r == 0 && i < MAP_CHUNKS; i++) {
		bool taken = rp->asked[i] &&
			     rp->body.entry[i].state == ENTRY_DATA;

		rp->report.chunks += taken;
		rp->report.doubtful += rp->several[i];
		rp->report.unreadable += taken && rp->rank[i] == NOT_READ;
	}
	return r;
}

/* ${older}, or NULL: what ${old} says, which need not be the newer copy. */
static int
make_map_page(struct repair *rp, uint64_t n, const struct page_taken *old,
	      const union page_body *older)
{
	int r;

	rp->page = n;
	memset(&rp->body, 0, sizeof(rp->body));
	memset(rp->asked, true, sizeof(rp->asked));
	r = fill_page(rp);
	for (unsigned i = 0; older && i < MAP_CHUNKS; i++)
		if (rp->body.entry[i].state == ENTRY_ABSENT)
			rp->body.entry[i] = older->entry[i];
	return r < 0 ? r : write_page(rp, PAGE_MAP, n, old, &rp->body);
}

static bool
is_half(const struct entry *e)
{
	static const uint8_t none[8];

	return e->state == ENTRY_DATA &&
	       memcmp(e->unique + 4, none, sizeof(none)) == 0;
}

/* A page that has files by their names alone: they may be there again. */
static int
complete_page(struct repair *rp, uint64_t n, const struct page_taken *old,
	      const union page_body *body)
{
	unsigned half = 0, left = 0;
	int r;

	rp->page = n;
	rp->body = *body;
	for (unsigned i = 0; i < MAP_CHUNKS; i++) {
		rp->asked[i] = is_half(&body->entry[i]);
		half += rp->asked[i];
		if (rp->asked[i])
			memset(&rp->body.entry[i], 0,
			       sizeof(rp->body.entry[i]));
	}
	if (half == 0)
		return 0;
	r = fill_page(rp);
	for (unsigned i = 0; i < MAP_CHUNKS; i++) {
		/* What is not there at all is still what is missing. */
		if (rp->asked[i] && rp->body.entry[i].state != ENTRY_DATA)
			rp->body.entry[i] = body->entry[i];
		left += is_half(&rp->body.entry[i]);
	}
	return r < 0 || left == half
		   ? r
		   : write_page(rp, PAGE_MAP, n, old, &rp->body);
}

/* ---- a root page ---- */

struct bits {
	struct repair *rp;
	unsigned root;
	union page_body *body;
};

static void
set_bit(union page_body *b, unsigned bit)
{
	b->bitmap[bit / 8] |= (uint8_t)(1U << (bit % 8));
}

static int
add_file(const char *path, uint64_t index, const uint8_t salt[static 4],
	 void *arg)
{
	struct bits *b = arg;
	uint64_t n = index / MAP_CHUNKS;

	(void)path;
	if (n / ROOT_BITS == b->root &&
	    chunk_set_ask(&b->rp->others, index, salt) != CLAIM_SURE)
		set_bit(b->body, (unsigned)(n % ROOT_BITS));
	return 0;
}

/* The map pages that are there, and those that files need. */
static int
make_root(struct repair *rp, unsigned root, union page_body *ret)
{
	struct bits b = { rp, root, ret };
	struct page_taken t;
	union page_body body;
	uint64_t len, n;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = rp->map->st->ops->size(rp->map, &len);
	if (r < 0)
		return r;
	for (unsigned bit = 0; bit < ROOT_BITS; bit++) {
		n = (uint64_t)root * ROOT_BITS + bit;
		if (MAP_OFFSET + page_offset(n, 0) >= len)
			break;
		r = repair_page(rp, PAGE_MAP, n, &body, &t);
		if (r < 0)
			return r;
		if (r > 0)
			set_bit(ret, bit);
	}
	return each_chunk_file(rp->e->st, &rp->ref.lineage, add_file, &b);
}

static int
repair_root(struct repair *rp, unsigned root)
{
	union page_body body, page, older;
	struct page_taken old, t;
	bool lost;
	int r;

	memset(&older, 0, sizeof(older));
	r = repair_page(rp, PAGE_ROOT, root, &body, &old);
	lost = r == 0 || r == PAGE_IN_PART;
	if (r == PAGE_IN_PART)
		older = body;
	if (lost)
		r = make_root(rp, root, &body);
	for (unsigned i = 0; i < sizeof(older.bitmap); i++)
		body.bitmap[i] |= older.bitmap[i];
	for (unsigned bit = 0; r >= 0 && bit < ROOT_BITS; bit++) {
		uint64_t n = (uint64_t)root * ROOT_BITS + bit;

		if (!(body.bitmap[bit / 8] >> (bit % 8) & 1))
			continue;
		r = repair_page(rp, PAGE_MAP, n, &page, &t);
		if (r == 0)
			r = make_map_page(rp, n, &t, NULL);
		else if (r == PAGE_IN_PART)
			r = make_map_page(rp, n, &t, &page);
		else if (r > 0)
			r = complete_page(rp, n, &t, &page);
	}
	/* What it names is durable before it is. */
	if (r >= 0 && lost)
		r = rp->map->st->ops->sync(rp->map);
	if (r >= 0 && lost)
		r = write_page(rp, PAGE_ROOT, root, &old, &body);
	return r < 0 ? r : 0;
}

/* ---- groups ---- */

static int
repair_groups(struct repair *rp)
{
	union page_body root;
	struct page_taken t;
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < ROOTS; i++) {
		r = repair_page(rp, PAGE_ROOT, i, &root, &t);
		for (unsigned bit = 0; r > 0 && bit < ROOT_BITS; bit++) {
			if (!(root.bitmap[bit / 8] >> (bit % 8) & 1))
				continue;
			rp->page = (uint64_t)i * ROOT_BITS + bit;
			r = repair_page(rp, PAGE_MAP, rp->page, &rp->body, &t);
			if (r > 0)
				r = each_chunk_file_near(rp->e->st,
							 &rp->ref.lineage,
							 rp->page * MAP_CHUNKS,
							 repair_mend_groups,
							 rp);
			r = r < 0 ? r : 1;
		}
	}
	return r < 0 ? r : 0;
}

/* ---- a layer ---- */

static int
open_map(struct repair *rp)
{
	struct store *st = rp->e->st;
	char path[STORE_PATH_LEN];
	int r;

	store_close(rp->map);
	rp->map = NULL;
	path_layer(&rp->ref, "map", path);
	r = st->ops->open(st, path, true, &rp->map);
	if (r == -EISDIR)
		r = st->ops->remove(st, path) ?: -ENOENT;
	if (r == -ENOENT)
		r = st->ops->create(st, path, &rp->map);
	if (r < 0 && !err_is_shortage(r))
		repair_names(rp, path);
	return r;
}

/* As far as they can be read. */
static int
find_layers(struct repair *rp)
{
	CLEANUP(names_done) struct names n = { 0 };
	struct layer_ref ref = { .lineage = rp->ref.lineage };
	char path[STORE_PATH_LEN];
	struct layer_meta m;
	int r;

	layers_done(&rp->layers);
	path_lineage(&ref.lineage, "layers", path);
	r = names_list(rp->e->st, path, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		if (uuid_parse(n.v[i], &ref.layer) < 0 ||
		    uuid_equal(&ref.layer, &rp->ref.layer))
			continue;
		r = layer_peek(rp->e->st, &ref, &m);
		if (r == 0)
			r = layers_put(&rp->layers, &m);
		else if (!err_is_shortage(r))
			r = layers_add(&rp->layers, &ref.layer);
	}
	return r;
}

static int
find_live(struct repair *rp)
{
	CLEANUP(census_done) struct census c = { .n = 0 };
	bool alive;
	int r;

	layers_done(&rp->live);
	r = catalog_census(rp->e->cat, &c);
	if (r == 0 && c.bad)
		r = -EUCLEAN;
	if (r == 0)
		r = layers_reached(rp->e->st, &c, &rp->live);
	if (r == 0)
		r = receiving_reached(rp->e->st, &rp->ref.lineage, &rp->live,
				      &alive);
	rp->live_known = r == 0;
	return err_is_shortage(r) ? r : 0;
}

bool
repair_is_dead(const struct repair *rp, const struct uuid *layer)
{
	return rp->live_known && !layers_has(&rp->live, layer);
}

bool
repair_has_ended(const struct repair *rp, const struct layer_meta *m)
{
	bool needed = rp->meta.has_parent &&
		      uuid_equal(&rp->meta.parent.layer, &m->uuid);

	for (size_t i = 0; !needed && i < rp->layers.n; i++)
		needed = rp->layers.v[i].has_parent &&
			 uuid_equal(&rp->layers.v[i].parent.layer, &m->uuid);
	return m->state == LAYER_MERGING && !needed;
}

/* Chunks that the maps of all other layers of the lineage name. */
static int
find_others(struct repair *rp)
{
	int r = find_layers(rp) ?: find_live(rp);

	chunk_set_clear(&rp->others);
	for (size_t i = 0; r == 0 && i < rp->layers.n; i++) {
		const struct layer_meta *m = &rp->layers.v[i];
		const struct layer_ref ref = { rp->ref.lineage, m->uuid };

		if (!repair_has_ended(rp, m))
			r = chunk_set_add_layer(&rp->others, rp->e->st, &ref,
						repair_is_dead(rp, &m->uuid));
	}
	chunk_set_sort(&rp->others);
	return r;
}

static bool
has_half(const union page_body *b)
{
	for (unsigned i = 0; i < MAP_CHUNKS; i++)
		if (is_half(&b->entry[i]))
			return true;
	return false;
}

/* Whether all of it can be read, and names all that it has: 1 or 0. */
static int
map_is_whole(struct repair *rp)
{
	union page_body body, page;
	struct page_taken t;
	int r = 1;

	for (unsigned i = 0; r == 1 && i < ROOTS; i++) {
		r = repair_page(rp, PAGE_ROOT, i, &body, &t);
		for (unsigned bit = 0; r == 1 && bit < ROOT_BITS; bit++) {
			if (!(body.bitmap[bit / 8] >> (bit % 8) & 1))
				continue;
			r = repair_page(rp, PAGE_MAP,
					(uint64_t)i * ROOT_BITS + bit, &page,
					&t);
			if (r == 1 && has_half(&page))
				r = 0;
		}
	}
	return r == PAGE_IN_PART ? 0 : r;
}

/* What the map was at the last checkpoint is what it cannot be again.  Said
 * before it is changed: who comes between finds a map that is damaged still. */
static int
give_up_checkpoint(struct repair *rp)
{
	const struct key *dk = NULL;
	char path[STORE_PATH_LEN];
	int r;

	if (rp->desc.type != DESC_DISK || digest_is_none(rp->desc.digest))
		return 0;
	for (size_t i = 0; i < rp->desc.n_keys; i++)
		if (uuid_equal(&rp->desc.keys[i].uuid, &rp->desc.key))
			dk = &rp->dks[i];
	checkpoint_clear(&rp->desc);
	/* What the key service knows of the session, if it does, is its end. */
	rp->desc.session++;
	r = dk ? catalog_save(rp->e->cat, &rp->desc, dk) : -EUCLEAN;
	/* Nor must who makes a lost descriptor anew hold it against the map. */
	path_layer(&rp->ref, "digests", path);
	if (r == 0)
		r = rp->e->st->ops->remove(rp->e->st, path);
	return r == -ENOENT ? 0 : r;
}

static int
repair_map(struct repair *rp)
{
	int r;

	rp->report.layers++;
	r = repair_load_layer(rp);
	if (r == 0)
		r = open_map(rp);
	if (r == 0)
		r = map_is_whole(rp);
	if (r != 0)
		return r < 0 ? r : repair_digests(rp);
	r = find_others(rp);
	if (r == 0 && rp->meta.state == LAYER_SEALED)
		r = unseal_lost(rp->e, &rp->meta, rp->dk);
	if (r == 0 && uuid_equal(&rp->ref.layer, &rp->desc.layer.layer))
		r = give_up_checkpoint(rp);
	for (unsigned i = 0; r == 0 && i < ROOTS; i++)
		r = repair_root(rp, i);
	return r == 0 ? rp->map->st->ops->sync(rp->map) : r;
}

/* At rest a group with a bad copy is read, and a scrub puts it right. */
static int
repair_layer(struct repair *rp)
{
	int r = repair_map(rp);

	return r < 0 || is_at_rest(rp) ? r : repair_groups(rp);
}

void
repair_names(struct repair *rp, const char *path)
{
	strcpy(rp->report.path, path);
	rp->report.top = uuid_equal(&rp->ref.layer, &rp->desc.layer.layer);
}

/* ---- the chain ---- */

static int
lock_lineages(struct repair *rp)
{
	struct uuid v[LINEAGES_MAX];
	size_t n = descriptor_lineages(&rp->desc, v);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		bool had = false;

		for (size_t j = 0; j < i; j++)
			had |= uuid_equal(&v[i], &v[j]);
		if (!had)
			r = catalog_lock_lineage(rp->e->cat, &v[i],
						 &rp->lineages[i]);
	}
	return r;
}

static bool
is_in(const struct uuid *lineage, const struct uuid *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (uuid_equal(lineage, &v[i]))
			return true;
	return false;
}

/* Whether layers of ${s} lie in one of the lineages, be it below its own. */
static int
shares_layers(struct repair *rp, const struct seen *s, const struct uuid *v,
	      size_t n)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	struct uuid theirs[LINEAGES_MAX];
	bool is = is_in(&s->layer.lineage, v, n);
	size_t m;
	int r;

	if (is)
		return 1;
	r = d ? catalog_load(rp->e->cat, s->type, s->name, d, NULL, NULL)
	      : -ENOMEM;
	if (r < 0)
		return err_is_shortage(r) ? r : 0;
	m = descriptor_lineages(d, theirs);
	for (size_t i = 0; i < m; i++)
		is |= is_in(&theirs[i], v, n);
	return is;
}

/* All other disks that have layers in these lineages: whose a chunk is can be
 * said only while nobody makes any, and who reads what is made anew would take
 * it for put back.  So would who reads a snapshot; there may be thousands of
 * them, and they are only asked. */
static int
lock_writers(struct repair *rp)
{
	CLEANUP(census_done) struct census c = { .n = 0 };
	struct lineage_locks *w = &rp->writers;
	struct uuid v[LINEAGES_MAX];
	size_t n = descriptor_lineages(&rp->desc, v);
	int r;

	r = catalog_census(rp->e->cat, &c);
	if (r < 0)
		return r;
	w->v = calloc(c.n + 1, sizeof(struct store_lock *));
	if (!w->v)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < c.n; i++) {
		const struct seen *s = &c.seen[i];

		if (uuid_equal(&s->uuid, &rp->desc.uuid))
			continue;
		r = shares_layers(rp, s, v, n);
		if (r <= 0)
			continue;
		r = catalog_lock_disk(rp->e->cat, &s->uuid, "", &w->v[w->n]);
		if (r == 0 && s->type == DESC_DISK)
			w->n++;
		else if (r == 0)
			store_unlock(w->v[w->n]);
	}
	return r;
}

static int
open_descriptor(struct repair *rp, enum desc_type type, const char *name)
{
	CLEANUP(free_memp) char *text = NULL;
	struct catalog *c = rp->e->cat;
	const struct key *dk = NULL;
	size_t len;
	int r;

	r = catalog_load(c, type, name, &rp->desc, NULL, NULL);
	if (r == 0)
		r = catalog_lock_disk(c, &rp->desc.uuid, "", &rp->lock);
	if (r == 0)
		r = catalog_load(c, type, name, &rp->desc, &text, &len);
	if (r == 0)
		r = lock_lineages(rp);
	if (r < 0)
		return r;
	rp->dks = secret_alloc(rp->desc.n_keys * sizeof(*rp->dks));
	if (!rp->dks)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < rp->desc.n_keys; i++) {
		r = kms_decrypt(rp->e->kms, &rp->desc.keys[i].dk, &rp->dks[i]);
		if (uuid_equal(&rp->desc.keys[i].uuid, &rp->desc.key))
			dk = &rp->dks[i];
	}
	if (r == 0 && !dk)
		r = -EUCLEAN;
	if (r == 0)
		r = descriptor_verify(text, len, &rp->desc.uuid, dk);
	/* Others need not wait for the key service. */
	return r < 0 ? r : lock_writers(rp);
}

static int
follow_chain(struct repair *rp, int (*fn)(struct repair *rp))
{
	int r;

	rp->ref = rp->desc.layer;
	memset(rp->expected, 0, sizeof(rp->expected));
	if (rp->desc.type != DESC_DISK)
		memcpy(rp->expected, rp->desc.digest, sizeof(rp->expected));
	for (;;) {
		r = fn(rp);
		if (r < 0 || !rp->meta.has_parent)
			return r;
		rp->ref = rp->meta.parent;
		memcpy(rp->expected, rp->meta.parent_digest,
		       sizeof(rp->expected));
	}
}

/* All layer.ini first: what is above a layer must be told, before its map is
 * made anew, that it is sealed no more. */
int
engine_repair_maps(struct engine *e, enum desc_type type, const char *name,
		   struct repair_report *ret)
{
	struct repair *rp = calloc(1, sizeof(*rp));
	int r;

	if (!rp)
		return -ENOMEM;
	rp->e = e;
	r = open_descriptor(rp, type, name);
	if (r == 0)
		r = follow_chain(rp, repair_load_layer);
	if (r == 0)
		r = follow_chain(rp, repair_layer);
	*ret = rp->report;
	repair_done(rp);
	free(rp);
	return r;
}
