/*
 * test_pkcs11.c - a token: what it seals, and what it says when it cannot.
 */
#include "token_env.h"

#include <pthread.h>

#include "pkcs11.h"

static struct passphrase *
pin_of(const char *text)
{
	struct passphrase *p;

	assert_ok(passphrase_new(&p));
	p->len = strlen(text);
	memcpy(p->text, text, p->len);
	return p;
}

static struct pkcs11 *
token_open_by(const char *token, const char *pin)
{
	struct pkcs11 *p;

	assert_ok(pkcs11_open(softhsm_module(), token, &p));
	assert_true(pkcs11_wants_pin(p));
	assert_ok(pkcs11_login(p, pin_of(pin)));
	return p;
}

struct sealed {
	uint8_t bytes[NONCE_LEN + 100 + TAG_LEN];
};

static int
seal(struct pkcs11 *p, const struct uuid *id, const uint8_t *in,
     struct sealed *s)
{
	return pkcs11_seal(p, id, "ad", 2, in, 100, s->bytes);
}

static int
unseal(struct pkcs11 *p, const struct uuid *id, const struct sealed *s,
       uint8_t *out)
{
	return pkcs11_unseal(p, id, "ad", 2, s->bytes, sizeof(s->bytes), out);
}

static void
what_it_seals_it_opens_and_nothing_else(void **state)
{
	struct pkcs11 *p;
	struct uuid id, other;
	uint8_t in[100], out[100];
	struct sealed s, bad;

	(void)state;
	NEED_TOKEN();
	p = token_open_by(TOKEN, PIN);
	assert_ok(uuid_new(&id));
	assert_ok(uuid_new(&other));
	assert_ok(pkcs11_make_key(p, &id, "one"));
	assert_ok(pkcs11_make_key(p, &other, "two"));
	fill_pattern(in, sizeof(in), 3);
	assert_ok(seal(p, &id, in, &s));
	assert_memory_not_equal(s.bytes + NONCE_LEN, in, sizeof(in));
	assert_ok(unseal(p, &id, &s, out));
	assert_memory_equal(in, out, sizeof(in));

	for (size_t i = 0; i < sizeof(s); i++) {
		bad = s;
		bad.bytes[i] ^= 1;
		assert_err(unseal(p, &id, &bad, out), EBADMSG);
	}
	assert_err(unseal(p, &other, &s, out), EBADMSG);
	assert_err(pkcs11_unseal(p, &id, "AD", 2, s.bytes, sizeof(s.bytes),
				 out),
		   EBADMSG);
	assert_err(pkcs11_unseal(p, &id, "ad", 2, s.bytes, 27, out), EBADMSG);
	assert_ok(unseal(p, &id, &s, out)); /* none of that has harmed it */
	pkcs11_close(p);
}

static void
lengths_are_bounded(void **state)
{
	static uint8_t in[PKCS11_MAX + 1], out[PKCS11_MAX + 64];
	struct pkcs11 *p;
	struct uuid id;

	(void)state;
	NEED_TOKEN();
	p = token_open_by(TOKEN, PIN);
	assert_ok(uuid_new(&id));
	assert_ok(pkcs11_make_key(p, &id, "one"));
	assert_err(pkcs11_seal(p, &id, "", 0, in, sizeof(in), out), EINVAL);
	assert_err(pkcs11_unseal(p, &id, "", 0, out, PKCS11_MAX + 29, in),
		   EBADMSG);
	assert_ok(pkcs11_seal(p, &id, "", 0, in, PKCS11_MAX, out));
	assert_ok(pkcs11_unseal(p, &id, "", 0, out, PKCS11_MAX + 28, in));
	assert_ok(pkcs11_seal(p, &id, "", 0, in, 0, out));
	assert_ok(pkcs11_unseal(p, &id, "", 0, out, 28, in));
	pkcs11_close(p);
}

static void
a_key_that_is_gone_is_told(void **state)
{
	uint8_t in[100] = { 0 }, out[100];
	struct pkcs11 *p;
	struct sealed s;
	struct uuid id;

	(void)state;
	NEED_TOKEN();
	p = token_open_by(TOKEN, PIN);
	assert_ok(uuid_new(&id));
	assert_err(pkcs11_remove_key(p, &id), ENOKEY);
	assert_ok(pkcs11_make_key(p, &id, "one"));
	assert_ok(seal(p, &id, in, &s));
	assert_ok(pkcs11_remove_key(p, &id));
	assert_err(unseal(p, &id, &s, out), ENOKEY);
	pkcs11_close(p);
}

static void
what_cannot_be_opened_says_why(void **state)
{
	struct env *e = *state;
	struct pkcs11 *p;

	NEED_TOKEN();
	assert_err(pkcs11_open("/nonexistent.so", TOKEN, &p), ENOKEY);
	assert_err(pkcs11_open(env_path(e, "softhsm2.conf"), TOKEN, &p),
		   ENOKEY);
	assert_err(pkcs11_open(softhsm_module(), "another", &p), ENOKEY);
	/* Neither the beginning of a label nor more than one. */
	assert_err(pkcs11_open(softhsm_module(), "test", &p), ENOKEY);
	assert_err(pkcs11_open(softhsm_module(), "", &p), ENOKEY);
	assert_ok(pkcs11_open(softhsm_module(), TOKEN, &p));
	assert_err(pkcs11_login(p, pin_of("wrong horse")), EKEYREJECTED);
	assert_err(pkcs11_login(p, pin_of("")), EKEYREJECTED);
	assert_ok(pkcs11_login(p, pin_of(PIN)));
	pkcs11_close(p);
	token_make("test token");
	assert_err(pkcs11_open(softhsm_module(), TOKEN, &p), ENOKEY);
}

struct hand {
	struct pkcs11 *p;
	struct uuid id;
	atomic_uint failures;
};

static void *
work(void *arg)
{
	struct hand *h = arg;
	uint8_t in[100], out[100];
	struct sealed s;

	for (int i = 0; i < 50; i++) {
		fill_pattern(in, sizeof(in), (uint64_t)i);
		if (seal(h->p, &h->id, in, &s) < 0 ||
		    unseal(h->p, &h->id, &s, out) < 0 ||
		    memcmp(in, out, sizeof(in)) != 0)
			h->failures++;
	}
	return NULL;
}

static void
threads_do_not_disturb_each_other(void **state)
{
	struct hand h = { .failures = 0 };
	pthread_t t[4];

	(void)state;
	NEED_TOKEN();
	h.p = token_open_by(TOKEN, PIN);
	assert_ok(uuid_new(&h.id));
	assert_ok(pkcs11_make_key(h.p, &h.id, "one"));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, work, &h), 0);
	for (size_t i = 0; i < 4; i++)
		(void)pthread_join(t[i], NULL);
	assert_int_equal(h.failures, 0);
	pkcs11_close(h.p);
}

/* fake_token.c, which lies. */

struct lie {
	const char *mode;
	int open, make, seal, unseal; /* what it comes to */
};

static const struct lie lies[] = {
	{ "good", 0, 0, 0, 0 },
	{ "closed", 0, 0, 0, 0 },
	{ "gone", 0, 0, -EHOSTDOWN, -EHOSTDOWN },
	{ "slots", -EIO, 0, 0, 0 },
	{ "two", 0, 0, -ENOKEY, -ENOKEY },
	{ "soft", 0, -EOPNOTSUPP, 0, 0 },
	{ "long", 0, 0, -EIO, 0 },
	{ "short", 0, 0, -EIO, 0 },
	{ "broken", 0, 0, 0, -EIO },
};

static void
try_lie(const char *module, const struct lie *l)
{
	uint8_t in[100], out[100];
	struct uuid id;
	struct pkcs11 *p;
	struct sealed s;
	int r;

	(void)setenv("FAKE_TOKEN", l->mode, 1);
	r = pkcs11_open(module, "fake", &p);
	assert_int_equal(r, l->open);
	if (r < 0)
		return;
	assert_err(pkcs11_login(p, pin_of("1235")), EKEYREJECTED);
	assert_ok(pkcs11_login(p, pin_of("1234")));
	assert_ok(uuid_new(&id));
	fill_pattern(in, sizeof(in), 9);
	assert_int_equal(pkcs11_make_key(p, &id, "x"), l->make);
	assert_int_equal(seal(p, &id, in, &s), l->seal);
	(void)setenv("FAKE_TOKEN", "good", 1);
	assert_ok(seal(p, &id, in, &s));
	(void)setenv("FAKE_TOKEN", l->mode, 1);
	assert_int_equal(unseal(p, &id, &s, out), l->unseal);
	/* Its own failure, or what it was given? */
	(void)setenv("FAKE_TOKEN", "good", 1);
	s.bytes[sizeof(s.bytes) - 1] ^= 1;
	assert_err(unseal(p, &id, &s, out), EBADMSG);
	pkcs11_close(p);
}

static void
a_token_that_lies_does_no_harm(void **state)
{
	char module[PATH_MAX];

	(void)state;
	if (!realpath("tests/fake_token.so", module))
		skip();
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		try_lie(module, &lies[i]);
	(void)unsetenv("FAKE_TOKEN");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_TOKEN(what_it_seals_it_opens_and_nothing_else),
		TEST_TOKEN(lengths_are_bounded),
		TEST_TOKEN(a_key_that_is_gone_is_told),
		TEST_TOKEN(what_cannot_be_opened_says_why),
		TEST_BARE(a_token_that_lies_does_no_harm),
		TEST_TOKEN(threads_do_not_disturb_each_other),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
