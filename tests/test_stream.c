/*
 * test_stream.c - snapshots and images from one store to another.
 *
 * What must not pass is in test_stream_bad.c, what a store does that fails in
 * test_stream_fault.c.
 */
#include "layer.h"
#include "stream_env.h"

#include <sealdisk/log.h>

static int
setup(void **state)
{
	(void)state;
	begin_stores(CIPHER_AES256_GCM);
	make_chain();
	return 0;
}

static int
setup_ocb(void **state)
{
	(void)state;
	begin_stores(CIPHER_AES256_OCB);
	make_chain();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	end_stores();
	return 0;
}

static void
pass(const char *what, const char *base, const char *name)
{
	send_it(what, base);
	assert_ok(try_receive(name));
	assert_int_equal(result.bytes, sent.len);
	assert_same_content(what, name);
}

static void
a_full_stream_reads_the_same(void **state)
{
	(void)state;
	pass("d@one", NULL, "e@1");
	assert_int_equal(result.layers, 1);
	assert_int_equal(result.chunks, 4);
	assert_string_equal(names_in(&to), "e@1 ");
	assert_int_equal(files_in(&to, "receiving"), 0);
}

static void
a_chain_comes_at_once_or_step_by_step(void **state)
{
	(void)state;
	pass("d@three", NULL, "e@3");
	assert_int_equal(result.layers, 3);
	empty_store();
	pass("d@one", NULL, "e@1");
	pass("d@two", "d@one", "e@2");
	assert_int_equal(result.layers, 1);
	pass("d@three", "d@two", "e@3");
	assert_same_content("d@one", "e@1");
	assert_same_content("d@two", "e@2");
	empty_store();
	pass("d@one", NULL, "e@1");
	pass("d@three", "d@one", "e@3");
	assert_int_equal(result.layers, 2);
}

static void
snapshots_become_images_and_images_travel(void **state)
{
	struct clone_params p = { .name = "i", .mode = 0600 };

	(void)state;
	pass("d@two", NULL, "golden");
	assert_string_equal(names_in(&to), "golden ");
	assert_ok(catalog_image(engine_catalog(from.e), from.kms, "d@two", &p));
	pass("i", NULL, "e@two");
	assert_int_equal(result.layers, 0);
	assert_int_equal(result.there, 2);
}

static void
layers_that_are_there_are_not_stored_again(void **state)
{
	uint64_t before;

	(void)state;
	pass("d@two", NULL, "e@2");
	before = files_in(&to, "lineages");
	pass("d@two", NULL, "e@again");
	assert_true(before == files_in(&to, "lineages"));
	pass("d@three", NULL, "e@3");
	assert_int_equal(result.layers, 1);
	assert_int_equal(result.there, 2);
	/* What it has in common with others stays when one of them goes. */
	assert_ok(catalog_remove(engine_catalog(to.e), DESC_SNAPSHOT, "e@2"));
	sweep(&to);
	assert_same_content("d@three", "e@3");
}

static void
what_was_received_can_be_cloned_written_and_sent_on(void **state)
{
	struct clone_params p = { .name = "c", .mode = 0600 };
	struct descriptor *d = malloc(sizeof(*d));
	struct engine_env swap;
	struct disk *disk;

	(void)state;
	pass("d@three", NULL, "e@3");
	assert_ok(catalog_clone(engine_catalog(to.e), to.kms, DESC_SNAPSHOT,
				"e@3", &p, d));
	free(d);
	assert_ok(disk_attach(to.e, DESC_DISK, "c", 0, &disk));
	fill_pattern(io, MiB, 77);
	assert_ok(disk_write(disk, to.s, io, MiB, 2 * MiB));
	assert_ok(disk_detach(disk));
	assert_same_content("d@three", "e@3");
	/* And back, with what is new alone. */
	swap = from;
	from = to;
	to = swap;
	snapshot("c", "back");
	pass("c@back", "e@3", "d@back");
	assert_int_equal(result.layers, 1);
	swap = from;
	from = to;
	to = swap;
}

static void
everything_goes_when_it_is_removed(void **state)
{
	(void)state;
	pass("d@three", NULL, "e@3");
	assert_ok(catalog_remove(engine_catalog(to.e), DESC_SNAPSHOT, "e@3"));
	sweep(&to);
	assert_int_equal(files_in(&to, "lineages"), 0);
	pass("d@three", NULL, "e@3");
}

static void
a_base_must_be_there(void **state)
{
	(void)state;
	send_it("d@two", "d@one");
	assert_err(try_receive("e@2"), ENOENT);
	assert_non_null(result.why);
	assert_string_equal(names_in(&to), "");
	assert_int_equal(files_in(&to, "lineages"), 0);
	assert_err(try_send("d@one", "d@two", NULL), EINVAL);
	assert_err(try_send("d@one", "d@one", NULL), EINVAL);
	assert_err(try_send("d@one", "d@none", NULL), ENOENT);
	assert_err(try_send("d@none", NULL, NULL), ENOENT);
	assert_err(try_send("none", NULL, NULL), ENOENT);
}

static void
a_name_that_is_taken_is_refused(void **state)
{
	(void)state;
	pass("d@one", NULL, "e@1");
	send_it("d@two", NULL);
	assert_err(try_receive("e@1"), EEXIST);
	assert_same_content("d@one", "e@1");
}

static void
the_right_to_use_the_key_is_needed(void **state)
{
	struct kms_key_info k;
	struct settings own;
	struct kms *kms = to.kms;
	bool made;

	(void)state;
	assert_ok(kms_create_key(from.kms, "", &k));
	eenv_create_with(&from, "x", MiB, k.id);
	change("x", 0, 64 * KiB, 1);
	snapshot("x", "s");
	send_it("x@s", NULL);
	assert_ok(kms_disable_key(from.kms, k.id));
	assert_err(try_receive("y@s"), EKEYREVOKED);
	/* Sending needs none. */
	send_it("x@s", NULL);
	assert_ok(kms_enable_key(from.kms, k.id));

	own = from.settings;
	(void)snprintf(own.keystore_path, sizeof(own.keystore_path),
		       "%s/other/keystore.db", from.dir);
	(void)snprintf(own.keystore_root_file, sizeof(own.keystore_root_file),
		       "%s/other/root.key", from.dir);
	assert_ok(kms_init(&own, &made));
	assert_ok(kms_open(&own, &to.kms));
	assert_err(try_receive("y@s"), ENOKEY);
	kms_close(to.kms);
	to.kms = kms;
	assert_string_equal(names_in(&to), "");
	assert_int_equal(files_in(&to, "lineages"), 0);
	assert_ok(try_receive("y@s"));
}

/* Removing takes the lock of what is being sent. */
static int
remove_meanwhile(void *arg, const void *buf, size_t len)
{
	(void)buf;
	(void)len;
	*(int *)arg =
	    catalog_remove(engine_catalog(from.e), DESC_SNAPSHOT, "d@one");
	return -EPIPE;
}

static void
what_is_being_sent_is_not_removed(void **state)
{
	int said = 0;
	struct stream_sink sink = { remove_meanwhile, NULL, &said };
	struct stream_name n = named("d@one");

	(void)state;
	assert_err(stream_send(engine_catalog(from.e), &n, NULL, NULL, &sink,
			       &result),
		   EPIPE);
	assert_int_equal(said, -EBUSY);
}

static void
what_was_just_removed_can_be_received_again(void **state)
{
	(void)state;
	pass("d@two", NULL, "e@2");
	pass("d@one", NULL, "e@1");
	/* Nobody has swept in between. */
	assert_ok(catalog_remove(engine_catalog(to.e), DESC_SNAPSHOT, "e@2"));
	pass("d@three", NULL, "e@3");
	assert_int_equal(result.there, 1);
	assert_same_content("d@one", "e@1");
}

/* A disk "own" above d@one under a DK of its own: another lineage. */
static void
clone_own_key(void)
{
	struct descriptor *d = malloc(sizeof(*d));
	struct layer_meta m = { .has_parent = true, .created = 1 };
	struct key old, dk;
	const struct key *dks[] = { &dk };
	struct desc_key *k;

	assert_non_null(d);
	assert_ok(catalog_load_verified(engine_catalog(from.e), from.kms,
					DESC_SNAPSHOT, "d@one", d, &old));
	m.parent = d->layer;
	m.parent_limit = m.size = d->size;
	k = &d->keys[d->n_keys++];
	assert_ok(uuid_new(&m.uuid));
	assert_ok(uuid_new(&m.lineage));
	assert_ok(uuid_new(&m.key));
	assert_ok(uuid_new(&d->uuid));
	k->uuid = m.key;
	assert_ok(kms_generate_data_key(from.kms, KMS_SERVICE_ALIAS, &m.lineage,
					&k->dk, &dk));
	assert_ok(layer_create(from.st, &m, &dk));
	d->type = DESC_DISK;
	d->of[0] = '\0';
	strcpy(d->name, "own");
	d->lineage = d->layer.lineage = m.lineage;
	d->layer.layer = m.uuid;
	d->key = m.key;
	assert_ok(catalog_add(engine_catalog(from.e), d, dks, 1));
	free(d);
}

static void
layers_of_several_lineages_travel_together(void **state)
{
	struct stream_name n = named("o@s");
	char token[STREAM_TOKEN_LEN];
	uint64_t before;

	(void)state;
	clone_own_key();
	change("own", 2 * MiB, 3 * MiB, 9);
	snapshot("own", "s");
	pass("own@s", NULL, "o@s");
	assert_int_equal(result.layers, 2);
	assert_ok(catalog_remove(engine_catalog(to.e), DESC_SNAPSHOT, "o@s"));
	sweep(&to);
	assert_int_equal(files_in(&to, "lineages"), 0);

	send_it("own@s", NULL);
	sent.limit -= MiB;
	assert_err(try_receive("o@s"), ENODATA);
	sweep(&to);
	assert_ok(stream_token(engine_catalog(to.e), &n, token));
	assert_ok(try_send("own@s", NULL, token));
	assert_ok(try_receive("o@s"));
	assert_same_content("own@s", "o@s");
	empty_store();

	pass("d@one", NULL, "e@1");
	before = files_in(&to, "lineages");
	pass("own@s", "d@one", "o@s");
	assert_int_equal(result.layers, 1);
	assert_ok(catalog_remove(engine_catalog(to.e), DESC_SNAPSHOT, "o@s"));
	sweep(&to);
	assert_true(before == files_in(&to, "lineages"));
	assert_same_content("d@one", "e@1");
}

/* A chunk of index 0 that is not ${arg}. */
static int
find_chunk(const char *name, bool is_dir, void *arg)
{
	char *found = arg;

	if (is_dir || strncmp(name, "0000000-", 8) != 0 ||
	    strcmp(name, found) == 0)
		return 0;
	strcpy(found, name);
	return 1;
}

static int
find_folder(const char *name, bool is_dir, void *arg)
{
	(void)is_dir;
	(void)snprintf(arg, STORE_PATH_LEN, "lineages/%s/chunks/0000", name);
	return 1;
}

/* As where the layer that it came with has been merged into another, on the
 * sending side alone. */
static void
a_chunk_that_is_here_under_another_layer_does_not_come_twice(void **state)
{
	char folder[STORE_PATH_LEN], chunk[64] = "", name[64];
	char path[STORE_PATH_LEN + 64];
	struct store_file *f;

	(void)state;
	pass("d@one", NULL, "e@1");
	assert_int_equal(
	    to.st->ops->list(to.st, "lineages", find_folder, folder), 1);
	assert_int_equal(to.st->ops->list(to.st, folder, find_chunk, chunk), 1);
	assert_int_equal(from.st->ops->list(from.st, folder, find_chunk, chunk),
			 1);
	strcpy(name, chunk);
	memcpy(name + 8, "00c0ffee", 8);
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_ok(to.st->ops->create(to.st, path, &f));
	store_close(f);
	send_it("d@three", "d@one");
	assert_err(try_receive("e@3"), EEXIST);
	assert_non_null(result.why);
	assert_string_equal(names_in(&to), "e@1 ");
	assert_ok(to.st->ops->remove(to.st, path));
	sweep(&to);
	assert_same_content("d@one", "e@1");
	assert_ok(try_receive("e@3"));
	assert_same_content("d@three", "e@3");
}

/* Bytes of every page's second copy, as a crash could leave them. */
static int
spoil_chunks(const char *name, bool is_dir, void *arg)
{
	char path[2 * STORE_PATH_LEN];
	struct store_file *f;

	(void)snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
	if (is_dir)
		return from.st->ops->list(from.st, path, spoil_chunks, path);
	assert_ok(from.st->ops->open(from.st, path, true, &f));
	for (unsigned i = 0; i < 8; i++)
		assert_ok(f->st->ops->write(f, "torn", 4,
					    4096 + 32768 + i * 4096 + 1000));
	store_close(f);
	return 0;
}

static int
spoil_lineage(const char *name, bool is_dir, void *arg)
{
	char path[STORE_PATH_LEN];

	(void)is_dir;
	(void)arg;
	(void)snprintf(path, sizeof(path), "lineages/%s/chunks", name);
	return from.st->ops->list(from.st, path, spoil_chunks, path);
}

static void
a_copy_that_is_torn_is_done_without(void **state)
{
	(void)state;
	assert_ok(from.st->ops->list(from.st, "lineages", spoil_lineage, NULL));
	pass("d@three", NULL, "e@3");
}

#define T(name, setup)                                                         \
	{                                                                      \
#name " (" #setup ")", name, setup, teardown, NULL             \
	}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_full_stream_reads_the_same, setup),
		T(a_full_stream_reads_the_same, setup_ocb),
		T(a_chain_comes_at_once_or_step_by_step, setup),
		T(a_chain_comes_at_once_or_step_by_step, setup_ocb),
		T(snapshots_become_images_and_images_travel, setup),
		T(layers_that_are_there_are_not_stored_again, setup),
		T(what_was_received_can_be_cloned_written_and_sent_on, setup),
		T(everything_goes_when_it_is_removed, setup),
		T(a_base_must_be_there, setup),
		T(a_name_that_is_taken_is_refused, setup),
		T(the_right_to_use_the_key_is_needed, setup),
		T(what_is_being_sent_is_not_removed, setup),
		T(layers_of_several_lineages_travel_together, setup),
		T(what_was_just_removed_can_be_received_again, setup),
		T(a_chunk_that_is_here_under_another_layer_does_not_come_twice,
		  setup),
		T(a_copy_that_is_torn_is_done_without, setup),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
