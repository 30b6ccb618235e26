/*
 * keys_import.c - material that a customer brings along (BYOK).
 *
 * It comes under an RSA key that was made for this one key, and with a token
 * that says so: the number of that RSA key, when it expires, and a MAC over
 * both, the key and the padding.  The RSA key lies in the keystore, under the
 * keystore key, until its day is over; then neither can be had again, nor what
 * somebody may have recorded.
 *
 * Of material that was imported once, a MAC stays for good: nothing else can
 * take its place, or data that was sealed under it would be lost unseen.
 *
 * Whatever is wrong with what was sent, the work is the same up to the end, and
 * so is the error.
 */
#include <errno.h>
#include <string.h>

#include "keys_private.h"

#define TOKEN_VERSION 1
#define IMPORTS_KEPT 9 /* of a key, beside the newest */

#define TOKEN_LABEL "sealdisk import token"
#define CHECK_LABEL "sealdisk material check"
#define PRIVATE_LABEL "sealdisk import key"

/* A MAC under a key that is for ${label} alone. */
static int
mac(struct keys *k, const char *label, const struct uuid *key, const void *data,
    size_t len, uint8_t ret[static MAC_LEN])
{
	CLEANUP(key_wipe) struct key kek = { { 0 } }, own = { { 0 } };
	struct uuid id = *key;
	const struct iovec iov[] = { { id.bytes, sizeof(id.bytes) },
				     { (void *)(uintptr_t)data, len } };
	int r;

	r = keys_keystore_key(k, &kek);
	if (r == 0)
		r = hkdf_sha256(kek.bytes, sizeof(kek.bytes), NULL, 0, label,
				strlen(label), own.bytes, sizeof(own.bytes));
	return r < 0 ? r : hmac_sha256(own.bytes, iov, 2, ret);
}

/* Tokens. */

#define TOKEN_BODY_LEN (KEYS_TOKEN_LEN - MAC_LEN)

static int
token_mac(struct keys *k, const struct keystore_import *i,
	  const struct uuid *key, uint8_t body[static TOKEN_BODY_LEN],
	  uint8_t ret[static MAC_LEN])
{
	struct writer w = writer_over(body, TOKEN_BODY_LEN);

	put_u8(&w, TOKEN_VERSION);
	put_bytes(&w, i->id.bytes, sizeof(i->id.bytes));
	put_u64(&w, (uint64_t)i->expires);
	return mac(k, TOKEN_LABEL, key, body, TOKEN_BODY_LEN, ret);
}

/* Of ${ret}, id and expires are written. */
static int
check_token(struct keys *k, const struct uuid *key, const void *token,
	    size_t len, struct keystore_import *ret)
{
	uint8_t body[TOKEN_BODY_LEN], good[MAC_LEN], given[MAC_LEN];
	struct reader rd = reader_over(token, len);
	uint8_t version = get_u8(&rd);
	int r;

	get_bytes(&rd, ret->id.bytes, sizeof(ret->id.bytes));
	ret->expires = (int64_t)get_u64(&rd);
	get_bytes(&rd, given, sizeof(given));
	if (rd.bad || rd.p != rd.end || version != TOKEN_VERSION)
		return -EBADE;
	r = token_mac(k, ret, key, body, good);
	if (r < 0)
		return r;
	if (!crypto_equal(good, given, sizeof(good)))
		return -EBADE;
	return ret->expires <= keys_now() ? -ETIME : 0;
}

/* RSA keys. */

#define PRIVATE_AD_LEN (sizeof(PRIVATE_LABEL) + 2 * sizeof(struct uuid))

static void
private_ad(const struct keystore_import *i, const struct uuid *key,
	   uint8_t out[static PRIVATE_AD_LEN])
{
	struct writer w = writer_over(out, PRIVATE_AD_LEN);

	put_bytes(&w, PRIVATE_LABEL, sizeof(PRIVATE_LABEL));
	put_bytes(&w, i->id.bytes, sizeof(i->id.bytes));
	put_bytes(&w, key->bytes, sizeof(key->bytes));
}

static int
store_private(struct keys *k, const struct keystore_key *row,
	      const struct rsa_private *private, struct keystore_import *i)
{
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	uint8_t ad[PRIVATE_AD_LEN];
	int r;

	_Static_assert(RSA_PRIVATE_MAX + NONCE_LEN + TAG_LEN <=
			   KEYSTORE_PRIVATE_MAX,
		       "room for a private key");
	r = keys_keystore_key(k, &kek);
	if (r < 0)
		return r;
	private_ad(i, &row->id, ad);
	r = envelope_encrypt(k->aead, &kek, ad, sizeof(ad), private->bytes,
			     private->len, i->private_key);
	if (r < 0)
		return r;
	i->private_len = private->len + NONCE_LEN + TAG_LEN;
	return keystore_add_import(k->ks, i, IMPORTS_KEPT);
}

static int
load_private(struct keys *k, const struct keystore_key *row,
	     const struct keystore_import *i, struct rsa_private *ret)
{
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	uint8_t ad[PRIVATE_AD_LEN];
	int r;

	if (i->private_len < NONCE_LEN + TAG_LEN ||
	    i->private_len - NONCE_LEN - TAG_LEN > sizeof(ret->bytes))
		return -EUCLEAN;
	r = keys_keystore_key(k, &kek);
	if (r < 0)
		return r;
	private_ad(i, &row->id, ad);
	r = envelope_decrypt(k->aead, &kek, ad, sizeof(ad), i->private_key,
			     i->private_len, ret->bytes);
	ret->len = i->private_len - NONCE_LEN - TAG_LEN;
	return r == -EBADMSG ? -EUCLEAN : r;
}

/* GetParametersForImport. */

static int
begin_prepare(struct call *c, struct keys *k, const char *id, bool write,
	      struct keystore_key *ret)
{
	int r;

	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(c, k, write);
	if (r == 0)
		r = keys_find_id(k, id, ret);
	return r < 0 ? r : keys_allowed(KEYS_PREPARE, ret);
}

/* Before an RSA key is made, which takes its time. */
static int
check_prepare(struct keys *k, const char *id)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;

	return begin_prepare(&c, k, id, false, &row);
}

static int
add_import(struct keys *k, const char *id, const struct rsa_private *private,
	   struct keystore_import *i, struct keys_import *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = begin_prepare(&c, k, id, true, &row);
	if (r == 0)
		r = uuid_new(&i->id);
	if (r < 0)
		return r;
	i->key = row.seq;
	i->expires = keys_now() + KEYS_TOKEN_SECONDS;
	r = store_private(k, &row, private, i);
	if (r == 0)
		r = token_mac(k, i, &row.id, ret->token,
			      ret->token + TOKEN_BODY_LEN);
	ret->expires = i->expires;
	return r < 0 ? r : keys_commit(&c);
}

int
keys_import_parameters(struct keys *k, const char *id, enum rsa_padding padding,
		       struct keys_import *ret)
{
	struct keystore_import i = { .padding = padding };
	struct rsa_private *private;
	int r;

	r = check_prepare(k, id);
	if (r < 0)
		return r;
	private = secret_alloc(sizeof(*private));
	if (!private)
		return -ENOMEM;
	r = rsa_new(private, ret->public);
	if (r == 0)
		r = add_import(k, id, private, &i, ret);
	secret_free(private, sizeof(*private));
	return r;
}

/* ImportKeyMaterial. */

static int
begin_import(struct call *c, struct keys *k, const char *id, bool write,
	     struct keystore_key *ret)
{
	int r;

	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(c, k, write);
	if (r == 0)
		r = keys_find_id(k, id, ret);
	return r < 0 ? r : keys_allowed(KEYS_IMPORT, ret);
}

static int
take_private(struct keys *k, const char *id, const void *token,
	     size_t token_len, enum rsa_padding *ret_padding,
	     struct rsa_private *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_import i = { .expires = 0 };
	struct keystore_key row;
	int r;

	r = begin_import(&c, k, id, false, &row);
	if (r == 0)
		r = check_token(k, &row.id, token, token_len, &i);
	if (r < 0)
		return r;
	r = keystore_get_import(k->ks, &i.id, &i);
	if (r == -ENOKEY || (r == 0 && i.key != row.seq))
		return -EBADE; /* the newer ones have taken its place */
	if (r == 0)
		r = load_private(k, &row, &i, ret);
	*ret_padding = (enum rsa_padding)i.padding;
	return r;
}

/* ${m} is no good: but that is told at the end. */
static int
put_material(struct keys *k, const char *id, const struct key *m, bool good,
	     int64_t expires)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_blob check = { .len = MAC_LEN };
	struct keystore_key row;
	int r;

	r = begin_import(&c, k, id, true, &row);
	if (r == 0)
		r = mac(k, CHECK_LABEL, &row.id, m->bytes, sizeof(m->bytes),
			check.bytes);
	if (r == 0)
		r = keys_wrap_material(k, &row, m);
	if (r < 0)
		return r;
	good &= row.check.len == 0 ||
		(row.check.len == MAC_LEN &&
		 crypto_equal(row.check.bytes, check.bytes, MAC_LEN));
	if (!good)
		return -EBADMSG;
	r = keystore_set_material(k->ks, row.seq, &row.material, &check,
				  expires);
	if (r == 0 && row.info.state == KMS_PENDING_IMPORT)
		r = keystore_set_state(k->ks, row.seq, KMS_ENABLED);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_import(struct keys *k, const char *id, const void *token, size_t token_len,
	    const void *sealed, size_t len, int64_t expires)
{
	CLEANUP(key_wipe) struct key m = { { 0 } };
	struct rsa_private *private;
	enum rsa_padding padding;
	bool good = false;
	int r;

	if (expires < 0 || (expires && expires <= keys_now()))
		return -EINVAL;
	r = crypto_random(m.bytes, sizeof(m.bytes));
	if (r < 0)
		return r;
	private = secret_alloc(sizeof(*private));
	if (!private)
		return -ENOMEM;
	r = take_private(k, id, token, token_len, &padding, private);
	if (r == 0) {
		r = rsa_open_key(private, padding, sealed, len, &m);
		good = r == 0;
		r = r == -EBADMSG ? 0 : r;
	}
	secret_free(private, sizeof(*private));
	return r < 0 ? r : put_material(k, id, &m, good, expires);
}

int
keys_delete_material(struct keys *k, const char *id)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin(&c, k, true);
	if (r == 0)
		r = keys_find_id(k, id, &row);
	if (r == 0)
		r = keys_allowed(KEYS_PREPARE, &row);
	if (r == 0 && row.info.state != KMS_PENDING_DELETION)
		r = keystore_set_state(k->ks, row.seq, KMS_PENDING_IMPORT);
	if (r == 0)
		r = keystore_remove_material(k->ks, row.seq);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		keystore_forget(k->ks);
	return r;
}
