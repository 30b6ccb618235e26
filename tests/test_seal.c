/*
 * test_seal.c - older versions of what snapshots have frozen are put back; and
 * of whole disks, with what names them.
 */
#include "catalog_private.h"
#include "rollback_env.h"
#include "snapshot.h"

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
	const atomic_bool stop = false;

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

/* A chunk that was another layer's. */
static void
what_has_passed_has_its_digest(void **state)
{
	(void)state;
	begin();
	attach();
	put(b, 0);
	snap("s");
	put(b, 4 * MiB);
	snap("t");
	sweep();
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, "d@s"));
	sweep();
	detach();
	snapshot_holds("d@t", b, 0);
	put_back("old", CHUNK_0);
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "d@t", 0, &disk));
	assert_err(disk_read(disk, env.s, io, 4 * KiB, 0), EBADMSG);
	holds(b, 4 * MiB);
	holds(a, FAR);
	detach();
}

/* Nor does that make right what was put back. */
static void
a_merge_does_not_make_right_an_older_chunk(void **state)
{
	(void)state;
	begin();
	attach();
	put(b, 0);
	snap("s");
	put(a, 20 * MiB);
	detach();
	save("old");
	attach();
	put(b, 20 * MiB);
	snap("t");
	sweep();
	is_sealed("d@t");
	detach();
	put_back("old", "lineages/*/chunks/0000/0000005-*.chunk");
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, "d@s"));
	sweep();
	is_sealed("d@t");
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "d@t", 0, &disk));
	assert_err(disk_read(disk, env.s, io, 4 * KiB, 20 * MiB), EBADMSG);
	holds(b, 0);
	holds(a, FAR);
	detach();
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

/* ---- with what names it ---- */

#define ALL "disks lineages snapshots"

static int
use_anchor(struct descriptor *d, void *arg)
{
	(void)arg;
	strcpy(d->anchor, "kms");
	return 0;
}

static void
anchor(void)
{
	attach();
	assert_ok(disk_update(disk, use_anchor, NULL));
	detach();
}

static void
all_of_it_is_known_where_it_is_anchored(void **state)
{
	(void)state;
	begin_changed();
	put_back("old", "disks lineages");
	attach(); /* without an anchor nobody can tell */
	holds(a, 0);
	detach();
	anchor();
	begin_changed();
	put_back("old", "disks lineages");
	assert_err(try_attach(0), ESTALE);
	for (unsigned i = 0; i < 4; i++) {
		assert_ok(try_attach(DISK_READ_ONLY));
		holds(a, 0);
		detach();
		assert_err(try_attach(0), ESTALE);
	}
	put_back("new", "disks lineages");
	attach();
	holds(b, 0);
	detach();
	put_back("old", "disks lineages");
	assert_ok(try_attach(DISK_ACCEPT_ROLLBACK));
	holds(a, 0);
	kill_it();
	attach();
	holds(a, 0);
	background();
	detach();
	attach();
	detach();
	put_back("new", "disks lineages");
	assert_err(try_attach(0), ESTALE);
}

/* The descriptor of then says that there is no anchor. */
static void
an_anchor_is_not_got_rid_of(void **state)
{
	(void)state;
	begin();
	anchor();
	put_back("old", "disks lineages");
	assert_err(try_attach(0), ESTALE);
	assert_ok(try_attach(DISK_ACCEPT_ROLLBACK));
	detach();
	attach();
	holds(a, 0);
	detach();
}

static void
an_anchor_that_is_behind_is_no_alarm(void **state)
{
	struct descriptor d;
	uint8_t digest[SHA256_LEN], now[SHA256_LEN];
	uint64_t g, later;

	(void)state;
	begin();
	anchor();
	descriptor(&d);
	assert_ok(kms_get_anchor(env.kms, &d.uuid, &g, digest));
	assert_int_equal(g, 2 * d.session + 1);
	assert_memory_equal(digest, d.digest, sizeof(digest));
	attach();
	put(b, 0);
	detach();
	assert_ok(kms_get_anchor(env.kms, &d.uuid, &later, now));
	assert_int_equal(later, g + 2);
	assert_err(kms_set_anchor(env.kms, &d.uuid, g, digest, false), ESTALE);
	assert_ok(kms_set_anchor(env.kms, &d.uuid, g, digest, true));
	attach();
	holds(b, 0);
	detach();
}

static void
a_snapshot_is_an_anchor_too(void **state)
{
	(void)state;
	begin();
	anchor();
	attach();
	put(b, 0);
	assert_ok(disk_flush(disk));
	save("before");
	snap("s");
	kill_it();
	save("after");
	put_back("before", ALL);
	assert_err(try_attach(0), ESTALE);
	put_back("after", ALL);
	attach();
	holds(b, 0);
	background();
	detach();
	/* Back to it, and back from that. */
	save("before");
	assert_ok(catalog_rollback(engine_catalog(env.e), env.kms, "d@s"));
	save("after");
	put_back("before", ALL);
	assert_err(try_attach(0), ESTALE);
	put_back("after", ALL);
	attach();
	holds(b, 0);
	detach();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_older_chunk_of_a_snapshot_is_refused),
		T(an_older_layer_of_a_snapshot_is_refused),
		T(a_disk_that_is_killed_leaves_its_snapshots_to_be_sealed),
		T(what_is_merged_into_a_sealed_layer_is_sealed_anew),
		T(what_has_passed_has_its_digest),
		T(a_merge_does_not_make_right_an_older_chunk),
		T(a_clone_knows_what_it_stands_on),
		T(a_siblings_chunk_or_layer_is_refused),
		T(all_of_it_is_known_where_it_is_anchored),
		T(an_anchor_is_not_got_rid_of),
		T(an_anchor_that_is_behind_is_no_alarm),
		T(a_snapshot_is_an_anchor_too),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
