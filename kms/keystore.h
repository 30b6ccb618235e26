/*
 * keystore.h - keys, versions and aliases in one SQLite file.
 *
 * It stores rows and knows neither what they mean nor any key: secrets pass it
 * only wrapped.
 *
 * A struct keystore belongs to one thread at a time and is never carried over a
 * fork; any number of them, in any number of processes, may have one file open.
 * Between keystore_begin() and keystore_commit() one of them sees one state of
 * the file, and alone changes it if it said so.
 *
 * 0 or a negative errno; results are written only on success:
 * -ENOKEY no such row; -EEXIST its name is taken; -EHOSTDOWN others kept the
 * file locked for 5 seconds; -EUCLEAN it is damaged, or no keystore;
 * -EOPNOTSUPP it has a newer schema; -EROFS, -EACCES, -ENOSPC, -ENOMEM as
 * usual; -EIO else.  All but the first two are logged here, with SQLite's text.
 */
#ifndef SEALDISK_KMS_KEYSTORE_H
#define SEALDISK_KMS_KEYSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/codec.h>
#include <sealdisk/kms.h>

#define KEYSTORE_WRAPPED_MAX 256 /* bytes */
#define KEYSTORE_REGION_LEN 64

struct keystore;

/* How long to wait for others; tests have less time. */
extern int keystore_busy_ms;

struct keystore_blob {
	uint8_t bytes[KEYSTORE_WRAPPED_MAX];
	size_t len;
};

/* What the file says of itself. */
struct keystore_head {
	struct uuid uuid;
	int64_t created;
	struct keystore_blob key; /* the keystore key, wrapped by the root */
};

/*
 * A key and one of its versions: the newest, or the one that was asked for.
 * Of ${info}, arn, primary_version and rotate_at are left to the caller.
 */
struct keystore_key {
	int64_t seq; /* in the order of their making */
	struct uuid id;
	char region[KEYSTORE_REGION_LEN];
	struct kms_key_info info;
	struct uuid version;           /* nil: it has none */
	struct keystore_blob material; /* wrapped; empty: it has none */
	bool destroyed;                /* a tombstone */
	struct keystore_blob check;    /* of imported material; empty: none */
};

/* Make ${path}, an empty file that nobody has open, a keystore without keys. */
int keystore_make(const char *path, const struct keystore_head *head)
    NONNULL CHECKED;
/* -ENOENT  there is no file */
int keystore_open(const char *path, struct keystore **ret) NONNULL CHECKED;
void keystore_close(struct keystore *ks);
/* From now on nobody else can use the file, until it is closed. */
int keystore_hold(struct keystore *ks) NONNULL CHECKED;
DEFINE_CLEANUP(struct keystore, keystore_close)

/**
 * keystore_begin(ks, write):
 * Begin a transaction.  If the file was moved away and another put in its
 * place, that one is used from now on: nothing is written to a keystore that
 * has no name any more.
 */
int keystore_begin(struct keystore *ks, bool write) NONNULL CHECKED;
/* End it.  Once this returned 0, what was written is durable. */
int keystore_commit(struct keystore *ks) NONNULL CHECKED;
void keystore_rollback(struct keystore *ks) NONNULL;
/* After a commit: let the log, too, forget what was overwritten, as far as that
 * can be had. */
void keystore_forget(struct keystore *ks) NONNULL;

int keystore_get_head(struct keystore *ks, struct keystore_head *ret)
    NONNULL CHECKED;
bool keystore_same_head(const struct keystore_head *a,
			const struct keystore_head *b) NONNULL;
int keystore_set_head_key(struct keystore *ks, const struct keystore_blob *key)
    NONNULL CHECKED;
int keystore_get_key(struct keystore *ks, const struct uuid *id,
		     struct keystore_key *ret) NONNULL CHECKED;
int keystore_get_alias(struct keystore *ks, const char *region,
		       const char *alias, struct keystore_key *ret)
    NONNULL CHECKED;
int keystore_get_version(struct keystore *ks, const struct uuid *version,
			 struct keystore_key *ret) NONNULL CHECKED;

/* The first key (no destroyed one), version or alias after ${seq}; -ENOKEY at
 * the end. */
int keystore_next_key(struct keystore *ks, const char *region, int64_t seq,
		      struct keystore_key *ret) NONNULL CHECKED;
int keystore_next_version(struct keystore *ks, int64_t seq, int64_t *ret_seq,
			  struct uuid *ret) NONNULL CHECKED;
/* Of ${key} alone, and when it was made. */
int keystore_next_version_of(struct keystore *ks, int64_t key, int64_t *seq,
			     struct uuid *ret, int64_t *ret_created)
    NONNULL CHECKED;
int keystore_next_alias(struct keystore *ks, const char *region, int64_t seq,
			int64_t *ret_seq, char ret_alias[static KMS_ALIAS_LEN],
			struct uuid *ret_key) NONNULL CHECKED;

/* Of ${key}: ids, region, creator, origin, state, created, instance and
 * rotate_every are stored, and if it has a version that too.  *${ret_seq} is
 * its seq. */
int keystore_add_key(struct keystore *ks, const struct keystore_key *key,
		     const char *description, int64_t *ret_seq) NONNULL CHECKED;
/* Of ${key}: version, material, and info.rotated, when it was made. */
int keystore_add_version(struct keystore *ks, const struct keystore_key *key,
			 int64_t seq) NONNULL CHECKED;
/* A new state has no time of deletion yet. */
int keystore_set_state(struct keystore *ks, int64_t key, enum kms_key_state s)
    NONNULL CHECKED;
int keystore_set_deletion(struct keystore *ks, int64_t key, int64_t at)
    NONNULL CHECKED;
/* A key that is to be destroyed by ${now} and was not yet; with ${instance}
 * also one that an instance keeps, which *${ret_kept} tells. */
int keystore_next_due(struct keystore *ks, int64_t now, bool instance,
		      int64_t *ret_key, bool *ret_kept) NONNULL CHECKED;
/* 0: keystore_next_due(), _next_expired() or _expire_imports() has work by
 * ${now}; -ENOKEY: none has. */
int keystore_any_due(struct keystore *ks, int64_t now) NONNULL CHECKED;
/* Material and aliases go, the rest stays as a tombstone. */
int keystore_destroy(struct keystore *ks, int64_t key, int64_t now)
    NONNULL CHECKED;
int keystore_add_alias(struct keystore *ks, const char *region,
		       const char *alias, int64_t key) NONNULL CHECKED;
int keystore_move_alias(struct keystore *ks, const char *region,
			const char *alias, int64_t key) NONNULL CHECKED;
int keystore_remove_alias(struct keystore *ks, const char *region,
			  const char *alias) NONNULL CHECKED;

/* How many of customers there are: keys that are not destroyed, aliases. */
int keystore_count_keys(struct keystore *ks, const char *region, uint64_t *ret)
    NONNULL CHECKED;
int keystore_count_aliases(struct keystore *ks, const char *region,
			   uint64_t *ret) NONNULL CHECKED;

/*
 * keystore_props.c: what is said of a key.
 */

enum keystore_text {
	KEYSTORE_DESCRIPTION,
	KEYSTORE_PROTECTION, /* of why it may not be deleted; NULL: it may */
	KEYSTORE_POLICY,
};
#define KEYSTORE_TEXT_MAX 32768 /* bytes */
/* malloc'ed, or NULL. */
int keystore_get_text(struct keystore *ks, int64_t key, enum keystore_text t,
		      char **ret) NONNULL CHECKED;
int keystore_set_text(struct keystore *ks, int64_t key, enum keystore_text t,
		      const char *text) __attribute__((__nonnull__(1))) CHECKED;

/* In seconds; 0: none. */
int keystore_set_rotation(struct keystore *ks, int64_t key, int64_t interval)
    NONNULL CHECKED;
/* The first key after place *${seq}, which is moved to it, that by ${now} has
 * not been rotated for its time, and has less than ${max} versions. */
int keystore_next_rotation(struct keystore *ks, const char *region, int64_t now,
			   uint64_t max, int64_t *seq, struct uuid *ret)
    NONNULL CHECKED;

#define KEYSTORE_TAG_LEN 129 /* of a name or value, with the NUL */
/* The first after ${name}, "" to begin; -ENOKEY at the end. */
int keystore_next_tag(struct keystore *ks, int64_t key, const char *name,
		      char ret_name[static KEYSTORE_TAG_LEN],
		      char ret_value[static KEYSTORE_TAG_LEN]) NONNULL CHECKED;
int keystore_count_tags(struct keystore *ks, int64_t key, uint64_t *ret)
    NONNULL CHECKED;
int keystore_set_tag(struct keystore *ks, int64_t key, const char *name,
		     const char *value) NONNULL CHECKED;
/* That there is none is fine. */
int keystore_remove_tag(struct keystore *ks, int64_t key, const char *name)
    NONNULL CHECKED;

/*
 * keystore_import.c: imported material, and the keys that it comes under.
 */

/* Of the key's only version; ${check} is told again before it comes back.
 * ${expires} 0: never. */
int keystore_set_material(struct keystore *ks, int64_t key,
			  const struct keystore_blob *material,
			  const struct keystore_blob *check, int64_t expires)
    NONNULL CHECKED;
int keystore_remove_material(struct keystore *ks, int64_t key) NONNULL CHECKED;
/* A key whose material is there though it expired by ${now}. */
int keystore_next_expired(struct keystore *ks, int64_t now, struct uuid *ret)
    NONNULL CHECKED;

#define KEYSTORE_PRIVATE_MAX 4096 /* bytes, wrapped */
struct keystore_import {
	struct uuid id;
	int64_t key; /* whose material it is for */
	unsigned padding;
	int64_t expires;
	uint8_t private_key[KEYSTORE_PRIVATE_MAX]; /* wrapped */
	size_t private_len;
};
/* Of the older ones of the same key, ${keep} stay. */
int keystore_add_import(struct keystore *ks, const struct keystore_import *i,
			unsigned keep) NONNULL CHECKED;
int keystore_get_import(struct keystore *ks, const struct uuid *id,
			struct keystore_import *ret) NONNULL CHECKED;
/* *${ret}: whether there were any. */
int keystore_expire_imports(struct keystore *ks, int64_t now, bool *ret)
    NONNULL CHECKED;

/* How far a disk has come: see kms_set_anchor(). */
struct keystore_anchor {
	uint64_t generation; /* up to INT64_MAX */
	uint8_t digest[SHA256_LEN];
};
/* -ENOKEY  there is none */
int keystore_get_anchor(struct keystore *ks, const struct uuid *disk,
			struct keystore_anchor *ret) NONNULL CHECKED;
int keystore_put_anchor(struct keystore *ks, const struct uuid *disk,
			const struct keystore_anchor *a) NONNULL CHECKED;

/*
 * Copies.  ${to} is an empty file that nobody has open; a copy is not flushed,
 * and stands on its own: no other file belongs to it.
 */

/* A keystore that lies somewhere, to look at and to save; not to write. */
int keystore_open_copy(const char *path, struct keystore **ret) NONNULL CHECKED;
/* A copy of what is committed; not within a transaction of ${ks}. */
int keystore_save(struct keystore *ks, const char *to) NONNULL CHECKED;
/* -EUCLEAN  damaged, or not the tables that keystore_make() makes */
int keystore_check(struct keystore *ks) NONNULL CHECKED;
/* Within a transaction: replace all that is in ${ks} by what is in ${from}, a
 * checked keystore that nobody has open; but of an anchor the newer one. */
int keystore_take(struct keystore *ks, const char *from) NONNULL CHECKED;

#endif
