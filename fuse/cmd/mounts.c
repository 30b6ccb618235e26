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

#include <sealdisk/clock.h>

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

/* A line of mountinfo, cut up; the pointers go into it. */
struct mount {
	char *dev;  /* "0:42" */
	char *root; /* what of the file system is mounted: "/" is all */
	char *place, *source;
};

/*
 * "36 35 98:0 / MOUNT rw,noatime master:1 - TYPE SOURCE rw": the fields before
 * " - " vary in number.  False: not a mount of ours.
 */
static bool
parse_mount(char *line, struct mount *ret)
{
	char *rest = strstr(line, " - "), *save = NULL, *field[5];
	char *type;

	if (!rest)
		return false;
	*rest = '\0';
	type = strtok_r(rest + 3, " \n", &save);
	ret->source = strtok_r(NULL, " \n", &save);
	if (!type || !ret->source || strcmp(type, FS_TYPE) != 0)
		return false;
	for (int i = 0; i < 5; i++) {
		field[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!field[i])
			return false;
	}
	ret->dev = field[2];
	ret->root = field[3];
	ret->place = field[4];
	cmd_unescape(ret->root);
	cmd_unescape(ret->place);
	cmd_unescape(ret->source);
	return true;
}

/* Calls ${fn} with each mount of ours, oldest first. */
static int
each_mount(void (*fn)(const struct mount *m, void *arg), void *arg)
{
	CLEANUP(free_memp) char *line = NULL;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct mount m;
	size_t cap = 0;

	if (!f)
		return -errno;
	while (getline(&line, &cap, f) > 0)
		if (parse_mount(line, &m))
			fn(&m, arg);
	(void)fclose(f);
	return 0;
}

/*
 * A daemon that hangs, of whatever store, hangs whoever asks anything of a file
 * that it serves.  So which disk a path of another stands for is told from the
 * table of mounts alone.
 */
struct location {
	const char *path;
	size_t len; /* of the mount's place, as found so far */
	bool found;
	char dev[32], inner[PATH_MAX]; /* device, and path in it */
};

static void
locate_in(const struct mount *m, void *arg)
{
	struct location *l = arg;
	size_t len = strlen(m->place);

	if (len < l->len || strncmp(l->path, m->place, len) != 0 ||
	    l->path[len] != '/')
		return;
	l->len = len;
	l->found = true;
	(void)snprintf(l->dev, sizeof(l->dev), "%s", m->dev);
	(void)snprintf(l->inner, sizeof(l->inner), "%s%s",
		       m->root[1] ? m->root : "", l->path + len);
}

bool
cmd_same_file(const char *a, const char *b)
{
	struct location la = { .path = a }, lb = { .path = b };

	if (strcmp(a, b) == 0)
		return true;
	return each_mount(locate_in, &la) == 0 &&
	       each_mount(locate_in, &lb) == 0 && la.found && lb.found &&
	       strcmp(la.dev, lb.dev) == 0 && strcmp(la.inner, lb.inner) == 0;
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

/* The last mount of a store, or with ${by_place} at a place. */
struct search {
	const char *path;
	bool by_place, found;
	char *ret; /* the other one of the two */
};

static void
search_in(const struct mount *m, void *arg)
{
	struct search *s = arg;

	/* A part that is mounted elsewhere too (bind) is no store. */
	if (strcmp(m->root, "/") != 0)
		return;
	if (s->by_place ? strcmp(m->place, s->path) != 0
			: !same_folder(m->source, s->path))
		return;
	s->found = true;
	(void)snprintf(s->ret, PATH_MAX, "%s",
		       s->by_place ? m->source : m->place);
}

static int
find_mount(const char *path, bool by_place, char ret[static PATH_MAX])
{
	struct search s = { path, by_place, false, ret };
	int r = each_mount(search_in, &s);

	return r < 0 ? r : s.found ? 0 : -ENOENT;
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
	text_mask_control(ret);
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
#define WAIT_MS 2000
#define TRY_MS 20

int
cmd_lock(struct cmd_env *e, const struct descriptor *d,
	 struct store_lock **ret_lock, char ret_path[static PATH_MAX])
{
	const struct timespec pause = { 0, TRY_MS * 1000000L };
	struct lock_owner owner = { .mount_point = "" };
	int64_t end = clock_ms() + WAIT_MS; /* the lock itself waits, too */
	char text[PATH_MAX + 512];
	int r, o = -ENOENT;

	do {
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
		if (o < 0 && cmd_fail_left(e, d) < 0)
			return r;
		(void)nanosleep(&pause, NULL);
	} while (clock_ms() < end);
	if (o < 0)
		return cmd_fail(r, "somebody has it", "", "%s %s", cmd_name(),
				d->name);
	cmd_owner_text(&owner, text, sizeof(text));
	return cmd_fail(-EBUSY, text, "detach it there first", "%s %s",
			cmd_name(), d->name);
}
