/*
 * remote.h - a key service elsewhere, kmsd or the cloud's own: actions sent to
 * it, signed, retried, and their answers taken apart.
 *
 * All that comes back is from a stranger who may be confused: -EPROTO unless it
 * is what it has to be.  The errors are those of kms.h.  Any thread.
 */
#ifndef SEALDISK_KMS_REMOTE_H
#define SEALDISK_KMS_REMOTE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/settings.h>

#include "request.h"

struct remote;

/**
 * remote_open(s, ret):
 * The service that [kms] of ${s} names.  Nothing is sent yet.
 *
 * -EINVAL  the endpoint or the access key's file is malformed, which was logged
 * -EPERM   others can read the access key's file
 * -ENOENT, -EACCES, ...  it cannot be read
 */
int remote_open(const struct settings *s, struct remote **ret) NONNULL CHECKED;
void remote_close(struct remote *r);
DEFINE_CLEANUP(struct remote, remote_close)

/**
 * remote_call(r, action, params, n, again, ret):
 * Ask for ${action} until it is answered or the time is over, waiting longer
 * each time.  ${again}: it may be done twice without harm; else it is not asked
 * again once it may have been done.  *${ret} is the answer's object.
 *
 * -EDQUOT        throttled to the end
 * -EHOSTDOWN     no answer, or none but that it is out of order
 * -EKEYREJECTED  not allowed, or not authenticated
 */
int remote_call(struct remote *r, const char *action,
		const struct request_param *params, size_t n, bool again,
		json_t **ret) __attribute__((__nonnull__(1, 2, 6))) CHECKED;

static inline void
json_done(json_t **j)
{
	json_decref(*j);
}

#endif
