/*
 * commit.c - what was written becomes durable (format.md, "Commit").
 *
 * A commit has a cut: what was written before it is in, what comes later waits
 * for the next.  The order of the cut is root pages, then map pages, then
 * groups; the order in which they become durable is the reverse.  So an image
 * of a root page names only map pages whose images were taken after it, and an
 * image of a map page names only chunks whose files are synced before it is
 * written: what is durable always names something that is durable.
 *
 * Images of groups go straight to their homes, those of map and root pages are
 * kept until the chunks are synced.  Until the commit has ended, the slots that
 * an image names are taken (`infl`), and so are those of the last durable page
 * (`prot`).
 *
 * A commit that fails before its sync (no space) leaves everything dirty and
 * those slots taken; the next one tries again with the same generation.  A sync
 * that fails is final: nobody can tell what reached the medium, so the disk is
 * read-only until it is attached again.
 */
#include "commit_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/grow.h>

#include "planted.h"

/* Files up to this many are synced one by one, more of them by one syncfs. */
#define SYNC_HANDFUL 4

struct image {
	struct page *page;
	uint8_t raw[PAGE_LEN];
};

struct commit {
	struct image *images; /* of map and root pages */
	unsigned n_images, n_roots;
	size_t cap_images;
	struct link pages; /* all pages in it, by commit_link */
	struct link syncs; /* chunks to be synced */
	unsigned n_syncs;
	bool maps_synced; /* the images of map pages are durable */
	uint64_t seq;
};

int
commit_new(struct commit **ret)
{
	struct commit *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	link_init(&c->pages);
	link_init(&c->syncs);
	*ret = c;
	return 0;
}

void
commit_free(struct commit *c)
{
	if (c)
		free(c->images);
	free(c);
}

/* ---- the cut ---- */

/* A page that is frozen may be of a later session than the merger's, which has
 * none. */
static uint64_t
next_session(const struct page *p)
{
	uint64_t session = p->disk->session;

	return p->session > session ? p->session : session;
}

static int
encode_image(struct page *p, uint8_t raw[static PAGE_LEN])
{
	struct page_head h = { p->kind,         p->index,  p->generation + 1,
			       next_session(p), p->cipher, p->seals };
	struct store_file *f;
	const uint8_t *key;
	uint64_t base;
	int r;

	r = page_home_of(p, &key, &f, &base);
	if (r == 0)
		r = page_encode(&h, &p->body, key, raw);
	if (r == 0)
		memcpy(p->next_mac, raw + PAGE_MAC, sizeof(p->next_mac));
	return r;
}

/* From dirty to under way; the page's lock is held. */
static void
begin_page(struct commit *c, struct page *p)
{
	struct disk *d = p->disk;

	p->infl = p->used;
	atomic_store(&p->inflight, true);
	pthread_mutex_lock(&d->mutex);
	atomic_store(&p->dirty, false);
	link_remove(&p->dirty_link);
	link_append(&c->pages, &p->commit_link);
	pthread_mutex_unlock(&d->mutex);
}

static struct image *
next_image(struct commit *c)
{
	struct image *p;

	p = grow(c->images, c->n_images, &c->cap_images, sizeof(*p));
	if (!p)
		return NULL;
	c->images = p;
	return &p[c->n_images];
}

/* Take what is dirty from ${list} for this commit alone. */
static void
take_list(struct disk *d, struct link *list, struct link *ret)
{
	pthread_mutex_lock(&d->mutex);
	link_move(list, ret);
	if (list == &d->dirty)
		d->n_dirty = 0;
	else
		d->n_dirty_map = 0;
	pthread_mutex_unlock(&d->mutex);
}

/* Put back what was taken and not begun. */
static void
untake(struct disk *d, struct link *taken)
{
	pthread_mutex_lock(&d->mutex);
	while (!link_empty(taken)) {
		struct page *p =
		    LINK_OWNER(taken->next, struct page, dirty_link);

		link_remove(&p->dirty_link);
		dirty_list(d, p);
	}
	pthread_mutex_unlock(&d->mutex);
}

static int
image_list(struct disk *d, struct commit *c, struct link *list)
{
	struct link taken;
	int r = 0;

	take_list(d, list, &taken);
	while (r == 0 && !link_empty(&taken)) {
		struct page *p =
		    LINK_OWNER(taken.next, struct page, dirty_link);
		struct image *im = next_image(c);

		if (!im) {
			r = -ENOMEM;
			break;
		}
		pthread_rwlock_rdlock(&p->lock);
		r = encode_image(p, im->raw);
		if (r == 0) {
			begin_page(c, p);
			im->page = p;
			c->n_images++;
		}
		pthread_rwlock_unlock(&p->lock);
	}
	untake(d, &taken);
	return r;
}

/* Write the image of a group to its home. */
static int
write_group(struct commit *c, struct page *p)
{
	uint8_t raw[PAGE_LEN];
	int r;

	pthread_rwlock_rdlock(&p->chunk->lock);
	pthread_rwlock_rdlock(&p->lock);
	r = encode_image(p, raw);
	if (r == 0)
		begin_page(c, p);
	pthread_rwlock_unlock(&p->lock);
	/* Of a chunk that died before the cut no map will know. */
	if (r == 0 && !(p->chunk->dead && p->chunk->dead_seq < c->seq))
		r = page_write_copy(p,
				    PLANTED(PAGE_OVER_NEWEST)
					? page_home(p->generation)
					: page_home(p->generation + 1),
				    raw, false);
	if (r == 0)
		chunk_touch(p->chunk);
	pthread_rwlock_unlock(&p->chunk->lock);
	return r;
}

static int
write_groups(struct disk *d, struct commit *c)
{
	struct link taken;
	int r = 0;

	take_list(d, &d->dirty, &taken);
	while (r == 0 && !link_empty(&taken))
		r = write_group(c, LINK_OWNER(taken.next, struct page,
					      dirty_link));
	untake(d, &taken);
	return r;
}

/* ---- durable ---- */

static void
take_syncs(struct disk *d, struct commit *c)
{
	pthread_mutex_lock(&d->mutex);
	link_move(&d->unsynced, &c->syncs);
	c->n_syncs = 0;
	for (struct link *l = c->syncs.next; l != &c->syncs; l = l->next)
		c->n_syncs++;
	pthread_mutex_unlock(&d->mutex);
}

/*
 * A chunk leaves the list before it is synced: what is written to it from here
 * on puts it onto the list again.
 */
static void
unlist(struct disk *d, struct chunk *c)
{
	pthread_mutex_lock(&d->mutex);
	link_remove(&c->sync_link);
	atomic_store(&c->unsynced, false);
	pthread_mutex_unlock(&d->mutex);
}

/* Its file stays open while we hold its lock, or its error could be lost. */
static int
sync_one(struct disk *d, struct chunk *c)
{
	int r;

	pthread_rwlock_rdlock(&c->lock);
	unlist(d, c);
	r = chunk_sync(c);
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return r;
}

/* Here files may be closed before: an error of one of them is an error of the
 * file system, too, and that is told to us. */
static int
sync_store(struct disk *d, struct commit *c)
{
	int r;

	while (!link_empty(&c->syncs)) {
		struct chunk *ch =
		    LINK_OWNER(c->syncs.next, struct chunk, sync_link);

		unlist(d, ch);
		ch->is_new = false;
		chunk_put(ch);
	}
	r = d->e->st->ops->sync_all(d->e->st);
	if (r < 0)
		engine_fail(d->e, r);
	return r;
}

static int
sync_chunks(struct disk *d, struct commit *c)
{
	int r = 0;

	take_syncs(d, c);
	if (!d->e->meta.commit_files && c->n_syncs > SYNC_HANDFUL)
		return sync_store(d, c);
	while (!link_empty(&c->syncs)) {
		int e = sync_one(d, LINK_OWNER(c->syncs.next, struct chunk,
					       sync_link));

		if (r == 0)
			r = e;
	}
	return r;
}

static int
write_image(struct image *im)
{
	struct page *p = im->page;
	int r;

	r = page_write_copy(p, page_home(p->generation + 1), im->raw, false);
	/* A new map page has both copies from the start. */
	if (r == 0 && p->fresh)
		r = page_write_copy(p, !page_home(p->generation + 1), im->raw,
				    false);
	return r;
}

/* Map pages first, then the root pages that name new ones.  Roots were imaged
 * first, so they stand first. */
static int
write_maps(struct disk *d, struct commit *c, int *ret_sync)
{
	struct store_file *f = d->top->map;
	int r = 0;

	*ret_sync = 0;
	for (unsigned i = c->n_roots; r == 0 && i < c->n_images; i++)
		r = write_image(&c->images[i]);
	if (r == 0 && c->n_images > c->n_roots)
		r = *ret_sync = f->st->ops->sync(f);
	c->maps_synced = r == 0;
	for (unsigned i = 0; r == 0 && i < c->n_roots; i++)
		r = write_image(&c->images[i]);
	if (r == 0 && c->n_roots > 0)
		r = *ret_sync = f->st->ops->sync(f);
	return r;
}

/* ---- the end ---- */

static void
end_page(struct page *p, bool good, bool maps_synced)
{
	struct disk *d = p->disk;

	pthread_rwlock_wrlock(&p->lock);
	if (good || (p->fresh && maps_synced)) {
		/* A new map page is there in any case, and its root page may
		 * come to name it: no more writing to both copies at once. */
		p->generation++;
		p->session = next_session(p);
		memcpy(p->mac, p->next_mac, sizeof(p->mac));
		checkpoint_committed(p);
		atomic_store(&p->same, p->fresh);
		p->fresh = false;
		p->drop_older = false;
		p->prot = p->infl;
	} else {
		/* The image may yet reach the medium. */
		slots_or(&p->prot, &p->infl);
	}
	memset(&p->infl, 0, sizeof(p->infl));
	atomic_store(&p->inflight, false);
	if (p->kind == PAGE_GROUP)
		group_count_kept(p);
	pthread_mutex_lock(&d->mutex);
	link_remove(&p->commit_link);
	if (!good && !atomic_load(&p->dirty)) {
		atomic_store(&p->dirty, true);
		atomic_fetch_add(&p->refs, 1);
		dirty_pin(d);
		dirty_list(d, p);
	}
	if (good) {
		link_remove(&p->quiet_link);
		link_append(&d->quiet, &p->quiet_link);
	}
	dirty_unpin(d);
	pthread_mutex_unlock(&d->mutex);
	pthread_rwlock_unlock(&p->lock);
	page_put(p);
}

static void
end_pages(struct commit *c, bool good)
{
	while (!link_empty(&c->pages))
		end_page(LINK_OWNER(c->pages.next, struct page, commit_link),
			 good, c->maps_synced);
	c->n_images = c->n_roots = 0;
}

/*
 * The first time after another process has died: which of its pages are durable
 * nobody knows, so all of them become that before the first of their other
 * copies is written.
 */
static int
settle_all(struct disk *d)
{
	int r = 0;

	if (!atomic_load(&d->unsettled))
		return 0;
	if (!PLANTED(RESUMED_UNSETTLED))
		r = d->e->st->ops->sync_all(d->e->st);
	if (r < 0) {
		engine_fail(d->e, r);
		return -EIO;
	}
	atomic_store(&d->unsettled, false);
	return 0;
}

static int
commit_steps(struct disk *d, struct commit *c)
{
	struct store_ops const *ops = d->e->st->ops;
	int r, sync_error;

	r = d->lock ? ops->lock_check(d->lock) : 0;
	if (r == -EBUSY)
		return disk_fail(d, r, "its lock was lost");
	if (!d->nameless && disk_session_lost(d))
		return disk_fail(d, -EBUSY, "somebody else has attached it");
	/* Not known: nothing is written, and the next commit looks again. */
	if (r == 0)
		r = settle_all(d);
	if (r == 0)
		r = disk_save_size(d);
	if (r == 0)
		r = image_list(d, c, &d->dirty_root);
	c->n_roots = c->n_images;
	if (r == 0)
		r = image_list(d, c, &d->dirty_map);
	if (r == 0)
		r = write_groups(d, c);
	/* What a write past the end has brought into these images. */
	if (r == 0)
		r = disk_save_size(d);
	if (r < 0)
		return r;
	POINT("commit-begun", c->seq);
	if (PLANTED(MAP_BEFORE_CHUNKS))
		(void)!write_maps(d, c, &sync_error);
	r = sync_chunks(d, c);
	if (r < 0)
		return disk_fail(d, r, "chunks cannot be synced");
	POINT("commit-synced", c->seq);
	r = write_maps(d, c, &sync_error);
	POINT("commit-maps", c->seq);
	if (sync_error < 0)
		return disk_fail(d, sync_error, "the map cannot be synced");
	return r;
}

int
commit_once(struct disk *d, int *left)
{
	struct commit *c = d->commit;
	uint64_t cut;
	int r;

	c->seq = atomic_load(&d->seq);
	c->maps_synced = false;
	atomic_store(&d->dirty_bytes, 0);
	cache_exceed(true);
	*left = PLANTED(RESUMED_UNREAD) ? 0 : replay_rest(d);
	if (*left == 0)
		atomic_store(&d->replaying, false);
	cut = kept_cut(d);
	if (PLANTED(FORGOTTEN_EARLY))
		kept_committed(d, cut);
	r = commit_steps(d, c);
	cache_exceed(false);
	end_pages(c, r == 0);
	if (r == 0 && *left == 0)
		kept_committed(d, cut);
	return r;
}
