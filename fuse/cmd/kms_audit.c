/*
 * kms_audit.c - `sealdisk kms audit`: what the key service was asked, and
 * whether the log that says so is whole.
 */
#include "key.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/kms_record.h>

#define LAST "100" /* lines that are shown */
#define LAST_MAX 1000000

/* ---- looking ---- */

/* What is looked for, NULL: anything; and the newest that were found, in a
 * ring. */
struct look {
	const char *action, *key, *principal, *since;
	bool failed;
	json_t **found;
	size_t room, n, next;
};

static const char *
text_of(const json_t *line, const char *name)
{
	return json_string_value(json_object_get(line, name));
}

static bool
is(const json_t *line, const char *name, const char *want)
{
	const char *has = text_of(line, name);

	return !want || (has && strcmp(has, want) == 0);
}

static bool
is_wanted(const struct look *l, const json_t *line)
{
	const char *time = text_of(line, "time");
	const char *result = text_of(line, "result");

	if (!is(line, "action", l->action) ||
	    !is(line, "principal", l->principal))
		return false;
	if (l->key && !is(line, "key", l->key) && !is(line, "alias", l->key))
		return false;
	/* Times are written so that they sort as text. */
	if (l->since && (!time || strncmp(time, l->since, 19) < 0))
		return false;
	return !l->failed || (result && strcmp(result, "ok") != 0);
}

static int
look_at(const char *text, size_t len, void *arg)
{
	struct look *l = arg;
	json_t *line = json_loadb(text, len, 0, NULL);

	/* One that cannot be read is for `verify` to tell. */
	if (!line || !is_wanted(l, line)) {
		json_decref(line);
		return 0;
	}
	json_decref(l->found[l->next]);
	l->found[l->next] = line;
	l->next = (l->next + 1) % l->room;
	if (l->n < l->room)
		l->n++;
	return 0;
}

static void
free_look(struct look *l)
{
	size_t i;

	for (i = 0; l->found && i < l->room; i++)
		json_decref(l->found[i]);
	free(l->found);
}

/* Found line ${i}, oldest first. */
static json_t *
found(const struct look *l, size_t i)
{
	return l->found[(l->next + l->room - l->n + i) % l->room];
}

/* What was written there is text of whoever asked. */
static void
clean(const char *s, char *out, size_t cap)
{
	size_t i;

	(void)snprintf(out, cap, "%s", s ? s : "");
	for (i = 0; out[i]; i++)
		if (out[i] < ' ' || out[i] > '~')
			out[i] = '?';
}

static int
add_row(struct cmd_table *t, const json_t *line)
{
	static const char *const names[] = { "time", "principal", "action",
					     "key",  "result",    "reason" };
	char text[6][128];
	const char *cells[6];
	size_t i;

	for (i = 0; i < 6; i++) {
		clean(text_of(line, names[i]), text[i], sizeof(text[i]));
		cells[i] = text[i];
	}
	if (!text[2][0]) /* no request, but something about the log */
		clean(text_of(line, "kind"), text[2], sizeof(text[2]));
	return cmd_table_add(t, cells);
}

static int
print_found(const struct look *l)
{
	static const char *const heading[] = { "TIME", "PRINCIPAL", "ACTION",
					       "KEY",  "RESULT",    "REASON" };
	CLEANUP(cmd_table_freep)
	struct cmd_table *t = cmd_table_new(6, heading);
	CLEANUP(cmd_json_freep) json_t *rows = json_array();
	size_t i;
	int r = t && rows ? 0 : -ENOMEM;

	for (i = 0; i < l->n && r == 0; i++)
		if (!cmd_globals.json)
			r = add_row(t, found(l, i));
		else if (json_array_append(rows, found(l, i)) < 0)
			r = -ENOMEM;
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "kms audit");
	if (cmd_globals.json)
		return cmd_print_json(json_incref(rows));
	cmd_table_print(t);
	return 0;
}

static int
fail_audit(const struct settings *s, int err)
{
	if (err == -ENOENT && strcmp(s->keystore_audit, "none") == 0)
		return cmd_fail(err, "no audit log is kept",
				"[keystore] audit in sealdisk.ini says so",
				"%s", cmd_name());
	if (err == -ENOENT)
		return cmd_fail(err, "there is no such log, or file of it", "",
				"%s", cmd_name());
	return cmd_fail(err, NULL, NULL, "%s", cmd_name());
}

static int
look(struct kms *kms, const struct settings *s, struct look *l,
     const char *last)
{
	int64_t t;
	uint64_t n;
	int r;

	if (parse_u64(last, &n) < 0 || n == 0 || n > LAST_MAX)
		return cmd_usage("--last %s: from 1 to %d", last, LAST_MAX);
	if (l->since && parse_time(l->since, &t) < 0)
		return cmd_usage("--since %s: YYYY-MM-DDThh:mm:ssZ", l->since);
	l->room = (size_t)n;
	l->found = calloc(l->room, sizeof(json_t *));
	r = l->found ? kms_each_audit_line(kms, look_at, l) : -ENOMEM;
	return r < 0 ? fail_audit(s, r) : print_found(l);
}

/* ---- verifying ---- */

#define FLAWS_SHOWN 100

struct flaws {
	json_t *rows; /* NULL: they are printed */
	uint64_t n;
};

static void
show_flaw(const struct kms_audit_flaw *f, void *arg)
{
	struct flaws *all = arg;
	char line[32] = "";

	if (++all->n > FLAWS_SHOWN)
		return;
	if (all->rows) {
		(void)json_array_append_new(
		    all->rows,
		    json_pack("{sI sI ss}", "file", (json_int_t)f->file, "line",
			      (json_int_t)f->line, "what", f->what));
		return;
	}
	if (f->line)
		(void)snprintf(line, sizeof(line), ", line %llu",
			       (unsigned long long)f->line);
	printf("file %u%s: %s\n", f->file, line, f->what);
}

static int
print_report(const struct kms_audit_report *r, json_t *flaws)
{
	if (cmd_globals.json)
		return cmd_print_json(json_pack(
		    "{sb sI sI sI sI sI sI sI sO}", "whole", r->flaws == 0,
		    "first_file", (json_int_t)r->first_file, "last_file",
		    (json_int_t)r->last_file, "lines", (json_int_t)r->lines,
		    "unsealed", (json_int_t)r->unsealed, "seals",
		    (json_int_t)r->seals, "seals_unchecked",
		    (json_int_t)r->seals_unchecked, "flaws_found",
		    (json_int_t)r->flaws, "flaws", flaws));
	if (r->flaws > FLAWS_SHOWN)
		printf("... and %llu more\n",
		       (unsigned long long)r->flaws - FLAWS_SHOWN);
	printf("%llu lines in files %u to %u, %u seals: %s\n",
	       (unsigned long long)r->lines, r->first_file, r->last_file,
	       r->seals, r->flaws ? "not whole" : "whole");
	if (r->unsealed)
		printf("%llu of them are newer than the end that the keystore "
		       "knows: just written, or of a crash\n",
		       (unsigned long long)r->unsealed);
	return 0;
}

static int
verify(struct kms *kms, const struct settings *s, const char *from)
{
	CLEANUP(cmd_json_freep) json_t *rows = NULL;
	struct kms_audit_report report;
	struct flaws flaws = { 0 };
	uint64_t first = 1;
	int r;

	if (from &&
	    (parse_u64(from, &first) < 0 || first == 0 || first > UINT32_MAX))
		return cmd_usage("--from %s: the number of a file", from);
	flaws.rows = rows = cmd_globals.json ? json_array() : NULL;
	r = cmd_globals.json && !rows
		? -ENOMEM
		: kms_verify_audit(kms, (uint32_t)first, show_flaw, &flaws,
				   &report);
	if (r < 0)
		return fail_audit(s, r);
	r = print_report(&report, rows);
	if (r == 0 && report.flaws)
		r = cmd_fail(-EBADMSG, NULL,
			     "what it says now is not all that was done",
			     "kms audit verify: the log of %s",
			     s->keystore_path);
	return r;
}

int
kms_audit_cmd(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	CLEANUP(free_look) struct look l = { 0 };
	const char *last = NULL, *from = NULL;
	const struct cmd_option own[] = {
		{ "action", &l.action, NULL },
		{ "failed", NULL, &l.failed },
		{ "from", &from, NULL },
		{ "key", &l.key, NULL },
		{ "last", &last, NULL },
		{ "principal", &l.principal, NULL },
		{ "since", &l.since, NULL },
		{ NULL, NULL, NULL },
	};
	bool looking, verifying = false;
	struct settings s;
	int r, i;

	for (i = 1; i < argc; i++)
		verifying |= strcmp(argv[i], "verify") == 0;
	r = key_open_kms(&argc, &argv, own,
			 verifying ? KEY_UNLOCKED : KEY_LOCKED, &s, &kms);
	if (r)
		return r;
	looking = l.action || l.failed || l.key || last || l.principal ||
		  l.since;
	if (argc && strcmp(argv[0], "verify") != 0)
		return cmd_usage("`%s`: verify, or nothing", argv[0]);
	if (argc ? looking : from != NULL)
		return cmd_usage("--from is for verify, the others for looking "
				 "at the log");
	if (argc)
		return verify(kms, &s, from);
	return look(kms, &s, &l, last ? last : LAST);
}
