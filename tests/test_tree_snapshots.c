/*
 * test_tree_snapshots.c - the folders of snapshots and images.
 */
#include "tree_env.h"

static void
a_disk_has_a_folder_of_snapshots_before_it_has_any(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	struct tree_place p;
	struct node *n, *info;

	(void)state;
	add_disk("a", 1);
	n = look_up(t, NODE_SNAPSHOTS, "a");
	assert_int_equal(n->kind, NODE_SNAPS);
	assert_true(node_is_folder(n));
	info = look_up(t, NODE_INFO_SNAPSHOTS, "a");
	assert_int_equal(info->id, n->id + 1);
	assert_int_equal(look_up(t, NODE_SNAPSHOTS, "a")->id, n->id);
	assert_err(lookup_error(t, NODE_SNAPSHOTS, "b"), ENOENT);
	assert_err(lookup_error(t, NODE_SNAPSHOTS, "a@b"), ENOENT);
	assert_err(lookup_error(t, n->id, "s"), ENOENT);
	assert_ok(tree_place(t, n->id, &p));
	assert_int_equal(p.kind, NODE_DISK);
	assert_int_equal(p.type, DESC_SNAPSHOT);
	assert_string_equal(p.of, "a");
	assert_ok(tree_place(t, NODE_INFO_IMAGES, &p));
	assert_int_equal(p.kind, NODE_INFO);
	assert_int_equal(p.type, DESC_IMAGE);
	assert_string_equal(p.of, "");
	assert_err(tree_place(t, NODE_SNAPSHOTS, &p), ENOTDIR);
	assert_err(tree_place(t, NODE_ROOT, &p), ENOTDIR);
}

static void
a_folder_of_snapshots_comes_of_the_name_alone(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();

	(void)state;
	/* The first eight bytes of SHA-256("a"), XORed with the next. */
	add_disk("a", 1);
	assert_int_equal(look_up(t, NODE_SNAPSHOTS, "a")->id,
			 UINT64_C(0x07613850a1b05532));
}

static void
snapshots_and_images_are_found_by_their_places(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	struct node *s, *i, *other;
	uint64_t a, b;

	(void)state;
	add_disk("a", 1);
	add_disk("b", 2);
	add(DESC_SNAPSHOT, "a@s", 3);
	add(DESC_SNAPSHOT, "b@s", 4);
	add(DESC_IMAGE, "a", 5);
	a = look_up(t, NODE_SNAPSHOTS, "a")->id;
	b = look_up(t, NODE_SNAPSHOTS, "b")->id;
	s = look_up(t, a, "s");
	assert_int_equal(s->type, DESC_SNAPSHOT);
	assert_int_equal(s->kind, NODE_DISK);
	assert_ptr_not_equal(look_up(t, b, "s"), s);
	assert_err(lookup_error(t, a, "t"), ENOENT);
	assert_err(lookup_error(t, NODE_DISKS, "a@s"), ENOENT);
	i = look_up(t, NODE_IMAGES, "a");
	assert_int_equal(i->type, DESC_IMAGE);
	assert_ptr_not_equal(look_up(t, NODE_DISKS, "a"), i);
	assert_ok(tree_other(t, s, NODE_INFO, &other));
	assert_ptr_equal(
	    look_up(t, look_up(t, NODE_INFO_SNAPSHOTS, "a")->id, "s"), other);
	assert_int_equal(other->type, DESC_SNAPSHOT);
	tree_unpin(t, other);
	assert_err(lookup_error(t, s->id, "s"), ENOTDIR);
}

static void
snapshots_of_a_disk_that_is_gone_are_there(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	struct node *n;

	(void)state;
	add_disk("z", 1);
	add(DESC_SNAPSHOT, "a@s", 3);
	n = look_up(t, NODE_SNAPSHOTS, "a");
	look_up(t, n->id, "s");
	n_disks--;
	assert_err(lookup_error(t, NODE_SNAPSHOTS, "a"), ENOENT);
	assert_err(lookup_error(t, n->id, "s"), ENOENT);
}

static void
a_snapshot_goes_along_with_its_disk(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	char name[NODE_NAME_MAX + 1];
	struct descriptor d;
	struct node *n, *i;

	(void)state;
	add_disk("a", 1);
	add(DESC_SNAPSHOT, "a@s", 2);
	add(DESC_IMAGE, "i", 3);
	n = look_up(t, look_up(t, NODE_SNAPSHOTS, "a")->id, "s");
	i = look_up(t, NODE_INFO_IMAGES, "i");
	strcpy(disks[0].name, "b");
	strcpy(disks[1].name, "b@s");
	strcpy(disks[2].name, "j");
	assert_ok(tree_load(t, n, &d, NULL, NULL));
	tree_name(t, n, name);
	assert_string_equal(name, "b@s");
	assert_ok(tree_load(t, i, &d, NULL, NULL));
	assert_string_equal(d.name, "j");
	assert_ptr_equal(look_up(t, look_up(t, NODE_SNAPSHOTS, "b")->id, "s"),
			 n);
}

static void
one_uuid_is_not_served_as_two_things(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();

	(void)state;
	add_disk("a", 1);
	add(DESC_IMAGE, "forged", 1);
	look_up(t, NODE_DISKS, "a");
	assert_err(lookup_error(t, NODE_IMAGES, "forged"), EUCLEAN);
}

static void
ids_of_an_earlier_process_are_found(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree(), *before = new_tree();
	uint64_t folder, info_folder, lone, ids[4];
	struct descriptor d;
	struct node *n;

	(void)state;
	add_disk("a", 1);
	add(DESC_SNAPSHOT, "a@s", 2);
	add(DESC_SNAPSHOT, "gone@s", 3);
	add(DESC_IMAGE, "i", 4);
	folder = look_up(before, NODE_SNAPSHOTS, "a")->id;
	info_folder = look_up(before, NODE_INFO_SNAPSHOTS, "a")->id;
	lone = look_up(before, NODE_SNAPSHOTS, "gone")->id;
	ids[0] = look_up(before, folder, "s")->id;
	ids[1] = look_up(before, info_folder, "s")->id;
	ids[2] = look_up(before, NODE_IMAGES, "i")->id;
	ids[3] = look_up(before, NODE_INFO_IMAGES, "i")->id;

	for (size_t i = 0; i < 4; i++) {
		assert_ok(tree_recover(t, ids[i], &n));
		assert_int_equal(n->id, ids[i]);
		assert_int_equal(n->type, i < 2 ? DESC_SNAPSHOT : DESC_IMAGE);
		assert_ok(tree_load(t, n, &d, NULL, NULL));
	}
	/* A folder without being asked for, by who looks into it. */
	assert_null(tree_find(t, folder));
	assert_int_equal(look_up(t, folder, "s")->id, ids[0]);
	assert_ok(tree_recover(t, info_folder, &n));
	assert_int_equal(n->kind, NODE_INFO_SNAPS);
	assert_ok(tree_recover(t, lone, &n));
	n_disks = 0;
	tree_forget(t, lone, 1);
	assert_err(tree_recover(t, lone, &n), ENOENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_disk_has_a_folder_of_snapshots_before_it_has_any),
		cmocka_unit_test(a_folder_of_snapshots_comes_of_the_name_alone),
		cmocka_unit_test(
		    snapshots_and_images_are_found_by_their_places),
		cmocka_unit_test(snapshots_of_a_disk_that_is_gone_are_there),
		cmocka_unit_test(a_snapshot_goes_along_with_its_disk),
		cmocka_unit_test(one_uuid_is_not_served_as_two_things),
		cmocka_unit_test(ids_of_an_earlier_process_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
