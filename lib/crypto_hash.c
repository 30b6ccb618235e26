/*
 * crypto_hash.c - hashes, HMAC and HKDF.
 *
 * HMAC and HKDF are ours, over the plain hash.  libgcrypt 1.10 has no HKDF, and
 * its HMAC opens a handle for each message, which costs more than the hashing
 * of a short one.
 */
#include <sealdisk/crypto.h>

#include <errno.h>
#include <string.h>

#include <gcrypt.h>

#define HMAC_BLOCK_LEN 64
#define HMAC_PARTS_MAX 8

int
sha256(const void *buf, size_t len, uint8_t ret[static SHA256_LEN])
{
	gcry_md_hash_buffer(GCRY_MD_SHA256, ret, buf, len);
	return 0;
}

/* An iovec has no const; nothing here writes through one. */
static struct iovec
part_of(const void *p, size_t len)
{
	return (struct iovec){ (void *)(uintptr_t)p, len };
}

struct hmac_pad {
	uint8_t bytes[HMAC_BLOCK_LEN];
};

static void
hmac_pad_wipe(struct hmac_pad *p)
{
	secret_wipe(p, sizeof(*p));
}

/*
 * libgcrypt keeps the state of a hash, and at the end its result, on the stack,
 * and leaves them there: of HKDF that is a key.  What was used below the caller
 * is overwritten.
 */
static void burn_stack(void) __attribute__((__noinline__));

static void
burn_stack(void)
{
	uint8_t used[2048];

	secret_wipe(used, sizeof(used));
}

/* One of the two hashes of HMAC: the key under ${mask}, then the parts. */
static int
hmac_half(int algo, const struct hmac_pad *key, uint8_t mask,
	  const struct iovec *iov, int iovcnt, uint8_t *ret)
{
	CLEANUP(hmac_pad_wipe) struct hmac_pad pad;
	gcry_buffer_t parts[1 + HMAC_PARTS_MAX] = { { 0 } };
	gcry_error_t e;

	for (size_t i = 0; i < sizeof(pad.bytes); i++)
		pad.bytes[i] = key->bytes[i] ^ mask;
	parts[0].data = pad.bytes;
	parts[0].len = sizeof(pad.bytes);
	for (int i = 0; i < iovcnt; i++) {
		parts[1 + i].data = iov[i].iov_base;
		parts[1 + i].len = iov[i].iov_len;
	}
	e = gcry_md_hash_buffers(algo, 0, ret, parts, 1 + iovcnt);
	burn_stack();
	if (!e)
		return 0;
	/* SHA-1, in FIPS mode */
	return gcry_err_code(e) == GPG_ERR_ENOMEM ? -ENOMEM : -EOPNOTSUPP;
}

/*
 * RFC 2104, for a key of any length and a hash of blocks of HMAC_BLOCK_LEN and
 * at most MAC_LEN bytes, all of which ${ret} has room for.  ${ret} may be one
 * of the parts.
 */
static int
hmac_by(int algo, const void *key, size_t key_len, const struct iovec *iov,
	int iovcnt, uint8_t *ret)
{
	CLEANUP(hmac_pad_wipe) struct hmac_pad k = { { 0 } };
	uint8_t inner[MAC_LEN];
	const struct iovec outer = { inner, gcry_md_get_algo_dlen(algo) };
	int r;

	if (iovcnt < 0 || iovcnt > HMAC_PARTS_MAX)
		return -EINVAL;
	if (key_len > sizeof(k.bytes))
		gcry_md_hash_buffer(algo, k.bytes, key, key_len);
	else if (key_len > 0)
		memcpy(k.bytes, key, key_len);

	r = hmac_half(algo, &k, 0x36, iov, iovcnt, inner);
	if (r < 0)
		return r;
	r = hmac_half(algo, &k, 0x5c, &outer, 1, ret);
	secret_wipe(inner, sizeof(inner)); /* HKDF: it is half a key */
	return r;
}

int
hmac_sha256_any(const void *key, size_t key_len, const struct iovec *iov,
		int iovcnt, uint8_t ret[static MAC_LEN])
{
	return hmac_by(GCRY_MD_SHA256, key, key_len, iov, iovcnt, ret);
}

int
hmac_sha1(const void *key, size_t key_len, const struct iovec *iov, int iovcnt,
	  uint8_t ret[static SHA1_LEN])
{
	return hmac_by(GCRY_MD_SHA1, key, key_len, iov, iovcnt, ret);
}

/* RFC 5869, 2.3: T(i) = HMAC(PRK, T(i-1) | info | i). */
static int
hkdf_expand(const struct key *prk, const void *info, size_t info_len,
	    uint8_t *out, size_t out_len)
{
	CLEANUP(key_wipe) struct key t = { { 0 } };
	uint8_t i = 1;
	const struct iovec parts[] = {
		part_of(t.bytes, sizeof(t.bytes)),
		part_of(info, info_len),
		part_of(&i, 1),
	};

	for (; out_len > 0; i++) {
		size_t n = out_len < sizeof(t) ? out_len : sizeof(t);
		int skip = i == 1; /* T(0) is empty */
		int r = hmac_sha256_any(prk->bytes, sizeof(*prk), parts + skip,
					3 - skip, t.bytes);

		if (r < 0)
			return r;
		memcpy(out, t.bytes, n);
		out += n;
		out_len -= n;
	}
	return 0;
}

int
hkdf_sha256(const void *ikm, size_t ikm_len, const void *salt, size_t salt_len,
	    const void *info, size_t info_len, void *out, size_t out_len)
{
	CLEANUP(key_wipe) struct key prk = { { 0 } };
	const struct iovec part = part_of(ikm, ikm_len);
	int r;

	if (out_len > 255 * (size_t)MAC_LEN)
		return -EINVAL;
	r = hmac_sha256_any(salt, salt_len, &part, 1, prk.bytes);
	if (r < 0)
		return r;
	return hkdf_expand(&prk, info, info_len, out, out_len);
}
