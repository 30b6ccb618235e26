/*
 * disk.h - the engine as its users see it: a store opened by one process, and
 * the disks that it has attached.
 *
 * It knows nothing of FUSE or the command line.  Offsets and lengths are in
 * bytes and need no alignment.  Functions return 0 or a negative errno (see
 * style.md): -EBADMSG, -EUCLEAN and -ESTALE mean that the store's content does
 * not verify, and are EIO to a client of the mount.
 *
 * Threads: any thread may call anything; each passes a struct scratch of its
 * own to the calls that move data.  disk_attach and disk_detach of one disk are
 * serialised by the caller, and no other call on it may run beside its detach.
 *
 * Durability: what disk_write, disk_zero and disk_resize did is durable when a
 * disk_flush that began after they returned has returned 0.  Growing by
 * disk_write is durable then, too; by disk_resize at once.
 */
#ifndef SEALDISK_DISK_H
#define SEALDISK_DISK_H

#include <stdatomic.h>
#include <sys/types.h>

#include "catalog.h"

struct engine;
struct disk;
struct kept; /* kept.h */

/*
 * A thread's own cipher handles and buffers: the read and write path allocates
 * nothing.  scratch_wipe() overwrites all plaintext and keys that it holds;
 * only the thread that uses it may call that, between two calls of the engine.
 */
struct scratch;
int scratch_new(struct scratch **ret) NONNULL CHECKED;
void scratch_wipe(struct scratch *s) NONNULL;
void scratch_free(struct scratch *s);
DEFINE_CLEANUP(struct scratch, scratch_free)

struct engine_options {
	const char *mount_point; /* for the lock's owner; "" for a command */
	uint64_t cache_size;     /* bytes of cached pages; 0: the default */
	unsigned commit_ms;    /* age at which a write is committed; 0: 5000 */
	unsigned quiet_ms;     /* mirror after; 0: 3000; punching 20 times it */
	unsigned seal_limit;   /* seals of a group before its chunk gets a new
				* key; 0: what format.md allows */
	unsigned merge_chunks; /* of a layer that a piece of merging it takes;
				* 0: by time */
	bool manual;           /* tests: no background thread */
	/* What outlives this process; NULL: nothing does, as of a command. */
	struct kept *kept;
	pid_t owner; /* whose number stands in locks; 0: ours */
	/* Whoever keeps that gets a duplicate of the descriptor of a disk's
	 * lock, and may close it when the lock was released. */
	int (*keep_lock)(void *arg, unsigned slot, int fd);
	void (*drop_lock)(void *arg, unsigned slot);
	void *keep_arg;
};

/**
 * engine_open(st, kms, opt, ret):
 * Open the store: reads store.ini and runs catalog_recover().  ${st} and ${kms}
 * stay the caller's and outlive the engine.
 */
int engine_open(struct store *st, struct kms *kms,
		const struct engine_options *opt, struct engine **ret)
    NONNULL CHECKED;
/* Every disk must have been detached. */
void engine_close(struct engine *e);
DEFINE_CLEANUP(struct engine, engine_close)
struct catalog *engine_catalog(struct engine *e) NONNULL;
struct kms *engine_kms(struct engine *e) NONNULL;
struct store *engine_store(struct engine *e) NONNULL;

/* Remove what deleted disks and snapshots left, merge layers that nothing
 * names, and seal what is frozen, until there is nothing more to do now, or
 * *${stop}. */
void engine_sweep(struct engine *e, const atomic_bool *stop) NONNULL;
/* Whether the last time left something to be removed, merged or sealed:
 * somebody had what that takes, or it failed. */
bool engine_has_left(struct engine *e) NONNULL;

/* A piece of that alone: some of a frozen layer's chunks get their digests, or
 * it says what they come to.  1: there is more.  *${stop}, unless it is NULL:
 * whoever merges just then is not waited for any longer. */
int engine_seal(struct engine *e, const atomic_bool *stop)
    __attribute__((__nonnull__(1))) CHECKED;

/* How far the layer that is being merged is: chunks, by their place in it.
 * False: none is. */
bool engine_merging(struct engine *e, uint64_t *ret_done, uint64_t *ret_total)
    NONNULL;

/* DISK_BRIEF: for a moment; others of this host wait for it.
 * DISK_ACCEPT_ROLLBACK: what is there is right from now on, whatever was there
 * at the last checkpoint.  DISK_READ_OLDER: read-only where the disk was put
 * back to an older state. */
enum {
	DISK_READ_ONLY = 1,
	DISK_BRIEF = 2,
	DISK_ACCEPT_ROLLBACK = 4,
	DISK_READ_OLDER = 8
};

/**
 * disk_attach(e, type, name, flags, ret):
 * Lock, one KMS Decrypt, verify, recover.  With DISK_READ_ONLY nothing is
 * written but what recovery must.  A snapshot (DISK@NAME) or image is
 * read-only, any number of processes may have it, and nothing at all is
 * written.
 *
 * -ENOENT; -EBUSY attached by somebody else (catalog_disk_owner tells); the
 * errors of kms.h; -EUCLEAN, -EBADMSG; -EPROTONOSUPPORT a newer format; -ESTALE
 * the disk was put back to an older state: it can be attached read-only, or
 * with DISK_ACCEPT_ROLLBACK; -EROFS never
 */
int disk_attach(struct engine *e, enum desc_type type, const char *name,
		int flags, struct disk **ret) NONNULL CHECKED;

/**
 * disk_resume(e, slot, name, lock_fd, ret):
 * Go on with a disk that a process which has died had attached, by what
 * opt.kept has of it; ${name} is what it is called now.  Its lock is that of
 * ${lock_fd}, which is taken over; -1: it is taken anew.  No call of the KMS.
 * After an error the slot is as it was, and whoever has a duplicate of
 * ${lock_fd} holds the lock still.
 *
 * -EBUSY   somebody else has had it attached since
 * -ENODEV  it had been detached
 * -EIO     what was written and not committed is not known any more
 */
int disk_resume(struct engine *e, unsigned slot, const char *name, int lock_fd,
		struct disk **ret) NONNULL CHECKED;

/* The lock of a disk that was just coming or going when its process died, and
 * that nobody goes on with: it is free from now on, whoever else has a
 * duplicate of ${lock_fd}, which is closed. */
void disk_drop_lock(struct engine *e, int lock_fd) NONNULL;

/* For tests: drop everything in memory as the death of a process would that
 * leaves opt.kept. */
void disk_die(struct disk *d);

/**
 * disk_detach(d):
 * Commit, mirror, mark clean, wipe the DK and all that came of it, release the
 * lock.  ${d} is freed whatever is returned: after an error the next attach is
 * an unclean one.  Also for a disk on which an I/O failed.
 */
int disk_detach(struct disk *d) CHECKED;

/* For tests: drop everything in memory as kill -9 would. */
void disk_abandon(struct disk *d);

/* Whether what a read has failed with is a fault of what is stored there, and
 * not of the machine, which may be able to do it another time. */
bool disk_is_damage(int err) CHECKED;

/* Reads past the end are the caller's to cut: -EINVAL. */
int disk_read(struct disk *d, struct scratch *s, void *buf, size_t len,
	      uint64_t off) NONNULL CHECKED;

/* Past the end it grows the disk to the next multiple of 512.  -EFBIG,
 * -ENOSPC, -EDQUOT, -EROFS (read-only, or a sync has failed). */
int disk_write(struct disk *d, struct scratch *s, const void *buf, size_t len,
	       uint64_t off) NONNULL CHECKED;

/* The range reads as zeros from now on and its space is given back: discard
 * and zero range are the same here.  What lies past the end is left out. */
int disk_zero(struct disk *d, struct scratch *s, uint64_t off, uint64_t len)
    NONNULL CHECKED;

/* Durable when it returns. -EIO: final, see format.md "Errors". */
int disk_flush(struct disk *d) NONNULL CHECKED;

/* ${size}: a multiple of 512 up to DISK_SIZE_MAX, else -EINVAL, -EFBIG. */
int disk_resize(struct disk *d, struct scratch *s, uint64_t size)
    NONNULL CHECKED;

uint64_t disk_size(struct disk *d) NONNULL;

/* lseek's SEEK_DATA and SEEK_HOLE, by allocation.  -ENXIO past the end. */
int disk_seek(struct disk *d, struct scratch *s, uint64_t off, bool data,
	      uint64_t *ret_off) NONNULL CHECKED;

/* A copy of the descriptor as it is now. */
void disk_descriptor(struct disk *d, struct descriptor *ret) NONNULL;

/**
 * disk_update(d, fn, arg):
 * Change properties of an attached disk (uid, gid, mode, kind, category, ...):
 * ${fn} edits a copy and returns 0 or an error; the descriptor is then
 * replaced.
 */
int disk_update(struct disk *d, int (*fn)(struct descriptor *desc, void *arg),
		void *arg) __attribute__((__nonnull__(1, 2))) CHECKED;

/**
 * disk_rewrap(d, key, ret_n):
 * Wrap the DKs of an attached disk under the newest version of CMK ${key}, or
 * where that is NULL of their own (rewrap.h).  *${ret_n}: how many were not.
 */
int disk_rewrap(struct disk *d, const char *key, unsigned *ret_n)
    __attribute__((__nonnull__(1, 3))) CHECKED;

/**
 * disk_reencrypt(d, s, key, rate):
 * Give the disk a new DK under CMK ${key} (NULL: the one that it has), at a
 * flush barrier, and copy all its blocks in the background, at most ${rate}
 * bytes a second (0: as it goes).  It goes on at every attach until it is done.
 *
 * -EALREADY  it does already; the rate is ${rate} now
 * -E2BIG     it has as many DKs as a descriptor can name
 * -EROFS; the errors of kms.h
 */
int disk_reencrypt(struct disk *d, struct scratch *s, const char *key,
		   uint64_t rate) __attribute__((__nonnull__(1, 2))) CHECKED;

struct reencrypt_state {
	uint64_t done, total; /* bytes of the disk, by their place in it */
	int error;            /* why it does not get on; it is tried again */
};
/* False: it is not going on. */
bool disk_reencrypting(struct disk *d, struct reencrypt_state *ret) NONNULL;
/* With opt.manual: a piece.  1: there is more. */
int disk_reencrypt_step(struct disk *d) NONNULL CHECKED;

/* catalog_rename() of an attached disk. */
int disk_rename(struct disk *d, const char *to) NONNULL CHECKED;

struct disk_stats {
	uint64_t reads, read_bytes, writes, write_bytes, zeros, flushes;
	uint64_t commits, commit_errors;
	uint64_t commit_ms; /* that the one under way has taken; 0: none is */
	uint64_t faults;    /* blocks or pages that did not verify */
	uint64_t repairs;   /* settled, restored from the other copy */
	uint64_t allocated; /* bytes of data that the top layer's chunks hold */
	uint64_t dirty_groups;
	uint64_t chunks_open;
	uint64_t resumed; /* entries that a process before this one had not
			   * committed */
	bool failed;  /* a sync has failed: read-only until attached again */
	bool unclean; /* this attach followed an unclean stop */
	bool older;   /* it was put back to an older state, and is read-only */
};
void disk_stats(struct disk *d, struct disk_stats *ret) NONNULL;

/* With opt.manual: what the background thread would do now. */
int disk_background(struct disk *d) NONNULL CHECKED;

#endif
