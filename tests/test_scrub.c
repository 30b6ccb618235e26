/*
 * test_scrub.c - a scrub finds each damage, where it is and what is lost by it,
 * and puts right what there is a second copy of.
 */
#include "damage_env.h"

#include <sealdisk/clock.h>

#include "repair.h"
#include "scrub.h"
#include "snapshot.h"

static char path[STORE_PATH_LEN];

struct found {
	struct scrub_totals t;
	struct scrub_fault f[8];
	size_t n;
	uint64_t told;
};

static void
on_fault(const struct scrub_fault *f, void *arg)
{
	struct found *fd = arg;

	if (fd->n < 8)
		fd->f[fd->n] = *f;
	fd->n++;
}

static void
on_progress(const struct scrub_totals *t, void *arg)
{
	struct found *fd = arg;

	assert_true(t->done <= t->chunks);
	fd->told = t->done;
}

static struct found
scrub(struct disk *d, bool repair)
{
	struct found fd = { .n = 0 };
	struct scrub_options o = {
		.blocks = true,
		.repair = repair,
		.fault = on_fault,
		.progress = on_progress,
		.arg = &fd,
	};

	assert_ok(disk_scrub(d, env.s, &o, &fd.t));
	return fd;
}

static void
check_fault(const struct found *fd, size_t i, enum scrub_what what,
	    uint64_t off, uint64_t len)
{
	assert_true(i < fd->n);
	assert_int_equal(fd->f[i].what, what);
	assert_int_equal(fd->f[i].off, off);
	assert_int_equal(fd->f[i].len, len);
	if (what != SCRUB_LOST && what != SCRUB_CHUNK)
		assert_true(strncmp(fd->f[i].file, "lineages/", 9) == 0);
}

static void
of_a_whole_disk_all_is_looked_at(void **state)
{
	struct disk *d = attach("a");
	struct found fd = scrub(d, false);

	(void)state;
	assert_int_equal(fd.n, 0);
	assert_int_equal(fd.t.chunks, 3);
	assert_int_equal(fd.t.done, 3);
	assert_int_equal(fd.told, 3);
	assert_int_equal(fd.t.blocks, 16 + 8 + 4 + GROUP_BLOCKS);
	/* Root pages, a map page, and those of the groups. */
	assert_int_equal(fd.t.pages, 8 + 1 + 3 * 8);
	assert_int_equal(fd.t.lost, 0);
	assert_ok(disk_detach(d));
	check_whole("a");
}

static void
one_rotten_block_costs_that_block(void **state)
{
	struct found fd;
	struct disk *d;

	(void)state;
	chunk_path("a", 3, path);
	raw_flip(path, slot_at("a", 3 * CHUNK_BLOCKS + 7 * 128 + 5) + 77, 3);
	d = attach("a");
	fd = scrub(d, true);
	assert_int_equal(fd.n, 2);
	check_fault(&fd, 0, SCRUB_BLOCK, (3 * 1024 + 7 * 128 + 5) * 4096, 4096);
	check_fault(&fd, 1, SCRUB_LOST, (3 * 1024 + 7 * 128 + 5) * 4096, 4096);
	assert_int_equal(fd.t.lost, 4096);
	assert_int_equal(fd.t.repaired, 0);
	assert_ok(disk_detach(d));
}

static void
a_rotten_group_page_costs_its_group(void **state)
{
	struct found fd;
	struct disk *d;

	(void)state;
	chunk_path("a", 0, path);
	raw_flip(path, group_page_at(1, 0) + 300, 3);
	raw_flip(path, group_page_at(1, 1) + 300, 3);
	d = attach("a");
	fd = scrub(d, false);
	assert_int_equal(fd.n, 2);
	check_fault(&fd, 0, SCRUB_GROUP, 512 << 10, 512 << 10);
	check_fault(&fd, 1, SCRUB_LOST, 512 << 10, 512 << 10);
	assert_ok(disk_detach(d));
}

static void
a_chunk_that_is_gone_costs_the_chunk(void **state)
{
	struct found fd;
	struct disk *d;

	(void)state;
	chunk_path("a", 1, path);
	raw_remove(path);
	d = attach("a");
	fd = scrub(d, false);
	check_fault(&fd, 0, SCRUB_CHUNK, 4 << 20, 4 << 20);
	assert_int_equal(fd.t.lost, 4 << 20);
	assert_int_equal(fd.t.faults[SCRUB_CHUNK], 1);
	assert_int_equal(fd.t.done, 3);
	assert_ok(disk_detach(d));
}

static void
a_map_page_costs_what_it_names(void **state)
{
	struct found fd;
	struct disk *d;

	(void)state;
	layer_path("a", "map", path);
	raw_flip(path, MAP_PAGES_AT + page_offset(0, 0) + 500, 1);
	raw_flip(path, MAP_PAGES_AT + page_offset(0, 1) + 500, 1);
	d = attach("a");
	fd = scrub(d, false);
	check_fault(&fd, 0, SCRUB_MAP, 0, 512 << 20);
	assert_int_equal(fd.t.lost, DISK_BYTES);
	assert_int_equal(fd.t.chunks, 0);
	assert_ok(disk_detach(d));
}

static void
a_superblock_costs_nothing_yet(void **state)
{
	struct found fd;
	struct disk *d;

	(void)state;
	chunk_path("a", 1, path);
	raw_flip(path, 130, 1);
	d = attach("a");
	fd = scrub(d, false);
	assert_int_equal(fd.n, 1);
	check_fault(&fd, 0, SCRUB_SUPER, 4 << 20, 4 << 20);
	assert_int_equal(fd.t.lost, 0);
	assert_ok(disk_detach(d));
}

/* It is what a lost map is made of. */
static void
a_superblock_is_made_anew_from_what_else_is_known(void **state)
{
	struct repair_report rep;
	char map[STORE_PATH_LEN];
	struct found fd;
	struct disk *d;

	(void)state;
	chunk_path("a", 1, path);
	layer_path("a", "map", map);
	raw_destroy(path, 0, SUPER_LEN);
	d = attach("a");
	fd = scrub(d, true);
	assert_int_equal(fd.n, 1);
	assert_int_equal(fd.t.repaired, 1);
	fd = scrub(d, true);
	assert_int_equal(fd.n, 0);
	assert_ok(disk_detach(d));
	raw_remove(map);
	assert_ok(engine_repair_maps(env.e, DESC_DISK, "a", &rep));
	assert_int_equal(rep.chunks, 3);
	check_whole("a");
}

/* ---- copies ---- */

/* The copy that nobody has read since the disk was attached. */
static void
a_copy_that_rots_is_written_from_the_other(void **state)
{
	const uint64_t pages[] = { group_page_at(0, 0), group_page_at(0, 1) };
	struct found fd;
	struct disk *d;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		d = attach("a");
		assert_int_equal(scrub(d, false).n, 0);
		chunk_path("a", 0, path);
		raw_flip(path, pages[i] + 400, 2);
		fd = scrub(d, false);
		assert_int_equal(fd.n, 1);
		check_fault(&fd, 0, SCRUB_COPY, 0, 512 << 10);
		assert_false(fd.f[0].repaired);
		fd = scrub(d, true);
		assert_int_equal(fd.n, 1);
		assert_true(fd.f[0].repaired);
		assert_int_equal(scrub(d, false).n, 0);
		assert_ok(disk_detach(d));
		check_whole("a");
	}
}

static void
so_is_one_of_the_map(void **state)
{
	struct disk *d = attach("a");
	struct found fd;

	(void)state;
	assert_int_equal(scrub(d, false).n, 0);
	layer_path("a", "map", path);
	raw_destroy(path, page_offset(3, 1), PAGE_LEN);
	raw_destroy(path, MAP_PAGES_AT + page_offset(0, 0), PAGE_LEN);
	fd = scrub(d, true);
	assert_int_equal(fd.n, 2);
	assert_int_equal(fd.t.repaired, 2);
	check_fault(&fd, 1, SCRUB_COPY, 0, 512 << 20);
	assert_int_equal(scrub(d, false).n, 0);
	assert_ok(disk_detach(d));
	check_whole("a");
}

/* ---- layers ---- */

static void
snapshot(const char *name)
{
	struct disk *d = attach("a");
	struct snapshot_request q = { d, DESC_SNAPSHOT, name };

	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
	assert_ok(disk_detach(d));
}

/* Each of two layers is damaged there, and a map page and what hangs on it. */
static void
what_two_layers_had_lost_was_counted_twice(void **state)
{
	struct found fd;
	struct disk *d;

	(void)state;
	chunk_path("a", 0, path);
	raw_destroy(path, SUPER_LEN + page_offset(0, 0), PAGE_LEN);
	raw_destroy(path, SUPER_LEN + page_offset(0, 1), PAGE_LEN);
	snapshot("s");
	d = attach("a");
	assert_ok(put_block(d, 'a', CHUNK_BLOCKS));
	assert_ok(disk_detach(d));
	layer_path("a", "map", path);
	raw_destroy(path, MAP_PAGES_AT + page_offset(0, 0), PAGE_LEN);
	raw_destroy(path, MAP_PAGES_AT + page_offset(0, 1), PAGE_LEN);
	d = attach("a");
	fd = scrub(d, false);
	assert_int_equal(fd.t.lost, DISK_BYTES);
	assert_int_equal(fd.t.faults[SCRUB_LOST], 1);
	assert_int_equal(fd.n, 3);
	check_fault(&fd, 0, SCRUB_MAP, 0, 512 << 20);
	check_fault(&fd, 1, SCRUB_GROUP, 0, 512 << 10);
	check_fault(&fd, 2, SCRUB_LOST, 0, DISK_BYTES);
	assert_ok(disk_detach(d));
}

static const struct store_ops *real_ops;
static int open_error;

static int
open_some(struct store *st, const char *name, bool writable,
	  struct store_file **ret)
{
	return strstr(name, "/0000001-")
		   ? open_error
		   : real_ops->open(st, name, writable, ret);
}

static void
a_chunk_that_cannot_be_opened_ended_it(void **state)
{
	static const int errors[] = { -EISDIR, -ELOOP,     -EACCES,
				      -EIO,    -ETIMEDOUT, -EREMOTEIO };
	struct store_ops ops = *env.st->ops;
	struct found fd;
	struct disk *d;

	(void)state;
	real_ops = env.st->ops;
	ops.open = open_some;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		open_error = errors[i];
		env.st->ops = &ops;
		d = attach("a");
		fd = scrub(d, true);
		assert_int_equal(fd.n, 2);
		check_fault(&fd, 0, SCRUB_CHUNK, CHUNK_BYTES, CHUNK_BYTES);
		check_fault(&fd, 1, SCRUB_LOST, CHUNK_BYTES, CHUNK_BYTES);
		assert_int_equal(fd.t.lost, CHUNK_BYTES);
		assert_int_equal(fd.t.done, 3);
		assert_ok(disk_detach(d));
		env.st->ops = real_ops;
		check_whole("a");
	}
}

/* What a newer layer covers is damaged, and not lost. */
static void
what_is_covered_is_not_lost(void **state)
{
	uint8_t buf[BLOCK_SIZE] = { 1 };
	struct found fd;
	struct disk *d;
	uint64_t at;

	(void)state;
	chunk_path("a", 1, path);
	at = slot_at("a", CHUNK_BLOCKS + 2);
	snapshot("s");
	raw_flip(path, at + 77, 3);
	d = attach("a");
	fd = scrub(d, false);
	assert_int_equal(fd.n, 2);
	check_fault(&fd, 0, SCRUB_BLOCK, (1024 + 2) * 4096, 4096);
	check_fault(&fd, 1, SCRUB_LOST, (1024 + 2) * 4096, 4096);
	assert_ok(disk_write(d, env.s, buf, sizeof(buf), (1024 + 2) * 4096));
	fd = scrub(d, false);
	assert_int_equal(fd.n, 1);
	check_fault(&fd, 0, SCRUB_BLOCK, (1024 + 2) * 4096, 4096);
	assert_ok(disk_detach(d));

	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "a@s", 0, &d));
	fd = scrub(d, false);
	assert_int_equal(fd.t.lost, 4096);
	assert_ok(disk_detach(d));
}

/* Nothing is written when a snapshot is read; a repair is asked for. */
static void
a_snapshot_is_repaired_when_asked(void **state)
{
	struct found fd;
	struct disk *d;

	(void)state;
	chunk_path("a", 3, path);
	snapshot("s");
	raw_flip(path, group_page_at(7, 1) + 1000, 3);
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "a@s", 0, &d));
	for (unsigned repair = 0; repair < 2; repair++) {
		fd = scrub(d, repair);
		assert_int_equal(fd.n, 1);
		check_fault(&fd, 0, SCRUB_COPY, (3 * 8 + 7) * (512 << 10),
			    512 << 10);
		assert_int_equal(fd.t.repaired, repair);
	}
	assert_int_equal(scrub(d, false).n, 0);
	assert_ok(disk_detach(d));
}

static void
a_parent_that_cannot_be_opened_is_told(void **state)
{
	struct found fd;
	struct disk *d;

	(void)state;
	layer_path("a", "layer.ini", path);
	snapshot("s");
	raw_remove(path);
	d = attach("a");
	fd = scrub(d, false);
	check_fault(&fd, 0, SCRUB_LAYER, 0, DISK_BYTES);
	*strrchr(path, '/') = '\0';
	assert_string_equal(fd.f[0].file, path);
	assert_int_equal(fd.t.lost, DISK_BYTES);
	assert_ok(disk_detach(d));
}

static void
it_stops_when_told(void **state)
{
	const atomic_bool stop = true;
	struct scrub_options o = { .blocks = true, .stop = &stop };
	struct disk *d = attach("a");
	struct scrub_totals t;

	(void)state;
	assert_err(disk_scrub(d, env.s, &o, &t), ECANCELED);
	assert_ok(disk_detach(d));
}

/* No more is read a second than is allowed. */
static void
it_takes_its_time(void **state)
{
	struct found fd = { .n = 0 };
	struct scrub_options o = {
		.blocks = true,
		.rate = 2 << 20,
		.fault = on_fault,
		.progress = on_progress,
		.arg = &fd,
	};
	struct disk *d = attach("a");
	int64_t since = clock_ms();

	(void)state;
	assert_ok(disk_scrub(d, env.s, &o, &fd.t));
	assert_true(fd.t.blocks * BLOCK_SIZE > (512 << 10));
	assert_true(clock_ms() - since >= 250);
	assert_ok(disk_detach(d));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(of_a_whole_disk_all_is_looked_at),
		T(one_rotten_block_costs_that_block),
		T(a_rotten_group_page_costs_its_group),
		T(a_chunk_that_is_gone_costs_the_chunk),
		T(a_map_page_costs_what_it_names),
		T(a_superblock_costs_nothing_yet),
		T(a_superblock_is_made_anew_from_what_else_is_known),
		T(a_copy_that_rots_is_written_from_the_other),
		T(so_is_one_of_the_map),
		T(what_two_layers_had_lost_was_counted_twice),
		T(a_chunk_that_cannot_be_opened_ended_it),
		T(what_is_covered_is_not_lost),
		T(a_snapshot_is_repaired_when_asked),
		T(a_parent_that_cannot_be_opened_is_told),
		T(it_stops_when_told),
		T(it_takes_its_time),
	};

	return run_group(tests, sizeof(tests) / sizeof(tests[0]));
}
