/*
 * unlock.c - `sealdisk unlock NAME`: break what another host has left of its
 * lock.
 *
 * A lock ends with the process that holds it, if the kernel that knows of it is
 * ours.  Of another host's, a shared file system can say no more than that its
 * lease has run out: the host may be off, or it may be cut off and come back
 * with what it still has to write.  Only somebody who knows can tell (lock.c).
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>

static int
refuse_held(struct cmd_env *e, const struct descriptor *d)
{
	char text[PATH_MAX + 512];
	struct lock_owner o;

	if (cmd_owner(e, &d->uuid, &o) < 0)
		return 0;
	cmd_owner_text(&o, text, sizeof(text));
	return cmd_fail(-EBUSY, text,
			o.this_host ? "detach it; the lock ends with the "
				      "process"
				    : "detach it there",
			"unlock %s", d->name);
}

static int
ask(const struct descriptor *d, const struct lock_owner *o)
{
	char since[TIME_STR_LEN];

	format_time(o->since, since);
	return cmd_confirm(
	    "Host %s attached disk %s%s%s at %s (process %ld), and has not "
	    "detached it.  If it is running still and reaches the store again, "
	    "what it writes then destroys the disk.  Be sure that it is off.",
	    o->host, d->name, o->mount_point[0] ? " on " : "", o->mount_point,
	    since, o->pid);
}

static int
print(const struct descriptor *d, const struct lock_owner *o, bool broken)
{
	char since[TIME_STR_LEN] = "";

	if (broken)
		format_time(o->since, since);
	if (cmd_globals.json)
		return cmd_print_json(
		    json_pack("{ss sb ss? ss?}", "name", d->name, "broken",
			      broken, "host", broken ? o->host : NULL, "since",
			      broken ? since : NULL));
	if (broken)
		printf("The lock of host %s on %s is broken; the next attach "
		       "recovers what the host left.\n",
		       o->host, d->name);
	else
		printf("There is nothing to break: nobody has a lock on %s.\n",
		       d->name);
	return 0;
}

int
cmd_unlock(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	struct lock_owner o = { .host = "" };
	struct descriptor d;
	bool broken;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_open(&e, 0);
	if (r == 0)
		r = cmd_load(&e, argv[0], &d);
	if (r == 0)
		r = refuse_held(&e, &d);
	if (r)
		return r;
	r = catalog_disk_left(e.catalog, &d.uuid, &o);
	broken = r == 0;
	if (r == -ENOENT)
		return print(&d, &o, false);
	if (r == 0)
		r = ask(&d, &o);
	if (r > 0 || r == -ECANCELED)
		return r;
	if (r == 0)
		r = catalog_break_lock(e.catalog, &d.uuid);
	if (r == -EBUSY && refuse_held(&e, &d) < 0)
		return r;
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "unlock %s", d.name);
	return print(&d, &o, broken);
}

int
cmd_fail_left(struct cmd_env *e, const struct descriptor *d)
{
	char why[PATH_MAX + 512], since[TIME_STR_LEN], hint[512];
	struct lock_owner o;

	if (catalog_disk_left(e->catalog, &d->uuid, &o) < 0)
		return 0;
	format_time(o.since, since);
	(void)snprintf(why, sizeof(why),
		       "host %s attached it at %s and has not detached it",
		       o.host, since);
	(void)snprintf(hint, sizeof(hint),
		       "once that host is off, `sealdisk unlock %s`", d->name);
	return cmd_fail(-EBUSY, why, hint, "%s %s", cmd_name(), d->name);
}
