/*
 * test_ownkey.c - clones that have a data key of their own, over layers that
 * are under another.
 */
#include "engine_env.h"
#include "catalog_private.h"
#include "engine_private.h"
#include "snapshot.h"

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (9 * MiB) /* the last chunk is not whole */

struct content {
	uint8_t b[SIZE];
};

static struct engine_env env;
static struct content now, base, mine;
static uint8_t io[SIZE];

static struct catalog *
cat(void)
{
	return engine_catalog(env.e);
}

static struct disk *
attach(const char *name)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, DESC_DISK, name, 0, &d));
	return d;
}

static void
write_at(struct disk *d, struct content *c, uint64_t off, uint64_t len)
{
	static uint64_t seed;

	fill_pattern(c->b + off, len, ++seed);
	assert_ok(disk_write(d, env.s, c->b + off, len, off));
}

static void
snap(struct disk *d, enum desc_type type, const char *name)
{
	struct snapshot_request req = { d, type, name };

	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
}

static void
holds(struct disk *d, const struct content *c)
{
	struct disk_stats st;

	assert_ok(disk_read(d, env.s, io, SIZE, 0));
	assert_memory_equal(io, c->b, SIZE);
	disk_stats(d, &st);
	assert_int_equal(st.faults, 0);
}

static void
has(enum desc_type type, const char *name, const struct content *c)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, type, name, 0, &d));
	holds(d, c);
	assert_ok(disk_detach(d));
}

static void
sweep(void)
{
	const atomic_bool stop = false;

	engine_sweep(env.e, &stop);
}

static void
drop(enum desc_type type, const char *name)
{
	assert_ok(catalog_remove(cat(), type, name));
}

static struct descriptor
load(enum desc_type type, const char *name)
{
	struct descriptor d;

	assert_ok(catalog_load(cat(), type, name, &d, NULL, NULL));
	return d;
}

static int
clone_own(enum desc_type type, const char *from, const char *name)
{
	struct clone_params p = { .name = name,
				  .mode = 0600,
				  .own_key = KMS_SERVICE_ALIAS };
	struct descriptor d;

	return catalog_clone(cat(), env.kms, type, from, &p, &d);
}

static bool
is_marked(const struct uuid *lineage)
{
	char path[STORE_PATH_LEN];

	path_lineage(lineage, PENDING, path);
	return store_exists(env.st, path) == 1;
}

/* d with snapshots a and b, which have a layer each; ${base} is b. */
static void
make_disk(void)
{
	struct disk *d;

	eenv_create(&env, "d", SIZE);
	d = attach("d");
	memset(&now, 0, sizeof(now));
	write_at(d, &now, 0, 64 * KiB);
	write_at(d, &now, 4 * MiB, 16 * KiB);
	snap(d, DESC_SNAPSHOT, "a");
	write_at(d, &now, 8 * KiB, 8 * KiB);
	write_at(d, &now, 8 * MiB + 512, 100 * KiB);
	snap(d, DESC_SNAPSHOT, "b");
	base = now;
	write_at(d, &now, 12 * KiB, 4 * KiB);
	assert_ok(disk_detach(d));
}

static void
it_writes_under_its_own_and_reads_what_was_there_under_the_other(void **state)
{
	struct descriptor d, c;
	struct disk *disk;

	(void)state;
	make_disk();
	assert_ok(clone_own(DESC_SNAPSHOT, "d@b", "own"));
	d = load(DESC_DISK, "d");
	c = load(DESC_DISK, "own");
	assert_int_equal(c.n_keys, 2);
	assert_false(uuid_equal(&c.lineage, &d.lineage));
	assert_false(uuid_equal(&c.key, &d.key));
	assert_non_null(descriptor_key(&c, &d.key));
	assert_false(is_marked(&c.lineage));
	disk = attach("own");
	mine = base;
	holds(disk, &mine);
	write_at(disk, &mine, 4 * KiB, 10 * KiB);
	write_at(disk, &mine, 5 * MiB, 4 * KiB);
	assert_ok(disk_zero(disk, env.s, 4 * MiB, 8 * KiB));
	memset(mine.b + 4 * MiB, 0, 8 * KiB);
	holds(disk, &mine);
	assert_ok(disk_detach(disk));
	/* All that it has written lies in its own lineage. */
	assert_int_equal(eenv_entries(&env, &c.lineage, "chunks/0000"), 2);
	has(DESC_DISK, "own", &mine);
	has(DESC_DISK, "d", &now);
	has(DESC_SNAPSHOT, "d@b", &base);
}

static void
it_stays_when_all_that_it_comes_of_has_gone(void **state)
{
	struct descriptor d, c;

	(void)state;
	make_disk();
	assert_ok(clone_own(DESC_SNAPSHOT, "d@b", "own"));
	d = load(DESC_DISK, "d");
	c = load(DESC_DISK, "own");
	drop(DESC_DISK, "d");
	drop(DESC_SNAPSHOT, "d@b");
	drop(DESC_SNAPSHOT, "d@a");
	sweep();
	/* Of those below the first is merged into the second, and that one,
	 * which is under another DK, into none. */
	assert_int_equal(eenv_entries(&env, &d.lineage, "layers"), 1);
	assert_int_equal(eenv_entries(&env, &c.lineage, "layers"), 1);
	assert_false(is_marked(&d.lineage));
	has(DESC_DISK, "own", &base);
	drop(DESC_DISK, "own");
	sweep();
	eenv_reopen(&env);
	assert_int_equal(eenv_entries(&env, &d.lineage, NULL), 0);
	assert_int_equal(eenv_entries(&env, &c.lineage, NULL), 0);
}

static void
what_lies_below_is_merged_while_it_is_in_use(void **state)
{
	struct descriptor d;
	struct disk *disk;

	(void)state;
	make_disk();
	assert_ok(clone_own(DESC_SNAPSHOT, "d@b", "own"));
	d = load(DESC_DISK, "d");
	disk = attach("own");
	holds(disk, &base);
	drop(DESC_SNAPSHOT, "d@a");
	sweep();
	assert_int_equal(eenv_entries(&env, &d.lineage, "layers"), 2);
	holds(disk, &base);
	assert_ok(disk_detach(disk));
	has(DESC_SNAPSHOT, "d@b", &base);
}

/* Whoever merges there has not the clone's key, and cannot tell it. */
static void
a_merge_below_it_is_no_older_state_to_it(void **state)
{
	struct descriptor d;

	(void)state;
	make_disk();
	sweep();
	assert_ok(clone_own(DESC_SNAPSHOT, "d@b", "own"));
	d = load(DESC_DISK, "d");
	has(DESC_DISK, "own", &base);
	drop(DESC_SNAPSHOT, "d@a");
	sweep();
	assert_int_equal(eenv_entries(&env, &d.lineage, "layers"), 2);
	has(DESC_DISK, "own", &base);
	has(DESC_SNAPSHOT, "d@b", &base);
}

/* As a clone of a disk is made. */
static void
one_that_got_its_key_later_kept_that_digest(void **state)
{
	struct clone_params p = { .name = "own", .mode = 0600 };
	struct descriptor d;

	(void)state;
	make_disk();
	sweep();
	assert_ok(catalog_clone(cat(), env.kms, DESC_SNAPSHOT, "d@b", &p, &d));
	assert_ok(catalog_own_key(cat(), env.kms, "own", KMS_SERVICE_ALIAS));
	has(DESC_DISK, "own", &base);
	drop(DESC_SNAPSHOT, "d@a");
	sweep();
	has(DESC_DISK, "own", &base);
}

static void
what_is_made_of_it_has_both_keys(void **state)
{
	struct clone_params p = { .name = "img", .mode = 0600 };
	struct descriptor c, made;
	struct disk *disk;

	(void)state;
	make_disk();
	assert_ok(clone_own(DESC_SNAPSHOT, "d@b", "own"));
	disk = attach("own");
	mine = base;
	write_at(disk, &mine, 0, 4 * KiB);
	snap(disk, DESC_SNAPSHOT, "s");
	snap(disk, DESC_DISK, "copy");
	assert_ok(disk_detach(disk));
	assert_ok(catalog_image(cat(), env.kms, "own@s", &p));
	p.name = "clone";
	assert_ok(catalog_clone(cat(), env.kms, DESC_IMAGE, "img", &p, &made));
	c = load(DESC_DISK, "own");
	assert_int_equal(load(DESC_SNAPSHOT, "own@s").n_keys, 2);
	assert_int_equal(load(DESC_IMAGE, "img").n_keys, 2);
	assert_int_equal(made.n_keys, 2);
	assert_true(uuid_equal(&made.lineage, &c.lineage));
	drop(DESC_DISK, "d");
	drop(DESC_SNAPSHOT, "d@b");
	drop(DESC_SNAPSHOT, "d@a");
	drop(DESC_DISK, "own");
	sweep();
	has(DESC_SNAPSHOT, "own@s", &mine);
	has(DESC_IMAGE, "img", &mine);
	has(DESC_DISK, "copy", &mine);
	has(DESC_DISK, "clone", &mine);
}

static void
one_that_shares_a_key_gets_its_own_before_it_is_used(void **state)
{
	struct descriptor d, c;
	struct disk *disk;

	(void)state;
	make_disk();
	disk = attach("d");
	snap(disk, DESC_DISK, "copy");
	assert_ok(disk_detach(disk));
	assert_ok(catalog_own_key(cat(), env.kms, "copy", KMS_SERVICE_ALIAS));
	d = load(DESC_DISK, "d");
	c = load(DESC_DISK, "copy");
	assert_int_equal(c.n_keys, 2);
	assert_false(uuid_equal(&c.lineage, &d.lineage));
	sweep();
	/* a, b, what was copied, and that of d. */
	assert_int_equal(eenv_entries(&env, &d.lineage, "layers"), 4);
	has(DESC_DISK, "copy", &now);
	/* Then it has a layer of which it may be known what is in it. */
	assert_int_equal(catalog_own_key(cat(), env.kms, "copy",
					 KMS_SERVICE_ALIAS),
			 -EINVAL);
	assert_int_equal(
	    catalog_own_key(cat(), env.kms, "d", KMS_SERVICE_ALIAS), -EINVAL);
}

static void
a_rollback_gives_it_the_keys_of_the_snapshot(void **state)
{
	struct disk *disk;

	(void)state;
	make_disk();
	assert_ok(clone_own(DESC_SNAPSHOT, "d@b", "own"));
	disk = attach("own");
	mine = base;
	write_at(disk, &mine, 0, 4 * KiB);
	snap(disk, DESC_SNAPSHOT, "s");
	write_at(disk, &now, 0, 8 * KiB);
	assert_ok(disk_detach(disk));
	assert_ok(catalog_rollback(cat(), env.kms, "own@s"));
	sweep();
	assert_int_equal(load(DESC_DISK, "own").n_keys, 2);
	has(DESC_DISK, "own", &mine);
}

static void
a_descriptor_has_room_for_so_many_keys_and_no_more(void **state)
{
	struct clone_params p = { .name = "i", .mode = 0600 };
	struct disk *disk;
	char name[16], from[24];

	(void)state;
	make_disk();
	strcpy(from, "d@b");
	for (unsigned i = 1; i < DESC_KEYS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "c%u", i);
		assert_ok(clone_own(DESC_SNAPSHOT, from, name));
		disk = attach(name);
		snap(disk, DESC_SNAPSHOT, "s");
		assert_ok(disk_detach(disk));
		(void)snprintf(from, sizeof(from), "%s@s", name);
	}
	assert_int_equal(load(DESC_SNAPSHOT, from).n_keys, DESC_KEYS_MAX);
	assert_int_equal(clone_own(DESC_SNAPSHOT, from, "x"), -E2BIG);
	assert_ok(catalog_image(cat(), env.kms, from, &p));
	has(DESC_IMAGE, "i", &base);
}

static int
setup(void **state)
{
	(void)state;
	eenv_begin(&env, NULL, CIPHER_AES256_GCM);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	eenv_end(&env);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(
		    it_writes_under_its_own_and_reads_what_was_there_under_the_other),
		TEST(it_stays_when_all_that_it_comes_of_has_gone),
		TEST(what_lies_below_is_merged_while_it_is_in_use),
		TEST(a_merge_below_it_is_no_older_state_to_it),
		TEST(one_that_got_its_key_later_kept_that_digest),
		TEST(what_is_made_of_it_has_both_keys),
		TEST(one_that_shares_a_key_gets_its_own_before_it_is_used),
		TEST(a_rollback_gives_it_the_keys_of_the_snapshot),
		TEST(a_descriptor_has_room_for_so_many_keys_and_no_more),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
