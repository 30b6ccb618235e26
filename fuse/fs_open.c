/*
 * fs_open.c - open, close and create.
 *
 * An open of an attached disk is answered at once by whichever worker it came
 * to.  The first one, and every create, need the KMS and are answered by a job.
 */
#include "fs_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>

#include <sealdisk/log.h>

/* What cp and qemu-img bring may hold a partition table that counts in 512. */
#define NEW_SECTOR 512

/* libfuse 3.14 cannot say FOPEN_PARALLEL_DIRECT_WRITES, so the answer is put
 * together here. */
static void
reply_open(struct fs *fs, fuse_req_t req, uint64_t unique, struct drive *d,
	   int flags)
{
	struct fuse_open_answer a;
	struct fuse_open_out out = { .fh = 0 };
	int r = drive_opened(fs, d, unique, flags, &a);

	if (r < 0) {
		fs_reply(req, r);
		return;
	}
	out.fh = a.fh;
	out.open_flags = a.flags;
	/* If the kernel does not take it, it will not send a release either. */
	if (fuse_reply_buf(req, (const char *)&out, sizeof(out)) < 0)
		drive_closed(fs, d, a.fh);
}

static bool
to_read(int flags)
{
	return (flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC);
}

/* What was put back to an older state can be looked at: answered, and the
 * caller is counted out, where it is opened for writing. */
static bool
refuse_older(struct fs *fs, fuse_req_t req, struct drive *d, int flags)
{
	if (to_read(flags) || !drive_is_older(d))
		return false;
	drive_unuse(fs, d);
	fs_reply(req, -ESTALE);
	return true;
}

static void
run_open(struct fs_job *j)
{
	int r = drive_attach(j->fs, j->drive, to_read(j->flags));

	if (r == 0 && refuse_older(j->fs, j->req, j->drive, j->flags))
		return;
	/* The kernel has a name for it still: it looks that up once more. */
	if (r == -ENOENT)
		(void)fuse_reply_err(j->req, ESTALE);
	else if (r < 0)
		fs_reply(j->req, r);
	else
		reply_open(j->fs, j->req, j->unique, j->drive, j->flags);
}

void
fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct node *n = fs_node(req, ino);
	struct drive *d;
	struct fs_job *j;

	if (!n)
		return;
	if (node_is_info(n)) {
		info_open(req, n, fi);
		return;
	}
	if (n->type != DESC_DISK && (fi->flags & (O_ACCMODE | O_TRUNC))) {
		fs_reply(req, -EROFS);
		return;
	}
	d = drive_peek(n);
	if (d && drive_use(d)) {
		if (!refuse_older(fs, req, d, fi->flags))
			reply_open(fs, req, pending_unique(), d, fi->flags);
		return;
	}
	j = fs_job_new(fs, req, n, run_open);
	if (!j)
		return;
	j->flags = fi->flags;
	fs_start(j);
}

void
fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct node *n = tree_find(fs->tree, ino);

	if (n && node_is_info(n))
		note_drop(fs, fi->fh);
	else if (n && drive_peek(n))
		drive_closed(fs, drive_peek(n), fi->fh);
	fs_reply(req, 0);
}

/*
 * Create: a disk of size 0, under the default CMK, opened.
 */

static void
fill_attr(const struct stat *st, struct fuse_attr *a)
{
	a->ino = st->st_ino;
	a->size = (uint64_t)st->st_size;
	a->blocks = (uint64_t)st->st_blocks;
	a->atime = (uint64_t)st->st_atime;
	a->mtime = (uint64_t)st->st_mtime;
	a->ctime = (uint64_t)st->st_ctime;
	a->mode = st->st_mode;
	a->nlink = (uint32_t)st->st_nlink;
	a->uid = st->st_uid;
	a->gid = st->st_gid;
	a->blksize = (uint32_t)st->st_blksize;
}

/* Node and open file in one answer, for the reason of reply_open(). */
static void
reply_create(struct fs_job *j, const struct fuse_entry_param *e)
{
	struct fs *fs = j->fs;
	struct drive *d = j->drive;
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .entry.nodeid = e->ino };
	struct fuse_open_answer a;
	int r = drive_opened(fs, d, j->unique, j->flags, &a);

	if (r < 0) {
		fs_reply(j->req, r);
		return;
	}
	/* Whole seconds: see TIMEOUT_... */
	out.entry.entry_valid = (uint64_t)e->entry_timeout;
	out.entry.attr_valid = (uint64_t)e->attr_timeout;
	fill_attr(&e->attr, &out.entry.attr);
	out.open.fh = a.fh;
	out.open.open_flags = a.flags;
	tree_count(fs->tree, d->node);
	if (fuse_reply_buf(j->req, (const char *)&out, sizeof(out)) < 0) {
		tree_forget(fs->tree, d->node->id, 1);
		drive_closed(fs, d, a.fh);
	}
}

/* On the new disk's own strand. */
static void
run_open_new(struct fs_job *j)
{
	struct fuse_entry_param e;
	int r = drive_attach(j->fs, j->drive, false);

	if (r < 0) {
		fs_reply(j->req, r);
		return;
	}
	r = fs_entry(j->fs, j->node, NULL, &e);
	if (r == 0) {
		reply_create(j, &e);
		return;
	}
	drive_unuse(j->fs, j->drive);
	fs_reply(j->req, r);
}

static int
make_disk(struct fs_job *j, struct descriptor *desc, struct node **ret)
{
	const struct disk_params p = {
		.name = j->name,
		.sector_size = NEW_SECTOR,
		.kind = "data",
		.key = j->fs->opt.key,
		.uid = j->fs->opt.uid,
		.gid = j->fs->opt.gid,
		.mode = j->mode,
	};
	struct fs *fs = j->fs;
	int made = catalog_create(fs->catalog, engine_kms(fs->opt.engine), &p,
				  desc, NULL);
	int r = made;

	if (made == 0)
		once_done(j->once, 0, NULL, 0);
	if (r < 0 && r != -EEXIST)
		log_error("create %s: %s", j->name, err_text(r));
	/* Somebody else may have been faster: unless that was to be told, it is
	 * theirs that is opened. */
	if (r == -EEXIST && !(j->flags & O_EXCL))
		r = 0;
	if (r == 0)
		r = tree_lookup(fs->tree, NODE_DISKS, j->name, desc, ret);
	/* The snapshots of one that is gone have the name. */
	return r == -ENOENT && made == -EEXIST ? made : r;
}

static void
run_create(struct fs_job *j)
{
	struct descriptor desc;
	struct fs_job *next;
	struct node *n;
	int r = make_disk(j, &desc, &n);

	if (r < 0) {
		fs_reply(j->req, r);
		return;
	}
	next = fs_job_new(j->fs, j->req, n, run_open_new);
	if (next) {
		next->flags = j->flags;
		fs_job_pass(j, next);
		fs_start(next);
	}
	tree_unpin(j->fs->tree, n);
}

/* mknod(2) of a regular file: a new disk that nobody opens. */
static void
run_mknod(struct fs_job *j)
{
	struct descriptor desc;
	struct node *n;
	int r = make_disk(j, &desc, &n);

	if (r < 0) {
		fs_reply(j->req, r);
		return;
	}
	fs_reply_node(j->req, n, &desc);
	tree_unpin(j->fs->tree, n);
}

/* A new disk is its owner's alone, whatever the client's umask says. */
static void
start_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	     int flags, void (*run)(struct fs_job *j))
{
	struct fs *fs = fs_of(req);
	int r = fs_check_name(parent, name);
	struct keep_once *o = NULL;
	struct fs_job *j;
	enum once_was was;

	if (r == 0) {
		o = fs_once(fs, &was);
		if (was == ONCE_NEW && (flags & O_EXCL))
			r = fs_name_is_new(fs, parent, name);
	}
	if (r < 0) {
		once_end(o);
		fs_reply(req, r);
		return;
	}
	/* Then what has the name is what this request has made. */
	if (was != ONCE_NEW)
		flags &= ~O_EXCL;
	else
		once_begin(o, NULL);
	j = fs_job_new(fs, req, NULL, run);
	if (!j) {
		once_end(o);
		return;
	}
	j->once = o;
	j->flags = flags;
	j->mode = mode & 0600;
	(void)strcpy(j->name, name);
	fs_start(j);
}

void
fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	  struct fuse_file_info *fi)
{
	start_create(req, parent, name, mode, fi->flags, run_create);
}

void
fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	 dev_t rdev)
{
	(void)rdev;
	if (!S_ISREG(mode))
		fs_reply(req, -EPERM);
	else
		start_create(req, parent, name, mode, O_EXCL, run_mknod);
}
