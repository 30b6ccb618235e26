/*
 * test_disk.c - the engine, one promise a test.
 */
#include "engine_env.h"
#include "engine_private.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#define MiB (1ULL << 20)

static int
setup(void **state)
{
	struct engine_env *v = calloc(1, sizeof(*v));

	assert_non_null(v);
	eenv_begin(v, NULL, CIPHER_AES256_GCM);
	*state = v;
	return 0;
}

static int
teardown(void **state)
{
	eenv_end(*state);
	free(*state);
	return 0;
}

static void
fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = (uint8_t)(seed >> 16) | 1;
	}
}

static void
what_was_written_reads_back_after_detach(void **state)
{
	struct engine_env *v = *state;
	static uint8_t a[3 * MiB], b[3 * MiB];
	struct disk *d;

	eenv_create(v, "a", 64 * MiB);
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	fill(a, sizeof(a), 1);
	assert_ok(disk_write(d, v->s, a, sizeof(a), 3 * MiB + 1000));
	assert_ok(disk_read(d, v->s, b, sizeof(b), 3 * MiB + 1000));
	assert_memory_equal(a, b, sizeof(a));
	assert_ok(disk_flush(d));
	assert_ok(disk_detach(d));
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	memset(b, 0, sizeof(b));
	assert_ok(disk_read(d, v->s, b, sizeof(b), 3 * MiB + 1000));
	assert_memory_equal(a, b, sizeof(a));
	assert_ok(disk_read(d, v->s, b, 1000, 3 * MiB));
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(b[i], 0);
	assert_ok(disk_detach(d));
}

static void
what_was_flushed_survives_a_kill(void **state)
{
	struct engine_env *v = *state;
	static uint8_t a[MiB], b[MiB];
	struct disk_stats st;
	struct disk *d;

	eenv_create(v, "a", 64 * MiB);
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	fill(a, sizeof(a), 2);
	assert_ok(disk_write(d, v->s, a, sizeof(a), 5 * MiB));
	assert_ok(disk_flush(d));
	disk_abandon(d);
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	assert_ok(disk_read(d, v->s, b, sizeof(b), 5 * MiB));
	assert_memory_equal(a, b, sizeof(a));
	disk_stats(d, &st);
	assert_true(st.unclean);
	assert_int_equal(st.faults, 0);
	assert_ok(disk_detach(d));
}

static unsigned
below(unsigned n)
{
	static uint64_t x = 1;

	x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(x >> 33) % n;
}

#define COUNTED (32 * MiB)
static bool holds[COUNTED / 4096]; /* each block of a disk */

/* A write or discard, of some blocks or of chunks whole. */
static void
change(struct engine_env *v, struct disk *d)
{
	static uint8_t buf[64 * 4096];
	uint64_t n = 1 + below(sizeof(buf) / 4096);
	uint64_t at = below(COUNTED / 4096 - n);
	unsigned what = below(16);

	if (what == 0) {
		n = 1024 * (1 + below(3));
		at = 1024 * below(5);
	}
	memset(buf, 1 + what, sizeof(buf));
	if (what > 4)
		assert_ok(disk_write(d, v->s, buf, n * 4096, at * 4096));
	else
		assert_ok(disk_zero(d, v->s, at * 4096, n * 4096));
	for (uint64_t i = 0; i < n; i++)
		holds[at + i] = what > 4;
}

static bool
counts(struct disk *d)
{
	struct disk_stats st;
	uint64_t n = 0;

	for (size_t i = 0; i < COUNTED / 4096; i++)
		n += holds[i];
	disk_stats(d, &st);
	return st.allocated == n * 4096;
}

/* How much it holds was known of its last clean detach alone. */
static void
a_kill_does_not_make_it_forget_how_much_it_holds(void **state)
{
	struct engine_env *v = *state;
	struct disk *d;

	v->e->quiet_ms = 0;
	memset(holds, 0, sizeof(holds));
	eenv_create(v, "a", COUNTED);
	for (unsigned round = 0; round < 12; round++) {
		assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
		/* Some of it while it is being counted. */
		for (unsigned i = 0; i < 40; i++) {
			change(v, d);
			if (below(3) == 0)
				d->e->quiet_ms = below(2);
			if (below(8) == 0)
				assert_ok(disk_background(d));
		}
		v->e->quiet_ms = 0;
		if (round % 4 == 3) {
			for (unsigned i = 0; i < 500 && !counts(d); i++)
				assert_ok(disk_background(d));
			assert_true(counts(d));
		}
		assert_ok(disk_flush(d));
		disk_abandon(d);
	}
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	for (unsigned i = 0; i < 500 && !counts(d); i++)
		assert_ok(disk_background(d));
	assert_ok(disk_detach(d));
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	assert_true(counts(d));
	assert_ok(disk_detach(d));
}

static void
a_group_can_be_rewritten_without_end(void **state)
{
	struct engine_env *v = *state;
	static uint8_t a[512 * 1024], b[512 * 1024];
	struct disk *d;

	eenv_create(v, "a", 8 * MiB);
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	for (unsigned i = 0; i < 20; i++) {
		fill(a, sizeof(a), i);
		assert_ok(disk_write(d, v->s, a, sizeof(a), 0));
	}
	for (unsigned i = 0; i < 1000; i++) {
		fill(a + 4096 * 7, 4096, i);
		assert_ok(disk_write(d, v->s, a + 4096 * 7, 4096, 4096 * 7));
	}
	assert_ok(disk_read(d, v->s, b, sizeof(b), 0));
	assert_memory_equal(a, b, sizeof(a));
	assert_ok(disk_detach(d));
}

static void
a_chunk_gets_a_new_key_before_its_old_one_is_worn(void **state)
{
	struct engine_env *v = *state;
	static uint8_t a[512 * 1024], b[512 * 1024];
	struct disk_stats st;
	struct disk *d;

	engine_close(v->e);
	v->opt.seal_limit = 300;
	assert_ok(engine_open(v->st, v->kms, &v->opt, &v->e));
	eenv_create(v, "a", 8 * MiB);
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	for (unsigned i = 0; i < 20; i++) {
		fill(a, sizeof(a), i);
		assert_ok(disk_write(d, v->s, a, sizeof(a), MiB));
	}
	assert_ok(disk_flush(d));
	assert_ok(disk_background(d));
	disk_stats(d, &st);
	assert_int_equal(st.allocated, 512 * 1024);
	assert_ok(disk_detach(d));
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	assert_ok(disk_read(d, v->s, b, sizeof(b), MiB));
	assert_memory_equal(a, b, sizeof(a));
	assert_ok(disk_detach(d));
}

/* More blocks than may be sealed: a new key would be worn at once, and each
 * write came to no end. */
static void
a_chunk_with_more_blocks_than_seals_was_rewritten_for_ever(void **state)
{
	struct engine_env *v = *state;
	static uint8_t a[512 * 1024], b[512 * 1024];
	struct disk *d;

	engine_close(v->e);
	v->opt.seal_limit = 40;
	assert_ok(engine_open(v->st, v->kms, &v->opt, &v->e));
	eenv_create(v, "a", 8 * MiB);
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &d));
	for (unsigned i = 0; i < 3; i++) {
		fill(a, sizeof(a), i);
		assert_ok(disk_write(d, v->s, a, sizeof(a), MiB));
		fill(a, 8192, i + 7);
		assert_ok(disk_write(d, v->s, a, 8192, MiB));
	}
	assert_ok(disk_flush(d));
	assert_ok(disk_read(d, v->s, b, sizeof(b), MiB));
	assert_memory_equal(a, b, sizeof(a));
	assert_ok(disk_detach(d));
}

/* Of the whole process, in milliseconds. */
static long
cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000L + t.tv_nsec / 1000000L;
}

/* A detach asks the other disks to commit, whether they have anything to. */
static void
a_detach_leaves_the_other_disks_asleep(void **state)
{
	struct engine_env *v = *state;
	static uint8_t a[MiB];
	struct disk *idle, *d;
	long before;

	v->opt.manual = false;
	eenv_reopen(v);
	eenv_create(v, "a", 8 * MiB);
	eenv_create(v, "b", 8 * MiB);
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &idle));
	assert_ok(disk_attach(v->e, DESC_DISK, "b", 0, &d));
	fill(a, sizeof(a), 3);
	assert_ok(disk_write(d, v->s, a, sizeof(a), 0));
	assert_ok(disk_detach(d));
	(void)usleep(50000);
	before = cpu_ms();
	(void)usleep(500000);
	assert_true(cpu_ms() - before < 50);
	assert_ok(disk_detach(idle));
}

/* Whoever detaches one looks at all chunks of the pool, and one of them may
 * become another disk's as he has just looked. */
static void
a_detach_took_chunks_of_other_disks_out_of_the_cache(void **state)
{
	struct engine_env *v = *state;
	static uint8_t a[BLOCK_SIZE];
	struct disk *other, *d;
	struct chunk *c, *now;

	eenv_create(v, "a", 8 * MiB);
	eenv_create(v, "b", 8 * MiB);
	assert_ok(disk_attach(v->e, DESC_DISK, "a", 0, &other));
	assert_ok(disk_attach(v->e, DESC_DISK, "b", 0, &d));
	fill(a, sizeof(a), 5);
	assert_ok(disk_write(other, v->s, a, sizeof(a), 0));
	c = chunk_peek(other->top, 0);
	assert_non_null(c);
	chunk_unhash_of(c, d, NULL);
	now = chunk_peek(other->top, 0);
	assert_ptr_equal(now, c);
	chunk_put(now);
	chunk_unhash_of(c, other, NULL);
	assert_null(chunk_peek(other->top, 0));
	chunk_put(c);
	assert_ok(disk_detach(d));
	assert_ok(disk_detach(other));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(what_was_written_reads_back_after_detach),
		T(what_was_flushed_survives_a_kill),
		T(a_kill_does_not_make_it_forget_how_much_it_holds),
		T(a_group_can_be_rewritten_without_end),
		T(a_chunk_gets_a_new_key_before_its_old_one_is_worn),
		T(a_chunk_with_more_blocks_than_seals_was_rewritten_for_ever),
		T(a_detach_leaves_the_other_disks_asleep),
		T(a_detach_took_chunks_of_other_disks_out_of_the_cache),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
