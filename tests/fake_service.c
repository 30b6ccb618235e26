/*
 * fake_service.c - a service that says what was asked of it.
 */
#include "fake_service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static json_t *
params_of(const struct service_request *q)
{
	json_t *o = json_object();

	for (size_t i = 0; i < q->n_params; i++)
		(void)json_object_set_new(o, q->params[i].name,
					  json_string(q->params[i].value));
	return o;
}

static void
principal_of(const struct service_request *q, char *out, size_t cap)
{
	if (q->access_key_id)
		(void)snprintf(out, cap, "key %s", q->access_key_id);
	else
		(void)snprintf(out, cap, "uid %u", (unsigned)q->peer.uid);
}

int
service_call(struct service *s, const struct service_request *q,
	     struct service_reply *ret)
{
	struct timespec pause = { s->slow_ms / 1000,
				  s->slow_ms % 1000 * 1000000L };
	char principal[128];

	s->calls++;
	if (strcmp(q->action, "Nothing") == 0)
		return -ENOMEM;
	if (strcmp(q->action, "Slow") == 0)
		(void)nanosleep(&pause, NULL);
	strcpy(ret->request_id, "00000000-0000-4000-8000-000000000000");
	if (strcmp(q->action, "Fail") == 0) {
		ret->status = 409;
		ret->body = json_pack("{ss ss ss si}", "RequestId",
				      ret->request_id, "Code",
				      "Rejected.Disabled", "Message", "No.",
				      "HttpStatus", 409);
		return 0;
	}
	principal_of(q, principal, sizeof(principal));
	ret->status = 200;
	ret->body = json_pack("{ss ss ss so}", "RequestId", ret->request_id,
			      "Action", q->action, "Principal", principal,
			      "Params", params_of(q));
	return 0;
}

void
service_reply_done(struct service_reply *r)
{
	json_decref(r->body);
	r->body = NULL;
}

int
service_secret(struct service *s, const char *access_key_id,
	       char ret[static SERVICE_SECRET_LEN])
{
	(void)s;
	if (strcmp(access_key_id, "disabled") == 0)
		return -EKEYREVOKED;
	if (strcmp(access_key_id, "testid") != 0)
		return -ENOKEY;
	strcpy(ret, "testsecret");
	return 0;
}

int
service_stamp(struct service *s, const char *access_key_id, int64_t run,
	      int64_t time, int64_t now)
{
	(void)access_key_id;
	(void)run;
	(void)now;
	return time <= s->before ? -ESTALE : 0;
}
