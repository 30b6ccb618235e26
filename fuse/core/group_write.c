/*
 * group_write.c - blocks of one group, written and zeroed.
 *
 * A block is never overwritten in place.  Each has two natural slots, its own
 * number in the lower and in the upper half, so that what is written in order
 * lies in order and a group that is rewritten goes from one half to the other;
 * where both are taken, any free slot serves.  A slot is free when neither the
 * table in memory, nor an image under way, nor a copy that a crash could bring
 * back names it.
 *
 * The table changes only when all of the request's blocks are in the file.
 */
#include "group_private.h"
#include "kept_private.h"

#include <errno.h>
#include <string.h>

#include "planted.h"

/* From this length on writeback is begun as data comes in, and what it replaces
 * leaves the cache of the store's file system. */
#define WRITEBACK_MIN (64 * 1024)

/* A write into one group, block by block. */
struct plan {
	unsigned first, n; /* blocks of the group */
	const uint8_t *src[GROUP_BLOCKS];
	struct entry entry[GROUP_BLOCKS]; /* what they will be */
};

static struct slots
taken_slots(const struct page *p)
{
	struct slots t = p->used;

	if (PLANTED(SLOTS_FREED_EARLY))
		return t;
	slots_or(&t, &p->infl);
	slots_or(&t, &p->prot);
	return t;
}

static unsigned
free_run(const struct slots *taken, unsigned at, unsigned max)
{
	unsigned n = 0;

	while (n < max && at + n < GROUP_SLOTS && !slots_has(taken, at + n))
		n++;
	return n;
}

/* The first run of ${want} free slots, else the longest. */
static unsigned
search_run(const struct slots *taken, unsigned want, unsigned *ret_at)
{
	unsigned best = 0;

	for (unsigned at = 0; at < GROUP_SLOTS && best < want;) {
		unsigned n = free_run(taken, at, want);

		if (n > best) {
			best = n;
			*ret_at = at;
		}
		at += n + 1;
	}
	return best;
}

/* Slots for ${want} blocks from ${b} on: how many of them, from *${ret_at}. */
static unsigned
choose_slots(const struct page *p, const struct slots *taken, unsigned b,
	     unsigned want, unsigned *ret_at)
{
	unsigned low = free_run(taken, b, want);
	unsigned high = free_run(taken, b + GROUP_BLOCKS, want);
	bool low_space = slots_has(&p->space, b);
	bool high_space = slots_has(&p->space, b + GROUP_BLOCKS);

	if (low == want && (low_space || !high_space || high < want)) {
		*ret_at = b;
		return want;
	}
	if (high == want) {
		*ret_at = b + GROUP_BLOCKS;
		return want;
	}
	return search_run(taken, want, ret_at);
}

/* ---- the plan ---- */

static int
fill_block(struct scratch *s, struct chunk *c, const struct page *p,
	   uint64_t off, uint8_t *out)
{
	size_t n;

	return group_read_piece(s, c, p, out, BLOCK_SIZE, off, &n);
}

/* Where the new content of each block comes from: the request, or, at its two
 * ends, the old block with a part of it replaced. */
static int
plan_sources(struct plan *pl, struct scratch *s, struct chunk *c,
	     const struct page *p, const uint8_t *buf, size_t len, uint64_t off)
{
	uint8_t *room[2] = { s->block, s->other };
	unsigned i = 0, partial = 0;
	int r = 0;

	pl->first = block_of(off);
	for (; r == 0 && len > 0; i++) {
		size_t in = off % BLOCK_SIZE;
		size_t n = BLOCK_SIZE - in < len ? BLOCK_SIZE - in : len;

		pl->src[i] = buf;
		if (n < BLOCK_SIZE) {
			uint8_t *b = room[partial++];

			r = fill_block(s, c, p, off - in, b);
			memcpy(b + in, buf, n);
			pl->src[i] = b;
		}
		buf += n;
		off += n;
		len -= n;
	}
	pl->n = i;
	return r;
}

/* Which blocks are zeros: they need no slot.  How many do. */
static unsigned
plan_states(struct plan *pl, const struct layer *l)
{
	uint8_t zero = l->meta.has_parent ? ENTRY_ZERO : ENTRY_ABSENT;
	unsigned n = 0;

	for (unsigned i = 0; i < pl->n; i++) {
		memset(&pl->entry[i], 0, sizeof(pl->entry[i]));
		pl->entry[i].state = zero;
		if (!block_is_zero(pl->src[i])) {
			pl->entry[i].state = ENTRY_DATA;
			n++;
		}
	}
	return n;
}

/* ---- sealing and writing ---- */

/* Blocks ${i} to ${i} + ${n} of the plan into slots from ${slot} on. */
static int
seal_run(struct plan *pl, struct scratch *s, struct chunk *c, struct page *p,
	 const struct nonce *nonce, unsigned i, unsigned n, unsigned slot)
{
	unsigned bno =
	    (unsigned)(p->index % CHUNK_GROUPS) * GROUP_BLOCKS + pl->first;
	size_t len = (size_t)n * BLOCK_SIZE;
	uint64_t at = slot_offset(p->index, slot);
	struct store_file *f;
	int r;

	r = chunk_file(c, &f);
	for (unsigned k = 0; r == 0 && k < n; k++) {
		pl->entry[i + k].slot = (uint8_t)(slot + k);
		r = block_seal(s, c, bno + i + k, nonce, i + k, pl->src[i + k],
			       s->run + (size_t)k * BLOCK_SIZE,
			       &pl->entry[i + k]);
	}
	if (r == 0)
		r = f->st->ops->write(f, s->run, len, at);
	if (r == 0 && len >= WRITEBACK_MIN)
		f->st->ops->writeback(f, at, len);
	return r;
}

static unsigned
data_run(const struct plan *pl, unsigned i)
{
	unsigned n = 0;

	while (i + n < pl->n && pl->entry[i + n].state == ENTRY_DATA)
		n++;
	return n;
}

static int
seal_plan(struct plan *pl, struct scratch *s, struct chunk *c, struct page *p,
	  struct slots taken)
{
	struct nonce nonce;
	int r;

	r = nonce_draw(&nonce);
	for (unsigned i = 0; r == 0 && i < pl->n;) {
		unsigned n = data_run(pl, i), slot = 0;

		if (n == 0) {
			i++;
			continue;
		}
		n = choose_slots(p, &taken, pl->first + i, n, &slot);
		for (unsigned k = 0; k < n; k++)
			slots_add(&taken, slot + k);
		r = seal_run(pl, s, c, p, &nonce, i, n, slot);
		i += n;
	}
	return r;
}

/*
 * Nobody reads again what a long run replaces, unless a crash brings it back.
 * Its place in the store's cache is what the next run needs: memory that is in
 * use anyway costs less than memory that is not.
 */
static void
uncache_old(const struct plan *pl, const struct page *p)
{
	const struct entry *e = &p->body.entry[pl->first];
	struct store_file *f = atomic_load(&p->chunk->file);
	unsigned n;

	for (unsigned i = 0; f && i < pl->n; i += n) {
		for (n = 1; i + n < pl->n && e[i].state == ENTRY_DATA &&
			    e[i + n].state == ENTRY_DATA &&
			    e[i + n].slot == e[i].slot + n;)
			n++;
		if (n * BLOCK_SIZE >= WRITEBACK_MIN)
			f->st->ops->uncache(f, slot_offset(p->index, e[i].slot),
					    (uint64_t)n * BLOCK_SIZE);
	}
}

/* Put the plan into the table. */
static void
apply_plan(const struct plan *pl, struct page *p)
{
	int64_t delta = 0;

	for (unsigned i = 0; i < pl->n; i++) {
		struct entry *e = &p->body.entry[pl->first + i];

		if (e->state == ENTRY_DATA) {
			slots_del(&p->used, e->slot);
			delta--;
		}
		*e = pl->entry[i];
		if (e->state == ENTRY_DATA) {
			slots_add(&p->used, e->slot);
			slots_add(&p->space, e->slot);
			p->seals++;
			delta++;
		}
	}
	if (delta)
		blocks_changed(p->layer, p->index / CHUNK_GROUPS, delta);
	group_count_kept(p);
}

/* Seal, write and enter what the plan's sources are. */
static int
write_plan(struct plan *pl, struct scratch *s, struct chunk *c, struct page *p,
	   size_t len)
{
	struct slots taken = taken_slots(p);
	unsigned room = GROUP_SLOTS - slots_count(&taken);
	unsigned need = plan_states(pl, c->layer);
	int r = 0;

	if (need > room) {
		/* Only a commit of this very page frees slots. */
		page_dirty(p, 0);
		return -EAGAIN;
	}
	if (need > 0)
		r = seal_plan(pl, s, c, p, taken);
	if (r < 0)
		return r;
	if (len >= WRITEBACK_MIN)
		uncache_old(pl, p);
	apply_plan(pl, p);
	page_dirty(p, len);
	kept_group(p, pl->first, pl->n);
	chunk_touch(c);
	return 0;
}

static int
write_group(struct scratch *s, struct chunk *c, struct page *p,
	    const uint8_t *buf, size_t len, uint64_t off)
{
	struct plan pl;
	int r;

	r = block_key(s, c);
	if (r == 0)
		r = plan_sources(&pl, s, c, p, buf, len, off);
	return r < 0 ? r : write_plan(&pl, s, c, p, len);
}

/* Sealed too often under its chunk's key; another one has sealed what there is
 * once, so where that alone is too much it would be of no use. */
static bool
is_worn(const struct page *p)
{
	return p->seals >= p->disk->e->seal_limit &&
	       p->seals > slots_count(&p->used);
}

static int
write_locked(struct scratch *s, struct chunk *c, const uint8_t *buf, size_t len,
	     uint64_t off)
{
	struct page *p;
	int r;

	if (c->dead)
		return -ESTALE;
	r = group_get(c, off / GROUP_LEN, s, true, &p);
	if (r < 0)
		return r;
	if (is_worn(p))
		r = -EKEYEXPIRED;
	else
		r = write_group(s, c, p, buf, len, off);
	page_release(p);
	return r;
}

static bool
all_zero(const uint8_t *buf, size_t len)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0;
}

/* Whether zeros written to a chunk in this state change nothing. */
static bool
zero_already(struct layer *l, enum entry_state state)
{
	return state == ENTRY_ZERO ||
	       (state == ENTRY_ABSENT && !l->meta.has_parent);
}

int
group_write(struct disk *d, struct scratch *s, const void *buf, size_t len,
	    uint64_t off)
{
	uint64_t index = off / CHUNK_LEN;
	enum entry_state state;
	struct chunk *c;
	int r;

	if (cache_crowded(&d->e->cache, 2) || kept_crowded(d->e))
		return -EAGAIN;
	r = layer_lookup(d->top, s, index, &state, &c);
	if (r == 0 && state != ENTRY_DATA) {
		if (zero_already(d->top, state) && all_zero(buf, len))
			return 0;
		r = chunk_make(d->top, s, index, &c);
	}
	if (r < 0)
		return r;
	pthread_rwlock_rdlock(&c->lock);
	r = write_locked(s, c, buf, len, off);
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	/* Sealed too often under this chunk's key. */
	if (r == -EKEYEXPIRED)
		r = chunk_rewrite(d->top, s, index) ?: -ESTALE;
	return r;
}

/* ---- what a parent has ---- */

/* Blocks ${b} to ${b} + ${n}, which the parent has and the page does not. */
static int
fill_run(struct scratch *s, struct chunk *c, struct page *p, struct fill *f,
	 unsigned b, unsigned n)
{
	struct plan pl = { .first = b, .n = n };
	size_t len = (size_t)n * BLOCK_SIZE;
	int r;

	r = group_read(f->parent, s, f->buf, len,
		       p->index * GROUP_LEN + (uint64_t)b * BLOCK_SIZE);
	for (unsigned i = 0; i < n; i++)
		pl.src[i] = f->buf + (size_t)i * BLOCK_SIZE;
	if (r == 0)
		r = block_key(s, c);
	if (r == 0)
		r = write_plan(&pl, s, c, p, len);
	if (r == 0)
		f->blocks += n;
	return r;
}

/* Blocks of ${p} that are absent: from the parent, whose states are ${state}.
 * Where there will be no parent, what is absent is zeros. */
static int
fill_page(struct scratch *s, struct chunk *c, struct page *p, struct fill *f,
	  const uint8_t state[static GROUP_BLOCKS])
{
	const struct entry *e = p->body.entry;
	uint64_t at = p->index * GROUP_LEN;
	unsigned end = GROUP_BLOCKS, n;
	int r = 0;

	if (at + GROUP_LEN > f->limit)
		end = at >= f->limit
			  ? 0
			  : (unsigned)((f->limit - at + BLOCK_SIZE - 1) /
				       BLOCK_SIZE);
	for (unsigned b = 0; r == 0 && b < end; b += n) {
		for (n = 0; b + n < end && e[b + n].state == ENTRY_ABSENT &&
			    state[b + n] == ENTRY_DATA;)
			n++;
		if (n > 0) {
			r = fill_run(s, c, p, f, b, n);
			continue;
		}
		n = 1;
		if (e[b].state == ENTRY_ABSENT && state[b] == ENTRY_ZERO &&
		    !f->deep)
			group_zero_entries(p, b, 1, ENTRY_ZERO);
	}
	return r;
}

int
group_fill(struct chunk *c, struct scratch *s, uint64_t group, struct fill *f)
{
	uint8_t state[GROUP_BLOCKS];
	struct store_file *file;
	struct page *p;
	int r;

	if (c->dead)
		return -ESTALE;
	r = group_get(c, group, s, true, &p);
	if (r < 0)
		return r;
	/* As for zeros: the commit needs the file, also where no block does. */
	r = chunk_file(c, &file);
	if (r == 0)
		r = f->deep ? group_states(f->parent, s, group, state)
			    : own_states(f->parent, s, group, state);
	if (r == 0 && is_worn(p))
		r = -EKEYEXPIRED;
	if (r == 0)
		r = fill_page(s, c, p, f, state);
	if (atomic_load(&p->dirty))
		chunk_touch(c);
	page_release(p);
	return r;
}
