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

#include "repair_private.h"

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

/* ---- pages ---- */

int
repair_page(struct repair *rp, enum page_kind kind, uint64_t n,
	    union page_body *ret, uint8_t *ret_mac)
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
		if (ret_mac)
			memcpy(ret_mac, raw + PAGE_MAC, DIGEST_LEN);
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
				 repair_consider, rp);
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
		r = repair_page(rp, PAGE_MAP, n, &body, NULL);
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

	r = repair_page(rp, PAGE_ROOT, root, &body, NULL);
	lost = r == 0;
	if (lost)
		r = make_root(rp, root, &body);
	for (unsigned bit = 0; r >= 0 && bit < ROOT_BITS; bit++) {
		uint64_t n = (uint64_t)root * ROOT_BITS + bit;

		if (!(body.bitmap[bit / 8] >> (bit % 8) & 1))
			continue;
		r = repair_page(rp, PAGE_MAP, n, &page, NULL);
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
		r = repair_page(rp, PAGE_ROOT, i, &body, NULL);
		for (unsigned bit = 0; r == 1 && bit < ROOT_BITS; bit++)
			if (body.bitmap[bit / 8] >> (bit % 8) & 1)
				r = repair_page(rp, PAGE_MAP,
						(uint64_t)i * ROOT_BITS + bit,
						&page, NULL);
	}
	return r;
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
	r = dk ? catalog_save(rp->e->cat, &rp->desc, dk) : -EUCLEAN;
	/* Nor must who makes a lost descriptor anew hold it against the map. */
	path_layer(&rp->ref, "digests", path);
	if (r == 0)
		r = rp->e->st->ops->remove(rp->e->st, path);
	return r == -ENOENT ? 0 : r;
}

static int
repair_layer(struct repair *rp)
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
		r = unseal_lost(rp->e, &rp->meta, rp->dk, &rp->desc);
	if (r == 0 && uuid_equal(&rp->ref.layer, &rp->desc.layer.layer))
		r = give_up_checkpoint(rp);
	for (unsigned i = 0; r == 0 && i < ROOTS; i++)
		r = repair_root(rp, i);
	return r == 0 ? rp->map->st->ops->sync(rp->map) : r;
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
