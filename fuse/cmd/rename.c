/*
 * rename.c - `sealdisk rename NAME NEW`: a disk, with its snapshots, a snapshot
 * or an image.
 */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>

#include <sealdisk/secret.h>

/* The daemon that has it renames it. */
static int
rename_in_mount(const char *path, const char *to)
{
	char target[PATH_MAX];
	size_t dir = (size_t)(strrchr(path, '/') - path);
	int len;

	len = snprintf(target, sizeof(target), "%.*s/%s", (int)dir, path, to);
	if (len < 0 || (size_t)len >= sizeof(target))
		return -ENAMETOOLONG;
	if (renameat2(AT_FDCWD, path, AT_FDCWD, target, RENAME_NOREPLACE) == 0)
		return 0;
	/* A FUSE server may not know the flag, and refuses by itself. */
	if (errno == EINVAL && rename(path, target) == 0)
		return 0;
	return -errno;
}

static int
rename_in_store(struct cmd_env *e, const struct cmd_target *t, const char *to)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct descriptor d;
	int r;

	r = catalog_load_verified(e->catalog, e->kms, t->type, t->name, &d,
				  &dk);
	if (r == 0)
		r = catalog_rename(e->catalog, &d, &dk, to);
	return r;
}

/* cmd_lock() for what is frozen: who reads it is nowhere said, but may be the
 * daemon of a mount here. */
static int
lock_frozen(struct cmd_env *e, const struct cmd_target *t,
	    const struct descriptor *d, struct store_lock **ret_lock,
	    char ret_path[static PATH_MAX])
{
	char mnt[PATH_MAX];
	int r;

	r = catalog_lock_disk(e->catalog, &d->uuid, "", ret_lock);
	if (r == -EBUSY && cmd_find_mount(e->path, mnt) == 0) {
		*ret_lock = NULL;
		r = cmd_path_in(mnt, false, t, ret_path);
	}
	return r < 0 ? cmd_fail(r, r == -EBUSY ? "somebody reads it" : NULL,
				NULL, "rename %s", t->text)
		     : 0;
}

/* By type. */
static const char *const taken[] = {
	[DESC_DISK] = "there is a disk of that name, or snapshots of one",
	[DESC_SNAPSHOT] = "there is a snapshot of that name",
	[DESC_IMAGE] = "there is an image of that name",
};

int
cmd_rename(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	struct cmd_target t;
	char path[PATH_MAX];
	struct descriptor d;
	const char *to;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_parse_name(argv[0], CMD_ANY_TYPE, &t);
	if (r)
		return r;
	to = argv[1];
	r = cmd_check_name(to);
	if (r == 0)
		r = cmd_open(&e, CMD_CHANGE);
	if (r == 0)
		r = cmd_load_target(&e, &t, &d);
	if (r == 0)
		r = t.type == DESC_DISK ? cmd_lock(&e, &d, &lock, path)
					: lock_frozen(&e, &t, &d, &lock, path);
	if (r == 0 && lock)
		r = cmd_open_kms(&e.settings, &e.kms);
	if (r)
		return r;
	r = lock ? rename_in_store(&e, &t, to) : rename_in_mount(path, to);
	return r < 0 ? cmd_fail(r, r == -EEXIST ? taken[t.type] : NULL, NULL,
				"rename %s to %s", t.text, to)
		     : 0;
}
