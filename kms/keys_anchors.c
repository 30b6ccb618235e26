/*
 * keys_anchors.c - anchors of disks: they hang on no key, and need no root.
 */
#include <errno.h>

#include "keys_private.h"

/* Of a session twice the number, and one: far from the end of int64_t. */
#define GENERATION_MAX ((uint64_t)INT64_MAX)

int
keys_get_anchor(struct keys *k, const struct uuid *disk,
		struct keystore_anchor *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_begin(&c, k, false);
	if (r == 0)
		r = keystore_get_anchor(k->ks, disk, ret);
	return r == -ENOKEY ? -ENOENT : r;
}

int
keys_set_anchor(struct keys *k, const struct uuid *disk,
		const struct keystore_anchor *a, bool force)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_anchor there;
	int r;

	if (a->generation > GENERATION_MAX)
		return -EINVAL;
	r = keys_begin(&c, k, true);
	if (r < 0)
		return r;
	r = keystore_get_anchor(k->ks, disk, &there);
	if (r == 0 && there.generation > a->generation && !force)
		return -ESTALE;
	if (r == 0 || r == -ENOKEY)
		r = keystore_put_anchor(k->ks, disk, a);
	return r < 0 ? r : keys_commit(&c);
}
