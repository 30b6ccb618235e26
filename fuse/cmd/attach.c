/*
 * attach.c - `sealdisk attach NAME [--ro]`: a loop device over a disk of the
 * mounted store.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <sealdisk/ioctl.h>

/* The disk's path in the mount of the store. */
static int
mounted_path(struct cmd_env *e, const char *name, char ret[static PATH_MAX])
{
	char mnt[PATH_MAX], hint[PATH_MAX + 64];
	int len, r;

	r = cmd_find_mount(e->path, mnt);
	if (r < 0) {
		(void)snprintf(hint, sizeof(hint),
			       "`sealdisk mount %s MOUNTPOINT` mounts it",
			       e->path);
		return cmd_fail(
		    r, r == -ENOENT ? "the store is not mounted" : NULL, hint,
		    "%s %s", cmd_name(), name);
	}
	len = snprintf(ret, PATH_MAX, "%s/disks/%s", mnt, name);
	return len < 0 || len >= PATH_MAX ? cmd_fail(-ENAMETOOLONG, NULL, NULL,
						     "%s %s", cmd_name(), name)
					  : 0;
}

static int
refuse_second(const char *name, const char *path)
{
	struct loop_list loops;

	loop_find(path, &loops);
	if (loops.n == 0)
		return 0;
	return cmd_fail(-EBUSY, "a second loop device would corrupt it", "",
			"attach %s: it is %s already", name, loops.dev[0]);
}

/* An open says EIO for whatever does not verify; the daemon knows more. */
static int
why_eio(const char *path)
{
	CLEANUP(close_fdp) int fd = -1;
	struct sd_ioc_stats stats;
	char info[PATH_MAX];

	if (cmd_info_path(path, info) < 0)
		return -EIO;
	fd = open(info, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, SD_IOC_STATS, &stats) < 0 ||
	    stats.attach_error == 0 || stats.attach_error > INT_MAX)
		return -EIO;
	return -(int)stats.attach_error;
}

static int
fail_open(struct cmd_env *e, const struct descriptor *d, const char *path,
	  int err)
{
	struct lock_owner owner;
	char text[PATH_MAX + 512];

	if (err == -EBUSY && cmd_fail_left(e, d) < 0)
		return err;
	if (err == -EBUSY && cmd_owner(e, &d->uuid, &owner) == 0) {
		cmd_owner_text(&owner, text, sizeof(text));
		return cmd_fail(err, text, "detach it there first", "attach %s",
				d->name);
	}
	if (err == -EIO)
		err = why_eio(path);
	return cmd_fail(err, NULL,
			exit_status(err) == 6 || err == -EIO
			    ? "the log of the mount's daemon says what"
			    : NULL,
			"attach %s", d->name);
}

static int
set_up(struct cmd_env *e, const struct descriptor *d, const char *path, bool ro,
       char ret[static LOOP_DEV_LEN])
{
	CLEANUP(close_fdp) int fd = -1;
	int r;

	fd = open(path, (ro ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return fail_open(e, d, path, -errno);
	r = loop_attach(fd, path, d->sector_size, ro, ret);
	if (r < 0)
		return cmd_fail(r, NULL,
				r == -EACCES || r == -EPERM
				    ? "loop devices need root"
				: r == -ENOENT ? "modprobe loop"
					       : NULL,
				"attach %s: loop device", d->name);
	if (!loop_is_direct(ret))
		cmd_note("attach %s: %s has no direct I/O, and will be slow",
			 d->name, ret);
	return 0;
}

int
cmd_attach(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	char path[PATH_MAX], dev[LOOP_DEV_LEN];
	struct descriptor d;
	bool ro = false;
	const struct cmd_option own[] = {
		{ "ro", NULL, &ro },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r == 0)
		r = cmd_open(&e, 0);
	if (r == 0)
		r = cmd_load(&e, argv[0], &d);
	if (r == 0)
		r = mounted_path(&e, d.name, path);
	if (r == 0)
		r = refuse_second(d.name, path);
	if (r == 0)
		r = set_up(&e, &d, path, ro, dev);
	if (r)
		return r;
	if (cmd_globals.json)
		return cmd_print_json(json_pack("{ss ss sb}", "name", d.name,
						"device", dev, "read_only",
						ro));
	printf("%s\n", dev);
	return 0;
}
