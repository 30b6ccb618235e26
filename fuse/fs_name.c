/*
 * fs_name.c - names that go and change: unlink, rename; and what there is not.
 */
#include "fs_private.h"

#include <errno.h>
#include <string.h>

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
		r = catalog_remove(fs->catalog, DESC_DISK, j->name);
	if (r < 0 && r != -EBUSY)
		log_error("remove %s: %s", j->name, err_text(r));
	fs_reply(j->req, r);
	if (r == 0)
		fs_sweep(fs);
}

/* The node of a name in disks/, pinned; what is wrong has been answered. */
static struct node *
named(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct descriptor desc;
	struct node *n;
	int r = -EPERM;

	if (parent == NODE_DISKS)
		r = tree_lookup(fs_of(req)->tree, parent, name, &desc, &n);
	if (r == 0)
		return n;
	fs_reply(req, r);
	return NULL;
}

void
fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct node *n = named(req, parent, name);
	struct fs_job *j;

	if (!n)
		return;
	j = fs_job_new(fs, req, n, run_unlink);
	if (j) {
		(void)strcpy(j->name, name);
		fs_start(j);
	}
	tree_unpin(fs->tree, n);
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

static void
run_rename(struct fs_job *j)
{
	struct fs *fs = j->fs;
	int r;

	if (drive_use(j->drive)) {
		r = disk_rename(atomic_load(&j->drive->disk), j->to);
		drive_unuse(fs, j->drive);
	} else {
		r = drive_detach(fs, j->drive); /* one that has failed */
		if (r != -EBUSY)
			r = rename_detached(fs, j);
	}
	if (r == 0)
		tree_set_name(fs->tree, j->node, j->to);
	else if (r != -EEXIST && r != -EBUSY)
		log_error("rename %s to %s: %s", j->name, j->to, err_text(r));
	fs_reply(j->req, r);
}

void
fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	  fuse_ino_t to_parent, const char *to, unsigned flags)
{
	struct fs *fs = fs_of(req);
	struct fs_job *j;
	struct node *n;
	int r = 0;

	/* Never onto an existing name, whether that was asked for or not. */
	if (flags & ~(unsigned)RENAME_NOREPLACE)
		r = -EINVAL;
	else if (parent != NODE_DISKS)
		r = -EPERM;
	if (r == 0)
		r = fs_check_name(to_parent, to);
	if (r < 0) {
		fs_reply(req, r);
		return;
	}
	n = named(req, parent, name);
	if (!n)
		return;
	j = fs_job_new(fs, req, n, run_rename);
	if (j) {
		(void)strcpy(j->name, name);
		(void)strcpy(j->to, to);
		fs_start(j);
	}
	tree_unpin(fs->tree, n);
}

/*
 * What there is not.  A hard link would be a snapshot, an image or a clone; a
 * version that makes none says that it does not support it, which is what will
 * change, and not EPERM, which says that it never may be.
 */

void
fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino;
	(void)name;
	fs_reply(req, parent == NODE_DISKS ? -EOPNOTSUPP : -EPERM);
}

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
 * time, and one more if something was deleted meanwhile.
 */

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
		(void)pthread_mutex_unlock(&fs->lock);
	} while (again);
}

void
fs_sweep(struct fs *fs)
{
	struct fs_job *j;
	bool start;

	if (fs->opt.read_only)
		return;
	(void)pthread_mutex_lock(&fs->lock);
	start = !fs->sweeping;
	fs->sweep_again = !start;
	fs->sweeping = true;
	(void)pthread_mutex_unlock(&fs->lock);
	if (!start)
		return;
	j = fs_job_new(fs, NULL, NULL, run_sweep);
	if (j) {
		fs_start(j);
		return;
	}
	(void)pthread_mutex_lock(&fs->lock);
	fs->sweeping = false; /* the next removal, or mount, does it */
	(void)pthread_mutex_unlock(&fs->lock);
}

void
fs_stop_sweep(struct fs *fs)
{
	fs->stop_sweep = true;
}
