/*
 * tree_store.c - the mounted tree: which names there are, and what has them.
 *
 * All of it reads the store, each time.  What a name leads to is found by that
 * name; what was found once, by its uuid, wherever it has been renamed to.
 */
#include "tree_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

static const struct {
	uint64_t id, parent;
	const char *name;
} folders[] = {
	{ NODE_ROOT, 0, "" },
	{ NODE_DISKS, NODE_ROOT, "disks" },
	{ NODE_IMAGES, NODE_ROOT, "images" },
	{ NODE_INFOS, NODE_ROOT, "info" },
	{ NODE_SNAPSHOTS, NODE_ROOT, "snapshots" },
	{ NODE_INFO_DISKS, NODE_INFOS, "disks" },
	{ NODE_INFO_IMAGES, NODE_INFOS, "images" },
	{ NODE_INFO_SNAPSHOTS, NODE_INFOS, "snapshots" },
	{ NODE_INFO_STORE, NODE_INFOS, "store" },
};
#define N_FOLDERS (sizeof(folders) / sizeof(folders[0]))

/*
 * Folders.
 */

/* So that its id is the same to every process. */
static int
uuid_of_name(const char *disk, struct uuid *ret)
{
	uint8_t hash[SHA256_LEN];
	int r = sha256(disk, strlen(disk), hash);

	if (r == 0)
		memcpy(ret->bytes, hash, sizeof(ret->bytes));
	return r;
}

static int
stop_at_first(const char *name, void *arg)
{
	(void)name;
	(void)arg;
	return 1;
}

/* Also of a disk whose descriptor cannot be read. */
static bool
is_disk(struct tree *t, const char *name)
{
	struct descriptor desc;

	return catalog_load(t->catalog, DESC_DISK, name, &desc, NULL, NULL) !=
	       -ENOENT;
}

static int
lookup_snaps(struct tree *t, enum node_kind kind, const char *disk,
	     struct node **ret)
{
	struct uuid uuid;
	int r = is_disk(t, disk)
		    ? 1
		    : catalog_snapshots(t->catalog, disk, stop_at_first, NULL);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = uuid_of_name(disk, &uuid);
	return r < 0 ? r : node_get(t, &uuid, kind, DESC_DISK, disk, ret);
}

struct gone {
	struct tree *t;
	int (*fn)(const char *name, void *arg);
	void *arg;
};

static int
list_if_gone(const char *disk, void *arg)
{
	struct gone *g = arg;

	return is_disk(g->t, disk) ? 0 : g->fn(disk, g->arg);
}

static int
list_snaps(struct tree *t, int (*fn)(const char *name, void *arg), void *arg)
{
	struct gone g = { t, fn, arg };
	int r = catalog_list(t->catalog, DESC_DISK, fn, arg);

	if (r == 0)
		r = catalog_snapshot_folders(t->catalog, list_if_gone, &g);
	return r;
}

/* The kind of the folders in ${folder}, if that has any of those. */
static bool
holds_snaps(uint64_t folder, enum node_kind *ret_kind)
{
	*ret_kind = folder == NODE_SNAPSHOTS ? NODE_SNAPS : NODE_INFO_SNAPS;
	return folder == NODE_SNAPSHOTS || folder == NODE_INFO_SNAPSHOTS;
}

int
tree_place(struct tree *t, uint64_t folder, struct tree_place *ret)
{
	bool info = folder == NODE_INFO_DISKS || folder == NODE_INFO_IMAGES;
	struct node *n = tree_find(t, folder);
	char name[NODE_NAME_MAX + 1];
	int r = n ? 0 : tree_recover(t, folder, &n);

	if (r < 0)
		return r;
	*ret = (struct tree_place){ .type = DESC_DISK };
	if (n->kind == NODE_SNAPS || n->kind == NODE_INFO_SNAPS) {
		info = n->kind == NODE_INFO_SNAPS;
		ret->type = DESC_SNAPSHOT;
		tree_name(t, n, name);
		(void)strcpy(ret->of, name);
	} else if (folder == NODE_IMAGES || folder == NODE_INFO_IMAGES) {
		ret->type = DESC_IMAGE;
	} else if (folder != NODE_DISKS && folder != NODE_INFO_DISKS) {
		return -ENOTDIR;
	}
	ret->kind = info ? NODE_INFO : NODE_DISK;
	return 0;
}

void
tree_place_name(const struct tree_place *p, const char *name,
		char ret[static NODE_NAME_MAX + 1])
{
	(void)snprintf(ret, NODE_NAME_MAX + 1, "%s%s%s", p->of,
		       p->of[0] ? "@" : "", name);
}

static int
lookup_folder(struct tree *t, uint64_t parent, const char *name,
	      struct node **ret)
{
	for (size_t i = 0; i < N_FOLDERS; i++) {
		if (folders[i].parent != parent ||
		    strcmp(folders[i].name, name) != 0)
			continue;
		*ret = tree_find(t, folders[i].id);
		tree_pin(t, *ret);
		return 0;
	}
	return -ENOENT;
}

static int
lookup_disk(struct tree *t, uint64_t parent, const char *name,
	    struct descriptor *ret_desc, struct node **ret)
{
	char full[NODE_NAME_MAX + 1];
	struct tree_place p;
	int r = tree_place(t, parent, &p);

	if (r < 0)
		return r;
	if (name_check(name) < 0)
		return -ENOENT;
	tree_place_name(&p, name, full);
	r = catalog_load(t->catalog, p.type, full, ret_desc, NULL, NULL);
	return r < 0 ? r
		     : node_get(t, &ret_desc->uuid, p.kind, p.type, full, ret);
}

int
tree_lookup(struct tree *t, uint64_t parent, const char *name,
	    struct descriptor *ret_desc, struct node **ret)
{
	enum node_kind kind;

	if (strlen(name) > DISK_NAME_MAX)
		return -ENAMETOOLONG;
	if (parent == NODE_ROOT || parent == NODE_INFOS)
		return lookup_folder(t, parent, name, ret);
	if (holds_snaps(parent, &kind))
		return name_check(name) < 0 ? -ENOENT
					    : lookup_snaps(t, kind, name, ret);
	return lookup_disk(t, parent, name, ret_desc, ret);
}

int
tree_other(struct tree *t, const struct node *n, enum node_kind kind,
	   struct node **ret)
{
	char name[NODE_NAME_MAX + 1];

	tree_name(t, n, name);
	return node_get(t, &n->uuid, kind, n->type, name, ret);
}

/*
 * What is known by its id.
 */

/* A search of all descriptors, or of all folders of snapshots, by id or uuid.
 */
struct search {
	struct tree *t;
	uint64_t id;
	const struct uuid *uuid; /* NULL: whatever has the id */
	struct descriptor *desc;
	enum node_kind kind;
	enum desc_type type;
	char name[NODE_NAME_MAX + 1];
};

static int
search_one(const char *name, void *arg)
{
	struct search *s = arg;
	int r = catalog_load(s->t->catalog, s->type, name, s->desc, NULL, NULL);

	if (err_is_shortage(r))
		return r;
	/* One that cannot be read is not it, as far as can be known. */
	if (r < 0 || tree_id(&s->desc->uuid, s->kind) != s->id ||
	    (s->uuid && !uuid_equal(&s->desc->uuid, s->uuid)))
		return 0;
	(void)strcpy(s->name, name);
	return 1;
}

/* Fills in ${s}->name and ${s}->desc, of ${s}->type.  -ENOENT. */
static int
search(struct search *s)
{
	int r = catalog_list(s->t->catalog, s->type, search_one, s);

	return r < 0 ? r : r > 0 ? 0 : -ENOENT;
}

static int
search_types(struct search *s)
{
	int r = -ENOENT;

	for (s->type = DESC_DISK; r == -ENOENT; s->type++) {
		r = search(s);
		if (r == 0 || s->type == DESC_IMAGE)
			break;
	}
	return r;
}

static int
search_snaps(const char *disk, void *arg)
{
	struct search *s = arg;
	int r = uuid_of_name(disk, &s->desc->uuid);

	if (r < 0 || tree_id(&s->desc->uuid, s->kind) != s->id)
		return r;
	(void)strcpy(s->name, disk);
	return 1;
}

int
tree_recover(struct tree *t, uint64_t id, struct node **ret)
{
	struct descriptor desc;
	struct search s = { .t = t, .id = id, .desc = &desc };
	int r = -ENOENT;

	s.kind = (enum node_kind)(id & KIND_MASK);
	if (id < FIXED_IDS)
		return -ENOENT;
	if (s.kind == NODE_DISK || s.kind == NODE_INFO) {
		r = search_types(&s);
	} else if (s.kind == NODE_SNAPS || s.kind == NODE_INFO_SNAPS) {
		r = list_snaps(t, search_snaps, &s);
		r = r < 0 ? r : r > 0 ? 0 : -ENOENT;
	}
	if (r == 0)
		r = node_get(t, &desc.uuid, s.kind, s.type, s.name, ret);
	if (r < 0)
		return r;
	tree_count(t, *ret);
	tree_unpin(t, *ret);
	return 0;
}

int
tree_load(struct tree *t, struct node *n, struct descriptor *ret,
	  char **ret_text, size_t *ret_len)
{
	struct search s = { .t = t, .id = n->id, .uuid = &n->uuid };
	char name[NODE_NAME_MAX + 1];
	char *text = NULL;
	int r;

	tree_name(t, n, name);
	for (int tries = 0; tries < 2; tries++) {
		r = catalog_load(t->catalog, n->type, name, ret,
				 ret_text ? &text : NULL, ret_len);
		if (r == 0 && uuid_equal(&ret->uuid, &n->uuid)) {
			if (ret_text)
				*ret_text = text;
			return 0;
		}
		free(TAKE(text));
		if (r < 0 && r != -ENOENT)
			return r;
		s.desc = ret;
		s.kind = n->kind;
		s.type = n->type;
		r = search(&s);
		if (r < 0)
			return r;
		(void)strcpy(name, s.name);
		tree_set_name(t, n, name);
	}
	return -ENOENT;
}

static int
list_folders(uint64_t parent, int (*fn)(const char *name, void *arg), void *arg)
{
	int r = 0;

	for (size_t i = 0; i < N_FOLDERS && !r; i++)
		if (folders[i].parent == parent)
			r = fn(folders[i].name, arg);
	return r;
}

/* A listing of one disk's snapshots, by their own names. */
struct strip {
	int (*fn)(const char *name, void *arg);
	void *arg;
};

static int
list_stripped(const char *name, void *arg)
{
	struct strip *s = arg;

	return s->fn(strchr(name, '@') + 1, s->arg);
}

int
tree_list(struct tree *t, uint64_t folder,
	  int (*fn)(const char *name, void *arg), void *arg)
{
	struct strip s = { fn, arg };
	enum node_kind kind;
	struct tree_place p;
	int r;

	if (folder == NODE_ROOT || folder == NODE_INFOS)
		return list_folders(folder, fn, arg);
	if (holds_snaps(folder, &kind))
		return list_snaps(t, fn, arg);
	r = tree_place(t, folder, &p);
	if (r < 0)
		return r == -ENOENT ? -ENOTDIR : r;
	if (p.type == DESC_SNAPSHOT)
		return catalog_snapshots(t->catalog, p.of, list_stripped, &s);
	return catalog_list(t->catalog, p.type, fn, arg);
}
