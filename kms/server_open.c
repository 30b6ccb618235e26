/*
 * server_open.c - the server as a whole: opened, started, its certificate
 * changed, drained and closed.
 *
 * A certificate is changed by a second daemon of the library on the same
 * socket, while the first one finishes what it has.  A thread beside them cuts
 * off slow clients and clears away what has finished.
 */
#include "server_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#define PEM_MAX (1u << 20)

/* Opening. */

static void
pem_done(struct pem *p)
{
	if (p->text)
		secret_wipe(p->text, p->len);
	free(p->text);
	*p = (struct pem){ 0 };
}

static int
pem_load(const char *path, struct pem *ret)
{
	int r = io_load(AT_FDCWD, path, PEM_MAX, &ret->text, &ret->len);

	if (r < 0)
		log_error("%s: %s", path, err_text(r));
	return r;
}

static bool
has_tls(const struct server *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->listeners[i].address.via == SERVICE_TLS)
			return true;
	return false;
}

static int
load_tls(struct server *s)
{
	int r;

	if (!has_tls(s))
		return 0;
	pem_done(&s->cert);
	pem_done(&s->key);
	r = pem_load(s->options->tls_cert, &s->cert);
	return r < 0 ? r : pem_load(s->options->tls_key, &s->key);
}

static int
open_listener(struct server *s, const struct listen_address *a)
{
	struct listener *l = &s->listeners[s->n];
	int r;

	*l = (struct listener){ .server = s, .address = *a, .fd = -1 };
	l->serving[0].listener = l->serving[1].listener = l;
	r = listen_open(a, s->options->socket_mode, s->options->socket_gid,
			&l->fd);
	if (r == -EPERM && a->via == SERVICE_HTTP)
		log_error("http:%s:%s: without TLS on the loopback interface "
			  "only",
			  a->host, a->port);
	else if (r < 0)
		log_error("cannot listen on %s%s%s: %s", a->host,
			  a->port[0] ? ":" : "", a->port, err_text(r));
	else
		s->n++;
	return r;
}

static int
check_tls(const struct server_options *o, const struct listen_address *a)
{
	if (a->via != SERVICE_TLS || (o->tls_cert[0] && o->tls_key[0]))
		return 0;
	log_error("%s:%s is TLS, which needs tls_cert and tls_key", a->host,
		  a->port);
	return -EINVAL;
}

int
server_open(const struct server_options *o,
	    const struct listen_address *addresses, size_t n,
	    struct server **ret)
{
	CLEANUP(server_closep) struct server *s = NULL;
	int r = n > 0 && n <= SERVER_LISTEN_MAX ? 0 : -EINVAL;

	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->options = o;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->wake, NULL);
	clients_init(&s->clients);
	for (size_t i = 0; i < n && r == 0; i++) {
		r = check_tls(o, &addresses[i]);
		if (r == 0)
			r = open_listener(s, &addresses[i]);
	}
	if (r == 0)
		r = load_tls(s);
	if (r == 0)
		*ret = TAKE(s);
	return r;
}

/* Starting. */

/* Which of a listener's is at work; the other one is retired, or free. */
static struct serving *
at_work(struct listener *l)
{
	return &l->serving[l->serving[1].daemon && !l->serving[1].retired];
}

/* Begin on one listener, and let go of what is at work there. */
static int
start_one(struct listener *l, const char *cert, const char *key)
{
	struct serving *old = at_work(l), *new = old;
	int r;

	if (old->daemon)
		new = &l->serving[old == &l->serving[0]];
	serving_stop(new);
	r = serving_start(new, cert, key);
	if (r == 0 && new != old)
		serving_retire(old);
	return r;
}

/* Begin on those listeners which have TLS, or have not. */
static int
start_all(struct server *s, bool tls, const char *cert, const char *key)
{
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n && r == 0; i++)
		if ((s->listeners[i].address.via == SERVICE_TLS) == tls)
			r = start_one(&s->listeners[i], cert, key);
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

/* With what load_tls() has read, which is not kept. */
static int
start_tls(struct server *s)
{
	const struct server_options *o = s->options;
	int r = 0;

	if (has_tls(s))
		r = start_all(s, true, s->cert.text, s->key.text);
	if (r < 0)
		log_error("%s and %s do not serve as certificate and its key",
			  o->tls_cert, o->tls_key);
	pem_done(&s->cert);
	pem_done(&s->key);
	return r;
}

int
server_reload(struct server *s)
{
	int r = load_tls(s);

	return r < 0 ? r : start_tls(s);
}

static void
clear_retired(struct server *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t j = 0; j < 2; j++) {
			struct serving *at = &s->listeners[i].serving[j];

			if (at->daemon && at->retired && !s->stop &&
			    serving_is_idle(at))
				serving_stop(at);
		}
}

/* The thread beside: once a second until it is told to stop. */
static void *
keep(void *arg)
{
	struct server *s = arg;
	struct timespec at;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		(void)clock_gettime(CLOCK_REALTIME, &at);
		at.tv_sec++;
		(void)pthread_cond_timedwait(&s->wake, &s->lock, &at);
		clients_reap(&s->clients, s->options->timeout);
		clear_retired(s);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void
say_where(const struct server *s)
{
	char where[LISTEN_STR_LEN];

	for (size_t i = 0; i < s->n; i++) {
		listen_format(&s->listeners[i].address, s->listeners[i].fd,
			      where);
		log_note("listening on %s", where);
	}
}

int
server_start(struct server *s, struct front *front)
{
	int r;

	s->front = front;
	r = start_all(s, false, NULL, NULL);
	if (r < 0)
		log_error("cannot start to serve: %s", err_text(r));
	if (r == 0)
		r = start_tls(s);
	if (r == 0)
		r = -pthread_create(&s->keeper, NULL, keep, s);
	if (r < 0)
		return r;
	s->keeping = true;
	say_where(s);
	return 0;
}

/* Ending. */

void
server_drain(struct server *s, unsigned seconds)
{
	const struct timespec moment = { 0, 20 * 1000 * 1000 };

	(void)pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n; i++)
		serving_retire(at_work(&s->listeners[i]));
	(void)pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < 50 * seconds && clients_busy(&s->clients); i++)
		(void)nanosleep(&moment, NULL);
}

void
server_close(struct server *s)
{
	if (!s)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->stop = true;
	(void)pthread_cond_signal(&s->wake);
	(void)pthread_mutex_unlock(&s->lock);
	if (s->keeping)
		(void)pthread_join(s->keeper, NULL);
	for (size_t i = 0; i < s->n; i++) {
		struct listener *l = &s->listeners[i];

		serving_stop(&l->serving[0]);
		serving_stop(&l->serving[1]);
		if (l->address.via == SERVICE_UNIX)
			(void)unlink(l->address.host);
		(void)close(l->fd);
	}
	pem_done(&s->cert);
	pem_done(&s->key);
	clients_done(&s->clients);
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}
