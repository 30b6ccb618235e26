/*
 * server.h - HTTP for kmsd: sockets, TLS, threads, and limits on all that a
 * client controls.  server.c is the only file that includes microhttpd.h.
 *
 * Requests are handed to a front (front.h) by the threads of a pool.  A client
 * has `timeout` seconds for each request, from its first byte or from when the
 * one before was answered to its last byte, however busy it looks; then it is
 * cut off.
 */
#ifndef SEALDISK_KMS_SERVER_H
#define SEALDISK_KMS_SERVER_H

#include <stddef.h>
#include <sys/types.h>

#include <sealdisk/cleanup.h>

#include "front.h"
#include "listen.h"

#define SERVER_LISTEN_MAX 8

struct server_options {
	unsigned threads;     /* of each address; 0: four a processor */
	unsigned connections; /* of each address */
	unsigned per_address; /* connections of one client's address */
	unsigned timeout;     /* seconds */
	mode_t socket_mode;   /* of Unix sockets */
	gid_t socket_gid;     /* -1: as it comes */
	const char *tls_cert; /* paths of PEM files; "": no TLS */
	const char *tls_key;
};

struct server;

/**
 * server_open(o, addresses, n, ret):
 * Bind and listen, and read the certificate; nothing is answered yet.  What is
 * wrong was logged.  ${o} stays the caller's, and as it is.
 *
 * -EINVAL  TLS without a certificate
 */
int server_open(const struct server_options *o,
		const struct listen_address *addresses, size_t n,
		struct server **ret) NONNULL CHECKED;

/* Begin to answer.  -EINVAL: the certificate is none, or the key not its. */
int server_start(struct server *s, struct front *front) NONNULL CHECKED;

/**
 * server_reload(s):
 * Read certificate and key again, for connections from now on.  On error those
 * of before go on, and what is wrong was logged.
 */
int server_reload(struct server *s) NONNULL CHECKED;

/* Take no more connections, and wait up to ${seconds} for what is being
 * answered. */
void server_drain(struct server *s, unsigned seconds) NONNULL;

/* Close all; a Unix socket's path goes. */
void server_close(struct server *s);
DEFINE_CLEANUP(struct server, server_close)

#endif
