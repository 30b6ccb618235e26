/*
 * settings.c - sealdisk.ini.
 *
 * The table below is all there is to a setting: parsing, defaults, bounds, help
 * and the mount options are read from it.  A default that begins with %S or %C
 * lies in the folder for state or for configuration, which are root's own or
 * the user's (XDG base directories).
 */
#include <sealdisk/settings.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>

#include "settings_private.h"

#define FILE_MAX_LEN 65536
#define TiB (UINT64_C(1) << 40)
#define DAY 86400

#define MEMBER(m)                                                              \
	.offset = offsetof(struct settings, m),                                \
	.room = sizeof(((struct settings *)NULL)->m)

/* In the order of struct settings and of the manual. */
static const struct setting table[] = {
	{ "sealdisk", "store", TEXT, MEMBER(store), .dflt = "",
	  .help = "the store that commands work on without -s" },

	{ "mount", "cache_size", SIZE, MEMBER(cache_size), .dflt = "0",
	  .max = TiB, .option = "cache_size",
	  .help =
	      "memory for pages; 0: 64M, or 2 % of memory if that is more" },
	{ "mount", "linger", NUMBER, MEMBER(linger), .dflt = "5", .max = DAY,
	  .option = "linger",
	  .help = "seconds a disk stays attached after its last close" },
	{ "mount", "threads", NUMBER, MEMBER(threads), .dflt = "0", .max = 256,
	  .option = "threads",
	  .help = "threads that serve requests; 0: as many as suit" },
	{ "mount", "keeper", FLAG, MEMBER(keeper), .dflt = "yes",
	  .option = "keeper",
	  .help = "let another process go on where the one that serves dies" },
	{ "mount", "writeback_cache", FLAG, MEMBER(writeback_cache),
	  .dflt = "no", .help = "let the kernel gather small buffered writes" },

	{ "store", "cipher", CHOICE, MEMBER(cipher), .dflt = "aes-256-gcm",
	  .choices = "aes-256-gcm|aes-256-ocb",
	  .help = "what a new store encrypts with" },
	{ "store", "slack", SIZE, MEMBER(slack), .dflt = "1G",
	  .max = 1024 * TiB,
	  .help = "space in a new store kept for work in progress" },
	{ "store", "commit", CHOICE, MEMBER(commit), .dflt = "auto",
	  .choices = "auto|files",
	  .help = "how a new store is synced: as suits it, or file by file" },

	{ "kms", "endpoint", ENDPOINT, MEMBER(kms_endpoint), .dflt = "embedded",
	  .option = "kms",
	  .help = "the key service: embedded, unix:PATH or https://HOST" },
	{ "kms", "region", TEXT, MEMBER(kms_region), .dflt = "local",
	  .help = "the region of the keys" },
	{ "kms", "key", TEXT, MEMBER(kms_key), .dflt = "alias/acs/ecs",
	  .help = "the master key of new disks: an id or an alias" },
	{ "kms", "timeout", NUMBER, MEMBER(kms_timeout), .dflt = "30", .min = 1,
	  .max = 3600, .help = "seconds to wait for an answer" },
	{ "kms", "access_key_file", PATH, MEMBER(kms_access_key_file),
	  .dflt = "", .help = "its id and secret, to sign requests with" },
	{ "kms", "ca_file", PATH, MEMBER(kms_ca_file), .dflt = "",
	  .help = "the certificates to trust; none: those of the system" },
	{ "kms", "key_check_interval", NUMBER, MEMBER(key_check_interval),
	  .dflt = "300", .max = DAY,
	  .help = "seconds between looks at the keys in use; 0: never" },
	{ "kms", "key_in_use", CHOICE, MEMBER(key_in_use), .dflt = "ask",
	  .choices = "ask|refuse",
	  .help = "to disable or delete a key that disks hang on" },

	{ "keystore", "path", PATH, MEMBER(keystore_path),
	  .dflt = "%S/keystore.db", .help = "the embedded keystore" },
	{ "keystore", "root", CHOICE, MEMBER(keystore_root), .dflt = "keyfile",
	  .choices = "keyfile|passphrase|credential|pkcs11",
	  .help = "what unlocks the keystore" },
	{ "keystore", "root_file", PATH, MEMBER(keystore_root_file),
	  .dflt = "%C/root.key", .help = "the key file of root = keyfile" },
	{ "keystore", "credential", TEXT, MEMBER(keystore_credential),
	  .dflt = "sealdisk.root",
	  .help = "the systemd credential: the root, or a token's PIN" },
	{ "keystore", "passphrase_fd", TEXT, MEMBER(keystore_passphrase_fd),
	  .dflt = "", .option = "passphrase_fd",
	  .help = "the descriptor to read passphrase or PIN from; none: ask" },
	{ "keystore", "pkcs11_module", PATH, MEMBER(keystore_pkcs11_module),
	  .dflt = "", .help = "the PKCS#11 module of root = pkcs11" },
	{ "keystore", "pkcs11_token", TEXT, MEMBER(keystore_pkcs11_token),
	  .dflt = "", .help = "its token: a label or serial number" },
	{ "keystore", "pkcs11_key", TEXT, MEMBER(keystore_pkcs11_key),
	  .dflt = "sealdisk", .help = "the label of new keys in the token" },
	{ "keystore", "audit", PATH, MEMBER(keystore_audit), .dflt = "auto",
	  .choices = "auto|none",
	  .help =
	      "the audit log's folder; auto: beside the keystore; or none" },
	{ "keystore", "max_keys", NUMBER, MEMBER(keystore_max_keys),
	  .dflt = "200", .max = UINT32_MAX,
	  .help = "master keys that customers may make; 0: any number" },
	{ "keystore", "max_aliases", NUMBER, MEMBER(keystore_max_aliases),
	  .dflt = "300", .max = UINT32_MAX,
	  .help = "aliases that they may make; 0: any number" },
	{ "keystore", "max_versions", NUMBER, MEMBER(keystore_max_versions),
	  .dflt = "50", .max = UINT32_MAX,
	  .help = "versions that a key may have; 0: any number" },
	{ "keystore", "max_calls", NUMBER, MEMBER(keystore_max_calls),
	  .dflt = "1000", .max = 1000000,
	  .help = "of kmsd: uses of keys a second, of each kind and caller" },
	{ "keystore", "max_reencrypts", NUMBER, MEMBER(keystore_max_reencrypts),
	  .dflt = "750", .max = 1000000,
	  .help = "of kmsd: ReEncrypts a second, of each caller" },
	{ "keystore", "max_other_calls", NUMBER,
	  MEMBER(keystore_max_other_calls), .dflt = "0", .max = 1000000,
	  .help = "of kmsd: other calls a second, of each caller" },

	{ "instance", "id", TEXT, MEMBER(instance_id), .dflt = "",
	  .help = "DKMSInstanceId of keys that stay in a token; none" },
	{ "instance", "module", PATH, MEMBER(instance_module), .dflt = "",
	  .help = "its PKCS#11 module" },
	{ "instance", "token", TEXT, MEMBER(instance_token), .dflt = "",
	  .help = "its token: a label or serial number" },
	{ "instance", "credential", TEXT, MEMBER(instance_credential),
	  .dflt = "sealdisk.instance",
	  .help = "the systemd credential that holds its PIN" },
};
#define NSETTINGS (sizeof(table) / sizeof(table[0]))

int
settings_wrong(char **ret_msg, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_msg, fmt, ap) < 0)
		*ret_msg = NULL;
	va_end(ap);
	return -EINVAL;
}

/* Values. */

static int
set_number(void *p, const struct setting *t, const char *value, char **ret_msg)
{
	uint64_t v;
	int r = t->kind == SIZE ? parse_size(value, &v) : parse_u64(value, &v);

	if (r == -EINVAL && t->kind == SIZE)
		return settings_wrong(
		    ret_msg, "\"%s\" is not a size such as 64M", value);
	if (r == -EINVAL)
		return settings_wrong(ret_msg, "\"%s\" is not a whole number",
				      value);
	if (r < 0 || v < t->min || v > t->max)
		return settings_wrong(ret_msg, "%s is not from %llu to %llu",
				      value, (unsigned long long)t->min,
				      (unsigned long long)t->max);
	memcpy(p, &v, sizeof(v));
	return 0;
}

static int
set_flag(void *p, const char *value, char **ret_msg)
{
	static const char *const words[][2] = {
		{ "no", "yes" },
		{ "false", "true" },
		{ "off", "on" },
		{ "0", "1" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (int on = 0; on < 2; on++)
			if (strcmp(value, words[i][on]) == 0) {
				*(bool *)p = on;
				return 0;
			}
	return settings_wrong(ret_msg, "\"%s\" is neither yes nor no", value);
}

static bool
is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	while (*choices) {
		size_t n = strcspn(choices, "|");

		if (n == len && memcmp(choices, value, n) == 0)
			return true;
		choices += n + (choices[n] == '|');
	}
	return false;
}

static bool
is_endpoint(const char *value)
{
	static const char https[] = "https://";

	if (strcmp(value, "embedded") == 0 || strncmp(value, "unix:/", 6) == 0)
		return true;
	return strncmp(value, https, sizeof(https) - 1) == 0 &&
	       value[sizeof(https) - 1] != '\0';
}

static int
set_text(void *p, const struct setting *t, const char *value, char **ret_msg)
{
	size_t len = strlen(value);

	if (len == 0 && t->dflt[0] != '\0')
		return settings_wrong(ret_msg, "must not be empty");
	if (len >= t->room)
		return settings_wrong(ret_msg, "longer than %zu bytes",
				      t->room - 1);
	if (text_has_control(value) || !utf8_valid(value, len))
		return settings_wrong(ret_msg, "not plain UTF-8 text");
	if (t->kind == CHOICE && !is_choice(t->choices, value))
		return settings_wrong(ret_msg, "\"%s\" is not one of %s", value,
				      t->choices);
	if (t->kind == PATH && len > 0 && value[0] != '/' &&
	    !(t->choices && is_choice(t->choices, value)))
		return settings_wrong(ret_msg, "\"%s\" is not an absolute path",
				      value);
	if (t->kind == ENDPOINT && !is_endpoint(value))
		return settings_wrong(ret_msg,
				      "\"%s\" is not embedded, unix:/PATH or "
				      "https://HOST[:PORT]",
				      value);
	memcpy(p, value, len + 1);
	return 0;
}

int
settings_set_value(void *base, const struct setting *t, const char *value,
		   char **ret_msg)
{
	void *p = (char *)base + t->offset;

	switch (t->kind) {
	case NUMBER:
	case SIZE:
		return set_number(p, t, value, ret_msg);
	case FLAG:
		return set_flag(p, value, ret_msg);
	default:
		return set_text(p, t, value, ret_msg);
	}
}

/* A default as text.  A user without a home has none for paths: "". */
static void
expand_default(const struct setting *t, char out[static SETTING_MAX])
{
	int r = 0;

	if (strncmp(t->dflt, "%S", 2) == 0)
		r = settings_state_path(t->dflt + 2, out);
	else if (strncmp(t->dflt, "%C", 2) == 0)
		r = settings_config_path(t->dflt + 2, out);
	else
		strcpy(out, t->dflt);
	if (r < 0)
		out[0] = '\0';
}

/* Looking up. */

static const struct setting *
find_key(const char *section, const char *key)
{
	for (size_t i = 0; i < NSETTINGS; i++)
		if (strcmp(table[i].section, section) == 0 &&
		    strcmp(table[i].key, key) == 0)
			return &table[i];
	return NULL;
}

static const struct setting *
find_option(const char *name)
{
	for (size_t i = 0; i < NSETTINGS; i++)
		if (table[i].option && strcmp(table[i].option, name) == 0)
			return &table[i];
	return NULL;
}

static const struct setting *
find_name(const char *name)
{
	const char *dot = strchr(name, '.');
	size_t len = dot ? (size_t)(dot - name) : 0;

	if (!dot)
		return find_option(name);
	for (size_t i = 0; i < NSETTINGS; i++)
		if (strlen(table[i].section) == len &&
		    memcmp(table[i].section, name, len) == 0 &&
		    strcmp(table[i].key, dot + 1) == 0)
			return &table[i];
	return NULL;
}

static bool
is_section(const char *section)
{
	for (size_t i = 0; i < NSETTINGS; i++)
		if (strcmp(table[i].section, section) == 0)
			return true;
	return false;
}

/* The file. */

struct loading {
	struct settings *s;
	char **ret_msg; /* "LINE: what", as ini_parse says it */
};

static int
load_section(const struct ini_entry *e, char **ret_msg)
{
	if (is_section(e->section))
		return 0;
	return settings_wrong(ret_msg, "%u: there is no section [%s]", e->line,
			      e->section);
}

static int
load_entry(const struct ini_entry *e, void *arg)
{
	struct loading *l = arg;
	CLEANUP(free_memp) char *why = NULL;
	const struct setting *t;

	if (strncmp(e->section, "kms ", 4) == 0) {
		if (settings_further(l->s, e, &why) == 0)
			return 0;
		return settings_wrong(l->ret_msg, "%u: [%s]%s%s: %s", e->line,
				      e->section, e->key ? " " : "",
				      e->key ? e->key : "",
				      why ? why : "wrong");
	}
	if (!e->key)
		return load_section(e, l->ret_msg);
	t = find_key(e->section, e->key);
	if (!t)
		return settings_wrong(l->ret_msg, "%u: [%s] has no key \"%s\"",
				      e->line, e->section, e->key);
	if (settings_set_value(l->s, t, e->value, &why) < 0)
		return settings_wrong(l->ret_msg, "%u: [%s] %s: %s", e->line,
				      e->section, e->key, why ? why : "wrong");
	return 0;
}

static int
load_file(struct settings *s, const char *path, char **ret_msg)
{
	CLEANUP(free_memp) char *text = NULL;
	CLEANUP(free_memp) char *why = NULL;
	struct loading l = { s, &why };
	size_t len;
	int r;

	r = io_load(AT_FDCWD, path, FILE_MAX_LEN, &text, &len);
	if (r == 0)
		r = ini_parse(text, len, load_entry, &l, &why);
	if (r < 0 && why)
		(void)settings_wrong(ret_msg, "%s:%s", path, why);
	else if (r < 0)
		(void)settings_wrong(ret_msg, "%s: %s", path, strerror(-r));
	return r;
}

/*
 * Which file to read; "" where none is there and none was named.  One that was
 * named and is not there is left for load_file() to find out.
 */
static int
choose_file(const char *path, char out[static SETTING_MAX], char **ret_msg)
{
	const char *env = getenv("SEALDISK_CONFIG");

	if (!path && env && *env)
		path = env;
	if (path) {
		if (strlen(path) >= SETTING_MAX)
			return settings_wrong(ret_msg,
					      "%s: the path is too long", path);
		strcpy(out, path);
		return 0;
	}
	if (settings_config_path("/sealdisk.ini", out) < 0 ||
	    (access(out, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR)))
		out[0] = '\0';
	return 0;
}

void
settings_default(struct settings *s)
{
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < NSETTINGS; i++) {
		CLEANUP(free_memp) char *ignored = NULL;
		char value[SETTING_MAX];

		/* The table is right; what can fail is a user without home. */
		expand_default(&table[i], value);
		(void)!settings_set_value(s, &table[i], value, &ignored);
	}
}

int
settings_load(struct settings *s, const char *path, char **ret_msg)
{
	struct settings loaded;
	int r;

	*ret_msg = NULL;
	settings_default(&loaded);
	r = choose_file(path, loaded.file, ret_msg);
	if (r == 0 && loaded.file[0])
		r = load_file(&loaded, loaded.file, ret_msg);
	if (r < 0)
		return r;
	*s = loaded;
	return 0;
}

int
settings_set(struct settings *s, const char *name, const char *value,
	     char **ret_msg)
{
	const struct setting *t = find_name(name);
	CLEANUP(free_memp) char *why = NULL;

	*ret_msg = NULL;
	if (!t)
		return settings_wrong(ret_msg, "there is no setting \"%s\"",
				      name);
	if (settings_set_value(s, t, value, &why) < 0)
		return settings_wrong(ret_msg, "%s: %s", name,
				      why ? why : "wrong");
	return 0;
}

bool
settings_is_mount_option(const char *name)
{
	return find_option(name) != NULL;
}

void
settings_each(void (*fn)(const char *section, const char *key, const char *dflt,
			 const char *help, void *arg),
	      void *arg)
{
	for (size_t i = 0; i < NSETTINGS; i++) {
		char dflt[SETTING_MAX];

		expand_default(&table[i], dflt);
		fn(table[i].section, table[i].key, dflt, table[i].help, arg);
	}
}
