/*
 * keys_versions.c - the versions of a key.
 */
#include <errno.h>
#include <string.h>

#include "keys_private.h"

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
	if (r == 0)
		r = keys_add_version(k, &row);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		keys_fill_info(k, &row, ret);
	return r;
}

static int
begin_look(struct call *c, struct keys *k, const char *key,
	   struct keystore_key *ret)
{
	int r;

	r = keys_begin_with(c, k, key, ret);
	return r < 0 ? r : keys_allowed(KEYS_LOOK, ret);
}

int
keys_describe_version(struct keys *k, const char *key, const char *version,
		      struct keys_version *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row, of;
	struct uuid id;
	int r;

	if (uuid_parse(version, &id) < 0)
		return -ENOENT;
	r = begin_look(&c, k, key, &row);
	if (r < 0)
		return r;
	r = keystore_get_version(k->ks, &id, &of);
	if (r == -ENOKEY || (r == 0 && !uuid_equal(&of.id, &row.id)))
		return -ENOENT;
	if (r == 0)
		r = keys_commit(&c);
	if (r < 0)
		return r;
	memcpy(ret->key_id, of.info.id, sizeof(ret->key_id));
	uuid_format(&id, ret->id);
	ret->created = of.info.rotated;
	return 0;
}

/* Oldest first, with room for ${max} of them. */
static int
read_versions(struct keys *k, const struct keystore_key *row,
	      struct keys_version *out, size_t max, size_t *ret_n)
{
	struct uuid id;
	int64_t seq = 0;
	size_t n;
	int r;

	for (n = 0; n < max; n++) {
		r = keystore_next_version_of(k->ks, row->seq, &seq, &id,
					     &out[n].created);
		if (r == -ENOKEY)
			break;
		if (r < 0)
			return r;
		memcpy(out[n].key_id, row->info.id, sizeof(out[n].key_id));
		uuid_format(&id, out[n].id);
	}
	*ret_n = n;
	return 0;
}

static void
turn(struct keys_version *v, size_t n)
{
	struct keys_version swap;

	for (size_t i = 0; i < n / 2; i++) {
		swap = v[i];
		v[i] = v[n - 1 - i];
		v[n - 1 - i] = swap;
	}
}

int
keys_versions(struct keys *k, const char *key, struct keys_version **ret,
	      size_t *ret_n)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	CLEANUP(free_memp) struct keys_version *all = NULL;
	struct keystore_key row;
	size_t n;
	int r;

	r = begin_look(&c, k, key, &row);
	if (r < 0)
		return r;
	all = calloc(row.info.versions + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	r = read_versions(k, &row, all, row.info.versions, &n);
	if (r == 0)
		r = keys_commit(&c);
	if (r < 0)
		return r;
	turn(all, n);
	*ret = TAKE(all);
	*ret_n = n;
	return 0;
}
