/*
 * kept_private.h - the layout of struct kept, and its use by the engine.
 *
 * A disk that is attached for more than a moment has a slot, d->slot.  What
 * concerns it:
 *
 *   committed   all cells before this position are in what a commit has made
 *               durable; those from there on are made again by whoever resumes
 *   size        of the disk, also where a write has just let it grow
 *
 * Cells are appended with the lock of the page held that they change, after it
 * was marked dirty and before the lock is let go of.  So a commit that reads
 * `head` before it takes what is dirty has all that was appended before that in
 * its images, and what comes later may be in them or not.  To make such a
 * change again does no harm, if all that came after it is made again too, in
 * order: each names the whole of an entry, and the last one of a block decides;
 * the slots that the others name are not read.
 */
#ifndef SEALDISK_KEPT_PRIVATE_H
#define SEALDISK_KEPT_PRIVATE_H

#include "engine_private.h"
#include "kept.h"

enum kept_kind {
	KEPT_BLOCK = 1, /* an entry of a group */
	KEPT_RUN,       /* entries without content: ${state}, so many */
	KEPT_CHUNK,     /* an entry of the map: a chunk's salt, or none */
};

struct kept_cell {
	_Atomic uint64_t seq; /* its position and 1: it is whole */
	uint64_t at;          /* block of the disk; chunk */
	uint16_t disk;
	uint8_t kind;
	uint8_t pad;
	uint8_t layer[4]; /* of its uuid: the layer's that is on top */
	uint8_t salt[8];  /* of the chunk's salt: where the block lies */
	struct entry entry;
	uint16_t n; /* of a run */
};
_Static_assert(sizeof(struct kept_cell) == 64, "a cache line");

struct kept_dk {
	_Atomic uint32_t valid;
	uint32_t pad;
	struct uuid uuid;
	uint8_t key[KEY_LEN];
};

enum { KEPT_FREE, KEPT_TAKEN, KEPT_ATTACHED };

struct kept_disk {
	_Atomic uint32_t state;
	uint32_t type;
	struct uuid uuid;
	uint64_t session;
	uint32_t read_only; /* as it was asked for */
	uint32_t older;     /* read, though it was put back */
	uint32_t drop_cache;
	_Atomic uint32_t failed;
	_Atomic uint64_t size, committed;
	_Atomic uint64_t allocated; /* bytes, at the last commit */
	struct kept_dk dks[DISK_DKS];
};

struct kept {
	char magic[8];
	uint32_t version, cell_len;
	uint32_t n_disks, disk_len;
	uint64_t n_cells;
	_Atomic uint32_t used; /* no slot from here on ever was */
	/* The next position, and what every disk has committed. */
	_Atomic uint64_t head __attribute__((__aligned__(64)));
	_Atomic uint64_t tail __attribute__((__aligned__(64)));
	struct kept_disk disks[KEPT_DISKS];
	struct kept_cell cells[KEPT_CELLS] __attribute__((__aligned__(64)));
};

/* ---- kept.c ---- */

/* A slot for an attached disk, filled in; its lock is given to who keeps it.
 * -ENFILE, or what that says. */
int kept_claim(struct disk *d) NONNULL CHECKED;
/* ${d}, which is among the engine's disks, has the slot ${s} from now on; NULL:
 * none.  Whoever commits another disk looks at it under the disk's mutex. */
void kept_use(struct disk *d, struct kept_disk *s)
    __attribute__((__nonnull__(1)));
/* After the lock was released. */
void kept_release(struct disk *d) NONNULL;
/* Its DKs are these now. */
void kept_dks(struct disk *d) NONNULL;

/* ${p}, whose lock is held exclusively and which is dirty, has new entries. */
void kept_group(struct page *p, unsigned first, unsigned n) NONNULL;
/* The same of an entry of the map of ${l}. */
void kept_map(struct layer *l, uint64_t index, const struct entry *e) NONNULL;

/* Whether a commit must come first. */
bool kept_crowded(struct engine *e) NONNULL;
/* At the beginning of a commit of ${d}, before anything is taken. */
uint64_t kept_cut(struct disk *d) NONNULL;
/* How much the disk's own layer has, as it is counted. */
void kept_count(struct disk *d) NONNULL;
/* It has ended well. */
void kept_committed(struct disk *d, uint64_t cut) NONNULL;

/* ---- resume.c ---- */

struct replay;
/* A group's page was loaded, its lock is held exclusively, the chunk's shared:
 * what was written into it and is not in any copy. */
void replay_page(struct page *p) NONNULL;
/* All the rest, before a commit.  -EAGAIN: not before a commit of what there
 * is; another error: not now. */
int replay_rest(struct disk *d) NONNULL CHECKED;
void replay_free(struct replay *r);

#endif
