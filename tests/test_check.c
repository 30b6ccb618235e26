/*
 * test_check.c - what nobody needs any more is found in a store and removed,
 * nothing else is; and a map is made anew of its chunk files.
 */
#include "damage_env.h"

#undef CHUNK_BLOCKS
#include "engine_private.h"

#include "check.h"
#include "repair.h"
#include "scrub.h"
#include "snapshot.h"

static char path[STORE_PATH_LEN];

struct found {
	unsigned n[CHECK_NWHAT], removed;
	char last[STORE_PATH_LEN];
};

static void
on_found(const struct check_finding *f, void *arg)
{
	struct found *fd = arg;

	fd->n[f->what]++;
	fd->removed += f->removed;
	strcpy(fd->last, f->path);
}

static struct found
check(bool repair)
{
	struct found fd = { .removed = 0 };
	struct check_options o = { repair, on_found, &fd, false };

	assert_ok(catalog_check(engine_catalog(env.e), &o));
	return fd;
}

static unsigned
all(const struct found *fd)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CHECK_NWHAT; i++)
		n += fd->n[i];
	return n;
}

static void
in_a_whole_store_there_is_nothing(void **state)
{
	struct found fd = check(true);

	(void)state;
	assert_int_equal(all(&fd), 0);
	check_whole("a");
}

/* As after a crash before the old file of a chunk was removed. */
static void
a_chunk_that_no_map_names_goes(void **state)
{
	char copy[STORE_PATH_LEN];
	struct found fd;
	struct disk *d;

	(void)state;
	chunk_path("a", 1, path);
	(void)snprintf(copy, sizeof(copy), "%s", path);
	memcpy(strrchr(copy, '-') + 1, "01234567", 8);
	raw_copy(path, copy);
	fd = check(false);
	assert_int_equal(all(&fd), 1);
	assert_int_equal(fd.n[CHECK_CHUNK], 1);
	assert_string_equal(fd.last, copy);

	/* Of what is in use nothing is said. */
	d = attach("a");
	fd = check(true);
	assert_int_equal(fd.n[CHECK_BUSY], 1);
	assert_int_equal(all(&fd), 1);
	assert_ok(disk_detach(d));

	fd = check(true);
	assert_int_equal(fd.removed, 1);
	fd = check(true);
	assert_int_equal(all(&fd), 0);
	check_whole("a");
}

/* The copy that is damaged may be the newer one, and a sector that cannot be
 * read today is read tomorrow. */
static void
a_chunk_that_a_damaged_copy_named_was_removed(void **state)
{
	char map[STORE_PATH_LEN], copy[STORE_PATH_LEN];
	struct found fd;

	(void)state;
	chunk_path("a", 1, path);
	(void)snprintf(copy, sizeof(copy), "%s", path);
	memcpy(strrchr(copy, '-') + 1, "01234567", 8);
	raw_copy(path, copy);
	layer_path("a", "map", map);
	raw_destroy(map, MAP_PAGES_AT + page_offset(0, 1), PAGE_LEN);
	fd = check(true);
	assert_int_equal(fd.n[CHECK_CHUNK], 1);
	assert_int_equal(fd.removed, 0);
}

static void
a_descriptor_that_cannot_be_read_stops_all(void **state)
{
	struct found fd;

	(void)state;
	chunk_path("a", 1, path);
	memcpy(strrchr(path, '-') + 1, "01234567", 8);
	raw_save(path, "", 0);
	raw_save("disks/c.ini", "[disk]\n", 7);
	fd = check(true);
	assert_int_equal(all(&fd), 1);
	assert_int_equal(fd.n[CHECK_DESCRIPTOR], 1);
	assert_string_equal(fd.last, "disks/c.ini");
}

/* Somebody has lost a descriptor, and its spare copy: what it named stays. */
static void
data_without_a_descriptor_is_told_and_kept(void **state)
{
	struct descriptor *d = malloc(sizeof(*d));
	char u[UUID_STR_LEN], *text;
	struct found fd;
	struct key dk;
	size_t len;

	(void)state;
	assert_non_null(d);
	load_descriptor("a", d, &dk);
	uuid_format(&d->uuid, u);
	free(d);
	(void)snprintf(path, sizeof(path), "spares/%s.ini", u);
	text = raw_load("disks/a.ini", &len);
	raw_remove("disks/a.ini");
	raw_remove(path);
	fd = check(true);
	assert_int_equal(all(&fd), 1);
	assert_int_equal(fd.n[CHECK_LINEAGE], 1);
	assert_int_equal(fd.removed, 0);
	raw_save("disks/a.ini", text, len);
	free(text);
	check_whole("a");
}

static void
without_its_map_no_chunk_goes(void **state)
{
	struct found fd;

	(void)state;
	layer_path("a", "map", path);
	raw_destroy(path, MAP_PAGES_AT + page_offset(0, 0), PAGE_LEN);
	raw_destroy(path, MAP_PAGES_AT + page_offset(0, 1), PAGE_LEN);
	fd = check(true);
	assert_int_equal(all(&fd), 1);
	assert_int_equal(fd.n[CHECK_MAP], 1);
}

/* ---- maps ---- */

static struct repair_report
repair(const char *name)
{
	struct repair_report r;

	assert_ok(engine_repair_maps(env.e, DESC_DISK, name, &r));
	return r;
}

static void
a_whole_map_is_left_alone(void **state)
{
	struct repair_report r;
	size_t len;
	char *text;

	(void)state;
	layer_path("a", "map", path);
	text = raw_load(path, &len);
	r = repair("a");
	assert_int_equal(r.layers, 1);
	assert_int_equal(r.pages, 0);
	assert_true(raw_same(path, text, len));
	free(text);
}

static void
a_map_page_is_made_of_its_chunks(void **state)
{
	struct repair_report r;

	(void)state;
	layer_path("a", "map", path);
	raw_destroy(path, MAP_PAGES_AT + page_offset(0, 0), PAGE_LEN);
	raw_flip(path, MAP_PAGES_AT + page_offset(0, 1) + 999, 0);
	r = repair("a");
	assert_int_equal(r.pages, 1);
	assert_int_equal(r.chunks, 3);
	assert_int_equal(r.doubtful, 0);
	check_whole("a");
	check_whole("b");
}

static void
so_is_a_map_that_is_gone(void **state)
{
	struct repair_report r;
	struct disk *d;

	(void)state;
	layer_path("a", "map", path);
	raw_remove(path);
	r = repair("a");
	assert_int_equal(r.pages, 9);
	check_whole("a");
	/* It can be written to. */
	d = attach("a");
	assert_ok(put_block(d, 'a', 2 * CHUNK_BLOCKS));
	assert_ok(disk_detach(d));
	check_whole("a");
}

static void
so_are_root_pages(void **state)
{
	struct repair_report r;

	(void)state;
	layer_path("a", "map", path);
	raw_destroy(path, 0, 16 * PAGE_LEN);
	r = repair("a");
	assert_int_equal(r.pages, 8);
	check_whole("a");
}

/* What belongs to the snapshot is not taken for the disk's. */
static void
each_layer_gets_its_own_chunks(void **state)
{
	struct snapshot_request q = { NULL, DESC_SNAPSHOT, "s" };
	uint8_t buf[BLOCK_SIZE] = { 7 }, got[BLOCK_SIZE];
	char lower[STORE_PATH_LEN];
	struct repair_report r;
	struct disk *d;

	(void)state;
	layer_path("a", "map", lower);
	d = attach("a");
	q.disk = d;
	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
	assert_ok(disk_write(d, env.s, buf, sizeof(buf), 0));
	assert_ok(disk_detach(d));
	layer_path("a", "map", path);
	for (unsigned i = 1; i < 4; i++) {
		if (i & 1)
			raw_remove(path);
		if (i & 2)
			raw_remove(lower);
		r = repair("a");
		assert_int_equal(r.layers, 2);
		assert_int_equal(r.pages, i == 3 ? 18 : 9);
		assert_int_equal(r.chunks, (i & 1) + (i & 2 ? 3 : 0));
		assert_int_equal(r.doubtful, 0);
		d = attach("a");
		assert_ok(disk_read(d, env.s, got, sizeof(got), 0));
		assert_memory_equal(got, buf, sizeof(buf));
		assert_ok(disk_read(d, env.s, got, sizeof(got), BLOCK_SIZE));
		content_of('a', 1, buf);
		assert_memory_equal(got, buf, sizeof(buf));
		memset(buf, 0, sizeof(buf));
		buf[0] = 7;
		assert_ok(disk_detach(d));
		assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "a@s", 0, &d));
		check_blocks(d, 'a', none, 0);
		assert_ok(disk_detach(d));
	}
}

static void
snapshot(struct disk *d, const char *name)
{
	struct snapshot_request q = { d, DESC_SNAPSHOT, name };

	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
}

static bool
in_chunk_0(uint64_t block)
{
	return block < CHUNK_BLOCKS;
}

/* One of them has a chunk that was made for a layer between, which is no more:
 * nobody can know which, and so neither has it, nor what lies below. */
static void
a_chunk_whose_nobody_knows_is_not_taken_for_another(void **state)
{
	char lower[STORE_PATH_LEN];
	uint8_t buf[BLOCK_SIZE] = { 7 }, got[BLOCK_SIZE];
	const atomic_bool stop = false;
	struct repair_report r;
	struct found fd;
	struct disk *d;

	(void)state;
	layer_path("a", "map", lower);
	d = attach("a");
	snapshot(d, "s");
	assert_ok(disk_write(d, env.s, buf, sizeof(buf), 0));
	snapshot(d, "t");
	assert_ok(put_block(d, 'a', CHUNK_BLOCKS));
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, "a@t"));
	engine_sweep(env.e, &stop);
	assert_ok(disk_detach(d));
	layer_path("a", "map", path);
	raw_remove(path);
	raw_remove(lower);
	r = repair("a");
	assert_int_equal(r.layers, 2);
	assert_int_equal(r.chunks, 5);
	assert_int_equal(r.unreadable, 1);
	/* Before the lower one is sealed again, and after that. */
	for (unsigned i = 0; i < 2; i++) {
		d = attach("a");
		check_blocks(d, 'a', in_chunk_0, EBADMSG);
		assert_ok(disk_detach(d));
		assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "a@s", 0, &d));
		check_blocks(d, 'a', none, 0);
		assert_ok(disk_detach(d));
		fd = check(true);
		assert_int_equal(all(&fd), 0);
		engine_sweep(env.e, &stop);
	}
	/* By now the lower one is known to have one of its own there. */
	r = repair("a");
	assert_int_equal(r.pages, 1);
	assert_int_equal(r.unreadable, 0);
	d = attach("a");
	assert_ok(disk_read(d, env.s, got, sizeof(got), 0));
	assert_memory_equal(got, buf, sizeof(got));
	assert_ok(disk_detach(d));
	assert_int_equal(repair("a").pages, 0);
}

static void snapshot_is_whole(void);
static void lose_map_page(void);

/* What a crash left of the disk, and what a sibling has made and not committed,
 * is not the snapshot's. */
static void
a_map_made_anew_took_the_chunks_of_another_layer(void **state)
{
	uint8_t buf[BLOCK_SIZE] = { 7 };
	char lower[STORE_PATH_LEN], file[STORE_PATH_LEN];
	struct repair_report r;
	size_t len, map_len;
	char *text, *map;
	struct disk *d;

	(void)state;
	layer_path("a", "map", lower);
	d = attach("a");
	snapshot(d, "s");
	assert_ok(disk_detach(d));
	layer_path("a", "map", path);
	map = raw_load(path, &map_len);
	/* Chunk 2 none of them has. */
	d = attach("a");
	assert_ok(disk_write(d, env.s, buf, sizeof(buf), 8u << 20));
	assert_ok(disk_flush(d));
	disk_abandon(d);
	chunk_path("a", 2, file);
	text = raw_load(file, &len);
	raw_save(path, map, map_len);
	raw_remove(lower);
	r = repair("a");
	assert_int_equal(r.chunks, 3);
	assert_int_equal(r.doubtful, 0);
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "a@s", 0, &d));
	check_blocks(d, 'a', none, 0);
	assert_ok(disk_detach(d));
	assert_true(raw_same(file, text, len));
	free(text);
	free(map);
}

static void
a_sibling_that_writes_keeps_a_map_from_being_made(void **state)
{
	const struct clone_params p = { .name = "c", .mode = 0600 };
	struct repair_report r;
	struct descriptor desc;
	struct disk *d;

	(void)state;
	d = attach("a");
	snapshot(d, "s");
	assert_ok(disk_detach(d));
	assert_ok(catalog_clone(engine_catalog(env.e), env.kms, DESC_SNAPSHOT,
				"a@s", &p, &desc));
	d = attach("c");
	assert_err(engine_repair_maps(env.e, DESC_DISK, "a", &r), EBUSY);
	assert_ok(disk_detach(d));
	assert_int_equal(repair("a").pages, 0);
}

/* As from a backup of before. */
static void
an_older_layer_ini_replaced_the_spare_copy_that_knew_better(void **state)
{
	const atomic_bool stop = false;
	char lower[STORE_PATH_LEN];
	struct disk *d;
	char *text;
	size_t len;

	(void)state;
	layer_path("a", "layer.ini", lower);
	text = raw_load(lower, &len);
	d = attach("a");
	snapshot(d, "s");
	assert_ok(put_block(d, 'a', CHUNK_BLOCKS));
	assert_ok(disk_detach(d));
	for (unsigned i = 0; i < 2; i++) {
		raw_save(lower, text, len);
		assert_int_equal(repair("a").inis, 1);
		snapshot_is_whole();
		engine_sweep(env.e, &stop);
		snapshot_is_whole();
	}
	free(text);
}

/* One damage elsewhere kept the map of a sealed layer from being made anew. */
static void
what_is_damaged_elsewhere_stops_no_repair(void **state)
{
	const atomic_bool stop = false;
	char lower[STORE_PATH_LEN], other[STORE_PATH_LEN];
	struct disk *d;

	(void)state;
	layer_path("a", "map", lower);
	d = attach("a");
	snapshot(d, "s");
	engine_sweep(env.e, &stop);
	assert_ok(disk_detach(d));
	layer_path("b", "layer.ini", other);
	raw_remove(other);
	raw_save("disks/garbage.ini", "x", 1);
	raw_remove(lower);
	strcpy(strrchr(lower, '/'), "/layer.ini");
	raw_remove(lower);
	strcpy(strrchr(lower, '/'), "/digests");
	raw_remove(lower);
	assert_int_equal(repair("a").chunks, 3);
	snapshot_is_whole();
}

static void
a_chunk_that_is_there_again_stayed_unreadable(void **state)
{
	struct repair_report r;
	size_t len;
	char *text;

	(void)state;
	lose_map_page();
	chunk_path("a", 1, path);
	text = raw_load(path, &len);
	raw_destroy(path, 0, SUPER_LEN);
	assert_int_equal(repair("a").unreadable, 1);
	assert_int_equal(repair("a").pages, 0);
	raw_save(path, text, len);
	free(text);
	r = repair("a");
	assert_int_equal(r.pages, 1);
	assert_int_equal(r.unreadable, 0);
	check_whole("a");
}

/* Made anew, it was held against the digest of what it had been. */
static void
the_map_of_a_sealed_layer_was_of_no_use_when_repaired(void **state)
{
	const atomic_bool stop = false;
	char lower[STORE_PATH_LEN];
	struct repair_report r;
	struct disk *d;

	(void)state;
	layer_path("a", "map", lower);
	d = attach("a");
	snapshot(d, "s");
	assert_ok(put_block(d, 'a', CHUNK_BLOCKS));
	engine_sweep(env.e, &stop);
	assert_ok(disk_detach(d));
	raw_remove(lower);
	r = repair("a");
	assert_int_equal(r.chunks, 3);
	for (unsigned i = 0; i < 2; i++) {
		check_whole("a");
		assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "a@s", 0, &d));
		check_blocks(d, 'a', none, 0);
		assert_int_equal(faults(d), 0);
		assert_ok(disk_detach(d));
		engine_sweep(env.e, &stop);
	}
}

/* ---- layer.ini ---- */

enum wrong { FLIPPED, CUT_OFF, REMOVED, N_WRONG };

static void
spoil(const char *file, enum wrong how)
{
	char *text;
	size_t len;

	if (how == FLIPPED)
		raw_flip(file, 150, 1);
	else if (how == REMOVED)
		raw_remove(file);
	if (how != CUT_OFF)
		return;
	text = raw_load(file, &len);
	raw_save(file, text, len / 2);
	free(text);
}

static void
a_layer_ini_is_made_of_its_spare_copy(void **state)
{
	struct repair_report r;

	(void)state;
	layer_path("a", "layer.ini", path);
	for (enum wrong how = 0; how < N_WRONG; how++) {
		spoil(path, how);
		r = repair("a");
		assert_int_equal(r.inis, 1);
		assert_int_equal(r.pages, 0);
		check_whole("a");
	}
	check_whole("b");
}

static void
snapshot_is_whole(void)
{
	struct disk *d;

	check_whole("a");
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "a@s", 0, &d));
	check_blocks(d, 'a', none, 0);
	assert_int_equal(faults(d), 0);
	assert_ok(disk_detach(d));
}

static void
so_is_that_of_a_frozen_layer(void **state)
{
	const atomic_bool stop = false;
	char lower[STORE_PATH_LEN];
	struct repair_report r;
	struct disk *d;

	(void)state;
	layer_path("a", "layer.ini", lower);
	d = attach("a");
	snapshot(d, "s");
	assert_ok(put_block(d, 'a', CHUNK_BLOCKS));
	assert_ok(disk_detach(d));
	/* Frozen, then sealed. */
	for (unsigned i = 0; i < 4; i++) {
		spoil(lower, i & 1 ? REMOVED : FLIPPED);
		r = repair("a");
		assert_int_equal(r.inis, 1);
		snapshot_is_whole();
		engine_sweep(env.e, &stop);
		snapshot_is_whole();
	}
}

/* As a crash leaves it after the barrier of a snapshot: it says less than there
 * is, and that does no harm. */
static void
a_spare_copy_of_before_will_do(void **state)
{
	char lower[STORE_PATH_LEN], spare[STORE_PATH_LEN];
	const atomic_bool stop = false;
	size_t len;
	struct disk *d;
	char *open;

	(void)state;
	layer_path("a", "layer.ini", lower);
	layer_path("a", "layer.spare", spare);
	open = raw_load(spare, &len);
	d = attach("a");
	snapshot(d, "s");
	layer_path("a", "layer.ini", path);
	assert_ok(put_block(d, 'a', CHUNK_BLOCKS));
	assert_ok(disk_detach(d));
	raw_save(spare, open, len);
	raw_remove(lower);
	raw_remove(path);
	assert_int_equal(repair("a").inis, 2);
	snapshot_is_whole();
	engine_sweep(env.e, &stop);
	snapshot_is_whole();
	free(open);
}

static void
without_either_the_file_is_named(void **state)
{
	struct repair_report r;

	(void)state;
	layer_path("a", "layer.spare", path);
	spoil(path, FLIPPED);
	layer_path("a", "layer.ini", path);
	spoil(path, FLIPPED);
	assert_err(engine_repair_maps(env.e, DESC_DISK, "a", &r), EUCLEAN);
	assert_string_equal(r.path, path);
}

/* As a store of before has none. */
static void
a_spare_copy_that_is_missing_is_made(void **state)
{
	size_t len;
	char *text;

	(void)state;
	layer_path("a", "layer.ini", path);
	text = raw_load(path, &len);
	layer_path("a", "layer.spare", path);
	for (unsigned i = 0; i < 2; i++) {
		raw_remove(path);
		if (i)
			check_whole("a");
		else
			assert_int_equal(repair("a").inis, 0);
		assert_true(raw_same(path, text, len));
	}
	free(text);
}

/* ---- the list of digests ---- */

static void
a_list_of_digests_is_made_of_its_map(void **state)
{
	const atomic_bool stop = false;
	char lower[STORE_PATH_LEN];
	struct disk *d;

	(void)state;
	layer_path("a", "digests", lower);
	d = attach("a");
	snapshot(d, "s");
	assert_ok(put_block(d, 'a', CHUNK_BLOCKS));
	engine_sweep(env.e, &stop);
	assert_ok(disk_detach(d));
	layer_path("a", "digests", path);
	for (enum wrong how = 0; how < N_WRONG; how++) {
		spoil(lower, how);
		spoil(path, how);
		assert_int_equal(repair("a").lists, 2);
		snapshot_is_whole();
		assert_int_equal(repair("a").lists, 0);
	}
}

/* It would say that an older map is the newest. */
static void
of_a_map_that_was_put_back_it_is_not(void **state)
{
	struct repair_report r;
	char map[STORE_PATH_LEN], *text;
	uint8_t buf[BLOCK_SIZE] = { 7 };
	struct disk *d;
	size_t len;

	(void)state;
	layer_path("a", "map", map);
	text = raw_load(map, &len);
	d = attach("a");
	assert_ok(disk_write(d, env.s, buf, sizeof(buf), 8u << 20));
	assert_ok(disk_detach(d));
	raw_save(map, text, len);
	free(text);
	layer_path("a", "digests", path);
	raw_remove(path);
	assert_err(engine_repair_maps(env.e, DESC_DISK, "a", &r), EBADMSG);
	assert_string_equal(r.path, path);
	assert_true(r.top);
	assert_int_equal(store_exists(env.st, path), 0);
	assert_err(disk_attach(env.e, DESC_DISK, "a", 0, &d), ESTALE);
}

static void
lose_map_page(void)
{
	layer_path("a", "map", path);
	raw_destroy(path, MAP_PAGES_AT + page_offset(0, 0), PAGE_LEN);
	raw_destroy(path, MAP_PAGES_AT + page_offset(0, 1), PAGE_LEN);
}

static bool
in_chunk_1(uint64_t block)
{
	return block / CHUNK_BLOCKS == 1;
}

/* What it says is in its pages, too, but for the salt. */
static void
a_chunk_with_a_damaged_superblock_read_as_zeros(void **state)
{
	struct repair_report r;

	(void)state;
	lose_map_page();
	chunk_path("a", 1, path);
	raw_flip(path, 3000, 5);
	r = repair("a");
	assert_int_equal(r.chunks, 3);
	assert_int_equal(r.unreadable, 0);
	check_whole("a");
}

/* There is nothing to be read of it, and so is said; and nothing that is left
 * of it is removed. */
static void
a_chunk_without_a_salt_read_as_zeros(void **state)
{
	struct scrub_options o = { .repair = true };
	struct scrub_totals s;
	struct repair_report r;
	struct found fd;
	struct disk *d;
	size_t len;
	char *text;

	(void)state;
	lose_map_page();
	chunk_path("a", 1, path);
	raw_destroy(path, 0, SUPER_LEN);
	text = raw_load(path, &len);
	r = repair("a");
	assert_int_equal(r.chunks, 3);
	assert_int_equal(r.unreadable, 1);
	fd = check(true);
	assert_int_equal(all(&fd), 0);
	d = attach("a");
	assert_ok(disk_scrub(d, env.s, &o, &s));
	check_blocks(d, 'a', in_chunk_1, EBADMSG);
	assert_ok(disk_detach(d));
	chunk_path("a", 1, path);
	assert_true(raw_same(path, text, len));
	free(text);
}

static const struct store_ops *real_ops;
static struct store_ops short_ops;

static int
open_none(struct store *st, const char *name, bool writable,
	  struct store_file **ret)
{
	return strstr(name, ".chunk") ? -EMFILE
				      : real_ops->open(st, name, writable, ret);
}

/* A chunk that could not be opened was left out of the new map, and its blocks
 * read as zeros. */
static void
without_descriptors_no_map_is_made(void **state)
{
	struct repair_report r;

	(void)state;
	lose_map_page();
	real_ops = env.st->ops;
	short_ops = *real_ops;
	short_ops.open = open_none;
	env.st->ops = &short_ops;
	assert_err(engine_repair_maps(env.e, DESC_DISK, "a", &r), EMFILE);
	env.st->ops = real_ops;
	r = repair("a");
	assert_int_equal(r.chunks, 3);
	check_whole("a");
}

static int
list_before_sweep(struct store *st, const char *name,
		  int (*fn)(const char *name, bool is_dir, void *arg),
		  void *arg)
{
	bool more;
	int r = real_ops->list(st, name, fn, arg);

	if (strcmp(name, "lineages") == 0) {
		env.st->ops = real_ops;
		assert_ok(catalog_sweep(engine_catalog(env.e), 256, &more));
	}
	return r;
}

static void
what_was_swept_meanwhile_was_said_to_be_lost(void **state)
{
	struct found fd;

	(void)state;
	eenv_create(&env, "x", 1 << 20);
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_DISK, "x"));
	real_ops = env.st->ops;
	short_ops = *real_ops;
	short_ops.list = list_before_sweep;
	env.st->ops = &short_ops;
	fd = check(false);
	assert_ptr_equal(env.st->ops, real_ops);
	assert_int_equal(all(&fd), 0);
}

/* As after a kill at the end of a sweep. */
static void
an_empty_folder_was_said_to_be_lost_data(void **state)
{
	struct uuid lineage;
	struct found fd;

	(void)state;
	assert_ok(uuid_new(&lineage));
	assert_ok(pending_mark(env.st, &lineage));
	lineage_unmark(env.st, &lineage, PENDING);
	path_lineage(&lineage, NULL, path);
	fd = check(false);
	assert_int_equal(all(&fd), 0);
	assert_int_not_equal(store_exists(env.st, path), 0);
	fd = check(true);
	assert_int_equal(all(&fd), 0);
	assert_int_equal(store_exists(env.st, path), 0);
}

static void
a_disk_in_use_is_not_repaired(void **state)
{
	struct repair_report r;
	struct disk *d = attach("a");

	(void)state;
	assert_err(engine_repair_maps(env.e, DESC_DISK, "a", &r), EBUSY);
	assert_ok(disk_detach(d));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(in_a_whole_store_there_is_nothing),
		T(a_chunk_that_no_map_names_goes),
		T(a_chunk_that_a_damaged_copy_named_was_removed),
		T(a_descriptor_that_cannot_be_read_stops_all),
		T(data_without_a_descriptor_is_told_and_kept),
		T(without_its_map_no_chunk_goes),
		T(a_whole_map_is_left_alone),
		T(a_map_page_is_made_of_its_chunks),
		T(so_is_a_map_that_is_gone),
		T(so_are_root_pages),
		T(each_layer_gets_its_own_chunks),
		T(the_map_of_a_sealed_layer_was_of_no_use_when_repaired),
		T(a_map_made_anew_took_the_chunks_of_another_layer),
		T(a_sibling_that_writes_keeps_a_map_from_being_made),
		T(an_older_layer_ini_replaced_the_spare_copy_that_knew_better),
		T(what_is_damaged_elsewhere_stops_no_repair),
		T(a_chunk_that_is_there_again_stayed_unreadable),
		T(a_chunk_whose_nobody_knows_is_not_taken_for_another),
		T(a_layer_ini_is_made_of_its_spare_copy),
		T(so_is_that_of_a_frozen_layer),
		T(a_spare_copy_of_before_will_do),
		T(without_either_the_file_is_named),
		T(a_spare_copy_that_is_missing_is_made),
		T(a_list_of_digests_is_made_of_its_map),
		T(of_a_map_that_was_put_back_it_is_not),
		T(a_chunk_with_a_damaged_superblock_read_as_zeros),
		T(a_chunk_without_a_salt_read_as_zeros),
		T(without_descriptors_no_map_is_made),
		T(what_was_swept_meanwhile_was_said_to_be_lost),
		T(an_empty_folder_was_said_to_be_lost_data),
		T(a_disk_in_use_is_not_repaired),
	};

	return run_group(tests, sizeof(tests) / sizeof(tests[0]));
}
