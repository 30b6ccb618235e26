/*
 * page.c - the bytes of a page of metadata.
 *
 * The MAC covers the page with the fields `mac` and `crc32c` zero; the CRC
 * covers it with `crc32c` zero, so that whoever has no key can still tell a
 * torn page from a whole one.
 */
#include "page.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>

#define PAGE_MAGIC 0x47504453u /* "SDPG" */
#define PAGE_VERSION 1
#define CRC_OFFSET 40
#define RESERVED_LEN 180

_Static_assert(sizeof(struct entry) == 30, "an entry has 30 bytes");
_Static_assert(sizeof(union page_body) == PAGE_LEN - PAGE_HEADER,
	       "the body fills the page");

static int
page_mac(const uint8_t *in, const uint8_t mac_key[static KEY_LEN],
	 uint8_t ret[static MAC_LEN])
{
	static const uint8_t zeros[MAC_LEN];
	const struct iovec iov[] = {
		{ (void *)(uintptr_t)in, CRC_OFFSET },
		{ (void *)(uintptr_t)zeros, 4 },
		{ (void *)(uintptr_t)(in + CRC_OFFSET + 4), RESERVED_LEN },
		{ (void *)(uintptr_t)zeros, MAC_LEN },
		{ (void *)(uintptr_t)(in + PAGE_HEADER),
		  PAGE_LEN - PAGE_HEADER },
	};

	return hmac_sha256(mac_key, iov, 5, ret);
}

uint32_t
page_crc(const uint8_t in[static PAGE_LEN])
{
	uint8_t copy[PAGE_LEN];

	memcpy(copy, in, PAGE_LEN);
	memset(copy + CRC_OFFSET, 0, 4);
	return crc32c(copy, PAGE_LEN);
}

int
page_encode(const struct page_head *h, const union page_body *b,
	    const uint8_t mac_key[static KEY_LEN], uint8_t out[static PAGE_LEN])
{
	struct writer w = writer_over(out, PAGE_LEN);
	uint8_t mac[MAC_LEN];
	uint32_t crc;
	int r;

	put_u32(&w, PAGE_MAGIC);
	put_u16(&w, PAGE_VERSION);
	put_u16(&w, (uint16_t)h->kind);
	put_u64(&w, h->index);
	put_u64(&w, h->generation);
	put_u64(&w, h->session);
	put_u8(&w, h->cipher);
	put_zeros(&w, 3);
	put_u32(&w, h->seals);
	put_u32(&w, 0);
	put_zeros(&w, RESERVED_LEN + MAC_LEN);
	put_bytes(&w, b, sizeof(*b));

	r = page_mac(out, mac_key, mac);
	if (r < 0)
		return r;
	memcpy(out + PAGE_MAC, mac, MAC_LEN);
	crc = crc32c(out, PAGE_LEN);
	w = writer_over(out + CRC_OFFSET, 4);
	put_u32(&w, crc);
	return 0;
}

/* An authentic page can be wrong only by a fault of ours: refuse it all the
 * same, or it would be believed. */
static int
check_entries(const union page_body *b, enum page_kind kind)
{
	bool taken[256] = { false };

	for (unsigned i = 0; i < PAGE_ENTRIES; i++) {
		const struct entry *e = &b->entry[i];

		if (e->state > ENTRY_ZERO)
			return -EUCLEAN;
		if (e->state != ENTRY_DATA || kind != PAGE_GROUP)
			continue;
		if (taken[e->slot])
			return -EUCLEAN;
		taken[e->slot] = true;
	}
	return 0;
}

static int
check_head(const struct page_head *h, enum page_kind kind, uint64_t index)
{
	if (h->kind != kind || h->index != index)
		return -EUCLEAN;
	if (kind == PAGE_GROUP ? !cipher_name(h->cipher) : h->cipher != 0)
		return -EUCLEAN;
	return 0;
}

static void
get_head(const uint8_t in[static PAGE_LEN], struct page_head *ret,
	 uint32_t *ret_magic, uint16_t *ret_version, uint32_t *ret_crc)
{
	struct reader r = reader_over(in, PAGE_LEN);

	*ret_magic = get_u32(&r);
	*ret_version = get_u16(&r);
	ret->kind = get_u16(&r);
	ret->index = get_u64(&r);
	ret->generation = get_u64(&r);
	ret->session = get_u64(&r);
	ret->cipher = get_u8(&r);
	get_skip(&r, 3);
	ret->seals = get_u32(&r);
	*ret_crc = get_u32(&r);
}

int
page_decode_open(const uint8_t in[static PAGE_LEN], enum page_kind kind,
		 uint64_t index, struct page_head *ret_head,
		 union page_body *ret_body)
{
	struct page_head h;
	uint32_t magic, crc;
	uint16_t version;
	int e;

	get_head(in, &h, &magic, &version, &crc);
	/* The CRC is outside the MAC: a wrong one alone says that the page
	 * was touched, and a scrub without keys would call it damaged. */
	if (crc != page_crc(in))
		return -EBADMSG;
	if (magic != PAGE_MAGIC || version != PAGE_VERSION)
		return -EUCLEAN;
	e = check_head(&h, kind, index);
	if (e == 0 && kind != PAGE_ROOT)
		e = check_entries((const void *)(in + PAGE_HEADER), kind);
	if (e < 0)
		return e;
	*ret_head = h;
	memcpy(ret_body, in + PAGE_HEADER, sizeof(*ret_body));
	return 0;
}

int
page_decode(const uint8_t in[static PAGE_LEN],
	    const uint8_t mac_key[static KEY_LEN], enum page_kind kind,
	    uint64_t index, struct page_head *ret_head,
	    union page_body *ret_body)
{
	uint8_t mac[MAC_LEN];
	int r;

	r = page_mac(in, mac_key, mac);
	if (r < 0)
		return r;
	if (!crypto_equal(mac, in + PAGE_MAC, MAC_LEN))
		return -EBADMSG;
	return page_decode_open(in, kind, index, ret_head, ret_body);
}
