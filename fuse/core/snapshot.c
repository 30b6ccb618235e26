/*
 * snapshot.c - disks are frozen (format.md, "Snapshot, image, clone").
 *
 * For a disk with top layer L:
 *
 * 1. a new layer M with parent L, durable; nothing names it yet
 * 2. all that was written until now is committed, while writers go on
 * 3. the barrier: no writer is in L any more.  Commit again, which is little;
 *    L is frozen; the descriptor's top is M
 * 4. the descriptor of the snapshot, which names L
 *
 * Several disks go through each step together.  A crash or an error between any
 * two leaves a disk that works: L frozen under a descriptor that still names it
 * gets a layer on top when it is attached (disk.c); M with nothing in it reads
 * as L does, whether the descriptor names it or not.
 */
#include "snapshot.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "catalog_private.h"
#include "engine_private.h"
#include "kept_private.h"
#include "planted.h"

struct frozen {
	struct disk *d;
	const struct snapshot_request *req;
	struct layer *old, *new;
	struct lineage_locks lineages;
	struct store_lock *own_lineage;
	const struct own_key *own; /* the new layer's, or NULL: the disk's */
	struct descriptor *next;   /* with that on top */
	uint64_t rate;
	uint64_t allocated; /* of the old layer, bytes */
	bool done;          /* the new layer is on top */
	bool was_held;      /* what is read of the old one, to its digests */
	bool unsure;        /* or perhaps, but for what the descriptor says */
};

/* ---- layers ---- */

int
snapshot_new_top(struct disk *d, const struct own_key *own, struct layer **ret)
{
	struct layer *top = d->top, *l;
	struct uuid lineage, key;
	struct layer_meta m = { .has_parent = true,
				.parent = top->ref,
				.parent_limit = atomic_load(&d->size),
				.state = LAYER_OPEN,
				.size = atomic_load(&d->size),
				.created = time(NULL) };
	struct layer_ref ref;
	int r;

	pthread_mutex_lock(&d->desc_lock);
	lineage = d->desc.lineage;
	key = d->desc.key;
	pthread_mutex_unlock(&d->desc_lock);
	m.lineage = own ? own->k.dk.lineage : lineage;
	m.key = own ? own->k.uuid : key;
	/* By the mark it is found where nothing comes to name it. */
	r = lineage_mark(d->e->st, &lineage, UNSEALED);
	if (r == 0)
		r = uuid_new(&m.uuid);
	if (r == 0)
		r = layer_create(d->e->st, &m, disk_dk(d, &m.key));
	if (r < 0)
		return r;
	ref = (struct layer_ref){ m.lineage, m.uuid };
	r = layer_open(d, &ref, NULL, &l);
	if (r == 0)
		r = checkpoint_begin(l, NULL, true);
	if (r < 0)
		return r;
	atomic_store(&l->at_rest, true);
	atomic_store(&l->parent, top);
	*ret = l;
	return 0;
}

/* One that nothing came to name: what is left of it is the sweep's. */
static void
give_up(struct frozen *f)
{
	if (!f->new || f->done)
		return;
	atomic_store(&f->d->layers[f->new->number], NULL);
	catalog_drop_layer(f->d->e->cat, &f->new->ref);
	layer_close(f->new);
	f->new = NULL;
}

/* ---- before the barrier ---- */

/* A lineage that is to begin with the new layer: as when a disk is made. */
static int
begin_lineage(struct frozen *f)
{
	const struct uuid *lineage = &f->own->k.dk.lineage;
	struct catalog *c = f->d->e->cat;
	int r;

	r = catalog_share_lineage(c, lineage, &f->own_lineage);
	if (r == 0)
		r = pending_mark(c->st, lineage);
	return r < 0 ? r : disk_add_dk(f->d, &f->own->k.uuid, &f->own->dk);
}

static int
prepare(struct frozen *f, struct scratch *s)
{
	struct disk *d = f->d;
	struct page *root;
	int r;

	if (d->read_only || atomic_load(&d->failed))
		return -EROFS;
	f->next = malloc(sizeof(*f->next));
	r = f->next ? commit_wait(d) : -ENOMEM;
	if (r == 0) {
		disk_descriptor(d, f->next);
		r = lineages_share(d->e->cat, f->next, &f->lineages);
	}
	if (r == 0 && f->own)
		r = begin_lineage(f);
	if (r == 0)
		r = snapshot_new_top(d, f->own, &f->new);
	/* The others are those of a disk of more than 15 TiB, and may come
	 * later: with many snapshots it counts that they have not. */
	if (r == 0)
		r = root_get(f->new, 0, s, &root);
	if (r == 0)
		r = layer_open_todo(f->new);
	/* What was written meanwhile: so that little is left for later. */
	if (r == 0)
		r = commit_wait(d);
	/* From the barrier on no page of the layer is mirrored any more, and no
	 * slot punched: somebody else may be writing there (merge.c). */
	if (r == 0)
		quiet_hurry(d);
	return r;
}

/* ---- at the barrier ---- */

/* The size may be another than it was when the new layer was made. */
static int
freeze(struct frozen *f)
{
	uint64_t size = atomic_load(&f->d->size);
	struct layer_meta m = f->new->meta;
	int r = 0;

	if (m.parent_limit != size) {
		m.parent_limit = m.size = size;
		r = layer_save_meta(f->new, &m);
		f->new->parent_limit = size;
	}
	m = f->old->meta;
	m.state = LAYER_FROZEN;
	m.size = size;
	if (PLANTED(FROZEN_LATE))
		f->old->meta = m;
	else if (r == 0)
		r = layer_save_meta_first(f->old, &m);
	/* From here on its pages are changed by who seals it. */
	if (r == 0) {
		f->was_held = atomic_exchange(&f->old->held, false);
		atomic_store(&f->old->at_rest, false);
		atomic_store(&f->old->frozen, true);
	}
	return r;
}

/* What the disk is from now on.  With size_lock held. */
static void
describe_next(const struct frozen *f)
{
	struct descriptor *n = f->next;

	*n = f->d->desc;
	n->layer = f->new->ref;
	checkpoint_clear(n);
	if (!f->own)
		return;
	own_key_put(f->own, n);
	n->reencrypting = true;
	n->reencrypt_rate = f->rate;
}

static int
put_on_top(struct frozen *f)
{
	struct disk *d = f->d;
	int r;

	pthread_mutex_lock(&d->size_lock);
	describe_next(f);
	/* Writers wait; but a new DK nobody could do without. */
	if (f->own)
		r = catalog_save(d->e->cat, f->next, f->new->dk);
	else
		r = catalog_save_first(d->e->cat, f->next, f->new->dk);
	if (r == 0) {
		int64_t blocks = atomic_exchange(&d->allocated, 0);

		f->allocated = blocks > 0 ? (uint64_t)blocks * BLOCK_SIZE : 0;
		kept_count(d);
		disk_set_desc(d, f->next);
		atomic_store(&d->top, f->new);
		f->done = true;
		spare_later(d);
	} else {
		/* Either may stand there now: let it be the old one, or else
		 * the next commit does. */
		f->unsure = catalog_save(d->e->cat, &d->desc, disk_top_dk(d)) <
			    0;
		if (f->unsure)
			atomic_store(&d->size_dirty, true);
	}
	pthread_mutex_unlock(&d->size_lock);
	return r;
}

/* Writers have left; each step for all disks before the next one. */
static int
at_barrier(struct frozen *f, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = commit_wait(f[i].d);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = freeze(&f[i]);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = put_on_top(&f[i]);
	return r;
}

/* Whoever mirrored a page when the layer was frozen has finished. */
static int
wait_for_page(struct page *p, void *arg)
{
	if (p->layer != arg)
		return 0;
	pthread_rwlock_rdlock(&p->lock);
	pthread_rwlock_unlock(&p->lock);
	return 0;
}

/* A layer that was frozen in vain goes on being written to: nothing but itself
 * may say that it is not.  As long as the descriptor may name the new one above
 * it, it must: that one could not be read. */
static void
thaw(struct frozen *f)
{
	struct layer_meta m = f->old->meta;

	if (f->done || m.state == LAYER_OPEN)
		return;
	m.state = LAYER_OPEN;
	if (f->unsure || layer_save_meta(f->old, &m) < 0)
		f->old->meta = m;
	/* Pages of its map may have been dropped without a mirror. */
	f->old->tracked = false;
	f->old->walk_at = 0;
	atomic_store(&f->old->held, f->was_held);
	atomic_store(&f->old->frozen, false);
}

static int
pass_barrier(struct frozen *f, size_t n)
{
	int r;

	for (size_t i = 0; i < n; i++)
		pthread_rwlock_wrlock(&f[i].d->barrier);
	r = at_barrier(f, n);
	for (size_t i = 0; r < 0 && i < n; i++)
		thaw(&f[i]);
	for (size_t i = n; i > 0; i--)
		pthread_rwlock_unlock(&f[i - 1].d->barrier);
	/* Writers go on. */
	for (size_t i = 0; i < n; i++) {
		spare_round(f[i].d, true);
		layer_save_spare(f[i].old);
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		r = cache_each(&f[i].d->e->cache, f[i].d, wait_for_page,
			       f[i].old);
	return r;
}

/* ---- names ---- */

static int
describe(const struct frozen *f, const struct uuid *set, uint32_t members,
	 struct descriptor *n)
{
	int r;

	pthread_mutex_lock(&f->d->size_lock);
	*n = f->d->desc;
	pthread_mutex_unlock(&f->d->size_lock);
	r = uuid_new(&n->uuid);
	if (r < 0)
		return r;
	strcpy(n->of, f->req->type == DESC_SNAPSHOT ? n->name : "");
	strcpy(n->name, f->req->name);
	n->type = f->req->type;
	n->size = f->old->meta.size;
	n->layer = f->old->ref;
	n->set = *set;
	n->members = members;
	n->created = time(NULL);
	n->clean = true;
	n->allocated = f->allocated;
	memset(n->digest, 0, sizeof(n->digest));
	n->digest_session = 0;
	n->checkpointed = 0;
	n->reencrypting = false;
	n->reencrypt_rate = 0;
	return 0;
}

/* Of a copy of the disk, the frozen layer is the parent of its own one. */
static int
name_copy(const struct frozen *f, const struct descriptor *n)
{
	return catalog_put_clone(f->d->e->cat, n, disk_top_dk(f->d), NULL,
				 NULL);
}

static void
tell_anchors(struct engine *e, struct frozen *f, size_t n)
{
	struct descriptor *d = malloc(sizeof(*d));

	for (size_t i = 0; d && i < n; i++) {
		disk_descriptor(f[i].d, d);
		anchor_tell(e->kms, d);
	}
	free(d);
}

static int
name_all(struct engine *e, struct frozen *f, size_t n)
{
	CLEANUP(free_memp) struct descriptor *d = calloc(n, sizeof(*d));
	CLEANUP(free_memp) const struct key **dks = calloc(n, sizeof(*dks));
	struct uuid set = { { 0 } };
	int r = d && dks ? 0 : -ENOMEM;

	if (r == 0 && n > 1)
		r = uuid_new(&set);
	for (size_t i = 0; r == 0 && i < n; i++) {
		dks[i] = disk_top_dk(f[i].d);
		r = describe(&f[i], &set, n > 1 ? (uint32_t)n : 0, &d[i]);
	}
	if (r == 0 && f->req->type == DESC_DISK)
		return name_copy(f, d);
	return r == 0 ? catalog_add(e->cat, d, dks, n) : r;
}

/* ---- the whole ---- */

static void
end(struct frozen *f)
{
	give_up(f);
	lineages_unlock(&f->lineages);
	store_unlock(f->own_lineage);
	free(f->next);
}

static int
by_disk(const void *a, const void *b)
{
	const struct frozen *x = a, *y = b;

	return x->d < y->d ? -1 : x->d > y->d;
}

/* Sorted, so that the locks of disks are always taken in one order. */
static int
sort(const struct snapshot_request *reqs, struct frozen *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		f[i].d = reqs[i].disk;
		f[i].req = &reqs[i];
	}
	qsort(f, n, sizeof(*f), by_disk);
	for (size_t i = 1; i < n; i++)
		if (f[i].d == f[i - 1].d)
			return -EINVAL;
	return n > 1 && reqs->type == DESC_DISK ? -EINVAL : 0;
}

/* What can be known to be wrong before anything is done. */
static int
begin(struct engine *e, struct frozen *f, size_t n)
{
	struct descriptor desc;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		f[i].old = f[i].d->top;
		disk_descriptor(f[i].d, &desc);
		r = catalog_check_free(e->cat, f[i].req->type, desc.name,
				       f[i].req->name);
	}
	return r;
}

int
disks_snapshot(struct engine *e, struct scratch *s,
	       const struct snapshot_request *reqs, size_t n)
{
	CLEANUP(free_memp) struct frozen *f = calloc(n, sizeof(*f));
	int r;

	if (n == 0 || !f)
		return n == 0 ? -EINVAL : -ENOMEM;
	r = sort(reqs, f, n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		pthread_mutex_lock(&f[i].d->snapshots);
	r = begin(e, f, n);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = prepare(&f[i], s);
	POINT("snapshot-prepared", n);
	if (r == 0)
		r = pass_barrier(f, n);
	POINT("snapshot-frozen", n);
	if (r == 0)
		tell_anchors(e, f, n);
	if (r == 0)
		r = name_all(e, f, n);
	POINT("snapshot-named", n);
	for (size_t i = 0; PLANTED(FROZEN_LATE) && i < n; i++)
		(void)!layer_save_meta(f[i].old, &f[i].old->meta);
	for (size_t i = 0; i < n; i++)
		end(&f[i]);
	for (size_t i = n; i > 0; i--)
		pthread_mutex_unlock(&f[i - 1].d->snapshots);
	return r;
}

int
snapshot_rekey(struct disk *d, struct scratch *s, const struct own_key *own,
	       uint64_t rate)
{
	struct frozen f = { .d = d, .own = own, .rate = rate };
	struct engine *e = d->e;
	int r;

	pthread_mutex_lock(&d->snapshots);
	f.old = d->top;
	pthread_mutex_lock(&d->desc_lock);
	r = d->desc.reencrypting ? -EALREADY : 0;
	pthread_mutex_unlock(&d->desc_lock);
	if (r == 0)
		r = prepare(&f, s);
	if (r == 0)
		r = pass_barrier(&f, 1);
	if (f.done)
		lineage_unmark(e->st, &own->k.dk.lineage, PENDING);
	end(&f);
	disk_forget_dks(d);
	pthread_mutex_unlock(&d->snapshots);
	return r;
}
