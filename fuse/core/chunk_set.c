/*
 * chunk_set.c - the chunks that maps name (check_private.h).
 */
#include "check_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/grow.h>

void
chunk_set_clear(struct chunk_set *s)
{
	s->named.n = s->half_named.n = s->n_gaps = 0;
	s->doubtful = false;
}

void
chunk_set_done(struct chunk_set *s)
{
	free(s->named.v);
	free(s->half_named.v);
	free(s->gaps);
	*s = (struct chunk_set){ .n_gaps = 0 };
}

static uint64_t
chunk_id(uint64_t index, const uint8_t salt[static 4])
{
	return index << 32 | (uint64_t)salt[0] << 24 | (uint64_t)salt[1] << 16 |
	       (uint64_t)salt[2] << 8 | salt[3];
}

static int
add(struct chunk_ids *s, uint64_t id)
{
	uint64_t *v;

	v = grow(s->v, s->n, &s->cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	s->v = v;
	s->v[s->n++] = id;
	return 0;
}

static int
add_gap(struct chunk_set *s, const struct uuid *layer, uint64_t first,
	uint64_t n)
{
	struct map_gap *v;

	v = grow(s->gaps, s->n_gaps, &s->cap_gaps, sizeof(*v));
	if (!v)
		return -ENOMEM;
	s->gaps = v;
	s->doubtful = true;
	s->gaps[s->n_gaps++] = (struct map_gap){ *layer, first, n };
	return 0;
}

/* Both copies of a page count: which of them will serve is not for here.
 * -EUCLEAN: neither can be read. */
static int
read_page(struct chunk_set *s, struct store_file *f, enum page_kind kind,
	  uint64_t n, union page_body body[2], bool good[2])
{
	uint64_t base = kind == PAGE_MAP ? MAP_OFFSET : 0;
	uint8_t raw[PAGE_LEN];
	struct page_head h;

	for (unsigned i = 0; i < 2; i++)
		good[i] = f->st->ops->read(f, raw, PAGE_LEN,
					   base + page_offset(n, i)) == 0 &&
			  page_decode_open(raw, kind, n, &h, &body[i]) == 0;
	s->doubtful |= !good[0] || !good[1];
	return good[0] || good[1] ? 0 : -EUCLEAN;
}

static int
take_map_page(struct chunk_set *s, struct store_file *f, uint64_t n)
{
	static const uint8_t none[8];
	union page_body body[2];
	bool good[2];
	int r;

	r = read_page(s, f, PAGE_MAP, n, body, good);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned j = 0; r == 0 && good[i] && j < MAP_CHUNKS; j++) {
			const struct entry *e = &body[i].entry[j];
			bool half = memcmp(e->unique + 4, none, 8) == 0;

			if (e->state == ENTRY_DATA)
				r = add(half ? &s->half_named : &s->named,
					chunk_id(n * MAP_CHUNKS + j,
						 e->unique));
		}
	return r;
}

static bool
has_bit(const union page_body *b, unsigned bit)
{
	return b->bitmap[bit / 8] >> (bit % 8) & 1;
}

static int
take_root(struct chunk_set *s, const struct uuid *layer, struct store_file *f,
	  unsigned root)
{
	union page_body body[2];
	bool good[2];
	int r;

	r = read_page(s, f, PAGE_ROOT, root, body, good);
	if (r == -EUCLEAN)
		return add_gap(s, layer, (uint64_t)root * ROOT_BITS, ROOT_BITS);
	for (unsigned bit = 0; r == 0 && bit < ROOT_BITS; bit++) {
		uint64_t n = (uint64_t)root * ROOT_BITS + bit;
		bool first = good[0] && has_bit(&body[0], bit);
		bool second = good[1] && has_bit(&body[1], bit);

		if (!first && !second)
			continue;
		r = take_map_page(s, f, n);
		/* What one copy alone knows may never have been written. */
		if (r == -EUCLEAN)
			r = first && second ? add_gap(s, layer, n, 1) : 0;
	}
	return r;
}

/* A map has its root pages before there is a layer.ini, and goes before that.
 */
static int
was_being_made(struct store *st, const struct layer_ref *ref,
	       struct store_file *map)
{
	char path[STORE_PATH_LEN];
	uint64_t len;
	int r;

	path_layer(ref, "layer.ini", path);
	r = store_exists(st, path);
	if (r == 0)
		r = map->st->ops->size(map, &len) ?: len <= MAP_OFFSET;
	else if (r == 1)
		r = 0;
	return r;
}

int
chunk_set_add_layer(struct chunk_set *s, struct store *st,
		    const struct layer_ref *ref, bool dead)
{
	CLEANUP(store_closep) struct store_file *f = NULL;
	char path[STORE_PATH_LEN];
	int r;

	path_layer(ref, "map", path);
	r = st->ops->open(st, path, false, &f);
	if (dead && r == 0) {
		r = was_being_made(st, ref, f);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	if (dead && r == -ENOENT)
		return 0;
	for (unsigned i = 0; r == 0 && i < ROOTS; i++)
		r = take_root(s, &ref->layer, f, i);
	return r == -ENOENT
		   ? add_gap(s, &ref->layer, 0, (uint64_t)ROOTS * ROOT_BITS)
		   : r;
}

static int
by_id(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void
sort(struct chunk_ids *s)
{
	if (s->n > 0)
		qsort(s->v, s->n, sizeof(*s->v), by_id);
}

void
chunk_set_sort(struct chunk_set *s)
{
	sort(&s->named);
	sort(&s->half_named);
}

static bool
has(const struct chunk_ids *s, uint64_t id)
{
	return s->n > 0 && bsearch(&id, s->v, s->n, sizeof(id), by_id);
}

bool
chunk_sets_meet(const struct chunk_set *a, const struct chunk_set *b)
{
	for (size_t i = 0; i < a->named.n; i++)
		if (has(&b->named, a->named.v[i]))
			return true;
	return false;
}

static bool
in_gap(const struct map_gap *g, uint64_t index)
{
	uint64_t page = index / MAP_CHUNKS;

	return page >= g->first && page - g->first < g->n;
}

bool
chunk_set_gap(const struct chunk_set *s, uint64_t index,
	      const struct uuid *layer)
{
	for (size_t i = 0; i < s->n_gaps; i++)
		if (uuid_equal(&s->gaps[i].layer, layer) &&
		    in_gap(&s->gaps[i], index))
			return true;
	return false;
}

enum chunk_claim
chunk_set_ask(const struct chunk_set *s, uint64_t index,
	      const uint8_t salt[static 4])
{
	uint64_t id = chunk_id(index, salt);

	if (has(&s->named, id))
		return CLAIM_SURE;
	for (size_t i = 0; i < s->n_gaps; i++)
		if (in_gap(&s->gaps[i], index))
			return CLAIM_PERHAPS;
	return has(&s->half_named, id) ? CLAIM_PERHAPS : CLAIM_NONE;
}

static int
each_in_folder(struct store *st, const char *folder,
	       int (*fn)(const char *path, uint64_t index,
			 const uint8_t salt[static 4], void *arg),
	       void *arg)
{
	CLEANUP(names_done) struct names n = { 0 };
	char path[STORE_PATH_LEN];
	uint64_t index;
	uint8_t salt[4];
	int r;

	r = names_list(st, folder, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		if (!chunk_name_parse(n.v[i], &index, salt))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", folder, n.v[i]) >=
		    (int)sizeof(path))
			return -ENAMETOOLONG;
		r = fn(path, index, salt, arg);
	}
	return r;
}

int
each_chunk_file_near(struct store *st, const struct uuid *lineage,
		     uint64_t index,
		     int (*fn)(const char *path, uint64_t index,
			       const uint8_t salt[static 4], void *arg),
		     void *arg)
{
	static const struct uuid any;
	char path[STORE_PATH_LEN], folder[STORE_PATH_LEN];

	path_chunk(lineage, index, &any, any.bytes, path);
	path_folder(path, folder);
	return each_in_folder(st, folder, fn, arg);
}

int
each_chunk_file(struct store *st, const struct uuid *lineage,
		int (*fn)(const char *path, uint64_t index,
			  const uint8_t salt[static 4], void *arg),
		void *arg)
{
	CLEANUP(names_done) struct names n = { 0 };
	char chunks[STORE_PATH_LEN], folder[STORE_PATH_LEN];
	int r;

	path_lineage(lineage, "chunks", chunks);
	r = names_list(st, chunks, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		if (snprintf(folder, sizeof(folder), "%s/%s", chunks, n.v[i]) >=
		    (int)sizeof(folder))
			return -ENAMETOOLONG;
		r = each_in_folder(st, folder, fn, arg);
	}
	return r;
}
