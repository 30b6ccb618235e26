/*
 * service.h - the key service as its API has it: a named action with parameters
 * in, a JSON object out, whoever carries them.
 *
 * The carrier (kmsd's sockets, a command that works on the keystore itself) has
 * decoded the request and verified its signature; it knows nothing of actions.
 * The service knows nothing of HTTP but the statuses of its errors.
 *
 * A struct service may be used from any thread; it is not carried over a fork.
 */
#ifndef SEALDISK_KMS_SERVICE_H
#define SEALDISK_KMS_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/codec.h>
#include <sealdisk/settings.h>

#define SERVICE_PARAMS_MAX 128  /* of a request */
#define SERVICE_VALUE_MAX 65536 /* bytes of one, with the NUL */
#define SERVICE_SECRET_LEN 64   /* of an access key, with the NUL */

struct service;

enum service_via {
	SERVICE_EMBEDDED, /* the process itself */
	SERVICE_UNIX,
	SERVICE_HTTP,
	SERVICE_TLS,
};

struct service_peer {
	enum service_via via;
	char address[64]; /* "10.0.0.7", "uid=0,pid=17" */
	uid_t uid;        /* SERVICE_EMBEDDED and SERVICE_UNIX */
};

/* Decoded UTF-8 without NULs; each name once. */
struct service_param {
	const char *name, *value;
};

struct service_request {
	const char *action; /* "GenerateDataKey" */
	/* Those of the action: none of Action, Version, Format, Timestamp,
	 * AccessKeyId, Signature and the like. */
	const struct service_param *params;
	size_t n_params;
	/* By whom it is signed, which was verified.  NULL: by nobody, and the
	 * peer's uid is the principal. */
	const char *access_key_id;
	struct service_peer peer;
};

struct service_reply {
	unsigned status; /* as HTTP has it */
	char request_id[UUID_STR_LEN];
	/* With RequestId; if it is an error, with HttpStatus, Code, Message. */
	json_t *body;
};

/**
 * service_open(s, exclusive, ret):
 * Open the keystore that ${s} names, and its root.  ${exclusive}: kmsd, which
 * holds the keystore alone; else other processes may use it too.
 *
 * The errors are those of kms_open().
 */
int service_open(const struct settings *s, bool exclusive, struct service **ret)
    NONNULL CHECKED;
void service_close(struct service *s);
DEFINE_CLEANUP(struct service, service_close)

/**
 * service_call(s, q, ret):
 * Do what ${q} asks, if its principal may.  ${ret} is always filled: an error
 * of the action is a reply like another.
 *
 * -ENOMEM  and there is no reply
 */
int service_call(struct service *s, const struct service_request *q,
		 struct service_reply *ret) NONNULL CHECKED;
/* Wipe and release what a reply holds.  { 0 } is allowed. */
void service_reply_done(struct service_reply *r) NONNULL;

/**
 * service_refuse(code, param, ret):
 * The reply to a request that its carrier refuses, before it is one of the
 * service's: ${code} is an error of the API, ${param} what it is about, or "".
 *
 * -ENOMEM
 */
int service_refuse(const char *code, const char *param,
		   struct service_reply *ret) NONNULL CHECKED;

/**
 * service_secret(s, access_key_id, ret):
 * What requests that say ${access_key_id} are signed with; ${ret} is in secret
 * memory.
 *
 * -ENOKEY      there is no such access key
 * -EKEYREVOKED it is disabled
 */
int service_secret(struct service *s, const char *access_key_id,
		   char ret[static SERVICE_SECRET_LEN]) NONNULL CHECKED;

/**
 * service_stamp(s, access_key_id, run, time, now):
 * A signed request is dated ${time}; ${now} is the clock, in seconds both, and
 * ${run} a number of this run of the server alone.  What is dated ahead is made
 * durable, so that a later run, which does not know its nonce, refuses it.
 *
 * -ESTALE an earlier run may have served it
 * -ENOKEY there is no such access key
 */
int service_stamp(struct service *s, const char *access_key_id, int64_t run,
		  int64_t time, int64_t now) NONNULL CHECKED;

#endif
