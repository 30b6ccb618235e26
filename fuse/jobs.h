/*
 * jobs.h - work that may wait for a KMS, a lock or a long commit, on threads of
 * its own: those that serve attached disks never wait for it.
 *
 * A strand is a queue whose jobs run one at a time and in order; jobs of
 * different strands run side by side.  A disk has one: that is what serialises
 * its attach, detach, rename, removal.
 *
 * This module knows nothing of FUSE or of what the jobs do.  Any thread may
 * add jobs.
 */
#ifndef SEALDISK_JOBS_H
#define SEALDISK_JOBS_H

#include <stdbool.h>

#include <sealdisk/cleanup.h>

#include "worker.h"

struct jobs;
struct job;

struct strand {
	struct job *first, *last;
	struct strand *next; /* among the strands that can run */
	bool scheduled;
};

struct job {
	struct job *next;
	struct strand own; /* for a job without a strand */
	void (*run)(struct job *j);
	/* Called at the very end, when the strand is no longer looked at:
	 * releases the job, and what holds the strand. */
	void (*done)(struct job *j);
};

/* Starts one thread, and up to ${max} as there is work for them. */
int jobs_new(struct workers *ws, unsigned max, struct jobs **ret)
    NONNULL CHECKED;

/* Queue ${j} on ${s}, or where that is NULL to run beside all others. */
void jobs_add(struct jobs *js, struct strand *s, struct job *j)
    __attribute__((__nonnull__(1, 3)));

/* Wait until nothing is queued or running. */
void jobs_drain(struct jobs *js) NONNULL;

/* Let the threads end; workers_join() waits for them.  To be drained before. */
void jobs_stop(struct jobs *js) NONNULL;

/* The threads must have been joined. */
void jobs_free(struct jobs *js);
DEFINE_CLEANUP(struct jobs, jobs_free)

#endif
