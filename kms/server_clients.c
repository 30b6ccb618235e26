/*
 * server_clients.c - who is connected, and for how long a request has lasted.
 *
 * The library's own time limit starts anew with each byte, and so lets a client
 * hold a connection by one byte in a while.  Here it is cut off by shutdown(2)
 * from beside, which the library then sees as the end of the connection; the
 * descriptor is the library's to close, which it does only after it has said so
 * and clients_remove() has had the lock.
 */
#include "server_private.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static int64_t
now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

void
clients_init(struct clients *c)
{
	*c = (struct clients){ 0 };
	(void)pthread_mutex_init(&c->lock, NULL);
}

void
clients_done(struct clients *c)
{
	(void)pthread_mutex_destroy(&c->lock);
}

/* Who is at the other end, by the kernel's word. */
static int
find_peer(int fd, enum service_via via, struct service_peer *ret)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct ucred u;
	void *sa = &ss;

	ret->via = via;
	ret->uid = (uid_t)-1;
	if (via == SERVICE_UNIX) {
		len = sizeof(u);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) < 0)
			return -1;
		ret->uid = u.uid;
		(void)snprintf(ret->address, sizeof(ret->address),
			       "uid=%u,pid=%d", (unsigned)u.uid, (int)u.pid);
		return 0;
	}
	if (getpeername(fd, sa, &len) < 0 ||
	    getnameinfo(sa, len, ret->address, sizeof(ret->address), NULL, 0,
			NI_NUMERICHOST) != 0)
		return -1;
	return 0;
}

struct client *
clients_add(struct clients *c, int fd, enum service_via via)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client || find_peer(fd, via, &client->peer) < 0) {
		free(client);
		return NULL;
	}
	client->fd = fd;
	client->since = now_s();
	(void)pthread_mutex_lock(&c->lock);
	client->next = c->first;
	if (c->first)
		c->first->prev = client;
	c->first = client;
	(void)pthread_mutex_unlock(&c->lock);
	return client;
}

void
clients_remove(struct clients *c, struct client *client)
{
	(void)pthread_mutex_lock(&c->lock);
	if (client->next)
		client->next->prev = client->prev;
	if (client->prev)
		client->prev->next = client->next;
	else
		c->first = client->next;
	(void)pthread_mutex_unlock(&c->lock);
	free(client);
}

void
clients_answering(struct clients *c, struct client *client, bool on)
{
	(void)pthread_mutex_lock(&c->lock);
	if (client->answering != on) {
		client->answering = on;
		client->since = now_s();
		if (on)
			c->answering++;
		else
			c->answering--;
	}
	(void)pthread_mutex_unlock(&c->lock);
}

void
clients_begun(struct clients *c, struct client *client)
{
	(void)pthread_mutex_lock(&c->lock);
	client->since = now_s();
	(void)pthread_mutex_unlock(&c->lock);
}

void
clients_reap(struct clients *c, unsigned timeout)
{
	int64_t now = now_s();

	(void)pthread_mutex_lock(&c->lock);
	for (struct client *p = c->first; p; p = p->next)
		if (!p->answering && now - p->since > (int64_t)timeout)
			(void)shutdown(p->fd, SHUT_RDWR);
	(void)pthread_mutex_unlock(&c->lock);
}

size_t
clients_busy(struct clients *c)
{
	size_t n;

	(void)pthread_mutex_lock(&c->lock);
	n = c->answering;
	(void)pthread_mutex_unlock(&c->lock);
	return n;
}
