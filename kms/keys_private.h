/*
 * keys_private.h - what the actions of keys.h are made of.
 */
#ifndef SEALDISK_KMS_KEYS_PRIVATE_H
#define SEALDISK_KMS_KEYS_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>

#include "keys.h"
#include "keystore.h"
#include "root.h"

#define KEYS_ACCOUNT "local"
#define ALIAS_PREFIX "alias/"

struct keys {
	pthread_mutex_t lock; /* holds for all that follows */
	struct keystore *ks;
	struct aead *aead;
	struct root *root;
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
/* An id or ARN. */
int keys_find_id(struct keys *k, const char *id, struct keystore_key *ret)
    NONNULL CHECKED;
/* A new key with one version. */
int keys_add(struct keys *k, const char *description, const char *creator,
	     struct keystore_key *ret) NONNULL CHECKED;
int keys_open_material(struct keys *k, const struct keystore_key *row,
		       struct key *ret) NONNULL CHECKED;
void keys_fill_info(struct keys *k, const struct keystore_key *row,
		    struct kms_key_info *ret) NONNULL;

enum action {
	KEYS_USE,    /* GenerateDataKey, Decrypt */
	KEYS_SWITCH, /* EnableKey, DisableKey */
	KEYS_NAME,   /* CreateAlias, UpdateAlias: the key it shall stand for */
	KEYS_NACTIONS
};
/* -EKEYREVOKED, -EKEYEXPIRED: its state forbids it; -EPERM: a service key. */
int keys_allowed(enum action a, const struct keystore_key *row) NONNULL CHECKED;

#endif
