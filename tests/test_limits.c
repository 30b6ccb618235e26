/*
 * test_limits.c - what the engine does where something runs short or comes at
 * the wrong moment: descriptors, chunk objects, threads that wait, a store that
 * fails in the middle of a commit.
 */
#include "engine_env.h"
#include "engine_private.h"
#include "fault_store.h"
#include "mem_store.h"
#include "snapshot.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/resource.h>

#include <sealdisk/log.h>

#define MiB (1ULL << 20)

static struct engine_env env;
static uint8_t block[BLOCK_SIZE];

/* A store in memory under one that fails, and ${files} descriptors. */
static void
begin_with(rlim_t files, struct store *st)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = files < rl.rlim_max ? files : rl.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	eenv_begin(&env, st, CIPHER_AES256_GCM);
	memset(block, 'x', sizeof(block));
	/* What hangs is not to hang for ever. */
	(void)alarm(120);
}

static void
begin(rlim_t files)
{
	struct store *mem, *st;

	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &st));
	begin_with(files, st);
}

static int
teardown(void **state)
{
	(void)state;
	(void)alarm(0);
	eenv_end(&env);
	return 0;
}

static struct disk *
attach(const char *name)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, DESC_DISK, name, 0, &d));
	return d;
}

/* One block in each of ${n} chunks. */
static void
write_chunks(struct disk *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_ok(disk_write(d, env.s, block, sizeof(block),
				     i * (uint64_t)CHUNK_LEN));
}

/* Whether both copies of the first page of a chunk are the same in its file. */
static bool
copies_equal(struct disk *d, uint64_t index)
{
	uint8_t a[PAGE_LEN], b[PAGE_LEN];
	enum entry_state state;
	struct store_file *f;
	struct chunk *c;

	assert_ok(layer_lookup(d->top, env.s, index, &state, &c));
	assert_int_equal(state, ENTRY_DATA);
	pthread_rwlock_rdlock(&c->lock);
	assert_ok(chunk_file(c, &f));
	assert_ok(
	    f->st->ops->read(f, a, PAGE_LEN, SUPER_LEN + page_offset(0, 0)));
	assert_ok(
	    f->st->ops->read(f, b, PAGE_LEN, SUPER_LEN + page_offset(0, 1)));
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return memcmp(a, b, PAGE_LEN) == 0;
}

/* At rest both copies of a page are equal, and either can be lost: also where a
 * session has changed more chunks than can be open. */
static void
a_detach_mirrors_more_chunks_than_can_be_open(void **state)
{
	struct disk *d;

	(void)state;
	begin(40);
	eenv_create(&env, "a", 100 * CHUNK_LEN);
	d = attach("a");
	write_chunks(d, 100);
	assert_ok(disk_detach(d));
	d = attach("a");
	for (unsigned i = 0; i < 100; i++)
		if (!copies_equal(d, i))
			fail_msg("chunk %u has but one copy of its page", i);
	assert_ok(disk_detach(d));
}

/* Zeros write no block, but their pages are written by the commit. */
static void
zeros_in_more_chunks_than_can_be_open_are_committed(void **state)
{
	struct disk *d;

	(void)state;
	begin_with(64, NULL);
	eenv_create(&env, "a", 100 * CHUNK_LEN);
	d = attach("a");
	write_chunks(d, 100);
	assert_ok(disk_detach(d));
	d = attach("a");
	for (unsigned i = 0; i < 100; i++)
		assert_ok(disk_zero(d, env.s, i * (uint64_t)CHUNK_LEN,
				    sizeof(block)));
	assert_ok(disk_flush(d));
	assert_ok(disk_detach(d));
}

static void
wait_ms(unsigned ms)
{
	(void)usleep(ms * 1000);
}

/* Its mirrors are written and not synced; nothing of it is dirty. */
static void
a_disk_at_rest_gives_back_its_descriptors(void **state)
{
	struct disk *a, *b;

	(void)state;
	begin(40);
	env.opt.manual = false;
	env.opt.quiet_ms = 1;
	eenv_reopen(&env);
	eenv_create(&env, "a", 100 * CHUNK_LEN);
	eenv_create(&env, "b", 100 * CHUNK_LEN);
	a = attach("a");
	b = attach("b");
	write_chunks(a, env.e->cache.max_files);
	assert_ok(disk_flush(a));
	wait_ms(1000);
	write_chunks(b, 40);
	assert_ok(disk_detach(b));
	assert_ok(disk_detach(a));
}

/* The store's operations, some of them to be replaced. */
static struct store_ops ops;
static const struct store_ops *real_ops;

static void
hook(void)
{
	real_ops = env.st->ops;
	ops = *real_ops;
	env.st->ops = &ops;
}

/* By then its files are to have no hooks left. */
static void
unhook(void)
{
	env.st->ops = real_ops;
}

static int
slow_sync(struct store_file *f)
{
	wait_ms(700);
	return real_ops->sync(f);
}

/* The thread that mirrors looks for work while a commit, led by somebody else,
 * has everything in its hands; it must not sleep for ever then. */
static void
what_a_slow_flush_has_committed_is_mirrored(void **state)
{
	struct disk *d;
	struct page *p;
	bool same = false;

	(void)state;
	begin(256);
	env.opt.manual = false;
	env.opt.quiet_ms = 1;
	eenv_reopen(&env);
	eenv_create(&env, "a", 8 * MiB);
	hook();
	d = attach("a");
	write_chunks(d, 1);
	ops.sync = slow_sync;
	assert_ok(disk_flush(d));
	ops.sync = real_ops->sync;
	for (unsigned i = 0; i < 50 && !same; i++) {
		wait_ms(100);
		p = page_peek(d->top, PAGE_GROUP, 0);
		assert_non_null(p);
		same = atomic_load(&p->same);
		page_put(p);
	}
	assert_true(same);
	assert_ok(disk_detach(d));
	unhook();
}

/* A discarded chunk holds an object of the pool until its file is gone; at
 * sixteen a round, a large discard would hold up everybody for long. */
static void
a_round_removes_all_that_has_been_discarded(void **state)
{
	struct disk *d;

	(void)state;
	begin(256);
	eenv_create(&env, "a", 100 * CHUNK_LEN);
	d = attach("a");
	write_chunks(d, 100);
	assert_ok(disk_flush(d));
	assert_ok(disk_zero(d, env.s, 0, 100 * CHUNK_LEN));
	assert_ok(disk_flush(d));
	quiet_round(d, false);
	assert_true(link_empty(&d->dead));
	assert_ok(disk_detach(d));
}

/* A root page may name a new map page though the commit that wrote it failed:
 * from then on a copy of that map page must survive each power cut. */
static void
a_new_map_page_survives_a_failed_write_of_its_root(void **state)
{
	struct store *mem;
	uint8_t b[BLOCK_SIZE];
	struct disk *d;

	(void)state;
	for (unsigned seed = 0; seed < 60; seed++) {
		begin(256);
		mem = fault_inner(env.st);
		eenv_create(&env, "a", 128 * CHUNK_LEN);
		d = attach("a");
		write_chunks(d, 1);
		/* The page, two copies of the map page, the root: which is
		 * written and said not to be. */
		fault_kinds(env.st, FAULT_WRITE);
		fault_mode(env.st, FAULT_AFTER);
		fault_arm(env.st, 4, -EIO, false);
		assert_int_equal(disk_flush(d), -EIO);
		assert_true(fault_fired(env.st));
		assert_false(d->failed);
		/* The next commit comes as far as the sync of the map. */
		/* Its entry lies in another sector of the page. */
		assert_ok(disk_write(d, env.s, block, sizeof(block),
				     120 * (uint64_t)CHUNK_LEN));
		fault_kinds(env.st, FAULT_SYNC);
		fault_mode(env.st, FAULT_BEFORE);
		fault_arm(env.st, 3, -EIO, true);
		assert_int_equal(disk_flush(d), -EIO);
		fault_arm(env.st, 0, 0, false);
		disk_abandon(d);
		engine_close(env.e);
		mem_store_crash(mem, seed);
		eenv_open(&env);
		d = attach("a");
		assert_ok(disk_read(d, env.s, b, sizeof(b), 0));
		assert_ok(disk_write(d, env.s, block, sizeof(block), 0));
		assert_ok(disk_detach(d));
		if (seed < 59)
			teardown(NULL);
	}
}

static int
no_descriptor(struct store_lock *l)
{
	(void)l;
	return -EMFILE;
}

static int
lock_is_lost(struct store_lock *l)
{
	(void)l;
	return -EBUSY;
}

/* Only a lock that is known to be lost is the end. */
static void
a_lock_that_cannot_be_looked_at_is_not_lost(void **state)
{
	struct disk *d;

	(void)state;
	begin(256);
	eenv_create(&env, "a", 8 * MiB);
	hook();
	d = attach("a");
	write_chunks(d, 1);
	ops.lock_check = no_descriptor;
	assert_int_equal(disk_flush(d), -EMFILE);
	ops.lock_check = real_ops->lock_check;
	assert_ok(disk_flush(d));
	write_chunks(d, 1);
	ops.lock_check = lock_is_lost;
	assert_int_equal(disk_flush(d), -EIO);
	ops.lock_check = real_ops->lock_check;
	assert_int_equal(disk_flush(d), -EIO);
	assert_int_equal(disk_detach(d), -EIO);
	unhook();
}

/* Nobody will sync them any more. */
static void
a_disk_that_failed_gives_back_its_descriptors(void **state)
{
	struct disk *a, *b;

	(void)state;
	begin(40);
	eenv_create(&env, "a", 100 * CHUNK_LEN);
	eenv_create(&env, "b", 100 * CHUNK_LEN);
	a = attach("a");
	b = attach("b");
	write_chunks(a, 30);
	engine_fail(env.e, -EIO);
	assert_int_equal(disk_detach(b), -EIO);
	b = attach("b");
	write_chunks(b, 40);
	assert_ok(disk_detach(b));
	assert_int_equal(disk_detach(a), -EIO);
}

static sem_t in_mirror, go_on;
static pthread_t main_thread;

static int
held_write(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	if (!pthread_equal(pthread_self(), main_thread)) {
		(void)sem_post(&in_mirror);
		(void)sem_wait(&go_on);
	}
	return real_ops->write(f, buf, len, off);
}

static void *
retire(void *arg)
{
	struct page *p = arg;

	(void)!page_retire(p);
	page_put(p);
	return NULL;
}

static void *
let_go(void *arg)
{
	(void)arg;
	wait_ms(300);
	(void)sem_post(&go_on);
	return NULL;
}

/* Another disk needs its place, and mirrors it before: which puts the chunk on
 * the list of those to be synced, when that was already emptied. */
static void
a_page_can_be_evicted_while_its_disk_is_dropped(void **state)
{
	pthread_t t, u;
	struct disk *d;
	struct page *p;

	(void)state;
	begin(256);
	eenv_create(&env, "a", 8 * MiB);
	hook();
	d = attach("a");
	write_chunks(d, 1);
	assert_ok(disk_flush(d));
	p = page_peek(d->top, PAGE_GROUP, 0);
	assert_non_null(p);
	main_thread = pthread_self();
	(void)sem_init(&in_mirror, 0, 0);
	(void)sem_init(&go_on, 0, 0);
	ops.write = held_write;
	assert_int_equal(pthread_create(&t, NULL, retire, p), 0);
	(void)sem_wait(&in_mirror);
	assert_int_equal(pthread_create(&u, NULL, let_go, NULL), 0);
	/* Not the end of a session: as after a commit that found no space. */
	ops.lock_check = no_descriptor;
	assert_ok(disk_write(d, env.s, block, sizeof(block), CHUNK_LEN));
	assert_int_equal(disk_detach(d), -EMFILE);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(pthread_join(u, NULL), 0);
	unhook();
}

/* Of the layer that a crash has left frozen, root pages still to be mirrored
 * are on the disk's list. */
static void
a_frozen_top_with_a_root_to_be_mirrored_gets_a_new_one(void **state)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	struct layer_meta m;
	uint8_t b[BLOCK_SIZE];
	struct disk *d;

	(void)state;
	begin(256);
	eenv_create(&env, "a", 8 * MiB);
	d = attach("a");
	write_chunks(d, 1);
	assert_ok(disk_flush(d));
	m = d->top->meta;
	m.state = LAYER_FROZEN;
	assert_ok(layer_meta_format(&m, d->top->dk, &text));
	path_layer(&d->top->ref, "layer.ini", path);
	assert_ok(env.st->ops->replace(env.st, path, text, strlen(text)));
	disk_abandon(d);
	d = attach("a");
	assert_non_null(d->top->parent);
	for (struct link *l = d->quiet.next; l != &d->quiet; l = l->next) {
		struct page *p = LINK_OWNER(l, struct page, quiet_link);

		assert_true(p->layer == d->top || p->layer == d->top->parent);
	}
	quiet_round(d, true);
	assert_ok(disk_read(d, env.s, b, sizeof(b), 0));
	assert_memory_equal(b, block, sizeof(b));
	assert_ok(disk_detach(d));
}

/* The store's default may have changed since the chunk was made. */
static void
a_read_that_fails_once_does_not_change_the_cipher(void **state)
{
	uint8_t b[BLOCK_SIZE];
	struct disk *d;

	(void)state;
	begin(256);
	eenv_create(&env, "a", 8 * MiB);
	d = attach("a");
	write_chunks(d, 1);
	assert_ok(disk_detach(d));
	env.e->meta.cipher = CIPHER_AES256_OCB;
	d = attach("a");
	/* Both copies of the map page, then all pages of the chunk. */
	fault_kinds(env.st, FAULT_READ);
	fault_arm(env.st, 3, -EIO, false);
	assert_ok(disk_read(d, env.s, b, sizeof(b), 0));
	assert_true(fault_fired(env.st));
	assert_memory_equal(b, block, sizeof(b));
	assert_ok(disk_detach(d));
}

/* `todo` names each chunk made since the last clean detach: what the map names
 * need not be opened to know that it stays. */
static void
an_attach_does_not_open_every_chunk_that_was_made(void **state)
{
	uint8_t b[BLOCK_SIZE];
	struct disk *d;
	uint64_t n;

	(void)state;
	begin(256);
	eenv_create(&env, "a", 100 * CHUNK_LEN);
	d = attach("a");
	write_chunks(d, 100);
	assert_ok(disk_flush(d));
	disk_abandon(d);
	n = fault_count(env.st, FAULT_OPEN);
	d = attach("a");
	n = fault_count(env.st, FAULT_OPEN) - n;
	if (n > 10)
		fail_msg("%u files were opened", (unsigned)n);
	for (unsigned i = 0; i < 100; i++) {
		assert_ok(
		    disk_read(d, env.s, b, sizeof(b), i * (uint64_t)CHUNK_LEN));
		assert_memory_equal(b, block, sizeof(b));
	}
	assert_ok(disk_detach(d));
}

/* Without threads, as the tests of random work are. */
static void
a_disk_makes_room_for_another_in_a_manual_engine(void **state)
{
	struct disk *a, *b;

	(void)state;
	begin(256);
	env.opt.cache_size = 1;
	eenv_reopen(&env);
	eenv_create(&env, "a", 100 * CHUNK_LEN);
	eenv_create(&env, "b", 100 * CHUNK_LEN);
	a = attach("a");
	b = attach("b");
	for (unsigned i = 0; !cache_crowded(&env.e->cache, 2); i++)
		assert_ok(disk_write(a, env.s, block, sizeof(block),
				     i * (uint64_t)GROUP_LEN));
	write_chunks(b, 1);
	assert_ok(disk_detach(b));
	assert_ok(disk_detach(a));
}

/* It could not be undone either, and the disk went on under its old name. */
static void
what_grew_after_a_rename_that_failed_stays(void **state)
{
	uint8_t b[BLOCK_SIZE];
	struct disk *d;

	(void)state;
	begin(256);
	eenv_create(&env, "b", 8 * MiB);
	d = attach("b");
	fault_kinds(env.st, FAULT_REMOVE);
	fault_arm(env.st, 1, -EIO, true);
	assert_int_equal(disk_rename(d, "a"), -EIO);
	fault_arm(env.st, 0, 0, false);
	assert_ok(disk_write(d, env.s, block, sizeof(block), 12 * MiB));
	assert_ok(disk_flush(d));
	disk_abandon(d);
	eenv_reopen(&env);
	if (disk_attach(env.e, DESC_DISK, "b", 0, &d) < 0)
		d = attach("a");
	assert_true(disk_size(d) == 12 * MiB + BLOCK_SIZE);
	assert_ok(disk_read(d, env.s, b, sizeof(b), 12 * MiB));
	assert_memory_equal(b, block, sizeof(b));
	assert_ok(disk_detach(d));
}

/* Somebody else had the disk, while the lock was lost and we did not know. */
static void
a_commit_sees_that_another_session_was_begun(void **state)
{
	struct descriptor *other = calloc(1, sizeof(*other));
	struct disk *d;

	(void)state;
	assert_non_null(other);
	begin(256);
	eenv_create(&env, "a", 8 * MiB);
	d = attach("a");
	write_chunks(d, 1);
	assert_ok(disk_flush(d));
	assert_ok(catalog_load(env.e->cat, DESC_DISK, "a", other, NULL, NULL));
	other->session++;
	assert_ok(catalog_save(env.e->cat, other, d->top->dk));
	write_chunks(d, 1);
	assert_int_equal(disk_flush(d), -EIO);
	assert_true(d->failed);
	assert_int_equal(disk_detach(d), -EIO);
	free(other);
}

/* A newer version's, of which only reading is known to be right. */
static void
a_layer_with_an_unknown_ro_compat_bit_is_read_only(void **state)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	uint8_t b[BLOCK_SIZE];
	struct layer_meta m;
	struct disk *d;

	(void)state;
	begin(256);
	eenv_create(&env, "a", 8 * MiB);
	d = attach("a");
	write_chunks(d, 1);
	m = d->top->meta;
	m.ro_compat = 1ULL << 63;
	assert_ok(layer_meta_format(&m, d->top->dk, &text));
	path_layer(&d->top->ref, "layer.ini", path);
	assert_ok(disk_detach(d));
	assert_ok(env.st->ops->replace(env.st, path, text, strlen(text)));
	d = attach("a");
	assert_int_equal(disk_write(d, env.s, block, sizeof(block), 4096),
			 -EROFS);
	assert_ok(disk_read(d, env.s, b, sizeof(b), 0));
	assert_memory_equal(b, block, sizeof(b));
	assert_ok(disk_detach(d));
}

/* A disk on a frozen layer of ${n} chunks gets a new one above it. */
static struct disk *
attach_above(const char *name, unsigned n)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	struct layer_meta m;
	struct disk *d;

	d = attach(name);
	write_chunks(d, n);
	m = d->top->meta;
	m.state = LAYER_FROZEN;
	assert_ok(layer_meta_format(&m, d->top->dk, &text));
	path_layer(&d->top->ref, "layer.ini", path);
	assert_ok(disk_detach(d));
	assert_ok(env.st->ops->replace(env.st, path, text, strlen(text)));
	d = attach(name);
	assert_non_null(d->top->parent);
	return d;
}

/* One request can span 4 GiB: its cost is a few pages. */
static void
a_discard_opens_no_chunk_of_a_parent(void **state)
{
	uint8_t b[BLOCK_SIZE];
	struct disk *d;
	uint64_t n;

	(void)state;
	begin(256);
	eenv_create(&env, "a", 100 * CHUNK_LEN);
	d = attach_above("a", 100);
	n = fault_count(env.st, FAULT_OPEN);
	assert_ok(disk_zero(d, env.s, 0, 100 * CHUNK_LEN));
	assert_int_equal(fault_count(env.st, FAULT_OPEN) - n, 0);
	assert_ok(disk_read(d, env.s, b, sizeof(b), 7 * CHUNK_LEN));
	assert_true(block_is_zero(b));
	assert_ok(disk_detach(d));
}

/* Not a step for each of its 31 million chunks. */
static void
a_huge_disk_above_another_layer_shrinks_at_once(void **state)
{
	struct disk *d;
	int64_t begun;

	(void)state;
	begin(256);
	eenv_create(&env, "a", DISK_SIZE_MAX);
	d = attach_above("a", 2);
	begun = now_ms();
	assert_ok(disk_resize(d, env.s, CHUNK_LEN));
	assert_true(now_ms() - begun < 2000);
	assert_int_equal(disk_size(d), CHUNK_LEN);
	assert_ok(disk_detach(d));
}

/* The end of it is under the last root page, which nobody has asked for since
 * the layer was made. */
static void
a_huge_disk_is_written_at_its_end_after_a_snapshot(void **state)
{
	uint64_t at = DISK_SIZE_MAX - sizeof(block);
	struct snapshot_request q = { NULL, DESC_SNAPSHOT, "s" };
	uint8_t got[sizeof(block)];

	(void)state;
	begin(256);
	eenv_create(&env, "a", DISK_SIZE_MAX);
	q.disk = attach("a");
	assert_ok(disks_snapshot(env.e, env.s, &q, 1));
	assert_ok(disk_write(q.disk, env.s, block, sizeof(block), at));
	assert_ok(disk_flush(q.disk));
	assert_ok(disk_detach(q.disk));
	q.disk = attach("a");
	assert_ok(disk_read(q.disk, env.s, got, sizeof(got), at));
	assert_memory_equal(got, block, sizeof(block));
	assert_ok(disk_detach(q.disk));
}

static struct store_file *full_file;

static int
full_write(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	return f == full_file ? -ENOSPC : real_ops->write(f, buf, len, off);
}

/* The pages of the one that cannot commit are what the other one needs. */
static void
a_disk_without_space_is_no_endless_wait_for_another(void **state)
{
	struct disk *a, *b;

	(void)state;
	begin(256);
	env.opt.cache_size = 1;
	env.opt.manual = false;
	/* None by time, which would fail before the cache is full. */
	env.opt.commit_ms = 600000;
	eenv_reopen(&env);
	eenv_create(&env, "a", 100 * CHUNK_LEN);
	eenv_create(&env, "b", 100 * CHUNK_LEN);
	hook();
	a = attach("a");
	b = attach("b");
	full_file = a->top->map;
	ops.write = full_write;
	for (unsigned i = 0; !cache_crowded(&env.e->cache, 2); i++)
		assert_ok(disk_write(a, env.s, block, sizeof(block),
				     i * (uint64_t)GROUP_LEN));
	assert_int_equal(disk_write(b, env.s, block, sizeof(block), 0),
			 -ENOSPC);
	ops.write = real_ops->write;
	assert_ok(disk_flush(a));
	write_chunks(b, 1);
	assert_ok(disk_detach(b));
	assert_ok(disk_detach(a));
	unhook();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_teardown(name, teardown)
		T(a_detach_mirrors_more_chunks_than_can_be_open),
		T(zeros_in_more_chunks_than_can_be_open_are_committed),
		T(a_disk_at_rest_gives_back_its_descriptors),
		T(what_a_slow_flush_has_committed_is_mirrored),
		T(a_round_removes_all_that_has_been_discarded),
		T(a_new_map_page_survives_a_failed_write_of_its_root),
		T(a_lock_that_cannot_be_looked_at_is_not_lost),
		T(a_disk_that_failed_gives_back_its_descriptors),
		T(a_page_can_be_evicted_while_its_disk_is_dropped),
		T(a_frozen_top_with_a_root_to_be_mirrored_gets_a_new_one),
		T(a_read_that_fails_once_does_not_change_the_cipher),
		T(an_attach_does_not_open_every_chunk_that_was_made),
		T(a_disk_makes_room_for_another_in_a_manual_engine),
		T(what_grew_after_a_rename_that_failed_stays),
		T(a_commit_sees_that_another_session_was_begun),
		T(a_layer_with_an_unknown_ro_compat_bit_is_read_only),
		T(a_discard_opens_no_chunk_of_a_parent),
		T(a_huge_disk_above_another_layer_shrinks_at_once),
		T(a_huge_disk_is_written_at_its_end_after_a_snapshot),
		T(a_disk_without_space_is_no_endless_wait_for_another),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
