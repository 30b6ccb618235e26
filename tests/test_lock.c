/*
 * test_lock.c - what a host that went away leaves of its lock on a disk, and
 * who may attach the disk then.
 */
#include "catalog_env.h"

#include <unistd.h>

#define BOOT_ID "11111111-2222-3333-4444-555555555555"

static void
lock_name(const struct env *e, char out[static STORE_PATH_LEN])
{
	char u[UUID_STR_LEN];

	uuid_format(&e->d.uuid, u);
	(void)snprintf(out, STORE_PATH_LEN, "locks/disk-%s", u);
}

/* The words of a holder; NULL: those of this machine. */
static void
leave(struct env *e, const char *host, const char *boot)
{
	char path[STORE_PATH_LEN], name[256], id[40] = "", text[1024];
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	assert_non_null(f);
	assert_non_null(fgets(id, sizeof(id), f));
	(void)fclose(f);
	id[strcspn(id, "\n")] = '\0';
	assert_int_equal(gethostname(name, sizeof(name)), 0);
	(void)snprintf(text, sizeof(text),
		       "host=%s\nboot_id=%s\npid=17\n"
		       "since=2026-01-02T03:04:05Z\nmount_point=/mnt/sd\n",
		       host ? host : name, boot ? boot : id);
	lock_name(e, path);
	put(e->st, path, text);
}

/* A disk that somebody has attached, and not detached. */
static void
make_unclean(struct env *e)
{
	create(e, "db");
	e->d.session = 1;
	e->d.clean = false;
	assert_ok(catalog_save(e->c, &e->d, &e->dk));
}

/* Whether it can be locked, and whether then nothing is left. */
static void
assert_locks(struct env *e)
{
	struct store_lock *l;
	struct lock_owner o;

	assert_err(catalog_disk_left(e->c, &e->d.uuid, &o), ENOENT);
	assert_ok(catalog_lock_disk(e->c, &e->d.uuid, "/mnt", &l));
	assert_ok(catalog_disk_owner(e->c, &e->d.uuid, &o));
	assert_true(o.this_host);
	assert_false(o.other_host);
	store_unlock(l);
	assert_err(catalog_disk_left(e->c, &e->d.uuid, &o), ENOENT);
}

static void
a_disk_that_another_host_left_is_not_locked(void **state)
{
	struct env *e = *state;
	struct store_lock *l;
	struct lock_owner o;

	make_unclean(e);
	leave(e, "far", BOOT_ID);
	for (int i = 0; i < 2; i++) { /* being refused changes nothing */
		assert_err(catalog_lock_disk(e->c, &e->d.uuid, "/mnt", &l),
			   EBUSY);
		assert_err(catalog_remove(e->c, DESC_DISK, "db"), EBUSY);
		assert_err(catalog_disk_owner(e->c, &e->d.uuid, &o), ENOENT);
		assert_ok(catalog_disk_left(e->c, &e->d.uuid, &o));
		assert_string_equal(o.host, "far");
		assert_string_equal(o.mount_point, "/mnt/sd");
		assert_int_equal(o.pid, 17);
		assert_false(o.this_host);
		assert_true(o.other_host);
	}
}

/* Whoever can write to the store can leave any words there. */
static void
an_owner_steered_the_terminal_of_who_asked(void **state)
{
	struct env *e = *state;
	struct lock_owner o;

	make_unclean(e);
	leave(e, "far%0Aname = x%1B[2J", BOOT_ID);
	assert_ok(catalog_disk_left(e->c, &e->d.uuid, &o));
	assert_string_equal(o.host, "far?name = x?[2J");
	assert_true(o.other_host);
}

static void
a_lock_that_was_broken_is_free(void **state)
{
	struct env *e = *state;

	make_unclean(e);
	leave(e, "far", BOOT_ID);
	assert_ok(catalog_break_lock(e->c, &e->d.uuid));
	assert_locks(e);
	assert_ok(catalog_break_lock(e->c, &e->d.uuid));
}

static void
a_lock_that_is_held_is_not_broken(void **state)
{
	struct env *e = *state;
	struct store_lock *l;
	struct lock_owner o;

	make_unclean(e);
	assert_ok(catalog_lock_disk(e->c, &e->d.uuid, "/mnt", &l));
	assert_err(catalog_break_lock(e->c, &e->d.uuid), EBUSY);
	assert_ok(catalog_disk_owner(e->c, &e->d.uuid, &o));
	assert_string_equal(o.mount_point, "/mnt");
	store_unlock(l);
}

/* The kernel that knew of the process is ours, or has been started anew. */
static void
this_machine_is_no_other_host(void **state)
{
	struct env *e = *state;

	make_unclean(e);
	leave(e, NULL, NULL);
	assert_locks(e);
	leave(e, NULL, BOOT_ID);
	assert_locks(e);
	leave(e, "container", NULL);
	assert_locks(e);
}

static void
a_disk_that_was_detached_is_free(void **state)
{
	struct env *e = *state;

	make_unclean(e);
	e->d.clean = true;
	assert_ok(catalog_save(e->c, &e->d, &e->dk));
	leave(e, "far", BOOT_ID);
	assert_locks(e);
}

static void
words_that_say_nothing_keep_nobody_out(void **state)
{
	static const char *const words[] = {
		"",
		"\n\n=\nhost\n",
		"host=far\n",
		"boot_id=" BOOT_ID "\n",
		"host=%zz\nboot_id=" BOOT_ID "\npid=x\nsince=never\n",
	};
	char path[STORE_PATH_LEN];
	struct env *e = *state;

	make_unclean(e);
	lock_name(e, path);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		put(e->st, path, words[i]);
		assert_locks(e);
	}
}

/* Its descriptor cannot be read: nobody knows whether it was detached. */
static void
a_disk_that_is_not_found_is_not_clean(void **state)
{
	struct env *e = *state;
	struct store_lock *l;

	create(e, "db");
	leave(e, "far", BOOT_ID);
	put(e->st, "disks/db.ini", "[disk]\n");
	assert_err(catalog_lock_disk(e->c, &e->d.uuid, "/mnt", &l), EBUSY);
}

/* ---- somebody who takes it for a moment, again and again ---- */

static const struct store_ops *real_ops;
static unsigned n_refused;
static const char *words;

/* Each time that we come he has just taken it, every other time. */
static int
refuse(struct store *st, const char *path, enum store_lock_mode mode, bool wait,
       const char *info, struct store_lock **ret)
{
	return n_refused++ < 60
		   ? -EBUSY
		   : real_ops->lock(st, path, mode, wait, info, ret);
}

static int
half_said(struct store *st, const char *path, char **ret)
{
	(void)st;
	(void)path;
	*ret = strdup(n_refused % 2 ? "" : words);
	return *ret ? 0 : -ENOMEM;
}

static int
never_said(struct store *st, const char *path, char **ret)
{
	(void)st;
	(void)path;
	*ret = strdup("");
	return *ret ? 0 : -ENOMEM;
}

/* Who waited for a merge met it as it took its next piece, and took it for
 * somebody who reads. */
static void
an_attach_beside_a_merge_was_refused(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *said = NULL;
	struct store_ops ops;
	struct store_lock *l;
	char path[STORE_PATH_LEN];

	create(e, "db");
	assert_ok(catalog_lock_disk(e->c, &e->d.uuid, "", &l));
	lock_name(e, path);
	assert_ok(e->st->ops->lock_owner(e->st, path, &said));
	store_unlock(l);
	words = said;
	ops = *(real_ops = e->st->ops);
	ops.lock = refuse;
	ops.lock_owner = half_said;
	e->st->ops = &ops;
	n_refused = 0;
	assert_ok(catalog_lock_disk(e->c, &e->d.uuid, "/mnt", &l));
	store_unlock(l);
	assert_int_equal(n_refused, 61);
	/* Who says nothing for so long reads. */
	ops.lock_owner = never_said;
	n_refused = 0;
	assert_err(catalog_lock_disk(e->c, &e->d.uuid, "/mnt", &l), EBUSY);
	assert_in_range(n_refused, 10, 59);
	e->st->ops = real_ops;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_disk_that_another_host_left_is_not_locked, setup_posix),
		T(an_owner_steered_the_terminal_of_who_asked, setup_posix),
		T(a_lock_that_was_broken_is_free, setup_posix),
		T(a_lock_that_is_held_is_not_broken, setup_posix),
		T(this_machine_is_no_other_host, setup_posix),
		T(a_disk_that_was_detached_is_free, setup_posix),
		T(words_that_say_nothing_keep_nobody_out, setup_posix),
		T(a_disk_that_is_not_found_is_not_clean, setup_posix),
		T(an_attach_beside_a_merge_was_refused, setup_posix),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
