/*
 * mount.c - `sealdisk mount STORE MOUNTPOINT`: what mount(8) calls, too, as
 * mount.sealdisk or mount.fuse.sealdisk, and mount.fuse3 as
 * `sealdisk STORE MOUNTPOINT -o ...` (main.c sees to all three).
 *
 * The daemon is a process of its own, started anew by exec: locks of memory do
 * not outlive a fork, and libgcrypt's pool of secret memory is locked already.
 * It runs this same command, with --ready-fd; the command that was called
 * returns when the mount serves, or with the daemon's error.
 *
 * It is two processes, in truth: a keeper, whose life is the mount's, and a
 * worker, the same command with --keeper-fd, which serves.  A keeper that an
 * upgrade has exchanged gets --keeper-state.
 */
#include "mount_args.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <sealdisk/io.h>
#include <sealdisk/crypto.h>
#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#include "broken.h"
#include "crash.h"
#include "disk.h"
#include "host.h"
#include "keeper.h"
#include "keeper_link.h"
#include "meta.h"
#include "session.h"

/*
 * The daemon.
 */

/* Whoever waits for the daemon: 0, or its error. */
static void
tell(struct mount_args *a, int r)
{
	if (a->ready_fd < 0)
		return;
	(void)!write(a->ready_fd, &r, sizeof(r));
	(void)close(a->ready_fd);
	a->ready_fd = -1;
}

/* Leave terminal, session and folder of whoever started it. */
static void
go_to_background(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	log_to_syslog();
	(void)setsid();
	(void)!chdir("/");
	for (int i = 0; i < 3 && fd >= 0; i++)
		(void)dup2(fd, i);
	if (fd > 2)
		(void)close(fd);
}

static void
on_ready(void *arg)
{
	struct mount_args *a = arg;

	if (a->ready_fd < 0)
		return;
	go_to_background();
	tell(a, 0);
}

static int
open_engine(struct mount_args *a, struct store *st, struct kms *kms,
	    struct keeper_link *l, struct engine **ret)
{
	struct engine_options o = {
		.mount_point = a->mnt,
		.cache_size = a->settings.cache_size,
	};
	const char *why = NULL, *hint = NULL;
	int r;

	if (l) {
		o.kept = keep_kept(l->keep);
		o.owner = l->keep->keeper;
		o.keep_lock = link_lock;
		o.drop_lock = link_drop;
		o.keep_arg = l;
	}
	r = engine_open(st, kms, &o, ret);
	if (r == -ENOENT) {
		why = "this is not a store: it has no store.ini";
		hint = "`sealdisk init` makes a store";
	}
	return r < 0 ? cmd_fail(r, why, hint, "mount %s", a->path) : 0;
}

static void on_worker_ready(void *arg);

static struct session_options
options_of(struct mount_args *a)
{
	return (struct session_options){
		.store = a->path,
		.mount_point = a->mnt,
		.key = a->settings.kms_key,
		.kernel = a->kernel,
		.linger_ms = a->settings.linger * 1000,
		.key_check_ms = a->settings.key_check_interval * 1000,
		.threads = (unsigned)a->settings.threads,
		.allow_other = a->allow_other,
		.read_only = a->read_only,
		.writeback_cache = a->settings.writeback_cache,
		.foreground = a->link ? !a->link->keep->background
				      : a->ready_fd < 0,
		.ready = a->link ? on_worker_ready : on_ready,
		.arg = a,
	};
}

static void
prepare(void)
{
	host_prepare();
	(void)umask(077);
	(void)prctl(PR_SET_NAME, "sealdisk");
}

/* All workers have it by one descriptor (store.h). */
static int
open_store(const struct mount_args *a, struct keeper_link *l,
	   struct store **ret)
{
	int r;

	if (l && l->locks[LINK_STORE] >= 0)
		return store_posix_adopt(TAKE_FD(l->locks[LINK_STORE]), ret);
	r = store_posix_open(a->path, ret);
	return r == 0 && l ? link_lock(l, LINK_STORE, store_posix_fd(*ret)) : r;
}

/* ${l} NULL: without a keeper. */
static int
serve(struct mount_args *a, struct keeper_link *l)
{
	CLEANUP(store_freep) struct store *st = NULL;
	CLEANUP(kms_closep) struct kms *kms = NULL;
	CLEANUP(engine_closep) struct engine *e = NULL;
	struct session_options o = options_of(a);
	const char *why = NULL;
	int r;

	r = open_store(a, l, &st);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "mount %s", a->path);
	if (a->kms)
		kms = TAKE(a->kms);
	else
		r = cmd_open_kms(&a->settings, &kms);
	if (r == 0)
		r = open_engine(a, st, kms, l, &e);
	if (r == 0 && l && l->fuse_fd < 0) {
		r = link_hello(l, 0, "");
		if (r == 0)
			r = link_wait(l);
	}
	if (r)
		return r;
	o.engine = e;
	o.link = l;
	r = session_run(&o, &why);
	if (r < 0)
		r = cmd_fail(r, why && why[0] ? why : NULL, NULL,
			     "mount %s on %s", a->path, a->mnt);
	return r;
}

static int
serve_alone(struct mount_args *a)
{
	prepare();
	return serve(a, NULL);
}

/*
 * The worker.
 */

/* The passphrase that the keeper was given, by a pipe of our own. */
static int
take_passphrase(struct mount_args *a, const struct keep *k)
{
	char *to = a->settings.keystore_passphrase_fd;
	int fds[2];

	if (!k->passphrase_len)
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	if (write(fds[1], k->passphrase, k->passphrase_len) !=
	    (ssize_t)k->passphrase_len)
		return -EIO;
	(void)close(fds[1]);
	(void)snprintf(to, sizeof(a->settings.keystore_passphrase_fd), "%d",
		       fds[0]);
	return 0;
}

static void
on_worker_ready(void *arg)
{
	struct mount_args *a = arg;

	if (a->link->keep->background)
		go_to_background();
	a->link->keep->settings = a->settings;
}

/* Whether this program could take over: what it can find out without touching
 * what the one that serves has in its hands. */
static int
try_self(const struct keep *k)
{
	CLEANUP(store_freep) struct store *st = NULL;
	CLEANUP(free_memp) char *text = NULL;
	CLEANUP(free_memp) struct store_meta *m = malloc(sizeof(*m));
	size_t len;
	int r = m ? crypto_self_test() : -ENOMEM;

	if (r == 0)
		r = store_posix_open(k->store, &st);
	if (r == 0)
		r = st->ops->load(st, "store.ini", META_MAX, &text, &len);
	return r < 0 ? r : store_meta_parse(text, len, m);
}

/* What needs nothing of what the one that serves has in its hands.  Where that
 * has died, the key service may be away: attached disks do without. */
static int
get_ready(struct mount_args *a, enum line_mode mode)
{
	const struct keep *k = a->link->keep;
	int r;

	if (k->background)
		log_to_syslog();
	prepare();
	crash_init(a->link->keep);
	r = take_passphrase(a, k);
	if (r == 0 && mode == LINE_GO_ON)
		r = kms_open_later(&a->settings, &a->kms);
	return r;
}

/* What came of reading the settings was ${r}. */
static int
be_worker(struct mount_args *a, int r)
{
	static struct keeper_link l;
	enum line_mode mode;
	int e = link_open(a->keeper_fd, &l, &mode);

	if (e < 0)
		return e;
	a->link = &l;
	if (mode == LINE_TRIAL && r != 0) {
		(void)!link_hello(&l, -EINVAL, "its settings cannot be read");
	} else if (mode == LINE_TRIAL) {
		r = try_self(l.keep);
		(void)!link_hello(&l, r, r < 0 ? err_text(r) : "");
	}
	/* It is what it was, and was told then. */
	if (mode == LINE_GO_ON) {
		a->settings = l.keep->settings;
		r = 0;
	}
	if (r == 0)
		r = get_ready(a, mode);
	if (r == 0 && mode != LINE_START)
		r = link_wait(&l);
	if (r)
		return r;
	(void)snprintf(a->path, sizeof(a->path), "%s", l.keep->store);
	(void)snprintf(a->mnt, sizeof(a->mnt), "%s", l.keep->mount_point);
	if (l.keep->broken == KEEP_BROKEN)
		return broken_serve(&l);
	r = serve(a, &l);
	if (!atomic_load(&l.keep->finished))
		l.keep->result = r;
	return r;
}

/*
 * The keeper.
 */

static int
mount_for_worker(void *arg, int *ret_fuse_fd)
{
	struct mount_args *a = arg;
	struct session_options o = options_of(a);
	const char *why = NULL;
	int r = session_mount(&o, ret_fuse_fd, &why);

	if (r < 0)
		r = cmd_fail(r, why && why[0] ? why : NULL, NULL,
			     "mount %s on %s", a->path, a->mnt);
	return r;
}

/* One line, which only the first of our children could read. */
static void
read_passphrase(const struct settings *s, struct keep *k)
{
	uint64_t fd;
	char c;

	if (parse_u64(s->keystore_passphrase_fd, &fd) < 0 || fd > INT_MAX)
		return;
	while (k->passphrase_len < sizeof(k->passphrase) &&
	       read((int)fd, &c, 1) == 1) {
		k->passphrase[k->passphrase_len++] = (uint8_t)c;
		if (c == '\n')
			break;
	}
	secret_wipe(&c, sizeof(c));
}

static int
be_keeper(struct mount_args *a, int argc, char **argv)
{
	struct keeper_options o = {
		.mount = mount_for_worker,
		.ready = on_ready,
		.arg = a,
		.foreground = a->ready_fd < 0,
	};
	int r = mount_child_args(argc, argv, &o.argv);

	if (r == 0)
		r = keep_new(&o.keep_fd, &o.keep);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "mount %s", a->path);
	prepare();
	(void)snprintf(o.keep->store, sizeof(o.keep->store), "%s", a->path);
	(void)snprintf(o.keep->mount_point, sizeof(o.keep->mount_point), "%s",
		       a->mnt);
	o.keep->background = a->ready_fd >= 0;
	read_passphrase(&a->settings, o.keep);
	return keeper_run(&o);
}

/* After an upgrade: it serves all the while. */
static int
be_keeper_again(struct mount_args *a, int argc, char **argv)
{
	struct keeper_options o = { .ready = on_ready, .arg = a };
	int r = mount_child_args(argc, argv, &o.argv);

	if (r < 0)
		return r;
	log_to_syslog();
	prepare();
	return keeper_resume(a->state_fd, &o);
}

/*
 * The command that was called.
 */

/*
 * Of what is open the daemon gets ${fd}, and ${passphrase} where that is a
 * number.  All else but the standard descriptors is its caller's: a lock, or a
 * file that keeps another mount busy, would be held for as long as it serves.
 */
static void
keep_fds(int fd, const char *passphrase)
{
	(void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	(void)fcntl(fd, F_SETFD, 0);
	if (passphrase[0] && atoi(passphrase) > 2)
		(void)fcntl(atoi(passphrase), F_SETFD, 0);
}

/* In the child: the same command again, as the daemon. */
static void
become_daemon(struct mount_args *a, int argc, char **argv, int fd)
{
	char self[PATH_MAX], ready[32], passphrase[64];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char **args;
	size_t n = 0;

	if (len < 0 || mount_child_args(argc, argv, &args) < 0)
		return;
	self[len] = '\0';
	while (args[n])
		n++;
	(void)snprintf(ready, sizeof(ready), "--ready-fd=%d", fd);
	args[n++] = ready;
	if (cmd_globals.passphrase_fd) {
		/* A global option stands before the command. */
		(void)snprintf(passphrase, sizeof(passphrase),
			       "--passphrase-fd=%s", cmd_globals.passphrase_fd);
		memmove(args + 2, args + 1, (n - 1) * sizeof(*args));
		args[1] = passphrase;
	}
	keep_fds(fd, a->settings.keystore_passphrase_fd);
	(void)execv(self, args);
}

static int
start_daemon(struct mount_args *a, int argc, char **argv)
{
	CLEANUP(close_fdp) int from = -1;
	int fds[2], told;
	pid_t pid;

	if (pipe(fds) < 0)
		return cmd_fail(-errno, NULL, NULL, "mount %s", a->where);
	from = fds[0];
	(void)fcntl(from, F_SETFD, FD_CLOEXEC);
	pid = fork();
	if (pid == 0) {
		become_daemon(a, argc, argv, fds[1]);
		_exit(127);
	}
	(void)close(fds[1]);
	if (pid < 0)
		return cmd_fail(-errno, NULL, NULL, "mount %s: fork", a->where);
	if (io_read_all(from, &told, sizeof(told)) == 0)
		return told; /* the daemon has said why */
	(void)waitpid(pid, NULL, 0);
	return cmd_fail(-EIO, "it ended before it served", "",
			"mount %s: the daemon", a->where);
}

int
cmd_mount(int argc, char **argv)
{
	static struct mount_args a = { .ready_fd = -1,
				       .keeper_fd = -1,
				       .state_fd = -1 };
	int r = mount_parse(&a, argc, argv);

	if (a.keeper_fd >= 0)
		return be_worker(&a, r);
	if (a.state_fd >= 0)
		return be_keeper_again(&a, argc, argv);
	if (r == 0)
		r = mount_check(&a);
	if (r == 0 && !a.fake) {
		if (!a.foreground && a.ready_fd < 0) {
			r = start_daemon(&a, argc, argv);
		} else {
			/* Who called hears of a failure in one line, by what
			 * is returned; the details are for the daemon's log. */
			if (a.ready_fd >= 0)
				log_to_syslog();
			r = a.settings.keeper ? be_keeper(&a, argc, argv)
					      : serve_alone(&a);
		}
	}
	tell(&a, r);
	return r;
}
