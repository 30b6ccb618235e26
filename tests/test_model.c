/*
 * test_model.c - random work on disks, against an array in memory.
 *
 * Two disks in one store: reads and writes of any offset and length, zeros,
 * resizes, flushes, detach and attach, kills, power cuts.  The model knows for
 * each block of 4 KiB what it holds and what it may hold after a crash: what it
 * held at the last completed flush, or any of the writes since, whole.
 *
 *   SEALDISK_SEED=N SEALDISK_STEPS=N tests/test_model
 *
 * repeats one run; the seed of a run is printed.  SEALDISK_ROUNDS=N makes as
 * many runs with seeds from there on.
 */
#include "engine_env.h"
#include "mem_store.h"

#include <errno.h>
#include <inttypes.h>

#define BLOCK 4096u
#define MAX_SIZE (24u << 20)
#define MAX_BLOCKS (MAX_SIZE / BLOCK)
#define MAX_IO (1u << 20)
#define DISKS 2
#define ZERO_HASH 0

static uint64_t rng;

static uint64_t
rnd(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return n ? rng % n : rng;
}

/* What a block may hold after a crash, as hashes. */
struct maybe {
	unsigned n, cap;
	uint64_t *hash;
};

struct model {
	char name[8];
	struct disk *d;
	uint64_t size;      /* as it is */
	uint64_t safe_size; /* as of the last flush */
	uint8_t *cur;       /* MAX_SIZE */
	struct maybe maybe[MAX_BLOCKS];
	bool touched[MAX_BLOCKS]; /* since the last flush */
};

static struct model models[DISKS];
static uint8_t io[MAX_IO];

static uint64_t
hash(const uint8_t *p)
{
	uint64_t h = 0, w, any = 0;

	for (unsigned i = 0; i < BLOCK; i += 8) {
		memcpy(&w, p + i, 8);
		any |= w;
		h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 32;
	}
	return any ? h | 1 : ZERO_HASH;
}

static void
maybe_add(struct maybe *m, uint64_t h)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->hash[i] == h)
			return;
	if (m->n == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 2;
		m->hash = reallocarray(m->hash, m->cap, sizeof(*m->hash));
		assert_non_null(m->hash);
	}
	m->hash[m->n++] = h;
}

static void
maybe_set(struct maybe *m, uint64_t h)
{
	m->n = 0;
	maybe_add(m, h);
}

/* The blocks of a range have changed in cur. */
static void
model_changed(struct model *m, uint64_t off, uint64_t len)
{
	for (uint64_t b = off / BLOCK; len && b <= (off + len - 1) / BLOCK;
	     b++) {
		maybe_add(&m->maybe[b], hash(m->cur + b * BLOCK));
		m->touched[b] = true;
	}
}

static void
model_flushed(struct model *m)
{
	for (unsigned b = 0; b < MAX_BLOCKS; b++)
		if (m->touched[b]) {
			maybe_set(&m->maybe[b], hash(m->cur + b * BLOCK));
			m->touched[b] = false;
		}
	m->safe_size = m->size;
}

/* ---- steps ---- */

static void
random_range(uint64_t limit, uint64_t max, uint64_t *off, uint64_t *len)
{
	static const unsigned shapes[] = { 512, 4096, 4096, 65536, MAX_IO };
	uint64_t unit = rnd(2) ? 4096 : rnd(2) ? 512 : 1;
	uint64_t n = shapes[rnd(5)];

	*off = rnd(limit) / unit * unit;
	*len = (rnd(n < max ? n : max) / unit + 1) * unit;
	if (*len > max)
		*len = max;
	/* Come back to the same places often. */
	if (rnd(2))
		*off %= 4u << 20;
}

static void
fill_io(uint64_t len)
{
	uint64_t v = rnd(0);
	bool zeros = rnd(8) == 0;

	for (uint64_t i = 0; i < len; i++) {
		if (i % 64 == 0)
			v = v * 6364136223846793005ULL + 1442695040888963407ULL;
		io[i] = zeros ? 0 : (uint8_t)(v >> 56) ^ (uint8_t)i;
	}
}

static void
step_write(struct engine_env *v, struct model *m)
{
	uint64_t off, len;

	random_range(m->size + 65536, MAX_IO, &off, &len);
	if (off + len > MAX_SIZE)
		return;
	fill_io(len);
	assert_ok(disk_write(m->d, v->s, io, len, off));
	memcpy(m->cur + off, io, len);
	model_changed(m, off, len);
	if (off + len > m->size)
		m->size = (off + len + 511) / 512 * 512;
}

static void
step_read(struct engine_env *v, struct model *m)
{
	uint64_t off, len;

	random_range(m->size + 1, MAX_IO, &off, &len);
	if (off >= m->size)
		return;
	if (len > m->size - off)
		len = m->size - off;
	assert_ok(disk_read(m->d, v->s, io, len, off));
	assert_memory_equal(io, m->cur + off, len);
}

static void
step_zero(struct engine_env *v, struct model *m)
{
	uint64_t off, len, end;

	random_range(m->size + 1, 16u << 20, &off, &len);
	if (rnd(2)) {
		off = off / (4u << 20) * (4u << 20);
		len = (1 + rnd(3)) * (4u << 20);
	}
	assert_ok(disk_zero(m->d, v->s, off, len));
	end = off + len < m->size ? off + len : m->size;
	if (off >= end)
		return;
	memset(m->cur + off, 0, end - off);
	model_changed(m, off, end - off);
}

static void
step_resize(struct engine_env *v, struct model *m)
{
	uint64_t size = rnd(MAX_SIZE / 512 + 1) * 512;

	assert_ok(disk_resize(m->d, v->s, size));
	if (size < m->size) {
		memset(m->cur + size, 0, MAX_SIZE - size);
		/* Shrinking flushes: what is past the end is gone for good. */
		for (uint64_t b = size / BLOCK; b < MAX_BLOCKS; b++)
			m->touched[b] = true;
		model_flushed(m);
	}
	m->size = m->safe_size = size;
}

static void
step_flush(struct model *m)
{
	assert_ok(disk_flush(m->d));
	model_flushed(m);
}

/* By allocation: what is not data must be zeros. */
static void
step_seek(struct engine_env *v, struct model *m)
{
	uint64_t off = rnd(m->size + 1), data, hole;
	int r;

	r = disk_seek(m->d, v->s, off, true, &data);
	if (r == -ENXIO)
		data = m->size;
	else
		assert_ok(r);
	for (uint64_t i = off; i < data; i++)
		assert_int_equal(m->cur[i], 0);
	if (data >= m->size)
		return;
	assert_ok(disk_seek(m->d, v->s, data, false, &hole));
	assert_true(hole > data && hole <= m->size);
}

static void
check_whole(struct engine_env *v, struct model *m)
{
	for (uint64_t off = 0; off < m->size; off += MAX_IO) {
		uint64_t n = m->size - off < MAX_IO ? m->size - off : MAX_IO;

		assert_ok(disk_read(m->d, v->s, io, n, off));
		assert_memory_equal(io, m->cur + off, n);
	}
}

static void
step_reattach(struct engine_env *v, struct model *m)
{
	struct disk_stats st;

	assert_ok(disk_detach(m->d));
	model_flushed(m);
	assert_ok(disk_attach(v->e, m->name, 0, &m->d));
	disk_stats(m->d, &st);
	assert_false(st.unclean);
	assert_int_equal(disk_size(m->d), m->size);
	if (rnd(4) == 0)
		check_whole(v, m);
}

/* After a crash: see what is there, check that it may be, and go on by it. */
static void
adopt(struct engine_env *v, struct model *m)
{
	struct disk_stats st;
	uint64_t size;

	assert_ok(disk_attach(v->e, m->name, 0, &m->d));
	size = disk_size(m->d);
	assert_true(size == m->safe_size ||
		    (size > m->safe_size && size <= m->size));
	m->size = m->safe_size = size;
	memset(m->cur + size, 0, MAX_SIZE - size);
	for (uint64_t b = 0; b * BLOCK < MAX_SIZE; b++) {
		uint8_t *p = m->cur + b * BLOCK;
		uint64_t n = size > b * BLOCK ? size - b * BLOCK : 0, h;
		bool found = false;

		memset(p, 0, BLOCK);
		if (n > BLOCK)
			n = BLOCK;
		if (n > 0)
			assert_ok(disk_read(m->d, v->s, p, n, b * BLOCK));
		h = hash(p);
		for (unsigned i = 0; n == BLOCK && i < m->maybe[b].n; i++)
			found |= m->maybe[b].hash[i] == h;
		if (n == BLOCK && !found)
			fail_msg("disk %s: block %" PRIu64 " holds nothing "
				 "that was written to it",
				 m->name, b);
		maybe_set(&m->maybe[b], h);
		m->touched[b] = false;
	}
	disk_stats(m->d, &st);
	assert_int_equal(st.faults, 0);
}

static void
step_crash(struct engine_env *v, bool power)
{
	for (unsigned i = 0; i < DISKS; i++)
		disk_abandon(models[i].d);
	engine_close(v->e);
	if (power)
		mem_store_crash(v->st, rnd(0));
	else
		mem_store_kill(v->st);
	assert_ok(engine_open(v->st, v->kms, &v->opt, &v->e));
	for (unsigned i = 0; i < DISKS; i++)
		adopt(v, &models[i]);
}

static void
step(struct engine_env *v, struct model *m)
{
	unsigned what = (unsigned)rnd(1000);

	if (what < 450)
		step_write(v, m);
	else if (what < 700)
		step_read(v, m);
	else if (what < 790)
		step_zero(v, m);
	else if (what < 880)
		step_flush(m);
	else if (what < 930)
		assert_ok(disk_background(m->d));
	else if (what < 950)
		step_seek(v, m);
	else if (what < 965)
		step_resize(v, m);
	else if (what < 985)
		step_reattach(v, m);
	else
		step_crash(v, rnd(2));
	/* disk_background commits as a flush does. */
	if (what >= 880 && what < 930)
		model_flushed(m);
}

/* ---- runs ---- */

static void
begin(struct engine_env *v)
{
	struct store *st;

	assert_ok(mem_store_open(&st));
	eenv_begin(v, st, rnd(2) ? CIPHER_AES256_GCM : CIPHER_AES256_OCB);
	engine_close(v->e);
	v->opt.cache_size = 1;
	v->opt.quiet_ms = 1;
	if (rnd(4) == 0)
		v->opt.seal_limit = 400;
	assert_ok(engine_open(v->st, v->kms, &v->opt, &v->e));
	for (unsigned i = 0; i < DISKS; i++) {
		struct model *m = &models[i];

		memset(m, 0, sizeof(*m));
		(void)snprintf(m->name, sizeof(m->name), "d%u", i);
		m->size = m->safe_size = (8u << 20) + rnd(64) * 512;
		m->cur = calloc(1, MAX_SIZE);
		assert_non_null(m->cur);
		for (unsigned b = 0; b < MAX_BLOCKS; b++)
			maybe_set(&m->maybe[b], ZERO_HASH);
		eenv_create(v, m->name, m->size);
		assert_ok(disk_attach(v->e, m->name, 0, &m->d));
	}
}

static void
end(struct engine_env *v)
{
	for (unsigned i = 0; i < DISKS; i++) {
		struct model *m = &models[i];

		check_whole(v, m);
		assert_ok(disk_detach(m->d));
		free(m->cur);
		for (unsigned b = 0; b < MAX_BLOCKS; b++)
			free(m->maybe[b].hash);
	}
	eenv_end(v);
}

static uint64_t
number(const char *name, uint64_t dflt)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : dflt;
}

static void
disks_do_what_arrays_do(void **state)
{
	uint64_t seed = number("SEALDISK_SEED", 1);
	uint64_t steps = number("SEALDISK_STEPS", 1500);
	uint64_t rounds = number("SEALDISK_ROUNDS", 3);

	(void)state;
	for (uint64_t i = 0; i < rounds; i++) {
		struct engine_env v;

		printf("SEALDISK_SEED=%" PRIu64 " SEALDISK_STEPS=%" PRIu64 "\n",
		       seed + i, steps);
		fflush(stdout);
		rng = (seed + i) * 0x9e3779b97f4a7c15ULL;
		begin(&v);
		for (uint64_t k = 0; k < steps; k++)
			step(&v, &models[rnd(DISKS)]);
		end(&v);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_do_what_arrays_do),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
