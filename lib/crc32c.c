/*
 * crc32c.c - CRC-32C, Castagnoli's polynomial, bits reflected (RFC 3720 B.4).
 *
 * It guards nothing against people (pages have a MAC); it lets scrub and send
 * find damage without a key.  Every x86 since 2008 has an instruction for it.
 */
#include <sealdisk/codec.h>

#include <pthread.h>
#include <string.h>

#include "codec_private.h"

#define POLY 0x82f63b78U

static uint32_t table[256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void
table_fill(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (unsigned bit = 0; bit < 8; bit++)
			c = c >> 1 ^ (c & 1 ? POLY : 0);
		table[i] = c;
	}
}

uint32_t
crc32c_portable(const void *buf, size_t len)
{
	const uint8_t *p = buf;
	uint32_t c = UINT32_MAX;

	(void)pthread_once(&table_once, table_fill);
	for (; len > 0; len--)
		c = c >> 8 ^ table[(c ^ *p++) & 255];
	return ~c;
}

#ifdef __x86_64__

__attribute__((__target__("sse4.2"))) static uint32_t
crc32c_sse42(const void *buf, size_t len)
{
	const uint8_t *p = buf;
	uint64_t c = UINT32_MAX;
	uint32_t c32;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t v;

		memcpy(&v, p, sizeof(v));
		c = __builtin_ia32_crc32di(c, v);
	}
	c32 = (uint32_t)c;
	for (; len > 0; len--)
		c32 = __builtin_ia32_crc32qi(c32, *p++);
	return ~c32;
}

uint32_t
crc32c(const void *buf, size_t len)
{
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(buf, len);
	return crc32c_portable(buf, len);
}

#else

uint32_t
crc32c(const void *buf, size_t len)
{
	return crc32c_portable(buf, len);
}

#endif
