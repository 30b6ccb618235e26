/*
 * catalog_clone.c - names for what is frozen: snapshots and images, and disks
 * above them.
 *
 * Nothing here copies a block.  A clone's own layer is made before the
 * descriptor that names it, and a descriptor is what makes it be there.  Who
 * makes a layer shares the locks of all lineages that it reaches until it has a
 * name: the sweep, which removes what nobody reaches, has each for itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "catalog_private.h"
#include "engine_private.h"
#include "layer.h"

int
catalog_check_free(struct catalog *c, enum desc_type type, const char *of,
		   const char *name)
{
	int r = name_check(name);

	return r < 0 ? r : names_check_free(c, type, of, name);
}

/* ---- several at once ---- */

static void
path_set(const struct uuid *set, char out[static STORE_PATH_LEN])
{
	char u[UUID_STR_LEN];

	uuid_format(set, u);
	(void)snprintf(out, STORE_PATH_LEN, SETS "/%s", u);
}

/* As long as it is there, the set is not complete: recovery drops it. */
static int
set_mark(struct store *st, const struct uuid *set)
{
	char path[STORE_PATH_LEN];
	struct store_file *f;
	int r;

	path_set(set, path);
	r = st->ops->create(st, path, &f);
	if (r < 0)
		return r;
	store_close(f);
	return st->ops->sync_dir(st, SETS);
}

static int
set_clear(struct store *st, const struct uuid *set)
{
	char path[STORE_PATH_LEN];
	int r;

	path_set(set, path);
	r = st->ops->remove(st, path);
	return r < 0 ? r : st->ops->sync_dir(st, SETS);
}

static void
remove_added(struct catalog *c, const struct descriptor *d, size_t n)
{
	char path[STORE_PATH_LEN];

	for (size_t i = 0; i < n; i++) {
		path_descriptor(d[i].type, d[i].of, d[i].name, path);
		if (spare_remove(c, &d[i].uuid) == 0)
			try_remove(c->st, path);
	}
}

static int
add_locked(struct catalog *c, const struct descriptor *d,
	   const struct key *const *dks, size_t n)
{
	bool set = !uuid_is_nil(&d->set);
	size_t done = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = names_check_free(c, d[i].type, d[i].of, d[i].name);
	if (r == 0 && set)
		r = set_mark(c->st, &d->set);
	if (r < 0)
		return r;
	for (; r == 0 && done < n; done++)
		r = catalog_save(c, &d[done], dks[done]);
	if (r == 0 && set)
		r = set_clear(c->st, &d->set);
	if (r < 0) {
		/* The last one may be there though it failed. */
		remove_added(c, d, done);
		if (set && set_clear(c->st, &d->set) < 0)
			return r; /* recovery's */
	}
	return r;
}

int
catalog_add(struct catalog *c, const struct descriptor *d,
	    const struct key *const *dks, size_t n)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	int r;

	r = catalog_lock_names(c, &lock);
	return r < 0 ? r : add_locked(c, d, dks, n);
}

/* ---- clones ---- */

/* Of a layer that is not sealed yet its children are told when it is. */
static int
parent_digest(struct catalog *c, const struct layer_ref *ref,
	      const struct key *dk, uint8_t ret[static SHA256_LEN])
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	struct layer_meta m;
	size_t len;
	int r;

	path_layer(ref, "layer.ini", path);
	r = c->st->ops->load(c->st, path, META_MAX, &text, &len);
	if (r == 0)
		r = layer_meta_parse(text, len, dk, &m);
	if (r == 0 && m.state == LAYER_SEALED)
		memcpy(ret, m.digest, SHA256_LEN);
	return r == -ENOENT ? -EUCLEAN : r;
}

/* A new layer above that of ${d}, of its lineage, durable; nothing names it
 * yet.  The parent is asked below ${limit}. */
static int
layer_above(struct catalog *c, const struct descriptor *d, uint64_t limit,
	    const struct key *dk, struct layer_ref *ret)
{
	struct layer_meta m = {
		.lineage = d->lineage,
		.key = d->key,
		.has_parent = true,
		.parent = d->layer,
		.parent_limit = limit,
		.state = LAYER_OPEN,
		.size = d->size,
		.created = time(NULL),
	};
	int r = 0;

	/* That of another lineage is under another DK. */
	if (uuid_equal(&d->layer.lineage, &d->lineage))
		r = parent_digest(c, &d->layer, dk, m.parent_digest);
	if (r == 0)
		r = uuid_new(&m.uuid);
	if (r == 0)
		r = layer_create(c->st, &m, dk);
	if (r < 0)
		return r;
	ret->lineage = m.lineage;
	ret->layer = m.uuid;
	return 0;
}

static int
take_text(const char *text, char *to, size_t room)
{
	if (!text)
		return 0;
	if (strlen(text) >= room)
		return -EINVAL;
	strcpy(to, text);
	return 0;
}

static int
apply_params(const struct clone_params *p, struct descriptor *d)
{
	int r;

	if (p->size && (p->size < d->size || p->size % 512))
		return -EINVAL;
	if (p->size > DISK_SIZE_MAX)
		return -EFBIG;
	if (p->sector_size && p->sector_size != 512 && p->sector_size != 4096)
		return -EINVAL;
	if (p->size)
		d->size = p->size;
	if (p->sector_size)
		d->sector_size = p->sector_size;
	r = take_text(p->name, d->name, sizeof(d->name));
	if (r == 0)
		r = take_text(p->kind, d->kind, sizeof(d->kind));
	if (r == 0)
		r = take_text(p->category, d->category, sizeof(d->category));
	d->uid = p->uid;
	d->gid = p->gid;
	d->mode = p->mode;
	return r;
}

/* A new disk, of what ${from} says, with no history of its own. */
static int
disk_of(const struct descriptor *from, const struct clone_params *p,
	struct descriptor *d)
{
	int r;

	*d = *from;
	r = uuid_new(&d->uuid);
	if (r == 0 && p)
		r = apply_params(p, d);
	if (r < 0)
		return r;
	d->type = DESC_DISK;
	d->of[0] = '\0';
	memset(&d->set, 0, sizeof(d->set));
	d->members = 0;
	d->created = time(NULL);
	/* Chunks may come to it of which pages are of sessions up to this one
	 * (merge.c); of its own there is nothing yet. */
	d->digest_session = d->session;
	memset(d->digest, 0, sizeof(d->digest));
	d->checkpointed = 0;
	d->rebuilt = 0;
	d->clean = true;
	d->allocated = 0;
	d->reencrypting = false;
	d->reencrypt_rate = 0;
	strcpy(d->anchor, "none");
	return name_check(d->name);
}

/* ${own} NULL: under ${dk}, as what it comes from. */
static int
put_clone(struct catalog *c, const struct descriptor *from,
	  const struct key *dk, const struct clone_params *p,
	  const struct own_key *own, struct descriptor *d)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	int r;

	r = disk_of(from, p, d);
	if (r == 0)
		r = catalog_lock_names(c, &lock);
	if (r == 0)
		r = names_check_free(c, DESC_DISK, NULL, d->name);
	if (r == 0 && own) {
		own_key_put(own, d);
		dk = &own->dk;
	}
	/* By the mark the layer is found where nothing comes to name it. */
	if (r == 0)
		r = lineage_mark(c->st, &d->lineage, own ? PENDING : UNSEALED);
	if (r == 0)
		r = layer_above(c, d, from->size, dk, &d->layer);
	if (r < 0)
		return r;
	r = catalog_add_one(c, d, dk);
	if (r < 0)
		catalog_drop_layer(c, &d->layer);
	else if (own)
		lineage_unmark(c->st, &d->lineage, PENDING);
	return r;
}

int
catalog_put_clone(struct catalog *c, const struct descriptor *from,
		  const struct key *dk, const struct clone_params *p,
		  struct descriptor *ret)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	int r = d ? put_clone(c, from, dk, p, NULL, d) : -ENOMEM;

	if (r == 0 && ret)
		*ret = *d;
	return r;
}

/* ${d} was verified under ${dk}: what stands there now, under a lock that keeps
 * what it names. */
static int
load_again(struct catalog *c, enum desc_type type, const char *name,
	   const struct key *dk, struct descriptor *d)
{
	CLEANUP(free_memp) char *text = NULL;
	struct uuid was = d->uuid;
	size_t len;
	int r;

	r = catalog_load(c, type, name, d, &text, &len);
	if (r == 0 && !uuid_equal(&d->uuid, &was))
		r = -ENOENT; /* its name is another's */
	return r < 0 ? r : descriptor_verify(text, len, &d->uuid, dk);
}

int
catalog_clone(struct catalog *c, struct kms *kms, enum desc_type type,
	      const char *name, const struct clone_params *p,
	      struct descriptor *ret)
{
	CLEANUP(lineages_unlock) struct lineage_locks lineages = { .n = 0 };
	CLEANUP(store_unlockp) struct store_lock *shared = NULL;
	CLEANUP(free_memp) struct descriptor *d = calloc(2, sizeof(*d));
	CLEANUP(own_key_wipe) struct own_key own = { .dk = { { 0 } } };
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	int r;

	if (!d)
		return -ENOMEM;
	if (type == DESC_DISK)
		return -EINVAL;
	r = catalog_check_free(c, DESC_DISK, NULL, p->name);
	if (r == 0)
		r = catalog_load_verified(c, kms, type, name, &d[0], &dk);
	/* While nobody waits for us. */
	if (r == 0 && p->own_key)
		r = own_key_new(kms, p->own_key, &d[0], &own);
	if (r == 0)
		r = lineages_share(c, &d[0], &lineages);
	/* It is not removed from here on; was it before? */
	if (r == 0)
		r = catalog_share_disk(c, &d[0].uuid, &shared);
	if (r == 0)
		r = load_again(c, type, name, &dk, &d[0]);
	if (r == 0)
		r = put_clone(c, &d[0], &dk, p, p->own_key ? &own : NULL,
			      &d[1]);
	if (r == 0)
		*ret = d[1];
	return r;
}

/* ---- images of snapshots ---- */

int
catalog_image(struct catalog *c, struct kms *kms, const char *snapshot,
	      const struct clone_params *p)
{
	CLEANUP(lineages_unlock) struct lineage_locks lineages = { .n = 0 };
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	const struct key *dks[] = { &dk };
	struct uuid uuid;
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_check_free(c, DESC_IMAGE, NULL, p->name);
	if (r == 0)
		r = uuid_new(&uuid);
	if (r == 0)
		r = catalog_load_verified(c, kms, DESC_SNAPSHOT, snapshot, d,
					  &dk);
	if (r == 0)
		r = lineages_share(c, d, &lineages);
	if (r == 0)
		r = load_again(c, DESC_SNAPSHOT, snapshot, &dk, d);
	if (r == 0)
		r = apply_params(p, d);
	if (r < 0)
		return r;
	d->type = DESC_IMAGE;
	d->uuid = uuid;
	d->of[0] = '\0';
	memset(&d->set, 0, sizeof(d->set));
	d->members = 0;
	d->created = time(NULL);
	return catalog_add(c, d, dks, 1);
}

/* ---- owner, mode and name of what is frozen ---- */

/*
 * Its descriptor as it is now, with what keeps others from changing it: who
 * removes it wants the disk's lock for himself, everybody else the names'.
 * Whoever reads it shares the disk's lock as we do.
 */
static int
hold(struct catalog *c, struct kms *kms, enum desc_type type, const char *name,
     const struct uuid *uuid, struct store_lock **ret_locks,
     struct descriptor *d, struct key *dk)
{
	int r;

	if (type == DESC_DISK)
		return -EINVAL;
	r = catalog_load_verified(c, kms, type, name, d, dk);
	if (r == 0 && !uuid_equal(&d->uuid, uuid))
		r = -ENOENT;
	if (r == 0)
		r = catalog_share_disk(c, uuid, &ret_locks[0]);
	if (r == 0)
		r = catalog_lock_names(c, &ret_locks[1]);
	return r < 0 ? r : load_again(c, type, name, dk, d);
}

static void
let_go(struct store_lock **locks)
{
	store_unlock(locks[1]);
	store_unlock(locks[0]);
}

int
catalog_update(struct catalog *c, struct kms *kms, enum desc_type type,
	       const char *name, const struct uuid *uuid,
	       int (*fn)(struct descriptor *desc, void *arg), void *arg)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct store_lock *locks[2] = { NULL, NULL };
	int r;

	if (!d)
		return -ENOMEM;
	r = hold(c, kms, type, name, uuid, locks, d, &dk);
	if (r == 0)
		r = fn(d, arg);
	if (r == 0)
		r = catalog_save(c, d, &dk);
	let_go(locks);
	return r;
}

int
catalog_move(struct catalog *c, struct kms *kms, enum desc_type type,
	     const char *name, const struct uuid *uuid, const char *to)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct store_lock *locks[2] = { NULL, NULL };
	int r;

	if (!d)
		return -ENOMEM;
	r = hold(c, kms, type, name, uuid, locks, d, &dk);
	if (r == 0)
		r = rename_locked(c, d, &dk, to);
	let_go(locks);
	return r;
}

/* ---- back to a snapshot ---- */

/* What the disk is from now on.  Its keys are the snapshot's: an older one may
 * be under a DK that the disk has no more. */
static int
roll_back(struct catalog *c, const struct descriptor *snap,
	  const struct key *dk, struct descriptor *disk)
{
	int r;

	r = layer_above(c, snap, snap->size, dk, &disk->layer);
	if (r < 0)
		return r;
	disk->size = snap->size;
	disk->lineage = snap->lineage;
	disk->key = snap->key;
	disk->n_keys = snap->n_keys;
	memcpy(disk->keys, snap->keys, sizeof(disk->keys));
	disk->reencrypting = false;
	disk->reencrypt_rate = 0;
	disk->allocated = 0;
	disk->clean = true;
	if (disk->session < snap->session)
		disk->session = snap->session;
	disk->session++; /* as any change of what it holds */
	disk->digest_session = disk->session;
	memset(disk->digest, 0, sizeof(disk->digest));
	disk->checkpointed = 0;
	r = catalog_save(c, disk, dk);
	/* It may be there though it failed: then the layer is in use, and what
	 * is in use the sweep leaves alone. */
	if (r < 0)
		catalog_drop_layer(c, &disk->layer);
	return r;
}

int
catalog_rollback(struct catalog *c, struct kms *kms, const char *snapshot)
{
	CLEANUP(lineages_unlock) struct lineage_locks lineages = { .n = 0 };
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(free_memp) struct descriptor *d = calloc(3, sizeof(*d));
	CLEANUP(key_wipe) struct key dk = { { 0 } }, disk_dk = { { 0 } };
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_load_verified(c, kms, DESC_SNAPSHOT, snapshot, &d[0], &dk);
	if (r == 0)
		r = catalog_load(c, DESC_DISK, d[0].of, &d[1], NULL, NULL);
	if (r == 0)
		r = catalog_lock_disk(c, &d[1].uuid, "", &lock);
	if (r == 0)
		r = catalog_load_verified(c, kms, DESC_DISK, d[0].of, &d[1],
					  &disk_dk);
	if (r == 0)
		r = lineages_share(c, &d[0], &lineages);
	if (r == 0)
		r = load_again(c, DESC_SNAPSHOT, snapshot, &dk, &d[0]);
	if (r < 0)
		return r;
	d[2] = d[1];
	r = pending_mark_all(c->st, &d[2]);
	if (r == 0)
		r = roll_back(c, &d[0], &dk, &d[1]);
	key_wipe(&disk_dk);
	if (r == 0) {
		anchor_tell(kms, &d[1]);
		pending_mark_left(c, &d[2]);
	}
	return r;
}
