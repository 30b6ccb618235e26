/*
 * key_users.c - `sealdisk key users KEY`: which disks, snapshots and images
 * hang on a master key.
 *
 * Every descriptor of the store is read, which says by what key each of its
 * data keys is wrapped.  That is not authenticated; but a data key that is of
 * another CMK than it says does not open.
 */
#include "key.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/kms.h>
#include <sealdisk/log.h>

/* A walk over all descriptors of a store. */
struct walk {
	struct catalog *c;
	const char *key_id;
	enum desc_type type;
	struct descriptor *d; /* room for one */
	int (*fn)(struct walk *w, const char *name, unsigned n);
	unsigned bad;
	void *arg;
};

static unsigned
count_keys(const struct descriptor *d, const char *key_id)
{
	unsigned n = 0;

	for (size_t i = 0; i < d->n_keys; i++)
		n += strcmp(d->keys[i].dk.key_id, key_id) == 0;
	return n;
}

static int
look_at(const char *name, void *arg)
{
	struct walk *w = arg;
	unsigned n;
	int r;

	r = catalog_load(w->c, w->type, name, w->d, NULL, NULL);
	if (r == -ENOENT) /* gone meanwhile */
		return 0;
	if (err_is_shortage(r))
		return r;
	if (r < 0) {
		w->bad++;
		return 0;
	}
	n = count_keys(w->d, w->key_id);
	return n ? w->fn(w, name, n) : 0;
}

static int
walk(struct walk *w)
{
	int r = 0;

	w->d = malloc(sizeof(*w->d));
	if (!w->d)
		return -ENOMEM;
	for (w->type = DESC_DISK; w->type <= DESC_IMAGE && r == 0; w->type++)
		r = catalog_list(w->c, w->type, look_at, w);
	free(w->d);
	return r;
}

/* How many, for a question. */

#define MORE ", ..."

/* No name is cut in two. */
static void
add_name(struct key_load *load, const char *name)
{
	size_t len = strlen(load->names);
	size_t room = sizeof(load->names) - len - strlen(MORE);
	int wrote;

	if (load->full)
		return;
	wrote =
	    snprintf(load->names + len, room, "%s%s", len ? ", " : "", name);
	if (wrote < 0 || (size_t)wrote >= room) {
		strcpy(load->names + len, len ? MORE : "");
		load->full = true;
	}
}

static int
note_name(struct walk *w, const char *name, unsigned n)
{
	struct key_load *load = w->arg;
	struct cmd_target t;

	(void)n;
	load->n++;
	cmd_target_of(w->type, name, &t);
	add_name(load, t.text);
	return 0;
}

static bool
names_store(const struct settings *s)
{
	const char *env = getenv("SEALDISK_STORE");

	return cmd_globals.store || (env && env[0]) || s->store[0];
}

static int
open_store(const struct settings *s, struct store **st, struct catalog **c)
{
	const char *path = cmd_globals.store;
	char real[PATH_MAX];
	int r;

	if (!path)
		path = getenv("SEALDISK_STORE");
	if (!path || !path[0])
		path = s->store;
	if (!realpath(path, real))
		return -errno;
	r = store_posix_open(real, st);
	return r < 0 ? r : catalog_open(*st, c);
}

void
key_find_load(const struct settings *s, const char *key_id,
	      struct key_load *ret)
{
	CLEANUP(store_freep) struct store *st = NULL;
	CLEANUP(catalog_closep) struct catalog *c = NULL;
	struct walk w = { .key_id = key_id, .fn = note_name, .arg = ret };
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!names_store(s))
		return;
	r = open_store(s, &st, &c);
	w.c = c;
	if (r == 0)
		r = walk(&w);
	if (r < 0)
		ret->unknown = err_text(r);
	else if (w.bad)
		ret->unknown = "descriptors cannot be read";
}

/* All of them, for a list. */

struct listing {
	const char *version; /* the newest, or NULL: there is none */
	json_t *rows;
	struct cmd_table *table;
};

static unsigned
count_old(const struct descriptor *d, const char *key_id, const char *version)
{
	unsigned n = 0;

	for (size_t i = 0; i < d->n_keys; i++)
		n += strcmp(d->keys[i].dk.key_id, key_id) == 0 &&
		     strcmp(d->keys[i].dk.key_version_id, version) != 0;
	return n;
}

static int
list_one(struct walk *w, const char *name, unsigned n)
{
	struct listing *l = w->arg;
	const char *type = cmd_type_word(w->type);
	struct cmd_target t;
	char count[16];
	const char *const cells[] = { t.text, type, count,
				      !l->version ? NULL
				      : count_old(w->d, w->key_id, l->version)
					  ? "older"
					  : "newest" };
	json_t *row;

	cmd_target_of(w->type, name, &t);
	(void)snprintf(count, sizeof(count), "%u", n);
	if (!l->rows)
		return cmd_table_add(l->table, cells);
	row = json_pack("{ss ss sI ss?}", "name", t.text, "type", type,
			"data_keys", (json_int_t)n, "version", cells[3]);
	return json_array_append_new(l->rows, row) < 0 ? -ENOMEM : 0;
}

/* The id of ${key}; a key that is gone is called by it. */
static int
find_key(struct cmd_env *e, const char *key, char ret[static KMS_ID_LEN],
	 char ret_version[static KMS_ID_LEN])
{
	struct kms_key_info info;
	struct uuid u;
	bool is_id = uuid_parse(key, &u) == 0;
	int r = -ENOKEY;

	ret_version[0] = '\0';
	if (!e->kms && !is_id) {
		r = cmd_open_kms(&e->settings, &e->kms);
		if (r)
			return r;
	}
	if (e->kms)
		r = kms_describe_key(e->kms, key, &info);
	if (r == 0) {
		memcpy(ret, info.id, KMS_ID_LEN);
		memcpy(ret_version, info.primary_version, KMS_ID_LEN);
		return 0;
	}
	if (!is_id)
		return key_fail(r, key);
	(void)snprintf(ret, KMS_ID_LEN, "%s", key);
	return 0;
}

static int
list(struct cmd_env *e, const char *key_id, const char *version)
{
	static const char *const heading[] = { "NAME", "TYPE", "DATA KEYS",
					       "VERSION" };
	CLEANUP(cmd_table_freep) struct cmd_table *table = NULL;
	CLEANUP(cmd_json_freep) json_t *rows = NULL;
	struct listing l = { .version = version[0] ? version : NULL };
	struct walk w = {
		.c = e->catalog, .key_id = key_id, .fn = list_one, .arg = &l
	};
	int r;

	l.table = table = cmd_table_new(4, heading);
	l.rows = rows = cmd_globals.json ? json_array() : NULL;
	r = !table || (cmd_globals.json && !rows) ? -ENOMEM : walk(&w);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "key users");
	if (rows)
		r = cmd_print_json(json_incref(rows));
	else
		cmd_table_print(table);
	/* Before a key goes, this must be known. */
	if (r == 0 && w.bad)
		return cmd_fail(-EUCLEAN, "some cannot be read",
				"`sealdisk ls all` shows which",
				"key users: %u descriptors of %s", w.bad,
				e->path);
	return r;
}

int
key_users(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	char id[KMS_ID_LEN], version[KMS_ID_LEN];
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_check_key(argv[0]);
	if (r == 0)
		r = cmd_open(&e, CMD_TRY_KMS);
	if (r == 0)
		r = find_key(&e, argv[0], id, version);
	return r ? r : list(&e, id, version);
}
