/*
 * embedded.c - kms.h by the keystore that this process opens itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/kms.h>
#include <sealdisk/log.h>

#include "admin.h"
#include "authorize.h"
#include "client_private.h"
#include "grants.h"

static int
embedded_open(struct kms *k, bool locked)
{
	return locked ? keys_open_locked(&k->settings, &k->keys)
		      : keys_open(&k->settings, &k->keys);
}

static void
embedded_close(struct kms *k)
{
	ledger_close(k->ledger);
	keys_close(k->keys);
}

/* The encryption context of a DK: {"lineage": UUID}. */
struct lineage_context {
	char text[UUID_STR_LEN];
	struct context_pair pair;
	struct context ctx;
};

static const struct context *
lineage_context(const struct uuid *lineage, struct lineage_context *c)
{
	uuid_format(lineage, c->text);
	c->pair.name = "lineage";
	c->pair.value = c->text;
	c->ctx.pairs = &c->pair;
	c->ctx.n = 1;
	return &c->ctx;
}

static int
take_blob(const struct keys_used *used, const struct keys_blob *blob,
	  struct wrapped_dk *ret)
{
	if (blob->len > sizeof(ret->blob))
		return -EPROTO;
	memcpy(ret->key_id, used->key_id, sizeof(ret->key_id));
	memcpy(ret->key_version_id, used->key_version_id,
	       sizeof(ret->key_version_id));
	memcpy(ret->blob, blob->bytes, blob->len);
	ret->blob_len = blob->len;
	return 0;
}

static int
embedded_generate_data_key(struct kms *k, const char *key,
			   const struct uuid *lineage, struct wrapped_dk *ret,
			   struct key *ret_dk)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct wrapped_dk w = { .lineage = *lineage };
	struct lineage_context c;
	struct record rec = { .action = ret_dk ? "GenerateDataKey"
					       : "GenerateDataKeyWithout"
						 "Plaintext",
			      .key = key,
			      .context = lineage_context(lineage, &c) };
	struct keys_used used;
	struct keys_blob blob;
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = crypto_random(dk.bytes, sizeof(dk.bytes));
	if (r == 0)
		r = keys_encrypt(k->keys, key, rec.context, dk.bytes,
				 sizeof(dk.bytes), &used, &blob);
	if (r == 0)
		r = take_blob(&used, &blob, &w);
	rec.version = r == 0 ? w.key_version_id : NULL;
	r = record_end(k, &rec, keys_errno(r));
	memcpy(w.kms, k->name, sizeof(w.kms));
	if (r == 0)
		*ret = w;
	if (r == 0 && ret_dk)
		*ret_dk = dk;
	return r;
}

/* The names beside the blob tell people which key a disk hangs on. */
static int
check_names(const struct wrapped_dk *w, const struct keys_used *used)
{
	if (strcmp(used->key_id, w->key_id) == 0 &&
	    strcmp(used->key_version_id, w->key_version_id) == 0)
		return 0;
	log_error("a data key says that it is of key %s, and is of %s",
		  w->key_id, used->key_id);
	return -EKEYREJECTED;
}

static int
decrypt(struct kms *k, const struct wrapped_dk *w, uint8_t *data, size_t *len)
{
	struct lineage_context c;
	struct record rec = { .action = "Decrypt",
			      .key = w->key_id,
			      .version = w->key_version_id,
			      .context = lineage_context(&w->lineage, &c) };
	struct keys_used used;
	int r;

	if (w->blob_len > sizeof(w->blob))
		return -EKEYREJECTED;
	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = keys_decrypt(k->keys, w->blob, w->blob_len, rec.context, &used,
			 data, len);
	if (r == 0)
		r = check_names(w, &used);
	if (r == 0 && *len != KEY_LEN)
		r = -EKEYREJECTED;
	return record_end(k, &rec, keys_errno(r));
}

static int
embedded_decrypt(struct kms *k, const struct wrapped_dk *w, struct key *ret)
{
	uint8_t *data = secret_alloc(KEYS_DATA_MAX);
	size_t len;
	int r;

	if (!data)
		return -ENOMEM;
	r = decrypt(k, w, data, &len);
	if (r == 0)
		memcpy(ret->bytes, data, KEY_LEN);
	secret_free(data, KEYS_DATA_MAX);
	return r;
}

static int
embedded_reencrypt(struct kms *k, const struct wrapped_dk *w, const char *key,
		   const struct uuid *lineage, struct wrapped_dk *ret)
{
	struct wrapped_dk new = { .lineage = lineage ? *lineage : w->lineage };
	struct lineage_context from, to;
	struct record rec = { .action = "ReEncrypt",
			      .key = key ? key : w->key_id,
			      .context = lineage_context(&new.lineage, &to) };
	struct keys_used opened, sealed;
	struct keys_blob blob;
	int r;

	if (w->blob_len > sizeof(w->blob))
		return -EKEYREJECTED;
	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	memcpy(new.kms, w->kms, sizeof(new.kms));
	r = keys_reencrypt(k->keys, w->blob, w->blob_len,
			   lineage_context(&w->lineage, &from), key,
			   rec.context, &opened, &sealed, &blob);
	if (r == 0)
		r = check_names(w, &opened);
	if (r == 0)
		r = take_blob(&sealed, &blob, &new);
	rec.version = r == 0 ? new.key_version_id : NULL;
	r = record_end(k, &rec, keys_errno(r));
	if (r == 0)
		*ret = new;
	return r;
}

static int
embedded_create_key(struct kms *k, const char *description, bool external,
		    struct kms_key_info *ret)
{
	const struct keys_new new = { .description = description,
				      .external = external };
	struct record rec = { .action = "CreateKey" };
	struct kms_key_info info;
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = keys_errno(keys_create(k->keys, &new, &info));
	rec.key = r == 0 ? info.id : NULL;
	r = record_end(k, &rec, r);
	if (r == 0)
		*ret = info;
	return r;
}

static int
embedded_describe_key(struct kms *k, const char *key, struct kms_key_info *ret)
{
	return keys_errno(keys_describe(k->keys, key, ret));
}

/* Where the service takes an id only, people may still say an alias. */
static int
resolve(struct kms *k, const char *key, char ret_id[static KMS_ID_LEN])
{
	struct kms_key_info info;
	int r;

	r = keys_errno(keys_describe(k->keys, key, &info));
	if (r == 0)
		memcpy(ret_id, info.id, sizeof(info.id));
	return r;
}

/* What is done with a key alone. */
static int
on_key(struct kms *k, const char *action, const char *key,
       int (*fn)(struct keys *k, const char *id))
{
	char id[KMS_ID_LEN] = "";
	struct record rec = { .action = action, .key = key };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = resolve(k, key, id);
	if (r == 0)
		r = keys_errno(fn(k->keys, id));
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

static int
embedded_enable_key(struct kms *k, const char *key)
{
	return on_key(k, "EnableKey", key, keys_enable);
}

static int
embedded_disable_key(struct kms *k, const char *key)
{
	return on_key(k, "DisableKey", key, keys_disable);
}

static int
embedded_create_key_version(struct kms *k, const char *key,
			    struct kms_key_info *ret)
{
	struct record rec = { .action = "CreateKeyVersion", .key = key };
	struct kms_key_info info;
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = keys_errno(keys_create_version(k->keys, key, &info));
	rec.version = r == 0 ? info.primary_version : NULL;
	r = record_end(k, &rec, r);
	if (r == 0)
		*ret = info;
	return r;
}

static int
embedded_schedule_key_deletion(struct kms *k, const char *key, unsigned days,
			       int64_t *ret_at)
{
	char id[KMS_ID_LEN] = "";
	struct record rec = { .action = "ScheduleKeyDeletion", .key = key };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = resolve(k, key, id);
	if (r == 0)
		r = keys_errno(
		    keys_schedule_deletion(k->keys, id, days, ret_at));
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

static int
embedded_cancel_key_deletion(struct kms *k, const char *key)
{
	return on_key(k, "CancelKeyDeletion", key, keys_cancel_deletion);
}

static int
embedded_grant_key(struct kms *k, const char *key, const char *principal,
		   bool grant)
{
	char id[KMS_ID_LEN] = "", name[KMS_PRINCIPAL_LEN];
	struct record rec = { .action = grant ? "GrantKey" : "RevokeKey",
			      .key = key };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = principal_parse(principal, name);
	if (r == 0)
		r = resolve(k, key, id);
	if (r == 0)
		r = keys_errno(grants_change(k->keys, id, name, grant));
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

static int
give_alias(struct kms *k, const char *action, const char *alias,
	   const char *key,
	   int (*fn)(struct keys *k, const char *alias, const char *id))
{
	char id[KMS_ID_LEN] = "";
	struct record rec = { .action = action, .key = key, .alias = alias };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = resolve(k, key, id);
	if (r == 0)
		r = keys_errno(fn(k->keys, alias, id));
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

static int
embedded_create_alias(struct kms *k, const char *alias, const char *key)
{
	return give_alias(k, "CreateAlias", alias, key, keys_create_alias);
}

static int
embedded_update_alias(struct kms *k, const char *alias, const char *key)
{
	return give_alias(k, "UpdateAlias", alias, key, keys_update_alias);
}

static int
embedded_delete_alias(struct kms *k, const char *alias)
{
	struct record rec = { .action = "DeleteAlias", .alias = alias };
	int r;

	r = record_begin(k, &rec);
	if (r == 0)
		r = record_end(k, &rec, keys_delete_alias(k->keys, alias));
	return r;
}

static int
embedded_list_keys(struct kms *k,
		   int (*fn)(const struct kms_key_info *info, void *arg),
		   void *arg)
{
	struct kms_key_info info;
	int64_t pos = 0;
	int r;

	while ((r = keys_next(k->keys, &pos, &info)) == 0) {
		r = fn(&info, arg);
		if (r)
			return r;
	}
	return r == -ENOKEY ? 0 : r;
}

static int
embedded_list_aliases(struct kms *k,
		      int (*fn)(const char *alias, const char *key_id,
				void *arg),
		      void *arg)
{
	char alias[KMS_ALIAS_LEN], id[KMS_ID_LEN];
	int64_t pos = 0;
	int r;

	while ((r = keys_next_alias(k->keys, &pos, alias, id)) == 0) {
		r = fn(alias, id, arg);
		if (r)
			return r;
	}
	return r == -ENOKEY ? 0 : r;
}

static int
embedded_backup(struct kms *k, const char *path)
{
	struct record rec = { .action = "BackupKeystore" };
	int r = record_begin(k, &rec);

	if (r == 0)
		r = record_end(k, &rec,
			       admin_backup(k->settings.keystore_path, path));
	return r;
}

static int
embedded_set_anchor(struct kms *k, const struct uuid *disk, uint64_t generation,
		    const uint8_t digest[static SHA256_LEN], bool force)
{
	struct keystore_anchor a = { .generation = generation };
	struct record rec = { .action = "SetAnchor" };
	int r;

	memcpy(a.digest, digest, sizeof(a.digest));
	r = record_begin(k, &rec);
	return r < 0 ? r
		     : record_end(k, &rec,
				  keys_set_anchor(k->keys, disk, &a, force));
}

static int
embedded_get_anchor(struct kms *k, const struct uuid *disk,
		    uint64_t *ret_generation,
		    uint8_t ret_digest[static SHA256_LEN])
{
	struct keystore_anchor a;
	int r = keys_get_anchor(k->keys, disk, &a);

	if (r < 0)
		return r;
	*ret_generation = a.generation;
	memcpy(ret_digest, a.digest, sizeof(a.digest));
	return 0;
}

const struct kms_ops embedded_ops = {
	.open = embedded_open,
	.close = embedded_close,
	.generate_data_key = embedded_generate_data_key,
	.decrypt = embedded_decrypt,
	.reencrypt = embedded_reencrypt,
	.set_anchor = embedded_set_anchor,
	.get_anchor = embedded_get_anchor,
	.create_key = embedded_create_key,
	.describe_key = embedded_describe_key,
	.enable_key = embedded_enable_key,
	.disable_key = embedded_disable_key,
	.create_key_version = embedded_create_key_version,
	.schedule_key_deletion = embedded_schedule_key_deletion,
	.cancel_key_deletion = embedded_cancel_key_deletion,
	.set_rotation = embedded_set_rotation,
	.set_protection = embedded_set_protection,
	.prepare_import = embedded_prepare_import,
	.import_material = embedded_import_material,
	.delete_material = embedded_delete_material,
	.grant_key = embedded_grant_key,
	.create_alias = embedded_create_alias,
	.update_alias = embedded_update_alias,
	.delete_alias = embedded_delete_alias,
	.list_keys = embedded_list_keys,
	.list_aliases = embedded_list_aliases,
	.backup = embedded_backup,
};
