/*
 * io.c - whole reads and writes, and durable replacement.
 *
 * Replacement is four steps, and each must be on the medium before the next:
 * the new file's bytes (fsync), its name (rename, which is atomic), the name's
 * durability (fsync of the folder).  A crash leaves the old file, or the new
 * one, and at worst a temporary name beside it, which listings pass over.
 */
#include <sealdisk/io.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/secret.h>

int
io_fsync(int fd)
{
	return IO_RETRY(fsync(fd)) < 0 ? -errno : 0;
}

int
io_write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO; /* not for ever */
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int
io_read_all(int fd, void *buf, size_t len)
{
	char *p = buf;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ENODATA;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int
io_pread_all(int fd, void *buf, size_t len, uint64_t off)
{
	char *p = buf;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ENODATA;
		if (n > 0) {
			p += n;
			off += (size_t)n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int
io_pwrite_all(int fd, const void *buf, size_t len, uint64_t off)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		if (n > 0) {
			p += n;
			off += (size_t)n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* A buffer that may hold a key: wiped when it is dropped. */
struct blob {
	char *p;
	size_t len, cap;
};

static void
blob_done(struct blob *b)
{
	if (b->p)
		secret_wipe(b->p, b->cap);
	free(b->p);
}

/* Not realloc, which would leave the old bytes behind. */
static int
blob_grow(struct blob *b, size_t cap)
{
	struct blob bigger = { malloc(cap), b->len, cap };

	if (!bigger.p)
		return -ENOMEM;
	if (b->p)
		memcpy(bigger.p, b->p, b->len);
	blob_done(b);
	*b = bigger;
	return 0;
}

/* Read to the end of the file; more than ${max} is refused. */
static int
blob_read(struct blob *b, int fd, size_t max)
{
	for (;;) {
		ssize_t n;
		int r;

		if (b->len > max)
			return -EFBIG;
		if (b->len + 1 >= b->cap) {
			r = blob_grow(b, 2 * b->cap);
			if (r < 0)
				return r;
		}
		n = read(fd, b->p + b->len, b->cap - b->len - 1);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		if (n > 0)
			b->len += (size_t)n;
	}
}

int
io_load(int dirfd, const char *path, size_t max, char **ret_buf,
	size_t *ret_len)
{
	CLEANUP(close_fdp) int fd = -1;
	CLEANUP(blob_done) struct blob b = { NULL, 0, 0 };
	struct stat st;
	int r;

	/* O_NONBLOCK: a FIFO must not keep us waiting for its writer. */
	fd = IO_RETRY(
	    openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (st.st_size > 0 && (uintmax_t)st.st_size > max)
		return -EFBIG;

	/* One byte to see the end of the file by, one for the NUL. */
	r = blob_grow(&b, (size_t)st.st_size + 2);
	if (r == 0)
		r = blob_read(&b, fd, max);
	if (r < 0)
		return r;
	b.p[b.len] = '\0';
	*ret_len = b.len;
	*ret_buf = TAKE(b.p);
	return 0;
}

/* Split ${path} into its folder, written to ${dir}, and its last name. */
static int
split(const char *path, char dir[static PATH_MAX], const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	if (!slash)
		strcpy(dir, ".");
	else if (len == 0)
		strcpy(dir, "/");
	else {
		memcpy(dir, path, len);
		dir[len] = '\0';
	}
	*ret_name = slash ? slash + 1 : path;
	return 0;
}

/* Open the folder that holds ${path}. */
static int
open_parent(int dirfd, const char *path, const char **ret_name)
{
	char dir[PATH_MAX];
	int fd, r;

	r = split(path, dir, ret_name);
	if (r < 0)
		return r;
	fd = IO_RETRY(openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	return fd < 0 ? -errno : fd;
}

int
io_sync_parent(int dirfd, const char *path)
{
	CLEANUP(close_fdp) int dir = -1;
	const char *name;

	dir = open_parent(dirfd, path, &name);
	if (dir < 0)
		return dir;
	return io_fsync(dir);
}

/* Make a temporary file for ${name}, and its name in ${tmp}. */
static int
tmp_open(int dir, const char *name, mode_t mode, char tmp[static NAME_MAX + 1])
{
	for (unsigned tries = 0; tries < 100; tries++) {
		uint8_t random[3];
		char suffix[2 * sizeof(random) + 1];
		int fd, r;

		r = crypto_random(random, sizeof(random));
		if (r < 0)
			return r;
		hex_encode(random, sizeof(random), suffix);
		/* A name of the full length is cut to make room. */
		(void)snprintf(tmp, NAME_MAX + 1, IO_TMP_PREFIX "%.*s.tmp-%s",
			       NAME_MAX - 12, name, suffix);
		fd = IO_RETRY(openat(
		    dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
		if (fd >= 0 || errno != EEXIST)
			return fd < 0 ? -errno : fd;
	}
	return -EEXIST;
}

int
io_replace(int dirfd, const char *path, const void *buf, size_t len,
	   mode_t mode)
{
	CLEANUP(close_fdp) int dir = -1;
	CLEANUP(close_fdp) int fd = -1;
	char tmp[NAME_MAX + 1];
	const char *name;
	int r;

	dir = open_parent(dirfd, path, &name);
	if (dir < 0)
		return dir;
	fd = tmp_open(dir, name, mode, tmp);
	if (fd < 0)
		return fd;

	r = io_write_all(fd, buf, len);
	/* Flush before the rename, or a crash could leave an empty file. */
	if (r == 0)
		r = io_fsync(fd);
	if (r == 0 && IO_RETRY(renameat(dir, tmp, dir, name)) < 0)
		r = -errno;
	if (r < 0)
		goto err_unlink;
	return io_fsync(dir);

err_unlink:
	(void)IO_RETRY(unlinkat(dir, tmp, 0)); /* r is what matters */
	return r;
}

/* Make one folder, whose parent exists. */
static int
mkdir_one(int dirfd, const char *path, mode_t mode)
{
	struct stat st;

	if (IO_RETRY(mkdirat(dirfd, path, mode)) == 0)
		return io_sync_parent(dirfd, path);
	if (errno != EEXIST)
		return -errno;
	if (fstatat(dirfd, path, &st, 0) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int
io_mkdir_p(int dirfd, const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len == 0)
		return -ENOENT;
	if (len >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= len; i++) {
		int r;

		if (i < len && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		r = mkdir_one(dirfd, part, mode);
		if (r < 0)
			return r;
	}
	return 0;
}
