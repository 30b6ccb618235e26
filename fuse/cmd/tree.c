/*
 * tree.c - `sealdisk tree`: what comes of what (lineage.c), as a tree or as its
 * rows in order.
 */
#include "lineage.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/grow.h>

struct tree {
	struct cmd_env e;
	enum desc_type type; /* that is listed now */
	struct lineage l;
	size_t cap;   /* nodes that there is room for */
	size_t n_bad; /* descriptors that could not be read */
	size_t root, last_root;
	json_t *rows;            /* with --json, else */
	struct cmd_table *table; /* this */
};

static void
tree_done(struct tree *t)
{
	json_decref(t->rows);
	cmd_table_free(t->table);
	lineage_done(&t->l);
	cmd_close(&t->e);
}

/* ---- what there is ---- */

static int
new_node(struct tree *t, struct node **ret)
{
	struct node *v;

	v = grow(t->l.nodes, t->l.n, &t->cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	t->l.nodes = v;
	*ret = &t->l.nodes[t->l.n++];
	**ret = (struct node){ .parent = NO_NODE,
			       .child = NO_NODE,
			       .last_child = NO_NODE,
			       .next = NO_NODE };
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
load(struct tree *t)
{
	int r = 0;

	for (t->type = DESC_DISK; r == 0 && t->type <= DESC_IMAGE; t->type++)
		r = catalog_list(t->e.catalog, t->type, add, t);
	if (r < 0)
		return r;
	if (t->l.n > 0)
		qsort(t->l.nodes, t->l.n, sizeof(*t->l.nodes), by_age);
	t->l.st = t->e.store;
	return lineage_find(&t->l);
}

static void
hang(struct tree *t, size_t i)
{
	size_t p = t->l.nodes[i].parent;
	size_t *first = p == NO_NODE ? &t->root : &t->l.nodes[p].child;
	size_t *last = p == NO_NODE ? &t->last_root : &t->l.nodes[p].last_child;

	if (*first == NO_NODE)
		*first = i;
	else
		t->l.nodes[*last].next = i;
	*last = i;
}

/* ---- what is printed ---- */

/* "|   `-- NAME", malloc'ed. */
static char *
branch(const struct tree *t, size_t i)
{
	const struct node *n = &t->l.nodes[i];
	size_t len = 4 * n->depth;
	char *s = malloc(len + sizeof(n->t.text));
	const char *part;

	if (!s)
		return NULL;
	strcpy(s + len, n->t.text);
	for (size_t at = i; len > 0; at = t->l.nodes[at].parent) {
		bool last = t->l.nodes[at].next == NO_NODE;

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
	const struct node *n = &t->l.nodes[i];
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
	const struct node *n = &t->l.nodes[i];
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
		    n->parent == NO_NODE ? NULL : t->l.nodes[n->parent].t.text,
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

	while (r == 0 && i != NO_NODE) {
		up = t->l.nodes[i].parent;
		t->l.nodes[i].depth = up == NO_NODE ? 0
						    : t->l.nodes[up].depth + 1;
		r = t->rows ? add_json(t, i) : add_text(t, i);
		if (t->l.nodes[i].child != NO_NODE) {
			i = t->l.nodes[i].child;
			continue;
		}
		while (i != NO_NODE && t->l.nodes[i].next == NO_NODE)
			i = t->l.nodes[i].parent;
		if (i != NO_NODE)
			i = t->l.nodes[i].next;
	}
	return r;
}

static int
build(struct tree *t)
{
	static const char *const heading[] = { "NAME", "SIZE", "ALLOCATED",
					       "CREATED" };
	int r;

	t->root = t->last_root = NO_NODE;
	t->table = cmd_table_new(4, heading);
	t->rows = cmd_globals.json ? json_array() : NULL;
	if (!t->table || (cmd_globals.json && !t->rows))
		return -ENOMEM;
	r = load(t);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->l.n; i++)
		hang(t, i);
	return walk(t);
}

static int
print(struct tree *t)
{
	int r = 0;

	if (t->rows)
		r = cmd_print_json(json_incref(t->rows));
	else if (t->l.n > 0)
		cmd_table_print(t->table);
	if (r == 0 && (t->n_bad || t->l.lost))
		r = cmd_fail(-EUCLEAN, "some are malformed or missing",
			     "put them back from a backup of the store",
			     "tree %s: descriptors and layers", t->e.path);
	return r;
}

int
cmd_tree(int argc, char **argv)
{
	CLEANUP(tree_done) struct tree t = { .n_bad = 0 };
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_open(&t.e, 0);
	if (r)
		return r;
	r = build(&t);
	return r < 0 ? cmd_fail(r, NULL, NULL, "tree %s", t.e.path) : print(&t);
}
