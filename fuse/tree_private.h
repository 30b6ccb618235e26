/*
 * tree_private.h - what tree.c and tree_store.c share.
 */
#ifndef SEALDISK_TREE_PRIVATE_H
#define SEALDISK_TREE_PRIVATE_H

#include <pthread.h>

#include "tree.h"

#define BUCKETS 1024
#define KIND_MASK 7U
#define FIXED_IDS 16 /* ids below stand for no descriptor */
#define NODE_LAST NODE_INFO_STORE

struct tree {
	struct catalog *catalog;
	void (*release)(void *user);
	pthread_rwlock_t lock; /* guards all below, and names */
	struct node *buckets[BUCKETS];
};

/* The node of a disk or of a folder of snapshots, made where it is not there,
 * pinned.  -EUCLEAN: its id is another's. */
int node_get(struct tree *t, const struct uuid *uuid, enum node_kind kind,
	     enum desc_type type, const char *name, struct node **ret)
    NONNULL CHECKED;

#endif
