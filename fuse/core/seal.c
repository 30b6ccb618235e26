/*
 * seal.c - a frozen layer gets its digest (format.md, "Digests").
 *
 * What is frozen does not change, so once all its pages are at rest and all its
 * chunks have their digests, one number stands for all of it: in its layer.ini,
 * in the descriptors that name it, and in the layer.ini of its children.  From
 * then on neither it nor a part of it can be an older one unnoticed.
 *
 * 1. each chunk: settled, mirrored, its digest in the map; durable
 * 2. `digests`, and then layer.ini: sealed, and the digest
 * 3. the children's parent_digest; the snapshots' and images' digest
 *
 * Who finds a digest in 3 knows that 2 is durable.  The other way round, before
 * a sealed layer is changed, which only a merge does, 3 goes, then 2 (unseal).
 * So whatever a crash leaves is right, and `unsealed` in the lineage's folder
 * says that there is something to do.  A layer that was sealed once and is not
 * any more keeps its digest in layer.ini, where nobody holds it against
 * anything: it says that the digests in its map are right, but for zeros.  So
 * what is merged into it does not make right a chunk that has been put back.
 *
 * Step 1 takes a piece of time, as merging does, under the lineage's lock.
 * Where the disk that froze the layer is attached here, it knows which chunks
 * have changed; else all of them are looked at.
 *
 * A child in another lineage, or on a disk that another process has attached,
 * is left as it is.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "merge_private.h"

/* How long a piece takes, about. */
#define PIECE_MS 20

/* ---- sealing ---- */

static void
sealing_done(struct sealing *s)
{
	if (s->d)
		disk_abandon(s->d);
	if (s->held)
		engine_release(s->e, s->held);
}

/* An attached disk that has the layer in its chain and knows what of it has
 * changed. */
static void
find_known(struct sealing *s)
{
	const struct census *c = &s->v->census;

	for (size_t i = 0; i < c->n && !s->known; i++) {
		struct disk *d = NULL;

		if (c->seen[i].type == DESC_DISK &&
		    layers_reach(&s->v->live, &c->seen[i].layer, &s->l->uuid))
			d = engine_hold(s->e, &c->seen[i].uuid);
		if (!d)
			continue;
		s->known = checkpoint_known(d, &s->l->uuid);
		if (s->known)
			s->held = d;
		else
			engine_release(s->e, d);
	}
}

static int
open_sealing(struct sealing *s)
{
	const struct layer_ref ref = { s->l->lineage, s->l->uuid };
	const struct census *c = &s->v->census;
	size_t i = 0;

	while (i < c->n &&
	       !layers_reach(&s->v->live, &c->seen[i].layer, &s->l->uuid))
		i++;
	if (i == c->n)
		return -ENOENT;
	return disk_open_layer(s->e, &c->seen[i], &ref, &s->d);
}

/* Where it stopped; from the start, where that is not known: then somebody may
 * have been killed at it, and what he wrote is not durable perhaps. */
static int
begin(struct sealing *s)
{
	struct engine *e = s->e;
	int r;

	find_known(s);
	if (uuid_equal(&e->seal_layer, &s->l->uuid) &&
	    e->seal_known == (s->known != NULL)) {
		s->before = e->seal_at;
		return 0;
	}
	r = e->st->ops->sync_all(e->st);
	if (r < 0) {
		engine_fail(e, r);
		return r;
	}
	e->seal_layer = s->l->uuid;
	e->seal_known = s->known != NULL;
	e->seal_at = 0;
	return 0;
}

/* 1: there is more. */
static int
seal_chunks(struct sealing *s)
{
	struct layer *l = s->d->top;
	int64_t until = now_ms() + PIECE_MS;
	uint64_t *at = &s->e->seal_at;
	bool lacking = !digest_is_none(l->meta.digest);
	int r = 0;

	while (r == 0) {
		r = checkpoint_next(l, s->known, s->d->mover, at);
		if (r < 0 || *at == UINT64_MAX)
			break;
		r = checkpoint_chunk_digest(l, s->d->mover, (*at)++, lacking);
		if (r == 0 && now_ms() >= until)
			r = 1;
	}
	return r;
}

/* What was done before this piece: who had the layer in between, merging into
 * it or making its map anew, has left what he changed without a digest.  1:
 * then it begins anew.  One that is damaged has none, and gets none. */
static int
find_lacking(struct sealing *s)
{
	struct layer *l = s->d->top;
	uint64_t index = 0;
	bool had, has;
	int r;

	for (;; index++) {
		r = layer_next(l, s->d->mover, index, &index);
		if (r < 0 || index >= s->before)
			return r;
		r = layer_has_digest(l, s->d->mover, index, &had);
		if (r == 0 && !had)
			r = checkpoint_chunk_digest(l, s->d->mover, index,
						    false);
		if (r == 0 && !had)
			r = layer_has_digest(l, s->d->mover, index, &has);
		if (r < 0 || (!had && has))
			return r < 0 ? r : 1;
	}
}

/* All that is in memory, in both copies. */
static int
settle_all(struct disk *d)
{
	int r = commit_wait(d);

	if (r < 0)
		return r;
	quiet_round(d, true);
	if (!link_empty(&d->unsynced))
		r = commit_for_room(d);
	if (r == 0)
		r = d->top->map->st->ops->sync(d->top->map);
	return r == 0 && !link_empty(&d->quiet) ? -EIO : r;
}

static int
say_sealed(struct sealing *s)
{
	struct layer *l = s->d->top;
	struct layer_meta m = l->meta;
	int r;

	r = checkpoint_save(l, s->d->mover, 0, s->digest);
	if (r < 0)
		return r;
	m.state = LAYER_SEALED;
	memcpy(m.digest, s->digest, sizeof(m.digest));
	r = layer_save_meta(l, &m);
	if (r < 0)
		return r;
	if (s->known)
		atomic_store(&s->known->at_rest, true);
	log_debug("a layer was sealed");
	return 0;
}

/* 1: there is more. */
static int
seal_content(struct sealing *s)
{
	bool anew = false;
	int r, e;

	r = begin(s);
	if (r < 0)
		return r;
	r = seal_chunks(s);
	if (r == 0) {
		r = find_lacking(s);
		anew = r > 0;
	}
	/* Before they are mirrored. */
	if (r == 0)
		r = checkpoint_complete(s->d->top, s->d->mover);
	e = settle_all(s->d);
	if (r == 0 && e == 0)
		e = say_sealed(s);
	if (r > 0 && e == 0 && !anew)
		return r;
	/* Some chunks were taken from what is known, and have no digest. */
	if (s->known && (r != 0 || e < 0))
		s->known->tracked = false;
	memset(&s->e->seal_layer, 0, sizeof(s->e->seal_layer));
	return e < 0 ? e : r;
}

static int
seal_one(struct engine *e, const struct verdict *v, const struct layer_meta *l)
{
	CLEANUP(sealing_done) struct sealing s = { .e = e, .v = v, .l = l };
	int r, error;

	r = open_sealing(&s);
	if (r == 0 && s.d->top->meta.state == LAYER_FROZEN)
		r = seal_content(&s);
	if (r != 0)
		return r;
	s.dk = s.d->top->dk;
	memcpy(s.digest, s.d->top->meta.digest, sizeof(s.digest));
	error = seal_put_children(&s);
	r = seal_put_pins(&s);
	return r < 0 ? r : error;
}

/* ---- which ---- */

/* One that a disk has on top, though it is frozen, is that disk's. */
static bool
is_wanted(const struct verdict *v, const struct layer_meta *l)
{
	const struct layer_meta *below =
	    l->has_parent ? layers_find(&v->live, &l->parent.layer) : NULL;

	/* A merge that was cut short goes on first: what it has changed has no
	 * digest yet. */
	if (below && below->state == LAYER_MERGING)
		return false;
	return (l->state == LAYER_FROZEN &&
		!seal_writer_of(&v->census, &l->uuid)) ||
	       (l->state == LAYER_SEALED && seal_is_stale(v, l));
}

/* Not in this sweep: see struct engine. */
static bool
is_left(const struct engine *e, const struct layer_meta *l)
{
	for (unsigned i = 0; i < e->n_unmerged; i++)
		if (uuid_equal(&e->unmerged[i], &l->uuid))
			return true;
	return e->n_unmerged == UNMERGED_MAX;
}

/*
 * A layer that was being made when the process died is named by nothing, and
 * nothing but this mark tells of it: it becomes the sweep's.  1: there is one.
 * What is seen of the descriptors must be what will be found after a power cut,
 * before anything goes for it.  Where the sweep knows already, it has failed.
 */
static int
find_dead(struct engine *e, const struct uuid *lineage, const struct verdict *v)
{
	char pending[STORE_PATH_LEN];
	int r = layers_any_dead(e->st, lineage, &v->live);

	if (r <= 0)
		return r;
	path_lineage(lineage, PENDING, pending);
	r = store_exists(e->st, pending);
	if (r != 0)
		return r < 0 ? r : 0;
	r = e->st->ops->sync_all(e->st);
	if (r < 0)
		engine_fail(e, r);
	if (r == 0)
		r = pending_mark(e->st, lineage);
	return r < 0 ? r : 1;
}

/* 1: there is more; 0: not now, at least. */
static int
seal_lineage(struct engine *e, const struct uuid *lineage)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(verdict_done) struct verdict v = { 0 };
	bool left = false;
	int r, error = 0;

	r = catalog_judge(e->cat, lineage, &lock, &v);
	if (r < 0 || !v.alive)
		return r == -EBUSY || r == -EUCLEAN ? 0 : r;
	for (size_t i = 0; i < v.live.n; i++) {
		const struct layer_meta *l = &v.live.v[i];

		if (!uuid_equal(&l->lineage, lineage) || !is_wanted(&v, l))
			continue;
		if (is_left(e, l)) {
			left = true;
			continue;
		}
		r = seal_one(e, &v, l);
		if (r >= 0)
			return 1;
		/* Damaged, or in use; the others all the same. */
		error = error ?: r;
	}
	if (error == 0)
		error = find_dead(e, lineage, &v);
	if (error >= 0 && !left)
		lineage_unmark(e->st, lineage, UNSEALED);
	return error == -EBUSY || error == -EAGAIN ? 0 : error;
}

int
engine_seal(struct engine *e, const atomic_bool *stop)
{
	CLEANUP(free_memp) struct uuid *marked = NULL;
	size_t n = 0;
	int r, error;

	r = error = catalog_unsealed(e->cat, &marked, &n);
	for (size_t i = 0; r <= 0 && i < n; i++) {
		if (merging_lock(e, stop) < 0)
			return error;
		r = seal_lineage(e, &marked[i]);
		merging_unlock(e);
		if (r < 0 && error == 0)
			error = r;
	}
	/* Others get at what was locked. */
	if (r > 0 && !e->manual)
		usleep(PIECE_MS * 1000);
	return r > 0 ? r : error;
}
