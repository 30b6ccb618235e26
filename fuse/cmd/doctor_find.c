/*
 * doctor_find.c - what is mounted, from where, by which daemon, and upon what.
 */
#include "doctor.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <sealdisk/ioctl.h>

#include "cmd.h"

#define FS_TYPE "fuse.sealdisk"
#define DEPTH_MAX 8 /* of block devices upon each other */

bool
doctor_is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	if (len == 1 && folder[0] == '/')
		return path[0] == '/';
	return strncmp(path, folder, len) == 0 &&
	       (path[len] == '/' || path[len] == '\0');
}

bool
doctor_is_ours(const struct doctor *d, const struct doctor_fs *fs)
{
	return strcmp(fs->type, FS_TYPE) == 0 &&
	       (!d->store[0] || strcmp(fs->source, d->store) == 0);
}

/* What another machine serves; of FUSE, too, that is true more often than not,
 * and where it is not, it costs much the same. */
bool
doctor_is_network(const struct doctor_fs *fs)
{
	static const char *const types[] = {
		"nfs", "nfs4",   "cifs",  "smb3", "9p",  "ceph",
		"afs", "lustre", "ocfs2", "gfs2", "ncp", "virtiofs",
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(fs->type, types[i]) == 0)
			return true;
	return strncmp(fs->type, "fuse.", 5) == 0 &&
	       strcmp(fs->type, FS_TYPE) != 0;
}

const struct doctor_fs *
doctor_fs_of(const struct doctor *d, const char *path)
{
	const struct doctor_fs *best = NULL;

	/* Of two at one place the later one hides the other. */
	for (size_t i = 0; i < d->n_fs; i++)
		if (doctor_is_below(path, d->fs[i].where) &&
		    (!best || strlen(d->fs[i].where) >= strlen(best->where)))
			best = &d->fs[i];
	return best;
}

/*
 * Block devices.
 */

struct search {
	bool found;
	unsigned depth;
	const char *path;
};

static bool is_crypt(struct doctor *d, const char *path, unsigned depth);

static void
look_below(struct doctor *d, const char *name, void *arg)
{
	struct search *s = arg;
	char path[PATH_MAX];
	int len;

	len = snprintf(path, sizeof(path), "/sys/block/%s", name);
	if (!s->found && len > 0 && (size_t)len < sizeof(path))
		s->found = is_crypt(d, path, s->depth + 1);
}

/* LVM upon LUKS is encrypted, too: look at what a device is made of. */
static bool
is_crypt(struct doctor *d, const char *path, unsigned depth)
{
	struct search s = { .depth = depth };
	char text[PATH_MAX];
	int len;

	if (doctor_read(d, text, sizeof(text), "%s/dm/uuid", path) &&
	    strncmp(text, "CRYPT-", 6) == 0)
		return true;
	len = snprintf(text, sizeof(text), "%s/slaves", path);
	if (depth < DEPTH_MAX && len > 0 && (size_t)len < sizeof(text))
		doctor_list(d, text, look_below, &s);
	return s.found;
}

bool
doctor_is_crypt(const struct doctor *d, const char *dev)
{
	struct doctor copy = *d; /* nothing is added */
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "/sys/%s/%.64s",
		       strchr(dev, ':') ? "dev/block" : "block", dev);
	return is_crypt(&copy, path, 0);
}

/*
 * The daemon of a mount.
 */

struct daemon_search {
	const char *mnt;
	long pid;
};

/* A process called sealdisk that was told of this mount point. */
static void
look_at_process(struct doctor *d, const char *name, void *arg)
{
	struct daemon_search *s = arg;
	char text[2 * PATH_MAX] = "";
	bool mount = false, here = false;

	if (s->pid || !isdigit((unsigned char)name[0]) ||
	    !doctor_read(d, text, sizeof(text), "/proc/%s/comm", name) ||
	    strcmp(text, "sealdisk") != 0)
		return;
	memset(text, 0, sizeof(text));
	if (!doctor_read(d, text, sizeof(text) - 1, "/proc/%s/cmdline", name))
		return;
	for (const char *p = text; *p; p += strlen(p) + 1) {
		mount = mount || strcmp(p, "mount") == 0;
		here = here || strcmp(p, s->mnt) == 0;
	}
	if (mount && here)
		s->pid = strtol(name, NULL, 10);
}

/* It says so itself; to us, if we may look into its mount. */
static long
daemon_of(struct doctor *d, const char *mnt)
{
	struct daemon_search s = { .mnt = mnt };
	struct sd_ioc_daemon answer;
	char path[PATH_MAX], comm[32];
	CLEANUP(close_fdp) int fd = -1;

	if (doctor_path(d, path, "%s", mnt))
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* In another pid namespace its number would be somebody else's. */
	if (fd >= 0 && ioctl(fd, SD_IOC_DAEMON, &answer) == 0 &&
	    doctor_read(d, comm, sizeof(comm), "/proc/%d/comm", answer.pid) &&
	    strcmp(comm, "sealdisk") == 0)
		return answer.pid;
	doctor_list(d, "/proc", look_at_process, &s);
	return s.pid;
}

/*
 * mountinfo.
 */

/* "36 35 98:0 / MOUNT rw,noatime master:1 - TYPE SOURCE rw"; cuts it up. */
static bool
parse(char *line, struct doctor_fs *ret)
{
	char *rest = strstr(line, " - "), *save = NULL, *type, *source;
	char where[PATH_MAX];

	if (!rest)
		return false;
	*rest = '\0';
	type = strtok_r(rest + 3, " \n", &save);
	source = strtok_r(NULL, " \n", &save);
	if (!type || !source ||
	    sscanf(line, "%*s %*s %u:%u %*s %4095s", &ret->major, &ret->minor,
		   where) != 3)
		return false;
	cmd_unescape(where);
	cmd_unescape(source);
	ret->daemon = 0;
	ret->where = strdup(where);
	ret->type = strdup(type);
	ret->source = strdup(source);
	return true;
}

int
doctor_mounts(struct doctor *d)
{
	CLEANUP(free_memp) char *line = NULL;
	FILE *f = doctor_open(d, "/proc/self/mountinfo");
	struct doctor_fs fs, *more;
	size_t cap = 0;
	int r = 0;

	while (f && r == 0 && getline(&line, &cap, f) > 0) {
		if (!parse(line, &fs))
			continue;
		more = realloc(d->fs, (d->n_fs + 1) * sizeof(*more));
		if (more) {
			d->fs = more;
			d->fs[d->n_fs++] = fs;
		}
		if (!more || !fs.where || !fs.type || !fs.source)
			r = -ENOMEM;
	}
	if (f)
		(void)fclose(f);
	for (size_t i = 0; r == 0 && i < d->n_fs; i++)
		if (doctor_is_ours(d, &d->fs[i]))
			d->fs[i].daemon = daemon_of(d, d->fs[i].where);
	return r;
}
