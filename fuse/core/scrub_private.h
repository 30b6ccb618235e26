/*
 * scrub_private.h - what scrub.c and scrub_group.c share.
 */
#ifndef SEALDISK_SCRUB_PRIVATE_H
#define SEALDISK_SCRUB_PRIVATE_H

#include "engine_private.h"
#include "scrub.h"

struct lost_range {
	uint64_t from, to; /* bytes of the disk */
};

struct scrub {
	struct disk *d;
	struct scratch *s;
	const struct scrub_options *o;
	struct scrub_totals t;
	struct layer_ref *refs; /* of the chain, from the top */
	size_t n_refs;
	struct layer_ref at;     /* the one that is looked at */
	uint64_t read;           /* bytes, since ${since} */
	int64_t since;           /* ms */
	uint8_t *group;          /* GROUP_LEN: what the disk reads */
	struct lost_range *lost; /* in order, with gaps between them */
	size_t n_lost, cap_lost;
};

/* A fault is counted, and told to whoever wants to hear of it.  ${file}: or
 * NULL. */
void scrub_say(struct scrub *sc, enum scrub_what what, uint64_t off,
	       uint64_t len, const char *file, bool repaired)
    __attribute__((__nonnull__(1)));
/* What the disk cannot read of a range that something is damaged in: it is told
 * at the end, once, however many layers are damaged there. */
int scrub_find_lost(struct scrub *sc, uint64_t off, uint64_t len)
    NONNULL CHECKED;
void scrub_tell_lost(struct scrub *sc) NONNULL;
/* As disk_is_damage(); what is not there any more is not damaged. */
bool scrub_is_damage(int r) CHECKED;
/* After -ESTALE and -EAGAIN, 0: it can be tried again.  No locks held. */
int scrub_again(struct scrub *sc, int r) NONNULL CHECKED;
/* As long as what was read takes at the rate that is allowed. */
int scrub_pause(struct scrub *sc) NONNULL CHECKED;
/* The layer that is looked at, if it still is in the chain; the barrier is
 * held. */
struct layer *scrub_find(struct scrub *sc) NONNULL;

/* Both copies of ${p}, which is locked, exclusively if it is to be repaired;
 * of these bytes of the disk. */
void scrub_copies(struct scrub *sc, struct page *p, uint64_t off, uint64_t len)
    NONNULL;
/* All of a chunk of the layer that is looked at. */
int scrub_chunk(struct scrub *sc, uint64_t index) NONNULL CHECKED;

#endif
