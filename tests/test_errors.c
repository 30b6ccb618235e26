/*
 * test_errors.c - a store without space, and one that does not keep what it
 * was given: what a disk says, what it goes on with, and what it keeps.
 */
#include "engine_env.h"
#include "engine_private.h"
#include "fault_store.h"
#include "mem_store.h"
#include "repair.h"

#include <signal.h>
#include <sys/wait.h>

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define DISK_BYTES (64 * MiB)
#define PIECE (64 * KiB)

static struct engine_env env;
static uint8_t buf[PIECE], want[PIECE];

static int
group_setup(void **state)
{
	(void)state;
	eenv_keys(&env);
	return 0;
}

static int
group_teardown(void **state)
{
	(void)state;
	eenv_keys_end(&env);
	return 0;
}

static int
setup(void **state)
{
	struct store *mem, *st;

	(void)state;
	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &st));
	eenv_start(&env, st, CIPHER_AES256_GCM);
	eenv_create(&env, "d", DISK_BYTES);
	eenv_create(&env, "e", DISK_BYTES);
	return 0;
}

static int
setup_posix(void **state)
{
	(void)state;
	eenv_start(&env, NULL, CIPHER_AES256_GCM);
	eenv_create(&env, "d", DISK_BYTES);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	eenv_stop(&env);
	return 0;
}

static struct disk *
attach(const char *name)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, DESC_DISK, name, 0, &d));
	return d;
}

/* Pieces of 64 KiB, each with bytes of its own. */
static int
put(struct disk *d, unsigned n)
{
	fill_pattern(buf, PIECE, n);
	return disk_write(d, env.s, buf, PIECE, (uint64_t)n * PIECE);
}

static void
assert_has(struct disk *d, unsigned n)
{
	fill_pattern(want, PIECE, n);
	assert_ok(disk_read(d, env.s, buf, PIECE, (uint64_t)n * PIECE));
	assert_memory_equal(buf, want, PIECE);
}

static struct disk_stats
stats(struct disk *d)
{
	struct disk_stats st;

	disk_stats(d, &st);
	return st;
}

/* The power fails, and the disk is attached again. */
static struct disk *
power_cut(struct disk *d)
{
	if (d)
		disk_abandon(d);
	engine_close(env.e);
	fault_arm(env.st, 0, 0, false);
	fault_on_sync(env.st, NULL);
	mem_store_crash(fault_inner(env.st), 1);
	eenv_open(&env);
	d = attach("d");
	assert_true(stats(d).unclean);
	return d;
}

/* ---- no space ---- */

static void
a_write_without_space_fails_alone(void **state)
{
	struct disk *d = attach("d");

	(void)state;
	assert_ok(put(d, 0));
	assert_ok(disk_flush(d));
	fault_full(env.st, true);
	assert_err(put(d, 1), ENOSPC);  /* into a chunk that is there */
	assert_err(put(d, 64), ENOSPC); /* into a new one */
	assert_has(d, 0);
	assert_false(stats(d).failed);
	assert_ok(disk_flush(d)); /* nothing has changed */

	fault_full(env.st, false);
	assert_ok(put(d, 1));
	assert_ok(put(d, 64));
	assert_ok(disk_flush(d));
	d = power_cut(d);
	assert_has(d, 0);
	assert_has(d, 1);
	assert_has(d, 64);
	assert_int_equal(stats(d).faults, 0);
	assert_ok(disk_detach(d));
}

static void
a_flush_without_space_can_be_tried_again(void **state)
{
	struct disk *d = attach("d");

	(void)state;
	assert_ok(put(d, 0));
	assert_ok(disk_flush(d));
	assert_ok(put(d, 1));
	assert_ok(put(d, 64));
	fault_full(env.st, true);
	for (unsigned i = 0; i < 3; i++)
		assert_err(disk_flush(d), ENOSPC);
	assert_false(stats(d).failed);
	assert_has(d, 1);
	assert_has(d, 64);

	fault_full(env.st, false);
	assert_ok(put(d, 2));
	assert_ok(disk_flush(d));
	d = power_cut(d);
	for (unsigned i = 0; i < 3; i++)
		assert_has(d, i);
	assert_has(d, 64);
	assert_int_equal(stats(d).faults, 0);
	assert_ok(disk_detach(d));
}

static void
a_crash_without_space_loses_nothing_that_was_flushed(void **state)
{
	struct disk *d = attach("d");

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		assert_ok(put(d, i));
	assert_ok(disk_flush(d));
	for (unsigned i = 0; i < 8; i++)
		assert_ok(disk_zero(d, env.s, i * PIECE, 4 * KiB));
	fault_full(env.st, true);
	assert_err(disk_flush(d), ENOSPC);
	disk_abandon(d);
	fault_full(env.st, false);
	d = power_cut(NULL);
	for (unsigned i = 0; i < 8; i++) {
		fill_pattern(want, PIECE, i);
		assert_ok(disk_read(d, env.s, buf, PIECE, (uint64_t)i * PIECE));
		/* Zeroed and not flushed: as it was, or zeros. */
		if (buf[0] == 0 && memcmp(buf, buf + 1, 4095) == 0)
			memset(want, 0, 4096);
		assert_memory_equal(buf, want, PIECE);
	}
	assert_ok(disk_detach(d));
}

/* Write pieces from ${n} on until there is no space: the first that failed. */
static unsigned
fill_up(struct disk *d, unsigned n)
{
	int r = 0;

	for (; n < DISK_BYTES / PIECE && r == 0; n++)
		r = put(d, n);
	assert_err(r, ENOSPC);
	return n - 1;
}

static void
a_full_store_is_written_on_after_a_discard(void **state)
{
	struct store *mem = fault_inner(env.st);
	struct disk *d = attach("d");
	struct store_space sp;
	unsigned end;

	(void)state;
	assert_ok(mem->ops->space(mem, &sp));
	mem_store_limit(mem, sp.total - sp.free + 11 * MiB);
	end = fill_up(d, 0);
	assert_true(end > 64 * 2);
	/* What was taken can be committed: that needs no space. */
	assert_ok(disk_flush(d));
	for (unsigned i = 0; i < end; i++)
		assert_has(d, i);

	/* A part of a chunk: its slots are written again. */
	assert_ok(disk_zero(d, env.s, 70 * PIECE, 16 * PIECE));
	assert_ok(disk_flush(d));
	for (unsigned i = 70; i < 86; i++)
		assert_ok(put(d, i));
	assert_ok(disk_flush(d));

	/* A whole one: its file goes, and others can have its space. */
	assert_ok(disk_zero(d, env.s, 0, 4 * MiB));
	assert_ok(disk_flush(d));
	assert_ok(disk_background(d));
	assert_true(fill_up(d, end) > end + 48);
	assert_ok(disk_flush(d));
	d = power_cut(d);
	for (unsigned i = 64; i < end + 48; i++)
		assert_has(d, i);
	assert_int_equal(stats(d).faults, 0);
	mem_store_limit(mem, 0);
	assert_ok(disk_detach(d));
}

/* ---- syncs that fail ---- */

/* Flushed: pieces 0 to 9.  Written since: ${n} more, each in its own chunk. */
static struct disk *
written(unsigned n)
{
	struct disk *d = attach("d");

	for (unsigned i = 0; i < 10; i++)
		assert_ok(put(d, i));
	assert_ok(disk_flush(d));
	for (unsigned i = 0; i < n; i++)
		assert_ok(put(d, 10 + i * 64));
	return d;
}

static void
check_failed(struct disk *d)
{
	uint8_t b[512] = { 1 };

	assert_err(disk_flush(d), EIO);
	assert_true(stats(d).failed);
	assert_err(put(d, 0), EROFS);
	assert_err(disk_write(d, env.s, b, sizeof(b), 1000), EROFS);
	assert_err(disk_zero(d, env.s, 0, 4 * KiB), EROFS);
	assert_err(disk_zero(d, env.s, 0, 4 * MiB), EROFS);
	assert_err(disk_resize(d, env.s, MiB), EROFS);
	assert_err(disk_resize(d, env.s, 2 * DISK_BYTES), EROFS);
	for (unsigned i = 0; i < 11; i++)
		assert_has(d, i);
	/* It stays so, although no call fails any more. */
	assert_err(disk_flush(d), EIO);
}

static void
check_neighbour(void)
{
	struct disk *e = attach("e");

	assert_ok(put(e, 3));
	assert_ok(disk_flush(e));
	assert_has(e, 3);
	assert_ok(disk_detach(e));
}

static void
fail_sync(unsigned kinds, unsigned nth, unsigned n_chunks)
{
	struct disk *d = written(n_chunks);

	fault_kinds(env.st, kinds);
	fault_mode(env.st, FAULT_BEFORE);
	fault_on_sync(env.st, mem_store_lose);
	fault_arm(env.st, nth, -EIO, false);
	assert_err(disk_flush(d), EIO);
	assert_true(fault_fired(env.st));
	check_failed(d);
	check_neighbour();
	assert_err(disk_detach(d), EIO);

	/* The cache holds what the medium does not: that must not be read. */
	d = attach("d");
	assert_true(stats(d).unclean);
	for (unsigned i = 0; i < 10; i++)
		assert_has(d, i);
	assert_ok(put(d, 10));
	assert_ok(disk_flush(d));
	d = power_cut(d);
	for (unsigned i = 0; i < 11; i++)
		assert_has(d, i);
	assert_int_equal(stats(d).faults, 0);
	assert_ok(disk_detach(d));
}

static void
a_chunk_that_cannot_be_synced_makes_the_disk_read_only(void **state)
{
	(void)state;
	fail_sync(FAULT_SYNC, 1, 1);
}

static void
many_chunks_that_cannot_be_synced_make_the_disk_read_only(void **state)
{
	(void)state;
	fail_sync(FAULT_SYNC_ALL, 1, 8);
}

static void
a_map_that_cannot_be_synced_makes_the_disk_read_only(void **state)
{
	(void)state;
	/* Two chunks, one of them new; then the map. */
	fail_sync(FAULT_SYNC, 3, 2);
}

static void
a_folder_that_cannot_be_synced_makes_the_disk_read_only(void **state)
{
	(void)state;
	fail_sync(FAULT_SYNC_DIR, 1, 2);
}

static void
the_background_notices_a_failed_sync(void **state)
{
	struct disk *d;

	(void)state;
	env.opt.manual = false;
	env.opt.commit_ms = 10;
	eenv_reopen(&env);
	d = written(0);
	fault_kinds(env.st, FAULT_SYNCS);
	fault_mode(env.st, FAULT_BEFORE);
	fault_on_sync(env.st, mem_store_lose);
	fault_arm(env.st, 1, -EIO, false);
	assert_ok(put(d, 10));
	for (unsigned i = 0; !stats(d).failed && i < 1000; i++)
		(void)usleep(10000);
	check_failed(d);
	assert_err(disk_detach(d), EIO);
	env.opt.manual = true;
	env.opt.commit_ms = 0;
	eenv_reopen(&env);
	d = attach("d");
	for (unsigned i = 0; i < 10; i++)
		assert_has(d, i);
	assert_ok(disk_detach(d));
}

/* In another process, which may hang. */
static void
use_neighbour(void)
{
	struct disk *e = attach("e");
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(10);
		_exit(put(e, 0) == 0 && disk_flush(e) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("it hangs");
	assert_int_equal(status, 0);
	assert_ok(disk_detach(e));
}

/* Its dirty pages can never be committed, and are no reason to wait. */
static void
a_disk_that_failed_leaves_room_for_others(void **state)
{
	uint64_t size = env.opt.cache_size;
	struct disk *d;
	unsigned n = 0;

	(void)state;
	env.opt.cache_size = 1;
	eenv_reopen(&env);
	d = attach("d");
	/* A page each; past half of all pages there is a commit first. */
	fault_kinds(env.st, FAULT_SYNCS);
	fault_mode(env.st, FAULT_BEFORE);
	fault_arm(env.st, 1, -EIO, true);
	while (n < 100 && put(d, n * 8) == 0)
		n++;
	assert_true(n < 100);
	assert_true(stats(d).failed);
	fault_arm(env.st, 0, 0, false);
	use_neighbour();
	assert_err(disk_detach(d), EIO);
	env.opt.cache_size = size;
}

/* ---- a lock that is gone ---- */

static void
a_disk_without_its_lock_writes_no_more(void **state)
{
	struct descriptor *desc = malloc(sizeof(*desc));
	struct disk *d = attach("d");
	char uuid[UUID_STR_LEN], path[PATH_MAX];

	(void)state;
	assert_non_null(desc);
	assert_ok(put(d, 0));
	assert_ok(disk_flush(d));
	disk_descriptor(d, desc);
	uuid_format(&desc->uuid, uuid);
	free(desc);
	(void)snprintf(path, sizeof(path), "%s/store/locks/disk-%s", env.dir,
		       uuid);
	assert_int_equal(unlink(path), 0);
	assert_ok(put(d, 1));
	assert_err(disk_flush(d), EIO);
	assert_err(put(d, 1), EROFS);
	assert_has(d, 0);
	assert_err(disk_detach(d), EIO);
}

/* It may be the newer copy that could not be read: were the disk clean after
 * that, the next attach would make do with the older one. */
static void
an_attach_that_could_not_read_was_clean_at_its_end(void **state)
{
	struct disk *d = attach("d");

	(void)state;
	assert_ok(put(d, 0));
	assert_ok(disk_flush(d));
	d = power_cut(d);
	fault_kinds(env.st, FAULT_READ);
	fault_only(env.st, ".chunk", "");
	fault_arm(env.st, 1, -EIO, true);
	assert_err(disk_read(d, env.s, buf, PIECE, 0), EIO);
	assert_ok(disk_detach(d));
	fault_arm(env.st, 0, 0, false);
	fault_only(env.st, "", "");
	fault_kinds(env.st, FAULT_ALL);
	d = attach("d");
	assert_true(stats(d).unclean);
	assert_has(d, 0);
	assert_ok(disk_detach(d));
	d = attach("d");
	assert_false(stats(d).unclean);
	assert_has(d, 0);
	assert_ok(disk_detach(d));
}

/* What was flushed last lies in one copy of each page alone. */
static struct disk *
cut_with_one_copy(void)
{
	struct disk *d = attach("d");

	assert_ok(put(d, 0));
	assert_ok(disk_detach(d));
	d = attach("d");
	fill_pattern(buf, PIECE, 64);
	assert_ok(disk_write(d, env.s, buf, PIECE, 0));
	assert_ok(disk_flush(d));
	return power_cut(d);
}

/* Either copy is on a bad sector in the end, one after the other. */
static void
an_older_copy_served_after_an_attach_that_had_not_looked(void **state)
{
	struct disk *d = cut_with_one_copy();

	(void)state;
	assert_ok(disk_detach(d)); /* nobody has read that group */
	for (unsigned copy = 0; copy < 2; copy++) {
		d = attach("d");
		mem_store_spoil(fault_inner(env.st), ".chunk",
				SUPER_LEN + page_offset(0, copy), PAGE_LEN);
		fill_pattern(want, PIECE, 64);
		assert_ok(disk_read(d, env.s, buf, PIECE, 0));
		assert_memory_equal(buf, want, PIECE);
		mem_store_spoil(fault_inner(env.st), "", 0, 0);
		assert_ok(disk_detach(d));
	}
}

/* One bad sector, with a copy of a page of the map on it, cost the disk. */
static void
an_unclean_disk_with_a_bad_map_sector_was_lost(void **state)
{
	struct store *mem = fault_inner(env.st);
	struct repair_report rep;
	struct disk *d;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = (i & 2 ? MAP_OFFSET : 0) + page_offset(0, i & 1);

		d = attach("d");
		assert_ok(put(d, i));
		/* A new chunk, and so a new page of the map. */
		assert_ok(put(d, 64 * (i + 1)));
		assert_ok(disk_flush(d));
		disk_abandon(d);
		engine_close(env.e);
		mem_store_crash(mem, 1);
		eenv_open(&env);
		mem_store_spoil(mem, "/map", at, PAGE_LEN);
		assert_ok(engine_repair_maps(env.e, DESC_DISK, "d", &rep));
		assert_true(rep.pages > 0);
		/* As a write of it puts it elsewhere. */
		mem_store_spoil(mem, "", 0, 0);
		d = attach("d");
		for (unsigned k = 0; k <= i; k++) {
			assert_has(d, k);
			assert_has(d, 64 * (k + 1));
		}
		assert_ok(disk_detach(d));
	}
}

/* It is a hint, of which chunk files to look at. */
static void
a_todo_that_cannot_be_opened_kept_its_disk_from_being_attached(void **state)
{
	static const int errors[] = { -EIO, -EISDIR, -EACCES };
	struct disk *d;

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		fault_only(env.st, "/todo", "");
		fault_kinds(env.st, FAULT_OPEN | FAULT_READ | FAULT_LOAD);
		fault_arm(env.st, 1, errors[i], true);
		d = attach("d");
		assert_ok(put(d, 0));
		assert_ok(disk_detach(d));
		fault_arm(env.st, 0, 0, false);
		fault_only(env.st, "", "");
		fault_kinds(env.st, FAULT_ALL);
		d = attach("d");
		assert_false(stats(d).unclean);
		assert_has(d, 0);
		assert_ok(disk_flush(d));
		d = power_cut(d);
		assert_has(d, 0);
		assert_ok(disk_detach(d));
	}
}

/* As much as there was not the time to look at is looked at next time. */
static void
a_detach_was_clean_though_its_time_was_up(void **state)
{
	struct disk *d = cut_with_one_copy();

	(void)state;
	atomic_store(&d->top->at_rest, false);
	d->top->lost = true;
	assert_ok(disk_detach(d));
	d = attach("d");
	assert_true(stats(d).unclean);
	assert_ok(disk_detach(d));
	d = attach("d");
	assert_false(stats(d).unclean);
	assert_ok(disk_detach(d));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_write_without_space_fails_alone),
		T(a_flush_without_space_can_be_tried_again),
		T(a_crash_without_space_loses_nothing_that_was_flushed),
		T(a_full_store_is_written_on_after_a_discard),
		T(a_chunk_that_cannot_be_synced_makes_the_disk_read_only),
		T(many_chunks_that_cannot_be_synced_make_the_disk_read_only),
		T(a_map_that_cannot_be_synced_makes_the_disk_read_only),
		T(a_folder_that_cannot_be_synced_makes_the_disk_read_only),
		T(the_background_notices_a_failed_sync),
		T(a_disk_that_failed_leaves_room_for_others),
		T(an_attach_that_could_not_read_was_clean_at_its_end),
		T(an_older_copy_served_after_an_attach_that_had_not_looked),
		T(a_detach_was_clean_though_its_time_was_up),
		T(an_unclean_disk_with_a_bad_map_sector_was_lost),
		T(a_todo_that_cannot_be_opened_kept_its_disk_from_being_attached),
		cmocka_unit_test_setup_teardown(
		    a_disk_without_its_lock_writes_no_more, setup_posix,
		    teardown),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
