/*
 * test_page.c - the bytes of pages, as format.md has them.
 *
 * What is expected is built here by hand, from the format alone: a page that
 * page.c writes and reads back the same way wrong would not pass.
 */
#include "test.h"

#include <sealdisk/crypto.h>

#include "page.h"

#define CRC_AT 40
#define MAC_AT 224

static const uint8_t key[KEY_LEN] = "an HMAC key of thirty-two bytes";

/* Put MAC and CRC over whatever the page holds. */
static void
seal_by_hand(uint8_t p[static PAGE_LEN])
{
	struct iovec iov = { p, PAGE_LEN };
	uint8_t mac[MAC_LEN];
	uint32_t crc;

	memset(p + CRC_AT, 0, 4);
	memset(p + MAC_AT, 0, MAC_LEN);
	assert_ok(hmac_sha256(key, &iov, 1, mac));
	memcpy(p + MAC_AT, mac, MAC_LEN);
	crc = crc32c(p, PAGE_LEN);
	for (unsigned i = 0; i < 4; i++)
		p[CRC_AT + i] = (uint8_t)(crc >> (8 * i));
}

/* A group page with a bit of everything in it. */
static void
sample(struct page_head *h, union page_body *b)
{
	*h = (struct page_head){ PAGE_GROUP,         0x0102030405060708,
				 0x1112131415161718, 0x2122232425262728,
				 CIPHER_AES256_OCB,  0x31323334 };
	memset(b, 0, sizeof(*b));
	for (unsigned i = 0; i < PAGE_ENTRIES; i++) {
		struct entry *e = &b->entry[i];

		e->state = (uint8_t)(i % 3);
		if (e->state != ENTRY_DATA)
			continue;
		fill_pattern(e->unique, sizeof(e->unique), i);
		fill_pattern(e->digest, sizeof(e->digest), i + 1000);
		e->slot = (uint8_t)(255 - i);
	}
}

static void
sample_page(uint8_t raw[static PAGE_LEN], struct page_head *h,
	    union page_body *b)
{
	sample(h, b);
	assert_ok(page_encode(h, b, key, raw));
}

static void
a_page_lies_as_the_format_says(void **state)
{
	static const uint8_t head[] = {
		'S',  'D',  'P',  'G',  1,    0,    1,    0,    /* kind 1 */
		0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* index */
		0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, /* generation */
		0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, /* session */
		2,    0,    0,    0,    0x34, 0x33, 0x32, 0x31, /* seals */
	};
	uint8_t expect[PAGE_LEN], raw[PAGE_LEN];
	struct page_head h;
	union page_body b;

	(void)state;
	sample_page(raw, &h, &b);
	memset(expect, 0, sizeof(expect));
	memcpy(expect, head, sizeof(head));
	for (unsigned i = 0; i < PAGE_ENTRIES; i++) {
		uint8_t *e = expect + PAGE_HEADER + i * 30;

		memcpy(e, b.entry[i].unique, 12);
		memcpy(e + 12, b.entry[i].digest, 16);
		e[28] = b.entry[i].slot;
		e[29] = b.entry[i].state;
	}
	seal_by_hand(expect);
	assert_memory_equal(raw, expect, PAGE_LEN);
}

static void
each_kind_of_page_comes_back_as_it_was(void **state)
{
	static const enum page_kind kinds[] = { PAGE_GROUP, PAGE_MAP,
						PAGE_ROOT };
	struct page_head h, got;
	union page_body b, body;
	uint8_t raw[PAGE_LEN];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		sample(&h, &b);
		h.kind = kinds[i];
		if (h.kind != PAGE_GROUP)
			h.cipher = 0;
		if (h.kind == PAGE_ROOT)
			fill_pattern(b.bitmap, sizeof(b.bitmap), 7);
		assert_ok(page_encode(&h, &b, key, raw));
		assert_ok(page_decode(raw, key, h.kind, h.index, &got, &body));
		assert_int_equal(got.kind, h.kind);
		assert_int_equal(got.index, h.index);
		assert_int_equal(got.generation, h.generation);
		assert_int_equal(got.session, h.session);
		assert_int_equal(got.cipher, h.cipher);
		assert_int_equal(got.seals, h.seals);
		assert_memory_equal(&body, &b, sizeof(b));
	}
}

/* One bit in so many: all of them take long where each step is watched. */
static unsigned
stride(void)
{
	return test_is_watched() && !test_is_slow() ? 61 : 1;
}

static void
every_flipped_bit_of_a_page_is_found(void **state)
{
	uint8_t raw[PAGE_LEN];
	struct page_head h, got = { .index = 99 };
	union page_body b, body;

	(void)state;
	sample_page(raw, &h, &b);
	for (unsigned i = 0; i < PAGE_LEN * 8; i += stride()) {
		raw[i / 8] ^= (uint8_t)(1U << (i % 8));
		assert_err(page_decode(raw, key, PAGE_GROUP, h.index, &got,
				       &body),
			   EBADMSG);
		raw[i / 8] ^= (uint8_t)(1U << (i % 8));
	}
	assert_int_equal(got.index, 99); /* nothing is told of what is wrong */
	assert_ok(page_decode(raw, key, PAGE_GROUP, h.index, &got, &body));
}

/* A scrub that has no key finds by the CRC what the MAC would. */
static void
every_flipped_bit_of_a_page_is_found_without_a_key(void **state)
{
	uint8_t raw[PAGE_LEN];
	struct page_head h;
	union page_body b;
	struct reader r;

	(void)state;
	sample_page(raw, &h, &b);
	for (unsigned i = 0; i < PAGE_LEN * 8; i += stride()) {
		raw[i / 8] ^= (uint8_t)(1U << (i % 8));
		r = reader_over(raw + CRC_AT, 4);
		assert_int_not_equal(get_u32(&r), page_crc(raw));
		raw[i / 8] ^= (uint8_t)(1U << (i % 8));
	}
	r = reader_over(raw + CRC_AT, 4);
	assert_int_equal(get_u32(&r), page_crc(raw));
}

static void
a_page_under_another_key_does_not_verify(void **state)
{
	uint8_t raw[PAGE_LEN], other[KEY_LEN];
	struct page_head h;
	union page_body b;

	(void)state;
	sample_page(raw, &h, &b);
	for (unsigned i = 0; i < KEY_LEN; i++) {
		memcpy(other, key, KEY_LEN);
		other[i] ^= 1;
		assert_err(page_decode(raw, other, PAGE_GROUP, h.index, &h, &b),
			   EBADMSG);
	}
}

static void
a_page_of_another_place_is_refused(void **state)
{
	uint8_t raw[PAGE_LEN];
	struct page_head h, got;
	union page_body b;

	(void)state;
	sample_page(raw, &h, &b);
	assert_err(page_decode(raw, key, PAGE_GROUP, h.index + 1, &got, &b),
		   EUCLEAN);
	assert_err(page_decode(raw, key, PAGE_MAP, h.index, &got, &b), EUCLEAN);
	assert_err(page_decode(raw, key, PAGE_ROOT, h.index, &got, &b),
		   EUCLEAN);
}

struct edit {
	const char *what;
	enum page_kind kind;
	unsigned at;
	uint8_t value;
};

#define ENTRY_AT(i) (PAGE_HEADER + (i)*30)

/* Entry 1 of the sample is data in slot 254, entry 4 data in slot 251. */
static const struct edit edits[] = {
	{ "magic", PAGE_GROUP, 0, 'X' },
	{ "version", PAGE_GROUP, 4, 2 },
	{ "version, high byte", PAGE_GROUP, 5, 1 },
	{ "kind", PAGE_GROUP, 6, 4 },
	{ "no cipher", PAGE_GROUP, 32, 0 },
	{ "unknown cipher", PAGE_GROUP, 32, 3 },
	{ "cipher in a map page", PAGE_MAP, 32, 1 },
	{ "cipher in a root page", PAGE_ROOT, 32, 1 },
	{ "state 3", PAGE_GROUP, ENTRY_AT(0) + 29, 3 },
	{ "state 255, the last one", PAGE_GROUP, ENTRY_AT(127) + 29, 255 },
	{ "state 3 in a map page", PAGE_MAP, ENTRY_AT(5) + 29, 3 },
	{ "two blocks in one slot", PAGE_GROUP, ENTRY_AT(4) + 28, 254 },
};

static void
an_authentic_page_that_is_malformed_is_refused(void **state)
{
	uint8_t raw[PAGE_LEN];
	struct page_head h, got;
	union page_body b, body;

	(void)state;
	for (unsigned i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		const struct edit *ed = &edits[i];
		int r;

		sample(&h, &b);
		h.kind = ed->kind;
		if (h.kind != PAGE_GROUP)
			h.cipher = 0;
		assert_ok(page_encode(&h, &b, key, raw));
		raw[ed->at] = ed->value;
		seal_by_hand(raw);
		r = page_decode(raw, key, ed->kind, h.index, &got, &body);
		if (r != -EUCLEAN)
			fail_msg("%s: %d", ed->what, r);
	}
}

/* Slots mean nothing where a chunk is meant, or where there is no data. */
static void
slots_may_be_equal_where_they_name_nothing(void **state)
{
	uint8_t raw[PAGE_LEN];
	struct page_head h, got;
	union page_body b, body;

	(void)state;
	sample(&h, &b);
	for (unsigned i = 0; i < PAGE_ENTRIES; i++)
		if (b.entry[i].state != ENTRY_DATA)
			b.entry[i].slot = 254;
	assert_ok(page_encode(&h, &b, key, raw));
	assert_ok(page_decode(raw, key, PAGE_GROUP, h.index, &got, &body));
	for (unsigned i = 0; i < PAGE_ENTRIES; i++)
		b.entry[i].slot = 254;
	h.kind = PAGE_MAP;
	h.cipher = 0;
	assert_ok(page_encode(&h, &b, key, raw));
	assert_ok(page_decode(raw, key, PAGE_MAP, h.index, &got, &body));
}

static void
the_higher_session_is_newer_then_the_higher_generation(void **state)
{
	struct page_head a = { .session = 2, .generation = 5 };
	struct page_head b = { .session = 1, .generation = 9 };

	(void)state;
	assert_true(page_newer(&a, &b));
	assert_false(page_newer(&b, &a));
	b.session = 2;
	assert_true(page_newer(&b, &a));
	assert_false(page_newer(&a, &b));
	b.generation = 5;
	assert_false(page_newer(&a, &b));
	assert_false(page_newer(&b, &a));
	a.session = UINT64_MAX;
	assert_true(page_newer(&a, &b));
}

static void
no_two_copies_of_pages_share_a_place(void **state)
{
	(void)state;
	/* The eight pages of a chunk: first copies, then second ones. */
	assert_int_equal(page_offset(0, 0), 0);
	assert_int_equal(page_offset(7, 0), 7 * 4096);
	assert_int_equal(page_offset(0, 1), 8 * 4096);
	assert_int_equal(page_offset(7, 1), 15 * 4096);
	/* Map pages go on so, eight by eight. */
	assert_int_equal(page_offset(8, 0), 16 * 4096);
	assert_int_equal(page_offset(8, 1), 24 * 4096);
	for (uint64_t n = 0; n < 1000; n++) {
		assert_int_equal(page_offset(n, 0) % PAGE_LEN, 0);
		assert_int_equal(page_offset(n, 1) - page_offset(n, 0),
				 8 * 4096);
		assert_true(page_offset(n + 8, 0) > page_offset(n, 1));
	}
	/* A commit never writes over the newest copy, and to settle does. */
	for (uint64_t g = 0; g < 10; g++) {
		assert_int_equal(page_home(g), g % 2);
		assert_int_not_equal(page_home(g + 1), page_home(g));
		assert_int_equal(page_home(g + 2), page_home(g));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
		T(a_page_lies_as_the_format_says),
		T(each_kind_of_page_comes_back_as_it_was),
		T(every_flipped_bit_of_a_page_is_found),
		T(every_flipped_bit_of_a_page_is_found_without_a_key),
		T(a_page_under_another_key_does_not_verify),
		T(a_page_of_another_place_is_refused),
		T(an_authentic_page_that_is_malformed_is_refused),
		T(slots_may_be_equal_where_they_name_nothing),
		T(the_higher_session_is_newer_then_the_higher_generation),
		T(no_two_copies_of_pages_share_a_place),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
