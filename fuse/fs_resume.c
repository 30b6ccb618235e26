/*
 * fs_resume.c - a worker takes over the disks that the one before it had
 * attached, before it answers the first request.
 */
#include "fs_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sealdisk/clock.h>
#include <sealdisk/log.h>

/* The lock's descriptor is the engine's, or nobody's. */
static int
take_lock(struct keeper_link *l, unsigned slot)
{
	int fd = l->locks[slot];

	l->locks[slot] = -1;
	return fd;
}

/* The keeper has a duplicate until it comes to close that: whoever attaches the
 * disk next must not meet it. */
static void
drop_lock(struct fs *fs, unsigned slot)
{
	int fd = take_lock(fs->opt.link, slot);

	if (fd >= 0)
		disk_drop_lock(fs->opt.engine, fd);
}

/* It is kept until the disk has been gone on with.  None is none. */
static int
duplicate(int fd, int *ret)
{
	*ret = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd >= 0 && *ret < 0 ? -errno : 0;
}

/*
 * Memory or descriptors that this process cannot have: nothing of the disk is
 * given up for that.  The next one tries again, a while later, and if none can,
 * the keeper says so.
 */
static void
end_for_want(int r)
{
	const struct timespec a_while = { .tv_sec = 1 };

	if (!err_is_shortage(r))
		return;
	log_error("the disks that were attached cannot be gone on with: %s; "
		  "the next process tries again",
		  err_text(r));
	(void)nanosleep(&a_while, NULL);
	_exit(EXIT_FAILURE);
}

/* Those who have it open; none of them has asked for pages yet. */
static void
count_users(struct fs *fs, struct drive *d)
{
	unsigned direct, cached;

	handle_count(fs, d->node->id, &direct, &cached);
	d->n_direct = direct;
	d->n_cached = cached;
	d->users = direct + cached;
	d->pages = false;
	d->idle_ms = clock_ms();
}

static int
resume_node(struct fs *fs, unsigned slot, struct node *n)
{
	struct keeper_link *l = fs->opt.link;
	char name[NODE_NAME_MAX + 1];
	struct drive *d = drive_of(fs, n);
	struct descriptor desc;
	struct disk *disk;
	int r = d ? tree_load(fs->tree, n, &desc, NULL, NULL) : -ENOMEM;
	int fd;

	if (r < 0)
		return r;
	tree_name(fs->tree, n, name);
	r = duplicate(l->locks[slot], &fd);
	if (r < 0)
		return r;
	r = disk_resume(fs->opt.engine, slot, name, fd, &disk);
	if (r < 0) {
		log_error("resume %s: %s", name, err_text(r));
		return r;
	}
	if (l->locks[slot] >= 0)
		(void)close(take_lock(l, slot));
	(void)pthread_mutex_lock(&d->lock);
	count_users(fs, d);
	d->since = time(NULL);
	atomic_store(&d->disk, disk);
	(void)pthread_mutex_unlock(&d->lock);
	drive_list(fs, d);
	return 0;
}

static void
resume_slot(struct fs *fs, unsigned slot, enum desc_type type,
	    const struct uuid *uuid)
{
	struct keeper_link *l = fs->opt.link;
	uint64_t id = tree_id(uuid, NODE_DISK);
	struct node *n;
	int r;

	(void)type;
	r = tree_recover(fs->tree, id, &n);
	if (r == 0)
		r = resume_node(fs, slot, n);
	if (r == 0)
		return;
	end_for_want(r);
	log_error("a disk that was attached cannot be gone on with: %s",
		  err_text(r));
	kept_forget(keep_kept(l->keep), slot);
	drop_lock(fs, slot);
	link_drop(l, slot);
}

/* Files whose disk was taken away, or is lost to us: nobody opens it before
 * they are closed. */
static void
cut_rest(struct fs *fs)
{
	unsigned i = 0;
	uint64_t id;

	while ((id = handle_next(fs, &i))) {
		struct node *n = tree_find(fs->tree, id);
		struct drive *d;

		if (!n && tree_recover(fs->tree, id, &n) < 0)
			continue;
		d = drive_of(fs, n);
		if (!d || atomic_load(&d->disk))
			continue;
		(void)pthread_mutex_lock(&d->lock);
		count_users(fs, d);
		d->cut = -EIO;
		(void)pthread_mutex_unlock(&d->lock);
	}
}

void
fs_resume(struct fs *fs)
{
	struct keeper_link *l = fs->opt.link;
	struct kept *kept = keep_kept(l->keep);
	enum desc_type type;
	struct uuid uuid;

	kept_sweep(kept);
	for (unsigned i = kept_next(kept, 0, &type, &uuid); i < KEPT_DISKS;
	     i = kept_next(kept, i + 1, &type, &uuid))
		resume_slot(fs, i, type, &uuid);
	/* Locks of disks that were just going. */
	for (unsigned i = 0; i < KEPT_DISKS; i++)
		if (l->locks[i] >= 0) {
			drop_lock(fs, i);
			link_drop(l, i);
		}
	cut_rest(fs);
}
