/*
 * kms_usage.c - `sealdisk kms usage`: how often the key service was called.
 */
#include "key.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <sealdisk/codec.h>
#include <sealdisk/kms_record.h>

struct listing {
	json_t *rows;
	struct cmd_table *table;
};

static int
add_row(const struct kms_usage *u, void *arg)
{
	struct listing *l = arg;
	char month[8], calls[24];
	const char *const cells[] = { month,     u->principal,
				      u->action, u->key,
				      calls,     u->billable ? "yes" : "no" };

	kms_format_month(u->month, month);
	(void)snprintf(calls, sizeof(calls), "%llu",
		       (unsigned long long)u->calls);
	if (!l->rows)
		return cmd_table_add(l->table, cells);
	return json_array_append_new(
		   l->rows,
		   json_pack("{ss ss ss ss? sI sb}", "month", month,
			     "principal", u->principal, "action", u->action,
			     "key_id", u->key[0] ? u->key : NULL, "calls",
			     (json_int_t)u->calls, "billable", u->billable)) < 0
		   ? -ENOMEM
		   : 0;
}

/* "2026-11", "all", or, NULL, the present one. */
static int
parse_month(const char *text, unsigned *ret)
{
	char now[TIME_STR_LEN];

	*ret = 0;
	if (text && strcmp(text, "all") == 0)
		return 0;
	if (!text) {
		format_time(time(NULL), now);
		now[strlen("YYYY-MM")] = '\0';
		text = now;
	}
	if (kms_parse_month(text, ret) < 0)
		return cmd_usage("--month %s: YYYY-MM, or all", text);
	return 0;
}

int
kms_usage_cmd(int argc, char **argv)
{
	static const char *const heading[] = { "MONTH", "PRINCIPAL", "ACTION",
					       "KEY",   "CALLS",     "BILLED" };
	CLEANUP(kms_closep) struct kms *kms = NULL;
	CLEANUP(cmd_table_freep) struct cmd_table *table = NULL;
	CLEANUP(cmd_json_freep) json_t *rows = NULL;
	const char *text = NULL;
	const struct cmd_option own[] = {
		{ "month", &text, NULL },
		{ NULL, NULL, NULL },
	};
	struct settings s;
	struct listing l;
	unsigned month;
	int r;

	r = key_open_kms(&argc, &argv, own, KEY_LOCKED, &s, &kms);
	if (r == 0)
		r = parse_month(text, &month);
	if (r)
		return r;
	l.rows = rows = cmd_globals.json ? json_array() : NULL;
	l.table = table =
	    cmd_table_new(sizeof(heading) / sizeof(heading[0]), heading);
	r = !table || (cmd_globals.json && !rows)
		? -ENOMEM
		: kms_each_usage(kms, month, add_row, &l);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "kms usage");
	if (rows)
		return cmd_print_json(json_incref(rows));
	cmd_table_print(table);
	return 0;
}
