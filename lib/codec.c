/*
 * codec.c - bytes to values and back.
 *
 * Values are moved a byte at a time, which needs neither alignment nor a byte
 * order, and which compilers turn into one load or store.
 *
 * Text is taken in one spelling only: what is parsed and written again is the
 * same.  Two spellings of one value would be two files of one descriptor, and
 * one of them would not match its MAC.
 */
#include <sealdisk/codec.h>

#include <errno.h>
#include <string.h>

#include <sealdisk/crypto.h>

/* Cursors. */

struct reader
reader_over(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	return (struct reader){ .p = p, .end = p + len };
}

struct writer
writer_over(void *buf, size_t len)
{
	uint8_t *p = buf;

	return (struct writer){ .p = p, .end = p + len };
}

/* The next ${len} bytes, or NULL from the first time that there are too few. */
static const uint8_t *
take(struct reader *r, size_t len)
{
	const uint8_t *p = r->p;

	if (r->bad || (size_t)(r->end - p) < len) {
		r->bad = true;
		return NULL;
	}
	r->p += len;
	return p;
}

static uint64_t
get_le(struct reader *r, size_t len)
{
	const uint8_t *p = take(r, len);
	uint64_t v = 0;

	if (!p)
		return 0;
	for (size_t i = 0; i < len; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

uint8_t
get_u8(struct reader *r)
{
	return (uint8_t)get_le(r, 1);
}

uint16_t
get_u16(struct reader *r)
{
	return (uint16_t)get_le(r, 2);
}

uint32_t
get_u32(struct reader *r)
{
	return (uint32_t)get_le(r, 4);
}

uint64_t
get_u64(struct reader *r)
{
	return get_le(r, 8);
}

void
get_bytes(struct reader *r, void *out, size_t len)
{
	const uint8_t *p = take(r, len);

	if (p)
		memcpy(out, p, len);
	else
		memset(out, 0, len);
}

void
get_skip(struct reader *r, size_t len)
{
	(void)take(r, len);
}

/* Room for ${len} bytes, or NULL from the first time that there is none. */
static uint8_t *
room(struct writer *w, size_t len)
{
	uint8_t *p = w->p;

	if (w->bad || (size_t)(w->end - p) < len) {
		w->bad = true;
		return NULL;
	}
	w->p += len;
	return p;
}

static void
put_le(struct writer *w, uint64_t v, size_t len)
{
	uint8_t *p = room(w, len);

	if (!p)
		return;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

void
put_u8(struct writer *w, uint8_t v)
{
	put_le(w, v, 1);
}

void
put_u16(struct writer *w, uint16_t v)
{
	put_le(w, v, 2);
}

void
put_u32(struct writer *w, uint32_t v)
{
	put_le(w, v, 4);
}

void
put_u64(struct writer *w, uint64_t v)
{
	put_le(w, v, 8);
}

void
put_bytes(struct writer *w, const void *in, size_t len)
{
	uint8_t *p = room(w, len);

	if (p)
		memcpy(p, in, len);
}

void
put_zeros(struct writer *w, size_t len)
{
	uint8_t *p = room(w, len);

	if (p)
		memset(p, 0, len);
}

/* Hex. */

static const char hex_digits[] = "0123456789abcdef";

void
hex_encode(const void *in, size_t len, char *out)
{
	const uint8_t *p = in;

	for (size_t i = 0; i < len; i++) {
		*out++ = hex_digits[p[i] >> 4];
		*out++ = hex_digits[p[i] & 15];
	}
	*out = '\0';
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int
hex_decode(const char *in, void *out, size_t len)
{
	uint8_t *p = out;

	if (strlen(in) != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < 2 * len; i++)
		if (hex_digit(in[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(hex_digit(in[2 * i]) << 4 |
				 hex_digit(in[2 * i + 1]));
	return 0;
}

/* Base64. */

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(const void *in, size_t len, char *out)
{
	const uint8_t *p = in;

	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)p[i] << 16;

		if (n > 1)
			v |= (uint32_t)p[i + 1] << 8;
		if (n > 2)
			v |= p[i + 2];
		*out++ = base64_digits[v >> 18];
		*out++ = base64_digits[v >> 12 & 63];
		*out++ = n > 1 ? base64_digits[v >> 6 & 63] : '=';
		*out++ = n > 2 ? base64_digits[v & 63] : '=';
	}
	*out = '\0';
}

static int
base64_digit(char c)
{
	const char *p = c ? strchr(base64_digits, c) : NULL;

	return p ? (int)(p - base64_digits) : -1;
}

/*
 * Four digits, of which the last ${pad} are '=', to 3 - pad bytes.  The bits
 * that padding leaves over must be zero, or there were two ways to write it.
 */
static int
base64_quad(const char *in, unsigned pad, uint8_t *out)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4 - pad; i++) {
		int d = base64_digit(in[i]);

		if (d < 0)
			return -EINVAL;
		v |= (uint32_t)d << (18 - 6 * i);
	}
	if (v & ((1U << 8 * pad) - 1))
		return -EINVAL;
	for (unsigned i = 0; i < 3 - pad; i++)
		out[i] = (uint8_t)(v >> (16 - 8 * i));
	return 0;
}

int
base64_decode(const char *in, void *out, size_t cap, size_t *ret_len)
{
	size_t chars = strlen(in), len = chars / 4 * 3;
	uint8_t *p = out, last[3];
	unsigned pad = 0;

	if (chars % 4 != 0)
		return -EINVAL;
	if (chars == 0) {
		*ret_len = 0;
		return 0;
	}
	pad += in[chars - 1] == '=';
	pad += in[chars - 2] == '=' && pad;
	len -= pad;

	/* The end first: it is what says whether the length is true. */
	if (base64_quad(in + chars - 4, pad, last) < 0)
		return -EINVAL;
	if (len > cap)
		return -EMSGSIZE;
	for (; chars > 4; chars -= 4, in += 4, p += 3)
		if (base64_quad(in, 0, p) < 0)
			return -EINVAL;
	memcpy(p, last, 3 - pad);
	*ret_len = len;
	return 0;
}

/* UUIDs (RFC 9562). */

int
uuid_new(struct uuid *ret)
{
	struct uuid u;
	int r = crypto_random(u.bytes, sizeof(u.bytes));

	if (r < 0)
		return r;
	u.bytes[6] = (u.bytes[6] & 0x0f) | 0x40;
	u.bytes[8] = (u.bytes[8] & 0x3f) | 0x80;
	*ret = u;
	return 0;
}

/* Whether a dash goes before byte ${i}. */
static bool
uuid_dash(size_t i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

void
uuid_format(const struct uuid *u, char out[static UUID_STR_LEN])
{
	for (size_t i = 0; i < sizeof(u->bytes); i++) {
		if (uuid_dash(i))
			*out++ = '-';
		*out++ = hex_digits[u->bytes[i] >> 4];
		*out++ = hex_digits[u->bytes[i] & 15];
	}
	*out = '\0';
}

int
uuid_parse(const char *s, struct uuid *ret)
{
	struct uuid u;

	if (strlen(s) != UUID_STR_LEN - 1)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(u.bytes); i++) {
		int hi, lo;

		if (uuid_dash(i) && *s++ != '-')
			return -EINVAL;
		hi = hex_digit(*s++);
		lo = hex_digit(*s++);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		u.bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	*ret = u;
	return 0;
}

bool
uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool
uuid_is_nil(const struct uuid *u)
{
	static const struct uuid nil;

	return uuid_equal(u, &nil);
}
