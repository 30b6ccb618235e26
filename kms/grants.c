/*
 * grants.c - see grants.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "authorize.h"
#include "grants.h"
#include "keys_private.h"
#include "wiped.h"

#define ARN "acs:ram::" KEYS_ACCOUNT ":"

static void
json_freep(json_t **j)
{
	json_decref(*j);
}

/* A document of one statement, for no principal yet. */
static json_t *
new_statement(void)
{
	return json_pack("{ss ss s{s[]} s[sssss] s[s]}", "Sid", GRANTS_SID,
			 "Effect", "Allow", "Principal", "RAM", "Action",
			 "kms:DescribeKey", "kms:Encrypt", "kms:Decrypt",
			 "kms:GenerateDataKey*", "kms:ReEncrypt*", "Resource",
			 "*");
}

/* Where our statement is; json_array_size(): nowhere. */
static size_t
find_ours(const json_t *statements)
{
	const char *sid;
	size_t i;
	json_t *s;

	json_array_foreach(statements, i, s)
	{
		sid = json_string_value(json_object_get(s, "Sid"));
		if (sid && strcmp(sid, GRANTS_SID) == 0)
			return i;
	}
	return json_array_size(statements);
}

/* Its list of principals, as an array whatever it was. */
static json_t *
principals_of(json_t *statement)
{
	json_t *p = json_object_get(statement, "Principal");
	json_t *list = json_object_get(p, "RAM");

	if (!list || json_is_string(list)) {
		json_t *one = json_array();

		if (one && list && json_array_append(one, list) < 0)
			return NULL;
		if (json_object_set_new(p, "RAM", one) < 0)
			return NULL;
		list = one;
	}
	return list;
}

static size_t
find_arn(const json_t *list, const char *arn)
{
	const char *s;
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		s = json_string_value(json_array_get(list, i));
		if (s && strcmp(s, arn) == 0)
			break;
	}
	return i;
}

static int
add_to(json_t *statements, const char *arn)
{
	size_t i = find_ours(statements);
	json_t *list;

	if (i == json_array_size(statements) &&
	    json_array_append_new(statements, new_statement()) < 0)
		return -ENOMEM;
	list = principals_of(json_array_get(statements, i));
	if (!list)
		return -ENOMEM;
	if (find_arn(list, arn) < json_array_size(list))
		return -EALREADY;
	return json_array_append_new(list, json_string(arn)) < 0 ? -ENOMEM : 0;
}

static int
take_from(json_t *statements, const char *arn)
{
	size_t i = find_ours(statements), at;
	json_t *list;

	if (i == json_array_size(statements))
		return -EALREADY;
	list = principals_of(json_array_get(statements, i));
	if (!list)
		return -ENOMEM;
	at = find_arn(list, arn);
	if (at == json_array_size(list))
		return -EALREADY;
	(void)json_array_remove(list, at);
	/* A statement for nobody is none. */
	if (json_array_size(list) == 0)
		(void)json_array_remove(statements, i);
	return 0;
}

/* What is in the keystore was checked when it was set; it may be a lone
 * statement that is ours. */
static int
load(const char *policy, json_t **ret)
{
	CLEANUP(policy_freep) struct policy *p = NULL;
	char why[POLICY_WHY_LEN];
	json_error_t wrong;
	int r;

	if (!policy || !policy[0]) {
		*ret = json_pack("{ss s[]}", "Version", "1", "Statement");
		return *ret ? 0 : -ENOMEM;
	}
	r = policy_parse(policy, strlen(policy), POLICY_OF_KEY, &p, why);
	if (r < 0)
		return r;
	return wiped_parse(policy, strlen(policy), ret, &wrong);
}

static int
dump(const json_t *doc, char **ret)
{
	CLEANUP(policy_freep) struct policy *p = NULL;
	CLEANUP(free_memp) char *text = NULL;
	char why[POLICY_WHY_LEN];
	int r;

	if (json_array_size(json_object_get(doc, "Statement")) == 0) {
		*ret = strdup("");
		return *ret ? 0 : -ENOMEM;
	}
	text = json_dumps(doc, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	r = policy_parse(text, strlen(text), POLICY_OF_KEY, &p, why);
	if (r == 0)
		*ret = TAKE(text);
	return r;
}

int
grants_edit(const char *policy, const char *principal, bool add, char **ret)
{
	CLEANUP(json_freep) json_t *doc = NULL;
	char arn[KMS_PRINCIPAL_LEN + 32];
	json_t *statements;
	int r;

	r = load(policy, &doc);
	if (r < 0)
		return r;
	(void)snprintf(arn, sizeof(arn), ARN "%s", principal);
	statements = json_object_get(doc, "Statement");
	r = add ? add_to(statements, arn) : take_from(statements, arn);
	return r < 0 ? r : dump(doc, ret);
}

/* Within a transaction. */

static int
change_policy(struct keys *k, const struct keystore_key *row,
	      const char *principal, bool add)
{
	CLEANUP(free_memp) char *policy = NULL, *edited = NULL;
	int r;

	r = keystore_get_text(k->ks, row->seq, KEYSTORE_POLICY, &policy);
	if (r == 0)
		r = grants_edit(policy, principal, add, &edited);
	if (r < 0)
		return r;
	return keystore_set_text(k->ks, row->seq, KEYSTORE_POLICY,
				 edited[0] ? edited : NULL);
}

static bool
is_tagged(const struct keys_tags *tags)
{
	size_t i;

	for (i = 0; i < tags->n; i++)
		if (strcmp(tags->tags[i].name, AUTHORIZE_DISK_TAG) == 0)
			return strcmp(tags->tags[i].value, "true") == 0;
	return false;
}

static int
change_tag(struct keys *k, const struct keystore_key *row, bool add)
{
	const struct keys_tags tag = { { { AUTHORIZE_DISK_TAG, "true" } }, 1 };
	struct keys_tags tags;
	int r;

	r = keys_read_tags(k, row, &tags);
	if (r < 0)
		return r;
	if (is_tagged(&tags) == add)
		return -EALREADY;
	if (add)
		return keys_put_tags(k, row, &tag);
	return keystore_remove_tag(k->ks, row->seq, AUTHORIZE_DISK_TAG);
}

int
grants_change(struct keys *k, const char *id, const char *principal, bool add)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin(&c, k, true);
	if (r == 0)
		r = keys_find_id(k, id, &row);
	if (r == 0)
		r = keys_allowed(KEYS_CHANGE, &row);
	if (r < 0)
		return r;
	if (strcmp(principal, AUTHORIZE_DISK_SERVICE) == 0)
		r = change_tag(k, &row, add);
	else
		r = change_policy(k, &row, principal, add);
	return r < 0 ? r : keys_commit(&c);
}
