/*
 * keys_data.c - data sealed by keys: Encrypt, Decrypt, ReEncrypt.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "keys_private.h"

static void
fill_used(const struct keystore_key *row, struct keys_used *ret)
{
	memcpy(ret->key_id, row->info.id, sizeof(ret->key_id));
	uuid_format(&row->version, ret->key_version_id);
}

/* What of ${row} a blob is sealed under. */
static int
blob_ad(struct keys *k, const struct keystore_key *row,
	const struct context *ctx, struct envelope_ad *ret)
{
	struct kms_key_info info;

	keys_fill_info(k, row, &info);
	return envelope_ad(&row->version, info.arn, ctx, ret);
}

static int
seal(struct keys *k, const struct keystore_key *row, const struct context *ctx,
     const void *data, size_t len, struct keys_blob *ret)
{
	const struct material_ops *ops;
	struct envelope_ad ad;
	int r;

	r = keys_material_ops(k, row->info.instance, &ops);
	if (r == 0)
		r = blob_ad(k, row, ctx, &ad);
	if (r < 0)
		return r;
	memcpy(ret->bytes, ad.bytes, ENVELOPE_HEADER_LEN);
	ret->len = len + ENVELOPE_OVERHEAD;
	return ops->seal(k, row, &ad, data, len,
			 ret->bytes + ENVELOPE_HEADER_LEN);
}

int
keys_encrypt(struct keys *k, const char *key, const struct context *ctx,
	     const void *data, size_t len, struct keys_used *ret_used,
	     struct keys_blob *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	if (len == 0 || len > KEYS_DATA_MAX)
		return -EINVAL;
	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin_with(&c, k, key, &row);
	if (r == 0)
		r = keys_allowed(KEYS_USE, &row);
	if (r == 0)
		r = seal(k, &row, ctx, data, len, ret);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		fill_used(&row, ret_used);
	return r;
}

/* Opening. */

int
keys_find_for_blob(struct keys *k, const void *blob, size_t len,
		   struct keystore_key *ret)
{
	struct uuid version;
	int r;

	if (len > KEYS_BLOB_MAX || envelope_version(blob, len, &version) < 0) {
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
	keys_age(ret);
	return 0;
}

static int
unseal(struct keys *k, const struct keystore_key *row, const uint8_t *blob,
       size_t len, const struct context *ctx, uint8_t *ret, size_t *ret_len)
{
	const struct material_ops *ops;
	struct envelope_ad ad;
	int r;

	r = keys_material_ops(k, row->info.instance, &ops);
	if (r == 0)
		r = blob_ad(k, row, ctx, &ad);
	if (r < 0)
		return r;
	r = ops->open(k, row, &ad, blob + ENVELOPE_HEADER_LEN,
		      len - ENVELOPE_HEADER_LEN, ret);
	if (r == -EBADMSG) {
		log_error("a data key of key %s does not open: it was changed, "
			  "or its context is another",
			  row->info.id);
		return -EKEYREJECTED;
	}
	if (r == 0)
		*ret_len = len - ENVELOPE_OVERHEAD;
	return r;
}

int
keys_decrypt(struct keys *k, const void *blob, size_t len,
	     const struct context *ctx, struct keys_used *ret_used,
	     uint8_t *ret, size_t *ret_len)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(&c, k, false);
	if (r == 0)
		r = keys_find_for_blob(k, blob, len, &row);
	if (r == 0)
		r = keys_allowed(KEYS_USE, &row);
	/* Nothing was written: the end of the transaction cannot undo this. */
	if (r == 0)
		r = unseal(k, &row, blob, len, ctx, ret, ret_len);
	if (r == 0)
		fill_used(&row, ret_used);
	return r;
}

/* Moving. */

struct move {
	const uint8_t *blob;
	size_t len;
	const struct context *ctx, *new_ctx;
	struct keystore_key from, to;
};

/* Whatever becomes of it, the data is seen by nobody. */
static int
move(struct keys *k, struct move *m, struct keys_blob *ret)
{
	uint8_t *data = secret_alloc(KEYS_DATA_MAX);
	size_t len;
	int r = data ? 0 : -ENOMEM;

	if (r == 0)
		r = unseal(k, &m->from, m->blob, m->len, m->ctx, data, &len);
	if (r == 0)
		r = seal(k, &m->to, m->new_ctx, data, len, ret);
	secret_free(data, KEYS_DATA_MAX);
	return r;
}

/* The key that it goes to comes first: it may have to be made. */
static int
find_both(struct call *c, struct keys *k, const char *key, struct move *m)
{
	struct keystore_key *to = &m->to;
	int r;

	if (key)
		r = keys_begin_with(c, k, key, to);
	else
		r = keys_begin(c, k, false);
	if (r == 0)
		r = keys_find_for_blob(k, m->blob, m->len, &m->from);
	if (r == 0)
		r = keys_allowed(KEYS_USE, &m->from);
	if (r == 0 && !key)
		r = keystore_get_key(k->ks, &m->from.id, to);
	if (r == 0 && !key)
		keys_age(to);
	return r < 0 ? r : keys_allowed(KEYS_USE, to);
}

int
keys_reencrypt(struct keys *k, const void *blob, size_t len,
	       const struct context *ctx, const char *key,
	       const struct context *new_ctx, struct keys_used *ret_from,
	       struct keys_used *ret_to, struct keys_blob *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct move m = {
		.blob = blob, .len = len, .ctx = ctx, .new_ctx = new_ctx
	};
	int r;

	r = keys_unlock(k);
	if (r == 0)
		r = find_both(&c, k, key, &m);
	if (r == 0)
		r = move(k, &m, ret);
	if (r == 0)
		r = keys_commit(&c);
	if (r < 0)
		return r;
	fill_used(&m.from, ret_from);
	fill_used(&m.to, ret_to);
	return 0;
}
