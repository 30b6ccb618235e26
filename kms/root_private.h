/*
 * root_private.h - the kinds of root; see root.h.
 */
#ifndef SEALDISK_KMS_ROOT_PRIVATE_H
#define SEALDISK_KMS_ROOT_PRIVATE_H

#include <limits.h>

#include "envelope.h"
#include "passphrase.h"
#include "pkcs11.h"
#include "root.h"

/* The numbers are part of the keystore's format. */
enum root_kind {
	ROOT_KEYFILE = 1,
	ROOT_PASSPHRASE = 2,
	ROOT_CREDENTIAL = 3,
	ROOT_PKCS11 = 4,
};

/* What stands before a wrapped keystore key: the kind; of a passphrase its cost
 * and salt; of a token which of its keys. */
#define ROOT_HEADER_MAX 64

struct root {
	enum root_kind kind;
	char name[PATH_MAX + 64]; /* for messages; of a file: */
	char path[PATH_MAX];
	struct key *key;         /* secret memory; NULL: not a file's */
	struct passphrase *pass; /* secret memory */
	struct pkcs11 *token;
	struct uuid token_key; /* which of its keys, to wrap */
};

/* Each fills in name and path, and key or pass. */
int keyfile_open(const char *path, struct root *root) NONNULL CHECKED;
int keyfile_create(const char *path, struct root *root) NONNULL CHECKED;
/* FILE.next; and whether it is there.  -ENAMETOOLONG */
int keyfile_next(const struct settings *s, char ret[static PATH_MAX],
		 bool *ret_exists) NONNULL CHECKED;
/* FILE.next becomes FILE. */
int keyfile_settle(const struct settings *s, const char *next) NONNULL CHECKED;
int credential_open(const struct settings *s, struct root *root)
    NONNULL CHECKED;

/* The PIN of a token, from the credential of that name.  -ENOKEY */
int credential_pin(const struct settings *s, struct passphrase **ret)
    NONNULL CHECKED;

/* root_token.c: the token that ${s} names, logged in; of a new root, token and
 * token_key. */
int token_login(const struct settings *s, bool may_ask, struct pkcs11 **ret)
    NONNULL CHECKED;
int token_create(const struct settings *s, struct root *root) NONNULL CHECKED;
void token_remove(struct root *root) NONNULL;

/* What a new passphrase shall cost; the tests have no time. */
extern struct argon2_cost root_cost;

#endif
