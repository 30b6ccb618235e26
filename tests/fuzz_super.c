/*
 * fuzz_super.c - any bytes as the superblock of a chunk file, past its MAC.
 *
 * What can be read without a key is written anew with one and read as the same.
 * The MAC of an input verifies when it was made right, and only then.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_super, as it is and changed at random.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "super.h"

#define SEALED (SUPER_LEN - MAC_LEN)

static const uint8_t key[KEY_LEN] = "a key for the MACs of the pages";

/* Right for what is before it. */
static void
seal(uint8_t raw[static SUPER_LEN])
{
	const struct iovec iov = { raw, SEALED };

	must(hmac_sha256(key, &iov, 1, raw + SEALED) == 0);
}

/* Of a shorter input the rest is zeros. */
static bool
take(const void *data, size_t len)
{
	uint8_t raw[SUPER_LEN] = { 0 }, mac[MAC_LEN], again[SUPER_LEN];
	struct super s, back;
	int r;

	memcpy(raw, data, len < SUPER_LEN ? len : SUPER_LEN);
	memcpy(mac, raw + SEALED, MAC_LEN);
	r = super_parse(raw, &s);
	must(r == 0 || r == -EUCLEAN || r == -EPROTONOSUPPORT);
	seal(raw);
	must(super_verify(raw, key) == 0);
	if (memcmp(mac, raw + SEALED, MAC_LEN) != 0) {
		memcpy(raw + SEALED, mac, MAC_LEN);
		must(super_verify(raw, key) == -EBADMSG);
	}
	if (r < 0)
		return false;
	must(cipher_name(s.cipher));
	must(super_encode(&s, key, again) == 0);
	must(super_verify(again, key) == 0 && super_parse(again, &back) == 0);
	must(super_encode(&back, key, raw) == 0);
	must(memcmp(again, raw, SUPER_LEN) == 0);
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
	static const char some[] = "SDCK\1\2\0\x10\x80\xff";
	static const struct fuzzer f = { "fuzz_super", take, some, sizeof(some),
					 2000 };

	return replay_main(&f, argc, argv);
}

#endif
