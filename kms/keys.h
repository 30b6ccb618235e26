/*
 * keys.h - the actions of the key service on its keystore.
 *
 * What each takes, answers and refuses is kms.h's, with these differences: an
 * encryption context is any list of pairs; where a function takes an ${id}, it
 * is an id or ARN and no alias; and errors say more, as the wire needs it:
 *
 * -ENODATA      its material is not imported          (kms.h: -EKEYREVOKED)
 * -EIDRM        it is destroyed                       (kms.h: -EKEYEXPIRED)
 * -EMEDIUMTYPE  not for keys of this origin           (kms.h: -EPERM)
 * -ENOSTR       there is no such alias                (kms.h: -ENOKEY)
 *
 * Each call is one transaction.  A key's material is in the clear only while a
 * call uses it.
 *
 * A struct keys may be used from any thread; it is not carried over a fork.
 */
#ifndef SEALDISK_KMS_KEYS_H
#define SEALDISK_KMS_KEYS_H

#include <stdint.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/kms.h>
#include <sealdisk/rsa.h>
#include <sealdisk/settings.h>

#include "envelope.h"

struct keys;
struct keystore;
struct root;

/* The keystore, root and region of ${s}. */
int keys_open(const struct settings *s, struct keys **ret) NONNULL CHECKED;
/* The same, and nobody else uses the keystore until it is closed: -EHOSTDOWN if
 * somebody does. */
int keys_open_alone(const struct settings *s, struct keys **ret)
    NONNULL CHECKED;
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

/* What kms.h has for an error of this file. */
int keys_errno(int err) CHECKED;

/* Do what time has made due: destroy keys, let imported material go, and, once
 * the root is open, rotate.  Errors are logged. */
void keys_maintain(struct keys *k) NONNULL;

/*
 * Data.
 */

/* What sealed or opened a blob. */
struct keys_used {
	char key_id[KMS_ID_LEN];
	char key_version_id[KMS_ID_LEN];
};

#define KEYS_DATA_MAX 6144 /* bytes */
#define KEYS_BLOB_MAX (KEYS_DATA_MAX + ENVELOPE_OVERHEAD)
struct keys_blob {
	uint8_t bytes[KEYS_BLOB_MAX];
	size_t len;
};

/* -EINVAL  ${len} is not from 1 to KEYS_DATA_MAX */
int keys_encrypt(struct keys *k, const char *key, const struct context *ctx,
		 const void *data, size_t len, struct keys_used *ret_used,
		 struct keys_blob *ret) NONNULL CHECKED;
/* ${ret}, secret memory, has room for KEYS_DATA_MAX. */
int keys_decrypt(struct keys *k, const void *blob, size_t len,
		 const struct context *ctx, struct keys_used *ret_used,
		 uint8_t *ret, size_t *ret_len) NONNULL CHECKED;
/* ${key} NULL: the newest version of the key that ${blob} is of.  *${ret_from}
 * is what opened it. */
int keys_reencrypt(struct keys *k, const void *blob, size_t len,
		   const struct context *ctx, const char *key,
		   const struct context *new_ctx, struct keys_used *ret_from,
		   struct keys_used *ret_to, struct keys_blob *ret)
    __attribute__((__nonnull__(1, 2, 4, 6, 7, 8, 9))) CHECKED;

/*
 * Keys.
 */

#define KEYS_ROTATION_MIN (INT64_C(7) * 86400) /* seconds */
#define KEYS_ROTATION_MAX (INT64_C(730) * 86400)
#define KEYS_TEXT_CHARS 8192  /* of a description */
#define KEYS_POLICY_MAX 32768 /* bytes */

#define KEYS_TAGS_MAX 20
#define KEYS_TAG_LEN 129 /* of a name or value, with the NUL */
struct keys_tag {
	char name[KEYS_TAG_LEN];
	char value[KEYS_TAG_LEN];
};
struct keys_tags {
	struct keys_tag tags[KEYS_TAGS_MAX];
	size_t n;
};

struct keys_new {
	const char *description;
	bool external;        /* its material will be imported */
	const char *instance; /* NULL: the keystore keeps it */
	int64_t rotate_every; /* seconds, or 0 */
	const struct keys_tags *tags;
	const char *policy;
};
/* -EDQUOT  there are as many as there may be; -ENXIO  no such instance */
int keys_create(struct keys *k, const struct keys_new *new,
		struct kms_key_info *ret) NONNULL CHECKED;
int keys_describe(struct keys *k, const char *key, struct kms_key_info *ret)
    NONNULL CHECKED;
int keys_enable(struct keys *k, const char *id) NONNULL CHECKED;
int keys_disable(struct keys *k, const char *id) NONNULL CHECKED;
int keys_schedule_deletion(struct keys *k, const char *id, unsigned days,
			   int64_t *ret_at) NONNULL CHECKED;
int keys_cancel_deletion(struct keys *k, const char *id) NONNULL CHECKED;

/* ${key} may be an alias. */
int keys_create_version(struct keys *k, const char *key,
			struct kms_key_info *ret) NONNULL CHECKED;
struct keys_version {
	char key_id[KMS_ID_LEN];
	char id[KMS_ID_LEN];
	int64_t created;
};
/* -ENOENT  it has no such version */
int keys_describe_version(struct keys *k, const char *key, const char *version,
			  struct keys_version *ret) NONNULL CHECKED;
/* Newest first; *${ret} is malloc'ed. */
int keys_versions(struct keys *k, const char *key, struct keys_version **ret,
		  size_t *ret_n) NONNULL CHECKED;
/* Seconds; 0: no more.  If it is due at once, it happens at once. */
int keys_set_rotation(struct keys *k, const char *id, int64_t interval)
    NONNULL CHECKED;

/* Texts, malloc'ed; NULL: there is none. */
enum keys_text {
	KEYS_DESCRIPTION,
	KEYS_PROTECTION,
	KEYS_POLICY,
};
int keys_get_text(struct keys *k, const char *key, enum keys_text which,
		  char **ret) NONNULL CHECKED;
int keys_set_description(struct keys *k, const char *id, const char *text)
    NONNULL CHECKED;
/* ${why} NULL: not protected. */
int keys_set_protection(struct keys *k, const char *id, const char *why)
    __attribute__((__nonnull__(1, 2))) CHECKED;
int keys_set_policy(struct keys *k, const char *id, const char *policy)
    NONNULL CHECKED;

/* All or none.  -EDQUOT: that would be more than KEYS_TAGS_MAX. */
int keys_tag(struct keys *k, const char *id, const struct keys_tags *add)
    NONNULL CHECKED;
/* Of ${names} only the names count. */
int keys_untag(struct keys *k, const char *id, const struct keys_tags *names)
    NONNULL CHECKED;
int keys_get_tags(struct keys *k, const char *key, struct keys_tags *ret)
    NONNULL CHECKED;

/* What must be known of a key to say who may use it. */
struct keys_subject {
	char id[KMS_ID_LEN];
	char version[KMS_ID_LEN];
	char arn[KMS_ARN_LEN];
	bool is_service; /* the service's own key */
	struct keys_tags tags;
	char *policy;
};
int keys_look(struct keys *k, const char *key, struct keys_subject *ret)
    NONNULL CHECKED;
/* Of the key that ${blob} says it is sealed by. */
int keys_look_blob(struct keys *k, const void *blob, size_t len,
		   struct keys_subject *ret) NONNULL CHECKED;
void keys_subject_done(struct keys_subject *s) NONNULL;

/*
 * Import.
 */

#define KEYS_TOKEN_LEN (1 + 16 + 8 + 32)
#define KEYS_TOKEN_SECONDS 86400
struct keys_import {
	uint8_t token[KEYS_TOKEN_LEN];
	uint8_t public[RSA_PUBLIC_LEN];
	int64_t expires;
};
int keys_import_parameters(struct keys *k, const char *id,
			   enum rsa_padding padding, struct keys_import *ret)
    NONNULL CHECKED;
/**
 * keys_import(k, id, token, token_len, sealed, len, expires):
 * ${sealed} is the material under the public key that came with ${token}.  At
 * ${expires} it goes; 0: never.  What was imported once is all that can be
 * imported again.
 *
 * -EBADE    the token is none of this key
 * -ETIME    it has expired
 * -EBADMSG  there is no material in ${sealed}, or other than before
 * -EINVAL   ${expires} is over
 */
int keys_import(struct keys *k, const char *id, const void *token,
		size_t token_len, const void *sealed, size_t len,
		int64_t expires) NONNULL CHECKED;
int keys_delete_material(struct keys *k, const char *id) NONNULL CHECKED;

/*
 * Aliases.
 */

/* -EINVAL: no alias has this form; -EPERM: it is reserved. */
int keys_check_alias(const char *alias) NONNULL CHECKED;
int keys_create_alias(struct keys *k, const char *alias, const char *id)
    NONNULL CHECKED;
/* -ENOSTR  there is no such alias */
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

/* Of a disk; -ENOENT, -ESTALE as kms_get_anchor() and kms_set_anchor() say. */
struct keystore_anchor;
int keys_get_anchor(struct keys *k, const struct uuid *disk,
		    struct keystore_anchor *ret) NONNULL CHECKED;
int keys_set_anchor(struct keys *k, const struct uuid *disk,
		    const struct keystore_anchor *a, bool force)
    NONNULL CHECKED;

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
	KEYS_CHANGE,       /* description, tags, protection, policy */
	KEYS_PREPARE,      /* GetParametersForImport, DeleteKeyMaterial */
	KEYS_IMPORT,
	KEYS_NACTIONS
};

enum keys_verdict {
	KEYS_OK,
	KEYS_REJECTED,   /* Rejected.STATE */
	KEYS_UNMODIFIED, /* Rejected.StateModifiedFailed */
};
enum keys_verdict keys_verdict(enum keys_action a, enum kms_key_state s);

/* Added to the time that keys go by; tests let it pass. */
extern int64_t keys_clock_ahead; /* seconds */
int64_t keys_now(void);

#endif
