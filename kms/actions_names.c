/*
 * actions_names.c - aliases and tags.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "service_private.h"

/* Aliases. */

/* The service's own are not for customers; a name of that form passes as a
 * parameter, so that it can be looked at. */
static int
check_own(struct action_call *c, const char *alias)
{
	return keys_check_alias(alias) < 0 ? call_refuse(c, "AliasName") : 0;
}

int
action_create_alias(struct action_call *c)
{
	const char *alias = call_arg(c, "AliasName")->text;
	int r = check_own(c, alias);

	return r < 0 ? r : keys_create_alias(c->k, alias, c->subjects[0].id);
}

int
action_update_alias(struct action_call *c)
{
	const char *alias = call_arg(c, "AliasName")->text;
	int r = check_own(c, alias);

	return r < 0 ? r : keys_update_alias(c->k, alias, c->subjects[0].id);
}

int
action_delete_alias(struct action_call *c)
{
	const char *alias = call_arg(c, "AliasName")->text;
	int r = check_own(c, alias);

	if (r == 0)
		r = keys_delete_alias(c->k, alias);
	return r == -ENOKEY ? -ENOSTR : r;
}

/* From acs:kms:REGION:ACCOUNT:key/ID. */
static int
alias_arn(struct action_call *c, const char *alias, char *out, size_t cap)
{
	int n = snprintf(out, cap, "acs:kms:%s:local:%s",
			 c->s->settings.kms_region, alias);

	return n < 0 || (size_t)n >= cap ? -EINVAL : 0;
}

static int
add_alias(struct action_call *c, json_t *list, const char *alias,
	  const char *key)
{
	json_t *one = json_object();
	char arn[KMS_ARN_LEN + KMS_ALIAS_LEN];
	int r = one ? 0 : -ENOMEM;

	if (r == 0)
		r = put_text(one, "AliasName", alias);
	if (r == 0)
		r = put_text(one, "KeyId", key);
	if (r == 0)
		r = alias_arn(c, alias, arn, sizeof(arn));
	if (r == 0)
		r = put_text(one, "AliasArn", arn);
	if (r == 0 && json_array_append(list, one) < 0)
		r = -ENOMEM;
	json_decref(one);
	return r;
}

/* ${of} NULL: of all keys. */
static int
list_aliases(struct action_call *c, const char *of)
{
	char alias[KMS_ALIAS_LEN], key[KMS_ID_LEN];
	json_t *list = put_list(c->body, "Aliases", "Alias");
	struct page page = page_of(c);
	int64_t pos = 0;
	int r = list ? 0 : -ENOMEM;

	while (r == 0) {
		r = keys_next_alias(c->k, &pos, alias, key);
		if (r == -ENOKEY)
			return page_put(&page, c->body);
		if (r == 0 && (!of || strcmp(of, key) == 0) &&
		    page_takes(&page))
			r = add_alias(c, list, alias, key);
	}
	return r;
}

int
action_list_aliases(struct action_call *c)
{
	return list_aliases(c, NULL);
}

int
action_list_aliases_by_key_id(struct action_call *c)
{
	return list_aliases(c, c->subjects[0].id);
}

/* Tags of one key. */

int
action_tag_resource(struct action_call *c)
{
	struct keys_tags tags;
	int r = call_tags(c, "Tags", &tags);

	return r < 0 ? r : keys_tag(c->k, c->subjects[0].id, &tags);
}

/* Whoever may change tags may not take a grant back that way. */
static int
add_name(struct action_call *c, const char *param, const char *name,
	 struct keys_tags *to)
{
	return name && tag_add(to, name, "") == 0 ? 0 : call_refuse(c, param);
}

int
action_untag_resource(struct action_call *c)
{
	const json_t *array = call_arg(c, "TagKeys")->json;
	struct keys_tags names = { .n = 0 };
	json_t *name;
	size_t i;
	int r;

	json_array_foreach(array, i, name)
	{
		r = add_name(c, "TagKeys", json_string_value(name), &names);
		if (r < 0)
			return r;
	}
	return keys_untag(c->k, c->subjects[0].id, &names);
}

int
action_list_resource_tags(struct action_call *c)
{
	json_t *list = put_list(c->body, "Tags", "Tag"), *one;
	const char *id = c->subjects[0].id;
	struct keys_tags tags;
	size_t i;
	int r;

	if (!list)
		return -ENOMEM;
	r = keys_get_tags(c->k, id, &tags);
	for (i = 0; r == 0 && i < tags.n; i++) {
		one = json_pack("{ss ss ss}", "KeyId", id, "TagKey",
				tags.tags[i].name, "TagValue",
				tags.tags[i].value);
		if (!one || json_array_append_new(list, one) < 0)
			r = -ENOMEM;
	}
	return r;
}

/* Tags of many keys. */

/* PREFIX.N.Key and .Value, or with ${part} NULL PREFIX.N. */
static const char *
numbered(struct action_call *c, const char *prefix, size_t n, const char *part)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%s.%zu%s%s", prefix, n,
		       part ? "." : "", part ? part : "");
	return call_param(c, name);
}

/* ${values}: one without a value is no tag. */
static int
take_tags(struct action_call *c, struct keys_tags *ret)
{
	const char *name, *value;

	for (ret->n = 0;;) {
		name = numbered(c, "Tag", ret->n + 1, "Key");
		value = numbered(c, "Tag", ret->n + 1, "Value");
		if (!name && !value)
			return 0;
		if (!name || tag_add(ret, name, value ? value : "") < 0)
			return call_refuse(c, "Tag");
	}
}

static int
need_resources(struct action_call *c)
{
	if (c->n_subjects)
		return 0;
	c->code = CODE_MISSING_PARAMETER;
	c->bad = "ResourceId";
	return -EINVAL;
}

int
action_tag_resources(struct action_call *c)
{
	struct keys_tags tags;
	size_t i;
	int r;

	r = need_resources(c);
	if (r == 0)
		r = take_tags(c, &tags);
	if (r == 0 && tags.n == 0)
		r = call_refuse(c, "Tag");
	for (i = 0; r == 0 && i < c->n_subjects; i++)
		r = keys_tag(c->k, c->subjects[i].id, &tags);
	return r;
}

static int
take_tag_keys(struct action_call *c, struct keys_tags *ret)
{
	const char *name;
	int r = 0;

	ret->n = 0;
	while (r == 0) {
		name = numbered(c, "TagKey", ret->n + 1, NULL);
		if (!name)
			return 0;
		r = add_name(c, "TagKey", name, ret);
	}
	return r;
}

/* All of a key's, but for those that customers cannot set. */
static void
take_all_keys(const struct keys_tags *of, struct keys_tags *ret)
{
	ret->n = 0;
	for (size_t i = 0; i < of->n; i++)
		if (tag_add(ret, of->tags[i].name, "") < 0)
			continue;
}

int
action_untag_resources(struct action_call *c)
{
	bool all = call_flag(c, "All");
	struct keys_tags names;
	size_t i;
	int r;

	r = need_resources(c);
	if (r == 0)
		r = take_tag_keys(c, &names);
	if (r == 0 && names.n == 0 && !all)
		r = call_refuse(c, "TagKey");
	for (i = 0; r == 0 && i < c->n_subjects; i++) {
		if (all)
			take_all_keys(&c->subjects[i].tags, &names);
		r = keys_untag(c->k, c->subjects[i].id, &names);
	}
	return r;
}

#define TAGGED_KEYS_MAX 50 /* in one answer */

static bool
is_wanted(const struct keys_tags *want, const struct keys_tag *t)
{
	for (size_t i = 0; i < want->n; i++)
		if (strcmp(want->tags[i].name, t->name) == 0 &&
		    (!want->tags[i].value[0] ||
		     strcmp(want->tags[i].value, t->value) == 0))
			return true;
	return want->n == 0;
}

static int
add_tags(json_t *list, const char *id, const struct keys_tags *tags,
	 const struct keys_tags *want)
{
	const struct keys_tag *t;
	json_t *one;

	for (t = tags->tags; t < tags->tags + tags->n; t++) {
		if (!is_wanted(want, t))
			continue;
		one = json_pack("{ss ss ss ss}", "ResourceType", "key",
				"ResourceId", id, "TagKey", t->name, "TagValue",
				t->value);
		if (!one || json_array_append_new(list, one) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* All keys, from where the token says.  *${ret_next} 0: that was all. */
static int
add_all_tags(struct action_call *c, json_t *list, const struct keys_tags *want,
	     int64_t *ret_next)
{
	int64_t pos = call_number(c, "NextToken", 0);
	struct kms_key_info info;
	struct keys_tags tags;
	unsigned n = 0;
	int r = 0;

	*ret_next = 0;
	while (r == 0) {
		r = keys_next(c->k, &pos, &info);
		if (r == -ENOKEY)
			return 0;
		if (r == 0)
			r = keys_get_tags(c->k, info.id, &tags);
		if (r == -EIDRM) { /* its time came meanwhile */
			r = 0;
			continue;
		}
		if (r == 0)
			r = add_tags(list, info.id, &tags, want);
		if (r == 0 && ++n == TAGGED_KEYS_MAX) {
			*ret_next = pos;
			return 0;
		}
	}
	return r;
}

int
action_list_tag_resources(struct action_call *c)
{
	json_t *list = put_list(c->body, "TagResources", "TagResource");
	struct keys_tags want;
	int64_t next = 0;
	char token[24] = "";
	size_t i;
	int r = list ? take_tags(c, &want) : -ENOMEM;

	if (r == 0 && c->n_subjects == 0)
		r = add_all_tags(c, list, &want, &next);
	for (i = 0; r == 0 && i < c->n_subjects; i++)
		r = add_tags(list, c->subjects[i].id, &c->subjects[i].tags,
			     &want);
	if (next)
		(void)snprintf(token, sizeof(token), "%lld", (long long)next);
	return r < 0 ? r : put_text(c->body, "NextToken", token);
}
