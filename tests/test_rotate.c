/*
 * test_rotate.c - versions of a key, data keys moved from one to another, and
 * the end of a key.
 */
#include "kms_env.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "keystore_private.h"

/* Versions. */

static void
a_new_version_wraps_and_all_unwrap(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, info;
	struct wrapped_dk w[5];
	struct key dk[5], got;
	unsigned i;

	assert_ok(kms_create_key(e->k, "", &key));
	for (i = 0; i < 5; i++) {
		assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w[i],
						&dk[i]));
		assert_ok(kms_create_key_version(e->k, key.id, &info));
		assert_string_equal(info.id, key.id);
		assert_string_equal(info.arn, key.arn);
		assert_int_equal(info.versions, i + 2);
		assert_string_not_equal(info.primary_version,
					w[i].key_version_id);
		assert_true(info.rotated >= info.created);
	}
	for (i = 0; i < 5; i++) {
		assert_ok(kms_decrypt(e->k, &w[i], &got));
		assert_memory_equal(&got, &dk[i], sizeof(got));
	}
	env_close(e);
	env_open(e);
	assert_ok(kms_describe_key(e->k, key.id, &key));
	assert_string_equal(key.primary_version, info.primary_version);
	assert_int_equal(key.versions, 6);
	assert_ok(kms_decrypt(e->k, &w[0], &got));
	assert_works(e->k, key.id);
}

static void
a_version_does_not_open_what_another_has_wrapped(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, info;
	struct wrapped_dk w;
	struct uuid version;
	struct key dk;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	assert_ok(kms_create_key_version(e->k, key.id, &info));
	assert_ok(uuid_parse(info.primary_version, &version));
	memcpy(w.blob + 1, version.bytes, sizeof(version.bytes));
	memcpy(w.key_version_id, info.primary_version, KMS_ID_LEN);
	assert_err(kms_decrypt(e->k, &w, &dk), EKEYREJECTED);
}

static void
a_key_has_50_versions_at_most(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, info;
	struct wrapped_dk w;
	struct key dk;
	unsigned i;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	for (i = 1; i < 50; i++)
		assert_ok(kms_create_key_version(e->k, key.id, &info));
	assert_int_equal(info.versions, 50);
	memset(&info, 0, sizeof(info));
	assert_err(kms_create_key_version(e->k, key.id, &info), EDQUOT);
	assert_int_equal(info.id[0], 0);
	assert_ok(kms_describe_key(e->k, key.id, &info));
	assert_int_equal(info.versions, 50);
	assert_ok(kms_decrypt(e->k, &w, &dk));
}

static void
set_origin(struct env *e, const char *id, const char *origin)
{
	struct keystore *ks;
	char sql[256];

	(void)id;
	(void)snprintf(sql, sizeof(sql), "UPDATE keys SET origin = '%s'",
		       origin);
	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_exec(ks, sql));
	keystore_close(ks);
}

static void
service_keys_and_imported_ones_are_not_rotated(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;

	assert_err(kms_create_key_version(e->k, KMS_SERVICE_ALIAS, &info),
		   ENOKEY); /* nobody has used it yet */
	assert_works(e->k, KMS_SERVICE_ALIAS);
	assert_err(kms_create_key_version(e->k, KMS_SERVICE_ALIAS, &info),
		   EPERM);
	assert_ok(kms_create_key(e->k, "", &info));
	set_origin(e, info.id, "EXTERNAL");
	assert_err(kms_create_key_version(e->k, info.id, &info), EPERM);
	set_origin(e, info.id, "Aliyun_KMS");
	assert_ok(kms_create_alias(e->k, "alias/a", info.id));
	assert_ok(kms_create_key_version(e->k, "alias/a", &info));
	assert_err(kms_create_key_version(e->k, "alias/b", &info), ENOKEY);
}

/* ReEncrypt. */

static void
assert_moved(struct kms *k, const struct wrapped_dk *w, const struct key *dk,
	     const struct kms_key_info *to)
{
	struct key got;

	assert_string_equal(w->key_id, to->id);
	assert_string_equal(w->key_version_id, to->primary_version);
	assert_ok(kms_decrypt(k, w, &got));
	assert_memory_equal(&got, dk, sizeof(got));
}

static void
reencrypting_moves_to_the_newest_version_or_another_key(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, other, service;
	struct wrapped_dk w, moved;
	struct key dk, got;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_create_key(e->k, "", &other));
	assert_ok(kms_create_alias(e->k, "alias/other", other.id));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, &dk));
	assert_ok(kms_create_key_version(e->k, key.id, &key));

	assert_ok(kms_reencrypt(e->k, &w, NULL, NULL, &moved));
	assert_moved(e->k, &moved, &dk, &key);
	assert_string_equal(moved.kms, w.kms);
	assert_true(uuid_equal(&moved.lineage, &lineage));
	assert_ok(kms_decrypt(e->k, &w, &got)); /* the old one opens still */

	assert_ok(kms_reencrypt(e->k, &w, "alias/other", NULL, &moved));
	assert_moved(e->k, &moved, &dk, &other);
	assert_ok(kms_reencrypt(e->k, &w, other.arn, NULL, &moved));
	assert_moved(e->k, &moved, &dk, &other);
	/* The service key is made when it is first used, here as elsewhere. */
	assert_ok(kms_reencrypt(e->k, &w, KMS_SERVICE_ALIAS, NULL, &w));
	assert_ok(kms_describe_key(e->k, KMS_SERVICE_ALIAS, &service));
	assert_moved(e->k, &w, &dk, &service);
	assert_ok(kms_reencrypt(e->k, &w, NULL, NULL, &w));
	assert_moved(e->k, &w, &dk, &service);
}

static void
reencrypting_may_change_the_context(void **state)
{
	struct env *e = *state;
	const struct uuid next = { { 42 } };
	struct wrapped_dk w, moved;
	struct key dk, got;

	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, &dk));
	assert_ok(kms_reencrypt(e->k, &w, NULL, &next, &moved));
	assert_true(uuid_equal(&moved.lineage, &next));
	assert_ok(kms_decrypt(e->k, &moved, &got));
	assert_memory_equal(&got, &dk, sizeof(got));
	moved.lineage = lineage;
	assert_err(kms_decrypt(e->k, &moved, &got), EKEYREJECTED);
	assert_err(kms_reencrypt(e->k, &moved, NULL, NULL, &w), EKEYREJECTED);
}

static void
reencrypting_needs_both_keys_and_the_right_names(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w, x, before;
	struct kms_key_info key, other;
	unsigned bit;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_create_key(e->k, "", &other));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	memset(&x, 0x5a, sizeof(x));
	before = x;
	assert_ok(kms_disable_key(e->k, key.id));
	assert_err(kms_reencrypt(e->k, &w, other.id, NULL, &x), EKEYREVOKED);
	assert_ok(kms_enable_key(e->k, key.id));
	assert_ok(kms_disable_key(e->k, other.id));
	assert_err(kms_reencrypt(e->k, &w, other.id, NULL, &x), EKEYREVOKED);
	assert_err(kms_reencrypt(e->k, &w, "alias/none", NULL, &x), ENOKEY);
	assert_err(kms_reencrypt(e->k, &w, "none", NULL, &x), EINVAL);
	assert_memory_equal(&x, &before, sizeof(x));
	for (bit = 0; bit < 8 * w.blob_len; bit += 5) {
		w.blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(kms_reencrypt(e->k, &w, NULL, NULL, &x) < 0);
		w.blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	x = w;
	memcpy(x.key_id, other.id, KMS_ID_LEN);
	assert_err(kms_reencrypt(e->k, &x, NULL, NULL, &x), EKEYREJECTED);
	assert_ok(kms_reencrypt(e->k, &w, NULL, NULL, &w));
}

/* The end of a key. */

static void
make_due(struct env *e, const char *id, int64_t in)
{
	struct keystore_key row;
	struct keystore *ks;

	env_row(e, id, &row);
	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_set_deletion(ks, row.seq, time(NULL) + in));
	keystore_close(ks);
}

static void
deletion_is_scheduled_and_called_off(void **state)
{
	static const unsigned bad[] = { 0, 1, 6, 367, 4000000000U };
	struct env *e = *state;
	struct kms_key_info key, info;
	struct wrapped_dk w;
	int64_t at = 0, now;
	struct key dk;
	size_t i;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_create_alias(e->k, "alias/a", key.id));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_err(kms_schedule_key_deletion(e->k, key.id, bad[i], &at),
			   EINVAL);
	assert_true(at == 0);
	now = time(NULL);
	assert_ok(kms_schedule_key_deletion(e->k, "alias/a", 366, &at));
	assert_true(at >= now + 366 * 86400 && at <= now + 366 * 86400 + 5);
	assert_ok(kms_describe_key(e->k, key.id, &info));
	assert_int_equal(info.state, KMS_PENDING_DELETION);
	assert_true(info.delete_at == at);
	assert_err(kms_decrypt(e->k, &w, &dk), EKEYEXPIRED);
	assert_ok(kms_cancel_key_deletion(e->k, key.id));
	assert_ok(kms_describe_key(e->k, key.id, &info));
	assert_int_equal(info.state, KMS_ENABLED);
	assert_true(info.delete_at == 0);
	assert_ok(kms_decrypt(e->k, &w, &dk));

	/* A disabled one comes back enabled: so does the API. */
	assert_ok(kms_disable_key(e->k, key.id));
	assert_ok(kms_schedule_key_deletion(e->k, key.id, 7, &at));
	assert_ok(kms_cancel_key_deletion(e->k, key.id));
	assert_ok(kms_decrypt(e->k, &w, &dk));
	assert_err(kms_cancel_key_deletion(e->k, key.id), EALREADY);
	assert_works(e->k, KMS_SERVICE_ALIAS);
	assert_err(kms_schedule_key_deletion(e->k, KMS_SERVICE_ALIAS, 7, &at),
		   EPERM);
}

static int
count_key(const struct kms_key_info *info, void *arg)
{
	(void)info;
	++*(unsigned *)arg;
	return 0;
}

static int
count_alias(const char *alias, const char *key_id, void *arg)
{
	(void)alias;
	(void)key_id;
	++*(unsigned *)arg;
	return 0;
}

static void
a_key_is_gone_from_its_last_day_on_and_leaves_a_tombstone(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, kept, info;
	struct keystore_key row;
	struct wrapped_dk w, x;
	unsigned n = 0;
	size_t off;
	int64_t at;
	struct key dk;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_create_key_version(e->k, key.id, &key));
	assert_ok(kms_create_key(e->k, "", &kept));
	assert_ok(kms_create_alias(e->k, "alias/a", key.id));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	assert_ok(kms_schedule_key_deletion(e->k, key.id, 7, &at));
	env_row(e, key.id, &row);
	make_due(e, key.id, 1000);
	assert_ok(kms_describe_key(e->k, key.id, &info));
	make_due(e, key.id, 0);

	/* Who has the keystore open sees that it is, before it is destroyed. */
	assert_err(kms_decrypt(e->k, &w, &dk), EKEYEXPIRED);
	assert_err(kms_cancel_key_deletion(e->k, key.id), EKEYEXPIRED);
	assert_err(kms_describe_key(e->k, key.id, &info), EKEYEXPIRED);
	env_close(e);
	assert_true(file_find(e->s.keystore_path, row.material.bytes,
			      row.material.len, &off) > 0);

	env_open(e);
	assert_err(kms_decrypt(e->k, &w, &dk), EKEYEXPIRED);
	assert_err(kms_describe_key(e->k, key.id, &info), EKEYEXPIRED);
	assert_err(kms_cancel_key_deletion(e->k, key.id), EKEYEXPIRED);
	assert_err(kms_reencrypt(e->k, &w, kept.id, NULL, &x), EKEYEXPIRED);
	assert_err(kms_generate_data_key(e->k, key.id, &lineage, &x, NULL),
		   EKEYEXPIRED);
	assert_err(kms_create_alias(e->k, "alias/b", key.id), EKEYEXPIRED);
	assert_err(kms_describe_key(e->k, "alias/a", &info), ENOKEY);
	assert_ok(kms_list_keys(e->k, count_key, &n));
	assert_int_equal(n, 1);
	n = 0;
	assert_ok(kms_list_aliases(e->k, count_alias, &n));
	assert_int_equal(n, 0);
	assert_works(e->k, kept.id);
	assert_ok(kms_backup(e->k, env_path(e, "backup.db")));
	env_close(e);
	assert_int_equal(file_find(e->s.keystore_path, row.material.bytes,
				   row.material.len, &off),
			 0);
	assert_ok(kms_restore(&e->s, env_path(e, "backup.db"), true));
	env_row(e, key.id, &row);
	assert_true(row.destroyed);
	assert_int_equal(row.material.len, 0);
}

static void
a_key_without_material_waits_for_it_again(void **state)
{
	struct env *e = *state;
	struct kms_key_info key;
	struct keystore *ks;
	int64_t at;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_exec(ks, "UPDATE versions SET material = NULL"));
	keystore_close(ks);
	env_set_state(e, key.id, KMS_PENDING_IMPORT);
	assert_ok(kms_schedule_key_deletion(e->k, key.id, 7, &at));
	assert_ok(kms_cancel_key_deletion(e->k, key.id));
	assert_ok(kms_describe_key(e->k, key.id, &key));
	assert_int_equal(key.state, KMS_PENDING_IMPORT);
}

/* A keystore of the first format. */

static void
an_older_format_is_brought_up_to_date(void **state)
{
	static const char down[] =
	    "DROP TABLE anchors; DROP TABLE access_keys; DROP TABLE policies;"
	    "DROP TABLE usage; DROP TABLE audit;"
	    "DROP TABLE imports; DROP TABLE tags;"
	    "DROP INDEX keys_rotating;"
	    "ALTER TABLE keys"
	    " DROP COLUMN material_expires;"
	    "ALTER TABLE keys DROP COLUMN material_check;"
	    "ALTER TABLE keys DROP COLUMN instance;"
	    "ALTER TABLE keys DROP COLUMN policy;"
	    "ALTER TABLE keys DROP COLUMN protection;"
	    "ALTER TABLE keys DROP COLUMN rotation;"
	    "ALTER TABLE keys DROP COLUMN destroyed;"
	    "ALTER TABLE keys DROP COLUMN delete_at;"
	    "PRAGMA user_version = 1";
	struct env *e = *state;
	struct kms_key_info key;
	struct wrapped_dk w;
	struct keystore *ks;
	unsigned version;
	struct key dk;
	int64_t at;

	assert_ok(kms_create_key(e->k, "", &key));
	assert_ok(kms_generate_data_key(e->k, key.id, &lineage, &w, NULL));
	env_close(e);
	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_exec(ks, down));
	assert_ok(keystore_save(ks, env_path(e, "old.db")));
	keystore_close(ks);
	assert_ok(keystore_open_copy(e->s.keystore_path, &ks));
	assert_ok(keystore_check(ks)); /* as it was made then */
	keystore_close(ks);

	env_open(e);
	assert_ok(kms_decrypt(e->k, &w, &dk));
	assert_ok(kms_schedule_key_deletion(e->k, key.id, 7, &at));
	assert_ok(keystore_open_copy(e->s.keystore_path, &ks));
	assert_ok(keystore_check_kind(ks, &version));
	assert_int_equal(version, KEYSTORE_SCHEMA_VERSION);
	assert_ok(keystore_check(ks));
	keystore_close(ks);

	/* A backup of then, over a keystore of now. */
	assert_ok(kms_restore(&e->s, env_path(e, "old.db"), true));
	assert_ok(kms_decrypt(e->k, &w, &dk));
	env_close(e);
	assert_int_equal(unlink(e->s.keystore_path), 0);
	assert_ok(kms_restore(&e->s, env_path(e, "old.db"), false));
	env_open(e);
	assert_ok(kms_decrypt(e->k, &w, &dk));
}

/* Rotate, and tell of each version once it was answered, until killed. */
static void
rotate_for_ever(struct env *e, const char *id, int fd)
{
	struct kms_key_info info;
	struct wrapped_dk w;
	struct kms *k;

	if (kms_open(&e->s, &k) < 0 ||
	    kms_generate_data_key(k, id, &lineage, &w, NULL) < 0)
		_exit(1);
	while (kms_create_key_version(k, id, &info) == 0 &&
	       kms_reencrypt(k, &w, NULL, NULL, &w) == 0)
		if (io_write_all(fd, &w, sizeof(w)) < 0)
			break;
	_exit(1);
}

static void
kill_9_loses_no_version(void **state)
{
	struct env *e = *state;
	struct kms_key_info key, info;
	struct wrapped_dk w;
	unsigned i, n;
	int fds[2], status;
	struct key dk;
	pid_t pid;

	for (i = 1; i <= 8; i++) {
		assert_ok(kms_create_key(e->k, "", &key));
		env_close(e);
		assert_int_equal(pipe(fds), 0);
		pid = fork();
		if (pid == 0)
			rotate_for_ever(e, key.id, fds[1]);
		(void)close(fds[1]);
		for (n = 0; io_read_all(fds[0], &w, sizeof(w)) == 0;)
			if (++n == i) {
				(void)usleep(i * 173 % 1000);
				assert_int_equal(kill(pid, SIGKILL), 0);
			}
		(void)close(fds[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		env_open(e);
		assert_ok(kms_decrypt(e->k, &w, &dk));
		assert_ok(kms_describe_key(e->k, key.id, &info));
		assert_true(info.versions >= n + 1 && info.versions <= n + 2);
		assert_works(e->k, key.id);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_version_wraps_and_all_unwrap),
		TEST(a_version_does_not_open_what_another_has_wrapped),
		TEST(a_key_has_50_versions_at_most),
		TEST(service_keys_and_imported_ones_are_not_rotated),
		TEST(reencrypting_moves_to_the_newest_version_or_another_key),
		TEST(reencrypting_may_change_the_context),
		TEST(reencrypting_needs_both_keys_and_the_right_names),
		TEST(deletion_is_scheduled_and_called_off),
		TEST(a_key_is_gone_from_its_last_day_on_and_leaves_a_tombstone),
		TEST(a_key_without_material_waits_for_it_again),
		TEST(an_older_format_is_brought_up_to_date),
		TEST(kill_9_loses_no_version),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
