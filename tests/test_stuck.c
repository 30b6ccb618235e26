/*
 * test_stuck.c - a call to the store hangs, and only the disk that it was for
 * waits.
 *
 * A disk reads, writes, commits, is frozen, merged, reencrypted, attached or
 * detached, and one of its calls does not come back.  Meanwhile all is done to
 * another disk of the store, and what is said of the first one is there.  Then
 * the call comes back, and all that waited goes on to its end.
 *
 * SEALDISK_TEST_SLOW=1: each call, else some.  While one hangs that is made
 * with the names locked, no name can be changed.
 *
 * Nothing here waits for a time to pass; what would wait for ever is ended by
 * an alarm.
 */
#include "block_model.h"
#include "engine_env.h"
#include "engine_private.h"
#include "fault_store.h"
#include "mem_store.h"
#include "snapshot.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (16 * MiB)
#define PATIENCE_S 20

static struct engine_env env;
static struct disk *d, *e;
static char d_lineage[UUID_STR_LEN];
static struct scratch *theirs; /* of the thread that comes to be stuck */
static uint8_t out[64 * KiB];

static void
snapshot(struct disk *of, struct scratch *s, const char *name)
{
	struct snapshot_request req = { of, DESC_SNAPSHOT, name };

	assert_ok(disks_snapshot(env.e, s, &req, 1));
}

static void
put(struct disk *to, struct scratch *s, uint64_t off, uint8_t with)
{
	uint8_t in[16 * KiB];

	memset(in, with, sizeof(in));
	assert_ok(disk_write(to, s, in, sizeof(in), off));
}

static void
assert_has(struct disk *of, uint64_t off, uint8_t with)
{
	assert_ok(disk_read(of, env.s, out, 16 * KiB, off));
	for (size_t i = 0; i < 16 * KiB; i++)
		assert_int_equal(out[i], with);
}

static void
attach(const char *name, struct disk **ret)
{
	assert_ok(disk_attach(env.e, DESC_DISK, name, 0, ret));
}

static void
drop(enum desc_type type, const char *name)
{
	assert_ok(catalog_remove(engine_catalog(env.e), type, name));
}

/* ---- what hangs ---- */

static void
write_and_flush(void)
{
	put(d, theirs, 0, 'w');
	assert_ok(disk_flush(d));
}

static void
grow_and_flush(void)
{
	put(d, theirs, SIZE, 'w');
	assert_ok(disk_flush(d));
}

static void
read_cold(void)
{
	uint8_t in[4 * KiB];

	assert_ok(disk_read(d, theirs, in, sizeof(in), 8 * MiB));
	assert_int_equal(in[0], 'c');
}

static void
freeze(void)
{
	put(d, theirs, 0, 'f');
	snapshot(d, theirs, "stuck");
}

static void
detach(void)
{
	put(d, theirs, 0, 'd');
	assert_ok(disk_detach(d));
	attach("d", &d);
}

static void
attach_again(void)
{
	assert_ok(disk_detach(d));
	attach("d", &d);
}

/* What is merged into the top layer is changed there, so all of it waits. */
static void
merge(void)
{
	const atomic_bool stop = false;

	drop(DESC_SNAPSHOT, "d@old");
	engine_sweep(env.e, &stop);
}

static void
reencrypt(void)
{
	int r;

	assert_ok(disk_reencrypt(d, theirs, NULL, 0));
	while ((r = disk_reencrypt_step(d)) > 0)
		;
	assert_ok(r);
}

static void
call_it_other(void)
{
	assert_ok(disk_rename(d, "other"));
	assert_ok(disk_rename(d, "d"));
}

struct stuck {
	const char *what;
	void (*act)(void);
	unsigned kinds, nth;
	const char *where; /* of the lineage of d, or with a '/' as it is */
	bool cold;         /* d was just attached */
	bool names;        /* names cannot be changed meanwhile */
};

static const struct stuck hangs[] = {
	{ "a write", write_and_flush, FAULT_WRITE, 1, "chunks", 0, 0 },
	{ "a sync of a chunk", write_and_flush, FAULT_SYNC, 1, "chunks", 0, 0 },
	{ "a sync of the map", grow_and_flush, FAULT_SYNC, 1, "map", 0, 0 },
	{ "a sync of a folder", grow_and_flush, FAULT_SYNC_DIR, 1, "chunks", 0,
	  0 },
	{ "the making of a chunk", grow_and_flush, FAULT_CREATE, 1, "chunks", 0,
	  0 },
	{ "the descriptor in a commit", grow_and_flush, FAULT_REPLACE, 1,
	  "disks/d", 0, 0 },
	{ "a look at the descriptor", write_and_flush, FAULT_LOAD, 1, "disks/d",
	  0, 0 },
	{ "a read", read_cold, FAULT_READ, 1, "chunks", 1, 0 },
	{ "an open", read_cold, FAULT_OPEN, 1, "chunks", 1, 0 },
	{ "a read of the map", read_cold, FAULT_READ, 1, "map", 1, 0 },
	{ "a sync in a snapshot", freeze, FAULT_SYNC, 1, "chunks", 0, 0 },
	{ "the layer of a snapshot", freeze, FAULT_REPLACE, 1, "layers", 0, 0 },
	{ "the freezing of a layer", freeze, FAULT_REPLACE, 2, "layers", 0, 0 },
	{ "the name of a snapshot", freeze, FAULT_REPLACE, 1, "snapshots/", 0,
	  1 },
	{ "a sync in a detach", detach, FAULT_SYNC, 1, "chunks", 0, 0 },
	{ "the descriptor in a detach", detach, FAULT_REPLACE, 1, "disks/d", 0,
	  0 },
	{ "the descriptor in an attach", attach_again, FAULT_REPLACE, 2,
	  "disks/d", 0, 0 },
	{ "the map in an attach", attach_again, FAULT_READ, 1, "map", 0, 0 },
	{ "a read in a merge", merge, FAULT_READ, 1, "chunks", 1, 0 },
	{ "a sync in a merge", merge, FAULT_SYNC, 1, "chunks", 0, 0 },
	{ "the layer in a merge", merge, FAULT_REPLACE, 1, "layers", 0, 0 },
	{ "a read in a reencrypt", reencrypt, FAULT_READ, 1, "chunks", 1, 0 },
	{ "a rename", call_it_other, FAULT_REPLACE, 1, "disks/other", 0, 1 },
};
#define N_HANGS (sizeof(hangs) / sizeof(hangs[0]))

/* The same, and each call of theirs that is for a file of d. */
#define EACH (FAULT_ALL & ~(unsigned)(FAULT_LOCK | FAULT_LIST | FAULT_SYNC_ALL))
static const struct stuck each[] = {
	{ "a flush", write_and_flush, EACH, 0, "", 0, 0 },
	{ "a flush of new chunks", grow_and_flush, EACH, 0, "", 0, 0 },
	{ "a flush after an attach", write_and_flush, EACH, 0, "", 1, 0 },
	{ "a read", read_cold, EACH, 0, "", 1, 0 },
	{ "a snapshot", freeze, EACH, 0, "", 0, 0 },
	{ "a detach", detach, EACH, 0, "", 0, 0 },
	{ "an attach", attach_again, EACH, 0, "", 0, 0 },
	{ "a merge", merge, EACH, 0, "", 0, 1 },
	{ "a merge after an attach", merge, EACH, 0, "", 1, 1 },
	{ "a reencrypt", reencrypt, EACH, 0, "", 1, 1 },
};
#define N_EACH (sizeof(each) / sizeof(each[0]))

static const struct stuck *under_way = hangs;
static unsigned nth_under_way;
static atomic_bool has_ended;

static void *
come_to_be_stuck(void *arg)
{
	(void)arg;
	under_way->act();
	atomic_store(&has_ended, true);
	return NULL;
}

/* ---- meanwhile ---- */

/* What is looked at to list disks and to tell of them. */
static void
is_still_told_of(struct disk *of)
{
	struct descriptor desc;
	struct disk_stats st;
	struct reencrypt_state re;

	disk_descriptor(of, &desc);
	assert_true(desc.size >= SIZE);
	disk_stats(of, &st);
	(void)disk_reencrypting(of, &re);
	(void)disk_size(of);
}

static void
reads_and_writes(uint8_t with)
{
	struct disk_stats st;

	put(e, env.s, 0, with);
	put(e, env.s, 12 * MiB, with);
	assert_ok(disk_flush(e));
	assert_has(e, 0, with);
	assert_has(e, 12 * MiB, with);
	assert_ok(disk_zero(e, env.s, 12 * MiB, 16 * KiB));
	assert_ok(disk_background(e));
	disk_stats(e, &st);
	assert_false(st.failed);
}

static void
names_come_and_go(void)
{
	struct disk *n;

	snapshot(e, env.s, "meanwhile");
	assert_ok(disk_attach(env.e, DESC_SNAPSHOT, "e@meanwhile", 0, &n));
	assert_ok(disk_detach(n));
	drop(DESC_SNAPSHOT, "e@meanwhile");
	assert_ok(disk_rename(e, "f"));
	assert_ok(disk_rename(e, "e"));
	eenv_create(&env, "n", SIZE);
	attach("n", &n);
	put(n, env.s, 0, 'n');
	assert_ok(disk_detach(n));
	drop(DESC_DISK, "n");
}

static void
others_go_on(const struct stuck *h)
{
	reads_and_writes('1');
	if (!h->names) {
		names_come_and_go();
		assert_ok(disk_reencrypt(e, env.s, NULL, 0));
	}
	reads_and_writes('2');
	assert_ok(disk_detach(e));
	attach("e", &e);
	reads_and_writes('3');
}

/* ---- a run ---- */

static void
begin(const struct stuck *h)
{
	struct descriptor desc;
	struct store *mem, *st;

	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &st));
	env.opt.commit_ms = 3600 * 1000; /* when it is asked for */
	env.opt.quiet_ms = 3600 * 1000;
	env.opt.manual = false;
	eenv_start(&env, st, CIPHER_AES256_GCM);
	eenv_create(&env, "d", SIZE);
	eenv_create(&env, "e", SIZE);
	attach("d", &d);
	attach("e", &e);
	put(d, env.s, 0, 'a');
	put(d, env.s, 8 * MiB, 'c');
	snapshot(d, env.s, "old");
	put(d, env.s, 4 * KiB, 'b');
	assert_ok(disk_flush(d));
	disk_descriptor(d, &desc);
	uuid_format(&desc.lineage, d_lineage);
	if (!h->cold)
		return;
	assert_ok(disk_detach(d));
	attach("d", &d);
}

static void
stick(const struct stuck *h, unsigned nth, bool lasting)
{
	fault_kinds(env.st, h->kinds);
	fault_mode(env.st, FAULT_STUCK);
	fault_only(env.st, strchr(h->where, '/') ? "" : d_lineage, h->where);
	fault_arm(env.st, nth, 1, lasting);
}

/* False: it has come to its end without that call. */
static bool
is_stuck(void)
{
	while (!fault_is_stuck(env.st)) {
		if (atomic_load(&has_ended))
			return false;
		(void)usleep(100);
	}
	return true;
}

static bool
run(const struct stuck *h, unsigned nth, bool lasting)
{
	pthread_t thread;
	bool there = h->act != detach && h->act != attach_again;

	bool stuck;

	under_way = h;
	nth_under_way = nth;
	atomic_store(&has_ended, false);
	begin(h);
	stick(h, nth, lasting);
	(void)alarm(PATIENCE_S);
	assert_int_equal(pthread_create(&thread, NULL, come_to_be_stuck, NULL),
			 0);
	stuck = is_stuck();
	if (stuck && there)
		is_still_told_of(d);
	if (stuck)
		others_go_on(h);
	fault_let_go(env.st);
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)alarm(0);
	reads_and_writes('4');
	put(d, env.s, 12 * MiB, 'z');
	assert_ok(disk_flush(d));
	assert_has(d, 12 * MiB, 'z');
	assert_has(d, 8 * MiB, 'c');
	assert_ok(disk_detach(d));
	assert_ok(disk_detach(e));
	eenv_stop(&env);
	return stuck;
}

static void
a_call_that_hangs_holds_up_its_own_disk(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_HANGS; i++) {
		const struct stuck *h = &hangs[i];

		/* Who looks at all names reads that of each. */
		assert_true(run(h, h->nth, !strchr(h->where, '/')));
	}
}

static void
any_call_that_hangs_holds_up_its_own_disk(void **state)
{
	unsigned step = test_is_slow() ? 1 : 7, n = 0;

	(void)state;
	for (size_t i = 0; i < N_EACH; i++)
		for (unsigned nth = 1 + (unsigned)i % step;
		     run(&each[i], nth, false); nth += step)
			n++;
	print_message("%u calls have hung\n", n);
}

static void
say_and_end(int sig)
{
	(void)sig;
	(void)!write(STDERR_FILENO, under_way->what, strlen(under_way->what));
	dprintf(STDERR_FILENO, ", %u: others wait\n", nth_under_way);
	_exit(1);
}

static int
setup(void **state)
{
	(void)state;
	(void)signal(SIGALRM, say_and_end);
	eenv_keys(&env);
	assert_ok(scratch_new(&theirs));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (env.e)
		print_error("%s, %u\n", under_way->what, nth_under_way);
	scratch_free(theirs);
	eenv_keys_end(&env);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_call_that_hangs_holds_up_its_own_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    any_call_that_hangs_holds_up_its_own_disk, setup, teardown),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
