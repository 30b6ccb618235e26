/*
 * access.h - access keys: the names and secrets that requests are signed with.
 *
 * An access key belongs to a principal, and a principal may have several: that
 * is how secrets are changed.  The secret leaves this module twice: to whoever
 * makes the key, and to whoever verifies a signature.  In the keystore it is
 * wrapped by the keystore key, in its own row only.
 *
 * As keys.h: any thread; 0 or a negative errno.
 */
#ifndef SEALDISK_KMS_ACCESS_H
#define SEALDISK_KMS_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "keys.h"
#include "keystore_service.h"

#define ACCESS_SECRET_LEN 64 /* room for a secret, with its NUL */
#define ACCESS_KEYS_MAX 1000

struct access_key {
	char id[KEYSTORE_ACCESS_LEN];
	char principal[KMS_PRINCIPAL_LEN];
	bool enabled;
	int64_t created;
};

/* -EDQUOT: there are ACCESS_KEYS_MAX. */
int access_create(struct keys *k, const char *principal, struct access_key *ret,
		  char ret_secret[static ACCESS_SECRET_LEN]) NONNULL CHECKED;
/* The first after place *${pos}, which is moved to it; -ENOKEY at the end.
 * Begin with 0. */
int access_next(struct keys *k, int64_t *pos, struct access_key *ret)
    NONNULL CHECKED;
/* -ENOKEY: there is none of this id. */
int access_find(struct keys *k, const char *id, struct access_key *ret)
    NONNULL CHECKED;
int access_enable(struct keys *k, const char *id, bool enabled) NONNULL CHECKED;
int access_delete(struct keys *k, const char *id) NONNULL CHECKED;

/* -ENOKEY: there is none of this id; -EKEYREVOKED: it is disabled. */
int access_secret(struct keys *k, const char *id,
		  char ret[static ACCESS_SECRET_LEN]) NONNULL CHECKED;

/*
 * A request of ${run} of a server, signed with ${id}, says that it is of
 * ${time}, a server's clock ${now}.  What is dated ahead is kept, in whole
 * minutes, so that the next run can refuse what it may have been sent before.
 *
 * -ESTALE: an earlier run may have served it; -ENOKEY: there is no such key
 */
int access_stamp(struct keys *k, const char *id, int64_t run, int64_t time,
		 int64_t now) NONNULL CHECKED;

#endif
