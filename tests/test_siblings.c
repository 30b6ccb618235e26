/*
 * test_siblings.c - two clones of one snapshot are under one data key: what is
 * right in one is authentic to the key of the other.  A chunk, a page, a block,
 * a map or a whole layer of one that is put in place of another's is found all
 * the same, and only what it was put over is lost.
 */
#include "damage_env.h"

#include "snapshot.h"

#define NAMES_MAX 32

struct name_list {
	char v[NAMES_MAX][64];
	size_t n;
};

struct clone {
	char disk[2];
	char chunk[2][STORE_PATH_LEN]; /* the files of chunks 0 and 1 */
};

static struct clone x, y;
static char parent_chunk[STORE_PATH_LEN]; /* chunk 0, of the snapshot */
static char frozen_layer[STORE_PATH_LEN], path[STORE_PATH_LEN],
    other[STORE_PATH_LEN];

/* ---- making them ---- */

static void
chunk_folder(char out[static STORE_PATH_LEN])
{
	struct descriptor *d = malloc(sizeof(*d));
	char lineage[UUID_STR_LEN];
	struct key dk;

	assert_non_null(d);
	load_descriptor("a", d, &dk);
	uuid_format(&d->lineage, lineage);
	free(d);
	(void)snprintf(out, STORE_PATH_LEN, "lineages/%s/chunks/0000", lineage);
}

static int
add_name(const char *name, bool is_dir, void *arg)
{
	struct name_list *n = arg;

	(void)is_dir;
	assert_true(n->n < NAMES_MAX);
	(void)snprintf(n->v[n->n++], sizeof(n->v[0]), "%s", name);
	return 0;
}

static bool
has_name(const struct name_list *n, const char *name)
{
	for (size_t i = 0; i < n->n; i++)
		if (strcmp(n->v[i], name) == 0)
			return true;
	return false;
}

/* The one file of a chunk that was not there before. */
static void
new_chunk(const struct name_list *before, unsigned index,
	  char out[static STORE_PATH_LEN])
{
	char folder[STORE_PATH_LEN], begin[16];
	struct name_list now = { .n = 0 };

	chunk_folder(folder);
	(void)snprintf(begin, sizeof(begin), "%07x-", index);
	assert_ok(env.st->ops->list(env.st, folder, add_name, &now));
	*out = '\0';
	for (size_t i = 0; i < now.n; i++) {
		if (strncmp(now.v[i], begin, 8) != 0 ||
		    has_name(before, now.v[i]))
			continue;
		assert_int_equal(*out, 0);
		assert_true(snprintf(out, STORE_PATH_LEN, "%s/%s", folder,
				     now.v[i]) < STORE_PATH_LEN);
	}
	assert_int_not_equal(*out, 0);
}

/* Of the two chunks all blocks that the snapshot has, with bytes of its own. */
static void
make_clone(struct clone *c, char name)
{
	struct clone_params p = { .name = c->disk, .mode = 0600 };
	struct name_list before = { .n = 0 };
	char folder[STORE_PATH_LEN];
	struct descriptor made;
	struct disk *d;

	c->disk[0] = name;
	assert_ok(catalog_clone(engine_catalog(env.e), env.kms, DESC_SNAPSHOT,
				"a@s", &p, &made));
	chunk_folder(folder);
	assert_ok(env.st->ops->list(env.st, folder, add_name, &before));
	d = attach(c->disk);
	for (unsigned b = 0; b < 2 * CHUNK_BLOCKS; b++)
		if (is_written(b))
			assert_ok(put_block(d, name, b));
	assert_ok(disk_detach(d));
	for (unsigned i = 0; i < 2; i++)
		new_chunk(&before, i, c->chunk[i]);
}

static int
setup(void **state)
{
	struct snapshot_request q = { NULL, DESC_SNAPSHOT, "s" };

	assert_int_equal(env_setup(state), 0);
	chunk_path("a", 0, parent_chunk);
	layer_path("a", "", frozen_layer);
	q.disk = attach("a");
	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
	assert_ok(disk_detach(q.disk));
	make_clone(&x, 'x');
	make_clone(&y, 'y');
	return 0;
}

/* ---- what they say ---- */

static void
expected(char disk, uint64_t block, uint8_t out[static BLOCK_SIZE])
{
	content_of(block < 2ULL * CHUNK_BLOCKS ? disk : 'a', block, out);
}

/* Blocks of ${lost} cannot be read, all others are what they should be. */
static void
check_clone(const struct clone *c, bool (*lost)(uint64_t block))
{
	uint8_t got[BLOCK_SIZE], want[BLOCK_SIZE];
	struct disk *d = attach(c->disk);

	for (uint64_t b = 0; b < DISK_BLOCKS; b++) {
		int r;

		if (b % GROUP_BLOCKS > 16 && !is_written(b))
			continue;
		r = disk_read(d, env.s, got, BLOCK_SIZE, b * BLOCK_SIZE);
		if (lost(b) != (r == -EBADMSG))
			fail_msg("block %" PRIu64 ": %d", b, r);
		expected(c->disk[0], b, want);
		if (r == 0)
			assert_memory_equal(got, want, BLOCK_SIZE);
	}
	assert_int_equal(faults(d) > 0, lost != none);
	assert_ok(disk_detach(d));
}

/* The second clone, and what both come from. */
static void
check_others(void)
{
	struct disk *d;

	check_clone(&y, none);
	check_whole("a");
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "a@s", 0, &d));
	check_blocks(d, 'a', none, 0);
	assert_ok(disk_detach(d));
}

/* Whatever says that it is an older one: not even who accepts such is given
 * what is another one's. */
static void
check_refused(void)
{
	static const int flags[] = { 0, DISK_ACCEPT_ROLLBACK };

	for (unsigned i = 0; i < 2; i++) {
		struct disk *d;
		int r = disk_attach(env.e, DESC_DISK, "x", flags[i], &d);

		if (r != -EBADMSG && r != -EUCLEAN &&
		    (r != -ESTALE || flags[i]))
			fail_msg("attach: %d", r);
	}
	check_others();
}

static bool
in_chunk_0(uint64_t b)
{
	return b < CHUNK_BLOCKS;
}

static bool
in_group_0(uint64_t b)
{
	return b < GROUP_BLOCKS;
}

static bool
data_of_chunk_0(uint64_t b)
{
	return b < CHUNK_BLOCKS && is_written(b);
}

/* ---- what is put in place of what ---- */

static void
both_clones_are_whole(void **state)
{
	(void)state;
	check_clone(&x, none);
	check_others();
}

static void
a_chunk_of_a_sibling_is_not_ours(void **state)
{
	(void)state;
	raw_copy(y.chunk[0], x.chunk[0]);
	check_clone(&x, in_chunk_0);
	check_others();
}

static void
a_chunk_of_the_parent_is_not_ours(void **state)
{
	(void)state;
	raw_copy(parent_chunk, x.chunk[0]);
	check_clone(&x, in_chunk_0);
	check_others();
}

static void
another_chunk_of_the_same_clone_is_not_this_one(void **state)
{
	(void)state;
	raw_copy(x.chunk[1], x.chunk[0]);
	check_clone(&x, in_chunk_0);
	check_others();
}

static void
copy_page(const char *from, unsigned group, const char *to)
{
	uint8_t page[PAGE_LEN];

	for (unsigned copy = 0; copy < 2; copy++) {
		raw_read(from, page, PAGE_LEN, group_page_at(group, copy));
		raw_write(to, page, PAGE_LEN, group_page_at(0, copy));
	}
}

static void
a_page_of_a_sibling_is_not_ours(void **state)
{
	(void)state;
	copy_page(y.chunk[0], 0, x.chunk[0]);
	check_clone(&x, in_group_0);
	check_others();
}

static void
a_page_of_another_group_is_not_of_this_one(void **state)
{
	(void)state;
	copy_page(x.chunk[0], 1, x.chunk[0]);
	check_clone(&x, in_group_0);
	check_others();
}

/* Both have written the same blocks in the same order: into the same slots. */
static void
blocks_of_a_sibling_are_not_ours(void **state)
{
	size_t len, n;
	char *from = raw_load(y.chunk[0], &len), *to = raw_load(x.chunk[0], &n);

	(void)state;
	assert_int_equal(len, n);
	memcpy(to + SLOTS_AT, from + SLOTS_AT, len - SLOTS_AT);
	raw_save(x.chunk[0], to, len);
	free(from);
	free(to);
	check_clone(&x, data_of_chunk_0);
	check_others();
}

static void
a_map_of_a_sibling_is_refused(void **state)
{
	(void)state;
	layer_path("x", "map", path);
	layer_path("y", "map", other);
	raw_copy(other, path);
	check_refused();
}

/* All files of a layer: of those that there are. */
static void
copy_layer(const char *from, const char *to)
{
	struct name_list n = { .n = 0 };
	char a[STORE_PATH_LEN + 64], b[STORE_PATH_LEN + 64];

	assert_ok(env.st->ops->list(env.st, from, add_name, &n));
	assert_true(has_name(&n, "map") && has_name(&n, "layer.ini"));
	for (size_t i = 0; i < n.n; i++) {
		(void)snprintf(a, sizeof(a), "%s/%s", from, n.v[i]);
		(void)snprintf(b, sizeof(b), "%s/%s", to, n.v[i]);
		raw_copy(a, b);
	}
}

/* Its folder's path, without a slash at its end. */
static void
layer_folder(const char *name, char out[static STORE_PATH_LEN])
{
	layer_path(name, "", out);
	if (out[strlen(out) - 1] == '/')
		out[strlen(out) - 1] = '\0';
}

static void
a_layer_of_a_sibling_is_refused(void **state)
{
	(void)state;
	layer_folder("x", path);
	layer_folder("y", other);
	copy_layer(other, path);
	check_refused();
}

static void
the_layer_of_the_snapshot_is_refused(void **state)
{
	(void)state;
	if (frozen_layer[strlen(frozen_layer) - 1] == '/')
		frozen_layer[strlen(frozen_layer) - 1] = '\0';
	layer_folder("x", path);
	copy_layer(frozen_layer, path);
	check_refused();
}

static void
a_descriptor_of_a_sibling_is_refused(void **state)
{
	(void)state;
	raw_copy("disks/y.ini", "disks/x.ini");
	check_refused();
}

int
main(void)
{
#define S(name) cmocka_unit_test_setup_teardown(name, setup, env_teardown)
	const struct CMUnitTest tests[] = {
		S(both_clones_are_whole),
		S(a_chunk_of_a_sibling_is_not_ours),
		S(a_chunk_of_the_parent_is_not_ours),
		S(another_chunk_of_the_same_clone_is_not_this_one),
		S(a_page_of_a_sibling_is_not_ours),
		S(a_page_of_another_group_is_not_of_this_one),
		S(blocks_of_a_sibling_are_not_ours),
		S(a_map_of_a_sibling_is_refused),
		S(a_layer_of_a_sibling_is_refused),
		S(the_layer_of_the_snapshot_is_refused),
		S(a_descriptor_of_a_sibling_is_refused),
	};

	return run_group(tests, sizeof(tests) / sizeof(tests[0]));
}
