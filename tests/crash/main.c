/*
 * main.c - the crash explorer's command line; crash.h says what it is.
 *
 *   crash_explore                         what `make check` runs
 *   SEALDISK_TEST_SLOW=1 crash_explore    what `make check-slow` runs
 *   crash_explore --seed N                one random workload (or
 * SEALDISK_SEED=N) crash_explore --workload NAME         one of the short ones
 *     --steps N       the length of a random one
 *     --keep I,J,...  of its steps these alone
 *     --state N       look at this state alone
 *     --states N      look at so many, in all
 *   crash_planted --plant BUG ...         with a bug of planted.h in the engine
 *
 * What is found is shrunk, and printed with the options that find it again.
 */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <sealdisk/log.h>

#include "planted.h"
#include "test.h"

#include "workloads.h"

#define STEPS 40 /* of a random workload */
#define TELL_EVERY 5000

static struct {
	const char *workload, *keep;
	bool seeded;
	uint64_t seed, states;
	size_t steps;
	int64_t state;
} opt = { .seed = 1, .steps = STEPS, .state = -1 };

static struct kms *kms;

/* Instead of what the engine would tell: an alarm is what must not be. */
void __wrap_log_at(enum log_level level, const char *file, int line,
		   const char *fmt, ...)
    __attribute__((__format__(__printf__, 4, 5)));
void
__wrap_log_at(enum log_level level, const char *file, int line, const char *fmt,
	      ...)
{
	char text[WHY_LEN];
	va_list ap;

	(void)file;
	(void)line;
	if (level != LOG_ERROR || !strstr(fmt, "integrity"))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	alarm_raised(text);
}

/* ---- the workload as it is asked for ---- */

static void
keep_steps(struct workload *w, const char *list)
{
	size_t n = 0;

	while (*list) {
		char *end;
		size_t i = strtoul(list, &end, 10);

		if (end == list || i >= w->n_steps || i < n) {
			fprintf(stderr, "--keep: %s?\n", list);
			exit(2);
		}
		w->steps[n++] = w->steps[i];
		list = *end ? end + 1 : end;
	}
	w->n_steps = n;
}

static void
number_steps(struct workload *w)
{
	for (size_t i = 0; i < w->n_steps; i++)
		w->steps[i].number = (unsigned)i;
}

static void
print_again(const struct workload *w, const struct finding *f)
{
	if (w->name)
		fprintf(stderr, "  --workload %s", w->name);
	else
		fprintf(stderr, "  --seed %" PRIu64 " --steps %zu", w->seed,
			opt.steps);
	fprintf(stderr, " --state %" PRIu64 " --keep ", f->state);
	for (size_t i = 0; i < w->n_steps; i++)
		fprintf(stderr, "%s%u", i ? "," : "", w->steps[i].number);
	fputc('\n', stderr);
}

static void
report(struct workload *w, const struct limits *limits, struct finding *f)
{
	fprintf(stderr, "found: %s\n", f->why);
	print_again(w, f);
	if (limits->only < 0)
		shrink(w, kms, limits, f);
	fprintf(stderr, "shrunk: %s\n", f->why);
	print_again(w, f);
	for (size_t i = 0; i < w->n_steps; i++)
		step_print(&w->steps[i]);
	fprintf(stderr, "cut in: ");
	step_print(&f->at);
	fprintf(stderr, "not kept (of what no sync had made durable):\n");
	choices_print(&f->choices);
}

static double
cpu_seconds(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* A line for each short one, and for some thousand states of the others. */
static void
tell_progress(const struct workload *w)
{
	static uint64_t told;
	uint64_t twice, n = states_checked(&twice);

	if (!test_is_slow() || (!w->name && n < told + TELL_EVERY))
		return;
	if (w->name)
		printf("%s", w->name);
	else
		printf("to seed %" PRIu64, w->seed);
	printf(": %" PRIu64 " states in all, %.0f s of CPU\n", n,
	       cpu_seconds());
	(void)fflush(stdout);
	told = n;
}

/* True: nothing was found. */
static bool
try_workload(struct workload *w, const struct limits *limits)
{
	struct finding f = { 0 };
	bool found;

	number_steps(w);
	if (opt.keep)
		keep_steps(w, opt.keep);
	found = explore(w, kms, limits, &f);
	if (found)
		report(w, limits, &f);
	tell_progress(w);
	choices_free(&f.choices);
	free(w->steps);
	return !found;
}

/* ---- all of them ---- */

static bool
enough(uint64_t want)
{
	uint64_t twice;

	return states_checked(&twice) >= want;
}

/* So many states in all, and of random ones a quarter of that. */
static bool
try_random(struct limits limits, uint64_t want)
{
	uint64_t twice, least = states_checked(&twice) + want / 4;
	struct workload w;

	if (want < least && want > 0)
		want = least;
	for (uint64_t seed = opt.seed; !enough(want); seed++) {
		workload_random(&w, seed, opt.steps);
		if (!try_workload(&w, &limits))
			return false;
	}
	return true;
}

static bool
try_named(struct limits limits)
{
	const struct named_workload *n = named_workloads;
	struct workload w;

	for (; n->name; n++)
		if (!workload_named(&w, n->name) || !try_workload(&w, &limits))
			return false;
	return true;
}

/* How many states at each point of a short workload, and of a random one. */
static struct limits
limits_of(bool named)
{
	bool slow = test_is_slow();
	struct limits l = { .random = named ? 2 : 1,
			    .only = opt.state,
			    .states = opt.states };

	if (slow) {
		l.all = named ? 128 : 32;
		l.random = named ? 32 : 8;
	} else if (test_is_watched() && !opt.states) {
		l.states = 10;
	}
	return l;
}

static bool
run(void)
{
	struct limits named = limits_of(true), random = limits_of(false);
	struct workload w;

	if (opt.workload) {
		if (!workload_named(&w, opt.workload)) {
			fprintf(stderr, "no workload %s\n", opt.workload);
			return false;
		}
		return try_workload(&w, &named);
	}
	if (opt.seeded) {
		workload_random(&w, opt.seed, opt.steps);
		return try_workload(&w, &random);
	}
	return try_named(named) &&
	       try_random(random, test_is_slow()      ? 100000
				  : test_is_watched() ? 0
						      : 2000);
}

/* ---- the command line ---- */

#ifdef SEALDISK_PLANTED
enum planted planted;

static bool
plant(const char *name)
{
	static const char *const names[] = {
		[MAP_BEFORE_CHUNKS] = "map-before-chunks",
		[SLOTS_FREED_EARLY] = "slots-freed-early",
		[PAGE_OVER_NEWEST] = "page-over-newest",
		[FROZEN_LATE] = "frozen-late",
		[MERGED_EARLY] = "merged-early",
		[MERGED_PAST] = "merged-past",
		[SETTLED_IN_MEMORY] = "settled-in-memory",
		[RESUMED_UNSETTLED] = "resumed-unsettled",
		[RESUMED_UNREAD] = "resumed-unread",
		[RESUMED_UNMAPPED] = "resumed-unmapped",
		[FORGOTTEN_EARLY] = "forgotten-early",
		[REST_UNPROVED] = "rest-unproved",
	};

	for (unsigned i = 1; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i] && strcmp(names[i], name) == 0)
			planted = (enum planted)i;
	return planted != NOTHING_PLANTED;
}
#else
static bool
plant(const char *name)
{
	fprintf(stderr, "%s: nothing is planted in this build\n", name);
	return false;
}
#endif

static const struct option options[] = {
	{ "seed", required_argument, NULL, 's' },
	{ "workload", required_argument, NULL, 'w' },
	{ "steps", required_argument, NULL, 'n' },
	{ "keep", required_argument, NULL, 'k' },
	{ "state", required_argument, NULL, 'o' },
	{ "states", required_argument, NULL, 'm' },
	{ "plant", required_argument, NULL, 'p' },
	{ NULL, 0, NULL, 0 },
};

static bool
read_option(int c)
{
	switch (c) {
	case 's':
		opt.seed = strtoull(optarg, NULL, 0);
		opt.seeded = true;
		return true;
	case 'w':
		opt.workload = optarg;
		return true;
	case 'n':
		opt.steps = strtoul(optarg, NULL, 0);
		return true;
	case 'k':
		opt.keep = optarg;
		return true;
	case 'o':
		opt.state = (int64_t)strtoull(optarg, NULL, 0);
		return true;
	case 'm':
		opt.states = strtoull(optarg, NULL, 0);
		return true;
	case 'p':
		return plant(optarg);
	default:
		return false;
	}
}

static bool
read_options(int argc, char **argv)
{
	const char *seed = getenv("SEALDISK_SEED");
	int c;

	if (seed) {
		opt.seed = strtoull(seed, NULL, 0);
		opt.seeded = true;
	}
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!read_option(c))
			return false;
	return optind == argc;
}

static void
open_kms(char dir[static TMPDIR_LEN])
{
	struct settings s;
	bool made;

	tmpdir_make(dir);
	settings_default(&s);
	(void)snprintf(s.keystore_path, sizeof(s.keystore_path),
		       "%s/keystore.db", dir);
	(void)snprintf(s.keystore_root_file, sizeof(s.keystore_root_file),
		       "%s/root.key", dir);
	strcpy(s.keystore_audit, "none");
	if (kms_init(&s, &made) < 0 || kms_open(&s, &kms) < 0)
		abort();
}

int
main(int argc, char **argv)
{
	char dir[TMPDIR_LEN];
	uint64_t n, twice, within;
	bool ok;

	if (!read_options(argc, argv) || crypto_init() < 0)
		return 2;
	/* States come and go: their memory stays, but for what is large and
	 * hardly ever touched. */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_MMAP_THRESHOLD, 256 * KiB);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
	random_seed(0);
	open_kms(dir);
	stream_prepare(kms);
	if (opt.state >= 0)
		check_explain();
	ok = run();
	session_done();
	stream_done();
	kms_close(kms);
	tmpdir_remove(dir);
	n = states_checked(&twice);
	if (ok && opt.state >= 0 && n == 0) {
		fprintf(stderr, "there is no state %" PRId64 "%s\n", opt.state,
			test_is_slow() ? "" : " without SEALDISK_TEST_SLOW=1");
		ok = false;
	}
	printf("%" PRIu64 " states after one cut, %" PRIu64
	       " after two: %s; %.1f s of CPU\n",
	       n - twice, twice, ok ? "each as it may be" : "one is not",
	       cpu_seconds());
	n = deaths(&within);
	printf("%" PRIu64 " deaths and resumes, %" PRIu64
	       " of them within a step\n",
	       n, within);
	printf("[  %s  ] 1 test(s).\n", ok ? "PASSED" : "FAILED");
	return ok ? 0 : 1;
}
