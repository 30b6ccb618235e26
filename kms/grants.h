/*
 * grants.h - the use of a key, given to a principal and taken back.
 *
 * To the disk service it is given by the tag that its role goes by, to any
 * other by a statement of the key's policy, which is known again by its Sid;
 * what else is in the policy stays.
 *
 * As keys.h: any thread; 0 or a negative errno.
 */
#ifndef SEALDISK_KMS_GRANTS_H
#define SEALDISK_KMS_GRANTS_H

#include "keys.h"

#define GRANTS_SID "sealdisk-key-grant"

/**
 * grants_edit(policy, principal, add, ret):
 * The policy of a key with ${principal}, a name as authorize.h has it, added to
 * our statement or taken out of it; *${ret} is malloc'ed, "" for no policy.
 * ${policy} may be NULL or "".
 *
 * -EALREADY  nothing would change
 * -EINVAL    ${policy} is none, or it would become too long
 */
int grants_edit(const char *policy, const char *principal, bool add, char **ret)
    __attribute__((__nonnull__(2, 4))) CHECKED;

/* ${id}: id or ARN.  -EALREADY: he has it, or has it not, by a grant. */
int grants_change(struct keys *k, const char *id, const char *principal,
		  bool add) NONNULL CHECKED;

#endif
