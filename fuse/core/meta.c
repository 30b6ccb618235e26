/*
 * meta.c - what descriptors, layer.ini and store.ini have in common: names, the
 * seal, and the proof that a text is the one way to say what it says.
 */
#include <errno.h>
#include <string.h>

#include "meta_private.h"

int
name_check(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > DISK_NAME_MAX)
		return -EINVAL;
	if (name[0] == '.' || name[0] == '-')
		return -EINVAL;
	if (!utf8_valid(name, len) || text_has_control(name))
		return -EINVAL;
	return strpbrk(name, "/@:") ? -EINVAL : 0;
}

bool
meta_size_ok(uint64_t size)
{
	return size % 512 == 0 && size <= DISK_SIZE_MAX;
}

/* 0 where ${key} is a number in which only bits of ${known} are set. */
static int
check_bits(const struct canon *c, const char *section, const char *key,
	   uint64_t known)
{
	const char *value = canon_get(c, section, key);
	uint64_t bits;

	if (!value || parse_u64(value, &bits) < 0)
		return -EUCLEAN;
	return bits & ~known ? -EPROTONOSUPPORT : 0;
}

int
meta_ini(const char *text, size_t len, const char *section, struct canon **ret)
{
	CLEANUP(canon_freep) struct canon *c = NULL;
	const char *value;
	uint64_t format;
	int r;

	if (len > META_MAX)
		return -EUCLEAN;
	r = canon_parse(text, len, &c);
	if (r < 0)
		return r;
	value = canon_get(c, section, "format");
	if (!value || parse_u64(value, &format) < 0 || format == 0)
		return -EUCLEAN;
	if (format > STORE_FORMAT)
		return -EPROTONOSUPPORT;
	/* store.ini has no feature bits: it decides nothing. */
	if (strcmp(section, "store") != 0)
		r = check_bits(c, section, "incompat", META_KNOWN_INCOMPAT);
	if (r == 0)
		*ret = TAKE(c);
	return r;
}

int
meta_same(struct canon_text *t, const char *text, size_t len)
{
	CLEANUP(free_memp) char *again = NULL;
	size_t again_len = t->len;
	int r;

	r = canon_finish(t, &again);
	if (r < 0)
		return r == -EMSGSIZE ? -EUCLEAN : r;
	if (again_len != len || memcmp(again, text, len) != 0)
		return -EUCLEAN;
	return 0;
}

/* The seal. */

int
meta_sealed_len(const char *text, size_t len, size_t *ret)
{
	static const char head[] = "\n[seal]\n";
	const char *p = memmem(text, len, head, sizeof(head) - 1);

	if (!p)
		return -EUCLEAN;
	*ret = (size_t)(p - text) + 1;
	return 0;
}

static int
seal_key(const struct key *dk, const char *purpose, const struct uuid *uuid,
	 struct key *ret)
{
	uint8_t info[64];
	size_t n = strlen(purpose);

	memcpy(info, purpose, n);
	memcpy(info + n, uuid->bytes, sizeof(uuid->bytes));
	return hkdf_sha256(dk->bytes, KEY_LEN, NULL, 0, info,
			   n + sizeof(uuid->bytes), ret->bytes, KEY_LEN);
}

static int
compute_mac(const struct key *dk, const char *purpose, const struct uuid *uuid,
	    const char *text, size_t len, uint8_t ret[static MAC_LEN])
{
	CLEANUP(key_wipe) struct key k = { { 0 } };
	struct iovec iov = { .iov_len = len };
	int r;

	memcpy(&iov.iov_base, &text, sizeof(text)); /* it is not written to */
	r = seal_key(dk, purpose, uuid, &k);
	return r < 0 ? r : hmac_sha256(k.bytes, &iov, 1, ret);
}

void
meta_put_mac(struct canon_text *t, const uint8_t mac[static MAC_LEN])
{
	char hex[2 * MAC_LEN + 1];

	hex_encode(mac, MAC_LEN, hex);
	canon_section(t, "seal");
	canon_put(t, "mac", "%s", hex);
}

int
meta_get_mac(const struct canon *c, uint8_t ret[static MAC_LEN])
{
	const char *hex = canon_get(c, "seal", "mac");

	return hex && hex_decode(hex, ret, MAC_LEN) == 0 ? 0 : -EUCLEAN;
}

int
meta_seal(struct canon_text *t, const struct key *dk, const char *purpose,
	  const struct uuid *uuid)
{
	uint8_t mac[MAC_LEN];
	int r;

	if (t->err)
		return t->err;
	r = compute_mac(dk, purpose, uuid, t->buf, t->len, mac);
	if (r < 0)
		return r;
	meta_put_mac(t, mac);
	return 0;
}

int
meta_check_mac(const struct key *dk, const char *purpose,
	       const struct uuid *uuid, const char *text, size_t len)
{
	static const char head[] = "[seal]\nmac = ";
	uint8_t mac[MAC_LEN], there[MAC_LEN];
	char hex[2 * MAC_LEN + 1];
	size_t sealed;
	int r;

	r = meta_sealed_len(text, len, &sealed);
	if (r < 0)
		return r;
	text += sealed;
	len -= sealed;
	if (len < sizeof(head) + 2 * MAC_LEN ||
	    memcmp(text, head, sizeof(head) - 1))
		return -EUCLEAN;
	memcpy(hex, text + sizeof(head) - 1, 2 * MAC_LEN);
	hex[2 * MAC_LEN] = '\0';
	if (hex_decode(hex, there, MAC_LEN) < 0)
		return -EUCLEAN;
	r = compute_mac(dk, purpose, uuid, text - sealed, sealed, mac);
	if (r < 0)
		return r;
	return crypto_equal(mac, there, MAC_LEN) ? 0 : -EBADMSG;
}
