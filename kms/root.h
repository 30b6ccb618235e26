/*
 * root.h - what everything in a keystore hangs on.
 *
 * A root wraps one key, the keystore key, and that only.  What it wraps says of
 * which kind of root it is, so that other kinds can stand beside the key file,
 * some of which (an HSM) never show their key to anyone.
 *
 * 0 or a negative errno; results are written only on success.  Why a root is
 * refused is logged here, where alone it is known.  Any thread.
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
 * root_open(s, ret):
 * Take hold of the root that ${s} names.
 *
 * -ENOKEY        it is missing
 * -EPERM         others than its owner can reach it, or the owner is a stranger
 * -EKEYREJECTED  it is not a root key at all
 * -EOPNOTSUPP    a kind of root that is not built in
 */
int root_open(const struct settings *s, struct root **ret) NONNULL CHECKED;

/* Make a new one; -EEXIST where there is one already. */
int root_create(const struct settings *s, struct root **ret) NONNULL CHECKED;

/* Take root_create() back, when nothing came to hang on it. */
void root_remove(struct root *root) NONNULL;

int root_exists(const struct settings *s, bool *ret) NONNULL CHECKED;

void root_close(struct root *root);
DEFINE_CLEANUP(struct root, root_close)

/* What to call it in a message: "root key file PATH". */
const char *root_name(const struct root *root) NONNULL;

/* Wrap the key of ${keystore}. */
int root_wrap(const struct root *root, struct aead *a,
	      const struct uuid *keystore, const struct key *k,
	      uint8_t out[static ROOT_WRAPPED_MAX], size_t *ret_len)
    NONNULL CHECKED;

/* -EKEYREJECTED  another root wrapped it, or for another keystore */
int root_unwrap(const struct root *root, struct aead *a,
		const struct uuid *keystore, const void *in, size_t len,
		struct key *ret) NONNULL CHECKED;

#endif
