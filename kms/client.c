/*
 * client.c - kms.h, by whichever service the endpoint names.
 *
 * A struct kms is one service, "default", and opens further ones when a data
 * key, or the name of a key, asks for them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/kms.h>
#include <sealdisk/log.h>

#include "admin.h"
#include "client_private.h"

static bool
is_embedded(const struct settings *s)
{
	return strcmp(s->kms_endpoint, "embedded") == 0;
}

static int
open_by(const struct settings *s, const char *name, bool locked, bool later,
	struct kms **ret)
{
	CLEANUP(kms_closep) struct kms *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	(void)pthread_mutex_init(&k->lock, NULL);
	(void)snprintf(k->name, sizeof(k->name), "%s", name);
	k->settings = *s;
	k->ops = k->later = is_embedded(s) ? &embedded_ops : &remote_ops;
	if (later)
		k->ops = &later_ops;
	r = k->ops->open(k, locked);
	if (r == 0)
		*ret = TAKE(k);
	return r;
}

int
kms_open(const struct settings *s, struct kms **ret)
{
	return open_by(s, "default", false, false, ret);
}

int
kms_open_locked(const struct settings *s, struct kms **ret)
{
	return open_by(s, "default", true, false, ret);
}

int
kms_open_later(const struct settings *s, struct kms **ret)
{
	return open_by(s, "default", false, true, ret);
}

void
kms_close(struct kms *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < KMS_SERVICES_MAX; i++)
		kms_close(k->further[i]);
	k->ops->close(k);
	(void)pthread_mutex_destroy(&k->lock);
	free(k);
}

/* Further services. */

/* That of ${name} (${len} bytes), or -1. */
static int
find_further(const struct settings *s, const char *name, size_t len)
{
	for (size_t i = 0; i < s->n_kms_further; i++)
		if (strlen(s->kms_further[i].name) == len &&
		    memcmp(s->kms_further[i].name, name, len) == 0)
			return (int)i;
	return -1;
}

/* ${k} itself, or the further service with index ${i}. */
static int
further(struct kms *k, int i, struct kms **ret)
{
	struct settings s = k->settings;
	int r = 0;

	settings_use_kms(&s, (size_t)i);
	(void)pthread_mutex_lock(&k->lock);
	if (!k->further[i])
		r = open_by(&s, k->settings.kms_further[i].name, false, false,
			    &k->further[i]);
	if (r == 0)
		*ret = k->further[i];
	(void)pthread_mutex_unlock(&k->lock);
	return r;
}

/* The service that made ${w}. */
static int
service_of(struct kms *k, const struct wrapped_dk *w, struct kms **ret)
{
	int i;

	if (strcmp(w->kms, k->name) == 0) {
		*ret = k;
		return 0;
	}
	i = find_further(&k->settings, w->kms, strlen(w->kms));
	if (i >= 0)
		return further(k, i, ret);
	log_error("a data key is of the key service \"%s\", and there is no "
		  "section [kms %s] in sealdisk.ini",
		  w->kms, w->kms);
	return -ENOKEY;
}

/* The service that *${key}, which may be "NAME:KEY", is a key of; without its
 * name *${key} is what that service knows. */
static int
service_of_key(struct kms *k, const char **key, struct kms **ret)
{
	size_t len = strcspn(*key, ":");
	int i = (*key)[len] ? find_further(&k->settings, *key, len) : -1;

	if (i < 0) {
		*ret = k;
		return 0;
	}
	*key += len + 1;
	return further(k, i, ret);
}

/* Data keys. */

int
kms_generate_data_key(struct kms *k, const char *key,
		      const struct uuid *lineage, struct wrapped_dk *ret,
		      struct key *ret_dk)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0
		   ? r
		   : at->ops->generate_data_key(at, key, lineage, ret, ret_dk);
}

/* Zeros are what is there when nothing was put there. */
int
kms_decrypt(struct kms *k, const struct wrapped_dk *w, struct key *ret)
{
	static const uint8_t zeros[KEY_LEN];
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct kms *at;
	int r = service_of(k, w, &at);

	if (r == 0)
		r = at->ops->decrypt(at, w, &dk);
	if (r == 0 && crypto_equal(dk.bytes, zeros, sizeof(zeros)))
		r = -EPROTO;
	if (r == 0)
		memcpy(ret, &dk, sizeof(*ret));
	return r;
}

int
kms_reencrypt(struct kms *k, const struct wrapped_dk *w, const char *key,
	      const struct uuid *lineage, struct wrapped_dk *ret)
{
	struct kms *at, *to;
	int r = service_of(k, w, &at);

	to = at;
	if (r == 0 && key)
		r = service_of_key(k, &key, &to);
	if (r < 0)
		return r;
	/* No service wraps under the key of another. */
	if (to != at)
		return -EOPNOTSUPP;
	return at->ops->reencrypt(at, w, key, lineage, ret);
}

/* Keys. */

int
kms_set_anchor(struct kms *k, const struct uuid *disk, uint64_t generation,
	       const uint8_t digest[static SHA256_LEN], bool force)
{
	return k->ops->set_anchor(k, disk, generation, digest, force);
}

int
kms_get_anchor(struct kms *k, const struct uuid *disk, uint64_t *ret_generation,
	       uint8_t ret_digest[static SHA256_LEN])
{
	return k->ops->get_anchor(k, disk, ret_generation, ret_digest);
}

int
kms_create_key(struct kms *k, const char *description, struct kms_key_info *ret)
{
	return k->ops->create_key(k, description, false, ret);
}

int
kms_create_external_key(struct kms *k, const char *description,
			struct kms_key_info *ret)
{
	return k->ops->create_key(k, description, true, ret);
}

/* Whether ${info} can be what was asked for by ${key}: an alias is of any. */
static bool
is_of(const struct kms_key_info *info, const char *key)
{
	const char *id = strrchr(key, '/'); /* of an ARN */

	return strstr(key, "alias/") ||
	       strcmp(info->id, id ? id + 1 : key) == 0;
}

/* A DK is moved, and a disk cut off, by what is said here of its CMK. */
int
kms_describe_key(struct kms *k, const char *key, struct kms_key_info *ret)
{
	struct kms_key_info info;
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	if (r == 0)
		r = at->ops->describe_key(at, key, &info);
	if (r == 0 && !is_of(&info, key)) {
		log_error("key service \"%s\": asked about key %s it tells of "
			  "%s",
			  at->name, key, info.id);
		r = -EPROTO;
	}
	if (r == 0)
		*ret = info;
	return r;
}

int
kms_enable_key(struct kms *k, const char *key)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0 ? r : at->ops->enable_key(at, key);
}

int
kms_disable_key(struct kms *k, const char *key)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0 ? r : at->ops->disable_key(at, key);
}

int
kms_create_key_version(struct kms *k, const char *key, struct kms_key_info *ret)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0 ? r : at->ops->create_key_version(at, key, ret);
}

int
kms_schedule_key_deletion(struct kms *k, const char *key, unsigned days,
			  int64_t *ret_at)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0 ? r
		     : at->ops->schedule_key_deletion(at, key, days, ret_at);
}

int
kms_cancel_key_deletion(struct kms *k, const char *key)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0 ? r : at->ops->cancel_key_deletion(at, key);
}

int
kms_set_rotation(struct kms *k, const char *key, unsigned days)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	if (days &&
	    (days < KMS_ROTATION_DAYS_MIN || days > KMS_ROTATION_DAYS_MAX))
		return -EINVAL;
	return r < 0 ? r : at->ops->set_rotation(at, key, days);
}

int
kms_set_protection(struct kms *k, const char *key, bool on)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0 ? r : at->ops->set_protection(at, key, on);
}

int
kms_prepare_import(struct kms *k, const char *key, struct kms_import *ret)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0 ? r : at->ops->prepare_import(at, key, ret);
}

int
kms_import_material(struct kms *k, const char *key, const struct kms_import *i,
		    const struct key *material, int64_t expires)
{
	uint8_t sealed[RSA_SEALED_LEN];
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	if (r == 0)
		r = rsa_seal_key(i->public, sizeof(i->public), i->padding,
				 material, sealed);
	return r < 0 ? r
		     : at->ops->import_material(at, key, i->token, sealed,
						expires);
}

int
kms_delete_material(struct kms *k, const char *key)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0 ? r : at->ops->delete_material(at, key);
}

int
kms_grant_key(struct kms *k, const char *key, const char *principal, bool grant)
{
	struct kms *at;
	int r = service_of_key(k, &key, &at);

	return r < 0 ? r : at->ops->grant_key(at, key, principal, grant);
}

int
kms_check_alias(const char *alias)
{
	return keys_check_alias(alias);
}

int
kms_create_alias(struct kms *k, const char *alias, const char *key)
{
	return k->ops->create_alias(k, alias, key);
}

int
kms_update_alias(struct kms *k, const char *alias, const char *key)
{
	return k->ops->update_alias(k, alias, key);
}

int
kms_delete_alias(struct kms *k, const char *alias)
{
	return k->ops->delete_alias(k, alias);
}

int
kms_list_keys(struct kms *k,
	      int (*fn)(const struct kms_key_info *info, void *arg), void *arg)
{
	return k->ops->list_keys(k, fn, arg);
}

int
kms_list_aliases(struct kms *k,
		 int (*fn)(const char *alias, const char *key_id, void *arg),
		 void *arg)
{
	return k->ops->list_aliases(k, fn, arg);
}

/* The keystore as a whole: only who has it can do this. */

int
kms_init(const struct settings *s, bool *ret_made)
{
	*ret_made = false;
	return is_embedded(s) ? admin_init(s, ret_made) : 0;
}

int
kms_backup(struct kms *k, const char *path)
{
	return k->ops->backup(k, path);
}

int
kms_restore(const struct settings *s, const char *path, bool force)
{
	return is_embedded(s) ? admin_restore(s, path, force) : -EOPNOTSUPP;
}

int
kms_root_kind(const struct settings *s, const char **ret)
{
	return is_embedded(s) ? admin_root_kind(s, ret) : -EOPNOTSUPP;
}

int
kms_change_root(const struct settings *s, const struct settings *to,
		bool *ret_new)
{
	*ret_new = false;
	return is_embedded(s) ? admin_change_root(s, to, ret_new) : -EOPNOTSUPP;
}
