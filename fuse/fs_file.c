/*
 * fs_file.c - data comes and goes.
 *
 * Reading and writing are the hot path: no memory is allocated, nothing is
 * logged, and the only lock is the tree's, for a step through one bucket.  A
 * read lands in the worker's reply buffer and goes to the kernel from there; a
 * write is taken where the kernel has put it, in the receive buffer.
 */
#include "fs_private.h"

#include <errno.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <string.h>

#define SECTOR 512U

/*
 * The disk of an open file.  The file has counted itself in, so the disk stays
 * until its release is answered.
 */
static struct disk *
opened(fuse_req_t req, fuse_ino_t ino)
{
	struct node *n = tree_find(fs_of(req)->tree, ino);
	struct drive *d = n ? drive_peek(n) : NULL;

	return d ? atomic_load_explicit(&d->disk, memory_order_acquire) : NULL;
}

void
fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct worker *w = worker_self();
	struct disk *disk = opened(req, ino);
	uint64_t end;
	size_t len;
	int r;

	if (!disk) {
		info_read(req, ino, size, off, fi->fh);
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
	struct disk *disk = opened(req, ino);
	int r;

	(void)fi;
	r = disk ? disk_write(disk, worker_self()->scratch, buf, size,
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
	struct disk *disk = opened(req, ino);

	(void)datasync;
	(void)fi;
	fs_reply(req, disk ? disk_flush(disk) : 0);
}

/*
 * A close need not make anything durable, but whoever closes is told if the
 * disk has failed.
 */
void
fs_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct disk *disk = opened(req, ino);
	struct disk_stats stats = { .failed = false };

	(void)fi;
	if (disk)
		disk_stats(disk, &stats);
	fs_reply(req, stats.failed ? -EIO : 0);
}

void
fs_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	 struct fuse_file_info *fi)
{
	struct disk *disk = opened(req, ino);
	uint64_t found;
	int r;

	(void)fi;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		r = -EINVAL;
	else
		r = disk ? disk_seek(disk, worker_self()->scratch,
				     (uint64_t)off, whence == SEEK_DATA, &found)
			 : -ENOSYS; /* an info file: the kernel does it */
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
	struct scratch *s = worker_self()->scratch;
	struct disk *disk = opened(req, ino);
	uint64_t end = (uint64_t)off + (uint64_t)len;
	bool grow = mode == FALLOC_FL_ZERO_RANGE;
	int r = 0;

	(void)fi;
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
