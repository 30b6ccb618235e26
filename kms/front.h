/*
 * front.h - from a request as it came over a socket to the reply as text.
 *
 * Between a carrier that speaks HTTP (server.h) and the service (service.h):
 * parameters are decoded, the signature is verified, the common parameters are
 * taken off, and what comes of it is JSON.  Nothing that is not signed, or come
 * over a Unix socket whose other end the kernel names, reaches the service.
 *
 * Who sends bad requests is slowed down: each address has a budget of them.
 *
 * Any thread.
 */
#ifndef SEALDISK_KMS_FRONT_H
#define SEALDISK_KMS_FRONT_H

#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#include "request.h"
#include "service.h"

/* How many bad requests an address has, at first and again by the second. */
#define FRONT_BAD_BURST 20
#define FRONT_BAD_RATE 5

struct front;

/* Where a reply goes to: it is wiped when freed, for it may hold a key. */
struct front_reply {
	unsigned status;
	size_t len;
	char text[]; /* JSON, UTF-8 */
};

/**
 * front_new(service, max_nonces, ret):
 * ${service} stays the caller's.
 */
int front_new(struct service *service, size_t max_nonces, struct front **ret)
    NONNULL CHECKED;
void front_free(struct front *f);
DEFINE_CLEANUP(struct front, front_free)

/* The reply to ${raw}, or NULL if there is no memory for one. */
struct front_reply *front_handle(struct front *f, const struct raw_request *raw,
				 const struct service_peer *peer)
    NONNULL CHECKED;

/* The same where the carrier itself has to refuse; NULL as above. */
struct front_reply *front_refuse(const struct refusal *no) NONNULL CHECKED;

void front_reply_free(struct front_reply *r);

#endif
