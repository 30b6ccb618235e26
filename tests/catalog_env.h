/*
 * catalog_env.h - a store and a keystore for the tests of the catalog.
 */
#ifndef SEALDISK_CATALOG_ENV_H
#define SEALDISK_CATALOG_ENV_H

#include "test.h"

#include <sealdisk/log.h>

#include "catalog.h"
#include "fault_store.h"
#include "mem_store.h"

struct env {
	char dir[TMPDIR_LEN];
	char store_dir[TMPDIR_LEN + 8];
	struct settings s;
	struct kms *kms;
	struct store *st;
	struct catalog *c;
	struct descriptor d; /* room for one */
	struct key dk;
};

static const struct store_meta env_meta = {
	.uuid = { { 1, 2, 3 } },
	.created = 1,
	.cipher = CIPHER_AES256_GCM,
};

static inline struct env *
env_new(void)
{
	struct env *e = calloc(1, sizeof(*e));
	bool made;

	assert_non_null(e);
	log_set_level(LOG_ERROR);
	tmpdir_make(e->dir);
	settings_default(&e->s);
	(void)snprintf(e->s.keystore_path, sizeof(e->s.keystore_path),
		       "%s/keystore.db", e->dir);
	(void)snprintf(e->s.keystore_root_file, sizeof(e->s.keystore_root_file),
		       "%s/root.key", e->dir);
	(void)snprintf(e->store_dir, sizeof(e->store_dir), "%s/store", e->dir);
	assert_ok(kms_init(&e->s, &made));
	assert_ok(kms_open(&e->s, &e->kms));
	return e;
}

static inline void
env_start(struct env *e)
{
	assert_ok(catalog_init(e->st, &env_meta));
	assert_ok(catalog_open(e->st, &e->c));
}

static inline int
setup_posix(void **state)
{
	struct env *e = *state = env_new();

	assert_int_equal(mkdir(e->store_dir, 0700), 0);
	assert_ok(store_posix_open(e->store_dir, &e->st));
	env_start(e);
	return 0;
}

/* In memory, and failing when told to. */
static inline int
setup_fault(void **state)
{
	struct env *e = *state = env_new();
	struct store *mem;

	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &e->st));
	env_start(e);
	return 0;
}

static inline int
teardown(void **state)
{
	struct env *e = *state;

	catalog_close(e->c);
	store_free(e->st);
	kms_close(e->kms);
	tmpdir_remove(e->dir);
	free(e);
	return 0;
}

static inline int
try_create(struct env *e, const char *name)
{
	struct disk_params p = {
		.name = name,
		.size = 1 << 20,
		.sector_size = 4096,
		.kind = "data",
		.key = KMS_SERVICE_ALIAS,
		.uid = 1,
		.gid = 2,
		.mode = 0600,
	};

	return catalog_create(e->c, e->kms, &p, &e->d, &e->dk);
}

static inline void
create(struct env *e, const char *name)
{
	assert_ok(try_create(e, name));
}

static inline int
load(struct env *e, const char *name)
{
	return catalog_load_verified(e->c, e->kms, DESC_DISK, name, &e->d,
				     &e->dk);
}

static inline int
join(const char *name, void *arg)
{
	strcat(strcat(arg, name), "|");
	return 0;
}

/* The names of ${type}, each followed by a bar. */
static inline const char *
names_of(struct env *e, enum desc_type type)
{
	static char all[4096];

	*all = '\0';
	assert_ok(catalog_list(e->c, type, join, all));
	return all;
}

static inline void
recover(struct env *e, unsigned bad)
{
	unsigned n;

	assert_ok(catalog_recover(e->c, &n));
	assert_int_equal(n, bad);
}

static inline void
sweep_all(struct env *e)
{
	bool more = true;

	while (more)
		assert_ok(catalog_sweep(e->c, 1000, &more));
}

static inline int
count_one(const char *name, bool is_dir, void *arg)
{
	(void)name;
	(void)is_dir;
	++*(unsigned *)arg;
	return 0;
}

/* How many names are in a folder; none if it is not there. */
static inline unsigned
entries(struct store *st, const char *path)
{
	unsigned n = 0;
	int r = st->ops->list(st, path, count_one, &n);

	assert_true(r == 0 || r == -ENOENT);
	return n;
}

static inline void
put(struct store *st, const char *path, const char *text)
{
	assert_ok(st->ops->replace(st, path, text, strlen(text)));
}

static inline char *
text_of(struct store *st, const char *path)
{
	char *text;
	size_t len;

	assert_ok(st->ops->load(st, path, META_MAX, &text, &len));
	return text;
}

#define T(name, setup)                                                         \
	{                                                                      \
#name " (" #setup ")", name, setup, teardown, NULL             \
	}

#endif
