/*
 * attach.c - `sealdisk attach NAME [--ro] [--accept-rollback]`: a loop device
 * over a disk of the mounted store, or a read-only one over a snapshot or
 * image.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <sealdisk/ioctl.h>

struct attach {
	struct cmd_env e;
	struct cmd_target t;
	struct descriptor d;
	char path[PATH_MAX], info[PATH_MAX]; /* in the mount of the store */
	bool ro, accept;
};

static void
attach_done(struct attach *a)
{
	cmd_close(&a->e);
}

static int
find_paths(struct attach *a)
{
	char mnt[PATH_MAX], hint[PATH_MAX + 64];
	struct cmd_env *e = &a->e;
	int r;

	r = cmd_find_mount(e->path, mnt);
	if (r < 0) {
		(void)snprintf(hint, sizeof(hint),
			       "`sealdisk mount %s MOUNTPOINT` mounts it",
			       e->path);
		return cmd_fail(
		    r, r == -ENOENT ? "the store is not mounted" : NULL, hint,
		    "attach %s", a->t.text);
	}
	r = cmd_path_in(mnt, false, &a->t, a->path);
	if (r == 0)
		r = cmd_path_in(mnt, true, &a->t, a->info);
	return r < 0 ? cmd_fail(r, NULL, NULL, "attach %s", a->t.text) : 0;
}

static int
refuse_second(const struct attach *a)
{
	struct loop_list loops;

	loop_find(a->path, &loops);
	if (loops.n == 0)
		return 0;
	return cmd_fail(-EBUSY,
			a->t.type == DESC_DISK
			    ? "a second loop device would corrupt it"
			    : "a second loop device would say the same",
			"", "attach %s: it is %s already", a->t.text,
			loops.dev[0]);
}

/* An open says EIO for whatever does not verify; the daemon knows more. */
static int
why_eio(const char *info)
{
	CLEANUP(close_fdp) int fd = open(info, O_RDONLY | O_CLOEXEC);
	struct sd_ioc_stats stats;

	if (fd < 0 || ioctl(fd, SD_IOC_STATS, &stats) < 0 ||
	    stats.attach_error == 0 || stats.attach_error > INT_MAX)
		return -EIO;
	return -(int)stats.attach_error;
}

static int
fail_open(struct attach *a, int err)
{
	struct lock_owner owner;
	char text[PATH_MAX + 512];

	if (err == -EBUSY && a->t.type == DESC_DISK) {
		if (cmd_fail_left(&a->e, &a->d) < 0)
			return err;
		if (cmd_owner(&a->e, &a->d.uuid, &owner) == 0) {
			cmd_owner_text(&owner, text, sizeof(text));
			return cmd_fail(err, text, "detach it there first",
					"attach %s", a->t.text);
		}
	}
	if (err == -EIO)
		err = why_eio(a->info);
	return cmd_fail(err, NULL,
			err == -ESTALE ? "--ro to look at it, "
					 "--accept-rollback to go on by it"
			: exit_status(err) == 6 || err == -EIO
			    ? "the log of the mount's daemon says what"
			    : NULL,
			"attach %s", a->t.text);
}

static int
set_up(struct attach *a, char ret[static LOOP_DEV_LEN])
{
	CLEANUP(close_fdp) int fd = -1;
	int r;

	fd = open(a->path, (a->ro ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return fail_open(a, -errno);
	r = loop_attach(fd, a->path, a->d.sector_size, a->ro, ret);
	if (r < 0)
		return cmd_fail(r, NULL,
				r == -EACCES || r == -EPERM
				    ? "loop devices need root"
				: r == -ENOENT ? "modprobe loop"
					       : NULL,
				"attach %s: loop device", a->t.text);
	if (!loop_is_direct(ret))
		cmd_note("attach %s: %s has no direct I/O, and will be slow",
			 a->t.text, ret);
	return 0;
}

static int
accept_rollback(struct attach *a)
{
	CLEANUP(close_fdp) int fd = open(a->info, O_RDONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0 || ioctl(fd, SD_IOC_ACCEPT) < 0)
		r = -errno;
	if (r == -EIO)
		r = why_eio(a->info);
	return r < 0 ? cmd_fail(r, NULL, NULL, "attach %s --accept-rollback",
				a->t.text)
		     : 0;
}

int
cmd_attach(int argc, char **argv)
{
	CLEANUP(attach_done) struct attach a = { .ro = false };
	char dev[LOOP_DEV_LEN];
	const struct cmd_option own[] = {
		{ "ro", NULL, &a.ro },
		{ "accept-rollback", NULL, &a.accept },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r == 0)
		r = cmd_parse_name(argv[0], CMD_ANY_TYPE, &a.t);
	if (r)
		return r;
	if (a.accept && a.t.type != DESC_DISK)
		return cmd_usage("--accept-rollback: of a disk only");
	/* What is frozen stays as it is. */
	if (a.t.type != DESC_DISK)
		a.ro = true;
	r = cmd_open(&a.e, 0);
	if (r == 0)
		r = cmd_load_target(&a.e, &a.t, &a.d);
	if (r == 0)
		r = find_paths(&a);
	if (r == 0)
		r = refuse_second(&a);
	if (r == 0 && a.accept)
		r = accept_rollback(&a);
	if (r == 0)
		r = set_up(&a, dev);
	if (r)
		return r;
	if (cmd_globals.json)
		return cmd_print_json(json_pack("{ss ss sb}", "name", a.t.text,
						"device", dev, "read_only",
						a.ro));
	printf("%s\n", dev);
	return 0;
}
