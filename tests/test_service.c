/*
 * test_service.c - what the actions of the service answer, and refuse.
 */
#include "service_env.h"

#include <sealdisk/rsa.h>

#include "keys.h"

static struct service_env v;

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
	keys_clock_ahead = 0;
	service_env_close(&v);
	return env_teardown(state);
}

#define DAY 86400

static char *
make_key(void)
{
	assert_works_as(&v, "CreateKey", "Description", "of a test");
	return answer_copy(&v, "KeyMetadata.KeyId");
}

static char *
make_external(void)
{
	assert_works_as(&v, "CreateKey", "Origin", "EXTERNAL");
	return answer_copy(&v, "KeyMetadata.KeyId");
}

static const char *
describe(const char *id, const char *what)
{
	char path[64];

	assert_works_as(&v, "DescribeKey", "KeyId", id);
	(void)snprintf(path, sizeof(path), "KeyMetadata.%s", what);
	return answer_text(&v, path);
}

/* Keys. */

static void
a_key_is_described_as_the_api_does(void **state)
{
	CLEANUP(free_memp) char *id = make_key();

	(void)state;
	assert_string_equal(answer_text(&v, "KeyMetadata.KeyState"), "Enabled");
	assert_string_equal(answer_text(&v, "KeyMetadata.Origin"),
			    "Aliyun_KMS");
	assert_string_equal(answer_text(&v, "KeyMetadata.KeySpec"),
			    "Aliyun_AES_256");
	assert_string_equal(answer_text(&v, "KeyMetadata.KeyUsage"),
			    "ENCRYPT/DECRYPT");
	assert_string_equal(answer_text(&v, "KeyMetadata.ProtectionLevel"),
			    "SOFTWARE");
	assert_string_equal(answer_text(&v, "KeyMetadata.DeleteDate"), "");
	assert_string_equal(answer_text(&v, "KeyMetadata.MaterialExpireTime"),
			    "");
	assert_string_equal(answer_text(&v, "KeyMetadata.AutomaticRotation"),
			    "Disabled");
	assert_null(answer(&v, "KeyMetadata.NextRotationDate"));
	assert_string_equal(describe(id, "DeletionProtection"), "Disabled");
	assert_string_equal(describe(id, "Description"), "of a test");
	assert_memory_equal(describe(id, "Arn"), "acs:kms:local:local:key/",
			    24);
}

static void
create_key_refuses_what_makes_no_sense(void **state)
{
	static const struct {
		const char *name, *value, *code;
	} table[] = {
		{ "KeySpec", "RSA_2048", "InvalidParameter" },
		{ "KeyUsage", "SIGN/VERIFY", "InvalidParameter" },
		{ "Origin", "external", "InvalidParameter" },
		{ "ProtectionLevel", "HSM", "Unsupported.ProtectionLevel" },
		{ "EnableAutomaticRotation", "true", "MissingParameter" },
		{ "EnableAutomaticRotation", "yes", "InvalidParameter" },
		{ "Tags", "{}", "InvalidParameter" },
		{ "Tags", "[{\"TagKey\":\"a\"}]", "InvalidParameter" },
		{ "Tags", "[{\"TagKey\":\"acs:x\",\"TagValue\":\"y\"}]",
		  "InvalidParameter" },
		{ "Tags", "[{\"TagKey\":\"a b\",\"TagValue\":\"y\"}]",
		  "InvalidParameter" },
		{ "Policy", "no policy", "InvalidParameter" },
		{ "DKMSInstanceId", "kst-none", "InvalidParameter" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_code(table[i].code, &v, "CreateKey", table[i].name,
			    table[i].value);
	assert_code("InvalidParameter", &v, "CreateKey",
		    "EnableAutomaticRotation", "true", "RotationInterval",
		    "6d");
	assert_code("Unsupported.Origin", &v, "CreateKey", "Origin", "EXTERNAL",
		    "EnableAutomaticRotation", "true", "RotationInterval",
		    "7d");
	assert_works_as(&v, "ListKeys", "PageSize", "100");
	assert_int_equal(answer_number(&v, "TotalCount"), 0);
}

static void
names_of_keys_are_taken_where_the_api_takes_them(void **state)
{
	CLEANUP(free_memp) char *id = make_key();
	char arn[KMS_ARN_LEN];

	(void)state;
	(void)snprintf(arn, sizeof(arn), "acs:kms:local:local:key/%s", id);
	assert_works_as(&v, "CreateAlias", "KeyId", id, "AliasName", "alias/a");
	assert_works_as(&v, "DescribeKey", "KeyId", arn);
	assert_works_as(&v, "DescribeKey", "KeyId", "alias/a");
	assert_works_as(&v, "GenerateDataKey", "KeyId", "alias/a");
	assert_code("Unsupported.Alias", &v, "DisableKey", "KeyId", "alias/a");
	assert_code("Forbidden.AliasNotFound", &v, "DescribeKey", "KeyId",
		    "alias/b");
	assert_code("Forbidden.KeyNotFound", &v, "DescribeKey", "KeyId", "b");
	assert_code("Forbidden.KeyNotFound", &v, "DescribeKey", "KeyId",
		    "acs:kms:elsewhere:local:key/"
		    "08c33a6f-4e0a-4a1b-a3fa-7ddfa1d40000");
	assert_code("MissingParameter", &v, "DescribeKey", "KeyId", NULL);
	assert_string_equal(answer_text(&v, "Message"),
			    "The parameter \"KeyId\" is needed but not "
			    "provided.");
	assert_code("InvalidAction.NotFound", &v, "DescribeKeys", "KeyId", id);
}

static void
protection_keeps_a_key_from_deletion(void **state)
{
	CLEANUP(free_memp) char *id = make_key();
	char arn[KMS_ARN_LEN];

	(void)state;
	(void)snprintf(arn, sizeof(arn), "acs:kms:local:local:key/%s", id);
	assert_works_as(&v, "SetDeletionProtection", "ProtectedResourceArn",
			arn, "EnableDeletionProtection", "true",
			"DeletionProtectionDescription", "in use");
	assert_string_equal(describe(id, "DeletionProtection"), "Enabled");
	assert_string_equal(describe(id, "DeletionProtectionDescription"),
			    "in use");
	assert_code("Rejected.DeletionProtected", &v, "ScheduleKeyDeletion",
		    "KeyId", id, "PendingWindowInDays", "7");
	assert_works_as(&v, "SetDeletionProtection", "KeyId", id,
			"EnableDeletionProtection", "false");
	assert_works_as(&v, "ScheduleKeyDeletion", "KeyId", id,
			"PendingWindowInDays", "7");
	assert_code("MissingParameter", &v, "SetDeletionProtection",
		    "EnableDeletionProtection", "true");
}

static void
a_deleted_key_is_not_found_and_does_not_come_back(void **state)
{
	CLEANUP(free_memp) char *id = make_key();
	CLEANUP(free_memp) char *blob = NULL;

	(void)state;
	assert_works_as(&v, "GenerateDataKey", "KeyId", id);
	blob = answer_copy(&v, "CiphertextBlob");
	assert_code("InvalidParameter", &v, "ScheduleKeyDeletion", "KeyId", id,
		    "PendingWindowInDays", "6");
	assert_works_as(&v, "ScheduleKeyDeletion", "KeyId", id,
			"PendingWindowInDays", "7");
	assert_string_not_equal(describe(id, "DeleteDate"), "");
	keys_clock_ahead = 8 * DAY; /* and nobody has looked meanwhile */
	assert_code("Forbidden.KeyNotFound", &v, "DescribeKey", "KeyId", id);
	assert_code("Forbidden.KeyNotFound", &v, "CancelKeyDeletion", "KeyId",
		    id);
	assert_code("Forbidden.KeyNotFound", &v, "Decrypt", "CiphertextBlob",
		    blob);
	keys_clock_ahead = 0; /* it was destroyed, and not only due */
	assert_code("Forbidden.KeyNotFound", &v, "DescribeKey", "KeyId", id);
}

static void
counts_have_their_limits(void **state)
{
	CLEANUP(free_memp) char *id = NULL;

	(void)state;
	service_env_close(&v);
	v.e->s.keystore_max_keys = 1;
	v.e->s.keystore_max_aliases = 1;
	v.e->s.keystore_max_versions = 2;
	service_env_open(&v);
	/* The service's own key is not counted. */
	assert_works_as(&v, "DescribeKey", "KeyId", "alias/acs/ecs");
	id = make_key();
	assert_code("Rejected.LimitExceeded", &v, "CreateKey", "Description",
		    "");
	assert_works_as(&v, "CreateAlias", "KeyId", id, "AliasName", "alias/a");
	assert_code("Rejected.LimitExceeded", &v, "CreateAlias", "KeyId", id,
		    "AliasName", "alias/b");
	assert_works_as(&v, "CreateKeyVersion", "KeyId", id);
	assert_code("Rejected.LimitExceeded", &v, "CreateKeyVersion", "KeyId",
		    id);
}

/* Data. */

static void
data_comes_back_in_its_context_only(void **state)
{
	static const char plain[] = "c29tZSBkYXRhIG9mIGFueSBsZW5ndGg=";
	CLEANUP(free_memp) char *id = make_key();
	CLEANUP(free_memp) char *blob = NULL, *again = NULL;

	(void)state;
	assert_works_as(&v, "Encrypt", "KeyId", id, "Plaintext", plain,
			"EncryptionContext", "{\"a\":\"1\",\"b\":\"2\"}");
	assert_string_equal(answer_text(&v, "KeyId"), id);
	blob = answer_copy(&v, "CiphertextBlob");
	assert_works_as(&v, "Decrypt", "CiphertextBlob", blob,
			"EncryptionContext", " {\"b\":\"2\", \"a\":\"1\"}");
	assert_string_equal(answer_text(&v, "Plaintext"), plain);
	assert_code("InvalidParameter", &v, "Decrypt", "CiphertextBlob", blob,
		    "EncryptionContext", "{\"a\":\"1\"}");
	assert_code("InvalidParameter", &v, "Decrypt", "CiphertextBlob", blob);
	assert_string_equal(answer_text(&v, "Message"),
			    "The specified parameter \"CiphertextBlob\" is not "
			    "valid.");

	/* Nobody can tell a blob of nobody from one that was changed. */
	again = strdup(blob);
	assert_non_null(again);
	again[10] = again[10] == 'A' ? 'B' : 'A'; /* of the version */
	assert_code("InvalidParameter", &v, "Decrypt", "CiphertextBlob", again,
		    "EncryptionContext", "{\"a\":\"1\",\"b\":\"2\"}");
	assert_string_equal(answer_text(&v, "Message"),
			    "The specified parameter \"CiphertextBlob\" is not "
			    "valid.");
}

static void
contexts_are_maps_of_texts(void **state)
{
	static const char *const bad[] = {
		"[]",
		"{\"a\":1}",
		"{\"a\":{\"b\":\"c\"}}",
		"{\"a\":[\"b\"]}",
		"{\"a\":null}",
		"{\"a\":\"1\",\"a\":\"1\"}",
		"\"a\"",
		"{\"a\":\"1\"",
		"{\"a\":\"\\u0000\"}",
		"{\"a\":\"1\"} x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_code("InvalidParameter", &v, "GenerateDataKey", "KeyId",
			    KMS_SERVICE_ALIAS, "EncryptionContext", bad[i]);
		assert_non_null(
		    strstr(answer_text(&v, "Message"), "EncryptionContext"));
	}
	assert_works_as(&v, "GenerateDataKey", "KeyId", KMS_SERVICE_ALIAS,
			"EncryptionContext", "{}");
	assert_works_as(&v, "GenerateDataKey", "KeyId", KMS_SERVICE_ALIAS,
			"EncryptionContext", "");
}

static size_t
plain_len(void)
{
	uint8_t bytes[2048];
	size_t len;

	assert_ok(base64_decode(answer_text(&v, "Plaintext"), bytes,
				sizeof(bytes), &len));
	return len;
}

static void
data_keys_have_the_length_that_was_asked_for(void **state)
{
	static const struct {
		const char *spec, *bytes;
		size_t len;
	} table[] = {
		{ NULL, NULL, 32 },      { "AES_256", NULL, 32 },
		{ "AES_128", NULL, 16 }, { "AES_128", "64", 64 },
		{ NULL, "1", 1 },        { NULL, "1024", 1024 },
	};
	static const char *const bad[] = { "0", "1025", "-1", "x", "1 " };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_works_as(&v, "GenerateDataKey", "KeyId",
				KMS_SERVICE_ALIAS, "KeySpec", table[i].spec,
				"NumberOfBytes", table[i].bytes);
		assert_int_equal(plain_len(), table[i].len);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_code("InvalidParameter", &v, "GenerateDataKey", "KeyId",
			    KMS_SERVICE_ALIAS, "NumberOfBytes", bad[i]);
	assert_code("InvalidParameter", &v, "GenerateDataKey", "KeyId",
		    KMS_SERVICE_ALIAS, "KeySpec", "AES_512");
	assert_code("InvalidParameter", &v, "GenerateDataKey", "KeyId",
		    KMS_SERVICE_ALIAS, "Recipient", "an enclave");
	assert_works_as(&v, "GenerateDataKeyWithoutPlaintext", "KeyId",
			KMS_SERVICE_ALIAS);
	assert_null(answer(&v, "Plaintext"));
}

static void
data_is_no_longer_than_6_kib(void **state)
{
	static uint8_t bytes[KEYS_DATA_MAX + 1];
	static char text[BASE64_LEN(sizeof(bytes))];
	CLEANUP(free_memp) char *blob = NULL;

	(void)state;
	base64_encode(bytes, KEYS_DATA_MAX, text);
	assert_works_as(&v, "Encrypt", "KeyId", KMS_SERVICE_ALIAS, "Plaintext",
			text);
	blob = answer_copy(&v, "CiphertextBlob");
	assert_works_as(&v, "Decrypt", "CiphertextBlob", blob);
	assert_string_equal(answer_text(&v, "Plaintext"), text);
	base64_encode(bytes, sizeof(bytes), text);
	assert_code("InvalidParameter", &v, "Encrypt", "KeyId",
		    KMS_SERVICE_ALIAS, "Plaintext", text);
	assert_code("InvalidParameter", &v, "Encrypt", "KeyId",
		    KMS_SERVICE_ALIAS, "Plaintext", "not=base64");
	assert_code("MissingParameter", &v, "Encrypt", "KeyId",
		    KMS_SERVICE_ALIAS, "Plaintext", "");
}

static void
reencrypt_moves_data_to_another_key_and_context(void **state)
{
	CLEANUP(free_memp) char *a = make_key(), *b = make_key();
	CLEANUP(free_memp) char *blob = NULL, *moved = NULL, *plain = NULL;

	(void)state;
	assert_works_as(&v, "GenerateDataKey", "KeyId", a, "EncryptionContext",
			"{\"x\":\"1\"}");
	blob = answer_copy(&v, "CiphertextBlob");
	plain = answer_copy(&v, "Plaintext");
	assert_works_as(&v, "ReEncrypt", "CiphertextBlob", blob,
			"SourceEncryptionContext", "{\"x\":\"1\"}",
			"DestinationKeyId", b, "DestinationEncryptionContext",
			"{\"y\":\"2\"}");
	assert_string_equal(answer_text(&v, "KeyId"), a);
	assert_string_equal(answer_text(&v, "DestinationKeyId"), b);
	assert_null(answer(&v, "Plaintext"));
	moved = answer_copy(&v, "CiphertextBlob");
	assert_works_as(&v, "Decrypt", "CiphertextBlob", moved,
			"EncryptionContext", "{\"y\":\"2\"}");
	assert_string_equal(answer_text(&v, "KeyId"), b);
	assert_string_equal(answer_text(&v, "Plaintext"), plain);
	assert_code("InvalidParameter", &v, "ReEncrypt", "CiphertextBlob", blob,
		    "DestinationKeyId", b);
	assert_code("MissingParameter", &v, "ReEncrypt", "CiphertextBlob",
		    blob);
}

static void
a_dry_run_does_nothing_and_is_an_error(void **state)
{
	CLEANUP(free_memp) char *id = make_key();
	static const struct service_peer stranger = { .via = SERVICE_UNIX,
						      .uid = 12345 };

	(void)state;
	assert_code("DryRunOperationError", &v, "GenerateDataKey", "KeyId", id,
		    "DryRun", "true");
	assert_null(answer(&v, "Plaintext"));
	assert_null(answer(&v, "CiphertextBlob"));
	assert_works_as(&v, "GenerateDataKey", "KeyId", id, "DryRun", "false");
	assert_code("ValidationError", &v, "GenerateDataKey", "KeyId", id,
		    "DryRun", "true", "NumberOfBytes", "0");
	assert_works_as(&v, "DisableKey", "KeyId", id);
	assert_code("ValidationError", &v, "Encrypt", "KeyId", id, "Plaintext",
		    "AAAA", "DryRun", "true");
	assert_string_equal(
	    call_with(&v, &stranger, "Encrypt",
		      (const char *const[]){ "KeyId", id, "Plaintext", "AAAA",
					     "DryRun", "true", NULL }),
	    "AccessDeniedError");
}

/* Rotation. */

static json_int_t
count_versions(const char *id)
{
	assert_works_as(&v, "ListKeyVersions", "KeyId", id, "PageSize", "1");
	return answer_number(&v, "TotalCount");
}

static char *
make_rotating(void)
{
	assert_works_as(&v, "CreateKey", "EnableAutomaticRotation", "true",
			"RotationInterval", "604800s");
	assert_string_equal(answer_text(&v, "KeyMetadata.AutomaticRotation"),
			    "Enabled");
	assert_string_equal(answer_text(&v, "KeyMetadata.RotationInterval"),
			    "604800s");
	return answer_copy(&v, "KeyMetadata.KeyId");
}

static void
a_key_rotates_once_however_long_nobody_was_there(void **state)
{
	CLEANUP(free_memp) char *id = make_rotating(), *blob = NULL;

	(void)state;
	assert_works_as(&v, "GenerateDataKey", "KeyId", id);
	blob = answer_copy(&v, "CiphertextBlob");
	service_env_close(&v);
	keys_clock_ahead = 7 * DAY - 60;
	service_env_open(&v);
	assert_int_equal(count_versions(id), 1);
	service_env_close(&v);
	keys_clock_ahead = 40 * DAY; /* five times over */
	service_env_open(&v);
	assert_int_equal(count_versions(id), 2);
	assert_works_as(&v, "Decrypt", "CiphertextBlob", blob);
	assert_works_as(&v, "Encrypt", "KeyId", id, "Plaintext", "AAAA");
	assert_string_equal(answer_text(&v, "KeyId"), id);
	assert_int_equal(count_versions(id), 2);
	/* Whoever serves for long does it in passing. */
	keys_clock_ahead = 48 * DAY;
	assert_int_equal(count_versions(id), 3);
}

static void
a_disabled_key_rotates_when_it_is_enabled_again(void **state)
{
	CLEANUP(free_memp) char *id = make_rotating();

	(void)state;
	assert_works_as(&v, "DisableKey", "KeyId", id);
	assert_string_equal(describe(id, "AutomaticRotation"), "Suspended");
	assert_string_equal(describe(id, "RotationInterval"), "604800s");
	keys_clock_ahead = 8 * DAY;
	assert_int_equal(count_versions(id), 1);
	assert_works_as(&v, "EnableKey", "KeyId", id);
	assert_string_equal(describe(id, "AutomaticRotation"), "Enabled");
	assert_int_equal(count_versions(id), 2);
}

static void
a_rotation_policy_holds_at_once(void **state)
{
	CLEANUP(free_memp) char *id = make_key();

	(void)state;
	keys_clock_ahead = 30 * DAY;
	assert_code("MissingParameter", &v, "UpdateRotationPolicy", "KeyId", id,
		    "EnableAutomaticRotation", "true");
	assert_code("InvalidParameter", &v, "UpdateRotationPolicy", "KeyId", id,
		    "EnableAutomaticRotation", "true", "RotationInterval",
		    "731d");
	assert_works_as(&v, "UpdateRotationPolicy", "KeyId", id,
			"EnableAutomaticRotation", "true", "RotationInterval",
			"60d");
	assert_int_equal(count_versions(id), 1);
	assert_works_as(&v, "UpdateRotationPolicy", "KeyId", id,
			"EnableAutomaticRotation", "true", "RotationInterval",
			"7d");
	assert_int_equal(count_versions(id), 2); /* it was due */
	assert_works_as(&v, "UpdateRotationPolicy", "KeyId", id,
			"EnableAutomaticRotation", "false");
	assert_string_equal(describe(id, "AutomaticRotation"), "Disabled");
	keys_clock_ahead = 300 * DAY;
	assert_int_equal(count_versions(id), 2);
}

static void
versions_are_listed_newest_first(void **state)
{
	CLEANUP(free_memp) char *id = make_key(), *first = NULL;
	CLEANUP(free_memp) char *other = make_key();

	(void)state;
	first = strdup(describe(id, "PrimaryKeyVersion"));
	assert_works_as(&v, "CreateKeyVersion", "KeyId", id);
	assert_string_equal(answer_text(&v, "KeyVersion.KeyId"), id);
	assert_works_as(&v, "ListKeyVersions", "KeyId", id);
	assert_int_equal(answer_number(&v, "TotalCount"), 2);
	assert_string_equal(
	    answer_text(&v, "KeyVersions.KeyVersion.1.KeyVersionId"), first);
	assert_works_as(&v, "DescribeKeyVersion", "KeyId", id, "KeyVersionId",
			first);
	assert_string_equal(answer_text(&v, "KeyVersion.KeyVersionId"), first);
	assert_code("Forbidden.KeyVersionNotFound", &v, "DescribeKeyVersion",
		    "KeyId", other, "KeyVersionId", first);
	assert_code("Forbidden.KeyVersionNotFound", &v, "DescribeKeyVersion",
		    "KeyId", other, "KeyVersionId", "x");
	assert_works_as(&v, "ListKeyVersions", "KeyId", id, "PageNumber", "2",
			"PageSize", "1");
	assert_string_equal(
	    answer_text(&v, "KeyVersions.KeyVersion.0.KeyVersionId"), first);
}

/* Lists. */

static void
keys_are_listed_by_pages_and_filters(void **state)
{
	CLEANUP(free_memp) char *a = make_key(), *b = make_key();
	CLEANUP(free_memp) char *c = make_external();
	static const struct {
		const char *filters;
		int n;
	} table[] = {
		{ NULL, 4 },
		{ "[]", 4 },
		{ "[{\"Key\":\"KeyState\",\"Values\":[\"Enabled\"]}]", 2 },
		{ "[{\"Key\":\"KeyState\",\"Values\":[\"Enabled\","
		  "\"Disabled\"]}]",
		  3 },
		{ "[{\"Key\":\"KeyState\",\"Values\":[]}]", 0 },
		{ "[{\"Key\":\"CreatorType\",\"Values\":[\"Service\"]}]", 1 },
		{ "[{\"Key\":\"CreatorType\",\"Values\":[\"User\"]},"
		  "{\"Key\":\"KeyState\",\"Values\":[\"Enabled\"]}]",
		  1 },
		{ "[{\"Key\":\"AliasName\",\"Values\":[\"alias/b\"]}]", 1 },
		{ "[{\"Key\":\"TagKey\",\"Values\":[\"team\"]}]", 1 },
		{ "[{\"Key\":\"TagValue\",\"Values\":[\"red\",\"blue\"]}]", 1 },
		{ "[{\"Key\":\"TagValue\",\"Values\":[\"green\"]}]", 0 },
		{ "[{\"Key\":\"KeySpec\",\"Values\":[\"Aliyun_AES_256\"]}]",
		  4 },
		{ "[{\"Key\":\"ProtectionLevel\",\"Values\":[\"HSM\"]}]", 0 },
	};
	static const char *const bad[] = {
		"{}",
		"[{\"Key\":\"KeyState\"}]",
		"[{\"Key\":\"Color\",\"Values\":[\"red\"]}]",
		"[{\"Key\":\"KeyState\",\"Values\":\"Enabled\"}]",
		"[{\"Key\":\"KeyState\",\"Values\":[1]}]",
		"[1]",
	};

	(void)state;
	assert_works_as(&v, "DescribeKey", "KeyId", KMS_SERVICE_ALIAS);
	assert_works_as(&v, "DisableKey", "KeyId", b);
	assert_works_as(&v, "CreateAlias", "KeyId", b, "AliasName", "alias/b");
	assert_works_as(&v, "TagResource", "KeyId", a, "Tags",
			"[{\"TagKey\":\"team\",\"TagValue\":\"red\"}]");
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_works_as(&v, "ListKeys", "Filters", table[i].filters);
		assert_int_equal(answer_number(&v, "TotalCount"), table[i].n);
		assert_int_equal(json_array_size(answer(&v, "Keys.Key")),
				 table[i].n);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_code("InvalidParameter", &v, "ListKeys", "Filters",
			    bad[i]);
	assert_works_as(&v, "ListKeys", "PageNumber", "2", "PageSize", "3");
	assert_int_equal(answer_number(&v, "TotalCount"), 4);
	assert_int_equal(json_array_size(answer(&v, "Keys.Key")), 1);
	assert_int_equal(answer_number(&v, "PageNumber"), 2);
	assert_code("InvalidParameter", &v, "ListKeys", "PageNumber", "0");
	assert_code("InvalidParameter", &v, "ListKeys", "PageSize", "102");
}

static void
aliases_are_made_moved_listed_and_removed(void **state)
{
	CLEANUP(free_memp) char *a = make_key(), *b = make_key();

	(void)state;
	assert_works_as(&v, "CreateAlias", "KeyId", a, "AliasName", "alias/x");
	assert_code("AliasAlreadyExists", &v, "CreateAlias", "KeyId", b,
		    "AliasName", "alias/x");
	assert_code("InvalidParameter", &v, "CreateAlias", "KeyId", b,
		    "AliasName", "alias/acs/mine");
	assert_code("InvalidParameter", &v, "CreateAlias", "KeyId", b,
		    "AliasName", "x");
	assert_works_as(&v, "UpdateAlias", "KeyId", b, "AliasName", "alias/x");
	assert_code("Forbidden.AliasNotFound", &v, "UpdateAlias", "KeyId", b,
		    "AliasName", "alias/y");
	assert_works_as(&v, "ListAliasesByKeyId", "KeyId", a);
	assert_int_equal(answer_number(&v, "TotalCount"), 0);
	assert_works_as(&v, "ListAliasesByKeyId", "KeyId", b);
	assert_string_equal(answer_text(&v, "Aliases.Alias.0.AliasName"),
			    "alias/x");
	assert_string_equal(answer_text(&v, "Aliases.Alias.0.AliasArn"),
			    "acs:kms:local:local:alias/x");
	assert_works_as(&v, "DeleteAlias", "AliasName", "alias/x");
	assert_code("Forbidden.AliasNotFound", &v, "DeleteAlias", "AliasName",
		    "alias/x");
	assert_works_as(&v, "ListAliases", "PageSize", "10");
	assert_int_equal(answer_number(&v, "TotalCount"), 0);
}

/* Tags. */

static void
tags_come_and_go(void **state)
{
	CLEANUP(free_memp) char *a = make_key(), *b = make_key();

	(void)state;
	assert_works_as(&v, "TagResource", "KeyId", a, "Tags",
			"[{\"TagKey\":\"x\",\"TagValue\":\"1\"},"
			"{\"TagKey\":\"y\",\"TagValue\":\"\"}]");
	assert_works_as(&v, "TagResources", "ResourceType", "key",
			"ResourceId.1", a, "ResourceId.2", b, "Tag.1.Key", "x",
			"Tag.1.Value", "2");
	assert_works_as(&v, "ListResourceTags", "KeyId", a);
	assert_int_equal(json_array_size(answer(&v, "Tags.Tag")), 2);
	assert_string_equal(answer_text(&v, "Tags.Tag.0.TagValue"), "2");
	assert_works_as(&v, "ListTagResources", "ResourceType", "key");
	assert_int_equal(
	    json_array_size(answer(&v, "TagResources.TagResource")), 3);
	assert_string_equal(answer_text(&v, "NextToken"), "");
	assert_works_as(&v, "ListTagResources", "ResourceType", "key",
			"Tag.1.Key", "y");
	assert_int_equal(
	    json_array_size(answer(&v, "TagResources.TagResource")), 1);
	assert_works_as(&v, "UntagResource", "KeyId", a, "TagKeys",
			"[\"x\",\"never\"]");
	assert_works_as(&v, "UntagResources", "ResourceType", "key",
			"ResourceId.1", a, "ResourceId.2", b, "All", "true");
	assert_works_as(&v, "ListTagResources", "ResourceType", "key");
	assert_int_equal(
	    json_array_size(answer(&v, "TagResources.TagResource")), 0);
	assert_code("InvalidParameter", &v, "ListTagResources", "ResourceType",
		    "secret");
	assert_code("MissingParameter", &v, "TagResources", "ResourceType",
		    "key", "Tag.1.Key", "x");
	assert_code("InvalidParameter", &v, "UntagResource", "KeyId", a,
		    "TagKeys", "[\"acs:ecs:disk-encryption\"]");
}

static void
a_key_has_20_tags_at_most(void **state)
{
	CLEANUP(free_memp) char *id = make_key();
	char tags[128];

	(void)state;
	for (int i = 0; i < KEYS_TAGS_MAX; i++) {
		(void)snprintf(tags, sizeof(tags),
			       "[{\"TagKey\":\"t%d\",\"TagValue\":\"\"}]", i);
		assert_works_as(&v, "TagResource", "KeyId", id, "Tags", tags);
	}
	assert_code("Rejected.LimitExceeded", &v, "TagResource", "KeyId", id,
		    "Tags", "[{\"TagKey\":\"z\",\"TagValue\":\"\"}]");
	assert_works_as(&v, "TagResource", "KeyId", id, "Tags",
			"[{\"TagKey\":\"t3\",\"TagValue\":\"new\"}]");
	assert_works_as(&v, "ListResourceTags", "KeyId", id);
	assert_int_equal(json_array_size(answer(&v, "Tags.Tag")),
			 KEYS_TAGS_MAX);
}

static void
policies_and_descriptions_are_kept(void **state)
{
	static const char policy[] =
	    "{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Deny\","
	    "\"Principal\":{\"RAM\":\"*\"},\"Action\":\"*\",\"Resource\":"
	    "\"*\"}]}";
	CLEANUP(free_memp) char *id = make_key();

	(void)state;
	assert_works_as(&v, "GetKeyPolicy", "KeyId", id, "PolicyName",
			"default");
	assert_non_null(strstr(answer_text(&v, "Policy"), "\"kms:*\""));
	assert_works_as(&v, "SetKeyPolicy", "KeyId", id, "PolicyName",
			"default", "Policy", policy);
	assert_works_as(&v, "GetKeyPolicy", "KeyId", id);
	assert_string_equal(answer_text(&v, "Policy"), policy);
	assert_code("InvalidParameter", &v, "GetKeyPolicy", "KeyId", id,
		    "PolicyName", "other");
	assert_code("InvalidParameter", &v, "SetKeyPolicy", "KeyId", id,
		    "Policy", "[]");
	assert_works_as(&v, "UpdateKeyDescription", "KeyId", id, "Description",
			"");
	assert_string_equal(describe(id, "Description"), "");
	assert_works_as(&v, "DescribeRegions", "AcceptLanguage", "en");
	assert_string_equal(answer_text(&v, "Regions.Region.0.RegionId"),
			    "local");
	assert_works_as(&v, "DescribeAccountKmsStatus", "", NULL);
	assert_string_equal(answer_text(&v, "AccountStatus"), "Enabled");
}

/* Who asks. */

static void
nobody_else_may_do_anything(void **state)
{
	static const struct service_peer peers[] = {
		{ .via = SERVICE_UNIX, .uid = 12345 },
		{ .via = SERVICE_HTTP, .address = "127.0.0.1" },
		{ .via = SERVICE_TLS, .address = "10.0.0.7" },
	};
	const char *const args[] = { "KeyId", KMS_SERVICE_ALIAS, NULL };

	(void)state;
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
		assert_string_equal(call_with(&v, &peers[i], "DescribeKey",
					      args),
				    "Forbidden.NoPermission");
}

static void
a_carrier_of_requests_refuses_in_the_same_words(void **state)
{
	struct service_reply r;

	(void)state;
	assert_ok(service_refuse("SignatureDoesNotMatch", "", &r));
	assert_int_equal(r.status, 400);
	assert_string_equal(json_string_value(json_object_get(r.body, "Code")),
			    "SignatureDoesNotMatch");
	service_reply_done(&r);
	assert_ok(service_refuse("MissingParameter", "Action", &r));
	assert_string_equal(
	    json_string_value(json_object_get(r.body, "Message")),
	    "The parameter \"Action\" is needed but not provided.");
	service_reply_done(&r);
}

static void
a_keystore_that_is_held_is_nobody_else_s(void **state)
{
	struct env *e = *state;

	service_env_close(&v);
	assert_ok(service_open(&e->s, true, &v.s));
	assert_works_as(&v, "DescribeKey", "KeyId", KMS_SERVICE_ALIAS);
	keystore_busy_ms = 50;
	assert_err(env_try_open(e), EHOSTDOWN);
	keystore_busy_ms = 5000;
	service_env_close(&v);
	assert_ok(env_try_open(e));
	service_env_open(&v);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_key_is_described_as_the_api_does),
		T(create_key_refuses_what_makes_no_sense),
		T(names_of_keys_are_taken_where_the_api_takes_them),
		T(protection_keeps_a_key_from_deletion),
		T(a_deleted_key_is_not_found_and_does_not_come_back),
		T(counts_have_their_limits),
		T(data_comes_back_in_its_context_only),
		T(contexts_are_maps_of_texts),
		T(data_keys_have_the_length_that_was_asked_for),
		T(data_is_no_longer_than_6_kib),
		T(reencrypt_moves_data_to_another_key_and_context),
		T(a_dry_run_does_nothing_and_is_an_error),
		T(a_key_rotates_once_however_long_nobody_was_there),
		T(a_disabled_key_rotates_when_it_is_enabled_again),
		T(a_rotation_policy_holds_at_once),
		T(versions_are_listed_newest_first),
		T(keys_are_listed_by_pages_and_filters),
		T(aliases_are_made_moved_listed_and_removed),
		T(tags_come_and_go),
		T(a_key_has_20_tags_at_most),
		T(policies_and_descriptions_are_kept),
		T(nobody_else_may_do_anything),
		T(a_carrier_of_requests_refuses_in_the_same_words),
		T(a_keystore_that_is_held_is_nobody_else_s),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
