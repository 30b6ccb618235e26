/*
 * store_env.h - a store of each kind for the tests of stores.
 */
#ifndef SEALDISK_STORE_ENV_H
#define SEALDISK_STORE_ENV_H

#include "test.h"

#include "fault_store.h"
#include "mem_store.h"
#include "store_posix_private.h"

struct env {
	char dir[TMPDIR_LEN]; /* "": in memory */
	struct store *st;
};

static inline int
setup_posix(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	tmpdir_make(e->dir);
	assert_ok(store_posix_open(e->dir, &e->st));
	*state = e;
	return 0;
}

/* As under a kernel or a sandbox without openat2. */
static inline int
setup_walking(void **state)
{
	struct env *e;

	(void)setup_posix(state);
	e = *state;
	((struct posix_store *)e->st)->beneath = false;
	return 0;
}

static inline int
setup_mem(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	assert_ok(mem_store_open(&e->st));
	*state = e;
	return 0;
}

static inline int
setup_fault(void **state)
{
	struct store *inner;
	struct env *e;

	(void)setup_posix(state);
	e = *state;
	inner = e->st;
	assert_ok(fault_store_new(inner, &e->st));
	return 0;
}

static inline int
teardown(void **state)
{
	struct env *e = *state;

	store_free(e->st);
	if (*e->dir)
		tmpdir_remove(e->dir);
	free(e);
	return 0;
}

static inline struct store *
store_in(void **state)
{
	return ((struct env *)*state)->st;
}

static inline void
put(struct store *st, const char *path, const char *text)
{
	assert_ok(st->ops->replace(st, path, text, strlen(text)));
}

static inline void
assert_holds(struct store *st, const char *path, const char *text)
{
	char *buf;
	size_t len;

	assert_ok(st->ops->load(st, path, 4096, &buf, &len));
	assert_string_equal(buf, text);
	assert_int_equal(len, strlen(text));
	free(buf);
}

static inline void
assert_absent(struct store *st, const char *path)
{
	struct store_file *f;

	assert_err(st->ops->open(st, path, false, &f), ENOENT);
}

/* A test and the store that it is run on. */
#define T(name, setup)                                                         \
	{                                                                      \
#name " (" #setup ")", name, setup, teardown, NULL             \
	}

#endif
