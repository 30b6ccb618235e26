/*
 * snapshot.h - freezing attached disks, and what is made of a frozen one.
 *
 * All of it shares the wrapped DK of the disk: no key is made, no block copied,
 * and it costs the same whatever the size.
 */
#ifndef SEALDISK_SNAPSHOT_H
#define SEALDISK_SNAPSHOT_H

#include "disk.h"

struct snapshot_request {
	struct disk *disk; /* attached here, and kept so by the caller */
	enum desc_type
	    type;         /* of what is made: DESC_DISK is a copy of the disk */
	const char *name; /* its name; of a snapshot without the disk's */
};

/**
 * disks_snapshot(e, s, reqs, n):
 * Freeze ${n} different disks at one instant: whatever any of their writers was
 * told before another one's write began is in, for all of them.  What is frozen
 * is durable, and written to no more; each disk goes on in a new layer. Several
 * snapshots of one call bear the same `set`; a crash leaves all of them or
 * none.
 *
 * -EEXIST  a name is taken: nothing was done
 * -EINVAL  a name, or one disk twice
 * -EROFS   a disk is read-only or has failed
 * -E2BIG   a disk has too many layers
 */
int disks_snapshot(struct engine *e, struct scratch *s,
		   const struct snapshot_request *reqs, size_t n)
    NONNULL CHECKED;

#endif
