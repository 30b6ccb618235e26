/*
 * repair_private.h - what repair*.c share.
 */
#ifndef SEALDISK_REPAIR_PRIVATE_H
#define SEALDISK_REPAIR_PRIVATE_H

#include "check_private.h"
#include "layer.h"
#include "repair.h"

struct repair {
	struct engine *e;
	struct descriptor desc;
	struct key *dks; /* secret memory: as desc.keys */
	struct store_lock *lock;
	struct store_lock *lineages[LINEAGES_MAX]; /* those of its layers */
	struct lineage_locks writers; /* other disks that write there */
	struct layer_set layers;      /* that there are in the lineage */
	struct layer_set live;        /* that descriptors reach, */
	bool live_known;              /* unless something cannot be read */
	struct chunk_set others;      /* chunks that the others' maps name */
	struct repair_report report;
	/* of the layer that is looked at */
	struct layer_ref ref;
	struct layer_meta meta;
	uint8_t expected[SHA256_LEN]; /* its digest, as what is above says */
	const struct key *dk;
	struct key map_key;
	struct store_file *map;
	/* the map page that is made */
	uint64_t page;
	union page_body body;
	bool asked[MAP_CHUNKS]; /* which of its chunks */
	enum repair_rank {
		NOT_READ, /* what there is of the file is its name */
		OF_ONE_GONE,
		OWN         /* made for this layer */
	} rank[MAP_CHUNKS]; /* of the file that was taken */
	uint64_t session[MAP_CHUNKS];
	int64_t created[MAP_CHUNKS];
	bool several[MAP_CHUNKS];
	/* of a chunk file */
	uint8_t pages[2 * CHUNK_GROUPS * PAGE_LEN];
};

/* A layer that has been merged, but is not removed yet: its chunks are those of
 * one with its parent. */
bool repair_has_ended(const struct repair *rp, const struct layer_meta *m)
    NONNULL;

bool repair_is_dead(const struct repair *rp, const struct uuid *layer) NONNULL;

/* For each_chunk_file_near(), ${arg} being a struct repair: the file's part in
 * the map page that is made. */
int repair_consider(const char *path, uint64_t index,
		    const uint8_t salt[static 4], void *arg) NONNULL CHECKED;
/* As that, of a chunk that the map page has: where one copy of a group's page
 * cannot be read, and the other verifies, that is written over it. */
int repair_mend_groups(const char *path, uint64_t index,
		       const uint8_t salt[static 4], void *arg) NONNULL CHECKED;
/* The layer.ini of rp->ref into rp->meta, dk and map_key; made anew, if it must
 * be and can. */
int repair_load_layer(struct repair *rp) NONNULL CHECKED;
/* The layer's list of digests made anew, of a map that is whole. */
int repair_digests(struct repair *rp) NONNULL CHECKED;
/* The copy of a page that was taken; of generation 0 where there is none. */
struct page_taken {
	unsigned copy;
	struct page_head head;
	uint8_t mac[DIGEST_LEN]; /* the beginning of its MAC */
};

/* The newest copy of a page that verifies: 1, or 0: there is none.
 * PAGE_IN_PART: the other one cannot be read, and may be newer. */
#define PAGE_IN_PART 2
int repair_page(struct repair *rp, enum page_kind kind, uint64_t n,
		union page_body *ret, struct page_taken *ret_taken)
    NONNULL CHECKED;
/* It is ${path} that cannot be repaired. */
void repair_names(struct repair *rp, const char *path) NONNULL;

#endif
