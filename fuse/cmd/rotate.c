/*
 * rotate.c - `sealdisk rotate`: data keys under the newest version of their
 * master key, or under another one.
 *
 * A disk's content is not touched, nor its data key: only what that is wrapped
 * by.  So it takes an instant, and a disk may be in use: then its daemon does
 * it, which has the descriptor in memory.  Snapshots and images belong to
 * nobody and are done in the store.
 */
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include <sealdisk/grow.h>
#include <sealdisk/ioctl.h>
#include <sealdisk/kms.h>
#include <sealdisk/log.h>

#include "rewrap.h"

struct rotate {
	struct cmd_env env;
	const char *given;    /* --key, or NULL */
	char key[KMS_ID_LEN]; /* its id */
	bool all, dry;
	enum desc_type type; /* while they are listed */
	struct cmd_target *targets;
	size_t n, cap;
	json_t *rows;
	struct cmd_table *table;
	bool done; /* something is in it */
};

/* What there is to do. */

static int
add(struct rotate *ro, enum desc_type type, const char *name)
{
	struct cmd_target *t;

	t = grow(ro->targets, ro->n, &ro->cap, sizeof(*t));
	if (!t)
		return -ENOMEM;
	ro->targets = t;
	cmd_target_of(type, name, &ro->targets[ro->n++]);
	return 0;
}

static int
add_listed(const char *name, void *arg)
{
	struct rotate *ro = arg;

	return add(ro, ro->type, name);
}

static int
add_all(struct rotate *ro)
{
	int r = 0;

	for (ro->type = DESC_DISK; ro->type <= DESC_IMAGE && r == 0; ro->type++)
		r = catalog_list(ro->env.catalog, ro->type, add_listed, ro);
	return r < 0 ? cmd_fail(r, NULL, NULL, "rotate: store %s", ro->env.path)
		     : 0;
}

/* Each must be there before anything is done. */
static int
add_named(struct rotate *ro, int n, char **names)
{
	struct cmd_target t;
	struct descriptor d;
	int r = 0;

	for (int i = 0; i < n && r == 0; i++) {
		r = cmd_parse_name(names[i], CMD_ANY_TYPE, &t);
		if (r == 0)
			r = cmd_load_target(&ro->env, &t, &d);
		if (r == 0)
			r = add(ro, t.type, t.name);
	}
	return r;
}

/* The key that all shall be under is looked at once. */
static int
find_key(struct rotate *ro)
{
	struct kms_key_info k;
	int r;

	if (!ro->given)
		return 0;
	r = kms_describe_key(ro->env.kms, ro->given, &k);
	if (r == 0 && k.state == KMS_PENDING_DELETION)
		r = -EKEYEXPIRED;
	else if (r == 0 && k.state != KMS_ENABLED)
		r = -EKEYREVOKED;
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "rotate: key %s", ro->given);
	memcpy(ro->key, k.id, sizeof(ro->key));
	return 0;
}

/* Doing it. */

static int
in_mount(struct rotate *ro, const char *path, unsigned *ret_n)
{
	struct sd_ioc_rewrap arg = { .key = "" };
	CLEANUP(close_fdp) int fd = -1;
	char info[PATH_MAX];
	int r;

	r = cmd_info_path(path, info);
	if (r < 0)
		return r;
	fd = open(info, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)snprintf(arg.key, sizeof(arg.key), "%s", ro->key);
	if (ioctl(fd, SD_IOC_REWRAP, &arg) < 0)
		return -errno;
	*ret_n = arg.rewrapped;
	return 0;
}

static int
in_store(struct rotate *ro, const struct cmd_target *t, unsigned *ret_n)
{
	return catalog_rewrap(ro->env.catalog, ro->env.kms, t->type, t->name,
			      ro->key[0] ? ro->key : NULL, ro->dry, ret_n);
}

static int
rotate_disk(struct rotate *ro, const struct cmd_target *t, unsigned *ret_n,
	    bool *ret_told)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	char path[PATH_MAX];
	struct descriptor d;
	int r;

	r = catalog_load(ro->env.catalog, DESC_DISK, t->name, &d, NULL, NULL);
	if (r < 0)
		return r;
	r = cmd_lock(&ro->env, &d, &lock, path);
	*ret_told = r != 0;
	if (r)
		return r;
	return lock ? in_store(ro, t, ret_n) : in_mount(ro, path, ret_n);
}

static int
fail_one(const struct cmd_target *t, int err)
{
	const char *why = NULL, *hint = NULL;

	if (err == -ENOTTY) {
		why = "its daemon is an older program";
		hint = "detach it, and try again";
	} else if (err == -EPERM) {
		why = "the master key of an attached disk is root's choice";
	} else if (err == -EUCLEAN) {
		why = "its descriptor is malformed, or that of another";
	}
	return cmd_fail(err, why, hint, "rotate %s", t->text);
}

/* Reporting. */

static const char *
outcome(const struct rotate *ro, unsigned n)
{
	if (n == 0)
		return "current";
	return ro->dry ? "would be rewrapped" : "rewrapped";
}

static int
report(struct rotate *ro, const struct cmd_target *t, int result, unsigned n)
{
	char count[16];
	const char *const cells[] = { t->text, cmd_type_word(t->type), count,
				      outcome(ro, n) };
	json_t *row;

	(void)snprintf(count, sizeof(count), "%u", n);
	/* That it has failed has been told in a line of its own. */
	if (!ro->rows && result)
		return 0;
	ro->done = true;
	if (!ro->rows)
		return cmd_table_add(ro->table, cells);
	row = json_pack("{ss ss sI sb ss? sI}", "name", t->text, "type",
			cells[1], "data_keys", (json_int_t)n, "rewrapped",
			result == 0 && n > 0 && !ro->dry, "error",
			result < 0 ? err_text(result) : NULL, "exit_status",
			(json_int_t)exit_status(result));
	return json_array_append_new(ro->rows, row) < 0 ? -ENOMEM : 0;
}

static int
rotate_one(struct rotate *ro, const struct cmd_target *t)
{
	unsigned n = 0;
	bool told = false;
	int r, r2;

	if (t->type == DESC_DISK && !ro->dry) {
		r = rotate_disk(ro, t, &n, &told);
	} else {
		r = in_store(ro, t, &n);
	}
	/* It was removed while we came to it: then there is nothing to do. */
	if (r == -ENOENT && ro->all)
		return 0;
	if (r < 0 && !told)
		r = fail_one(t, r);
	r2 = report(ro, t, r, n);
	return r ? r : r2;
}

static int
rotate_all(struct rotate *ro)
{
	CLEANUP(progress_freep)
	struct progress *p =
	    progress_new(cmd_globals.progress, "rotate", ro->n, "disks");
	int first = 0, r;

	for (size_t i = 0; i < ro->n; i++) {
		r = rotate_one(ro, &ro->targets[i]);
		if (r && !first)
			first = r;
		progress_update(p, i + 1);
	}
	return first;
}

static int
run(struct rotate *ro)
{
	static const char *const heading[] = { "NAME", "TYPE", "DATA KEYS",
					       "RESULT" };
	int r;

	ro->table = cmd_table_new(4, heading);
	ro->rows = cmd_globals.json ? json_array() : NULL;
	if (!ro->table || (cmd_globals.json && !ro->rows))
		return cmd_fail(-ENOMEM, NULL, NULL, "rotate");
	r = rotate_all(ro);
	if (ro->rows) {
		int r2 = cmd_print_json(json_incref(ro->rows));

		return r ? r : r2;
	}
	if (ro->done)
		cmd_table_print(ro->table);
	return r;
}

static void
rotate_done(struct rotate *ro)
{
	cmd_table_free(ro->table);
	json_decref(ro->rows);
	free(ro->targets);
	cmd_close(&ro->env);
}

/* For the names of keys alone no root is opened. */
static int
open_all(struct rotate *ro)
{
	struct settings *s = &ro->env.settings;
	int r;

	r = cmd_open(&ro->env, ro->dry ? 0 : CMD_KMS | CMD_CHANGE);
	if (r || !ro->dry)
		return r;
	r = kms_open_locked(s, &ro->env.kms);
	return r < 0 ? cmd_fail_kms(s, r) : 0;
}

int
cmd_rotate(int argc, char **argv)
{
	CLEANUP(rotate_done) struct rotate ro = { .given = NULL };
	const struct cmd_option own[] = {
		{ "key", &ro.given, NULL },
		{ "all", NULL, &ro.all },
		{ "dry-run", NULL, &ro.dry },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r)
		return r;
	if (ro.all == (argc > 0))
		return cmd_usage("NAME ..., or --all");
	r = ro.given ? cmd_check_key(ro.given) : 0;
	if (r == 0)
		r = open_all(&ro);
	if (r == 0)
		r = find_key(&ro);
	if (r == 0)
		r = ro.all ? add_all(&ro) : add_named(&ro, argc, argv);
	return r ? r : run(&ro);
}
