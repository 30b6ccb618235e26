/*
 * scrub_lost.c - what a disk cannot read any more.
 *
 * Where something is damaged the disk itself is asked: a newer layer may have
 * something else there.  Several layers may be damaged in one place, or a page
 * and what hangs on it: so the ranges are put together, and told when all has
 * been looked at.
 */
#include "scrub_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/grow.h>

/* Of a disk that is damaged in more places than that what was found is told at
 * once, and may be told again. */
#define RANGES_MAX 65536

void
scrub_tell_lost(struct scrub *sc)
{
	for (size_t i = 0; i < sc->n_lost; i++)
		scrub_say(sc, SCRUB_LOST, sc->lost[i].from,
			  sc->lost[i].to - sc->lost[i].from, NULL, false);
	sc->n_lost = 0;
}

static int
make_room(struct scrub *sc)
{
	struct lost_range *v;

	if (sc->n_lost == RANGES_MAX)
		scrub_tell_lost(sc);
	v = grow(sc->lost, sc->n_lost, &sc->cap_lost, sizeof(*v));
	if (!v)
		return -ENOMEM;
	sc->lost = v;
	return 0;
}

/* The first one that does not end before ${at}. */
static size_t
find(const struct scrub *sc, uint64_t at)
{
	size_t lo = 0, hi = sc->n_lost;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (sc->lost[mid].to < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int
add(struct scrub *sc, uint64_t from, uint64_t to)
{
	struct lost_range all = { from, to };
	size_t i, n;
	int r = make_room(sc);

	if (r < 0)
		return r;
	i = find(sc, from);
	/* Those that it touches become one with it. */
	for (n = 0; i + n < sc->n_lost && sc->lost[i + n].from <= to; n++) {
		const struct lost_range *x = &sc->lost[i + n];

		sc->t.lost -= x->to - x->from;
		all.from = x->from < all.from ? x->from : all.from;
		all.to = x->to > all.to ? x->to : all.to;
	}
	memmove(sc->lost + i + 1, sc->lost + i + n,
		(sc->n_lost - i - n) * sizeof(*sc->lost));
	sc->lost[i] = all;
	sc->n_lost += 1 - n;
	sc->t.lost += all.to - all.from;
	return 0;
}

/* Block by block. */
static int
find_blocks(struct scrub *sc, uint64_t off, size_t len)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i += BLOCK_SIZE) {
		size_t n = len - i < BLOCK_SIZE ? len - i : BLOCK_SIZE;

		r = disk_read(sc->d, sc->s, sc->group, n, off + i);
		if (disk_is_damage(r))
			r = add(sc, off + i, off + i + n);
	}
	return r;
}

int
scrub_find_lost(struct scrub *sc, uint64_t off, uint64_t len)
{
	uint64_t size = disk_size(sc->d);
	uint64_t end = off + len < size ? off + len : size;
	int r = 0;

	for (uint64_t at = off; r == 0 && at < end; at += GROUP_LEN) {
		size_t n = end - at < GROUP_LEN ? (size_t)(end - at)
						: GROUP_LEN;

		r = *sc->o->stop ? -ECANCELED
				 : disk_read(sc->d, sc->s, sc->group, n, at);
		if (disk_is_damage(r))
			r = find_blocks(sc, at, n);
	}
	return r;
}
