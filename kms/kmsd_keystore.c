/*
 * kmsd_keystore.c - the keystore as a whole: `kmsd init`, `restore` and
 * `change-root`, while nobody serves it.
 */
#include "kmsd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/kms.h>

#include "admin.h"

/* Why the root may fail, in the words of who can do something about it. */
static int
fail(const struct kmsd_settings *c, int err, const char *what)
{
	const char *hint = NULL;

	if (err == -ENOKEY)
		hint = "the keystore's root, or the PIN of its token, is "
		       "missing";
	else if (err == -EKEYREJECTED)
		hint = "the root does not open it, or the PIN is wrong";
	else if (err == -EPERM)
		hint = "others can read the root";
	else if (err == -EHOSTDOWN) {
		err = -EBUSY;
		hint = "is it served?";
	}
	return kmsd_fail(err, hint, "%s: keystore %s, root %s", what,
			 c->s.keystore_path, c->s.keystore_root);
}

int
kmsd_init(int argc, char **argv)
{
	struct kmsd_settings c;
	bool made;
	int r;

	r = kmsd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = kmsd_load(&c);
	if (r)
		return r;
	r = admin_init(&c.s, &made);
	if (r < 0)
		return fail(&c, r, "init");
	if (made && isatty(STDOUT_FILENO))
		printf("Made keystore %s.  Save it with `kmsd backup`, and "
		       "keep what opens it\nsomewhere else.\n",
		       c.s.keystore_path);
	return 0;
}

/* Ask on the terminal; without one, --yes is the answer. */
static int
confirm(const struct kmsd_settings *c)
{
	char line[16];

	if (kmsd_globals.yes)
		return 0;
	if (!isatty(STDIN_FILENO))
		return kmsd_usage("there is a keystore %s: say --yes to "
				  "replace it",
				  c->s.keystore_path);
	printf("The keystore %s goes.  Replace it (yes/no)? ",
	       c->s.keystore_path);
	(void)fflush(stdout);
	if (!fgets(line, sizeof(line), stdin) || strcmp(line, "yes\n") != 0)
		return kmsd_fail(-ECANCELED, NULL, "restore");
	return 0;
}

int
kmsd_restore(int argc, char **argv)
{
	struct kmsd_settings c;
	int r;

	r = kmsd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = kmsd_load(&c);
	if (r)
		return r;
	r = admin_restore(&c.s, argv[0], false);
	if (r == -EEXIST) {
		r = confirm(&c);
		if (r)
			return r;
		r = admin_restore(&c.s, argv[0], true);
	}
	return r < 0 ? fail(&c, r, "restore") : 0;
}

static int
override(struct settings *s, const char *name, const char *value)
{
	CLEANUP(free_memp) char *msg = NULL;

	if (!value || settings_set(s, name, value, &msg) == 0)
		return 0;
	return kmsd_usage("%s", msg ? msg : name);
}

int
kmsd_change_root(int argc, char **argv)
{
	const char *kind = NULL, *file = NULL, *credential = NULL, *fd = NULL;
	const char *module = NULL, *token = NULL;
	const struct kmsd_option own[] = {
		{ .name = "to", .value = &kind },
		{ .name = "root-file", .value = &file },
		{ .name = "credential", .value = &credential },
		{ .name = "new-passphrase-fd", .value = &fd },
		{ .name = "module", .value = &module },
		{ .name = "token", .value = &token },
		{ .name = NULL },
	};
	struct kmsd_settings c, to;
	bool new;
	int r;

	r = kmsd_parse(&argc, &argv, own);
	if (r == 0)
		r = kmsd_load(&c);
	if (r)
		return r;
	to = c;
	to.s.keystore_passphrase_fd[0] = '\0';
	r = override(&to.s, "keystore.root", kind);
	if (r == 0)
		r = override(&to.s, "keystore.root_file", file);
	if (r == 0)
		r = override(&to.s, "keystore.credential", credential);
	if (r == 0)
		r = override(&to.s, "keystore.pkcs11_module", module);
	if (r == 0)
		r = override(&to.s, "keystore.pkcs11_token", token);
	if (r == 0)
		r = override(&to.s, "keystore.passphrase_fd", fd);
	if (r)
		return r;
	r = admin_change_root(&c.s, &to.s, &new);
	if (r < 0)
		return fail(new ? &to : &c, r, "change-root");
	printf("Keystore %s hangs on its new root, %s: kmsd.ini has to say "
	       "so.\n",
	       c.s.keystore_path, to.s.keystore_root);
	return 0;
}
