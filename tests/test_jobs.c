/*
 * test_jobs.c - the threads of a mount: strands of jobs, and the wiping of what
 * workers have in their hands.
 */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include <sealdisk/crypto.h>

#include "jobs.h"
#include "worker.h"

#define MAX_THREADS 4

static struct workers workers;
static struct jobs *jobs;

static void
start(void)
{
	assert_ok(workers_init(&workers));
	assert_ok(jobs_new(&workers, MAX_THREADS, &jobs));
}

static void
stop(void)
{
	jobs_drain(jobs);
	jobs_stop(jobs);
	workers_join(&workers);
	jobs_free(TAKE(jobs));
}

static void
sleep_ms(long ms)
{
	const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	(void)nanosleep(&t, NULL);
}

/* A job that waits on a gate, if it has one, and leaves its number. */
struct numbered {
	struct job job;
	pthread_mutex_t *gate;
	unsigned number;
};

static _Atomic unsigned order[1024], n_run, n_done, running, most_running;

static void
run_numbered(struct job *job)
{
	struct numbered *j = (struct numbered *)job;
	unsigned now = atomic_fetch_add(&running, 1) + 1;
	unsigned most = atomic_load(&most_running);

	while (now > most &&
	       !atomic_compare_exchange_weak(&most_running, &most, now))
		;
	if (j->gate) {
		(void)pthread_mutex_lock(j->gate);
		(void)pthread_mutex_unlock(j->gate);
	}
	atomic_store(&order[atomic_fetch_add(&n_run, 1)], j->number);
	atomic_fetch_sub(&running, 1);
}

static void
done_numbered(struct job *job)
{
	atomic_fetch_add(&n_done, 1);
	free(job);
}

static void
add(struct strand *s, unsigned number, pthread_mutex_t *gate)
{
	struct numbered *j = calloc(1, sizeof(*j));

	assert_non_null(j);
	j->job.run = run_numbered;
	j->job.done = done_numbered;
	j->gate = gate;
	j->number = number;
	jobs_add(jobs, s, &j->job);
}

static void
reset(void)
{
	n_run = n_done = running = most_running = 0;
}

static void
jobs_of_a_strand_run_one_at_a_time_and_in_order(void **state)
{
	struct strand s = { .first = NULL };

	(void)state;
	reset();
	start();
	for (unsigned i = 0; i < 1000; i++)
		add(&s, i, NULL);
	jobs_drain(jobs);
	assert_int_equal(n_run, 1000);
	assert_int_equal(n_done, 1000);
	assert_int_equal(most_running, 1);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(order[i], i);
	stop();
}

static void
a_job_that_waits_holds_up_no_other_strand(void **state)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct strand s[MAX_THREADS] = { { .first = NULL } };

	(void)state;
	reset();
	start();
	(void)pthread_mutex_lock(&gate);
	for (unsigned i = 0; i < MAX_THREADS - 1; i++)
		add(&s[i], i, &gate);
	/* Behind those, on the same strands, and on one of its own. */
	for (unsigned i = 0; i < MAX_THREADS; i++)
		add(&s[i], 100 + i, NULL);
	add(NULL, 200, NULL);
	for (int i = 0; i < 2000 && n_run < 2; i++)
		sleep_ms(5);
	assert_int_equal(n_run, 2);
	(void)pthread_mutex_unlock(&gate);
	jobs_drain(jobs);
	assert_int_equal(n_run, 2 * MAX_THREADS);
	stop();
}

static void
strands_share_threads_when_there_are_more_of_them(void **state)
{
	struct strand s[64] = { { .first = NULL } };
	unsigned last[64] = { 0 };

	(void)state;
	reset();
	start();
	for (unsigned i = 0; i < 1024; i++)
		add(&s[i % 64], i, NULL);
	jobs_drain(jobs);
	assert_int_equal(n_run, 1024);
	assert_in_range(most_running, 1, MAX_THREADS);
	/* In order within each, though n_run is counted after the job. */
	for (unsigned i = 0; i < 1024; i++) {
		unsigned strand = order[i] % 64;

		assert_in_range(order[i], last[strand], 1023);
		last[strand] = order[i];
	}
	stop();
}

/* A strand that lives in its last job's memory, as a disk's does. */
struct owner {
	struct job job;
	struct strand strand;
};

static void
run_nothing(struct job *j)
{
	(void)j;
}

static void
done_owner(struct job *j)
{
	memset(j, 0xee, sizeof(struct owner));
	free(j);
}

static void
the_end_of_a_job_may_free_its_strand(void **state)
{
	(void)state;
	start();
	for (int i = 0; i < 200; i++) {
		struct owner *o = calloc(1, sizeof(*o));

		assert_non_null(o);
		o->job.run = run_nothing;
		o->job.done = done_owner;
		jobs_add(jobs, &o->strand, &o->job);
	}
	stop();
}

/*
 * Wiping.
 */

#define MARK 0xa5

static int pipe_fds[2];
static _Atomic bool hold, stopping;
static _Atomic unsigned in_hand, reads;

/* As a worker of a session: sleeps in a read, then has data in its hands. */
static void
serve(struct worker *w, void *arg)
{
	bool used = false;
	char c;

	(void)arg;
	while (!stopping) {
		ssize_t n;

		worker_checkpoint(w);
		atomic_store(&w->asleep, true);
		n = read(pipe_fds[0], &c, 1);
		atomic_store(&w->asleep, false);
		if (n != 1)
			continue;
		memset(w->in, MARK, 5000);
		w->in_used = 5000;
		memset(w->out, MARK, WORKER_IO_MAX);
		w->out_used = WORKER_IO_MAX;
		used = true;
		atomic_fetch_add(&reads, 1);
		while (hold)
			sleep_ms(1);
	}
	/* Memory that was never used is as it came. */
	if (used)
		in_hand += w->in_used || w->out_used || w->in[4999] ||
			   w->out[0] || w->out[WORKER_IO_MAX - 1];
}

static void
start_serving(unsigned n)
{
	assert_int_equal(pipe(pipe_fds), 0);
	assert_ok(workers_init(&workers));
	hold = stopping = false;
	in_hand = reads = 0;
	for (unsigned i = 0; i < n; i++)
		assert_ok(workers_start(&workers, true, serve, NULL));
}

static void
stop_serving(void)
{
	stopping = true;
	(void)close(pipe_fds[1]); /* a read that begins now ends at once */
	workers_kick(&workers);
	workers_join(&workers);
	(void)close(pipe_fds[0]);
}

static unsigned
wipe_and_wait(int tries)
{
	unsigned left;

	workers_wipe(&workers);
	while ((left = workers_wake(&workers)) > 0 && tries-- > 0)
		sleep_ms(2);
	return left;
}

static void
a_wipe_reaches_every_worker_that_sleeps(void **state)
{
	(void)state;
	start_serving(8);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(write(pipe_fds[1], "xxxxxxxx", 8), 8);
		while (reads < 8U * (unsigned)(i + 1))
			sleep_ms(1);
		assert_int_equal(wipe_and_wait(5000), 0);
	}
	stop_serving();
	assert_int_equal(in_hand, 0);
}

static void
a_wipe_waits_for_a_worker_that_is_busy(void **state)
{
	(void)state;
	start_serving(2);
	hold = true;
	assert_int_equal(write(pipe_fds[1], "x", 1), 1);
	while (reads < 1)
		sleep_ms(1);
	assert_int_equal(wipe_and_wait(25), 1);
	hold = false;
	while (workers_wake(&workers) > 0)
		sleep_ms(1);
	stop_serving();
	assert_int_equal(in_hand, 0);
}

static void
a_thread_of_jobs_that_rests_has_nothing_to_wipe(void **state)
{
	(void)state;
	start();
	jobs_drain(jobs);
	sleep_ms(50);
	assert_int_equal(wipe_and_wait(1000), 0);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    jobs_of_a_strand_run_one_at_a_time_and_in_order),
		cmocka_unit_test(a_job_that_waits_holds_up_no_other_strand),
		cmocka_unit_test(
		    strands_share_threads_when_there_are_more_of_them),
		cmocka_unit_test(the_end_of_a_job_may_free_its_strand),
		cmocka_unit_test(a_wipe_reaches_every_worker_that_sleeps),
		cmocka_unit_test(a_wipe_waits_for_a_worker_that_is_busy),
		cmocka_unit_test(
		    a_thread_of_jobs_that_rests_has_nothing_to_wipe),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
