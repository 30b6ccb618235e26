/*
 * kms.c - `sealdisk kms ...`: the key service itself, its keystore saved and
 * put back.
 */
#include "key.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/kms.h>

static int
kms_cmd_backup(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	char root[SETTING_MAX + 32];
	struct settings s;
	int r;

	r = key_open_kms(&argc, &argv, NULL, KEY_LOCKED, &s, &kms);
	if (r)
		return r;
	r = kms_backup(kms, argv[0]);
	if (r == -EOPNOTSUPP)
		return cmd_fail_kms(&s, r);
	if (r < 0)
		return cmd_fail(r, NULL,
				r == -EEXIST ? "a backup is never overwritten; "
					       "name another file"
					     : NULL,
				"kms backup %s", argv[0]);
	key_root_text(&s, root, sizeof(root));
	if (!cmd_globals.json && isatty(STDOUT_FILENO))
		cmd_note("saved; it opens only with the %s, which is to be "
			 "kept elsewhere",
			 root);
	return 0;
}

static int
fail_restore(const struct settings *s, const char *file, int err)
{
	const char *why = NULL, *hint = NULL;

	if (strcmp(s->kms_endpoint, "embedded") != 0)
		return cmd_fail_kms(s, err);
	if (err == -EUCLEAN) {
		why = "this is not a whole keystore";
		hint = "nothing was changed";
	} else if (err == -EKEYREJECTED || err == -ENOKEY) {
		why = err == -ENOKEY ? "there is no root for it"
				     : "the root does not open it";
		hint = "a backup needs the root of the day when it was made; "
		       "[keystore] in sealdisk.ini names one";
	} else if (key_is_of_root(err)) {
		return key_fail_root(s, err);
	}
	return cmd_fail(err, why, hint, "kms restore %s to %s", file,
			s->keystore_path);
}

static int
kms_cmd_restore(int argc, char **argv)
{
	struct settings s;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_settings(&s);
	if (r)
		return r;
	r = kms_restore(&s, argv[0], false);
	if (r == -EEXIST) {
		r = cmd_confirm("The keystore %s goes, and with it each key "
				"that is not in %s.",
				s.keystore_path, argv[0]);
		if (r)
			return r;
		r = kms_restore(&s, argv[0], true);
		if (r == 0)
			cmd_note("what %s held is kept beside it",
				 s.keystore_path);
	}
	return r < 0 ? fail_restore(&s, argv[0], r) : 0;
}

static int
count(const struct kms_key_info *k, void *arg)
{
	json_int_t *n = arg;

	n[0]++;
	n[1] += k->state == KMS_ENABLED;
	return 0;
}

static int
kms_cmd_status(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	json_int_t n[2] = { 0, 0 };
	char root[SETTING_MAX + 32];
	struct settings s;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_settings(&s);
	if (r == 0)
		r = cmd_open_kms(&s, &kms);
	if (r)
		return r;
	r = kms_list_keys(kms, count, n);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "kms status");
	if (cmd_globals.json)
		return cmd_print_json(json_pack(
		    "{ss ss ss ss ss ss sI sI}", "endpoint", s.kms_endpoint,
		    "region", s.kms_region, "default_key", s.kms_key,
		    "keystore", s.keystore_path, "root", s.keystore_root,
		    "root_file", s.keystore_root_file, "keys", n[0],
		    "keys_enabled", n[1]));
	printf("endpoint     %s\nregion       %s\ndefault key  %s\n",
	       s.kms_endpoint, s.kms_region, s.kms_key);
	key_root_text(&s, root, sizeof(root));
	printf("keystore     %s\nroot         %s\n", s.keystore_path, root);
	printf("keys         %lld, %lld of them enabled\n", (long long)n[0],
	       (long long)n[1]);
	return 0;
}

const struct command kms_commands[] = {
	{ "audit", kms_audit_cmd, 0, 1,
	  "[verify [--from N]] [--last N] [--since TIME] [--action NAME] "
	  "[--key KEY] [--principal NAME] [--failed]",
	  "show what the key service was asked, or verify the log of it",
	  "  --from N           verify from file N on; older ones are elsewhere\n"
	  "  --last N           the newest N that match; 100\n"
	  "  --since TIME       YYYY-MM-DDThh:mm:ssZ\n"
	  "  --action NAME      such as Decrypt\n"
	  "  --key KEY          a key's id, or an alias as it was given\n"
	  "  --principal NAME   such as uid/0 or user/backup\n"
	  "  --failed           only what was refused or failed\n",
	  NULL },
	{ "backup", kms_cmd_backup, 1, 1, "FILE",
	  "save the keystore to a new file", NULL, NULL },
	{ "change-root", key_change_root, 0, 0,
	  "[--to KIND] [--root-file FILE] [--credential NAME] "
	  "[--new-passphrase-fd N] [--module FILE] [--token NAME]",
	  "let the keystore hang on another root, or a new one of its kind",
	  "  --to KIND               keyfile, passphrase, credential or\n"
	  "                          pkcs11\n"
	  "  --root-file FILE        where the new key file shall be\n"
	  "  --credential NAME       the new systemd credential, or that\n"
	  "                          of the PIN\n"
	  "  --new-passphrase-fd N   read the new passphrase, or the PIN\n"
	  "                          of the new token, there\n"
	  "  --module FILE           what talks to the new token\n"
	  "  --token NAME            its label or serial number\n",
	  NULL },
	{ "restore", kms_cmd_restore, 1, 1, "FILE",
	  "put a saved keystore in the place of the present one", NULL, NULL },
	{ "status", kms_cmd_status, 0, 0, "",
	  "say which key service is used, and whether it opens", NULL, NULL },
	{ "usage", kms_usage_cmd, 0, 0, "[--month YYYY-MM|all]",
	  "say how often the key service was called, by whom and with what",
	  "  --month YYYY-MM|all   the present one if nothing is said\n",
	  NULL },
	{ NULL, NULL, 0, 0, NULL, NULL, NULL, NULL },
};
