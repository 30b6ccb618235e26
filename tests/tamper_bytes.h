/*
 * tamper_bytes.h - each byte of each file of a store changed, one after the
 * other, within minutes.
 *
 * A look at all of a store takes milliseconds, and a store has a million bytes.
 * So one look at it as it is is watched: what of which file is read, and for
 * what.  Whatever does not read a byte does the same whatever that byte is, and
 * need not be looked at again; and of what reads it each time anew, and nothing
 * else with it, no more than that.  test_tamper holds this against looks at
 * all.
 */
#ifndef SEALDISK_TAMPER_BYTES_H
#define SEALDISK_TAMPER_BYTES_H

#include "tamper.h"

struct bytes;

/* ${base}: tamper_base(), which is still the caller's. */
struct bytes *bytes_new(struct store *base) NONNULL;
void bytes_free(struct bytes *bs);
DEFINE_CLEANUP(struct bytes, bytes_free)

/* How it was found out what a changed byte does. */
enum byte_way {
	BYTE_UNREAD, /* nothing reads it */
	BYTE_BLOCK,  /* reading the one block that it is read for */
	BYTE_ITEMS,  /* those that read it are attached and read */
	BYTE_ALL,    /* as all of them: it is read before any is attached */
	BYTE_WAYS
};

/* Of the byte at ${at} of file ${i} of the last copy. */
enum byte_way bytes_way(const struct bytes *bs, size_t i, size_t at) NONNULL;
enum outcome bytes_try(struct bytes *bs, size_t i, size_t at) NONNULL;

#endif
