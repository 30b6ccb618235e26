/*
 * server_private.h - what the files of the server share: one request on its
 * way, and who is connected.
 */
#ifndef SEALDISK_KMS_SERVER_PRIVATE_H
#define SEALDISK_KMS_SERVER_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "server.h"

/* A connection, from accept to close. */
struct client {
	struct client *next, *prev;
	int fd; /* the library's; open for as long as this is in the list */
	int64_t since;  /* s, monotonic: when its present request began, or the
			 * one before was answered */
	bool answering; /* the service has it */
	struct service_peer peer;
};

/* All connections of a server. */
struct clients {
	pthread_mutex_t lock;
	struct client *first;
	size_t answering;
};

/* The HTTP library at work on a socket, with the certificate of its day. */
struct serving {
	struct listener *listener;
	struct MHD_Daemon *daemon; /* NULL: none */
	bool retired;              /* no connection is to last */
	int fd; /* the socket, then, as long as the daemon's threads may use
		 * it: another file must not get its number.  -1: none */
};

struct listener {
	struct server *server;
	struct listen_address address;
	int fd;
	struct serving serving[2]; /* one of them may be retired */
};

/* A file that is wiped. */
struct pem {
	char *text;
	size_t len;
};

struct server {
	const struct server_options *options;
	struct pem cert, key; /* until they are in use */
	struct front *front;
	struct clients clients;
	struct listener listeners[SERVER_LISTEN_MAX];
	size_t n;
	pthread_mutex_t lock; /* of `serving` and what follows */
	pthread_cond_t wake;
	pthread_t keeper;
	bool keeping, stop;
};

/* Let ${at} answer on a descriptor of its own for its listener's socket;
 * ${cert} and ${key} are PEM, for TLS.  -EINVAL: they are not, or there are too
 * few resources. */
int serving_start(struct serving *at, const char *cert, const char *key)
    __attribute__((__nonnull__(1))) CHECKED;
/* Close all its connections. */
void serving_stop(struct serving *at) NONNULL;
/* No more connections, and the present ones end with their next reply. */
void serving_retire(struct serving *at) NONNULL;
/* Whether no connection is left of one that is retired. */
bool serving_is_idle(const struct serving *at) NONNULL;

void clients_init(struct clients *c) NONNULL;
void clients_done(struct clients *c) NONNULL;
/* NULL: no memory.  ${c} owns the result until clients_remove(). */
struct client *clients_add(struct clients *c, int fd, enum service_via via)
    NONNULL CHECKED;
void clients_remove(struct clients *c, struct client *client) NONNULL;
/* The service begins, ends; a request begins. */
void clients_answering(struct clients *c, struct client *client, bool on)
    NONNULL;
void clients_begun(struct clients *c, struct client *client) NONNULL;
/* Cut off who has had more than ${timeout} seconds. */
void clients_reap(struct clients *c, unsigned timeout) NONNULL;
size_t clients_busy(struct clients *c) NONNULL;

#endif
