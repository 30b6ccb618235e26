/*
 * quota.c - token buckets; see quota.h.
 *
 * A bucket is found by a hash of its owner that is keyed by a random number, so
 * that nobody can choose names which meet in one place; it may lie in one of
 * NWAYS places from there.  An owner is known by 128 bits of a keyed hash:
 * names are as long as they like, buckets are not.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include <sealdisk/crypto.h>

#include "quota.h"

#define NWAYS 8
#define MICRO 1000000

struct owner {
	uint64_t id[2]; /* 0, 0: nobody's */
};

struct bucket {
	struct owner owner;
	int64_t micro_calls; /* millionths of a call that it holds */
	int64_t at;
	uint64_t limit; /* calls a second */
};

struct quota {
	struct quota_limits limits;
	struct key hash_key; /* no secret: only not to be guessed */
	pthread_mutex_t lock;
	struct bucket shared[QUOTA_NCLASSES];
	struct bucket buckets[QUOTA_BUCKETS];
};

int
quota_new(const struct quota_limits *limits, struct quota **ret)
{
	CLEANUP(quota_freep) struct quota *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	(void)pthread_mutex_init(&q->lock, NULL);
	q->limits = *limits;
	r = crypto_random(&q->hash_key, sizeof(q->hash_key));
	if (r == 0)
		*ret = TAKE(q);
	return r;
}

void
quota_free(struct quota *q)
{
	if (!q)
		return;
	(void)pthread_mutex_destroy(&q->lock);
	free(q);
}

static int
find_owner(const struct quota *q, const char *principal, enum quota_class c,
	   struct owner *ret)
{
	uint8_t class = (uint8_t)c, mac[MAC_LEN];
	const struct iovec iov[] = {
		{ &class, 1 },
		{ (void *)(uintptr_t)principal, strlen(principal) },
	};
	int r = hmac_sha256(q->hash_key.bytes, iov, 2, mac);

	if (r < 0)
		return r;
	memcpy(ret, mac, sizeof(*ret));
	ret->id[1] |= 1; /* never nobody */
	return 0;
}

/* What has flowed in since. */
static void
fill(struct bucket *b, int64_t now)
{
	int64_t most = (int64_t)b->limit * MICRO, past = now - b->at;

	if (past >= MICRO)
		b->micro_calls = most;
	else if (past > 0)
		b->micro_calls += past * (int64_t)b->limit;
	if (b->micro_calls > most)
		b->micro_calls = most;
	if (past > 0)
		b->at = now;
}

static bool
is_full(struct bucket *b, int64_t now)
{
	fill(b, now);
	return b->micro_calls == (int64_t)b->limit * MICRO;
}

static bool
same_owner(const struct owner *a, const struct owner *b)
{
	return a->id[0] == b->id[0] && a->id[1] == b->id[1];
}

/* The owner's bucket, a free or full one that becomes his, or NULL. */
static struct bucket *
find_bucket(struct quota *q, const struct owner *o, uint64_t limit, int64_t now)
{
	struct bucket *b, *full = NULL;
	unsigned i;

	for (i = 0; i < NWAYS; i++) {
		b = &q->buckets[(o->id[0] + i) % QUOTA_BUCKETS];
		if (same_owner(&b->owner, o))
			return b;
		if (!full && (b->owner.id[1] == 0 || is_full(b, now)))
			full = b;
	}
	if (full)
		*full =
		    (struct bucket){ *o, (int64_t)limit * MICRO, now, limit };
	return full;
}

static int
take(struct bucket *b, int64_t now)
{
	fill(b, now);
	if (b->micro_calls < MICRO)
		return -EDQUOT;
	b->micro_calls -= MICRO;
	return 0;
}

int
quota_take(struct quota *q, const char *principal, enum quota_class c,
	   int64_t now_us)
{
	uint64_t limit = q->limits.per_second[c];
	struct bucket *b;
	struct owner o;
	int r;

	if (limit == 0)
		return 0;
	r = find_owner(q, principal, c, &o);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&q->lock);
	b = find_bucket(q, &o, limit, now_us);
	if (!b) {
		b = &q->shared[c];
		b->limit = limit;
	}
	r = take(b, now_us);
	(void)pthread_mutex_unlock(&q->lock);
	return r;
}
