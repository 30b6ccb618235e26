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
