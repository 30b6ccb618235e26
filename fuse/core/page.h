/*
 * page.h - one page of authenticated metadata, and the choice between its two
 * copies (format.md, "Page", "Home and mirror", the table under "Attach").
 *
 * Pure functions on bytes: no I/O, no locks.
 */
#ifndef SEALDISK_PAGE_H
#define SEALDISK_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <sealdisk/crypto.h>

#define BLOCK_SIZE 4096
#define PAGE_LEN 4096
#define PAGE_ENTRIES 128
#define PAGE_HEADER 256
#define PAGE_MAC 224    /* where its MAC lies */
#define ROOT_BITS 30720 /* map pages that one root page covers */

/* PAGE_CHAIN is in memory alone: where a layer's parents have a group
 * (chain.c).
 */
enum page_kind { PAGE_GROUP = 1, PAGE_MAP = 2, PAGE_ROOT = 3, PAGE_CHAIN = 4 };
enum entry_state { ENTRY_ABSENT = 0, ENTRY_DATA = 1, ENTRY_ZERO = 2 };

struct entry {
	uint8_t unique[12]; /* nonce, or chunk salt */
	uint8_t digest[16]; /* tag, or chunk digest */
	uint8_t slot;
	uint8_t state;
};

/* What a page says, apart from its entries. */
struct page_head {
	enum page_kind kind;
	uint64_t index;
	uint64_t generation;
	uint64_t session;
	uint8_t cipher;
	uint32_t seals;
};

/* Entries of a group or map page; a root page's bitmap; layers' numbers. */
union page_body {
	struct entry entry[PAGE_ENTRIES];
	uint8_t bitmap[ROOT_BITS / 8];
	uint16_t from[PAGE_ENTRIES];
};

/* Where copy ${copy} of page ${n} of a run of pages lies: eight first copies,
 * then their eight second ones, and so on. */
static inline uint64_t
page_offset(uint64_t n, unsigned copy)
{
	return (n / 8) * 16 * PAGE_LEN + copy * 8 * PAGE_LEN +
	       (n % 8) * PAGE_LEN;
}

/* The copy that is the home of a generation. */
static inline unsigned
page_home(uint64_t generation)
{
	return generation & 1;
}

/* Write the page's 4096 bytes, MAC and CRC included. */
int page_encode(const struct page_head *h, const union page_body *b,
		const uint8_t mac_key[static KEY_LEN],
		uint8_t out[static PAGE_LEN]) NONNULL CHECKED;

/**
 * page_decode(in, mac_key, kind, index, ret_head, ret_body):
 * -EBADMSG  the MAC does not verify
 * -EUCLEAN  it does, and yet something in it is not as it must be, or it is the
 *           page of another place
 */
int page_decode(const uint8_t in[static PAGE_LEN],
		const uint8_t mac_key[static KEY_LEN], enum page_kind kind,
		uint64_t index, struct page_head *ret_head,
		union page_body *ret_body) NONNULL CHECKED;

/* The same without a key: -EBADMSG by the CRC, which anybody can make right. */
int page_decode_open(const uint8_t in[static PAGE_LEN], enum page_kind kind,
		     uint64_t index, struct page_head *ret_head,
		     union page_body *ret_body) NONNULL CHECKED;

/* The CRC-32C that belongs into the page; needs no key. */
uint32_t page_crc(const uint8_t in[static PAGE_LEN]) NONNULL;

/* Whether ${a} is newer than ${b}. */
static inline bool
page_newer(const struct page_head *a, const struct page_head *b)
{
	return a->session != b->session ? a->session > b->session
					: a->generation > b->generation;
}

#endif
