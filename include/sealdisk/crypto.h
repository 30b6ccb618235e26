/*
 * crypto.h - all cryptography but RSA (rsa.h); lib/crypto*.c are the only files
 * that include gcrypt.h.
 *
 * Lengths are in bytes.  Functions return 0 or a negative errno; results are
 * written only on success.  -EBADMSG is always "does not authenticate".
 * A struct aead belongs to one thread at a time; all else is free of state.
 */
#ifndef SEALDISK_CRYPTO_H
#define SEALDISK_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/secret.h>

#define NONCE_LEN 12 /* AES-GCM (SP 800-38D) and AES-OCB (RFC 7253) alike */
#define TAG_LEN 16
#define MAC_LEN 32 /* HMAC-SHA256 */
#define SHA256_LEN 32
#define SHA1_LEN 20

/* The numbers are part of the store format (format.md, Block). */
enum cipher {
	CIPHER_AES256_GCM = 1,
	CIPHER_AES256_OCB = 2,
};

/**
 * crypto_init():
 * Start libgcrypt (version check, secure pool of 1 MiB, self-tests of FIPS mode
 * where it is on).  Called once, before any thread starts.
 *
 * -ENOSYS  libgcrypt is older than 1.10
 */
int crypto_init(void) CHECKED;

/* libgcrypt's tests of itself.  -EIO: it fails one. */
int crypto_self_test(void) CHECKED;

/* "aes-256-gcm" and "aes-256-ocb" <-> enum cipher; NULL, -EINVAL if unknown. */
const char *cipher_name(enum cipher c);
int cipher_parse(const char *name, enum cipher *ret) NONNULL CHECKED;

/**
 * crypto_random(buf, len):
 * Fill ${buf} from getrandom(2): never from a pool that a fork or a restored
 * virtual machine could repeat.
 */
int crypto_random(void *buf, size_t len) NONNULL CHECKED;

/* Compare in constant time. */
bool crypto_equal(const void *a, const void *b, size_t len) NONNULL;

/*
 * Authenticated encryption.  Handles are costly to open (4.5 us) and cheap to
 * key again (0.1 us), so each thread keeps one struct aead.  It has one from
 * its first key until aead_forget(), which is what it costs of locked memory (2
 * KiB).
 */
struct aead;
int aead_new(struct aead **ret) NONNULL CHECKED;
void aead_free(struct aead *a);
DEFINE_CLEANUP(struct aead, aead_free)

/*
 * Key ${a} for ${c}.  A key before it is no longer used, but parts of its
 * schedule may stay in libgcrypt's handle until aead_forget().
 *
 * -EOPNOTSUPP  there is no such cipher here (OCB, in FIPS mode)
 * -ENOMEM      the pool of locked memory is used up
 */
int aead_set_key(struct aead *a, enum cipher c,
		 const uint8_t key[static KEY_LEN]) NONNULL CHECKED;

/* Overwrite every key schedule that ${a} holds or has held (0.3 us). */
void aead_forget(struct aead *a) NONNULL;

/**
 * aead_seal(a, nonce, ad, ad_len, in, out, len, ret_tag):
 * Encrypt ${len} bytes; ${in} and ${out} are the same buffer or do not overlap.
 */
int aead_seal(struct aead *a, const uint8_t nonce[static NONCE_LEN],
	      const void *ad, size_t ad_len, const void *in, void *out,
	      size_t len, uint8_t ret_tag[static TAG_LEN]) CHECKED;

/**
 * aead_open(a, nonce, ad, ad_len, in, out, len, tag):
 * Decrypt ${len} bytes and check ${tag}.  ${in} and ${out} may be the same.
 *
 * -EBADMSG  does not authenticate; ${out} has been overwritten with zeros
 */
int aead_open(struct aead *a, const uint8_t nonce[static NONCE_LEN],
	      const void *ad, size_t ad_len, const void *in, void *out,
	      size_t len, const uint8_t tag[static TAG_LEN]) CHECKED;

/**
 * hkdf_sha256(ikm, ikm_len, salt, salt_len, info, info_len, out, out_len):
 * RFC 5869, extract and expand.  ${salt} may be NULL with ${salt_len} 0.
 * ${out_len} is at most 255 * 32.
 */
int hkdf_sha256(const void *ikm, size_t ikm_len, const void *salt,
		size_t salt_len, const void *info, size_t info_len, void *out,
		size_t out_len) CHECKED;

/* What Argon2id takes of whoever guesses. */
struct argon2_cost {
	uint32_t memory_kib; /* 8 a lane at least */
	uint32_t passes, lanes;
};

/**
 * argon2id(pass, pass_len, salt, salt_len, cost, ret):
 * RFC 9106, version 0x13, a tag of KEY_LEN bytes.  ${salt_len} is 8 at least.
 *
 * -EINVAL      ${cost} is none
 * -ENOMEM      ${cost} is more memory than there is
 * -EOPNOTSUPP  FIPS mode does not have it
 */
int argon2id(const void *pass, size_t pass_len, const void *salt,
	     size_t salt_len, const struct argon2_cost *cost, struct key *ret)
    NONNULL CHECKED;

/* HMAC over the concatenation of ${iovcnt} (at most 8) parts, under a key of
 * any length.  SHA-1 is for a signature that has no other (kms/signature.h). */
int hmac_sha256_any(const void *key, size_t key_len, const struct iovec *iov,
		    int iovcnt, uint8_t ret[static MAC_LEN])
    __attribute__((__nonnull__(3, 5))) CHECKED;
int hmac_sha1(const void *key, size_t key_len, const struct iovec *iov,
	      int iovcnt, uint8_t ret[static SHA1_LEN])
    __attribute__((__nonnull__(3, 5))) CHECKED;

NONNULL CHECKED static inline int
hmac_sha256(const uint8_t key[static KEY_LEN], const struct iovec *iov,
	    int iovcnt, uint8_t ret[static MAC_LEN])
{
	return hmac_sha256_any(key, KEY_LEN, iov, iovcnt, ret);
}

int sha256(const void *buf, size_t len, uint8_t ret[static SHA256_LEN])
    NONNULL CHECKED;

#endif
