/*
 * instance.c - see instance.h.
 */
#include "instance.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "root_private.h"

#define COPY(to, from)                                                         \
	do {                                                                   \
		_Static_assert(sizeof(to) == sizeof(from), #from);             \
		memcpy(to, from, sizeof(to));                                  \
	} while (0)

int
instance_open(const struct settings *s, bool may_ask, struct pkcs11 **ret)
{
	CLEANUP(free_memp) struct settings *as_root = malloc(sizeof(*s));

	if (!s->instance_id[0])
		return -ENXIO;
	if (!as_root)
		return -ENOMEM;
	*as_root = *s;
	(void)snprintf(as_root->keystore_root, sizeof(as_root->keystore_root),
		       "pkcs11");
	COPY(as_root->keystore_pkcs11_module, s->instance_module);
	COPY(as_root->keystore_pkcs11_token, s->instance_token);
	COPY(as_root->keystore_credential, s->instance_credential);
	return token_login(as_root, may_ask, ret);
}
