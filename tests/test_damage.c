/*
 * test_damage.c - maps, layers, descriptors and store.ini that somebody has
 * changed, taken away or exchanged, and keys that are not to be had: each with
 * its error, without a write to what is there, and without harm to other disks.
 */
#include "damage_env.h"

static char path[STORE_PATH_LEN], other[STORE_PATH_LEN];

static bool
in_any_chunk(uint64_t b)
{
	return b / CHUNK_BLOCKS < 128; /* as one map page has */
}

/* Disk a cannot be attached, which changes nothing; disk b is well. */
static void
check_refused(int err)
{
	struct disk *d;
	size_t len;
	char *before = raw_load("disks/a.ini", &len);

	assert_err(disk_attach(env.e, DESC_DISK, "a", 0, &d), err);
	assert_true(raw_same("disks/a.ini", before, len));
	free(before);
	check_whole("b");
}

/* The same, where the descriptor itself is well: the attach got so far as to
 * begin a session. */
static void
check_refused_late(int err)
{
	struct disk *d;

	assert_err(disk_attach(env.e, DESC_DISK, "a", 0, &d), err);
	check_whole("b");
}

/* ---- maps ---- */

static void
a_map_that_is_gone_is_not_an_empty_one(void **state)
{
	(void)state;
	layer_path("a", "map", path);
	raw_remove(path);
	check_refused_late(EUCLEAN);
}

static void
a_map_that_is_cut_is_not_an_empty_one(void **state)
{
	(void)state;
	layer_path("a", "map", path);
	raw_cut(path, 0);
	check_refused_late(EBADMSG);
	raw_cut(path, MAP_PAGES_AT);
	check_refused_late(EBADMSG);
}

static void
a_map_full_of_zeros_is_not_an_empty_one(void **state)
{
	(void)state;
	layer_path("a", "map", path);
	raw_destroy(path, 0, MAP_PAGES_AT);
	check_refused_late(EBADMSG);
}

static void
a_map_of_another_disk_is_refused(void **state)
{
	(void)state;
	layer_path("a", "map", path);
	layer_path("b", "map", other);
	raw_copy(other, path);
	check_refused_late(EBADMSG);
}

/* ${at}: of a page that has two copies in the map. */
static void
check_one_copy(uint64_t at, unsigned n)
{
	uint8_t one[PAGE_LEN], two[PAGE_LEN];

	for (unsigned copy = 0; copy < 2; copy++) {
		struct disk *d;

		raw_destroy(path, at + page_offset(n, copy), PAGE_LEN);
		d = attach("a");
		check_blocks(d, 'a', none, 0);
		assert_int_equal(repairs(d), 1);
		assert_int_equal(faults(d), 0);
		assert_ok(disk_detach(d));
		raw_read(path, one, PAGE_LEN, at + page_offset(n, 0));
		raw_read(path, two, PAGE_LEN, at + page_offset(n, 1));
		assert_memory_equal(one, two, PAGE_LEN);
		check_whole("a");
	}
}

static void
one_copy_of_a_root_page_serves_and_restores_the_other(void **state)
{
	(void)state;
	layer_path("a", "map", path);
	check_one_copy(0, 0);
	check_one_copy(0, 7);
}

static void
without_both_copies_of_a_root_page_there_is_no_disk(void **state)
{
	(void)state;
	layer_path("a", "map", path);
	raw_destroy(path, page_offset(7, 0), PAGE_LEN);
	raw_flip(path, page_offset(7, 1) + 2000, 5);
	check_refused_late(EBADMSG);
}

static void
one_copy_of_a_map_page_serves_and_restores_the_other(void **state)
{
	(void)state;
	layer_path("a", "map", path);
	check_one_copy(MAP_PAGES_AT, 0);
}

static void
without_both_copies_of_a_map_page_its_chunks_are_lost(void **state)
{
	struct disk *d;

	(void)state;
	layer_path("a", "map", path);
	raw_destroy(path, MAP_PAGES_AT + page_offset(0, 0), PAGE_LEN);
	raw_flip(path, MAP_PAGES_AT + page_offset(0, 1) + 100, 1);
	d = attach("a");
	check_blocks(d, 'a', in_any_chunk, EBADMSG);
	assert_true(faults(d) > 0);
	assert_err(put_block(d, 'a', 0), EBADMSG);
	assert_ok(disk_detach(d));
	check_whole("b");
}

/* ---- layer.ini ---- */

static void
a_layer_without_its_ini_is_refused(void **state)
{
	(void)state;
	layer_path("a", "layer.ini", path);
	raw_remove(path);
	check_refused_late(EUCLEAN);
}

static void
a_layer_with_the_ini_of_another_is_refused(void **state)
{
	(void)state;
	layer_path("a", "layer.ini", path);
	layer_path("b", "layer.ini", other);
	raw_copy(other, path);
	check_refused_late(EBADMSG);
}

/* Replace a text by another of the same length, once. */
static void
edit(const char *file, const char *from, const char *to)
{
	size_t len;
	char *buf = raw_load(file, &len), *at = strstr(buf, from);

	assert_non_null(at);
	assert_int_equal(strlen(from), strlen(to));
	memcpy(at, to, strlen(to));
	raw_save(file, buf, len);
	free(buf);
}

static void
a_layer_that_was_edited_is_refused(void **state)
{
	(void)state;
	layer_path("a", "layer.ini", path);
	edit(path, "\nstate = open", "\nstate = Open");
	check_refused_late(EUCLEAN);
	edit(path, "\nstate = Open", "\nstate = open");
	check_whole("b");
	edit(path, "\ncreated = 2", "\ncreated = 1");
	check_refused_late(EBADMSG);
}

/* ---- descriptors ---- */

static void
two_descriptors_swapped_are_both_refused(void **state)
{
	struct disk *d;

	(void)state;
	raw_swap("disks/a.ini", "disks/b.ini");
	assert_err(disk_attach(env.e, DESC_DISK, "a", 0, &d), EUCLEAN);
	assert_err(disk_attach(env.e, DESC_DISK, "b", 0, &d), EUCLEAN);
	raw_swap("disks/a.ini", "disks/b.ini");
	check_whole("a");
	check_whole("b");
}

/* The name is under the MAC: to correct it does not help. */
static void
a_descriptor_under_another_name_is_refused_with_any_text(void **state)
{
	(void)state;
	raw_copy("disks/b.ini", "disks/a.ini");
	check_refused(EUCLEAN);
	edit("disks/a.ini", "\nname = b\n", "\nname = a\n");
	check_refused(EBADMSG);
}

static void
a_descriptor_that_was_edited_is_refused(void **state)
{
	(void)state;
	edit("disks/a.ini", "\nsize = 20971520\n", "\nsize = 20971008\n");
	check_refused(EBADMSG);
	edit("disks/a.ini", "\nsize = 20971008\n", "\nsize = 20971520\n");
	check_whole("a");
	edit("disks/a.ini", "\nclean = yes\n", "\nclean = YES\n");
	check_refused(EUCLEAN);
}

static void
a_descriptor_of_another_store_is_refused(void **state)
{
	struct store_meta m = { .created = 1, .cipher = CIPHER_AES256_GCM };
	char *text;

	(void)state;
	assert_ok(uuid_new(&m.uuid));
	assert_ok(store_meta_format(&m, &text));
	raw_save("store.ini", text, strlen(text));
	free(text);
	eenv_reopen(&env);
	for (const char *name = "a"; name; name = *name == 'a' ? "b" : NULL) {
		struct disk *d;

		assert_err(disk_attach(env.e, DESC_DISK, name, 0, &d), EUCLEAN);
	}
}

static void
a_descriptor_of_a_newer_format_is_refused(void **state)
{
	(void)state;
	edit("disks/a.ini", "\nformat = 1\n", "\nformat = 2\n");
	check_refused(EPROTONOSUPPORT);
	edit("disks/a.ini", "\nformat = 2\n", "\nformat = 1\n");
	check_whole("a");
}

static void
save_with_bits(uint64_t incompat, uint64_t ro_compat, uint64_t compat)
{
	struct descriptor *d = malloc(sizeof(*d));
	char *text;
	struct key dk;

	assert_non_null(d);
	load_descriptor("a", d, &dk);
	d->incompat = incompat;
	d->ro_compat = ro_compat;
	d->compat = compat;
	/* As a program does that knows the bits. */
	if (descriptor_format(d, &dk, &text) == 0) {
		raw_save("disks/a.ini", text, strlen(text));
		free(text);
	} else {
		edit("disks/a.ini", "\nincompat = 0\n", "\nincompat = 1\n");
	}
	free(d);
}

static void
an_unknown_bit_of_incompat_refuses(void **state)
{
	(void)state;
	save_with_bits(1, 0, 0);
	check_refused(EPROTONOSUPPORT);
}

static void
an_unknown_bit_of_ro_compat_makes_read_only(void **state)
{
	struct disk *d;

	(void)state;
	save_with_bits(0, 1ULL << 40, 0);
	d = attach("a");
	check_blocks(d, 'a', none, 0);
	assert_err(put_block(d, 'a', 0), EROFS);
	assert_err(disk_zero(d, env.s, 0, BLOCK_SIZE), EROFS);
	assert_err(disk_resize(d, env.s, DISK_BYTES * 2), EROFS);
	assert_ok(disk_flush(d));
	assert_ok(disk_detach(d));
	check_whole("b");
}

static void
an_unknown_bit_of_compat_is_kept(void **state)
{
	struct descriptor *d = malloc(sizeof(*d));
	struct key dk;

	(void)state;
	assert_non_null(d);
	save_with_bits(0, 0, 1ULL << 63);
	check_whole("a");
	load_descriptor("a", d, &dk);
	assert_true(d->compat == 1ULL << 63);
	free(d);
}

/* ---- store.ini ---- */

static void
a_store_of_a_newer_format_is_not_opened(void **state)
{
	struct engine *e;

	(void)state;
	edit("store.ini", "format = 1\n", "format = 2\n");
	assert_err(engine_open(env.st, env.kms, &env.opt, &e), EPROTONOSUPPORT);
	edit("store.ini", "format = 2\n", "format = x\n");
	assert_err(engine_open(env.st, env.kms, &env.opt, &e), EUCLEAN);
	raw_remove("store.ini");
	assert_err(engine_open(env.st, env.kms, &env.opt, &e), ENOENT);
}

/* ---- keys ---- */

/* Another keystore, with another root, both made where they are not. */
static struct settings
wrong_settings(void)
{
	struct settings s = env.settings;
	bool made;

	(void)snprintf(s.keystore_path, sizeof(s.keystore_path),
		       "%s/wrong/keystore.db", env.dir);
	(void)snprintf(s.keystore_root_file, sizeof(s.keystore_root_file),
		       "%s/wrong/root.key", env.dir);
	assert_ok(kms_init(&s, &made));
	return s;
}

static void
a_disk_under_another_keystore_is_refused(void **state)
{
	struct settings s = wrong_settings();
	struct kms *right = env.kms, *wrong;
	struct disk *d;
	size_t len;
	char *before = raw_load("disks/a.ini", &len);

	(void)state;
	assert_ok(kms_open(&s, &wrong));
	engine_close(env.e);
	env.kms = wrong;
	eenv_open(&env);
	assert_err(disk_attach(env.e, DESC_DISK, "a", 0, &d), ENOKEY);
	assert_true(raw_same("disks/a.ini", before, len));
	free(before);
	engine_close(env.e);
	kms_close(wrong);
	env.kms = right;
	eenv_open(&env);
	check_whole("a");
	check_whole("b");
}

static void
a_keystore_does_not_open_under_another_root(void **state)
{
	struct settings s = wrong_settings();
	struct kms *k;

	(void)state;
	strcpy(s.keystore_path, env.settings.keystore_path);
	assert_err(kms_open(&s, &k), EKEYREJECTED);
}

static void
a_disabled_key_refuses_its_disks_alone(void **state)
{
	struct kms_key_info info;
	struct disk *d, *open;

	(void)state;
	assert_ok(kms_create_key(env.kms, "of disk c", &info));
	eenv_create_with(&env, "c", DISK_BYTES, info.id);
	fill_disk("c");
	open = attach("c");
	assert_ok(kms_disable_key(env.kms, info.id));

	/* Who has it goes on: keys are asked for at attach alone. */
	check_blocks(open, 'c', none, 0);
	assert_ok(disk_detach(open));
	assert_err(disk_attach(env.e, DESC_DISK, "c", 0, &d), EKEYREVOKED);
	check_whole("a");
	assert_ok(kms_enable_key(env.kms, info.id));
	check_whole("c");
}

/* The wrapped DK lies outside the MAC, and is bound to its lineage. */
static void
a_wrapped_key_of_another_disk_is_refused(void **state)
{
	size_t la, lb;
	char *a = raw_load("disks/a.ini", &la);
	char *b = raw_load("disks/b.ini", &lb);
	char *pa = strstr(a, "\nwrapped_dk = "), *end;
	char *pb = strstr(b, "\nwrapped_dk = ");

	(void)state;
	assert_non_null(pa);
	assert_non_null(pb);
	end = strchr(pa + 1, '\n');
	assert_non_null(end);
	memcpy(pa, pb, (size_t)(end - pa));
	raw_save("disks/a.ini", a, la);
	check_refused(EKEYREJECTED);
	free(a);
	free(b);
}

/* ---- one writer ---- */

static void
a_disk_is_attached_once(void **state)
{
	struct disk *d = attach("a"), *again;
	struct engine *e;

	(void)state;
	assert_err(disk_attach(env.e, DESC_DISK, "a", 0, &again), EBUSY);
	assert_ok(engine_open(env.st, env.kms, &env.opt, &e));
	assert_err(disk_attach(e, DESC_DISK, "a", 0, &again), EBUSY);
	assert_ok(disk_attach(e, DESC_DISK, "b", 0, &again));
	assert_ok(disk_detach(again));
	engine_close(e);
	check_blocks(d, 'a', none, 0);
	assert_ok(disk_detach(d));
	check_whole("a");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_map_that_is_gone_is_not_an_empty_one),
		T(a_map_that_is_cut_is_not_an_empty_one),
		T(a_map_full_of_zeros_is_not_an_empty_one),
		T(a_map_of_another_disk_is_refused),
		T(one_copy_of_a_root_page_serves_and_restores_the_other),
		T(without_both_copies_of_a_root_page_there_is_no_disk),
		T(one_copy_of_a_map_page_serves_and_restores_the_other),
		T(without_both_copies_of_a_map_page_its_chunks_are_lost),
		T(a_layer_without_its_ini_is_refused),
		T(a_layer_with_the_ini_of_another_is_refused),
		T(a_layer_that_was_edited_is_refused),
		T(two_descriptors_swapped_are_both_refused),
		T(a_descriptor_under_another_name_is_refused_with_any_text),
		T(a_descriptor_that_was_edited_is_refused),
		T(a_descriptor_of_another_store_is_refused),
		T(a_descriptor_of_a_newer_format_is_refused),
		T(an_unknown_bit_of_incompat_refuses),
		T(an_unknown_bit_of_ro_compat_makes_read_only),
		T(an_unknown_bit_of_compat_is_kept),
		T(a_store_of_a_newer_format_is_not_opened),
		T(a_disk_under_another_keystore_is_refused),
		T(a_keystore_does_not_open_under_another_root),
		T(a_disabled_key_refuses_its_disks_alone),
		T(a_wrapped_key_of_another_disk_is_refused),
		T(a_disk_is_attached_once),
	};

	return run_group(tests, sizeof(tests) / sizeof(tests[0]));
}
