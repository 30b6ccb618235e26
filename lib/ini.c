/*
 * ini.c - INI files.
 *
 * The text is scanned here for what iniparser would pass over, and then given
 * to iniparser for the values.  That loads from a path only, so it gets a
 * memfd: what was scanned and what is loaded are the same bytes, whoever
 * changes the file meanwhile.
 */
#include <sealdisk/ini.h>

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <iniparser/iniparser.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>

#define LINE_MAX_LEN 1022
#define NAME_ROOM 64

DEFINE_CLEANUP(dictionary, iniparser_freedict)

struct found {
	char section[NAME_ROOM];
	char key[NAME_ROOM]; /* "": the head of a section */
	unsigned line;
};

struct scan {
	struct found found[INI_ENTRIES_MAX];
	size_t nfound, nkeys;
	char section[NAME_ROOM]; /* the one that lines belong to now */
	unsigned line;
	char **ret_msg;
};

static void
scan_free(struct scan *s)
{
	free(s);
}
DEFINE_CLEANUP(struct scan, scan_free)

/* Say what is wrong with the line; always -EINVAL. */
__attribute__((__format__(__printf__, 2, 3))) static int
wrong(struct scan *s, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (asprintf(s->ret_msg, "%u: %s", s->line, what) < 0)
		*s->ret_msg = NULL;
	return -EINVAL;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_comment(char c)
{
	return c == '#' || c == ';';
}

/* Copy a name in lower case, if it has only characters of a name. */
static int
take_name(const char *p, size_t len, bool blanks, char out[static NAME_ROOM])
{
	if (len == 0 || len >= NAME_ROOM)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c >= 0x80 ||
		    (!isalnum(c) && !strchr("_-.", c) && !(blanks && c == ' ')))
			return -EINVAL;
		out[i] = (char)tolower(c);
	}
	out[len] = '\0';
	return 0;
}

static int
add(struct scan *s, const char *key)
{
	struct found *f = &s->found[s->nfound];

	if (s->nfound == INI_ENTRIES_MAX)
		return wrong(s, "too many keys");
	for (size_t i = 0; i < s->nfound; i++)
		if (strcmp(s->found[i].key, key) == 0 &&
		    strcmp(s->found[i].section, s->section) == 0) {
			if (!*key)
				return 0; /* a section may come in two parts */
			return wrong(s, "\"%s\" is there already, in line %u",
				     key, s->found[i].line);
		}
	strcpy(f->section, s->section);
	strcpy(f->key, key);
	f->line = s->line;
	s->nfound++;
	s->nkeys += *key != '\0';
	return 0;
}

static int
scan_section(struct scan *s, const char *p, size_t len)
{
	if (p[len - 1] != ']')
		return wrong(s, "a section is [NAME] and nothing after it");
	if (take_name(p + 1, len - 2, true, s->section) < 0)
		return wrong(s, "not the name of a section");
	return add(s, "");
}

/* What comes after the = and the blanks there. */
static int
scan_value(struct scan *s, const char *p, size_t len)
{
	const char *close;

	if (len == 0)
		return 0;
	if (*p == '"' || *p == '\'') {
		close = memchr(p + 1, *p, len - 1);
		if (!close)
			return wrong(s, "the quote is not closed");
		if (close != p + len - 1)
			return wrong(s, "there is more after the quote");
		return 0;
	}
	for (const char *c = p; c < p + len; c++) {
		if (!is_comment(*c))
			continue;
		if (is_blank(c[-1])) /* there is at least the = */
			return 0;
		return wrong(s, "a value with %c in it needs quotes", *c);
	}
	return 0;
}

static int
scan_key(struct scan *s, const char *p, size_t len)
{
	const char *equals = memchr(p, '=', len), *value;
	char key[NAME_ROOM];
	size_t n;

	if (!equals)
		return wrong(s, "neither [SECTION] nor KEY = VALUE");
	n = (size_t)(equals - p);
	while (n > 0 && is_blank(p[n - 1]))
		n--;
	if (take_name(p, n, false, key) < 0)
		return wrong(s, "not the name of a key");
	if (!*s->section)
		return wrong(s, "\"%s\" is in no section", key);
	for (value = equals + 1; value < p + len && is_blank(*value); value++)
		;
	n = (size_t)(value - p);
	if (scan_value(s, value, len - n) < 0)
		return -EINVAL;
	return add(s, key);
}

static int
scan_line(struct scan *s, const char *p, size_t len)
{
	if (len > LINE_MAX_LEN)
		return wrong(s, "longer than %d bytes", LINE_MAX_LEN);
	if (len > 0 && p[len - 1] == '\r')
		len--;
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)p[i] < ' ' && p[i] != '\t') || p[i] == 0x7f)
			return wrong(s, "a control character");
	if (!utf8_valid(p, len))
		return wrong(s, "not UTF-8");

	while (len > 0 && is_blank(p[len - 1]))
		len--;
	for (; len > 0 && is_blank(*p); len--)
		p++;
	if (len == 0)
		return 0;
	if (p[len - 1] == '\\') /* even a comment would go on */
		return wrong(s, "a line cannot end with a backslash");
	if (is_comment(*p))
		return 0;
	return *p == '[' ? scan_section(s, p, len) : scan_key(s, p, len);
}

static int
scan_text(struct scan *s, const char *p, size_t len)
{
	while (len > 0) {
		const char *end = memchr(p, '\n', len);
		size_t n = end ? (size_t)(end - p) : len;

		s->line++;
		if (scan_line(s, p, n) < 0)
			return -EINVAL;
		n += end != NULL;
		p += n;
		len -= n;
	}
	return 0;
}

/* iniparser would print; the scan has found what there is to say. */
static int
be_quiet(const char *fmt, ...)
{
	(void)fmt;
	return 0;
}

static int
load(const char *text, size_t len, dictionary **ret)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	CLEANUP(close_fdp) int fd = -1;
	char path[32];
	dictionary *d;
	int r;

	fd = memfd_create("ini", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = io_write_all(fd, text, len);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

	(void)pthread_mutex_lock(&lock); /* iniparser has static state */
	iniparser_set_error_callback(be_quiet);
	errno = 0; /* it opens the file itself, and takes memory */
	d = iniparser_load(path);
	r = errno ? -errno : -EINVAL;
	(void)pthread_mutex_unlock(&lock);
	if (!d)
		return r;
	*ret = d;
	return 0;
}

/* How many keys iniparser found: as many as the scan, or one of them errs. */
static size_t
count_keys(const dictionary *d)
{
	int nsections = iniparser_getnsec(d);
	size_t n = 0;

	for (int i = 0; i < nsections; i++)
		n += (size_t)iniparser_getsecnkeys(d,
						   iniparser_getsecname(d, i));
	return n;
}

static int
report(const struct scan *s, const dictionary *d,
       int (*fn)(const struct ini_entry *e, void *arg), void *arg)
{
	char name[2 * NAME_ROOM];
	int r = 0;

	for (size_t i = 0; i < s->nfound && r == 0; i++) {
		const struct found *f = &s->found[i];
		struct ini_entry e = { .section = f->section, .line = f->line };

		if (*f->key) {
			(void)snprintf(name, sizeof(name), "%s:%s", f->section,
				       f->key);
			e.key = f->key;
			e.value = iniparser_getstring(d, name, NULL);
			if (!e.value)
				return -EINVAL;
		}
		r = fn(&e, arg);
	}
	return r;
}

int
ini_parse(const char *text, size_t len,
	  int (*fn)(const struct ini_entry *e, void *arg), void *arg,
	  char **ret_msg)
{
	CLEANUP(scan_freep) struct scan *s = calloc(1, sizeof(*s));
	CLEANUP(iniparser_freedictp) dictionary *d = NULL;
	int r;

	*ret_msg = NULL;
	if (!s)
		return -ENOMEM;
	s->ret_msg = ret_msg;
	r = scan_text(s, text, len);
	if (r < 0)
		return r;
	r = load(text, len, &d);
	if (r == -EINVAL || (r == 0 && count_keys(d) != s->nkeys))
		return wrong(s, "iniparser reads this file in another way");
	if (r < 0)
		return r;
	return report(s, d, fn, arg);
}
