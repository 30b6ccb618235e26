/*
 * catalog_ownkey.c - disks that get a DK of their own over layers of others.
 *
 * Who shares a DK can read what its other holders write.  So a clone may begin
 * a lineage: its first layer, under the new DK, names its parent across the
 * border as LINEAGE/LAYER.  What lies below stays as it is, under the DK that
 * it was written with; the clone's descriptor carries both.
 *
 * As when a disk is made, the new lineage bears the mark until its descriptor
 * is there: what a crash leaves of it the sweep removes.
 */
#include <errno.h>
#include <string.h>

#include "catalog_private.h"
#include "datakey.h"
#include "layer.h"

int
own_key_new(struct kms *kms, const char *key, const struct descriptor *over,
	    struct own_key *ret)
{
	struct uuid lineage;
	int r;

	if (over->n_keys >= DESC_KEYS_MAX)
		return -E2BIG;
	r = uuid_new(&ret->k.uuid);
	if (r == 0)
		r = uuid_new(&lineage);
	if (r == 0)
		r = datakey_new(kms, key, &lineage, &ret->k.dk, &ret->dk);
	return r;
}

void
own_key_wipe(struct own_key *o)
{
	key_wipe(&o->dk);
}

/* The newest comes first: in the end it is the only one. */
void
own_key_put(const struct own_key *o, struct descriptor *d)
{
	memmove(&d->keys[1], &d->keys[0], d->n_keys * sizeof(d->keys[0]));
	d->keys[0] = o->k;
	d->n_keys++;
	d->key = o->k.uuid;
	d->lineage = o->k.dk.lineage;
}

/* ---- a clone that shares a DK, and shall not ---- */

/* Its layer, in which nothing was ever written. */
static int
load_layer(struct catalog *c, const struct descriptor *d, const struct key *dk,
	   struct layer_meta *ret)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	/* An attach begins a session, and its end makes a checkpoint. */
	if (d->session != d->digest_session || !digest_is_none(d->digest))
		return -EINVAL;
	path_layer(&d->layer, "layer.ini", path);
	r = c->st->ops->load(c->st, path, META_MAX, &text, &len);
	if (r == 0)
		r = layer_meta_parse(text, len, dk, ret);
	if (r == 0 && (!uuid_equal(&ret->uuid, &d->layer.layer) ||
		       !uuid_equal(&ret->lineage, &d->layer.lineage)))
		r = -EUCLEAN;
	if (r == 0 && !ret->has_parent)
		r = -EINVAL;
	return r;
}

/* In place of that layer one under its own DK, above the same parent. */
static int
put_own_key(struct catalog *c, const struct own_key *own, struct layer_meta *m,
	    struct descriptor *d)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	struct layer_ref old = d->layer;
	int r;

	own_key_put(own, d);
	m->lineage = d->lineage;
	m->key = d->key;
	/* Whoever merges into the parent cannot change it here any more. */
	memset(m->parent_digest, 0, sizeof(m->parent_digest));
	r = uuid_new(&m->uuid);
	if (r == 0)
		r = catalog_lock_names(c, &names);
	if (r == 0)
		r = pending_mark(c->st, &d->lineage);
	if (r == 0)
		r = layer_create(c->st, m, &own->dk);
	if (r < 0)
		return r;
	d->layer.lineage = m->lineage;
	d->layer.layer = m->uuid;
	r = catalog_save(c, d, &own->dk);
	if (r == 0) {
		lineage_unmark(c->st, &d->lineage, PENDING);
		catalog_drop_layer(c, &old);
	}
	return r;
}

int
catalog_own_key(struct catalog *c, struct kms *kms, const char *name,
		const char *key)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(lineages_unlock) struct lineage_locks lineages = { .n = 0 };
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(own_key_wipe) struct own_key own = { .dk = { { 0 } } };
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct layer_meta m;
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_load(c, DESC_DISK, name, d, NULL, NULL);
	if (r == 0)
		r = catalog_lock_disk(c, &d->uuid, "", &lock);
	if (r == 0)
		r = catalog_load_verified(c, kms, DESC_DISK, name, d, &dk);
	if (r == 0)
		r = load_layer(c, d, &dk, &m);
	if (r == 0)
		r = own_key_new(kms, key, d, &own);
	if (r == 0)
		r = lineages_share(c, d, &lineages);
	return r < 0 ? r : put_own_key(c, &own, &m, d);
}
