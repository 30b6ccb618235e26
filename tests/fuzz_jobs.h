/*
 * fuzz_jobs.h - in place of fuse/jobs.c and fuse/worker.c: jobs that wait until
 * jobs_drain() runs them in the calling thread, in order, and that thread as
 * the one worker there is.  A run of an input is the same each time.
 */
#ifndef SEALDISK_FUZZ_JOBS_H
#define SEALDISK_FUZZ_JOBS_H

#include "jobs.h"

/* Made at the first call, and never freed. */
struct worker *fuzz_worker(void);

#endif
