/*
 * mount.c - `sealdisk mount STORE MOUNTPOINT`: what mount(8) calls, too, as
 * mount.sealdisk or mount.fuse.sealdisk, and mount.fuse3 as
 * `sealdisk STORE MOUNTPOINT -o ...` (main.c sees to all three).
 *
 * The daemon is a process of its own, started anew by exec: locks of memory do
 * not outlive a fork, and libgcrypt's pool of secret memory is locked already.
 * It runs this same command, with --ready-fd; the command that was called
 * returns when the mount serves, or with the daemon's error.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "disk.h"
#include "host.h"
#include "session.h"

struct mount_args {
	const char *store, *where;
	char options[4 * PATH_MAX]; /* all -o, one after the other */
	char kernel[PATH_MAX];      /* those of them that are mount(2)'s */
	bool foreground, fake, read_only, allow_other;
	int ready_fd;
	char mnt[PATH_MAX], path[PATH_MAX]; /* ${where}, ${store} resolved */
	struct settings settings;
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

static int
take_arg(struct mount_args *a, const char *arg, const char *next,
	 bool *ret_used)
{
	uint64_t fd;

	*ret_used = false;
	if (strcmp(arg, "--foreground") == 0) {
		a->foreground = true;
		return 0;
	}
	if (strncmp(arg, "--ready-fd=", 11) == 0) {
		if (parse_u64(arg + 11, &fd) < 0 || fd > INT_MAX)
			return cmd_usage("%s", arg);
		a->ready_fd = (int)fd;
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
	    struct engine **ret)
{
	const struct engine_options o = {
		.mount_point = a->mnt,
		.cache_size = a->settings.cache_size,
	};
	const char *why = NULL, *hint = NULL;
	int r = engine_open(st, kms, &o, ret);

	if (r == -ENOENT) {
		why = "this is not a store: it has no store.ini";
		hint = "`sealdisk init` makes a store";
	}
	return r < 0 ? cmd_fail(r, why, hint, "mount %s", a->path) : 0;
}

static int
serve(struct mount_args *a)
{
	CLEANUP(store_freep) struct store *st = NULL;
	CLEANUP(kms_closep) struct kms *kms = NULL;
	CLEANUP(engine_closep) struct engine *e = NULL;
	struct session_options o = {
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
		.foreground = a->ready_fd < 0,
		.ready = on_ready,
		.arg = a,
	};
	const char *why = NULL;
	int r;

	/* Who called hears of a failure in one line, by what is returned; the
	 * details are for the daemon's log. */
	if (a->ready_fd >= 0)
		log_to_syslog();
	host_prepare();
	(void)umask(077);
	(void)prctl(PR_SET_NAME, "sealdisk");
	r = store_posix_open(a->path, &st);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "mount %s", a->path);
	r = cmd_open_kms(&a->settings, &kms);
	if (r == 0)
		r = open_engine(a, st, kms, &e);
	if (r)
		return r;
	o.engine = e;
	r = session_run(&o, &why);
	if (r < 0)
		r = cmd_fail(r, why && why[0] ? why : NULL, NULL,
			     "mount %s on %s", a->path, a->mnt);
	return r;
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
become_daemon(const struct mount_args *a, int argc, char **argv, int fd)
{
	char self[PATH_MAX], ready[32], name[] = "sealdisk", mount[] = "mount",
					config[] = "--config", passphrase[64];
	CLEANUP(free_memp)
	char **args = calloc((size_t)argc + 7, sizeof(*args));
	CLEANUP(free_memp)
	char *file = cmd_globals.config ? strdup(cmd_globals.config) : NULL;
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int n = 0;

	if (len < 0 || !args)
		return;
	self[len] = '\0';
	(void)snprintf(ready, sizeof(ready), "--ready-fd=%d", fd);
	args[n++] = name;
	if (file) {
		args[n++] = config;
		args[n++] = file;
	}
	if (cmd_globals.passphrase_fd) {
		(void)snprintf(passphrase, sizeof(passphrase),
			       "--passphrase-fd=%s", cmd_globals.passphrase_fd);
		args[n++] = passphrase;
	}
	args[n++] = mount;
	for (int i = 1; i < argc; i++)
		args[n++] = argv[i];
	args[n++] = ready;
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
	static struct mount_args a = { .ready_fd = -1 };
	int r = parse(&a, argc, argv);

	if (r == 0)
		r = check_places(&a);
	if (r == 0 && !a.fake) {
		if (a.foreground || a.ready_fd >= 0)
			r = serve(&a);
		else
			r = start_daemon(&a, argc, argv);
	}
	tell(&a, r);
	return r;
}
