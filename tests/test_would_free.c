/*
 * test_would_free.c - what is said to come free when a name goes is what does.
 */
#include "engine_env.h"
#include "catalog_private.h"
#include "snapshot.h"

#include <sys/stat.h>

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (17 * MiB) /* the last chunk is not whole */

static struct engine_env env;
static struct disk *disk;
static uint8_t io[4 * MiB];

static struct catalog *
cat(void)
{
	return engine_catalog(env.e);
}

/* No block twice in one layer: a slot that is free again keeps its space for a
 * while. */
static void
write_at(uint64_t off, uint64_t len)
{
	static uint64_t seed;

	fill_pattern(io, len, ++seed);
	assert_ok(disk_write(disk, env.s, io, len, off));
}

static void
snap(enum desc_type type, const char *name)
{
	struct snapshot_request req = { disk, type, name };

	assert_ok(disks_snapshot(env.e, env.s, &req, 1));
}

static void
attach(const char *name)
{
	assert_ok(disk_attach(env.e, DESC_DISK, name, 0, &disk));
}

static void
detach(void)
{
	assert_ok(disk_detach(disk));
	disk = NULL;
}

struct sum {
	char path[STORE_PATH_LEN];
	uint64_t bytes;
};

/* Chunk files below a folder. */
static int
add_up(const char *name, bool is_dir, void *arg)
{
	struct sum *s = arg;
	size_t len = strlen(s->path);
	char path[PATH_MAX];
	struct stat st;

	(void)snprintf(s->path + len, sizeof(s->path) - len, "%s%s",
		       len ? "/" : "", name);
	if (is_dir) {
		assert_int_equal(env.st->ops->list(env.st, s->path, add_up, s),
				 0);
	} else if (strstr(name, ".chunk")) {
		(void)snprintf(path, sizeof(path), "%s/store/%s", env.dir,
			       s->path);
		assert_int_equal(stat(path, &st), 0);
		s->bytes += (uint64_t)st.st_blocks * 512;
	}
	s->path[len] = '\0';
	return 0;
}

static uint64_t
allocated(void)
{
	struct sum s = { "lineages", 0 };
	int r = env.st->ops->list(env.st, "lineages", add_up, &s);

	assert_true(r == 0 || r == -ENOENT);
	return s.bytes;
}

static uint64_t
would_free(enum desc_type type, const char *name)
{
	struct descriptor d;
	uint64_t n;

	assert_ok(catalog_load(cat(), type, name, &d, NULL, NULL));
	assert_ok(catalog_would_free(cat(), &d, 0, &n));
	return n;
}

/* Removes it, and what comes free is what was said. */
static void
frees(enum desc_type type, const char *name, uint64_t want)
{
	uint64_t said = would_free(type, name), before = allocated();
	const atomic_bool stop = false;

	assert_int_equal(said, want);
	assert_ok(catalog_remove(cat(), type, name));
	engine_sweep(env.e, &stop);
	assert_int_equal(before - allocated(), said);
}

#define PAGES (68 * KiB) /* of a chunk */

static void
what_a_child_covers_comes_free_with_its_parent(void **state)
{
	struct descriptor d;
	uint64_t n;

	(void)state;
	eenv_create(&env, "d", SIZE);
	attach("d");
	write_at(0, 64 * KiB);
	write_at(4 * MiB, 64 * KiB);
	write_at(8 * MiB, 64 * KiB);
	write_at(16 * MiB + 500 * KiB, 64 * KiB);
	snap(DESC_SNAPSHOT, "a");
	write_at(16 * KiB, 16 * KiB);
	assert_ok(disk_zero(disk, env.s, 40 * KiB, 8 * KiB));
	assert_ok(disk_zero(disk, env.s, 4 * MiB, 4 * MiB));
	snap(DESC_SNAPSHOT, "b");
	detach();
	assert_ok(catalog_load(cat(), DESC_DISK, "d", &d, NULL, NULL));
	assert_ok(catalog_would_free(cat(), &d, 1, &n));
	assert_ok(catalog_load(cat(), DESC_SNAPSHOT, "d@a", &d, NULL, NULL));
	assert_int_equal(catalog_would_free(cat(), &d, 1, &n), -E2BIG);
	/* A page each, what was written and discarded since, and a chunk that
	 * was. */
	frees(DESC_SNAPSHOT, "d@a", PAGES + 24 * KiB + PAGES + 64 * KiB);
	/* All of it is needed by what is empty yet. */
	frees(DESC_SNAPSHOT, "d@b", 0);
	frees(DESC_DISK, "d", 3 * PAGES + (64 - 8 + 128) * KiB);
	assert_int_equal(allocated(), 0);
}

static void
what_others_need_does_not(void **state)
{
	struct clone_params p = { .name = "img", .mode = 0600 };
	struct descriptor d;

	(void)state;
	eenv_create(&env, "d", SIZE);
	attach("d");
	write_at(0, 64 * KiB);
	snap(DESC_SNAPSHOT, "a");
	write_at(0, 32 * KiB);
	detach();
	assert_ok(catalog_image(cat(), env.kms, "d@a", &p));
	p.name = "clone";
	assert_ok(catalog_clone(cat(), env.kms, DESC_IMAGE, "img", &p, &d));
	attach("clone");
	write_at(4 * MiB, 12 * KiB);
	detach();
	frees(DESC_IMAGE, "img", 0);
	frees(DESC_SNAPSHOT, "d@a", 0);
	/* Then the disk alone needs the first layer, and not all of it. */
	frees(DESC_DISK, "clone", PAGES + 12 * KiB + PAGES + 32 * KiB);
	frees(DESC_DISK, "d", PAGES + 64 * KiB);
}

static void
what_lies_under_another_key_is_not_merged(void **state)
{
	struct clone_params p = { .name = "own",
				  .mode = 0600,
				  .own_key = KMS_SERVICE_ALIAS };
	struct descriptor d;

	(void)state;
	eenv_create(&env, "d", SIZE);
	attach("d");
	write_at(0, 64 * KiB);
	snap(DESC_SNAPSHOT, "a");
	detach();
	assert_ok(catalog_clone(cat(), env.kms, DESC_SNAPSHOT, "d@a", &p, &d));
	attach("own");
	write_at(0, 32 * KiB);
	detach();
	frees(DESC_DISK, "d", 0);
	frees(DESC_SNAPSHOT, "d@a", 0);
	frees(DESC_DISK, "own", 2 * PAGES + 96 * KiB);
}

static void
past_the_limit_of_the_child_nothing_is_needed(void **state)
{
	(void)state;
	eenv_create(&env, "d", SIZE);
	attach("d");
	write_at(4 * MiB, 64 * KiB);
	write_at(8 * MiB, 64 * KiB);
	snap(DESC_SNAPSHOT, "a");
	assert_ok(disk_resize(disk, env.s, 4 * MiB + 16 * KiB));
	detach();
	/* The disk has a chunk of zeros, which 16 KiB come into. */
	frees(DESC_SNAPSHOT, "d@a", 2 * PAGES + (64 + 48) * KiB);
	frees(DESC_DISK, "d", PAGES + 16 * KiB);
}

/* Whoever has no key can write a layer.ini that only its MAC is wrong of. */
static void
forge_parent(const struct layer_ref *of, const struct layer_ref *parent)
{
	const struct key dk = { "none that anybody has" };
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	struct layer_meta m;

	assert_ok(layer_peek(env.st, of, &m));
	m.has_parent = true;
	m.parent = *parent;
	m.parent_limit = m.size;
	assert_ok(layer_meta_format(&m, &dk, &text));
	path_layer(of, "layer.ini", path);
	assert_ok(env.st->ops->replace(env.st, path, text, strlen(text)));
}

/* It went round and round, with the locks of names and lineage held. */
static void
a_loop_of_parents_hung_whoever_followed_it(void **state)
{
	struct descriptor d, snapshot;
	const atomic_bool stop = false;
	uint64_t n;

	(void)state;
	(void)alarm(20);
	eenv_create(&env, "d", SIZE);
	attach("d");
	write_at(0, 64 * KiB);
	snap(DESC_SNAPSHOT, "a");
	detach();
	assert_ok(catalog_load(cat(), DESC_DISK, "d", &d, NULL, NULL));
	assert_ok(
	    catalog_load(cat(), DESC_SNAPSHOT, "d@a", &snapshot, NULL, NULL));
	forge_parent(&snapshot.layer, &d.layer);
	eenv_create(&env, "other", SIZE);
	attach("other");
	snap(DESC_SNAPSHOT, "s");
	engine_sweep(env.e, &stop);
	detach();
	assert_err(catalog_would_free(cat(), &d, 0, &n), EUCLEAN);
	assert_err(catalog_would_free(cat(), &snapshot, 0, &n), EUCLEAN);
	(void)alarm(0);
}

static int
setup(void **state)
{
	(void)state;
	eenv_begin(&env, NULL, CIPHER_AES256_GCM);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	eenv_end(&env);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_a_child_covers_comes_free_with_its_parent),
		TEST(what_others_need_does_not),
		TEST(what_lies_under_another_key_is_not_merged),
		TEST(past_the_limit_of_the_child_nothing_is_needed),
		TEST(a_loop_of_parents_hung_whoever_followed_it),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
