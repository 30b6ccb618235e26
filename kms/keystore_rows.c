/*
 * keystore_rows.c - what is done to the rows of the tables.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "keystore_private.h"

#define KEY_COLUMNS                                                            \
	"SELECT k.seq, k.id, k.region, k.description, k.creator, k.origin,"    \
	" k.state, k.created,"                                                 \
	" (SELECT count(*) FROM versions WHERE key = k.seq),"                  \
	" v.id, v.material, v.created, k.delete_at, k.destroyed,"              \
	" k.rotation, k.protection IS NOT NULL, k.instance,"                   \
	" k.material_check, k.material_expires "
#define KEY_NEWEST                                                             \
	KEY_COLUMNS "FROM keys k LEFT JOIN versions v ON v.seq ="              \
		    " (SELECT max(seq) FROM versions WHERE key = k.seq) "

static const char *const states[] = {
	[KMS_ENABLED] = "Enabled",
	[KMS_DISABLED] = "Disabled",
	[KMS_PENDING_DELETION] = "PendingDeletion",
	[KMS_PENDING_IMPORT] = "PendingImport",
};
#define NSTATES (sizeof(states) / sizeof(states[0]))

const char *
kms_state_name(enum kms_key_state s)
{
	return (size_t)s < NSTATES ? states[s] : "unknown";
}

/* Reading. */

int
keystore_get_head(struct keystore *ks, struct keystore_head *ret)
{
	CLEANUP(query_end)
	struct query q =
	    query(ks, "SELECT uuid, created, wrapped_key FROM keystore");
	struct keystore_head h = { 0 };
	int r;

	r = query_step(&q);
	if (r < 0)
		return r;
	if (r == 0) {
		q.bad = true; /* there is always one */
		return query_verdict(&q);
	}
	query_get_id(&q, 0, &h.uuid);
	h.created = query_get_int(&q, 1);
	query_get_blob(&q, 2, &h.key);
	r = query_verdict(&q);
	if (r == 0)
		*ret = h;
	return r;
}

bool
keystore_same_head(const struct keystore_head *a, const struct keystore_head *b)
{
	return uuid_equal(&a->uuid, &b->uuid) && a->key.len == b->key.len &&
	       memcmp(a->key.bytes, b->key.bytes, a->key.len) == 0;
}

static void
get_state(struct query *q, int col, enum kms_key_state *ret)
{
	char name[32] = "";
	size_t i;

	query_get_text(q, col, name, sizeof(name));
	for (i = 0; i < NSTATES; i++)
		if (strcmp(name, states[i]) == 0) {
			*ret = (enum kms_key_state)i;
			return;
		}
	q->bad = true;
}

/* The row of KEY_COLUMNS that ${q} shall find. */
static int
get_key(struct query *q, struct keystore_key *ret)
{
	struct keystore_key k = { 0 };
	struct kms_key_info *i = &k.info;
	int r;

	r = query_row(q);
	if (r < 0)
		return r;
	k.seq = query_get_int(q, 0);
	query_get_id(q, 1, &k.id);
	query_get_text(q, 2, k.region, sizeof(k.region));
	query_get_start(q, 3, i->description, sizeof(i->description));
	query_get_text(q, 4, i->creator, sizeof(i->creator));
	query_get_text(q, 5, i->origin, sizeof(i->origin));
	get_state(q, 6, &i->state);
	i->created = query_get_int(q, 7);
	i->versions = (unsigned)query_get_int(q, 8);
	if (!query_is_null(q, 9))
		query_get_id(q, 9, &k.version);
	query_get_blob(q, 10, &k.material);
	i->rotated = query_get_int(q, 11);   /* 0 for NULL */
	i->delete_at = query_get_int(q, 12); /* the same */
	k.destroyed = !query_is_null(q, 13);
	i->rotate_every = query_get_int(q, 14);
	i->is_protected = query_get_int(q, 15);
	if (!query_is_null(q, 16))
		query_get_text(q, 16, i->instance, sizeof(i->instance));
	query_get_blob(q, 17, &k.check);
	i->expires_at = query_get_int(q, 18);
	uuid_format(&k.id, i->id);
	r = query_verdict(q);
	if (r == 0)
		*ret = k;
	return r;
}

int
keystore_get_key(struct keystore *ks, const struct uuid *id,
		 struct keystore_key *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, KEY_NEWEST "WHERE k.id = ?");

	query_put_id(&q, id);
	return get_key(&q, ret);
}

int
keystore_get_alias(struct keystore *ks, const char *region, const char *alias,
		   struct keystore_key *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, KEY_NEWEST
			       "WHERE k.seq = (SELECT key FROM aliases"
			       " WHERE region = ? AND name = ?)");

	query_put_text(&q, region);
	query_put_text(&q, alias);
	return get_key(&q, ret);
}

int
keystore_get_version(struct keystore *ks, const struct uuid *version,
		     struct keystore_key *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks,
			       KEY_COLUMNS "FROM versions v JOIN keys k"
					   " ON k.seq = v.key WHERE v.id = ?");

	query_put_id(&q, version);
	return get_key(&q, ret);
}

int
keystore_next_key(struct keystore *ks, const char *region, int64_t seq,
		  struct keystore_key *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, KEY_NEWEST "WHERE k.region = ? AND k.seq > ?"
					      " AND k.destroyed IS NULL"
					      " ORDER BY k.seq LIMIT 1");

	query_put_text(&q, region);
	query_put_int(&q, seq);
	return get_key(&q, ret);
}

int
keystore_next_version(struct keystore *ks, int64_t seq, int64_t *ret_seq,
		      struct uuid *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT seq, id FROM versions"
				   " WHERE seq > ? ORDER BY seq LIMIT 1");
	int r;

	query_put_int(&q, seq);
	r = query_row(&q);
	if (r < 0)
		return r;
	*ret_seq = query_get_int(&q, 0);
	query_get_id(&q, 1, ret);
	return query_verdict(&q);
}

int
keystore_next_alias(struct keystore *ks, const char *region, int64_t seq,
		    int64_t *ret_seq, char ret_alias[static KMS_ALIAS_LEN],
		    struct uuid *ret_key)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT a.seq, a.name, k.id FROM aliases a"
				   " JOIN keys k ON k.seq = a.key"
				   " WHERE a.region = ? AND a.seq > ?"
				   " ORDER BY a.seq LIMIT 1");
	int r;

	query_put_text(&q, region);
	query_put_int(&q, seq);
	r = query_row(&q);
	if (r < 0)
		return r;
	*ret_seq = query_get_int(&q, 0);
	query_get_text(&q, 1, ret_alias, KMS_ALIAS_LEN);
	query_get_id(&q, 2, ret_key);
	return query_verdict(&q);
}

/* Writing. */

int
keystore_add_head(struct keystore *ks, const struct keystore_head *head)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT INTO keystore VALUES (1, ?, ?, ?)");

	query_put_id(&q, &head->uuid);
	query_put_int(&q, head->created);
	query_put_blob(&q, head->key.bytes, head->key.len);
	return query_change(&q);
}

int
keystore_set_head_key(struct keystore *ks, const struct keystore_blob *key)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE keystore SET wrapped_key = ?");

	query_put_blob(&q, key->bytes, key->len);
	return query_change(&q);
}

int
keystore_add_version(struct keystore *ks, const struct keystore_key *key,
		     int64_t seq)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT INTO versions (id, key, created,"
				   " material) VALUES (?, ?, ?, ?)");

	query_put_id(&q, &key->version);
	query_put_int(&q, seq);
	query_put_int(&q, key->info.rotated);
	query_put_blob(&q, key->material.bytes, key->material.len);
	return query_change(&q);
}

int
keystore_add_key(struct keystore *ks, const struct keystore_key *key,
		 const char *description, int64_t *ret_seq)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT INTO keys (id, region, description,"
				   " creator, origin, state, created, instance,"
				   " rotation) VALUES (?, ?, ?, ?, ?, ?, ?,"
				   " nullif(?, ''), nullif(?, 0))");
	int64_t seq;
	int r;

	query_put_id(&q, &key->id);
	query_put_text(&q, key->region);
	query_put_text(&q, description);
	query_put_text(&q, key->info.creator);
	query_put_text(&q, key->info.origin);
	query_put_text(&q, kms_state_name(key->info.state));
	query_put_int(&q, key->info.created);
	query_put_text(&q, key->info.instance);
	query_put_int(&q, key->info.rotate_every);
	r = query_change(&q);
	if (r < 0)
		return r;
	seq = keystore_last_seq(ks);
	r = uuid_is_nil(&key->version) ? 0 : keystore_add_version(ks, key, seq);
	if (r == 0)
		*ret_seq = seq;
	return r;
}

int
keystore_set_state(struct keystore *ks, int64_t key, enum kms_key_state s)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE keys SET state = ?, delete_at = NULL"
				   " WHERE seq = ?");

	query_put_text(&q, kms_state_name(s));
	query_put_int(&q, key);
	return query_change(&q);
}

int
keystore_set_deletion(struct keystore *ks, int64_t key, int64_t at)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE keys SET delete_at = ?"
				   " WHERE seq = ?");

	query_put_int(&q, at);
	query_put_int(&q, key);
	return query_change(&q);
}

int
keystore_next_due(struct keystore *ks, int64_t now, bool instance,
		  int64_t *ret_key, bool *ret_kept)
{
	CLEANUP(query_end)
	struct query q = query(
	    ks, "SELECT seq, COALESCE(instance, '') <> '' AS kept FROM keys"
		" WHERE delete_at <= ? AND destroyed IS NULL"
		" AND (? OR NOT kept) LIMIT 1");
	int r;

	query_put_int(&q, now);
	query_put_int(&q, instance);
	r = query_row(&q);
	if (r == 0) {
		*ret_key = query_get_int(&q, 0);
		*ret_kept = query_get_int(&q, 1) != 0;
	}
	return r;
}

static int
destroy(struct keystore *ks, const char *sql, int64_t key)
{
	CLEANUP(query_end) struct query q = query(ks, sql);

	query_put_int(&q, key);
	return query_step(&q);
}

int
keystore_destroy(struct keystore *ks, int64_t key, int64_t now)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE keys SET destroyed = ?"
				   " WHERE seq = ?");
	int r;

	r = destroy(ks, "UPDATE versions SET material = NULL WHERE key = ?",
		    key);
	if (r == 0)
		r = destroy(ks, "DELETE FROM imports WHERE key = ?", key);
	if (r == 0)
		r = destroy(ks, "DELETE FROM aliases WHERE key = ?", key);
	if (r < 0)
		return r;
	query_put_int(&q, now);
	query_put_int(&q, key);
	return query_change(&q);
}

int
keystore_add_alias(struct keystore *ks, const char *region, const char *alias,
		   int64_t key)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT INTO aliases (region, name, key,"
				   " created) VALUES (?, ?, ?, ?)");

	query_put_text(&q, region);
	query_put_text(&q, alias);
	query_put_int(&q, key);
	query_put_int(&q, time(NULL));
	return query_change(&q);
}

int
keystore_move_alias(struct keystore *ks, const char *region, const char *alias,
		    int64_t key)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE aliases SET key = ?"
				   " WHERE region = ? AND name = ?");

	query_put_int(&q, key);
	query_put_text(&q, region);
	query_put_text(&q, alias);
	return query_change(&q);
}

int
keystore_remove_alias(struct keystore *ks, const char *region,
		      const char *alias)
{
	CLEANUP(query_end)
	struct query q = query(ks, "DELETE FROM aliases"
				   " WHERE region = ? AND name = ?");

	query_put_text(&q, region);
	query_put_text(&q, alias);
	return query_change(&q);
}
