/*
 * canon.h - INI text that has one form only: descriptors and their like.
 *
 * A reader of INI is lenient with white space, comments, quotes and what it
 * does not know.  So whoever reads such a text writes again what was
 * understood, and refuses a text that does not come out the same, byte for
 * byte.
 *
 * Written by struct canon_text, read by lib/ini.c.  No secret may pass here,
 * for nothing is wiped.  Any thread.
 */
#ifndef SEALDISK_CANON_H
#define SEALDISK_CANON_H

#include <stddef.h>

#include <sealdisk/cleanup.h>

#define CANON_VALUE_MAX 960 /* bytes, with the NUL; leaves room for the key */

struct canon;

/* -EUCLEAN: not well formed. */
int canon_parse(const char *text, size_t len, struct canon **ret)
    NONNULL CHECKED;
void canon_free(struct canon *c);
DEFINE_CLEANUP(struct canon, canon_free)

/* The value, or NULL.  It lives as long as ${c}. */
const char *canon_get(const struct canon *c, const char *section,
		      const char *key) NONNULL;

/* Text in the making.  What goes wrong is kept, and told by canon_finish(). */
struct canon_text {
	char *buf;
	size_t len, cap;
	int err;
};

void canon_blank(struct canon_text *t) NONNULL; /* an empty line */
void canon_section(struct canon_text *t, const char *name) NONNULL;
void canon_put(struct canon_text *t, const char *key, const char *fmt, ...)
    __attribute__((__format__(__printf__, 3, 4), __nonnull__));
/* The text (malloc'ed, ends with a NUL) goes to the caller, and ${t} is empty
 * again.  -ENOMEM, -EMSGSIZE. */
int canon_finish(struct canon_text *t, char **ret) NONNULL CHECKED;
void canon_text_done(struct canon_text *t);

/**
 * canon_encode(s, out, cap):
 * Any text as a value: bytes above 0x7f, letters, digits and . _ : / @ + - stay
 * as they are, all others (and a - at the start) become %XX.  Empty is "-".
 *
 * -EMSGSIZE  ${cap} is too small
 */
int canon_encode(const char *s, char *out, size_t cap) NONNULL CHECKED;
/* -EINVAL also for %00. */
int canon_decode(const char *s, char *out, size_t cap) NONNULL CHECKED;

#endif
