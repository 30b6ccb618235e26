/*
 * mount_args.c - see mount_args.h: the arguments and options of three commands,
 * our own, mount(8)'s and fstab's, and of libfuse.
 */
#include "mount_args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

int
mount_parse(struct mount_args *a, int argc, char **argv)
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

/* ---- what can be known before anything is started ---- */

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

int
mount_check(struct mount_args *a)
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

/* ---- the same to a child ---- */

int
mount_child_args(int argc, char **argv, char ***ret)
{
	static char name[] = "sealdisk", mount[] = "mount",
		    config[] = "--config";
	char **args = calloc((size_t)argc + 8, sizeof(*args));
	int n = 0;

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
