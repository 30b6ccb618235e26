/*
 * test_settings.c - sealdisk.ini: what is taken, and what is refused and how.
 */
#include "test.h"

#include <errno.h>
#include <sys/resource.h>

#include <sealdisk/ini.h>
#include <sealdisk/io.h>
#include <sealdisk/log.h>
#include <sealdisk/settings.h>

static char dir[TMPDIR_LEN], file[TMPDIR_LEN + 32];

static int
setup(void **state)
{
	(void)state;
	tmpdir_make(dir);
	(void)snprintf(file, sizeof(file), "%s/sealdisk.ini", dir);
	(void)setenv("HOME", dir, 1);
	(void)unsetenv("XDG_CONFIG_HOME");
	(void)unsetenv("XDG_STATE_HOME");
	(void)unsetenv("SEALDISK_CONFIG");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	tmpdir_remove(dir);
	return 0;
}

static void
write_file(const char *text, size_t len)
{
	assert_ok(io_replace(AT_FDCWD, file, text, len, 0600));
}

static void
load_ok(const char *text, struct settings *s)
{
	CLEANUP(free_memp) char *msg = NULL;
	int r;

	write_file(text, strlen(text));
	r = settings_load(s, file, &msg);
	if (r < 0)
		fail_msg("%s", msg ? msg : strerror(-r));
	assert_null(msg);
	assert_string_equal(s->file, file);
}

/* Loading ${text} fails with "FILE:" and then exactly ${want}. */
static void
load_refuses(const char *text, size_t len, const char *want)
{
	CLEANUP(free_memp) char *msg = NULL;
	struct settings s, before;
	size_t n = strlen(file);

	memset(&s, 0x5a, sizeof(s));
	memcpy(&before, &s, sizeof(s));
	write_file(text, len);
	assert_err(settings_load(&s, file, &msg), EINVAL);
	assert_non_null(msg);
	assert_memory_equal(msg, file, n);
	assert_string_equal(msg + n, want);
	assert_memory_equal(&s, &before, sizeof(s)); /* not half loaded */
}

static void
defaults_are_those_of_the_manual(void **state)
{
	struct settings s;

	(void)state;
	settings_default(&s);
	assert_string_equal(s.store, "");
	assert_int_equal(s.cache_size, 0);
	assert_int_equal(s.linger, 5);
	assert_int_equal(s.threads, 0);
	assert_false(s.writeback_cache);
	assert_string_equal(s.cipher, "aes-256-gcm");
	assert_int_equal(s.slack, 1 << 30);
	assert_string_equal(s.commit, "auto");
	assert_string_equal(s.kms_endpoint, "embedded");
	assert_string_equal(s.kms_region, "local");
	assert_string_equal(s.kms_key, "alias/acs/ecs");
	assert_int_equal(s.kms_timeout, 30);
	assert_string_equal(s.kms_access_key_file, "");
	assert_string_equal(s.kms_ca_file, "");
	assert_int_equal(s.key_check_interval, 300);
	assert_string_equal(s.keystore_root, "keyfile");
	assert_string_equal(s.keystore_audit, "auto");
	assert_string_equal(s.file, "");
}

static void
root_and_users_have_their_own_places(void **state)
{
	char want[TMPDIR_LEN + 64];
	struct settings s;

	(void)state;
	settings_default(&s);
	if (geteuid() == 0) {
		assert_string_equal(s.keystore_path,
				    LOCALSTATEDIR "/lib/sealdisk/keystore.db");
		assert_string_equal(s.keystore_root_file,
				    SYSCONFDIR "/sealdisk/root.key");
		/* The rest of this test as a user, for a moment. */
		if (seteuid(65534) < 0)
			return;
	}
	settings_default(&s);
	(void)snprintf(want, sizeof(want),
		       "%s/.local/state/sealdisk/keystore.db", dir);
	assert_string_equal(s.keystore_path, want);
	(void)snprintf(want, sizeof(want), "%s/.config/sealdisk/root.key", dir);
	assert_string_equal(s.keystore_root_file, want);

	(void)setenv("XDG_STATE_HOME", "/x/state", 1);
	(void)setenv("XDG_CONFIG_HOME", "relative", 1); /* so it is ignored */
	settings_default(&s);
	assert_string_equal(s.keystore_path, "/x/state/sealdisk/keystore.db");
	assert_string_equal(s.keystore_root_file, want);

	(void)unsetenv("HOME");
	settings_default(&s);
	assert_string_equal(s.keystore_root_file, "");
	if (getuid() == 0)
		(void)!seteuid(0);
}

static void
every_key_is_taken(void **state)
{
	struct settings s;

	(void)state;
	load_ok("# all of them\n"
		"[sealdisk]\n"
		"store = /srv/store\n"
		"\n"
		"[mount]\n"
		"cache_size = 256M ; a comment\n"
		"linger=0\n"
		"\tthreads\t=\t4\t\n"
		"writeback_cache = yes\n"
		"[store]\r\n"
		"cipher = aes-256-ocb\r\n"
		"slack = 2g\n"
		"commit = files\n"
		"[kms]\n"
		"endpoint = https://kms.example.com:8443\n"
		"region = eu-1\n"
		"key = \"alias/gr\xc3\xbc\xc3\x9f; #1\"\n"
		"timeout = 5\n"
		"access_key_file = '/etc/a key'\n"
		"ca_file = /etc/ca.pem # another\n"
		"key_check_interval = 60\n"
		"[keystore]\n"
		"path = /k/store.db\n"
		"root = passphrase\n"
		"root_file = /k/root\n"
		"audit = /k/audit",
		&s);
	assert_string_equal(s.store, "/srv/store");
	assert_int_equal(s.cache_size, 256 << 20);
	assert_int_equal(s.linger, 0);
	assert_int_equal(s.threads, 4);
	assert_true(s.writeback_cache);
	assert_string_equal(s.cipher, "aes-256-ocb");
	assert_int_equal(s.slack, UINT64_C(2) << 30);
	assert_string_equal(s.commit, "files");
	assert_string_equal(s.kms_endpoint, "https://kms.example.com:8443");
	assert_string_equal(s.kms_region, "eu-1");
	assert_string_equal(s.kms_key, "alias/gr\xc3\xbc\xc3\x9f; #1");
	assert_int_equal(s.kms_timeout, 5);
	assert_string_equal(s.kms_access_key_file, "/etc/a key");
	assert_string_equal(s.kms_ca_file, "/etc/ca.pem");
	assert_int_equal(s.key_check_interval, 60);
	assert_string_equal(s.keystore_path, "/k/store.db");
	assert_string_equal(s.keystore_root, "passphrase");
	assert_string_equal(s.keystore_root_file, "/k/root");
	assert_string_equal(s.keystore_audit, "/k/audit");
}

static void
empty_file_means_defaults(void **state)
{
	struct settings s;

	(void)state;
	load_ok("", &s);
	assert_int_equal(s.linger, 5);
	load_ok("\n# nothing\n\n[mount]\n", &s);
	assert_int_equal(s.linger, 5);
}

static void
sections_may_come_twice_and_names_in_capitals(void **state)
{
	struct settings s;

	(void)state;
	load_ok("[mount]\nLinger = 7\n[kms]\n[MOUNT]\nthreads = 2\n", &s);
	assert_int_equal(s.linger, 7);
	assert_int_equal(s.threads, 2);
}

static void
empty_text_unsets_only_what_may_be_unset(void **state)
{
	struct settings s;

	(void)state;
	load_ok("[sealdisk]\nstore =\n[kms]\nca_file = \"\"\n", &s);
	assert_string_equal(s.store, "");
	assert_string_equal(s.kms_ca_file, "");
}

static void
wrong_files_are_refused_with_one_clear_line(void **state)
{
	static const struct {
		const char *text, *want;
	} v[] = {
		/* what is not known */
		{ "[mount]\nlingr = 5\n", "2: [mount] has no key \"lingr\"" },
		{ "[mounts]\n", "1: there is no section [mounts]" },
		{ "[kms]\nlinger = 5\n", "2: [kms] has no key \"linger\"" },
		{ "[kms second]\nlinger = x\n",
		  "2: [kms second] linger: there is no such key" },
		{ "[kms acs]\nregion = x\n",
		  "1: [kms acs]: a key service has a name of a-z, 0-9, _ and "
		  "-, not default or acs" },
		{ "[kms b]\ntimeout = 0\n",
		  "2: [kms b] timeout: 0 is not from 1 to 3600" },
		/* what is there twice */
		{ "[mount]\nlinger = 5\n[kms]\n[mount]\nlinger = 6\n",
		  "5: \"linger\" is there already, in line 2" },
		{ "[mount]\nlinger = 5\nLINGER = 5\n",
		  "3: \"linger\" is there already, in line 2" },
		/* values */
		{ "[mount]\nlinger = 12abc\n",
		  "2: [mount] linger: \"12abc\" is not a whole number" },
		{ "[mount]\nlinger = -1\n",
		  "2: [mount] linger: \"-1\" is not a whole number" },
		{ "[mount]\nlinger = 0x10\n",
		  "2: [mount] linger: \"0x10\" is not a whole number" },
		{ "[mount]\nlinger =\n",
		  "2: [mount] linger: \"\" is not a whole number" },
		{ "[mount]\nlinger = 86401\n",
		  "2: [mount] linger: 86401 is not from 0 to 86400" },
		{ "[mount]\nlinger = 99999999999999999999\n",
		  "2: [mount] linger: 99999999999999999999 is not from 0 to "
		  "86400" },
		{ "[kms]\ntimeout = 0\n",
		  "2: [kms] timeout: 0 is not from 1 to 3600" },
		{ "[mount]\ncache_size = 64MB\n",
		  "2: [mount] cache_size: \"64MB\" is not a size such as 64M" },
		{ "[mount]\nwriteback_cache = maybe\n",
		  "2: [mount] writeback_cache: \"maybe\" is neither yes nor "
		  "no" },
		{ "[store]\ncipher = rot13\n",
		  "2: [store] cipher: \"rot13\" is not one of "
		  "aes-256-gcm|aes-256-ocb" },
		{ "[store]\ncommit = auto|files\n",
		  "2: [store] commit: \"auto|files\" is not one of "
		  "auto|files" },
		{ "[keystore]\npath = keystore.db\n",
		  "2: [keystore] path: \"keystore.db\" is not an absolute "
		  "path" },
		{ "[keystore]\npath =\n",
		  "2: [keystore] path: must not be empty" },
		{ "[kms]\nendpoint = http://x\n",
		  "2: [kms] endpoint: \"http://x\" is not embedded, "
		  "unix:/PATH or https://HOST[:PORT]" },
		{ "[kms]\nregion = "
		  "0123456789012345678901234567890123456789"
		  "012345678901234567890123\n",
		  "2: [kms] region: longer than 63 bytes" },
		/* what iniparser would take for something else */
		{ "[sealdisk]\nstore = /srv/a;b\n",
		  "2: a value with ; in it needs quotes" },
		{ "[sealdisk]\nstore = /srv/a#b\n",
		  "2: a value with # in it needs quotes" },
		{ "[sealdisk]\nstore =#b\n",
		  "2: a value with # in it needs quotes" },
		{ "[sealdisk]\nstore = \"/srv/a\n",
		  "2: the quote is not closed" },
		{ "[sealdisk]\nstore = \"/srv/a\" b\n",
		  "2: there is more after the quote" },
		{ "[sealdisk]\nstore = \"/a\"\"b\"\n",
		  "2: there is more after the quote" },
		{ "[sealdisk]\nstore = /srv\\\n/a\n",
		  "2: a line cannot end with a backslash" },
		{ "# comment \\\n[mount]\n",
		  "1: a line cannot end with a backslash" },
		{ "[mount] linger = 5\n",
		  "1: a section is [NAME] and nothing after it" },
		{ "[mount\n", "1: a section is [NAME] and nothing after it" },
		{ "[\n", "1: a section is [NAME] and nothing after it" },
		{ "[]\n", "1: not the name of a section" },
		{ "[a:b]\n", "1: not the name of a section" },
		{ "linger = 5\n", "1: \"linger\" is in no section" },
		{ "[mount]\nlinger\n", "2: neither [SECTION] nor KEY = VALUE" },
		{ "[mount]\n= 5\n", "2: not the name of a key" },
		{ "[mount]\na:b = 5\n", "2: not the name of a key" },
		{ "[mount]\na b = 5\n", "2: not the name of a key" },
		{ "[sealdisk]\nstore = \x1b[2J\n", "2: a control character" },
		{ "[sealdisk]\nstore = \xff\n", "2: not UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		char want[256];

		(void)snprintf(want, sizeof(want), ":%s", v[i].want);
		load_refuses(v[i].text, strlen(v[i].text), want);
	}
	load_refuses("[mount]\n\0\n", 10, ":2: a control character");
}

static void
lines_and_files_have_a_limit(void **state)
{
	CLEANUP(free_memp) char *msg = NULL;
	static char text[70000];
	struct settings s;

	(void)state;
	/* 1022 bytes are taken, of which 7 are before the value. */
	(void)snprintf(text, sizeof(text), "[sealdisk]\nstore =%*s/x\n", 1013,
		       "");
	load_ok(text, &s);
	assert_string_equal(s.store, "/x");
	(void)snprintf(text, sizeof(text), "[sealdisk]\nstore =%*s/x\n", 1014,
		       "");
	load_refuses(text, strlen(text), ":2: longer than 1022 bytes");

	memset(text, '\n', sizeof(text));
	write_file(text, sizeof(text));
	assert_err(settings_load(&s, file, &msg), EFBIG);
	assert_non_null(strstr(msg, strerror(EFBIG)));
}

static void
named_file_must_exist_and_the_usual_one_need_not(void **state)
{
	char *msg = NULL;
	struct settings s;

	(void)state;
	(void)unlink(file);
	assert_err(settings_load(&s, file, &msg), ENOENT);
	assert_non_null(strstr(msg, file));
	assert_non_null(strstr(msg, strerror(ENOENT)));
	free(msg);

	(void)setenv("SEALDISK_CONFIG", file, 1);
	assert_err(settings_load(&s, NULL, &msg), ENOENT);
	free(msg);
	write_file("[mount]\nlinger = 9\n", 19);
	assert_ok(settings_load(&s, NULL, &msg));
	assert_int_equal(s.linger, 9);
	assert_string_equal(s.file, file);
	(void)unsetenv("SEALDISK_CONFIG");

	assert_err(settings_load(&s, dir, &msg), EISDIR);
	free(msg);
}

static void
users_file_is_found_below_their_home(void **state)
{
	char path[TMPDIR_LEN + 64], *msg = NULL;
	static const char text[] = "[mount]\nlinger = 8\n";
	struct settings s;

	(void)state;
	(void)setenv("HOME", dir, 1);
	(void)unsetenv("XDG_CONFIG_HOME");
	(void)snprintf(path, sizeof(path), "%s/.config/sealdisk/sealdisk.ini",
		       dir);
	assert_int_equal(chmod(dir, 0755), 0);
	if (geteuid() == 0 && seteuid(65534) < 0)
		skip();
	assert_ok(settings_load(&s, NULL, &msg)); /* there is none yet */
	assert_string_equal(s.file, "");
	if (getuid() == 0)
		(void)!seteuid(0);

	(void)snprintf(path, sizeof(path), "%s/.config/sealdisk", dir);
	assert_ok(io_mkdir_p(AT_FDCWD, path, 0755));
	(void)snprintf(path, sizeof(path), "%s/.config/sealdisk/sealdisk.ini",
		       dir);
	assert_ok(io_replace(AT_FDCWD, path, text, strlen(text), 0644));
	if (geteuid() == 0 && seteuid(65534) < 0)
		skip();
	assert_ok(settings_load(&s, NULL, &msg));
	assert_int_equal(s.linger, 8);
	assert_string_equal(s.file, path);
	if (getuid() == 0)
		(void)!seteuid(0);
}

static void
values_are_set_by_name_or_mount_option(void **state)
{
	struct settings s;
	char *msg = NULL;

	(void)state;
	settings_default(&s);
	assert_ok(settings_set(&s, "linger", "60", &msg));
	assert_int_equal(s.linger, 60);
	assert_ok(settings_set(&s, "mount.linger", "61", &msg));
	assert_int_equal(s.linger, 61);
	assert_ok(settings_set(&s, "kms", "unix:/run/kmsd", &msg));
	assert_string_equal(s.kms_endpoint, "unix:/run/kmsd");
	assert_ok(settings_set(&s, "keystore.path", "/a;b#c", &msg));
	assert_string_equal(s.keystore_path, "/a;b#c");

	assert_err(settings_set(&s, "linger", "soon", &msg), EINVAL);
	assert_string_equal(msg, "linger: \"soon\" is not a whole number");
	assert_int_equal(s.linger, 61);
	free(msg);
	assert_err(settings_set(&s, "keystore.path", "/a\nb", &msg), EINVAL);
	assert_string_equal(msg, "keystore.path: not plain UTF-8 text");
	free(msg);
	assert_err(settings_set(&s, "path", "/a", &msg), EINVAL);
	assert_string_equal(msg, "there is no setting \"path\"");
	free(msg);
	assert_err(settings_set(&s, "mount.", "/a", &msg), EINVAL);
	free(msg);
	assert_err(settings_set(&s, "moun.linger", "1", &msg), EINVAL);
	free(msg);
}

static void
mount_options_are_few(void **state)
{
	(void)state;
	assert_true(settings_is_mount_option("kms"));
	assert_true(settings_is_mount_option("linger"));
	assert_true(settings_is_mount_option("threads"));
	assert_true(settings_is_mount_option("cache_size"));
	assert_false(settings_is_mount_option("slack"));
	assert_false(settings_is_mount_option("mount.linger"));
	assert_false(settings_is_mount_option(""));
}

/* Every default in the table can be given back as a value. */
static void
set_default_again(const char *section, const char *key, const char *dflt,
		  const char *help, void *arg)
{
	struct settings s;
	char name[128], *msg = NULL;
	unsigned *count = arg;

	settings_default(&s);
	(void)snprintf(name, sizeof(name), "%s.%s", section, key);
	assert_ok(settings_set(&s, name, dflt, &msg));
	assert_null(msg);
	assert_true(strlen(help) > 10 && strlen(help) < 66);
	++*count;
}

static void
table_is_whole(void **state)
{
	unsigned count = 0;

	(void)state;
	(void)setenv("HOME", dir, 1);
	settings_each(set_default_again, &count);
	assert_int_equal(count, 36);
}

static void
further_key_services_have_sections(void **state)
{
	struct settings s;

	(void)state;
	load_ok("[kms a]\nendpoint = unix:/run/a\n[kms]\nregion = r\n"
		"[kms b-2]\nca_file = /ca\ntimeout = 7\n[kms a]\n"
		"region = x\n",
		&s);
	assert_int_equal(s.n_kms_further, 2);
	assert_string_equal(s.kms_further[0].name, "a");
	assert_string_equal(s.kms_further[0].endpoint, "unix:/run/a");
	assert_string_equal(s.kms_further[0].region, "x");
	assert_int_equal(s.kms_further[0].timeout, 30);
	assert_string_equal(s.kms_further[1].name, "b-2");
	assert_string_equal(s.kms_region, "r");
	settings_use_kms(&s, 1);
	assert_string_equal(s.kms_endpoint, "embedded");
	assert_string_equal(s.kms_ca_file, "/ca");
	assert_string_equal(s.kms_region, "local");
	assert_int_equal(s.kms_timeout, 7);
}

static int
count_entry(const struct ini_entry *e, void *arg)
{
	(void)e;
	++*(unsigned *)arg;
	return 0;
}

/* Whoever could not open files was told that they are damaged. */
static void
a_lack_of_descriptors_was_called_damage(void **state)
{
	static const char text[] = "[a]\nb = c\n";
	struct rlimit before, few;
	char *msg = NULL;
	unsigned n = 0;
	int r = 0;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (rlim_t i = 3; i < 64; i++) {
		few = before;
		few.rlim_cur = i;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = ini_parse(text, strlen(text), count_entry, &n, &msg);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		assert_null(msg);
		if (r == 0)
			break;
		assert_int_equal(r, -EMFILE);
		assert_true(err_is_shortage(r));
	}
	assert_ok(r);
	assert_int_equal(n, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(further_key_services_have_sections),
		cmocka_unit_test(defaults_are_those_of_the_manual),
		cmocka_unit_test(root_and_users_have_their_own_places),
		cmocka_unit_test(every_key_is_taken),
		cmocka_unit_test(empty_file_means_defaults),
		cmocka_unit_test(sections_may_come_twice_and_names_in_capitals),
		cmocka_unit_test(empty_text_unsets_only_what_may_be_unset),
		cmocka_unit_test(wrong_files_are_refused_with_one_clear_line),
		cmocka_unit_test(lines_and_files_have_a_limit),
		cmocka_unit_test(
		    named_file_must_exist_and_the_usual_one_need_not),
		cmocka_unit_test(users_file_is_found_below_their_home),
		cmocka_unit_test(values_are_set_by_name_or_mount_option),
		cmocka_unit_test(mount_options_are_few),
		cmocka_unit_test(table_is_whole),
		cmocka_unit_test(a_lack_of_descriptors_was_called_damage),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
