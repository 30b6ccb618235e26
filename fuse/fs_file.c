/*
 * fs_file.c - data comes and goes.
 *
 * Reading and writing are the hot path: no memory is allocated, nothing is
 * logged, and the only locks are the tree's, for a step through one bucket, and
 * the drive's gate, shared.  A read lands in the worker's reply buffer and goes
 * to the kernel from there; a write is taken where the kernel has put it, in
 * the receive buffer.
 */
#include "fs_private.h"

#include <errno.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <string.h>

#include "planted.h"

#define SECTOR 512U

/*
 * The disk of an open file.  The file has counted itself in, so the disk stays
 * until its release is answered; unless its key was revoked, when it is taken
 * away between two requests.
 */
struct opened {
	struct drive *drive; /* NULL: it is no disk's file */
	struct disk *disk;   /* NULL: it was taken away */
};

static struct opened
enter(fuse_req_t req, fuse_ino_t ino)
{
	struct node *n = tree_find(fs_of(req)->tree, ino);
	struct opened o = { n ? drive_peek(n) : NULL, NULL };

	if (!o.drive)
		return o;
	(void)pthread_rwlock_rdlock(&o.drive->gate);
	o.disk = atomic_load_explicit(&o.drive->disk, memory_order_acquire);
	return o;
}

static void
leave(struct opened *o)
{
	if (o->drive)
		(void)pthread_rwlock_unlock(&o->drive->gate);
}

void
fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	CLEANUP(leave) struct opened o = enter(req, ino);
	struct worker *w = worker_self();
	struct disk *disk = o.disk;
	uint64_t end;
	size_t len;
	int r;

	if (!o.drive) {
		info_read(req, ino, size, off, fi->fh);
		return;
	}
	if (!disk) {
		fs_reply(req, -EIO);
		return;
	}
	if (size > WORKER_IO_MAX)
		size = WORKER_IO_MAX;
	do {
		end = disk_size(disk);
		len = 0;
		if ((uint64_t)off < end)
			len = end - (uint64_t)off < size ? end - (uint64_t)off
							 : size;
		if (w->out_used < len)
			w->out_used = len;
		r = len ? disk_read(disk, w->scratch, w->out, len,
				    (uint64_t)off)
			: 0;
		/* Cut shorter between the two: there is less to read. */
	} while (r == -EINVAL && disk_size(disk) < end);
	if (r < 0)
		fs_reply(req, r);
	else
		(void)fuse_reply_buf(req, (const char *)w->out, len);
}

void
fs_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	 off_t off, struct fuse_file_info *fi)
{
	CLEANUP(leave) struct opened o = enter(req, ino);
	int r;

	(void)fi;
	POINT("write", (uint64_t)off);
	r = o.disk ? disk_write(o.disk, worker_self()->scratch, buf, size,
				(uint64_t)off)
		   : -EIO;
	if (r < 0)
		fs_reply(req, r);
	else
		(void)fuse_reply_write(req, size);
}

void
fs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	 struct fuse_file_info *fi)
{
	CLEANUP(leave) struct opened o = enter(req, ino);

	(void)datasync;
	(void)fi;
	if (o.drive)
		fs_reply(req, o.disk ? disk_flush(o.disk) : -EIO);
	else
		fs_reply(req, 0);
}

/*
 * A close need not make anything durable, but whoever closes is told if the
 * disk has failed.
 */
void
fs_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	CLEANUP(leave) struct opened o = enter(req, ino);
	struct disk_stats stats = { .failed = o.drive && !o.disk };

	(void)fi;
	if (o.disk)
		disk_stats(o.disk, &stats);
	fs_reply(req, stats.failed ? -EIO : 0);
}

void
fs_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	 struct fuse_file_info *fi)
{
	CLEANUP(leave) struct opened o = enter(req, ino);
	uint64_t found;
	int r;

	(void)fi;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		r = -EINVAL;
	else if (!o.drive)
		r = -ENOSYS; /* an info file: the kernel does it */
	else
		r = o.disk
			? disk_seek(o.disk, worker_self()->scratch,
				    (uint64_t)off, whence == SEEK_DATA, &found)
			: -EIO;
	if (r < 0)
		fs_reply(req, r);
	else
		(void)fuse_reply_lseek(req, (off_t)found);
}

/*
 * An unsupported mode is EOPNOTSUPP and nothing else: a loop device then does
 * without it, while EINVAL would fail its requests.
 */
void
fs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
	     struct fuse_file_info *fi)
{
	CLEANUP(leave) struct opened o = enter(req, ino);
	struct scratch *s = worker_self()->scratch;
	struct disk *disk = o.disk;
	uint64_t end = (uint64_t)off + (uint64_t)len;
	bool grow = mode == FALLOC_FL_ZERO_RANGE;
	int r = 0;

	(void)fi;
	if (o.drive && !disk) {
		fs_reply(req, -EIO);
		return;
	}
	if (!disk ||
	    (!grow && mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) &&
	     mode != (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE))) {
		fs_reply(req, -EOPNOTSUPP);
		return;
	}
	/* As a write does, to the next whole sector. */
	if (grow && end > disk_size(disk))
		r = end > DISK_SIZE_MAX
			? -EFBIG
			: disk_resize(disk, s,
				      (end + SECTOR - 1) / SECTOR * SECTOR);
	if (r == 0)
		r = disk_zero(disk, s, (uint64_t)off, (uint64_t)len);
	fs_reply(req, r);
}
