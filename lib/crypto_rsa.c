/*
 * crypto_rsa.c - see rsa.h.
 *
 * OAEP is libgcrypt's, which tells no error of it from another.  Its PKCS #1
 * v1.5 does not take the same time for all errors, so that padding is looked at
 * here: a key has 32 bytes and no other length, so every byte has one place.
 */
#include <sealdisk/rsa.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <gcrypt.h>

#include <sealdisk/crypto.h>

#define MODULUS_LEN 256

/* SEQUENCE { SEQUENCE { rsaEncryption, NULL }, BIT STRING { SEQUENCE {
 * INTEGER, a modulus of 2048 bits; INTEGER, 65537 }}} */
static const uint8_t public_head[] = {
	0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48,
	0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01,
	0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
};
static const uint8_t public_tail[] = { 0x02, 0x03, 0x01, 0x00, 0x01 };

_Static_assert(sizeof(public_head) + MODULUS_LEN + sizeof(public_tail) ==
		   RSA_PUBLIC_LEN,
	       "the parts of a public key");

static void
sexp_freep(gcry_sexp_t *s)
{
	gcry_sexp_release(*s);
}

static void
mpi_freep(gcry_mpi_t *m)
{
	gcry_mpi_release(*m);
}

static int
from_gcry(gcry_error_t e)
{
	switch (gcry_err_code(e)) {
	case GPG_ERR_NO_ERROR:
		return 0;
	case GPG_ERR_ENOMEM:
		return -ENOMEM;
	case GPG_ERR_NOT_SUPPORTED:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

/* ${m} in ${len} bytes, zeros first. */
static int
put_mpi(gcry_mpi_t m, uint8_t *out, size_t len)
{
	size_t n;

	if (gcry_mpi_print(GCRYMPI_FMT_USG, NULL, 0, &n, m) || n > len)
		return -EINVAL;
	memset(out, 0, len - n);
	return from_gcry(
	    gcry_mpi_print(GCRYMPI_FMT_USG, out + len - n, n, NULL, m));
}

static int
put_public(gcry_sexp_t pair, uint8_t out[static RSA_PUBLIC_LEN])
{
	CLEANUP(mpi_freep) gcry_mpi_t n = NULL, e = NULL;
	uint8_t *p = out;
	int r;

	if (gcry_sexp_extract_param(pair, "public-key!rsa", "n e", &n, &e,
				    NULL) ||
	    gcry_mpi_get_nbits(n) != 8 * MODULUS_LEN ||
	    gcry_mpi_cmp_ui(e, 65537) != 0)
		return -EIO;
	memcpy(p, public_head, sizeof(public_head));
	p += sizeof(public_head);
	r = put_mpi(n, p, MODULUS_LEN);
	memcpy(p + MODULUS_LEN, public_tail, sizeof(public_tail));
	return r;
}

int
rsa_new(struct rsa_private *ret, uint8_t ret_public[static RSA_PUBLIC_LEN])
{
	CLEANUP(sexp_freep) gcry_sexp_t how = NULL, pair = NULL, private = NULL;
	uint8_t public[RSA_PUBLIC_LEN];
	gcry_error_t e;
	size_t len;
	int r;

	e = gcry_sexp_build(&how, NULL,
			    "(genkey (rsa (nbits 4:2048)(rsa-use-e 5:65537)))");
	if (!e)
		e = gcry_pk_genkey(&pair, how);
	if (e)
		return from_gcry(e);
	r = put_public(pair, public);
	if (r < 0)
		return r;
	private = gcry_sexp_find_token(pair, "private-key", 0);
	if (!private)
		return -ENOMEM;
	len = gcry_sexp_sprint(private, GCRYSEXP_FMT_CANON, ret->bytes,
			       sizeof(ret->bytes));
	if (len == 0)
		return -EIO;
	ret->len = len;
	memcpy(ret_public, public, sizeof(public));
	return 0;
}

/* Sealing. */

static int
take_public(const uint8_t *public, size_t len, gcry_sexp_t *ret)
{
	const uint8_t *n = public + sizeof(public_head);

	if (len != RSA_PUBLIC_LEN ||
	    memcmp(public, public_head, sizeof(public_head)) != 0 ||
	    memcmp(n + MODULUS_LEN, public_tail, sizeof(public_tail)) != 0 ||
	    !(n[0] & 0x80) || !(n[MODULUS_LEN - 1] & 1))
		return -EINVAL;
	/* %b takes no sign: a zero goes before what has its top bit set. */
	return from_gcry(
	    gcry_sexp_build(ret, NULL, "(public-key (rsa (n %b)(e #010001#)))",
			    MODULUS_LEN + 1, (const char *)n - 1));
}

static const char *
data_form(enum rsa_padding padding)
{
	switch (padding) {
	case RSA_OAEP_SHA256:
		return "(data (flags oaep)(hash-algo sha256)(value %b))";
	case RSA_OAEP_SHA1:
		return "(data (flags oaep)(hash-algo sha1)(value %b))";
	case RSA_PKCS1_V15:
		return "(data (flags pkcs1)(value %b))";
	}
	return NULL;
}

int
rsa_seal_key(const uint8_t *public, size_t len, enum rsa_padding padding,
	     const struct key *k, uint8_t ret[static RSA_SEALED_LEN])
{
	CLEANUP(sexp_freep) gcry_sexp_t pk = NULL, data = NULL, sealed = NULL;
	CLEANUP(mpi_freep) gcry_mpi_t a = NULL;
	const char *form = data_form(padding);
	gcry_error_t e;
	int r;

	if (!form)
		return -EINVAL;
	r = take_public(public, len, &pk);
	if (r < 0)
		return r;
	e = gcry_sexp_build(&data, NULL, form, KEY_LEN, (const char *)k->bytes);
	if (!e)
		e = gcry_pk_encrypt(&sealed, data, pk);
	if (!e)
		e = gcry_sexp_extract_param(sealed, "enc-val!rsa", "a", &a,
					    NULL);
	return e ? from_gcry(e) : put_mpi(a, ret, RSA_SEALED_LEN);
}

/* Opening. */

/* All ones if ${x} is not 0. */
static unsigned
mask_of(unsigned x)
{
	return 0u - ((x | (0u - x)) >> (8 * sizeof(x) - 1));
}

/* 00 02, at least 8 bytes that are not 00, 00, the key. */
static bool
is_pkcs1_key(const uint8_t m[static MODULUS_LEN])
{
	const size_t zero = MODULUS_LEN - KEY_LEN - 1;
	unsigned bad = m[0] | (m[1] ^ 2u) | m[zero];

	for (size_t i = 2; i < zero; i++)
		bad |= ~mask_of(m[i]);
	return !bad;
}

static int
open_pkcs1(gcry_sexp_t plain, struct key *ret)
{
	CLEANUP(mpi_freep)
	gcry_mpi_t m = gcry_sexp_nth_mpi(plain, 1, GCRYMPI_FMT_USG);
	uint8_t *bytes = secret_alloc(MODULUS_LEN);
	int r = -ENOMEM;

	if (m && bytes)
		r = put_mpi(m, bytes, MODULUS_LEN);
	if (r == 0 && !is_pkcs1_key(bytes))
		r = -EBADMSG;
	if (r == 0)
		memcpy(ret->bytes, bytes + MODULUS_LEN - KEY_LEN, KEY_LEN);
	secret_free(bytes, MODULUS_LEN);
	return r;
}

static int
open_oaep(gcry_sexp_t plain, struct key *ret)
{
	const char *p;
	size_t len;

	p = gcry_sexp_nth_data(plain, 1, &len);
	if (!p || len != KEY_LEN)
		return -EBADMSG;
	memcpy(ret->bytes, p, KEY_LEN);
	return 0;
}

static const char *
sealed_form(enum rsa_padding padding)
{
	switch (padding) {
	case RSA_OAEP_SHA256:
		return "(enc-val (flags oaep)(hash-algo sha256)(rsa (a %b)))";
	case RSA_OAEP_SHA1:
		return "(enc-val (flags oaep)(hash-algo sha1)(rsa (a %b)))";
	case RSA_PKCS1_V15:
		return "(enc-val (flags raw)(rsa (a %b)))";
	}
	return NULL;
}

int
rsa_open_key(const struct rsa_private *private, enum rsa_padding padding,
	     const void *in, size_t len, struct key *ret)
{
	CLEANUP(sexp_freep) gcry_sexp_t sk = NULL, sealed = NULL, plain = NULL;
	uint8_t a[1 + RSA_SEALED_LEN] = { 0 };
	const char *form = sealed_form(padding);

	if (len != RSA_SEALED_LEN || !form)
		return -EBADMSG;
	if (gcry_sexp_new(&sk, private->bytes, private->len, 0))
		return -EIO;
	memcpy(a + 1, in, len);
	if (gcry_sexp_build(&sealed, NULL, form, (int)sizeof(a),
			    (const char *)a))
		return -ENOMEM;
	if (gcry_pk_decrypt(&plain, sealed, sk))
		return -EBADMSG;
	return padding == RSA_PKCS1_V15 ? open_pkcs1(plain, ret)
					: open_oaep(plain, ret);
}
