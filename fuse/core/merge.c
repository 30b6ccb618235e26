/*
 * merge.c - a layer that only one child needs goes into that child.
 *
 * A snapshot that was removed leaves a layer X that nothing names, and a child
 * Y that reads through it.  What Y does not have itself it gets from X: a chunk
 * that Y has nothing of passes whole, by an entry in Y's map; of the others the
 * blocks are sealed into Y's chunk.  When Y has all that it needs, durably, its
 * parent is X's parent.  Then nothing reaches X, and the sweep removes it.
 *
 * Who reads meanwhile through X as it knows it reads what it always did: X does
 * not change.  (format.md has each entry of X dropped as the child's is
 * durable. Then whoever knows the old map of Y and reads X's anew would read
 * what lies below X; so here X keeps them, says `merging` in its layer.ini, and
 * the sweep spares what has passed.)  When Y has its new parent, X leaves every
 * chain of this process, before the sweep can come by.
 *
 * Y is either on top of a disk, and then that disk does the work, as it is
 * attached or for the while; or it is frozen, and then a disk that has no name
 * does, with Y on top.  No other process may have open what reaches Y: that its
 * descriptors' locks tell.
 *
 * The lineage's lock is held for a piece of the work, some milliseconds: who
 * wants to take a snapshot waits as long.  Where it stopped, or was killed, it
 * begins again with what is not done.
 */
#include "merge_private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/log.h>

#include "planted.h"

/* How long a piece takes, about. */
#define PIECE_MS 20

/* ---- the beginning ---- */

/* So that the sweep spares what has passed.  Readers look at it, too.  It may
 * have been sealed since it was opened here. */
static int
mark_merging(struct merge *m)
{
	struct layer_meta meta;
	int r;

	pthread_rwlock_wrlock(&m->d->barrier);
	atomic_store(&m->parent->held, false); /* its chunks get changed */
	r = layer_load_meta(m->parent);
	meta = m->parent->meta;
	if (r == 0 && meta.state != LAYER_MERGING) {
		meta.state = LAYER_MERGING;
		r = layer_save_meta(m->parent, &meta);
	}
	pthread_rwlock_unlock(&m->d->barrier);
	return r;
}

/* 1: Y has all of X, which could only not be said, and is now.  A new size
 * changes its layer.ini, too. */
static int
say_left(struct merge *m)
{
	struct layer *y = m->d->top;
	int r = 0;

	pthread_rwlock_wrlock(&m->d->barrier);
	if (!y->meta.has_parent ||
	    !uuid_equal(&y->meta.parent.layer, &m->x->uuid))
		r = layer_save_meta(y, &y->meta) ?: 1;
	pthread_rwlock_unlock(&m->d->barrier);
	return r;
}

int
merge_unseal(struct merge *m)
{
	struct sealing s = {
		.e = m->e,
		.v = m->v,
		.l = m->y,
		.dk = m->d->top->dk,
		.d = m->d,
		.locked = true,
	};

	return unseal(&s, m->held, m->n_held);
}

/* 1: it was done before. */
static int
begin(struct merge *m)
{
	int r;

	r = merge_take(m);
	if (r == 0)
		r = merge_open_worker(m);
	if (r == 0 && (m->d->read_only || atomic_load(&m->d->failed)))
		r = -EROFS;
	if (r == 0)
		r = say_left(m);
	if (r != 0)
		return r;
	r = merge_buf_new(&m->buf);
	if (r == 0)
		r = layer_parent(m->d->top, m->d->mover, &m->parent);
	if (r == 0)
		r = merge_unseal(m);
	return r == 0 ? mark_merging(m) : r;
}

/* ---- the work ---- */

/* Under the barrier, as the disk may shrink: whether Y asks for all of it. */
static bool
is_below_limit(const struct layer *y, uint64_t index)
{
	return (index + 1) * CHUNK_LEN <= y->parent_limit;
}

static int
pass_locked(struct merge *m, uint64_t index, const uint8_t salt[static 12])
{
	struct layer *y = m->d->top;
	struct scratch *s = m->d->mover;
	enum entry_state state;
	struct chunk *c;
	uint8_t own[12];
	int r;

	r = layer_entry(y, s, index, &state, own);
	/* Somebody has just written there, or the disk has shrunk: block by
	 * block, then. */
	if (r == 0 && (state != ENTRY_ABSENT || !is_below_limit(y, index)))
		r = -ESTALE;
	if (r < 0)
		return r;
	/* The parent's copies may differ, and now they are this layer's. */
	if (!atomic_load(&m->parent->at_rest))
		atomic_store(&y->at_rest, false);
	r = layer_set(y, s, index, ENTRY_DATA, salt, NULL);
	POINT("merge-passed", index);
	if (r == 0)
		r = layer_lookup(y, s, index, &state, &c);
	if (r < 0)
		return r;
	recount_known(y, index);
	/* Held, so that nobody closes its file. */
	pthread_rwlock_rdlock(&c->lock);
	blocks_changed(y, index, chunk_count(c, s, 0xff));
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return 0;
}

/* The whole chunk: only its owner is another.  Writes to it may come at once,
 * so whoever reads it by way of X has to have finished. */
static int
pass_chunk(struct merge *m, uint64_t index, const uint8_t salt[static 12])
{
	pthread_mutex_t *mutex = &m->d->top->creating[index % 64];
	int r;

	pthread_rwlock_wrlock(&m->d->barrier);
	pthread_mutex_lock(mutex);
	r = pass_locked(m, index, salt);
	pthread_mutex_unlock(mutex);
	pthread_rwlock_unlock(&m->d->barrier);
	return r;
}

/* Unless somebody has just written there. */
static int
pass_zeros(struct merge *m, uint64_t index)
{
	struct layer *y = m->d->top;
	struct scratch *s = m->d->mover;
	enum entry_state state;
	uint8_t own[12];
	int r;

	pthread_mutex_lock(&y->creating[index % 64]);
	r = layer_entry(y, s, index, &state, own);
	if (r == 0 && state == ENTRY_ABSENT)
		r = layer_set(y, s, index, ENTRY_ZERO, NULL, NULL);
	else if (r == 0)
		r = -ESTALE;
	pthread_mutex_unlock(&y->creating[index % 64]);
	return r;
}

static int
fill_group(struct merge *m, struct chunk *c, uint64_t group)
{
	struct fill f = { .parent = m->parent, .buf = m->buf };
	int r;

	pthread_rwlock_rdlock(&m->d->barrier);
	f.limit = m->d->top->parent_limit;
	pthread_rwlock_rdlock(&c->lock);
	r = group_fill(c, m->d->mover, group, &f);
	pthread_rwlock_unlock(&c->lock);
	pthread_rwlock_unlock(&m->d->barrier);
	return r;
}

/* What of a chunk Y lacks, block by block. */
static int
fill_chunk(struct merge *m, uint64_t index)
{
	static const uint8_t none[DIGEST_LEN];
	struct layer *y = m->d->top;
	struct chunk *c;
	int r;

	r = chunk_make(y, m->d->mover, index, &c);
	if (r < 0)
		return r;
	/* Durable before Y can be sealed again, so that nobody then takes the
	 * one that it had. */
	if (m->d->nameless)
		r = layer_set_digest(y, m->d->mover, c, none);
	for (unsigned g = 0; r == 0 && g < CHUNK_GROUPS; g++)
		r = fill_group(m, c, index * CHUNK_GROUPS + g);
	chunk_put(c);
	if (r == -EKEYEXPIRED)
		r = chunk_rewrite(y, m->d->mover, index) ?: -ESTALE;
	return r;
}

/* One chunk of X. */
static int
merge_chunk(struct merge *m, uint64_t index)
{
	struct layer *y = m->d->top;
	struct scratch *s = m->d->mover;
	enum entry_state ours, theirs;
	uint8_t salt[12], own[12];
	bool whole;
	int r;

	pthread_rwlock_rdlock(&m->d->barrier);
	whole = is_below_limit(y, index);
	pthread_rwlock_unlock(&m->d->barrier);
	r = layer_entry(m->parent, s, index, &theirs, salt);
	if (r == 0)
		r = layer_entry(y, s, index, &ours, own);
	if (r < 0 || theirs == ENTRY_ABSENT || ours == ENTRY_ZERO)
		return r;
	if (theirs == ENTRY_ZERO && ours == ENTRY_ABSENT)
		return pass_zeros(m, index);
	if (ours == ENTRY_ABSENT && theirs == ENTRY_DATA && whole)
		return pass_chunk(m, index, salt);
	return fill_chunk(m, index);
}

/* Whether the piece that began at ${since} and did ${n} chunks is to go on. */
static bool
goes_on(const struct merge *m, int64_t since, unsigned n)
{
	if (m->e->merge_chunks > 0)
		return n < m->e->merge_chunks;
	return now_ms() < since + PIECE_MS;
}

/* 1: there is more. */
static int
merge_piece(struct merge *m, uint64_t *at)
{
	int64_t since = now_ms();
	uint64_t limit;
	unsigned n = 0;
	int r;

	pthread_rwlock_rdlock(&m->d->barrier);
	limit = m->d->top->parent_limit;
	pthread_rwlock_unlock(&m->d->barrier);
	while (goes_on(m, since, n)) {
		r = layer_next(m->parent, m->d->mover, *at, at);
		if (r < 0)
			return r;
		if (*at == UINT64_MAX || *at * CHUNK_LEN >= limit)
			return 0;
		r = merge_chunk(m, *at);
		if (r == -EAGAIN)
			r = commit_for_room(m->d);
		else if (r == 0)
			(*at)++, n++;
		if (r < 0 && r != -ESTALE)
			return r;
	}
	return 1;
}

/* ---- the end ---- */

/*
 * What passed before this piece, up to ${end}: who had the layers in between
 * may have made a page of Y's map anew, and what X names was left to X
 * (repair.c).  1: it is to be done again, from *${at} on.
 */
static int
find_lost(struct merge *m, uint64_t end, uint64_t *at)
{
	struct scratch *s = m->d->mover;
	uint64_t limit, index = 0;
	enum entry_state ours;
	uint8_t own[12];
	int r;

	pthread_rwlock_rdlock(&m->d->barrier);
	limit = m->d->top->parent_limit;
	pthread_rwlock_unlock(&m->d->barrier);
	for (;; index++) {
		r = layer_next(m->parent, s, index, &index);
		if (r < 0 || index >= end || index * CHUNK_LEN >= limit)
			return r;
		r = layer_entry(m->d->top, s, index, &ours, own);
		if (r < 0)
			return r;
		if (ours == ENTRY_ABSENT) {
			*at = index;
			return 1;
		}
	}
}

/* Where it fails it may be there all the same, and then X goes.  Nobody needs X
 * any more, so in memory it holds in any case; begin() says it again. */
static int
change_parent(struct merge *m)
{
	struct layer *y = m->d->top;
	const struct layer_meta *x = &m->parent->meta;
	struct layer_meta meta = y->meta;
	int r;

	meta.has_parent = x->has_parent;
	meta.parent = x->parent;
	memcpy(meta.parent_digest, x->parent_digest,
	       sizeof(meta.parent_digest));
	meta.parent_limit = 0;
	if (x->has_parent)
		meta.parent_limit = y->parent_limit < m->parent->parent_limit
					? y->parent_limit
					: m->parent->parent_limit;
	m->ended = true;
	r = layer_save_meta(y, &meta);
	y->meta = meta;
	y->parent_limit = meta.parent_limit;
	return r;
}

/* Nobody reads or writes what goes through X while it leaves the chain. */
static int
finish(struct merge *m)
{
	bool early = PLANTED(MERGED_EARLY), done;
	int r;

	r = early ? 0 : commit_wait(m->d);
	for (size_t i = 0; i < m->n_held; i++)
		pthread_rwlock_wrlock(&m->held[i]->barrier);
	if (r == 0 && !early)
		r = commit_wait(m->d);
	/* Its new parent may be sealed. */
	if (r == 0)
		r = lineage_mark(m->e->st, &m->y->lineage, UNSEALED);
	done = r == 0;
	if (done)
		r = change_parent(m);
	for (size_t i = 0; i < m->n_held; i++) {
		struct layer *x = NULL;

		if (done)
			x = chain_merged(m->held[i], m->d->top, &m->x->uuid);
		pthread_rwlock_unlock(&m->held[i]->barrier);
		if (x)
			chain_close(x);
	}
	return r;
}

static int
work(struct merge *m, uint64_t *at)
{
	uint64_t before = *at;
	int r = begin(m), e;

	if (r == 1)
		return 0;
	if (r == 0)
		r = merge_piece(m, at);
	if (r == 0)
		r = find_lost(m, before, at);
	if (r < 0)
		return r;
	e = r == 0 ? finish(m) : commit_wait(m->d);
	if (e == 0 && m->d->nameless)
		e = merge_count(m);
	return e < 0 ? e : r;
}

/* ---- which ---- */

static bool
same_pair(const struct engine *e, const struct layer_meta *x,
	  const struct layer_meta *y)
{
	return uuid_equal(&e->merge_x, &x->uuid) &&
	       uuid_equal(&e->merge_y, &y->uuid);
}

/* Somebody may have been killed at it, or failed: what he wrote is seen, and is
 * not durable perhaps.  Also a disk that is gone on with after a process died
 * (resume.c). */
static int
settle_pair(struct engine *e)
{
	int r = e->st->ops->sync_all(e->st);

	if (r < 0)
		engine_fail(e, r);
	return r;
}

/* Where it has come to; one that could not be begun does not make another one
 * begin again. */
static void
note_pair(struct engine *e, const struct layer_meta *x,
	  const struct layer_meta *y, uint64_t at)
{
	e->merge_x = x->uuid;
	e->merge_y = y->uuid;
	e->merge_at = at;
}

static int
merge_pair(struct engine *e, const struct verdict *v,
	   const struct layer_meta *x, const struct layer_meta *y)
{
	CLEANUP(merge_done) struct merge m = { .e = e, .v = v, .x = x, .y = y };
	bool same = same_pair(e, x, y);
	uint64_t at = same ? e->merge_at : 0;
	int r = same ? 0 : settle_pair(e);

	if (r == 0) {
		atomic_store(&e->merged, at);
		atomic_store(&e->merge_total,
			     (x->size + CHUNK_LEN - 1) / CHUNK_LEN);
		r = work(&m, &at);
	}
	if (r <= 0)
		atomic_store(&e->merge_total, 0);
	if (r < 0 && e->n_unmerged < UNMERGED_MAX)
		e->unmerged[e->n_unmerged++] = y->uuid;
	if (r > 0)
		note_pair(e, x, y, at);
	else if (same)
		memset(&e->merge_x, 0, sizeof(e->merge_x));
	if (r == 0)
		log_debug("a layer was merged into its child");
	/* Either way there is more to look at, and anew: by the old verdict
	 * another layer could be merged into the one that is dead by now, and
	 * its heirs are not known any more. */
	return r == 0 || m.ended ? 1 : r;
}

static int
merge_lineage(struct engine *e, const struct uuid *lineage)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(verdict_done) struct verdict v = { 0 };
	const struct layer_meta *x, *y;
	size_t at = 0;
	int r;

	r = catalog_judge(e->cat, lineage, &lock, &v);
	if (r < 0 || !v.alive)
		return r == -EBUSY || r == -EUCLEAN ? 0 : r;
	/* Heirs are known by their parent: it stays until what they have come
	 * into has been told from what goes. */
	r = layers_any_dead(e->cat->st, lineage, &v.live);
	if (r != 0)
		return r < 0 ? r : 0;
	while (layers_find_merge(&v.census, &v.live, lineage, &at, &x, &y) ==
	       0) {
		r = merge_pair(e, &v, x, y);
		/* Somebody has it, or has come first: the next one. */
		if (r != -EBUSY && r != -EAGAIN && r != -EROFS && r != -ENOENT)
			return r;
	}
	return 0;
}

int
engine_merge(struct engine *e, const atomic_bool *stop)
{
	CLEANUP(free_memp) struct uuid *marked = NULL;
	size_t n = 0;
	int r, error;

	r = error = catalog_marked(e->cat, &marked, &n);
	for (size_t i = 0; r <= 0 && i < n; i++) {
		if (merging_lock(e, stop) < 0)
			return error;
		r = merge_lineage(e, &marked[i]);
		merging_unlock(e);
		/* A damaged layer, a key that is disabled: the others can be
		 * merged all the same. */
		if (r < 0 && error == 0)
			error = r;
	}
	/* Others get at what was locked. */
	if (r > 0 && !e->manual)
		usleep(PIECE_MS * 1000);
	return r > 0 ? r : error;
}
