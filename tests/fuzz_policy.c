/*
 * fuzz_policy.c - any bytes as a policy document.
 *
 * With clang: -DSEALDISK_LIBFUZZER -fsanitize=fuzzer,address.  Without, main()
 * replays tests/data/fuzz_policy, as it is and changed at random; what is
 * called good there must be taken, what is called bad must not.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>

#include "policy.h"

static void
must(bool that)
{
	if (!that)
		abort();
}

/* Of both kinds; true if it is one of either. */
static bool
take(const char *text, size_t len)
{
	static const struct policy_pair pairs[] = { { "a", "7" },
						    { "team", "blue" } };
	const struct policy_request q = { .account = "local",
					  .principal = "user/a",
					  .action = "kms:GenerateDataKey",
					  .resource = "acs:kms:r:local:key/1",
					  .source_ip = "10.0.0.1",
					  .now = 1760000000,
					  .tags = pairs,
					  .n_tags = 2,
					  .context = pairs,
					  .n_context = 2 };
	char why[POLICY_WHY_LEN];
	struct policy *p = NULL;
	bool taken = false;
	int kind;

	for (kind = 0; kind < 2; kind++) {
		memset(why, 0x55, sizeof(why));
		if (policy_parse(text, len, (enum policy_kind)kind, &p, why)) {
			must(strnlen(why, sizeof(why)) < sizeof(why));
			continue;
		}
		taken = true;
		must(policy_evaluate(p, &q) <= POLICY_DENY);
		policy_free(p);
	}
	return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	(void)take((const char *)data, len);
	return 0;
}

#ifndef SEALDISK_LIBFUZZER

static uint64_t rng;

static size_t
rnd(size_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (size_t)(rng % n);
}

/* Bytes changed, doubled, left out, or such as JSON is made of. */
static size_t
change(char *p, size_t len)
{
	static const char json[] = "{}[]\",:*?\\0/x";
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
		p[a] = json[rnd(sizeof(json))];
		return len;
	default:
		p[a] = (char)(p[a] ^ (1 << rnd(8)));
		return len;
	}
}

static void
replay(const char *path, unsigned rounds)
{
	CLEANUP(free_memp) char *text = NULL, *p = NULL;
	size_t len, now;
	unsigned i, n;

	must(io_load(AT_FDCWD, path, 1 << 20, &text, &len) == 0);
	must(!strstr(path, "good") || take(text, len));
	must(!strstr(path, "bad") || !take(text, len));
	p = malloc(len + 1);
	must(p);
	for (i = 0; i < rounds && len > 0; i++) {
		memcpy(p, text, len);
		now = len;
		for (n = (unsigned)rnd(4) + 1; n > 0 && now > 0; n--)
			now = change(p, now);
		(void)take(p, now);
	}
}

int
main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir"), *seed = getenv("SEALDISK_SEED");
	char folder[4096], path[4096 + 256];
	struct dirent *e;
	uint64_t n;
	DIR *d;

	n = (uint64_t)getpid();
	must(!seed || parse_u64(seed, &n) == 0);
	(void)printf("SEALDISK_SEED=%llu\n", (unsigned long long)n);
	rng = n * 2 + 1;
	if (argc > 1) {
		replay(argv[1], 100000);
		return 0;
	}
	(void)snprintf(folder, sizeof(folder), "%s/tests/data/fuzz_policy",
		       top ? top : ".");
	d = opendir(folder);
	must(d);
	while ((e = readdir(d))) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (e->d_name[0] != '.')
			replay(path, 2000);
	}
	(void)closedir(d);
	(void)printf("[  PASSED  ] 1 test(s).\n");
	return 0;
}

#endif
