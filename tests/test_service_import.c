/*
 * test_service_import.c - key material that a customer brings along.
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

static const struct key material = { "what a customer thinks a secret" };
static const struct key other = { "what another customer thinks one" };

static const struct {
	const char *name;
	enum rsa_padding padding;
} paddings[] = {
	{ "RSAES_OAEP_SHA_256", RSA_OAEP_SHA256 },
	{ "RSAES_OAEP_SHA_1", RSA_OAEP_SHA1 },
	{ "RSAES_PKCS1_V1_5", RSA_PKCS1_V15 },
};

/* What GetParametersForImport answered. */
struct params {
	char token[BASE64_LEN(KEYS_TOKEN_LEN)];
	uint8_t public[RSA_PUBLIC_LEN];
	size_t public_len;
};

static char *
make_external(void)
{
	assert_works_as(&v, "CreateKey", "Origin", "EXTERNAL");
	assert_string_equal(answer_text(&v, "KeyMetadata.KeyState"),
			    "PendingImport");
	return answer_copy(&v, "KeyMetadata.KeyId");
}

static const char *
state_of(const char *id)
{
	assert_works_as(&v, "DescribeKey", "KeyId", id);
	return answer_text(&v, "KeyMetadata.KeyState");
}

static void
get_params(const char *id, const char *algorithm, struct params *ret)
{
	assert_works_as(&v, "GetParametersForImport", "KeyId", id,
			"WrappingAlgorithm", algorithm, "WrappingKeySpec",
			"RSA_2048");
	assert_string_equal(answer_text(&v, "KeyId"), id);
	(void)snprintf(ret->token, sizeof(ret->token), "%s",
		       answer_text(&v, "ImportToken"));
	assert_ok(base64_decode(answer_text(&v, "PublicKey"), ret->public,
				sizeof(ret->public), &ret->public_len));
}

static const char *
import_bytes(const char *id, const char *token, const void *sealed, size_t len,
	     const char *expires)
{
	char text[BASE64_LEN(512)];

	base64_encode(sealed, len, text);
	return CALL(&v, "ImportKeyMaterial", "KeyId", id,
		    "EncryptedKeyMaterial", text, "ImportToken", token,
		    "KeyMaterialExpireUnix", expires);
}

static const char *
import(const char *id, const struct params *p, size_t padding,
       const struct key *k, const char *expires)
{
	uint8_t sealed[RSA_SEALED_LEN];

	assert_ok(rsa_seal_key(p->public, p->public_len,
			       paddings[padding].padding, k, sealed));
	return import_bytes(id, p->token, sealed, sizeof(sealed), expires);
}

static char *
make_imported(void)
{
	char *id = make_external();
	struct params p;

	get_params(id, paddings[0].name, &p);
	assert_string_equal(import(id, &p, 0, &material, NULL), "OK");
	return id;
}

static void
material_comes_under_each_padding(void **state)
{
	CLEANUP(free_memp) char *id = NULL, *blob = NULL;
	struct params p;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		free(id);
		id = make_external();
		assert_code("Rejected.PendingImport", &v, "Encrypt", "KeyId",
			    id, "Plaintext", "AAAA");
		get_params(id, paddings[i].name, &p);
		assert_string_equal(import(id, &p, i, &material, "0"), "OK");
		assert_string_equal(state_of(id), "Enabled");
		assert_works_as(&v, "Encrypt", "KeyId", id, "Plaintext",
				"AAAA");
		free(blob);
		blob = answer_copy(&v, "CiphertextBlob");
		assert_works_as(&v, "Decrypt", "CiphertextBlob", blob);
	}
}

static void
a_token_is_for_one_key_and_one_day(void **state)
{
	CLEANUP(free_memp) char *a = make_external(), *b = make_external();
	struct params pa, pb, mixed;

	(void)state;
	get_params(a, paddings[0].name, &pa);
	get_params(b, paddings[0].name, &pb);
	assert_string_equal(import(b, &pa, 0, &material, NULL),
			    "InvalidImportToken");
	/* The public key of one, the token of the other. */
	mixed = pa;
	memcpy(mixed.public, pb.public, sizeof(mixed.public));
	assert_string_equal(import(a, &mixed, 0, &material, NULL),
			    "InvalidKeyMaterial");
	assert_string_equal(import_bytes(a, "AAAA", "x", 1, NULL),
			    "InvalidImportToken");
	assert_string_equal(import_bytes(a, "no Base64", "x", 1, NULL),
			    "InvalidImportToken");
	/* Again and again, while its day lasts. */
	assert_string_equal(import(a, &pa, 0, &material, NULL), "OK");
	keys_clock_ahead = KEYS_TOKEN_SECONDS - 60;
	assert_string_equal(import(a, &pa, 0, &material, NULL), "OK");
	keys_clock_ahead = KEYS_TOKEN_SECONDS + 1;
	assert_string_equal(import(a, &pa, 0, &material, NULL),
			    "ExpiredImportToken");
	keys_clock_ahead = 0; /* the RSA key is gone for good */
	assert_string_equal(import(a, &pa, 0, &material, NULL),
			    "InvalidImportToken");
}

static void
no_bit_of_a_token_may_change(void **state)
{
	CLEANUP(free_memp) char *id = make_external();
	uint8_t token[KEYS_TOKEN_LEN];
	char text[BASE64_LEN(KEYS_TOKEN_LEN)];
	struct params p;
	size_t len;

	(void)state;
	get_params(id, paddings[0].name, &p);
	assert_ok(base64_decode(p.token, token, sizeof(token), &len));
	for (size_t bit = 0; bit < 8 * sizeof(token); bit += 5) {
		token[bit / 8] ^= (uint8_t)(1 << bit % 8);
		base64_encode(token, sizeof(token), text);
		assert_string_equal(import_bytes(id, text, "x", 1, NULL),
				    "InvalidImportToken");
		token[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void
the_same_material_alone_comes_back(void **state)
{
	CLEANUP(free_memp) char *id = make_imported(), *blob = NULL;
	struct params p;

	(void)state;
	assert_works_as(&v, "GenerateDataKey", "KeyId", id);
	blob = answer_copy(&v, "CiphertextBlob");
	get_params(id, paddings[1].name, &p);
	assert_string_equal(import(id, &p, 1, &other, NULL),
			    "InvalidKeyMaterial");
	assert_works_as(&v, "DeleteKeyMaterial", "KeyId", id);
	assert_string_equal(state_of(id), "PendingImport");
	assert_code("Rejected.PendingImport", &v, "Decrypt", "CiphertextBlob",
		    blob);
	assert_string_equal(import(id, &p, 1, &other, NULL),
			    "InvalidKeyMaterial");
	assert_string_equal(state_of(id), "PendingImport");
	assert_string_equal(import(id, &p, 1, &material, NULL), "OK");
	assert_works_as(&v, "Decrypt", "CiphertextBlob", blob);
	assert_works_as(&v, "DeleteKeyMaterial", "KeyId", id);
	assert_works_as(&v, "DeleteKeyMaterial", "KeyId", id);
}

static void
keys_with_one_material_open_nothing_of_each_other(void **state)
{
	CLEANUP(free_memp) char *a = make_imported(), *b = make_imported();
	CLEANUP(free_memp) char *of_a = NULL;
	uint8_t blob[256], of_b[256];
	char text[BASE64_LEN(256)];
	size_t len;

	(void)state;
	assert_works_as(&v, "GenerateDataKey", "KeyId", a);
	of_a = answer_copy(&v, "CiphertextBlob");
	assert_ok(base64_decode(of_a, blob, sizeof(blob), &len));
	assert_works_as(&v, "GenerateDataKey", "KeyId", b);
	assert_ok(base64_decode(answer_text(&v, "CiphertextBlob"), of_b,
				sizeof(of_b), &len));
	memcpy(blob + 1, of_b + 1, 16); /* as if by b's version */
	base64_encode(blob, len, text);
	assert_code("InvalidParameter", &v, "Decrypt", "CiphertextBlob", text);
}

static void
material_goes_when_its_time_comes(void **state)
{
	CLEANUP(free_memp) char *id = make_external(), *blob = NULL;
	struct params p;
	char at[32], past[32];

	(void)state;
	(void)snprintf(at, sizeof(at), "%lld", (long long)keys_now() + 3600);
	(void)snprintf(past, sizeof(past), "%lld", (long long)keys_now() - 1);
	get_params(id, paddings[2].name, &p);
	assert_string_equal(import(id, &p, 2, &material, past),
			    "InvalidParameter");
	assert_string_equal(import(id, &p, 2, &material, at), "OK");
	assert_works_as(&v, "DescribeKey", "KeyId", id);
	assert_string_not_equal(
	    answer_text(&v, "KeyMetadata.MaterialExpireTime"), "");
	assert_works_as(&v, "GenerateDataKey", "KeyId", id);
	blob = answer_copy(&v, "CiphertextBlob");
	keys_clock_ahead = 3601;
	assert_code("Rejected.PendingImport", &v, "Decrypt", "CiphertextBlob",
		    blob);
	assert_string_equal(state_of(id), "PendingImport");
	/* It was taken out of the keystore, too. */
	service_env_close(&v);
	service_env_open(&v);
	keys_clock_ahead = 0;
	assert_string_equal(state_of(id), "PendingImport");
	assert_string_equal(import(id, &p, 2, &material, NULL), "OK");
	assert_works_as(&v, "Decrypt", "CiphertextBlob", blob);
	assert_string_equal((assert_works_as(&v, "DescribeKey", "KeyId", id),
			     answer_text(&v, "KeyMetadata.MaterialExpireTime")),
			    "");
}

static void
states_are_kept_where_they_must(void **state)
{
	CLEANUP(free_memp) char *id = make_imported();
	struct params p;

	(void)state;
	get_params(id, paddings[0].name, &p);
	assert_works_as(&v, "DisableKey", "KeyId", id);
	assert_string_equal(import(id, &p, 0, &material, NULL), "OK");
	assert_string_equal(state_of(id), "Disabled");
	assert_works_as(&v, "ScheduleKeyDeletion", "KeyId", id,
			"PendingWindowInDays", "7");
	assert_works_as(&v, "DeleteKeyMaterial", "KeyId", id);
	assert_string_equal(state_of(id), "PendingDeletion");
	assert_works_as(&v, "CancelKeyDeletion", "KeyId", id);
	assert_string_equal(state_of(id), "PendingImport");
}

static void
only_what_is_external_can_be_imported(void **state)
{
	CLEANUP(free_memp) char *id = NULL, *ext = make_imported();

	(void)state;
	assert_works_as(&v, "CreateKey", "Description", "");
	id = answer_copy(&v, "KeyMetadata.KeyId");
	assert_code("Unsupported.Origin", &v, "GetParametersForImport", "KeyId",
		    id, "WrappingAlgorithm", "RSAES_OAEP_SHA_1",
		    "WrappingKeySpec", "RSA_2048");
	assert_code("Unsupported.Origin", &v, "DeleteKeyMaterial", "KeyId", id);
	assert_code("Unsupported.Origin", &v, "CreateKeyVersion", "KeyId", ext);
	assert_code("InvalidParameter", &v, "GetParametersForImport", "KeyId",
		    ext, "WrappingAlgorithm", "SM2PKE", "WrappingKeySpec",
		    "RSA_2048");
	assert_code("InvalidParameter", &v, "GetParametersForImport", "KeyId",
		    ext, "WrappingAlgorithm", "RSAES_OAEP_SHA_1",
		    "WrappingKeySpec", "EC_SM2");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(material_comes_under_each_padding),
		T(a_token_is_for_one_key_and_one_day),
		T(no_bit_of_a_token_may_change),
		T(the_same_material_alone_comes_back),
		T(keys_with_one_material_open_nothing_of_each_other),
		T(material_goes_when_its_time_comes),
		T(states_are_kept_where_they_must),
		T(only_what_is_external_can_be_imported),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
