/*
 * http.c - requests to one server over HTTP, by libcurl.
 *
 * A handle of the library is for one thread at a time, and keeps its
 * connection: there is a pool of them, which grows to as many as there are
 * callers at once.
 */
#include "http.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#include "wiped.h"

#define IDLE_MAX 16 /* handles that are kept */
#define CONNECT_TIMEOUT_MS 5000

struct http {
	char url[1100];
	char host[1024];
	char path[1024]; /* of a Unix socket, or "" */
	char ca_file[1024];
	pthread_mutex_t lock;
	CURL *idle[IDLE_MAX];
	size_t n_idle;
};

static void *
wiped_malloc(size_t len)
{
	return malloc(len);
}

static void *
wiped_calloc(size_t n, size_t len)
{
	return calloc(n, len);
}

static bool curl_works;

static void
start_curl(void)
{
	curl_works = curl_global_init_mem(CURL_GLOBAL_ALL, wiped_malloc,
					  wiped_free, wiped_realloc,
					  wiped_strdup,
					  wiped_calloc) == CURLE_OK;
}

/* What stands behind https://: letters and digits of a name, an address, a
 * port, and nothing more. */
static bool
is_host(const char *s)
{
	static const char allowed[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	    ".-:[]_";
	size_t len = strspn(s, allowed);

	return len > 0 && len < sizeof(((struct http *)NULL)->host) &&
	       s[len] == '\0';
}

static int
set_endpoint(struct http *h, const char *endpoint)
{
	static const char https[] = "https://";
	size_t len = strlen(endpoint);

	if (strncmp(endpoint, "unix:/", 6) == 0) {
		if (len - 5 >= sizeof(h->path))
			return -EINVAL;
		strcpy(h->path, endpoint + 5);
		strcpy(h->host, "localhost");
		strcpy(h->url, "http://localhost/");
		return 0;
	}
	if (strncmp(endpoint, https, sizeof(https) - 1) != 0)
		return -EINVAL;
	/* A slash at the end says nothing. */
	(void)snprintf(h->host, sizeof(h->host), "%s",
		       endpoint + sizeof(https) - 1);
	len = strlen(h->host);
	if (len > 0 && h->host[len - 1] == '/')
		h->host[len - 1] = '\0';
	if (!is_host(h->host))
		return -EINVAL;
	(void)snprintf(h->url, sizeof(h->url), "https://%s/", h->host);
	return 0;
}

int
http_new(const char *endpoint, const char *ca_file, struct http **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CLEANUP(http_freep) struct http *h = calloc(1, sizeof(*h));
	int r;

	(void)pthread_once(&once, start_curl);
	if (!h || !curl_works)
		return -ENOMEM;
	(void)pthread_mutex_init(&h->lock, NULL);
	r = set_endpoint(h, endpoint);
	if (r < 0 || strlen(ca_file) >= sizeof(h->ca_file))
		return -EINVAL;
	strcpy(h->ca_file, ca_file);
	*ret = TAKE(h);
	return 0;
}

void
http_free(struct http *h)
{
	if (!h)
		return;
	while (h->n_idle > 0)
		curl_easy_cleanup(h->idle[--h->n_idle]);
	(void)pthread_mutex_destroy(&h->lock);
	free(h);
}

const char *
http_host(const struct http *h)
{
	return h->host;
}

void
http_answer_done(struct http_answer *a)
{
	secret_free(a->text, HTTP_ANSWER_MAX);
	*a = (struct http_answer){ 0 };
}

/* Handles. */

static CURL *
take_handle(struct http *h)
{
	CURL *c = NULL;

	(void)pthread_mutex_lock(&h->lock);
	if (h->n_idle > 0)
		c = h->idle[--h->n_idle];
	(void)pthread_mutex_unlock(&h->lock);
	return c ? c : curl_easy_init();
}

static void
give_handle(struct http *h, CURL *c)
{
	curl_easy_reset(c); /* the connection stays */
	(void)pthread_mutex_lock(&h->lock);
	if (h->n_idle < IDLE_MAX) {
		h->idle[h->n_idle++] = c;
		c = NULL;
	}
	(void)pthread_mutex_unlock(&h->lock);
	if (c)
		curl_easy_cleanup(c);
}

/* One request. */

static size_t
take_body(char *data, size_t size, size_t n, void *arg)
{
	struct http_answer *a = arg;
	size_t len = size * n;

	if (len >= HTTP_ANSWER_MAX - a->len)
		return 0; /* CURLE_WRITE_ERROR */
	memcpy(a->text + a->len, data, len);
	a->len += len;
	a->text[a->len] = '\0';
	return len;
}

static int
from_curl(CURLcode e, const char *url, const char *why)
{
	switch (e) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
		return -EHOSTDOWN;
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return -ECONNRESET;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		log_error("key service %s: %s", url, why);
		return -EKEYREJECTED;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

static struct curl_slist *
to_list(const struct raw_header *headers, size_t n)
{
	struct curl_slist *list = NULL, *longer;
	char line[2048];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(line, sizeof(line), "%s: %s", headers[i].name,
			       headers[i].value);
		longer = curl_slist_append(list, line);
		if (!longer) {
			curl_slist_free_all(list);
			return NULL;
		}
		list = longer;
	}
	return list;
}

/* Only plain HTTP over the Unix socket, only TLS over the network; no proxy of
 * the environment, no redirection. */
static bool
set_up(const struct http *h, CURL *c, int64_t timeout_ms, bool again, char *why)
{
	bool local = h->path[0] != '\0';
	CURLcode e = curl_easy_setopt(c, CURLOPT_URL, h->url);

	e |= curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR,
			      local ? "http" : "https");
	e |= curl_easy_setopt(c, CURLOPT_PROXY, "");
	e |= curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	e |= curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	e |= curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	e |= curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
			      (long)CONNECT_TIMEOUT_MS);
	e |= curl_easy_setopt(c, CURLOPT_HTTP_VERSION,
			      (long)CURL_HTTP_VERSION_1_1);
	e |= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	e |= curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	e |= curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, again ? 0L : 1L);
	if (local)
		e |= curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, h->path);
	else
		e |= curl_easy_setopt(c, CURLOPT_SSLVERSION,
				      (long)CURL_SSLVERSION_TLSv1_2);
	if (h->ca_file[0]) {
		e |= curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
		e |= curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	}
	return e == CURLE_OK;
}

static int
perform(const struct http *h, CURL *c, struct curl_slist *list,
	const char *body, size_t len, int64_t timeout_ms, bool again,
	struct http_answer *a)
{
	char why[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURLcode e;

	if (!set_up(h, c, timeout_ms, again, why) ||
	    curl_easy_setopt(c, CURLOPT_HTTPHEADER, list) ||
	    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)len) ||
	    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body) ||
	    curl_easy_setopt(c, CURLOPT_WRITEDATA, a))
		return -ENOMEM;
	e = curl_easy_perform(c);
	if (e != CURLE_OK) {
		log_debug("key service %s: %s", h->url,
			  why[0] ? why : curl_easy_strerror(e));
		return from_curl(e, h->url,
				 why[0] ? why : curl_easy_strerror(e));
	}
	(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	a->status = (unsigned)status;
	return 0;
}

int
http_post(struct http *h, const struct raw_header *headers, size_t n,
	  const char *body, size_t len, int64_t timeout_ms, bool again,
	  struct http_answer *ret)
{
	CLEANUP(http_answer_done)
	struct http_answer a = { .text = secret_alloc(HTTP_ANSWER_MAX) };
	struct curl_slist *list = to_list(headers, n);
	CURL *c = take_handle(h);
	int r = -ENOMEM;

	if (a.text && list && c)
		r = perform(h, c, list, body, len, timeout_ms, again, &a);
	curl_slist_free_all(list);
	if (c)
		give_handle(h, c);
	if (r < 0)
		return r;
	*ret = a;
	a.text = NULL;
	return 0;
}
