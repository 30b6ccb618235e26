/*
 * check_private.h - what check.c, repair.c and scrub.c share: the chunks that
 * maps name, read without a key.
 */
#ifndef SEALDISK_CHECK_PRIVATE_H
#define SEALDISK_CHECK_PRIVATE_H

#include "catalog_private.h"
#include "engine_private.h"

struct chunk_ids {
	uint64_t *v; /* index << 32 | first bytes of the salt */
	size_t n, cap;
};

/* Map pages of a layer neither copy of which can be read. */
struct map_gap {
	struct uuid layer;
	uint64_t first, n;
};

struct chunk_set {
	struct chunk_ids named;
	/* By maps that were made anew and knew no more of the file than its
	 * name (repair.c). */
	struct chunk_ids half_named;
	struct map_gap *gaps;
	size_t n_gaps, cap_gaps;
	bool doubtful; /* a copy of a page could not be read, and may name more
			*/
};

/* Whether a map names a chunk; perhaps, where one that cannot be read may. */
enum chunk_claim { CLAIM_NONE, CLAIM_PERHAPS, CLAIM_SURE };

/* Also as a CLEANUP handler. */
void chunk_set_done(struct chunk_set *s) NONNULL;
void chunk_set_clear(struct chunk_set *s) NONNULL;
/* All that either copy of a layer's map names, and its gaps.  ${dead}: nobody
 * reaches the layer, and what a kill has left of one that was being made, or
 * removed, has neither. */
int chunk_set_add_layer(struct chunk_set *s, struct store *st,
			const struct layer_ref *ref, bool dead) NONNULL CHECKED;
/* Whether some chunk is named in both. */
bool chunk_sets_meet(const struct chunk_set *a, const struct chunk_set *b)
    NONNULL;
/* Before it is asked. */
void chunk_set_sort(struct chunk_set *s) NONNULL;
enum chunk_claim chunk_set_ask(const struct chunk_set *s, uint64_t index,
			       const uint8_t salt[static 4]) NONNULL;

/* Whether ${layer} is one of those that may name chunk ${index}, but cannot be
 * read. */
bool chunk_set_gap(const struct chunk_set *s, uint64_t index,
		   const struct uuid *layer) NONNULL;

/* The session in which a page of a chunk file was written last, which is 0 of
 * what a merge made in a frozen layer.  False: none of them verifies, and the
 * key is another one's, or there is nothing left to read. */
bool chunk_last_session(struct store_file *f, uint64_t index,
			const uint8_t mac_key[static KEY_LEN], uint64_t *ret)
    NONNULL;

/* Calls ${fn} for each chunk file of a lineage: a path, and what its name says;
 * or for those that lie where chunk ${index} does. */
int each_chunk_file_near(struct store *st, const struct uuid *lineage,
			 uint64_t index,
			 int (*fn)(const char *path, uint64_t index,
				   const uint8_t salt[static 4], void *arg),
			 void *arg) __attribute__((__nonnull__(1, 2, 4)))
CHECKED;
int each_chunk_file(struct store *st, const struct uuid *lineage,
		    int (*fn)(const char *path, uint64_t index,
			      const uint8_t salt[static 4], void *arg),
		    void *arg) __attribute__((__nonnull__(1, 2, 3))) CHECKED;

#endif
