/*
 * test_stress.c - many threads on two disks of one engine.
 *
 * Four writers and one that discards own parts of both disks, which share
 * chunks, groups and pages with the parts of others; each knows what its blocks
 * hold, and what they may hold after a crash.  Beside them one thread flushes
 * and one reads everything.  The engine has its background threads, hardly any
 * memory, and fewer descriptors than there are chunks.  Now and then all stop,
 * and the disks are detached, the process killed or the power cut; then all
 * that is there is compared.
 *
 *   SEALDISK_SECONDS=N SEALDISK_SEED=N tests/test_stress
 */
#include "block_model.h"
#include "engine_env.h"
#include "mem_store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define BLOCK MODEL_BLOCK

#define DISKS 2
#define OWNERS 5 /* the last one discards */
#define PIECES 6 /* of each owner */
#define PIECE (1 * MiB)
/* Pieces lie so that most share a chunk and its groups with another. */
#define STRIDE (4 * MiB + 20 * KiB)
/* Then blocks that belong to one after the other, and two whole chunks. */
#define STRIPE_AT (PIECES * OWNERS * STRIDE)
#define STRIPE_BLOCKS 100 /* of each owner */
#define CHUNKS_AT (34ull * 4 * MiB)
#define CHUNKS_LEN (8 * MiB)
#define DISK_LEN (CHUNKS_AT + CHUNKS_LEN)

/* An owner's blocks, in its own numbering. */
#define LOCAL_STRIPE (PIECES * PIECE)
#define LOCAL_CHUNKS (LOCAL_STRIPE + STRIPE_BLOCKS * BLOCK)
#define LOCAL_LEN (LOCAL_CHUNKS + CHUNKS_LEN)

struct owner {
	unsigned n;
	struct model model[DISKS];
	struct scratch *s;
	uint64_t rng;
	uint8_t *buf; /* PIECE */
};

static struct engine_env env;
static struct disk *disks[DISKS];
static struct owner owners[OWNERS];
static atomic_bool stop;
static uint64_t seed;

/* cmocka's own would jump into another thread's stack. */
#define REQUIRE(expr) require((expr) ? 0 : 1, #expr, __LINE__)
#define REQUIRE_OK(expr) require((expr), #expr, __LINE__)

static void
require(int r, const char *what, int line)
{
	if (r == 0)
		return;
	(void)fprintf(stderr,
		      "test_stress.c:%d: %s: %d\nSEALDISK_SEED=%" PRIu64 "\n",
		      line, what, r, seed);
	abort();
}

static uint64_t
rnd(struct owner *o, uint64_t n)
{
	o->rng ^= o->rng << 13;
	o->rng ^= o->rng >> 7;
	o->rng ^= o->rng << 17;
	return o->rng % n;
}

/* Where a local offset lies on the disk. */
static uint64_t
place(const struct owner *o, uint64_t off)
{
	if (off < LOCAL_STRIPE)
		return (off / PIECE * OWNERS + o->n) * STRIDE + off % PIECE;
	off -= LOCAL_STRIPE;
	if (off < STRIPE_BLOCKS * BLOCK)
		return STRIPE_AT + (off / BLOCK * OWNERS + o->n) * BLOCK +
		       off % BLOCK;
	return CHUNKS_AT + off - STRIPE_BLOCKS * BLOCK;
}

/* A range in one piece, or in one block of the stripe. */
static void
choose(struct owner *o, uint64_t *off, uint64_t *len)
{
	static const unsigned shapes[] = { 4 * KiB,  4 * KiB,   4 * KiB,
					   16 * KiB, 128 * KiB, PIECE };
	uint64_t unit = rnd(o, 4) ? BLOCK : 1, base, room = PIECE;

	base = rnd(o, PIECES) * PIECE;
	if (rnd(o, 4) == 0) {
		base = LOCAL_STRIPE + rnd(o, STRIPE_BLOCKS) * BLOCK;
		room = BLOCK;
	} else if (o->n == OWNERS - 1 && rnd(o, 2)) {
		base = LOCAL_CHUNKS;
		room = CHUNKS_LEN;
	}
	*off = rnd(o, room) / unit * unit;
	*len = (rnd(o, shapes[rnd(o, 6)]) / unit + 1) * unit;
	if (*len > room - *off)
		*len = room - *off;
	*off += base;
}

/* ---- what an owner does ---- */

static void
do_write(struct owner *o, unsigned d)
{
	uint64_t off, len;

	choose(o, &off, &len);
	fill_pattern(o->buf, len < 64 ? len : 64, rnd(o, UINT64_MAX));
	for (uint64_t i = 64; i < len; i++)
		o->buf[i] = (uint8_t)(o->buf[i - 64] + (uint8_t)(i >> 6));
	REQUIRE_OK(disk_write(disks[d], o->s, o->buf, len, place(o, off)));
	model_wrote(&o->model[d], o->buf, len, off, true);
}

static void
do_read(struct owner *o, unsigned d)
{
	uint64_t off, len;

	choose(o, &off, &len);
	REQUIRE_OK(disk_read(disks[d], o->s, o->buf, len, place(o, off)));
	REQUIRE(memcmp(o->buf, o->model[d].cur + off, len) == 0);
}

static void
do_zero(struct owner *o, unsigned d)
{
	uint64_t off, len;

	choose(o, &off, &len);
	if (off >= LOCAL_CHUNKS && rnd(o, 2)) {
		off = LOCAL_CHUNKS;
		len = rnd(o, 2) ? CHUNKS_LEN : CHUNKS_LEN / 2;
	}
	REQUIRE_OK(disk_zero(disks[d], o->s, place(o, off), len));
	model_wrote(&o->model[d], NULL, len, off, true);
}

static void
do_flush(struct owner *o, unsigned d)
{
	REQUIRE_OK(disk_flush(disks[d]));
	model_flushed(&o->model[d]);
}

static void *
own(void *arg)
{
	struct owner *o = arg;
	unsigned zeros = o->n == OWNERS - 1 ? 40 : 5;

	while (!atomic_load(&stop)) {
		unsigned d = (unsigned)rnd(o, DISKS);
		unsigned what = (unsigned)rnd(o, 100);

		if (what < zeros)
			do_zero(o, d);
		else if (what < zeros + 2)
			do_flush(o, d);
		else if (what < zeros + 22)
			do_read(o, d);
		else
			do_write(o, d);
	}
	return NULL;
}

static void *
flush_all(void *arg)
{
	unsigned n = 0;

	(void)arg;
	while (!atomic_load(&stop)) {
		REQUIRE_OK(disk_flush(disks[n++ % DISKS]));
		(void)usleep(n * 7919 % 4000);
	}
	return NULL;
}

/* Reads what others write: only that it can be read is known. */
static void *
read_all(void *arg)
{
	struct scratch *s;
	uint8_t *buf = malloc(PIECE);
	uint64_t off = 0, at;

	(void)arg;
	REQUIRE(buf && scratch_new(&s) == 0);
	while (!atomic_load(&stop)) {
		for (unsigned d = 0; d < DISKS; d++) {
			int r;

			REQUIRE_OK(disk_read(disks[d], s, buf, PIECE, off));
			r = disk_seek(disks[d], s, off, true, &at);
			REQUIRE(r == 0 || r == -ENXIO);
		}
		off = (off + PIECE) % DISK_LEN;
	}
	scratch_free(s);
	free(buf);
	return NULL;
}

/* ---- rounds ---- */

static void
work_for(unsigned ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
	pthread_t threads[OWNERS + 2];

	atomic_store(&stop, false);
	for (unsigned i = 0; i < OWNERS; i++)
		assert_ok(-pthread_create(&threads[i], NULL, own, &owners[i]));
	assert_ok(-pthread_create(&threads[OWNERS], NULL, flush_all, NULL));
	assert_ok(-pthread_create(&threads[OWNERS + 1], NULL, read_all, NULL));
	(void)nanosleep(&t, NULL);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < OWNERS + 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void
attach_all(void)
{
	for (unsigned d = 0; d < DISKS; d++)
		assert_ok(disk_attach(env.e, DESC_DISK, d ? "two" : "one", 0,
				      &disks[d]));
}

static void
detach_all(void)
{
	for (unsigned d = 0; d < DISKS; d++) {
		assert_ok(disk_detach(disks[d]));
		for (unsigned i = 0; i < OWNERS; i++)
			model_flushed(&owners[i].model[d]);
	}
}

/* ${power} only where the store is in memory. */
static void
crash(bool power, uint64_t n, bool in_memory)
{
	for (unsigned d = 0; d < DISKS; d++)
		disk_abandon(disks[d]);
	engine_close(env.e);
	env.e = NULL;
	if (in_memory && power)
		mem_store_crash(env.st, n);
	else if (in_memory)
		mem_store_kill(env.st);
	eenv_open(&env);
}

static void
check_owner(struct owner *o, unsigned d)
{
	struct model *m = &o->model[d];

	for (uint64_t b = 0; b < m->n; b++) {
		uint64_t at = place(o, b * BLOCK);

		if (m->maybe[b].n == 0 && b % 16)
			continue;
		assert_ok(disk_read(disks[d], o->s, o->buf, BLOCK, at));
		if (!model_learn(m, b, o->buf))
			fail_msg(
			    "disk %u, block %" PRIu64
			    ": holds nothing that it may (SEALDISK_SEED=%" PRIu64
			    ")",
			    d, at / BLOCK, seed);
		model_settle(m, b);
	}
	m->n_list = 0;
}

static void
check_all(void)
{
	struct disk_stats st;

	for (unsigned d = 0; d < DISKS; d++) {
		for (unsigned i = 0; i < OWNERS; i++)
			check_owner(&owners[i], d);
		disk_stats(disks[d], &st);
		assert_int_equal(st.faults, 0);
		assert_int_equal(st.commit_errors, 0);
	}
}

static void
begin(struct store *st, rlim_t files)
{
	struct rlimit rl;

	/* What the engine allows itself is three quarters of this. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = files;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	eenv_keys(&env);
	env.opt.manual = false;
	env.opt.cache_size = 64 * 5000; /* some 64 pages */
	env.opt.commit_ms = 30;
	env.opt.quiet_ms = 5;
	env.opt.seal_limit = 3000;
	eenv_start(&env, st, CIPHER_AES256_GCM);
	eenv_create(&env, "one", DISK_LEN);
	eenv_create(&env, "two", DISK_LEN);
	for (unsigned i = 0; i < OWNERS; i++) {
		struct owner *o = &owners[i];

		o->n = i;
		o->rng = (seed * OWNERS + i + 1) * 0x9e3779b97f4a7c15ULL;
		o->buf = malloc(PIECE);
		assert_non_null(o->buf);
		assert_ok(scratch_new(&o->s));
		for (unsigned d = 0; d < DISKS; d++)
			model_new(&o->model[d],
				  i == OWNERS - 1 ? LOCAL_LEN : LOCAL_CHUNKS);
	}
	attach_all();
}

static void
end(void)
{
	detach_all();
	for (unsigned i = 0; i < OWNERS; i++) {
		scratch_free(owners[i].s);
		free(owners[i].buf);
		for (unsigned d = 0; d < DISKS; d++)
			model_free(&owners[i].model[d]);
	}
	eenv_end(&env);
}

static uint64_t
number(const char *name, uint64_t dflt)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : dflt;
}

static void
stress(struct store *st, rlim_t files, unsigned rounds, unsigned ms)
{
	uint64_t seconds = number("SEALDISK_SECONDS", test_is_slow() ? 30 : 3);
	bool in_memory = st != NULL;

	/* What is asked for here takes three. */
	rounds = (unsigned)((rounds * seconds + 2) / 3);
	begin(st, files);
	for (unsigned i = 0; i < rounds; i++) {
		work_for(ms);
		if (i % 3 == 0)
			detach_all();
		else
			crash(i % 3 == 1, seed + i, in_memory);
		attach_all();
		check_all();
	}
	end();
}

static void
threads_do_not_harm_each_other(void **state)
{
	struct store *st;

	(void)state;
	assert_ok(mem_store_open(&st));
	stress(st, 40, 5, 400);
}

static void
threads_do_not_harm_each_other_in_a_folder(void **state)
{
	(void)state;
	stress(NULL, 80, 2, 400);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_do_not_harm_each_other),
		cmocka_unit_test(threads_do_not_harm_each_other_in_a_folder),
	};

	if (crypto_init() < 0)
		return 1;
	seed = number("SEALDISK_SEED", 1);
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
