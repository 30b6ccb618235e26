/*
 * test_root_passphrase.c - the root that is a passphrase: what it costs, and
 * how it is asked for.
 */
#include "kms_env.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#define GOOD "correct horse"

/* Argon2id. */

static void
argon2id_gives_the_published_tags(void **state)
{
	/* test.c of the reference implementation, version 0x13. */
	static const struct {
		struct argon2_cost cost;
		const char *password, *salt, *tag;
	} table[] = {
		{ { 256, 2, 1 },
		  "password",
		  "somesalt",
		  "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c"
		  "68bfe" },
		{ { 256, 2, 2 },
		  "password",
		  "somesalt",
		  "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf"
		  "57037" },
		{ { 65536, 2, 1 },
		  "password",
		  "somesalt",
		  "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f619"
		  "13cf7" },
		{ { 65536, 1, 1 },
		  "password",
		  "somesalt",
		  "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d"
		  "9ca98" },
		{ { 65536, 2, 1 },
		  "differentpassword",
		  "somesalt",
		  "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c4"
		  "58fde" },
		{ { 65536, 2, 1 },
		  "password",
		  "diffsalt",
		  "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa"
		  "8141c" },
	};
	size_t i, n = sizeof(table) / sizeof(table[0]);
	uint8_t want[KEY_LEN];
	struct key k;

	(void)state;
	if (test_is_watched())
		n = 2; /* the others take minutes */
	else if (!test_is_slow())
		n = 3;
	for (i = 0; i < n; i++) {
		assert_ok(argon2id(table[i].password, strlen(table[i].password),
				   table[i].salt, strlen(table[i].salt),
				   &table[i].cost, &k));
		assert_int_equal(unhex(table[i].tag, want), KEY_LEN);
		assert_memory_equal(k.bytes, want, KEY_LEN);
	}
}

static void
argon2id_refuses_what_is_no_cost(void **state)
{
	static const struct argon2_cost bad[] = {
		{ 0, 1, 1 },   { 7, 1, 1 },    { 8, 0, 1 },
		{ 256, 1, 0 }, { 255, 1, 32 }, { 0, 0, 0 },
	};
	const struct argon2_cost good = { 8, 1, 1 };
	struct key k;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_err(argon2id("p", 1, "somesalt", 8, &bad[i], &k),
			   EINVAL);
	assert_err(argon2id("p", 1, "somesal", 7, &good, &k), EINVAL);
	assert_ok(argon2id("p", 1, "somesalt", 8, &good, &k));
}

/* What it opens. */

static void
a_passphrase_opens_what_it_has_made(void **state)
{
	struct env *e = *state;
	struct wrapped_dk w;
	const char *kind;
	struct key dk;
	int fd;

	assert_ok(env_init_by(e, GOOD "\n"));
	assert_false(file_exists(e->s.keystore_root_file));
	assert_ok(kms_root_kind(&e->s, &kind));
	assert_string_equal(kind, "passphrase");
	fd = set_passphrase(&e->s, GOOD);
	env_open(e);
	(void)close(fd);
	/* Neither it nor what came of it stays: the keystore key does. */
	assert_int_equal(secret_in_use(), e->secrets + 1);
	assert_ok(
	    kms_generate_data_key(e->k, KMS_SERVICE_ALIAS, &lineage, &w, NULL));
	assert_ok(kms_decrypt(e->k, &w, &dk));
	assert_ok(env_init_by(e, GOOD "\n")); /* which only looks */
	assert_err(env_init_by(e, "wrong horse\n"), EKEYREJECTED);
}

static void
a_wrong_passphrase_is_rejected(void **state)
{
	static const char *const wrong[] = {
		"correct hors",
		"correct horse ",
		"Correct horse",
		"x",
		" correct horse",
		"correct horse\r",
		"",
	};
	struct env *e = *state;
	char text[PASSPHRASE_MAX + 3];
	size_t i;

	assert_ok(env_init_by(e, GOOD));
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_err(env_try_by(e, wrong[i]), EKEYREJECTED);
	assert_err(env_try_by(e, "\n" GOOD "\n"), EKEYREJECTED);
	memset(text, 'x', sizeof(text));
	text[PASSPHRASE_MAX + 1] = '\0';
	assert_err(env_try_by(e, text), EKEYREJECTED);
	text[PASSPHRASE_MAX] = '\0';
	assert_err(env_try_by(e, text), EKEYREJECTED);
	assert_ok(env_try_by(e, GOOD));
	assert_int_equal(secret_in_use(), e->secrets);
}

static void
a_new_passphrase_has_a_length(void **state)
{
	struct env *e = *state;
	char text[PASSPHRASE_MAX + 2];

	memset(text, 'x', sizeof(text));
	text[PASSPHRASE_MAX + 1] = '\0';
	assert_err(env_init_by(e, text), EINVAL);
	assert_err(env_init_by(e, "7 bytes\n"), EINVAL);
	assert_err(env_init_by(e, "\n"), EINVAL);
	assert_err(env_init_by(e, ""), EINVAL);
	assert_false(file_exists(e->s.keystore_path));
	text[PASSPHRASE_MAX] = '\0';
	assert_ok(env_init_by(e, text));
	assert_ok(env_try_by(e, text));
	assert_int_equal(unlink(e->s.keystore_path), 0);
	assert_ok(env_init_by(e, "8 bytes.\n"));
}

static void
a_passphrase_is_any_bytes_but_a_line_feed(void **state)
{
	static const char bytes[] = "\x00\xff\x01\r\t \xc3\x28\x7f";
	struct env *e = *state;
	int fd;

	set_root(&e->s, "passphrase");
	fd = set_passphrase_bytes(&e->s, bytes, sizeof(bytes));
	assert_ok(env_init(e));
	(void)close(fd);
	fd = set_passphrase_bytes(&e->s, bytes, sizeof(bytes));
	assert_ok(env_try_open(e));
	(void)close(fd);
	fd = set_passphrase_bytes(&e->s, bytes, sizeof(bytes) - 1);
	assert_err(env_try_open(e), EKEYREJECTED);
	(void)close(fd);
}

static void
not_a_byte_is_read_beyond_the_line(void **state)
{
	struct env *e = *state;
	char rest[16] = "";
	int fd;

	assert_ok(env_init_by(e, GOOD));
	fd = set_passphrase(&e->s, GOOD "\n" GOOD "\nrest\n");
	assert_ok(env_try_open(e));
	assert_ok(env_try_open(e)); /* the second line */
	assert_int_equal(read(fd, rest, sizeof(rest)), 5);
	assert_string_equal(rest, "rest\n");
	assert_err(env_try_open(e), EKEYREJECTED); /* nothing is left */
	(void)close(fd);
}

static void
a_descriptor_that_is_none_is_told(void **state)
{
	static const char *const bad[] = { "x",         "-1",         "1x",
					   "99999",     "4294967296", " 0",
					   "2147483648" };
	struct env *e = *state;
	int fd;
	size_t i;

	assert_ok(env_init_by(e, GOOD));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		strcpy(e->s.keystore_passphrase_fd, bad[i]);
		assert_err(env_try_open(e), EBADF);
	}
	fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	(void)snprintf(e->s.keystore_passphrase_fd,
		       sizeof(e->s.keystore_passphrase_fd), "%d", fd);
	assert_err(env_try_open(e), EBADF);
	(void)close(fd);
}

/* The wrapped key, and how long what stands before it is. */
#define HEADER 29

static void
every_bit_of_what_a_passphrase_wraps_counts(void **state)
{
	struct env *e = *state;
	CLEANUP(root_closep) struct root *root = NULL;
	CLEANUP(aead_freep) struct aead *a = NULL;
	const struct uuid ks = { { 9 } }, other = { { 8 } };
	uint8_t wrapped[ROOT_WRAPPED_MAX];
	struct key k = { { 1, 2, 3 } }, got;
	size_t len, bit, memory = test_is_watched() ? 8 : 16;
	int fd;

	assert_ok(aead_new(&a));
	fd = set_passphrase(&e->s, GOOD);
	assert_ok(root_open(&e->s, true, &root));
	(void)close(fd);
	assert_ok(root_wrap(root, a, &ks, &k, wrapped, &len));
	assert_int_equal(len, HEADER + 12 + 32 + 16);
	assert_ok(root_unwrap(root, a, &ks, wrapped, len, &got));
	assert_memory_equal(&k, &got, sizeof(k));
	assert_err(root_unwrap(root, a, &other, wrapped, len, &got),
		   EKEYREJECTED);
	for (bit = 0; bit < 8 * len; bit++) {
		/* Costs that are bearable, in memory and in passes. */
		if ((bit >= 8 + memory && bit < 8 + 23) ||
		    (bit >= 40 + 4 && bit < 40 + 10))
			continue;
		wrapped[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_err(root_unwrap(root, a, &ks, wrapped, len, &got),
			   EKEYREJECTED);
		wrapped[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (bit = 0; bit < len; bit++)
		assert_err(root_unwrap(root, a, &ks, wrapped, bit, &got),
			   EKEYREJECTED);
	assert_err(root_unwrap(root, a, &ks, wrapped, len + 1, &got),
		   EKEYREJECTED);
}

static void
two_keystores_of_one_passphrase_have_salts_of_their_own(void **state)
{
	struct env *e = *state;
	struct keystore_head head[2];
	struct keystore *ks;
	unsigned i;

	for (i = 0; i < 2; i++) {
		(void)unlink(e->s.keystore_path);
		assert_ok(env_init_by(e, GOOD));
		assert_ok(keystore_open(e->s.keystore_path, &ks));
		assert_ok(keystore_get_head(ks, &head[i]));
		keystore_close(ks);
	}
	assert_memory_equal(head[0].key.bytes, head[1].key.bytes, 13);
	assert_memory_not_equal(head[0].key.bytes + 13, head[1].key.bytes + 13,
				16);
}

static void
a_keystore_that_is_not_unlocked_lists_and_switches(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	struct wrapped_dk w;
	struct key dk;
	int fd;

	assert_ok(env_init_by(e, GOOD));
	fd = set_passphrase(&e->s, GOOD);
	env_open(e);
	assert_ok(kms_create_key(e->k, "", &info));
	assert_ok(kms_generate_data_key(e->k, info.id, &lineage, &w, NULL));
	env_close(e);
	(void)close(fd);

	fd = set_passphrase(&e->s, "wrong horse\n" GOOD "\n");
	assert_ok(kms_open_locked(&e->s, &e->k));
	assert_ok(kms_describe_key(e->k, info.id, &info));
	assert_ok(kms_disable_key(e->k, info.id));
	assert_ok(kms_enable_key(e->k, info.id));
	assert_ok(kms_create_alias(e->k, "alias/a", info.id));
	assert_int_equal(secret_in_use(), e->secrets + 1);
	/* Now it is asked for, and until it is right. */
	assert_err(kms_decrypt(e->k, &w, &dk), EKEYREJECTED);
	assert_ok(kms_decrypt(e->k, &w, &dk));
	assert_ok(kms_decrypt(e->k, &w, &dk)); /* and not again */
	(void)close(fd);
}

static void
restoring_asks_once(void **state)
{
	struct env *e = *state;
	struct kms_key_info info;
	int fd;

	assert_ok(env_init_by(e, GOOD));
	fd = set_passphrase(&e->s, GOOD);
	env_open(e);
	(void)close(fd);
	assert_ok(kms_create_key(e->k, "", &info));
	assert_ok(kms_backup(e->k, env_path(e, "backup.db")));
	fd = set_passphrase(&e->s, "wrong horse");
	assert_err(kms_restore(&e->s, env_path(e, "backup.db"), true),
		   EKEYREJECTED);
	(void)close(fd);
	fd = set_passphrase(&e->s, GOOD);
	assert_ok(kms_restore(&e->s, env_path(e, "backup.db"), true));
	(void)close(fd);
	assert_works(e->k, info.id); /* who has it open goes on */
}

/* The terminal. */

struct session {
	pid_t pid;
	int pty;
	char said[4096];
	size_t len;
};

/* ${fn} in a process with a terminal of its own. */
static void
session_start(struct session *s, int (*fn)(struct env *e), struct env *e)
{
	char name[128];
	int tty;

	memset(s, 0, sizeof(*s));
	s->pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(s->pty >= 0);
	assert_int_equal(grantpt(s->pty), 0);
	assert_int_equal(unlockpt(s->pty), 0);
	assert_int_equal(ptsname_r(s->pty, name, sizeof(name)), 0);
	s->pid = fork();
	if (s->pid == 0) {
		(void)setsid();
		/* Who was started in the background ignores it. */
		(void)signal(SIGINT, SIG_DFL);
		tty = open(name, O_RDWR);
		if (tty < 0 || ioctl(tty, TIOCSCTTY, 0) < 0)
			_exit(99);
		_exit(-fn(e));
	}
	assert_true(s->pid > 0);
}

/* Read on until ${what} was said. */
static void
session_expect(struct session *s, const char *what)
{
	ssize_t n;

	while (!strstr(s->said, what)) {
		n = read(s->pty, s->said + s->len,
			 sizeof(s->said) - 1 - s->len);
		if (n <= 0)
			fail_msg("\"%s\", not \"%s\"", s->said, what);
		s->len += (size_t)n;
		s->said[s->len] = '\0';
	}
}

static void
session_type(struct session *s, const char *text)
{
	struct termios t;

	/* The question comes before the terminal is read. */
	assert_int_equal(tcgetattr(s->pty, &t), 0);
	assert_int_equal(t.c_lflag & ECHO, 0);
	s->len = 0;
	s->said[0] = '\0';
	assert_ok(io_write_all(s->pty, text, strlen(text)));
}

static int
session_end(struct session *s)
{
	struct termios t;
	int status;

	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	/* Whatever came of it, the terminal echoes again. */
	assert_int_equal(tcgetattr(s->pty, &t), 0);
	assert_true(t.c_lflag & ECHO);
	(void)close(s->pty);
	return status;
}

static int
session_result(struct session *s)
{
	int status = session_end(s);

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
the_terminal_is_asked_and_does_not_echo(void **state)
{
	struct env *e = *state;
	struct session s;

	set_root(&e->s, "passphrase");
	session_start(&s, env_init, e);
	session_expect(&s, "New passphrase of keystore /");
	session_expect(&s, "keystore.db: ");
	session_type(&s, GOOD "\n");
	session_expect(&s, "Again: ");
	assert_null(strstr(s.said, "horse"));
	session_type(&s, GOOD "\n");
	assert_int_equal(session_result(&s), 0);

	session_start(&s, env_try_open, e);
	session_expect(&s, "Passphrase of keystore /");
	session_expect(&s, "keystore.db: ");
	session_type(&s, GOOD "\n");
	assert_int_equal(session_result(&s), 0);
	session_start(&s, env_try_open, e);
	session_expect(&s, ": ");
	session_type(&s, "wrong horse\n");
	assert_int_equal(session_result(&s), EKEYREJECTED);
	assert_ok(env_try_by(e, GOOD));
}

static void
a_new_passphrase_is_asked_for_until_it_will_do(void **state)
{
	struct env *e = *state;
	struct session s;
	unsigned i;

	set_root(&e->s, "passphrase");
	session_start(&s, env_init, e);
	session_expect(&s, "keystore.db: ");
	session_type(&s, "short\n");
	session_expect(&s, "8 to 1024 bytes");
	session_expect(&s, "keystore.db: ");
	session_type(&s, GOOD "\n");
	session_expect(&s, "Again: ");
	session_type(&s, "correct house\n");
	session_expect(&s, "not the same");
	session_expect(&s, "keystore.db: ");
	session_type(&s, GOOD "\n");
	session_expect(&s, "Again: ");
	session_type(&s, GOOD "\n");
	assert_int_equal(session_result(&s), 0);
	assert_ok(env_try_by(e, GOOD));

	assert_int_equal(unlink(e->s.keystore_path), 0);
	e->s.keystore_passphrase_fd[0] = '\0';
	session_start(&s, env_init, e);
	for (i = 0; i < 3; i++) {
		session_expect(&s, "keystore.db: ");
		session_type(&s, "short\n");
	}
	assert_int_equal(session_result(&s), EINVAL);
	assert_false(file_exists(e->s.keystore_path));
}

static void
no_answer_is_told_from_a_wrong_one(void **state)
{
	struct env *e = *state;
	struct session s;

	assert_ok(env_init_by(e, GOOD));
	e->s.keystore_passphrase_fd[0] = '\0';
	session_start(&s, env_try_open, e);
	session_expect(&s, "keystore.db: ");
	session_type(&s, "\x04");
	assert_int_equal(session_result(&s), ECANCELED);
	session_start(&s, env_try_open, e);
	session_expect(&s, "keystore.db: ");
	session_type(&s, "\n");
	assert_int_equal(session_result(&s), EKEYREJECTED);
}

/* As in a daemon that is about to start. */
static int
open_with_signals_blocked(struct env *e)
{
	sigset_t set;
	int r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	r = env_try_open(e);
	(void)sigpending(&set);
	return r == -ECANCELED && sigismember(&set, SIGINT) ? 0 : -1;
}

static void
a_signal_puts_the_terminal_right_first(void **state)
{
	struct env *e = *state;
	struct session s;
	int status;

	assert_ok(env_init_by(e, GOOD));
	e->s.keystore_passphrase_fd[0] = '\0';
	session_start(&s, env_try_open, e);
	session_expect(&s, "keystore.db: ");
	session_type(&s, "corr\x03");
	status = session_end(&s);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGINT);

	session_start(&s, open_with_signals_blocked, e);
	session_expect(&s, "keystore.db: ");
	session_type(&s, "corr\x03");
	assert_int_equal(session_result(&s), 0);
}

static int
open_without_terminal(struct env *e)
{
	(void)setsid();
	return env_try_open(e);
}

static void
where_there_is_no_terminal_there_is_no_key(void **state)
{
	struct env *e = *state;
	int status;
	pid_t pid;

	assert_ok(env_init_by(e, GOOD));
	e->s.keystore_passphrase_fd[0] = '\0';
	pid = fork();
	if (pid == 0)
		_exit(-open_without_terminal(e));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), ENOKEY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(argon2id_gives_the_published_tags),
		cmocka_unit_test(argon2id_refuses_what_is_no_cost),
		TEST_BARE(a_passphrase_opens_what_it_has_made),
		TEST_BARE(a_wrong_passphrase_is_rejected),
		TEST_BARE(a_new_passphrase_has_a_length),
		TEST_BARE(a_passphrase_is_any_bytes_but_a_line_feed),
		TEST_BARE(not_a_byte_is_read_beyond_the_line),
		TEST_BARE(a_descriptor_that_is_none_is_told),
		TEST_BARE(every_bit_of_what_a_passphrase_wraps_counts),
		TEST_BARE(
		    two_keystores_of_one_passphrase_have_salts_of_their_own),
		TEST_BARE(a_keystore_that_is_not_unlocked_lists_and_switches),
		TEST_BARE(restoring_asks_once),
		TEST_BARE(the_terminal_is_asked_and_does_not_echo),
		TEST_BARE(a_new_passphrase_is_asked_for_until_it_will_do),
		TEST_BARE(no_answer_is_told_from_a_wrong_one),
		TEST_BARE(a_signal_puts_the_terminal_right_first),
		TEST_BARE(where_there_is_no_terminal_there_is_no_key),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
