/*
 * block.c - one block sealed and opened (format.md, "Block").
 *
 * A block is bound to its place by the associated data, to its chunk file by
 * the key, and to the moment by the nonce in its entry, so that no block can
 * stand for another.  The nonce's 96 bits are drawn from getrandom(2) once a
 * request; the blocks of the request count on from there.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>

int
nonce_draw(struct nonce *n)
{
	return crypto_random(n->base, sizeof(n->base));
}

/* base + place, as a 96-bit little-endian number. */
static void
nonce_at(const struct nonce *n, unsigned place, uint8_t out[static NONCE_LEN])
{
	uint64_t low;
	uint32_t high;

	memcpy(&low, n->base, 8);
	memcpy(&high, n->base + 8, 4);
	high += __builtin_add_overflow(low, (uint64_t)place, &low);
	memcpy(out, &low, 8);
	memcpy(out + 8, &high, 4);
}

struct block_ad {
	uint8_t bytes[10];
};

static struct block_ad
ad_of(const struct chunk *c, unsigned bno)
{
	struct block_ad ad;
	struct writer w = writer_over(&ad, sizeof(ad));

	put_u64(&w, c->index);
	put_u16(&w, (uint16_t)bno);
	return ad;
}

int
block_key(struct scratch *s, const struct chunk *c)
{
	return aead_set_key(s->aead, c->cipher, c->keys);
}

int
block_seal(struct scratch *s, const struct chunk *c, unsigned bno,
	   const struct nonce *n, unsigned place, const uint8_t *in,
	   uint8_t *out, struct entry *e)
{
	struct block_ad ad = ad_of(c, bno);

	nonce_at(n, place, e->unique);
	return aead_seal(s->aead, e->unique, &ad, sizeof(ad), in, out,
			 BLOCK_SIZE, e->digest);
}

int
block_open(struct scratch *s, const struct chunk *c, unsigned bno,
	   const struct entry *e, const uint8_t *in, uint8_t *out)
{
	struct block_ad ad = ad_of(c, bno);

	return aead_open(s->aead, e->unique, &ad, sizeof(ad), in, out,
			 BLOCK_SIZE, e->digest);
}

bool
block_is_zero(const uint8_t *p)
{
	uint64_t first;

	/* Most blocks differ from zero in their first bytes; else compare the
	 * block with itself, one word on. */
	memcpy(&first, p, 8);
	return first == 0 && memcmp(p, p + 8, BLOCK_SIZE - 8) == 0;
}
