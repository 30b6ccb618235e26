/*
 * program.c - another program, run without a shell.
 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "copy.h"

struct run {
	pid_t pid;
	int out, err; /* -1: has ended */
	/* What it prints. */
	void (*fn)(const char *text, size_t len, void *arg);
	void *arg;
	char said[PROGRAM_SAID_MAX]; /* on standard error */
	size_t said_len;
};

static void
become(const char *path, const char *const *argv, int out, int err,
       pid_t parent)
{
	char locale[] = "LC_ALL=C";
	char *const env[] = { locale, NULL };
	int in = open("/dev/null", O_RDONLY);

	/* It shall not go on writing when nobody waits for it. */
	if (in < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 ||
	    getppid() != parent || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
	    dup2(err, 2) < 0)
		return;
	/* It changes nothing, whatever its type says. */
	(void)execve(path, (char *const *)(uintptr_t)argv, env);
}

static int
start(const char *path, const char *const *argv, struct run *run)
{
	pid_t self = getpid();
	int out[2], err[2];

	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(err, O_CLOEXEC) < 0) {
		(void)close(out[0]);
		(void)close(out[1]);
		return -ENFILE;
	}
	run->pid = fork();
	if (run->pid == 0) {
		become(path, argv, out[1], err[1], self);
		_exit(127);
	}
	(void)close(out[1]);
	(void)close(err[1]);
	run->out = out[0];
	run->err = err[0];
	return run->pid < 0 ? -EAGAIN : 0;
}

/* Returns the descriptor, or -1 where it has ended. */
static int
take_output(struct run *run, int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));
	size_t room = sizeof(run->said) - 1 - run->said_len;

	if (n < 0 && errno == EINTR)
		return fd;
	if (n <= 0) {
		(void)close(fd);
		return -1;
	}
	if (fd == run->out) {
		run->fn(buf, (size_t)n, run->arg);
	} else {
		if ((size_t)n < room)
			room = (size_t)n;
		memcpy(run->said + run->said_len, buf, room);
		run->said_len += room;
		run->said[run->said_len] = '\0';
	}
	return fd;
}

static void
follow(struct run *run)
{
	bool told = false;

	while (run->out >= 0 || run->err >= 0) {
		struct pollfd p[] = {
			{ .fd = run->out, .events = POLLIN },
			{ .fd = run->err, .events = POLLIN },
		};

		if (copy_interrupted() && !told) {
			(void)kill(run->pid, SIGTERM);
			told = true;
		}
		if (poll(p, 2, 1000) <= 0)
			continue;
		if (p[0].revents)
			run->out = take_output(run, run->out);
		if (p[1].revents)
			run->err = take_output(run, run->err);
	}
}

/* "NAME: WHAT" without the name, one line. */
static const char *
said(struct run *run, const char *name)
{
	size_t len = strlen(name);
	const char *s = run->said;

	run->said[strcspn(run->said, "\n")] = '\0';
	if (strncmp(s, name, len) == 0 && strncmp(s + len, ": ", 2) == 0)
		s += len + 2;
	return s[0] ? s : "it failed";
}

int
program_run(const char *path, const char *const *argv,
	    void (*fn)(const char *text, size_t len, void *arg), void *arg,
	    char ret_said[static PROGRAM_SAID_MAX])
{
	struct run run = { .out = -1, .err = -1, .fn = fn, .arg = arg };
	int status = -1, r;

	r = start(path, argv, &run);
	if (r < 0)
		return r;
	follow(&run);
	while (waitpid(run.pid, &status, 0) < 0 && errno == EINTR)
		;
	if (copy_interrupted())
		return -ECANCELED;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	(void)snprintf(ret_said, PROGRAM_SAID_MAX, "%s", said(&run, argv[0]));
	return -ECHILD;
}
