/*
 * actions.h - what can be done in the scene of actions_env.h.
 */
#ifndef SEALDISK_ACTIONS_H
#define SEALDISK_ACTIONS_H

#include "actions_env.h"

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

static inline void
found_fault(const struct scrub_fault *f, void *arg)
{
	(void)arg;
	fail_msg("scrub: %s in %s", scrub_word(f->what), f->file);
}

static inline int
run_scrub(void)
{
	struct scrub_options o = { .blocks = true, .fault = found_fault };
	struct scrub_totals t;

	return disk_scrub(things[D].d, env.s, &o, &t);
}

static inline void
found_wrong(const struct check_finding *f, void *arg)
{
	(void)arg;
	fail_msg("check: %s: %s", check_word(f->what), f->path);
}

static inline int
run_check(void)
{
	struct check_options o = { .repair = true, .found = found_wrong };

	return catalog_check(cat(), &o);
}

static inline int
run_repair(void)
{
	struct repair_report rep;

	return engine_repair_maps(env.e, DESC_DISK, "own", &rep);
}

static inline int
to_nowhere(void *arg, const void *buf, size_t len)
{
	(void)arg;
	(void)buf;
	(void)len;
	return 0;
}

static inline int
run_send(void)
{
	struct stream_sink sink = { to_nowhere, NULL, NULL };
	struct stream_name what = { DESC_SNAPSHOT, "d@b" };
	struct stream_result res;

	return stream_send(cat(), &what, NULL, NULL, &sink, &res);
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
run_reencrypt(void)
{
	int r = 0;

	if (!disk_reencrypting(things[D].d, &(struct reencrypt_state){ 0 }))
		r = disk_reencrypt(things[D].d, env.s, NULL, 0);
	if (r < 0)
		return r;
	while ((r = disk_reencrypt_step(things[D].d)) > 0)
		;
	return r;
}

/* Of what was below a snapshot, the layer above gets what it needs. */
static inline int
run_merge(void)
{
	bool never = false;
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

	while ((r = engine_seal(env.e)) > 0)
		;
	return r;
}

static const struct action actions[] = {
	{ "create", false, run_create, done_create, false },
	{ "clone", false, run_clone, done_clone, false },
	{ "clone with a key", false, run_clone_own, done_clone, false },
	{ "own key", false, run_own_key, done_clone, false },
	{ "image", false, run_image, done_image, false },
	{ "rollback", false, run_rollback, done_rollback, false },
	{ "remove", false, run_remove, done_remove, false },
	{ "rename", true, run_rename, done_rename, false },
	{ "update", false, run_update, NULL, false },
	{ "move", false, run_move, done_move, false },
	{ "rewrap", false, run_rewrap, NULL, false },
	{ "look", false, run_look, NULL, false },
	{ "scrub", true, run_scrub, NULL, false },
	{ "check", false, run_check, NULL, false },
	{ "repair", false, run_repair, NULL, false },
	{ "send", false, run_send, NULL, false },
	{ "reopen", false, run_reopen, NULL, false },
	{ "attach", false, run_attach, NULL, false },
	{ "attach a snapshot", false, run_attach_snapshot, NULL, false },
	{ "detach", true, run_detach, NULL, false },
	{ "write", true, run_write, done_change, false },
	{ "zero", true, run_zero, done_change, false },
	{ "read", true, run_read, NULL, false },
	{ "resize", true, run_resize, NULL, false },
	{ "rewrap a disk", true, run_rewrap_disk, NULL, false },
	{ "snapshot", true, run_snapshot, done_snapshot, false },
	{ "copy", true, run_copy, done_copy, false },
	{ "reencrypt", true, run_reencrypt, NULL, false },
	{ "merge", false, run_merge, NULL, true },
	{ "merge below a disk", true, run_merge, NULL, true },
	{ "seal", false, run_seal, NULL, false },
};
#define N_ACTIONS (sizeof(actions) / sizeof(actions[0]))

#endif
