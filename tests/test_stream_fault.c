/*
 * test_stream_fault.c - receives that were cut, and stores that fail.
 *
 * Wherever a receive stops, nothing of it has a name; it can be gone on with,
 * from the very place or from the start, and comes to what was sent; or it is
 * given up, and nothing is left.
 */
#include "stream_env.h"

#include <sealdisk/log.h>

static int
setup(void **state)
{
	(void)state;
	begin_stores(CIPHER_AES256_GCM);
	make_chain();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	end_stores();
	return 0;
}

static unsigned
some(unsigned few)
{
	return test_is_slow() ? 1 : test_is_watched() ? 4 * few : few;
}

static int
token(const char *name, char out[static STREAM_TOKEN_LEN])
{
	struct stream_name n = named(name);

	return stream_token(engine_catalog(to.e), &n, out);
}

static int
give_up(const char *name)
{
	struct stream_name n = named(name);

	return stream_abort(engine_catalog(to.e), &n);
}

static void
remove_it(const char *name)
{
	assert_ok(catalog_remove(engine_catalog(to.e), named(name).type, name));
	sweep(&to);
}

/* ---- cut and gone on with ---- */

static void
cut_at(size_t where)
{
	sent.limit = where;
	assert_err(try_receive("e@x"), ENODATA);
	assert_string_equal(names_in(&to), "");
}

/* What is half there is not swept, and goes on, there or from the start. */
static bool
goes_on(const char *base, bool from_start)
{
	char t[STREAM_TOKEN_LEN];
	size_t whole = sent.len;
	bool there = token("e@x", t) == 0;

	sweep(&to);
	eenv_reopen(&to);
	assert_true(there == (token("e@x", t) == 0));
	assert_ok(try_send("d@three", base, there && !from_start ? t : NULL));
	if (there && !from_start)
		assert_true(sent.len <= whole);
	assert_ok(try_receive("e@x"));
	assert_same_content("d@three", "e@x");
	assert_err(token("e@x", t), ENOENT);
	assert_int_equal(files_in(&to, "receiving"), 0);
	return there;
}

static void
a_receive_that_was_cut_goes_on(void **state)
{
	unsigned resumed = 0, n = 5 * some(3);
	size_t len;

	(void)state;
	send_it("d@three", NULL);
	len = sent.len;
	for (unsigned i = 1; i < n; i++) {
		send_it("d@three", NULL);
		cut_at(len * i / n + i);
		resumed += goes_on(NULL, i % 3 == 0);
		remove_it("e@x");
		assert_int_equal(files_in(&to, "lineages"), 0);
	}
	assert_true(resumed > n / 2);
}

static void
an_incremental_one_goes_on_without_saying_so(void **state)
{
	uint64_t before;

	(void)state;
	send_it("d@one", NULL);
	assert_ok(try_receive("e@1"));
	before = files_in(&to, "lineages");
	for (unsigned i = 1; i < 8; i++) {
		send_it("d@three", "d@one");
		sent.limit = sent.len * i / 8;
		assert_err(try_receive("e@x"), ENODATA);
		goes_on("d@one", i % 2);
		remove_it("e@x");
		assert_true(before == files_in(&to, "lineages"));
	}
	assert_same_content("d@one", "e@1");
}

static void
it_can_be_cut_again_and_again(void **state)
{
	char t[STREAM_TOKEN_LEN];
	unsigned n = 0;
	int r = -ENODATA;

	(void)state;
	send_it("d@three", NULL);
	while (r == -ENODATA) {
		bool there;

		assert_true(n++ < 100);
		there = token("e@x", t) == 0;
		assert_ok(try_send("d@three", NULL, there ? t : NULL));
		if (sent.limit > 5 * MiB + n * 4096)
			sent.limit = 5 * MiB + n * 4096; /* a chunk or more */
		r = try_receive("e@x");
	}
	assert_ok(r);
	assert_true(n > 2);
	assert_same_content("d@three", "e@x");
}

static void
what_is_given_up_is_swept(void **state)
{
	struct stream_name n = named("e@x");

	(void)state;
	send_it("d@three", NULL);
	cut_at(sent.len / 2);
	sweep(&to);
	assert_int_not_equal(files_in(&to, "lineages"), 0);
	assert_ok(stream_abort(engine_catalog(to.e), &n));
	assert_err(stream_abort(engine_catalog(to.e), &n), ENOENT);
	sweep(&to);
	assert_int_equal(files_in(&to, "lineages"), 0);
}

static void
a_stream_that_goes_on_elsewhere_is_refused(void **state)
{
	char t[STREAM_TOKEN_LEN];

	(void)state;
	send_it("d@three", NULL);
	cut_at(sent.len / 2);
	assert_ok(token("e@x", t));
	assert_err(try_send("d@two", NULL, t), ESTALE);
	assert_err(try_send("d@three", NULL, "nonsense"), EINVAL);
	assert_ok(try_send("d@three", NULL, t));
	assert_err(try_receive("e@y"), EBUSY);
	assert_ok(give_up("e@x"));
	sweep(&to);
	/* The first half is not here any more. */
	assert_err(try_receive("e@x"), ESTALE);
	assert_int_equal(files_in(&to, "receiving"), 0);
	send_it("d@three", NULL);
	assert_ok(try_receive("e@x"));
}

static void
another_one_does_not_take_its_place(void **state)
{
	(void)state;
	send_it("d@three", NULL);
	cut_at(sent.len / 2);
	send_it("d@two", NULL);
	assert_err(try_receive("e@x"), EBUSY);
	assert_err(try_receive("e@y"), EBUSY);
	send_it("d@three", NULL);
	assert_err(try_receive("e@y"), EBUSY);
	assert_ok(try_receive("e@x"));
	send_it("d@two", NULL);
	assert_ok(try_receive("e@y"));
	assert_same_content("d@three", "e@x");
	assert_same_content("d@two", "e@y");
}

/* The third file that is removed is the mark, after those that there might have
 * been of two maps. */
static void
a_mark_that_outlived_a_crash_goes(void **state)
{
	char t[STREAM_TOKEN_LEN];

	(void)state;
	fault_kinds(to.st, FAULT_REMOVE);
	for (unsigned i = 0; i < 2; i++) {
		send_it("d@two", NULL);
		fault_arm(to.st, 3, -EIO, false);
		assert_ok(try_receive("e@x"));
		fault_arm(to.st, 0, 0, false);
		assert_ok(token("e@x", t));
		if (i == 0) {
			eenv_reopen(&to);
			assert_err(token("e@x", t), ENOENT);
		}
		remove_it("e@x");
		assert_err(token("e@x", t), ENOENT);
		assert_int_equal(files_in(&to, "lineages"), 0);
	}
}

/* ---- stores that fail ---- */

static bool
fails_once(unsigned nth, bool lasting, int err, enum fault_mode mode)
{
	bool fired;
	int r;

	fault_mode(to.st, mode);
	fault_arm(to.st, nth, err, lasting);
	r = try_receive("e@x");
	fired = fault_fired(to.st);
	fault_arm(to.st, 0, 0, false);
	assert_true(r == 0 || fired);
	if (r == 0)
		assert_same_content("d@two", "e@x");
	/* Which takes away a mark that could not be. */
	eenv_reopen(&to);
	if (r == 0)
		assert_int_equal(files_in(&to, "receiving"), 0);
	if (*names_in(&to)) {
		assert_same_content("d@two", "e@x");
	} else {
		sweep(&to);
		assert_ok(try_receive("e@x"));
		assert_same_content("d@two", "e@x");
	}
	remove_it("e@x");
	assert_int_equal(files_in(&to, "lineages"), 0);
	assert_int_equal(files_in(&to, "receiving"), 0);
	return fired;
}

static void
a_store_that_fails_holds_all_or_nothing(void **state)
{
	static const enum fault_mode modes[] = { FAULT_BEFORE, FAULT_AFTER,
						 FAULT_HALF };
	unsigned few = some(23);

	(void)state;
	for (unsigned how = 0; how < 6; how++) {
		unsigned nth = 1 + how % few;

		/* A read that fails does not leave the store as it was made
		 * after; that a change was made and is said not to be does. */
		fault_kinds(to.st, how / 2 ? FAULT_CHANGES : FAULT_ALL);
		send_it("d@two", NULL);
		while (fails_once(nth, how & 1, how / 2 == 2 ? -ENOSPC : -EIO,
				  modes[how / 2]))
			nth += few;
	}
}

/* All calls fail from the Nth on, then the power is gone. */
static bool
power_cut(unsigned nth)
{
	bool fired;
	int r;

	fault_arm(to.st, nth, -EIO, true);
	r = try_receive("e@x");
	fired = fault_fired(to.st);
	engine_close(to.e);
	mem_store_crash(fault_inner(to.st), nth);
	fault_arm(to.st, 0, 0, false);
	eenv_open(&to);
	if (r == 0 || *names_in(&to)) {
		assert_same_content("d@two", "e@x");
		sweep(&to);
	} else {
		sweep(&to);
		if (nth % 2)
			(void)give_up("e@x");
		sweep(&to);
		assert_ok(try_receive("e@x"));
		assert_same_content("d@two", "e@x");
	}
	remove_it("e@x");
	assert_int_equal(files_in(&to, "lineages"), 0);
	assert_int_equal(files_in(&to, "receiving"), 0);
	return fired;
}

static void
a_power_cut_leaves_all_or_nothing(void **state)
{
	unsigned few = some(5);

	(void)state;
	fault_kinds(to.st, FAULT_ALL);
	fault_mode(to.st, FAULT_BEFORE);
	send_it("d@two", NULL);
	for (unsigned nth = 1; power_cut(nth); nth += few)
		;
}

/* The same into a lineage that is there: it keeps what it had. */
static void
a_power_cut_spares_what_is_there(void **state)
{
	unsigned few = some(7), nth = 1;
	uint64_t before;
	bool fired = true;

	(void)state;
	send_it("d@one", NULL);
	assert_ok(try_receive("e@1"));
	before = files_in(&to, "lineages");
	send_it("d@three", "d@one");
	for (; fired; nth += few) {
		int r;

		fault_arm(to.st, nth, -EIO, true);
		r = try_receive("e@x");
		fired = fault_fired(to.st);
		engine_close(to.e);
		mem_store_crash(fault_inner(to.st), nth);
		fault_arm(to.st, 0, 0, false);
		eenv_open(&to);
		if (r == 0 || strstr(names_in(&to), "e@x"))
			assert_same_content("d@three", "e@x");
		else
			(void)give_up("e@x");
		if (strstr(names_in(&to), "e@x"))
			remove_it("e@x");
		sweep(&to);
		assert_true(before == files_in(&to, "lineages"));
		assert_int_equal(files_in(&to, "receiving"), 0);
		assert_same_content("d@one", "e@1");
	}
}

/* ---- what a crash has left on the sending side ---- */

/* Groups of the stream that have both copies of their page. */
static unsigned
unsettled(void)
{
	unsigned n = 0;

	for (size_t o = 0; o < sent.len;) {
		struct reader r = reader_over(sent.p + o + 8, 4);

		n += sent.p[o + 4] == 6 && sent.p[o + 40 + 8] == 2;
		o += 40 + get_u32(&r);
	}
	return n;
}

/* A snapshot of a disk whose groups have not been read since a crash: some of
 * their copies differ, and which stands is for the receiver to find out. */
static void
a_layer_that_a_crash_left_unsettled_travels(void **state)
{
	struct snapshot_request q = { .type = DESC_SNAPSHOT };
	char name[16], full[24];
	unsigned n = 0;
	struct disk *d;

	(void)state;
	eenv_stop(&from);
	new_store(&from, CIPHER_AES256_GCM);
	eenv_create(&from, "d", SIZE);
	for (unsigned i = 0; i < some(8) * 3 + 9; i++) {
		assert_ok(disk_attach(from.e, DESC_DISK, "d", 0, &d));
		for (unsigned j = 0; j < 40; j++)
			write_at(d, (i * 7 + j * 13) % 100 * 64 * KiB, 8 * KiB,
				 i * 100 + j);
		assert_ok(disk_flush(d));
		for (unsigned j = 0; j < 40; j++)
			write_at(d, (i * 5 + j * 11) % 100 * 64 * KiB, 4 * KiB,
				 i * 101 + j);
		fault_kinds(from.st, FAULT_SYNCS);
		fault_arm(from.st, 1 + i % 3, -EIO, true);
		(void)!disk_flush(d);
		fault_arm(from.st, 0, 0, false);
		disk_abandon(d);
		engine_close(from.e);
		mem_store_crash(fault_inner(from.st), i);
		eenv_open(&from);

		(void)snprintf(name, sizeof(name), "s%u", i);
		(void)snprintf(full, sizeof(full), "d@%s", name);
		q.name = name;
		assert_ok(disk_attach(from.e, DESC_DISK, "d", 0, &q.disk));
		assert_ok(disks_snapshot(from.e, from.s, &q, 1));
		assert_ok(disk_detach(q.disk));
		send_it(full, NULL);
		n += unsettled();
		assert_ok(try_receive(full));
		assert_same_content(full, full);
	}
	assert_true(n > 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_receive_that_was_cut_goes_on),
		T(an_incremental_one_goes_on_without_saying_so),
		T(it_can_be_cut_again_and_again),
		T(what_is_given_up_is_swept),
		T(a_stream_that_goes_on_elsewhere_is_refused),
		T(another_one_does_not_take_its_place),
		T(a_mark_that_outlived_a_crash_goes),
		T(a_store_that_fails_holds_all_or_nothing),
		T(a_power_cut_leaves_all_or_nothing),
		T(a_power_cut_spares_what_is_there),
		T(a_layer_that_a_crash_left_unsettled_travels),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
