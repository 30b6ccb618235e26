/*
 * cache_page.c - the pages of the cache; cache.c says how it works.
 */
#include "engine_private.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

void
page_init(struct page *p)
{
	memset(p, 0, sizeof(*p));
	cache_lock_init(&p->lock);
	link_init(&p->dirty_link);
	link_init(&p->commit_link);
	link_init(&p->quiet_link);
}

static struct page **
page_bucket(struct cache *ca, struct shard *sh, uint64_t hash)
{
	return &sh->pages[(hash / SHARDS) & (ca->buckets - 1)];
}

static struct page *
page_find(struct cache *ca, struct shard *sh, uint64_t hash,
	  const struct layer *l, enum page_kind kind, uint64_t index)
{
	struct page *p = *page_bucket(ca, sh, hash);

	while (p && (p->index != index || p->layer != l || p->kind != kind))
		p = p->hash_next;
	if (!p)
		return NULL;
	atomic_fetch_add(&p->refs, 1);
	if (!atomic_load_explicit(&p->referenced, memory_order_relaxed))
		p->referenced = true;
	return p;
}

struct page *
page_peek(struct layer *l, enum page_kind kind, uint64_t index)
{
	struct cache *ca = cache_of(l);
	uint64_t h = cache_hash(l, kind, index);
	struct shard *sh = cache_shard(ca, h);
	struct page *p;

	pthread_mutex_lock(&sh->mutex);
	p = page_find(ca, sh, h, l, kind, index);
	pthread_mutex_unlock(&sh->mutex);
	return p;
}

static bool
page_unlink(struct cache *ca, struct shard *sh, uint64_t hash, struct page *p)
{
	struct page **pp = page_bucket(ca, sh, hash);

	while (*pp && *pp != p)
		pp = &(*pp)->hash_next;
	if (!*pp)
		return false;
	*pp = p->hash_next;
	p->hash_next = NULL;
	return true;
}

static void
page_free(struct cache *ca, struct page *p)
{
	struct chunk *c = p->chunk;
	struct disk *d = p->disk;

	pthread_mutex_lock(&d->mutex);
	link_remove(&p->quiet_link);
	pthread_mutex_unlock(&d->mutex);
	atomic_fetch_sub(&d->kept, p->kept);
	p->chunk = NULL;
	p->disk = NULL;
	if (c)
		chunk_put(c);
	pthread_mutex_lock(&ca->free_lock);
	p->hash_next = ca->free_pages;
	ca->free_pages = p;
	pthread_mutex_unlock(&ca->free_lock);
}

bool
page_try_ref(struct page *p)
{
	unsigned n = atomic_load(&p->refs);

	while (n > 0)
		if (atomic_compare_exchange_weak(&p->refs, &n, n + 1))
			return true;
	return false;
}

/* As for chunks, the table holds a reference of its own; to a root page its
 * layer does, whose life it has. */
void
page_put(struct page *p)
{
	if (atomic_fetch_sub(&p->refs, 1) == 1)
		page_free(cache_of(p->layer), p);
}

void
page_unhash(struct page *p)
{
	struct cache *ca = cache_of(p->layer);
	uint64_t h = cache_hash(p->layer, p->kind, p->index);
	struct shard *sh = cache_shard(ca, h);
	bool was;

	pthread_mutex_lock(&sh->mutex);
	was = page_unlink(ca, sh, h, p);
	pthread_mutex_unlock(&sh->mutex);
	if (was)
		page_put(p);
}

#define HANGS_MS 1000 /* of a commit: longer than the store should take */

static bool
page_busy(const struct page *p)
{
	return atomic_load(&p->dirty) || atomic_load(&p->inflight);
}

/* Whether ${p} is what the table alone holds, and clean. */
static bool
page_idle(const struct page *p)
{
	return atomic_load(&p->refs) == 1 && !page_busy(p);
}

/*
 * Hold ${p} for a moment, if it still is that page of ${l} (and idle).  Pages
 * of the pool come and go, so only the table says what ${p} is.
 */
static bool
page_hold(struct cache *ca, struct page *p, bool idle)
{
	struct layer *l = POOL_GUESS(p->layer);
	enum page_kind kind = POOL_GUESS(p->kind);
	uint64_t index = POOL_GUESS(p->index);
	uint64_t h = cache_hash(l, kind, index);
	struct shard *sh = cache_shard(ca, h);
	struct page *q;

	pthread_mutex_lock(&sh->mutex);
	q = *page_bucket(ca, sh, h);
	while (q && q != p)
		q = q->hash_next;
	if (q && idle && !page_idle(q))
		q = NULL;
	if (q)
		atomic_fetch_add(&q->refs, 1);
	pthread_mutex_unlock(&sh->mutex);
	return q != NULL;
}

/* With a reference of ours: take it out if nobody else came by. */
static bool
page_drop_held(struct cache *ca, struct page *p)
{
	uint64_t h = cache_hash(p->layer, p->kind, p->index);
	struct shard *sh = cache_shard(ca, h);
	bool out = false;

	pthread_mutex_lock(&sh->mutex);
	if (atomic_load(&p->refs) == 2 && !page_busy(p))
		out = page_unlink(ca, sh, h, p);
	pthread_mutex_unlock(&sh->mutex);
	if (out)
		page_put(p);
	page_put(p);
	return out;
}

/* To be written to before it goes, while its disk waits for the store: whoever
 * does that would wait, too, and is of another disk. */
static bool
page_hangs(const struct page *p)
{
	return !atomic_load(&p->same) && disk_commit_ms(p->disk) > HANGS_MS;
}

static bool
page_evict(struct cache *ca, struct page *p)
{
	if (!p->disk || !page_idle(p) || atomic_exchange(&p->referenced, false))
		return false;
	if (!page_hold(ca, p, true))
		return false;
	if (page_hangs(p) || page_retire(p) < 0) {
		page_put(p);
		return false;
	}
	return page_drop_held(ca, p);
}

static struct page *
page_take_free(struct cache *ca)
{
	struct page *p = NULL;

	pthread_mutex_lock(&ca->free_lock);
	if (ca->free_pages) {
		p = ca->free_pages;
		ca->free_pages = p->hash_next;
	} else if (ca->fresh_pages < ca->n_pages) {
		p = &ca->page[ca->fresh_pages];
		page_init(p);
		ca->fresh_pages++;
	}
	pthread_mutex_unlock(&ca->free_lock);
	return p;
}

static struct page *
page_alloc(struct cache *ca)
{
	struct page *p = page_take_free(ca);

	for (unsigned i = 0; !p && i < 2 * ca->n_pages; i++) {
		unsigned n = atomic_fetch_add(&ca->page_hand, 1);

		if (page_evict(ca, &ca->page[n % ca->n_pages]))
			p = page_take_free(ca);
	}
	return p;
}

/* All but what page_init() made once for all. */
static void
page_reset(struct page *p, struct layer *l, enum page_kind kind, uint64_t index)
{
	p->hash_next = NULL;
	p->refs = 1;
	p->referenced = true;
	POOL_SET(p->kind, kind);
	POOL_SET(p->index, index);
	p->state = PAGE_EMPTY;
	p->error = 0;
	p->generation = p->session = 0;
	p->cipher = 0;
	p->seals = 0;
	p->dirty = p->inflight = p->same = false;
	p->fresh = p->drop_older = p->space_unknown = false;
	p->kept = 0;
	p->touched = 0;
	p->chunk = NULL;
	memset(&p->used, 0, sizeof(p->used));
	memset(&p->infl, 0, sizeof(p->infl));
	memset(&p->prot, 0, sizeof(p->prot));
	memset(&p->space, 0, sizeof(p->space));
	POOL_SET(p->layer, l);
	p->disk = l->disk;
}

int
page_get(struct layer *l, enum page_kind kind, uint64_t index,
	 struct page **ret, bool *ret_new)
{
	struct cache *ca = cache_of(l);
	uint64_t h = cache_hash(l, kind, index);
	struct shard *sh = cache_shard(ca, h);
	struct page *p, *mine, **pp;

	p = page_peek(l, kind, index);
	*ret_new = false;
	if (p) {
		*ret = p;
		return 0;
	}
	mine = page_alloc(ca);
	if (!mine)
		return -EAGAIN;
	page_reset(mine, l, kind, index);
	/* Nobody can see it yet, so this cannot wait. */
	pthread_rwlock_wrlock(&mine->lock);
	pthread_mutex_lock(&sh->mutex);
	p = page_find(ca, sh, h, l, kind, index);
	if (!p) {
		pp = page_bucket(ca, sh, h);
		mine->hash_next = *pp;
		*pp = mine;
		atomic_fetch_add(&mine->refs, 1);
	}
	pthread_mutex_unlock(&sh->mutex);
	if (p) {
		pthread_rwlock_unlock(&mine->lock);
		page_put(mine);
		*ret = p;
		return 0;
	}
	*ret = mine;
	*ret_new = true;
	return 0;
}

int
cache_each(struct cache *ca, struct disk *d,
	   int (*fn)(struct page *p, void *arg), void *arg)
{
	int r = 0;

	/* What was never used is not even touched. */
	for (unsigned i = 0; i < ca->fresh_pages && r == 0; i++) {
		struct page *p = &ca->page[i];

		if (p->disk != d || !page_hold(ca, p, false))
			continue;
		if (p->disk == d)
			r = fn(p, arg);
		page_put(p);
	}
	return r;
}

static int
forget_page(struct page *p, void *arg)
{
	(void)arg;
	p->dirty = p->inflight = false;
	link_init(&p->dirty_link);
	link_init(&p->commit_link);
	page_unhash(p);
	return 0;
}

static int
forget_page_of(struct page *p, void *arg)
{
	if (p->layer == arg)
		page_unhash(p);
	return 0;
}

void
cache_forget_layer(struct cache *ca, struct layer *l)
{
	(void)!cache_each(ca, l->disk, forget_page_of, l);
	for (unsigned i = 0; i < ca->fresh_chunks; i++)
		if (ca->chunk[i].disk == l->disk)
			chunk_unhash_of(&ca->chunk[i], l->disk, l);
}

/* Others become pages of other layers meanwhile; none becomes one of this. */
bool
cache_has_layer(struct cache *ca, const struct layer *l)
{
	for (unsigned i = 0; i < ca->fresh_pages; i++)
		if (ca->page[i].disk == l->disk &&
		    POOL_GUESS(ca->page[i].layer) == l)
			return true;
	for (unsigned i = 0; i < ca->fresh_chunks; i++)
		if (ca->chunk[i].disk == l->disk &&
		    POOL_GUESS(ca->chunk[i].layer) == l)
			return true;
	return false;
}

static bool
anything_of(struct cache *ca, const struct disk *d)
{
	for (unsigned i = 0; i < ca->fresh_pages; i++)
		if (ca->page[i].disk == d)
			return true;
	for (unsigned i = 0; i < ca->fresh_chunks; i++)
		if (ca->chunk[i].disk == d)
			return true;
	return false;
}

/*
 * Only at detach, when nobody else uses the disk.  The clock of another disk
 * may hold one of the pages for a moment, and with it needs our layers.
 */
void
cache_forget(struct cache *ca, struct disk *d)
{
	(void)!cache_each(ca, d, forget_page, NULL);
	for (unsigned i = 0; i < ca->fresh_chunks; i++)
		if (ca->chunk[i].disk == d)
			chunk_unhash_of(&ca->chunk[i], d, NULL);
	while (anything_of(ca, d))
		sched_yield();
}
