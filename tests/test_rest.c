/*
 * test_rest.c - a layer says that it is at rest only where the copies of its
 * pages are equal: with one of them on a bad sector, what is read is right, or
 * an error, and never what the other one says of before.
 */
#include "engine_env.h"
#include "catalog_private.h"
#include "engine_private.h"
#include "fault_store.h"
#include "lost_map.h"
#include "mem_store.h"
#include "repair.h"
#include "scrub.h"
#include "snapshot.h"
#include "stream.h"

#include <unistd.h>

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define DISK_BYTES (700 * MiB)
#define PIECE (64 * KiB)
#define GROUPS 1400 /* more pages than the cache has */
#define OLD 100     /* what a piece holds first, */
#define NEW 200     /* and what it holds last */

static struct engine_env env;
static struct store *mem;
static uint8_t buf[PIECE], want[PIECE];
/* Of a snapshot of both: what is written to the first one comes late. */
static struct disk *one, *two, *first;

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
	struct store *st;

	(void)state;
	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &st));
	eenv_start(&env, st, CIPHER_AES256_GCM);
	eenv_create(&env, "d", DISK_BYTES);
	eenv_create(&env, "e", DISK_BYTES);
	eenv_create(&env, "g", DISK_BYTES);
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

static void
put(struct disk *d, uint64_t off, unsigned seed)
{
	fill_pattern(buf, PIECE, seed);
	assert_ok(disk_write(d, env.s, buf, PIECE, off));
}

/* Right, or an error. */
static void
is_not_old(struct disk *d, uint64_t off, unsigned seed)
{
	if (seed)
		fill_pattern(want, PIECE, seed);
	else
		memset(want, 0, PIECE);
	if (disk_read(d, env.s, buf, PIECE, off) == 0)
		assert_memory_equal(buf, want, PIECE);
}

static void
is_right(struct disk *d, uint64_t off, unsigned seed)
{
	assert_ok(disk_read(d, env.s, buf, PIECE, off));
	is_not_old(d, off, seed);
}

static void
spoil_group(unsigned copy)
{
	mem_store_spoil(mem, "0000000-", SUPER_LEN + page_offset(0, copy),
			PAGE_LEN);
}

static void
spoil_map(const struct layer_ref *ref, unsigned copy)
{
	char path[STORE_PATH_LEN];

	path_layer(ref, "map", path);
	mem_store_spoil(mem, path, MAP_OFFSET + page_offset(0, copy), PAGE_LEN);
}

static void
mend(void)
{
	mem_store_spoil(mem, "", 0, 0);
}

/* What others read drives the pages of the rest out. */
static void
write_many(struct disk *d)
{
	fill_pattern(buf, BLOCK_SIZE, 7);
	for (uint64_t i = 0; i < GROUPS; i++)
		assert_ok(disk_write(d, env.s, buf, BLOCK_SIZE, i * GROUP_LEN));
	assert_ok(disk_flush(d));
}

static void
evict(struct disk *d)
{
	for (unsigned k = 0; k < 2; k++)
		for (uint64_t i = 0; i < GROUPS; i++)
			assert_ok(disk_read(d, env.s, buf, BLOCK_SIZE,
					    i * GROUP_LEN));
}

static void
merge_all(void)
{
	int r;

	while ((r = engine_merge(env.e, NULL)) > 0)
		;
	assert_int_equal(r, 0);
}

static void
seal_all(void)
{
	int r;

	while ((r = engine_seal(env.e, NULL)) > 0)
		;
	assert_int_equal(r, 0);
}

/* ---- a write that comes late ---- */

/* After the mirrors, before the barrier: as the second disk's new layer is
 * made. */
static struct store_ops ops;
static const struct store_ops *real;
static void (*late)(void);
static unsigned inis;

static int
late_replace(struct store *st, const char *path, const void *p, size_t len)
{
	int r = real->replace(st, path, p, len);
	void (*fn)(void) = late;

	if (strstr(path, "/layer.ini") && fn && ++inis == 2) {
		late = NULL;
		fn();
	}
	return r;
}

static void
late_write(void)
{
	put(first, 0, NEW);
}

static void
late_new_chunk(void)
{
	put(first, 20 * MiB, NEW);
}

static void
late_zero(void)
{
	assert_ok(disk_zero(first, env.s, 0, CHUNK_LEN));
}

static int
snapshot_late(const char *name, void (*fn)(void),
	      int (*replace)(struct store *st, const char *path, const void *p,
			     size_t len))
{
	struct snapshot_request req[2] = { { one, DESC_SNAPSHOT, name },
					   { two, DESC_SNAPSHOT, name } };
	int r;

	first = one < two ? one : two;
	late = fn;
	inis = 0;
	real = mem->ops;
	ops = *real;
	ops.replace = replace;
	mem->ops = &ops;
	r = disks_snapshot(env.e, env.s, req, 2);
	mem->ops = real;
	return r;
}

/* Both hold OLD, all of it at rest. */
static void
begin(void)
{
	struct disk *d;

	for (unsigned i = 0; i < 2; i++) {
		d = attach(i ? "e" : "d");
		put(d, 0, OLD);
		assert_ok(disk_detach(d));
	}
	one = attach("d");
	two = attach("e");
}

static void
end(void)
{
	mend();
	(void)!disk_detach(one);
	(void)!disk_detach(two);
	eenv_reopen(&env);
}

static const char *
full_name(const char *name)
{
	static char text[DISK_NAME_MAX + 32];

	(void)snprintf(text, sizeof(text), "%s@%s", first->desc.name, name);
	return text;
}

static const char *const names[] = { "a", "b" };

/* ---- */

static void
a_scrub_wrote_the_older_copy_over_the_newest(void **state)
{
	struct scrub_options o = { .repair = true };
	struct scrub_totals t;
	struct disk *s;

	(void)state;
	for (unsigned copy = 0; copy < 2; copy++) {
		begin();
		assert_ok(snapshot_late(names[copy], late_write, late_replace));
		assert_ok(disk_attach(env.e, DESC_SNAPSHOT,
				      full_name(names[copy]), 0, &s));
		is_right(s, 0, NEW);
		spoil_group(copy);
		assert_ok(disk_scrub(s, env.s, &o, &t));
		mend();
		assert_ok(disk_detach(s));
		assert_ok(disk_attach(env.e, DESC_SNAPSHOT,
				      full_name(names[copy]), 0, &s));
		is_right(s, 0, NEW);
		assert_ok(disk_detach(s));
		end();
	}
}

static void
a_merge_passed_what_was_not_mirrored(void **state)
{
	struct disk *g = attach("g");

	(void)state;
	write_many(g);
	assert_ok(disk_detach(g));
	for (unsigned copy = 0; copy < 2; copy++) {
		begin();
		assert_ok(snapshot_late(names[copy], late_write, late_replace));
		assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT,
					 full_name(names[copy])));
		merge_all();
		assert_true(eenv_dead(&env) > 0);
		g = attach("g");
		evict(g);
		spoil_group(copy);
		is_not_old(first, 0, NEW);
		mend();
		assert_ok(disk_detach(g));
		end();
	}
}

static void
a_seal_left_a_map_page_without_a_mirror(void **state)
{
	struct disk *g = attach("g");

	(void)state;
	write_many(g);
	assert_ok(disk_detach(g));
	for (unsigned copy = 0; copy < 2; copy++) {
		struct layer *l;

		begin();
		assert_ok(
		    snapshot_late(copy ? "p1" : "p0", NULL, late_replace));
		put(one, 4 * MiB, NEW);
		put(two, 4 * MiB, NEW);
		end();
		one = attach("d");
		two = attach("e");
		seal_all();
		assert_ok(snapshot_late(names[copy], late_zero, late_replace));
		l = atomic_load(&first->top->parent);
		seal_all();
		g = attach("g");
		evict(g);
		spoil_map(&l->ref, copy);
		evict(g);
		is_not_old(first, 0, 0);
		mend();
		assert_ok(disk_detach(g));
		end();
	}
}

static void
lose_all(struct store *in, struct store_file *f)
{
	(void)in;
	(void)f;
}

static void
a_disk_that_failed_dropped_pages_that_were_not_mirrored(void **state)
{
	struct disk *g = attach("g"), *d;

	(void)state;
	write_many(g);
	for (unsigned copy = 0; copy < 2; copy++) {
		d = attach("d");
		put(d, 0, OLD);
		assert_ok(disk_detach(d));
		d = attach("d");
		put(d, 0, NEW);
		assert_ok(disk_flush(d));
		put(d, 70 * PIECE, OLD);
		fault_kinds(env.st, FAULT_SYNCS);
		fault_on_sync(env.st, lose_all);
		fault_arm(env.st, 1, -EIO, false);
		assert_err(disk_flush(d), EIO);
		fault_arm(env.st, 0, 0, false);
		fault_on_sync(env.st, NULL);
		fault_kinds(env.st, FAULT_ALL);
		evict(g);
		spoil_group(copy);
		is_not_old(d, 0, NEW);
		mend();
		(void)!disk_detach(d);
	}
	(void)!disk_detach(g);
}

static struct disk *reader;
static bool failed;

/* The first disk's descriptor cannot be saved, and meanwhile all that can be is
 * driven out. */
static int
failing_replace(struct store *st, const char *path, const void *p, size_t len)
{
	char own[DISK_NAME_MAX + 32];

	(void)snprintf(own, sizeof(own), "disks/%s.ini", first->desc.name);
	if (strstr(path, own) && !failed && atomic_load(&first->top->frozen)) {
		failed = true;
		evict(reader);
		evict(reader);
		return -EIO;
	}
	return late_replace(st, path, p, len);
}

static void
a_snapshot_that_came_to_nothing_dropped_a_map_page(void **state)
{
	(void)state;
	for (unsigned copy = 0; copy < 2; copy++) {
		begin();
		assert_ok(
		    snapshot_late(copy ? "p1" : "p0", NULL, late_replace));
		put(one, 4 * MiB, NEW);
		put(two, 4 * MiB, NEW);
		end();
		one = attach("d");
		two = attach("e");
		reader = attach("g");
		write_many(reader);
		failed = false;
		assert_err(snapshot_late(names[copy], late_zero,
					 failing_replace),
			   EIO);
		assert_true(failed);
		env.e->quiet_ms = 0;
		put(first, 8 * MiB, NEW);
		for (unsigned i = 0; i < 4; i++)
			assert_ok(disk_background(first));
		evict(reader);
		spoil_map(&first->top->ref, copy);
		is_not_old(first, 0, 0);
		mend();
		assert_ok(disk_detach(reader));
		end();
	}
}

/* ---- send ---- */

static uint8_t *stream;
static size_t stream_len;

static int
take_stream(void *arg, const void *p, size_t len)
{
	(void)arg;
	stream = realloc(stream, stream_len + len);
	assert_non_null(stream);
	memcpy(stream + stream_len, p, len);
	stream_len += len;
	return 0;
}

static void
a_stream_lacked_a_chunk_whose_map_page_could_not_be_read(void **state)
{
	struct stream_sink sink = { take_stream, NULL, NULL };
	uint64_t chunks[2] = { 0, 0 };
	struct stream_name name;
	struct layer_ref ref;

	(void)state;
	begin();
	assert_ok(snapshot_late("s", late_new_chunk, late_replace));
	ref = atomic_load(&first->top->parent)->ref;
	name = (struct stream_name){ DESC_SNAPSHOT, full_name("s") };
	for (unsigned copy = 0; copy < 2; copy++) {
		struct stream_result res;

		stream_len = 0;
		spoil_map(&ref, copy);
		if (stream_send(engine_catalog(env.e), &name, NULL, NULL, &sink,
				&res) == 0)
			chunks[copy] = res.chunks;
		mend();
	}
	for (unsigned copy = 0; copy < 2; copy++)
		assert_true(chunks[copy] == 0 || chunks[copy] == 2);
	free(stream);
	stream = NULL;
	end();
}

/* ---- what passed in a merge ---- */

/* Chunk 0 of d is of a layer that was merged, and not swept yet; its reference
 * is returned. */
static struct layer_ref
merged(const char *name)
{
	struct snapshot_request req = { NULL, DESC_SNAPSHOT, name };
	struct layer_ref ref;
	char full[16];

	one = attach("d");
	put(one, 0, NEW);
	req.disk = one;
	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
	ref = atomic_load(&one->top->parent)->ref;
	put(one, 4 * MiB, NEW);
	assert_ok(disk_flush(one));
	(void)snprintf(full, sizeof(full), "d@%s", name);
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, full));
	merge_all();
	assert_int_equal(eenv_dead(&env), 1);
	return ref;
}

static void
sweep_once(void)
{
	bool more;

	(void)!catalog_sweep(engine_catalog(env.e), 256, &more);
}

static void
a_sweep_took_what_had_passed_to_a_map_that_could_not_be_read(void **state)
{
	(void)state;
	(void)merged("a");
	for (unsigned copy = 0; copy < 2; copy++) {
		spoil_map(&one->top->ref, copy);
		sweep_once();
		mend();
	}
	assert_ok(disk_detach(one));
	one = attach("d");
	is_right(one, 0, NEW);
	assert_ok(disk_detach(one));
}

/* ${spare}: nor is its spare copy there. */
static void
sweep_without_ini(bool spare)
{
	char path[STORE_PATH_LEN];
	struct layer_ref ref;

	ref = merged("a");
	path_layer(&ref, "layer.ini", path);
	assert_ok(env.st->ops->remove(env.st, path));
	path_layer(&ref, "layer.spare", path);
	if (spare)
		assert_ok(env.st->ops->remove(env.st, path));
	sweep_once();
	assert_int_equal(eenv_dead(&env), 0);
	assert_ok(disk_detach(one));
	one = attach("d");
	is_right(one, 0, NEW);
	is_right(one, 4 * MiB, NEW);
	assert_ok(disk_detach(one));
}

static void
a_dead_layer_without_its_layer_ini_had_no_heirs(void **state)
{
	(void)state;
	sweep_without_ini(false);
}

static void
a_dead_layer_without_its_spare_copy_had_no_heirs(void **state)
{
	(void)state;
	sweep_without_ini(true);
}

static void
a_repair_left_what_had_passed_to_the_dead_layer(void **state)
{
	const atomic_bool stop = false;
	struct repair_report rep;
	struct layer_ref ref;

	(void)state;
	(void)merged("a");
	ref = one->top->ref;
	assert_ok(disk_detach(one));
	lose_map_page(env.st, &ref);
	assert_ok(engine_repair_maps(env.e, DESC_DISK, "d", &rep));
	assert_int_equal(rep.chunks, 2);
	for (unsigned i = 0; i < 2; i++) {
		one = attach("d");
		is_right(one, 0, NEW);
		is_right(one, 4 * MiB, NEW);
		assert_ok(disk_detach(one));
		engine_sweep(env.e, &stop);
	}
}

/* Its chunks have been changed, and have their digests of before. */
static void
a_layer_was_sealed_in_the_middle_of_a_merge(void **state)
{
	struct snapshot_request req = { NULL, DESC_SNAPSHOT, "x" };
	struct descriptor desc;
	char path[STORE_PATH_LEN];
	struct disk *d = attach("d");

	(void)state;
	req.disk = d;
	put(d, 0, OLD);
	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
	fill_pattern(buf, BLOCK_SIZE, NEW);
	assert_ok(disk_write(d, env.s, buf, BLOCK_SIZE, 0));
	req.name = "y";
	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
	assert_ok(disk_detach(d));
	seal_all();
	assert_ok(catalog_load(engine_catalog(env.e), DESC_SNAPSHOT, "d@y",
			       &desc, NULL, NULL));
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, "d@x"));
	path_layer(&desc.layer, "map", path);
	fault_kinds(env.st, FAULT_WRITE);
	fault_only(env.st, path, "");
	fault_arm(env.st, 1, -EIO, true);
	assert_true(engine_merge(env.e, NULL) < 0);
	fault_arm(env.st, 0, 0, false);
	fault_only(env.st, "", "");
	fault_kinds(env.st, FAULT_ALL);
	eenv_reopen(&env);
	seal_all();
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "d@y", 0, &d));
	assert_ok(disk_read(d, env.s, buf, PIECE, 0));
	assert_ok(disk_detach(d));
	merge_all();
	seal_all();
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "d@y", 0, &d));
	assert_ok(disk_read(d, env.s, buf, PIECE, 0));
	assert_ok(disk_detach(d));
}

/* ---- a seal that others come in between of ---- */

static int
slow_read(struct store_file *f, void *p, size_t len, uint64_t off)
{
	usleep(25000); /* longer than a piece takes */
	return real->read(f, p, len, off);
}

static struct layer_ref
layer_of(const char *name)
{
	struct descriptor desc;

	assert_ok(catalog_load(engine_catalog(env.e), DESC_SNAPSHOT, name,
			       &desc, NULL, NULL));
	return desc.layer;
}

/* Chunk 5 of x has copies that differ; of y, above it, chunk 10 is done, and
 * chunk 30 is not. */
static struct layer_ref
sealed_in_part(void)
{
	struct snapshot_request req = { NULL, DESC_SNAPSHOT, "x" };
	struct layer_ref y;

	one = attach("d");
	put(one, 20 * MiB, OLD);
	assert_ok(disk_detach(one));
	one = attach("d");
	put(one, 20 * MiB, NEW);
	assert_ok(disk_flush(one));
	disk_abandon(one);
	eenv_reopen(&env);
	one = attach("d");
	req.disk = one;
	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
	put(one, 40 * MiB, NEW);
	put(one, 120 * MiB, NEW);
	req.name = "y";
	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
	assert_ok(disk_detach(one));
	eenv_reopen(&env);
	y = layer_of("d@y");
	real = mem->ops;
	ops = *real;
	ops.read = slow_read;
	mem->ops = &ops;
	while (!uuid_equal(&env.e->seal_layer, &y.layer) ||
	       env.e->seal_at <= 10)
		assert_int_equal(engine_seal(env.e, NULL), 1);
	mem->ops = real;
	assert_true(env.e->seal_at <= 30);
	return y;
}

static void
y_is_at_rest(const struct layer_ref *y)
{
	struct layer_meta m;
	bool has;

	seal_all();
	assert_ok(layer_peek(env.st, y, &m));
	assert_int_equal(m.state, LAYER_SEALED);
	eenv_reopen(&env);
	for (unsigned copy = 0; copy < 2; copy++) {
		mem_store_spoil(mem, "0000005-",
				SUPER_LEN + page_offset(0, copy), PAGE_LEN);
		assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "d@y", 0, &one));
		is_right(one, 20 * MiB, NEW);
		mend();
		for (uint64_t i = 0; i < 32; i++) {
			assert_ok(layer_has_digest(one->top, env.s, i, &has));
			assert_true(has);
		}
		assert_ok(disk_detach(one));
	}
}

static void
a_seal_went_on_behind_a_merge(void **state)
{
	struct layer_ref y = sealed_in_part();

	(void)state;
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, "d@x"));
	merge_all();
	y_is_at_rest(&y);
}

static void
a_seal_went_on_behind_another_process(void **state)
{
	struct layer_ref y = sealed_in_part();
	struct engine *first_one = env.e;

	(void)state;
	eenv_open(&env);
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, "d@x"));
	merge_all();
	engine_close(env.e);
	env.e = first_one;
	y_is_at_rest(&y);
}

/* ---- after an unclean stop ---- */

/* Chunk 0 of d has OLD in one copy of its first page and NEW in the other. */
static void
stop_uncleanly(void)
{
	one = attach("d");
	put(one, 0, OLD);
	assert_ok(disk_detach(one));
	one = attach("d");
	put(one, 0, NEW);
	assert_ok(disk_flush(one));
	disk_abandon(one);
	eenv_reopen(&env);
}

static void
a_walk_proved_a_group_that_it_could_not_read(void **state)
{
	const uint64_t both[2] = { SUPER_LEN + page_offset(0, 0),
				   SUPER_LEN + page_offset(0, 1) };

	(void)state;
	for (unsigned copy = 0; copy < 2; copy++) {
		struct descriptor desc;

		stop_uncleanly();
		/* For a while. */
		mem_store_spoil_pair(mem, "0000000-", both, PAGE_LEN);
		one = attach("d");
		(void)!disk_detach(one);
		assert_ok(catalog_load(engine_catalog(env.e), DESC_DISK, "d",
				       &desc, NULL, NULL));
		assert_false(desc.clean);
		spoil_group(copy);
		one = attach("d");
		is_not_old(one, 0, NEW);
		(void)!disk_detach(one);
		mend();
		one = attach("d");
		is_right(one, 0, NEW);
		assert_ok(disk_detach(one));
	}
}

/* ---- a repair ---- */

static unsigned cut_at; /* the sync that the power does not outlast */
static uint64_t cut_seed;

/* What is bad is written elsewhere by then. */
static int
cut_sync(struct store_file *f)
{
	if (cut_at == 0 || --cut_at > 0)
		return real->sync(f);
	mend();
	mem_store_crash(mem, cut_seed);
	return -EIO;
}

/* Disk ${name}: a chunk of its snapshot's it has as zeros, and its stop was
 * unclean.  What it has else is in each sector of the map page, which a repair
 * changes.  The reference of its layer is returned. */
static struct layer_ref
zeros_above(const char *name)
{
	struct snapshot_request req = { NULL, DESC_SNAPSHOT, "p" };
	struct layer_ref ref;

	eenv_create(&env, name, DISK_BYTES);
	one = attach(name);
	req.disk = one;
	put(one, 4 * MiB, OLD);
	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
	for (unsigned i = 8; i < 120; i += 8)
		put(one, i * 4 * MiB, NEW);
	assert_ok(disk_zero(one, env.s, 4 * MiB, CHUNK_LEN));
	assert_ok(disk_detach(one));
	one = attach(name);
	ref = one->top->ref;
	put(one, 32 * MiB + PIECE, NEW);
	assert_ok(disk_flush(one));
	disk_abandon(one);
	assert_ok(env.st->ops->sync_all(env.st));
	return ref;
}

static void
a_power_cut_in_a_repair_tore_both_copies(void **state)
{
	struct repair_report rep;
	bool was_cut = true;
	char name[8];

	(void)state;
	for (unsigned n = 0; was_cut; n++) {
		struct layer_ref ref;
		int r;

		(void)snprintf(name, sizeof(name), "z%u", n);
		ref = zeros_above(name);
		eenv_reopen(&env);
		spoil_map(&ref, n % 2);
		real = mem->ops;
		ops = *real;
		ops.sync = cut_sync;
		mem->ops = &ops;
		/* Each of its syncs, four times. */
		cut_at = 1 + n / 4;
		cut_seed = n;
		r = engine_repair_maps(env.e, DESC_DISK, name, &rep);
		mem->ops = real;
		was_cut = cut_at == 0;
		cut_at = 0;
		mend();
		assert_int_equal(r, was_cut ? -EIO : 0);
		assert_true(was_cut || n >= 4);
		assert_true(was_cut || rep.pages == 1);
		eenv_reopen(&env);
		assert_ok(engine_repair_maps(env.e, DESC_DISK, name, &rep));
		one = attach(name);
		is_right(one, 4 * MiB, 0);
		is_right(one, 32 * MiB, NEW);
		assert_ok(disk_detach(one));
	}
}

/* As a drive does: what is written over can be read again. */
static int
healing_write(struct store_file *f, const void *p, size_t len, uint64_t off)
{
	if (len == PAGE_LEN && (off == SUPER_LEN + page_offset(0, 0) ||
				off == SUPER_LEN + page_offset(0, 1)))
		mend();
	return real->write(f, p, len, off);
}

static void
repair_healing(struct repair_report *rep)
{
	real = mem->ops;
	ops = *real;
	ops.write = healing_write;
	mem->ops = &ops;
	assert_ok(engine_repair_maps(env.e, DESC_DISK, "d", rep));
	mem->ops = real;
}

/* For good: and no later stop was a clean one. */
static void
one_bad_sector_cost_a_group_after_an_unclean_stop(void **state)
{
	struct snapshot_request req = { NULL, DESC_SNAPSHOT, "" };
	struct repair_report rep;
	struct descriptor desc;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		one = attach("d");
		put(one, 0, NEW);
		put(one, 40 * MiB, OLD);
		assert_ok(disk_detach(one));
		/* It is another chunk that is written to. */
		one = attach("d");
		put(one, 40 * MiB, NEW);
		assert_ok(disk_flush(one));
		disk_abandon(one);
		eenv_reopen(&env);
		/* A layer that is frozen is not at rest, either. */
		one = attach("d");
		req.disk = one;
		req.name = names[i % 2];
		if (i >= 2)
			assert_ok(disks_snapshot(env.e, env.s, &req, 1));
		disk_abandon(one);
		eenv_reopen(&env);
		spoil_group(i % 2);
		one = attach("d");
		assert_err(disk_read(one, env.s, buf, PIECE, 0), EIO);
		(void)!disk_detach(one);
		repair_healing(&rep);
		assert_int_equal(rep.groups, 1);
		one = attach("d");
		is_right(one, 0, NEW);
		is_right(one, 40 * MiB, NEW);
		assert_ok(disk_detach(one));
		assert_ok(catalog_load(engine_catalog(env.e), DESC_DISK, "d",
				       &desc, NULL, NULL));
		assert_true(desc.clean);
		repair_healing(&rep);
		assert_int_equal(rep.groups, 0);
	}
}

/* The older state or the newer one, which the copy that was left had. */
static void
is_either(void)
{
	one = attach("d");
	assert_ok(disk_read(one, env.s, buf, PIECE, 0));
	fill_pattern(want, PIECE, OLD);
	if (memcmp(buf, want, PIECE) != 0)
		is_right(one, 0, NEW);
	/* It can be written to, and is at rest again. */
	put(one, 0, NEW + 1);
	assert_ok(disk_detach(one));
	for (unsigned copy = 0; copy < 2; copy++) {
		spoil_group(copy);
		one = attach("d");
		is_right(one, 0, NEW + 1);
		assert_ok(disk_detach(one));
		mend();
	}
}

static void
a_repair_takes_the_copy_of_a_group_that_there_is(void **state)
{
	struct repair_report rep;

	(void)state;
	for (unsigned copy = 0; copy < 2; copy++) {
		stop_uncleanly();
		spoil_group(copy);
		repair_healing(&rep);
		assert_int_equal(rep.groups, 1);
		is_either();
	}
}

/* ---- and the rest ---- */

static void
a_full_store_lost_a_good_spare_copy(void **state)
{
	struct snapshot_request req = { NULL, DESC_SNAPSHOT, "a" };
	char path[STORE_PATH_LEN];
	struct disk *d = attach("d");

	(void)state;
	req.disk = d;
	put(d, 0, OLD);
	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
	path_layer(&d->top->ref, "layer.spare", path);
	fault_kinds(env.st, FAULT_REPLACE);
	fault_only(env.st, "/layer.", "");
	fault_arm(env.st, 1, -ENOSPC, true);
	assert_err(disk_resize(d, env.s, 64 * MiB), ENOSPC);
	fault_arm(env.st, 0, 0, false);
	fault_only(env.st, "", "");
	fault_kinds(env.st, FAULT_ALL);
	assert_int_equal(store_exists(env.st, path), 1);
	(void)!disk_detach(d);
}

/* One chunk of it is never left alone. */
static void
a_disk_in_use_never_came_to_rest(void **state)
{
	struct disk *d = attach("d");

	(void)state;
	put(d, 0, OLD);
	put(d, 40 * MiB, OLD);
	assert_ok(disk_flush(d));
	disk_abandon(d);
	engine_close(env.e);
	mem_store_kill(mem);
	eenv_open(&env);
	d = attach("d");
	assert_false(atomic_load(&d->top->at_rest));
	for (unsigned i = 0; i < 20; i++) {
		put(d, 4 * MiB, NEW + i);
		assert_ok(disk_flush(d));
		assert_ok(disk_background(d));
	}
	assert_true(atomic_load(&d->top->at_rest));
	assert_ok(disk_detach(d));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_scrub_wrote_the_older_copy_over_the_newest),
		T(a_merge_passed_what_was_not_mirrored),
		T(a_seal_left_a_map_page_without_a_mirror),
		T(a_disk_that_failed_dropped_pages_that_were_not_mirrored),
		T(a_snapshot_that_came_to_nothing_dropped_a_map_page),
		T(a_stream_lacked_a_chunk_whose_map_page_could_not_be_read),
		T(a_sweep_took_what_had_passed_to_a_map_that_could_not_be_read),
		T(a_dead_layer_without_its_layer_ini_had_no_heirs),
		T(a_dead_layer_without_its_spare_copy_had_no_heirs),
		T(a_repair_left_what_had_passed_to_the_dead_layer),
		T(a_layer_was_sealed_in_the_middle_of_a_merge),
		T(a_walk_proved_a_group_that_it_could_not_read),
		T(a_power_cut_in_a_repair_tore_both_copies),
		T(one_bad_sector_cost_a_group_after_an_unclean_stop),
		T(a_repair_takes_the_copy_of_a_group_that_there_is),
		T(a_seal_went_on_behind_a_merge),
		T(a_seal_went_on_behind_another_process),
		T(a_full_store_lost_a_good_spare_copy),
		T(a_disk_in_use_never_came_to_rest),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
