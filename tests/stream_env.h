/*
 * stream_env.h - two stores in memory with one keystore, and a stream between
 * them.
 */
#ifndef SEALDISK_STREAM_ENV_H
#define SEALDISK_STREAM_ENV_H

#include "engine_env.h"
#include "fault_store.h"
#include "mem_store.h"
#include "snapshot.h"
#include "stream.h"

#define KiB 1024u
#define MiB (1024u * KiB)
#define SIZE (13 * MiB)

/* A stream in memory; ${limit}: it ends there. */
struct pipe {
	uint8_t *p;
	size_t len, cap, at, limit;
};

static struct engine_env from, to;
static struct pipe sent;
static struct stream_result result;
static uint8_t io[SIZE];

static inline int
pipe_write(void *arg, const void *buf, size_t len)
{
	struct pipe *p = arg;

	if (p->len + len > p->cap) {
		p->cap = 2 * (p->len + len);
		p->p = realloc(p->p, p->cap);
		assert_non_null(p->p);
	}
	if (len)
		memcpy(p->p + p->len, buf, len);
	p->len += len;
	p->limit = p->len;
	return 0;
}

static inline int
pipe_read(void *arg, void *buf, size_t len, size_t *ret_got)
{
	struct pipe *p = arg;
	size_t left = p->limit - p->at;
	size_t n = left < len ? left : len;

	if (n)
		memcpy(buf, p->p + p->at, n);
	p->at += n;
	*ret_got = n;
	return n < len ? -ENODATA : 0;
}

static inline struct stream_name
named(const char *name)
{
	struct stream_name n = { strchr(name, '@') ? DESC_SNAPSHOT : DESC_IMAGE,
				 name };

	return n;
}

static inline int
try_send(const char *what, const char *base, const char *token)
{
	struct stream_sink sink = { pipe_write, NULL, &sent };
	struct stream_name w = named(what), b = named(base ? base : "");

	sent.len = sent.limit = 0;
	return stream_send(engine_catalog(from.e), &w, base ? &b : NULL, token,
			   &sink, &result);
}

static inline void
send_it(const char *what, const char *base)
{
	assert_ok(try_send(what, base, NULL));
}

static inline int
try_receive(const char *name)
{
	struct stream_source source = { pipe_read, NULL, &sent };
	struct stream_owner owner = { 1, 2, 0600 };
	struct stream_name n = named(name);

	sent.at = 0;
	return stream_receive(engine_catalog(to.e), to.kms, &n, &owner, &source,
			      &result);
}

/* ---- the stores ---- */

static inline void
new_store(struct engine_env *v, enum cipher cipher)
{
	struct store *mem, *st;

	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &st));
	eenv_start(v, st, cipher);
}

static inline void
begin_stores(enum cipher cipher)
{
	eenv_begin(&from, NULL, cipher);
	to = from;
	assert_ok(scratch_new(&to.s));
	new_store(&to, cipher);
}

static inline void
end_stores(void)
{
	engine_close(to.e);
	store_free(to.st);
	scratch_free(to.s);
	eenv_end(&from);
	free(sent.p);
	sent = (struct pipe){ 0 };
}

/* An empty store in the place of that which received. */
static inline void
empty_store(void)
{
	enum cipher cipher = catalog_meta(engine_catalog(to.e))->cipher;

	engine_close(to.e);
	store_free(to.st);
	new_store(&to, cipher);
}

static inline void
sweep(struct engine_env *v)
{
	bool more = true;

	while (more)
		assert_ok(catalog_sweep(engine_catalog(v->e), 1000, &more));
}

static inline int
add_name(const char *name, void *arg)
{
	strcat(strcat(arg, name), " ");
	return 0;
}

/* The names in a store. */
static inline const char *
names_in(struct engine_env *v)
{
	static char all[4096];

	*all = '\0';
	for (int t = DESC_DISK; t <= DESC_IMAGE; t++)
		assert_ok(catalog_list(engine_catalog(v->e), t, add_name, all));
	return all;
}

struct walk {
	struct store *st;
	const char *path;
	unsigned n;
	uint64_t sum;
};

static inline int
walk_one(const char *name, bool is_dir, void *arg)
{
	struct walk *w = arg, below;
	char path[2 * STORE_PATH_LEN];
	uint64_t h = 5381;

	(void)snprintf(path, sizeof(path), "%s/%s", w->path, name);
	for (const char *p = path; *p; p++)
		h = h * 33 + (uint8_t)*p;
	w->n++;
	w->sum += h * h;
	if (is_dir) {
		below = (struct walk){ w->st, path, 0, 0 };
		assert_ok(w->st->ops->list(w->st, path, walk_one, &below));
		w->n += below.n;
		w->sum += below.sum;
	}
	return 0;
}

/* Which files and folders there are, as a number. */
static inline uint64_t
files_in(struct engine_env *v, const char *folder)
{
	struct walk w = { v->st, folder, 0, 0 };
	int r = v->st->ops->list(v->st, folder, walk_one, &w);

	assert_true(r == 0 || r == -ENOENT);
	return w.sum + w.n;
}

/* ---- disks ---- */

static inline void
write_at(struct disk *d, uint64_t off, size_t len, uint64_t seed)
{
	fill_pattern(io, len, seed);
	assert_ok(disk_write(d, from.s, io, len, off));
}

static inline void
snapshot(const char *disk, const char *name)
{
	struct snapshot_request q = { .type = DESC_SNAPSHOT, .name = name };

	assert_ok(disk_attach(from.e, DESC_DISK, disk, 0, &q.disk));
	assert_ok(disks_snapshot(from.e, from.s, &q, 1));
	assert_ok(disk_detach(q.disk));
}

static inline void
change(const char *disk, uint64_t off, size_t len, uint64_t seed)
{
	struct disk *d;

	assert_ok(disk_attach(from.e, DESC_DISK, disk, 0, &d));
	write_at(d, off, len, seed);
	assert_ok(disk_detach(d));
}

static inline uint8_t *
content(struct engine_env *v, const char *name, uint64_t *ret_size)
{
	uint8_t *p = malloc(SIZE);
	struct disk *d;

	assert_non_null(p);
	assert_ok(disk_attach(v->e, named(name).type, name, 0, &d));
	*ret_size = disk_size(d);
	assert_ok(disk_read(d, v->s, p, *ret_size, 0));
	assert_ok(disk_detach(d));
	return p;
}

static inline void
assert_same_content(const char *a, const char *b)
{
	uint64_t size[2];
	uint8_t *p = content(&from, a, &size[0]);
	uint8_t *q = content(&to, b, &size[1]);

	assert_int_equal(size[0], size[1]);
	assert_memory_equal(p, q, size[0]);
	free(p);
	free(q);
}

/* d@one, d@two and d@three: blocks, a whole chunk, zeros, a hole, a chunk that
 * is gone; each changes a part. */
static inline void
make_chain(void)
{
	struct disk *d;

	eenv_create(&from, "d", SIZE);
	assert_ok(disk_attach(from.e, DESC_DISK, "d", 0, &d));
	write_at(d, 0, 5 * MiB, 1);
	write_at(d, 9 * MiB + 5, 3 * KiB, 2);
	write_at(d, SIZE - 512, 512, 3);
	assert_ok(disk_detach(d));
	snapshot("d", "one");
	assert_ok(disk_attach(from.e, DESC_DISK, "d", 0, &d));
	write_at(d, 100 * KiB, 300 * KiB, 4);
	assert_ok(disk_zero(d, from.s, 4 * MiB, 4 * MiB));
	assert_ok(disk_zero(d, from.s, 2 * MiB, 64 * KiB));
	assert_ok(disk_detach(d));
	snapshot("d", "two");
	change("d", 3 * MiB, 6 * MiB, 5);
	snapshot("d", "three");
}

#endif
