/*
 * digest.h - what tells the newest version of a page or chunk from an older
 * one that was authentic once (format.md, "Digests").
 *
 * A list of digests has, for each root page and each map page of a layer, the
 * first bytes of its MAC; a map's entry has the digest of its chunk, which is
 * over the MACs of the chunk's eight pages.  The list is the file `digests` of
 * the layer, under the map key, and its SHA-256 is the digest of the layer.
 *
 * A list may be used by several threads.  Functions return 0 or a negative
 * errno.
 */
#ifndef SEALDISK_DIGEST_H
#define SEALDISK_DIGEST_H

#include "meta.h"
#include "page.h"
#include "store.h"

#define DIGEST_LEN 16 /* of a page, of a chunk */

struct digests;
int digests_new(struct digests **ret) NONNULL CHECKED;
void digests_free(struct digests *g);
DEFINE_CLEANUP(struct digests, digests_free)

/**
 * digests_load(st, ref, map_key, ret):
 * -ENOENT   there is none
 * -EBADMSG  not authentic
 * -EUCLEAN  not a list, or that of another layer
 */
int digests_load(struct store *st, const struct layer_ref *ref,
		 const struct key *map_key, struct digests **ret)
    NONNULL CHECKED;

/**
 * digests_save(g, st, ref, map_key, session):
 * Replace the file, durably; every root page must have been set, and all
 * digests_set() have had memory.  -ENOMEM, -EINVAL.
 */
int digests_save(struct digests *g, struct store *st,
		 const struct layer_ref *ref, const struct key *map_key,
		 uint64_t session) NONNULL CHECKED;

/* The same, if the file's SHA-256 is ${sum}; -EBADMSG: it is not. */
int digests_save_as(struct digests *g, struct store *st,
		    const struct layer_ref *ref, const struct key *map_key,
		    uint64_t session, const uint8_t sum[static SHA256_LEN])
    NONNULL CHECKED;

/* Of the file that was loaded or saved last. */
uint64_t digests_session(const struct digests *g) NONNULL;
void digests_sum(const struct digests *g, uint8_t ret[static SHA256_LEN])
    NONNULL;

/* Of a root page or map page; false: the list does not know it. */
bool digests_get(struct digests *g, enum page_kind kind, uint64_t index,
		 uint8_t ret[static DIGEST_LEN]) NONNULL;
void digests_set(struct digests *g, enum page_kind kind, uint64_t index,
		 const uint8_t digest[static DIGEST_LEN]) NONNULL;

/* What the 16 pages of a chunk's file say, laid out as there. */
struct chunk_look {
	bool at_rest;               /* both copies of every page are the same */
	uint8_t differ;             /* else: groups of which they are not */
	uint8_t bad;                /* groups of which neither copy verifies */
	unsigned blocks;            /* that hold data, by the newer copies */
	uint64_t session;           /* the latest one of those that do */
	uint8_t digest[DIGEST_LEN]; /* of the newer copies, unless ${bad} */
};

/* ${index} is the chunk's, ${mac_key} that of its pages. */
int chunk_look(const uint8_t *pages, const uint8_t mac_key[static KEY_LEN],
	       uint64_t index, struct chunk_look *ret) NONNULL CHECKED;

/* Whether the pages, unverified, are at rest and come to ${digest}: then a
 * page that verifies is the one that was meant. */
bool chunk_is(const uint8_t *pages, const uint8_t digest[static DIGEST_LEN])
    NONNULL;

#endif
