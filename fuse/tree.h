/*
 * tree.h - the names and node ids of the mounted tree.
 *
 *	disks/NAME            a disk
 *	snapshots/DISK/NAME   one of its snapshots
 *	images/NAME           an image
 *	info/...              about each, under the same names
 *	info/store            about the store
 *
 * snapshots/ has a folder for each disk, and for each that is gone as long as
 * it has snapshots.  What is said of disks below holds for the three of them;
 * a snapshot's name is DISK@NAME, as in the catalog.
 *
 * Names are the store's: every lookup and listing reads it, since commands and
 * other daemons change it, too.  A node id is made of the uuid in a descriptor,
 * and so means the same to every process that serves the store; that of a
 *folder of snapshots is made of the disk's name.  Two uuids that come to one id
 *(which only a forger brings about) are never served together: the second is
 *refused.
 *
 * A node lives while the kernel knows it (tree_count, tree_forget) or somebody
 * has pinned it.  During a request on a node the kernel knows it.
 *
 * This module knows nothing of FUSE, nor of what a disk holds.  Any thread.
 * Functions return 0 or a negative errno, those of catalog_load() among them.
 */
#ifndef SEALDISK_TREE_H
#define SEALDISK_TREE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#include "catalog.h"

/* All but the last are also the low bits of a node id, for ever. */
enum node_kind {
	NODE_DISK = 0,       /* a disk, snapshot or image: see ${type} */
	NODE_INFO = 1,       /* about the one with the same uuid */
	NODE_SNAPS = 2,      /* snapshots/DISK */
	NODE_INFO_SNAPS = 3, /* info/snapshots/DISK */
	NODE_STORE = 6,      /* info/store */
	NODE_FOLDER = 7,
};

/* The folders, and one file; 1 is FUSE's root. */
enum {
	NODE_ROOT = 1,
	NODE_DISKS = 2,
	NODE_INFOS = 3,
	NODE_INFO_DISKS = 4,
	NODE_SNAPSHOTS = 5,
	NODE_IMAGES = 6,
	NODE_INFO_SNAPSHOTS = 7,
	NODE_INFO_IMAGES = 8,
	NODE_INFO_STORE = 9,
};

#define NODE_NAME_MAX (2 * DISK_NAME_MAX + 1) /* DISK@NAME */

struct node {
	uint64_t id;
	enum node_kind kind;
	enum desc_type type;  /* of NODE_DISK and NODE_INFO */
	struct uuid uuid;     /* of NODE_SNAPS: comes of the disk's name */
	_Atomic(void *) user; /* whatever the caller keeps with it */
	/* tree.c's own */
	struct node *next;
	uint64_t lookups;
	unsigned pins;
	char name[NODE_NAME_MAX + 1];
};

struct tree;

/* ${release} is called with node->user, not NULL, when a node goes. */
int tree_new(struct catalog *c, void (*release)(void *user), struct tree **ret)
    NONNULL CHECKED;
void tree_free(struct tree *t);
DEFINE_CLEANUP(struct tree, tree_free)

uint64_t tree_id(const struct uuid *uuid, enum node_kind kind) NONNULL;
bool node_is_folder(const struct node *n) NONNULL;
/* A file below info/. */
static inline bool
node_is_info(const struct node *n)
{
	return n->kind == NODE_INFO || n->kind == NODE_STORE;
}

/* What the names in a folder stand for. */
struct tree_place {
	enum node_kind kind; /* NODE_DISK or NODE_INFO */
	enum desc_type type;
	char of[DISK_NAME_MAX + 1]; /* whose snapshots, else "" */
};

/* -ENOTDIR: there are only folders in it, or it is none; -ENOENT. */
int tree_place(struct tree *t, uint64_t folder, struct tree_place *ret)
    NONNULL CHECKED;
/* The catalog's name of what is called ${name}, of a valid length, there. */
void tree_place_name(const struct tree_place *p, const char *name,
		     char ret[static NODE_NAME_MAX + 1]) NONNULL;

/**
 * tree_lookup(t, parent, name, ret_desc, ret):
 * The node called ${name} in folder ${parent}, pinned.  For a disk and what is
 * about it, ${ret_desc} is its descriptor, for a folder it is left alone.
 *
 * -ENOENT, also where ${name} cannot be one; -ENAMETOOLONG; -ENOTDIR
 */
int tree_lookup(struct tree *t, uint64_t parent, const char *name,
		struct descriptor *ret_desc, struct node **ret) NONNULL CHECKED;

/* The node with that id, if the kernel knows it, else NULL. */
struct node *tree_find(struct tree *t, uint64_t id) NONNULL;

/**
 * tree_recover(t, id, ret):
 * The node of an id that an earlier process gave out: searches the store.  From
 * then on the kernel counts as knowing it.  -ENOENT.
 */
int tree_recover(struct tree *t, uint64_t id, struct node **ret)
    NONNULL CHECKED;

/* The same disk's node of the other kind, pinned.  -ENOMEM, -EUCLEAN. */
int tree_other(struct tree *t, const struct node *n, enum node_kind kind,
	       struct node **ret) NONNULL CHECKED;

/* The kernel was told of the node, or forgets ${n} of those times. */
void tree_count(struct tree *t, struct node *node) NONNULL;
void tree_forget(struct tree *t, uint64_t id, uint64_t n) NONNULL;

void tree_pin(struct tree *t, struct node *n) NONNULL;
void tree_unpin(struct tree *t, struct node *n) NONNULL;

/**
 * tree_load(t, n, ret, ret_text, ret_len):
 * The descriptor of a disk's node, wherever it has been renamed to; the other
 * two as for catalog_load().  -ENOENT: it was removed.
 */
int tree_load(struct tree *t, struct node *n, struct descriptor *ret,
	      char **ret_text, size_t *ret_len)
    __attribute__((__nonnull__(1, 2, 3))) CHECKED;

/* The name last seen, and the same after a rename of our own. */
void tree_name(struct tree *t, const struct node *n,
	       char ret[static NODE_NAME_MAX + 1]) NONNULL;
void tree_set_name(struct tree *t, struct node *n, const char *name) NONNULL;

/* Calls ${fn} for each name in the folder, in order, disks that are gone last.
 * -ENOTDIR. */
int tree_list(struct tree *t, uint64_t folder,
	      int (*fn)(const char *name, void *arg), void *arg)
    __attribute__((__nonnull__(1, 3))) CHECKED;

#endif
