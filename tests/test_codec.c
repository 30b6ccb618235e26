/*
 * test_codec.c - cursors, hex, Base64, UUIDs, CRC-32C, sizes, times, UTF-8.
 */
#include "test.h"

#include "codec_private.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Cursors. */

static void
values_come_back_as_they_were_put(void **state)
{
	uint8_t buf[32];
	struct writer w = writer_over(buf, sizeof(buf));
	struct reader r = reader_over(buf, sizeof(buf));
	uint8_t bytes[5];

	(void)state;
	memset(buf, 0xee, sizeof(buf));
	put_u8(&w, 0x01);
	put_u16(&w, 0x0302);
	put_u32(&w, 0x07060504);
	put_u64(&w, 0x0f0e0d0c0b0a0908);
	put_bytes(&w, "hello", 5);
	put_zeros(&w, 12);
	assert_false(w.bad);
	assert_ptr_equal(w.p, w.end);
	for (uint8_t i = 0; i < 15; i++)
		assert_int_equal(buf[i], i + 1); /* little-endian */

	assert_int_equal(get_u8(&r), 0x01);
	assert_int_equal(get_u16(&r), 0x0302);
	assert_int_equal(get_u32(&r), 0x07060504);
	assert_int_equal(get_u64(&r), 0x0f0e0d0c0b0a0908);
	get_bytes(&r, bytes, sizeof(bytes));
	assert_memory_equal(bytes, "hello", 5);
	get_skip(&r, 8);
	assert_int_equal(get_u32(&r), 0);
	assert_false(r.bad);
	assert_ptr_equal(r.p, r.end);
}

static void
reader_past_the_end_is_bad_for_good_and_reads_zeros(void **state)
{
	uint8_t buf[7] = { 255, 255, 255, 255, 255, 255, 255 };
	uint8_t out[4] = { 1, 1, 1, 1 };
	struct reader r = reader_over(buf, sizeof(buf));

	(void)state;
	assert_int_equal(get_u32(&r), 0xffffffff);
	assert_int_equal(get_u32(&r), 0);
	assert_true(r.bad);
	assert_int_equal(get_u8(&r), 0); /* though there are three bytes */
	get_bytes(&r, out, sizeof(out));
	assert_memory_equal(out, "\0\0\0\0", 4);
	get_skip(&r, 0);
	assert_true(r.bad);
}

static void
reader_skip_of_more_than_there_is_is_bad(void **state)
{
	uint8_t buf[4] = { 0 };
	struct reader r = reader_over(buf, sizeof(buf));

	(void)state;
	get_skip(&r, SIZE_MAX);
	assert_true(r.bad);
	assert_ptr_equal(r.p, buf);
}

static void
writer_past_the_end_is_bad_and_writes_nothing(void **state)
{
	uint8_t buf[8];
	struct writer w = writer_over(buf, 5);

	(void)state;
	memset(buf, 0xee, sizeof(buf));
	put_u32(&w, 0);
	put_u16(&w, 0);
	assert_true(w.bad);
	put_u8(&w, 0);
	put_bytes(&w, "x", 1);
	put_zeros(&w, 1);
	assert_memory_equal(buf, "\0\0\0\0\xee\xee\xee\xee", 8);
}

/* Hex. */

static void
hex_is_lower_case_and_comes_back(void **state)
{
	static const uint8_t in[] = { 0x00, 0x01, 0x9a, 0xbc, 0xef, 0xff };
	char text[2 * sizeof(in) + 1];
	uint8_t out[sizeof(in)];

	(void)state;
	hex_encode(in, sizeof(in), text);
	assert_string_equal(text, "00019abcefff");
	assert_ok(hex_decode(text, out, sizeof(out)));
	assert_memory_equal(in, out, sizeof(in));
}

static void
hex_refuses_other_spellings(void **state)
{
	static const char *const bad[] = {
		"", "0", "000", "00000", "0g00", "00 0", "AB00", "0x00", "-100",
	};
	uint8_t out[2] = { 7, 7 };

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_err(hex_decode(bad[i], out, 2), EINVAL);
	assert_memory_equal(out, "\7\7", 2);
}

/* Base64: RFC 4648, 10. */

static void
base64_matches_rfc_4648(void **state)
{
	static const struct {
		const char *plain, *text;
	} v[] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xff\xef\xbe", "/+++" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		size_t len = strlen(v[i].plain), got;
		char text[16];
		uint8_t out[8];

		assert_int_equal(BASE64_LEN(len), strlen(v[i].text) + 1);
		base64_encode(v[i].plain, len, text);
		assert_string_equal(text, v[i].text);
		assert_ok(base64_decode(text, out, sizeof(out), &got));
		assert_int_equal(got, len);
		assert_memory_equal(out, v[i].plain, len);
	}
}

static void
base64_refuses_what_is_not_canonical(void **state)
{
	static const char *const bad[] = {
		"Z",        "Zg",   "Zg=",  "Zm9",      "=",
		"====",     "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n",
		" Zm9v",    "Zm 9", "Zm9-", "Z===",     "Zm=v",
		"Zm9vY===", "_m9v", "Zg=v", "Zm9v=",    "Zm9vZ=9v",
	};
	uint8_t out[16];
	size_t len = 77;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_err(base64_decode(bad[i], out, sizeof(out), &len),
			   EINVAL);
	assert_int_equal(len, 77);
}

static void
base64_says_when_there_is_too_little_room(void **state)
{
	uint8_t out[8];
	size_t len;

	(void)state;
	memset(out, 0xee, sizeof(out));
	assert_err(base64_decode("Zm9vYmE=", out, 4, &len), EMSGSIZE);
	assert_ok(base64_decode("Zm9vYmE=", out, 5, &len));
	assert_int_equal(len, 5);
	assert_memory_equal(out, "fooba\xee\xee\xee", 8);
}

static void
base64_comes_back_at_every_length(void **state)
{
	uint8_t in[200], out[200];
	char text[BASE64_LEN(sizeof(in))];
	size_t got;

	(void)state;
	fill_pattern(in, sizeof(in), 1);
	for (size_t len = 0; len <= sizeof(in); len++) {
		base64_encode(in, len, text);
		assert_int_equal(strlen(text) + 1, BASE64_LEN(len));
		assert_ok(base64_decode(text, out, len, &got));
		assert_int_equal(got, len);
		assert_memory_equal(in, out, len);
	}
}

/* UUIDs. */

static void
uuid_comes_back_from_its_text(void **state)
{
	static const char text[] = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
	struct uuid u;
	char again[UUID_STR_LEN];

	(void)state;
	assert_ok(uuid_parse(text, &u));
	assert_int_equal(u.bytes[0], 0xf8);
	assert_int_equal(u.bytes[15], 0xf6);
	uuid_format(&u, again);
	assert_string_equal(again, text);
}

static void
uuid_refuses_other_spellings(void **state)
{
	static const char *const bad[] = {
		"",
		"f81d4fae-7dec-41d0-a765-00a0c91e6bf",
		"f81d4fae-7dec-41d0-a765-00a0c91e6bf66",
		"F81D4FAE-7DEC-41D0-A765-00A0C91E6BF6",
		"{81d4fae-7dec-41d0-a765-00a0c91e6bf}",
		"f81d4fae7dec-41d0-a765-00a0c91e6bf6-",
		"f81d4fae-7dec-41d0-a765-00a0c91e6b 6",
		"f81d4fae-7dec-41d0-a76500-a0c91e6bf6",
	};
	struct uuid u;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_err(uuid_parse(bad[i], &u), EINVAL);
}

static void
uuid_new_is_random_and_of_version_4(void **state)
{
	struct uuid a, b;

	(void)state;
	assert_ok(uuid_new(&a));
	assert_ok(uuid_new(&b));
	assert_false(uuid_equal(&a, &b));
	assert_true(uuid_equal(&a, &a));
	assert_int_equal(a.bytes[6] >> 4, 4);
	assert_int_equal(a.bytes[8] >> 6, 2);
	assert_false(uuid_is_nil(&a));
	memset(&a, 0, sizeof(a));
	assert_true(uuid_is_nil(&a));
}

/* CRC-32C. */

static void
crc32c_matches_rfc_3720(void **state)
{
	static const char pdu[] =
	    "01c00000 00000000 00000000 00000000 14000000 00000400"
	    "00000014 00000018 28000000 00000000 02000000 00000000";
	uint8_t buf[48];

	(void)state;
	memset(buf, 0, 32);
	assert_int_equal(crc32c(buf, 32), 0x8a9136aa);
	memset(buf, 0xff, 32);
	assert_int_equal(crc32c(buf, 32), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		buf[i] = i;
	assert_int_equal(crc32c(buf, 32), 0x46dd794e);
	for (uint8_t i = 0; i < 32; i++)
		buf[i] = 31 - i;
	assert_int_equal(crc32c(buf, 32), 0x113fdb5c);
	assert_int_equal(unhex(pdu, buf), 48);
	assert_int_equal(crc32c(buf, 48), 0xd9963a56);
	assert_int_equal(crc32c("123456789", 9), 0xe3069283);
	assert_int_equal(crc32c("", 0), 0);
}

static void
crc32c_is_the_same_without_the_instruction(void **state)
{
	uint8_t buf[300];

	(void)state;
	fill_pattern(buf, sizeof(buf), 2);
	for (size_t from = 0; from < 9; from++)
		for (size_t len = 0; len + from < sizeof(buf); len++)
			assert_int_equal(crc32c(buf + from, len),
					 crc32c_portable(buf + from, len));
}

/* Numbers. */

static void
numbers_and_sizes_are_parsed_in_full(void **state)
{
	static const struct {
		const char *text;
		int u64, size; /* errno */
		uint64_t value;
	} v[] = {
		{ "0", 0, 0, 0 },
		{ "7", 0, 0, 7 },
		{ "0012", 0, 0, 12 },
		{ "18446744073709551615", 0, 0, UINT64_MAX },
		{ "18446744073709551616", ERANGE, ERANGE, 0 },
		{ "99999999999999999999", ERANGE, ERANGE, 0 },
		{ "1K", EINVAL, 0, 1024 },
		{ "64m", EINVAL, 0, UINT64_C(64) << 20 },
		{ "3G", EINVAL, 0, UINT64_C(3) << 30 },
		{ "120t", EINVAL, 0, UINT64_C(120) << 40 },
		{ "16777215T", EINVAL, 0, UINT64_C(16777215) << 40 },
		{ "16777216T", EINVAL, ERANGE, 0 },
		{ "", EINVAL, EINVAL, 0 },
		{ "K", EINVAL, EINVAL, 0 },
		{ " 1", EINVAL, EINVAL, 0 },
		{ "1 ", EINVAL, EINVAL, 0 },
		{ "+1", EINVAL, EINVAL, 0 },
		{ "-1", EINVAL, EINVAL, 0 },
		{ "12abc", EINVAL, EINVAL, 0 },
		{ "0x10", EINVAL, EINVAL, 0 },
		{ "1.5G", EINVAL, EINVAL, 0 },
		{ "1KB", EINVAL, EINVAL, 0 },
		{ "1KK", EINVAL, EINVAL, 0 },
		{ "1P", EINVAL, EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		uint64_t n = 4711;

		assert_err(parse_u64(v[i].text, &n), v[i].u64);
		assert_int_equal(n, v[i].u64 ? 4711 : v[i].value);
		n = 4711;
		assert_err(parse_size(v[i].text, &n), v[i].size);
		assert_int_equal(n, v[i].size ? 4711 : v[i].value);
	}
}

static void
sizes_are_shown_for_people(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} v[] = {
		{ 0, "0" },
		{ 512, "512" },
		{ 1023, "1023" },
		{ 1024, "1.0K" },
		{ 4096, "4.0K" },
		{ 1536, "1.5K" },
		{ 1048524, "1023.9K" },
		{ 1048575, "1.0M" },
		{ UINT64_C(1610612736), "1.5G" },
		{ UINT64_C(100) << 30, "100.0G" },
		{ UINT64_C(120) << 40, "120.0T" },
		{ UINT64_C(1) << 50, "1.0P" },
		{ UINT64_MAX, "16.0E" },
	};
	char text[16];

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		format_size(v[i].n, text);
		assert_string_equal(text, v[i].text);
	}
}

/* Times. */

static void
times_come_back_from_their_text(void **state)
{
	static const struct {
		int64_t t;
		const char *text;
	} v[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ -1, "1969-12-31T23:59:59Z" },
		{ 951782400, "2000-02-29T00:00:00Z" },
		{ 1795500165, "2026-11-24T06:02:45Z" },
		{ 4102444800, "2100-01-01T00:00:00Z" },
		{ -62167219200, "0000-01-01T00:00:00Z" },
		{ 253402300799, "9999-12-31T23:59:59Z" },
	};
	char text[TIME_STR_LEN];

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		int64_t t;

		format_time(v[i].t, text);
		assert_string_equal(text, v[i].text);
		assert_ok(parse_time(v[i].text, &t));
		assert_int_equal(t, v[i].t);
	}
	format_time(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59Z");
	format_time(INT64_MIN, text);
	assert_string_equal(text, "0000-01-01T00:00:00Z");
}

static void
times_that_never_were_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"2026-02-29T00:00:00Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2026-01-01T00:00:60Z",
		"2026-01-01 00:00:00Z",
		"2026-01-01T00:00:00",
		"2026-01-01T00:00:00z",
		"2026-01-01T00:00:00Z ",
		"2026-1-01T000:00:00Z",
		"+026-01-01T00:00:00Z",
	};
	int64_t t;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_err(parse_time(bad[i], &t), EINVAL);
}

/* UTF-8. */

static void
utf8_is_told_from_what_is_not(void **state)
{
	static const struct {
		const char *s;
		bool valid;
	} v[] = {
		{ "", true },
		{ "plain", true },
		{ "\xc2\x80", true },
		{ "gr\xc3\xbc\xc3\x9f", true },
		{ "\xe2\x82\xac", true },
		{ "\xef\xbf\xbf", true },
		{ "\xf0\x90\x8d\x88", true },
		{ "\xf4\x8f\xbf\xbf", true },
		{ "\x80", false },             /* continues nothing */
		{ "\xc3", false },             /* ends too early */
		{ "\xe2\x82", false },         /* the same */
		{ "\xe2\x82z", false },        /* broken off */
		{ "\xc0\x80", false },         /* overlong */
		{ "\xc1\xbf", false },         /* overlong */
		{ "\xe0\x9f\xbf", false },     /* overlong */
		{ "\xf0\x8f\xbf\xbf", false }, /* overlong */
		{ "\xed\xa0\x80", false },     /* a surrogate */
		{ "\xed\xbf\xbf", false },     /* a surrogate */
		{ "\xf4\x90\x80\x80", false }, /* past U+10FFFF */
		{ "\xf8\x88\x80\x80", false }, /* five bytes */
		{ "\xff", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++)
		if (utf8_valid(v[i].s, strlen(v[i].s)) != v[i].valid)
			fail_msg("row %zu", i);
	assert_true(utf8_valid("a\0b", 3));
}

static void
a_control_character_is_found_and_masked(void **state)
{
	static const struct {
		const char *s, *masked;
	} v[] = {
		{ "", "" },
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
		{ "\xc2\xa0 \xc2", "\xc2\xa0 \xc2" },
		{ "a\x1b[2J", "a?[2J" },
		{ "a\nb\x7f", "a?b?" },
		{ "\xc2\x9b"
		  "2J\xc2\x80\xc2\x9f",
		  "??2J????" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		char text[32];

		strcpy(text, v[i].s);
		assert_int_equal(text_has_control(text),
				 strcmp(v[i].s, v[i].masked) != 0);
		text_mask_control(text);
		assert_string_equal(text, v[i].masked);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_back_as_they_were_put),
		cmocka_unit_test(
		    reader_past_the_end_is_bad_for_good_and_reads_zeros),
		cmocka_unit_test(reader_skip_of_more_than_there_is_is_bad),
		cmocka_unit_test(writer_past_the_end_is_bad_and_writes_nothing),
		cmocka_unit_test(hex_is_lower_case_and_comes_back),
		cmocka_unit_test(hex_refuses_other_spellings),
		cmocka_unit_test(base64_matches_rfc_4648),
		cmocka_unit_test(base64_refuses_what_is_not_canonical),
		cmocka_unit_test(base64_says_when_there_is_too_little_room),
		cmocka_unit_test(base64_comes_back_at_every_length),
		cmocka_unit_test(uuid_comes_back_from_its_text),
		cmocka_unit_test(uuid_refuses_other_spellings),
		cmocka_unit_test(uuid_new_is_random_and_of_version_4),
		cmocka_unit_test(crc32c_matches_rfc_3720),
		cmocka_unit_test(crc32c_is_the_same_without_the_instruction),
		cmocka_unit_test(numbers_and_sizes_are_parsed_in_full),
		cmocka_unit_test(sizes_are_shown_for_people),
		cmocka_unit_test(times_come_back_from_their_text),
		cmocka_unit_test(times_that_never_were_are_refused),
		cmocka_unit_test(utf8_is_told_from_what_is_not),
		cmocka_unit_test(a_control_character_is_found_and_masked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
