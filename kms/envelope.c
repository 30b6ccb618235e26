/*
 * envelope.c - see envelope.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/kms.h>

#include "envelope.h"

#define BLOB_VERSION 1
#define HEADER_LEN (1 + 16)
#define AD_MAX (HEADER_LEN + 2 + KMS_ARN_LEN + ENVELOPE_CONTEXT_MAX)

/* One JSON string, quotes included. */
static void
put_json(struct writer *w, const char *s)
{
	static const char named[] = "\bb\ff\nn\rr\tt\"\"\\\\";
	char hex[7];
	size_t i;

	put_u8(w, '"');
	for (; *s; s++) {
		for (i = 0; named[i] && named[i] != *s; i += 2)
			;
		if (named[i]) {
			put_u8(w, '\\');
			put_u8(w, (uint8_t)named[i + 1]);
		} else if ((unsigned char)*s < 0x20) {
			(void)snprintf(hex, sizeof(hex), "\\u%04x", *s);
			put_bytes(w, hex, 6);
		} else {
			put_u8(w, (uint8_t)*s);
		}
	}
	put_u8(w, '"');
}

/* The pair with the least name above ${last}, or NULL. */
static const struct context_pair *
next_pair(const struct context *ctx, const char *last)
{
	const struct context_pair *p, *best = NULL;

	for (p = ctx->pairs; p < ctx->pairs + ctx->n; p++)
		if ((!last || strcmp(p->name, last) > 0) &&
		    (!best || strcmp(p->name, best->name) < 0))
			best = p;
	return best;
}

int
envelope_context(const struct context *ctx,
		 uint8_t out[static ENVELOPE_CONTEXT_MAX], size_t *ret_len)
{
	struct writer w = writer_over(out, ENVELOPE_CONTEXT_MAX);
	const struct context_pair *p;
	const char *last = NULL;
	size_t n = 0;

	put_u8(&w, '{');
	while ((p = next_pair(ctx, last)) && !w.bad) {
		if (!utf8_valid(p->name, strlen(p->name)) ||
		    !utf8_valid(p->value, strlen(p->value)))
			return -EINVAL;
		if (last)
			put_u8(&w, ',');
		put_json(&w, p->name);
		put_u8(&w, ':');
		put_json(&w, p->value);
		last = p->name;
		n++;
	}
	put_u8(&w, '}');
	if (w.bad || n != ctx->n) /* fewer: a name stood there twice */
		return -EINVAL;
	*ret_len = (size_t)(w.p - out);
	return 0;
}

int
envelope_wrap(struct aead *a, const struct key *kek, const void *ad,
	      size_t ad_len, const struct key *k,
	      uint8_t out[static ENVELOPE_WRAPPED_LEN])
{
	uint8_t *sealed = out + NONCE_LEN;
	int r;

	r = crypto_random(out, NONCE_LEN);
	if (r < 0)
		return r;
	r = aead_set_key(a, CIPHER_AES256_GCM, kek->bytes);
	if (r < 0)
		return r;
	return aead_seal(a, out, ad, ad_len, k->bytes, sealed, KEY_LEN,
			 sealed + KEY_LEN);
}

int
envelope_unwrap(struct aead *a, const struct key *kek, const void *ad,
		size_t ad_len, const void *in, size_t len, struct key *ret)
{
	CLEANUP(key_wipe) struct key k = { { 0 } };
	const uint8_t *nonce = in;
	int r;

	if (len != ENVELOPE_WRAPPED_LEN)
		return -EBADMSG;
	r = aead_set_key(a, CIPHER_AES256_GCM, kek->bytes);
	if (r < 0)
		return r;
	r = aead_open(a, nonce, ad, ad_len, nonce + NONCE_LEN, k.bytes, KEY_LEN,
		      nonce + NONCE_LEN + KEY_LEN);
	if (r < 0)
		return r;
	*ret = k; /* only now is it known to be genuine */
	return 0;
}

/* The associated data of a blob that begins with ${header}. */
static int
blob_ad(const uint8_t header[static HEADER_LEN], const char *arn,
	const struct context *ctx, uint8_t out[static AD_MAX], size_t *ret_len)
{
	struct writer w = writer_over(out, AD_MAX);
	size_t arn_len = strlen(arn), ctx_len;
	int r;

	if (arn_len >= KMS_ARN_LEN)
		return -EINVAL;
	put_bytes(&w, header, HEADER_LEN);
	put_u16(&w, (uint16_t)arn_len);
	put_bytes(&w, arn, arn_len);
	r = envelope_context(ctx, w.p, &ctx_len);
	if (r < 0)
		return r;
	*ret_len = (size_t)(w.p - out) + ctx_len;
	return 0;
}

int
envelope_seal(struct aead *a, const struct key *cmk, const struct uuid *version,
	      const char *arn, const struct context *ctx, const struct key *dk,
	      uint8_t out[static ENVELOPE_BLOB_LEN])
{
	uint8_t ad[AD_MAX];
	size_t ad_len;
	int r;

	out[0] = BLOB_VERSION;
	memcpy(out + 1, version->bytes, sizeof(version->bytes));
	r = blob_ad(out, arn, ctx, ad, &ad_len);
	if (r < 0)
		return r;
	return envelope_wrap(a, cmk, ad, ad_len, dk, out + HEADER_LEN);
}

int
envelope_open(struct aead *a, const struct key *cmk, const char *arn,
	      const struct context *ctx, const void *blob, size_t len,
	      struct key *ret)
{
	const uint8_t *header = blob;
	uint8_t ad[AD_MAX];
	size_t ad_len;
	int r;

	if (len != ENVELOPE_BLOB_LEN || header[0] != BLOB_VERSION)
		return -EBADMSG;
	r = blob_ad(header, arn, ctx, ad, &ad_len);
	if (r < 0)
		return r;
	return envelope_unwrap(a, cmk, ad, ad_len, header + HEADER_LEN,
			       len - HEADER_LEN, ret);
}

int
envelope_version(const void *blob, size_t len, struct uuid *ret)
{
	const uint8_t *header = blob;

	if (len != ENVELOPE_BLOB_LEN || header[0] != BLOB_VERSION)
		return -EBADMSG;
	memcpy(ret->bytes, header + 1, sizeof(ret->bytes));
	return 0;
}
