/*
 * test_keystore.c - the keystore's files: made, opened, damaged, shared by
 * processes that end badly.
 */
#include "kms_env.h"

#include <signal.h>
#include <sys/wait.h>

static unsigned
mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

/* Making one. */

static void
init_makes_files_that_only_the_owner_can_reach(void **state)
{
	struct env *e = *state;

	assert_err(env_try_open(e), ENOENT);
	(void)umask(0);
	assert_ok(env_init(e));
	env_open(e);
	assert_works(e->k, KMS_SERVICE_ALIAS);
	(void)umask(022);
	assert_int_equal(mode_of(e->s.keystore_path), 0600);
	assert_int_equal(mode_of(env_path(e, "state/keystore.db-wal")), 0600);
	assert_int_equal(mode_of(env_path(e, "state/keystore.db-shm")), 0600);
	assert_int_equal(mode_of(e->s.keystore_root_file), 0600);
	assert_int_equal(mode_of(env_path(e, "state")), 0700);
	assert_int_equal(mode_of(env_path(e, "etc")), 0700);
}

static void
a_second_init_overwrites_nothing(void **state)
{
	struct env *e = *state;
	bool made = true;

	assert_works(e->k, KMS_SERVICE_ALIAS);
	env_close(e);
	file_copy(e->s.keystore_path, env_path(e, "db"));
	file_copy(e->s.keystore_root_file, env_path(e, "root"));
	assert_ok(kms_init(&e->s, &made));
	assert_false(made);
	assert_true(file_same(e->s.keystore_path, env_path(e, "db")));
	assert_true(file_same(e->s.keystore_root_file, env_path(e, "root")));
	env_open(e);
	assert_works(e->k, KMS_SERVICE_ALIAS);
}

static void
init_makes_no_half_of_a_pair(void **state)
{
	struct env *e = *state;

	env_close(e);
	assert_int_equal(rename(e->s.keystore_path, env_path(e, "db")), 0);
	assert_err(env_init(e), EEXIST);
	assert_false(file_exists(e->s.keystore_path));
	assert_int_equal(rename(e->s.keystore_root_file, env_path(e, "root")),
			 0);
	/* A log that a lost keystore left would be taken for the new one's. */
	file_save(env_path(e, "state/keystore.db-wal"), "x", 1);
	assert_err(env_init(e), EEXIST);
	assert_false(file_exists(e->s.keystore_path));
	assert_false(file_exists(e->s.keystore_root_file));
	assert_int_equal(unlink(env_path(e, "state/keystore.db-wal")), 0);

	assert_int_equal(rename(env_path(e, "db"), e->s.keystore_path), 0);
	assert_err(env_init(e), ENOKEY);
	assert_false(file_exists(e->s.keystore_root_file));
	assert_err(env_try_open(e), ENOKEY);
	assert_int_equal(rename(env_path(e, "root"), e->s.keystore_root_file),
			 0);
	assert_ok(env_init(e));
}

/* ${fn} in a process of its own; cmocka's asserts are not for it. */
static pid_t
in_child(int (*fn)(struct env *e), struct env *e)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn(e) == 0 ? 0 : 1);
	assert_true(pid > 0);
	return pid;
}

static void
assert_child_ends_well(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
four_inits_at_once_make_one_keystore(void **state)
{
	struct env *e = *state;
	pid_t pids[4];
	unsigned i;

	for (i = 0; i < 4; i++)
		pids[i] = in_child(env_init, e);
	for (i = 0; i < 4; i++)
		assert_child_ends_well(pids[i]);
	env_open(e);
	assert_works(e->k, KMS_SERVICE_ALIAS);
}

/* Files that are not what they should be. */

static void
a_newer_schema_is_refused_and_left_alone(void **state)
{
	struct env *e = *state;

	env_close(e);
	file_flip(e->s.keystore_path, 63, 0x40); /* user_version */
	file_copy(e->s.keystore_path, env_path(e, "db"));
	assert_err(env_try_open(e), EPROTONOSUPPORT);
	assert_err(env_init(e), EPROTONOSUPPORT);
	assert_true(file_same(e->s.keystore_path, env_path(e, "db")));
}

static void
what_is_no_keystore_is_refused_and_left_alone(void **state)
{
	struct env *e = *state;
	const char *path = e->s.keystore_path;
	uint8_t noise[5000];

	env_close(e);
	file_flip(path, 68, 1); /* application_id */
	assert_err(env_try_open(e), EUCLEAN);
	file_flip(path, 68, 1);
	assert_ok(env_try_open(e));
	fill_pattern(noise, sizeof(noise), 1);
	file_save(path, noise, sizeof(noise));
	assert_err(env_try_open(e), EUCLEAN);
	assert_err(env_init(e), EUCLEAN);
	file_save(path, noise, 0);
	assert_err(env_try_open(e), EUCLEAN);
	assert_err(env_init(e), EUCLEAN);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_err(env_try_open(e), EUCLEAN);
	assert_err(env_init(e), EUCLEAN);
}

/* Put ${b} where ${a} is in the file, and the other way round. */
static void
swap_bytes(const char *path, const struct keystore_blob *a,
	   const struct keystore_blob *b)
{
	CLEANUP(free_memp) char *buf = NULL;
	size_t at, bt, len;

	assert_int_equal(a->len, b->len);
	assert_int_equal(file_find(path, a->bytes, a->len, &at), 1);
	assert_int_equal(file_find(path, b->bytes, b->len, &bt), 1);
	buf = file_load(path, &len);
	memcpy(buf + at, b->bytes, b->len);
	memcpy(buf + bt, a->bytes, a->len);
	file_save(path, buf, len);
}

static void
material_opens_in_its_own_row_only(void **state)
{
	struct env *e = *state;
	struct keystore_key a, b;
	struct kms_key_info one, two;
	struct wrapped_dk w;
	struct key dk;

	assert_ok(kms_create_key(e->k, "one", &one));
	assert_ok(kms_create_key(e->k, "two", &two));
	assert_ok(kms_generate_data_key(e->k, one.id, &lineage, &w, NULL));
	env_row(e, one.id, &a);
	env_row(e, two.id, &b);
	env_close(e);
	swap_bytes(e->s.keystore_path, &a.material, &b.material);
	env_open(e);
	assert_err(kms_decrypt(e->k, &w, &dk), EUCLEAN);
	assert_err(kms_generate_data_key(e->k, two.id, &lineage, &w, NULL),
		   EUCLEAN);
	assert_works(e->k, KMS_SERVICE_ALIAS);
}

static void
damaged_material_is_told_and_harms_no_other_key(void **state)
{
	struct env *e = *state;
	struct kms_key_info one, two;
	struct keystore_key row;
	struct wrapped_dk w;
	size_t off;

	assert_ok(kms_create_key(e->k, "one", &one));
	assert_ok(kms_create_key(e->k, "two", &two));
	env_row(e, one.id, &row);
	env_close(e);
	assert_int_equal(file_find(e->s.keystore_path, row.material.bytes,
				   row.material.len, &off),
			 1);
	file_flip(e->s.keystore_path, off + 20, 1);
	env_open(e);
	assert_err(kms_generate_data_key(e->k, one.id, &lineage, &w, NULL),
		   EUCLEAN);
	assert_works(e->k, two.id);
}

static void
a_keystore_that_is_moved_away_is_not_written_to(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	struct wrapped_dk w;
	struct key dk;

	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, NULL));
	assert_int_equal(rename(e->s.keystore_path, env_path(e, "db")), 0);
	assert_err(kms_create_key(e->k, "", &info), EHOSTDOWN);
	assert_err(kms_decrypt(e->k, &w, &dk), EHOSTDOWN);
	assert_int_equal(rename(env_path(e, "db"), e->s.keystore_path), 0);
	assert_ok(kms_create_key(e->k, "", &info));
	assert_ok(kms_decrypt(e->k, &w, &dk));
}

/* Processes. */

#define NKEYS 10

static int
make_keys(struct env *e)
{
	struct kms_key_info info;
	struct wrapped_dk w;
	struct kms *k;
	unsigned i;
	int r;

	r = kms_open(&e->s, &k);
	for (i = 0; r == 0 && i < NKEYS; i++) {
		r = kms_create_key(k, "", &info);
		if (r == 0)
			r = kms_generate_data_key(k, KMS_SERVICE_ALIAS,
						  &lineage, &w, NULL);
	}
	if (r == 0)
		kms_close(k);
	return r;
}

static int
count_key(const struct kms_key_info *info, void *arg)
{
	unsigned *n = arg;

	(void)info;
	++*n;
	return 0;
}

static void
processes_share_a_keystore(void **state)
{
	struct env *e = *state;
	pid_t pids[3];
	unsigned i, n = 0;

	env_close(e); /* a handle is not carried over a fork */
	for (i = 0; i < 3; i++)
		pids[i] = in_child(make_keys, e);
	for (i = 0; i < 3; i++)
		assert_child_ends_well(pids[i]);
	env_open(e);
	assert_ok(kms_list_keys(e->k, count_key, &n));
	assert_int_equal(n, 3 * NKEYS + 1);
}

/* Make keys, and tell of each once it was answered, until killed. */
static void
make_keys_for_ever(struct env *e, int fd)
{
	struct kms_key_info info;
	struct kms *k;

	if (kms_open(&e->s, &k) < 0)
		_exit(1);
	while (kms_create_key(k, "", &info) == 0)
		if (io_write_all(fd, info.id, KMS_ID_LEN) < 0)
			break;
	_exit(1);
}

static void
kill_in_mid_call(struct env *e, unsigned after)
{
	char(*ids)[KMS_ID_LEN] = calloc(1000, KMS_ID_LEN);
	unsigned i, n = 0;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0)
		make_keys_for_ever(e, fds[1]);
	assert_true(pid > 0);
	(void)close(fds[1]);
	while (n < 1000 && io_read_all(fds[0], ids[n], KMS_ID_LEN) == 0)
		if (++n == after) {
			(void)usleep(after * 37 % 1000);
			assert_int_equal(kill(pid, SIGKILL), 0);
		}
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(n >= after);
	env_open(e);
	for (i = 0; i < n; i++)
		assert_works(e->k, ids[i]);
	env_close(e);
	free(ids);
}

static void
kill_9_loses_nothing_that_was_answered(void **state)
{
	struct env *e = *state;
	unsigned i;

	env_close(e);
	for (i = 1; i <= 5; i++)
		kill_in_mid_call(e, i * 3);
}

/* Places where nothing can be written. */

static int
init_as_nobody(struct env *e)
{
	if (geteuid() == 0 && setuid(65534) < 0)
		return -1;
	if (env_init(e) != -EACCES)
		return -1;
	return 0;
}

static int
open_as_nobody(struct env *e)
{
	if (geteuid() == 0 && setuid(65534) < 0)
		return -1;
	return env_try_open(e) == -EACCES ? 0 : -1;
}

static void
a_folder_that_cannot_be_written_is_told_and_left_empty(void **state)
{
	struct env *e = *state;

	assert_int_equal(mkdir(env_path(e, "state"), 0555), 0);
	assert_int_equal(mkdir(env_path(e, "etc"), 0777), 0);
	assert_int_equal(chmod(env_path(e, "etc"), 0777), 0);
	assert_int_equal(chmod(e->dir, 0755), 0);
	assert_child_ends_well(in_child(init_as_nobody, e));
	assert_false(file_exists(e->s.keystore_path));
	assert_false(file_exists(e->s.keystore_root_file)); /* taken back */
}

static void
a_keystore_that_cannot_be_written_is_refused(void **state)
{
	struct env *e = *state;

	env_close(e);
	assert_int_equal(chmod(e->dir, 0755), 0);
	assert_int_equal(chmod(env_path(e, "etc"), 0755), 0);
	assert_int_equal(chmod(e->s.keystore_path, 0444), 0);
	assert_int_equal(chmod(env_path(e, "state"), 0555), 0);
	assert_child_ends_well(in_child(open_as_nobody, e));
	assert_int_equal(chmod(env_path(e, "state"), 0700), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BARE(init_makes_files_that_only_the_owner_can_reach),
		TEST(a_second_init_overwrites_nothing),
		TEST(init_makes_no_half_of_a_pair),
		TEST_BARE(four_inits_at_once_make_one_keystore),
		TEST(a_newer_schema_is_refused_and_left_alone),
		TEST(what_is_no_keystore_is_refused_and_left_alone),
		TEST(material_opens_in_its_own_row_only),
		TEST(damaged_material_is_told_and_harms_no_other_key),
		TEST(a_keystore_that_is_moved_away_is_not_written_to),
		TEST(processes_share_a_keystore),
		TEST(kill_9_loses_nothing_that_was_answered),
		TEST_BARE(
		    a_folder_that_cannot_be_written_is_told_and_left_empty),
		TEST(a_keystore_that_cannot_be_written_is_refused),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
