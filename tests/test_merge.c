/*
 * test_merge.c - layers are merged while their disks and snapshots are in use,
 * and while the store fails.
 */
#include "engine_env.h"
#include "catalog_private.h"
#include "engine_private.h"
#include "fault_store.h"
#include "held.h"
#include "lost_map.h"
#include "mem_store.h"
#include "repair.h"
#include "snapshot.h"

#include <pthread.h>
#include <time.h>

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (16 * MiB)

struct content {
	uint8_t b[SIZE];
};

static struct engine_env env;
static struct disk *disk;
static struct content now, kept[4];
static uint8_t io[SIZE];

static void
write_at(uint64_t off, uint64_t len, uint64_t seed)
{
	fill_pattern(now.b + off, len, seed);
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
drop(const char *name)
{
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, name));
}

static void
sweep(void)
{
	const atomic_bool stop = false;

	engine_sweep(env.e, &stop);
}

static void
sweep_a_step(void)
{
	bool more;

	assert_ok(catalog_sweep(engine_catalog(env.e), 256, &more));
	assert_true(engine_merge(env.e, NULL) >= 0);
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
attach(void)
{
	assert_ok(disk_attach(env.e, DESC_DISK, "d", 0, &disk));
}

static void
snapshot_holds(const char *name, const struct content *c)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, name, 0, &d));
	holds(d, c);
	assert_ok(disk_detach(d));
}

static void
reopen(bool power, uint64_t seed)
{
	if (disk)
		disk_abandon(disk);
	disk = NULL;
	engine_close(env.e);
	if (power)
		mem_store_crash(fault_inner(env.st), seed);
	else
		mem_store_kill(fault_inner(env.st));
	eenv_open(&env);
}

/* Of the only lineage. */
static unsigned
entries(const char *folder)
{
	struct descriptor d;

	assert_ok(catalog_load(engine_catalog(env.e), DESC_DISK, "d", &d, NULL,
			       NULL));
	return eenv_entries(&env, &d.lineage, folder);
}

/* ---- in use ---- */

static void
an_attached_snapshot_is_read_while_what_is_below_it_is_merged(void **state)
{
	struct disk *s;

	(void)state;
	write_at(0, 64 * KiB, 1);
	write_at(4 * MiB, 64 * KiB, 2);
	snap("a");
	write_at(8 * KiB, 4 * KiB, 3);
	snap("b");
	kept[0] = now;
	write_at(16 * KiB, 4 * KiB, 4);
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "d@b", 0, &s));
	/* Its map and a page of it are in memory. */
	assert_ok(disk_read(s, env.s, io, 16 * KiB, 0));
	drop("d@a");
	sweep();
	holds(s, &kept[0]);
	holds(disk, &now);
	assert_ok(disk_detach(s));
	snapshot_holds("d@b", &kept[0]);
}

/* The sweep was busy elsewhere between two merges. */
static void
what_passed_stays_where_two_merges_come_before_a_sweep(void **state)
{
	(void)state;
	write_at(0, 64 * KiB, 1);
	snap("a");
	write_at(4 * MiB, 64 * KiB, 2);
	snap("b");
	write_at(8 * MiB, 64 * KiB, 3);
	drop("d@a");
	drop("d@b");
	while (engine_merge(env.e, NULL) > 0)
		;
	sweep();
	holds(disk, &now);
	assert_ok(disk_detach(disk));
	attach();
	holds(disk, &now);
	assert_int_equal(entries("layers"), 1);
}

/* A layer that is being merged names what has passed to its child until it is
 * done.  When that child was merged onwards, and its heir had a chunk of its
 * own there, the sweep took the file that the first one still named: what lay
 * below it could not be read any more. */
static void
a_child_that_went_first_took_what_its_parent_still_named(void **state)
{
	(void)state;
	write_at(0, 64 * KiB, 1);
	snap("z");
	write_at(0, 4 * KiB, 2);
	write_at(4 * MiB, 64 * KiB, 3);
	snap("a");
	write_at(8 * MiB, 64 * KiB, 4);
	snap("b");
	write_at(12 * MiB, 64 * KiB, 5);
	snap("c");
	write_at(4 * KiB, 4 * KiB, 6);
	snap("e");
	drop("d@a");
	assert_int_equal(engine_merge(env.e, NULL),
			 1); /* the first chunk passes */
	drop("d@b");
	/* Until one of the two is done. */
	while (entries("layers") == 6)
		sweep_a_step();
	drop("d@c");
	sweep();
	holds(disk, &now);
	snapshot_holds("d@e", &now);
	assert_int_equal(entries("layers"), 3);
}

/* And when it could not go on, because the disk was read-only, what lay below
 * was merged into the shared file. */
static void
what_has_passed_is_not_merged_into_behind_its_owner(void **state)
{
	(void)state;
	write_at(0, 64 * KiB, 1);
	snap("z");
	write_at(0, 4 * KiB, 2);
	write_at(4 * MiB, 64 * KiB, 3);
	snap("a");
	write_at(8 * MiB, 64 * KiB, 4);
	drop("d@a");
	assert_int_equal(engine_merge(env.e, NULL), 1);
	assert_ok(disk_detach(disk));
	assert_ok(disk_attach(env.e, DESC_DISK, "d", DISK_READ_ONLY, &disk));
	drop("d@z");
	sweep();
	holds(disk, &now);
	assert_ok(disk_detach(disk));
	attach();
	holds(disk, &now);
	sweep();
	holds(disk, &now);
	assert_int_equal(entries("layers"), 1);
	assert_ok(disk_detach(disk));
	attach();
	holds(disk, &now);
}

/* Its data blocks are counted as it passes, and whoever needed a descriptor at
 * that moment closed the file. */
static void
the_file_of_what_passes_is_held(void **state)
{
	(void)state;
	write_at(0, 64 * KiB, 1);
	write_at(4 * MiB, 64 * KiB, 2);
	snap("a");
	drop("d@a");
	/* Nothing of it is in memory, nor open. */
	reopen(false, 0);
	attach();
	held_watch(&env);
	sweep();
	held_always();
	holds(disk, &now);
	held_always();
	assert_int_equal(entries("layers"), 1);
}

/* Pieces of one chunk, and what has passed is discarded between two. */
static void
what_has_passed_can_be_discarded(void **state)
{
	uint64_t at;

	(void)state;
	write_at(0, 64 * KiB, 1);
	write_at(4 * MiB, 64 * KiB, 2);
	write_at(8 * MiB, 64 * KiB, 3);
	snap("a");
	drop("d@a");
	assert_int_equal(engine_merge(env.e, NULL), 1);
	zero_at(0, 4 * MiB);
	assert_ok(disk_background(disk));
	assert_ok(disk_background(disk));
	assert_ok(disk_seek(disk, env.s, 0, true, &at));
	assert_int_equal(at, 4 * MiB);
	write_at(8 * KiB, 8 * KiB, 4);
	assert_ok(disk_flush(disk));
	holds(disk, &now);
	/* From the start. */
	reopen(false, 0);
	attach();
	holds(disk, &now);
	sweep();
	holds(disk, &now);
	assert_int_equal(entries("layers"), 1);
	assert_ok(disk_detach(disk));
	attach();
	holds(disk, &now);
	assert_int_equal(entries("chunks/0000"), 3);
}

/* A disk stays attached for years, with a snapshot each minute. */
static void
merging_does_not_use_up_layers(void **state)
{
	unsigned before = 0;
	char name[16];

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		write_at((i % 4) * 4 * MiB, 8 * KiB, i);
		(void)snprintf(name, sizeof(name), "s%u", i);
		snap(name);
		if (i < 4)
			continue;
		(void)snprintf(name, sizeof(name), "d@s%u", i - 4);
		drop(name);
		sweep();
		holds(disk, &now);
		if (i == 10)
			before = disk->n_layers;
	}
	assert_int_equal(disk->n_layers, before);
}

/* A store whose next read, or replacement, by one thread waits. */
static struct {
	const struct store_ops *ops;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	pthread_t who;
	bool armed, inside, go, done;
	const char *replacing; /* what has that in its path alone; NULL: any */
	int r;
} slow = { .mutex = PTHREAD_MUTEX_INITIALIZER,
	   .cond = PTHREAD_COND_INITIALIZER };

static void
wait_if_told(void)
{
	pthread_mutex_lock(&slow.mutex);
	if (slow.armed && pthread_equal(slow.who, pthread_self())) {
		slow.armed = false;
		slow.inside = true;
		pthread_cond_broadcast(&slow.cond);
		while (!slow.go)
			pthread_cond_wait(&slow.cond, &slow.mutex);
	}
	pthread_mutex_unlock(&slow.mutex);
}

static int
slow_read(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	if (!slow.replacing)
		wait_if_told();
	return slow.ops->read(f, buf, len, off);
}

static int
slow_replace(struct store *st, const char *path, const void *buf, size_t len)
{
	if (!slow.replacing || strstr(path, slow.replacing))
		wait_if_told();
	return slow.ops->replace(st, path, buf, len);
}

static void
arm(void)
{
	pthread_mutex_lock(&slow.mutex);
	slow.who = pthread_self();
	slow.armed = true;
	pthread_mutex_unlock(&slow.mutex);
}

static void *
read_slowly(void *arg)
{
	struct scratch *s;

	(void)arg;
	slow.r = scratch_new(&s);
	arm();
	if (slow.r == 0)
		slow.r = disk_read(disk, s, io, 4 * KiB, 0);
	scratch_free(s);
	return NULL;
}

static void
say_done(void)
{
	pthread_mutex_lock(&slow.mutex);
	slow.done = true;
	pthread_cond_broadcast(&slow.cond);
	pthread_mutex_unlock(&slow.mutex);
}

/* Pass the chunk, and write the block twice, so that its first slot is used
 * again. */
static void *
pass_and_write(void *arg)
{
	(void)arg;
	assert_int_equal(engine_merge(env.e, NULL), 1);
	write_at(0, 4 * KiB, 2);
	assert_ok(disk_flush(disk));
	write_at(0, 4 * KiB, 3);
	say_done();
	return NULL;
}

static void
wait_a_moment(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	pthread_mutex_lock(&slow.mutex);
	while (!slow.done &&
	       pthread_cond_timedwait(&slow.cond, &slow.mutex, &until) == 0)
		;
	slow.go = true;
	pthread_cond_broadcast(&slow.cond);
	pthread_mutex_unlock(&slow.mutex);
}

/* ${slowly} stops in the store; ${other} has a second to come by. */
static void
overtake(void *(*slowly)(void *arg), void *(*other)(void *arg))
{
	struct store *mem = fault_inner(env.st);
	pthread_t a, b;
	struct store_ops ops;

	slow.ops = mem->ops;
	slow.armed = slow.inside = slow.go = slow.done = false;
	ops = *mem->ops;
	ops.read = slow_read;
	ops.replace = slow_replace;
	mem->ops = &ops;
	assert_int_equal(pthread_create(&a, NULL, slowly, NULL), 0);
	pthread_mutex_lock(&slow.mutex);
	while (!slow.inside)
		pthread_cond_wait(&slow.cond, &slow.mutex);
	pthread_mutex_unlock(&slow.mutex);
	assert_int_equal(pthread_create(&b, NULL, other, NULL), 0);
	wait_a_moment();
	assert_int_equal(pthread_join(a, NULL), 0);
	assert_int_equal(pthread_join(b, NULL), 0);
	mem->ops = slow.ops;
	assert_ok(slow.r);
}

static void
a_read_that_is_under_way_is_not_overtaken(void **state)
{
	(void)state;
	write_at(0, 64 * KiB, 1);
	snap("a");
	drop("d@a");
	holds(disk, &now); /* the page is in memory */
	overtake(read_slowly, pass_and_write);
	holds(disk, &now);
}

static void *
shrink_slowly(void *arg)
{
	struct scratch *s;

	(void)arg;
	slow.r = scratch_new(&s);
	arm();
	if (slow.r == 0)
		slow.r = disk_resize(disk, s, SIZE / 2);
	scratch_free(s);
	return NULL;
}

static void *
freeze(void *arg)
{
	(void)arg;
	snap("b");
	say_done();
	return NULL;
}

/* What a layer's layer.ini says is changed by one at a time. */
static void
a_disk_shrinks_while_it_is_frozen(void **state)
{
	(void)state;
	write_at(0, 64 * KiB, 1);
	snap("a");
	assert_ok(disk_flush(disk));
	overtake(shrink_slowly, freeze);
	assert_ok(disk_resize(disk, env.s, SIZE));
	assert_ok(disk_flush(disk));
	holds(disk, &now);
	reopen(false, 0);
	attach();
	holds(disk, &now);
}

static void *
merge_slowly(void *arg)
{
	(void)arg;
	arm();
	slow.r = engine_merge(env.e, NULL);
	if (slow.r > 0)
		slow.r = 0;
	return NULL;
}

static void *
shrink(void *arg)
{
	struct scratch *s;

	(void)arg;
	assert_ok(scratch_new(&s));
	assert_ok(disk_resize(disk, s, SIZE / 2));
	scratch_free(s);
	say_done();
	return NULL;
}

/* What a merge had failed to say it said again as it had been: after the next
 * attach the disk had what it had been cut off from. */
static void
a_disk_shrinks_while_a_merge_is_said_again(void **state)
{
	char top[UUID_STR_LEN];

	(void)state;
	write_at(0, 64 * KiB, 1);
	write_at(12 * MiB, 64 * KiB, 2);
	snap("z");
	write_at(0, 4 * KiB, 3);
	snap("a");
	drop("d@a");
	uuid_format(&disk->top->ref.layer, top);
	fault_kinds(env.st, FAULT_REPLACE);
	fault_only(env.st, "layer.ini", top);
	fault_arm(env.st, 1, -EIO, false);
	for (unsigned i = 0; i < 9 && !fault_fired(env.st); i++)
		(void)!engine_merge(env.e, NULL);
	assert_true(fault_fired(env.st));
	slow.replacing = top;
	overtake(merge_slowly, shrink);
	slow.replacing = NULL;
	memset(now.b + SIZE / 2, 0, SIZE / 2);
	reopen(false, 0);
	attach();
	assert_int_equal(disk->top->parent_limit, SIZE / 2);
	assert_ok(disk_resize(disk, env.s, SIZE));
	holds(disk, &now);
}

static const char *to_drop; /* when layers are listed */

static int
list_and_drop(struct store *st, const char *path,
	      int (*fn)(const char *name, bool is_dir, void *arg), void *arg)
{
	const char *name = to_drop, *end = strrchr(path, '/');

	if (name && end && strcmp(end, "/layers") == 0) {
		to_drop = NULL;
		drop(name);
	}
	return slow.ops->list(st, path, fn, arg);
}

static int
is_left(const char *name, bool is_dir, void *arg)
{
	(void)is_dir;
	(void)arg;
	fail_msg("lineages/%s is left", name);
	return 0;
}

/* The mark that its removal found there was just being cleared. */
static void
what_goes_while_the_store_is_swept_is_swept_too(void **state)
{
	struct store *mem = fault_inner(env.st);
	struct store_ops ops = *mem->ops;

	(void)state;
	write_at(0, 64 * KiB, 1);
	snap("a");
	assert_ok(disk_detach(disk));
	disk = NULL;
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_DISK, "d"));
	slow.ops = mem->ops;
	ops.list = list_and_drop;
	mem->ops = &ops;
	to_drop = "d@a";
	sweep();
	mem->ops = slow.ops;
	assert_null(to_drop);
	sweep();
	(void)!env.st->ops->list(env.st, "lineages", is_left, NULL);
}

/* ---- a store that fails ---- */

/* Of the disk's own layer, the new parent is there, and it is said not to be:
 * what goes then must be nothing that is still read through. */
static void
a_parent_is_gone_for_good_though_it_is_said_to_have_stayed(void **state)
{
	(void)state;
	for (unsigned nth = 1; nth < 4; nth++) {
		char name[16], full[16];

		write_at(0, 64 * KiB, 10 * nth);
		write_at(4 * MiB, 64 * KiB, 10 * nth + 1);
		(void)snprintf(name, sizeof(name), "a%u", nth);
		(void)snprintf(full, sizeof(full), "d@a%u", nth);
		snap(name);
		write_at(16 * KiB, 4 * KiB, 10 * nth + 2);
		drop(full);
		fault_kinds(env.st, FAULT_REPLACE);
		fault_mode(env.st, FAULT_AFTER);
		fault_arm(env.st, nth, -EIO, false);
		sweep();
		fault_arm(env.st, 0, 0, false);
		sweep();
		holds(disk, &now);
		write_at(128 * KiB, 4 * KiB, 10 * nth + 3);
		snap(name);
		holds(disk, &now);
		assert_ok(disk_detach(disk));
		attach();
		holds(disk, &now);
		drop(full);
		sweep();
		holds(disk, &now);
		assert_int_equal(entries("layers"), 1);
	}
}

static void
a_snapshot_that_failed_leaves_a_disk_that_attaches(void **state)
{
	(void)state;
	write_at(0, 64 * KiB, 1);
	for (unsigned nth = 1; nth < 16; nth++) {
		struct snapshot_request req = { disk, DESC_SNAPSHOT, "a" };
		int r;

		write_at(4 * KiB * nth, 4 * KiB, nth);
		fault_kinds(env.st, FAULT_REPLACE);
		fault_mode(env.st, FAULT_AFTER);
		fault_arm(env.st, 1 + nth / 2, -EIO, nth % 2);
		r = disks_snapshot(env.e, env.s, &req, 1);
		assert_true(r == 0 || r == -EIO);
		fault_arm(env.st, 0, 0, false);
		reopen(false, 0);
		attach();
		holds(disk, &now);
		r = catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, "d@a");
		assert_true(r == 0 || r == -ENOENT);
	}
}

/* A merge is killed, done again, and the power fails at once: what the first
 * one wrote must have become durable before anything is dropped. */
static bool
kill_and_cut(unsigned nth, unsigned then)
{
	bool fired;

	assert_ok(disk_detach(disk));
	disk = NULL;
	fault_kinds(env.st, FAULT_CHANGES);
	fault_mode(env.st, FAULT_BEFORE);
	fault_arm(env.st, nth, -EIO, true);
	sweep();
	fired = fault_fired(env.st);
	fault_arm(env.st, 0, 0, false);
	reopen(false, 0);
	fault_kinds(env.st, FAULT_CHANGES);
	fault_arm(env.st, then, -EIO, true);
	sweep();
	fault_arm(env.st, 0, 0, false);
	reopen(true, nth * 100 + then);
	snapshot_holds("d@b", &kept[0]);
	attach();
	holds(disk, &now);
	sweep();
	holds(disk, &now);
	snapshot_holds("d@b", &kept[0]);
	return fired;
}

static int setup(void **state);
static int teardown(void **state);

/* It is gone, or it is there and so is what it held. */
static void
a_name_that_could_not_be_removed_for_good_keeps_what_it_holds(void **state)
{
	for (unsigned seed = 0; seed < 12; seed++) {
		struct disk *s;
		int r;

		write_at(0, 64 * KiB, 1);
		snap("a");
		kept[0] = now;
		zero_at(0, 64 * KiB);
		assert_ok(disk_detach(disk));
		disk = NULL;
		fault_kinds(env.st, FAULT_SYNC_DIR);
		fault_mode(env.st, FAULT_BEFORE);
		fault_arm(env.st, 2, -EIO, false);
		assert_err(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT,
					  "d@a"),
			   EIO);
		sweep();
		reopen(true, seed);
		r = disk_attach(env.e, DESC_SNAPSHOT, "d@a", 0, &s);
		assert_true(r == 0 || r == -ENOENT);
		if (r == 0) {
			holds(s, &kept[0]);
			assert_ok(disk_detach(s));
		}
		teardown(state);
		setup(state);
	}
}

static void
zap_parent(const char *name)
{
	static const uint8_t zeros[64 * KiB];
	char path[STORE_PATH_LEN];
	struct descriptor d;
	struct store_file *f;

	assert_ok(catalog_load(engine_catalog(env.e), DESC_SNAPSHOT, name, &d,
			       NULL, NULL));
	path_layer(&d.layer, "map", path);
	assert_ok(env.st->ops->open(env.st, path, true, &f));
	assert_ok(f->st->ops->write(f, zeros, sizeof(zeros), 0));
	store_close(f);
}

static void
a_layer_that_is_damaged_does_not_hold_up_other_disks(void **state)
{
	struct snapshot_request req = { NULL, DESC_SNAPSHOT, "a" };
	char name[16], full[16], path[STORE_PATH_LEN];
	struct descriptor d;

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		(void)snprintf(name, sizeof(name), "d%u", i);
		(void)snprintf(full, sizeof(full), "d%u@a", i);
		eenv_create(&env, name, 8 * MiB);
		assert_ok(disk_attach(env.e, DESC_DISK, name, 0, &req.disk));
		assert_ok(disks_snapshot(env.e, env.s, &req, 1));
		assert_ok(disk_detach(req.disk));
		if (i % 2)
			zap_parent(full);
		drop(full);
	}
	sweep();
	for (unsigned i = 0; i < 16; i += 2) {
		unsigned n = 0;

		(void)snprintf(name, sizeof(name), "d%u", i);
		assert_ok(catalog_load(engine_catalog(env.e), DESC_DISK, name,
				       &d, NULL, NULL));
		path_lineage(&d.lineage, "layers", path);
		assert_ok(env.st->ops->list(env.st, path, eenv_count, &n));
		assert_int_equal(n, 1);
	}
}

/* Each try took one more of the numbers that layers have, and its memory. */
static void
a_parent_that_is_not_frozen_was_opened_again_by_each_read(void **state)
{
	struct layer_meta m;
	struct layer *p;
	uint8_t b[4 * KiB];

	(void)state;
	write_at(0, 64 * KiB, 1);
	snap("a");
	assert_ok(layer_parent(disk->top, env.s, &p));
	m = p->meta;
	m.state = LAYER_OPEN;
	assert_ok(layer_save_meta(p, &m));
	assert_ok(disk_detach(disk));
	attach();
	for (unsigned i = 0; i < 10; i++)
		assert_err(disk_read(disk, env.s, b, sizeof(b), 0), EUCLEAN);
	assert_true(disk->n_layers <= 2);
}

/* The names of map and layer.ini may come back in any order. */
static void
a_layer_whose_removal_a_power_cut_stops_takes_nothing_along(void **state)
{
	unsigned seeds = test_is_slow() ? 100 : 8;

	for (unsigned seed = 0; seed < seeds; seed++)
		for (unsigned nth = 1; nth < 8; nth++) {
			write_at(0, 64 * KiB, 1);
			write_at(4 * MiB, 64 * KiB, 2);
			snap("a");
			write_at(16 * KiB, 4 * KiB, 3);
			drop("d@a");
			assert_ok(disk_detach(disk));
			disk = NULL;
			fault_kinds(env.st, FAULT_REMOVE);
			fault_mode(env.st, FAULT_BEFORE);
			fault_arm(env.st, nth, -EIO, true);
			sweep();
			fault_arm(env.st, 0, 0, false);
			reopen(true, seed);
			sweep();
			attach();
			holds(disk, &now);
			assert_int_equal(entries("layers"), 1);
			teardown(state);
			setup(state);
		}
}

static void
a_merge_that_was_killed_is_made_durable(void **state)
{
	unsigned step = test_is_slow() ? 1 : test_is_watched() ? 9 : 5;

	for (unsigned then = 1; then < 40; then += step)
		for (unsigned nth = 1 + then % step;; nth += step) {
			bool fired;

			write_at(0, 64 * KiB, 1);
			write_at(4 * MiB, 64 * KiB, 2);
			snap("a");
			write_at(16 * KiB, 4 * KiB, 3);
			snap("b");
			kept[0] = now;
			write_at(24 * KiB, 4 * KiB, 4);
			drop("d@a");
			fired = kill_and_cut(nth, then);
			teardown(state);
			setup(state);
			if (!fired)
				break;
		}
}

/* Another process, between two pieces: what had passed is X's, for it. */
static void
a_merge_went_on_behind_a_repair(void **state)
{
	struct repair_report rep;
	struct layer_ref child;
	struct engine *other;

	(void)state;
	for (uint64_t i = 0; i < 3; i++)
		write_at(i * 4 * MiB, 64 * KiB, 1 + i);
	snap("a");
	write_at(12 * MiB, 64 * KiB, 4);
	child = disk->top->ref;
	assert_ok(disk_detach(disk));
	disk = NULL;
	drop("d@a");
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(engine_merge(env.e, NULL), 1);
	lose_map_page(env.st, &child);
	assert_ok(engine_open(env.st, env.kms, &env.opt, &other));
	assert_ok(engine_repair_maps(other, DESC_DISK, "d", &rep));
	engine_close(other);
	assert_int_equal(rep.pages, 1);
	assert_int_equal(rep.chunks, 1);
	sweep();
	attach();
	holds(disk, &now);
	assert_int_equal(entries("layers"), 1);
}

/* Of what is below, the layer that was merged said zeros: its child had to say
 * so itself from then on. */
static void
what_was_discarded_in_a_merge_came_back_from_below(void **state)
{
	enum entry_state entry;
	uint8_t salt[12];

	(void)state;
	write_at(0, 64 * KiB, 1);
	write_at(4 * MiB, 64 * KiB, 2);
	snap("z");
	zero_at(0, 8 * MiB);
	write_at(8 * MiB, 64 * KiB, 3);
	snap("a");
	write_at(0, 4 * KiB, 4);
	drop("d@a");
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(engine_merge(env.e, NULL), 1);
	zero_at(0, 8 * MiB);
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(layer_entry(disk->top, env.s, i, &entry, salt));
		assert_int_equal(entry, ENTRY_ZERO);
	}
	sweep();
	holds(disk, &now);
	assert_ok(disk_detach(disk));
	attach();
	holds(disk, &now);
	assert_int_equal(entries("layers"), 2);
}

/* ---- the frame ---- */

static int
setup(void **state)
{
	struct store *mem, *st;

	(void)state;
	memset(&now, 0, sizeof(now));
	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &st));
	eenv_begin(&env, st, CIPHER_AES256_GCM);
	env.opt.quiet_ms = 1;
	env.opt.merge_chunks = 1;
	eenv_reopen(&env);
	eenv_create(&env, "d", SIZE);
	attach();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (disk)
		disk_abandon(disk);
	disk = NULL;
	eenv_end(&env);
	return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_attached_snapshot_is_read_while_what_is_below_it_is_merged),
		T(what_passed_stays_where_two_merges_come_before_a_sweep),
		T(a_child_that_went_first_took_what_its_parent_still_named),
		T(what_has_passed_is_not_merged_into_behind_its_owner),
		T(the_file_of_what_passes_is_held),
		T(what_has_passed_can_be_discarded),
		T(merging_does_not_use_up_layers),
		T(a_read_that_is_under_way_is_not_overtaken),
		T(a_disk_shrinks_while_it_is_frozen),
		T(a_disk_shrinks_while_a_merge_is_said_again),
		T(what_goes_while_the_store_is_swept_is_swept_too),
		T(a_parent_is_gone_for_good_though_it_is_said_to_have_stayed),
		T(a_snapshot_that_failed_leaves_a_disk_that_attaches),
		T(a_name_that_could_not_be_removed_for_good_keeps_what_it_holds),
		T(a_layer_that_is_damaged_does_not_hold_up_other_disks),
		T(a_parent_that_is_not_frozen_was_opened_again_by_each_read),
		T(a_layer_whose_removal_a_power_cut_stops_takes_nothing_along),
		T(a_merge_that_was_killed_is_made_durable),
		T(a_merge_went_on_behind_a_repair),
		T(what_was_discarded_in_a_merge_came_back_from_below),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
