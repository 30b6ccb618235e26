/*
 * test_io.c - whole transfers, loading, durable replacement.
 */
#include "test.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>
#include <signal.h>

#include <sealdisk/io.h>

struct folder {
	char path[TMPDIR_LEN];
	int fd;
};

static int
setup(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	tmpdir_make(f->path);
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct folder *f = *state;

	(void)close(f->fd);
	tmpdir_remove(f->path);
	free(f);
	return 0;
}

static void
file_holds(struct folder *f, const char *name, const char *want)
{
	CLEANUP(free_memp) char *text = NULL;
	size_t len;

	assert_ok(io_load(f->fd, name, 4096, &text, &len));
	assert_int_equal(len, strlen(want));
	assert_string_equal(text, want);
}

static unsigned
count_names(struct folder *f)
{
	DIR *d = opendir(f->path);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n - 2; /* . and .. */
}

static void
positioned_reads_see_what_was_written(void **state)
{
	struct folder *f = *state;
	CLEANUP(close_fdp) int fd = -1;
	char buf[8];

	fd = openat(f->fd, "a", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_ok(io_pwrite_all(fd, "hello", 5, 3));
	assert_ok(io_pread_all(fd, buf, 8, 0));
	assert_memory_equal(buf, "\0\0\0hello", 8);
	assert_err(io_pread_all(fd, buf, 8, 1), ENODATA);
	assert_err(io_pread_all(fd, buf, 1, 8), ENODATA);
	assert_ok(io_pread_all(fd, buf, 0, 100));
	assert_err(io_pread_all(fd, buf, 1, UINT64_MAX), EINVAL);
	assert_ok(io_write_all(fd, "HE", 2));
	assert_ok(io_read_all(fd, buf, 6));
	assert_memory_equal(buf, "\0hello", 6);
	assert_err(io_read_all(fd, buf, 1), ENODATA);
	assert_err(io_read_all(-1, buf, 1), EBADF);
	assert_err(io_write_all(-1, buf, 1), EBADF);
}

/* Feeds a pipe in small pieces. */
static void *
dribble(void *arg)
{
	int fd = *(int *)arg;

	for (char c = 'a'; c <= 'z'; c++) {
		if (write(fd, &c, 1) != 1)
			break;
		(void)usleep(100);
	}
	(void)close(fd);
	return NULL;
}

static void
short_reads_are_put_together(void **state)
{
	char buf[26];
	pthread_t writer;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&writer, NULL, dribble, &fds[1]), 0);
	assert_ok(io_read_all(fds[0], buf, sizeof(buf)));
	assert_memory_equal(buf, "abcdefghijklmnopqrstuvwxyz", sizeof(buf));
	assert_err(io_read_all(fds[0], buf, 1), ENODATA);
	(void)pthread_join(writer, NULL);
	(void)close(fds[0]);
}

static void
load_takes_regular_files_up_to_the_maximum(void **state)
{
	struct folder *f = *state;
	char *text = NULL;
	size_t len = 77;

	assert_ok(io_replace(f->fd, "five", "12345", 5, 0600));
	assert_err(io_load(f->fd, "five", 4, &text, &len), EFBIG);
	assert_err(io_load(f->fd, "none", 4, &text, &len), ENOENT);
	assert_err(io_load(f->fd, ".", 4, &text, &len), EISDIR);
	assert_int_equal(mkfifoat(f->fd, "fifo", 0600), 0);
	assert_err(io_load(f->fd, "fifo", 4, &text, &len), EINVAL);
	assert_null(text);
	assert_int_equal(len, 77);
	assert_ok(io_load(f->fd, "five", 5, &text, &len));
	assert_string_equal(text, "12345");
	free(text);

	assert_ok(io_replace(f->fd, "empty", "", 0, 0600));
	file_holds(f, "empty", "");
}

static void
load_reads_files_that_do_not_tell_their_size(void **state)
{
	char *text;
	size_t len;

	(void)state;
	assert_ok(io_load(AT_FDCWD, "/proc/self/status", 65536, &text, &len));
	assert_int_equal(len, strlen(text));
	assert_non_null(strstr(text, "VmRSS:"));
	free(text);
	assert_err(io_load(AT_FDCWD, "/proc/self/status", 10, &text, &len),
		   EFBIG);
}

static void
replace_makes_and_replaces(void **state)
{
	struct folder *f = *state;
	struct stat st;

	assert_ok(io_replace(f->fd, "name", "old", 3, 0600));
	file_holds(f, "name", "old");
	assert_ok(io_replace(f->fd, "name", "newer", 5, 0400));
	file_holds(f, "name", "newer");
	assert_int_equal(fstatat(f->fd, "name", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_int_equal(count_names(f), 1); /* no temporary name is left */
}

static void
replace_takes_paths_and_names_of_any_length(void **state)
{
	struct folder *f = *state;
	char name[NAME_MAX + 2], path[TMPDIR_LEN + 8];

	memset(name, 'n', NAME_MAX + 1);
	name[NAME_MAX + 1] = '\0';
	assert_err(io_replace(f->fd, name, "x", 1, 0600), ENAMETOOLONG);
	assert_int_equal(count_names(f), 0);
	name[NAME_MAX] = '\0';
	assert_ok(io_replace(f->fd, name, "x", 1, 0600));
	file_holds(f, name, "x");

	assert_int_equal(mkdirat(f->fd, "sub", 0700), 0);
	assert_ok(io_replace(f->fd, "sub/a", "y", 1, 0600));
	file_holds(f, "sub/a", "y");
	(void)snprintf(path, sizeof(path), "%s/abs", f->path);
	assert_ok(io_replace(AT_FDCWD, path, "z", 1, 0600));
	file_holds(f, "abs", "z");
	assert_err(io_replace(f->fd, "none/a", "x", 1, 0600), ENOENT);
	assert_err(io_replace(f->fd, "abs/a", "x", 1, 0600), ENOTDIR);
}

static void
replace_that_fails_leaves_the_old_file_alone(void **state)
{
	const struct rlimit small = { 100, RLIM_INFINITY };
	struct folder *f = *state;
	struct rlimit before;
	char big[200] = { 0 };
	int r;

	assert_ok(io_replace(f->fd, "name", "old", 3, 0600));
	assert_int_equal(mkdirat(f->fd, "dir", 0700), 0);
	assert_err(io_replace(f->fd, "dir", "x", 1, 0600), EISDIR);

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = io_replace(f->fd, "name", big, sizeof(big), 0600);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, SIG_DFL);
	assert_err(r, EFBIG);
	file_holds(f, "name", "old");
	assert_int_equal(count_names(f), 2);
}

static void
mkdir_p_makes_what_is_missing(void **state)
{
	struct folder *f = *state;
	struct stat st;

	assert_ok(io_mkdir_p(f->fd, "a/b//c/", 0700));
	assert_ok(io_mkdir_p(f->fd, "a/b/c", 0755));
	assert_int_equal(fstatat(f->fd, "a/b/c", &st, 0), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0700); /* as it was */
	assert_ok(io_mkdir_p(f->fd, "a", 0700));
	assert_ok(io_mkdir_p(AT_FDCWD, "/", 0700));
	assert_ok(io_mkdir_p(f->fd, ".", 0700));
	assert_err(io_mkdir_p(f->fd, "", 0700), ENOENT);

	assert_ok(io_replace(f->fd, "file", "", 0, 0600));
	assert_err(io_mkdir_p(f->fd, "file", 0700), ENOTDIR);
	assert_err(io_mkdir_p(f->fd, "file/x", 0700), ENOTDIR);
}

static void
sync_parent_finds_the_folder(void **state)
{
	struct folder *f = *state;

	assert_ok(io_mkdir_p(f->fd, "a/b", 0700));
	assert_ok(io_sync_parent(f->fd, "x"));
	assert_ok(io_sync_parent(f->fd, "a/b"));
	assert_ok(io_sync_parent(f->fd, "a/b/c"));
	assert_ok(io_sync_parent(AT_FDCWD, "/x"));
	assert_err(io_sync_parent(f->fd, "none/x"), ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(positioned_reads_see_what_was_written),
		TEST(short_reads_are_put_together),
		TEST(load_takes_regular_files_up_to_the_maximum),
		TEST(load_reads_files_that_do_not_tell_their_size),
		TEST(replace_makes_and_replaces),
		TEST(replace_takes_paths_and_names_of_any_length),
		TEST(replace_that_fails_leaves_the_old_file_alone),
		TEST(mkdir_p_makes_what_is_missing),
		TEST(sync_parent_finds_the_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
