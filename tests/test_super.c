/*
 * test_super.c - the superblock of a chunk file and the keys of a chunk, as
 * format.md and super.h have them.
 */
#include "test.h"

#include <sealdisk/crypto.h>

#include "super.h"

#define SUPER_MAC_AT (SUPER_LEN - MAC_LEN)

/* One bit in so many: all of them take long where each step is watched. */
static unsigned
stride(void)
{
	return test_is_watched() && !test_is_slow() ? 61 : 1;
}

static const struct key dk = { "a data key of thirty-two bytes!" };

static void
sample_super(uint8_t raw[static SUPER_LEN], struct super *s)
{
	uint8_t keys[2 * KEY_LEN];

	s->cipher = CIPHER_AES256_GCM;
	fill_pattern(s->store.bytes, 16, 1);
	fill_pattern(s->lineage.bytes, 16, 2);
	fill_pattern(s->dk.bytes, 16, 3);
	fill_pattern(s->layer.bytes, 16, 4);
	s->session = 0x0102030405060708;
	s->index = 0x1112131415161718;
	fill_pattern(s->salt, sizeof(s->salt), 5);
	s->created = 0x2122232425262728;
	assert_ok(chunk_keys(&dk, s->salt, s->cipher, s->index, keys));
	assert_ok(super_encode(s, keys + KEY_LEN, raw));
}

/* As its readers do: believe it as far as finding the key, then verify. */
static int
super_check(const uint8_t raw[static SUPER_LEN], struct super *ret)
{
	uint8_t keys[2 * KEY_LEN];
	int r;

	r = super_parse(raw, ret);
	if (r == 0)
		r = chunk_keys(&dk, ret->salt, ret->cipher, ret->index, keys);
	return r < 0 ? r : super_verify(raw, keys + KEY_LEN);
}

static void
a_superblock_lies_as_the_format_says(void **state)
{
	static const uint8_t head[] = {
		'S', 'D', 'C', 'K', 1, 0, 1, 0, /* version 1, cipher 1 */
	};
	static const uint8_t sizes[] = {
		0, 0x10, 0, 0, 128, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
	};
	uint8_t expect[SUPER_LEN] = { 0 }, raw[SUPER_LEN];
	uint8_t keys[2 * KEY_LEN];
	struct iovec iov = { expect, SUPER_MAC_AT };
	struct super s;

	(void)state;
	sample_super(raw, &s);
	memcpy(expect, head, sizeof(head));
	memcpy(expect + 32, sizes, sizeof(sizes));
	memcpy(expect + 48, s.store.bytes, 16);
	memcpy(expect + 64, s.lineage.bytes, 16);
	memcpy(expect + 80, s.dk.bytes, 16);
	memcpy(expect + 96, s.layer.bytes, 16);
	for (unsigned i = 0; i < 8; i++) {
		expect[112 + i] = (uint8_t)(0x08 - i);
		expect[120 + i] = (uint8_t)(0x18 - i);
		expect[144 + i] = (uint8_t)(0x28 - i);
	}
	memcpy(expect + 128, s.salt, 12);
	assert_ok(chunk_keys(&dk, s.salt, s.cipher, s.index, keys));
	assert_ok(hmac_sha256(keys + KEY_LEN, &iov, 1, expect + SUPER_MAC_AT));
	assert_memory_equal(raw, expect, SUPER_LEN);
}

static void
a_superblock_comes_back_as_it_was(void **state)
{
	uint8_t raw[SUPER_LEN];
	struct super s, got;

	(void)state;
	sample_super(raw, &s);
	assert_ok(super_check(raw, &got));
	assert_int_equal(got.cipher, s.cipher);
	assert_true(uuid_equal(&got.store, &s.store));
	assert_true(uuid_equal(&got.lineage, &s.lineage));
	assert_true(uuid_equal(&got.dk, &s.dk));
	assert_true(uuid_equal(&got.layer, &s.layer));
	assert_int_equal(got.session, s.session);
	assert_int_equal(got.index, s.index);
	assert_memory_equal(got.salt, s.salt, sizeof(s.salt));
	assert_int_equal(got.created, s.created);
}

static void
every_flipped_bit_of_a_superblock_is_found(void **state)
{
	uint8_t raw[SUPER_LEN];
	struct super s, got;

	(void)state;
	sample_super(raw, &s);
	for (unsigned i = 0; i < SUPER_LEN * 8; i += stride()) {
		raw[i / 8] ^= (uint8_t)(1U << (i % 8));
		assert_true(super_check(raw, &got) < 0);
		raw[i / 8] ^= (uint8_t)(1U << (i % 8));
	}
	assert_ok(super_check(raw, &got));
}

static const struct {
	const char *what;
	unsigned at;
	uint8_t value;
	int expect; /* of super_parse */
} super_edits[] = {
	{ "magic", 3, 'X', -EUCLEAN },
	{ "version 2", 4, 2, -EPROTONOSUPPORT },
	{ "version 0", 4, 0, -EPROTONOSUPPORT },
	{ "cipher 0", 6, 0, -EUCLEAN },
	{ "cipher 3", 6, 3, -EUCLEAN },
	{ "incompat, lowest bit", 8, 1, -EPROTONOSUPPORT },
	{ "incompat, highest bit", 15, 0x80, -EPROTONOSUPPORT },
	{ "ro_compat", 16, 1, 0 },
	{ "compat", 24, 1, 0 },
	{ "block size", 33, 0x20, -EUCLEAN },
	{ "blocks a group", 36, 64, -EUCLEAN },
	{ "slots a group", 41, 2, -EUCLEAN },
};

static void
a_superblock_of_another_shape_is_refused(void **state)
{
	const size_t n = sizeof(super_edits) / sizeof(super_edits[0]);
	uint8_t raw[SUPER_LEN];
	struct super s, got;
	int r;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		sample_super(raw, &s);
		raw[super_edits[i].at] = super_edits[i].value;
		r = super_parse(raw, &got);
		if (r != super_edits[i].expect)
			fail_msg("%s: %d", super_edits[i].what, r);
	}
}

/* By HKDF's own definition, and each of the inputs in its place. */
static void
chunk_keys_come_of_all_that_the_format_names(void **state)
{
	const uint8_t info[] = "sealdisk/1 chunk\1\x18\x17\x16\x15\x14\x13\x12"
			       "\x11";
	const uint64_t index = 0x1112131415161718;
	const uint8_t salt[12] = "twelve bytes";
	uint8_t a[2 * KEY_LEN], b[2 * KEY_LEN];
	uint8_t salt2[12] = "twelve bytes";
	struct key dk2 = dk;

	(void)state;
	assert_ok(chunk_keys(&dk, salt, 1, index, a));
	assert_ok(hkdf_sha256(dk.bytes, KEY_LEN, salt, 12, info,
			      sizeof(info) - 1, b, sizeof(b)));
	assert_memory_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, a + KEY_LEN, KEY_LEN);

	assert_ok(chunk_keys(&dk, salt, 2, index, b));
	assert_memory_not_equal(a, b, KEY_LEN);
	assert_ok(chunk_keys(&dk, salt, 1, index + 1, b));
	assert_memory_not_equal(a, b, KEY_LEN);
	salt2[11] ^= 1;
	assert_ok(chunk_keys(&dk, salt2, 1, index, b));
	assert_memory_not_equal(a, b, KEY_LEN);
	dk2.bytes[31] ^= 1;
	assert_ok(chunk_keys(&dk2, salt, 1, index, b));
	assert_memory_not_equal(a, b, KEY_LEN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
		T(a_superblock_lies_as_the_format_says),
		T(a_superblock_comes_back_as_it_was),
		T(every_flipped_bit_of_a_superblock_is_found),
		T(a_superblock_of_another_shape_is_refused),
		T(chunk_keys_come_of_all_that_the_format_names),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
