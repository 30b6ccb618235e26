/*
 * catalog_layers.c - layers that no descriptor reaches any more.
 *
 * Which layers live is nowhere counted: it comes of the descriptors and of the
 * parents that layer.ini names.  That needs no key.  What is read here is not
 * authenticated, and need not be: who could forge it to have a layer removed
 * can remove that himself.  But what cannot be read makes us leave the lineage
 * as it is.
 *
 * A chunk belongs to the layer whose map names it.  One that has passed to a
 * child is named by neither copy of its old layer's page any more, when that
 * layer goes: so a dead layer's chunks are those that either copy names.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "engine_private.h"

void
catalog_drop_layer(struct catalog *c, const struct layer_ref *l)
{
	/* Unmarked it stays until the next removal in this lineage. */
	(void)!pending_mark(c->st, &l->lineage);
}

/* ---- which live ---- */

void
layers_done(struct layer_set *s)
{
	free(s->v);
	*s = (struct layer_set){ 0 };
}

static bool
has(const struct layer_set *s, const struct uuid *layer)
{
	for (size_t i = 0; i < s->n; i++)
		if (uuid_equal(&s->v[i], layer))
			return true;
	return false;
}

static int
add(struct layer_set *s, const struct uuid *layer)
{
	size_t cap = s->cap ? 2 * s->cap : 64;
	struct uuid *v;

	if (s->n == s->cap) {
		v = reallocarray(s->v, cap, sizeof(*v));
		if (!v)
			return -ENOMEM;
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n++] = *layer;
	return 0;
}

static int
load_meta(struct store *st, const struct layer_ref *ref, struct layer_meta *ret)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	path_layer(ref, "layer.ini", path);
	r = st->ops->load(st, path, META_MAX, &text, &len);
	if (r == 0)
		r = layer_meta_peek(text, len, ret);
	if (r == 0 && (!uuid_equal(&ret->uuid, &ref->layer) ||
		       !uuid_equal(&ret->lineage, &ref->lineage)))
		r = -EUCLEAN;
	if (r < 0 && r != -ENOMEM)
		log_warn("%s: %s: nothing of this lineage is removed", path,
			 err_text(r));
	return r;
}

/* A layer and all below it, until one that is known already. */
static int
walk(struct store *st, struct layer_set *s, struct layer_ref ref)
{
	struct layer_meta m;
	int r = 0;

	while (r == 0 && !has(s, &ref.layer)) {
		r = load_meta(st, &ref, &m);
		if (r == 0)
			r = add(s, &ref.layer);
		if (r < 0 || !m.has_parent)
			break;
		ref = m.parent;
	}
	return r;
}

int
layers_reached(struct store *st, const struct census *census,
	       struct layer_set *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < census->n; i++)
		r = walk(st, ret, census->seen[i].layer);
	return r;
}

/* ---- a dead one's map ---- */

struct dead_map {
	struct store_file *f;
	union page_body body[2]; /* the copies of page ${n} */
	bool good[2];
	uint64_t n;
};

/* Both copies of a map page; one that is torn or is another page says nothing.
 */
static void
read_copies(struct dead_map *m, uint64_t n)
{
	uint8_t raw[PAGE_LEN];
	struct page_head h;

	for (unsigned i = 0; i < 2; i++)
		m->good[i] =
		    m->f->st->ops->read(m->f, raw, PAGE_LEN,
					MAP_OFFSET + page_offset(n, i)) == 0 &&
		    page_decode_open(raw, PAGE_MAP, n, &h, &m->body[i]) == 0;
	m->n = n;
}

static bool
names_chunk(struct dead_map *m, uint64_t index, const uint8_t salt[static 4])
{
	uint64_t n = index / MAP_CHUNKS;

	if (m->n != n)
		read_copies(m, n);
	for (unsigned i = 0; i < 2; i++) {
		const struct entry *e = &m->body[i].entry[index % MAP_CHUNKS];

		if (m->good[i] && e->state == ENTRY_DATA &&
		    memcmp(e->unique, salt, 4) == 0)
			return true;
	}
	return false;
}

/* IIIIIII-LLLLLLLL-SSSSSSSS.chunk */
static bool
parse_chunk(const char *name, uint64_t *ret_index, uint8_t salt[static 4])
{
	unsigned long long index;
	char by[9], s[9];
	int end = 0;

	if (strlen(name) != 31 ||
	    sscanf(name, "%7llx-%8[0-9a-f]-%8[0-9a-f].chunk%n", &index, by, s,
		   &end) != 3 ||
	    end != 31 || hex_decode(s, salt, 4) < 0)
		return false;
	*ret_index = index;
	return true;
}

/* ---- removing ---- */

static int
remove_chunks_in(struct store *st, const char *folder, struct dead_map *m,
		 unsigned *budget)
{
	CLEANUP(names_done) struct names n = { 0 };
	char path[STORE_PATH_LEN];
	uint64_t index;
	uint8_t salt[4];
	int r;

	r = names_list(st, folder, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		if (!parse_chunk(n.v[i], &index, salt) ||
		    !names_chunk(m, index, salt))
			continue;
		if (*budget == 0)
			return 1;
		if (snprintf(path, sizeof(path), "%s/%s", folder, n.v[i]) >=
		    (int)sizeof(path))
			return -ENAMETOOLONG;
		r = st->ops->remove(st, path);
		if (r == -ENOENT)
			r = 0;
		(*budget)--;
	}
	return r;
}

static int
remove_chunks(struct store *st, const struct layer_ref *ref, unsigned *budget)
{
	CLEANUP(names_done) struct names n = { 0 };
	CLEANUP(free_memp) struct dead_map *m = calloc(1, sizeof(*m));
	char path[STORE_PATH_LEN], folder[STORE_PATH_LEN];
	int r;

	if (!m)
		return -ENOMEM;
	path_layer(ref, "map", path);
	r = st->ops->open(st, path, false, &m->f);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	m->n = UINT64_MAX;
	path_lineage(&ref->lineage, "chunks", path);
	r = names_list(st, path, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		if (!n.is_dir[i])
			continue;
		if (snprintf(folder, sizeof(folder), "%s/%s", path, n.v[i]) >=
		    (int)sizeof(folder))
			r = -ENAMETOOLONG;
		else
			r = remove_chunks_in(st, folder, m, budget);
	}
	store_close(m->f);
	return r;
}

/* The map goes when what it names has gone, layer.ini after it, durably in this
 * order: so wherever this stops, it can go on. */
static int
remove_layer(struct store *st, const struct layer_ref *ref, unsigned *budget)
{
	static const char *const files[] = { "todo", "map", "layer.ini" };
	char path[STORE_PATH_LEN], folder[STORE_PATH_LEN];
	int r;

	r = remove_chunks(st, ref, budget);
	if (r != 0)
		return r;
	path_lineage(&ref->lineage, "chunks", path);
	r = st->ops->sync_all(st);
	for (size_t i = 0; r == 0 && i < 3; i++) {
		path_layer(ref, files[i], path);
		r = st->ops->remove(st, path);
		if (r == -ENOENT)
			r = 0;
	}
	path_folder(path, folder);
	if (r == 0)
		r = st->ops->remove(st, folder);
	if (r == 0)
		log_debug("removed %s", folder);
	return r == -ENOENT ? 0 : r;
}

int
layers_remove_dead(struct store *st, const struct uuid *lineage,
		   const struct layer_set *live, unsigned *budget)
{
	CLEANUP(names_done) struct names n = { 0 };
	struct layer_ref ref = { .lineage = *lineage };
	char path[STORE_PATH_LEN];
	int r;

	path_lineage(lineage, "layers", path);
	r = names_list(st, path, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++)
		if (n.is_dir[i] && uuid_parse(n.v[i], &ref.layer) == 0 &&
		    !has(live, &ref.layer))
			r = remove_layer(st, &ref, budget);
	return r;
}
