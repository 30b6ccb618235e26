/*
 * test_rebuild.c - a descriptor that is lost is made anew of its spare copy,
 * with all that the disk holds; one that was removed is not, and no wrapped key
 * stays where it should not.
 */
#include "damage_env.h"
#include "fault_kms.h"

#include "rebuild.h"
#include "repair.h"
#include "rewrap.h"
#include "snapshot.h"

struct found {
	unsigned n[CHECK_NWHAT], made, removed;
	int err;
	char last[STORE_PATH_LEN];
};

static void
on_found(const struct check_finding *f, void *arg)
{
	struct found *fd = arg;

	fd->n[f->what]++;
	fd->made += f->made;
	fd->removed += f->removed;
	fd->err = f->err;
	strcpy(fd->last, f->path);
}

static struct found
rebuild(bool repair)
{
	struct found fd = { .made = 0 };
	struct check_options o = { repair, on_found, &fd, false };

	assert_ok(catalog_rebuild(engine_catalog(env.e), env.kms, NULL, &o));
	return fd;
}

/* All is made anew that is said to be lost, and nothing else is. */
static void
rebuild_one(void)
{
	struct found fd = rebuild(true);

	assert_int_equal(fd.err, 0);
	assert_int_equal(fd.n[CHECK_LOST], 1);
	assert_int_equal(fd.made, 1);
	fd = rebuild(true);
	for (unsigned i = 0; i < CHECK_NWHAT; i++)
		assert_int_equal(fd.n[i], 0);
}

static struct descriptor *
describe(enum desc_type type, const char *name)
{
	struct descriptor *d = malloc(sizeof(*d));

	assert_non_null(d);
	assert_ok(
	    catalog_load(engine_catalog(env.e), type, name, d, NULL, NULL));
	return d;
}

static void
spare_path(enum desc_type type, const char *name,
	   char out[static STORE_PATH_LEN])
{
	struct descriptor *d = describe(type, name);
	char u[UUID_STR_LEN];

	uuid_format(&d->uuid, u);
	(void)snprintf(out, STORE_PATH_LEN, "spares/%s.ini", u);
	free(d);
}

static unsigned
count_one(const char *name, bool is_dir, unsigned *n)
{
	(void)is_dir;
	*n += strcmp(name, "store.ini") != 0;
	return 0;
}

static int
on_name(const char *name, bool is_dir, void *arg)
{
	return (int)count_one(name, is_dir, arg);
}

static unsigned
count_spares(void)
{
	unsigned n = 0;

	assert_ok(env.st->ops->list(env.st, "spares", on_name, &n));
	return n;
}

static void
snapshot(struct disk *d, enum desc_type type, const char *name)
{
	struct snapshot_request q = { d, type, name };

	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
}

/* ---- disks ---- */

static void
a_lost_descriptor_is_made_anew(void **state)
{
	struct descriptor *d;
	struct found fd;

	(void)state;
	raw_remove("disks/a.ini");
	fd = rebuild(false);
	assert_int_equal(fd.n[CHECK_LOST], 1);
	assert_string_equal(fd.last, "disks/a.ini");
	assert_int_equal(fd.made, 0);
	rebuild_one();
	d = describe(DESC_DISK, "a");
	assert_true(d->rebuilt > 0);
	assert_false(digest_is_none(d->digest));
	free(d);
	check_whole("a");
	check_whole("b");
	d = describe(DESC_DISK, "b");
	assert_true(d->rebuilt == 0);
	free(d);
}

static void
so_is_one_that_cannot_be_read(void **state)
{
	(void)state;
	raw_save("disks/a.ini", "[disk]\n", 7);
	rebuild_one();
	check_whole("a");
}

static void
so_is_one_that_does_not_verify(void **state)
{
	size_t len;
	char *text = raw_load("disks/a.ini", &len);

	(void)state;
	*strstr(text, "20971520") = '1';
	raw_save("disks/a.ini", text, len);
	free(text);
	rebuild_one();
	check_whole("a");
}

static void
so_are_two_that_were_exchanged(void **state)
{
	struct found fd;

	(void)state;
	raw_swap("disks/a.ini", "disks/b.ini");
	fd = rebuild(true);
	assert_int_equal(fd.made, 2);
	check_whole("a");
	check_whole("b");
}

/* What was written after the spare copy was made is there, and newer than what
 * was there before: written again, it stays so. */
static void
what_it_did_since_is_kept(void **state)
{
	uint8_t buf[BLOCK_SIZE] = { 1 }, got[BLOCK_SIZE];
	struct disk *d;

	(void)state;
	for (uint8_t i = 0; i < 5; i++) {
		buf[0] = i;
		d = attach("a");
		assert_ok(disk_write(d, env.s, buf, sizeof(buf), 0));
		assert_ok(disk_flush(d));
		if (i % 2)
			assert_ok(disk_detach(d));
		else
			disk_abandon(d);
		raw_remove("disks/a.ini");
		rebuild_one();
		d = attach("a");
		assert_ok(disk_read(d, env.s, got, sizeof(got), 0));
		assert_memory_equal(got, buf, sizeof(buf));
		assert_ok(disk_detach(d));
	}
}

static void
its_size_and_name_are_those_of_the_last_change(void **state)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct descriptor *desc = malloc(sizeof(*desc));
	struct disk *d = attach("a");

	(void)state;
	assert_non_null(desc);
	assert_ok(disk_resize(d, env.s, 2 * DISK_BYTES));
	assert_ok(disk_detach(d));
	load_descriptor("a", desc, &dk);
	assert_ok(catalog_rename(engine_catalog(env.e), desc, &dk, "z"));
	raw_remove("disks/z.ini");
	rebuild_one();
	d = attach("z");
	assert_true(disk_size(d) == 2 * DISK_BYTES);
	check_blocks(d, 'a', none, 0);
	assert_ok(disk_detach(d));
	free(desc);
}

/* Grown by a write, which does not wait for it. */
static void
so_is_a_size_that_a_write_has_grown(void **state)
{
	uint8_t buf[BLOCK_SIZE] = { 5 };
	struct disk *d = attach("a");

	(void)state;
	assert_ok(disk_write(d, env.s, buf, sizeof(buf), 2 * DISK_BYTES));
	assert_ok(disk_background(d));
	disk_abandon(d);
	raw_remove("disks/a.ini");
	rebuild_one();
	d = attach("a");
	assert_true(disk_size(d) == 2 * DISK_BYTES + sizeof(buf));
	assert_ok(disk_detach(d));
}

static void
a_name_that_is_taken_is_left_alone(void **state)
{
	struct descriptor *d = describe(DESC_DISK, "a");
	char name[16] = "a-";
	struct disk *disk;

	(void)state;
	hex_encode(d->uuid.bytes, 4, name + 2);
	free(d);
	raw_remove("disks/a.ini");
	eenv_create(&env, "a", DISK_BYTES);
	rebuild_one();
	check_whole("b");
	disk = attach(name);
	check_blocks(disk, 'a', none, 0);
	assert_ok(disk_detach(disk));
}

static void
what_is_attached_is_not_touched(void **state)
{
	struct disk *d = attach("a");
	struct found fd;

	(void)state;
	raw_remove("disks/a.ini");
	fd = rebuild(true);
	assert_int_equal(fd.err, -EBUSY);
	assert_int_equal(fd.made, 0);
	assert_ok(disk_detach(d));
	check_whole("a");
}

/* ---- what it is made of is not believed ---- */

static void
a_spare_copy_that_was_changed_is_not_used(void **state)
{
	char path[STORE_PATH_LEN], other[STORE_PATH_LEN], *text;
	struct found fd;
	size_t len;

	(void)state;
	spare_path(DESC_DISK, "a", path);
	spare_path(DESC_DISK, "b", other);
	raw_remove("disks/a.ini");
	text = raw_load(path, &len);
	for (size_t at = 0; at < len; at += 7) {
		char was = text[at];

		text[at] ^= 1;
		raw_save(path, text, len);
		fd = rebuild(true);
		/* What wraps it may be another name of the same key. */
		if (fd.made)
			fail_msg("made of what was changed at %zu", at);
		assert_int_equal(fd.n[CHECK_LOST], 1);
		assert_true(fd.err < 0);
		text[at] = was;
	}
	raw_copy(other, path);
	assert_int_equal(rebuild(true).made, 0);
	raw_save(path, text, len);
	free(text);
	rebuild_one();
	check_whole("a");
}

/* Put back with the spare copy, but not with what it names. */
static void
what_was_put_back_is_found_as_before(void **state)
{
	char chunk[STORE_PATH_LEN], spare[STORE_PATH_LEN], *was, *text;
	uint8_t buf[BLOCK_SIZE] = { 9 };
	size_t len, text_len;
	struct disk *d;

	(void)state;
	chunk_path("a", 1, chunk);
	spare_path(DESC_DISK, "a", spare);
	was = raw_load(chunk, &len);
	text = raw_load(spare, &text_len);
	d = attach("a");
	assert_ok(disk_write(d, env.s, buf, sizeof(buf), CHUNK_BYTES));
	assert_ok(disk_detach(d));
	raw_save(chunk, was, len);
	raw_save(spare, text, text_len);
	raw_remove("disks/a.ini");
	rebuild_one();
	d = attach("a");
	assert_err(disk_read(d, env.s, buf, sizeof(buf), CHUNK_BYTES), EBADMSG);
	assert_true(faults(d) > 0);
	disk_abandon(d);
	free(was);
	free(text);
}

static int
set_anchor(struct descriptor *d, void *arg)
{
	(void)arg;
	strcpy(d->anchor, "kms");
	return 0;
}

static void
with_an_anchor_it_is_what_the_key_service_knows(void **state)
{
	struct disk *d = attach("a");

	(void)state;
	assert_ok(disk_update(d, set_anchor, NULL));
	assert_ok(disk_detach(d));
	raw_remove("disks/a.ini");
	rebuild_one();
	check_whole("a");
	/* And after a stop that was not clean. */
	disk_abandon(attach("a"));
	raw_remove("disks/a.ini");
	rebuild_one();
	check_whole("a");
}

static void
with_an_anchor_it_cannot_hide_that_all_was_put_back(void **state)
{
	char digests[STORE_PATH_LEN], spare[STORE_PATH_LEN], *was[2];
	size_t len[2];
	struct disk *d = attach("a");

	(void)state;
	assert_ok(disk_update(d, set_anchor, NULL));
	assert_ok(disk_detach(d));
	layer_path("a", "digests", digests);
	spare_path(DESC_DISK, "a", spare);
	was[0] = raw_load(digests, &len[0]);
	was[1] = raw_load(spare, &len[1]);
	d = attach("a");
	assert_ok(put_block(d, 'a', 0));
	assert_ok(disk_detach(d));
	raw_save(digests, was[0], len[0]);
	raw_save(spare, was[1], len[1]);
	raw_remove("disks/a.ini");
	rebuild_one();
	assert_err(disk_attach(env.e, DESC_DISK, "a", 0, &d), ESTALE);
	assert_ok(disk_attach(env.e, DESC_DISK, "a", DISK_ACCEPT_ROLLBACK, &d));
	assert_ok(disk_detach(d));
	assert_ok(disk_attach(env.e, DESC_DISK, "a", 0, &d));
	assert_ok(disk_detach(d));
	free(was[0]);
	free(was[1]);
}

/* ---- snapshots, images, clones ---- */

static void
what_is_frozen_is_made_anew_too(void **state)
{
	const atomic_bool stop = false;
	struct descriptor *d;
	struct disk *a = attach("a");

	(void)state;
	snapshot(a, DESC_SNAPSHOT, "s");
	snapshot(a, DESC_IMAGE, "i");
	assert_ok(disk_detach(a));
	engine_sweep(env.e, &stop);
	for (unsigned i = 0; i < 2; i++) {
		enum desc_type type = i ? DESC_IMAGE : DESC_SNAPSHOT;
		const char *name = i ? "i" : "a@s";

		raw_remove(i ? "images/i.ini" : "snapshots/a/s.ini");
		rebuild_one();
		d = describe(type, name);
		assert_false(digest_is_none(d->digest));
		free(d);
		assert_ok(disk_attach(env.e, type, name, 0, &a));
		check_blocks(a, 'a', none, 0);
		assert_ok(disk_detach(a));
	}
	check_whole("a");
}

/* The disk has another name by now; so has its folder of snapshots. */
static void
a_snapshot_finds_its_disk(void **state)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct descriptor *desc = malloc(sizeof(*desc));
	struct disk *a;

	(void)state;
	assert_non_null(desc);
	load_descriptor("a", desc, &dk);
	desc->created -= 100;
	assert_ok(catalog_save(engine_catalog(env.e), desc, &dk));
	a = attach("a");
	snapshot(a, DESC_SNAPSHOT, "s");
	assert_ok(disk_detach(a));
	load_descriptor("a", desc, &dk);
	assert_ok(catalog_rename(engine_catalog(env.e), desc, &dk, "z"));
	free(desc);
	raw_remove("snapshots/z/s.ini");
	rebuild_one();
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "z@s", 0, &a));
	check_blocks(a, 'a', none, 0);
	assert_ok(disk_detach(a));
}

/* A snapshot that is cut off leaves one that names the layer below. */
static void
an_older_spare_copy_finds_the_layer_on_top(void **state)
{
	char spare[STORE_PATH_LEN], *was, *text;
	uint8_t buf[BLOCK_SIZE] = { 3 }, got[BLOCK_SIZE];
	struct disk *d = attach("a");
	size_t len, was_len;

	(void)state;
	spare_path(DESC_DISK, "a", spare);
	was = raw_load(spare, &was_len);
	snapshot(d, DESC_SNAPSHOT, "s");
	assert_false(raw_same(spare, was, was_len));
	snapshot(d, DESC_SNAPSHOT, "t");
	assert_ok(disk_write(d, env.s, buf, sizeof(buf), 0));
	assert_ok(disk_flush(d));
	disk_abandon(d);
	for (unsigned gone = 0; gone < 2; gone++) {
		raw_save(spare, was, was_len);
		text = raw_load("disks/a.ini", &len);
		*strstr(text, "20971520") = '1';
		raw_save("disks/a.ini", text, len);
		free(text);
		if (gone)
			raw_remove("disks/a.ini");
		rebuild_one();
		d = attach("a");
		assert_ok(disk_read(d, env.s, got, sizeof(got), 0));
		assert_memory_equal(got, buf, sizeof(buf));
		assert_ok(disk_detach(d));
	}
	free(was);
}

/* A layer above that cannot be read may be the one. */
static void
without_it_no_older_one_is_taken(void **state)
{
	char spare[STORE_PATH_LEN], ini[STORE_PATH_LEN], *was, *text;
	struct disk *d = attach("a");
	size_t was_len, len;
	struct found fd;

	(void)state;
	spare_path(DESC_DISK, "a", spare);
	was = raw_load(spare, &was_len);
	snapshot(d, DESC_SNAPSHOT, "s");
	assert_ok(disk_detach(d));
	layer_path("a", "layer.ini", ini);
	text = raw_load(ini, &len);
	raw_save(spare, was, was_len);
	raw_remove("disks/a.ini");
	*strrchr(ini, '.') = '\0';
	strcat(ini, ".spare");
	raw_flip(ini, 200, 0);
	strcpy(strrchr(ini, '.'), ".ini");
	raw_flip(ini, 200, 0);
	fd = rebuild(true);
	assert_int_equal(fd.n[CHECK_LOST], 1);
	assert_int_equal(fd.err, -EUCLEAN);
	raw_save(ini, text, len);
	rebuild_one();
	check_whole("a");
	free(was);
	free(text);
}

static void
so_does_that_of_a_reencryption(void **state)
{
	struct disk *d = attach("a");
	int r;

	(void)state;
	assert_ok(disk_reencrypt(d, env.s, NULL, 0));
	disk_abandon(d);
	raw_remove("disks/a.ini");
	rebuild_one();
	d = attach("a");
	check_blocks(d, 'a', none, 0);
	while ((r = disk_reencrypt_step(d)) > 0)
		;
	assert_ok(r);
	disk_abandon(d);
	raw_remove("disks/a.ini");
	rebuild_one();
	check_whole("a");
}

/* A power cut just as a reencryption begins: the layer is frozen, of which its
 * spare copy and the descriptor do not know, but the descriptor's does.  When
 * its layer.ini was lost it was open again, and once the descriptor was lost as
 * well, the parent of the layer above: no block could be read. */
static void
a_layer_ini_made_anew_was_open_below_another(void **state)
{
	char ini[STORE_PATH_LEN], spare[STORE_PATH_LEN], *was, *desc;
	struct disk *d = attach("a");
	struct repair_report rep;
	size_t len, desc_len;

	(void)state;
	layer_path("a", "layer.ini", ini);
	layer_path("a", "layer.spare", spare);
	was = raw_load(spare, &len);
	desc = raw_load("disks/a.ini", &desc_len);
	assert_ok(disk_reencrypt(d, env.s, NULL, 0));
	disk_abandon(d);
	raw_save("disks/a.ini", desc, desc_len);
	raw_save(spare, was, len);
	raw_remove(ini);
	assert_ok(engine_repair_maps(env.e, DESC_DISK, "a", &rep));
	assert_int_equal(rep.inis, 1);
	raw_remove("disks/a.ini");
	rebuild_one();
	check_whole("a");
	free(was);
	free(desc);
}

/* ---- what is gone stays gone ---- */

static void
a_removed_disk_does_not_come_back(void **state)
{
	struct found fd;
	bool more = true;

	(void)state;
	assert_int_equal(count_spares(), 2);
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_DISK, "a"));
	assert_int_equal(count_spares(), 1);
	fd = rebuild(true);
	assert_int_equal(fd.made, 0);
	while (more)
		assert_ok(catalog_sweep(engine_catalog(env.e), 1000, &more));
	assert_int_equal(rebuild(true).made, 0);
	check_whole("b");
}

/* Only the text of what wraps it matters. */
static void
no_wrapped_key_stays(void **state)
{
	char path[STORE_PATH_LEN], *before, *spare, *now;
	struct kms_key_info info;
	struct disk *d;
	size_t len;
	unsigned n;
	int r;

	(void)state;
	spare_path(DESC_DISK, "a", path);
	before = raw_load(path, &len);
	assert_ok(kms_create_key(env.kms, "another", &info));
	assert_ok(catalog_rewrap(engine_catalog(env.e), env.kms, DESC_DISK, "a",
				 info.id, false, &n));
	assert_int_equal(n, 1);
	spare = raw_load(path, &len);
	now = raw_load("disks/a.ini", &len);
	assert_string_equal(strstr(spare, "\nwrapped_dk"),
			    strstr(now, "\nwrapped_dk"));
	assert_string_not_equal(strstr(before, "\nwrapped_dk"),
				strstr(now, "\nwrapped_dk"));
	free(before);
	free(spare);
	free(now);

	d = attach("a");
	assert_ok(disk_reencrypt(d, env.s, NULL, 0));
	while ((r = disk_reencrypt_step(d)) > 0)
		;
	assert_ok(r);
	spare = raw_load(path, &len);
	assert_null(strstr(strstr(spare, "\nwrapped_dk") + 1, "\nwrapped_dk"));
	free(spare);
	assert_ok(disk_detach(d));
	check_whole("a");
}

/* As long as a descriptor is lost nobody knows what it needs. */
static void
nothing_is_swept_while_one_is_lost(void **state)
{
	const atomic_bool stop = false;
	struct disk *d = attach("a");
	bool more;

	(void)state;
	snapshot(d, DESC_SNAPSHOT, "s");
	snapshot(d, DESC_SNAPSHOT, "t");
	assert_ok(disk_background(d));
	assert_ok(disk_detach(d));
	raw_remove("disks/a.ini");
	assert_ok(catalog_remove(engine_catalog(env.e), DESC_SNAPSHOT, "a@s"));
	assert_ok(catalog_sweep(engine_catalog(env.e), 1000, &more));
	engine_sweep(env.e, &stop);
	rebuild_one();
	check_whole("a");
}

/* The key service gave a wrong data key once, and the right one for the spare
 * copy: that took the place of what was newer. */
static void
a_wrong_answer_replaced_what_was_well(void **state)
{
	struct kms_fault f = { .nth = 1, .harm = HARM_WRONG };
	size_t len, len2;
	char *before = raw_load("disks/a.ini", &len), *now;
	struct found fd;

	(void)state;
	kms_fault_install(env.kms);
	for (f.nth = 1; f.nth <= 4; f.nth++) {
		kms_fault_arm(&f);
		fd = rebuild(true);
		assert_int_equal(fd.made, 0);
		now = raw_load("disks/a.ini", &len2);
		assert_string_equal(before, now);
		free(now);
	}
	kms_fault_arm(&(struct kms_fault){ 0 });
	raw_remove("disks/a.ini");
	rebuild_one();
	free(before);
}

static void
what_spare_copies_a_store_lacks_are_made(void **state)
{
	char path[STORE_PATH_LEN];
	struct found fd;

	(void)state;
	spare_path(DESC_DISK, "a", path);
	raw_remove(path);
	fd = rebuild(false);
	assert_int_equal(fd.n[CHECK_SPARE], 1);
	assert_string_equal(fd.last, path);
	check_whole("a"); /* makes it, too */
	assert_int_equal(count_spares(), 2);
	raw_remove(path);
	fd = rebuild(true);
	assert_int_equal(fd.n[CHECK_SPARE], 1);
	assert_int_equal(fd.made, 1);
	raw_flip(path, 100, 0);
	fd = rebuild(true);
	assert_int_equal(fd.made, 1);
	raw_remove("disks/a.ini");
	rebuild_one();
	check_whole("a");
}

static void
store_ini_is_made_of_its_spare_copy(void **state)
{
	size_t len;
	char *text = raw_load("store.ini", &len);

	(void)state;
	raw_remove("store.ini");
	assert_ok(catalog_restore(env.st));
	assert_true(raw_same("store.ini", text, len));
	free(text);
	raw_remove("spares/store.ini");
	eenv_reopen(&env);
	raw_remove("store.ini");
	assert_ok(catalog_restore(env.st));
	eenv_reopen(&env);
	check_whole("a");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_lost_descriptor_is_made_anew),
		T(so_is_one_that_cannot_be_read),
		T(so_is_one_that_does_not_verify),
		T(so_are_two_that_were_exchanged),
		T(what_it_did_since_is_kept),
		T(its_size_and_name_are_those_of_the_last_change),
		T(so_is_a_size_that_a_write_has_grown),
		T(a_name_that_is_taken_is_left_alone),
		T(what_is_attached_is_not_touched),
		T(a_spare_copy_that_was_changed_is_not_used),
		T(what_was_put_back_is_found_as_before),
		T(with_an_anchor_it_is_what_the_key_service_knows),
		T(with_an_anchor_it_cannot_hide_that_all_was_put_back),
		T(what_is_frozen_is_made_anew_too),
		T(a_snapshot_finds_its_disk),
		T(an_older_spare_copy_finds_the_layer_on_top),
		T(without_it_no_older_one_is_taken),
		T(so_does_that_of_a_reencryption),
		T(a_layer_ini_made_anew_was_open_below_another),
		T(a_removed_disk_does_not_come_back),
		T(no_wrapped_key_stays),
		T(nothing_is_swept_while_one_is_lost),
		T(a_wrong_answer_replaced_what_was_well),
		T(what_spare_copies_a_store_lacks_are_made),
		T(store_ini_is_made_of_its_spare_copy),
	};

	log_set_level((enum log_level) - 1);
	return run_group(tests, sizeof(tests) / sizeof(tests[0]));
}
