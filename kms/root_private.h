/*
 * root_private.h - the kinds of root; see root.h.
 */
#ifndef SEALDISK_KMS_ROOT_PRIVATE_H
#define SEALDISK_KMS_ROOT_PRIVATE_H

#include <limits.h>

#include "passphrase.h"
#include "root.h"

/* The numbers are part of the keystore's format. */
enum root_kind {
	ROOT_KEYFILE = 1,
	ROOT_PASSPHRASE = 2,
	ROOT_CREDENTIAL = 3,
};

/* What stands before a wrapped keystore key: the kind, and of a passphrase its
 * cost and salt. */
#define ROOT_HEADER_MAX 64

struct root {
	enum root_kind kind;
	char name[PATH_MAX + 64]; /* for messages; of a file: */
	char path[PATH_MAX];
	struct key *key;         /* secret memory; NULL: it is derived */
	struct passphrase *pass; /* secret memory */
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

/* What a new passphrase shall cost; the tests have no time. */
extern struct argon2_cost root_cost;

#endif
