/*
 * test_frozen.c - the names, owners and layers of snapshots and images.
 */
#include "engine_env.h"

#include "snapshot.h"

static struct engine_env env;

static int
setup(void **state)
{
	(void)state;
	eenv_begin(&env, NULL, CIPHER_AES256_GCM);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	eenv_end(&env);
	return 0;
}

static struct catalog *
cat(void)
{
	return engine_catalog(env.e);
}

static struct disk *
attach(enum desc_type type, const char *name)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, type, name, 0, &d));
	return d;
}

/* Writes something, and makes what is called ${name} of it. */
static void
freeze(struct disk *d, enum desc_type type, const char *name)
{
	struct snapshot_request req = { d, type, name };

	assert_ok(disk_write(d, env.s, "something", 9, 0));
	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
}

/* Disk a with snapshots 1 and 2, detached. */
static void
make_two(void)
{
	struct disk *d;

	eenv_create(&env, "a", 1 << 20);
	d = attach(DESC_DISK, "a");
	freeze(d, DESC_SNAPSHOT, "1");
	freeze(d, DESC_SNAPSHOT, "2");
	assert_ok(disk_detach(d));
}

static void
load(enum desc_type type, const char *name, struct descriptor *ret)
{
	assert_ok(catalog_load(cat(), type, name, ret, NULL, NULL));
}

static int
append_name(const char *name, void *arg)
{
	strcat(arg, name);
	strcat(arg, " ");
	return 0;
}

static void
snapshots_are_listed_by_their_disk(void **state)
{
	char names[64] = "";
	struct disk *d;

	(void)state;
	make_two();
	eenv_create(&env, "b", 1 << 20);
	d = attach(DESC_DISK, "b");
	freeze(d, DESC_SNAPSHOT, "3");
	assert_ok(disk_detach(d));
	eenv_create(&env, "none", 1 << 20);
	assert_ok(catalog_remove(cat(), DESC_DISK, "a"));
	assert_ok(catalog_snapshots(cat(), "a", append_name, names));
	assert_string_equal(names, "a@1 a@2 ");
	assert_ok(catalog_snapshots(cat(), "none", append_name, names));
	assert_ok(catalog_snapshots(cat(), "../a", append_name, names));
	assert_string_equal(names, "a@1 a@2 ");
	names[0] = '\0';
	assert_ok(catalog_snapshot_folders(cat(), append_name, names));
	assert_string_equal(names, "a b ");
	names[0] = '\0';
	assert_ok(catalog_list(cat(), DESC_SNAPSHOT, append_name, names));
	assert_string_equal(names, "a@1 a@2 b@3 ");
}

static int
set_mode(struct descriptor *d, void *arg)
{
	d->mode = *(uint32_t *)arg;
	return 0;
}

static void
what_is_open_gets_another_mode_and_name(void **state)
{
	struct disk *first, *second;
	struct descriptor d;
	uint32_t mode = 0440;
	char buf[9];

	(void)state;
	make_two();
	load(DESC_SNAPSHOT, "a@1", &d);
	first = attach(DESC_SNAPSHOT, "a@1");
	second = attach(DESC_SNAPSHOT, "a@1");
	assert_err(catalog_remove(cat(), DESC_SNAPSHOT, "a@1"), EBUSY);
	assert_ok(catalog_update(cat(), env.kms, DESC_SNAPSHOT, "a@1", &d.uuid,
				 set_mode, &mode));
	assert_err(catalog_move(cat(), env.kms, DESC_SNAPSHOT, "a@1", &d.uuid,
				"2"),
		   EEXIST);
	assert_ok(
	    catalog_move(cat(), env.kms, DESC_SNAPSHOT, "a@1", &d.uuid, "new"));
	load(DESC_SNAPSHOT, "a@new", &d);
	assert_int_equal(d.mode, 0440);
	assert_err(catalog_update(cat(), env.kms, DESC_SNAPSHOT, "a@1", &d.uuid,
				  set_mode, &mode),
		   ENOENT);
	assert_ok(disk_read(first, env.s, buf, 9, 0));
	assert_memory_equal(buf, "something", 9);
	assert_ok(disk_detach(first));
	assert_ok(disk_detach(second));
	assert_ok(disk_detach(attach(DESC_SNAPSHOT, "a@new")));
}

static void
a_name_that_is_another_ones_is_left_alone(void **state)
{
	struct descriptor one, two;
	uint32_t mode = 0;

	(void)state;
	make_two();
	load(DESC_SNAPSHOT, "a@1", &one);
	load(DESC_SNAPSHOT, "a@2", &two);
	assert_err(catalog_update(cat(), env.kms, DESC_SNAPSHOT, "a@2",
				  &one.uuid, set_mode, &mode),
		   ENOENT);
	assert_err(catalog_move(cat(), env.kms, DESC_SNAPSHOT, "a@1", &two.uuid,
				"3"),
		   ENOENT);
	load(DESC_SNAPSHOT, "a@2", &two);
	assert_int_equal(two.mode, 0600);
	/* A disk's descriptor belongs to who has it attached. */
	load(DESC_DISK, "a", &one);
	assert_err(catalog_update(cat(), env.kms, DESC_DISK, "a", &one.uuid,
				  set_mode, &mode),
		   EINVAL);
}

static void
survey_is(enum desc_type type, const char *name, unsigned layers, bool needed)
{
	CLEANUP(survey_freep) struct survey *s = NULL;
	struct descriptor d;
	bool got_needed;
	unsigned got;

	load(type, name, &d);
	assert_ok(catalog_survey(cat(), &s));
	assert_ok(survey_look(s, &d, &got, &got_needed));
	assert_int_equal(got, layers);
	assert_int_equal(got_needed, needed);
}

static void
a_survey_says_who_needs_which_layer(void **state)
{
	struct clone_params p = { .name = "i", .mode = 0600 };

	(void)state;
	make_two();
	survey_is(DESC_DISK, "a", 3, false);
	survey_is(DESC_SNAPSHOT, "a@2", 2, true);
	survey_is(DESC_SNAPSHOT, "a@1", 1, true);
	assert_ok(catalog_image(cat(), env.kms, "a@2", &p));
	assert_ok(catalog_remove(cat(), DESC_DISK, "a"));
	survey_is(DESC_SNAPSHOT, "a@2", 2, true); /* the image has the same */
	survey_is(DESC_IMAGE, "i", 2, true);
	assert_ok(catalog_remove(cat(), DESC_SNAPSHOT, "a@2"));
	survey_is(DESC_IMAGE, "i", 2, false);
	survey_is(DESC_SNAPSHOT, "a@1", 1, true);
	assert_ok(catalog_remove(cat(), DESC_IMAGE, "i"));
	survey_is(DESC_SNAPSHOT, "a@1", 1, false);
}

/* A store in which a snapshot is removed while a sweep is at it. */
static const struct store_ops *real_ops;
static const char *remove_meanwhile;

static int
sync_dir(struct store *st, const char *path)
{
	const char *name = TAKE(remove_meanwhile);

	if (name)
		assert_ok(catalog_remove(cat(), DESC_SNAPSHOT, name));
	return real_ops->sync_dir(st, path);
}

static void
sweep(void)
{
	bool more = true;

	while (more)
		assert_ok(catalog_sweep(cat(), 1000, &more));
}

static int
count(const char *name, bool is_dir, void *arg)
{
	(void)name;
	(void)is_dir;
	++*(unsigned *)arg;
	return 0;
}

static void
what_is_removed_during_a_sweep_is_swept_too(void **state)
{
	char u[UUID_STR_LEN], path[STORE_PATH_LEN];
	struct store_ops ops;
	struct descriptor d;
	unsigned n = 0;

	(void)state;
	make_two();
	eenv_create(&env, "b", 1 << 20);
	load(DESC_SNAPSHOT, "a@1", &d);
	assert_ok(catalog_remove(cat(), DESC_DISK, "a"));
	real_ops = env.st->ops;
	ops = *real_ops;
	ops.sync_dir = sync_dir;
	env.st->ops = &ops;
	remove_meanwhile = "a@2";
	sweep();
	env.st->ops = real_ops;
	assert_null(remove_meanwhile);
	uuid_format(&d.lineage, u);
	(void)snprintf(path, sizeof(path), "lineages/%s/layers", u);
	assert_ok(env.st->ops->list(env.st, path, count, &n));
	assert_int_equal(n, 1);
	assert_ok(disk_detach(attach(DESC_SNAPSHOT, "a@1")));
}

/* From the making of a file on of which the path has ${die_at} in it, nothing
 * can be made any more. */
static const char *die_at;
static bool dying;

static int
create(struct store *st, const char *path, struct store_file **ret)
{
	dying |= strstr(path, die_at) != NULL;
	return dying ? -EIO : real_ops->create(st, path, ret);
}

static int
replace(struct store *st, const char *path, const void *buf, size_t len)
{
	dying |= strstr(path, die_at) != NULL;
	return dying ? -EIO : real_ops->replace(st, path, buf, len);
}

static void
die_when(const char *part, struct store_ops *ops)
{
	die_at = part;
	real_ops = env.st->ops;
	*ops = *real_ops;
	ops->create = create;
	ops->replace = replace;
	env.st->ops = ops;
	dying = false;
}

static void
begin_anew(void)
{
	const atomic_bool stop = false;

	assert_true(dying);
	assert_int_equal(eenv_dead(&env), 1);
	env.st->ops = real_ops;
	eenv_reopen(&env);
	engine_sweep(env.e, &stop);
	assert_int_equal(eenv_dead(&env), 0);
}

static void
a_snapshot_that_a_crash_cut_short_leaves_no_layer(void **state)
{
	struct snapshot_request req = { NULL, DESC_SNAPSHOT, "1" };
	struct store_ops ops;

	(void)state;
	eenv_create(&env, "a", 1 << 20);
	req.disk = attach(DESC_DISK, "a");
	die_when("/todo", &ops); /* the last file of a layer */
	assert_int_equal(disks_snapshot(env.e, env.s, &req, 1), -EIO);
	disk_abandon(req.disk);
	begin_anew();
}

static void
a_clone_that_a_crash_cut_short_leaves_no_layer(void **state)
{
	struct clone_params p = { .name = "c", .mode = 0600 };
	struct descriptor *d = calloc(1, sizeof(*d));
	struct store_ops ops;

	(void)state;
	assert_non_null(d);
	make_two();
	die_when("disks/c", &ops);
	assert_int_equal(
	    catalog_clone(cat(), env.kms, DESC_SNAPSHOT, "a@1", &p, d), -EIO);
	begin_anew();
	free(d);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(snapshots_are_listed_by_their_disk),
		T(what_is_open_gets_another_mode_and_name),
		T(a_name_that_is_another_ones_is_left_alone),
		T(a_survey_says_who_needs_which_layer),
		T(what_is_removed_during_a_sweep_is_swept_too),
		T(a_snapshot_that_a_crash_cut_short_leaves_no_layer),
		T(a_clone_that_a_crash_cut_short_leaves_no_layer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
