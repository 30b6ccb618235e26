/*
 * keeper_start.c - the keeper's children, and what becomes of itself at an
 * upgrade.
 */
#include "keeper_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "host.h"
#include "keep_line.h"

#define ARGS_MAX 256

/* Those of the command, and one more. */
static void
add_arg(const struct keeper *k, char *arg, char *ret[static ARGS_MAX])
{
	size_t n = 0;

	for (; k->o->argv[n] && n < ARGS_MAX - 2; n++)
		ret[n] = k->o->argv[n];
	ret[n++] = arg;
	ret[n] = NULL;
}

/*
 * It ends with the keeper, whatever that dies of.  A signal that asks the mount
 * to end may be sent to it at once, and waits until it takes it (session.c).
 */
static void
be_child(const struct keeper *k, const char *path, int line, pid_t keeper)
{
	char *args[ARGS_MAX], arg[48], empty[] = "";
	sigset_t wait;

	(void)!host_keep_alive(false);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != keeper)
		return;
	(void)sigemptyset(&wait);
	(void)sigaddset(&wait, SIGHUP);
	(void)sigaddset(&wait, SIGINT);
	(void)sigaddset(&wait, SIGTERM);
	(void)sigprocmask(SIG_SETMASK, &wait, NULL);
	(void)fcntl(line, F_SETFD, 0);
	(void)snprintf(arg, sizeof(arg), "--keeper-fd=%d", line);
	add_arg(k, arg, args);
	if (path)
		(void)execv(path, args);
	else
		(void)execveat(k->exe_fd, empty, args, environ, AT_EMPTY_PATH);
}

static int
greet(const struct keeper *k, int mode, const struct child *c)
{
	const struct line_msg m = { .what = LINE_KEEP, .value = mode };

	return line_send(c->line, &m, k->keep_fd);
}

int
keeper_let_go(struct keeper *k, struct child *c)
{
	struct line_msg m = { .what = LINE_LOCK };
	int r = 0;

	for (unsigned i = 0; r == 0 && i < LINK_LOCKS; i++) {
		m.slot = i;
		if (k->locks[i] >= 0)
			r = line_send(c->line, &m, k->locks[i]);
	}
	m.what = LINE_GO;
	c->may_go = r == 0;
	return r < 0 ? r : line_send(c->line, &m, k->fuse_fd);
}

int
keeper_start(struct keeper *k, const char *path, int mode, struct child *ret)
{
	pid_t keeper = getpid();
	int ends[2], r;

	memset(ret, 0, sizeof(*ret));
	ret->line = -1;
	r = line_pair(ends);
	if (r < 0)
		return r;
	ret->pid = fork();
	if (ret->pid == 0) {
		be_child(k, path, ends[1], keeper);
		_exit(127);
	}
	r = ret->pid < 0 ? -errno : 0;
	(void)close(ends[1]);
	if (r < 0) {
		ret->pid = 0;
		(void)close(ends[0]);
		return r;
	}
	ret->line = ends[0];
	/* One that has ended already is found out by its end. */
	(void)!greet(k, mode, ret);
	return 0;
}

static void
pass_on(int fd, bool on)
{
	if (fd >= 0)
		(void)fcntl(fd, F_SETFD, on ? 0 : FD_CLOEXEC);
}

static void
pass_on_all(const struct keeper *k, bool on)
{
	pass_on(k->worker.line, on);
	pass_on(k->keep_fd, on);
	pass_on(k->fuse_fd, on);
	for (unsigned i = 0; i < LINK_LOCKS; i++)
		pass_on(k->locks[i], on);
}

/*
 * The process stays, with its children; a binary that cannot be run leaves all
 * as it was.  The one on its way has been tried as a worker.
 */
void
keeper_renew(struct keeper *k)
{
	CLEANUP(close_fdp) int fd = memfd_create("sealdisk-keeper", 0);
	int exe = open(k->path, O_PATH | O_CLOEXEC);
	char *args[ARGS_MAX], arg[48], empty[] = "";
	int old = k->exe_fd;

	if (fd < 0 || exe < 0 || k->next.pid)
		goto out;
	k->len = sizeof(*k);
	k->exe_fd = exe;
	if (pwrite(fd, k, sizeof(*k), 0) != (ssize_t)sizeof(*k))
		goto out;
	(void)snprintf(arg, sizeof(arg), "--keeper-state=%d", fd);
	add_arg(k, arg, args);
	pass_on_all(k, true);
	pass_on(exe, true);
	(void)execveat(exe, empty, args, environ, AT_EMPTY_PATH);
	pass_on_all(k, false);
out:
	k->exe_fd = old;
	if (exe >= 0)
		(void)close(exe);
}
