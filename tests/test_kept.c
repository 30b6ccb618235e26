/*
 * test_kept.c - what outlives a process that serves disks (kept.h): slots, the
 * ring, and the disks that are gone on with.
 *
 * The model: a process dies at random, between two calls of the engine or
 * within one, where the store does nothing any more from some call on.  Whoever
 * goes on must see what was acknowledged, flushed or not; of what was under way
 * each block is the old or the new one.  The power fails at random, too: then
 * each block is what it was at the last flush, or any of what came after.
 *
 *	SEALDISK_SEED=N SEALDISK_STEPS=N tests/test_kept
 */
#include "engine_env.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fault_store.h"
#include "kept_private.h"
#include "mem_store.h"
#include "snapshot.h"

#define CHUNKS 3U
#define BLOCKS (CHUNKS * CHUNK_BLOCKS)
#define PAST 8 /* values of a block that a power cut may bring back */

struct model {
	uint32_t now;
	uint32_t past[PAST];
	unsigned n; /* more than PAST: any value is taken */
};

static struct engine_env env;
static struct store *inner;
static struct kept *kept;
static struct disk *disk;
static struct model model[BLOCKS];
static uint64_t seed, state;
static uint32_t next_value;
static unsigned deaths, inside, cuts, snapshots;

static uint64_t
rnd(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

static void
fill(uint8_t *p, unsigned n, uint32_t value)
{
	for (unsigned i = 0; i < n * BLOCK_SIZE / sizeof(value); i++)
		memcpy(p + i * sizeof(value), &value, sizeof(value));
}

static void __attribute__((__noreturn__))
wrong(const char *what, unsigned block, uint32_t got)
{
	fprintf(stderr, "SEALDISK_SEED=%llu: %s: block %u is %u, was %u\n",
		(unsigned long long)seed, what, block, got, model[block].now);
	fail();
	abort();
}

/* ---- the model ---- */

static void
set(unsigned block, uint32_t value)
{
	struct model *m = &model[block];

	m->now = value;
	if (m->n < PAST)
		m->past[m->n] = value;
	m->n++;
}

static bool
may_be(const struct model *m, uint32_t value)
{
	if (m->n > PAST)
		return true;
	for (unsigned i = 0; i < m->n; i++)
		if (m->past[i] == value)
			return true;
	return false;
}

static void
flushed(void)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		model[i].past[0] = model[i].now;
		model[i].n = 1;
	}
}

/* What each block holds; all of it one value. */
static void
read_all(uint32_t *ret)
{
	static uint8_t buf[GROUP_LEN];

	for (unsigned at = 0; at < BLOCKS; at += GROUP_BLOCKS) {
		assert_ok(disk_read(disk, env.s, buf, sizeof(buf),
				    (uint64_t)at * BLOCK_SIZE));
		for (unsigned i = 0; i < GROUP_BLOCKS; i++) {
			const uint8_t *b = buf + (size_t)i * BLOCK_SIZE;

			memcpy(&ret[at + i], b, sizeof(*ret));
			if (memcmp(b, b + sizeof(*ret),
				   BLOCK_SIZE - sizeof(*ret)) != 0)
				wrong("torn", at + i, ret[at + i]);
		}
	}
}

/* ---- processes ---- */

static void
new_kept(void)
{
	memset(kept, 0, kept_size());
	kept_init(kept);
}

static void
begin_process(void)
{
	env.opt.kept = kept;
	env.opt.cache_size = 1 << 20;
	eenv_open(&env);
}

/* What was under way, blocks from ${first} on, is old or new. */
static void
go_on(unsigned first, unsigned n, uint32_t value)
{
	static uint32_t got[BLOCKS];
	enum desc_type type;
	struct uuid uuid;
	unsigned slot;

	fault_arm(env.st, 0, 0, false);
	mem_store_kill(inner);
	disk_die(disk);
	engine_close(env.e);
	begin_process();
	slot = kept_next(kept, 0, &type, &uuid);
	assert_true(slot < KEPT_DISKS);
	/* Of the error that stands for the death, not of a sync. */
	atomic_store(&kept->disks[slot].failed, 0);
	assert_ok(disk_resume(env.e, slot, "a", -1, &disk));
	deaths++;
	read_all(got);
	for (unsigned i = 0; i < BLOCKS; i++) {
		bool under_way = i >= first && i < first + n;

		if (got[i] == model[i].now)
			continue;
		if (!under_way || got[i] != value)
			wrong("after a death", i, got[i]);
		set(i, value);
	}
}

static void
cut_power(void)
{
	static uint32_t got[BLOCKS];

	mem_store_crash(inner, rnd(UINT32_MAX));
	disk_die(disk);
	engine_close(env.e);
	new_kept();
	begin_process();
	assert_ok(disk_attach(env.e, DESC_DISK, "a", 0, &disk));
	cuts++;
	read_all(got);
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (!may_be(&model[i], got[i]))
			wrong("after a power cut", i, got[i]);
		model[i].now = got[i];
	}
	/* It was settled: nothing else can come back. */
	assert_ok(disk_flush(disk));
	flushed();
}

/* ---- steps ---- */

static void
choose(unsigned *first, unsigned *n)
{
	static const unsigned lens[] = { 1, 1, 2, 9, GROUP_BLOCKS, 200 };

	*n = lens[rnd(6)];
	*first = (unsigned)rnd(BLOCKS - *n);
	/* Again and again the same: slots are short there. */
	if (rnd(2))
		*first %= 2 * GROUP_BLOCKS;
}

/* ${r}: of a change of these blocks. */
static void
changed(int r, unsigned first, unsigned n, uint32_t value)
{
	if (r == 0 && !fault_fired(env.st)) {
		for (unsigned i = first; i < first + n; i++)
			set(i, value);
		return;
	}
	inside++;
	go_on(first, n, value);
}

static void
step_write(void)
{
	static uint8_t buf[256 * BLOCK_SIZE];
	unsigned first, n;
	uint32_t value = ++next_value;

	choose(&first, &n);
	fill(buf, n, value);
	changed(disk_write(disk, env.s, buf, (size_t)n * BLOCK_SIZE,
			   (uint64_t)first * BLOCK_SIZE),
		first, n, value);
}

static void
step_zero(void)
{
	unsigned first, n;

	choose(&first, &n);
	if (rnd(3) == 0) {
		first = (unsigned)rnd(CHUNKS) * CHUNK_BLOCKS;
		n = CHUNK_BLOCKS;
	}
	changed(disk_zero(disk, env.s, (uint64_t)first * BLOCK_SIZE,
			  (uint64_t)n * BLOCK_SIZE),
		first, n, 0);
}

static void
step_flush(void)
{
	int r = rnd(2) ? disk_flush(disk) : disk_background(disk);

	if (r < 0 || fault_fired(env.st)) {
		inside++;
		go_on(0, 0, 0);
	} else {
		flushed();
	}
}

/* Its name is there, or it is not: what it holds other tests look at. */
static void
step_snapshot(void)
{
	char name[32];
	const struct snapshot_request q = { .disk = disk,
					    .type = DESC_SNAPSHOT,
					    .name = name };

	(void)snprintf(name, sizeof(name), "s%u", snapshots++);
	if (disks_snapshot(env.e, env.s, &q, 1) < 0 || fault_fired(env.st)) {
		inside++;
		go_on(0, 0, 0);
	} else {
		flushed();
	}
}

static void
step(void)
{
	if (rnd(4) == 0)
		fault_arm(env.st, 1 + (unsigned)rnd(40), -EIO, true);
	switch (rnd(16)) {
	case 0:
	case 1:
		step_zero();
		break;
	case 2:
	case 3:
		step_flush();
		break;
	case 4:
		step_snapshot();
		break;
	default:
		step_write();
	}
	fault_arm(env.st, 0, 0, false);
	if (rnd(12) == 0)
		go_on(0, 0, 0);
	else if (rnd(40) == 0)
		cut_power();
}

/* ---- the tests ---- */

static int
setup(void **unused)
{
	struct store *st;

	(void)unused;
	kept = aligned_alloc(4096, (kept_size() + 4095) / 4096 * 4096);
	assert_non_null(kept);
	new_kept();
	eenv_keys(&env);
	assert_ok(mem_store_open(&inner));
	assert_ok(fault_store_new(inner, &st));
	eenv_start(&env, st, CIPHER_AES256_GCM);
	engine_close(env.e);
	begin_process();
	eenv_create(&env, "a", (uint64_t)BLOCKS * BLOCK_SIZE);
	assert_ok(disk_attach(env.e, DESC_DISK, "a", 0, &disk));
	memset(model, 0, sizeof(model));
	flushed();
	return 0;
}

static int
teardown(void **unused)
{
	(void)unused;
	if (disk)
		assert_ok(disk_detach(disk));
	disk = NULL;
	eenv_end(&env);
	free(kept);
	return 0;
}

static void
what_was_acknowledged_outlives_its_process(void **unused)
{
	const char *s = getenv("SEALDISK_SEED"), *n = getenv("SEALDISK_STEPS");
	unsigned steps = getenv("SEALDISK_TEST_SLOW") ? 20000 : 700;

	(void)unused;
	seed = s ? strtoull(s, NULL, 10) : 20261125;
	state = seed * 0x9e3779b97f4a7c15ULL + 1;
	if (n)
		steps = (unsigned)strtoul(n, NULL, 10);
	for (unsigned i = 0; i < steps; i++)
		step();
	printf("%u deaths, %u of them within a call, %u power cuts\n", deaths,
	       inside, cuts);
	assert_true(deaths > steps / 20 && inside > 0 && cuts > 0);
}

static void
a_detached_disk_leaves_nothing_behind(void **unused)
{
	static const uint8_t none[KEY_LEN];
	enum desc_type type;
	struct uuid uuid;
	unsigned slot = kept_next(kept, 0, &type, &uuid);

	(void)unused;
	assert_true(slot < KEPT_DISKS);
	assert_int_equal(type, DESC_DISK);
	assert_memory_not_equal(kept->disks[slot].dks[0].key, none, KEY_LEN);
	assert_ok(disk_detach(disk));
	disk = NULL;
	assert_int_equal(kept_next(kept, 0, &type, &uuid), KEPT_DISKS);
	for (size_t i = 0; i < DISK_DKS; i++) {
		assert_memory_equal(kept->disks[slot].dks[i].key, none,
				    KEY_LEN);
		assert_int_equal(kept->disks[slot].dks[i].valid, 0);
	}
}

/* A cell that was never finished is passed over, what follows it is not. */
static void
a_torn_cell_is_none(void **unused)
{
	static uint8_t buf[BLOCK_SIZE];
	static uint32_t got[BLOCKS];
	enum desc_type type;
	struct uuid uuid;
	uint64_t at;
	unsigned slot;

	(void)unused;
	fill(buf, 1, 1);
	assert_ok(disk_write(disk, env.s, buf, sizeof(buf), 0));
	at = atomic_load(&kept->head) - 1;
	fill(buf, 1, 2);
	assert_ok(disk_write(disk, env.s, buf, sizeof(buf), BLOCK_SIZE));
	atomic_store(&kept->cells[at % KEPT_CELLS].seq, 0);
	mem_store_kill(inner);
	disk_die(disk);
	engine_close(env.e);
	begin_process();
	slot = kept_next(kept, 0, &type, &uuid);
	assert_ok(disk_resume(env.e, slot, "a", -1, &disk));
	read_all(got);
	assert_int_equal(got[0], 0);
	assert_int_equal(got[1], 2);
}

static void
die_and_resume(void)
{
	enum desc_type type;
	struct uuid uuid;
	unsigned slot;

	mem_store_kill(inner);
	disk_die(disk);
	engine_close(env.e);
	begin_process();
	slot = kept_next(kept, 0, &type, &uuid);
	assert_true(slot < KEPT_DISKS);
	assert_ok(disk_resume(env.e, slot, "a", -1, &disk));
}

/* The map goes from one chunk to another in the same place; were half of that
 * noted behind the whole, a death in between would lose the chunk. */
static void
a_resume_notes_nothing_of_the_map(void **unused)
{
	static uint8_t buf[BLOCK_SIZE];
	static uint32_t got[BLOCKS];
	uint64_t head;

	(void)unused;
	fill(buf, 1, 1);
	assert_ok(disk_write(disk, env.s, buf, sizeof(buf), 0));
	assert_ok(disk_flush(disk));
	assert_ok(disk_zero(disk, env.s, 0, CHUNK_LEN));
	fill(buf, 1, 2);
	assert_ok(disk_write(disk, env.s, buf, sizeof(buf), 0));
	head = atomic_load(&kept->head);
	for (unsigned i = 0; i < 3; i++) {
		die_and_resume();
		assert_int_equal(atomic_load(&kept->head), head);
	}
	read_all(got);
	assert_int_equal(got[0], 2);
	assert_ok(disk_flush(disk));
	read_all(got);
	assert_int_equal(got[0], 2);
}

/* A block that is 1, flushed, is 2 when its process dies. */
static void
write_and_die(void)
{
	static uint8_t buf[BLOCK_SIZE];

	fill(buf, 1, 1);
	assert_ok(disk_write(disk, env.s, buf, sizeof(buf), 0));
	assert_ok(disk_flush(disk));
	fill(buf, 1, 2);
	assert_ok(disk_write(disk, env.s, buf, sizeof(buf), 0));
	die_and_resume();
}

/* The power fails, and nothing outlives that but the store. */
static void
cut_and_attach(void)
{
	mem_store_crash(inner, 7);
	disk_die(disk);
	engine_close(env.e);
	new_kept();
	begin_process();
	assert_ok(disk_attach(env.e, DESC_DISK, "a", 0, &disk));
}

/* What the dead had committed and not mirrored lies in one copy alone: where
 * that cannot be read, the other is not taken for it. */
static void
an_older_copy_was_served_after_a_death(void **unused)
{
	static uint8_t buf[BLOCK_SIZE], want[BLOCK_SIZE];

	(void)unused;
	fill(buf, 1, 1);
	assert_ok(disk_write(disk, env.s, buf, sizeof(buf), 0));
	assert_ok(disk_background(disk));
	fill(want, 1, 2);
	assert_ok(disk_write(disk, env.s, want, sizeof(want), 0));
	assert_ok(disk_flush(disk));
	for (unsigned copy = 0; copy < 2; copy++) {
		die_and_resume();
		mem_store_spoil(inner, ".chunk",
				SUPER_LEN + page_offset(0, copy), PAGE_LEN);
		if (disk_read(disk, env.s, buf, sizeof(buf), 0) == 0)
			assert_memory_equal(buf, want, sizeof(buf));
		mem_store_spoil(inner, "", 0, 0);
	}
}

/* What was acknowledged before a death and cannot be read just now is neither
 * given up nor said to be durable. */
static void
a_flush_waits_for_what_cannot_be_read(void **unused)
{
	static uint32_t got[BLOCKS];

	(void)unused;
	write_and_die();
	fault_kinds(env.st, FAULT_READ);
	fault_arm(env.st, 1, -EIO, true);
	assert_err(disk_flush(disk), EIO);
	fault_arm(env.st, 0, 0, false);
	fault_kinds(env.st, FAULT_ALL);
	die_and_resume();
	read_all(got);
	assert_int_equal(got[0], 2);
	assert_ok(disk_flush(disk));
	cut_and_attach();
	read_all(got);
	assert_int_equal(got[0], 2);
}

void __real_page_dirty(struct page *p, uint64_t bytes);
void __wrap_page_dirty(struct page *p, uint64_t bytes);

/* A flush that begins where a page is just becoming dirty. */
static struct {
	bool wanted;
	pthread_t thread;
	atomic_bool over;
	int r;
} flush;

static void *
flush_main(void *arg)
{
	flush.r = disk_flush(arg);
	atomic_store(&flush.over, true);
	return NULL;
}

void
__wrap_page_dirty(struct page *p, uint64_t bytes)
{
	if (flush.wanted) {
		flush.wanted = false;
		assert_int_equal(pthread_create(&flush.thread, NULL, flush_main,
						p->disk),
				 0);
		/* It has no reason to be over. */
		for (unsigned i = 0; i < 200 && !atomic_load(&flush.over); i++)
			(void)nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	__real_page_dirty(p, bytes);
}

/* What the dead one had acknowledged is read by one thread, which makes it
 * again, and flushed by another. */
static void
a_flush_was_over_before_what_was_made_again_was_dirty(void **unused)
{
	static uint8_t buf[BLOCK_SIZE];
	static uint32_t got[BLOCKS];

	(void)unused;
	write_and_die();
	flush.wanted = true;
	assert_ok(disk_read(disk, env.s, buf, sizeof(buf), 0));
	assert_false(flush.wanted);
	assert_int_equal(pthread_join(flush.thread, NULL), 0);
	assert_ok(flush.r);
	cut_and_attach();
	read_all(got);
	assert_int_equal(got[0], 2);
}

/* Commits are asked for, and waited for where they do not come, before what is
 * needed is overwritten. */
static void
the_ring_is_never_too_short(void **unused)
{
	static uint8_t buf[BLOCK_SIZE];
	uint64_t needed;

	(void)unused;
	for (uint32_t i = 1; i < 3 * KEPT_CELLS / 2; i++) {
		fill(buf, 1, i);
		assert_ok(disk_write(disk, env.s, buf, 512,
				     (uint64_t)(i % 64) * BLOCK_SIZE));
		needed = atomic_load(&kept->head) -
			 atomic_load(&disk->slot->committed);
		assert_true(needed <= KEPT_CELLS);
	}
	assert_true(atomic_load(&kept->head) > KEPT_CELLS);
}

/* What is counted as it comes and goes may be below zero for a while. */
static void
a_count_below_zero_is_none(void **unused)
{
	static uint8_t buf[BLOCK_SIZE];
	struct disk_stats stats;

	(void)unused;
	fill(buf, 1, 1);
	assert_ok(disk_write(disk, env.s, buf, sizeof(buf), 0));
	atomic_store(&disk->allocated, -100);
	assert_ok(disk_flush(disk));
	mem_store_kill(inner);
	disk_die(disk);
	engine_close(env.e);
	begin_process();
	assert_ok(disk_resume(env.e, 0, "a", -1, &disk));
	disk_stats(disk, &stats);
	assert_int_equal(stats.allocated, 0);
	assert_ok(disk_rename(disk, "b"));
}

/* Its lock, as whoever outlives its process holds it for the next one. */
static struct store_lock *
keep_lock_of(const struct uuid *uuid)
{
	struct store_lock *l;
	struct catalog *c;

	assert_ok(catalog_open(env.st, &c));
	assert_ok(catalog_lock_disk(c, uuid, "", &l));
	catalog_close(c);
	return l;
}

/* Its old name or the new one, alone, and its snapshot goes along. */
static void
go_on_renamed(const char *from, const char *to, const char **ret_now)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	char snap[64];
	enum desc_type type;
	struct uuid uuid;
	struct store_lock *l;
	unsigned slot;
	bool is_new;

	assert_non_null(d);
	fault_arm(env.st, 0, 0, false);
	mem_store_kill(inner);
	disk_die(disk);
	engine_close(env.e);
	slot = kept_next(kept, 0, &type, &uuid);
	assert_true(slot < KEPT_DISKS);
	l = keep_lock_of(&uuid);
	begin_process();
	store_unlock(l);
	is_new = catalog_load(env.e->cat, DESC_DISK, to, d, NULL, NULL) == 0;
	*ret_now = is_new ? to : from;
	assert_err(catalog_load(env.e->cat, DESC_DISK, is_new ? from : to, d,
				NULL, NULL),
		   ENOENT);
	(void)snprintf(snap, sizeof(snap), "%s@s", *ret_now);
	assert_ok(catalog_load(env.e->cat, DESC_SNAPSHOT, snap, d, NULL, NULL));
	assert_ok(disk_resume(env.e, slot, *ret_now, -1, &disk));
}

/* A death at each call of it. */
static void
a_rename_leaves_one_name(void **unused)
{
	static const char *const names[] = { "a", "b" };
	const struct snapshot_request q = { .disk = disk,
					    .type = DESC_SNAPSHOT,
					    .name = "s" };
	const char *now = names[0], *to;
	unsigned n = 0, done = 0;
	bool fired;

	(void)unused;
	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
	do {
		to = names[now == names[0]];
		fault_arm(env.st, ++n, -EIO, true);
		(void)!disk_rename(disk, to);
		fired = fault_fired(env.st);
		go_on_renamed(now, to, &now);
		done += now == to;
	} while (fired);
	assert_true(n > 5 && done > 1);
}

/* Then also what its descriptor was before the rename. */
static void
a_cut_gave_a_disk_that_was_gone_on_with_its_old_name_back(void **unused)
{
	static const char *const names[] = { "a", "b" };
	const struct snapshot_request q = { .disk = disk,
					    .type = DESC_SNAPSHOT,
					    .name = "s" };
	const char *now = names[0], *to;
	unsigned n = 0;
	bool fired;

	(void)unused;
	mem_store_record(inner, NULL, NULL);
	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
	do {
		to = names[now == names[0]];
		fault_arm(env.st, ++n, -EIO, true);
		(void)!disk_rename(disk, to);
		fired = fault_fired(env.st);
		go_on_renamed(now, to, &now);
		assert_true(mem_store_settled(inner, "disks/a.ini"));
		assert_true(mem_store_settled(inner, "disks/b.ini"));
	} while (fired);
}

static void
another_layout_is_refused(void **unused)
{
	(void)unused;
	assert_ok(kept_check(kept, kept_size()));
	assert_err(kept_check(kept, kept_size() - 1), EPROTONOSUPPORT);
	kept->version++;
	assert_err(kept_check(kept, kept_size()), EPROTONOSUPPORT);
	kept->version--;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    what_was_acknowledged_outlives_its_process, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(
		    a_detached_disk_leaves_nothing_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(a_torn_cell_is_none, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
		    a_resume_notes_nothing_of_the_map, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    an_older_copy_was_served_after_a_death, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_flush_waits_for_what_cannot_be_read, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_flush_was_over_before_what_was_made_again_was_dirty,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(the_ring_is_never_too_short,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_count_below_zero_is_none,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_cut_gave_a_disk_that_was_gone_on_with_its_old_name_back,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(a_rename_leaves_one_name, setup,
						teardown),
		cmocka_unit_test_setup_teardown(another_layout_is_refused,
						setup, teardown),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
