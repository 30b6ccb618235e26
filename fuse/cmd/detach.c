/*
 * detach.c - `sealdisk detach NAME`: the disk's loop devices go, and when this
 * returns all is on the store, the key is wiped and the lock is free.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <sealdisk/ioctl.h>

#define TRY_MS 50
#define DEVICE_TRIES 20 /* udev looks at a device for a moment */
#define CLOSE_TRIES 100 /* the kernel closes a file a little later */

static void
wait_a_moment(void)
{
	const struct timespec pause = { 0, TRY_MS * 1000000L };

	(void)nanosleep(&pause, NULL);
}

/* Refuse while anything is mounted or open. */
static int
refuse_used(const char *name, const struct loop_list *loops)
{
	char user[PATH_MAX + 128];

	for (size_t i = 0; i < loops->n; i++) {
		int r = 0;

		for (int t = 0; r == 0 && t < DEVICE_TRIES; t++) {
			if (t > 0)
				wait_a_moment();
			r = loop_user(loops->dev[i], user, sizeof(user));
		}
		if (r == 0)
			return cmd_fail(-EBUSY, user, "", "detach %s", name);
	}
	return 0;
}

static int
give_up(const char *name, const struct loop_list *loops)
{
	for (size_t i = 0; i < loops->n; i++) {
		int r = loop_detach(loops->dev[i]);

		if (r == -EBUSY)
			return cmd_fail(r, "somebody opened it just now",
					"it goes when they close it",
					"detach %s: %s", name, loops->dev[i]);
		if (r < 0)
			return cmd_fail(r, NULL, NULL, "detach %s: %s", name,
					loops->dev[i]);
	}
	return 0;
}

/*
 * Have the daemon commit and let go at once instead of after the time that a
 * disk lingers.  -EBUSY: it is still open, by whomever.
 */
static int
let_go(const char *path)
{
	CLEANUP(close_fdp) int fd = -1;
	char info[PATH_MAX];
	int r;

	r = cmd_info_path(path, info);
	if (r < 0)
		return r;
	fd = open(info, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = -EBUSY;
	for (int t = 0; r == -EBUSY && t < CLOSE_TRIES; t++) {
		if (t > 0)
			wait_a_moment();
		r = ioctl(fd, SD_IOC_DETACH) < 0 ? -errno : 0;
	}
	return r;
}

static int
fail_let_go(const struct descriptor *d, const char *path, int err)
{
	if (err == -EBUSY)
		return cmd_fail(err, "it is open in a process",
				"`fuser` on the path names it", "detach %s: %s",
				d->name, path);
	if (err == -EIO)
		return cmd_fail(err, "what was not flushed may be lost",
				"the log of the mount's daemon says why",
				"detach %s: commit", d->name);
	return cmd_fail(err, NULL, NULL, "detach %s", d->name);
}

/* Where a daemon has died, nobody has the lock, and yet its mount and the loop
 * devices over it are there. */
static void
find_orphans(struct cmd_env *e, const struct descriptor *d,
	     struct loop_list *ret)
{
	char mnt[PATH_MAX], path[PATH_MAX];
	int len;

	if (cmd_find_mount(e->path, mnt) < 0)
		return;
	len = snprintf(path, sizeof(path), "%s/disks/%s", mnt, d->name);
	if (len > 0 && (size_t)len < sizeof(path))
		loop_find(path, ret);
}

static int
detach(struct cmd_env *e, const struct descriptor *d)
{
	struct cmd_state s;
	char text[PATH_MAX + 512];
	int r;

	cmd_disk_state(e, d, &s);
	if (!s.owned)
		find_orphans(e, d, &s.loops);
	if (!s.owned && s.loops.n == 0)
		return cmd_fail(-EINVAL, "it is not attached", "", "detach %s",
				d->name);
	if (s.owned && !s.path[0]) {
		cmd_owner_text(&s.owner, text, sizeof(text));
		return cmd_fail(-EBUSY, text, "detach it there", "detach %s",
				d->name);
	}
	r = refuse_used(d->name, &s.loops);
	if (r == 0)
		r = give_up(d->name, &s.loops);
	if (r || !s.owned)
		return r;
	r = let_go(s.path);
	return r < 0 ? fail_let_go(d, s.path, r) : 0;
}

int
cmd_detach(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	struct descriptor d;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_open(&e, 0);
	if (r == 0)
		r = cmd_load(&e, argv[0], &d);
	return r ? r : detach(&e, &d);
}
