/*
 * pending.h - requests that were read and are not answered yet, as they are
 * known to the next worker (keep.h): so that one that was begun three times and
 * each time was the end of its worker is not begun again, and that a kernel
 * which does not send requests again still gets answers.
 */
#ifndef SEALDISK_PENDING_H
#define SEALDISK_PENDING_H

#include "keeper_link.h"
#include "worker.h"

/* A thread that reads requests. */
struct pending {
	struct keep *keep; /* NULL: nobody is told */
	int fuse_fd;
	struct keep_past *past;
	struct fuse_in_header *header; /* in shared memory */
};

/* ${link} NULL: nobody is told.  Number ${i} of all threads. */
int pending_thread(struct pending *p, struct keeper_link *link,
		   struct worker *w, unsigned i)
    __attribute__((__nonnull__(1, 3))) CHECKED;
/* Before a request of ${len} bytes is looked at.  False: it is a poisonous one,
 * which has been answered. */
bool pending_begin(struct pending *p, const void *request, size_t len)
    NONNULL CHECKED;
/* It was answered, or is a job's from now on. */
void pending_end(struct pending *p) NONNULL;

/* What the worker before this one had read and not answered is sent again, or
 * where the kernel cannot do that answered EIO. */
void pending_resend(struct keeper_link *link) NONNULL;

/* The request that this thread is at; 0: none. */
uint64_t pending_unique(void);

/* A request that a job is to answer; NULL where it cannot be noted.  Ended by
 * the job. */
struct keep_job *pending_job(struct keeper_link *link, uint64_t unique);
void pending_job_run(const struct keep_job *j); /* this thread is at it */
void pending_job_end(struct keep_job *j);

#endif
