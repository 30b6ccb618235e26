/*
 * tamper.h - a store with a history, and what can be read of it after somebody
 * has changed its files: for test_tamper and what belongs to that.
 *
 * The store has a disk, snapshots, an image and a clone, and a disk with a data
 * key of its own, below which a layer is half merged; its later chunks have
 * another cipher.  It is copied as it is
 * at several moments, the last of which is what there is; and each of its files
 * as it is after each sync or replacement of any.
 */
#ifndef SEALDISK_TAMPER_H
#define SEALDISK_TAMPER_H

#include "engine_env.h"

#include "mem_store.h"
#include "snapshot.h"
#include "store_copy.h"

#define BLOCKS 24 /* of a disk, that are looked at, in two chunks */
#define MOMENTS 4
#define END (MOMENTS - 1)
#define ITEMS 6 /* disks, snapshots, images */
#define ALL_ITEMS ((1U << ITEMS) - 1)

extern struct engine_env tamper_env;
extern struct copy tamper_copies[MOMENTS];
extern struct file *tamper_versions; /* of all files, each once */
extern size_t tamper_n_versions;
/* The folder of the layer that is half merged, and its chunk that has not
 * passed. */
extern char tamper_merging[STORE_PATH_LEN];
#define TAMPER_UNPASSED 1U

/* All of the above. */
void tamper_begin(void);
void tamper_end(void);

/* The worst of them is what is said of a store. */
enum outcome {
	O_SAME,  /* all is read as it was, and nothing was noticed */
	O_FOUND, /* something is refused or told; what is read is right */
	O_OLD,   /* what is read is what was there once, after some write */
	O_PARTLY_OLD, /* each block is what it was once */
	O_WRONG,
	OUTCOMES
};

static inline enum outcome
worse(enum outcome a, enum outcome b)
{
	return a > b ? a : b;
}

/* -errno, if it cannot be attached. */
int tamper_attach(struct engine *e, unsigned item, struct disk **ret) NONNULL;
enum outcome tamper_read_block(struct disk *d, unsigned item, unsigned b)
    NONNULL;
/* Of those items that have a bit in ${items}; the store is freed. */
enum outcome tamper_look(struct store *st, unsigned items) NONNULL;

/* The store as it is at the end, to be forked. */
struct store *tamper_base(void);
struct store *tamper_fork(struct store *base) NONNULL;
/* A bit of the byte at ${at} is turned. */
void tamper_turn(struct store_file *f, const struct file *was, size_t at)
    NONNULL;

#endif
