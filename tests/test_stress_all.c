/*
 * test_stress_all.c - everything that can be done to disks, by many threads at
 * once.
 *
 * Three disks of one engine with its background threads, hardly any memory and
 * few descriptors.  Writers own parts of each, write and discard them, and
 * check what they read.  Beside them threads take and remove snapshots, read
 * them and clones of them, send them, detach and attach the disks, roll them
 * back, rename them, resize them, reencrypt and rewrap them, ask for all that
 * can be asked, scrub, make and remove other disks, and sweep.
 *
 * A unit of 32 KiB is written or discarded whole, and has a number that grows
 * each time: one that 4 divides is a discard.  So a number says what is there.
 * A snapshot holds of each unit what was there when it was asked for, or one of
 * the numbers up to when it was there; and always the same.
 *
 *   SEALDISK_SECONDS=N SEALDISK_SEED=N tests/test_stress_all
 */
#include "engine_env.h"
#include "engine_private.h"
#include "mem_store.h"
#include "scrub.h"
#include "snapshot.h"
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define UNIT (32 * KiB)
#define BASE (12 * MiB) /* the writers'; what lies behind it is resized */
#define UNITS (BASE / UNIT)
#define CHUNK_UNITS (4 * MiB / UNIT)
#define TAIL (1 * MiB)
#define DISKS 3
#define WRITERS 4
#define SNAPS 9

struct drive {
	struct disk *d;
	/* Held shared by who uses the disk or its name; alone by who takes
	 * either away. */
	pthread_rwlock_t gate;
	char name[8];
	_Atomic uint32_t begun[UNITS], ended[UNITS];
	uint32_t most[UNITS]; /* numbers are not used twice */
	uint8_t *tail;        /* what is behind BASE, of TAIL bytes */
};

struct snap {
	char name[16];
	unsigned drive;
	bool there, busy;
	uint32_t low[UNITS], high[UNITS];
};

static struct engine_env env;
static struct drive drives[DISKS];
static struct snap snaps[SNAPS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of snaps */
static atomic_bool stop;
static _Atomic unsigned done[16];
static uint64_t seed;

/* What a thread has of its own. */
struct self {
	uint64_t rng;
	unsigned n;
	struct scratch *s;
	uint8_t *buf; /* TAIL */
};

#define REQUIRE(expr) require((expr) ? 0 : 1, #expr, __LINE__)
#define REQUIRE_OK(expr) require((expr), #expr, __LINE__)
/* Somebody has it for a moment. */
#define REQUIRE_OK_OR(expr, error) require_or((expr), error, #expr, __LINE__)

static void
require(int r, const char *what, int line)
{
	if (r == 0)
		return;
	(void)fprintf(stderr,
		      "test_stress_all.c:%d: %s: %d\nSEALDISK_SEED=%" PRIu64
		      "\n",
		      line, what, r, seed);
	abort();
}

/* Nothing is damaged, and nothing that fails here was made to: an administrator
 * must not be told otherwise. */
void __wrap_log_at(enum log_level level, const char *file, int line,
		   const char *fmt, ...)
    __attribute__((__format__(__printf__, 4, 5)));

void
__wrap_log_at(enum log_level level, const char *file, int line, const char *fmt,
	      ...)
{
	va_list ap;

	if (level != LOG_ERROR)
		return;
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	require(1, file, line);
}

static bool
require_or(int r, int error, const char *what, int line)
{
	if (r != error)
		require(r, what, line);
	return r == 0;
}

static unsigned
rnd(struct self *me, unsigned n)
{
	me->rng ^= me->rng << 13;
	me->rng ^= me->rng >> 7;
	me->rng ^= me->rng << 17;
	return (unsigned)(me->rng % n);
}

static struct catalog *
cat(void)
{
	return engine_catalog(env.e);
}

/* ---- units ---- */

static bool
is_zero(uint32_t number)
{
	return number % 4 == 0;
}

static void
fill(uint8_t *p, unsigned drive, unsigned unit, uint32_t number)
{
	uint64_t h[3] = { number, unit, drive };

	memset(p, 0, UNIT);
	for (unsigned i = 0; i < UNIT && !is_zero(number); i += 512) {
		h[2] = drive + i;
		memcpy(p + i, h, sizeof(h));
		memset(p + i + sizeof(h), (int)(number + unit), 64);
	}
}

/* That ${p} is the unit as one of the numbers in *${low} to *${high} left it,
 * and which. */
static void
learn(uint8_t *p, unsigned drive, unsigned unit, uint32_t *low, uint32_t *high)
{
	static const uint8_t zeros[512];
	uint8_t expect[UNIT];
	uint64_t number;

	memcpy(&number, p, sizeof(number));
	if (memcmp(p, zeros, sizeof(zeros)) == 0) {
		number = (*low + 3) / 4 * 4;
		memset(expect, 0, UNIT);
	} else {
		REQUIRE(number <= UINT32_MAX && !is_zero((uint32_t)number));
		fill(expect, drive, unit, (uint32_t)number);
	}
	REQUIRE(number >= *low && number <= *high);
	REQUIRE(memcmp(p, expect, UNIT) == 0);
	*low = *high = (uint32_t)number;
}

static void
check(struct self *me, struct disk *d, struct snap *sn, unsigned step)
{
	for (unsigned u = rnd(me, step); u < UNITS; u += step) {
		REQUIRE_OK(disk_read(d, me->s, me->buf, UNIT, u * UNIT));
		learn(me->buf, sn->drive, u, &sn->low[u], &sn->high[u]);
	}
}

/* ---- who writes ---- */

static uint32_t
next_number(struct drive *v, unsigned u, bool zero)
{
	uint32_t n = v->most[u] + 1;

	while (is_zero(n) != zero)
		n++;
	v->most[u] = n;
	atomic_store(&v->begun[u], n);
	return n;
}

/* The last chunk is one writer's. */
static unsigned
owner_of(unsigned u)
{
	return u / CHUNK_UNITS == 2 ? 0 : u % WRITERS;
}

static void
discard(struct self *me, struct drive *v, unsigned u, unsigned n)
{
	for (unsigned i = u; i < u + n; i++)
		(void)next_number(v, i, true);
	REQUIRE_OK(
	    disk_zero(v->d, me->s, (uint64_t)u * UNIT, (uint64_t)n * UNIT));
	for (unsigned i = u; i < u + n; i++)
		atomic_store(&v->ended[i], v->most[i]);
}

static void
write_unit(struct self *me, unsigned drive)
{
	struct drive *v = &drives[drive];
	unsigned u = rnd(me, 3) ? rnd(me, UNITS / 8) : rnd(me, UNITS);
	uint32_t n;

	while (owner_of(u) != me->n)
		u = (u + 1) % UNITS;
	n = atomic_load(&v->ended[u]);
	switch (rnd(me, 12)) {
	case 0:
	case 1:
	case 2:
		REQUIRE_OK(disk_read(v->d, me->s, me->buf, UNIT, u * UNIT));
		fill(me->buf + UNIT, drive, u, n);
		REQUIRE(memcmp(me->buf, me->buf + UNIT, UNIT) == 0);
		break;
	case 3:
		discard(me, v, u, 1);
		break;
	case 4:
		if (me->n == 0 && rnd(me, 8) == 0)
			discard(me, v, 2 * CHUNK_UNITS, CHUNK_UNITS);
		else if (rnd(me, 8) == 0)
			REQUIRE_OK(disk_flush(v->d));
		break;
	default:
		n = next_number(v, u, false);
		fill(me->buf, drive, u, n);
		REQUIRE_OK(disk_write(v->d, me->s, me->buf, UNIT, u * UNIT));
		atomic_store(&v->ended[u], n);
	}
}

static void
write_some(struct self *me)
{
	unsigned i = rnd(me, DISKS);

	pthread_rwlock_rdlock(&drives[i].gate);
	for (unsigned k = 0; k < 8; k++)
		write_unit(me, i);
	pthread_rwlock_unlock(&drives[i].gate);
}

/* ---- snapshots ---- */

/* Of ${drive}, or -1: any. */
static struct snap *
take_snap(struct self *me, bool there, int drive)
{
	unsigned at = rnd(me, SNAPS);
	struct snap *found = NULL;

	pthread_mutex_lock(&mutex);
	for (unsigned i = 0; i < SNAPS; i++) {
		struct snap *s = &snaps[(at + i) % SNAPS];

		if (!s->busy && s->there == there &&
		    (drive < 0 || s->drive == (unsigned)drive))
			found = s;
	}
	if (found)
		found->busy = true;
	pthread_mutex_unlock(&mutex);
	return found;
}

static void
give_snap(struct snap *s, bool there)
{
	pthread_mutex_lock(&mutex);
	s->there = there;
	s->busy = false;
	pthread_mutex_unlock(&mutex);
}

static void
full_name(const struct snap *s, char out[static 32])
{
	(void)strcpy(out, drives[s->drive].name);
	(void)strcat(strcat(out, "@"), s->name);
}

static void
freeze(struct self *me, unsigned first, unsigned n)
{
	struct snapshot_request reqs[DISKS];
	struct snap *to[DISKS];
	static _Atomic unsigned names;
	char name[16];
	unsigned k = 0;

	(void)snprintf(name, sizeof(name), "s%u", atomic_fetch_add(&names, 1));
	for (; k < n && (to[k] = take_snap(me, false, -1)); k++) {
		struct drive *v = &drives[first + k];

		to[k]->drive = first + k;
		strcpy(to[k]->name, name);
		for (unsigned u = 0; u < UNITS; u++)
			to[k]->low[u] = atomic_load(&v->ended[u]);
		reqs[k] =
		    (struct snapshot_request){ v->d, DESC_SNAPSHOT, name };
	}
	if (k > 0)
		REQUIRE_OK(disks_snapshot(env.e, me->s, reqs, k));
	while (k-- > 0) {
		for (unsigned u = 0; u < UNITS; u++)
			to[k]->high[u] =
			    atomic_load(&drives[first + k].begun[u]);
		give_snap(to[k], true);
	}
}

static void
freeze_some(struct self *me)
{
	unsigned n = 1 + rnd(me, DISKS), first = rnd(me, DISKS - n + 1);

	for (unsigned i = first; i < first + n; i++)
		pthread_rwlock_rdlock(&drives[i].gate);
	freeze(me, first, n);
	for (unsigned i = first; i < first + n; i++)
		pthread_rwlock_unlock(&drives[i].gate);
	(void)usleep(1000 * rnd(me, 30));
}

static void
drop_some(struct self *me)
{
	unsigned i = rnd(me, DISKS);
	struct snap *s;
	char name[32];

	pthread_rwlock_rdlock(&drives[i].gate);
	s = take_snap(me, true, (int)i);
	if (s) {
		full_name(s, name);
		give_snap(s, !REQUIRE_OK_OR(catalog_remove(cat(), DESC_SNAPSHOT,
							   name),
					    -EBUSY));
	}
	pthread_rwlock_unlock(&drives[i].gate);
	(void)usleep(1000 * rnd(me, 20));
}

static void
look_at_clone(struct self *me, struct snap *sn, const char *of)
{
	struct clone_params p = { .mode = 0600 };
	struct descriptor *desc = calloc(1, sizeof(*desc));
	static _Atomic unsigned names;
	struct disk *d;
	char name[16];
	bool made;
	int r;

	(void)snprintf(name, sizeof(name), "c%u", atomic_fetch_add(&names, 1));
	p.name = name;
	p.own_key = rnd(me, 4) ? NULL : KMS_SERVICE_ALIAS;
	r = catalog_clone(cat(), env.kms, DESC_SNAPSHOT, of, &p, desc);
	free(desc);
	/* It may have as many data keys as there can be. */
	made = r != -E2BIG && REQUIRE_OK_OR(r, -EBUSY);
	if (!made)
		return;
	REQUIRE_OK(disk_attach(env.e, DESC_DISK, name, 0, &d));
	check(me, d, sn, 7);
	memset(me->buf, 1, UNIT);
	REQUIRE_OK(disk_write(d, me->s, me->buf, UNIT, 0));
	REQUIRE_OK(disk_detach(d));
	while (!REQUIRE_OK_OR(catalog_remove(cat(), DESC_DISK, name), -EBUSY))
		(void)usleep(1000);
}

static int
to_nowhere(void *arg, const void *buf, size_t len)
{
	(void)arg;
	(void)buf;
	(void)len;
	return 0;
}

static void
look_at(struct self *me, struct snap *sn, const char *name)
{
	const struct stream_name what = { DESC_SNAPSHOT, name };
	const struct stream_sink sink = { .write = to_nowhere };
	struct stream_result sent;
	struct disk *d;

	if (REQUIRE_OK_OR(disk_attach(env.e, DESC_SNAPSHOT, name, 0, &d),
			  -EBUSY)) {
		check(me, d, sn, 5);
		(void)usleep(1000 * rnd(me, 50));
		check(me, d, sn, 3);
		REQUIRE_OK(disk_detach(d));
	}
	if (rnd(me, 3) == 0)
		look_at_clone(me, sn, name);
	if (rnd(me, 3) == 0)
		(void)REQUIRE_OK_OR(stream_send(cat(), &what, NULL, NULL, &sink,
						&sent),
				    -EBUSY);
}

static void
look_at_some(struct self *me)
{
	unsigned i = rnd(me, DISKS);
	struct snap *sn;
	char name[32];

	pthread_rwlock_rdlock(&drives[i].gate);
	sn = take_snap(me, true, (int)i);
	if (sn) {
		full_name(sn, name);
		look_at(me, sn, name);
		give_snap(sn, true);
	}
	pthread_rwlock_unlock(&drives[i].gate);
	(void)usleep(1000);
}

/* ---- who takes disks away ---- */

static void
attach(struct drive *v)
{
	int r;

	/* The merger may have it for a moment. */
	while ((r = disk_attach(env.e, DESC_DISK, v->name, 0, &v->d)) == -EBUSY)
		(void)usleep(1000);
	REQUIRE_OK(r);
}

static void
make_tail_known(struct self *me, struct drive *v)
{
	memset(v->tail, 0, TAIL);
	REQUIRE_OK(disk_resize(v->d, me->s, BASE));
	REQUIRE_OK(disk_resize(v->d, me->s, BASE + TAIL));
}

/* What the snapshot holds is what the disk holds. */
static void
roll_back(struct self *me, struct drive *v, struct snap *sn)
{
	char name[32];
	bool rolled;

	full_name(sn, name);
	rolled = REQUIRE_OK_OR(catalog_rollback(cat(), env.kms, name), -EBUSY);
	attach(v);
	if (!rolled)
		return;
	check(me, v->d, sn, 1);
	for (unsigned u = 0; u < UNITS; u++) {
		atomic_store(&v->begun[u], sn->low[u]);
		atomic_store(&v->ended[u], sn->low[u]);
	}
	make_tail_known(me, v);
}

static void
check_drive(struct self *me, unsigned drive)
{
	struct drive *v = &drives[drive];
	struct disk_stats st;

	for (unsigned u = rnd(me, 3); u < UNITS; u += 3) {
		uint32_t n = atomic_load(&v->ended[u]);

		REQUIRE_OK(disk_read(v->d, me->s, me->buf, UNIT, u * UNIT));
		fill(me->buf + UNIT, drive, u, n);
		REQUIRE(memcmp(me->buf, me->buf + UNIT, UNIT) == 0);
	}
	disk_stats(v->d, &st);
	REQUIRE(st.faults == 0 && st.commit_errors == 0 && !st.failed);
}

/* Its snapshots go with it, so none of them is in use: who uses one has the
 * gate. */
static void
take_away_some(struct self *me)
{
	unsigned i = rnd(me, DISKS);
	struct drive *v = &drives[i];
	struct snap *sn;
	char to[8];

	pthread_rwlock_wrlock(&v->gate);
	if (rnd(me, 3) == 0) {
		(void)snprintf(to, sizeof(to), "%c%u",
			       v->name[0] == 'd' ? 'e' : 'd', i);
		if (REQUIRE_OK_OR(disk_rename(v->d, to), -EBUSY))
			strcpy(v->name, to);
	} else {
		REQUIRE_OK(disk_detach(v->d));
		sn = rnd(me, 4) ? NULL : take_snap(me, true, (int)i);
		if (sn) {
			roll_back(me, v, sn);
			give_snap(sn, true);
		} else {
			attach(v);
		}
		check_drive(me, i);
	}
	pthread_rwlock_unlock(&v->gate);
	(void)usleep(1000 * rnd(me, 150));
}

/* ---- the others ---- */

static void
resize_some(struct self *me)
{
	unsigned i = rnd(me, DISKS);
	struct drive *v = &drives[i];
	unsigned at, len;

	pthread_rwlock_rdlock(&v->gate);
	at = rnd(me, TAIL - 64 * KiB);
	len = 1 + rnd(me, 64 * KiB - 1);
	memset(v->tail + at, (int)(1 + rnd(me, 255)), len);
	REQUIRE_OK(disk_write(v->d, me->s, v->tail + at, len, BASE + at));
	if (rnd(me, 2)) {
		at = rnd(me, TAIL / 512) * 512;
		REQUIRE_OK(disk_resize(v->d, me->s, BASE + at));
		REQUIRE_OK(disk_resize(v->d, me->s, BASE + TAIL));
		memset(v->tail + at, 0, TAIL - at);
	}
	REQUIRE_OK(disk_read(v->d, me->s, me->buf, TAIL, BASE));
	REQUIRE(memcmp(me->buf, v->tail, TAIL) == 0);
	pthread_rwlock_unlock(&v->gate);
	(void)usleep(1000 * rnd(me, 20));
}

static void
wrap_some(struct self *me)
{
	struct drive *v = &drives[rnd(me, DISKS)];
	unsigned n;
	int r = 0;

	pthread_rwlock_rdlock(&v->gate);
	if (rnd(me, 3))
		REQUIRE_OK(disk_rewrap(v->d, NULL, &n));
	else
		r = disk_reencrypt(v->d, me->s, NULL, rnd(me, 2) * 64 * MiB);
	pthread_rwlock_unlock(&v->gate);
	/* One at a time, and of so many data keys. */
	REQUIRE(r == 0 || r == -EALREADY || r == -E2BIG);
	(void)usleep(1000 * rnd(me, 100));
}

static int
count_name(const char *name, void *arg)
{
	(void)name;
	++*(unsigned *)arg;
	return 0;
}

static void
ask_for_some(struct self *me)
{
	struct drive *v = &drives[rnd(me, DISKS)];
	struct scrub_options o = { .blocks = true };
	struct descriptor *desc = calloc(1, sizeof(*desc));
	struct reencrypt_state re;
	struct scrub_totals t = { 0 };
	struct survey *survey;
	struct disk_stats st;
	uint64_t off, total;
	unsigned n = 0;
	int r;

	pthread_rwlock_rdlock(&v->gate);
	disk_stats(v->d, &st);
	REQUIRE(st.faults == 0 && st.commit_errors == 0 && !st.failed);
	disk_descriptor(v->d, desc);
	(void)disk_reencrypting(v->d, &re);
	(void)engine_merging(env.e, &off, &total);
	r = disk_seek(v->d, me->s, (uint64_t)rnd(me, BASE), rnd(me, 2), &off);
	REQUIRE(r == 0 || r == -ENXIO);
	if (rnd(me, 10) == 0) {
		REQUIRE_OK(disk_scrub(v->d, me->s, &o, &t));
		REQUIRE(t.lost == 0);
	}
	pthread_rwlock_unlock(&v->gate);
	REQUIRE_OK(catalog_list(cat(), DESC_DISK, count_name, &n));
	REQUIRE(n > 0);
	REQUIRE_OK(catalog_survey(cat(), &survey));
	survey_free(survey);
	free(desc);
	(void)usleep(1000 * rnd(me, 10));
}

static void
make_some(struct self *me)
{
	struct disk *d;

	eenv_create(&env, "other", 5 * MiB);
	REQUIRE_OK(disk_attach(env.e, DESC_DISK, "other", 0, &d));
	memset(me->buf, 7, UNIT);
	REQUIRE_OK(disk_write(d, me->s, me->buf, UNIT, 4 * MiB - 4 * KiB));
	REQUIRE_OK(disk_detach(d));
	while (
	    !REQUIRE_OK_OR(catalog_remove(cat(), DESC_DISK, "other"), -EBUSY))
		(void)usleep(1000);
	(void)usleep(1000 * rnd(me, 100));
}

/* As engine_sweep() does it: nothing that fails here was made to. */
static void
sweep_some(struct self *me)
{
	bool more;
	int r;

	REQUIRE_OK(catalog_sweep(cat(), 256, &more));
	r = engine_merge(env.e, NULL);
	REQUIRE(r >= 0 || r == -EBUSY || r == -EAGAIN || r == -ENOENT);
	r = engine_seal(env.e, NULL);
	REQUIRE(r >= 0 || r == -EBUSY || r == -EAGAIN || r == -ENOENT);
	(void)usleep(1000 * rnd(me, 3));
}

static void (*const jobs[])(struct self *me) = {
	write_some,  write_some, write_some,   write_some,   freeze_some,
	drop_some,   drop_some,  look_at_some, look_at_some, take_away_some,
	resize_some, wrap_some,  ask_for_some, make_some,    sweep_some,
};
#define JOBS (sizeof(jobs) / sizeof(jobs[0]))

static void *
work(void *arg)
{
	struct self me = { .n = (unsigned)(uintptr_t)arg };

	me.rng = (seed * JOBS + me.n + 1) * 0x9e3779b97f4a7c15ULL;
	me.buf = malloc(TAIL);
	REQUIRE(me.buf && scratch_new(&me.s) == 0);
	while (!atomic_load(&stop)) {
		jobs[me.n](&me);
		atomic_fetch_add(&done[me.n], 1);
	}
	scratch_free(me.s);
	free(me.buf);
	return NULL;
}

/* ---- the whole ---- */

static uint64_t
number(const char *name, uint64_t dflt)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : dflt;
}

static void
gate_new(pthread_rwlock_t *gate)
{
	pthread_rwlockattr_t a;

	pthread_rwlockattr_init(&a);
	/* Or nothing would ever be detached. */
	pthread_rwlockattr_setkind_np(
	    &a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(gate, &a);
	pthread_rwlockattr_destroy(&a);
}

static void
begin(void)
{
	struct rlimit rl;
	struct store *st;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	assert_ok(mem_store_open(&st));
	eenv_begin(&env, st, CIPHER_AES256_GCM);
	env.opt.manual = false;
	env.opt.cache_size = 1 << 20;
	env.opt.commit_ms = 20;
	env.opt.quiet_ms = 10;
	env.opt.seal_limit = 3000;
	env.opt.merge_chunks = 1;
	eenv_reopen(&env);
	for (unsigned i = 0; i < DISKS; i++) {
		struct drive *v = &drives[i];

		(void)snprintf(v->name, sizeof(v->name), "d%u", i);
		v->tail = calloc(1, TAIL);
		assert_non_null(v->tail);
		gate_new(&v->gate);
		eenv_create(&env, v->name, BASE + TAIL);
		attach(v);
	}
}

static void
work_for(unsigned ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
	pthread_t threads[JOBS];

	atomic_store(&stop, false);
	for (unsigned i = 0; i < JOBS; i++)
		assert_ok(-pthread_create(&threads[i], NULL, work,
					  (void *)(uintptr_t)i));
	(void)nanosleep(&t, NULL);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < JOBS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
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
end(void)
{
	const atomic_bool never = false;
	char name[32];

	for (unsigned i = 0; i < SNAPS; i++) {
		full_name(&snaps[i], name);
		if (snaps[i].there)
			assert_ok(catalog_remove(cat(), DESC_SNAPSHOT, name));
	}
	for (unsigned i = 0; i < DISKS; i++) {
		assert_ok(disk_detach(drives[i].d));
		assert_ok(catalog_remove(cat(), DESC_DISK, drives[i].name));
		free(drives[i].tail);
		pthread_rwlock_destroy(&drives[i].gate);
	}
	engine_sweep(env.e, &never);
	(void)!env.st->ops->list(env.st, "lineages", is_left, NULL);
	eenv_end(&env);
}

static void
all_at_once(void **state)
{
	uint64_t seconds = number("SEALDISK_SECONDS", test_is_slow() ? 60 : 2);
	uint8_t *buf = malloc(TAIL);
	struct self me = { .rng = 1, .s = NULL, .buf = buf };

	(void)state;
	begin();
	me.s = env.s;
	for (uint64_t k = 0; k < seconds; k++, seed++) {
		work_for(1000);
		for (unsigned i = 0; i < DISKS; i++)
			check_drive(&me, i);
	}
	for (unsigned i = 0; i < JOBS; i++)
		REQUIRE(seconds < 20 || done[i] > 0);
	end();
	free(buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_at_once),
	};

	if (crypto_init() < 0)
		return 1;
	seed = number("SEALDISK_SEED", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
