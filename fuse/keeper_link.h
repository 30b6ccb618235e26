/*
 * keeper_link.h - a worker's end of the line to its keeper, and what it got
 * from there.
 */
#ifndef SEALDISK_KEEPER_LINK_H
#define SEALDISK_KEEPER_LINK_H

#include "keep.h"
#include "keep_line.h"

/* Among the locks: the store's folder. */
#define LINK_STORE KEPT_DISKS
#define LINK_LOCKS (KEPT_DISKS + 1)

struct keeper_link {
	int line, keep_fd, fuse_fd; /* -1: none (yet) */
	struct keep *keep;
	int locks[LINK_LOCKS]; /* by slot; -1: none, or taken over */
};

/**
 * link_open(line, l, ret_mode):
 * Take the memory.  -EPROTONOSUPPORT: it is of another build, which the keeper
 * has been told; -EPIPE there is no keeper.
 */
int link_open(int line, struct keeper_link *l, enum line_mode *ret_mode)
    NONNULL CHECKED;
/* Whether this worker can serve, ${text} else saying why not. */
int link_hello(struct keeper_link *l, int err, const char *text)
    NONNULL CHECKED;
/* Wait for /dev/fuse, taking locks. */
int link_wait(struct keeper_link *l) NONNULL CHECKED;

/* It serves; what the service manager is to show. */
void link_ready(struct keeper_link *l, const char *fmt, ...)
    __attribute__((__format__(__printf__, 2, 3)));
void link_status(struct keeper_link *l, const char *fmt, ...)
    __attribute__((__format__(__printf__, 2, 3)));

/* For engine_options: ${arg} is the link. */
int link_lock(void *arg, unsigned slot, int fd) CHECKED;
void link_drop(void *arg, unsigned slot);

/* Of the worker's death, that of the one before: tell the log, once. */
void link_tell_death(struct keep *k) NONNULL;

#endif
