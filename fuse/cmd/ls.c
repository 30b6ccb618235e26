/*
 * ls.c - `sealdisk ls`: what disks there are.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>

struct listing {
	struct cmd_env *env;
	bool names; /* nothing else: quick, for the completion */
	json_t *aliases;
	json_t *rows;            /* with --json, else */
	struct cmd_table *table; /* this */
	size_t n, n_bad;
};

static const char *const heading[] = { "NAME", "SIZE",  "ALLOCATED",
				       "KEY",  "STATE", "CREATED" };
#define N_COLUMNS (sizeof(heading) / sizeof(heading[0]))

static int
add_name(struct listing *l, const char *name)
{
	l->n++;
	if (l->rows)
		return json_array_append_new(l->rows, json_string(name)) < 0
			   ? -ENOMEM
			   : 0;
	printf("%s\n", name);
	return 0;
}

/* A disk whose descriptor cannot be read is listed with what is known. */
static int
add_bad(struct listing *l, const char *name, int err)
{
	const char *const cells[N_COLUMNS] = { name, NULL,        NULL,
					       NULL, "malformed", NULL };

	if (err == -ENOENT) /* gone since its folder was read */
		return 0;
	if (err != -EUCLEAN && err != -EPROTONOSUPPORT)
		return err;
	l->n++;
	l->n_bad++;
	if (!l->rows)
		return cmd_table_add(l->table, cells);
	return json_array_append_new(l->rows, json_pack("{ss ss}", "name", name,
							"state", "malformed")) <
		       0
		   ? -ENOMEM
		   : 0;
}

static int
add_row(struct listing *l, const struct descriptor *d,
	const struct cmd_state *s)
{
	const char *key = cmd_key_id(d), *alias = cmd_alias_of(l->aliases, key);
	char size[16], allocated[16], state[256], created[TIME_STR_LEN];
	const char *const cells[N_COLUMNS] = { d->name,   size,
					       allocated, alias ? alias : key,
					       state,     created };

	format_size(s->size, size);
	format_size(s->allocated, allocated);
	format_time(d->created, created);
	cmd_state_text(s, state, sizeof(state));
	return cmd_table_add(l->table, cells);
}

static int
add(const char *name, void *arg)
{
	struct listing *l = arg;
	struct descriptor d;
	struct cmd_state s;
	json_t *row;
	int r;

	if (l->names)
		return add_name(l, name);
	r = catalog_load(l->env->catalog, DESC_DISK, name, &d, NULL, NULL);
	if (r < 0)
		return add_bad(l, name, r);
	cmd_disk_state(l->env, &d, &s);
	l->n++;
	if (!l->rows)
		return add_row(l, &d, &s);
	row = cmd_disk_json(&d, &s, l->aliases);
	return json_array_append_new(l->rows, row) < 0 ? -ENOMEM : 0;
}

static int
print(struct listing *l)
{
	if (l->rows)
		return cmd_print_json(json_incref(l->rows));
	if (l->n > 0 && !l->names)
		cmd_table_print(l->table);
	else if (l->n == 0 && isatty(STDOUT_FILENO))
		cmd_note("there are no disks yet (`sealdisk create NAME "
			 "--size N` makes one)");
	return 0;
}

int
cmd_ls(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	CLEANUP(cmd_table_freep) struct cmd_table *table = NULL;
	CLEANUP(cmd_json_freep) json_t *aliases = NULL;
	CLEANUP(cmd_json_freep) json_t *rows = NULL;
	struct listing l = { .env = &e };
	const struct cmd_option own[] = {
		{ "names", NULL, &l.names },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r == 0)
		r = cmd_open(&e, l.names ? 0 : CMD_TRY_KMS);
	if (r)
		return r;
	l.aliases = aliases = cmd_aliases(e.kms);
	l.rows = rows = cmd_globals.json ? json_array() : NULL;
	l.table = table = cmd_table_new(N_COLUMNS, heading);
	if (!aliases || !table || (cmd_globals.json && !rows))
		r = -ENOMEM;
	else
		r = catalog_list(e.catalog, DESC_DISK, add, &l);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "ls %s", e.path);
	r = print(&l);
	if (r == 0 && l.n_bad > 0)
		r = cmd_fail(-EUCLEAN, "their descriptors are malformed",
			     "put them back from a backup of the store",
			     "ls %s: %zu of %zu disks", e.path, l.n_bad, l.n);
	return r;
}
