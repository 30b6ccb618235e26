/*
 * policy.c - documents and statements; see policy.h.
 *
 * A document is checked in full when it is parsed and then read from the JSON
 * tree as it is: what policy_evaluate() meets, the checks have let through.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <sealdisk/codec.h>

#include "policy_private.h"
#include "wiped.h"

struct policy {
	json_t *doc;
};

/* Messages. */

int
policy_wrong(struct policy_parse *p, const char *fmt, ...)
{
	va_list ap;
	int n = 0;

	if (p->statement)
		n = snprintf(p->why, POLICY_WHY_LEN,
			     "statement %u: ", p->statement);
	va_start(ap, fmt);
	(void)vsnprintf(p->why + n, POLICY_WHY_LEN - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Lists. */

size_t
policy_list_len(const json_t *j)
{
	return json_is_array(j) ? json_array_size(j) : 1;
}

const json_t *
policy_list_at(const json_t *j, size_t i)
{
	return json_is_array(j) ? json_array_get(j, i) : j;
}

int
policy_list(struct policy_parse *p, const char *what, const json_t *j,
	    int (*check)(struct policy_parse *p, const char *what,
			 const json_t *value))
{
	size_t i, n = policy_list_len(j);
	int r = 0;

	if (n == 0 || n > POLICY_LIST_MAX)
		return policy_wrong(p, "%s has not 1 to %d values", what,
				    POLICY_LIST_MAX);
	for (i = 0; i < n && r == 0; i++)
		r = check(p, what, policy_list_at(j, i));
	return r;
}

int
policy_check_text(struct policy_parse *p, const char *what, const json_t *value)
{
	const char *s = json_string_value(value);

	if (!s || json_string_length(value) > POLICY_PATTERN_MAX)
		return policy_wrong(p, "%s is no text of up to %d bytes", what,
				    POLICY_PATTERN_MAX);
	/* A document that means a variable must not be taken at its letters. */
	if (strstr(s, "${"))
		return policy_wrong(p, "%s: there are no variables", what);
	return 0;
}

/* Wildcards. */

static size_t
char_len(const char *s, size_t n)
{
	size_t i = 1;

	while (i < n && ((unsigned char)s[i] & 0xc0) == 0x80)
		i++;
	return i;
}

static bool
same_byte(char a, char b, bool fold_case)
{
	if (a == b)
		return true;
	return fold_case && strncasecmp(&a, &b, 1) == 0;
}

bool
policy_match(const char *pattern, size_t len, const char *s, size_t n,
	     bool fold_case)
{
	size_t p = 0, i = 0, star = len, from = 0;

	/* Only the last * that was met is ever tried again, a byte on. */
	while (i < n) {
		if (p < len && pattern[p] == '*') {
			star = p++;
			from = i;
		} else if (p < len && pattern[p] == '?') {
			i += char_len(s + i, n - i);
			p++;
		} else if (p < len && same_byte(pattern[p], s[i], fold_case)) {
			i++;
			p++;
		} else if (star < len) {
			p = star + 1;
			i = ++from;
		} else {
			return false;
		}
	}
	while (p < len && pattern[p] == '*')
		p++;
	return p == len;
}

/* The part of ${s} up to the next colon, or, as the last one, all that is left;
 * false: there is none. */
static bool
next_part(const char **s, bool last, size_t *ret_len)
{
	size_t n = last ? strlen(*s) : strcspn(*s, ":");

	if (!last && (*s)[n] != ':')
		return false;
	*ret_len = n;
	return true;
}

/* Part by part, of ${nparts} that colons divide. */
static bool
match_parts(const char *pattern, const char *s, unsigned nparts, bool fold_case)
{
	size_t np, ns;
	unsigned i;

	if (strcmp(pattern, "*") == 0)
		return true;
	for (i = 1; i <= nparts; i++) {
		if (!next_part(&pattern, i == nparts, &np) ||
		    !next_part(&s, i == nparts, &ns) ||
		    !policy_match(pattern, np, s, ns, fold_case))
			return false;
		pattern += np + (i < nparts);
		s += ns + (i < nparts);
	}
	return true;
}

static unsigned
count_colons(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += *s == ':';
	return n;
}

#define ACTION_PARTS 2
#define RESOURCE_PARTS 5

static int
check_action(struct policy_parse *p, const char *what, const json_t *value)
{
	int r = policy_check_text(p, what, value);
	const char *s = json_string_value(value);

	if (r < 0 || strcmp(s, "*") == 0)
		return r;
	if (count_colons(s) != ACTION_PARTS - 1 || s[0] == ':' ||
	    s[strlen(s) - 1] == ':')
		return policy_wrong(p, "%s \"%s\" is not * or SERVICE:NAME",
				    what, s);
	return 0;
}

static int
check_resource(struct policy_parse *p, const char *what, const json_t *value)
{
	int r = policy_check_text(p, what, value);
	const char *s = json_string_value(value);

	if (r < 0 || strcmp(s, "*") == 0)
		return r;
	if (strncmp(s, "acs:", 4) != 0 || count_colons(s) < RESOURCE_PARTS - 1)
		return policy_wrong(p,
				    "%s \"%s\" is not * or "
				    "acs:SERVICE:REGION:ACCOUNT:REST",
				    what, s);
	return 0;
}

static bool
any_matches(const json_t *list, const char *s, unsigned nparts, bool fold_case)
{
	size_t i, n = policy_list_len(list);

	for (i = 0; i < n; i++)
		if (match_parts(json_string_value(policy_list_at(list, i)), s,
				nparts, fold_case))
			return true;
	return false;
}

/* Principals. */

#define RAM_PREFIX "acs:ram::"

static int
check_ram(struct policy_parse *p, const char *what, const json_t *value)
{
	int r = policy_check_text(p, what, value);
	const char *s = json_string_value(value), *rest, *star;

	if (r < 0 || strcmp(s, "*") == 0)
		return r;
	rest = strncmp(s, RAM_PREFIX, strlen(RAM_PREFIX)) == 0
		   ? strchr(s + strlen(RAM_PREFIX), ':')
		   : NULL;
	/* A wildcard within a name would be taken for more than it says. */
	star = strpbrk(s, "*?");
	if (!rest || !rest[1] ||
	    (star && (star != rest + 1 || strcmp(star, "*") != 0)))
		return policy_wrong(p,
				    "%s \"%s\" is not *, acs:ram::ACCOUNT:* "
				    "or acs:ram::ACCOUNT:user/NAME",
				    what, s);
	return 0;
}

static int
check_service(struct policy_parse *p, const char *what, const json_t *value)
{
	int r = policy_check_text(p, what, value);

	if (r == 0 && strpbrk(json_string_value(value), "*?"))
		r = policy_wrong(p, "%s is no name of a service", what);
	return r;
}

static int
check_principal(struct policy_parse *p, json_t *j)
{
	const char *name;
	json_t *v;
	int r = 0;

	if (!json_is_object(j) || json_object_size(j) == 0)
		return policy_wrong(p, "Principal is not {\"RAM\": [...]}");
	json_object_foreach(j, name, v)
	{
		if (strcmp(name, "RAM") == 0)
			r = policy_list(p, "Principal RAM", v, check_ram);
		else if (strcmp(name, "Service") == 0)
			r = policy_list(p, "Principal Service", v,
					check_service);
		else
			r = policy_wrong(p, "Principal \"%s\" is not known",
					 name);
		if (r < 0)
			return r;
	}
	return 0;
}

#define SERVICE_PREFIX "service/"

static bool
is_principal(const char *pattern, const struct policy_request *q)
{
	size_t len = strlen(q->account);

	if (strcmp(pattern, "*") == 0)
		return true;
	pattern += strlen(RAM_PREFIX);
	if (strncmp(pattern, q->account, len) != 0 || pattern[len] != ':')
		return false;
	pattern += len + 1;
	return strcmp(pattern, "*") == 0 || strcmp(pattern, q->principal) == 0;
}

static bool
principal_holds(const json_t *j, const struct policy_request *q)
{
	bool service =
	    strncmp(q->principal, SERVICE_PREFIX, strlen(SERVICE_PREFIX)) == 0;
	const json_t *list = json_object_get(j, service ? "Service" : "RAM");
	size_t i, n = list ? policy_list_len(list) : 0;
	const char *s;

	for (i = 0; i < n; i++) {
		s = json_string_value(policy_list_at(list, i));
		if (service
			? strcmp(s, q->principal + strlen(SERVICE_PREFIX)) == 0
			: is_principal(s, q))
			return true;
	}
	return false;
}

/* Statements. */

static int
check_element(struct policy_parse *p, enum policy_kind kind, const char *name,
	      json_t *v)
{
	const char *s = json_string_value(v);

	if (strcmp(name, "Effect") == 0)
		return s && (strcmp(s, "Allow") == 0 || strcmp(s, "Deny") == 0)
			   ? 0
			   : policy_wrong(p, "Effect is not Allow or Deny");
	if (strcmp(name, "Action") == 0 || strcmp(name, "NotAction") == 0)
		return policy_list(p, name, v, check_action);
	if (strcmp(name, "Resource") == 0)
		return policy_list(p, name, v, check_resource);
	if (strcmp(name, "Condition") == 0)
		return policy_check_condition(p, v);
	if (strcmp(name, "Sid") == 0)
		return s ? 0 : policy_wrong(p, "Sid is no text");
	if (strcmp(name, "Principal") == 0 && kind == POLICY_OF_KEY)
		return check_principal(p, v);
	if (strcmp(name, "Principal") == 0)
		return policy_wrong(p, "Principal is for a key's policy");
	return policy_wrong(p, "\"%s\" is not known", name);
}

static int
check_statement(struct policy_parse *p, enum policy_kind kind, json_t *s)
{
	const char *name;
	json_t *v;
	int r;

	if (!json_is_object(s))
		return policy_wrong(p, "it is no object");
	json_object_foreach(s, name, v)
	{
		r = check_element(p, kind, name, v);
		if (r < 0)
			return r;
	}
	if (!json_object_get(s, "Effect") || !json_object_get(s, "Resource"))
		return policy_wrong(p, "Effect or Resource is missing");
	if (!json_object_get(s, "Action") == !json_object_get(s, "NotAction"))
		return policy_wrong(p, "not one of Action and NotAction");
	if (kind == POLICY_OF_KEY && !json_object_get(s, "Principal"))
		return policy_wrong(p, "Principal is missing");
	return 0;
}

static bool
statement_holds(const json_t *s, const struct policy_request *q)
{
	const json_t *action = json_object_get(s, "Action");
	const json_t *but = json_object_get(s, "NotAction");
	const json_t *principal = json_object_get(s, "Principal");
	const json_t *condition = json_object_get(s, "Condition");

	if (principal && !principal_holds(principal, q))
		return false;
	if (action && !any_matches(action, q->action, ACTION_PARTS, true))
		return false;
	if (but && any_matches(but, q->action, ACTION_PARTS, true))
		return false;
	if (!any_matches(json_object_get(s, "Resource"), q->resource,
			 RESOURCE_PARTS, false))
		return false;
	return !condition || policy_condition_holds(condition, q);
}

/* Documents. */

static int
check_document(struct policy_parse *p, enum policy_kind kind, json_t *doc)
{
	const char *version =
	    json_string_value(json_object_get(doc, "Version"));
	json_t *all = json_object_get(doc, "Statement"), *s;
	const char *name;
	json_t *v;
	size_t i;
	int r;

	if (!json_is_object(doc))
		return policy_wrong(p, "it is no object");
	json_object_foreach(
	    doc, name,
	    v) if (strcmp(name, "Version") != 0 &&
		   strcmp(name, "Statement") !=
		       0) return policy_wrong(p, "\"%s\" is not known", name);
	if (!version || strcmp(version, "1") != 0)
		return policy_wrong(p, "Version is not \"1\"");
	if (!json_is_array(all) || json_array_size(all) == 0 ||
	    json_array_size(all) > POLICY_STATEMENTS_MAX)
		return policy_wrong(p, "Statement is no list of 1 to %d",
				    POLICY_STATEMENTS_MAX);
	json_array_foreach(all, i, s)
	{
		p->statement = (unsigned)i + 1;
		r = check_statement(p, kind, s);
		if (r < 0)
			return r;
	}
	return 0;
}

void
policy_free(struct policy *p)
{
	if (!p)
		return;
	json_decref(p->doc);
	free(p);
}

int
policy_parse(const char *text, size_t len, enum policy_kind kind,
	     struct policy **ret, char why[static POLICY_WHY_LEN])
{
	CLEANUP(policy_freep) struct policy *p = NULL;
	struct policy_parse parse = { why, 0 };
	json_error_t e;
	int r;

	if (len > POLICY_TEXT_MAX)
		return policy_wrong(&parse, "longer than %d bytes",
				    POLICY_TEXT_MAX);
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	r = wiped_parse(text, len, &p->doc, &e);
	if (r < 0)
		return r == -EINVAL
			   ? policy_wrong(&parse, "line %d: %s", e.line, e.text)
			   : r;
	r = check_document(&parse, kind, p->doc);
	if (r == 0)
		*ret = TAKE(p);
	return r;
}

enum policy_effect
policy_evaluate(const struct policy *p, const struct policy_request *q)
{
	enum policy_effect e = POLICY_SILENT;
	json_t *s;
	size_t i;

	json_array_foreach(json_object_get(p->doc, "Statement"), i, s)
	{
		const char *effect =
		    json_string_value(json_object_get(s, "Effect"));

		if (statement_holds(s, q))
			e = policy_combine(e, strcmp(effect, "Deny") == 0
						  ? POLICY_DENY
						  : POLICY_ALLOW);
	}
	return e;
}
