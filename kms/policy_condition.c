/*
 * policy_condition.c - "Condition": {OPERATOR: {KEY: VALUES}}; see policy.h.
 *
 * An operator compares values of one type, and a key has one: an operator with
 * a key of another type would hold for nothing, or, worse, for everything, and
 * is refused.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <sealdisk/codec.h>

#include "policy_private.h"

enum type { TEXT, NUMBER, DATE, BOOL, IP };

/* Where a value may stand beside what is asked for. */
enum {
	LESS = 1,
	EQUAL = 2,
	GREATER = 4,
	LIKE = 8, /* EQUAL is a pattern that matches */
	FOLD_CASE = 16,
	NOT = 32, /* none of the values may be it */
};

static const struct comparison {
	const char *name;
	enum type type;
	unsigned how;
} comparisons[] = {
	{ "StringEquals", TEXT, EQUAL },
	{ "StringNotEquals", TEXT, EQUAL | NOT },
	{ "StringEqualsIgnoreCase", TEXT, EQUAL | FOLD_CASE },
	{ "StringNotEqualsIgnoreCase", TEXT, EQUAL | FOLD_CASE | NOT },
	{ "StringLike", TEXT, EQUAL | LIKE },
	{ "StringNotLike", TEXT, EQUAL | LIKE | NOT },
	{ "NumericEquals", NUMBER, EQUAL },
	{ "NumericNotEquals", NUMBER, EQUAL | NOT },
	{ "NumericLessThan", NUMBER, LESS },
	{ "NumericLessThanEquals", NUMBER, LESS | EQUAL },
	{ "NumericGreaterThan", NUMBER, GREATER },
	{ "NumericGreaterThanEquals", NUMBER, GREATER | EQUAL },
	{ "DateEquals", DATE, EQUAL },
	{ "DateNotEquals", DATE, EQUAL | NOT },
	{ "DateLessThan", DATE, LESS },
	{ "DateLessThanEquals", DATE, LESS | EQUAL },
	{ "DateGreaterThan", DATE, GREATER },
	{ "DateGreaterThanEquals", DATE, GREATER | EQUAL },
	{ "Bool", BOOL, EQUAL },
	{ "IpAddress", IP, EQUAL },
	{ "NotIpAddress", IP, EQUAL | NOT },
};

static const struct comparison *
find_comparison(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++)
		if (strcmp(comparisons[i].name, name) == 0)
			return &comparisons[i];
	return NULL;
}

/* Values. */

/* A whole number, with or without a sign. */
static bool
read_number(const char *s, int64_t *ret)
{
	bool negative = s[0] == '-';
	uint64_t n;

	if (parse_u64(s + negative, &n) < 0 || n > INT64_MAX)
		return false;
	*ret = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

/* YYYY-MM-DDThh:mm:ss and Z or +hh:mm. */
static bool
read_date(const char *s, int64_t *ret)
{
	char utc[TIME_STR_LEN];
	unsigned h, m;
	size_t len = strlen(s);
	int64_t t;

	if (len == TIME_STR_LEN - 1)
		return parse_time(s, ret) == 0;
	if (len != 25 || (s[19] != '+' && s[19] != '-') || s[22] != ':' ||
	    strspn(s + 20, "0123456789") != 2 ||
	    strspn(s + 23, "0123456789") != 2)
		return false;
	(void)snprintf(utc, sizeof(utc), "%.19sZ", s);
	h = (unsigned)(s[20] - '0') * 10 + (unsigned)(s[21] - '0');
	m = (unsigned)(s[23] - '0') * 10 + (unsigned)(s[24] - '0');
	if (h > 14 || m > 59 || parse_time(utc, &t) < 0)
		return false;
	*ret = t - (s[19] == '-' ? -1 : 1) * (int64_t)(h * 60 + m) * 60;
	return true;
}

struct ip {
	uint8_t bytes[16];
	unsigned bits; /* 0: none */
};

/* An IPv4 address is ::ffff:A.B.C.D, however it is written. */
static bool
read_ip(const char *s, size_t len, struct ip *ret)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
	char text[INET6_ADDRSTRLEN];

	if (len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	memcpy(ret->bytes, v4, sizeof(v4));
	if (inet_pton(AF_INET, text, ret->bytes + 12) == 1) {
		ret->bits = 32;
		return true;
	}
	ret->bits = 128;
	return inet_pton(AF_INET6, text, ret->bytes) == 1;
}

/* ADDRESS or ADDRESS/BITS. */
static bool
read_network(const char *s, struct ip *ret)
{
	size_t len = strcspn(s, "/");
	uint64_t bits;

	if (!read_ip(s, len, ret))
		return false;
	bits = ret->bits;
	if (s[len] == '/' &&
	    (parse_u64(s + len + 1, &bits) < 0 || bits > ret->bits))
		return false;
	ret->bits = (unsigned)bits + (ret->bits == 32 ? 96 : 0);
	return true;
}

static bool
in_network(const struct ip *a, const struct ip *net)
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;
	uint8_t mask = (uint8_t)(0xff00 >> rest);

	if (memcmp(a->bytes, net->bytes, whole) != 0)
		return false;
	return rest == 0 || ((a->bytes[whole] ^ net->bytes[whole]) & mask) == 0;
}

/* A value as text: RAM takes 7 and true for "7" and "true". */
static bool
value_text(const json_t *v, char out[static POLICY_PATTERN_MAX + 1])
{
	if (json_is_integer(v))
		(void)snprintf(out, POLICY_PATTERN_MAX + 1,
			       "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_boolean(v))
		strcpy(out, json_is_true(v) ? "true" : "false");
	else if (json_is_string(v) &&
		 json_string_length(v) <= POLICY_PATTERN_MAX)
		strcpy(out, json_string_value(v));
	else
		return false;
	return true;
}

static bool
is_flag(const char *s)
{
	return strcmp(s, "true") == 0 || strcmp(s, "false") == 0;
}

/* Whether ${s} is a value of this type. */
static bool
is_value(enum type t, const char *s)
{
	struct ip ip;
	int64_t n;

	switch (t) {
	case NUMBER:
		return read_number(s, &n);
	case DATE:
		return read_date(s, &n);
	case BOOL:
		return is_flag(s);
	case IP:
		return read_network(s, &ip);
	default:
		return true;
	}
}

/* Keys. */

#define TAG_KEY "kms:tag/"
#define CONTEXT_KEY "kms:EncryptionContext:"

static const char *
after(const char *key, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(key, prefix, len) == 0 && key[len] ? key + len : NULL;
}

static bool
key_takes(const char *key, enum type t, bool *ret_known)
{
	*ret_known = true;
	if (after(key, TAG_KEY) || after(key, CONTEXT_KEY))
		return t == TEXT || t == NUMBER;
	if (strcmp(key, "acs:SourceIp") == 0)
		return t == IP;
	if (strcmp(key, "acs:CurrentTime") == 0)
		return t == DATE;
	if (strcmp(key, "acs:SecureTransport") == 0)
		return t == BOOL;
	*ret_known = false;
	return false;
}

static const char *
find_pair(const struct policy_pair *p, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(p[i].name, name) == 0)
			return p[i].value;
	return NULL;
}

/* The text that a request has for ${key}, or NULL. */
static const char *
request_text(const char *key, const struct policy_request *q)
{
	const char *name = after(key, TAG_KEY);

	if (name)
		return find_pair(q->tags, q->n_tags, name);
	name = after(key, CONTEXT_KEY);
	if (name)
		return find_pair(q->context, q->n_context, name);
	if (strcmp(key, "acs:SourceIp") == 0)
		return q->source_ip;
	return q->secure_transport ? "true" : "false";
}

/* Checking. */

static int
check_values(struct policy_parse *p, const struct comparison *o,
	     const char *key, const json_t *values)
{
	size_t i, n = policy_list_len(values);
	char text[POLICY_PATTERN_MAX + 1];

	if (n == 0 || n > POLICY_LIST_MAX)
		return policy_wrong(p, "%s %.64s has not 1 to %d values",
				    o->name, key, POLICY_LIST_MAX);
	for (i = 0; i < n; i++) {
		const json_t *v = policy_list_at(values, i);

		if (!value_text(v, text) || strstr(text, "${") ||
		    !is_value(o->type, text))
			return policy_wrong(p,
					    "%s %.64s: value %zu is not one "
					    "that it can compare",
					    o->name, key, i + 1);
	}
	return 0;
}

static int
check_keys(struct policy_parse *p, const struct comparison *o, json_t *keys)
{
	const char *key;
	json_t *values;
	bool known;
	int r;

	if (!json_is_object(keys) || json_object_size(keys) == 0)
		return policy_wrong(p, "%s is not {KEY: VALUES}", o->name);
	json_object_foreach(keys, key, values)
	{
		if (!key_takes(key, o->type, &known))
			return policy_wrong(p,
					    known ? "%s cannot compare \"%s\""
						  : "%s: \"%s\" is not known",
					    o->name, key);
		r = check_values(p, o, key, values);
		if (r < 0)
			return r;
	}
	return 0;
}

int
policy_check_condition(struct policy_parse *p, const json_t *c)
{
	const struct comparison *o;
	const char *name;
	json_t *keys;
	int r;

	if (!json_is_object(c) || json_object_size(c) == 0)
		return policy_wrong(p, "Condition is not {OPERATOR: {...}}");
	json_object_foreach((json_t *)(uintptr_t)c, name, keys)
	{
		o = find_comparison(name);
		if (!o)
			return policy_wrong(p, "\"%s\" is no operator", name);
		r = check_keys(p, o, keys);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Holding. */

static bool
stands(unsigned how, int64_t a, int64_t b)
{
	return how & (a < b ? LESS : a > b ? GREATER : EQUAL);
}

static bool
text_is(unsigned how, const char *has, const char *value)
{
	if (how & LIKE)
		return policy_match(value, strlen(value), has, strlen(has),
				    false);
	return (how & FOLD_CASE ? strcasecmp(has, value)
				: strcmp(has, value)) == 0;
}

/* Of two texts; those of a request may be no value of the type. */
static bool
compare(const struct comparison *o, const char *has, const char *value)
{
	struct ip a, net;
	int64_t x, y;

	switch (o->type) {
	case NUMBER:
		return read_number(has, &x) && read_number(value, &y) &&
		       stands(o->how, x, y);
	case IP:
		return read_ip(has, strlen(has), &a) &&
		       read_network(value, &net) && in_network(&a, &net);
	default:
		return text_is(o->how, has, value);
	}
}

static bool
one_holds(const struct comparison *o, const char *key, const json_t *v,
	  const struct policy_request *q)
{
	char text[POLICY_PATTERN_MAX + 1];
	const char *has;
	int64_t t;

	if (!value_text(v, text))
		return false;
	if (o->type == DATE)
		return read_date(text, &t) && stands(o->how, q->now, t);
	has = request_text(key, q);
	return has && compare(o, has, text);
}

static bool
any_holds(const struct comparison *o, const char *key, const json_t *values,
	  const struct policy_request *q)
{
	size_t i, n = policy_list_len(values);

	for (i = 0; i < n; i++)
		if (one_holds(o, key, policy_list_at(values, i), q))
			return true;
	return false;
}

bool
policy_condition_holds(const json_t *c, const struct policy_request *q)
{
	const char *name, *key;
	json_t *keys, *values;

	json_object_foreach((json_t *)(uintptr_t)c, name, keys)
	{
		const struct comparison *o = find_comparison(name);

		json_object_foreach(keys, key,
				    values) if (any_holds(o, key, values, q) ==
						!!(o->how & NOT)) return false;
	}
	return true;
}
