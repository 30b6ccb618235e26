/*
 * keys.c - see keys.h.
 *
 * root -> keystore key -> material of a key version -> data key: each wraps the
 * next.  Of all these the keystore key alone stays in memory (keys_unlock.c);
 * material is unwrapped anew in every call, which costs a microsecond and means
 * that a keystore which was restored meanwhile is used as it is now.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

/* Material. */

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
keys_make_material(struct keys *k, struct keystore_key *row)
{
	CLEANUP(key_wipe) struct key kek = { { 0 } }, m = { { 0 } };
	uint8_t ad[MATERIAL_AD_LEN];
	int r;

	r = keys_keystore_key(k, &kek);
	if (r < 0)
		return r;
	r = crypto_random(m.bytes, sizeof(m.bytes));
	if (r < 0)
		return r;
	material_ad(row, ad);
	r = envelope_wrap(k->aead, &kek, ad, sizeof(ad), &m,
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
		return -EKEYEXPIRED;
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
	if (keys_is_alias(key))
		return keystore_get_alias(k->ks, k->region, key, ret);
	return keys_find_id(k, key, ret);
}

/* A new key with one version. */
int
keys_add(struct keys *k, const char *description, const char *creator,
	 struct keystore_key *ret)
{
	int64_t now = time(NULL);
	struct keystore_key row = { .info = { .state = KMS_ENABLED,
					      .created = now,
					      .rotated = now,
					      .origin = KEYS_ORIGIN_KMS,
					      .versions = 1 } };
	int r;

	memcpy(row.region, k->region, sizeof(row.region));
	(void)snprintf(row.info.description, sizeof(row.info.description), "%s",
		       description);
	(void)snprintf(row.info.creator, sizeof(row.info.creator), "%s",
		       creator);
	r = uuid_new(&row.id);
	if (r < 0)
		return r;
	r = uuid_new(&row.version);
	if (r < 0)
		return r;
	uuid_format(&row.id, row.info.id);
	r = keys_make_material(k, &row);
	if (r < 0)
		return r;
	r = keystore_add_key(k->ks, &row, &row.seq);
	if (r == 0)
		*ret = row;
	return r;
}

static int
add_service_key(struct keys *k, struct keystore_key *ret)
{
	int r;

	r = keys_add(k, "service key of encrypted disks", KEYS_SERVICE, ret);
	if (r < 0)
		return r;
	return keystore_add_alias(k->ks, k->region, KMS_SERVICE_ALIAS,
				  ret->seq);
}

/*
 * Begin a transaction and find ${key} in it, which may be the service key that
 * nobody has used yet.
 */
int
keys_begin_with(struct call *c, struct keys *k, const char *key,
		struct keystore_key *ret)
{
	int r;

	r = keys_begin(c, k, false);
	if (r == 0)
		r = keys_find(k, key, ret);
	if (r != -ENOKEY || strcmp(key, KMS_SERVICE_ALIAS) != 0)
		return r;
	keys_end(c);
	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(c, k, true);
	if (r == 0)
		r = keys_find(k, key,
			      ret); /* another may have made it meanwhile */
	return r == -ENOKEY ? add_service_key(k, ret) : r;
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
}

/* Opening. */

void
keys_close(struct keys *k)
{
	if (!k)
		return;
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
	if (r == 0)
		*ret = TAKE(k);
	return r;
}

/* Of a copy: does each version's material open? */

static int
check_version(struct keys *k, const struct uuid *version)
{
	CLEANUP(key_wipe) struct key m = { { 0 } };
	struct keystore_key row;
	int r;

	r = keystore_get_version(k->ks, version, &row);
	if (r < 0 || row.material.len == 0)
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
