/*
 * test_catalog_fault.c - a change of names that fails or is cut off at any call
 * to the store leaves the old state or the new one, and nothing behind.
 */
#include "catalog_env.h"

static const char *const bystanders[] = { "by 1", "by 2" };

struct scene {
	struct env *e;
	char *texts[2]; /* of the bystanders */
};

static void
scene_begin(struct scene *s, struct env *e)
{
	char path[STORE_PATH_LEN];

	s->e = e;
	for (unsigned i = 0; i < 2; i++) {
		create(e, bystanders[i]);
		path_descriptor(DESC_DISK, NULL, bystanders[i], path);
		s->texts[i] = text_of(e->st, path);
	}
	put(e->st, "snapshots/by 1/x.ini", "not one");
	assert_ok(e->st->ops->sync_all(e->st));
}

static void
scene_end(struct scene *s)
{
	free(s->texts[0]);
	free(s->texts[1]);
}

/* Everything is put right, and there are the bystanders and ${n} disks more,
 * each with a lineage, and no other files. */
static void
assert_tidy(struct scene *s, unsigned n)
{
	struct store *st = s->e->st;
	char path[STORE_PATH_LEN], *text;

	for (unsigned i = 0; i < 2; i++) {
		path_descriptor(DESC_DISK, NULL, bystanders[i], path);
		text = text_of(st, path);
		assert_string_equal(text, s->texts[i]);
		free(text);
		assert_ok(load(s->e, bystanders[i]));
	}
	assert_int_equal(entries(st, "disks"), 2 + n);
	assert_int_equal(entries(st, "lineages"), 2 + n);
}

static void
put_right(struct scene *s)
{
	unsigned bad;

	assert_ok(catalog_recover(s->e->c, &bad));
	assert_int_equal(bad, 1); /* snapshots/by 1/x.ini */
	assert_ok(s->e->st->ops->remove(s->e->st, "snapshots/by 1/x.ini"));
	sweep_all(s->e);
	recover(s->e, 0); /* and folders that were empty */
	put(s->e->st, "snapshots/by 1/x.ini", "not one");
}

/* One change: made ready, made, and looked at afterwards, when ${r} is what it
 * returned.  The disk that it is about is "d"; renamed, "e".  ${leaves}: the
 * name that is gone at once where it failed and the store works again. */
struct change {
	void (*prepare)(struct scene *s);
	int (*run)(struct scene *s);
	void (*check)(struct scene *s, int r);
	const char *leaves;
};

static void
nothing_before(struct scene *s)
{
	(void)s;
}

static int
run_create(struct scene *s)
{
	return try_create(s->e, "d");
}

static bool
is_there(struct scene *s, const char *name)
{
	int r = load(s->e, name);

	assert_true(r == 0 || r == -ENOENT);
	return r == 0;
}

static void
check_create(struct scene *s, int r)
{
	bool there = is_there(s, "d");

	if (r == 0)
		assert_true(there);
	assert_tidy(s, there);
	if (there)
		assert_ok(catalog_remove(s->e->c, DESC_DISK, "d"));
	else
		create(s->e, "d"); /* the name is free */
	if (!there)
		assert_ok(catalog_remove(s->e->c, DESC_DISK, "d"));
}

static void
a_disk_before(struct scene *s)
{
	create(s->e, "d");
	put(s->e->st, "snapshots/d/s.ini", "x");
	assert_ok(s->e->st->ops->remove(s->e->st, "snapshots/d/s.ini"));
	assert_ok(s->e->st->ops->sync_all(s->e->st));
}

static int
run_remove(struct scene *s)
{
	return catalog_remove(s->e->c, DESC_DISK, "d");
}

static void
check_remove(struct scene *s, int r)
{
	bool there = is_there(s, "d");

	if (r == 0)
		assert_false(there);
	assert_tidy(s, there);
	if (there)
		assert_ok(catalog_remove(s->e->c, DESC_DISK, "d"));
}

static void
a_disk_with_snapshots_before(struct scene *s)
{
	struct env *e = s->e;

	create(e, "d");
	e->d.type = DESC_SNAPSHOT;
	strcpy(e->d.of, "d");
	strcpy(e->d.name, "s");
	assert_ok(uuid_new(&e->d.uuid));
	assert_ok(catalog_save(e->c, &e->d, &e->dk));
	assert_ok(e->st->ops->sync_all(e->st));
	assert_ok(load(e, "d"));
}

static int
run_rename(struct scene *s)
{
	int r = catalog_rename(s->e->c, &s->e->d, &s->e->dk, "e");

	assert_string_equal(s->e->d.name, r == 0 ? "e" : "d");
	return r;
}

static void
check_rename(struct scene *s, int r)
{
	bool renamed = is_there(s, "e");
	char snapshot[8];

	if (r == 0)
		assert_true(renamed);
	assert_int_equal(is_there(s, "d"), !renamed);
	assert_tidy(s, 1);
	(void)snprintf(snapshot, sizeof(snapshot), "%s@s", renamed ? "e" : "d");
	assert_ok(catalog_load(s->e->c, DESC_SNAPSHOT, snapshot, &s->e->d, NULL,
			       NULL));
	assert_ok(catalog_remove(s->e->c, DESC_SNAPSHOT, snapshot));
	assert_ok(catalog_remove(s->e->c, DESC_DISK, renamed ? "e" : "d"));
}

static const struct change changes[] = {
	{ nothing_before, run_create, check_create, "d" },
	{ a_disk_before, run_remove, check_remove, NULL },
	{ a_disk_with_snapshots_before, run_rename, check_rename, "e" },
};

#define N_CHANGES (sizeof(changes) / sizeof(changes[0]))

/* Fail the 1st call, the 2nd, ... until none is left; then it has succeeded. */
static void
sweep_faults(struct scene *s, const struct change *c, enum fault_mode mode,
	     bool lasting)
{
	unsigned nth = 0;
	bool fired;
	int r;

	do {
		c->prepare(s);
		fault_mode(s->e->st, mode);
		fault_arm(s->e->st, ++nth, -EIO, lasting);
		r = c->run(s);
		fired = fault_fired(s->e->st);
		fault_arm(s->e->st, 0, 0, false);
		assert_true(r == 0 || r == -EIO);
		if (r < 0 && !lasting && c->leaves)
			assert_false(is_there(s, c->leaves));
		put_right(s);
		c->check(s, r);
		put_right(s);
		assert_tidy(s, 0);
	} while (fired);
	assert_ok(r);
	assert_true(nth > 5);
}

static void
a_change_that_fails_leaves_old_or_new(void **state)
{
	struct scene s;

	scene_begin(&s, *state);
	for (size_t i = 0; i < N_CHANGES; i++)
		for (unsigned k = 0; k < 4; k++)
			sweep_faults(&s, &changes[i],
				     k & 1 ? FAULT_AFTER : FAULT_BEFORE, k & 2);
	scene_end(&s);
}

static void
sweep_crashes(struct scene *s, const struct change *c, uint64_t seed)
{
	struct env *e = s->e;
	unsigned nth = 0;
	bool fired;
	int r;

	do {
		c->prepare(s);
		fault_mode(e->st, seed & 1 ? FAULT_AFTER : FAULT_BEFORE);
		fault_arm(e->st, ++nth, -EIO, true);
		r = c->run(s);
		fired = fault_fired(e->st);
		fault_arm(e->st, 0, 0, false);
		mem_store_crash(fault_inner(e->st), seed * 1000 + nth);
		put_right(s);
		c->check(s, r);
		put_right(s);
		assert_tidy(s, 0);
		assert_ok(e->st->ops->sync_all(e->st));
	} while (fired);
	assert_ok(r);
}

static void
a_change_that_a_crash_cuts_off_leaves_old_or_new(void **state)
{
	unsigned seeds = test_is_slow() ? 40 : 6;
	struct scene s;

	scene_begin(&s, *state);
	for (uint64_t seed = 1; seed <= seeds; seed++)
		for (size_t i = 0; i < N_CHANGES; i++)
			sweep_crashes(&s, &changes[i], seed);
	scene_end(&s);
}

static bool
sweep_cut_off(struct scene *s, unsigned nth, uint64_t seed)
{
	struct env *e = s->e;
	bool more, fired;

	create(e, "d");
	put(e->st, "lineages/by/x", "not a uuid");
	assert_ok(catalog_remove(e->c, DESC_DISK, "d"));
	fault_mode(e->st, nth & 1 ? FAULT_AFTER : FAULT_BEFORE);
	fault_arm(e->st, nth, -EIO, true);
	(void)!catalog_sweep(e->c, 1000, &more);
	fired = fault_fired(e->st);
	fault_arm(e->st, 0, 0, false);
	mem_store_crash(fault_inner(e->st), seed * 1000 + nth);
	sweep_all(e);
	recover(e, 0);
	assert_ok(e->st->ops->remove(e->st, "lineages/by/x"));
	assert_ok(e->st->ops->remove(e->st, "lineages/by"));
	assert_ok(e->st->ops->sync_all(e->st));
	assert_tidy(s, 0);
	return fired;
}

/* Sweeping itself can be cut off anywhere, and goes on where it was. */
static void
a_sweep_that_is_cut_off_goes_on(void **state)
{
	unsigned seeds = test_is_slow() ? 60 : 10;
	struct env *e = *state;
	struct scene s;
	unsigned nth;

	scene_begin(&s, e);
	assert_ok(e->st->ops->remove(e->st, "snapshots/by 1/x.ini"));
	assert_ok(e->st->ops->sync_all(e->st));
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		for (nth = 1; sweep_cut_off(&s, nth, seed); nth++)
			;
		assert_true(nth > 10);
	}
	scene_end(&s);
}

static void
a_sweep_removes_no_more_than_it_may(void **state)
{
	struct env *e = *state;
	char path[STORE_PATH_LEN];
	uint8_t salt[12] = { 0 };
	unsigned n = 0;
	uint64_t before;
	bool more = true;

	create(e, "d");
	for (uint64_t i = 0; i < 40; i++) {
		path_chunk(&e->d.lineage, i * 1000, &e->d.layer.layer, salt,
			   path);
		put(e->st, path, "chunk");
	}
	assert_ok(catalog_remove(e->c, DESC_DISK, "d"));
	while (more) {
		before = fault_count(e->st, FAULT_REMOVE);
		assert_ok(catalog_sweep(e->c, 10, &more));
		/* and the mark, and the folder */
		assert_in_range(fault_count(e->st, FAULT_REMOVE) - before, 1,
				12);
		n++;
	}
	assert_in_range(n, 5, 8);
	assert_int_equal(entries(e->st, "lineages"), 0);
}

static void
nothing_is_swept_while_a_descriptor_cannot_be_read(void **state)
{
	struct env *e = *state;
	bool more = true;

	create(e, "a");
	create(e, "b");
	assert_ok(catalog_remove(e->c, DESC_DISK, "b"));
	put(e->st, "images/broken.ini", "[disk]\n");
	assert_ok(catalog_sweep(e->c, 1000, &more));
	assert_false(more);
	assert_int_equal(entries(e->st, "lineages"), 2);
	recover(e, 1);
	assert_ok(e->st->ops->remove(e->st, "images/broken.ini"));
	sweep_all(e);
	assert_int_equal(entries(e->st, "lineages"), 1);
	assert_ok(load(e, "a"));
}

/* A lineage without descriptor, but without the mark, too: it stays. */
static void
a_lost_descriptor_loses_no_data(void **state)
{
	struct env *e = *state;
	char *text;

	create(e, "a");
	text = text_of(e->st, "disks/a.ini");
	assert_ok(e->st->ops->remove(e->st, "disks/a.ini"));
	recover(e, 1); /* its spare copy is there */
	sweep_all(e);
	put(e->st, "disks/a.ini", text);
	free(text);
	assert_ok(load(e, "a"));
	assert_int_equal(entries(e->st, "lineages"), 1);
}

static void
a_lineage_with_another_use_is_left_alone(void **state)
{
	struct env *e = *state;
	char path[STORE_PATH_LEN], *text;
	struct layer_ref layer;

	create(e, "a");
	layer = e->d.layer;
	e->d.type = DESC_IMAGE;
	strcpy(e->d.name, "i");
	assert_ok(uuid_new(&e->d.uuid));
	assert_ok(catalog_save(e->c, &e->d, &e->dk));
	assert_ok(catalog_remove(e->c, DESC_DISK, "a"));
	sweep_all(e);
	path_layer(&layer, "layer.ini", path);
	text = text_of(e->st, path);
	free(text);
	assert_ok(catalog_remove(e->c, DESC_IMAGE, "i"));
	sweep_all(e);
	assert_int_equal(entries(e->st, "lineages"), 0);
}

/* Two names for one disk: the one that was attached last stays. */
static void
of_two_names_the_later_one_stays(void **state)
{
	struct env *e = *state;
	struct store_lock *l;
	char *x;

	create(e, "x");
	x = text_of(e->st, "disks/x.ini");
	strcpy(e->d.name, "y");
	e->d.session = 1;
	assert_ok(catalog_save(e->c, &e->d, &e->dk));
	assert_ok(catalog_lock_disk(e->c, &e->d.uuid, "", &l));
	recover(e, 0); /* whoever has it attached sees to it himself */
	assert_string_equal(names_of(e, DESC_DISK), "x|y|");
	store_unlock(l);
	recover(e, 0);
	assert_string_equal(names_of(e, DESC_DISK), "y|");

	e->d.session = 0;
	assert_ok(catalog_save(e->c, &e->d, &e->dk));
	put(e->st, "disks/x.ini", x);
	recover(e, 0);
	assert_string_equal(names_of(e, DESC_DISK), "x|");

	/* Of the same uuid, but not the same disk: not a rename. */
	e->d.created++;
	assert_ok(catalog_save(e->c, &e->d, &e->dk));
	recover(e, 0);
	assert_string_equal(names_of(e, DESC_DISK), "x|y|");
	free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_change_that_fails_leaves_old_or_new, setup_fault),
		T(a_change_that_a_crash_cuts_off_leaves_old_or_new,
		  setup_fault),
		T(a_sweep_that_is_cut_off_goes_on, setup_fault),
		T(a_sweep_removes_no_more_than_it_may, setup_fault),
		T(nothing_is_swept_while_a_descriptor_cannot_be_read,
		  setup_fault),
		T(a_lost_descriptor_loses_no_data, setup_fault),
		T(a_lineage_with_another_use_is_left_alone, setup_fault),
		T(of_two_names_the_later_one_stays, setup_fault),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
