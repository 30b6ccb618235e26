/*
 * embedded_keys.c - the embedded service: a key's rotation, protection and
 * imported material.
 */
#include <errno.h>
#include <string.h>

#include "client_private.h"

#define DAY 86400

/* What is done to a key, of which an alias may be given. */
struct change {
	unsigned days;
	bool on;
	struct kms_import *import;
	const char *token;
	const uint8_t *sealed;
	int64_t expires;
};

static int
change(struct kms *k, const char *action, const char *key,
       int (*fn)(struct keys *keys, const char *id, const struct change *c),
       const struct change *c)
{
	struct record rec = { .action = action, .key = key };
	struct kms_key_info info;
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = keys_describe(k->keys, key, &info);
	if (r == 0) {
		rec.key = info.id;
		r = fn(k->keys, info.id, c);
	}
	return record_end(k, &rec, keys_errno(r));
}

static int
set_rotation(struct keys *keys, const char *id, const struct change *c)
{
	return keys_set_rotation(keys, id, (int64_t)c->days * DAY);
}

int
embedded_set_rotation(struct kms *k, const char *key, unsigned days)
{
	const struct change c = { .days = days };

	return change(k, "UpdateRotationPolicy", key, set_rotation, &c);
}

static int
set_protection(struct keys *keys, const char *id, const struct change *c)
{
	return keys_set_protection(keys, id, c->on ? "" : NULL);
}

int
embedded_set_protection(struct kms *k, const char *key, bool on)
{
	const struct change c = { .on = on };

	return change(k, "SetDeletionProtection", key, set_protection, &c);
}

/* Import. */

static int
prepare(struct keys *keys, const char *id, const struct change *c)
{
	struct keys_import i;
	int r;

	r = keys_import_parameters(keys, id, c->import->padding, &i);
	if (r < 0)
		return r;
	_Static_assert(BASE64_LEN(KEYS_TOKEN_LEN) <= KMS_TOKEN_LEN, "token");
	base64_encode(i.token, sizeof(i.token), c->import->token);
	memcpy(c->import->public, i.public, sizeof(i.public));
	return 0;
}

int
embedded_prepare_import(struct kms *k, const char *key, struct kms_import *ret)
{
	const struct change c = { .import = ret };

	return change(k, "GetParametersForImport", key, prepare, &c);
}

static int
import(struct keys *keys, const char *id, const struct change *c)
{
	uint8_t token[KEYS_TOKEN_LEN];
	size_t len;

	if (base64_decode(c->token, token, sizeof(token), &len) < 0)
		return -EINVAL;
	return keys_import(keys, id, token, len, c->sealed, RSA_SEALED_LEN,
			   c->expires);
}

int
embedded_import_material(struct kms *k, const char *key, const char *token,
			 const uint8_t sealed[static RSA_SEALED_LEN],
			 int64_t expires)
{
	const struct change c = { .token = token,
				  .sealed = sealed,
				  .expires = expires };

	return change(k, "ImportKeyMaterial", key, import, &c);
}

static int
delete_material(struct keys *keys, const char *id, const struct change *c)
{
	(void)c;
	return keys_delete_material(keys, id);
}

int
embedded_delete_material(struct kms *k, const char *key)
{
	const struct change c = { .on = false };

	return change(k, "DeleteKeyMaterial", key, delete_material, &c);
}
