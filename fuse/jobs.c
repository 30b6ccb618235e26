/*
 * jobs.c - strands of jobs, and the threads that run them.
 *
 * A strand with jobs is in the queue once.  A thread takes it out, runs its
 * first job, and puts it back at the end while there are more.
 */
#include "jobs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct jobs {
	struct workers *workers;
	pthread_mutex_t lock; /* guards all below, and all strands */
	pthread_cond_t work, drained;
	struct strand *first, *last; /* strands that can run */
	unsigned queued, threads, max, idle, busy;
	bool stop;
};

static void
schedule(struct jobs *js, struct strand *s)
{
	s->next = NULL;
	s->scheduled = true;
	js->queued++;
	if (js->last)
		js->last->next = s;
	else
		js->first = s;
	js->last = s;
}

static struct strand *
take_strand(struct jobs *js)
{
	struct strand *s = js->first;

	js->first = s->next;
	if (!js->first)
		js->last = NULL;
	js->queued--;
	return s;
}

static struct job *
take_job(struct strand *s)
{
	struct job *j = s->first;

	s->first = j->next;
	if (!s->first)
		s->last = NULL;
	return j;
}

/* With the lock held, which is released while the job runs. */
static void
run_one(struct jobs *js)
{
	struct strand *s = take_strand(js);
	struct job *j = take_job(s);

	js->busy++;
	(void)pthread_mutex_unlock(&js->lock);
	j->run(j);

	(void)pthread_mutex_lock(&js->lock);
	if (s->first)
		schedule(js, s);
	else
		s->scheduled = false;
	(void)pthread_mutex_unlock(&js->lock);
	j->done(j); /* the strand may be gone from here on */

	(void)pthread_mutex_lock(&js->lock);
	js->busy--;
	if (!js->busy && !js->first)
		(void)pthread_cond_broadcast(&js->drained);
}

static void
serve(struct worker *w, void *arg)
{
	struct jobs *js = arg;

	(void)pthread_mutex_lock(&js->lock);
	while (!js->stop || js->first) {
		if (js->first) {
			run_one(js);
			worker_checkpoint(w);
			continue;
		}
		js->idle++;
		worker_rest(w);
		(void)pthread_cond_wait(&js->work, &js->lock);
		worker_resume(w);
		js->idle--;
	}
	(void)pthread_mutex_unlock(&js->lock);
}

void
jobs_add(struct jobs *js, struct strand *s, struct job *j)
{
	bool more;

	if (!s) {
		s = &j->own;
		memset(s, 0, sizeof(*s));
	}
	j->next = NULL;
	(void)pthread_mutex_lock(&js->lock);
	if (s->last)
		s->last->next = j;
	else
		s->first = j;
	s->last = j;
	if (!s->scheduled)
		schedule(js, s);
	/* An idle thread that was woken counts until it has its strand. */
	more = js->queued > js->idle && js->threads < js->max;
	if (more)
		js->threads++;
	(void)pthread_cond_signal(&js->work);
	(void)pthread_mutex_unlock(&js->lock);

	/* One thread fewer is no failure: there is always one. */
	if (more && workers_start(js->workers, false, serve, js) < 0) {
		(void)pthread_mutex_lock(&js->lock);
		js->threads--;
		(void)pthread_mutex_unlock(&js->lock);
	}
}

void
jobs_drain(struct jobs *js)
{
	(void)pthread_mutex_lock(&js->lock);
	while (js->first || js->busy)
		(void)pthread_cond_wait(&js->drained, &js->lock);
	(void)pthread_mutex_unlock(&js->lock);
}

void
jobs_stop(struct jobs *js)
{
	(void)pthread_mutex_lock(&js->lock);
	js->stop = true;
	(void)pthread_cond_broadcast(&js->work);
	(void)pthread_mutex_unlock(&js->lock);
}

int
jobs_new(struct workers *ws, unsigned max, struct jobs **ret)
{
	CLEANUP(free_memp) struct jobs *js = calloc(1, sizeof(*js));
	int r;

	if (!js)
		return -ENOMEM;
	js->workers = ws;
	js->max = max;
	js->threads = 1;
	(void)pthread_mutex_init(&js->lock, NULL);
	(void)pthread_cond_init(&js->work, NULL);
	(void)pthread_cond_init(&js->drained, NULL);
	r = workers_start(ws, false, serve, js);
	if (r < 0)
		return r;
	*ret = TAKE(js);
	return 0;
}

void
jobs_free(struct jobs *js)
{
	if (!js)
		return;
	(void)pthread_cond_destroy(&js->drained);
	(void)pthread_cond_destroy(&js->work);
	(void)pthread_mutex_destroy(&js->lock);
	free(js);
}
