/*
 * admin.c - see admin.h.
 *
 * Restoring over a keystore is a transaction in it, so that whoever has it open
 * sees the old keys or the new ones; what it held before is kept in a file
 * beside it, saved while the write lock was held, so that no key falls between
 * the two.  A keystore too damaged for that is renamed, log and all, and the
 * backup takes its name; who has it open finds out by keystore_begin().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "admin.h"
#include "files.h"
#include "keys.h"
#include "keystore.h"
#include "ledger.h"
#include "root.h"

/* Make the folders, and hold the keystore's: *${ret_fd} is the lock. */
static int
enter(const struct settings *s, int *ret_fd)
{
	int r;

	r = files_make_parent(s->keystore_path);
	if (r < 0) {
		log_error("keystore %s: its folder cannot be made",
			  s->keystore_path);
		return r;
	}
	return files_lock_parent(s->keystore_path, ret_fd);
}

/*
 * Give a keystore its name.  A log without its keystore would be taken for that
 * of the new one, and ruin it.
 */
static int
place(struct files_temp *t, const char *path)
{
	char wal[PATH_MAX];
	bool is_there;
	int r;

	r = files_join(wal, path, "-wal");
	if (r < 0)
		return r;
	r = files_exist(wal, &is_there);
	if (r < 0)
		return r;
	if (is_there) {
		log_error("%s is left of a keystore that is gone, and may hold "
			  "keys: move it away",
			  wal);
		return -EEXIST;
	}
	return files_temp_publish(t, path);
}

/* A keystore under ${root}, with a keystore key of its own. */
static int
make_under(const struct root *root, const char *path)
{
	CLEANUP(files_temp_drop) struct files_temp t = { { 0 } };
	struct keystore_head head = { .created = time(NULL) };
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	CLEANUP(aead_freep) struct aead *a = NULL;
	int r;

	r = uuid_new(&head.uuid);
	if (r < 0)
		return r;
	r = crypto_random(kek.bytes, sizeof(kek.bytes));
	if (r < 0)
		return r;
	r = aead_new(&a);
	if (r < 0)
		return r;
	_Static_assert(sizeof(head.key.bytes) >= ROOT_WRAPPED_MAX, "head");
	r = root_wrap(root, a, &head.uuid, &kek, head.key.bytes, &head.key.len);
	if (r < 0)
		return r;
	r = files_temp_make(path, &t, NULL);
	if (r < 0)
		return r;
	r = keystore_make(t.path, &head);
	return r < 0 ? r : place(&t, path);
}

static int
make_both(const struct settings *s)
{
	CLEANUP(root_closep) struct root *root = NULL;
	int r = 0;

	if (strcmp(s->keystore_root, "keyfile") == 0)
		r = files_make_parent(s->keystore_root_file);
	if (r == 0)
		r = root_create(s, &root);
	if (r < 0) {
		log_error("a root for keystore %s cannot be had",
			  s->keystore_path);
		return r;
	}
	r = make_under(root, s->keystore_path);
	if (r < 0) {
		log_error("keystore %s cannot be made", s->keystore_path);
		root_remove(root); /* nothing hangs on it yet */
	}
	return r;
}

int
admin_init(const struct settings *s, bool *ret_made)
{
	CLEANUP(keys_closep) struct keys *k = NULL;
	CLEANUP(close_fdp) int lock = -1;
	bool have_root, have_keystore;
	int r;

	r = enter(s, &lock);
	if (r < 0)
		return r;
	r = files_exist(s->keystore_path, &have_keystore);
	if (r < 0)
		return r;
	r = root_exists(s, &have_root);
	if (r < 0)
		return r;
	if (!have_keystore && have_root) {
		log_error("root key file %s is there, but no keystore %s: "
			  "restore that from its backup, or, if no keystore "
			  "needs the root key, move the file away",
			  s->keystore_root_file, s->keystore_path);
		return -EEXIST;
	}
	if (have_keystore) {
		/* It must be of use, or whoever asked is misled.  Opening it
		 * may have to take the lock. */
		(void)close(TAKE_FD(lock));
		r = keys_open(s, &k);
	} else {
		r = make_both(s);
	}
	if (r == 0)
		*ret_made = !have_keystore;
	return r;
}

int
admin_backup(const char *keystore, const char *path)
{
	CLEANUP(keystore_closep) struct keystore *ks = NULL;
	CLEANUP(files_temp_drop) struct files_temp t = { { 0 } };
	bool is_there;
	int r;

	r = files_exist(path, &is_there);
	if (r < 0)
		return r;
	if (is_there)
		return -EEXIST;
	r = keystore_open(keystore, &ks);
	if (r < 0)
		return r;
	r = files_temp_make(path, &t, NULL);
	if (r < 0)
		return r;
	r = keystore_save(ks, t.path);
	return r < 0 ? r : files_temp_publish(&t, path);
}

static int
save_kept(const char *path)
{
	char kept[PATH_MAX];
	int r;

	r = files_name_kept(path, "before-restore", kept);
	if (r < 0)
		return r;
	r = admin_backup(path, kept);
	if (r == 0)
		log_note("what keystore %s held is kept as %s", path, kept);
	return r;
}

/* The log first: a keystore can do without, but not with another's. */
static int
rename_kept(const char *path, const char *kept, const char *part)
{
	char from[PATH_MAX], to[PATH_MAX];
	int r;

	r = files_join(from, path, part);
	if (r < 0)
		return r;
	r = files_join(to, kept, part);
	if (r < 0)
		return r;
	return rename(from, to) < 0 && errno != ENOENT ? -errno : 0;
}

static int
replace_file(struct files_temp *t, const char *path)
{
	char kept[PATH_MAX];
	int r;

	r = files_name_kept(path, "before-restore", kept);
	if (r < 0)
		return r;
	r = rename_kept(path, kept, "-wal");
	if (r == 0)
		r = rename_kept(path, kept, "-shm");
	if (r == 0)
		r = rename_kept(path, kept, "");
	if (r < 0)
		return r;
	log_note("the damaged keystore %s is kept as %s", path, kept);
	return place(t, path);
}

/* Put the checked copy ${t} in the place of what ${path} holds. */
static int
replace(struct files_temp *t, const char *path)
{
	CLEANUP(keystore_closep) struct keystore *ks = NULL;
	int r;

	r = keystore_open(path, &ks);
	if (r < 0)
		return r == -EUCLEAN ? replace_file(t, path) : r;
	r = keystore_begin(ks, true);
	if (r < 0)
		return r;
	/* From here on nobody else adds a key to what is saved. */
	r = save_kept(path);
	if (r == 0)
		r = keystore_take(ks, t->path);
	if (r == 0)
		return keystore_commit(ks);
	if (r == -EUCLEAN)
		r = replace_file(t, path);
	keystore_rollback(ks);
	return r;
}

/* A copy of ${path} beside the keystore, in the format of this program. */
static int
copy(const struct settings *s, const char *path, struct files_temp *t)
{
	CLEANUP(keystore_closep) struct keystore *source = NULL;
	int r;

	r = keystore_open_copy(path, &source);
	if (r == 0)
		r = keystore_check(source);
	if (r == 0)
		r = files_temp_make(s->keystore_path, t, NULL);
	return r < 0 ? r : keystore_save(source, t->path);
}

/* The same, all of it known to be good.  Opened once, it has its modes before
 * anyone else can see it. */
static int
fetch(const struct settings *s, const char *path, struct files_temp *t)
{
	CLEANUP(root_closep) struct root *root = NULL;
	struct keystore *ks;
	int r;

	r = copy(s, path, t);
	if (r == 0)
		r = root_open(s, true, &root);
	if (r == 0)
		r = keystore_open(t->path, &ks);
	return r < 0 ? r : keys_check(s, root, ks, t->path);
}

int
admin_restore(const struct settings *s, const char *path, bool force)
{
	CLEANUP(files_temp_drop) struct files_temp t = { { 0 } };
	CLEANUP(close_fdp) int lock = -1;
	bool is_there;
	int r;

	r = enter(s, &lock);
	if (r < 0)
		return r;
	r = files_exist(s->keystore_path, &is_there);
	if (r < 0)
		return r;
	if (is_there && !force)
		return -EEXIST;
	r = fetch(s, path, &t);
	if (r < 0)
		return r;
	r = is_there ? replace(&t, s->keystore_path)
		     : place(&t, s->keystore_path);
	if (r == 0)
		ledger_note(s, "RestoreKeystore");
	return r;
}
