/*
 * root.c - see root.h.
 *
 * A wrapped keystore key is a header and a wrapped key (envelope.h) whose
 * associated data are a label, that header, and the keystore's uuid:
 *
 *     keyfile, credential   kind u8
 *     passphrase            kind u8 | memory u32, in KiB | passes u32 |
 *                           lanes u32 | salt 16
 *     pkcs11                kind u8 | the key's uuid 16
 *
 * So nobody can make a passphrase cheaper to guess by changing its header.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#include "envelope.h"
#include "files.h"
#include "root_private.h"

#define SALT_LEN 16

/* What RFC 9106 recommends where memory is not plenty: 0.5 s and more. */
struct argon2_cost root_cost = { 65536, 3, 4 };

/* More than that is not ours, and would take the machine's memory or time
 * before it is known to be genuine. */
#define MEMORY_MAX (4U << 20)
#define PASSES_MAX 1000
#define LANES_MAX 64

static const char *const kinds[] = {
	[ROOT_KEYFILE] = "keyfile",
	[ROOT_PASSPHRASE] = "passphrase",
	[ROOT_CREDENTIAL] = "credential",
	[ROOT_PKCS11] = "pkcs11",
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

static int
kind_of(const struct settings *s, enum root_kind *ret)
{
	size_t i;

	for (i = ROOT_KEYFILE; i < NKINDS; i++)
		if (strcmp(s->keystore_root, kinds[i]) == 0) {
			*ret = (enum root_kind)i;
			return 0;
		}
	log_debug("keystore root \"%s\" is not built in", s->keystore_root);
	return -EOPNOTSUPP;
}

const char *
root_kind_of(const void *in, size_t len)
{
	const uint8_t *wrapped = in;

	return len && wrapped[0] < NKINDS ? kinds[wrapped[0]] : NULL;
}

static int
root_new(enum root_kind kind, struct root **ret)
{
	CLEANUP(root_closep) struct root *root = calloc(1, sizeof(*root));

	if (!root)
		return -ENOMEM;
	root->kind = kind;
	if (kind == ROOT_KEYFILE || kind == ROOT_CREDENTIAL) {
		root->key = secret_alloc(sizeof(*root->key));
		if (!root->key)
			return -ENOMEM;
	}
	*ret = TAKE(root);
	return 0;
}

void
root_close(struct root *root)
{
	if (!root)
		return;
	secret_free(root->key, sizeof(*root->key));
	passphrase_free(root->pass);
	pkcs11_close(root->token);
	free(root);
}

int
root_open(const struct settings *s, bool may_ask, struct root **ret)
{
	CLEANUP(root_closep) struct root *root = NULL;
	enum root_kind kind;
	int r;

	r = kind_of(s, &kind);
	if (r == 0)
		r = root_new(kind, &root);
	if (r < 0)
		return r;
	if (kind == ROOT_KEYFILE)
		r = keyfile_open(s->keystore_root_file, root);
	else if (kind == ROOT_CREDENTIAL)
		r = credential_open(s, root);
	else if (kind == ROOT_PKCS11)
		r = token_login(s, may_ask, &root->token);
	else
		r = may_ask ? passphrase_ask(s, &root->pass) : -ENOKEY;
	if (r == 0)
		*ret = TAKE(root);
	return r;
}

/* ${path}: where a key file shall be. */
static int
create_at(const struct settings *s, const char *path, struct root **ret)
{
	CLEANUP(root_closep) struct root *root = NULL;
	enum root_kind kind;
	int r;

	r = kind_of(s, &kind);
	if (r == 0)
		r = root_new(kind, &root);
	if (r < 0)
		return r;
	if (kind == ROOT_KEYFILE)
		r = keyfile_create(path, root);
	else if (kind == ROOT_CREDENTIAL)
		r = credential_open(s, root);
	else if (kind == ROOT_PKCS11)
		r = token_create(s, root);
	else
		r = passphrase_ask_new(s, &root->pass);
	if (r == 0)
		*ret = TAKE(root);
	return r;
}

int
root_create(const struct settings *s, struct root **ret)
{
	return create_at(s, s->keystore_root_file, ret);
}

void
root_remove(struct root *root)
{
	if (root->kind == ROOT_KEYFILE)
		(void)unlink(root->path);
	else if (root->kind == ROOT_PKCS11)
		token_remove(root);
}

int
root_exists(const struct settings *s, bool *ret)
{
	enum root_kind kind;
	int r;

	r = kind_of(s, &kind);
	if (r < 0)
		return r;
	*ret = false;
	if (kind == ROOT_KEYFILE)
		r = files_exist(s->keystore_root_file, ret);
	return r;
}

/* Wrapping. */

/* The key that wraps under ${header}: the root itself, or what comes of the
 * passphrase at that cost. */
static int
wrapping_key(const struct root *root, const uint8_t *header, size_t len,
	     struct key *ret)
{
	struct reader rd = reader_over(header, len);
	struct argon2_cost cost;
	const uint8_t *salt;

	if (root->kind != ROOT_PASSPHRASE) {
		*ret = *root->key;
		return 0;
	}
	(void)get_u8(&rd);
	cost.memory_kib = get_u32(&rd);
	cost.passes = get_u32(&rd);
	cost.lanes = get_u32(&rd);
	salt = rd.p;
	if (cost.memory_kib > MEMORY_MAX || cost.passes > PASSES_MAX ||
	    cost.lanes > LANES_MAX)
		return -EKEYREJECTED;
	return argon2id(root->pass->text, root->pass->len, salt, SALT_LEN,
			&cost, ret);
}

static size_t
header_len(enum root_kind kind)
{
	if (kind == ROOT_PKCS11)
		return 1 + sizeof(struct uuid);
	return kind == ROOT_PASSPHRASE ? 1 + 3 * 4 + SALT_LEN : 1;
}

static int
make_header(const struct root *root, uint8_t out[static ROOT_HEADER_MAX])
{
	struct writer w = writer_over(out, ROOT_HEADER_MAX);

	put_u8(&w, (uint8_t)root->kind);
	if (root->kind == ROOT_PKCS11)
		put_bytes(&w, root->token_key.bytes, sizeof(struct uuid));
	if (root->kind != ROOT_PASSPHRASE)
		return 0;
	put_u32(&w, root_cost.memory_kib);
	put_u32(&w, root_cost.passes);
	put_u32(&w, root_cost.lanes);
	return crypto_random(w.p, SALT_LEN);
}

#define AD_LABEL "sealdisk keystore key"
#define AD_MAX (sizeof(AD_LABEL) + ROOT_HEADER_MAX + sizeof(struct uuid))

static size_t
wrap_ad(const uint8_t *header, size_t len, const struct uuid *keystore,
	uint8_t out[static AD_MAX])
{
	struct writer w = writer_over(out, AD_MAX);

	put_bytes(&w, AD_LABEL, sizeof(AD_LABEL));
	put_bytes(&w, header, len);
	put_bytes(&w, keystore->bytes, sizeof(keystore->bytes));
	return (size_t)(w.p - out);
}

static int
wrap(const struct root *root, struct aead *a, const uint8_t *header, size_t len,
     const struct uuid *keystore, const struct key *k,
     uint8_t out[static ENVELOPE_WRAPPED_LEN])
{
	CLEANUP(key_wipe) struct key wrapping = { { 0 } };
	uint8_t ad[AD_MAX];
	size_t ad_len = wrap_ad(header, len, keystore, ad);
	int r;

	if (root->kind == ROOT_PKCS11)
		return pkcs11_seal(root->token, &root->token_key, ad, ad_len,
				   k->bytes, KEY_LEN, out);
	r = wrapping_key(root, header, len, &wrapping);
	return r < 0 ? r : envelope_wrap(a, &wrapping, ad, ad_len, k, out);
}

static int
unwrap(const struct root *root, struct aead *a, const uint8_t *header,
       size_t head_len, const struct uuid *keystore, size_t len,
       struct key *ret)
{
	CLEANUP(key_wipe) struct key wrapping = { { 0 } }, k = { { 0 } };
	const uint8_t *in = header + head_len;
	uint8_t ad[AD_MAX];
	size_t ad_len = wrap_ad(header, head_len, keystore, ad);
	struct uuid id;
	int r;

	if (root->kind == ROOT_PKCS11) {
		memcpy(id.bytes, header + 1, sizeof(id.bytes));
		if (len != ENVELOPE_WRAPPED_LEN)
			return -EBADMSG;
		r = pkcs11_unseal(root->token, &id, ad, ad_len, in, len,
				  k.bytes);
		if (r == 0)
			*ret = k;
		return r;
	}
	r = wrapping_key(root, header, head_len, &wrapping);
	if (r < 0)
		return r == -EINVAL ? -EKEYREJECTED : r;
	return envelope_unwrap(a, &wrapping, ad, ad_len, in, len, ret);
}

int
root_wrap(const struct root *root, struct aead *a, const struct uuid *keystore,
	  const struct key *k, uint8_t out[static ROOT_WRAPPED_MAX],
	  size_t *ret_len)
{
	size_t len = header_len(root->kind);
	int r;

	_Static_assert(ROOT_HEADER_MAX + ENVELOPE_WRAPPED_LEN <=
			   ROOT_WRAPPED_MAX,
		       "wrapped");
	r = make_header(root, out);
	if (r == 0)
		r = wrap(root, a, out, len, keystore, k, out + len);
	if (r == 0)
		*ret_len = len + ENVELOPE_WRAPPED_LEN;
	return r;
}

int
root_unwrap(const struct root *root, struct aead *a,
	    const struct uuid *keystore, const void *in, size_t len,
	    struct key *ret)
{
	size_t head_len = header_len(root->kind);
	const uint8_t *wrapped = in;
	int r;

	if (len < head_len || wrapped[0] != root->kind)
		return -EKEYREJECTED;
	r = unwrap(root, a, wrapped, head_len, keystore, len - head_len, ret);
	return r == -EBADMSG ? -EKEYREJECTED : r;
}

/* With a key file that may be about to be replaced. */

static int
unlock_next(const char *path, struct aead *a, const struct uuid *keystore,
	    const void *in, size_t len, struct key *ret)
{
	CLEANUP(root_closep) struct root *root = NULL;
	int r;

	r = root_new(ROOT_KEYFILE, &root);
	if (r == 0)
		r = keyfile_open(path, root);
	return r < 0 ? r : root_unwrap(root, a, keystore, in, len, ret);
}

static int
unlock(const struct settings *s, bool may_ask, struct aead *a,
       const struct uuid *keystore, const void *in, size_t len, struct key *ret)
{
	CLEANUP(root_closep) struct root *root = NULL;
	int r;

	r = root_open(s, may_ask, &root);
	return r < 0 ? r : root_unwrap(root, a, keystore, in, len, ret);
}

int
root_unlock(const struct settings *s, bool may_ask, struct aead *a,
	    const struct uuid *keystore, const void *in, size_t len,
	    struct key *ret, bool *ret_next)
{
	const char *is = root_kind_of(in, len);
	char next[PATH_MAX];
	bool have_next = false;
	enum root_kind kind;
	int r;

	r = kind_of(s, &kind);
	if (r < 0)
		return r;
	if (!is || strcmp(is, kinds[kind]) != 0)
		return -EKEYREJECTED; /* nobody need be asked */
	if (kind == ROOT_KEYFILE) {
		r = keyfile_next(s, next, &have_next);
		if (r < 0)
			return r;
	}
	*ret_next = have_next &&
		    unlock_next(next, a, keystore, in, len, ret) == 0;
	return *ret_next ? 0 : unlock(s, may_ask, a, keystore, in, len, ret);
}

int
root_create_next(const struct settings *s, struct root **ret)
{
	CLEANUP(root_closep) struct root *root = NULL;
	char next[PATH_MAX];
	bool have_next;
	int r;

	if (strcmp(s->keystore_root, kinds[ROOT_KEYFILE]) != 0)
		return root_create(s, ret);
	r = keyfile_next(s, next, &have_next);
	if (r < 0)
		return r;
	if (!have_next)
		return create_at(s, next, ret);
	r = root_new(ROOT_KEYFILE, &root);
	if (r == 0)
		r = keyfile_open(next, root);
	if (r == 0)
		*ret = TAKE(root);
	return r;
}

int
root_settle(const struct settings *s, struct aead *a,
	    const struct uuid *keystore, const void *in, size_t len)
{
	CLEANUP(key_wipe) struct key k = { { 0 } };
	char next[PATH_MAX];
	bool is_there;
	int r;

	if (strcmp(s->keystore_root, kinds[ROOT_KEYFILE]) != 0)
		return 0;
	r = keyfile_next(s, next, &is_there);
	if (r < 0 || !is_there)
		return r;
	r = unlock_next(next, a, keystore, in, len, &k);
	if (r < 0)
		return r == -EKEYREJECTED ? 0 : r; /* of an attempt, left */
	return keyfile_settle(s, next);
}
