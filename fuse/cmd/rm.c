/*
 * rm.c - `sealdisk rm NAME`: a disk, snapshot or image, and what is on it and
 * on nothing else.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#define SWEEP_FILES 1000 /* between two looks at how it goes */

static int
sweep(struct cmd_env *e)
{
	CLEANUP(progress_freep) struct progress *p = NULL;
	uint64_t done = 0;
	bool more = true;
	int r = 0;

	while (r == 0 && more) {
		r = catalog_sweep(e->catalog, SWEEP_FILES, &more);
		if (!more)
			break;
		if (!p)
			p = progress_new(cmd_globals.progress, "rm", 0,
					 "files");
		done += SWEEP_FILES;
		if (p)
			progress_update(p, done);
	}
	return r;
}

/* The name is gone; what it held follows, here and now. */
int
cmd_sweep(struct cmd_env *e, const char *what)
{
	int r = sweep(e);

	return r < 0 ? cmd_fail(r, NULL,
				"that is done; its space comes back at the "
				"next mount of the store",
				"%s %s: clear its space", cmd_name(), what)
		     : 0;
}

static int
fail(struct cmd_env *e, const struct cmd_target *t, const struct descriptor *d,
     int err)
{
	struct cmd_state s;
	char text[PATH_MAX + 512];

	if (err != -EBUSY)
		return cmd_fail(err, NULL, NULL, "rm %s", t->text);
	cmd_disk_state(e, d, &s);
	if (s.loops.n > 0)
		(void)snprintf(text, sizeof(text), "attached as %s",
			       s.loops.dev[0]);
	else if (s.owned)
		cmd_owner_text(&s.owner, text, sizeof(text));
	else if (strcmp(s.word, "attached") == 0)
		(void)snprintf(text, sizeof(text), "somebody reads it");
	else
		return cmd_fail(err, NULL, "try again", "rm %s", t->text);
	return cmd_fail(err, text, "detach it first", "rm %s", t->text);
}

/*
 * What lingers after its last close is not attached in the sense of `rm`, but
 * its lock is held: its daemon removes it, or says -EBUSY.
 */
static int
remove_disk_in_mount(struct cmd_env *e, const struct cmd_target *t,
		     const struct descriptor *d)
{
	struct store_lock *lock = NULL;
	char path[PATH_MAX];
	int r;

	r = cmd_lock(e, d, &lock, path);
	if (r)
		return r;
	if (lock) { /* it has been let go of in this moment */
		store_unlock(lock);
		r = catalog_remove(e->catalog, DESC_DISK, d->name);
	} else if (unlink(path) < 0) {
		r = -errno;
	}
	return r < 0 ? fail(e, t, d, r) : 0;
}

/* Who reads what is frozen is nowhere said; if it is the daemon of a mount
 * here, it knows whether anybody reads it still. */
static int
remove_frozen_in_mount(struct cmd_env *e, const struct cmd_target *t,
		       const struct descriptor *d)
{
	char mnt[PATH_MAX], path[PATH_MAX];
	int r = -EBUSY;

	if (cmd_find_mount(e->path, mnt) == 0 &&
	    cmd_path_in(mnt, false, t, path) == 0)
		r = unlink(path) < 0 ? -errno : 0;
	return r < 0 ? fail(e, t, d, r) : 0;
}

static int
confirm(const struct cmd_target *t)
{
	switch (t->type) {
	case DESC_SNAPSHOT:
		return cmd_confirm("Snapshot %s will be gone for good.  Disks "
				   "and images that were made of it stay.",
				   t->text);
	case DESC_IMAGE:
		return cmd_confirm("Image %s will be gone for good.  Disks "
				   "that were made of it stay.",
				   t->text);
	default:
		return cmd_confirm("Disk %s and all that is on it will be gone "
				   "for good.",
				   t->text);
	}
}

int
cmd_rm(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	struct cmd_target t;
	struct descriptor d;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_parse_name(argv[0], CMD_ANY_TYPE, &t);
	if (r == 0)
		r = cmd_open(&e, CMD_CHANGE);
	if (r == 0)
		r = cmd_load_target(&e, &t, &d);
	if (r == 0)
		r = confirm(&t);
	if (r)
		return r;
	r = catalog_remove(e.catalog, t.type, t.name);
	if (r == -EBUSY && t.type != DESC_DISK)
		r = remove_frozen_in_mount(&e, &t, &d);
	else if (r == -EBUSY)
		r = remove_disk_in_mount(&e, &t, &d);
	else if (r < 0)
		r = fail(&e, &t, &d, r);
	return r ? r : cmd_sweep(&e, t.text);
}
