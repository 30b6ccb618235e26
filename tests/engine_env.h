/*
 * engine_env.h - a store, a keystore and an engine for tests of the engine.
 *
 * The store is any struct store: a folder, one in memory, one that fails.  The
 * engine has no background thread unless a test asks for it.
 */
#ifndef SEALDISK_ENGINE_ENV_H
#define SEALDISK_ENGINE_ENV_H

#include "test.h"

#include <limits.h>
#include <sys/stat.h>

#include <sealdisk/kms.h>

#include "catalog_private.h"
#include "disk.h"

struct engine_env {
	char dir[TMPDIR_LEN];
	struct settings settings;
	struct kms *kms;
	struct store *st;
	struct engine_options opt;
	struct engine *e;
	struct scratch *s;
};

static inline void
eenv_kms(struct engine_env *v)
{
	bool made;

	settings_default(&v->settings);
	(void)strcpy(v->settings.keystore_audit, "none");
	(void)snprintf(v->settings.keystore_path,
		       sizeof(v->settings.keystore_path), "%s/kms/keystore.db",
		       v->dir);
	(void)snprintf(v->settings.keystore_root_file,
		       sizeof(v->settings.keystore_root_file),
		       "%s/kms/root.key", v->dir);
	assert_ok(kms_init(&v->settings, &made));
	assert_ok(kms_open(&v->settings, &v->kms));
}

/* A folder with a keystore in it, and no store yet. */
static inline void
eenv_keys(struct engine_env *v)
{
	memset(v, 0, sizeof(*v));
	tmpdir_make(v->dir);
	eenv_kms(v);
	v->opt.mount_point = "/mnt/test"; /* nothing is there */
	v->opt.cache_size = 4 << 20;
	v->opt.manual = true;
	assert_ok(scratch_new(&v->s));
}

static inline void
eenv_open(struct engine_env *v)
{
	assert_ok(engine_open(v->st, v->kms, &v->opt, &v->e));
}

/* The process ends, and another begins. */
static inline void
eenv_reopen(struct engine_env *v)
{
	engine_close(v->e);
	v->e = NULL;
	eenv_open(v);
}

/* A new store with its engine.  ${st} NULL: in a folder. */
static inline void
eenv_start(struct engine_env *v, struct store *st, enum cipher cipher)
{
	struct store_meta m = { .created = 1,
				.cipher = cipher,
				.slack = 1 << 20 };
	char path[PATH_MAX];

	v->st = st;
	if (!st) {
		(void)snprintf(path, sizeof(path), "%s/store", v->dir);
		assert_int_equal(mkdir(path, 0700), 0);
		assert_ok(store_posix_open(path, &v->st));
	}
	assert_ok(uuid_new(&m.uuid));
	assert_ok(catalog_init(v->st, &m));
	eenv_open(v);
}

static inline void
eenv_stop(struct engine_env *v)
{
	char path[PATH_MAX];

	engine_close(v->e);
	store_free(v->st);
	v->e = NULL;
	v->st = NULL;
	(void)snprintf(path, sizeof(path), "%s/store", v->dir);
	tmpdir_remove(path);
}

/* All of it.  ${st} NULL: a folder of its own. */
static inline void
eenv_begin(struct engine_env *v, struct store *st, enum cipher cipher)
{
	eenv_keys(v);
	eenv_start(v, st, cipher);
}

/* What eenv_keys() made. */
static inline void
eenv_keys_end(struct engine_env *v)
{
	scratch_free(v->s);
	kms_close(v->kms);
	tmpdir_remove(v->dir);
}

static inline void
eenv_end(struct engine_env *v)
{
	eenv_stop(v);
	eenv_keys_end(v);
}

/* ${key}: a CMK. */
static inline void
eenv_create_with(struct engine_env *v, const char *name, uint64_t size,
		 const char *key)
{
	struct disk_params p = { .name = name,
				 .size = size,
				 .sector_size = 512,
				 .kind = "data",
				 .key = key,
				 .mode = 0600 };
	struct descriptor *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	assert_ok(catalog_create(engine_catalog(v->e), v->kms, &p, d, NULL));
	free(d);
}

static inline void
eenv_create(struct engine_env *v, const char *name, uint64_t size)
{
	eenv_create_with(v, name, size, KMS_SERVICE_ALIAS);
}

static inline int
eenv_count(const char *name, bool is_dir, void *arg)
{
	(void)name;
	(void)is_dir;
	++*(unsigned *)arg;
	return 0;
}

/* How many names are in a folder of a lineage; NULL: in the lineage itself. */
static inline unsigned
eenv_entries(struct engine_env *v, const struct uuid *lineage,
	     const char *folder)
{
	char path[STORE_PATH_LEN];
	unsigned n = 0;
	int r;

	path_lineage(lineage, folder, path);
	r = v->st->ops->list(v->st, path, eenv_count, &n);
	assert_true(r == 0 || r == -ENOENT);
	return n;
}

/* How many layers are there that nothing reaches. */
static inline unsigned
eenv_dead(struct engine_env *v)
{
	CLEANUP(names_done) struct names n = { 0 };
	CLEANUP(verdict_done) struct verdict seen = { 0 };
	struct uuid lineage;
	unsigned dead, sum = 0;

	assert_ok(census_take(engine_catalog(v->e), &seen.census));
	assert_ok(layers_reached(v->st, &seen.census, &seen.live));
	assert_ok(names_list(v->st, "lineages", &n));
	for (size_t i = 0; i < n.n; i++) {
		assert_ok(uuid_parse(n.v[i], &lineage));
		assert_ok(
		    layers_count_dead(v->st, &lineage, &seen.live, &dead));
		sum += dead;
	}
	return sum;
}

#endif
