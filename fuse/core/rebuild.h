/*
 * rebuild.h - lost descriptors made anew of their spare copies
 * (catalog_spare.c).
 *
 * A descriptor is lost that is not there, cannot be read or does not verify.
 * Its spare copy verifies under its own data key, or it is not used.
 *
 * What a disk did since its spare copy was made is in its layers: which one is
 * on top, and what its last checkpoint was, is taken from there.  So all that
 * was put back since that checkpoint is found as before; but that the whole
 * disk was, together with its descriptor, only an anchor can tell.  The new
 * descriptor says that it was made so, and when.
 */
#ifndef SEALDISK_REBUILD_H
#define SEALDISK_REBUILD_H

#include "check.h"

/**
 * catalog_rebuild(c, kms, name, o):
 * Look at all spare copies, or at that of the disk, snapshot or image called
 * ${name}; with o->repair, which takes a ${kms}, lost descriptors are made
 * anew, and spare copies that are missing or damaged.  What is found is no
 * error of the call.
 */
int catalog_rebuild(struct catalog *c, struct kms *kms, const char *name,
		    const struct check_options *o)
    __attribute__((__nonnull__(1, 4))) CHECKED;

#endif
