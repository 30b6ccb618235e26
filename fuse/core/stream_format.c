/*
 * stream_format.c - the records of a stream as bytes (sealdisk-stream(5)).
 *
 * Nothing that comes from a stream is believed here: each length is held
 * against the limit of its type before anybody allocates or reads by it.
 */
#include "stream_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/grow.h>

#define STREAM_MAGIC 0x54534453u /* "SDST" */
#define STREAM_VERSION 1
#define FLAG_BASE 1u
#define HEAD_CRC_OFFSET 36

/* ---- records ---- */

static const struct {
	uint32_t min, max;
} limits[] = {
	[RECORD_HEAD] = { STREAM_HEAD_LEN, STREAM_HEAD_LEN },
	[RECORD_DESCRIPTOR] = { 1, META_MAX },
	[RECORD_LAYER] = { 1, META_MAX },
	[RECORD_ROOT] = { PAGE_HEADER, PAGE_LEN },
	[RECORD_MAP] = { PAGE_HEADER, PAGE_LEN },
	[RECORD_GROUP] = { GROUP_HEAD_LEN + PAGE_HEADER, RECORD_MAX },
	[RECORD_END] = { END_LEN, END_LEN },
};
#define N_LIMITS (sizeof(limits) / sizeof(limits[0]))

void
record_put(const struct record *rec, uint8_t out[static RECORD_HEAD_LEN])
{
	struct writer w = writer_over(out, RECORD_HEAD_LEN);

	put_u32(&w, STREAM_MAGIC);
	put_u8(&w, (uint8_t)rec->type);
	put_zeros(&w, 3);
	put_u32(&w, rec->len);
	put_u32(&w, rec->crc);
	put_u64(&w, rec->number);
	put_bytes(&w, rec->stream, sizeof(rec->stream));
	put_u32(&w, crc32c(out, HEAD_CRC_OFFSET));
}

int
record_get(const uint8_t in[static RECORD_HEAD_LEN], struct record *ret)
{
	struct reader r = reader_over(in, RECORD_HEAD_LEN);
	uint32_t zeros, crc;
	struct record rec;
	uint8_t type;

	if (get_u32(&r) != STREAM_MAGIC)
		return -EPROTO;
	type = get_u8(&r);
	zeros = get_u8(&r);
	zeros |= get_u16(&r);
	rec.len = get_u32(&r);
	rec.crc = get_u32(&r);
	rec.number = get_u64(&r);
	get_bytes(&r, rec.stream, sizeof(rec.stream));
	crc = get_u32(&r);
	if (crc != crc32c(in, HEAD_CRC_OFFSET))
		return -EBADMSG;
	if (type < RECORD_HEAD || type >= N_LIMITS || zeros ||
	    rec.len < limits[type].min || rec.len > limits[type].max)
		return -EPROTO;
	rec.type = type;
	*ret = rec;
	return 0;
}

void
stream_head_put(const struct stream_head *h,
		uint8_t out[static STREAM_HEAD_LEN])
{
	struct writer w = writer_over(out, STREAM_HEAD_LEN);

	put_u32(&w, STREAM_VERSION);
	put_u32(&w, h->has_base ? FLAG_BASE : 0);
	put_u32(&w, h->n_layers);
	put_u32(&w, h->at_layer);
	put_u64(&w, h->at_chunk);
	put_u64(&w, h->chunks);
	put_bytes(&w, h->base.lineage.bytes, 16);
	put_bytes(&w, h->base.layer.bytes, 16);
	put_bytes(&w, h->store.bytes, 16);
	put_bytes(&w, h->snapshot.bytes, 16);
	put_zeros(&w, 8);
}

int
stream_head_get(const uint8_t in[static STREAM_HEAD_LEN],
		struct stream_head *ret)
{
	struct reader r = reader_over(in, STREAM_HEAD_LEN);
	struct stream_head h;
	uint32_t flags;
	bool nil;

	if (get_u32(&r) != STREAM_VERSION)
		return -EPROTONOSUPPORT;
	flags = get_u32(&r);
	h.has_base = flags & FLAG_BASE;
	h.n_layers = get_u32(&r);
	h.at_layer = get_u32(&r);
	h.at_chunk = get_u64(&r);
	h.chunks = get_u64(&r);
	get_bytes(&r, h.base.lineage.bytes, 16);
	get_bytes(&r, h.base.layer.bytes, 16);
	get_bytes(&r, h.store.bytes, 16);
	get_bytes(&r, h.snapshot.bytes, 16);
	nil = uuid_is_nil(&h.base.lineage) && uuid_is_nil(&h.base.layer);
	if (flags > FLAG_BASE || nil == h.has_base || get_u64(&r) != 0 ||
	    h.n_layers == 0 || h.n_layers >= LAYERS_MAX ||
	    h.at_layer >= h.n_layers || h.at_chunk > CHUNKS_MAX)
		return -EPROTO;
	*ret = h;
	return 0;
}

void
group_head_put(const struct group_head *h, uint8_t out[static GROUP_HEAD_LEN])
{
	struct writer w = writer_over(out, GROUP_HEAD_LEN);

	put_u64(&w, h->group);
	put_u8(&w, (uint8_t)h->n_pages);
	put_u8(&w, 0);
	put_u16(&w, (uint16_t)h->n_blocks);
	put_u16(&w, (uint16_t)h->len[0]);
	put_u16(&w, (uint16_t)h->len[1]);
}

int
group_head_get(const uint8_t *in, size_t len, struct group_head *ret)
{
	struct reader r = reader_over(in, len);
	struct group_head h;
	uint8_t zero;

	h.group = get_u64(&r);
	h.n_pages = get_u8(&r);
	zero = get_u8(&r);
	h.n_blocks = get_u16(&r);
	h.len[0] = get_u16(&r);
	h.len[1] = get_u16(&r);
	if (r.bad || zero || h.n_pages < 1 || h.n_pages > 2 ||
	    h.n_blocks > GROUP_SLOTS || (h.n_pages == 1) != (h.len[1] == 0) ||
	    len != GROUP_HEAD_LEN + (size_t)h.len[0] + h.len[1] +
		       (size_t)h.n_blocks * BLOCK_SIZE)
		return -EPROTO;
	*ret = h;
	return 0;
}

/* ---- pages ---- */

unsigned
page_shorten(const uint8_t raw[static PAGE_LEN])
{
	unsigned len = PAGE_LEN;

	while (len > PAGE_HEADER && raw[len - 1] == 0)
		len--;
	return len;
}

int
page_restore(const uint8_t *in, size_t len, uint8_t raw[static PAGE_LEN])
{
	if (len < PAGE_HEADER || len > PAGE_LEN ||
	    (len > PAGE_HEADER && in[len - 1] == 0))
		return -EPROTO;
	memcpy(raw, in, len);
	memset(raw + len, 0, PAGE_LEN - len);
	return 0;
}

void
body_slots(const union page_body *b, struct slots *ret)
{
	for (unsigned i = 0; i < PAGE_ENTRIES; i++)
		if (b->entry[i].state == ENTRY_DATA)
			slots_add(ret, b->entry[i].slot);
}

unsigned
slots_next(const struct slots *s, unsigned slot, unsigned *ret_run)
{
	unsigned end;

	while (slot < GROUP_SLOTS && !slots_has(s, slot))
		slot++;
	for (end = slot; end < GROUP_SLOTS && slots_has(s, end);)
		end++;
	*ret_run = end - slot;
	return slot;
}

/* ---- tokens ---- */

void
token_format(const struct token *t, char out[static STREAM_TOKEN_LEN])
{
	char snapshot[UUID_STR_LEN], layer[UUID_STR_LEN];

	uuid_format(&t->snapshot, snapshot);
	uuid_format(&t->layer, layer);
	(void)snprintf(out, STREAM_TOKEN_LEN, "%s:%s:%" PRIu64, snapshot, layer,
		       t->chunk);
}

int
token_parse(const char *text, struct token *ret)
{
	char part[UUID_STR_LEN] = "";
	struct token t;

	if (strlen(text) < (size_t)2 * UUID_STR_LEN ||
	    text[UUID_STR_LEN - 1] != ':' || text[2 * UUID_STR_LEN - 1] != ':')
		return -EINVAL;
	memcpy(part, text, UUID_STR_LEN - 1);
	if (uuid_parse(part, &t.snapshot) < 0)
		return -EINVAL;
	memcpy(part, text + UUID_STR_LEN, UUID_STR_LEN - 1);
	if (uuid_parse(part, &t.layer) < 0 ||
	    parse_u64(text + (size_t)2 * UUID_STR_LEN, &t.chunk) < 0 ||
	    t.chunk > CHUNKS_MAX)
		return -EINVAL;
	*ret = t;
	return 0;
}

/* ---- plans ---- */

int
plan_add(struct plan *p, const struct layer_meta *m, char *text, size_t len)
{
	bool full = p->n + 1 >= LAYERS_MAX;
	struct plan_layer *v = NULL;

	if (!full)
		v = grow(p->v, p->n, &p->cap, sizeof(*v));
	if (!v) {
		free(text);
		return full ? -E2BIG : -ENOMEM;
	}
	p->v = v;
	v[p->n++] = (struct plan_layer){
		.ref = { m->lineage, m->uuid },
		.meta = *m,
		.text = text,
		.len = len,
	};
	return 0;
}

void
plan_done(struct plan *p)
{
	while (p->n > 0)
		free(p->v[--p->n].text);
	free(p->v);
	*p = (struct plan){ 0 };
}

size_t
plan_find(const struct plan *p, const struct uuid *layer)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		if (uuid_equal(&p->v[i].ref.layer, layer))
			break;
	return i;
}
