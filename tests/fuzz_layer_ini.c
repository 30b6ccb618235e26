/*
 * fuzz_layer_ini.c - any bytes as a layer.ini, past its MAC.
 *
 * What can be read without a key is sealed anew and read with it: as the same,
 * byte for byte but for the MAC.  A MAC that is not right is refused.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_layer_ini, as it is and changed at random.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "meta.h"

static const struct key dk = { "this is a DK of thirty-two bytes" };

static bool
take(const void *data, size_t len)
{
	CLEANUP(free_memp) char *sealed = NULL;
	struct layer_meta m, back;
	bool same;
	int r;

	memset(&m, 0, sizeof(m));
	r = layer_meta_peek(data, len, &m);
	must(r == 0 || r == -EUCLEAN || r == -EPROTONOSUPPORT);
	if (r < 0)
		return false;
	must(m.size % 512 == 0 && m.size <= DISK_SIZE_MAX);
	must(m.state <= LAYER_SEALED);
	must(layer_meta_format(&m, &dk, &sealed) == 0);
	must(strlen(sealed) == len && len > 2 * (size_t)MAC_LEN);
	must(memcmp(data, sealed, len - 2 * (size_t)MAC_LEN - 1) == 0);
	memset(&back, 0, sizeof(back));
	must(layer_meta_parse(sealed, len, &dk, &back) == 0);
	must(memcmp(&m, &back, sizeof(m)) == 0);
	same = memcmp(data, sealed, len) == 0;
	r = layer_meta_parse(data, len, &dk, &back);
	must(r == (same ? 0 : -EBADMSG));
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
	static const struct fuzzer f = { "fuzz_layer_ini", take, some,
					 sizeof(some), 5000 };

	return replay_main(&f, argc, argv);
}

#endif
