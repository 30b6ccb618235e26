/*
 * actions.h - what can be done in the scene of actions_env.h.
 */
#ifndef SEALDISK_ACTIONS_H
#define SEALDISK_ACTIONS_H

#include "actions_env.h"
#include "actions_store.h"

/* ---- names ---- */

static inline int
run_create(void)
{
	struct disk_params p = { .name = "new",
				 .size = SIZE,
				 .sector_size = 512,
				 .key = KMS_SERVICE_ALIAS,
				 .mode = 0600 };
	CLEANUP(free_memp) struct descriptor *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	return catalog_create(cat(), env.kms, &p, d, NULL);
}

static inline void
done_create(void)
{
	things[NEW].there = true;
}

static inline int
run_clone(void)
{
	return make_clone("new", NULL);
}

static inline int
run_clone_own(void)
{
	return make_clone("new", KMS_SERVICE_ALIAS);
}

static inline void
done_clone(void)
{
	things[NEW].there = true;
	things[NEW].fresh = false;
	things[NEW].is = things[IMG].is;
}

static inline int
run_own_key(void)
{
	int r = things[NEW].there ? 0 : make_clone("new", NULL);

	if (r < 0)
		return r;
	things[NEW].there = things[NEW].fresh = true;
	return catalog_own_key(cat(), env.kms, "new", KMS_SERVICE_ALIAS);
}

static inline int
run_image(void)
{
	return make_image("new");
}

static inline void
done_image(void)
{
	things[NEW_IMG].there = true;
	things[NEW_IMG].is = things[B].is;
}

static inline int
run_rollback(void)
{
	return catalog_rollback(cat(), env.kms, "d@a");
}

static inline void
done_rollback(void)
{
	things[D].is = things[A].is;
}

static inline int
run_remove(void)
{
	return catalog_remove(cat(), DESC_DISK, "own");
}

static inline void
done_remove(void)
{
	things[OWN].there = false;
}

static inline int
run_rename(void)
{
	return disk_rename(things[D].d, "new");
}

/* Its snapshots go with it: the scene gets its old name back. */
static inline void
done_rename(void)
{
	if (things[D].d)
		assert_ok(disk_rename(things[D].d, "d"));
}

static inline int
grown(struct descriptor *d, void *arg)
{
	(void)arg;
	d->mode = 0444;
	return 0;
}

static inline int
update_image(bool move)
{
	CLEANUP(free_memp) struct descriptor *d = calloc(1, sizeof(*d));
	int r;

	assert_non_null(d);
	r = catalog_load(cat(), DESC_IMAGE, "img", d, NULL, NULL);
	if (r < 0)
		return r;
	if (move)
		return catalog_move(cat(), env.kms, DESC_IMAGE, "img", &d->uuid,
				    "new");
	return catalog_update(cat(), env.kms, DESC_IMAGE, "img", &d->uuid,
			      grown, NULL);
}

static inline int
run_update(void)
{
	return update_image(false);
}

static inline int
run_move(void)
{
	return update_image(true);
}

static inline void
done_move(void)
{
	things[NEW_IMG].there = true;
	things[NEW_IMG].is = things[IMG].is;
	things[IMG].there = false;
}

static inline int
run_rewrap(void)
{
	unsigned n;

	return catalog_rewrap(cat(), env.kms, DESC_IMAGE, "img", NULL, false,
			      &n);
}

/* Of what has one data key, and of what has two. */
static inline int
run_rewrap_to(void)
{
	unsigned n;
	int r = catalog_rewrap(cat(), env.kms, DESC_IMAGE, "img", other_key,
			       false, &n);

	return r < 0 ? r
		     : catalog_rewrap(cat(), env.kms, DESC_DISK, "own",
				      other_key, false, &n);
}

/* ---- looks ---- */

static inline int
look_at_name(const char *name, void *arg)
{
	(void)name;
	(void)arg;
	return 0;
}

static inline int
run_look(void)
{
	CLEANUP(survey_freep) struct survey *s = NULL;
	CLEANUP(free_memp) struct descriptor *d = calloc(1, sizeof(*d));
	struct reclaim what;
	uint64_t bytes;
	int r;

	assert_non_null(d);
	r = catalog_list(cat(), DESC_DISK, look_at_name, NULL);
	if (r == 0)
		r = catalog_snapshots(cat(), "d", look_at_name, NULL);
	if (r == 0)
		r = catalog_snapshot_folders(cat(), look_at_name, NULL);
	if (r == 0)
		r = catalog_survey(cat(), &s);
	if (r == 0)
		r = catalog_reclaim(cat(), &what);
	if (r == 0)
		r = catalog_load(cat(), DESC_SNAPSHOT, "d@b", d, NULL, NULL);
	return r < 0 ? r : catalog_would_free(cat(), d, 0, &bytes);
}

static inline int
run_reopen(void)
{
	struct engine *e;
	int r = engine_open(env.st, env.kms, &env.opt, &e);

	if (r < 0)
		return r;
	engine_close(env.e);
	env.e = e;
	return 0;
}

/* ---- attached disks ---- */

static inline int
run_attach(void)
{
	return attach(D);
}

static inline int
run_attach_snapshot(void)
{
	int r = attach(A);

	if (r == 0)
		r = disk_read(things[A].d, env.s, io.b, SIZE, 0);
	if (things[A].d)
		assert_ok(detach(A));
	return r;
}

/* What is under two data keys. */
static inline int
run_attach_own(void)
{
	int r = attach(OWN);

	if (r == 0) {
		r = disk_read(things[OWN].d, env.s, io.b, SIZE, 0);
		if (r == -EBADMSG)
			fail_msg("own: attached with a wrong data key");
	}
	if (things[OWN].d) {
		int r2 = detach(OWN);

		r = r < 0 ? r : r2;
	}
	return r;
}

/* Whatever is returned, it is not attached any more. */
static inline int
run_detach(void)
{
	if (!things[D].d)
		assert_ok(attach(D));
	return detach(D);
}

static inline int
change(uint64_t off, uint64_t len, uint64_t seed)
{
	struct thing *t = &things[D];

	if (!t->maybe)
		t->after = t->is;
	t->maybe = true;
	if (seed) {
		fill_pattern(t->after.b + off, len, seed);
		return disk_write(t->d, env.s, t->after.b + off, len, off);
	}
	memset(t->after.b + off, 0, len);
	return disk_zero(t->d, env.s, off, len);
}

static inline void
done_change(void)
{
	things[D].is = things[D].after;
	things[D].maybe = false;
}

/* Blocks of every layer, parts of blocks, a new chunk's. */
static inline int
run_write(void)
{
	int r = change(2 * KiB, 70 * KiB, 20);

	if (r == 0)
		r = change(4 * MiB - 16 * KiB, 64 * KiB, 21);
	return r < 0 ? r : disk_flush(things[D].d);
}

static inline int
run_zero(void)
{
	int r = change(6 * KiB, 40 * KiB, 0);

	if (r == 0)
		r = change(4 * MiB, 1 * MiB, 0);
	if (r == 0)
		r = disk_flush(things[D].d);
	return r < 0 ? r : disk_background(things[D].d);
}

static inline int
run_read(void)
{
	uint64_t off;
	int r = disk_read(things[D].d, env.s, io.b, SIZE, 0);

	return r < 0 ? r : disk_seek(things[D].d, env.s, 0, false, &off);
}

static inline int
run_resize(void)
{
	int r = disk_resize(things[D].d, env.s, 2 * SIZE);

	return r < 0 ? r : disk_resize(things[D].d, env.s, SIZE);
}

static inline int
run_rewrap_disk(void)
{
	unsigned n;

	return disk_rewrap(things[D].d, NULL, &n);
}

static inline int
run_rewrap_disk_to(void)
{
	unsigned n;

	return disk_rewrap(things[D].d, other_key, &n);
}

static inline int
freeze(enum desc_type type)
{
	struct snapshot_request req = { things[D].d, type, "new" };

	return disks_snapshot(env.e, env.s, &req, 1);
}

static inline int
run_snapshot(void)
{
	return freeze(DESC_SNAPSHOT);
}

static inline void
done_snapshot(void)
{
	things[NEW_SNAP].there = true;
	things[NEW_SNAP].is = things[D].is;
}

static inline int
run_copy(void)
{
	return freeze(DESC_DISK);
}

static inline void
done_copy(void)
{
	things[NEW].there = true;
	things[NEW].is = things[D].is;
}

static inline int
reencrypt(const char *key)
{
	int r = 0;

	if (!disk_reencrypting(things[D].d, &(struct reencrypt_state){ 0 }))
		r = disk_reencrypt(things[D].d, env.s, key, 0);
	if (r < 0)
		return r;
	while ((r = disk_reencrypt_step(things[D].d)) > 0)
		;
	return r;
}

static inline int
run_reencrypt(void)
{
	return reencrypt(NULL);
}

static inline int
run_reencrypt_to(void)
{
	return reencrypt(other_key);
}

/* Of what was below a snapshot, the layer above gets what it needs. */
static inline int
run_merge(void)
{
	const atomic_bool never = false;
	int r;

	if (things[A].there) {
		r = catalog_remove(cat(), DESC_SNAPSHOT, "d@a");
		if (r < 0)
			return r;
	}
	things[A].there = false;
	engine_sweep(env.e, &never);
	return 0;
}

static inline int
run_seal(void)
{
	int r;

	while ((r = engine_seal(env.e, NULL)) > 0)
		;
	return r;
}

static const struct action actions[] = {
	{ "create", .run = run_create, .done = done_create },
	{ "clone", .run = run_clone, .done = done_clone },
	{ "clone with a key", .run = run_clone_own, .done = done_clone },
	{ "own key", .run = run_own_key, .done = done_clone },
	{ "image", .run = run_image, .done = done_image },
	{ "rollback", .run = run_rollback, .done = done_rollback },
	{ "remove", .run = run_remove, .done = done_remove },
	{ "rename", .run = run_rename, .done = done_rename, .attached = true },
	{ "update", .run = run_update },
	{ "move", .run = run_move, .done = done_move },
	{ "rewrap", .run = run_rewrap },
	{ "rewrap to another key", .run = run_rewrap_to },
	{ "look", .run = run_look },
	{ "scrub", .run = run_scrub, .attached = true },
	{ "check", .run = run_check },
	{ "repair", .run = run_repair },
	{ "rebuild", .run = run_rebuild, .done = done_rebuild,
	  .begin = lose_image },
	{ "rebuild nothing", .run = run_rebuild },
	{ "receive", .run = run_receive, .begin = begin_receive,
	  .end = end_receive },
	{ "send", .run = run_send },
	{ "reopen", .run = run_reopen },
	{ "attach", .run = run_attach },
	{ "attach a snapshot", .run = run_attach_snapshot },
	{ "attach what has two keys", .run = run_attach_own },
	{ "detach", .run = run_detach, .attached = true },
	{ "write", .run = run_write, .done = done_change, .attached = true },
	{ "zero", .run = run_zero, .done = done_change, .attached = true },
	{ "read", .run = run_read, .attached = true },
	{ "resize", .run = run_resize, .attached = true },
	{ "rewrap a disk", .run = run_rewrap_disk, .attached = true },
	{ "rewrap a disk to another key", .run = run_rewrap_disk_to,
	  .attached = true },
	{ "snapshot", .run = run_snapshot, .done = done_snapshot,
	  .attached = true },
	{ "copy", .run = run_copy, .done = done_copy, .attached = true },
	{ "reencrypt", .run = run_reencrypt, .attached = true },
	{ "reencrypt to another key", .run = run_reencrypt_to,
	  .attached = true },
	{ "merge", .run = run_merge, .again = true },
	{ "merge below a disk", .run = run_merge, .attached = true,
	  .again = true },
	{ "seal", .run = run_seal },
};
#define N_ACTIONS (sizeof(actions) / sizeof(actions[0]))

static inline bool
action_is_wanted(unsigned i)
{
	const char *one = getenv("SEALDISK_ACTION");

	return !one || strtoul(one, NULL, 10) == i;
}

#endif
