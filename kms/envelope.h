/*
 * envelope.h - keys sealed by keys.
 *
 * Two forms.  A *wrapped key* never leaves the keystore: nonce 12, ciphertext
 * 32, tag 16, under associated data that names what it is, so that it opens in
 * its own row only.  A *blob* is what users keep:
 *
 *     version u8 = 1 | key version uuid 16 | nonce 12 | ciphertext | tag 16
 *
 * with, as associated data: its first 17 bytes, the length u16 and text of the
 * CMK's ARN, and the canonical encryption context.  A blob therefore names the
 * key version that opens it, and opens under that key, in that region, in that
 * context.  All is AES-256-GCM with random nonces; numbers are little-endian.
 *
 * 0 or a negative errno; results are written only on success; -EBADMSG is
 * "does not authenticate, or is malformed".  A struct aead is left with the key
 * that was used: aead_forget() is the caller's.
 */
#ifndef SEALDISK_KMS_ENVELOPE_H
#define SEALDISK_KMS_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/secret.h>

#define ENVELOPE_WRAPPED_LEN (NONCE_LEN + KEY_LEN + TAG_LEN)
#define ENVELOPE_BLOB_LEN (1 + 16 + NONCE_LEN + KEY_LEN + TAG_LEN)
#define ENVELOPE_CONTEXT_MAX 8192 /* bytes of its canonical form */
#define ENVELOPE_HEADER_LEN (1 + 16)
#define ENVELOPE_OVERHEAD (ENVELOPE_HEADER_LEN + NONCE_LEN + TAG_LEN)
#define ENVELOPE_ARN_MAX 256
#define ENVELOPE_AD_MAX                                                        \
	(ENVELOPE_HEADER_LEN + 2 + ENVELOPE_ARN_MAX + ENVELOPE_CONTEXT_MAX)

struct context_pair {
	const char *name, *value;
};

/* An encryption context: any order, each name once, UTF-8. */
struct context {
	const struct context_pair *pairs;
	size_t n;
};

/**
 * envelope_context(ctx, out, ret_len):
 * Write the one JSON text that stands for ${ctx}: names in the order of their
 * bytes, no white space, only that escaped which must be, as RFC 8785 does it.
 * There is no NUL at its end.
 *
 * -EINVAL  too long, a name twice, or not UTF-8
 */
int envelope_context(const struct context *ctx,
		     uint8_t out[static ENVELOPE_CONTEXT_MAX], size_t *ret_len)
    NONNULL CHECKED;

int envelope_wrap(struct aead *a, const struct key *kek, const void *ad,
		  size_t ad_len, const struct key *k,
		  uint8_t out[static ENVELOPE_WRAPPED_LEN]) NONNULL CHECKED;
int envelope_unwrap(struct aead *a, const struct key *kek, const void *ad,
		    size_t ad_len, const void *in, size_t len, struct key *ret)
    NONNULL CHECKED;

/* The same for ${len} bytes; ${out} has room for NONCE_LEN and TAG_LEN more. */
int envelope_encrypt(struct aead *a, const struct key *kek, const void *ad,
		     size_t ad_len, const void *in, size_t len, uint8_t *out)
    NONNULL CHECKED;
/* ${len} is of what envelope_encrypt() wrote, NONCE_LEN and TAG_LEN at least.
 * On error ${out} is zeros, as far as it was written. */
int envelope_decrypt(struct aead *a, const struct key *kek, const void *ad,
		     size_t ad_len, const uint8_t *in, size_t len, void *out)
    NONNULL CHECKED;

/* What a blob of version ${version} of the CMK ${arn} begins with, and is
 * sealed under. */
struct envelope_ad {
	uint8_t bytes[ENVELOPE_AD_MAX]; /* of these the header is the first */
	size_t len;
};
int envelope_ad(const struct uuid *version, const char *arn,
		const struct context *ctx, struct envelope_ad *ret)
    NONNULL CHECKED;

/* Which key version a blob says it was sealed by; not authenticated yet.  Then
 * ${len} is ENVELOPE_OVERHEAD at least. */
int envelope_version(const void *blob, size_t len, struct uuid *ret)
    NONNULL CHECKED;

#endif
