/*
 * test_rollback.c - older versions of a store's files are put back, each of
 * which was authentic once.
 */
#include "engine_env.h"
#include "catalog_private.h"
#include "engine_private.h"
#include "snapshot.h"

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
is_not_read(uint64_t off)
{
	struct disk_stats st;

	assert_err(disk_read(disk, env.s, io, 4 * KiB, off), EBADMSG);
	disk_stats(disk, &st);
	assert_true(st.faults > 0);
}

static void
is_refused(uint64_t off)
{
	is_not_read(off);
	assert_err(disk_write(disk, env.s, a, 4 * KiB, off), EBADMSG);
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

/* ---- what is frozen ---- */

static void
snap(const char *name)
{
	struct snapshot_request req = { disk, DESC_SNAPSHOT, name };

	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
}

static void
sweep(void)
{
	bool stop = false;

	engine_sweep(env.e, &stop);
}

static void
of_snapshot(const char *name, struct descriptor *ret, struct layer_meta *m)
{
	assert_ok(catalog_load(engine_catalog(env.e), DESC_SNAPSHOT, name, ret,
			       NULL, NULL));
	assert_ok(layer_peek(env.st, &ret->layer, m));
}

/* It is sealed, and its descriptor says so. */
static void
is_sealed(const char *name)
{
	struct descriptor d;
	struct layer_meta m;

	of_snapshot(name, &d, &m);
	assert_int_equal(m.state, LAYER_SEALED);
	assert_false(digest_is_none(m.digest));
	assert_memory_equal(m.digest, d.digest, SHA256_LEN);
}

/* And so does the layer of the disk above it. */
static void
is_known_to_disk(const char *name)
{
	struct descriptor d, s;
	struct layer_meta m, parent;

	of_snapshot(name, &s, &parent);
	descriptor(&d);
	assert_ok(layer_peek(env.st, &d.layer, &m));
	assert_memory_equal(m.parent_digest, parent.digest, SHA256_LEN);
}

static void
snapshot_holds(const char *name, const uint8_t *buf, uint64_t off)
{
	struct disk *of = disk;

	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, name, 0, &disk));
	holds(buf, off);
	assert_ok(disk_detach(disk));
	disk = of;
}

/* A snapshot of ${b} at 0 and ${a} elsewhere; "old" is from before. */
static void
begin_frozen(void)
{
	begin();
	attach();
	put(b, 0);
	snap("s");
	save("frozen");
	sweep();
	is_sealed("d@s");
	is_known_to_disk("d@s");
	detach();
}

static void
an_older_chunk_of_a_snapshot_is_refused(void **state)
{
	(void)state;
	begin_frozen();
	attach();
	holds(b, 0);
	detach();
	snapshot_holds("d@s", b, 0);
	put_back("old", CHUNK_0);
	attach();
	is_not_read(0);
	holds(a, FAR);
	detach();
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "d@s", 0, &disk));
	assert_err(disk_read(disk, env.s, io, 4 * KiB, 0), EBADMSG);
	holds(a, FAR);
	detach();
}

/* As it was before it was sealed, which was right then. */
static void
an_older_layer_of_a_snapshot_is_refused(void **state)
{
	char dir[STORE_PATH_LEN];
	struct descriptor d;
	struct layer_meta m;

	(void)state;
	begin_frozen();
	of_snapshot("d@s", &d, &m);
	path_layer(&d.layer, "", dir);
	put_back("frozen", dir);
	assert_err(disk_attach(env.e, DESC_SNAPSHOT, "d@s", 0, &disk), EBADMSG);
	attach();
	assert_err(disk_read(disk, env.s, io, 4 * KiB, 0), EBADMSG);
	detach();
	/* Nor is it sealed, which would make it right. */
	sweep();
	assert_err(disk_attach(env.e, DESC_SNAPSHOT, "d@s", 0, &disk), EBADMSG);
	/* And while the disk could still write it. */
	put_back("old", dir);
	assert_err(disk_attach(env.e, DESC_SNAPSHOT, "d@s", 0, &disk), EBADMSG);
}

static void
a_disk_that_is_killed_leaves_its_snapshots_to_be_sealed(void **state)
{
	(void)state;
	begin();
	attach();
	put(b, 0);
	snap("s");
	put(b, 8 * MiB);
	assert_ok(disk_flush(disk));
	kill_it();
	sweep();
	is_sealed("d@s");
	is_known_to_disk("d@s");
	snapshot_holds("d@s", b, 0);
	put_back("old", CHUNK_0);
	attach();
	is_not_read(0);
	holds(b, 8 * MiB);
	detach();
}

static void
what_is_merged_into_a_sealed_layer_is_sealed_anew(void **state)
{
	char dir[STORE_PATH_LEN];
	uint8_t before[SHA256_LEN];
	struct descriptor d;
	struct layer_meta m;

	(void)state;
	begin();
	attach();
	put(b, 0);
	snap("s");
	put(b, 4 * MiB);
	put(a, 128 * KiB);
	snap("t");
	put(a, 12 * MiB);
	sweep();
	of_snapshot("d@t", &d, &m);
	memcpy(before, m.digest, sizeof(before));
	save("two");
	/* Into that of t, which the disk has open below its own. */
	holds(b, 0);
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, "d@s"));
	sweep();
	is_sealed("d@t");
	is_known_to_disk("d@t");
	of_snapshot("d@t", &d, &m);
	assert_memory_not_equal(before, m.digest, sizeof(before));
	holds(b, 0);
	detach();
	attach();
	holds(b, 0);
	holds(a, 128 * KiB);
	detach();
	snapshot_holds("d@t", b, 4 * MiB);
	snapshot_holds("d@t", a, FAR);
	path_layer(&d.layer, "", dir);
	put_back("two", dir);
	assert_err(disk_attach(env.e, DESC_SNAPSHOT, "d@t", 0, &disk), EBADMSG);
}

static void
a_clone_knows_what_it_stands_on(void **state)
{
	struct clone_params p = { .name = "c", .mode = 0600 };
	struct layer_meta m;
	struct descriptor d;

	(void)state;
	begin_frozen();
	assert_ok(catalog_clone(engine_catalog(env.e), env.kms, DESC_SNAPSHOT,
				"d@s", &p, &d));
	assert_ok(layer_peek(env.st, &d.layer, &m));
	assert_false(digest_is_none(m.parent_digest));
	put_back("old", CHUNK_0);
	assert_ok(disk_attach(env.e, DESC_DISK, "c", 0, &disk));
	is_not_read(0);
	holds(a, FAR);
	detach();
}

/* Of one DK, and in the same place. */
static void
a_siblings_chunk_or_layer_is_refused(void **state)
{
	struct clone_params p = { .name = "c", .mode = 0600 };
	char to[STORE_PATH_LEN], from[STORE_PATH_LEN];
	struct descriptor c, d;

	(void)state;
	begin_frozen();
	assert_ok(catalog_clone(engine_catalog(env.e), env.kms, DESC_SNAPSHOT,
				"d@s", &p, &c));
	assert_ok(disk_attach(env.e, DESC_DISK, "c", 0, &disk));
	put(a, 20 * MiB);
	detach();
	attach();
	put(b, 20 * MiB);
	detach();
	descriptor(&d);
	shell("cd %s/store/lineages/*/chunks/0000 && set -- 0000005-* && "
	      "cp $1 x && cp $2 $1 && mv x $2",
	      env.dir);
	attach();
	assert_err(disk_read(disk, env.s, io, 4 * KiB, 20 * MiB), EBADMSG);
	detach();
	path_layer(&c.layer, "map", from);
	path_layer(&d.layer, "map", to);
	shell("cd %s/store && cp --sparse=always %s %s", env.dir, from, to);
	assert_true(try_attach(0) < 0);
	path_layer(&c.layer, "digests", from);
	path_layer(&d.layer, "digests", to);
	shell("cd %s/store && cp %s %s", env.dir, from, to);
	assert_err(try_attach(0), ESTALE);
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
		T(an_older_chunk_of_a_snapshot_is_refused),
		T(an_older_layer_of_a_snapshot_is_refused),
		T(a_disk_that_is_killed_leaves_its_snapshots_to_be_sealed),
		T(what_is_merged_into_a_sealed_layer_is_sealed_anew),
		T(a_clone_knows_what_it_stands_on),
		T(a_siblings_chunk_or_layer_is_refused),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
