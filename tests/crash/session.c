/*
 * session.c - an engine on a store, and numbers by chance.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "crash.h"
#include "kept_private.h"

/* Two rows of numbers: libraries may take of the second one when they please,
 * and what is done next must not hang on that. */
static __thread uint64_t rng, entropy, ticks;

/* New ones for each session would cost as much as all else. */
static struct {
	struct scratch *s;
	struct kept *kept;
	uint8_t io[IO_LEN];
} stay[1 + CUTS];

void
random_seed(uint64_t seed)
{
	rng = seed;
	entropy = ~seed;
	ticks = 0;
}

/* splitmix64 */
static uint64_t
next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t
random_number(void)
{
	return next(&rng);
}

unsigned
random_below(unsigned n)
{
	return (unsigned)(random_number() % n);
}

/* In place of the C library's: nonces, salts and uuids are the same in every
 * run of one seed. */
ssize_t
getrandom(void *buf, size_t len, unsigned flags)
{
	uint8_t *p = buf;

	(void)flags;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)next(&entropy);
	return (ssize_t)len;
}

/* The only real file is the keystore, and nobody cuts the power of that. */
int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

int
fsync(int fd)
{
	(void)fd;
	return 0;
}

/* What a scratch works in is wiped before it goes, so the next one can have it:
 * new pages would cost as much as all that is done with them. */
#define SCRATCH_LEN (GROUP_LEN + 3 * BLOCK_SIZE)
static struct {
	void *p[16];
	unsigned n;
} spare;

void *
mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	if (len == SCRATCH_LEN && fd < 0 && spare.n > 0)
		return spare.p[--spare.n];
	return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, off);
}

int
munmap(void *at, size_t len)
{
	if (len == SCRATCH_LEN && spare.n < 16) {
		spare.p[spare.n++] = at;
		return 0;
	}
	return (int)syscall(SYS_munmap, at, len);
}

/* So too the engine's clock: what goes on for some milliseconds does so for as
 * many looks at it. */
int
clock_gettime(clockid_t id, struct timespec *ts)
{
	uint64_t ms;

	if (id != CLOCK_MONOTONIC_COARSE)
		return (int)syscall(SYS_clock_gettime, id, ts);
	ms = 1000000 + ++ticks;
	ts->tv_sec = (time_t)(ms / 1000);
	ts->tv_nsec = (long)(ms % 1000) * 1000000;
	return 0;
}

bool
wrong(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	return false;
}

/* As new: what of it was used. */
static void
kept_reset(struct kept *k)
{
	uint64_t n = atomic_load(&k->head);

	memset(k->cells, 0,
	       (n < KEPT_CELLS ? n : KEPT_CELLS) * sizeof(k->cells[0]));
	memset(k->disks, 0, atomic_load(&k->used) * sizeof(k->disks[0]));
	memset(k, 0, offsetof(struct kept, disks));
	kept_init(k);
}

static struct kept *
kept_new(void)
{
	size_t len = (kept_size() + 4095) / 4096 * 4096;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

bool
session_open(struct session *s)
{
	if (!stay[s->cuts].kept)
		stay[s->cuts].kept = kept_new();
	s->kept = stay[s->cuts].kept;
	kept_reset(s->kept);
	return session_go_on(s);
}

bool
session_go_on(struct session *s)
{
	const struct engine_options opt = { .mount_point = "/mnt/crash",
					    .cache_size = 1,
					    .merge_chunks = 1,
					    .seal_limit = s->w->seal_limit,
					    .manual = true,
					    .kept = s->kept };
	int r = 0;

	s->io = stay[s->cuts].io;
	if (!stay[s->cuts].s)
		r = scratch_new(&stay[s->cuts].s);
	s->s = stay[s->cuts].s;
	if (r == 0)
		r = engine_open(s->st, s->kms, &opt, &s->e);
	if (r < 0)
		return wrong(s, "the store cannot be opened: %s", strerror(-r));
	s->e->quiet_ms = 0; /* whatever is quiet is so at once */
	return true;
}

void
session_close(struct session *s)
{
	for (unsigned i = 0; i < DISKS; i++) {
		if (s->d[i])
			disk_abandon(s->d[i]);
		s->d[i] = NULL;
	}
	engine_close(s->e);
	s->e = NULL;
}

void
session_done(void)
{
	for (unsigned i = 0; i <= CUTS; i++)
		scratch_free(stay[i].s);
}
