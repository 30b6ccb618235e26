/*
 * actions_env.h - one of each thing that can be done with disks, done in a
 * store whose content is known, so that it can be seen what a failure costs.
 *
 *     scene_begin(a);
 *     r = a->run();
 *     scene_check(a, r);       all is there, whole, old or new
 *     scene_end(a);            and when it is removed, nothing is left
 *
 * Things are disks, snapshots and images; each is there or not, and holds what
 * its content says, or, if what was done may have changed it, `after`.
 */
#ifndef SEALDISK_ACTIONS_ENV_H
#define SEALDISK_ACTIONS_ENV_H

#include "check.h"
#include "engine_env.h"
#include "engine_private.h"
#include "fault_store.h"
#include "mem_store.h"
#include "repair.h"
#include "rewrap.h"
#include "scrub.h"
#include "snapshot.h"
#include "stream.h"

#include <inttypes.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (5 * MiB) /* the last chunk is not whole */

struct content {
	uint8_t b[SIZE];
};

struct thing {
	enum desc_type type;
	const char *name;
	bool there;
	bool fresh; /* and must not be attached yet */
	struct content is, after;
	bool maybe; /* it may hold `after`, block by block */
	struct disk *d;
};

enum { D, CLONE, OWN, A, B, IMG, NEW, NEW_SNAP, NEW_IMG, N_THINGS };

static struct thing things[N_THINGS] = {
	[D] = { .type = DESC_DISK, .name = "d" },
	[CLONE] = { .type = DESC_DISK, .name = "clone" },
	[OWN] = { .type = DESC_DISK, .name = "own" },
	[A] = { .type = DESC_SNAPSHOT, .name = "d@a" },
	[B] = { .type = DESC_SNAPSHOT, .name = "d@b" },
	[IMG] = { .type = DESC_IMAGE, .name = "img" },
	[NEW] = { .type = DESC_DISK, .name = "new" },
	[NEW_SNAP] = { .type = DESC_SNAPSHOT, .name = "d@new" },
	[NEW_IMG] = { .type = DESC_IMAGE, .name = "new" },
};

/* What can be done.  ${run} is 0 or an error; afterwards, done or not, all must
 * be as ${done} says, or if it failed as it was.  Done once more after an
 * error, it must succeed. */
struct action {
	const char *name;
	bool attached; /* "d" is, when it begins */
	int (*run)(void);
	void (*done)(void); /* NULL: nothing changes */
	bool again;         /* it tells of no error, and is repeated */
	/* Before it, and after it has succeeded at last; NULL: nothing. */
	void (*begin)(void), (*end)(void);
};

static struct engine_env env;
static struct content io;
static char other_key[KMS_ID_LEN]; /* a CMK that nothing is under */

static inline struct catalog *
cat(void)
{
	return engine_catalog(env.e);
}

/* ---- the scene ---- */

/* The keystore of all scenes. */
static inline void
scene_keys(void)
{
	struct kms_key_info info;

	eenv_keys(&env);
	assert_ok(kms_create_key(env.kms, "", &info));
	memcpy(other_key, info.id, sizeof(other_key));
}

static inline int
attach(unsigned i)
{
	struct disk *d;
	int r = disk_attach(env.e, things[i].type, things[i].name, 0, &d);

	if (r == 0)
		things[i].d = d;
	return r;
}

static inline int
detach(unsigned i)
{
	struct disk *d = things[i].d;

	things[i].d = NULL;
	return disk_detach(d);
}

static inline void
scene_write(unsigned i, uint64_t off, uint64_t len, uint64_t seed)
{
	fill_pattern(things[i].is.b + off, len, seed);
	assert_ok(
	    disk_write(things[i].d, env.s, things[i].is.b + off, len, off));
}

static inline void
scene_snap(unsigned i)
{
	struct snapshot_request req = { things[D].d, things[i].type,
					strchr(things[i].name, '@') + 1 };

	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
	things[i].is = things[D].is;
	things[i].there = true;
}

static inline int
make_clone(const char *name, const char *own_key)
{
	struct clone_params p = { .name = name,
				  .mode = 0600,
				  .own_key = own_key };
	CLEANUP(free_memp) struct descriptor *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	return catalog_clone(cat(), env.kms, DESC_IMAGE, "img", &p, d);
}

static inline void
scene_clone(unsigned i, const char *own_key)
{
	assert_ok(make_clone(things[i].name, own_key));
	things[i].is = things[IMG].is;
	things[i].there = true;
}

static inline int
anchored(struct descriptor *d, void *arg)
{
	(void)arg;
	strcpy(d->anchor, "kms");
	return 0;
}

static inline int
make_image(const char *name)
{
	struct clone_params p = { .name = name, .mode = 0400 };

	return catalog_image(cat(), env.kms, "d@b", &p);
}

/* "d" has chunks in three layers, some flushed and some not, and was killed. */
static inline void
scene_fill(void)
{
	eenv_create(&env, "d", SIZE);
	things[D].there = true;
	assert_ok(attach(D));
	assert_ok(disk_update(things[D].d, anchored, NULL));
	scene_write(D, 0, 64 * KiB, 1);
	scene_write(D, 4 * MiB, 16 * KiB, 2);
	scene_snap(A);
	scene_write(D, 8 * KiB, 12 * KiB, 3);
	scene_snap(B);
	assert_ok(make_image("img"));
	things[IMG].is = things[B].is;
	things[IMG].there = true;
	scene_clone(CLONE, NULL);
	scene_clone(OWN, KMS_SERVICE_ALIAS);
	assert_ok(attach(OWN));
	scene_write(OWN, 16 * KiB, 8 * KiB, 4);
	assert_ok(detach(OWN));
	scene_write(D, 20 * KiB, 8 * KiB, 5);
	scene_write(D, 4 * MiB - 4 * KiB, 8 * KiB, 6);
	assert_ok(disk_flush(things[D].d));
	/* Again, and not flushed: the same whatever becomes of it. */
	scene_write(D, 20 * KiB, 8 * KiB, 5);
	scene_write(D, 4 * MiB - 4 * KiB, 8 * KiB, 6);
}

static inline void
scene_restart(void)
{
	for (unsigned i = 0; i < N_THINGS; i++) {
		if (things[i].d)
			disk_abandon(things[i].d);
		things[i].d = NULL;
	}
	engine_close(env.e);
	env.e = NULL;
	mem_store_kill(fault_inner(env.st));
	eenv_open(&env);
	env.e->quiet_ms = 0;
}

static inline void
scene_begin(const struct action *a)
{
	struct store *mem, *st;

	for (unsigned i = 0; i < N_THINGS; i++)
		things[i].there = things[i].maybe = things[i].fresh = false;
	/* What is made of others gets what they have. */
	memset(&things[D].is, 0, sizeof(things[D].is));
	memset(&things[NEW].is, 0, sizeof(things[NEW].is));
	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &st));
	env.opt.merge_chunks = 1;
	eenv_start(&env, st, CIPHER_AES256_GCM);
	env.e->quiet_ms = 0;
	scene_fill();
	scene_restart();
	if (a->attached)
		assert_ok(attach(D));
	if (a->begin)
		a->begin();
}

static inline bool
scene_named(unsigned i)
{
	CLEANUP(free_memp) struct descriptor *d = calloc(1, sizeof(*d));
	int r;

	assert_non_null(d);
	r = catalog_load(cat(), things[i].type, things[i].name, d, NULL, NULL);
	if (r != -ENOENT)
		assert_ok(r);
	/* Of the image alone the descriptor is ever lost. */
	if (r == 0 && d->rebuilt && i != IMG)
		fail_msg("%s: made anew for nothing", things[i].name);
	return r == 0;
}

static inline void
thing_compare(const struct thing *t, uint64_t from, uint64_t to)
{
	memset(io.b + from, 0x5a, to - from);
	assert_ok(disk_read(t->d, env.s, io.b + from, to - from, from));
	for (uint64_t o = from; o < to; o += 4 * KiB)
		if (memcmp(io.b + o, t->is.b + o, 4 * KiB) != 0 &&
		    (!t->maybe ||
		     memcmp(io.b + o, t->after.b + o, 4 * KiB) != 0))
			fail_msg("%s: what is at %" PRIu64 " is wrong", t->name,
				 o);
}

/* ${all} of it, or where anything ever is. */
static inline void
thing_check(unsigned i, bool all)
{
	struct thing *t = &things[i];
	bool was = t->d != NULL;
	struct disk_stats st;

	if (scene_named(i) != t->there)
		fail_msg("%s is %sthere", t->name, t->there ? "not " : "");
	if (!t->there || t->fresh)
		return;
	if (!was)
		assert_ok(attach(i));
	if (all) {
		thing_compare(t, 0, SIZE);
	} else {
		thing_compare(t, 0, 96 * KiB);
		thing_compare(t, 4 * MiB - 32 * KiB, 4 * MiB + 64 * KiB);
	}
	disk_stats(t->d, &st);
	assert_int_equal(st.faults, 0);
	assert_false(st.failed);
	if (!was)
		assert_ok(detach(i));
}

/* After ${r} of ${a}. */
static inline void
scene_check(const struct action *a, int r)
{
	if (r == 0 && a->done)
		a->done();
	for (unsigned i = 0; i < N_THINGS; i++)
		thing_check(i, false);
}

static inline int
is_left(const char *name, bool is_dir, void *arg)
{
	(void)is_dir;
	(void)arg;
	fail_msg("lineages/%s is left", name);
	return 0;
}

static inline void
scene_end(const struct action *a)
{
	const atomic_bool never = false;

	if (a->end)
		a->end();
	if (things[D].d)
		assert_ok(disk_flush(things[D].d));
	scene_restart();
	for (unsigned i = 0; i < N_THINGS; i++)
		thing_check(i, true);
	for (unsigned i = 0; i < N_THINGS; i++)
		if (things[i].there)
			assert_ok(catalog_remove(cat(), things[i].type,
						 things[i].name));
	engine_sweep(env.e, &never);
	scene_restart(); /* recovers, and so removes an empty folder */
	engine_sweep(env.e, &never);
	(void)!env.st->ops->list(env.st, "lineages", is_left, NULL);
	eenv_stop(&env);
}

#endif
