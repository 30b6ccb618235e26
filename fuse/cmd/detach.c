/*
 * detach.c - `sealdisk detach NAME`: the loop devices of a disk, snapshot or
 * image go, and when this returns all is on the store, the key is wiped and the
 * lock is free.
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
let_go(const char *info)
{
	CLEANUP(close_fdp) int fd = open(info, O_RDONLY | O_CLOEXEC);
	int r;

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
fail_let_go(const struct cmd_target *t, const char *path, int err)
{
	if (err == -EBUSY)
		return cmd_fail(err, "it is open in a process",
				"`fuser` on the path names it", "detach %s: %s",
				t->text, path);
	if (err == -EIO)
		return cmd_fail(err, "what was not flushed may be lost",
				"the log of the mount's daemon says why",
				"detach %s: commit", t->text);
	return cmd_fail(err, NULL, NULL, "detach %s", t->text);
}

/* Where a daemon has died, nobody has the lock, and yet its mount and the loop
 * devices over it are there. */
static void
find_orphans(struct cmd_env *e, const struct cmd_target *t,
	     struct loop_list *ret)
{
	char mnt[PATH_MAX], path[PATH_MAX];

	if (cmd_find_mount(e->path, mnt) == 0 &&
	    cmd_path_in(mnt, false, t, path) == 0)
		loop_find(path, ret);
}

static int
detach(struct cmd_env *e, const struct cmd_target *t,
       const struct descriptor *d)
{
	struct cmd_state s;
	char text[PATH_MAX + 512] = "somebody reads it elsewhere";
	bool attached;
	int r;

	cmd_disk_state(e, d, &s);
	attached = strcmp(s.word, "attached") == 0;
	if (!attached)
		find_orphans(e, t, &s.loops);
	if (!attached && s.loops.n == 0)
		return cmd_fail(-EINVAL, "it is not attached", "", "detach %s",
				t->text);
	if (attached && !s.path[0]) {
		if (s.owned)
			cmd_owner_text(&s.owner, text, sizeof(text));
		return cmd_fail(-EBUSY, text, "detach it there", "detach %s",
				t->text);
	}
	r = refuse_used(t->text, &s.loops);
	if (r == 0)
		r = give_up(t->text, &s.loops);
	if (r || !attached)
		return r;
	r = let_go(s.info);
	return r < 0 ? fail_let_go(t, s.path, r) : 0;
}

int
cmd_detach(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	struct cmd_target t;
	struct descriptor d;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_parse_name(argv[0], CMD_ANY_TYPE, &t);
	if (r == 0)
		r = cmd_open(&e, 0);
	if (r == 0)
		r = cmd_load_target(&e, &t, &d);
	return r ? r : detach(&e, &t, &d);
}
