/*
 * options.c - the command line: which command, its options, its arguments.
 *
 * getopt_long does the work, on a list that is put together from the command's
 * own options and the global ones, so that these may stand before or after the
 * command's name.  What it would print is said here instead, in one line.
 */
#include "cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include <sealdisk/codec.h>

#define OWN_MAX 16 /* options of one command */

struct cmd_globals cmd_globals;

/* What runs: "key alias", and its entry in the table. */
static char running[64];
static const struct command *current;

enum {
	OPT_CONFIG = 256,
	OPT_JSON,
	OPT_YES,
	OPT_PROGRESS,
	OPT_PASSPHRASE_FD,
	OPT_OWN
};

#define GLOBAL_OPTIONS                                                         \
	{ "config", required_argument, NULL, OPT_CONFIG },                     \
	    { "store", required_argument, NULL, 's' },                         \
	    { "json", no_argument, NULL, OPT_JSON },                           \
	    { "yes", no_argument, NULL, OPT_YES },                             \
	    { "passphrase-fd", required_argument, NULL, OPT_PASSPHRASE_FD },   \
	{                                                                      \
		"progress", required_argument, NULL, OPT_PROGRESS              \
	}
#define N_GLOBAL 6

const char *
cmd_name(void)
{
	return running;
}

int
cmd_usage(const char *fmt, ...)
{
	char msg[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (running[0])
		cmd_note("%s: %s (see `sealdisk help %s`)", running, msg,
			 running);
	else
		cmd_note("%s (see `sealdisk help`)", msg);
	return CMD_USAGE;
}

/* An option given twice is most likely a mistake. */
static int
set_once(const char **value, const char *name, const char *arg)
{
	if (*value)
		return cmd_usage("--%s is given twice", name);
	*value = arg;
	return 0;
}

/* What an unset variable of a script leaves must not be the usual store, in
 * which a disk of the same name may be. */
static int
set_place(const char **value, const char *name, const char *arg)
{
	return arg[0] ? set_once(value, name, arg)
		      : cmd_usage("--%s names nothing", name);
}

int
cmd_check_fd(const char *name, const char *arg)
{
	uint64_t fd;

	if (parse_u64(arg, &fd) == 0 && fd <= INT_MAX)
		return 0;
	return cmd_usage("--%s %s: not the number of a file descriptor", name,
			 arg);
}

static int
set_progress(const char *arg)
{
	static const struct {
		const char *name;
		enum progress_mode mode;
	} modes[] = {
		{ "auto", PROGRESS_AUTO },
		{ "none", PROGRESS_NONE },
		{ "json", PROGRESS_JSON },
		{ "bar", PROGRESS_BAR },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(arg, modes[i].name) == 0) {
			cmd_globals.progress = modes[i].mode;
			return 0;
		}
	return cmd_usage("--progress=%s: auto, none, json or bar", arg);
}

/* 0, or CMD_USAGE. */
static int
take_global(int c, const char *arg)
{
	switch (c) {
	case OPT_CONFIG:
		return set_place(&cmd_globals.config, "config", arg);
	case 's':
		return set_place(&cmd_globals.store, "store", arg);
	case OPT_JSON:
		cmd_globals.json = true;
		return 0;
	case OPT_YES:
		cmd_globals.yes = true;
		return 0;
	case OPT_PROGRESS:
		return set_progress(arg);
	case OPT_PASSPHRASE_FD:
		return cmd_check_fd("passphrase-fd", arg)
			   ? CMD_USAGE
			   : set_once(&cmd_globals.passphrase_fd,
				      "passphrase-fd", arg);
	default:
		return cmd_usage("there is no such option");
	}
}

/* What getopt_long returned '?' or ':' for. */
static int
bad_option(int c, char **argv)
{
	const char *word = argv[optind - 1];

	if (c == ':')
		return cmd_usage("%s needs a value", word);
	if (optopt > 0 && optopt < OPT_CONFIG && optopt != 's')
		return cmd_usage("there is no option -%c", optopt);
	if (optopt >= OPT_CONFIG)
		return cmd_usage("%s takes no value", word);
	return cmd_usage("there is no option %s", word);
}

int
cmd_parse_globals(int *argc, char ***argv, int *ret_what)
{
	static const struct option list[] = {
		GLOBAL_OPTIONS,
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ "list-commands", no_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	int what = 0, c, r = 0;

	opterr = 0;
	/* '+': stop at the command, whose options are its own affair. */
	while (r == 0 &&
	       (c = getopt_long(*argc, *argv, "+:s:", list, NULL)) != -1) {
		if (c == '?' || c == ':')
			r = bad_option(c, *argv);
		else if (c == 'v' || c == 'h' || c == 'l')
			what = c;
		else
			r = take_global(c, optarg);
	}
	*argc -= optind;
	*argv += optind;
	*ret_what = what;
	return r;
}

/* The global options and the command's own in one list; how many are own. */
static size_t
all_options(const struct cmd_option *own,
	    struct option list[static OWN_MAX + N_GLOBAL + 1])
{
	static const struct option global[N_GLOBAL] = { GLOBAL_OPTIONS };
	size_t n = 0;

	memcpy(list, global, sizeof(global));
	for (; own && own[n].name && n < OWN_MAX; n++)
		list[N_GLOBAL + n] = (struct option){
			own[n].name,
			own[n].value ? required_argument : no_argument,
			NULL,
			OPT_OWN + (int)n,
		};
	memset(&list[N_GLOBAL + n], 0, sizeof(list[0]));
	return n;
}

/* -n is short for --dry-run, where there is that. */
static int
find_dry_run(const struct cmd_option *own)
{
	for (int i = 0; own && own[i].name; i++)
		if (strcmp(own[i].name, "dry-run") == 0)
			return OPT_OWN + i;
	return 0;
}

static int
take_own(const struct cmd_option *o, const char *arg)
{
	if (o->value)
		return set_once(o->value, o->name, arg);
	*o->flag = true;
	return 0;
}

static int
check_count(int n)
{
	if (!current)
		return 0;
	if (n < current->min_args)
		return cmd_usage("too few arguments");
	if (current->max_args >= 0 && n > current->max_args)
		return cmd_usage("too many arguments");
	return 0;
}

int
cmd_parse(int *argc, char ***argv, const struct cmd_option *own)
{
	struct option list[OWN_MAX + N_GLOBAL + 1];
	size_t n = all_options(own, list);
	int dry_run = find_dry_run(own), c, r = 0;
	const char *letters = dry_run ? ":s:n" : ":s:";

	opterr = 0;
	optind = 0; /* begin anew: main() has been here */
	while (r == 0 &&
	       (c = getopt_long(*argc, *argv, letters, list, NULL)) != -1) {
		if (c == 'n')
			c = dry_run;
		if (c == '?' || c == ':')
			r = bad_option(c, *argv);
		else if (c >= OPT_OWN && own && (size_t)(c - OPT_OWN) < n)
			r = take_own(&own[c - OPT_OWN], optarg);
		else
			r = take_global(c, optarg);
	}
	*argc -= optind;
	*argv += optind;
	return r ? r : check_count(*argc);
}

const struct command *
cmd_find(const struct command *table, const char *name)
{
	for (; table->name; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

/* `sealdisk COMMAND ... --help` is `sealdisk help COMMAND`. */
static bool
asks_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0)
			return true;
	return false;
}

static void
enter(const struct command *c)
{
	size_t len = strlen(running);

	(void)snprintf(running + len, sizeof(running) - len, "%s%s",
		       len ? " " : "", c->name);
	current = c;
}

int
cmd_dispatch(const struct command *table, int argc, char **argv)
{
	const struct command *c;

	if (argc < 1)
		return cmd_usage("which command?");
	c = cmd_find(table, argv[0]);
	if (!c && argv[0][0] == '-')
		return cmd_usage("%s: options stand before `%s` or behind its "
				 "command",
				 argv[0], running);
	if (!c)
		return cmd_usage("there is no command `%s`", argv[0]);
	enter(c);
	if (c->sub && !(argc > 1 && strcmp(argv[1], "--help") == 0))
		return cmd_dispatch(c->sub, argc - 1, argv + 1);
	if (asks_help(argc, argv)) {
		cmd_print_help(running, c);
		return 0;
	}
	return c->run(argc, argv);
}

int
cmd_parse_disk_size(const char *text, uint64_t *ret)
{
	uint64_t v;
	int r = parse_size(text, &v);

	if (r == -ERANGE || (r == 0 && v > DISK_SIZE_MAX))
		return cmd_usage("size %s: a disk has at most 120T", text);
	if (r < 0)
		return cmd_usage("size %s: not a number of bytes, or of "
				 "K, M, G or T",
				 text);
	if (v == 0)
		return cmd_usage("size %s: a disk is larger than nothing",
				 text);
	if (v % 512)
		return cmd_usage("size %s: not a multiple of 512", text);
	*ret = v;
	return 0;
}

int
cmd_check_name(const char *name)
{
	if (name_check(name) == 0)
		return 0;
	return cmd_usage("name `%s`: a name has 1 to 200 bytes of UTF-8 "
			 "without / @ : and control characters, and does not "
			 "begin with . or -",
			 name);
}

int
cmd_check_key(const char *key)
{
	struct uuid u;

	if (strncmp(key, "alias/", 6) == 0 ||
	    strncmp(key, "acs:kms:", 8) == 0 || uuid_parse(key, &u) == 0)
		return 0;
	return cmd_usage("key `%s`: a key is called by its id or by "
			 "alias/NAME; `sealdisk key ls` shows both",
			 key);
}
