/*
 * disk_keys.c - the data keys that an attached disk has: those that its
 * descriptor names, and for a moment one that it is going to.
 *
 * Each lies in secret memory of its own, where it stays until it goes: layers
 * point to it.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>

#include "catalog_private.h"
#include "kept_private.h"

static struct disk_dk *
find(struct disk *d, const struct uuid *uuid)
{
	for (size_t i = 0; i < DISK_DKS; i++)
		if (d->dks[i].key && uuid_equal(&d->dks[i].uuid, uuid))
			return &d->dks[i];
	return NULL;
}

struct key *
disk_dk(struct disk *d, const struct uuid *uuid)
{
	struct disk_dk *k;

	pthread_mutex_lock(&d->layers_lock);
	k = find(d, uuid);
	pthread_mutex_unlock(&d->layers_lock);
	return k ? k->key : NULL;
}

int
disk_get_dk(struct disk *d, const struct uuid *uuid, struct key *ret)
{
	struct disk_dk *k;

	pthread_mutex_lock(&d->layers_lock);
	k = find(d, uuid);
	if (k)
		memcpy(ret, k->key, sizeof(*ret));
	pthread_mutex_unlock(&d->layers_lock);
	return k ? 0 : -ENOKEY;
}

const struct key *
disk_top_dk(struct disk *d)
{
	return disk_dk(d, &d->desc.key);
}

int
disk_add_dk(struct disk *d, const struct uuid *uuid, const struct key *dk)
{
	struct key *key = secret_alloc(sizeof(*key));
	size_t i = 0;
	int r = 0;

	if (!key)
		return -ENOMEM;
	memcpy(key, dk, sizeof(*key));
	pthread_mutex_lock(&d->layers_lock);
	while (i < DISK_DKS && d->dks[i].key)
		i++;
	if (i < DISK_DKS)
		d->dks[i] = (struct disk_dk){ *uuid, key };
	else
		r = -E2BIG;
	pthread_mutex_unlock(&d->layers_lock);
	if (r < 0)
		secret_free(key, sizeof(*key));
	else
		kept_dks(d);
	return r;
}

/* With layers_lock held. */
static bool
is_used(const struct disk *d, const struct key *key)
{
	for (unsigned i = 1; d->layers && i <= d->n_layers; i++)
		if (d->layers[i] && d->layers[i]->dk == key)
			return true;
	return false;
}

void
disk_forget_dks(struct disk *d)
{
	pthread_mutex_lock(&d->layers_lock);
	for (size_t i = 0; i < DISK_DKS; i++) {
		struct disk_dk *k = &d->dks[i];

		if (!k->key || descriptor_key(&d->desc, &k->uuid) ||
		    is_used(d, k->key))
			continue;
		secret_free(k->key, sizeof(*k->key));
		*k = (struct disk_dk){ .key = NULL };
	}
	pthread_mutex_unlock(&d->layers_lock);
	kept_dks(d);
}

void
disk_free_dks(struct disk *d)
{
	for (size_t i = 0; i < DISK_DKS; i++)
		secret_free(d->dks[i].key, sizeof(*d->dks[i].key));
}

int
disk_copy_dks(struct disk *d, struct disk *from)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->desc.n_keys; i++) {
		const struct uuid *uuid = &d->desc.keys[i].uuid;
		const struct key *dk = disk_dk(from, uuid);

		r = dk ? disk_add_dk(d, uuid, dk) : -ENOKEY;
	}
	return r;
}

/* ---- those that no layer is under any more ---- */

void
descriptor_keep_keys(struct descriptor *d, const struct uuid *used, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->n_keys; i++) {
		bool keep = uuid_equal(&d->keys[i].uuid, &d->key);

		for (size_t j = 0; j < n && !keep; j++)
			keep = uuid_equal(&d->keys[i].uuid, &used[j]);
		if (keep)
			d->keys[kept++] = d->keys[i];
	}
	d->n_keys = kept;
}

/* What ${d} reads through is opened for it. */
static int
find_used(struct disk *d, struct uuid used[static DISK_DKS], size_t *ret_n)
{
	struct layer *l = d->top;
	size_t n = 0, i;
	int r = 0;

	for (;;) {
		for (i = 0; i < n && !uuid_equal(&used[i], &l->meta.key);)
			i++;
		if (i == n && n < DISK_DKS)
			used[n++] = l->meta.key;
		if (!l->meta.has_parent)
			break;
		r = layer_parent(l, d->mover, &l);
		if (r < 0)
			return r;
	}
	*ret_n = n;
	return 0;
}

struct drop {
	const struct uuid *used;
	size_t n;
	bool done;
};

static int
drop_keys(struct descriptor *desc, void *arg)
{
	const struct drop *p = arg;

	descriptor_keep_keys(desc, p->used, p->n);
	if (p->done) {
		desc->reencrypting = false;
		desc->reencrypt_rate = 0;
	}
	return 0;
}

int
disk_drop_keys(struct disk *d, bool done)
{
	struct uuid used[DISK_DKS];
	struct drop p = { used, 0, done };
	int r;

	r = find_used(d, used, &p.n);
	if (r == 0)
		r = disk_update(d, drop_keys, &p);
	if (r == 0)
		disk_forget_dks(d);
	return r;
}
