/*
 * test_tree.c - names and node ids.
 */
#include "tree_env.h"

#include <pthread.h>

static void
a_node_id_comes_of_the_uuid_and_never_changes(void **state)
{
	static const struct {
		const char *uuid;
		uint64_t disk;
	} vectors[] = {
		{ "00000000-0000-0000-0000-000000000000", 16 },
		{ "01000000-0000-0000-0000-000000000000", 16 },
		{ "10000000-0000-0000-0000-000000000000", 16 },
		{ "00112233-4455-6677-8899-aabbccddeeff",
		  UINT64_C(0x0888888888888888) },
		{ "01234567-89ab-4def-8123-456789abcdef",
		  UINT64_C(0x0080000000000080) },
	};
	struct uuid u;

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		assert_ok(uuid_parse(vectors[i].uuid, &u));
		assert_int_equal(tree_id(&u, NODE_DISK), vectors[i].disk);
		assert_int_equal(tree_id(&u, NODE_INFO), vectors[i].disk + 1);
	}
}

static void
folders_have_fixed_ids(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();

	(void)state;
	assert_int_equal(look_up(t, NODE_ROOT, "disks")->id, NODE_DISKS);
	assert_int_equal(look_up(t, NODE_ROOT, "info")->id, NODE_INFOS);
	assert_int_equal(look_up(t, NODE_INFOS, "disks")->id, NODE_INFO_DISKS);
	assert_int_equal(look_up(t, NODE_ROOT, "snapshots")->id,
			 NODE_SNAPSHOTS);
	assert_int_equal(look_up(t, NODE_ROOT, "images")->id, NODE_IMAGES);
	assert_int_equal(look_up(t, NODE_INFOS, "snapshots")->id,
			 NODE_INFO_SNAPSHOTS);
	assert_int_equal(look_up(t, NODE_INFOS, "images")->id,
			 NODE_INFO_IMAGES);
	assert_err(lookup_error(t, NODE_INFOS, "info"), ENOENT);
	tree_forget(t, NODE_DISKS, 1000);
	assert_non_null(tree_find(t, NODE_DISKS));
}

static void
a_disk_and_what_is_about_it_are_two_nodes_of_one_uuid(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	struct node *disk, *info, *other;

	(void)state;
	add_disk("a", 1);
	disk = look_up(t, NODE_DISKS, "a");
	info = look_up(t, NODE_INFO_DISKS, "a");
	assert_int_equal(disk->kind, NODE_DISK);
	assert_int_equal(info->kind, NODE_INFO);
	assert_true(uuid_equal(&disk->uuid, &info->uuid));
	assert_ok(tree_other(t, info, NODE_DISK, &other));
	assert_ptr_equal(other, disk);
	tree_unpin(t, other);
}

static void
what_cannot_be_a_name_is_not_there(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	char longest[DISK_NAME_MAX + 2];
	uint64_t disk;

	(void)state;
	add_disk("a", 1);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_err(lookup_error(t, NODE_DISKS, longest), ENAMETOOLONG);
	longest[DISK_NAME_MAX] = '\0';
	assert_err(lookup_error(t, NODE_DISKS, longest), ENOENT);
	assert_err(lookup_error(t, NODE_DISKS, ".a"), ENOENT);
	assert_err(lookup_error(t, NODE_DISKS, "a@b"), ENOENT);
	assert_err(lookup_error(t, NODE_DISKS, "\xff"), ENOENT);
	disk = look_up(t, NODE_DISKS, "a")->id;
	assert_err(lookup_error(t, disk, "a"), ENOTDIR);
}

static void
a_node_lives_as_long_as_it_is_known_or_pinned(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	struct node *n;
	uint64_t id;

	(void)state;
	add_disk("a", 1);
	n = look_up(t, NODE_DISKS, "a");
	id = n->id;
	assert_ptr_equal(look_up(t, NODE_DISKS, "a"), n);
	atomic_store(&n->user, &n_released);
	tree_forget(t, id, 1);
	assert_ptr_equal(tree_find(t, id), n);
	tree_pin(t, n);
	tree_forget(t, id, 1);
	assert_ptr_equal(tree_find(t, id), n);
	assert_int_equal(n_released, 0);
	tree_unpin(t, n);
	assert_null(tree_find(t, id));
	assert_int_equal(n_released, 1);
}

static void
a_rename_by_somebody_else_is_followed(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	CLEANUP(free_memp) char *text = NULL;
	char name[NODE_NAME_MAX + 1];
	struct descriptor d;
	struct node *n;
	size_t len;

	(void)state;
	add_disk("other", 2);
	add_disk("a", 1);
	n = look_up(t, NODE_DISKS, "a");
	strcpy(disks[1].name, "b");
	assert_ok(tree_load(t, n, &d, &text, &len));
	assert_string_equal(d.name, "b");
	assert_string_equal(text, "b");
	tree_name(t, n, name);
	assert_string_equal(name, "b");
	/* Its old name is taken by another one. */
	strcpy(disks[0].name, "b");
	strcpy(disks[1].name, "c");
	assert_ok(tree_load(t, n, &d, NULL, NULL));
	assert_string_equal(d.name, "c");
	assert_true(uuid_equal(&d.uuid, &n->uuid));
	assert_ptr_equal(look_up(t, NODE_DISKS, "c"), n);
}

static void
a_disk_that_was_removed_is_not_there(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	struct descriptor d;
	struct node *n;

	(void)state;
	add_disk("a", 1);
	n = look_up(t, NODE_DISKS, "a");
	n_disks = 0;
	assert_err(tree_load(t, n, &d, NULL, NULL), ENOENT);
	add_disk("a", 2); /* the name is another disk's now */
	assert_err(tree_load(t, n, &d, NULL, NULL), ENOENT);
	assert_ptr_not_equal(look_up(t, NODE_DISKS, "a"), n);
}

static void
a_node_id_of_an_earlier_process_is_found(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	uint64_t id, info;
	struct node *n;

	(void)state;
	add_disk("bad", 3);
	disks[0].bad = true;
	add_disk("a", 1);
	id = tree_id(&disks[1].uuid, NODE_DISK);
	info = tree_id(&disks[1].uuid, NODE_INFO);
	assert_null(tree_find(t, id));
	assert_ok(tree_recover(t, id, &n));
	assert_ptr_equal(tree_find(t, id), n);
	assert_int_equal(n->kind, NODE_DISK);
	assert_ok(tree_recover(t, info, &n));
	assert_int_equal(n->kind, NODE_INFO);
	/* How often the kernel was told of it, nobody knows any more. */
	tree_forget(t, id, 7);
	assert_null(tree_find(t, id));
	assert_err(tree_recover(t, id + 8, &n), ENOENT);
	assert_err(tree_recover(t, 5, &n), ENOENT);
	assert_err(tree_recover(t, id | NODE_FOLDER, &n), ENOENT);
}

static void
two_uuids_of_one_id_are_never_served_together(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	uint64_t id;

	(void)state;
	add_disk("a", 1);
	add_disk("forged", 1);
	/* The halves are XORed: swapped, they give the same id. */
	memcpy(disks[1].uuid.bytes, disks[0].uuid.bytes + 8, 8);
	memcpy(disks[1].uuid.bytes + 8, disks[0].uuid.bytes, 8);
	id = look_up(t, NODE_DISKS, "a")->id;
	assert_int_equal(tree_id(&disks[1].uuid, NODE_DISK), id);
	assert_err(lookup_error(t, NODE_DISKS, "forged"), EUCLEAN);
	tree_forget(t, id, 1);
	assert_int_equal(look_up(t, NODE_DISKS, "forged")->id, id);
	assert_err(lookup_error(t, NODE_DISKS, "a"), EUCLEAN);
}

static void
a_bad_descriptor_is_listed_and_is_an_error_of_its_own(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();

	(void)state;
	add_disk("a", 1);
	add_disk("b", 2);
	disks[0].bad = true;
	assert_err(lookup_error(t, NODE_DISKS, "a"), EUCLEAN);
	look_up(t, NODE_DISKS, "b");
}

static int
append_name(const char *name, void *arg)
{
	strcat(arg, name);
	strcat(arg, " ");
	return 0;
}

static void
folders_list_what_they_hold(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	static const struct {
		uint64_t folder;
		const char *names;
	} rows[] = {
		{ NODE_ROOT, "disks images info snapshots " },
		{ NODE_DISKS, "a b " },
		{ NODE_SNAPSHOTS, "a b Gone " },
		{ NODE_IMAGES, "i " },
		{ NODE_INFOS, "disks images snapshots store " },
		{ NODE_INFO_DISKS, "a b " },
		{ NODE_INFO_SNAPSHOTS, "a b Gone " },
		{ NODE_INFO_IMAGES, "i " },
	};
	char names[64];

	(void)state;
	add_disk("a", 1);
	add_disk("b", 2);
	add(DESC_SNAPSHOT, "Gone@1", 3);
	add(DESC_SNAPSHOT, "b@2", 4);
	add(DESC_SNAPSHOT, "b@3", 5);
	add(DESC_IMAGE, "i", 6);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		names[0] = '\0';
		assert_ok(tree_list(t, rows[i].folder, append_name, names));
		assert_string_equal(names, rows[i].names);
	}
	names[0] = '\0';
	assert_ok(tree_list(t, look_up(t, NODE_SNAPSHOTS, "b")->id, append_name,
			    names));
	assert_string_equal(names, "2 3 ");
	names[0] = '\0';
	assert_ok(tree_list(t, look_up(t, NODE_SNAPSHOTS, "a")->id, append_name,
			    names));
	assert_string_equal(names, "");
	assert_err(tree_list(t, 99, append_name, names), ENOTDIR);
	assert_err(tree_list(t, look_up(t, NODE_IMAGES, "i")->id, append_name,
			     names),
		   ENOTDIR);
}

/* Four threads look up and forget what four others find: the counts come out
 * right, and a pinned node is never gone. */
static void *
look_up_and_forget(void *arg)
{
	struct tree *t = arg;
	struct descriptor d;
	struct node *n;

	for (int i = 0; i < 2000; i++) {
		const char *name = disks[i % 4].name;

		if (tree_lookup(t, NODE_DISKS, name, &d, &n) < 0)
			return arg;
		tree_count(t, n);
		if (tree_find(t, n->id) != n)
			return arg;
		tree_forget(t, n->id, 1);
		if (tree_find(t, n->id) != n)
			return arg;
		tree_unpin(t, n);
	}
	return NULL;
}

static void
threads_do_not_get_in_each_others_way(void **state)
{
	CLEANUP(tree_freep) struct tree *t = new_tree();
	pthread_t threads[4];
	void *bad;

	(void)state;
	add_disk("a", 1);
	add_disk("b", 2);
	add_disk("c", 3);
	add_disk("d", 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
						look_up_and_forget, t),
				 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &bad), 0);
		assert_null(bad);
	}
	for (size_t i = 0; i < 4; i++)
		assert_null(tree_find(t, tree_id(&disks[i].uuid, NODE_DISK)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_id_comes_of_the_uuid_and_never_changes),
		cmocka_unit_test(folders_have_fixed_ids),
		cmocka_unit_test(
		    a_disk_and_what_is_about_it_are_two_nodes_of_one_uuid),
		cmocka_unit_test(what_cannot_be_a_name_is_not_there),
		cmocka_unit_test(a_node_lives_as_long_as_it_is_known_or_pinned),
		cmocka_unit_test(a_rename_by_somebody_else_is_followed),
		cmocka_unit_test(a_disk_that_was_removed_is_not_there),
		cmocka_unit_test(a_node_id_of_an_earlier_process_is_found),
		cmocka_unit_test(two_uuids_of_one_id_are_never_served_together),
		cmocka_unit_test(
		    a_bad_descriptor_is_listed_and_is_an_error_of_its_own),
		cmocka_unit_test(folders_list_what_they_hold),
		cmocka_unit_test(threads_do_not_get_in_each_others_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
