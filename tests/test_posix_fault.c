/*
 * test_posix_fault.c - the Nth system call of the store in a folder fails, for
 * each N: of each of its operations, and of a disk's whole life.
 *
 * A call ends before it was made or after, with any error, once or from then
 * on, it does a part, a signal interrupts it, or it is a sync that loses what
 * it was to write.  An operation that was interrupted or did a part is done all
 * the same.  One that says that it failed has left what was there or what was
 * to be, leaks no descriptor, and can be done again; and no failed sync is
 * acknowledged.
 *
 * Here every N of an operation is tried, and some of a disk's;
 * SEALDISK_TEST_SLOW=1 tries all.  SEALDISK_FAULT=N,FAULT repeats one run of a
 * disk.
 */
#include "fault_sys.h"
#include "workload.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>

#include <sealdisk/log.h>

#include "store_posix_private.h"

struct fault {
	const char *what;
	unsigned kinds;
	int err;
	enum sys_mode mode;
	bool lasting;
};

static const struct fault faults[] = {
	{ "signals interrupt", SYS_ALL & ~SYS_CLOSE, EINTR, SYS_BEFORE, 1 },
	{ "one is interrupted", SYS_ALL & ~SYS_CLOSE, EINTR, SYS_BEFORE, 0 },
	{ "transfers are short", SYS_READ | SYS_WRITE, 0, SYS_SHORT, 1 },
	{ "one is short", SYS_READ | SYS_WRITE, 0, SYS_SHORT, 0 },
	{ "a call fails", SYS_ALL, EIO, SYS_BEFORE, 0 },
	{ "all fail", SYS_ALL, EIO, SYS_BEFORE, 1 },
	{ "a change is said to", SYS_CHANGES, EIO, SYS_AFTER, 0 },
	{ "all changes are", SYS_CHANGES, EIO, SYS_AFTER, 1 },
	{ "no space once", SYS_CHANGES, ENOSPC, SYS_BEFORE, 0 },
	{ "no space", SYS_CHANGES, ENOSPC, SYS_AFTER, 1 },
	{ "no quota once", SYS_CHANGES, EDQUOT, SYS_AFTER, 0 },
	{ "no descriptor once", SYS_OPEN, EMFILE, SYS_BEFORE, 0 },
	{ "no descriptors", SYS_OPEN, EMFILE, SYS_BEFORE, 1 },
	{ "all is read-only", SYS_CHANGES, EROFS, SYS_BEFORE, 1 },
	{ "a sync loses data", SYS_SYNC, EIO, SYS_BEFORE, 0 },
	{ "all syncs do", SYS_SYNC, EIO, SYS_BEFORE, 1 },
	{ "a sync finds no space", SYS_SYNC, ENOSPC, SYS_BEFORE, 0 },
};
#define N_FAULTS (sizeof(faults) / sizeof(faults[0]))

/* Whether nobody above the store may notice. */
static bool
is_harmless(const struct fault *f)
{
	return f->err == EINTR || f->mode == SYS_SHORT;
}

/* ---- one operation ---- */

#define OLD 'o'
#define NEW 'n'
#define LEN 8192

static struct {
	char dir[TMPDIR_LEN];
	struct store *st;
	struct store_file *f; /* "f" */
	struct store_lock *l; /* "locks/held" */
	uint8_t buf[LEN];
	unsigned listed;
	bool unsynced; /* the first sync has failed */
} one;

struct store_case {
	const char *what;
	int (*run)(void);
	/* What is there now, which was run with that result. */
	void (*check)(int r);
};

#define OPS (one.st->ops)

static void
assert_filled(const char *path, int c, int other)
{
	char *buf;
	size_t len;

	assert_ok(OPS->load(one.st, path, LEN, &buf, &len));
	assert_int_equal(len, LEN);
	if (buf[0] == other)
		c = other;
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], c);
	free(buf);
}

static bool
is_name(const char *path)
{
	char full[2 * TMPDIR_LEN];
	struct stat sb;

	(void)snprintf(full, sizeof(full), "%s/%s", one.dir, path);
	return lstat(full, &sb) == 0;
}

static int
run_open(void)
{
	struct store_file *f;
	int r = OPS->open(one.st, "d/sub/g", false, &f);

	if (r == 0)
		store_close(f);
	return r;
}

static int
run_create(void)
{
	struct store_file *f;
	int r = OPS->create(one.st, "x/y/f", &f);

	if (r == 0)
		store_close(f);
	return r;
}

static void
check_create(int r)
{
	struct store_file *f;

	if (r == 0)
		assert_true(is_name("x/y/f"));
	if (is_name("x/y/f"))
		assert_ok(OPS->remove(one.st, "x/y/f"));
	assert_ok(OPS->create(one.st, "x/y/f", &f));
	store_close(f);
}

static int
run_read(void)
{
	memset(one.buf, 0, LEN);
	return OPS->read(one.f, one.buf, LEN, 0);
}

static void
check_read(int r)
{
	for (size_t i = 0; r == 0 && i < LEN; i++)
		assert_int_equal(one.buf[i], OLD);
}

static int
run_write(void)
{
	memset(one.buf, NEW, LEN);
	return OPS->write(one.f, one.buf, LEN, 0);
}

static void
check_write(int r)
{
	memset(one.buf, 0, LEN);
	assert_ok(OPS->read(one.f, one.buf, LEN, 0));
	for (size_t i = 0; i < LEN; i++)
		assert_true(one.buf[i] == NEW || (r < 0 && one.buf[i] == OLD));
}

static int
run_size(void)
{
	uint64_t size = 0, allocated = 0;
	int r = OPS->size(one.f, &size);

	if (r == 0)
		r = OPS->allocated(one.f, &allocated);
	if (r == 0)
		assert_int_equal(size, LEN);
	return r;
}

static int
run_punch(void)
{
	int r = OPS->punch(one.f, 0, 4096);

	return r == -EOPNOTSUPP ? 0 : r;
}

static void
check_punch(int r)
{
	(void)r;
	assert_ok(OPS->read(one.f, one.buf, LEN, 0));
	for (size_t i = 0; i < LEN; i++)
		assert_true(one.buf[i] == OLD || (i < 4096 && !one.buf[i]));
}

static int
run_truncate(void)
{
	return OPS->truncate(one.f, 100);
}

static void
check_truncate(int r)
{
	uint64_t size;

	assert_ok(OPS->size(one.f, &size));
	assert_true(size == 100 || (r < 0 && size == LEN));
}

static int
run_sync(void)
{
	OPS->writeback(one.f, 0, LEN);
	return OPS->sync(one.f);
}

static int
run_sync_dir(void)
{
	return OPS->sync_dir(one.st, "d/sub");
}

static int
run_sync_all(void)
{
	return OPS->sync_all(one.st);
}

static int
count_name(const char *name, bool is_dir, void *arg)
{
	(void)arg;
	assert_int_equal(is_dir, strcmp(name, "sub") == 0);
	one.listed++;
	return 0;
}

static int
run_list(void)
{
	one.listed = 0;
	return OPS->list(one.st, "d", count_name, NULL);
}

static void
check_list(int r)
{
	if (r == 0)
		assert_int_equal(one.listed, 3);
}

static int
run_load(void)
{
	char *buf;
	size_t len;
	int r = OPS->load(one.st, "f", LEN, &buf, &len);

	if (r < 0)
		return r;
	assert_int_equal(len, LEN);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], OLD);
	free(buf);
	return 0;
}

static int
run_replace(void)
{
	memset(one.buf, NEW, LEN);
	return OPS->replace(one.st, "f", one.buf, LEN);
}

static void
check_replace(int r)
{
	assert_filled("f", NEW, r < 0 ? OLD : NEW);
	assert_ok(run_replace());
	assert_filled("f", NEW, NEW);
}

static int
run_replace_new(void)
{
	memset(one.buf, NEW, LEN);
	return OPS->replace(one.st, "new/f", one.buf, LEN);
}

static void
check_replace_new(int r)
{
	if (r == 0 || is_name("new/f"))
		assert_filled("new/f", NEW, NEW);
	/* Its folder, which who comes next would take for durable. */
	if (one.unsynced)
		assert_false(is_name("new"));
	assert_ok(run_replace_new());
	assert_filled("new/f", NEW, NEW);
}

static int
run_rename(void)
{
	return OPS->rename(one.st, "d/a", "d/sub/moved");
}

static void
check_rename(int r)
{
	if (r == 0)
		assert_true(is_name("d/sub/moved") && !is_name("d/a"));
	assert_true(is_name("d/sub/moved") || is_name("d/a"));
	if (is_name("d/sub/moved"))
		assert_filled("d/sub/moved", OLD, OLD);
	if (is_name("d/a"))
		assert_filled("d/a", OLD, OLD);
}

static int
run_rename_folder(void)
{
	return OPS->rename(one.st, "d/sub", "moved");
}

static void
check_rename_folder(int r)
{
	assert_int_equal(is_name("moved"), !is_name("d/sub"));
	if (r == 0)
		assert_true(is_name("moved"));
	assert_filled(is_name("moved") ? "moved/g" : "d/sub/g", OLD, OLD);
}

static int
run_rename_onto(void)
{
	int r = OPS->rename(one.st, "d/a", "d/b");

	return r == -EEXIST ? 0 : r == 0 ? -EXDEV : r;
}

static void
check_rename_onto(int r)
{
	(void)r;
	assert_true(is_name("d/a") && is_name("d/b"));
}

static int
run_remove(void)
{
	return OPS->remove(one.st, "d/a");
}

static void
check_remove(int r)
{
	if (r == 0)
		assert_false(is_name("d/a"));
	else if (is_name("d/a"))
		assert_ok(run_remove());
}

static int
run_remove_folder(void)
{
	return OPS->remove(one.st, "left");
}

static void
check_remove_folder(int r)
{
	if (r == 0)
		assert_false(is_name("left"));
	else if (is_name("left"))
		assert_ok(run_remove_folder());
}

static int
run_lock(void)
{
	struct store_lock *l;
	int r = OPS->lock(one.st, "locks/new", STORE_LOCK_EX, true, "me", &l);

	if (r == 0)
		OPS->unlock(l, true);
	return r;
}

/* However that ended, nobody has it now. */
static void
check_lock(int r)
{
	struct store_lock *l;

	(void)r;
	assert_ok(OPS->lock(one.st, "locks/new", STORE_LOCK_EX, false, "", &l));
	store_unlock(l);
}

static int
run_lock_held(void)
{
	struct store_lock *l;
	char *owner = NULL;
	int r = OPS->lock(one.st, "locks/held", STORE_LOCK_EX, false, "", &l);

	assert_true(r < 0);
	if (r == -EBUSY)
		r = OPS->lock_owner(one.st, "locks/held", &owner);
	if (r == 0)
		assert_string_equal(owner, "holder");
	free(owner);
	return r == 0 ? OPS->lock_check(one.l) : r;
}

static int
run_lock_say(void)
{
	return OPS->lock_say(one.l, "holder of it");
}

/* Whatever was said, it is held. */
static void
check_lock_held(int r)
{
	struct store_lock *l;

	(void)r;
	assert_ok(OPS->lock_check(one.l));
	assert_err(OPS->lock(one.st, "locks/held", STORE_LOCK_EX, false, "",
			     &l),
		   EBUSY);
}

static int
run_space(void)
{
	struct store_space s = { 0, 0 };
	int r = OPS->space(one.st, &s);

	assert_int_equal(r == 0, s.total > 0);
	return r;
}

static const struct store_case cases[] = {
	{ "open", run_open, NULL },
	{ "create", run_create, check_create },
	{ "read", run_read, check_read },
	{ "write", run_write, check_write },
	{ "size", run_size, NULL },
	{ "punch", run_punch, check_punch },
	{ "truncate", run_truncate, check_truncate },
	{ "sync", run_sync, NULL },
	{ "sync_dir", run_sync_dir, NULL },
	{ "sync_all", run_sync_all, NULL },
	{ "list", run_list, check_list },
	{ "load", run_load, NULL },
	{ "replace", run_replace, check_replace },
	{ "replace, a new one", run_replace_new, check_replace_new },
	{ "rename", run_rename, check_rename },
	{ "rename a folder", run_rename_folder, check_rename_folder },
	{ "rename onto another", run_rename_onto, check_rename_onto },
	{ "remove", run_remove, check_remove },
	{ "remove a folder", run_remove_folder, check_remove_folder },
	{ "lock", run_lock, check_lock },
	{ "a lock that is held", run_lock_held, check_lock_held },
	{ "say who holds a lock", run_lock_say, check_lock_held },
	{ "space", run_space, NULL },
};
#define N_CASES (sizeof(cases) / sizeof(cases[0]))

static unsigned
open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static void
prepare(bool beneath)
{
	static const char *const names[] = { "f", "d/a", "d/b", "d/sub/g" };
	char path[2 * TMPDIR_LEN];

	tmpdir_make(one.dir);
	assert_ok(store_posix_open(one.dir, &one.st));
	((struct posix_store *)one.st)->beneath &= beneath;
	memset(one.buf, OLD, LEN);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_ok(OPS->replace(one.st, names[i], one.buf, LEN));
	/* What a killed process has left in a folder. */
	assert_ok(OPS->replace(one.st, "left/.a.tmp-1", "x", 1));
	(void)snprintf(path, sizeof(path), "%s/d/.b.tmp-2", one.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_ok(OPS->open(one.st, "f", true, &one.f));
	assert_ok(OPS->lock(one.st, "locks/held", STORE_LOCK_EX, false,
			    "holder", &one.l));
}

static void
clean_up(void)
{
	sys_arm(0, 0, 0, SYS_BEFORE, false);
	store_unlock(one.l);
	store_close(one.f);
	store_free(one.st);
	tmpdir_remove(one.dir);
	memset(&one, 0, sizeof(one));
}

/* Syncs that fail must be told; hints, and closing, need not be. */
static bool
must_tell(const struct fault *f)
{
	return f->kinds == SYS_SYNC;
}

static bool
run_case(const struct store_case *c, const struct fault *f, unsigned nth,
	 bool beneath)
{
	unsigned files;
	bool fired;
	int r;

	prepare(beneath);
	files = open_descriptors();
	sys_arm(f->kinds, nth, f->err, f->mode, f->lasting);
	r = c->run();
	sys_arm(0, 0, 0, SYS_BEFORE, false);
	fired = sys_fired();
	one.unsynced = fired && r < 0 && f->kinds == SYS_SYNC && nth == 1;
	if (open_descriptors() != files)
		fail_msg("a descriptor is left open");
	if (r < 0 && (!fired || is_harmless(f)))
		fail_msg("it failed: %s", strerror(-r));
	if (r < 0 && r != -f->err)
		fail_msg("the error became another one: %s", strerror(-r));
	if (r == 0 && fired && must_tell(f))
		fail_msg("a sync that failed was acknowledged");
	if (c->check)
		c->check(r);
	else if (r < 0)
		assert_ok(c->run());
	clean_up();
	return fired;
}

static unsigned at[4]; /* the run under way */

static void
sweep_cases(bool beneath)
{
	for (at[0] = 0; at[0] < N_CASES; at[0]++)
		for (at[1] = 0; at[1] < N_FAULTS; at[1]++)
			for (at[2] = 1; run_case(&cases[at[0]], &faults[at[1]],
						 at[2], beneath);
			     at[2]++)
				;
}

static void
an_operation_is_done_or_says_that_it_is_not(void **state)
{
	(void)state;
	sweep_cases(true);
}

static void
an_operation_is_done_or_says_that_it_is_not_without_openat2(void **state)
{
	(void)state;
	sys_without_renameat2(true);
	sweep_cases(false);
	sys_without_renameat2(false);
}

/* Whoever read what NFS knows no more began again, without end. */
static void
a_stale_file_was_read_for_ever(void **state)
{
	static const int errors[] = { ESTALE, EAGAIN };
	struct store_file *f;

	(void)state;
	prepare(true);
	for (unsigned i = 0; i < 2; i++) {
		sys_arm(SYS_READ, 1, errors[i], SYS_BEFORE, true);
		assert_err(OPS->read(one.f, one.buf, LEN, 0), EIO);
		sys_arm(SYS_WRITE, 1, errors[i], SYS_BEFORE, true);
		assert_err(OPS->write(one.f, one.buf, LEN, 0), EIO);
		sys_arm(SYS_SYNC, 1, errors[i], SYS_BEFORE, true);
		assert_err(OPS->sync(one.f), EIO);
		sys_arm(SYS_SPACE, 1, errors[i], SYS_BEFORE, true);
		assert_err(OPS->punch(one.f, 0, 4096), EIO);
		assert_err(OPS->truncate(one.f, 0), EIO);
	}
	sys_arm(SYS_STAT, 1, ESTALE, SYS_BEFORE, true);
	assert_err(OPS->open(one.st, "f", true, &f), EIO);
	clean_up();
}

static int
case_teardown(void **state)
{
	(void)state;
	sys_without_renameat2(false);
	sys_arm(0, 0, 0, SYS_BEFORE, false);
	if (one.st)
		print_error("%s: %s, call %u\n", cases[at[0]].what,
			    faults[at[1]].what, at[2]);
	return 0;
}

/* ---- a disk ---- */

static void
reopen(void)
{
	eenv_reopen(&env);
	env.e->quiet_ms = 0;
}

static int
evict_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	int fd = type == FTW_F ? open(path, O_RDWR) : -1;

	(void)sb;
	(void)ftw;
	if (fd >= 0) {
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		(void)close(fd);
	}
	return 0;
}

/* Memory was short: what the kernel takes for clean is gone from it. */
static void
evict(void)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/store", env.dir);
	assert_int_equal(nftw(path, evict_one, 16, FTW_PHYS), 0);
}

static void
works_as_ever(void)
{
	static const struct op w = { WRITE, 0, 12 * KiB };
	static const struct op z = { ZERO, 4 * MiB + 512 * KiB, 512 * KiB };

	run.err = 0;
	do_op(&w);
	do_op(&z);
	assert_ok(disk_detach(run.d));
	evict();
	reopen();
	adopt();
	assert_ok(disk_detach(run.d));
}

static bool
run_disk(const struct fault *f, unsigned nth)
{
	unsigned files;
	int r;

	begin_on(NULL);
	files = open_descriptors();
	reopen();
	run.err = is_harmless(f) ? 0 : -f->err;
	sys_arm(f->kinds, nth, f->err, f->mode, f->lasting);
	r = disk_attach(env.e, DESC_DISK, "d", 0, &run.d);
	check_error("attach", r);
	if (r < 0)
		run.d = NULL;
	else
		learn_disk();
	for (size_t i = 0; run.d && i < sizeof(work) / sizeof(work[0]); i++)
		do_op(&work[i]);
	sys_arm(0, 0, 0, SYS_BEFORE, false);
	if (run.d)
		disk_abandon(run.d);
	reopen();
	adopt();
	works_as_ever();
	assert_int_equal(open_descriptors(), files);
	eenv_stop(&env);
	return sys_fired();
}

static void
what_was_flushed_survives_every_fault_of_the_file_system(void **state)
{
	const char *single = getenv("SEALDISK_FAULT");

	(void)state;
	if (single) {
		assert_int_equal(sscanf(single, "%u,%u", &at[0], &at[1]), 2);
		assert_true(at[1] < N_FAULTS);
		(void)run_disk(&faults[at[1]], at[0]);
		return;
	}
	for (at[1] = 0; at[1] < N_FAULTS; at[1]++) {
		unsigned step = test_is_slow() ? 1 : 37;

		if (faults[at[1]].kinds == SYS_SYNC && !test_is_slow())
			step = 3;
		if (test_is_watched() && !test_is_slow())
			step *= 5;
		at[0] = 1 + at[1] % step;
		while (run_disk(&faults[at[1]], at[0]))
			at[0] += step;
	}
}

static int
disk_setup(void **state)
{
	(void)state;
	eenv_keys(&env);
	model_new(&model, MAX_SIZE);
	return 0;
}

static int
disk_teardown(void **state)
{
	(void)state;
	sys_arm(0, 0, 0, SYS_BEFORE, false);
	/* A failure leaves by longjmp: here it is known which run it was. */
	if (env.e)
		print_error("SEALDISK_FAULT=%u,%u: %s\n", at[0], at[1],
			    faults[at[1]].what);
	model_free(&model);
	eenv_keys_end(&env);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(
		    an_operation_is_done_or_says_that_it_is_not, case_teardown),
		cmocka_unit_test_teardown(
		    an_operation_is_done_or_says_that_it_is_not_without_openat2,
		    case_teardown),
		cmocka_unit_test_teardown(a_stale_file_was_read_for_ever,
					  case_teardown),
		cmocka_unit_test_setup_teardown(
		    what_was_flushed_survives_every_fault_of_the_file_system,
		    disk_setup, disk_teardown),
	};

	/* Thousands of folders come and go: in memory, where there is such a
	 * place and nobody has named another. */
	if (access("/dev/shm", W_OK) == 0)
		(void)setenv("TMPDIR", "/dev/shm", 0);
	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
