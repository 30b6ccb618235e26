/*
 * test_crypto.c - published vectors, every flipped bit, and what is left of a
 * key in memory.
 */
#include "test.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <sealdisk/crypto.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BLOCK_LEN 4096

static const enum cipher all_ciphers[] = {
	CIPHER_AES256_GCM,
	CIPHER_AES256_OCB,
};

static int
setup(void **state)
{
	(void)state;
	return crypto_init();
}

static void
init_may_be_called_again(void **state)
{
	(void)state;
	assert_ok(crypto_init());
}

/* As for any user without CAP_IPC_LOCK: it works, and secret_locked() tells. */
static void
init_works_where_no_memory_can_be_locked(void **state)
{
	const struct rlimit none = { 0, 0 };
	int status;
	pid_t pid;

	(void)state;
	if (test_is_watched())
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 ||
		    (geteuid() == 0 && setuid(65534) < 0))
			_exit(1);
		/* crypto_init() was called in this process: a new image. */
		(void)execl("/proc/self/exe", "test_crypto", "--init", NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int
init_and_tell(void)
{
	CLEANUP(aead_freep) struct aead *a = NULL;

	if (crypto_init() < 0 || aead_new(&a) < 0)
		return 2;
	return secret_locked() ? 3 : 0;
}

static void
ciphers_have_names(void **state)
{
	enum cipher c = 0;

	(void)state;
	assert_string_equal(cipher_name(CIPHER_AES256_GCM), "aes-256-gcm");
	assert_string_equal(cipher_name(CIPHER_AES256_OCB), "aes-256-ocb");
	assert_null(cipher_name(0));
	assert_null(cipher_name(3));
	assert_ok(cipher_parse("aes-256-ocb", &c));
	assert_int_equal(c, CIPHER_AES256_OCB);
	assert_err(cipher_parse("AES-256-OCB", &c), EINVAL);
	assert_err(cipher_parse("", &c), EINVAL);
	assert_int_equal(c, CIPHER_AES256_OCB);
}

static void
random_bytes_differ(void **state)
{
	uint8_t a[64] = { 0 }, b[64] = { 0 };

	(void)state;
	assert_ok(crypto_random(a, sizeof(a)));
	assert_ok(crypto_random(b, sizeof(b)));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, a + 32, 32);
	assert_ok(crypto_random(a, 0));
}

static void
equal_looks_at_every_byte(void **state)
{
	uint8_t a[40], b[40];

	(void)state;
	fill_pattern(a, sizeof(a), 1);
	memcpy(b, a, sizeof(b));
	assert_true(crypto_equal(a, b, sizeof(a)));
	assert_true(crypto_equal(a, b, 0));
	for (size_t bit = 0; bit < 8 * sizeof(a); bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(crypto_equal(a, b, sizeof(a)));
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/*
 * AES-GCM: D. McGrew, J. Viega, "The Galois/Counter Mode of Operation",
 * appendix B, test cases 13 to 16 (256-bit keys, 96-bit nonces).
 */
#define GCM_KEY                                                                \
	"feffe9928665731c6d6a8f9467308308"                                     \
	"feffe9928665731c6d6a8f9467308308"
#define GCM_PLAIN                                                              \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"     \
	"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define GCM_CIPHER                                                             \
	"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"     \
	"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
#define ZERO32                                                                 \
	"00000000000000000000000000000000"                                     \
	"00000000000000000000000000000000"

static const struct gcm_vector {
	const char *key, *nonce, *ad, *plain, *cipher, *tag;
} gcm_vectors[] = {
	{ ZERO32, "000000000000000000000000", "", "", "",
	  "530f8afbc74536b9a963b4f1c4cb738b" },
	{ ZERO32, "000000000000000000000000", "",
	  "00000000000000000000000000000000",
	  "cea7403d4d606b6e074ec5d3baf39d18",
	  "d0d1c8a799996bf0265b98b5d48ab919" },
	{ GCM_KEY, "cafebabefacedbaddecaf888", "", GCM_PLAIN "1aafd255",
	  GCM_CIPHER "898015ad", "b094dac5d93471bdec1a502270e3cc6c" },
	{ GCM_KEY, "cafebabefacedbaddecaf888",
	  "feedfacedeadbeeffeedfacedeadbeefabaddad2", GCM_PLAIN, GCM_CIPHER,
	  "76fc6ece0f4e1768cddf8853bb2d551b" },
};

static void
gcm_vector_holds(struct aead *a, const struct gcm_vector *v)
{
	uint8_t key[KEY_LEN], nonce[NONCE_LEN], ad[32], plain[64], cipher[64];
	uint8_t tag[TAG_LEN], out[64], got[TAG_LEN];
	size_t len = unhex(v->plain, plain), ad_len = unhex(v->ad, ad);

	assert_int_equal(unhex(v->key, key), KEY_LEN);
	assert_int_equal(unhex(v->nonce, nonce), NONCE_LEN);
	assert_int_equal(unhex(v->cipher, cipher), len);
	assert_int_equal(unhex(v->tag, tag), TAG_LEN);

	assert_ok(aead_set_key(a, CIPHER_AES256_GCM, key));
	assert_ok(aead_seal(a, nonce, ad, ad_len, plain, out, len, got));
	assert_memory_equal(out, cipher, len);
	assert_memory_equal(got, tag, TAG_LEN);
	assert_ok(aead_open(a, nonce, ad, ad_len, cipher, out, len, tag));
	assert_memory_equal(out, plain, len);
}

static void
gcm_matches_its_authors_vectors(void **state)
{
	CLEANUP(aead_freep) struct aead *a = NULL;

	(void)state;
	assert_ok(aead_new(&a));
	for (size_t i = 0; i < COUNT(gcm_vectors); i++)
		gcm_vector_holds(a, &gcm_vectors[i]);
}

/* RFC 7253, appendix A: num2str(n, 96). */
static void
number_nonce(uint8_t nonce[NONCE_LEN], unsigned n)
{
	memset(nonce, 0, NONCE_LEN);
	nonce[NONCE_LEN - 2] = (uint8_t)(n >> 8);
	nonce[NONCE_LEN - 1] = (uint8_t)n;
}

/* Append one sealed message to ${out}; where it ends. */
static uint8_t *
ocb_append(struct aead *a, unsigned n, size_t ad_len, size_t len, uint8_t *out)
{
	static const uint8_t zeros[128];
	uint8_t nonce[NONCE_LEN], again[128];

	number_nonce(nonce, n);
	assert_ok(
	    aead_seal(a, nonce, zeros, ad_len, zeros, out, len, out + len));
	assert_ok(
	    aead_open(a, nonce, zeros, ad_len, out, again, len, out + len));
	assert_memory_equal(again, zeros, len);
	return out + len + TAG_LEN;
}

/* RFC 7253, appendix A: the last part, with KEYLEN 256 and TAGLEN 128. */
static void
ocb_matches_the_algorithmic_test_of_rfc_7253(void **state)
{
	static const char want[] = "D90EB8E9C977C88B79DD793D7FFA161C";
	CLEANUP(aead_freep) struct aead *a = NULL;
	static uint8_t c[22400];
	uint8_t key[KEY_LEN] = { 0 }, nonce[NONCE_LEN];
	uint8_t tag[TAG_LEN], expected[TAG_LEN], *end = c;

	(void)state;
	key[KEY_LEN - 1] = 8 * TAG_LEN;
	assert_ok(aead_new(&a));
	assert_ok(aead_set_key(a, CIPHER_AES256_OCB, key));
	for (unsigned i = 0; i < 128; i++) {
		end = ocb_append(a, 3 * i + 1, i, i, end);
		end = ocb_append(a, 3 * i + 2, 0, i, end);
		end = ocb_append(a, 3 * i + 3, i, 0, end);
	}
	assert_ptr_equal(end, c + sizeof(c));
	number_nonce(nonce, 385);
	assert_ok(aead_seal(a, nonce, c, sizeof(c), "", end, 0, tag));
	assert_int_equal(unhex(want, expected), TAG_LEN);
	assert_memory_equal(tag, expected, TAG_LEN);
}

/* A block as disk blocks are: sealed, with associated data. */
struct sealed {
	uint8_t nonce[NONCE_LEN], ad[10], data[BLOCK_LEN], tag[TAG_LEN];
};

static void
seal_one(struct aead *a, enum cipher c, uint64_t seed, struct sealed *ret)
{
	uint8_t key[KEY_LEN];

	fill_pattern(key, sizeof(key), seed);
	fill_pattern(ret->nonce, sizeof(ret->nonce), seed + 1);
	fill_pattern(ret->ad, sizeof(ret->ad), seed + 2);
	fill_pattern(ret->data, sizeof(ret->data), seed + 3);
	assert_ok(aead_set_key(a, c, key));
	assert_ok(aead_seal(a, ret->nonce, ret->ad, sizeof(ret->ad), ret->data,
			    ret->data, sizeof(ret->data), ret->tag));
}

static int
open_one(struct aead *a, const struct sealed *s, uint8_t *out)
{
	return aead_open(a, s->nonce, s->ad, sizeof(s->ad), s->data, out,
			 sizeof(s->data), s->tag);
}

static void
blocks_come_back_in_place_and_elsewhere(void **state)
{
	CLEANUP(aead_freep) struct aead *a = NULL;
	uint8_t plain[BLOCK_LEN], out[BLOCK_LEN];
	struct sealed s;

	(void)state;
	assert_ok(aead_new(&a));
	for (size_t i = 0; i < COUNT(all_ciphers); i++) {
		seal_one(a, all_ciphers[i], 10, &s);
		fill_pattern(plain, sizeof(plain), 13);
		assert_memory_not_equal(s.data, plain, sizeof(plain));
		assert_ok(open_one(a, &s, out));
		assert_memory_equal(out, plain, sizeof(plain));
		assert_ok(open_one(a, &s, s.data));
		assert_memory_equal(s.data, plain, sizeof(plain));
	}
}

static void
every_flipped_bit_is_refused_and_nothing_is_shown(void **state)
{
	static const uint8_t zeros[BLOCK_LEN];
	CLEANUP(aead_freep) struct aead *a = NULL;
	uint8_t out[BLOCK_LEN];
	struct sealed s;
	uint8_t *bytes = (uint8_t *)&s;

	(void)state;
	assert_ok(aead_new(&a));
	for (size_t i = 0; i < COUNT(all_ciphers); i++) {
		seal_one(a, all_ciphers[i], 20, &s);
		for (size_t bit = 0; bit < 8 * sizeof(s); bit++) {
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			memset(out, 0xee, 64);
			assert_err(open_one(a, &s, out), EBADMSG);
			assert_memory_equal(out, zeros, sizeof(out));
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert_ok(open_one(a, &s, out));
	}
}

static void
block_that_fails_in_place_is_wiped(void **state)
{
	static const uint8_t zeros[BLOCK_LEN];
	CLEANUP(aead_freep) struct aead *a = NULL;
	struct sealed s;

	(void)state;
	assert_ok(aead_new(&a));
	for (size_t i = 0; i < COUNT(all_ciphers); i++) {
		seal_one(a, all_ciphers[i], 30, &s);
		s.tag[0] ^= 1;
		assert_err(open_one(a, &s, s.data), EBADMSG);
		assert_memory_equal(s.data, zeros, sizeof(zeros));
	}
}

static void
block_under_another_key_or_cipher_is_refused(void **state)
{
	CLEANUP(aead_freep) struct aead *a = NULL;
	uint8_t key[KEY_LEN], out[BLOCK_LEN];
	struct sealed s;

	(void)state;
	assert_ok(aead_new(&a));
	seal_one(a, CIPHER_AES256_GCM, 40, &s);
	fill_pattern(key, sizeof(key), 40);
	assert_ok(aead_set_key(a, CIPHER_AES256_OCB, key));
	assert_err(open_one(a, &s, out), EBADMSG);
	assert_ok(aead_set_key(a, CIPHER_AES256_GCM, key));
	assert_ok(open_one(a, &s, out));
	key[31] ^= 1;
	assert_ok(aead_set_key(a, CIPHER_AES256_GCM, key));
	assert_err(open_one(a, &s, out), EBADMSG);
}

static void
aead_without_a_key_does_nothing(void **state)
{
	CLEANUP(aead_freep) struct aead *a = NULL;
	uint8_t key[KEY_LEN] = { 0 }, out[BLOCK_LEN];
	struct sealed s;

	(void)state;
	aead_free(NULL);
	assert_ok(aead_new(&a));
	memset(&s, 0, sizeof(s));
	assert_err(open_one(a, &s, out), EINVAL);
	assert_err(aead_set_key(a, 9, key), EINVAL);
	seal_one(a, CIPHER_AES256_GCM, 50, &s);
	aead_forget(a);
	assert_err(open_one(a, &s, out), EINVAL);
	assert_err(aead_seal(a, s.nonce, s.ad, 0, s.data, out, 16, s.tag),
		   EINVAL);
	seal_one(a, CIPHER_AES256_OCB, 50, &s);
	assert_ok(open_one(a, &s, out));
}

/*
 * What is left of a key.  All writable memory of this process is searched for
 * the first and the last round key of AES-256: they stand unchanged in the
 * schedules for encryption and for decryption, and in every copy of these.
 * They are kept here under a mask, or the search would find itself.
 */
#define MASK 0x5a
#define ROUND_KEY_LEN 16

struct trace {
	uint8_t first[ROUND_KEY_LEN], last[ROUND_KEY_LEN];
};

static uint8_t
gf_times(uint8_t a, uint8_t b)
{
	uint8_t product = 0;

	for (; b; b >>= 1) {
		product ^= b & 1 ? a : 0;
		a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1b : 0));
	}
	return product;
}

/* FIPS 197, 5.1.1: the inverse, then an affine map. */
static uint8_t
aes_sbox(uint8_t x)
{
	uint8_t inverse = 1, s;

	for (unsigned i = 0; i < 254; i++)
		inverse = gf_times(inverse, x);
	s = inverse;
	for (unsigned i = 1; i < 5; i++)
		s ^= (uint8_t)(inverse << i | inverse >> (8 - i));
	return s ^ 0x63;
}

/* FIPS 197, 5.2, for 256 bits: 15 round keys. */
static void
aes256_expand(const uint8_t key[KEY_LEN], uint8_t out[15 * ROUND_KEY_LEN])
{
	uint8_t rcon = 1;

	memcpy(out, key, KEY_LEN);
	for (unsigned i = 8; i < 60; i++) {
		uint8_t t[4];

		memcpy(t, out + 4 * i - 4, 4);
		if (i % 8 == 0) {
			uint8_t t0 = t[0];

			for (unsigned b = 0; b < 3; b++)
				t[b] = aes_sbox(t[b + 1]);
			t[3] = aes_sbox(t0);
			t[0] ^= rcon;
			rcon = gf_times(rcon, 2);
		} else if (i % 8 == 4) {
			for (unsigned b = 0; b < 4; b++)
				t[b] = aes_sbox(t[b]);
		}
		for (unsigned b = 0; b < 4; b++)
			out[4 * i + b] = out[4 * i + b - 32] ^ t[b];
	}
}

/* FIPS 197, A.3: without this the search might look for nonsense. */
static void
key_expansion_of_this_test_is_that_of_fips_197(void **state)
{
	static const char key_hex[] = "603deb1015ca71be2b73aef0857d7781"
				      "1f352c073b6108d72d9810a30914dff4";
	static const char last_hex[] = "fe4890d1e6188d0b046df344706c631e";
	uint8_t key[KEY_LEN], last[ROUND_KEY_LEN], all[15 * ROUND_KEY_LEN];

	(void)state;
	assert_int_equal(unhex(key_hex, key), sizeof(key));
	assert_int_equal(unhex(last_hex, last), sizeof(last));
	aes256_expand(key, all);
	assert_memory_equal(all + 14 * ROUND_KEY_LEN, last, sizeof(last));
}

static bool
is_under_mask(const uint8_t *p, const uint8_t *masked)
{
	for (size_t i = 0; i < ROUND_KEY_LEN; i++)
		if ((p[i] ^ MASK) != masked[i])
			return false;
	return true;
}

static unsigned
count_in(const uint8_t *from, const uint8_t *to, const struct trace *t)
{
	unsigned n = 0;

	for (const uint8_t *p = from; p + ROUND_KEY_LEN <= to; p++)
		if (is_under_mask(p, t->first) || is_under_mask(p, t->last))
			n++;
	return n;
}

static unsigned
count_in_memory(const struct trace *t)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[512], mode[5];
	unsigned n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 &&
		    mode[0] == 'r' && mode[1] == 'w' && !strstr(line, "[vv"))
			n += count_in((const uint8_t *)from,
				      (const uint8_t *)to, t);
	(void)fclose(maps);
	return n;
}

/* Key ${a} and use it both ways; only the masked trace of the key stays. */
__attribute__((__noinline__)) static void
use_a_key(struct aead *a, enum cipher c, struct trace *ret)
{
	uint8_t *secret = secret_alloc(SECRET_MAX);
	struct sealed *s = (struct sealed *)(void *)secret;
	uint8_t *key = secret + sizeof(*s) + 64, *all = key + 64;

	assert_non_null(secret);
	assert_ok(crypto_random(key, KEY_LEN));
	memset(s, 0, sizeof(*s));
	assert_ok(aead_set_key(a, c, key));
	assert_ok(aead_seal(a, s->nonce, s->ad, sizeof(s->ad), s->data, s->data,
			    BLOCK_LEN, s->tag));
	assert_ok(open_one(a, s, s->data));

	aes256_expand(key, all);
	for (size_t i = 0; i < ROUND_KEY_LEN; i++) {
		ret->first[i] = all[i] ^ MASK;
		ret->last[i] = all[14 * ROUND_KEY_LEN + i] ^ MASK;
	}
	secret_free(secret, SECRET_MAX);
}

static void
forgotten_key_is_nowhere_in_memory(void **state)
{
	CLEANUP(aead_freep) struct aead *a = NULL;
	struct trace t;

	(void)state;
	if (test_is_watched())
		skip();
	assert_ok(aead_new(&a));
	for (size_t i = 0; i < COUNT(all_ciphers); i++) {
		use_a_key(a, all_ciphers[i], &t);
		assert_true(count_in_memory(&t) > 0); /* the search can find */
		aead_forget(a);
		assert_int_equal(count_in_memory(&t), 0);
	}
}

static void
key_of_a_freed_aead_is_nowhere_in_memory(void **state)
{
	struct aead *a = NULL;
	struct trace t;

	(void)state;
	if (test_is_watched())
		skip();
	assert_ok(aead_new(&a));
	use_a_key(a, CIPHER_AES256_OCB, &t);
	aead_free(a);
	assert_int_equal(count_in_memory(&t), 0);
}

static void
key_is_gone_when_another_cipher_is_keyed(void **state)
{
	CLEANUP(aead_freep) struct aead *a = NULL;
	struct trace before, after;

	(void)state;
	if (test_is_watched())
		skip();
	assert_ok(aead_new(&a));
	use_a_key(a, CIPHER_AES256_OCB, &before);
	use_a_key(a, CIPHER_AES256_GCM, &after);
	assert_int_equal(count_in_memory(&before), 0);
	assert_true(count_in_memory(&after) > 0);
}

/* HKDF: RFC 5869, appendix A. */

static const struct hkdf_vector {
	const char *ikm, *salt, *info, *okm;
} hkdf_vectors[] = {
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
	  "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
	  "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
	  "34007208d5b887185865" },
	{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	  "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
	  "404142434445464748494a4b4c4d4e4f",
	  "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
	  "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
	  "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
	  "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
	  "d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef"
	  "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
	  "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
	  "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
	  "cc30c58179ec3e87c14c01d5c1f3434f1d87" },
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
	  "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
	  "9d201395faa4b61a96c8" },
};

static void
hkdf_matches_rfc_5869(void **state)
{
	uint8_t ikm[96], salt[96], info[96], okm[96], out[96];

	(void)state;
	for (size_t i = 0; i < COUNT(hkdf_vectors); i++) {
		const struct hkdf_vector *v = &hkdf_vectors[i];
		size_t ikm_len = unhex(v->ikm, ikm);
		size_t salt_len = unhex(v->salt, salt);
		size_t info_len = unhex(v->info, info);
		size_t len = unhex(v->okm, okm);

		assert_ok(hkdf_sha256(ikm, ikm_len, salt_len ? salt : NULL,
				      salt_len, info, info_len, out, len));
		assert_memory_equal(out, okm, len);
	}
}

static void
hkdf_stops_at_255_blocks(void **state)
{
	static uint8_t out[255 * MAC_LEN + 1];

	(void)state;
	assert_ok(hkdf_sha256("k", 1, NULL, 0, "i", 1, out, sizeof(out) - 1));
	assert_err(hkdf_sha256("k", 1, NULL, 0, "i", 1, out, sizeof(out)),
		   EINVAL);
}

/*
 * HMAC: RFC 4231, 4.2 to 4.5.  A key shorter than a block is filled up with
 * zeros, so a key of 32 bytes that ends in zeros is the shorter one.  Keys that
 * are longer than a block are in A.2 of RFC 5869, as salt.
 */
static const struct hmac_vector {
	const char *key, *data, *mac;
} hmac_vectors[] = {
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
	{ "4a656665",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
	{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddddddddddddddddd",
	  "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
	{ "0102030405060708090a0b0c0d0e0f10111213141516171819",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	  "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
};

static void
hmac_matches_rfc_4231(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hmac_vectors); i++) {
		const struct hmac_vector *v = &hmac_vectors[i];
		uint8_t key[KEY_LEN] = { 0 }, data[64], mac[MAC_LEN];
		uint8_t got[MAC_LEN];
		size_t len = unhex(v->data, data);
		struct iovec parts[] = { { data, len } };

		(void)unhex(v->key, key);
		assert_int_equal(unhex(v->mac, mac), MAC_LEN);
		assert_ok(hmac_sha256(key, parts, 1, got));
		assert_memory_equal(got, mac, MAC_LEN);
	}
}

/* RFC 2202, 3: a key of HMAC-SHA1 shorter and longer than a block. */
static void
hmac_sha1_matches_rfc_2202(void **state)
{
	const char *text = "Test Using Larger Than Block-Size Key - "
			   "Hash Key First";
	uint8_t key[80], mac[SHA1_LEN], got[SHA1_LEN + 1] = { 0 };
	struct iovec part = { (void *)(uintptr_t)text, strlen(text) };

	(void)state;
	memset(key, 0xaa, sizeof(key));
	(void)unhex("aa4ae5e15272d00e95705637ce8a3b55ed402112", mac);
	assert_ok(hmac_sha1(key, sizeof(key), &part, 1, got));
	assert_memory_equal(got, mac, sizeof(mac));
	assert_int_equal(got[SHA1_LEN], 0);

	part = (struct iovec){ (void *)(uintptr_t) "Hi There", 8 };
	memset(key, 0x0b, 20);
	(void)unhex("b617318655057264e28bc0b6fb378c8ef146be00", mac);
	assert_ok(hmac_sha1(key, 20, &part, 1, got));
	assert_memory_equal(got, mac, sizeof(mac));
}

static void
hmac_of_parts_is_that_of_the_whole(void **state)
{
	uint8_t key[KEY_LEN], data[80], whole[MAC_LEN], got[MAC_LEN];
	struct iovec one = { data, sizeof(data) }, parts[9];

	(void)state;
	fill_pattern(key, sizeof(key), 60);
	fill_pattern(data, sizeof(data), 61);
	assert_ok(hmac_sha256(key, &one, 1, whole));
	for (size_t i = 0; i < 8; i++)
		parts[i] = (struct iovec){ data + 10 * i, 10 };
	assert_ok(hmac_sha256(key, parts, 8, got));
	assert_memory_equal(got, whole, MAC_LEN);
	parts[8] = (struct iovec){ data, 0 };
	assert_err(hmac_sha256(key, parts, 9, got), EINVAL);
	assert_ok(hmac_sha256(key, parts, 0, got));
	assert_memory_not_equal(got, whole, MAC_LEN);
}

static void
sha256_matches_fips_180(void **state)
{
	static const struct {
		const char *text;
		unsigned times;
		const char *hash;
	} v[] = {
		{ "", 1,
		  "e3b0c44298fc1c149afbf4c8996fb924"
		  "27ae41e4649b934ca495991b7852b855" },
		{ "abc", 1,
		  "ba7816bf8f01cfea414140de5dae2223"
		  "b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
		  "248d6a61d20638b8e5c026930c3e6039"
		  "a33ce45964ff2167f6ecedd419db06c1" },
		{ "aaaaaaaaaa", 100000,
		  "cdc76e5c9914fb9281a1c7e284d73e67"
		  "f1809a48a497200e046d39ccc7112cd0" },
	};
	CLEANUP(free_memp) char *buf = malloc(1000000);

	(void)state;
	assert_non_null(buf);
	for (size_t i = 0; i < COUNT(v); i++) {
		size_t len = strlen(v[i].text);
		uint8_t want[SHA256_LEN], got[SHA256_LEN];

		for (unsigned n = 0; n < v[i].times; n++)
			memcpy(buf + n * len, v[i].text, len);
		assert_ok(sha256(buf, v[i].times * len, got));
		assert_int_equal(unhex(v[i].hash, want), SHA256_LEN);
		assert_memory_equal(got, want, SHA256_LEN);
	}
}

/* Each attached disk has two, and a store has a thousand disks. */
static void
aeads_that_rest_need_no_locked_memory(void **state)
{
	enum { MANY = 4000, BUSY = 1000 };
	static struct aead *a[MANY];
	const uint8_t key[KEY_LEN] = { 1 };

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		assert_ok(aead_new(&a[i]));
		assert_ok(aead_set_key(a[i], CIPHER_AES256_GCM, key));
		if (i >= BUSY)
			aead_forget(a[i]);
	}
	for (size_t i = 0; i < MANY; i++)
		aead_free(a[i]);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_may_be_called_again),
		cmocka_unit_test(init_works_where_no_memory_can_be_locked),
		cmocka_unit_test(ciphers_have_names),
		cmocka_unit_test(random_bytes_differ),
		cmocka_unit_test(equal_looks_at_every_byte),
		cmocka_unit_test(gcm_matches_its_authors_vectors),
		cmocka_unit_test(ocb_matches_the_algorithmic_test_of_rfc_7253),
		cmocka_unit_test(blocks_come_back_in_place_and_elsewhere),
		cmocka_unit_test(
		    every_flipped_bit_is_refused_and_nothing_is_shown),
		cmocka_unit_test(block_that_fails_in_place_is_wiped),
		cmocka_unit_test(block_under_another_key_or_cipher_is_refused),
		cmocka_unit_test(aead_without_a_key_does_nothing),
		cmocka_unit_test(
		    key_expansion_of_this_test_is_that_of_fips_197),
		cmocka_unit_test(forgotten_key_is_nowhere_in_memory),
		cmocka_unit_test(key_of_a_freed_aead_is_nowhere_in_memory),
		cmocka_unit_test(key_is_gone_when_another_cipher_is_keyed),
		cmocka_unit_test(aeads_that_rest_need_no_locked_memory),
		cmocka_unit_test(hkdf_matches_rfc_5869),
		cmocka_unit_test(hkdf_stops_at_255_blocks),
		cmocka_unit_test(hmac_matches_rfc_4231),
		cmocka_unit_test(hmac_sha1_matches_rfc_2202),
		cmocka_unit_test(hmac_of_parts_is_that_of_the_whole),
		cmocka_unit_test(sha256_matches_fips_180),
	};

	if (argc > 1 && strcmp(argv[1], "--init") == 0)
		return init_and_tell();
	return cmocka_run_group_tests(tests, setup, NULL);
}
