/*
 * umount.c - `sealdisk umount MOUNTPOINT`: refused while files are open, saying
 * by whom; done when the daemon has committed every disk and ended.
 */
#include "cmd.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

#include <sealdisk/io.h>
#include <sealdisk/ioctl.h>

#include "host.h"

#define TRIES 20 /* the kernel closes a loop device's file a little later */
#define TRY_MS 50

/*
 * Who has files open.
 */

struct users {
	const char *mnt;
	char text[1024];
	unsigned more; /* that found no room */
};

static bool
is_below(const char *path, const char *mnt)
{
	size_t len = strlen(mnt);

	return strncmp(path, mnt, len) == 0 &&
	       (path[len] == '/' || path[len] == '\0');
}

static void
add_user(struct users *u, const char *who)
{
	size_t len = strlen(u->text);

	if (len + strlen(who) + 3 > sizeof(u->text))
		u->more++;
	else
		(void)snprintf(u->text + len, sizeof(u->text) - len, "%s%s",
			       len ? ", " : "", who);
}

/* A small file of proc or sys, without its line feed; "" where it cannot be
 * read. */
static void
read_line(const char *path, char *ret, size_t cap)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, ret, cap - 1);

	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

static void
add_loops(struct users *u)
{
	DIR *d = opendir("/sys/block");
	struct dirent *ent;
	char path[PATH_MAX], file[PATH_MAX], who[PATH_MAX];

	while (d && (ent = readdir(d))) {
		if (strncmp(ent->d_name, "loop", 4) != 0)
			continue;
		(void)snprintf(path, sizeof(path),
			       "/sys/block/%s/loop/backing_file", ent->d_name);
		read_line(path, file, sizeof(file));
		if (!file[0] || !is_below(file, u->mnt))
			continue;
		(void)snprintf(who, sizeof(who), "/dev/%.200s", ent->d_name);
		add_user(u, who);
	}
	if (d)
		(void)closedir(d);
}

static bool
link_is_below(const char *path, const char *mnt)
{
	char to[PATH_MAX];
	ssize_t n = readlink(path, to, sizeof(to) - 1);

	if (n < 0)
		return false;
	to[n] = '\0';
	return is_below(to, mnt);
}

static bool
maps_below(const char *pid, const char *mnt)
{
	CLEANUP(free_memp) char *line = NULL;
	bool found = false;
	char path[PATH_MAX];
	size_t cap = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%.32s/maps", pid);
	f = fopen(path, "re");
	while (f && !found && getline(&line, &cap, f) > 0) {
		char *file = strchr(line, '/');

		if (!file)
			continue;
		file[strcspn(file, "\n")] = '\0';
		found = is_below(file, mnt);
	}
	if (f)
		(void)fclose(f);
	return found;
}

static bool
process_uses(const char *pid, const char *mnt)
{
	struct dirent *ent;
	char path[PATH_MAX];
	bool found;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%.32s/cwd", pid);
	found = link_is_below(path, mnt);
	(void)snprintf(path, sizeof(path), "/proc/%.32s/root", pid);
	found = found || link_is_below(path, mnt);
	(void)snprintf(path, sizeof(path), "/proc/%.32s/fd", pid);
	d = opendir(path);
	while (d && !found && (ent = readdir(d))) {
		(void)snprintf(path, sizeof(path), "/proc/%.32s/fd/%.32s", pid,
			       ent->d_name);
		found = link_is_below(path, mnt);
	}
	if (d)
		(void)closedir(d);
	return found || maps_below(pid, mnt);
}

static void
add_processes(struct users *u)
{
	char path[PATH_MAX], name[64], who[128];
	DIR *d = opendir("/proc");
	struct dirent *ent;

	while (d && (ent = readdir(d))) {
		if (!isdigit((unsigned char)ent->d_name[0]) ||
		    strtol(ent->d_name, NULL, 10) == getpid() ||
		    !process_uses(ent->d_name, u->mnt))
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%.32s/comm",
			       ent->d_name);
		read_line(path, name, sizeof(name));
		(void)snprintf(who, sizeof(who), "process %.16s (%s)",
			       ent->d_name, name);
		add_user(u, who);
	}
	if (d)
		(void)closedir(d);
}

static int
fail_busy(const char *mnt)
{
	struct users u = { .mnt = mnt };
	char why[sizeof(u.text) + 64];

	add_loops(&u);
	add_processes(&u);
	if (!u.text[0])
		return cmd_fail(-EBUSY, "files are open", "", "umount %s", mnt);
	(void)snprintf(why, sizeof(why), "in use by %s", u.text);
	if (u.more)
		(void)snprintf(why + strlen(why), sizeof(why) - strlen(why),
			       " and %u more", u.more);
	return cmd_fail(-EBUSY, why, "`sealdisk detach` removes loop devices",
			"umount %s", mnt);
}

/*
 * The daemon.
 */

/* A descriptor that can be polled for the end of the mount's daemon; -1: it
 * cannot be told. */
static int
open_daemon(const char *mnt)
{
	CLEANUP(close_fdp)
	int fd = open(mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char path[64], name[64];
	struct sd_ioc_daemon d;

	if (fd < 0 || ioctl(fd, SD_IOC_DAEMON, &d) < 0)
		return -1;
	/* In another pid namespace its number would be somebody else's. */
	(void)snprintf(path, sizeof(path), "/proc/%d/comm", d.pid);
	read_line(path, name, sizeof(name));
	if (strcmp(name, "sealdisk") != 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, d.pid, 0);
}

static int
unmount(const char *mnt)
{
	const struct timespec pause = { 0, TRY_MS * 1000000L };
	struct users u = { .mnt = mnt };
	int r = -EBUSY;

	for (int t = 0; r == -EBUSY && t < TRIES; t++) {
		if (t > 0)
			(void)nanosleep(&pause, NULL);
		r = host_unmount(mnt, false);
		/* Whoever can be named will not go by itself. */
		if (r == -EBUSY && t == TRIES / 4) {
			add_loops(&u);
			add_processes(&u);
			if (u.text[0])
				break;
		}
	}
	if (r == -EBUSY)
		return fail_busy(mnt);
	return r < 0 ? cmd_fail(r, NULL, NULL, "umount %s", mnt) : 0;
}

int
cmd_umount(int argc, char **argv)
{
	CLEANUP(close_fdp) int daemon = -1;
	char mnt[PATH_MAX], store[PATH_MAX];
	struct pollfd p = { .events = POLLIN };
	int r = cmd_parse(&argc, &argv, NULL);

	if (r)
		return r;
	/* Of a mount whose daemon has died nothing can be asked. */
	if (!realpath(argv[0], mnt))
		(void)snprintf(mnt, sizeof(mnt), "%s", argv[0]);
	r = cmd_mounted_store(mnt, store);
	if (r < 0)
		return cmd_fail(
		    r, r == -ENOENT ? "no store is mounted there" : NULL, "",
		    "umount %s", argv[0]);
	daemon = open_daemon(mnt);
	r = unmount(mnt);
	if (r)
		return r;
	/* It commits what lingers. */
	p.fd = daemon;
	while (daemon >= 0 && poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	return 0;
}
