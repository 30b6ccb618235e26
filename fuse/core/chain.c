/*
 * chain.c - the layers below the top one.
 *
 * A snapshot puts a new layer on top, so a disk with a hundred snapshots has a
 * hundred layers, and a block that was written long ago lies far below. Walking
 * there at each read would cost more with each snapshot.  So for each group
 * that is read a page in the cache says which layer has which of its blocks: a
 * chain page.  What is frozen does not change, and neither does that page; one
 * layer more on top gets chain pages of its own, which begin with the one
 * below.
 *
 * A layer is named there by its number in disk->layers, which it has from when
 * it is opened: from then on it stays where it is.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "group_private.h"

int
layer_parent(struct layer *l, struct scratch *s, struct layer **ret)
{
	struct layer *p = atomic_load(&l->parent);
	int r = 0;

	(void)s;
	if (!p) {
		pthread_mutex_lock(&l->open_lock);
		p = atomic_load(&l->parent);
		if (!p)
			r = layer_open_parent(l, &p);
		if (r == 0)
			atomic_store(&l->parent, p);
		pthread_mutex_unlock(&l->open_lock);
	}
	if (r == 0)
		*ret = p;
	return r;
}

/* Those of ${from} that are not known yet, by what the layer itself has. */
static unsigned
take_own(const struct layer *l, const uint8_t state[static GROUP_BLOCKS],
	 bool open[static GROUP_BLOCKS], uint16_t from[static GROUP_BLOCKS])
{
	unsigned left = 0;

	for (unsigned i = 0; i < GROUP_BLOCKS; i++) {
		if (!open[i])
			continue;
		open[i] = state[i] == ENTRY_ABSENT;
		from[i] = state[i] == ENTRY_DATA ? (uint16_t)l->number : 0;
		left += open[i];
	}
	return left;
}

/* The rest by the chain page of ${l}, if it is there. */
static bool
take_below(struct layer *l, uint64_t group, bool open[static GROUP_BLOCKS],
	   uint16_t from[static GROUP_BLOCKS])
{
	struct page *p = page_peek(l, PAGE_CHAIN, group);
	bool there;

	if (!p)
		return false;
	pthread_rwlock_rdlock(&p->lock);
	there = p->state == PAGE_LOADED;
	for (unsigned i = 0; there && i < GROUP_BLOCKS; i++)
		if (open[i])
			from[i] = p->body.from[i];
	page_release(p);
	return there;
}

/* Past ${limit} nothing below is asked for. */
static unsigned
close_past(uint64_t at, uint64_t limit, bool open[static GROUP_BLOCKS])
{
	unsigned left = 0;

	for (unsigned i = 0; i < GROUP_BLOCKS; i++) {
		if (at + (uint64_t)i * BLOCK_SIZE >= limit)
			open[i] = false;
		left += open[i];
	}
	return left;
}

static int
resolve(struct layer *l, uint64_t group, struct scratch *s,
	uint16_t from[static GROUP_BLOCKS])
{
	uint8_t state[GROUP_BLOCKS];
	bool open[GROUP_BLOCKS];
	int r;

	memset(open, true, sizeof(open));
	memset(from, 0, GROUP_BLOCKS * sizeof(*from));
	while (l->meta.has_parent &&
	       close_past(group * GROUP_LEN, l->parent_limit, open) > 0) {
		r = layer_parent(l, s, &l);
		if (r == 0)
			r = own_states(l, s, group, state);
		if (r < 0)
			return r;
		if (take_own(l, state, open, from) == 0 ||
		    take_below(l, group, open, from))
			break;
	}
	return 0;
}

int
chain_next(struct layer *l, struct scratch *s, uint64_t index, uint64_t *best)
{
	uint64_t next;
	int r = 0;

	while (r == 0 && *best > index && l->meta.has_parent) {
		r = layer_parent(l, s, &l);
		if (r == 0)
			r = layer_next(l, s, index, &next);
		if (r == 0 && next < *best)
			*best = next;
	}
	return r;
}

int
chain_get(struct layer *l, uint64_t group, struct scratch *s, struct page **ret)
{
	struct page *p;
	bool is_new;
	int r;

	r = page_get(l, PAGE_CHAIN, group, &p, &is_new);
	if (r < 0)
		return r;
	if (is_new) {
		r = resolve(l, group, s, p->body.from);
		atomic_store(&p->same, true); /* it has no copies */
		p->state = r == 0 ? PAGE_LOADED : PAGE_FAILED;
		p->error = r;
		if (r < 0)
			page_unhash(p);
		pthread_rwlock_unlock(&p->lock);
	}
	pthread_rwlock_rdlock(&p->lock);
	r = p->state == PAGE_LOADED ? 0 : p->error;
	if (r < 0)
		page_release(p);
	else
		*ret = p;
	return r;
}

/* How many bytes from ${off} on come from the same layer. */
static size_t
same_layer(const uint16_t *from, uint64_t off, size_t len)
{
	unsigned b = block_of(off);
	uint16_t which = from[b];
	size_t n = BLOCK_SIZE - off % BLOCK_SIZE;

	while (n < len && ++b < GROUP_BLOCKS && from[b] == which)
		n += BLOCK_SIZE;
	return n < len ? n : len;
}

static int
chain_read(struct layer *l, struct scratch *s, uint8_t *buf, size_t len,
	   uint64_t off)
{
	struct page *p;
	size_t n;
	int r;

	r = chain_get(l, off / GROUP_LEN, s, &p);
	if (r < 0)
		return r;
	for (; r == 0 && len > 0; buf += n, off += n, len -= n) {
		uint16_t which = p->body.from[block_of(off)];

		n = same_layer(p->body.from, off, len);
		if (which == 0)
			memset(buf, 0, n);
		else
			r = group_read(l->disk->layers[which], s, buf, n, off);
	}
	page_release(p);
	return r;
}

int
parent_read(struct layer *l, struct scratch *s, void *buf, size_t len,
	    uint64_t off)
{
	struct layer *parent;
	size_t n = 0;
	int r = 0;

	if (l->meta.has_parent && off < l->parent_limit) {
		n = len;
		if (n > l->parent_limit - off)
			n = l->parent_limit - off;
		r = layer_parent(l, s, &parent);
		if (r == 0 && parent->meta.has_parent)
			r = chain_read(l, s, buf, n, off);
		else if (r == 0)
			r = group_read(parent, s, buf, n, off);
	}
	memset((uint8_t *)buf + n, 0, len - n);
	return r;
}

/* ---- a chain that has changed ---- */

static int
forget_chain_page(struct page *p, void *arg)
{
	(void)arg;
	if (p->kind == PAGE_CHAIN)
		page_unhash(p);
	return 0;
}

/* Layer ${y}, which may be another disk's, as ${d} has it; NULL: not open. */
static struct layer *
find_open(struct disk *d, const struct layer *y)
{
	struct layer *l = atomic_load(&d->top);

	while (l && !uuid_equal(&l->ref.layer, &y->ref.layer))
		l = atomic_load(&l->parent);
	return l;
}

/* What is in memory of ${l} is what another disk, which has it as ${y}, has
 * changed since. */
static void
take_over(struct layer *l, struct layer *y)
{
	cache_forget_layer(cache_of(l), l);
	for (unsigned i = 0; i < ROOTS; i++) {
		struct page *p = atomic_load(&l->roots[i]);

		if (!p)
			continue;
		pthread_rwlock_rdlock(&y->roots[i]->lock);
		pthread_rwlock_wrlock(&p->lock);
		p->body = y->roots[i]->body;
		pthread_rwlock_unlock(&p->lock);
		pthread_rwlock_unlock(&y->roots[i]->lock);
	}
	l->meta = y->meta;
	l->parent_limit = y->parent_limit;
}

struct layer *
chain_merged(struct disk *d, struct layer *y, const struct uuid *gone)
{
	struct layer *l = find_open(d, y), *x;

	(void)!cache_each(&d->e->cache, d, forget_chain_page, NULL);
	if (!l)
		return NULL;
	if (l != y)
		take_over(l, y);
	x = atomic_load(&l->parent);
	if (!x || !uuid_equal(&x->ref.layer, gone))
		return NULL;
	/* Below that nothing has changed. */
	atomic_store(&l->parent, atomic_load(&x->parent));
	return x;
}

struct layer *
chain_cut(struct disk *d, struct layer *y)
{
	struct layer *l = find_open(d, y), *x;

	(void)!cache_each(&d->e->cache, d, forget_chain_page, NULL);
	if (!l)
		return NULL;
	if (l != y)
		take_over(l, y);
	x = atomic_load(&l->parent);
	atomic_store(&l->parent, NULL);
	return x;
}

/* Whether a list or a thread has one of its root pages. */
static bool
roots_used(struct layer *l)
{
	struct disk *d = l->disk;
	bool used = false;

	pthread_mutex_lock(&d->mutex);
	for (unsigned i = 0; i < ROOTS; i++) {
		struct page *p = atomic_load(&l->roots[i]);

		if (!p)
			continue;
		link_remove(&p->quiet_link);
		used |= atomic_load(&p->refs) > 1;
	}
	pthread_mutex_unlock(&d->mutex);
	return used;
}

void
chain_close(struct layer *l)
{
	struct disk *d = l->disk;

	cache_forget_layer(cache_of(l), l);
	if (cache_has_layer(cache_of(l), l) || roots_used(l))
		return;
	pthread_mutex_lock(&d->layers_lock);
	atomic_store(&d->layers[l->number], NULL);
	pthread_mutex_unlock(&d->layers_lock);
	layer_close(l);
}

void
chain_close_all(struct layer *l)
{
	while (l) {
		struct layer *below = atomic_load(&l->parent);

		chain_close(l);
		l = below;
	}
}
