/*
 * wiped.c - memory that is wiped when it is freed.
 */
#include "wiped.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/secret.h>

void
wiped_free(void *p)
{
	if (p)
		secret_wipe(p, malloc_usable_size(p));
	free(p);
}

/* Never in place: what is left of a longer block would stay. */
void *
wiped_realloc(void *p, size_t len)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *q = malloc(len);

	if (!q)
		return NULL;
	if (p)
		memcpy(q, p, old < len ? old : len);
	wiped_free(p);
	return q;
}

char *
wiped_strdup(const char *s)
{
	size_t len = strlen(s) + 1;
	char *p = malloc(len);

	return p ? memcpy(p, s, len) : NULL;
}

/* Of this thread, jansson had no memory. */
static _Thread_local bool lacked;

static void *
json_malloc(size_t len)
{
	void *p = malloc(len);

	lacked |= !p;
	return p;
}

static void
set_json(void)
{
	json_set_alloc_funcs(json_malloc, wiped_free);
}

void
wiped_json(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, set_json);
}

int
wiped_parse(const char *text, size_t len, json_t **ret, json_error_t *ret_why)
{
	json_t *o;

	wiped_json();
	lacked = false;
	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, ret_why);
	if (o && !lacked) {
		*ret = o;
		return 0;
	}
	json_decref(o);
	return lacked ? -ENOMEM : -EINVAL;
}
