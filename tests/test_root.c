/*
 * test_root.c - roots that are files, good and bad.
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
	struct env *e = *state;

#ifndef HAVE_PKCS11
	set_root(&e->s, "pkcs11");
	(void)snprintf(e->s.keystore_pkcs11_module,
		       sizeof(e->s.keystore_pkcs11_module), "/module.so");
	(void)snprintf(e->s.keystore_pkcs11_token,
		       sizeof(e->s.keystore_pkcs11_token), "token");
	assert_err(env_init(e), EOPNOTSUPP);
#endif
	settings_default(&e->s);
	(void)snprintf(e->s.kms_endpoint, sizeof(e->s.kms_endpoint),
		       "https://kms.example");
	/* A service elsewhere has its keystore there. */
	assert_ok(env_init(e));
	assert_false(file_exists(e->s.keystore_path));
	assert_err(kms_restore(&e->s, "/nonexistent", true), EOPNOTSUPP);
	assert_err(change_root(&e->s, &e->s), EOPNOTSUPP);
}

static void
a_root_of_another_kind_is_told_and_not_asked_for(void **state)
{
	struct env *e = *state;
	const char *kind;

	env_close(e);
	assert_ok(kms_root_kind(&e->s, &kind));
	assert_string_equal(kind, "keyfile");
	set_root(&e->s, "passphrase"); /* there is nobody to ask */
	assert_err(env_try_open(e), EKEYREJECTED);
	set_root(&e->s, "credential");
	assert_err(env_try_open(e), EKEYREJECTED);
	assert_ok(kms_root_kind(&e->s, &kind));
	assert_string_equal(kind, "keyfile");
}

/* Credentials. */

static void
set_credential(struct env *e, size_t len)
{
	uint8_t text[5000];

	assert_true(len <= sizeof(text));
	fill_pattern(text, len, 7);
	(void)mkdir(env_path(e, "credentials"), 0700);
	(void)setenv("CREDENTIALS_DIRECTORY", env_path(e, "credentials"), 1);
	file_save(env_path(e, "credentials/sealdisk.root"), text, len);
	set_root(&e->s, "credential");
}

static void
a_credential_of_32_bytes_and_more_is_a_root(void **state)
{
	static const size_t lens[] = { 32, 33, 64, 4096 };
	struct env *e = *state;
	const char *kind;
	size_t i, off;

	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		set_credential(e, lens[i]);
		(void)unlink(e->s.keystore_path);
		assert_ok(env_init(e));
		env_open(e);
		assert_works(e->k, KMS_SERVICE_ALIAS);
		assert_int_equal(secret_in_use(), e->secrets + 1);
		env_close(e);
		assert_ok(kms_root_kind(&e->s, &kind));
		assert_string_equal(kind, "credential");
		for (off = 0; off < lens[i]; off += lens[i] - 1) {
			file_flip(env_path(e, "credentials/sealdisk.root"), off,
				  1);
			assert_err(env_try_open(e), EKEYREJECTED);
			file_flip(env_path(e, "credentials/sealdisk.root"), off,
				  1);
		}
		assert_ok(env_init(e)); /* which only looks */
		set_credential(e, lens[i] + 1);
		assert_err(env_try_open(e), EKEYREJECTED);
	}
	assert_false(file_exists(e->s.keystore_root_file));
}

static void
credentials_that_cannot_be_are_refused(void **state)
{
	struct env *e = *state;
	const char *path;

	set_credential(e, 31);
	assert_err(env_init(e), EKEYREJECTED);
	set_credential(e, 4097);
	assert_err(env_init(e), EKEYREJECTED);
	set_credential(e, 32);
	path = env_path(e, "credentials/sealdisk.root");
	assert_int_equal(chmod(path, 0404), 0);
	assert_err(env_init(e), EPERM);
	assert_int_equal(unlink(path), 0);
	assert_err(env_init(e), ENOKEY);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_err(env_init(e), EKEYREJECTED);
	(void)snprintf(e->s.keystore_credential,
		       sizeof(e->s.keystore_credential), "../etc");
	assert_err(env_init(e), ENOKEY);
	(void)setenv("CREDENTIALS_DIRECTORY", "relative", 1);
	assert_err(env_init(e), ENOKEY);
	(void)unsetenv("CREDENTIALS_DIRECTORY");
	assert_err(env_init(e), ENOKEY);
	assert_false(file_exists(e->s.keystore_path));
}

static void
a_credential_may_have_an_acl(void **state)
{
	struct env *e = *state;

	set_credential(e, 32);
	assert_int_equal(chmod(env_path(e, "credentials/sealdisk.root"), 0440),
			 0);
	assert_ok(env_init(e));
	assert_ok(env_try_open(e));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_byte_of_the_root_key_counts),
		TEST(a_root_key_of_another_length_is_refused),
		TEST(a_root_key_that_others_can_reach_is_refused),
		TEST_BARE(what_is_not_built_in_says_so),
		TEST(a_root_of_another_kind_is_told_and_not_asked_for),
		TEST_BARE(a_credential_of_32_bytes_and_more_is_a_root),
		TEST_BARE(credentials_that_cannot_be_are_refused),
		TEST_BARE(a_credential_may_have_an_acl),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
