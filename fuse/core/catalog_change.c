/*
 * catalog_change.c - making, renaming and removing a disk.
 *
 * A descriptor is what makes a disk be there, and it is replaced atomically; so
 * each change comes down to the moment when one descriptor appears or goes, and
 * the rest is order, each step durable before the next:
 *
 * - create: lineages/UUID/pending, the layer, the descriptor; the mark goes
 * - remove: lineages/UUID/pending, the spare copy goes, the descriptor goes;
 * the files are swept
 * - rename: the new descriptor, the folder of snapshots, the spare copy, the
 *   old one goes
 *
 * Whatever a crash leaves of these, catalog_recover() tells from the two
 * descriptors of one uuid, or from the mark.  All of it under locks/catalog,
 * but for the KMS, which may let us wait.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "catalog_private.h"
#include "datakey.h"
#include "layer.h"

#define DEFAULT_KIND "data"
#define DEFAULT_CATEGORY "cloud_essd"

/* Make it durable that ${path} is there, or that it is not. */
static int
sync_folder_of(struct store *st, const char *path)
{
	char folder[STORE_PATH_LEN];

	path_folder(path, folder);
	return st->ops->sync_dir(st, folder);
}

/* After an error, and as far as it goes: recovery puts right the rest. */
void
try_remove(struct store *st, const char *path)
{
	int r;

	r = st->ops->remove(st, path);
	if (r == 0)
		r = sync_folder_of(st, path);
	(void)r;
}

int
lineage_mark(struct store *st, const struct uuid *lineage, const char *mark)
{
	char path[STORE_PATH_LEN];
	struct store_file *f;
	int r;

	path_lineage(lineage, mark, path);
	r = st->ops->create(st, path, &f);
	if (r == 0)
		store_close(f);
	else if (r != -EEXIST)
		return r;
	return sync_folder_of(st, path);
}

int
pending_mark(struct store *st, const struct uuid *lineage)
{
	return lineage_mark(st, lineage, PENDING);
}

void
lineage_unmark(struct store *st, const struct uuid *lineage, const char *mark)
{
	char path[STORE_PATH_LEN];
	int r;

	path_lineage(lineage, mark, path);
	r = st->ops->remove(st, path);
	(void)r;
}

/* Layers of other lineages may have lived by this descriptor alone. */
int
pending_mark_all(struct store *st, const struct descriptor *d)
{
	int r;

	r = pending_mark(st, &d->lineage);
	for (size_t i = 0; i < d->n_keys && r == 0; i++)
		if (!uuid_equal(&d->keys[i].dk.lineage, &d->lineage))
			r = pending_mark(st, &d->keys[i].dk.lineage);
	return r;
}

void
pending_mark_left(struct catalog *c, const struct descriptor *d)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	struct uuid v[LINEAGES_MAX];
	size_t n = descriptor_lineages(d, v);

	/* Better without it than not at all. */
	(void)!catalog_lock_names(c, &names);
	/* One that is gone by now has no room for a mark. */
	for (size_t i = 0; i < n; i++)
		(void)!pending_mark(c->st, &v[i]);
}

/* -EEXIST: a disk of that name, or snapshots of one that is gone. */
int
names_check_free(struct catalog *c, enum desc_type type, const char *of,
		 const char *name)
{
	char path[STORE_PATH_LEN];
	int r;

	path_descriptor(type, of, name, path);
	r = store_exists(c->st, path);
	if (r == 0 && type == DESC_DISK)
		r = has_snapshots(c->st, name);
	return r > 0 ? -EEXIST : r;
}

/* Create. */

static int
check_params(const struct disk_params *p)
{
	const char *ok = "abcdefghijklmnopqrstuvwxyz0123456789_-";

	if (name_check(p->name) < 0)
		return -EINVAL;
	if (p->size > DISK_SIZE_MAX)
		return -EFBIG;
	if (p->size % 512 || (p->sector_size != 512 && p->sector_size != 4096))
		return -EINVAL;
	if (p->kind && strcmp(p->kind, "system") && strcmp(p->kind, "data"))
		return -EINVAL;
	if (p->category &&
	    (!*p->category || p->category[strspn(p->category, ok)] ||
	     strlen(p->category) >= sizeof(((struct descriptor *)0)->category)))
		return -EINVAL;
	return 0;
}

static int
new_descriptor(struct catalog *c, const struct disk_params *p,
	       struct descriptor *d)
{
	int r;

	memset(d, 0, sizeof(*d));
	r = uuid_new(&d->uuid);
	if (r == 0)
		r = uuid_new(&d->lineage);
	if (r == 0)
		r = uuid_new(&d->layer.layer);
	if (r == 0)
		r = uuid_new(&d->key);
	if (r < 0)
		return r;
	d->layer.lineage = d->lineage;
	d->type = DESC_DISK;
	d->store = c->meta.uuid;
	d->size = p->size;
	d->sector_size = p->sector_size;
	d->created = time(NULL);
	d->clean = true;
	d->uid = p->uid;
	d->gid = p->gid;
	d->mode = p->mode;
	d->n_keys = 1;
	d->keys[0].uuid = d->key;
	strcpy(d->name, p->name);
	strcpy(d->kind, p->kind ? p->kind : DEFAULT_KIND);
	strcpy(d->category, p->category ? p->category : DEFAULT_CATEGORY);
	strcpy(d->anchor, "none");
	strcpy(d->on_key_revoked, "keep");
	return 0;
}

static int
first_layer(struct catalog *c, const struct descriptor *d, const struct key *dk)
{
	struct layer_meta m = {
		.uuid = d->layer.layer,
		.lineage = d->lineage,
		.key = d->key,
		.state = LAYER_OPEN,
		.size = d->size,
		.created = d->created,
	};

	return layer_create(c->st, &m, dk);
}

int
catalog_add_one(struct catalog *c, const struct descriptor *d,
		const struct key *dk)
{
	char path[STORE_PATH_LEN];
	int r;

	r = catalog_save(c, d, dk);
	if (r < 0) {
		/* It may be there though it could not be synced. */
		path_descriptor(d->type, d->of, d->name, path);
		try_remove(c->st, path);
	}
	return r;
}

/* What is left after an error is marked, and the sweep's. */
static int
put_on_store(struct catalog *c, const struct descriptor *d,
	     const struct key *dk)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	int r;

	r = catalog_lock_names(c, &lock);
	if (r == 0)
		r = names_check_free(c, DESC_DISK, NULL, d->name);
	if (r == 0)
		r = pending_mark(c->st, &d->lineage);
	if (r == 0)
		r = first_layer(c, d, dk);
	if (r < 0)
		return r;
	r = catalog_add_one(c, d, dk);
	if (r == 0)
		lineage_unmark(c->st, &d->lineage, PENDING);
	return r;
}

int
catalog_create(struct catalog *c, struct kms *kms, const struct disk_params *p,
	       struct descriptor *ret, struct key *ret_dk)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	int r;

	if (!d)
		return -ENOMEM;
	r = check_params(p);
	/* Before a key is made for nothing. */
	if (r == 0)
		r = names_check_free(c, DESC_DISK, NULL, p->name);
	if (r == 0)
		r = new_descriptor(c, p, d);
	if (r == 0)
		r = datakey_new(kms, p->key, &d->lineage, &d->keys[0].dk, &dk);
	if (r == 0)
		r = put_on_store(c, d, &dk);
	if (r < 0)
		return r;
	memcpy(ret, d, sizeof(*ret));
	if (ret_dk)
		memcpy(ret_dk, &dk, sizeof(*ret_dk));
	return 0;
}

/* Rename. */

/* snapshots/FROM becomes snapshots/TO. */
static int
move_snapshots(struct store *st, const char *from, const char *to)
{
	char from_path[STORE_PATH_LEN], to_path[STORE_PATH_LEN];
	int r;

	r = has_snapshots(st, from);
	if (r <= 0)
		return r;
	path_snapshots(from, from_path);
	path_snapshots(to, to_path);
	r = st->ops->remove(st, to_path); /* an empty one */
	if (r < 0 && r != -ENOENT)
		return r;
	return st->ops->rename(st, from_path, to_path);
}

/* The texts of its descriptor under both names: from the first step on nothing
 * takes memory. */
struct names_text {
	char *was, *new;
};

static void
names_text_done(struct names_text *t)
{
	free(t->was);
	free(t->new);
}

static int
put_text(struct catalog *c, const struct descriptor *d, const char *text)
{
	char path[STORE_PATH_LEN];

	path_descriptor(d->type, d->of, d->name, path);
	return c->st->ops->replace(c->st, path, text, strlen(text));
}

/*
 * Back to the old name, as far as that goes.  Where it does not, there are two
 * descriptors, and the disk goes on under the old name: its next attach makes
 * that the one with the higher session, which is what recovery keeps.
 */
static void
undo_rename(struct catalog *c, const struct descriptor *d,
	    const struct descriptor *renamed, const struct names_text *t)
{
	char path[STORE_PATH_LEN];

	if (d->type == DESC_DISK &&
	    move_snapshots(c->st, renamed->name, d->name) < 0)
		return;
	path_descriptor(d->type, d->of, d->name, path);
	if (store_exists(c->st, path) != 1 && put_text(c, d, t->was) < 0)
		return;
	if (spare_follow(c, &d->uuid, t->was) < 0)
		return;
	path_descriptor(d->type, d->of, renamed->name, path);
	try_remove(c->st, path);
}

static int
rename_steps(struct catalog *c, const struct descriptor *d,
	     const struct descriptor *renamed, const struct names_text *t)
{
	char path[STORE_PATH_LEN];
	int r;

	r = put_text(c, renamed, t->new);
	if (r == 0 && d->type == DESC_DISK)
		r = move_snapshots(c->st, d->name, renamed->name);
	/* While there are two names recovery sees to it that it has the right
	 * one. */
	if (r == 0)
		r = spare_follow(c, &d->uuid, t->new);
	if (r < 0)
		return r;
	path_descriptor(d->type, d->of, d->name, path);
	r = c->st->ops->remove(c->st, path);
	return r < 0 ? r : sync_folder_of(c->st, path);
}

int
rename_locked(struct catalog *c, struct descriptor *d, const struct key *dk,
	      const char *to)
{
	CLEANUP(free_memp) struct descriptor *renamed = malloc(sizeof(*d));
	CLEANUP(names_text_done) struct names_text t = { NULL, NULL };
	int r;

	if (!renamed)
		return -ENOMEM;
	r = name_check(to);
	if (r == 0)
		r = names_check_free(c, d->type, d->of, to);
	if (r < 0)
		return r;
	memcpy(renamed, d, sizeof(*renamed));
	strcpy(renamed->name, to);
	r = descriptor_format(d, dk, &t.was);
	if (r == 0)
		r = descriptor_format(renamed, dk, &t.new);
	if (r < 0)
		return r;
	r = rename_steps(c, d, renamed, &t);
	if (r < 0) {
		undo_rename(c, d, renamed, &t);
		return r;
	}
	strcpy(d->name, to);
	return 0;
}

int
catalog_rename(struct catalog *c, struct descriptor *d, const struct key *dk,
	       const char *to)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	int r;

	r = catalog_lock_names(c, &lock);
	return r < 0 ? r : rename_locked(c, d, dk, to);
}

/* Remove. */

static int
remove_descriptor(struct catalog *c, const struct descriptor *d)
{
	char path[STORE_PATH_LEN];
	int r;

	r = pending_mark_all(c->st, d);
	if (r == 0 && d->type != DESC_DISK)
		r = receiving_forget(c->st, NULL, d);
	if (r < 0)
		return r;
	r = spare_remove(c, &d->uuid);
	if (r < 0)
		return r;
	path_descriptor(d->type, d->of, d->name, path);
	r = c->st->ops->remove(c->st, path);
	if (r < 0)
		return r;
	r = sync_folder_of(c->st, path);
	if (r == 0 && d->type == DESC_SNAPSHOT) {
		/* The last of a disk's: its name is free again. */
		path_snapshots(d->of, path);
		if (has_snapshots(c->st, d->of) == 0)
			r = c->st->ops->remove(c->st, path);
	}
	return r;
}

int
catalog_remove(struct catalog *c, enum desc_type type, const char *name)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	struct store_lock *disk;
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_lock_names(c, &names);
	if (r == 0)
		r = catalog_load(c, type, name, d, NULL, NULL);
	/* Whoever renames has the disk's lock first and waits for the names;
	 * we have the names and do not wait. */
	if (r == 0)
		r = catalog_lock_disk(c, &d->uuid, "", &disk);
	if (r < 0)
		return r;
	r = remove_descriptor(c, d);
	c->st->ops->unlock(disk, r == 0);
	return r;
}
