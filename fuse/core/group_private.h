/*
 * group_private.h - what the two halves of group share.
 */
#ifndef SEALDISK_GROUP_PRIVATE_H
#define SEALDISK_GROUP_PRIVATE_H

#include "engine_private.h"

/* The number of a block in its group. */
static inline unsigned
block_of(uint64_t off)
{
	return (unsigned)(off % GROUP_LEN / BLOCK_SIZE);
}

/* The first piece of a range: as much as one step can read, in *${ret_n}.  The
 * cipher of ${s} is keyed for ${c}, before and after. */
int group_read_piece(struct scratch *s, struct chunk *c, const struct page *p,
		     uint8_t *buf, size_t len, uint64_t off, size_t *ret_n)
    NONNULL CHECKED;

/* Entries ${first} to ${first} + ${n} become ${state}; the page's lock is held.
 */
void group_zero_entries(struct page *p, unsigned first, unsigned n,
			uint8_t state) NONNULL;

#endif
