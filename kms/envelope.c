/*
 * envelope.c - see envelope.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/kms.h>

#include "envelope.h"

#define BLOB_VERSION 1

_Static_assert(ENVELOPE_ARN_MAX >= KMS_ARN_LEN, "an ARN fits");

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

/* As many as the shortest form of one lets into the longest context. */
#define PAIRS_MAX (ENVELOPE_CONTEXT_MAX / 6)

static int
by_name(const void *a, const void *b)
{
	const struct context_pair *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

int
envelope_context(const struct context *ctx,
		 uint8_t out[static ENVELOPE_CONTEXT_MAX], size_t *ret_len)
{
	struct writer w = writer_over(out, ENVELOPE_CONTEXT_MAX);
	const struct context_pair *sorted[PAIRS_MAX], *p;
	size_t i;

	if (ctx->n > PAIRS_MAX)
		return -EINVAL;
	for (i = 0; i < ctx->n; i++)
		sorted[i] = &ctx->pairs[i];
	qsort(sorted, ctx->n, sizeof(sorted[0]), by_name);
	put_u8(&w, '{');
	for (i = 0; i < ctx->n && !w.bad; i++) {
		p = sorted[i];
		if (!utf8_valid(p->name, strlen(p->name)) ||
		    !utf8_valid(p->value, strlen(p->value)) ||
		    (i > 0 && strcmp(p->name, sorted[i - 1]->name) == 0))
			return -EINVAL;
		if (i > 0)
			put_u8(&w, ',');
		put_json(&w, p->name);
		put_u8(&w, ':');
		put_json(&w, p->value);
	}
	put_u8(&w, '}');
	if (w.bad)
		return -EINVAL;
	*ret_len = (size_t)(w.p - out);
	return 0;
}

int
envelope_encrypt(struct aead *a, const struct key *kek, const void *ad,
		 size_t ad_len, const void *in, size_t len, uint8_t *out)
{
	uint8_t *sealed = out + NONCE_LEN;
	int r;

	r = crypto_random(out, NONCE_LEN);
	if (r < 0)
		return r;
	r = aead_set_key(a, CIPHER_AES256_GCM, kek->bytes);
	if (r < 0)
		return r;
	return aead_seal(a, out, ad, ad_len, in, sealed, len, sealed + len);
}

int
envelope_decrypt(struct aead *a, const struct key *kek, const void *ad,
		 size_t ad_len, const uint8_t *in, size_t len, void *out)
{
	size_t n;
	int r;

	if (len < NONCE_LEN + TAG_LEN)
		return -EBADMSG;
	n = len - NONCE_LEN - TAG_LEN;
	r = aead_set_key(a, CIPHER_AES256_GCM, kek->bytes);
	if (r < 0)
		return r;
	return aead_open(a, in, ad, ad_len, in + NONCE_LEN, out, n,
			 in + NONCE_LEN + n);
}

int
envelope_wrap(struct aead *a, const struct key *kek, const void *ad,
	      size_t ad_len, const struct key *k,
	      uint8_t out[static ENVELOPE_WRAPPED_LEN])
{
	return envelope_encrypt(a, kek, ad, ad_len, k->bytes, KEY_LEN, out);
}

int
envelope_unwrap(struct aead *a, const struct key *kek, const void *ad,
		size_t ad_len, const void *in, size_t len, struct key *ret)
{
	CLEANUP(key_wipe) struct key k = { { 0 } };
	int r;

	if (len != ENVELOPE_WRAPPED_LEN)
		return -EBADMSG;
	r = envelope_decrypt(a, kek, ad, ad_len, in, len, k.bytes);
	if (r < 0)
		return r;
	*ret = k; /* only now is it known to be genuine */
	return 0;
}

int
envelope_ad(const struct uuid *version, const char *arn,
	    const struct context *ctx, struct envelope_ad *ret)
{
	struct writer w = writer_over(ret->bytes, sizeof(ret->bytes));
	size_t arn_len = strlen(arn), ctx_len;
	int r;

	if (arn_len >= KMS_ARN_LEN)
		return -EINVAL;
	put_u8(&w, BLOB_VERSION);
	put_bytes(&w, version->bytes, sizeof(version->bytes));
	put_u16(&w, (uint16_t)arn_len);
	put_bytes(&w, arn, arn_len);
	r = envelope_context(ctx, w.p, &ctx_len);
	if (r < 0)
		return r;
	ret->len = (size_t)(w.p - ret->bytes) + ctx_len;
	return 0;
}

int
envelope_version(const void *blob, size_t len, struct uuid *ret)
{
	const uint8_t *header = blob;

	if (len < ENVELOPE_OVERHEAD || header[0] != BLOB_VERSION)
		return -EBADMSG;
	memcpy(ret->bytes, header + 1, sizeof(ret->bytes));
	return 0;
}
