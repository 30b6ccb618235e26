/*
 * policy.h - RAM policy documents: who may do what, on what, and when.
 *
 *     {"Version": "1", "Statement": [{
 *         "Effect": "Allow", "Action": ["kms:Encrypt", "kms:GenerateDataKey*"],
 *         "Resource": "acs:kms:r:a:key/ID*",
 *         "Condition": {"StringEquals": {"kms:tag/team": ["a", "b"]}}}]}
 *
 * A document is understood whole or refused: an element, operator, condition
 * key or value that is not known here is never passed over.
 *
 * Action (or NotAction): "*" or SERVICE:NAME, in any case.  Resource: "*" or
 * acs:SERVICE:REGION:ACCOUNT:REST, case as it is.  In both, * stands for any
 * characters and ? for one, within one part between colons: no wildcard of a
 * part reaches into the next.  NotResource is refused.
 *
 * Principal is for the policy of a key, where each statement has one:
 * {"RAM": [...], "Service": [...]} of "*", acs:ram::ACCOUNT:* (all of an
 * account), acs:ram::ACCOUNT:user/NAME, or the name of a service.
 *
 * Condition: all operators and keys must hold, of a key's values one; with a
 * Not... operator none may be it.  What a request does not have equals nothing.
 *
 *     kms:tag/KEY, kms:EncryptionContext:KEY  String..., Numeric...
 *     acs:SourceIp                            IpAddress, NotIpAddress
 *     acs:CurrentTime                         Date...
 *     acs:SecureTransport                     Bool
 *
 * A struct policy is not changed once it is there: any thread may use it.
 */
#ifndef SEALDISK_KMS_POLICY_H
#define SEALDISK_KMS_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#define POLICY_TEXT_MAX 32768 /* bytes of a document */
#define POLICY_STATEMENTS_MAX 64
#define POLICY_LIST_MAX 128 /* of actions, resources, values */
#define POLICY_PATTERN_MAX 512
#define POLICY_WHY_LEN 256

struct policy;

enum policy_kind {
	POLICY_OF_PRINCIPAL, /* no statement has a Principal */
	POLICY_OF_KEY,       /* every one has */
};

/**
 * policy_parse(text, len, kind, ret, why):
 * Understand a document.
 *
 * -EINVAL  it is none; ${why} says in one line where and why
 */
int policy_parse(const char *text, size_t len, enum policy_kind kind,
		 struct policy **ret, char why[static POLICY_WHY_LEN])
    NONNULL CHECKED;
void policy_free(struct policy *p);
DEFINE_CLEANUP(struct policy, policy_free)

struct policy_pair {
	const char *name, *value;
};

/* What is asked; NULL and 0: it has none. */
struct policy_request {
	const char *account;
	const char *principal; /* "user/NAME", "uid/N", "service/NAME" */
	const char *action;    /* "kms:Encrypt" */
	const char *resource;  /* an ARN */
	const char *source_ip;
	bool secure_transport;
	int64_t now; /* seconds */
	const struct policy_pair *tags, *context;
	size_t n_tags, n_context;
};

enum policy_effect {
	POLICY_SILENT, /* no statement is about this: that is a no */
	POLICY_ALLOW,
	POLICY_DENY, /* whatever else allows it */
};
enum policy_effect policy_evaluate(const struct policy *p,
				   const struct policy_request *q) NONNULL;

/* What two documents say together. */
static inline enum policy_effect
policy_combine(enum policy_effect a, enum policy_effect b)
{
	return a > b ? a : b;
}

#endif
