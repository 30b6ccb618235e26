/*
 * repair.c - a map made anew from its chunk files (repair.h).
 *
 * For a map page that neither copy of verifies: of the chunk files of its range
 * that no other layer's map names, those whose superblock verifies under the
 * layer's DK.  Where a chunk has several (one was written under a new salt, or
 * a crash came before the old one was removed), the one whose pages were
 * written in the latest session is taken.
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
 */
#include "repair.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <sealdisk/log.h>

#include "check_private.h"
#include "layer.h"

struct repair {
	struct engine *e;
	struct descriptor desc;
	struct key *dks; /* secret memory: as desc.keys */
	struct store_lock *lock;
	struct store_lock *lineages[LINEAGES_MAX]; /* those of its layers */
	struct chunk_set others; /* chunks that other layers' maps name */
	struct repair_report report;
	/* of the layer that is looked at */
	struct layer_ref ref;
	struct layer_meta meta;
	const struct key *dk;
	struct key map_key;
	struct store_file *map;
	/* the map page that is made */
	uint64_t page;
	union page_body body;
	uint64_t session[MAP_CHUNKS]; /* of the file that was taken */
	bool several[MAP_CHUNKS], lost[MAP_CHUNKS];
	int64_t created[MAP_CHUNKS];
};

static void
repair_done(struct repair *rp)
{
	store_close(rp->map);
	chunk_set_done(&rp->others);
	for (size_t i = 0; i < LINEAGES_MAX; i++)
		store_unlock(rp->lineages[i]);
	store_unlock(rp->lock);
	if (rp->dks)
		secret_free(rp->dks, rp->desc.n_keys * sizeof(*rp->dks));
	key_wipe(&rp->map_key);
}

/* ---- what a chunk file says ---- */

uint64_t
chunk_last_session(struct store_file *f, uint64_t index,
		   const uint8_t mac_key[static KEY_LEN])
{
	uint8_t raw[PAGE_LEN];
	union page_body body;
	struct page_head h;
	uint64_t last = 0;

	for (unsigned i = 0; i < 2 * CHUNK_GROUPS; i++) {
		unsigned g = i / 2;

		if (f->st->ops->read(f, raw, PAGE_LEN,
				     SUPER_LEN + page_offset(g, i % 2)) == 0 &&
		    page_decode(raw, mac_key, PAGE_GROUP,
				index * CHUNK_GROUPS + g, &h, &body) == 0 &&
		    h.session > last)
			last = h.session;
	}
	return last;
}

/* By the salt in a superblock that is damaged, or whose copy of it is. */
static int
by_salt(struct repair *rp, struct store_file *f, uint64_t index,
	const uint8_t salt[static 12], struct super *ret, uint64_t *ret_session)
{
	uint8_t keys[2 * KEY_LEN];
	int r = -EBADMSG;

	for (uint8_t c = 0; r == -EBADMSG && c < UINT8_MAX; c++) {
		if (!cipher_name(c) ||
		    chunk_keys(rp->dk, salt, c, index, keys) < 0)
			continue;
		*ret_session = chunk_last_session(f, index, keys + KEY_LEN);
		if (*ret_session == 0)
			continue;
		memcpy(ret->salt, salt, sizeof(ret->salt));
		ret->created = 0;
		memset(&ret->layer, 0, sizeof(ret->layer));
		r = 0;
	}
	secret_wipe(keys, sizeof(keys));
	return r;
}

static int
read_super(struct repair *rp, struct store_file *f, uint64_t index,
	   struct super *ret, uint64_t *ret_session)
{
	uint8_t raw[SUPER_LEN], keys[2 * KEY_LEN];
	int r;

	r = f->st->ops->read(f, raw, sizeof(raw), 0);
	if (r == 0)
		r = super_parse(raw, ret);
	if (r == 0)
		r = chunk_keys(rp->dk, ret->salt, ret->cipher, index, keys);
	if (r == 0)
		r = super_verify(raw, keys + KEY_LEN);
	if (r == 0 &&
	    (ret->index != index || !uuid_equal(&ret->dk, &rp->meta.key)))
		r = -EBADMSG;
	if (r == 0)
		*ret_session = chunk_last_session(f, index, keys + KEY_LEN);
	secret_wipe(keys, sizeof(keys));
	if (r != -EBADMSG && r != -EUCLEAN)
		return r;
	/* It is whole, and another key's. */
	if (super_parse(raw, ret) == 0 && !uuid_equal(&ret->dk, &rp->meta.key))
		return -EKEYREJECTED;
	return by_salt(rp, f, index, raw + SUPER_SALT, ret, ret_session);
}

/* A file that was only just made when it was cut off. */
static bool
is_blank(struct store_file *f)
{
	static const uint8_t zeros[PAGE_LEN];
	uint8_t raw[PAGE_LEN];
	uint64_t size;

	if (f->st->ops->size(f, &size) < 0)
		return false;
	for (uint64_t at = 0; at < SLOTS_OFFSET && at + PAGE_LEN <= size;
	     at += PAGE_LEN)
		if (f->st->ops->read(f, raw, PAGE_LEN, at) < 0 ||
		    memcmp(raw, zeros, PAGE_LEN) != 0)
			return false;
	return true;
}

/* Later ones win. */
static void
take(struct repair *rp, unsigned i, const struct super *su, uint64_t session,
     bool lost)
{
	struct entry *e = &rp->body.entry[i];

	if (e->state == ENTRY_DATA) {
		rp->several[i] = true;
		if (lost || session < rp->session[i] ||
		    (session == rp->session[i] &&
		     su->created <= rp->created[i]))
			return;
	}
	rp->lost[i] = lost;
	e->state = ENTRY_DATA;
	memcpy(e->unique, su->salt, sizeof(e->unique));
	rp->session[i] = session;
	rp->created[i] = su->created;
}

static int
consider(const char *path, uint64_t index, const uint8_t salt[static 4],
	 void *arg)
{
	CLEANUP(store_closep) struct store_file *f = NULL;
	struct repair *rp = arg;
	enum chunk_claim claim = chunk_set_ask(&rp->others, index, salt);
	struct super su;
	uint64_t session;
	int r;

	if (index / MAP_CHUNKS != rp->page || claim == CLAIM_SURE)
		return 0;
	r = rp->e->st->ops->open(rp->e->st, path, false, &f);
	if (r == 0)
		r = read_super(rp, f, index, &su, &session);
	if (err_is_shortage(r))
		return r;
	/* Of a layer that is gone, and that was merged into this one or not:
	 * if nobody else has it, it is this one's. */
	if (r == 0 &&
	    (claim == CLAIM_NONE || uuid_equal(&su.layer, &rp->ref.layer))) {
		take(rp, (unsigned)(index % MAP_CHUNKS), &su, session, false);
		return 0;
	}
	if (r == -EKEYREJECTED || (r < 0 && f && is_blank(f)) ||
	    (r == 0 && chunk_set_gap(&rp->others, index, &su.layer)))
		return 0;
	log_warn("%s: %s", path,
		 r < 0 ? err_text(r) : "which layer has it cannot be known");
	su = (struct super){ .created = 0 };
	memcpy(su.salt, salt, 4);
	take(rp, (unsigned)(index % MAP_CHUNKS), &su, 0, true);
	return 0;
}

/* ---- pages ---- */

/* Whether a copy verifies: 1 or 0. */
static int
page_is_there(struct repair *rp, enum page_kind kind, uint64_t n,
	      union page_body *ret)
{
	uint64_t base = kind == PAGE_MAP ? MAP_OFFSET : 0;
	struct page_head h, best = { .generation = 0 };
	uint8_t raw[PAGE_LEN];
	union page_body body;
	bool there = false;
	int r;

	for (unsigned i = 0; i < 2; i++) {
		r = rp->map->st->ops->read(rp->map, raw, PAGE_LEN,
					   base + page_offset(n, i));
		if (r < 0 && r != -ENODATA && r != -EIO)
			return r;
		if (r < 0 ||
		    page_decode(raw, rp->map_key.bytes, kind, n, &h, &body) <
			0 ||
		    (there && !page_newer(&h, &best)))
			continue;
		there = true;
		best = h;
		*ret = body;
	}
	return there;
}

static int
write_page(struct repair *rp, enum page_kind kind, uint64_t n,
	   const union page_body *body)
{
	uint64_t base = kind == PAGE_MAP ? MAP_OFFSET : 0;
	struct page_head h = { kind, n, 1, rp->desc.session, 0, 0 };
	uint8_t raw[PAGE_LEN];
	int r;

	r = page_encode(&h, body, rp->map_key.bytes, raw);
	for (unsigned i = 0; r == 0 && i < 2; i++)
		r = rp->map->st->ops->write(rp->map, raw, PAGE_LEN,
					    base + page_offset(n, i));
	rp->report.pages += r == 0;
	return r;
}

static int
make_map_page(struct repair *rp, uint64_t n)
{
	int r;

	rp->page = n;
	memset(&rp->body, 0, sizeof(rp->body));
	memset(rp->several, 0, sizeof(rp->several));
	memset(rp->lost, 0, sizeof(rp->lost));
	r = each_chunk_file_near(rp->e->st, &rp->ref.lineage, n * MAP_CHUNKS,
				 consider, rp);
	for (unsigned i = 0; r == 0 && i < MAP_CHUNKS; i++) {
		rp->report.chunks += rp->body.entry[i].state == ENTRY_DATA;
		rp->report.doubtful += rp->several[i];
		rp->report.unreadable += rp->lost[i];
	}
	return r < 0 ? r : write_page(rp, PAGE_MAP, n, &rp->body);
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
		r = page_is_there(rp, PAGE_MAP, n, &body);
		if (r < 0)
			return r;
		if (r == 1)
			set_bit(ret, bit);
	}
	return each_chunk_file(rp->e->st, &rp->ref.lineage, add_file, &b);
}

static int
repair_root(struct repair *rp, unsigned root)
{
	union page_body body, page;
	bool lost;
	int r;

	r = page_is_there(rp, PAGE_ROOT, root, &body);
	lost = r == 0;
	if (lost)
		r = make_root(rp, root, &body);
	for (unsigned bit = 0; r >= 0 && bit < ROOT_BITS; bit++) {
		uint64_t n = (uint64_t)root * ROOT_BITS + bit;

		if (!(body.bitmap[bit / 8] >> (bit % 8) & 1))
			continue;
		r = page_is_there(rp, PAGE_MAP, n, &page);
		if (r == 0)
			r = make_map_page(rp, n);
	}
	/* What it names is durable before it is. */
	if (r >= 0 && lost)
		r = rp->map->st->ops->sync(rp->map);
	if (r >= 0 && lost)
		r = write_page(rp, PAGE_ROOT, root, &body);
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
	return r == -ENOENT ? st->ops->create(st, path, &rp->map) : r;
}

/* By the DK that authenticates it. */
static int
parse_ini(struct repair *rp, const char *text, size_t len)
{
	int r = -EBADMSG;

	for (size_t i = 0; r == -EBADMSG && i < rp->desc.n_keys; i++) {
		r = layer_meta_parse(text, len, &rp->dks[i], &rp->meta);
		if (r == 0)
			rp->dk = &rp->dks[i];
	}
	if (r == 0 && (!uuid_equal(&rp->meta.uuid, &rp->ref.layer) ||
		       !uuid_equal(&rp->meta.lineage, &rp->ref.lineage)))
		r = -EUCLEAN;
	return r;
}

/* Whether the list of its pages' digests is the one that it says: 1 or 0. */
static int
is_sealed(struct repair *rp)
{
	CLEANUP(digests_freep) struct digests *known = NULL;
	uint8_t sum[SHA256_LEN];
	int r;

	r = digests_load(rp->e->st, &rp->ref, &rp->map_key, &known);
	if (r < 0)
		return err_is_shortage(r) ? r : 0;
	digests_sum(known, sum);
	return memcmp(sum, rp->meta.digest, sizeof(sum)) == 0;
}

/* What a spare copy need not know (layer_ini.c) is found out. */
static int
take_spare(struct repair *rp)
{
	bool top = rp->desc.type == DESC_DISK &&
		   uuid_equal(&rp->ref.layer, &rp->desc.layer.layer);
	bool sealed = false;
	int r = 0;

	if (rp->meta.state == LAYER_OPEN && !top)
		rp->meta.state = LAYER_FROZEN;
	if (rp->meta.state == LAYER_SEALED) {
		r = is_sealed(rp);
		sealed = r > 0;
	}
	memset(rp->meta.parent_digest, 0, sizeof(rp->meta.parent_digest));
	if (r >= 0)
		r = lineage_mark(rp->e->st, &rp->ref.lineage, UNSEALED);
	if (r == 0)
		r = layer_put_meta(rp->e->st, &rp->meta, rp->dk);
	if (r < 0)
		return r;
	rp->report.inis++;
	/* It is not what whoever names it may say that it is. */
	if (!sealed && !top && rp->meta.state != LAYER_MERGING) {
		r = unseal_lost(rp->e, &rp->meta, rp->dk, &rp->desc);
		rp->meta.state = LAYER_FROZEN;
	}
	return r;
}

/* The spare copy of one that is whole. */
static void
check_spare(struct repair *rp, const char *text, size_t len)
{
	CLEANUP(free_memp) char *there = NULL;
	size_t n;
	int r = layer_load_spare(rp->e->st, &rp->ref, &there, &n);

	if (err_is_shortage(r) ||
	    (r == 0 && n == len && memcmp(there, text, len) == 0))
		return;
	if (layer_put_text(rp->e->st, &rp->ref, text) == 0)
		log_note("a layer.ini got a new spare copy");
}

static int
load_layer(struct repair *rp)
{
	CLEANUP(free_memp) char *text = NULL, *spare = NULL;
	struct store *st = rp->e->st;
	char path[STORE_PATH_LEN];
	size_t len;
	int r, e;

	path_layer(&rp->ref, "layer.ini", path);
	r = st->ops->load(st, path, META_MAX, &text, &len);
	if (r == 0)
		r = parse_ini(rp, text, len);
	e = r;
	if (r < 0 && !err_is_shortage(r))
		r = layer_load_spare(st, &rp->ref, &spare, &len);
	if (spare)
		r = parse_ini(rp, spare, len);
	if (r == 0)
		r = layer_map_key(rp->dk, &rp->ref.layer, &rp->map_key);
	if (r < 0 && !err_is_shortage(r)) {
		strcpy(rp->report.path, path);
		rp->report.top =
		    uuid_equal(&rp->ref.layer, &rp->desc.layer.layer);
		return e == -ENOENT ? -EUCLEAN : e;
	}
	if (r == 0 && spare) {
		log_note("%s: %s: made anew of its spare copy", path,
			 err_text(e));
		return take_spare(rp);
	}
	if (r == 0)
		check_spare(rp, text, len);
	return r;
}

/* Chunks that the maps of all other layers of the lineage name. */
static int
find_others(struct repair *rp)
{
	CLEANUP(names_done) struct names n = { 0 };
	struct layer_ref ref = { .lineage = rp->ref.lineage };
	char path[STORE_PATH_LEN];
	int r;

	chunk_set_clear(&rp->others);
	path_lineage(&ref.lineage, "layers", path);
	r = names_list(rp->e->st, path, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++)
		if (uuid_parse(n.v[i], &ref.layer) == 0 &&
		    !uuid_equal(&ref.layer, &rp->ref.layer))
			r = chunk_set_add_layer(&rp->others, rp->e->st, &ref);
	chunk_set_sort(&rp->others);
	return r;
}

/* Whether all of it can be read: 1 or 0. */
static int
map_is_whole(struct repair *rp)
{
	union page_body body, page;
	int r = 1;

	for (unsigned i = 0; r == 1 && i < ROOTS; i++) {
		r = page_is_there(rp, PAGE_ROOT, i, &body);
		for (unsigned bit = 0; r == 1 && bit < ROOT_BITS; bit++)
			if (body.bitmap[bit / 8] >> (bit % 8) & 1)
				r = page_is_there(rp, PAGE_MAP,
						  (uint64_t)i * ROOT_BITS + bit,
						  &page);
	}
	return r;
}

/* What the map was at the last checkpoint is what it cannot be again.  Said
 * before it is changed: who comes between finds a map that is damaged still. */
static int
give_up_checkpoint(struct repair *rp)
{
	const struct key *dk = NULL;

	if (rp->desc.type != DESC_DISK || digest_is_none(rp->desc.digest))
		return 0;
	for (size_t i = 0; i < rp->desc.n_keys; i++)
		if (uuid_equal(&rp->desc.keys[i].uuid, &rp->desc.key))
			dk = &rp->dks[i];
	checkpoint_clear(&rp->desc);
	return dk ? catalog_save(rp->e->cat, &rp->desc, dk) : -EUCLEAN;
}

static int
repair_layer(struct repair *rp)
{
	int r;

	rp->report.layers++;
	r = load_layer(rp);
	if (r == 0)
		r = open_map(rp);
	if (r == 0)
		r = map_is_whole(rp);
	if (r != 0)
		return r < 0 ? r : 0;
	r = find_others(rp);
	if (r == 0 && rp->meta.state == LAYER_SEALED)
		r = unseal_lost(rp->e, &rp->meta, rp->dk, &rp->desc);
	if (r == 0 && uuid_equal(&rp->ref.layer, &rp->desc.layer.layer))
		r = give_up_checkpoint(rp);
	for (unsigned i = 0; r == 0 && i < ROOTS; i++)
		r = repair_root(rp, i);
	return r == 0 ? rp->map->st->ops->sync(rp->map) : r;
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
	return r < 0 ? r : descriptor_verify(text, len, &rp->desc.uuid, dk);
}

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
	rp->ref = rp->desc.layer;
	while (r == 0) {
		r = repair_layer(rp);
		if (r < 0 || !rp->meta.has_parent)
			break;
		rp->ref = rp->meta.parent;
	}
	*ret = rp->report;
	repair_done(rp);
	free(rp);
	return r;
}
