/*
 * test_rollback.c - older versions of a store's files are put back, each of
 * which was authentic once.
 */
#include "engine_env.h"
#include "engine_private.h"

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (600 * MiB) /* two map pages */
#define FAR (550 * MiB)

#define CHUNK_0 "lineages/*/chunks/0000/0000000-*.chunk"
#define MAP "lineages/*/layers/*/map"
#define DIGESTS "lineages/*/layers/*/digests"
#define LAYER_INI "lineages/*/layers/*/layer.ini"
#define DESCRIPTOR "disks/d.ini"

static struct engine_env env;
static struct disk *disk;
static uint8_t a[64 * KiB], b[64 * KiB], io[64 * KiB];

/* ---- the store as it was ---- */

static void
shell(const char *fmt, ...)
{
	char cmd[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0);
}

static void
save(const char *as)
{
	shell("cd %s && rm -rf %s && cp -a --sparse=always store %s", env.dir,
	      as, as);
}

/* What ${pattern} names of the store ${as}. */
static void
put_back(const char *as, const char *pattern)
{
	shell("cd %s/%s && for f in %s; do [ -e $f ] && "
	      "rm -rf ../store/$f && cp -a --sparse=always $f ../store/$f "
	      "|| exit 1; done",
	      env.dir, as, pattern);
}

/* ---- the disk ---- */

static int
try_attach(int flags)
{
	return disk_attach(env.e, DESC_DISK, "d", flags, &disk);
}

static void
attach(void)
{
	assert_ok(try_attach(0));
}

static void
detach(void)
{
	assert_ok(disk_detach(disk));
}

static void
kill_it(void)
{
	disk_abandon(disk);
	eenv_reopen(&env);
}

static void
put(const uint8_t *buf, uint64_t off)
{
	assert_ok(disk_write(disk, env.s, buf, sizeof(a), off));
}

static void
holds(const uint8_t *buf, uint64_t off)
{
	assert_ok(disk_read(disk, env.s, io, sizeof(io), off));
	assert_memory_equal(io, buf, sizeof(io));
}

static void
is_refused(uint64_t off)
{
	struct disk_stats st;

	assert_err(disk_read(disk, env.s, io, 4 * KiB, off), EBADMSG);
	assert_err(disk_write(disk, env.s, a, 4 * KiB, off), EBADMSG);
	disk_stats(disk, &st);
	assert_true(st.faults > 0);
}

/* A quiet half minute, in no time. */
static void
background(void)
{
	env.e->quiet_ms = 0;
	for (unsigned i = 0; i < 20; i++)
		assert_ok(disk_background(disk));
	env.e->quiet_ms = 3000;
}

/* ${a} at 0, at 4 MiB and far away, saved as "old". */
static void
begin(void)
{
	attach();
	put(a, 0);
	put(a, 4 * MiB);
	put(a, FAR);
	detach();
	save("old");
}

/* And ${b} at 0 since then. */
static void
begin_changed(void)
{
	begin();
	attach();
	put(b, 0);
	detach();
	save("new");
}

static void
descriptor(struct descriptor *ret)
{
	assert_ok(catalog_load(engine_catalog(env.e), DESC_DISK, "d", ret, NULL,
			       NULL));
}

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
	uint64_t before;

	(void)state;
	begin();
	descriptor(&d);
	before = d.digest_session;
	attach();
	put(b, 0);
	assert_ok(disk_flush(disk));
	kill_it();
	attach();
	detach(); /* there was no time for that */
	descriptor(&d);
	assert_int_equal(d.digest_session, before);
	attach();
	background();
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

static int
setup(void **state)
{
	(void)state;
	eenv_begin(&env, NULL, CIPHER_AES256_GCM);
	eenv_create(&env, "d", SIZE);
	fill_pattern(a, sizeof(a), 1);
	fill_pattern(b, sizeof(b), 2);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	eenv_end(&env);
	return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_older_chunk_is_refused),
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
