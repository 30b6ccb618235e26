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
#include "cmd.h"

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

struct mount_args {
	const char *store, *where;
	char options[4 * PATH_MAX]; /* all -o, one after the other */
	char kernel[PATH_MAX];      /* those of them that are mount(2)'s */
	bool foreground, fake, read_only, allow_other;
	int ready_fd, keeper_fd, state_fd;
	char mnt[PATH_MAX], path[PATH_MAX]; /* ${where}, ${store} resolved */
	struct settings settings;
	struct keeper_link *link; /* of a worker */
	struct kms *kms;          /* that it has opened before it is asked */
};

/*
 * The command line.
 */

/* Options of mount(8) and of fstab that say nothing to us. */
static const char *const passed_over[] = {
	"rw",         "dev",         "suid",     "defaults",   "_netdev",
	"auto",       "noauto",      "nofail",   "user",       "nouser",
	"users",      "owner",       "group",    "async",      "relatime",
	"norelatime", "strictatime", "diratime", "nodiratime", "lazytime",
	"nolazytime", "silent",      "loud",
};
static const char *const passed_prefix[] = { "x-", "X-", "user=", "comment=" };

/* Options for the kernel, as libfuse knows them. */
static const char *const passed_on[] = {
	"exec",   "noexec", "atime", "noatime",
	"nosuid", "nodev",  "sync",  "dirsync",
};
static const char *const passed_on_prefix[] = {
	"context=",
	"fscontext=",
	"defcontext=",
	"rootcontext=",
};

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static bool
is_in(const char *s, const char *const *list, size_t n, bool prefix)
{
	for (size_t i = 0; i < n; i++)
		if (prefix ? strncmp(s, list[i], strlen(list[i])) == 0
			   : strcmp(s, list[i]) == 0)
			return true;
	return false;
}

static int
append(char *to, size_t cap, const char *what)
{
	size_t len = strlen(to);
	int n = snprintf(to + len, cap - len, "%s%s", len ? "," : "", what);

	return n < 0 || (size_t)n >= cap - len ? cmd_usage("too many options")
					       : 0;
}

/* NAME=VALUE of our own. */
static int
set_own(struct mount_args *a, char *option)
{
	char *eq = strchr(option, '=');
	CLEANUP(free_memp) char *msg = NULL;

	if (eq)
		*eq = '\0';
	if (!eq || !settings_is_mount_option(option))
		return cmd_usage("%s: there is no such mount option", option);
	if (settings_set(&a->settings, option, eq + 1, &msg) < 0)
		return cmd_usage("-o %s", msg);
	return 0;
}

/* One option; ${config} is the first pass, before the settings are read. */
static int
take_option(struct mount_args *a, char *option, bool config)
{
	if (strncmp(option, "config=", 7) == 0) {
		if (config)
			cmd_globals.config = strdup(option + 7);
		return 0;
	}
	if (config || !option[0] ||
	    is_in(option, passed_over, LEN(passed_over), false) ||
	    is_in(option, passed_prefix, LEN(passed_prefix), true))
		return 0;
	if (is_in(option, passed_on, LEN(passed_on), false) ||
	    is_in(option, passed_on_prefix, LEN(passed_on_prefix), true))
		return append(a->kernel, sizeof(a->kernel), option);
	if (strcmp(option, "ro") == 0)
		a->read_only = true;
	else if (strcmp(option, "allow_other") == 0)
		a->allow_other = true;
	else
		return set_own(a, option);
	return 0;
}

/* A comma in quotes belongs to the value, as of SELinux contexts. */
static int
take_options(struct mount_args *a, bool config)
{
	CLEANUP(free_memp) char *copy = strdup(a->options);
	bool quoted = false;
	char *start = copy;
	int r = 0;

	if (!copy)
		return cmd_fail(-ENOMEM, NULL, NULL, "mount");
	for (char *p = copy; r == 0; p++) {
		char c = *p;

		if (c == '"')
			quoted = !quoted;
		if (c && (c != ',' || quoted))
			continue;
		*p = '\0';
		r = take_option(a, start, config);
		start = p + 1;
		if (!c)
			break;
	}
	return r;
}

/* mount(8) knows -f as "all but the mount itself". */
static bool
is_helper(void)
{
	return strncmp(program_invocation_short_name, "mount.", 6) == 0;
}

/* Letters may stand together: -nv.  ${next} is the argument that follows. */
static int
take_letters(struct mount_args *a, const char *letters, const char *next,
	     bool *ret_used)
{
	for (const char *p = letters; *p; p++) {
		if (*p == 'o' || *p == 't' || *p == 'N') {
			const char *value = p[1] ? p + 1 : next;

			*ret_used = !p[1];
			if (!value)
				return cmd_usage("-%c: what?", *p);
			return *p == 'o' ? append(a->options,
						  sizeof(a->options), value)
					 : 0;
		}
		if (*p == 'f' && is_helper())
			a->fake = true;
		else if (*p == 'f')
			a->foreground = true;
		else if (*p == 'r')
			a->read_only = true;
		else if (!strchr("nsvw", *p))
			return cmd_usage("-%c: there is no such option", *p);
	}
	return 0;
}

/* --NAME=N, of those that only we pass on to ourselves.  1: it is none. */
static int
take_fd(struct mount_args *a, const char *arg)
{
	const struct {
		const char *name;
		int *fd;
	} fds[] = {
		{ "--ready-fd=", &a->ready_fd },
		{ "--keeper-fd=", &a->keeper_fd },
		{ "--keeper-state=", &a->state_fd },
	};
	uint64_t fd;

	for (size_t i = 0; i < LEN(fds); i++) {
		size_t len = strlen(fds[i].name);

		if (strncmp(arg, fds[i].name, len) != 0)
			continue;
		if (parse_u64(arg + len, &fd) < 0 || fd > INT_MAX)
			return cmd_usage("%s", arg);
		*fds[i].fd = (int)fd;
		return 0;
	}
	return 1;
}

static int
take_arg(struct mount_args *a, const char *arg, const char *next,
	 bool *ret_used)
{
	int r = take_fd(a, arg);

	*ret_used = false;
	if (r <= 0)
		return r;
	if (strcmp(arg, "--foreground") == 0) {
		a->foreground = true;
		return 0;
	}
	if (arg[0] == '-' && arg[1] && arg[1] != '-')
		return take_letters(a, arg + 1, next, ret_used);
	if (arg[0] == '-')
		return cmd_usage("%s: there is no such option", arg);
	if (!a->store)
		a->store = arg;
	else if (!a->where)
		a->where = arg;
	else
		return cmd_usage("%s: one argument too many", arg);
	return 0;
}

static int
parse(struct mount_args *a, int argc, char **argv)
{
	bool used;
	int r = 0;

	for (int i = 1; i < argc && r == 0; i += used ? 2 : 1)
		r = take_arg(a, argv[i], i + 1 < argc ? argv[i + 1] : NULL,
			     &used);
	if (r == 0 && !a->where)
		r = cmd_usage("a store and a mount point are needed");
	if (r == 0)
		r = take_options(a, true);
	if (r == 0)
		r = cmd_settings(&a->settings);
	return r ? r : take_options(a, false);
}

/*
 * What can be known before anything is started.
 */

static bool
is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 &&
	       (path[len] == '\0' || path[len] == '/' || len == 1);
}

/* A daemon that reads below its own mount waits for itself. */
static int
check_nesting(const struct mount_args *a)
{
	const char *const files[] = {
		a->path,
		a->settings.keystore_path,
		a->settings.keystore_root_file,
		a->settings.keystore_audit,
		a->settings.file,
	};

	for (size_t i = 0; i < LEN(files); i++)
		if (is_below(files[i], a->mnt))
			return cmd_fail(-EINVAL,
					"it lies below the mount point", "",
					"mount %s: %s", a->where, files[i]);
	if (is_below(a->mnt, a->path))
		return cmd_fail(-EINVAL, "it lies in the store", "", "mount %s",
				a->where);
	return 0;
}

static int
check_places(struct mount_args *a)
{
	char other[PATH_MAX];
	struct stat st;
	int r;

	cmd_globals.store = a->store;
	r = cmd_store_path(&a->settings, a->path);
	if (r)
		return r;
	if (!realpath(a->where, a->mnt) || stat(a->mnt, &st) < 0)
		return cmd_fail(-errno, NULL,
				errno == ENOENT ? "make the folder first"
						: NULL,
				"mount %s", a->where);
	if (!S_ISDIR(st.st_mode))
		return cmd_fail(-ENOTDIR, NULL, NULL, "mount %s", a->where);
	if (cmd_mounted_store(a->mnt, other) == 0)
		return cmd_fail(-EBUSY, other, "",
				"mount %s: a store is mounted there already",
				a->where);
	return check_nesting(a);
}

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

/* This command once more, without what is between us and one of us; room for
 * three more is left. */
static int
child_args(const struct mount_args *a, int argc, char **argv, char ***ret)
{
	static char name[] = "sealdisk", mount[] = "mount",
		    config[] = "--config";
	char **args = calloc((size_t)argc + 8, sizeof(*args));
	int n = 0;

	(void)a;
	if (!args)
		return -ENOMEM;
	args[n++] = name;
	if (cmd_globals.config) {
		/* A keeper in the background is in another folder. */
		char *file = realpath(cmd_globals.config, NULL);

		args[n++] = config;
		args[n++] = file ? file : strdup(cmd_globals.config);
		if (!args[n - 1]) {
			free(args);
			return -ENOMEM;
		}
	}
	args[n++] = mount;
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "--ready-fd=", 11) != 0 &&
		    strncmp(argv[i], "--keeper-", 9) != 0)
			args[n++] = argv[i];
	*ret = args;
	return 0;
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
	int r = child_args(a, argc, argv, &o.argv);

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
	int r = child_args(a, argc, argv, &o.argv);

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

	if (len < 0 || child_args(a, argc, argv, &args) < 0)
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
	int r = parse(&a, argc, argv);

	if (a.keeper_fd >= 0)
		return be_worker(&a, r);
	if (a.state_fd >= 0)
		return be_keeper_again(&a, argc, argv);
	if (r == 0)
		r = check_places(&a);
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
