/*
 * meta_private.h - how a struct and a section of INI become one another: by a
 * table of fields, in the file's order.
 */
#ifndef SEALDISK_META_PRIVATE_H
#define SEALDISK_META_PRIVATE_H

#include <sealdisk/canon.h>

#include "meta.h"

enum field_type {
	FIELD_FORMAT, /* STORE_FORMAT; no member */
	FIELD_U64,    /* up to ${max} */
	FIELD_U32,
	FIELD_OCTAL, /* uint32_t */
	FIELD_TIME,
	FIELD_UUID,
	FIELD_UUID_OPT, /* nil: none */
	FIELD_REF,      /* struct layer_ref */
	FIELD_REF_OPT,  /* nil layer: none */
	FIELD_TEXT,     /* percent-encoded; ${max}: the array's size */
	FIELD_TEXT_OPT, /* may be "" */
	FIELD_WORD,     /* an array of char; one of ${words} */
	FIELD_ENUM,     /* the index of one of ${words} */
	FIELD_BOOL,     /* the same, of two */
	FIELD_DIGEST,   /* SHA256_LEN bytes */
	/* Came later than format 1: left out where it is zero. */
	FIELD_LATER_TIME,
	FIELD_LATER_DIGEST,
};

struct field {
	const char *key;
	enum field_type type;
	size_t offset;
	uint64_t max;
	const char *const *words;
};

extern const char *const words_no_yes[];

/* 0 or -EINVAL. */
int fields_put(struct canon_text *t, const struct field *table, size_t n,
	       const void *obj) NONNULL CHECKED;
/* 0 or -EUCLEAN. */
int fields_get(const struct canon *c, const char *section,
	       const struct field *table, size_t n, void *obj) NONNULL CHECKED;

/* Parse; looks at format and incompat before anything else. */
int meta_ini(const char *text, size_t len, const char *section,
	     struct canon **ret) NONNULL CHECKED;
/* -EUCLEAN unless what is in ${t} is ${text}.  Ends ${t}. */
int meta_same(struct canon_text *t, const char *text, size_t len)
    NONNULL CHECKED;

#define META_KNOWN_INCOMPAT 0
#define META_KNOWN_RO_COMPAT 0

/* What the MAC in [seal] covers: from the start up to "[seal]\n". */
int meta_sealed_len(const char *text, size_t len, size_t *ret) NONNULL CHECKED;

/* Against the mac in ${text}: 0 or -EBADMSG. */
int meta_check_mac(const struct key *dk, const char *purpose,
		   const struct uuid *uuid, const char *text, size_t len)
    NONNULL CHECKED;
void meta_put_mac(struct canon_text *t, const uint8_t mac[static MAC_LEN])
    NONNULL;
int meta_get_mac(const struct canon *c, uint8_t ret[static MAC_LEN])
    NONNULL CHECKED;
/* Put [seal] with the MAC of what is in ${t} after it: HMAC-SHA256 under
 * HKDF-SHA256(${dk}, info = ${purpose} | ${uuid}). */
int meta_seal(struct canon_text *t, const struct key *dk, const char *purpose,
	      const struct uuid *uuid) NONNULL CHECKED;

#define PURPOSE_DESCRIPTOR "sealdisk/1 descriptor"
#define PURPOSE_LAYER "sealdisk/1 layer"

/* A size of format.md: a multiple of 512 up to DISK_SIZE_MAX. */
bool meta_size_ok(uint64_t size);

#endif
