/*
 * freeze.h - disks as they are at this moment, under a new name.
 */
#ifndef SEALDISK_FREEZE_H
#define SEALDISK_FREEZE_H

#include "cmd.h"

#define FREEZE_MAX 32 /* disks at one instant */

/**
 * freeze_disks(e, type, name, d, n):
 * What ${n} different disks hold now, all at one instant, becomes that many
 * snapshots called ${name}; or what one of them holds an image, or another
 * disk, as ${type} says.  Through the mount of this host that has any of them
 * attached; else here, which opens e->kms if need be.
 *
 * -EEXIST  a name is taken: nothing was done.  All but this is told.
 */
int freeze_disks(struct cmd_env *e, enum desc_type type, const char *name,
		 const struct descriptor *d, size_t n) NONNULL CHECKED;

#endif
