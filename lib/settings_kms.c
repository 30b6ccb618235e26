/*
 * settings_kms.c - sections [kms NAME]: further key services.
 *
 * Each has the keys of [kms] that say where a service is and how it is spoken
 * to; what one does not say is as in the table's defaults there.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>

#include "settings_private.h"

#define MEMBER(m)                                                              \
	.offset = offsetof(struct settings_kms, m),                            \
	.room = sizeof(((struct settings_kms *)NULL)->m)

static const struct setting table[] = {
	{ "kms", "endpoint", ENDPOINT, MEMBER(endpoint), .dflt = "embedded" },
	{ "kms", "region", TEXT, MEMBER(region), .dflt = "local" },
	{ "kms", "timeout", NUMBER, MEMBER(timeout), .dflt = "30", .min = 1,
	  .max = 3600 },
	{ "kms", "access_key_file", PATH, MEMBER(access_key_file), .dflt = "" },
	{ "kms", "ca_file", PATH, MEMBER(ca_file), .dflt = "" },
};
#define NSETTINGS (sizeof(table) / sizeof(table[0]))

/* What a descriptor can have in its field `kms`.  "default" is [kms]; "acs"
 * would make an ARN look like a key of it. */
static bool
is_name(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789"
				      "_-";
	size_t len = strspn(s, allowed);

	return len > 0 && len < sizeof(((struct settings_kms *)NULL)->name) &&
	       s[len] == '\0' && strcmp(s, "default") != 0 &&
	       strcmp(s, "acs") != 0;
}

static struct settings_kms *
find(struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->n_kms_further; i++)
		if (strcmp(s->kms_further[i].name, name) == 0)
			return &s->kms_further[i];
	return NULL;
}

static int
add(struct settings *s, const char *name, char **ret_msg)
{
	struct settings_kms k = { .name = "" };
	int r = 0;

	if (find(s, name))
		return 0; /* goes on */
	if (!is_name(name))
		return settings_wrong(ret_msg,
				      "a key service has a name of a-z, 0-9, _ "
				      "and -, not default or acs");
	if (s->n_kms_further == KMS_SERVICES_MAX)
		return settings_wrong(ret_msg, "more than %d key services",
				      KMS_SERVICES_MAX);
	strcpy(k.name, name);
	for (size_t i = 0; i < NSETTINGS && r == 0; i++)
		r = settings_set_value(&k, &table[i], table[i].dflt, ret_msg);
	if (r == 0)
		s->kms_further[s->n_kms_further++] = k;
	return r;
}

int
settings_further(struct settings *s, const struct ini_entry *e, char **ret_msg)
{
	const char *name = e->section + strlen("kms ");

	name += strspn(name, " ");
	if (!e->key)
		return add(s, name, ret_msg);
	for (size_t i = 0; i < NSETTINGS; i++)
		if (strcmp(table[i].key, e->key) == 0)
			return settings_set_value(find(s, name), &table[i],
						  e->value, ret_msg);
	return settings_wrong(ret_msg, "there is no such key");
}

void
settings_use_kms(struct settings *s, size_t i)
{
	const struct settings_kms *k = &s->kms_further[i];

	memcpy(s->kms_endpoint, k->endpoint, sizeof(s->kms_endpoint));
	memcpy(s->kms_region, k->region, sizeof(s->kms_region));
	memcpy(s->kms_access_key_file, k->access_key_file,
	       sizeof(s->kms_access_key_file));
	memcpy(s->kms_ca_file, k->ca_file, sizeof(s->kms_ca_file));
	s->kms_timeout = k->timeout;
	s->n_kms_further = 0;
}
