/*
 * reencrypt.c - a disk in use gets a new DK, and all its blocks are copied.
 *
 * It goes on in a new layer under the new DK (snapshot.c), and its descriptor
 * says `reencrypt` from then on.  What lies below is copied into the lowest
 * layer that is under the new DK, the bottom: at first that is the top one, and
 * when a snapshot is taken meanwhile, it is the snapshot's, which so loses the
 * old DK, too.  What has been copied is in the layer; nothing else says how far
 * it is.  When the bottom has all that is there below it, durably, it has no
 * parent any more, durably; then no descriptor that reaches it needs the old
 * DKs, and at last `reencrypt` goes.  After a crash it begins again with what
 * is not done.
 *
 * The top layer is its disk's alone: to copy into it takes no more than to
 * write to it.  Copying into a frozen one is a piece of work as merge.c does
 * it: nobody else may read it meanwhile.
 */
#include "merge_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

/* ---- where it is ---- */

/* What this one reads through, as far as *${ret_limit}, is under other DKs; or
 * there is nothing: UINT64_MAX. */
static int
find_bottom(struct disk *d, struct layer **ret, uint64_t *ret_limit)
{
	struct uuid lineage;
	struct layer *l;
	int r = 0;

	pthread_mutex_lock(&d->desc_lock);
	lineage = d->desc.lineage;
	pthread_mutex_unlock(&d->desc_lock);
	pthread_rwlock_rdlock(&d->barrier);
	l = d->top;
	while (r == 0 && l->meta.has_parent &&
	       uuid_equal(&l->meta.parent.lineage, &lineage))
		r = layer_parent(l, d->mover, &l);
	*ret = l;
	*ret_limit = l->meta.has_parent ? l->parent_limit : UINT64_MAX;
	pthread_rwlock_unlock(&d->barrier);
	return r;
}

/* Begins with a layer, or goes on with it. */
static int
come_to(struct disk *d, const struct layer *y, uint64_t limit)
{
	struct reencrypt *re = &d->re;
	struct store *st = d->e->st;
	int r = 0;

	atomic_store(&re->total, limit);
	if (uuid_equal(&re->layer, &y->ref.layer))
		return 0;
	/* Somebody may have been killed at it: what he wrote is seen, and is
	 * not durable perhaps.  For the disk's own that was done at attach. */
	if (layer_is_frozen(y))
		r = st->ops->sync_all(st);
	if (r < 0) {
		engine_fail(d->e, r);
		return r;
	}
	re->layer = y->ref.layer;
	re->at = 0;
	return 0;
}

/* ---- the old ones go ---- */

/*
 * The bottom, on top of ${w}, needs nothing that lies below.  Nobody reads or
 * writes what goes through it meanwhile.  Where the change of its layer.ini
 * fails it may be there all the same, and so it holds in memory: the end says
 * it again.
 */
static int
cut(struct disk *d, struct disk *w, struct disk **held, size_t n)
{
	struct layer *y = w->top;
	struct layer_meta meta = y->meta;
	bool done;
	int r;

	r = commit_wait(w);
	for (size_t i = 0; i < n; i++)
		pthread_rwlock_wrlock(&held[i]->barrier);
	if (r == 0)
		r = commit_wait(w);
	done = r == 0;
	if (done) {
		meta.has_parent = false;
		meta.parent = (struct layer_ref){ { { 0 } }, { { 0 } } };
		meta.parent_limit = 0;
		memset(meta.parent_digest, 0, sizeof(meta.parent_digest));
		r = layer_save_meta(y, &meta);
		d->re.unsaved = r < 0;
		y->meta = meta;
		y->parent_limit = 0;
	}
	for (size_t i = 0; i < n; i++) {
		struct layer *x = done ? chain_cut(held[i], y) : NULL;

		pthread_rwlock_unlock(&held[i]->barrier);
		chain_close_all(x);
	}
	return r;
}

/* Something is in the way that the sweep or the merger has to do first. */
#define CLEAR_FIRST 2

/*
 * What a piece of it needs.  The bottom's own lineage is locked; with the locks
 * of the others nothing below goes before it is durable that it is not needed.
 * They come before those of disks, for which a sweep that has one may wait.
 */
struct held_back {
	struct store_lock *own;
	struct lineage_locks others;
	struct verdict v;
};

static void
let_go(struct held_back *h)
{
	verdict_done(&h->v);
	lineages_unlock(&h->others);
	store_unlock(h->own);
}

static int
hold_back(struct disk *d, const struct uuid *lineage, struct held_back *h)
{
	struct uuid all[LINEAGES_MAX], other[LINEAGES_MAX];
	size_t n_all, n = 0;
	int r;

	pthread_mutex_lock(&d->desc_lock);
	n_all = descriptor_lineages(&d->desc, all);
	pthread_mutex_unlock(&d->desc_lock);
	for (size_t i = 0; i < n_all; i++)
		if (!uuid_equal(&all[i], lineage))
			other[n++] = all[i];
	r = catalog_judge(d->e->cat, lineage, &h->own, &h->v);
	return r < 0 ? r
		     : lineages_lock(d->e->cat, other, n, false, &h->others);
}

/* Whom a layer that was merged has given its chunks to is known by the parent
 * (catalog_layers.c): so that stays as long as one of the lineage is dead. */
static int
cut_unless_dead(struct disk *d, const struct held_back *h, struct disk *w,
		struct disk **held, size_t n)
{
	int r = layers_any_dead(d->e->st, &w->top->ref.lineage, &h->v.live);

	if (r != 0)
		return r < 0 ? r : CLEAR_FIRST;
	return cut(d, w, held, n);
}

static int
cut_top(struct disk *d, struct layer *y)
{
	CLEANUP(let_go) struct held_back h = { .own = NULL };
	int r = hold_back(d, &y->ref.lineage, &h);

	if (r < 0)
		return r;
	/* A snapshot would share that lock until it is done. */
	return d->top == y ? cut_unless_dead(d, &h, d, &d, 1) : 1;
}

/* In one that is being merged into its child nothing may change. */
static int
piece_frozen(struct disk *d, struct layer *y)
{
	CLEANUP(let_go) struct held_back h = { .own = NULL };
	CLEANUP(merge_done) struct merge m = { .e = d->e, .v = &h.v };
	int r, e;

	r = hold_back(d, &y->ref.lineage, &h);
	if (r < 0)
		return r;
	m.y = layers_find(&h.v.live, &y->ref.layer);
	if (m.y && m.y->state == LAYER_MERGING)
		return CLEAR_FIRST;
	r = m.y ? merge_take(&m) : -EAGAIN;
	if (r == 0)
		r = merge_open_worker(&m);
	if (r == 0)
		r = merge_unseal(&m);
	if (r < 0)
		return r;
	r = reencrypt_copy(d, m.d, m.d->top);
	/* Whatever comes then: what the worker has not committed goes with it.
	 */
	e = commit_wait(m.d);
	if (r < 0)
		e = r;
	if (e == 0 && r == 0)
		e = cut_unless_dead(d, &h, m.d, m.held, m.n_held);
	/* What could not be made durable is not there. */
	if (e < 0)
		memset(&d->re.layer, 0, sizeof(d->re.layer));
	/* To count too few harms nobody. */
	if (e >= 0)
		(void)!merge_count(&m);
	return e == 0 ? 1 : e;
}

static int
piece_top(struct disk *d, struct layer *y)
{
	int r = reencrypt_copy(d, d, y);

	if (r == 0)
		r = cut_top(d, y);
	return r == 0 ? 1 : r;
}

/* Without a mark nothing would be looked at. */
static int
clear_first(struct disk *d)
{
	struct uuid lineage;
	bool more;
	int r;

	pthread_mutex_lock(&d->desc_lock);
	lineage = d->desc.lineage;
	pthread_mutex_unlock(&d->desc_lock);
	r = pending_mark(d->e->st, &lineage);
	if (r == 0)
		r = catalog_sweep(d->e->cat, 256, &more);
	if (r == 0)
		r = engine_merge(d->e, &d->re.stop);
	return r < 0 ? r : 1;
}

/* ---- the end ---- */

/* The DKs that layers from ${from} down are under.  Who could forge a layer.ini
 * to have a DK dropped can remove that himself. */
static size_t
keys_of(const struct layer_set *live, const struct layer_ref *from,
	struct uuid used[static DISK_DKS])
{
	const struct layer_meta *m = layers_find(live, &from->layer);
	size_t n = 0, i;

	for (; m;
	     m = m->has_parent ? layers_find(live, &m->parent.layer) : NULL) {
		for (i = 0; i < n && !uuid_equal(&used[i], &m->key);)
			i++;
		if (i == n && n < DISK_DKS)
			used[n++] = m->key;
	}
	return n;
}

/* What reaches the bottom, too, and is not attached here. */
static int
drop_stored(struct disk *d, const struct layer_set *live, const struct seen *s)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL, *lock = NULL;
	CLEANUP(free_memp) struct descriptor *o = malloc(sizeof(*o));
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct catalog *c = d->e->cat;
	struct uuid used[DISK_DKS];
	size_t n;
	int r;

	if (!o)
		return -ENOMEM;
	/* Somebody may be wrapping its data keys anew. */
	r = catalog_lock_names(c, &names);
	if (r == 0 && s->type == DESC_DISK)
		r = catalog_lock_disk(c, &s->uuid, "", &lock);
	if (r == 0)
		r = catalog_load_verified(c, d->e->kms, s->type, s->name, o,
					  &dk);
	if (r < 0)
		return r;
	n = keys_of(live, &o->layer, used);
	if (!uuid_equal(&o->uuid, &s->uuid) || n == 0)
		return 0;
	r = pending_mark_all(c->st, o);
	if (r < 0)
		return r;
	descriptor_keep_keys(o, used, n);
	return catalog_save(c, o, &dk);
}

static int
drop_one(struct disk *d, const struct layer_set *live, const struct seen *s)
{
	struct disk *h = engine_hold(d->e, &s->uuid);
	int r = -ENOENT;

	if (h && h->desc.type == DESC_DISK)
		r = disk_drop_keys(h, false);
	if (h)
		engine_release(d->e, h);
	return r == -ENOENT ? drop_stored(d, live, s) : r;
}

static int
look_at_store(struct catalog *c, struct verdict *v)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	int r;

	r = catalog_lock_names(c, &names);
	if (r == 0)
		r = census_take(c, &v->census);
	if (r == 0)
		r = layers_reached(c->st, &v->census, &v->live);
	return r;
}

/* One that somebody else has keeps them: to wait for him would keep them here.
 */
static void
drop_others(struct disk *d, const struct layer *bottom)
{
	CLEANUP(verdict_done) struct verdict v = { 0 };
	int r = look_at_store(d->e->cat, &v);

	for (size_t i = 0; r == 0 && i < v.census.n; i++) {
		const struct seen *s = &v.census.seen[i];
		int e;

		if (uuid_equal(&s->uuid, &d->desc.uuid) ||
		    !layers_reach(&v.live, &s->layer, &bottom->ref.layer))
			continue;
		e = drop_one(d, &v.live, s);
		if (e < 0)
			log_warn("\"%s\" keeps the data key that \"%s\" had: "
				 "%s",
				 s->name, d->desc.name, err_text(e));
	}
	if (r < 0)
		log_warn("who else has the data key that \"%s\" had is not "
			 "known: %s",
			 d->desc.name, err_text(r));
}

static int
finish(struct disk *d, struct layer *bottom)
{
	int r = 0;

	/* A snapshot changes it, too. */
	pthread_rwlock_wrlock(&d->barrier);
	if (d->re.unsaved)
		r = layer_save_meta(bottom, &bottom->meta);
	pthread_rwlock_unlock(&d->barrier);
	if (r < 0)
		return r;
	d->re.unsaved = false;
	pthread_mutex_lock(&d->snapshots);
	drop_others(d, bottom);
	r = disk_drop_keys(d, true);
	pthread_mutex_unlock(&d->snapshots);
	if (r == 0)
		log_note("disk %s: all of it is under its new data key",
			 d->desc.name);
	return r;
}

static int
step(struct disk *d)
{
	uint64_t limit;
	struct layer *y;
	int r;

	if (d->read_only || atomic_load(&d->failed))
		return -EROFS;
	r = find_bottom(d, &y, &limit);
	if (r == 0 && limit == UINT64_MAX)
		return finish(d, y);
	if (r == 0)
		r = come_to(d, y, limit);
	if (r < 0)
		return r;
	return layer_is_frozen(y) ? piece_frozen(d, y) : piece_top(d, y);
}

bool
reencrypt_is_wanted(struct disk *d)
{
	bool wanted;

	pthread_mutex_lock(&d->desc_lock);
	wanted = d->desc.reencrypting;
	pthread_mutex_unlock(&d->desc_lock);
	return wanted;
}

int
disk_reencrypt_step(struct disk *d)
{
	int r = 0;

	if (merging_lock(d->e, &d->re.stop) < 0)
		return 1;
	if (reencrypt_is_wanted(d))
		r = step(d);
	scratch_wipe(d->mover);
	merging_unlock(d->e);
	if (r == CLEAR_FIRST)
		r = clear_first(d);
	atomic_store(&d->re.error, r < 0 ? r : 0);
	return r;
}
