/*
 * token_env.h - a SoftHSM2 token in the folder of a test, for the tests of
 * PKCS#11.  Where there is no SoftHSM2, they are skipped.
 */
#ifndef SEALDISK_TESTS_TOKEN_ENV_H
#define SEALDISK_TESTS_TOKEN_ENV_H

#include "kms_env.h"

#define TOKEN "test token"
#define PIN "correct horse"

static const char *const softhsm_modules[] = {
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib64/softhsm/libsofthsm2.so",
	"/usr/lib/pkcs11/libsofthsm2.so",
};

static inline const char *
softhsm_module(void)
{
	for (size_t i = 0;
	     i < sizeof(softhsm_modules) / sizeof(softhsm_modules[0]); i++)
		if (access(softhsm_modules[i], R_OK) == 0)
			return softhsm_modules[i];
	return NULL;
}

/* One more token in ${e}'s folder. */
static inline void
token_make(const char *label)
{
	char cmd[256];

	(void)snprintf(cmd, sizeof(cmd),
		       "softhsm2-util --init-token --free --label '%s' "
		       "--so-pin 12345678 --pin '" PIN "' >/dev/null 2>&1",
		       label);
	assert_int_equal(system(cmd), 0);
}

static inline void
token_settings(struct settings *s)
{
	set_root(s, "pkcs11");
	(void)snprintf(s->keystore_pkcs11_module,
		       sizeof(s->keystore_pkcs11_module), "%s",
		       softhsm_module());
	(void)snprintf(s->keystore_pkcs11_token,
		       sizeof(s->keystore_pkcs11_token), TOKEN);
}

/* env_bare() and a token; ${e}'s settings are not changed yet. */
static inline int
token_setup(void **state)
{
	char conf[2 * PATH_MAX];
	struct env *e;

	(void)env_bare(state);
	e = *state;
	if (!softhsm_module())
		return 0;
	assert_int_equal(mkdir(env_path(e, "tokens"), 0700), 0);
	(void)snprintf(conf, sizeof(conf),
		       "directories.tokendir = %s\n"
		       "objectstore.backend = file\nlog.level = ERROR\n",
		       env_path(e, "tokens"));
	file_save(env_path(e, "softhsm2.conf"), conf, strlen(conf));
	(void)setenv("SOFTHSM2_CONF", env_path(e, "softhsm2.conf"), 1);
	token_make(TOKEN);
	return 0;
}

#define NEED_TOKEN()                                                           \
	do {                                                                   \
		if (!softhsm_module())                                         \
			skip();                                                \
	} while (0)

#define TEST_TOKEN(name)                                                       \
	cmocka_unit_test_setup_teardown(name, token_setup, env_teardown)

#endif
