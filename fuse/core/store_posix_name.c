/*
 * store_posix_name.c - the names of a POSIX store: listing, small files whole,
 * renaming, removing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sealdisk/io.h>

#include "store_posix_private.h"

static void
closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* NULL: errno tells why, 0 that there are no more. */
static struct dirent *
next_name(DIR *d)
{
	struct dirent *e;

	do {
		errno = 0;
		e = readdir(d);
	} while (!e && errno == EINTR);
	return e;
}

static int
is_folder(int dir, const struct dirent *e, bool *ret)
{
	struct stat sb;

	if (e->d_type != DT_UNKNOWN) {
		*ret = e->d_type == DT_DIR;
		return 0;
	}
	if (IO_RETRY(fstatat(dir, e->d_name, &sb, AT_SYMLINK_NOFOLLOW)) < 0)
		return posix_error();
	*ret = S_ISDIR(sb.st_mode);
	return 0;
}

int
posix_list(struct store *st, const char *path,
	   int (*fn)(const char *name, bool is_dir, void *arg), void *arg)
{
	CLEANUP(closedirp) DIR *d = NULL;
	CLEANUP(close_fdp) int fd = -1;
	struct dirent *e;
	bool is_dir = false;
	int r = 0;

	fd = posix_open_beneath((struct posix_store *)st, path, FOLDER_FLAGS);
	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d)
		return posix_error();
	TAKE_FD(fd); /* the stream's now */

	while (r == 0) {
		e = next_name(d);
		if (!e)
			return posix_error();
		if (!strncmp(e->d_name, IO_TMP_PREFIX, strlen(IO_TMP_PREFIX)))
			continue;
		r = is_folder(dirfd(d), e, &is_dir);
		if (r == 0)
			r = fn(e->d_name, is_dir, arg);
		else if (r == -ENOENT) /* gone since */
			r = 0;
	}
	return r;
}

int
posix_load_fd(int fd, size_t max, char **ret_buf, size_t *ret_len)
{
	CLEANUP(free_memp) char *buf = NULL;
	struct stat sb;
	size_t len;
	int r;

	if (IO_RETRY(fstat(fd, &sb)) < 0)
		return posix_error();
	if (!S_ISREG(sb.st_mode))
		return S_ISDIR(sb.st_mode) ? -EISDIR : -EUCLEAN;
	if ((uint64_t)sb.st_size > max)
		return -EFBIG;
	len = (size_t)sb.st_size;
	buf = malloc(len + 1);
	if (!buf)
		return -ENOMEM;
	r = posix_told(io_pread_all(fd, buf, len, 0));
	if (r < 0)
		return r;
	buf[len] = '\0';
	*ret_len = len;
	*ret_buf = TAKE(buf);
	return 0;
}

int
posix_load(struct store *st, const char *path, size_t max, char **ret_buf,
	   size_t *ret_len)
{
	CLEANUP(close_fdp) int fd = -1;

	fd = posix_open_beneath((struct posix_store *)st, path, O_RDONLY);
	if (fd < 0)
		return fd;
	return posix_load_fd(fd, max, ret_buf, ret_len);
}

int
posix_replace(struct store *st, const char *path, const void *buf, size_t len)
{
	CLEANUP(close_fdp) int dir = -1;
	const char *name;
	int r;

	r = posix_parent((struct posix_store *)st, path, true, &dir, &name);
	if (r < 0)
		return r;
	return posix_told(io_replace(dir, name, buf, len, 0600));
}

/* For a file system without RENAME_NOREPLACE (NFS, and some in user space). */
static int
rename_by_link(int from_dir, const char *from, int to_dir, const char *to)
{
	struct stat sb;

	if (IO_RETRY(fstatat(from_dir, from, &sb, AT_SYMLINK_NOFOLLOW)) < 0)
		return posix_error();
	if (!S_ISDIR(sb.st_mode)) {
		if (IO_RETRY(linkat(from_dir, from, to_dir, to, 0)) < 0)
			return posix_error();
		return IO_RETRY(unlinkat(from_dir, from, 0)) < 0 ? posix_error()
								 : 0;
	}
	/* A folder has no links.  Names change under locks/catalog, so the time
	 * between looking and renaming is ours; at worst an empty one goes. */
	if (IO_RETRY(fstatat(to_dir, to, &sb, AT_SYMLINK_NOFOLLOW)) == 0)
		return -EEXIST;
	if (errno != ENOENT)
		return posix_error();
	return IO_RETRY(renameat(from_dir, from, to_dir, to)) < 0
		   ? posix_error()
		   : 0;
}

static int
rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
	if (IO_RETRY(renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE)) ==
	    0)
		return 0;
	if (errno != ENOSYS && errno != EINVAL)
		return posix_error();
	return rename_by_link(from_dir, from, to_dir, to);
}

int
posix_rename(struct store *st, const char *from, const char *to)
{
	CLEANUP(close_fdp) int from_dir = -1;
	CLEANUP(close_fdp) int to_dir = -1;
	const char *from_name, *to_name;
	int r;

	r = posix_parent((struct posix_store *)st, from, false, &from_dir,
			 &from_name);
	if (r == 0)
		r = posix_parent((struct posix_store *)st, to, false, &to_dir,
				 &to_name);
	if (r < 0)
		return r;

	r = rename_new(from_dir, from_name, to_dir, to_name);
	if (r < 0)
		return r;
	/* The new name first: twice there is better than nowhere. */
	r = posix_told(io_fsync(to_dir));
	return r < 0 ? r : posix_told(io_fsync(from_dir));
}

/*
 * Remove what a killed process left half written in folder ${name}, if there is
 * nothing else: nobody can see it, and the folder could never be removed.
 */
static int
remove_temporaries(int dir, const char *name)
{
	CLEANUP(closedirp) DIR *d = NULL;
	struct dirent *e;
	int fd;

	fd = IO_RETRY(openat(dir, name, FOLDER_FLAGS | O_NOFOLLOW | O_CLOEXEC));
	if (fd < 0)
		return posix_error();
	d = fdopendir(fd);
	if (!d) {
		(void)close(fd);
		return -ENOMEM;
	}
	while ((e = next_name(d)))
		if (e->d_name[0] != '.')
			return -ENOTEMPTY;
	if (errno)
		return posix_error();
	rewinddir(d);
	while ((e = next_name(d)))
		if (strstr(e->d_name, ".tmp-") &&
		    IO_RETRY(unlinkat(fd, e->d_name, 0)) < 0)
			return posix_error();
	return posix_error();
}

static int
remove_folder(int dir, const char *name)
{
	int r;

	if (IO_RETRY(unlinkat(dir, name, AT_REMOVEDIR)) == 0)
		return 0;
	if (errno != EEXIST && errno != ENOTEMPTY)
		return posix_error();
	r = remove_temporaries(dir, name);
	if (r < 0)
		return r;
	if (IO_RETRY(unlinkat(dir, name, AT_REMOVEDIR)) == 0)
		return 0;
	return errno == EEXIST ? -ENOTEMPTY : posix_error();
}

int
posix_remove(struct store *st, const char *path)
{
	CLEANUP(close_fdp) int dir = -1;
	const char *name;
	int r;

	r = posix_parent((struct posix_store *)st, path, false, &dir, &name);
	if (r < 0)
		return r;
	if (IO_RETRY(unlinkat(dir, name, 0)) == 0)
		return 0;
	return errno == EISDIR ? remove_folder(dir, name) : posix_error();
}
