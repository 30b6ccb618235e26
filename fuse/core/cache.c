/*
 * cache.c - a bounded set of pages and chunks.
 *
 * Both live in pools of a fixed size, made when the engine is opened; their
 * memory is touched only as it is used.  A table of 64 shards finds them by
 * layer and index.  Who has found one holds a reference; what has none and is
 * clean may go when another needs its place: a clock goes round the pool and
 * takes the first that was not used since it last came by.
 *
 * A page that still has to be mirrored or punched is retired first
 * (page_retire), which takes locks only where it need not wait: the one who
 * looks for a place may hold some.
 *
 * A page that is dirty or being committed never goes; the engine commits before
 * too many are.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* Chunks beyond one a page: those that operations hold for a moment. */
#define SPARE_CHUNKS 1024
#define MIN_PAGES 32

static struct chunk **
chunk_bucket(struct cache *c, struct shard *sh, uint64_t hash)
{
	return &sh->chunks[(hash / SHARDS) & (c->buckets - 1)];
}

void
cache_lock_init(pthread_rwlock_t *l)
{
	pthread_rwlockattr_t a;

	/* Readers come without end under load; a writer must get its turn. */
	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setkind_np(
	    &a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(l, &a);
	pthread_rwlockattr_destroy(&a);
}

static void
chunk_init(struct chunk *c)
{
	memset(c, 0, sizeof(*c));
	cache_lock_init(&c->lock);
	pthread_mutex_init(&c->open_lock, NULL);
	link_init(&c->sync_link);
	link_init(&c->dead_link);
}

static void *
pool_map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int
shards_init(struct cache *c)
{
	c->buckets = 16;
	while (c->buckets * SHARDS < c->n_pages)
		c->buckets *= 2;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *sh = &c->shards[i];

		pthread_mutex_init(&sh->mutex, NULL);
		sh->pages = calloc(c->buckets, sizeof(*sh->pages));
		sh->chunks = calloc(c->buckets, sizeof(*sh->chunks));
		if (!sh->pages || !sh->chunks)
			return -ENOMEM;
	}
	return 0;
}

int
cache_init(struct cache *c, uint64_t bytes)
{
	struct rlimit rl = { 1024, 1024 };
	uint64_t n = bytes / sizeof(struct page);

	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->free_lock, NULL);
	if (n < MIN_PAGES)
		n = MIN_PAGES;
	if (n > UINT32_MAX / 4)
		n = UINT32_MAX / 4;
	c->n_pages = (unsigned)n;
	c->n_chunks = c->n_pages + SPARE_CHUNKS;
	c->page = pool_map(c->n_pages * sizeof(*c->page));
	c->chunk = pool_map(c->n_chunks * sizeof(*c->chunk));
	if (!c->page || !c->chunk)
		return -ENOMEM;

	/* A quarter is left to connections, locks, the KMS and the programs
	 * around us. */
	(void)getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur == RLIM_INFINITY || rl.rlim_cur > 1 << 20)
		rl.rlim_cur = 1 << 20;
	c->max_files = (unsigned)(rl.rlim_cur * 3 / 4);
	return shards_init(c);
}

void
cache_done(struct cache *c)
{
	if (c->page)
		munmap(c->page, c->n_pages * sizeof(*c->page));
	if (c->chunk)
		munmap(c->chunk, c->n_chunks * sizeof(*c->chunk));
	for (unsigned i = 0; i < SHARDS; i++) {
		free(c->shards[i].pages);
		free(c->shards[i].chunks);
	}
}

/* ---- chunks ---- */

void
chunk_ref(struct chunk *c)
{
	atomic_fetch_add(&c->refs, 1);
}

static void
chunk_close(struct cache *ca, struct chunk *c)
{
	struct store_file *f = atomic_exchange(&c->file, NULL);

	if (!f)
		return;
	store_close(f);
	atomic_fetch_sub(&ca->open_files, 1);
}

static void
chunk_free(struct cache *c, struct chunk *ch)
{
	chunk_close(c, ch);
	secret_free(ch->keys, 2 * KEY_LEN);
	ch->keys = NULL;
	ch->disk = NULL;
	pthread_mutex_lock(&c->free_lock);
	ch->hash_next = c->free_chunks;
	c->free_chunks = ch;
	pthread_mutex_unlock(&c->free_lock);
}

/* Take ${c} out of its bucket; the shard's mutex is held. */
static bool
chunk_unlink(struct cache *ca, struct shard *sh, uint64_t hash, struct chunk *c)
{
	struct chunk **pp = chunk_bucket(ca, sh, hash);

	while (*pp && *pp != c)
		pp = &(*pp)->hash_next;
	if (!*pp)
		return false;
	*pp = c->hash_next;
	c->hash_next = NULL;
	return true;
}

/* The table itself holds one reference, dropped when it is unhashed. */
void
chunk_put(struct chunk *c)
{
	struct cache *ca = cache_of(c->layer);

	if (atomic_fetch_sub(&c->refs, 1) == 1)
		chunk_free(ca, c);
}

void
chunk_unhash(struct chunk *c)
{
	struct cache *ca = cache_of(c->layer);
	uint64_t h = cache_hash(c->layer, 0, c->index);
	struct shard *sh = cache_shard(ca, h);
	bool was;

	pthread_mutex_lock(&sh->mutex);
	was = chunk_unlink(ca, sh, h, c);
	pthread_mutex_unlock(&sh->mutex);
	if (was)
		chunk_put(c);
}

void
chunk_unhash_of(struct chunk *c, const struct disk *d, const struct layer *l)
{
	struct cache *ca = &d->e->cache;
	uint64_t h =
	    cache_hash(l ? l : POOL_GUESS(c->layer), 0, POOL_GUESS(c->index));
	struct shard *sh = cache_shard(ca, h);
	bool was;

	/* Chunks of the pool come and go: only the table says what it is. */
	pthread_mutex_lock(&sh->mutex);
	was = chunk_unlink(ca, sh, h, c);
	if (was && (c->disk != d || (l && c->layer != l))) {
		struct chunk **pp = chunk_bucket(ca, sh, h);

		c->hash_next = *pp;
		*pp = c;
		was = false;
	}
	pthread_mutex_unlock(&sh->mutex);
	if (was)
		chunk_put(c);
}

static struct chunk *
chunk_find(struct cache *ca, struct shard *sh, uint64_t hash,
	   const struct layer *l, uint64_t index)
{
	struct chunk *c = *chunk_bucket(ca, sh, hash);

	while (c && (c->layer != l || c->index != index))
		c = c->hash_next;
	if (!c)
		return NULL;
	chunk_ref(c);
	if (!atomic_load_explicit(&c->referenced, memory_order_relaxed))
		c->referenced = true;
	return c;
}

struct chunk *
chunk_peek(struct layer *l, uint64_t index)
{
	struct cache *ca = cache_of(l);
	uint64_t h = cache_hash(l, 0, index);
	struct shard *sh = cache_shard(ca, h);
	struct chunk *c;

	pthread_mutex_lock(&sh->mutex);
	c = chunk_find(ca, sh, h, l, index);
	pthread_mutex_unlock(&sh->mutex);
	return c;
}

struct chunk *
chunk_insert(struct chunk *c)
{
	struct cache *ca = cache_of(c->layer);
	uint64_t h = cache_hash(c->layer, 0, c->index);
	struct shard *sh = cache_shard(ca, h);
	struct chunk *there, **pp;

	pthread_mutex_lock(&sh->mutex);
	there = chunk_find(ca, sh, h, c->layer, c->index);
	if (!there) {
		pp = chunk_bucket(ca, sh, h);
		c->hash_next = *pp;
		*pp = c;
		chunk_ref(c);
	}
	pthread_mutex_unlock(&sh->mutex);
	if (!there)
		return c;
	chunk_put(c);
	return there;
}

/* A chunk that only the table holds: take it out. */
static bool
chunk_evict(struct cache *ca, struct chunk *c)
{
	uint64_t h;
	struct shard *sh;
	bool mine = false;

	if (!c->disk || atomic_load(&c->refs) != 1)
		return false;
	if (atomic_exchange(&c->referenced, false))
		return false;
	h = cache_hash(POOL_GUESS(c->layer), 0, POOL_GUESS(c->index));
	sh = cache_shard(ca, h);
	pthread_mutex_lock(&sh->mutex);
	/* It may have become another chunk since: then it is not found. */
	if (atomic_load(&c->refs) == 1)
		mine = chunk_unlink(ca, sh, h, c);
	pthread_mutex_unlock(&sh->mutex);
	if (mine)
		chunk_put(c);
	return mine;
}

static struct chunk *
chunk_take_free(struct cache *ca)
{
	struct chunk *c = NULL;

	pthread_mutex_lock(&ca->free_lock);
	if (ca->free_chunks) {
		c = ca->free_chunks;
		ca->free_chunks = c->hash_next;
	} else if (ca->fresh_chunks < ca->n_chunks) {
		c = &ca->chunk[ca->fresh_chunks];
		chunk_init(c);
		ca->fresh_chunks++;
	}
	pthread_mutex_unlock(&ca->free_lock);
	return c;
}

int
chunk_alloc(struct layer *l, uint64_t index, struct chunk **ret)
{
	struct cache *ca = cache_of(l);
	struct chunk *c = chunk_take_free(ca);

	for (unsigned i = 0; !c && i < 2 * ca->n_chunks; i++) {
		unsigned n = atomic_fetch_add(&ca->chunk_hand, 1);

		if (chunk_evict(ca, &ca->chunk[n % ca->n_chunks]))
			c = chunk_take_free(ca);
	}
	if (!c)
		return -EAGAIN;
	c->keys = secret_alloc(2 * KEY_LEN);
	if (!c->keys) {
		pthread_mutex_lock(&ca->free_lock);
		c->hash_next = ca->free_chunks;
		ca->free_chunks = c;
		pthread_mutex_unlock(&ca->free_lock);
		return -ENOMEM;
	}
	c->hash_next = NULL;
	c->refs = 1;
	c->referenced = true;
	POOL_SET(c->index, index);
	c->file = NULL;
	c->dropped = c->unsynced = false;
	c->is_new = c->made = c->dead = false;
	c->dead_seq = 0;
	c->uncounted = 0;
	POOL_SET(c->layer, l);
	c->disk = l->disk;
	*ret = c;
	return 0;
}

/* Close the file of a chunk that nobody uses and that is synced. */
static bool
file_evict(struct cache *ca, struct chunk *c)
{
	bool done = false;

	if (!c->disk || !atomic_load(&c->file) || atomic_load(&c->unsynced))
		return false;
	if (pthread_rwlock_trywrlock(&c->lock) != 0)
		return false;
	if (c->disk && atomic_load(&c->file) && !atomic_load(&c->unsynced)) {
		chunk_close(ca, c);
		done = true;
	}
	pthread_rwlock_unlock(&c->lock);
	return done;
}

static __thread bool may_exceed;

void
cache_exceed(bool may)
{
	may_exceed = may;
}

int
cache_file_slot(struct cache *c)
{
	unsigned n;

	n = atomic_fetch_add(&c->open_files, 1);
	if (n < c->max_files)
		return 0;
	for (unsigned i = 0; i < c->n_chunks; i++) {
		unsigned hand = atomic_fetch_add(&c->file_hand, 1);

		if (file_evict(c, &c->chunk[hand % c->n_chunks]))
			return 0;
	}
	/* A quarter of all descriptors is spare, for this among others. */
	if (may_exceed)
		return 0;
	atomic_fetch_sub(&c->open_files, 1);
	return -EAGAIN;
}
