/*
 * catalog_free.c - what would come free if a name went.
 *
 * Layers that no other name reaches go, with all that they hold.  Of the first
 * one that stays, if then a single child alone needs it, what that child covers
 * comes free when it is merged into it (merge.c): the blocks that the child has
 * itself or has made zeros, and the pages of chunks of which the child has one,
 * too.
 *
 * It is counted by the maps and the pages of chunks, which can be read without
 * a key.  Nothing is locked for longer than a look at the descriptors, and
 * nothing is authenticated: no decision is made by it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "engine_private.h"

#define CHUNK_PAGES (2 * CHUNK_GROUPS * PAGE_LEN)

/* A layer that is looked through. */
struct look {
	struct store *st;
	const struct layer_meta *m;
	struct store_file *map;
	uint64_t n; /* map page in ${body} */
	bool good;
	union page_body body;
	struct names folder; /* of chunks, and which */
	uint64_t folder_at;
};

/* The states of the blocks of a chunk. */
struct blocks {
	uint8_t state[CHUNK_GROUPS][GROUP_BLOCKS];
	unsigned data;
};

struct count {
	struct store *st;
	uint64_t bytes;
	uint64_t left; /* chunks that may still be read */
	uint8_t *raw;  /* CHUNK_PAGES */
	struct blocks x, y;
};

static int
look_open(struct look *k, struct store *st, const struct layer_meta *m)
{
	const struct layer_ref ref = { m->lineage, m->uuid };
	char path[STORE_PATH_LEN];

	memset(k, 0, sizeof(*k));
	k->st = st;
	k->m = m;
	k->n = k->folder_at = UINT64_MAX;
	path_layer(&ref, "map", path);
	return st->ops->open(st, path, false, &k->map);
}

static void
look_close(struct look *k)
{
	store_close(k->map);
	names_done(&k->folder);
}

/* The newer one of two copies that are what they must be. */
static bool
choose(const uint8_t *a, const uint8_t *b, enum page_kind kind, uint64_t index,
       union page_body *ret)
{
	union page_body body[2];
	struct page_head h[2];
	bool good[2] = {
		page_decode_open(a, kind, index, &h[0], &body[0]) == 0,
		page_decode_open(b, kind, index, &h[1], &body[1]) == 0,
	};

	if (!good[0] && !good[1])
		return false;
	*ret = body[good[0] && (!good[1] || page_newer(&h[0], &h[1])) ? 0 : 1];
	return true;
}

static const struct entry *
entry_of(struct look *k, uint64_t index)
{
	uint64_t n = index / MAP_CHUNKS;
	uint8_t raw[2][PAGE_LEN];

	if (k->n != n) {
		k->n = n;
		k->good = true;
		for (unsigned i = 0; i < 2; i++)
			k->good &= k->st->ops->read(k->map, raw[i], PAGE_LEN,
						    MAP_OFFSET +
							page_offset(n, i)) == 0;
		k->good = k->good &&
			  choose(raw[0], raw[1], PAGE_MAP, n, &k->body);
	}
	return k->good ? &k->body.entry[index % MAP_CHUNKS] : NULL;
}

static enum entry_state
state_of(struct look *k, uint64_t index)
{
	const struct entry *e = entry_of(k, index);

	return e ? (enum entry_state)e->state : ENTRY_ABSENT;
}

/* Of a chunk that has another maker, the name that it has. */
static int
find_passed(struct look *k, uint64_t index, char path[static STORE_PATH_LEN])
{
	char *name = strrchr(path, '/') + 1, *end = name;
	size_t head = strlen("0000000-"), tail = strlen("-01234567.chunk");
	int r = 0;

	end[-1] = '\0';
	if (k->folder_at != index >> 12)
		r = names_list(k->st, path, &k->folder);
	end[-1] = '/';
	k->folder_at = index >> 12;
	for (size_t i = 0; r == 0 && i < k->folder.n; i++) {
		const char *v = k->folder.v[i];

		if (strlen(v) != strlen(name) || strncmp(v, name, head) != 0 ||
		    strcmp(v + strlen(v) - tail, name + strlen(name) - tail))
			continue;
		memcpy(name, v, strlen(v));
		return 0;
	}
	return r < 0 ? r : -ENOENT;
}

static int
open_chunk(struct look *k, uint64_t index, const uint8_t salt[static 12],
	   struct store_file **ret)
{
	char path[STORE_PATH_LEN];
	int r;

	path_chunk(&k->m->lineage, index, &k->m->uuid, salt, path);
	r = k->st->ops->open(k->st, path, false, ret);
	if (r == -ENOENT)
		r = find_passed(k, index, path);
	else
		return r;
	return r < 0 ? r : k->st->ops->open(k->st, path, false, ret);
}

/* Of a chunk that the map says is data.  What does not read has nothing. */
static int
read_blocks(struct count *c, struct look *k, uint64_t index, struct blocks *b)
{
	uint8_t *raw = c->raw;
	struct store_file *f = NULL;
	union page_body body;
	uint8_t salt[12];
	int r;

	if (c->left-- == 0)
		return -E2BIG;
	memset(b, 0, sizeof(*b));
	memcpy(salt, entry_of(k, index)->unique, sizeof(salt));
	r = open_chunk(k, index, salt, &f);
	if (r == 0)
		r = k->st->ops->read(f, raw, CHUNK_PAGES, PAGE_LEN);
	store_close(f);
	for (unsigned g = 0; r == 0 && g < CHUNK_GROUPS; g++) {
		if (!choose(raw + page_offset(g, 0), raw + page_offset(g, 1),
			    PAGE_GROUP, index * CHUNK_GROUPS + g, &body))
			continue;
		for (unsigned i = 0; i < GROUP_BLOCKS; i++) {
			b->state[g][i] = body.entry[i].state;
			b->data += body.entry[i].state == ENTRY_DATA;
		}
	}
	return err_is_shortage(r) ? r : 0;
}

/* ---- counting ---- */

/* As many as there may be by the length of the map: eight pages, and their
 * eight second copies, and so on. */
static uint64_t
chunks_of(struct look *k)
{
	uint64_t len;

	if (k->st->ops->size(k->map, &len) < 0 || len < MAP_OFFSET)
		return 0;
	return ((len - MAP_OFFSET) / (16 * PAGE_LEN) + 1) * 8 * MAP_CHUNKS;
}

/* A layer that goes.  Its own files are not counted, but its chunks. */
static int
count_dead(struct count *c, const struct layer_meta *m)
{
	struct look k;
	int r = look_open(&k, c->st, m);
	uint64_t n = r == 0 ? chunks_of(&k) : 0;

	for (uint64_t i = 0; r == 0 && i < n; i++) {
		if (state_of(&k, i) == ENTRY_ABSENT && !k.good)
			i |= MAP_CHUNKS - 1; /* nor has the whole page any */
		else if (state_of(&k, i) == ENTRY_DATA) {
			r = read_blocks(c, &k, i, &c->x);
			c->bytes +=
			    SLOTS_OFFSET + (uint64_t)c->x.data * BLOCK_SIZE;
		}
	}
	look_close(&k);
	return r == -ENOENT ? 0 : r;
}

/* Blocks that the child takes over into a chunk of its own. */
static unsigned
count_copied(const struct count *c, uint64_t index, uint64_t limit)
{
	const uint8_t *x = c->x.state[0], *y = c->y.state[0];
	unsigned n = 0;

	for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
		n += x[i] == ENTRY_DATA && y[i] == ENTRY_ABSENT &&
		     index * CHUNK_LEN + (uint64_t)i * BLOCK_SIZE < limit;
	return n;
}

static int
count_merged(struct count *c, struct look *x, struct look *y, uint64_t index)
{
	uint64_t limit = y->m->has_parent ? y->m->parent_limit : 0;
	enum entry_state ours = state_of(y, index);
	unsigned copied = 0;
	int r;

	if (ours == ENTRY_ABSENT && (index + 1) * CHUNK_LEN <= limit)
		return 0; /* it passes whole */
	r = read_blocks(c, x, index, &c->x);
	memset(&c->y, 0, sizeof(c->y));
	if (r == 0 && ours == ENTRY_DATA)
		r = read_blocks(c, y, index, &c->y);
	if (r == 0 && ours != ENTRY_ZERO)
		copied = count_copied(c, index, limit);
	c->bytes += (uint64_t)(c->x.data - copied) * BLOCK_SIZE;
	/* Its pages; unless the child gets a chunk for it. */
	if (copied == 0 || ours == ENTRY_DATA)
		c->bytes += SLOTS_OFFSET;
	return r;
}

static int
count_pair(struct count *c, const struct layer_meta *x,
	   const struct layer_meta *y)
{
	struct look kx, ky = { .map = NULL };
	int r = look_open(&kx, c->st, x);

	uint64_t n = r == 0 ? chunks_of(&kx) : 0;

	if (r == 0)
		r = look_open(&ky, c->st, y);
	for (uint64_t i = 0; r == 0 && i < n; i++) {
		if (state_of(&kx, i) == ENTRY_ABSENT && !kx.good)
			i |= MAP_CHUNKS - 1;
		else if (state_of(&kx, i) == ENTRY_DATA)
			r = count_merged(c, &kx, &ky, i);
	}
	look_close(&kx);
	look_close(&ky);
	return r == -ENOENT ? 0 : r;
}

/* ---- which ---- */

static bool
is_pair(const struct verdict *v, const struct layer_meta *x,
	const struct layer_meta *y)
{
	const struct layer_meta *a, *b;
	size_t at = 0;

	while (layers_find_merge(&v->census, &v->live, &x->lineage, &at, &a,
				 &b) == 0)
		if (uuid_equal(&a->uuid, &x->uuid) &&
		    uuid_equal(&b->uuid, &y->uuid))
			return true;
	return false;
}

/* The first layer of a chain that is left; before it, those that go. */
static int
count_chain(struct count *c, const struct verdict *with,
	    const struct verdict *without, const struct layer_ref *from)
{
	const struct layer_meta *m = layers_find(&with->live, &from->layer);
	const struct layer_meta *x, *y;
	size_t at = 0;
	int r = 0;

	while (r == 0 && m && !layers_find(&without->live, &m->uuid)) {
		r = count_dead(c, m);
		m = m->has_parent ? layers_find(&with->live, &m->parent.layer)
				  : NULL;
	}
	while (r == 0 && m &&
	       layers_find_merge(&without->census, &without->live, &m->lineage,
				 &at, &x, &y) == 0)
		if (uuid_equal(&x->uuid, &m->uuid) && !is_pair(with, x, y))
			r = count_pair(c, x, y);
	return r;
}

/* All names, and all but ${uuid}. */
static int
look_at_names(struct catalog *c, const struct uuid *uuid, struct verdict *with,
	      struct verdict *without)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	struct census *s = &without->census;
	int r;

	r = catalog_lock_names(c, &names);
	if (r == 0)
		r = census_take(c, &with->census);
	if (r == 0)
		r = census_take(c, s);
	if (r == 0 && s->bad)
		r = -EUCLEAN;
	for (size_t i = 0; r == 0 && i < s->n;) {
		if (!uuid_equal(&s->seen[i].uuid, uuid)) {
			i++;
			continue;
		}
		free(s->seen[i].name);
		s->seen[i] = s->seen[--s->n];
	}
	if (r == 0)
		r = layers_reached(c->st, &with->census, &with->live);
	if (r == 0)
		r = layers_reached(c->st, s, &without->live);
	return r;
}

int
catalog_would_free(struct catalog *c, const struct descriptor *d,
		   uint64_t max_chunks, uint64_t *ret)
{
	CLEANUP(verdict_done) struct verdict with = { 0 };
	CLEANUP(verdict_done) struct verdict without = { 0 };
	CLEANUP(free_memp) struct count *n = calloc(1, sizeof(*n));
	CLEANUP(free_memp) uint8_t *raw = malloc(CHUNK_PAGES);
	int r;

	if (!n || !raw)
		return -ENOMEM;
	n->st = c->st;
	n->raw = raw;
	n->left = max_chunks ? max_chunks : UINT64_MAX;
	r = look_at_names(c, &d->uuid, &with, &without);
	if (r == 0)
		r = count_chain(n, &with, &without, &d->layer);
	if (r == 0)
		*ret = n->bytes;
	return r;
}
