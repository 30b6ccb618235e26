/*
 * loop_user.c - who uses a loop device or a partition of it: a mount, swap,
 * another block device (LVM, device mapper, md), a process.
 *
 * The kernel does not refuse to clear a loop device in use: it waits for the
 * last user, which is not what `detach` means.  So this is asked before.
 */
#include "loop.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cmd.h"

/* The device itself or one of its partitions. */
struct part {
	const char *name; /* "loop0", "loop0p1" */
	char dev[64];     /* "/dev/loop0p1" */
	dev_t rdev;
};

/* btrfs shows a device number of its own in mountinfo, but the right source. */
static bool
mount_of(const struct part *p, char *ret, size_t cap)
{
	CLEANUP(free_memp) char *line = NULL;
	char id[32], place[PATH_MAX], source[PATH_MAX];
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	size_t n = 0;

	(void)snprintf(id, sizeof(id), "%u:%u", major(p->rdev), minor(p->rdev));
	while (f && !found && getline(&line, &n, f) > 0) {
		char *rest = strstr(line, " - "), dev[32];

		source[0] = '\0';
		if (sscanf(line, "%*s %*s %31s %*s %4095s", dev, place) != 2)
			continue;
		if (rest)
			(void)sscanf(rest, " - %*s %4095s", source);
		found = strcmp(dev, id) == 0 || strcmp(source, p->dev) == 0;
	}
	if (f)
		(void)fclose(f);
	if (found) {
		cmd_unescape(place);
		(void)snprintf(ret, cap, "%s is mounted on %s", p->dev, place);
	}
	return found;
}

static bool
swap_on(const struct part *p, char *ret, size_t cap)
{
	CLEANUP(free_memp) char *line = NULL;
	FILE *f = fopen("/proc/swaps", "re");
	size_t n = 0, len = strlen(p->dev);
	bool found = false;

	while (f && !found && getline(&line, &n, f) > 0)
		found = strncmp(line, p->dev, len) == 0 &&
			isspace((unsigned char)line[len]);
	if (f)
		(void)fclose(f);
	if (found)
		(void)snprintf(ret, cap, "%s is in use as swap", p->dev);
	return found;
}

/* Another block device that is built on this one. */
static bool
holder_of(const struct part *p, char *ret, size_t cap)
{
	struct dirent *ent;
	char path[PATH_MAX];
	DIR *d;
	bool found = false;

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/holders",
		       p->name);
	d = opendir(path);
	while (d && !found && (ent = readdir(d))) {
		found = ent->d_name[0] != '.';
		if (found)
			(void)snprintf(ret, cap, "%s is part of /dev/%s",
				       p->dev, ent->d_name);
	}
	if (d)
		(void)closedir(d);
	return found;
}

/* By name first: to ask after a file of a mount that hangs is to hang. */
static bool
is_device(int fd_dir, const char *fd, dev_t rdev)
{
	char to[PATH_MAX];
	ssize_t n = readlinkat(fd_dir, fd, to, sizeof(to) - 1);
	struct stat st;

	return n > 5 && strncmp(to, "/dev/", 5) == 0 &&
	       fstatat(fd_dir, fd, &st, 0) == 0 && S_ISBLK(st.st_mode) &&
	       st.st_rdev == rdev;
}

/* Whether process ${pid} has the device open. */
static bool
has_open(const char *pid, dev_t rdev)
{
	char path[PATH_MAX];
	struct dirent *ent;
	bool found = false;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	while (d && !found && (ent = readdir(d)))
		found = is_device(dirfd(d), ent->d_name, rdev);
	if (d)
		(void)closedir(d);
	return found;
}

static void
process_name(const char *pid, char *ret, size_t cap)
{
	char path[PATH_MAX];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(ret, (int)cap, f))
		(void)snprintf(ret, cap, "?");
	ret[strcspn(ret, "\n")] = '\0';
	if (f)
		(void)fclose(f);
}

static bool
process_with(const struct part *p, char *ret, size_t cap)
{
	char name[32];
	struct dirent *ent;
	DIR *d = opendir("/proc");
	bool found = false;

	while (d && !found && (ent = readdir(d))) {
		if (!isdigit((unsigned char)ent->d_name[0]))
			continue;
		found = has_open(ent->d_name, p->rdev);
		if (!found)
			continue;
		process_name(ent->d_name, name, sizeof(name));
		(void)snprintf(ret, cap, "%s is open in process %s (%s)",
			       p->dev, ent->d_name, name);
	}
	if (d)
		(void)closedir(d);
	return found;
}

/* What nobody here can be seen to do: another mount namespace, say. */
static bool
claimed(const struct part *p, char *ret, size_t cap)
{
	CLEANUP(close_fdp)
	int fd = open(p->dev, O_RDONLY | O_EXCL | O_CLOEXEC);

	if (fd >= 0 || errno != EBUSY)
		return false;
	(void)snprintf(ret, cap, "%s is in use, mounted in a container perhaps",
		       p->dev);
	return true;
}

static bool
part_user(const char *name, char *ret, size_t cap)
{
	struct part p = { .name = name };
	struct stat st;

	(void)snprintf(p.dev, sizeof(p.dev), "/dev/%.40s", name);
	if (stat(p.dev, &st) < 0 || !S_ISBLK(st.st_mode))
		return false;
	p.rdev = st.st_rdev;
	return mount_of(&p, ret, cap) || swap_on(&p, ret, cap) ||
	       holder_of(&p, ret, cap) || process_with(&p, ret, cap) ||
	       claimed(&p, ret, cap);
}

int
loop_user(const char *dev, char *ret, size_t cap)
{
	const char *name = strrchr(dev, '/') + 1;
	size_t len = strlen(name);
	char path[PATH_MAX];
	struct dirent *ent;
	bool used;
	DIR *d;

	used = part_user(name, ret, cap);
	(void)snprintf(path, sizeof(path), "/sys/block/%s", name);
	d = opendir(path);
	while (d && !used && (ent = readdir(d)))
		if (strncmp(ent->d_name, name, len) == 0 &&
		    ent->d_name[len] == 'p')
			used = part_user(ent->d_name, ret, cap);
	if (d)
		(void)closedir(d);
	return used ? 0 : -ENOENT;
}
