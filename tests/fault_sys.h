/*
 * fault_sys.h - system calls that fail, for programs that are linked with
 * sys_ldflags of Makefile.am: the linker sends the calls of Sealdisk's own code
 * here, not those that libraries make.
 *
 * Nothing is synced in truth, which a test has no use for; but what a sync that
 * fails was to write is lost as the kernel loses it: it is seen until the file
 * is dropped from the cache, then what was there before is.
 *
 * Of the thread that arms it alone.
 */
#ifndef SEALDISK_FAULT_SYS_H
#define SEALDISK_FAULT_SYS_H

#include <stdbool.h>

enum sys_kind {
	SYS_OPEN = 1 << 0, /* also what makes a file */
	SYS_READ = 1 << 1,
	SYS_WRITE = 1 << 2,
	SYS_SYNC = 1 << 3,  /* fsync, fdatasync, syncfs */
	SYS_SPACE = 1 << 4, /* fallocate, ftruncate */
	SYS_STAT = 1 << 5,
	SYS_NAME = 1 << 6, /* mkdir, link, unlink, rename */
	SYS_LIST = 1 << 7,
	SYS_LOCK = 1 << 8, /* fcntl */
	SYS_HINT = 1 << 9, /* posix_fadvise, sync_file_range */
	SYS_CLOSE = 1 << 10,
	SYS_ALL = (1 << 11) - 1,
	SYS_CHANGES = SYS_WRITE | SYS_SPACE | SYS_NAME | SYS_OPEN,
};

enum sys_mode {
	SYS_BEFORE, /* the call is not made */
	SYS_AFTER,  /* it is made, and then said to have failed */
	SYS_SHORT,  /* a read or a write does a part; nothing else fails */
};

/**
 * sys_arm(kinds, nth, err, mode, lasting):
 * Fail the ${nth} call from now (1: the next; 0: none) of these kinds with
 * ${err} (positive); with ${lasting} all that follow as well, or of EINTR and
 * of SYS_SHORT every other one.
 */
void sys_arm(unsigned kinds, unsigned nth, int err, enum sys_mode mode,
	     bool lasting);
bool sys_fired(void); /* since then */

/* While ${without}: renameat2 is EINVAL, as on NFS. */
void sys_without_renameat2(bool without);

#endif
