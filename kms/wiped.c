/*
 * wiped.c - memory that is wiped when it is freed.
 */
#include "wiped.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

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

static void
set_json(void)
{
	json_set_alloc_funcs(malloc, wiped_free);
}

void
wiped_json(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, set_json);
}
