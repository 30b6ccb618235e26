/*
 * test_snapshot_fault.c - the Nth call to the store or the Nth allocation
 * fails, for each N of a workload of snapshots, images, clones, copies,
 * rollbacks, removals, merges, sweeps and new data keys.
 *
 * Calls fail once or lastingly, before they were made or after, or there is no
 * space; then the process is killed or the power cut, or neither.  After that
 * the store mounts; every disk holds what was flushed or a later write, block
 * by block; every snapshot and image that was acknowledged is there and holds
 * what it did; an operation that failed has been done or has not; and when all
 * has been removed, nothing is left.
 *
 * Here a few N are tried with each of the faults; SEALDISK_TEST_SLOW=1 tries
 * all.  SEALDISK_SEED=N begins elsewhere and makes other power cuts, and
 * SEALDISK_FAULT=N,FAULT,END repeats one run.
 */
#include "block_model.h"
#include "engine_env.h"
#include "engine_private.h"
#include "fault_alloc.h"
#include "fault_store.h"
#include "mem_store.h"
#include "snapshot.h"

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (9 * MiB) /* the last chunk is not whole */
#define BLOCK MODEL_BLOCK

struct fault {
	const char *what;
	unsigned kinds;
	int err;
	enum fault_mode mode;
	bool lasting, lose;
	/* kinds 0: it is allocations that fail */
};

#define NOT_SYNCS (FAULT_CHANGES & ~FAULT_SYNCS)
static const struct fault faults[] = {
	{ "a call fails", FAULT_ALL, -EIO, FAULT_BEFORE, 0, 0 },
	{ "all fail", FAULT_ALL, -EIO, FAULT_BEFORE, 1, 0 },
	{ "a change is said to", FAULT_CHANGES, -EIO, FAULT_AFTER, 0, 0 },
	{ "all changes are", FAULT_CHANGES, -EIO, FAULT_AFTER, 1, 0 },
	{ "no space once", NOT_SYNCS, -ENOSPC, FAULT_HALF, 0, 0 },
	{ "no space", NOT_SYNCS, -ENOSPC, FAULT_BEFORE, 1, 0 },
	{ "a sync loses data", FAULT_SYNCS, -EIO, FAULT_BEFORE, 0, 1 },
	{ "an allocation fails", 0, -ENOMEM, FAULT_BEFORE, 0, 0 },
	{ "all allocations do", 0, -ENOMEM, FAULT_BEFORE, 1, 0 },
};
#define N_FAULTS (sizeof(faults) / sizeof(faults[0]))

enum ending { KILL, CUT, GO_ON, N_ENDINGS };

/* What is known of a name. */
enum there { NO, PERHAPS, YES };

struct vdisk {
	const char *name;
	enum there there;
	struct disk *d;
	struct model model;
	bool unknown; /* it may be what it was, or what it was rolled back to */
	bool unclean; /* it could not be detached well */
	bool blind;   /* what a failed call has done could not be read */
};

struct vsnap {
	enum desc_type type;
	const char *name;
	enum there there;
	uint8_t *content; /* what it holds, if it is there */
	bool set;         /* all of these are there, or none is */
};

enum { D, E, COPY, CLONE, OWN, N_DISKS };
enum { A, B, S_D, S_E, IMG, C, LAST, MID, N_SNAPS };

static struct vdisk disks[N_DISKS] = {
	[D] = { .name = "d" },       [E] = { .name = "e" },
	[COPY] = { .name = "copy" }, [CLONE] = { .name = "clone" },
	[OWN] = { .name = "own" },
};
static struct vsnap snaps[N_SNAPS] = {
	[A] = { .type = DESC_SNAPSHOT, .name = "d@a" },
	[B] = { .type = DESC_SNAPSHOT, .name = "d@b" },
	[S_D] = { .type = DESC_SNAPSHOT, .name = "d@s", .set = true },
	[S_E] = { .type = DESC_SNAPSHOT, .name = "e@s", .set = true },
	[IMG] = { .type = DESC_IMAGE, .name = "img" },
	[C] = { .type = DESC_SNAPSHOT, .name = "d@c" },
	[LAST] = { .type = DESC_SNAPSHOT, .name = "e@last" },
	[MID] = { .type = DESC_SNAPSHOT, .name = "copy@mid" },
};

static struct engine_env env;
static uint8_t io[SIZE];
static unsigned n_writes;
static int err; /* that calls to the store fail with; 0: they do not */

static uint64_t
seed_number(void)
{
	const char *s = getenv("SEALDISK_SEED");

	return s ? strtoull(s, NULL, 0) : 0;
}

/* Whether it succeeded; it may not fail with anything. */
static bool
done(const char *what, int r)
{
	if (r < 0 &&
	    (!err || (r != err && r != -EIO && r != -EROFS && r != -EBUSY)))
		fail_msg("%s: %s (%d)", what, strerror(-r), r);
	return r == 0;
}

/* ---- what it is about ---- */

static void
flushed(struct vdisk *v)
{
	model_flushed(&v->model);
}

static void
learn(struct vdisk *v, uint64_t first, uint64_t end)
{
	for (uint64_t b = first; b < end; b++) {
		int r = disk_read(v->d, env.s, io, BLOCK, b * BLOCK);

		if (!done("read", r)) {
			v->blind = true;
			continue;
		}
		if (!model_learn(&v->model, b, io))
			fail_msg("disk %s: block %" PRIu64
				 " holds nothing that it may",
				 v->name, b);
	}
}

static void
write_at(unsigned i, uint64_t off, uint64_t len)
{
	struct vdisk *v = &disks[i];
	static uint8_t buf[SIZE];
	bool ok;

	if (!v->d || v->blind)
		return;
	fill_pattern(buf, len, ++n_writes);
	ok = done("write", disk_write(v->d, env.s, buf, len, off));
	model_wrote(&v->model, buf, len, off, ok);
	if (!ok)
		learn(v, off / BLOCK, (off + len + BLOCK - 1) / BLOCK);
}

static void
zero_at(unsigned i, uint64_t off, uint64_t len)
{
	struct vdisk *v = &disks[i];
	bool ok;

	if (!v->d || v->blind)
		return;
	ok = done("zero", disk_zero(v->d, env.s, off, len));
	model_wrote(&v->model, NULL, len, off, ok);
	if (!ok)
		learn(v, off / BLOCK, (off + len + BLOCK - 1) / BLOCK);
}

static void
flush(unsigned i)
{
	if (disks[i].d && done("flush", disk_flush(disks[i].d)))
		flushed(&disks[i]);
}

/* A disk that holds ${content}. */
static void
made(struct vdisk *v, const uint8_t *content, bool ok)
{
	v->unclean = false;
	v->there = ok ? YES : PERHAPS;
	model_reset(&v->model);
	for (uint64_t b = 0; b < SIZE / BLOCK; b++)
		if (!block_is_zero(content + b * BLOCK)) {
			memcpy(v->model.cur + b * BLOCK, content + b * BLOCK,
			       BLOCK);
			maybe_add(&v->model.maybe[b],
				  model_hash(content + b * BLOCK));
		}
}

/* Whether it was rolled back. */
static void
find_out(struct vdisk *v)
{
	if (!done("read", disk_read(v->d, env.s, io, SIZE, 0))) {
		v->blind = true;
		return;
	}
	if (memcmp(io, snaps[S_E].content, SIZE) == 0)
		made(v, snaps[S_E].content, true);
	v->unknown = false;
}

static void
attach(unsigned i)
{
	struct vdisk *v = &disks[i];

	if (v->there != YES || v->d)
		return;
	if (!done("attach", disk_attach(env.e, DESC_DISK, v->name, 0, &v->d)))
		v->d = NULL;
	else if (v->unknown)
		find_out(v);
	else if (v->unclean)
		learn(v, 0, SIZE / BLOCK);
	v->unclean = false;
}

static void
detach(unsigned i)
{
	struct vdisk *v = &disks[i];

	if (v->d && done("detach", disk_detach(v->d)))
		flushed(v);
	else if (v->d)
		v->unclean = true;
	v->d = NULL;
}

static void
create(unsigned i)
{
	struct disk_params p = { .name = disks[i].name,
				 .size = SIZE,
				 .sector_size = 512,
				 .key = KMS_SERVICE_ALIAS,
				 .mode = 0600 };
	struct descriptor d;

	disks[i].there = done("create", catalog_create(engine_catalog(env.e),
						       env.kms, &p, &d, NULL))
			     ? YES
			     : PERHAPS;
}

/* What a snapshot holds is what can be read of the disk just then. */
static void
hold(struct vsnap *s, const struct model *m, bool ok)
{
	s->there = ok ? YES : PERHAPS;
	memcpy(s->content, m->cur, SIZE);
}

/* Else it is not known what would be frozen. */
static bool
is_known(unsigned i)
{
	return disks[i].d && !disks[i].blind;
}

static void
snapshot(unsigned i, unsigned s)
{
	struct snapshot_request req = { disks[i].d, snaps[s].type,
					strchr(snaps[s].name, '@') + 1 };
	int r;

	if (!is_known(i))
		return;
	r = disks_snapshot(env.e, env.s, &req, 1);
	if (done("snapshot", r))
		flushed(&disks[i]);
	hold(&snaps[s], &disks[i].model, r == 0);
}

static void
snapshot_both(void)
{
	struct snapshot_request reqs[] = {
		{ disks[D].d, DESC_SNAPSHOT, "s" },
		{ disks[E].d, DESC_SNAPSHOT, "s" },
	};
	int r;

	if (!is_known(D) || !is_known(E))
		return;
	r = disks_snapshot(env.e, env.s, reqs, 2);
	if (done("snapshots", r)) {
		flushed(&disks[D]);
		flushed(&disks[E]);
	}
	hold(&snaps[S_D], &disks[D].model, r == 0);
	hold(&snaps[S_E], &disks[E].model, r == 0);
}

static void
copy(void)
{
	struct snapshot_request req = { disks[D].d, DESC_DISK, "copy" };
	int r;

	if (!is_known(D))
		return;
	r = disks_snapshot(env.e, env.s, &req, 1);
	if (done("copy", r))
		flushed(&disks[D]);
	made(&disks[COPY], disks[D].model.cur, r == 0);
}

static void
image_and_clone(void)
{
	struct clone_params p = { .name = "img", .mode = 0400 };
	struct descriptor d;
	int r;

	if (snaps[B].there != YES)
		return;
	r = catalog_image(engine_catalog(env.e), env.kms, "d@b", &p);
	snaps[IMG].there = done("image", r) ? YES : PERHAPS;
	memcpy(snaps[IMG].content, snaps[B].content, SIZE);
	if (snaps[IMG].there != YES)
		return;
	p.name = "clone";
	r = catalog_clone(engine_catalog(env.e), env.kms, DESC_IMAGE, "img", &p,
			  &d);
	made(&disks[CLONE], snaps[IMG].content, done("clone", r));
	p.name = "own";
	p.own_key = KMS_SERVICE_ALIAS;
	r = catalog_clone(engine_catalog(env.e), env.kms, DESC_IMAGE, "img", &p,
			  &d);
	made(&disks[OWN], snaps[IMG].content, done("clone", r));
}

/* From here on all that is written is under a new key. */
static void
reencrypt(unsigned i)
{
	if (disks[i].d &&
	    done("reencrypt", disk_reencrypt(disks[i].d, env.s, NULL, 0)))
		flushed(&disks[i]);
}

/* What lies below is copied, at most ${n} pieces of it. */
static void
copy_below(unsigned i, unsigned n)
{
	int r = 1;

	while (disks[i].d && r > 0 && n-- > 0)
		r = disk_reencrypt_step(disks[i].d);
	/* A descriptor that could not be read, in a frozen layer. */
	if (disks[i].d && !(err && r == -EUCLEAN))
		(void)done("copying", r);
}

static void
roll_back(void)
{
	struct vdisk *v = &disks[E];
	int r;

	if (v->there != YES || v->d || snaps[S_E].there != YES)
		return;
	r = catalog_rollback(engine_catalog(env.e), env.kms, "e@s");
	if (done("rollback", r)) {
		made(v, snaps[S_E].content, true);
		return;
	}
	v->unknown = true;
}

static void
drop_snap(unsigned s)
{
	int r;

	if (snaps[s].there == NO)
		return;
	r = catalog_remove(engine_catalog(env.e), snaps[s].type, snaps[s].name);
	if (r == -ENOENT && snaps[s].there == PERHAPS)
		r = 0;
	snaps[s].there = done("remove", r) ? NO : PERHAPS;
	if (snaps[s].set)
		snaps[S_D].set = snaps[S_E].set = false;
}

static void
drop_disk(unsigned i)
{
	int r;

	detach(i);
	if (disks[i].there == NO)
		return;
	r = catalog_remove(engine_catalog(env.e), DESC_DISK, disks[i].name);
	if (r == -ENOENT && disks[i].there == PERHAPS)
		r = 0;
	disks[i].there = done("remove", r) ? NO : PERHAPS;
}

static void
sweep(void)
{
	const atomic_bool stop = false;

	engine_sweep(env.e, &stop);
}

static void
background(unsigned i)
{
	if (disks[i].d && done("background", disk_background(disks[i].d)))
		flushed(&disks[i]);
}

/* ---- the workload ---- */

static void
work(void)
{
	create(D);
	create(E);
	attach(D);
	attach(E);
	write_at(D, 0, 64 * KiB);
	write_at(D, 4 * MiB, 32 * KiB);
	write_at(D, 8 * MiB + 100 * KiB, 32 * KiB);
	write_at(E, 0, 16 * KiB);
	snapshot(D, A);
	write_at(D, 8 * KiB, 12 * KiB);
	zero_at(D, 32 * KiB, 8 * KiB);
	snapshot(D, B);
	write_at(D, 4 * MiB + 16 * KiB, 8 * KiB);
	write_at(E, 4 * MiB, 16 * KiB);
	snapshot_both();
	image_and_clone();
	copy();
	attach(COPY);
	attach(CLONE);
	for (unsigned i = 0; i < N_DISKS; i++)
		write_at(i, 20 * KiB, 8 * KiB);
	flush(D);
	/* One that is snapshotted meanwhile, and one that has two keys. */
	reencrypt(COPY);
	write_at(COPY, 4 * MiB + 8 * KiB, 4 * KiB);
	copy_below(COPY, 3);
	snapshot(COPY, MID);
	write_at(COPY, 0, 4 * KiB);
	copy_below(COPY, 100);
	reencrypt(OWN);
	copy_below(OWN, 2);
	zero_at(OWN, 0, 8 * KiB);
	copy_below(OWN, 100);
	/* In the middle, attached: chunks pass, and blocks. */
	drop_snap(A);
	sweep();
	background(D);
	zero_at(D, 4 * MiB, 4 * MiB);
	write_at(D, 4 * MiB, 4 * KiB);
	snapshot(D, C);
	write_at(D, 100 * KiB, 8 * KiB);
	/* At the end, attached. */
	drop_snap(C);
	sweep();
	/* Detached: below a disk, and below what is frozen. */
	detach(E);
	roll_back();
	attach(E);
	write_at(E, 8 * KiB, 4 * KiB);
	snapshot(E, LAST);
	write_at(E, 64 * KiB, 4 * KiB);
	detach(E);
	drop_snap(S_E);
	drop_snap(B);
	drop_disk(CLONE);
	drop_snap(LAST);
	drop_snap(MID);
	sweep();
	/* Its snapshots stay. */
	drop_disk(D);
	sweep();
	detach(COPY);
}

/* ---- afterwards ---- */

static bool
is_there(enum desc_type type, const char *name)
{
	struct descriptor d;
	int r = catalog_load(engine_catalog(env.e), type, name, &d, NULL, NULL);

	assert_true(r == 0 || r == -ENOENT);
	return r == 0;
}

static void
look_for(enum there *there, enum desc_type type, const char *name)
{
	bool found = is_there(type, name);

	if (*there != PERHAPS && found != (*there == YES))
		fail_msg("%s is %sthere", name, found ? "" : "not ");
	*there = found ? YES : NO;
}

static void
check_snap(struct vsnap *s)
{
	struct disk_stats st;
	struct disk *d;

	if (s->there != YES)
		return;
	assert_ok(disk_attach(env.e, s->type, s->name, 0, &d));
	assert_int_equal(disk_size(d), SIZE);
	assert_ok(disk_read(d, env.s, io, SIZE, 0));
	for (uint64_t b = 0; b < SIZE / BLOCK; b++)
		if (memcmp(io + b * BLOCK, s->content + b * BLOCK, BLOCK) != 0)
			fail_msg("%s: block %" PRIu64 " has changed", s->name,
				 b);
	disk_stats(d, &st);
	assert_int_equal(st.faults, 0);
	assert_ok(disk_detach(d));
}

static void
check_disk(struct vdisk *v)
{
	struct disk_stats st;

	if (v->there != YES)
		return;
	if (!v->d)
		assert_ok(disk_attach(env.e, DESC_DISK, v->name, 0, &v->d));
	assert_int_equal(disk_size(v->d), SIZE);
	if (v->unknown)
		find_out(v);
	v->blind = false;
	learn(v, 0, SIZE / BLOCK);
	for (uint64_t b = 0; b < SIZE / BLOCK; b++)
		model_settle(&v->model, b);
	v->model.n_list = 0;
	disk_stats(v->d, &st);
	assert_int_equal(st.faults, 0);
}

static void
check_all(void)
{
	for (unsigned i = 0; i < N_SNAPS; i++)
		look_for(&snaps[i].there, snaps[i].type, snaps[i].name);
	if (snaps[S_D].set)
		assert_int_equal(snaps[S_D].there, snaps[S_E].there);
	for (unsigned i = 0; i < N_DISKS; i++)
		look_for(&disks[i].there, DESC_DISK, disks[i].name);
	for (unsigned i = 0; i < N_SNAPS; i++)
		check_snap(&snaps[i]);
	for (unsigned i = 0; i < N_DISKS; i++)
		check_disk(&disks[i]);
}

/* One for each disk, but for a clone that was not reencrypted. */
static void
check_keys(void)
{
	struct descriptor d;

	for (unsigned i = 0; i < N_DISKS; i++) {
		if (disks[i].there != YES)
			continue;
		assert_ok(catalog_load(engine_catalog(env.e), DESC_DISK,
				       disks[i].name, &d, NULL, NULL));
		assert_false(d.reencrypting);
		assert_true(d.n_keys == 1 || (i == OWN && d.n_keys == 2));
	}
}

static int
is_left(const char *name, bool is_dir, void *arg)
{
	(void)is_dir;
	(void)arg;
	fail_msg("lineages/%s is left", name);
	return 0;
}

static void
reopen(enum ending how, uint64_t n)
{
	for (unsigned i = 0; i < N_DISKS; i++) {
		if (disks[i].d)
			disk_abandon(disks[i].d);
		disks[i].d = NULL;
	}
	engine_close(env.e);
	env.e = NULL;
	if (how == CUT)
		mem_store_crash(fault_inner(env.st), n);
	else if (how == KILL)
		mem_store_kill(fault_inner(env.st));
	eenv_open(&env);
	env.e->quiet_ms = 0;
}

/* Detach what can be: an error of the store is no error of theirs any more. */
static void
end_well(void)
{
	err = -EIO;
	for (unsigned i = 0; i < N_DISKS; i++)
		detach(i);
	err = 0;
}

static void
end(enum ending how, uint64_t n)
{
	fault_arm(env.st, 0, 0, false);
	fault_on_sync(env.st, NULL);
	alloc_arm(0, false);
	if (how == GO_ON)
		end_well();
	reopen(how, n);
	err = 0;
	check_all();
	sweep();
	for (unsigned i = 0; i < N_DISKS; i++)
		copy_below(i, UINT_MAX);
	sweep();
	for (unsigned i = 0; i < N_DISKS; i++)
		write_at(i, 12 * KiB, 8 * KiB);
	for (unsigned i = 0; i < N_DISKS; i++)
		detach(i);
	sweep();
	assert_int_equal(eenv_dead(&env), 0);
	reopen(CUT, n + 1);
	check_keys();
	check_all();
	for (unsigned i = 0; i < N_SNAPS; i++)
		drop_snap(i);
	for (unsigned i = 0; i < N_DISKS; i++)
		drop_disk(i);
	sweep();
	reopen(KILL, 0); /* recovers, and so removes an empty folder */
	sweep();
	(void)!env.st->ops->list(env.st, "lineages", is_left, NULL);
	eenv_stop(&env);
}

static void
begin(void)
{
	struct store *mem, *st;

	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &st));
	env.opt.merge_chunks = 1;
	eenv_start(&env, st, CIPHER_AES256_GCM);
	env.e->quiet_ms = 0;
	n_writes = 0;
	for (unsigned i = 0; i < N_DISKS; i++) {
		disks[i].there = NO;
		disks[i].d = NULL;
		disks[i].unknown = disks[i].unclean = disks[i].blind = false;
		model_reset(&disks[i].model);
	}
	for (unsigned i = 0; i < N_SNAPS; i++)
		snaps[i].there = NO;
	snaps[S_D].set = snaps[S_E].set = true;
}

static bool
run_one(unsigned nth, const struct fault *f, enum ending how)
{
	bool fired;

	begin();
	err = f->err;
	fault_kinds(env.st, f->kinds);
	fault_mode(env.st, f->mode);
	fault_on_sync(env.st, f->lose ? mem_store_lose : NULL);
	fault_arm(env.st, f->kinds ? nth : 0, f->err, f->lasting);
	alloc_arm(f->kinds ? 0 : nth, f->lasting);
	work();
	fired = f->kinds ? fault_fired(env.st) : alloc_fired();
	end(how, nth + 10000 * seed_number());
	return fired;
}

static unsigned at[3]; /* the run under way */

/* ${turn}: whether each run has another ending than the one before it. */
static void
sweep_faults(size_t fault, enum ending how, bool turn)
{
	unsigned step = test_is_slow() ? 1 : 1009, nth;

	/* There are many allocations; test_alloc tries each. */
	if (!faults[fault].kinds)
		step = test_is_slow() ? 17 : 23011;
	nth = 1 + (unsigned)(fault * 131 + how * 11 + seed_number() * 7) % step;
	do {
		at[0] = nth;
		at[1] = (unsigned)fault;
		at[2] = how;
		nth += step;
		how = (how + turn) % N_ENDINGS;
	} while (run_one(at[0], &faults[fault], (enum ending)at[2]));
}

static void
what_was_frozen_survives_every_fault_of_the_store(void **state)
{
	const char *one = getenv("SEALDISK_FAULT");

	(void)state;
	if (one) {
		assert_int_equal(
		    sscanf(one, "%u,%u,%u", &at[0], &at[1], &at[2]), 3);
		assert_true(at[1] < N_FAULTS && at[2] < N_ENDINGS);
		(void)run_one(at[0], &faults[at[1]], (enum ending)at[2]);
		return;
	}
	for (size_t f = 0; f < N_FAULTS; f++)
		for (unsigned how = 0; test_is_slow() && how < N_ENDINGS; how++)
			sweep_faults(f, (enum ending)how, false);
	for (size_t f = 0; !test_is_slow() && f < N_FAULTS; f++)
		sweep_faults(f, (enum ending)(f % N_ENDINGS), true);
}

static int
setup(void **state)
{
	(void)state;
	eenv_keys(&env);
	for (unsigned i = 0; i < N_DISKS; i++)
		model_new(&disks[i].model, SIZE);
	for (unsigned i = 0; i < N_SNAPS; i++) {
		snaps[i].content = malloc(SIZE);
		assert_non_null(snaps[i].content);
	}
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	alloc_arm(0, false);
	/* A failure leaves by longjmp: here it is known which run it was. */
	if (env.e)
		print_error("SEALDISK_FAULT=%u,%u,%u: %s\n", at[0], at[1],
			    at[2], faults[at[1]].what);
	for (unsigned i = 0; i < N_DISKS; i++)
		model_free(&disks[i].model);
	for (unsigned i = 0; i < N_SNAPS; i++)
		free(snaps[i].content);
	eenv_keys_end(&env);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    what_was_frozen_survives_every_fault_of_the_store, setup,
		    teardown),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
