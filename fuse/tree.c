/*
 * tree.c - the mounted tree: a table of the nodes that the kernel knows.  What
 * the store says of names is tree_store.c.
 *
 * The table's lock is held for a step through one bucket, never over a read of
 * the store: requests that move data take it too, for reading.
 */
#include "tree_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/log.h>

uint64_t
tree_id(const struct uuid *uuid, enum node_kind kind)
{
	struct reader r = reader_over(uuid->bytes, sizeof(uuid->bytes));
	uint64_t low = get_u64(&r), high = get_u64(&r);
	/* Not negative to those who count inodes in signed numbers. */
	uint64_t id = (low ^ high) & INT64_MAX & ~(uint64_t)KIND_MASK;

	/* The low ids are the folders'. */
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

	if (n->lookups || n->pins || n->id < FIXED_IDS)
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

bool
node_is_folder(const struct node *n)
{
	return n->kind != NODE_DISK && n->kind != NODE_INFO &&
	       n->kind != NODE_STORE;
}

int
node_get(struct tree *t, const struct uuid *uuid, enum node_kind kind,
	 enum desc_type type, const char *name, struct node **ret)
{
	uint64_t id = tree_id(uuid, kind);
	struct node *n;
	int r = 0;

	(void)pthread_rwlock_wrlock(&t->lock);
	n = find_locked(t, id);
	if (!n) {
		n = node_add_locked(t, id, kind, uuid);
		if (n)
			n->type = type;
	}
	if (!n) {
		r = -ENOMEM;
	} else if (!uuid_equal(&n->uuid, uuid) || n->type != type) {
		r = -EUCLEAN;
	} else {
		n->pins++;
		(void)strcpy(n->name, name);
		*ret = n;
	}
	(void)pthread_rwlock_unlock(&t->lock);
	if (r == -EUCLEAN)
		log_error("%s: its uuid gives the node id of another one: one "
			  "of them is forged",
			  name);
	return r;
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
	  char ret[static NODE_NAME_MAX + 1])
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
	for (uint64_t id = NODE_ROOT; id <= NODE_LAST; id++)
		if (!node_add_locked(
			t, id, id == NODE_INFO_STORE ? NODE_STORE : NODE_FOLDER,
			&nil))
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
