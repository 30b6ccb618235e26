/*
 * chunk_end.c - how a chunk ends: discarded whole, or written anew under
 * another salt before too many blocks were sealed under its key.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

/* With c->lock held exclusively, and the map no longer naming it.  ${count}:
 * its blocks are gone, too. */
static void
chunk_die(struct chunk *c, bool count)
{
	struct disk *d = c->layer->disk;
	bool known = !recount_needs(c->layer, c->index);

	/* Cached pages go by the group's number, which the next chunk in this
	 * place will use.  Those that are dirty stay with the commit. */
	for (unsigned g = 0; g < CHUNK_GROUPS; g++) {
		uint64_t group = c->index * CHUNK_GROUPS + g;
		struct page *p = page_peek(c->layer, PAGE_GROUP, group);

		if (!p) {
			c->uncounted |=
			    (uint8_t)((unsigned)(count && known) << g);
			continue;
		}
		pthread_rwlock_rdlock(&p->lock);
		if (count)
			blocks_changed(c->layer, c->index,
				       -(int64_t)slots_count(&p->used));
		pthread_rwlock_unlock(&p->lock);
		page_unhash(p);
		page_put(p);
	}
	if (count)
		recount_known(c->layer, c->index);
	chunk_note(c);
	pthread_mutex_lock(&d->mutex);
	c->dead = true;
	c->dead_seq = atomic_load(&d->seq);
	chunk_ref(c);
	link_append(&d->dead, &c->dead_link);
	pthread_mutex_unlock(&d->mutex);
	chunk_unhash(c);
}

/*
 * A discard can span thousands of chunks, so one that is not in use is not even
 * opened: an object that was never in the table is all that its burial needs.
 */
static int
discard_data(struct layer *l, struct scratch *s, uint64_t index,
	     enum entry_state want, const uint8_t *salt)
{
	struct chunk *used, *unused;
	int r;

	r = chunk_alloc(l, index, &unused);
	if (r < 0)
		return r;
	memcpy(unused->salt, salt, sizeof(unused->salt));
	unused->creator = l->ref.layer;
	unused->cipher = 0;
	used = chunk_peek(l, index);
	/* Who is writing to it finishes first. */
	if (used)
		pthread_rwlock_wrlock(&used->lock);
	r = layer_set(l, s, index, want, NULL, NULL);
	if (r == 0 && !used) {
		/* Somebody may have found it until just now. */
		used = chunk_peek(l, index);
		if (used)
			pthread_rwlock_wrlock(&used->lock);
	}
	if (r == 0)
		chunk_die(used ? used : unused, true);
	if (used) {
		pthread_rwlock_unlock(&used->lock);
		chunk_put(used);
	}
	chunk_put(unused);
	return r;
}

static int
discard_locked(struct layer *l, struct scratch *s, uint64_t index,
	       enum entry_state want)
{
	enum entry_state state;
	uint8_t salt[12];
	int r;

	r = layer_entry(l, s, index, &state, salt);
	if (r < 0 || state == want)
		return r;
	if (state != ENTRY_DATA)
		return layer_set(l, s, index, want, NULL, NULL);
	return discard_data(l, s, index, want, salt);
}

int
chunk_discard(struct layer *l, struct scratch *s, uint64_t index,
	      enum entry_state state)
{
	pthread_mutex_t *m = &l->creating[index % 64];
	int r;

	pthread_mutex_lock(m);
	r = discard_locked(l, s, index, state);
	pthread_mutex_unlock(m);
	return r;
}

unsigned
chunk_count(struct chunk *c, struct scratch *s, unsigned mask)
{
	struct store_file *f;
	unsigned n = 0;

	if (c->cipher == 0 && chunk_begin(c, s) < 0)
		return 0;
	if (chunk_file(c, &f) < 0)
		return 0;
	for (unsigned g = 0; g < CHUNK_GROUPS; g++) {
		struct page_head h[2];
		union page_body b[2];
		bool ok[2];
		unsigned w;

		if (!(mask >> g & 1))
			continue;
		for (unsigned i = 0; i < 2; i++)
			ok[i] =
			    f->st->ops->read(f, s->temp, PAGE_LEN,
					     SUPER_LEN + page_offset(g, i)) ==
				0 &&
			    page_decode(s->temp, c->keys + KEY_LEN, PAGE_GROUP,
					c->index * CHUNK_GROUPS + g, &h[i],
					&b[i]) == 0;
		if (!ok[0] && !ok[1])
			continue;
		w = !ok[0] || (ok[1] && page_newer(&h[1], &h[0]));
		for (unsigned i = 0; i < GROUP_BLOCKS; i++)
			n += b[w].entry[i].state == ENTRY_DATA;
	}
	return n;
}

/* ---- under another salt ---- */

/*
 * Block by block into the new chunk, by the ordinary ways of reading and
 * sealing: this happens once in 2^32 writes to the same 4 MiB.  ${from} is held
 * exclusively, ${to} is known to nobody else.
 */
static int
copy_block(struct chunk *from, struct chunk *to, struct scratch *s,
	   struct page *p, struct page *q, unsigned i)
{
	unsigned bno = (unsigned)(p->index % CHUNK_GROUPS) * GROUP_BLOCKS + i;
	const struct entry *e = &p->body.entry[i];
	struct entry *n = &q->body.entry[i];
	struct store_file *f, *g;
	struct nonce nonce;
	int r;

	if (e->state != ENTRY_DATA) {
		*n = *e;
		return 0;
	}
	r = chunk_file(from, &f);
	if (r == 0)
		r = chunk_file(to, &g);
	if (r == 0)
		r = f->st->ops->read(f, s->block, BLOCK_SIZE,
				     slot_offset(p->index, e->slot));
	if (r == 0)
		r = block_key(s, from);
	if (r == 0)
		r = block_open(s, from, bno, e, s->block, s->block);
	if (r == 0)
		r = nonce_draw(&nonce);
	if (r == 0)
		r = block_key(s, to);
	if (r < 0)
		return r;
	n->state = ENTRY_DATA;
	n->slot = (uint8_t)i;
	r = block_seal(s, to, bno, &nonce, 0, s->block, s->run, n);
	if (r == 0)
		r = g->st->ops->write(g, s->run, BLOCK_SIZE,
				      slot_offset(q->index, i));
	slots_add(&q->used, i);
	slots_add(&q->space, i);
	return r;
}

/* No map names the file yet, so both copies can be written at once. */
static int
write_both(struct page *q)
{
	struct page_head h = {
		PAGE_GROUP,       q->index,         1,
		q->disk->session, q->chunk->cipher, slots_count(&q->used)
	};
	uint8_t raw[PAGE_LEN];
	int r;

	r = page_encode(&h, &q->body, q->chunk->keys + KEY_LEN, raw);
	if (r == 0)
		r = page_write_copy(q, 0, raw, false);
	if (r == 0)
		r = page_write_copy(q, 1, raw, false);
	return r;
}

static int
copy_group(struct chunk *from, struct chunk *to, struct scratch *s,
	   uint64_t group)
{
	struct page *p;
	struct page *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	r = group_get(from, group, s, false, &p);
	if (r < 0) {
		free(q);
		return r;
	}
	q->disk = from->layer->disk;
	q->layer = from->layer;
	q->kind = PAGE_GROUP;
	q->index = group;
	q->chunk = to;
	for (unsigned i = 0; r == 0 && i < GROUP_BLOCKS; i++)
		r = copy_block(from, to, s, p, q, i);
	page_release(p);
	if (r == 0)
		r = write_both(q);
	free(q);
	return r;
}

static int
copy_chunk(struct chunk *from, struct chunk *to, struct scratch *s)
{
	int r = 0;

	for (unsigned g = 0; r == 0 && g < CHUNK_GROUPS; g++)
		r = copy_group(from, to, s, from->index * CHUNK_GROUPS + g);
	return r;
}

/* ${n} comes in the place of ${c}, which is held exclusively. */
static int
replace_chunk(struct layer *l, struct scratch *s, struct chunk *c,
	      struct chunk *n)
{
	int r;

	/* Held, so that its file stays open while it is written. */
	pthread_rwlock_rdlock(&n->lock);
	r = copy_chunk(c, n, s);
	if (r == 0) {
		/* A commit may have synced it half copied: once more, before
		 * a map names it. */
		chunk_touch(n);
		r = layer_set(l, s, c->index, ENTRY_DATA, n->salt, NULL);
	}
	pthread_rwlock_unlock(&n->lock);
	if (r < 0) {
		chunk_abandon(n);
	} else {
		chunk_die(c, false);
		n = chunk_insert(n);
	}
	chunk_put(n);
	return r;
}

static int
rewrite_locked(struct layer *l, struct scratch *s, uint64_t index)
{
	enum entry_state state;
	struct chunk *c, *n;
	int r;

	r = layer_lookup(l, s, index, &state, &c);
	if (r < 0 || state != ENTRY_DATA)
		return r;
	pthread_rwlock_wrlock(&c->lock);
	r = chunk_create(l, s, index, ENTRY_ABSENT, &n);
	if (r == 0)
		r = replace_chunk(l, s, c, n);
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return r;
}

int
chunk_rewrite(struct layer *l, struct scratch *s, uint64_t index)
{
	pthread_mutex_t *m = &l->creating[index % 64];
	int r;

	pthread_mutex_lock(m);
	r = rewrite_locked(l, s, index);
	pthread_mutex_unlock(m);
	return r;
}
