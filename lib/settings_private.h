/*
 * settings_private.h - what a setting is, and how one is set.
 */
#ifndef SEALDISK_LIB_SETTINGS_PRIVATE_H
#define SEALDISK_LIB_SETTINGS_PRIVATE_H

#include <sealdisk/ini.h>
#include <sealdisk/settings.h>

enum kind {
	NUMBER,   /* min to max */
	SIZE,     /* the same, in bytes, with a suffix */
	FLAG,     /* yes or no */
	TEXT,     /* anything */
	CHOICE,   /* one of choices */
	PATH,     /* absolute, or one of choices */
	ENDPOINT, /* of a KMS */
};

struct setting {
	const char *section, *key;
	enum kind kind;
	size_t offset, room; /* of the member of struct settings */
	const char *dflt;
	uint64_t min, max;
	const char *choices; /* "a|b" */
	const char *option;  /* the name as a mount option, or NULL */
	const char *help;
};

/* -EINVAL; *${ret_msg} is one malloc'ed line, or NULL when there is no memory.
 */
__attribute__((__format__(__printf__, 2, 3))) int
settings_wrong(char **ret_msg, const char *fmt, ...);

/* Set the member of ${base} that ${t} is about; *${ret_msg} says what is wrong
 * with the value alone. */
int settings_set_value(void *base, const struct setting *t, const char *value,
		       char **ret_msg) NONNULL CHECKED;

/* settings_places.c: in the folder for configuration, and that for state;
 * ${rest} begins with a slash.  -ENOENT: a user without a home. */
int settings_config_path(const char *rest, char out[static SETTING_MAX])
    NONNULL CHECKED;
int settings_state_path(const char *rest, char out[static SETTING_MAX])
    NONNULL CHECKED;

/* settings_kms.c: a line of a section [kms NAME].  -EINVAL as above. */
int settings_further(struct settings *s, const struct ini_entry *e,
		     char **ret_msg) NONNULL CHECKED;

#endif
