/*
 * keystore.c - the file and its transactions; see keystore.h.
 *
 * The file is in WAL mode with synchronous=FULL: readers never wait, one writer
 * at a time does, and a commit is an fsync of the log.
 *
 * No descriptor of a keystore may be opened and closed beside SQLite's own in
 * one process: POSIX locks end with the first close of any.  So it is looked at
 * by name only (stat), and copied by SQLite only.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "keystore_handle.h"

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

int
keystore_fault(struct keystore *ks, int rc)
{
	int r = to_errno(ks->db, rc);

	/* That it is none, or that a name is taken, the caller tells. */
	if (r != -EEXIST && rc != SQLITE_NOTADB)
		log_error("keystore %s: %s", ks->path, sqlite3_errmsg(ks->db));
	return r;
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
		return ks->db ? keystore_fault(ks, rc) : -ENOMEM;
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

/*
 * Before SQLite sees it: it takes the log beside a file that it cannot make
 * sense of for one that has no use, and with that the last changes of the
 * keystore whose place the file has taken.
 */
static int
look_at_file(const char *path)
{
	static const char magic[16] = "SQLite format 3";
	CLEANUP(close_fdp)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	uint8_t head[72];
	uint32_t id;

	if (fd < 0)
		return -errno;
	if (io_pread_all(fd, head, sizeof(head), 0) < 0)
		return -EUCLEAN;
	id = (uint32_t)head[68] << 24 | (uint32_t)head[69] << 16 |
	     (uint32_t)head[70] << 8 | head[71];
	return memcmp(head, magic, sizeof(magic)) == 0 &&
		       id == KEYSTORE_APPLICATION_ID
		   ? 0
		   : -EUCLEAN;
}

int
keystore_open(const char *path, struct keystore **ret)
{
	CLEANUP(keystore_closep) struct keystore *ks = NULL;
	unsigned version;
	int r;

	r = look_at_file(path);
	if (r == -EUCLEAN)
		log_debug("%s is no keystore", path);
	if (r < 0)
		return r;
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
	/* What was put there in between may have taken away the log that
	 * belongs to our file: even if that comes back, it is opened anew. */
	ks->stale = true;
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
		if (r < 0 || (!ks->stale && !has_moved(ks)))
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
