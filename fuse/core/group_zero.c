/*
 * group_zero.c - blocks of one group that become zeros: no ciphertext is
 * written for them, and their slots are free when the page is committed.
 */
#include "group_private.h"
#include "kept_private.h"

#include <errno.h>
#include <string.h>

void
group_zero_entries(struct page *p, unsigned first, unsigned n, uint8_t state)
{
	int64_t freed = 0;
	bool changed = false;

	for (unsigned i = first; i < first + n; i++) {
		struct entry *e = &p->body.entry[i];

		if (e->state == state)
			continue;
		if (e->state == ENTRY_DATA) {
			slots_del(&p->used, e->slot);
			freed++;
		}
		memset(e, 0, sizeof(*e));
		e->state = state;
		changed = true;
	}
	if (!changed)
		return;
	blocks_changed(p->layer, p->index / CHUNK_GROUPS, -freed);
	group_count_kept(p);
	page_dirty(p, 0);
	kept_group(p, first, n);
}

static int
zero_locked(struct scratch *s, struct chunk *c, uint64_t off, size_t len)
{
	struct store_file *f;
	struct page *p;
	int r;

	if (c->dead)
		return -ESTALE;
	r = group_get(c, off / GROUP_LEN, s, true, &p);
	if (r < 0)
		return r;
	/* The commit will write the page, so the file has to be open then: it
	 * is counted among the unsynced from here on. */
	r = chunk_file(c, &f);
	if (r == 0)
		group_zero_entries(
		    p, block_of(off), (unsigned)(len / BLOCK_SIZE),
		    c->layer->meta.has_parent ? ENTRY_ZERO : ENTRY_ABSENT);
	if (r == 0 && atomic_load(&p->dirty))
		chunk_touch(c);
	page_release(p);
	return r;
}

int
group_zero(struct disk *d, struct scratch *s, uint64_t off, size_t len)
{
	uint64_t index = off / CHUNK_LEN;
	enum entry_state state;
	struct chunk *c;
	bool parent;
	int r;

	if (cache_crowded(&d->e->cache, 2))
		return -EAGAIN;
	r = layer_lookup(d->top, s, index, &state, &c);
	if (r == 0 && state != ENTRY_DATA) {
		if (state == ENTRY_ZERO)
			return 0;
		r = layer_parent_has(d->top, s, index, &parent);
		if (r < 0 || !parent)
			return r;
		r = chunk_make(d->top, s, index, &c);
	}
	if (r < 0)
		return r;
	pthread_rwlock_rdlock(&c->lock);
	r = zero_locked(s, c, off, len);
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return r;
}
