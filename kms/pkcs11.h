/*
 * pkcs11.h - a token (HSM) that keeps AES-256 keys and never shows them.
 *
 * kms/pkcs11.c is the only file that includes p11-kit's headers.  A key is made
 * in the token, sensitive and not extractable, and is known by a uuid, its
 * CKA_ID.  It seals and opens by AES-256-GCM (CKM_AES_GCM) with random nonces
 * of ours.  A session that the token has closed is opened
 * again, once a call, with the same PIN.
 *
 * What the module that talks to the token leaves in this process's memory, of
 * the PIN and of what was sealed, is not ours to wipe.
 *
 * 0 or a negative errno; results are written only on success:
 * -ENOKEY no such module, token or key; -EKEYREJECTED the PIN is wrong, or
 * locked; -EOPNOTSUPP the token has no AES-GCM, or PKCS#11 is not built in;
 * -EPROTO the token talks nonsense; -EHOSTDOWN it is away; -ENOSPC it is full;
 * -EIO else.  Why is logged here, as debug, where alone it is known.
 * A struct pkcs11 may be used from any thread; calls wait for each other.  It
 * is not carried over a fork.
 */
#ifndef SEALDISK_KMS_PKCS11_H
#define SEALDISK_KMS_PKCS11_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>

#include "passphrase.h"

#define PKCS11_MAX 8192 /* bytes that one call seals */

struct pkcs11;

/**
 * pkcs11_open(module, token, ret):
 * Load ${module}, the path of a shared object, and find the one ${token} of
 * that label or serial number.  Nobody is logged in yet.
 */
int pkcs11_open(const char *module, const char *token, struct pkcs11 **ret)
    NONNULL CHECKED;

/* Whether pkcs11_login() needs a PIN: else there is no login, or the token has
 * a keypad of its own. */
bool pkcs11_wants_pin(const struct pkcs11 *p) NONNULL;

/* ${pin}, which may be NULL where none is needed, is ${p}'s from here on. */
int pkcs11_login(struct pkcs11 *p, struct passphrase *pin)
    __attribute__((__nonnull__(1))) CHECKED;

void pkcs11_close(struct pkcs11 *p);
DEFINE_CLEANUP(struct pkcs11, pkcs11_close)

/* A new key ${id} in the token, with ${label} for people to know it by. */
int pkcs11_make_key(struct pkcs11 *p, const struct uuid *id, const char *label)
    NONNULL CHECKED;
int pkcs11_remove_key(struct pkcs11 *p, const struct uuid *id) NONNULL CHECKED;

/**
 * pkcs11_seal(p, id, ad, ad_len, in, len, out):
 * Encrypt ${len} bytes, PKCS11_MAX at most, with key ${id}.  ${out} has room
 * for NONCE_LEN and TAG_LEN more: nonce, ciphertext and tag, as in envelope.h.
 */
int pkcs11_seal(struct pkcs11 *p, const struct uuid *id, const void *ad,
		size_t ad_len, const void *in, size_t len, uint8_t *out)
    NONNULL CHECKED;

/* Decrypt the ${len} bytes that pkcs11_seal() wrote.  -EBADMSG: these are none;
 * ${out} is not written. */
int pkcs11_unseal(struct pkcs11 *p, const struct uuid *id, const void *ad,
		  size_t ad_len, const uint8_t *in, size_t len, void *out)
    NONNULL CHECKED;

#endif
