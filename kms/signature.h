/*
 * signature.h - who has signed a request, in the two forms of the KMS API.
 *
 * Version 1 (HMAC-SHA1) signs method and parameters, which carry the signature
 * too.  ACS3-HMAC-SHA256 signs method, query, the hash of the body, and
 * headers, and is a header itself.  Pure functions: no clock, no memory of
 * nonces (nonces.h), no keys of their own.
 *
 * A signature is read, which says whose it claims to be, then found fresh, then
 * verified; nothing of the request may be used before that.
 */
#ifndef SEALDISK_KMS_SIGNATURE_H
#define SEALDISK_KMS_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/crypto.h>

#include "request.h"

#define SIGNATURE_ID_MAX 64      /* of an access key */
#define SIGNATURE_NONCE_MAX 128  /* bytes */
#define SIGNATURE_SECRET_MAX 128 /* bytes of an access key's secret */
#define SIGNATURE_HEADERS_MAX 512
#define SIGNATURE_WINDOW 900 /* seconds that a clock may be off */

enum signature_kind { SIGNATURE_NONE, SIGNATURE_V1, SIGNATURE_ACS3 };

struct signature {
	enum signature_kind kind;
	char access_key_id[SIGNATURE_ID_MAX + 1];
	char nonce[SIGNATURE_NONCE_MAX + 1];
	int64_t time;
	uint8_t mac[MAC_LEN];
	size_t mac_len;
	char signed_headers[SIGNATURE_HEADERS_MAX]; /* ACS3 */
};

/**
 * signature_read(q, ret):
 * What ${q} says of its signature: SIGNATURE_NONE if it has none at all.  All
 * that is signed under ACS3 must be what is used: every x-acs- header.  A v1
 * request without a nonce has its signature for one.
 */
const struct refusal *signature_read(const struct request *q,
				     struct signature *ret) NONNULL CHECKED;

/* Not older than ${oldest}, nor more than SIGNATURE_WINDOW away from ${now}. */
const struct refusal *signature_fresh(const struct signature *s, int64_t now,
				      int64_t oldest) NONNULL CHECKED;

/* Whether the owner of ${secret} has made ${s} for ${q}; compared in constant
 * time. */
const struct refusal *signature_verify(const struct request *q,
				       const struct signature *s,
				       const char *secret, size_t secret_len)
    NONNULL CHECKED;

/*
 * The making of signatures.  0, -ENOMEM, -EINVAL (a secret that is too long).
 */

/* Of all ${params} but Signature; they are sorted. */
int signature_v1(const char *method, const struct request_param *params,
		 size_t n, const char *secret, size_t secret_len,
		 uint8_t ret[static SHA1_LEN]) NONNULL CHECKED;

/* Of the path /, the canonical ${query} and the headers of ${raw} that
 * ${signed_headers} ("a;b;c", sorted, each there) names. */
int signature_acs3(const struct raw_request *raw, const char *query,
		   const char *signed_headers, const char *secret,
		   size_t secret_len, uint8_t ret[static MAC_LEN])
    NONNULL CHECKED;

#endif
