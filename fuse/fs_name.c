/*
 * fs_name.c - names that go and change: unlink, rename; and what there is not.
 */
#include "fs_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/clock.h>
#include <sealdisk/log.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

int
fs_check_name(uint64_t parent, const char *name)
{
	if (parent != NODE_DISKS)
		return -EPERM;
	if (strlen(name) > DISK_NAME_MAX)
		return -ENAMETOOLONG;
	return name_check(name);
}

int
fs_name_is_new(struct fs *fs, uint64_t parent, const char *name)
{
	struct descriptor desc;
	struct node *n;
	int r = tree_lookup(fs->tree, parent, name, &desc, &n);

	if (r == 0)
		tree_unpin(fs->tree, n);
	return r == -ENOENT ? 0 : r == 0 ? -EEXIST : r;
}

bool
fs_name_is(struct fs *fs, uint64_t parent, const char *name,
	   const struct uuid *uuid)
{
	struct descriptor desc;
	struct node *n;
	bool is;

	if (tree_lookup(fs->tree, parent, name, &desc, &n) < 0)
		return false;
	is = uuid_equal(&n->uuid, uuid);
	tree_unpin(fs->tree, n);
	return is;
}

/* Answered, as it was or would have been; the note ends. */
static void
answer_once(fuse_req_t req, struct keep_once *o, int r)
{
	fs_reply(req, r);
	once_end(o);
}

/*
 * Unlink.
 */

static void
run_unlink(struct fs_job *j)
{
	struct fs *fs = j->fs;
	int r = drive_detach(fs, j->drive); /* of one that lingers */

	/* A disk that could not be committed can still be deleted. */
	if (r != -EBUSY)
		r = catalog_remove(fs->catalog, j->node->type, j->name);
	if (r < 0 && r != -EBUSY)
		log_error("remove %s: %s", j->name, err_text(r));
	if (r == 0)
		info_outdated(fs);
	once_done(j->once, r, NULL, 0);
	fs_reply(j->req, r);
	if (r == 0)
		fs_sweep(fs);
}

/* A job on the strand of what is called ${name} in disks/, images/ or a folder
 * of snapshots, with its name; what is wrong has been answered. */
static struct fs_job *
named_job(fuse_req_t req, fuse_ino_t parent, const char *name,
	  void (*run)(struct fs_job *j), struct keep_once *o)
{
	struct fs *fs = fs_of(req);
	struct descriptor desc;
	struct tree_place p;
	struct fs_job *j;
	struct node *n;
	int r = tree_place(fs->tree, parent, &p);

	if (r == -ENOTDIR || (r == 0 && p.kind != NODE_DISK))
		r = -EPERM;
	if (r == 0)
		r = tree_lookup(fs->tree, parent, name, &desc, &n);
	if (r < 0) {
		answer_once(req, o, r);
		return NULL;
	}
	j = fs_job_new(fs, req, n, run);
	if (j) {
		tree_place_name(&p, name, j->name);
		j->once = o;
		once_begin(o, &n->uuid);
	} else {
		once_end(o);
	}
	tree_unpin(fs->tree, n);
	return j;
}

void
fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	enum once_was was;
	struct keep_once *o = fs_once(fs, &was);
	struct fs_job *j;

	if (was == ONCE_WAS_DONE) {
		answer_once(req, o, o->result);
		return;
	}
	if (was == ONCE_WAS_BEGUN && !fs_name_is(fs, parent, name, &o->uuid)) {
		answer_once(req, o, 0);
		return;
	}
	j = named_job(req, parent, name, run_unlink, o);
	if (j)
		fs_start(j);
}

/*
 * Rename.
 */

static int
rename_detached(struct fs *fs, struct fs_job *j)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct descriptor desc;
	int r;

	r = catalog_lock_disk(fs->catalog, &j->node->uuid, fs->opt.mount_point,
			      &lock);
	if (r == 0)
		r = catalog_load_verified(fs->catalog,
					  engine_kms(fs->opt.engine), DESC_DISK,
					  j->name, &desc, &dk);
	if (r == 0 && !uuid_equal(&desc.uuid, &j->node->uuid))
		r = -ENOENT; /* it has gone, and its name is another's */
	if (r == 0)
		r = catalog_rename(fs->catalog, &desc, &dk, j->to);
	return r;
}

static int
rename_disk(struct fs *fs, struct fs_job *j)
{
	int r;

	if (drive_use(j->drive)) {
		r = disk_rename(atomic_load(&j->drive->disk), j->to);
		drive_unuse(fs, j->drive);
		return r;
	}
	r = drive_detach(fs, j->drive); /* one that has failed */
	return r == -EBUSY ? r : rename_detached(fs, j);
}

/* The new name as the catalog has it. */
static void
set_name(struct fs_job *j)
{
	struct tree_place p = { .type = j->node->type };
	char name[NODE_NAME_MAX + 1];
	const char *at = strchr(j->name, '@');

	if (at)
		memcpy(p.of, j->name, (size_t)(at - j->name));
	tree_place_name(&p, j->to, name);
	tree_set_name(j->fs->tree, j->node, name);
}

static void
run_rename(struct fs_job *j)
{
	struct fs *fs = j->fs;
	int r;

	if (j->node->type == DESC_DISK)
		r = rename_disk(fs, j);
	else
		r = catalog_move(fs->catalog, engine_kms(fs->opt.engine),
				 j->node->type, j->name, &j->node->uuid, j->to);
	if (r == 0)
		set_name(j);
	else if (r != -EEXIST && r != -EBUSY)
		log_error("rename %s to %s: %s", j->name, j->to, err_text(r));
	once_done(j->once, r, NULL, 0);
	fs_reply(j->req, r);
}

/* Names stay in the folder that they are in. */
static int
check_places(struct fs *fs, fuse_ino_t parent, fuse_ino_t to_parent)
{
	struct tree_place from, to;
	int r = tree_place(fs->tree, parent, &from);

	if (r == 0)
		r = tree_place(fs->tree, to_parent, &to);
	if (r == -ENOTDIR ||
	    (r == 0 && (from.kind != NODE_DISK || to.kind != NODE_DISK)))
		return -EPERM;
	return r == 0 && parent != to_parent ? -EXDEV : r;
}

void
fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	  fuse_ino_t to_parent, const char *to, unsigned flags)
{
	struct fs *fs = fs_of(req);
	struct keep_once *o;
	enum once_was was;
	struct fs_job *j;
	int r = 0;

	/* Never onto an existing name, whether that was asked for or not. */
	if (flags & ~(unsigned)RENAME_NOREPLACE)
		r = -EINVAL;
	if (r == 0)
		r = check_places(fs, parent, to_parent);
	if (r == 0)
		r = strlen(to) > DISK_NAME_MAX ? -ENAMETOOLONG : name_check(to);
	if (r < 0) {
		fs_reply(req, r);
		return;
	}
	o = fs_once(fs, &was);
	if (was == ONCE_WAS_DONE) {
		answer_once(req, o, o->result);
		return;
	}
	if (was == ONCE_WAS_BEGUN && fs_name_is(fs, to_parent, to, &o->uuid)) {
		answer_once(req, o, 0);
		return;
	}
	j = named_job(req, parent, name, run_rename, o);
	if (j) {
		(void)strcpy(j->to, to);
		fs_start(j);
	}
}

/*
 * What there is not.
 */

void
fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent;
	(void)name;
	(void)mode;
	fs_reply(req, -EPERM);
}

void
fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	(void)name;
	fs_reply(req, -EPERM);
}

void
fs_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
	   const char *name)
{
	(void)link;
	(void)parent;
	(void)name;
	fs_reply(req, -EPERM);
}

/*
 * The space of what was deleted comes back in the background: one sweep at a
 * time, and one more if something was deleted meanwhile.  What another process
 * had in use, or could not be done, is tried again some seconds later, and then
 * ever less often: nobody tells when it can be.
 */
#define AGAIN_MS 5000
#define AGAIN_MAX_MS 600000

/* With fs->lock held. */
static void
sweep_later(struct fs *fs)
{
	if (!engine_has_left(fs->opt.engine)) {
		fs->sweep_at = 0;
		return;
	}
	fs->sweep_at = clock_ms() + fs->sweep_ms;
	fs->sweep_ms *= 2;
	if (fs->sweep_ms > AGAIN_MAX_MS)
		fs->sweep_ms = AGAIN_MAX_MS;
	fs->opt.wake(fs->opt.arg);
}

static void
run_sweep(struct fs_job *j)
{
	struct fs *fs = j->fs;
	bool again;

	do {
		engine_sweep(fs->opt.engine, &fs->stop_sweep);
		(void)pthread_mutex_lock(&fs->lock);
		again = fs->sweep_again && !fs->stop_sweep;
		fs->sweep_again = false;
		fs->sweeping = again;
		if (!again)
			sweep_later(fs);
		(void)pthread_mutex_unlock(&fs->lock);
	} while (again);
}

/* ${event}: there is a reason to think that it can be done. */
static void
sweep(struct fs *fs, bool event)
{
	struct fs_job *j;
	bool start;

	if (fs->opt.read_only)
		return;
	(void)pthread_mutex_lock(&fs->lock);
	start = !fs->sweeping;
	fs->sweep_again = !start;
	fs->sweeping = true;
	if (event)
		fs->sweep_ms = AGAIN_MS;
	(void)pthread_mutex_unlock(&fs->lock);
	if (!start)
		return;
	j = fs_job_new(fs, NULL, NULL, run_sweep);
	if (j) {
		fs_start(j);
		return;
	}
	(void)pthread_mutex_lock(&fs->lock);
	fs->sweeping = false;
	fs->sweep_at = clock_ms() + AGAIN_MS; /* no memory now */
	fs->opt.wake(fs->opt.arg);
	(void)pthread_mutex_unlock(&fs->lock);
}

void
fs_sweep(struct fs *fs)
{
	sweep(fs, true);
}

int64_t
fs_sweep_due(struct fs *fs)
{
	int64_t left = -1;

	(void)pthread_mutex_lock(&fs->lock);
	if (fs->sweep_at && !fs->sweeping && !fs->stop_sweep && !fs->closing) {
		left = fs->sweep_at - clock_ms();
		left = left > 0 ? left : 0;
	}
	(void)pthread_mutex_unlock(&fs->lock);
	if (left != 0)
		return left;
	sweep(fs, false);
	return -1;
}

void
fs_sweep_rest(struct fs *fs)
{
	bool sweeping;

	(void)pthread_mutex_lock(&fs->lock);
	sweeping = fs->sweeping;
	(void)pthread_mutex_unlock(&fs->lock);
	if (!fs->stop_sweep && (sweeping || engine_has_left(fs->opt.engine)))
		fs_sweep(fs);
}

void
fs_stop_sweep(struct fs *fs)
{
	fs->stop_sweep = true;
}
