/*
 * test_policy.c - RAM policy documents: what is refused, what they allow, and
 * how one might try to get past them.
 */
#include "test.h"

#include <time.h>

#include "policy.h"

#define ACCOUNT "local"
#define KEY_ARN "acs:kms:cn-a:local:key/11111111-2222-3333-4444-555555555555"
#define NOW 1760000000 /* 2025-10-09T08:53:20Z */

static const struct policy_pair tags[] = {
	{ "team", "Blue" },
	{ "level", "7" },
	{ "acs:ecs:disk-encryption", "TRUE" },
};
static const struct policy_pair context[] = { { "lineage", "abc/def:x" } };

static struct policy_request
request(const char *action)
{
	return (struct policy_request){
		.account = ACCOUNT,
		.principal = "user/backup",
		.action = action,
		.resource = KEY_ARN,
		.source_ip = "10.1.2.3",
		.secure_transport = true,
		.now = NOW,
		.tags = tags,
		.n_tags = 3,
		.context = context,
		.n_context = 1,
	};
}

static int
try_parse(const char *text, enum policy_kind kind, struct policy **ret)
{
	char why[POLICY_WHY_LEN] = "";
	int r = policy_parse(text, strlen(text), kind, ret, why);

	assert_int_equal(why[0] == '\0', r == 0);
	assert_null(strpbrk(why, "\n\r"));
	if (r < 0)
		assert_err(r, EINVAL);
	return r;
}

static enum policy_effect
evaluate(const char *text, enum policy_kind kind,
	 const struct policy_request *q)
{
	CLEANUP(policy_freep) struct policy *p = NULL;

	if (try_parse(text, kind, &p) < 0) {
		print_error("%s\n", text);
		fail();
	}
	return policy_evaluate(p, q);
}

#define DOC(statements) "{\"Version\":\"1\",\"Statement\":[" statements "]}"
#define ALLOW(action, resource)                                                \
	"{\"Effect\":\"Allow\",\"Action\":" action ",\"Resource\":" resource "}"
#define DENY(action, resource)                                                 \
	"{\"Effect\":\"Deny\",\"Action\":" action ",\"Resource\":" resource "}"

/* An Allow of one action pattern on one resource pattern. */
static enum policy_effect
evaluate_patterns(const char *action, const char *resource,
		  const struct policy_request *q)
{
	char text[2048];

	(void)snprintf(text, sizeof(text), DOC(ALLOW("\"%s\"", "\"%s\"")),
		       action, resource);
	return evaluate(text, POLICY_OF_PRINCIPAL, q);
}

/* The request with this condition on an Allow of everything. */
static bool
holds(const char *condition, const struct policy_request *q)
{
	char text[4096];

	(void)snprintf(text, sizeof(text),
		       DOC("{\"Effect\":\"Allow\",\"Action\":\"*\","
			   "\"Resource\":\"*\",\"Condition\":%s}"),
		       condition);
	return evaluate(text, POLICY_OF_PRINCIPAL, q) == POLICY_ALLOW;
}

static void
silence_is_no_and_deny_wins(void **state)
{
	struct policy_request q = request("kms:Decrypt");

	(void)state;
	assert_int_equal(evaluate(DOC(ALLOW("\"kms:Encrypt\"", "\"*\"")),
				  POLICY_OF_PRINCIPAL, &q),
			 POLICY_SILENT);
	assert_int_equal(
	    evaluate(DOC(ALLOW("[\"kms:Encrypt\",\"kms:De*\"]", "[\"*\"]")),
		     POLICY_OF_PRINCIPAL, &q),
	    POLICY_ALLOW);
	assert_int_equal(evaluate(DOC(ALLOW("\"*\"", "\"*\"") "," DENY(
				      "\"kms:Decrypt\"", "\"*\"")),
				  POLICY_OF_PRINCIPAL, &q),
			 POLICY_DENY);
	assert_int_equal(
	    evaluate(DOC(DENY("\"kms:Decrypt\"", "\"*\"") "," ALLOW("\"*\"",
								    "\"*\"")),
		     POLICY_OF_PRINCIPAL, &q),
	    POLICY_DENY);
	assert_int_equal(policy_combine(POLICY_SILENT, POLICY_ALLOW),
			 POLICY_ALLOW);
	assert_int_equal(policy_combine(POLICY_DENY, POLICY_ALLOW),
			 POLICY_DENY);
}

static void
patterns_match_what_they_say(void **state)
{
	static const struct {
		const char *action, *resource, *asked;
		bool yes;
	} cases[] = {
		{ "*", "*", "kms:Encrypt", true },
		{ "kms:*", "*", "kms:Encrypt", true },
		{ "kms:encrypt", "*", "kms:Encrypt", true },
		{ "KMS:ENC?YPT", "*", "kms:Encrypt", true },
		{ "kms:*Key", "*", "kms:GenerateDataKey", true },
		{ "kms:*Key", "*", "kms:GenerateDataKeyWithoutPlaintext",
		  false },
		{ "kms:*Key*", "*", "kms:GenerateDataKeyWithoutPlaintext",
		  true },
		{ "kms:Encrypt", "acs:kms:*:*:*", "kms:Encrypt", true },
		{ "kms:Encrypt", "acs:kms:*:*:*/*", "kms:Encrypt", true },
		{ "kms:Encrypt", "acs:kms:cn-?:local:key/1111*", "kms:Encrypt",
		  true },
		{ "kms:Encrypt", "acs:kms:cn-a:local:alias/*", "kms:Encrypt",
		  false },
		{ "kms:Encrypt", "acs:ecs:*:*:*", "kms:Encrypt", false },
		{ "ecs:*", "*", "kms:Encrypt", false },
		{ "kms:**************t", "*", "kms:Encrypt", true },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy_request q = request(cases[i].asked);

		assert_int_equal(evaluate_patterns(cases[i].action,
						   cases[i].resource,
						   &q) == POLICY_ALLOW,
				 cases[i].yes);
	}
}

/* What a * might be hoped to swallow, and does not. */
static void
wildcards_do_not_escape_their_part(void **state)
{
	static const char *const resources[] = {
		"acs:kms:cn-*:key/*:x",        "acs:kms:*:other:*",
		"acs:kms:cn-b*:local:*",       "acs:*:cn-a:loca:*",
		"acs:kms:cn-a:local:key", /* the container is no key */
		"acs:kms:cn-a:local:key/1111", "acs:kms:cn-a:local:KEY/*",
		"acs:kms::local:key/*",        "acs:kms:cn-a:local:?ey/1*6",
	};
	struct policy_request q = request("kms:Decrypt");
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(resources) / sizeof(resources[0]); i++)
		assert_int_equal(evaluate_patterns("*", resources[i], &q),
				 POLICY_SILENT);

	/* An action whose own name has what divides. */
	q.action = "kms:x:kms:Encrypt";
	assert_int_equal(evaluate_patterns("kms:Encrypt", "*", &q),
			 POLICY_SILENT);
	q.action = "ecs:kms:Encrypt";
	assert_int_equal(evaluate_patterns("*s:Encrypt", "*", &q),
			 POLICY_SILENT);
	/* A resource that is no ARN matches the bare * alone. */
	q.resource = "key/1";
	assert_int_equal(evaluate_patterns("*", "acs:*:*:*:*", &q),
			 POLICY_SILENT);
	q.resource = "";
	assert_int_equal(evaluate_patterns("*", "acs:*:*:*:*", &q),
			 POLICY_SILENT);
}

static void
not_action_is_all_but(void **state)
{
	static const char doc[] =
	    DOC("{\"Effect\":\"Allow\",\"NotAction\":[\"kms:Decrypt\","
		"\"kms:ReEncrypt*\"],\"Resource\":\"*\"}");
	struct policy_request q = request("kms:decrypt");

	(void)state;
	assert_int_equal(evaluate(doc, POLICY_OF_PRINCIPAL, &q), POLICY_SILENT);
	q.action = "kms:ReEncryptTo";
	assert_int_equal(evaluate(doc, POLICY_OF_PRINCIPAL, &q), POLICY_SILENT);
	q.action = "kms:Encrypt";
	assert_int_equal(evaluate(doc, POLICY_OF_PRINCIPAL, &q), POLICY_ALLOW);
}

static void
conditions_hold_as_they_say(void **state)
{
	static const struct {
		const char *condition;
		bool yes;
	} cases[] = {
		{ "{\"StringEquals\":{\"kms:tag/team\":\"Blue\"}}", true },
		{ "{\"StringEquals\":{\"kms:tag/team\":\"blue\"}}", false },
		{ "{\"StringEquals\":{\"kms:tag/Team\":\"Blue\"}}", false },
		{ "{\"StringEquals\":{\"kms:tag/team\":[\"Red\",\"Blue\"]}}",
		  true },
		{ "{\"StringNotEquals\":{\"kms:tag/team\":[\"Red\","
		  "\"Blue\"]}}",
		  false },
		{ "{\"StringNotEquals\":{\"kms:tag/team\":[\"Red\","
		  "\"blue\"]}}",
		  true },
		{ "{\"StringEqualsIgnoreCase\":{\"kms:tag/"
		  "acs:ecs:disk-encryption\":\"true\"}}",
		  true },
		{ "{\"StringNotEqualsIgnoreCase\":{\"kms:tag/team\":"
		  "\"BLUE\"}}",
		  false },
		{ "{\"StringLike\":{\"kms:tag/team\":\"B*e\"}}", true },
		{ "{\"StringLike\":{\"kms:tag/team\":\"b*\"}}", false },
		{ "{\"StringNotLike\":{\"kms:tag/team\":\"R*\"}}", true },
		/* A pattern is one only where it is said to be. */
		{ "{\"StringEquals\":{\"kms:tag/team\":\"*\"}}", false },
		/* What is not there equals nothing. */
		{ "{\"StringEquals\":{\"kms:tag/none\":\"\"}}", false },
		{ "{\"StringLike\":{\"kms:tag/none\":\"*\"}}", false },
		{ "{\"StringNotLike\":{\"kms:tag/none\":\"*\"}}", true },
		{ "{\"StringNotEquals\":{\"kms:tag/none\":\"x\"}}", true },
		{ "{\"StringEquals\":{\"kms:EncryptionContext:lineage\":"
		  "\"abc/def:x\"}}",
		  true },
		{ "{\"StringLike\":{\"kms:EncryptionContext:lineage\":"
		  "\"abc*\"}}",
		  true },
		{ "{\"StringEquals\":{\"kms:EncryptionContext:other\":"
		  "\"abc\"}}",
		  false },
		{ "{\"NumericEquals\":{\"kms:tag/level\":7}}", true },
		{ "{\"NumericLessThan\":{\"kms:tag/level\":\"10\"}}", true },
		{ "{\"NumericLessThan\":{\"kms:tag/level\":7}}", false },
		{ "{\"NumericLessThanEquals\":{\"kms:tag/level\":7}}", true },
		{ "{\"NumericGreaterThan\":{\"kms:tag/level\":-8}}", true },
		{ "{\"NumericGreaterThanEquals\":{\"kms:tag/level\":8}}",
		  false },
		{ "{\"NumericEquals\":{\"kms:tag/team\":7}}", false },
		{ "{\"DateLessThan\":{\"acs:CurrentTime\":"
		  "\"2025-10-09T08:53:21Z\"}}",
		  true },
		{ "{\"DateGreaterThan\":{\"acs:CurrentTime\":"
		  "\"2025-10-09T08:53:20Z\"}}",
		  false },
		{ "{\"DateEquals\":{\"acs:CurrentTime\":"
		  "\"2025-10-09T16:53:20+08:00\"}}",
		  true },
		{ "{\"DateNotEquals\":{\"acs:CurrentTime\":"
		  "\"2025-10-09T01:23:20-07:30\"}}",
		  false },
		{ "{\"Bool\":{\"acs:SecureTransport\":true}}", true },
		{ "{\"Bool\":{\"acs:SecureTransport\":\"false\"}}", false },
		{ "{\"IpAddress\":{\"acs:SourceIp\":\"10.0.0.0/8\"}}", true },
		{ "{\"IpAddress\":{\"acs:SourceIp\":[\"192.168.0.0/16\","
		  "\"10.1.2.3\"]}}",
		  true },
		{ "{\"IpAddress\":{\"acs:SourceIp\":\"10.1.2.0/31\"}}", false },
		{ "{\"NotIpAddress\":{\"acs:SourceIp\":\"10.1.2.2/31\"}}",
		  false },
		{ "{\"IpAddress\":{\"acs:SourceIp\":\"::/0\"}}", true },
		{ "{\"IpAddress\":{\"acs:SourceIp\":"
		  "\"::ffff:10.1.0.0/112\"}}",
		  true },
		/* Operators and keys: all of them. */
		{ "{\"StringEquals\":{\"kms:tag/team\":\"Blue\","
		  "\"kms:tag/level\":\"8\"}}",
		  false },
		{ "{\"StringEquals\":{\"kms:tag/team\":\"Blue\"},"
		  "\"Bool\":{\"acs:SecureTransport\":false}}",
		  false },
		{ "{\"StringEquals\":{\"kms:tag/team\":\"Blue\"},"
		  "\"Bool\":{\"acs:SecureTransport\":true}}",
		  true },
	};
	struct policy_request q = request("kms:Decrypt");
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (holds(cases[i].condition, &q) != cases[i].yes) {
			print_error("%s\n", cases[i].condition);
			fail();
		}
}

static void
an_address_is_the_same_however_written(void **state)
{
	struct policy_request q = request("kms:Decrypt");

	(void)state;
	q.source_ip = "::ffff:10.1.2.3";
	assert_true(
	    holds("{\"IpAddress\":{\"acs:SourceIp\":\"10.1.2.3\"}}", &q));
	q.source_ip = "2001:db8::1";
	assert_true(
	    holds("{\"IpAddress\":{\"acs:SourceIp\":\"2001:db8::/32\"}}", &q));
	assert_false(
	    holds("{\"IpAddress\":{\"acs:SourceIp\":\"0.0.0.0/0\"}}", &q));
	/* On a socket of this host there is none: it is in no network. */
	q.source_ip = NULL;
	assert_false(holds("{\"IpAddress\":{\"acs:SourceIp\":\"::/0\"}}", &q));
	q.source_ip = "10.1.2.3/8";
	assert_false(holds("{\"IpAddress\":{\"acs:SourceIp\":\"::/0\"}}", &q));
}

static void
what_is_not_understood_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"{}",
		"{\"Version\":\"1\",\"Statement\":[]}",
		"{\"Version\":1,\"Statement\":[" ALLOW("\"*\"", "\"*\"") "]}",
		"{\"Version\":\"2012-10-17\",\"Statement\":[" ALLOW(
		    "\"*\"", "\"*\"") "]}",
		"{\"Version\":\"1\",\"Id\":\"x\",\"Statement\":[" ALLOW(
		    "\"*\"", "\"*\"") "]}",
		"{\"Version\":\"1\",\"Statement\":" ALLOW("\"*\"", "\"*\"") "}",
		DOC(ALLOW("\"*\"", "\"*\"")) "x",
		DOC("7"),
		DOC("{\"Effect\":\"Allow\",\"Action\":\"*\"}"),
		DOC("{\"Effect\":\"Allow\",\"Resource\":\"*\"}"),
		DOC("{\"Action\":\"*\",\"Resource\":\"*\"}"),
		DOC("{\"Effect\":\"allow\",\"Action\":\"*\","
		    "\"Resource\":\"*\"}"),
		DOC("{\"Effect\":\"Allow\",\"Action\":\"*\",\"NotAction\":"
		    "\"kms:Encrypt\",\"Resource\":\"*\"}"),
		DOC("{\"Effect\":\"Allow\",\"Action\":\"*\","
		    "\"NotResource\":\"*\"}"),
		DOC("{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":"
		    "\"*\",\"Notes\":1}"),
		/* Twice: which one counts is anybody's guess. */
		DOC("{\"Effect\":\"Deny\",\"Effect\":\"Allow\","
		    "\"Action\":\"*\",\"Resource\":\"*\"}"),
		DOC("{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":"
		    "\"*\",\"Principal\":{\"RAM\":\"*\"}}"),
		DOC(ALLOW("[]", "\"*\"")),
		DOC(ALLOW("[7]", "\"*\"")),
		DOC(ALLOW("[[\"*\"]]", "\"*\"")),
		DOC(ALLOW("\"Encrypt\"", "\"*\"")),
		DOC(ALLOW("\"kms:a:b\"", "\"*\"")),
		DOC(ALLOW("\":Encrypt\"", "\"*\"")),
		DOC(ALLOW("\"kms:\"", "\"*\"")),
		DOC(ALLOW("\"\"", "\"*\"")),
		DOC(ALLOW("\"kms:\\u0000*\"", "\"*\"")),
		DOC(ALLOW("\"*\"", "\"key/1\"")),
		DOC(ALLOW("\"*\"", "\"**\"")),
		DOC(ALLOW("\"*\"", "\"acs:kms:*:key/1\"")),
		DOC(ALLOW("\"*\"", "\"aws:kms:*:*:*\"")),
		DOC(ALLOW("\"*\"", "\"acs:kms:*:${acs:Account}:*\"")),
	};
	struct policy *p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (try_parse(bad[i], POLICY_OF_PRINCIPAL, &p) == 0) {
			print_error("%s\n", bad[i]);
			fail();
		}
}

static void
a_condition_that_cannot_be_judged_is_refused(void **state)
{
	static const char *const bad[] = {
		"7",
		"{}",
		"{\"StringEquals\":{}}",
		"{\"StringEquals\":[\"kms:tag/a\"]}",
		"{\"StringEquals\":{\"kms:tag/a\":[]}}",
		"{\"StringEquals\":{\"kms:tag/a\":{}}}",
		"{\"StringEquals\":{\"kms:tag/a\":null}}",
		"{\"StringEquals\":{\"kms:tag/a\":1.5}}",
		"{\"StringEquals\":{\"kms:tag/a\":\"${b}\"}}",
		"{\"stringEquals\":{\"kms:tag/a\":\"b\"}}",
		"{\"StringEqualsIfExists\":{\"kms:tag/a\":\"b\"}}",
		"{\"Null\":{\"kms:tag/a\":\"true\"}}",
		"{\"StringEquals\":{\"kms:tag/\":\"b\"}}",
		"{\"StringEquals\":{\"kms:tag\":\"b\"}}",
		"{\"StringEquals\":{\"KMS:tag/a\":\"b\"}}",
		"{\"StringEquals\":{\"acs:MFAPresent\":\"true\"}}",
		"{\"Bool\":{\"acs:MFAPresent\":\"true\"}}",
		"{\"StringEquals\":{\"acs:SourceIp\":\"10.0.0.1\"}}",
		"{\"StringLike\":{\"acs:SourceIp\":\"10.*\"}}",
		"{\"IpAddress\":{\"kms:tag/a\":\"10.0.0.1\"}}",
		"{\"IpAddress\":{\"acs:SourceIp\":\"10.0.0.0/33\"}}",
		"{\"IpAddress\":{\"acs:SourceIp\":\"10.0.0\"}}",
		"{\"IpAddress\":{\"acs:SourceIp\":\"10.0.0.0/8/8\"}}",
		"{\"IpAddress\":{\"acs:SourceIp\":\"::/129\"}}",
		"{\"IpAddress\":{\"acs:SourceIp\":\"\"}}",
		"{\"DateLessThan\":{\"acs:CurrentTime\":\"2025-13-01T00:00:"
		"00Z\"}}",
		"{\"DateLessThan\":{\"acs:CurrentTime\":\"tomorrow\"}}",
		"{\"DateLessThan\":{\"acs:CurrentTime\":"
		"\"2025-10-09T08:53:20+8:000\"}}",
		"{\"DateLessThan\":{\"kms:tag/a\":\"2025-10-09T08:53:20Z\"}}",
		"{\"NumericEquals\":{\"kms:tag/a\":\"seven\"}}",
		"{\"NumericEquals\":{\"kms:tag/a\":\"7x\"}}",
		"{\"Bool\":{\"acs:SecureTransport\":\"yes\"}}",
	};
	char text[1024];
	struct policy *p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(text, sizeof(text),
			       DOC("{\"Effect\":\"Deny\",\"Action\":\"*\","
				   "\"Resource\":\"*\",\"Condition\":%s}"),
			       bad[i]);
		if (try_parse(text, POLICY_OF_PRINCIPAL, &p) == 0) {
			print_error("%s\n", bad[i]);
			fail();
		}
	}
}

static bool
names(const char *principal, const char *who)
{
	struct policy_request q = request("kms:Decrypt");
	char text[1024];

	q.principal = who;
	(void)snprintf(text, sizeof(text),
		       DOC("{\"Effect\":\"Allow\",\"Principal\":%s,"
			   "\"Action\":\"kms:*\",\"Resource\":\"*\"}"),
		       principal);
	return evaluate(text, POLICY_OF_KEY, &q) == POLICY_ALLOW;
}

static void
a_key_names_its_principals(void **state)
{
	(void)state;
	assert_true(
	    names("{\"RAM\":\"acs:ram::local:user/backup\"}", "user/backup"));
	assert_true(names("{\"RAM\":[\"acs:ram::local:uid/7\",\"acs:ram::"
			  "local:user/a\"]}",
			  "user/a"));
	assert_true(names("{\"RAM\":[\"*\"]}", "uid/7"));
	assert_true(names("{\"RAM\":[\"acs:ram::local:*\"]}", "uid/7"));
	assert_false(names("{\"RAM\":[\"acs:ram::other:*\"]}", "uid/7"));
	assert_false(names("{\"RAM\":[\"acs:ram::loca:*\"]}", "uid/7"));
	assert_false(names("{\"RAM\":[\"acs:ram::local:user/a\"]}", "user/ab"));
	assert_false(names("{\"RAM\":[\"acs:ram::local:user/a\"]}", "uid/a"));
	assert_false(names("{\"RAM\":[\"acs:ram::local:user/A\"]}", "user/a"));
	/* A service is no RAM principal, nor the other way round. */
	assert_false(names("{\"RAM\":\"*\"}", "service/ecs.aliyuncs.com"));
	assert_true(names("{\"Service\":[\"ecs.aliyuncs.com\"]}",
			  "service/ecs.aliyuncs.com"));
	assert_false(names("{\"Service\":[\"ecs.aliyuncs.com\"]}",
			   "service/ecs.aliyuncs.co"));
	assert_false(names("{\"Service\":[\"ecs.aliyuncs.com\"]}",
			   "user/ecs.aliyuncs.com"));
}

static void
a_principal_is_a_whole_name(void **state)
{
	static const char *const bad[] = {
		"\"*\"",
		"{}",
		"[]",
		"{\"AWS\":\"*\"}",
		"{\"RAM\":[]}",
		"{\"RAM\":\"user/a\"}",
		"{\"RAM\":\"acs:ram::local\"}",
		"{\"RAM\":\"acs:ram::local:\"}",
		"{\"RAM\":\"acs:ram::*:*\"}",
		"{\"RAM\":\"acs:ram::local:user/*\"}",
		"{\"RAM\":\"acs:ram::local:user/?\"}",
		"{\"RAM\":\"acs:ram::local:**\"}",
		"{\"Service\":\"*\"}",
		"{\"Service\":\"*.aliyuncs.com\"}",
	};
	char text[512];
	struct policy *p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(text, sizeof(text),
			       DOC("{\"Effect\":\"Allow\",\"Principal\":%s,"
				   "\"Action\":\"*\",\"Resource\":\"*\"}"),
			       bad[i]);
		if (try_parse(text, POLICY_OF_KEY, &p) == 0) {
			print_error("%s\n", bad[i]);
			fail();
		}
	}
	assert_err(try_parse(DOC(ALLOW("\"*\"", "\"*\"")), POLICY_OF_KEY, &p),
		   EINVAL);
}

static void
sizes_have_bounds(void **state)
{
	static char text[3 * POLICY_TEXT_MAX];
	struct policy *p;
	size_t n;
	int i;

	(void)state;
	/* Too long, though what is there is right. */
	n = (size_t)sprintf(text, "%s", DOC(ALLOW("\"*\"", "\"*\"")));
	memset(text + n, ' ', POLICY_TEXT_MAX);
	assert_err(try_parse(text, POLICY_OF_PRINCIPAL, &p), EINVAL);

	n = (size_t)sprintf(text, "{\"Version\":\"1\",\"Statement\":[");
	for (i = 0; i <= POLICY_STATEMENTS_MAX; i++)
		n += (size_t)sprintf(text + n, "%s%s", i ? "," : "",
				     ALLOW("\"*\"", "\"*\""));
	(void)sprintf(text + n, "]}");
	assert_err(try_parse(text, POLICY_OF_PRINCIPAL, &p), EINVAL);

	n = (size_t)sprintf(text, "{\"Version\":\"1\",\"Statement\":["
				  "{\"Effect\":\"Allow\",\"Resource\":\"*\","
				  "\"Action\":[");
	for (i = 0; i <= POLICY_LIST_MAX; i++)
		n += (size_t)sprintf(text + n, "%s\"a:b\"", i ? "," : "");
	(void)sprintf(text + n, "]}]}");
	assert_err(try_parse(text, POLICY_OF_PRINCIPAL, &p), EINVAL);

	memset(text, '[', POLICY_TEXT_MAX);
	text[POLICY_TEXT_MAX] = '\0';
	assert_err(try_parse(text, POLICY_OF_PRINCIPAL, &p), EINVAL);
}

/* The worst that a document of full size can ask of the longest context. */
static void
matching_takes_no_longer_than_it_may(void **state)
{
	static char text[POLICY_TEXT_MAX + 1], value[8193];
	const struct policy_pair pair = { "a", value };
	struct policy_request q = request("kms:Decrypt");
	size_t n, i;
	clock_t t;

	(void)state;
	memset(value, 'a', sizeof(value) - 1);
	q.context = &pair;
	n = (size_t)sprintf(text,
			    "{\"Version\":\"1\",\"Statement\":[{\"Effect\":"
			    "\"Allow\",\"Action\":\"*\",\"Resource\":\"*\","
			    "\"Condition\":{\"StringLike\":{"
			    "\"kms:EncryptionContext:a\":[");
	for (i = 0; n < POLICY_TEXT_MAX - 520; i++) {
		n += (size_t)sprintf(text + n, "%s\"", i ? "," : "");
		memset(text + n, i % 2 ? 'a' : '*', 500);
		text[n] = '*';
		memset(text + n + 400, 'a', 100);
		text[n + 500] = 'b';
		n += 501;
		text[n++] = '"';
	}
	(void)sprintf(text + n, "]}}}]}");
	t = clock();
	assert_int_equal(evaluate(text, POLICY_OF_PRINCIPAL, &q),
			 POLICY_SILENT);
	assert_true((clock() - t) / CLOCKS_PER_SEC < 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silence_is_no_and_deny_wins),
		cmocka_unit_test(patterns_match_what_they_say),
		cmocka_unit_test(wildcards_do_not_escape_their_part),
		cmocka_unit_test(not_action_is_all_but),
		cmocka_unit_test(conditions_hold_as_they_say),
		cmocka_unit_test(an_address_is_the_same_however_written),
		cmocka_unit_test(what_is_not_understood_is_refused),
		cmocka_unit_test(a_condition_that_cannot_be_judged_is_refused),
		cmocka_unit_test(a_key_names_its_principals),
		cmocka_unit_test(a_principal_is_a_whole_name),
		cmocka_unit_test(sizes_have_bounds),
		cmocka_unit_test(matching_takes_no_longer_than_it_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
