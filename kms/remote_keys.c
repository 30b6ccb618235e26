/*
 * remote_keys.c - a key service elsewhere: a key's rotation, protection and
 * imported material; anchors of disks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client_private.h"
#include "remote_private.h"

#define PARAMS_MAX 4

/* ${action} on a key, which takes no alias, with up to three parameters more.
 * All of these can be done twice without harm. */
static int
on_key(struct kms *k, const char *action, const char *key,
       const struct request_param *more, size_t n, json_t **ret)
{
	struct request_param params[PARAMS_MAX];
	struct kms_key_info info;
	size_t i;
	int r;

	r = k->ops->describe_key(k, key, &info);
	if (r < 0)
		return r;
	params[0] = (struct request_param){ "KeyId", info.id, false };
	for (i = 0; i < n && i + 1 < PARAMS_MAX; i++)
		params[i + 1] = more[i];
	return remote_call(k->remote, action, params, i + 1, true, ret);
}

int
remote_set_rotation(struct kms *k, const char *key, unsigned days)
{
	CLEANUP(json_done) json_t *o = NULL;
	char interval[16];
	const struct request_param more[] = {
		{ "EnableAutomaticRotation", days ? "true" : "false", false },
		{ "RotationInterval", interval, false },
	};

	(void)snprintf(interval, sizeof(interval), "%ud", days);
	return on_key(k, "UpdateRotationPolicy", key, more, days ? 2 : 1, &o);
}

/* This one names the key by its ARN. */
int
remote_set_protection(struct kms *k, const char *key, bool on)
{
	CLEANUP(json_done) json_t *o = NULL;
	struct kms_key_info info;
	const struct request_param params[] = {
		{ "EnableDeletionProtection", on ? "true" : "false", false },
		{ "ProtectedResourceArn", info.arn, false },
	};
	int r = k->ops->describe_key(k, key, &info);

	return r < 0 ? r
		     : remote_call(k->remote, "SetDeletionProtection", params,
				   2, true, &o);
}

/* Import. */

static const char *
padding_name(enum rsa_padding padding)
{
	switch (padding) {
	case RSA_OAEP_SHA256:
		return "RSAES_OAEP_SHA_256";
	case RSA_OAEP_SHA1:
		return "RSAES_OAEP_SHA_1";
	case RSA_PKCS1_V15:
		return "RSAES_PKCS1_V1_5";
	}
	return "";
}

int
remote_prepare_import(struct kms *k, const char *key, struct kms_import *ret)
{
	CLEANUP(json_done) json_t *o = NULL;
	const struct request_param more[] = {
		{ "WrappingAlgorithm", padding_name(ret->padding), false },
		{ "WrappingKeySpec", "RSA_2048", false },
	};
	size_t len;
	int r;

	r = on_key(k, "GetParametersForImport", key, more, 2, &o);
	if (r == 0)
		r = answer_text(o, "ImportToken", true, ret->token,
				sizeof(ret->token));
	if (r == 0)
		r = answer_bytes(o, "PublicKey", ret->public,
				 sizeof(ret->public), &len);
	return r == 0 && len != sizeof(ret->public) ? -EPROTO : r;
}

int
remote_import_material(struct kms *k, const char *key, const char *token,
		       const uint8_t sealed[static RSA_SEALED_LEN],
		       int64_t expires)
{
	CLEANUP(json_done) json_t *o = NULL;
	char text[BASE64_LEN(RSA_SEALED_LEN)], at[24];
	const struct request_param more[] = {
		{ "EncryptedKeyMaterial", text, false },
		{ "ImportToken", token, false },
		{ "KeyMaterialExpireUnix", at, false },
	};

	base64_encode(sealed, RSA_SEALED_LEN, text);
	(void)snprintf(at, sizeof(at), "%lld", (long long)expires);
	return on_key(k, "ImportKeyMaterial", key, more, 3, &o);
}

int
remote_delete_material(struct kms *k, const char *key)
{
	CLEANUP(json_done) json_t *o = NULL;

	return on_key(k, "DeleteKeyMaterial", key, NULL, 0, &o);
}

/* Anchors. */

/* A private action of kmsd: the cloud's own service knows none.  -EOPNOTSUPP */
int
remote_set_anchor(struct kms *k, const struct uuid *disk, uint64_t generation,
		  const uint8_t digest[static SHA256_LEN], bool force)
{
	CLEANUP(json_done) json_t *o = NULL;
	char id[UUID_STR_LEN], number[24], hex[2 * SHA256_LEN + 1];
	const struct request_param params[] = {
		{ "DiskId", id, false },
		{ "Generation", number, false },
		{ "Digest", hex, false },
		{ "Force", force ? "true" : "false", false },
	};
	int r;

	uuid_format(disk, id);
	(void)snprintf(number, sizeof(number), "%llu",
		       (unsigned long long)generation);
	hex_encode(digest, SHA256_LEN, hex);
	r = remote_call(k->remote, "SetAnchor", params, 4, true, &o);
	if (r == 0 && !json_is_boolean(json_object_get(o, "Accepted")))
		r = -EPROTO;
	if (r == 0 && !json_is_true(json_object_get(o, "Accepted")))
		r = -ESTALE;
	return r;
}

int
remote_get_anchor(struct kms *k, const struct uuid *disk,
		  uint64_t *ret_generation,
		  uint8_t ret_digest[static SHA256_LEN])
{
	CLEANUP(json_done) json_t *o = NULL;
	char id[UUID_STR_LEN];
	const struct request_param params[] = { { "DiskId", id, false } };
	uint8_t digest[SHA256_LEN];
	json_int_t generation;
	const char *hex;
	int r;

	uuid_format(disk, id);
	r = remote_call(k->remote, "GetAnchor", params, 1, true, &o);
	if (r < 0)
		return r;
	generation = json_integer_value(json_object_get(o, "Generation"));
	hex = json_string_value(json_object_get(o, "Digest"));
	if (!hex || generation < 0)
		return -EPROTO;
	if (!hex[0])
		return -ENOENT;
	if (strlen(hex) != 2 * SHA256_LEN ||
	    hex_decode(hex, digest, SHA256_LEN) < 0)
		return -EPROTO;
	*ret_generation = (uint64_t)generation;
	memcpy(ret_digest, digest, sizeof(digest));
	return 0;
}
