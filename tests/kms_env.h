/*
 * kms_env.h - a keystore of its own for each test of the KMS.
 */
#ifndef SEALDISK_KMS_ENV_H
#define SEALDISK_KMS_ENV_H

#include "test.h"

#include <limits.h>
#include <stdatomic.h>

#include <sealdisk/crypto.h>
#include <sealdisk/io.h>
#include <sealdisk/kms.h>

#include "keystore.h"
#include "root_private.h"

struct env {
	char dir[TMPDIR_LEN];
	struct settings s;
	struct kms *k;
	size_t secrets; /* cells in use before */
};

static inline void
env_settings(struct settings *s, const char *dir)
{
	settings_default(s);
	(void)snprintf(s->keystore_path, sizeof(s->keystore_path),
		       "%s/state/keystore.db", dir);
	(void)snprintf(s->keystore_root_file, sizeof(s->keystore_root_file),
		       "%s/etc/root.key", dir);
	s->keystore_max_keys = 0; /* some tests make many */
}

/* A folder, and nothing in it. */
static inline int
env_bare(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	root_cost = (struct argon2_cost){ 8, 1, 1 }; /* guessed by nobody */
	e->secrets = secret_in_use();
	tmpdir_make(e->dir);
	env_settings(&e->s, e->dir);
	*state = e;
	return 0;
}

static inline void
env_open(struct env *e)
{
	assert_null(e->k);
	assert_ok(kms_open(&e->s, &e->k));
}

static inline void
env_close(struct env *e)
{
	kms_close(e->k);
	e->k = NULL;
}

/* The root that settings name. */
static inline void
set_root(struct settings *s, const char *kind)
{
	(void)snprintf(s->keystore_root, sizeof(s->keystore_root), "%s", kind);
}

/* A descriptor that ${len} bytes can be read from, and no more; its number goes
 * to the settings.  The caller closes it. */
static inline int
set_passphrase_bytes(struct settings *s, const void *text, size_t len)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_ok(io_write_all(fds[1], text, len));
	(void)close(fds[1]);
	(void)snprintf(s->keystore_passphrase_fd,
		       sizeof(s->keystore_passphrase_fd), "%d", fds[0]);
	return fds[0];
}

static inline int
set_passphrase(struct settings *s, const char *text)
{
	set_root(s, "passphrase");
	return set_passphrase_bytes(s, text, strlen(text));
}

static inline int
change_root(const struct settings *s, const struct settings *to)
{
	bool new;

	return kms_change_root(s, to, &new);
}

static inline int
env_init(struct env *e)
{
	bool made;

	return kms_init(&e->s, &made);
}

static inline int
env_try_open(struct env *e)
{
	struct kms *k = NULL;
	int r;

	r = kms_open(&e->s, &k);
	kms_close(k);
	return r;
}

/* env_init() and env_try_open() with a passphrase. */
static inline int
env_init_by(struct env *e, const char *text)
{
	int fd = set_passphrase(&e->s, text), r = env_init(e);

	(void)close(fd);
	return r;
}

static inline int
env_try_by(struct env *e, const char *text)
{
	int fd = set_passphrase(&e->s, text), r = env_try_open(e);

	(void)close(fd);
	return r;
}

static inline int
env_setup(void **state)
{
	struct env *e;
	bool made = false;

	(void)env_bare(state);
	e = *state;
	assert_ok(kms_init(&e->s, &made));
	assert_true(made);
	env_open(e);
	return 0;
}

static inline int
env_teardown(void **state)
{
	struct env *e = *state;

	env_close(e);
	assert_int_equal(secret_in_use(), e->secrets);
	tmpdir_remove(e->dir);
	free(e);
	return 0;
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)
#define TEST_BARE(name)                                                        \
	cmocka_unit_test_setup_teardown(name, env_bare, env_teardown)

/* ${e}'s folder and ${name}; the result lives until the fourth call. */
static inline const char *
env_path(struct env *e, const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *p = paths[next++ % 4];

	(void)snprintf(p, PATH_MAX, "%s/%s", e->dir, name);
	return p;
}

/* Whole files.  None of them may be a keystore that is open in this process:
 * closing it would drop SQLite's locks. */
static inline char *
file_load(const char *path, size_t *ret_len)
{
	char *buf = NULL;

	assert_ok(io_load(AT_FDCWD, path, 1 << 24, &buf, ret_len));
	return buf;
}

static inline void
file_save(const char *path, const void *buf, size_t len)
{
	assert_ok(io_replace(AT_FDCWD, path, buf, len, 0600));
}

static inline void
file_copy(const char *from, const char *to)
{
	CLEANUP(free_memp) char *buf = NULL;
	size_t len;

	buf = file_load(from, &len);
	file_save(to, buf, len);
}

static inline bool
file_same(const char *a, const char *b)
{
	CLEANUP(free_memp) char *ba = NULL, *bb = NULL;
	size_t la, lb;

	ba = file_load(a, &la);
	bb = file_load(b, &lb);
	return la == lb && memcmp(ba, bb, la) == 0;
}

/* XOR ${mask} into the byte at ${off}. */
static inline void
file_flip(const char *path, size_t off, uint8_t mask)
{
	CLEANUP(free_memp) char *buf = NULL;
	size_t len;

	buf = file_load(path, &len);
	assert_true(off < len);
	buf[off] = (char)(buf[off] ^ mask);
	file_save(path, buf, len);
}

/* How often ${what} is in the file; where last. */
static inline unsigned
file_find(const char *path, const void *what, size_t len, size_t *ret_off)
{
	CLEANUP(free_memp) char *buf = NULL;
	unsigned n = 0;
	size_t size, i;

	buf = file_load(path, &size);
	for (i = 0; i + len <= size; i++)
		if (memcmp(buf + i, what, len) == 0) {
			*ret_off = i;
			n++;
		}
	return n;
}

static inline bool
file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* The row of a key, as it is in the file. */
static inline void
env_row(struct env *e, const char *id, struct keystore_key *ret)
{
	struct keystore *ks;
	struct uuid u;

	assert_ok(uuid_parse(id, &u));
	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_get_key(ks, &u, ret));
	keystore_close(ks);
}

/* No action reaches some states yet. */
static inline void
env_set_state(struct env *e, const char *id, enum kms_key_state state)
{
	struct keystore_key row;
	struct keystore *ks;

	env_row(e, id, &row);
	assert_ok(keystore_open(e->s.keystore_path, &ks));
	assert_ok(keystore_begin(ks, true));
	assert_ok(keystore_set_state(ks, row.seq, state));
	assert_ok(keystore_commit(ks));
	keystore_close(ks);
}

static const struct uuid lineage = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 } };

/* A wrapped DK under ${key} opens to what it was. */
static inline void
assert_works(struct kms *k, const char *key)
{
	struct wrapped_dk w;
	struct key dk, again;

	assert_ok(kms_generate_data_key(k, key, &lineage, &w, &dk));
	assert_ok(kms_decrypt(k, &w, &again));
	assert_memory_equal(&dk, &again, sizeof(dk));
}

/* Somebody who uses the keystore, on a thread of his own, until told to stop.
 * Asserts of cmocka belong to the main thread: he counts. */
struct user {
	struct env *e;
	atomic_bool stop;
	atomic_uint made, failures;
	char ids[10000][KMS_ID_LEN]; /* of keys whose making was answered */
};

static inline void *
use(void *arg)
{
	struct user *u = arg;
	struct kms_key_info info;
	struct key dk;
	struct wrapped_dk w;
	struct kms *k;

	if (kms_open(&u->e->s, &k) < 0) {
		u->failures++;
		return NULL;
	}
	while (!u->stop && u->made < 10000) {
		if (kms_create_key(k, "", &info) == 0)
			memcpy(u->ids[u->made], info.id, KMS_ID_LEN);
		else
			u->failures++;
		if (kms_generate_data_key(k, KMS_SERVICE_ALIAS, &lineage, &w,
					  NULL) ||
		    kms_decrypt(k, &w, &dk))
			u->failures++;
		u->made++;
		(void)usleep(1000); /* SQLite's locks are not fair */
	}
	kms_close(k);
	return NULL;
}

static inline struct user *
user_new(struct env *e)
{
	struct user *u = calloc(1, sizeof(*u));

	assert_non_null(u);
	u->e = e;
	return u;
}

#endif
