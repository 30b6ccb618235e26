/*
 * resume.c - a disk that another process had attached, and died: it is gone on
 * with as if that had not happened, in the same session and under the same
 * lock.
 *
 * What the dead wrote is in the page cache of the store, whole; only its tables
 * are gone.  A page as it lies in its file is that of the last commit, or of
 * one that was under way; the ring (kept_private.h) has what came after.  The
 * map's part of that is put right at once, since all else is found by it; a
 * group's when its page is loaded, and the rest of them before the first
 * commit.
 *
 * But what lies in the cache need not be durable, which is what a commit has to
 * know of the newest copy of a page before it overwrites the other.  So the
 * first commit begins by making all that there is durable, and until then
 * nothing is mirrored or removed.
 */
#include "kept_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "planted.h"

/* Cells of one group, in the order of the ring. */
struct replay_group {
	uint64_t group;
	unsigned first, n;
	atomic_bool done; /* last: its page is dirty by then */
};

struct replay {
	struct kept_cell *cells; /* by group, then by position */
	size_t n_cells;
	struct kept_cell *chunks; /* by position */
	size_t n_chunks;
	struct replay_group *groups; /* in order */
	size_t n_groups;
	struct scratch *scratch;
};

void
replay_free(struct replay *r)
{
	if (!r)
		return;
	scratch_free(r->scratch);
	free(r->cells);
	free(r->chunks);
	free(r->groups);
	free(r);
}

/* ---- what the ring has ---- */

/* A copy of the cell at ${pos}, if it is whole, and of this disk. */
static bool
get_cell(const struct disk *d, uint64_t pos, struct kept_cell *ret)
{
	const struct kept_cell *c = &d->e->kept->cells[pos % KEPT_CELLS];

	if (atomic_load_explicit(&c->seq, memory_order_acquire) != pos + 1)
		return false;
	*ret = *c;
	return ret->disk == d->slot_no &&
	       memcmp(ret->layer, d->top->ref.layer.bytes,
		      sizeof(ret->layer)) == 0;
}

static bool
is_sane(const struct kept_cell *c)
{
	const struct entry *e = &c->entry;

	switch (c->kind) {
	case KEPT_CHUNK:
		return c->at < DISK_SIZE_MAX / CHUNK_LEN &&
		       e->state <= ENTRY_ZERO;
	case KEPT_BLOCK:
		return c->at < DISK_SIZE_MAX / BLOCK_SIZE &&
		       e->state == ENTRY_DATA;
	case KEPT_RUN:
		return c->at < DISK_SIZE_MAX / BLOCK_SIZE &&
		       (e->state == ENTRY_ZERO || e->state == ENTRY_ABSENT) &&
		       c->n > 0 && c->at % GROUP_BLOCKS + c->n <= GROUP_BLOCKS;
	default:
		return false;
	}
}

static int
collect(struct disk *d, struct replay *r)
{
	struct kept *k = d->e->kept;
	uint64_t from = atomic_load(&d->slot->committed);
	uint64_t head = atomic_load(&k->head);
	struct kept_cell c;
	size_t n;

	/* Overwritten, as of a disk that has failed. */
	if (head - from > KEPT_CELLS)
		return -EIO;
	n = (size_t)(head - from);
	r->cells = calloc(n + 1, sizeof(*r->cells));
	r->chunks = calloc(n + 1, sizeof(*r->chunks));
	if (!r->cells || !r->chunks)
		return -ENOMEM;
	for (uint64_t pos = from; pos < head; pos++) {
		if (!get_cell(d, pos, &c))
			continue;
		if (!is_sane(&c))
			return -EUCLEAN;
		if (c.kind == KEPT_CHUNK)
			r->chunks[r->n_chunks++] = c;
		else
			r->cells[r->n_cells++] = c;
	}
	return 0;
}

static uint64_t
group_of(const struct kept_cell *c)
{
	return c->at / GROUP_BLOCKS;
}

static int
by_group(const void *a, const void *b)
{
	const struct kept_cell *x = a, *y = b;
	uint64_t gx = group_of(x), gy = group_of(y);

	if (gx != gy)
		return gx < gy ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int
index_groups(struct replay *r)
{
	qsort(r->cells, r->n_cells, sizeof(*r->cells), by_group);
	r->groups = calloc(r->n_cells + 1, sizeof(*r->groups));
	if (!r->groups)
		return -ENOMEM;
	for (size_t i = 0; i < r->n_cells; i++) {
		uint64_t group = group_of(&r->cells[i]);
		struct replay_group *g = r->groups + r->n_groups;

		if (r->n_groups == 0 || g[-1].group != group) {
			*g = (struct replay_group){ group, (unsigned)i, 0,
						    false };
			r->n_groups++;
			g++;
		}
		g[-1].n++;
	}
	return 0;
}

/* ---- the map ---- */

static int
replay_chunk(struct disk *d, const struct kept_cell *c)
{
	enum entry_state want = c->entry.state, now;
	uint8_t salt[12];
	int r;

	r = layer_entry(d->top, d->bg, c->at, &now, salt);
	if (r < 0)
		return r;
	if (want == now && (want != ENTRY_DATA ||
			    memcmp(salt, c->entry.unique, sizeof(salt)) == 0))
		return 0;
	/* Its file goes when no map names it. */
	if (want != ENTRY_DATA || now == ENTRY_DATA)
		r = chunk_discard(d->top, d->bg, c->at,
				  want == ENTRY_DATA ? ENTRY_ABSENT : want);
	if (r == 0 && want == ENTRY_DATA)
		r = layer_set(d->top, d->bg, c->at, want, c->entry.unique,
			      NULL);
	return r;
}

static int
by_chunk(const void *a, const void *b)
{
	const struct kept_cell *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Of each chunk the last cell alone counts: the files that those before it
 * named may be gone. */
static int
replay_map(struct disk *d, struct replay *rp)
{
	struct kept_cell *c = rp->chunks;
	int r = 0;

	qsort(c, rp->n_chunks, sizeof(*c), by_chunk);
	/* Half of a change must not stand behind the whole of it, for one who
	 * resumes after a death right here. */
	d->unheard = true;
	for (size_t i = 0; r == 0 && i < rp->n_chunks; i++)
		if (i + 1 == rp->n_chunks || c[i + 1].at != c[i].at)
			r = replay_chunk(d, &c[i]);
	d->unheard = false;
	return r;
}

/* ---- groups ---- */

static struct replay_group *
find_group(const struct replay *r, uint64_t group)
{
	size_t lo = 0, hi = r->n_groups;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (r->groups[mid].group < group)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->n_groups && r->groups[lo].group == group ? &r->groups[lo]
								: NULL;
}

static void
put_entry(struct page *p, unsigned i, const struct entry *new)
{
	struct entry *e = &p->body.entry[i];

	if (e->state == ENTRY_DATA) {
		slots_del(&p->used, e->slot);
		blocks_changed(p->layer, p->index / CHUNK_GROUPS, -1);
	}
	*e = *new;
	if (e->state == ENTRY_DATA) {
		blocks_changed(p->layer, p->index / CHUNK_GROUPS, 1);
		p->seals++;
	}
}

static void
put_cell(struct page *p, const struct kept_cell *c)
{
	static const struct entry none;
	unsigned first = (unsigned)(c->at % GROUP_BLOCKS);
	struct entry e = c->entry;

	if (c->kind == KEPT_RUN) {
		e = none;
		e.state = c->entry.state;
	}
	for (unsigned i = 0; i < (c->kind == KEPT_RUN ? c->n : 1U); i++)
		put_entry(p, first + i, &e);
	p->disk->resumed++;
}

/* On the way two blocks may have had one slot, the one after the other. */
static void
count_slots(struct page *p)
{
	memset(&p->used, 0, sizeof(p->used));
	for (unsigned i = 0; i < GROUP_BLOCKS; i++)
		if (p->body.entry[i].state == ENTRY_DATA)
			slots_add(&p->used, p->body.entry[i].slot);
	slots_or(&p->space, &p->used);
}

void
replay_page(struct page *p)
{
	struct replay *r = p->disk->replay;
	struct replay_group *g = r ? find_group(r, p->index) : NULL;
	bool changed = false;

	if (!g || p->layer != p->disk->top || atomic_load(&g->done))
		return;
	for (unsigned i = 0; i < g->n; i++) {
		const struct kept_cell *c = &r->cells[g->first + i];

		/* Of a chunk that was there before this one. */
		if (memcmp(c->salt, p->chunk->salt, sizeof(c->salt)) != 0)
			continue;
		put_cell(p, c);
		changed = true;
	}
	if (changed) {
		count_slots(p);
		group_count_kept(p);
		page_dirty(p, 0);
		chunk_touch(p->chunk);
	}
	/* A commit that sees this takes what is dirty next, and then counts on
	 * nobody else to know of it. */
	atomic_store(&g->done, true);
}

/* Where its chunk is there no more, there is nothing to be done. */
static int
replay_group(struct disk *d, struct replay *r, struct replay_group *g)
{
	enum entry_state state;
	struct page *p;
	struct chunk *c;
	int e;

	e = layer_lookup(d->top, r->scratch, g->group / CHUNK_GROUPS, &state,
			 &c);
	if (e == 0 && state != ENTRY_DATA)
		atomic_store(&g->done, true);
	if (e < 0 || state != ENTRY_DATA)
		return e;
	pthread_rwlock_rdlock(&c->lock);
	if (!c->dead) {
		e = group_get(c, g->group, r->scratch, false, &p);
		if (e == 0)
			page_release(p);
	}
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return e;
}

/*
 * A group that is damaged was logged as any other, and must not keep the rest
 * from being committed.  What could not be read for another reason may be read
 * later: nobody is to be told before that all is durable.
 */
int
replay_rest(struct disk *d)
{
	struct replay *r = d->replay;
	int error = 0;

	for (size_t i = 0; r && i < r->n_groups; i++) {
		int e = 0;

		if (!atomic_load(&r->groups[i].done))
			e = replay_group(d, r, &r->groups[i]);
		if (e == -EAGAIN)
			return e;
		if (e < 0 && e != -EBADMSG && e != -EUCLEAN && error == 0)
			error = e;
	}
	return error;
}

/* ---- the disk ---- */

static int
take_dks(struct disk *d)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->desc.n_keys; i++) {
		const struct uuid *uuid = &d->desc.keys[i].uuid;
		const struct kept_dk *k = NULL;

		for (size_t j = 0; j < DISK_DKS; j++)
			if (atomic_load(&d->slot->dks[j].valid) &&
			    uuid_equal(&d->slot->dks[j].uuid, uuid))
				k = &d->slot->dks[j];
		if (k)
			memcpy(dk.bytes, k->key, sizeof(dk.bytes));
		else
			r = kms_decrypt(d->e->kms, &d->desc.keys[i].dk, &dk);
		if (r == 0)
			r = disk_add_dk(d, uuid, &dk);
	}
	return r;
}

/* The name that it had before the dead came to rename it may be gone only until
 * a cut, which would bring back what its descriptor was then. */
static int
settle_name(struct disk *d)
{
	char path[STORE_PATH_LEN];

	path_descriptor(d->desc.type, d->desc.of, d->desc.name, path);
	*strrchr(path, '/') = '\0';
	return d->e->st->ops->sync_dir(d->e->st, path);
}

/* ${lock_fd} is the lock's, or gone. */
static int
authenticate(struct disk *d, const char *name, int lock_fd)
{
	CLEANUP(free_memp) char *text = NULL;
	enum desc_type type = (enum desc_type)d->slot->type;
	size_t len = 0;
	int r;

	r = catalog_adopt_disk(d->e->cat, &d->slot->uuid, type,
			       d->e->mount_point, lock_fd, &d->lock);
	if (r == 0)
		r = catalog_load(d->e->cat, type, name, &d->desc, &text, &len);
	if (r == 0 &&
	    (!uuid_equal(&d->slot->uuid, &d->desc.uuid) ||
	     (type == DESC_DISK && d->desc.session != d->slot->session)))
		r = -EBUSY; /* somebody else has had it since */
	/* Its detach had come to its end. */
	if (r == 0 && type == DESC_DISK && d->desc.clean && !d->slot->older)
		r = -ENODEV;
	if (r == 0)
		r = settle_name(d);
	if (r == 0)
		r = take_dks(d);
	if (r == 0 && !disk_top_dk(d))
		r = -EUCLEAN;
	return r < 0 ? r
		     : descriptor_verify(text, len, &d->desc.uuid,
					 disk_top_dk(d));
}

static int
begin_replay(struct disk *d)
{
	struct replay *r = calloc(1, sizeof(*r));
	int e = r ? scratch_new(&r->scratch) : -ENOMEM;

	if (e == 0)
		e = collect(d, r);
	if (e == 0)
		e = index_groups(r);
	if (e == 0 && !PLANTED(RESUMED_UNMAPPED))
		e = replay_map(d, r);
	atomic_store(&d->replaying, e == 0);
	if (e == 0)
		d->replay = r;
	else
		replay_free(r);
	return e;
}

static void
take_state(struct disk *d)
{
	struct kept_disk *s = d->slot;

	d->session = d->desc.session;
	d->drop_cache = s->drop_cache;
	d->rolled_back = s->older;
	atomic_store(&d->size, atomic_load(&s->size));
	atomic_store(&d->size_dirty, atomic_load(&s->size) != d->desc.size);
	atomic_store(&d->allocated,
		     (int64_t)(atomic_load(&s->allocated) / BLOCK_SIZE));
}

static int
resume_disk(struct disk *d)
{
	int flags = d->slot->older ? DISK_READ_OLDER : 0;
	int r;

	take_state(d);
	r = disk_open_top(d, flags);
	if (r == 0 && atomic_load(&d->slot->failed))
		(void)disk_fail(d, -EIO, "a sync has failed before");
	if (r == 0)
		r = begin_replay(d);
	return r;
}

int
disk_go_on(struct disk *d, unsigned slot, const char *name, int lock_fd)
{
	struct kept_disk *s = &d->e->kept->disks[slot];
	int r;

	d->slot_no = slot;
	d->gone_on = true;
	/* Before it has the slot: to one who commits another disk meanwhile it
	 * would be clean, and need nothing of the ring. */
	atomic_store(&d->unsettled, s->type == DESC_DISK);
	kept_use(d, s);
	r = authenticate(d, name, lock_fd);
	if (r == 0)
		r = scratch_new(&d->bg);
	if (r == 0)
		r = commit_new(&d->commit);
	if (r == 0)
		r = scratch_new(&d->mover);
	if (r == 0)
		r = d->slot->type == DESC_DISK ? resume_disk(d)
					       : disk_open_frozen(d);
	if (r == 0)
		scratch_wipe(d->bg);
	return r;
}
