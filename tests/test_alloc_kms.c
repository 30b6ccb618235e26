/*
 * test_alloc_kms.c - the Nth allocation fails, for each N of whatever can be
 * asked of the key service, and of what reads a text.
 *
 * It fails once, or all fail from there on.  What was asked for then fails with
 * -ENOMEM, or because the audit log cannot be written, or is done all the same;
 * asked for again with memory it succeeds; what was wrapped before opens, and
 * no secret is held.  What is leaked the address sanitizer tells.
 *
 * SEALDISK_TEST_SLOW=1 tries each N, else some.  SEALDISK_FAULT=ASK,N,LASTING
 * repeats one run.
 */
#include "service_env.h"

#include "descriptor_cases.h"
#include "fault_alloc.h"

#include <sealdisk/log.h>
#include <sealdisk/settings.h>

#include "policy.h"

static struct service_env v;
static struct env *e;
static struct kms_key_info made, external;
static struct wrapped_dk wrapped; /* in `lineage` */
static struct key was;
static unsigned turn; /* for names that are new */

/* ---- texts ---- */

static int
ask_descriptor(void)
{
	CLEANUP(free_memp) struct descriptor *d = calloc(1, sizeof(*d));
	CLEANUP(free_memp) char *text = NULL;
	int r;

	assert_non_null(d);
	r = descriptor_parse(descriptor_text, strlen(descriptor_text), d);
	if (r == 0)
		r = descriptor_format(d, &dk, &text);
	if (r == 0)
		r = descriptor_verify(text, strlen(text), &d->uuid, &dk);
	if (r == 0)
		assert_string_equal(text, descriptor_text);
	return r;
}

static int
ask_store_ini(void)
{
	struct store_meta m = { .created = 1, .cipher = CIPHER_AES256_GCM }, n;
	CLEANUP(free_memp) char *text = NULL;
	int r;

	m.uuid = u("00000000-0000-4000-8000-000000000001");
	m.slack = 1 << 20;
	r = store_meta_format(&m, &text);
	if (r == 0)
		r = store_meta_parse(text, strlen(text), &n);
	if (r == 0)
		assert_true(uuid_equal(&m.uuid, &n.uuid));
	return r;
}

static int
ask_layer_ini(void)
{
	struct layer_meta m = { .size = 1 << 20, .created = 1 }, n;
	CLEANUP(free_memp) char *text = NULL;
	int r;

	m.uuid = m.lineage = m.key = u("00000000-0000-4000-8000-000000000001");
	r = layer_meta_format(&m, &dk, &text);
	if (r == 0)
		r = layer_meta_parse(text, strlen(text), &dk, &n);
	if (r == 0)
		assert_int_equal(n.size, m.size);
	return r;
}

static int
ask_settings(void)
{
	CLEANUP(free_memp) char *msg = NULL;
	struct settings s;
	int r;

	memset(&s, 0x5a, sizeof(s));
	r = settings_load(&s, env_path(e, "sealdisk.ini"), &msg);
	if (r < 0)
		assert_int_equal(s.kms_region[0], 0x5a);
	else
		assert_string_equal(s.kms_region, "here");
	return r;
}

static int
ask_policy(void)
{
	static const char text[] =
	    "{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Allow\","
	    "\"Action\":[\"kms:Encrypt\",\"kms:GenerateDataKey*\"],"
	    "\"Resource\":[\"acs:kms:*:*:key/*\"],\"Condition\":{"
	    "\"StringEquals\":{\"kms:tag/team\":[\"a\",\"b\"]}}},"
	    "{\"Effect\":\"Deny\",\"Action\":\"kms:Decrypt\","
	    "\"Resource\":\"*\"}]}";
	CLEANUP(policy_freep) struct policy *p = NULL;
	struct policy_pair tag = { "team", "b" };
	struct policy_request q = { .account = "1",
				    .principal = "user/a",
				    .action = "kms:GenerateDataKey",
				    .resource = "acs:kms:r:1:key/x",
				    .tags = &tag,
				    .n_tags = 1 };
	char why[POLICY_WHY_LEN];
	int r = policy_parse(text, strlen(text), POLICY_OF_PRINCIPAL, &p, why);

	if (r < 0)
		return r;
	/* With or without memory it is what it says. */
	assert_int_equal(policy_evaluate(p, &q), POLICY_ALLOW);
	q.action = "kms:Decrypt";
	assert_int_equal(policy_evaluate(p, &q), POLICY_DENY);
	q.action = "kms:DisableKey";
	assert_int_equal(policy_evaluate(p, &q), POLICY_SILENT);
	return 0;
}

/* ---- the keystore ---- */

static int
ask_init(void)
{
	struct settings s;
	char name[32];
	bool is_new;

	(void)snprintf(name, sizeof(name), "new-%u", turn);
	env_settings(&s, env_path(e, name));
	return kms_init(&s, &is_new);
}

static int
ask_open(void)
{
	struct kms *k = NULL;
	int r = kms_open(&e->s, &k);

	kms_close(k);
	return r;
}

static int
ask_create(void)
{
	struct kms_key_info info;

	return kms_create_key(e->k, "of a test", &info);
}

static int
ask_rotate(void)
{
	struct kms_key_info info;

	return kms_create_key_version(e->k, made.id, &info);
}

static int
ask_generate(void)
{
	struct wrapped_dk w;
	struct key new;

	return kms_generate_data_key(e->k, made.id, &lineage, &w, &new);
}

static int
ask_decrypt(void)
{
	struct key now;
	int r = kms_decrypt(e->k, &wrapped, &now);

	if (r == 0)
		assert_memory_equal(&now, &was, sizeof(was));
	return r;
}

static int
ask_reencrypt(void)
{
	struct wrapped_dk w;

	return kms_reencrypt(e->k, &wrapped, KMS_SERVICE_ALIAS, NULL, &w);
}

static int
ask_import(void)
{
	static const struct key material = { "what a customer has thought of" };
	struct kms_import i = { .padding = RSA_OAEP_SHA256 };
	int r = kms_prepare_import(e->k, external.id, &i);

	if (r == 0)
		r = kms_import_material(e->k, external.id, &i, &material, 0);
	return r;
}

static int
ask_alias(void)
{
	char alias[32];
	int r;

	(void)snprintf(alias, sizeof(alias), "alias/a-%u", turn);
	r = kms_create_alias(e->k, alias, made.id);
	/* It is there though that could not be recorded. */
	if (r == -EEXIST)
		r = 0;
	if (r == 0)
		r = kms_update_alias(e->k, alias, external.id);
	return r;
}

static int
ask_state(void)
{
	int64_t when;
	int r = kms_disable_key(e->k, external.id);

	if (r == 0)
		r = kms_enable_key(e->k, external.id);
	if (r == 0)
		r = kms_set_rotation(e->k, made.id, 30);
	if (r == 0)
		r = kms_set_protection(e->k, made.id, false);
	if (r == 0)
		r = kms_schedule_key_deletion(e->k, made.id, 7, &when);
	if (r == 0)
		r = kms_cancel_key_deletion(e->k, made.id);
	return r;
}

static void
well_state(void)
{
	(void)!kms_cancel_key_deletion(e->k, made.id);
	(void)!kms_enable_key(e->k, external.id);
}

static int
ask_anchor(void)
{
	uint8_t digest[SHA256_LEN] = { 1 };
	uint64_t generation;
	int r = kms_set_anchor(e->k, &lineage, 7, digest, true);

	return r < 0 ? r : kms_get_anchor(e->k, &lineage, &generation, digest);
}

static int
count_key(const struct kms_key_info *info, void *arg)
{
	(void)info;
	++*(unsigned *)arg;
	return 0;
}

static int
ask_list(void)
{
	unsigned n = 0;
	int r = kms_list_keys(e->k, count_key, &n);

	if (r == 0)
		assert_true(n >= 2);
	return r;
}

static int
ask_backup(void)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "backup-%u", turn);
	(void)unlink(env_path(e, name)); /* of a call that failed at its end */
	return kms_backup(e->k, env_path(e, name));
}

/* ---- the service ---- */

static int
ask_service(const char *action, const char *name, const char *value)
{
	struct service_param params[] = { { "KeyId", made.id },
					  { name, value } };
	struct service_request q = { .action = action,
				     .params = params,
				     .n_params = name ? 2 : 1,
				     .peer = { .via = SERVICE_EMBEDDED,
					       .address = "test",
					       .uid = geteuid() } };
	const char *code;
	int r;

	service_reply_done(&v.last);
	r = service_call(v.s, &q, &v.last);
	if (r < 0)
		return r;
	code = json_string_value(json_object_get(v.last.body, "Code"));
	if (!code && v.last.status == 200)
		return 0;
	return code && strcmp(code, "InternalFailure") != 0 &&
		       strcmp(code, "ServiceUnavailableTemporary") != 0
		   ? -EBADMSG
		   : -ENOMEM;
}

static int
ask_service_open(void)
{
	struct service *s = NULL;
	int r = service_open(&e->s, false, &s);

	service_close(s);
	return r;
}

static const struct ask {
	const char *name;
	int (*run)(void); /* NULL: of the service, with a parameter */
	const char *param, *value;
	void (*well)(void); /* after a failure, before it is asked again */
} asks[] = {
	{ "descriptor", .run = ask_descriptor },
	{ "store.ini", .run = ask_store_ini },
	{ "layer.ini", .run = ask_layer_ini },
	{ "settings", .run = ask_settings },
	{ "policy", .run = ask_policy },
	{ "init", .run = ask_init },
	{ "open", .run = ask_open },
	{ "create", .run = ask_create },
	{ "rotate", .run = ask_rotate },
	{ "generate", .run = ask_generate },
	{ "decrypt", .run = ask_decrypt },
	{ "reencrypt", .run = ask_reencrypt },
	{ "import", .run = ask_import },
	{ "alias", .run = ask_alias },
	{ "state", .run = ask_state, .well = well_state },
	{ "anchor", .run = ask_anchor },
	{ "list", .run = ask_list },
	{ "backup", .run = ask_backup },
	{ "Encrypt", .param = "Plaintext", .value = "AAAA" },
	{ "GenerateDataKey", .param = "EncryptionContext",
	  .value = "{\"a\":\"b\"}" },
	{ .name = "DescribeKey" },
	{ .name = "ListKeyVersions" },
	{ "TagResource", .param = "Tags",
	  .value = "[{\"TagKey\":\"a\",\"TagValue\":\"b\"}]" },
	{ "a service", .run = ask_service_open },
};
#define N_ASKS (sizeof(asks) / sizeof(asks[0]))

static int
ask(const struct ask *a)
{
	return a->run ? a->run() : ask_service(a->name, a->param, a->value);
}

/* ---- the sweep ---- */

static unsigned at[3]; /* the run under way */
static unsigned runs, failed;

static bool
run_one(const struct ask *a, unsigned nth, bool lasting)
{
	size_t secrets = secret_in_use();
	bool fired;
	int r;

	turn++;
	alloc_arm(nth, lasting);
	r = ask(a);
	fired = alloc_fired();
	alloc_arm(0, false);
	service_reply_done(&v.last);
	if (r < 0 && (!fired || (r != -ENOMEM && r != -ESHUTDOWN)))
		fail_msg("%s: %s (%d)", a->name, strerror(-r), r);
	if (r < 0 && a->well)
		a->well();
	if (r < 0)
		assert_ok(ask(a));
	service_reply_done(&v.last);
	assert_ok(ask_decrypt());
	assert_int_equal(secret_in_use(), secrets);
	runs++;
	failed += r < 0;
	return fired;
}

static void
sweep(unsigned i, bool lasting)
{
	unsigned step = test_is_slow() ? 1 : 7, nth = 1 + i % step;

	do {
		at[0] = i;
		at[1] = nth;
		at[2] = lasting;
		nth += step;
	} while (run_one(&asks[i], at[1], lasting));
}

static void
what_lacks_memory_fails_and_loses_no_key(void **state)
{
	const char *one = getenv("SEALDISK_FAULT");

	(void)state;
	if (one) {
		assert_int_equal(
		    sscanf(one, "%u,%u,%u", &at[0], &at[1], &at[2]), 3);
		assert_true(at[0] < N_ASKS);
		(void)run_one(&asks[at[0]], at[1], at[2]);
		return;
	}
	/* What is done the first time only. */
	for (unsigned i = 0; i < N_ASKS; i++)
		assert_ok(ask(&asks[i]));
	service_reply_done(&v.last);
	for (unsigned i = 0; i < N_ASKS; i++) {
		sweep(i, false);
		sweep(i, true);
	}
	printf("%u runs, of which %u failed\n", runs, failed);
	assert_true(failed > runs / 4);
}

/* A character was left out of a pattern. */
static void
a_policy_without_memory_was_another(void **state)
{
	(void)state;
	at[0] = 4;
	at[1] = 1;
	while (run_one(&asks[at[0]], at[1], at[2]))
		at[1]++;
}

static int
setup(void **state)
{
	static const char ini[] = "[kms]\nregion = here\n[store]\n"
				  "slack = 2G\n";

	(void)env_setup(state);
	e = *state;
	v = (struct service_env){ .e = e };
	e->s.keystore_max_versions = 0;
	env_close(e);
	env_open(e);
	assert_ok(service_open(&e->s, false, &v.s));
	assert_ok(kms_create_key(e->k, "", &made));
	assert_ok(kms_create_external_key(e->k, "", &external));
	assert_ok(
	    kms_generate_data_key(e->k, made.id, &lineage, &wrapped, &was));
	file_save(env_path(e, "sealdisk.ini"), ini, strlen(ini));
	return 0;
}

static int
teardown(void **state)
{
	alloc_arm(0, false);
	if (at[1])
		print_message("SEALDISK_FAULT=%u,%u,%u: %s\n", at[0], at[1],
			      at[2], asks[at[0]].name);
	service_env_close(&v);
	return env_teardown(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    what_lacks_memory_fails_and_loses_no_key, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_policy_without_memory_was_another, setup, teardown),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
