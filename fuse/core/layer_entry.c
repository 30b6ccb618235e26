/*
 * layer_entry.c - what the map of a layer says of a chunk, asked and changed
 * (layer.c).
 */
#include "kept_private.h"

#include <errno.h>
#include <string.h>

/* The map says DATA: a chunk object for it.  The map page is locked. */
static int
chunk_of_entry(struct layer *l, struct scratch *s, uint64_t index,
	       const struct entry *e, struct chunk **ret)
{
	struct chunk *c;
	int r;

	r = chunk_alloc(l, index, &c);
	if (r < 0)
		return r;
	memcpy(c->salt, e->unique, sizeof(c->salt));
	c->creator = l->ref.layer;
	pthread_rwlock_rdlock(&c->lock);
	r = chunk_begin(c, s);
	if (r == 0)
		r = checkpoint_chunk(c, s, e);
	pthread_rwlock_unlock(&c->lock);
	if (r < 0)
		chunk_put(c);
	else
		*ret = chunk_insert(c);
	return r;
}

int
layer_lookup(struct layer *l, struct scratch *s, uint64_t index,
	     enum entry_state *ret_state, struct chunk **ret)
{
	struct page *p;
	const struct entry *e;
	int r;

	*ret = chunk_peek(l, index);
	*ret_state = *ret ? ENTRY_DATA : ENTRY_ABSENT;
	if (*ret)
		return 0;
	r = map_get(l, index / MAP_CHUNKS, s, false, false, &p);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	e = &p->body.entry[index % MAP_CHUNKS];
	*ret_state = e->state;
	if (e->state == ENTRY_DATA)
		r = chunk_of_entry(l, s, index, e, ret);
	page_release(p);
	return r;
}

int
layer_entry(struct layer *l, struct scratch *s, uint64_t index,
	    enum entry_state *ret_state, uint8_t ret_salt[static 12])
{
	const struct entry *e;
	struct page *p;
	int r;

	*ret_state = ENTRY_ABSENT;
	r = map_get(l, index / MAP_CHUNKS, s, false, false, &p);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	e = &p->body.entry[index % MAP_CHUNKS];
	*ret_state = e->state;
	memcpy(ret_salt, e->unique, 12);
	page_release(p);
	return 0;
}

static void
root_set(struct page *root, uint64_t n)
{
	unsigned bit = n % ROOT_BITS;
	uint8_t mask = (uint8_t)(1u << (bit % 8));

	pthread_rwlock_wrlock(&root->lock);
	if (!(root->body.bitmap[bit / 8] & mask)) {
		root->body.bitmap[bit / 8] |= mask;
		page_dirty(root, 0);
	}
	pthread_rwlock_unlock(&root->lock);
}

int
layer_set(struct layer *l, struct scratch *s, uint64_t index,
	  enum entry_state state, const uint8_t *salt, struct chunk *c)
{
	struct page *p, *root;
	struct entry *e;
	int r;

	r = root_get(l, index / MAP_CHUNKS / ROOT_BITS, s, &root);
	if (r == 0)
		r = map_get(l, index / MAP_CHUNKS, s, true, true, &p);
	if (r < 0)
		return r;
	e = &p->body.entry[index % MAP_CHUNKS];
	memset(e, 0, sizeof(*e));
	e->state = (uint8_t)state;
	if (state == ENTRY_DATA) {
		checkpoint_changed(l, index);
		memcpy(e->unique, salt, sizeof(e->unique));
		/* Its maker holds a reference and the making lock, so nobody
		 * can have put another there. */
		if (c)
			(void)chunk_insert(c);
	}
	/* First the page, then the root that names it: a commit that takes
	 * the root's image takes this page's too. */
	page_dirty(p, 0);
	if (p->fresh)
		root_set(root, p->index);
	/* And only then the cell: a commit whose cut is behind it has both. */
	kept_map(l, index, e);
	page_release(p);
	return 0;
}

int
layer_has_digest(struct layer *l, struct scratch *s, uint64_t index, bool *ret)
{
	static const uint8_t none[DIGEST_LEN];
	const struct entry *e;
	struct page *p;
	int r;

	*ret = true;
	r = map_get(l, index / MAP_CHUNKS, s, false, false, &p);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	e = &p->body.entry[index % MAP_CHUNKS];
	*ret = e->state != ENTRY_DATA ||
	       memcmp(e->digest, none, sizeof(none)) != 0;
	page_release(p);
	return 0;
}

int
layer_set_digest(struct layer *l, struct scratch *s, const struct chunk *c,
		 const uint8_t digest[static DIGEST_LEN])
{
	struct page *p;
	struct entry *e;
	int r;

	r = map_get(l, c->index / MAP_CHUNKS, s, true, false, &p);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	e = &p->body.entry[c->index % MAP_CHUNKS];
	if (e->state == ENTRY_DATA &&
	    memcmp(e->unique, c->salt, sizeof(e->unique)) == 0 &&
	    memcmp(e->digest, digest, DIGEST_LEN) != 0) {
		memcpy(e->digest, digest, DIGEST_LEN);
		page_dirty(p, 0);
	}
	page_release(p);
	return 0;
}

int
layer_next_map(struct layer *l, struct scratch *s, uint64_t n, uint64_t *ret)
{
	uint64_t end = (uint64_t)ROOTS * ROOT_BITS;
	int r = 0;

	*ret = UINT64_MAX;
	while (r == 0 && n < end && *ret == UINT64_MAX) {
		struct page *root;
		unsigned bit = n % ROOT_BITS;

		r = root_get(l, n / ROOT_BITS, s, &root);
		if (r < 0)
			break;
		pthread_rwlock_rdlock(&root->lock);
		for (; bit < ROOT_BITS && *ret == UINT64_MAX; bit++)
			if (!root->body.bitmap[bit / 8])
				bit |= 7;
			else if (root->body.bitmap[bit / 8] >> (bit % 8) & 1)
				*ret = n / ROOT_BITS * ROOT_BITS + bit;
		pthread_rwlock_unlock(&root->lock);
		n = (n / ROOT_BITS + 1) * ROOT_BITS;
	}
	return r;
}

/* The first chunk from ${index} on, in its map page, that is not absent. */
static int
next_in_map(struct layer *l, struct scratch *s, uint64_t index, uint64_t *ret)
{
	uint64_t n = index / MAP_CHUNKS;
	struct page *p;
	int r;

	*ret = UINT64_MAX;
	r = map_get(l, n, s, false, false, &p);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (; *ret == UINT64_MAX && index / MAP_CHUNKS == n; index++)
		if (p->body.entry[index % MAP_CHUNKS].state)
			*ret = index;
	page_release(p);
	return 0;
}

int
layer_next(struct layer *l, struct scratch *s, uint64_t index, uint64_t *ret)
{
	int r = 0;

	*ret = UINT64_MAX;
	while (r == 0 && *ret == UINT64_MAX) {
		uint64_t n;

		r = layer_next_map(l, s, index / MAP_CHUNKS, &n);
		if (r < 0 || n == UINT64_MAX)
			break;
		if (n > index / MAP_CHUNKS)
			index = n * MAP_CHUNKS;
		r = next_in_map(l, s, index, ret);
		index = (n + 1) * MAP_CHUNKS;
	}
	return r;
}

int
layer_parent_has(struct layer *l, struct scratch *s, uint64_t index, bool *ret)
{
	uint64_t limit = l->parent_limit;
	int r = 0;

	*ret = false;
	while (l->meta.has_parent && !*ret && index * CHUNK_LEN < limit) {
		enum entry_state state;
		uint8_t salt[12];

		r = layer_parent(l, s, &l);
		if (r == 0)
			r = layer_entry(l, s, index, &state, salt);
		if (r < 0)
			return r;
		/* Zeros of one that is being merged: it goes, and then they are
		 * to be said above it, or what is below comes back. */
		*ret = state == ENTRY_DATA ||
		       (state == ENTRY_ZERO && l->meta.state == LAYER_MERGING);
		if (state == ENTRY_ZERO)
			break;
		if (l->parent_limit < limit)
			limit = l->parent_limit;
	}
	return 0;
}
