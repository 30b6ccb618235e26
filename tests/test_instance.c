/*
 * test_instance.c - keys that stay in a token, all their life.
 */
#include "token_env.h"

#include "keys.h"
#include "pkcs11.h"

#define INSTANCE "kst-one"

static const struct context no_context = { .n = 0 };

/* A root in a file, and a token for keys; the PIN is the credential's. */
static void
prepare(struct env *e)
{
	struct settings *s = &e->s;

	(void)snprintf(s->instance_id, sizeof(s->instance_id), INSTANCE);
	(void)snprintf(s->instance_module, sizeof(s->instance_module), "%s",
		       softhsm_module());
	(void)snprintf(s->instance_token, sizeof(s->instance_token), TOKEN);
	assert_int_equal(mkdir(env_path(e, "credentials"), 0700), 0);
	(void)setenv("CREDENTIALS_DIRECTORY", env_path(e, "credentials"), 1);
	file_save(env_path(e, "credentials/sealdisk.instance"), PIN,
		  strlen(PIN));
	assert_ok(env_init(e));
}

static struct keys *
open_keys(struct env *e)
{
	struct keys *k;

	assert_ok(keys_open(&e->s, &k));
	return k;
}

static void
make_key(struct keys *k, struct kms_key_info *ret)
{
	const struct keys_new new = { .description = "in the token",
				      .instance = INSTANCE };

	assert_ok(keys_create(k, &new, ret));
	assert_string_equal(ret->instance, INSTANCE);
	assert_int_equal(ret->state, KMS_ENABLED);
}

static const char data[] = "what is sealed";

static void
seal(struct keys *k, const char *key, struct keys_blob *ret)
{
	struct keys_used used;

	assert_ok(
	    keys_encrypt(k, key, &no_context, data, sizeof(data), &used, ret));
}

static int
unseal(struct keys *k, const struct keys_blob *b)
{
	uint8_t out[KEYS_DATA_MAX];
	struct keys_used used;
	size_t len = 0;
	int r;

	r = keys_decrypt(k, b->bytes, b->len, &no_context, &used, out, &len);
	if (r == 0) {
		assert_int_equal(len, sizeof(data));
		assert_memory_equal(out, data, len);
	}
	return r;
}

static void
a_key_lives_in_the_token(void **state)
{
	struct env *e = *state;
	struct kms_key_info info, rotated;
	struct keys_blob b, old, moved;
	struct keys_used from, to;
	struct keys *k;

	NEED_TOKEN();
	prepare(e);
	k = open_keys(e);
	make_key(k, &info);
	seal(k, info.id, &old);
	assert_ok(unseal(k, &old));
	assert_ok(keys_create_version(k, info.id, &rotated));
	assert_string_not_equal(rotated.primary_version, info.primary_version);
	seal(k, info.id, &b);
	assert_ok(unseal(k, &b));
	assert_ok(unseal(k, &old));
	assert_ok(keys_reencrypt(k, old.bytes, old.len, &no_context, info.id,
				 &no_context, &from, &to, &moved));
	assert_string_equal(to.key_version_id, rotated.primary_version);
	assert_ok(unseal(k, &moved));

	assert_ok(keys_disable(k, info.id));
	assert_err(unseal(k, &b), EKEYREVOKED);
	assert_ok(keys_enable(k, info.id));
	b.bytes[b.len - 1] ^= 1;
	assert_err(unseal(k, &b), EKEYREJECTED);
	b.bytes[b.len - 1] ^= 1;
	keys_close(k);
	k = open_keys(e); /* another process, as good as */
	assert_ok(unseal(k, &b));
	keys_close(k);
}

/* Who has the keystore, and what opens it, has nothing of such a key. */
static void
without_the_token_nothing_opens(void **state)
{
	struct env *e = *state;
	struct kms_key_info info, other;
	struct keys_blob b, c;
	struct keys_new software = { .description = "" };
	struct keystore_key row;
	struct keys *k;

	NEED_TOKEN();
	prepare(e);
	k = open_keys(e);
	make_key(k, &info);
	assert_ok(keys_create(k, &software, &other));
	seal(k, info.id, &b);
	seal(k, other.id, &c);
	keys_close(k);

	env_row(e, info.id, &row);
	assert_int_equal(row.material.len, sizeof(struct uuid));
	file_save(env_path(e, "credentials/sealdisk.instance"), "wrong", 5);
	k = open_keys(e);
	assert_err(unseal(k, &b), EHOSTDOWN);
	assert_ok(unseal(k, &c)); /* the others are there */
	assert_ok(keys_describe(k, info.id, &info));
	assert_err(keys_create_version(k, info.id, &other), EHOSTDOWN);
	keys_close(k);
	e->s.instance_id[0] = '\0';
	k = open_keys(e);
	assert_err(unseal(k, &b), ENXIO);
	keys_close(k);
}

static void
what_the_token_has_lost_is_told(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	struct pkcs11 *p;
	struct keys_blob b;
	struct passphrase *pin;
	struct uuid version;
	struct keys *k;

	NEED_TOKEN();
	prepare(e);
	k = open_keys(e);
	make_key(k, &info);
	seal(k, info.id, &b);
	assert_ok(pkcs11_open(softhsm_module(), TOKEN, &p));
	assert_ok(passphrase_new(&pin));
	pin->len = strlen(PIN);
	memcpy(pin->text, PIN, pin->len);
	assert_ok(pkcs11_login(p, pin));
	assert_ok(uuid_parse(info.primary_version, &version));
	assert_ok(pkcs11_remove_key(p, &version));
	pkcs11_close(p);
	assert_err(unseal(k, &b), EUCLEAN);
	keys_close(k);
}

/* Objects in the token's folder, which are files. */
static int
objects(struct env *e)
{
	char cmd[PATH_MAX + 64];
	int n = -1;
	FILE *f;

	(void)snprintf(cmd, sizeof(cmd), "find '%s' -name '*.object' | wc -l",
		       env_path(e, "tokens"));
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &n), 1);
	(void)pclose(f);
	return n;
}

static void
its_end_is_one_in_the_token_too(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	struct keys_blob b;
	struct keys *k;
	int64_t at;
	int before;

	NEED_TOKEN();
	prepare(e);
	before = objects(e);
	k = open_keys(e);
	make_key(k, &info);
	assert_ok(keys_create_version(k, info.id, &info));
	seal(k, info.id, &b);
	assert_int_equal(objects(e), before + 2);
	assert_ok(keys_schedule_deletion(k, info.id, 7, &at));
	assert_err(keys_errno(unseal(k, &b)), EKEYEXPIRED);
	assert_ok(keys_cancel_deletion(k, info.id));
	assert_ok(unseal(k, &b));
	assert_ok(keys_schedule_deletion(k, info.id, 7, &at));
	keys_close(k);
	keys_clock_ahead = 8 * 86400;
	/* Who cannot get at the token leaves it for later. */
	file_save(env_path(e, "credentials/sealdisk.instance"), "wrong", 5);
	k = open_keys(e);
	assert_err(keys_errno(unseal(k, &b)), EKEYEXPIRED);
	keys_close(k);
	assert_int_equal(objects(e), before + 2);
	file_save(env_path(e, "credentials/sealdisk.instance"), PIN,
		  strlen(PIN));
	k = open_keys(e);
	assert_err(keys_errno(unseal(k, &b)), EKEYEXPIRED);
	keys_close(k);
	keys_clock_ahead = 0;
	assert_int_equal(objects(e), before);
}

static void
an_instance_that_is_not_there_makes_no_keys(void **state)
{
	const struct keys_new new = { .description = "",
				      .instance = "kst-other" };
	struct env *e = *state;
	struct kms_key_info info;
	struct keys *k;

	NEED_TOKEN();
	prepare(e);
	k = open_keys(e);
	assert_err(keys_create(k, &new, &info), ENXIO);
	keys_close(k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_TOKEN(a_key_lives_in_the_token),
		TEST_TOKEN(without_the_token_nothing_opens),
		TEST_TOKEN(what_the_token_has_lost_is_told),
		TEST_TOKEN(its_end_is_one_in_the_token_too),
		TEST_TOKEN(an_instance_that_is_not_there_makes_no_keys),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
