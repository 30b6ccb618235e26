/*
 * root.h - what everything in a keystore hangs on.
 *
 * A root wraps one key, the keystore key, and that only.  What it wraps says of
 * which kind of root it is, so that other kinds can stand beside these, some of
 * which (an HSM) never show their key to anyone:
 *
 *   keyfile     32 random bytes in a file that its owner alone can reach
 *   passphrase  Argon2id (RFC 9106); what it cost stands before the wrapped key
 *   credential  a file in $CREDENTIALS_DIRECTORY, where systemd puts it
 *   pkcs11      a key in a token, which is asked to wrap and to unwrap
 *
 * 0 or a negative errno; results are written only on success.  Why a root
 * cannot be one is logged here, where alone it is known; that a good one does
 * not open something is for the caller to say.  Any thread.
 */
#ifndef SEALDISK_KMS_ROOT_H
#define SEALDISK_KMS_ROOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/secret.h>
#include <sealdisk/settings.h>

#define ROOT_WRAPPED_MAX 256 /* bytes */

struct root;

/**
 * root_open(s, may_ask, ret):
 * Take hold of the root that ${s} names.  A passphrase is asked for here, if
 * ${may_ask}, but known to be right only by what it opens; the PIN of a token,
 * too, unless systemd has it.
 *
 * -ENOKEY        it is missing; no terminal to ask on
 * -EPERM         others than its owner can reach it, or the owner is a stranger
 * -EKEYREJECTED  it cannot be a root at all
 * -ECANCELED     whoever was asked has not answered
 * -EBADF         the descriptor of the passphrase
 * -EOPNOTSUPP    a kind of root that is not built in, or a token without
 * AES-GCM -EHOSTDOWN, -EPROTO  the token
 */
int root_open(const struct settings *s, bool may_ask, struct root **ret)
    NONNULL CHECKED;

/**
 * root_create(s, ret):
 * Make a new one: a key file where there is none, a key in a token, or what is
 * asked for twice.
 * A credential is opened: who started us has made it.
 *
 * -EEXIST  there is a key file
 * -EINVAL  a passphrase that is too short, or too long, or not the same twice
 */
int root_create(const struct settings *s, struct root **ret) NONNULL CHECKED;

/* Take root_create() back, when nothing came to hang on it. */
void root_remove(struct root *root) NONNULL;

/* Whether there is one that root_create() will not overwrite. */
int root_exists(const struct settings *s, bool *ret) NONNULL CHECKED;

void root_close(struct root *root);
DEFINE_CLEANUP(struct root, root_close)

/* Wrap the key of ${keystore}. */
int root_wrap(const struct root *root, struct aead *a,
	      const struct uuid *keystore, const struct key *k,
	      uint8_t out[static ROOT_WRAPPED_MAX], size_t *ret_len)
    NONNULL CHECKED;

/* -EKEYREJECTED  another root wrapped it, or for another keystore; -ENOKEY  the
 * token has its key no more */
int root_unwrap(const struct root *root, struct aead *a,
		const struct uuid *keystore, const void *in, size_t len,
		struct key *ret) NONNULL CHECKED;

/* The kind of root that wrapped ${in}, as sealdisk.ini calls it, or NULL. */
const char *root_kind_of(const void *in, size_t len) NONNULL;

/*
 * A change of root that replaces a key file has to do so in two steps, for
 * there is no way to change two files at once: the new key lies in FILE.next
 * until the keystore hangs on it, and is given its name after.  Wherever that
 * ends, one of the two opens the keystore, and whoever opens it looks for both.
 */

/**
 * root_unlock(s, may_ask, a, keystore, in, len, ret, ret_next):
 * root_open() and root_unwrap() with what ${s} names, or with the key file that
 * is to take its place: then *${ret_next} is true, and root_settle() is due.
 */
int root_unlock(const struct settings *s, bool may_ask, struct aead *a,
		const struct uuid *keystore, const void *in, size_t len,
		struct key *ret, bool *ret_next) NONNULL CHECKED;

/* root_create() of the root that takes the place of another; a key file that
 * is left of an attempt before is used. */
int root_create_next(const struct settings *s, struct root **ret)
    NONNULL CHECKED;

/**
 * root_settle(s, a, keystore, in, len):
 * With the keystore's folder locked: if it is FILE.next that opens ${in}, give
 * it its name.  The old key file is kept beside it.
 */
int root_settle(const struct settings *s, struct aead *a,
		const struct uuid *keystore, const void *in, size_t len)
    NONNULL CHECKED;

#endif
