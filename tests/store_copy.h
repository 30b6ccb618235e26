/*
 * store_copy.h - all files of a store, as they are at a moment, and stores made
 * of them.
 */
#ifndef SEALDISK_STORE_COPY_H
#define SEALDISK_STORE_COPY_H

#include "mem_store.h"
#include "test.h"

#define FILES_MAX 128

struct file {
	char path[STORE_PATH_LEN];
	uint8_t *data;
	size_t len;
};

struct copy {
	struct file f[FILES_MAX];
	size_t n;
};

struct walk {
	struct store *st;
	struct copy *c;
	char path[STORE_PATH_LEN];
};

static inline int
copy_one(const char *name, bool is_dir, void *arg)
{
	struct walk *w = arg, below = *w;
	struct store_file *f;
	struct file *to;
	uint64_t len;

	assert_true(snprintf(below.path, sizeof(below.path), "%s%s%s", w->path,
			     w->path[0] ? "/" : "",
			     name) < (int)sizeof(below.path));
	if (strcmp(below.path, "locks") == 0)
		return 0;
	if (is_dir)
		return w->st->ops->list(w->st, below.path, copy_one, &below);
	assert_true(w->c->n < FILES_MAX);
	to = &w->c->f[w->c->n++];
	(void)strcpy(to->path, below.path);
	assert_ok(w->st->ops->open(w->st, to->path, false, &f));
	assert_ok(w->st->ops->size(f, &len));
	to->len = (size_t)len;
	to->data = malloc(len + 1);
	assert_non_null(to->data);
	if (len)
		assert_ok(w->st->ops->read(f, to->data, to->len, 0));
	store_close(f);
	return 0;
}

static inline void
copy_store(struct store *st, struct copy *ret)
{
	struct walk w = { st, ret, "" };

	assert_ok(st->ops->list(st, "", copy_one, &w));
}

static inline void
put(struct store *st, const struct file *f)
{
	struct store_file *to;

	(void)!st->ops->remove(st, f->path);
	assert_ok(st->ops->create(st, f->path, &to));
	if (f->len)
		assert_ok(st->ops->write(to, f->data, f->len, 0));
	store_close(to);
}

static inline struct store *
store_of(const struct copy *c)
{
	struct store *st;

	assert_ok(mem_store_open(&st));
	for (size_t i = 0; i < c->n; i++)
		put(st, &c->f[i]);
	return st;
}

static inline const struct file *
find(const struct copy *c, const char *path)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->f[i].path, path) == 0)
			return &c->f[i];
	return NULL;
}

static inline bool
same(const struct file *a, const struct file *b)
{
	return a && b && a->len == b->len &&
	       memcmp(a->data, b->data, a->len) == 0;
}

static inline void
copy_free(struct copy *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->f[i].data);
	c->n = 0;
}

#endif
