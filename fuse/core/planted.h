/*
 * planted.h - bugs that the crash explorer has to find (tests/crash).
 *
 * Each breaks the order that keeps a disk whole, in one place.  They are there
 * only in the library that is built with SEALDISK_PLANTED for the test of that,
 * and there one at a time; anywhere else PLANTED() is false, and the compiler
 * leaves nothing of it.
 */
#ifndef SEALDISK_PLANTED_H
#define SEALDISK_PLANTED_H

#ifdef SEALDISK_PLANTED

enum planted {
	NOTHING_PLANTED,
	MAP_BEFORE_CHUNKS, /* the map is durable before the files it names */
	SLOTS_FREED_EARLY, /* as replaced, not as the page is durable */
	PAGE_OVER_NEWEST,  /* a page is written over its newest copy */
	FROZEN_LATE,  /* the snapshot has a name before its layer is frozen */
	MERGED_EARLY, /* the parent is left before the child has it all */
	SETTLED_IN_MEMORY, /* what a page was settled to is not made durable */
	RESUMED_UNSETTLED  /* what a process wrote that died neither */
};
extern enum planted planted;
#define PLANTED(bug) (planted == (bug))

#else
#define PLANTED(bug) false
#endif

#endif
