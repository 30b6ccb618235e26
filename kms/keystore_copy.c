/*
 * keystore_copy.c - a keystore saved, looked over and put back.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "keystore_private.h"

int
keystore_open_copy(const char *path, struct keystore **ret)
{
	CLEANUP(keystore_closep) struct keystore *ks = NULL;
	unsigned version;
	int r;

	r = keystore_open_raw(path, false, &ks);
	if (r < 0)
		return r;
	r = keystore_check_kind(ks, &version);
	if (r < 0)
		return r;
	*ret = TAKE(ks);
	return 0;
}

int
keystore_save(struct keystore *ks, const char *to)
{
	CLEANUP(query_end) struct query q = query(ks, "VACUUM INTO ?");

	query_put_text(&q, to);
	return query_step(&q);
}

static int
check_whole(struct keystore *ks)
{
	CLEANUP(query_end) struct query q = query(ks, "PRAGMA quick_check(1)");
	char text[512] = "?";
	int r;

	r = query_row(&q);
	if (r < 0)
		return r;
	query_get_text(&q, 0, text, sizeof(text));
	if (strcmp(text, "ok") == 0)
		return 0;
	log_error("keystore %s is damaged: %s", keystore_path(ks), text);
	return -EUCLEAN;
}

static int
check_references(struct keystore *ks)
{
	CLEANUP(query_end)
	struct query q = query(ks, "PRAGMA foreign_key_check");
	int r = query_step(&q);

	if (r <= 0)
		return r;
	log_error("keystore %s is damaged: a row hangs on no key",
		  keystore_path(ks));
	return -EUCLEAN;
}

/* 1: another line of both, 0: the end of both, -EUCLEAN: they differ. */
static int
compare_line(struct query *a, struct query *b)
{
	char ta[1024], tb[1024];
	int ra = query_step(a), rb = query_step(b);

	if (ra < 0 || rb < 0)
		return ra < 0 ? ra : rb;
	if (ra != rb)
		return -EUCLEAN;
	if (ra == 0)
		return 0;
	query_get_text(a, 0, ta, sizeof(ta));
	query_get_text(b, 0, tb, sizeof(tb));
	return a->bad || b->bad || strcmp(ta, tb) != 0 ? -EUCLEAN : 1;
}

/* Are the tables, word for word, those of their format? */
static int
check_schema(struct keystore *ks)
{
	static const char sql[] = "SELECT type || ' ' || name || ' ' ||"
				  " ifnull(sql, '') FROM sqlite_master"
				  " ORDER BY 1";
	CLEANUP(keystore_closep) struct keystore *model = NULL;
	CLEANUP(query_end) struct query ours = { .ks = NULL };
	CLEANUP(query_end) struct query its = query(ks, sql);
	unsigned version;
	int r;

	r = keystore_check_kind(ks, &version);
	if (r < 0)
		return r;
	r = keystore_open_raw(NULL, true, &model);
	if (r < 0)
		return r;
	r = keystore_create_schema(model, version);
	if (r < 0)
		return r;
	ours = query(model, sql);
	do
		r = compare_line(&its, &ours);
	while (r > 0);
	if (r == -EUCLEAN)
		log_error("keystore %s: its tables are not those of format %u",
			  keystore_path(ks), version);
	return r;
}

int
keystore_check(struct keystore *ks)
{
	int r;

	r = check_whole(ks);
	if (r < 0)
		return r;
	r = check_schema(ks);
	if (r < 0)
		return r;
	return check_references(ks);
}

static int
attach(struct keystore *ks, const char *path)
{
	CLEANUP(query_end) struct query q = query(ks, "ATTACH ? AS source");

	query_put_text(&q, path);
	return query_step(&q);
}

int
keystore_take(struct keystore *ks, const char *from)
{
	int r;

	r = attach(ks, from);
	if (r < 0)
		return r;
	/* Children go first and come last.  The audit log is that of the place
	 * where the keystore lies: where it ends, its own keystore knows. */
	return keystore_exec(
	    ks, "DELETE FROM imports; DELETE FROM tags;"
		"DELETE FROM access_keys; DELETE FROM policies;"
		"DELETE FROM usage;"
		"DELETE FROM aliases; DELETE FROM versions;"
		"DELETE FROM keys; DELETE FROM keystore;"
		"INSERT INTO keystore SELECT * FROM source.keystore;"
		"INSERT INTO keys SELECT * FROM source.keys;"
		"INSERT INTO versions SELECT * FROM source.versions;"
		"INSERT INTO aliases SELECT * FROM source.aliases;"
		"INSERT INTO tags SELECT * FROM source.tags;"
		"INSERT INTO imports SELECT * FROM source.imports;"
		"INSERT INTO access_keys SELECT * FROM source.access_keys;"
		"INSERT INTO policies SELECT * FROM source.policies;"
		"INSERT INTO usage SELECT * FROM source.usage;"
		"INSERT OR IGNORE INTO audit SELECT * FROM source.audit;"
		"INSERT OR REPLACE INTO anchors SELECT * FROM source.anchors s"
		" WHERE NOT EXISTS (SELECT 1 FROM anchors a WHERE"
		" a.disk = s.disk AND a.generation > s.generation);");
}
