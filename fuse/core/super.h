/*
 * super.h - the superblock of a chunk file (format.md, "Chunk file").
 *
 *   0 magic "SDCK" | 4 version u16 | 6 cipher u8 | 7 zero u8
 *   8 incompat u64 | 16 ro_compat u64 | 24 compat u64
 *  32 block size u32 | 36 blocks a group u32 | 40 slots a group u32 | 44 zero
 *  48 store | 64 lineage | 80 DK | 96 creating layer (uuids)
 * 112 session u64 | 120 chunk index u64 | 128 salt 12 | 140 zero u32
 * 144 created i64 | zeros | 4064 MAC 32
 *
 * The MAC is HMAC-SHA256 over the first 4064 bytes under the chunk's page MAC
 * key, which comes of the salt in it.  Only repair and the search for chunks
 * that no map names read it: what it says is in the map and the name as well.
 */
#ifndef SEALDISK_SUPER_H
#define SEALDISK_SUPER_H

#include "meta.h"

#define SUPER_LEN 4096
#define SUPER_SALT 128 /* where that is */

struct super {
	uint8_t cipher;
	struct uuid store, lineage, dk, layer;
	uint64_t session, index;
	uint8_t salt[12];
	int64_t created;
};

int super_encode(const struct super *s, const uint8_t mac_key[static KEY_LEN],
		 uint8_t out[static SUPER_LEN]) NONNULL CHECKED;

/* Without a key: what it claims.  -EUCLEAN, -EPROTONOSUPPORT. */
int super_parse(const uint8_t in[static SUPER_LEN], struct super *ret)
    NONNULL CHECKED;
/* -EBADMSG */
int super_verify(const uint8_t in[static SUPER_LEN],
		 const uint8_t mac_key[static KEY_LEN]) NONNULL CHECKED;

/* The chunk keys of format.md, "Keys": block key, then page MAC key. */
int chunk_keys(const struct key *dk, const uint8_t salt[static 12],
	       uint8_t cipher, uint64_t index, uint8_t ret[static 2 * KEY_LEN])
    NONNULL CHECKED;

#endif
