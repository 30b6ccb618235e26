/*
 * place.c - where another program finds a disk as a file.
 *
 * A mount of our own is this same program once more (mount.c).  The kernel
 * sends its daemon a SIGTERM should the command end without having unmounted
 * it: then the daemon commits, and ends when the disk has been closed.
 */
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include <sealdisk/io.h>
#include <sealdisk/ioctl.h>

#include "host.h"

#define TRIES 40 /* the kernel closes files a little later */
#define TRY_MS 50

static void
wait_a_moment(void)
{
	const struct timespec pause = { 0, TRY_MS * 1000000L };

	(void)nanosleep(&pause, NULL);
}

static int
detach(const char *info)
{
	CLEANUP(close_fdp) int fd = open(info, O_RDONLY | O_CLOEXEC);
	int r = -EBUSY;

	if (fd < 0)
		return -errno;
	for (int t = 0; r == -EBUSY && t < TRIES; t++) {
		if (t > 0)
			wait_a_moment();
		r = ioctl(fd, SD_IOC_DETACH) < 0 ? -errno : 0;
	}
	return r;
}

int
place_detach(const char *path)
{
	char info[PATH_MAX];
	int r = cmd_info_path(path, info);

	return r < 0 ? r : detach(info);
}

/* In the child. */
static void
become_daemon(struct cmd_env *e, const char *mnt, int fd, pid_t parent)
{
	char ready[32], passphrase[64];
	const char *args[16] = { "sealdisk" };
	int n = 1;

	if (e->settings.file[0]) {
		args[n++] = "--config";
		args[n++] = e->settings.file;
	}
	/* If we have not read it ourselves. */
	if (cmd_globals.passphrase_fd && !e->kms) {
		(void)snprintf(passphrase, sizeof(passphrase),
			       "--passphrase-fd=%s", cmd_globals.passphrase_fd);
		args[n++] = passphrase;
	}
	(void)snprintf(ready, sizeof(ready), "--ready-fd=%d", fd);
	args[n++] = "mount";
	args[n++] = e->path;
	args[n++] = mnt;
	args[n++] = "-o";
	args[n++] = "linger=0,noexec,nosuid,nodev";
	args[n++] = ready;
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
		return;
	/* execv() changes nothing, whatever its type says. */
	(void)execv("/proc/self/exe", (char *const *)(uintptr_t)args);
}

/* -ECHILD: it has died; other errors it has told by itself, or -EAGAIN. */
static int
start_daemon(struct cmd_env *e, struct place *p)
{
	CLEANUP(close_fdp) int from = -1;
	pid_t self = getpid();
	int fds[2], told, status;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -EAGAIN;
	from = fds[0];
	p->daemon = fork();
	if (p->daemon == 0) {
		(void)fcntl(fds[1], F_SETFD, 0);
		become_daemon(e, p->mnt, fds[1], self);
		_exit(127);
	}
	(void)close(fds[1]);
	if (p->daemon < 0)
		return -EAGAIN;
	/* It has said by itself what is wrong, or it has died. */
	if (io_read_all(from, &told, sizeof(told)) < 0)
		told = -ECHILD;
	if (told == 0)
		return 0;
	while (waitpid(p->daemon, &status, 0) < 0 && errno == EINTR)
		;
	p->daemon = -1;
	return told;
}

/* A folder that is ours alone. */
static int
make_folder(char ret[static PATH_MAX])
{
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX];
	int len;

	len = snprintf(path, sizeof(path), "%s/sealdisk-XXXXXX",
		       tmp && tmp[0] == '/' ? tmp : "/tmp");
	if (len < 0 || (size_t)len >= sizeof(path))
		return -ENAMETOOLONG;
	if (!mkdtemp(path))
		return -errno;
	if (realpath(path, ret))
		return 0;
	len = errno;
	(void)rmdir(path);
	return -len;
}

static int
paths_in(const char *mnt, const struct cmd_target *t, struct place *p)
{
	int r = cmd_path_in(mnt, false, t, p->path);

	return r < 0 ? r : cmd_path_in(mnt, true, t, p->info);
}

static int
own_mount(struct cmd_env *e, const struct cmd_target *t, struct place *p)
{
	int r;

	r = make_folder(p->mnt);
	if (r < 0) {
		p->mnt[0] = '\0';
		return cmd_fail(r, NULL, NULL, "%s %s: temporary folder",
				cmd_name(), t->text);
	}
	r = paths_in(p->mnt, t, p) < 0 ? -EAGAIN : start_daemon(e, p);
	if (r == -ECHILD || r == -EAGAIN)
		r = cmd_fail(r == -ECHILD ? -EIO : r,
			     r == -ECHILD ? "it ended before it served"
					  : "it cannot be started",
			     "", "%s %s: the daemon of a mount", cmd_name(),
			     t->text);
	if (r)
		(void)rmdir(p->mnt);
	return r;
}

int
place_open(struct cmd_env *e, const struct cmd_target *t, bool writable,
	   struct place *ret)
{
	char mnt[PATH_MAX];

	memset(ret, 0, sizeof(*ret));
	ret->daemon = -1;
	/* It may be another user's, or read-only, or its daemon dead. */
	if (cmd_find_mount(e->path, mnt) == 0 && paths_in(mnt, t, ret) == 0 &&
	    access(ret->path, writable ? W_OK : R_OK) == 0)
		return 0;
	return own_mount(e, t, ret);
}

static int
close_own(struct place *p)
{
	int status = 0, r = -EBUSY;

	for (int t = 0; r == -EBUSY && t < TRIES; t++) {
		if (t > 0)
			wait_a_moment();
		r = host_unmount(p->mnt, false);
	}
	/* Whoever else has it open is served until they close it; what is
	 * written is committed now. */
	if (r < 0)
		(void)kill(p->daemon, SIGTERM);
	while (waitpid(p->daemon, &status, 0) < 0 && errno == EINTR)
		;
	(void)rmdir(p->mnt);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

int
place_close(struct place *p)
{
	return p->daemon > 0 ? close_own(p) : detach(p->info);
}
