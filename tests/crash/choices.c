/*
 * choices.c - which of what was not synced a cut leaves: by chance, or one
 * state after the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

static uint64_t
next(struct choices *c)
{
	c->rng = c->rng * UINT64_C(6364136223846793005) + 1442695040888963407;
	return c->rng >> 33;
}

/* From its start to somewhere, from somewhere to its end, or any sectors. */
static unsigned
sector(struct choices *c)
{
	unsigned i = c->sector++;

	switch (c->torn) {
	case 0:
		return i < c->torn_at;
	case 1:
		return i >= c->torn_at;
	default:
		return next(c) % 2;
	}
}

static unsigned
write_answer(struct choices *c, const struct mem_ask *a)
{
	if (c->how == WHOLE || next(c) % 2)
		return next(c) % 16 < c->keep;
	c->torn = next(c) % 3;
	c->sector = 0;
	c->torn_at = (unsigned)(next(c) % (a->len / 512 + 1));
	return 2;
}

static unsigned
answer(struct choices *c, const struct mem_ask *a)
{
	if (c->n < c->n_given)
		return c->v[c->n].answer;
	switch (c->how) {
	case ALL_LOST:
		return 0;
	case ALL_KEPT:
		return a->what == MEM_WRITE ? 1 : a->n - 1;
	default:
		break;
	}
	if (a->what == MEM_WRITE)
		return write_answer(c, a);
	if (a->what == MEM_SECTOR)
		return sector(c);
	return next(c) % 16 < c->keep ? a->n - 1 : (unsigned)(next(c) % a->n);
}

unsigned
choices_answer(void *arg, const struct mem_ask *a)
{
	struct choices *c = arg;
	size_t len = strlen(a->path);
	struct choice now = { .what = a->what,
			      .n = a->n,
			      .answer = answer(c, a),
			      .off = a->off,
			      .len = a->len };

	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 64;
		c->v = reallocarray(c->v, c->cap, sizeof(*c->v));
		if (!c->v)
			abort();
	}
	if (len >= sizeof(now.path))
		len = sizeof(now.path) - 1;
	strcpy(now.path, a->path + strlen(a->path) - len);
	c->v[c->n++] = now;
	return now.answer;
}

bool
choices_next(struct choices *c)
{
	while (c->n > 0) {
		struct choice *last = &c->v[c->n - 1];
		unsigned n = last->what == MEM_WRITE ? 2 : last->n;

		if (++last->answer < n)
			break;
		c->n--;
	}
	c->n_given = c->n;
	c->n = 0;
	return c->n_given > 0;
}

void
choices_free(struct choices *c)
{
	free(c->v);
	*c = (struct choices){ 0 };
}

void
choices_print(const struct choices *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct choice *k = &c->v[i];
		unsigned newest = k->what == MEM_WRITE ? 1 : k->n - 1;

		if (k->answer == newest)
			continue;
		if (k->what == MEM_NAME || k->what == MEM_SIZE)
			fprintf(stderr, "  %s of %s: %u of %u\n",
				k->what == MEM_NAME ? "name" : "size", k->path,
				k->answer, k->n);
		else
			fprintf(stderr, "  %s: %llu at %llu of %s\n",
				k->answer == 2 ? "torn" : "lost",
				(unsigned long long)k->len,
				(unsigned long long)k->off, k->path);
	}
}
