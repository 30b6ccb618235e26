/*
 * disk.c - a disk attached and detached (format.md, "Attach, crash, recovery").
 *
 * Attach: the lock, one KMS Decrypt, the descriptor verified, session + 1 and
 * `clean` cleared durably, then the layers.  After an unclean stop all that is
 * in the page cache is made durable first, and in that session every file is
 * dropped from the cache when it is first opened: after a failed sync the cache
 * holds what the medium does not.  What it has left is looked at in the
 * background, page by page; until that is done the disk stays unclean.
 *
 * Detach: commit, mirror, sync, `clean` set, and nothing secret left.
 */
#include "engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "kept_private.h"

static void
cond_init(pthread_cond_t *c)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(c, &a);
	pthread_condattr_destroy(&a);
}

static struct disk *
disk_new(struct engine *e)
{
	struct disk *d = calloc(1, sizeof(*d));
	struct link *lists[7];

	if (!d)
		return NULL;
	d->e = e;
	lists[0] = &d->dirty;
	lists[1] = &d->dirty_map;
	lists[2] = &d->dirty_root;
	lists[3] = &d->quiet;
	lists[4] = &d->keep;
	lists[5] = &d->unsynced;
	lists[6] = &d->dead;
	for (unsigned i = 0; i < 7; i++)
		link_init(lists[i]);
	link_init(&d->all);
	pthread_mutex_init(&d->snapshots, NULL);
	pthread_mutex_init(&d->size_lock, NULL);
	pthread_mutex_init(&d->desc_lock, NULL);
	pthread_mutex_init(&d->layers_lock, NULL);
	cache_lock_init(&d->barrier);
	pthread_mutex_init(&d->mutex, NULL);
	cond_init(&d->wake);
	cond_init(&d->committed);
	/* From 1 on, so that a death before the first commit has a number. */
	d->seq = d->done_seq = 1;
	return d;
}

/* Release all that an attach took; nothing is written. */
static void
disk_free(struct disk *d)
{
	struct engine *e = d->e;

	pthread_mutex_lock(&e->mutex);
	link_remove(&d->all);
	pthread_mutex_unlock(&e->mutex);
	dirty_drop(d);
	cache_forget(&e->cache, d);
	for (unsigned i = 1; i <= d->n_layers; i++)
		layer_close(d->layers[i]);
	free(d->layers);
	disk_free_dks(d);
	scratch_free(d->bg);
	scratch_free(d->mover);
	commit_free(d->commit);
	free(d->seen);
	replay_free(d->replay);
	store_unlock(d->lock);
	kept_release(d);
	pthread_mutex_destroy(&d->snapshots);
	pthread_mutex_destroy(&d->size_lock);
	pthread_mutex_destroy(&d->desc_lock);
	pthread_mutex_destroy(&d->layers_lock);
	pthread_rwlock_destroy(&d->barrier);
	pthread_mutex_destroy(&d->mutex);
	pthread_cond_destroy(&d->wake);
	pthread_cond_destroy(&d->committed);
	free(d);
}

/* ---- attach ---- */

/* The descriptor as it is under the lock; ${name} may have passed to another
 * disk while we waited for it. */
static int
lock_and_load(struct disk *d, enum desc_type type, const char *name,
	      char **ret_text, size_t *ret_len)
{
	struct catalog *cat = d->e->cat;
	struct descriptor *first = calloc(1, sizeof(*first));
	int r;

	if (!first)
		return -ENOMEM;
	r = catalog_load(cat, type, name, first, NULL, NULL);
	if (r == 0 && type == DESC_DISK)
		r = catalog_lock_disk(cat, &first->uuid,
				      d->brief ? "" : d->e->mount_point,
				      &d->lock);
	else if (r == 0)
		r = catalog_share_disk(cat, &first->uuid, &d->lock);
	if (r == 0)
		r = catalog_load(cat, type, name, &d->desc, ret_text, ret_len);
	if (r == 0 && !uuid_equal(&first->uuid, &d->desc.uuid))
		r = -EBUSY;
	free(first);
	return r;
}

/* One Decrypt a DK; a disk that was not cloned with a key of its own has one.
 */
static int
unwrap_dks(struct disk *d)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->desc.n_keys; i++) {
		r = kms_decrypt(d->e->kms, &d->desc.keys[i].dk, &dk);
		if (r == 0)
			r = disk_add_dk(d, &d->desc.keys[i].uuid, &dk);
	}
	return r;
}

static int
authenticate(struct disk *d, enum desc_type type, const char *name)
{
	CLEANUP(free_memp) char *text = NULL;
	size_t len = 0;
	int r;

	r = lock_and_load(d, type, name, &text, &len);
	if (r == 0)
		r = unwrap_dks(d);
	if (r < 0)
		return r;
	if (!disk_top_dk(d))
		return -EUCLEAN;
	r = descriptor_verify(text, len, &d->desc.uuid, disk_top_dk(d));
	if (r == -EBADMSG)
		fault_log(d, "its descriptor does not verify");
	return r < 0 ? r : disk_prove_dks(d);
}

static int
begin_session(struct disk *d)
{
	int r = 0;

	d->drop_cache = !d->desc.clean;
	if (d->drop_cache)
		r = d->e->st->ops->sync_all(d->e->st);
	if (r < 0) {
		engine_fail(d->e, r);
		return r;
	}
	d->session = d->desc.session;
	atomic_store(&d->size, d->desc.size);
	atomic_store(&d->allocated, (int64_t)(d->desc.allocated / BLOCK_SIZE));
	/* Looked at so often it would come to be as new as what is missing. */
	if (d->rolled_back)
		return 0;
	d->session = ++d->desc.session;
	d->desc.clean = false;
	return catalog_save(d->e->cat, &d->desc, disk_top_dk(d));
}

/* A crash between the steps of a snapshot leaves a disk on a layer that is
 * frozen: it gets a new one above it. */
static int
put_new_top(struct disk *d)
{
	CLEANUP(lineages_unlock) struct lineage_locks locks = { .n = 0 };
	struct layer *l;
	int r;

	r = lineages_share(d->e->cat, &d->desc, &locks);
	if (r == 0)
		r = snapshot_new_top(d, NULL, &l);
	if (r < 0)
		return r;
	/* Somebody else may seal it. */
	atomic_store(&d->top->held, false);
	d->desc.layer = l->ref;
	checkpoint_clear(&d->desc);
	d->top = l;
	return catalog_save(d->e->cat, &d->desc, disk_top_dk(d));
}

/* A layer that is no longer on top was, in the session that was cut off. */
static int
clean_todos(struct disk *d)
{
	struct layer *l = d->top;
	int r;

	r = layer_clean_todo(l, d->bg);
	while (r == 0 && d->drop_cache && l->meta.has_parent) {
		r = layer_parent(l, d->bg, &l);
		if (r == 0)
			r = layer_open_todo(l);
		if (r < 0 || l->todo_len == 0)
			break;
		r = layer_clean_todo(l, d->bg);
	}
	return r;
}

static int
open_frozen(struct disk *d)
{
	struct layer *l;
	int r;

	r = layer_open(d, &d->desc.layer, d->desc.digest, &l);
	if (r < 0)
		return r;
	d->top = l;
	if (layer_is_frozen(l))
		return layer_load_roots(l, d->bg);
	fault_log(d, "its layer is not frozen");
	return -EUCLEAN;
}

/* ${known} is of the last checkpoint, or NULL. */
static int
open_layers(struct disk *d, int flags, struct digests **known, bool tracked)
{
	struct layer *l;
	int r;

	r = layer_open(d, &d->desc.layer, NULL, &l);
	if (r < 0)
		return r;
	d->top = l;
	r = checkpoint_begin(l, TAKE(*known), tracked);
	/* One that is only looked at nobody writes to. */
	if (r == 0 && layer_is_frozen(l) && !d->rolled_back)
		r = put_new_top(d);
	if (r == 0)
		r = layer_load_roots(d->top, d->bg);
	if (r == -EBADMSG && atomic_load(&l->older)) {
		r = checkpoint_older(l, flags);
		if (r == 0)
			r = layer_load_roots(l, d->bg);
	}
	if (r == 0)
		r = layer_open_todo(d->top);
	/* A crash may have come between the two; older stores have none. */
	if (r == 0 && !(flags & DISK_READ_ONLY) && !d->rolled_back &&
	    !d->top->meta.read_only)
		layer_save_spare(d->top);
	/* Its files are of this very session, and may be in use: see detach. */
	return r == 0 && !d->gone_on ? clean_todos(d) : r;
}

int
disk_open_top(struct disk *d, int flags)
{
	CLEANUP(digests_freep) struct digests *known = NULL;
	int r = checkpoint_verify(d, flags, &known);

	return r == 0 ? open_layers(d, flags, &known, false) : r;
}

/* Nobody writes to it, so that there is no session. */
int
disk_open_frozen(struct disk *d)
{
	d->session = d->desc.session;
	atomic_store(&d->size, d->desc.size);
	atomic_store(&d->allocated, (int64_t)(d->desc.allocated / BLOCK_SIZE));
	return open_frozen(d);
}

static int
begin_disk(struct disk *d, int flags)
{
	CLEANUP(digests_freep) struct digests *known = NULL;
	bool tracked;
	int r;

	r = anchor_check(d, flags);
	if (r == 0 && !(flags & DISK_ACCEPT_ROLLBACK) &&
	    catalog_spare_is_ahead(d->e->cat, &d->desc))
		r = checkpoint_rolled_back(d, flags,
					   "its descriptor is of before a "
					   "snapshot, its spare copy is not");
	if (r == 0)
		r = checkpoint_verify(d, flags, &known);
	/* All that was written has its digest, as a clean end says. */
	tracked = d->desc.digest_session == d->desc.session;
	if (r == 0)
		r = begin_session(d);
	if (r == 0 && (flags & DISK_ACCEPT_ROLLBACK))
		anchor_force(d->e->kms, &d->desc);
	return r == 0 ? open_layers(d, flags, &known, tracked) : r;
}

static int
attach(struct disk *d, enum desc_type type, const char *name, int flags)
{
	int r;

	r = authenticate(d, type, name);
	if (r == 0)
		r = scratch_new(&d->bg);
	if (r == 0)
		r = commit_new(&d->commit);
	if (r == 0)
		r = scratch_new(&d->mover);
	if (r == 0 && type == DESC_DISK)
		r = begin_disk(d, flags);
	else if (r == 0)
		r = disk_open_frozen(d);
	/* Loading pages must not keep plaintext of settled blocks. */
	if (r == 0)
		scratch_wipe(d->bg);
	return r;
}

/* ${r}: what came of the attach. */
static int
begin_work(struct disk *d, int flags, int r)
{
	d->read_only =
	    (flags & DISK_READ_ONLY) || d->rolled_back || d->desc.read_only ||
	    (d->top && d->top->meta.read_only) || d->desc.type != DESC_DISK;
	if (r == 0 && !d->slot)
		r = kept_claim(d);
	if (r == 0 && d->desc.type == DESC_DISK && !d->e->manual)
		r = quiet_start(d);
	return r;
}

static void
list(struct engine *e, struct disk *d)
{
	pthread_mutex_lock(&e->mutex);
	link_append(&e->disks, &d->all);
	pthread_mutex_unlock(&e->mutex);
}

/* From here on the merger may use it, too. */
static void
show(struct engine *e, struct disk *d)
{
	pthread_mutex_lock(&e->mutex);
	d->attached = true;
	pthread_mutex_unlock(&e->mutex);
}

/* No longer; and whoever does has finished. */
static void
hide(struct engine *e, struct disk *d)
{
	pthread_mutex_lock(&e->mutex);
	d->attached = false;
	while (d->holds > 0)
		pthread_cond_wait(&e->released, &e->mutex);
	pthread_mutex_unlock(&e->mutex);
}

/* ${r} as of an attach: it is attached, or is no more. */
static int
finish(struct disk *d, int r, struct disk **ret)
{
	if (r < 0) {
		disk_free(d);
		return r;
	}
	show(d->e, d);
	/* Without it the disk can be used all the same. */
	r = reencrypt_start(d);
	if (r < 0)
		log_error("disk %s: reencrypt: %s", d->desc.name, err_text(r));
	*ret = d;
	return 0;
}

int
disk_attach(struct engine *e, enum desc_type type, const char *name, int flags,
	    struct disk **ret)
{
	struct disk *d = disk_new(e);
	int r;

	if (!d)
		return -ENOMEM;
	list(e, d);
	d->brief = flags & DISK_BRIEF;
	r = begin_work(d, flags, attach(d, type, name, flags));
	return finish(d, r, ret);
}

int
disk_resume(struct engine *e, unsigned slot, const char *name, int lock_fd,
	    struct disk **ret)
{
	struct disk *d = disk_new(e);
	int flags, r;

	if (!d) {
		if (lock_fd >= 0)
			(void)close(lock_fd);
		return -ENOMEM;
	}
	list(e, d);
	flags = e->kept->disks[slot].read_only ? DISK_READ_ONLY : 0;
	r = begin_work(d, flags, disk_go_on(d, slot, name, lock_fd));
	if (r < 0) {
		/* They are the caller's. */
		kept_use(d, NULL);
		if (d->lock && e->st->ops->lock_leave)
			e->st->ops->lock_leave(TAKE(d->lock));
	}
	r = finish(d, r, ret);
	if (r == 0 && (*ret)->unsettled)
		commit_ask(*ret);
	return r;
}

void
disk_drop_lock(struct engine *e, int lock_fd)
{
	if (e->st->ops->lock_drop)
		e->st->ops->lock_drop(lock_fd);
	else
		(void)close(lock_fd);
}

/* Nobody knows how the last one that had it on top ended. */
static int
open_at(struct disk *d, const struct layer_ref *ref)
{
	struct layer *l;
	int r;

	d->drop_cache = true;
	d->nameless = true;
	r = scratch_new(&d->bg);
	if (r == 0)
		r = scratch_new(&d->mover);
	if (r == 0)
		r = commit_new(&d->commit);
	if (r == 0)
		r = layer_open(d, ref, NULL, &l);
	/* It may be changed: what it was is not held against it. */
	if (r == 0)
		r = checkpoint_begin(l, NULL, false);
	if (r < 0)
		return r;
	d->desc.layer = *ref;
	atomic_store(&d->size, DISK_SIZE_MAX);
	atomic_store(&l->frozen, false);
	d->top = l;
	return layer_load_roots(l, d->bg);
}

static int
load_keys(struct disk *d, const struct seen *by)
{
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	int r;

	r = catalog_load(d->e->cat, by->type, by->name, &d->desc, &text, &len);
	if (r == 0 && (!uuid_equal(&d->desc.uuid, &by->uuid) ||
		       !uuid_equal(&d->desc.layer.layer, &by->layer.layer)))
		r = -EAGAIN;
	if (r == 0)
		r = unwrap_dks(d);
	if (r == 0 && !disk_top_dk(d))
		r = -EUCLEAN;
	return r < 0 ? r
		     : descriptor_verify(text, len, &d->desc.uuid,
					 disk_top_dk(d));
}

int
disk_open_layer(struct engine *e, const struct seen *by,
		const struct layer_ref *ref, struct disk **ret)
{
	struct disk *d = disk_new(e);
	int r;

	if (!d)
		return -ENOMEM;
	list(e, d);
	r = load_keys(d, by);
	if (r == 0)
		r = open_at(d, ref);
	if (r < 0)
		disk_free(d);
	else
		*ret = d;
	return r;
}

int
disk_open_layer_of(struct disk *from, const struct layer_ref *ref,
		   struct disk **ret)
{
	struct disk *d = disk_new(from->e);
	int r;

	if (!d)
		return -ENOMEM;
	list(from->e, d);
	disk_descriptor(from, &d->desc);
	r = disk_copy_dks(d, from);
	if (r == 0)
		r = open_at(d, ref);
	if (r < 0)
		disk_free(d);
	else
		*ret = d;
	return r;
}

/* ---- detach ---- */

static int
mark_clean(struct disk *d, bool checkpoint)
{
	int64_t blocks = atomic_load(&d->allocated);
	int r;

	if (checkpoint && (r = checkpoint_take(d, &d->desc)) < 0)
		log_warn("disk %s: no checkpoint: %s", d->desc.name,
			 err_text(r));
	d->desc.clean = true;
	d->desc.allocated = blocks > 0 ? (uint64_t)blocks * BLOCK_SIZE : 0;
	r = catalog_save(d->e->cat, &d->desc, disk_top_dk(d));
	/* Only then: it must not know of what is not there. */
	if (r == 0)
		anchor_tell(d->e->kms, &d->desc);
	return r;
}

/* A chunk that died while a commit ran waits for the next. */
static int
bury_all(struct disk *d)
{
	int r = 0;

	quiet_round(d, true);
	if (!link_empty(&d->dead))
		r = commit_for_room(d);
	if (r == 0)
		quiet_round(d, true);
	/* At rest the copies of a page are equal. */
	return r == 0 && !link_empty(&d->quiet) ? -EIO : r;
}

/* What the mirrors wrote. */
static int
sync_mirrors(struct disk *d)
{
	int r = 0;

	if (!link_empty(&d->unsynced))
		r = commit_for_room(d);
	if (r == 0)
		r = d->top->map->st->ops->sync(d->top->map);
	return r;
}

static int
detach(struct disk *d)
{
	bool checkpoint;
	int r;

	r = commit_wait(d);
	if (r == 0)
		r = bury_all(d);
	/* It changes the map. */
	checkpoint = r == 0 && checkpoint_refresh(d) == 0;
	if (r == 0)
		r = commit_wait(d);
	if (r == 0)
		r = bury_all(d);
	if (r == 0)
		r = sync_mirrors(d);
	/* Of the process that died, too, all is known by now. */
	if (r == 0 && d->gone_on)
		r = clean_todos(d);
	/* Layers that have been on top in this session. */
	for (unsigned i = 1; r == 0 && i <= d->n_layers; i++) {
		struct layer *l = d->layers[i];

		if (l && l->todo && link_empty(&d->dead))
			(void)!l->todo->st->ops->truncate(l->todo, 0);
	}
	/* What a crash has left may differ by its copies for all we know: it is
	 * for the next attach to go on with that. */
	if (r == 0 && !d->rolled_back && !atomic_load(&d->top->at_rest))
		log_note("disk %s: not all that an unclean stop has left has "
			 "been looked at: it is left as unclean",
			 d->desc.name);
	else if (r == 0 && !d->rolled_back)
		r = mark_clean(d, checkpoint);
	return r;
}

int
disk_detach(struct disk *d)
{
	int r;

	reencrypt_stop(d);
	hide(d->e, d);
	quiet_stop(d);
	r = d->desc.type == DESC_DISK ? detach(d) : 0;
	if (r < 0)
		log_error("disk %s: detached without a clean end: %s",
			  d->desc.name, err_text(r));
	disk_free(d);
	return r;
}

void
disk_abandon(struct disk *d)
{
	reencrypt_stop(d);
	hide(d->e, d);
	if (!d->nameless)
		(void)disk_fail(d, -EIO, "given up");
	quiet_stop(d);
	disk_free(d);
}

void
disk_die(struct disk *d)
{
	kept_use(d, NULL);
	disk_abandon(d);
}

int
disk_background(struct disk *d)
{
	int r = commit_wait(d);

	spare_round(d, true);
	quiet_round(d, false);
	return r;
}
