/*
 * policy_private.h - what policy.c and policy_condition.c share.
 *
 * All texts belong to the JSON document, which lives as long as the policy.
 * (json_is_...() look whether they are given NULL: nothing here is NONNULL that
 * is JSON.)
 */
#ifndef SEALDISK_KMS_POLICY_PRIVATE_H
#define SEALDISK_KMS_POLICY_PRIVATE_H

#include <jansson.h>

#include "policy.h"

/* Where something is wrong is said once, as one line. */
struct policy_parse {
	char *why;
	unsigned statement; /* from 1 */
};
int policy_wrong(struct policy_parse *p, const char *fmt, ...)
    __attribute__((__format__(__printf__, 2, 3))) CHECKED;

/* One string, or a list of 1 to POLICY_LIST_MAX of whatever ${check} takes. */
int policy_list(struct policy_parse *p, const char *what, const json_t *j,
		int (*check)(struct policy_parse *p, const char *what,
			     const json_t *value)) CHECKED;
size_t policy_list_len(const json_t *j);
const json_t *policy_list_at(const json_t *j, size_t i);
int policy_check_text(struct policy_parse *p, const char *what,
		      const json_t *value) NONNULL CHECKED;

/* Whether ${len} bytes of ${pattern} match all ${n} of ${s}, * and ? being
 * wildcards; in time pattern * text at most. */
bool policy_match(const char *pattern, size_t len, const char *s, size_t n,
		  bool fold_case) NONNULL;

/* "Condition". */
int policy_check_condition(struct policy_parse *p, const json_t *c) CHECKED;
/* Of a checked one. */
bool policy_condition_holds(const json_t *c, const struct policy_request *q);

#endif
