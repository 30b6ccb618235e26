/*
 * keystore_handle.h - an open keystore, for the files that talk to SQLite.
 */
#ifndef SEALDISK_KMS_KEYSTORE_HANDLE_H
#define SEALDISK_KMS_KEYSTORE_HANDLE_H

#include <sqlite3.h>

#include "keystore_private.h"

#define NSTATEMENTS 96 /* more than there are */

struct keystore {
	sqlite3 *db;
	struct {
		const char *sql;
		sqlite3_stmt *st;
	} kept[NSTATEMENTS];
	bool held;
	bool stale; /* its file was away: to be opened anew */
	char path[];
};

/* The errno of SQLite's ${rc}, which is logged with its text. */
int keystore_fault(struct keystore *ks, int rc) NONNULL CHECKED;

#endif
