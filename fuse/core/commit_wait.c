/*
 * commit_wait.c - who runs a commit, and who waits for one.
 *
 * Whoever wants a commit while one runs shares the next (group commit): it is
 * run by one of those who wait.
 */
#include "commit_private.h"

#include <errno.h>
#include <unistd.h>

/* How often a commit makes room for what a resume has left. */
#define ROOM_TRIES 1000

static int
commit_run(struct disk *d)
{
	int left, r = commit_once(d, &left);

	/* Each makes room for more of what is to be made again, unless others
	 * have all of it. */
	for (unsigned i = 0; r == 0 && left == -EAGAIN && i < ROOM_TRIES; i++)
		r = commit_once(d, &left);
	if (r == 0)
		r = left == -EAGAIN ? -ENOMEM : left;
	atomic_fetch_add(r == 0 ? &d->commits : &d->commit_errors, 1);
	return r;
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

void
commit_ask(struct disk *d)
{
	pthread_mutex_lock(&d->mutex);
	d->commit_wanted = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->mutex);
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
