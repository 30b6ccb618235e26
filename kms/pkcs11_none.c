/*
 * pkcs11_none.c - pkcs11.h where p11-kit is not built in: nothing opens, so
 * that nothing else is ever called.
 */
#include "pkcs11.h"

#include <errno.h>

int
pkcs11_open(const char *module, const char *token, struct pkcs11 **ret)
{
	(void)module;
	(void)token;
	(void)ret;
	return -EOPNOTSUPP;
}

bool
pkcs11_wants_pin(const struct pkcs11 *p)
{
	(void)p;
	return false;
}

int
pkcs11_login(struct pkcs11 *p, struct passphrase *pin)
{
	(void)p;
	passphrase_free(pin);
	return -EOPNOTSUPP;
}

void
pkcs11_close(struct pkcs11 *p)
{
	(void)p;
}

int
pkcs11_make_key(struct pkcs11 *p, const struct uuid *id, const char *label)
{
	(void)p;
	(void)id;
	(void)label;
	return -EOPNOTSUPP;
}

int
pkcs11_remove_key(struct pkcs11 *p, const struct uuid *id)
{
	(void)p;
	(void)id;
	return -EOPNOTSUPP;
}

int
pkcs11_seal(struct pkcs11 *p, const struct uuid *id, const void *ad,
	    size_t ad_len, const void *in, size_t len, uint8_t *out)
{
	(void)p, (void)id, (void)ad, (void)ad_len, (void)in, (void)len;
	(void)out;
	return -EOPNOTSUPP;
}

int
pkcs11_unseal(struct pkcs11 *p, const struct uuid *id, const void *ad,
	      size_t ad_len, const uint8_t *in, size_t len, void *out)
{
	(void)p, (void)id, (void)ad, (void)ad_len, (void)in, (void)len;
	(void)out;
	return -EOPNOTSUPP;
}
