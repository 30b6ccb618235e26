/*
 * test_claims.c - whose a chunk file is, where maps were lost: what a layer had
 * before it was merged, what a kill has left, who else reads it.
 */
#include "engine_env.h"
#include "catalog_private.h"
#include "check.h"
#include "engine_private.h"
#include "lost_map.h"
#include "mem_store.h"
#include "repair.h"
#include "scrub.h"
#include "snapshot.h"

#include <stdio.h>

#include <sealdisk/log.h>

#define MiB (1024u * 1024u)
#define PIECE 65536u
#define OLD 100
#define NEW 200

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
	struct store *st;

	(void)state;
	assert_ok(mem_store_open(&st));
	eenv_start(&env, st, CIPHER_AES256_GCM);
	eenv_create(&env, "d", 32 * MiB);
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
attach(enum desc_type type, const char *name)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, type, name, 0, &d));
	return d;
}

static void
put(struct disk *d, uint64_t off, unsigned seed)
{
	fill_pattern(buf, PIECE, seed);
	assert_ok(disk_write(d, env.s, buf, PIECE, off));
}

static void
holds(struct disk *d, uint64_t off, unsigned seed)
{
	fill_pattern(want, PIECE, seed);
	assert_ok(disk_read(d, env.s, buf, PIECE, off));
	assert_memory_equal(buf, want, PIECE);
}

static void
snap(struct disk *d, const char *name)
{
	struct snapshot_request req = { d, DESC_SNAPSHOT, name };

	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
}

static void
drop(const char *name)
{
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, name));
}

static void
clone_of(const char *snapshot, const char *name, bool own_key)
{
	struct clone_params p = { .name = name, .mode = 0600 };
	struct descriptor *d = malloc(sizeof(*d));

	assert_non_null(d);
	if (own_key)
		p.own_key = KMS_SERVICE_ALIAS;
	assert_ok(catalog_clone(engine_catalog(env.e), env.kms, DESC_SNAPSHOT,
				snapshot, &p, d));
	free(d);
}

static void
layer_of(enum desc_type type, const char *name, struct layer_ref *ret)
{
	struct descriptor *d = malloc(sizeof(*d));

	assert_non_null(d);
	assert_ok(
	    catalog_load(engine_catalog(env.e), type, name, d, NULL, NULL));
	*ret = d->layer;
	free(d);
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
sweep(void)
{
	const atomic_bool stop = false;

	engine_sweep(env.e, &stop);
}

static struct repair_report
repair(enum desc_type type, const char *name)
{
	struct repair_report rep;

	assert_ok(engine_repair_maps(env.e, type, name, &rep));
	return rep;
}

/* ---- merged, and not swept yet ---- */

/* The layer of d@b passes 8 MiB to d, and where d has a chunk of its own, at 4,
 * its file is nobody's until the sweep comes.  z, which is beside it, got
 * that. */
static void
a_sibling_got_what_another_layer_had_held(void **state)
{
	struct disk *d = attach(DESC_DISK, "d");
	struct repair_report rep;
	struct layer_ref z;

	(void)state;
	put(d, 0, OLD);
	put(d, 4 * MiB, OLD);
	snap(d, "a");
	put(d, 4 * MiB, NEW);
	put(d, 8 * MiB, NEW);
	snap(d, "b");
	put(d, 4 * MiB + PIECE, NEW);
	assert_ok(disk_detach(d));
	clone_of("d@a", "z", false);
	d = attach(DESC_DISK, "z");
	put(d, 0, NEW);
	assert_ok(disk_detach(d));
	layer_of(DESC_DISK, "z", &z);
	drop("d@b");
	merge_all();
	lose_map_page(env.st, &z);
	rep = repair(DESC_DISK, "z");
	assert_int_equal(rep.pages, 1);
	assert_int_equal(rep.chunks, 1);
	for (unsigned swept = 0; swept < 2; swept++) {
		d = attach(DESC_DISK, "z");
		holds(d, 0, NEW);
		holds(d, 4 * MiB, OLD);
		assert_ok(disk_detach(d));
		d = attach(DESC_DISK, "d");
		holds(d, 4 * MiB, NEW);
		holds(d, 8 * MiB, NEW);
		assert_ok(disk_detach(d));
		sweep();
	}
}

/* Where it has passed nothing, nobody can say whose it is: then it is not read,
 * and that is told. */
static void
what_may_be_a_siblings_is_not_read(void **state)
{
	struct disk *d = attach(DESC_DISK, "d");
	struct repair_report rep;
	struct layer_ref z;

	(void)state;
	put(d, 4 * MiB, OLD);
	snap(d, "a");
	put(d, 4 * MiB, NEW);
	snap(d, "b");
	put(d, 4 * MiB + PIECE, NEW);
	assert_ok(disk_detach(d));
	clone_of("d@a", "z", false);
	d = attach(DESC_DISK, "z");
	put(d, 0, NEW);
	assert_ok(disk_detach(d));
	layer_of(DESC_DISK, "z", &z);
	drop("d@b");
	merge_all();
	lose_map_page(env.st, &z);
	rep = repair(DESC_DISK, "z");
	assert_int_equal(rep.chunks, 2);
	assert_int_equal(rep.unreadable, 1);
	d = attach(DESC_DISK, "z");
	holds(d, 0, NEW);
	assert_err(disk_read(d, env.s, buf, PIECE, 4 * MiB), EBADMSG);
	assert_ok(disk_detach(d));
}

/* ---- what a kill has left ---- */

/* A map without a layer.ini, of a snapshot that was killed, was taken for one
 * that may name any chunk: what had passed stayed unreadable. */
static void
a_layer_that_was_being_made_claimed_all_chunks(void **state)
{
	struct disk *d = attach(DESC_DISK, "d");
	struct layer_ref top, left;
	struct repair_report rep;
	char path[STORE_PATH_LEN];
	struct store_file *f;

	(void)state;
	put(d, 0, OLD);
	snap(d, "a");
	put(d, 4 * MiB, NEW);
	assert_ok(disk_detach(d));
	drop("d@a");
	merge_all();
	sweep();
	layer_of(DESC_DISK, "d", &top);
	left = top;
	assert_ok(uuid_new(&left.layer));
	path_layer(&left, "map", path);
	assert_ok(env.st->ops->create(env.st, path, &f));
	store_close(f);
	lose_map_page(env.st, &top);
	rep = repair(DESC_DISK, "d");
	assert_int_equal(rep.chunks, 2);
	assert_int_equal(rep.unreadable, 0);
	d = attach(DESC_DISK, "d");
	holds(d, 0, OLD);
	holds(d, 4 * MiB, NEW);
	assert_ok(disk_detach(d));
}

static void
no_map_is_damaged(const struct check_finding *f, void *arg)
{
	const unsigned *nth = arg;

	if (f->what == CHECK_MAP)
		fail_msg("killed at change %u: %s is damaged", *nth, f->path);
}

static void
check_says_nothing(unsigned nth)
{
	struct check_options o = { false, no_map_is_damaged, &nth, false };

	assert_ok(catalog_check(engine_catalog(env.e), &o));
}

/* `check` said that a map was damaged, after a kill in a sweep or a snapshot.
 */
static void
what_was_killed_was_said_to_be_damaged(void **state)
{
	struct disk *d;
	char name[16];
	bool more;

	(void)state;
	for (unsigned n = 1; n < 60; n++) {
		d = attach(DESC_DISK, "d");
		put(d, 0, n);
		(void)snprintf(name, sizeof(name), "s%u", n);
		if (n % 2) {
			snap(d, name);
			put(d, 4 * MiB, n);
			assert_ok(disk_detach(d));
			(void)snprintf(name, sizeof(name), "d@s%u", n);
			drop(name);
			merge_all();
			mem_store_die(env.st, n / 2 + 1, NULL, NULL);
			(void)!catalog_sweep(engine_catalog(env.e), 256, &more);
		} else {
			struct snapshot_request q = { d, DESC_SNAPSHOT, name };

			mem_store_die(env.st, n / 2, NULL, NULL);
			(void)!disks_snapshot(env.e, env.s, &q, 1);
			disk_abandon(d);
		}
		mem_store_kill(env.st);
		eenv_reopen(&env);
		check_says_nothing(n);
		sweep();
		check_says_nothing(n);
	}
}

/* ---- who reads it ---- */

/* A clone with a key of its own has its layers elsewhere, and its parents here:
 * what was made anew under it was an older version of itself to it. */
static void
what_an_attached_clone_reads_is_not_made_anew(void **state)
{
	struct disk *d = attach(DESC_DISK, "d"), *o;
	struct repair_report rep;
	struct layer_ref a;
	struct engine *e;

	(void)state;
	put(d, 0, OLD);
	snap(d, "a");
	assert_ok(disk_detach(d));
	sweep();
	clone_of("d@a", "o", true);
	layer_of(DESC_SNAPSHOT, "d@a", &a);
	lose_map_page(env.st, &a);
	assert_ok(engine_open(env.st, env.kms, &env.opt, &e));
	o = attach(DESC_DISK, "o");
	assert_err(engine_repair_maps(e, DESC_DISK, "d", &rep), EBUSY);
	assert_ok(disk_detach(o));
	o = attach(DESC_SNAPSHOT, "d@a");
	assert_err(engine_repair_maps(e, DESC_DISK, "d", &rep), EBUSY);
	assert_ok(disk_detach(o));
	assert_ok(engine_repair_maps(e, DESC_DISK, "d", &rep));
	engine_close(e);
	assert_int_equal(rep.pages, 1);
	o = attach(DESC_DISK, "o");
	holds(o, 0, OLD);
	assert_ok(disk_detach(o));
}

/* ---- what a merge has made in a frozen layer ---- */

/* It is of session 0, which was taken for "nothing verifies": a superblock of
 * such a chunk was not repaired, and without its map the chunk was lost. */
static void
a_chunk_of_session_0_was_not_repaired(void **state)
{
	struct scrub_options o = { .repair = true };
	struct disk *d = attach(DESC_DISK, "d");
	struct scrub_totals t;
	struct repair_report rep;
	char path[STORE_PATH_LEN];
	struct store_file *f;
	struct layer_ref y;
	struct entry e;
	struct page *p;

	(void)state;
	assert_ok(disk_resize(d, env.s, 10 * MiB));
	put(d, 8 * MiB, NEW);
	snap(d, "a");
	put(d, 0, NEW);
	snap(d, "b");
	assert_ok(disk_detach(d));
	layer_of(DESC_SNAPSHOT, "d@b", &y);
	drop("d@a");
	merge_all();
	sweep();
	d = attach(DESC_SNAPSHOT, "d@b");
	assert_ok(map_get(d->top, 0, env.s, false, false, &p));
	e = p->body.entry[2];
	page_release(p);
	assert_ok(disk_detach(d));
	path_chunk(&y.lineage, 2, &y.layer, e.unique, path);
	for (unsigned lost = 0; lost < 2; lost++) {
		assert_ok(env.st->ops->open(env.st, path, true, &f));
		memset(buf, 0x5a, SUPER_LEN);
		/* Its salt is in the map, or in what is left. */
		assert_ok(env.st->ops->write(f, buf, lost ? 16 : SUPER_LEN,
					     lost ? SUPER_LEN - 16 : 0));
		store_close(f);
		if (lost) {
			lose_map_page(env.st, &y);
			rep = repair(DESC_SNAPSHOT, "d@b");
			assert_int_equal(rep.unreadable, 0);
		}
		d = attach(DESC_SNAPSHOT, "d@b");
		holds(d, 8 * MiB, NEW);
		holds(d, 0, NEW);
		assert_ok(disk_scrub(d, env.s, &o, &t));
		assert_int_equal(t.repaired, 1);
		assert_ok(disk_scrub(d, env.s, &o, &t));
		assert_int_equal(t.repaired, 0);
		assert_ok(disk_detach(d));
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_sibling_got_what_another_layer_had_held),
		T(what_may_be_a_siblings_is_not_read),
		T(a_layer_that_was_being_made_claimed_all_chunks),
		T(what_was_killed_was_said_to_be_damaged),
		T(what_an_attached_clone_reads_is_not_made_anew),
		T(a_chunk_of_session_0_was_not_repaired),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
