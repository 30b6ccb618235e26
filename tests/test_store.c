/*
 * test_store.c - what store.h promises, of every store that there is.
 */
#include "store_env.h"

#include <pthread.h>

/* valgrind (3.19) does not know that F_OFD_SETLKW waits, and stops every other
 * thread meanwhile. */
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

static void
what_is_written_is_read_back(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f;
	char buf[8] = "";
	uint64_t size;

	assert_err(st->ops->open(st, "a/b/c", true, &f), ENOENT);
	assert_ok(st->ops->create(st, "a/b/c", &f));
	assert_ok(st->ops->write(f, "hello", 5, 100000));
	assert_ok(st->ops->size(f, &size));
	assert_int_equal(size, 100005);
	assert_ok(st->ops->read(f, buf, 5, 100000));
	assert_memory_equal(buf, "hello", 5);
	assert_ok(st->ops->read(f, buf, 5, 10));
	assert_memory_equal(buf, "\0\0\0\0\0", 5);
	assert_ok(st->ops->sync(f));
	assert_ok(st->ops->sync_dir(st, "a/b"));
	assert_ok(st->ops->sync_dir(st, ""));
	assert_ok(st->ops->sync_all(st));
	st->ops->writeback(f, 0, size);
	st->ops->uncache(f, 0, size);
	assert_ok(st->ops->read(f, buf, 5, 100000));
	assert_memory_equal(buf, "hello", 5);
	st->ops->drop(f);
	store_close(f);

	assert_ok(st->ops->open(st, "a/b/c", false, &f));
	assert_ok(st->ops->read(f, buf, 5, 100000));
	assert_memory_equal(buf, "hello", 5);
	assert_true(st->ops->write(f, "x", 1, 0) < 0);
	store_close(f);
}

static void
reading_past_the_end_is_an_error(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f;
	char buf[8];

	assert_ok(st->ops->create(st, "f", &f));
	assert_ok(st->ops->write(f, "1234", 4, 0));
	assert_ok(st->ops->read(f, buf, 4, 0));
	assert_err(st->ops->read(f, buf, 5, 0), ENODATA);
	assert_err(st->ops->read(f, buf, 1, 4), ENODATA);
	store_close(f);
}

static void
create_is_exclusive(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f;

	assert_ok(st->ops->create(st, "d/f", &f));
	store_close(f);
	assert_err(st->ops->create(st, "d/f", &f), EEXIST);
	assert_err(st->ops->create(st, "d", &f), EEXIST);
	assert_err(st->ops->create(st, "d/f/x", &f), ENOTDIR);
}

static void
what_is_punched_is_zeros_and_takes_no_space(void **state)
{
	struct store *st = store_in(state);
	static char buf[65536];
	struct store_file *f;
	uint64_t before, after, size;

	assert_ok(st->ops->create(st, "f", &f));
	memset(buf, 'x', sizeof(buf));
	for (unsigned i = 0; i < 8; i++)
		assert_ok(st->ops->write(f, buf, sizeof(buf), i * 65536));
	assert_ok(st->ops->sync(f));
	assert_ok(st->ops->allocated(f, &before));
	assert_ok(st->ops->punch(f, 65536 + 4096, 5 * 65536));
	assert_ok(st->ops->sync(f));
	assert_ok(st->ops->allocated(f, &after));
	assert_true(after <= before - 4 * 65536);
	assert_ok(st->ops->size(f, &size));
	assert_int_equal(size, 8 * 65536);
	assert_ok(st->ops->read(f, buf, 8192, 65536));
	assert_int_equal(buf[4095], 'x');
	assert_int_equal(buf[4096], 0);
	assert_int_equal(buf[8191], 0);
	store_close(f);
}

static void
what_was_cut_off_comes_back_as_zeros(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f;
	char buf[4];

	assert_ok(st->ops->create(st, "f", &f));
	assert_ok(st->ops->write(f, "abcd", 4, 70000));
	assert_ok(st->ops->truncate(f, 70002));
	assert_err(st->ops->read(f, buf, 4, 70000), ENODATA);
	assert_ok(st->ops->truncate(f, 80000));
	assert_ok(st->ops->read(f, buf, 4, 70000));
	assert_memory_equal(buf, "ab\0\0", 4);
	store_close(f);
}

static void
replace_puts_a_file_over_another(void **state)
{
	struct store *st = store_in(state);
	char *buf;
	size_t len;

	assert_err(st->ops->load(st, "x/y", 10, &buf, &len), ENOENT);
	put(st, "x/y", "one");
	assert_holds(st, "x/y", "one");
	put(st, "x/y", "two, longer");
	assert_holds(st, "x/y", "two, longer");
	assert_err(st->ops->load(st, "x/y", 10, &buf, &len), EFBIG);
	put(st, "x/y", "");
	assert_holds(st, "x/y", "");
}

static void
rename_never_replaces(void **state)
{
	struct store *st = store_in(state);

	put(st, "d/a", "a");
	put(st, "d/b", "b");
	assert_err(st->ops->rename(st, "d/a", "d/b"), EEXIST);
	assert_err(st->ops->rename(st, "d/x", "d/y"), ENOENT);
	assert_ok(st->ops->rename(st, "d/a", "d/c"));
	assert_absent(st, "d/a");
	assert_holds(st, "d/b", "b");
	assert_holds(st, "d/c", "a");
	/* Folders, with what is in them. */
	put(st, "e/f", "f");
	assert_err(st->ops->rename(st, "d", "e"), EEXIST);
	assert_ok(st->ops->rename(st, "d", "g"));
	assert_holds(st, "g/c", "a");
}

static void
remove_takes_files_and_empty_folders(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f;
	char c;

	put(st, "d/e/f", "f");
	assert_err(st->ops->remove(st, "d/e"), ENOTEMPTY);
	assert_err(st->ops->remove(st, "d/x"), ENOENT);
	assert_ok(st->ops->open(st, "d/e/f", false, &f));
	assert_ok(st->ops->remove(st, "d/e/f"));
	assert_ok(st->ops->read(f, &c, 1, 0)); /* open, it lives on */
	store_close(f);
	assert_err(st->ops->remove(st, "d/e/f"), ENOENT);
	assert_ok(st->ops->remove(st, "d/e"));
	assert_ok(st->ops->remove(st, "d"));
	assert_err(st->ops->remove(st, "d"), ENOENT);
}

struct seen {
	unsigned files, folders;
	char last[256];
};

static int
count(const char *name, bool is_dir, void *arg)
{
	struct seen *s = arg;

	*(is_dir ? &s->folders : &s->files) += 1;
	(void)snprintf(s->last, sizeof(s->last), "%s", name);
	return 0;
}

static int
stop(const char *name, bool is_dir, void *arg)
{
	(void)name;
	(void)is_dir;
	++*(int *)arg;
	return 7;
}

static void
list_shows_names_but_temporary_ones(void **state)
{
	struct store *st = store_in(state);
	struct seen s = { 0 };
	int calls = 0;

	assert_err(st->ops->list(st, "d", count, &s), ENOENT);
	put(st, "d/.hidden.tmp-1", "");
	put(st, "d/one", "");
	put(st, "d/e/f", "");
	assert_ok(st->ops->list(st, "d", count, &s));
	assert_int_equal(s.files, 1);
	assert_int_equal(s.folders, 1);
	s = (struct seen){ 0 };
	assert_ok(st->ops->list(st, "", count, &s));
	assert_int_equal(s.folders, 1);
	assert_string_equal(s.last, "d");
	assert_int_equal(st->ops->list(st, "d", stop, &calls), 7);
	assert_int_equal(calls, 1);
	assert_err(st->ops->list(st, "d/one", count, &s), ENOTDIR);
}

static void
paths_cannot_lead_out(void **state)
{
	static const char *const bad[] = {
		"..", "../x", "/etc/passwd", "a/../../x", "a/./b",
		".",  "a//b", "a/",          "/",         "a/..",
	};
	struct store *st = store_in(state);
	struct store_file *f;
	char *buf, path[STORE_PATH_LEN + 8];
	size_t i, len;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_err(st->ops->open(st, bad[i], false, &f), EINVAL);
		assert_err(st->ops->create(st, bad[i], &f), EINVAL);
		assert_err(st->ops->load(st, bad[i], 9, &buf, &len), EINVAL);
		assert_err(st->ops->replace(st, bad[i], "", 0), EINVAL);
		assert_err(st->ops->remove(st, bad[i]), EINVAL);
		assert_err(st->ops->rename(st, bad[i], "x"), EINVAL);
	}
	assert_err(st->ops->open(st, "", false, &f), EISDIR);
	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_err(st->ops->create(st, path, &f), ENAMETOOLONG);
	path[STORE_PATH_LEN - 1] = '\0'; /* a component of 511 bytes */
	assert_err(st->ops->create(st, path, &f), EINVAL);
}

static void
an_exclusive_lock_shuts_out_all_others(void **state)
{
	struct store *st = store_in(state);
	struct store_lock *a, *b;
	char *who;

	assert_err(st->ops->lock_owner(st, "locks/x", &who), ENOENT);
	assert_ok(st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "me", &a));
	assert_err(st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "", &b),
		   EBUSY);
	assert_err(st->ops->lock(st, "locks/x", STORE_LOCK_SH, false, "", &b),
		   EBUSY);
	assert_ok(st->ops->lock(st, "locks/y", STORE_LOCK_EX, true, NULL, &b));
	store_unlock(b);
	assert_ok(st->ops->lock_owner(st, "locks/x", &who));
	assert_string_equal(who, "me");
	free(who);
	assert_ok(st->ops->lock_check(a));
	assert_ok(st->ops->lock_say(a, "still me"));
	assert_ok(st->ops->lock_owner(st, "locks/x", &who));
	assert_string_equal(who, "still me");
	free(who);
	store_unlock(a);
	assert_err(st->ops->lock_owner(st, "locks/x", &who), ENOENT);

	assert_ok(st->ops->lock(st, "locks/x", STORE_LOCK_SH, false, "", &a));
	assert_ok(st->ops->lock(st, "locks/x", STORE_LOCK_SH, false, "", &b));
	assert_ok(st->ops->lock_check(b));
	store_unlock(b);
	assert_err(st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "", &b),
		   EBUSY);
	store_unlock(a);
	assert_ok(st->ops->lock(st, "locks/x", STORE_LOCK_EX, false, "", &b));
	st->ops->unlock(b, true);
}

struct waiter {
	struct store *st;
	unsigned held, rounds;
	bool failed;
};

static void *
take_turns(void *arg)
{
	struct waiter *w = arg;
	struct store_lock *l;

	for (unsigned i = 0; i < w->rounds; i++) {
		if (w->st->ops->lock(w->st, "locks/t", STORE_LOCK_EX, true, "t",
				     &l) < 0 ||
		    __atomic_fetch_add(&w->held, 1, __ATOMIC_SEQ_CST) != 0)
			w->failed = true;
		if (w->st->ops->lock_check(l) < 0)
			w->failed = true;
		__atomic_fetch_sub(&w->held, 1, __ATOMIC_SEQ_CST);
		/* That the file goes away confuses nobody who waits for it. */
		w->st->ops->unlock(l, i % 3 == 0);
	}
	return NULL;
}

static void
threads_take_turns_at_a_lock(void **state)
{
	struct waiter w = { .st = store_in(state), .rounds = 200 };
	pthread_t t[4];

	if (RUNNING_ON_VALGRIND)
		skip();
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, take_turns, &w),
				 0);
	for (unsigned i = 0; i < 4; i++)
		(void)pthread_join(t[i], NULL);
	assert_false(w.failed);
}

static void
space_is_told(void **state)
{
	struct store *st = store_in(state);
	struct store_space s;

	assert_ok(st->ops->space(st, &s));
	assert_true(s.total > 0 && s.free <= s.total);
}

#define EVERY_TEST(setup)                                                      \
	T(what_is_written_is_read_back, setup),                                \
	    T(reading_past_the_end_is_an_error, setup),                        \
	    T(create_is_exclusive, setup),                                     \
	    T(what_is_punched_is_zeros_and_takes_no_space, setup),             \
	    T(what_was_cut_off_comes_back_as_zeros, setup),                    \
	    T(replace_puts_a_file_over_another, setup),                        \
	    T(rename_never_replaces, setup),                                   \
	    T(remove_takes_files_and_empty_folders, setup),                    \
	    T(list_shows_names_but_temporary_ones, setup),                     \
	    T(paths_cannot_lead_out, setup),                                   \
	    T(an_exclusive_lock_shuts_out_all_others, setup),                  \
	    T(threads_take_turns_at_a_lock, setup), T(space_is_told, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EVERY_TEST(setup_posix),
		EVERY_TEST(setup_walking),
		EVERY_TEST(setup_mem),
		EVERY_TEST(setup_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
