/*
 * service_access.c - who asks, whether he may, how often, and what is written
 * down of it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/clock.h>
#include <sealdisk/log.h>

#include "access.h"
#include "service_private.h"

#define RAM_SERVICE "ram"

/* Who. */

int
call_authenticate(struct action_call *c)
{
	const struct service_peer *p = &c->q->peer;
	struct authorizer *z = c->s->authorizer;
	int r;

	if (!c->q->access_key_id) {
		r = authorize_uid(z, p->uid, p->via == SERVICE_EMBEDDED,
				  &c->who);
		/* A carrier that knows no uid has nobody to speak for. */
		if (r == 0 && p->via != SERVICE_EMBEDDED &&
		    p->via != SERVICE_UNIX) {
			principal_done(&c->who);
			c->who.name[0] = '\0';
			r = -EPERM;
			c->code = CODE_NO_PERMISSION;
		}
		return r;
	}
	r = authorize_access_key(z, c->q->access_key_id, &c->who);
	if (r == -ENOKEY)
		c->code = CODE_NO_ACCESS_KEY;
	else if (r == -EKEYREVOKED)
		c->code = CODE_ACCESS_KEY_DISABLED;
	return r;
}

int
service_secret(struct service *s, const char *access_key_id,
	       char ret[static SERVICE_SECRET_LEN])
{
	_Static_assert(SERVICE_SECRET_LEN >= ACCESS_SECRET_LEN, "room");
	return access_secret(s->keys, access_key_id, ret);
}

int
service_stamp(struct service *s, const char *access_key_id, int64_t run,
	      int64_t time, int64_t now)
{
	return access_stamp(s->keys, access_key_id, run, time, now);
}

/* Whether he may. */

/* An encryption context as policies see it: that of what is opened, or made. */
static const struct context *
context_of(const struct action_call *c)
{
	static const char *const names[] = { "EncryptionContext",
					     "SourceEncryptionContext" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (call_arg(c, names[i])->text)
			return &call_arg(c, names[i])->ctx;
	return NULL;
}

_Static_assert(sizeof(struct policy_pair) == sizeof(struct context_pair),
	       "the same");

static void
ask_about(const struct action_call *c, const struct keys_subject *subject,
	  struct policy_pair *tags, struct authorize_question *q)
{
	const struct context *ctx = context_of(c);
	size_t i;

	q->source_ip = c->q->peer.via == SERVICE_HTTP ||
			       c->q->peer.via == SERVICE_TLS
			   ? c->q->peer.address
			   : NULL;
	q->secure_transport = c->q->peer.via != SERVICE_HTTP;
	if (ctx) {
		q->context =
		    (const struct policy_pair *)(const void *)ctx->pairs;
		q->n_context = ctx->n;
	}
	if (!subject)
		return;
	for (i = 0; i < subject->tags.n; i++)
		tags[i] = (struct policy_pair){ subject->tags.tags[i].name,
						subject->tags.tags[i].value };
	q->tags = tags;
	q->n_tags = subject->tags.n;
	q->key_policy = subject->policy;
	q->service_key = subject->is_service;
}

static int
ask(struct action_call *c, const char *service, const char *action,
    const char *resource, const struct keys_subject *subject)
{
	struct policy_pair tags[KEYS_TAGS_MAX];
	struct authorize_question q = { .service = service,
					.action = action,
					.resource = resource };
	int r;

	ask_about(c, subject, tags, &q);
	r = authorize(c->s->authorizer, &c->who, &q, c->why);
	if (r == -EKEYREJECTED)
		c->code = CODE_NO_PERMISSION;
	return r;
}

/* "acs:kms:REGION:ACCOUNT:key" and what follows. */
static void
arn_of(const struct action_call *c, const char *what, char *out, size_t cap)
{
	(void)snprintf(out, cap, "acs:kms:%s:" KEYS_ACCOUNT ":%s",
		       c->s->settings.kms_region, what);
}

static int
ask_of_all(struct action_call *c)
{
	const char *given = call_arg(c, "Principal")->text;
	char principal[KMS_PRINCIPAL_LEN], arn[KMS_ARN_LEN];

	if (c->a->class == CLASS_ADMIN) {
		if (given && principal_parse(given, principal) < 0)
			return call_refuse(c, "Principal");
		(void)snprintf(arn, sizeof(arn), "acs:ram::" KEYS_ACCOUNT ":%s",
			       given ? principal : "*");
		return ask(c, RAM_SERVICE, c->a->name, arn, NULL);
	}
	arn_of(c, strstr(c->a->name, "Alias") ? "alias" : "key", arn,
	       sizeof(arn));
	return ask(c, NULL, c->a->name, arn, NULL);
}

/* What an action on two keys asks of each has a name of its own. */
static const char *
action_on(const struct action_call *c, size_t i)
{
	if (c->a->scope != SCOPE_REENCRYPT)
		return c->a->name;
	return i == 0 ? "ReEncryptFrom" : "ReEncryptTo";
}

int
call_authorize(struct action_call *c)
{
	const char *alias = call_arg(c, "AliasName")->text;
	char arn[KMS_ARN_LEN + KMS_ALIAS_LEN];
	size_t i;
	int r = 0;

	if (strcmp(c->a->name, "DescribeRegions") == 0)
		return 0; /* anybody's, as the cloud has it */
	if (c->n_subjects == 0)
		return ask_of_all(c);
	for (i = 0; i < c->n_subjects && r == 0; i++)
		r = ask(c, NULL, action_on(c, i), c->subjects[i].arn,
			&c->subjects[i]);
	if (r < 0 || !alias || c->a->class != CLASS_MANAGE)
		return r;
	arn_of(c, alias, arn, sizeof(arn));
	return ask(c, NULL, c->a->name, arn, &c->subjects[0]);
}

/* How often. */

static enum quota_class
class_of(const struct action_call *c)
{
	if (c->a->class == CLASS_REENCRYPT)
		return QUOTA_REENCRYPT;
	if (c->a->class != CLASS_CRYPT)
		return QUOTA_MANAGE;
	if (strcmp(c->a->name, "Encrypt") == 0)
		return QUOTA_ENCRYPT;
	return strcmp(c->a->name, "Decrypt") == 0 ? QUOTA_DECRYPT
						  : QUOTA_GENERATE;
}

int
call_meter(struct action_call *c)
{
	int r;

	if (c->q->peer.via == SERVICE_EMBEDDED)
		return 0;
	r = quota_take(c->s->quota, c->who.name, class_of(c), clock_us());
	if (r == -EDQUOT)
		c->code = CODE_THROTTLED;
	return r;
}

/* What is written down. */

int
call_ready(struct action_call *c)
{
	int r;

	c->began = clock_us();
	r = ledger_ready(c->s->ledger);
	if (r < 0)
		c->code = CODE_UNAVAILABLE;
	return r;
}

/* The alias that a key was called by, or that is the action's matter. */
static const char *
alias_of(const struct action_call *c)
{
	const char *alias = call_arg(c, "AliasName")->text;
	const char *key = call_arg(c, "KeyId")->text;

	if (!alias && key && strncmp(key, "alias/", 6) == 0)
		alias = key;
	return alias;
}

static void
fill_event(const struct action_call *c, struct audit_event *e)
{
	const struct keys_subject *s = NULL;
	const char *id;

	if (c->n_subjects > 0) /* ReEncrypt: where it went */
		s = &c->subjects[c->a->scope == SCOPE_REENCRYPT
				     ? c->n_subjects - 1
				     : 0];
	id = json_string_value(
	    json_object_get(json_object_get(c->body, "KeyMetadata"), "KeyId"));
	e->key = s && s->id[0] ? s->id : id; /* CreateKey: the new one */
	if (c->used_version[0])
		e->version = c->used_version;
	else if (s && c->a->scope == SCOPE_BLOB && s->version[0])
		e->version = s->version;
	e->alias = alias_of(c);
	e->context = context_of(c);
}

static bool
is_billable(const struct action_call *c)
{
	return (c->a->class == CLASS_CRYPT || c->a->class == CLASS_REENCRYPT) &&
	       c->n_subjects > 0 && !c->subjects[c->n_subjects - 1].is_service;
}

static bool
changes_something(const struct action_call *c)
{
	return c->a->class == CLASS_MANAGE || c->a->class == CLASS_ADMIN;
}

int
call_record(struct action_call *c, enum service_code code,
	    const struct service_reply *reply)
{
	struct audit_event e = {
		.request_id = reply->request_id,
		.principal = c->who.name[0] ? c->who.name : NULL,
		.access_key = c->q->access_key_id,
		.peer = c->q->peer.address,
		.action = c->q->action,
		.result = code == CODE_OK ? "ok" : service_code_name(code),
		.reason = c->why[0] ? c->why : c->bad,
		.status = code == CODE_OK ? 200 : reply->status,
		.micros = (uint64_t)(clock_us() - c->began),
	};

	if (!c->a)
		return ledger_write(c->s->ledger, &e, false, false);
	fill_event(c, &e);
	return ledger_write(c->s->ledger, &e,
			    code == CODE_OK && changes_something(c),
			    is_billable(c));
}
