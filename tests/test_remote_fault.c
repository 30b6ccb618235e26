/*
 * test_remote_fault.c - connections to a key service that fail: what was asked
 * is asked again where that does no harm, and never where it does.
 */
#include "remote_env.h"

#define MADE                                                                   \
	{                                                                      \
		200, METADATA                                                  \
	}

/*
 * CreateKey went over a connection that an earlier call had left, and the
 * server died over it: libcurl sent it again by itself.  So did we after what
 * only means that nobody knows: two keys were made.
 */
static void
what_may_have_been_done_was_done_twice(void **state)
{
	static const struct answer ways[][3] = {
		{ MADE, { CLOSE, "" }, MADE },
		{ MADE, { 502, "bad gateway" }, MADE },
		{ MADE, { 504, "gateway timeout" }, MADE },
		{ MADE, { 500, "{\"Code\":\"InternalFailure\"}" }, MADE },
	};
	struct env *e = *state;
	struct kms_key_info info;

	for (size_t i = 0; i < COUNT(ways); i++) {
		answer_with(e, ways[i], COUNT(ways[i]));
		assert_ok(kms_create_key(e->kms, "", &info));
		assert_err(kms_create_key(e->kms, "", &info), EHOSTDOWN);
		assert_int_equal(e->asked, 2);
	}
}

/* These say that it was not. */
static void
what_was_not_done_is_asked_again(void **state)
{
	static const struct answer answers[] = {
		{ 503, "out of order" },
		{ 503, "{\"Code\":\"ServiceUnavailableTemporary\"}" },
		{ 429, "{\"Code\":\"Rejected.Throttling\"}" },
		MADE,
	};
	struct env *e = *state;
	struct kms_key_info info;

	e->s.kms_timeout = 10;
	answer_with(e, answers, COUNT(answers));
	assert_ok(kms_create_key(e->kms, "", &info));
	assert_int_equal(e->asked, 4);
}

/* ---- connections ---- */

/* Wherever it ends: an error, and what must not be is not asked again. */
static void
half_an_answer_is_none(void **state)
{
	static const struct answer cut = { CUT, METADATA };
	struct env *e = *state;
	struct kms_key_info info;

	answer_with(e, &cut, 1);
	for (e->cut = 0; e->cut < strlen(METADATA) + 60; e->cut += 3) {
		int r;

		e->asked = 0;
		r = kms_create_key(e->kms, "", &info);
		if (r != -EHOSTDOWN && r != -EPROTO)
			fail_msg("cut at %zu: %d", (size_t)e->cut, r);
		assert_int_equal(e->asked, 1);
	}
}

static void
the_rest_of_it_is_asked_for_again(void **state)
{
	static const struct answer answers[] = {
		{ RAW, "HTTP/1.1 200 X\r\nContent-Length: 900\r\n\r\n{" },
		{ RAW, "HTTP/1.1 200 X\r\nContent-Length: 900\r\n\r\n" },
		{ 200, "{" IDS ",\"Plaintext\":\"" DK "\"}" },
	};
	struct env *e = *state;
	struct key dk;

	e->s.kms_timeout = 10;
	answer_with(e, answers, COUNT(answers));
	assert_ok(kms_decrypt(e->kms, &wrapped, &dk));
	assert_int_equal(dk.bytes[31], 31);
	assert_int_equal(e->asked, 3);
}

/* It comes, but never to an end. */
static void
a_slow_answer_is_given_up_in_time(void **state)
{
	static const struct answer answers[] = {
		{ DRIP, "HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n" },
	};
	struct env *e = *state;
	time_t began = time(NULL);
	struct key dk;

	answer_with(e, answers, COUNT(answers));
	assert_err(kms_decrypt(e->kms, &wrapped, &dk), EHOSTDOWN);
	assert_in_range(time(NULL) - began, 1, 3);
	assert_int_equal(e->asked, 1);
}

static void *
come_back(void *arg)
{
	const struct timespec pause = { 0, 150000000 };
	struct env *e = arg;

	(void)nanosleep(&pause, NULL);
	(void)listen(e->listener, 16);
	return serve(e);
}

/* Its socket is there, and nobody listens to it. */
static void
a_server_that_comes_back_is_found(void **state)
{
	static const struct answer answers[] = {
		{ 200, "{" IDS ",\"Plaintext\":\"" DK "\"}" },
	};
	struct env *e = *state;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	void *sa = &un;
	struct key dk;

	(void)close(e->listener);
	strcpy(un.sun_path, e->s.kms_endpoint + strlen("unix:"));
	assert_ok(unlink(un.sun_path));
	e->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_ok(bind(e->listener, sa, sizeof(un)));
	e->s.kms_timeout = 10;
	e->answers = answers;
	e->n = COUNT(answers);
	assert_int_equal(pthread_create(&e->thread, NULL, come_back, e), 0);
	assert_ok(kms_open(&e->s, &e->kms));
	assert_ok(kms_decrypt(e->kms, &wrapped, &dk));
	assert_int_equal(e->asked, 1);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_may_have_been_done_was_done_twice),
		TEST(what_was_not_done_is_asked_again),
		TEST(half_an_answer_is_none),
		TEST(the_rest_of_it_is_asked_for_again),
		TEST(a_slow_answer_is_given_up_in_time),
		TEST(a_server_that_comes_back_is_found),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(getenv("SEALDISK_DEBUG") ? LOG_DEBUG_ : LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
