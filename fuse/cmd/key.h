/*
 * key.h - what the commands about master keys and the keystore's root share.
 */
#ifndef SEALDISK_CMD_KEY_H
#define SEALDISK_CMD_KEY_H

#include "cmd.h"

/*
 * key_root.c
 */

/* "root key /etc/sealdisk/root.key", "passphrase", "credential NAME",
 * "PKCS#11 token NAME". */
void key_root_text(const struct settings *s, char *ret, size_t cap) NONNULL;
/* Whether the root can be why kms_open(), kms_init() or kms_change_root() have
 * failed with ${err}; and to tell it.  Returns ${err}. */
bool key_is_of_root(int err) CHECKED;
int key_fail_root(const struct settings *s, int err) NONNULL CHECKED;
int key_change_root(int argc, char **argv); /* kms change-root */

/*
 * key.c
 */

enum key_open {
	KEY_LOCKED, /* what needs no root */
	KEY_UNLOCKED,
};
/* The command's options, and the KMS. */
int key_open_kms(int *argc, char ***argv, const struct cmd_option *own,
		 enum key_open how, struct settings *ret_settings,
		 struct kms **ret) __attribute__((__nonnull__(1, 2, 5, 6)))
CHECKED;
/* "COMMAND WHAT: why", for an error of an action on a key. */
int key_fail(int err, const char *what) NONNULL CHECKED;

/*
 * key_import.c: commands.
 */
int key_import(int argc, char **argv);
int key_set(int argc, char **argv);

/*
 * key_life.c: commands.
 */
int key_cancel_deletion(int argc, char **argv);
int key_disable(int argc, char **argv);
int key_enable(int argc, char **argv);
int key_grant(int argc, char **argv);
int key_revoke(int argc, char **argv);
int key_rotate(int argc, char **argv);
int key_schedule_deletion(int argc, char **argv);

/*
 * kms_audit.c, kms_usage.c: commands.
 */
int kms_audit_cmd(int argc, char **argv);
int kms_usage_cmd(int argc, char **argv);

/*
 * key_users.c: what of a store hangs on a key.
 */
int key_users(int argc, char **argv);

/* What hangs on a key. */
struct key_load {
	unsigned n;
	const char *unknown; /* why that may not be all, or NULL */
	char names[256];     /* "a, b, c, ..." */
	bool full;
};
/* In the store that the command line or the settings name; if none does, that
 * is nothing. */
void key_find_load(const struct settings *s, const char *key_id,
		   struct key_load *ret) NONNULL;

#endif
