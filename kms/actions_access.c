/*
 * actions_access.c - access keys, the policies of principals, grants: actions
 * of this service alone, as RAM has them for the cloud's.
 */
#include <errno.h>
#include <string.h>

#include "access.h"
#include "grants.h"
#include "service_private.h"

/* -EINVAL, refused: what was given is none. */
static int
principal_of(struct action_call *c, char ret[static KMS_PRINCIPAL_LEN])
{
	if (principal_parse(call_arg(c, "Principal")->text, ret) < 0)
		return call_refuse(c, "Principal");
	return 0;
}

static const char *
id_of(const struct action_call *c)
{
	return call_arg(c, "UserAccessKeyId")->text;
}

static int
no_such_access_key(struct action_call *c, int err)
{
	if (err == -ENOKEY)
		c->code = CODE_NO_ACCESS_KEY;
	return err;
}

static json_t *
access_json(const struct access_key *a)
{
	char created[TIME_STR_LEN];

	format_time(a->created, created);
	return json_pack("{ss ss ss ss}", "AccessKeyId", a->id, "Principal",
			 a->principal, "Status",
			 a->enabled ? "Active" : "Inactive", "CreateDate",
			 created);
}

int
action_create_access_key(struct action_call *c)
{
	char principal[KMS_PRINCIPAL_LEN];
	char *secret = secret_alloc(ACCESS_SECRET_LEN);
	struct access_key a;
	json_t *j;
	int r;

	r = secret ? principal_of(c, principal) : -ENOMEM;
	if (r == 0)
		r = access_create(c->k, principal, &a, secret);
	if (r == 0) {
		j = access_json(&a);
		r = put_json(c->body, "AccessKey", j);
		if (r == 0)
			r = put_text(j, "AccessKeySecret", secret);
	}
	secret_free(secret, ACCESS_SECRET_LEN);
	return r;
}

int
action_list_access_keys(struct action_call *c)
{
	json_t *list = put_list(c->body, "AccessKeys", "AccessKey");
	bool all = !call_arg(c, "Principal")->text;
	struct page page = page_of(c);
	char principal[KMS_PRINCIPAL_LEN] = "";
	struct access_key a;
	int64_t pos = 0;
	int r = list ? 0 : -ENOMEM;

	if (r == 0 && !all)
		r = principal_of(c, principal);
	while (r == 0) {
		r = access_next(c->k, &pos, &a);
		if (r == 0 && (all || strcmp(a.principal, principal) == 0) &&
		    page_takes(&page) &&
		    json_array_append_new(list, access_json(&a)) < 0)
			r = -ENOMEM;
	}
	return r == -ENOKEY ? page_put(&page, c->body) : r;
}

int
action_update_access_key(struct action_call *c)
{
	bool on = strcmp(call_arg(c, "Status")->text, "Active") == 0;

	return no_such_access_key(c, access_enable(c->k, id_of(c), on));
}

int
action_delete_access_key(struct action_call *c)
{
	return no_such_access_key(c, access_delete(c->k, id_of(c)));
}

/* Policies. */

int
action_set_policy(struct action_call *c)
{
	char principal[KMS_PRINCIPAL_LEN];
	int r = principal_of(c, principal);

	if (r < 0)
		return r;
	r = authorize_set_policy(c->s->authorizer, principal,
				 call_arg(c, "PolicyDocument")->text, c->why);
	return r == -EINVAL ? call_refuse(c, "PolicyDocument") : r;
}

/* One who has none has the name of nothing here. */
static int
no_such_policy(struct action_call *c, int err)
{
	return err == -ENOKEY ? call_refuse(c, "Principal") : err;
}

int
action_get_policy(struct action_call *c)
{
	CLEANUP(free_memp) char *text = malloc(POLICY_TEXT_MAX + 1);
	char principal[KMS_PRINCIPAL_LEN];
	int r = text ? principal_of(c, principal) : -ENOMEM;

	if (r == 0)
		r = authorize_get_policy(c->s->authorizer, principal, text);
	if (r < 0)
		return no_such_policy(c, r);
	return put_text(c->body, "PolicyDocument", text);
}

int
action_delete_policy(struct action_call *c)
{
	char principal[KMS_PRINCIPAL_LEN];
	int r = principal_of(c, principal);

	if (r < 0)
		return r;
	return no_such_policy(c, authorize_remove_policy(c->s->authorizer,
							 principal));
}

int
action_list_policies(struct action_call *c)
{
	json_t *list = put_list(c->body, "Policies", "Policy");
	char name[KMS_PRINCIPAL_LEN] = "";
	int r = list ? 0 : -ENOMEM;

	while (r == 0) {
		r = authorize_next_policy(c->s->authorizer, name, name);
		if (r == 0 &&
		    json_array_append_new(list, json_pack("{ss}", "Principal",
							  name)) < 0)
			r = -ENOMEM;
	}
	return r == -ENOKEY ? 0 : r;
}

/* Grants.  That nothing changes is no error, as with tags. */

static int
grant(struct action_call *c, bool add)
{
	char principal[KMS_PRINCIPAL_LEN];
	int r = principal_of(c, principal);

	if (r == 0)
		r = grants_change(c->k, c->subjects[0].id, principal, add);
	return r == -EALREADY ? 0 : r;
}

int
action_grant_key(struct action_call *c)
{
	return grant(c, true);
}

int
action_revoke_key(struct action_call *c)
{
	return grant(c, false);
}
