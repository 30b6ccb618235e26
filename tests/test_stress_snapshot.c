/*
 * test_stress_snapshot.c - disks are written while they are frozen, copied,
 * and merged.
 *
 * Two disks of one engine with its background threads and hardly any memory.
 * Each block of a disk has a number in it that grows with each write, and the
 * block's place.  Writers own parts of the disks and check what they read.
 * Beside them one thread takes snapshots, of one disk or of both, and removes
 * the oldest; one opens some snapshot, and a clone of it, reads both, and reads
 * them again later; and one sweeps all the while.  A snapshot holds, of each
 * block, what was there when it was asked for or a write that came before it
 * was there; and always the same.
 *
 *   SEALDISK_SECONDS=N SEALDISK_SEED=N tests/test_stress_snapshot
 */
#include "engine_env.h"
#include "engine_private.h"
#include "mem_store.h"
#include "snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define BLOCK 4096u
#define SIZE (18 * MiB)
#define BLOCKS (SIZE / BLOCK)
#define DISKS 2
#define WRITERS 3
#define SNAPS 6

struct head {
	uint64_t number, block, disk;
};

struct snap {
	char name[32];
	unsigned disk;
	bool there, busy;
	uint32_t *low, *high; /* between them is what each block holds */
};

static struct engine_env env;
static struct disk *disks[DISKS];
/* What was begun to be written, and what was done. */
static _Atomic uint32_t begun[DISKS][BLOCKS], ended[DISKS][BLOCKS];
static struct snap snaps[SNAPS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of snaps */
static atomic_bool stop;
static uint64_t seed;

#define REQUIRE(expr) require((expr) ? 0 : 1, #expr, __LINE__)
#define REQUIRE_OK(expr) require((expr), #expr, __LINE__)

static void
require(int r, const char *what, int line)
{
	if (r == 0)
		return;
	(void)fprintf(stderr,
		      "test_stress_snapshot.c:%d: %s: %d\nSEALDISK_SEED="
		      "%" PRIu64 "\n",
		      line, what, r, seed);
	abort();
}

static uint64_t
rnd(uint64_t *state, uint64_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % n;
}

/* ---- blocks ---- */

static void
fill(uint8_t *p, unsigned disk, uint64_t block, uint32_t number)
{
	struct head h = { number, block, disk };

	fill_pattern(p, 64, number * 7919 + block);
	for (unsigned i = 64; i < BLOCK; i += 64)
		memcpy(p + i, p, 64);
	memcpy(p, &h, sizeof(h));
}

/* Its number; that it is whole, and this block's. */
static uint32_t
number_of(const uint8_t *p, unsigned disk, uint64_t block)
{
	uint8_t expect[BLOCK];
	struct head h;

	memcpy(&h, p, sizeof(h));
	if (h.number == 0)
		memset(expect, 0, BLOCK);
	else
		fill(expect, disk, block, (uint32_t)h.number);
	REQUIRE(memcmp(p, expect, BLOCK) == 0);
	return (uint32_t)h.number;
}

/* ---- who writes ---- */

/* Blocks lie so that those of all writers share groups and chunks. */
static uint64_t
some_block(uint64_t *rng, unsigned who)
{
	uint64_t b = rnd(rng, 4) ? rnd(rng, BLOCKS / 8) : rnd(rng, BLOCKS);

	b = b / WRITERS * WRITERS + who;
	return b < BLOCKS ? b : who;
}

static void *
write_some(void *arg)
{
	unsigned who = (unsigned)(uintptr_t)arg;
	uint64_t rng = seed * 1000 + who + 1;
	uint8_t buf[BLOCK];
	struct scratch *s;

	REQUIRE_OK(scratch_new(&s));
	while (!atomic_load(&stop)) {
		unsigned d = (unsigned)rnd(&rng, DISKS);
		uint64_t b = some_block(&rng, who);
		uint32_t n = atomic_load(&ended[d][b]);

		if (rnd(&rng, 4) == 0) {
			REQUIRE_OK(
			    disk_read(disks[d], s, buf, BLOCK, b * BLOCK));
			REQUIRE(number_of(buf, d, b) == n);
			continue;
		}
		fill(buf, d, b, n + 1);
		atomic_store(&begun[d][b], n + 1);
		REQUIRE_OK(disk_write(disks[d], s, buf, BLOCK, b * BLOCK));
		atomic_store(&ended[d][b], n + 1);
		if (rnd(&rng, 500) == 0)
			REQUIRE_OK(disk_flush(disks[d]));
	}
	scratch_free(s);
	return NULL;
}

/* ---- who freezes ---- */

static struct snap *
take_snap(uint64_t *rng, bool there)
{
	struct snap *found = NULL;
	uint64_t at = rnd(rng, SNAPS);

	pthread_mutex_lock(&mutex);
	for (unsigned i = 0; i < SNAPS; i++) {
		struct snap *s = &snaps[(at + i) % SNAPS];

		if (!s->busy && s->there == there)
			found = s;
	}
	if (found)
		found->busy = true;
	pthread_mutex_unlock(&mutex);
	return found;
}

static void
give_snap(struct snap *s, bool there)
{
	pthread_mutex_lock(&mutex);
	s->there = there;
	s->busy = false;
	pthread_mutex_unlock(&mutex);
}

static void
note(uint32_t *to, const _Atomic uint32_t *from)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		to[b] = atomic_load(&from[b]);
}

static void
freeze(struct scratch *s, uint64_t *rng, unsigned n)
{
	struct snapshot_request reqs[DISKS];
	struct snap *to[DISKS];
	unsigned i, first = (unsigned)rnd(rng, DISKS);
	static unsigned names;
	char name[16];

	(void)snprintf(name, sizeof(name), "s%u", names++);
	for (i = 0; i < n && (to[i] = take_snap(rng, false)); i++) {
		to[i]->disk = (first + i) % DISKS;
		note(to[i]->low, ended[to[i]->disk]);
		(void)snprintf(to[i]->name, sizeof(to[i]->name), "%s@%s",
			       to[i]->disk ? "two" : "one", name);
		reqs[i] = (struct snapshot_request){ disks[to[i]->disk],
						     DESC_SNAPSHOT, name };
	}
	if (i > 0)
		REQUIRE_OK(disks_snapshot(env.e, s, reqs, i));
	while (i > 0) {
		i--;
		note(to[i]->high, begun[to[i]->disk]);
		give_snap(to[i], true);
	}
}

static void
drop(uint64_t *rng)
{
	struct snap *s = take_snap(rng, true);
	int r;

	if (!s)
		return;
	/* -EBUSY: the merger holds it for a moment, or for longer. */
	r = catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, s->name);
	REQUIRE(r == 0 || r == -EBUSY);
	give_snap(s, r < 0);
}

static void *
freeze_some(void *arg)
{
	uint64_t rng = seed * 1000 + 77;
	struct scratch *s;

	(void)arg;
	REQUIRE_OK(scratch_new(&s));
	while (!atomic_load(&stop)) {
		if (rnd(&rng, 2))
			freeze(s, &rng, 1 + (unsigned)rnd(&rng, DISKS));
		else
			drop(&rng);
		(void)usleep(1000 * (unsigned)rnd(&rng, 30));
	}
	scratch_free(s);
	return NULL;
}

/* ---- who looks ---- */

static void
check(struct snap *sn, struct disk *d, struct scratch *s, uint8_t *buf,
      uint64_t first, uint64_t step)
{
	for (uint64_t b = first; b < BLOCKS; b += step) {
		uint32_t n;

		REQUIRE_OK(disk_read(d, s, buf, BLOCK, b * BLOCK));
		n = number_of(buf, sn->disk, b);
		REQUIRE(n >= sn->low[b] && n <= sn->high[b]);
		sn->low[b] = sn->high[b] = n;
	}
}

static void
look_at(struct snap *sn, struct scratch *s, uint64_t *rng, uint8_t *buf,
	unsigned n)
{
	struct clone_params p = { .mode = 0600 };
	struct descriptor *desc = calloc(1, sizeof(*desc));
	struct disk *d = NULL, *c = NULL;
	char name[24];
	int r;

	REQUIRE(desc != NULL);
	r = disk_attach(env.e, DESC_SNAPSHOT, sn->name, 0, &d);
	REQUIRE(r == 0 || r == -EBUSY);
	if (r < 0)
		d = NULL;
	if (d)
		check(sn, d, s, buf, rnd(rng, 7), 7);
	(void)snprintf(name, sizeof(name), "c%u", n);
	p.name = name;
	r = catalog_clone(engine_catalog(env.e), env.kms, DESC_SNAPSHOT,
			  sn->name, &p, desc);
	REQUIRE(r == 0 || r == -EBUSY);
	free(desc);
	if (r == 0) {
		REQUIRE_OK(disk_attach(env.e, DESC_DISK, name, 0, &c));
		check(sn, c, s, buf, rnd(rng, 7), 7);
		memset(buf, 1, BLOCK);
		REQUIRE_OK(disk_write(c, s, buf, BLOCK, 0));
	}
	(void)usleep(1000 * (unsigned)rnd(rng, 50));
	if (d) {
		check(sn, d, s, buf, 0, 3);
		REQUIRE_OK(disk_detach(d));
	}
	if (!c)
		return;
	check(sn, c, s, buf, 1, 5);
	REQUIRE_OK(disk_detach(c));
	do
		r = catalog_remove(engine_catalog(env.e), DESC_DISK, name);
	while (r == -EBUSY);
	REQUIRE_OK(r);
}

static void *
look_at_some(void *arg)
{
	uint64_t rng = seed * 1000 + 99;
	uint8_t *buf = malloc(BLOCK);
	struct scratch *s;
	unsigned n = 0;

	(void)arg;
	REQUIRE(buf && scratch_new(&s) == 0);
	while (!atomic_load(&stop)) {
		struct snap *sn = take_snap(&rng, true);

		if (sn) {
			look_at(sn, s, &rng, buf, n++);
			give_snap(sn, true);
		}
		(void)usleep(1000);
	}
	scratch_free(s);
	free(buf);
	return NULL;
}

/* A store that does not fail: somebody has it for a moment, or has removed it
 * meanwhile. */
static bool
is_no_failure(int r)
{
	return r >= 0 || r == -EBUSY || r == -EAGAIN || r == -ENOENT;
}

/* As engine_sweep() does it, which says of no failure. */
static void *
sweep_all(void *arg)
{
	bool more;
	int r;

	(void)arg;
	while (!atomic_load(&stop)) {
		REQUIRE_OK(catalog_sweep(engine_catalog(env.e), 256, &more));
		r = engine_merge(env.e, NULL);
		REQUIRE(is_no_failure(r));
		r = engine_seal(env.e, NULL);
		REQUIRE(is_no_failure(r));
		(void)usleep(2000);
	}
	return NULL;
}

/* ---- the whole ---- */

static uint64_t
number(const char *name, uint64_t dflt)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : dflt;
}

static void
attach_both(void)
{
	for (unsigned i = 0; i < DISKS; i++)
		assert_ok(disk_attach(env.e, DESC_DISK, i ? "two" : "one", 0,
				      &disks[i]));
}

static void
begin(void)
{
	struct store *st;

	assert_ok(mem_store_open(&st));
	eenv_begin(&env, st, CIPHER_AES256_GCM);
	env.opt.manual = false;
	env.opt.cache_size = 1 << 20;
	env.opt.commit_ms = 20;
	env.opt.quiet_ms = 10;
	env.opt.merge_chunks = 1;
	eenv_reopen(&env);
	eenv_create(&env, "one", SIZE);
	eenv_create(&env, "two", SIZE);
	attach_both();
	for (unsigned i = 0; i < SNAPS; i++) {
		snaps[i].low = calloc(BLOCKS, sizeof(uint32_t));
		snaps[i].high = calloc(BLOCKS, sizeof(uint32_t));
		assert_true(snaps[i].low && snaps[i].high);
	}
}

static void
work_for(unsigned ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
	pthread_t threads[WRITERS + 3];
	unsigned n = 0;

	atomic_store(&stop, false);
	for (; n < WRITERS; n++)
		assert_ok(-pthread_create(&threads[n], NULL, write_some,
					  (void *)(uintptr_t)n));
	assert_ok(-pthread_create(&threads[n++], NULL, freeze_some, NULL));
	assert_ok(-pthread_create(&threads[n++], NULL, look_at_some, NULL));
	assert_ok(-pthread_create(&threads[n++], NULL, sweep_all, NULL));
	(void)nanosleep(&t, NULL);
	atomic_store(&stop, true);
	while (n > 0)
		assert_int_equal(pthread_join(threads[--n], NULL), 0);
}

static void
check_disks(void)
{
	uint8_t buf[BLOCK];

	for (unsigned i = 0; i < DISKS; i++)
		for (uint64_t b = 0; b < BLOCKS; b++) {
			assert_ok(
			    disk_read(disks[i], env.s, buf, BLOCK, b * BLOCK));
			assert_int_equal(number_of(buf, i, b), ended[i][b]);
		}
}

static void
check_snaps(void)
{
	uint8_t buf[BLOCK];
	struct disk_stats st;
	struct disk *d;

	for (unsigned i = 0; i < SNAPS; i++) {
		if (!snaps[i].there)
			continue;
		assert_ok(
		    disk_attach(env.e, DESC_SNAPSHOT, snaps[i].name, 0, &d));
		check(&snaps[i], d, env.s, buf, 0, 1);
		disk_stats(d, &st);
		assert_int_equal(st.faults, 0);
		assert_ok(disk_detach(d));
	}
}

static int
is_left(const char *name, bool is_dir, void *arg)
{
	(void)is_dir;
	(void)arg;
	fail_msg("lineages/%s is left", name);
	return 0;
}

static void
end(void)
{
	const atomic_bool never = false;

	for (unsigned i = 0; i < SNAPS; i++) {
		if (snaps[i].there)
			assert_ok(catalog_remove(engine_catalog(env.e),
						 DESC_SNAPSHOT, snaps[i].name));
		free(snaps[i].low);
		free(snaps[i].high);
	}
	for (unsigned i = 0; i < DISKS; i++) {
		assert_ok(disk_detach(disks[i]));
		assert_ok(catalog_remove(engine_catalog(env.e), DESC_DISK,
					 i ? "two" : "one"));
	}
	engine_sweep(env.e, &never);
	(void)!env.st->ops->list(env.st, "lineages", is_left, NULL);
	eenv_end(&env);
}

static void
what_is_frozen_stays_as_it_was(void **state)
{
	uint64_t seconds = number("SEALDISK_SECONDS", test_is_slow() ? 60 : 3);
	struct disk_stats st;

	(void)state;
	begin();
	for (uint64_t i = 0; i < seconds; i++) {
		work_for(1000);
		seed++;
		for (unsigned k = 0; k < DISKS; k++) {
			disk_stats(disks[k], &st);
			assert_int_equal(st.faults, 0);
		}
		check_snaps();
		if (i % 2)
			continue;
		for (unsigned k = 0; k < DISKS; k++)
			assert_ok(disk_detach(disks[k]));
		attach_both();
		check_disks();
	}
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_frozen_stays_as_it_was),
	};

	if (crypto_init() < 0)
		return 1;
	seed = number("SEALDISK_SEED", 1);
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
