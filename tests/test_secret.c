/*
 * test_secret.c - cells: zeroed, apart from each other, wiped, reused.
 */
#include "test.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <sealdisk/secret.h>

static bool
all_are(const uint8_t *p, size_t len, uint8_t value)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != value)
			return false;
	return true;
}

static void
cells_are_zeroed_and_aligned(void **state)
{
	static const size_t lens[] = { 1, 32, 63, 64, 65, 4096, SECRET_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint8_t *p = secret_alloc(lens[i]);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 64, 0);
		assert_true(all_are(p, lens[i], 0));
		memset(p, 0xff, lens[i]);
		secret_free(p, lens[i]);
	}
}

static void
freed_cell_is_wiped_and_given_out_again(void **state)
{
	uint8_t *p = secret_alloc(100), *again;

	(void)state;
	assert_non_null(p);
	memset(p, 0xaa, 128);
	secret_free(p, 100);
	/* All but the link of the free list. */
	assert_true(all_are(p + sizeof(void *), 128 - sizeof(void *), 0));
	again = secret_alloc(128); /* of the same class */
	assert_ptr_equal(again, p);
	assert_true(all_are(again, 128, 0));
	secret_free(again, 128);
}

#if defined(__x86_64__)
/* What a core dump would find: the whole state, as the kernel would save it. */
static void
registers_are_wiped(void **state)
{
	uint8_t key[64], got[2][64];

	(void)state;
	if (!__builtin_cpu_supports("avx"))
		skip();
	memset(key, 0xa5, sizeof(key));
	memset(got, 0, sizeof(got));
	__asm__ volatile("vmovdqu %0, %%ymm11" ::"m"(key));
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile("vmovdqu64 %0, %%zmm20" ::"m"(key));
	secret_wipe_registers();
	__asm__ volatile("vmovdqu %%ymm11, %0" : "=m"(got[0]));
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile("vmovdqu64 %%zmm20, %0" : "=m"(got[1]));
	assert_true(all_are(got[0], 32, 0));
	assert_true(all_are(got[1], 64, 0));
}
#endif

static void
sizes_that_cannot_be_are_refused(void **state)
{
	(void)state;
	assert_null(secret_alloc(0));
	assert_null(secret_alloc(SECRET_MAX + 1));
	assert_null(secret_alloc(SIZE_MAX));
	secret_free(NULL, 5);
}

static void
cells_in_use_are_counted(void **state)
{
	size_t before = secret_in_use();
	void *a = secret_alloc(32), *b = secret_alloc(64);

	(void)state;
	assert_int_equal(secret_in_use(), before + 2);
	secret_free(a, 32);
	assert_int_equal(secret_in_use(), before + 1);
	secret_free(b, 64);
	assert_int_equal(secret_in_use(), before);
}

static void
many_cells_do_not_overlap(void **state)
{
	enum { N = 3000 };
	static uint8_t *cells[N];
	static size_t lens[N];

	(void)state;
	for (size_t i = 0; i < N; i++) {
		lens[i] = i % 10 == 0 ? 1 + i * 7 % 5000 : 1 + i % 200;
		cells[i] = secret_alloc(lens[i]);
		assert_non_null(cells[i]);
		memset(cells[i], (int)(i % 251), lens[i]);
	}
	for (size_t i = 0; i < N; i++)
		assert_true(all_are(cells[i], lens[i], (uint8_t)(i % 251)));
	for (size_t i = 0; i < N; i++)
		secret_free(cells[i], lens[i]);
}

static void *
allocate_in_a_thread(void *arg)
{
	uint8_t mark = (uint8_t)(uintptr_t)arg;
	uint8_t *held[16] = { NULL };

	for (unsigned i = 0; i < 20000; i++) {
		size_t slot = i * 7 % 16, len = 32 + 64 * slot;

		if (held[slot]) {
			if (!all_are(held[slot], len, mark))
				return (void *)1;
			secret_free(held[slot], len);
		}
		held[slot] = secret_alloc(len);
		if (!held[slot] || !all_are(held[slot], len, 0))
			return (void *)1;
		memset(held[slot], mark, len);
	}
	for (size_t slot = 0; slot < 16; slot++)
		secret_free(held[slot], 32 + 64 * slot);
	return NULL;
}

static void
threads_do_not_share_cells(void **state)
{
	pthread_t threads[4];
	void *result;

	(void)state;
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
						allocate_in_a_thread,
						(void *)(i + 1)),
				 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
}

/* The line "VmFlags:" of the mapping that holds ${p}. */
static bool
mapping_has_flag(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long from, to, at = (unsigned long)(uintptr_t)p;
	bool inside = false, found = false;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= at && at < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, flag) != NULL;
	}
	(void)fclose(f);
	return found;
}

static void
cells_are_locked_and_not_dumped(void **state)
{
	void *p = secret_alloc(32);

	(void)state;
	assert_non_null(p);
	assert_true(mapping_has_flag(p, " dd"));
	/* Locking may be refused. */
	if (secret_locked() && !test_is_watched())
		assert_true(mapping_has_flag(p, " lo"));
	secret_free(p, 32);
}

/* What a child's ${fn} returns; a child, since some things cannot be undone. */
static int
in_a_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int
harden_and_look(void)
{
	struct rlimit core;

	if (secret_harden() < 0)
		return 1;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 2;
	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max != 0)
		return 3;
	return 0;
}

static void
hardened_process_leaves_no_core(void **state)
{
	(void)state;
	assert_int_equal(in_a_child(harden_and_look), 0);
}

/* With no memory to lock, cells still come, and secret_locked() says so. */
static int
allocate_without_a_limit_to_lock_in(void)
{
	const struct rlimit none = { 0, 0 };
	void *cells[8];

	if (setrlimit(RLIMIT_MEMLOCK, &none) < 0)
		return 1;
	if (geteuid() == 0 && setuid(65534) < 0)
		return 77;
	/* More than one slab's worth. */
	for (size_t i = 0; i < 8; i++) {
		cells[i] = secret_alloc(SECRET_MAX);
		if (!cells[i])
			return 2;
	}
	for (size_t i = 0; i < 8; i++)
		secret_free(cells[i], SECRET_MAX);
	return secret_locked() ? 3 : 0;
}

static void
memory_that_cannot_be_locked_is_said(void **state)
{
	int r;

	(void)state;
	if (test_is_watched())
		skip();
	r = in_a_child(allocate_without_a_limit_to_lock_in);
	if (r == 77)
		skip();
	assert_int_equal(r, 0);
}

static void
wipe_overwrites(void **state)
{
	uint8_t buf[33];
	struct key k;

	(void)state;
	memset(buf, 0xff, sizeof(buf));
	secret_wipe(buf, 32);
	assert_true(all_are(buf, 32, 0));
	assert_int_equal(buf[32], 0xff);
	memset(&k, 0xff, sizeof(k));
	key_wipe(&k);
	assert_true(all_are(k.bytes, sizeof(k), 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cells_are_zeroed_and_aligned),
		cmocka_unit_test(freed_cell_is_wiped_and_given_out_again),
#if defined(__x86_64__)
		cmocka_unit_test(registers_are_wiped),
#endif
		cmocka_unit_test(sizes_that_cannot_be_are_refused),
		cmocka_unit_test(cells_in_use_are_counted),
		cmocka_unit_test(many_cells_do_not_overlap),
		cmocka_unit_test(threads_do_not_share_cells),
		cmocka_unit_test(cells_are_locked_and_not_dumped),
		cmocka_unit_test(hardened_process_leaves_no_core),
		cmocka_unit_test(memory_that_cannot_be_locked_is_said),
		cmocka_unit_test(wipe_overwrites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
