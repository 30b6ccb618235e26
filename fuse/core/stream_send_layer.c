/*
 * stream_send_layer.c - what a layer that is sent has in the store: its map,
 * and the chunks that this names.
 */
#include "stream_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

static int
send_page(struct sender *s, enum record_type type,
	  const uint8_t raw[static PAGE_LEN])
{
	unsigned len = page_shorten(raw);

	memcpy(send_payload(s), raw, len);
	return send_record(s, type, len);
}

/* ---- pages ---- */

/* The copy of a map's page that is right. */
static int
choose(const uint8_t raw[2][PAGE_LEN], const bool there[2], enum page_kind kind,
       uint64_t n, union page_body *body, unsigned *ret)
{
	union page_body b[2];
	struct page_head h[2];
	bool good[2];
	unsigned take;

	for (unsigned i = 0; i < 2; i++)
		good[i] = there[i] &&
			  page_decode_open(raw[i], kind, n, &h[i], &b[i]) == 0;
	if (!good[0] && !good[1])
		return -EBADMSG;
	take = !good[0] || (good[1] && page_newer(&h[1], &h[0]));
	*body = b[take];
	*ret = take;
	return 0;
}

static int
read_page(struct sender *s, struct store_file *f, enum page_kind kind,
	  uint64_t n, uint8_t ret[static PAGE_LEN], union page_body *body)
{
	uint64_t base = kind == PAGE_MAP ? MAP_OFFSET : 0;
	uint8_t raw[2][PAGE_LEN];
	bool there[2];
	unsigned which;
	int r;

	for (unsigned i = 0; i < 2; i++) {
		r = s->st->ops->read(f, raw[i], PAGE_LEN,
				     base + page_offset(n, i));
		if (err_is_shortage(r))
			return r;
		/* What cannot be read may be the newer one. */
		if (r < 0 && r != -ENODATA && !s->at_rest)
			return send_why(s, r,
					"a copy of a page of a map cannot be "
					"read");
		there[i] = r == 0;
	}
	r = choose(raw, there, kind, n, body, &which);
	if (r < 0)
		return send_why(s, r,
				"neither copy of a page of a map is whole");
	memcpy(ret, raw[which], PAGE_LEN);
	return 0;
}

/* ---- groups ---- */

/* Which copies of a group's page travel: 1 or 2 of them, and the slots that
 * they name. */
static unsigned
choose_group(const struct sender *s, uint64_t group,
	     const uint8_t *ret_raw[static 2], struct slots *slots)
{
	const uint8_t *raw[2];
	union page_body b[2];
	struct page_head h[2];
	unsigned n = 0;

	for (unsigned i = 0; i < 2; i++) {
		raw[i] = s->pages + page_offset(group % CHUNK_GROUPS, i);
		if (i == 1 && n == 1 && memcmp(raw[0], raw[1], PAGE_LEN) == 0)
			break;
		if (page_decode_open(raw[i], PAGE_GROUP, group, &h[n], &b[n]) <
		    0)
			continue;
		body_slots(&b[n], slots);
		ret_raw[n++] = raw[i];
	}
	return n;
}

/* A block that the file ends before: its entry may be one that a crash has left
 * without it, which the receiver finds out. */
static int
read_one_by_one(struct sender *s, struct store_file *f, uint8_t *to,
		unsigned run, uint64_t off)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < run; i++) {
		size_t at = (size_t)i * BLOCK_SIZE;

		r = s->st->ops->read(f, to + at, BLOCK_SIZE, off + at);
		if (r == -ENODATA) {
			memset(to + at, 0, BLOCK_SIZE);
			r = 0;
		}
	}
	return r;
}

static int
read_blocks(struct sender *s, struct store_file *f, uint64_t group,
	    const struct slots *slots, uint8_t *to)
{
	unsigned slot, run;
	int r = 0;

	for (slot = slots_next(slots, 0, &run); r == 0 && run > 0;
	     slot = slots_next(slots, slot + run, &run)) {
		uint64_t off = slot_offset(group, slot);

		r = s->st->ops->read(f, to, (size_t)run * BLOCK_SIZE, off);
		if (r == -ENODATA)
			r = read_one_by_one(s, f, to, run, off);
		to += (size_t)run * BLOCK_SIZE;
	}
	return r;
}

static int
send_group(struct sender *s, struct store_file *f, uint64_t group)
{
	struct group_head h = { .group = group };
	struct slots slots = { { 0 } };
	const uint8_t *raw[2];
	uint8_t *p = send_payload(s) + GROUP_HEAD_LEN;
	int r;

	h.n_pages = choose_group(s, group, raw, &slots);
	if (h.n_pages == 0)
		return send_why(s, -EBADMSG,
				"neither copy of a page of a chunk is whole");
	for (unsigned i = 0; i < h.n_pages; i++) {
		h.len[i] = page_shorten(raw[i]);
		memcpy(p, raw[i], h.len[i]);
		p += h.len[i];
	}
	h.n_blocks = slots_count(&slots);
	group_head_put(&h, send_payload(s));
	r = read_blocks(s, f, group, &slots, p);
	if (r < 0)
		return send_why(s, r, "a chunk cannot be read");
	s->ret->blocks += h.n_blocks;
	p += (size_t)h.n_blocks * BLOCK_SIZE;
	return send_record(s, RECORD_GROUP, (size_t)(p - send_payload(s)));
}

/* ---- chunks ---- */

struct search {
	uint64_t index;
	char wanted[STORE_PATH_LEN]; /* the name, but for the layer in it */
	char found[64];
};

static int
is_wanted(const char *name, bool is_dir, void *arg)
{
	struct search *se = arg;

	if (is_dir || strlen(name) != strlen(se->wanted) ||
	    strlen(name) >= sizeof(se->found) ||
	    strncmp(name, se->wanted, 8) != 0 ||
	    strcmp(name + 16, se->wanted + 16) != 0)
		return 0;
	strcpy(se->found, name);
	return 1;
}

/* A chunk that passed to this layer from another keeps its name. */
static int
open_passed(struct sender *s, const char *path, struct store_file **ret)
{
	char folder[STORE_PATH_LEN], full[STORE_PATH_LEN + 64];
	struct search se = { .found = "" };
	int r;

	path_folder(path, folder);
	strcpy(se.wanted, path + strlen(folder) + 1);
	r = s->st->ops->list(s->st, folder, is_wanted, &se);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	(void)snprintf(full, sizeof(full), "%s/%s", folder, se.found);
	return s->st->ops->open(s->st, full, false, ret);
}

static int
send_chunk(struct sender *s, const struct layer_ref *l, uint64_t index,
	   const uint8_t salt[static 12])
{
	CLEANUP(store_closep) struct store_file *f = NULL;
	char path[STORE_PATH_LEN];
	int r;

	path_chunk(&l->lineage, index, &l->layer, salt, path);
	r = s->st->ops->open(s->st, path, false, &f);
	if (r == -ENOENT)
		r = open_passed(s, path, &f);
	if (r == 0)
		r = s->st->ops->read(f, s->pages, CHUNK_PAGES_LEN, SUPER_LEN);
	if (r < 0)
		return send_why(s, r == -ENOENT || r == -ENODATA ? -EUCLEAN : r,
				r == -ENOENT    ? "a chunk of it is not there"
				: r == -ENODATA ? "a chunk of it is cut short"
						: "a chunk cannot be read");
	for (unsigned g = 0; r == 0 && g < CHUNK_GROUPS; g++)
		r = send_group(s, f, index * CHUNK_GROUPS + g);
	s->done++;
	s->ret->chunks++;
	if (r == 0 && s->sink->progress)
		s->sink->progress(s->sink->arg, s->done, s->total);
	return r;
}

/* ---- layers ---- */

static int
send_map_page(struct sender *s, const struct layer_ref *l, struct store_file *f,
	      uint64_t n, uint64_t from)
{
	uint8_t raw[PAGE_LEN];
	union page_body body;
	int r;

	r = read_page(s, f, PAGE_MAP, n, raw, &body);
	if (r == 0 && !s->counting)
		r = send_page(s, RECORD_MAP, raw);
	for (unsigned i = 0; r == 0 && i < MAP_CHUNKS; i++) {
		uint64_t index = n * MAP_CHUNKS + i;

		if (body.entry[i].state != ENTRY_DATA || index < from)
			continue;
		if (s->counting)
			s->total++;
		else
			r = send_chunk(s, l, index, body.entry[i].unique);
	}
	return r;
}

/* From chunk ${from} on. */
static int
send_map(struct sender *s, const struct layer_ref *l, struct store_file *f,
	 uint64_t from)
{
	CLEANUP(free_memp) union page_body *roots = NULL;
	uint8_t raw[PAGE_LEN];
	int r = 0;

	roots = malloc(ROOTS * sizeof(*roots));
	if (!roots)
		return -ENOMEM;
	for (unsigned i = 0; r == 0 && i < ROOTS; i++) {
		r = read_page(s, f, PAGE_ROOT, i, raw, &roots[i]);
		if (r == 0 && !s->counting)
			r = send_page(s, RECORD_ROOT, raw);
	}
	for (uint64_t n = from / MAP_CHUNKS;
	     r == 0 && n < (uint64_t)ROOTS * ROOT_BITS; n++) {
		unsigned bit = n % ROOT_BITS;

		if (roots[n / ROOT_BITS].bitmap[bit / 8] >> (bit % 8) & 1)
			r = send_map_page(s, l, f, n, from);
	}
	return r;
}

static int
send_layer(struct sender *s, const struct layer_ref *l, uint64_t from)
{
	CLEANUP(store_closep) struct store_file *f = NULL;
	char path[STORE_PATH_LEN];
	int r;

	path_layer(l, "map", path);
	r = s->st->ops->open(s->st, path, false, &f);
	if (r < 0)
		return send_why(s, r == -ENOENT ? -EUCLEAN : r,
				"the map of a layer cannot be opened");
	return send_map(s, l, f, from);
}

/* The contents, from where ${h} says on; first they are counted. */
int
send_layers(struct sender *s, const struct stream_head *h, bool counting)
{
	int r = 0;

	s->counting = counting;
	for (size_t i = h->at_layer; r == 0 && i < s->plan.n; i++) {
		s->at_rest = s->plan.v[i].meta.state == LAYER_SEALED;
		r = send_layer(s, &s->plan.v[i].ref,
			       i == h->at_layer ? h->at_chunk : 0);
	}
	return r;
}
