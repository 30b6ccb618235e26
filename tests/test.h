/*
 * test.h - what every unit test starts from.
 *
 * A test is a function whose name is a sentence; main() lists them.
 */
#ifndef SEALDISK_TEST_H
#define SEALDISK_TEST_H

/* cmocka.h needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sealdisk/codec.h>

/* The expression returned 0 (or more); else say what errno it was. */
#define assert_ok(expr) assert_ok_((expr), #expr, __FILE__, __LINE__)

/* The expression failed with ${err}, a positive errno: assert_err(f(), EIO). */
#define assert_err(expr, err)                                                  \
	assert_err_((expr), (err), #expr, __FILE__, __LINE__)

static inline void
assert_ok_(int r, const char *expr, const char *file, int line)
{
	if (r >= 0)
		return;
	print_error("%s: %s (%d)\n", expr, strerror(-r), r);
	_fail(file, line);
}

static inline void
assert_err_(int r, int err, const char *expr, const char *file, int line)
{
	if (r == -err)
		return;
	print_error("%s: %s (%d), not %s\n", expr,
		    r < 0 ? strerror(-r) : "success", r, strerror(err));
	_fail(file, line);
}

/* Hex of any case, blanks between, to bytes; the length. */
static inline size_t
unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v;
	int used;

	for (; sscanf(hex, " %2x%n", &v, &used) == 1; hex += used)
		out[n++] = (uint8_t)v;
	return n;
}

/* Bytes that are the same in every run, and differ by ${seed}. */
static inline void
fill_pattern(void *buf, size_t len, uint64_t seed)
{
	uint8_t *p = buf;
	uint64_t x = seed * 2 + 1;

	for (size_t i = 0; i < len; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		p[i] = (uint8_t)(x >> 56);
	}
}

/* A new folder; its path goes to ${out}.  tmpdir_remove() removes all of it. */
#define TMPDIR_LEN 256
static inline void
tmpdir_make(char out[static TMPDIR_LEN])
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(out, TMPDIR_LEN, "%s/sealdisk-test-XXXXXX",
		       tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(out))
		fail_msg("%s: %s", out, strerror(errno));
}

static inline int
tmpdir_remove_one(const char *path, const struct stat *st, int type,
		  struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void
tmpdir_remove(const char *path)
{
	(void)nftw(path, tmpdir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/*
 * Under valgrind or a sanitizer: memory is not ours to walk through, and mlock
 * does nothing.
 */
static inline bool
test_is_watched(void)
{
	const char *preload = getenv("LD_PRELOAD");

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) ||     \
    __has_feature(thread_sanitizer)
	return true;
#endif
#endif
	return preload && strstr(preload, "vgpreload");
}

/* Run with SEALDISK_TEST_SLOW=1 (make check-slow): sweeps may be long. */
static inline bool
test_is_slow(void)
{
	return getenv("SEALDISK_TEST_SLOW") != NULL;
}

#endif
