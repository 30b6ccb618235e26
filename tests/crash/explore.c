/*
 * explore.c - a workload runs, and at each moment at which a cut can leave
 * something new, the states that it could leave are looked at.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"

#define LONG 300 /* seconds: no state takes one */

struct run {
	const struct workload *w;
	const struct limits *limits;
	struct session s;
	struct step at;
	uint64_t n; /* states */
	bool found;
	struct finding *f;
};

static void
found(struct run *r, const struct choices *c, uint64_t seed)
{
	r->found = true;
	r->f->state = r->n;
	r->f->at = r->at;
	r->f->seed = seed;
	memset(&r->f->choices, 0, sizeof(r->f->choices));
	if (!c)
		return;
	r->f->choices.v = malloc((c->n + 1) * sizeof(*c->v));
	if (!r->f->choices.v)
		abort();
	memcpy(r->f->choices.v, c->v, c->n * sizeof(*c->v));
	r->f->choices.n = r->f->choices.n_given = c->n;
}

static struct run *running;

/* A call that does not come to its end is wrong, too, and found by nobody. */
static void
on_alarm(int unused)
{
	const struct workload *w = running->w;
	char text[128];
	int n;

	(void)unused;
	n = w->name ? snprintf(text, sizeof(text), "--workload %s", w->name)
		    : snprintf(text, sizeof(text), "--seed %" PRIu64, w->seed);
	n += snprintf(text + n, sizeof(text) - (size_t)n,
		      " --state %" PRIu64 ": it does not come to its end\n",
		      running->n);
	(void)!write(STDERR_FILENO, text, (size_t)n);
	_exit(1);
}

static bool
is_over(const struct run *r)
{
	const struct limits *l = r->limits;

	return r->found || (l->states && r->n >= l->states) ||
	       (l->only >= 0 && r->n > (uint64_t)l->only);
}

static bool
check_this(struct run *r, struct store *st, uint64_t seed)
{
	return check_state(st, r->s.w, r->s.kms, seed, 1, r->f->why);
}

/* Of the only one the choices may be given. */
static void
try_state(struct run *r, struct choices *c)
{
	const struct limits *l = r->limits;
	uint64_t seed = (r->w->seed + 1) * 1000003 + r->n;
	struct choices given = { 0 };
	struct store *st;

	(void)alarm(LONG);
	if (l->given && (int64_t)r->n == l->only) {
		given.n_given = l->given->n;
		given.cap = l->given->n + 1;
		given.v = calloc(given.cap, sizeof(*given.v));
		if (!given.v)
			abort();
		memcpy(given.v, l->given->v, given.n_given * sizeof(*given.v));
		given.how = ALL_KEPT;
		c = &given;
	}
	st = mem_store_fork(r->s.st, choices_answer, c);
	if (l->only >= 0 && (int64_t)r->n != l->only)
		store_free(st);
	else if (!check_this(r, st, seed))
		found(r, c, seed);
	if (!r->found)
		r->n++;
	choices_free(&given);
}

/* How many states there are of whole writes; more than ${max}: ${max} + 1. */
static unsigned
count_states(const struct choices *c, unsigned max)
{
	unsigned n = 1;

	for (size_t i = 0; i < c->n && n <= max; i++)
		n *= c->v[i].what == MEM_WRITE ? 2 : c->v[i].n;
	return n <= max ? n : max + 1;
}

/* Where a name is lost nothing of its file is asked for, so the count is but
 * an estimate. */
static void
try_all(struct run *r, unsigned max)
{
	struct choices c = { .how = ALL_LOST };
	unsigned n = 0;

	do
		try_state(r, &c);
	while (!is_over(r) && ++n < max && choices_next(&c));
	choices_free(&c);
}

static void
try_one(struct run *r, struct choices c)
{
	if (!is_over(r))
		try_state(r, &c);
	choices_free(&c);
}

static void
try_some(struct run *r, unsigned n, bool whole)
{
	for (unsigned i = 0; i < n; i++) {
		struct choices c = { .how = i % 2 && whole ? WHOLE : TORN,
				     .keep = 1 + 7 * ((r->n + i) / 2 % 3),
				     .rng = r->w->seed * 1000003 + r->n };

		try_one(r, c);
	}
}

/* The only part that is not the engine's: its random numbers stay its own. */
static void
on_point(void *arg)
{
	struct run *r = arg;
	struct choices c = { .how = ALL_KEPT };
	unsigned max = r->limits->all;

	if (is_over(r))
		return;
	store_free(mem_store_fork(r->s.st, choices_answer, &c));
	if (c.n == 0) {
		try_one(r, (struct choices){ .how = ALL_LOST });
	} else if (count_states(&c, max) <= max) {
		try_all(r, 2 * max);
		try_some(r, r->limits->random / 2, false);
	} else {
		if (max > 0) {
			try_one(r, (struct choices){ .how = ALL_LOST });
			try_one(r, (struct choices){ .how = ALL_KEPT });
		}
		try_some(r, r->limits->random, true);
	}
	choices_free(&c);
}

static void
run_steps(struct run *r)
{
	running = r;
	(void)signal(SIGALRM, on_alarm);
	for (size_t i = 0; !is_over(r) && i < r->w->n_steps; i++) {
		(void)alarm(LONG);
		r->at = r->w->steps[i];
		if (step_run(&r->s, &r->at) || r->found)
			continue;
		memcpy(r->f->why, r->s.why, WHY_LEN);
		found(r, NULL, 0);
	}
	if (!is_over(r))
		on_point(r);
	(void)alarm(0);
}

bool
explore(const struct workload *w, struct kms *kms, const struct limits *limits,
	struct finding *f)
{
	struct run r = { .w = w, .limits = limits, .f = f, .s.kms = kms };
	struct store_meta m = { .created = 1,
				.cipher = w->seed % 2 ? CIPHER_AES256_OCB
						      : CIPHER_AES256_GCM,
				.commit_files = w->seed % 3 == 1,
				.slack = w->seed % 4 == 2 ? 4096 : 1 << 20 };

	random_seed(w->seed);
	contents_cut(0);
	r.s.w = malloc(sizeof(*r.s.w));
	if (!r.s.w || uuid_new(&m.uuid) < 0 || mem_store_open(&r.s.st) < 0 ||
	    catalog_init(r.s.st, &m) < 0)
		abort();
	world_init(r.s.w);
	/* Chunks get new keys, and with them new files, soon or never. */
	r.s.w->seal_limit = w->seed % 5 == 3 ? 40 : 0;
	mem_store_record(r.s.st, on_point, &r);
	if (session_open(&r.s)) {
		run_steps(&r);
	} else {
		memcpy(f->why, r.s.why, WHY_LEN);
		found(&r, NULL, 0);
	}
	mem_store_record(r.s.st, NULL, NULL);
	session_close(&r.s);
	store_free(r.s.st);
	free(r.s.w);
	return r.found;
}
