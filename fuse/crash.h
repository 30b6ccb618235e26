/*
 * crash.h - a worker that dies of a fault of its own says where, in memory that
 * outlives it (keep.h); the next one writes it to the log.
 *
 * Nothing of what the process held is kept: addresses in its programs, and the
 * heads of requests.
 */
#ifndef SEALDISK_CRASH_H
#define SEALDISK_CRASH_H

#include "keep.h"

/* For the whole process, before threads are started. */
void crash_init(struct keep *k) NONNULL;
/* For the calling thread: also where its stack was the trouble. */
void crash_thread(void);
/* What the calling thread is at from now on; NULL: nothing that came in.  The
 * caller's, and stays. */
void crash_request(const struct keep_request *q);

#endif
