/*
 * test_quota.c - token buckets.
 */
#include "test.h"

#include <sealdisk/crypto.h>

#include "quota.h"

#define SECOND 1000000

static const struct quota_limits limits = { { 1000, 10, 1000, 750, 0 } };

static struct quota *
new_quota(void)
{
	struct quota *q = NULL;

	assert_ok(quota_new(&limits, &q));
	return q;
}

/* How many of ${n} calls at ${now} are let through. */
static unsigned
calls(struct quota *q, const char *who, enum quota_class c, unsigned n,
      int64_t now)
{
	unsigned yes = 0;

	while (n-- > 0)
		yes += quota_take(q, who, c, now) == 0;
	return yes;
}

static void
a_second_allows_what_the_limit_says(void **state)
{
	CLEANUP(quota_freep) struct quota *q = new_quota();

	(void)state;
	assert_int_equal(calls(q, "a", QUOTA_ENCRYPT, 5000, SECOND), 1000);
	assert_err(quota_take(q, "a", QUOTA_ENCRYPT, SECOND), EDQUOT);
	assert_int_equal(calls(q, "a", QUOTA_ENCRYPT, 50, SECOND + 999), 0);
	assert_int_equal(calls(q, "a", QUOTA_ENCRYPT, 50, SECOND + 1000), 1);
	assert_int_equal(calls(q, "a", QUOTA_ENCRYPT, 5000, SECOND * 3 / 2),
			 499);
	/* What is not used is not saved up. */
	assert_int_equal(calls(q, "a", QUOTA_ENCRYPT, 5000, 100 * SECOND),
			 1000);
	assert_int_equal(calls(q, "a", QUOTA_REENCRYPT, 5000, 100 * SECOND),
			 750);
}

static void
each_has_its_own(void **state)
{
	CLEANUP(quota_freep) struct quota *q = new_quota();

	(void)state;
	assert_int_equal(calls(q, "a", QUOTA_DECRYPT, 20, 0), 10);
	assert_int_equal(calls(q, "b", QUOTA_DECRYPT, 20, 0), 10);
	assert_int_equal(calls(q, "a", QUOTA_GENERATE, 20, 0), 20);
}

static void
without_a_limit_there_is_none(void **state)
{
	CLEANUP(quota_freep) struct quota *q = new_quota();

	(void)state;
	assert_int_equal(calls(q, "a", QUOTA_MANAGE, 100000, 0), 100000);
}

static void
a_clock_that_stands_or_goes_back_gives_nothing(void **state)
{
	CLEANUP(quota_freep) struct quota *q = new_quota();

	(void)state;
	assert_int_equal(calls(q, "a", QUOTA_DECRYPT, 20, 50 * SECOND), 10);
	assert_int_equal(calls(q, "a", QUOTA_DECRYPT, 20, 0), 0);
	assert_int_equal(calls(q, "a", QUOTA_DECRYPT, 20, 50 * SECOND), 0);
	assert_int_equal(calls(q, "a", QUOTA_DECRYPT, 20, INT64_MAX / 2), 10);
}

/* Any number of names gets no more than the table, and takes nothing from one
 * that is in it. */
static void
many_names_win_nothing(void **state)
{
	CLEANUP(quota_freep) struct quota *q = new_quota();
	unsigned i, yes = 0, n = 10 * QUOTA_BUCKETS;
	char who[32];

	(void)state;
	assert_int_equal(calls(q, "a", QUOTA_DECRYPT, 20, 0), 10);
	for (i = 0; i < n; i++) {
		(void)snprintf(who, sizeof(who), "x%u", i);
		yes += calls(q, who, QUOTA_DECRYPT, 10, 0);
	}
	assert_true(yes <= (QUOTA_BUCKETS + 1) * 10);
	assert_int_equal(calls(q, "a", QUOTA_DECRYPT, 20, 0), 0);
	/* Later all of them have places again. */
	assert_int_equal(calls(q, "y", QUOTA_DECRYPT, 20, SECOND), 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_second_allows_what_the_limit_says),
		cmocka_unit_test(each_has_its_own),
		cmocka_unit_test(without_a_limit_there_is_none),
		cmocka_unit_test(
		    a_clock_that_stands_or_goes_back_gives_nothing),
		cmocka_unit_test(many_names_win_nothing),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
