/*
 * meta_env.h - what the tests of a store's small files have in common.
 */
#ifndef SEALDISK_META_ENV_H
#define SEALDISK_META_ENV_H

#include "test.h"

#include "meta.h"

static const struct key dk = { "this is a DK of thirty-two bytes" };
static const struct key other_dk = { "and this one is another of these" };

static inline struct uuid
u(const char *s)
{
	struct uuid r;

	assert_ok(uuid_parse(s, &r));
	return r;
}

/* ${text} with the first ${from} changed to ${to}; malloc'ed. */
static inline char *
edit(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *out;

	assert_non_null(at);
	assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to,
			     at + strlen(from)) > 0);
	return out;
}

struct change {
	const char *from, *to;
	int err;
};

#endif
