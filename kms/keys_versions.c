/*
 * keys_versions.c - a new version of a key, and data keys moved to it.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "keys_private.h"

static int
add_version(struct keys *k, struct keystore_key *row)
{
	int r;

	r = uuid_new(&row->version);
	if (r == 0)
		r = keys_make_material(k, row);
	if (r < 0)
		return r;
	row->info.rotated = time(NULL);
	row->info.versions++;
	return keystore_add_version(k->ks, row, row->seq);
}

int
keys_create_version(struct keys *k, const char *key, struct kms_key_info *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(&c, k, true);
	if (r == 0)
		r = keys_find(k, key, &row);
	if (r == 0)
		r = keys_allowed(KEYS_ROTATE, &row);
	if (r == 0 && row.info.versions >= KEYS_VERSIONS_MAX)
		r = -EDQUOT;
	if (r == 0)
		r = add_version(k, &row);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		keys_fill_info(k, &row, ret);
	return r;
}

/* Whatever becomes of it, the data key is seen by nobody. */
static int
move(struct keys *k, const struct keystore_key *to, const void *blob,
     size_t len, const struct context *ctx, const struct context *new_ctx,
     struct keys_used *ret_used, struct wrapped_dk *ret)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct keystore_key from;
	int r;

	r = keys_find_for_blob(k, blob, len, &from);
	if (r == 0)
		r = keys_allowed(KEYS_USE, to);
	if (r == 0)
		r = keys_open_blob(k, &from, blob, len, ctx, ret_used, &dk);
	return r < 0 ? r : keys_seal(k, to, new_ctx, &dk, ret);
}

/* The key, in its newest version, that ${blob} is of. */
static int
find_own(struct keys *k, const void *blob, size_t len, struct keystore_key *ret)
{
	struct keystore_key row;
	int r;

	r = keys_find_for_blob(k, blob, len, &row);
	return r < 0 ? r : keystore_get_key(k->ks, &row.id, ret);
}

int
keys_reencrypt(struct keys *k, const void *blob, size_t len,
	       const struct context *ctx, const char *key,
	       const struct context *new_ctx, struct keys_used *ret_used,
	       struct wrapped_dk *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keys_used used;
	struct wrapped_dk w = *ret;
	struct keystore_key to;
	int r;

	r = keys_unlock(k);
	if (r == 0 && key)
		r = keys_begin_with(&c, k, key, &to);
	else if (r == 0)
		r = keys_begin(&c, k, false);
	if (r == 0 && !key)
		r = find_own(k, blob, len, &to);
	if (r == 0)
		r = move(k, &to, blob, len, ctx, new_ctx, &used, &w);
	if (r == 0)
		r = keys_commit(&c);
	if (r < 0)
		return r;
	*ret = w;
	*ret_used = used;
	return 0;
}
