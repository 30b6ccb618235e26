/*
 * workloads.h - what is explored.
 */
#ifndef SEALDISK_CRASH_WORKLOADS_H
#define SEALDISK_CRASH_WORKLOADS_H

#include "crash.h"

struct named_step {
	const char *op;
	unsigned a, b;
	uint64_t off, len;
};

/* Steps that come together, for lists of them. */
#define NEW(disk)                                                              \
	{ "create", disk, 0, 0, SIZE_MAX_OF_DISK },                            \
	{                                                                      \
		"attach", disk, 0, 0, 0                                        \
	}

/* The process dies: now, or before so many changes of the next step. */
#define DIE(changes)                                                           \
	{                                                                      \
		"die", 0, 0, 0, changes                                        \
	}
#define DIE_IN_FLUSH(changes)                                                  \
	{ "write", 0, 0, 0, 4 * KiB }, DIE(changes),                           \
	{                                                                      \
		"flush", 0, 0, 0, 0                                            \
	}

struct named_workload {
	const char *name;
	const struct named_step *steps;
	size_t n;
};

/* The last one has no name. */
extern const struct named_workload named_workloads[];

/* Its steps are the caller's to free.  False: there is none of that name. */
bool workload_named(struct workload *w, const char *name);
void workload_random(struct workload *w, uint64_t seed, size_t n);

#endif
