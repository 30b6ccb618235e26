/*
 * server.c - HTTP for kmsd, by libmicrohttpd.
 *
 * Each address has a daemon of the library and a pool of threads of its own,
 * which a request occupies from the end of its body to its reply.
 */
#include "server_private.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>

#include <sealdisk/log.h>
#include <sealdisk/secret.h>

/* Request line and headers: parameters may all stand in the URL. */
#define HEAD_MAX (REQUEST_TEXT_MAX / 2)
#define HEADERS_MAX 64
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* One request on its way, from its first line to its reply. */
struct exchange {
	char *uri;
	struct request_text body;
	struct raw_header headers[HEADERS_MAX];
	size_t n_headers;
	char *header_text; /* what headers point into */
	size_t header_len; /* what it has to hold */
	bool begun, too_much, bad_headers;
};

static const struct refusal too_large = { 413, "ParseRequestParameterException",
					  "The request is too large." };

/* Requests. */

/* Of the library: the request line is there.  The result is what handle() has
 * for its own. */
static void *
begin(void *arg, const char *uri, struct MHD_Connection *con)
{
	struct exchange *x = calloc(1, sizeof(*x));

	(void)arg;
	(void)con;
	if (x)
		x->uri = strdup(uri);
	return x;
}

static void
exchange_free(struct exchange *x)
{
	if (!x)
		return;
	if (x->uri)
		secret_wipe(x->uri, strlen(x->uri));
	free(x->uri);
	free(x->header_text);
	request_text_done(&x->body);
	free(x);
}

static void
completed(void *arg, struct MHD_Connection *con, void **con_cls,
	  enum MHD_RequestTerminationCode why)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(con, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct serving *at = arg;

	(void)why;
	if (info && info->socket_context)
		clients_answering(&at->listener->server->clients,
				  info->socket_context, false);
	exchange_free(*con_cls);
	*con_cls = NULL;
}

static void
connected(void *arg, struct MHD_Connection *con, void **socket_context,
	  enum MHD_ConnectionNotificationCode what)
{
	struct listener *l = ((struct serving *)arg)->listener;
	const union MHD_ConnectionInfo *info;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (*socket_context)
			clients_remove(&l->server->clients, *socket_context);
		*socket_context = NULL;
		return;
	}
	info = MHD_get_connection_info(con, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info)
		*socket_context = clients_add(&l->server->clients,
					      info->connect_fd, l->address.via);
}

static enum MHD_Result
count_header(void *arg, enum MHD_ValueKind kind, const char *name,
	     const char *value)
{
	struct exchange *x = arg;

	(void)kind;
	x->n_headers++;
	x->header_len += strlen(name) + (value ? strlen(value) : 0) + 2;
	return MHD_YES;
}

/* A copy: in lower case, and a value without blanks around it. */
static enum MHD_Result
take_header(void *arg, enum MHD_ValueKind kind, const char *name,
	    const char *value)
{
	struct exchange *x = arg;
	char *p = x->header_text + x->header_len;
	size_t len = strlen(name);

	(void)kind;
	if (!value)
		value = "";
	x->headers[x->n_headers].name = p;
	for (size_t i = 0; i <= len; i++)
		*p++ = (char)tolower((unsigned char)name[i]);
	value += strspn(value, " \t");
	len = strlen(value);
	while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		len--;
	x->headers[x->n_headers++].value = p;
	memcpy(p, value, len);
	p[len] = '\0';
	x->header_len = (size_t)(p + len + 1 - x->header_text);
	return MHD_YES;
}

/* Headers that are said twice could be read in two ways. */
static bool
header_twice(const struct exchange *x)
{
	for (size_t i = 0; i < x->n_headers; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(x->headers[i].name, x->headers[j].name) == 0)
				return true;
	return false;
}

static int
take_headers(struct exchange *x, struct MHD_Connection *con)
{
	(void)MHD_get_connection_values(con, MHD_HEADER_KIND, count_header, x);
	if (x->n_headers > HEADERS_MAX) {
		x->bad_headers = true;
		return 0;
	}
	x->header_text = malloc(x->header_len + 1);
	if (!x->header_text)
		return -ENOMEM;
	x->n_headers = x->header_len = 0;
	(void)MHD_get_connection_values(con, MHD_HEADER_KIND, take_header, x);
	x->bad_headers = header_twice(x);
	return 0;
}

/* Replies. */

static void
free_reply(void *arg)
{
	front_reply_free(arg);
}

/* ${reply} becomes the library's; NULL closes the connection. */
static enum MHD_Result
answer(struct serving *at, struct MHD_Connection *con,
       struct front_reply *reply)
{
	struct MHD_Response *response;
	enum MHD_Result r;

	if (!reply)
		return MHD_NO;
	response = MHD_create_response_from_buffer_with_free_callback_cls(
	    reply->len, reply->text, free_reply, reply);
	if (!response) {
		front_reply_free(reply);
		return MHD_NO;
	}
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				      "application/json;charset=utf-8");
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
				      "no-store");
	if (__atomic_load_n(&at->retired, __ATOMIC_RELAXED))
		(void)MHD_add_response_header(
		    response, MHD_HTTP_HEADER_CONNECTION, "close");
	r = MHD_queue_response(con, reply->status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result
serve(struct serving *at, struct MHD_Connection *con, struct client *client,
      const char *method, struct exchange *x)
{
	struct server *s = at->listener->server;
	struct raw_request raw = { .method = method,
				   .uri = x->uri,
				   .headers = x->headers,
				   .body = x->body.buf ? x->body.buf : "",
				   .body_len = x->body.len };

	if (x->too_much)
		return answer(at, con, front_refuse(&too_large));
	if (take_headers(x, con) < 0)
		return MHD_NO;
	if (x->bad_headers)
		return answer(at, con, front_refuse(&refusal_malformed));
	raw.n_headers = x->n_headers;
	clients_answering(&s->clients, client, true);
	return answer(at, con, front_handle(s->front, &raw, &client->peer));
}

/* A part of the body; far too much of it ends the connection. */
static enum MHD_Result
take_body(struct exchange *x, const char *data, size_t len)
{
	x->too_much |= x->body.len + len > REQUEST_TEXT_MAX;
	if (x->too_much) {
		x->body.len += len;
		return x->body.len > 4 * REQUEST_TEXT_MAX ? MHD_NO : MHD_YES;
	}
	request_text_add(&x->body, data, len);
	return x->body.bad ? MHD_NO : MHD_YES;
}

/* Whether the client has said that too much is to come. */
static bool
says_too_much(struct MHD_Connection *con)
{
	const char *len = MHD_lookup_connection_value(
	    con, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t n;

	return len && (parse_u64(len, &n) < 0 || n > REQUEST_TEXT_MAX);
}

/* Of the library: once when headers are there, for each part of the body, and
 * at the end. */
static enum MHD_Result
handle(void *arg, struct MHD_Connection *con, const char *url,
       const char *method, const char *version, const char *data, size_t *len,
       void **con_cls)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(con, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct client *client = info ? info->socket_context : NULL;
	struct exchange *x = *con_cls;
	struct serving *at = arg;

	(void)url;
	(void)version;
	if (!client || !x || !x->uri)
		return MHD_NO;
	if (!x->begun) {
		x->begun = true;
		clients_begun(&at->listener->server->clients, client);
		if (says_too_much(con))
			return answer(at, con, front_refuse(&too_large));
		return MHD_YES;
	}
	if (*len > 0) {
		size_t n = *len;

		*len = 0;
		return take_body(x, data, n);
	}
	return serve(at, con, client, method, x);
}

/* The library's own complaints: most are a client that went away. */
__attribute__((__format__(__printf__, 2, 0))) static void
complain(void *arg, const char *fmt, va_list ap)
{
	char text[512];

	(void)arg;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("http: %s", text);
}

/* Starting. */

static unsigned
threads_of(const struct server_options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = o->threads;

	if (n == 0)
		n = 4 * (cpus > 0 ? (unsigned)cpus : 1);
	return n < o->connections ? n : o->connections;
}

int
serving_start(struct serving *at, const char *cert, const char *key)
{
	const struct server_options *o = at->listener->server->options;
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC |
			 MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key },
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)cert },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0,
		  (void *)(uintptr_t)TLS_PRIORITIES },
		{ MHD_OPTION_END, 0, NULL },
	};
	int fd = fcntl(at->listener->fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return -errno;
	if (at->listener->address.via == SERVICE_TLS)
		flags |= MHD_USE_TLS;
	else
		tls[0].option = MHD_OPTION_END;
	at->retired = false;
	at->daemon = MHD_start_daemon(
	    flags, 0, NULL, NULL, handle, at, MHD_OPTION_EXTERNAL_LOGGER,
	    complain, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
	    MHD_OPTION_URI_LOG_CALLBACK, begin, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, completed, at,
	    MHD_OPTION_NOTIFY_CONNECTION, connected, at,
	    MHD_OPTION_THREAD_POOL_SIZE, threads_of(o),
	    MHD_OPTION_CONNECTION_LIMIT, o->connections,
	    MHD_OPTION_PER_IP_CONNECTION_LIMIT, o->per_address,
	    MHD_OPTION_CONNECTION_TIMEOUT, o->timeout,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MAX,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls,
	    MHD_OPTION_END);
	if (at->daemon)
		return 0;
	(void)close(fd);
	return -EINVAL;
}

void
serving_stop(struct serving *at)
{
	if (!at->daemon)
		return;
	MHD_stop_daemon(at->daemon);
	if (at->retired && at->fd >= 0)
		(void)close(at->fd);
	at->daemon = NULL;
}

void
serving_retire(struct serving *at)
{
	if (!at->daemon || at->retired)
		return;
	__atomic_store_n(&at->retired, true, __ATOMIC_RELAXED);
	at->fd = MHD_quiesce_daemon(at->daemon);
}

bool
serving_is_idle(const struct serving *at)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(
	    at->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info && info->num_connections == 0;
}
