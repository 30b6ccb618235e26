/*
 * test_rollback.c - older versions of a disk's files are put back, each of
 * which was authentic once.
 */
#include "rollback_env.h"
#include "scrub.h"

/* ---- chunks ---- */

static void
an_older_chunk_is_refused(void **state)
{
	(void)state;
	begin_changed();
	put_back("old", CHUNK_0);
	for (unsigned i = 0; i < 2; i++) {
		attach();
		is_refused(0);
		holds(a, 4 * MiB);
		holds(a, FAR);
		put(b, 4 * MiB + MiB);
		background();
		is_refused(0);
		detach();
	}
	put_back("new", CHUNK_0);
	attach();
	holds(b, 0);
	detach();
}

static void
an_older_chunk_is_found_by_who_looks_for_damage(void **state)
{
	const struct scrub_options o = { .blocks = true };
	struct scrub_totals t;

	(void)state;
	begin_changed();
	put_back("old", CHUNK_0);
	attach();
	assert_ok(disk_scrub(disk, env.s, &o, &t));
	assert_int_equal(t.faults[SCRUB_CHUNK], 1);
	assert_int_equal(t.lost, 4 * MiB);
	detach();
}

static void
one_older_page_of_a_chunk_is_refused(void **state)
{
	static const char dd[] =
	    "cd %s/store && for f in " CHUNK_0 "; do "
	    "dd if=../old/$f of=$f bs=4096 count=1 seek=%u skip=%u "
	    "conv=notrunc 2>/dev/null || exit 1; done";

	(void)state;
	begin_changed();
	/* Both copies of the first, and what its entries name is there. */
	shell(dd, env.dir, 1, 1);
	shell(dd, env.dir, 9, 9);
	attach();
	is_refused(0);
	detach();
	/* A page that says it is newer does not excuse the others. */
	put_back("old", CHUNK_0);
	shell("cd %s/store && for f in " CHUNK_0 "; do for at in 5 13; do "
	      "printf '\\377\\377\\377\\377' | dd of=$f bs=1 "
	      "seek=$((at * 4096 + 24)) conv=notrunc 2>/dev/null || exit 1; "
	      "done; done",
	      env.dir);
	attach();
	assert_ok(disk_read(disk, env.s, io, 4 * KiB, 0));
	{
		/* Of a chunk with a broken page it is not known: an event. */
		struct disk_stats st;

		disk_stats(disk, &st);
		assert_true(st.faults > 0);
	}
	detach();
}

static void
a_chunk_that_was_there_before_a_kill_is_refused_after_it(void **state)
{
	(void)state;
	begin_changed();
	attach();
	put(a, 8 * MiB);
	assert_ok(disk_flush(disk));
	kill_it();
	put_back("old", CHUNK_0);
	attach();
	is_refused(0);
	holds(a, 8 * MiB);
	detach();
}

/* Nobody knows what has changed, so all is looked at. */
static void
what_changed_before_a_kill_is_known_after_a_while(void **state)
{
	struct descriptor d;

	(void)state;
	begin();
	attach();
	put(b, 0);
	assert_ok(disk_flush(disk));
	kill_it();
	attach();
	detach();
	descriptor(&d);
	assert_int_equal(d.digest_session, d.session);
	put_back("old", CHUNK_0);
	attach();
	is_refused(0);
	holds(a, FAR);
	detach();
}

static void
what_is_written_in_a_session_is_its_own(void **state)
{
	(void)state;
	begin();
	attach();
	put(b, 0);
	background();
	put(a, 0);
	background();
	put(b, 0);
	detach();
	attach();
	holds(b, 0);
	detach();
}

/* ---- maps, and the list of their pages ---- */

static void
an_older_map_page_is_refused(void **state)
{
	(void)state;
	begin();
	attach();
	put(b, 8 * MiB);
	detach();
	put_back("old", MAP);
	attach();
	is_refused(8 * MiB);
	is_refused(0);
	holds(a, FAR);
	detach();
}

static void
an_older_root_page_is_refused(void **state)
{
	(void)state;
	attach();
	put(a, 0);
	detach();
	save("old");
	attach();
	put(a, FAR);
	detach();
	put_back("old", MAP);
	assert_err(try_attach(0), ESTALE);
	assert_ok(try_attach(DISK_READ_ONLY));
	holds(a, 0);
	detach();
	assert_err(try_attach(0), ESTALE);
}

static void
an_older_list_is_refused(void **state)
{
	(void)state;
	begin_changed();
	put_back("old", DIGESTS);
	assert_err(try_attach(0), ESTALE);
	shell("rm %s/store/" DIGESTS, env.dir);
	assert_err(try_attach(0), ESTALE);
	put_back("new", DIGESTS);
	shell("printf x | dd of=$(echo %s/store/" DIGESTS ") bs=1 seek=50 "
	      "conv=notrunc 2>/dev/null",
	      env.dir);
	assert_err(try_attach(0), ESTALE);
	put_back("new", DIGESTS);
	attach();
	holds(b, 0);
	detach();
}

/* ---- all of it ---- */

static void
an_older_disk_is_refused(void **state)
{
	(void)state;
	begin_changed();
	put_back("old", "lineages");
	assert_err(try_attach(0), ESTALE);
	/* To look at it changes nothing. */
	assert_ok(try_attach(DISK_READ_ONLY));
	holds(a, 0);
	detach();
	assert_err(try_attach(0), ESTALE);
	put_back("new", "lineages");
	attach();
	holds(b, 0);
	detach();
}

static void
an_older_disk_is_taken_where_that_is_said(void **state)
{
	(void)state;
	begin_changed();
	put_back("old", "lineages");
	assert_ok(try_attach(DISK_ACCEPT_ROLLBACK));
	holds(a, 0);
	background();
	detach();
	/* From now on that is the state. */
	attach();
	holds(a, 0);
	put(b, 0);
	detach();
	put_back("new", CHUNK_0);
	attach();
	is_refused(0);
	detach();
	/* Nor is that what it was. */
	put_back("new", "lineages");
	assert_err(try_attach(0), ESTALE);
}

/* The whole disk as it was: nothing in the store says that it was another. */
static void
an_older_descriptor_does_no_harm(void **state)
{
	(void)state;
	begin_changed();
	put_back("old", DESCRIPTOR);
	attach();
	holds(b, 0);
	holds(a, FAR);
	background();
	detach();
	put_back("old", CHUNK_0);
	attach();
	is_refused(0);
	detach();
}

/* A store that was made before there were checkpoints. */
static void
a_disk_without_a_checkpoint_gets_one(void **state)
{
	struct descriptor d;

	(void)state;
	begin();
	assert_ok(try_attach(DISK_ACCEPT_ROLLBACK));
	kill_it();
	descriptor(&d);
	assert_true(digest_is_none(d.digest));
	shell("rm %s/store/" DIGESTS, env.dir);
	attach();
	background();
	detach();
	descriptor(&d);
	assert_false(digest_is_none(d.digest));
	assert_true(d.checkpointed > 0);
	attach();
	holds(a, FAR);
	detach();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_older_chunk_is_refused),
		T(an_older_chunk_is_found_by_who_looks_for_damage),
		T(one_older_page_of_a_chunk_is_refused),
		T(a_chunk_that_was_there_before_a_kill_is_refused_after_it),
		T(what_changed_before_a_kill_is_known_after_a_while),
		T(what_is_written_in_a_session_is_its_own),
		T(an_older_map_page_is_refused),
		T(an_older_root_page_is_refused),
		T(an_older_list_is_refused),
		T(an_older_disk_is_refused),
		T(an_older_disk_is_taken_where_that_is_said),
		T(an_older_descriptor_does_no_harm),
		T(a_disk_without_a_checkpoint_gets_one),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
