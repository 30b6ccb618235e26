/*
 * keys_private.h - what the actions of keys.h are made of.
 */
#ifndef SEALDISK_KMS_KEYS_PRIVATE_H
#define SEALDISK_KMS_KEYS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "keys.h"
#include "keystore.h"
#include "pkcs11.h"
#include "root.h"

#define KEYS_ACCOUNT "local"
#define KEYS_SERVICE "Ecs" /* creator of service keys */
#define KEYS_ORIGIN_KMS "Aliyun_KMS"
#define KEYS_ORIGIN_EXTERNAL "EXTERNAL"
#define ALIAS_PREFIX "alias/"

struct keys {
	pthread_mutex_t root_lock; /* whoever opens the root; before ${lock} */
	atomic_bool unlocked;
	const struct root *lent; /* in place of opening one */
	struct settings settings;
	/* The token of [instance], once the root is open; NULL: it cannot be
	 * had. */
	struct pkcs11 *instance;

	pthread_mutex_t lock; /* holds for all that follows */
	struct keystore *ks;
	struct aead *aead;
	struct key *kek;    /* the keystore key, in secret memory; */
	struct uuid kek_of; /* nil: not known yet */
	char region[KEYSTORE_REGION_LEN];
	char arn_prefix[KMS_ARN_LEN / 2]; /* an ARN without the key id */
	char path[];
};

/*
 * One transaction, under the lock: CLEANUP(keys_end) struct call c = { .k =
 * NULL }. What was not committed is undone at its end.
 */
struct call {
	struct keys *k; /* NULL: not begun */
	bool open;
};
int keys_begin(struct call *c, struct keys *k, bool write) NONNULL CHECKED;
/* Begin and find ${key}: an id, ARN or alias.  That it may be the service key
 * which nobody has used yet is why the caller commits in any case. */
int keys_begin_with(struct call *c, struct keys *k, const char *key,
		    struct keystore_key *ret) NONNULL CHECKED;
int keys_commit(struct call *c) NONNULL CHECKED;
void keys_end(struct call *c) NONNULL;

/* Within a transaction. */

bool keys_is_alias(const char *key) NONNULL;
/* An id, ARN or alias. */
int keys_find(struct keys *k, const char *key, struct keystore_key *ret)
    NONNULL CHECKED;
/* An id or ARN. */
int keys_find_id(struct keys *k, const char *id, struct keystore_key *ret)
    NONNULL CHECKED;
/* Of a length and form that a description may have. */
bool keys_is_text(const char *s) NONNULL CHECKED;
/* What time has done to a key since its row was written. */
void keys_age(struct keystore_key *row) NONNULL;
/* A new key with one version; the root is open. */
int keys_add(struct keys *k, const struct keys_new *new, const char *creator,
	     struct keystore_key *ret) NONNULL CHECKED;
/* A new version of it.  -EDQUOT: it has as many as it may. */
int keys_add_version(struct keys *k, struct keystore_key *row) NONNULL CHECKED;

/*
 * keys_material.c: the material of a key, by who keeps it.
 */

/*
 * What ${row} is a version of seals and opens under ${ad}.  ${out} of seal has
 * room for NONCE_LEN and TAG_LEN more than ${len}, which is as long as what
 * open takes.  -EBADMSG: it does not open.
 */
struct material_ops {
	/* Fill in what is to be stored of a new version. */
	int (*make)(struct keys *k, struct keystore_key *row);
	int (*seal)(struct keys *k, const struct keystore_key *row,
		    const struct envelope_ad *ad, const void *in, size_t len,
		    uint8_t *out);
	int (*open)(struct keys *k, const struct keystore_key *row,
		    const struct envelope_ad *ad, const uint8_t *in, size_t len,
		    uint8_t *out);
};
/* Of keys in the instance: what is stored of a version is its key's id there.
 * -EHOSTDOWN  the instance cannot be had */
extern const struct material_ops instance_ops;
/* Destroy all versions of ${key}, as far as they are there. */
int keys_empty_instance(struct keys *k, int64_t key) NONNULL CHECKED;

/* "": the keystore itself.  -ENXIO  there is no such instance */
int keys_material_ops(const struct keys *k, const char *instance,
		      const struct material_ops **ret) NONNULL CHECKED;
/* Of a key that the keystore keeps: under the keystore key, in ${row}. */
int keys_wrap_material(struct keys *k, struct keystore_key *row,
		       const struct key *m) NONNULL CHECKED;
int keys_open_material(struct keys *k, const struct keystore_key *row,
		       struct key *ret) NONNULL CHECKED;

/*
 * keys_data.c
 */

/* The key version that ${blob} names, in whatever state it is. */
int keys_find_for_blob(struct keys *k, const void *blob, size_t len,
		       struct keystore_key *ret) NONNULL CHECKED;

/*
 * keys_rotation.c
 */

/* Whether ${row}, in its newest version, is to be rotated by now. */
bool keys_is_due(const struct keys *k, const struct keystore_key *row) NONNULL;
/* Rotate what is due. */
void keys_rotate_due(struct keys *k) NONNULL;

/* Within a transaction. */
int keys_read_tags(struct keys *k, const struct keystore_key *row,
		   struct keys_tags *ret) NONNULL CHECKED;
int keys_put_tags(struct keys *k, const struct keystore_key *row,
		  const struct keys_tags *add) NONNULL CHECKED;
void keys_fill_info(struct keys *k, const struct keystore_key *row,
		    struct kms_key_info *ret) NONNULL;

/*
 * keys_unlock.c: the keystore key.
 */

/* Open the root, if that is still to be done: it may ask, and so it comes
 * before a transaction. */
int keys_unlock(struct keys *k) NONNULL CHECKED;
/* Within a transaction. */
int keys_keystore_key(struct keys *k, struct key *ret) NONNULL CHECKED;

/*
 * keys_deletion.c
 */

/* Destroy keys and imported material that are due, and keys to import under;
 * what cannot be destroyed now is refused all the same. */
void keys_reap(struct keys *k) NONNULL;
/* Destroyed, or due for it. */
bool keys_is_gone(const struct keystore_key *row) NONNULL;

/*
 * keys_state.c
 */

/* Whether it is a policy that a key may have. */
bool keys_is_policy(const char *text) NONNULL;

/* -EKEYREVOKED, -EKEYEXPIRED, -ENODATA: its state forbids it; -EIDRM;
 * -EALREADY: it is not scheduled for deletion; -EPERM: a service key;
 * -EMEDIUMTYPE. */
int keys_allowed(enum keys_action a, const struct keystore_key *row)
    NONNULL CHECKED;

#endif
