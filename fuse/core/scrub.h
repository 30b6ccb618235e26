/*
 * scrub.h - every bit of a disk looked at, whether anybody reads it or not.
 *
 * Of each layer of a disk's chain: both copies of every page, every superblock,
 * every block's tag.  The disk is attached and may be in use: nothing waits for
 * longer than one group takes.
 *
 * Offsets and lengths are in bytes of the disk.
 */
#ifndef SEALDISK_SCRUB_H
#define SEALDISK_SCRUB_H

#include "disk.h"

enum scrub_what {
	/* What cannot be read any more; whether the disk shows it, LOST says:
	 * a newer layer may have something else there. */
	SCRUB_LAYER, /* its layer.ini, digests, map file or a root page: the
		      * file is the layer's folder */
	SCRUB_MAP,   /* neither copy of a map page verifies */
	SCRUB_CHUNK, /* the file is not there, or nothing in it verifies */
	SCRUB_GROUP, /* neither copy of a group's page verifies */
	SCRUB_BLOCK,
	SCRUB_OLDER, /* all of it: it was put back to an older state */
	SCRUB_LOST,  /* reading the disk here fails */
	/* What nothing hangs on as long as nothing else breaks. */
	SCRUB_COPY,  /* one of the two copies of a page */
	SCRUB_SUPER, /* a chunk's superblock */
	SCRUB_SPARE, /* of a layer.ini */
	SCRUB_NWHAT
};

/* "layer", "map page", ... */
const char *scrub_word(enum scrub_what w);

struct scrub_fault {
	enum scrub_what what;
	struct layer_ref layer; /* where it is; of SCRUB_LOST: none */
	uint64_t off, len;
	char file[STORE_PATH_LEN]; /* of the store, or "" */
	bool repaired;
};

struct scrub_totals {
	uint64_t chunks, done; /* in all, and looked at */
	uint64_t pages, blocks;
	uint64_t faults[SCRUB_NWHAT];
	uint64_t lost; /* bytes, of which some may be to be told */
	uint64_t repaired;
};

struct scrub_options {
	bool blocks;   /* read all blocks; else the pages alone */
	bool repair;   /* write a copy that does not verify from the other, and
			* superblocks */
	uint64_t rate; /* bytes a second; 0: as fast as it goes */
	const atomic_bool *stop;
	/* Called for each fault, what is lost after all others, and now and
	 * then for ${t}. */
	void (*fault)(const struct scrub_fault *f, void *arg);
	void (*progress)(const struct scrub_totals *t, void *arg);
	void *arg;
};

/**
 * disk_scrub(d, s, o, ret):
 * Look at all of attached disk ${d}.  What is damaged is no error of the call.
 * *${ret} is always written.
 *
 * -ECANCELED  *${o->stop} became true
 */
int disk_scrub(struct disk *d, struct scratch *s, const struct scrub_options *o,
	       struct scrub_totals *ret) NONNULL CHECKED;

/*
 * What a scrub has found last, kept beside the layers of the disk, snapshot or
 * image for people to see: not authenticated, and nothing hangs on it.
 */
struct scrub_record {
	struct uuid uuid; /* of the descriptor */
	int64_t started, ended;
	enum scrub_end { SCRUB_STOPPED, SCRUB_COMPLETE, SCRUB_FAILED } end;
	bool read_all; /* blocks, too */
	uint64_t chunks, pages, blocks;
	uint64_t damaged; /* faults that cost what they concern */
	uint64_t lost;    /* bytes */
	uint64_t spare;   /* faults that cost nothing yet */
	uint64_t repaired;
};

/* "stopped", "complete", "failed" */
const char *scrub_end_word(enum scrub_end end);
/* What ${t} comes to. */
void scrub_sum(const struct scrub_totals *t, struct scrub_record *ret) NONNULL;
int scrub_record_save(struct store *st, const struct uuid *lineage,
		      const struct scrub_record *rec) NONNULL CHECKED;
/* -ENOENT: there was none; -EUCLEAN. */
int scrub_record_load(struct store *st, const struct uuid *lineage,
		      const struct uuid *uuid, struct scrub_record *ret)
    NONNULL CHECKED;

#endif
