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
 *
 * Whoever wants a commit while one runs shares the next (group commit).
 */
#include "kept_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>

#include "planted.h"

/* Files up to this many are synced one by one, more of them by one syncfs. */
#define SYNC_HANDFUL 4
/* How often a commit makes room for what a resume has left. */
#define ROOM_TRIES 1000
/* A commit is begun in the background when this much was written... */
#define DIRTY_BYTES_MAX (64ULL << 20)
/* ...or this part of all pages is dirty; at half of them, writers wait. */
#define DIRTY_PAGES_PART 4

struct image {
	struct page *page;
	uint8_t raw[PAGE_LEN];
};

struct commit {
	struct image *images; /* of map and root pages */
	unsigned n_images, cap_images, n_roots;
	struct link pages; /* all pages in it, by commit_link */
	struct link syncs; /* chunks to be synced */
	unsigned n_syncs;
	bool maps_synced; /* the images of map pages are durable */
	uint64_t seq;
};

int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

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

/* ---- what is dirty ---- */

/* With the disk's mutex held.  The pages of a disk that failed stay dirty until
 * it is detached; what they take must not hold up the others for ever. */
static void
pin(struct disk *d)
{
	atomic_fetch_add(&d->pinned, 1);
	if (!atomic_load(&d->failed))
		atomic_fetch_add(&d->e->cache.pinned, 1);
}

static void
unpin(struct disk *d)
{
	atomic_fetch_sub(&d->pinned, 1);
	if (!atomic_load(&d->failed))
		atomic_fetch_sub(&d->e->cache.pinned, 1);
}

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

static struct link *
dirty_list(struct disk *d, const struct page *p)
{
	return p->kind == PAGE_GROUP ? &d->dirty
	       : p->kind == PAGE_MAP ? &d->dirty_map
				     : &d->dirty_root;
}

/* The disk's mutex is held; ${p} brings its reference along. */
static void
list_dirty(struct disk *d, struct page *p)
{
	link_append(dirty_list(d, p), &p->dirty_link);
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
		pin(d);
		list_dirty(d, p);
		pthread_mutex_unlock(&d->mutex);
	}
	if (sum >= DIRTY_BYTES_MAX && sum - bytes < DIRTY_BYTES_MAX)
		commit_ask(d);
}

void
commit_ask(struct disk *d)
{
	pthread_mutex_lock(&d->mutex);
	d->commit_wanted = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->mutex);
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
	if (c->n_images == c->cap_images) {
		unsigned cap = c->cap_images ? 2 * c->cap_images : 16;
		struct image *p = reallocarray(c->images, cap, sizeof(*p));

		if (!p)
			return NULL;
		c->images = p;
		c->cap_images = cap;
	}
	return &c->images[c->n_images];
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
		list_dirty(d, p);
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

/* The folders that have a new name in them, up to the lineage's. */
static int
sync_folder(struct store *st, const struct chunk *c)
{
	char path[STORE_PATH_LEN];
	int r = 0;

	chunk_name(c, path);
	for (unsigned up = 0; r == 0 && up < 2; up++) {
		*strrchr(path, '/') = '\0';
		r = st->ops->sync_dir(st, path);
	}
	return r;
}

static int
sync_chunk(struct store *st, struct chunk *c)
{
	struct store_file *f = atomic_load(&c->file);
	int r = f ? st->ops->sync(f) : 0;

	if (r == 0 && c->is_new)
		r = sync_folder(st, c);
	return r;
}

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
	r = sync_chunk(d->e->st, c);
	if (r == 0)
		c->is_new = false;
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
		pin(d);
		list_dirty(d, p);
	}
	if (good) {
		link_remove(&p->quiet_link);
		link_append(&d->quiet, &p->quiet_link);
	}
	unpin(d);
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

/* Grown by a write: the descriptor first, so that what lies past the old end
 * is never there before the end is. */
static int
save_size(struct disk *d)
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

/*
 * Whether the descriptor says that somebody has attached the disk since.  A
 * lock that was lost can be free again when we look at it, as on a network file
 * system after its lease ran out; taking it once more then changes nothing.
 * That the descriptor cannot be read says nothing.
 */
static bool
session_lost(struct disk *d)
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
	if (!d->nameless && session_lost(d))
		return disk_fail(d, -EBUSY, "somebody else has attached it");
	/* Not known: nothing is written, and the next commit looks again. */
	if (r == 0)
		r = settle_all(d);
	if (r == 0)
		r = save_size(d);
	if (r == 0)
		r = image_list(d, c, &d->dirty_root);
	c->n_roots = c->n_images;
	if (r == 0)
		r = image_list(d, c, &d->dirty_map);
	if (r == 0)
		r = write_groups(d, c);
	/* What a write past the end has brought into these images. */
	if (r == 0)
		r = save_size(d);
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

/* ${left}: what a resume has left to be done, and why. */
static int
commit_once(struct disk *d, int *left)
{
	struct commit *c = d->commit;
	uint64_t cut;
	int r;

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

static int
commit_run(struct disk *d)
{
	int r, left;

	d->commit->seq = atomic_load(&d->seq);
	r = commit_once(d, &left);
	/* Each makes room for more of what is to be made again, unless others
	 * have all of it. */
	for (unsigned i = 0; r == 0 && left == -EAGAIN && i < ROOM_TRIES; i++)
		r = commit_once(d, &left);
	if (r == 0)
		r = left == -EAGAIN ? -ENOMEM : left;
	atomic_fetch_add(r == 0 ? &d->commits : &d->commit_errors, 1);
	return r;
}

bool
disk_is_dirty(struct disk *d)
{
	return atomic_load(&d->unsettled) || atomic_load(&d->replaying) ||
	       !link_empty(&d->dirty) || !link_empty(&d->dirty_map) ||
	       !link_empty(&d->dirty_root) || atomic_load(&d->size_dirty);
}

/* The mutex is held, and let go of while the commit runs. */
static void
lead(struct disk *d)
{
	int r;

	d->committing = true;
	d->commit_wanted = false;
	d->dirty_since = 0;
	atomic_store(&d->commit_since, now_ms());
	atomic_fetch_add(&d->seq, 1);
	pthread_mutex_unlock(&d->mutex);
	r = commit_run(d);
	pthread_mutex_lock(&d->mutex);
	atomic_store(&d->commit_since, 0);
	d->committing = false;
	d->done_seq = atomic_load(&d->seq);
	d->last_error = r;
	if (r == 0)
		d->good_seq = d->done_seq;
	else if (disk_is_dirty(d) && d->dirty_since == 0)
		d->dirty_since = now_ms();
	pthread_cond_broadcast(&d->committed);
	/* While the commit had everything in its hands the background thread
	 * may have found nothing to wait for. */
	pthread_cond_signal(&d->wake);
}

static int
wait_for(struct disk *d, bool force)
{
	uint64_t need;
	int r = 0;

	pthread_mutex_lock(&d->mutex);
	/* What a running commit has taken is dirty no more, and is not yet
	 * durable: then it must be waited for, too.  Who has asked for one may
	 * want the descriptors of chunks that were mirrored. */
	force |= d->commit_wanted || disk_is_dirty(d);
	need = atomic_load(&d->seq) + (force ? 1 : 0);
	while (d->done_seq < need) {
		if (atomic_load(&d->failed))
			break;
		if (d->committing)
			pthread_cond_wait(&d->committed, &d->mutex);
		else
			lead(d);
		r = d->last_error;
	}
	pthread_mutex_unlock(&d->mutex);
	return atomic_load(&d->failed) ? -EIO : r;
}

int
commit_wait(struct disk *d)
{
	return wait_for(d, false);
}

/* In a test without threads nobody does what is asked for. */
static void
commit_others(struct disk *d)
{
	struct engine *e = d->e;

	for (struct link *l = e->disks.next; l != &e->disks; l = l->next) {
		struct disk *o = LINK_OWNER(l, struct disk, all);

		if (o != d)
			(void)!wait_for(o, true);
	}
}

/* Ask ${d} to commit, too.  -ENOSPC, -EDQUOT: it did not come to an end with
 * that, and keeps what it has. */
static int
ask_for_room(struct disk *d)
{
	int r = 0;

	pthread_mutex_lock(&d->mutex);
	if (!atomic_load(&d->failed) && disk_is_dirty(d))
		r = d->last_error;
	d->commit_wanted = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->mutex);
	return r == -ENOSPC || r == -EDQUOT ? r : 0;
}

/* Pages may be pinned by other disks, and files be open only because they are
 * not synced: so everybody commits, and we do in any case. */
int
commit_for_room(struct disk *d)
{
	struct engine *e = d->e;
	bool others = false;
	int r, stuck = 0;

	pthread_mutex_lock(&e->mutex);
	for (struct link *l = e->disks.next; l != &e->disks; l = l->next) {
		struct disk *o = LINK_OWNER(l, struct disk, all);

		if (o != d) {
			stuck = ask_for_room(o) ?: stuck;
			others = true;
		}
	}
	pthread_mutex_unlock(&e->mutex);
	if (e->manual)
		commit_others(d);
	r = wait_for(d, true);
	if (r == 0 && others)
		usleep(1000);
	return r == 0 && (cache_crowded(&e->cache, 2) || kept_crowded(e))
		   ? stuck
		   : r;
}

void
commit_drop(struct disk *d)
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
			unpin(d);
			page_put(p);
		}
	while (!link_empty(&d->dead)) {
		struct chunk *c =
		    LINK_OWNER(d->dead.next, struct chunk, dead_link);

		link_remove(&c->dead_link);
		chunk_put(c);
	}
}
