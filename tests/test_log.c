/*
 * test_log.c - what comes out on standard error, and how errors are called.
 */
#include "test.h"

#include <sys/wait.h>

#include <sealdisk/log.h>

/*
 * Run ${fn} in a child whose standard error is a file; what it wrote there.
 * The file's identity goes to JOURNAL_STREAM when ${journal} is set.
 */
static char *
stderr_of(void (*fn)(void), bool journal)
{
	FILE *f = tmpfile();
	char *text = calloc(1, 1 << 20), stream[64];
	struct stat st;
	pid_t pid;
	int status;

	assert_non_null(f);
	assert_non_null(text);
	assert_int_equal(fstat(fileno(f), &st), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)snprintf(stream, sizeof(stream), "%ju:%ju",
			       (uintmax_t)st.st_dev,
			       (uintmax_t)st.st_ino + !journal);
		(void)setenv("JOURNAL_STREAM", stream, 1);
		(void)dup2(fileno(f), STDERR_FILENO);
		log_init("prog");
		fn();
		exit(0); /* with its atexit handlers */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	rewind(f);
	(void)!fread(text, 1, (1 << 20) - 1, f);
	(void)fclose(f);
	return text;
}

static void
assert_prints(void (*fn)(void), bool journal, const char *want)
{
	CLEANUP(free_memp) char *got = stderr_of(fn, journal);

	assert_string_equal(got, want);
}

static void
say_one_of_each(void)
{
	log_error("cannot open %s: %d", "x", 7);
	log_warn("slow");
	log_note("mounted");
	log_debug("not shown");
}

static void
lines_name_the_program(void **state)
{
	(void)state;
	assert_prints(say_one_of_each, false,
		      "prog: cannot open x: 7\n"
		      "prog: warning: slow\n"
		      "prog: mounted\n");
}

static void
journal_lines_carry_their_level(void **state)
{
	(void)state;
	assert_prints(say_one_of_each, true,
		      "<3>cannot open x: 7\n"
		      "<4>slow\n"
		      "<5>mounted\n");
}

static void
say_at_levels(void)
{
	log_set_level(LOG_DEBUG_);
	log_at(LOG_DEBUG_, "dir/file.c", 1000, "detail");
	log_set_level(LOG_ERROR);
	log_warn("not shown");
	log_error("shown");
}

static void
level_decides_and_debug_says_where(void **state)
{
	(void)state;
	assert_prints(say_at_levels, false,
		      "prog: debug: file.c:1000: detail\n"
		      "prog: shown\n");
}

static void
say_more_than_a_line(void)
{
	log_error("a\nprog: all is well\x1b[2J\x7f\tgr\xc3\xbc\xc3\x9f");
}

static void
message_stays_one_line(void **state)
{
	(void)state;
	assert_prints(say_more_than_a_line, false,
		      "prog: a?prog: all is well?[2J??gr\xc3\xbc\xc3\x9f\n");
}

static void
say_something_long(void)
{
	char text[6000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_error("%s", text);
	log_error("short");
}

static void
long_message_is_cut_and_says_so(void **state)
{
	CLEANUP(free_memp) char *got = stderr_of(say_something_long, false);
	char *newline = strchr(got, '\n');

	(void)state;
	assert_non_null(newline);
	assert_true(newline - got < 4200);
	assert_memory_equal(newline - 4, "x...", 4);
	assert_string_equal(newline + 1, "prog: short\n");
}

static void
complain_often(void)
{
	for (int i = 0; i < 1000; i++)
		log_at(LOG_WARN, "dir/file.c", 2000, "line %d", i);
	log_note("another place");
}

static void
same_line_again_and_again_is_left_out_and_counted(void **state)
{
	(void)state;
	assert_prints(complain_often, false,
		      "prog: warning: line 0\nprog: warning: line 1\n"
		      "prog: warning: line 2\nprog: warning: line 3\n"
		      "prog: warning: line 4\nprog: warning: line 5\n"
		      "prog: warning: line 6\nprog: warning: line 7\n"
		      "prog: warning: line 8\nprog: warning: line 9\n"
		      "prog: another place\n"
		      "prog: warning: 990 more lines like this one were left "
		      "out (dir/file.c:2000)\n");
}

/* More places than the table has room for, one of them too often. */
static void
complain_everywhere(void)
{
	for (int i = 0; i < 12; i++)
		log_at(LOG_WARN, "often.c", 1, "often");
	for (int i = 0; i < 200; i++)
		log_at(LOG_NOTE, "f.c", i + 1, "place %d", i);
}

static void
no_place_is_lost_when_there_are_many(void **state)
{
	CLEANUP(free_memp) char *got = stderr_of(complain_everywhere, false);
	unsigned lines = 0;

	(void)state;
	for (const char *p = got; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 10 + 200 + 1);
	assert_non_null(strstr(got, "2 more lines like this one were left out "
				    "(often.c:1)"));
}

/* Its write fails with another errno than that which the caller is after. */
static void
complain_into_the_void(void)
{
	(void)close(STDERR_FILENO);
	errno = ENOSPC;
	log_error("nobody hears");
	if (errno != ENOSPC)
		_exit(1);
}

static void
errno_is_kept(void **state)
{
	(void)state;
	assert_prints(complain_into_the_void, false, "");
}

static void
errors_have_our_words_or_those_of_the_system(void **state)
{
	(void)state;
	assert_string_equal(err_text(-EKEYREVOKED), "the key is disabled");
	assert_string_equal(err_text(EKEYREVOKED), "the key is disabled");
	assert_non_null(strstr(err_text(-EBADMSG), "does not verify"));
	assert_non_null(strstr(err_text(-ESTALE), "rolled back"));
	assert_string_equal(err_text(-ENOENT), strerror(ENOENT));
	assert_non_null(err_text(0));
	assert_non_null(err_text(99999));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_name_the_program),
		cmocka_unit_test(journal_lines_carry_their_level),
		cmocka_unit_test(level_decides_and_debug_says_where),
		cmocka_unit_test(message_stays_one_line),
		cmocka_unit_test(long_message_is_cut_and_says_so),
		cmocka_unit_test(
		    same_line_again_and_again_is_left_out_and_counted),
		cmocka_unit_test(no_place_is_lost_when_there_are_many),
		cmocka_unit_test(errno_is_kept),
		cmocka_unit_test(errors_have_our_words_or_those_of_the_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
