/*
 * store_posix_lock.c - the locks of a POSIX store.
 *
 * A lock is an open-file-description lock (F_OFD_SETLK) on a file under locks/:
 * it belongs to the descriptor, so threads of one process exclude each other,
 * it passes on over fork, and the kernel releases it with the last descriptor,
 * however the process ends.
 *
 * Whoever is done with a lock may remove its file.  Between our open and our
 * lock the file can thus have been taken away, and another made under its name:
 * having the lock, we look whether the file is still the one that the name
 * leads to, and begin again where it is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sealdisk/io.h>

#include "store_posix_private.h"

#define OWNER_MAX 16384 /* bytes of what a holder says of itself */

struct posix_lock {
	struct store_lock base;
	int fd;
	bool exclusive;
	bool said; /* what stands in the file is ours */
	char path[];
};

static struct posix_lock *
lock_of(struct store_lock *l)
{
	return (struct posix_lock *)l;
}

static const struct posix_store *
store_of(const struct posix_lock *pl)
{
	return (const struct posix_store *)pl->base.st;
}

static short
lock_type(bool exclusive)
{
	return exclusive ? F_WRLCK : F_RDLCK;
}

static int
ofd_lock(int fd, short type, bool wait)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET };
	if (IO_RETRY(fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &fl)) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : posix_error();
}

/* 1 when ${name} in ${dir} leads to the file that is open as ${fd}. */
static int
still_linked(int fd, int dir, const char *name)
{
	struct stat ours, there;

	if (IO_RETRY(fstat(fd, &ours)) < 0)
		return posix_error();
	if (IO_RETRY(fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW)) < 0)
		return errno == ENOENT ? 0 : posix_error();
	return ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* Open and lock the file ${name}; a descriptor, or a negative errno. */
static int
acquire(int dir, const char *name, short type, bool wait)
{
	int r;

	for (;;) {
		CLEANUP(close_fdp) int fd = -1;

		fd = IO_RETRY(openat(dir, name,
				     O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC |
					 O_NONBLOCK,
				     0600));
		if (fd < 0)
			return posix_error();
		r = ofd_lock(fd, type, wait);
		if (r == 0)
			r = still_linked(fd, dir, name);
		if (r == 1)
			return TAKE_FD(fd);
		if (r < 0)
			return r;
	}
}

/*
 * What is said of the holder helps people and decides nothing: on a full file
 * system a lock goes without, so that something can still be removed.
 */
static int
write_info(int fd, const char *info)
{
	int r;

	if (IO_RETRY(ftruncate(fd, 0)) < 0)
		return posix_error();
	r = posix_told(io_pwrite_all(fd, info, strlen(info), 0));
	return r == -ENOSPC || r == -EDQUOT ? 0 : r;
}

/* Takes ${fd} over. */
static int
lock_new(struct store *st, const char *path, int fd, bool exclusive,
	 struct posix_lock **ret)
{
	struct posix_lock *pl = malloc(sizeof(*pl) + strlen(path) + 1);

	if (!pl) {
		(void)close(fd);
		return -ENOMEM;
	}
	pl->base.st = st;
	pl->fd = fd;
	pl->exclusive = exclusive;
	pl->said = false;
	strcpy(pl->path, path);
	*ret = pl;
	return 0;
}

int
posix_lock(struct store *st, const char *path, enum store_lock_mode mode,
	   bool wait, const char *info, struct store_lock **ret)
{
	CLEANUP(close_fdp) int dir = -1;
	CLEANUP(close_fdp) int fd = -1;
	struct posix_lock *pl;
	const char *name;
	int r;

	r = posix_parent((struct posix_store *)st, path, true, &dir, &name);
	if (r < 0)
		return r;
	fd = acquire(dir, name, lock_type(mode == STORE_LOCK_EX), wait);
	if (fd < 0)
		return fd;
	if (mode == STORE_LOCK_EX && info) {
		r = write_info(fd, info);
		if (r < 0)
			return r;
	}
	r = lock_new(st, path, TAKE_FD(fd), mode == STORE_LOCK_EX, &pl);
	if (r < 0)
		return r;
	pl->said = pl->exclusive && info;
	*ret = &pl->base;
	return 0;
}

int
posix_lock_fd(struct store_lock *l)
{
	return lock_of(l)->fd;
}

void
posix_lock_leave(struct store_lock *l)
{
	struct posix_lock *pl = lock_of(l);

	(void)close(pl->fd);
	free(pl);
}

int
posix_lock_adopt(struct store *st, const char *path, enum store_lock_mode mode,
		 int fd, struct store_lock **ret)
{
	struct posix_lock *pl;
	int r = lock_new(st, path, fd, mode == STORE_LOCK_EX, &pl);

	if (r < 0)
		return r;
	r = posix_lock_check(&pl->base);
	if (r < 0) {
		/* Not unlocked: whose it may be now is not touched. */
		posix_lock_leave(&pl->base);
		return r;
	}
	pl->said = pl->exclusive;
	*ret = &pl->base;
	return 0;
}

void
posix_lock_drop(int fd)
{
	(void)ofd_lock(fd, F_UNLCK, false);
	(void)close(fd);
}

int
posix_lock_say(struct store_lock *l, const char *info)
{
	struct posix_lock *pl = lock_of(l);

	pl->said = true;
	return write_info(pl->fd, info);
}

void
posix_unlock(struct store_lock *l, bool remove)
{
	struct posix_lock *pl = lock_of(l);
	CLEANUP(close_fdp) int dir = -1;
	const char *name;
	int r;

	if (pl->said) {
		r = IO_RETRY(ftruncate(pl->fd, 0));
		(void)r; /* old words under a free lock mislead nobody */
	}
	if (pl->exclusive && remove &&
	    posix_parent(store_of(pl), pl->path, false, &dir, &name) == 0 &&
	    still_linked(pl->fd, dir, name) == 1)
		(void)IO_RETRY(unlinkat(dir, name, 0));
	/* A child of a fork may hold the descriptor still; close alone would
	 * then not release. */
	(void)ofd_lock(pl->fd, F_UNLCK, false);
	(void)close(pl->fd);
	free(pl);
}

int
posix_lock_check(struct store_lock *l)
{
	struct posix_lock *pl = lock_of(l);
	CLEANUP(close_fdp) int dir = -1;
	const char *name;
	int r;

	r = posix_parent(store_of(pl), pl->path, false, &dir, &name);
	if (r == 0)
		r = still_linked(pl->fd, dir, name);
	if (r == 0 || r == -ENOENT)
		return -EBUSY;
	if (r < 0)
		return r;
	/* Taking again what one has changes nothing; where the file system
	 * lost it and somebody else has it now, it fails. */
	return ofd_lock(pl->fd, lock_type(pl->exclusive), false);
}

int
posix_lock_owner(struct store *st, const char *path, char **ret)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	CLEANUP(close_fdp) int fd = -1;
	size_t len;

	fd = posix_open_beneath((struct posix_store *)st, path, O_RDWR);
	if (fd < 0)
		return fd;
	if (IO_RETRY(fcntl(fd, F_OFD_GETLK, &fl)) < 0)
		return posix_error();
	if (fl.l_type == F_UNLCK)
		return -ENOENT;
	return posix_load_fd(fd, OWNER_MAX, ret, &len);
}
