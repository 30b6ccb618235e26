/*
 * planted.h - bugs that the crash explorer has to find (tests/crash).
 *
 * Each breaks the order that keeps a disk whole, in one place.  They are there
 * only in the library that is built with SEALDISK_PLANTED for the test of that,
 * and there one at a time; anywhere else PLANTED() is false, and the compiler
 * leaves nothing of it.  The same with POINT(): a place where a test of that
 * build may end the process.
 */
#ifndef SEALDISK_PLANTED_H
#define SEALDISK_PLANTED_H

#include <stdint.h>

#ifdef SEALDISK_PLANTED

enum planted {
	NOTHING_PLANTED,
	MAP_BEFORE_CHUNKS, /* the map is durable before the files it names */
	SLOTS_FREED_EARLY, /* as replaced, not as the page is durable */
	PAGE_OVER_NEWEST,  /* a page is written over its newest copy */
	FROZEN_LATE,  /* the snapshot has a name before its layer is frozen */
	MERGED_EARLY, /* the parent is left before the child has it all */
	MERGED_PAST, /* a layer is merged on that is still being given things */
	SETTLED_IN_MEMORY, /* what a page was settled to is not made durable */
	RESUMED_UNSETTLED, /* what a process wrote that died neither */
	RESUMED_UNREAD,    /* a commit leaves out what was not read since */
	RESUMED_UNMAPPED,  /* the chunks that it made are not found */
	FORGOTTEN_EARLY,   /* what a commit has is kept no more as it begins */
	REST_UNPROVED, /* copies are taken for equal that nobody has looked at
			*/
	NO_RESEND      /* no bug: a kernel that does not send requests again */
};
extern enum planted planted;
#define PLANTED(bug) (planted == (bug))

/* Called with a name, and where in the disk that is; NULL: nothing is. */
extern void (*planted_point)(const char *name, uint64_t at);
#define POINT(name, at)                                                        \
	do {                                                                   \
		if (planted_point)                                             \
			planted_point(name, at);                               \
	} while (0)

#else
#define PLANTED(bug) false
#define POINT(name, at) ((void)(at))
#endif

#endif
