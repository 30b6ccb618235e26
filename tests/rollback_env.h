/*
 * rollback_env.h - a disk whose files are put back as they were, for tests of
 * what tells that.
 */
#ifndef SEALDISK_ROLLBACK_ENV_H
#define SEALDISK_ROLLBACK_ENV_H

#include "engine_env.h"
#include "engine_private.h"

#include <sealdisk/log.h>

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (600 * MiB) /* two map pages */
#define FAR (550 * MiB)

#define CHUNK_0 "lineages/*/chunks/0000/0000000-*.chunk"
#define MAP "lineages/*/layers/*/map"
#define DIGESTS "lineages/*/layers/*/digests"
#define LAYER_INI "lineages/*/layers/*/layer.ini"
#define DESCRIPTOR "disks/d.ini"

static struct engine_env env;
static struct disk *disk;
static uint8_t a[64 * KiB], b[64 * KiB], io[64 * KiB];

/* ---- the store as it was ---- */

static inline void
shell(const char *fmt, ...)
{
	char cmd[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0);
}

static inline void
save(const char *as)
{
	shell("cd %s && rm -rf %s && cp -a --sparse=always store %s", env.dir,
	      as, as);
}

/* What ${pattern} names of the store ${as}. */
static inline void
put_back(const char *as, const char *pattern)
{
	shell("cd %s/%s && for f in %s; do rm -rf ../store/$f && "
	      "{ [ ! -e $f ] || cp -a --sparse=always $f ../store/$f; } "
	      "|| exit 1; done",
	      env.dir, as, pattern);
}

/* ---- the disk ---- */

static inline int
try_attach(int flags)
{
	return disk_attach(env.e, DESC_DISK, "d", flags, &disk);
}

static inline void
attach(void)
{
	assert_ok(try_attach(0));
}

static inline void
detach(void)
{
	assert_ok(disk_detach(disk));
}

static inline void
kill_it(void)
{
	disk_abandon(disk);
	eenv_reopen(&env);
}

static inline void
put(const uint8_t *buf, uint64_t off)
{
	assert_ok(disk_write(disk, env.s, buf, sizeof(a), off));
}

static inline void
holds(const uint8_t *buf, uint64_t off)
{
	assert_ok(disk_read(disk, env.s, io, sizeof(io), off));
	assert_memory_equal(io, buf, sizeof(io));
}

static inline void
is_not_read(uint64_t off)
{
	struct disk_stats st;

	assert_err(disk_read(disk, env.s, io, 4 * KiB, off), EBADMSG);
	disk_stats(disk, &st);
	assert_true(st.faults > 0);
}

static inline void
is_refused(uint64_t off)
{
	is_not_read(off);
	assert_err(disk_write(disk, env.s, a, 4 * KiB, off), EBADMSG);
}

/* A quiet half minute, in no time. */
static inline void
background(void)
{
	env.e->quiet_ms = 0;
	for (unsigned i = 0; i < 20; i++)
		assert_ok(disk_background(disk));
	env.e->quiet_ms = 3000;
}

/* ${a} at 0, at 4 MiB and far away, saved as "old". */
static inline void
begin(void)
{
	attach();
	put(a, 0);
	put(a, 4 * MiB);
	put(a, FAR);
	detach();
	save("old");
}

/* And ${b} at 0 since then. */
static inline void
begin_changed(void)
{
	begin();
	attach();
	put(b, 0);
	detach();
	save("new");
}

static inline void
descriptor(struct descriptor *ret)
{
	assert_ok(catalog_load(engine_catalog(env.e), DESC_DISK, "d", ret, NULL,
			       NULL));
}

static inline int
setup(void **state)
{
	(void)state;
	eenv_begin(&env, NULL, CIPHER_AES256_GCM);
	eenv_create(&env, "d", SIZE);
	fill_pattern(a, sizeof(a), 1);
	fill_pattern(b, sizeof(b), 2);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	eenv_end(&env);
	return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
