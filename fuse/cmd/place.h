/*
 * place.h - where another program finds a disk as a file.
 *
 * In the mount of the store, if there is one that this user may use; else in a
 * mount of the command's own, which nobody else sees into and which goes with
 * the command.  So no plaintext is ever written anywhere for the other
 * program's sake.
 */
#ifndef SEALDISK_PLACE_H
#define SEALDISK_PLACE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "cmd.h"

struct place {
	char path[PATH_MAX]; /* of the disk, snapshot or image */
	char info[PATH_MAX]; /* what is said of it there */
	char mnt[PATH_MAX];  /* our own mount, or "" */
	pid_t daemon;        /* of that */
};

/* It must be there.  What fails is told, as of COMMAND NAME. */
int place_open(struct cmd_env *e, const struct cmd_target *t, bool writable,
	       struct place *ret) NONNULL CHECKED;

/**
 * place_close(p):
 * When it returns, what was written to the disk is on the store, and its lock
 * is free; ${p} is done with in any case.  Failures are not told.
 *
 * -EBUSY  somebody else has opened it in the store's mount
 * -EIO    it could not be written
 */
int place_close(struct place *p) NONNULL CHECKED;

/**
 * place_detach(path):
 * Have the daemon of a mount commit a disk and let go of it, now instead of
 * when it has lingered.  -EBUSY: it is open.
 */
int place_detach(const char *path) NONNULL CHECKED;

#endif
