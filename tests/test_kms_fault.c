/*
 * test_kms_fault.c - the key service fails, or answers nonsense, at the Nth
 * call of whatever can be done with disks.
 *
 * Once, or from there on; with each errno of kms.h, before or after what was
 * asked for was done; and with answers that look well and are none.  What was
 * asked for then fails with that errno, or one that says what it came upon, or
 * is done all the same.  Everything is as it was, or as it was to become; asked
 * for again of a service that is well it succeeds; and when all is removed
 * nothing is left, neither in the store nor of secrets.
 *
 * While it is waited for, others go on.
 *
 * Here one of these is tried at each call; SEALDISK_TEST_SLOW=1 tries all.
 * SEALDISK_ACTION=ACTION tries that alone, and
 * SEALDISK_FAULT=ACTION,N,LASTING,HARM,ERRNO repeats one run.
 */
#include "actions.h"
#include "fault_kms.h"

#include <sealdisk/log.h>

/* All that kms.h says that a call can fail with. */
static const int errors[] = {
	EHOSTDOWN,   ENOKEY,     EKEYREJECTED,    EKEYREVOKED,
	EKEYEXPIRED, EDQUOT,     EPROTO,          EUCLEAN,
	EIO,         ENOSPC,     EROFS,           EACCES,
	EINVAL,      EPERM,      EBUSY,           ESHUTDOWN,
	ENOMEM,      EOPNOTSUPP, EPROTONOSUPPORT,
};
#define N_ERRORS (sizeof(errors) / sizeof(errors[0]))
#define FAULT_STEP 13 /* has nothing in common with how many there are */

static unsigned at; /* the run under way */
static struct kms_fault fault;
static size_t secrets; /* in use before */
static unsigned runs, failed, points;

/* What nonsense can be found out as. */
static bool
is_found_out(int r)
{
	switch (-r) {
	case EPROTO:       /* it contradicts itself */
	case EKEYREJECTED: /* it does not open */
	case ENOKEY:
	case EBADMSG: /* it opens nothing of the disk */
	case EUCLEAN:
	case ESTALE: /* an anchor */
		return true;
	default:
		return false;
	}
}

static void
check_error(const struct action *a, int r)
{
	bool is_error = fault.harm == HARM_REFUSED || fault.harm == HARM_LOST;

	if (r == 0 || (is_error && r == fault.err) ||
	    (!is_error && is_found_out(r)))
		return;
	fail_msg("%s: %s (%d)", a->name, strerror(-r), r);
}

/* Whether the fault was met. */
static bool
run_one(const struct action *a)
{
	bool fired;
	int r;

	scene_begin(a);
	kms_fault_arm(&fault);
	r = a->run();
	fired = kms_fault_fired();
	kms_fault_arm(&(struct kms_fault){ 0 });
	if (!fired && r < 0)
		fail_msg("%s: %s (%d)", a->name, strerror(-r), r);
	check_error(a, r);
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

/* ---- answers that come late ---- */

/* While an answer is waited for, others find the names, and what they have.  A
 * merge has each disk that nobody has attached, one after the other. */
static void
another(void)
{
	struct store_lock *names = NULL;

	assert_ok(catalog_try_names(cat(), &names));
	store_unlock(names);
	if (actions[at].again)
		return;
	assert_ok(attach(CLONE));
	assert_ok(disk_read(things[CLONE].d, env.s, io.b, SIZE, 0));
	assert_ok(detach(CLONE));
	assert_memory_equal(io.b, things[CLONE].is.b, SIZE);
}

/* How many calls there are. */
static unsigned
run_late(const struct action *a)
{
	unsigned n;

	fault = (struct kms_fault){ .nth = 0 };
	scene_begin(a);
	kms_fault_arm(&fault);
	kms_fault_late(another);
	assert_ok(a->run());
	kms_fault_late(NULL);
	n = kms_fault_calls();
	scene_check(a, 0);
	scene_end(a);
	return n;
}

/* ---- one after the other ---- */

/* Each errno, an answer that is lost, each kind of nonsense; once and for good.
 */
#define N_FAULTS (2 * (N_ERRORS + KMS_NHARM - 1))

static struct kms_fault
nth_fault(size_t i)
{
	struct kms_fault f = { .lasting = i % 2 };

	i /= 2;
	f.harm = i < N_ERRORS ? HARM_REFUSED
			      : (enum kms_harm)(HARM_LOST + i - N_ERRORS);
	f.err = i < N_ERRORS ? -errors[i] : -EHOSTDOWN;
	return f;
}

static void
sweep(const struct action *a)
{
	static size_t turn;
	unsigned n = run_late(a);

	for (unsigned nth = 1; nth <= n; nth++) {
		size_t all = test_is_slow() ? N_FAULTS : 1;

		points++;
		for (size_t i = 0; i < all; i++) {
			fault = nth_fault((turn += FAULT_STEP) % N_FAULTS);
			fault.nth = nth;
			assert_true(run_one(a));
		}
	}
}

static void
a_key_service_that_fails_or_lies_costs_nothing(void **state)
{
	const char *one = getenv("SEALDISK_FAULT");
	unsigned lasting, harm;

	(void)state;
	if (one) {
		assert_int_equal(sscanf(one, "%u,%u,%u,%u,%d", &at, &fault.nth,
					&lasting, &harm, &fault.err),
				 5);
		assert_true(at < N_ACTIONS && harm < KMS_NHARM);
		fault.lasting = lasting;
		fault.harm = harm;
		(void)run_one(&actions[at]);
		return;
	}
	for (at = 0; at < N_ACTIONS; at++)
		if (action_is_wanted(at))
			sweep(&actions[at]);
	printf("%u calls, %u runs, of which %u failed\n", points, runs, failed);
	assert_true(getenv("SEALDISK_ACTION") || failed > runs / 4);
}

static int
setup(void **state)
{
	(void)state;
	scene_keys();
	kms_fault_install(env.kms);
	secrets = secret_in_use();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	/* A failure leaves by longjmp: here it is known which run it was. */
	if (env.e)
		print_error("SEALDISK_FAULT=%u,%u,%u,%u,%d: %s\n", at,
			    fault.nth, fault.lasting, fault.harm, fault.err,
			    actions[at].name);
	eenv_keys_end(&env);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_key_service_that_fails_or_lies_costs_nothing, setup,
		    teardown),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
