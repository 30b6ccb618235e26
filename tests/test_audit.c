/*
 * test_audit.c - the audit log: what it says, that nothing is changed in it
 * unseen, and that what a crash leaves is no alarm.
 */
#include "test.h"

#include <jansson.h>
#include <pthread.h>
#include <time.h>

#include <sealdisk/crypto.h>
#include <sealdisk/io.h>

#include "audit.h"

/* A head as the keystore would keep it. */
struct env {
	char dir[TMPDIR_LEN];
	char log[TMPDIR_LEN + 8];
	struct audit *a;
	struct audit_owner owner;
	pthread_mutex_t lock;
	struct audit_head head;
	unsigned saves;
	int fail_save;
	bool locked; /* no key */
};

static const struct key log_key = { { 7 } };

static int
load_head(void *arg, struct audit_head *ret)
{
	struct env *e = arg;

	(void)pthread_mutex_lock(&e->lock);
	*ret = e->head;
	(void)pthread_mutex_unlock(&e->lock);
	return 0;
}

static int
save_head(void *arg, const struct audit_head *h)
{
	struct env *e = arg;

	if (e->fail_save)
		return e->fail_save;
	(void)pthread_mutex_lock(&e->lock);
	e->head = *h;
	e->saves++;
	(void)pthread_mutex_unlock(&e->lock);
	return 0;
}

/* While others may save it. */
static struct audit_head
head_of(struct env *e)
{
	struct audit_head h;

	assert_ok(load_head(e, &h));
	return h;
}

static unsigned
saves_of(struct env *e)
{
	unsigned n;

	(void)pthread_mutex_lock(&e->lock);
	n = e->saves;
	(void)pthread_mutex_unlock(&e->lock);
	return n;
}

static int
get_key(void *arg, struct key *ret)
{
	struct env *e = arg;

	if (e->locked)
		return -ENOKEY;
	*ret = log_key;
	return 0;
}

static int
setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	tmpdir_make(e->dir);
	(void)snprintf(e->log, sizeof(e->log), "%s/audit", e->dir);
	e->owner = (struct audit_owner){ load_head, save_head, get_key, e };
	(void)pthread_mutex_init(&e->lock, NULL);
	*state = e;
	return 0;
}

static int
teardown(void **state)
{
	struct env *e = *state;

	audit_close(e->a);
	(void)pthread_mutex_destroy(&e->lock);
	tmpdir_remove(e->dir);
	free(e);
	return 0;
}

static void
reopen(struct env *e, bool exclusive)
{
	audit_close(e->a);
	e->a = NULL;
	assert_ok(audit_open(e->log, exclusive, &e->owner, &e->a));
}

static int
write_line(struct env *e, const char *action, bool durable)
{
	const struct context_pair pair = { "lineage", "x" };
	const struct context ctx = { &pair, 1 };
	const struct audit_event ev = { .request_id = "r",
					.principal = "uid/0",
					.peer = "uid=0,pid=1",
					.action = action,
					.key = "k",
					.version = "v",
					.context = &ctx,
					.result = "ok",
					.status = 200,
					.micros = 12 };
	int r = audit_ready(e->a);

	return r < 0 ? r : audit_write(e->a, &ev, durable);
}

static void
write_lines(struct env *e, unsigned n)
{
	char action[32];

	while (n-- > 0) {
		(void)snprintf(action, sizeof(action), "Action%u", n);
		assert_ok(write_line(e, action, true));
	}
}

/* The first two flaws, "FILE:LINE: WHAT". */
struct flaws {
	unsigned n;
	char text[2][128];
};

static void
add_flaw(const struct kms_audit_flaw *f, void *arg)
{
	struct flaws *all = arg;

	if (all->n < 2)
		(void)snprintf(all->text[all->n], sizeof(all->text[0]),
			       "%u:%llu: %s", f->file,
			       (unsigned long long)f->line, f->what);
	all->n++;
}

static void
verify(struct env *e, struct flaws *f, struct kms_audit_report *report)
{
	*f = (struct flaws){ 0 };
	assert_ok(
	    audit_verify(e->log, &e->head, &log_key, 1, add_flaw, f, report));
	assert_int_equal(report->flaws, f->n);
}

static void
assert_whole(struct env *e, uint64_t lines, uint64_t unsealed)
{
	struct kms_audit_report report;
	struct flaws f;

	verify(e, &f, &report);
	if (f.n)
		print_error("%s\n", f.text[0]);
	assert_int_equal(f.n, 0);
	assert_int_equal(report.lines, lines);
	assert_int_equal(report.unsealed, unsealed);
}

static void
assert_flaw(struct env *e, const char *begins)
{
	struct kms_audit_report report;
	struct flaws f;

	verify(e, &f, &report);
	assert_true(f.n > 0);
	if (strncmp(f.text[0], begins, strlen(begins)) != 0) {
		print_error("%s, not %s\n", f.text[0], begins);
		fail();
	}
}

/* ---- the files ---- */

static const char *
log_path(struct env *e, unsigned file)
{
	static char path[TMPDIR_LEN + 40];

	(void)snprintf(path, sizeof(path), "%s/audit-%06u.log", e->log, file);
	return path;
}

static char *
load_log(struct env *e, unsigned file, size_t *ret_len)
{
	char *text;

	assert_ok(
	    io_load(AT_FDCWD, log_path(e, file), 1 << 26, &text, ret_len));
	return text;
}

static void
save_log(struct env *e, unsigned file, const char *text, size_t len)
{
	assert_ok(io_replace(AT_FDCWD, log_path(e, file), text, len, 0600));
}

/* Line ${i}, from 0, with its line feed. */
static char *
find_line(char *text, unsigned i, size_t *ret_len)
{
	while (i-- > 0)
		text = strchr(text, '\n') + 1;
	*ret_len = (size_t)(strchr(text, '\n') - text) + 1;
	return text;
}

/* ---- tests ---- */

static void
a_line_says_what_was_asked(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL;
	json_t *j;
	size_t len;

	reopen(e, false);
	assert_ok(write_line(e, "Decrypt", false));
	text = load_log(e, 1, &len);
	j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	assert_int_equal(json_integer_value(json_object_get(j, "n")), 1);
	assert_string_equal(json_string_value(json_object_get(j, "kind")),
			    "request");
	assert_string_equal(json_string_value(json_object_get(j, "action")),
			    "Decrypt");
	assert_string_equal(json_string_value(json_object_get(
				json_object_get(j, "context"), "lineage")),
			    "x");
	assert_int_equal(json_integer_value(json_object_get(j, "status")), 200);
	assert_null(json_object_get(j, "reason"));
	json_decref(j);
	assert_whole(e, 1, 0);
}

/* Whatever a request says, it is one line of printable ASCII, and comes back.
 */
static void
nothing_in_a_request_makes_a_line_of_its_own(void **state)
{
	static const char *const evil[] = {
		"x\"}\n{\"n\":2,\"prev\":\"\",\"kind\":\"seal\"}",
		"\r\n\t\b\x1b[2J\x7f\\",
		"\xe4\xb8\xad\xf0\x9f\x94\x91 \xc2\x9b \xe2\x80\xa8",
		"\xff\xfe\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80",
		"\",\"result\":\"ok",
	};
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL;
	const size_t n = sizeof(evil) / sizeof(evil[0]);
	char *line;
	json_t *j;
	size_t len, i, k;

	reopen(e, true);
	for (i = 0; i < n; i++) {
		const struct context_pair pair = { evil[i], evil[i] };
		const struct context ctx = { &pair, 1 };
		const struct audit_event ev = { .request_id = evil[i],
						.principal = evil[i],
						.access_key = evil[i],
						.peer = evil[i],
						.action = evil[i],
						.key = evil[i],
						.context = &ctx,
						.result = "no",
						.reason = evil[i] };

		assert_ok(audit_write(e->a, &ev, true));
	}
	assert_whole(e, n, 0);
	text = load_log(e, 1, &len);
	for (i = 0; i < n; i++) {
		line = find_line(text, (unsigned)i, &len);
		for (k = 0; k + 1 < len; k++)
			assert_in_range(line[k], ' ', '~');
		j = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(j);
		assert_string_equal(
		    json_string_value(json_object_get(j, "result")), "no");
		if (utf8_valid(evil[i], strlen(evil[i])))
			assert_string_equal(
			    json_string_value(json_object_get(j, "action")),
			    evil[i]);
		json_decref(j);
	}
}

static void
a_line_has_its_bound(void **state)
{
	static char big[20000];
	const struct context_pair pair = { "a", big };
	const struct context ctx = { &pair, 1 };
	const struct audit_event ev = { big, big,  big, big, big, big, big,
					big, &ctx, big, big, 7,   8 };
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	json_t *j;

	memset(big, '\x01', sizeof(big) - 1);
	reopen(e, false);
	assert_ok(audit_write(e->a, &ev, true));
	text = load_log(e, 1, &len);
	assert_true(len < AUDIT_LINE_MAX);
	j = json_loads(text, 0, NULL);
	assert_non_null(j);
	assert_true(json_is_true(json_object_get(j, "context_too_long")));
	assert_int_equal(json_integer_value(json_object_get(j, "micros")), 8);
	json_decref(j);
	assert_whole(e, 1, 0);
}

static void
several_append_to_one_chain(void **state)
{
	struct env *e = *state;
	struct audit *other;
	unsigned i;

	reopen(e, false);
	assert_ok(audit_open(e->log, false, &e->owner, &other));
	for (i = 0; i < 20; i++) {
		struct audit *mine = e->a;

		write_lines(e, i % 3);
		e->a = other;
		write_lines(e, 1);
		e->a = mine;
	}
	audit_close(other);
	assert_whole(e, 39, 0);
}

static void
one_alone_has_it_alone(void **state)
{
	struct env *e = *state;
	struct audit *other;

	reopen(e, true);
	assert_err(audit_open(e->log, true, &e->owner, &other), EBUSY);
	write_lines(e, 3);
	audit_close(e->a);
	e->a = NULL;
	reopen(e, false);
	write_lines(e, 1);
	assert_whole(e, 4, 0);
}

static void
data_lines_share_a_sync(void **state)
{
	struct env *e = *state;
	struct kms_audit_report report;
	struct flaws f;
	unsigned i, saves;

	reopen(e, true);
	saves = saves_of(e);
	for (i = 0; i < 1000; i++)
		assert_ok(write_line(e, "Decrypt", false));
	/* In the file at once, durable a little later. */
	verify(e, &f, &report);
	assert_int_equal(f.n, 0);
	assert_int_equal(report.lines, 1000);
	for (i = 0; i < 100 && head_of(e).lines < 1000; i++)
		(void)usleep(20000);
	assert_int_equal(head_of(e).lines, 1000);
	assert_in_range(saves_of(e) - saves, 1, 50);
	/* One that is waited for is durable when it is answered. */
	assert_ok(write_line(e, "CreateKey", true));
	assert_int_equal(head_of(e).lines, 1001);
}

struct writer_thread {
	struct env *e;
	int r;
};

static void *
write_many(void *arg)
{
	struct writer_thread *w = arg;
	int i;

	for (i = 0; i < 100 && w->r == 0; i++)
		w->r = write_line(w->e, "CreateKey", i % 10 == 0);
	return NULL;
}

static void
threads_keep_the_chain(void **state)
{
	struct env *e = *state;
	struct writer_thread w[8];
	pthread_t t[8];
	unsigned i;

	reopen(e, true);
	audit_set_file_max(e->a, 20000);
	for (i = 0; i < 8; i++) {
		w[i] = (struct writer_thread){ e, 0 };
		assert_int_equal(pthread_create(&t[i], NULL, write_many, &w[i]),
				 0);
	}
	for (i = 0; i < 8; i++) {
		(void)pthread_join(t[i], NULL);
		assert_ok(w[i].r);
	}
	audit_close(e->a);
	e->a = NULL;
	assert_int_equal(e->head.lines, 800 + e->head.file - 1);
	assert_true(e->head.file > 5);
	assert_whole(e, e->head.lines, 0);
}

static void
a_full_file_is_sealed(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL;
	struct kms_audit_report report;
	struct flaws f;
	char *line;
	size_t len;

	reopen(e, false);
	audit_set_file_max(e->a, 1000);
	e->locked = true;
	write_lines(e, 10); /* no key: it grows on */
	assert_int_equal(e->head.file, 1);
	e->locked = false;
	write_lines(e, 10);
	assert_true(e->head.file >= 3);
	assert_whole(e, 20 + e->head.file - 1, 0);
	assert_ok(
	    audit_verify(e->log, &e->head, NULL, 1, add_flaw, &f, &report));
	assert_int_equal(report.seals, e->head.file - 1);
	assert_int_equal(report.seals_unchecked, report.seals);
	/* From a later one on, the first being kept elsewhere. */
	assert_int_equal(unlink(log_path(e, 1)), 0);
	assert_flaw(e, "1:0: the file is gone");
	f.n = 0;
	assert_ok(
	    audit_verify(e->log, &e->head, &log_key, 2, add_flaw, &f, &report));
	assert_int_equal(f.n, 0);
	/* A file that was made anew, to the last hash, has no genuine seal. */
	text = load_log(e, 2, &len);
	line = strstr(text, "\"mac\":\"") + 7;
	line[3] = line[3] == 'a' ? 'b' : 'a';
	save_log(e, 2, text, len);
	assert_ok(
	    audit_verify(e->log, &e->head, &log_key, 2, add_flaw, &f, &report));
	assert_non_null(strstr(f.text[0], "seal of the file is not genuine"));
}

static void
a_changed_line_is_found(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL;
	char want[32];
	size_t len, all, i;
	unsigned n;
	char *line;

	reopen(e, false);
	write_lines(e, 5);
	text = load_log(e, 1, &all);
	for (n = 0; n < 5; n++) {
		line = find_line(text, n, &len);
		for (i = 0; i < len; i += i < len - 8 ? 7 : 1) {
			line[i] ^= 1;
			save_log(e, 1, text, all);
			line[i] ^= 1;
			/* At that line, or, where its number or its end is
			 * another now, near it. */
			(void)snprintf(want, sizeof(want), "1:%u:", n + 1);
			assert_flaw(e, i < 80 || i == len - 1 ? "1:" : want);
		}
	}
	save_log(e, 1, text, all);
	assert_whole(e, 5, 0);
}

static void
a_removed_line_is_found(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL, *less = NULL;
	char want[64];
	size_t len, all;
	unsigned n;
	char *line;

	reopen(e, false);
	write_lines(e, 5);
	text = load_log(e, 1, &all);
	less = malloc(all);
	for (n = 0; n < 5; n++) {
		line = find_line(text, n, &len);
		memcpy(less, text, (size_t)(line - text));
		memcpy(less + (line - text), line + len,
		       all - (size_t)(line - text) - len);
		save_log(e, 1, less, all - len);
		(void)snprintf(want, sizeof(want),
			       n < 4 ? "1:%u: lines from here"
				     : "1:%u: the end of the log",
			       n + 1);
		assert_flaw(e, want);
	}
}

static void
lines_in_another_order_are_found(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL, *other = NULL;
	size_t len, next, all, at;
	char *line;

	reopen(e, false);
	write_lines(e, 5);
	text = load_log(e, 1, &all);
	other = malloc(all);
	memcpy(other, text, all);
	line = find_line(text, 1, &len);
	at = (size_t)(line - text);
	(void)find_line(text, 2, &next);
	memcpy(other + at, line + len, next);
	memcpy(other + at + next, line, len);
	save_log(e, 1, other, all);
	assert_flaw(e, "1:2: lines from here on are missing");
}

/* Who changes a line can make all that follow right, but not the head. */
static void
a_log_made_anew_is_found(void **state)
{
	struct env *e = *state, *forger = NULL;
	CLEANUP(free_memp) char *text = NULL;
	size_t len;

	reopen(e, false);
	write_lines(e, 5);
	(void)setup((void **)&forger);
	reopen(forger, false);
	write_lines(forger, 4);
	assert_ok(write_line(forger, "Forged0", true));
	text = load_log(forger, 1, &len);
	save_log(e, 1, text, len);
	assert_flaw(e, "1:5: it, or lines before it, were changed");
	(void)teardown((void **)&forger);
}

static void
a_cut_off_end_is_found_and_told_for_ever(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL;
	size_t len, all;
	char *line;

	reopen(e, false);
	write_lines(e, 5);
	text = load_log(e, 1, &all);
	line = find_line(text, 4, &len);
	save_log(e, 1, text, (size_t)(line - text));
	assert_flaw(e, "1:5: the end of the log was cut off");
	/* It goes on, in another file. */
	write_lines(e, 2);
	assert_int_equal(e->head.file, 2);
	assert_flaw(e, "1:0: the file was cut off");
	reopen(e, true);
	write_lines(e, 2);
	assert_int_equal(e->head.file, 2);
	audit_close(e->a);
	e->a = NULL;
	/* All of it gone. */
	assert_int_equal(unlink(log_path(e, 1)), 0);
	assert_int_equal(unlink(log_path(e, 2)), 0);
	assert_flaw(e, "1:0: the file is gone");
	reopen(e, true);
	write_lines(e, 1);
	assert_int_equal(e->head.file, 3);
}

/* A crash: the head is that of an earlier time, and the last line is torn. */
static void
what_a_crash_leaves_is_no_flaw(void **state)
{
	struct env *e = *state;
	struct audit_head before;
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	bool exclusive;

	for (exclusive = false;; exclusive = true) {
		uint64_t lines = e->head.lines;

		reopen(e, exclusive);
		write_lines(e, 2);
		before = e->head;
		write_lines(e, 3);
		audit_close(e->a);
		e->a = NULL;
		e->head = before;
		assert_whole(e, lines + 5, 3);
		free(text);
		text = load_log(e, e->head.file, &len);
		save_log(e, e->head.file, text, len - 20);
		assert_whole(e, lines + 4, 2);
		reopen(e, exclusive);
		write_lines(e, 1);
		/* 2 + 2, "resumed", 1 */
		assert_whole(e, lines + 6, 0);
		free(text);
		text = load_log(e, e->head.file, &len);
		assert_non_null(strstr(text, "\"kind\":\"resumed\",\"time\""));
		assert_non_null(strstr(text, "\"unsealed\":2,\"torn\":"));
		if (exclusive)
			break;
	}
}

/* A crash at each step of going on to a new file. */
static void
a_crash_while_a_file_is_sealed_is_no_flaw(void **state)
{
	struct env *e = *state;
	struct audit_head before;
	unsigned lines;

	reopen(e, false);
	audit_set_file_max(e->a, 200);
	write_lines(e, 1);
	before = e->head;
	write_lines(e, 1); /* seals file 1, and goes to file 2 */
	assert_int_equal(e->head.file, 2);
	lines = (unsigned)e->head.lines;
	audit_close(e->a);
	e->a = NULL;

	/* Both files are there, the head is older. */
	e->head = before;
	assert_whole(e, lines, lines - before.lines);
	reopen(e, false);
	write_lines(e, 1);
	assert_int_equal(e->head.file, 2);
	assert_whole(e, lines + 2, 0);

	/* The new one is empty. */
	assert_int_equal(truncate(log_path(e, 2), 0), 0);
	e->head = before;
	reopen(e, false);
	write_lines(e, 1);
	assert_int_equal(e->head.file, 2);
	assert_whole(e, e->head.lines, 0);

	/* It is not there. */
	assert_int_equal(unlink(log_path(e, 2)), 0);
	e->head = before;
	reopen(e, false);
	write_lines(e, 1);
	assert_int_equal(e->head.file, 2);
	assert_whole(e, e->head.lines, 0);
}

/* Lines that were put behind the head while nobody had the log are not taken
 * for its own. */
static void
lines_that_do_not_follow_are_not_taken_in(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL;
	char *line, *more;
	size_t len, all;

	reopen(e, false);
	write_lines(e, 3);
	text = load_log(e, 1, &all);
	line = find_line(text, 1, &len);
	more = malloc(all + len);
	memcpy(more, text, all);
	memcpy(more + all, line, len);
	save_log(e, 1, more, all + len);
	free(more);
	reopen(e, false);
	write_lines(e, 1);
	assert_int_equal(e->head.file, 2);
	assert_flaw(e, "1:2: it is not in its place");
}

static void
what_cannot_be_recorded_is_refused(void **state)
{
	struct env *e = *state;

	reopen(e, false);
	write_lines(e, 1);
	e->fail_save = -EROFS;
	assert_err(write_line(e, "x", true), EROFS);
	e->fail_save = 0;
	write_lines(e, 1);
	/* The one that could not be saved is in the log all the same. */
	assert_true(e->head.lines >= 3);
	assert_whole(e, e->head.lines, 0);

	/* In the place of the folder there is something else. */
	audit_close(e->a);
	e->a = NULL;
	tmpdir_remove(e->log);
	assert_ok(io_replace(AT_FDCWD, e->log, "", 0, 0600));
	assert_true(audit_open(e->log, false, &e->owner, &e->a) < 0);
}

static void
ten_thousand_lines_take_less_than_a_second(void **state)
{
	struct env *e = *state;
	struct timespec a, b;
	double s;
	int i;

	reopen(e, true);
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	for (i = 0; i < 10000; i++)
		assert_ok(write_line(e, "Decrypt", false));
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	s = (double)(b.tv_sec - a.tv_sec) +
	    (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	print_message("%.0f lines/s\n", 10000 / s);
	assert_true(s < 1 || getenv("SEALDISK_TEST_SLOW") ||
		    getenv("LD_PRELOAD"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_says_what_was_asked),
		TEST(nothing_in_a_request_makes_a_line_of_its_own),
		TEST(a_line_has_its_bound),
		TEST(several_append_to_one_chain),
		TEST(one_alone_has_it_alone),
		TEST(data_lines_share_a_sync),
		TEST(threads_keep_the_chain),
		TEST(a_full_file_is_sealed),
		TEST(a_changed_line_is_found),
		TEST(a_removed_line_is_found),
		TEST(lines_in_another_order_are_found),
		TEST(a_log_made_anew_is_found),
		TEST(a_cut_off_end_is_found_and_told_for_ever),
		TEST(what_a_crash_leaves_is_no_flaw),
		TEST(a_crash_while_a_file_is_sealed_is_no_flaw),
		TEST(lines_that_do_not_follow_are_not_taken_in),
		TEST(what_cannot_be_recorded_is_refused),
		TEST(ten_thousand_lines_take_less_than_a_second),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
