/*
 * test_service_matrix.c - every action on a key in every state, as the matrix
 * of the reference has it; and that no row of the table goes untested.
 */
#include "service_env.h"

#include "keys.h"
#include "service_private.h"

#define STATES 4 /* Enabled, Disabled, PendingDeletion, PendingImport */

static struct service_env v;
static char *id, *other; /* the key in that state, and an enabled one */
static char *blob, *of_other;

static int
setup(void **state)
{
	(void)env_setup(state);
	v = (struct service_env){ .e = *state };
	service_env_open(&v);
	return 0;
}

static int
teardown(void **state)
{
	free(id);
	free(other);
	free(blob);
	free(of_other);
	id = other = blob = of_other = NULL;
	service_env_close(&v);
	return env_teardown(state);
}

/*
 * What each action is given: "ID", "OTHER", "BLOB" and "OF_OTHER" stand for the
 * above.  ${want} has a letter a state: . works, R Rejected.STATE, S
 * Rejected.StateModifiedFailed; the others are in code_for().
 */
static const struct {
	const char *action;
	const char *want;
	const char *args[9];
} rows[] = {
	{ "BackupKeystore", "PPPP", { "Path", "relative" } },
	{ "CancelKeyDeletion", "SS.S", { "KeyId", "ID" } },
	{ "CreateAccessKey", "....", { "Principal", "app" } },
	{ "CreateAlias", "..S.", { "KeyId", "ID", "AliasName", "alias/n" } },
	{ "CreateKey", "....", { "Description", "x" } },
	{ "CreateKeyVersion", ".RRR", { "KeyId", "ID" } },
	{ "Decrypt", ".RRR", { "CiphertextBlob", "BLOB" } },
	{ "DeleteAccessKey", "AAAA", { "UserAccessKeyId", "SD1" } },
	{ "DeleteAlias", "....", { "AliasName", "alias/it" } },
	{ "DeleteKeyMaterial", "....", { "KeyId", "ID" } },
	{ "DeletePolicy", "PPPP", { "Principal", "nobody" } },
	{ "DescribeAccountKmsStatus", "....", { NULL } },
	{ "DescribeKey", "....", { "KeyId", "ID" } },
	{ "DescribeKeyVersion",
	  "....",
	  { "KeyId", "ID", "KeyVersionId", "VERSION" } },
	{ "DescribeRegions", "....", { NULL } },
	{ "DisableKey", "..SS", { "KeyId", "ID" } },
	{ "EnableKey", "..SS", { "KeyId", "ID" } },
	{ "Encrypt", ".RRR", { "KeyId", "ID", "Plaintext", "AAAA" } },
	{ "GenerateDataKey", ".RRR", { "KeyId", "ID" } },
	{ "GenerateDataKeyWithoutPlaintext", ".RRR", { "KeyId", "ID" } },
	{ "GetKeyPolicy", "....", { "KeyId", "ID" } },
	{ "GetParametersForImport",
	  "....",
	  { "KeyId", "ID", "WrappingAlgorithm", "RSAES_OAEP_SHA_256",
	    "WrappingKeySpec", "RSA_2048" } },
	{ "GetPolicy", "PPPP", { "Principal", "nobody" } },
	{ "GetUsage", "....", { NULL } },
	{ "GrantKey", "..R.", { "KeyId", "ID", "Principal", "app" } },
	/* That it gets as far as to look at the token is as good. */
	{ "ImportKeyMaterial",
	  "TTST",
	  { "KeyId", "ID", "EncryptedKeyMaterial", "AAAA", "ImportToken",
	    "AAAA" } },
	{ "ListAccessKeys", "....", { NULL } },
	{ "ListAliases", "....", { NULL } },
	{ "ListAliasesByKeyId", "....", { "KeyId", "ID" } },
	{ "ListKeyVersions", "....", { "KeyId", "ID" } },
	{ "ListKeys", "....", { NULL } },
	{ "ListPolicies", "....", { NULL } },
	{ "ListResourceTags", "....", { "KeyId", "ID" } },
	{ "ListTagResources", "....", { "ResourceType", "key" } },
	{ "ReEncrypt",
	  ".RRR",
	  { "CiphertextBlob", "BLOB", "DestinationKeyId", "OTHER" } },
	{ "ReEncrypt",
	  ".RRR",
	  { "CiphertextBlob", "OF_OTHER", "DestinationKeyId", "ID" } },
	{ "RevokeKey", "..R.", { "KeyId", "ID", "Principal", "app" } },
	{ "ScheduleKeyDeletion",
	  "..S.",
	  { "KeyId", "ID", "PendingWindowInDays", "30" } },
	{ "SetDeletionProtection",
	  "..R.",
	  { "KeyId", "ID", "EnableDeletionProtection", "false" } },
	{ "SetKeyPolicy",
	  "..R.",
	  { "KeyId", "ID", "Policy",
	    "{\"Version\":\"1\",\"Statement\":["
	    "{\"Effect\":\"Allow\",\"Principal\":"
	    "{\"RAM\":[\"*\"]},\"Action\":\"kms:*\","
	    "\"Resource\":\"*\"}]}" } },
	{ "SetPolicy",
	  "....",
	  { "Principal", "app", "PolicyDocument",
	    "{\"Version\":\"1\",\"Statement\":["
	    "{\"Effect\":\"Allow\",\"Action\":\"kms:*\","
	    "\"Resource\":\"*\"}]}" } },
	{ "TagResource",
	  "..R.",
	  { "KeyId", "ID", "Tags",
	    "[{\"TagKey\":\"a\",\"TagValue\":\"b\"}]" } },
	{ "TagResources",
	  "..R.",
	  { "ResourceType", "key", "ResourceId.1", "ID", "Tag.1.Key", "a" } },
	{ "UntagResource", "..R.", { "KeyId", "ID", "TagKeys", "[\"a\"]" } },
	{ "UntagResources",
	  "..R.",
	  { "ResourceType", "key", "ResourceId.1", "ID", "TagKey.1", "a" } },
	{ "UpdateAccessKey",
	  "AAAA",
	  { "UserAccessKeyId", "SD1", "Status", "Active" } },
	{ "UpdateAlias",
	  "..R.",
	  { "KeyId", "ID", "AliasName", "alias/other" } },
	/* The state of the key that it stood for does not count. */
	{ "UpdateAlias",
	  "....",
	  { "KeyId", "OTHER", "AliasName", "alias/it" } },
	{ "UpdateKeyDescription",
	  "..R.",
	  { "KeyId", "ID", "Description", "new" } },
	{ "UpdateRotationPolicy",
	  ".RRR",
	  { "KeyId", "ID", "EnableAutomaticRotation", "false" } },
	{ "VerifyAudit", "....", { NULL } },
};
#define NROWS (sizeof(rows) / sizeof(rows[0]))

static char *
make_key(const char *alias, char **ret_blob)
{
	char *made;

	assert_works_as(&v, "CreateKey", "Description", "");
	made = answer_copy(&v, "KeyMetadata.KeyId");
	assert_works_as(&v, "CreateAlias", "KeyId", made, "AliasName", alias);
	assert_works_as(&v, "GenerateDataKey", "KeyId", made);
	*ret_blob = answer_copy(&v, "CiphertextBlob");
	return made;
}

/* Two new keys; what was made for the row before is in nobody's way. */
static void
make_keys(bool external)
{
	(void)CALL(&v, "DeleteAlias", "AliasName", "alias/it");
	(void)CALL(&v, "DeleteAlias", "AliasName", "alias/other");
	(void)CALL(&v, "DeleteAlias", "AliasName", "alias/n");
	free(id);
	free(other);
	free(blob);
	free(of_other);
	id = make_key("alias/it", &blob);
	other = make_key("alias/other", &of_other);
	if (!external)
		return;
	free(id);
	assert_works_as(&v, "CreateKey", "Origin", "EXTERNAL");
	id = answer_copy(&v, "KeyMetadata.KeyId");
}

static bool
is_for_external(const char *action)
{
	enum keys_action row = action_find(action)->row;

	return row == KEYS_PREPARE || row == KEYS_IMPORT;
}

static const char *
version_of(const char *key)
{
	static char version[KMS_ID_LEN];

	assert_works_as(&v, "DescribeKey", "KeyId", key);
	(void)snprintf(version, sizeof(version), "%s",
		       answer_text(&v, "KeyMetadata.PrimaryKeyVersion"));
	return version;
}

static const char *
meant(const char *word)
{
	if (strcmp(word, "ID") == 0)
		return id;
	if (strcmp(word, "OTHER") == 0)
		return other;
	if (strcmp(word, "BLOB") == 0)
		return blob;
	if (strcmp(word, "VERSION") == 0)
		return version_of(id);
	return strcmp(word, "OF_OTHER") == 0 ? of_other : word;
}

static const char *
run_row(size_t i)
{
	static const struct service_peer peer = { .via = SERVICE_EMBEDDED };
	struct service_peer p = peer;
	const char *args[10] = { NULL };

	p.uid = geteuid();
	for (size_t a = 0; rows[i].args[a]; a++)
		args[a] = meant(rows[i].args[a]);
	return call_with(&v, &p, rows[i].action, args);
}

static const char *
code_for(char letter, enum kms_key_state state)
{
	static char code[64];

	switch (letter) {
	case '.':
		return "OK";
	case 'S':
		return "Rejected.StateModifiedFailed";
	/* What it is about is not there: so far, and no further. */
	case 'A':
		return "InvalidAccessKeyId.NotFound";
	case 'P':
		return "InvalidParameter";
	case 'T':
		return "InvalidImportToken";
	default:
		(void)snprintf(code, sizeof(code), "Rejected.%s",
			       kms_state_name(state));
		return code;
	}
}

static void
each_action_does_in_each_state_what_the_reference_says(void **state)
{
	struct env *e = *state;
	const char *got, *want;

	for (unsigned s = 0; s < STATES; s++)
		for (size_t i = 0; i < NROWS; i++) {
			make_keys(is_for_external(rows[i].action));
			env_set_state(e, id, (enum kms_key_state)s);
			got = run_row(i);
			want = code_for(rows[i].want[s], (enum kms_key_state)s);
			if (strcmp(got, want) != 0)
				fail_msg("%s, row %zu, of a key that is %s: %s,"
					 " not %s",
					 rows[i].action, i,
					 kms_state_name((enum kms_key_state)s),
					 got, want);
		}
}

static void
every_action_on_a_key_has_a_row(void **state)
{
	const struct action *a;
	size_t n, i;

	(void)state;
	for (n = 0; (a = action_nth(n)); n++) {
		for (i = 0; i < NROWS; i++)
			if (strcmp(rows[i].action, a->name) == 0)
				break;
		if (i == NROWS && a->scope != SCOPE_NONE)
			fail_msg("%s has no row here", a->name);
		assert_ptr_equal(action_find(a->name), a);
		if (action_nth(n + 1))
			assert_true(strcmp(a->name, action_nth(n + 1)->name) <
				    0);
	}
}

/* A service key serves, and that is all. */
static void
a_service_key_refuses_what_is_not_for_customers(void **state)
{
	static const struct {
		const char *action, *name, *value;
	} refused[] = {
		{ "CancelKeyDeletion", "", NULL },
		{ "CreateAlias", "AliasName", "alias/mine" },
		{ "CreateKeyVersion", "", NULL },
		{ "DeleteKeyMaterial", "", NULL },
		{ "DisableKey", "", NULL },
		{ "EnableKey", "", NULL },
		{ "ScheduleKeyDeletion", "PendingWindowInDays", "7" },
		{ "SetDeletionProtection", "EnableDeletionProtection",
		  "false" },
		{ "SetKeyPolicy", "Policy",
		  "{\"Version\":\"1\","
		  "\"Statement\":["
		  "{\"Effect\":\"Allow\","
		  "\"Principal\":{\"RAM\":[\"*\"]},"
		  "\"Action\":\"kms:*\","
		  "\"Resource\":\"*\"}]}" },
		{ "TagResource", "Tags", "[]" },
		{ "UpdateKeyDescription", "Description", "mine" },
		{ "UpdateRotationPolicy", "EnableAutomaticRotation", "false" },
	};

	(void)state;
	assert_works_as(&v, "DescribeKey", "KeyId", KMS_SERVICE_ALIAS);
	assert_string_equal(answer_text(&v, "KeyMetadata.Creator"), "Ecs");
	id = answer_copy(&v, "KeyMetadata.KeyId");
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_code("UnsupportedOperation", &v, refused[i].action,
			    "KeyId", id, refused[i].name, refused[i].value);
	assert_code("InvalidParameter", &v, "DeleteAlias", "AliasName",
		    KMS_SERVICE_ALIAS);
	assert_works_as(&v, "GenerateDataKey", "KeyId", id);
}

/* Each error of the table is one that the wire can say. */
static void
every_code_has_a_status(void **state)
{
	json_t *body;
	unsigned c, status;

	(void)state;
	for (c = CODE_OK + 1; c < NCODES; c++) {
		body = json_object();
		assert_non_null(body);
		assert_ok(service_put_error(body, (enum service_code)c, "X",
					    &status));
		assert_true(status >= 400 && status <= 503);
		assert_string_equal(
		    json_string_value(json_object_get(body, "Code")),
		    service_code_name((enum service_code)c));
		assert_true(
		    json_string_length(json_object_get(body, "Message")) > 5);
		json_decref(body);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_action_does_in_each_state_what_the_reference_says),
		cmocka_unit_test(every_action_on_a_key_has_a_row),
		T(a_service_key_refuses_what_is_not_for_customers),
		cmocka_unit_test(every_code_has_a_status),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
