/*
 * snapshot.c - `sealdisk snapshot DISK[@NAME] ...`: disks as they are now, all
 * at one instant.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <sealdisk/codec.h>

#include "freeze.h"

#define NAME_TRIES 1000 /* snapshots of one second */

struct snapshot {
	struct cmd_env e;
	size_t n;
	char name[DISK_NAME_MAX + 1]; /* of all of them; "": by the time */
	struct cmd_target disks[FREEZE_MAX];
	struct descriptor *d;
};

static void
snapshot_done(struct snapshot *s)
{
	free(s->d);
	cmd_close(&s->e);
}

/*
 * The command line.
 */

static int
add(struct snapshot *s, const char *word)
{
	struct cmd_target t, *disk = &s->disks[s->n];
	const char *at;
	int r;

	r = cmd_parse_name(word, CMD_TYPE(DESC_DISK) | CMD_TYPE(DESC_SNAPSHOT),
			   &t);
	if (r)
		return r;
	at = strchr(t.name, '@');
	if (s->n > 0 && strcmp(s->name, at ? at + 1 : "") != 0)
		return cmd_usage("%s: snapshots of one instant have one name",
				 word);
	(void)snprintf(s->name, sizeof(s->name), "%s", at ? at + 1 : "");
	t.name[at ? at - t.name : (ptrdiff_t)strlen(t.name)] = '\0';
	cmd_target_of(DESC_DISK, t.name, disk);
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->disks[i].name, disk->name) == 0)
			return cmd_usage("%s: this disk is named twice", word);
	s->n++;
	return 0;
}

static int
parse(int argc, char **argv, struct snapshot *s)
{
	int r = cmd_parse(&argc, &argv, NULL);

	if (r == 0 && argc > FREEZE_MAX)
		r = cmd_usage("at most %d disks at one instant", FREEZE_MAX);
	for (int i = 0; r == 0 && i < argc; i++)
		r = add(s, argv[i]);
	return r;
}

static int
load(struct snapshot *s)
{
	int r;

	r = cmd_open(&s->e, CMD_CHANGE);
	if (r)
		return r;
	s->d = calloc(s->n, sizeof(*s->d));
	if (!s->d)
		return cmd_fail(-ENOMEM, NULL, NULL, "snapshot");
	for (size_t i = 0; r == 0 && i < s->n; i++)
		r = cmd_load_target(&s->e, &s->disks[i], &s->d[i]);
	return r;
}

/*
 * A name by the time: 20261125T141500Z, and if that is taken,
 * 20261125T141500Z-2.
 */

static int
is_free(struct snapshot *s, const char *name)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n; i++)
		r = catalog_check_free(s->e.catalog, DESC_SNAPSHOT,
				       s->disks[i].name, name);
	return r;
}

static int
take(struct snapshot *s, const char *name)
{
	return freeze_disks(&s->e, DESC_SNAPSHOT, name, s->d, s->n);
}

static int
take_by_time(struct snapshot *s)
{
	time_t now = time(NULL);
	char stamp[32], name[48];
	struct tm tm;
	int r = -EEXIST;

	if (!gmtime_r(&now, &tm) ||
	    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm) == 0)
		return cmd_fail(-EOVERFLOW, NULL, NULL, "snapshot: the time");
	for (unsigned i = 1; r == -EEXIST && i < NAME_TRIES; i++) {
		if (i == 1)
			(void)snprintf(name, sizeof(name), "%s", stamp);
		else
			(void)snprintf(name, sizeof(name), "%s-%u", stamp, i);
		r = is_free(s, name);
		if (r == 0)
			r = take(s, name);
		else if (r != -EEXIST)
			r = cmd_fail(r, NULL, NULL, "snapshot %s",
				     s->disks[0].name);
	}
	if (r == 0)
		memcpy(s->name, name, sizeof(name));
	return r;
}

/* Which of them is there already. */
static int
fail_exists(struct snapshot *s)
{
	size_t i = 0;

	while (i + 1 < s->n &&
	       catalog_check_free(s->e.catalog, DESC_SNAPSHOT, s->disks[i].name,
				  s->name) == 0)
		i++;
	return cmd_fail(-EEXIST, "there is a snapshot of that name", "",
			"snapshot %s@%s", s->disks[i].name, s->name);
}

/*
 * What was made.
 */

static json_t *
row(struct snapshot *s, const struct descriptor *d)
{
	char uuid[UUID_STR_LEN], set[UUID_STR_LEN], created[TIME_STR_LEN];
	struct cmd_target t;

	cmd_target_of_descriptor(d, &t);
	uuid_format(&d->uuid, uuid);
	uuid_format(&d->set, set);
	format_time(d->created, created);
	return json_pack("{ss ss ss sI ss ss?}", "name", t.text, "disk", d->of,
			 "uuid", uuid, "size", (json_int_t)d->size, "created",
			 created, "set", s->n > 1 ? set : NULL);
}

static int
print(struct snapshot *s, bool chosen)
{
	CLEANUP(cmd_json_freep) json_t *rows = json_array();
	char full[CMD_NAME_LEN];
	struct cmd_target t;
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n; i++) {
		(void)snprintf(full, sizeof(full), "%s@%s", s->disks[i].name,
			       s->name);
		cmd_target_of(DESC_SNAPSHOT, full, &t);
		if (!cmd_globals.json) {
			/* A name that was given needs not be said. */
			if (chosen)
				printf("%s\n", t.text);
			continue;
		}
		r = cmd_load_target(&s->e, &t, &s->d[i]);
		if (r == 0 && json_array_append_new(rows, row(s, &s->d[i])) < 0)
			r = cmd_fail(-ENOMEM, NULL, NULL, "snapshot");
	}
	if (r || !cmd_globals.json)
		return r;
	return cmd_print_json(json_incref(rows));
}

int
cmd_snapshot(int argc, char **argv)
{
	CLEANUP(snapshot_done) struct snapshot s = { .n = 0 };
	bool by_time;
	int r;

	r = parse(argc, argv, &s);
	if (r == 0)
		r = load(&s);
	if (r)
		return r;
	by_time = s.name[0] == '\0';
	r = by_time ? take_by_time(&s) : take(&s, s.name);
	if (r == -EEXIST)
		return fail_exists(&s);
	return r ? r : print(&s, by_time);
}
