/*
 * session.c - the FUSE session: mount, workers, signals, readiness, end.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <sealdisk/clock.h>
#include <sealdisk/log.h>

#include "crash.h"
#include "crowd.h"
#include "fs.h"
#include "host.h"
#include "jobs.h"
#include "pending.h"
#include "worker.h"

#define MAX_JOB_THREADS 16 /* how many may wait for a KMS */
#define WIPE_POLL_MS 5
/* Of each connection the kernel has 128 requests under way that nobody waits
 * for (MAX_BACKGROUND), and one of each thread that waits. */
#define MAX_THREADS 192
#define HANDOVER_MS 200 /* that requests under way may take */
/* Of requests of WORKER_IO_MAX, several at once: one worker decrypts while
 * another reads, and the store is kept busy. */
#define READAHEAD (4U * WORKER_IO_MAX)

struct session {
	const struct session_options *o;
	struct fuse_session *se;
	struct workers workers, job_workers;
	struct jobs *jobs;
	struct fs *fs;
	int wake_fd, signal_fd;
	dev_t dev;
	_Atomic unsigned threads; /* numbered */
	struct crowd crowd;
	_Atomic bool greeted, handover;
	bool ready, stopping, wiping;
};

/* libfuse has one place for its messages in a process. */
static char fuse_says[256];
static _Atomic bool fuse_may_log;

static void on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
    __attribute__((__format__(__printf__, 2, 0)));

static void
on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[sizeof(fuse_says)];
	char *msg = text;
	size_t len;

	if (level > FUSE_LOG_WARNING)
		return;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	len = strlen(text);
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	if (strncmp(msg, "fuse: ", 6) == 0)
		msg += 6;
	if (atomic_load(&fuse_may_log))
		log_warn("fuse: %s", msg);
	else
		(void)snprintf(fuse_says, sizeof(fuse_says), "%s", msg);
}

static void
wake(void *arg)
{
	struct session *s = arg;
	uint64_t one = 1;

	/* Full is as good as written. */
	(void)!write(s->wake_fd, &one, sizeof(one));
}

static bool
serves(const struct session *s)
{
	return !fuse_session_exited(s->se) &&
	       !atomic_load_explicit(&s->handover, memory_order_relaxed);
}

/*
 * One worker: read a request, answer it.  A read that a signal has interrupted
 * is how a wipe gets to a worker with nothing to do.
 */
static void
serve(struct worker *w, void *arg)
{
	struct session *s = arg;
	struct fuse_buf buf = { .mem = w->in };
	struct pending p;
	int r;

	crash_thread();
	r = pending_thread(&p, s->o->link, w, atomic_fetch_add(&s->threads, 1));
	if (r < 0)
		log_warn("a thread cannot tell of its requests: %s",
			 err_text(r));
	while (serves(s)) {
		worker_checkpoint(w);
		atomic_store_explicit(&w->asleep, true, memory_order_relaxed);
		r = fuse_session_receive_buf(s->se, &buf);
		atomic_store_explicit(&w->asleep, false, memory_order_relaxed);
		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r <= 0)
			break;
		if (w->in_used < (size_t)r)
			w->in_used = (size_t)r;
		if (crowd_begin(&s->crowd))
			wake(s);
		if (pending_begin(&p, buf.mem, (size_t)r))
			fuse_session_process_buf(s->se, &buf);
		pending_end(&p);
		crowd_end(&s->crowd);
		/* The answer to the greeting has been taken by now. */
		if (!atomic_load_explicit(&s->greeted, memory_order_relaxed) &&
		    fs_is_serving(s->fs)) {
			atomic_store(&s->greeted, true);
			wake(s);
		}
	}
	if (serves(s)) {
		log_error("/dev/fuse: %s", err_text(r));
		fuse_session_exit(s->se);
	}
	atomic_fetch_sub(&s->crowd.threads, 1);
	wake(s);
}

static int
start_worker(struct session *s)
{
	int r;

	atomic_fetch_add(&s->crowd.threads, 1);
	r = workers_start(&s->workers, true, serve, s);
	if (r < 0)
		atomic_fetch_sub(&s->crowd.threads, 1);
	return r;
}

static int
start_workers(struct session *s)
{
	unsigned n = s->o->threads ? s->o->threads : host_threads();
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++) {
		r = start_worker(s);
		if (r < 0 && i > 0) {
			log_warn("%u threads serve, for want of memory", i);
			return 0;
		}
	}
	return r;
}

/*
 * Mount.
 */

/* A comma would end the option. */
static int
escape_option(const char *in, char *out, size_t cap)
{
	size_t len = 0;

	for (; *in; in++) {
		if (len + 3 > cap)
			return -ENAMETOOLONG;
		if (*in == ',' || *in == '\\')
			out[len++] = '\\';
		out[len++] = *in;
	}
	out[len] = '\0';
	return 0;
}

static int
make_session(struct session *s)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char store[2 * PATH_MAX], opts[4 * PATH_MAX];
	int r = escape_option(s->o->store, store, sizeof(store));

	if (r < 0)
		return r;
	(void)snprintf(opts, sizeof(opts),
		       "fsname=%s,subtype=sealdisk,default_permissions%s%s%s%s",
		       store, s->o->allow_other ? ",allow_other" : "",
		       s->o->read_only ? ",ro" : "", s->o->kernel[0] ? "," : "",
		       s->o->kernel);
	if (fuse_opt_add_arg(&args, "sealdisk") == 0 &&
	    fuse_opt_add_arg(&args, "-o") == 0 &&
	    fuse_opt_add_arg(&args, opts) == 0)
		s->se = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), s->fs);
	fuse_opt_free_args(&args);
	return s->se ? 0 : -EINVAL;
}

static int
mount_it(struct session *s)
{
	int r = make_session(s);

	char fd[32];

	if (r < 0)
		return r;
	(void)snprintf(fd, sizeof(fd), "/dev/fd/%d",
		       s->o->link ? s->o->link->fuse_fd : -1);
	errno = 0;
	if (fuse_session_mount(s->se, s->o->link ? fd : s->o->mount_point) < 0)
		return errno ? -errno : -EIO;
	fs_set_session(s->fs, s->se);
	return 0;
}

int
session_mount(const struct session_options *o, int *ret_fd,
	      const char **ret_why)
{
	struct session s = { .o = o };
	int r;

	*ret_why = fuse_says;
	fuse_set_log_func(on_fuse_log);
	r = make_session(&s);
	if (r < 0)
		return r;
	errno = 0;
	if (fuse_session_mount(s.se, o->mount_point) < 0)
		r = errno ? -errno : -EIO;
	if (r == 0) {
		*ret_fd = fcntl(fuse_session_fd(s.se), F_DUPFD_CLOEXEC, 3);
		r = *ret_fd < 0 ? -errno : 0;
	}
	fuse_session_destroy(s.se);
	return r;
}

/*
 * After another worker: the kernel greets but once, and gives what that one had
 * read and not answered to whoever asks for it.
 */
static void
go_on(struct session *s)
{
	struct keep *k = s->o->link->keep;
	struct fuse_buf buf = { .mem = k->init,
				.size = atomic_load(&k->init_len) };

	fuse_session_process_buf(s->se, &buf);
	fs_resume(s->fs);
	pending_resend(s->o->link);
	atomic_store(&s->greeted, true);
}

static void
be_ready(struct session *s)
{
	bool tuned;

	s->ready = true;
	atomic_store(&fuse_may_log, true);
	tuned = host_mount_device(s->o->mount_point, &s->dev) == 0 &&
		host_tune_mount(s->dev, READAHEAD);
	s->o->ready(s->o->arg);
	if (s->o->link)
		link_tell_death(s->o->link->keep);
	host_warn();
	if (!tuned && geteuid() == 0)
		log_warn("the system refuses more readahead for the mount: "
			 "reading will be slower");
	fs_sweep(s->fs);
	if (s->o->link)
		link_ready(s->o->link, "%s serves %s", s->o->mount_point,
			   s->o->store);
	else
		host_notify("READY=1\nSTATUS=%s serves %s", s->o->mount_point,
			    s->o->store);
}

/*
 * The end.
 */

static void
let_go(struct session *s)
{
	unsigned open_files = 0;
	dev_t dev;
	int r;

	s->stopping = true;
	(void)fs_count(s->fs, &open_files);
	if (s->o->link)
		link_status(s->o->link, "unmounted; %u files are still open",
			    open_files);
	else
		host_notify("STOPPING=1\nSTATUS=unmounted; %u files are still "
			    "open",
			    open_files);
	if (open_files)
		log_note("%s: unmounted; %u files are served until they are "
			 "closed",
			 s->o->mount_point, open_files);
	fs_commit_all(s->fs);
	/* Whatever else lies there by now is not ours to unmount. */
	if (host_mount_device(s->o->mount_point, &dev) < 0 ||
	    (s->ready && dev != s->dev))
		return;
	r = host_unmount(s->o->mount_point, true);
	if (r < 0)
		log_error("unmount %s: %s", s->o->mount_point, err_text(r));
}

static void
take_signals(struct session *s)
{
	struct signalfd_siginfo si;

	while (read(s->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo != SIGHUP || s->o->foreground)
			let_go(s);
}

/* As many again. */
static void
start_more(struct session *s)
{
	unsigned had = atomic_load(&s->crowd.threads), n = had;

	while (n < 2 * had && n < MAX_THREADS && start_worker(s) == 0)
		n++;
	if (n > had)
		log_warn("%u requests wait for the store, and none was "
			 "answered for %u ms; %u threads serve now",
			 had, CROWD_STUCK_MS, n);
}

/* A disk whose store does not answer must not have all threads.  The same. */
static int
look_at_crowd(struct session *s, int timeout)
{
	bool stuck;
	int next = crowd_look(&s->crowd, clock_ms(), &stuck);

	if (stuck)
		start_more(s);
	return next >= 0 && (timeout < 0 || timeout > next) ? next : timeout;
}

/* In how many ms there is something to do; -1: not before an event. */
static int
housekeep(struct session *s)
{
	unsigned left;
	int timeout;

	if (!s->ready && atomic_load(&s->greeted))
		be_ready(s);
	timeout = fs_tick(s->fs);
	if (fs_take_wipe(s->fs)) {
		workers_wipe(&s->workers);
		workers_wipe(&s->job_workers);
		s->wiping = true;
	}
	if (s->wiping) {
		left = workers_wake(&s->workers);
		left += workers_wake(&s->job_workers);
		s->wiping = left > 0;
	}
	if (s->wiping && (timeout < 0 || timeout > WIPE_POLL_MS))
		timeout = WIPE_POLL_MS;
	return look_at_crowd(s, timeout);
}

/*
 * No more requests are read; what is under way is answered, and what takes
 * longer than that the next worker is given once more.
 */
static void __attribute__((__noreturn__)) hand_over(struct session *s)
{
	const struct timespec pause = { 0, 1000000 };
	int64_t end = clock_ms() + HANDOVER_MS;

	atomic_store(&s->handover, true);
	while (atomic_load(&s->crowd.threads) && clock_ms() < end) {
		workers_kick(&s->workers);
		(void)nanosleep(&pause, NULL);
	}
	_exit(0);
}

static void
listen_to_keeper(struct session *s)
{
	struct line_msg m;
	int fd;

	while (line_receive(s->o->link->line, false, &m, &fd) == 0) {
		if (fd >= 0)
			(void)close(fd);
		if (m.what == LINE_HANDOVER)
			hand_over(s);
		else if (m.what == LINE_REFUSED)
			fs_upgrade_refused(s->fs, m.text);
	}
}

static void
keep_house(struct session *s)
{
	struct pollfd p[] = {
		{ .fd = s->signal_fd, .events = POLLIN },
		{ .fd = s->wake_fd, .events = POLLIN },
		{ .fd = s->o->link ? s->o->link->line : -1, .events = POLLIN },
	};
	uint64_t n;

	while (!fuse_session_exited(s->se)) {
		(void)poll(p, 3, housekeep(s));
		if (p[1].revents)
			(void)!read(s->wake_fd, &n, sizeof(n));
		if (p[0].revents)
			take_signals(s);
		if (p[2].revents)
			listen_to_keeper(s);
	}
}

/* The session has ended, but a worker may sleep on. */
static void
end_workers(struct session *s)
{
	const struct timespec pause = { 0, 5000000 };

	fuse_session_exit(s->se);
	while (atomic_load(&s->crowd.threads)) {
		workers_kick(&s->workers);
		(void)nanosleep(&pause, NULL);
	}
	workers_join(&s->workers);
}

static int
open_fds(struct session *s)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->signal_fd < 0 || s->wake_fd < 0 ? -errno : 0;
}

static int
open_fs(struct session *s)
{
	const struct session_options *o = s->o;
	const struct fs_options fo = {
		.engine = o->engine,
		.jobs = s->jobs,
		.mount_point = o->mount_point,
		.key = o->key,
		.linger_ms = o->linger_ms,
		.key_check_ms = o->key_check_ms,
		.uid = getuid(),
		.gid = getgid(),
		.read_only = o->read_only,
		.writeback_cache = o->writeback_cache,
		.wake = wake,
		.arg = s,
		.link = o->link,
	};

	return fs_new(&fo, &s->fs);
}

static void
session_done(struct session *s)
{
	if (s->jobs) {
		jobs_stop(s->jobs);
		workers_join(&s->job_workers);
	}
	if (s->se) {
		fuse_session_unmount(s->se);
		fuse_session_destroy(s->se);
	}
	fs_free(s->fs);
	jobs_free(s->jobs);
	if (s->wake_fd >= 0)
		(void)close(s->wake_fd);
	if (s->signal_fd >= 0)
		(void)close(s->signal_fd);
}

int
session_run(const struct session_options *o, const char **ret_why)
{
	CLEANUP(session_done) struct session s = { .o = o };
	bool again;
	int r;

	s.wake_fd = s.signal_fd = -1;
	*ret_why = fuse_says;
	fuse_set_log_func(on_fuse_log);
	r = open_fds(&s);
	if (r == 0)
		r = workers_init(&s.workers);
	if (r == 0)
		r = workers_init(&s.job_workers);
	if (r == 0)
		r = jobs_new(&s.job_workers, MAX_JOB_THREADS, &s.jobs);
	if (r == 0)
		r = open_fs(&s);
	if (r == 0)
		r = mount_it(&s);
	again = o->link && atomic_load(&o->link->keep->init_len);
	if (r == 0 && again)
		go_on(&s);
	if (r == 0)
		r = start_workers(&s);
	if (r < 0)
		return r;

	keep_house(&s);
	if (!s.stopping && !o->link)
		host_notify("STOPPING=1");
	end_workers(&s);
	fs_stop_sweep(s.fs);
	fs_set_session(s.fs, NULL); /* the kernel has dropped all pages */
	r = fs_detach_all(s.fs);
	if (!s.ready && !again && r == 0)
		r = -EIO; /* unmounted before it had served */
	if (o->link && (s.ready || again)) {
		o->link->keep->result = r;
		atomic_store(&o->link->keep->finished, 1);
	}
	return r;
}
