/*
 * worker.h - the threads that see plaintext, and how it is wiped.
 *
 * Each such thread has a struct worker: the engine's scratch, and for the
 * threads that serve the kernel a receive and a reply buffer.  Only the thread
 * itself may wipe them, between two requests.  So a wipe is a generation that
 * every worker has to reach: those that sleep in a read of /dev/fuse are woken
 * by a signal, those that are busy come to it when they are done.  The signal
 * may come a moment late, so whatever a worker calls goes on after EINTR.
 *
 * This module knows nothing of FUSE, nor of what the threads do.
 */
#ifndef SEALDISK_WORKER_H
#define SEALDISK_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#include "disk.h"

#define WORKER_IO_MAX (1U << 20) /* bytes of one read or write */
#define WORKER_WRITE_HEADERS 80U /* of FUSE, before a write's data */

/* Sanitizers need more stack than there is in daily use. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WORKER_STACK_SIZE (1U << 20)
#else
#define WORKER_STACK_SIZE (256U << 10)
#endif

struct workers {
	pthread_mutex_t lock; /* guards the list */
	struct worker *first;
	_Atomic uint64_t generation;
};

struct worker {
	struct worker *next;
	struct workers *pool;
	pthread_t thread;
	void (*fn)(struct worker *w, void *arg);
	void *arg;
	struct scratch *scratch;
	/* NULL for threads without buffers.  How much of them was used since
	 * the last wipe is kept, so that what was never touched stays so. */
	uint8_t *in, *out;
	size_t in_used, out_used;
	uint8_t *in_base;
	_Atomic uint64_t wiped; /* the generation that it has reached */
	_Atomic bool asleep;    /* a signal wakes it without doing harm */
};

/* Room in ${in}: a write of WORKER_IO_MAX and what libfuse allows before it. */
#define WORKER_IN_LEN (WORKER_IO_MAX + 4096U)

/* Sets up SIGUSR1, too, which threads start with blocked. */
int workers_init(struct workers *ws) NONNULL CHECKED;

/**
 * workers_start(ws, buffers, fn, arg):
 * A new thread that runs ${fn}, with buffers or without.  -ENOMEM, -EAGAIN.
 */
int workers_start(struct workers *ws, bool buffers,
		  void (*fn)(struct worker *w, void *arg), void *arg)
    __attribute__((__nonnull__(1, 3))) CHECKED;

/* Wait for the end of all threads, and wipe and free what they had. */
void workers_join(struct workers *ws) NONNULL;

/* Of the calling thread; NULL for one that is not a worker. */
struct worker *worker_self(void);

/* Between two requests: wipes, if that has been asked for. */
void worker_checkpoint(struct worker *w) NONNULL;

/* Around a sleep that has no end known: the thread holds nothing meanwhile. */
void worker_rest(struct worker *w) NONNULL;
void worker_resume(struct worker *w) NONNULL;

/* Ask for a wipe; workers_wake() says how many have not done it yet, having
 * woken those that sleep.  To be called again until there are none. */
void workers_wipe(struct workers *ws) NONNULL;
unsigned workers_wake(struct workers *ws) NONNULL;

/* Wake all that sleep, whatever for. */
void workers_kick(struct workers *ws) NONNULL;

#endif
