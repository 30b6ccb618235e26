/*
 * test_ledger.c - what the service writes down: the audit log together with its
 * end in the keystore, and the counts.
 */
#include "kms_env.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "keystore_private.h"
#include "ledger.h"

struct service {
	struct keys *k;
	struct ledger *l;
};

static void
open_ledger(struct env *e, bool exclusive, struct service *s)
{
	assert_ok(keys_open(&e->s, &s->k));
	assert_ok(ledger_open(&e->s, s->k, exclusive, &s->l));
}

static void
close_ledger(struct service *s)
{
	ledger_close(s->l);
	keys_close(s->k);
}

static int
note(struct service *s, const char *who, const char *action, const char *key,
     unsigned status)
{
	const struct audit_event e = { .request_id = "r",
				       .principal = who,
				       .peer = "test",
				       .action = action,
				       .key = key,
				       .result = status == 200 ? "ok" : "no",
				       .status = status };
	int r = ledger_ready(s->l);

	if (r == 0)
		r = ledger_write(s->l, &e, !ledger_is_data(action),
				 ledger_is_data(action));
	return r;
}

struct counts {
	unsigned rows;
	uint64_t calls, billable;
	char text[1024];
};

static int
add_counts(const struct kms_usage *u, void *arg)
{
	struct counts *c = arg;
	size_t n = strlen(c->text);

	c->rows++;
	c->calls += u->calls;
	c->billable += u->billable ? u->calls : 0;
	(void)snprintf(c->text + n, sizeof(c->text) - n, "%s %s %s %llu%s\n",
		       u->principal, u->key, u->action,
		       (unsigned long long)u->calls, u->billable ? " b" : "");
	return 0;
}

static void
usage_of(struct service *s, unsigned month, struct counts *ret)
{
	*ret = (struct counts){ 0 };
	assert_ok(ledger_each_usage(s->l, month, add_counts, ret));
}

static void
no_flaw(const struct kms_audit_flaw *f, void *arg)
{
	(void)arg;
	print_error("%u:%llu: %s\n", f->file, (unsigned long long)f->line,
		    f->what);
}

static void
assert_log(struct service *s, uint64_t lines)
{
	struct kms_audit_report report;

	assert_ok(ledger_verify(s->l, 1, no_flaw, NULL, &report));
	assert_int_equal(report.flaws, 0);
	assert_int_equal(report.lines, lines);
	assert_int_equal(report.unsealed, 0);
}

static void
months_are_of_utc(void **state)
{
	unsigned m = 0;

	(void)state;
	assert_int_equal(usage_month(0), 197001);
	assert_int_equal(usage_month(1793491200 - 1), 202610);
	assert_int_equal(usage_month(1793491200), 202611);
	assert_ok(kms_parse_month("2026-11", &m));
	assert_int_equal(m, 202611);
	assert_err(kms_parse_month("2026-13", &m), EINVAL);
	assert_err(kms_parse_month("2026-1", &m), EINVAL);
	assert_err(kms_parse_month("2026-1x", &m), EINVAL);
	assert_err(kms_parse_month("", &m), EINVAL);
}

static void
calls_are_counted(void **state)
{
	struct env *e = *state;
	struct counts c;
	struct service s;
	unsigned i;

	open_ledger(e, false, &s);
	for (i = 0; i < 3; i++)
		assert_ok(note(&s, "uid/0", "Decrypt", "k1", 200));
	assert_ok(note(&s, "uid/0", "Decrypt", "k2", 200));
	assert_ok(note(&s, "user/a", "Decrypt", "k1", 200));
	assert_ok(note(&s, "uid/0", "CreateKey", "k1", 200));
	assert_ok(note(&s, "uid/0", "Decrypt", "k1", 409)); /* was refused */
	usage_of(&s, usage_month(time(NULL)), &c);
	assert_string_equal(c.text, "uid/0 k1 CreateKey 1\n"
				    "uid/0 k1 Decrypt 3 b\n"
				    "uid/0 k2 Decrypt 1 b\n"
				    "user/a k1 Decrypt 1 b\n");
	usage_of(&s, 197001, &c);
	assert_int_equal(c.rows, 0);
	assert_log(&s, 7);
	close_ledger(&s);

	open_ledger(e, true, &s);
	for (i = 0; i < 500; i++)
		assert_ok(note(&s, "uid/0", "Decrypt", "k1", 200));
	usage_of(&s, 0, &c);
	assert_int_equal(c.calls, 506);
	assert_int_equal(c.billable, 505);
	close_ledger(&s);
	open_ledger(e, false, &s);
	assert_log(&s, 507);
	close_ledger(&s);
}

/* More different ones than are gathered. */
static void
no_count_is_lost(void **state)
{
	struct env *e = *state;
	char key[KMS_ID_LEN];
	struct counts c;
	struct service s;
	unsigned i;

	memcpy(e->s.keystore_audit, "none", 5);
	open_ledger(e, true, &s);
	for (i = 0; i < 3 * USAGE_ROWS; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		assert_ok(note(&s, "uid/0", "Decrypt", key, 200));
		assert_ok(note(&s, "uid/0", "Decrypt", "k0", 200));
	}
	close_ledger(&s);
	open_ledger(e, false, &s);
	usage_of(&s, 0, &c);
	assert_int_equal(c.rows, 3 * USAGE_ROWS);
	assert_int_equal(c.calls, 6 * USAGE_ROWS);
	close_ledger(&s);
}

static void
the_log_lies_beside_the_keystore_or_where_it_is_said(void **state)
{
	struct env *e = *state;
	char dir[PATH_MAX];

	assert_ok(ledger_audit_dir(&e->s, dir));
	assert_string_equal(dir, env_path(e, "state/audit"));
	(void)snprintf(e->s.keystore_audit, sizeof(e->s.keystore_audit), "%s",
		       env_path(e, "elsewhere/"));
	assert_ok(ledger_audit_dir(&e->s, dir));
	assert_string_equal(dir, env_path(e, "elsewhere/"));
	memcpy(e->s.keystore_audit, "none", 5);
	assert_ok(ledger_audit_dir(&e->s, dir));
	assert_string_equal(dir, "");
}

/* A keystore that was put back is older than the log. */
static void
a_restored_keystore_goes_on_with_the_log(void **state)
{
	struct env *e = *state;
	struct service s;

	open_ledger(e, false, &s);
	assert_ok(note(&s, "uid/0", "CreateKey", "k", 200));
	assert_ok(kms_backup(e->k, env_path(e, "backup")));
	assert_ok(note(&s, "uid/0", "CreateKey", "k", 200));
	close_ledger(&s);

	/* Over the keystore that is there, which knows where the log ends. */
	assert_ok(kms_restore(&e->s, env_path(e, "backup"), true));
	open_ledger(e, false, &s);
	assert_log(&s, 4); /* with the backup, and the restore */
	assert_ok(note(&s, "uid/0", "CreateKey", "k", 200));
	assert_log(&s, 5);
	close_ledger(&s);

	/* In the place of one that is gone. */
	env_close(e);
	assert_int_equal(unlink(e->s.keystore_path), 0);
	assert_ok(kms_restore(&e->s, env_path(e, "backup"), false));
	open_ledger(e, false, &s);
	/* One line says that it was resumed, one that it was restored. */
	assert_log(&s, 7);
	assert_ok(note(&s, "uid/0", "CreateKey", "k", 200));
	assert_log(&s, 8);
	close_ledger(&s);
}

/* kill -9 of several that write: every line of a call that was answered is
 * there, and nothing looks like a flaw. */
static void
a_killed_writer_leaves_a_whole_log(void **state)
{
	struct env *e = *state;
	struct kms_audit_report report;
	struct service s;
	unsigned i, n = 0;
	int fds[2], status;
	pid_t pid[3];
	char c;

	env_close(e);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	for (i = 0; i < 3; i++) {
		pid[i] = fork();
		assert_true(pid[i] >= 0);
		if (pid[i] > 0)
			continue;
		if (keys_open(&e->s, &s.k) < 0 ||
		    ledger_open(&e->s, s.k, false, &s.l) < 0)
			_exit(1);
		while (note(&s, "uid/0", "CreateKey", "k", 200) == 0)
			if (write(fds[1], "x", 1) != 1)
				break;
		_exit(1);
	}
	(void)close(fds[1]);
	for (i = 0; i < 60; i++) {
		assert_int_equal(read(fds[0], &c, 1), 1);
		n++;
		if (i % 20 == 19)
			assert_int_equal(kill(pid[i / 20], SIGKILL), 0);
	}
	for (i = 0; i < 3; i++)
		(void)waitpid(pid[i], &status, 0);
	while (read(fds[0], &c, 1) == 1)
		n++;
	(void)close(fds[0]);

	open_ledger(e, false, &s);
	assert_ok(ledger_verify(s.l, 1, no_flaw, NULL, &report));
	assert_int_equal(report.flaws, 0);
	assert_true(report.lines >= n);
	assert_ok(note(&s, "uid/0", "CreateKey", "k", 200));
	assert_ok(ledger_verify(s.l, 1, no_flaw, NULL, &report));
	assert_int_equal(report.flaws, 0);
	assert_int_equal(report.unsealed, 0);
	close_ledger(&s);
}

/* ---- the embedded service ---- */

static char *
load_log(struct env *e)
{
	size_t len;

	return file_load(env_path(e, "state/audit/audit-000001.log"), &len);
}

static void
the_embedded_service_records_what_it_does(void **state)
{
	struct env *e = *state;
	CLEANUP(free_memp) char *text = NULL;
	struct kms_key_info key;
	struct wrapped_dk w, ws;
	struct counts c;
	struct service s;
	struct key dk;
	int64_t at;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, &dk));
	assert_ok(kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &ws,
					NULL));
	assert_ok(kms_decrypt(e->k, &w, &dk));
	assert_ok(kms_decrypt(e->k, &ws, &dk));
	assert_ok(kms_create_alias(e->k, "alias/a", key.id));
	assert_ok(kms_disable_key(e->k, "alias/a"));
	assert_err(kms_decrypt(e->k, &w, &dk), EKEYREVOKED);
	assert_ok(kms_schedule_key_deletion(e->k, key.id, 7, &at));
	assert_err(kms_enable_key(e->k, "no-such-key"), EINVAL);

	text = load_log(e);
	assert_non_null(strstr(text, "\"action\":\"CreateKey\",\"key\":\""));
	assert_non_null(strstr(text, "\"result\":\"Rejected.Disabled\""));
	assert_non_null(strstr(text, "\"alias\":\"alias/a\""));
	assert_non_null(strstr(text, "\"context\":{\"lineage\":\"01020304-"));
	assert_non_null(strstr(text, key.primary_version));
	env_close(e);
	open_ledger(e, false, &s);
	assert_log(&s, 10);
	usage_of(&s, 0, &c);
	assert_int_equal(c.calls, 8); /* two were refused */
	assert_int_equal(c.billable, 2);
	close_ledger(&s);
}

/* Nothing secret is in it, in any form that keys are written in. */
static void
no_key_is_in_the_log(void **state)
{
	struct env *e = *state;
	char hex[2 * KEY_LEN + 1], b64[BASE64_LEN(KEY_LEN)];
	const char *path = env_path(e, "state/audit/audit-000001.log");
	struct wrapped_dk w;
	struct key dk;
	size_t off;

	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, &dk));
	assert_ok(kms_decrypt(e->k, &w, &dk));
	hex_encode(dk.bytes, sizeof(dk.bytes), hex);
	base64_encode(dk.bytes, sizeof(dk.bytes), b64);
	assert_int_equal(file_find(path, dk.bytes, 8, &off), 0);
	assert_int_equal(file_find(path, hex, 16, &off), 0);
	assert_int_equal(file_find(path, b64, 16, &off), 0);
}

static void
what_cannot_be_recorded_is_not_done(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, info;
	struct wrapped_dk w;
	struct key dk;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	env_close(e);
	tmpdir_remove(env_path(e, "state/audit"));
	file_save(env_path(e, "state/audit"), "", 0);
	env_open(e);
	memset(&dk, 0, sizeof(dk));
	assert_err(kms_decrypt(e->k, &w, &dk), ESHUTDOWN);
	assert_int_equal(dk.bytes[0] | dk.bytes[1] | dk.bytes[2], 0);
	assert_err(kms_disable_key(e->k, key.id), ESHUTDOWN);
	assert_ok(kms_describe_key(e->k, key.id, &info));
	assert_int_equal(info.state, KMS_ENABLED);

	/* Unless none is wanted. */
	env_close(e);
	memcpy(e->s.keystore_audit, "none", 5);
	env_open(e);
	assert_ok(kms_decrypt(e->k, &w, &dk));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(months_are_of_utc),
		TEST(calls_are_counted),
		TEST(no_count_is_lost),
		TEST(the_log_lies_beside_the_keystore_or_where_it_is_said),
		TEST(a_restored_keystore_goes_on_with_the_log),
		TEST(a_killed_writer_leaves_a_whole_log),
		TEST(the_embedded_service_records_what_it_does),
		TEST(no_key_is_in_the_log),
		TEST(what_cannot_be_recorded_is_not_done),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
