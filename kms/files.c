/*
 * files.c - see files.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/io.h>

#include "files.h"

/* The folder part of ${path}, without the last slash; "." where none. */
static int
parent_of(const char *path, char out[static PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	if (!slash)
		return files_join(out, ".", "");
	if (len == 0)
		return files_join(out, "/", "");
	memcpy(out, path, len);
	out[len] = '\0';
	return 0;
}

int
files_join(char out[static PATH_MAX], const char *a, const char *b)
{
	int n = snprintf(out, PATH_MAX, "%s%s", a, b);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int
files_temp_make(const char *path, struct files_temp *ret, int *ret_fd)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char random[2 * 6 + 1];
	uint8_t bytes[6];
	struct files_temp t;
	int fd, n, r;

	r = crypto_random(bytes, sizeof(bytes));
	if (r < 0)
		return r;
	hex_encode(bytes, sizeof(bytes), random);
	n = snprintf(t.path, sizeof(t.path), "%.*s" IO_TMP_PREFIX "%s.tmp-%s",
		     (int)(name - path), path, name, random);
	if (n < 0 || (size_t)n >= sizeof(t.path))
		return -ENAMETOOLONG;
	fd = open(t.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	*ret = t;
	if (ret_fd)
		*ret_fd = fd;
	else
		(void)close(fd);
	return 0;
}

/*
 * Not every file system can do either: FAT has no hard links, NFS no rename
 * that leaves its target alone.
 */
static int
rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (link(from, to) < 0)
		return -errno;
	(void)unlink(from); /* a second name of the same file does no harm */
	return 0;
}

int
files_temp_publish(struct files_temp *t, const char *path)
{
	CLEANUP(close_fdp) int fd = -1;
	int r;

	fd = open(t->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Flush before the rename, or a crash could leave half a file. */
	if (fsync(fd) < 0)
		return -errno;
	r = rename_new(t->path, path);
	if (r < 0)
		return r;
	t->path[0] = '\0';
	return io_sync_parent(AT_FDCWD, path);
}

void
files_temp_drop(struct files_temp *t)
{
	static const char *const beside[] = { "-wal", "-shm", "-journal" };
	char other[PATH_MAX];
	size_t i;

	if (!t->path[0])
		return;
	(void)unlink(t->path);
	for (i = 0; i < sizeof(beside) / sizeof(beside[0]); i++)
		if (files_join(other, t->path, beside[i]) == 0)
			(void)unlink(other);
	t->path[0] = '\0';
}

int
files_exist(const char *path, bool *ret)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		*ret = true;
	else if (errno == ENOENT)
		*ret = false;
	else
		return -errno;
	return 0;
}

int
files_name_kept(const char *path, const char *why, char out[static PATH_MAX])
{
	char now[TIME_STR_LEN];
	bool taken = true;
	int i, n, r;

	format_time(time(NULL), now);
	for (i = 1; taken; i++) {
		n = snprintf(out, PATH_MAX, "%s.%s-%s.%d", path, why, now, i);
		if (n < 0 || n >= PATH_MAX)
			return -ENAMETOOLONG;
		r = files_exist(out, &taken);
		if (r < 0)
			return r;
	}
	return 0;
}

int
files_make_parent(const char *path)
{
	char dir[PATH_MAX];
	int r;

	r = parent_of(path, dir);
	if (r < 0)
		return r;
	return io_mkdir_p(AT_FDCWD, dir, 0700);
}

int
files_lock_parent(const char *path, int *ret_fd)
{
	CLEANUP(close_fdp) int fd = -1;
	char dir[PATH_MAX];
	int r;

	r = parent_of(path, dir);
	if (r < 0)
		return r;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
