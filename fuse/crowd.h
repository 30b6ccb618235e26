/*
 * crowd.h - whether all threads that serve are busy, and none gets on.
 *
 * A disk whose store does not answer must not have all threads: then more are
 * needed.  This module knows nothing of FUSE, nor of what the threads do.  The
 * first three are for any thread, and cost a few instructions; crowd_look() is
 * for one.
 */
#ifndef SEALDISK_CROWD_H
#define SEALDISK_CROWD_H

#include <stdbool.h>
#include <stdint.h>

struct crowd {
	_Atomic unsigned threads; /* that serve */
	_Atomic unsigned busy;    /* of those */
	_Atomic unsigned done;    /* requests */
	_Atomic bool full;        /* all are busy, or were a moment ago */
	bool quiet;               /* they were not at the last look */
	unsigned done_then;
	int64_t since_ms; /* nothing was done since; 0: not known */
};

/* Around a request.  True: somebody is to call crowd_look(). */
bool crowd_begin(struct crowd *c);
void crowd_end(struct crowd *c);

/**
 * crowd_look(c, now_ms, stuck):
 * In how many ms to look again, or -1: when crowd_begin() says so.  *${stuck}:
 * for so long that more threads are needed has nothing been done.
 */
int crowd_look(struct crowd *c, int64_t now_ms, bool *stuck);

#define CROWD_STUCK_MS 1000

#endif
