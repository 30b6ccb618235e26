/*
 * test_fakes.c - the stores that other tests lean on: what a crash can do to
 * the one in memory, and how the one that fails is told to.
 */
#include "store_env.h"

static struct store_file *
file_with(struct store *st, const char *path, int c, size_t len)
{
	struct store_file *f;
	char *buf = malloc(len);

	assert_non_null(buf);
	memset(buf, c, len);
	assert_ok(st->ops->create(st, path, &f));
	assert_ok(st->ops->write(f, buf, len, 0));
	assert_ok(st->ops->sync(f));
	assert_ok(st->ops->sync_dir(st, ""));
	free(buf);
	return f;
}

#define LEN 200000

/* How many sectors of "f" hold ${c}; all hold that or ${other}. */
static unsigned
count_sectors(struct store *st, char c, char other)
{
	static char buf[LEN];
	struct store_file *f;
	unsigned n = 0;

	assert_ok(st->ops->open(st, "f", false, &f));
	assert_ok(st->ops->read(f, buf, LEN, 0));
	store_close(f);
	for (size_t i = 0; i < LEN; i++) {
		assert_true(buf[i] == c || buf[i] == other);
		if (i % 512)
			assert_int_equal(buf[i], buf[i - 1]);
		else
			n += buf[i] == c;
	}
	return n;
}

static void
a_crash_keeps_what_was_synced_and_tears_the_rest(void **state)
{
	struct store *st = store_in(state);
	bool torn = false, kept = false, lost = false;
	struct store_file *f;
	static char buf[LEN];
	unsigned n;

	for (uint64_t seed = 0; seed < 40; seed++) {
		f = file_with(st, "f", 'a', LEN);
		memset(buf, 'b', LEN);
		assert_ok(st->ops->write(f, buf, LEN, 0));
		mem_store_crash(st, seed);
		assert_err(st->ops->read(f, buf, 1, 0), EIO);
		store_close(f);
		n = count_sectors(st, 'b', 'a');
		lost |= n == 0;
		kept |= n == (LEN + 511) / 512;
		torn |= n > 0 && n < (LEN + 511) / 512;
		assert_ok(st->ops->remove(st, "f"));
	}
	assert_true(torn && kept && lost);
}

static void
a_crash_may_lose_names_and_sizes_that_were_not_synced(void **state)
{
	struct store *st = store_in(state);
	unsigned there = 0, shorter = 0;
	struct store_file *f;
	uint64_t size;

	for (uint64_t seed = 0; seed < 40; seed++) {
		f = file_with(st, "f", 'a', LEN);
		assert_ok(st->ops->truncate(f, 0));
		store_close(f);
		assert_ok(st->ops->create(st, "g", &f));
		store_close(f);
		put(st, "h/i", "durable");
		mem_store_crash(st, seed);
		assert_holds(st, "h/i", "durable");
		if (st->ops->remove(st, "g") == 0)
			there++;
		assert_ok(st->ops->open(st, "f", false, &f));
		assert_ok(st->ops->size(f, &size));
		shorter += size == 0;
		store_close(f);
		assert_ok(st->ops->remove(st, "f"));
		assert_ok(st->ops->sync_all(st));
	}
	assert_in_range(there, 5, 35);
	assert_in_range(shorter, 5, 35);
}

/* Answers given one by one; what was asked, as letters. */
struct script {
	const char *answers;
	char asked[64];
	size_t n;
};

static unsigned
by_script(void *arg, const struct mem_ask *ask)
{
	static const char letters[] = "nzws";
	struct script *s = arg;
	char c = s->answers[s->n];

	assert_true(c >= '0' && (unsigned)(c - '0') < ask->n);
	s->asked[s->n++] = letters[ask->what];
	return (unsigned)(c - '0');
}

/* What a fork by ${answers} holds in "f": its first byte, '-' for no file. */
static char
fork_holds(struct store *st, const char *answers, const char *asked)
{
	struct script s = { .answers = answers };
	struct store *to = mem_store_fork(st, by_script, &s);
	struct store_file *f;
	char c = '-';

	assert_string_equal(s.asked, asked);
	if (to->ops->open(to, "f", false, &f) == 0) {
		assert_ok(to->ops->read(f, &c, 1, 0));
		store_close(f);
	}
	store_free(to);
	return c;
}

static void
a_fork_is_what_a_cut_could_leave(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f = file_with(st, "f", 'a', 4096);

	mem_store_record(st, NULL, NULL);
	assert_int_equal(fork_holds(st, "", ""), 'a');
	/* Either of two writes, or none; in any order. */
	assert_ok(st->ops->write(f, "b", 1, 0));
	assert_ok(st->ops->write(f, "c", 1, 0));
	assert_int_equal(fork_holds(st, "00", "ww"), 'a');
	assert_int_equal(fork_holds(st, "10", "ww"), 'b');
	assert_int_equal(fork_holds(st, "01", "ww"), 'c');
	assert_int_equal(fork_holds(st, "11", "ww"), 'c');
	assert_ok(st->ops->sync(f));
	assert_int_equal(fork_holds(st, "", ""), 'c');
	/* Names apart from contents: the old file, none, or the new one. */
	assert_ok(st->ops->remove(st, "f"));
	store_close(f);
	assert_ok(st->ops->create(st, "f", &f));
	assert_ok(st->ops->write(f, "d", 1, 0));
	assert_int_equal(fork_holds(st, "0", "n"), 'c');
	assert_int_equal(fork_holds(st, "1", "n"), '-');
	assert_int_equal(fork_holds(st, "211", "nwz"), 'd');
	assert_ok(st->ops->sync(f));
	assert_int_equal(fork_holds(st, "0", "n"), 'c');
	assert_int_equal(fork_holds(st, "2", "n"), 'd');
	assert_ok(st->ops->sync_dir(st, ""));
	assert_int_equal(fork_holds(st, "", ""), 'd');
	store_close(f);
}

static void
a_fork_can_tear_a_write(void **state)
{
	struct store *st = store_in(state), *to;
	struct script s = { .answers = "2010" };
	struct store_file *f = file_with(st, "f", 'a', 1536);
	char buf[1536];

	mem_store_record(st, NULL, NULL);
	memset(buf, 'b', sizeof(buf));
	assert_ok(st->ops->write(f, buf, sizeof(buf), 0));
	store_close(f);
	to = mem_store_fork(st, by_script, &s);
	assert_string_equal(s.asked, "wsss");
	assert_ok(to->ops->open(to, "f", false, &f));
	assert_ok(to->ops->read(f, buf, sizeof(buf), 0));
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], i / 512 == 1 ? 'b' : 'a');
	store_close(f);
	store_free(to);
}

static void
count(void *arg)
{
	++*(unsigned *)arg;
}

static void
what_makes_something_durable_is_watched(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f = file_with(st, "f", 'a', 4096);
	unsigned n = 0;

	mem_store_record(st, count, &n);
	assert_ok(st->ops->write(f, "b", 1, 0));
	assert_ok(st->ops->punch(f, 0, 4096));
	assert_int_equal(n, 0);
	assert_ok(st->ops->sync(f));
	assert_ok(st->ops->sync_dir(st, ""));
	assert_ok(st->ops->sync_all(st));
	put(st, "g", "text");
	assert_ok(st->ops->rename(st, "g", "h"));
	assert_int_equal(n, 5);
	mem_store_record(st, NULL, NULL);
	store_close(f);
}

static void
a_death_comes_before_the_change_that_was_chosen(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f = file_with(st, "f", 'a', 4096);
	unsigned n = 0;

	put(st, "g", "text");
	mem_store_record(st, NULL, NULL);
	mem_store_die(st, 2, count, &n);
	assert_ok(st->ops->write(f, "b", 1, 0));
	assert_int_equal(n, 0);
	assert_err(st->ops->remove(st, "g"), EIO);
	assert_int_equal(n, 1);
	assert_err(st->ops->write(f, "c", 1, 0), EIO);
	assert_err(st->ops->rename(st, "g", "h"), EIO);
	store_close(f);
	mem_store_kill(st);
	assert_int_equal(n, 1);
	assert_ok(st->ops->rename(st, "g", "h"));
	assert_int_equal(fork_holds(st, "1", "w"), 'b');
}

static void
what_is_gone_may_come_back_until_its_folder_is_synced(void **state)
{
	struct store *st = store_in(state);

	put(st, "f", "text");
	assert_true(mem_store_settled(st, "f"));
	assert_ok(st->ops->remove(st, "f"));
	assert_false(mem_store_settled(st, "f"));
	assert_ok(st->ops->sync_dir(st, ""));
	assert_true(mem_store_settled(st, "f"));
}

static void
a_kill_keeps_all_and_frees_locks(void **state)
{
	struct store *st = store_in(state);
	struct store_lock *l, *m;
	struct store_file *f;

	f = file_with(st, "f", 'a', LEN);
	assert_ok(st->ops->write(f, "zzzz", 4, 0));
	assert_ok(st->ops->lock(st, "l", STORE_LOCK_EX, false, "", &l));
	mem_store_kill(st);
	assert_err(st->ops->lock_check(l), EBUSY);
	assert_ok(st->ops->lock(st, "l", STORE_LOCK_EX, false, "", &m));
	store_unlock(m);
	store_unlock(l);
	store_close(f);
	assert_ok(st->ops->open(st, "f", false, &f));
	store_close(f);
}

static void
what_a_failed_sync_lost_is_seen_until_it_is_dropped(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f;
	static char buf[LEN];

	f = file_with(st, "f", 'a', LEN);
	memset(buf, 'b', LEN);
	assert_ok(st->ops->write(f, buf, LEN, 0));
	mem_store_lose(st, f);
	assert_int_equal(count_sectors(st, 'b', 'a'), (LEN + 511) / 512);
	assert_ok(st->ops->sync(f)); /* nothing to write, it thinks */
	st->ops->drop(f);
	assert_in_range(count_sectors(st, 'b', 'a'), 1, LEN / 512 - 1);
	store_close(f);
}

static void
a_full_store_has_space_again_after_a_removal(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f, *g;
	static char buf[LEN];

	mem_store_limit(st, 300000);
	f = file_with(st, "f", 'a', LEN);
	assert_ok(st->ops->create(st, "g", &g));
	assert_err(st->ops->write(g, buf, LEN, 0), ENOSPC);
	assert_ok(st->ops->write(f, buf, LEN, 0)); /* over what is there */
	store_close(f);
	assert_ok(st->ops->remove(st, "f"));
	assert_ok(st->ops->write(g, buf, LEN, 0));
	store_close(g);
}

/* The store that fails. */

static void
the_call_that_was_chosen_fails_once_or_from_then_on(void **state)
{
	struct store *st = store_in(state);

	fault_kinds(st, FAULT_REPLACE);
	fault_arm(st, 2, -EIO, false);
	put(st, "a", "1");
	assert_false(fault_fired(st));
	assert_err(st->ops->replace(st, "a", "2", 1), EIO);
	assert_true(fault_fired(st));
	assert_holds(st, "a", "1");
	put(st, "a", "3");

	fault_arm(st, 1, -EDQUOT, true);
	assert_err(st->ops->replace(st, "a", "4", 1), EDQUOT);
	assert_err(st->ops->replace(st, "a", "5", 1), EDQUOT);
	fault_arm(st, 0, 0, false);
	assert_holds(st, "a", "3");

	fault_mode(st, FAULT_AFTER);
	fault_arm(st, 1, -EIO, false);
	assert_err(st->ops->replace(st, "a", "6", 1), EIO);
	assert_holds(st, "a", "6");
	assert_int_equal(fault_count(st, FAULT_REPLACE), 6);

	fault_full(st, true);
	assert_err(st->ops->replace(st, "a", "7", 1), ENOSPC);
	assert_ok(st->ops->remove(st, "a"));
	fault_full(st, false);
	put(st, "a", "8");
}

static void
half_a_write_is_made(void **state)
{
	struct store *st = store_in(state);
	struct store_file *f;

	assert_ok(st->ops->create(st, "f", &f));
	assert_ok(st->ops->write(f, "aaaa", 4, 0));
	fault_mode(st, FAULT_HALF);
	fault_arm(st, 1, -EIO, false);
	assert_err(st->ops->write(f, "bbbb", 4, 0), EIO);
	store_close(f);
	assert_holds(st, "f", "bbaa");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_crash_keeps_what_was_synced_and_tears_the_rest, setup_mem),
		T(a_crash_may_lose_names_and_sizes_that_were_not_synced,
		  setup_mem),
		T(a_kill_keeps_all_and_frees_locks, setup_mem),
		T(a_fork_is_what_a_cut_could_leave, setup_mem),
		T(a_fork_can_tear_a_write, setup_mem),
		T(what_makes_something_durable_is_watched, setup_mem),
		T(a_death_comes_before_the_change_that_was_chosen, setup_mem),
		T(what_is_gone_may_come_back_until_its_folder_is_synced,
		  setup_mem),
		T(what_a_failed_sync_lost_is_seen_until_it_is_dropped,
		  setup_mem),
		T(a_full_store_has_space_again_after_a_removal, setup_mem),
		T(the_call_that_was_chosen_fails_once_or_from_then_on,
		  setup_fault),
		T(half_a_write_is_made, setup_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
