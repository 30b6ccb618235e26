/*
 * remote_env.h - a client of a key service elsewhere, for each test, and the
 * service: a thread that answers what the test has laid out for it.
 */
#ifndef SEALDISK_REMOTE_ENV_H
#define SEALDISK_REMOTE_ENV_H

#include "test.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <sealdisk/crypto.h>
#include <sealdisk/kms.h>
#include <sealdisk/log.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define ID "08c33a6f-4e0a-4a1b-a3fa-7ddfa1d40000"
#define VERSION_ID "18c33a6f-4e0a-4a1b-a3fa-7ddfa1d40000"
#define DK "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define IDS "\"KeyId\":\"" ID "\",\"KeyVersionId\":\"" VERSION_ID "\""
#define METADATA                                                               \
	"{\"RequestId\":\"x\",\"KeyMetadata\":{\"KeyId\":\"" ID                \
	"\",\"Arn\":\"acs:kms:local:0:key/" ID                                 \
	"\",\"Creator\":\"0\",\"CreationDate\":\"2026-11-25T00:00:00Z\","      \
	"\"Description\":\"a\\u001b[2Jb\",\"KeyState\":\"Enabled\","           \
	"\"Origin\":\"Aliyun_KMS\",\"PrimaryKeyVersion\":\"" VERSION_ID        \
	"\",\"DeleteDate\":\"\"}}"

/* What is to be answered, one after the other; the last one for ever. */
enum { CLOSE, RAW, DRIP, CUT }; /* instead of a status */
struct answer {
	/* CLOSE: nothing comes; RAW: ${body} as it is; DRIP: a byte of it now
	 * and then; CUT: a good answer, of env.cut bytes with its head */
	unsigned status;
	const char *body;
};

struct env {
	char dir[TMPDIR_LEN];
	struct settings s;
	struct kms *kms;
	int listener;
	pthread_t thread;
	const struct answer *answers;
	size_t n;
	atomic_uint asked;
	atomic_size_t cut;
	char last[65536]; /* the last request */
};

/* Read one request; false at the end of the connection. */
static inline bool
hear(int fd, char *out, size_t cap)
{
	size_t n = 0;

	while (n < cap - 1) {
		char *body, *len;
		ssize_t got = read(fd, out + n, cap - 1 - n);

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

static inline bool
say(int fd, const char *text, size_t len)
{
	return send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* As long as somebody listens. */
static inline void
drip(int fd, const char *text)
{
	const struct timespec pause = { 0, 50000000 };

	while (say(fd, *text ? text++ : " ", 1))
		(void)nanosleep(&pause, NULL);
}

/* Whether the connection goes on. */
static inline bool
reply(int fd, const struct answer *a, size_t cut)
{
	static char all[80000];
	int n = snprintf(all, sizeof(all),
			 "HTTP/1.1 %u X\r\nContent-Length: %zu\r\n"
			 "Content-Type: application/json\r\n\r\n%s",
			 a->status > CUT ? a->status : 200, strlen(a->body),
			 a->body);

	if (a->status > CUT)
		return say(fd, all, (size_t)n);
	if (a->status == DRIP)
		drip(fd, a->body);
	else if (a->status == RAW)
		(void)say(fd, a->body, strlen(a->body));
	else if (a->status == CUT && cut < (size_t)n)
		(void)say(fd, all, cut);
	return false;
}

#define CONNECTIONS 16

/* One request of a connection. */
static inline bool
serve_one(struct env *e, int fd)
{
	unsigned i;

	if (!hear(fd, e->last, sizeof(e->last)))
		return false;
	i = e->asked++;
	return reply(fd, &e->answers[i < e->n ? i : e->n - 1], e->cut);
}

/* Connections stay, as the client likes; one is served at a time. */
static inline void *
serve(void *arg)
{
	struct env *e = arg;
	struct pollfd p[1 + CONNECTIONS] = {
		{ .fd = e->listener, .events = POLLIN },
	};
	nfds_t n = 1;

	while (poll(p, n, -1) > 0) {
		if (p[0].revents) {
			int fd = accept(e->listener, NULL, NULL);

			if (fd < 0 || n > CONNECTIONS)
				break;
			p[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
			continue;
		}
		for (nfds_t i = 1; i < n; i++) {
			if (!p[i].revents || serve_one(e, p[i].fd))
				continue;
			(void)close(p[i].fd);
			p[i--] = p[--n];
		}
	}
	while (n > 1)
		(void)close(p[--n].fd);
	return NULL;
}

static inline int
setup(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct env *e = calloc(1, sizeof(*e));
	void *sa = &un;

	assert_non_null(e);
	tmpdir_make(e->dir);
	assert_true(strlen(e->dir) < 64);
	strcpy(un.sun_path, e->dir);
	strcat(un.sun_path, "/s");
	e->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_ok(bind(e->listener, sa, sizeof(un)));
	assert_ok(listen(e->listener, 16));
	settings_default(&e->s);
	(void)snprintf(e->s.kms_endpoint, sizeof(e->s.kms_endpoint),
		       "unix:%s/s", e->dir);
	e->s.kms_timeout = 1;
	*state = e;
	return 0;
}

static inline int
teardown(void **state)
{
	struct env *e = *state;

	kms_close(e->kms);
	(void)shutdown(e->listener, SHUT_RDWR);
	if (e->n)
		(void)pthread_join(e->thread, NULL);
	(void)close(e->listener);
	tmpdir_remove(e->dir);
	free(e);
	return 0;
}

static inline void
answer_with(struct env *e, const struct answer *answers, size_t n)
{
	bool first = e->n == 0;

	e->answers = answers;
	e->n = n;
	e->asked = 0;
	if (!first)
		return;
	assert_int_equal(pthread_create(&e->thread, NULL, serve, e), 0);
	assert_ok(kms_open(&e->s, &e->kms));
}

static const struct uuid lineage = { { 1, 2, 3, 4 } };

static const struct wrapped_dk wrapped = { .kms = "default",
					   .key_id = ID,
					   .key_version_id = VERSION_ID,
					   .blob = "blob",
					   .blob_len = 4 };

#endif
