/*
 * mem_store.h - a store in memory that knows what a power cut would leave.
 *
 * Each file has two contents, what a reader sees and what is durable, and each
 * folder two sets of names; sync, sync_dir and the like bring them together.
 * Now and then, as a kernel does, it makes something durable unasked.
 *
 * After a crash or a kill, what was open is not any more: operations on old
 * files fail with -EIO, old locks are free; they still are to be closed and
 * unlocked.  Neither may run beside other calls.
 */
#ifndef SEALDISK_MEM_STORE_H
#define SEALDISK_MEM_STORE_H

#include "store.h"

int mem_store_open(struct store **ret) NONNULL CHECKED;

/**
 * mem_store_crash(st, seed):
 * The power fails: every 512 bytes that were written, every size and every name
 * that was changed since it was last made durable is kept or lost at random.
 */
void mem_store_crash(struct store *st, uint64_t seed) NONNULL;

/* The process is killed: all content stays as it is seen. */
void mem_store_kill(struct store *st) NONNULL;

/**
 * mem_store_die(st, n, fn, arg):
 * The process dies before the change of the store that is the ${n}th from here
 * on; 0: now.  ${fn}, unless it is NULL, is called then.  That change and all
 * that come after it fail and are not made, what was open is not any more,
 * until mem_store_kill() says that all of the process is gone.
 */
void mem_store_die(struct store *st, unsigned n, void (*fn)(void *arg),
		   void *arg) __attribute__((__nonnull__(1)));

/* Whether ${path} is, or is not there, durably as it is seen. */
bool mem_store_settled(struct store *st, const char *path) NONNULL CHECKED;

/**
 * mem_store_record(st, fn, arg):
 * From here on, remember all that is not yet durable, change by change, and
 * make nothing durable unasked.  ${fn}, unless it is NULL, is called before
 * each call that makes something durable; it may call mem_store_fork().
 */
void mem_store_record(struct store *st, void (*fn)(void *arg), void *arg)
    __attribute__((__nonnull__(1)));

/* What of one change a power cut left. */
enum mem_what {
	MEM_NAME,  /* one of ${n} things that a name stood for, oldest first */
	MEM_SIZE,  /* one of ${n} sizes of a file, oldest first */
	MEM_WRITE, /* 0: nothing, 1: all, 2: each sector is asked for */
	MEM_SECTOR /* of that; 0: no, 1: yes */
};
struct mem_ask {
	enum mem_what what;
	unsigned n; /* answers, from 0 on */
	const char *path;
	uint64_t off, len; /* MEM_WRITE: what was written; MEM_SECTOR: where */
};

/**
 * mem_store_fork(st, choose, arg):
 * A store of its own, as one cut of the power would leave ${st}, which has been
 * recorded: all that is durable, and of the rest what ${choose} says, asked in
 * the same order for the same changes.  Of overlapping writes the later one
 * wins; that is every order of them, for without it the earlier one does.
 */
struct store *mem_store_fork(struct store *st,
			     unsigned (*choose)(void *arg,
						const struct mem_ask *ask),
			     void *arg) __attribute__((__nonnull__(1, 2)));

/* A place on the medium is bad: until another is, or ${len} is 0, what reads it
 * of a file whose path has ${part} is -EIO. */
void mem_store_spoil(struct store *st, const char *part, uint64_t off,
		     uint64_t len) NONNULL;

/* Two such places in one file. */
void mem_store_spoil_pair(struct store *st, const char *part,
			  const uint64_t off[static 2], uint64_t len) NONNULL;

/* A file system of ${bytes}: writes past that are -ENOSPC.  0: no limit. */
void mem_store_limit(struct store *st, uint64_t bytes) NONNULL;

/**
 * mem_store_lose(st, f):
 * What a failed sync of ${f} (NULL: of all) does on Linux: what was not written
 * yet counts as clean, reads go on seeing it, a later sync leaves it out, and
 * drop() or a crash brings back what is on the medium.  For fault_on_sync().
 */
void mem_store_lose(struct store *st, struct store_file *f)
    __attribute__((__nonnull__(1)));

#endif
