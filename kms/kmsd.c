/*
 * kmsd.c - the program `kmsd`: the table of its commands, and its options.
 *
 * The table is read by dispatch, help, completion and tests/kmsd.sh.
 */
#include "kmsd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/crypto.h>
#include <sealdisk/log.h>
#include <sealdisk/secret.h>

struct kmsd_globals kmsd_globals;

/* Sorted by name; tests/kmsd.sh checks it. */
static const struct kmsd_command commands[] = {
	{ "access-key create", kmsd_access_create, 1, 1, "PRINCIPAL",
	  "make an access key and print its id and secret, this once",
	  "Two lines, which are an access_key_file of sealdisk.ini.\n" },
	{ "access-key disable", kmsd_access_disable, 1, 1, "ID",
	  "refuse what is signed with an access key", NULL },
	{ "access-key enable", kmsd_access_enable, 1, 1, "ID", "take it again",
	  NULL },
	{ "access-key ls", kmsd_access_ls, 0, 0, "", "list the access keys",
	  NULL },
	{ "access-key rm", kmsd_access_rm, 1, 1, "ID", "delete an access key",
	  NULL },
	{ "audit verify", kmsd_audit_verify, 0, 0, "",
	  "look for lines of the audit log that were changed or are missing",
	  "Ends with 6 if there are any.\n" },
	{ "backup", kmsd_backup, 1, 1, "FILE",
	  "save the keystore to a new file, also while it is served", NULL },
	{ "change-root", kmsd_change_root, 0, 0,
	  "[--to KIND] [--root-file FILE] [--credential NAME] "
	  "[--new-passphrase-fd N] [--module FILE] [--token NAME]",
	  "let the keystore hang on another root",
	  "  --to KIND               keyfile, passphrase, credential or\n"
	  "                          pkcs11\n"
	  "  --root-file FILE        where the new key file shall be\n"
	  "  --credential NAME       the new systemd credential\n"
	  "  --new-passphrase-fd N   read the new passphrase, or the PIN, there\n"
	  "  --module FILE           what talks to the new token\n"
	  "  --token NAME            its label or serial number\n" },
	{ "help", NULL, 0, -1, "[COMMAND | config]", "say more", NULL },
	{ "init", kmsd_init, 0, 0, "",
	  "make the keystore and its root where there are none", NULL },
	{ "policy get", kmsd_policy_get, 1, 1, "PRINCIPAL",
	  "print the policy of a principal", NULL },
	{ "policy ls", kmsd_policy_ls, 0, 0, "",
	  "list the principals that have a policy", NULL },
	{ "policy rm", kmsd_policy_rm, 1, 1, "PRINCIPAL",
	  "take a principal's policy away", NULL },
	{ "policy set", kmsd_policy_set, 2, 2, "PRINCIPAL FILE",
	  "let a principal do what a RAM policy says; - is standard input",
	  NULL },
	{ "restore", kmsd_restore, 1, 1, "FILE",
	  "put a saved keystore in the place of the present one", NULL },
	{ "serve", kmsd_serve, 0, 0, "[--listen ADDRESS ...]",
	  "serve the keystore's keys",
	  "  --listen ADDRESS   unix:PATH, HOST:PORT (TLS), or, on loopback,\n"
	  "                     http:HOST:PORT; several; else as kmsd.ini\n"
	  "                     says\n\n"
	  "SIGHUP reads the certificate again, SIGTERM ends.\n" },
	{ "usage", kmsd_usage_show, 0, 0, "[--month YYYY-MM]",
	  "show this month's calls by principal, key and action",
	  "  --month YYYY-MM   of that month; or of all\n" },
	{ NULL, NULL, 0, 0, NULL, NULL, NULL },
};

static const struct kmsd_command *current;

int
kmsd_usage(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("kmsd: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputs("; see `kmsd help`\n", stderr);
	return KMSD_USAGE;
}

int
kmsd_fail(int err, const char *hint, const char *fmt, ...)
{
	va_list ap;

	(void)fputs("kmsd: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, ": %s%s%s%s\n", err_text(err), hint ? " (" : "",
		      hint ? hint : "", hint ? ")" : "");
	return err;
}

int
kmsd_load(struct kmsd_settings *ret)
{
	CLEANUP(free_memp) char *msg = NULL;
	int r = kmsd_settings_load(ret, kmsd_globals.config, &msg);

	if (r == 0 && kmsd_globals.passphrase_fd)
		r = settings_set(&ret->s, "keystore.passphrase_fd",
				 kmsd_globals.passphrase_fd, &msg);
	if (r < 0)
		(void)fprintf(stderr, "kmsd: %s\n", msg ? msg : err_text(r));
	return r;
}

/* Options. */

static const struct kmsd_option globals[] = {
	{ "config", &kmsd_globals.config, NULL, NULL },
	{ "json", NULL, NULL, &kmsd_globals.json },
	{ "passphrase-fd", &kmsd_globals.passphrase_fd, NULL, NULL },
	{ "yes", NULL, NULL, &kmsd_globals.yes },
	{ NULL, NULL, NULL, NULL },
};

static const struct kmsd_option *
find_option(const struct kmsd_option *table, const char *name, size_t len)
{
	for (; table && table->name; table++)
		if (strlen(table->name) == len &&
		    memcmp(table->name, name, len) == 0)
			return table;
	return NULL;
}

static int
set_option(const struct kmsd_option *o, const char *value)
{
	if (o->flag) {
		*o->flag = true;
		return 0;
	}
	if (!o->n && *o->value)
		return kmsd_usage("--%s is given twice", o->name);
	if (o->n && *o->n == SERVER_LISTEN_MAX)
		return kmsd_usage("--%s is given too often", o->name);
	o->value[o->n ? (*o->n)++ : 0] = value;
	return 0;
}

/* One option at argv[*i], whose value may be the next argument. */
static int
take_option(int argc, char **argv, int *i, const struct kmsd_option *own)
{
	const char *name = argv[*i] + 2;
	size_t len = strcspn(name, "=");
	const struct kmsd_option *o = find_option(own, name, len);
	const char *value = name[len] ? name + len + 1 : NULL;

	if (!o)
		o = find_option(globals, name, len);
	if (!o)
		return kmsd_usage("there is no option --%.*s", (int)len, name);
	if (o->flag && value)
		return kmsd_usage("--%s takes no value", o->name);
	if (!o->flag && !value) {
		if (++*i == argc)
			return kmsd_usage("--%s needs a value", o->name);
		value = argv[*i];
	}
	return set_option(o, value);
}

int
kmsd_parse(int *argc, char ***argv, const struct kmsd_option *own)
{
	int n = 0, r;

	for (int i = 1; i < *argc; i++) {
		if (strncmp((*argv)[i], "--", 2) != 0) {
			(*argv)[++n] = (*argv)[i];
			continue;
		}
		r = take_option(*argc, *argv, &i, own);
		if (r)
			return r;
	}
	*argc = n;
	++*argv;
	if (n < current->min_args ||
	    (current->max_args >= 0 && n > current->max_args))
		return kmsd_usage("usage: kmsd %s%s%s", current->name,
				  current->synopsis[0] ? " " : "",
				  current->synopsis);
	return 0;
}

/* Help. */

static void
print_setting(const char *key, const char *dflt, const char *help, void *arg)
{
	(void)arg;
	printf("  %-24s %s\n  %-24s default: %s\n", key, help, "",
	       dflt[0] ? dflt : "none");
}

static void
help_config(void)
{
	printf("Settings of kmsd.ini, [kmsd]; [keystore] is as in "
	       "sealdisk.ini:\n\n");
	kmsd_settings_each(print_setting, NULL);
}

static void
help_all(void)
{
	printf("usage: kmsd [OPTION ...] COMMAND ...\n\n");
	for (const struct kmsd_command *c = commands; c->name; c++)
		printf("  %-20s %s\n", c->name, c->summary);
	printf("\n  --config FILE        instead of kmsd.ini\n"
	       "  --json               results as JSON\n"
	       "  --passphrase-fd N    read the keystore's passphrase there\n"
	       "  --yes                do not ask\n"
	       "  --version\n"
	       "  --list-commands\n\n"
	       "`kmsd help COMMAND` and `kmsd help config` say more.\n");
}

/* How many words of ${argv} are the name of ${c}; 0: it is another. */
static int
words_of(const struct kmsd_command *c, int argc, char **argv)
{
	const char *name = c->name;
	int n = 0;

	while (*name) {
		size_t len = strcspn(name, " ");

		if (n == argc || strlen(argv[n]) != len ||
		    memcmp(argv[n], name, len) != 0)
			return 0;
		n++;
		name += len + (name[len] == ' ');
	}
	return n;
}

static const struct kmsd_command *
find_command(int argc, char **argv, int *ret_words)
{
	for (const struct kmsd_command *c = commands; c->name; c++) {
		*ret_words = words_of(c, argc, argv);
		if (*ret_words)
			return c;
	}
	return NULL;
}

static int
help(int argc, char **argv)
{
	const struct kmsd_command *c;
	int words;

	if (argc == 0) {
		help_all();
		return 0;
	}
	if (strcmp(argv[0], "config") == 0) {
		help_config();
		return 0;
	}
	c = find_command(argc, argv, &words);
	if (!c)
		return kmsd_usage("there is no command %s", argv[0]);
	printf("usage: kmsd %s%s%s\n\n%s\n", c->name, c->synopsis[0] ? " " : "",
	       c->synopsis, c->summary);
	if (c->more)
		printf("\n%s", c->more);
	return 0;
}

/* Dispatch. */

static int
list_commands(void)
{
	for (const struct kmsd_command *c = commands; c->name; c++)
		printf("%s\n", c->name);
	return 0;
}

/* argv[0] is a command, or its first word. */
static int
run(int argc, char **argv)
{
	int words;

	current = find_command(argc, argv, &words);
	if (!current)
		return kmsd_usage("there is no command %s", argv[0]);
	for (int i = words; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0)
			return help(words, argv);
	if (!current->run)
		return help(argc - words, argv + words);
	return current->run(argc - words + 1, argv + words - 1);
}

static int
run_all(int argc, char **argv)
{
	int i = 1, r;

	for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return help(0, NULL);
		if (strcmp(argv[i], "--list-commands") == 0)
			return list_commands();
		if (strcmp(argv[i], "--version") == 0) {
			printf("kmsd %s\n", PACKAGE_VERSION);
			return 0;
		}
		r = take_option(argc, argv, &i, NULL);
		if (r)
			return r;
	}
	if (i == argc)
		return kmsd_usage("which command");
	return run(argc - i, argv + i);
}

/* As sealdisk(1) has it. */
static int
exit_status(int err)
{
	switch (err) {
	case 0:
		return 0;
	case KMSD_USAGE:
		return 2;
	case -ENOENT:
		return 3;
	case -EBUSY:
		return 4;
	case -ENOKEY:
	case -EKEYREVOKED:
	case -EKEYEXPIRED:
	case -EKEYREJECTED:
	case -EHOSTDOWN:
	case -EDQUOT:
		return 5;
	case -EBADMSG:
	case -EUCLEAN:
	case -ESTALE:
		return 6;
	default:
		return 1;
	}
}

int
main(int argc, char **argv)
{
	int r = secret_harden();

	log_init("kmsd");
	(void)umask(0077);
	if (r == 0)
		r = crypto_init();
	if (r < 0)
		return exit_status(kmsd_fail(r, NULL, "cannot start"));
	r = exit_status(run_all(argc, argv));
	if (fflush(stdout) != 0 && r == 0)
		r = exit_status(kmsd_fail(-errno, NULL, "standard output"));
	return r;
}
