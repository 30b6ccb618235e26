/*
 * common.c - what a command works on: the settings, the store and its catalog,
 * the KMS, a disk's descriptor.
 */
#include "cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"

int
cmd_settings(struct settings *ret)
{
	CLEANUP(free_memp) char *msg = NULL;
	int r = settings_load(ret, cmd_globals.config, &msg);

	if (r == 0 && cmd_globals.passphrase_fd)
		r = settings_set(ret, "keystore.passphrase_fd",
				 cmd_globals.passphrase_fd, &msg);
	if (r < 0)
		return cmd_fail(r, msg, "", "%s: settings", cmd_name());
	return 0;
}

int
cmd_store_path(const struct settings *s, char ret[static PATH_MAX])
{
	const char *path = cmd_globals.store;

	if (!path)
		path = getenv("SEALDISK_STORE");
	if (!path || !path[0])
		path = s->store;
	if (!path[0])
		return cmd_usage("which store? say -s STORE, set "
				 "$SEALDISK_STORE, or `store` in sealdisk.ini");
	if (!realpath(path, ret))
		return cmd_fail(-errno, NULL,
				errno == ENOENT ? "`sealdisk init` makes one"
						: NULL,
				"%s: store %s", cmd_name(), path);
	return 0;
}

static const struct {
	int err;
	const char *why, *hint;
} kms_errors[] = {
	{ -ENOENT, "there is no keystore",
	  "`sealdisk init` makes one, `sealdisk kms restore` puts a saved one "
	  "back" },
	{ -EEXIST,
	  "there is a root key, or a part of a keystore, but no "
	  "keystore",
	  "put the keystore's backup back, or, if no keystore needs them, "
	  "move them away" },
	{ -EUCLEAN, "it is damaged, or no keystore",
	  "`sealdisk kms restore` puts a saved one in its place" },
};

int
cmd_fail_kms(const struct settings *s, int err)
{
	const char *why = NULL, *hint = NULL;

	if (strcmp(s->kms_endpoint, "embedded") == 0 && key_is_of_root(err))
		return key_fail_root(s, err);
	for (size_t i = 0; i < sizeof(kms_errors) / sizeof(kms_errors[0]); i++)
		if (kms_errors[i].err == err) {
			why = kms_errors[i].why;
			hint = kms_errors[i].hint;
		}
	if (strcmp(s->kms_endpoint, "embedded") != 0)
		return cmd_fail(err, NULL,
				err == -EOPNOTSUPP ? "who runs the service "
						     "does this there"
						   : NULL,
				"%s: KMS %s", cmd_name(), s->kms_endpoint);
	return cmd_fail(err, why, hint, "%s: keystore %s", cmd_name(),
			s->keystore_path);
}

int
cmd_open_kms(const struct settings *s, struct kms **ret)
{
	int r = kms_open(s, ret);

	return r < 0 ? cmd_fail_kms(s, r) : 0;
}

/* Its spare copy is as good.  ${err}: what was wrong with it. */
static int
restore(struct cmd_env *e, int err)
{
	if ((err != -ENOENT && err != -EUCLEAN) ||
	    catalog_restore(e->store) < 0)
		return err;
	cmd_note("%s: store.ini was lost: made anew of its spare copy",
		 cmd_name());
	return catalog_open(e->store, &e->catalog);
}

static int
open_catalog(struct cmd_env *e, int want)
{
	const char *why = NULL, *hint = NULL;
	int r;

	r = store_posix_open(e->path, &e->store);
	if (r == 0) {
		r = catalog_open(e->store, &e->catalog);
		if (r < 0 && (want & CMD_RESTORE))
			r = restore(e, r);
	}
	if (r == -ENOENT) {
		why = "this is not a store: it has no store.ini";
		hint = "`sealdisk init` makes a store, `sealdisk check "
		       "--repair` a store.ini that was lost";
	} else if (r == -EUCLEAN) {
		hint = "`sealdisk check --repair` makes store.ini anew";
	}
	return r < 0
		   ? cmd_fail(r, why, hint, "%s: store %s", cmd_name(), e->path)
		   : 0;
}

int
cmd_open(struct cmd_env *e, int want)
{
	unsigned bad;
	int r;

	memset(e, 0, sizeof(*e));
	r = cmd_settings(&e->settings);
	if (r == 0)
		r = cmd_store_path(&e->settings, e->path);
	if (r == 0)
		r = open_catalog(e, want);
	if (r)
		return r;
	if (want & CMD_KMS) {
		r = cmd_open_kms(&e->settings, &e->kms);
		if (r)
			return r;
	} else if (want & CMD_TRY_KMS) {
		if (kms_open_locked(&e->settings, &e->kms) < 0)
			e->kms = NULL;
	}
	if (want & CMD_CHANGE) {
		/* A bad descriptor of one disk is no matter of another's. */
		r = catalog_recover(e->catalog, &bad);
		if (r < 0)
			return cmd_fail(r, NULL, NULL, "%s: store %s",
					cmd_name(), e->path);
	}
	return 0;
}

void
cmd_close(struct cmd_env *e)
{
	kms_close(e->kms);
	catalog_close(e->catalog);
	store_free(e->store);
	memset(e, 0, sizeof(*e));
}
