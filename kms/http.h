/*
 * http.h - requests to one server over HTTP, as a client; http.c is the only
 * file that includes curl.h.
 *
 * The server is at unix:/PATH, or https://HOST[:PORT], whose certificate must
 * be good for HOST.  Connections are kept and used again.  What is answered
 * lies in secret memory.
 *
 * Any thread; as many requests at a time as there are callers.
 */
#ifndef SEALDISK_KMS_HTTP_H
#define SEALDISK_KMS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#include "request.h"

#define HTTP_ANSWER_MAX 65536 /* bytes, with a NUL at the end */

struct http;

/**
 * http_new(endpoint, ca_file, ret):
 * ${ca_file} is PEM, the only certificates that are trusted; "": those of the
 * system.
 *
 * -EINVAL  ${endpoint} has neither form
 */
int http_new(const char *endpoint, const char *ca_file, struct http **ret)
    NONNULL CHECKED;
void http_free(struct http *h);
DEFINE_CLEANUP(struct http, http_free)

/* "HOST:PORT", or "localhost" of a Unix socket: what the header Host says. */
const char *http_host(const struct http *h) NONNULL;

struct http_answer {
	unsigned status;
	char *text; /* ends with a NUL that is not counted */
	size_t len;
};
void http_answer_done(struct http_answer *a);

/**
 * http_post(h, headers, n, body, len, timeout_ms, again, ret):
 * POST ${body} to the path /.  Unless it may be done twice, ${again}, over a
 * connection of its own: over one that has ended meanwhile the library would
 * send it a second time, whether or not the server had heard of the first.
 *
 * -EHOSTDOWN  no connection, so that nothing was asked
 * -ECONNRESET  the connection ended, or nothing came in time: what was asked
 * may have been done -EPROTO     no HTTP, or too long -EKEYREJECTED  the
 * certificate is not to be trusted; which was logged
 */
int http_post(struct http *h, const struct raw_header *headers, size_t n,
	      const char *body, size_t len, int64_t timeout_ms, bool again,
	      struct http_answer *ret) NONNULL CHECKED;

#endif
