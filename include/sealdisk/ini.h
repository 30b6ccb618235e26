/*
 * ini.h - INI files, read with iniparser and without its surprises.
 *
 * iniparser 4.1 lets the last of two equal keys win, cuts a value at a `;` or
 * `#`, joins lines that end in a backslash, and takes what it cannot read for
 * something else.  Here each of these is an error that names its line:
 *
 *   - a section or key is letters, digits, `_`, `-`, `.`; a section blanks too
 *   - a key stands in a section, and once
 *   - a value is plain, or whole in "..." or '...'; in a plain one `;` and `#`
 *     begin a comment after a blank, and are refused elsewhere
 *   - a line has at most 1022 bytes of UTF-8, and no control character
 *
 * Sections and keys are reported in lower case.  Any thread.
 */
#ifndef SEALDISK_INI_H
#define SEALDISK_INI_H

#include <stddef.h>

#include <sealdisk/cleanup.h>

#define INI_ENTRIES_MAX 256

struct ini_entry {
	const char *section;
	const char *key;   /* NULL: this is the head of the section */
	const char *value; /* without its quotes */
	unsigned line;     /* counted from 1 */
};

/**
 * ini_parse(text, len, fn, arg, ret_msg):
 * Call ${fn} for each section and key of ${text}, in order; it returns 0 to go
 * on, else its value is returned.  It is not called before the whole text is
 * known to be well formed.
 *
 * -EINVAL  malformed; *${ret_msg} (malloc'ed, the caller's) says "LINE: what"
 */
int ini_parse(const char *text, size_t len,
	      int (*fn)(const struct ini_entry *e, void *arg), void *arg,
	      char **ret_msg) __attribute__((__nonnull__(1, 3, 5))) CHECKED;

#endif
