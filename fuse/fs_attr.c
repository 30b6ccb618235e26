/*
 * fs_attr.c - changes of a disk's size, mode and owner.
 *
 * A disk that is attached here is changed at once.  For one that is not, mode
 * and owner are changed in its descriptor, under its lock and for one Decrypt;
 * a new size needs it attached, after which it lingers: whoever truncates will
 * mostly write next.
 */
#include "fs_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#define SECTOR 512
#define SET_PROPERTIES                                                         \
	(FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)

struct change {
	const struct stat *st;
	int to_set;
};

static int
edit(struct descriptor *desc, void *arg)
{
	const struct change *c = arg;

	if (c->to_set & FUSE_SET_ATTR_MODE)
		desc->mode = c->st->st_mode & 0777;
	if (c->to_set & FUSE_SET_ATTR_UID)
		desc->uid = c->st->st_uid;
	if (c->to_set & FUSE_SET_ATTR_GID)
		desc->gid = c->st->st_gid;
	return 0;
}

/* The caller has counted itself in. */
static int
change_attached(struct drive *d, const struct stat *st, int to_set)
{
	struct disk *disk = atomic_load(&d->disk);
	struct change c = { st, to_set };
	int r = 0;

	if (to_set & FUSE_SET_ATTR_SIZE)
		r = disk_resize(disk, worker_self()->scratch,
				(uint64_t)st->st_size);
	if (r == 0 && (to_set & SET_PROPERTIES))
		r = disk_update(disk, edit, &c);
	return r;
}

/* Descriptor alone: lock, verify, replace. */
static int
change_detached(struct fs *fs, struct node *n,
		int (*fn)(struct descriptor *desc, void *arg), void *arg)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct descriptor desc;
	int r;

	r = tree_load(fs->tree, n, &desc, NULL, NULL);
	if (r == 0)
		r = catalog_lock_disk(fs->catalog, &n->uuid,
				      fs->opt.mount_point, &lock);
	/* Only now is what stands there no longer changed by anybody else. */
	if (r == 0)
		r = tree_load(fs->tree, n, &desc, NULL, NULL);
	if (r == 0)
		r = catalog_load_verified(fs->catalog,
					  engine_kms(fs->opt.engine), DESC_DISK,
					  desc.name, &desc, &dk);
	if (r == 0)
		r = fn(&desc, arg);
	if (r == 0)
		r = catalog_save(fs->catalog, &desc, &dk);
	return r;
}

/* Of a snapshot or image. */
static int
change_frozen(struct fs *fs, struct node *n,
	      int (*fn)(struct descriptor *desc, void *arg), void *arg)
{
	char name[NODE_NAME_MAX + 1];
	struct descriptor desc;
	int r = -ENOENT;

	/* Somebody may just have renamed it, or its disk. */
	for (int tries = 0; tries < 3 && r == -ENOENT; tries++) {
		r = tree_load(fs->tree, n, &desc, NULL, NULL);
		if (r < 0)
			return r;
		tree_name(fs->tree, n, name);
		r = catalog_update(fs->catalog, engine_kms(fs->opt.engine),
				   n->type, name, &n->uuid, fn, arg);
	}
	return r;
}

int
drive_change(struct fs *fs, struct drive *d,
	     int (*fn)(struct descriptor *desc, void *arg), void *arg)
{
	int r;

	if (d->node->type != DESC_DISK)
		return change_frozen(fs, d->node, fn, arg);
	if (drive_use(d)) {
		r = disk_update(atomic_load(&d->disk), fn, arg);
		drive_unuse(fs, d);
		return r;
	}
	r = drive_detach(fs, d); /* one that has failed */
	return r == -EBUSY ? r : change_detached(fs, d->node, fn, arg);
}

static void
reply_attr(struct fs *fs, fuse_req_t req, struct node *n)
{
	struct stat st;
	double timeout;
	int r = fs_stat(fs, n, NULL, &st, &timeout);

	if (r < 0)
		fs_reply(req, r);
	else
		(void)fuse_reply_attr(req, &st, timeout);
}

static void
run_setattr(struct fs_job *j)
{
	struct change c = { &j->st, j->to_set };
	int r;

	if (j->to_set & FUSE_SET_ATTR_SIZE) {
		r = drive_attach(j->fs, j->drive, false);
		if (r == 0) {
			r = change_attached(j->drive, &j->st, j->to_set);
			drive_unuse(j->fs, j->drive);
		}
	} else {
		r = drive_change(j->fs, j->drive, edit, &c);
	}
	if (r < 0)
		fs_reply(j->req, r);
	else
		reply_attr(j->fs, j->req, j->node);
}

/* What need not be asked of the disk. */
static int
check(const struct node *n, const struct stat *st, int to_set)
{
	if (n->kind != NODE_DISK)
		return -EPERM;
	if (!(to_set & FUSE_SET_ATTR_SIZE))
		return 0;
	if (n->type != DESC_DISK)
		return -EROFS;
	if (st->st_size < 0 || (uint64_t)st->st_size > DISK_SIZE_MAX)
		return -EFBIG;
	return st->st_size % SECTOR ? -EINVAL : 0;
}

void
fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
	   struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct node *n = fs_node(req, ino);
	struct drive *d;
	struct fs_job *j;
	int r = 0;

	(void)fi;
	if (!n)
		return;
	/* Times are not kept. */
	to_set &= SET_PROPERTIES | FUSE_SET_ATTR_SIZE;
	if (to_set)
		r = check(n, st, to_set);
	if (r < 0) {
		fs_reply(req, r);
		return;
	}
	d = drive_peek(n);
	if (!to_set) {
		reply_attr(fs, req, n);
	} else if (d && n->type == DESC_DISK && drive_use(d)) {
		r = change_attached(d, st, to_set);
		drive_unuse(fs, d);
		if (r < 0)
			fs_reply(req, r);
		else
			reply_attr(fs, req, n);
	} else if ((j = fs_job_new(fs, req, n, run_setattr))) {
		j->st = *st;
		j->to_set = to_set;
		fs_start(j);
	}
}
