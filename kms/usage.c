/*
 * usage.c - see usage.h.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "usage.h"

#define NSLOTS (2 * USAGE_ROWS)

/* Rows in the order in which they came; slots hold their numbers from 1. */
struct usage_table {
	unsigned n;
	struct kms_usage rows[USAGE_ROWS];
	uint16_t slots[NSLOTS];
};

struct usage {
	pthread_mutex_t lock;
	struct usage_table *t; /* NULL: nothing */
};

int
usage_new(struct usage **ret)
{
	struct usage *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	(void)pthread_mutex_init(&u->lock, NULL);
	*ret = u;
	return 0;
}

void
usage_free(struct usage *u)
{
	if (!u)
		return;
	free(u->t);
	(void)pthread_mutex_destroy(&u->lock);
	free(u);
}

unsigned
usage_month(int64_t now)
{
	time_t t = (time_t)now;
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		return 0;
	return (unsigned)(tm.tm_year + 1900) * 100 + (unsigned)tm.tm_mon + 1;
}

int
kms_parse_month(const char *text, unsigned *ret)
{
	char whole[32];
	int64_t t;

	if (strlen(text) != 7)
		return -EINVAL;
	(void)snprintf(whole, sizeof(whole), "%s-01T00:00:00Z", text);
	if (parse_time(whole, &t) < 0)
		return -EINVAL;
	*ret = usage_month(t);
	return 0;
}

void
kms_format_month(unsigned month, char out[static 8])
{
	(void)snprintf(out, 8, "%04u-%02u", month / 100 % 10000, month % 100);
}

/* Counting. */

static uint32_t
hash_text(uint32_t h, const char *s)
{
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619; /* FNV-1a */
	return h * 16777619;
}

static bool
same_row(const struct kms_usage *a, const struct kms_usage *b)
{
	return a->month == b->month && a->billable == b->billable &&
	       strcmp(a->principal, b->principal) == 0 &&
	       strcmp(a->key, b->key) == 0 && strcmp(a->action, b->action) == 0;
}

static int
add(struct usage_table *t, const struct kms_usage *row)
{
	uint32_t h = 2166136261;
	uint16_t *slot;

	h = hash_text(hash_text(hash_text(h, row->principal), row->key),
		      row->action);
	for (;; h++) {
		slot = &t->slots[h % NSLOTS];
		if (*slot == 0)
			break;
		if (same_row(&t->rows[*slot - 1], row)) {
			t->rows[*slot - 1].calls += row->calls;
			return 0;
		}
	}
	if (t->n == USAGE_ROWS)
		return -ENOSPC;
	t->rows[t->n++] = *row;
	*slot = (uint16_t)t->n;
	return 0;
}

int
usage_add(struct usage *u, const struct kms_usage *row)
{
	int r = -ENOMEM;

	(void)pthread_mutex_lock(&u->lock);
	if (!u->t)
		u->t = calloc(1, sizeof(*u->t));
	if (u->t)
		r = add(u->t, row);
	(void)pthread_mutex_unlock(&u->lock);
	return r;
}

/* Taking it out. */

struct usage_table *
usage_take(struct usage *u)
{
	struct usage_table *t;

	(void)pthread_mutex_lock(&u->lock);
	t = u->t;
	u->t = NULL;
	(void)pthread_mutex_unlock(&u->lock);
	return t;
}

int
usage_write(const struct usage_table *t, struct keystore *ks)
{
	unsigned i;
	int r = 0;

	for (i = 0; i < t->n && r == 0; i++)
		r = keystore_add_usage(ks, &t->rows[i]);
	return r;
}

void
usage_give_back(struct usage *u, struct usage_table *t)
{
	unsigned i;

	/* What has no room beside what came since is lost: a count, no more. */
	for (i = 0; i < t->n; i++)
		(void)!usage_add(u, &t->rows[i]);
	free(t);
}

void
usage_table_free(struct usage_table *t)
{
	free(t);
}
