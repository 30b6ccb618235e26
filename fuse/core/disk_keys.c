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

#include <sealdisk/log.h>

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

/* ---- what the key service says they are ---- */

/* ${text} of a layer does not verify: it was changed, or the DK is another than
 * the one that the service gives when it is asked again. */
static int
ask_again(struct disk *d, const struct desc_key *k)
{
	CLEANUP(key_wipe) struct key had = { { 0 } }, dk = { { 0 } };
	int r = disk_get_dk(d, &k->uuid, &had);

	if (r == 0)
		r = kms_decrypt(d->e->kms, &k->dk, &dk);
	if (r == 0 && !crypto_equal(had.bytes, dk.bytes, sizeof(dk.bytes))) {
		log_error("key service \"%s\": it opens a data key of disk %s "
			  "to another one each time",
			  k->dk.kms, d->desc.name);
		r = -EPROTO;
	}
	return r;
}

static int
prove(struct disk *d, const struct layer_meta *m, const char *text, size_t len)
{
	const struct desc_key *k = descriptor_key(&d->desc, &m->key);
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct layer_meta parsed;
	int r;

	if (!k)
		return 0; /* who reads it tells */
	r = disk_get_dk(d, &k->uuid, &dk);
	if (r == 0)
		r = layer_meta_parse(text, len, &dk, &parsed);
	return r == -EBADMSG ? ask_again(d, k) : err_is_shortage(r) ? r : 0;
}

int
disk_prove_dks(struct disk *d)
{
	struct layer_ref ref = d->desc.layer;
	struct uuid last = d->desc.key;

	/* So often the DK can change; and no parent is followed for ever. */
	for (size_t i = 0, n = 1; i < LAYERS_MAX && n < d->desc.n_keys; i++) {
		CLEANUP(free_memp) char *text = NULL;
		char path[STORE_PATH_LEN];
		struct layer_meta m;
		size_t len;
		int r;

		path_layer(&ref, "layer.ini", path);
		r = d->e->st->ops->load(d->e->st, path, META_MAX, &text, &len);
		if (r == 0)
			r = layer_meta_peek(text, len, &m);
		/* Damage is told of where it is read. */
		if (r < 0)
			return err_is_shortage(r) ? r : 0;
		if (!uuid_equal(&m.key, &last)) {
			r = prove(d, &m, text, len);
			last = m.key;
			n++;
		}
		if (r < 0 || !m.has_parent)
			return r;
		ref = m.parent;
	}
	return 0;
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

/* Lineages may have lived by this descriptor alone. */
int
disk_drop_keys(struct disk *d, bool done)
{
	CLEANUP(free_memp) struct descriptor *old = malloc(sizeof(*old));
	struct uuid used[DISK_DKS];
	struct drop p = { used, 0, done };
	int r;

	if (!old)
		return -ENOMEM;
	disk_descriptor(d, old);
	pthread_rwlock_rdlock(&d->barrier);
	r = find_used(d, used, &p.n);
	pthread_rwlock_unlock(&d->barrier);
	if (r == 0)
		r = pending_mark_all(d->e->st, old);
	if (r == 0)
		r = disk_update(d, drop_keys, &p);
	if (r < 0)
		return r;
	pending_mark_left(d->e->cat, old);
	disk_forget_dks(d);
	return 0;
}
