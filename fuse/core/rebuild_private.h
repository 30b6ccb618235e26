/*
 * rebuild_private.h - what rebuild.c and rebuild_state.c share.
 */
#ifndef SEALDISK_REBUILD_PRIVATE_H
#define SEALDISK_REBUILD_PRIVATE_H

#include "catalog_private.h"
#include "rebuild.h"

#define FULL_NAME_MAX (2 * DISK_NAME_MAX + 2)

struct spare {
	struct uuid uuid;
	int err; /* it cannot be read; and then nothing below is known */
	enum desc_type type;
	char name[FULL_NAME_MAX]; /* DISK@NAME of a snapshot */
	struct layer_ref layer;
	bool ahead; /* of its descriptor */
};

struct rebuild {
	struct catalog *c;
	struct kms *kms;
	const char *name; /* only this one, or NULL */
	const struct check_options *o;
	struct census census;
	struct spare *v;
	size_t n;
};

/* What spare copy ${d}, which has been verified, does not know of its layers
 * and of the last checkpoint.  -EUCLEAN: they are not there. */
int rebuild_state(struct rebuild *k, struct descriptor *d, const struct key *dk)
    NONNULL CHECKED;

#endif
