/*
 * test_remote.c - the client of a key service elsewhere, and services that
 * fail, lie, or are not there.
 */
#include "remote_env.h"

#include <time.h>

#include "signature.h"

/* ---- as it should be ---- */

static void
a_data_key_is_made_and_opened(void **state)
{
	static const struct answer answers[] = {
		{ 200, "{" IDS ",\"Plaintext\":\"" DK
		       "\",\"CiphertextBlob\":\"YmxvYg==\"}" },
		{ 200, "{" IDS ",\"Plaintext\":\"" DK "\"}" },
	};
	struct env *e = *state;
	struct wrapped_dk w;
	struct key dk, again;

	answer_with(e, answers, COUNT(answers));
	assert_ok(
	    kms_generate_data_key(e->kms, "alias/a b", &lineage, &w, &dk));
	assert_non_null(strstr(e->last, "x-acs-action: GenerateDataKey\r\n"));
	assert_non_null(strstr(e->last, "x-acs-version: 2016-01-20\r\n"));
	assert_non_null(strstr(e->last, "KeyId=alias%2Fa%20b"));
	assert_non_null(strstr(e->last, "EncryptionContext=%7B%22lineage%22"));
	assert_null(strcasestr(e->last, "authorization"));
	assert_string_equal(w.key_id, ID);
	assert_string_equal(w.key_version_id, VERSION_ID);
	assert_string_equal(w.kms, "default");
	assert_int_equal(w.blob_len, 4);
	assert_int_equal(dk.bytes[31], 31);
	assert_ok(kms_decrypt(e->kms, &w, &again));
	assert_non_null(strstr(e->last, "CiphertextBlob=YmxvYg%3D%3D"));
	assert_memory_equal(&dk, &again, sizeof(dk));
}

static void
a_key_is_described_without_what_steers_a_terminal(void **state)
{
	static const struct answer answers[] = {
		{ 200, METADATA },
		{ 200, "{\"TotalCount\":3,\"KeyVersions\":{}}" },
	};
	struct env *e = *state;
	struct kms_key_info info;

	answer_with(e, answers, COUNT(answers));
	assert_ok(kms_describe_key(e->kms, ID, &info));
	assert_string_equal(info.id, ID);
	assert_string_equal(info.description, "a?[2Jb");
	assert_int_equal(info.state, KMS_ENABLED);
	assert_int_equal(info.versions, 3);
	assert_int_equal(info.delete_at, 0);
	assert_int_equal(info.created, 1795564800);
}

/* ---- errors ---- */

static void
codes_become_errnos(void **state)
{
	static const struct {
		unsigned status;
		const char *body;
		int err;
	} cases[] = {
		{ 409, "{\"Code\":\"Rejected.Disabled\"}", EKEYREVOKED },
		{ 409, "{\"Code\":\"Rejected.PendingImport\"}", EKEYREVOKED },
		{ 409, "{\"Code\":\"Rejected.PendingDeletion\"}", EKEYEXPIRED },
		{ 404, "{\"Code\":\"Forbidden.KeyNotFound\"}", ENOKEY },
		{ 403, "{\"Code\":\"Forbidden.NoPermission\"}", EKEYREJECTED },
		{ 403, "{\"Code\":\"Forbidden.AccessKey\"}", EKEYREJECTED },
		{ 400, "{\"Code\":\"SignatureDoesNotMatch\"}", EKEYREJECTED },
		{ 400, "{\"Code\":\"InvalidParameter\"}", EKEYREJECTED },
		{ 404, "{\"Code\":\"InvalidAction.NotFound\"}", EOPNOTSUPP },
		{ 400, "{\"Code\":\"Something.New\"}", EPROTO },
		{ 429, "{\"Code\":\"Rejected.Throttling\"}", EDQUOT },
		{ 503, "<html>out of order</html>", EHOSTDOWN },
	};
	struct env *e = *state;
	struct answer a[COUNT(cases)];
	struct key dk;

	for (size_t i = 0; i < COUNT(cases); i++) {
		a[i] = (struct answer){ cases[i].status, cases[i].body };
		answer_with(e, &a[i], 1);
		assert_err(kms_decrypt(e->kms, &wrapped, &dk), cases[i].err);
		/* The last two may pass, and are asked again. */
		if (i < COUNT(cases) - 2)
			assert_int_equal(e->asked, 1);
		else
			assert_in_range(e->asked, 3, 10);
	}
}

static void
what_passes_is_asked_again(void **state)
{
	static const struct answer answers[] = {
		{ 503, "{\"Code\":\"ServiceUnavailableTemporary\"}" },
		{ CLOSE, "" }, /* the connection ends */
		{ 502, "bad gateway" },
		{ 200, "{" IDS ",\"Plaintext\":\"" DK "\"}" },
	};
	struct env *e = *state;
	struct key dk;

	e->s.kms_timeout = 10;
	answer_with(e, answers, COUNT(answers));
	assert_ok(kms_decrypt(e->kms, &wrapped, &dk));
	assert_int_equal(e->asked, 4);
}

/* A key that was made though nobody heard of it would be made again. */
static void
what_may_have_been_done_is_not_asked_again(void **state)
{
	static const struct answer answers[] = { { CLOSE, "" } };
	struct env *e = *state;
	struct kms_key_info info;

	answer_with(e, answers, COUNT(answers));
	assert_err(kms_create_key(e->kms, "", &info), EHOSTDOWN);
	assert_int_equal(e->asked, 1);
}

static void
nobody_there_is_told_in_time(void **state)
{
	struct env *e = *state;
	struct kms *k;
	struct key dk;
	time_t began = time(NULL);

	(void)snprintf(e->s.kms_endpoint, sizeof(e->s.kms_endpoint),
		       "unix:%s/none", e->dir);
	assert_ok(kms_open(&e->s, &k));
	assert_err(kms_decrypt(k, &wrapped, &dk), EHOSTDOWN);
	assert_in_range(time(NULL) - began, 0, 2);
	kms_close(k);
}

/* Whatever comes: an error, and nothing of it is believed. */
static void
nonsense_is_refused(void **state)
{
	static char much[70000];
	static const struct answer answers[] = {
		{ 200, "" },
		{ 200, "[]" },
		{ 200, "{}" },
		{ 200, "{\"a\":1,\"a\":2}" },
		{ 200, "{" IDS "}" },
		{ 200, "{" IDS ",\"Plaintext\":7}" },
		{ 200, "{" IDS ",\"Plaintext\":\"AAAA\"}" },
		{ 200, "{" IDS ",\"Plaintext\":\"" DK DK "\"}" },
		{ 200, "{" IDS ",\"Plaintext\":\"" DK "\"" },
		{ 200, "{\"KeyId\":\"a\\nb\",\"KeyVersionId\":\"b\"}" },
		{ 200, "{\"KeyId\":\"\",\"KeyVersionId\":\"b\"}" },
		{ 200, "{\"KeyId\":\"0123456789012345678901234567890123456789"
		       "0123456789012345678901234567890123456789\"}" },
		{ 302, "{\"Location\":\"https://elsewhere\"}" },
		{ 400, "{\"Code\":{}}" },
		{ 200, much },
		{ RAW, "SSH-2.0-OpenSSH\r\n" },
		{ RAW, "HTTP/1.1 200 X\r\nContent-Length: -7\r\n\r\n{}" },
		{ RAW, "HTTP/1.1 200 X\r\nContent-Length: x\r\n\r\n{}" },
		{ RAW, "HTTP/1.1 200 X\r\n\r\n{" IDS "}" },
		{ RAW, "HTTP/9.9 200 X\r\n\r\n{}" },
	};
	struct env *e = *state;
	struct key dk;

	memset(much, ' ', sizeof(much) - 1);
	for (size_t i = 0; i < COUNT(answers); i++) {
		memset(&dk, 0x11, sizeof(dk));
		answer_with(e, &answers[i], 1);
		if (kms_decrypt(e->kms, &wrapped, &dk) != -EPROTO)
			fail_msg("taken: %.60s", answers[i].body);
		assert_int_equal(e->asked, 1);
		assert_int_equal(dk.bytes[0], 0x11);
	}
}

static void
a_data_key_of_another_key_is_refused(void **state)
{
	static const struct answer answers[] = {
		{ 200, "{\"KeyId\":\"other\",\"KeyVersionId\":\"" VERSION_ID
		       "\",\"Plaintext\":\"" DK "\"}" },
	};
	struct env *e = *state;
	struct key dk;

	answer_with(e, answers, COUNT(answers));
	assert_err(kms_decrypt(e->kms, &wrapped, &dk), EKEYREJECTED);
}

static int
count(const char *alias, const char *key_id, void *arg)
{
	(void)alias;
	(void)key_id;
	++*(unsigned *)arg;
	return 0;
}

/* Lists without an end come to one. */
static void
an_endless_list_ends(void **state)
{
	static const struct answer answers[] = {
		{ 200, "{\"Aliases\":{\"Alias\":[{\"AliasName\":\"alias/a\","
		       "\"KeyId\":\"" ID "\"}]}}" },
	};
	struct env *e = *state;
	unsigned n = 0;

	answer_with(e, answers, COUNT(answers));
	assert_err(kms_list_aliases(e->kms, count, &n), EPROTO);
	assert_in_range(n, 100, 10000);
}

/* ---- access keys ---- */

static void
write_access(struct env *e, const char *text, mode_t mode)
{
	int fd;

	(void)snprintf(e->s.kms_access_key_file,
		       sizeof(e->s.kms_access_key_file), "%s/access", e->dir);
	(void)unlink(e->s.kms_access_key_file);
	fd = open(e->s.kms_access_key_file, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_ok(fchmod(fd, mode));
	(void)close(fd);
}

static void
requests_are_signed_with_the_access_key(void **state)
{
	static const struct answer answers[] = {
		{ 200, "{" IDS ",\"Plaintext\":\"" DK "\"}" },
	};
	struct env *e = *state;
	struct key dk;

	write_access(e, "testid\ntestsecret\n", 0600);
	answer_with(e, answers, COUNT(answers));
	assert_ok(kms_decrypt(e->kms, &wrapped, &dk));
	assert_non_null(strstr(e->last, "ACS3-HMAC-SHA256 Credential=testid,"));
	assert_non_null(strstr(e->last, "x-acs-signature-nonce: "));
	assert_null(strstr(e->last, "testsecret"));
}

static void
a_bad_access_key_file_is_refused(void **state)
{
	static const char *const bad[] = { "", "id", "id \n", "a b c", "\n\n" };
	struct env *e = *state;
	struct kms *k;

	for (size_t i = 0; i < COUNT(bad); i++) {
		write_access(e, bad[i], 0600);
		assert_err(kms_open(&e->s, &k), EINVAL);
	}
	write_access(e, "id secret", 0640);
	assert_err(kms_open(&e->s, &k), EPERM);
	(void)unlink(e->s.kms_access_key_file);
	assert_err(kms_open(&e->s, &k), ENOENT);
}

/* ---- further services ---- */

static void
a_data_key_is_asked_of_the_service_that_made_it(void **state)
{
	static const struct answer answers[] = {
		{ 200, "{" IDS ",\"Plaintext\":\"" DK
		       "\",\"CiphertextBlob\":\"YmxvYg==\"}" },
	};
	struct env *e = *state;
	struct wrapped_dk w;
	struct key dk;

	/* The main one is not there. */
	e->s.n_kms_further = 1;
	strcpy(e->s.kms_further[0].name, "cloud");
	memcpy(e->s.kms_further[0].endpoint, e->s.kms_endpoint,
	       sizeof(e->s.kms_endpoint));
	e->s.kms_further[0].timeout = 1;
	strcat(e->s.kms_endpoint, "none");
	answer_with(e, answers, COUNT(answers));
	assert_ok(
	    kms_generate_data_key(e->kms, "cloud:alias/a", &lineage, &w, NULL));
	assert_non_null(strstr(e->last, "KeyId=alias%2Fa&"));
	assert_string_equal(w.kms, "cloud");
	assert_ok(kms_decrypt(e->kms, &w, &dk));
	assert_err(kms_reencrypt(e->kms, &w, "alias/a", NULL, &w), EOPNOTSUPP);
	strcpy(w.kms, "elsewhere");
	assert_err(kms_decrypt(e->kms, &w, &dk), ENOKEY);
	strcpy(w.kms, "default");
	assert_err(kms_decrypt(e->kms, &w, &dk), EHOSTDOWN);
}

static void
what_only_a_keystore_can_do_is_not_supported(void **state)
{
	struct env *e = *state;
	const char *kind;
	struct kms *k;
	bool made;

	assert_ok(kms_init(&e->s, &made));
	assert_false(made);
	assert_ok(kms_open(&e->s, &k));
	assert_err(kms_backup(k, "/nowhere"), EOPNOTSUPP);
	assert_err(kms_restore(&e->s, "/nowhere", true), EOPNOTSUPP);
	assert_err(kms_root_kind(&e->s, &kind), EOPNOTSUPP);
	assert_err(kms_change_root(&e->s, &e->s, &made), EOPNOTSUPP);
	kms_close(k);
	strcpy(e->s.kms_endpoint, "https://user@host/path");
	assert_err(kms_open(&e->s, &k), EINVAL);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_data_key_is_made_and_opened),
		TEST(a_key_is_described_without_what_steers_a_terminal),
		TEST(codes_become_errnos),
		TEST(what_passes_is_asked_again),
		TEST(what_may_have_been_done_is_not_asked_again),
		TEST(nobody_there_is_told_in_time),
		TEST(nonsense_is_refused),
		TEST(a_data_key_of_another_key_is_refused),
		TEST(an_endless_list_ends),
		TEST(requests_are_signed_with_the_access_key),
		TEST(a_bad_access_key_file_is_refused),
		TEST(a_data_key_is_asked_of_the_service_that_made_it),
		TEST(what_only_a_keystore_can_do_is_not_supported),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(getenv("SEALDISK_DEBUG") ? LOG_DEBUG_ : LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
