/*
 * super.c - the superblock of a chunk file, and the keys of a chunk.
 */
#include "super.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>

#define SUPER_MAGIC 0x4b434453u /* "SDCK" */
#define SUPER_VERSION 1
#define MAC_OFFSET (SUPER_LEN - MAC_LEN)
#define BLOCK_BYTES 4096
#define GROUP_BLOCKS 128
#define GROUP_SLOTS 256

int
chunk_keys(const struct key *dk, const uint8_t salt[static 12], uint8_t cipher,
	   uint64_t index, uint8_t ret[static 2 * KEY_LEN])
{
	static const char label[] = "sealdisk/1 chunk";
	uint8_t info[sizeof(label) - 1 + 9];
	struct writer w = writer_over(info, sizeof(info));

	put_bytes(&w, label, sizeof(label) - 1);
	put_u8(&w, cipher);
	put_u64(&w, index);
	return hkdf_sha256(dk->bytes, KEY_LEN, salt, 12, info, sizeof(info),
			   ret, 2 * KEY_LEN);
}

static int
super_mac(const uint8_t *in, const uint8_t mac_key[static KEY_LEN],
	  uint8_t ret[static MAC_LEN])
{
	struct iovec iov = { (void *)(uintptr_t)in, MAC_OFFSET };

	return hmac_sha256(mac_key, &iov, 1, ret);
}

int
super_encode(const struct super *s, const uint8_t mac_key[static KEY_LEN],
	     uint8_t out[static SUPER_LEN])
{
	struct writer w = writer_over(out, SUPER_LEN);

	memset(out, 0, SUPER_LEN);
	put_u32(&w, SUPER_MAGIC);
	put_u16(&w, SUPER_VERSION);
	put_u8(&w, s->cipher);
	put_zeros(&w, 1 + 3 * 8); /* no bits of compatibility yet */
	put_u32(&w, BLOCK_BYTES);
	put_u32(&w, GROUP_BLOCKS);
	put_u32(&w, GROUP_SLOTS);
	put_u32(&w, 0);
	put_bytes(&w, s->store.bytes, 16);
	put_bytes(&w, s->lineage.bytes, 16);
	put_bytes(&w, s->dk.bytes, 16);
	put_bytes(&w, s->layer.bytes, 16);
	put_u64(&w, s->session);
	put_u64(&w, s->index);
	put_bytes(&w, s->salt, sizeof(s->salt));
	put_u32(&w, 0);
	put_u64(&w, (uint64_t)s->created);
	return super_mac(out, mac_key, out + MAC_OFFSET);
}

int
super_parse(const uint8_t in[static SUPER_LEN], struct super *ret)
{
	struct reader r = reader_over(in, SUPER_LEN);
	struct super s;
	uint32_t magic = get_u32(&r);
	uint16_t version = get_u16(&r);
	uint64_t incompat;

	s.cipher = get_u8(&r);
	get_skip(&r, 1);
	incompat = get_u64(&r);
	get_skip(&r, 2 * 8);
	if (magic != SUPER_MAGIC)
		return -EUCLEAN;
	if (version != SUPER_VERSION || incompat != 0)
		return -EPROTONOSUPPORT;
	if (!cipher_name(s.cipher) || get_u32(&r) != BLOCK_BYTES ||
	    get_u32(&r) != GROUP_BLOCKS || get_u32(&r) != GROUP_SLOTS)
		return -EUCLEAN;
	get_skip(&r, 4);
	get_bytes(&r, s.store.bytes, 16);
	get_bytes(&r, s.lineage.bytes, 16);
	get_bytes(&r, s.dk.bytes, 16);
	get_bytes(&r, s.layer.bytes, 16);
	s.session = get_u64(&r);
	s.index = get_u64(&r);
	get_bytes(&r, s.salt, sizeof(s.salt));
	get_skip(&r, 4);
	s.created = (int64_t)get_u64(&r);
	*ret = s;
	return 0;
}

int
super_verify(const uint8_t in[static SUPER_LEN],
	     const uint8_t mac_key[static KEY_LEN])
{
	uint8_t mac[MAC_LEN];
	int r = super_mac(in, mac_key, mac);

	if (r < 0)
		return r;
	return crypto_equal(mac, in + MAC_OFFSET, MAC_LEN) ? 0 : -EBADMSG;
}
