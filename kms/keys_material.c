/*
 * keys_material.c - the material of a key, by who keeps it.
 *
 * The keystore keeps it under the keystore key, and seals and opens in this
 * process.  An instance is an HSM, which does so itself and shows it to nobody.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "keys_private.h"

#define MATERIAL_LABEL "sealdisk key version"
#define MATERIAL_AD_LEN (sizeof(MATERIAL_LABEL) + 2 * sizeof(struct uuid))

/* Binds material to its row: in another it does not open. */
static void
material_ad(const struct keystore_key *row, uint8_t out[static MATERIAL_AD_LEN])
{
	struct writer w = writer_over(out, MATERIAL_AD_LEN);

	put_bytes(&w, MATERIAL_LABEL, sizeof(MATERIAL_LABEL));
	put_bytes(&w, row->id.bytes, sizeof(row->id.bytes));
	put_bytes(&w, row->version.bytes, sizeof(row->version.bytes));
}

int
keys_wrap_material(struct keys *k, struct keystore_key *row,
		   const struct key *m)
{
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	uint8_t ad[MATERIAL_AD_LEN];
	int r;

	r = keys_keystore_key(k, &kek);
	if (r < 0)
		return r;
	material_ad(row, ad);
	r = envelope_wrap(k->aead, &kek, ad, sizeof(ad), m,
			  row->material.bytes);
	if (r == 0)
		row->material.len = ENVELOPE_WRAPPED_LEN;
	return r;
}

int
keys_open_material(struct keys *k, const struct keystore_key *row,
		   struct key *ret)
{
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	uint8_t ad[MATERIAL_AD_LEN];
	int r;

	if (row->material.len == 0)
		return row->destroyed ? -EIDRM : -ENODATA;
	r = keys_keystore_key(k, &kek);
	if (r < 0)
		return r;
	material_ad(row, ad);
	r = envelope_unwrap(k->aead, &kek, ad, sizeof(ad), row->material.bytes,
			    row->material.len, ret);
	if (r != -EBADMSG)
		return r;
	log_error("keystore %s: the material of key %s does not verify: it was "
		  "changed or damaged",
		  k->path, row->info.id);
	return -EUCLEAN;
}

static int
keystore_make_material(struct keys *k, struct keystore_key *row)
{
	CLEANUP(key_wipe) struct key m = { { 0 } };
	int r;

	r = crypto_random(m.bytes, sizeof(m.bytes));
	return r < 0 ? r : keys_wrap_material(k, row, &m);
}

static int
keystore_seal(struct keys *k, const struct keystore_key *row,
	      const struct envelope_ad *ad, const void *in, size_t len,
	      uint8_t *out)
{
	CLEANUP(key_wipe) struct key m = { { 0 } };
	int r;

	r = keys_open_material(k, row, &m);
	if (r < 0)
		return r;
	return envelope_encrypt(k->aead, &m, ad->bytes, ad->len, in, len, out);
}

static int
keystore_unseal(struct keys *k, const struct keystore_key *row,
		const struct envelope_ad *ad, const uint8_t *in, size_t len,
		uint8_t *out)
{
	CLEANUP(key_wipe) struct key m = { { 0 } };
	int r;

	r = keys_open_material(k, row, &m);
	if (r < 0)
		return r;
	return envelope_decrypt(k->aead, &m, ad->bytes, ad->len, in, len, out);
}

static const struct material_ops keystore_ops = {
	.make = keystore_make_material,
	.seal = keystore_seal,
	.open = keystore_unseal,
};

int
keys_material_ops(const struct keys *k, const char *instance,
		  const struct material_ops **ret)
{
	if (instance[0] && strcmp(instance, k->settings.instance_id) == 0) {
		*ret = &instance_ops;
		return 0;
	}
	if (instance[0]) {
		log_error("keystore %s: there is no instance \"%s\" here",
			  k->path, instance);
		return -ENXIO;
	}
	*ret = &keystore_ops;
	return 0;
}
