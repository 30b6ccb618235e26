/*
 * test_store_posix.c - what only a store in a folder can show: modes, symbolic
 * links, processes.
 */
#include "store_env.h"

#include <sys/wait.h>

static const char *
below(void **state, const char *name)
{
	static char path[2 * TMPDIR_LEN];
	struct env *e = *state;

	(void)snprintf(path, sizeof(path), "%s/%s", e->dir, name);
	return path;
}

static void
a_folder_must_be_there(void **state)
{
	struct store *st;

	assert_err(store_posix_open(below(state, "none"), &st), ENOENT);
	put(store_in(state), "file", "");
	assert_err(store_posix_open(below(state, "file"), &st), ENOTDIR);
}

static void
files_and_folders_are_the_owners_alone(void **state)
{
	struct store *st = store_in(state);
	struct store_lock *l;
	struct store_file *f;
	struct stat sb;
	size_t i;
	static const struct {
		const char *path;
		mode_t mode;
	} made[] = {
		{ "d", S_IFDIR | 0700 },     { "d/e", S_IFDIR | 0700 },
		{ "d/e/f", S_IFREG | 0600 }, { "r", S_IFDIR | 0700 },
		{ "r/r", S_IFREG | 0600 },   { "locks/x", S_IFREG | 0600 },
	};

	assert_ok(st->ops->create(st, "d/e/f", &f));
	store_close(f);
	put(st, "r/r", "");
	assert_ok(st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "", &l));
	store_unlock(l);
	for (i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		assert_int_equal(lstat(below(state, made[i].path), &sb), 0);
		assert_int_equal(sb.st_mode, made[i].mode);
	}
}

static void
symbolic_links_are_not_followed(void **state)
{
	struct store *st = store_in(state);
	struct store_lock *l;
	struct store_file *f;
	char *buf;
	size_t len;

	put(st, "real/f", "secret");
	assert_int_equal(symlink("real/f", below(state, "link")), 0);
	assert_int_equal(symlink("real", below(state, "dir")), 0);
	assert_int_equal(symlink("/etc", below(state, "out")), 0);
	assert_err(st->ops->open(st, "link", true, &f), ELOOP);
	assert_err(st->ops->load(st, "link", 99, &buf, &len), ELOOP);
	assert_true(st->ops->open(st, "dir/f", true, &f) < 0);
	assert_true(st->ops->load(st, "out/passwd", 99999, &buf, &len) < 0);
	assert_true(st->ops->create(st, "dir/g", &f) < 0);
	assert_true(st->ops->replace(st, "dir/f", "x", 1) < 0);
	assert_true(st->ops->remove(st, "dir/f") < 0);
	assert_true(st->ops->rename(st, "dir/f", "dir/g") < 0);
	assert_true(st->ops->sync_dir(st, "dir") < 0);
	assert_true(st->ops->lock(st, "dir/l", STORE_LOCK_EX, false, "", &l) <
		    0);
	assert_true(st->ops->lock(st, "link", STORE_LOCK_EX, false, "", &l) <
		    0);
	/* What is put over a link takes its place. */
	put(st, "link", "mine");
	assert_holds(st, "link", "mine");
	assert_holds(st, "real/f", "secret");
}

static void
only_regular_files_are_opened(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f;
	char *buf;
	size_t len;

	assert_int_equal(mkfifo(below(state, "fifo"), 0600), 0);
	assert_err(st->ops->open(st, "fifo", false, &f), EUCLEAN);
	assert_err(st->ops->open(st, "fifo", true, &f), EUCLEAN);
	assert_err(st->ops->load(st, "fifo", 9, &buf, &len), EUCLEAN);
	assert_int_equal(mkdir(below(state, "d"), 0700), 0);
	assert_err(st->ops->open(st, "d", false, &f), EISDIR);
	assert_err(st->ops->load(st, "d", 9999, &buf, &len), EISDIR);
}

static void
a_folder_with_what_a_crash_left_can_be_removed(void **state)
{
	struct store *st = store_in(state);

	put(st, "d/.f.ini.tmp-abcdef", "half");
	put(st, "d/e/f", "");
	assert_err(st->ops->remove(st, "d"), ENOTEMPTY);
	assert_holds(st, "d/.f.ini.tmp-abcdef", "half");
	assert_ok(st->ops->remove(st, "d/e/f"));
	assert_ok(st->ops->remove(st, "d/e"));
	assert_ok(st->ops->remove(st, "d"));
	assert_int_equal(access(below(state, "d"), F_OK), -1);
	/* But nothing that is not ours. */
	put(st, "d/.profile", "");
	assert_err(st->ops->remove(st, "d"), ENOTEMPTY);
}

static void
a_lock_whose_file_is_gone_is_lost(void **state)
{
	struct store *st = store_in(state);
	struct store_lock *a, *b;

	assert_ok(st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "", &a));
	assert_int_equal(unlink(below(state, "locks/x")), 0);
	assert_err(st->ops->lock_check(a), EBUSY);
	assert_ok(st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "b", &b));
	assert_err(st->ops->lock_check(a), EBUSY);
	st->ops->unlock(a, true); /* takes nobody else's file away */
	assert_ok(st->ops->lock_check(b));
	store_unlock(b);
}

static void
a_lock_that_is_dropped_is_no_duplicates(void **state)
{
	struct store *st = store_in(state);
	struct store_lock *l, *again;
	int fd, dup_fd;

	assert_ok(st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "", &l));
	/* As who outlives us has it, and hands it to who comes after us. */
	fd = dup(st->ops->lock_fd(l));
	dup_fd = dup(fd);
	assert_true(fd >= 0 && dup_fd >= 0);
	assert_err(st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "",
				 &again),
		   EBUSY);
	st->ops->lock_drop(fd);
	assert_ok(
	    st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "", &again));
	store_unlock(again);
	(void)close(dup_fd);
	store_unlock(l);
}

static int
child_locks(const char *dir)
{
	struct store_lock *l;
	struct store *st;
	int r;

	if (store_posix_open(dir, &st) < 0)
		return 1;
	r = st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "child", &l);
	if (r == 0)
		store_unlock(l);
	store_free(st);
	return r == -EBUSY ? 2 : r < 0 ? 3 : 0;
}

static int
in_a_child(const char *dir)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child_locks(dir));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
processes_exclude_each_other(void **state)
{
	struct env *e = *state;
	struct store_lock *l;

	assert_ok(
	    e->st->ops->lock(e->st, "locks/x", STORE_LOCK_EX, false, "", &l));
	assert_int_equal(in_a_child(e->dir), 2);
	store_unlock(l);
	assert_int_equal(in_a_child(e->dir), 0);
}

static void
a_lock_passes_on_over_fork_and_ends_with_the_process(void **state)
{
	struct env *e = *state;
	struct store_lock *l;
	int ready[2], hold[2], status;
	char *who, c = 0;
	pid_t pid;

	assert_int_equal(pipe(ready) | pipe(hold), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (e->st->ops->lock(e->st, "locks/x", STORE_LOCK_EX, false,
				     "daemon", &l) < 0)
			_exit(1);
		if (fork() != 0) /* as a daemon does: the child holds on */
			_exit(0);
		(void)close(hold[1]);
		(void)!write(ready[1], "x", 1);
		_exit((int)read(hold[0], &c, 1)); /* until the test ends */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_err(e->st->ops->lock(e->st, "locks/x", STORE_LOCK_EX, false, "",
				    &l),
		   EBUSY);
	assert_ok(e->st->ops->lock_owner(e->st, "locks/x", &who));
	assert_string_equal(who, "daemon");
	free(who);
	(void)close(hold[1]);
	assert_ok(
	    e->st->ops->lock(e->st, "locks/x", STORE_LOCK_EX, true, "", &l));
	store_unlock(l);
	(void)close(hold[0]);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

static void
what_a_holder_said_outlives_it(void **state)
{
	struct env *e = *state;
	struct store_lock *l;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(e->st->ops->lock(e->st, "locks/x", STORE_LOCK_EX, false,
				       "dead", &l) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_ok(
	    e->st->ops->lock(e->st, "locks/x", STORE_LOCK_EX, false, NULL, &l));
	assert_holds(e->st, "locks/x", "dead");
	store_unlock(l); /* it said nothing, and wipes nothing */
	assert_ok(
	    e->st->ops->lock(e->st, "locks/x", STORE_LOCK_EX, false, NULL, &l));
	assert_holds(e->st, "locks/x", "dead");
	assert_ok(e->st->ops->lock_say(l, "me"));
	assert_holds(e->st, "locks/x", "me");
	store_unlock(l);
	assert_holds(e->st, "locks/x", "");
}

#define A_FOLDER(setup)                                                        \
	T(files_and_folders_are_the_owners_alone, setup),                      \
	    T(symbolic_links_are_not_followed, setup),                         \
	    T(only_regular_files_are_opened, setup),                           \
	    T(a_folder_with_what_a_crash_left_can_be_removed, setup),          \
	    T(a_lock_whose_file_is_gone_is_lost, setup),                       \
	    T(a_lock_that_is_dropped_is_no_duplicates, setup),                 \
	    T(processes_exclude_each_other, setup),                            \
	    T(what_a_holder_said_outlives_it, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		A_FOLDER(setup_posix),
		A_FOLDER(setup_walking),
		T(a_folder_must_be_there, setup_posix),
		T(a_lock_passes_on_over_fork_and_ends_with_the_process,
		  setup_posix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
