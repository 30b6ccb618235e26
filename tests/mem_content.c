/*
 * mem_content.c - what a file holds, what of it is durable, and what a crash
 * makes of the difference.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem_private.h"

static bool
has(const struct sectors *s, unsigned i)
{
	return s->w[i / 64] >> (i % 64) & 1;
}

static void
set(struct sectors *s, unsigned i, bool on)
{
	uint64_t bit = UINT64_C(1) << (i % 64);

	s->w[i / 64] = on ? s->w[i / 64] | bit : s->w[i / 64] & ~bit;
}

static bool
any(const struct sectors *s)
{
	return s->w[0] || s->w[1];
}

/* A test without memory is at its end. */
static void *
need(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint8_t *
buffer(const uint8_t *from)
{
	uint8_t *p = need(from ? malloc(PIECE_LEN) : calloc(1, PIECE_LEN));

	if (from)
		memcpy(p, from, PIECE_LEN);
	return p;
}

static struct piece *
piece_at(const struct content *c, uint64_t off)
{
	size_t i = off / PIECE_LEN;

	return i < c->n ? c->pieces[i] : NULL;
}

static struct piece *
need_piece(struct content *c, uint64_t off)
{
	size_t i = off / PIECE_LEN, n = c->n ? c->n : 4;

	while (n <= i)
		n *= 2;
	if (n > c->n) {
		c->pieces = need(realloc(c->pieces, n * sizeof(*c->pieces)));
		memset(c->pieces + c->n, 0, (n - c->n) * sizeof(*c->pieces));
		c->n = n;
	}
	if (!c->pieces[i])
		c->pieces[i] = need(calloc(1, sizeof(**c->pieces)));
	return c->pieces[i];
}

static void
own_seen(struct piece *p)
{
	if (!p->seen || p->seen == p->durable)
		p->seen = buffer(p->seen);
}

/* Make sector ${i} durable as it is seen. */
static void
write_back(struct piece *p, unsigned i)
{
	size_t at = (size_t)i * SECTOR_LEN;

	if (!p->durable)
		p->durable = buffer(NULL);
	if (p->seen)
		memcpy(p->durable + at, p->seen + at, SECTOR_LEN);
	else
		memset(p->durable + at, 0, SECTOR_LEN);
}

/* Sectors of [off, off + len) of a piece are about to change. */
static void
mark(struct piece *p, size_t off, size_t len, uint64_t *rng)
{
	unsigned i, end = (unsigned)((off + len - 1) / SECTOR_LEN);

	for (i = (unsigned)(off / SECTOR_LEN); i <= end; i++) {
		/* A kernel may write back at any time. */
		if (rng && has(&p->dirty, i) && mem_random(rng) % 4 == 0)
			write_back(p, i);
		set(&p->dirty, i, true);
		set(&p->lost, i, false);
	}
}

static uint16_t
unit_mask(size_t off, size_t len)
{
	unsigned first = (unsigned)(off / UNIT_LEN);
	unsigned end = (unsigned)((off + len - 1) / UNIT_LEN);

	return (uint16_t)((1U << (end + 1)) - (1U << first));
}

static size_t
part(uint64_t off, uint64_t len)
{
	uint64_t room = PIECE_LEN - off % PIECE_LEN;

	return (size_t)(len < room ? len : room);
}

void
content_read(const struct content *c, void *buf, size_t len, uint64_t off)
{
	uint8_t *out = buf;

	while (len > 0) {
		const struct piece *p = piece_at(c, off);
		size_t n = part(off, len);

		if (p && p->seen)
			memcpy(out, p->seen + off % PIECE_LEN, n);
		else
			memset(out, 0, n);
		out += n;
		off += n;
		len -= n;
	}
}

unsigned
content_cost(const struct content *c, size_t len, uint64_t off)
{
	unsigned units = 0;

	while (len > 0) {
		const struct piece *p = piece_at(c, off);
		size_t n = part(off, len);
		unsigned mask = unit_mask(off % PIECE_LEN, n);

		units += (unsigned)__builtin_popcount(
		    p ? mask & ~(unsigned)p->used : mask);
		off += n;
		len -= n;
	}
	return units;
}

int
content_write(struct content *c, const void *buf, size_t len, uint64_t off,
	      uint64_t *rng)
{
	unsigned units = content_cost(c, len, off);
	const uint8_t *in = buf;

	while (len > 0) {
		struct piece *p = need_piece(c, off);
		size_t n = part(off, len), at = off % PIECE_LEN;

		own_seen(p);
		mark(p, at, n, rng);
		memcpy(p->seen + at, in, n);
		p->used |= unit_mask(at, n);
		in += n;
		off += n;
		len -= n;
	}
	if (off > c->size)
		c->size = off;
	return (int)units;
}

/* Whole units of the range. */
static uint16_t
inner_mask(size_t off, size_t len)
{
	size_t start = (off + UNIT_LEN - 1) / UNIT_LEN * UNIT_LEN;
	size_t end = (off + len) / UNIT_LEN * UNIT_LEN;

	return start < end ? unit_mask(start, end - start) : 0;
}

unsigned
content_zero(struct content *c, uint64_t off, uint64_t len, uint64_t *rng)
{
	uint64_t end = (uint64_t)c->n * PIECE_LEN;
	unsigned units = 0;

	if (off >= end)
		return 0;
	if (len > end - off)
		len = end - off;
	while (len > 0) {
		struct piece *p = piece_at(c, off);
		size_t n = part(off, len), at = off % PIECE_LEN;
		uint16_t mask = inner_mask(at, n);

		if (p && p->seen) {
			own_seen(p);
			mark(p, at, n, rng);
			memset(p->seen + at, 0, n);
			units += (unsigned)__builtin_popcount(
			    (unsigned)p->used & mask);
			p->used &= (uint16_t)~mask;
		}
		off += n;
		len -= n;
	}
	return units;
}

unsigned
content_truncate(struct content *c, uint64_t size, uint64_t *rng)
{
	unsigned units = 0;

	if (size < c->size)
		units = content_zero(c, size, UINT64_MAX - size, rng);
	c->size = size;
	return units;
}

unsigned
content_units(const struct content *c)
{
	unsigned units = 0;
	size_t i;

	for (i = 0; i < c->n; i++)
		if (c->pieces[i])
			units +=
			    (unsigned)__builtin_popcount(c->pieces[i]->used);
	return units;
}

/* Seen and durable become one buffer, the durable one. */
static void
settle(struct piece *p)
{
	if (p->seen != p->durable)
		free(p->seen);
	p->seen = p->durable;
	memset(&p->dirty, 0, sizeof(p->dirty));
	memset(&p->lost, 0, sizeof(p->lost));
}

static void
sync_piece(struct piece *p)
{
	unsigned i;

	if (!any(&p->dirty))
		return;
	if (!any(&p->lost)) {
		if (p->durable != p->seen)
			free(p->durable);
		if (!p->used) { /* all of it is zeros */
			free(p->seen);
			p->seen = NULL;
		}
		p->durable = p->seen;
		memset(&p->dirty, 0, sizeof(p->dirty));
		return;
	}
	for (i = 0; i < PIECE_SECTORS; i++)
		if (has(&p->dirty, i))
			write_back(p, i);
	memset(&p->dirty, 0, sizeof(p->dirty));
}

void
content_record(struct content *c, const void *buf, uint64_t len, uint64_t off)
{
	struct change *ch = need(calloc(1, sizeof(*ch)));

	ch->off = off;
	ch->len = len;
	ch->size = c->size;
	if (buf)
		ch->data = memcpy(need(malloc(len)), buf, len);
	if (!c->changes)
		c->last = &c->changes;
	*c->last = ch;
	c->last = &ch->next;
}

static void
forget_changes(struct content *c)
{
	struct change *ch;

	while ((ch = c->changes)) {
		c->changes = ch->next;
		free(ch->data);
		free(ch);
	}
}

void
content_sync(struct content *c)
{
	size_t i;

	forget_changes(c);
	for (i = 0; i < c->n; i++)
		if (c->pieces[i])
			sync_piece(c->pieces[i]);
	c->durable_size = c->size;
}

/* Some sectors went to the medium before it failed. */
void
content_lose(struct content *c, uint64_t *rng)
{
	size_t i;
	unsigned k;

	for (i = 0; i < c->n; i++) {
		struct piece *p = c->pieces[i];

		for (k = 0; p && k < PIECE_SECTORS; k++) {
			if (!has(&p->dirty, k))
				continue;
			if (mem_random(rng) % 2)
				write_back(p, k);
			else
				set(&p->lost, k, true);
			set(&p->dirty, k, false);
		}
		if (p && !any(&p->lost) && p->durable != p->seen)
			settle(p);
	}
}

void
content_drop(struct content *c)
{
	size_t i;
	unsigned k;

	for (i = 0; i < c->n; i++) {
		struct piece *p = c->pieces[i];

		if (!p || !any(&p->lost))
			continue;
		own_seen(p);
		for (k = 0; k < PIECE_SECTORS; k++) {
			size_t at = (size_t)k * SECTOR_LEN;

			if (!has(&p->lost, k))
				continue;
			if (p->durable)
				memcpy(p->seen + at, p->durable + at,
				       SECTOR_LEN);
			else
				memset(p->seen + at, 0, SECTOR_LEN);
		}
		memset(&p->lost, 0, sizeof(p->lost));
		if (!any(&p->dirty))
			settle(p);
	}
}

static uint16_t
count_used(const struct piece *p)
{
	uint16_t used = 0;
	unsigned i;

	for (i = 0; p->seen && i < PIECE_LEN; i++)
		if (p->seen[i])
			used |= (uint16_t)(1U << (i / UNIT_LEN));
	return used;
}

/* How much of something is kept: nothing, all, or some of it. */
static unsigned
fate(uint64_t *rng)
{
	return (unsigned)(mem_random(rng) % 4);
}

static void
crash_piece(struct piece *p, unsigned how, uint64_t *rng)
{
	unsigned k;

	for (k = 0; k < PIECE_SECTORS; k++)
		if (has(&p->dirty, k) &&
		    (how == 1 || (how > 1 && mem_random(rng) % 2)))
			write_back(p, k);
	settle(p);
	p->used = count_used(p);
}

void
content_crash(struct content *c, uint64_t *rng)
{
	unsigned how = fate(rng);
	size_t i;

	for (i = 0; i < c->n; i++) {
		struct piece *p = c->pieces[i];

		if (p && p->seen != p->durable)
			crash_piece(p, how > 1 ? fate(rng) : how, rng);
	}
	if (mem_random(rng) % 2)
		c->size = c->durable_size;
	(void)content_zero(c, c->size, UINT64_MAX - c->size, rng);
	content_sync(c);
}

void
content_done(struct content *c)
{
	size_t i;

	forget_changes(c);
	for (i = 0; i < c->n; i++) {
		struct piece *p = c->pieces[i];

		if (!p)
			continue;
		if (p->durable != p->seen)
			free(p->durable);
		free(p->seen);
		free(p);
	}
	free(c->pieces);
	*c = (struct content){ 0 };
}
