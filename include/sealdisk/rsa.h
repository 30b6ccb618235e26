/*
 * rsa.h - keys sent under an RSA key that lives for a day: how key material
 * comes into a key service.
 *
 * RSA with 2048 bits and exponent 65537, the one kind that key services offer.
 * A public key is its SubjectPublicKeyInfo in DER, which then has one form
 * only.  A private key is opaque bytes, in secret memory.
 *
 * 0 or a negative errno; results are written only on success.  Any thread.
 */
#ifndef SEALDISK_RSA_H
#define SEALDISK_RSA_H

#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/secret.h>

#define RSA_PUBLIC_LEN 294
#define RSA_SEALED_LEN 256
#define RSA_PRIVATE_MAX 2048

/* The numbers are stored. */
enum rsa_padding {
	RSA_OAEP_SHA256 = 1,
	RSA_OAEP_SHA1 = 2,
	RSA_PKCS1_V15 = 3,
};

struct rsa_private {
	uint8_t bytes[RSA_PRIVATE_MAX];
	size_t len;
};

/* A new pair; it takes a tenth of a second or so. */
int rsa_new(struct rsa_private *ret, uint8_t ret_public[static RSA_PUBLIC_LEN])
    NONNULL CHECKED;

/* -EINVAL  ${public} is no such key */
int rsa_seal_key(const uint8_t *public, size_t len, enum rsa_padding padding,
		 const struct key *k, uint8_t ret[static RSA_SEALED_LEN])
    NONNULL CHECKED;

/**
 * rsa_open_key(private, padding, in, len, ret):
 * What rsa_seal_key() wrote.  Whatever is wrong with ${in} is one error, and
 * with PKCS #1 v1.5 takes the same time.
 *
 * -EBADMSG  it is not a key under this padding
 */
int rsa_open_key(const struct rsa_private *private, enum rsa_padding padding,
		 const void *in, size_t len, struct key *ret) NONNULL CHECKED;

#endif
