/*
 * test_datakey.c - data keys open where they belong, and nowhere else.
 */
#include "kms_env.h"

static void
a_blob_with_any_bit_flipped_does_not_open(void **state)
{
	struct env *e = *state;
	struct key dk = { { 0 } };
	struct wrapped_dk w;
	size_t bit, len;
	int r;

	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, NULL));
	for (bit = 0; bit < 8 * w.blob_len; bit++) {
		w.blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
		r = kms_decrypt(e->k, &w, &dk);
		/* In the key version's id: of no key of this keystore. */
		assert_int_equal(
		    r, bit / 8 >= 1 && bit / 8 <= 16 ? -ENOKEY : -EKEYREJECTED);
		w.blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	len = w.blob_len;
	for (w.blob_len = 0; w.blob_len <= KMS_BLOB_MAX + 1; w.blob_len++)
		if (w.blob_len != len)
			assert_err(kms_decrypt(e->k, &w, &dk), EKEYREJECTED);
	w.blob_len = len;
	assert_int_equal(dk.bytes[0] | dk.bytes[31], 0);
	assert_ok(kms_decrypt(e->k, &w, &dk));
}

static void
a_data_key_opens_in_its_lineage_and_under_its_names_only(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w, x;
	struct kms_key_info other;
	struct key dk;

	assert_ok(kms_create_key(e->k, "", &other));
	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, NULL));
	assert_string_equal(w.kms, "default");
	assert_true(uuid_equal(&w.lineage, &lineage));
	x = w;
	x.lineage.bytes[15] ^= 1;
	assert_err(kms_decrypt(e->k, &x, &dk), EKEYREJECTED);
	x = w;
	memcpy(x.key_id, other.id, sizeof(x.key_id));
	assert_err(kms_decrypt(e->k, &x, &dk), EKEYREJECTED);
	x = w;
	memcpy(x.key_version_id, other.primary_version, sizeof(x.key_id));
	assert_err(kms_decrypt(e->k, &x, &dk), EKEYREJECTED);
	assert_ok(kms_decrypt(e->k, &w, &dk));
}

static void
a_data_key_of_another_keystore_has_no_key_here(void **state)
{
	struct env *e = *state;
	struct settings s;
	struct wrapped_dk w;
	struct kms *other;
	struct key dk;
	bool made;

	env_settings(&s, env_path(e, "other"));
	assert_ok(kms_init(&s, &made));
	assert_ok(kms_open(&s, &other));
	assert_ok(kms_generate_data_key(other, KMS_SERVICE_ALIAS, &lineage, &w,
					NULL));
	assert_err(kms_decrypt(e->k, &w, &dk), ENOKEY);
	kms_close(other);
}

static void
no_key_is_in_the_files_in_the_clear(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *root = NULL;
	struct wrapped_dk w;
	struct key dk;
	size_t len, off;

	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, &dk));
	assert_int_equal(secret_in_use(), e->secrets + 1); /* its own key */
	env_close(e);
	root = file_load(e->s.keystore_root_file, &len);
	assert_int_equal(len, KEY_LEN);
	assert_int_equal(file_find(e->s.keystore_path, root, 8, &off), 0);
	assert_int_equal(file_find(e->s.keystore_path, dk.bytes, 8, &off), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_blob_with_any_bit_flipped_does_not_open),
		TEST(a_data_key_opens_in_its_lineage_and_under_its_names_only),
		TEST(a_data_key_of_another_keystore_has_no_key_here),
		TEST(no_key_is_in_the_files_in_the_clear),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
