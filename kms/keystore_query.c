/*
 * keystore_query.c - statements and their rows; see keystore_private.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/log.h>

#include "keystore_handle.h"

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
	return q->rc == SQLITE_DONE ? 0 : keystore_fault(q->ks, q->rc);
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

	return rc == SQLITE_OK ? 0 : keystore_fault(ks, rc);
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
