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
find_token(const struct settings *s, struct pkcs11 **ret)
{
	if (!s->keystore_pkcs11_module[0] || !s->keystore_pkcs11_token[0]) {
		log_debug("root = pkcs11 needs pkcs11_module and pkcs11_token");
		return -ENOKEY;
	}
	return pkcs11_open(s->keystore_pkcs11_module, s->keystore_pkcs11_token,
			   ret);
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
token_login(const struct settings *s, bool may_ask, struct pkcs11 **ret)
{
	CLEANUP(passphrase_freep) struct passphrase *pin = NULL;
	CLEANUP(pkcs11_closep) struct pkcs11 *p = NULL;
	int r;

	r = find_token(s, &p);
	if (r == 0 && pkcs11_wants_pin(p))
		r = get_pin(s, may_ask, &pin);
	if (r == 0)
		r = pkcs11_login(p, TAKE(pin));
	if (r == 0)
		*ret = TAKE(p);
	return r;
}

int
token_create(const struct settings *s, struct root *root)
{
	int r;

	r = token_login(s, true, &root->token);
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
