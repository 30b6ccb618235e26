/*
 * service_args.c - the parameters of a request, as its action's table has them.
 *
 * Parameters that an action does not know are passed over, as the gateways of
 * this API do.  An empty one is one that was not given, but for texts that may
 * be empty.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service_private.h"
#include "wiped.h"

#define CONTEXT_CHARS 8192

int
call_refuse(struct action_call *c, const char *name)
{
	c->code = CODE_INVALID_PARAMETER;
	c->bad = name;
	return -EINVAL;
}

const char *
call_param(const struct action_call *c, const char *name)
{
	for (size_t i = 0; i < c->q->n_params; i++)
		if (strcmp(c->q->params[i].name, name) == 0)
			return c->q->params[i].value;
	return NULL;
}

const struct arg *
call_arg(const struct action_call *c, const char *name)
{
	static const struct arg none;

	for (size_t i = 0; c->a->args[i].name; i++)
		if (strcmp(c->a->args[i].name, name) == 0)
			return &c->args[i];
	return &none;
}

int64_t
call_number(const struct action_call *c, const char *name, int64_t dflt)
{
	const struct arg *a = call_arg(c, name);

	return a->text ? a->number : dflt;
}

bool
call_flag(const struct action_call *c, const char *name)
{
	return call_number(c, name, 0) != 0;
}

/* Values. */

static size_t
count_chars(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static bool
is_one_of(const char *words, const char *s)
{
	size_t len = strlen(s), n;

	for (; *words; words += n + (words[n] == '|')) {
		n = strcspn(words, "|");
		if (n == len && memcmp(words, s, n) == 0)
			return true;
	}
	return false;
}

static bool
take_number(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	uint64_t v;

	if (parse_u64(s, &v) < 0 || v > INT64_MAX || (int64_t)v < min ||
	    (int64_t)v > max)
		return false;
	*ret = (int64_t)v;
	return true;
}

/* No unit is seconds. */
static bool
take_seconds(const char *s, int64_t *ret)
{
	static const char units[] = "smhd";
	static const int64_t worth[] = { 1, 60, 3600, 86400 };
	size_t len = strlen(s);
	const char *unit = len ? strchr(units, s[len - 1]) : NULL;
	char digits[16] = "";

	if (unit)
		len--;
	if (len >= sizeof(digits))
		return false;
	memcpy(digits, s, len);
	if (!take_number(digits, 0, INT32_MAX, ret))
		return false;
	*ret *= unit ? worth[unit - units] : 1;
	return true;
}

static int
take_data(const struct arg_def *d, struct arg *a)
{
	size_t room = (size_t)d->max;

	a->data = secret_alloc(room);
	if (!a->data)
		return -ENOMEM;
	a->room = room;
	if (base64_decode(a->text, a->data, room, &a->len) < 0 ||
	    a->len < (size_t)d->min)
		return -EINVAL;
	return 0;
}

static int
parse_json(struct arg *a)
{
	json_error_t why;

	return wiped_parse(a->text, strlen(a->text), &a->json, &why);
}

static int
take_context(struct arg *a)
{
	struct context_pair *pairs;
	const char *name;
	json_t *v;
	size_t n = 0;
	int r;

	if (count_chars(a->text) > CONTEXT_CHARS)
		return -EINVAL;
	r = parse_json(a);
	if (r < 0)
		return r;
	if (!json_is_object(a->json))
		return -EINVAL;
	pairs = calloc(json_object_size(a->json) + 1, sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	a->ctx.pairs = pairs;
	json_object_foreach(a->json, name, v)
	{
		if (!json_is_string(v))
			return -EINVAL;
		pairs[n++] =
		    (struct context_pair){ name, json_string_value(v) };
	}
	a->ctx.n = n;
	return 0;
}

static int
take_json(const struct arg_def *d, struct arg *a)
{
	int r = parse_json(a);

	if (r < 0)
		return r;
	return json_is_array(a->json) &&
		       json_array_size(a->json) <= (size_t)d->max
		   ? 0
		   : -EINVAL;
}

static bool
take_bool(const char *s, int64_t *ret)
{
	*ret = strcmp(s, "true") == 0;
	return *ret || strcmp(s, "false") == 0;
}

static int
take_alias(const char *s)
{
	return keys_check_alias(s) < 0 && strcmp(s, KMS_SERVICE_ALIAS) != 0
		   ? -EINVAL
		   : 0;
}

static int
take(const struct arg_def *d, struct arg *a)
{
	bool good = true;

	switch (d->type) {
	case ARG_KEY:
	case ARG_KEY_OR_ALIAS:
		good = strlen(a->text) < KMS_ARN_LEN;
		break;
	case ARG_ALIAS:
		return take_alias(a->text);
	case ARG_TEXT:
		good = count_chars(a->text) >= (size_t)d->min &&
		       count_chars(a->text) <= (size_t)d->max;
		break;
	case ARG_WORD:
		good = is_one_of(d->words, a->text);
		break;
	case ARG_NUMBER:
		good = take_number(a->text, d->min, d->max, &a->number);
		break;
	case ARG_SECONDS:
		good = take_seconds(a->text, &a->number);
		break;
	case ARG_BOOL:
		good = take_bool(a->text, &a->number);
		break;
	case ARG_DATA:
		return take_data(d, a);
	case ARG_CONTEXT:
		return take_context(a);
	case ARG_JSON:
		return take_json(d, a);
	case ARG_REFUSED:
		good = false;
		break;
	}
	return good ? 0 : -EINVAL;
}

int
call_parse(struct action_call *c)
{
	const struct arg_def *d;
	struct arg *a;
	int r;

	for (d = c->a->args, a = c->args; d->name; d++, a++) {
		bool may_be_empty = d->type == ARG_TEXT && d->min == 0;

		a->text = call_param(c, d->name);
		if (a->text && !a->text[0] && !may_be_empty)
			a->text = NULL;
		if (!a->text && !d->required)
			continue;
		c->bad = d->name;
		if (!a->text) {
			c->code = CODE_MISSING_PARAMETER;
			return -EINVAL;
		}
		r = take(d, a);
		if (r < 0)
			return r == -EINVAL ? call_refuse(c, d->name) : r;
	}
	c->bad = NULL;
	return 0;
}

void
call_drop_args(struct action_call *c)
{
	for (size_t i = 0; i < ARGS_MAX; i++) {
		struct arg *a = &c->args[i];

		secret_free(a->data, a->room);
		free((void *)(uintptr_t)a->ctx.pairs);
		json_decref(a->json);
		*a = (struct arg){ .text = NULL };
	}
}

/* Tags. */

static bool
has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool
is_tag_text(const char *s)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "/\\_-.+=:@";
	size_t len = strlen(s);

	return len < KEYS_TAG_LEN && strspn(s, good) == len;
}

bool
tag_is_good(const char *name, const char *value)
{
	return name[0] && is_tag_text(name) && is_tag_text(value) &&
	       !has_prefix(name, "aliyun") && !has_prefix(name, "acs:");
}

int
tag_add(struct keys_tags *tags, const char *name, const char *value)
{
	struct keys_tag *t = &tags->tags[tags->n];

	if (!tag_is_good(name, value) || tags->n == KEYS_TAGS_MAX)
		return -EINVAL;
	memcpy(t->name, name, strlen(name) + 1);
	memcpy(t->value, value, strlen(value) + 1);
	tags->n++;
	return 0;
}

int
call_tags(struct action_call *c, const char *name, struct keys_tags *ret)
{
	const json_t *array = call_arg(c, name)->json;
	const char *key, *value;
	json_t *tag;
	size_t i;

	ret->n = 0;
	json_array_foreach(array, i, tag)
	{
		key = json_string_value(json_object_get(tag, "TagKey"));
		value = json_string_value(json_object_get(tag, "TagValue"));
		if (!key || !value || json_object_size(tag) != 2 ||
		    tag_add(ret, key, value) < 0)
			return call_refuse(c, name);
	}
	return 0;
}
