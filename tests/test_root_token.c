/*
 * test_root_token.c - a keystore whose root is a key in a token.
 */
#include "token_env.h"

/* kms_init() and kms_open() with a PIN. */
static int
init_by(struct env *e, const char *pin)
{
	int fd, r;

	token_settings(&e->s);
	fd = set_passphrase_bytes(&e->s, pin, strlen(pin));
	r = env_init(e);
	(void)close(fd);
	return r;
}

static int
open_by(struct env *e, const char *pin)
{
	int fd, r;

	token_settings(&e->s);
	fd = set_passphrase_bytes(&e->s, pin, strlen(pin));
	r = kms_open(&e->s, &e->k);
	(void)close(fd);
	return r;
}

static void
remove_all(const char *dir)
{
	char cmd[PATH_MAX + 16];

	(void)snprintf(cmd, sizeof(cmd), "rm -rf '%s'/*", dir);
	assert_int_equal(system(cmd), 0);
}

static void
a_keystore_hangs_on_a_key_in_a_token(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w;
	struct key dk, again;
	const char *kind;

	NEED_TOKEN();
	assert_ok(init_by(e, PIN));
	assert_ok(kms_root_kind(&e->s, &kind));
	assert_string_equal(kind, "pkcs11");
	assert_false(file_exists(e->s.keystore_root_file));
	assert_ok(open_by(e, PIN));
	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, &dk));
	/* Neither the token's session nor its PIN is kept. */
	assert_int_equal(secret_in_use(), e->secrets + 1);
	env_close(e);
	assert_ok(open_by(e, PIN));
	assert_ok(kms_decrypt(e->k, &w, &again));
	assert_memory_equal(&dk, &again, sizeof(dk));
	env_close(e);
	assert_ok(init_by(e, PIN)); /* which only looks */
	env_close(e);
}

static void
a_wrong_pin_opens_nothing(void **state)
{
	struct env *e = *state;

	NEED_TOKEN();
	assert_err(init_by(e, "wrong horse"), EKEYREJECTED);
	assert_false(file_exists(e->s.keystore_path));
	assert_ok(init_by(e, PIN "\nnot read"));
	assert_err(open_by(e, "wrong horse"), EKEYREJECTED);
	assert_err(open_by(e, ""), EKEYREJECTED);
	assert_ok(open_by(e, PIN));
	env_close(e);
}

static void
a_token_that_is_gone_or_empty_opens_nothing(void **state)
{
	struct env *e = *state;

	NEED_TOKEN();
	assert_ok(init_by(e, PIN));
	assert_int_equal(
	    rename(env_path(e, "tokens"), env_path(e, "elsewhere")), 0);
	assert_int_equal(mkdir(env_path(e, "tokens"), 0700), 0);
	assert_err(open_by(e, PIN), ENOKEY);
	token_make(TOKEN); /* another of that name has no such key */
	assert_err(open_by(e, PIN), ENOKEY);
	remove_all(env_path(e, "tokens"));
	assert_int_equal(rmdir(env_path(e, "tokens")), 0);
	assert_int_equal(
	    rename(env_path(e, "elsewhere"), env_path(e, "tokens")), 0);
	assert_ok(open_by(e, PIN));
	env_close(e);
}

static void
what_is_not_set_is_told(void **state)
{
	struct env *e = *state;

	NEED_TOKEN();
	token_settings(&e->s);
	e->s.keystore_pkcs11_token[0] = '\0';
	assert_err(env_init(e), ENOKEY);
	token_settings(&e->s);
	e->s.keystore_pkcs11_module[0] = '\0';
	assert_err(env_init(e), ENOKEY);
}

static void
the_pin_may_be_a_credential(void **state)
{
	struct env *e = *state;
	const char *path;

	NEED_TOKEN();
	token_settings(&e->s);
	assert_int_equal(mkdir(env_path(e, "credentials"), 0700), 0);
	(void)setenv("CREDENTIALS_DIRECTORY", env_path(e, "credentials"), 1);
	path = env_path(e, "credentials/sealdisk.root");
	file_save(path, PIN "\n", sizeof(PIN "\n") - 1);
	assert_ok(env_init(e));
	assert_ok(env_try_open(e));
	file_save(path, PIN, sizeof(PIN) - 1);
	assert_ok(env_try_open(e));
	file_save(path, "", 0);
	assert_err(env_try_open(e), EKEYREJECTED);
	file_save(path, "wrong horse", 11);
	assert_err(env_try_open(e), EKEYREJECTED);
	assert_int_equal(chmod(path, 0404), 0);
	assert_err(env_try_open(e), EPERM);
	(void)unsetenv("CREDENTIALS_DIRECTORY");
}

/* Which root ${s} names, with what opens it. */
static void
point(struct settings *s, const char *root, int *fd)
{
	set_root(s, root);
	s->keystore_passphrase_fd[0] = '\0';
	*fd = -1;
	if (strcmp(root, "pkcs11") == 0)
		*fd = set_passphrase_bytes(s, PIN, strlen(PIN));
	else if (strcmp(root, "passphrase") == 0)
		*fd = set_passphrase(s, "eight bytes and more");
}

static void
change(struct env *e, const char *from, const char *to)
{
	struct settings a = e->s, b;
	int fd_a, fd_b;

	token_settings(&a);
	b = a;
	point(&a, from, &fd_a);
	point(&b, to, &fd_b);
	assert_ok(change_root(&a, &b));
	(void)close(fd_a);
	(void)close(fd_b);
	point(&b, to, &fd_b);
	assert_ok(kms_open(&b, &e->k));
	(void)close(fd_b);
	assert_works(e->k, KMS_SERVICE_ALIAS);
	env_close(e);
}

static void
the_root_changes_to_a_token_and_from_it(void **state)
{
	static const char *const way[] = {
		"keyfile", "pkcs11",  "passphrase", "pkcs11",
		"pkcs11",  "keyfile", "pkcs11",     "keyfile",
	};
	struct env *e = *state;

	NEED_TOKEN();
	assert_ok(env_init(e));
	for (size_t i = 0; i + 1 < sizeof(way) / sizeof(way[0]); i++) {
		if (strcmp(way[i + 1], "keyfile") == 0)
			(void)unlink(e->s.keystore_root_file);
		change(e, way[i], way[i + 1]);
	}
}

/* What it says of the token's key is authenticated by that key. */
static void
a_changed_header_opens_nothing(void **state)
{
	struct env *e = *state;
	struct keystore_head head;
	struct keystore *ks;
	size_t i;

	NEED_TOKEN();
	assert_ok(init_by(e, PIN));
	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_begin(ks, false));
	assert_ok(keystore_get_head(ks, &head));
	keystore_rollback(ks);
	for (i = 1; i < head.key.len; i += 7) {
		struct keystore_blob bad = head.key;
		int r;

		bad.bytes[i] ^= 1;
		assert_ok(keystore_begin(ks, true));
		assert_ok(keystore_set_head_key(ks, &bad));
		assert_ok(keystore_commit(ks));
		r = open_by(e, PIN);
		assert_true(r == -ENOKEY || r == -EKEYREJECTED);
	}
	assert_ok(keystore_begin(ks, true));
	assert_ok(keystore_set_head_key(ks, &head.key));
	assert_ok(keystore_commit(ks));
	keystore_close(ks);
	assert_ok(open_by(e, PIN));
	env_close(e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_TOKEN(a_keystore_hangs_on_a_key_in_a_token),
		TEST_TOKEN(a_wrong_pin_opens_nothing),
		TEST_TOKEN(a_token_that_is_gone_or_empty_opens_nothing),
		TEST_TOKEN(what_is_not_set_is_told),
		TEST_TOKEN(the_pin_may_be_a_credential),
		TEST_TOKEN(the_root_changes_to_a_token_and_from_it),
		TEST_TOKEN(a_changed_header_opens_nothing),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
