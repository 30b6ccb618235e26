/*
 * crypto.c - ciphers, randomness and passphrases, by libgcrypt; hashes are in
 * crypto_hash.c and RSA in crypto_rsa.c.  No other file includes gcrypt.h.
 *
 * Handles and their key schedules lie in libgcrypt's secure memory: locked, and
 * wiped when closed.  What is on the stack here is wiped by CLEANUP.
 *
 * Forgetting a key is closing its handle.  Keying again does not do: AES keeps
 * its schedule for decryption until the next decryption (OCB), and keeps a copy
 * of all for gcry_cipher_reset.  tests/test_crypto.c looks for remains.
 */
#include <sealdisk/crypto.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <gcrypt.h>

#include "secret_private.h"

#define GCRYPT_NEEDED "1.10.0"
/* For the ciphers of a thousand disks at work. */
#define SECURE_POOL_LEN (4 << 20)

static int
from_gcry(gcry_error_t e)
{
	switch (gcry_err_code(e)) {
	case GPG_ERR_NO_ERROR:
		return 0;
	case GPG_ERR_CHECKSUM:
		return -EBADMSG;
	case GPG_ERR_ENOMEM:
		return -ENOMEM;
	case GPG_ERR_NOT_SUPPORTED: /* OCB, in FIPS mode */
	case GPG_ERR_CIPHER_ALGO:
	case GPG_ERR_INV_CIPHER_MODE:
		return -EOPNOTSUPP;
	default:
		return -EINVAL;
	}
}

/*
 * libgcrypt keeps its pool out of swap, not out of core dumps.  It tells no
 * address but that of what it hands out first, which lies in the pool's first
 * page; the check is that what is left out is the pool, all of it.
 */
static void
pool_left_out_of_dumps(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	void *first = gcry_malloc_secure(1);
	uint8_t *base = (uint8_t *)((uintptr_t)first & ~(page - 1));

	if (first && gcry_is_secure(base) &&
	    gcry_is_secure(base + SECURE_POOL_LEN - 1))
		(void)madvise(base, SECURE_POOL_LEN, MADV_DONTDUMP);
	gcry_free(first);
}

/* What it has gathered randomness with goes, where it would be taken for a
 * leak. */
static void
end_random(void)
{
	(void)gcry_control(GCRYCTL_CLOSE_RANDOM_DEVICE, 0);
}

int
crypto_init(void)
{
	gcry_error_t e;

	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return 0;
	if (!gcry_check_version(GCRYPT_NEEDED))
		return -ENOSYS;
	/* For the same reason as in crypto_random(): RSA takes its own. */
	(void)gcry_control(GCRYCTL_SET_PREFERRED_RNG_TYPE,
			   GCRY_RNG_TYPE_SYSTEM);
	(void)atexit(end_random);

	/*
	 * The pool is there even if it could not be locked, which is all that
	 * an error of INIT_SECMEM says; without the warning it would print.
	 */
	(void)gcry_control(GCRYCTL_DISABLE_SECMEM_WARN);
	if (gcry_control(GCRYCTL_INIT_SECMEM, SECURE_POOL_LEN, 0))
		secret_note_unlocked();
	pool_left_out_of_dumps();
	e = gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
	if (!e && gcry_fips_mode_active())
		e = gcry_control(GCRYCTL_SELFTEST);
	return from_gcry(e);
}

int
crypto_self_test(void)
{
	return gcry_control(GCRYCTL_SELFTEST) ? -EIO : 0;
}

static const struct {
	enum cipher cipher;
	const char *name;
	int mode;
} ciphers[] = {
	{ CIPHER_AES256_GCM, "aes-256-gcm", GCRY_CIPHER_MODE_GCM },
	{ CIPHER_AES256_OCB, "aes-256-ocb", GCRY_CIPHER_MODE_OCB },
};
#define NCIPHERS (sizeof(ciphers) / sizeof(ciphers[0]))

const char *
cipher_name(enum cipher c)
{
	for (size_t i = 0; i < NCIPHERS; i++)
		if (ciphers[i].cipher == c)
			return ciphers[i].name;
	return NULL;
}

int
cipher_parse(const char *name, enum cipher *ret)
{
	for (size_t i = 0; i < NCIPHERS; i++)
		if (strcmp(ciphers[i].name, name) == 0) {
			*ret = ciphers[i].cipher;
			return 0;
		}
	return -EINVAL;
}

int
crypto_random(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

bool
crypto_equal(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *p = a, *q = b;
	uint8_t differ = 0;

	for (size_t i = 0; i < len; i++)
		differ |= p[i] ^ q[i];
	return differ == 0;
}

/* Authenticated encryption. */

/* One handle, which is there only while it has a key: it takes some 2 KiB of
 * the pool, and each attached disk has two of these that mostly rest. */
struct aead {
	gcry_cipher_hd_t handle; /* or NULL */
	size_t cipher;           /* its place in ciphers[] */
	bool keyed;
};

static int
handle_open(gcry_cipher_hd_t *ret, int mode)
{
	int tag_len = TAG_LEN;
	gcry_cipher_hd_t h;
	gcry_error_t e;

	e = gcry_cipher_open(&h, GCRY_CIPHER_AES256, mode, GCRY_CIPHER_SECURE);
	if (e)
		return from_gcry(e);
	if (mode == GCRY_CIPHER_MODE_OCB) {
		e = gcry_cipher_ctl(h, GCRYCTL_SET_TAGLEN, &tag_len,
				    sizeof(tag_len));
		if (e) {
			gcry_cipher_close(h);
			return from_gcry(e);
		}
	}
	*ret = h;
	return 0;
}

int
aead_new(struct aead **ret)
{
	struct aead *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	*ret = a;
	return 0;
}

void
aead_free(struct aead *a)
{
	if (!a)
		return;
	aead_forget(a);
	free(a);
}

void
aead_forget(struct aead *a)
{
	gcry_cipher_close(a->handle);
	a->handle = NULL;
	a->keyed = false;
}

int
aead_set_key(struct aead *a, enum cipher c, const uint8_t key[static KEY_LEN])
{
	gcry_error_t e;
	size_t i = 0;
	int r;

	while (i < NCIPHERS && ciphers[i].cipher != c)
		i++;
	if (i == NCIPHERS)
		return -EINVAL;
	if (a->handle && a->cipher != i)
		aead_forget(a); /* no old key stays */
	a->keyed = false;
	if (!a->handle) {
		r = handle_open(&a->handle, ciphers[i].mode);
		if (r < 0)
			return r;
		a->cipher = i;
	}
	e = gcry_cipher_setkey(a->handle, key, KEY_LEN);
	a->keyed = !e;
	return from_gcry(e);
}

/* What sealing and opening begin with. */
static gcry_error_t
aead_start(struct aead *a, const uint8_t *nonce, const void *ad, size_t ad_len)
{
	gcry_error_t e;

	if (!a->keyed)
		return gcry_error(GPG_ERR_MISSING_KEY);
	e = gcry_cipher_setiv(a->handle, nonce, NONCE_LEN);
	if (!e && ad_len > 0)
		e = gcry_cipher_authenticate(a->handle, ad, ad_len);
	/* OCB is told its last block. */
	if (!e && ciphers[a->cipher].mode == GCRY_CIPHER_MODE_OCB)
		e = gcry_cipher_final(a->handle);
	return e;
}

int
aead_seal(struct aead *a, const uint8_t nonce[static NONCE_LEN], const void *ad,
	  size_t ad_len, const void *in, void *out, size_t len,
	  uint8_t ret_tag[static TAG_LEN])
{
	gcry_error_t e = aead_start(a, nonce, ad, ad_len);

	if (!e)
		e = gcry_cipher_encrypt(a->handle, out, len, in, len);
	if (!e)
		e = gcry_cipher_gettag(a->handle, ret_tag, TAG_LEN);
	return from_gcry(e);
}

int
aead_open(struct aead *a, const uint8_t nonce[static NONCE_LEN], const void *ad,
	  size_t ad_len, const void *in, void *out, size_t len,
	  const uint8_t tag[static TAG_LEN])
{
	gcry_error_t e = aead_start(a, nonce, ad, ad_len);

	if (!e)
		e = gcry_cipher_decrypt(a->handle, out, len, in, len);
	if (!e)
		e = gcry_cipher_checktag(a->handle, tag, TAG_LEN);

	/* Nobody may see what did not authenticate, not even by mistake. */
	if (e && len > 0)
		secret_wipe(out, len);
	return from_gcry(e);
}

/* Passphrases. */

/*
 * The memory that it works in is large enough to come from mmap and to go back
 * to the kernel at the end; nothing of it stays.
 */
int
argon2id(const void *pass, size_t pass_len, const void *salt, size_t salt_len,
	 const struct argon2_cost *cost, struct key *ret)
{
	const unsigned long param[] = { KEY_LEN, cost->passes, cost->memory_kib,
					cost->lanes };
	CLEANUP(key_wipe) struct key k = { { 0 } };
	gcry_kdf_hd_t h;
	gcry_error_t e;

	/* libgcrypt 1.10 does not look at all of this. */
	if (cost->passes == 0 || cost->lanes == 0 || salt_len < 8 ||
	    cost->memory_kib / 8 < cost->lanes)
		return -EINVAL;
	e = gcry_kdf_open(&h, GCRY_KDF_ARGON2, GCRY_KDF_ARGON2ID, param,
			  sizeof(param) / sizeof(param[0]), pass, pass_len,
			  salt, salt_len, NULL, 0, NULL, 0);
	if (e)
		return from_gcry(e);
	e = gcry_kdf_compute(h, NULL);
	if (!e)
		e = gcry_kdf_final(h, sizeof(k.bytes), k.bytes);
	gcry_kdf_close(h);
	if (e)
		return from_gcry(e);
	*ret = k;
	return 0;
}
