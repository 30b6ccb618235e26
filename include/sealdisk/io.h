/*
 * io.h - whole reads and writes on file descriptors, and durable replacement.
 *
 * EINTR and short transfers are handled here.  0 or a negative errno.
 */
#ifndef SEALDISK_IO_H
#define SEALDISK_IO_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sealdisk/cleanup.h>

/*
 * A system call, again as long as it says that a signal has interrupted it: a
 * file system in user space or on a network does so even where a local one
 * never would.  Of a sync, that is no error of what was to be written: nothing
 * is lost, and the error of a writeback is not told by it.
 */
#define IO_RETRY(call)                                                         \
	({                                                                     \
		__typeof__(call) io_r_;                                        \
		do {                                                           \
			io_r_ = (call);                                        \
		} while (io_r_ < 0 && errno == EINTR);                         \
		io_r_;                                                         \
	})

int io_fsync(int fd) CHECKED;

int io_write_all(int fd, const void *buf, size_t len) NONNULL CHECKED;
/* -ENODATA when the file ends before ${len}. */
int io_read_all(int fd, void *buf, size_t len) NONNULL CHECKED;
int io_pread_all(int fd, void *buf, size_t len, uint64_t off) NONNULL CHECKED;
int io_pwrite_all(int fd, const void *buf, size_t len, uint64_t off)
    NONNULL CHECKED;

/**
 * io_load(dirfd, path, max, ret_buf, ret_len):
 * Read a regular file whole.  *${ret_buf} is malloc'ed, ends with a NUL that
 * is not counted, and belongs to the caller.
 *
 * -EFBIG  longer than ${max}
 */
int io_load(int dirfd, const char *path, size_t max, char **ret_buf,
	    size_t *ret_len) NONNULL CHECKED;

/**
 * io_replace(dirfd, path, buf, len, mode):
 * Make ${path} hold ${buf}, wholly and durably, or leave it as it was:
 * temporary file in the same folder, fsync, rename, fsync of the folder.
 */
int io_replace(int dirfd, const char *path, const void *buf, size_t len,
	       mode_t mode) NONNULL CHECKED;

/* Make ${path} and what is missing above it; durable.  Existing is fine. */
int io_mkdir_p(int dirfd, const char *path, mode_t mode) NONNULL CHECKED;

/* fsync the folder that holds ${path}. */
int io_sync_parent(int dirfd, const char *path) NONNULL CHECKED;

/* Temporary names are ".NAME.tmp-XXXXXX"; listings pass over them. */
#define IO_TMP_PREFIX "."

#endif
