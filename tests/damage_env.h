/*
 * damage_env.h - two disks with known content in a store in memory, and ways
 * to damage the store's files.
 *
 * Both disks, "a" and "b", have the blocks of `written`, each with bytes of its
 * own; all else is a hole.  One keystore serves all
 * tests of a program (env_group_setup), each test has a store of its own.
 */
#ifndef SEALDISK_DAMAGE_ENV_H
#define SEALDISK_DAMAGE_ENV_H

#include "engine_env.h"

#include <inttypes.h>

#include <sealdisk/log.h>

#include "mem_store.h"
#include "page.h"
#include "super.h"

#define CHUNK_BLOCKS 1024
#define CHUNK_BYTES (4u << 20)
#define GROUP_BLOCKS 128
#define SLOTS_AT 69632
#define MAP_PAGES_AT (16 * PAGE_LEN)
#define DISK_BLOCKS (5 * CHUNK_BLOCKS)
#define DISK_BYTES ((uint64_t)DISK_BLOCKS * BLOCK_SIZE)

/* Chunk 0 has two groups, chunk 1 one, chunk 3 a full one. */
static const struct {
	unsigned first, n;
} written[] = {
	{ 0, 16 },
	{ GROUP_BLOCKS + 8, 8 },
	{ CHUNK_BLOCKS, 4 },
	{ 3 * CHUNK_BLOCKS + 7 * GROUP_BLOCKS, GROUP_BLOCKS },
};
#define N_WRITTEN (sizeof(written) / sizeof(written[0]))

static struct engine_env env;

static inline bool
is_written(uint64_t block)
{
	for (size_t i = 0; i < N_WRITTEN; i++)
		if (block >= written[i].first &&
		    block < written[i].first + written[i].n)
			return true;
	return false;
}

static inline void
content_of(char disk, uint64_t block, uint8_t out[static BLOCK_SIZE])
{
	memset(out, 0, BLOCK_SIZE);
	if (is_written(block))
		fill_pattern(out, BLOCK_SIZE, (uint64_t)disk << 32 | block);
}

static inline struct disk *
attach(const char *name)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, DESC_DISK, name, 0, &d));
	return d;
}

static inline int
put_block(struct disk *d, char disk, uint64_t block)
{
	uint8_t buf[BLOCK_SIZE];

	content_of(disk, block, buf);
	return disk_write(d, env.s, buf, BLOCK_SIZE, block * BLOCK_SIZE);
}

static inline void
fill_disk(const char *name)
{
	struct disk *d = attach(name);

	for (size_t i = 0; i < N_WRITTEN; i++)
		for (unsigned b = 0; b < written[i].n; b++)
			assert_ok(put_block(d, *name, written[i].first + b));
	assert_ok(disk_detach(d));
}

static inline int
env_group_setup(void **state)
{
	(void)state;
	eenv_keys(&env);
	return 0;
}

static inline int
env_group_teardown(void **state)
{
	(void)state;
	eenv_keys_end(&env);
	return 0;
}

static inline int
env_setup(void **state)
{
	struct store *st;

	(void)state;
	assert_ok(mem_store_open(&st));
	eenv_start(&env, st, CIPHER_AES256_GCM);
	eenv_create(&env, "a", DISK_BYTES);
	eenv_create(&env, "b", DISK_BYTES);
	fill_disk("a");
	fill_disk("b");
	return 0;
}

static inline int
env_teardown(void **state)
{
	(void)state;
	eenv_stop(&env);
	return 0;
}

/* ---- what the disks say ---- */

static inline uint64_t
faults(struct disk *d)
{
	struct disk_stats st;

	disk_stats(d, &st);
	return st.faults;
}

static inline uint64_t
repairs(struct disk *d)
{
	struct disk_stats st;

	disk_stats(d, &st);
	return st.repairs;
}

static inline bool
none(uint64_t block)
{
	(void)block;
	return false;
}

/* Read block by block: those of ${lost} fail with ${err}, all others are what
 * they should be. */
static inline void
check_blocks(struct disk *d, char disk, bool (*lost)(uint64_t block), int err)
{
	uint8_t got[BLOCK_SIZE], want[BLOCK_SIZE];

	for (uint64_t b = 0; b < DISK_BLOCKS; b++) {
		int r;

		/* Holes are many and all alike: their first blocks do. */
		if (b % GROUP_BLOCKS > 16 && !is_written(b))
			continue;
		r = disk_read(d, env.s, got, BLOCK_SIZE, b * BLOCK_SIZE);
		if (lost(b)) {
			if (r != -err)
				fail_msg("block %" PRIu64 ": %d", b, r);
			continue;
		}
		if (r < 0)
			fail_msg("block %" PRIu64 ": %s", b, strerror(-r));
		content_of(disk, b, want);
		assert_memory_equal(got, want, BLOCK_SIZE);
	}
}

/* Disk ${name} has nothing to complain of. */
static inline void
check_whole(const char *name)
{
	struct disk *d = attach(name);

	check_blocks(d, *name, none, 0);
	assert_int_equal(faults(d), 0);
	assert_int_equal(repairs(d), 0);
	assert_ok(disk_detach(d));
}

/* ---- where things lie ---- */

static inline void
load_descriptor(const char *name, struct descriptor *d, struct key *dk)
{
	assert_ok(catalog_load_verified(engine_catalog(env.e), env.kms,
					DESC_DISK, name, d, dk));
}

static inline void
layer_path(const char *name, const char *file, char out[static STORE_PATH_LEN])
{
	struct descriptor *d = malloc(sizeof(*d));
	struct key dk;

	assert_non_null(d);
	load_descriptor(name, d, &dk);
	path_layer(&d->layer, file, out);
	free(d);
}

struct wanted {
	char begin[9]; /* index and hyphen */
	char name[64];
};

static inline int
is_wanted(const char *name, bool is_dir, void *arg)
{
	struct wanted *w = arg;

	if (is_dir || strncmp(name, w->begin, 8) != 0)
		return 0;
	assert_int_equal(*w->name, 0);
	(void)snprintf(w->name, sizeof(w->name), "%s", name);
	return 0;
}

/* The one file of that chunk. */
static inline void
chunk_path(const char *name, unsigned index, char out[static STORE_PATH_LEN])
{
	struct descriptor *d = malloc(sizeof(*d));
	char lineage[UUID_STR_LEN], folder[128];
	struct wanted w = { "", "" };
	struct key dk;

	assert_non_null(d);
	load_descriptor(name, d, &dk);
	uuid_format(&d->lineage, lineage);
	free(d);
	(void)snprintf(folder, sizeof(folder), "lineages/%s/chunks/0000",
		       lineage);
	(void)snprintf(w.begin, sizeof(w.begin), "%07x-", index);
	assert_ok(env.st->ops->list(env.st, folder, is_wanted, &w));
	assert_int_not_equal(*w.name, 0);
	(void)snprintf(out, STORE_PATH_LEN, "%s/%s", folder, w.name);
}

/* ---- the files, by force ---- */

static inline struct store_file *
raw_open(const char *path)
{
	struct store_file *f;

	assert_ok(env.st->ops->open(env.st, path, true, &f));
	return f;
}

static inline void
raw_read(const char *path, void *buf, size_t len, uint64_t off)
{
	struct store_file *f = raw_open(path);

	assert_ok(f->st->ops->read(f, buf, len, off));
	store_close(f);
}

static inline void
raw_write(const char *path, const void *buf, size_t len, uint64_t off)
{
	struct store_file *f = raw_open(path);

	assert_ok(f->st->ops->write(f, buf, len, off));
	store_close(f);
}

static inline void
raw_flip(const char *path, uint64_t off, unsigned bit)
{
	uint8_t byte;

	raw_read(path, &byte, 1, off);
	byte ^= (uint8_t)(1U << bit);
	raw_write(path, &byte, 1, off);
}

/* As after a sector of nothing was written there. */
static inline void
raw_destroy(const char *path, uint64_t off, size_t len)
{
	uint8_t *zeros = calloc(1, len);

	assert_non_null(zeros);
	raw_write(path, zeros, len, off);
	free(zeros);
}

static inline void
raw_cut(const char *path, uint64_t len)
{
	struct store_file *f = raw_open(path);

	assert_ok(f->st->ops->truncate(f, len));
	store_close(f);
}

static inline void
raw_remove(const char *path)
{
	assert_ok(env.st->ops->remove(env.st, path));
}

/* Inlined, gcc 12 takes what it returns for the address of `buf`. */
static __attribute__((__noinline__, __unused__)) char *
raw_load(const char *path, size_t *ret_len)
{
	char *buf;

	assert_ok(env.st->ops->load(env.st, path, 64 << 20, &buf, ret_len));
	return buf;
}

/* Over what is there. */
static inline void
raw_save(const char *path, const char *buf, size_t len)
{
	assert_ok(env.st->ops->replace(env.st, path, buf, len));
}

static inline void
raw_copy(const char *from, const char *to)
{
	size_t len;
	char *buf = raw_load(from, &len);

	raw_save(to, buf, len);
	free(buf);
}

static inline void
raw_swap(const char *a, const char *b)
{
	size_t la, lb;
	char *ba = raw_load(a, &la), *bb = raw_load(b, &lb);

	raw_save(a, bb, lb);
	raw_save(b, ba, la);
	free(ba);
	free(bb);
}

static inline bool
raw_same(const char *path, const char *buf, size_t len)
{
	size_t n;
	char *now = raw_load(path, &n);
	bool same = n == len && memcmp(now, buf, len) == 0;

	free(now);
	return same;
}

/* Where copy ${copy} of the page of a group lies in its chunk's file. */
static inline uint64_t
group_page_at(unsigned group, unsigned copy)
{
	return SUPER_LEN + page_offset(group, copy);
}

/* The slot in which a block of a disk lies, as an offset in the file. */
static inline uint64_t
slot_at(const char *name, uint64_t block)
{
	const unsigned group = (unsigned)(block % CHUNK_BLOCKS / GROUP_BLOCKS);
	struct descriptor *d = malloc(sizeof(*d));
	uint8_t raw[PAGE_LEN], keys[2 * KEY_LEN];
	char path[STORE_PATH_LEN];
	union page_body body;
	struct page_head h;
	struct super su;
	struct key dk;
	struct entry *e;

	assert_non_null(d);
	load_descriptor(name, d, &dk);
	free(d);
	chunk_path(name, (unsigned)(block / CHUNK_BLOCKS), path);
	raw_read(path, raw, SUPER_LEN, 0);
	assert_ok(super_parse(raw, &su));
	assert_ok(chunk_keys(&dk, su.salt, su.cipher, su.index, keys));
	raw_read(path, raw, PAGE_LEN, group_page_at(group, 0));
	assert_ok(page_decode(raw, keys + KEY_LEN, PAGE_GROUP,
			      block / GROUP_BLOCKS, &h, &body));
	e = &body.entry[block % GROUP_BLOCKS];
	assert_int_equal(e->state, ENTRY_DATA);
	return SLOTS_AT + (group * 256u + e->slot) * BLOCK_SIZE;
}

/* A test and its store. */
#define T(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

static inline int
run_group(const struct CMUnitTest *tests, size_t n)
{
	if (crypto_init() < 0)
		return 1;
	return _cmocka_run_group_tests("damage", tests, n, env_group_setup,
				       env_group_teardown);
}

#endif
