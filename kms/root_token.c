/*
 * root_token.c - a root that is a key in a token, and never leaves it.
 *
 * Each root is a key of its own, made by the token and known by a uuid, which
 * stands before what it wraps: so a token may hold the roots of any number of
 * keystores, and the old one beside the new after a change.  Who may use them
 * is whoever knows the PIN, which comes from a descriptor, from a credential of
 * systemd, or from the terminal.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "envelope.h"
#include "root_private.h"

static int
find_token(const struct settings *s, struct root *root)
{
	if (!s->keystore_pkcs11_module[0] || !s->keystore_pkcs11_token[0]) {
		log_debug("root = pkcs11 needs pkcs11_module and pkcs11_token");
		return -ENOKEY;
	}
	return pkcs11_open(s->keystore_pkcs11_module, s->keystore_pkcs11_token,
			   &root->token);
}

/* What stands in a descriptor goes before what systemd has, as the user said it
 * last; and a person is asked only if there is neither. */
static int
get_pin(const struct settings *s, bool may_ask, struct passphrase **ret)
{
	int r = -ENOKEY;

	if (!s->keystore_passphrase_fd[0])
		r = credential_pin(s, ret);
	return r == -ENOKEY && may_ask ? passphrase_ask(s, ret) : r;
}

int
token_open(const struct settings *s, bool may_ask, struct root *root)
{
	CLEANUP(passphrase_freep) struct passphrase *pin = NULL;
	int r;

	r = find_token(s, root);
	if (r == 0 && pkcs11_wants_pin(root->token))
		r = get_pin(s, may_ask, &pin);
	return r < 0 ? r : pkcs11_login(root->token, TAKE(pin));
}

int
token_create(const struct settings *s, struct root *root)
{
	int r;

	r = token_open(s, true, root);
	if (r == 0)
		r = uuid_new(&root->token_key);
	return r < 0 ? r
		     : pkcs11_make_key(root->token, &root->token_key,
				       s->keystore_pkcs11_key);
}

void
token_remove(struct root *root)
{
	(void)!pkcs11_remove_key(root->token, &root->token_key);
}

/* nonce 12 | ciphertext 32 | tag 16, as all that wraps a key. */

int
token_wrap(const struct root *root, const void *ad, size_t ad_len,
	   const struct key *k, uint8_t out[static ENVELOPE_WRAPPED_LEN])
{
	uint8_t *sealed = out + NONCE_LEN;
	int r;

	r = crypto_random(out, NONCE_LEN);
	return r < 0
		   ? r
		   : pkcs11_seal(root->token, &root->token_key, out, ad, ad_len,
				 k->bytes, sealed, KEY_LEN, sealed + KEY_LEN);
}

int
token_unwrap(const struct root *root, const struct uuid *id, const void *ad,
	     size_t ad_len, const uint8_t *in, size_t len, struct key *ret)
{
	CLEANUP(key_wipe) struct key k = { { 0 } };
	const uint8_t *sealed = in + NONCE_LEN;
	int r;

	if (len != ENVELOPE_WRAPPED_LEN)
		return -EBADMSG;
	r = pkcs11_unseal(root->token, id, in, ad, ad_len, sealed, k.bytes,
			  KEY_LEN, sealed + KEY_LEN);
	if (r == 0)
		*ret = k;
	return r;
}
