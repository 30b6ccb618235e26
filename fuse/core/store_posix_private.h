/*
 * store_posix_private.h - what the files of the POSIX store share.
 */
#ifndef SEALDISK_STORE_POSIX_PRIVATE_H
#define SEALDISK_STORE_POSIX_PRIVATE_H

#include <errno.h>
#include <fcntl.h>

#include "store.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY)

struct posix_store {
	struct store base;
	int root;     /* the store's folder; all paths are below it */
	bool beneath; /* openat2 may be used */
};

/* An error of the system, as the engine is told it: by -ESTALE and -EAGAIN it
 * tells itself to look again, at once and without end, which a file system, as
 * NFS, does not mean. */
static inline int
posix_told(int r)
{
	return r == -ESTALE || r == -EAGAIN ? -EIO : r;
}

static inline int
posix_error(void)
{
	return posix_told(-errno);
}

/**
 * posix_parent(ps, path, make, ret_fd, ret_name):
 * Open the folder that ${path} lies in, for *at() calls and fsync, and point
 * *${ret_name} at the last component.  ${make}: make what is missing, durably.
 */
int posix_parent(const struct posix_store *ps, const char *path, bool make,
		 int *ret_fd, const char **ret_name) NONNULL CHECKED;

/* Open ${path} (or "" for the root) without leaving the store and without
 * following a symbolic link.  Returns a descriptor or a negative errno. */
int posix_open_beneath(const struct posix_store *ps, const char *path,
		       int flags) NONNULL CHECKED;

/* Whether openat2 works here: a sandbox may refuse it though the kernel has it.
 */
bool posix_has_openat2(int root);

/* The part of ${path} before its last '/', or "". */
void posix_folder_of(const char *path, char out[static STORE_PATH_LEN]) NONNULL;

/* Read an open file whole; see store_ops.load. */
int posix_load_fd(int fd, size_t max, char **ret_buf, size_t *ret_len)
    NONNULL CHECKED;

/* Operations that are not in store_posix.c. */
int posix_list(struct store *st, const char *path,
	       int (*fn)(const char *name, bool is_dir, void *arg), void *arg)
    CHECKED;
int posix_load(struct store *st, const char *path, size_t max, char **ret_buf,
	       size_t *ret_len) CHECKED;
int posix_replace(struct store *st, const char *path, const void *buf,
		  size_t len) CHECKED;
int posix_rename(struct store *st, const char *from, const char *to) CHECKED;
int posix_remove(struct store *st, const char *path) CHECKED;
int posix_lock(struct store *st, const char *path, enum store_lock_mode mode,
	       bool wait, const char *info, struct store_lock **ret) CHECKED;
int posix_lock_say(struct store_lock *l, const char *info) CHECKED;
void posix_unlock(struct store_lock *l, bool remove);
int posix_lock_check(struct store_lock *l) CHECKED;
int posix_lock_fd(struct store_lock *l);
int posix_lock_adopt(struct store *st, const char *path,
		     enum store_lock_mode mode, int fd, struct store_lock **ret)
    CHECKED;
void posix_lock_leave(struct store_lock *l);
void posix_lock_drop(int fd);
int posix_lock_owner(struct store *st, const char *path, char **ret) CHECKED;

#endif
