/*
 * meta.h - the small files of a store: store.ini, descriptors, layer.ini.
 *
 * All are INI files of format.md with their keys in a fixed order; a file that
 * does not come out the same, byte for byte, when it is written again is
 * refused.  That, the bounds of every value and the names are checked here
 * without any key; authenticity (the MAC in [seal]) by the functions with a DK.
 *
 * In the files: numbers are decimal, mode octal with a leading 0, flags yes or
 * no, times YYYY-MM-DDThh:mm:ssZ, digests and MACs lower case hex; what is not
 * there (of, set, parent) is "-".  Names are percent-encoded: bytes above 0x7f,
 * letters, digits and . _ : / @ + - stand as they are, all others, and a - at
 * the start, as %XX in upper case (canon_encode).  No text has a control
 * character, for some are shown that no MAC covers.
 *
 * Errors: -EUCLEAN malformed; -EBADMSG the MAC does not verify;
 * -EPROTONOSUPPORT a newer format, or an unknown bit in incompat (an unknown
 * bit in ro_compat sets read_only instead); -EINVAL what was to be written
 * could not be read again.
 */
#ifndef SEALDISK_META_H
#define SEALDISK_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/kms.h>

#define STORE_FORMAT 1
#define META_MAX 65536    /* bytes of any of these files */
#define DISK_NAME_MAX 200 /* bytes of UTF-8 */
#define DISK_SIZE_MAX (120ULL << 40)
#define DESC_KEYS_MAX 24 /* DKs a descriptor can name: a line of INI */

/* 0, or -EINVAL: 1 to 200 bytes of UTF-8 without / @ : and control characters
 * (also U+0080 to U+009F), not beginning with . or -. */
int name_check(const char *name) NONNULL CHECKED;

/* Of what has none: all zeros. */
static inline bool
digest_is_none(const uint8_t digest[static SHA256_LEN])
{
	static const uint8_t zeros[SHA256_LEN];

	return memcmp(digest, zeros, SHA256_LEN) == 0;
}

struct store_meta {
	struct uuid uuid;
	int64_t created;
	enum cipher cipher; /* for new chunks */
	uint64_t slack;     /* bytes of freed slots that keep their space */
	bool commit_files;  /* never syncfs: commit = files */
};

enum desc_type { DESC_DISK, DESC_SNAPSHOT, DESC_IMAGE };

struct layer_ref {
	struct uuid lineage, layer;
};

struct desc_key {
	struct uuid uuid; /* of the DK */
	struct wrapped_dk dk;
};

struct descriptor {
	/* compat bits unknown to us are kept as they are */
	uint64_t incompat, ro_compat, compat;
	enum desc_type type;
	char name[DISK_NAME_MAX + 1];
	struct uuid store, uuid;
	char of[DISK_NAME_MAX + 1]; /* a snapshot's disk, else "" */
	struct uuid set;            /* nil: none */
	uint32_t members;
	uint64_t size;        /* bytes, a multiple of 512 */
	uint32_t sector_size; /* 512 or 4096 */
	char kind[8];         /* system | data */
	char category[32];    /* cloud_essd unless said otherwise */
	int64_t created;
	struct layer_ref layer;
	struct uuid lineage;
	struct uuid key; /* DK of the top layer */
	uint64_t session;
	bool clean;
	uint8_t digest[SHA256_LEN]; /* of the last checkpoint */
	uint64_t digest_session;
	int64_t checkpointed;    /* when that was; 0: never */
	int64_t rebuilt;         /* made of its spare copy; 0: never */
	char anchor[8];          /* none | kms */
	char on_key_revoked[8];  /* keep | stop */
	uint64_t allocated;      /* bytes, as of the last clean detach */
	uint32_t uid, gid, mode; /* mode: the nine permission bits */
	/* A disk of which what lies below its newest DK is being copied; bytes
	 * a second, 0: as fast as it goes. */
	bool reencrypting;
	uint64_t reencrypt_rate;
	/* [key UUID] sections, in the order of `keys` */
	size_t n_keys;
	struct desc_key keys[DESC_KEYS_MAX];
	/* set by parse: an unknown ro_compat bit is there */
	bool read_only;
};

enum layer_state { LAYER_OPEN, LAYER_FROZEN, LAYER_MERGING, LAYER_SEALED };

struct layer_meta {
	uint64_t incompat, ro_compat, compat;
	struct uuid uuid, lineage, key;
	bool has_parent;
	struct layer_ref parent;
	uint64_t parent_limit; /* bytes; the parent is asked below it only */
	enum layer_state state;
	uint64_t size;
	int64_t created;
	uint8_t digest[SHA256_LEN]; /* zeros until sealed */
	/* Of a parent that is sealed, as far as it was when that was written;
	 * else zeros. */
	uint8_t parent_digest[SHA256_LEN];
	/* set by parse: an unknown ro_compat bit is there */
	bool read_only;
};

/* Text of store.c, malloc'ed.  -ENOMEM. */
int store_meta_format(const struct store_meta *m, char **ret) NONNULL CHECKED;
int store_meta_parse(const char *text, size_t len, struct store_meta *ret)
    NONNULL CHECKED;

/**
 * descriptor_format(d, dk, ret):
 * The file's text, malloc'ed, sealed under the descriptor key that comes of
 * ${dk} (the DK called d->key) and d->uuid.
 */
int descriptor_format(const struct descriptor *d, const struct key *dk,
		      char **ret) NONNULL CHECKED;

/* Parse without authenticating; ${ret} may be used for what needs no trust
 * (listing, finding the wrapped DK) until descriptor_verify() has passed. */
int descriptor_parse(const char *text, size_t len, struct descriptor *ret)
    NONNULL CHECKED;

/* Check the MAC of the text that was parsed. */
int descriptor_verify(const char *text, size_t len, const struct uuid *uuid,
		      const struct key *dk) NONNULL CHECKED;

/**
 * descriptor_rewrite_keys(text, len, d, ret):
 * The same text with its [key] sections replaced by those of ${d}: they lie
 * outside the MAC, so no DK is needed (rewrap).
 */
int descriptor_rewrite_keys(const char *text, size_t len,
			    const struct descriptor *d, char **ret)
    NONNULL CHECKED;

/* The wrapped DK called ${uuid}, or NULL. */
const struct desc_key *descriptor_key(const struct descriptor *d,
				      const struct uuid *uuid) NONNULL;

/* The same for layer.c, under the layer key of ${dk} and m->uuid. */
int layer_meta_format(const struct layer_meta *m, const struct key *dk,
		      char **ret) NONNULL CHECKED;
/* Parses and authenticates. */
/* Not authenticated. */
int layer_meta_peek(const char *text, size_t len, struct layer_meta *ret)
    NONNULL CHECKED;
int layer_meta_parse(const char *text, size_t len, const struct key *dk,
		     struct layer_meta *ret) NONNULL CHECKED;

#endif
