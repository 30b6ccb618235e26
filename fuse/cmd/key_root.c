/*
 * key_root.c - what the keystore hangs on: told, and changed.
 */
#include "key.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/kms.h>

static bool
is(const struct settings *s, const char *kind)
{
	return strcmp(s->keystore_root, kind) == 0;
}

void
key_root_text(const struct settings *s, char *ret, size_t cap)
{
	if (is(s, "passphrase"))
		(void)snprintf(ret, cap, "passphrase");
	else if (is(s, "credential"))
		(void)snprintf(ret, cap, "credential %s",
			       s->keystore_credential);
	else if (is(s, "pkcs11"))
		(void)snprintf(ret, cap, "PKCS#11 token %s",
			       s->keystore_pkcs11_token);
	else
		(void)snprintf(ret, cap, "root key %s", s->keystore_root_file);
}

static const struct {
	const char *kind; /* NULL: any */
	int err;
	const char *why, *hint;
} reasons[] = {
	{ "keyfile", -ENOKEY, "its root key file is missing",
	  "put its copy back" },
	{ "keyfile", -EPERM, "others can read or write its root key file",
	  "chmod 600 the file" },
	{ "keyfile", -EKEYREJECTED, "the root key does not open it",
	  "[keystore] in sealdisk.ini names both" },
	{ "passphrase", -ENOKEY,
	  "there is no terminal to ask for its passphrase on",
	  "--passphrase-fd names a descriptor to read it from" },
	{ "passphrase", -EKEYREJECTED, "the passphrase does not open it", "" },
	{ "passphrase", -EINVAL,
	  "a passphrase has 8 to 1024 bytes, the same both times", "" },
	{ "credential", -ENOKEY, "there is no such credential",
	  "systemd hands it over: LoadCredentialEncrypted=" },
	{ "credential", -EPERM, "others can read its credential", "" },
	{ "credential", -EKEYREJECTED, "the credential does not open it",
	  "it must have 32 to 4096 bytes, and be the one that made it" },
	{ "pkcs11", -ENOKEY,
	  "there is no such module, token or key, or nobody to ask for a PIN",
	  "pkcs11_module and pkcs11_token name them, --passphrase-fd has the "
	  "PIN" },
	{ "pkcs11", -EPERM, "others can read the credential of its PIN", "" },
	{ "pkcs11", -EKEYREJECTED,
	  "the PIN is wrong, or the token's key does not open it", "" },
	{ "pkcs11", -EHOSTDOWN, "the token is away", "" },
	{ "pkcs11", -EOPNOTSUPP,
	  "the token has no AES-GCM, or PKCS#11 is not built in", "" },
	{ NULL, -EBADF,
	  "its passphrase cannot be read from the descriptor that is named",
	  "open it, as with 3<FILE" },
	{ NULL, -ECANCELED, "no passphrase was given", "" },
	{ NULL, -EOPNOTSUPP, "this kind of root is not built in", "" },
};
#define NREASONS (sizeof(reasons) / sizeof(reasons[0]))

bool
key_is_of_root(int err)
{
	for (size_t i = 0; i < NREASONS; i++)
		if (reasons[i].err == err)
			return true;
	return false;
}

/* The commonest mistake after a change of root. */
static int
fail_kind(const struct settings *s, const char *kind)
{
	char hint[64];

	(void)snprintf(hint, sizeof(hint), "say root = %s in sealdisk.ini",
		       kind);
	return cmd_fail(-EKEYREJECTED, "its root is another", hint,
			"%s: keystore %s, %s", cmd_name(), s->keystore_path,
			s->keystore_root);
}

static int
fail_root(const struct settings *s, int err)
{
	const char *why = NULL, *hint = NULL;
	char root[SETTING_MAX + 32];

	for (size_t i = 0; i < NREASONS && !why; i++)
		if (reasons[i].err == err &&
		    (!reasons[i].kind || is(s, reasons[i].kind))) {
			why = reasons[i].why;
			hint = reasons[i].hint;
		}
	key_root_text(s, root, sizeof(root));
	return cmd_fail(err, why, hint, "%s: keystore %s, %s", cmd_name(),
			s->keystore_path, root);
}

int
key_fail_root(const struct settings *s, int err)
{
	const char *kind;

	if (err == -EKEYREJECTED && kms_root_kind(s, &kind) == 0 &&
	    !is(s, kind))
		return fail_kind(s, kind);
	return fail_root(s, err);
}

/* Changing it. */

struct change {
	/* As given, or NULL. */
	const char *kind, *file, *credential, *fd, *module, *token;
	struct settings from, to;
};

static int
override(struct settings *s, const char *name, const char *value)
{
	CLEANUP(free_memp) char *msg = NULL;

	if (!value || settings_set(s, name, value, &msg) == 0)
		return 0;
	return cmd_usage("%s", msg ? msg : name);
}

/* An option that says nothing to this kind of root is a mistake. */
static int
check_options(const struct change *c)
{
	const struct {
		const char *given, *option, *kind, * or ;
	} options[] = {
		{ c->file, "root-file", "keyfile", NULL },
		{ c->credential, "credential", "credential", "pkcs11" },
		{ c->fd, "new-passphrase-fd", "passphrase", "pkcs11" },
		{ c->module, "module", "pkcs11", NULL },
		{ c->token, "token", "pkcs11", NULL },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].given && !is(&c->to, options[i].kind) &&
		    !(options[i].or &&is(&c->to, options[i].or)))
			return cmd_usage("--%s is for --to %s",
					 options[i].option, options[i].kind);
	if (c->fd && cmd_check_fd("new-passphrase-fd", c->fd))
		return CMD_USAGE;
	if (is(&c->from, "credential") && is(&c->to, "credential") &&
	    strcmp(c->from.keystore_credential, c->to.keystore_credential) == 0)
		return cmd_usage("--credential must name another one than %s",
				 c->from.keystore_credential);
	return 0;
}

static int
parse(int argc, char **argv, struct change *c)
{
	const struct cmd_option own[] = {
		{ "to", &c->kind, NULL },
		{ "root-file", &c->file, NULL },
		{ "credential", &c->credential, NULL },
		{ "new-passphrase-fd", &c->fd, NULL },
		{ "module", &c->module, NULL },
		{ "token", &c->token, NULL },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r == 0)
		r = cmd_settings(&c->from);
	if (r)
		return r;
	c->to = c->from;
	c->to.keystore_passphrase_fd[0] = '\0';
	r = override(&c->to, "keystore.root", c->kind);
	if (r == 0)
		r = override(&c->to, "keystore.root_file", c->file);
	if (r == 0)
		r = override(&c->to, "keystore.credential", c->credential);
	if (r == 0)
		r = override(&c->to, "keystore.pkcs11_module", c->module);
	if (r == 0)
		r = override(&c->to, "keystore.pkcs11_token", c->token);
	if (r == 0)
		r = check_options(c);
	return r ? r : override(&c->to, "keystore.passphrase_fd", c->fd);
}

static int
fail(const struct change *c, int err, bool new)
{
	char root[SETTING_MAX + 32];

	key_root_text(&c->to, root, sizeof(root));
	if (err == -EBUSY)
		return cmd_fail(err, "somebody else has just changed it", "",
				"kms change-root: keystore %s",
				c->from.keystore_path);
	if (err == -EEXIST)
		return cmd_fail(err, "there is such a file already",
				"it may be needed: name another with "
				"--root-file",
				"kms change-root: %s", root);
	if (new &&key_is_of_root(err))
		return fail_root(&c->to, err);
	return cmd_fail_kms(&c->from, err);
}

static bool
same_file(const struct change *c)
{
	return is(&c->from, "keyfile") && is(&c->to, "keyfile") &&
	       strcmp(c->from.keystore_root_file, c->to.keystore_root_file) ==
		   0;
}

/* The lines of sealdisk.ini that are not what they must be from now on. */
static void
print_settings(const struct change *c)
{
#define LINE(key)                                                              \
	{                                                                      \
#key, c->from.keystore_##key, c->to.keystore_##key             \
	}
	const struct {
		const char *key, *from, *to;
	} lines[] = { LINE(root), LINE(root_file), LINE(credential),
		      LINE(pkcs11_module), LINE(pkcs11_token) };
#undef LINE
	bool any = false;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (strcmp(lines[i].from, lines[i].to) == 0)
			continue;
		if (!any)
			printf("\nNothing opens it before this stands in "
			       "sealdisk.ini:\n\n  [keystore]\n");
		any = true;
		printf("  %s = %s\n", lines[i].key, lines[i].to);
	}
}

static int
print(const struct change *c)
{
	char root[SETTING_MAX + 32];

	if (cmd_globals.json)
		return cmd_print_json(json_pack(
		    "{ss ss ss ss}", "keystore", c->to.keystore_path, "root",
		    c->to.keystore_root, "root_file", c->to.keystore_root_file,
		    "credential", c->to.keystore_credential));
	key_root_text(&c->to, root, sizeof(root));
	printf("Keystore %s now hangs on its new %s.\n", c->to.keystore_path,
	       root);
	if (same_file(c))
		printf(
		    "The old one is kept beside it, as %s.before-change-...\n",
		    c->to.keystore_root_file);
	print_settings(c);
	printf("\nBackups that were made before need the old one still: make a "
	       "new one,\nand keep a copy of what opens it away from it.\n");
	return 0;
}

int
key_change_root(int argc, char **argv)
{
	struct change c = { .kind = NULL };
	bool new;
	int r;

	r = parse(argc, argv, &c);
	if (r)
		return r;
	r = kms_change_root(&c.from, &c.to, &new);
	return r < 0 ? fail(&c, r, new) : print(&c);
}
