/*
 * test_server.c - requests over sockets, and what must not get through.
 *
 * The service behind is fake_service.h; the sockets are real.
 */
#include "test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <sealdisk/crypto.h>
#include <sealdisk/log.h>

#include "fake_service.h"
#include "server.h"
#include "server_private.h"
#include "signature.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define REPLY_MAX 65536

struct env {
	char dir[TMPDIR_LEN];
	char path[TMPDIR_LEN + 16];
	struct service service;
	struct front *front;
	struct server_options options;
	struct server *server;
	struct sockaddr_in http;
};

static void
start(struct env *e)
{
	struct listen_address a[2];
	char text[TMPDIR_LEN + 32];
	socklen_t len = sizeof(e->http);
	void *sa = &e->http;

	assert_ok(front_new(&e->service, 1000, &e->front));
	(void)snprintf(text, sizeof(text), "unix:%s", e->path);
	assert_ok(listen_parse(text, &a[0]));
	assert_ok(listen_parse("http:127.0.0.1:0", &a[1]));
	assert_ok(server_open(&e->options, a, 2, &e->server));
	assert_ok(server_start(e->server, e->front));
	assert_ok(getsockname(e->server->listeners[1].fd, sa, &len));
}

static int
setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	tmpdir_make(e->dir);
	(void)snprintf(e->path, sizeof(e->path), "%s/kmsd.sock", e->dir);
	e->options = (struct server_options){ .threads = 4,
					      .connections = 64,
					      .per_address = 64,
					      .timeout = 10,
					      .socket_mode = 0600,
					      .socket_gid = (gid_t)-1,
					      .tls_cert = "",
					      .tls_key = "" };
	*state = e;
	return 0;
}

static int
teardown(void **state)
{
	struct env *e = *state;

	server_close(e->server);
	front_free(e->front);
	tmpdir_remove(e->dir);
	free(e);
	return 0;
}

/* ---- a client ---- */

static int
dial_unix(const struct env *e)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	void *sa = &un;

	strcpy(un.sun_path, e->path);
	assert_ok(connect(fd, sa, sizeof(un)));
	return fd;
}

static int
dial_http(const struct env *e)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	const void *sa = &e->http;

	assert_ok(connect(fd, sa, sizeof(e->http)));
	return fd;
}

/* Read until ${out} holds a whole reply, or the end; false at the end. */
static bool
hear(int fd, char *out)
{
	size_t n = 0;

	while (n < REPLY_MAX - 1) {
		struct pollfd p = { fd, POLLIN, 0 };
		char *body, *len;
		ssize_t got;

		if (poll(&p, 1, 15000) != 1)
			return false;
		got = read(fd, out + n, REPLY_MAX - 1 - n);
		if (got <= 0)
			return false;
		n += (size_t)got;
		out[n] = '\0';
		body = strstr(out, "\r\n\r\n");
		len = strcasestr(out, "\r\nContent-Length: ");
		if (body && len &&
		    strlen(body + 4) >= strtoul(len + 18, NULL, 10))
			return true;
	}
	return false;
}

static bool
say(int fd, const char *text)
{
	size_t len = strlen(text);

	return send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static unsigned
status_of(const char *reply)
{
	unsigned status = 0;

	(void)sscanf(reply, "HTTP/1.1 %u", &status);
	return status;
}

/* Send, and expect ${status} and ${what} in the reply. */
static void
expect(int fd, const char *request, unsigned status, const char *what)
{
	char reply[REPLY_MAX] = "";

	assert_true(say(fd, request));
	if (!hear(fd, reply))
		fail_msg("no reply to %.200s", request);
	if (status_of(reply) != status || !strstr(reply, what))
		fail_msg("not %u with %s: %s", status, what, reply);
}

#define GET(rest)                                                              \
	"GET /?Version=2016-01-20&" rest " HTTP/1.1\r\nHost: x\r\n\r\n"

static bool
is_closed(int fd, int seconds)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char buf[256];
	time_t end = time(NULL) + seconds;

	while (time(NULL) <= end) {
		if (poll(&p, 1, 200) != 1)
			continue;
		if (read(fd, buf, sizeof(buf)) <= 0)
			return true;
	}
	return false;
}

/* ---- over the Unix socket ---- */

static void
the_peer_on_the_socket_is_the_principal(void **state)
{
	struct env *e = *state;
	char who[64];
	int fd;

	start(e);
	fd = dial_unix(e);
	(void)snprintf(who, sizeof(who), "\"Principal\":\"uid %u\"",
		       (unsigned)geteuid());
	expect(fd, GET("Action=ListKeys&PageSize=2"), 200, who);
	expect(fd, GET("Action=ListKeys&PageSize=2"), 200,
	       "\"Params\":{\"PageSize\":\"2\"}");
	expect(fd, GET("Action=Fail"), 409, "Rejected.Disabled");
	expect(fd,
	       "POST / HTTP/1.1\r\nHost: x\r\nX-Acs-Action: Encrypt\r\n"
	       "x-acs-version: 2016-01-20\r\nTransfer-Encoding: chunked\r\n"
	       "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
	       "7\r\nKeyId=a\r\n7\r\n%2Fb&P=\r\n0\r\n\r\n",
	       200, "\"Params\":{\"KeyId\":\"a/b\",\"P\":\"\"}");
	(void)close(fd);
}

static void
what_is_no_request_gets_an_error_as_json(void **state)
{
	static const struct {
		const char *request;
		unsigned status;
		const char *code;
	} bad[] = {
		{ GET("Format=JSON"), 400, "MissingParameter" },
		{ "GET /?Action=A HTTP/1.1\r\nHost: x\r\n\r\n", 400,
		  "InvalidParameter" },
		{ GET("Action=A&Format=XML"), 400, "answers in JSON" },
		{ GET("Action=A&Action=B"), 400,
		  "ParseRequestParameterException" },
		{ GET("Action=A&x=%00"), 400,
		  "ParseRequestParameterException" },
		{ "GET /x?Action=A HTTP/1.1\r\nHost: x\r\n\r\n", 400,
		  "ParseRequestParameterException" },
		{ "PUT /?Action=A HTTP/1.1\r\nHost: x\r\n"
		  "Content-Length: 0\r\n\r\n",
		  403, "UnsupportedHTTPMethod" },
		{ "GET /?Action=A HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400,
		  "ParseRequestParameterException" },
		{ "POST /?Action=A HTTP/1.1\r\nHost: x\r\n"
		  "Content-Length: 999999999\r\n\r\n",
		  413, "too large" },
		{ "POST /?Action=A HTTP/1.1\r\nHost: x\r\n"
		  "Content-Length: 2\r\n\r\nA=",
		  400, "ParseRequestParameterException" },
		{ "GET /?Action=A HTTP/1.1\r\nHost: x\r\n"
		  "Authorization: ACS3-HMAC-SHA256 x\r\n\r\n",
		  400, "IncompleteSignature" },
	};
	struct env *e = *state;

	start(e);
	for (size_t i = 0; i < COUNT(bad); i++) {
		int fd = dial_unix(e);

		expect(fd, bad[i].request, bad[i].status, bad[i].code);
		(void)close(fd);
	}
	assert_int_equal(e->service.calls, 0);
}

static void
a_body_without_end_is_cut_off(void **state)
{
	struct env *e = *state;
	char chunk[65536 + 16];
	int fd, i;

	start(e);
	fd = dial_unix(e);
	assert_true(say(fd, "POST /?Action=A HTTP/1.1\r\nHost: x\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n"));
	(void)snprintf(chunk, sizeof(chunk), "10000\r\n%065536d\r\n", 0);
	for (i = 0; i < 1000 && say(fd, chunk); i++)
		;
	assert_in_range(i, 4, 100);
	(void)close(fd);

	/* A little too much is answered. */
	fd = dial_unix(e);
	assert_true(say(fd, "POST /?Action=A HTTP/1.1\r\nHost: x\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n"));
	for (i = 0; i < 5; i++)
		assert_true(say(fd, chunk));
	expect(fd, "0\r\n\r\n", 413, "too large");
	(void)close(fd);
	assert_int_equal(e->service.calls, 0);
}

static void
endless_headers_are_refused(void **state)
{
	struct env *e = *state;
	char reply[REPLY_MAX] = "", line[1024];
	int fd;

	start(e);
	fd = dial_unix(e);
	assert_true(say(fd, "GET /?Action=A HTTP/1.1\r\n"));
	(void)snprintf(line, sizeof(line), "X-%0900d: 1\r\n", 0);
	for (int i = 0; i < 1000 && say(fd, line); i++)
		;
	(void)hear(fd, reply);
	assert_true(reply[0] == '\0' || status_of(reply) >= 400);
	(void)close(fd);
	assert_int_equal(e->service.calls, 0);
}

/* ---- over TCP ---- */

static void
nobody_is_served_over_http_unsigned(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = dial_http(e);
	expect(fd, GET("Action=ListKeys"), 400, "AccessKeyId");
	assert_int_equal(e->service.calls, 0);
	(void)close(fd);
}

/* A signed request; ${at} is its time. */
static void
signed_get(char out[static 1024], const char *id, const char *nonce, time_t at)
{
	char when[TIME_STR_LEN], mac64[BASE64_LEN(SHA1_LEN)];
	const struct request_param params[] = {
		{ "AccessKeyId", id, true },
		{ "Action", "ListKeys", true },
		{ "SignatureMethod", "HMAC-SHA1", true },
		{ "SignatureNonce", nonce, true },
		{ "SignatureVersion", "1.0", true },
		{ "Timestamp", when, true },
		{ "Version", "2016-01-20", true },
	};
	CLEANUP(request_text_done) struct request_text escaped = { 0 };
	uint8_t mac[SHA1_LEN];

	format_time(at, when);
	assert_ok(
	    signature_v1("GET", params, COUNT(params), "testsecret", 10, mac));
	base64_encode(mac, sizeof(mac), mac64);
	request_text_encode(&escaped, mac64);
	(void)snprintf(out, 1024,
		       "GET /?AccessKeyId=%s&Action=ListKeys&SignatureMethod="
		       "HMAC-SHA1&SignatureNonce=%s&SignatureVersion=1.0&"
		       "Timestamp=%s&Version=2016-01-20&Signature=%s "
		       "HTTP/1.1\r\nHost: x\r\n\r\n",
		       id, nonce, when, escaped.buf);
}

static void
a_signed_request_is_served_once(void **state)
{
	struct env *e = *state;
	char request[1024];
	int fd;

	start(e);
	fd = dial_http(e);
	signed_get(request, "testid", "1", time(NULL));
	expect(fd, request, 200, "\"Principal\":\"key testid\"");
	expect(fd, request, 400, "SignatureNonceUsed");
	signed_get(request, "testid", "2", time(NULL));
	expect(fd, request, 200, "\"Principal\":\"key testid\"");
	assert_int_equal(e->service.calls, 2);
	(void)close(fd);

	/* Over the Unix socket a signature counts as well. */
	fd = dial_unix(e);
	expect(fd, request, 400, "SignatureNonceUsed");
	signed_get(request, "testid", "3", time(NULL));
	expect(fd, request, 200, "\"Principal\":\"key testid\"");
	(void)close(fd);
}

static void
old_early_unknown_and_disabled_are_refused(void **state)
{
	struct env *e = *state;
	char request[1024];
	int fd;

	start(e);
	fd = dial_http(e);
	signed_get(request, "testid", "1", time(NULL) - 1000);
	expect(fd, request, 400, "InvalidTimeStamp.Expired");
	signed_get(request, "testid", "1", time(NULL) + 1000);
	expect(fd, request, 400, "InvalidTimeStamp.Expired");
	/* It may have been served before the server was started. */
	signed_get(request, "testid", "1", time(NULL) - 30);
	expect(fd, request, 400, "InvalidTimeStamp.Expired");
	/* As may what was dated ahead then. */
	e->service.before = time(NULL) + 300;
	signed_get(request, "testid", "1", time(NULL) + 200);
	expect(fd, request, 400, "SignatureNonceUsed");
	e->service.before = 0;
	signed_get(request, "nobody", "1", time(NULL));
	expect(fd, request, 404, "InvalidAccessKeyId.NotFound");
	signed_get(request, "disabled", "1", time(NULL));
	expect(fd, request, 403, "Forbidden.AccessKey");
	signed_get(request, "testid", "1", time(NULL));
	memcpy(strstr(request, "ListKeys"), "FindKeys", 8);
	expect(fd, request, 400, "SignatureDoesNotMatch");
	assert_int_equal(e->service.calls, 0);
	(void)close(fd);
}

static void
who_sends_bad_requests_is_slowed_down(void **state)
{
	struct env *e = *state;
	char reply[REPLY_MAX];
	unsigned slowed = 0;
	int fd;

	start(e);
	fd = dial_http(e);
	for (int i = 0; i < 3 * FRONT_BAD_BURST; i++) {
		assert_true(say(fd, GET("Action=ListKeys")));
		assert_true(hear(fd, reply));
		slowed += status_of(reply) == 429;
	}
	assert_in_range(slowed, FRONT_BAD_BURST, 2 * FRONT_BAD_BURST);
	assert_non_null(strstr(reply, "Rejected.Throttling"));
	(void)close(fd);

	/* Others are not. */
	fd = dial_unix(e);
	expect(fd, GET("Action=ListKeys"), 200, "ListKeys");
	(void)close(fd);
}

/* ---- too many, too slow ---- */

static void
a_slow_request_is_cut_off(void **state)
{
	struct env *e = *state;
	int slow, idle;

	e->options.timeout = 1;
	start(e);
	slow = dial_http(e);
	idle = dial_unix(e);
	assert_true(say(slow, "GET /?Action="));
	for (int i = 0; i < 40 && say(slow, "A"); i++)
		(void)usleep(100000); /* never silent for long */
	assert_true(is_closed(slow, 1));
	assert_true(is_closed(idle, 1));
	(void)close(slow);
	(void)close(idle);
	slow = dial_unix(e);
	expect(slow, GET("Action=ListKeys"), 200, "ListKeys");
	(void)close(slow);
}

static void
five_hundred_connections_stop_nobody_else(void **state)
{
	struct env *e = *state;
	const struct rlimit files = { 2048, 2048 };
	static int fds[500];
	unsigned refused = 0;
	int fd;

	(void)setrlimit(RLIMIT_NOFILE, &files);
	e->options.per_address = 16;
	start(e);
	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i] = dial_http(e);
	(void)usleep(300000);
	for (size_t i = 0; i < COUNT(fds); i++) {
		struct pollfd p = { fds[i], POLLIN, 0 };

		refused += poll(&p, 1, 0) == 1;
	}
	assert_in_range(refused, 400, 500 - 16);

	fd = dial_unix(e);
	expect(fd, GET("Action=ListKeys"), 200, "ListKeys");
	(void)close(fd);
	for (size_t i = 0; i < COUNT(fds); i++)
		(void)close(fds[i]);
	(void)usleep(300000);
	fd = dial_http(e);
	expect(fd, GET("Action=ListKeys"), 400, "AccessKeyId");
	(void)close(fd);
}

/* ---- the end ---- */

static void *
stop(void *arg)
{
	struct env *e = arg;

	(void)usleep(200000);
	server_drain(e->server, 5);
	server_close(e->server);
	e->server = NULL;
	return NULL;
}

static void
what_is_being_answered_is_answered_before_the_end(void **state)
{
	struct env *e = *state;
	pthread_t t;
	int fd;

	e->service.slow_ms = 600;
	start(e);
	fd = dial_unix(e);
	assert_int_equal(pthread_create(&t, NULL, stop, e), 0);
	expect(fd, GET("Action=Slow"), 200, "Slow");
	assert_true(is_closed(fd, 2));
	(void)close(fd);
	(void)pthread_join(t, NULL);
	assert_int_not_equal(access(e->path, F_OK), 0);
}

/* ---- where to listen ---- */

static void
addresses_are_understood(void **state)
{
	static const char *const bad[] = {
		"",       "unix:",   "unix:rel",     "8443", ":8443",
		"a:",     "a:65536", "a:-1",         "a:b",  "::1:80",
		"http:a", "[]:80",   "http:unix:/a",
	};
	struct listen_address a;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		if (listen_parse(bad[i], &a) != -EINVAL)
			fail_msg("%s is taken", bad[i]);
	assert_ok(listen_parse("[::1]:8443", &a));
	assert_int_equal(a.via, SERVICE_TLS);
	assert_string_equal(a.host, "::1");
	assert_string_equal(a.port, "8443");
	assert_ok(listen_parse("http:localhost:80", &a));
	assert_int_equal(a.via, SERVICE_HTTP);
}

static void
a_socket_is_replaced_only_if_nobody_listens(void **state)
{
	struct env *e = *state;
	struct listen_address a;
	char text[TMPDIR_LEN + 32];
	struct stat st;
	int fd, second;

	(void)snprintf(text, sizeof(text), "unix:%s", e->path);
	assert_ok(listen_parse(text, &a));
	assert_ok(listen_open(&a, 0640, (gid_t)-1, &fd));
	assert_ok(stat(e->path, &st));
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_err(listen_open(&a, 0600, (gid_t)-1, &second), EADDRINUSE);
	(void)close(fd);
	assert_ok(listen_open(&a, 0600, (gid_t)-1, &second));
	(void)close(second);
	(void)unlink(e->path);
	assert_ok(mkdir(e->path, 0700));
	assert_err(listen_open(&a, 0600, (gid_t)-1, &fd), EADDRINUSE);

	/* Without TLS nothing leaves this machine. */
	assert_ok(listen_parse("http:0.0.0.0:0", &a));
	assert_err(listen_open(&a, 0600, (gid_t)-1, &fd), EPERM);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_peer_on_the_socket_is_the_principal),
		TEST(what_is_no_request_gets_an_error_as_json),
		TEST(a_body_without_end_is_cut_off),
		TEST(endless_headers_are_refused),
		TEST(nobody_is_served_over_http_unsigned),
		TEST(a_signed_request_is_served_once),
		TEST(old_early_unknown_and_disabled_are_refused),
		TEST(who_sends_bad_requests_is_slowed_down),
		TEST(a_slow_request_is_cut_off),
		TEST(five_hundred_connections_stop_nobody_else),
		TEST(what_is_being_answered_is_answered_before_the_end),
		TEST(addresses_are_understood),
		TEST(a_socket_is_replaced_only_if_nobody_listens),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(getenv("SEALDISK_DEBUG") ? LOG_DEBUG_ : LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
