/*
 * checkpoint.c - older versions are known for what they are (format.md,
 * "Digests").
 *
 * A page's MAC says that it is authentic, not that it is the newest.  So at a
 * clean detach the descriptor gets the digest of all: of the list of the MACs
 * of the map's pages (digest.c); the map's entries have the digests of the
 * chunks.  That is the checkpoint, of the session that ends.  At the next
 * attach the list is held against the descriptor, a page of the map against
 * the list when it is loaded, a chunk against the map when it is opened.  What
 * a later session wrote is newer, and says so.
 *
 * While a disk is written to, its chunks change and their digests do not.  One
 * bit a chunk says so, and what has been quiet for a while is put right in the
 * background: the rest at detach, if that is not too much.  After an unclean
 * stop nobody knows which they are, so all chunks are looked at, in the
 * background, before there is a checkpoint again, or a clean end.  Until then
 * that of before stays: what changed since is of a later session, all else is
 * as it was.
 *
 * What does not fit is never made to fit: a chunk that is older than its digest
 * keeps that one.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>

/* A chunk that is written to is not looked at before it has been left alone for
 * so many times quiet_ms. */
#define QUIET_PART 10
/* Of each tick of the background thread, and of a detach. */
#define ROUND_MS 10
#define DETACH_MS 2000
#define TRIES 3
#define BUSY_MAX 64 /* chunks in use that a round comes across */

/* ---- which chunks ---- */

void
checkpoint_changed(struct layer *l, uint64_t index)
{
	struct changed *c = &l->changed;
	uint64_t word = index / 64, bit = 1ULL << (index % 64);
	uint64_t end = atomic_load(&c->end);

	if (!c->bits || word >= CHANGED_WORDS)
		return;
	if (!(atomic_fetch_or(&c->bits[word], bit) & bit))
		atomic_fetch_add(&c->n, 1);
	while (end <= word &&
	       !atomic_compare_exchange_weak(&c->end, &end, word + 1))
		;
}

/* The next one from ${index} on, no longer in the set; UINT64_MAX: none. */
static uint64_t
take_changed(struct layer *l, uint64_t index)
{
	struct changed *c = &l->changed;
	uint64_t word = index / 64, end = atomic_load(&c->end);

	for (; word < end; index = ++word * 64) {
		uint64_t w = atomic_load(&c->bits[word]) >> (index % 64);
		uint64_t bit;

		if (!w)
			continue;
		index += (unsigned)__builtin_ctzll(w);
		bit = 1ULL << (index % 64);
		if (atomic_fetch_and(&c->bits[word], ~bit) & bit)
			atomic_fetch_sub(&c->n, 1);
		return index;
	}
	return UINT64_MAX;
}

/* ---- the digest of a chunk ---- */

enum {
	NOT_NOW = 1, /* it is being changed */
	GO_ON = 2
};

/* Whether a group of the chunk is being changed, or was less than ${age_ms}
 * ago. */
static bool
is_busy(const struct chunk *c, int64_t age_ms)
{
	bool busy = false;

	for (unsigned g = 0; !busy && g < CHUNK_GROUPS; g++) {
		uint64_t group = c->index * CHUNK_GROUPS + g;
		struct page *p = page_peek(c->layer, PAGE_GROUP, group);

		if (!p)
			continue;
		busy = atomic_load(&p->dirty) || atomic_load(&p->inflight) ||
		       !atomic_load(&p->same) ||
		       (age_ms > 0 &&
			now_ms() - atomic_load(&p->touched) < age_ms);
		page_put(p);
	}
	return busy;
}

/* A group whose copies differ is loaded, and so settled; it is mirrored as any
 * other.  One that is in memory has been, and what was read of the file may be
 * of before that. */
static int
bring_to_rest(struct chunk *c, struct scratch *s, unsigned groups)
{
	int r = 0;

	for (unsigned g = 0; r >= 0 && g < CHUNK_GROUPS; g++) {
		uint64_t group = c->index * CHUNK_GROUPS + g;
		struct page *p;

		if (!(groups >> g & 1))
			continue;
		r = group_get(c, group, s, false, &p);
		if (r < 0)
			break;
		page_release(p);
		r = NOT_NOW;
	}
	return r;
}

/* NOT_NOW, also where it has died: then it is looked for again. */
static int
digest_of(struct chunk *c, struct scratch *s, int64_t age,
	  uint8_t ret[static DIGEST_LEN])
{
	struct chunk_look look;
	unsigned unread, groups;
	int r;

	if (c->dead)
		return NOT_NOW;
	if (is_busy(c, age))
		return NOT_NOW;
	r = chunk_pages(c, s, &unread);
	if (r == 0)
		r = chunk_look(s->run, c->keys + KEY_LEN, c->index, &look);
	if (r < 0)
		return r;
	/* What is left of a damaged one is served without. */
	if (look.bad)
		memset(look.digest, 0, sizeof(look.digest));
	memcpy(ret, look.digest, DIGEST_LEN);
	groups = look.differ & ~look.bad;
	/* Nor are two copies equal that cannot be read: later one may be, and
	 * be the older one. */
	if (!atomic_load(&c->layer->at_rest))
		groups |= unread;
	return groups ? bring_to_rest(c, s, groups) : r;
}

/* After an unclean stop, with nobody else at the chunk, which is at rest, or
 * not now. */
static int
count_chunk(struct layer *l, struct scratch *s, struct chunk *c)
{
	struct chunk_look look;
	unsigned unread;
	int r;

	if (!recount_needs(l, c->index))
		return 0;
	pthread_rwlock_wrlock(&c->lock);
	r = c->dead || is_busy(c, 0) ? NOT_NOW : chunk_pages(c, s, &unread);
	if (r == 0)
		r = chunk_look(s->run, c->keys + KEY_LEN, c->index, &look);
	if (r == 0 && !look.at_rest)
		r = NOT_NOW;
	if (r == 0)
		recount_chunk(l, c->index, look.blocks);
	pthread_rwlock_unlock(&c->lock);
	return r;
}

/* Put the digest of a chunk right.  NOT_NOW: later.  -EAGAIN: commit first. */
static int
refresh(struct layer *l, struct scratch *s, uint64_t index, int64_t age)
{
	uint8_t digest[DIGEST_LEN];
	enum entry_state state;
	struct chunk *c;
	int r;

	r = layer_lookup(l, s, index, &state, &c);
	/* It is not as it was: so it stays known. */
	if (r == -EBADMSG || r == -EUCLEAN)
		return 0;
	if (r < 0 || state != ENTRY_DATA)
		return r;
	pthread_rwlock_rdlock(&c->lock);
	r = digest_of(c, s, age, digest);
	pthread_rwlock_unlock(&c->lock);
	if (r == 0)
		r = count_chunk(l, s, c);
	/* If it was written to meanwhile, it is in the set again. */
	if (r == 0)
		r = layer_set_digest(l, s, c, digest);
	chunk_put(c);
	return r;
}

/* ---- what is frozen ---- */

struct layer *
checkpoint_known(struct disk *d, const struct uuid *layer)
{
	struct layer *found = NULL;

	pthread_mutex_lock(&d->layers_lock);
	for (unsigned i = 1; d->layers && i <= d->n_layers; i++) {
		struct layer *l = d->layers[i];

		if (l && uuid_equal(&l->ref.layer, layer) && l->tracked &&
		    !l->lost && l->changed.bits)
			found = l;
	}
	pthread_mutex_unlock(&d->layers_lock);
	return found;
}

int
checkpoint_next(struct layer *l, struct layer *known, struct scratch *s,
		uint64_t *at)
{
	if (!known)
		return layer_next(l, s, *at, at);
	*at = take_changed(known, *at);
	return 0;
}

int
checkpoint_chunk_digest(struct layer *l, struct scratch *s, uint64_t index,
			bool lacking)
{
	bool has = false;
	int r = lacking ? layer_has_digest(l, s, index, &has) : 0;

	if (r < 0 || has)
		return r;
	r = NOT_NOW;

	for (unsigned i = 0; r == NOT_NOW && i < TRIES; i++) {
		r = refresh(l, s, index, 0);
		if (r == -EAGAIN)
			r = commit_for_room(l->disk) ?: NOT_NOW;
		else if (r == NOT_NOW)
			quiet_round(l->disk, true);
	}
	return r == NOT_NOW ? -EIO : r;
}

/* ---- in the background ---- */

/* The next one of the set, once around. */
static int
refresh_next(struct layer *l, struct scratch *s, int64_t age)
{
	uint64_t index = take_changed(l, l->changed.at);
	int r;

	if (index == UINT64_MAX && l->changed.at > 0) {
		l->changed.at = 0;
		index = take_changed(l, 0);
	}
	if (index == UINT64_MAX)
		return 0;
	l->changed.at = index + 1;
	r = refresh(l, s, index, age);
	if (r != 0)
		checkpoint_changed(l, index);
	return r;
}

/* Those that are not in memory are settled by that; those that are have been.
 */
static int
load_groups(struct layer *l, struct scratch *s, uint64_t index)
{
	enum entry_state state;
	struct chunk *c;
	int r;

	r = layer_lookup(l, s, index, &state, &c);
	if (r < 0 || state != ENTRY_DATA)
		return r;
	pthread_rwlock_rdlock(&c->lock);
	for (unsigned g = 0; r == 0 && !c->dead && g < CHUNK_GROUPS; g++) {
		uint64_t group = index * CHUNK_GROUPS + g;
		struct page *p;

		r = group_get(c, group, s, false, &p);
		if (r == 0)
			page_release(p);
		/* Neither copy verifies: neither serves. */
		else if (r == -EBADMSG || r == -EUCLEAN)
			r = 0;
	}
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return r;
}

/* After an unclean stop: all of them, one after another. */
static int
walk_next(struct layer *l, struct scratch *s, int64_t age)
{
	uint64_t at;
	int r;

	r = layer_next(l, s, l->walk_at, &at);
	if (r < 0)
		return r;
	if (at == UINT64_MAX) {
		l->tracked = true;
		/* Each page of what is in use has been loaded at least. */
		if (!l->unproved)
			atomic_store(&l->at_rest, true);
		return 0;
	}
	r = refresh(l, s, at, age);
	if (r == NOT_NOW) {
		checkpoint_changed(l, at);
		r = load_groups(l, s, at);
		l->unproved |= r < 0;
		r = r < 0 ? r : NOT_NOW;
	}
	if (r >= 0)
		l->walk_at = at + 1;
	return r;
}

/* Whether there is to be a checkpoint of ${d} at its end. */
static bool
is_wanted(const struct disk *d, const struct layer *l)
{
	return !d->nameless && !d->rolled_back && !l->lost &&
	       !atomic_load(&d->failed);
}

bool
checkpoint_due(struct disk *d)
{
	const struct layer *l = atomic_load(&d->top);

	return l && is_wanted(d, l) &&
	       (!l->tracked || atomic_load(&l->changed.n) > 0);
}

/* All have been looked at, unless some still are to be. */
static bool
all_seen(struct layer *l)
{
	if (!l->tracked || atomic_load(&l->changed.n) > 0)
		return false;
	atomic_store(&l->at_rest, true);
	/* A page may have been dropped meanwhile that could not be mirrored. */
	if (atomic_load(&l->changed.n) > 0)
		atomic_store(&l->at_rest, false);
	recount_done(l);
	return true;
}

/* One chunk.  0: there is none, NOT_NOW: it is in use; 2: go on.  Where there
 * is none any more all have been counted. */
static int
step(struct disk *d, bool walk)
{
	int64_t age = (int64_t)d->e->quiet_ms * QUIET_PART;
	struct layer *l;
	int r = 0;

	pthread_rwlock_rdlock(&d->barrier);
	l = atomic_load(&d->top);
	if (!walk && atomic_load(&l->changed.n) > 0)
		r = refresh_next(l, d->bg, age) ?: GO_ON;
	else if (walk && !l->tracked)
		r = walk_next(l, d->bg, age) ?: GO_ON;
	all_seen(l);
	/* A medium that fails here and there. */
	if (r < 0 && r != -EAGAIN)
		l->lost = true;
	pthread_rwlock_unlock(&d->barrier);
	return r;
}

void
checkpoint_round(struct disk *d)
{
	int64_t until = now_ms() + ROUND_MS;
	unsigned busy = 0;
	bool walk = false;
	int r = GO_ON;

	while (r >= 0 && !d->stop && checkpoint_due(d) && now_ms() < until) {
		r = step(d, walk);
		if (r == NOT_NOW)
			busy++;
		if (r == 0 || busy == BUSY_MAX) {
			if (walk)
				break;
			walk = true;
			busy = 0;
		}
	}
	if (r == -EAGAIN)
		(void)!commit_for_room(d);
}

/* ---- at detach ---- */

/* All of the set, while there is time. */
static int
refresh_all(struct disk *d, struct layer *l, int64_t until)
{
	uint64_t index = 0;
	int r = 0;

	while (r >= 0 && (index = take_changed(l, index)) != UINT64_MAX) {
		r = refresh(l, d->bg, index, 0);
		if (r != 0)
			checkpoint_changed(l, index);
		if (r == -EAGAIN)
			r = commit_for_room(d);
		else
			index++;
		if (now_ms() > until)
			return NOT_NOW;
	}
	return r < 0 ? r : 0;
}

/* What is left of the walk, while there is time. */
static int
walk_rest(struct disk *d, struct layer *l, int64_t until)
{
	int r = 0;

	while (r >= 0 && !l->tracked) {
		if (now_ms() > until)
			return NOT_NOW;
		r = walk_next(l, d->bg, 0);
		if (r == -EAGAIN)
			r = commit_for_room(d);
	}
	return r < 0 ? r : 0;
}

int
checkpoint_refresh(struct disk *d)
{
	int64_t until = now_ms() + DETACH_MS;
	struct layer *l = d->top;
	int r;

	if (!is_wanted(d, l))
		return NOT_NOW;
	/* One that has a disk for a moment leaves that to who keeps it. */
	r = d->brief ? 0 : walk_rest(d, l, until);
	if (!l->tracked)
		return NOT_NOW;
	for (unsigned i = 0; r == 0 && i < TRIES; i++) {
		r = refresh_all(d, l, until);
		if (atomic_load(&l->changed.n) == 0)
			break;
		quiet_round(d, true);
	}
	return r == 0 && all_seen(l) ? 0 : NOT_NOW;
}

int
checkpoint_complete(struct layer *l, struct scratch *s)
{
	uint8_t mac[DIGEST_LEN];
	struct page *p;
	uint64_t n = 0;
	int r;

	for (;; n++) {
		r = layer_next_map(l, s, n, &n);
		if (r < 0 || n == UINT64_MAX)
			return r;
		if (digests_get(l->digests, PAGE_MAP, n, mac))
			continue;
		r = map_get(l, n, s, false, false, &p);
		if (r < 0)
			return r;
		page_release(p);
	}
}

int
checkpoint_save(struct layer *l, struct scratch *s, uint64_t session,
		uint8_t ret[static SHA256_LEN])
{
	struct store *st = l->disk->e->st;
	int r = checkpoint_complete(l, s);

	if (r == 0)
		r = digests_save(l->digests, st, &l->ref, l->map_key, session);
	if (r == 0)
		digests_sum(l->digests, ret);
	return r;
}

int
checkpoint_take(struct disk *d, struct descriptor *desc)
{
	int r = checkpoint_save(d->top, d->bg, d->session, desc->digest);

	if (r < 0)
		return r;
	desc->digest_session = d->session;
	desc->checkpointed = time(NULL);
	return 0;
}
