/*
 * codec.h - bytes to values and back: bounds-checked little-endian cursors,
 * hex, Base64 (RFC 4648), UUIDs, CRC-32C, sizes and times as text.
 *
 * A cursor that runs out of room sets `bad` and from then on reads zeros and
 * writes nothing, so that a decoder checks once, at its end.
 */
#ifndef SEALDISK_CODEC_H
#define SEALDISK_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

struct reader {
	const uint8_t *p, *end;
	bool bad;
};
struct writer {
	uint8_t *p, *end;
	bool bad;
};

struct reader reader_over(const void *buf, size_t len);
struct writer writer_over(void *buf, size_t len);
uint8_t get_u8(struct reader *r) NONNULL;
uint16_t get_u16(struct reader *r) NONNULL;
uint32_t get_u32(struct reader *r) NONNULL;
uint64_t get_u64(struct reader *r) NONNULL;
void get_bytes(struct reader *r, void *out, size_t len) NONNULL;
void get_skip(struct reader *r, size_t len) NONNULL;
void put_u8(struct writer *w, uint8_t v) NONNULL;
void put_u16(struct writer *w, uint16_t v) NONNULL;
void put_u32(struct writer *w, uint32_t v) NONNULL;
void put_u64(struct writer *w, uint64_t v) NONNULL;
void put_bytes(struct writer *w, const void *in, size_t len) NONNULL;
void put_zeros(struct writer *w, size_t len) NONNULL;

/* CRC-32C (Castagnoli, RFC 3720 B.4); uses the CPU's instruction if any. */
uint32_t crc32c(const void *buf, size_t len) NONNULL;

/* Lower case hex; ${out} has room for 2 * len + 1. */
void hex_encode(const void *in, size_t len, char *out) NONNULL;
/* Exactly 2 * ${len} digits, lower case only, else -EINVAL. */
int hex_decode(const char *in, void *out, size_t len) NONNULL CHECKED;

#define BASE64_LEN(n) (((n) + 2) / 3 * 4 + 1) /* room, with the NUL */
void base64_encode(const void *in, size_t len, char *out) NONNULL;
/* Strict: canonical, padded, no white space.  -EINVAL, -EMSGSIZE. */
int base64_decode(const char *in, void *out, size_t cap, size_t *ret_len)
    NONNULL CHECKED;

#define UUID_STR_LEN 37 /* with the NUL */
struct uuid {
	uint8_t bytes[16];
};
int uuid_new(struct uuid *ret) NONNULL CHECKED; /* version 4, random */
void uuid_format(const struct uuid *u, char out[static UUID_STR_LEN]) NONNULL;
/* Lower case, canonical form only, else -EINVAL. */
int uuid_parse(const char *s, struct uuid *ret) NONNULL CHECKED;
bool uuid_equal(const struct uuid *a, const struct uuid *b) NONNULL;
bool uuid_is_nil(const struct uuid *u) NONNULL;

/* A plain decimal number in full, no sign, no blanks.  -EINVAL, -ERANGE. */
int parse_u64(const char *s, uint64_t *ret) NONNULL CHECKED;
/* The same with one of the suffixes K M G T (powers of 1024, any case). */
int parse_size(const char *s, uint64_t *ret) NONNULL CHECKED;
/* "4.0K", "1.5G", "512": for people; ${out} has room for 16. */
void format_size(uint64_t n, char out[static 16]) NONNULL;
/* Seconds since the epoch <-> "YYYY-MM-DDThh:mm:ssZ". */
#define TIME_STR_LEN 21
void format_time(int64_t t, char out[static TIME_STR_LEN]) NONNULL;
int parse_time(const char *s, int64_t *ret) NONNULL CHECKED;

/* Whether ${s} (${len} bytes) is valid UTF-8 (no surrogates, no overlong). */
bool utf8_valid(const char *s, size_t len) NONNULL;
/* Whether there is a control character in ${s}, which ends a line or steers a
 * terminal: also U+007F to U+009F. */
bool text_has_control(const char *s) NONNULL;
/* Put ? in place of each byte of them. */
void text_mask_control(char *s) NONNULL;

#endif
