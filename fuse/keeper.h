/*
 * keeper.h - the process that a mount is, whoever serves it.
 *
 * It owns /dev/fuse, the memory that outlives a worker (keep.h) and the locks
 * of the disks, and runs the worker, which does all else.  A worker that dies
 * is followed by another, at once or, where that one has not come to serve,
 * after a while.  One that dies again and again for no request that could be
 * named is followed by one that answers EIO alone, until an upgrade or unmount.
 *
 * It allocates nothing once it runs, and touches neither store nor mount.
 */
#ifndef SEALDISK_KEEPER_H
#define SEALDISK_KEEPER_H

#include <sealdisk/cleanup.h>

#include "keep.h"

struct keeper_options {
	/* Of `sealdisk` itself; the worker gets "--keeper-fd=N" besides. */
	char **argv;
	struct keep *keep;
	int keep_fd;
	/* Mount; called once, when the first worker is ready to serve. */
	int (*mount)(void *arg, int *ret_fuse_fd);
	/* It serves. */
	void (*ready)(void *arg);
	void *arg;
	bool foreground;
};

/**
 * keeper_run(o):
 * Returns when the mount is gone: 0, or the error of the worker that ended
 * last, who has told of it.
 */
int keeper_run(const struct keeper_options *o) NONNULL CHECKED;

/**
 * keeper_resume(fd, o):
 * The same in the process that an upgrade made of the keeper, from what that
 * left in ${fd}; of ${o} argv alone is set, and the rest filled in.
 */
int keeper_resume(int fd, struct keeper_options *o) NONNULL CHECKED;

#endif
