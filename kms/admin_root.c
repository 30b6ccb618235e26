/*
 * admin_root.c - another root for a keystore.
 *
 * The root wraps the keystore key and nothing else; so changing it is one row,
 * in one transaction, and no key of anybody is wrapped anew.  All that may be
 * asked, and that takes long, comes before.  What of this a crash can leave,
 * and why a root opens the keystore all the time, is in root.h.
 *
 * The keystore key stays.  Whoever has the old root, and the keystore as it was
 * before, in a backup, has that key.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "admin.h"
#include "files.h"
#include "keystore.h"
#include "ledger.h"
#include "root.h"

static int
read_head(struct keystore *ks, struct keystore_head *ret)
{
	int r;

	r = keystore_begin(ks, false);
	if (r < 0)
		return r;
	r = keystore_get_head(ks, ret);
	keystore_rollback(ks);
	return r;
}

int
admin_root_kind(const struct settings *s, const char **ret)
{
	CLEANUP(keystore_closep) struct keystore *ks = NULL;
	struct keystore_head head;
	const char *kind;
	int r;

	r = keystore_open(s->keystore_path, &ks);
	if (r == 0)
		r = read_head(ks, &head);
	if (r < 0)
		return r;
	kind = root_kind_of(head.key.bytes, head.key.len);
	if (!kind)
		return -EOPNOTSUPP;
	*ret = kind;
	return 0;
}

static bool
is_keyfile(const struct settings *s)
{
	return strcmp(s->keystore_root, "keyfile") == 0;
}

/* Only the present root's own file may be replaced. */
static int
check_place(const struct settings *s, const struct settings *to)
{
	bool is_there;
	int r;

	if (!is_keyfile(to) ||
	    (is_keyfile(s) &&
	     strcmp(s->keystore_root_file, to->keystore_root_file) == 0))
		return 0;
	r = files_make_parent(to->keystore_root_file);
	if (r == 0)
		r = files_exist(to->keystore_root_file, &is_there);
	if (r < 0)
		return r;
	if (!is_there)
		return 0;
	log_error("root key file %s is there already, and may be needed: move "
		  "it away, or name another",
		  to->keystore_root_file);
	return -EEXIST;
}

/* ${head} with its key ${kek} under ${root}. */
static int
rewrap(const struct root *root, struct aead *a, const struct key *kek,
       struct keystore_head *head)
{
	CLEANUP(key_wipe) struct key again = { { 0 } };
	int r;

	r = root_wrap(root, a, &head->uuid, kek, head->key.bytes,
		      &head->key.len);
	/* All hangs on it: is it what it should be? */
	if (r == 0)
		r = root_unwrap(root, a, &head->uuid, head->key.bytes,
				head->key.len, &again);
	if (r == 0 && !crypto_equal(&again, kek, sizeof(again)))
		r = -EIO;
	return r;
}

/* Replace what is in ${from} by what is in ${to}. */
static int
put(struct keystore *ks, const struct keystore_head *from,
    const struct keystore_head *to)
{
	struct keystore_head now;
	int r;

	r = keystore_begin(ks, true);
	if (r < 0)
		return r;
	r = keystore_get_head(ks, &now);
	if (r == 0 && !keystore_same_head(&now, from))
		r = -EBUSY; /* somebody else was faster */
	if (r == 0)
		r = keystore_set_head_key(ks, &to->key);
	if (r == 0)
		return keystore_commit(ks);
	keystore_rollback(ks);
	return r;
}

static int
settle(const struct settings *s, struct aead *a,
       const struct keystore_head *head)
{
	return root_settle(s, a, &head->uuid, head->key.bytes, head->key.len);
}

/*
 * From ${old} to the root of ${to}; ${root} is that, or NULL where it is a key
 * file.  The folder is locked, so that no two who make a key file meet, and
 * nobody gives ours its name before us.
 */
static int
change(const struct settings *s, const struct settings *to, struct keystore *ks,
       struct aead *a, const struct keystore_head *old, const struct key *kek,
       struct root *root)
{
	CLEANUP(root_closep) struct root *made = NULL;
	struct keystore_head new = *old;
	int r;

	r = settle(s, a, old); /* a change before was cut short */
	if (r == 0 && !root)
		r = check_place(s, to);
	if (r == 0 && !root)
		r = root_create_next(to, &made);
	if (r == 0)
		r = rewrap(root ? root : made, a, kek, &new);
	if (r == 0)
		r = put(ks, old, &new);
	if (r < 0)
		return r;
	keystore_forget(ks);
	if (settle(to, a, &new) < 0)
		log_warn("root key file %s.next opens keystore %s now, but "
			 "cannot be given the name that it should have",
			 to->keystore_root_file, s->keystore_path);
	return 0;
}

/* The head of ${ks}, and its key. */
static int
unlock(const struct settings *s, struct keystore *ks, struct aead *a,
       struct keystore_head *ret, struct key *ret_kek)
{
	struct keystore_head now;
	bool next;
	int r;

	do {
		r = read_head(ks, ret);
		if (r < 0)
			return r;
		r = root_unlock(s, true, a, &ret->uuid, ret->key.bytes,
				ret->key.len, ret_kek, &next);
		/* As keys_unlock() does. */
	} while ((r == -EKEYREJECTED || r == -ENOKEY) &&
		 read_head(ks, &now) == 0 && !keystore_same_head(&now, ret));
	return r;
}

int
admin_change_root(const struct settings *s, const struct settings *to,
		  bool *ret_new)
{
	CLEANUP(keystore_closep) struct keystore *ks = NULL;
	CLEANUP(aead_freep) struct aead *a = NULL;
	CLEANUP(root_closep) struct root *root = NULL;
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	CLEANUP(close_fdp) int lock = -1;
	struct keystore_head old;
	int r;

	r = keystore_open(s->keystore_path, &ks);
	if (r == 0)
		r = aead_new(&a);
	if (r == 0)
		r = unlock(s, ks, a, &old, &kek);
	*ret_new = r == 0;
	/* Nobody has to wait for what somebody types. */
	if (r == 0 && !is_keyfile(to))
		r = root_create(to, &root);
	if (r == 0)
		r = files_lock_parent(s->keystore_path, &lock);
	if (r == 0)
		r = change(s, to, ks, a, &old, &kek, root);
	if (r == 0)
		ledger_note(to, "ChangeRoot");
	return r;
}
