/*
 * test_rsa.c - keys under RSA: what opens, what does not, and what other
 * programs make of it.
 */
#include "test.h"

#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/rsa.h>

#include "rsa_vectors.h"

static const enum rsa_padding paddings[] = { RSA_OAEP_SHA256, RSA_OAEP_SHA1,
					     RSA_PKCS1_V15 };
#define NPADDINGS (sizeof(paddings) / sizeof(paddings[0]))

/* One pair for all. */
static struct rsa_private *private;
static uint8_t public[RSA_PUBLIC_LEN];
static const struct key secret = { "a key of thirty-two bytes, sent" };

static int
make_pair(void **state)
{
	(void)state;
	private = secret_alloc(sizeof(*private));
	assert_non_null(private);
	assert_ok(rsa_new(private, public));
	return 0;
}

static int
drop_pair(void **state)
{
	(void)state;
	secret_free(private, sizeof(*private));
	return 0;
}

static void
a_public_key_looks_as_everybody_expects(void **state)
{
	char text[BASE64_LEN(RSA_PUBLIC_LEN)];

	(void)state;
	base64_encode(public, sizeof(public), text);
	assert_memory_equal(text,
			    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA", 44);
	assert_string_equal(text + strlen(text) - 6, "IDAQAB");
}

static void
a_key_comes_through_each_padding(void **state)
{
	uint8_t sealed[RSA_SEALED_LEN], again[RSA_SEALED_LEN];
	struct key k;

	(void)state;
	for (size_t i = 0; i < NPADDINGS; i++) {
		memset(&k, 0, sizeof(k));
		assert_ok(rsa_seal_key(public, sizeof(public), paddings[i],
				       &secret, sealed));
		assert_ok(rsa_seal_key(public, sizeof(public), paddings[i],
				       &secret, again));
		assert_memory_not_equal(sealed, again, sizeof(sealed));
		assert_ok(rsa_open_key(private, paddings[i], sealed,
				       sizeof(sealed), &k));
		assert_memory_equal(&k, &secret, sizeof(k));
	}
}

static void
no_padding_opens_as_another(void **state)
{
	uint8_t sealed[RSA_SEALED_LEN];
	struct key k;

	(void)state;
	for (size_t i = 0; i < NPADDINGS; i++)
		for (size_t j = 0; j < NPADDINGS; j++) {
			if (i == j)
				continue;
			assert_ok(rsa_seal_key(public, sizeof(public),
					       paddings[i], &secret, sealed));
			assert_err(rsa_open_key(private, paddings[j], sealed,
						sizeof(sealed), &k),
				   EBADMSG);
		}
}

static void
what_was_changed_is_one_error(void **state)
{
	uint8_t sealed[RSA_SEALED_LEN];
	struct key k;

	(void)state;
	for (size_t i = 0; i < NPADDINGS; i++) {
		assert_ok(rsa_seal_key(public, sizeof(public), paddings[i],
				       &secret, sealed));
		for (size_t at = 0; at < sizeof(sealed); at += 37) {
			sealed[at] ^= 0x10;
			assert_err(rsa_open_key(private, paddings[i], sealed,
						sizeof(sealed), &k),
				   EBADMSG);
			sealed[at] ^= 0x10;
		}
		assert_err(rsa_open_key(private, paddings[i], sealed,
					sizeof(sealed) - 1, &k),
			   EBADMSG);
		memset(sealed, 0, sizeof(sealed));
		assert_err(rsa_open_key(private, paddings[i], sealed,
					sizeof(sealed), &k),
			   EBADMSG);
		memset(sealed, 0xff, sizeof(sealed));
		assert_err(rsa_open_key(private, paddings[i], sealed,
					sizeof(sealed), &k),
			   EBADMSG);
	}
}

static void
what_is_no_such_public_key_is_refused(void **state)
{
	uint8_t bad[RSA_PUBLIC_LEN], sealed[RSA_SEALED_LEN];
	static const size_t places[] = { 0, 3, 20, 32, 33, 288, 290, 293 };

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		memcpy(bad, public, sizeof(bad));
		bad[places[i]] ^= 0x81;
		assert_err(rsa_seal_key(bad, sizeof(bad), RSA_OAEP_SHA256,
					&secret, sealed),
			   EINVAL);
	}
	assert_err(rsa_seal_key(public, sizeof(public) - 1, RSA_OAEP_SHA256,
				&secret, sealed),
		   EINVAL);
}

static void
what_openssl_sealed_opens(void **state)
{
	struct rsa_private *p = secret_alloc(sizeof(*p));
	struct key k;

	(void)state;
	assert_non_null(p);
	p->len = strlen(rsa_vector_private);
	memcpy(p->bytes, rsa_vector_private, p->len);
	for (size_t i = 0; i < NPADDINGS; i++) {
		uint8_t sealed[RSA_SEALED_LEN];
		size_t len;

		assert_ok(base64_decode(rsa_vector_sealed[i], sealed,
					sizeof(sealed), &len));
		assert_ok(rsa_open_key(p, paddings[i], sealed, len, &k));
		assert_memory_equal(&k, rsa_vector_key, sizeof(k));
	}
	/* One byte short of a key, correctly padded. */
	for (size_t i = 0; i < NPADDINGS; i++) {
		uint8_t sealed[RSA_SEALED_LEN];
		size_t len;

		assert_ok(base64_decode(rsa_vector_short[i], sealed,
					sizeof(sealed), &len));
		assert_err(rsa_open_key(p, paddings[i], sealed, len, &k),
			   EBADMSG);
	}
	secret_free(p, sizeof(*p));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_public_key_looks_as_everybody_expects),
		cmocka_unit_test(a_key_comes_through_each_padding),
		cmocka_unit_test(no_padding_opens_as_another),
		cmocka_unit_test(what_was_changed_is_one_error),
		cmocka_unit_test(what_is_no_such_public_key_is_refused),
		cmocka_unit_test(what_openssl_sealed_opens),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, make_pair, drop_pair);
}
