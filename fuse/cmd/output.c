/*
 * output.c - what people and programs read: lines on standard error, tables
 * and JSON on standard output, a question on the terminal.
 */
#include "cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <sealdisk/log.h>

/*
 * Names come from the command line and from descriptors that nobody has
 * authenticated: whatever stands in them, a message stays one line and sends
 * nothing to the terminal but text.
 */
static void
print_line(char *s)
{
	text_mask_control(s);
	(void)fprintf(stderr, "%s\n", s);
}

static void note_va(const char *before, const char *fmt, va_list ap)
    __attribute__((__format__(__printf__, 2, 0)));

static void
note_va(const char *before, const char *fmt, va_list ap)
{
	char msg[2 * PATH_MAX];
	size_t len;

	(void)snprintf(msg, sizeof(msg), "%s", before);
	len = strlen(msg);
	(void)vsnprintf(msg + len, sizeof(msg) - len, fmt, ap);
	(void)fflush(stdout); /* in the order in which it was said */
	print_line(msg);
}

void
cmd_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note_va("sealdisk: ", fmt, ap);
	va_end(ap);
}

static const struct {
	int err;
	const char *hint;
} hints[] = {
	{ EACCES, "it belongs to somebody else; are you root?" },
	{ EBADMSG, "restore it from a backup, or attach what is whole" },
	{ EHOSTDOWN, "[kms] in sealdisk.ini names the service" },
	{ EKEYEXPIRED, "until it is destroyed, `sealdisk key cancel-deletion` "
		       "calls that off" },
	{ EKEYREJECTED, "are these the keystore, root key and region it was "
			"made with, and may you use it? The system's log says "
			"more" },
	{ EKEYREVOKED, "`sealdisk key enable` enables it again" },
	{ ENOKEY, "`sealdisk key ls` shows what keys there are" },
	{ ENOSPC, "make room and try again" },
	{ ENOTCONN, "its daemon is gone: umount -l it, and mount it again" },
	{ EPERM, "are you root?" },
	{ ESHUTDOWN, "nothing was done that cannot be recorded; [keystore] "
		     "audit in sealdisk.ini says where that is" },
	{ EPROTONOSUPPORT, "update this one" },
};

static const char *
hint_for(int err)
{
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hints[i].err == -err)
			return hints[i].hint;
	return "";
}

int
cmd_fail(int err, const char *why, const char *hint, const char *fmt, ...)
{
	char what[PATH_MAX + 256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (!why)
		why = err_text(err);
	if (!hint)
		hint = hint_for(err);
	if (hint[0])
		cmd_note("%s: %s (%s)", what, why, hint);
	else
		cmd_note("%s: %s", what, why);
	return err;
}

void
cmd_json_freep(json_t **j)
{
	json_decref(*j);
}

int
cmd_print_json(json_t *j)
{
	int r = 0;

	if (!j)
		return cmd_fail(-ENOMEM, NULL, NULL, "%s", cmd_name());
	if (json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0)
		r = cmd_fail(-EIO, "cannot be written", NULL, "%s: the output",
			     cmd_name());
	(void)putchar('\n');
	json_decref(j);
	return r;
}

/* A row is n_columns pointers to malloc'ed text. */
struct cmd_table {
	size_t n_columns, n_rows;
	size_t *widths; /* of the columns */
	char ***rows;
};

struct cmd_table *
cmd_table_new(size_t n_columns, const char *const *heading)
{
	CLEANUP(cmd_table_freep)
	struct cmd_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->n_columns = n_columns;
	t->widths = calloc(n_columns, sizeof(*t->widths));
	if (!t->widths || cmd_table_add(t, heading) < 0)
		return NULL;
	return TAKE(t);
}

static void
free_row(char **row, size_t n)
{
	for (size_t i = 0; row && i < n; i++)
		free(row[i]);
	free(row);
}

/* Characters of UTF-8 text: bytes that do not continue one. */
static size_t
width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

int
cmd_table_add(struct cmd_table *t, const char *const *cells)
{
	char ***rows = realloc(t->rows, (t->n_rows + 1) * sizeof(*rows));
	char **row;

	if (!rows)
		return -ENOMEM;
	t->rows = rows;
	row = calloc(t->n_columns, sizeof(*row));
	if (!row)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_columns; i++) {
		row[i] = strdup(cells[i] && cells[i][0] ? cells[i] : "-");
		if (!row[i]) {
			free_row(row, t->n_columns);
			return -ENOMEM;
		}
		if (width(row[i]) > t->widths[i])
			t->widths[i] = width(row[i]);
	}
	rows[t->n_rows++] = row;
	return 0;
}

void
cmd_table_print(const struct cmd_table *t)
{
	for (size_t i = 0; i < t->n_rows; i++) {
		for (size_t col = 0; col < t->n_columns; col++) {
			const char *cell = t->rows[i][col];
			size_t pad = t->widths[col] - width(cell);

			if (col + 1 == t->n_columns)
				pad = 0; /* no blanks at the line's end */
			printf("%s%s%*s", col ? "  " : "", cell, (int)pad, "");
		}
		printf("\n");
	}
}

void
cmd_table_free(struct cmd_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_rows; i++)
		free_row(t->rows[i], t->n_columns);
	free(t->rows);
	free(t->widths);
	free(t);
}

int
cmd_confirm(const char *fmt, ...)
{
	char answer[16];
	va_list ap;

	if (cmd_globals.yes)
		return 0;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return cmd_usage("it destroys data: where there is no terminal "
				 "to ask on, say --yes");
	va_start(ap, fmt);
	note_va("", fmt, ap);
	va_end(ap);
	(void)fputs("Go on? [y/N] ", stderr);
	if (!fgets(answer, sizeof(answer), stdin))
		answer[0] = '\0';
	if (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0)
		return 0;
	return cmd_fail(-ECANCELED, "not done", "", "%s", cmd_name());
}
