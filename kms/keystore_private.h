/*
 * keystore_private.h - SQLite for the files of the keystore that do not
 * include sqlite3.h.
 *
 *     CLEANUP(query_end) struct query q = query(ks, "SELECT ... WHERE a = ?");
 *     query_put_int(&q, a);
 *     r = query_row(&q);
 *     if (r < 0)
 *             return r;
 *     query_get_id(&q, 0, &id);
 *     return query_verdict(&q);
 *
 * An error on the way is kept and told by the next step or verdict.
 */
#ifndef SEALDISK_KMS_KEYSTORE_PRIVATE_H
#define SEALDISK_KMS_KEYSTORE_PRIVATE_H

#include "keystore.h"

/* One run of a statement: parameters in order, then rows. */
struct query {
	struct keystore *ks;
	struct sqlite3_stmt *st;
	int nparams, rc;
	bool bad; /* a column is not what it should be */
};

/* ${sql} is a literal: the statement is kept by its address. */
struct query query(struct keystore *ks, const char *sql) NONNULL;
void query_end(struct query *q) NONNULL;

/* What is put must live until the query ends.  No bytes are NULL. */
void query_put_int(struct query *q, int64_t v) NONNULL;
/* NULL is NULL. */
void query_put_text(struct query *q, const char *s)
    __attribute__((__nonnull__(1)));
void query_put_blob(struct query *q, const void *p, size_t len)
    __attribute__((__nonnull__(1)));
void query_put_id(struct query *q, const struct uuid *id) NONNULL;

/* 1: a row, 0: no more. */
int query_step(struct query *q) NONNULL CHECKED;
/* For a statement that must find a row: -ENOKEY if there is none. */
int query_row(struct query *q) NONNULL CHECKED;
/* For a statement that must change a row: -ENOKEY if it changed none. */
int query_change(struct query *q) NONNULL CHECKED;

int64_t query_get_int(struct query *q, int col) NONNULL;
void query_get_text(struct query *q, int col, char *out, size_t cap) NONNULL;
/* As much of it as there is room for, in whole characters. */
void query_get_start(struct query *q, int col, char *out, size_t cap) NONNULL;
/* malloc'ed; NULL for NULL.  -ENOMEM, -EUCLEAN: longer than ${max}, or has NULs
 */
int query_copy_text(struct query *q, int col, size_t max, char **ret)
    NONNULL CHECKED;
/* *${ret_len} of ${cap} bytes. */
void query_get_bytes(struct query *q, int col, void *out, size_t cap,
		     size_t *ret_len) NONNULL;
void query_get_blob(struct query *q, int col, struct keystore_blob *ret)
    NONNULL;
void query_get_id(struct query *q, int col, struct uuid *ret) NONNULL;
bool query_is_null(struct query *q, int col) NONNULL;
/* -EUCLEAN  a column was bad */
int query_verdict(const struct query *q) NONNULL CHECKED;

/* keystore.c: any SQLite file, or, ${path} NULL, an empty one in memory. */
int keystore_open_raw(const char *path, bool write, struct keystore **ret)
    __attribute__((__nonnull__(3))) CHECKED;
/* Its format.  -EUCLEAN: no keystore; -EOPNOTSUPP: a newer one */
int keystore_check_kind(struct keystore *ks, unsigned *ret_version)
    NONNULL CHECKED;
int keystore_exec(struct keystore *ks, const char *sql) NONNULL CHECKED;
int64_t keystore_last_seq(struct keystore *ks) NONNULL;
const char *keystore_path(const struct keystore *ks) NONNULL;

/* keystore_schema.c: of a new file; and, in a transaction, what there is. */
int keystore_create_schema(struct keystore *ks, unsigned version)
    NONNULL CHECKED;
int keystore_upgrade_schema(struct keystore *ks, unsigned from, unsigned to)
    NONNULL CHECKED;

/* keystore_rows.c */
int keystore_add_head(struct keystore *ks, const struct keystore_head *head)
    NONNULL CHECKED;

#define KEYSTORE_APPLICATION_ID 1399081843 /* "Sdks" */
#define KEYSTORE_SCHEMA_VERSION 6

#endif
