/*
 * fuzz.h - what the fuzzers share: how inputs that are kept are replayed, and
 * changed at random, where there is no libFuzzer.
 */
#ifndef SEALDISK_FUZZ_H
#define SEALDISK_FUZZ_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define must(x)                                                                \
	do {                                                                   \
		if (!(x)) {                                                    \
			(void)fprintf(stderr, "%d: %s\n", __LINE__, #x);       \
			abort();                                               \
		}                                                              \
	} while (0)

#ifndef SEALDISK_LIBFUZZER

static uint64_t rng;

/* Below ${n}. */
static inline uint64_t
rnd(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

/* What the environment says, or ${otherwise}. */
static inline uint64_t
number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	uint64_t n = otherwise;

	must(!text || parse_u64(text, &n) == 0);
	return n;
}

/* As SEALDISK_SEED says, or at random; it is printed, to be said again. */
static inline void
seed(void)
{
	uint64_t n = number_of("SEALDISK_SEED", (uint64_t)getpid());

	(void)printf("SEALDISK_SEED=%llu\n", (unsigned long long)n);
	rng = n * 2 + 1;
}

/* Bytes moved, left out, flipped, or one of ${some}; the new length. */
static inline size_t
change_text(char *p, size_t len, const char *some, size_t n_some)
{
	size_t a = rnd(len), n = rnd(16) + 1;

	if (n > len - a)
		n = len - a;
	switch (rnd(4)) {
	case 0:
		memmove(p + a, p + a + n, len - a - n);
		return len - n;
	case 1:
		memmove(p + a, p + rnd(len - n + 1), n);
		return len;
	case 2:
		p[a] = some[rnd(n_some)];
		return len;
	default:
		p[a] = (char)(p[a] ^ (1 << rnd(8)));
		return len;
	}
}

/* Each file of tests/data/${name}. */
static inline void
replay_folder(const char *name, uint64_t rounds,
	      void (*replay)(const char *path, uint64_t rounds))
{
	const char *top = getenv("top_srcdir");
	char folder[4096], path[4096 + 256];
	struct dirent *e;
	DIR *d;

	(void)snprintf(folder, sizeof(folder), "%s/tests/data/%s",
		       top ? top : ".", name);
	d = opendir(folder);
	must(d);
	while ((e = readdir(d))) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (e->d_name[0] != '.')
			replay(path, rounds);
	}
	(void)closedir(d);
}

/* Of a fuzzer that takes an input or does not. */
struct fuzzer {
	const char *name; /* of its folder in tests/data */
	bool (*take)(const void *data, size_t len);
	const char *some; /* what a change may put in */
	size_t n_some;
	uint64_t rounds; /* changes of each input, unless SEALDISK_ROUNDS */
};

/* What is called good- has to be taken, what is called bad- must not be. */
static inline void
replay_input(const struct fuzzer *f, const char *path, uint64_t rounds)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	CLEANUP(free_memp) char *text = NULL, *p = NULL;
	size_t len, now;
	bool taken;

	must(io_load(AT_FDCWD, path, 1 << 20, &text, &len) == 0);
	taken = f->take(text, len);
	must(taken || strncmp(name, "good-", 5) != 0);
	must(!taken || strncmp(name, "bad-", 4) != 0);
	p = malloc(len + 1);
	must(p);
	for (uint64_t i = 0; i < rounds && len > 0; i++) {
		memcpy(p, text, len);
		now = len;
		for (uint64_t n = rnd(4) + 1; n > 0 && now > 0; n--)
			now = change_text(p, now, f->some, f->n_some);
		(void)f->take(p, now);
	}
}

static const struct fuzzer *replayed;

static inline void
replay_one(const char *path, uint64_t rounds)
{
	replay_input(replayed, path, rounds);
}

/* What a main() does: the inputs that are named, else all in the folder. */
static inline int
replay_main(const struct fuzzer *f, int argc, char **argv)
{
	uint64_t rounds = number_of("SEALDISK_ROUNDS", f->rounds);

	replayed = f;
	seed();
	for (int i = 1; i < argc; i++)
		replay_one(argv[i], rounds);
	if (argc == 1)
		replay_folder(f->name, rounds, replay_one);
	(void)printf("[  PASSED  ] 1 test(s).\n");
	return 0;
}

#endif
#endif
