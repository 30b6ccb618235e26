/*
 * authorize.h - who asks, and whether he may.
 *
 * A principal is an access key's owner, "user/NAME", or, where a request comes
 * from this host unsigned, the peer's "uid/N".  He may do what a policy of his
 * or of the key allows and neither denies, as the cloud has it within one
 * account.  Two are different:
 *
 * Who owns the keystore - the process itself when it is embedded; on the Unix
 * socket root and the daemon's own uid, as long as they have no policy of their
 * own - may do everything: no policy could keep him from the file.
 *
 * The disk service, "service/ecs.aliyuncs.com", may besides use the service
 * key, and each key whose tag acs:ecs:disk-encryption is "true".  (The cloud's
 * role lets it set that tag, too; here whoever may tag the key does.)
 *
 * Any thread.
 */
#ifndef SEALDISK_KMS_AUTHORIZE_H
#define SEALDISK_KMS_AUTHORIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "keys.h"
#include "keystore_service.h"
#include "policy.h"

#define AUTHORIZE_DISK_SERVICE "service/ecs.aliyuncs.com"
#define AUTHORIZE_DISK_TAG "acs:ecs:disk-encryption"

struct authorizer;

int authorizer_new(struct keys *k, struct authorizer **ret) NONNULL CHECKED;
void authorizer_free(struct authorizer *z);
DEFINE_CLEANUP(struct authorizer, authorizer_free)

struct policy_ref; /* a policy that is shared */

struct principal {
	char name[KMS_PRINCIPAL_LEN];
	bool owner;                /* of the keystore: he may do everything */
	bool service;              /* the disk service */
	struct policy_ref *policy; /* his own, or NULL */
};
/* Also as a CLEANUP handler; { 0 } is allowed. */
void principal_done(struct principal *p) NONNULL;

/* "NAME" or "user/NAME", "uid:N" or "uid/N", "disks", or an ARN of one of
 * these, to the form above.  -EINVAL */
int principal_parse(const char *text, char ret[static KMS_PRINCIPAL_LEN])
    NONNULL CHECKED;

/* Of an access key: -ENOKEY there is none, -EKEYREVOKED it is disabled. */
int authorize_access_key(struct authorizer *z, const char *id,
			 struct principal *ret) NONNULL CHECKED;
/* Of a peer on the Unix socket; ${embedded}: of this process. */
int authorize_uid(struct authorizer *z, uid_t uid, bool embedded,
		  struct principal *ret) NONNULL CHECKED;

/* What he asks. */
struct authorize_question {
	const char *service;    /* "ram"; NULL: "kms" */
	const char *action;     /* "Decrypt" */
	const char *resource;   /* ARN */
	const char *key_policy; /* a document, or NULL */
	bool service_key;       /* it is that */
	const struct policy_pair *tags, *context;
	size_t n_tags, n_context;
	const char *source_ip; /* NULL: this host */
	bool secure_transport;
};

/* -EKEYREJECTED: he may not; ${why} says which policy did not let him. */
int authorize(struct authorizer *z, const struct principal *p,
	      const struct authorize_question *q,
	      char why[static POLICY_WHY_LEN]) NONNULL CHECKED;

/* Attached policies, by the name of a principal; -EINVAL with ${why}. */
int authorize_set_policy(struct authorizer *z, const char *principal,
			 const char *document, char why[static POLICY_WHY_LEN])
    NONNULL CHECKED;
/* -ENOKEY  he has none */
int authorize_get_policy(struct authorizer *z, const char *principal,
			 char ret[static POLICY_TEXT_MAX + 1]) NONNULL CHECKED;
int authorize_remove_policy(struct authorizer *z, const char *principal)
    NONNULL CHECKED;
/* The first after ${after}, ""; ${ret} may be ${after}.  -ENOKEY at the end */
int authorize_next_policy(struct authorizer *z, const char *after,
			  char ret[static KMS_PRINCIPAL_LEN]) NONNULL CHECKED;

#endif
