/*
 * nonces.c - which requests have been seen.
 *
 * One table a minute, by the time in the request: the window of 15 minutes to
 * either side touches 31 of them, and what is behind it goes as a whole.  The
 * tables are open addressed, of 16 byte hashes, and double at 3/4.
 */
#include "nonces.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/crypto.h>

#include "signature.h"

#define MINUTES 32
#define FIRST_CAP 64

_Static_assert(2 * SIGNATURE_WINDOW / 60 + 1 < MINUTES, "a slot for each");

struct mark {
	uint64_t word[2]; /* both 0: free */
};

struct minute {
	int64_t number; /* since the epoch */
	struct mark *marks;
	size_t cap, used; /* ${cap} is a power of two, or 0 */
};

struct nonces {
	pthread_mutex_t lock;
	size_t max, used;
	int64_t swept; /* the minute up to which old ones were forgotten */
	struct minute minutes[MINUTES];
};

int
nonces_new(size_t max, struct nonces **ret)
{
	struct nonces *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	(void)pthread_mutex_init(&n->lock, NULL);
	n->max = max;
	*ret = n;
	return 0;
}

void
nonces_free(struct nonces *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < MINUTES; i++)
		free(n->minutes[i].marks);
	(void)pthread_mutex_destroy(&n->lock);
	free(n);
}

size_t
nonces_count(struct nonces *n)
{
	size_t used;

	(void)pthread_mutex_lock(&n->lock);
	used = n->used;
	(void)pthread_mutex_unlock(&n->lock);
	return used;
}

static int
mark_of(const char *access_key_id, const char *nonce, struct mark *ret)
{
	/* An id has no NUL, so that no two pairs are one text. */
	char text[SIGNATURE_ID_MAX + SIGNATURE_NONCE_MAX + 2];
	size_t id_len = strlen(access_key_id) + 1, len = strlen(nonce);
	uint8_t digest[SHA256_LEN];
	int r;

	if (id_len + len > sizeof(text))
		return -EINVAL;
	memcpy(text, access_key_id, id_len);
	memcpy(text + id_len, nonce, len);
	r = sha256(text, id_len + len, digest);
	if (r < 0)
		return r;
	memcpy(ret, digest, sizeof(*ret));
	if (ret->word[0] == 0 && ret->word[1] == 0)
		ret->word[0] = 1;
	return 0;
}

static bool
is_free(const struct mark *m)
{
	return m->word[0] == 0 && m->word[1] == 0;
}

/* Where ${k} is, or belongs; there is room. */
static struct mark *
place_of(struct mark *marks, size_t cap, const struct mark *k)
{
	size_t i = k->word[0] & (cap - 1);

	while (!is_free(&marks[i]) && memcmp(&marks[i], k, sizeof(*k)) != 0)
		i = (i + 1) & (cap - 1);
	return &marks[i];
}

static int
make_room(struct minute *m)
{
	size_t cap = m->cap ? 2 * m->cap : FIRST_CAP;
	struct mark *marks;

	if (4 * (m->used + 1) <= 3 * m->cap)
		return 0;
	marks = calloc(cap, sizeof(*marks));
	if (!marks)
		return -ENOBUFS;
	for (size_t i = 0; i < m->cap; i++)
		if (!is_free(&m->marks[i]))
			*place_of(marks, cap, &m->marks[i]) = m->marks[i];
	free(m->marks);
	m->marks = marks;
	m->cap = cap;
	return 0;
}

static void
forget(struct nonces *n, struct minute *m)
{
	n->used -= m->used;
	free(m->marks);
	*m = (struct minute){ 0 };
}

/* What is before the window.  A clock that is set back forgets nothing. */
static void
sweep(struct nonces *n, int64_t now)
{
	int64_t oldest = (now - SIGNATURE_WINDOW) / 60;

	if (oldest <= n->swept)
		return;
	n->swept = oldest;
	for (size_t i = 0; i < MINUTES; i++)
		if (n->minutes[i].cap && n->minutes[i].number < oldest)
			forget(n, &n->minutes[i]);
}

static int
use(struct nonces *n, const struct mark *k, int64_t time)
{
	struct minute *m = &n->minutes[(uint64_t)(time / 60) % MINUTES];
	struct mark *place;
	int r;

	/* Another minute is there only if the clock has been set back. */
	if (time / 60 < n->swept || (m->cap && m->number != time / 60))
		return -ESTALE;
	r = make_room(m);
	if (r < 0)
		return r;
	m->number = time / 60;
	place = place_of(m->marks, m->cap, k);
	if (!is_free(place))
		return -EEXIST;
	if (n->used >= n->max)
		return -ENOBUFS;
	*place = *k;
	m->used++;
	n->used++;
	return 0;
}

int
nonces_use(struct nonces *n, const char *access_key_id, const char *nonce,
	   int64_t time, int64_t now)
{
	struct mark k;
	int r;

	if (time < 0 || time < now - SIGNATURE_WINDOW ||
	    time > now + SIGNATURE_WINDOW)
		return -ESTALE;
	r = mark_of(access_key_id, nonce, &k);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&n->lock);
	sweep(n, now);
	r = use(n, &k, time);
	(void)pthread_mutex_unlock(&n->lock);
	return r;
}
