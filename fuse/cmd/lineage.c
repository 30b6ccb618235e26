/*
 * lineage.c - what comes of what.
 *
 * A snapshot hangs on its disk, an image on the snapshot or disk that it was
 * made of, a clone on the snapshot, image or disk that it began with.  Of the
 * last two nobody keeps a record, and none is needed: the chain of their layers
 * says it.  Going down from a disk's layer, the first one that bears a name
 * which is not of the disk's own making is where it comes from, or else the
 * first that an older disk stands on, too.  What has been deleted is passed
 * over: so everything hangs on the nearest that is left.
 *
 * Nothing here is authenticated; no key is needed.  Forged descriptors can give
 * a wrong tree, but one that ends: no node is put below itself.
 */
#include "lineage.h"

#include <errno.h>
#include <string.h>

#define LAYERS_MAX 65536 /* that one chain may have */

void
lineage_done(struct lineage *l)
{
	json_decref(l->named);
	json_decref(l->through);
	json_decref(l->disks);
	free(l->nodes);
}

static int
index_nodes(struct lineage *l)
{
	char layer[UUID_STR_LEN];
	json_t *list;
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->n; i++) {
		struct node *n = &l->nodes[i];
		json_t *number = json_integer((json_int_t)i);

		if (n->bad) {
			json_decref(number);
			continue;
		}
		if (n->t.type == DESC_DISK) {
			r = json_object_set_new(l->disks, n->name, number);
			continue;
		}
		uuid_format(&n->layer.layer, layer);
		list = json_object_get(l->named, layer);
		if (!list) {
			list = json_array();
			r = json_object_set_new(l->named, layer, list);
		}
		if (json_array_append_new(list, number) < 0)
			r = -1;
	}
	return r < 0 ? -ENOMEM : 0;
}

/* Whether node ${i} may hang on ${p}. */
static bool
may_hang(const struct lineage *l, size_t i, size_t p)
{
	while (p != NO_NODE && p != i)
		p = l->nodes[p].parent;
	return p == NO_NODE;
}

static bool
is_own(const struct node *n, const struct node *snapshot)
{
	return strcmp(snapshot->of, n->t.type == DESC_DISK ? n->name : n->of) ==
	       0;
}

/*
 * Of the names of a layer that ${i} stands on, the one that it was made of: an
 * image that was there then, for images are made to be cloned; else the
 * snapshot.  If it has a snapshot of its own there, it has itself written that
 * layer, and was made of none of them.  Of snapshots whose disk is gone nobody
 * can tell that from what images say.
 */
static size_t
choose(const struct lineage *l, size_t i, const json_t *names)
{
	const struct node *n = &l->nodes[i];
	size_t best = NO_NODE, k;
	json_t *number;

	json_array_foreach(names, k, number)
	{
		size_t p = (size_t)json_integer_value(number);
		const struct node *c = &l->nodes[p];

		if (c->t.type == DESC_SNAPSHOT && n->t.type != DESC_IMAGE &&
		    is_own(n, c))
			return NO_NODE;
		if (p == i || !may_hang(l, i, p))
			continue;
		if (c->t.type == DESC_SNAPSHOT ? best == NO_NODE
					       : n->t.type != DESC_SNAPSHOT &&
						     c->created <= n->created)
			best = p;
	}
	return best;
}

/* Images have the layer of the snapshot that they were made of; but two images
 * are not made of one another. */
static size_t
choose_snapshot(const struct lineage *l, size_t i, const json_t *names)
{
	size_t k;
	json_t *number;

	json_array_foreach(names, k, number)
	{
		size_t p = (size_t)json_integer_value(number);

		if (l->nodes[p].t.type == DESC_SNAPSHOT && may_hang(l, i, p))
			return p;
	}
	return NO_NODE;
}

/* False: that was the last, or it cannot be told. */
static bool
next_layer(struct lineage *l, struct layer_ref *ref)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	struct layer_meta m;
	size_t len;
	int r;

	path_layer(ref, "layer.ini", path);
	r = l->st->ops->load(l->st, path, META_MAX, &text, &len);
	if (r == 0)
		r = layer_meta_peek(text, len, &m);
	if (r < 0)
		l->lost = true;
	if (r < 0 || !m.has_parent)
		return false;
	*ref = m.parent;
	return true;
}

/* A disk that stands on the layer, too, and was there before. */
static size_t
through(const struct lineage *l, size_t i, const char *layer)
{
	const json_t *number = json_object_get(l->through, layer);
	size_t p = number ? (size_t)json_integer_value(number) : NO_NODE;

	return p != NO_NODE && may_hang(l, i, p) ? p : NO_NODE;
}

static size_t
find_parent(struct lineage *l, size_t i)
{
	const struct node *n = &l->nodes[i];
	struct layer_ref ref = n->layer;
	char layer[UUID_STR_LEN];
	size_t p = NO_NODE, steps = 0;
	bool own = true;

	do {
		const json_t *names;

		uuid_format(&ref.layer, layer);
		names = json_object_get(l->named, layer);
		if (n->t.type == DESC_IMAGE && own)
			p = choose_snapshot(l, i, names);
		else if (n->t.type != DESC_SNAPSHOT || !own)
			p = choose(l, i, names);
		/* Nor from what other disks do. */
		if (p == NO_NODE && n->t.type != DESC_SNAPSHOT)
			p = through(l, i, layer);
		own = false;
		/* A chain in which a disk comes by again is a forged one. */
		if (n->t.type == DESC_DISK && p == NO_NODE) {
			if (json_object_get(l->through, layer))
				break;
			(void)json_object_set_new(l->through, layer,
						  json_integer((json_int_t)i));
		}
	} while (p == NO_NODE && ++steps < LAYERS_MAX && next_layer(l, &ref));
	return p;
}

static size_t
disk_of(const struct lineage *l, const struct node *n)
{
	const json_t *number = json_object_get(l->disks, n->of);

	return number ? (size_t)json_integer_value(number) : NO_NODE;
}

static void
find_parents(struct lineage *l, enum desc_type type)
{
	for (size_t i = 0; i < l->n; i++) {
		struct node *n = &l->nodes[i];

		if (!n->bad && n->t.type == type && n->parent == NO_NODE)
			n->parent = find_parent(l, i);
	}
}

int
lineage_find(struct lineage *l)
{
	int r;

	l->named = json_object();
	l->through = json_object();
	l->disks = json_object();
	r = l->named && l->through && l->disks ? index_nodes(l) : -ENOMEM;
	if (r < 0)
		return r;
	/* What needs not be looked for comes first, so that it is heeded. */
	for (size_t i = 0; i < l->n; i++)
		if (!l->nodes[i].bad && l->nodes[i].t.type == DESC_SNAPSHOT)
			l->nodes[i].parent = disk_of(l, &l->nodes[i]);
	/* Disks leave their traces in `through` for those after them. */
	find_parents(l, DESC_DISK);
	find_parents(l, DESC_SNAPSHOT);
	find_parents(l, DESC_IMAGE);
	return 0;
}
