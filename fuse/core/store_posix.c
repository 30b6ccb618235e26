/*
 * store_posix.c - a store in a folder.
 *
 * The folder may lie where others can write (a file server, a stick): no path
 * is resolved out of it or through a symbolic link (store_posix_path.c), and
 * what is opened must be a regular file.
 *
 * A folder is made durable as it is made, for that is rare; a file's name is
 * durable with sync_dir, sync_all, or by the calls that say so themselves.
 *
 * The root's descriptor is opened once and kept: syncfs reports a failed
 * writeback of the file system once to each descriptor that was open before.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <sealdisk/io.h>

#include "store_posix_private.h"

struct posix_file {
	struct store_file base;
	int fd;
};

static struct posix_store *
posix_of(struct store *st)
{
	return (struct posix_store *)st;
}

static int
fd_of(struct store_file *f)
{
	return ((struct posix_file *)f)->fd;
}

/* Files. */

/* Takes ${fd} over. */
static int
file_new(struct store *st, int fd, struct store_file **ret)
{
	struct posix_file *f = malloc(sizeof(*f));

	if (!f) {
		(void)close(fd);
		return -ENOMEM;
	}
	f->base.st = st;
	f->fd = fd;
	*ret = &f->base;
	return 0;
}

static int
px_open(struct store *st, const char *path, bool writable,
	struct store_file **ret)
{
	CLEANUP(close_fdp) int fd = -1;
	struct stat sb;

	fd = posix_open_beneath(posix_of(st), path,
				writable ? O_RDWR : O_RDONLY);
	if (fd < 0)
		return fd;
	if (IO_RETRY(fstat(fd, &sb)) < 0)
		return posix_error();
	if (!S_ISREG(sb.st_mode))
		return S_ISDIR(sb.st_mode) ? -EISDIR : -EUCLEAN;
	return file_new(st, TAKE_FD(fd), ret);
}

static int
px_create(struct store *st, const char *path, struct store_file **ret)
{
	CLEANUP(close_fdp) int dir = -1;
	const char *name;
	int r, fd;

	r = posix_parent(posix_of(st), path, true, &dir, &name);
	if (r < 0)
		return r;
	fd = IO_RETRY(openat(dir, name,
			     O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			     0600));
	return fd < 0 ? posix_error() : file_new(st, fd, ret);
}

static void
px_close(struct store_file *f)
{
	(void)close(fd_of(f)); /* what mattered, sync has told */
	free(f);
}

static int
px_size(struct store_file *f, uint64_t *ret)
{
	struct stat sb;

	if (IO_RETRY(fstat(fd_of(f), &sb)) < 0)
		return posix_error();
	*ret = (uint64_t)sb.st_size;
	return 0;
}

static int
px_read(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	return posix_told(io_pread_all(fd_of(f), buf, len, off));
}

static int
px_write(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	int r = posix_told(io_pwrite_all(fd_of(f), buf, len, off));

	return r == -EBADF ? -EROFS : r; /* opened for reading */
}

static int
px_punch(struct store_file *f, uint64_t off, uint64_t len)
{
	if (IO_RETRY(fallocate(fd_of(f),
			       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       (off_t)off, (off_t)len)) == 0)
		return 0;
	return errno == ENOSYS ? -EOPNOTSUPP : posix_error();
}

static int
px_truncate(struct store_file *f, uint64_t len)
{
	return IO_RETRY(ftruncate(fd_of(f), (off_t)len)) < 0 ? posix_error()
							     : 0;
}

static void
px_writeback(struct store_file *f, uint64_t off, uint64_t len)
{
	/* SYNC_FILE_RANGE_WRITE alone takes no error away from a later sync. */
	if (len)
		(void)sync_file_range(fd_of(f), (off_t)off, (off_t)len,
				      SYNC_FILE_RANGE_WRITE);
}

static void
px_uncache(struct store_file *f, uint64_t off, uint64_t len)
{
	(void)posix_fadvise(fd_of(f), (off_t)off, (off_t)len,
			    POSIX_FADV_DONTNEED);
}

static void
px_drop(struct store_file *f)
{
	(void)posix_fadvise(fd_of(f), 0, 0, POSIX_FADV_DONTNEED);
}

static int
px_allocated(struct store_file *f, uint64_t *ret)
{
	struct stat sb;

	if (IO_RETRY(fstat(fd_of(f), &sb)) < 0)
		return posix_error();
	*ret = (uint64_t)sb.st_blocks * 512;
	return 0;
}

/* Durability. */

static int
px_sync(struct store_file *f)
{
	/* The size, and where the data lies, are among what it syncs. */
	return IO_RETRY(fdatasync(fd_of(f))) < 0 ? posix_error() : 0;
}

static int
sync_folder(const struct posix_store *ps, const char *path)
{
	CLEANUP(close_fdp) int fd = posix_open_beneath(ps, path, FOLDER_FLAGS);

	if (fd < 0)
		return fd;
	return posix_told(io_fsync(fd));
}

static int
px_sync_dir(struct store *st, const char *path)
{
	char above[STORE_PATH_LEN];
	int r;

	r = sync_folder(posix_of(st), path);
	if (r < 0 || !*path)
		return r;
	posix_folder_of(path, above);
	return sync_folder(posix_of(st), above);
}

static int
px_sync_all(struct store *st)
{
	return IO_RETRY(syncfs(posix_of(st)->root)) < 0 ? posix_error() : 0;
}

/* The store. */

static int
px_space(struct store *st, struct store_space *ret)
{
	struct statvfs v;

	if (IO_RETRY(fstatvfs(posix_of(st)->root, &v)) < 0)
		return posix_error();
	ret->total = (uint64_t)v.f_blocks * v.f_frsize;
	ret->free = (uint64_t)(geteuid() ? v.f_bavail : v.f_bfree) * v.f_frsize;
	return 0;
}

static void
px_free(struct store *st)
{
	(void)close(posix_of(st)->root);
	free(posix_of(st));
}

static const struct store_ops posix_ops = {
	.open = px_open,
	.create = px_create,
	.close = px_close,
	.size = px_size,
	.read = px_read,
	.write = px_write,
	.punch = px_punch,
	.truncate = px_truncate,
	.writeback = px_writeback,
	.uncache = px_uncache,
	.drop = px_drop,
	.allocated = px_allocated,
	.sync = px_sync,
	.sync_dir = px_sync_dir,
	.sync_all = px_sync_all,
	.list = posix_list,
	.load = posix_load,
	.replace = posix_replace,
	.rename = posix_rename,
	.remove = posix_remove,
	.lock = posix_lock,
	.lock_say = posix_lock_say,
	.unlock = posix_unlock,
	.lock_check = posix_lock_check,
	.lock_fd = posix_lock_fd,
	.lock_adopt = posix_lock_adopt,
	.lock_leave = posix_lock_leave,
	.lock_drop = posix_lock_drop,
	.lock_owner = posix_lock_owner,
	.space = px_space,
	.free = px_free,
};

int
store_posix_open(const char *path, struct store **ret)
{
	int fd = IO_RETRY(open(path, FOLDER_FLAGS | O_CLOEXEC));

	return fd < 0 ? posix_error() : store_posix_adopt(fd, ret);
}

int
store_posix_fd(const struct store *st)
{
	return ((const struct posix_store *)st)->root;
}

int
store_posix_adopt(int fd, struct store **ret)
{
	struct posix_store *ps;

	ps = malloc(sizeof(*ps));
	if (!ps) {
		(void)close(fd);
		return -ENOMEM;
	}
	ps->base.ops = &posix_ops;
	ps->root = fd;
	ps->beneath = posix_has_openat2(fd);
	*ret = &ps->base;
	return 0;
}
