/*
 * engine.c - a store opened by one process; what its threads carry around.
 */
#include "engine_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "planted.h"

#define DEFAULT_CACHE (64ULL << 20)
#define DEFAULT_COMMIT_MS 5000
#define DEFAULT_QUIET_MS 3000
/* A chunk has eight groups, and 2^32 seals under one key are its limit: an
 * eighth for each, less what a crash may have left uncounted. */
#define SEAL_LIMIT ((1u << 29) - (1u << 24))
#define SWEEP_FILES 256
#define LOOK_MS 10 /* whether a lock is free, or one is to stop */

void
fault_log_at(struct disk *d, const char *file, int line, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	atomic_fetch_add(&d->faults, 1);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_at(LOG_ERROR, file, line, "disk %s: integrity: %s", d->desc.name,
	       text);
}

/* ---- scratch ---- */

#define SCRATCH_LEN (GROUP_LEN + 3 * BLOCK_SIZE)

_Static_assert(GROUP_LEN >= SLOTS_OFFSET, "a new chunk's head fits into it");

int
scratch_new(struct scratch **ret)
{
	struct scratch *s = calloc(1, sizeof(*s));
	uint8_t *p;

	if (!s)
		return -ENOMEM;
	p = mmap(NULL, SCRATCH_LEN, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || aead_new(&s->aead) < 0) {
		if (p != MAP_FAILED)
			munmap(p, SCRATCH_LEN);
		free(s);
		return -ENOMEM;
	}
	/* Blocks in the clear pass through it. */
	(void)madvise(p, SCRATCH_LEN, MADV_DONTDUMP);
	s->run = p;
	s->block = p + GROUP_LEN;
	s->other = s->block + BLOCK_SIZE;
	s->temp = s->other + BLOCK_SIZE;
	*ret = s;
	return 0;
}

void
scratch_wipe(struct scratch *s)
{
	secret_wipe(s->run, SCRATCH_LEN);
	aead_forget(s->aead);
}

void
scratch_free(struct scratch *s)
{
	if (!s)
		return;
	scratch_wipe(s);
	aead_free(s->aead);
	munmap(s->run, SCRATCH_LEN);
	free(s);
}

/* ---- the engine ---- */

#ifdef SEALDISK_PLANTED
void (*planted_point)(const char *name, uint64_t at);
#endif

static uint64_t
default_cache(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), len = sysconf(_SC_PAGESIZE);
	uint64_t part = pages > 0 ? (uint64_t)pages * (uint64_t)len / 50 : 0;

	return part > DEFAULT_CACHE ? part : DEFAULT_CACHE;
}

int
engine_open(struct store *st, struct kms *kms, const struct engine_options *opt,
	    struct engine **ret)
{
	CLEANUP(engine_closep) struct engine *e = calloc(1, sizeof(*e));
	unsigned bad;
	int r;

	if (!e)
		return -ENOMEM;
	e->st = st;
	e->kms = kms;
	e->commit_ms = opt->commit_ms ? opt->commit_ms : DEFAULT_COMMIT_MS;
	e->quiet_ms = opt->quiet_ms ? opt->quiet_ms : DEFAULT_QUIET_MS;
	e->seal_limit = opt->seal_limit ? opt->seal_limit : SEAL_LIMIT;
	e->merge_chunks = opt->merge_chunks;
	e->manual = opt->manual;
	e->kept = opt->kept;
	e->keep_lock = opt->keep_lock;
	e->drop_lock = opt->drop_lock;
	e->keep_arg = opt->keep_arg;
	pthread_mutex_init(&e->mutex, NULL);
	pthread_mutex_init(&e->merging, NULL);
	pthread_cond_init(&e->released, NULL);
	link_init(&e->disks);
	e->mount_point = strdup(opt->mount_point ? opt->mount_point : "");
	if (!e->mount_point)
		return -ENOMEM;
	r = catalog_open(st, &e->cat);
	if (r < 0)
		return r;
	e->cat->owner = opt->owner;
	e->cat->kept = opt->kept;
	e->meta = *catalog_meta(e->cat);
	r = cache_init(&e->cache,
		       opt->cache_size ? opt->cache_size : default_cache());
	if (r == 0)
		r = catalog_recover(e->cat, &bad);
	if (r < 0)
		return r;
	*ret = TAKE(e);
	return 0;
}

void
engine_close(struct engine *e)
{
	if (!e)
		return;
	cache_done(&e->cache);
	catalog_close(e->cat);
	free(e->mount_point);
	free(e);
}

struct catalog *
engine_catalog(struct engine *e)
{
	return e->cat;
}

struct kms *
engine_kms(struct engine *e)
{
	return e->kms;
}

struct store *
engine_store(struct engine *e)
{
	return e->st;
}

bool
engine_merging(struct engine *e, uint64_t *ret_done, uint64_t *ret_total)
{
	uint64_t done = atomic_load(&e->merged);

	*ret_total = atomic_load(&e->merge_total);
	*ret_done = done < *ret_total ? done : *ret_total;
	return *ret_total > 0;
}

int
merging_lock(struct engine *e, const atomic_bool *stop)
{
	if (!stop)
		return -pthread_mutex_lock(&e->merging);
	while (pthread_mutex_trylock(&e->merging) != 0) {
		if (is_told(stop))
			return -EINTR;
		usleep(LOOK_MS * 1000);
	}
	return 0;
}

void
merging_unlock(struct engine *e)
{
	pthread_mutex_unlock(&e->merging);
}

/* 0: nothing is left to do now. */
static int
sweep_step(struct engine *e, const atomic_bool *stop)
{
	bool more;
	int r, e2;

	r = catalog_sweep(e->cat, SWEEP_FILES, &more);
	if (r == 0 && !more)
		r = engine_merge(e, stop);
	else if (r == 0)
		r = 1;
	/* What stays. */
	if (r <= 0 && (e2 = engine_seal(e, stop)) != 0)
		r = r < 0 && e2 < 0 ? r : e2;
	if (r < 0)
		log_debug("sweeping the store: %s", err_text(r));
	return r;
}

/* A removal that failed at the end may be seen and not be durable: before what
 * the name held goes, it must not come back. */
static int
settle_names(struct engine *e)
{
	CLEANUP(free_memp) struct uuid *marked = NULL;
	size_t n = 0;
	int r;

	r = catalog_marked(e->cat, &marked, &n);
	if (r < 0 || n == 0)
		return r;
	r = e->st->ops->sync_all(e->st);
	if (r < 0)
		engine_fail(e, r);
	return r;
}

void
engine_sweep(struct engine *e, const atomic_bool *stop)
{
	CLEANUP(free_memp) struct uuid *marked = NULL, *unsealed = NULL;
	size_t n = 0, n_unsealed = 0;

	if (settle_names(e) < 0) {
		atomic_store(&e->has_left, true);
		return;
	}
	while (!is_told(stop) && sweep_step(e, stop) > 0)
		;
	if (merging_lock(e, stop) < 0) {
		atomic_store(&e->has_left, true);
		return;
	}
	e->n_unmerged = 0;
	merging_unlock(e);
	atomic_store(&e->has_left,
		     catalog_marked(e->cat, &marked, &n) < 0 ||
			 catalog_unsealed(e->cat, &unsealed, &n_unsealed) < 0 ||
			 n > 0 || n_unsealed > 0);
}

bool
engine_has_left(struct engine *e)
{
	return atomic_load(&e->has_left);
}
