/*
 * stream_content.c - the layers of a stream, page by page and block by block.
 *
 * What comes next is always known: a layer's root pages say which map pages
 * come, a map page which chunks, and a chunk has eight groups.  All of these
 * pages are authentic, so nothing can be left out, put in or moved.  Every
 * block is opened, for its tag; the plaintext is of no use and is wiped.
 */
#include "stream_private.h"

#include <errno.h>
#include <string.h>

/* Of one process that is killed, so much is received again. */
#define CHECKPOINT_BYTES (UINT64_C(4) << 30)

/* A layer that is being received. */
struct content {
	struct receiver *r;
	size_t n; /* of the plan */
	const struct layer_meta *meta;
	const struct key *dk;
	bool keep;      /* store it; else it is only checked */
	uint64_t from;  /* the stream has chunks from here on, */
	uint64_t begin; /* and these are to be stored from here on */
	union page_body roots[ROOTS];
};

/* A group, verified. */
struct group {
	uint64_t group;
	struct group_head h;
	uint8_t raw[2][PAGE_LEN];
	struct page_head head[2];
	union page_body body[2];
	struct slots slots;
	uint8_t place[GROUP_SLOTS]; /* of a slot's block in the record */
	const uint8_t *blocks;
};

/* ---- the pages of the map ---- */

static int
next_page(struct content *c, enum record_type type, enum page_kind kind,
	  uint64_t n, uint8_t raw[static PAGE_LEN], union page_body *body)
{
	struct receiver *r = c->r;
	struct page_head h;
	int e;

	e = receive_next(r, type);
	if (e < 0)
		return e;
	e = page_restore(r->buf, r->len, raw);
	if (e == 0)
		e = page_decode(raw, r->keys->map.bytes, kind, n, &h, body);
	return e < 0 ? receive_why(r, e, "a page of a map does not verify") : 0;
}

static int
read_roots(struct content *c, bool again)
{
	uint8_t raw[PAGE_LEN];
	int e = 0;

	for (unsigned i = 0; e == 0 && i < ROOTS; i++) {
		e = next_page(c, RECORD_ROOT, PAGE_ROOT, i, raw, &c->roots[i]);
		if (e == 0 && c->keep && !again)
			e = dest_page(&c->r->dest, PAGE_ROOT, i, raw);
	}
	return e;
}

/* ---- groups ---- */

static int
open_pages(struct content *c, struct group *g, const uint8_t *in)
{
	const uint8_t *mac_key = c->r->keys->chunk + KEY_LEN;
	int e = 0;

	for (unsigned i = 0; e == 0 && i < g->h.n_pages; i++) {
		e = page_decode(g->raw[i], mac_key, PAGE_GROUP, g->group,
				&g->head[i], &g->body[i]);
		if (e == 0)
			body_slots(&g->body[i], &g->slots);
		in += g->h.len[i];
	}
	if (e == 0 && g->h.n_pages == 2 &&
	    g->head[0].cipher != g->head[1].cipher)
		e = -EBADMSG;
	if (e < 0)
		return receive_why(c->r, e,
				   "a page of a chunk does not verify");
	if (slots_count(&g->slots) != g->h.n_blocks)
		return receive_why(
		    c->r, -EPROTO,
		    "a group has other blocks than its page says");
	g->blocks = in;
	return 0;
}

/* The record of a group, in its parts. */
static int
next_group(struct content *c, struct group *g)
{
	struct receiver *r = c->r;
	const uint8_t *in = r->buf + GROUP_HEAD_LEN;
	int e;

	e = receive_next(r, RECORD_GROUP);
	if (e < 0)
		return e;
	e = group_head_get(r->buf, r->len, &g->h);
	if (e == 0 && g->h.group != g->group)
		e = -EPROTO;
	if (e == 0)
		e = page_restore(in, g->h.len[0], g->raw[0]);
	if (e == 0 && g->h.n_pages == 2)
		e = page_restore(in + g->h.len[0], g->h.len[1], g->raw[1]);
	return e < 0 ? receive_why(r, e, "a group is malformed") : 0;
}

/* Keys come of the cipher, and that stands in the page: a wrong one verifies
 * nothing. */
static int
derive(struct content *c, uint64_t index, const uint8_t salt[static 12],
       uint8_t cipher)
{
	struct receiver *r = c->r;
	int e;

	if (!cipher_name(cipher))
		return receive_why(r, -EBADMSG,
				   "a page of a chunk does not verify");
	e = chunk_keys(c->dk, salt, cipher, index, r->keys->chunk);
	return e == 0 ? aead_set_key(r->aead, cipher, r->keys->chunk) : e;
}

/* 1: yes. */
static int
entry_verifies(struct content *c, const struct group *g, unsigned i,
	       const struct entry *e)
{
	struct receiver *r = c->r;
	uint8_t ad[10];
	struct writer w = writer_over(ad, sizeof(ad));
	int x;

	if (e->state != ENTRY_DATA)
		return 1;
	put_u64(&w, g->group / CHUNK_GROUPS);
	put_u16(&w, (uint16_t)(g->group % CHUNK_GROUPS * GROUP_BLOCKS + i));
	x = aead_open(r->aead, e->unique, ad, sizeof(ad),
		      g->blocks + (size_t)g->place[e->slot] * BLOCK_SIZE,
		      r->keys->plain, BLOCK_SIZE, e->digest);
	if (x == -EBADMSG)
		return 0;
	return x < 0 ? x : 1;
}

/* Where two pages differ in an entry, either may be the one that stands: who
 * reads it here comes to the same as who would have read it there. */
static int
check_blocks(struct content *c, struct group *g)
{
	unsigned last = g->h.n_pages - 1;
	unsigned place = 0;
	int e = 1;

	for (unsigned s = 0; s < GROUP_SLOTS; s++)
		if (slots_has(&g->slots, s))
			g->place[s] = (uint8_t)place++;
	for (unsigned i = 0; e == 1 && i < GROUP_BLOCKS; i++) {
		const struct entry *a = &g->body[0].entry[i];
		const struct entry *b = &g->body[last].entry[i];

		e = entry_verifies(c, g, i, a);
		if (e == 0 && last > 0 && memcmp(a, b, sizeof(*a)) != 0)
			e = entry_verifies(c, g, i, b);
	}
	if (e == 0)
		e = receive_why(c->r, -EBADMSG, "a block does not verify");
	return e < 0 ? e : 0;
}

/* ---- chunks ---- */

static int
store_group(struct content *c, struct group *g, const uint8_t *salt)
{
	struct chunk_dest *d = &c->r->dest;
	int e = 0;

	if (g->h.n_pages == 1)
		memcpy(g->raw[1], g->raw[0], PAGE_LEN);
	if (g->group % CHUNK_GROUPS == 0)
		e = dest_chunk_begin(d, g->group / CHUNK_GROUPS, salt);
	if (e < 0)
		return e;
	dest_group_pages(d, g->group % CHUNK_GROUPS,
			 (const uint8_t(*)[PAGE_LEN])g->raw);
	return dest_blocks(d, g->group, &g->slots, g->blocks);
}

static int
end_chunk(struct content *c, struct super *su)
{
	struct receiver *r = c->r;
	int e;

	su->store = catalog_meta(r->c)->uuid;
	su->lineage = c->meta->lineage;
	su->dk = c->meta->key;
	su->layer = c->meta->uuid;
	su->created = c->meta->created;
	e = dest_chunk_end(&r->dest, su, r->keys->chunk + KEY_LEN);
	if (e < 0)
		return e;
	r->ret->chunks++;
	r->at_layer = c->n;
	r->at_chunk = su->index + 1;
	if (r->dest.bytes < CHECKPOINT_BYTES)
		return 0;
	r->dest.bytes = 0;
	return receive_checkpoint(r, c->n, su->index + 1);
}

static int
receive_group(struct content *c, struct group *g, struct super *su, bool keep)
{
	int e;

	e = next_group(c, g);
	if (e == 0 && su->cipher == 0) {
		su->cipher = g->raw[0][32];
		e = derive(c, su->index, su->salt, su->cipher);
	}
	if (e == 0)
		e = open_pages(c, g, c->r->buf + GROUP_HEAD_LEN);
	if (e == 0 && g->head[0].cipher != su->cipher)
		e = receive_why(c->r, -EBADMSG, "a chunk has two ciphers");
	if (e == 0)
		e = check_blocks(c, g);
	if (e < 0)
		return e;
	for (unsigned i = 0; i < g->h.n_pages; i++)
		if (su->session < g->head[i].session)
			su->session = g->head[i].session;
	c->r->blocks += g->h.n_blocks;
	if (!keep)
		return 0;
	c->r->ret->blocks += g->h.n_blocks;
	return store_group(c, g, su->salt);
}

static int
receive_chunk(struct content *c, uint64_t index, const uint8_t salt[static 12])
{
	CLEANUP(free_memp) struct group *g = malloc(sizeof(*g));
	struct super su = { .index = index };
	struct receiver *r = c->r;
	bool keep = c->keep && index >= c->begin;
	int e = g ? 0 : -ENOMEM;

	memcpy(su.salt, salt, sizeof(su.salt));
	for (unsigned i = 0; e == 0 && i < CHUNK_GROUPS; i++) {
		g->group = index * CHUNK_GROUPS + i;
		memset(&g->slots, 0, sizeof(g->slots));
		e = receive_group(c, g, &su, keep);
	}
	secret_wipe(r->keys->plain, sizeof(r->keys->plain));
	if (e < 0)
		return e;
	r->chunks++;
	if (r->source->progress)
		r->source->progress(r->source->arg, r->chunks, r->head.chunks);
	return keep ? end_chunk(c, &su) : 0;
}

/* ---- layers ---- */

static int
receive_map_page(struct content *c, uint64_t n)
{
	struct receiver *r = c->r;
	uint8_t raw[PAGE_LEN];
	union page_body body;
	int e;

	e = next_page(c, RECORD_MAP, PAGE_MAP, n, raw, &body);
	if (e < 0)
		return e;
	/* If any of its chunks was durable, so was the page. */
	if (c->keep && n * MAP_CHUNKS >= c->begin) {
		e = dest_page(&r->dest, PAGE_MAP, n, raw);
		if (e == 0)
			e = dest_map_ready(&r->dest, n, &body);
		if (e == -EEXIST)
			e = receive_why(r, e,
					"a chunk of it is here, under another "
					"layer (which has been merged on the "
					"other side)");
		if (e < 0)
			return e;
	}
	for (unsigned i = 0; e == 0 && i < MAP_CHUNKS; i++) {
		uint64_t index = n * MAP_CHUNKS + i;

		if (body.entry[i].state == ENTRY_DATA && index >= c->from)
			e = receive_chunk(c, index, body.entry[i].unique);
	}
	return e;
}

/* Its map and layer.ini, or those that are there. */
static int
begin(struct content *c)
{
	const struct plan_layer *l = &c->r->plan.v[c->n];
	struct chunk_dest *d = &c->r->dest;
	bool again = c->begin > 0;
	int e;

	memset(d, 0, sizeof(*d));
	d->st = c->r->st;
	d->ref = l->ref;
	e = dest_begin(d, again);
	if (e == 0 && !again)
		e = layer_put_text(d->st, &l->ref, l->text);
	if (e == -ENOENT)
		e = receive_why(c->r, -EUCLEAN,
				"what was received before is not there");
	return e;
}

static int
receive_maps(struct content *c)
{
	int e;

	e = read_roots(c, c->begin > 0);
	for (uint64_t n = c->from / MAP_CHUNKS;
	     e == 0 && n < (uint64_t)ROOTS * ROOT_BITS; n++) {
		unsigned bit = n % ROOT_BITS;

		if (c->roots[n / ROOT_BITS].bitmap[bit / 8] >> (bit % 8) & 1)
			e = receive_map_page(c, n);
	}
	return e;
}

/* A layer that is there whole: what there is of it is durable then. */
static int
end(struct content *c)
{
	struct receiver *r = c->r;
	size_t next = c->n + 1;

	dest_close(&r->dest);
	r->ret->layers++;
	while (next < r->plan.n && r->plan.v[next].there)
		next++;
	if (next == r->plan.n)
		return receive_checkpoint(r, c->n, CHUNKS_MAX);
	return receive_checkpoint(r, next, 0);
}

static int
receive_layer(struct content *c)
{
	struct receiver *r = c->r;
	const struct plan_layer *l = &r->plan.v[c->n];
	int e;

	c->meta = &l->meta;
	c->dk = receive_dk(r, &l->meta.key);
	c->from = c->n == r->head.at_layer ? r->head.at_chunk : 0;
	c->begin = c->n == r->safe_layer ? r->safe_chunk : 0;
	c->keep = !l->there && c->n >= r->safe_layer;
	e = layer_map_key(c->dk, &l->ref.layer, &r->keys->map);
	if (e == 0 && c->keep)
		e = begin(c);
	if (e == 0)
		e = receive_maps(c);
	if (e == 0 && c->keep)
		e = end(c);
	dest_close(&r->dest);
	return e;
}

int
receive_contents(struct receiver *r)
{
	CLEANUP(free_memp) struct content *c = calloc(1, sizeof(*c));
	int e = c ? 0 : -ENOMEM;

	for (size_t i = r->head.at_layer; e == 0 && i < r->plan.n; i++) {
		c->r = r;
		c->n = i;
		e = receive_layer(c);
	}
	return e;
}
