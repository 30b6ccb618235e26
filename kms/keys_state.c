/*
 * keys_state.c - which action a key allows in which state.
 *
 * The matrix is that of the KMS API, row by row.  Its two ways to refuse have
 * names there: Rejected.STATE, and Rejected.StateModifiedFailed; here an errno
 * says which state it is.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

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
	[KEYS_CHANGE] = { OK, OK, NO, OK },
	[KEYS_PREPARE] = { OK, OK, OK, OK },
	[KEYS_IMPORT] = { OK, OK, UN, OK },
};

enum keys_verdict
keys_verdict(enum keys_action a, enum kms_key_state s)
{
	return (enum keys_verdict)matrix[a][s];
}

/* A service key serves, and that is all. */
static bool
is_ours_to(enum keys_action a, const struct kms_key_info *i)
{
	return a == KEYS_USE || a == KEYS_LOOK ||
	       strcmp(i->creator, KEYS_SERVICE) != 0;
}

/* What was imported has one version; nothing else can be imported. */
static bool
suits_origin(enum keys_action a, const struct kms_key_info *i)
{
	bool external = strcmp(i->origin, KEYS_ORIGIN_EXTERNAL) == 0;

	if (a == KEYS_ROTATE)
		return !external;
	return external || (a != KEYS_PREPARE && a != KEYS_IMPORT);
}

int
keys_allowed(enum keys_action a, const struct keystore_key *row)
{
	static const int errors[] = {
		[KMS_ENABLED] = 0, /* it refuses KEYS_CANCEL alone */
		[KMS_DISABLED] = -EKEYREVOKED,
		[KMS_PENDING_DELETION] = -EKEYEXPIRED,
		[KMS_PENDING_IMPORT] = -ENODATA,
	};

	if (keys_is_gone(row))
		return -EIDRM;
	if (!is_ours_to(a, &row->info))
		return -EPERM;
	if (keys_verdict(a, row->info.state) != KEYS_OK)
		return a == KEYS_CANCEL ? -EALREADY : errors[row->info.state];
	return suits_origin(a, &row->info) ? 0 : -EMEDIUMTYPE;
}

int
keys_errno(int err)
{
	switch (err) {
	case -ENODATA:
		return -EKEYREVOKED;
	case -EIDRM:
		return -EKEYEXPIRED;
	case -EMEDIUMTYPE:
		return -EPERM;
	case -ENOSTR:
		return -ENOKEY;
	default:
		return err;
	}
}

/* Time. */

int64_t keys_clock_ahead;

int64_t
keys_now(void)
{
	return time(NULL) + keys_clock_ahead;
}

void
keys_age(struct keystore_key *row)
{
	struct kms_key_info *i = &row->info;

	if (!i->expires_at || i->expires_at > keys_now())
		return;
	row->material.len = 0;
	if (i->state != KMS_PENDING_DELETION)
		i->state = KMS_PENDING_IMPORT;
}
