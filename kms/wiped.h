/*
 * wiped.h - memory of other people's libraries that is wiped when it is freed.
 *
 * libcurl and jansson get these in place of malloc and free, since what they
 * hold for a while may be a key.  Anything that malloc() gave may be freed by
 * wiped_free(), and the other way round.  It is neither locked nor kept out of
 * dumps: secret.h is for what is ours.
 */
#ifndef SEALDISK_KMS_WIPED_H
#define SEALDISK_KMS_WIPED_H

#include <stddef.h>

#include <jansson.h>

#include <sealdisk/cleanup.h>

void wiped_free(void *p);
void *wiped_realloc(void *p, size_t len);
char *wiped_strdup(const char *s);

/* Give them to jansson; once is enough, any thread. */
void wiped_json(void);

/**
 * wiped_parse(text, len, ret, ret_why):
 * A JSON value, no name twice.  Without memory jansson says of a text that it
 * is none, or leaves a character out of a string and goes on; not so here.
 *
 * -EINVAL  it is none; *${ret_why} says why
 * -ENOMEM
 */
int wiped_parse(const char *text, size_t len, json_t **ret,
		json_error_t *ret_why) NONNULL CHECKED;

#endif
