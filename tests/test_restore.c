/*
 * test_restore.c - keystores saved and put back.
 */
#include "kms_env.h"

#include <dirent.h>
#include <pthread.h>

#define BACKUP "backup.db"

/* Files of ${dir} whose names begin with ${prefix}; the path of one of them. */
static unsigned
files_named(struct env *e, const char *dir, const char *prefix,
	    char ret[static PATH_MAX])
{
	const char *path = env_path(e, dir);
	struct dirent *d;
	unsigned n = 0;
	DIR *dp;

	dp = opendir(path);
	assert_non_null(dp);
	while ((d = readdir(dp)))
		if (strncmp(d->d_name, prefix, strlen(prefix)) == 0) {
			(void)snprintf(ret, PATH_MAX, "%s/%s", path, d->d_name);
			n++;
		}
	(void)closedir(dp);
	return n;
}

static unsigned
temporaries(struct env *e, const char *dir)
{
	char path[PATH_MAX];

	return files_named(e, dir, ".keystore", path) +
	       files_named(e, dir, "." BACKUP, path);
}

/* Nothing of ours is left at the names that something new would take. */
static void
move_away(struct env *e)
{
	env_close(e);
	assert_int_equal(rename(e->s.keystore_path, env_path(e, "old.db")), 0);
}

static void
a_backup_restores_every_key(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, info;
	struct wrapped_dk w, w2;
	struct stat st;
	struct key dk;

	assert_ok(kms_create_key(e->k, "kept", &key));
	assert_ok(kms_create_alias(e->k, "alias/a", key.id));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	assert_ok(kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w2,
					NULL));
	assert_ok(kms_backup(e->k, env_path(e, BACKUP)));
	assert_int_equal(stat(env_path(e, BACKUP), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(temporaries(e, "."), 0);

	move_away(e);
	assert_ok(kms_restore(&e->s, env_path(e, BACKUP), false));
	assert_int_equal(temporaries(e, "state"), 0);
	assert_int_equal(stat(e->s.keystore_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	env_open(e);
	assert_ok(kms_decrypt(e->k, &w, &dk));
	assert_ok(kms_decrypt(e->k, &w2, &dk));
	assert_ok(kms_describe_key(e->k, "alias/a", &info));
	assert_string_equal(info.id, key.id);
	assert_ok(kms_create_key(e->k, "new", &key));
}

static void
a_backup_overwrites_nothing(void **state)
{
	struct env *e = *state;
	const char *path = env_path(e, BACKUP);
	size_t len;

	file_save(path, "x", 1);
	assert_err(kms_backup(e->k, path), EEXIST);
	free(file_load(path, &len));
	assert_int_equal(len, 1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_err(kms_backup(e->k, path), EEXIST);
	assert_err(kms_backup(e->k, env_path(e, "none/" BACKUP)), ENOENT);
	assert_int_equal(temporaries(e, "."), 0);
}

static void
a_backup_is_whole_while_others_write(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) struct user *u = user_new(e);
	char name[32];
	pthread_t t;
	unsigned i;

	assert_int_equal(pthread_create(&t, NULL, use, u), 0);
	for (i = 0; i < 5; i++) {
		while (u->made < 3 * i && !u->failures)
			(void)usleep(1000);
		(void)snprintf(name, sizeof(name), "%u->db", i);
		assert_ok(kms_backup(e->k, env_path(e, name)));
	}
	u->stop = true;
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(u->failures, 0);
	for (i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "%u->db", i);
		assert_ok(kms_restore(&e->s, env_path(e, name), true));
	}
}

static void
restoring_over_a_keystore_must_be_forced(void **state)
{
	struct env *e = *state;
	struct kms_key_info before, after;
	char kept[PATH_MAX];

	assert_ok(kms_create_key(e->k, "before", &before));
	assert_ok(kms_backup(e->k, env_path(e, BACKUP)));
	assert_ok(kms_create_key(e->k, "after", &after));
	assert_err(kms_restore(&e->s, env_path(e, BACKUP), false), EEXIST);
	assert_works(e->k, after.id);
	assert_ok(kms_restore(&e->s, env_path(e, BACKUP), true));

	/* Who has it open sees what was put there. */
	assert_works(e->k, before.id);
	assert_err(kms_describe_key(e->k, after.id, &after), ENOKEY);

	/* Nothing is lost: the old content can be put back in turn. */
	assert_int_equal(
	    files_named(e, "state", "keystore.db.before-restore-", kept), 1);
	assert_ok(kms_restore(&e->s, kept, true));
	assert_works(e->k, after.id);
	assert_works(e->k, before.id);
	assert_int_equal(
	    files_named(e, "state", "keystore.db.before-restore-", kept), 2);
	assert_int_equal(temporaries(e, "state"), 0);
}

static bool
is_in(struct keystore *ks, const char *id)
{
	struct keystore_key row;
	struct uuid u;

	assert_ok(uuid_parse(id, &u));
	return keystore_get_key(ks, &u, &row) == 0;
}

static void
no_key_falls_between_what_was_and_what_is_restored(void **state)
{
	struct env *e = *state;
	CLEANUP(keystore_closep) struct keystore *was = NULL, *is = NULL;
	CLEANUP(free_memp) struct user *u = user_new(e);
	char kept[PATH_MAX];
	pthread_t t;
	unsigned i, old = 0;

	assert_ok(kms_backup(e->k, env_path(e, BACKUP)));
	assert_int_equal(pthread_create(&t, NULL, use, u), 0);
	while (u->made < 5 && !u->failures)
		(void)usleep(1000);
	assert_ok(kms_restore(&e->s, env_path(e, BACKUP), true));
	i = u->made + 5;
	while (u->made < i && u->failures < 2)
		(void)usleep(1000);
	u->stop = true;
	assert_int_equal(pthread_join(t, NULL), 0);
	/* A data key that was made before it may not open after it. */
	assert_true(u->failures <= 1);

	assert_int_equal(
	    files_named(e, "state", "keystore.db.before-restore-", kept), 1);
	assert_ok(keystore_open_copy(kept, &was));
	assert_ok(keystore_open(e->s.keystore_path, &is));
	for (i = 0; i < u->made; i++) {
		old += is_in(was, u->ids[i]);
		assert_int_equal(is_in(was, u->ids[i]) + is_in(is, u->ids[i]),
				 1);
	}
	assert_true(old >= 5 && old < u->made);
}

/* A good backup, and where in it the material of a key is. */
struct bad {
	struct env *e;
	char path[PATH_MAX];
	char *good;
	size_t len, material;
};

static void
miss(struct bad *b)
{
	assert_int_equal(unlink(b->path), 0);
}

static void
be_a_folder(struct bad *b)
{
	miss(b);
	assert_int_equal(mkdir(b->path, 0700), 0);
}

static void
be_empty(struct bad *b)
{
	file_save(b->path, "", 0);
}

static void
be_noise(struct bad *b)
{
	uint8_t noise[10000];

	fill_pattern(noise, sizeof(noise), 2);
	file_save(b->path, noise, sizeof(noise));
}

static void
end_early(struct bad *b)
{
	file_save(b->path, b->good, b->len - 4096);
}

static void
have_another_column(struct bad *b)
{
	size_t off;

	assert_int_equal(file_find(b->path, "wrapped_key", 11, &off), 1);
	file_flip(b->path, off, 0x20);
}

static void
be_newer(struct bad *b)
{
	file_flip(b->path, 63, 0x40);
}

static void
be_another_program_s(struct bad *b)
{
	file_flip(b->path, 70, 1);
}

/* Also what undoes it. */
static void
have_another_root(struct bad *b)
{
	file_flip(b->e->s.keystore_root_file, 3, 1);
}

static void
have_damaged_material(struct bad *b)
{
	file_flip(b->path, b->material + 30, 1);
}

static void
have_a_damaged_page(struct bad *b)
{
	CLEANUP(free_memp) char *buf = malloc(b->len);

	assert_non_null(buf);
	memcpy(buf, b->good, b->len);
	memset(buf + 4096, 0x77, 64);
	file_save(b->path, buf, b->len);
}

static void
a_bad_backup_changes_nothing(void **state)
{
	static const struct {
		void (*spoil)(struct bad *b);
		int err;
		void (*mend)(struct bad *b);
	} table[] = {
		{ miss, ENOENT, NULL },
		{ be_a_folder, EUCLEAN, NULL },
		{ be_empty, EUCLEAN, NULL },
		{ be_noise, EUCLEAN, NULL },
		{ end_early, EUCLEAN, NULL },
		{ have_another_column, EUCLEAN, NULL },
		{ be_newer, EPROTONOSUPPORT, NULL },
		{ be_another_program_s, EUCLEAN, NULL },
		{ have_another_root, EKEYREJECTED, have_another_root },
		{ have_damaged_material, EUCLEAN, NULL },
		{ have_a_damaged_page, EUCLEAN, NULL },
	};
	struct env *e = *state;
	struct bad b = { .e = e };
	struct kms_key_info key;
	struct keystore_key row;
	char kept[PATH_MAX];
	size_t i;

	assert_ok(kms_create_key(e->k, "key", &key));
	env_row(e, key.id, &row);
	assert_ok(kms_backup(e->k, env_path(e, BACKUP)));
	env_close(e);
	assert_int_equal(file_find(env_path(e, BACKUP), row.material.bytes,
				   row.material.len, &b.material),
			 1);
	b.good = file_load(env_path(e, BACKUP), &b.len);
	file_copy(e->s.keystore_path, env_path(e, "held.db"));
	(void)snprintf(b.path, sizeof(b.path), "%s/bad.db", e->dir);

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		(void)remove(b.path);
		file_save(b.path, b.good, b.len);
		table[i].spoil(&b);
		assert_err(kms_restore(&e->s, b.path, true), table[i].err);
		if (table[i].mend)
			table[i].mend(&b);
		assert_true(
		    file_same(e->s.keystore_path, env_path(e, "held.db")));
		assert_int_equal(temporaries(e, "state"), 0);
		assert_int_equal(files_named(e, "state",
					     "keystore.db.before-restore-",
					     kept),
				 0);
	}
	free(b.good);
	env_open(e);
	assert_works(e->k, key.id);
}

static void
a_keystore_that_is_none_any_more_is_kept_and_replaced(void **state)
{
	struct env *e = *state;
	struct kms_key_info key;
	char kept[PATH_MAX];
	uint8_t noise[9000];

	assert_ok(kms_create_key(e->k, "key", &key));
	assert_ok(kms_backup(e->k, env_path(e, BACKUP)));
	env_close(e);
	fill_pattern(noise, sizeof(noise), 3);
	file_save(e->s.keystore_path, noise, sizeof(noise));
	file_copy(e->s.keystore_path, env_path(e, "noise"));
	assert_err(kms_restore(&e->s, env_path(e, BACKUP), false), EEXIST);
	assert_ok(kms_restore(&e->s, env_path(e, BACKUP), true));
	env_open(e);
	assert_works(e->k, key.id);
	assert_int_equal(
	    files_named(e, "state", "keystore.db.before-restore-", kept), 1);
	assert_true(file_same(kept, env_path(e, "noise")));
}

/* All pages but the first.  The descriptor is for the caller to close when the
 * keystore is closed: to do it now would drop SQLite's locks. */
static int
damage_pages(const char *path)
{
	uint8_t noise[4096];
	struct stat st;
	off_t off;
	int fd;

	fill_pattern(noise, sizeof(noise), 4);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	for (off = 4096; off < st.st_size; off += 4096)
		assert_ok(io_pwrite_all(fd, noise, 4096, (uint64_t)off));
	return fd;
}

static void
a_damaged_keystore_in_use_is_kept_with_its_log_and_replaced(void **state)
{
	struct env *e = *state;
	struct kms_key_info key;
	char kept[PATH_MAX];
	int fd;

	assert_ok(kms_create_key(e->k, "key", &key));
	assert_ok(kms_backup(e->k, env_path(e, BACKUP)));
	env_close(e);
	env_open(e);
	assert_ok(kms_create_alias(e->k, "alias/in-the-log", key.id));
	fd = damage_pages(e->s.keystore_path);
	assert_ok(kms_restore(&e->s, env_path(e, BACKUP), true));
	assert_int_equal(
	    files_named(e, "state", "keystore.db.before-restore-", kept), 3);
	assert_works(e->k, key.id);
	assert_ok(kms_create_key(e->k, "new", &key));
	env_close(e);
	(void)close(fd);
	env_open(e);
	assert_works(e->k, key.id);
}

static void
a_keystore_replaced_by_hand_is_used_as_it_is_now(void **state)
{
	struct env *e = *state;
	struct kms_key_info before, after;

	assert_ok(kms_create_key(e->k, "before", &before));
	assert_ok(kms_backup(e->k, env_path(e, BACKUP)));
	assert_ok(kms_create_key(e->k, "after", &after));
	assert_int_equal(rename(env_path(e, BACKUP), e->s.keystore_path), 0);
	(void)unlink(env_path(e, "state/keystore.db-wal"));
	(void)unlink(env_path(e, "state/keystore.db-shm"));
	assert_works(e->k, before.id);
	assert_err(kms_describe_key(e->k, after.id, &after), ENOKEY);
	assert_ok(kms_create_key(e->k, "new", &after));
	env_close(e);
	env_open(e);
	assert_works(e->k, after.id);
}

/* How far disks have come is not what a backup knows better. */
static void
a_restore_puts_no_anchor_back(void **state)
{
	static const struct uuid disk = { { 1 } }, gone = { { 2 } };
	static const uint8_t old[SHA256_LEN] = { 1 }, new[SHA256_LEN] = { 2 };
	uint8_t digest[SHA256_LEN];
	struct env *e = *state;
	uint64_t g;

	assert_err(kms_get_anchor(e->k, &disk, &g, digest), ENOENT);
	assert_ok(kms_set_anchor(e->k, &disk, 3, old, false));
	assert_ok(kms_set_anchor(e->k, &gone, 9, old, false));
	assert_ok(kms_backup(e->k, env_path(e, BACKUP)));
	assert_ok(kms_set_anchor(e->k, &disk, 5, new, false));
	assert_ok(kms_set_anchor(e->k, &gone, 8, new, true));
	assert_err(kms_set_anchor(e->k, &disk, 4, old, false), ESTALE);
	assert_err(kms_set_anchor(e->k, &disk, UINT64_MAX, old, true), EINVAL);
	assert_ok(kms_restore(&e->s, env_path(e, BACKUP), true));
	assert_ok(kms_get_anchor(e->k, &disk, &g, digest));
	assert_int_equal(g, 5);
	assert_memory_equal(digest, new, sizeof(digest));
	assert_ok(kms_get_anchor(e->k, &gone, &g, digest));
	assert_int_equal(g, 9);
	/* Where there is nothing, all of it comes back. */
	env_close(e);
	assert_int_equal(unlink(e->s.keystore_path), 0);
	assert_ok(kms_restore(&e->s, env_path(e, BACKUP), false));
	env_open(e);
	assert_ok(kms_get_anchor(e->k, &disk, &g, digest));
	assert_int_equal(g, 3);
	assert_memory_equal(digest, old, sizeof(digest));
}

static void
a_restore_needs_the_root(void **state)
{
	struct env *e = *state;

	assert_ok(kms_backup(e->k, env_path(e, BACKUP)));
	move_away(e);
	assert_int_equal(rename(e->s.keystore_root_file, env_path(e, "root")),
			 0);
	assert_err(kms_restore(&e->s, env_path(e, BACKUP), false), ENOKEY);
	assert_false(file_exists(e->s.keystore_path));
	assert_int_equal(rename(env_path(e, "root"), e->s.keystore_root_file),
			 0);
	assert_ok(kms_restore(&e->s, env_path(e, BACKUP), false));
}

static void
a_restore_takes_a_plain_copy_with_its_log(void **state)
{
	struct env *e = *state;
	struct kms_key_info key;

	/* As a copy of the folder is while the keystore is in use. */
	assert_int_equal(mkdir(env_path(e, "copy"), 0700), 0);
	env_close(e);
	file_copy(e->s.keystore_path, env_path(e, "copy/keystore.db"));
	env_open(e);
	assert_ok(kms_create_key(e->k, "in the log only", &key));
	file_copy(env_path(e, "state/keystore.db-wal"),
		  env_path(e, "copy/keystore.db-wal"));
	move_away(e);
	assert_ok(kms_restore(&e->s, env_path(e, "copy/keystore.db"), false));
	assert_int_equal(temporaries(e, "state"), 0);
	env_open(e);
	assert_works(e->k, key.id);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_backup_restores_every_key),
		TEST(a_backup_overwrites_nothing),
		TEST(a_backup_is_whole_while_others_write),
		TEST(restoring_over_a_keystore_must_be_forced),
		TEST(no_key_falls_between_what_was_and_what_is_restored),
		TEST(a_bad_backup_changes_nothing),
		TEST(a_keystore_that_is_none_any_more_is_kept_and_replaced),
		TEST(
		    a_damaged_keystore_in_use_is_kept_with_its_log_and_replaced),
		TEST(a_keystore_replaced_by_hand_is_used_as_it_is_now),
		TEST(a_restore_puts_no_anchor_back),
		TEST(a_restore_needs_the_root),
		TEST(a_restore_takes_a_plain_copy_with_its_log),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
