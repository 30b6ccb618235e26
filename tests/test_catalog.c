/*
 * test_catalog.c - names: made, listed, changed, removed; and what is refused.
 */
#include "catalog_env.h"

#include <sys/wait.h>

static void
only_an_empty_folder_becomes_a_store(void **state)
{
	struct env *e = *state;
	struct catalog *c;
	struct store *st;

	assert_err(catalog_init(e->st, &env_meta), EEXIST);
	assert_ok(mem_store_open(&st));
	assert_err(catalog_open(st, &c), ENOENT);
	put(st, "lost+found/x", "");
	put(st, "letters", "");
	assert_err(catalog_init(st, &env_meta), ENOTEMPTY);
	assert_err(st->ops->remove(st, "store.ini"), ENOENT);
	assert_ok(st->ops->remove(st, "letters"));
	assert_ok(catalog_init(st, &env_meta));
	assert_ok(catalog_open(st, &c));
	assert_memory_equal(&catalog_meta(c)->uuid, &env_meta.uuid, 16);
	assert_ptr_equal(catalog_store(c), st);
	catalog_close(c);
	store_free(st);
}

static void
a_store_of_another_format_is_not_opened(void **state)
{
	struct env *e = *state;
	struct catalog *c;

	put(e->st, "store.ini", "[store]\nformat = 2\nnew = 1\n");
	assert_err(catalog_open(e->st, &c), EPROTONOSUPPORT);
	put(e->st, "store.ini", "");
	assert_err(catalog_open(e->st, &c), EUCLEAN);
}

static void
a_disk_is_made_and_found_again(void **state)
{
	struct env *e = *state;
	struct descriptor made;
	char path[STORE_PATH_LEN], *text;
	struct layer_meta m;
	struct key dk;

	create(e, "db");
	made = e->d;
	dk = e->dk;
	assert_ok(load(e, "db"));
	assert_memory_equal(&e->d, &made, sizeof(made));
	assert_memory_equal(&e->dk, &dk, sizeof(dk));
	assert_int_equal(made.session, 0);
	assert_true(made.clean);
	assert_string_equal(made.category, "cloud_essd");
	assert_int_equal(made.size, 1 << 20);
	assert_int_equal(made.uid, 1);

	path_layer(&made.layer, "layer.ini", path);
	text = text_of(e->st, path);
	assert_ok(layer_meta_parse(text, strlen(text), &dk, &m));
	free(text);
	assert_false(m.has_parent);
	assert_int_equal(m.state, LAYER_OPEN);
	assert_int_equal(m.size, made.size);
	assert_memory_equal(&m.key, &made.key, sizeof(m.key));

	assert_err(try_create(e, "db"), EEXIST);
	assert_string_equal(names_of(e, DESC_DISK), "db|");
	assert_int_equal(entries(e->st, "lineages"), 1);
	sweep_all(e);
	recover(e, 0);
	assert_ok(load(e, "db"));
}

static void
any_good_name_can_be_used(void **state)
{
	static const char *const good[] = {
		" ",     "\"q\"",    "#1",
		"A=b;c", "a'b",      "back\\slash",
		"db",    "\xc3\xbc", "\xf0\x9f\x98\x80",
	};
	struct env *e = *state;
	char all[256] = "";
	size_t i, n = sizeof(good) / sizeof(good[0]);

	for (i = n; i-- > 0;)
		create(e, good[i]);
	for (i = 0; i < n; i++)
		(void)join(good[i], all);
	assert_string_equal(names_of(e, DESC_DISK), all);
	for (i = 0; i < n; i++) {
		assert_ok(load(e, good[i]));
		assert_string_equal(e->d.name, good[i]);
		assert_ok(catalog_remove(e->c, DESC_DISK, good[i]));
	}
	assert_string_equal(names_of(e, DESC_DISK), "");
}

static void
bad_parameters_are_refused_before_anything_is_made(void **state)
{
	static const struct {
		struct disk_params p;
		int err;
	} bad[] = {
#define P .sector_size = 512, .key = KMS_SERVICE_ALIAS
		{ { .name = "", P }, EINVAL },
		{ { .name = ".", P }, EINVAL },
		{ { .name = "..", P }, EINVAL },
		{ { .name = "-x", P }, EINVAL },
		{ { .name = "a/b", P }, EINVAL },
		{ { .name = "a@b", P }, EINVAL },
		{ { .name = "a:b", P }, EINVAL },
		{ { .name = "\xff", P }, EINVAL },
		{ { .name = "\xc2\x85", P }, EINVAL },
		{ { .name = "a", .size = 511, P }, EINVAL },
		{ { .name = "a", .size = DISK_SIZE_MAX + 512, P }, EFBIG },
		{ { .name = "a",
		    .sector_size = 1024,
		    .key = KMS_SERVICE_ALIAS },
		  EINVAL },
		{ { .name = "a", .kind = "x", P }, EINVAL },
		{ { .name = "a", .category = "", P }, EINVAL },
		{ { .name = "a", .category = "A b", P }, EINVAL },
		{ { .name = "a", .sector_size = 512, .key = "alias/none" },
		  ENOKEY },
	};
	struct env *e = *state;
	char name[DISK_NAME_MAX + 2];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_err(catalog_create(e->c, e->kms, &bad[i].p, &e->d, NULL),
			   bad[i].err);
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_err(try_create(e, name), EINVAL);
	assert_int_equal(entries(e->st, "lineages"), 0);
	name[sizeof(name) - 2] = '\0';
	create(e, name);
	assert_ok(load(e, name));
	/* What cannot be a name is simply not there. */
	assert_err(load(e, "a/../b"), ENOENT);
	assert_err(load(e, ""), ENOENT);
	assert_err(load(e, "a@b"), ENOENT);
	assert_err(catalog_remove(e->c, DESC_DISK, "../store"), ENOENT);
}

static void
a_name_with_snapshots_is_taken(void **state)
{
	struct env *e = *state;

	put(e->st, "snapshots/old/monday.ini", "[disk]\n");
	assert_err(try_create(e, "old"), EEXIST);
	create(e, "new");
	assert_err(catalog_rename(e->c, &e->d, &e->dk, "old"), EEXIST);
	assert_ok(e->st->ops->remove(e->st, "snapshots/old/monday.ini"));
	create(e, "old"); /* the folder alone is nobody's */
}

static void
a_disk_goes_by_its_new_name(void **state)
{
	struct env *e = *state;
	struct uuid uuid;

	create(e, "b");
	create(e, "a");
	uuid = e->d.uuid;
	assert_err(catalog_rename(e->c, &e->d, &e->dk, "b"), EEXIST);
	assert_err(catalog_rename(e->c, &e->d, &e->dk, "a"), EEXIST);
	assert_err(catalog_rename(e->c, &e->d, &e->dk, "x/y"), EINVAL);
	assert_string_equal(e->d.name, "a");
	assert_ok(catalog_rename(e->c, &e->d, &e->dk, "c d"));
	assert_string_equal(e->d.name, "c d");
	assert_string_equal(names_of(e, DESC_DISK), "b|c d|");
	assert_err(load(e, "a"), ENOENT);
	assert_ok(load(e, "c d"));
	assert_memory_equal(&e->d.uuid, &uuid, sizeof(uuid));
}

static void
snapshots_go_along_with_their_disk(void **state)
{
	struct env *e = *state;
	char path[STORE_PATH_LEN], *text;

	create(e, "a");
	e->d.type = DESC_SNAPSHOT;
	strcpy(e->d.of, "a");
	strcpy(e->d.name, "monday");
	assert_ok(uuid_new(&e->d.uuid));
	assert_ok(catalog_save(e->c, &e->d, &e->dk));
	assert_string_equal(names_of(e, DESC_SNAPSHOT), "a@monday|");

	assert_ok(load(e, "a"));
	assert_ok(catalog_rename(e->c, &e->d, &e->dk, "b"));
	assert_string_equal(names_of(e, DESC_SNAPSHOT), "b@monday|");
	assert_ok(catalog_load_verified(e->c, e->kms, DESC_SNAPSHOT, "b@monday",
					&e->d, &e->dk));
	assert_string_equal(e->d.of, "b");
	path_descriptor(DESC_SNAPSHOT, e->d.of, e->d.name, path);
	text = text_of(e->st, path);
	free(text);
	assert_err(try_create(e, "b"), EEXIST);
	assert_ok(catalog_remove(e->c, DESC_DISK, "b"));
	assert_err(try_create(e, "b"), EEXIST);
	sweep_all(e);
	assert_int_equal(entries(e->st, "lineages"), 1); /* it has a use */
	assert_ok(catalog_remove(e->c, DESC_SNAPSHOT, "b@monday"));
	create(e, "b");
	sweep_all(e);
	assert_int_equal(entries(e->st, "lineages"), 1);
}

static void
what_is_saved_is_loaded(void **state)
{
	struct env *e = *state;

	create(e, "a");
	e->d.size = 4096;
	e->d.session = 5;
	e->d.clean = false;
	assert_ok(catalog_save(e->c, &e->d, &e->dk));
	assert_ok(load(e, "a"));
	assert_int_equal(e->d.size, 4096);
	assert_int_equal(e->d.session, 5);
	assert_false(e->d.clean);
	e->d.size = 1;
	assert_err(catalog_save(e->c, &e->d, &e->dk), EINVAL);
}

static void
swapped_and_moved_descriptors_are_refused(void **state)
{
	struct env *e = *state;
	struct store *st = e->st;
	char *a, *b, *forged;

	create(e, "a");
	create(e, "b");
	a = text_of(st, "disks/a.ini");
	b = text_of(st, "disks/b.ini");
	put(st, "disks/a.ini", b);
	put(st, "disks/b.ini", a);
	assert_err(load(e, "a"), EUCLEAN);
	assert_err(load(e, "b"), EUCLEAN);
	put(st, "disks/a.ini", a);
	put(st, "disks/b.ini", b);
	assert_ok(load(e, "a"));

	put(st, "disks/c.ini", a);
	assert_err(load(e, "c"), EUCLEAN);
	put(st, "images/a.ini", a);
	assert_err(catalog_load(e->c, DESC_IMAGE, "a", &e->d, NULL, NULL),
		   EUCLEAN);

	/* Changed so that it fits, it does not verify. */
	forged = strdup(a);
	memcpy(strstr(forged, "name = a"), "name = c", 8);
	put(st, "disks/c.ini", forged);
	assert_ok(catalog_load(e->c, DESC_DISK, "c", &e->d, NULL, NULL));
	assert_err(load(e, "c"), EBADMSG);
	free(forged);
	free(a);
	free(b);
}

static void
a_descriptor_of_another_store_is_refused(void **state)
{
	struct env *e = *state;
	struct store_meta m = env_meta;
	struct catalog *c;
	struct store *st;
	char *a;

	create(e, "a");
	a = text_of(e->st, "disks/a.ini");
	m.uuid.bytes[0]++;
	assert_ok(mem_store_open(&st));
	assert_ok(catalog_init(st, &m));
	assert_ok(catalog_open(st, &c));
	put(st, "disks/a.ini", a);
	assert_err(catalog_load(c, DESC_DISK, "a", &e->d, NULL, NULL), EUCLEAN);
	free(a);
	catalog_close(c);
	store_free(st);
}

static void
the_wrapped_dk_of_another_disk_opens_nothing(void **state)
{
	struct env *e = *state;
	struct desc_key theirs;
	char *text, *forged;

	create(e, "b");
	theirs = e->d.keys[0];
	create(e, "a");
	text = text_of(e->st, "disks/a.ini");
	/* Its blob under our lineage: the KMS refuses the context. */
	memcpy(e->d.keys[0].dk.blob, theirs.dk.blob, theirs.dk.blob_len);
	e->d.keys[0].dk.blob_len = theirs.dk.blob_len;
	assert_ok(descriptor_rewrite_keys(text, strlen(text), &e->d, &forged));
	put(e->st, "disks/a.ini", forged);
	assert_err(load(e, "a"), EKEYREJECTED);
	free(text);
	free(forged);
}

static void
a_disabled_key_opens_no_disk(void **state)
{
	struct env *e = *state;
	struct disk_params p = { .name = "a", .sector_size = 512 };
	struct kms_key_info k;

	assert_ok(kms_create_key(e->kms, "mine", &k));
	p.key = k.id;
	assert_ok(catalog_create(e->c, e->kms, &p, &e->d, NULL));
	assert_ok(kms_disable_key(e->kms, k.id));
	assert_err(load(e, "a"), EKEYREVOKED);
	p.name = "b";
	assert_err(catalog_create(e->c, e->kms, &p, &e->d, NULL), EKEYREVOKED);
	assert_ok(kms_enable_key(e->kms, k.id));
	assert_ok(load(e, "a"));
}

static void
a_disk_in_use_is_not_removed(void **state)
{
	struct env *e = *state;
	struct store_lock *l, *m;

	create(e, "a");
	assert_ok(catalog_lock_disk(e->c, &e->d.uuid, "/mnt", &l));
	assert_err(catalog_lock_disk(e->c, &e->d.uuid, "/mnt", &m), EBUSY);
	assert_err(catalog_remove(e->c, DESC_DISK, "a"), EBUSY);
	sweep_all(e);
	assert_ok(load(e, "a"));
	store_unlock(l);
	assert_ok(catalog_remove(e->c, DESC_DISK, "a"));
	assert_err(catalog_remove(e->c, DESC_DISK, "a"), ENOENT);
}

static void
what_was_removed_is_counted_until_it_is_gone(void **state)
{
	struct env *e = *state;
	struct reclaim left;
	char path[STORE_PATH_LEN];

	create(e, "a");
	create(e, "b");
	assert_ok(catalog_reclaim(e->c, &left));
	assert_int_equal(left.lineages + left.layers + left.merges, 0);
	assert_ok(load(e, "a"));
	path_chunk(&e->d.lineage, 4097, &e->d.layer.layer, (uint8_t[12]){ 1 },
		   path);
	put(e->st, path, "");
	assert_ok(catalog_remove(e->c, DESC_DISK, "a"));
	assert_ok(catalog_reclaim(e->c, &left));
	assert_int_equal(left.lineages, 1);
	assert_int_equal(left.files, 1);
	assert_int_equal(left.layers, 0);
	assert_false(left.stuck);

	/* Of an unreadable one it is not known what it needs. */
	put(e->st, "disks/c.ini", "nonsense");
	assert_ok(catalog_reclaim(e->c, &left));
	assert_true(left.stuck);
	assert_ok(e->st->ops->remove(e->st, "disks/c.ini"));
	sweep_all(e);
	assert_ok(catalog_reclaim(e->c, &left));
	assert_int_equal(left.lineages + left.files, 0);
}

static void
a_lock_says_who_holds_it(void **state)
{
	struct env *e = *state;
	struct lock_owner o;
	struct store_lock *l;
	char host[256] = "";

	create(e, "a");
	assert_err(catalog_disk_owner(e->c, &e->d.uuid, &o), ENOENT);
	assert_ok(catalog_lock_disk(e->c, &e->d.uuid, "/mnt/a b=\"\xff\n", &l));
	assert_ok(catalog_disk_owner(e->c, &e->d.uuid, &o));
	assert_string_equal(o.mount_point, "/mnt/a b=\"\xff\n");
	assert_int_equal(o.pid, getpid());
	assert_int_equal(gethostname(host, sizeof(host)), 0);
	assert_string_equal(o.host, host);
	assert_int_equal(strlen(o.boot_id), 36);
	assert_true(o.since > 1700000000);
	assert_true(o.this_host);
	store_unlock(l);
	assert_err(catalog_disk_owner(e->c, &e->d.uuid, &o), ENOENT);
}

static int
in_a_child(const char *dir, const struct uuid *uuid)
{
	struct store_lock *l;
	struct lock_owner o;
	struct catalog *c;
	struct store *st;

	if (store_posix_open(dir, &st) < 0 || catalog_open(st, &c) < 0)
		return 1;
	if (catalog_lock_disk(c, uuid, "/child", &l) != -EBUSY)
		return 2;
	if (catalog_disk_owner(c, uuid, &o) < 0 || o.pid != getppid() ||
	    !o.this_host || strcmp(o.mount_point, "/parent") != 0)
		return 3;
	if (catalog_remove(c, DESC_DISK, "a") != -EBUSY)
		return 4;
	catalog_close(c);
	store_free(st);
	return 0;
}

static void
another_process_sees_the_lock(void **state)
{
	struct env *e = *state;
	struct store_lock *l;
	int status;
	pid_t pid;

	create(e, "a");
	/* valgrind takes what SQLite keeps for leaks of the child. */
	kms_close(e->kms);
	e->kms = NULL;
	assert_ok(catalog_lock_disk(e->c, &e->d.uuid, "/parent", &l));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(in_a_child(e->store_dir, &e->d.uuid));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	store_unlock(l);
}

static void
paths_are_those_of_the_format(void **state)
{
	static const uint8_t salt[12] = { 0xaa, 0xbb, 0xcc, 0xdd, 0xee };
	struct uuid l = { { 1 } }, m = { { 2, 3, 4, 5, 6 } };
	struct layer_ref ref = { l, m };
	char p[STORE_PATH_LEN];

	(void)state;
	path_descriptor(DESC_DISK, NULL, "a", p);
	assert_string_equal(p, "disks/a.ini");
	path_descriptor(DESC_SNAPSHOT, "a", "s", p);
	assert_string_equal(p, "snapshots/a/s.ini");
	path_descriptor(DESC_IMAGE, "", "i", p);
	assert_string_equal(p, "images/i.ini");
	path_layer(&ref, "map", p);
	assert_string_equal(p, "lineages/01000000-0000-0000-0000-000000000000/"
			       "layers/02030405-0600-0000-0000-000000000000/"
			       "map");
	path_chunk(&l, 0x1dfffff, &m, salt, p);
	assert_string_equal(p, "lineages/01000000-0000-0000-0000-000000000000/"
			       "chunks/1dff/1dfffff-02030405-aabbccdd.chunk");
}

#define BOTH(name) T(name, setup_posix), T(name, setup_fault)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(only_an_empty_folder_becomes_a_store),
		T(a_store_of_another_format_is_not_opened, setup_fault),
		BOTH(a_disk_is_made_and_found_again),
		BOTH(any_good_name_can_be_used),
		T(bad_parameters_are_refused_before_anything_is_made,
		  setup_posix),
		BOTH(a_name_with_snapshots_is_taken),
		BOTH(a_disk_goes_by_its_new_name),
		BOTH(snapshots_go_along_with_their_disk),
		T(what_is_saved_is_loaded, setup_posix),
		T(swapped_and_moved_descriptors_are_refused, setup_posix),
		T(a_descriptor_of_another_store_is_refused, setup_posix),
		T(the_wrapped_dk_of_another_disk_opens_nothing, setup_posix),
		T(a_disabled_key_opens_no_disk, setup_posix),
		BOTH(a_disk_in_use_is_not_removed),
		BOTH(what_was_removed_is_counted_until_it_is_gone),
		BOTH(a_lock_says_who_holds_it),
		T(another_process_sees_the_lock, setup_posix),
		T(paths_are_those_of_the_format, setup_fault),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
