/*
 * keystore_service.h - rows of the keystore that are not about keys: who may
 * call, how often they did, and where the audit log ends.
 *
 * As keystore.h has it: 0 or a negative errno, -ENOKEY no such row, -EEXIST its
 * name is taken.  All of it within a transaction.
 */
#ifndef SEALDISK_KMS_KEYSTORE_SERVICE_H
#define SEALDISK_KMS_KEYSTORE_SERVICE_H

#include <sealdisk/kms_record.h>

#include "audit.h"
#include "keystore.h"
#include "policy.h"

#define KEYSTORE_ACCESS_LEN 32 /* an access key's id, with its NUL */

struct keystore_access_key {
	int64_t seq; /* in the order of their making */
	char id[KEYSTORE_ACCESS_LEN];
	char principal[KMS_PRINCIPAL_LEN];
	struct keystore_blob secret; /* wrapped */
	bool enabled;
	int64_t created;
	/* Up to when there may have been requests that were dated ahead of the
	 * clock: in ${run} of a server, and before it. */
	int64_t run;
	int64_t newest;
	int64_t before;
};
int keystore_get_access_key(struct keystore *ks, const char *id,
			    struct keystore_access_key *ret) NONNULL CHECKED;
/* The first after ${seq}; -ENOKEY at the end. */
int keystore_next_access_key(struct keystore *ks, int64_t seq,
			     struct keystore_access_key *ret) NONNULL CHECKED;
int keystore_count_access_keys(struct keystore *ks, int64_t *ret)
    NONNULL CHECKED;
/* Everything but seq. */
int keystore_add_access_key(struct keystore *ks,
			    const struct keystore_access_key *key)
    NONNULL CHECKED;
int keystore_enable_access_key(struct keystore *ks, const char *id,
			       bool enabled) NONNULL CHECKED;
/* Its run, newest and before. */
int keystore_stamp_access_key(struct keystore *ks,
			      const struct keystore_access_key *key)
    NONNULL CHECKED;
int keystore_remove_access_key(struct keystore *ks, const char *id)
    NONNULL CHECKED;

/* The document of a principal. */
int keystore_get_policy(struct keystore *ks, const char *principal,
			char ret[static POLICY_TEXT_MAX + 1]) NONNULL CHECKED;
int keystore_set_policy(struct keystore *ks, const char *principal,
			const char *document, int64_t now) NONNULL CHECKED;
int keystore_remove_policy(struct keystore *ks, const char *principal)
    NONNULL CHECKED;
/* The first principal after ${after} that has one; ${ret} may be ${after}. */
int keystore_next_policy(struct keystore *ks, const char *after,
			 char ret[static KMS_PRINCIPAL_LEN]) NONNULL CHECKED;

/* Calls are added to those that are there. */
int keystore_add_usage(struct keystore *ks, const struct kms_usage *u)
    NONNULL CHECKED;
/* Of ${month}, or, 0, of all, in order; ${fn} returns 0 to go on, else its
 * value is returned at once. */
int keystore_each_usage(struct keystore *ks, unsigned month,
			int (*fn)(const struct kms_usage *u, void *arg),
			void *arg) __attribute__((__nonnull__(1, 3))) CHECKED;

/* All zero: there is no log yet. */
int keystore_get_audit(struct keystore *ks, struct audit_head *ret)
    NONNULL CHECKED;
int keystore_set_audit(struct keystore *ks, const struct audit_head *h)
    NONNULL CHECKED;

#endif
