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

/* -ENOKEY: none is due. */
static int
find_due(struct keys *k, struct uuid *ret)
{
	uint64_t max = k->settings.keystore_max_versions;

	return keystore_next_rotation(k->ks, k->region, keys_now(),
				      max ? max : UINT64_MAX, ret);
}

static int
look(struct keys *k)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct uuid id;
	int r;

	r = keys_begin(&c, k, false);
	return r < 0 ? r : find_due(k, &id);
}

static int
rotate_all(struct keys *k)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	struct uuid id;
	unsigned n = 0;
	int r;

	r = keys_begin(&c, k, true);
	while (r == 0) {
		r = find_due(k, &id);
		if (r < 0)
			break;
		r = keystore_get_key(k->ks, &id, &row);
		if (r == 0)
			r = keys_add_version(k, &row);
		n += r == 0;
	}
	if (r == -ENOKEY)
		r = keys_commit(&c);
	if (r == 0)
		log_note("keystore %s: %u keys were due, and have a new "
			 "version now",
			 k->path, n);
	return r;
}

void
keys_rotate_due(struct keys *k)
{
	int r;

	if (!atomic_load(&k->unlocked))
		return;
	r = look(k);
	if (r == 0)
		r = rotate_all(k);
	if (r < 0 && r != -ENOKEY)
		log_warn("keystore %s: keys that are due cannot be rotated: %s",
			 k->path, err_text(r));
}
