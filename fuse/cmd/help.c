/*
 * help.c - `sealdisk help [COMMAND]`: all of it from the tables of commands and
 * of settings.
 */
#include "cmd.h"

#include <string.h>

#define SUMMARY_COLUMN 12

static void
print_summaries(const struct command *table)
{
	for (; table->name; table++)
		printf("  %-*s %s\n", SUMMARY_COLUMN, table->name,
		       table->summary);
}

void
cmd_print_help(const char *name, const struct command *c)
{
	printf("usage: sealdisk %s%s%s\n\n%s\n", name,
	       c->synopsis[0] ? " " : "", c->synopsis, c->summary);
	if (c->more)
		printf("\n%s", c->more);
	if (c->sub) {
		printf("\n");
		for (const struct command *s = c->sub; s->name; s++)
			printf("  %s %s%s%s\n      %s\n", c->name, s->name,
			       s->synopsis[0] ? " " : "", s->synopsis,
			       s->summary);
	}
}

static void
print_overview(void)
{
	printf("usage: sealdisk [OPTION...] COMMAND [ARGUMENT...]\n\n");
	print_summaries(commands);
	printf(
	    "\n"
	    "  -s, --store STORE   the store; else $SEALDISK_STORE, else "
	    "sealdisk.ini\n"
	    "  --config FILE       in place of sealdisk.ini\n"
	    "  --json              results as JSON\n"
	    "  --yes               do not ask before something is destroyed\n"
	    "  --progress=HOW      auto, none, json or bar\n"
	    "  --passphrase-fd N   read the keystore's passphrase there\n"
	    "  --version           which version this is\n"
	    "  --list-commands     their names, one a line\n\n"
	    "`sealdisk help COMMAND` says more about one, "
	    "`sealdisk help config`\n"
	    "what can stand in sealdisk.ini, and sealdisk(1) all of it.\n");
}

static void
print_setting(const char *section, const char *key, const char *dflt,
	      const char *help, void *arg)
{
	const char **last = arg;

	if (!*last || strcmp(*last, section) != 0)
		printf("%s[%s]\n", *last ? "\n" : "", section);
	*last = section;
	printf("  %s = %s\n      %s\n", key, dflt, help);
}

int
cmd_list(int argc, char **argv)
{
	const struct command *table = commands, *c;

	for (int i = 0; i < argc && table; i++) {
		c = cmd_find(table, argv[i]);
		table = c ? c->sub : NULL;
	}
	for (; table && table->name; table++)
		printf("%s\n", table->name);
	return 0;
}

int
cmd_help(int argc, char **argv)
{
	const struct command *table = commands, *c = NULL;
	const char *last = NULL;
	char name[64] = "";
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r)
		return r;
	if (argc == 0) {
		print_overview();
		return 0;
	}
	if (argc == 1 && strcmp(argv[0], "config") == 0) {
		settings_each(print_setting, &last);
		return 0;
	}
	for (int i = 0; i < argc; i++) {
		size_t len = strlen(name);

		c = table ? cmd_find(table, argv[i]) : NULL;
		if (!c)
			return cmd_usage("there is no command `%s`", argv[i]);
		(void)snprintf(name + len, sizeof(name) - len, "%s%s",
			       len ? " " : "", c->name);
		table = c->sub;
	}
	cmd_print_help(name, c);
	return 0;
}
