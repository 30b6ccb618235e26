/*
 * test_kms.c - the actions of the KMS.  Files, processes and damage are
 * test_keystore.c's.
 */
#include "kms_env.h"

#include <pthread.h>

#define NOBODY "00000000-0000-4000-8000-000000000000"

static void
the_service_key_is_made_when_first_used(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	struct wrapped_dk w, w2;

	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, NULL));
	assert_ok(kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w2,
					NULL));
	assert_string_equal(w.key_id, w2.key_id);
	assert_ok(kms_describe_key(e->k, KMS_SERVICE_ALIAS, &info));
	assert_string_equal(info.id, w.key_id);
	assert_string_equal(info.primary_version, w.key_version_id);
	assert_string_equal(info.creator, "Ecs");
	assert_string_equal(info.origin, "Aliyun_KMS");
	assert_int_equal(info.state, KMS_ENABLED);
	assert_works(e->k, KMS_SERVICE_ALIAS);
}

static void
the_service_key_serves_and_nothing_else(void **state)
{
	struct env *e = *state;
	struct kms_key_info info, mine;

	assert_ok(kms_describe_key(e->k, KMS_SERVICE_ALIAS, &info));
	assert_ok(kms_create_key(e->k, "", &mine));
	assert_err(kms_disable_key(e->k, KMS_SERVICE_ALIAS), EPERM);
	assert_err(kms_disable_key(e->k, info.id), EPERM);
	assert_err(kms_enable_key(e->k, info.arn), EPERM);
	assert_err(kms_create_alias(e->k, "alias/mine", info.id), EPERM);
	assert_err(kms_create_alias(e->k, "alias/acs/x", mine.id), EPERM);
	assert_err(kms_update_alias(e->k, KMS_SERVICE_ALIAS, mine.id), EPERM);
	assert_err(kms_delete_alias(e->k, KMS_SERVICE_ALIAS), EPERM);
	assert_works(e->k, KMS_SERVICE_ALIAS);
}

static void
a_customer_key_lives_its_life(void **state)
{
	struct env *e = *state;
	struct kms_key_info made, info;
	struct wrapped_dk w;
	struct uuid u;
	struct key dk;

	assert_ok(kms_create_key(e->k, "d\xc3\xa9p\xc3\xb4t", &made));
	assert_ok(uuid_parse(made.id, &u));
	assert_int_equal(u.bytes[6] >> 4, 4);
	assert_string_equal(made.description, "d\xc3\xa9p\xc3\xb4t");
	assert_string_equal(made.creator, "local");
	assert_string_equal(made.origin, "Aliyun_KMS");
	assert_int_equal(made.versions, 1);
	assert_int_equal(made.state, KMS_ENABLED);
	assert_true(strncmp(made.arn, "acs:kms:local:local:key/", 24) == 0);
	assert_string_equal(made.arn + 24, made.id);

	assert_ok(kms_create_alias(e->k, "alias/app", made.arn));
	assert_ok(kms_describe_key(e->k, "alias/app", &info));
	assert_string_equal(info.id, made.id);
	assert_string_equal(info.primary_version, made.primary_version);
	assert_true(info.created == made.created);
	assert_works(e->k, made.id);
	assert_works(e->k, made.arn);
	assert_works(e->k, "alias/app");

	assert_ok(kms_generate_data_key(e->k, made.id, &lineage, &w, &dk));
	assert_ok(kms_disable_key(e->k, "alias/app"));
	assert_ok(kms_disable_key(e->k, made.id)); /* as often as one likes */
	assert_ok(kms_describe_key(e->k, made.id, &info));
	assert_int_equal(info.state, KMS_DISABLED);
	assert_err(kms_generate_data_key(e->k, made.id, &lineage, &w, &dk),
		   EKEYREVOKED);
	assert_err(kms_decrypt(e->k, &w, &dk), EKEYREVOKED);
	assert_ok(kms_enable_key(e->k, made.arn));
	assert_ok(kms_decrypt(e->k, &w, &dk));
}

static void
what_was_made_is_there_after_opening_again(void **state)
{
	struct env *e = *state;
	struct kms_key_info made, info;
	struct wrapped_dk w, w2;
	struct key dk, again;

	assert_ok(kms_create_key(e->k, "lasting", &made));
	assert_ok(kms_generate_data_key(e->k, made.id, &lineage, &w, &dk));
	assert_ok(kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w2,
					NULL));
	env_close(e);
	env_open(e);
	assert_ok(kms_decrypt(e->k, &w, &again));
	assert_memory_equal(&dk, &again, sizeof(dk));
	assert_ok(kms_decrypt(e->k, &w2, &again));
	assert_ok(kms_describe_key(e->k, made.id, &info));
	assert_string_equal(info.arn, made.arn);
	assert_string_equal(info.description, made.description);
	assert_string_equal(info.primary_version, made.primary_version);
	assert_true(info.created == made.created);
}

static void
aliases_are_bound_moved_and_removed(void **state)
{
	struct env *e = *state;
	struct kms_key_info a, b, info;

	assert_ok(kms_create_key(e->k, "a", &a));
	assert_ok(kms_create_key(e->k, "b", &b));
	assert_ok(kms_create_alias(e->k, "alias/x", a.id));
	assert_ok(kms_create_alias(e->k, "alias/y", "alias/x"));
	assert_err(kms_create_alias(e->k, "alias/x", b.id), EEXIST);
	assert_ok(kms_describe_key(e->k, "alias/x", &info));
	assert_string_equal(info.id, a.id);
	assert_ok(kms_update_alias(e->k, "alias/x", b.id));
	assert_ok(kms_describe_key(e->k, "alias/x", &info));
	assert_string_equal(info.id, b.id);
	assert_ok(kms_describe_key(e->k, "alias/y", &info));
	assert_string_equal(info.id, a.id);
	assert_err(kms_update_alias(e->k, "alias/z", b.id), ENOKEY);
	assert_ok(kms_delete_alias(e->k, "alias/x"));
	assert_err(kms_delete_alias(e->k, "alias/x"), ENOKEY);
	assert_err(kms_describe_key(e->k, "alias/x", &info), ENOKEY);
	assert_ok(kms_describe_key(e->k, b.id, &info));
	assert_err(kms_describe_key(e->k, "alias/Y", &info), ENOKEY);
}

static void
alias_names_have_a_form(void **state)
{
	static const char *const bad[] = {
		"",          "x",          "alias",     "alias/",
		"Alias/x",   "alias/a b",  "alias/a\n", "alias/\xc3\xa9",
		"alias/a\"", "alias/a\\b",
	};
	struct env *e = *state;
	char longest[KMS_ALIAS_LEN + 1];
	struct kms_key_info key;
	size_t i;

	assert_ok(kms_create_key(e->k, "", &key));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_err(kms_create_alias(e->k, bad[i], key.id), EINVAL);
		assert_err(kms_update_alias(e->k, bad[i], key.id), EINVAL);
		assert_err(kms_delete_alias(e->k, bad[i]), EINVAL);
	}
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "alias/", 6);
	longest[256] = '\0';
	assert_err(kms_create_alias(e->k, longest, key.id), EINVAL);
	longest[255] = '\0';
	assert_ok(kms_create_alias(e->k, longest, key.id));
	assert_ok(kms_describe_key(e->k, longest, &key));
	assert_ok(kms_create_alias(e->k, "alias/a-B_c/d.e:9", key.id));
}

static void
keys_that_are_not_there_are_told_from_names_that_are_wrong(void **state)
{
	static const struct {
		const char *key;
		int err;
	} table[] = {
		{ NOBODY, ENOKEY },
		{ "acs:kms:local:local:key/" NOBODY, ENOKEY },
		{ "acs:kms:cn-hangzhou:local:key/" NOBODY, ENOKEY },
		{ "acs:kms:local:1234567890:key/" NOBODY, ENOKEY },
		{ "alias/nobody", ENOKEY },
		{ "alias/acs/rds", ENOKEY },
		{ "", EINVAL },
		{ "app", EINVAL },
		{ "00000000-0000-4000-8000-00000000000", EINVAL },
		{ "00000000-0000-4000-8000-000000000000 ", EINVAL },
		{ "acs:kms:local:local:key/", EINVAL },
		{ "acs:kms:local:local:key/app", EINVAL },
	};
	struct env *e = *state;
	struct kms_key_info info;
	struct wrapped_dk w;
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *key = table[i].key;
		int err = table[i].err;

		assert_err(kms_describe_key(e->k, key, &info), err);
		assert_err(kms_generate_data_key(e->k, key, &lineage, &w, NULL),
			   err);
		assert_err(kms_disable_key(e->k, key), err);
		assert_err(kms_enable_key(e->k, key), err);
		assert_err(kms_create_alias(e->k, "alias/a", key), err);
		assert_err(kms_update_alias(e->k, "alias/a", key), err);
	}
}

static void
the_arn_of_another_region_is_no_key_here(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, info;
	char arn[KMS_ARN_LEN];

	assert_ok(kms_create_key(e->k, "", &key));
	(void)snprintf(arn, sizeof(arn), "acs:kms:elsewhere:local:key/%s",
		       key.id);
	assert_err(kms_describe_key(e->k, arn, &info), ENOKEY);
	(void)snprintf(arn, sizeof(arn), "acs:kms:local:local:key/%s", key.id);
	assert_ok(kms_describe_key(e->k, arn, &info));
}

static void
regions_do_not_see_each_other(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, info;
	struct wrapped_dk w;
	struct key dk;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_create_alias(e->k, "alias/a", key.id));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	env_close(e);
	(void)snprintf(e->s.kms_region, sizeof(e->s.kms_region), "elsewhere");
	env_open(e);
	assert_err(kms_describe_key(e->k, key.id, &info), ENOKEY);
	assert_err(kms_describe_key(e->k, "alias/a", &info), ENOKEY);
	assert_err(kms_decrypt(e->k, &w, &dk), EKEYREJECTED);
	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_create_alias(e->k, "alias/a", key.id));
	assert_works(e->k, "alias/a");
	assert_works(e->k, KMS_SERVICE_ALIAS);
}

static void
descriptions_have_a_length_and_an_encoding(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	char text[8200];

	memset(text, 'x', sizeof(text));
	text[8193] = '\0';
	assert_err(kms_create_key(e->k, text, &info), EINVAL);
	text[8192] = '\0';
	assert_ok(kms_create_key(e->k, text, &info));
	assert_int_equal(strlen(info.description), 511); /* its beginning */
	assert_memory_equal(info.description, text, 511);
	memcpy(text + 510, "\xc3\xa4", 2);
	assert_ok(kms_create_key(e->k, text, &info));
	assert_int_equal(strlen(info.description), 510);
	assert_err(kms_create_key(e->k, "\xff", &info), EINVAL);
}

static void
each_state_refuses_what_it_must(void **state)
{
	static const struct {
		enum kms_key_state state;
		const char *name;
		int use, toggle, alias;
	} table[] = {
		{ KMS_ENABLED, "Enabled", 0, 0, 0 },
		{ KMS_DISABLED, "Disabled", -EKEYREVOKED, 0, 0 },
		{ KMS_PENDING_DELETION, "PendingDeletion", -EKEYEXPIRED,
		  -EKEYEXPIRED, -EKEYEXPIRED },
		{ KMS_PENDING_IMPORT, "PendingImport", -EKEYREVOKED,
		  -EKEYREVOKED, 0 },
	};
	struct env *e = *state;
	struct kms_key_info key, info;
	struct wrapped_dk w, w2;
	struct key dk;
	size_t i;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_string_equal(kms_state_name(table[i].state),
				    table[i].name);
		env_set_state(e, key.id, table[i].state);
		assert_int_equal(kms_decrypt(e->k, &w, &dk), table[i].use);
		assert_int_equal(kms_generate_data_key(e->k, key.id, &lineage,
						       &w2, &dk),
				 table[i].use);
		assert_int_equal(kms_create_alias(e->k, "alias/a", key.id),
				 table[i].alias);
		assert_int_equal(kms_enable_key(e->k, key.id), table[i].toggle);
		env_set_state(e, key.id, table[i].state);
		assert_int_equal(kms_disable_key(e->k, key.id),
				 table[i].toggle);
		env_set_state(e, key.id, table[i].state);
		assert_ok(kms_describe_key(e->k, key.id, &info));
		assert_int_equal(info.state, table[i].state);
		if (table[i].alias == 0)
			assert_ok(kms_delete_alias(e->k, "alias/a"));
	}
}

static void
failed_calls_write_nothing(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	struct wrapped_dk w;
	uint8_t blank[sizeof(info) + sizeof(w)];
	struct key dk;

	memset(blank, 0x5a, sizeof(blank));
	memset(&info, 0x5a, sizeof(info));
	memset(&w, 0x5a, sizeof(w));
	memset(&dk, 0x5a, sizeof(dk));
	assert_err(kms_describe_key(e->k, NOBODY, &info), ENOKEY);
	assert_err(kms_create_key(e->k, "\xff", &info), EINVAL);
	assert_err(kms_generate_data_key(e->k, NOBODY, &lineage, &w, &dk),
		   ENOKEY);
	assert_memory_equal(&info, blank, sizeof(info));
	assert_memory_equal(&w, blank, sizeof(w));
	assert_memory_equal(&dk, blank, sizeof(dk));
}

struct list {
	unsigned n, stop;
	char ids[64][KMS_ID_LEN];
};

static int
note_key(const struct kms_key_info *info, void *arg)
{
	struct list *l = arg;

	memcpy(l->ids[l->n++], info->id, KMS_ID_LEN);
	assert_int_equal(info->versions, 1);
	assert_true(strstr(info->arn, info->id) != NULL);
	return l->n == l->stop ? 42 : 0;
}

static int
note_alias(const char *alias, const char *key_id, void *arg)
{
	struct list *l = arg;

	(void)key_id;
	(void)snprintf(l->ids[l->n++], KMS_ID_LEN, "%s", alias);
	return l->n == l->stop ? 42 : 0;
}

static void
lists_go_from_the_oldest_to_the_newest_until_told_to_stop(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	struct list l = { 0 };
	char ids[20][KMS_ID_LEN], alias[32];
	unsigned i;

	assert_ok(kms_list_keys(e->k, note_key, &l));
	assert_ok(kms_list_aliases(e->k, note_alias, &l));
	assert_int_equal(l.n, 0);
	for (i = 0; i < 20; i++) {
		assert_ok(kms_create_key(e->k, "", &info));
		memcpy(ids[i], info.id, KMS_ID_LEN);
		(void)snprintf(alias, sizeof(alias), "alias/%u", 99 - i);
		assert_ok(kms_create_alias(e->k, alias, info.id));
	}
	assert_ok(kms_list_keys(e->k, note_key, &l));
	assert_int_equal(l.n, 20);
	for (i = 0; i < 20; i++)
		assert_string_equal(l.ids[i], ids[i]);
	memset(&l, 0, sizeof(l));
	assert_ok(kms_list_aliases(e->k, note_alias, &l));
	assert_int_equal(l.n, 20);
	for (i = 0; i < 20; i++)
		assert_int_equal(atoi(l.ids[i] + 6), 99 - i);

	memset(&l, 0, sizeof(l));
	l.stop = 3;
	assert_int_equal(kms_list_keys(e->k, note_key, &l), 42);
	assert_int_equal(l.n, 3);
	memset(&l, 0, sizeof(l));
	l.stop = 3;
	assert_int_equal(kms_list_aliases(e->k, note_alias, &l), 42);
	assert_int_equal(l.n, 3);
}

struct worker {
	pthread_t thread;
	struct kms *k;
	unsigned failures;
	char service[KMS_ID_LEN];
};

/* Asserts of cmocka belong to the main thread. */
static void *
work(void *arg)
{
	struct worker *me = arg;
	struct kms_key_info info;
	struct key dk, again;
	struct wrapped_dk w;
	unsigned i;

	for (i = 0; i < 25; i++) {
		if (kms_generate_data_key(me->k, KMS_SERVICE_ALIAS, &lineage,
					  &w, &dk) ||
		    kms_decrypt(me->k, &w, &again) ||
		    memcmp(&dk, &again, sizeof(dk)) != 0 ||
		    (i % 5 == 0 && kms_create_key(me->k, "", &info)))
			me->failures++;
		memcpy(me->service, w.key_id, KMS_ID_LEN);
	}
	return NULL;
}

static void
work_by_eight(struct env *e, struct kms *k[8])
{
	struct worker workers[8] = { { 0 } };
	struct list l = { 0 };
	unsigned i;

	for (i = 0; i < 8; i++) {
		workers[i].k = k[i];
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work,
						&workers[i]),
				 0);
	}
	for (i = 0; i < 8; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	for (i = 0; i < 8; i++) {
		assert_int_equal(workers[i].failures, 0);
		assert_string_equal(workers[i].service, workers[0].service);
	}
	assert_ok(kms_list_keys(e->k, note_key, &l));
	assert_int_equal(l.n, 1 + 8 * 5);
}

static void
eight_threads_share_one_handle(void **state)
{
	struct env *e = *state;
	struct kms *k[8];
	unsigned i;

	for (i = 0; i < 8; i++)
		k[i] = e->k;
	work_by_eight(e, k);
}

static void
eight_threads_have_a_handle_each(void **state)
{
	struct env *e = *state;
	struct kms *k[8];
	unsigned i;

	for (i = 0; i < 8; i++)
		assert_ok(kms_open(&e->s, &k[i]));
	work_by_eight(e, k);
	for (i = 0; i < 8; i++)
		kms_close(k[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_service_key_is_made_when_first_used),
		TEST(the_service_key_serves_and_nothing_else),
		TEST(a_customer_key_lives_its_life),
		TEST(what_was_made_is_there_after_opening_again),
		TEST(aliases_are_bound_moved_and_removed),
		TEST(alias_names_have_a_form),
		TEST(
		    keys_that_are_not_there_are_told_from_names_that_are_wrong),
		TEST(the_arn_of_another_region_is_no_key_here),
		TEST(regions_do_not_see_each_other),
		TEST(descriptions_have_a_length_and_an_encoding),
		TEST(each_state_refuses_what_it_must),
		TEST(failed_calls_write_nothing),
		TEST(lists_go_from_the_oldest_to_the_newest_until_told_to_stop),
		TEST(eight_threads_share_one_handle),
		TEST(eight_threads_have_a_handle_each),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
