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
#include "root.h"

#define KEYS_ACCOUNT "local"
#define KEYS_SERVICE "Ecs" /* creator of service keys */
#define KEYS_ORIGIN_KMS "Aliyun_KMS"
#define ALIAS_PREFIX "alias/"

#define KEYS_VERSIONS_MAX 50 /* of a key */

struct keys {
	pthread_mutex_t root_lock; /* whoever opens the root; before ${lock} */
	atomic_bool unlocked;
	const struct root *lent; /* in place of opening one */
	struct settings settings;

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
/* A new key with one version.  The root is open. */
int keys_add(struct keys *k, const char *description, const char *creator,
	     struct keystore_key *ret) NONNULL CHECKED;
/* Of the version that ${row} names, under the keystore key. */
int keys_make_material(struct keys *k, struct keystore_key *row)
    NONNULL CHECKED;
int keys_open_material(struct keys *k, const struct keystore_key *row,
		       struct key *ret) NONNULL CHECKED;
/* Data keys: of ${ret}, ids and blob are written; the key version that ${blob}
 * names, if it may be used; what it opens to. */
int keys_seal(struct keys *k, const struct keystore_key *row,
	      const struct context *ctx, const struct key *dk,
	      struct wrapped_dk *ret) NONNULL CHECKED;
int keys_find_for_blob(struct keys *k, const void *blob, size_t len,
		       struct keystore_key *ret) NONNULL CHECKED;
int keys_open_blob(struct keys *k, const struct keystore_key *row,
		   const void *blob, size_t len, const struct context *ctx,
		   struct keys_used *ret_used, struct key *ret) NONNULL CHECKED;
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

/* Destroy what is due; what cannot be destroyed now is refused all the same. */
void keys_reap(struct keys *k) NONNULL;
/* Destroyed, or due for it. */
bool keys_is_gone(const struct keystore_key *row) NONNULL;

/*
 * keys_state.c
 */

/* -EKEYREVOKED, -EKEYEXPIRED: its state forbids it; -EALREADY: it is not
 * scheduled for deletion; -EPERM: a service key, or one that was imported. */
int keys_allowed(enum keys_action a, const struct keystore_key *row)
    NONNULL CHECKED;

#endif
