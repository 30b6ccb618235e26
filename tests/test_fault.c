/*
 * test_fault.c - the Nth call to the store or the Nth allocation fails, for
 * each N of a workload.
 *
 * The workload begins on a disk that was killed, so that attaching it has
 * something to recover, and goes through all that a disk can do.  Calls fail
 * once or lastingly, before they were made, after, or half of them; a failed
 * sync loses what it was to write.  Then the process is killed or the power
 * cut, and what was flushed must read back, or one of the later writes, block
 * by block; and the disk must be as good as ever.
 *
 * Here every N is tried with some of the faults; SEALDISK_TEST_SLOW=1 tries
 * each with all.  SEALDISK_SEED=N makes other power cuts, and
 * SEALDISK_FAULT=N,FAULT,END repeats one run.
 */
#include "fault_alloc.h"
#include "workload.h"

#include <sealdisk/log.h>

struct fault {
	const char *what;
	unsigned kinds;
	int err;
	enum fault_mode mode;
	bool lasting, lose;
	bool few; /* calls: each N is tried with some ending */
		  /* kinds 0: it is allocations that fail */
};

#define NOT_SYNCS (FAULT_CHANGES & ~FAULT_SYNCS)
static const struct fault faults[] = {
	{ "a call fails", FAULT_ALL, -EIO, FAULT_BEFORE, 0, 0, 0 },
	{ "all fail", FAULT_ALL, -EIO, FAULT_BEFORE, 1, 0, 0 },
	{ "a change is said to", FAULT_CHANGES, -EIO, FAULT_AFTER, 0, 0, 0 },
	{ "all changes are", FAULT_CHANGES, -EIO, FAULT_AFTER, 1, 0, 0 },
	{ "a write is torn", FAULT_WRITE, -EIO, FAULT_HALF, 0, 0, 0 },
	{ "all writes are torn", FAULT_WRITE, -EIO, FAULT_HALF, 1, 0, 0 },
	{ "no space once", NOT_SYNCS, -ENOSPC, FAULT_HALF, 0, 0, 0 },
	{ "no space", NOT_SYNCS, -ENOSPC, FAULT_BEFORE, 1, 0, 0 },
	{ "a sync loses data", FAULT_SYNCS, -EIO, FAULT_BEFORE, 0, 1, 0 },
	{ "all syncs do", FAULT_SYNCS, -EIO, FAULT_BEFORE, 1, 1, 0 },
	{ "a read fails", FAULT_READ, -EIO, FAULT_BEFORE, 0, 0, 1 },
	{ "a file is replaced, and it is said that it was not", FAULT_REPLACE,
	  -EIO, FAULT_AFTER, 0, 0, 1 },
	{ "a lock fails", FAULT_LOCK, -EIO, FAULT_BEFORE, 0, 0, 1 },
	{ "a lock is lost", FAULT_LOCK, -EBUSY, FAULT_BEFORE, 0, 0, 1 },
	{ "an allocation fails", 0, -ENOMEM, FAULT_BEFORE, 0, 0, 0 },
	{ "all allocations do", 0, -ENOMEM, FAULT_BEFORE, 1, 0, 0 },
};
#define N_FAULTS (sizeof(faults) / sizeof(faults[0]))

enum ending { KILL, CUT, DETACH_AND_CUT, N_ENDINGS };

static void
works_as_ever(void)
{
	static const struct op w = { WRITE, 0, 12 * KiB };
	static const struct op z = { ZERO, 4 * MiB + 512 * KiB, 512 * KiB };

	run.err = 0;
	do_op(&w);
	do_op(&z);
	assert_ok(disk_detach(run.d));
	crash(true, 1);
	adopt();
	assert_ok(disk_detach(run.d));
}

static void
arm(const struct fault *f, unsigned nth)
{
	run.err = f->err;
	fault_kinds(env.st, f->kinds);
	fault_mode(env.st, f->mode);
	fault_on_sync(env.st, f->lose ? mem_store_lose : NULL);
	fault_arm(env.st, f->kinds ? nth : 0, f->err, f->lasting);
	alloc_arm(f->kinds ? 0 : nth, f->lasting);
}

static void
disarm(void)
{
	fault_arm(env.st, 0, 0, false);
	fault_on_sync(env.st, NULL);
	alloc_arm(0, false);
}

static void
end(enum ending how)
{
	disarm();
	if (run.d && how != DETACH_AND_CUT)
		disk_abandon(run.d);
	crash(how != KILL, run.n_writes + how);
	adopt();
	works_as_ever();
	eenv_stop(&env);
}

/* The disk that was killed is back, with the faults at work. */
static void
found(void)
{
	run.size = disk_size(run.d);
	assert_true(size_may_be(run.size));
	learn_disk();
}

static bool
run_one(unsigned nth, const struct fault *f, enum ending how)
{
	bool fired;
	int r;

	begin();
	crash(how != KILL, nth);
	arm(f, nth);
	r = disk_attach(env.e, DESC_DISK, "d", 0, &run.d);
	check_error("attach", r);
	if (r < 0)
		run.d = NULL;
	else
		found();
	for (size_t i = 0; run.d && i < sizeof(work) / sizeof(work[0]); i++)
		do_op(&work[i]);
	if (run.d && how == DETACH_AND_CUT && disk_detach(run.d) == 0)
		flushed();
	fired = f->kinds ? fault_fired(env.st) : alloc_fired();
	end(how);
	return fired;
}

static unsigned at[3]; /* the run under way */

/* Where not every N is tried, each fault and ending begin with another. */
static void
sweep(size_t fault, enum ending how)
{
	unsigned step = test_is_slow() ? 1 : faults[fault].few ? 3 : 29;
	unsigned nth;

	if (test_is_watched() && !test_is_slow())
		step *= 7;
	nth = 1 + (unsigned)(fault * N_ENDINGS + how) % step;

	do {
		at[0] = nth;
		at[1] = (unsigned)fault;
		at[2] = how;
		nth += step;
	} while (run_one(at[0], &faults[fault], how));
}

static void
what_was_flushed_survives_every_fault_of_the_store(void **state)
{
	const char *one = getenv("SEALDISK_FAULT");

	(void)state;
	if (one) {
		assert_int_equal(
		    sscanf(one, "%u,%u,%u", &at[0], &at[1], &at[2]), 3);
		assert_true(at[1] < N_FAULTS && at[2] < N_ENDINGS);
		(void)run_one(at[0], &faults[at[1]], (enum ending)at[2]);
		return;
	}
	for (size_t f = 0; f < N_FAULTS; f++)
		for (unsigned how = 0; how < N_ENDINGS; how++)
			sweep(f, (enum ending)how);
}

/*
 * A place on the medium goes bad for good: before the disk is attached again,
 * when that has been done, or when all has been looked at.  What can be read
 * is what it should be, and the rest comes back when the place does.
 */
enum when { AT_ONCE, AFTER_AN_ATTACH, AFTER_A_LOOK, N_WHEN };

struct place {
	const char *part;
	uint64_t off;
};

static void
quietly(enum when when)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, DESC_DISK, "d", 0, &d));
	if (when == AFTER_A_LOOK)
		assert_ok(disk_background(d));
	assert_ok(disk_detach(d));
}

static void
run_bad(const struct place *p, enum ending how, enum when when, bool work_on)
{
	int r;

	begin();
	crash(how != KILL, 1);
	if (when != AT_ONCE)
		quietly(when);
	mem_store_spoil(fault_inner(env.st), p->part, p->off, PAGE_LEN);
	run.err = -EIO;
	for (unsigned i = 0; i < 2; i++) {
		r = disk_attach(env.e, DESC_DISK, "d", 0, &run.d);
		check_error("attach", r);
		if (r < 0)
			break;
		found();
		for (size_t k = 0; work_on && k < sizeof(work) / sizeof(*work);
		     k++)
			do_op(&work[k]);
		if (disk_detach(run.d) == 0 && work_on)
			flushed();
	}
	mem_store_spoil(fault_inner(env.st), "", 0, 0);
	run.d = NULL;
	end(how == KILL ? KILL : DETACH_AND_CUT);
}

static void
nothing_older_is_served_beside_a_bad_place(void **state)
{
	struct place p[2 * CHUNK_GROUPS + 4];
	size_t n = 0;

	(void)state;
	for (; n < 2 * CHUNK_GROUPS; n++)
		p[n] = (struct place){ ".chunk", SUPER_LEN + n * PAGE_LEN };
	for (unsigned copy = 0; copy < 2; copy++) {
		p[n++] = (struct place){ "map", page_offset(0, copy) };
		p[n++] =
		    (struct place){ "map", MAP_OFFSET + page_offset(0, copy) };
	}
	for (size_t i = 0; i < n; i++)
		for (unsigned k = 0; k < 2 * 2 * N_WHEN; k++)
			run_bad(&p[i], k & 1 ? CUT : KILL,
				(enum when)(k / 2 % N_WHEN), k >= 2 * N_WHEN);
}

static int
setup(void **state)
{
	(void)state;
	eenv_keys(&env);
	model_new(&model, MAX_SIZE);
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
			    at[2], faults[at[1]].what);
	model_free(&model);
	eenv_keys_end(&env);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    what_was_flushed_survives_every_fault_of_the_store, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(
		    nothing_older_is_served_beside_a_bad_place, setup,
		    teardown),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
