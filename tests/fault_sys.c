/*
 * fault_sys.c - see fault_sys.h.
 */
#include "fault_sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local struct {
	unsigned kinds, nth;
	int err;
	enum sys_mode mode;
	bool lasting, fired, without_renameat2;
} armed;

/* Declares what the linker calls the function, and what stands for it. */
#define WRAP(type, name, params)                                               \
	type __real_##name params;                                             \
	type __wrap_##name params;                                             \
	type __wrap_##name params

void
sys_arm(unsigned kinds, unsigned nth, int err, enum sys_mode mode, bool lasting)
{
	armed.kinds = kinds;
	armed.nth = nth;
	armed.err = err;
	armed.mode = mode;
	armed.lasting = lasting;
	if (nth)
		armed.fired = false;
}

bool
sys_fired(void)
{
	return armed.fired;
}

void
sys_without_renameat2(bool without)
{
	armed.without_renameat2 = without;
}

static bool
strikes(unsigned kind)
{
	if (!(armed.kinds & kind) || armed.nth == 0 || --armed.nth > 0)
		return false;
	if (armed.lasting)
		armed.nth = armed.err == EINTR || armed.mode == SYS_SHORT ? 2
									  : 1;
	armed.fired = true;
	return true;
}

/* What the call is to do: not be made, or be made and be said to have failed.
 */
#define CALL(kind, made)                                                       \
	do {                                                                   \
		bool strike = armed.mode != SYS_SHORT && strikes(kind);        \
		__typeof__(made) r_;                                           \
                                                                               \
		if (strike && armed.mode == SYS_BEFORE) {                      \
			errno = armed.err;                                     \
			return -1;                                             \
		}                                                              \
		r_ = (made);                                                   \
		if (strike && r_ >= 0) {                                       \
			errno = armed.err;                                     \
			return -1;                                             \
		}                                                              \
		return r_;                                                     \
	} while (0)

/* ---- what a failed sync loses ---- */

ssize_t __real_pread(int fd, void *buf, size_t len, off_t off);
ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t off);
int __real_fstat(int fd, struct stat *sb);

/* A write that is not known to be on the medium, and what was there before. */
struct written {
	struct written *next; /* the one before it */
	ino_t ino;
	off_t off;
	size_t len;
	bool lost;
	char old[];
};
static struct written *newest;

static ino_t
ino_of(int fd)
{
	struct stat sb;

	return __real_fstat(fd, &sb) == 0 ? sb.st_ino : 0;
}

static void
note_write(int fd, size_t len, off_t off)
{
	struct written *w = calloc(1, sizeof(*w) + len);

	if (!w)
		abort();
	w->ino = ino_of(fd);
	w->off = off;
	w->len = len;
	(void)!__real_pread(fd, w->old, len, off); /* zeros past the end */
	w->next = newest;
	newest = w;
}

/* ${ino} 0: of all files.  ${good}: what was not lost is durable now. */
static void
synced(ino_t ino, bool good)
{
	struct written **p = &newest, *w;

	while ((w = *p)) {
		bool is_it = ino == 0 || w->ino == ino;

		if (is_it && !good)
			w->lost = true;
		if (!is_it || w->lost) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		free(w);
	}
}

/* Of a file that is new: another one had its number. */
static void
forget(ino_t ino)
{
	struct written **p = &newest, *w;

	while ((w = *p)) {
		if (w->ino != ino) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		free(w);
	}
}

/* What is clean goes; of what was lost the medium has what was there before. */
static void
dropped(int fd)
{
	ino_t ino = ino_of(fd);
	struct written **p = &newest, *w;

	while ((w = *p)) {
		if (w->ino != ino || !w->lost) {
			p = &w->next;
			continue;
		}
		(void)!__real_pwrite(fd, w->old, w->len, w->off);
		*p = w->next;
		free(w);
	}
}

static int
sync_it(ino_t ino)
{
	bool strike = armed.mode != SYS_SHORT && strikes(SYS_SYNC);

	if (strike && armed.err == EINTR) { /* it did nothing */
		errno = EINTR;
		return -1;
	}
	synced(ino, !strike);
	if (!strike)
		return 0;
	errno = armed.err;
	return -1;
}

WRAP(int, fsync, (int fd))
{
	return sync_it(ino_of(fd));
}

WRAP(int, fdatasync, (int fd))
{
	return sync_it(ino_of(fd));
}

WRAP(int, syncfs, (int fd))
{
	(void)fd;
	return sync_it(0);
}

/* ---- data ---- */

static size_t
part(unsigned kind, size_t len)
{
	if (armed.mode != SYS_SHORT || len < 2 || !strikes(kind))
		return len;
	return len / 2;
}

WRAP(ssize_t, read, (int fd, void *buf, size_t len))
{
	CALL(SYS_READ, __real_read(fd, buf, part(SYS_READ, len)));
}

WRAP(ssize_t, write, (int fd, const void *buf, size_t len))
{
	CALL(SYS_WRITE, __real_write(fd, buf, part(SYS_WRITE, len)));
}

WRAP(ssize_t, pread, (int fd, void *buf, size_t len, off_t off))
{
	CALL(SYS_READ, __real_pread(fd, buf, part(SYS_READ, len), off));
}

static ssize_t
noted_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	note_write(fd, len, off);
	return __real_pwrite(fd, buf, len, off);
}

/* Of one that failed the first half may be there all the same. */
WRAP(ssize_t, pwrite, (int fd, const void *buf, size_t len, off_t off))
{
	bool strike;

	len = part(SYS_WRITE, len);
	strike = armed.mode != SYS_SHORT && strikes(SYS_WRITE);
	if (strike && armed.mode == SYS_AFTER)
		(void)!noted_pwrite(fd, buf, len - len / 2, off);
	if (!strike)
		return noted_pwrite(fd, buf, len, off);
	errno = armed.err;
	return -1;
}

WRAP(int, fallocate, (int fd, int mode, off_t off, off_t len))
{
	CALL(SYS_SPACE, __real_fallocate(fd, mode, off, len));
}

WRAP(int, ftruncate, (int fd, off_t len))
{
	CALL(SYS_SPACE, __real_ftruncate(fd, len));
}

WRAP(int, posix_fadvise, (int fd, off_t off, off_t len, int advice))
{
	if (armed.mode != SYS_SHORT && strikes(SYS_HINT))
		return armed.err;
	if (advice == POSIX_FADV_DONTNEED && off == 0 && len == 0)
		dropped(fd);
	return __real_posix_fadvise(fd, off, len, advice);
}

WRAP(int, sync_file_range, (int fd, off_t off, off_t len, unsigned flags))
{
	CALL(SYS_HINT, __real_sync_file_range(fd, off, len, flags));
}

/* ---- files and names ---- */

static mode_t
mode_of(int flags, va_list ap)
{
	return flags & O_CREAT ? (mode_t)va_arg(ap, int) : 0;
}

int __real_close(int fd);

/* One that was opened, and is said not to be, would be nobody's to close: it
 * was made, and that is all. */
#define OPEN(made)                                                             \
	do {                                                                   \
		bool strike = armed.mode != SYS_SHORT && strikes(SYS_OPEN);    \
		int fd_ = -1;                                                  \
                                                                               \
		if (!strike || armed.mode == SYS_AFTER)                        \
			fd_ = (int)(made);                                     \
		if (!strike || (fd_ < 0 && armed.mode == SYS_AFTER))           \
			return fd_;                                            \
		if (fd_ >= 0)                                                  \
			(void)__real_close(fd_);                               \
		errno = armed.err;                                             \
		return -1;                                                     \
	} while (0)

WRAP(int, open, (const char *path, int flags, ...))
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	OPEN(__real_open(path, flags, mode));
}

static int
new_file(int fd, int flags)
{
	if (fd >= 0 && (flags & O_CREAT))
		forget(ino_of(fd));
	return fd;
}

WRAP(int, openat, (int dir, const char *path, int flags, ...))
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	OPEN(new_file(__real_openat(dir, path, flags, mode), flags));
}

WRAP(int, __openat_2, (int dir, const char *path, int flags))
{
	OPEN(__real___openat_2(dir, path, flags));
}

WRAP(long, syscall, (long n, ...))
{
	long a[6];
	va_list ap;

	va_start(ap, n);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (n != SYS_openat2)
		return __real_syscall(n, a[0], a[1], a[2], a[3], a[4], a[5]);
	OPEN(__real_syscall(n, a[0], a[1], a[2], a[3], a[4], a[5]));
}

WRAP(int, fstat, (int fd, struct stat *sb))
{
	CALL(SYS_STAT, __real_fstat(fd, sb));
}

WRAP(int, fstatat, (int dir, const char *path, struct stat *sb, int flags))
{
	CALL(SYS_STAT, __real_fstatat(dir, path, sb, flags));
}

WRAP(int, fstatvfs, (int fd, struct statvfs *v))
{
	CALL(SYS_STAT, __real_fstatvfs(fd, v));
}

WRAP(int, mkdirat, (int dir, const char *path, mode_t mode))
{
	CALL(SYS_NAME, __real_mkdirat(dir, path, mode));
}

WRAP(int, linkat,
     (int from_dir, const char *from, int to_dir, const char *to, int flags))
{
	CALL(SYS_NAME, __real_linkat(from_dir, from, to_dir, to, flags));
}

WRAP(int, unlinkat, (int dir, const char *path, int flags))
{
	CALL(SYS_NAME, __real_unlinkat(dir, path, flags));
}

WRAP(int, renameat,
     (int from_dir, const char *from, int to_dir, const char *to))
{
	CALL(SYS_NAME, __real_renameat(from_dir, from, to_dir, to));
}

WRAP(int, renameat2,
     (int from_dir, const char *from, int to_dir, const char *to,
      unsigned flags))
{
	if (armed.without_renameat2) {
		errno = EINVAL;
		return -1;
	}
	CALL(SYS_NAME, __real_renameat2(from_dir, from, to_dir, to, flags));
}

WRAP(struct dirent *, readdir, (DIR * d))
{
	if (armed.mode == SYS_BEFORE && strikes(SYS_LIST)) {
		errno = armed.err;
		return NULL;
	}
	return __real_readdir(d);
}

WRAP(int, fcntl, (int fd, int cmd, ...))
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	/* Nothing to wait for; else as of one that was opened. */
	if (cmd == F_DUPFD_CLOEXEC && armed.err == EINTR)
		return __real_fcntl(fd, cmd, arg);
	if (cmd == F_DUPFD_CLOEXEC)
		OPEN(__real_fcntl(fd, cmd, arg));
	CALL(SYS_LOCK, __real_fcntl(fd, cmd, arg));
}

/* Closed it is in any case. */
WRAP(int, close, (int fd))
{
	bool strike = armed.mode != SYS_SHORT && strikes(SYS_CLOSE);
	int r = __real_close(fd);

	if (!strike)
		return r;
	errno = armed.err;
	return -1;
}
