/*
 * store_posix_path.c - from a path of a store to a descriptor, without ever
 * leaving the store's folder.
 *
 * No symbolic link is followed: openat2 with RESOLVE_BENEATH where the kernel
 * lets us, else one component at a time with O_NOFOLLOW.  O_NONBLOCK keeps a
 * FIFO that somebody put there from holding us up; to a regular file it means
 * nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sealdisk/io.h>

#include "store_posix_private.h"

static int
open_openat2(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)flags,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	long r;

	/* EAGAIN: something was renamed meanwhile, so it could not be sure. */
	do {
		r = syscall(SYS_openat2, root, path, &how, sizeof(how));
	} while (r < 0 && (errno == EAGAIN || errno == EINTR));
	return r < 0 ? posix_error() : (int)r;
}

/*
 * Durably.  One that cannot be made so goes again: who finds it later takes it
 * for durable.
 */
static int
make_folder(int above, const char *name)
{
	int r;

	if (IO_RETRY(mkdirat(above, name, 0700)) < 0)
		return errno == EEXIST ? 0 : posix_error();
	r = posix_told(io_fsync(above));
	if (r < 0)
		(void)IO_RETRY(unlinkat(above, name, AT_REMOVEDIR));
	return r;
}

/*
 * Open the folder that the last component of ${path} lies in, going down one
 * component at a time.
 */
static int
walk(int root, const char *path, bool make, int *ret_fd, const char **ret_name)
{
	CLEANUP(close_fdp) int fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
	char name[NAME_MAX + 1];
	size_t len;
	int next, r;

	for (; fd >= 0; path += len + 1) {
		len = strcspn(path, "/");
		if (!path[len]) {
			*ret_fd = TAKE_FD(fd);
			*ret_name = path;
			return 0;
		}
		/* store_path_check has seen to its length */
		memcpy(name, path, len);
		name[len] = '\0';
		r = make ? make_folder(fd, name) : 0;
		if (r < 0)
			return r;
		next = IO_RETRY(
		    openat(fd, name, FOLDER_FLAGS | O_NOFOLLOW | O_CLOEXEC));
		if (next < 0)
			return posix_error();
		(void)close(fd);
		fd = next;
	}
	return posix_error();
}

int
posix_open_beneath(const struct posix_store *ps, const char *path, int flags)
{
	CLEANUP(close_fdp) int dir = -1;
	const char *name = ".";
	int r, fd;

	flags |= O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	if (*path) {
		r = store_path_check(path);
		if (r < 0)
			return r;
		if (ps->beneath)
			return open_openat2(ps->root, path, flags);
		r = walk(ps->root, path, false, &dir, &name);
		if (r < 0)
			return r;
	}
	fd = IO_RETRY(openat(dir < 0 ? ps->root : dir, name, flags));
	return fd < 0 ? posix_error() : fd;
}

void
posix_folder_of(const char *path, char out[static STORE_PATH_LEN])
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	memcpy(out, path, len);
	out[len] = '\0';
}

int
posix_parent(const struct posix_store *ps, const char *path, bool make,
	     int *ret_fd, const char **ret_name)
{
	char folder[STORE_PATH_LEN];
	const char *slash;
	int r;

	r = store_path_check(path);
	if (r < 0)
		return r;
	posix_folder_of(path, folder);
	r = posix_open_beneath(ps, folder, FOLDER_FLAGS);
	if (r == -ENOENT && make)
		return walk(ps->root, path, true, ret_fd, ret_name);
	if (r < 0)
		return r;
	slash = strrchr(path, '/');
	*ret_fd = r;
	*ret_name = slash ? slash + 1 : path;
	return 0;
}

bool
posix_has_openat2(int root)
{
	int fd = open_openat2(root, ".", FOLDER_FLAGS | O_CLOEXEC);

	if (fd < 0)
		return false;
	(void)close(fd);
	return true;
}
