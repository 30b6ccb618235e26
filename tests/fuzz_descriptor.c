/*
 * fuzz_descriptor.c - any bytes as a disk's descriptor.
 *
 * What is parsed without its key has to be written again as the same bytes but
 * for the MAC, to verify when its MAC is made right, and only then; and its key
 * sections are replaced by themselves without a change.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_descriptor, as it is and changed at random.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "meta.h"

static const struct key dk = { "this is a DK of thirty-two bytes" };

/* Of each DK, what is shown of it though no MAC covers it. */
static bool
keys_are_plain(const struct descriptor *d)
{
	for (size_t i = 0; i < d->n_keys; i++)
		if (text_has_control(d->keys[i].dk.kms) ||
		    text_has_control(d->keys[i].dk.key_id) ||
		    text_has_control(d->keys[i].dk.key_version_id))
			return false;
	return !text_has_control(d->category);
}

static bool
is_within(const struct descriptor *d)
{
	return d->size % 512 == 0 && d->size <= DISK_SIZE_MAX &&
	       d->type <= DESC_IMAGE && d->n_keys >= 1 &&
	       d->n_keys <= DESC_KEYS_MAX && d->mode <= 0777 &&
	       name_check(d->name) == 0 &&
	       (d->of[0] != '\0') == (d->type == DESC_SNAPSHOT);
}

/* ${text} is ${sealed} but for the 64 digits after "mac = ". */
static void
differ_in_the_mac(const char *text, size_t len, const char *sealed)
{
	const char *mac = strstr(sealed, "\n[seal]\nmac = ");
	size_t at;

	must(mac && strlen(sealed) == len);
	at = (size_t)(mac - sealed) + strlen("\n[seal]\nmac = ");
	must(at + 2 * (size_t)MAC_LEN <= len);
	must(memcmp(text, sealed, at) == 0);
	at += 2 * (size_t)MAC_LEN;
	must(memcmp(text + at, sealed + at, len - at) == 0);
}

static bool
take(const void *data, size_t len)
{
	CLEANUP(free_memp) char *sealed = NULL, *again = NULL;
	struct descriptor d, back;
	bool same;
	int r;

	memset(&d, 0, sizeof(d));
	r = descriptor_parse(data, len, &d);
	must(r == 0 || r == -EUCLEAN || r == -EPROTONOSUPPORT);
	if (r < 0)
		return false;
	must(is_within(&d) && keys_are_plain(&d));
	must(descriptor_format(&d, &dk, &sealed) == 0);
	differ_in_the_mac(data, len, sealed);
	must(descriptor_verify(sealed, len, &d.uuid, &dk) == 0);
	same = memcmp(sealed, data, len) == 0;
	r = descriptor_verify(data, len, &d.uuid, &dk);
	must(r == (same ? 0 : -EBADMSG));
	memset(&back, 0, sizeof(back));
	must(descriptor_parse(sealed, len, &back) == 0);
	must(memcmp(&d, &back, sizeof(d)) == 0);
	must(descriptor_rewrite_keys(data, len, &d, &again) == 0);
	must(strlen(again) == len && memcmp(data, again, len) == 0);
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
	static const struct fuzzer f = { "fuzz_descriptor", take, some,
					 sizeof(some), 2000 };

	return replay_main(&f, argc, argv);
}

#endif
