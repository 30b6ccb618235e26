/*
 * worker.c - threads with plaintext in their hands, and the wiping of it.
 *
 * A worker's buffers are wiped as far as they were used and no farther: most
 * of a megabyte is never touched where requests are small, and writing zeros
 * to it would only make it resident.
 */
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <sealdisk/secret.h>

/*
 * A write's data follows its two headers, 80 bytes, in the receive buffer.
 * Placed so that the data begins on a page, the kernel copies page to page.
 */
#define PAGE 4096U
#define WRITE_HEADERS WORKER_WRITE_HEADERS
#define IN_ALLOC (WORKER_IN_LEN + PAGE)

static __thread struct worker *self;

/* The signal has done its work when the read has been interrupted. */
static void
on_signal(int sig)
{
	(void)sig;
}

int
workers_init(struct workers *ws)
{
	struct sigaction sa = { .sa_handler = on_signal }; /* no SA_RESTART */

	memset(ws, 0, sizeof(*ws));
	if (sigaction(SIGUSR1, &sa, NULL) < 0)
		return -errno;
	return -pthread_mutex_init(&ws->lock, NULL);
}

static void
wipe(struct worker *w)
{
	if (w->in_used)
		secret_wipe(w->in, w->in_used);
	if (w->out_used)
		secret_wipe(w->out, w->out_used);
	w->in_used = w->out_used = 0;
	scratch_wipe(w->scratch);
}

static void
worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->scratch)
		wipe(w);
	scratch_free(w->scratch);
	if (w->in_base)
		(void)munmap(w->in_base, IN_ALLOC);
	free(w->out);
	free(w);
}
DEFINE_CLEANUP(struct worker, worker_free)

/* A mapping of its own: its first page may become another's (keep.h). */
static uint8_t *
mapping_new(size_t len)
{
	uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	(void)madvise(p, len, MADV_DONTDUMP);
	return p;
}

/* Pages of its own, left out of core dumps. */
static uint8_t *
buffer_new(size_t len)
{
	uint8_t *p = aligned_alloc(PAGE, len);

	if (p)
		(void)madvise(p, len, MADV_DONTDUMP);
	return p;
}

static int
worker_new(struct workers *ws, bool buffers, struct worker **ret)
{
	CLEANUP(worker_freep) struct worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->pool = ws;
	r = scratch_new(&w->scratch);
	if (r < 0)
		return r;
	if (buffers) {
		w->in_base = mapping_new(IN_ALLOC);
		w->out = buffer_new(WORKER_IO_MAX);
		if (!w->in_base || !w->out)
			return -ENOMEM;
		w->in = w->in_base + PAGE - WRITE_HEADERS;
	}
	*ret = TAKE(w);
	return 0;
}

static void *
thread_main(void *arg)
{
	struct worker *w = arg;
	sigset_t set;

	/* Every other signal stays with the main thread. */
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	self = w;
	w->fn(w, w->arg);
	wipe(w);
	atomic_store(&w->wiped, UINT64_MAX);
	return NULL;
}

int
workers_start(struct workers *ws, bool buffers,
	      void (*fn)(struct worker *w, void *arg), void *arg)
{
	CLEANUP(worker_freep) struct worker *w = NULL;
	pthread_attr_t attr;
	int r = worker_new(ws, buffers, &w);

	if (r < 0)
		return r;
	w->fn = fn;
	w->arg = arg;
	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	r = pthread_attr_setstacksize(&attr, WORKER_STACK_SIZE);
	(void)pthread_mutex_lock(&ws->lock);
	atomic_store(&w->wiped, atomic_load(&ws->generation));
	if (!r)
		r = pthread_create(&w->thread, &attr, thread_main, w);
	if (!r) {
		w->next = ws->first;
		ws->first = TAKE(w);
	}
	(void)pthread_mutex_unlock(&ws->lock);
	(void)pthread_attr_destroy(&attr);
	return -r;
}

void
workers_join(struct workers *ws)
{
	struct worker *w;

	(void)pthread_mutex_lock(&ws->lock);
	w = TAKE(ws->first);
	(void)pthread_mutex_unlock(&ws->lock);
	while (w) {
		struct worker *next = w->next;

		(void)pthread_join(w->thread, NULL);
		worker_free(w);
		w = next;
	}
}

struct worker *
worker_self(void)
{
	return self;
}

void
worker_checkpoint(struct worker *w)
{
	uint64_t gen =
	    atomic_load_explicit(&w->pool->generation, memory_order_acquire);

	secret_wipe_registers();
	if (atomic_load_explicit(&w->wiped, memory_order_relaxed) == gen)
		return;
	wipe(w);
	atomic_store(&w->wiped, gen);
}

void
worker_rest(struct worker *w)
{
	secret_wipe_registers();
	wipe(w);
	atomic_store(&w->wiped, UINT64_MAX);
}

void
worker_resume(struct worker *w)
{
	/* It has nothing yet, so it has reached whatever was asked for. */
	atomic_store(&w->wiped, atomic_load(&w->pool->generation));
}

void
workers_wipe(struct workers *ws)
{
	atomic_fetch_add(&ws->generation, 1);
}

unsigned
workers_wake(struct workers *ws)
{
	uint64_t gen = atomic_load(&ws->generation);
	unsigned left = 0;

	(void)pthread_mutex_lock(&ws->lock);
	for (struct worker *w = ws->first; w; w = w->next) {
		if (atomic_load(&w->wiped) >= gen)
			continue;
		left++;
		if (atomic_load(&w->asleep))
			(void)pthread_kill(w->thread, SIGUSR1);
	}
	(void)pthread_mutex_unlock(&ws->lock);
	return left;
}

void
workers_kick(struct workers *ws)
{
	(void)pthread_mutex_lock(&ws->lock);
	for (struct worker *w = ws->first; w; w = w->next)
		if (atomic_load(&w->asleep))
			(void)pthread_kill(w->thread, SIGUSR1);
	(void)pthread_mutex_unlock(&ws->lock);
}
