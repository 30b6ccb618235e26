/*
 * service.c - what is the same for all actions; see service.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service_private.h"

#define MAINTAIN_SECONDS 60

int
service_open(const struct settings *s, bool exclusive, struct service **ret)
{
	CLEANUP(service_closep) struct service *service = NULL;
	const struct quota_limits limits = {
		.per_second = { [QUOTA_ENCRYPT] = s->keystore_max_calls,
				[QUOTA_DECRYPT] = s->keystore_max_calls,
				[QUOTA_GENERATE] = s->keystore_max_calls,
				[QUOTA_REENCRYPT] = s->keystore_max_reencrypts,
				[QUOTA_MANAGE] = s->keystore_max_other_calls }
	};
	int r;

	service_json_init();
	service = calloc(1, sizeof(*service));
	if (!service)
		return -ENOMEM;
	service->settings = *s;
	r = exclusive ? keys_open_alone(s, &service->keys)
		      : keys_open(s, &service->keys);
	if (r == 0)
		r = authorizer_new(service->keys, &service->authorizer);
	if (r == 0)
		r = quota_new(&limits, &service->quota);
	if (r == 0)
		r = ledger_open(s, service->keys, exclusive, &service->ledger);
	if (r < 0)
		return r;
	atomic_store(&service->maintained, keys_now());
	*ret = TAKE(service);
	return 0;
}

void
service_close(struct service *s)
{
	if (!s)
		return;
	ledger_close(s->ledger);
	quota_free(s->quota);
	authorizer_free(s->authorizer);
	keys_close(s->keys);
	free(s);
}

/* A service that runs for long does by itself what is due; one of many threads
 * at a time. */
static void
maintain(struct service *s)
{
	int64_t last = atomic_load(&s->maintained), now = keys_now();

	if (now - last >= MAINTAIN_SECONDS &&
	    atomic_compare_exchange_strong(&s->maintained, &last, now))
		keys_maintain(s->keys);
}

/* Replies. */

int
service_reply_start(struct service_reply *ret)
{
	struct uuid id;
	int r;

	r = uuid_new(&id);
	if (r < 0)
		return r;
	uuid_format(&id, ret->request_id);
	ret->status = 200;
	ret->body = json_object();
	if (!ret->body)
		return -ENOMEM;
	return put_text(ret->body, "RequestId", ret->request_id);
}

void
service_reply_done(struct service_reply *r)
{
	json_decref(r->body);
	r->body = NULL;
}

/* A dry run ends in an error whatever comes of it. */
static enum service_code
dry(enum service_code c)
{
	switch (c) {
	case CODE_OK:
		return CODE_DRY_RUN;
	case CODE_NO_PERMISSION:
		return CODE_ACCESS_DENIED;
	case CODE_INTERNAL:
	case CODE_UNAVAILABLE:
	case CODE_THROTTLED:
		return c;
	default:
		return CODE_VALIDATION;
	}
}

/* Also if what came before it could not be parsed. */
static bool
is_dry(const struct action_call *c)
{
	const struct arg_def *d = c->a ? c->a->args : NULL;
	const char *given = call_param(c, "DryRun");

	while (d && d->name && strcmp(d->name, "DryRun") != 0)
		d++;
	return d && d->name && given && strcmp(given, "true") == 0;
}

static enum service_code
code_of(const struct action_call *c, int err)
{
	enum service_code code = c->code;

	if (err == 0 || code == CODE_OK)
		code = service_code_of(err, c->a ? c->a->row : KEYS_LOOK);
	return is_dry(c) ? dry(code) : code;
}

static int
act(struct action_call *c)
{
	int r;

	r = call_ready(c);
	if (r == 0)
		r = call_authenticate(c);
	if (r < 0)
		return r;
	c->a = action_find(c->q->action);
	if (!c->a) {
		c->code = CODE_INVALID_ACTION;
		return -EINVAL;
	}
	r = call_parse(c);
	if (r == 0)
		r = call_find_subjects(c);
	if (r == 0)
		r = call_authorize(c);
	if (r == 0)
		r = call_meter(c);
	return r < 0 ? r : c->a->run(c);
}

/* What an action has put into the answer before it failed is not told. */
static int
put_result(struct action_call *c, enum service_code code,
	   struct service_reply *reply)
{
	if (code == CODE_OK)
		return 0;
	if (json_object_clear(reply->body) < 0 ||
	    put_text(reply->body, "RequestId", reply->request_id) < 0)
		return -ENOMEM;
	return service_put_error(reply->body, code, c->bad ? c->bad : "",
				 &reply->status);
}

int
service_call(struct service *s, const struct service_request *q,
	     struct service_reply *ret)
{
	CLEANUP(service_reply_done) struct service_reply reply = { 0 };
	struct action_call c = { .s = s, .k = s->keys, .q = q };
	enum service_code code;
	int r;

	maintain(s);
	r = service_reply_start(&reply);
	if (r < 0)
		return -ENOMEM;
	c.body = reply.body;
	code = code_of(&c, act(&c));
	r = put_result(&c, code, &reply);
	/* What cannot be written down is not told either. */
	if (r == 0 && call_record(&c, code, &reply) < 0)
		r = put_result(&c, CODE_UNAVAILABLE, &reply);
	principal_done(&c.who);
	call_drop_subjects(&c);
	call_drop_args(&c);
	if (r < 0)
		return -ENOMEM;
	*ret = reply;
	reply.body = NULL;
	return 0;
}
