/*
 * test_envelope.c - contexts, wrapped keys and blobs.
 */
#include "test.h"

#include "envelope.h"

#define ARN "acs:kms:local:local:key/0"

static struct aead *aead;
static const struct key kek = { { 1, 2, 3 } }, secret = { { 4, 5, 6 } };
static const struct uuid version = { { 7, 8, 9 } };

static int
setup(void **state)
{
	(void)state;
	return aead_new(&aead);
}

static int
teardown(void **state)
{
	(void)state;
	aead_free(aead);
	return 0;
}

static void
a_context_has_one_form(void **state)
{
	static const struct {
		struct context_pair pairs[3];
		size_t n;
		const char *json;
	} table[] = {
		{ { { NULL, NULL } }, 0, "{}" },
		{ { { "a", "" } }, 1, "{\"a\":\"\"}" },
		{ { { "b", "2" }, { "a", "1" }, { "ab", "3" } },
		  3,
		  "{\"a\":\"1\",\"ab\":\"3\",\"b\":\"2\"}" },
		{ { { "A", "y" }, { "", "x" } },
		  2,
		  "{\"\":\"x\",\"A\":\"y\"}" },
		{ { { "q\"\\/", "\b\f\n\r\t\x01\x1f\x7f" } },
		  1,
		  "{\"q\\\"\\\\/\":\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"}" },
		{ { { "\xc3\xa9", "\xe6\x97\xa5" }, { "z", "1" } },
		  2,
		  "{\"z\":\"1\",\"\xc3\xa9\":\"\xe6\x97\xa5\"}" },
	};
	uint8_t out[ENVELOPE_CONTEXT_MAX];
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct context ctx = { table[i].pairs, table[i].n };

		assert_ok(envelope_context(&ctx, out, &len));
		assert_int_equal(len, strlen(table[i].json));
		assert_memory_equal(out, table[i].json, len);
	}
}

static void
a_context_that_has_no_form_is_refused(void **state)
{
	static char text[ENVELOPE_CONTEXT_MAX + 1];
	const struct context_pair twice[] = { { "a", "1" },
					      { "b", "1" },
					      { "a", "1" } };
	const struct context_pair bad_name[] = { { "\xff", "1" } };
	const struct context_pair bad_value[] = { { "a", "\xc0\x80" } };
	const struct context_pair longest[] = { { "a", text } };
	uint8_t out[ENVELOPE_CONTEXT_MAX];
	size_t len = 77;

	(void)state;
	assert_err(envelope_context(&(struct context){ twice, 3 }, out, &len),
		   EINVAL);
	assert_err(envelope_context(&(struct context){ bad_name, 1 }, out,
				    &len),
		   EINVAL);
	assert_err(envelope_context(&(struct context){ bad_value, 1 }, out,
				    &len),
		   EINVAL);
	memset(text, 'x', sizeof(text) - 1);
	assert_err(envelope_context(&(struct context){ longest, 1 }, out, &len),
		   EINVAL);
	assert_int_equal(len, 77);
	text[ENVELOPE_CONTEXT_MAX - strlen("{\"a\":\"\"}")] = '\0';
	assert_ok(envelope_context(&(struct context){ longest, 1 }, out, &len));
	assert_int_equal(len, ENVELOPE_CONTEXT_MAX);
}

static void
unwrap_refuses_every_flipped_bit(void **state)
{
	uint8_t w[ENVELOPE_WRAPPED_LEN];
	struct key k = { { 0 } };
	unsigned bit;

	(void)state;
	assert_ok(envelope_wrap(aead, &kek, "ad", 2, &secret, w));
	for (bit = 0; bit < 8 * sizeof(w); bit++) {
		w[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_err(envelope_unwrap(aead, &kek, "ad", 2, w, sizeof(w),
					   &k),
			   EBADMSG);
		w[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_err(envelope_unwrap(aead, &kek, "aD", 2, w, sizeof(w), &k),
		   EBADMSG);
	assert_err(envelope_unwrap(aead, &secret, "ad", 2, w, sizeof(w), &k),
		   EBADMSG);
	assert_err(envelope_unwrap(aead, &kek, "ad", 2, w, sizeof(w) - 1, &k),
		   EBADMSG);
	assert_int_equal(k.bytes[0], 0); /* nothing was written */
	assert_ok(envelope_unwrap(aead, &kek, "ad", 2, w, sizeof(w), &k));
	assert_memory_equal(&k, &secret, sizeof(k));
}

static void
wrapping_twice_gives_two_texts(void **state)
{
	uint8_t a[ENVELOPE_WRAPPED_LEN], b[ENVELOPE_WRAPPED_LEN];

	(void)state;
	assert_ok(envelope_wrap(aead, &kek, "", 0, &secret, a));
	assert_ok(envelope_wrap(aead, &kek, "", 0, &secret, b));
	assert_memory_not_equal(a, b, NONCE_LEN);
	assert_memory_not_equal(a + NONCE_LEN, b + NONCE_LEN, KEY_LEN);
}

static const struct context_pair pairs[] = { { "lineage", "x" },
					     { "more", "y" } };
static const struct context_pair turned[] = { { "more", "y" },
					      { "lineage", "x" } };
static const struct context both = { pairs, 2 };

static int
seal_blob(uint8_t blob[static ENVELOPE_BLOB_LEN])
{
	struct envelope_ad ad;
	int r = envelope_ad(&version, ARN, &both, &ad);

	if (r < 0)
		return r;
	memcpy(blob, ad.bytes, ENVELOPE_HEADER_LEN);
	return envelope_wrap(aead, &kek, ad.bytes, ad.len, &secret,
			     blob + ENVELOPE_HEADER_LEN);
}

static void
a_blob_is_of_version_1_and_names_its_key_version(void **state)
{
	uint8_t blob[ENVELOPE_BLOB_LEN];
	struct uuid v;

	(void)state;
	assert_ok(seal_blob(blob));
	assert_int_equal(sizeof(blob), 1 + 16 + 12 + 32 + 16);
	assert_int_equal(blob[0], 1);
	assert_memory_equal(blob + 1, version.bytes, 16);
	assert_ok(envelope_version(blob, sizeof(blob), &v));
	assert_true(uuid_equal(&v, &version));
	assert_err(envelope_version(blob, ENVELOPE_OVERHEAD - 1, &v), EBADMSG);
	blob[0] = 2;
	assert_err(envelope_version(blob, sizeof(blob), &v), EBADMSG);
}

static int
open_blob(const uint8_t *blob, size_t len, const char *arn,
	  const struct context_pair *p, size_t n)
{
	struct context ctx = { p, n };
	struct key k = { { 0 } };
	struct envelope_ad ad;
	struct uuid v;
	int r;

	r = envelope_version(blob, len, &v);
	if (r == 0)
		r = envelope_ad(&v, arn, &ctx, &ad);
	if (r == 0)
		r = envelope_unwrap(aead, &kek, ad.bytes, ad.len,
				    blob + ENVELOPE_HEADER_LEN,
				    len - ENVELOPE_HEADER_LEN, &k);
	if (r == 0)
		assert_memory_equal(&k, &secret, sizeof(k));
	else
		assert_int_equal(k.bytes[0], 0);
	return r;
}

static void
a_blob_opens_in_its_context_only(void **state)
{
	uint8_t blob[ENVELOPE_BLOB_LEN];
	size_t len;

	(void)state;
	assert_ok(seal_blob(blob));
	assert_ok(open_blob(blob, sizeof(blob), ARN, pairs, 2));
	assert_ok(open_blob(blob, sizeof(blob), ARN, turned, 2));
	assert_err(open_blob(blob, sizeof(blob), ARN, pairs, 1), EBADMSG);
	assert_err(open_blob(blob, sizeof(blob), ARN, pairs, 0), EBADMSG);
	assert_err(open_blob(blob, sizeof(blob), ARN "1", pairs, 2), EBADMSG);
	assert_err(open_blob(blob, sizeof(blob), "", pairs, 2), EBADMSG);
	for (len = 0; len < sizeof(blob); len++)
		assert_err(open_blob(blob, len, ARN, pairs, 2), EBADMSG);
}

static void
a_blob_with_any_bit_flipped_is_refused(void **state)
{
	uint8_t blob[ENVELOPE_BLOB_LEN];
	unsigned bit;

	(void)state;
	assert_ok(seal_blob(blob));
	for (bit = 0; bit < 8 * sizeof(blob); bit++) {
		blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_err(open_blob(blob, sizeof(blob), ARN, pairs, 2),
			   EBADMSG);
		blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_ok(open_blob(blob, sizeof(blob), ARN, pairs, 2));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_context_has_one_form),
		cmocka_unit_test(a_context_that_has_no_form_is_refused),
		cmocka_unit_test(unwrap_refuses_every_flipped_bit),
		cmocka_unit_test(wrapping_twice_gives_two_texts),
		cmocka_unit_test(
		    a_blob_is_of_version_1_and_names_its_key_version),
		cmocka_unit_test(a_blob_opens_in_its_context_only),
		cmocka_unit_test(a_blob_with_any_bit_flipped_is_refused),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, setup, teardown);
}
