/*
 * test_progress.c - bars, JSON lines, and silence.
 */
#include "test.h"

#include <sealdisk/progress.h>

struct show {
	enum progress_mode mode;
	uint64_t total;
	const char *unit;
};

/* What one command of 1000 units shows on standard error, which is a file. */
static char *
shown(struct show s)
{
	char *text = calloc(1, 65536);
	int saved = dup(STDERR_FILENO);
	FILE *f = tmpfile();

	assert_non_null(text);
	assert_non_null(f);
	assert_true(saved >= 0);
	assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
	{
		CLEANUP(progress_freep) struct progress *p = NULL;

		p = progress_new(s.mode, "import", s.total, s.unit);
		for (uint64_t done = 0; done <= 1000; done++)
			progress_update(p, done * 1024);
	}
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	rewind(f);
	(void)!fread(text, 1, 65535, f);
	(void)fclose(f);
	return text;
}

static void
bar_ends_full_and_with_its_line(void **state)
{
	CLEANUP(free_memp) char *text = NULL;
	char *last;

	(void)state;
	text = shown((struct show){ PROGRESS_BAR, 1000 * 1024, "B" });
	assert_int_equal(text[0], '\r');
	last = strrchr(text, '\r');
	assert_string_equal(last,
			    "\rimport [##############################] 100 %"
			    "  1000.0K of 1000.0K\n");
}

static void
bar_without_a_total_counts(void **state)
{
	CLEANUP(free_memp) char *text = NULL;

	(void)state;
	text = shown((struct show){ PROGRESS_BAR, 0, "blocks" });
	assert_string_equal(strrchr(text, '\r'), "\rimport: 1024000 blocks\n");
}

static void
bar_past_its_total_stays_full(void **state)
{
	CLEANUP(free_memp) char *text = NULL;

	(void)state;
	text = shown((struct show){ PROGRESS_BAR, 1024, "B" });
	assert_non_null(strstr(text, "#] 100 %  1000.0K of 1.0K\n"));
}

static void
json_is_a_line_an_update_and_few_a_second(void **state)
{
	static const char first[] = "{\"op\":\"import\",\"done\":0,"
				    "\"total\":1024000,\"unit\":\"B\"}\n";
	static const char last[] = "{\"op\":\"import\",\"done\":1024000,"
				   "\"total\":1024000,\"unit\":\"B\"}\n";
	CLEANUP(free_memp) char *text = NULL;
	unsigned lines = 0;
	size_t len;

	(void)state;
	text = shown((struct show){ PROGRESS_JSON, 1000 * 1024, "B" });
	len = strlen(text);
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	assert_in_range(lines, 2, 20);
	assert_memory_equal(text, first, strlen(first));
	assert_string_equal(text + len - strlen(last), last);
}

static void
pipe_or_file_gets_nothing(void **state)
{
	CLEANUP(free_memp) char *automatic = NULL;
	CLEANUP(free_memp) char *none = NULL;

	(void)state;
	automatic = shown((struct show){ PROGRESS_AUTO, 1024, "B" });
	none = shown((struct show){ PROGRESS_NONE, 1024, "B" });
	assert_string_equal(automatic, "");
	assert_string_equal(none, "");
	progress_update(NULL, 1);
	progress_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bar_ends_full_and_with_its_line),
		cmocka_unit_test(bar_without_a_total_counts),
		cmocka_unit_test(bar_past_its_total_stays_full),
		cmocka_unit_test(json_is_a_line_an_update_and_few_a_second),
		cmocka_unit_test(pipe_or_file_gets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
