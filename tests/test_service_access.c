/*
 * test_service_access.c - who may do what at the key service, how often, and
 * what is written down of it.
 */
#include "kms_env.h"

#include "keystore_private.h"
#include "service.h"

#define ALLOW(action, more)                                                    \
	"{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":"  \
	"[\"" action "\"],\"Resource\":\"*\"" more "}]}"

struct served {
	struct env *e;
	struct service *s;
	struct service_reply reply;
	struct service_peer peer;
	const char *as; /* an access key */
};

static const struct service_peer root = { SERVICE_UNIX, "uid=0,pid=1", 0 };
static const struct service_peer stranger = { SERVICE_UNIX, "uid=12345,pid=1",
					      12345 };
static const struct service_peer remote = { SERVICE_TLS, "10.1.2.3", 0 };

static int
setup_service(void **state)
{
	struct served *s = calloc(1, sizeof(*s));
	void *e;

	(void)env_setup(&e);
	s->e = e;
	env_close(s->e);
	assert_ok(service_open(&s->e->s, true, &s->s));
	s->peer = root;
	*state = s;
	return 0;
}

static int
teardown_service(void **state)
{
	struct served *s = *state;
	void *e = s->e;

	service_reply_done(&s->reply);
	service_close(s->s);
	free(s);
	return env_teardown(&e);
}

static void
reopen(struct served *s)
{
	service_close(s->s);
	s->s = NULL;
	assert_ok(service_open(&s->e->s, true, &s->s));
}

/* Up to four parameters; the reply's code, or "". */
static const char *
call(struct served *s, const char *action, const struct service_param *params)
{
	struct service_request q = { .action = action,
				     .params = params,
				     .access_key_id = s->as,
				     .peer = s->peer };
	const char *code;

	while (q.n_params < 4 && params && params[q.n_params].name)
		q.n_params++;
	service_reply_done(&s->reply);
	s->reply = (struct service_reply){ 0 };
	assert_ok(service_call(s->s, &q, &s->reply));
	code = json_string_value(json_object_get(s->reply.body, "Code"));
	assert_int_equal(code == NULL, s->reply.status == 200);
	return code ? code : "";
}

#define CALL(s, action, ...)                                                   \
	call(s, action, (const struct service_param[5]){ __VA_ARGS__ })
#define assert_code(code, ...) assert_string_equal(CALL(__VA_ARGS__), code)
#define P(name, value)                                                         \
	{                                                                      \
		name, value                                                    \
	}

static const char *
field(struct served *s, const char *name)
{
	const char *v = json_string_value(json_object_get(s->reply.body, name));

	assert_non_null(v);
	return v;
}

static void
copy(char *out, size_t cap, const char *s)
{
	assert_true(strlen(s) < cap);
	strcpy(out, s);
}

/* As root. */
static void
new_key(struct served *s, char id[static KMS_ID_LEN])
{
	assert_code("", s, "CreateKey", P("Description", "x"));
	copy(id, KMS_ID_LEN,
	     json_string_value(json_object_get(
		 json_object_get(s->reply.body, "KeyMetadata"), "KeyId")));
}

static void
new_access_key(struct served *s, const char *principal, char id[static 64],
	       char secret[static SERVICE_SECRET_LEN])
{
	json_t *j;

	assert_code("", s, "CreateAccessKey", P("Principal", principal));
	j = json_object_get(s->reply.body, "AccessKey");
	copy(id, 64, json_string_value(json_object_get(j, "AccessKeyId")));
	copy(secret, SERVICE_SECRET_LEN,
	     json_string_value(json_object_get(j, "AccessKeySecret")));
}

static void
be(struct served *s, struct service_peer peer, const char *as)
{
	s->peer = peer;
	s->as = as;
}

/* ---- tests ---- */

static void
another_uid_on_the_socket_may_nothing(void **state)
{
	struct served *s = *state;
	char key[KMS_ID_LEN];

	new_key(s, key);
	be(s, stranger, NULL);
	assert_code("Forbidden.NoPermission", s, "ListKeys", { 0 });
	assert_code("Forbidden.NoPermission", s, "CreateKey", { 0 });
	assert_code("Forbidden.NoPermission", s, "GenerateDataKey",
		    P("KeyId", key));
	assert_code("Forbidden.NoPermission", s, "CreateAccessKey",
		    P("Principal", "uid:12345"));
	assert_code("Forbidden.NoPermission", s, "SetPolicy",
		    P("Principal", "uid:12345"),
		    P("PolicyDocument", ALLOW("kms:*", "")));
	be(s, root, NULL);
	assert_code("", s, "SetPolicy", P("Principal", "uid:12345"),
		    P("PolicyDocument", ALLOW("kms:*", "")));
	be(s, stranger, NULL);
	assert_code("", s, "GenerateDataKey", P("KeyId", key));
	/* All of kms is nothing of ram. */
	assert_code("Forbidden.NoPermission", s, "CreateAccessKey",
		    P("Principal", "uid:12345"));
	/* Nobody on a network is anybody without a signature. */
	be(s, remote, NULL);
	assert_code("Forbidden.NoPermission", s, "ListKeys", { 0 });
}

static void
an_access_key_lives_and_dies(void **state)
{
	struct served *s = *state;
	char id[64], secret[SERVICE_SECRET_LEN], again[SERVICE_SECRET_LEN];
	char key[KMS_ID_LEN];

	new_key(s, key);
	new_access_key(s, "app", id, secret);
	assert_ok(service_secret(s->s, id, again));
	assert_string_equal(secret, again);
	be(s, remote, id);
	assert_code("Forbidden.NoPermission", s, "DescribeKey",
		    P("KeyId", key));
	be(s, root, NULL);
	assert_code("", s, "SetPolicy", P("Principal", "user/app"),
		    P("PolicyDocument", ALLOW("kms:Describe*", "")));
	be(s, remote, id);
	assert_code("", s, "DescribeKey", P("KeyId", key));
	assert_code("Forbidden.NoPermission", s, "DisableKey", P("KeyId", key));
	be(s, root, NULL);
	assert_code("", s, "ListAccessKeys", P("Principal", "app"));
	assert_null(json_object_get(s->reply.body, "AccessKeySecret"));
	assert_code("", s, "UpdateAccessKey", P("UserAccessKeyId", id),
		    P("Status", "Inactive"));
	assert_err(service_secret(s->s, id, again), EKEYREVOKED);
	be(s, remote, id);
	assert_code("Forbidden.AccessKey", s, "DescribeKey", P("KeyId", key));
	be(s, root, NULL);
	assert_code("", s, "DeleteAccessKey", P("UserAccessKeyId", id));
	assert_code("InvalidAccessKeyId.NotFound", s, "DeleteAccessKey",
		    P("UserAccessKeyId", id));
	assert_err(service_secret(s->s, id, again), ENOKEY);
	be(s, remote, id);
	assert_code("InvalidAccessKeyId.NotFound", s, "DescribeKey",
		    P("KeyId", key));
}

/* In minutes, as the keystore has them, from some time on. */
#define AT(m) ((int64_t)1800000000 + (m)*60)

static void
what_was_dated_ahead_is_refused_by_the_next_run(void **state)
{
	struct served *s = *state;
	char id[64], other[64], secret[SERVICE_SECRET_LEN];

	new_access_key(s, "app", id, secret);
	new_access_key(s, "other", other, secret);
	assert_ok(service_stamp(s->s, id, 1, AT(0), AT(0)));
	assert_ok(service_stamp(s->s, id, 1, AT(10), AT(0)));
	assert_ok(service_stamp(s->s, id, 1, AT(5), AT(1)));
	/* The nonces of this run are known. */
	assert_ok(service_stamp(s->s, id, 1, AT(10), AT(1)));

	assert_err(service_stamp(s->s, id, 2, AT(10), AT(2)), ESTALE);
	assert_err(service_stamp(s->s, id, 2, AT(3), AT(3)), ESTALE);
	assert_ok(service_stamp(s->s, other, 2, AT(3), AT(3)));
	assert_ok(service_stamp(s->s, id, 2, AT(12), AT(3)));
	assert_err(service_stamp(s->s, id, 2, AT(10), AT(3)), ESTALE);
	/* A run that has seen less leaves the mark of the one before. */
	assert_err(service_stamp(s->s, id, 3, AT(12), AT(4)), ESTALE);
	assert_ok(service_stamp(s->s, id, 3, AT(14), AT(14)));
	assert_err(service_stamp(s->s, id, 4, AT(12), AT(4)), ESTALE);
	assert_err(service_stamp(s->s, "nobody", 4, AT(12), AT(4)), ENOKEY);
}

static void
policies_are_set_read_and_taken_away(void **state)
{
	struct served *s = *state;

	assert_code("InvalidParameter", s, "SetPolicy", P("Principal", "app"),
		    P("PolicyDocument", "{}"));
	assert_code("InvalidParameter", s, "SetPolicy", P("Principal", "a*"),
		    P("PolicyDocument", ALLOW("kms:*", "")));
	assert_code("", s, "SetPolicy", P("Principal", "app"),
		    P("PolicyDocument", ALLOW("kms:*", "")));
	assert_code("", s, "GetPolicy", P("Principal", "app"));
	assert_string_equal(field(s, "PolicyDocument"), ALLOW("kms:*", ""));
	assert_code("", s, "ListPolicies", { 0 });
	assert_code("", s, "DeletePolicy", P("Principal", "app"));
	assert_code("InvalidParameter", s, "DeletePolicy",
		    P("Principal", "app"));
	assert_code("InvalidParameter", s, "GetPolicy", P("Principal", "app"));
}

static void
a_policy_goes_by_context_and_address(void **state)
{
	static const char policy[] =
	    ALLOW("kms:GenerateDataKey",
		  ",\"Condition\":{\"StringEquals\":{"
		  "\"kms:EncryptionContext:lineage\":\"a\"},\"IpAddress\":{"
		  "\"acs:SourceIp\":\"10.0.0.0/8\"},\"Bool\":{"
		  "\"acs:SecureTransport\":true}}");
	struct served *s = *state;
	char id[64], secret[SERVICE_SECRET_LEN], key[KMS_ID_LEN];
	struct service_peer other = remote, plain = remote;

	copy(other.address, sizeof(other.address), "192.168.1.1");
	plain.via = SERVICE_HTTP;
	new_key(s, key);
	new_access_key(s, "app", id, secret);
	assert_code("", s, "SetPolicy", P("Principal", "app"),
		    P("PolicyDocument", policy));
	be(s, remote, id);
	assert_code("", s, "GenerateDataKey", P("KeyId", key),
		    P("EncryptionContext", "{\"lineage\":\"a\"}"));
	assert_code("Forbidden.NoPermission", s, "GenerateDataKey",
		    P("KeyId", key),
		    P("EncryptionContext", "{\"lineage\":\"b\"}"));
	assert_code("Forbidden.NoPermission", s, "GenerateDataKey",
		    P("KeyId", key));
	be(s, other, id);
	assert_code("Forbidden.NoPermission", s, "GenerateDataKey",
		    P("KeyId", key),
		    P("EncryptionContext", "{\"lineage\":\"a\"}"));
	be(s, plain, id);
	assert_code("Forbidden.NoPermission", s, "GenerateDataKey",
		    P("KeyId", key),
		    P("EncryptionContext", "{\"lineage\":\"a\"}"));
}

static void
the_disk_service_needs_a_grant(void **state)
{
	struct served *s = *state;
	char id[64], secret[SERVICE_SECRET_LEN], key[KMS_ID_LEN];

	new_key(s, key);
	new_access_key(s, "disks", id, secret);
	be(s, remote, id);
	assert_code("Forbidden.NoPermission", s, "GenerateDataKey",
		    P("KeyId", key));
	assert_code("", s, "GenerateDataKey", P("KeyId", KMS_SERVICE_ALIAS));
	assert_code("Forbidden.NoPermission", s, "GrantKey", P("KeyId", key),
		    P("Principal", "disks"));
	be(s, root, NULL);
	assert_code("", s, "GrantKey", P("KeyId", key),
		    P("Principal", "disks"));
	assert_code("", s, "GrantKey", P("KeyId", key),
		    P("Principal", "disks"));
	assert_code("", s, "ListResourceTags", P("KeyId", key));
	be(s, remote, id);
	assert_code("", s, "GenerateDataKey", P("KeyId", key));
	assert_code("Forbidden.NoPermission", s, "DisableKey", P("KeyId", key));
	be(s, root, NULL);
	assert_code("", s, "RevokeKey", P("KeyId", key),
		    P("Principal", "disks"));
	be(s, remote, id);
	assert_code("Forbidden.NoPermission", s, "GenerateDataKey",
		    P("KeyId", key));
}

static void
grants_leave_the_rest_of_a_policy_alone(void **state)
{
	static const char policy[] =
	    "{\"Version\":\"1\",\"Statement\":[{\"Sid\":\"mine\",\"Effect\":"
	    "\"Deny\",\"Principal\":{\"RAM\":\"*\"},\"Action\":\"kms:Encrypt\","
	    "\"Resource\":\"*\"}]}";
	struct served *s = *state;
	char id[64], secret[SERVICE_SECRET_LEN], key[KMS_ID_LEN];

	new_key(s, key);
	new_access_key(s, "app", id, secret);
	assert_code("InvalidParameter", s, "SetKeyPolicy", P("KeyId", key),
		    P("Policy", "{\"Version\":\"2\"}"));
	assert_code("", s, "SetKeyPolicy", P("KeyId", key),
		    P("Policy", policy));
	assert_code("", s, "GrantKey", P("KeyId", key), P("Principal", "app"));
	assert_code("", s, "GrantKey", P("KeyId", key), P("Principal", "b"));
	be(s, remote, id);
	assert_code("", s, "GenerateDataKey", P("KeyId", key));
	assert_code("Forbidden.NoPermission", s, "Encrypt", P("KeyId", key),
		    P("Plaintext", "AAAA"));
	be(s, root, NULL);
	assert_code("", s, "RevokeKey", P("KeyId", key), P("Principal", "app"));
	assert_code("", s, "GetKeyPolicy", P("KeyId", key));
	assert_non_null(strstr(field(s, "Policy"), "user/b"));
	be(s, remote, id);
	assert_code("Forbidden.NoPermission", s, "GenerateDataKey",
		    P("KeyId", key));
	be(s, root, NULL);
	assert_code("", s, "RevokeKey", P("KeyId", key), P("Principal", "b"));
	assert_code("", s, "GetKeyPolicy", P("KeyId", key));
	assert_non_null(strstr(field(s, "Policy"), "mine"));
	assert_null(strstr(field(s, "Policy"), "sealdisk-key-grant"));
}

static void
reencrypt_needs_both_keys_and_an_alias_its_own_permission(void **state)
{
	struct served *s = *state;
	char id[64], secret[SERVICE_SECRET_LEN], a[KMS_ID_LEN], b[KMS_ID_LEN];
	char blob[1024];

	new_key(s, a);
	new_key(s, b);
	new_access_key(s, "app", id, secret);
	assert_code("", s, "GenerateDataKey", P("KeyId", a));
	copy(blob, sizeof(blob), field(s, "CiphertextBlob"));
	assert_code("", s, "SetPolicy", P("Principal", "app"),
		    P("PolicyDocument", ALLOW("kms:ReEncryptFrom", "")));
	be(s, remote, id);
	assert_code("Forbidden.NoPermission", s, "ReEncrypt",
		    P("CiphertextBlob", blob), P("DestinationKeyId", b));
	be(s, root, NULL);
	assert_code("", s, "SetPolicy", P("Principal", "app"),
		    P("PolicyDocument",
		      ALLOW("kms:ReEncrypt*\",\"kms:CreateAlias", "")));
	be(s, remote, id);
	assert_code("", s, "ReEncrypt", P("CiphertextBlob", blob),
		    P("DestinationKeyId", b));
	assert_code("", s, "CreateAlias", P("KeyId", a),
		    P("AliasName", "alias/a"));
	be(s, root, NULL);
	assert_code("", s, "SetPolicy", P("Principal", "app"),
		    P("PolicyDocument",
		      "{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Allow\","
		      "\"Action\":\"kms:CreateAlias\",\"Resource\":"
		      "\"acs:kms:*:*:key/*\"}]}"));
	be(s, remote, id);
	assert_code("Forbidden.NoPermission", s, "CreateAlias", P("KeyId", a),
		    P("AliasName", "alias/b"));
}

static void
who_calls_too_often_waits(void **state)
{
	struct served *s = *state;
	unsigned i, refused = 0;

	s->e->s.keystore_max_calls = 3;
	reopen(s);
	for (i = 0; i < 6; i++)
		refused += strcmp(CALL(s, "GenerateDataKey",
				       P("KeyId", KMS_SERVICE_ALIAS)),
				  "Rejected.Throttling") == 0;
	assert_in_range(refused, 1, 3);
	assert_code("", s, "Encrypt", P("KeyId", KMS_SERVICE_ALIAS),
		    P("Plaintext", "AAAA"));
	assert_code("", s, "ListKeys", { 0 });
}

/* ---- what is written down ---- */

static void
what_was_done_is_told_to_whom_it_concerns(void **state)
{
	struct served *s = *state;
	char id[64], secret[SERVICE_SECRET_LEN], path[PATH_MAX];
	const json_t *calls;

	copy(path, sizeof(path), env_path(s->e, "backup"));
	assert_code("", s, "GenerateDataKey", P("KeyId", KMS_SERVICE_ALIAS));
	assert_code("", s, "GetUsage", P("Month", "all"));
	calls =
	    json_object_get(json_object_get(s->reply.body, "Usage"), "Call");
	assert_int_equal(json_array_size(calls), 1);
	assert_true(json_is_false(
	    json_object_get(json_array_get(calls, 0), "Billable")));
	assert_code("InvalidParameter", s, "GetUsage", P("Month", "2026-13"));
	assert_code("", s, "VerifyAudit", { 0 });
	assert_int_equal(
	    json_integer_value(json_object_get(s->reply.body, "FlawCount")), 0);
	assert_true(
	    json_integer_value(json_object_get(s->reply.body, "Lines")) >= 3);
	assert_code("", s, "BackupKeystore", P("Path", path));
	assert_code("InvalidParameter", s, "BackupKeystore", P("Path", path));
	assert_code("InvalidParameter", s, "BackupKeystore", P("Path", "x"));

	/* Not even to one who may do all that policies can allow. */
	new_access_key(s, "app", id, secret);
	assert_code("", s, "SetPolicy", P("Principal", "app"),
		    P("PolicyDocument", ALLOW("*", "")));
	be(s, remote, id);
	assert_code("", s, "GetUsage", { 0 });
	assert_code("", s, "VerifyAudit", { 0 });
	copy(path, sizeof(path), env_path(s->e, "backup2"));
	assert_code("Forbidden.NoPermission", s, "BackupKeystore",
		    P("Path", path));
	assert_false(file_exists(path));
}

static char *
load_log(struct served *s)
{
	size_t len;

	return file_load(env_path(s->e, "state/audit/audit-000001.log"), &len);
}

static json_t *
last_line(struct served *s)
{
	CLEANUP(free_memp) char *text = load_log(s);
	char *end = text + strlen(text) - 1, *start = end;
	json_t *j;

	while (start > text && start[-1] != '\n')
		start--;
	j = json_loadb(start, (size_t)(end - start), 0, NULL);
	assert_non_null(j);
	return j;
}

static void
assert_line(struct served *s, const char *name, const char *value)
{
	json_t *j = last_line(s);
	const char *has = json_string_value(json_object_get(j, name));

	if (!value)
		assert_null(has);
	else
		assert_string_equal(has ? has : "(none)", value);
	json_decref(j);
}

static void
each_request_is_a_line(void **state)
{
	struct served *s = *state;
	char id[64], secret[SERVICE_SECRET_LEN], key[KMS_ID_LEN];
	char blob[1024], dk[128];
	CLEANUP(free_memp) char *text = NULL;

	new_key(s, key);
	assert_line(s, "action", "CreateKey");
	assert_line(s, "key", key);
	assert_line(s, "principal", "uid/0");
	assert_line(s, "peer", "uid=0,pid=1");
	assert_line(s, "request_id", s->reply.request_id);
	new_access_key(s, "app", id, secret);
	assert_code("", s, "GenerateDataKey", P("KeyId", key),
		    P("EncryptionContext", "{\"lineage\":\"a\\nb\"}"));
	copy(blob, sizeof(blob), field(s, "CiphertextBlob"));
	copy(dk, sizeof(dk), field(s, "Plaintext"));
	assert_line(s, "version", field(s, "KeyVersionId"));
	/* The reason is here, and not in the answer. */
	assert_code("InvalidParameter", s, "Decrypt",
		    P("CiphertextBlob", blob));
	assert_line(s, "key", key);
	assert_line(s, "reason", "CiphertextBlob");
	be(s, remote, id);
	assert_code("Forbidden.NoPermission", s, "Decrypt",
		    P("CiphertextBlob", blob));
	assert_line(s, "reason", "no policy allows it");
	assert_line(s, "access_key", id);
	assert_line(s, "principal", "user/app");
	assert_line(s, "peer", "10.1.2.3");
	assert_line(s, "result", "Forbidden.NoPermission");
	assert_code("InvalidAction.NotFound", s, "Drop\"Table\n{}", { 0 });
	assert_line(s, "action", "Drop\"Table\n{}");
	be(s, remote, "nobody");
	assert_code("InvalidAccessKeyId.NotFound", s, "ListKeys", { 0 });
	assert_line(s, "principal", NULL);
	assert_line(s, "access_key", "nobody");

	text = load_log(s);
	assert_null(strstr(text, secret));
	assert_null(strstr(text, dk));
	assert_null(strstr(text, blob));
}

static void
a_log_that_cannot_be_is_no_service(void **state)
{
	struct served *s = *state;

	service_close(s->s);
	s->s = NULL;
	tmpdir_remove(env_path(s->e, "state/audit"));
	file_save(env_path(s->e, "state/audit"), "", 0);
	assert_true(service_open(&s->e->s, true, &s->s) < 0);
	memcpy(s->e->s.keystore_audit, "none", 5);
	assert_ok(service_open(&s->e->s, true, &s->s));
	assert_code("", s, "ListKeys", { 0 });
}

#define SERVICE_TEST(name)                                                     \
	cmocka_unit_test_setup_teardown(name, setup_service, teardown_service)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SERVICE_TEST(another_uid_on_the_socket_may_nothing),
		SERVICE_TEST(an_access_key_lives_and_dies),
		SERVICE_TEST(what_was_dated_ahead_is_refused_by_the_next_run),
		SERVICE_TEST(policies_are_set_read_and_taken_away),
		SERVICE_TEST(a_policy_goes_by_context_and_address),
		SERVICE_TEST(the_disk_service_needs_a_grant),
		SERVICE_TEST(grants_leave_the_rest_of_a_policy_alone),
		SERVICE_TEST(
		    reencrypt_needs_both_keys_and_an_alias_its_own_permission),
		SERVICE_TEST(who_calls_too_often_waits),
		SERVICE_TEST(what_was_done_is_told_to_whom_it_concerns),
		SERVICE_TEST(each_request_is_a_line),
		SERVICE_TEST(a_log_that_cannot_be_is_no_service),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
