/*
 * request.c - the parameters of a request.
 *
 * Query and form are copied into one buffer and decoded in place, which never
 * makes a text longer; names and values become strings in it.
 */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/secret.h>

const struct refusal refusal_memory = { 500, "InternalFailure",
					"Internal Failure." };
const struct refusal refusal_malformed = {
	400, "ParseRequestParameterException",
	"Server parse parameters exception.  Please check your input params."
};
static const struct refusal refusal_twice = {
	400, "ParseRequestParameterException",
	"A parameter is given more than once."
};
static const struct refusal refusal_long = { 413,
					     "ParseRequestParameterException",
					     "The request is too large." };

static bool
is_name(const char *s)
{
	static const char allowed[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	    "._-";
	size_t len = strspn(s, allowed);

	return len > 0 && len <= REQUEST_NAME_MAX && s[len] == '\0';
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Decode ${len} bytes at ${s} in place and end them with a NUL, for which there
 * is room behind them.  No NUL may be among them. */
static bool
decode(char *s, size_t len)
{
	const char *end = s + len;
	char *out = s;

	for (const char *p = s; p < end; p++) {
		int high, low;

		if (*p == '\0')
			return false;
		if (*p != '%') {
			*out++ = *p == '+' ? ' ' : *p;
			continue;
		}
		if (end - p < 3)
			return false;
		high = hex_digit(p[1]);
		low = hex_digit(p[2]);
		if (high < 0 || low < 0 || high + low == 0)
			return false;
		*out++ = (char)(high << 4 | low);
		p += 2;
	}
	*out = '\0';
	return true;
}

/* One "name=value", or "name" alone; ${s} is ${len} bytes and room for one. */
static const struct refusal *
parse_pair(struct request *q, char *s, size_t len, bool in_query)
{
	char *equals = memchr(s, '=', len);
	size_t name_len = equals ? (size_t)(equals - s) : len;
	struct request_param *p;

	if (q->n_params == REQUEST_PARAMS_MAX)
		return &refusal_long;
	p = &q->params[q->n_params];
	p->name = s;
	p->value = equals ? equals + 1 : "";
	p->in_query = in_query;
	if (equals && !decode(equals + 1, len - name_len - 1))
		return &refusal_malformed;
	if (!decode(s, name_len) || !is_name(s) ||
	    !utf8_valid(p->value, strlen(p->value)))
		return &refusal_malformed;
	q->n_params++;
	return NULL;
}

/* Copy ${len} bytes and take them apart. */
static const struct refusal *
parse_pairs(struct request *q, const char *s, size_t len, bool in_query)
{
	char *text = q->text + q->text_len, *end = text + len;

	memcpy(text, s, len);
	q->text_len += len + 1;
	while (text < end) {
		char *amp = memchr(text, '&', (size_t)(end - text));
		size_t n = (size_t)((amp ? amp : end) - text);
		const struct refusal *no =
		    n > 0 ? parse_pair(q, text, n, in_query) : NULL;

		if (no)
			return no;
		text += n + 1;
	}
	return NULL;
}

static int
compare(const void *a, const void *b)
{
	const struct request_param *pa = a, *pb = b;

	return strcmp(pa->name, pb->name);
}

void
request_sort(struct request_param *params, size_t n)
{
	if (n > 1)
		qsort(params, n, sizeof(*params), compare);
}

static bool
has_form(const struct raw_request *raw)
{
	static const char form[] = "application/x-www-form-urlencoded";

	for (size_t i = 0; i < raw->n_headers; i++)
		if (strcmp(raw->headers[i].name, "content-type") == 0)
			return strncasecmp(raw->headers[i].value, form,
					   sizeof(form) - 1) == 0;
	return false;
}

static const struct refusal *
parse(struct request *q, const char *query, size_t query_len)
{
	const struct raw_request *raw = q->raw;
	const struct refusal *no = parse_pairs(q, query, query_len, true);

	if (!no && raw->body_len > 0 && !has_form(raw))
		no = &refusal_malformed;
	if (!no && raw->body_len > 0)
		no = parse_pairs(q, raw->body, raw->body_len, false);
	if (no)
		return no;
	request_sort(q->params, q->n_params);
	for (size_t i = 1; i < q->n_params; i++)
		if (strcmp(q->params[i - 1].name, q->params[i].name) == 0)
			return &refusal_twice;
	return NULL;
}

const struct refusal *
request_parse(const struct raw_request *raw, struct request **ret)
{
	CLEANUP(request_freep) struct request *q = NULL;
	const char *mark = strchr(raw->uri, '?'), *query = mark ? mark + 1 : "";
	size_t query_len = strlen(query), path_len = strcspn(raw->uri, "?");
	const struct refusal *no;

	if (path_len != 1 || raw->uri[0] != '/')
		return &refusal_malformed;
	if (query_len > REQUEST_TEXT_MAX || raw->body_len > REQUEST_TEXT_MAX)
		return &refusal_long;
	q = calloc(1, sizeof(*q));
	if (!q)
		return &refusal_memory;
	q->raw = raw;
	q->params = calloc(REQUEST_PARAMS_MAX, sizeof(*q->params));
	q->text = calloc(1, query_len + raw->body_len + 2);
	if (!q->params || !q->text)
		return &refusal_memory;
	no = parse(q, query, query_len);
	if (no)
		return no;
	*ret = TAKE(q);
	return NULL;
}

void
request_free(struct request *q)
{
	if (!q)
		return;
	if (q->text)
		secret_wipe(q->text, q->text_len);
	free(q->text);
	free(q->params);
	free(q);
}

const char *
request_param(const struct request *q, const char *name)
{
	for (size_t i = 0; i < q->n_params; i++)
		if (strcmp(q->params[i].name, name) == 0)
			return q->params[i].value;
	return NULL;
}

const char *
request_header(const struct request *q, const char *name)
{
	for (size_t i = 0; i < q->raw->n_headers; i++)
		if (strcmp(q->raw->headers[i].name, name) == 0)
			return q->raw->headers[i].value;
	return NULL;
}

/* Growing leaves no copy behind, as realloc would. */
static bool
grow(struct request_text *t, size_t need)
{
	size_t cap = t->cap ? t->cap : 512;
	char *buf;

	while (cap < need)
		cap *= 2;
	buf = malloc(cap);
	if (!buf) {
		t->bad = true;
		return false;
	}
	if (t->buf) {
		memcpy(buf, t->buf, t->len + 1);
		secret_wipe(t->buf, t->cap);
		free(t->buf);
	}
	t->buf = buf;
	t->cap = cap;
	return true;
}

void
request_text_add(struct request_text *t, const char *s, size_t len)
{
	if (t->bad || (t->len + len + 1 > t->cap && !grow(t, t->len + len + 1)))
		return;
	memcpy(t->buf + t->len, s, len);
	t->len += len;
	t->buf[t->len] = '\0';
}

void
request_text_encode(struct request_text *t, const char *s)
{
	static const char plain[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	    "-_.~";
	static const char hex[] = "0123456789ABCDEF";

	while (*s) {
		size_t n = strspn(s, plain);
		unsigned char c = (unsigned char)s[n];
		const char escape[3] = { '%', hex[c >> 4], hex[c & 15] };

		request_text_add(t, s, n);
		s += n;
		if (c) {
			request_text_add(t, escape, sizeof(escape));
			s++;
		}
	}
}

void
request_text_params(struct request_text *t, const struct request_param *params,
		    size_t n, bool (*want)(const struct request_param *p))
{
	bool first = true;

	request_text_add(t, "", 0);
	for (size_t i = 0; i < n; i++) {
		if (!want(&params[i]))
			continue;
		if (!first)
			request_text_add(t, "&", 1);
		first = false;
		request_text_encode(t, params[i].name);
		request_text_add(t, "=", 1);
		request_text_encode(t, params[i].value);
	}
}

void
request_text_done(struct request_text *t)
{
	if (t->buf)
		secret_wipe(t->buf, t->cap);
	free(t->buf);
	*t = (struct request_text){ 0 };
}
