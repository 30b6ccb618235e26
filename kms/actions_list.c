/*
 * actions_list.c - ListKeys and its filters.
 *
 * A filter is a key and the values that it may have; all filters must hold.
 */
#include <errno.h>
#include <string.h>

#include "service_private.h"

#define VALUES_MAX 20

/* What a filter is held against. */
struct candidate {
	struct kms_key_info info;
	struct keys_tags tags;
};

static const char *
spec_of(const struct candidate *k)
{
	(void)k;
	return "Aliyun_AES_256";
}

static const char *
usage_of(const struct candidate *k)
{
	(void)k;
	return "ENCRYPT/DECRYPT";
}

static const char *
state_of(const struct candidate *k)
{
	return kms_state_name(k->info.state);
}

static const char *
level_of(const struct candidate *k)
{
	return k->info.instance[0] ? "HSM" : "SOFTWARE";
}

static const char *
creator_type_of(const struct candidate *k)
{
	return strcmp(k->info.creator, "Ecs") == 0 ? "Service" : "User";
}

static const char *
creator_of(const struct candidate *k)
{
	return k->info.creator;
}

static const char *
instance_of(const struct candidate *k)
{
	return k->info.instance;
}

static const char *
id_of(const struct candidate *k)
{
	return k->info.id;
}

static const struct {
	const char *key;
	const char *(*value)(const struct candidate *k);
} plain[] = {
	{ "KeyState", state_of },           { "KeySpec", spec_of },
	{ "KeyUsage", usage_of },           { "ProtectionLevel", level_of },
	{ "CreatorType", creator_type_of }, { "Creator", creator_of },
	{ "DKMSInstanceId", instance_of },  { "KeyId", id_of },
};
#define NPLAIN (sizeof(plain) / sizeof(plain[0]))

static bool
has_value(const json_t *values, const char *s)
{
	json_t *v;
	size_t i;

	json_array_foreach(values, i, v)
	{
		if (strcmp(json_string_value(v), s) == 0)
			return true;
	}
	return false;
}

static bool
tags_match(const json_t *values, const struct keys_tags *tags, bool by_name)
{
	for (size_t i = 0; i < tags->n; i++)
		if (has_value(values, by_name ? tags->tags[i].name
					      : tags->tags[i].value))
			return true;
	return false;
}

/* 1: one of the values is an alias of the key. */
static int
aliases_match(struct action_call *c, const json_t *values, const char *id)
{
	struct kms_key_info info;
	const char *alias;
	json_t *v;
	size_t i;
	int r;

	json_array_foreach(values, i, v)
	{
		alias = json_string_value(v);
		if (strncmp(alias, "alias/", 6) != 0)
			continue;
		r = keys_describe(c->k, alias, &info);
		if (r < 0 && r != -ENOKEY && r != -EIDRM)
			return r;
		if (r == 0 && strcmp(info.id, id) == 0)
			return 1;
	}
	return 0;
}

static int
filter_match(struct action_call *c, const json_t *filter,
	     const struct candidate *k)
{
	const char *key = json_string_value(json_object_get(filter, "Key"));
	const json_t *values = json_object_get(filter, "Values");

	for (size_t i = 0; i < NPLAIN; i++)
		if (strcmp(plain[i].key, key) == 0)
			return has_value(values, plain[i].value(k));
	if (strcmp(key, "AliasName") == 0)
		return aliases_match(c, values, k->info.id);
	return tags_match(values, &k->tags, strcmp(key, "TagKey") == 0);
}

/* Filters, once: their keys are known, their values are texts. */

static bool
is_filter_key(const char *key)
{
	for (size_t i = 0; i < NPLAIN; i++)
		if (strcmp(plain[i].key, key) == 0)
			return true;
	return strcmp(key, "AliasName") == 0 || strcmp(key, "TagKey") == 0 ||
	       strcmp(key, "TagValue") == 0;
}

static bool
is_filter(const json_t *filter)
{
	const char *key = json_string_value(json_object_get(filter, "Key"));
	const json_t *values = json_object_get(filter, "Values");
	json_t *v;
	size_t i;

	if (!key || !is_filter_key(key) || !json_is_array(values) ||
	    json_array_size(values) > VALUES_MAX ||
	    json_object_size(filter) != 2)
		return false;
	json_array_foreach(values, i, v)
	{
		if (!json_is_string(v))
			return false;
	}
	return true;
}

static int
check_filters(struct action_call *c, const json_t *filters)
{
	json_t *f;
	size_t i;

	json_array_foreach(filters, i, f)
	{
		if (!is_filter(f))
			return call_refuse(c, "Filters");
	}
	return 0;
}

/* 1: all hold. */
static int
all_match(struct action_call *c, const json_t *filters, struct candidate *k)
{
	json_t *f;
	size_t i;
	int r;

	if (json_array_size(filters) == 0)
		return 1;
	r = keys_get_tags(c->k, k->info.id, &k->tags);
	if (r < 0)
		return r == -EIDRM ? 0 : r;
	json_array_foreach(filters, i, f)
	{
		r = filter_match(c, f, k);
		if (r <= 0)
			return r;
	}
	return 1;
}

int
action_list_keys(struct action_call *c)
{
	const json_t *filters = call_arg(c, "Filters")->json;
	json_t *list = put_list(c->body, "Keys", "Key"), *one;
	struct page page = page_of(c);
	struct candidate k;
	int64_t pos = 0;
	int r = list ? check_filters(c, filters) : -ENOMEM;

	while (r >= 0) {
		r = keys_next(c->k, &pos, &k.info);
		if (r == -ENOKEY)
			return page_put(&page, c->body);
		if (r == 0)
			r = all_match(c, filters, &k);
		if (r <= 0 || !page_takes(&page))
			continue;
		one = json_pack("{ss ss}", "KeyId", k.info.id, "KeyArn",
				k.info.arn);
		if (!one || json_array_append_new(list, one) < 0)
			r = -ENOMEM;
	}
	return r;
}
