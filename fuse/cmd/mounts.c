/*
 * mounts.c - the mount of a store, and who has a disk attached.
 *
 * A disk's content, and its descriptor, belong to whoever holds its lock.  If
 * that is a daemon of this host, the change goes through the daemon's mount.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define FS_TYPE "fuse.sealdisk"

void
cmd_unescape(char *s)
{
	char *out = s;

	for (; *s; s++, out++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*out = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				      (s[3] - '0'));
			s += 3;
		} else {
			*out = *s;
		}
	}
	*out = '\0';
}

/*
 * "36 35 98:0 / MOUNT rw,noatime master:1 - TYPE SOURCE rw": the fields before
 * " - " vary in number.  Cuts ${line} up; false: not a mount of ours.
 */
static bool
parse_mount(char *line, char **ret_mount, char **ret_source)
{
	char *rest = strstr(line, " - "), *save = NULL, *field = NULL;
	char *type, *source;

	if (!rest)
		return false;
	*rest = '\0';
	type = strtok_r(rest + 3, " \n", &save);
	source = strtok_r(NULL, " \n", &save);
	if (!type || !source || strcmp(type, FS_TYPE) != 0)
		return false;
	for (int i = 0; i < 5; i++)
		field = strtok_r(i ? NULL : line, " ", &save);
	if (!field)
		return false;
	cmd_unescape(field);
	cmd_unescape(source);
	*ret_mount = field;
	*ret_source = source;
	return true;
}

/* Whether two paths are one folder; neither is touched if they are equal. */
static bool
same_folder(const char *a, const char *b)
{
	struct stat sa, sb;

	if (strcmp(a, b) == 0)
		return true;
	return stat(a, &sa) == 0 && stat(b, &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* The last mount whose source, or with ${by_mount} whose place, is ${path}:
 * the other one of the two goes to ${ret}. */
static int
find_mount(const char *path, bool by_mount, char ret[static PATH_MAX])
{
	CLEANUP(free_memp) char *line = NULL;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *mount, *source;
	size_t cap = 0;
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (getline(&line, &cap, f) > 0) {
		if (!parse_mount(line, &mount, &source))
			continue;
		if (by_mount ? strcmp(mount, path) != 0
			     : !same_folder(source, path))
			continue;
		(void)snprintf(ret, PATH_MAX, "%s", by_mount ? source : mount);
		r = 0;
	}
	(void)fclose(f);
	return r;
}

int
cmd_find_mount(const char *store, char ret[static PATH_MAX])
{
	return find_mount(store, false, ret);
}

int
cmd_mounted_store(const char *mnt, char ret[static PATH_MAX])
{
	return find_mount(mnt, true, ret);
}

void
cmd_owner_text(const struct lock_owner *o, char *ret, size_t cap)
{
	char since[TIME_STR_LEN];

	format_time(o->since, since);
	(void)snprintf(ret, cap, "%s%s by process %ld of %s%s since %s",
		       o->mount_point[0] ? "attached on " : "in use",
		       o->mount_point, o->pid,
		       o->this_host ? "this host" : "host ",
		       o->this_host ? "" : o->host, since);
}

int
cmd_owner(struct cmd_env *e, const struct uuid *uuid, struct lock_owner *ret)
{
	return catalog_disk_owner(e->catalog, uuid, ret);
}

/* The disk's path in the daemon's mount, if the mount is there. */
static bool
path_in_mount(const struct cmd_env *e, const struct lock_owner *o,
	      const char *name, char ret[static PATH_MAX])
{
	char store[PATH_MAX];
	int len;

	if (!o->this_host || !o->mount_point[0] ||
	    cmd_mounted_store(o->mount_point, store) < 0 ||
	    !same_folder(store, e->path))
		return false;
	len = snprintf(ret, PATH_MAX, "%s/disks/%s", o->mount_point, name);
	return len > 0 && len < PATH_MAX;
}

int
cmd_info_path(const char *path, char ret[static PATH_MAX])
{
	const char *name = strrchr(path, '/');
	size_t mnt = (size_t)(name - path) - strlen("/disks");
	int len;

	len =
	    snprintf(ret, PATH_MAX, "%.*s/info/disks%s", (int)mnt, path, name);
	return len < 0 || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Another command has a disk for a moment only; so does a daemon that is just
 * letting go of it. */
#define TRIES 100
#define TRY_MS 20

int
cmd_lock(struct cmd_env *e, const struct descriptor *d,
	 struct store_lock **ret_lock, char ret_path[static PATH_MAX])
{
	const struct timespec pause = { 0, TRY_MS * 1000000L };
	struct lock_owner owner = { .mount_point = "" };
	char text[PATH_MAX + 512];
	int r, o = -ENOENT;

	for (int i = 0; i < TRIES; i++) {
		r = catalog_lock_disk(e->catalog, &d->uuid, "", ret_lock);
		if (r == 0)
			return 0;
		if (r != -EBUSY)
			return cmd_fail(r, NULL, NULL, "%s %s: lock",
					cmd_name(), d->name);
		o = cmd_owner(e, &d->uuid, &owner);
		if (o == 0 && path_in_mount(e, &owner, d->name, ret_path)) {
			*ret_lock = NULL;
			return 0;
		}
		if (o == 0 && owner.mount_point[0])
			break;
		(void)nanosleep(&pause, NULL);
	}
	if (o < 0)
		return cmd_fail(r, "somebody has it", "", "%s %s", cmd_name(),
				d->name);
	cmd_owner_text(&owner, text, sizeof(text));
	return cmd_fail(-EBUSY, text, "detach it there first", "%s %s",
			cmd_name(), d->name);
}
