/*
 * dirty.c - what is to be committed, and disks for which nothing is any more.
 *
 * A page that has changed is on one of its disk's three lists, which hold a
 * reference to it, until a commit takes it from there.  So long it cannot leave
 * the cache: it is pinned, and when too many are, writers wait.
 */
#include "commit_private.h"

#include <errno.h>
#include <time.h>

#include <sealdisk/log.h>

/* A commit is begun in the background when this much was written... */
#define DIRTY_BYTES_MAX (64ULL << 20)
/* ...or this part of all pages is dirty; at half of them, writers wait. */
#define DIRTY_PAGES_PART 4

int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The pages of a disk that failed stay dirty until it is detached; what they
 * take must not hold up the others for ever. */
void
dirty_pin(struct disk *d)
{
	atomic_fetch_add(&d->pinned, 1);
	if (!atomic_load(&d->failed))
		atomic_fetch_add(&d->e->cache.pinned, 1);
}

void
dirty_unpin(struct disk *d)
{
	atomic_fetch_sub(&d->pinned, 1);
	if (!atomic_load(&d->failed))
		atomic_fetch_sub(&d->e->cache.pinned, 1);
}

static struct link *
list_of(struct disk *d, const struct page *p)
{
	return p->kind == PAGE_GROUP ? &d->dirty
	       : p->kind == PAGE_MAP ? &d->dirty_map
				     : &d->dirty_root;
}

void
dirty_list(struct disk *d, struct page *p)
{
	link_append(list_of(d, p), &p->dirty_link);
	if (p->kind == PAGE_GROUP)
		d->n_dirty++;
	else
		d->n_dirty_map++;
	if (d->dirty_since == 0) {
		d->dirty_since = now_ms();
		pthread_cond_signal(&d->wake);
	}
	if (cache_crowded(&d->e->cache, DIRTY_PAGES_PART) &&
	    !d->commit_wanted) {
		d->commit_wanted = true;
		pthread_cond_signal(&d->wake);
	}
}

void
page_dirty(struct page *p, uint64_t bytes)
{
	struct disk *d = p->disk;
	uint64_t sum = atomic_fetch_add(&d->dirty_bytes, bytes) + bytes;

	p->touched = now_ms();
	if (!atomic_load(&p->dirty)) {
		if (p->kind == PAGE_GROUP)
			checkpoint_changed(p->layer, p->index / CHUNK_GROUPS);
		pthread_mutex_lock(&d->mutex);
		atomic_store(&p->dirty, true);
		atomic_fetch_add(&p->refs, 1);
		dirty_pin(d);
		dirty_list(d, p);
		pthread_mutex_unlock(&d->mutex);
	}
	if (sum >= DIRTY_BYTES_MAX && sum - bytes < DIRTY_BYTES_MAX)
		commit_ask(d);
}

bool
disk_is_dirty(struct disk *d)
{
	return atomic_load(&d->unsettled) || atomic_load(&d->replaying) ||
	       !link_empty(&d->dirty) || !link_empty(&d->dirty_map) ||
	       !link_empty(&d->dirty_root) || atomic_load(&d->size_dirty);
}

/* ---- a sync has failed ---- */

/* With the mutex held.  Nobody is going to sync them: others may want their
 * descriptors. */
static void
drop_unsynced(struct disk *d)
{
	while (!link_empty(&d->unsynced)) {
		struct chunk *c =
		    LINK_OWNER(d->unsynced.next, struct chunk, sync_link);

		link_remove(&c->sync_link);
		atomic_store(&c->unsynced, false);
		chunk_put(c);
	}
}

/* With the mutex held: no commit from here on. */
static bool
begin_to_fail(struct disk *d)
{
	if (atomic_exchange(&d->failed, true))
		return false;
	if (d->slot)
		atomic_store(&d->slot->failed, 1);
	atomic_fetch_sub(&d->e->cache.pinned, atomic_load(&d->pinned));
	drop_unsynced(d);
	return true;
}

int
disk_fail(struct disk *d, int err, const char *what)
{
	pthread_mutex_lock(&d->mutex);
	if (begin_to_fail(d)) {
		log_error("disk %s: %s: %s; the disk is read-only until it is "
			  "attached again",
			  d->desc.name, what, err_text(err));
	}
	pthread_mutex_unlock(&d->mutex);
	return -EIO;
}

void
engine_fail(struct engine *e, int err)
{
	pthread_mutex_lock(&e->mutex);
	for (struct link *l = e->disks.next; l != &e->disks; l = l->next)
		(void)disk_fail(LINK_OWNER(l, struct disk, all), err,
				"the store cannot be synced");
	pthread_mutex_unlock(&e->mutex);
}

void
dirty_drop(struct disk *d)
{
	struct link *lists[] = { &d->dirty, &d->dirty_map, &d->dirty_root };

	/* Another disk may be evicting a page of ours just now, and mirror it
	 * before: nothing may come onto the lists after that. */
	pthread_mutex_lock(&d->mutex);
	(void)begin_to_fail(d);
	pthread_mutex_unlock(&d->mutex);
	for (unsigned i = 0; i < 3; i++)
		while (!link_empty(lists[i])) {
			struct page *p =
			    LINK_OWNER(lists[i]->next, struct page, dirty_link);

			link_remove(&p->dirty_link);
			atomic_store(&p->dirty, false);
			dirty_unpin(d);
			page_put(p);
		}
	while (!link_empty(&d->dead)) {
		struct chunk *c =
		    LINK_OWNER(d->dead.next, struct chunk, dead_link);

		link_remove(&c->dead_link);
		chunk_put(c);
	}
}
