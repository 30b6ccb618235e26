/*
 * doctor.h - what the checks of `sealdisk doctor` share.
 *
 * A check looks at one thing, and adds a finding where it costs speed or
 * safety.  What cannot be looked at (no such file on this kernel, not allowed)
 * is passed over.
 *
 * Every path that is read has d->root before it, which is "" but for tests: a
 * whole machine can be made of files.  Checks therefore ask files of /proc and
 * /sys where a system call would do.
 */
#ifndef SEALDISK_DOCTOR_H
#define SEALDISK_DOCTOR_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <jansson.h>

#include <sealdisk/settings.h>

/* A line of mountinfo. */
struct doctor_fs {
	unsigned major, minor;
	char *where, *type, *source;
	long daemon; /* of a store's mount: its process, or 0 */
};

struct doctor {
	const char *root;
	struct settings settings;
	char store[PATH_MAX]; /* that of the command line or settings, or "" */
	struct doctor_fs *fs; /* all that is mounted */
	size_t n_fs;
	json_t *findings;
	unsigned n_serious;
};

/*
 * SERIOUS: data or keys can be lost, or be read by others.  WARNING: speed, or
 * safety in some case.  NOTE: good to know.
 */
enum doctor_severity { NOTE, WARNING, SERIOUS };

struct doctor_words {
	const char *check; /* a name for programs, "loop-direct-io" */
	const char *costs, *mend;
};

/* Add a finding; ${fmt} says what was found. */
void doctor_add(struct doctor *d, enum doctor_severity s,
		const struct doctor_words *w, const char *fmt, ...)
    __attribute__((__format__(__printf__, 4, 5), __nonnull__));

/* The root before a path: into ${ret}.  False: it is too long. */
bool doctor_path(const struct doctor *d, char ret[static PATH_MAX],
		 const char *fmt, ...)
    __attribute__((__format__(__printf__, 3, 4), __nonnull__));
/* A small file without its last line feed.  False: it cannot be read. */
bool doctor_read(const struct doctor *d, char *ret, size_t cap, const char *fmt,
		 ...)
    __attribute__((__format__(__printf__, 4, 5), __nonnull__));
/* The value of the line that begins with ${key}, after blanks, up to blanks. */
bool doctor_find_line(const char *text, const char *key, char *ret, size_t cap)
    __attribute__((__nonnull__));
FILE *doctor_open(const struct doctor *d, const char *path)
    __attribute__((__nonnull__));
bool doctor_stat(const struct doctor *d, const char *path, struct stat *ret)
    __attribute__((__nonnull__));
/* Calls ${fn} with each name in a folder. */
void doctor_list(struct doctor *d, const char *path,
		 void (*fn)(struct doctor *d, const char *name, void *arg),
		 void *arg) __attribute__((__nonnull__(1, 2, 3)));

/* doctor_find.c: whether ${path} is ${folder} or lies in it. */
bool doctor_is_below(const char *path, const char *folder)
    __attribute__((__nonnull__));
/* The file system that ${path} lies on, or NULL. */
const struct doctor_fs *doctor_fs_of(const struct doctor *d, const char *path)
    __attribute__((__nonnull__));
/* Whether it is a mount of the store that is looked at; of any, where none was
 * named. */
bool doctor_is_ours(const struct doctor *d, const struct doctor_fs *fs)
    __attribute__((__nonnull__));
bool doctor_is_network(const struct doctor_fs *fs) __attribute__((__nonnull__));
/* Whether the block device lies on dm-crypt: "dm-0", or "8:1" of a number. */
bool doctor_is_crypt(const struct doctor *d, const char *dev)
    __attribute__((__nonnull__));

/* Fill in d->fs.  -ENOMEM. */
int doctor_mounts(struct doctor *d)
    __attribute__((__nonnull__, __warn_unused_result__));

/* The checks. */
typedef void doctor_check(struct doctor *d);
/* doctor_daemon.c: the daemons of mounts. */
doctor_check doctor_dead, doctor_files, doctor_memory, doctor_flusher,
    doctor_dumps, doctor_slice, doctor_old;
/* doctor_host.c: the machine. */
doctor_check doctor_kernel, doctor_aes, doctor_swap, doctor_fstab;
/* doctor_mount.c: mounts and the devices over them. */
doctor_check doctor_background, doctor_readahead, doctor_dirty, doctor_loops,
    doctor_disks;
/* doctor_store.c: where data and keys lie. */
doctor_check doctor_network, doctor_itself, doctor_space, doctor_keystore,
    doctor_root_key, doctor_together;

#endif
