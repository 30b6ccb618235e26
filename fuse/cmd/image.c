/*
 * image.c - `sealdisk image SOURCE NAME`: what a disk holds now, or a snapshot,
 * as an image, which stays when they go.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include "freeze.h"

static int
image_of_snapshot(struct cmd_env *e, const struct cmd_target *from,
		  const char *name)
{
	const struct clone_params p = {
		.name = name,
		.uid = geteuid(),
		.gid = getegid(),
		.mode = 0600,
	};
	int r;

	r = cmd_open_kms(&e->settings, &e->kms);
	if (r)
		return r;
	r = catalog_image(e->catalog, e->kms, from->name, &p);
	if (r < 0 && r != -EEXIST)
		r = cmd_fail(r, NULL, NULL, "image %s", from->text);
	return r;
}

static int
print(struct cmd_env *e, const struct cmd_target *t)
{
	struct descriptor d;
	int r;

	if (!cmd_globals.json)
		return 0;
	r = cmd_load_target(e, t, &d);
	return r ? r : cmd_print_made(&d);
}

int
cmd_image(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	struct cmd_target from, to;
	struct descriptor d;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_parse_name(
		    argv[0], CMD_TYPE(DESC_DISK) | CMD_TYPE(DESC_SNAPSHOT),
		    &from);
	if (r == 0)
		r = cmd_check_name(argv[1]);
	if (r)
		return r;
	cmd_target_of(DESC_IMAGE, argv[1], &to);
	r = cmd_open(&e, CMD_CHANGE);
	if (r == 0)
		r = cmd_load_target(&e, &from, &d);
	if (r)
		return r;
	r = from.type == DESC_SNAPSHOT
		? image_of_snapshot(&e, &from, to.name)
		: freeze_disks(&e, DESC_IMAGE, to.name, &d, 1);
	if (r == -EEXIST)
		r = cmd_fail(r, "there is an image of that name", "",
			     "image %s", to.name);
	return r ? r : print(&e, &to);
}
