/*
 * fs_drive.c - from the first open of a disk to its detach after the last
 * close.
 *
 * A disk is attached by a job of its drive's strand, and detached by one: the
 * two never meet.  While it is attached, opening and closing only count users,
 * which any worker does.  When the last has gone the disk lingers, since loop
 * tools open and close in bursts; whoever comes before the detach has begun
 * goes on with it.
 *
 * Locks: fs->lock before drive->lock.  Neither is held over anything that
 * blocks.
 */
#include "fs_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>

#include <sealdisk/clock.h>
#include <sealdisk/log.h>

struct drive *
drive_peek(struct node *n)
{
	return atomic_load_explicit(&n->user, memory_order_acquire);
}

void
drive_release(void *user)
{
	struct drive *d = user;

	drive_scrub_free(d->scrub);
	(void)pthread_rwlock_destroy(&d->gate);
	(void)pthread_mutex_destroy(&d->lock);
	free(d);
}

static struct drive *
drive_new(struct node *n)
{
	struct drive *d = calloc(1, sizeof(*d));
	pthread_rwlockattr_t a;

	if (!d)
		return NULL;
	d->node = n;
	(void)pthread_mutex_init(&d->lock, NULL);
	(void)pthread_rwlockattr_init(&a);
	/* Whoever takes the disk away must not wait for ever. */
	(void)pthread_rwlockattr_setkind_np(
	    &a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	(void)pthread_rwlock_init(&d->gate, &a);
	(void)pthread_rwlockattr_destroy(&a);
	return d;
}

struct drive *
drive_of(struct fs *fs, struct node *n)
{
	void *d = drive_peek(n), *new;

	(void)fs;
	if (d)
		return d;
	new = drive_new(n);
	if (!new)
		return NULL;
	if (atomic_compare_exchange_strong(&n->user, &d, new))
		return new;
	drive_release(new); /* somebody was faster */
	return d;
}

/* With the lock held: a disk that failed and that nobody has open is of no
 * use; attaching it again makes it one. */
static bool
is_spent(const struct drive *d)
{
	struct disk *disk = atomic_load(&d->disk);
	struct disk_stats stats;

	if (!disk || d->leaving || d->users)
		return false;
	disk_stats(disk, &stats);
	return stats.failed;
}

bool
drive_use(struct drive *d)
{
	bool there;

	(void)pthread_mutex_lock(&d->lock);
	there = atomic_load(&d->disk) && !d->leaving && !is_spent(d);
	if (there)
		d->users++;
	(void)pthread_mutex_unlock(&d->lock);
	return there;
}

void
drive_unuse(struct fs *fs, struct drive *d)
{
	bool last;

	(void)pthread_mutex_lock(&d->lock);
	if (d->users)
		d->users--;
	last = d->users == 0;
	if (last) {
		d->idle_ms = clock_ms();
		d->cut = 0;
	}
	(void)pthread_mutex_unlock(&d->lock);
	if (last)
		fs->opt.wake(fs->opt.arg);
}

bool
drive_is_older(struct drive *d)
{
	struct disk_stats stats = { .older = false };
	struct disk *disk;

	(void)pthread_mutex_lock(&d->lock);
	disk = atomic_load(&d->disk);
	if (disk)
		disk_stats(disk, &stats);
	(void)pthread_mutex_unlock(&d->lock);
	return stats.older;
}

static void
get_attr(struct disk *disk, struct disk_attr *ret)
{
	struct descriptor desc;
	struct disk_stats stats;

	disk_descriptor(disk, &desc);
	disk_stats(disk, &stats);
	*ret = (struct disk_attr){
		.size = disk_size(disk),
		.allocated = stats.allocated,
		.created = desc.created,
		.uid = desc.uid,
		.gid = desc.gid,
		.mode = desc.mode,
	};
}

bool
drive_attr(struct node *n, struct disk_attr *ret, bool *ret_leaving)
{
	struct drive *d = drive_peek(n);
	struct disk *disk;

	if (!d)
		return false;
	(void)pthread_mutex_lock(&d->lock);
	disk = atomic_load(&d->disk);
	*ret_leaving = d->leaving;
	if (d->leaving)
		*ret = d->last;
	else if (disk)
		get_attr(disk, ret);
	(void)pthread_mutex_unlock(&d->lock);
	return disk != NULL;
}

bool
drive_stats(struct node *n, struct disk_stats *ret)
{
	struct drive *d = drive_peek(n);
	struct disk *disk;

	if (!d)
		return false;
	(void)pthread_mutex_lock(&d->lock);
	disk = d->leaving ? NULL : atomic_load(&d->disk);
	if (disk)
		disk_stats(disk, ret);
	(void)pthread_mutex_unlock(&d->lock);
	return disk != NULL;
}

bool
drive_descriptor(struct node *n, struct descriptor *ret)
{
	struct drive *d = drive_peek(n);
	struct disk *disk;

	if (!d)
		return false;
	(void)pthread_mutex_lock(&d->lock);
	disk = d->leaving ? NULL : atomic_load(&d->disk);
	if (disk)
		disk_descriptor(disk, ret);
	(void)pthread_mutex_unlock(&d->lock);
	return disk != NULL;
}

bool
drive_reencrypting(struct node *n, struct reencrypt_state *ret)
{
	struct drive *d = drive_peek(n);
	struct disk *disk;
	bool is;

	if (!d)
		return false;
	(void)pthread_mutex_lock(&d->lock);
	disk = d->leaving ? NULL : atomic_load(&d->disk);
	is = disk && disk_reencrypting(disk, ret);
	(void)pthread_mutex_unlock(&d->lock);
	return is;
}

time_t
drive_since(struct node *n)
{
	struct drive *d = drive_peek(n);
	time_t t;

	if (!d)
		return 0;
	(void)pthread_mutex_lock(&d->lock);
	t = atomic_load(&d->disk) && !d->leaving ? d->since : 0;
	(void)pthread_mutex_unlock(&d->lock);
	return t;
}

int
drive_attach_error(struct node *n)
{
	struct drive *d = drive_peek(n);
	int r;

	if (!d)
		return 0;
	(void)pthread_mutex_lock(&d->lock);
	r = d->attach_error;
	(void)pthread_mutex_unlock(&d->lock);
	return r;
}

/*
 * Attach.
 */

static void
log_attach(struct fs *fs, const struct node *n, const char *name, int r)
{
	struct lock_owner o;

	if (r == -EBUSY && catalog_disk_owner(fs->catalog, &n->uuid, &o) == 0)
		log_error("attach %s: process %ld of host %s has it%s%s", name,
			  o.pid, o.host, o.mount_point[0] ? " on " : "",
			  o.mount_point);
	else if (r != -ESTALE) /* the engine has said all about that */
		log_error("attach %s: %s", name, err_text(r));
}

/* What has the name may have changed since it was looked up. */
static int
attach_node(struct fs *fs, struct node *n, int flags, struct disk **ret)
{
	char name[NODE_NAME_MAX + 1];
	struct descriptor desc;
	struct disk *disk;
	int r;

	for (int tries = 0; tries < 3; tries++) {
		r = tree_load(fs->tree, n, &desc, NULL, NULL);
		if (r < 0)
			return r;
		tree_name(fs->tree, n, name);
		r = disk_attach(
		    fs->opt.engine, n->type, name,
		    flags | (fs->opt.read_only ? DISK_READ_ONLY : 0), &disk);
		if (r < 0 && r != -ENOENT) {
			log_attach(fs, n, name, r);
			return r;
		}
		if (r < 0)
			continue;
		disk_descriptor(disk, &desc);
		if (uuid_equal(&desc.uuid, &n->uuid)) {
			*ret = disk;
			return 0;
		}
		/* Another one, to which nothing was written. */
		(void)!disk_detach(disk);
	}
	return -ENOENT;
}

void
drive_list(struct fs *fs, struct drive *d)
{
	tree_pin(fs->tree, d->node);
	(void)pthread_mutex_lock(&fs->lock);
	d->prev = NULL;
	d->next = fs->drives;
	if (d->next)
		d->next->prev = d;
	fs->drives = d;
	(void)pthread_mutex_unlock(&fs->lock);
	if (fs->opt.key_check_ms)
		fs->opt.wake(fs->opt.arg);
}

static void
list_remove(struct fs *fs, struct drive *d)
{
	(void)pthread_mutex_lock(&fs->lock);
	if (d->prev)
		d->prev->next = d->next;
	else
		fs->drives = d->next;
	if (d->next)
		d->next->prev = d->prev;
	(void)pthread_mutex_unlock(&fs->lock);
	tree_unpin(fs->tree, d->node); /* the job has a pin of its own */
}

int
drive_attach(struct fs *fs, struct drive *d, bool to_read)
{
	struct disk_stats stats;
	struct disk *disk;
	bool spent;
	int r;

	if (drive_use(d))
		return 0;
	(void)pthread_mutex_lock(&d->lock);
	spent = is_spent(d);
	r = d->cut; /* what it was taken from must not have it back */
	(void)pthread_mutex_unlock(&d->lock);
	if (r < 0)
		return r;
	if (spent) {
		r = drive_detach(fs, d);
		if (r == -EBUSY)
			return r;
	}
	r = attach_node(fs, d->node, to_read ? DISK_READ_OLDER : 0, &disk);
	if (r == 0)
		disk_stats(disk, &stats);
	(void)pthread_mutex_lock(&d->lock);
	d->attach_error = r;
	/* For who wants to write to it meanwhile. */
	if (r == 0 && stats.older)
		d->attach_error = -ESTALE;
	if (r == 0) {
		d->users++;
		d->pages = false;
		d->since = time(NULL);
		atomic_store(&d->disk, disk);
	}
	(void)pthread_mutex_unlock(&d->lock);
	if (r < 0)
		return r;
	drive_list(fs, d);
	/* Who merged layers of it may have met it on its way. */
	fs_sweep_rest(fs);
	return 0;
}

int
drive_accept(struct fs *fs, struct drive *d)
{
	struct disk *disk;
	int r;

	if (fs->opt.read_only)
		return -EROFS;
	r = drive_detach(fs, d);
	if (r == -EBUSY)
		return r;
	r = attach_node(fs, d->node, DISK_BRIEF | DISK_ACCEPT_ROLLBACK, &disk);
	return r < 0 ? r : disk_detach(disk);
}

/*
 * Detach.
 */

/*
 * The kernel's pages go first, while the disk still answers: none is dirty
 * after the last close, but a page being read is waited for.  This is why it
 * has to be a thread that the kernel does not wait for.
 */
void
drive_drop_pages(struct fs *fs, struct drive *d)
{
	struct fuse_session *se = atomic_load(&fs->session);

	if (se)
		(void)fuse_lowlevel_notify_inval_inode(se, d->node->id, 0, 0);
}

/* Of a disk that is leaving. */
static int
take_away(struct fs *fs, struct drive *d, struct disk *disk)
{
	char name[NODE_NAME_MAX + 1];
	int r;

	r = disk_detach(disk);
	if (r < 0) {
		tree_name(fs->tree, d->node, name);
		log_error("detach %s: %s; the next attach will recover it",
			  name, err_text(r));
	}
	(void)pthread_mutex_lock(&d->lock);
	atomic_store(&d->disk, NULL);
	d->leaving = false;
	d->pages = false;
	(void)pthread_mutex_unlock(&d->lock);
	list_remove(fs, d);
	atomic_store(&fs->wipe_wanted, true);
	fs->opt.wake(fs->opt.arg);
	fs_sweep_rest(fs);
	return r;
}

int
drive_detach(struct fs *fs, struct drive *d)
{
	struct disk *disk;
	bool in_use;
	int r;

	(void)pthread_mutex_lock(&d->lock);
	disk = atomic_load(&d->disk);
	in_use = disk && d->users > drive_is_scrubbed(d);
	(void)pthread_mutex_unlock(&d->lock);
	if (disk && !in_use)
		drive_scrub_stop(d);
	(void)pthread_mutex_lock(&d->lock);
	r = disk && d->users ? -EBUSY : 0;
	if (disk && !r) {
		get_attr(disk, &d->last);
		d->leaving = true;
	}
	(void)pthread_mutex_unlock(&d->lock);
	if (!disk || r)
		return r;

	drive_drop_pages(fs, d);
	return take_away(fs, d, disk);
}

int
drive_cut(struct fs *fs, struct drive *d, int why)
{
	struct disk *disk;
	int r;

	drive_scrub_stop(d);
	(void)pthread_mutex_lock(&d->lock);
	disk = atomic_load(&d->disk);
	/* Others than open files know nothing of the gate. */
	r = disk && d->users > d->n_direct + d->n_cached ? -EBUSY : 0;
	if (disk && !r) {
		get_attr(disk, &d->last);
		d->leaving = true;
		d->cut = d->users ? why : 0;
		d->attach_error = why;
	}
	(void)pthread_mutex_unlock(&d->lock);
	if (!disk || r)
		return r;

	drive_drop_pages(fs, d);
	(void)pthread_rwlock_wrlock(&d->gate);
	(void)pthread_mutex_lock(&d->lock);
	atomic_store(&d->disk, NULL);
	(void)pthread_mutex_unlock(&d->lock);
	(void)pthread_rwlock_unlock(&d->gate);
	r = take_away(fs, d, disk);
	drive_drop_pages(fs, d); /* what was read since */
	return r;
}

/*
 * How the kernel is to treat its pages of a file.  Past them is faster where
 * the client has asked for O_DIRECT (namespace.md).  But older kernels leave a
 * page in the cache that somebody else wrote past: so either all open files of
 * a disk go through the cache, where an O_DIRECT write takes the pages away,
 * or none does.
 */
static void
count_open(struct drive *d, int flags, struct fuse_open_answer *ret)
{
	(void)pthread_mutex_lock(&d->lock);
	if (d->n_direct || ((flags & O_DIRECT) && !d->n_cached)) {
		d->n_direct++;
		d->pages = false; /* no KEEP_CACHE: the kernel drops them */
		ret->flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	} else {
		d->n_cached++;
		if (d->pages)
			ret->flags = FOPEN_KEEP_CACHE;
		d->pages = true;
	}
	(void)pthread_mutex_unlock(&d->lock);
}

static void
count_close(struct drive *d, bool direct)
{
	unsigned *n = direct ? &d->n_direct : &d->n_cached;

	(void)pthread_mutex_lock(&d->lock);
	if (*n)
		--*n;
	(void)pthread_mutex_unlock(&d->lock);
}

int
drive_opened(struct fs *fs, struct drive *d, uint64_t unique, int flags,
	     struct fuse_open_answer *ret)
{
	bool direct;
	int r;

	ret->flags = 0;
	if (handle_find(fs, unique, d->node->id, &ret->fh)) {
		/* The worker before this one has opened it, and not said so:
		 * its users are counted. */
		if (ret->fh & FH_DIRECT)
			ret->flags = FOPEN_DIRECT_IO |
				     FOPEN_PARALLEL_DIRECT_WRITES;
		drive_unuse(fs, d);
		return 0;
	}
	count_open(d, flags, ret);
	direct = ret->flags & FOPEN_DIRECT_IO;
	r = handle_new(fs, unique, d->node->id, direct, &ret->fh);
	if (r < 0) {
		count_close(d, direct);
		drive_unuse(fs, d);
	}
	return r;
}

void
drive_closed(struct fs *fs, struct drive *d, uint64_t fh)
{
	if (!handle_free(fs, fh))
		return; /* by the worker before this one */
	count_close(d, fh & FH_DIRECT);
	drive_unuse(fs, d);
}
