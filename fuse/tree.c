/*
 * tree.c - the mounted tree: a table of the nodes that the kernel knows.
 *
 * The table's lock is held for a step through one bucket, never over a read of
 * the store: requests that move data take it too, for reading.
 */
#include "tree.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/log.h>

#define BUCKETS 1024
#define KIND_MASK 7U
#define FIXED_IDS 16 /* ids below are folders */

struct tree {
	struct catalog *catalog;
	void (*release)(void *user);
	pthread_rwlock_t lock; /* guards all below, and names */
	struct node *buckets[BUCKETS];
};

static const struct {
	uint64_t id, parent;
	const char *name;
} folders[] = {
	{ NODE_ROOT, 0, "" },
	{ NODE_DISKS, NODE_ROOT, "disks" },
	{ NODE_INFOS, NODE_ROOT, "info" },
	{ NODE_INFO_DISKS, NODE_INFOS, "disks" },
};
#define N_FOLDERS (sizeof(folders) / sizeof(folders[0]))

uint64_t
tree_id(const struct uuid *uuid, enum node_kind kind)
{
	struct reader r = reader_over(uuid->bytes, sizeof(uuid->bytes));
	uint64_t low = get_u64(&r), high = get_u64(&r);
	/* Not negative to those who count inodes in signed numbers. */
	uint64_t id = (low ^ high) & INT64_MAX & ~(uint64_t)KIND_MASK;

	/* The low ids are folders. */
	if (id < FIXED_IDS)
		id += FIXED_IDS;
	return id | (uint64_t)kind;
}

static struct node **
bucket_of(struct tree *t, uint64_t id)
{
	return &t->buckets[(id * UINT64_C(0x9e3779b97f4a7c15)) >> 54];
}

static struct node *
find_locked(struct tree *t, uint64_t id)
{
	struct node *n = *bucket_of(t, id);

	while (n && n->id != id)
		n = n->next;
	return n;
}

struct node *
tree_find(struct tree *t, uint64_t id)
{
	struct node *n;

	(void)pthread_rwlock_rdlock(&t->lock);
	n = find_locked(t, id);
	(void)pthread_rwlock_unlock(&t->lock);
	return n;
}

/* With the lock held for writing: out of the table, if nobody has it. */
static struct node *
drop_locked(struct tree *t, struct node *n)
{
	struct node **p = bucket_of(t, n->id);

	if (n->lookups || n->pins || n->kind == NODE_FOLDER)
		return NULL;
	while (*p != n)
		p = &(*p)->next;
	*p = n->next;
	return n;
}

static void
node_free(struct tree *t, struct node *n)
{
	void *user;

	if (!n)
		return;
	user = atomic_load(&n->user);
	if (user)
		t->release(user);
	free(n);
}

static struct node *
node_add_locked(struct tree *t, uint64_t id, enum node_kind kind,
		const struct uuid *uuid)
{
	struct node *n = calloc(1, sizeof(*n)), **p;

	if (!n)
		return NULL;
	n->id = id;
	n->kind = kind;
	n->uuid = *uuid;
	p = bucket_of(t, id);
	n->next = *p;
	*p = n;
	return n;
}

/* The node of a disk, made where it is not there, pinned. */
static int
node_get(struct tree *t, const struct uuid *uuid, enum node_kind kind,
	 const char *name, struct node **ret)
{
	uint64_t id = tree_id(uuid, kind);
	struct node *n;
	int r = 0;

	(void)pthread_rwlock_wrlock(&t->lock);
	n = find_locked(t, id);
	if (!n)
		n = node_add_locked(t, id, kind, uuid);
	if (!n) {
		r = -ENOMEM;
	} else if (!uuid_equal(&n->uuid, uuid)) {
		r = -EUCLEAN;
	} else {
		n->pins++;
		(void)strcpy(n->name, name);
		*ret = n;
	}
	(void)pthread_rwlock_unlock(&t->lock);
	if (r == -EUCLEAN)
		log_error("disk %s: its uuid gives the node id of another "
			  "disk: one of them is forged",
			  name);
	return r;
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

int
tree_lookup(struct tree *t, uint64_t parent, const char *name,
	    struct descriptor *ret_desc, struct node **ret)
{
	int r;

	if (strlen(name) > DISK_NAME_MAX)
		return -ENAMETOOLONG;
	if (parent == NODE_ROOT || parent == NODE_INFOS)
		return lookup_folder(t, parent, name, ret);
	if (parent != NODE_DISKS && parent != NODE_INFO_DISKS)
		return -ENOTDIR;
	if (name_check(name) < 0)
		return -ENOENT;
	r = catalog_load(t->catalog, DESC_DISK, name, ret_desc, NULL, NULL);
	if (r < 0)
		return r;
	return node_get(t, &ret_desc->uuid,
			parent == NODE_DISKS ? NODE_DISK : NODE_INFO, name,
			ret);
}

int
tree_other(struct tree *t, const struct node *n, enum node_kind kind,
	   struct node **ret)
{
	char name[DISK_NAME_MAX + 1];

	tree_name(t, n, name);
	return node_get(t, &n->uuid, kind, name, ret);
}

void
tree_count(struct tree *t, struct node *node)
{
	(void)pthread_rwlock_wrlock(&t->lock);
	node->lookups++;
	(void)pthread_rwlock_unlock(&t->lock);
}

void
tree_forget(struct tree *t, uint64_t id, uint64_t n)
{
	struct node *node, *gone = NULL;

	(void)pthread_rwlock_wrlock(&t->lock);
	node = find_locked(t, id);
	if (node) {
		/* Of what an earlier process told, we do not know how often. */
		node->lookups -= n < node->lookups ? n : node->lookups;
		gone = drop_locked(t, node);
	}
	(void)pthread_rwlock_unlock(&t->lock);
	node_free(t, gone);
}

void
tree_pin(struct tree *t, struct node *n)
{
	(void)pthread_rwlock_wrlock(&t->lock);
	n->pins++;
	(void)pthread_rwlock_unlock(&t->lock);
}

void
tree_unpin(struct tree *t, struct node *n)
{
	struct node *gone;

	(void)pthread_rwlock_wrlock(&t->lock);
	n->pins--;
	gone = drop_locked(t, n);
	(void)pthread_rwlock_unlock(&t->lock);
	node_free(t, gone);
}

void
tree_name(struct tree *t, const struct node *n,
	  char ret[static DISK_NAME_MAX + 1])
{
	(void)pthread_rwlock_rdlock(&t->lock);
	(void)strcpy(ret, n->name);
	(void)pthread_rwlock_unlock(&t->lock);
}

void
tree_set_name(struct tree *t, struct node *n, const char *name)
{
	(void)pthread_rwlock_wrlock(&t->lock);
	(void)strcpy(n->name, name);
	(void)pthread_rwlock_unlock(&t->lock);
}

/* A search of all descriptors by id or uuid. */
struct search {
	struct tree *t;
	uint64_t id;
	const struct uuid *uuid; /* NULL: whatever has the id */
	struct descriptor *desc;
	enum node_kind kind;
	char name[DISK_NAME_MAX + 1];
};

static int
search_one(const char *name, void *arg)
{
	struct search *s = arg;
	int r =
	    catalog_load(s->t->catalog, DESC_DISK, name, s->desc, NULL, NULL);

	/* One that cannot be read is not it, as far as can be known. */
	if (r < 0 || tree_id(&s->desc->uuid, s->kind) != s->id ||
	    (s->uuid && !uuid_equal(&s->desc->uuid, s->uuid)))
		return 0;
	(void)strcpy(s->name, name);
	return 1;
}

/* Fills in ${s}->name and ${s}->desc.  -ENOENT. */
static int
search(struct search *s)
{
	int r = catalog_list(s->t->catalog, DESC_DISK, search_one, s);

	return r < 0 ? r : r > 0 ? 0 : -ENOENT;
}

int
tree_recover(struct tree *t, uint64_t id, struct node **ret)
{
	struct descriptor desc;
	struct search s = { .t = t, .id = id, .desc = &desc };
	int r;

	s.kind = (enum node_kind)(id & KIND_MASK);
	if (id < FIXED_IDS || (s.kind != NODE_DISK && s.kind != NODE_INFO))
		return -ENOENT;
	r = search(&s);
	if (r == 0)
		r = node_get(t, &desc.uuid, s.kind, s.name, ret);
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
	char name[DISK_NAME_MAX + 1];
	char *text = NULL;
	int r;

	tree_name(t, n, name);
	for (int tries = 0; tries < 2; tries++) {
		r = catalog_load(t->catalog, DESC_DISK, name, ret,
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

int
tree_list(struct tree *t, uint64_t folder,
	  int (*fn)(const char *name, void *arg), void *arg)
{
	if (folder == NODE_ROOT || folder == NODE_INFOS)
		return list_folders(folder, fn, arg);
	if (folder != NODE_DISKS && folder != NODE_INFO_DISKS)
		return -ENOTDIR;
	return catalog_list(t->catalog, DESC_DISK, fn, arg);
}

int
tree_new(struct catalog *c, void (*release)(void *user), struct tree **ret)
{
	CLEANUP(tree_freep) struct tree *t = calloc(1, sizeof(*t));
	const struct uuid nil = { { 0 } };

	if (!t)
		return -ENOMEM;
	t->catalog = c;
	t->release = release;
	(void)pthread_rwlock_init(&t->lock, NULL);
	for (size_t i = 0; i < N_FOLDERS; i++)
		if (!node_add_locked(t, folders[i].id, NODE_FOLDER, &nil))
			return -ENOMEM;
	*ret = TAKE(t);
	return 0;
}

void
tree_free(struct tree *t)
{
	struct node *n;

	if (!t)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while ((n = t->buckets[i])) {
			t->buckets[i] = n->next;
			node_free(t, n);
		}
	}
	(void)pthread_rwlock_destroy(&t->lock);
	free(t);
}
