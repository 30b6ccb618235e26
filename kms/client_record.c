/*
 * client_record.c - see client_private.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/clock.h>
#include <sealdisk/log.h>

#include "client_private.h"
#include "keys_private.h"

/* As the API has it for those who come from elsewhere. */
static const struct {
	int err;
	unsigned status;
	const char *code;
} results[] = {
	{ 0, 200, "ok" },
	{ -ENOKEY, 404, "Forbidden.KeyNotFound" },
	{ -EKEYREVOKED, 409, "Rejected.Disabled" },
	{ -EKEYEXPIRED, 409, "Rejected.PendingDeletion" },
	{ -EKEYREJECTED, 403, "Forbidden.NoPermission" },
	{ -EALREADY, 409, "Rejected.StateModifiedFailed" },
	{ -EEXIST, 400, "AliasAlreadyExists" },
	{ -EDQUOT, 400, "Rejected.LimitExceeded" },
	{ -EINVAL, 400, "InvalidParameter" },
	{ -EPERM, 400, "UnsupportedOperation" },
	{ -EHOSTDOWN, 503, "ServiceUnavailableTemporary" },
	{ 1, 500, "InternalFailure" }, /* all else */
};

int
record_open(struct kms *k)
{
	int r = 0;

	(void)pthread_mutex_lock(&k->lock);
	if (!k->ledger)
		r = ledger_open(&k->settings, k->keys, false, &k->ledger);
	(void)pthread_mutex_unlock(&k->lock);
	if (r < 0)
		log_error("the audit log of keystore %s cannot be opened: %s; "
			  "nothing is done that cannot be recorded",
			  k->settings.keystore_path, err_text(r));
	return r;
}

/* Why was logged.  That others have it locked passes, and so does a lack of
 * memory. */
static int
unwritten(int r)
{
	return r == -EHOSTDOWN || r == -ENOMEM ? r : -ESHUTDOWN;
}

int
record_begin(struct kms *k, struct record *c)
{
	int r = record_open(k);

	c->began = clock_us();
	if (r == 0)
		r = ledger_ready(k->ledger);
	return r < 0 ? unwritten(r) : 0;
}

/* The key that was used, and whether its use costs anything. */
static void
look_up(struct kms *k, const char *key, struct kms_key_info *ret,
	bool *ret_billable)
{
	*ret_billable = false;
	if (keys_describe(k->keys, key, ret) < 0)
		ret->id[0] = '\0'; /* gone since, or never there */
	else
		*ret_billable = strcmp(ret->creator, KEYS_SERVICE) != 0;
}

static void
fill_result(struct audit_event *e, int r)
{
	size_t i = 0;

	while (results[i].err != r && results[i].err != 1)
		i++;
	e->status = results[i].status;
	e->result = results[i].code;
	e->reason = r < 0 ? err_text(r) : NULL;
}

int
record_end(struct kms *k, struct record *c, int r)
{
	char principal[32], peer[64], id[UUID_STR_LEN];
	bool alias = c->key && keys_is_alias(c->key), billable = false;
	struct audit_event e = { .request_id = id,
				 .principal = principal,
				 .peer = peer,
				 .action = c->action,
				 .key = alias ? NULL : c->key,
				 .alias = alias ? c->key : c->alias,
				 .version = c->version,
				 .context = c->context };
	struct kms_key_info info;
	struct uuid uuid;
	int written;

	fill_result(&e, r);
	(void)snprintf(principal, sizeof(principal), "uid/%u", getuid());
	(void)snprintf(peer, sizeof(peer), "embedded,pid=%d", (int)getpid());
	if (r == 0 && c->key && (alias || ledger_is_data(c->action))) {
		look_up(k, c->key, &info, &billable);
		e.key = info.id[0] ? info.id : e.key;
	}
	written = uuid_new(&uuid);
	if (written < 0)
		return written;
	uuid_format(&uuid, id);
	e.micros = (uint64_t)(clock_us() - c->began);
	written = ledger_write(k->ledger, &e, true,
			       billable && ledger_is_data(c->action));
	return written < 0 ? unwritten(written) : r;
}
