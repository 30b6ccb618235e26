/*
 * tree_env.h - a store that is a table in memory: tree.c and tree_store.c are
 * linked with the catalog that is here.
 */
#ifndef SEALDISK_TREE_ENV_H
#define SEALDISK_TREE_ENV_H

#include "test.h"

#include "tree.h"

#define MAX_DISKS 16

/* Of a snapshot the name is DISK@NAME; sorted, as a catalog lists them. */
static struct {
	enum desc_type type;
	char name[NODE_NAME_MAX + 1];
	struct uuid uuid;
	bool bad;
} disks[MAX_DISKS];
static size_t n_disks;
static int n_released;

int
catalog_list(struct catalog *c, enum desc_type type,
	     int (*fn)(const char *name, void *arg), void *arg)
{
	int r = 0;

	(void)c;
	for (size_t i = 0; i < n_disks && r == 0; i++)
		if (disks[i].type == type)
			r = fn(disks[i].name, arg);
	return r;
}

/* Whether ${name} is DISK@NAME with this disk. */
static bool
is_of(const char *name, const char *disk, size_t len)
{
	return strlen(disk) == len && strncmp(name, disk, len) == 0 &&
	       name[len] == '@';
}

int
catalog_snapshots(struct catalog *c, const char *disk,
		  int (*fn)(const char *name, void *arg), void *arg)
{
	int r = 0;

	(void)c;
	for (size_t i = 0; i < n_disks && r == 0; i++)
		if (disks[i].type == DESC_SNAPSHOT &&
		    is_of(disks[i].name, disk, strlen(disk)))
			r = fn(disks[i].name, arg);
	return r;
}

int
catalog_snapshot_folders(struct catalog *c,
			 int (*fn)(const char *disk, void *arg), void *arg)
{
	char disk[DISK_NAME_MAX + 1] = "";
	int r = 0;

	(void)c;
	for (size_t i = 0; i < n_disks && r == 0; i++) {
		size_t len = strcspn(disks[i].name, "@");

		if (disks[i].type != DESC_SNAPSHOT ||
		    is_of(disks[i].name, disk, len))
			continue;
		memcpy(disk, disks[i].name, len);
		disk[len] = '\0';
		r = fn(disk, arg);
	}
	return r;
}

int
catalog_load(struct catalog *c, enum desc_type type, const char *name,
	     struct descriptor *ret, char **ret_text, size_t *ret_len)
{
	const char *at = strchr(name, '@');

	(void)c;
	for (size_t i = 0; i < n_disks; i++) {
		if (disks[i].type != type || strcmp(disks[i].name, name) != 0)
			continue;
		if (disks[i].bad)
			return -EUCLEAN;
		memset(ret, 0, sizeof(*ret));
		strcpy(ret->name, at ? at + 1 : name);
		ret->uuid = disks[i].uuid;
		if (ret_text) {
			*ret_text = strdup(name);
			*ret_len = strlen(name);
		}
		return 0;
	}
	return -ENOENT;
}

static void
add(enum desc_type type, const char *name, uint8_t seed)
{
	assert_in_range(n_disks, 0, MAX_DISKS - 1);
	disks[n_disks].type = type;
	strcpy(disks[n_disks].name, name);
	fill_pattern(disks[n_disks].uuid.bytes, 16, seed);
	disks[n_disks++].bad = false;
}

static inline void
add_disk(const char *name, uint8_t seed)
{
	add(DESC_DISK, name, seed);
}

static void
on_release(void *user)
{
	assert_ptr_equal(user, &n_released);
	n_released++;
}

/* tree_new() wants a catalog, which only the functions above see. */
static struct tree *
new_tree(void)
{
	static char catalog;
	struct tree *t;

	n_disks = 0;
	n_released = 0;
	assert_ok(tree_new((struct catalog *)&catalog, on_release, &t));
	return t;
}

/* A lookup as the kernel does one: the node is known afterwards. */
static struct node *
look_up(struct tree *t, uint64_t parent, const char *name)
{
	struct descriptor d;
	struct node *n;

	assert_ok(tree_lookup(t, parent, name, &d, &n));
	tree_count(t, n);
	tree_unpin(t, n);
	return n;
}

static int
lookup_error(struct tree *t, uint64_t parent, const char *name)
{
	struct descriptor d;
	struct node *n;

	return tree_lookup(t, parent, name, &d, &n);
}

#endif
