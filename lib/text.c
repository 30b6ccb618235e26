/*
 * text.c - the part of codec.h that people read and type: numbers, sizes,
 * times, UTF-8.
 */
#include <sealdisk/codec.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ${len} digits of ${s}, and at least one. */
static int
parse_digits(const char *s, size_t len, uint64_t *ret)
{
	uint64_t v = 0;

	if (len == 0 || strspn(s, "0123456789") < len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (unsigned)(s[i] - '0'), &v))
			return -ERANGE;
	*ret = v;
	return 0;
}

int
parse_u64(const char *s, uint64_t *ret)
{
	return parse_digits(s, strlen(s), ret);
}

int
parse_size(const char *s, uint64_t *ret)
{
	static const char suffixes[] = "KMGTkmgt";
	size_t len = strlen(s);
	const char *suffix = len ? strchr(suffixes, s[len - 1]) : NULL;
	unsigned shift = 0;
	uint64_t v;
	int r;

	if (suffix) {
		shift = 10 * (1 + (unsigned)(suffix - suffixes) % 4);
		len--;
	}
	r = parse_digits(s, len, &v);
	if (r < 0)
		return r;
	if (v > UINT64_MAX >> shift)
		return -ERANGE;
	*ret = v << shift;
	return 0;
}

void
format_size(uint64_t n, char out[static 16])
{
	static const char units[] = "KMGTPE";
	unsigned u = 0;
	uint64_t whole, tenths;

	if (n < 1024) {
		(void)snprintf(out, 16, "%u", (unsigned)n);
		return;
	}
	while (u < 5 && n >> 10 * (u + 2) > 0)
		u++;
	for (;; u++) {
		uint64_t unit = UINT64_C(1) << 10 * (u + 1);

		whole = n / unit;
		tenths = (n % unit * 10 + unit / 2) / unit;
		whole += tenths / 10;
		tenths %= 10;
		/* 1023.96K is 1.0M, not 1024.0K. */
		if (whole < 1024 || u == 5)
			break;
	}
	(void)snprintf(out, 16, "%u.%u%c", (unsigned)whole, (unsigned)tenths,
		       units[u]);
}

/* 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what four digits can say. */
#define TIME_MIN INT64_C(-62167219200)
#define TIME_MAX INT64_C(253402300799)

void
format_time(int64_t t, char out[static TIME_STR_LEN])
{
	time_t clamped = t < TIME_MIN ? TIME_MIN : t > TIME_MAX ? TIME_MAX : t;
	struct tm tm;

	(void)gmtime_r(&clamped, &tm);
	/* strftime's %Y does not pad a year before 1000. */
	(void)snprintf(out, 5, "%04u", (unsigned)(tm.tm_year + 1900) % 10000);
	(void)strftime(out + 4, TIME_STR_LEN - 4, "-%m-%dT%H:%M:%SZ", &tm);
}

int
parse_time(const char *s, int64_t *ret)
{
	static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
	char again[TIME_STR_LEN];
	struct tm tm = { 0 };
	time_t t;

	if (strlen(s) != sizeof(form) - 1)
		return -EINVAL;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
			return -EINVAL;
	(void)strptime(s, "%Y-%m-%dT%H:%M:%SZ", &tm);
	t = timegm(&tm);

	/* The 31st of February, and leap seconds, come out as another time. */
	format_time(t, again);
	if (strcmp(s, again) != 0)
		return -EINVAL;
	*ret = t;
	return 0;
}

/* Length of the character that ${s} begins with, or 0 if it is not valid. */
static size_t
utf8_char(const uint8_t *s, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c = s[0];
	size_t n;

	if (c < 0x80)
		return 1;
	n = c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
	if (n == 0 || n > len)
		return 0;
	c &= 0x7fU >> n;
	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		c = c << 6 | (s[i] & 63U);
	}
	if (c < least[n] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
		return 0;
	return n;
}

bool
utf8_valid(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s;

	while (len > 0) {
		size_t n = utf8_char(p, len);

		if (n == 0)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

/* How many bytes a control character at ${p} has; 0: there is none. */
static size_t
control_len(const char *p)
{
	unsigned char a = (unsigned char)p[0];
	unsigned char b = a ? (unsigned char)p[1] : 0;

	if (a == 0xc2 && b >= 0x80 && b <= 0x9f)
		return 2;
	return a && (a < ' ' || a == 0x7f);
}

bool
text_has_control(const char *s)
{
	while (*s && !control_len(s))
		s++;
	return *s != '\0';
}

void
text_mask_control(char *s)
{
	for (size_t n; *s; s += n ? n : 1) {
		n = control_len(s);
		memset(s, '?', n);
	}
}
