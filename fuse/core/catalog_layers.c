/*
 * catalog_layers.c - layers that no descriptor reaches any more.
 *
 * Which layers live is nowhere counted: it comes of the descriptors and of the
 * parents that layer.ini names.  That needs no key.  What is read here is not
 * authenticated, and need not be: who could forge it to have a layer removed
 * can remove that himself.  But what cannot be read makes us leave the lineage
 * as it is.
 *
 * A chunk belongs to the layer whose map names it; of a layer that was merged
 * into its child (merge.c) both do, and it is the child's.  So a dead layer's
 * chunks are those that either copy of its map names, but for what such a child
 * has.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/grow.h>
#include <sealdisk/log.h>

#include "catalog_private.h"
#include "planted.h"
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

const struct layer_meta *
layers_find(const struct layer_set *s, const struct uuid *layer)
{
	for (size_t i = 0; i < s->n; i++)
		if (uuid_equal(&s->v[i].uuid, layer))
			return &s->v[i];
	return NULL;
}

int
layers_put(struct layer_set *s, const struct layer_meta *m)
{
	struct layer_meta *v;

	v = grow(s->v, s->n, &s->cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	s->v = v;
	s->v[s->n++] = *m;
	return 0;
}

int
layer_peek(struct store *st, const struct layer_ref *ref,
	   struct layer_meta *ret)
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
	return r;
}

int
layers_add(struct layer_set *s, const struct uuid *layer)
{
	const struct layer_meta m = { .uuid = *layer };

	return layers_put(s, &m);
}

static int
refuse(const struct layer_ref *ref, int r)
{
	char path[STORE_PATH_LEN];

	path_layer(ref, "layer.ini", path);
	if (r != -ENOMEM)
		log_warn("%s: %s: nothing of this lineage is removed", path,
			 err_text(r));
	return r;
}

static int
load_meta(struct store *st, const struct layer_ref *ref, struct layer_meta *ret)
{
	int r = layer_peek(st, ref, ret);

	return r < 0 ? refuse(ref, r) : 0;
}

/* A layer and all below it, until one that is known already.  Without its MAC a
 * layer.ini may say that a layer is below itself, and who followed that would
 * come to no end. */
static int
walk(struct store *st, struct layer_set *s, struct layer_ref ref)
{
	const struct layer_meta *known;
	size_t first = s->n;
	struct layer_meta m;
	int r;

	while (!(known = layers_find(s, &ref.layer))) {
		r = load_meta(st, &ref, &m);
		if (r == 0)
			r = layers_put(s, &m);
		/* Somebody needs it. */
		if (r == -ENOENT)
			r = -EUCLEAN;
		if (r < 0 || !m.has_parent)
			return r;
		ref = m.parent;
	}
	return known < s->v + first ? 0 : refuse(&ref, -EUCLEAN);
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

/* ---- what can be merged ---- */

static bool
is_pinned(const struct census *census, const struct uuid *layer)
{
	for (size_t i = 0; i < census->n; i++)
		if (uuid_equal(&census->seen[i].layer.layer, layer))
			return true;
	return false;
}

/* The only child of a layer that needs no descriptor's sake to be there. */
static const struct layer_meta *
only_child(const struct census *census, const struct layer_set *live,
	   const struct layer_meta *x)
{
	const struct layer_meta *child = NULL;

	if (x->state == LAYER_OPEN || is_pinned(census, &x->uuid))
		return NULL;
	for (size_t i = 0; i < live->n; i++) {
		const struct layer_meta *m = &live->v[i];

		if (!m->has_parent || !uuid_equal(&m->parent.layer, &x->uuid))
			continue;
		if (child || !uuid_equal(&m->lineage, &x->lineage) ||
		    !uuid_equal(&m->key, &x->key))
			return NULL;
		child = m;
	}
	return child;
}

bool
layers_reach(const struct layer_set *live, const struct layer_ref *from,
	     const struct uuid *layer)
{
	const struct layer_meta *m = layers_find(live, &from->layer);

	while (m && !uuid_equal(&m->uuid, layer))
		m = m->has_parent ? layers_find(live, &m->parent.layer) : NULL;
	return m != NULL;
}

/*
 * What has passed so far is X's and Y's until all is done.  So nothing is
 * merged into X meanwhile, for Y has digests of what they share; and Y is not
 * merged on, or an heir could be without what X names.  Stores in which that
 * was begun there are: the upper one goes first.
 */
static bool
is_in_between(const struct layer_set *live, const struct layer_meta *x,
	      const struct layer_meta *y)
{
	const struct layer_meta *below =
	    x->has_parent ? layers_find(live, &x->parent.layer) : NULL;

	return y->state == LAYER_MERGING ||
	       (x->state != LAYER_MERGING && below &&
		below->state == LAYER_MERGING &&
		uuid_equal(&below->lineage, &x->lineage));
}

int
layers_find_merge(const struct census *census, const struct layer_set *live,
		  const struct uuid *lineage, size_t *at,
		  const struct layer_meta **ret_x,
		  const struct layer_meta **ret_y)
{
	for (; *at < live->n; (*at)++) {
		const struct layer_meta *x = &live->v[*at];

		if (!uuid_equal(&x->lineage, lineage))
			continue;
		*ret_y = only_child(census, live, x);
		if (*ret_y &&
		    (PLANTED(MERGED_PAST) || !is_in_between(live, x, *ret_y))) {
			*ret_x = x;
			(*at)++;
			return 0;
		}
	}
	return -ENOENT;
}

/* ---- a dead one's map ---- */

struct dead_map {
	struct store_file *f;
	union page_body body[2]; /* the copies of page ${n} */
	bool good[2];
	uint64_t n;
};

static bool
read_copy(struct dead_map *m, enum page_kind kind, uint64_t n, unsigned copy,
	  union page_body *ret)
{
	uint64_t base = kind == PAGE_MAP ? MAP_OFFSET : 0;
	uint8_t raw[PAGE_LEN];
	struct page_head h;

	return m->f->st->ops->read(m->f, raw, PAGE_LEN,
				   base + page_offset(n, copy)) == 0 &&
	       page_decode_open(raw, kind, n, &h, ret) == 0;
}

/* Both copies of a map page; one that is torn or is another page says nothing.
 */
static void
read_copies(struct dead_map *m, uint64_t n)
{
	for (unsigned i = 0; i < 2; i++)
		m->good[i] = read_copy(m, PAGE_MAP, n, i, &m->body[i]);
	m->n = n;
}

/* Whether there is such a map page, or may be. */
static bool
may_have_page(struct dead_map *m, uint64_t n)
{
	unsigned bit = n % ROOT_BITS, good = 0;
	union page_body root;
	bool has = false;

	for (unsigned i = 0; i < 2; i++)
		if (read_copy(m, PAGE_ROOT, n / ROOT_BITS, i, &root)) {
			good++;
			has |= root.bitmap[bit / 8] >> (bit % 8) & 1;
		}
	return has || good == 0;
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

bool
chunk_name_parse(const char *name, uint64_t *ret_index, uint8_t salt[static 4])
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

/* Whom a layer that was being merged may share chunks with: those with its own
 * parent, of which its child is one; and that parent, if it was being merged,
 * too.  Where nothing says any more what it was, all. */
struct heirs {
	struct dead_map *v;
	size_t n;
};

static void
heirs_done(struct heirs *h)
{
	for (size_t i = 0; i < h->n; i++)
		store_close(h->v[i].f);
	free(h->v);
}

/* ${dead} NULL: it is not known. */
static bool
is_heir(const struct layer_meta *m, const struct uuid *lineage,
	const struct layer_meta *dead)
{
	if (!uuid_equal(&m->lineage, lineage))
		return false;
	if (!dead)
		return true;
	if (!PLANTED(MERGED_PAST) && dead->has_parent &&
	    m->state == LAYER_MERGING &&
	    uuid_equal(&m->uuid, &dead->parent.layer))
		return true;
	return m->has_parent == dead->has_parent &&
	       (!m->has_parent ||
		uuid_equal(&m->parent.layer, &dead->parent.layer));
}

static int
find_heirs(struct store_file *map, const struct layer_ref *ref,
	   const struct layer_set *live, struct heirs *ret)
{
	struct store *st = map->st;
	struct layer_meta dead;
	char path[STORE_PATH_LEN], folder[STORE_PATH_LEN];
	uint64_t len = 0;
	bool known;
	int r;

	r = layer_peek(st, ref, &dead);
	known = r != -ENOENT;
	if (!known)
		r = st->ops->size(map, &len);
	if (r < 0)
		return refuse(ref, r);
	/* One that was being made has nothing, or what was received of it; or
	 * it has lost its layer.ini, and the spare copy may be older. */
	if (known ? dead.state != LAYER_MERGING : len <= MAP_OFFSET)
		return 0;
	ret->v = calloc(live->n + 1, sizeof(*ret->v));
	if (!ret->v)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < live->n; i++) {
		const struct layer_meta *m = &live->v[i];
		struct layer_ref heir = { m->lineage, m->uuid };

		if (!is_heir(m, &ref->lineage, known ? &dead : NULL))
			continue;
		path_layer(&heir, "map", path);
		r = st->ops->open(st, path, false, &ret->v[ret->n].f);
		if (r == 0)
			ret->v[ret->n++].n = UINT64_MAX;
		/* Its new parent may be there and not be durable yet. */
		path_folder(path, folder);
		if (r == 0)
			r = st->ops->sync_dir(st, folder);
	}
	return r;
}

static bool
has_passed(struct heirs *h, uint64_t index, const uint8_t salt[static 4])
{
	for (size_t i = 0; i < h->n; i++) {
		struct dead_map *m = &h->v[i];

		if (names_chunk(m, index, salt))
			return true;
		/* What a copy cannot say, it may have. */
		if ((!m->good[0] || !m->good[1]) && may_have_page(m, m->n))
			return true;
	}
	return false;
}

/* Those of one folder; that they are gone is durable then. */
static int
remove_chunks_in(struct store *st, const char *folder, struct dead_map *m,
		 struct heirs *h, unsigned *budget)
{
	CLEANUP(names_done) struct names n = { 0 };
	char path[STORE_PATH_LEN];
	uint64_t index;
	uint8_t salt[4];
	int r;

	r = names_list(st, folder, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		if (!chunk_name_parse(n.v[i], &index, salt) ||
		    !names_chunk(m, index, salt) || has_passed(h, index, salt))
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
	/* And what went before we were cut off. */
	return r < 0 ? r : st->ops->sync_dir(st, folder);
}

static int
remove_chunks(struct store *st, const struct layer_ref *ref,
	      const struct layer_set *live, unsigned *budget)
{
	CLEANUP(names_done) struct names n = { 0 };
	CLEANUP(heirs_done) struct heirs h = { 0 };
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
	r = find_heirs(m->f, ref, live, &h);
	path_lineage(&ref->lineage, "chunks", path);
	if (r == 0)
		r = names_list(st, path, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		if (!n.is_dir[i])
			continue;
		if (snprintf(folder, sizeof(folder), "%s/%s", path, n.v[i]) >=
		    (int)sizeof(folder))
			r = -ENAMETOOLONG;
		else
			r = remove_chunks_in(st, folder, m, &h, budget);
	}
	store_close(m->f);
	return r;
}

/* The map goes when what it names has gone, layer.ini after it, durably in this
 * order: so wherever this stops, it can go on. */
static int
remove_layer(struct store *st, const struct layer_ref *ref,
	     const struct layer_set *live, unsigned *budget)
{
	static const char *const files[] = { "todo", "digests", "map",
					     "layer.spare", "layer.ini" };
	char path[STORE_PATH_LEN], folder[STORE_PATH_LEN];
	int r;

	r = remove_chunks(st, ref, live, budget);
	for (size_t i = 0; r == 0 && i < sizeof(files) / sizeof(files[0]);
	     i++) {
		path_layer(ref, files[i], path);
		r = st->ops->remove(st, path);
		path_folder(path, folder);
		if (r == 0)
			r = st->ops->sync_dir(st, folder);
		if (r == -ENOENT)
			r = 0;
	}
	if (r == 0)
		r = st->ops->remove(st, folder);
	if (r == 0)
		log_debug("removed %s", folder);
	return r == -ENOENT ? 0 : r;
}

/* Calls ${fn} for each layer of a lineage that is not in ${live}, until one
 * does not return 0. */
static int
for_each_dead(struct store *st, const struct uuid *lineage,
	      const struct layer_set *live,
	      int (*fn)(struct store *st, const struct layer_ref *ref,
			const struct layer_set *live, unsigned *budget),
	      unsigned *budget)
{
	CLEANUP(names_done) struct names n = { 0 };
	struct layer_ref ref = { .lineage = *lineage };
	char path[STORE_PATH_LEN];
	int r;

	path_lineage(lineage, "layers", path);
	r = names_list(st, path, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++)
		if (n.is_dir[i] && uuid_parse(n.v[i], &ref.layer) == 0 &&
		    !layers_find(live, &ref.layer))
			r = fn(st, &ref, live, budget);
	return r;
}

int
layers_remove_dead(struct store *st, const struct uuid *lineage,
		   const struct layer_set *live, unsigned *budget)
{
	char path[STORE_PATH_LEN];
	int r;

	r = for_each_dead(st, lineage, live, remove_layer, budget);
	/* Before the mark goes. */
	path_lineage(lineage, "layers", path);
	return r != 0 ? r : st->ops->sync_dir(st, path);
}

static int
stop_at_first(struct store *st, const struct layer_ref *ref,
	      const struct layer_set *live, unsigned *budget)
{
	(void)st;
	(void)ref;
	(void)live;
	(void)budget;
	return 1;
}

int
layers_any_dead(struct store *st, const struct uuid *lineage,
		const struct layer_set *live)
{
	return for_each_dead(st, lineage, live, stop_at_first, NULL);
}

static int
count_one(struct store *st, const struct layer_ref *ref,
	  const struct layer_set *live, unsigned *count)
{
	(void)st;
	(void)ref;
	(void)live;
	(*count)++;
	return 0;
}

int
layers_count_dead(struct store *st, const struct uuid *lineage,
		  const struct layer_set *live, unsigned *ret)
{
	*ret = 0;
	return for_each_dead(st, lineage, live, count_one, ret);
}
