/*
 * mount_args.h - what a mount is asked for, see mount.c.
 */
#ifndef SEALDISK_MOUNT_ARGS_H
#define SEALDISK_MOUNT_ARGS_H

#include <limits.h>

#include "cmd.h"

struct keeper_link;
struct mount_args {
	const char *store, *where;
	char options[4 * PATH_MAX]; /* all -o, one after the other */
	char kernel[PATH_MAX];      /* those of them that are mount(2)'s */
	bool foreground, fake, read_only, allow_other;
	int ready_fd, keeper_fd, state_fd;
	char mnt[PATH_MAX], path[PATH_MAX]; /* ${where}, ${store} resolved */
	struct settings settings;
	struct keeper_link *link; /* of a worker */
	struct kms *kms;          /* that it has opened before it is asked */
};

/**
 * mount_parse(a, argc, argv):
 * The command line into *${a}, whose descriptors are -1, and the settings with
 * the options that it has.  An exit status that is not 0 was told.
 */
int mount_parse(struct mount_args *a, int argc, char **argv) NONNULL CHECKED;
/* Fill in a->path and a->mnt; the same. */
int mount_check(struct mount_args *a) NONNULL CHECKED;
/* This command once more, without what is between us and one of us, for exec:
 * malloc'ed, with room for three words more. */
int mount_child_args(int argc, char **argv, char ***ret) NONNULL CHECKED;

#endif
