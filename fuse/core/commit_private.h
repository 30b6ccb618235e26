/*
 * commit_private.h - what the files of the commit share: dirty.c, commit.c and
 * commit_wait.c.
 */
#ifndef SEALDISK_COMMIT_PRIVATE_H
#define SEALDISK_COMMIT_PRIVATE_H

#include "kept_private.h"

/* With the disk's mutex held: one more of its pages is dirty or being
 * committed, or one less. */
void dirty_pin(struct disk *d) NONNULL;
void dirty_unpin(struct disk *d) NONNULL;
/* With the disk's mutex held: ${p} is to be committed; it brings its reference
 * along. */
void dirty_list(struct disk *d, struct page *p) NONNULL;

/* All that is dirty becomes durable.  By whoever has set d->committing.
 * *${left}: what a resume has left to be done, and why. */
int commit_once(struct disk *d, int *left) NONNULL CHECKED;

#endif
