/*
 * fuzz_policy.c - any bytes as a policy document.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_policy, as it is and changed at random.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>

#include "fuzz.h"
#include "policy.h"

/* Of both kinds; true if it is one of either. */
static bool
take(const void *text, size_t len)
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	(void)take(data, len);
	return 0;
}

#ifndef SEALDISK_LIBFUZZER

int
main(int argc, char **argv)
{
	static const char json[] = "{}[]\",:*?\\0/x";
	static const struct fuzzer f = { "fuzz_policy", take, json,
					 sizeof(json), 2000 };

	return replay_main(&f, argc, argv);
}

#endif
