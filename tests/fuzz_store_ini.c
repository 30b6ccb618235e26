/*
 * fuzz_store_ini.c - any bytes as a store.ini.  What is taken is written again
 * as the same bytes.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_store_ini, as it is and changed at random.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "meta.h"

static bool
take(const void *data, size_t len)
{
	CLEANUP(free_memp) char *again = NULL;
	struct store_meta m;
	int r = store_meta_parse(data, len, &m);

	must(r == 0 || r == -EUCLEAN || r == -EPROTONOSUPPORT);
	if (r < 0)
		return false;
	must(cipher_name(m.cipher) && m.slack <= INT64_MAX);
	must(store_meta_format(&m, &again) == 0);
	must(strlen(again) == len && memcmp(again, data, len) == 0);
	return true;
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
	static const char some[] = "\n[]= -%0129azTZ:\"\\;#";
	static const struct fuzzer f = { "fuzz_store_ini", take, some,
					 sizeof(some), 20000 };

	return replay_main(&f, argc, argv);
}

#endif
