/*
 * helper_kmsload.c - many clients of a key server at once, for the bench.
 *
 *	helper_kmsload once SOCKET FORM
 *	helper_kmsload load SOCKET FORM CLIENTS SECONDS
 *	helper_kmsload count SOCKET FORM CLIENTS REQUESTS
 *	helper_kmsload embedded REQUESTS
 *
 * FORM is the body of a request, as "Action=...&KeyId=...".  `once` prints the
 * reply.  `load` and `count` send it again and again, each client over one
 * connection that it keeps, and print how many answers a second there were, the
 * time that 99 of 100 took at most, and how many were errors.  `embedded` opens
 * one data key again and again in this process, by the settings that a command
 * would use.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <sealdisk/crypto.h>
#include <sealdisk/io.h>
#include <sealdisk/kms.h>
#include <sealdisk/settings.h>

#define CLIENTS_MAX 256
#define REPLY_MAX 65536
#define SLOTS 100000 /* of 10 us each: what took longer is in the last */

static const char *socket_path;
static char request[REPLY_MAX];
static size_t request_len;
static _Atomic uint64_t n_done, n_failed;
static _Atomic int64_t left_to_do = INT64_MAX;
static _Atomic uint32_t took[SLOTS];
static atomic_bool stop;

static uint64_t
now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "kmsload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int
dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", socket_path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(socket_path);
	return fd;
}

/* A reply, whole: its body, or NULL if it is none. */
static char *
receive(int fd, char buf[static REPLY_MAX], bool *ret_ok)
{
	size_t len = 0, want = 0;
	char *body = NULL, *field;
	ssize_t n;

	for (;;) {
		n = read(fd, buf + len, REPLY_MAX - 1 - len);
		if (n <= 0)
			return NULL;
		len += (size_t)n;
		buf[len] = '\0';
		body = body ? body : strstr(buf, "\r\n\r\n");
		if (!body)
			continue;
		field = strcasestr(buf, "\ncontent-length:");
		if (!field)
			return NULL;
		want = (size_t)(body - buf) + 4 + strtoul(field + 16, NULL, 10);
		if (want >= REPLY_MAX)
			return NULL;
		if (len >= want)
			break;
	}
	*ret_ok = strncmp(buf, "HTTP/1.1 200", 12) == 0;
	return body + 4;
}

static void *
client(void *arg)
{
	char *buf = malloc(REPLY_MAX);
	int fd = dial();
	bool ok = false;
	uint64_t from, us;

	(void)arg;
	while (buf && !stop) {
		if (atomic_fetch_sub(&left_to_do, 1) <= 0)
			break;
		from = now_us();
		if (io_write_all(fd, request, request_len) < 0 ||
		    !receive(fd, buf, &ok))
			die("a connection has ended");
		us = (now_us() - from) / 10;
		atomic_fetch_add(&took[us < SLOTS ? us : SLOTS - 1], 1);
		atomic_fetch_add(&n_done, 1);
		if (!ok)
			atomic_fetch_add(&n_failed, 1);
	}
	free(buf);
	(void)close(fd);
	return NULL;
}

static uint64_t
percentile_us(uint64_t of_100)
{
	uint64_t sum = 0, total = n_done;
	size_t i;

	for (i = 0; i < SLOTS - 1; i++) {
		sum += took[i];
		if (sum * 100 >= total * of_100)
			break;
	}
	return (i + 1) * 10;
}

static void
load(unsigned clients, unsigned seconds)
{
	pthread_t t[CLIENTS_MAX];
	uint64_t from = now_us(), us;

	for (unsigned i = 0; i < clients; i++)
		if (pthread_create(&t[i], NULL, client, NULL) != 0)
			die("a thread");
	if (seconds)
		(void)sleep(seconds);
	stop = seconds > 0;
	for (unsigned i = 0; i < clients; i++)
		(void)pthread_join(t[i], NULL);
	us = now_us() - from;
	printf("{\"rate\":%" PRIu64 ",\"p99_us\":%" PRIu64
	       ",\"failed\":%" PRIu64 "}\n",
	       n_done * 1000000 / (us ? us : 1), percentile_us(99), n_failed);
}

static void
make_request(const char *form)
{
	request_len = (size_t)snprintf(
	    request, sizeof(request),
	    "POST / HTTP/1.1\r\nHost: localhost\r\n"
	    "Content-Type: application/x-www-form-urlencoded\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    strlen(form), form);
	if (request_len >= sizeof(request)) {
		errno = EMSGSIZE;
		die("the form");
	}
}

static int
once(void)
{
	static char buf[REPLY_MAX];
	int fd = dial();
	bool ok = false;
	char *body;

	if (io_write_all(fd, request, request_len) < 0)
		die("a request");
	body = receive(fd, buf, &ok);
	if (body)
		printf("%s\n", body);
	(void)close(fd);
	return body && ok ? 0 : 1;
}

static int
embedded(unsigned n)
{
	CLEANUP(kms_closep) struct kms *k = NULL;
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	CLEANUP(free_memp) char *msg = NULL;
	static struct settings s;
	struct wrapped_dk w = { .blob_len = 0 };
	struct uuid lineage;
	uint64_t from;
	int r;

	r = crypto_init();
	if (r == 0)
		r = settings_load(&s, NULL, &msg);
	if (r == 0)
		r = kms_open(&s, &k);
	if (r == 0)
		r = uuid_new(&lineage);
	if (r == 0)
		r = kms_generate_data_key(k, s.kms_key, &lineage, &w, NULL);
	from = now_us();
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = kms_decrypt(k, &w, &dk);
	if (r < 0) {
		errno = -r;
		die(msg ? msg : "embedded");
	}
	printf("{\"us\":%" PRIu64 "}\n", (now_us() - from) / (n ? n : 1));
	return 0;
}

int
main(int argc, char **argv)
{
	unsigned clients;

	if (argc == 3 && strcmp(argv[1], "embedded") == 0)
		return embedded((unsigned)atoi(argv[2]));
	if (argc < 4)
		return 2;
	socket_path = argv[2];
	make_request(argv[3]);
	if (strcmp(argv[1], "once") == 0)
		return once();
	if (argc != 6)
		return 2;
	clients = (unsigned)atoi(argv[4]);
	if (clients == 0 || clients > CLIENTS_MAX)
		return 2;
	if (strcmp(argv[1], "count") == 0) {
		left_to_do = strtoll(argv[5], NULL, 10);
		load(clients, 0);
	} else {
		load(clients, (unsigned)atoi(argv[5]));
	}
	return 0;
}
