/*
 * key.c - `sealdisk key ...`: the customer master keys, through whichever KMS
 * sealdisk.ini names.  No key material passes here.
 */
#include "key.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/kms.h>

#define DAY 86400

/* "app" is short for "alias/app". */
static int
alias_name(const char *given, char ret[static KMS_ALIAS_LEN])
{
	const char *name = strncmp(given, "alias/", 6) == 0 ? given + 6 : given;
	int len = snprintf(ret, KMS_ALIAS_LEN, "alias/%s", name), r;

	if (len < 0 || len >= KMS_ALIAS_LEN)
		r = -EINVAL;
	else
		r = kms_check_alias(ret);
	if (r == -EPERM)
		return cmd_fail(r, "alias/acs... is the key service's own", "",
				"%s: alias %s", cmd_name(), ret);
	if (r < 0)
		return cmd_usage("alias `%s`: an alias has 1 to 249 letters, "
				 "digits and / _ - . :",
				 given);
	return 0;
}

int
key_open_kms(int *argc, char ***argv, const struct cmd_option *own,
	     enum key_open how, struct settings *ret_settings, struct kms **ret)
{
	int r;

	r = cmd_parse(argc, argv, own);
	if (r == 0)
		r = cmd_settings(ret_settings);
	if (r)
		return r;
	r = how == KEY_LOCKED ? kms_open_locked(ret_settings, ret)
			      : kms_open(ret_settings, ret);
	return r < 0 ? cmd_fail_kms(ret_settings, r) : 0;
}

static int
open_kms(int *argc, char ***argv, const struct cmd_option *own,
	 struct kms **ret)
{
	struct settings s;

	return key_open_kms(argc, argv, own, KEY_LOCKED, &s, ret);
}

int
key_fail(int err, const char *what)
{
	const char *why = NULL, *hint = NULL;

	if (err == -EPERM) {
		why = "the service key is not yours to change";
		hint = "";
	} else if (err == -EEXIST) {
		why = "another key has this alias";
		hint = "--move gives it to this one";
	} else if (err == -EBUSY) {
		why = "it is protected from deletion";
		hint = "`sealdisk key set KEY protected=no` ends that";
	} else if (err == -EALREADY) {
		why = "it is not scheduled for deletion";
		hint = "";
	}
	return cmd_fail(err, why, hint, "%s%s%s", cmd_name(),
			what[0] ? " " : "", what);
}

/* Listing. */

struct listing {
	json_t *aliases, *rows;
	struct cmd_table *table;
};

static json_t *
key_json(const struct kms_key_info *k, const json_t *aliases)
{
	char created[TIME_STR_LEN], rotated[TIME_STR_LEN];
	char delete_at[TIME_STR_LEN], rotate_at[TIME_STR_LEN];
	char expires_at[TIME_STR_LEN];
	json_t *own = json_object_get(aliases, k->id);
	json_t *days = k->rotate_every ? json_integer(k->rotate_every / DAY)
				       : json_null();

	format_time(k->created, created);
	format_time(k->rotated, rotated);
	format_time(k->delete_at, delete_at);
	format_time(k->rotate_at, rotate_at);
	format_time(k->expires_at, expires_at);
	return json_pack("{ss ss ss ss ss ss ss sI ss ss ss? so ss? ss? sb so}",
			 "key_id", k->id, "arn", k->arn, "state",
			 kms_state_name(k->state), "description",
			 k->description, "creator", k->creator, "origin",
			 k->origin, "primary_version_id", k->primary_version,
			 "versions", (json_int_t)k->versions, "created",
			 created, "rotated", rotated, "delete_at",
			 k->delete_at ? delete_at : NULL, "rotation_days", days,
			 "rotate_at", k->rotate_at ? rotate_at : NULL,
			 "expires_at", k->expires_at ? expires_at : NULL,
			 "protected", (int)k->is_protected, "aliases",
			 own ? json_incref(own) : json_array());
}

static int
add_row(const struct kms_key_info *k, struct listing *l)
{
	const char *alias = cmd_alias_of(l->aliases, k->id);
	char created[TIME_STR_LEN], at[TIME_STR_LEN], state[64];
	const char *const cells[] = { k->id, state, alias, created,
				      k->description };

	format_time(k->created, created);
	format_time(k->delete_at, at);
	(void)snprintf(state, sizeof(state), "%s%s%s", kms_state_name(k->state),
		       k->delete_at ? " at " : "", k->delete_at ? at : "");
	return cmd_table_add(l->table, cells);
}

static int
add_key(const struct kms_key_info *k, void *arg)
{
	struct listing *l = arg;

	if (!l->rows)
		return add_row(k, l);
	return json_array_append_new(l->rows, key_json(k, l->aliases)) < 0
		   ? -ENOMEM
		   : 0;
}

static int
key_ls(int argc, char **argv)
{
	static const char *const heading[] = { "KEY", "STATE", "ALIAS",
					       "CREATED", "DESCRIPTION" };
	CLEANUP(kms_closep) struct kms *kms = NULL;
	CLEANUP(cmd_table_freep) struct cmd_table *table = NULL;
	CLEANUP(cmd_json_freep) json_t *aliases = NULL;
	CLEANUP(cmd_json_freep) json_t *rows = NULL;
	struct listing l;
	int r;

	r = open_kms(&argc, &argv, NULL, &kms);
	if (r)
		return r;
	aliases = cmd_aliases(kms);
	rows = cmd_globals.json ? json_array() : NULL;
	table = cmd_table_new(sizeof(heading) / sizeof(heading[0]), heading);
	if (!aliases || !table || (cmd_globals.json && !rows))
		return cmd_fail(-ENOMEM, NULL, NULL, "key ls");
	l = (struct listing){ aliases, rows, table };
	r = kms_list_keys(kms, add_key, &l);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "key ls");
	if (rows)
		return cmd_print_json(json_incref(rows));
	cmd_table_print(table);
	return 0;
}

/* Making. */

static int
print_made(const struct kms_key_info *k, const char *alias)
{
	if (cmd_globals.json)
		return cmd_print_json(json_pack("{ss ss ss?}", "key_id", k->id,
						"arn", k->arn, "alias",
						alias[0] ? alias : NULL));
	printf("%s\n", k->id);
	return 0;
}

/* Before the key is made: one without the alias that it was to have would be
 * left, and a key goes only after days. */
static int
check_free(struct kms *kms, const char *alias)
{
	struct kms_key_info k;
	int r = kms_describe_key(kms, alias, &k);

	if (r == -ENOKEY)
		return 0;
	if (r == 0)
		return cmd_fail(-EEXIST, "another key has this alias",
				"nothing was made; `sealdisk key alias` lists "
				"them",
				"key create: alias %s", alias);
	return key_fail(r, "");
}

static int
refuse_taken(const char *alias, const char *key_id, void *arg)
{
	(void)key_id;
	return strcmp(alias, arg) == 0 ? -EEXIST : 0;
}

static int
check_origin(const char *text, bool *ret_external)
{
	*ret_external = strcmp(text, "external") == 0;
	if (!*ret_external && strcmp(text, "kms") != 0)
		return cmd_usage("--origin %s: kms or external", text);
	return 0;
}

static int
make(struct kms *kms, const char *description, bool external,
     struct kms_key_info *ret)
{
	if (external)
		return kms_create_external_key(kms, description, ret);
	return kms_create_key(kms, description, ret);
}

static int
key_create(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	const char *given = NULL, *description = NULL, *origin = NULL;
	const struct cmd_option own[] = {
		{ "alias", &given, NULL },
		{ "description", &description, NULL },
		{ "origin", &origin, NULL },
		{ NULL, NULL, NULL },
	};
	char alias[KMS_ALIAS_LEN] = "";
	bool external = false;
	struct kms_key_info k;
	struct settings s;
	int r;

	r = key_open_kms(&argc, &argv, own, KEY_UNLOCKED, &s, &kms);
	if (r == 0 && origin)
		r = check_origin(origin, &external);
	if (r == 0 && given)
		r = alias_name(given, alias);
	if (r == 0 && given)
		r = check_free(kms, alias);
	if (r)
		return r;
	/* A key that is made goes again after a week at the soonest: see first
	 * whether it can have its name. */
	if (given)
		r = kms_list_aliases(kms, refuse_taken, alias);
	if (r == -EEXIST)
		return cmd_fail(r, "another key has this alias",
				"no key was made; name another alias",
				"key create: alias %s", alias);
	if (r < 0)
		return key_fail(r, given);
	r = make(kms, description ? description : "", external, &k);
	if (r < 0)
		return key_fail(r, "");
	if (given)
		r = kms_create_alias(kms, alias, k.id);
	if (r < 0)
		return cmd_fail(r, NULL,
				"the key is made; `sealdisk key "
				"alias` names it",
				"key create: alias %s of key %s", alias, k.id);
	return print_made(&k, alias);
}

/* Aliases. */

static int
add_alias(const char *alias, const char *key_id, void *arg)
{
	struct listing *l = arg;
	const char *const cells[] = { alias, key_id };

	if (!l->rows)
		return cmd_table_add(l->table, cells);
	return json_array_append_new(l->rows,
				     json_pack("{ss ss}", "alias", alias,
					       "key_id", key_id)) < 0
		   ? -ENOMEM
		   : 0;
}

static int
alias_ls(struct kms *kms)
{
	static const char *const heading[] = { "ALIAS", "KEY" };
	CLEANUP(cmd_table_freep)
	struct cmd_table *table = cmd_table_new(2, heading);
	CLEANUP(cmd_json_freep)
	json_t *rows = cmd_globals.json ? json_array() : NULL;
	struct listing l = { NULL, rows, table };
	int r;

	if (!table || (cmd_globals.json && !rows))
		r = -ENOMEM;
	else
		r = kms_list_aliases(kms, add_alias, &l);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "key alias");
	if (rows)
		return cmd_print_json(json_incref(rows));
	cmd_table_print(table);
	return 0;
}

static int
alias_set(struct kms *kms, const char *alias, const char *key, bool move)
{
	int r = cmd_check_key(key);

	if (r)
		return r;
	r = kms_create_alias(kms, alias, key);
	if (r == -EEXIST && move)
		r = kms_update_alias(kms, alias, key);
	if (r == -ENOKEY)
		return cmd_fail(r, NULL, NULL, "key alias %s: key %s", alias,
				key);
	return r < 0 ? key_fail(r, alias) : 0;
}

static int
alias_rm(struct kms *kms, const char *alias)
{
	int r = kms_delete_alias(kms, alias);

	if (r == -ENOKEY)
		return cmd_fail(r, "there is no such alias",
				"`sealdisk key alias` lists them",
				"key alias --rm %s", alias);
	return r < 0 ? key_fail(r, alias) : 0;
}

static int
key_alias(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	const char *rm = NULL;
	bool move = false;
	const struct cmd_option own[] = {
		{ "rm", &rm, NULL },
		{ "move", NULL, &move },
		{ NULL, NULL, NULL },
	};
	const char *name;
	char alias[KMS_ALIAS_LEN];
	int r;

	r = open_kms(&argc, &argv, own, &kms);
	if (r)
		return r;
	if (argc != (rm ? 0 : 2) && (argc || move))
		return cmd_usage("NAME KEY, or --rm NAME, or nothing");
	if (rm && move)
		return cmd_usage("--rm and --move exclude each other");
	if (argc == 0 && !rm)
		return alias_ls(kms);
	name = rm ? rm : argv[0];
	r = alias_name(name, alias);
	if (r)
		return r;
	return rm ? alias_rm(kms, alias) : alias_set(kms, alias, argv[1], move);
}

const struct command key_commands[] = {
	{ "alias", key_alias, 0, 2, "[NAME KEY [--move] | --rm NAME]",
	  "list aliases, give a key one, or take one away", NULL, NULL },
	{ "cancel-deletion", key_cancel_deletion, 1, 1, "KEY",
	  "call off the deletion of a key, and enable it", NULL, NULL },
	{ "create", key_create, 0, 0,
	  "[--alias NAME] [--description TEXT] [--origin kms|external]",
	  "make a master key and print its id",
	  "  --origin external   its material is to be imported\n", NULL },
	{ "disable", key_disable, 1, 1, "KEY",
	  "let a key open nothing until it is enabled", NULL, NULL },
	{ "enable", key_enable, 1, 1, "KEY", "let a disabled key be used again",
	  NULL, NULL },
	{ "grant", key_grant, 2, 2, "KEY PRINCIPAL",
	  "let a principal use a key of a server", NULL, NULL },
	{ "import", key_import, 1, 1,
	  "KEY --material FILE [--expires TIME] | KEY --rm",
	  "give a key its material, which is 32 bytes, or take it away",
	  "  --expires TIME   when it goes, as 2027-01-31T00:00:00Z\n", NULL },
	{ "ls", key_ls, 0, 0, "", "list the master keys", NULL, NULL },
	{ "revoke", key_revoke, 2, 2, "KEY PRINCIPAL",
	  "let a principal use a key no longer", NULL, NULL },
	{ "rotate", key_rotate, 1, 1, "KEY",
	  "make a new version of a key and print its id", NULL, NULL },
	{ "schedule-deletion", key_schedule_deletion, 1, 1, "KEY [--days N]",
	  "let a key open nothing, and be destroyed in 7 to 366 days",
	  "  --days N   30 if nothing is said\n", NULL },
	{ "set", key_set, 2, -1, "KEY PROPERTY=VALUE...",
	  "change a key's properties",
	  "  rotation=DAYS|never   a new version every 7 to 730 days\n"
	  "  protected=yes|no      it cannot be scheduled for deletion\n",
	  NULL },
	{ "users", key_users, 1, 1, "KEY",
	  "list the disks, snapshots and images that hang on a key", NULL,
	  NULL },
	{ NULL, NULL, 0, 0, NULL, NULL, NULL, NULL },
};
