/*
 * keystore.c - the file, transactions and queries; see keystore.h.
 *
 * The file is in WAL mode with synchronous=FULL: readers never wait, one writer
 * at a time does, and a commit is an fsync of the log.
 *
 * No descriptor of a keystore may be opened and closed beside SQLite's own in
 * one process: POSIX locks end with the first close of any.  So it is looked at
 * by name only (stat), and copied by SQLite only.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/log.h>

#include "keystore_private.h"

#define NSTATEMENTS 96 /* more than there are */

struct keystore {
	sqlite3 *db;
	struct {
		const char *sql;
		sqlite3_stmt *st;
	} kept[NSTATEMENTS];
	bool held;
	char path[];
};

int keystore_busy_ms = 5000;

/* Errors. */

static int
to_errno(sqlite3 *db, int rc)
{
	int err;

	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EHOSTDOWN;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_CONSTRAINT:
		return rc == SQLITE_CONSTRAINT_UNIQUE ? -EEXIST : -EIO;
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR:
		err = sqlite3_system_errno(db);
		return err == EACCES || err == EROFS || err == ENOSPC ? -err
								      : -EIO;
	default:
		return -EIO;
	}
}

static int
fault(struct keystore *ks, int rc)
{
	int r = to_errno(ks->db, rc);

	/* That it is none, or that a name is taken, the caller tells. */
	if (r != -EEXIST && rc != SQLITE_NOTADB)
		log_error("keystore %s: %s", ks->path, sqlite3_errmsg(ks->db));
	return r;
}

/* Queries. */

struct query
query(struct keystore *ks, const char *sql)
{
	struct query q = { .ks = ks };
	size_t i;

	for (i = 0; i < NSTATEMENTS; i++)
		if (!ks->kept[i].sql || ks->kept[i].sql == sql)
			break;
	if (i == NSTATEMENTS) {
		q.rc = SQLITE_MISUSE;
		return q;
	}
	ks->kept[i].sql = sql;
	if (!ks->kept[i].st)
		q.rc = sqlite3_prepare_v3(ks->db, sql, -1,
					  SQLITE_PREPARE_PERSISTENT,
					  &ks->kept[i].st, NULL);
	q.st = ks->kept[i].st;
	return q;
}

void
query_end(struct query *q)
{
	if (!q->st)
		return;
	(void)sqlite3_reset(q->st); /* repeats the error of the last step */
	(void)sqlite3_clear_bindings(q->st);
}

void
query_put_int(struct query *q, int64_t v)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_int64(q->st, ++q->nparams, v);
}

void
query_put_text(struct query *q, const char *s)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_text(q->st, ++q->nparams, s, -1,
					  SQLITE_STATIC);
}

void
query_put_blob(struct query *q, const void *p, size_t len)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_blob64(q->st, ++q->nparams, len ? p : NULL,
					    len, SQLITE_STATIC);
}

void
query_put_id(struct query *q, const struct uuid *id)
{
	query_put_blob(q, id->bytes, sizeof(id->bytes));
}

int
query_step(struct query *q)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_step(q->st);
	if (q->rc == SQLITE_ROW) {
		q->rc = SQLITE_OK;
		return 1;
	}
	return q->rc == SQLITE_DONE ? 0 : fault(q->ks, q->rc);
}

int
query_row(struct query *q)
{
	int r = query_step(q);

	return r > 0 ? 0 : r < 0 ? r : -ENOKEY;
}

int
query_change(struct query *q)
{
	int r = query_step(q);

	if (r < 0)
		return r;
	return sqlite3_changes(q->ks->db) ? 0 : -ENOKEY;
}

int64_t
query_get_int(struct query *q, int col)
{
	return sqlite3_column_int64(q->st, col);
}

void
query_get_text(struct query *q, int col, char *out, size_t cap)
{
	const unsigned char *s = sqlite3_column_text(q->st, col);
	size_t len = (size_t)sqlite3_column_bytes(q->st, col);

	if (!s || len >= cap || memchr(s, '\0', len)) {
		q->bad = true;
		return;
	}
	memcpy(out, s, len + 1);
}

void
query_get_start(struct query *q, int col, char *out, size_t cap)
{
	const unsigned char *s = sqlite3_column_text(q->st, col);
	size_t len = (size_t)sqlite3_column_bytes(q->st, col);

	if (!s || memchr(s, '\0', len)) {
		q->bad = true;
		return;
	}
	if (len >= cap)
		for (len = cap - 1; len && (s[len] & 0xc0) == 0x80; len--)
			;
	memcpy(out, s, len);
	out[len] = '\0';
}

int
query_copy_text(struct query *q, int col, size_t max, char **ret)
{
	const unsigned char *s = sqlite3_column_text(q->st, col);
	size_t len = (size_t)sqlite3_column_bytes(q->st, col);

	*ret = NULL;
	if (!s && query_is_null(q, col))
		return 0;
	if (!s)
		return -ENOMEM;
	if (len > max || memchr(s, '\0', len)) {
		q->bad = true;
		return query_verdict(q);
	}
	*ret = strdup((const char *)s);
	return *ret ? 0 : -ENOMEM;
}

void
query_get_bytes(struct query *q, int col, void *out, size_t cap,
		size_t *ret_len)
{
	const void *p = sqlite3_column_blob(q->st, col);
	size_t len = (size_t)sqlite3_column_bytes(q->st, col);

	if (len > cap) {
		q->bad = true;
		len = 0;
	}
	if (len)
		memcpy(out, p, len);
	*ret_len = len;
}

void
query_get_blob(struct query *q, int col, struct keystore_blob *ret)
{
	query_get_bytes(q, col, ret->bytes, sizeof(ret->bytes), &ret->len);
}

void
query_get_id(struct query *q, int col, struct uuid *ret)
{
	struct keystore_blob b = { .len = 0 };

	query_get_blob(q, col, &b);
	if (b.len == sizeof(ret->bytes))
		memcpy(ret->bytes, b.bytes, sizeof(ret->bytes));
	else
		q->bad = true;
}

bool
query_is_null(struct query *q, int col)
{
	return sqlite3_column_type(q->st, col) == SQLITE_NULL;
}

int
query_verdict(const struct query *q)
{
	if (!q->bad)
		return 0;
	log_error("keystore %s: a row is malformed", q->ks->path);
	return -EUCLEAN;
}

int
keystore_exec(struct keystore *ks, const char *sql)
{
	int rc = sqlite3_exec(ks->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fault(ks, rc);
}

int64_t
keystore_last_seq(struct keystore *ks)
{
	return sqlite3_last_insert_rowid(ks->db);
}

const char *
keystore_path(const struct keystore *ks)
{
	return ks->path;
}

/* Handles. */

void
keystore_close(struct keystore *ks)
{
	size_t i;

	if (!ks)
		return;
	for (i = 0; i < NSTATEMENTS; i++)
		(void)sqlite3_finalize(ks->kept[i].st);
	(void)sqlite3_close(ks->db);
	free(ks);
}

int
keystore_open_raw(const char *path, bool write, struct keystore **ret)
{
	int flags = write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
	CLEANUP(keystore_closep) struct keystore *ks = NULL;
	const char *name = path ? path : ":memory:";
	size_t len = strlen(name) + 1;
	struct stat st;
	int rc;

	if (path && stat(path, &st) < 0)
		return -errno;
	if (path && !S_ISREG(st.st_mode)) {
		log_debug("%s is not a regular file, so no keystore", path);
		return -EUCLEAN;
	}
	ks = calloc(1, sizeof(*ks) + len);
	if (!ks)
		return -ENOMEM;
	memcpy(ks->path, name, len);
	rc = sqlite3_open_v2(name, &ks->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc != SQLITE_OK)
		return ks->db ? fault(ks, rc) : -ENOMEM;
	(void)sqlite3_extended_result_codes(ks->db, 1);
	(void)sqlite3_busy_timeout(ks->db, keystore_busy_ms);
	/* What someone else put into a schema runs nothing. */
	(void)sqlite3_db_config(ks->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(ks->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0,
				NULL);
	*ret = TAKE(ks);
	return 0;
}

static int
get_number(struct keystore *ks, const char *sql, int64_t *ret)
{
	CLEANUP(query_end) struct query q = query(ks, sql);
	int r;

	r = query_row(&q);
	if (r == 0)
		*ret = query_get_int(&q, 0);
	return r;
}

int
keystore_check_kind(struct keystore *ks, unsigned *ret_version)
{
	int64_t id, version;
	int r;

	r = get_number(ks, "PRAGMA application_id", &id);
	if (r < 0)
		return r;
	r = get_number(ks, "PRAGMA user_version", &version);
	if (r < 0)
		return r;
	if (id != KEYSTORE_APPLICATION_ID || version < 1) {
		log_debug("%s is not a keystore", ks->path);
		return -EUCLEAN;
	}
	if (version > KEYSTORE_SCHEMA_VERSION) {
		log_debug("keystore %s has format %lld, this program knows "
			  "up to %d",
			  ks->path, (long long)version,
			  KEYSTORE_SCHEMA_VERSION);
		return -EPROTONOSUPPORT;
	}
	*ret_version = (unsigned)version;
	return 0;
}

/* Where the file system cannot do WAL, SQLite keeps to a rollback journal: just
 * as durable.  What is deleted is overwritten. */
static int
set_durable(struct keystore *ks)
{
	return keystore_exec(ks, "PRAGMA foreign_keys = ON;"
				 "PRAGMA secure_delete = ON;"
				 "PRAGMA synchronous = FULL;"
				 "PRAGMA journal_mode = WAL");
}

/* Another process may be at it, too: look again under the lock. */
static int
upgrade(struct keystore *ks)
{
	unsigned version;
	int r;

	r = keystore_begin(ks, true);
	if (r < 0)
		return r;
	r = keystore_check_kind(ks, &version);
	if (r == 0)
		r = keystore_upgrade_schema(ks, version,
					    KEYSTORE_SCHEMA_VERSION);
	if (r == 0)
		return keystore_commit(ks);
	keystore_rollback(ks);
	return r;
}

int
keystore_open(const char *path, struct keystore **ret)
{
	CLEANUP(keystore_closep) struct keystore *ks = NULL;
	unsigned version;
	int r;

	r = keystore_open_raw(path, true, &ks);
	if (r < 0)
		return r;
	if (sqlite3_db_readonly(ks->db, "main")) {
		log_debug("keystore %s can be read but not written", path);
		return -EACCES;
	}
	r = keystore_check_kind(ks, &version);
	if (r < 0)
		return r;
	r = set_durable(ks);
	if (r == 0 && version < KEYSTORE_SCHEMA_VERSION)
		r = upgrade(ks);
	if (r < 0)
		return r;
	*ret = TAKE(ks);
	return 0;
}

int
keystore_make(const char *path, const struct keystore_head *head)
{
	CLEANUP(keystore_closep) struct keystore *ks = NULL;
	int r;

	r = keystore_open_raw(path, true, &ks);
	if (r < 0)
		return r;
	r = keystore_create_schema(ks, KEYSTORE_SCHEMA_VERSION);
	if (r < 0)
		return r;
	r = set_durable(ks);
	if (r < 0)
		return r;
	return keystore_add_head(ks, head);
}

/* Transactions. */

static int
run(struct keystore *ks, const char *sql)
{
	CLEANUP(query_end) struct query q = query(ks, sql);

	return query_step(&q);
}

/* Is the name no longer that of the file which is open? */
static bool
has_moved(struct keystore *ks)
{
	int moved = 0;

	(void)sqlite3_file_control(ks->db, "main", SQLITE_FCNTL_HAS_MOVED,
				   &moved);
	return moved;
}

static int
open_again(struct keystore *ks)
{
	CLEANUP(keystore_closep) struct keystore *now = NULL;
	struct keystore was;
	int r;

	log_note("keystore %s was moved or replaced", ks->path);
	r = keystore_open(ks->path, &now);
	/* It was there: to who asks for a key this is no missing file. */
	if (r == -ENOENT)
		r = -EHOSTDOWN;
	if (r < 0)
		return r;
	if (ks->held)
		r = keystore_hold(now);
	if (r < 0)
		return r;
	was = *ks; /* all but the path, which is the same */
	*ks = *now;
	*now = was;
	return 0;
}

int
keystore_begin(struct keystore *ks, bool write)
{
	int r, tries;

	/*
	 * Looked at when the lock is held already: who moves the file aside
	 * holds it while he does.
	 */
	for (tries = 0; tries < 3; tries++) {
		r = write ? run(ks, "BEGIN IMMEDIATE") : run(ks, "BEGIN");
		if (r < 0 || !has_moved(ks))
			return r;
		keystore_rollback(ks);
		r = open_again(ks);
		if (r < 0)
			return r;
	}
	return -EHOSTDOWN;
}

/* SQLite takes the lock with the next change, and keeps it. */
int
keystore_hold(struct keystore *ks)
{
	int r;

	r = keystore_exec(ks, "PRAGMA locking_mode = EXCLUSIVE");
	if (r == 0)
		r = keystore_exec(ks, "BEGIN EXCLUSIVE; UPDATE keystore"
				      " SET created = created; COMMIT");
	if (r == 0)
		ks->held = true;
	else
		keystore_rollback(ks);
	return r;
}

int
keystore_commit(struct keystore *ks)
{
	int r = run(ks, "COMMIT");

	if (r < 0)
		keystore_rollback(ks);
	return r;
}

void
keystore_forget(struct keystore *ks)
{
	/* Who reads just now keeps part of the log: the next one takes it. */
	(void)sqlite3_wal_checkpoint_v2(ks->db, "main",
					SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

void
keystore_rollback(struct keystore *ks)
{
	if (!sqlite3_get_autocommit(ks->db) && run(ks, "ROLLBACK") < 0)
		log_error("keystore %s: cannot roll back", ks->path);
}
