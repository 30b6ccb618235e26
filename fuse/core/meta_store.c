/*
 * meta_store.c - store.ini.  It is not authenticated: it says who the store is
 * and how new things are to be made, and nothing that exists hangs on it.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "meta_private.h"

static const char *const commits[] = { "auto", "files", NULL };
/* By number; see enum cipher. */
static const char *const ciphers[] = { "", "aes-256-gcm", "aes-256-ocb", NULL };

#define AT(member) offsetof(struct store_meta, member)

static const struct field store_fields[] = {
	{ "format", FIELD_FORMAT, 0, 0, NULL },
	{ "uuid", FIELD_UUID, AT(uuid), 0, NULL },
	{ "created", FIELD_TIME, AT(created), 0, NULL },
	{ "cipher", FIELD_ENUM, AT(cipher), 0, ciphers },
	{ "slack", FIELD_U64, AT(slack), INT64_MAX, NULL },
	{ "commit", FIELD_BOOL, AT(commit_files), 0, commits },
};

#define N_FIELDS (sizeof(store_fields) / sizeof(store_fields[0]))

static int
put(struct canon_text *t, const struct store_meta *m)
{
	canon_section(t, "store");
	return fields_put(t, store_fields, N_FIELDS, m);
}

int
store_meta_format(const struct store_meta *m, char **ret)
{
	CLEANUP(canon_text_done) struct canon_text t = { 0 };
	int r = put(&t, m);

	return r < 0 ? r : canon_finish(&t, ret);
}

int
store_meta_parse(const char *text, size_t len, struct store_meta *ret)
{
	CLEANUP(canon_text_done) struct canon_text t = { 0 };
	CLEANUP(canon_freep) struct canon *c = NULL;
	struct store_meta m = { 0 };
	int r;

	r = meta_ini(text, len, "store", &c);
	if (r == 0)
		r = fields_get(c, "store", store_fields, N_FIELDS, &m);
	if (r == 0)
		r = put(&t, &m);
	if (r < 0)
		return r == -EINVAL ? -EUCLEAN : r;
	r = meta_same(&t, text, len);
	if (r == 0)
		*ret = m;
	return r;
}
