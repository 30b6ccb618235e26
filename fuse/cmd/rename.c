/*
 * rename.c - `sealdisk rename NAME NEW`.
 */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>

#include <sealdisk/secret.h>

/* The daemon that has the disk renames it. */
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
rename_in_store(struct cmd_env *e, const char *name, const char *to)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct descriptor d;
	int r;

	r = catalog_load_verified(e->catalog, e->kms, DESC_DISK, name, &d, &dk);
	if (r == 0)
		r = catalog_rename(e->catalog, &d, &dk, to);
	return r;
}

int
cmd_rename(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	const char *name, *to;
	char path[PATH_MAX];
	struct descriptor d;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r)
		return r;
	name = argv[0];
	to = argv[1];
	r = cmd_check_name(to);
	if (r == 0)
		r = cmd_open(&e, CMD_CHANGE);
	if (r == 0)
		r = cmd_load(&e, name, &d);
	if (r == 0)
		r = cmd_lock(&e, &d, &lock, path);
	if (r == 0 && lock)
		r = cmd_open_kms(&e.settings, &e.kms);
	if (r)
		return r;
	r = lock ? rename_in_store(&e, name, to) : rename_in_mount(path, to);
	if (r < 0)
		return cmd_fail(
		    r, r == -EEXIST ? "there is a disk of that name" : NULL,
		    NULL, "rename %s to %s", name, to);
	return r;
}
