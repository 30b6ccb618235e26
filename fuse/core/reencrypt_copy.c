/*
 * reencrypt_copy.c - what lies below the bottom is copied into it, a piece at a
 * time (reencrypt.c).
 */
#include "merge_private.h"

#include <errno.h>

struct work {
	struct disk *w; /* has the bottom on top */
	struct layer *y;
	struct fill f;
	uint64_t *at;    /* group */
	uint64_t budget; /* bytes */
};

/* From group *${at} on, the next one that any layer below ${y} may have. */
static int
next_group(struct layer *y, struct scratch *s, uint64_t *at)
{
	uint64_t index = *at / CHUNK_GROUPS, best = UINT64_MAX;
	int r;

	if (*at % CHUNK_GROUPS != 0)
		return 0;
	r = chain_next(y, s, index, &best);
	if (best != index)
		*at = best == UINT64_MAX ? best : best * CHUNK_GROUPS;
	return r;
}

/* Whether anything of the group comes from below. */
static int
has_below(struct work *k, uint64_t group, bool *ret)
{
	uint8_t state[GROUP_BLOCKS], own[12];
	enum entry_state ours;
	int r;

	*ret = false;
	r = layer_entry(k->y, k->w->mover, group / CHUNK_GROUPS, &ours, own);
	if (r < 0 || ours == ENTRY_ZERO)
		return r;
	r = group_states(k->f.parent, k->w->mover, group, state);
	for (unsigned i = 0; r == 0 && i < GROUP_BLOCKS; i++)
		*ret |= state[i] == ENTRY_DATA &&
			group * GROUP_LEN + i * BLOCK_SIZE < k->f.limit;
	return r;
}

static int
copy_locked(struct work *k, uint64_t group)
{
	static const uint8_t none[DIGEST_LEN];
	uint64_t index = group / CHUNK_GROUPS;
	struct scratch *s = k->w->mover;
	struct chunk *c;
	bool below;
	int r;

	k->f.limit = k->y->parent_limit;
	r = has_below(k, group, &below);
	if (r < 0 || !below)
		return r;
	r = chunk_make(k->y, s, index, &c);
	if (r < 0)
		return r;
	/* As of a merge into what was sealed. */
	if (k->w->nameless)
		r = layer_set_digest(k->y, s, c, none);
	if (r == 0) {
		pthread_rwlock_rdlock(&c->lock);
		r = group_fill(c, s, group, &k->f);
		pthread_rwlock_unlock(&c->lock);
	}
	chunk_put(c);
	if (r == -EKEYEXPIRED)
		r = chunk_rewrite(k->y, s, index) ?: -ESTALE;
	return r;
}

/* 1: a snapshot has come in between. */
static int
copy_group(struct work *k, uint64_t group)
{
	int r = 1;

	if (cache_crowded(&k->w->e->cache, 2))
		return -EAGAIN;
	pthread_rwlock_rdlock(&k->w->barrier);
	if (k->w->top == k->y)
		r = copy_locked(k, group);
	pthread_rwlock_unlock(&k->w->barrier);
	return r;
}

static bool
goes_on(const struct work *k, int64_t since, unsigned n)
{
	if (k->w->e->merge_chunks > 0)
		return n < k->w->e->merge_chunks;
	return now_ms() < since + REENCRYPT_MS &&
	       (uint64_t)k->f.blocks * BLOCK_SIZE < k->budget;
}

/* The next place; *${ret}: there is one.  A snapshot or a new size may come
 * meanwhile, and change what the layer says of what lies below. */
static int
find_place(struct work *k, bool *ret)
{
	int r;

	pthread_rwlock_rdlock(&k->w->barrier);
	r = layer_parent(k->y, k->w->mover, &k->f.parent);
	if (r == 0)
		r = next_group(k->y, k->w->mover, k->at);
	*ret = *k->at != UINT64_MAX && *k->at * GROUP_LEN < k->y->parent_limit;
	pthread_rwlock_unlock(&k->w->barrier);
	return r;
}

/* 0: it has all; 1: there is more. */
static int
copy_piece(struct work *k)
{
	int64_t since = now_ms();
	unsigned n = 0;
	int r = 0;

	while (r == 0 && goes_on(k, since, n)) {
		bool more;

		r = find_place(k, &more);
		if (r < 0)
			break;
		if (!more)
			return 0;
		r = copy_group(k, *k->at);
		if (r == 0)
			(*k->at)++, n++;
		else if (r == -EAGAIN)
			r = commit_for_room(k->w);
		else if (r == -ESTALE)
			r = 0;
	}
	return r == 0 ? 1 : r;
}

int
reencrypt_copy(struct disk *d, struct disk *w, struct layer *y)
{
	struct work k = { .w = w, .y = y, .at = &d->re.at };
	uint64_t rate, bytes;
	int r;

	pthread_mutex_lock(&d->desc_lock);
	rate = d->desc.reencrypt_rate;
	pthread_mutex_unlock(&d->desc_lock);
	k.f.deep = true;
	k.budget = rate ? rate / 10 : UINT64_MAX;
	if (k.budget < GROUP_LEN)
		k.budget = GROUP_LEN;
	r = merge_buf_new(&k.f.buf);
	if (r == 0)
		r = copy_piece(&k);
	merge_buf_free(k.f.buf);
	bytes = (uint64_t)k.f.blocks * BLOCK_SIZE;
	if (rate)
		d->re.next_ms = now_ms() + (int64_t)(bytes * 1000 / rate);
	pthread_rwlock_rdlock(&w->barrier);
	atomic_store(&d->re.done, d->re.at == UINT64_MAX
				      ? y->parent_limit
				      : d->re.at * GROUP_LEN);
	pthread_rwlock_unlock(&w->barrier);
	return r;
}
