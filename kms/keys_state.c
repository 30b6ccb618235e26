/*
 * keys_state.c - which action a key allows in which state.
 *
 * The matrix is that of the KMS API, row by row.  Its two ways to refuse have
 * names there: Rejected.STATE, and Rejected.StateModifiedFailed; here an errno
 * says which state it is.
 */
#include <errno.h>
#include <string.h>

#include "keys_private.h"

#define OK KEYS_OK
#define NO KEYS_REJECTED
#define UN KEYS_UNMODIFIED

static const uint8_t matrix[KEYS_NACTIONS][4] = {
	/* Enabled, Disabled, PendingDeletion, PendingImport */
	[KEYS_USE] = { OK, NO, NO, NO },
	[KEYS_ROTATE] = { OK, NO, NO, NO },
	[KEYS_ENABLE] = { OK, OK, UN, UN },
	[KEYS_DISABLE] = { OK, OK, UN, UN },
	[KEYS_SCHEDULE] = { OK, OK, UN, OK },
	[KEYS_CANCEL] = { UN, UN, OK, UN },
	[KEYS_CREATE_ALIAS] = { OK, OK, UN, OK },
	[KEYS_UPDATE_ALIAS] = { OK, OK, NO, OK },
	[KEYS_LOOK] = { OK, OK, OK, OK },
};

enum keys_verdict
keys_verdict(enum keys_action a, enum kms_key_state s)
{
	return (enum keys_verdict)matrix[a][s];
}

/* A service key serves, and that is all; what was imported has one version. */
static bool
is_ours_to(enum keys_action a, const struct kms_key_info *i)
{
	if (a == KEYS_USE || a == KEYS_LOOK)
		return true;
	if (strcmp(i->creator, KEYS_SERVICE) == 0)
		return false;
	return a != KEYS_ROTATE || strcmp(i->origin, KEYS_ORIGIN_KMS) == 0;
}

int
keys_allowed(enum keys_action a, const struct keystore_key *row)
{
	static const int errors[] = {
		[KMS_ENABLED] = 0, /* it refuses KEYS_CANCEL alone */
		[KMS_DISABLED] = -EKEYREVOKED,
		[KMS_PENDING_DELETION] = -EKEYEXPIRED,
		[KMS_PENDING_IMPORT] = -EKEYREVOKED,
	};

	if (keys_is_gone(row))
		return -EKEYEXPIRED;
	if (!is_ours_to(a, &row->info))
		return -EPERM;
	if (keys_verdict(a, row->info.state) == KEYS_OK)
		return 0;
	return a == KEYS_CANCEL ? -EALREADY : errors[row->info.state];
}
