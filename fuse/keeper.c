/*
 * keeper.c - a worker is run, and followed by another when it dies.
 */
#include "keeper_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sealdisk/clock.h>

#include "host.h"
#include "keep_line.h"

/* A binary on trial, and a worker that is to end, get this long. */
#define TRIAL_MS 10000
#define HANDOVER_MS 1000
#define SPARE_MS 50 /* after a worker has come to serve */
/* So many deaths in so long, each counted by what it tells: that of a request
 * that can be named once, any other DEATH_BLIND times. */
#define DEATHS_MS 60000
#define DEATHS_BROKEN 30
#define DEATH_BLIND 3
#define BACKOFF_MAX_MS 1000

static struct keeper keeper; /* all that there is: nothing is allocated */

/*
 * What the worker says.
 */

static void
set_lock(struct keeper *k, unsigned slot, int fd)
{
	if (slot >= LINK_LOCKS) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	if (k->locks[slot] >= 0)
		(void)close(k->locks[slot]);
	k->locks[slot] = fd;
}

/* It is ready for requests, or has come as far as to ask for the mount. */
static void
let_go(struct keeper *k, struct child *c)
{
	if (k->fuse_fd < 0) {
		int r = k->o->mount(k->o->arg, &k->fuse_fd);

		if (r < 0) {
			k->keep->result = r;
			(void)kill(c->pid, SIGKILL);
			return;
		}
	}
	(void)!keeper_let_go(k, c);
}

/* One that waits for nothing but to be let go: the time that a process takes to
 * start is not its clients'. */
static void
start_spare(struct keeper *k)
{
	k->spare_ms = 0;
	/* One that was ended may not be gone yet. */
	if (k->spare.pid && k->spare.line < 0)
		k->spare_ms = clock_ms() + SPARE_MS;
	else if (!k->spare.pid &&
		 keeper_start(k, NULL, LINE_GO_ON, &k->spare) < 0)
		k->spare_ms = clock_ms() + BACKOFF_MAX_MS;
}

static void
end_spare(struct keeper *k)
{
	k->spare_ms = 0;
	if (k->spare.line >= 0)
		(void)close(k->spare.line);
	k->spare.line = -1;
	if (k->spare.pid)
		(void)kill(k->spare.pid, SIGKILL);
}

static void
on_ready(struct keeper *k, const struct line_msg *m)
{
	k->in_vain = 0;
	k->spare_ms = clock_ms() + SPARE_MS;
	if (!k->told) {
		k->told = true;
		k->o->ready(k->o->arg);
	}
	host_notify("READY=1\nSTATUS=%s", m->text);
}

static void
refuse(struct keeper *k, const char *why)
{
	k->next.due_ms = 0;
	(void)!line_say_text(k->worker.line, LINE_REFUSED, 0, why);
}

static void
try_upgrade(struct keeper *k)
{
	if (k->next.pid) {
		refuse(k, "another upgrade is under way");
		return;
	}
	if (keeper_start(k, k->path, LINE_TRIAL, &k->next) < 0) {
		refuse(k, "the program cannot be started");
		return;
	}
	k->next.due_ms = clock_ms() + TRIAL_MS;
}

static void
from_worker(struct keeper *k, const struct line_msg *m, int fd)
{
	switch (m->what) {
	case LINE_HELLO:
		let_go(k, &k->worker);
		break;
	case LINE_LOCK:
		set_lock(k, m->slot, fd);
		return;
	case LINE_DROP:
		set_lock(k, m->slot, -1);
		break;
	case LINE_READY:
		on_ready(k, m);
		break;
	case LINE_STATUS:
		host_notify("STATUS=%s", m->text);
		break;
	case LINE_UPGRADE:
		try_upgrade(k);
		break;
	default:
		break;
	}
	if (fd >= 0)
		(void)close(fd);
}

/* The one on trial can do it: no more requests for the old one. */
static void
from_next(struct keeper *k, const struct line_msg *m)
{
	if (m->what != LINE_HELLO)
		return;
	if (m->value < 0) {
		refuse(k, m->text);
		(void)kill(k->next.pid, SIGKILL);
		return;
	}
	k->next.said_hello = true;
	k->next.due_ms = 0;
	k->handing_over = true;
	k->worker.due_ms = clock_ms() + HANDOVER_MS;
	(void)!line_say(k->worker.line, LINE_HANDOVER, 0, 0);
}

static void
listen_to(struct keeper *k, struct child *c)
{
	struct line_msg m;
	int fd, r;

	while (c->line >= 0) {
		r = line_receive(c->line, false, &m, &fd);
		if (r == -EAGAIN)
			return;
		if (r < 0) {
			(void)close(c->line);
			c->line = -1;
		} else if (c == &k->worker) {
			from_worker(k, &m, fd);
		} else {
			from_next(k, &m);
		}
	}
}

/*
 * Its end.
 */

static bool
was_attributed(const struct keep *keep)
{
	return atomic_load(&keep->crash.signal) && keep->crash.request.unique;
}

/*
 * A worker that somebody kills (the administrator, the kernel that needs
 * memory) is no worse than the next one, if it has come to serve: it is not
 * counted, however often that happens.
 */
static void
count_death(struct keeper *k, int status)
{
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	int64_t now = clock_ms();
	unsigned n = was_attributed(k->keep) ? 1 : DEATH_BLIND, recent = 0;

	if (atomic_load(&k->keep->served) == k->keep->runs)
		k->in_vain = 0;
	else
		k->in_vain++;
	if (killed && !k->in_vain)
		return;
	for (unsigned i = 0; i < n; i++)
		k->deaths[k->n_deaths++ % DEATHS_MAX] = now;
	for (unsigned i = 0; i < DEATHS_MAX; i++)
		recent += k->deaths[i] && now - k->deaths[i] < DEATHS_MS;
	if (recent >= DEATHS_BROKEN)
		k->keep->broken = KEEP_BROKEN;
}

static void
plan_start(struct keeper *k)
{
	int64_t wait = 0;

	for (unsigned i = 1; i < k->in_vain && wait < BACKOFF_MAX_MS; i++)
		wait = wait ? 2 * wait : 10;
	if (wait > BACKOFF_MAX_MS)
		wait = BACKOFF_MAX_MS;
	k->start_ms = clock_ms() + wait;
}

/* The one on trial is the worker from now on. */
static void
promote(struct keeper *k)
{
	k->worker = k->next;
	memset(&k->next, 0, sizeof(k->next));
	k->next.line = -1;
	k->handing_over = false;
	end_spare(k); /* of the old program */
	k->keep->broken = 0;
	memset(k->deaths, 0, sizeof(k->deaths));
	k->keep->runs++;
	k->keep->upgrades++;
	let_go(k, &k->worker);
	/* The one before may have gone without having looked. */
	if (k->terminate)
		(void)kill(k->worker.pid, SIGTERM);
	k->renew_ms = clock_ms() + HANDOVER_MS;
}

static void
use_spare(struct keeper *k)
{
	k->worker = k->spare;
	memset(&k->spare, 0, sizeof(k->spare));
	k->spare.line = -1;
	k->keep->runs++;
	let_go(k, &k->worker);
	if (k->terminate)
		(void)kill(k->worker.pid, SIGTERM);
}

/* Whoever asked for it is told by the next worker that it is off. */
static void
call_off(struct keeper *k)
{
	if (!k->next.pid)
		return;
	k->next.due_ms = 0;
	(void)kill(k->next.pid, SIGKILL);
	if (k->next.line >= 0)
		(void)close(k->next.line);
	k->next.line = -1;
}

/* true: that was the end of all. */
static bool
worker_ended(struct keeper *k, int status)
{
	struct keep *keep = k->keep;
	pid_t pid = k->worker.pid;

	listen_to(k, &k->worker); /* what it has said before */
	if (k->worker.line >= 0)
		(void)close(k->worker.line);
	memset(&k->worker, 0, sizeof(k->worker));
	k->worker.line = -1;
	if (atomic_load(&keep->finished) || keep->broken == KEEP_BROKEN_LAST)
		return true;
	if (keep->broken == KEEP_BROKEN_GONE) {
		keep->broken = KEEP_BROKEN_LAST;
		keep->result = -EIO;
		k->start_ms = clock_ms();
		return false;
	}
	if (!atomic_load(&keep->served)) {
		/* It has not come so far as to be worth another. */
		if (keep->result == 0)
			keep->result = -EIO;
		return true;
	}
	if (k->handing_over && k->next.pid) {
		promote(k);
		return false;
	}
	k->handing_over = false;
	call_off(k);
	/* The new one that died at once was none. */
	if (k->renew_ms) {
		k->renew_ms = 0;
		keep->upgrades--;
	}
	keep->dead = pid;
	keep->status = status;
	keep->restarts++;
	count_death(k, status);
	if (k->spare.pid && !k->in_vain)
		use_spare(k);
	else
		plan_start(k);
	return false;
}

static void
next_ended(struct keeper *k)
{
	listen_to(k, &k->next);
	if (k->next.line >= 0)
		(void)close(k->next.line);
	/* Killed for what it said, or too late, or it died of itself. */
	if (k->next.due_ms && !k->next.said_hello)
		refuse(k, "the new program ends at once");
	memset(&k->next, 0, sizeof(k->next));
	k->next.line = -1;
	k->handing_over = false;
}

static void
spare_ended(struct keeper *k)
{
	if (k->spare.line >= 0) {
		(void)close(k->spare.line);
		k->spare_ms = clock_ms() + BACKOFF_MAX_MS;
	}
	memset(&k->spare, 0, sizeof(k->spare));
	k->spare.line = -1;
}

static bool
reap(struct keeper *k)
{
	bool over = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == k->worker.pid)
			over = worker_ended(k, status) || over;
		else if (pid == k->next.pid)
			next_ended(k);
		else if (pid == k->spare.pid)
			spare_ended(k);
	return over;
}

/*
 * The loop.
 */

static void
take_signals(struct keeper *k)
{
	struct signalfd_siginfo si;

	while (read(k->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD ||
		    (si.ssi_signo == SIGHUP && !k->foreground))
			continue;
		k->terminate = true;
		if (k->worker.pid)
			(void)kill(k->worker.pid, SIGTERM);
	}
}

static void
start_worker(struct keeper *k)
{
	k->start_ms = 0;
	k->keep->runs++;
	if (keeper_start(k, NULL, k->fuse_fd < 0 ? LINE_START : LINE_GO_ON,
			 &k->worker) < 0) {
		k->in_vain++;
		k->start_ms = clock_ms() + BACKOFF_MAX_MS;
		return;
	}
	/* The first one asks for it. */
	if (k->fuse_fd >= 0)
		let_go(k, &k->worker);
	if (k->terminate)
		(void)kill(k->worker.pid, SIGTERM);
}

/* The new worker serves, which it tells: until then there is nothing to wait
 * for. */
static bool
may_renew(const struct keeper *k)
{
	return k->renew_ms && atomic_load(&k->keep->served) == k->keep->runs;
}

static void
look_at_clock(struct keeper *k)
{
	int64_t now = clock_ms();

	if (k->start_ms && now >= k->start_ms)
		start_worker(k);
	if (k->spare_ms && now >= k->spare_ms)
		start_spare(k);
	if (k->worker.due_ms && now >= k->worker.due_ms) {
		k->worker.due_ms = 0;
		(void)kill(k->worker.pid, SIGKILL);
	}
	if (k->next.due_ms && now >= k->next.due_ms) {
		refuse(k, "the new program does not answer");
		(void)kill(k->next.pid, SIGKILL);
	}
	if (may_renew(k) && now >= k->renew_ms) {
		k->renew_ms = 0;
		end_spare(k);
		k->spare_ms = now + SPARE_MS; /* of what we are then */
		keeper_renew(k);
	}
}

static int
time_left(const struct keeper *k)
{
	const int64_t due[] = { k->start_ms, k->spare_ms, k->worker.due_ms,
				k->next.due_ms,
				may_renew(k) ? k->renew_ms : 0 };
	int64_t left = -1, now = clock_ms();

	for (size_t i = 0; i < sizeof(due) / sizeof(due[0]); i++)
		if (due[i] && (left < 0 || due[i] - now < left))
			left = due[i] > now ? due[i] - now : 0;
	return (int)left;
}

static void
loop(struct keeper *k)
{
	bool over = false;

	while (!over) {
		struct pollfd p[] = {
			{ .fd = k->signal_fd, .events = POLLIN },
			{ .fd = k->worker.line, .events = POLLIN },
			{ .fd = k->next.line, .events = POLLIN },
		};

		(void)poll(p, 3, time_left(k));
		if (p[0].revents)
			take_signals(k);
		if (p[1].revents)
			listen_to(k, &k->worker);
		if (p[2].revents)
			listen_to(k, &k->next);
		over = reap(k);
		if (!over)
			look_at_clock(k);
	}
	host_notify("STOPPING=1");
	if (k->next.pid)
		(void)kill(k->next.pid, SIGKILL);
	end_spare(k);
}

static int
take_signals_by_fd(struct keeper *k)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signal_fd < 0 ? -errno : 0;
}

int
keeper_run(const struct keeper_options *o)
{
	struct keeper *k = &keeper;
	int r;

	k->o = o;
	k->keep = o->keep;
	k->keep_fd = o->keep_fd;
	k->fuse_fd = k->worker.line = k->spare.line = k->next.line = -1;
	k->foreground = o->foreground;
	for (unsigned i = 0; i < LINK_LOCKS; i++)
		k->locks[i] = -1;
	k->exe_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (k->exe_fd < 0 ||
	    readlink("/proc/self/exe", k->path, sizeof(k->path) - 1) < 0)
		return -errno;
	k->keep->keeper = getpid();
	r = take_signals_by_fd(k);
	if (r < 0)
		return r;
	(void)!host_keep_alive(true);
	start_worker(k);
	if (!k->worker.pid)
		return -EAGAIN;
	loop(k);
	return k->keep->result;
}

int
keeper_resume(int fd, struct keeper_options *o)
{
	struct keeper *k = &keeper;
	int r;

	if (pread(fd, k, sizeof(*k), 0) != (ssize_t)sizeof(*k) ||
	    k->len != sizeof(*k))
		return -EPROTONOSUPPORT;
	(void)close(fd);
	r = keep_map(k->keep_fd, &o->keep);
	if (r < 0)
		return r;
	k->o = o;
	k->keep = o->keep;
	r = take_signals_by_fd(k);
	if (r < 0)
		return r;
	(void)!host_keep_alive(true);
	loop(k);
	return k->keep->result;
}
