/*
 * tree.c - `sealdisk tree`: what comes of what.
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
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>

#define NONE SIZE_MAX

struct node {
	struct cmd_target t;
	bool bad; /* its descriptor cannot be read: nothing below is known */
	char name[DISK_NAME_MAX + 1], of[DISK_NAME_MAX + 1];
	struct uuid uuid;
	struct layer_ref layer;
	uint64_t size, allocated;
	int64_t created;
	size_t parent, child, last_child, next; /* or NONE */
	size_t depth;
};

struct tree {
	struct cmd_env e;
	enum desc_type type; /* that is listed now */
	struct node *nodes;
	size_t n, cap;
	size_t n_bad;  /* descriptors that could not be read */
	size_t n_lost; /* layers */
	/* Numbers of nodes, by the text of a layer's UUID: a list of whose
	 * descriptor names it, and the oldest disk that stands on it. */
	json_t *named, *through;
	json_t *disks; /* by name */
	size_t root, last_root;
	json_t *rows;            /* with --json, else */
	struct cmd_table *table; /* this */
};

static void
tree_done(struct tree *t)
{
	json_decref(t->named);
	json_decref(t->through);
	json_decref(t->disks);
	json_decref(t->rows);
	cmd_table_free(t->table);
	free(t->nodes);
	cmd_close(&t->e);
}

/* ---- what there is ---- */

static int
new_node(struct tree *t, struct node **ret)
{
	size_t cap = t->cap ? 2 * t->cap : 64;
	struct node *v = t->nodes;

	if (t->n == t->cap) {
		v = reallocarray(v, cap, sizeof(*v));
		if (!v)
			return -ENOMEM;
		t->nodes = v;
		t->cap = cap;
	}
	*ret = &t->nodes[t->n++];
	**ret = (struct node){
		.parent = NONE, .child = NONE, .last_child = NONE, .next = NONE
	};
	return 0;
}

static int
add(const char *name, void *arg)
{
	struct tree *t = arg;
	struct descriptor d;
	struct node *n;
	int r, r2;

	r = catalog_load(t->e.catalog, t->type, name, &d, NULL, NULL);
	if (r == -ENOENT) /* gone since its folder was read */
		return 0;
	if (r < 0 && r != -EUCLEAN && r != -EPROTONOSUPPORT)
		return r;
	r2 = new_node(t, &n);
	if (r2 < 0)
		return r2;
	cmd_target_of(t->type, name, &n->t);
	if (r < 0) {
		n->bad = true;
		t->n_bad++;
		return 0;
	}
	memcpy(n->name, d.name, sizeof(n->name));
	memcpy(n->of, d.of, sizeof(n->of));
	n->uuid = d.uuid;
	n->layer = d.layer;
	n->size = d.size;
	n->allocated = d.allocated;
	n->created = d.created;
	return 0;
}

/* The oldest first; what was made of it follows what it was made of. */
static int
by_age(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	if (x->created != y->created)
		return x->created < y->created ? -1 : 1;
	if (x->t.type != y->t.type)
		return x->t.type < y->t.type ? -1 : 1;
	return strcmp(x->t.name, y->t.name);
}

static int
index_nodes(struct tree *t)
{
	char layer[UUID_STR_LEN];
	json_t *list;
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->n; i++) {
		struct node *n = &t->nodes[i];
		json_t *number = json_integer((json_int_t)i);

		if (n->bad) {
			json_decref(number);
			continue;
		}
		if (n->t.type == DESC_DISK) {
			r = json_object_set_new(t->disks, n->name, number);
			continue;
		}
		uuid_format(&n->layer.layer, layer);
		list = json_object_get(t->named, layer);
		if (!list) {
			list = json_array();
			r = json_object_set_new(t->named, layer, list);
		}
		if (json_array_append_new(list, number) < 0)
			r = -1;
	}
	return r < 0 ? -ENOMEM : 0;
}

static int
load(struct tree *t)
{
	int r = 0;

	for (t->type = DESC_DISK; r == 0 && t->type <= DESC_IMAGE; t->type++)
		r = catalog_list(t->e.catalog, t->type, add, t);
	if (r < 0)
		return r;
	if (t->n > 0)
		qsort(t->nodes, t->n, sizeof(*t->nodes), by_age);
	t->named = json_object();
	t->through = json_object();
	t->disks = json_object();
	if (!t->named || !t->through || !t->disks)
		return -ENOMEM;
	return index_nodes(t);
}

/* ---- what comes of what ---- */

/* Whether node ${i} may hang on ${p}. */
static bool
may_hang(const struct tree *t, size_t i, size_t p)
{
	while (p != NONE && p != i)
		p = t->nodes[p].parent;
	return p == NONE;
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
choose(const struct tree *t, size_t i, const json_t *names)
{
	const struct node *n = &t->nodes[i];
	size_t best = NONE, k;
	json_t *number;

	json_array_foreach(names, k, number)
	{
		size_t p = (size_t)json_integer_value(number);
		const struct node *c = &t->nodes[p];

		if (c->t.type == DESC_SNAPSHOT && n->t.type != DESC_IMAGE &&
		    is_own(n, c))
			return NONE;
		if (p == i || !may_hang(t, i, p))
			continue;
		if (c->t.type == DESC_SNAPSHOT ? best == NONE
					       : n->t.type != DESC_SNAPSHOT &&
						     c->created <= n->created)
			best = p;
	}
	return best;
}

/* Images have the layer of the snapshot that they were made of; but two images
 * are not made of one another. */
static size_t
choose_snapshot(const struct tree *t, size_t i, const json_t *names)
{
	size_t k;
	json_t *number;

	json_array_foreach(names, k, number)
	{
		size_t p = (size_t)json_integer_value(number);

		if (t->nodes[p].t.type == DESC_SNAPSHOT && may_hang(t, i, p))
			return p;
	}
	return NONE;
}

/* False: that was the last, or it cannot be told. */
static bool
next_layer(struct tree *t, struct layer_ref *ref)
{
	struct store *st = t->e.store;
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	struct layer_meta m;
	size_t len;
	int r;

	path_layer(ref, "layer.ini", path);
	r = st->ops->load(st, path, META_MAX, &text, &len);
	if (r == 0)
		r = layer_meta_peek(text, len, &m);
	if (r < 0)
		t->n_lost++;
	if (r < 0 || !m.has_parent)
		return false;
	*ref = m.parent;
	return true;
}

/* A disk that stands on the layer, too, and was there before. */
static size_t
through(const struct tree *t, size_t i, const char *layer)
{
	const json_t *number = json_object_get(t->through, layer);
	size_t p = number ? (size_t)json_integer_value(number) : NONE;

	return p != NONE && may_hang(t, i, p) ? p : NONE;
}

static size_t
find_parent(struct tree *t, size_t i)
{
	const struct node *n = &t->nodes[i];
	struct layer_ref ref = n->layer;
	char layer[UUID_STR_LEN];
	size_t p = NONE;
	bool own = true;

	do {
		const json_t *names;

		uuid_format(&ref.layer, layer);
		names = json_object_get(t->named, layer);
		if (n->t.type == DESC_IMAGE && own)
			p = choose_snapshot(t, i, names);
		else if (n->t.type != DESC_SNAPSHOT || !own)
			p = choose(t, i, names);
		/* Nor from what other disks do. */
		if (p == NONE && n->t.type != DESC_SNAPSHOT)
			p = through(t, i, layer);
		own = false;
		/* A chain in which a disk comes by again is a forged one. */
		if (n->t.type == DESC_DISK && p == NONE) {
			if (json_object_get(t->through, layer))
				break;
			(void)json_object_set_new(t->through, layer,
						  json_integer((json_int_t)i));
		}
	} while (p == NONE && next_layer(t, &ref));
	return p;
}

static size_t
disk_of(const struct tree *t, const struct node *n)
{
	const json_t *number = json_object_get(t->disks, n->of);

	return number ? (size_t)json_integer_value(number) : NONE;
}

/* Disks first: they leave their traces in `through`. */
static void
find_parents(struct tree *t, enum desc_type type)
{
	for (size_t i = 0; i < t->n; i++) {
		struct node *n = &t->nodes[i];
		size_t p = NONE;

		if (n->bad || n->t.type != type)
			continue;
		if (type == DESC_SNAPSHOT)
			p = disk_of(t, n);
		if (p == NONE)
			p = find_parent(t, i);
		n->parent = p;
	}
}

static void
hang(struct tree *t, size_t i)
{
	size_t p = t->nodes[i].parent;
	size_t *first = p == NONE ? &t->root : &t->nodes[p].child;
	size_t *last = p == NONE ? &t->last_root : &t->nodes[p].last_child;

	if (*first == NONE)
		*first = i;
	else
		t->nodes[*last].next = i;
	*last = i;
}

/* ---- what is printed ---- */

/* "|   `-- NAME", malloc'ed. */
static char *
branch(const struct tree *t, size_t i)
{
	const struct node *n = &t->nodes[i];
	size_t len = 4 * n->depth;
	char *s = malloc(len + sizeof(n->t.text));
	const char *part;

	if (!s)
		return NULL;
	strcpy(s + len, n->t.text);
	for (size_t at = i; len > 0; at = t->nodes[at].parent) {
		bool last = t->nodes[at].next == NONE;

		part = at == i ? (last ? "`-- " : "|-- ")
			       : (last ? "    " : "|   ");
		len -= 4;
		memcpy(s + len, part, 4);
	}
	return s;
}

static int
add_text(struct tree *t, size_t i)
{
	const struct node *n = &t->nodes[i];
	CLEANUP(free_memp) char *name = branch(t, i);
	char size[16] = "malformed", allocated[16] = "", created[32] = "";
	const char *const cells[] = { name, size, allocated, created };

	if (!name)
		return -ENOMEM;
	if (!n->bad) {
		format_size(n->size, size);
		format_size(n->allocated, allocated);
		format_time(n->created, created);
	}
	return cmd_table_add(t->table, cells);
}

static int
add_json(struct tree *t, size_t i)
{
	const struct node *n = &t->nodes[i];
	const char *type = cmd_type_word(n->t.type);
	char uuid[UUID_STR_LEN], created[TIME_STR_LEN];
	json_t *row;

	if (n->bad) {
		row = json_pack("{ss ss sn ss}", "name", n->t.text, "type",
				type, "parent", "state", "malformed");
	} else {
		uuid_format(&n->uuid, uuid);
		format_time(n->created, created);
		row = json_pack(
		    "{ss ss ss? ss sI sI ss}", "name", n->t.text, "type", type,
		    "parent",
		    n->parent == NONE ? NULL : t->nodes[n->parent].t.text,
		    "uuid", uuid, "size", (json_int_t)n->size, "allocated",
		    (json_int_t)n->allocated, "created", created);
	}
	return json_array_append_new(t->rows, row) < 0 ? -ENOMEM : 0;
}

/* Depth first, without recursion: a tree may be as deep as there are disks. */
static int
walk(struct tree *t)
{
	size_t i = t->root, up;
	int r = 0;

	while (r == 0 && i != NONE) {
		up = t->nodes[i].parent;
		t->nodes[i].depth = up == NONE ? 0 : t->nodes[up].depth + 1;
		r = t->rows ? add_json(t, i) : add_text(t, i);
		if (t->nodes[i].child != NONE) {
			i = t->nodes[i].child;
			continue;
		}
		while (i != NONE && t->nodes[i].next == NONE)
			i = t->nodes[i].parent;
		if (i != NONE)
			i = t->nodes[i].next;
	}
	return r;
}

static int
build(struct tree *t)
{
	static const char *const heading[] = { "NAME", "SIZE", "ALLOCATED",
					       "CREATED" };
	int r;

	t->root = t->last_root = NONE;
	t->table = cmd_table_new(4, heading);
	t->rows = cmd_globals.json ? json_array() : NULL;
	if (!t->table || (cmd_globals.json && !t->rows))
		return -ENOMEM;
	r = load(t);
	if (r < 0)
		return r;
	find_parents(t, DESC_DISK);
	find_parents(t, DESC_SNAPSHOT);
	find_parents(t, DESC_IMAGE);
	for (size_t i = 0; i < t->n; i++)
		hang(t, i);
	return walk(t);
}

static int
print(struct tree *t)
{
	int r = 0;

	if (t->rows)
		r = cmd_print_json(json_incref(t->rows));
	else if (t->n > 0)
		cmd_table_print(t->table);
	if (r == 0 && t->n_bad + t->n_lost > 0)
		r = cmd_fail(-EUCLEAN, "they are malformed or missing",
			     "put them back from a backup of the store",
			     "tree %s: %zu descriptors and %zu layers",
			     t->e.path, t->n_bad, t->n_lost);
	return r;
}

int
cmd_tree(int argc, char **argv)
{
	CLEANUP(tree_done) struct tree t = { .n = 0 };
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_open(&t.e, 0);
	if (r)
		return r;
	r = build(&t);
	return r < 0 ? cmd_fail(r, NULL, NULL, "tree %s", t.e.path) : print(&t);
}
