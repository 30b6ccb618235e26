/*
 * rollback.c - `sealdisk rollback DISK@SNAPSHOT`: the disk becomes what the
 * snapshot is; what was written since is lost.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include "place.h"

static int
fail_used(struct cmd_env *e, const struct descriptor *disk,
	  const struct cmd_target *t)
{
	char text[PATH_MAX + 512];
	struct cmd_state s;

	cmd_disk_state(e, disk, &s);
	if (s.loops.n > 0)
		(void)snprintf(text, sizeof(text), "%s is attached as %s",
			       disk->name, s.loops.dev[0]);
	else if (s.owned)
		cmd_owner_text(&s.owner, text, sizeof(text));
	return cmd_fail(-EBUSY, s.loops.n > 0 || s.owned ? text : NULL,
			"detach it first", "rollback %s", t->text);
}

/* A disk that lingers after its last close is not in use: its daemon lets go of
 * it. */
static int
have_let_go(struct cmd_env *e, const struct descriptor *disk,
	    const struct cmd_target *t)
{
	struct store_lock *lock = NULL;
	char path[PATH_MAX];
	int r;

	r = cmd_lock(e, disk, &lock, path);
	if (r)
		return r;
	if (lock) {
		store_unlock(lock);
		return 0;
	}
	r = place_detach(path);
	if (r == -EBUSY)
		return fail_used(e, disk, t);
	return r < 0 ? cmd_fail(r, NULL, NULL, "rollback %s: detach %s",
				t->text, disk->name)
		     : 0;
}

static int
load(struct cmd_env *e, const struct cmd_target *t, struct descriptor *snap,
     struct descriptor *disk)
{
	int r;

	r = cmd_load_target(e, t, snap);
	if (r)
		return r;
	r = catalog_load(e->catalog, DESC_DISK, snap->of, disk, NULL, NULL);
	return r < 0
		   ? cmd_fail(r,
			      r == -ENOENT ? "its disk has been deleted" : NULL,
			      r == -ENOENT ? "`sealdisk clone` makes a disk "
					     "of a snapshot"
					   : NULL,
			      "rollback %s", t->text)
		   : 0;
}

int
cmd_rollback(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	struct descriptor snap, disk;
	struct cmd_target t;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_parse_name(argv[0], CMD_TYPE(DESC_SNAPSHOT), &t);
	if (r == 0)
		r = cmd_open(&e, CMD_CHANGE);
	if (r == 0)
		r = load(&e, &t, &snap, &disk);
	if (r == 0)
		r = cmd_confirm("What was written to disk %s since snapshot "
				"%s will be gone for good.",
				disk.name, t.text);
	if (r == 0)
		r = have_let_go(&e, &disk, &t);
	if (r == 0)
		r = cmd_open_kms(&e.settings, &e.kms);
	if (r)
		return r;
	r = catalog_rollback(e.catalog, e.kms, t.name);
	if (r == -EBUSY)
		return fail_used(&e, &disk, &t);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "rollback %s", t.text);
	return cmd_sweep(&e, disk.name);
}
