/*
 * test_reencrypt.c - a disk in use gets a new data key, and is killed at it.
 */
#include "engine_env.h"
#include "catalog_private.h"
#include "engine_private.h"
#include "fault_store.h"
#include "mem_store.h"
#include "snapshot.h"

#include <pthread.h>
#include <time.h>

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (17 * MiB) /* the last chunk is not whole */

struct content {
	uint8_t b[SIZE];
};

static struct engine_env env;
static struct disk *disk;
static struct content now, kept[3];
static uint8_t io[SIZE];
static struct descriptor before; /* of the disk, as it was made */

static struct catalog *
cat(void)
{
	return engine_catalog(env.e);
}

static void
write_at(uint64_t off, uint64_t len)
{
	static uint64_t seed;

	fill_pattern(now.b + off, len, ++seed);
	assert_ok(disk_write(disk, env.s, now.b + off, len, off));
}

static void
zero_at(uint64_t off, uint64_t len)
{
	memset(now.b + off, 0, len);
	assert_ok(disk_zero(disk, env.s, off, len));
}

static void
snap(const char *name)
{
	struct snapshot_request req = { disk, DESC_SNAPSHOT, name };

	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
}

static void
drop(enum desc_type type, const char *name)
{
	assert_ok(catalog_remove(cat(), type, name));
}

static void
sweep(void)
{
	const atomic_bool stop = false;

	engine_sweep(env.e, &stop);
}

static void
attach(void)
{
	assert_ok(disk_attach(env.e, DESC_DISK, "d", 0, &disk));
}

static void
detach(void)
{
	assert_ok(disk_detach(disk));
	disk = NULL;
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

static struct descriptor
load(enum desc_type type, const char *name)
{
	struct descriptor d;

	assert_ok(catalog_load(cat(), type, name, &d, NULL, NULL));
	return d;
}

static bool
has_old_key(enum desc_type type, const char *name)
{
	struct descriptor d = load(type, name);

	return descriptor_key(&d, &before.key) != NULL;
}

static void
make_disk(void)
{
	eenv_create(&env, "d", SIZE);
	attach();
	memset(&now, 0, sizeof(now));
	write_at(0, 64 * KiB);
	write_at(4 * MiB, 600 * KiB);
	write_at(16 * MiB + 512, 100 * KiB);
	disk_descriptor(disk, &before);
}

static void
begin(void)
{
	assert_ok(disk_reencrypt(disk, env.s, NULL, 0));
}

static void
go_on(void)
{
	int r;

	while ((r = disk_reencrypt_step(disk)) > 0)
		;
	assert_ok(r);
}

/* Nothing of the disk is under the old key. */
static void
is_done(void)
{
	struct descriptor d = load(DESC_DISK, "d");
	struct reencrypt_state st;

	assert_int_equal(d.n_keys, 1);
	assert_false(uuid_equal(&d.key, &before.key));
	assert_false(uuid_equal(&d.lineage, &before.lineage));
	assert_false(d.reencrypting);
	if (disk)
		assert_false(disk_reencrypting(disk, &st));
}

static void
all_is_copied_and_the_old_key_goes(void **state)
{
	struct descriptor d;

	(void)state;
	make_disk();
	begin();
	d = load(DESC_DISK, "d");
	assert_true(d.reencrypting);
	assert_int_equal(d.n_keys, 2);
	holds(disk, &now);
	go_on();
	is_done();
	holds(disk, &now);
	write_at(8 * MiB, 4 * KiB);
	sweep();
	assert_int_equal(eenv_entries(&env, &before.lineage, "layers"), 0);
	assert_int_equal(eenv_entries(&env, &before.lineage, "chunks/0000"), 0);
	assert_null(disk_dk(disk, &before.key));
	holds(disk, &now);
	detach();
	has(DESC_DISK, "d", &now);
	/* Blocks of zeros were not made. */
	assert_int_equal(eenv_entries(&env, &d.lineage, "chunks/0000"), 4);
}

static void
it_is_written_to_and_discarded_meanwhile(void **state)
{
	(void)state;
	make_disk();
	begin();
	write_at(2 * KiB, 3 * KiB);
	assert_int_equal(disk_reencrypt_step(disk), 1);
	write_at(4 * MiB + 100 * KiB, 50 * KiB);
	zero_at(4 * MiB + 8 * KiB, 8 * KiB);
	zero_at(0, 4 * KiB);
	assert_int_equal(disk_reencrypt_step(disk), 1);
	zero_at(16 * MiB, 1 * MiB);
	write_at(16 * MiB + 40 * KiB, 4 * KiB);
	holds(disk, &now);
	go_on();
	is_done();
	holds(disk, &now);
	detach();
	has(DESC_DISK, "d", &now);
}

static void
the_disk_is_shrunk_and_grown_meanwhile(void **state)
{
	(void)state;
	make_disk();
	begin();
	assert_int_equal(disk_reencrypt_step(disk), 1);
	assert_ok(disk_resize(disk, env.s, 4 * MiB + 300 * KiB));
	assert_ok(disk_resize(disk, env.s, SIZE));
	memset(now.b + 4 * MiB + 300 * KiB, 0, SIZE - 4 * MiB - 300 * KiB);
	holds(disk, &now);
	go_on();
	is_done();
	holds(disk, &now);
	detach();
	has(DESC_DISK, "d", &now);
}

static void
snapshots_of_before_keep_the_old_key(void **state)
{
	(void)state;
	make_disk();
	snap("old");
	kept[0] = now;
	write_at(1 * MiB, 64 * KiB);
	begin();
	go_on();
	is_done();
	assert_true(has_old_key(DESC_SNAPSHOT, "d@old"));
	sweep();
	holds(disk, &now);
	detach();
	has(DESC_SNAPSHOT, "d@old", &kept[0]);
	/* And lead back to it. */
	assert_ok(catalog_rollback(cat(), env.kms, "d@old"));
	has(DESC_DISK, "d", &kept[0]);
	drop(DESC_SNAPSHOT, "d@old");
	drop(DESC_DISK, "d");
	sweep();
	assert_int_equal(eenv_entries(&env, &before.lineage, "layers"), 0);
}

static void
snapshots_of_meanwhile_lose_it_in_the_end(void **state)
{
	struct disk *s;

	(void)state;
	make_disk();
	begin();
	assert_int_equal(disk_reencrypt_step(disk), 1);
	write_at(0, 8 * KiB);
	snap("a");
	kept[0] = now;
	write_at(4 * KiB, 8 * KiB);
	write_at(4 * MiB, 16 * KiB);
	assert_int_equal(disk_reencrypt_step(disk), 1);
	snap("b");
	kept[1] = now;
	write_at(9 * MiB, 16 * KiB);
	/* One of them is open. */
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "d@a", 0, &s));
	holds(s, &kept[0]);
	assert_true(has_old_key(DESC_SNAPSHOT, "d@a"));
	go_on();
	is_done();
	holds(s, &kept[0]);
	holds(disk, &now);
	assert_false(has_old_key(DESC_SNAPSHOT, "d@a"));
	assert_false(has_old_key(DESC_SNAPSHOT, "d@b"));
	sweep();
	assert_int_equal(eenv_entries(&env, &before.lineage, "layers"), 0);
	holds(s, &kept[0]);
	assert_ok(disk_detach(s));
	detach();
	has(DESC_DISK, "d", &now);
	has(DESC_SNAPSHOT, "d@a", &kept[0]);
	has(DESC_SNAPSHOT, "d@b", &kept[1]);
}

static void
a_snapshot_of_meanwhile_is_removed_and_merged(void **state)
{
	(void)state;
	make_disk();
	begin();
	assert_int_equal(disk_reencrypt_step(disk), 1);
	snap("a");
	write_at(0, 8 * KiB);
	assert_int_equal(disk_reencrypt_step(disk), 1);
	drop(DESC_SNAPSHOT, "d@a");
	sweep();
	holds(disk, &now);
	go_on();
	is_done();
	holds(disk, &now);
	sweep();
	assert_int_equal(eenv_entries(&env, &before.lineage, "layers"), 0);
	detach();
	has(DESC_DISK, "d", &now);
}

static void
clones_of_what_was_made_meanwhile_lose_it_too(void **state)
{
	struct clone_params p = { .name = "same", .mode = 0600 };
	struct descriptor d;
	struct disk *o;

	(void)state;
	make_disk();
	begin();
	snap("a");
	kept[0] = now;
	assert_ok(catalog_clone(cat(), env.kms, DESC_SNAPSHOT, "d@a", &p, &d));
	p.name = "own";
	p.own_key = KMS_SERVICE_ALIAS;
	assert_ok(catalog_clone(cat(), env.kms, DESC_SNAPSHOT, "d@a", &p, &d));
	assert_int_equal(d.n_keys, 3);
	assert_ok(disk_attach(env.e, DESC_DISK, "same", 0, &o));
	go_on();
	is_done();
	holds(o, &kept[0]);
	assert_ok(disk_detach(o));
	assert_false(has_old_key(DESC_SNAPSHOT, "d@a"));
	assert_int_equal(load(DESC_DISK, "same").n_keys, 1);
	assert_int_equal(load(DESC_DISK, "own").n_keys, 2);
	sweep();
	assert_int_equal(eenv_entries(&env, &before.lineage, "layers"), 0);
	detach();
	has(DESC_DISK, "same", &kept[0]);
	has(DESC_DISK, "own", &kept[0]);
	has(DESC_DISK, "d", &now);
}

static void
it_leaves_a_clone_one_key(void **state)
{
	struct clone_params p = { .name = "own",
				  .mode = 0600,
				  .own_key = KMS_SERVICE_ALIAS };
	struct descriptor d;

	(void)state;
	make_disk();
	snap("s");
	detach();
	assert_ok(catalog_clone(cat(), env.kms, DESC_SNAPSHOT, "d@s", &p, &d));
	assert_ok(disk_attach(env.e, DESC_DISK, "own", 0, &disk));
	begin();
	assert_int_equal(load(DESC_DISK, "own").n_keys, 3);
	go_on();
	holds(disk, &now);
	detach();
	assert_int_equal(load(DESC_DISK, "own").n_keys, 1);
	drop(DESC_DISK, "d");
	drop(DESC_SNAPSHOT, "d@s");
	sweep();
	has(DESC_DISK, "own", &now);
	assert_int_equal(eenv_entries(&env, &before.lineage, "layers"), 0);
	assert_int_equal(eenv_entries(&env, &d.lineage, "layers"), 0);
}

static void
it_goes_on_when_the_disk_is_attached_again(void **state)
{
	unsigned n = 0;

	(void)state;
	make_disk();
	begin();
	do {
		write_at((uint64_t)n * 16 * KiB, 8 * KiB);
		detach();
		eenv_reopen(&env);
		attach();
		holds(disk, &now);
		n++;
	} while (disk_reencrypt_step(disk) > 0 && n < 5);
	go_on();
	is_done();
	holds(disk, &now);
	detach();
	has(DESC_DISK, "d", &now);
}

static void
there_is_one_at_a_time(void **state)
{
	(void)state;
	make_disk();
	begin();
	assert_int_equal(disk_reencrypt(disk, env.s, NULL, 4096), -EALREADY);
	assert_int_equal(load(DESC_DISK, "d").reencrypt_rate, 4096);
	assert_int_equal(load(DESC_DISK, "d").n_keys, 2);
	go_on();
	before = load(DESC_DISK, "d");
	begin();
	go_on();
	is_done();
	holds(disk, &now);
	detach();
	attach();
	assert_ok(disk_detach(disk));
	assert_ok(disk_attach(env.e, DESC_DISK, "d", DISK_READ_ONLY, &disk));
	assert_int_equal(disk_reencrypt(disk, env.s, NULL, 0), -EROFS);
	detach();
}

static void
in_the_background_it_keeps_to_its_rate(void **state)
{
	struct reencrypt_state st;
	struct timespec t[2];
	double s;

	(void)state;
	env.opt.manual = false;
	eenv_reopen(&env);
	make_disk();
	(void)clock_gettime(CLOCK_MONOTONIC, &t[0]);
	assert_ok(disk_reencrypt(disk, env.s, NULL, 4 * MiB));
	for (unsigned i = 0; i < 1000 && disk_reencrypting(disk, &st); i++)
		(void)nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	(void)clock_gettime(CLOCK_MONOTONIC, &t[1]);
	s = (double)(t[1].tv_sec - t[0].tv_sec) +
	    (double)(t[1].tv_nsec - t[0].tv_nsec) / 1e9;
	assert_false(disk_reencrypting(disk, &st));
	/* 764 KiB. */
	assert_true(s > 0.1 && s < 5);
	is_done();
	holds(disk, &now);
	detach();
	has(DESC_DISK, "d", &now);
}

/* The first one's thread may still be sweeping. */
static void
one_after_another_in_the_background(void **state)
{
	struct reencrypt_state st;

	(void)state;
	env.opt.manual = false;
	eenv_reopen(&env);
	make_disk();
	for (unsigned n = 0; n < 4; n++) {
		assert_ok(disk_reencrypt(disk, env.s, NULL, 0));
		for (unsigned i = 0; i < 1000 && disk_reencrypting(disk, &st);
		     i++)
			(void)nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
		assert_false(disk_reencrypting(disk, &st));
	}
	is_done();
	holds(disk, &now);
	detach();
	has(DESC_DISK, "d", &now);
}

static int setup_in(struct store *st);
static int teardown(void **state);

/* What was copied into a frozen layer, and not yet committed when a read
 * failed, was taken to be there: zeros were read in its place. */
static void
what_was_copied_before_a_failure_is_copied_again(void **state)
{
	bool fired = true;

	for (unsigned nth = 1; fired; nth += test_is_slow() ? 1 : 4) {
		struct store *mem, *st;
		unsigned tries = 0;
		int r;

		(void)teardown(state);
		assert_ok(mem_store_open(&mem));
		assert_ok(fault_store_new(mem, &st));
		assert_int_equal(setup_in(st), 0);
		env.e->merge_chunks = 64;
		make_disk();
		begin();
		snap("a");
		fault_kinds(st, FAULT_READ);
		fault_arm(st, nth, -EIO, false);
		while ((r = disk_reencrypt_step(disk)) != 0)
			assert_true(r > 0 || ++tries < 4);
		fired = fault_fired(st);
		fault_arm(st, 0, 0, false);
		is_done();
		holds(disk, &now);
		detach();
		has(DESC_DISK, "d", &now);
		has(DESC_SNAPSHOT, "d@a", &now);
	}
}

/*
 * As the disk's descriptor is replaced, a sweep has just found it as it was,
 * and takes the old lineage's mark away when whoever replaced it has ended, or
 * waits for the names' lock.
 */
static struct {
	const struct store_ops *inner;
	struct store_ops ops;
	atomic_bool armed, has_found, go_on;
	pthread_t changer, sweeper;
	char descriptor[STORE_PATH_LEN], mark[STORE_PATH_LEN];
} last;

static void
wait_for(const atomic_bool *flag)
{
	while (!atomic_load(flag))
		(void)nanosleep(&(struct timespec){ 0, 100000 }, NULL);
}

static void *
sweep_once(void *arg)
{
	bool more;

	(void)arg;
	assert_ok(catalog_sweep(cat(), 256, &more));
	return NULL;
}

static int
last_replace(struct store *st, const char *path, const void *buf, size_t len)
{
	if (strcmp(path, last.descriptor) == 0 &&
	    atomic_exchange(&last.armed, false)) {
		assert_int_equal(
		    pthread_create(&last.sweeper, NULL, sweep_once, NULL), 0);
		wait_for(&last.has_found);
	}
	return last.inner->replace(st, path, buf, len);
}

static int
last_remove(struct store *st, const char *path)
{
	if (strcmp(path, last.mark) == 0) {
		atomic_store(&last.has_found, true);
		wait_for(&last.go_on);
	}
	return last.inner->remove(st, path);
}

static int
last_lock(struct store *st, const char *path, enum store_lock_mode mode,
	  bool wait, const char *owner, struct store_lock **ret)
{
	if (atomic_load(&last.has_found) &&
	    pthread_equal(pthread_self(), last.changer) &&
	    strcmp(path, "locks/catalog") == 0)
		atomic_store(&last.go_on, true);
	return last.inner->lock(st, path, mode, wait, owner, ret);
}

static void
last_begin(const struct uuid *lineage)
{
	last.inner = env.st->ops;
	last.ops = *env.st->ops;
	last.ops.replace = last_replace;
	last.ops.remove = last_remove;
	last.ops.lock = last_lock;
	last.changer = pthread_self();
	path_descriptor(DESC_DISK, NULL, "d", last.descriptor);
	path_lineage(lineage, PENDING, last.mark);
	atomic_store(&last.has_found, false);
	atomic_store(&last.go_on, false);
	atomic_store(&last.armed, true);
	env.st->ops = &last.ops;
}

static void
last_end(const struct uuid *lineage)
{
	char path[STORE_PATH_LEN];

	assert_true(last.has_found);
	atomic_store(&last.go_on, true);
	assert_int_equal(pthread_join(last.sweeper, NULL), 0);
	env.st->ops = last.inner;
	sweep();
	path_lineage(lineage, NULL, path);
	assert_int_equal(store_exists(env.st, path), 0);
}

/* It had been marked, and was found alive just before it was not any more. */
static void
a_sweep_at_the_last_moment_left_the_old_lineages_folder(void **state)
{
	bool more;

	(void)state;
	make_disk();
	begin();
	/* But for the end. */
	while (disk->top->meta.has_parent)
		assert_true(disk_reencrypt_step(disk) > 0);
	assert_ok(catalog_sweep(cat(), 256, &more));
	last_begin(&before.lineage);
	go_on();
	is_done();
	last_end(&before.lineage);
	holds(disk, &now);
	detach();
	has(DESC_DISK, "d", &now);
}

static void
a_sweep_at_the_last_moment_left_what_was_rolled_back(void **state)
{
	struct descriptor d;

	(void)state;
	make_disk();
	snap("a");
	kept[0] = now;
	begin();
	go_on();
	is_done();
	detach();
	d = load(DESC_DISK, "d");
	assert_false(uuid_equal(&d.lineage, &before.lineage));
	last_begin(&d.lineage);
	assert_ok(catalog_rollback(cat(), env.kms, "d@a"));
	last_end(&d.lineage);
	has(DESC_DISK, "d", &kept[0]);
}

static bool is_sealing;
static unsigned n_loads;

static int
note_lock(struct store *st, const char *path, enum store_lock_mode mode,
	  bool wait, const char *owner, struct store_lock **ret)
{
	if (strcmp(path, last.mark) == 0)
		is_sealing = true;
	return last.inner->lock(st, path, mode, wait, owner, ret);
}

static int
load_after_rollback(struct store *st, const char *path, size_t max,
		    char **ret_buf, size_t *ret_len)
{
	/* First to see what there is, and then for its keys. */
	if (is_sealing && strcmp(path, last.descriptor) == 0 &&
	    ++n_loads == 2) {
		is_sealing = false;
		assert_ok(catalog_rollback(cat(), env.kms, "d@a"));
	}
	return last.inner->load(st, path, max, ret_buf, ret_len);
}

/* A layer was to be sealed by the keys of a disk that had left its lineage: it
 * was said to be damaged. */
static void
a_rollback_while_a_layer_was_sealed_made_it_look_damaged(void **state)
{
	char lineage[UUID_STR_LEN];
	int r;

	(void)state;
	make_disk();
	snap("a");
	kept[0] = now;
	begin();
	go_on();
	snap("b");
	uuid_format(&disk->desc.lineage, lineage);
	detach();
	(void)snprintf(last.mark, sizeof(last.mark), "locks/lineage-%s",
		       lineage);
	path_descriptor(DESC_DISK, NULL, "d", last.descriptor);
	last.inner = env.st->ops;
	last.ops = *env.st->ops;
	last.ops.lock = note_lock;
	last.ops.load = load_after_rollback;
	is_sealing = false;
	n_loads = 0;
	env.st->ops = &last.ops;
	do
		r = engine_seal(env.e, NULL);
	while (r > 0);
	env.st->ops = last.inner;
	assert_true(n_loads >= 2);
	assert_ok(r);
	sweep();
	has(DESC_DISK, "d", &kept[0]);
	has(DESC_SNAPSHOT, "d@b", &now);
}

static atomic_bool stop_sweeping;

static void *
keep_sweeping(void *arg)
{
	(void)arg;
	while (!stop_sweeping) {
		engine_sweep(env.e, &stop_sweeping);
		(void)nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	}
	return NULL;
}

/* Written, snapshotted, merged and copied at the same time. */
static void
everything_goes_on_meanwhile(void **state)
{
	struct reencrypt_state st;
	char name[8], full[16];
	pthread_t sweeper;
	unsigned n = 0;
	int r = 0;

	(void)state;
	env.opt.manual = false;
	env.opt.merge_chunks = 0;
	env.opt.commit_ms = 20;
	eenv_reopen(&env);
	make_disk();
	stop_sweeping = false;
	assert_int_equal(pthread_create(&sweeper, NULL, keep_sweeping, NULL),
			 0);
	for (; n < 30; n++) {
		if (n % 10 == 5)
			(void)!disk_reencrypt(disk, env.s, NULL, 8 * MiB);
		write_at((n * 700u % 16000) * KiB, 24 * KiB);
		(void)snprintf(name, sizeof(name), "s%u", n);
		snap(name);
		write_at((n * 300u % 16000) * KiB + 512, 24 * KiB);
		holds(disk, &now);
		(void)snprintf(full, sizeof(full), "d@s%u", n - 2);
		/* -EBUSY: it is held while what is below it is changed. */
		while (n >= 2 && (r = catalog_remove(cat(), DESC_SNAPSHOT,
						     full)) == -EBUSY)
			(void)nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
		assert_ok(r);
	}
	assert_true(disk_reencrypt(disk, env.s, NULL, 0) <= 0);
	for (unsigned i = 0; i < 3000 && disk_reencrypting(disk, &st); i++)
		(void)nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	stop_sweeping = true;
	assert_int_equal(pthread_join(sweeper, NULL), 0);
	is_done();
	holds(disk, &now);
	detach();
	has(DESC_DISK, "d", &now);
	assert_false(has_old_key(DESC_SNAPSHOT, "d@s29"));
	sweep();
	assert_int_equal(eenv_entries(&env, &before.lineage, "layers"), 0);
}

static int
setup_in(struct store *st)
{
	eenv_begin(&env, st, CIPHER_AES256_GCM);
	env.opt.merge_chunks = env.e->merge_chunks = 2;
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return setup_in(NULL);
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
		TEST(all_is_copied_and_the_old_key_goes),
		TEST(it_is_written_to_and_discarded_meanwhile),
		TEST(the_disk_is_shrunk_and_grown_meanwhile),
		TEST(snapshots_of_before_keep_the_old_key),
		TEST(snapshots_of_meanwhile_lose_it_in_the_end),
		TEST(a_snapshot_of_meanwhile_is_removed_and_merged),
		TEST(clones_of_what_was_made_meanwhile_lose_it_too),
		TEST(it_leaves_a_clone_one_key),
		TEST(it_goes_on_when_the_disk_is_attached_again),
		TEST(there_is_one_at_a_time),
		TEST(in_the_background_it_keeps_to_its_rate),
		TEST(one_after_another_in_the_background),
		TEST(what_was_copied_before_a_failure_is_copied_again),
		TEST(a_sweep_at_the_last_moment_left_the_old_lineages_folder),
		TEST(a_sweep_at_the_last_moment_left_what_was_rolled_back),
		TEST(a_rollback_while_a_layer_was_sealed_made_it_look_damaged),
		TEST(everything_goes_on_meanwhile),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
