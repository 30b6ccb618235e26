/*
 * keys_actions.c - the actions of keys.h.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "keys_private.h"

#define RESERVED "alias/acs" /* what begins so is not for users */

/* Data keys. */

int
keys_seal(struct keys *k, const struct keystore_key *row,
	  const struct context *ctx, const struct key *dk,
	  struct wrapped_dk *ret)
{
	CLEANUP(key_wipe) struct key m = { { 0 } };
	struct kms_key_info info;
	int r;

	_Static_assert(sizeof(ret->blob) >= ENVELOPE_BLOB_LEN, "blob");
	r = keys_open_material(k, row, &m);
	if (r < 0)
		return r;
	keys_fill_info(k, row, &info);
	r = envelope_seal(k->aead, &m, &row->version, info.arn, ctx, dk,
			  ret->blob);
	if (r < 0)
		return r;
	ret->blob_len = ENVELOPE_BLOB_LEN;
	memcpy(ret->key_id, info.id, sizeof(ret->key_id));
	memcpy(ret->key_version_id, info.primary_version,
	       sizeof(ret->key_version_id));
	return 0;
}

int
keys_generate(struct keys *k, const char *key, const struct context *ctx,
	      struct wrapped_dk *ret, struct key *ret_dk)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct wrapped_dk w = *ret;
	struct keystore_key row;
	int r;

	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin_with(&c, k, key, &row);
	if (r < 0)
		return r;
	r = keys_allowed(KEYS_USE, &row);
	if (r < 0)
		return r;
	r = crypto_random(dk.bytes, sizeof(dk.bytes));
	if (r < 0)
		return r;
	r = keys_seal(k, &row, ctx, &dk, &w);
	if (r < 0)
		return r;
	r = keys_commit(&c);
	if (r < 0)
		return r;
	*ret = w;
	if (ret_dk)
		*ret_dk = dk;
	return 0;
}

int
keys_find_for_blob(struct keys *k, const void *blob, size_t len,
		   struct keystore_key *ret)
{
	struct uuid version;
	int r;

	if (envelope_version(blob, len, &version) < 0) {
		log_error("a wrapped data key is malformed");
		return -EKEYREJECTED;
	}
	r = keystore_get_version(k->ks, &version, ret);
	if (r < 0)
		return r;
	if (strcmp(ret->region, k->region) != 0) {
		log_error("a data key of region %s does not open in %s",
			  ret->region, k->region);
		return -EKEYREJECTED;
	}
	return keys_allowed(KEYS_USE, ret);
}

int
keys_open_blob(struct keys *k, const struct keystore_key *row, const void *blob,
	       size_t len, const struct context *ctx,
	       struct keys_used *ret_used, struct key *ret)
{
	CLEANUP(key_wipe) struct key m = { { 0 } };
	struct kms_key_info info;
	int r;

	r = keys_open_material(k, row, &m);
	if (r < 0)
		return r;
	keys_fill_info(k, row, &info);
	r = envelope_open(k->aead, &m, info.arn, ctx, blob, len, ret);
	if (r == -EBADMSG) {
		log_error("a data key of key %s does not open: it was changed, "
			  "or its context is another",
			  info.id);
		return -EKEYREJECTED;
	}
	if (r < 0)
		return r;
	memcpy(ret_used->key_id, info.id, sizeof(info.id));
	memcpy(ret_used->key_version_id, info.primary_version,
	       sizeof(info.primary_version));
	return 0;
}

int
keys_decrypt(struct keys *k, const void *blob, size_t len,
	     const struct context *ctx, struct keys_used *ret_used,
	     struct key *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(&c, k, false);
	if (r < 0)
		return r;
	r = keys_find_for_blob(k, blob, len, &row);
	if (r < 0)
		return r;
	/* Nothing was written: the end of the transaction cannot undo this. */
	return keys_open_blob(k, &row, blob, len, ctx, ret_used, ret);
}

/* Keys. */

int
keys_create(struct keys *k, const char *description, struct kms_key_info *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	size_t len = strlen(description);
	struct keystore_key row;
	int r;

	if (len >= sizeof(row.info.description) ||
	    !utf8_valid(description, len))
		return -EINVAL;
	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(&c, k, true);
	if (r < 0)
		return r;
	r = keys_add(k, description, KEYS_ACCOUNT, &row);
	if (r < 0)
		return r;
	r = keys_commit(&c);
	if (r == 0)
		keys_fill_info(k, &row, ret);
	return r;
}

int
keys_describe(struct keys *k, const char *key, struct kms_key_info *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin_with(&c, k, key, &row);
	if (r == 0)
		r = keys_allowed(KEYS_LOOK, &row);
	if (r < 0)
		return r;
	r = keys_commit(&c);
	if (r == 0)
		keys_fill_info(k, &row, ret);
	return r;
}

static int
switch_key(struct keys *k, const char *id, enum keys_action action,
	   enum kms_key_state to)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin(&c, k, true);
	if (r < 0)
		return r;
	r = keys_find_id(k, id, &row);
	if (r < 0)
		return r;
	r = keys_allowed(action, &row);
	if (r < 0)
		return r;
	r = keystore_set_state(k->ks, row.seq, to);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_enable(struct keys *k, const char *id)
{
	return switch_key(k, id, KEYS_ENABLE, KMS_ENABLED);
}

int
keys_disable(struct keys *k, const char *id)
{
	return switch_key(k, id, KEYS_DISABLE, KMS_DISABLED);
}

int
keys_next(struct keys *k, int64_t *pos, struct kms_key_info *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin(&c, k, false);
	if (r < 0)
		return r;
	r = keystore_next_key(k->ks, k->region, *pos, &row);
	if (r < 0)
		return r;
	keys_fill_info(k, &row, ret);
	*pos = row.seq;
	return 0;
}

/* Aliases. */

int
keys_check_alias(const char *alias)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "/_-.:";
	size_t len = strlen(alias);

	if (!keys_is_alias(alias) || len == strlen(ALIAS_PREFIX) ||
	    len >= KMS_ALIAS_LEN || strspn(alias, good) != len)
		return -EINVAL;
	if (strncmp(alias, RESERVED, strlen(RESERVED)) == 0)
		return -EPERM;
	return 0;
}

static int
bind_alias(struct keys *k, const char *alias, const char *id,
	   enum keys_action action,
	   int (*put)(struct keystore *ks, const char *region,
		      const char *alias, int64_t key))
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_check_alias(alias);
	if (r < 0)
		return r;
	r = keys_begin(&c, k, true);
	if (r < 0)
		return r;
	r = keys_find_id(k, id, &row);
	if (r < 0)
		return r;
	r = keys_allowed(action, &row);
	if (r < 0)
		return r;
	r = put(k->ks, k->region, alias, row.seq);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_create_alias(struct keys *k, const char *alias, const char *id)
{
	return bind_alias(k, alias, id, KEYS_CREATE_ALIAS, keystore_add_alias);
}

int
keys_update_alias(struct keys *k, const char *alias, const char *id)
{
	return bind_alias(k, alias, id, KEYS_UPDATE_ALIAS, keystore_move_alias);
}

int
keys_delete_alias(struct keys *k, const char *alias)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_check_alias(alias);
	if (r < 0)
		return r;
	r = keys_begin(&c, k, true);
	if (r < 0)
		return r;
	r = keystore_remove_alias(k->ks, k->region, alias);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_next_alias(struct keys *k, int64_t *pos,
		char ret_alias[static KMS_ALIAS_LEN],
		char ret_key[static KMS_ID_LEN])
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct uuid id;
	int r;

	r = keys_begin(&c, k, false);
	if (r < 0)
		return r;
	r = keystore_next_alias(k->ks, k->region, *pos, pos, ret_alias, &id);
	if (r == 0)
		uuid_format(&id, ret_key);
	return r;
}
