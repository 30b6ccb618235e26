/*
 * keystore_anchors.c - the rows of `anchors`: of each disk that has one, how
 * far it had come when it was last told.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "keystore_private.h"

int
keystore_get_anchor(struct keystore *ks, const struct uuid *disk,
		    struct keystore_anchor *ret)
{
	CLEANUP(query_end)
	struct query q = query(ks, "SELECT generation, digest FROM anchors"
				   " WHERE disk = ?");
	struct keystore_anchor a = { 0 };
	struct keystore_blob digest;
	int r;

	query_put_id(&q, disk);
	r = query_row(&q);
	if (r < 0)
		return r;
	a.generation = (uint64_t)query_get_int(&q, 0);
	query_get_blob(&q, 1, &digest);
	if (digest.len != sizeof(a.digest))
		q.bad = true;
	r = query_verdict(&q);
	if (r < 0)
		return r;
	memcpy(a.digest, digest.bytes, sizeof(a.digest));
	*ret = a;
	return 0;
}

int
keystore_put_anchor(struct keystore *ks, const struct uuid *disk,
		    const struct keystore_anchor *a)
{
	CLEANUP(query_end)
	struct query q = query(ks, "INSERT OR REPLACE INTO anchors"
				   " (disk, generation, digest, updated)"
				   " VALUES (?, ?, ?, ?)");

	query_put_id(&q, disk);
	query_put_int(&q, (int64_t)a->generation);
	query_put_blob(&q, a->digest, sizeof(a->digest));
	query_put_int(&q, time(NULL));
	return query_change(&q);
}
