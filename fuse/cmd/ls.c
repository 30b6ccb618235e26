/*
 * ls.c - `sealdisk ls`: what disks there are, or snapshots, images or all.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>

struct listing {
	struct cmd_env *env;
	enum desc_type type; /* that is listed now */
	bool names;          /* nothing else: quick, for the completion */
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
add_row(struct listing *l, const char *name, const struct descriptor *d,
	const struct cmd_state *s)
{
	const char *key = cmd_key_id(d), *alias = cmd_alias_of(l->aliases, key);
	char size[16], allocated[16], state[256], created[TIME_STR_LEN];
	const char *const cells[N_COLUMNS] = { name,      size,
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
	struct cmd_target t;
	struct descriptor d;
	struct cmd_state s;
	json_t *row;
	int r;

	cmd_target_of(l->type, name, &t);
	if (l->names)
		return add_name(l, t.text);
	r = catalog_load(l->env->catalog, l->type, name, &d, NULL, NULL);
	if (r < 0)
		return add_bad(l, t.text, r);
	cmd_disk_state(l->env, &d, &s);
	l->n++;
	if (!l->rows)
		return add_row(l, t.text, &d, &s);
	row = cmd_disk_json(&d, &s, l->aliases);
	return json_array_append_new(l->rows, row) < 0 ? -ENOMEM : 0;
}

/* What of the store is asked for, as CMD_TYPE()s. */
static int
parse_types(const char *word, unsigned *ret)
{
	static const struct {
		const char *word;
		unsigned types;
	} words[] = {
		{ "disks", CMD_TYPE(DESC_DISK) },
		{ "snapshots", CMD_TYPE(DESC_SNAPSHOT) },
		{ "images", CMD_TYPE(DESC_IMAGE) },
		{ "all", CMD_ANY_TYPE },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i].word) == 0) {
			*ret = words[i].types;
			return 0;
		}
	return cmd_usage("%s: disks, snapshots, images or all", word);
}

static int
list(struct listing *l, unsigned types)
{
	int r = 0;

	for (l->type = DESC_DISK; r == 0 && l->type <= DESC_IMAGE; l->type++)
		if (types & CMD_TYPE(l->type))
			r = catalog_list(l->env->catalog, l->type, add, l);
	return r;
}

static int
print(struct listing *l, unsigned types)
{
	if (l->rows)
		return cmd_print_json(json_incref(l->rows));
	if (l->n > 0 && !l->names)
		cmd_table_print(l->table);
	else if (l->n == 0 && types & CMD_TYPE(DESC_DISK) &&
		 isatty(STDOUT_FILENO))
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
	unsigned types = CMD_TYPE(DESC_DISK);
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r == 0 && argc > 0)
		r = parse_types(argv[0], &types);
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
		r = list(&l, types);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "ls %s", e.path);
	r = print(&l, types);
	if (r == 0 && l.n_bad > 0)
		r = cmd_fail(-EUCLEAN, "their descriptors are malformed",
			     "put them back from a backup of the store",
			     "ls %s: %zu of %zu names", e.path, l.n_bad, l.n);
	return r;
}
