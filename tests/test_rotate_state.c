/*
 * test_rotate_state.c - every action on a key in every state.
 */
#include "kms_env.h"

#include "keys.h"

#define STATES 4 /* Enabled, Disabled, PendingDeletion, PendingImport */

struct on {
	struct kms *k;
	char id[KMS_ID_LEN], other[KMS_ID_LEN];
	struct wrapped_dk of_it, of_other;
};

/* The actions; each leaves the key as it was made, but for its state. */

static int
generate(struct on *o)
{
	struct wrapped_dk w;
	struct key dk;

	return kms_generate_data_key(o->k, o->id, &lineage, &w, &dk);
}

static int
generate_without_plaintext(struct on *o)
{
	struct wrapped_dk w;

	return kms_generate_data_key(o->k, o->id, &lineage, &w, NULL);
}

static int
decrypt(struct on *o)
{
	struct key dk;

	return kms_decrypt(o->k, &o->of_it, &dk);
}

static int
reencrypt_from(struct on *o)
{
	struct wrapped_dk w;

	return kms_reencrypt(o->k, &o->of_it, o->other, NULL, &w);
}

static int
reencrypt_to(struct on *o)
{
	struct wrapped_dk w;

	return kms_reencrypt(o->k, &o->of_other, o->id, NULL, &w);
}

static int
reencrypt_in_place(struct on *o)
{
	struct wrapped_dk w;

	return kms_reencrypt(o->k, &o->of_it, NULL, NULL, &w);
}

static int
create_version(struct on *o)
{
	struct kms_key_info info;

	return kms_create_key_version(o->k, o->id, &info);
}

static int
enable(struct on *o)
{
	return kms_enable_key(o->k, o->id);
}

static int
disable(struct on *o)
{
	return kms_disable_key(o->k, o->id);
}

static int
schedule(struct on *o)
{
	int64_t at;

	return kms_schedule_key_deletion(o->k, o->id, 7, &at);
}

static int
cancel(struct on *o)
{
	return kms_cancel_key_deletion(o->k, o->id);
}

static int
create_alias(struct on *o)
{
	int r = kms_create_alias(o->k, "alias/new", o->id);

	return r < 0 ? r : kms_delete_alias(o->k, "alias/new");
}

static int
update_alias_to(struct on *o)
{
	int r = kms_update_alias(o->k, "alias/other", o->id);

	return r < 0 ? r : kms_update_alias(o->k, "alias/other", o->other);
}

/* The state of the key that it stood for does not count. */
static int
update_alias_from(struct on *o)
{
	return kms_update_alias(o->k, "alias/it", o->other);
}

static int
delete_alias(struct on *o)
{
	return kms_delete_alias(o->k, "alias/it");
}

static int
describe(struct on *o)
{
	struct kms_key_info info;

	return kms_describe_key(o->k, o->id, &info);
}

static int
find_it(const struct kms_key_info *info, void *arg)
{
	const struct on *o = arg;

	return strcmp(info->id, o->id) == 0;
}

static int
list_keys(struct on *o)
{
	return kms_list_keys(o->k, find_it, o) == 1 ? 0 : -ENOKEY;
}

static int
list_aliases_find(const char *alias, const char *key_id, void *arg)
{
	const struct on *o = arg;

	(void)alias;
	return strcmp(key_id, o->id) == 0;
}

static int
list_aliases(struct on *o)
{
	return kms_list_aliases(o->k, list_aliases_find, o) == 1 ? 0 : -ENOKEY;
}

static int
create_key(struct on *o)
{
	struct kms_key_info info;

	return kms_create_key(o->k, "", &info);
}

#define REVOKED -EKEYREVOKED
#define EXPIRED -EKEYEXPIRED

/* What the reference says, action by action, and the errno of it here. */
static const struct row {
	const char *name;
	int (*run)(struct on *o);
	enum keys_action action;
	int want[STATES];
	int gone;    /* when it is destroyed */
	int service; /* on a service key */
} rows[] = {
	{ "GenerateDataKey",
	  generate,
	  KEYS_USE,
	  { 0, REVOKED, EXPIRED, REVOKED },
	  EXPIRED,
	  0 },
	{ "GenerateDataKeyWithoutPlaintext",
	  generate_without_plaintext,
	  KEYS_USE,
	  { 0, REVOKED, EXPIRED, REVOKED },
	  EXPIRED,
	  0 },
	{ "Decrypt",
	  decrypt,
	  KEYS_USE,
	  { 0, REVOKED, EXPIRED, REVOKED },
	  EXPIRED,
	  0 },
	{ "ReEncrypt, from it",
	  reencrypt_from,
	  KEYS_USE,
	  { 0, REVOKED, EXPIRED, REVOKED },
	  EXPIRED,
	  0 },
	{ "ReEncrypt, to it",
	  reencrypt_to,
	  KEYS_USE,
	  { 0, REVOKED, EXPIRED, REVOKED },
	  EXPIRED,
	  0 },
	{ "ReEncrypt, to itself",
	  reencrypt_in_place,
	  KEYS_USE,
	  { 0, REVOKED, EXPIRED, REVOKED },
	  EXPIRED,
	  0 },
	{ "CreateKeyVersion",
	  create_version,
	  KEYS_ROTATE,
	  { 0, REVOKED, EXPIRED, REVOKED },
	  EXPIRED,
	  -EPERM },
	{ "EnableKey",
	  enable,
	  KEYS_ENABLE,
	  { 0, 0, EXPIRED, REVOKED },
	  EXPIRED,
	  -EPERM },
	{ "DisableKey",
	  disable,
	  KEYS_DISABLE,
	  { 0, 0, EXPIRED, REVOKED },
	  EXPIRED,
	  -EPERM },
	{ "ScheduleKeyDeletion",
	  schedule,
	  KEYS_SCHEDULE,
	  { 0, 0, EXPIRED, 0 },
	  EXPIRED,
	  -EPERM },
	{ "CancelKeyDeletion",
	  cancel,
	  KEYS_CANCEL,
	  { -EALREADY, -EALREADY, 0, -EALREADY },
	  EXPIRED,
	  -EPERM },
	{ "CreateAlias",
	  create_alias,
	  KEYS_CREATE_ALIAS,
	  { 0, 0, EXPIRED, 0 },
	  EXPIRED,
	  -EPERM },
	{ "UpdateAlias, to it",
	  update_alias_to,
	  KEYS_UPDATE_ALIAS,
	  { 0, 0, EXPIRED, 0 },
	  EXPIRED,
	  -EPERM },
	{ "UpdateAlias, from it",
	  update_alias_from,
	  KEYS_LOOK,
	  { 0, 0, 0, 0 },
	  -ENOKEY,
	  0 },
	{ "DeleteAlias", delete_alias, KEYS_LOOK, { 0, 0, 0, 0 }, -ENOKEY, 0 },
	{ "DescribeKey", describe, KEYS_LOOK, { 0, 0, 0, 0 }, EXPIRED, 0 },
	{ "ListKeys", list_keys, KEYS_LOOK, { 0, 0, 0, 0 }, -ENOKEY, 0 },
	{ "ListAliases", list_aliases, KEYS_LOOK, { 0, 0, 0, 0 }, -ENOKEY, 0 },
	{ "CreateKey", create_key, KEYS_LOOK, { 0, 0, 0, 0 }, 0, 0 },
};
#define NROWS (sizeof(rows) / sizeof(rows[0]))

static void
on_make(struct env *e, struct on *o)
{
	struct kms_key_info info;

	o->k = e->k;
	assert_ok(kms_create_key(e->k, "", &info));
	memcpy(o->id, info.id, sizeof(o->id));
	assert_ok(kms_create_key(e->k, "", &info));
	memcpy(o->other, info.id, sizeof(o->other));
	assert_ok(kms_create_alias(e->k, "alias/it", o->id));
	assert_ok(kms_create_alias(e->k, "alias/other", o->other));
	assert_ok(
	    kms_generate_data_key(e->k, o->id, &lineage, &o->of_it, NULL));
	assert_ok(kms_generate_data_key(e->k, o->other, &lineage, &o->of_other,
					NULL));
}

static void
run_row(const struct row *row, struct on *o, const char *state, int want)
{
	int r = row->run(o);

	if (r != want)
		fail_msg("%s in %s: %d, not %d", row->name, state, r, want);
}

/* What was moved away or removed comes back. */
static void
put_back(struct env *e, const struct on *o, enum kms_key_state state)
{
	env_set_state(e, o->id, KMS_ENABLED);
	if (kms_create_alias(e->k, "alias/it", o->id) < 0)
		assert_ok(kms_update_alias(e->k, "alias/it", o->id));
	env_set_state(e, o->id, state);
}

static void
each_action_does_in_each_state_what_the_reference_says(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	struct on o;
	unsigned s;
	size_t i;

	on_make(e, &o);
	for (s = 0; s < STATES; s++)
		for (i = 0; i < NROWS; i++) {
			put_back(e, &o, (enum kms_key_state)s);
			run_row(&rows[i], &o,
				kms_state_name((enum kms_key_state)s),
				rows[i].want[s]);
			if (rows[i].want[s] == 0)
				continue;
			/* What is refused changes nothing. */
			assert_ok(kms_describe_key(e->k, o.id, &info));
			assert_int_equal(info.state, s);
		}
}

static void
each_action_on_a_destroyed_key_says_that_it_is(void **state)
{
	struct env *e = *state;
	struct keystore_key row;
	struct keystore *ks;
	struct on o;
	size_t i;

	on_make(e, &o);
	env_set_state(e, o.id, KMS_PENDING_DELETION);
	env_row(e, o.id, &row);
	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_set_deletion(ks, row.seq, 1));
	keystore_close(ks);
	/* Due, and then destroyed by whoever opens the keystore. */
	for (i = 0; i < NROWS; i++)
		if (rows[i].gone == EXPIRED)
			run_row(&rows[i], &o, "its last day", rows[i].gone);
	env_close(e);
	env_open(e);
	o.k = e->k;
	for (i = 0; i < NROWS; i++)
		run_row(&rows[i], &o, "its grave", rows[i].gone);
}

static void
each_action_on_a_service_key_does_what_it_may(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	struct on o;
	size_t i;

	on_make(e, &o);
	assert_ok(kms_describe_key(e->k, KMS_SERVICE_ALIAS, &info));
	memcpy(o.id, info.id, sizeof(o.id));
	assert_ok(kms_generate_data_key(e->k, o.id, &lineage, &o.of_it, NULL));
	for (i = 0; i < NROWS; i++)
		run_row(&rows[i], &o, "service", rows[i].service);
	assert_ok(kms_describe_key(e->k, KMS_SERVICE_ALIAS, &info));
	assert_string_equal(info.id, o.id);
	assert_int_equal(info.state, KMS_ENABLED);
}

/* What a server of the API would answer. */
static void
verdicts_are_those_of_the_api(void **state)
{
	static const char letters[] = {
		[KEYS_OK] = '.', [KEYS_REJECTED] = 'R', [KEYS_UNMODIFIED] = 'S'
	};
	static const char *const want[KEYS_NACTIONS] = {
		[KEYS_USE] = ".RRR",          [KEYS_ROTATE] = ".RRR",
		[KEYS_ENABLE] = "..SS",       [KEYS_DISABLE] = "..SS",
		[KEYS_SCHEDULE] = "..S.",     [KEYS_CANCEL] = "SS.S",
		[KEYS_CREATE_ALIAS] = "..S.", [KEYS_UPDATE_ALIAS] = "..R.",
		[KEYS_LOOK] = "....",         [KEYS_CHANGE] = "..R.",
		[KEYS_PREPARE] = "....",      [KEYS_IMPORT] = "..S.",
	};
	bool seen[KEYS_NACTIONS] = { false };
	char got[STATES + 1] = "";
	unsigned a, s;
	size_t i;

	(void)state;
	for (a = 0; a < KEYS_NACTIONS; a++) {
		for (s = 0; s < STATES; s++)
			got[s] = letters[keys_verdict((enum keys_action)a,
						      (enum kms_key_state)s)];
		assert_string_equal(got, want[a]);
	}
	for (i = 0; i < NROWS; i++)
		seen[rows[i].action] = true;
	/* The others are no action of kms.h. */
	for (a = 0; a <= KEYS_LOOK; a++)
		assert_true(seen[a]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_action_does_in_each_state_what_the_reference_says),
		TEST(each_action_on_a_destroyed_key_says_that_it_is),
		TEST(each_action_on_a_service_key_does_what_it_may),
		cmocka_unit_test(verdicts_are_those_of_the_api),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
