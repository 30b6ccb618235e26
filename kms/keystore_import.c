/*
 * keystore_import.c - imported material, and the keys that it comes under.
 */
#include <errno.h>

#include "keystore_private.h"

static int
set_versions(struct keystore *ks, int64_t key,
	     const struct keystore_blob *material)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE versions SET material = ?"
				   " WHERE key = ?");

	query_put_blob(&q, material->bytes, material->len);
	query_put_int(&q, key);
	return query_change(&q);
}

int
keystore_set_material(struct keystore *ks, int64_t key,
		      const struct keystore_blob *material,
		      const struct keystore_blob *check, int64_t expires)
{
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE keys SET material_check = ?,"
				   " material_expires = nullif(?, 0)"
				   " WHERE seq = ?");
	int r;

	query_put_blob(&q, check->bytes, check->len);
	query_put_int(&q, expires);
	query_put_int(&q, key);
	r = query_change(&q);
	return r < 0 ? r : set_versions(ks, key, material);
}

int
keystore_remove_material(struct keystore *ks, int64_t key)
{
	static const struct keystore_blob none;
	CLEANUP(query_end)
	struct query q = query(ks, "UPDATE keys SET material_expires = NULL"
				   " WHERE seq = ?");
	int r;

	query_put_int(&q, key);
	r = query_change(&q);
	return r < 0 ? r : set_versions(ks, key, &none);
}

int
keystore_next_expired(struct keystore *ks, int64_t now, struct uuid *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT id FROM keys"
				   " WHERE material_expires <= ?"
				   " AND destroyed IS NULL LIMIT 1");
	int r;

	query_put_int(&q, now);
	r = query_row(&q);
	if (r < 0)
		return r;
	query_get_id(&q, 0, ret);
	return query_verdict(&q);
}

/* Keys to import under. */

static int
forget_older(struct keystore *ks, int64_t key, unsigned keep)
{
	CLEANUP(query_end)
	struct query q = query(ks, "DELETE FROM imports WHERE key = ?"
				   " AND seq NOT IN (SELECT seq FROM imports"
				   " WHERE key = ? ORDER BY seq DESC LIMIT ?)");

	query_put_int(&q, key);
	query_put_int(&q, key);
	query_put_int(&q, keep);
	return query_step(&q);
}

int
keystore_add_import(struct keystore *ks, const struct keystore_import *i,
		    unsigned keep)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT INTO imports (id, key, padding,"
				   " expires, private_key)"
				   " VALUES (?, ?, ?, ?, ?)");
	int r;

	r = forget_older(ks, i->key, keep);
	if (r < 0)
		return r;
	query_put_id(&q, &i->id);
	query_put_int(&q, i->key);
	query_put_int(&q, i->padding);
	query_put_int(&q, i->expires);
	query_put_blob(&q, i->private_key, i->private_len);
	return query_change(&q);
}

int
keystore_get_import(struct keystore *ks, const struct uuid *id,
		    struct keystore_import *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT key, padding, expires, private_key"
				   " FROM imports WHERE id = ?");
	int r;

	query_put_id(&q, id);
	r = query_row(&q);
	if (r < 0)
		return r;
	ret->id = *id;
	ret->key = query_get_int(&q, 0);
	ret->padding = (unsigned)query_get_int(&q, 1);
	ret->expires = query_get_int(&q, 2);
	query_get_bytes(&q, 3, ret->private_key, sizeof(ret->private_key),
			&ret->private_len);
	return query_verdict(&q);
}

int
keystore_expire_imports(struct keystore *ks, int64_t now, bool *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "DELETE FROM imports WHERE expires <= ?");
	int r;

	query_put_int(&q, now);
	r = query_change(&q);
	*ret = r == 0;
	return r == -ENOKEY ? 0 : r;
}

int
keystore_any_due(struct keystore *ks, int64_t now)
{
	CLEANUP(query_end)
	struct query q =
	    query(ks, "SELECT 1 WHERE"
		      " EXISTS (SELECT 1 FROM keys WHERE destroyed IS NULL AND"
		      " (delete_at <= ?1 OR material_expires <= ?1))"
		      " OR EXISTS (SELECT 1 FROM imports"
		      " WHERE expires <= ?1)");

	query_put_int(&q, now);
	return query_row(&q);
}
