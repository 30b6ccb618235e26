/*
 * test_tamper.c - whatever is done to the files of a store, nobody reads what
 * is wrong: it is found, or nothing that can be read has changed.
 *
 * Each time on a copy of a store (tamper.h), bytes of its files are changed,
 * files are removed, cut, exchanged with each other of their kind, and put back
 * as they once were; and all disks and snapshots are read.  What they hold must
 * be what they held at the end, or an error.  An older version may be read only
 * where format.md says that it cannot be told: what is then read is what was
 * there, all of it.
 *
 * SEALDISK_TEST_SLOW=1 changes each byte, as tamper_bytes.h says.  Otherwise it
 * is some of them, with a look at all of the store each.  What comes out is the
 * table of sealdisk-format(5), which is held against it; SEALDISK_TAMPER=FILE
 * writes it.
 */
#include "tamper_bytes.h"

#include <inttypes.h>
#include <malloc.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

static const struct copy *const end = &tamper_copies[END];

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
	if (strcmp(name, "layer.spare") == 0)
		return K_SPARE;
	return strcmp(name, "layer.ini") == 0 ? K_LAYER
	       : strcmp(name, "map") == 0     ? K_MAP
	       : strcmp(name, "digests") == 0 ? K_DIGESTS
					      : K_OTHER;
}

/* A layer that is amid a merge is of no digest (sealdisk-format(5)): what it
 * was before that, and the chunk that has not passed, may come back. */
static bool
is_half_merged(const char *path)
{
	const char *layer = tamper_merging;
	char chunk[64];

	/* By its creator, see chunk_name(). */
	(void)snprintf(chunk, sizeof(chunk), "/%07u-%.8s-", TAMPER_UNPASSED,
		       strrchr(layer, '/') + 1);
	return strstr(path, chunk) ||
	       (strncmp(path, layer, strlen(layer)) == 0 &&
		path[strlen(layer)] == '/');
}

enum deed { D_BIT, D_GONE, D_CUT, D_SWAPPED, D_OLDER, DEEDS };
static const char *const deed_words[DEEDS] = {
	"a bit changed", "removed", "cut", "exchanged", "put back",
};

static unsigned table[KINDS][DEEDS][OUTCOMES];
static unsigned half_merged[DEEDS][OUTCOMES];

static void
count(const char *path, enum deed deed, size_t at, enum outcome o)
{
	bool half = is_half_merged(path);

	if (o == O_WRONG || (o >= O_OLD && !(half && deed == D_OLDER)))
		fail_msg("%s: %s, at %zu: what is read is %s", path,
			 deed_words[deed], at, o == O_WRONG ? "wrong" : "old");
	if (half)
		half_merged[deed][o]++;
	else
		table[kind_of(path)][deed][o]++;
}

/* What was done is in ${st}, which is freed. */
static void
try(struct store *st, const char *path, enum deed deed, size_t at)
{
	count(path, deed, at, tamper_look(st, ALL_ITEMS));
}

/* ---- the deeds ---- */

static size_t
stride(const struct file *f)
{
	enum kind kind = kind_of(f->path);

	if (kind == K_DESCRIPTOR || kind == K_LAYER || kind == K_SPARE)
		return 37;
	return kind == K_DIGESTS || kind == K_OTHER ? 61 : f->len / 25 + 1;
}

static const char *const way_words[BYTE_WAYS] = {
	"read by nobody",
	"the block read",
	"what reads it attached and read",
	"all attached and read",
};

/* Without one that looks at but a part the million would take hours. */
static void
each_changed_byte_is_found(void **state)
{
	CLEANUP(store_freep) struct store *base = NULL;
	CLEANUP(bytes_freep) struct bytes *bs = NULL;
	unsigned ways[BYTE_WAYS] = { 0 };

	(void)state;
	if (!test_is_slow())
		skip();
	base = tamper_base();
	bs = bytes_new(base);
	for (size_t i = 0; i < end->n; i++)
		for (size_t at = 0; at < end->f[i].len; at++) {
			enum outcome o = bytes_try(bs, i, at);

			count(end->f[i].path, D_BIT, at, o);
			ways[bytes_way(bs, i, at)]++;
		}
	for (unsigned w = 0; w < BYTE_WAYS; w++)
		print_message("%8u bytes: %s\n", ways[w], way_words[w]);
}

/* And what looks at a part says the same. */
static void
a_changed_bit_is_found(void **state)
{
	CLEANUP(store_freep) struct store *base = tamper_base();
	CLEANUP(bytes_freep) struct bytes *bs = bytes_new(base);
	unsigned ways[BYTE_WAYS] = { 0 };

	(void)state;
	for (size_t i = 0; i < end->n; i++) {
		const struct file *f = &end->f[i];

		for (size_t at = f->len ? i % stride(f) : 0; at < f->len;
		     at += stride(f)) {
			struct store *st = tamper_fork(base);
			struct store_file *to;
			enum byte_way way = bytes_way(bs, i, at);
			enum outcome o;

			assert_ok(st->ops->open(st, f->path, true, &to));
			tamper_turn(to, f, at);
			store_close(to);
			o = tamper_look(st, ALL_ITEMS);
			count(f->path, D_BIT, at, o);
			if (bytes_try(bs, i, at) != o)
				fail_msg("%s, at %zu: %s says otherwise",
					 f->path, at, way_words[way]);
			ways[way]++;
		}
	}
	for (unsigned w = 0; w < BYTE_WAYS; w++)
		assert_true(ways[w] > 0);
}

/* Else what is found of the others says nothing. */
static void
what_is_untouched_raises_no_alarm(void **state)
{
	(void)state;
	assert_int_equal(tamper_look(store_of(end), ALL_ITEMS), O_SAME);
}

static void
a_file_that_is_gone_is_missed(void **state)
{
	(void)state;
	for (size_t i = 0; i < end->n; i++) {
		struct store *st = store_of(end);

		assert_ok(st->ops->remove(st, end->f[i].path));
		try(st, end->f[i].path, D_GONE, 0);
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
			try(st, cut.path, D_CUT, cut.len);
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
			try(st, x.path, D_SWAPPED, 0);
		}
}

/*
 * Also a descriptor that names an older layer, which is in the store still, as
 * snapshots need it: its spare copy knows of a later one.
 */
static void
an_older_version_is_found(void **state)
{
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; i < tamper_n_versions; i++) {
		const struct file *f = &tamper_versions[i];
		struct store *st;

		if (same(f, find(end, f->path)))
			continue;
		st = store_of(end);
		put(st, f);
		try(st, f->path, D_OLDER, i);
		n++;
	}
	/* More than those of a moment. */
	assert_true(n > 50);
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
		for (size_t i = 0; i < tamper_copies[m].n; i++) {
			char folder[STORE_PATH_LEN];
			struct store *st;

			if (kind_of(tamper_copies[m].f[i].path) != K_LAYER)
				continue;
			(void)strcpy(folder, tamper_copies[m].f[i].path);
			*strrchr(folder, '/') = '\0';
			st = store_of(end);
			for (size_t j = 0; j < tamper_copies[m].n; j++)
				if (is_in(tamper_copies[m].f[j].path, folder) ||
				    kind_of(tamper_copies[m].f[j].path) ==
					K_CHUNK)
					put(st, &tamper_copies[m].f[j]);
			try(st, tamper_copies[m].f[i].path, D_OLDER, m);
		}
}

/* ---- the table ---- */

static const char *
cell(const unsigned o[static OUTCOMES])
{
	if (o[O_SAME] + o[O_FOUND] == 0)
		return "-";
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
			print_message("%-12s %-14s same %5u found %5u\n",
				      kind_words[k], deed_words[d],
				      table[k][d][O_SAME],
				      table[k][d][O_FOUND]);
	for (unsigned d = 0; d < DEEDS; d++) {
		const unsigned *o = half_merged[d];

		print_message("half merged  %-14s same %5u found %5u old %u\n",
			      deed_words[d], o[O_SAME], o[O_FOUND],
			      o[O_OLD] + o[O_PARTLY_OLD]);
	}
}

static int
setup(void **state)
{
	(void)state;
	log_set_level((enum log_level) - 1);
	tamper_begin();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	tamper_end();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_untouched_raises_no_alarm),
		cmocka_unit_test(a_file_that_is_gone_is_missed),
		cmocka_unit_test(a_file_that_is_cut_is_found),
		cmocka_unit_test(what_is_exchanged_is_found),
		cmocka_unit_test(an_older_version_is_found),
		cmocka_unit_test(an_older_layer_is_found),
		cmocka_unit_test(a_changed_bit_is_found),
		cmocka_unit_test(each_changed_byte_is_found),
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
