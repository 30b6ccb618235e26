/*
 * fs_house.c - what the housekeeping thread has done to disks: detached when
 * they have lingered, committed or detached all at the end.
 *
 * Nothing is waited for here but at the very end: each of these is a job of
 * the disk's strand.
 */
#include "fs_private.h"

#include <errno.h>
#include <inttypes.h>

#include <sealdisk/clock.h>
#include <sealdisk/log.h>

bool
fs_take_wipe(struct fs *fs)
{
	return atomic_exchange(&fs->wipe_wanted, false);
}

#define LOOK_MS 1000
/* Whether a commit hangs is looked at so often, and told after so long. */
#define HANGS_LOOK_MS 10000
#define HANGS_MS 30000

/* What is being reencrypted stays until that is done, or cannot be. */
static bool
is_busy(struct disk *disk)
{
	struct reencrypt_state st;

	return disk_reencrypting(disk, &st) && st.error != -EROFS;
}

/* When the disk may go, or is to be looked at again, in ms from now; -1: not
 * before somebody has come and gone.  Under the lock. */
static int64_t
due_in(const struct fs *fs, const struct drive *d)
{
	struct disk *disk = atomic_load(&d->disk);
	int64_t left;

	if (!disk || d->leaving || d->users)
		return -1;
	if (!fs->closing && is_busy(disk))
		return LOOK_MS;
	left = d->idle_ms + (int64_t)fs->opt.linger_ms - clock_ms();
	return left < 0 || fs->closing ? 0 : left;
}

static void
run_linger(struct fs_job *j)
{
	struct drive *d = j->drive;
	bool go;
	int r;

	(void)pthread_mutex_lock(&j->fs->lock);
	(void)pthread_mutex_lock(&d->lock);
	d->due = false;
	go = due_in(j->fs, d) == 0;
	(void)pthread_mutex_unlock(&d->lock);
	(void)pthread_mutex_unlock(&j->fs->lock);
	if (!go)
		return;
	r = drive_detach(j->fs, d);
	if (r == 0 || r == -EBUSY)
		return;
	(void)pthread_mutex_lock(&j->fs->lock);
	if (!j->fs->detach_error)
		j->fs->detach_error = r;
	(void)pthread_mutex_unlock(&j->fs->lock);
}

/* Who waits for the store is told of it in the log, and when it is over. */
static void
tell_of_commit(struct fs *fs, struct drive *d)
{
	char name[NODE_NAME_MAX + 1];
	struct disk_stats st;
	bool hangs;

	if (!drive_stats(d->node, &st))
		return;
	hangs = st.commit_ms >= HANGS_MS;
	if (hangs == d->hangs)
		return;
	d->hangs = hangs;
	tree_name(fs->tree, d->node, name);
	if (hangs)
		log_warn("disk %s: the store has not answered for %" PRIu64
			 " s; what is written there waits",
			 name, st.commit_ms / 1000);
	else
		log_note("disk %s: the store answers again", name);
}

/* With fs->lock held.  When to look again, in ms, or -1. */
static int64_t
tick_one(struct fs *fs, struct drive *d)
{
	struct fs_job *j;
	int64_t left;

	(void)pthread_mutex_lock(&d->lock);
	left = d->due ? -1 : due_in(fs, d);
	if (left == 0)
		d->due = true;
	(void)pthread_mutex_unlock(&d->lock);
	if (left)
		return left;
	j = fs_job_new(fs, NULL, d->node, run_linger);
	if (j) {
		fs_start(j);
		return -1;
	}
	(void)pthread_mutex_lock(&d->lock);
	d->due = false;
	(void)pthread_mutex_unlock(&d->lock);
	return 1000; /* no memory now */
}

int
fs_tick(struct fs *fs)
{
	int64_t next = -1, left;

	(void)pthread_mutex_lock(&fs->lock);
	for (struct drive *d = fs->drives; d; d = d->next) {
		tell_of_commit(fs, d);
		left = tick_one(fs, d);
		if (left < 0 && atomic_load(&d->disk))
			left = HANGS_LOOK_MS;
		if (left >= 0 && (next < 0 || left < next))
			next = left;
	}
	left = fs_check_keys(fs);
	if (left >= 0 && (next < 0 || left < next))
		next = left;
	(void)pthread_mutex_unlock(&fs->lock);
	left = fs_sweep_due(fs);
	if (left >= 0 && (next < 0 || left < next))
		next = left;
	return (int)(next > 3600000 ? 3600000 : next);
}

int
fs_detach_all(struct fs *fs)
{
	bool more = true;
	int r;

	atomic_store(&fs->stop_checks, true);
	jobs_drain(fs->opt.jobs); /* what attaches must have attached */
	(void)pthread_mutex_lock(&fs->lock);
	fs->closing = true;
	fs->detach_error = 0;
	for (struct drive *d = fs->drives; d; d = d->next) {
		(void)pthread_mutex_lock(&d->lock);
		d->users = d->n_direct = d->n_cached = 0;
		(void)pthread_mutex_unlock(&d->lock);
	}
	(void)pthread_mutex_unlock(&fs->lock);
	while (more) {
		(void)fs_tick(fs);
		jobs_drain(fs->opt.jobs);
		(void)pthread_mutex_lock(&fs->lock);
		more = fs->drives != NULL;
		r = fs->detach_error;
		(void)pthread_mutex_unlock(&fs->lock);
	}
	return r;
}

unsigned
fs_count(struct fs *fs, unsigned *ret_open)
{
	unsigned n = 0, open = 0;

	(void)pthread_mutex_lock(&fs->lock);
	for (struct drive *d = fs->drives; d; d = d->next) {
		(void)pthread_mutex_lock(&d->lock);
		open += d->users;
		n++;
		(void)pthread_mutex_unlock(&d->lock);
	}
	(void)pthread_mutex_unlock(&fs->lock);
	if (ret_open)
		*ret_open = open;
	return n;
}

static void
run_commit(struct fs_job *j)
{
	char name[NODE_NAME_MAX + 1];
	int r;

	if (j->node->type != DESC_DISK || !drive_use(j->drive))
		return;
	r = disk_flush(atomic_load(&j->drive->disk));
	drive_unuse(j->fs, j->drive);
	if (r == 0)
		return;
	tree_name(j->fs->tree, j->node, name);
	log_error("commit %s: %s", name, err_text(r));
}

void
fs_commit_all(struct fs *fs)
{
	(void)pthread_mutex_lock(&fs->lock);
	for (struct drive *d = fs->drives; d; d = d->next) {
		struct fs_job *j = fs_job_new(fs, NULL, d->node, run_commit);

		if (j)
			fs_start(j);
	}
	(void)pthread_mutex_unlock(&fs->lock);
}
