/*
 * settings.h - sealdisk.ini (and later kmsd.ini): one table says what there is.
 *
 * A file is read with iniparser as strings only and parsed strictly here: an
 * unknown section or key, a repeated key, a value of the wrong form or out of
 * bounds is one clear line and -EINVAL.  The table gives type, default, bounds
 * and help, and is what `sealdisk help config` and the manual's list come of.
 */
#ifndef SEALDISK_SETTINGS_H
#define SEALDISK_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#define SETTING_MAX 1024 /* bytes of a text value, with its NUL */

#define KMS_SERVICES_MAX 8 /* beside [kms] */

/* A section [kms NAME]. */
struct settings_kms {
	char name[32];
	char endpoint[SETTING_MAX];
	char region[64];
	uint64_t timeout; /* seconds */
	char access_key_file[SETTING_MAX];
	char ca_file[SETTING_MAX];
};

struct settings {
	/* [sealdisk] */
	char store[SETTING_MAX];
	/* [mount] */
	uint64_t cache_size; /* bytes; 0: 64 MiB or 2 % of memory */
	uint64_t linger;     /* seconds */
	uint64_t threads;    /* 0: as many as suit the machine */
	bool keeper;         /* a daemon that dies is followed by another */
	bool writeback_cache;
	/* [store]: what `init` writes into store.ini */
	char cipher[32];
	uint64_t slack;  /* bytes */
	char commit[16]; /* auto | files */
	/* [kms] */
	char kms_endpoint[SETTING_MAX]; /* embedded | unix:PATH | https://... */
	char kms_region[64];
	char kms_key[256];    /* default CMK: id or alias */
	uint64_t kms_timeout; /* seconds */
	char kms_access_key_file[SETTING_MAX];
	char kms_ca_file[SETTING_MAX];
	uint64_t key_check_interval; /* seconds */
	char key_in_use[16];         /* ask | refuse */
	/* [keystore] */
	char keystore_path[SETTING_MAX];
	char keystore_root[16]; /* keyfile|passphrase|credential|pkcs11 */
	char keystore_root_file[SETTING_MAX];
	char keystore_credential[64];    /* its name */
	char keystore_passphrase_fd[16]; /* a number; "": the terminal */
	char keystore_pkcs11_module[SETTING_MAX];
	char keystore_pkcs11_token[64];   /* label or serial number */
	char keystore_pkcs11_key[64];     /* label of new keys */
	char keystore_audit[SETTING_MAX]; /* auto | none | a folder */
	uint64_t keystore_max_keys;       /* these three: 0: any number */
	uint64_t keystore_max_aliases;
	uint64_t keystore_max_versions; /* of a key */
	/* Of kmsd, a second, for each principal; 0: as many as come. */
	uint64_t keystore_max_calls;
	uint64_t keystore_max_reencrypts;
	uint64_t keystore_max_other_calls;
	/* [instance]: an HSM that keeps keys of its own */
	char instance_id[64]; /* "": there is none */
	char instance_module[SETTING_MAX];
	char instance_token[64];
	char instance_credential[64]; /* its PIN's */
	/* [kms NAME] */
	struct settings_kms kms_further[KMS_SERVICES_MAX];
	size_t n_kms_further;
	/* where they came from: a path, or "" for defaults alone */
	char file[SETTING_MAX];
};

/* Defaults; paths depend on whether this is root (cli.md, sealdisk.ini). */
void settings_default(struct settings *s) NONNULL;

/**
 * settings_load(s, path, ret_msg):
 * Defaults, then ${path}, or where that is NULL: $SEALDISK_CONFIG, else for
 * root /etc/sealdisk/sealdisk.ini, for others
 * $XDG_CONFIG_HOME/sealdisk/sealdisk.ini (or ~/.config).  A file that was named
 * must exist; the others need not.
 * On error *${ret_msg} (malloc'ed, the caller's) is one line: file, section,
 * key, what is wrong with it.
 */
int settings_load(struct settings *s, const char *path, char **ret_msg)
    __attribute__((__nonnull__(1, 3))) CHECKED;

/* Set one value as text, by "section.key" or a bare mount option name such as
 * "linger", "kms", "cache_size", "threads".  -EINVAL as for a file. */
int settings_set(struct settings *s, const char *name, const char *value,
		 char **ret_msg) NONNULL CHECKED;

/* Let [kms] of ${s} be what [kms NAME] with index ${i} is; there are no further
 * ones then. */
void settings_use_kms(struct settings *s, size_t i) NONNULL;

/* Whether a key can be given as a mount option (-o NAME=VALUE). */
bool settings_is_mount_option(const char *name) NONNULL;

/* The table, for help and the manual: calls ${fn} for every key in order. */
void settings_each(void (*fn)(const char *section, const char *key,
			      const char *dflt, const char *help, void *arg),
		   void *arg);

#endif
