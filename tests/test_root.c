/*
 * test_root.c - root keys, good and bad.
 */
#include "kms_env.h"

static void
every_byte_of_the_root_key_counts(void **state)
{
	struct env *e = *state;
	size_t i;

	env_close(e);
	for (i = 0; i < KEY_LEN; i++) {
		file_flip(e->s.keystore_root_file, i, 0x10);
		assert_err(env_try_open(e), EKEYREJECTED);
		file_flip(e->s.keystore_root_file, i, 0x10);
	}
	assert_ok(env_try_open(e));
}

static void
a_root_key_of_another_length_is_refused(void **state)
{
	struct env *e = *state;
	uint8_t key[KEY_LEN + 1] = { 0 };

	env_close(e);
	file_save(e->s.keystore_root_file, key, 0);
	assert_err(env_try_open(e), EKEYREJECTED);
	file_save(e->s.keystore_root_file, key, KEY_LEN - 1);
	assert_err(env_try_open(e), EKEYREJECTED);
	file_save(e->s.keystore_root_file, key, KEY_LEN + 1);
	assert_err(env_try_open(e), EKEYREJECTED);
	assert_int_equal(unlink(e->s.keystore_root_file), 0);
	assert_int_equal(mkfifo(e->s.keystore_root_file, 0600), 0);
	assert_err(env_try_open(e), EKEYREJECTED);
	assert_int_equal(unlink(e->s.keystore_root_file), 0);
	assert_int_equal(mkdir(e->s.keystore_root_file, 0700), 0);
	assert_err(env_try_open(e), EKEYREJECTED);
}

static void
a_root_key_that_others_can_reach_is_refused(void **state)
{
	static const unsigned modes[] = { 0640, 0620, 0610, 0604,
					  0602, 0601, 0666 };
	struct env *e = *state;
	const char *path = e->s.keystore_root_file;
	size_t i;

	env_close(e);
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(path, modes[i]), 0);
		assert_err(env_try_open(e), EPERM);
		assert_err(env_init(e), EPERM);
	}
	assert_int_equal(chmod(path, 0400), 0);
	assert_ok(env_try_open(e));
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
		assert_err(env_try_open(e), EPERM);
	}
}

static void
what_is_not_built_in_says_so(void **state)
{
	static const char *const roots[] = { "passphrase", "credential",
					     "pkcs11" };
	struct env *e = *state;
	size_t i;

	for (i = 0; i < 3; i++) {
		(void)snprintf(e->s.keystore_root, sizeof(e->s.keystore_root),
			       "%s", roots[i]);
		assert_err(env_init(e), EOPNOTSUPP);
	}
	settings_default(&e->s);
	(void)snprintf(e->s.kms_endpoint, sizeof(e->s.kms_endpoint),
		       "https://kms.example");
	assert_err(env_init(e), EOPNOTSUPP);
	assert_err(env_try_open(e), EOPNOTSUPP);
	assert_err(kms_restore(&e->s, "/nonexistent", true), EOPNOTSUPP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_byte_of_the_root_key_counts),
		TEST(a_root_key_of_another_length_is_refused),
		TEST(a_root_key_that_others_can_reach_is_refused),
		TEST_BARE(what_is_not_built_in_says_so),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
