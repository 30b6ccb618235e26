/*
 * keys_rotation.c - keys that are given a new version from time to time.
 *
 * A key that is not enabled waits; what was missed, while it was disabled or
 * while nobody had the keystore open, is made up for by one new version.
 */
#include <errno.h>
#include <stdatomic.h>

#include <sealdisk/log.h>

#include "keys_private.h"

static bool
has_room(const struct keys *k, unsigned versions)
{
	uint64_t max = k->settings.keystore_max_versions;

	return !max || versions < max;
}

int
keys_add_version(struct keys *k, struct keystore_key *row)
{
	const struct material_ops *ops;
	int r;

	if (!has_room(k, row->info.versions))
		return -EDQUOT;
	r = keys_material_ops(k, row->info.instance, &ops);
	if (r == 0)
		r = uuid_new(&row->version);
	if (r == 0)
		r = ops->make(k, row);
	if (r < 0)
		return r;
	row->info.rotated = keys_now();
	row->info.versions++;
	return keystore_add_version(k->ks, row, row->seq);
}

bool
keys_is_due(const struct keys *k, const struct keystore_key *row)
{
	const struct kms_key_info *i = &row->info;

	return i->rotate_every && i->state == KMS_ENABLED &&
	       i->rotated + i->rotate_every <= keys_now() &&
	       !keys_is_gone(row) && has_room(k, i->versions) &&
	       atomic_load(&k->unlocked);
}

int
keys_set_rotation(struct keys *k, const char *id, int64_t interval)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	if (interval &&
	    (interval < KEYS_ROTATION_MIN || interval > KEYS_ROTATION_MAX))
		return -EINVAL;
	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(&c, k, true);
	if (r == 0)
		r = keys_find_id(k, id, &row);
	if (r == 0)
		r = keys_allowed(KEYS_ROTATE, &row);
	if (r == 0)
		r = keystore_set_rotation(k->ks, row.seq, interval);
	if (r < 0)
		return r;
	row.info.rotate_every = interval;
	if (keys_is_due(k, &row))
		r = keys_add_version(k, &row);
	return r < 0 ? r : keys_commit(&c);
}

/* -ENOKEY: no more are due. */
static int
next_due(struct keys *k, int64_t *seq, struct uuid *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	uint64_t max = k->settings.keystore_max_versions;
	int r;

	r = keys_begin(&c, k, false);
	return r < 0 ? r
		     : keystore_next_rotation(k->ks, k->region, keys_now(),
					      max ? max : UINT64_MAX, seq, ret);
}

/* Another may have done so meanwhile. */
static int
rotate(struct keys *k, const struct uuid *id)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin(&c, k, true);
	if (r == 0)
		r = keystore_get_key(k->ks, id, &row);
	if (r < 0 || !keys_is_due(k, &row))
		return r;
	r = keys_add_version(k, &row);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		log_note("keystore %s: key %s was due, and has a new version",
			 k->path, row.info.id);
	return r;
}

/* One that cannot be rotated keeps no other from it. */
void
keys_rotate_due(struct keys *k)
{
	char text[UUID_STR_LEN] = "";
	struct uuid id;
	int64_t seq = 0;
	int r;

	if (!atomic_load(&k->unlocked))
		return;
	while ((r = next_due(k, &seq, &id)) == 0) {
		r = rotate(k, &id);
		if (r == 0)
			continue;
		uuid_format(&id, text);
		log_warn("keystore %s: key %s is due and cannot be rotated: %s",
			 k->path, text, err_text(r));
	}
	if (r != -ENOKEY)
		log_warn("keystore %s: keys that are due cannot be found: %s",
			 k->path, err_text(r));
}
