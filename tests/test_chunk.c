/*
 * test_chunk.c - chunk files that somebody or something has changed: what is
 * lost is said to be, nothing else is lost, and nothing wrong is ever read.
 */
#include "damage_env.h"

static char path[STORE_PATH_LEN], other[STORE_PATH_LEN];

static bool
in_chunk_0(uint64_t b)
{
	return b / CHUNK_BLOCKS == 0;
}

static bool
in_chunk_0_or_1(uint64_t b)
{
	return b / CHUNK_BLOCKS <= 1;
}

static bool
in_group_0(uint64_t b)
{
	return b / GROUP_BLOCKS == 0;
}

static bool
in_group_1_written(uint64_t b)
{
	return b / GROUP_BLOCKS == 1 && is_written(b);
}

static bool
is_block_5(uint64_t b)
{
	return b == 5;
}

static bool
is_block_5_or_6(uint64_t b)
{
	return b == 5 || b == 6;
}

/* Disk a has lost that much, and knows it; disk b nothing. */
static void
check_lost(bool (*lost)(uint64_t block), int err)
{
	struct disk *d = attach("a");

	check_blocks(d, 'a', lost, err);
	assert_true(faults(d) > 0);
	assert_ok(disk_detach(d));
	check_whole("b");
}

static void
save_page(unsigned group, unsigned copy, uint8_t raw[static PAGE_LEN])
{
	raw_read(path, raw, PAGE_LEN, group_page_at(group, copy));
}

static void
assert_copies_equal(unsigned group)
{
	uint8_t one[PAGE_LEN], two[PAGE_LEN];

	save_page(group, 0, one);
	save_page(group, 1, two);
	assert_memory_equal(one, two, PAGE_LEN);
}

static void
one_copy_of_a_page_serves_and_restores_the_other(void **state)
{
	(void)state;
	chunk_path("a", 0, path);
	for (unsigned copy = 0; copy < 2; copy++) {
		struct disk *d;

		raw_destroy(path, group_page_at(0, copy), PAGE_LEN);
		d = attach("a");
		check_blocks(d, 'a', none, 0);
		assert_int_equal(repairs(d), 1);
		assert_int_equal(faults(d), 0);
		assert_ok(disk_detach(d));
		assert_copies_equal(0);
		check_whole("a");
	}
}

/* A copy that does not verify is never preferred for being newer. */
static void
a_flipped_bit_in_either_copy_of_a_page_does_no_harm(void **state)
{
	static const unsigned at[] = { 0, 6, 16, 24, 32, 40, 224, 256, 4095 };

	(void)state;
	chunk_path("a", 0, path);
	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		struct disk *d;

		raw_flip(path, group_page_at(0, i % 2) + at[i], i % 8);
		d = attach("a");
		check_blocks(d, 'a', none, 0);
		assert_int_equal(repairs(d), 1);
		assert_ok(disk_detach(d));
		assert_copies_equal(0);
	}
}

static void
without_both_copies_of_a_page_its_group_is_lost_alone(void **state)
{
	struct disk *d;

	(void)state;
	chunk_path("a", 0, path);
	raw_destroy(path, group_page_at(0, 0), PAGE_LEN);
	raw_flip(path, group_page_at(0, 1) + 300, 3);
	check_lost(in_group_0, EBADMSG);

	/* It can be neither written nor flushed away, the others can. */
	d = attach("a");
	assert_err(put_block(d, 'a', 0), EBADMSG);
	assert_err(disk_zero(d, env.s, 0, BLOCK_SIZE), EBADMSG);
	assert_ok(put_block(d, 'a', GROUP_BLOCKS + 8));
	assert_ok(disk_flush(d));
	check_blocks(d, 'a', in_group_0, EBADMSG);
	assert_ok(disk_detach(d));
}

/* Whatever became of its file: the map alone says what is there. */
static void
discard_and_write_anew(void)
{
	uint8_t got[BLOCK_SIZE], zeros[BLOCK_SIZE] = { 0 };
	struct disk *d = attach("a");

	assert_ok(disk_zero(d, env.s, 0, CHUNK_BYTES));
	assert_ok(disk_read(d, env.s, got, BLOCK_SIZE, 0));
	assert_memory_equal(got, zeros, BLOCK_SIZE);
	for (uint64_t b = 0; b < CHUNK_BLOCKS; b++)
		if (is_written(b))
			assert_ok(put_block(d, 'a', b));
	assert_ok(disk_detach(d));
	check_whole("a");
}

static void
a_chunk_without_pages_that_is_discarded_is_whole_again(void **state)
{
	(void)state;
	chunk_path("a", 0, path);
	for (unsigned copy = 0; copy < 2; copy++)
		raw_destroy(path, group_page_at(0, copy), PAGE_LEN);
	discard_and_write_anew();
}

static void
a_chunk_that_is_gone_and_is_discarded_is_whole_again(void **state)
{
	(void)state;
	chunk_path("a", 0, path);
	raw_remove(path);
	discard_and_write_anew();
}

static void
a_flipped_bit_in_a_slot_costs_that_block_alone(void **state)
{
	uint8_t buf[8 * BLOCK_SIZE];
	struct disk *d;

	(void)state;
	chunk_path("a", 0, path);
	raw_flip(path, slot_at("a", 5) + 1234, 6);
	check_lost(is_block_5, EBADMSG);

	d = attach("a");
	assert_err(disk_read(d, env.s, buf, sizeof(buf), 0), EBADMSG);
	/* A part of a block cannot be changed without the rest of it. */
	assert_err(disk_write(d, env.s, buf, 10, 5 * BLOCK_SIZE), EBADMSG);
	assert_ok(put_block(d, 'a', 5));
	check_blocks(d, 'a', none, 0);
	assert_ok(disk_detach(d));
	check_whole("a");
}

static void
two_slots_swapped_are_two_blocks_lost(void **state)
{
	uint8_t five[BLOCK_SIZE], six[BLOCK_SIZE];
	uint64_t at5 = slot_at("a", 5), at6 = slot_at("a", 6);

	(void)state;
	chunk_path("a", 0, path);
	raw_read(path, five, BLOCK_SIZE, at5);
	raw_read(path, six, BLOCK_SIZE, at6);
	raw_write(path, six, BLOCK_SIZE, at5);
	raw_write(path, five, BLOCK_SIZE, at6);
	check_lost(is_block_5_or_6, EBADMSG);
}

static void
a_page_of_another_group_is_none(void **state)
{
	uint8_t raw[PAGE_LEN];

	(void)state;
	chunk_path("a", 0, path);
	for (unsigned copy = 0; copy < 2; copy++) {
		save_page(1, copy, raw);
		raw_write(path, raw, PAGE_LEN, group_page_at(0, copy));
	}
	check_lost(in_group_0, EBADMSG);
}

static void
a_chunk_cut_among_its_slots_loses_what_lay_there(void **state)
{
	struct disk *d;

	(void)state;
	chunk_path("a", 0, path);
	raw_cut(path, SLOTS_AT + 256 * BLOCK_SIZE + 100);
	check_lost(in_group_1_written, EBADMSG);

	d = attach("a");
	for (unsigned i = 8; i < 16; i++)
		assert_ok(put_block(d, 'a', GROUP_BLOCKS + i));
	assert_ok(disk_detach(d));
	check_whole("a");
}

static void
a_chunk_cut_among_its_pages_is_lost_whole(void **state)
{
	static const uint64_t lens[] = { SLOTS_AT - 1, SUPER_LEN + 1, SUPER_LEN,
					 10, 0 };

	(void)state;
	chunk_path("a", 0, path);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		raw_cut(path, lens[i]);
		check_lost(in_chunk_0, EUCLEAN);
	}
}

static void
a_chunk_that_is_gone_is_lost_and_not_a_hole(void **state)
{
	struct disk *d;

	(void)state;
	chunk_path("a", 0, path);
	raw_remove(path);
	check_lost(in_chunk_0, EUCLEAN);
	d = attach("a");
	assert_err(put_block(d, 'a', 0), EUCLEAN);
	assert_ok(disk_detach(d));
	check_lost(in_chunk_0, EUCLEAN);
}

static void
a_chunk_full_of_zeros_is_lost_and_not_a_hole(void **state)
{
	(void)state;
	chunk_path("a", 0, path);
	raw_destroy(path, 0, SLOTS_AT + 16 * BLOCK_SIZE);
	check_lost(in_chunk_0, EUCLEAN);
}

static void
a_chunk_put_under_another_index_is_lost(void **state)
{
	(void)state;
	chunk_path("a", 0, path);
	chunk_path("a", 1, other);
	raw_copy(other, path);
	check_lost(in_chunk_0, EBADMSG);
}

static void
two_chunks_swapped_are_two_chunks_lost(void **state)
{
	(void)state;
	chunk_path("a", 0, path);
	chunk_path("a", 1, other);
	raw_swap(path, other);
	check_lost(in_chunk_0_or_1, EBADMSG);
	raw_swap(path, other);
	check_whole("a");
}

static void
a_chunk_of_another_disk_is_lost(void **state)
{
	(void)state;
	chunk_path("a", 0, path);
	chunk_path("b", 0, other);
	raw_copy(other, path);
	check_lost(in_chunk_0, EBADMSG);
}

/* The chunk that was at this index before it was discarded has another salt. */
static void
a_chunk_that_was_here_before_is_lost(void **state)
{
	struct disk *d;
	size_t len;
	char *old;

	(void)state;
	chunk_path("a", 0, path);
	old = raw_load(path, &len);
	d = attach("a");
	assert_ok(disk_zero(d, env.s, 0, CHUNK_BYTES));
	assert_ok(disk_flush(d));
	for (uint64_t b = 0; b < CHUNK_BLOCKS; b++)
		if (is_written(b))
			assert_ok(put_block(d, 'a', b));
	assert_ok(disk_detach(d));
	check_whole("a");
	chunk_path("a", 0, path);
	raw_save(path, old, len);
	free(old);
	check_lost(in_chunk_0, EBADMSG);
}

/* Block 3 becomes what block 3 of disk b is; the page before that to ${old}. */
static void
change_block_3(uint8_t old[static PAGE_LEN])
{
	struct disk *d;

	chunk_path("a", 0, path);
	save_page(0, 0, old);
	d = attach("a");
	assert_ok(put_block(d, 'b', 3));
	assert_ok(disk_detach(d));
	assert_copies_equal(0);
}

/* With an older page in the place of one copy: the newer one serves, and in the
 * end stands in both places, as the next commit relies on. */
static void
check_one_older(uint8_t old[static PAGE_LEN], unsigned copy)
{
	uint8_t got[BLOCK_SIZE], want[BLOCK_SIZE];
	struct disk *d;

	content_of('b', 3, want);
	raw_write(path, old, PAGE_LEN, group_page_at(0, copy));
	d = attach("a");
	assert_ok(disk_read(d, env.s, got, BLOCK_SIZE, 3 * BLOCK_SIZE));
	assert_memory_equal(got, want, BLOCK_SIZE);
	assert_int_equal(faults(d), 0);
	assert_ok(disk_detach(d));
	assert_copies_equal(0);
}

static unsigned
home_of_group_0(void)
{
	uint8_t raw[PAGE_LEN];

	save_page(0, 0, raw);
	return page_home(raw[16]); /* the generation's lowest byte */
}

static void
an_older_page_as_mirror_changes_nothing(void **state)
{
	uint8_t old[PAGE_LEN];

	(void)state;
	change_block_3(old);
	check_one_older(old, !home_of_group_0());
}

/* A write of the page to its home that the medium lost, the mirror's it did
 * not: the next commit must not go over the one that is left. */
static void
an_older_page_as_home_changes_nothing(void **state)
{
	uint8_t old[PAGE_LEN];

	(void)state;
	change_block_3(old);
	check_one_older(old, home_of_group_0());
}

/* Since the disk was detached its chunks are known by their digests. */
static void
two_older_copies_of_a_page_are_known_for_older(void **state)
{
	uint8_t old[PAGE_LEN];
	struct disk *d;

	(void)state;
	change_block_3(old);
	for (unsigned copy = 0; copy < 2; copy++)
		raw_write(path, old, PAGE_LEN, group_page_at(0, copy));
	d = attach("a");
	check_blocks(d, 'a', in_chunk_0, EBADMSG);
	assert_ok(disk_detach(d));
}

/* Only repair reads it: what it says is in the map and in the name as well. */
static void
a_destroyed_superblock_is_missed_by_nobody(void **state)
{
	(void)state;
	chunk_path("a", 0, path);
	raw_destroy(path, 0, SUPER_LEN);
	check_whole("a");
	check_whole("b");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_copy_of_a_page_serves_and_restores_the_other),
		T(a_flipped_bit_in_either_copy_of_a_page_does_no_harm),
		T(without_both_copies_of_a_page_its_group_is_lost_alone),
		T(a_chunk_without_pages_that_is_discarded_is_whole_again),
		T(a_chunk_that_is_gone_and_is_discarded_is_whole_again),
		T(a_flipped_bit_in_a_slot_costs_that_block_alone),
		T(two_slots_swapped_are_two_blocks_lost),
		T(a_page_of_another_group_is_none),
		T(a_chunk_cut_among_its_slots_loses_what_lay_there),
		T(a_chunk_cut_among_its_pages_is_lost_whole),
		T(a_chunk_that_is_gone_is_lost_and_not_a_hole),
		T(a_chunk_full_of_zeros_is_lost_and_not_a_hole),
		T(a_chunk_put_under_another_index_is_lost),
		T(two_chunks_swapped_are_two_chunks_lost),
		T(a_chunk_of_another_disk_is_lost),
		T(a_chunk_that_was_here_before_is_lost),
		T(an_older_page_as_mirror_changes_nothing),
		T(an_older_page_as_home_changes_nothing),
		T(two_older_copies_of_a_page_are_known_for_older),
		T(a_destroyed_superblock_is_missed_by_nobody),
	};

	return run_group(tests, sizeof(tests) / sizeof(tests[0]));
}
