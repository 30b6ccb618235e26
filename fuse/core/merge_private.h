/*
 * merge_private.h - work in a layer that others read: what merge.c and
 * reencrypt*.c share.
 */
#ifndef SEALDISK_MERGE_PRIVATE_H
#define SEALDISK_MERGE_PRIVATE_H

#include "catalog_private.h"
#include "engine_private.h"

struct merge {
	struct engine *e;
	const struct verdict *v;
	const struct layer_meta *x, *y; /* x goes into y */
	struct disk *d;                 /* has Y on top */
	struct disk *own;     /* the same, if it is ours to let go of */
	struct layer *parent; /* X, as ${d} has it */
	struct store_lock **locks;
	size_t n_locks;
	struct disk **held; /* attached, and Y is in their chain */
	size_t n_held;
	uint8_t *buf; /* a group in the clear */
	bool ended;   /* Y has another parent than the verdict says */
};

/**
 * merge_take(m):
 * Hold all disks that reach Y and are attached here, and lock those that are
 * not, so that nobody else reads it.  -EBUSY: somebody does.
 */
int merge_take(struct merge *m) NONNULL CHECKED;
/* m->d, opened where nobody has Y on top.  -EAGAIN: not any more. */
int merge_open_worker(struct merge *m) NONNULL CHECKED;
/* Of Y: its pages and chunks are going to be others. */
int merge_unseal(struct merge *m) NONNULL CHECKED;
/* What the descriptors of Y say that it has: so much more. */
int merge_count(struct merge *m) NONNULL CHECKED;
/* Room for a group in the clear, which is not dumped. */
int merge_buf_new(uint8_t **ret) NONNULL CHECKED;
void merge_buf_free(uint8_t *buf);
void merge_done(struct merge *m);

/* An attached disk stays until it is released; NULL: it is not attached here.
 */
struct disk *engine_hold(struct engine *e, const struct uuid *uuid) NONNULL;
void engine_release(struct engine *e, struct disk *d) NONNULL;

/* How long a piece of a reencryption takes, about, and the pause after it. */
#define REENCRYPT_MS 20
/* A piece of what lies below ${y}, which ${w} has on top, for ${d}.  0: it has
 * all; 1: there is more, or a snapshot has come in between. */
int reencrypt_copy(struct disk *d, struct disk *w, struct layer *y)
    NONNULL CHECKED;
/* By its descriptor. */
bool reencrypt_is_wanted(struct disk *d) NONNULL;

#endif
