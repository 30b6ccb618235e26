/*
 * doctor_daemon.c - checks of the processes that serve mounts: what they were
 * given by the machine (host.c asks for it), and whether they are well placed.
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

#define FILES_ENOUGH 65536 /* open files: host.c */
#define CAP_IPC_LOCK 14
#define CAP_SYS_RESOURCE 24

/* Calls ${fn} for each mount of ours that has a daemon which can be found. */
static void
each_daemon(struct doctor *d,
	    void (*fn)(struct doctor *d, const struct doctor_fs *fs))
{
	for (size_t i = 0; i < d->n_fs; i++)
		if (doctor_is_ours(d, &d->fs[i]) && d->fs[i].daemon)
			fn(d, &d->fs[i]);
}

/*
 * The mount is there, and nobody serves it.
 */

void
doctor_dead(struct doctor *d)
{
	static const struct doctor_words w = {
		"daemon-dead",
		"nothing on its disks can be read or written",
		"umount -l it and mount it again; `journalctl -t sealdisk` "
		"says why it ended",
	};
	char path[PATH_MAX];

	for (size_t i = 0; i < d->n_fs; i++) {
		CLEANUP(close_fdp) int fd = -1;

		if (!doctor_is_ours(d, &d->fs[i]) || d->fs[i].daemon ||
		    !doctor_path(d, path, "%s", d->fs[i].where))
			continue;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOTCONN)
			doctor_add(d, SERIOUS, &w,
				   "the daemon of %s has ended without "
				   "unmounting it",
				   d->fs[i].where);
	}
}

/*
 * /proc/PID/limits and status.
 */

/* A soft limit; "unlimited" is the largest number. */
static bool
limit_of(const struct doctor *d, long pid, const char *name,
	 unsigned long long *ret)
{
	char text[8192], value[32];

	if (!doctor_read(d, text, sizeof(text), "/proc/%ld/limits", pid) ||
	    !doctor_find_line(text, name, value, sizeof(value)))
		return false;
	*ret = strcmp(value, "unlimited") == 0 ? ~0ULL
					       : strtoull(value, NULL, 10);
	return true;
}

/* Where it cannot be told, it is taken to be there. */
static bool
has_capability(const struct doctor *d, long pid, unsigned cap)
{
	char text[8192], value[32];

	if (!doctor_read(d, text, sizeof(text), "/proc/%ld/status", pid) ||
	    !doctor_find_line(text, "CapEff:", value, sizeof(value)))
		return true;
	return strtoull(value, NULL, 16) >> cap & 1;
}

static void
look_files(struct doctor *d, const struct doctor_fs *fs)
{
	static const struct doctor_words w = {
		"open-files",
		"it opens the same chunks again and again, and commits more "
		"often",
		"LimitNOFILE=1048576 in its unit, or `ulimit -n` before the "
		"mount",
	};
	unsigned long long n;

	if (limit_of(d, fs->daemon, "Max open files", &n) && n < FILES_ENOUGH)
		doctor_add(d, WARNING, &w,
			   "the daemon of %s may open %llu "
			   "files only",
			   fs->where, n);
}

static void
look_memory(struct doctor *d, const struct doctor_fs *fs)
{
	static const struct doctor_words w = {
		"locked-memory",
		"only keys are kept out of swap; under pressure it may wait "
		"for its own memory",
		"mount as root with CAP_IPC_LOCK, or LimitMEMLOCK=infinity",
	};
	unsigned long long n;

	if (!has_capability(d, fs->daemon, CAP_IPC_LOCK) &&
	    limit_of(d, fs->daemon, "Max locked memory", &n) && n != ~0ULL)
		doctor_add(d, WARNING, &w,
			   "the daemon of %s may not lock its memory",
			   fs->where);
}

static void
look_flusher(struct doctor *d, const struct doctor_fs *fs)
{
	static const struct doctor_words w = {
		"io-flusher",
		"where memory is short, it can wait for pages that only it "
		"can write: everything on its disks hangs then",
		"mount as root with CAP_SYS_RESOURCE",
	};

	if (!has_capability(d, fs->daemon, CAP_SYS_RESOURCE))
		doctor_add(d, WARNING, &w,
			   "the daemon of %s lacks CAP_SYS_RESOURCE, and so "
			   "PR_SET_IO_FLUSHER",
			   fs->where);
}

static void
look_dumps(struct doctor *d, const struct doctor_fs *fs)
{
	static const struct doctor_words w = {
		"core-dump",
		"should it crash, what is on its disks may be written to a "
		"file in the clear",
		"mount the store again with this version, which forbids it",
	};
	unsigned long long n;

	if (limit_of(d, fs->daemon, "Max core file size", &n) && n > 0)
		doctor_add(d, SERIOUS, &w, "the daemon of %s may dump core",
			   fs->where);
}

/*
 * Where it runs, and what.
 */

/* On a suspend, systemd freezes users' sessions before the kernel freezes what
 * waits for a file system. */
static void
look_slice(struct doctor *d, const struct doctor_fs *fs)
{
	static const struct doctor_words w = {
		"user-session",
		"at a suspend it is frozen before those who wait for it, and "
		"the machine does not sleep; at the end of the session it may "
		"be killed",
		"mount it by fstab or sealdisk@.service",
	};
	char text[4096];

	if (doctor_read(d, text, sizeof(text), "/proc/%ld/cgroup",
			fs->daemon) &&
	    strstr(text, "/user.slice/"))
		doctor_add(d, WARNING, &w,
			   "the daemon of %s runs in a user's session",
			   fs->where);
}

static void
look_old(struct doctor *d, const struct doctor_fs *fs)
{
	static const char gone[] = " (deleted)";
	static const struct doctor_words w = {
		"daemon-old",
		"what an update has mended is not mended yet",
		"umount and mount it when the disks can be done without",
	};
	char path[PATH_MAX], to[PATH_MAX];
	ssize_t n;

	if (!doctor_path(d, path, "/proc/%ld/exe", fs->daemon))
		return;
	n = readlink(path, to, sizeof(to) - 1);
	if (n < (ssize_t)sizeof(gone))
		return;
	to[n] = '\0';
	if (strcmp(to + n - (sizeof(gone) - 1), gone) == 0)
		doctor_add(d, WARNING, &w,
			   "the daemon of %s is older than the program on "
			   "this machine",
			   fs->where);
}

void
doctor_files(struct doctor *d)
{
	each_daemon(d, look_files);
}

void
doctor_memory(struct doctor *d)
{
	each_daemon(d, look_memory);
}

void
doctor_flusher(struct doctor *d)
{
	each_daemon(d, look_flusher);
}

void
doctor_dumps(struct doctor *d)
{
	each_daemon(d, look_dumps);
}

void
doctor_slice(struct doctor *d)
{
	each_daemon(d, look_slice);
}

void
doctor_old(struct doctor *d)
{
	each_daemon(d, look_old);
}
