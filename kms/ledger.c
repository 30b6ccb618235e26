/*
 * ledger.c - see ledger.h.
 *
 * The end of the audit log and the counts go to the keystore in one
 * transaction, after the log has been flushed (audit.h).
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>

#include "files.h"
#include "keys_private.h"
#include "ledger.h"

#define NO_AUDIT "none"
#define FLUSH_SECONDS 1 /* of counts, where there is no audit log */

struct ledger {
	struct keys *keys;
	bool exclusive;
	struct usage *usage;
	struct audit *audit;     /* NULL: there is none */
	_Atomic int64_t flushed; /* CLOCK_MONOTONIC, seconds */
	char dir[PATH_MAX];
};

static int
write_all(struct ledger *l, const struct audit_head *h,
	  const struct usage_table *t)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore *ks = l->keys->ks;
	int r;

	r = keys_begin(&c, l->keys, true);
	if (r == 0 && h)
		r = keystore_set_audit(ks, h);
	if (r == 0 && t)
		r = usage_write(t, ks);
	return r < 0 ? r : keys_commit(&c);
}

/* ${h} NULL: only what has been counted. */
static int
save(struct ledger *l, const struct audit_head *h)
{
	struct usage_table *t = usage_take(l->usage);
	int r;

	if (!t && !h)
		return 0;
	r = write_all(l, h, t);
	if (r < 0 && t)
		usage_give_back(l->usage, t);
	else
		usage_table_free(t);
	return r;
}

/* For the audit log. */

static int
load_head(void *arg, struct audit_head *ret)
{
	struct ledger *l = arg;
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_begin(&c, l->keys, false);
	return r < 0 ? r : keystore_get_audit(l->keys->ks, ret);
}

static int
save_head(void *arg, const struct audit_head *h)
{
	return save(arg, h);
}

/* That a log is full is no reason to ask for a passphrase. */
static int
get_key(void *arg, struct key *ret)
{
	struct ledger *l = arg;
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	if (!atomic_load(&l->keys->unlocked))
		return -ENOKEY;
	r = keys_begin(&c, l->keys, false);
	if (r == 0)
		r = keys_keystore_key(l->keys, &kek);
	return r < 0 ? r : audit_key(&kek, ret);
}

/* Opening. */

int
ledger_audit_dir(const struct settings *s, char out[static PATH_MAX])
{
	const char *slash = strrchr(s->keystore_path, '/');
	char parent[SETTING_MAX];

	out[0] = '\0';
	if (strcmp(s->keystore_audit, NO_AUDIT) == 0)
		return 0;
	if (s->keystore_audit[0] == '/')
		return files_join(out, s->keystore_audit, "");
	(void)snprintf(parent, sizeof(parent), "%.*s",
		       slash ? (int)(slash - s->keystore_path) : 0,
		       s->keystore_path);
	return files_join(out, parent, "/audit");
}

void
ledger_close(struct ledger *l)
{
	if (!l)
		return;
	audit_close(l->audit);
	if (l->usage)
		(void)!save(l, NULL);
	usage_free(l->usage);
	free(l);
}

int
ledger_open(const struct settings *s, struct keys *k, bool exclusive,
	    struct ledger **ret)
{
	CLEANUP(ledger_closep) struct ledger *l = calloc(1, sizeof(*l));
	struct audit_owner owner = { load_head, save_head, get_key, l };
	int r;

	if (!l)
		return -ENOMEM;
	l->keys = k;
	l->exclusive = exclusive;
	r = ledger_audit_dir(s, l->dir);
	if (r == 0)
		r = usage_new(&l->usage);
	if (r == 0 && l->dir[0])
		r = audit_open(l->dir, exclusive, &owner, &l->audit);
	if (r == 0)
		*ret = TAKE(l);
	return r;
}

/* Writing down. */

int
ledger_ready(struct ledger *l)
{
	return l->audit ? audit_ready(l->audit) : 0;
}

bool
ledger_is_data(const char *action)
{
	static const char *const data[] = {
		"Encrypt",
		"Decrypt",
		"ReEncrypt",
		"GenerateDataKey",
		"GenerateDataKeyWithoutPlaintext",
	};
	size_t i;

	for (i = 0; i < sizeof(data) / sizeof(data[0]); i++)
		if (strcmp(data[i], action) == 0)
			return true;
	return false;
}

static int
count(struct ledger *l, const struct audit_event *e, bool billable)
{
	struct kms_usage u = { .month = usage_month(time(NULL)),
			       .billable = billable,
			       .calls = 1 };
	int r;

	(void)snprintf(u.principal, sizeof(u.principal), "%s", e->principal);
	(void)snprintf(u.key, sizeof(u.key), "%s", e->key ? e->key : "");
	(void)snprintf(u.action, sizeof(u.action), "%s", e->action);
	r = usage_add(l->usage, &u);
	if (r != -ENOSPC)
		return r;
	r = save(l, NULL);
	return r < 0 ? r : usage_add(l->usage, &u);
}

/* Without an audit log there is nobody who does it. */
static int
flush_counts(struct ledger *l)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (l->exclusive && now.tv_sec - l->flushed < FLUSH_SECONDS)
		return 0;
	l->flushed = now.tv_sec;
	return save(l, NULL);
}

int
ledger_write(struct ledger *l, const struct audit_event *e, bool durable,
	     bool billable)
{
	int r = 0;

	if (e->status < 300 && e->principal)
		r = count(l, e, billable);
	if (r < 0)
		return r;
	return l->audit ? audit_write(l->audit, e, durable) : flush_counts(l);
}

static int
note(const struct settings *s, const char *action)
{
	CLEANUP(keys_closep) struct keys *k = NULL;
	CLEANUP(ledger_closep) struct ledger *l = NULL;
	char principal[32], peer[64], id[UUID_STR_LEN];
	const struct audit_event e = { .request_id = id,
				       .principal = principal,
				       .peer = peer,
				       .action = action,
				       .result = "ok",
				       .status = 200 };
	struct uuid uuid;
	int r;

	r = keys_open_locked(s, &k);
	if (r == 0)
		r = ledger_open(s, k, false, &l);
	if (r == 0)
		r = uuid_new(&uuid);
	if (r < 0)
		return r;
	uuid_format(&uuid, id);
	(void)snprintf(principal, sizeof(principal), "uid/%u", getuid());
	(void)snprintf(peer, sizeof(peer), "embedded,pid=%d", (int)getpid());
	return ledger_write(l, &e, true, false);
}

void
ledger_note(const struct settings *s, const char *action)
{
	int r = note(s, action);

	if (r < 0)
		log_warn("%s was done to keystore %s, and is not in its audit "
			 "log: %s",
			 action, s->keystore_path, err_text(r));
}

/* Reading. */

int
ledger_each_usage(struct ledger *l, unsigned month,
		  int (*fn)(const struct kms_usage *u, void *arg), void *arg)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r = save(l, NULL);

	if (r < 0)
		return r;
	r = keys_begin(&c, l->keys, false);
	return r < 0 ? r : keystore_each_usage(l->keys->ks, month, fn, arg);
}

int
ledger_verify(struct ledger *l, uint32_t from,
	      void (*fn)(const struct kms_audit_flaw *f, void *arg), void *arg,
	      struct kms_audit_report *ret)
{
	CLEANUP(key_wipe) struct key key = { { 0 } };
	struct audit_head h;
	int r, have_key;

	if (!l->audit)
		return -ENOENT;
	have_key = get_key(l, &key);
	r = have_key < 0 && have_key != -ENOKEY ? have_key : load_head(l, &h);
	if (r < 0)
		return r;
	return audit_verify(l->dir, &h, have_key == 0 ? &key : NULL, from, fn,
			    arg, ret);
}
