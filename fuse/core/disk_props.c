/*
 * disk_props.c - an attached disk's size, descriptor and counters.
 */
#include "kept_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

uint64_t
disk_size(struct disk *d)
{
	return atomic_load(&d->size);
}

/* A replacement that failed may be there all the same: the next commit puts
 * there what holds. */
static void
resave(struct disk *d)
{
	atomic_store(&d->size_dirty, true);
	commit_ask(d);
}

void
spare_later(struct disk *d)
{
	int64_t never = 0;

	atomic_compare_exchange_strong(&d->spare_since, &never, now_ms());
	pthread_mutex_lock(&d->mutex);
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->mutex);
}

void
spare_round(struct disk *d, bool now)
{
	int64_t since = atomic_load(&d->spare_since);
	int r;

	if (since == 0 || atomic_load(&d->failed) ||
	    (!now && now_ms() - since < (int64_t)d->e->commit_ms))
		return;
	pthread_mutex_lock(&d->size_lock);
	atomic_store(&d->spare_since, 0);
	r = catalog_keep_spare(d->e->cat, &d->desc, disk_top_dk(d));
	pthread_mutex_unlock(&d->size_lock);
	if (r < 0) {
		log_debug("disk %s: its descriptor's spare copy: %s",
			  d->desc.name, err_text(r));
		atomic_store(&d->spare_since, now_ms());
	}
}

void
disk_set_desc(struct disk *d, const struct descriptor *n)
{
	pthread_mutex_lock(&d->desc_lock);
	d->desc = *n;
	pthread_mutex_unlock(&d->desc_lock);
}

void
disk_set_desc_size(struct disk *d, uint64_t size)
{
	pthread_mutex_lock(&d->desc_lock);
	d->desc.size = size;
	pthread_mutex_unlock(&d->desc_lock);
}

int
disk_save_size(struct disk *d)
{
	int r = 0;

	if (!atomic_load(&d->size_dirty))
		return 0;
	pthread_mutex_lock(&d->size_lock);
	if (atomic_exchange(&d->size_dirty, false)) {
		disk_set_desc_size(d, atomic_load(&d->size));
		r = catalog_save_first(d->e->cat, &d->desc, d->top->dk);
		if (r < 0)
			atomic_store(&d->size_dirty, true);
		else
			spare_later(d);
	}
	pthread_mutex_unlock(&d->size_lock);
	return r;
}

bool
disk_session_lost(struct disk *d)
{
	CLEANUP(free_memp) struct descriptor *now = NULL;
	CLEANUP(free_memp) char *text = NULL;
	struct store *st = d->e->st;
	char path[STORE_PATH_LEN];
	bool lost = false;
	size_t len;

	/* Somebody of us is replacing it: the next commit will look. */
	if (pthread_mutex_trylock(&d->size_lock) != 0)
		return false;
	path_descriptor(DESC_DISK, NULL, d->desc.name, path);
	if (st->ops->load(st, path, META_MAX, &text, &len) < 0)
		goto out;
	/* Mostly it is what it was when it was last looked at, and not parsed.
	 */
	if (d->seen && strcmp(d->seen, text) == 0)
		goto out;
	now = malloc(sizeof(*now));
	if (!now || descriptor_parse(text, len, now) < 0)
		goto out;
	lost = uuid_equal(&now->uuid, &d->desc.uuid) &&
	       now->session != d->session;
	free(d->seen);
	d->seen = lost ? NULL : TAKE(text);
out:
	pthread_mutex_unlock(&d->size_lock);
	return lost;
}

/* With size_lock held: replace the descriptor by ${n} and keep it. */
static int
save(struct disk *d, const struct descriptor *n)
{
	int r = catalog_save(d->e->cat, n, d->top->dk);

	if (r == 0)
		disk_set_desc(d, n);
	else
		resave(d);
	return r;
}

static int
set_size(struct disk *d, uint64_t size)
{
	uint64_t old;
	int r;

	pthread_mutex_lock(&d->size_lock);
	old = d->desc.size;
	disk_set_desc_size(d, size);
	r = catalog_save(d->e->cat, &d->desc, d->top->dk);
	if (r < 0) {
		disk_set_desc_size(d, old);
		resave(d);
	} else {
		atomic_store(&d->size, size);
		if (d->slot)
			atomic_store(&d->slot->size, size);
		atomic_store(&d->size_dirty, false);
	}
	pthread_mutex_unlock(&d->size_lock);
	return r;
}

/* The parents are asked below the smallest size that the disk ever had.  A
 * snapshot or a merge changes layer.ini under the barrier, too. */
static int
lower_parent_limit(struct disk *d, uint64_t size)
{
	struct layer_meta m;
	struct layer *l;
	int r = 0;

	pthread_rwlock_wrlock(&d->barrier);
	l = d->top;
	m = l->meta;
	if (m.has_parent && size < l->parent_limit) {
		m.parent_limit = l->parent_limit = size;
		r = layer_save_meta(l, &m);
	}
	pthread_rwlock_unlock(&d->barrier);
	return r;
}

static int
shrink(struct disk *d, struct scratch *s, uint64_t size)
{
	int r;

	r = disk_zero(d, s, size, atomic_load(&d->size) - size);
	if (r == 0)
		r = lower_parent_limit(d, size);
	if (r == 0)
		r = commit_wait(d);
	return r;
}

int
disk_resize(struct disk *d, struct scratch *s, uint64_t size)
{
	uint64_t old = atomic_load(&d->size);
	int r = 0;

	if (size > DISK_SIZE_MAX)
		return -EFBIG;
	if (size % 512)
		return -EINVAL;
	if (d->read_only || atomic_load(&d->failed))
		return -EROFS;
	if (size < old)
		r = shrink(d, s, size);
	if (r == 0 && size != old)
		r = set_size(d, size);
	return r;
}

/* ${d} may have grown since its descriptor was replaced. */
static void
current(struct disk *d, struct descriptor *ret)
{
	int64_t blocks = atomic_load(&d->allocated);

	*ret = d->desc;
	ret->size = atomic_load(&d->size);
	ret->allocated = blocks > 0 ? (uint64_t)blocks * BLOCK_SIZE : 0;
}

void
disk_descriptor(struct disk *d, struct descriptor *ret)
{
	pthread_mutex_lock(&d->desc_lock);
	current(d, ret);
	pthread_mutex_unlock(&d->desc_lock);
}

int
disk_update(struct disk *d, int (*fn)(struct descriptor *desc, void *arg),
	    void *arg)
{
	struct descriptor *n = malloc(sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	pthread_mutex_lock(&d->size_lock);
	current(d, n);
	r = fn(n, arg);
	if (r == 0)
		r = save(d, n);
	pthread_mutex_unlock(&d->size_lock);
	free(n);
	return r;
}

int
disk_rename(struct disk *d, const char *to)
{
	struct descriptor *n = malloc(sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	/* A snapshot that is just being taken must not come to lie under a
	 * name that is the disk's no more. */
	pthread_mutex_lock(&d->snapshots);
	pthread_mutex_lock(&d->size_lock);
	current(d, n);
	r = catalog_rename(d->e->cat, n, d->top->dk, to);
	if (r == 0)
		disk_set_desc(d, n);
	pthread_mutex_unlock(&d->size_lock);
	pthread_mutex_unlock(&d->snapshots);
	free(n);
	return r;
}

int64_t
disk_commit_ms(struct disk *d)
{
	int64_t since = atomic_load(&d->commit_since);

	return since ? now_ms() - since : 0;
}

void
disk_stats(struct disk *d, struct disk_stats *ret)
{
	int64_t blocks = atomic_load(&d->allocated);

	memset(ret, 0, sizeof(*ret));
	ret->commit_ms = (uint64_t)disk_commit_ms(d);
	ret->reads = atomic_load(&d->reads);
	ret->read_bytes = atomic_load(&d->read_bytes);
	ret->writes = atomic_load(&d->writes);
	ret->write_bytes = atomic_load(&d->write_bytes);
	ret->zeros = atomic_load(&d->zeros);
	ret->flushes = atomic_load(&d->flushes);
	ret->commits = atomic_load(&d->commits);
	ret->commit_errors = atomic_load(&d->commit_errors);
	ret->faults = atomic_load(&d->faults);
	ret->repairs = atomic_load(&d->repairs);
	ret->allocated = blocks > 0 ? (uint64_t)blocks * BLOCK_SIZE : 0;
	ret->failed = atomic_load(&d->failed);
	ret->resumed = atomic_load(&d->resumed);
	ret->unclean = d->drop_cache;
	ret->older = d->rolled_back;
	ret->chunks_open = atomic_load(&d->e->cache.open_files);
	pthread_mutex_lock(&d->mutex);
	ret->dirty_groups = d->n_dirty;
	pthread_mutex_unlock(&d->mutex);
}
