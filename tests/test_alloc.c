/*
 * test_alloc.c - the Nth allocation fails, for each N of whatever can be done
 * with disks.
 *
 * It fails once, or all fail from there on.  What was asked for then fails with
 * -ENOMEM, or is done all the same; everything is as it was, or as it was to
 * become; asked for again with memory it succeeds; and when all is removed
 * nothing is left, neither in the store nor of secrets.  What is leaked the
 * address sanitizer tells.
 *
 * Here every action is tried with some N; SEALDISK_TEST_SLOW=1 tries each.
 * SEALDISK_ACTION=ACTION tries that alone, SEALDISK_FAULT=ACTION,N,LASTING
 * repeats one run.
 */
#include "actions.h"
#include "fault_alloc.h"

#include <sealdisk/log.h>

static unsigned at[3]; /* the run under way */
static size_t secrets; /* in use before */
static unsigned runs, failed;

static bool
run_one(const struct action *a, unsigned nth, bool lasting)
{
	bool fired;
	int r;

	scene_begin(a);
	alloc_arm(nth, lasting);
	r = a->run();
	fired = alloc_fired();
	alloc_arm(0, false);
	if (r < 0 && (r != -ENOMEM || !fired))
		fail_msg("%s: %s (%d)", a->name, strerror(-r), r);
	scene_check(a, r);
	if (r < 0 || a->again) {
		assert_ok(a->run());
		scene_check(a, 0);
	}
	scene_end(a);
	assert_int_equal(secret_in_use(), secrets);
	runs++;
	failed += r < 0;
	return fired;
}

/* Where not every N is tried, each action begins with another. */
static void
sweep(unsigned i, bool lasting)
{
	unsigned step = test_is_slow() ? 1 : 499, nth = 1;

	if (!test_is_slow())
		nth += (i * 5 + lasting * 11) % 23;
	do {
		at[0] = i;
		at[1] = nth;
		at[2] = lasting;
		nth += step;
	} while (run_one(&actions[i], at[1], lasting));
}

static void
what_lacks_memory_fails_and_costs_nothing(void **state)
{
	const char *one = getenv("SEALDISK_FAULT");

	(void)state;
	if (one) {
		assert_int_equal(
		    sscanf(one, "%u,%u,%u", &at[0], &at[1], &at[2]), 3);
		assert_true(at[0] < N_ACTIONS);
		(void)run_one(&actions[at[0]], at[1], at[2]);
		return;
	}
	for (unsigned i = 0; i < N_ACTIONS; i++) {
		if (!action_is_wanted(i))
			continue;
		sweep(i, false);
		sweep(i, true);
	}
	printf("%u runs, of which %u failed\n", runs, failed);
}

static unsigned
action_named(const char *name)
{
	unsigned i = 0;

	while (i < N_ACTIONS && strcmp(actions[i].name, name) != 0)
		i++;
	assert_true(i < N_ACTIONS);
	return i;
}

/* The way back took memory, and there was none: there were two descriptors, and
 * the new name was taken. */
static void
a_rename_without_memory_left_two_names(void **state)
{
	static const char *const names[] = { "rename", "move" };

	(void)state;
	at[2] = true;
	for (unsigned i = 0; i < 2; i++) {
		at[0] = action_named(names[i]);
		at[1] = 1;
		while (run_one(&actions[at[0]], at[1], true))
			at[1]++;
	}
}

static int
setup(void **state)
{
	(void)state;
	scene_keys();
	secrets = secret_in_use();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	alloc_arm(0, false);
	/* A failure leaves by longjmp: here it is known which run it was. */
	if (env.e)
		print_error("SEALDISK_FAULT=%u,%u,%u: %s\n", at[0], at[1],
			    at[2], actions[at[0]].name);
	eenv_keys_end(&env);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    what_lacks_memory_fails_and_costs_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_rename_without_memory_left_two_names, setup, teardown),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
