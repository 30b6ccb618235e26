/*
 * listen.h - where kmsd listens: addresses as text, and the sockets of them.
 *
 *     unix:PATH         a Unix socket
 *     HOST:PORT         TLS; HOST is a name, a number, [v6], or * for all
 *     http:HOST:PORT    no TLS, and the loopback interface only
 */
#ifndef SEALDISK_KMS_LISTEN_H
#define SEALDISK_KMS_LISTEN_H

#include <sys/stat.h>
#include <sys/types.h>

#include <sealdisk/cleanup.h>

#include "service.h"

struct listen_address {
	enum service_via via;
	char host[256]; /* or the path */
	char port[6];
};

/* -EINVAL: none of the above forms. */
int listen_parse(const char *text, struct listen_address *ret) NONNULL CHECKED;

/**
 * listen_open(a, mode, gid, ret_fd):
 * A socket that listens.  A Unix socket gets ${mode} and group ${gid} (-1: as
 * it comes); one that nobody listens on any more is replaced.
 *
 * -EADDRINUSE     somebody listens there, or a file that is no socket is there
 * -EPERM          http: and not the loopback interface
 * -EADDRNOTAVAIL  the host is not known, or not of this machine
 */
int listen_open(const struct listen_address *a, mode_t mode, gid_t gid,
		int *ret_fd) NONNULL CHECKED;

/* "unix:/run/x", "127.0.0.1:8443": where ${fd} listens in fact. */
#define LISTEN_STR_LEN 320
void listen_format(const struct listen_address *a, int fd,
		   char out[static LISTEN_STR_LEN]) NONNULL;

#endif
