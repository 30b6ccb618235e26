/*
 * client.c - kms.h, by whichever service the endpoint names.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/kms.h>
#include <sealdisk/log.h>

#include "admin.h"
#include "client_private.h"

static int
check_endpoint(const struct settings *s)
{
	if (strcmp(s->kms_endpoint, "embedded") == 0)
		return 0;
	log_debug("KMS endpoint \"%s\": only \"embedded\" is built in",
		  s->kms_endpoint);
	return -EOPNOTSUPP;
}

static int
open_by(const struct settings *s,
	int (*open)(const struct settings *s, struct keys **ret),
	struct kms **ret)
{
	CLEANUP(kms_closep) struct kms *k = NULL;
	int r;

	r = check_endpoint(s);
	if (r < 0)
		return r;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	(void)pthread_mutex_init(&k->lock, NULL);
	k->settings = *s;
	r = open(s, &k->keys);
	if (r < 0)
		return r;
	*ret = TAKE(k);
	return 0;
}

int
kms_open(const struct settings *s, struct kms **ret)
{
	return open_by(s, keys_open, ret);
}

int
kms_open_locked(const struct settings *s, struct kms **ret)
{
	return open_by(s, keys_open_locked, ret);
}

void
kms_close(struct kms *k)
{
	if (!k)
		return;
	ledger_close(k->ledger);
	keys_close(k->keys);
	(void)pthread_mutex_destroy(&k->lock);
	free(k);
}

int
kms_init(const struct settings *s, bool *ret_made)
{
	int r = check_endpoint(s);

	return r < 0 ? r : admin_init(s, ret_made);
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

int
kms_generate_data_key(struct kms *k, const char *key,
		      const struct uuid *lineage, struct wrapped_dk *ret,
		      struct key *ret_dk)
{
	struct wrapped_dk w = { .kms = "default", .lineage = *lineage };
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct lineage_context c;
	struct record rec = { .action = ret_dk ? "GenerateDataKey"
					       : "GenerateDataKeyWithout"
						 "Plaintext",
			      .key = key,
			      .context = lineage_context(lineage, &c) };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = keys_generate(k->keys, key, rec.context, &w, ret_dk ? &dk : NULL);
	rec.version = r == 0 ? w.key_version_id : NULL;
	r = record_end(k, &rec, r);
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

int
kms_decrypt(struct kms *k, const struct wrapped_dk *w, struct key *ret)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
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
			 &dk);
	if (r == 0)
		r = check_names(w, &used);
	r = record_end(k, &rec, r);
	if (r == 0)
		*ret = dk;
	return r;
}

int
kms_reencrypt(struct kms *k, const struct wrapped_dk *w, const char *key,
	      const struct uuid *lineage, struct wrapped_dk *ret)
{
	struct wrapped_dk new = { .lineage = lineage ? *lineage : w->lineage };
	struct lineage_context from, to;
	struct record rec = { .action = "ReEncrypt",
			      .key = key ? key : w->key_id,
			      .context = lineage_context(&new.lineage, &to) };
	struct keys_used used;
	int r;

	if (w->blob_len > sizeof(w->blob))
		return -EKEYREJECTED;
	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	memcpy(new.kms, w->kms, sizeof(new.kms));
	r = keys_reencrypt(k->keys, w->blob, w->blob_len,
			   lineage_context(&w->lineage, &from), key,
			   rec.context, &used, &new);
	if (r == 0)
		r = check_names(w, &used);
	rec.version = r == 0 ? new.key_version_id : NULL;
	r = record_end(k, &rec, r);
	if (r == 0)
		*ret = new;
	return r;
}

int
kms_create_key(struct kms *k, const char *description, struct kms_key_info *ret)
{
	struct record rec = { .action = "CreateKey" };
	struct kms_key_info info;
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = keys_create(k->keys, description, &info);
	rec.key = r == 0 ? info.id : NULL;
	r = record_end(k, &rec, r);
	if (r == 0)
		*ret = info;
	return r;
}

int
kms_describe_key(struct kms *k, const char *key, struct kms_key_info *ret)
{
	return keys_describe(k->keys, key, ret);
}

/* Where the service takes an id only, people may still say an alias. */
static int
resolve(struct kms *k, const char *key, char ret_id[static KMS_ID_LEN])
{
	struct kms_key_info info;
	int r;

	r = keys_describe(k->keys, key, &info);
	if (r == 0)
		memcpy(ret_id, info.id, sizeof(info.id));
	return r;
}

int
kms_enable_key(struct kms *k, const char *key)
{
	char id[KMS_ID_LEN] = "";
	struct record rec = { .action = "EnableKey", .key = key };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = resolve(k, key, id);
	if (r == 0)
		r = keys_enable(k->keys, id);
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

int
kms_disable_key(struct kms *k, const char *key)
{
	char id[KMS_ID_LEN] = "";
	struct record rec = { .action = "DisableKey", .key = key };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = resolve(k, key, id);
	if (r == 0)
		r = keys_disable(k->keys, id);
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

int
kms_create_key_version(struct kms *k, const char *key, struct kms_key_info *ret)
{
	struct record rec = { .action = "CreateKeyVersion", .key = key };
	struct kms_key_info info;
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = keys_create_version(k->keys, key, &info);
	rec.version = r == 0 ? info.primary_version : NULL;
	r = record_end(k, &rec, r);
	if (r == 0)
		*ret = info;
	return r;
}

int
kms_schedule_key_deletion(struct kms *k, const char *key, unsigned days,
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
		r = keys_schedule_deletion(k->keys, id, days, ret_at);
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

int
kms_cancel_key_deletion(struct kms *k, const char *key)
{
	char id[KMS_ID_LEN] = "";
	struct record rec = { .action = "CancelKeyDeletion", .key = key };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = resolve(k, key, id);
	if (r == 0)
		r = keys_cancel_deletion(k->keys, id);
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

int
kms_check_alias(const char *alias)
{
	return keys_check_alias(alias);
}

int
kms_create_alias(struct kms *k, const char *alias, const char *key)
{
	char id[KMS_ID_LEN] = "";
	struct record rec = { .action = "CreateAlias",
			      .key = key,
			      .alias = alias };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = resolve(k, key, id);
	if (r == 0)
		r = keys_create_alias(k->keys, alias, id);
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

int
kms_update_alias(struct kms *k, const char *alias, const char *key)
{
	char id[KMS_ID_LEN] = "";
	struct record rec = { .action = "UpdateAlias",
			      .key = key,
			      .alias = alias };
	int r;

	r = record_begin(k, &rec);
	if (r < 0)
		return r;
	r = resolve(k, key, id);
	if (r == 0)
		r = keys_update_alias(k->keys, alias, id);
	rec.key = id[0] ? id : key;
	return record_end(k, &rec, r);
}

int
kms_delete_alias(struct kms *k, const char *alias)
{
	struct record rec = { .action = "DeleteAlias", .alias = alias };
	int r;

	r = record_begin(k, &rec);
	if (r == 0)
		r = record_end(k, &rec, keys_delete_alias(k->keys, alias));
	return r;
}

int
kms_list_keys(struct kms *k,
	      int (*fn)(const struct kms_key_info *info, void *arg), void *arg)
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

int
kms_list_aliases(struct kms *k,
		 int (*fn)(const char *alias, const char *key_id, void *arg),
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

int
kms_backup(struct kms *k, const char *path)
{
	return admin_backup(k->settings.keystore_path, path);
}

int
kms_restore(const struct settings *s, const char *path, bool force)
{
	int r = check_endpoint(s);

	return r < 0 ? r : admin_restore(s, path, force);
}

int
kms_root_kind(const struct settings *s, const char **ret)
{
	int r = check_endpoint(s);

	return r < 0 ? r : admin_root_kind(s, ret);
}

int
kms_change_root(const struct settings *s, const struct settings *to,
		bool *ret_new)
{
	int r = check_endpoint(s);

	*ret_new = false;
	return r < 0 ? r : admin_change_root(s, to, ret_new);
}
