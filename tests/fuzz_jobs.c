/*
 * fuzz_jobs.c - jobs and a worker in one thread.
 */
#include "fuzz_jobs.h"

#include <errno.h>
#include <stdlib.h>

#include "fuzz.h"

struct jobs {
	struct job *first, *last;
};

int
jobs_new(struct workers *ws, unsigned max, struct jobs **ret)
{
	(void)ws;
	(void)max;
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

/* In the order of all of them, and so in that of each strand. */
void
jobs_add(struct jobs *js, struct strand *s, struct job *j)
{
	(void)s;
	j->next = NULL;
	if (js->last)
		js->last->next = j;
	else
		js->first = j;
	js->last = j;
}

void
jobs_drain(struct jobs *js)
{
	struct job *j;

	while ((j = js->first)) {
		js->first = j->next;
		if (!js->first)
			js->last = NULL;
		j->run(j);
		j->done(j);
	}
}

void
jobs_free(struct jobs *js)
{
	must(!js || !js->first);
	free(js);
}

struct worker *
fuzz_worker(void)
{
	static struct worker w;

	if (w.out)
		return &w;
	w.out = malloc(WORKER_IO_MAX);
	must(w.out && scratch_new(&w.scratch) == 0);
	return &w;
}

struct worker *
worker_self(void)
{
	return fuzz_worker();
}
