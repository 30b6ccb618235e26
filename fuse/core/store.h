/*
 * store.h - where a store's files live.
 *
 * A store keeps named files of opaque bytes: a POSIX folder, later a RADOS
 * pool, and in the tests one that fails or remembers.  It knows nothing of
 * keys, blocks or layers.  Paths are relative, '/'-separated, without "." and
 * "..", as format.md lays them out.
 *
 * Lengths and offsets are in bytes.  Functions return 0 or a negative errno and
 * write through a ret_ argument only on success.  Any thread may call anything;
 * calls on one file may run side by side.
 *
 * Durability: what was written or punched is durable after sync() of that file
 * or sync_all(); a name made or removed after sync_dir() of its folder or
 * sync_all(); replace() and rename() are durable when they return.
 */
#ifndef SEALDISK_STORE_H
#define SEALDISK_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

struct store;
struct store_file;
struct store_lock;

/* Bytes of any path in a store, with the NUL. */
#define STORE_PATH_LEN 512

/* Relative, without empty components, "." and "..".  -EINVAL, -ENAMETOOLONG. */
int store_path_check(const char *path) NONNULL CHECKED;

enum store_lock_mode { STORE_LOCK_SH, STORE_LOCK_EX };

struct store_space {
	uint64_t total, free; /* bytes; free: to whom the process is */
};

struct store_ops {
	/* Open for reading and writing, or for reading alone.  -ENOENT. */
	int (*open)(struct store *st, const char *path, bool writable,
		    struct store_file **ret);
	/* A new, empty file; makes the folders above it, and those durably.
	 * -EEXIST. */
	int (*create)(struct store *st, const char *path,
		      struct store_file **ret);
	void (*close)(struct store_file *f);

	int (*size)(struct store_file *f, uint64_t *ret);
	/* All ${len} bytes, or -ENODATA where the file ends before. */
	int (*read)(struct store_file *f, void *buf, size_t len, uint64_t off);
	/* All ${len} bytes; -ENOSPC, -EDQUOT as they are.  -EROFS: it was
	 * opened for reading alone. */
	int (*write)(struct store_file *f, const void *buf, size_t len,
		     uint64_t off);
	/* The range reads as zeros and its space is given back.  -EOPNOTSUPP
	 * where the medium cannot: harmless. */
	int (*punch)(struct store_file *f, uint64_t off, uint64_t len);
	int (*truncate)(struct store_file *f, uint64_t len);
	/* Begin to write back what was written; a hint. */
	void (*writeback)(struct store_file *f, uint64_t off, uint64_t len);
	/* What is cached of the range is not going to be read; a hint. */
	void (*uncache)(struct store_file *f, uint64_t off, uint64_t len);
	/* Forget what is cached of the file and is clean, so that what is read
	 * next comes from the medium. */
	void (*drop)(struct store_file *f);
	/* Bytes of space that the file takes. */
	int (*allocated)(struct store_file *f, uint64_t *ret);

	int (*sync)(struct store_file *f);
	/* The names in folder ${path} ("" is the store's own) and of the folder
	 * itself in the one above it. */
	int (*sync_dir)(struct store *st, const char *path);
	int (*sync_all)(struct store *st);

	/* Calls ${fn} with each name in folder ${path} but temporary ones, in
	 * no order; stops when it returns non-zero and returns that.  -ENOENT
	 */
	int (*list)(struct store *st, const char *path,
		    int (*fn)(const char *name, bool is_dir, void *arg),
		    void *arg);
	/* A small file, whole: malloc'ed, ends with a NUL not counted, the
	 * caller's.  -ENOENT, -EFBIG. */
	int (*load)(struct store *st, const char *path, size_t max,
		    char **ret_buf, size_t *ret_len);
	/* Put a small file there, whole and durably, over an old one or none;
	 * makes the folders above it, durably. */
	int (*replace)(struct store *st, const char *path, const void *buf,
		       size_t len);
	/* Never onto an existing name: -EEXIST.  Durable. */
	int (*rename)(struct store *st, const char *from, const char *to);
	/* A file, or a folder that is empty.  Not durable.  -ENOENT,
	 * -ENOTEMPTY. */
	int (*remove)(struct store *st, const char *path);

	/* Take the lock called ${path}; ${info} says who (an exclusive lock
	 * keeps it in the file; NULL: what is there is left, so that load()
	 * tells who ended without releasing the lock, until lock_say()).
	 * ${wait}: until it is free, else -EBUSY. */
	int (*lock)(struct store *st, const char *path,
		    enum store_lock_mode mode, bool wait, const char *info,
		    struct store_lock **ret);
	/* Put ${info} into the file of a lock that is held exclusively. */
	int (*lock_say)(struct store_lock *l, const char *info);
	/* Release; what was said is wiped from the file.  ${remove}: and take
	 * its file away (held exclusively). */
	void (*unlock)(struct store_lock *l, bool remove);
	/* -EBUSY while the lock is still ours in name but no longer in fact
	 * (a file system that lost it, a file that was removed). */
	int (*lock_check)(struct store_lock *l);
	/* The descriptor that a lock is held by, which is the lock's still; a
	 * process that has a duplicate of it holds the lock, too.  NULL, as
	 * lock_adopt: this store has no such thing. */
	int (*lock_fd)(struct store_lock *l);
	/* The lock that an earlier process took by ${fd}, which is taken over.
	 * -EBUSY: it was released, and somebody else has it. */
	int (*lock_adopt)(struct store *st, const char *path,
			  enum store_lock_mode mode, int fd,
			  struct store_lock **ret);
	/* Forget a lock without releasing it: who has a duplicate of its
	 * descriptor holds it still.  NULL as lock_fd. */
	void (*lock_leave)(struct store_lock *l);
	/* Release the one that is held by ${fd}, which is closed: whoever has a
	 * duplicate holds nothing any more.  NULL as lock_fd. */
	void (*lock_drop)(int fd);
	/* What the holder said of itself; malloc'ed.  -ENOENT: nobody. */
	int (*lock_owner)(struct store *st, const char *path, char **ret);

	int (*space)(struct store *st, struct store_space *ret);
	void (*free)(struct store *st);
};

/* What every implementation begins with. */
struct store {
	const struct store_ops *ops;
};
struct store_file {
	struct store *st;
};
struct store_lock {
	struct store *st;
};

static inline void
store_free(struct store *st)
{
	if (st)
		st->ops->free(st);
}
DEFINE_CLEANUP(struct store, store_free)

static inline void
store_close(struct store_file *f)
{
	if (f)
		f->st->ops->close(f);
}
DEFINE_CLEANUP(struct store_file, store_close)

static inline void
store_unlock(struct store_lock *l)
{
	if (l)
		l->st->ops->unlock(l, false);
}
DEFINE_CLEANUP(struct store_lock, store_unlock)

/**
 * store_posix_open(path, ret):
 * The store in folder ${path}, which must exist.  Files are made 0600, folders
 * 0700.
 *
 * -ENOENT, -ENOTDIR, -EACCES
 */
int store_posix_open(const char *path, struct store **ret) NONNULL CHECKED;

/*
 * By the folder's descriptor, which is taken over; and that of a store, which
 * is the store's still.  Through one and the same, also in another process, the
 * error of a sync is told that somebody else was told who has died of it.
 */
int store_posix_adopt(int fd, struct store **ret) NONNULL CHECKED;
int store_posix_fd(const struct store *st) NONNULL;

/* As replace, where a folder that is empty gives way. */
int store_put(struct store *st, const char *path, const void *buf, size_t len)
    NONNULL CHECKED;

#endif
