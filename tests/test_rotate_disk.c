/*
 * test_rotate_disk.c - data keys of a store's descriptors under other versions
 * and other CMKs, whoever has the disk.
 */
#include "engine_env.h"
#include "fault_kms.h"

#include <signal.h>
#include <sys/wait.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "rewrap.h"

#define SIZE (1 << 20)

struct env {
	struct engine_env v;
	struct kms_key_info a, b; /* two CMKs */
	struct descriptor d;      /* room for one */
};

static int
setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	*state = e;
	log_set_level(LOG_ERROR);
	eenv_begin(&e->v, NULL, CIPHER_AES256_GCM);
	assert_ok(kms_create_key(e->v.kms, "", &e->a));
	assert_ok(kms_create_key(e->v.kms, "", &e->b));
	eenv_create_with(&e->v, "d", SIZE, e->a.id);
	return 0;
}

static int
teardown(void **state)
{
	struct env *e = *state;

	eenv_end(&e->v);
	free(e);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static struct catalog *
cat(struct env *e)
{
	return engine_catalog(e->v.e);
}

static void
new_version(struct env *e, struct kms_key_info *k)
{
	assert_ok(kms_create_key_version(e->v.kms, k->id, k));
}

static int
rewrap(struct env *e, const char *key, unsigned *ret_n)
{
	return catalog_rewrap(cat(e), e->v.kms, DESC_DISK, "d", key, false,
			      ret_n);
}

/* The descriptor verifies, and is wrapped by just that. */
static void
assert_under(struct env *e, enum desc_type type, const char *name,
	     const struct kms_key_info *k)
{
	struct key dk;

	assert_ok(
	    catalog_load_verified(cat(e), e->v.kms, type, name, &e->d, &dk));
	assert_string_equal(e->d.keys[0].dk.key_id, k->id);
	assert_string_equal(e->d.keys[0].dk.key_version_id, k->primary_version);
}

static void
write_text(struct env *e, struct disk *d, const char *text)
{
	assert_ok(disk_write(d, e->v.s, text, strlen(text), 4096));
	assert_ok(disk_flush(d));
}

static void
assert_text(struct env *e, struct disk *d, const char *text)
{
	char got[64] = "";

	assert_ok(disk_read(d, e->v.s, got, strlen(text), 4096));
	assert_string_equal(got, text);
}

static void
a_detached_disk_is_brought_to_the_newest_version(void **state)
{
	struct env *e = *state;
	struct disk *d;
	unsigned n = 9;

	assert_ok(rewrap(e, NULL, &n));
	assert_int_equal(n, 0);
	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	write_text(e, d, "before");
	assert_ok(disk_detach(d));
	new_version(e, &e->a);
	assert_ok(
	    catalog_rewrap(cat(e), e->v.kms, DESC_DISK, "d", NULL, true, &n));
	assert_int_equal(n, 1);
	assert_ok(rewrap(e, NULL, &n));
	assert_int_equal(n, 1); /* the one before was a rehearsal */
	assert_under(e, DESC_DISK, "d", &e->a);
	assert_ok(rewrap(e, NULL, &n));
	assert_int_equal(n, 0);
	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	assert_text(e, d, "before");
	assert_ok(disk_detach(d));
}

static void
a_detached_disk_is_brought_to_another_key(void **state)
{
	struct env *e = *state;
	struct disk *d;
	unsigned n;

	assert_ok(rewrap(e, e->b.id, &n));
	assert_int_equal(n, 1);
	assert_under(e, DESC_DISK, "d", &e->b);
	assert_ok(rewrap(e, e->b.arn, &n));
	assert_int_equal(n, 0);
	/* The first key is of no use to it any more. */
	assert_ok(kms_disable_key(e->v.kms, e->a.id));
	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	assert_ok(disk_detach(d));
	assert_err(rewrap(e, e->a.id, &n), EKEYREVOKED);
	assert_under(e, DESC_DISK, "d", &e->b);
}

static void
what_is_refused_changes_nothing(void **state)
{
	struct env *e = *state;
	unsigned n = 7;

	assert_err(rewrap(e, "alias/none", &n), ENOKEY);
	assert_err(catalog_rewrap(cat(e), e->v.kms, DESC_DISK, "none", NULL,
				  false, &n),
		   ENOENT);
	assert_err(catalog_rewrap(cat(e), e->v.kms, DESC_DISK, "../d", NULL,
				  false, &n),
		   ENOENT);
	new_version(e, &e->a);
	assert_ok(kms_disable_key(e->v.kms, e->a.id));
	assert_err(rewrap(e, NULL, &n), EKEYREVOKED);
	assert_err(rewrap(e, e->b.id, &n), EKEYREVOKED);
	assert_int_equal(n, 7);
	assert_ok(kms_enable_key(e->v.kms, e->a.id));
	assert_ok(rewrap(e, NULL, &n));
}

/* The file as it is. */
static char *
text_of(struct env *e, const char *path, size_t *ret_len)
{
	char *text;

	assert_ok(e->v.st->ops->load(e->v.st, path, META_MAX, &text, ret_len));
	return text;
}

static void
all_but_the_wrapped_keys_stays_byte_for_byte(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *before = NULL, *after = NULL;
	const char *b, *a;
	size_t len;
	unsigned n;

	before = text_of(e, "disks/d.ini", &len);
	assert_ok(rewrap(e, e->b.id, &n));
	after = text_of(e, "disks/d.ini", &len);
	b = strstr(before, "\n[key ");
	a = strstr(after, "\n[key ");
	assert_non_null(b);
	assert_non_null(a);
	assert_int_equal(b - before, a - after);
	assert_memory_equal(before, after, b - before);
	assert_string_not_equal(b, a);
}

static void
an_attached_disk_does_not_write_the_old_key_back(void **state)
{
	struct env *e = *state;
	struct descriptor *seen = &e->d;
	struct disk *d;
	unsigned n;

	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	write_text(e, d, "in use");
	new_version(e, &e->a);
	assert_ok(disk_rewrap(d, NULL, &n));
	assert_int_equal(n, 1);
	assert_under(e, DESC_DISK, "d", &e->a);
	assert_ok(disk_rewrap(d, NULL, &n));
	assert_int_equal(n, 0);

	assert_ok(disk_rewrap(d, e->b.id, &n));
	assert_int_equal(n, 1);
	disk_descriptor(d, seen);
	assert_string_equal(seen->keys[0].dk.key_id, e->b.id);
	/* All that replaces the descriptor of a disk in use. */
	assert_ok(disk_resize(d, e->v.s, 2 * SIZE));
	assert_under(e, DESC_DISK, "d", &e->b);
	assert_ok(disk_rename(d, "e"));
	assert_under(e, DESC_DISK, "e", &e->b);
	assert_text(e, d, "in use");
	assert_ok(disk_detach(d));
	assert_under(e, DESC_DISK, "e", &e->b);
	assert_int_equal(e->d.size, 2 * SIZE);
	assert_true(e->d.clean);
	assert_ok(kms_disable_key(e->v.kms, e->a.id));
	assert_ok(disk_attach(e->v.e, DESC_DISK, "e", 0, &d));
	assert_text(e, d, "in use");
	assert_ok(disk_detach(d));
}

static void
an_attached_disk_whose_rewrap_is_refused_goes_on(void **state)
{
	struct env *e = *state;
	struct disk *d;
	unsigned n = 7;

	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	new_version(e, &e->a);
	assert_ok(kms_disable_key(e->v.kms, e->a.id));
	assert_err(disk_rewrap(d, NULL, &n), EKEYREVOKED);
	assert_err(disk_rewrap(d, "alias/none", &n), ENOKEY);
	assert_int_equal(n, 7);
	write_text(e, d, "goes on");
	assert_ok(disk_detach(d));
	assert_ok(kms_enable_key(e->v.kms, e->a.id));
	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	assert_text(e, d, "goes on");
	assert_ok(disk_rewrap(d, NULL, &n));
	assert_int_equal(n, 1);
	disk_abandon(d); /* and after a crash it is there, too */
	assert_under(e, DESC_DISK, "d", &e->a);
}

/* A snapshot and an image of the disk, as far as their descriptors go. */
static void
make_descriptor(struct env *e, enum desc_type type, const char *of,
		const char *name)
{
	struct key dk;

	assert_ok(catalog_load_verified(cat(e), e->v.kms, DESC_DISK, "d", &e->d,
					&dk));
	e->d.type = type;
	strcpy(e->d.of, of);
	strcpy(e->d.name, name);
	assert_ok(uuid_new(&e->d.uuid));
	assert_ok(catalog_save(cat(e), &e->d, &dk));
}

static void
snapshots_and_images_are_rewrapped_like_disks(void **state)
{
	struct env *e = *state;
	struct disk *d;
	unsigned n;

	make_descriptor(e, DESC_SNAPSHOT, "d", "s");
	make_descriptor(e, DESC_IMAGE, "", "i");
	new_version(e, &e->a);
	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0,
			      &d)); /* which is no matter */
	assert_ok(catalog_rewrap(cat(e), e->v.kms, DESC_SNAPSHOT, "d@s", NULL,
				 false, &n));
	assert_int_equal(n, 1);
	assert_ok(catalog_rewrap(cat(e), e->v.kms, DESC_IMAGE, "i", e->b.id,
				 false, &n));
	assert_int_equal(n, 1);
	assert_ok(disk_detach(d));
	assert_under(e, DESC_SNAPSHOT, "d@s", &e->a);
	assert_under(e, DESC_IMAGE, "i", &e->b);
}

/* A clone's descriptor: its own DK, and that of the layers below. */
static void
each_data_key_of_a_descriptor_goes_to_its_own_key_s_newest(void **state)
{
	struct env *e = *state;
	struct desc_key *k = &e->d.keys[1];
	struct key dk;
	unsigned n;

	assert_ok(catalog_load_verified(cat(e), e->v.kms, DESC_DISK, "d", &e->d,
					&dk));
	assert_ok(uuid_new(&k->uuid));
	assert_ok(uuid_new(&k->dk.lineage));
	assert_ok(kms_generate_data_key(e->v.kms, e->b.id, &k->dk.lineage,
					&k->dk, NULL));
	e->d.n_keys = 2;
	assert_ok(catalog_save(cat(e), &e->d, &dk));

	new_version(e, &e->b);
	assert_ok(rewrap(e, NULL, &n));
	assert_int_equal(n, 1);
	assert_under(e, DESC_DISK, "d", &e->a);
	assert_string_equal(k->dk.key_id, e->b.id);
	assert_string_equal(k->dk.key_version_id, e->b.primary_version);
	assert_ok(kms_decrypt(e->v.kms, &k->dk, &dk));
	assert_ok(rewrap(e, e->a.id, &n));
	assert_int_equal(n, 1);
	assert_under(e, DESC_DISK, "d", &e->a);
	assert_string_equal(k->dk.key_id, e->a.id);
}

/* The key service fails at its ${nth} call of the rewrap, all ways. */
static void
rewrap_beside_nonsense(struct env *e, struct disk *d, unsigned nth, int err)
{
	unsigned n;

	for (enum kms_harm h = HARM_REFUSED; h < KMS_NHARM; h++) {
		struct kms_fault f = { .nth = nth, .harm = h, .err = err };
		int r;

		kms_fault_arm(&f);
		r = d ? disk_rewrap(d, e->b.id, &n) : rewrap(e, e->b.id, &n);
		assert_true(kms_fault_fired());
		kms_fault_arm(&(struct kms_fault){ 0 });
		assert_true(r < 0);
		if (h <= HARM_LOST)
			assert_int_equal(r, err);
		assert_under(e, DESC_DISK, "d", &e->a);
	}
}

/*
 * What was wrapped before was dropped for an answer that nobody had opened: a
 * disk whose key service had sent nonsense, or the answer to another question,
 * could never be attached again.
 */
static void
a_wrapping_that_does_not_open_was_taken(void **state)
{
	struct env *e = *state;
	struct disk *d;
	unsigned n;

	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	write_text(e, d, "before");
	kms_fault_install(e->v.kms);
	/* It is described, rewrapped, and opened. */
	for (unsigned nth = 2; nth <= 3; nth++)
		rewrap_beside_nonsense(e, d, nth, -EKEYREJECTED);
	assert_ok(disk_detach(d));
	/* And before that, what it is is looked at. */
	for (unsigned nth = 2; nth <= 4; nth++)
		rewrap_beside_nonsense(e, NULL, nth, -EKEYREJECTED);
	assert_ok(rewrap(e, e->b.id, &n));
	assert_int_equal(n, 1);
	assert_under(e, DESC_DISK, "d", &e->b);
	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	assert_text(e, d, "before");
	assert_ok(disk_detach(d));
}

/* Data keys were wrapped under a master key that nobody had named. */
static void
what_was_said_of_another_key_moved_data_keys(void **state)
{
	const struct kms_fault f = { .nth = 1, .harm = HARM_OTHER };
	struct env *e = *state;
	unsigned n;

	kms_fault_install(e->v.kms);
	kms_fault_arm(&f);
	assert_err(rewrap(e, NULL, &n), EPROTO);
	kms_fault_arm(&f);
	assert_err(rewrap(e, e->b.id, &n), EPROTO);
	kms_fault_arm(&(struct kms_fault){ 0 });
	assert_under(e, DESC_DISK, "d", &e->a);
}

/* Rewrap from one key to the other, and tell of each time, until killed. */
static void
rewrap_for_ever(struct env *e, bool attached, int fd)
{
	struct disk *d = NULL;
	struct engine *eng;
	struct kms *kms;
	unsigned i, n;
	int r;

	/* A handle is not carried over a fork. */
	if (kms_open(&e->v.settings, &kms) < 0 ||
	    engine_open(e->v.st, kms, &e->v.opt, &eng) < 0 ||
	    (attached && disk_attach(eng, DESC_DISK, "d", 0, &d) < 0))
		_exit(1);
	for (i = 0;; i++) {
		const char *key = i % 2 ? e->a.id : e->b.id;

		if (attached)
			r = disk_rewrap(d, key, &n);
		else
			r = catalog_rewrap(engine_catalog(eng), kms, DESC_DISK,
					   "d", key, false, &n);
		if (r < 0 || io_write_all(fd, "x", 1) < 0)
			_exit(1);
	}
}

static void
kill_while_rewrapping(struct env *e, bool attached, unsigned after)
{
	int fds[2], status;
	unsigned n = 0;
	struct key dk;
	pid_t pid;
	char c;

	engine_close(e->v.e);
	kms_close(e->v.kms);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0)
		rewrap_for_ever(e, attached, fds[1]);
	(void)close(fds[1]);
	while (io_read_all(fds[0], &c, 1) == 0)
		if (++n == after) {
			(void)usleep(after * 331 % 2000);
			assert_int_equal(kill(pid, SIGKILL), 0);
		}
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_ok(kms_open(&e->v.settings, &e->v.kms));
	eenv_open(&e->v);
	assert_ok(catalog_load_verified(cat(e), e->v.kms, DESC_DISK, "d", &e->d,
					&dk));
	/* What was answered is there: the one key, or the next already. */
	assert_true(strcmp(e->d.keys[0].dk.key_id, e->a.id) == 0 ||
		    strcmp(e->d.keys[0].dk.key_id, e->b.id) == 0);
}

static void
kill_9_leaves_one_wrapped_key_or_the_other(void **state)
{
	struct env *e = *state;
	struct disk *d;
	unsigned i;

	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	write_text(e, d, "still here");
	assert_ok(disk_detach(d));
	for (i = 1; i <= 10; i++)
		kill_while_rewrapping(e, i % 2, i);
	assert_ok(disk_attach(e->v.e, DESC_DISK, "d", 0, &d));
	assert_text(e, d, "still here");
	assert_ok(disk_detach(d));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_detached_disk_is_brought_to_the_newest_version),
		TEST(a_detached_disk_is_brought_to_another_key),
		TEST(what_is_refused_changes_nothing),
		TEST(all_but_the_wrapped_keys_stays_byte_for_byte),
		TEST(an_attached_disk_does_not_write_the_old_key_back),
		TEST(an_attached_disk_whose_rewrap_is_refused_goes_on),
		TEST(snapshots_and_images_are_rewrapped_like_disks),
		TEST(
		    each_data_key_of_a_descriptor_goes_to_its_own_key_s_newest),
		TEST(a_wrapping_that_does_not_open_was_taken),
		TEST(what_was_said_of_another_key_moved_data_keys),
		TEST(kill_9_leaves_one_wrapped_key_or_the_other),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
