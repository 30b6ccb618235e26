/*
 * host.h - what the daemon asks of the machine that it runs on: limits, memory
 * that stays, its mount in the kernel, the service manager.
 *
 * Each of these may be refused, as to root in a container, and nothing depends
 * on any: what was refused is said once.
 */
#ifndef SEALDISK_HOST_H
#define SEALDISK_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <sealdisk/cleanup.h>

/**
 * host_prepare():
 * Before any thread starts: signals blocked that the main thread takes, no
 * writing back of our own dirty pages in our allocations, memory locked as it
 * is touched, small stacks, many open files.
 */
void host_prepare(void);
/* Warn of what was refused, when there is a log to do it in. */
void host_warn(void);

/* The device of the newest mount at ${mnt}, if it is one of ours.  -ENOENT.
 * The mount itself is not touched. */
int host_mount_device(const char *mnt, dev_t *ret) NONNULL CHECKED;

/* More dirty pages and readahead for the mount than FUSE is given.  False:
 * refused. */
bool host_tune_mount(dev_t dev, size_t readahead) CHECKED;

/* ${lazy}: take the mount away from its place; who has files open keeps them.
 * Else -EBUSY then.  -EPERM: or where fusermount3 says no more. */
int host_unmount(const char *mnt, bool lazy) NONNULL CHECKED;

/* Whether the kernel, out of memory, may end this process: never, or as it was
 * before.  -EACCES. */
int host_keep_alive(bool never) CHECKED;

/* "READY=1", "STATUS=...": to the service manager, if there is one. */
void host_notify(const char *fmt, ...)
    __attribute__((__format__(__printf__, 1, 2)));

/* How many threads serve requests where nobody has said a number. */
unsigned host_threads(void);

#endif
