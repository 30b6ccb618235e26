/*
 * keystore_schema.c - the tables, and how those of an older program become
 * those of this one.
 *
 * Ids are stored as 16 bytes, states by their names in the KMS API, times in
 * seconds since the epoch.  Keys, versions and aliases are numbered as they are
 * made; the newest version of a key wraps, all unwrap.  A key lives in a
 * region, and an alias is unique in one.  A version's material is NULL if not
 * imported yet, or destroyed; the row of a destroyed key stays, so that what
 * was wrapped under it can be told from what never was.
 *
 * A format is the one before it and a step.  A new keystore goes all the way
 * from the first one, so that its tables are, word for word, those of one that
 * was made then and has come along.
 */
#include <errno.h>
#include <stdio.h>

#include "keystore_private.h"

static const char *const steps[] = {
	/* 1 */
	"CREATE TABLE keystore ("
	" id INTEGER PRIMARY KEY CHECK (id = 1),"
	" uuid BLOB NOT NULL,"
	" created INTEGER NOT NULL,"
	" wrapped_key BLOB NOT NULL);"
	"CREATE TABLE keys ("
	" seq INTEGER PRIMARY KEY,"
	" id BLOB NOT NULL UNIQUE,"
	" region TEXT NOT NULL,"
	" description TEXT NOT NULL,"
	" creator TEXT NOT NULL,"
	" origin TEXT NOT NULL,"
	" state TEXT NOT NULL,"
	" created INTEGER NOT NULL);"
	"CREATE TABLE versions ("
	" seq INTEGER PRIMARY KEY,"
	" id BLOB NOT NULL UNIQUE,"
	" key INTEGER NOT NULL REFERENCES keys (seq),"
	" created INTEGER NOT NULL,"
	" material BLOB);"
	"CREATE INDEX versions_by_key ON versions (key);"
	"CREATE TABLE aliases ("
	" seq INTEGER PRIMARY KEY,"
	" region TEXT NOT NULL,"
	" name TEXT NOT NULL,"
	" key INTEGER NOT NULL REFERENCES keys (seq),"
	" created INTEGER NOT NULL,"
	" UNIQUE (region, name));"
	"CREATE INDEX aliases_by_key ON aliases (key);",

	/* 2: when a key shall be destroyed, and when it was. */
	"ALTER TABLE keys ADD COLUMN delete_at INTEGER;"
	"ALTER TABLE keys ADD COLUMN destroyed INTEGER;",

	/* 3: all else that is said of a key; keys to import others with.
	 * rotation is in seconds; protection is what is said of it; the check
	 * tells imported material again. */
	"ALTER TABLE keys ADD COLUMN rotation INTEGER;"
	"ALTER TABLE keys ADD COLUMN protection TEXT;"
	"ALTER TABLE keys ADD COLUMN policy TEXT;"
	"ALTER TABLE keys ADD COLUMN instance TEXT;"
	"ALTER TABLE keys ADD COLUMN material_check BLOB;"
	"ALTER TABLE keys ADD COLUMN material_expires INTEGER;"
	"CREATE INDEX keys_rotating ON keys (rotation)"
	" WHERE rotation IS NOT NULL;"
	"CREATE TABLE tags ("
	" key INTEGER NOT NULL REFERENCES keys (seq),"
	" name TEXT NOT NULL,"
	" value TEXT NOT NULL,"
	" PRIMARY KEY (key, name)) WITHOUT ROWID;"
	"CREATE TABLE imports ("
	" seq INTEGER PRIMARY KEY,"
	" id BLOB NOT NULL UNIQUE,"
	" key INTEGER NOT NULL REFERENCES keys (seq),"
	" padding INTEGER NOT NULL,"
	" expires INTEGER NOT NULL,"
	" private_key BLOB NOT NULL);"
	"CREATE INDEX imports_by_key ON imports (key);",

	/* 4: who may call, how often they did, where the audit log ends.  A
	 * policy is a document; a month is 202611; usage without a key has "".
	 */
	"CREATE TABLE access_keys ("
	" seq INTEGER PRIMARY KEY,"
	" id TEXT NOT NULL UNIQUE,"
	" principal TEXT NOT NULL,"
	" secret BLOB NOT NULL,"
	" enabled INTEGER NOT NULL,"
	" created INTEGER NOT NULL);"
	"CREATE TABLE policies ("
	" principal TEXT PRIMARY KEY,"
	" document TEXT NOT NULL,"
	" changed INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE usage ("
	" month INTEGER NOT NULL,"
	" principal TEXT NOT NULL,"
	" key TEXT NOT NULL,"
	" action TEXT NOT NULL,"
	" billable INTEGER NOT NULL,"
	" calls INTEGER NOT NULL,"
	" PRIMARY KEY (month, principal, key, action, billable))"
	" WITHOUT ROWID;"
	"CREATE TABLE audit ("
	" id INTEGER PRIMARY KEY CHECK (id = 1),"
	" file INTEGER NOT NULL,"
	" size INTEGER NOT NULL,"
	" lines INTEGER NOT NULL,"
	" hash BLOB NOT NULL);",

	/* 5: how far disks have come. */
	"CREATE TABLE anchors ("
	" disk BLOB PRIMARY KEY NOT NULL,"
	" generation INTEGER NOT NULL,"
	" digest BLOB NOT NULL,"
	" updated INTEGER NOT NULL);",

	/* 6: the newest times that requests with an access key had which were
	 * ahead of our clock: of this run of a server, and of those before. */
	"ALTER TABLE access_keys ADD COLUMN run INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE access_keys ADD COLUMN newest INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE access_keys ADD COLUMN before INTEGER NOT NULL DEFAULT 0;",
};
#define NSTEPS (sizeof(steps) / sizeof(steps[0]))

_Static_assert(NSTEPS == KEYSTORE_SCHEMA_VERSION, "a step a format");

int
keystore_upgrade_schema(struct keystore *ks, unsigned from, unsigned to)
{
	char mark[64];
	unsigned i;
	int r;

	for (i = from; i < to; i++) {
		r = keystore_exec(ks, steps[i]);
		if (r < 0)
			return r;
	}
	(void)snprintf(mark, sizeof(mark), "PRAGMA user_version = %u", to);
	return keystore_exec(ks, mark);
}

int
keystore_create_schema(struct keystore *ks, unsigned version)
{
	char mark[64];
	int r;

	(void)snprintf(mark, sizeof(mark), "PRAGMA application_id = %d",
		       KEYSTORE_APPLICATION_ID);
	r = keystore_exec(ks, mark);
	return r < 0 ? r : keystore_upgrade_schema(ks, 0, version);
}
