/*
 * keystore_props.c - what is said of a key: texts, tags, rotation.
 */
#include <errno.h>

#include "keystore_private.h"

static const char *const getters[] = {
	[KEYSTORE_DESCRIPTION] = "SELECT description FROM keys WHERE seq = ?",
	[KEYSTORE_PROTECTION] = "SELECT protection FROM keys WHERE seq = ?",
	[KEYSTORE_POLICY] = "SELECT policy FROM keys WHERE seq = ?",
};

static const char *const setters[] = {
	[KEYSTORE_DESCRIPTION] = "UPDATE keys SET description = ?"
				 " WHERE seq = ?",
	[KEYSTORE_PROTECTION] = "UPDATE keys SET protection = ? WHERE seq = ?",
	[KEYSTORE_POLICY] = "UPDATE keys SET policy = ? WHERE seq = ?",
};

int
keystore_get_text(struct keystore *ks, int64_t key, enum keystore_text t,
		  char **ret)
{
	CLEANUP(query_end) struct query q = query(ks, getters[t]);
	int r;

	query_put_int(&q, key);
	r = query_row(&q);
	return r < 0 ? r : query_copy_text(&q, 0, KEYSTORE_TEXT_MAX, ret);
}

int
keystore_set_text(struct keystore *ks, int64_t key, enum keystore_text t,
		  const char *text)
{
	CLEANUP(query_end) struct query q = query(ks, setters[t]);

	query_put_text(&q, text);
	query_put_int(&q, key);
	return query_change(&q);
}

int
keystore_next_version_of(struct keystore *ks, int64_t key, int64_t *seq,
			 struct uuid *ret, int64_t *ret_created)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT seq, id, created FROM versions"
				   " WHERE key = ? AND seq > ?"
				   " ORDER BY seq LIMIT 1");
	int r;

	query_put_int(&q, key);
	query_put_int(&q, *seq);
	r = query_row(&q);
	if (r < 0)
		return r;
	*seq = query_get_int(&q, 0);
	query_get_id(&q, 1, ret);
	*ret_created = query_get_int(&q, 2);
	return query_verdict(&q);
}

/* Rotation. */

int
keystore_set_rotation(struct keystore *ks, int64_t key, int64_t interval)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE keys SET rotation = nullif(?, 0)"
				   " WHERE seq = ?");

	query_put_int(&q, interval);
	query_put_int(&q, key);
	return query_change(&q);
}

int
keystore_next_rotation(struct keystore *ks, const char *region, int64_t now,
		       uint64_t max, int64_t *seq, struct uuid *ret)
{
	CLEANUP(query_end)
	struct query q =
	    query(ks, "SELECT k.id, k.seq FROM keys k JOIN versions v"
		      " ON v.key = k.seq WHERE k.rotation IS NOT NULL"
		      " AND k.seq > ? AND k.region = ? AND k.state = 'Enabled'"
		      " AND k.destroyed IS NULL GROUP BY k.seq"
		      " HAVING max(v.created) + k.rotation <= ?"
		      " AND count(*) < ? ORDER BY k.seq LIMIT 1");
	int r;

	query_put_int(&q, *seq);
	query_put_text(&q, region);
	query_put_int(&q, now);
	query_put_int(&q, max > INT64_MAX ? INT64_MAX : (int64_t)max);
	r = query_row(&q);
	if (r < 0)
		return r;
	query_get_id(&q, 0, ret);
	*seq = query_get_int(&q, 1);
	return query_verdict(&q);
}

/* Tags. */

int
keystore_next_tag(struct keystore *ks, int64_t key, const char *name,
		  char ret_name[static KEYSTORE_TAG_LEN],
		  char ret_value[static KEYSTORE_TAG_LEN])
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT name, value FROM tags"
				   " WHERE key = ? AND name > ?"
				   " ORDER BY name LIMIT 1");
	int r;

	query_put_int(&q, key);
	query_put_text(&q, name);
	r = query_row(&q);
	if (r < 0)
		return r;
	query_get_text(&q, 0, ret_name, KEYSTORE_TAG_LEN);
	query_get_text(&q, 1, ret_value, KEYSTORE_TAG_LEN);
	return query_verdict(&q);
}

static int
count(struct query *q, uint64_t *ret)
{
	int r = query_row(q);

	if (r == 0)
		*ret = (uint64_t)query_get_int(q, 0);
	return r;
}

int
keystore_count_tags(struct keystore *ks, int64_t key, uint64_t *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT count(*) FROM tags WHERE key = ?");

	query_put_int(&q, key);
	return count(&q, ret);
}

int
keystore_set_tag(struct keystore *ks, int64_t key, const char *name,
		 const char *value)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT OR REPLACE INTO tags"
				   " (key, name, value) VALUES (?, ?, ?)");

	query_put_int(&q, key);
	query_put_text(&q, name);
	query_put_text(&q, value);
	return query_change(&q);
}

int
keystore_remove_tag(struct keystore *ks, int64_t key, const char *name)
{
	CLEANUP(query_end)
	struct query q = query(ks, "DELETE FROM tags"
				   " WHERE key = ? AND name = ?");
	int r;

	query_put_int(&q, key);
	query_put_text(&q, name);
	r = query_change(&q);
	return r == -ENOKEY ? 0 : r;
}

/* Counts.  Service keys are not a customer's. */

int
keystore_count_keys(struct keystore *ks, const char *region, uint64_t *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT count(*) FROM keys"
				   " WHERE region = ? AND destroyed IS NULL"
				   " AND seq NOT IN (SELECT key FROM aliases"
				   " WHERE name LIKE 'alias/acs/%')");

	query_put_text(&q, region);
	return count(&q, ret);
}

int
keystore_count_aliases(struct keystore *ks, const char *region, uint64_t *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT count(*) FROM aliases"
				   " WHERE region = ?"
				   " AND name NOT LIKE 'alias/acs/%'");

	query_put_text(&q, region);
	return count(&q, ret);
}
