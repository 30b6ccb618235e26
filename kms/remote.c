/*
 * remote.c - kms.h by a key service elsewhere.
 */
#include "remote.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/kms.h>
#include <sealdisk/log.h>

#include "client_private.h"
#include "envelope.h"
#include "remote_private.h"

static int
remote_ops_open(struct kms *k, bool locked)
{
	(void)locked;
	return remote_open(&k->settings, &k->remote);
}

static void
remote_ops_close(struct kms *k)
{
	remote_close(k->remote);
}

static int
take_ids(const json_t *o, char key_id[static KMS_ID_LEN],
	 char version_id[static KMS_ID_LEN])
{
	int r = answer_text(o, "KeyId", true, key_id, KMS_ID_LEN);

	return r < 0 ? r
		     : answer_text(o, "KeyVersionId", true, version_id,
				   KMS_ID_LEN);
}

/* Data keys. */

#define CONTEXT_LEN (sizeof("{\"lineage\":\"\"}") + UUID_STR_LEN)
static const char *
context_of(const struct uuid *lineage, char out[static CONTEXT_LEN])
{
	char text[UUID_STR_LEN];

	uuid_format(lineage, text);
	(void)snprintf(out, CONTEXT_LEN, "{\"lineage\":\"%s\"}", text);
	return out;
}

/* The DK has 32 bytes, whatever a service may think. */
static int
take_dk(const json_t *o, struct key *ret)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	size_t len;
	int r = answer_bytes(o, "Plaintext", dk.bytes, sizeof(dk.bytes), &len);

	if (r == 0 && len != sizeof(dk.bytes))
		r = -EPROTO;
	if (r == 0)
		*ret = dk;
	return r;
}

static int
remote_generate_data_key(struct kms *k, const char *key,
			 const struct uuid *lineage, struct wrapped_dk *ret,
			 struct key *ret_dk)
{
	CLEANUP(json_done) json_t *o = NULL;
	struct wrapped_dk w = { .lineage = *lineage };
	char context[CONTEXT_LEN];
	const struct request_param params[] = {
		{ "EncryptionContext", context_of(lineage, context), false },
		{ "KeyId", key, false },
		{ "KeySpec", "AES_256", false },
	};
	int r = remote_call(k->remote,
			    ret_dk ? "GenerateDataKey"
				   : "GenerateDataKeyWithoutPlaintext",
			    params, 3, true, &o);

	memcpy(w.kms, k->name, sizeof(w.kms));
	if (r == 0)
		r = take_ids(o, w.key_id, w.key_version_id);
	if (r == 0)
		r = answer_bytes(o, "CiphertextBlob", w.blob, sizeof(w.blob),
				 &w.blob_len);
	if (r == 0 && ret_dk)
		r = take_dk(o, ret_dk);
	if (r == 0)
		*ret = w;
	return r;
}

/* A blob that the service finds malformed is one that it did not make. */
static int
of_blob(int r)
{
	return r == -EINVAL ? -EKEYREJECTED : r;
}

static int
check_names(const struct wrapped_dk *w, const json_t *o)
{
	char id[KMS_ID_LEN], version[KMS_ID_LEN];
	int r = take_ids(o, id, version);

	if (r < 0 || strcmp(id, w->key_id) == 0)
		return r;
	log_error("a data key says that it is of key %s, and is of %s",
		  w->key_id, id);
	return -EKEYREJECTED;
}

static int
encode_blob(const struct wrapped_dk *w,
	    char out[static BASE64_LEN(KMS_BLOB_MAX)])
{
	if (w->blob_len > sizeof(w->blob))
		return -EKEYREJECTED;
	base64_encode(w->blob, w->blob_len, out);
	return 0;
}

static int
remote_decrypt(struct kms *k, const struct wrapped_dk *w, struct key *ret)
{
	CLEANUP(json_done) json_t *o = NULL;
	char context[CONTEXT_LEN], blob[BASE64_LEN(KMS_BLOB_MAX)];
	const struct request_param params[] = {
		{ "CiphertextBlob", blob, false },
		{ "EncryptionContext", context_of(&w->lineage, context),
		  false },
	};
	int r = encode_blob(w, blob);

	if (r == 0)
		r = of_blob(
		    remote_call(k->remote, "Decrypt", params, 2, true, &o));
	if (r == 0)
		r = check_names(w, o);
	return r < 0 ? r : take_dk(o, ret);
}

static int describe(struct kms *k, const char *key, struct kms_key_info *ret);

/*
 * The answer to ReEncrypt names the key that the old blob was of.  What the new
 * one is of is asked for, and where the blob itself tells, taken from there.
 */
static int
find_names(struct kms *k, const char *key, struct wrapped_dk *w)
{
	struct kms_key_info info;
	struct uuid version;
	int r = describe(k, key, &info);

	if (r < 0)
		return r;
	memcpy(w->key_id, info.id, sizeof(w->key_id));
	memcpy(w->key_version_id, info.primary_version,
	       sizeof(w->key_version_id));
	if (envelope_version(w->blob, w->blob_len, &version) == 0)
		uuid_format(&version, w->key_version_id);
	return 0;
}

static int
remote_reencrypt(struct kms *k, const struct wrapped_dk *w, const char *key,
		 const struct uuid *lineage, struct wrapped_dk *ret)
{
	CLEANUP(json_done) json_t *o = NULL;
	struct wrapped_dk new = { .lineage = lineage ? *lineage : w->lineage };
	char from[CONTEXT_LEN], to[CONTEXT_LEN];
	char blob[BASE64_LEN(KMS_BLOB_MAX)];
	const char *dest = key ? key : w->key_id;
	const struct request_param params[] = {
		{ "CiphertextBlob", blob, false },
		{ "DestinationEncryptionContext", context_of(&new.lineage, to),
		  false },
		{ "DestinationKeyId", dest, false },
		{ "SourceEncryptionContext", context_of(&w->lineage, from),
		  false },
	};
	int r = encode_blob(w, blob);

	if (r == 0)
		r = of_blob(
		    remote_call(k->remote, "ReEncrypt", params, 4, true, &o));
	if (r == 0)
		r = answer_bytes(o, "CiphertextBlob", new.blob,
				 sizeof(new.blob), &new.blob_len);
	if (r == 0)
		r = find_names(k, dest, &new);
	if (r < 0)
		return r;
	memcpy(new.kms, w->kms, sizeof(new.kms));
	*ret = new;
	return 0;
}

/* Keys. */

/* How many versions a key has: only the list of them says. */
static int
count_versions(struct kms *k, struct kms_key_info *info)
{
	CLEANUP(json_done) json_t *o = NULL;
	const struct request_param params[] = {
		{ "KeyId", info->id, false },
		{ "PageNumber", "1", false },
		{ "PageSize", "1", false },
	};
	json_int_t n;
	int r = remote_call(k->remote, "ListKeyVersions", params, 3, true, &o);

	if (r < 0)
		return r;
	n = json_integer_value(json_object_get(o, "TotalCount"));
	if (n < 0 || n > 1000000)
		return -EPROTO;
	info->versions = (unsigned)n;
	return 0;
}

static int
describe(struct kms *k, const char *key, struct kms_key_info *ret)
{
	CLEANUP(json_done) json_t *o = NULL;
	const struct request_param params[] = { { "KeyId", key, false } };
	int r = remote_call(k->remote, "DescribeKey", params, 1, true, &o);

	return r < 0 ? r : answer_metadata(o, ret);
}

int
remote_describe_key(struct kms *k, const char *key, struct kms_key_info *ret)
{
	int r = describe(k, key, ret);

	return r < 0 ? r : count_versions(k, ret);
}

static int
remote_create_key(struct kms *k, const char *description, bool external,
		  struct kms_key_info *ret)
{
	CLEANUP(json_done) json_t *o = NULL;
	const struct request_param params[] = {
		{ "Description", description, false },
		{ "Origin", external ? "EXTERNAL" : "Aliyun_KMS", false },
	};
	int r = remote_call(k->remote, "CreateKey", params, 2, false, &o);

	return r < 0 ? r : answer_metadata(o, ret);
}

/* ${action} on a key, which takes no alias; with one more parameter, or NULL.
 */
static int
on_key(struct kms *k, const char *action, const char *key, const char *name,
       const char *value, bool again)
{
	CLEANUP(json_done) json_t *o = NULL;
	struct kms_key_info info;
	const struct request_param params[] = {
		{ "KeyId", info.id, false },
		{ name, value, false },
	};
	int r = describe(k, key, &info);

	return r < 0 ? r
		     : remote_call(k->remote, action, params, name ? 2 : 1,
				   again, &o);
}

static int
remote_enable_key(struct kms *k, const char *key)
{
	return on_key(k, "EnableKey", key, NULL, NULL, true);
}

static int
remote_disable_key(struct kms *k, const char *key)
{
	return on_key(k, "DisableKey", key, NULL, NULL, true);
}

static int
remote_grant_key(struct kms *k, const char *key, const char *principal,
		 bool grant)
{
	return on_key(k, grant ? "GrantKey" : "RevokeKey", key, "Principal",
		      principal, true);
}

static int
remote_create_key_version(struct kms *k, const char *key,
			  struct kms_key_info *ret)
{
	int r = on_key(k, "CreateKeyVersion", key, NULL, NULL, false);

	return r < 0 ? r : remote_describe_key(k, key, ret);
}

static int
remote_schedule_key_deletion(struct kms *k, const char *key, unsigned days,
			     int64_t *ret_at)
{
	struct kms_key_info info;
	char text[16];
	int r;

	if (days < KMS_DELETION_DAYS_MIN || days > KMS_DELETION_DAYS_MAX)
		return -EINVAL;
	(void)snprintf(text, sizeof(text), "%u", days);
	r = on_key(k, "ScheduleKeyDeletion", key, "PendingWindowInDays", text,
		   false);
	if (r == 0)
		r = describe(k, key, &info);
	if (r == 0)
		*ret_at = info.delete_at;
	return r;
}

static int
remote_cancel_key_deletion(struct kms *k, const char *key)
{
	int r = on_key(k, "CancelKeyDeletion", key, NULL, NULL, false);

	/* The state is not the one that it takes. */
	return r == -EKEYEXPIRED ? -EALREADY : r;
}

/* Aliases. */

static int
on_alias(struct kms *k, const char *action, const char *alias, const char *key)
{
	int r = kms_check_alias(alias);

	return r < 0 ? r : on_key(k, action, key, "AliasName", alias, false);
}

static int
remote_create_alias(struct kms *k, const char *alias, const char *key)
{
	return on_alias(k, "CreateAlias", alias, key);
}

static int
remote_update_alias(struct kms *k, const char *alias, const char *key)
{
	return on_alias(k, "UpdateAlias", alias, key);
}

static int
remote_delete_alias(struct kms *k, const char *alias)
{
	CLEANUP(json_done) json_t *o = NULL;
	const struct request_param params[] = { { "AliasName", alias, false } };

	return remote_call(k->remote, "DeleteAlias", params, 1, false, &o);
}

static int
remote_backup(struct kms *k, const char *path)
{
	(void)k;
	(void)path;
	return -EOPNOTSUPP;
}

const struct kms_ops remote_ops = {
	.open = remote_ops_open,
	.close = remote_ops_close,
	.generate_data_key = remote_generate_data_key,
	.decrypt = remote_decrypt,
	.reencrypt = remote_reencrypt,
	.set_anchor = remote_set_anchor,
	.get_anchor = remote_get_anchor,
	.create_key = remote_create_key,
	.describe_key = remote_describe_key,
	.enable_key = remote_enable_key,
	.disable_key = remote_disable_key,
	.create_key_version = remote_create_key_version,
	.schedule_key_deletion = remote_schedule_key_deletion,
	.cancel_key_deletion = remote_cancel_key_deletion,
	.set_rotation = remote_set_rotation,
	.set_protection = remote_set_protection,
	.prepare_import = remote_prepare_import,
	.import_material = remote_import_material,
	.delete_material = remote_delete_material,
	.grant_key = remote_grant_key,
	.create_alias = remote_create_alias,
	.update_alias = remote_update_alias,
	.delete_alias = remote_delete_alias,
	.list_keys = remote_list_keys,
	.list_aliases = remote_list_aliases,
	.backup = remote_backup,
};
