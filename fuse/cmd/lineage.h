/*
 * lineage.h - what comes of what: disks, snapshots and images of a store.
 */
#ifndef SEALDISK_CMD_LINEAGE_H
#define SEALDISK_CMD_LINEAGE_H

#include "cmd.h"

#define NO_NODE SIZE_MAX

struct node {
	struct cmd_target t;
	bool bad; /* its descriptor cannot be read: nothing below is known */
	char name[DISK_NAME_MAX + 1], of[DISK_NAME_MAX + 1];
	struct uuid uuid;
	struct layer_ref layer;
	uint64_t size, allocated;
	int64_t created;
	size_t parent, child, last_child, next; /* or NO_NODE */
	size_t depth;
};

struct lineage {
	struct store *st;   /* the caller's */
	struct node *nodes; /* malloc'ed, the oldest first */
	size_t n;
	bool lost; /* a layer that could not be read */
	/* Numbers of nodes, by the text of a layer's UUID: a list of whose
	 * descriptor names it, and the oldest disk that stands on it. */
	json_t *named, *through;
	json_t *disks; /* by name */
};

/* Find the parent of every node; the rest has been filled in. */
int lineage_find(struct lineage *l) NONNULL CHECKED;
void lineage_done(struct lineage *l) NONNULL;

#endif
