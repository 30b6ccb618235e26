/*
 * keys.c - see keys.h.
 *
 * root -> keystore key -> material of a key version -> data key: each wraps the
 * next.  Of all these the keystore key alone stays in memory (keys_unlock.c);
 * material is unwrapped anew in every call, which costs a microsecond and means
 * that a keystore which was restored meanwhile is used as it is now.
 *
 * There is no process that waits for a key's time.  Whoever opens the keystore
 * does what is due; whoever finds a key that is, sees it as it is by now.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#include "keys_private.h"

#define ARN_START "acs:kms:"

int
keys_begin(struct call *c, struct keys *k, bool write)
{
	int r;

	(void)pthread_mutex_lock(&k->lock);
	c->k = k;
	r = keystore_begin(k->ks, write);
	c->open = r == 0;
	return r;
}

int
keys_commit(struct call *c)
{
	c->open = false;
	return keystore_commit(c->k->ks);
}

void
keys_end(struct call *c)
{
	if (!c->k)
		return;
	if (c->open)
		keystore_rollback(c->k->ks);
	aead_forget(c->k->aead);
	(void)pthread_mutex_unlock(&c->k->lock);
	c->k = NULL;
}

/* Finding keys. */

int
keys_find_id(struct keys *k, const char *id, struct keystore_key *ret)
{
	struct keystore_key row;
	struct uuid u;
	int r;

	if (strncmp(id, k->arn_prefix, strlen(k->arn_prefix)) == 0)
		id += strlen(k->arn_prefix);
	else if (strncmp(id, ARN_START, strlen(ARN_START)) == 0)
		return -ENOKEY; /* of another region or account */
	r = uuid_parse(id, &u);
	if (r < 0)
		return r;
	r = keystore_get_key(k->ks, &u, &row);
	if (r < 0)
		return r;
	if (strcmp(row.region, k->region) != 0)
		return -ENOKEY;
	keys_age(&row);
	*ret = row;
	return 0;
}

bool
keys_is_alias(const char *key)
{
	return strncmp(key, ALIAS_PREFIX, strlen(ALIAS_PREFIX)) == 0;
}

int
keys_find(struct keys *k, const char *key, struct keystore_key *ret)
{
	int r;

	if (!keys_is_alias(key))
		return keys_find_id(k, key, ret);
	r = keystore_get_alias(k->ks, k->region, key, ret);
	if (r == 0)
		keys_age(ret);
	return r;
}

/* A new key with one version, whose material may have to be imported. */
static int
fill_new(struct keys *k, const struct keys_new *new, const char *creator,
	 struct keystore_key *row)
{
	struct kms_key_info *i = &row->info;
	const struct material_ops *ops;
	int r;

	i->state = new->external ? KMS_PENDING_IMPORT : KMS_ENABLED;
	i->created = i->rotated = keys_now();
	i->versions = 1;
	i->rotate_every = new->rotate_every;
	(void)snprintf(row->region, sizeof(row->region), "%s", k->region);
	(void)snprintf(i->creator, sizeof(i->creator), "%s", creator);
	(void)snprintf(i->origin, sizeof(i->origin), "%s",
		       new->external ? KEYS_ORIGIN_EXTERNAL : KEYS_ORIGIN_KMS);
	(void)snprintf(i->instance, sizeof(i->instance), "%s",
		       new->instance ? new->instance : "");
	r = keys_material_ops(k, i->instance, &ops);
	if (r == 0)
		r = uuid_new(&row->id);
	if (r == 0)
		r = uuid_new(&row->version);
	if (r < 0)
		return r;
	uuid_format(&row->id, i->id);
	return new->external ? 0 : ops->make(k, row);
}

int
keys_add(struct keys *k, const struct keys_new *new, const char *creator,
	 struct keystore_key *ret)
{
	struct keystore_key row = { .seq = 0 };
	int r;

	r = fill_new(k, new, creator, &row);
	if (r == 0)
		r = keystore_add_key(k->ks, &row, new->description, &row.seq);
	if (r == 0 && new->tags)
		r = keys_put_tags(k, &row, new->tags);
	if (r == 0 && new->policy)
		r = keystore_set_text(k->ks, row.seq, KEYSTORE_POLICY,
				      new->policy);
	/* Read back, for the beginning of its description. */
	return r < 0 ? r : keystore_get_key(k->ks, &row.id, ret);
}

static int
add_service_key(struct keys *k, struct keystore_key *ret)
{
	static const struct keys_new new = {
		.description = "service key of encrypted disks"
	};
	int r;

	r = keys_add(k, &new, KEYS_SERVICE, ret);
	if (r < 0)
		return r;
	return keystore_add_alias(k->ks, k->region, KMS_SERVICE_ALIAS,
				  ret->seq);
}

static int
begin_and_find(struct call *c, struct keys *k, const char *key, bool write,
	       struct keystore_key *ret)
{
	int r;

	keys_end(c);
	r = keys_begin(c, k, write);
	return r < 0 ? r : keys_find(k, key, ret);
}

/* The service key that nobody has used yet. */
static int
make_service_key(struct call *c, struct keys *k, struct keystore_key *ret)
{
	int r;

	keys_end(c);
	r = keys_unlock(k);
	if (r == 0) /* another may have made it meanwhile */
		r = begin_and_find(c, k, KMS_SERVICE_ALIAS, true, ret);
	return r == -ENOKEY ? add_service_key(k, ret) : r;
}

/* A key that cannot be rotated in time is used as it is. */
static int
rotate(struct call *c, struct keys *k, const char *key,
       struct keystore_key *ret)
{
	struct keystore_key row;
	int r;

	r = begin_and_find(c, k, key, true, &row);
	if (r == 0 && keys_is_due(k, &row))
		r = keys_add_version(k, &row);
	if (r == 0) {
		*ret = row;
		return 0;
	}
	log_warn("keystore %s: key %s is due and cannot be rotated: %s",
		 k->path, ret->info.id, err_text(r));
	return begin_and_find(c, k, key, false, ret);
}

int
keys_begin_with(struct call *c, struct keys *k, const char *key,
		struct keystore_key *ret)
{
	int r;

	r = begin_and_find(c, k, key, false, ret);
	if (r == -ENOKEY && strcmp(key, KMS_SERVICE_ALIAS) == 0)
		return make_service_key(c, k, ret);
	if (r == 0 && keys_is_due(k, ret))
		return rotate(c, k, key, ret);
	return r;
}

void
keys_fill_info(struct keys *k, const struct keystore_key *row,
	       struct kms_key_info *ret)
{
	*ret = row->info;
	(void)snprintf(ret->arn, sizeof(ret->arn), "%s%s", k->arn_prefix,
		       row->info.id);
	if (!uuid_is_nil(&row->version))
		uuid_format(&row->version, ret->primary_version);
	if (ret->state == KMS_ENABLED && ret->rotate_every)
		ret->rotate_at = ret->rotated + ret->rotate_every;
}

/* Opening. */

void
keys_close(struct keys *k)
{
	if (!k)
		return;
	pkcs11_close(k->instance);
	keystore_close(k->ks);
	aead_free(k->aead);
	secret_free(k->kek, sizeof(*k->kek));
	(void)pthread_mutex_destroy(&k->lock);
	(void)pthread_mutex_destroy(&k->root_lock);
	free(k);
}

/* Takes ${ks} over, whatever becomes of it. */
static int
keys_new(const struct settings *s, struct keystore *ks, const char *path,
	 struct keys **ret)
{
	CLEANUP(keys_closep) struct keys *k = NULL;
	size_t len = strlen(path) + 1;
	int r;

	k = calloc(1, sizeof(*k) + len);
	if (!k) {
		keystore_close(ks);
		return -ENOMEM;
	}
	(void)pthread_mutex_init(&k->root_lock, NULL);
	(void)pthread_mutex_init(&k->lock, NULL);
	k->ks = ks;
	k->settings = *s;
	memcpy(k->path, path, len);
	_Static_assert(sizeof(k->region) == sizeof(s->kms_region), "region");
	memcpy(k->region, s->kms_region, sizeof(k->region));
	(void)snprintf(k->arn_prefix, sizeof(k->arn_prefix),
		       ARN_START "%s:" KEYS_ACCOUNT ":key/", k->region);
	k->kek = secret_alloc(sizeof(*k->kek));
	if (!k->kek)
		return -ENOMEM;
	r = aead_new(&k->aead);
	if (r < 0)
		return r;
	*ret = TAKE(k);
	return 0;
}

int
keys_open_locked(const struct settings *s, struct keys **ret)
{
	struct keystore *ks;
	struct keys *k;
	int r;

	r = keystore_open(s->keystore_path, &ks);
	if (r == 0)
		r = keys_new(s, ks, s->keystore_path, &k);
	if (r < 0)
		return r;
	keys_reap(k);
	*ret = k;
	return 0;
}

int
keys_open(const struct settings *s, struct keys **ret)
{
	CLEANUP(keys_closep) struct keys *k = NULL;
	int r;

	r = keys_open_locked(s, &k);
	if (r == 0)
		r = keys_unlock(k);
	if (r < 0)
		return r;
	keys_rotate_due(k);
	*ret = TAKE(k);
	return 0;
}

int
keys_open_alone(const struct settings *s, struct keys **ret)
{
	CLEANUP(keys_closep) struct keys *k = NULL;
	int r;

	r = keys_open(s, &k);
	if (r == 0)
		r = keystore_hold(k->ks);
	if (r == 0)
		*ret = TAKE(k);
	return r;
}

void
keys_maintain(struct keys *k)
{
	keys_reap(k);
	keys_rotate_due(k);
}

/* Of a copy: does each version's material open? */

static int
check_version(struct keys *k, const struct uuid *version)
{
	CLEANUP(key_wipe) struct key m = { { 0 } };
	struct keystore_key row;
	int r;

	r = keystore_get_version(k->ks, version, &row);
	if (r < 0 || row.material.len == 0 || row.info.instance[0])
		return r;
	return keys_open_material(k, &row, &m);
}

static int
check_versions(struct keys *k)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct uuid version;
	int64_t seq = 0;
	int r;

	r = keys_begin(&c, k, false);
	while (r == 0) {
		r = keystore_next_version(k->ks, seq, &seq, &version);
		if (r == -ENOKEY)
			return keys_commit(&c);
		if (r == 0)
			r = check_version(k, &version);
	}
	return r;
}

int
keys_check(const struct settings *s, const struct root *root,
	   struct keystore *ks, const char *path)
{
	CLEANUP(keys_closep) struct keys *k = NULL;
	int r;

	r = keystore_check(ks);
	if (r < 0) {
		keystore_close(ks);
		return r;
	}
	r = keys_new(s, ks, path, &k);
	if (r < 0)
		return r;
	k->lent = root;
	r = keys_unlock(k);
	return r < 0 ? r : check_versions(k);
}
