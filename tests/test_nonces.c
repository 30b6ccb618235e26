/*
 * test_nonces.c - a signed request is good once.
 */
#include "test.h"

#include <sealdisk/crypto.h>

#include "nonces.h"
#include "signature.h"

#define NOW INT64_C(1800000000)

static void
a_nonce_is_good_once(void **state)
{
	CLEANUP(nonces_freep) struct nonces *n = NULL;

	(void)state;
	assert_ok(nonces_new(100, &n));
	assert_ok(nonces_use(n, "ak", "1", NOW, NOW));
	assert_err(nonces_use(n, "ak", "1", NOW, NOW), EEXIST);
	assert_ok(nonces_use(n, "ak2", "1", NOW, NOW));
	assert_ok(nonces_use(n, "a", "k1", NOW, NOW));
	assert_ok(nonces_use(n, "ak", "2", NOW, NOW));
	assert_err(nonces_use(n, "ak", "1", NOW, NOW + SIGNATURE_WINDOW),
		   EEXIST);
	/* From here on it is refused by its time. */
	assert_err(nonces_use(n, "ak", "1", NOW, NOW + SIGNATURE_WINDOW + 1),
		   ESTALE);
	assert_int_equal(nonces_count(n), 4);
	assert_ok(nonces_use(n, "ak", "3", NOW + 2000, NOW + 2000));
	assert_int_equal(nonces_count(n), 1);
}

/* Wherever in the window: a request from a fast clock is good for longest. */
static void
a_nonce_is_remembered_for_as_long_as_its_time_is_good(void **state)
{
	CLEANUP(nonces_freep) struct nonces *n = NULL;

	(void)state;
	assert_ok(nonces_new(100, &n));
	for (int64_t off = -SIGNATURE_WINDOW; off <= SIGNATURE_WINDOW;
	     off += 100) {
		char nonce[32];

		(void)snprintf(nonce, sizeof(nonce), "%lld", (long long)off);
		assert_ok(nonces_use(n, "ak", nonce, NOW + off, NOW));
	}
	for (int64_t now = NOW; now < NOW + 2 * SIGNATURE_WINDOW; now += 50)
		for (int64_t off = -SIGNATURE_WINDOW; off <= SIGNATURE_WINDOW;
		     off += 100) {
			char nonce[32];

			(void)snprintf(nonce, sizeof(nonce), "%lld",
				       (long long)off);
			assert_true(nonces_use(n, "ak", nonce, NOW + off, now) <
				    0);
		}
}

static void
no_nonce_is_forgotten_for_want_of_room(void **state)
{
	CLEANUP(nonces_freep) struct nonces *n = NULL;
	char nonce[32];

	(void)state;
	assert_ok(nonces_new(10000, &n));
	for (int i = 0; i < 10000; i++) {
		(void)snprintf(nonce, sizeof(nonce), "%d", i);
		assert_ok(nonces_use(n, "ak", nonce, NOW + i % 7, NOW));
	}
	assert_err(nonces_use(n, "ak", "x", NOW, NOW), ENOBUFS);
	for (int i = 0; i < 10000; i++) {
		(void)snprintf(nonce, sizeof(nonce), "%d", i);
		assert_err(nonces_use(n, "ak", nonce, NOW + i % 7, NOW),
			   EEXIST);
	}
	assert_ok(nonces_use(n, "ak", "x", NOW + 1800, NOW + 1800));
}

static void
a_clock_set_back_lets_nothing_through_twice(void **state)
{
	CLEANUP(nonces_freep) struct nonces *n = NULL;

	(void)state;
	assert_ok(nonces_new(100, &n));
	assert_ok(nonces_use(n, "ak", "1", NOW, NOW));
	assert_ok(nonces_use(n, "ak", "2", NOW + 7200, NOW + 7200));
	assert_err(nonces_use(n, "ak", "1", NOW, NOW), ESTALE);
	assert_err(nonces_use(n, "ak", "2", NOW + 7200, NOW + 7200), EEXIST);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_nonce_is_good_once),
		cmocka_unit_test(
		    a_nonce_is_remembered_for_as_long_as_its_time_is_good),
		cmocka_unit_test(no_nonce_is_forgotten_for_want_of_room),
		cmocka_unit_test(a_clock_set_back_lets_nothing_through_twice),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
