/*
 * front.c - from a request as it came over a socket to the reply as text.
 */
#include "front.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sealdisk/clock.h>
#include <sealdisk/crypto.h>
#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#include "nonces.h"
#include "signature.h"

#define API_VERSION "2016-01-20"
#define BUCKETS 4096

/* The budget of those addresses whose hash this is. */
struct bucket {
	int64_t at_ms; /* when it was looked at last; 0: never */
	double left;
};

struct front {
	struct service *service;
	struct nonces *nonces;
	int64_t started; /* s; what was signed before may have been seen */
	int64_t run;     /* at random: this process */
	uint64_t seed;
	pthread_mutex_t lock; /* of the buckets */
	struct bucket buckets[BUCKETS];
};

static const struct refusal bad_method = {
	403, "UnsupportedHTTPMethod", "This http method is not supported."
};
static const struct refusal no_key = {
	400, "MissingParameter",
	"The parameter \"AccessKeyId\" is needed but not provided."
};
static const struct refusal no_action = {
	400, "MissingParameter",
	"The parameter \"Action\" is needed but not provided."
};
static const struct refusal bad_action = {
	400, "InvalidParameter",
	"The specified parameter \"Action\" is not valid."
};
static const struct refusal bad_version = {
	400, "InvalidParameter",
	"The specified parameter \"Version\" is not valid."
};
static const struct refusal bad_format = {
	400, "InvalidParameter",
	"The specified parameter \"Format\" is not valid: this service answers "
	"in JSON."
};
static const struct refusal too_many = { 400, "ParseRequestParameterException",
					 "There are too many parameters." };
static const struct refusal unknown_key = {
	404, "InvalidAccessKeyId.NotFound",
	"The AccessKey ID provided does not exist in our records."
};
static const struct refusal disabled_key = { 403, "Forbidden.AccessKey",
					     "This AccessKey is not enabled." };
static const struct refusal unavailable = { 503, "ServiceUnavailableTemporary",
					    "Service Unavailable Temporary." };
static const struct refusal nonce_used = {
	400, "SignatureNonceUsed", "This request has been sent before."
};
static const struct refusal slow_down = { 429, "Rejected.Throttling",
					  "QPS Limit Exceeded" };

int
front_new(struct service *service, size_t max_nonces, struct front **ret)
{
	CLEANUP(front_freep) struct front *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	(void)pthread_mutex_init(&f->lock, NULL);
	f->service = service;
	f->started = time(NULL);
	r = crypto_random(&f->seed, sizeof(f->seed));
	if (r == 0)
		r = crypto_random(&f->run, sizeof(f->run));
	if (r == 0)
		r = nonces_new(max_nonces, &f->nonces);
	if (r == 0)
		*ret = TAKE(f);
	return r;
}

void
front_free(struct front *f)
{
	if (!f)
		return;
	nonces_free(f->nonces);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Who sends bad requests. */

/* FNV-1a from a seed: who shares a bucket with whom is not to be chosen. */
static struct bucket *
bucket_of(struct front *f, const char *address)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ f->seed;

	for (; *address; address++)
		h = (h ^ (unsigned char)*address) * UINT64_C(0x100000001b3);
	return &f->buckets[(h ^ h >> 32) % BUCKETS];
}

/* Whether ${address} has budget left after ${cost} of it is taken away. */
static bool
bad_requests(struct front *f, const char *address, double cost)
{
	struct bucket *b = bucket_of(f, address);
	int64_t now = clock_ms();
	bool ok;

	(void)pthread_mutex_lock(&f->lock);
	if (b->at_ms == 0)
		b->left = FRONT_BAD_BURST;
	else
		b->left += (double)(now - b->at_ms) * FRONT_BAD_RATE / 1000;
	if (b->left > FRONT_BAD_BURST)
		b->left = FRONT_BAD_BURST;
	b->at_ms = now;
	b->left -= cost;
	if (b->left < 0)
		b->left = 0;
	ok = b->left >= 1;
	(void)pthread_mutex_unlock(&f->lock);
	return ok;
}

/* Who it is. */

static void
secret_done(char (**s)[SERVICE_SECRET_LEN])
{
	secret_free(*s, sizeof(**s));
}

static const struct refusal *
refusal_of_secret(int r)
{
	switch (r) {
	case -ENOKEY:
		return &unknown_key;
	case -EKEYREVOKED:
		return &disabled_key;
	case -ENOMEM:
		return &refusal_memory;
	default:
		return &unavailable;
	}
}

static const struct refusal *
refusal_of_nonce(int r)
{
	switch (r) {
	case 0:
		return NULL;
	case -EEXIST:
	case -ESTALE:
		return &nonce_used;
	default:
		return &unavailable;
	}
}

/*
 * Nonces are forgotten with the process.  What was dated before the start is
 * refused for that; what was dated ahead of the clock the service remembers,
 * and by some time after the start that is all in the past.
 */
static int
stamp(struct front *f, const struct signature *s, int64_t now)
{
	if (s->time <= now && now > f->started + SIGNATURE_WINDOW + 60)
		return 0;
	return service_stamp(f->service, s->access_key_id, f->run, s->time,
			     now);
}

/* The nonce is the last to be looked at: a stranger uses up none. */
static const struct refusal *
verify(struct front *f, const struct request *q, const struct signature *s)
{
	CLEANUP(secret_done)
	char(*secret)[SERVICE_SECRET_LEN] = secret_alloc(sizeof(*secret));
	int64_t now = time(NULL);
	const struct refusal *no = signature_fresh(s, now, f->started);
	int r;

	if (no)
		return no;
	if (!secret)
		return &refusal_memory;
	r = service_secret(f->service, s->access_key_id, *secret);
	if (r < 0)
		return refusal_of_secret(r);
	no = signature_verify(q, s, *secret, strlen(*secret));
	if (no)
		return no;
	r = stamp(f, s, now);
	if (r < 0)
		return r == -ESTALE ? &nonce_used : &unavailable;
	r = nonces_use(f->nonces, s->access_key_id, s->nonce, s->time, now);
	return refusal_of_nonce(r);
}

/* Who sends ${q}: *${ret} has its access key, if it has one. */
static const struct refusal *
identify(struct front *f, const struct request *q,
	 const struct service_peer *peer, struct signature *ret)
{
	const struct refusal *no;

	if (peer->via != SERVICE_UNIX && !bad_requests(f, peer->address, 0))
		return &slow_down;
	no = signature_read(q, ret);
	if (!no && ret->kind == SIGNATURE_NONE)
		return peer->via == SERVICE_UNIX ? NULL : &no_key;
	if (!no)
		no = verify(f, q, ret);
	if (no && no->status < 500)
		log_note("%s: refused: %s", peer->address, no->code);
	return no;
}

/* What it asks. */

static bool
is_common(const char *name)
{
	static const char *const names[] = {
		"AccessKeyId",     "Action",           "Format",
		"RegionId",        "SecurityToken",    "Signature",
		"SignatureMethod", "SignatureNonce",   "SignatureType",
		"Timestamp",       "SignatureVersion", "Version",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/*
 * A common parameter that may be a header instead.  Under version 1 headers are
 * not signed, and are not looked at.
 */
static const char *
common(const struct request *q, enum signature_kind kind, const char *name,
       const char *header)
{
	const char *value = request_param(q, name);
	const char *in_header =
	    kind == SIGNATURE_V1 ? NULL : request_header(q, header);

	if (value && in_header && strcmp(value, in_header) != 0)
		return "";
	return value ? value : in_header;
}

static const struct refusal *
check_common(const struct request *q, enum signature_kind kind,
	     const char **ret_action)
{
	const char *action = common(q, kind, "Action", "x-acs-action");
	const char *version = common(q, kind, "Version", "x-acs-version");
	const char *format = request_param(q, "Format");

	if (!action)
		return &no_action;
	if (action[0] == '\0' || strlen(action) > REQUEST_NAME_MAX)
		return &bad_action;
	if (!version || strcmp(version, API_VERSION) != 0)
		return &bad_version;
	if (format && strcasecmp(format, "JSON") != 0)
		return &bad_format;
	*ret_action = action;
	return NULL;
}

/* The parameters of the action itself. */
static const struct refusal *
take_params(const struct request *q, struct service_param *params, size_t *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < q->n_params; i++) {
		if (is_common(q->params[i].name))
			continue;
		if (n == SERVICE_PARAMS_MAX ||
		    strlen(q->params[i].value) >= SERVICE_VALUE_MAX)
			return &too_many;
		params[n].name = q->params[i].name;
		params[n++].value = q->params[i].value;
	}
	*ret = n;
	return NULL;
}

/* What is answered. */

static struct front_reply *
to_text(unsigned status, const json_t *body)
{
	const size_t flags = JSON_COMPACT;
	size_t len = json_dumpb(body, NULL, 0, flags);
	struct front_reply *r = len ? malloc(sizeof(*r) + len) : NULL;

	if (!r)
		return NULL;
	r->status = status;
	r->len = len;
	(void)json_dumpb(body, r->text, len, flags);
	return r;
}

void
front_reply_free(struct front_reply *r)
{
	if (!r)
		return;
	secret_wipe(r, sizeof(*r) + r->len);
	free(r);
}

static void
json_done(json_t **j)
{
	json_decref(*j);
}

struct front_reply *
front_refuse(const struct refusal *no)
{
	CLEANUP(json_done) json_t *body = NULL;
	char id[UUID_STR_LEN];
	struct uuid u;

	if (uuid_new(&u) < 0)
		return NULL;
	uuid_format(&u, id);
	body = json_pack("{si ss ss ss}", "HttpStatus", (int)no->status, "Code",
			 no->code, "Message", no->message, "RequestId", id);
	return body ? to_text(no->status, body) : NULL;
}

static struct front_reply *
call(struct front *f, const struct service_request *q)
{
	CLEANUP(service_reply_done) struct service_reply reply = { 0 };

	if (service_call(f->service, q, &reply) < 0)
		return NULL;
	return to_text(reply.status, reply.body);
}

/* A request that was read; *${ret_no} says why there is no reply. */
static struct front_reply *
handle(struct front *f, const struct request *q,
       const struct service_peer *peer, const struct refusal **ret_no)
{
	struct service_param params[SERVICE_PARAMS_MAX];
	struct service_request s = { .params = params, .peer = *peer };
	struct signature sig;

	*ret_no = identify(f, q, peer, &sig);
	if (!*ret_no)
		*ret_no = check_common(q, sig.kind, &s.action);
	if (!*ret_no)
		*ret_no = take_params(q, params, &s.n_params);
	if (*ret_no)
		return NULL;
	if (sig.kind != SIGNATURE_NONE)
		s.access_key_id = sig.access_key_id;
	return call(f, &s);
}

struct front_reply *
front_handle(struct front *f, const struct raw_request *raw,
	     const struct service_peer *peer)
{
	CLEANUP(request_freep) struct request *q = NULL;
	const struct refusal *no = NULL;
	struct front_reply *reply = NULL;

	if (strcmp(raw->method, "POST") != 0 && strcmp(raw->method, "GET") != 0)
		no = &bad_method;
	if (!no)
		no = request_parse(raw, &q);
	if (!no)
		reply = handle(f, q, peer, &no);
	if (!no)
		return reply;
	if (no != &slow_down && no->status < 500)
		(void)bad_requests(f, peer->address, 1);
	return front_refuse(no);
}
