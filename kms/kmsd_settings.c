/*
 * kmsd_settings.c - kmsd.ini.
 *
 * A table of what is kmsd's own; [keystore] and the like go to settings.h,
 * which knows them.
 */
#include "kmsd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/ini.h>
#include <sealdisk/io.h>

#define FILE_MAX_LEN 65536

enum kind { NUMBER, MODE, TEXT, PATH };

struct setting {
	const char *key;
	enum kind kind;
	size_t offset, room;
	const char *dflt;
	uint64_t min, max;
	const char *help;
};

#define MEMBER(m)                                                              \
	.offset = offsetof(struct kmsd_settings, m),                           \
	.room = sizeof(((struct kmsd_settings *)NULL)->m)

/* In the order of the manual. */
static const struct setting table[] = {
	{ "listen", TEXT, MEMBER(listen), .dflt = "unix:/run/kmsd/kmsd.sock",
	  .help = "unix:PATH, HOST:PORT (TLS), http:127.0.0.1:PORT; several" },
	{ "tls_cert", PATH, MEMBER(tls_cert), .dflt = "",
	  .help = "the server's certificate and those above it, PEM" },
	{ "tls_key", PATH, MEMBER(tls_key), .dflt = "",
	  .help = "its private key, PEM" },
	{ "user", TEXT, MEMBER(user), .dflt = "",
	  .help = "who to become once all is open" },
	{ "socket_mode", MODE, MEMBER(socket_mode), .dflt = "0666", .max = 0777,
	  .help = "the mode of Unix sockets: who may connect" },
	{ "socket_group", TEXT, MEMBER(socket_group), .dflt = "",
	  .help = "the group of Unix sockets" },
	{ "threads", NUMBER, MEMBER(threads), .dflt = "0", .max = 1024,
	  .help = "threads of each address; 0: four for each processor" },
	{ "connections", NUMBER, MEMBER(connections), .dflt = "512", .min = 1,
	  .max = 65536, .help = "connections of each address" },
	{ "connections_per_address", NUMBER, MEMBER(connections_per_address),
	  .dflt = "64", .min = 1, .max = 65536,
	  .help = "connections from one address of a client" },
	{ "timeout", NUMBER, MEMBER(timeout), .dflt = "30", .min = 1,
	  .max = 3600,
	  .help = "seconds that a client has for a request, or between two" },
	{ "nonces", NUMBER, MEMBER(nonces), .dflt = "2000000", .min = 1000,
	  .max = 100000000,
	  .help = "signed requests that are remembered, of 15 minutes" },
};
#define NSETTINGS (sizeof(table) / sizeof(table[0]))

/* Where they are otherwise than in sealdisk.ini. */
static const struct {
	const char *name, *dflt;
} places[] = {
	{ "keystore.path", LOCALSTATEDIR "/lib/kmsd/keystore.db" },
	{ "keystore.root_file", SYSCONFDIR "/sealdisk/kmsd.key" },
};
#define NPLACES (sizeof(places) / sizeof(places[0]))

__attribute__((__format__(__printf__, 2, 3))) static int
wrong(char **ret_msg, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_msg, fmt, ap) < 0)
		*ret_msg = NULL;
	va_end(ap);
	return -EINVAL;
}

static int
set_number(void *p, const struct setting *t, const char *value, char **ret_msg)
{
	uint64_t v;

	if (parse_u64(value, &v) < 0 || v < t->min || v > t->max)
		return wrong(ret_msg, "\"%s\" is not from %llu to %llu", value,
			     (unsigned long long)t->min,
			     (unsigned long long)t->max);
	memcpy(p, &v, sizeof(v));
	return 0;
}

static int
set_mode(void *p, const char *value, char **ret_msg)
{
	uint64_t v = 0;
	size_t len = strlen(value);

	if (len < 3 || len > 4 || strspn(value, "01234567") != len ||
	    (len == 4 && value[0] != '0'))
		return wrong(ret_msg, "\"%s\" is not a mode such as 0660",
			     value);
	for (; *value; value++)
		v = v * 8 + (uint64_t)(*value - '0');
	memcpy(p, &v, sizeof(v));
	return 0;
}

static int
set_value(struct kmsd_settings *c, const struct setting *t, const char *value,
	  char **ret_msg)
{
	void *p = (char *)c + t->offset;
	size_t len = strlen(value);

	if (t->kind == NUMBER)
		return set_number(p, t, value, ret_msg);
	if (t->kind == MODE)
		return set_mode(p, value, ret_msg);
	if (len >= t->room)
		return wrong(ret_msg, "longer than %zu bytes", t->room - 1);
	if (t->kind == PATH && len > 0 && value[0] != '/')
		return wrong(ret_msg, "\"%s\" is not an absolute path", value);
	memcpy(p, value, len + 1);
	return 0;
}

/* [kmsd]; its region is that of the keys. */
static int
set_own(struct kmsd_settings *c, const char *key, const char *value,
	char **ret_msg)
{
	if (strcmp(key, "region") == 0)
		return settings_set(&c->s, "kms.region", value, ret_msg);
	for (size_t i = 0; i < NSETTINGS; i++)
		if (strcmp(table[i].key, key) == 0)
			return set_value(c, &table[i], value, ret_msg);
	return wrong(ret_msg, "there is no setting \"%s\"", key);
}

/* Those parts of sealdisk.ini that say nothing here. */
static bool
is_foreign(const char *section)
{
	static const char *const foreign[] = { "sealdisk", "mount", "store",
					       "kms" };

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		if (strcmp(foreign[i], section) == 0)
			return true;
	return strncmp(section, "kms ", 4) == 0;
}

static int
set_shared(struct kmsd_settings *c, const struct ini_entry *e, char **ret_msg)
{
	char name[256];

	if (is_foreign(e->section))
		return wrong(ret_msg, "this section is for sealdisk.ini");
	(void)snprintf(name, sizeof(name), "%s.%s", e->section, e->key);
	return settings_set(&c->s, name, e->value, ret_msg);
}

struct loading {
	struct kmsd_settings *c;
	char **ret_msg;
};

static int
load_entry(const struct ini_entry *e, void *arg)
{
	CLEANUP(free_memp) char *why = NULL;
	struct loading *l = arg;
	int r;

	if (!e->key)
		return 0;
	if (strcmp(e->section, "kmsd") == 0)
		r = set_own(l->c, e->key, e->value, &why);
	else
		r = set_shared(l->c, e, &why);
	if (r == 0)
		return 0;
	return wrong(l->ret_msg, "%u: [%s] %s: %s", e->line, e->section, e->key,
		     why ? why : "wrong");
}

static int
load_file(struct kmsd_settings *c, const char *path, char **ret_msg)
{
	CLEANUP(free_memp) char *text = NULL;
	CLEANUP(free_memp) char *why = NULL;
	struct loading l = { c, &why };
	size_t len;
	int r;

	r = io_load(AT_FDCWD, path, FILE_MAX_LEN, &text, &len);
	if (r == 0)
		r = ini_parse(text, len, load_entry, &l, &why);
	if (r < 0 && why)
		(void)wrong(ret_msg, "%s:%s", path, why);
	else if (r < 0)
		(void)wrong(ret_msg, "%s: %s", path, strerror(-r));
	return r;
}

static int
set_defaults(struct kmsd_settings *c, char **ret_msg)
{
	int r = 0;

	memset(c, 0, sizeof(*c));
	settings_default(&c->s);
	for (size_t i = 0; i < NSETTINGS && r == 0; i++)
		r = set_value(c, &table[i], table[i].dflt, ret_msg);
	for (size_t i = 0; i < NPLACES && r == 0; i++)
		r = settings_set(&c->s, places[i].name, places[i].dflt,
				 ret_msg);
	return r;
}

int
kmsd_settings_load(struct kmsd_settings *c, const char *path, char **ret_msg)
{
	static const char usual[] = SYSCONFDIR "/sealdisk/kmsd.ini";
	const char *env = getenv("KMSD_CONFIG");
	int r;

	*ret_msg = NULL;
	r = set_defaults(c, ret_msg);
	if (r < 0)
		return r;
	if (!path && env && *env)
		path = env;
	if (!path && access(usual, F_OK) < 0)
		return 0;
	if (!path)
		path = usual;
	if (strlen(path) >= sizeof(c->s.file))
		return wrong(ret_msg, "%s: the path is too long", path);
	strcpy(c->s.file, path);
	return load_file(c, path, ret_msg);
}

void
kmsd_settings_each(void (*fn)(const char *key, const char *dflt,
			      const char *help, void *arg),
		   void *arg)
{
	for (size_t i = 0; i < NSETTINGS; i++)
		fn(table[i].key, table[i].dflt, table[i].help, arg);
	fn("region", "local", "the region of the keys", arg);
}

int
kmsd_addresses(const char *listen,
	       struct listen_address ret[static SERVER_LISTEN_MAX],
	       size_t *ret_n)
{
	size_t n = 0;

	for (listen += strspn(listen, " "); *listen;
	     listen += strspn(listen, " ")) {
		size_t len = strcspn(listen, " ");
		char one[SETTING_MAX];

		if (n == SERVER_LISTEN_MAX)
			return kmsd_usage("more than %d addresses to listen on",
					  SERVER_LISTEN_MAX);
		(void)snprintf(one, sizeof(one), "%.*s", (int)len, listen);
		if (listen_parse(one, &ret[n++]) < 0)
			return kmsd_usage("\"%s\" is not unix:/PATH, HOST:PORT "
					  "or http:HOST:PORT",
					  one);
		listen += len;
	}
	if (n == 0)
		return kmsd_usage("there is no address to listen on");
	*ret_n = n;
	return 0;
}
