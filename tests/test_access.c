/*
 * test_access.c - access keys, and who may do what.
 */
#include "kms_env.h"

#include "access.h"
#include "authorize.h"
#include "keystore_private.h"

#define ALLOW(action)                                                          \
	"{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":"  \
	"\"" action "\",\"Resource\":\"*\"}]}"
#define KEY_POLICY(effect, principal)                                          \
	"{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"" effect "\","        \
	"\"Principal\":" principal ",\"Action\":\"kms:*\","                    \
	"\"Resource\":\"*\"}]}"
#define KEY_ARN "acs:kms:local:local:key/k"

struct service {
	struct keys *k;
	struct authorizer *z;
};

static void
open_service(struct env *e, struct service *s)
{
	assert_ok(keys_open(&e->s, &s->k));
	assert_ok(authorizer_new(s->k, &s->z));
}

static void
close_service(struct service *s)
{
	authorizer_free(s->z);
	keys_close(s->k);
}

/* ---- access keys ---- */

static void
an_access_key_has_a_secret_that_is_kept_wrapped(void **state)
{
	struct env *e = *state;
	char secret[ACCESS_SECRET_LEN], again[ACCESS_SECRET_LEN];
	struct access_key a, b;
	struct service s;
	size_t off;

	open_service(e, &s);
	assert_ok(access_create(s.k, "user/backup", &a, secret));
	assert_int_equal(strlen(a.id), 24);
	assert_memory_equal(a.id, "SD", 2);
	assert_int_equal(strlen(secret), 30);
	assert_true(a.enabled);
	assert_ok(access_secret(s.k, a.id, again));
	assert_string_equal(secret, again);
	assert_ok(access_create(s.k, "user/backup", &b, again));
	assert_string_not_equal(a.id, b.id);
	assert_string_not_equal(secret, again);
	assert_ok(access_find(s.k, b.id, &a));
	assert_string_equal(a.principal, "user/backup");
	close_service(&s);
	env_close(e);
	assert_int_equal(file_find(e->s.keystore_path, secret, 30, &off), 0);
	assert_int_equal(file_find(e->s.keystore_path, again, 30, &off), 0);
}

static void
a_disabled_or_deleted_access_key_opens_nothing(void **state)
{
	struct env *e = *state;
	char secret[ACCESS_SECRET_LEN];
	struct principal p = { 0 };
	struct access_key a, b;
	int64_t pos = 0;
	struct service s;

	open_service(e, &s);
	assert_ok(access_create(s.k, "user/a", &a, secret));
	assert_ok(access_create(s.k, "user/b", &b, secret));
	assert_ok(authorize_access_key(s.z, a.id, &p));
	assert_string_equal(p.name, "user/a");
	assert_false(p.owner);
	principal_done(&p);

	assert_ok(access_enable(s.k, a.id, false));
	assert_err(access_secret(s.k, a.id, secret), EKEYREVOKED);
	assert_err(authorize_access_key(s.z, a.id, &p), EKEYREVOKED);
	assert_ok(access_enable(s.k, a.id, true));
	assert_ok(access_secret(s.k, a.id, secret));

	assert_ok(access_delete(s.k, a.id));
	assert_err(access_delete(s.k, a.id), ENOKEY);
	assert_err(access_enable(s.k, a.id, true), ENOKEY);
	assert_err(access_secret(s.k, a.id, secret), ENOKEY);
	assert_err(authorize_access_key(s.z, a.id, &p), ENOKEY);
	assert_err(authorize_access_key(s.z, "' OR 1=1 --", &p), ENOKEY);

	assert_ok(access_next(s.k, &pos, &a));
	assert_string_equal(a.id, b.id);
	assert_err(access_next(s.k, &pos, &a), ENOKEY);
	close_service(&s);
}

/* Who can write to the keystore, but has no root, gives nobody the secret of
 * another. */
static void
a_secret_opens_in_its_own_row_only(void **state)
{
	struct env *e = *state;
	char secret[ACCESS_SECRET_LEN];
	struct access_key a, b;
	struct keystore *ks;
	struct service s;

	open_service(e, &s);
	assert_ok(access_create(s.k, "user/a", &a, secret));
	assert_ok(access_create(s.k, "user/b", &b, secret));
	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_exec(ks, "UPDATE access_keys SET secret = (SELECT"
				    " secret FROM access_keys LIMIT 1)"));
	assert_ok(access_secret(s.k, a.id, secret));
	assert_err(access_secret(s.k, b.id, secret), EUCLEAN);
	assert_ok(keystore_exec(ks, "UPDATE access_keys SET principal ="
				    " 'user/root' WHERE seq = 1"));
	assert_err(access_secret(s.k, a.id, secret), EUCLEAN);
	keystore_close(ks);
	close_service(&s);
}

/* ---- principals ---- */

static void
a_principal_has_one_name(void **state)
{
	static const char *const good[][2] = {
		{ "backup", "user/backup" },
		{ "user/backup", "user/backup" },
		{ "acs:ram::local:user/backup", "user/backup" },
		{ "uid:7", "uid/7" },
		{ "acs:ram::local:uid/0", "uid/0" },
		{ "disks", AUTHORIZE_DISK_SERVICE },
		{ AUTHORIZE_DISK_SERVICE, AUTHORIZE_DISK_SERVICE },
	};
	static const char *const bad[] = {
		"",
		"a/b",
		"user/",
		"uid:",
		"uid:-1",
		"uid:07",
		"uid:1x",
		"uid:4294967295",
		"a b",
		"a\nb",
		"a\"",
		"*",
		"user/*",
		"service/x",
		"acs:ram::other:user/a",
		"role/x",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaa",
	};
	char name[KMS_PRINCIPAL_LEN];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_ok(principal_parse(good[i][0], name));
		assert_string_equal(name, good[i][1]);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_err(principal_parse(bad[i], name), EINVAL);
}

/* ---- authorization ---- */

static const struct policy_pair disk_tag = { AUTHORIZE_DISK_TAG, "True" };

static int
ask(struct service *s, const struct principal *p, const char *action,
    const char *key_policy, bool tagged)
{
	const struct authorize_question q = { .action = action,
					      .resource = KEY_ARN,
					      .key_policy = key_policy,
					      .tags = &disk_tag,
					      .n_tags = tagged };
	char why[POLICY_WHY_LEN] = "";
	int r = authorize(s->z, p, &q, why);

	assert_int_equal(why[0] != '\0', r == -EKEYREJECTED);
	return r;
}

/* The principal of an access key that is made for him. */
static void
login(struct service *s, const char *name, struct principal *p)
{
	char secret[ACCESS_SECRET_LEN];
	struct access_key a;

	assert_ok(access_create(s->k, name, &a, secret));
	assert_ok(authorize_access_key(s->z, a.id, p));
}

static void
nobody_may_what_no_policy_allows(void **state)
{
	struct env *e = *state;
	char why[POLICY_WHY_LEN];
	struct principal p = { 0 };
	struct service s;

	open_service(e, &s);
	login(&s, "user/a", &p);
	assert_err(ask(&s, &p, "Decrypt", NULL, true), EKEYREJECTED);
	principal_done(&p);

	assert_ok(authorize_set_policy(s.z, "user/a", ALLOW("kms:De*"), why));
	login(&s, "user/a", &p);
	assert_ok(ask(&s, &p, "Decrypt", NULL, false));
	assert_err(ask(&s, &p, "Encrypt", NULL, false), EKEYREJECTED);
	/* The key's own policy allows besides, and denies whatever is. */
	assert_ok(ask(
	    &s, &p, "Encrypt",
	    KEY_POLICY("Allow", "{\"RAM\":\"acs:ram::local:user/a\"}"), false));
	assert_err(ask(&s, &p, "Decrypt", KEY_POLICY("Deny", "{\"RAM\":\"*\"}"),
		       false),
		   EKEYREJECTED);
	assert_err(
	    ask(&s, &p, "Encrypt",
		KEY_POLICY("Allow", "{\"RAM\":\"acs:ram::local:user/b\"}"),
		false),
	    EKEYREJECTED);
	/* One that cannot be read lets nobody pass. */
	assert_err(ask(&s, &p, "Decrypt", "{}", false), EUCLEAN);
	principal_done(&p);

	/* What is changed holds with the next request. */
	assert_ok(authorize_remove_policy(s.z, "user/a"));
	assert_err(authorize_remove_policy(s.z, "user/a"), ENOKEY);
	login(&s, "user/a", &p);
	assert_err(ask(&s, &p, "Decrypt", NULL, false), EKEYREJECTED);
	principal_done(&p);
	close_service(&s);
}

static void
uids_are_owners_or_strangers(void **state)
{
	struct env *e = *state;
	char why[POLICY_WHY_LEN];
	struct principal p = { 0 };
	struct service s;

	open_service(e, &s);
	assert_ok(authorize_uid(s.z, 0, false, &p));
	assert_true(p.owner);
	principal_done(&p);
	assert_ok(authorize_uid(s.z, geteuid(), false, &p));
	assert_true(p.owner);
	principal_done(&p);
	assert_ok(authorize_uid(s.z, 12345, true, &p));
	assert_true(p.owner);
	principal_done(&p);

	assert_ok(authorize_uid(s.z, 12345, false, &p));
	assert_false(p.owner);
	assert_string_equal(p.name, "uid/12345");
	assert_err(ask(&s, &p, "Decrypt", NULL, true), EKEYREJECTED);
	assert_ok(
	    ask(&s, &p, "Decrypt",
		KEY_POLICY("Allow", "{\"RAM\":\"acs:ram::local:uid/12345\"}"),
		false));
	principal_done(&p);

	/* Root, too, is held to a policy that it was given. */
	assert_ok(
	    authorize_set_policy(s.z, "uid/0", ALLOW("kms:Encrypt"), why));
	assert_ok(authorize_uid(s.z, 0, false, &p));
	assert_false(p.owner);
	assert_ok(ask(&s, &p, "Encrypt", NULL, false));
	assert_err(ask(&s, &p, "Decrypt", NULL, false), EKEYREJECTED);
	principal_done(&p);
	close_service(&s);
}

static void
the_disk_service_uses_keys_that_say_so(void **state)
{
	struct env *e = *state;
	const struct authorize_question service_key = { .action = "Decrypt",
							.resource = KEY_ARN,
							.service_key = true };
	char why[POLICY_WHY_LEN];
	struct principal p = { 0 };
	struct service s;

	open_service(e, &s);
	login(&s, AUTHORIZE_DISK_SERVICE, &p);
	assert_true(p.service);
	assert_err(ask(&s, &p, "Decrypt", NULL, false), EKEYREJECTED);
	assert_ok(ask(&s, &p, "Decrypt", NULL, true));
	assert_ok(ask(&s, &p, "GenerateDataKeyWithoutPlaintext", NULL, true));
	assert_ok(ask(&s, &p, "DescribeKey", NULL, false));
	assert_ok(authorize(s.z, &p, &service_key, why));
	/* Not what would let it help itself. */
	assert_err(ask(&s, &p, "TagResource", NULL, true), EKEYREJECTED);
	assert_err(ask(&s, &p, "SetKeyPolicy", NULL, true), EKEYREJECTED);
	assert_err(ask(&s, &p, "ScheduleKeyDeletion", NULL, true),
		   EKEYREJECTED);
	assert_ok(ask(&s, &p, "Decrypt",
		      KEY_POLICY("Allow", "{\"Service\":\"ecs.aliyuncs.com\"}"),
		      false));
	assert_err(ask(&s, &p, "Decrypt",
		       KEY_POLICY("Deny", "{\"Service\":\"ecs.aliyuncs.com\"}"),
		       true),
		   EKEYREJECTED);
	principal_done(&p);
	/* An access key of somebody else does not get in by the tag. */
	login(&s, "user/ecs.aliyuncs.com", &p);
	assert_false(p.service);
	assert_err(ask(&s, &p, "Decrypt", NULL, true), EKEYREJECTED);
	assert_err(authorize(s.z, &p, &service_key, why), EKEYREJECTED);
	principal_done(&p);
	close_service(&s);
}

static void
policies_are_listed_and_refused(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *text = malloc(POLICY_TEXT_MAX + 1);
	char name[KMS_PRINCIPAL_LEN] = "";
	char why[POLICY_WHY_LEN] = "";
	struct service s;

	open_service(e, &s);
	assert_err(authorize_set_policy(s.z, "user/a", "{}", why), EINVAL);
	assert_true(why[0]);
	assert_err(authorize_get_policy(s.z, "user/a", text), ENOKEY);
	assert_ok(authorize_set_policy(s.z, "user/b", ALLOW("kms:a"), why));
	assert_ok(authorize_set_policy(s.z, "user/a", ALLOW("kms:a"), why));
	assert_ok(authorize_set_policy(s.z, "user/a", ALLOW("kms:b"), why));
	assert_ok(authorize_get_policy(s.z, "user/a", text));
	assert_string_equal(text, ALLOW("kms:b"));
	assert_ok(authorize_next_policy(s.z, name, name));
	assert_string_equal(name, "user/a");
	assert_ok(authorize_next_policy(s.z, name, name));
	assert_string_equal(name, "user/b");
	assert_err(authorize_next_policy(s.z, name, name), ENOKEY);
	close_service(&s);
}

/* More documents than are remembered, and each is still the right one. */
static void
many_policies_are_told_apart(void **state)
{
	struct env *e = *state;
	char why[POLICY_WHY_LEN], name[32], text[256];
	struct principal p = { 0 };
	struct service s;
	unsigned i, turn;

	open_service(e, &s);
	for (i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "uid/%u", 1000 + i);
		(void)snprintf(text, sizeof(text), ALLOW("kms:A%u"), i);
		assert_ok(authorize_set_policy(s.z, name, text, why));
	}
	for (turn = 0; turn < 2; turn++)
		for (i = 0; i < 100; i++) {
			assert_ok(authorize_uid(s.z, 1000 + i, false, &p));
			(void)snprintf(name, sizeof(name), "A%u", i);
			assert_ok(ask(&s, &p, name, NULL, false));
			(void)snprintf(name, sizeof(name), "A%u", i + 1);
			assert_err(ask(&s, &p, name, NULL, false),
				   EKEYREJECTED);
			principal_done(&p);
		}
	close_service(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_access_key_has_a_secret_that_is_kept_wrapped),
		TEST(a_disabled_or_deleted_access_key_opens_nothing),
		TEST(a_secret_opens_in_its_own_row_only),
		cmocka_unit_test(a_principal_has_one_name),
		TEST(nobody_may_what_no_policy_allows),
		TEST(uids_are_owners_or_strangers),
		TEST(the_disk_service_uses_keys_that_say_so),
		TEST(policies_are_listed_and_refused),
		TEST(many_policies_are_told_apart),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
