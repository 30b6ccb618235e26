/*
 * remote_call.c - one action of a key service elsewhere: signed, sent, retried.
 *
 * Each attempt is signed anew: its nonce is good once, and its time has to be
 * about now.
 */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#include "http.h"
#include "signature.h"
#include "wiped.h"

#define API_VERSION "2016-01-20"
#define FIRST_WAIT_MS 100
#define LONGEST_WAIT_MS 3000
#define ATTEMPT_MS 10000

/* In secret memory. */
struct access {
	char id[SIGNATURE_ID_MAX + 1];
	char secret[SIGNATURE_SECRET_MAX + 1];
};

struct remote {
	struct http *http;
	struct access *access; /* NULL: requests are not signed */
	int64_t timeout_ms;
	char endpoint[SETTING_MAX]; /* for messages */
};

/* The access key. */

/* Nobody but its owner, who is us or root, may read or change it. */
static int
check_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return (st.st_mode & 077) || (st.st_uid != 0 && st.st_uid != geteuid())
		   ? -EPERM
		   : 0;
}

/* "ID SECRET", blanks or line ends between. */
static int
parse_access(char *text, struct access *ret)
{
	static const char blank[] = " \t\r\n";
	char *id = text + strspn(text, blank), *secret;
	size_t len = strcspn(id, blank);

	secret = id + len + strspn(id + len, blank);
	if (len == 0 || len >= sizeof(ret->id))
		return -EINVAL;
	memcpy(ret->id, id, len);
	len = strcspn(secret, blank);
	if (len == 0 || len >= sizeof(ret->secret) ||
	    secret[len + strspn(secret + len, blank)] != '\0')
		return -EINVAL;
	memcpy(ret->secret, secret, len);
	return 0;
}

static int
read_access(int fd, struct access *ret)
{
	char text[512];
	ssize_t n = read(fd, text, sizeof(text));
	int r;

	if (n < 0)
		r = -errno;
	else if (n == sizeof(text) || memchr(text, '\0', (size_t)n))
		r = -EINVAL;
	else {
		text[n] = '\0';
		r = parse_access(text, ret);
	}
	secret_wipe(text, sizeof(text));
	return r;
}

static int
load_access(struct remote *r, const char *path)
{
	CLEANUP(close_fdp) int fd = -1;
	int e = 0;

	if (!path[0])
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		e = -errno;
	if (e == 0)
		e = check_file(fd);
	if (e == 0) {
		r->access = secret_alloc(sizeof(*r->access));
		e = r->access ? read_access(fd, r->access) : -ENOMEM;
	}
	if (e == -EPERM)
		log_error("access key file %s: others can read it; chmod 600",
			  path);
	else if (e == -EINVAL)
		log_error("access key file %s: it has to be an id and a secret",
			  path);
	else if (e < 0)
		log_error("access key file %s: %s", path, err_text(e));
	return e;
}

int
remote_open(const struct settings *s, struct remote **ret)
{
	CLEANUP(remote_closep) struct remote *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	wiped_json();
	r->timeout_ms = (int64_t)s->kms_timeout * 1000;
	strcpy(r->endpoint, s->kms_endpoint);
	e = http_new(s->kms_endpoint, s->kms_ca_file, &r->http);
	if (e == -EINVAL)
		log_error("key service %s: this is no endpoint",
			  s->kms_endpoint);
	if (e == 0)
		e = load_access(r, s->kms_access_key_file);
	if (e == 0)
		*ret = TAKE(r);
	return e;
}

void
remote_close(struct remote *r)
{
	if (!r)
		return;
	secret_free(r->access, sizeof(*r->access));
	http_free(r->http);
	free(r);
}

/* One attempt. */

enum {
	H_HOST,
	H_TYPE,
	H_ACTION,
	H_HASH,
	H_DATE,
	H_NONCE,
	H_VERSION,
	H_AUTHORIZATION,
	H_COUNT
};
#define SIGNED_NAMES                                                           \
	"content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;"      \
	"x-acs-signature-nonce;x-acs-version"

struct attempt {
	struct raw_header headers[H_COUNT];
	struct raw_request raw;
	char date[TIME_STR_LEN], nonce[UUID_STR_LEN];
	char hash[2 * SHA256_LEN + 1];
	char authorization[512];
};

static int
sign(const struct access *k, struct attempt *a)
{
	char hex[2 * MAC_LEN + 1];
	uint8_t mac[MAC_LEN];
	int r = signature_acs3(&a->raw, "", SIGNED_NAMES, k->secret,
			       strlen(k->secret), mac);

	if (r < 0)
		return r;
	hex_encode(mac, sizeof(mac), hex);
	(void)snprintf(a->authorization, sizeof(a->authorization),
		       "ACS3-HMAC-SHA256 Credential=%s,SignedHeaders=%s,"
		       "Signature=%s",
		       k->id, SIGNED_NAMES, hex);
	a->headers[H_AUTHORIZATION] =
	    (struct raw_header){ "authorization", a->authorization };
	a->raw.n_headers = H_COUNT;
	return 0;
}

static int
prepare(const struct remote *r, const char *action,
	const struct request_text *body, struct attempt *a)
{
	uint8_t digest[SHA256_LEN];
	struct uuid u;
	int e = uuid_new(&u);

	if (e == 0)
		e = sha256(body->buf, body->len, digest);
	if (e < 0)
		return e;
	uuid_format(&u, a->nonce);
	hex_encode(digest, sizeof(digest), a->hash);
	format_time(time(NULL), a->date);
	a->headers[H_HOST] = (struct raw_header){ "host", http_host(r->http) };
	a->headers[H_TYPE] =
	    (struct raw_header){ "content-type",
				 "application/x-www-form-urlencoded" };
	a->headers[H_ACTION] = (struct raw_header){ "x-acs-action", action };
	a->headers[H_HASH] =
	    (struct raw_header){ "x-acs-content-sha256", a->hash };
	a->headers[H_DATE] = (struct raw_header){ "x-acs-date", a->date };
	a->headers[H_NONCE] =
	    (struct raw_header){ "x-acs-signature-nonce", a->nonce };
	a->headers[H_VERSION] =
	    (struct raw_header){ "x-acs-version", API_VERSION };
	a->raw = (struct raw_request){ .method = "POST",
				       .uri = "/",
				       .headers = a->headers,
				       .n_headers = H_AUTHORIZATION,
				       .body = body->buf,
				       .body_len = body->len };
	return r->access ? sign(r->access, a) : 0;
}

/* What is answered. */

static const struct {
	const char *code;
	int err;
} codes[] = {
	{ "AliasAlreadyExists", -EEXIST },
	{ "ExpiredImportToken", -ETIME },
	{ "Forbidden.AccessKey", -EKEYREJECTED },
	{ "Forbidden.AliasNotFound", -ENOKEY },
	{ "Forbidden.KeyNotFound", -ENOKEY },
	{ "Forbidden.KeyVersionNotFound", -ENOKEY },
	{ "Forbidden.NoPermission", -EKEYREJECTED },
	{ "IllegalTimestamp", -EKEYREJECTED },
	{ "IncompleteSignature", -EKEYREJECTED },
	{ "InternalFailure", -EHOSTDOWN },
	{ "InvalidAccessKeyId.NotFound", -EKEYREJECTED },
	{ "InvalidAction.NotFound", -EOPNOTSUPP },
	{ "InvalidApi.NotFound", -EOPNOTSUPP },
	{ "InvalidCiphertext", -EKEYREJECTED },
	{ "InvalidImportToken", -EBADE },
	{ "InvalidKeyMaterial", -EBADMSG },
	{ "InvalidParameter", -EINVAL },
	{ "InvalidTimeStamp.Expired", -EKEYREJECTED },
	{ "MissingParameter", -EINVAL },
	{ "Rejected.DeletionProtected", -EBUSY },
	{ "Rejected.Disabled", -EKEYREVOKED },
	{ "Rejected.LimitExceeded", -EDQUOT },
	{ "Rejected.PendingDeletion", -EKEYEXPIRED },
	{ "Rejected.PendingImport", -EKEYREVOKED },
	{ "Rejected.StateModifiedFailed", -EKEYEXPIRED },
	{ "Rejected.Throttling", -EDQUOT },
	{ "Rejected.Unavailable", -EKEYREVOKED },
	{ "ServiceUnavailableTemporary", -EHOSTDOWN },
	{ "SignatureDoesNotMatch", -EKEYREJECTED },
	{ "SignatureNonceUsed", -EKEYREJECTED },
	{ "Throttling.User", -EDQUOT },
	{ "Unsupported.Alias", -EINVAL },
	{ "Unsupported.Origin", -EPERM },
	{ "UnsupportedOperation", -EPERM },
};

/* Those that another time may end otherwise.  What failed within the service
 * may have been done. */
static bool
is_passing(const char *code, bool again)
{
	static const char *const passing[] = { "Rejected.Throttling",
					       "ServiceUnavailableTemporary",
					       "Throttling.User" };

	if (strcmp(code, "InternalFailure") == 0)
		return again;
	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		if (strcmp(passing[i], code) == 0)
			return true;
	return false;
}

/* Where the errno alone does not say what is to be done. */
static void
tell(const struct remote *r, const char *action, const char *code,
     const json_t *o)
{
	const char *message = json_string_value(json_object_get(o, "Message"));

	log_error("key service %s: %s: %s: %.300s", r->endpoint, action, code,
		  message ? message : "");
}

static int
from_code(const struct remote *r, const char *action, const json_t *o,
	  bool again, bool *ret_passing)
{
	const char *code = json_string_value(json_object_get(o, "Code"));

	if (!code)
		return -EPROTO;
	*ret_passing = is_passing(code, again);
	if (*ret_passing)
		log_debug("key service %s: %s: %s", r->endpoint, action, code);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strcmp(codes[i].code, code) != 0)
			continue;
		if (codes[i].err == -EKEYREJECTED || codes[i].err == -EINVAL)
			tell(r, action, code, o);
		return codes[i].err;
	}
	tell(r, action, code, o);
	return -EPROTO;
}

static int
read_answer(const struct remote *r, const char *action,
	    const struct http_answer *a, bool again, bool *ret_passing,
	    json_t **ret)
{
	CLEANUP(json_done) json_t *o = NULL;
	json_error_t why;

	if (wiped_parse(a->text, a->len, &o, &why) == -ENOMEM)
		return -ENOMEM;
	if (!json_is_object(o)) {
		/* A gateway in between that says no in its own way; of what it
		 * had passed on it does not know whether it was done. */
		bool unknown = a->status == 502 || a->status == 504;

		*ret_passing = a->status == 503 || (unknown && again);
		return a->status == 503 || unknown ? -EHOSTDOWN : -EPROTO;
	}
	if (a->status != 200)
		return from_code(r, action, o, again, ret_passing);
	*ret = TAKE(o);
	return 0;
}

static int
attempt(struct remote *r, const char *action, const struct request_text *body,
	int64_t timeout_ms, bool again, bool *ret_passing, json_t **ret)
{
	CLEANUP(http_answer_done) struct http_answer answer = { 0 };
	struct attempt a;
	int e = prepare(r, action, body, &a);

	*ret_passing = false;
	if (e < 0)
		return e;
	e = http_post(r->http, a.headers, a.raw.n_headers, body->buf, body->len,
		      timeout_ms, again, &answer);
	if (e == -EHOSTDOWN || e == -ECONNRESET) {
		*ret_passing = again || e == -EHOSTDOWN;
		return -EHOSTDOWN;
	}
	return e < 0 ? e
		     : read_answer(r, action, &answer, again, ret_passing, ret);
}

/* Again and again. */

static int64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Half of ${wait} to all of it, so that those who failed together do not come
 * back together. */
static void
pause_about(int64_t wait_ms)
{
	struct timespec ts;
	uint32_t chance;
	int64_t ms;

	if (crypto_random(&chance, sizeof(chance)) < 0)
		chance = 0;
	ms = wait_ms / 2 + (int64_t)(chance % (uint32_t)(wait_ms / 2 + 1));
	ts.tv_sec = ms / 1000;
	ts.tv_nsec = ms % 1000 * 1000000;
	(void)nanosleep(&ts, NULL);
}

static int
call(struct remote *r, const char *action, const struct request_text *body,
     bool again, json_t **ret)
{
	int64_t end = now_ms() + r->timeout_ms, wait = FIRST_WAIT_MS, left;
	bool passing;
	int e;

	for (;;) {
		/* What is asked once may take all the time that there is. */
		left = end - now_ms();
		if (again && left > ATTEMPT_MS)
			left = ATTEMPT_MS;
		e = attempt(r, action, body, left > 1 ? left : 1, again,
			    &passing, ret);
		if (e == 0 || !passing || now_ms() + wait >= end)
			return e;
		pause_about(wait);
		wait = 2 * wait < LONGEST_WAIT_MS ? 2 * wait : LONGEST_WAIT_MS;
	}
}

static bool
every(const struct request_param *p)
{
	(void)p;
	return true;
}

int
remote_call(struct remote *r, const char *action,
	    const struct request_param *params, size_t n, bool again,
	    json_t **ret)
{
	CLEANUP(request_text_done) struct request_text body = { 0 };

	request_text_params(&body, params, n, every);
	return body.bad ? -ENOMEM : call(r, action, &body, again, ret);
}
