/*
 * rewrap.h - data keys under the newest version of their CMK, or another CMK.
 *
 * What is rewrapped is the same DK, so that it costs one descriptor, whatever
 * the size of the disk, and needs nothing to be attached.  It is opened to see
 * that it is the same (datakey.h).
 * Of a disk that is, disk_rewrap() (disk.h).
 */
#ifndef SEALDISK_CORE_REWRAP_H
#define SEALDISK_CORE_REWRAP_H

#include "catalog.h"

/**
 * catalog_rewrap(c, kms, type, name, key, dry, ret_n):
 * Rewrap the DKs of a descriptor of the store that are not wrapped under the
 * newest version of CMK ${key} (an id, ARN or alias; NULL: each under its own).
 * *${ret_n}: how many these are.  With ${dry} they are counted only.  The
 * descriptor is replaced at once or not at all.  The lock of a disk is the
 * caller's, unless ${dry}.
 *
 * -ENOENT  there is none of that name, or not any more
 * -EBUSY   somebody else changes it all the time
 * -EPROTO  the key service does not open what it has wrapped
 * -EROFS   it has features of a newer program
 */
int catalog_rewrap(struct catalog *c, struct kms *kms, enum desc_type type,
		   const char *name, const char *key, bool dry, unsigned *ret_n)
    __attribute__((__nonnull__(1, 2, 4, 7))) CHECKED;

#endif
