/*
 * nonces.h - which requests have been seen.
 *
 * A signed request is good once.  What is remembered is a hash of access key
 * and nonce, for as long as the time in the request is within the window that
 * signature_fresh() takes; what is older can be forgotten, since it is refused
 * by its time.  Memory is bounded: when all of it is in use a request is
 * refused, and no nonce is forgotten for it.
 *
 * Only nonces of verified requests belong here, or strangers fill it.  Any
 * thread.
 */
#ifndef SEALDISK_KMS_NONCES_H
#define SEALDISK_KMS_NONCES_H

#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

struct nonces;

/* At most ${max} at a time, 16 to 48 bytes each. */
int nonces_new(size_t max, struct nonces **ret) NONNULL CHECKED;
void nonces_free(struct nonces *n);
DEFINE_CLEANUP(struct nonces, nonces_free)

/**
 * nonces_use(n, access_key_id, nonce, time, now):
 * Remember ${nonce} of a request of time ${time}.
 *
 * -EEXIST  it has been used
 * -ENOBUFS  no room
 * -ESTALE  ${time} is not within the window around ${now}
 */
int nonces_use(struct nonces *n, const char *access_key_id, const char *nonce,
	       int64_t time, int64_t now) NONNULL CHECKED;

/* How many are remembered. */
size_t nonces_count(struct nonces *n) NONNULL;

#endif
