/*
 * quiet.c - what is done when nobody is waiting: the background commits, the
 * mirrors, the space of freed slots, the files of dead chunks.
 *
 * One thread a disk; it sleeps until something becomes dirty.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#define TICK_MS 250
#define PUNCH_AFTER 20 /* in units of quiet_ms */
/*
 * Freed slots of a quiet group give back their space where this many lie side
 * by side.  A hole of 4 KiB costs the file system more (an extent split, and
 * later an allocation) than it gives back; those go only when what is kept
 * passes the slack.
 */
#define QUIET_RUN 16
#define BURY_MAX 16 /* files of dead chunks removed while a commit is due */
#define SLACK_RUN 1

/* ---- mirrors ---- */

int
page_mirror(struct page *p)
{
	struct page_head h = { p->kind,    p->index,  p->generation,
			       p->session, p->cipher, p->seals };
	uint8_t raw[PAGE_LEN];
	struct store_file *f;
	const uint8_t *key;
	uint64_t base;
	int r;

	/* Only what was committed last may be mirrored, and the table in
	 * memory is that only while it is clean. */
	if (p->same || p->dirty || p->inflight || p->disk->failed ||
	    layer_is_frozen(p->layer))
		return 0;
	if (atomic_load(&p->disk->unsettled))
		return -EAGAIN;
	r = page_home_of(p, &key, &f, &base);
	if (r == 0)
		r = page_encode(&h, &p->body, key, raw);
	if (r == 0)
		r = page_write_copy(p, !page_home(p->generation), raw, false);
	if (r == 0) {
		p->same = true;
		if (p->chunk)
			chunk_touch(p->chunk);
	}
	return r;
}

/* ---- freed slots ---- */

static struct slots
free_with_space(const struct page *p)
{
	struct slots s;

	for (unsigned i = 0; i < GROUP_SLOTS / 64; i++)
		s.w[i] = p->space.w[i] &
			 ~(p->used.w[i] | p->infl.w[i] | p->prot.w[i]);
	return s;
}

/*
 * Who loads a page does not know which of its free slots have space: once it
 * has been written, say that all of them have.  A punch of nothing is cheap.
 */
static void
assume_space(struct page *p)
{
	if (p->space_unknown)
		memset(&p->space, 0xff, sizeof(p->space));
	p->space_unknown = false;
}

void
group_count_kept(struct page *p)
{
	struct slots s;
	unsigned n;

	assume_space(p);
	s = free_with_space(p);
	n = slots_count(&s);
	if (n == p->kept)
		return;
	atomic_fetch_add(&p->disk->kept, n - (uint64_t)p->kept);
	p->kept = n;
}

/* A failed punch is harmless: the space is given back some other time. */
void
group_punch(struct page *p, unsigned min_run)
{
	struct store_file *f;
	struct slots s;

	if (p->dirty || p->inflight || p->disk->failed ||
	    layer_is_frozen(p->layer))
		return;
	group_count_kept(p);
	s = free_with_space(p);
	if (slots_count(&s) >= min_run && chunk_file(p->chunk, &f) == 0) {
		for (unsigned i = 0, n; i < GROUP_SLOTS; i += n + 1) {
			for (n = 0;
			     i + n < GROUP_SLOTS && slots_has(&s, i + n);)
				n++;
			if (n < min_run)
				continue;
			for (unsigned k = 0; k < n; k++)
				slots_del(&p->space, i + k);
			(void)!f->st->ops->punch(f, slot_offset(p->index, i),
						 (uint64_t)n * BLOCK_SIZE);
		}
	}
	group_count_kept(p);
}

/* ---- a page that leaves ---- */

/* What was not mirrored, as of a disk that has failed, may be the newer copy;
 * of chunks that is found out (checkpoint.c), of a map only if all are. */
static int
give_up_mirror(struct page *p)
{
	if (atomic_load(&p->same) || (p->chunk && p->chunk->dead))
		return 0;
	if (!p->chunk && !layer_is_frozen(p->layer))
		return -EAGAIN;
	atomic_store(&p->layer->at_rest, false);
	return 0;
}

int
page_retire(struct page *p)
{
	struct chunk *c = p->chunk;
	int r = -EAGAIN;

	if (atomic_load(&p->same) && p->kept < QUIET_RUN)
		return 0;
	if (c && pthread_rwlock_tryrdlock(&c->lock) != 0)
		return -EAGAIN;
	if (pthread_rwlock_trywrlock(&p->lock) == 0) {
		if (!p->dirty && !p->inflight) {
			/* Without its mirror it would be settled when it is
			 * loaded again: right, but slower, and for so long
			 * the newer copy must not be lost.  Descriptors there
			 * will be after a commit. */
			r = c && c->dead ? 0 : page_mirror(p);
			if (r != -EAGAIN)
				r = give_up_mirror(p);
			if (r == 0 && c && !c->dead)
				group_punch(p, QUIET_RUN);
		}
		pthread_rwlock_unlock(&p->lock);
	}
	if (c)
		pthread_rwlock_unlock(&c->lock);
	return r;
}

/* ---- rounds ---- */

/* The first page of ${list} if it is at least ${age_ms} old: taken off it, with
 * a reference. */
static struct page *
take_quiet(struct disk *d, struct link *list, int64_t age_ms)
{
	struct page *p = NULL;

	pthread_mutex_lock(&d->mutex);
	while (!p && !link_empty(list)) {
		p = LINK_OWNER(list->next, struct page, quiet_link);
		if (age_ms > 0 && now_ms() - p->touched < age_ms) {
			p = NULL;
			break;
		}
		link_remove(&p->quiet_link);
		if (!page_try_ref(p))
			p = NULL;
	}
	pthread_mutex_unlock(&d->mutex);
	return p;
}

/* What could not be mirrored stays on the list. */
static int
mirror_one(struct disk *d, struct page *p)
{
	struct chunk *c = p->chunk;
	bool keep = false;
	int r = 0;

	/* Not while its layer is being frozen: then nobody writes to it. */
	pthread_rwlock_rdlock(&d->barrier);
	if (c)
		pthread_rwlock_rdlock(&c->lock);
	pthread_rwlock_wrlock(&p->lock);
	/* If it is dirty again, the end of its commit puts it back. */
	if (!p->dirty && !p->inflight && !(c && c->dead)) {
		r = page_mirror(p);
		keep = p->kind == PAGE_GROUP && p->kept > 0;
	}
	pthread_mutex_lock(&d->mutex);
	if ((keep || r < 0) && link_empty(&p->quiet_link))
		link_append(r < 0 ? &d->quiet : &d->keep, &p->quiet_link);
	pthread_mutex_unlock(&d->mutex);
	pthread_rwlock_unlock(&p->lock);
	if (c)
		pthread_rwlock_unlock(&c->lock);
	pthread_rwlock_unlock(&d->barrier);
	page_put(p);
	return r;
}

/* Chunks that were mirrored keep their descriptors until they are synced, so
 * more of them than can be open takes a commit now and then. */
static void
mirror_all(struct disk *d, int64_t age)
{
	struct page *p;
	int r = 0;

	while (r == 0 && (p = take_quiet(d, &d->quiet, age))) {
		r = mirror_one(d, p);
		if (r == -EAGAIN)
			r = commit_for_room(d);
	}
}

static void
punch_one(struct disk *d, struct page *p, unsigned min_run)
{
	pthread_rwlock_rdlock(&d->barrier);
	pthread_rwlock_rdlock(&p->chunk->lock);
	pthread_rwlock_wrlock(&p->lock);
	if (!p->chunk->dead)
		group_punch(p, min_run);
	pthread_rwlock_unlock(&p->lock);
	pthread_rwlock_unlock(&p->chunk->lock);
	pthread_rwlock_unlock(&d->barrier);
	page_put(p);
}

void
quiet_hurry(struct disk *d)
{
	struct page *p;

	mirror_all(d, 0);
	while ((p = take_quiet(d, &d->keep, 0)))
		punch_one(d, p, QUIET_RUN);
}

/* Whether more freed slots keep their space than the store allows. */
static bool
over_slack(struct disk *d)
{
	int64_t blocks = atomic_load(&d->allocated);
	uint64_t live = blocks > 0 ? (uint64_t)blocks * BLOCK_SIZE : 0;

	return atomic_load(&d->kept) * BLOCK_SIZE > d->e->meta.slack + live / 8;
}

/* ---- files of dead chunks ---- */

static struct chunk *
take_dead(struct disk *d)
{
	struct chunk *c = NULL;

	pthread_mutex_lock(&d->mutex);
	if (!link_empty(&d->dead)) {
		c = LINK_OWNER(d->dead.next, struct chunk, dead_link);
		if (c->dead_seq >= d->good_seq && c->dead_seq != 0)
			c = NULL;
	}
	if (c)
		link_remove(&c->dead_link);
	pthread_mutex_unlock(&d->mutex);
	return c;
}

/*
 * A chunk that passed to this layer from its parent has a name in both maps
 * until the merge is done (merge.c), and who begins that again asks the parent.
 * So its file stays as long.
 */
static int
parent_names_locked(struct disk *d, struct chunk *c)
{
	enum entry_state state;
	uint8_t salt[sizeof(c->salt)];
	struct layer *p;
	int r;

	if (!c->layer->meta.has_parent)
		return 0;
	r = layer_parent(c->layer, d->bg, &p);
	if (r < 0 || p->meta.state != LAYER_MERGING)
		return r;
	r = layer_entry(p, d->bg, c->index, &state, salt);
	if (r < 0)
		return r;
	return state == ENTRY_DATA && !memcmp(salt, c->salt, sizeof(salt));
}

static bool
parent_names(struct disk *d, struct chunk *c)
{
	int r;

	pthread_rwlock_rdlock(&d->barrier);
	r = parent_names_locked(d, c);
	pthread_rwlock_unlock(&d->barrier);
	return r != 0; /* or who knows */
}

static void
bury(struct disk *d, struct chunk *c)
{
	char path[STORE_PATH_LEN];
	int r;

	/* Whoever still reads it finishes first. */
	pthread_rwlock_wrlock(&c->lock);
	/* What is on top now never counted it. */
	if (c->uncounted && c->layer == atomic_load(&d->top))
		atomic_fetch_sub(&d->allocated,
				 chunk_count(c, d->bg, c->uncounted));
	chunk_name(c, path);
	pthread_rwlock_unlock(&c->lock);
	r = d->e->st->ops->remove(d->e->st, path);
	/* One that passed to this layer has the name of who made it. */
	if (r == -ENOENT && chunk_find_passed(c, path) == 0)
		r = d->e->st->ops->remove(d->e->st, path);
	if (r < 0 && r != -ENOENT)
		log_debug("%s: cannot be removed: %s", path, err_text(r));
	chunk_put(c);
}

/* The mutex is held. */
static bool
commit_due(const struct disk *d)
{
	return d->commit_wanted ||
	       (d->dirty_since &&
		now_ms() - d->dirty_since >= (int64_t)d->e->commit_ms);
}

/* Put back what was not buried: another time. */
static void
keep_dead(struct disk *d, struct link *keep)
{
	pthread_mutex_lock(&d->mutex);
	while (!link_empty(keep)) {
		struct link *l = keep->next;

		link_remove(l);
		link_append(&d->dead, l);
	}
	pthread_mutex_unlock(&d->mutex);
}

/* Each of them keeps an object that others may need.  But a commit may become
 * due meanwhile, or the thread be stopped. */
static void
bury_dead(struct disk *d, bool all)
{
	struct link keep;
	struct chunk *c;

	link_init(&keep);
	for (unsigned i = 0; (c = take_dead(d)); i++) {
		bool stop;

		if (parent_names(d, c))
			link_append(&keep, &c->dead_link);
		else
			bury(d, c);
		pthread_mutex_lock(&d->mutex);
		stop = d->stop || commit_due(d);
		pthread_mutex_unlock(&d->mutex);
		if (stop && !all && i >= BURY_MAX)
			break;
	}
	keep_dead(d, &keep);
}

void
quiet_round(struct disk *d, bool all)
{
	int64_t age = all ? 0 : (int64_t)d->e->quiet_ms;
	struct page *p;
	bool over;

	if (atomic_load(&d->failed) || atomic_load(&d->unsettled))
		return;
	mirror_all(d, age);
	while ((p = take_quiet(d, &d->keep,
			       (over = over_slack(d)) ? 0 : age * PUNCH_AFTER)))
		punch_one(d, p, over && !all ? SLACK_RUN : QUIET_RUN);
	bury_dead(d, all);
	if (!all)
		checkpoint_round(d);
}

/* ---- the thread ---- */

static bool
idle(struct disk *d)
{
	return d->dirty_since == 0 && !d->commit_wanted &&
	       atomic_load(&d->spare_since) == 0 && link_empty(&d->quiet) &&
	       link_empty(&d->keep) && link_empty(&d->dead) &&
	       !checkpoint_due(d);
}

/* Sleep until there may be something to do; whether a commit is due. */
static bool
wait_for_work(struct disk *d)
{
	struct timespec until;
	bool due;

	pthread_mutex_lock(&d->mutex);
	while (!d->stop && (idle(d) || atomic_load(&d->failed)))
		pthread_cond_wait(&d->wake, &d->mutex);
	if (!d->stop && !d->commit_wanted) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += TICK_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&d->wake, &d->mutex, &until);
	}
	due = commit_due(d);
	pthread_mutex_unlock(&d->mutex);
	return due;
}

static void *
quiet_main(void *arg)
{
	struct disk *d = arg;
	int r;

	while (!d->stop) {
		if (wait_for_work(d) && !d->stop) {
			r = commit_wait(d);
			if (r < 0 && !atomic_load(&d->failed)) {
				log_warn("disk %s: commit: %s; trying again",
					 d->desc.name, err_text(r));
				/* No space: not at once. */
				usleep(TICK_MS * 1000);
			}
		}
		if (!d->stop) {
			spare_round(d, false);
			quiet_round(d, false);
		}
		secret_wipe_registers();
	}
	return NULL;
}

int
quiet_start(struct disk *d)
{
	pthread_attr_t a;
	int r;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 256 * 1024);
	r = pthread_create(&d->thread, &a, quiet_main, d);
	pthread_attr_destroy(&a);
	d->has_thread = r == 0;
	return -r;
}

void
quiet_stop(struct disk *d)
{
	pthread_mutex_lock(&d->mutex);
	d->stop = true;
	pthread_cond_broadcast(&d->wake);
	pthread_mutex_unlock(&d->mutex);
	if (d->has_thread)
		pthread_join(d->thread, NULL);
	d->has_thread = false;
}
