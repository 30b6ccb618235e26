/*
 * keys_instance.c - keys that a dedicated instance keeps (instance.h).
 *
 * Each version of a key is a key of the token, by the version's uuid, which is
 * all that the keystore has of it: whoever has the keystore, root and all,
 * opens nothing without the token.  A transaction that is undone after a
 * version was made leaves a key in the token that nobody names.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "keys_private.h"

static int
instance_make(struct keys *k, struct keystore_key *row)
{
	if (!k->instance)
		return -EHOSTDOWN;
	memcpy(row->material.bytes, row->version.bytes,
	       sizeof(row->version.bytes));
	row->material.len = sizeof(row->version.bytes);
	return pkcs11_make_key(k->instance, &row->version, row->info.id);
}

/* Which key of the token: what is stored must be the version's own. */
static int
check(const struct keys *k, const struct keystore_key *row)
{
	if (row->material.len == 0)
		return row->destroyed ? -EIDRM : -ENODATA;
	if (row->material.len != sizeof(row->version.bytes) ||
	    memcmp(row->material.bytes, row->version.bytes,
		   sizeof(row->version.bytes)) != 0)
		return -EUCLEAN;
	return k->instance ? 0 : -EHOSTDOWN;
}

/* That the token has lost a key is not that there never was one. */
static int
told(const struct keys *k, const struct keystore_key *row, int r)
{
	if (r != -ENOKEY)
		return r;
	log_error("instance %s has lost key %s", k->settings.instance_id,
		  row->info.id);
	return -EUCLEAN;
}

static int
instance_seal(struct keys *k, const struct keystore_key *row,
	      const struct envelope_ad *ad, const void *in, size_t len,
	      uint8_t *out)
{
	int r;

	r = check(k, row);
	if (r == 0)
		r = pkcs11_seal(k->instance, &row->version, ad->bytes, ad->len,
				in, len, out);
	return told(k, row, r);
}

static int
instance_unseal(struct keys *k, const struct keystore_key *row,
		const struct envelope_ad *ad, const uint8_t *in, size_t len,
		uint8_t *out)
{
	int r;

	r = check(k, row);
	if (r == 0)
		r = pkcs11_unseal(k->instance, &row->version, ad->bytes,
				  ad->len, in, len, out);
	return told(k, row, r);
}

const struct material_ops instance_ops = {
	.make = instance_make,
	.seal = instance_seal,
	.open = instance_unseal,
};

int
keys_empty_instance(struct keys *k, int64_t key)
{
	struct uuid version;
	int64_t seq = 0, created;
	int r;

	if (!k->instance)
		return -EHOSTDOWN;
	for (;;) {
		r = keystore_next_version_of(k->ks, key, &seq, &version,
					     &created);
		if (r == -ENOKEY)
			return 0;
		if (r == 0)
			r = pkcs11_remove_key(k->instance, &version);
		if (r < 0 && r != -ENOKEY)
			return r;
	}
}
