/*
 * listen.c - where kmsd listens.
 */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 512

/* Parsing. */

static int
parse_port(const char *s, char ret[static 6])
{
	uint64_t port;

	if (strlen(s) > 5 || parse_u64(s, &port) < 0 || port > 65535)
		return -EINVAL;
	strcpy(ret, s);
	return 0;
}

static int
parse_host_port(const char *s, struct listen_address *ret)
{
	const char *colon = strrchr(s, ':');
	size_t len = colon ? (size_t)(colon - s) : 0;

	if (len == 0 || parse_port(colon + 1, ret->port) < 0)
		return -EINVAL;
	if (s[0] == '[' && s[len - 1] == ']') {
		s++;
		len -= 2;
	} else if (memchr(s, ':', len)) {
		return -EINVAL; /* a v6 address without its brackets */
	}
	if (len == 0 || len >= sizeof(ret->host))
		return -EINVAL;
	memcpy(ret->host, s, len);
	ret->host[len] = '\0';
	return 0;
}

static int
parse_path(const char *s, struct listen_address *ret)
{
	struct sockaddr_un un;

	if (s[0] != '/' || strlen(s) >= sizeof(un.sun_path))
		return -EINVAL;
	strcpy(ret->host, s);
	return 0;
}

int
listen_parse(const char *text, struct listen_address *ret)
{
	struct listen_address a = { .via = SERVICE_TLS };
	int r;

	if (strncmp(text, "unix:", 5) == 0) {
		a.via = SERVICE_UNIX;
		r = parse_path(text + 5, &a);
	} else if (strncmp(text, "http:", 5) == 0) {
		a.via = SERVICE_HTTP;
		r = parse_host_port(text + 5, &a);
	} else {
		r = parse_host_port(text, &a);
	}
	if (r == 0)
		*ret = a;
	return r;
}

/* Sockets. */

/* Nobody is there: what a dead server has left, or nothing at all. */
static int
clear_path(const struct sockaddr_un *un)
{
	CLEANUP(close_fdp) int fd = -1;
	struct stat st;

	if (lstat(un->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 ||
	    errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(un->sun_path) < 0 ? -errno : 0;
}

static int
open_unix(const char *path, mode_t mode, gid_t gid, int *ret_fd)
{
	CLEANUP(close_fdp) int fd = -1;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	mode_t mask;
	int r;

	memcpy(un.sun_path, path, strlen(path) + 1); /* listen_parse() */
	r = clear_path(&un);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Nobody's until it has its group. */
	mask = umask(0777);
	r = bind(fd, (const struct sockaddr *)&un, sizeof(un)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r < 0)
		return r;
	if ((gid != (gid_t)-1 && chown(path, (uid_t)-1, gid) < 0) ||
	    chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0) {
		r = -errno;
		(void)unlink(path);
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static bool
is_loopback(const struct sockaddr *sa)
{
	const void *p = sa;

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = p;

		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = p;

		return IN6_IS_ADDR_LOOPBACK(&in->sin6_addr);
	}
	return false;
}

static int
open_inet(const struct addrinfo *ai, bool loopback_only, int *ret_fd)
{
	CLEANUP(close_fdp) int fd = -1;
	const int on = 1;

	if (loopback_only && !is_loopback(ai->ai_addr))
		return -EPERM;
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int
listen_open(const struct listen_address *a, mode_t mode, gid_t gid, int *ret_fd)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
					.ai_socktype = SOCK_STREAM,
					.ai_flags = AI_PASSIVE |
						    AI_NUMERICSERV };
	struct addrinfo *ai = NULL;
	int r;

	if (a->via == SERVICE_UNIX)
		return open_unix(a->host, mode, gid, ret_fd);
	if (getaddrinfo(strcmp(a->host, "*") == 0 ? NULL : a->host, a->port,
			&hints, &ai) != 0)
		return -EADDRNOTAVAIL;
	r = open_inet(ai, a->via == SERVICE_HTTP, ret_fd);
	freeaddrinfo(ai);
	return r;
}

void
listen_format(const struct listen_address *a, int fd,
	      char out[static LISTEN_STR_LEN])
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char host[INET6_ADDRSTRLEN], port[6];
	void *sa = &ss;

	if (a->via == SERVICE_UNIX || getsockname(fd, sa, &len) < 0 ||
	    getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		(void)snprintf(out, LISTEN_STR_LEN, "unix:%s", a->host);
		return;
	}
	(void)snprintf(out, LISTEN_STR_LEN,
		       ss.ss_family == AF_INET6 ? "%s[%s]:%s" : "%s%s:%s",
		       a->via == SERVICE_HTTP ? "http:" : "", host, port);
}
