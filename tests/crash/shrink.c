/*
 * shrink.c - what was found, with fewer steps and less lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crash.h"

#define SECONDS 20

static bool
is_late(time_t since)
{
	return time(NULL) > since + SECONDS;
}

static void
finding_take(struct finding *f, struct finding *from)
{
	choices_free(&f->choices);
	*f = *from;
}

/* Leave out ${n} steps from ${at} on, if that is found, too. */
static bool
try_without(struct workload *w, size_t at, size_t n, struct kms *kms,
	    const struct limits *limits, struct finding *f)
{
	struct step *steps = calloc(w->n_steps + 1, sizeof(*steps));
	struct workload less = *w;
	struct finding got = { 0 };
	bool found;

	if (!steps)
		abort();
	memcpy(steps, w->steps, at * sizeof(*steps));
	memcpy(steps + at, w->steps + at + n,
	       (w->n_steps - at - n) * sizeof(*steps));
	less.steps = steps;
	less.n_steps = w->n_steps - n;
	found = explore(&less, kms, limits, &got);
	if (found) {
		memcpy(w->steps, steps, less.n_steps * sizeof(*steps));
		w->n_steps = less.n_steps;
		finding_take(f, &got);
	}
	free(steps);
	return found;
}

static void
fewer_steps(struct workload *w, struct kms *kms, const struct limits *limits,
	    struct finding *f, time_t since)
{
	for (size_t n = w->n_steps / 2; n > 0; n /= 2)
		for (size_t at = w->n_steps; at > 0 && !is_late(since);) {
			at = at > n ? at - n : 0;
			if (at + n <= w->n_steps)
				(void)try_without(w, at, n, kms, limits, f);
		}
}

/* Choice ${i} as if nothing of it had been lost; its sectors go with it. */
static void
keep_choice(struct choices *c, size_t i)
{
	size_t n = i + 1;

	c->v[i].answer = c->v[i].what == MEM_WRITE ? 1 : c->v[i].n - 1;
	if (c->v[i].what != MEM_WRITE)
		return;
	while (n < c->n && c->v[n].what == MEM_SECTOR)
		n++;
	memmove(c->v + i + 1, c->v + n, (c->n - n) * sizeof(*c->v));
	c->n -= n - i - 1;
}

static bool
is_kept(const struct choice *k)
{
	return k->answer == (k->what == MEM_WRITE ? 1 : k->n - 1);
}

static void
less_lost(struct workload *w, struct kms *kms, const struct limits *limits,
	  struct finding *f, time_t since)
{
	struct limits one = *limits;

	one.states = 0;
	for (size_t i = 0; i < f->choices.n && !is_late(since); i++) {
		struct choices c = { 0 };
		struct finding got = { 0 };

		if (is_kept(&f->choices.v[i]))
			continue;
		c.n = f->choices.n;
		c.v = malloc(c.n * sizeof(*c.v));
		if (!c.v)
			abort();
		memcpy(c.v, f->choices.v, c.n * sizeof(*c.v));
		keep_choice(&c, i);
		one.only = (int64_t)f->state;
		one.given = &c;
		if (explore(w, kms, &one, &got))
			finding_take(f, &got);
		choices_free(&c);
	}
}

void
shrink(struct workload *w, struct kms *kms, const struct limits *limits,
       struct finding *f)
{
	struct limits few = *limits;

	few.states = 4 * (f->state + 64);
	few.only = -1;
	fewer_steps(w, kms, &few, f, time(NULL));
	less_lost(w, kms, &few, f, time(NULL));
}
