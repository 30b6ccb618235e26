/*
 * test_rotate_root.c - another root for a keystore, and what a crash leaves.
 */
#include "kms_env.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "files.h"

static struct wrapped_dk
make_dk(struct env *e)
{
	struct wrapped_dk w;

	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, NULL));
	return w;
}

/* By the root that ${s} names, it is the same keystore. */
static void
assert_opens(const struct settings *s, const struct wrapped_dk *w)
{
	struct key dk;
	struct kms *k;

	assert_ok(kms_open(s, &k));
	assert_ok(kms_decrypt(k, w, &dk));
	kms_close(k);
}

static int
try_open(const struct settings *s)
{
	struct kms *k = NULL;
	int r = kms_open(s, &k);

	kms_close(k);
	return r;
}

static unsigned
kept_keys(struct env *e, char ret[static PATH_MAX])
{
	const char *path = env_path(e, "etc");
	struct dirent *d;
	unsigned n = 0;
	DIR *dp;

	dp = opendir(path);
	assert_non_null(dp);
	while ((d = readdir(dp)))
		if (strncmp(d->d_name, "root.key.before-change-", 23) == 0) {
			(void)snprintf(ret, PATH_MAX, "%s/%s", path, d->d_name);
			n++;
		}
	(void)closedir(dp);
	return n;
}

static void
next_path(const struct settings *s, char ret[static PATH_MAX])
{
	assert_ok(files_join(ret, s->keystore_root_file, ".next"));
}

static void
a_key_file_is_replaced_and_the_old_one_kept(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w = make_dk(e);
	char kept[PATH_MAX], next[PATH_MAX];
	struct settings old = e->s;
	struct stat st;

	file_copy(e->s.keystore_root_file, env_path(e, "old.key"));
	assert_ok(change_root(&e->s, &e->s));
	assert_opens(&e->s, &w);
	next_path(&e->s, next);
	assert_false(file_exists(next));
	assert_int_equal(stat(e->s.keystore_root_file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(kept_keys(e, kept), 1);
	assert_true(file_same(kept, env_path(e, "old.key")));
	assert_false(file_same(e->s.keystore_root_file, kept));
	/* Which opens this keystore no more. */
	(void)snprintf(old.keystore_root_file, sizeof(old.keystore_root_file),
		       "%s", env_path(e, "old.key"));
	assert_err(try_open(&old), EKEYREJECTED);

	assert_works(e->k, KMS_SERVICE_ALIAS); /* who has it open goes on */
	assert_ok(change_root(&e->s, &e->s));
	assert_opens(&e->s, &w);
	assert_int_equal(kept_keys(e, kept), 2);
}

static void
a_key_file_elsewhere_is_made_and_never_overwritten(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w = make_dk(e);
	struct settings to = e->s;
	char kept[PATH_MAX];

	(void)snprintf(to.keystore_root_file, sizeof(to.keystore_root_file),
		       "%s/new/root.key", e->dir);
	assert_int_equal(mkdir(env_path(e, "new"), 0700), 0);
	file_copy(e->s.keystore_root_file, to.keystore_root_file);
	assert_err(change_root(&e->s, &to), EEXIST);
	assert_true(file_same(e->s.keystore_root_file, to.keystore_root_file));
	assert_int_equal(unlink(to.keystore_root_file), 0);
	assert_int_equal(rmdir(env_path(e, "new")), 0);
	assert_ok(change_root(&e->s, &to));
	assert_opens(&to, &w);
	assert_err(env_try_open(e), EKEYREJECTED);
	assert_true(file_exists(e->s.keystore_root_file));
	assert_int_equal(kept_keys(e, kept), 0);
}

/* A root of some kind, which nothing hangs on yet. */
struct place {
	struct settings s;
	char passphrase[32];
};

static void
place_make(struct env *e, const char *kind, unsigned n, struct place *ret)
{
	char path[PATH_MAX];
	uint8_t secret[40];

	ret->s = e->s;
	set_root(&ret->s, kind);
	(void)snprintf(ret->s.keystore_root_file,
		       sizeof(ret->s.keystore_root_file), "%s/etc/root.%u",
		       e->dir, n);
	(void)snprintf(ret->s.keystore_credential,
		       sizeof(ret->s.keystore_credential), "root.%u", n);
	(void)snprintf(ret->passphrase, sizeof(ret->passphrase),
		       "passphrase %u", n);
	(void)mkdir(env_path(e, "credentials"), 0700);
	(void)setenv("CREDENTIALS_DIRECTORY", env_path(e, "credentials"), 1);
	fill_pattern(secret, sizeof(secret), n);
	(void)snprintf(path, sizeof(path), "%s/%s", env_path(e, "credentials"),
		       ret->s.keystore_credential);
	file_save(path, secret, sizeof(secret));
}

/* The caller closes what it returns. */
static int
place_ready(struct place *p)
{
	if (strcmp(p->s.keystore_root, "passphrase") != 0)
		return -1;
	return set_passphrase(&p->s, p->passphrase);
}

static int
place_try(struct place *p)
{
	int fd = place_ready(p), r = try_open(&p->s);

	(void)close(fd);
	return r;
}

static void
place_open(struct env *e, struct place *p)
{
	int fd = place_ready(p);

	assert_ok(kms_open(&p->s, &e->k));
	(void)close(fd);
}

static int
place_change(struct place *from, struct place *to)
{
	int fd = place_ready(from), fd2 = place_ready(to);
	int r = change_root(&from->s, &to->s);

	(void)close(fd);
	(void)close(fd2);
	return r;
}

static const char *const kinds[] = { "keyfile", "passphrase", "credential" };

static void
a_root_of_each_kind_follows_one_of_each(void **state)
{
	/* From each of the three to each of the three. */
	static const unsigned char path[] = { 1, 1, 2, 2, 0, 2, 1, 0, 0, 1 };
	struct env *e = *state;
	struct wrapped_dk w = make_dk(e);
	struct place p[2] = { { .s = e->s } };
	const char *kind;
	unsigned i, n = 0;

	for (i = 0; i < sizeof(path); i++) {
		struct place *from = &p[i % 2], *to = &p[(i + 1) % 2];

		place_make(e, kinds[path[i]], ++n, to);
		assert_ok(place_change(from, to));
		assert_ok(place_try(to));
		assert_err(place_try(from), EKEYREJECTED);
		assert_ok(kms_root_kind(&to->s, &kind));
		assert_string_equal(kind, kinds[path[i]]);
		assert_works(e->k, KMS_SERVICE_ALIAS);
		env_close(e);
		place_open(e, to);
		assert_works(e->k, w.key_id);
	}
	assert_int_equal(secret_in_use(), e->secrets + 1);
}

static void
what_does_not_work_changes_nothing(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w = make_dk(e);
	struct place now = { .s = e->s }, to;
	bool new = false;

	place_make(e, "passphrase", 1, &to);
	strcpy(to.passphrase, "short");
	assert_err(place_change(&now, &to), EINVAL);
	strcpy(to.s.keystore_passphrase_fd, "99999");
	assert_err(kms_change_root(&now.s, &to.s, &new), EBADF);
	assert_true(new);
	place_make(e, "credential", 1, &to);
	strcpy(to.s.keystore_credential, "none");
	assert_err(place_change(&now, &to), ENOKEY);
	place_make(e, "pkcs11", 1, &to);
	assert_err(place_change(&now, &to), ENOKEY);
	place_make(e, "keyfile", 1, &to);
	(void)snprintf(to.s.keystore_root_file, sizeof(to.s.keystore_root_file),
		       "/dev/null/root.key");
	assert_true(place_change(&now, &to) < 0);
	assert_opens(&e->s, &w);

	/* Nor does who cannot open it. */
	place_make(e, "keyfile", 1, &to);
	file_flip(e->s.keystore_root_file, 0, 1);
	assert_err(kms_change_root(&now.s, &to.s, &new), EKEYREJECTED);
	assert_false(new);
	assert_false(file_exists(to.s.keystore_root_file));
	file_flip(e->s.keystore_root_file, 0, 1);
	assert_opens(&e->s, &w);
	to.s = e->s;
	(void)snprintf(to.s.keystore_path, sizeof(to.s.keystore_path),
		       "%s/none.db", e->dir);
	assert_err(change_root(&to.s, &to.s), ENOENT);
}

static void
the_old_wrapped_key_is_nowhere_in_the_file(void **state)
{
	struct env *e = *state;
	struct keystore_head head;
	struct keystore *ks;
	size_t off;

	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_get_head(ks, &head));
	keystore_close(ks);
	assert_ok(change_root(&e->s, &e->s));
	env_close(e);
	assert_int_equal(file_find(e->s.keystore_path, head.key.bytes,
				   head.key.len, &off),
			 0);
}

static void
a_backup_needs_the_root_of_its_day(void **state)
{
	struct env *e = *state;
	struct settings old = e->s;
	struct kms_key_info key;
	char kept[PATH_MAX];

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_backup(e->k, env_path(e, "backup.db")));
	assert_ok(change_root(&e->s, &e->s));
	assert_err(kms_restore(&e->s, env_path(e, "backup.db"), true),
		   EKEYREJECTED);
	assert_int_equal(kept_keys(e, kept), 1);
	strcpy(old.keystore_root_file, kept);
	assert_ok(kms_restore(&old, env_path(e, "backup.db"), true));
	assert_works(e->k, key.id);
}

/* What a crash leaves, made by hand. */

static void
a_key_file_that_nothing_hangs_on_yet_is_used_by_the_next_attempt(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w = make_dk(e);
	char next[PATH_MAX];
	uint8_t key[KEY_LEN];

	next_path(&e->s, next);
	fill_pattern(key, sizeof(key), 3);
	file_save(next, key, sizeof(key));
	assert_opens(&e->s, &w); /* it is in nobody's way */
	assert_true(file_exists(next));
	file_save(env_path(e, "next.key"), key, sizeof(key));
	assert_ok(change_root(&e->s, &e->s));
	assert_true(
	    file_same(e->s.keystore_root_file, env_path(e, "next.key")));
	assert_false(file_exists(next));
	assert_opens(&e->s, &w);

	/* Half of one was never that. */
	file_save(next, key, 16);
	assert_err(change_root(&e->s, &e->s), EKEYREJECTED);
	assert_opens(&e->s, &w);
}

static void
a_change_that_was_cut_short_is_finished_by_whoever_opens(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w = make_dk(e);
	char next[PATH_MAX], kept[PATH_MAX];

	next_path(&e->s, next);
	file_copy(e->s.keystore_root_file, env_path(e, "old.key"));
	assert_ok(change_root(&e->s, &e->s));
	/* The keystore hangs on it, and it has no name yet. */
	assert_int_equal(rename(e->s.keystore_root_file, next), 0);
	file_copy(env_path(e, "old.key"), e->s.keystore_root_file);
	file_copy(next, env_path(e, "new.key"));
	assert_opens(&e->s, &w);
	assert_false(file_exists(next));
	assert_true(file_same(e->s.keystore_root_file, env_path(e, "new.key")));
	assert_int_equal(kept_keys(e, kept), 2);

	/* The old one has gone already. */
	assert_int_equal(rename(e->s.keystore_root_file, next), 0);
	assert_ok(env_init(e));
	assert_true(file_same(e->s.keystore_root_file, env_path(e, "new.key")));

	/* Or by the next change. */
	assert_int_equal(rename(e->s.keystore_root_file, next), 0);
	file_copy(env_path(e, "old.key"), e->s.keystore_root_file);
	assert_ok(change_root(&e->s, &e->s));
	assert_false(file_exists(next));
	assert_false(
	    file_same(e->s.keystore_root_file, env_path(e, "new.key")));
	assert_opens(&e->s, &w);
	assert_works(e->k, KMS_SERVICE_ALIAS);
}

static int
open_in_a_folder_that_cannot_be_written(struct env *e)
{
	if (geteuid() == 0 && setuid(65534) < 0)
		return -1;
	return env_try_open(e);
}

static void
where_it_cannot_be_finished_it_opens_all_the_same(void **state)
{
	struct env *e = *state;
	char next[PATH_MAX];
	int status;
	pid_t pid;

	assert_works(e->k, KMS_SERVICE_ALIAS);
	env_close(e);
	next_path(&e->s, next);
	assert_int_equal(rename(e->s.keystore_root_file, next), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(e->dir, 65534, (gid_t)-1), 0);
		assert_int_equal(chown(env_path(e, "etc"), 65534, (gid_t)-1),
				 0);
		assert_int_equal(chown(next, 65534, (gid_t)-1), 0);
		assert_int_equal(chown(env_path(e, "state"), 65534, (gid_t)-1),
				 0);
		assert_int_equal(chown(e->s.keystore_path, 65534, (gid_t)-1),
				 0);
	}
	assert_int_equal(chmod(env_path(e, "etc"), 0555), 0);
	pid = fork();
	if (pid == 0)
		_exit(-open_in_a_folder_that_cannot_be_written(e));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(file_exists(next));
	assert_int_equal(chmod(env_path(e, "etc"), 0700), 0);
}

/* Processes. */

/* Change the root back and forth, and tell of each change, until killed. */
static void
change_for_ever(struct env *e, struct place *a, struct place *b, int fd)
{
	(void)e;
	for (;;) {
		if (place_change(a, b) < 0)
			_exit(1);
		if (io_write_all(fd, "x", 1) < 0)
			_exit(2);
		/* A key file is not made where there is one. */
		if (strcmp(a->s.keystore_root, "keyfile") == 0 && a != b)
			(void)unlink(a->s.keystore_root_file);
		if (a != b) {
			struct place *t = a;

			a = b;
			b = t;
		}
	}
}

static void
kill_while_changing(struct env *e, struct place *a, struct place *b,
		    unsigned after, const struct wrapped_dk *w)
{
	unsigned n = 0;
	int fds[2], status, ra, rb;
	struct key dk;
	pid_t pid;
	char c;

	env_close(e);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0)
		change_for_ever(e, a, b, fds[1]);
	(void)close(fds[1]);
	while (io_read_all(fds[0], &c, 1) == 0)
		if (++n == after) {
			(void)usleep(after * 517 % 3000);
			assert_int_equal(kill(pid, SIGKILL), 0);
		}
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));

	/* One of the two opens it, and the other does not. */
	ra = place_try(a);
	rb = a == b ? -EKEYREJECTED : place_try(b);
	assert_true((ra == 0) != (rb == 0));
	assert_true(ra == 0 || ra == -EKEYREJECTED || ra == -ENOKEY);
	assert_true(rb == 0 || rb == -EKEYREJECTED || rb == -ENOKEY);
	place_open(e, ra == 0 ? a : b);
	assert_ok(kms_decrypt(e->k, w, &dk));
	assert_works(e->k, KMS_SERVICE_ALIAS);
}

static void
kill_9_leaves_one_root_that_opens(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w = make_dk(e);
	struct place file = { .s = e->s }, other;
	unsigned i, k;

	for (i = 1; i <= 8; i++)
		kill_while_changing(e, &file, &file, i, &w);
	for (k = 0; k < 3; k++) {
		place_make(e, kinds[k], k + 1, &other);
		for (i = 1; i <= 5; i++) {
			kill_while_changing(e, &file, &other, i, &w);
			/* Begin with the same one again. */
			if (place_try(&file) < 0) {
				(void)unlink(file.s.keystore_root_file);
				assert_ok(place_change(&other, &file));
			}
			(void)unlink(other.s.keystore_root_file);
		}
	}
}

static void *
change_five_times(void *arg)
{
	struct env *e = arg;
	long failures = 0;
	unsigned i;
	int r;

	for (i = 0; i < 5; i++) {
		r = change_root(&e->s, &e->s);
		failures += r < 0 && r != -EBUSY;
	}
	return (void *)failures;
}

static void *
open_again_and_again(void *arg)
{
	struct user *u = arg;

	while (!u->stop) {
		if (env_try_open(u->e) < 0)
			u->failures++;
		u->made++;
	}
	return NULL;
}

static void
changes_at_once_are_in_nobody_s_way(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) struct user *u = user_new(e);
	CLEANUP(free_memp) struct user *o = user_new(e);
	struct wrapped_dk w = make_dk(e);
	pthread_t t[3], user, opener;
	void *failures;
	unsigned i;

	assert_int_equal(pthread_create(&user, NULL, use, u), 0);
	assert_int_equal(pthread_create(&opener, NULL, open_again_and_again, o),
			 0);
	while (u->made < 2 && !u->failures)
		(void)usleep(1000);
	for (i = 0; i < 3; i++)
		assert_int_equal(
		    pthread_create(&t[i], NULL, change_five_times, e), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(t[i], &failures), 0);
		assert_null(failures);
	}
	u->stop = true;
	assert_int_equal(pthread_join(user, NULL), 0);
	assert_int_equal(u->failures, 0);
	o->stop = true;
	assert_int_equal(pthread_join(opener, NULL), 0);
	assert_int_equal(o->failures, 0);
	assert_true(o->made > 0);
	assert_opens(&e->s, &w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_file_is_replaced_and_the_old_one_kept),
		TEST(a_key_file_elsewhere_is_made_and_never_overwritten),
		TEST(a_root_of_each_kind_follows_one_of_each),
		TEST(what_does_not_work_changes_nothing),
		TEST(the_old_wrapped_key_is_nowhere_in_the_file),
		TEST(a_backup_needs_the_root_of_its_day),
		TEST(
		    a_key_file_that_nothing_hangs_on_yet_is_used_by_the_next_attempt),
		TEST(a_change_that_was_cut_short_is_finished_by_whoever_opens),
		TEST(where_it_cannot_be_finished_it_opens_all_the_same),
		TEST(kill_9_leaves_one_root_that_opens),
		TEST(changes_at_once_are_in_nobody_s_way),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
