/*
 * test_signature.c - parameters, and both signatures.
 */
#include "test.h"

#include <sealdisk/crypto.h>

#include "signature.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define MAX_HEADERS 16

/* A request in the making. */
struct sent {
	struct raw_request raw;
	struct raw_header headers[MAX_HEADERS];
};

static void
sent_init(struct sent *s, const char *method, const char *uri, const char *body)
{
	*s = (struct sent){ 0 };
	s->raw.method = method;
	s->raw.uri = uri;
	s->raw.headers = s->headers;
	s->raw.body = body;
	s->raw.body_len = strlen(body);
}

static void
sent_header(struct sent *s, const char *name, const char *value)
{
	for (size_t i = 0; i < s->raw.n_headers; i++)
		if (strcmp(s->headers[i].name, name) == 0) {
			s->headers[i].value = value;
			return;
		}
	assert_true(s->raw.n_headers < MAX_HEADERS);
	s->headers[s->raw.n_headers++] = (struct raw_header){ name, value };
}

static void
assert_refused(const struct refusal *no, const char *code)
{
	if (!no)
		fail_msg("taken, not %s", code);
	assert_string_equal(no->code, code);
}

static struct request *
parsed(const struct sent *s)
{
	struct request *q = NULL;
	const struct refusal *no = request_parse(&s->raw, &q);

	if (no)
		fail_msg("%s: %s", no->code, no->message);
	return q;
}

/* The whole way of a signature, without its time. */
static const struct refusal *
verify(const struct sent *s, const char *secret)
{
	CLEANUP(request_freep) struct request *q = parsed(s);
	struct signature sig;
	const struct refusal *no = signature_read(q, &sig);

	if (no)
		return no;
	return signature_verify(q, &sig, secret, strlen(secret));
}

/* ---- parameters ---- */

static void
parameters_are_decoded_and_sorted(void **state)
{
	CLEANUP(request_freep) struct request *q = NULL;
	struct sent s;

	(void)state;
	sent_init(&s, "POST", "/?b=%41+%2a*&a&&c=%C3%A4", "B=2&Tag.1.Key=x%3D");
	sent_header(&s, "content-type",
		    "application/x-www-form-urlencoded; charset=utf-8");
	q = parsed(&s);
	assert_int_equal(q->n_params, 5);
	assert_string_equal(q->params[0].name, "B");
	assert_false(q->params[0].in_query);
	assert_true(q->params[2].in_query);
	assert_string_equal(request_param(q, "a"), "");
	assert_string_equal(request_param(q, "b"), "A **");
	assert_string_equal(request_param(q, "c"), "\xc3\xa4");
	assert_string_equal(request_param(q, "Tag.1.Key"), "x=");
	assert_null(request_param(q, "Tag"));
}

static void
what_is_malformed_is_refused(void **state)
{
	static const char *const bad[] = {
		"/x?a=1",    "*",           "/?a=%",      "/?a=%4",
		"/?a=%4g",   "/?a=%00",     "/?%00=a",    "/?=a",
		"/?a%20b=c", "/?a=%ff",     "/?a=%C0%80", "/?a=%ED%A0%80",
		"/?a=1&a=1", "/?a=1&%61=2", "/?a\n=1",    "/?a%0a=1",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct request *q = NULL;
		struct sent s;

		sent_init(&s, "GET", bad[i], "");
		assert_refused(request_parse(&s.raw, &q),
			       "ParseRequestParameterException");
		assert_null(q);
	}
}

static void
a_name_in_query_and_form_is_refused(void **state)
{
	struct request *q = NULL;
	struct sent s;

	(void)state;
	sent_init(&s, "POST", "/?Action=A", "Action=B");
	assert_refused(request_parse(&s.raw, &q), /* no content type */
		       "ParseRequestParameterException");
	sent_header(&s, "content-type", "application/x-www-form-urlencoded");
	assert_refused(request_parse(&s.raw, &q),
		       "ParseRequestParameterException");
	s.raw.body_len = 3; /* no NUL behind it is needed */
	s.raw.body = "B=\0";
	assert_refused(request_parse(&s.raw, &q),
		       "ParseRequestParameterException");
}

static void
too_much_is_refused(void **state)
{
	CLEANUP(free_memp) char *uri = malloc(REQUEST_TEXT_MAX + 8);
	struct request *q = NULL;
	struct sent s;

	(void)state;
	assert_non_null(uri);
	memset(uri, 'a', REQUEST_TEXT_MAX + 7);
	memcpy(uri, "/?x=", 4);
	uri[REQUEST_TEXT_MAX + 7] = '\0';
	sent_init(&s, "GET", uri, "");
	assert_int_equal(request_parse(&s.raw, &q)->status, 413);

	memcpy(uri, "/?", 2);
	for (size_t i = 0; i <= REQUEST_PARAMS_MAX; i++)
		(void)sprintf(uri + 2 + 5 * i, "a%03zu&", i);
	assert_int_equal(request_parse(&s.raw, &q)->status, 413);
	uri[2 + 5 * REQUEST_PARAMS_MAX] = '\0';
	request_free(parsed(&s));
}

/* ---- version 1 ---- */

#define V1_HEAD                                                                \
	"AccessKeyId=testid&SignatureMethod=HMAC-SHA1&SignatureVersion=1.0"    \
	"&Version=2016-01-20"
#define V1_VECTOR                                                              \
	"/?" V1_HEAD "&Action=CreateKey&Format=json"                           \
	"&Timestamp=2016-03-28T03%3A13%3A08Z"                                  \
	"&Signature=41wk2SSX1GJh7fwnc5eqOfiJPFg%3D"

static void
v1_matches_the_documented_vector(void **state)
{
	CLEANUP(request_freep) struct request *q = NULL;
	struct signature sig;
	struct sent s;

	(void)state;
	sent_init(&s, "GET", V1_VECTOR, "");
	assert_null(verify(&s, "testsecret"));
	assert_refused(verify(&s, "testsecreT"), "SignatureDoesNotMatch");
	assert_refused(verify(&s, ""), "SignatureDoesNotMatch");
	s.raw.method = "POST";
	assert_refused(verify(&s, "testsecret"), "SignatureDoesNotMatch");

	q = parsed(&s);
	assert_null(signature_read(q, &sig));
	assert_int_equal(sig.kind, SIGNATURE_V1);
	assert_string_equal(sig.access_key_id, "testid");
	/* It has no nonce: what is unique about it does for one. */
	assert_string_equal(sig.nonce, "41wk2SSX1GJh7fwnc5eqOfiJPFg=");
	assert_int_equal(sig.time, 1459134788);
}

/* As the SDK pop-core sends it, with what it encodes and others do not. */
#define POP_CORE                                                               \
	"AccessKeyId=testid&Action=GenerateDataKey&EncryptionContext=%7B%22"   \
	"acs%3Aecs%3Adisk%22%3A%22d-bp1%22%2C%22b%22%3A%22x%20y%2A%27%22%7D"   \
	"&Format=JSON&KeyId=alias%2Facs%2Fecs&KeySpec=AES_256&SignatureMethod" \
	"=HMAC-SHA1&SignatureNonce=addf07f7ac9b095f420138a9f517def0&"          \
	"SignatureVersion=1.0&Timestamp=2026-11-24T02%3A37%3A25Z&Version="     \
	"2016-01-20&Signature="

/* The signature of ${s} with what it says of one replaced. */
static void
sign_v1(const struct sent *s, const char *secret,
	char out[static BASE64_LEN(SHA1_LEN)])
{
	CLEANUP(request_freep) struct request *q = parsed(s);
	uint8_t mac[SHA1_LEN];

	assert_ok(signature_v1(s->raw.method, q->params, q->n_params, secret,
			       strlen(secret), mac));
	base64_encode(mac, sizeof(mac), out);
}

static void
v1_does_not_depend_on_how_it_was_encoded(void **state)
{
	static const char *const forms[][2] = {
		{ POP_CORE "x", "" },
		{ "EncryptionContext=%7b\"acs:ecs:disk\":\"d-bp1\",\"b\":\"x+y*"
		  "'\"}&AccessKeyId=testid&Action=GenerateDataKey&Format=JSON&"
		  "KeyId=alias/acs/ecs",
		  "KeySpec=AES%5F256&SignatureMethod=HMAC-SHA1&SignatureNonce="
		  "addf07f7ac9b095f420138a9f517def0&SignatureVersion=1.0&"
		  "Timestamp=2026-11-24T02:37:25Z&Version=2016-01-20" },
	};
	char signatures[2][BASE64_LEN(SHA1_LEN)];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char uri[1024];
		struct sent s;

		(void)snprintf(uri, sizeof(uri), "/?%s", forms[i][0]);
		sent_init(&s, "POST", uri, forms[i][1]);
		sent_header(&s, "content-type",
			    "application/x-www-form-urlencoded");
		sign_v1(&s, "testsecret", signatures[i]);
	}
	assert_string_equal(signatures[0], signatures[1]);
}

static void
v1_needs_all_its_parts(void **state)
{
	static const struct {
		const char *uri, *code;
	} bad[] = {
		{ "/?AccessKeyId=testid", "IncompleteSignature" },
		{ "/?Signature=41wk2SSX1GJh7fwnc5eqOfiJPFg%3D",
		  "IncompleteSignature" },
		{ "/?" V1_HEAD "&Signature=41wk2SSX1GJh7fwnc5eqOfiJPFg%3D",
		  "IllegalTimestamp" },
		{ "/?" V1_HEAD "&Signature=41wk2SSX1GJh7fwnc5eqOfiJPFg%3D"
		  "&Timestamp=2016-03-28",
		  "InvalidTimeStamp.Format" },
		{ "/?" V1_HEAD "&Timestamp=2016-03-28T03:13:08Z&Signature=41wk",
		  "IncompleteSignature" },
		{ "/?" V1_HEAD "&Timestamp=2016-03-28T03:13:08Z&Signature="
		  "41wk2SSX1GJh7fwnc5eqOfiJPFg",
		  "IncompleteSignature" },
		{ V1_VECTOR "&SecurityToken=x", "InvalidSecurityToken" },
		{ V1_VECTOR "&SignatureNonce=", "IncompleteSignature" },
		{ V1_VECTOR "&SignatureNonce=a%0Ab", "IncompleteSignature" },
		{ V1_VECTOR "&More=1", "SignatureDoesNotMatch" },
	};
	struct sent s;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		sent_init(&s, "GET", bad[i].uri, "");
		assert_refused(verify(&s, "testsecret"), bad[i].code);
	}
	sent_init(&s, "GET", V1_VECTOR, "");
	sent_header(&s, "authorization", "ACS3-HMAC-SHA256 x");
	assert_refused(verify(&s, "testsecret"), "IncompleteSignature");
}

/* ---- ACS3 ---- */

#define EMPTY_SHA256                                                           \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ACS3_NAMES                                                             \
	"host;x-acs-action;x-acs-content-sha256;x-acs-date;"                   \
	"x-acs-signature-nonce;x-acs-version"
#define ACS3_OF(names, mac)                                                    \
	"ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=" names     \
	",Signature=" mac
#define ACS3_MAC                                                               \
	"06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"

static void
acs3_vector(struct sent *s)
{
	sent_init(s, "POST",
		  "/?ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811"
		  ".vhd&RegionId=cn-shanghai",
		  "");
	sent_header(s, "host", "ecs.cn-shanghai.aliyuncs.com");
	sent_header(s, "x-acs-action", "RunInstances");
	sent_header(s, "x-acs-version", "2014-05-26");
	sent_header(s, "x-acs-date", "2023-10-26T10:22:32Z");
	sent_header(s, "x-acs-signature-nonce",
		    "3156853299f313e23d1673dc12e1703d");
	sent_header(s, "x-acs-content-sha256", EMPTY_SHA256);
	sent_header(s, "user-agent", "not signed");
	sent_header(s, "authorization", ACS3_OF(ACS3_NAMES, ACS3_MAC));
}

static void
acs3_matches_the_documented_vector(void **state)
{
	CLEANUP(request_freep) struct request *q = NULL;
	struct signature sig;
	struct sent s;

	(void)state;
	acs3_vector(&s);
	assert_null(verify(&s, "YourAccessKeySecret"));
	assert_refused(verify(&s, "YourAccessKeysecret"),
		       "SignatureDoesNotMatch");
	q = parsed(&s);
	assert_null(signature_read(q, &sig));
	assert_int_equal(sig.kind, SIGNATURE_ACS3);
	assert_string_equal(sig.access_key_id, "YourAccessKeyId");
	assert_string_equal(sig.nonce, "3156853299f313e23d1673dc12e1703d");
	assert_int_equal(sig.time, 1698315752);
}

static void
acs3_covers_all_that_is_used(void **state)
{
	static const struct {
		const char *header, *value, *code;
	} bad[] = {
		{ "host", "elsewhere", "SignatureDoesNotMatch" },
		{ "x-acs-action", "StopInstances", "SignatureDoesNotMatch" },
		{ "x-acs-version", "2014-05-27", "SignatureDoesNotMatch" },
		{ "x-acs-date", "2023-10-26T10:22:33Z",
		  "SignatureDoesNotMatch" },
		{ "x-acs-date", "yesterday", "InvalidTimeStamp.Format" },
		{ "x-acs-signature-nonce", "2", "SignatureDoesNotMatch" },
		{ "x-acs-content-sha256", "0", "SignatureDoesNotMatch" },
		{ "x-acs-more", "1", "IncompleteSignature" },
		{ "x-acs-security-token", "1", "InvalidSecurityToken" },
		{ "authorization", ACS3_OF("host", ACS3_MAC),
		  "IncompleteSignature" },
		{ "authorization", ACS3_OF(ACS3_NAMES, "06"),
		  "IncompleteSignature" },
		{ "authorization", ACS3_OF(ACS3_NAMES ";x-more", ACS3_MAC),
		  "IncompleteSignature" },
		{ "authorization", ACS3_OF("host;" ACS3_NAMES, ACS3_MAC),
		  "IncompleteSignature" },
		{ "authorization", ACS3_OF(ACS3_NAMES, ACS3_MAC) ",More=1",
		  "IncompleteSignature" },
		{ "authorization",
		  "Basic Zm9vOmJhcg==", "IncompleteSignature" },
		{ "authorization", "", "IncompleteSignature" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct sent s;

		acs3_vector(&s);
		sent_header(&s, bad[i].header, bad[i].value);
		assert_refused(verify(&s, "YourAccessKeySecret"), bad[i].code);
	}
}

static void
acs3_refuses_a_changed_query_or_body(void **state)
{
	struct sent s;

	(void)state;
	acs3_vector(&s);
	s.raw.uri = "/?ImageId=x&RegionId=cn-shanghai";
	assert_refused(verify(&s, "YourAccessKeySecret"),
		       "SignatureDoesNotMatch");
	acs3_vector(&s);
	s.raw.body = "ImageId2=x";
	s.raw.body_len = strlen(s.raw.body);
	sent_header(&s, "content-type", "application/x-www-form-urlencoded");
	assert_refused(verify(&s, "YourAccessKeySecret"),
		       "SignatureDoesNotMatch");
	acs3_vector(&s);
	s.raw.method = "GET";
	assert_refused(verify(&s, "YourAccessKeySecret"),
		       "SignatureDoesNotMatch");
}

static void
no_signature_is_told_from_a_bad_one(void **state)
{
	CLEANUP(request_freep) struct request *q = NULL;
	struct signature sig;
	struct sent s;

	(void)state;
	sent_init(&s, "POST", "/?Action=ListKeys", "");
	q = parsed(&s);
	assert_null(signature_read(q, &sig));
	assert_int_equal(sig.kind, SIGNATURE_NONE);
	assert_refused(signature_verify(q, &sig, "", 0), "IncompleteSignature");
}

static void
old_and_early_requests_are_refused(void **state)
{
	const struct signature s = { .time = 1000000 };

	(void)state;
	assert_null(signature_fresh(&s, 1000000, 0));
	assert_null(signature_fresh(&s, 1000000 + SIGNATURE_WINDOW, 0));
	assert_null(signature_fresh(&s, 1000000 - SIGNATURE_WINDOW, 0));
	assert_null(signature_fresh(&s, 1000000, 1000000));
	assert_refused(signature_fresh(&s, 1000001 + SIGNATURE_WINDOW, 0),
		       "InvalidTimeStamp.Expired");
	assert_refused(signature_fresh(&s, 999999 - SIGNATURE_WINDOW, 0),
		       "InvalidTimeStamp.Expired");
	assert_refused(signature_fresh(&s, 1000001, 1000001),
		       "InvalidTimeStamp.Expired");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameters_are_decoded_and_sorted),
		cmocka_unit_test(what_is_malformed_is_refused),
		cmocka_unit_test(a_name_in_query_and_form_is_refused),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(v1_matches_the_documented_vector),
		cmocka_unit_test(v1_does_not_depend_on_how_it_was_encoded),
		cmocka_unit_test(v1_needs_all_its_parts),
		cmocka_unit_test(acs3_matches_the_documented_vector),
		cmocka_unit_test(acs3_covers_all_that_is_used),
		cmocka_unit_test(acs3_refuses_a_changed_query_or_body),
		cmocka_unit_test(no_signature_is_told_from_a_bad_one),
		cmocka_unit_test(old_and_early_requests_are_refused),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
