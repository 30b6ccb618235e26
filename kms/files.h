/*
 * files.h - new files that appear whole or not at all, and never over another.
 *
 * A file is made under a temporary name in the folder where it shall live,
 * filled by whoever knows what goes into it, and published under its own name.
 * 0 or a negative errno; any thread.
 */
#ifndef SEALDISK_KMS_FILES_H
#define SEALDISK_KMS_FILES_H

#include <stdbool.h>
#include <limits.h>

#include <sealdisk/cleanup.h>

/* A file on its way; { { 0 } } is none. */
struct files_temp {
	char path[PATH_MAX];
};

/**
 * files_temp_make(path, ret, ret_fd):
 * Make an empty file, mode 0600, beside ${path}.  ${ret_fd} may be NULL: then
 * it is closed.
 */
int files_temp_make(const char *path, struct files_temp *ret, int *ret_fd)
    __attribute__((__nonnull__(1, 2))) CHECKED;

/**
 * files_temp_publish(t, path):
 * Flush ${t} and give it the name ${path}, durably.  No descriptor of the file
 * may be one that SQLite has open: closing ours would drop its locks.
 *
 * -EEXIST  there is something of that name; nothing was changed
 */
int files_temp_publish(struct files_temp *t, const char *path) NONNULL CHECKED;

/* CLEANUP: remove what was not published, and what SQLite left beside it. */
void files_temp_drop(struct files_temp *t) NONNULL;

/* Whether there is anything of that name, a dangling link included. */
int files_exist(const char *path, bool *ret) NONNULL CHECKED;

/* ${a} and then ${b}.  -ENAMETOOLONG */
int files_join(char out[static PATH_MAX], const char *a, const char *b)
    NONNULL CHECKED;

/* A name that is not taken, for what was at ${path} until now:
 * PATH.WHY-TIME.N. */
int files_name_kept(const char *path, const char *why,
		    char out[static PATH_MAX]) NONNULL CHECKED;

/* Make the folder that holds ${path}, mode 0700, if it is missing. */
int files_make_parent(const char *path) NONNULL CHECKED;

/**
 * files_lock_parent(path, ret_fd):
 * Lock the folder that holds ${path} against others who call this, and wait for
 * them.  Closing *${ret_fd} unlocks.
 */
int files_lock_parent(const char *path, int *ret_fd) NONNULL CHECKED;

#endif
