/*
 * canon.c - canonical INI text; see canon.h.
 */
#include <sealdisk/ini.h>

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/canon.h>

struct entry {
	const char *section, *key, *value;
};

/* What was read; the strings lie one after the other in ${arena}. */
struct canon {
	struct entry entries[INI_ENTRIES_MAX];
	size_t n;
	const char *section; /* the one that entries come in now */
	size_t used, room;
	char arena[];
};

static const char *
keep(struct canon *c, const char *s)
{
	size_t len = strlen(s) + 1;
	char *p = c->arena + c->used;

	if (len > c->room - c->used)
		return NULL;
	memcpy(p, s, len);
	c->used += len;
	return p;
}

static int
take_entry(const struct ini_entry *e, void *arg)
{
	struct canon *c = arg;
	struct entry *to = &c->entries[c->n];

	if (!e->key) {
		c->section = keep(c, e->section);
		return c->section ? 0 : -EUCLEAN;
	}
	if (!c->section || c->n == INI_ENTRIES_MAX)
		return -EUCLEAN;
	to->section = c->section;
	to->key = keep(c, e->key);
	to->value = keep(c, e->value);
	if (!to->key || !to->value)
		return -EUCLEAN;
	c->n++;
	return 0;
}

int
canon_parse(const char *text, size_t len, struct canon **ret)
{
	CLEANUP(canon_freep) struct canon *c = NULL;
	CLEANUP(free_memp) char *why = NULL;
	int r;

	/* No string is longer than its line, which has an end or a bracket
	 * to make room for the NUL; the last may lack its end. */
	c = malloc(sizeof(*c) + len + 1);
	if (!c)
		return -ENOMEM;
	c->n = c->used = 0;
	c->room = len + 1;
	c->section = NULL;
	r = ini_parse(text, len, take_entry, c, &why);
	if (r < 0)
		return r == -EINVAL ? -EUCLEAN : r;
	*ret = TAKE(c);
	return 0;
}

void
canon_free(struct canon *c)
{
	free(c);
}

const char *
canon_get(const struct canon *c, const char *section, const char *key)
{
	const struct entry *e;

	for (e = c->entries; e < c->entries + c->n; e++)
		if (!strcmp(e->key, key) && !strcmp(e->section, section))
			return e->value;
	return NULL;
}

/* Writing. */

static bool
make_room(struct canon_text *t, size_t more)
{
	size_t cap = t->cap ? t->cap : 1024;
	char *buf;

	while (cap < t->len + more + 1)
		cap *= 2;
	if (cap == t->cap)
		return true;
	buf = realloc(t->buf, cap);
	if (!buf) {
		t->err = -ENOMEM;
		return false;
	}
	t->buf = buf;
	t->cap = cap;
	return true;
}

static void
append(struct canon_text *t, const char *s)
{
	size_t len = strlen(s);

	if (t->err || !make_room(t, len))
		return;
	memcpy(t->buf + t->len, s, len + 1);
	t->len += len;
}

void
canon_blank(struct canon_text *t)
{
	append(t, "\n");
}

void
canon_section(struct canon_text *t, const char *name)
{
	append(t, "[");
	append(t, name);
	append(t, "]\n");
}

void
canon_put(struct canon_text *t, const char *key, const char *fmt, ...)
{
	char value[CANON_VALUE_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	if (n <= 0 || (size_t)n >= sizeof(value)) {
		t->err = t->err ? t->err : -EMSGSIZE;
		return;
	}
	append(t, key);
	append(t, " = ");
	append(t, value);
	append(t, "\n");
}

int
canon_finish(struct canon_text *t, char **ret)
{
	if (t->err)
		return t->err;
	if (!t->buf)
		return -EMSGSIZE;
	*ret = TAKE(t->buf);
	t->len = t->cap = 0;
	return 0;
}

void
canon_text_done(struct canon_text *t)
{
	free(t->buf);
	t->buf = NULL;
}

/* Values. */

static bool
stays(unsigned char c)
{
	return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z') || (c && strchr("._:/@+-", c));
}

int
canon_encode(const char *s, char *out, size_t cap)
{
	static const char digits[] = "0123456789ABCDEF";
	char *end = out + cap;
	bool first = true;

	if (cap < 2)
		return -EMSGSIZE;
	if (!*s)
		*out++ = '-';
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		bool plain = stays(c) && !(first && c == '-');

		if (end - out < (plain ? 2 : 4))
			return -EMSGSIZE;
		if (plain) {
			*out++ = (char)c;
		} else {
			*out++ = '%';
			*out++ = digits[c >> 4];
			*out++ = digits[c & 15];
		}
		first = false;
	}
	*out = '\0';
	return 0;
}

/* The value of an upper case digit, or -1. */
static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int
canon_decode(const char *s, char *out, size_t cap)
{
	char *end = out + cap;
	int hi, lo;

	if (cap == 0)
		return -EMSGSIZE;
	if (!strcmp(s, "-"))
		s = "";
	for (; *s; s++) {
		if (end - out < 2)
			return -EMSGSIZE;
		if (*s != '%') {
			*out++ = *s;
			continue;
		}
		hi = hex_digit(s[1]);
		lo = hi < 0 ? -1 : hex_digit(s[2]);
		if (lo < 0 || (hi == 0 && lo == 0))
			return -EINVAL;
		*out++ = (char)(hi << 4 | lo);
		s += 2;
	}
	*out = '\0';
	return 0;
}
