/*
 * rm.c - `sealdisk rm NAME`: a disk and all that is on it.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#define SWEEP_FILES 1000 /* between two looks at how it goes */

/* The name is gone; what it held follows, here and now. */
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

static int
fail(struct cmd_env *e, const struct descriptor *d, int err)
{
	struct cmd_state s;
	char text[PATH_MAX + 512];

	if (err != -EBUSY)
		return cmd_fail(err, NULL, NULL, "rm %s", d->name);
	cmd_disk_state(e, d, &s);
	if (!s.owned)
		return cmd_fail(err, NULL, "try again", "rm %s", d->name);
	if (s.loops.n > 0)
		(void)snprintf(text, sizeof(text), "attached as %s",
			       s.loops.dev[0]);
	else
		cmd_owner_text(&s.owner, text, sizeof(text));
	return cmd_fail(err, text, "detach it first", "rm %s", d->name);
}

/*
 * A disk that lingers after its last close is not attached in the sense of
 * `rm`, but its lock is held: its daemon removes it, or says -EBUSY.
 */
static int
remove_in_mount(struct cmd_env *e, const struct descriptor *d)
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
	return r < 0 ? fail(e, d, r) : 0;
}

int
cmd_rm(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	struct descriptor d;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_open(&e, CMD_CHANGE);
	if (r == 0)
		r = cmd_load(&e, argv[0], &d);
	if (r == 0)
		r = cmd_confirm("Disk %s and all that is on it will be gone "
				"for good.",
				d.name);
	if (r)
		return r;
	r = catalog_remove(e.catalog, DESC_DISK, d.name);
	if (r == -EBUSY)
		r = remove_in_mount(&e, &d);
	else if (r < 0)
		r = fail(&e, &d, r);
	if (r)
		return r;
	r = sweep(&e);
	if (r < 0)
		return cmd_fail(r, NULL,
				"the disk is gone; its space comes "
				"back at the next mount of the store",
				"rm %s: clear its space", d.name);
	return 0;
}
