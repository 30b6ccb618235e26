/*
 * keystore_service.c - see keystore_service.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "keystore_private.h"
#include "keystore_service.h"

/* Access keys. */

#define ACCESS_COLUMNS                                                         \
	"SELECT seq, id, principal, secret, enabled, created,"                 \
	" run, newest, before FROM access_keys "

static int
get_access_key(struct query *q, struct keystore_access_key *ret)
{
	struct keystore_access_key k = { 0 };
	int r;

	r = query_row(q);
	if (r < 0)
		return r;
	k.seq = query_get_int(q, 0);
	query_get_text(q, 1, k.id, sizeof(k.id));
	query_get_text(q, 2, k.principal, sizeof(k.principal));
	query_get_blob(q, 3, &k.secret);
	k.enabled = query_get_int(q, 4) != 0;
	k.created = query_get_int(q, 5);
	k.run = query_get_int(q, 6);
	k.newest = query_get_int(q, 7);
	k.before = query_get_int(q, 8);
	r = query_verdict(q);
	if (r == 0)
		*ret = k;
	return r;
}

int
keystore_get_access_key(struct keystore *ks, const char *id,
			struct keystore_access_key *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, ACCESS_COLUMNS "WHERE id = ?");

	query_put_text(&q, id);
	return get_access_key(&q, ret);
}

int
keystore_next_access_key(struct keystore *ks, int64_t seq,
			 struct keystore_access_key *ret)
{
	CLEANUP(query_end)
	struct query q =
	    query(ks, ACCESS_COLUMNS "WHERE seq > ? ORDER BY seq LIMIT 1");

	query_put_int(&q, seq);
	return get_access_key(&q, ret);
}

int
keystore_count_access_keys(struct keystore *ks, int64_t *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT count(*) FROM access_keys");
	int r;

	r = query_row(&q);
	if (r == 0)
		*ret = query_get_int(&q, 0);
	return r;
}

int
keystore_add_access_key(struct keystore *ks,
			const struct keystore_access_key *key)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT INTO access_keys (id, principal,"
				   " secret, enabled, created)"
				   " VALUES (?, ?, ?, ?, ?)");

	query_put_text(&q, key->id);
	query_put_text(&q, key->principal);
	query_put_blob(&q, key->secret.bytes, key->secret.len);
	query_put_int(&q, key->enabled);
	query_put_int(&q, key->created);
	return query_change(&q);
}

int
keystore_enable_access_key(struct keystore *ks, const char *id, bool enabled)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE access_keys SET enabled = ?"
				   " WHERE id = ?");

	query_put_int(&q, enabled);
	query_put_text(&q, id);
	return query_change(&q);
}

int
keystore_stamp_access_key(struct keystore *ks,
			  const struct keystore_access_key *key)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE access_keys SET run = ?,"
				   " newest = ?, before = ? WHERE id = ?");

	query_put_int(&q, key->run);
	query_put_int(&q, key->newest);
	query_put_int(&q, key->before);
	query_put_text(&q, key->id);
	return query_change(&q);
}

int
keystore_remove_access_key(struct keystore *ks, const char *id)
{
	CLEANUP(query_end)
	struct query q = query(ks, "DELETE FROM access_keys WHERE id = ?");

	query_put_text(&q, id);
	return query_change(&q);
}

/* Policies. */

int
keystore_get_policy(struct keystore *ks, const char *principal,
		    char ret[static POLICY_TEXT_MAX + 1])
{
	CLEANUP(query_end)
	struct query q =
	    query(ks, "SELECT document FROM policies WHERE principal = ?");
	int r;

	query_put_text(&q, principal);
	r = query_row(&q);
	if (r < 0)
		return r;
	query_get_text(&q, 0, ret, POLICY_TEXT_MAX + 1);
	return query_verdict(&q);
}

int
keystore_set_policy(struct keystore *ks, const char *principal,
		    const char *document, int64_t now)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT OR REPLACE INTO policies"
				   " VALUES (?, ?, ?)");

	query_put_text(&q, principal);
	query_put_text(&q, document);
	query_put_int(&q, now);
	return query_change(&q);
}

int
keystore_remove_policy(struct keystore *ks, const char *principal)
{
	CLEANUP(query_end)
	struct query q = query(ks, "DELETE FROM policies WHERE principal = ?");

	query_put_text(&q, principal);
	return query_change(&q);
}

int
keystore_next_policy(struct keystore *ks, const char *after,
		     char ret[static KMS_PRINCIPAL_LEN])
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT principal FROM policies"
				   " WHERE principal > ?"
				   " ORDER BY principal LIMIT 1");
	char name[KMS_PRINCIPAL_LEN] = "";
	int r;

	query_put_text(&q, after);
	r = query_row(&q);
	if (r < 0)
		return r;
	query_get_text(&q, 0, name, sizeof(name));
	r = query_verdict(&q);
	if (r == 0)
		memcpy(ret, name, sizeof(name));
	return r;
}

/* Usage. */

int
keystore_add_usage(struct keystore *ks, const struct kms_usage *u)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT INTO usage"
				   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
				   " ON CONFLICT DO UPDATE"
				   " SET calls = calls + ?6");

	query_put_int(&q, u->month);
	query_put_text(&q, u->principal);
	query_put_text(&q, u->key);
	query_put_text(&q, u->action);
	query_put_int(&q, u->billable);
	query_put_int(&q, (int64_t)u->calls);
	return query_change(&q);
}

static int
get_usage(struct query *q, struct kms_usage *ret)
{
	*ret = (struct kms_usage){ 0 };
	ret->month = (unsigned)query_get_int(q, 0);
	query_get_text(q, 1, ret->principal, sizeof(ret->principal));
	query_get_text(q, 2, ret->key, sizeof(ret->key));
	query_get_text(q, 3, ret->action, sizeof(ret->action));
	ret->billable = query_get_int(q, 4) != 0;
	ret->calls = (uint64_t)query_get_int(q, 5);
	return query_verdict(q);
}

int
keystore_each_usage(struct keystore *ks, unsigned month,
		    int (*fn)(const struct kms_usage *u, void *arg), void *arg)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT month, principal, key, action,"
				   " billable, calls FROM usage"
				   " WHERE month = ?1 OR ?1 = 0"
				   " ORDER BY 1, 2, 3, 4, 5");
	struct kms_usage u;
	int r;

	query_put_int(&q, month);
	while ((r = query_step(&q)) > 0) {
		r = get_usage(&q, &u);
		if (r == 0)
			r = fn(&u, arg);
		if (r)
			return r;
	}
	return r;
}

/* The audit log. */

int
keystore_get_audit(struct keystore *ks, struct audit_head *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT file, size, lines, hash FROM audit");
	struct keystore_blob hash = { .len = 0 };
	struct audit_head h = { 0 };
	int r;

	r = query_step(&q);
	if (r <= 0) {
		if (r == 0)
			*ret = h;
		return r;
	}
	h.file = (uint32_t)query_get_int(&q, 0);
	h.size = (uint64_t)query_get_int(&q, 1);
	h.lines = (uint64_t)query_get_int(&q, 2);
	query_get_blob(&q, 3, &hash);
	if (hash.len == sizeof(h.hash))
		memcpy(h.hash, hash.bytes, sizeof(h.hash));
	else
		q.bad = true;
	r = query_verdict(&q);
	if (r == 0)
		*ret = h;
	return r;
}

int
keystore_set_audit(struct keystore *ks, const struct audit_head *h)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT OR REPLACE INTO audit"
				   " VALUES (1, ?, ?, ?, ?)");

	query_put_int(&q, h->file);
	query_put_int(&q, (int64_t)h->size);
	query_put_int(&q, (int64_t)h->lines);
	query_put_blob(&q, h->hash, sizeof(h->hash));
	return query_change(&q);
}
