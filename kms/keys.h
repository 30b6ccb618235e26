/*
 * keys.h - the actions of the key service on its keystore.
 *
 * What each takes, answers and refuses is kms.h's, with two differences: an
 * encryption context is any list of pairs, and where a function takes an ${id},
 * it is an id or ARN and no alias.  Each call is one transaction.  A key's
 * material is in the clear only while a call uses it.
 *
 * A struct keys may be used from any thread; it is not carried over a fork.
 */
#ifndef SEALDISK_KMS_KEYS_H
#define SEALDISK_KMS_KEYS_H

#include <stdint.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/kms.h>
#include <sealdisk/settings.h>

#include "envelope.h"

struct keys;
struct keystore;
struct root;

/* The keystore, root and region of ${s}. */
int keys_open(const struct settings *s, struct keys **ret) NONNULL CHECKED;
/* The root is opened by the first call that needs it. */
int keys_open_locked(const struct settings *s, struct keys **ret)
    NONNULL CHECKED;
void keys_close(struct keys *k);
DEFINE_CLEANUP(struct keys, keys_close)

/**
 * keys_check(s, root, ks, path):
 * Look all over the keystore ${ks} that lies at ${path}, without changing it.
 * ${ks} is closed whatever comes of it.
 *
 * -EUCLEAN       it is damaged, or the material of a key does not open
 * -EKEYREJECTED  ${root} does not open it
 */
int keys_check(const struct settings *s, const struct root *root,
	       struct keystore *ks, const char *path) NONNULL CHECKED;

/* Of ${ret}, ids and blob are written.  ${ret_dk} may be NULL. */
int keys_generate(struct keys *k, const char *key, const struct context *ctx,
		  struct wrapped_dk *ret, struct key *ret_dk)
    __attribute__((__nonnull__(1, 2, 3, 4))) CHECKED;

/* What opened a blob. */
struct keys_used {
	char key_id[KMS_ID_LEN];
	char key_version_id[KMS_ID_LEN];
};
int keys_decrypt(struct keys *k, const void *blob, size_t len,
		 const struct context *ctx, struct keys_used *ret_used,
		 struct key *ret) NONNULL CHECKED;

/* ${key} NULL: the newest version of the key that ${blob} is of.  Of ${ret},
 * ids and blob are written. */
int keys_reencrypt(struct keys *k, const void *blob, size_t len,
		   const struct context *ctx, const char *key,
		   const struct context *new_ctx, struct keys_used *ret_used,
		   struct wrapped_dk *ret)
    __attribute__((__nonnull__(1, 2, 4, 6, 7, 8))) CHECKED;

int keys_create(struct keys *k, const char *description,
		struct kms_key_info *ret) NONNULL CHECKED;
int keys_describe(struct keys *k, const char *key, struct kms_key_info *ret)
    NONNULL CHECKED;
int keys_enable(struct keys *k, const char *id) NONNULL CHECKED;
int keys_disable(struct keys *k, const char *id) NONNULL CHECKED;
/* ${key} may be an alias. */
int keys_create_version(struct keys *k, const char *key,
			struct kms_key_info *ret) NONNULL CHECKED;
int keys_schedule_deletion(struct keys *k, const char *id, unsigned days,
			   int64_t *ret_at) NONNULL CHECKED;
int keys_cancel_deletion(struct keys *k, const char *id) NONNULL CHECKED;
/* -EINVAL: no alias has this form; -EPERM: it is reserved. */
int keys_check_alias(const char *alias) NONNULL CHECKED;
int keys_create_alias(struct keys *k, const char *alias, const char *id)
    NONNULL CHECKED;
int keys_update_alias(struct keys *k, const char *alias, const char *id)
    NONNULL CHECKED;
int keys_delete_alias(struct keys *k, const char *alias) NONNULL CHECKED;

/* The first after place *${pos}, which is moved to it; -ENOKEY at the end.
 * Begin with 0. */
int keys_next(struct keys *k, int64_t *pos, struct kms_key_info *ret)
    NONNULL CHECKED;
int keys_next_alias(struct keys *k, int64_t *pos,
		    char ret_alias[static KMS_ALIAS_LEN],
		    char ret_key[static KMS_ID_LEN]) NONNULL CHECKED;

/*
 * The state x action matrix of the KMS API.
 */

enum keys_action {
	KEYS_USE,    /* Encrypt, Decrypt, GenerateDataKey..., ReEncrypt */
	KEYS_ROTATE, /* CreateKeyVersion, UpdateRotationPolicy */
	KEYS_ENABLE,
	KEYS_DISABLE,
	KEYS_SCHEDULE, /* ScheduleKeyDeletion */
	KEYS_CANCEL,   /* CancelKeyDeletion */
	KEYS_CREATE_ALIAS,
	KEYS_UPDATE_ALIAS, /* the key that it shall stand for */
	KEYS_LOOK,         /* DescribeKey, List..., DeleteAlias */
	KEYS_NACTIONS
};

enum keys_verdict {
	KEYS_OK,
	KEYS_REJECTED,   /* Rejected.STATE */
	KEYS_UNMODIFIED, /* Rejected.StateModifiedFailed */
};
enum keys_verdict keys_verdict(enum keys_action a, enum kms_key_state s);

#endif
