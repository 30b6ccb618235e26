/*
 * quota.h - how often a principal may call what.
 *
 * A token bucket for each principal and class of actions, which holds as many
 * calls as a second allows.  Memory is bounded whoever calls: QUOTA_BUCKETS
 * buckets; a full one says nothing and gives way to another, and where none is
 * full, whoever is new shares one with all others that are.
 *
 * Any thread.
 */
#ifndef SEALDISK_KMS_QUOTA_H
#define SEALDISK_KMS_QUOTA_H

#include <stdint.h>

#include <sealdisk/cleanup.h>

#define QUOTA_BUCKETS 4096

enum quota_class {
	QUOTA_ENCRYPT,
	QUOTA_DECRYPT,
	QUOTA_GENERATE, /* GenerateDataKey, ...WithoutPlaintext */
	QUOTA_REENCRYPT,
	QUOTA_MANAGE, /* all else */
	QUOTA_NCLASSES
};

/* Calls a second; 0: as many as come. */
struct quota_limits {
	uint64_t per_second[QUOTA_NCLASSES];
};

struct quota;

int quota_new(const struct quota_limits *limits, struct quota **ret)
    NONNULL CHECKED;
void quota_free(struct quota *q);
DEFINE_CLEANUP(struct quota, quota_free)

/**
 * quota_take(q, principal, class, now_us):
 * One call, at ${now_us} microseconds of a clock that does not go back.
 *
 * -EDQUOT  too many; nothing was taken
 */
int quota_take(struct quota *q, const char *principal, enum quota_class c,
	       int64_t now_us) NONNULL CHECKED;

#endif
