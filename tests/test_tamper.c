/*
 * test_tamper.c - whatever is done to the files of a store, nobody reads what
 * is wrong: it is found, or nothing that can be read has changed.
 *
 * A store with a disk, snapshots and clones of it is copied as it is at several
 * moments.  Then, each time on a copy of the last one, bytes of its files are
 * changed, files are removed, cut, exchanged with each other of their kind, and
 * put back as they once were; and all disks and snapshots are read.  What they
 * hold must be what they held at the end, or an error.  An older version may be
 * read only where format.md says that it cannot be told: what is then read is
 * what was there, all of it.
 *
 * SEALDISK_TEST_SLOW=1 changes each byte of small files, and of maps and chunk
 * files each 64th, where nobody has written anything one a page; which, says
 * SEALDISK_TEST_SEED: 0 to 63 together change each byte.  Otherwise it is some
 * of them.  What comes out is the table of sealdisk-format(5), which is held
 * against it; SEALDISK_TAMPER=FILE writes it.
 */
#include "engine_env.h"

#include <inttypes.h>
#include <malloc.h>
#include <time.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "engine_private.h"
#include "mem_store.h"
#include "page.h"
#include "snapshot.h"
#include "store_copy.h"

#define BLOCKS 24 /* of a disk, that are looked at, in two chunks */
#define DISK_SIZE ((uint64_t)3 * CHUNK_BLOCKS * BLOCK_SIZE)
#define MOMENTS 4
#define SLOW_STRIDE 64

static struct engine_env env;

static struct copy copies[MOMENTS]; /* the last one is what there is */
static const struct copy *const end = &copies[MOMENTS - 1];

/* ---- what there is to be read ---- */

static const struct item {
	enum desc_type type;
	const char *name;
} items[] = {
	{ DESC_DISK, "a" }, { DESC_SNAPSHOT, "a@s" }, { DESC_SNAPSHOT, "a@t" },
	{ DESC_DISK, "c" }, { DESC_IMAGE, "i" },
};
#define ITEMS (sizeof(items) / sizeof(items[0]))

/* What each holds at each moment: a number a block, 0 for zeros. */
static unsigned holds[MOMENTS][ITEMS][BLOCKS];
static unsigned now[ITEMS][BLOCKS];

static uint64_t
offset_of(unsigned b)
{
	return (b < BLOCKS / 2 ? b : CHUNK_BLOCKS + b) * (uint64_t)BLOCK_SIZE;
}

static void
fill(unsigned number, uint8_t out[static BLOCK_SIZE])
{
	for (unsigned i = 0; i < BLOCK_SIZE; i++)
		out[i] = number ? (uint8_t)(number * 7 + i * number) : 0;
}

static void
write_block(struct disk *d, unsigned item, unsigned b, unsigned number)
{
	uint8_t buf[BLOCK_SIZE];

	fill(number, buf);
	assert_ok(disk_write(d, env.s, buf, sizeof(buf), offset_of(b)));
	now[item][b] = number;
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
snapshot_of(struct disk *d, enum desc_type type, unsigned item)
{
	const char *at = strchr(items[item].name, '@');
	struct snapshot_request q = { d, type, at ? at + 1 : items[item].name };

	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
	memcpy(now[item], now[0], sizeof(now[0]));
}

/* All that is done in the background has been done. */
static void
settle(void)
{
	const atomic_bool stop = false;

	engine_sweep(env.e, &stop);
}

static void
moment(unsigned m)
{
	settle();
	copy_store(env.st, &copies[m]);
	memcpy(holds[m], now, sizeof(now));
}

static void
make_history(void)
{
	const struct clone_params p = { .name = "c", .mode = 0600 };
	struct descriptor *desc = malloc(sizeof(*desc));
	struct store *st;
	struct disk *d;

	assert_non_null(desc);
	assert_ok(mem_store_open(&st));
	eenv_start(&env, st, CIPHER_AES256_GCM);
	eenv_create(&env, "a", DISK_SIZE);
	d = attach(0);
	for (unsigned b = 0; b < BLOCKS; b += 2)
		write_block(d, 0, b, 1 + b);
	assert_ok(disk_detach(d));
	moment(0);

	d = attach(0);
	write_block(d, 0, 2, 40);
	write_block(d, 0, 3, 41);
	snapshot_of(d, DESC_SNAPSHOT, 1);
	write_block(d, 0, 4, 42);
	write_block(d, 0, 14, 43);
	assert_ok(disk_detach(d));
	moment(1);

	assert_ok(catalog_clone(engine_catalog(env.e), env.kms, DESC_SNAPSHOT,
				"a@s", &p, desc));
	memcpy(now[3], now[1], sizeof(now[1]));
	d = attach(3);
	write_block(d, 3, 4, 50);
	write_block(d, 3, 1, 51);
	assert_ok(disk_detach(d));
	d = attach(0);
	snapshot_of(d, DESC_SNAPSHOT, 2);
	write_block(d, 0, 4, 44);
	write_block(d, 0, 0, 45);
	snapshot_of(d, DESC_IMAGE, 4);
	assert_ok(disk_detach(d));
	moment(2);

	d = attach(0);
	write_block(d, 0, 4, 46);
	write_block(d, 0, 13, 47);
	assert_ok(disk_detach(d));
	d = attach(3);
	write_block(d, 3, 4, 52);
	assert_ok(disk_detach(d));
	moment(3);
	eenv_stop(&env);
	free(desc);
}

/* ---- kinds of files, and what was done to them ---- */

enum kind {
	K_DESCRIPTOR,
	K_LAYER,
	K_MAP,
	K_DIGESTS,
	K_CHUNK,
	K_SPARE,
	K_OTHER,
	KINDS
};
static const char *const kind_words[KINDS] = {
	"descriptor", "layer.ini",  "map",      "digests",
	"chunk file", "spare copy", "all else",
};

static enum kind
kind_of(const char *path)
{
	const char *name = strrchr(path, '/');

	name = name ? name + 1 : path;
	if (strncmp(path, "disks/", 6) == 0 ||
	    strncmp(path, "snapshots/", 10) == 0 ||
	    strncmp(path, "images/", 7) == 0)
		return K_DESCRIPTOR;
	if (strncmp(path, "spares/", 7) == 0)
		return K_SPARE;
	if (strstr(path, "/chunks/"))
		return K_CHUNK;
	return strcmp(name, "layer.ini") == 0 ? K_LAYER
	       : strcmp(name, "map") == 0     ? K_MAP
	       : strcmp(name, "digests") == 0 ? K_DIGESTS
					      : K_OTHER;
}

enum deed { D_BIT, D_GONE, D_CUT, D_SWAPPED, D_OLDER, DEEDS };
static const char *const deed_words[DEEDS] = {
	"a bit changed", "removed", "cut", "exchanged", "put back",
};

enum outcome {
	O_SAME,  /* all is read as it was, and nothing was noticed */
	O_FOUND, /* something is refused or told; what is read is right */
	O_OLD,   /* what is read is what was there once */
	OUTCOMES
};

static unsigned table[KINDS][DEEDS][OUTCOMES];

/* ---- reading it all ---- */

/* Which moments' content that may be, a bit each; 0: what never was. */
static unsigned
moments_of(struct disk *d, unsigned item, bool *ret_errors)
{
	uint8_t got[BLOCK_SIZE], want[BLOCK_SIZE];
	unsigned mask = (1U << MOMENTS) - 1;

	for (unsigned b = 0; b < BLOCKS; b++) {
		if (disk_read(d, env.s, got, sizeof(got), offset_of(b)) < 0) {
			*ret_errors = true;
			continue;
		}
		for (unsigned m = 0; m < MOMENTS; m++) {
			fill(holds[m][item][b], want);
			if (memcmp(got, want, sizeof(got)) != 0)
				mask &= ~(1U << m);
		}
	}
	return mask;
}

/* -1: it reads what is wrong. */
static int
look_at(unsigned item, bool *found, bool *old)
{
	struct disk_stats stats;
	bool errors = false;
	struct disk *d;
	unsigned mask;
	int r;

	r = disk_attach(env.e, items[item].type, items[item].name, 0, &d);
	if (r < 0) {
		*found = true;
		return 0;
	}
	mask = moments_of(d, item, &errors);
	disk_stats(d, &stats);
	*found |= errors || stats.faults > 0 || stats.repairs > 0;
	disk_abandon(d);
	if (!(mask >> (MOMENTS - 1) & 1))
		*old = true;
	return mask == 0 ? -1 : 0;
}

static int
look(enum outcome *ret)
{
	bool found = false, old = false;
	int r;

	r = engine_open(env.st, env.kms, &env.opt, &env.e);
	if (r < 0) {
		*ret = O_FOUND;
		return 0;
	}
	for (unsigned i = 0; r == 0 && i < ITEMS; i++)
		r = look_at(i, &found, &old);
	engine_close(env.e);
	env.e = NULL;
	*ret = old ? O_OLD : found ? O_FOUND : O_SAME;
	return r;
}

/* What was done is in ${st}; an older state may be read where ${may_be_old}. */
static void
try(struct store *st, const char *path, enum deed deed, size_t at,
    bool may_be_old)
{
	enum kind kind = kind_of(path);
	enum outcome o = O_SAME;
	int r;

	env.st = st;
	r = look(&o);
	store_free(st);
	env.st = NULL;
	if (r < 0 || (o == O_OLD && !may_be_old))
		fail_msg("%s: %s, at %zu: what is read is %s", path,
			 deed_words[deed], at, r < 0 ? "wrong" : "old");
	table[kind][deed][o]++;
}

/* ---- the deeds ---- */

/* Of bytes that nobody has written one a page is enough. */
static bool
is_hole(const struct file *f, size_t at)
{
	size_t from = at / BLOCK_SIZE * BLOCK_SIZE;

	return from + BLOCK_SIZE <= f->len && block_is_zero(f->data + from);
}

static size_t
stride(const struct file *f, size_t at)
{
	enum kind kind = kind_of(f->path);

	if (test_is_slow() && kind != K_MAP && kind != K_CHUNK)
		return 1;
	if (test_is_slow())
		return is_hole(f, at) ? BLOCK_SIZE : SLOW_STRIDE;
	if (kind == K_DESCRIPTOR || kind == K_LAYER || kind == K_SPARE)
		return 37;
	return kind == K_DIGESTS || kind == K_OTHER ? 61 : f->len / 25 + 1;
}

static unsigned
nothing_pending(void *arg, const struct mem_ask *ask)
{
	(void)arg;
	fail_msg("%s: is not durable", ask->path);
	return 0;
}

static void
change_bit(struct store *st, const struct file *f, size_t at)
{
	uint8_t byte = f->data[at] ^ (uint8_t)(1U << (at % 8));
	struct store_file *to;

	assert_ok(st->ops->open(st, f->path, true, &to));
	assert_ok(st->ops->write(to, &byte, 1, at));
	store_close(to);
}

static void
a_changed_bit_is_found(void **state)
{
	const char *given = getenv("SEALDISK_TEST_SEED");
	size_t seed = given            ? strtoul(given, NULL, 10)
		      : test_is_slow() ? (size_t)time(NULL)
				       : 0;
	struct store *base = store_of(end);

	(void)state;
	print_message("SEALDISK_TEST_SEED=%zu\n", seed);
	assert_ok(base->ops->sync_all(base));
	mem_store_record(base, NULL, NULL);
	for (size_t i = 0; i < end->n; i++) {
		const struct file *f = &end->f[i];
		size_t at = f->len ? (i + seed) % stride(f, 0) : 0;

		if (test_is_slow())
			at = stride(f, 0) > 1 ? seed % SLOW_STRIDE : 0;
		for (; at < f->len; at += stride(f, at)) {
			struct store *st =
			    mem_store_fork(base, nothing_pending, NULL);

			change_bit(st, f, at);
			try(st, f->path, D_BIT, at, false);
		}
	}
	store_free(base);
}

static void
a_file_that_is_gone_is_missed(void **state)
{
	(void)state;
	for (size_t i = 0; i < end->n; i++) {
		struct store *st = store_of(end);

		assert_ok(st->ops->remove(st, end->f[i].path));
		try(st, end->f[i].path, D_GONE, 0, false);
	}
}

static void
a_file_that_is_cut_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < end->n; i++) {
		const size_t lens[] = { 0, end->f[i].len / 2, end->f[i].len };

		for (size_t j = 0; j < 3; j++) {
			struct file cut = end->f[i];
			struct store *st = store_of(end);

			cut.len = lens[j] && j == 2 ? lens[j] - 1 : lens[j];
			put(st, &cut);
			try(st, cut.path, D_CUT, cut.len, false);
		}
	}
}

static void
what_is_exchanged_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < end->n; i++)
		for (size_t j = 0; j < i; j++) {
			struct file x = end->f[i], y = end->f[j];
			struct store *st;

			if (kind_of(x.path) != kind_of(y.path) || same(&x, &y))
				continue;
			(void)strcpy(x.path, end->f[j].path);
			(void)strcpy(y.path, end->f[i].path);
			st = store_of(end);
			put(st, &x);
			put(st, &y);
			try(st, x.path, D_SWAPPED, 0, false);
		}
}

/*
 * An older descriptor names an older layer, or leaves out that a disk was
 * detached since: what it names is in the store still, as snapshots need it.
 * Only an anchor tells.
 */
static void
an_older_version_is_found(void **state)
{
	(void)state;
	for (unsigned m = 0; m + 1 < MOMENTS; m++)
		for (size_t i = 0; i < copies[m].n; i++) {
			const struct file *f = &copies[m].f[i];
			struct store *st;

			if (same(f, find(end, f->path)))
				continue;
			st = store_of(end);
			put(st, f);
			try(st, f->path, D_OLDER, m,
			    kind_of(f->path) == K_DESCRIPTOR);
		}
}

static bool
is_in(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && path[len] == '/';
}

/* All files of a layer at once, and all of its lineage's chunks. */
static void
an_older_layer_is_found(void **state)
{
	(void)state;
	for (unsigned m = 0; m + 1 < MOMENTS; m++)
		for (size_t i = 0; i < copies[m].n; i++) {
			char folder[STORE_PATH_LEN];
			struct store *st;

			if (kind_of(copies[m].f[i].path) != K_LAYER)
				continue;
			(void)strcpy(folder, copies[m].f[i].path);
			*strrchr(folder, '/') = '\0';
			st = store_of(end);
			for (size_t j = 0; j < copies[m].n; j++)
				if (is_in(copies[m].f[j].path, folder) ||
				    kind_of(copies[m].f[j].path) == K_CHUNK)
					put(st, &copies[m].f[j]);
			try(st, copies[m].f[i].path, D_OLDER, m, false);
		}
}

/* ---- the table ---- */

static const char *
cell(const unsigned o[static OUTCOMES])
{
	if (o[O_SAME] + o[O_FOUND] + o[O_OLD] == 0)
		return "-";
	if (o[O_OLD])
		return "anchor";
	if (!o[O_SAME])
		return "found";
	return o[O_FOUND] ? "found, or harmless" : "harmless";
}

/* A line of mdoc.  What is of no authority has no line. */
static void
put_row(FILE *f, enum kind k)
{
	fprintf(f, ".It %s", kind_words[k]);
	for (unsigned d = 0; d < DEEDS; d++)
		fprintf(f, " Ta %s", cell(table[k][d]));
	fprintf(f, "\n");
}

static void
the_manual_says_so(void **state)
{
	const char *path = getenv("SEALDISK_TAMPER");
	const char *top = getenv("top_srcdir");
	FILE *f = path ? fopen(path, "w") : NULL;
	CLEANUP(free_memp) char *manual = NULL;
	char name[4096], row[512];
	size_t len;

	(void)state;
	if (top) {
		(void)snprintf(name, sizeof(name), "%s/man/sealdisk-format.5",
			       top);
		assert_ok(io_load(AT_FDCWD, name, 1 << 20, &manual, &len));
	}
	for (unsigned k = 0; k < K_OTHER; k++) {
		FILE *to = fmemopen(row, sizeof(row), "w");

		assert_non_null(to);
		put_row(to, k);
		assert_int_equal(fclose(to), 0);
		if (f)
			fprintf(f, "%s", row);
		if (manual && !strstr(manual, row))
			fail_msg("sealdisk-format(5) lacks: %s", row);
	}
	if (f)
		assert_int_equal(fclose(f), 0);
	for (unsigned k = 0; k < KINDS; k++)
		for (unsigned d = 0; d < DEEDS; d++)
			print_message("%-12s %-14s same %5u found %5u old %u\n",
				      kind_words[k], deed_words[d],
				      table[k][d][O_SAME], table[k][d][O_FOUND],
				      table[k][d][O_OLD]);
}

static int
setup(void **state)
{
	(void)state;
	log_set_level((enum log_level) - 1);
	eenv_keys(&env);
	make_history();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (unsigned m = 0; m < MOMENTS; m++)
		copy_free(&copies[m]);
	scratch_free(env.s);
	kms_close(env.kms);
	tmpdir_remove(env.dir);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_that_is_gone_is_missed),
		cmocka_unit_test(a_file_that_is_cut_is_found),
		cmocka_unit_test(what_is_exchanged_is_found),
		cmocka_unit_test(an_older_version_is_found),
		cmocka_unit_test(an_older_layer_is_found),
		cmocka_unit_test(a_changed_bit_is_found),
		cmocka_unit_test(the_manual_says_so),
	};

	if (crypto_init() < 0)
		return 1;
	/* Stores come and go by the thousand: their memory stays. */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_MMAP_THRESHOLD, 16 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
	return cmocka_run_group_tests(tests, setup, teardown);
}
