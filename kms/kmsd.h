/*
 * kmsd.h - what the files of the program `kmsd` share.
 *
 * A command returns 0, or KMSD_USAGE or a negative errno after it has said in
 * one line on standard error what went wrong; main() makes the exit status of
 * it, which is as sealdisk(1) has it.
 */
#ifndef SEALDISK_KMS_KMSD_H
#define SEALDISK_KMS_KMSD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/settings.h>

#include "server.h"

#define KMSD_USAGE 1

/* kmsd.ini: [kmsd], and [keystore] as in sealdisk.ini. */
struct kmsd_settings {
	struct settings s;        /* keystore, region */
	char listen[SETTING_MAX]; /* addresses, blanks between */
	char tls_cert[SETTING_MAX];
	char tls_key[SETTING_MAX];
	char user[64];
	char socket_group[64];
	uint64_t socket_mode; /* written in octal */
	uint64_t threads;
	uint64_t connections;
	uint64_t connections_per_address;
	uint64_t timeout; /* seconds */
	uint64_t nonces;
};

/**
 * kmsd_settings_load(c, path, ret_msg):
 * Defaults, then ${path}, or where that is NULL, $KMSD_CONFIG, or kmsd.ini in
 * the configuration's folder, which need not exist.  On error *${ret_msg}
 * (malloc'ed, the caller's) is one line.
 */
int kmsd_settings_load(struct kmsd_settings *c, const char *path,
		       char **ret_msg) __attribute__((__nonnull__(1, 3)))
CHECKED;

/* The table, for help and the manual. */
void kmsd_settings_each(void (*fn)(const char *key, const char *dflt,
				   const char *help, void *arg),
			void *arg);

/* The addresses in ${listen}.  -EINVAL, said. */
int kmsd_addresses(const char *listen,
		   struct listen_address ret[static SERVER_LISTEN_MAX],
		   size_t *ret_n) NONNULL CHECKED;

/* What the options before and after a command say. */
struct kmsd_globals {
	const char *config;
	const char *passphrase_fd;
	bool json, yes;
};
extern struct kmsd_globals kmsd_globals;

struct kmsd_command {
	const char *name; /* "access-key create"; NULL: the end */
	int (*run)(int argc, char **argv);
	int min_args, max_args;
	const char *synopsis, *summary;
	const char *more; /* lines, or NULL */
};

/* An option of one command: with a value, with up to SERVER_LISTEN_MAX values,
 * or a switch. */
struct kmsd_option {
	const char *name; /* without its dashes; NULL: the end */
	const char **value;
	size_t *n; /* NULL: one value */
	bool *flag;
};

/* Take the options out of the arguments; what is left are argv[0] to
 * argv[argc - 1].  ${own} may be NULL. */
int kmsd_parse(int *argc, char ***argv, const struct kmsd_option *own)
    __attribute__((__nonnull__(1, 2))) CHECKED;

/* The settings that the options name; what is wrong was said. */
int kmsd_load(struct kmsd_settings *ret) NONNULL CHECKED;
__attribute__((__format__(__printf__, 1, 2))) int kmsd_usage(const char *fmt,
							     ...);
/* "what: why", and ${err} itself. */
__attribute__((__format__(__printf__, 3, 4))) int
kmsd_fail(int err, const char *hint, const char *fmt, ...);

/* kmsd_keystore.c: while nobody serves the keystore. */
int kmsd_init(int argc, char **argv);
int kmsd_restore(int argc, char **argv);
int kmsd_change_root(int argc, char **argv);
/* kmsd_admin.c: whether it is served or not. */
int kmsd_access_create(int argc, char **argv);
int kmsd_access_disable(int argc, char **argv);
int kmsd_access_enable(int argc, char **argv);
int kmsd_access_ls(int argc, char **argv);
int kmsd_access_rm(int argc, char **argv);
int kmsd_audit_verify(int argc, char **argv);
int kmsd_backup(int argc, char **argv);
int kmsd_policy_get(int argc, char **argv);
int kmsd_policy_ls(int argc, char **argv);
int kmsd_policy_rm(int argc, char **argv);
int kmsd_policy_set(int argc, char **argv);
int kmsd_usage_show(int argc, char **argv);
/* kmsd_serve.c */
int kmsd_serve(int argc, char **argv);

#endif
