/*
 * actions_data.c - Encrypt, Decrypt, ReEncrypt and data keys.
 */
#include <errno.h>
#include <string.h>

#include "service_private.h"

#define DATA_KEY_MAX 1024

/* A dry run shows nothing of what it did. */
static bool
is_dry(const struct action_call *c)
{
	return call_flag(c, "DryRun");
}

static int
put_used(struct action_call *c, const struct keys_used *used)
{
	int r;

	memcpy(c->used_version, used->key_version_id, sizeof(c->used_version));
	r = put_text(c->body, "KeyId", used->key_id);
	return r < 0 ? r
		     : put_text(c->body, "KeyVersionId", used->key_version_id);
}

static int
encrypt(struct action_call *c, const void *data, size_t len)
{
	const struct context *ctx = &call_arg(c, "EncryptionContext")->ctx;
	struct keys_used used;
	struct keys_blob blob;
	int r;

	r = keys_encrypt(c->k, c->subjects[0].id, ctx, data, len, &used, &blob);
	if (r == -EINVAL) /* escapes can make it longer than it came */
		return call_refuse(c, "EncryptionContext");
	if (r == 0)
		r = put_used(c, &used);
	return r < 0 || is_dry(c)
		   ? r
		   : put_data(c->body, "CiphertextBlob", blob.bytes, blob.len);
}

int
action_encrypt(struct action_call *c)
{
	const struct arg *data = call_arg(c, "Plaintext");

	return encrypt(c, data->data, data->len);
}

static size_t
data_key_len(const struct action_call *c)
{
	const char *spec = call_arg(c, "KeySpec")->text;
	int64_t dflt = spec && strcmp(spec, "AES_128") == 0 ? 16 : 32;

	return (size_t)call_number(c, "NumberOfBytes", dflt);
}

static int
generate(struct action_call *c, bool show)
{
	size_t len = data_key_len(c);
	uint8_t *dk = secret_alloc(DATA_KEY_MAX);
	int r = dk ? crypto_random(dk, len) : -ENOMEM;

	if (r == 0)
		r = encrypt(c, dk, len);
	if (r == 0 && show && !is_dry(c))
		r = put_data(c->body, "Plaintext", dk, len);
	secret_free(dk, DATA_KEY_MAX);
	return r;
}

int
action_generate_data_key(struct action_call *c)
{
	return generate(c, true);
}

int
action_generate_data_key_without_plaintext(struct action_call *c)
{
	return generate(c, false);
}

/* What does not open is one error, whatever it is. */
static int
refused(struct action_call *c, int err)
{
	return err == -EKEYREJECTED || err == -EINVAL
		   ? call_refuse(c, "CiphertextBlob")
		   : err;
}

static int
decrypt(struct action_call *c, uint8_t *data)
{
	const struct context *ctx = &call_arg(c, "EncryptionContext")->ctx;
	const struct arg *blob = call_arg(c, "CiphertextBlob");
	struct keys_used used;
	size_t len;
	int r;

	r = keys_decrypt(c->k, blob->data, blob->len, ctx, &used, data, &len);
	if (r < 0)
		return refused(c, r);
	r = put_used(c, &used);
	return r < 0 || is_dry(c) ? r
				  : put_data(c->body, "Plaintext", data, len);
}

int
action_decrypt(struct action_call *c)
{
	uint8_t *data = secret_alloc(KEYS_DATA_MAX);
	int r = data ? decrypt(c, data) : -ENOMEM;

	secret_free(data, KEYS_DATA_MAX);
	return r;
}

/* The API tells which key has opened it; which has sealed it again is told
 * beside that. */
int
action_reencrypt(struct action_call *c)
{
	const struct arg *blob = call_arg(c, "CiphertextBlob");
	struct keys_used from, to;
	struct keys_blob new;
	int r;

	r = keys_reencrypt(c->k, blob->data, blob->len,
			   &call_arg(c, "SourceEncryptionContext")->ctx,
			   c->subjects[1].id,
			   &call_arg(c, "DestinationEncryptionContext")->ctx,
			   &from, &to, &new);
	if (r < 0)
		return refused(c, r);
	r = put_used(c, &from);
	if (r == 0)
		r = put_text(c->body, "DestinationKeyId", to.key_id);
	if (r == 0)
		r = put_text(c->body, "DestinationKeyVersionId",
			     to.key_version_id);
	return r < 0 || is_dry(c)
		   ? r
		   : put_data(c->body, "CiphertextBlob", new.bytes, new.len);
}
