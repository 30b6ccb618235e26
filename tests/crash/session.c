/*
 * session.c - an engine on a store, and numbers by chance.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "crash.h"
#include "engine_private.h"

static __thread uint64_t rng;

/* New ones for each session would cost as much as all else. */
static struct {
	struct scratch *s;
	uint8_t io[IO_LEN];
} kept[1 + CUTS];

void
random_seed(uint64_t seed)
{
	rng = seed;
}

/* splitmix64 */
uint64_t
random_number(void)
{
	uint64_t z = rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
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
		p[i] = (uint8_t)random_number();
	return (ssize_t)len;
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

bool
session_open(struct session *s)
{
	const struct engine_options opt = { .mount_point = "/mnt/crash",
					    .cache_size = 1,
					    .merge_chunks = 1,
					    .seal_limit = s->w->seal_limit,
					    .manual = true };
	int r = 0;

	s->io = kept[s->cuts].io;
	if (!kept[s->cuts].s)
		r = scratch_new(&kept[s->cuts].s);
	s->s = kept[s->cuts].s;
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
		scratch_free(kept[i].s);
}
