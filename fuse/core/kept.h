/*
 * kept.h - what outlives a process that serves disks: which disks it had
 * attached, with their DKs, and what it wrote and had not committed yet.
 *
 * It lies in memory that the next process maps, too (fuse/keep.h), and that
 * none of them is sure to leave in peace: any of them may be killed between any
 * two instructions.  Nothing in it is a pointer; a word that says that
 * something is there is written last.
 *
 * Blocks go to the store as they are written, only the tables that say where
 * they lie are in memory until the next commit.  So all that is lost with a
 * process are changes of entries; these are kept in a ring, in their order, and
 * made again by the next one, which goes on in the session of the first
 * (resume.c).
 */
#ifndef SEALDISK_KEPT_H
#define SEALDISK_KEPT_H

#include "meta.h"

#define KEPT_DISKS 2048       /* attached at once */
#define KEPT_CELLS (1U << 17) /* changes that are not committed */

struct kept;

size_t kept_size(void);
/* Zeroed memory of that size, on a page. */
void kept_init(struct kept *k) NONNULL;
/* -EPROTONOSUPPORT: it is laid out in another way. */
int kept_check(const struct kept *k, size_t len) NONNULL CHECKED;

/* The first slot from ${i} on that holds an attached disk; KEPT_DISKS: none. */
unsigned kept_next(const struct kept *k, unsigned i, enum desc_type *ret_type,
		   struct uuid *ret_uuid) NONNULL;
/* Of a disk that cannot be gone on with: wiped, and free. */
void kept_forget(struct kept *k, unsigned slot) NONNULL;
/* Before anything is attached: the same of slots that a death left half filled
 * or half wiped, which are no disk's. */
void kept_sweep(struct kept *k) NONNULL;

#endif
