/*
 * test_mend.c - to repair a store never makes unreadable what could be read.
 *
 * A store with disks, snapshots, a clone and an image is damaged at random:
 * bits and pages of its files, files that are cut, full of zeros, or gone.  All
 * is read, then a copy of the same damaged store is repaired as `check
 * --repair` does, and read again: what could be read before can be, and is the
 * same.
 *
 * SEALDISK_TEST_SEED=N begins with another damage; what fails says its own.
 */
#include "engine_env.h"

#include <sealdisk/log.h>

#include "check.h"
#include "mem_store.h"
#include "page.h"
#include "rebuild.h"
#include "repair.h"
#include "scrub.h"
#include "snapshot.h"
#include "store_copy.h"
#include "super.h"

#define ROUNDS 40
#define ROUNDS_SLOW 2000
#define BLOCKS 24 /* of a disk, that are looked at, in two chunks */
#define CHUNK_BLOCKS 1024
#define DISK_SIZE ((uint64_t)3 * CHUNK_BLOCKS * BLOCK_SIZE)
#define PAGES_END 69632 /* of a chunk's file; its slots come then */

static struct engine_env env;
static struct copy whole;
static uint64_t rng;

static unsigned
below(unsigned n)
{
	rng += 0x9e3779b97f4a7c15ULL;
	return (unsigned)(((rng ^ rng >> 31) * 0xbf58476d1ce4e5b9ULL >> 33) %
			  n);
}

/* ---- what there is ---- */

static const struct item {
	enum desc_type type;
	const char *name;
} items[] = {
	{ DESC_DISK, "a" }, { DESC_SNAPSHOT, "a@s" }, { DESC_SNAPSHOT, "a@t" },
	{ DESC_DISK, "c" }, { DESC_IMAGE, "i" },      { DESC_DISK, "b" },
};
#define ITEMS (sizeof(items) / sizeof(items[0]))

struct view {
	bool there[ITEMS][BLOCKS];
	uint8_t data[ITEMS][BLOCKS][BLOCK_SIZE];
};
static struct view truth, before, after;

static uint64_t
offset_of(unsigned b)
{
	return (b < BLOCKS / 2 ? b : CHUNK_BLOCKS + b) * (uint64_t)BLOCK_SIZE;
}

static struct disk *
attach(unsigned item)
{
	struct disk *d;

	assert_ok(
	    disk_attach(env.e, items[item].type, items[item].name, 0, &d));
	return d;
}

static void
write_some(struct disk *d, unsigned first, unsigned step)
{
	uint8_t buf[BLOCK_SIZE];

	for (unsigned b = first; b < BLOCKS; b += step) {
		fill_pattern(buf, sizeof(buf), below(1U << 30));
		assert_ok(disk_write(d, env.s, buf, sizeof(buf), offset_of(b)));
	}
}

static void
snapshot(struct disk *d, enum desc_type type, const char *name)
{
	struct snapshot_request q = { d, type, name };

	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
}

static void
look(struct view *v)
{
	struct disk *d;

	memset(v, 0, sizeof(*v));
	for (unsigned i = 0; i < ITEMS; i++) {
		if (disk_attach(env.e, items[i].type, items[i].name, 0, &d) < 0)
			continue;
		for (unsigned b = 0; b < BLOCKS; b++)
			v->there[i][b] = disk_read(d, env.s, v->data[i][b],
						   BLOCK_SIZE,
						   offset_of(b)) == 0;
		disk_abandon(d);
	}
}

static void
make_store(void)
{
	const struct clone_params p = { .name = "c", .mode = 0600 };
	struct descriptor *desc = malloc(sizeof(*desc));
	const atomic_bool stop = false;
	struct store *st;
	struct disk *d;

	assert_non_null(desc);
	assert_ok(mem_store_open(&st));
	eenv_start(&env, st, CIPHER_AES256_GCM);
	eenv_create(&env, "a", DISK_SIZE);
	eenv_create(&env, "b", DISK_SIZE);
	for (unsigned i = 0; i < ITEMS; i += 5) {
		d = attach(i);
		write_some(d, 0, 2);
		assert_ok(disk_detach(d));
	}
	d = attach(0);
	snapshot(d, DESC_SNAPSHOT, "s");
	write_some(d, 1, 4);
	snapshot(d, DESC_SNAPSHOT, "t");
	snapshot(d, DESC_IMAGE, "i");
	write_some(d, 3, 5);
	assert_ok(disk_detach(d));
	assert_ok(catalog_clone(engine_catalog(env.e), env.kms, DESC_SNAPSHOT,
				"a@s", &p, desc));
	d = attach(3);
	write_some(d, 2, 6);
	assert_ok(disk_detach(d));
	engine_sweep(env.e, &stop);
	copy_store(env.st, &whole);
	look(&truth);
	eenv_stop(&env);
	free(desc);
}

/* ---- damage ---- */

static size_t
somewhere(const struct file *f)
{
	size_t end = f->len;

	/* Most of a chunk are its pages, and most of those serve nobody. */
	if (strstr(f->path, "/chunks/") && end > PAGES_END && below(2))
		return PAGES_END + below((unsigned)(end - PAGES_END));
	if (end > PAGES_END)
		end = PAGES_END;
	return below((unsigned)end);
}

static void
damage(struct file *f)
{
	size_t at = f->len ? somewhere(f) : 0;
	size_t page = at & ~(size_t)(PAGE_LEN - 1);
	size_t n = f->len - page < PAGE_LEN ? f->len - page : PAGE_LEN;

	if (f->len == 0)
		return;
	switch (below(6)) {
	case 0:
	case 1:
		f->data[at] ^= (uint8_t)(1U << below(8));
		break;
	case 2:
		memset(f->data + page, 0, n);
		break;
	case 3:
		fill_pattern(f->data + page, n, below(1U << 30));
		break;
	case 4:
		f->len = at;
		break;
	case 5:
		f->path[0] = '\0'; /* it is gone */
		break;
	}
}

/* Of one kind each time, or there would be little but chunk files. */
static bool
is_of(const struct file *f, unsigned kind)
{
	static const char *const kinds[] = {
		"chunks/", "/map",       "layer.ini", "digests",   "spares/",
		"disks/",  "snapshots/", "images/",   "store.ini",
	};

	return strstr(f->path, kinds[kind % 9]) != NULL;
}

static void
damage_some(struct copy *c, char said[static 1024])
{
	said[0] = '\0';
	for (unsigned n = 1 + below(4); n > 0; n--) {
		unsigned kind = below(12), first = below((unsigned)c->n);

		/* 9 and more: two in the same folder, or a chunk. */
		kind = kind < 9 ? kind : kind == 9 ? 1 : 0;
		for (size_t i = 0; i < c->n; i++) {
			struct file *f = &c->f[(first + i) % c->n];

			if (!is_of(f, kind))
				continue;
			(void)snprintf(said + strlen(said), 1024 - strlen(said),
				       " %.150s", f->path);
			damage(f);
			break;
		}
	}
}

static struct store *
store_of_damaged(const struct copy *c)
{
	struct store *st;

	assert_ok(mem_store_open(&st));
	for (size_t i = 0; i < c->n; i++)
		if (c->f[i].path[0])
			put(st, &c->f[i]);
	return st;
}

static void
copy_copy(const struct copy *from, struct copy *to)
{
	*to = *from;
	for (size_t i = 0; i < to->n; i++) {
		to->f[i].data = malloc(from->f[i].len + 1);
		assert_non_null(to->f[i].data);
		memcpy(to->f[i].data, from->f[i].data, from->f[i].len);
	}
}

/* ---- repair ---- */

static bool map_made;

static void
on_found(const struct check_finding *f, void *arg)
{
	(void)f;
	(void)arg;
}

static void
on_fault(const struct scrub_fault *f, void *arg)
{
	(void)f;
	(void)arg;
}

static void
on_progress(const struct scrub_totals *t, void *arg)
{
	(void)t;
	(void)arg;
}

static void
repair_item(unsigned i)
{
	const atomic_bool stop = false;
	const struct scrub_options o = { .repair = true,
					 .stop = &stop,
					 .fault = on_fault,
					 .progress = on_progress };
	struct repair_report rep = { .pages = 0 };
	struct scrub_totals t;
	struct disk *d;

	if (engine_repair_maps(env.e, items[i].type, items[i].name, &rep) == 0)
		map_made |= rep.pages > 0;
	if (disk_attach(env.e, items[i].type, items[i].name, 0, &d) < 0)
		return;
	assert_ok(disk_scrub(d, env.s, &o, &t));
	(void)!disk_detach(d);
}

/* As `sealdisk check --repair` does it. */
static void
repair_all(void)
{
	const struct check_options o = { true, on_found, NULL, false };
	const atomic_bool stop = false;
	struct catalog *c = engine_catalog(env.e);
	bool more = true;

	map_made = false;
	assert_ok(catalog_rebuild(c, env.kms, NULL, &o));
	for (unsigned i = 0; i < ITEMS; i++)
		repair_item(i);
	assert_ok(catalog_check(c, &o));
	while (more)
		assert_ok(catalog_sweep(c, 1000, &more));
	engine_sweep(env.e, &stop);
}

static int
open_store(struct store *st, bool repair)
{
	int r;

	env.st = st;
	r = engine_open(st, env.kms, &env.opt, &env.e);
	if (r < 0 && repair && catalog_restore(st) == 0)
		r = engine_open(st, env.kms, &env.opt, &env.e);
	return r;
}

static void
close_store(void)
{
	engine_close(env.e);
	env.e = NULL;
	store_free(env.st);
	env.st = NULL;
}

/* ---- a round ---- */

/* A map that was made of what chunk files there are may lack one that is gone,
 * too: repair.h says so. */
static const char *
compare(unsigned i, unsigned b)
{
	bool same = memcmp(after.data[i][b], truth.data[i][b], BLOCK_SIZE) == 0;

	if (before.there[i][b] &&
	    memcmp(before.data[i][b], truth.data[i][b], BLOCK_SIZE) != 0)
		return "was wrong before";
	if (before.there[i][b] && !after.there[i][b])
		return "cannot be read any more";
	if (after.there[i][b] && !same && (before.there[i][b] || !map_made))
		return "is wrong";
	return NULL;
}

static void
round_of(uint64_t seed, unsigned *ret_lost, unsigned *ret_saved)
{
	struct copy *c = calloc(1, sizeof(*c));
	char said[1024];

	assert_non_null(c);
	rng = seed * 0x2545f4914f6cdd1dULL;
	copy_copy(&whole, c);
	damage_some(c, said);
	memset(&before, 0, sizeof(before));
	if (open_store(store_of_damaged(c), false) == 0)
		look(&before);
	close_store();
	memset(&after, 0, sizeof(after));
	/* Both store.ini and its spare copy may be damaged. */
	if (open_store(store_of_damaged(c), true) == 0) {
		repair_all();
		look(&after);
	}
	close_store();
	copy_free(c);
	free(c);
	for (unsigned i = 0; i < ITEMS; i++)
		for (unsigned b = 0; b < BLOCKS; b++) {
			const char *why = compare(i, b);

			if (why)
				fail_msg("SEALDISK_TEST_SEED=%llu: %s, block "
					 "%u %s; damaged were%s",
					 (unsigned long long)seed,
					 items[i].name, b, why, said);
			*ret_lost += !after.there[i][b];
			*ret_saved += after.there[i][b] && !before.there[i][b];
		}
}

static void
what_could_be_read_can_be(void **state)
{
	const char *given = getenv("SEALDISK_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : 1;
	unsigned rounds = test_is_slow() ? ROUNDS_SLOW : ROUNDS;
	unsigned lost = 0, saved = 0;

	(void)state;
	for (unsigned i = 0; i < rounds; i++)
		round_of(seed + i, &lost, &saved);
	print_message("%u rounds: %u blocks were lost, %u are there again\n",
		      rounds, lost, saved);
	assert_true(given || (lost > 0 && saved > 0));
}

static int
setup(void **state)
{
	(void)state;
	log_set_level((enum log_level) - 1);
	eenv_keys(&env);
	make_store();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	copy_free(&whole);
	eenv_keys_end(&env);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_could_be_read_can_be),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, setup, teardown);
}
