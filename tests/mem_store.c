/*
 * mem_store.c - the store in memory: files, crashes; see mem_store.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem_private.h"
#include "mem_store.h"

struct mem_file {
	struct store_file base;
	struct node *node;
	unsigned life;
	bool writable;
	char path[];
};

/* Files. */

static void
file_new(struct mem_store *ms, struct node *n, const char *path, bool writable,
	 struct store_file **ret)
{
	struct mem_file *f = mem_need(calloc(1, sizeof(*f) + strlen(path) + 1));

	f->base.st = &ms->base;
	f->node = mem_ref(n);
	f->life = ms->life;
	f->writable = writable;
	strcpy(f->path, path);
	*ret = &f->base;
}

static int
ms_open(struct store *st, const char *path, bool writable,
	struct store_file **ret)
{
	struct mem_store *ms = mem_enter(st);
	struct node *n;
	int r;

	r = mem_node(ms, path, &n);
	if (r == 0 && n->is_dir)
		r = -EISDIR;
	if (r == 0)
		file_new(ms, n, path, writable, ret);
	return mem_leave(ms, r);
}

static int
ms_create(struct store *st, const char *path, struct store_file **ret)
{
	struct mem_store *ms;
	struct entry *e;
	int r;

	if (mem_dies(st))
		return -EIO;
	ms = mem_enter(st);
	r = mem_entry(ms, path, true, &e);
	if (r == 0 && e->seen)
		r = -EEXIST;
	if (r == 0) {
		mem_set(ms, e, mem_node_new(false));
		file_new(ms, e->seen, path, true, ret);
	}
	return mem_leave(ms, r);
}

static void
ms_close(struct store_file *f)
{
	struct mem_store *ms = mem_enter(f->st);

	mem_unref(ms, ((struct mem_file *)f)->node);
	free((struct mem_file *)f);
	(void)mem_leave(ms, 0);
}

/* The store, locked, and the file's content: NULL where it is not open any
 * more, or not for this. */
static struct mem_store *
enter(struct store_file *f, bool write, struct content **ret)
{
	bool dead = write && mem_dies(f->st);
	struct mem_store *ms = mem_enter(f->st);
	struct mem_file *mf = (struct mem_file *)f;

	*ret = !dead && mf->life == ms->life && (mf->writable || !write)
		   ? &mf->node->content
		   : NULL;
	return ms;
}

/* What may get durable at any time is so when a recorded cut says so. */
static uint64_t *
unasked(struct mem_store *ms)
{
	return ms->recording ? NULL : &ms->rng;
}

static int
ms_size(struct store_file *f, uint64_t *ret)
{
	struct content *c;
	struct mem_store *ms = enter(f, false, &c);

	if (c)
		*ret = c->size;
	return mem_leave(ms, c ? 0 : -EIO);
}

static int
ms_read(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	struct content *c;
	struct mem_store *ms = enter(f, false, &c);

	if (!c)
		return mem_leave(ms, -EIO);
	if (off > c->size || len > c->size - off)
		return mem_leave(ms, -ENODATA);
	for (unsigned i = 0; i < 2; i++)
		if (off < ms->bad_off[i] + ms->bad_len &&
		    ms->bad_off[i] < off + len &&
		    strstr(((struct mem_file *)f)->path, ms->bad_part))
			return mem_leave(ms, -EIO);
	content_read(c, buf, len, off);
	return mem_leave(ms, 0);
}

static int
ms_write(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	struct content *c;
	struct mem_store *ms = enter(f, true, &c);
	int r;

	if (!c)
		return mem_leave(ms, -EIO);
	if (mem_no_space(ms, c, len, off))
		return mem_leave(ms, -ENOSPC);
	r = content_write(c, buf, len, off, unasked(ms));
	ms->used += (unsigned)r;
	if (ms->recording)
		content_record(c, buf, len, off);
	return mem_leave(ms, 0);
}

static int
ms_punch(struct store_file *f, uint64_t off, uint64_t len)
{
	struct content *c;
	struct mem_store *ms = enter(f, true, &c);

	if (c)
		ms->used -= content_zero(c, off, len, unasked(ms));
	if (c && ms->recording)
		content_record(c, NULL, len, off);
	return mem_leave(ms, c ? 0 : -EIO);
}

static int
ms_truncate(struct store_file *f, uint64_t len)
{
	struct content *c;
	struct mem_store *ms = enter(f, true, &c);

	if (c)
		ms->used -= content_truncate(c, len, unasked(ms));
	if (c && ms->recording)
		content_record(c, NULL, UINT64_MAX - len, len);
	return mem_leave(ms, c ? 0 : -EIO);
}

static void
ms_writeback(struct store_file *f, uint64_t off, uint64_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

/* A hint: it costs nothing to have it. */
static void
ms_uncache(struct store_file *f, uint64_t off, uint64_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

static void
ms_drop(struct store_file *f)
{
	struct content *c;
	struct mem_store *ms = enter(f, false, &c);

	if (c)
		content_drop(c);
	(void)mem_leave(ms, 0);
}

static int
ms_allocated(struct store_file *f, uint64_t *ret)
{
	struct content *c;
	struct mem_store *ms = enter(f, false, &c);

	if (c)
		*ret = (uint64_t)content_units(c) * UNIT_LEN;
	return mem_leave(ms, c ? 0 : -EIO);
}

/* Durability. */

static int
ms_sync(struct store_file *f)
{
	struct content *c;
	struct mem_store *ms;

	if (mem_watch(f->st))
		return -EIO;
	ms = enter(f, false, &c);
	if (c)
		content_sync(c);
	return mem_leave(ms, c ? 0 : -EIO);
}

static int
ms_sync_all(struct store *st)
{
	struct mem_store *ms;

	if (mem_watch(st))
		return -EIO;
	ms = mem_enter(st);
	mem_sync_below(ms, ms->root, true);
	return mem_leave(ms, 0);
}

/* The store. */

static int
ms_space(struct store *st, struct store_space *ret)
{
	struct mem_store *ms = mem_enter(st);
	uint64_t limit = ms->limit ? ms->limit : UINT64_C(1) << 30;

	ret->total = limit * UNIT_LEN;
	ret->free = (limit > ms->used ? limit - ms->used : 0) * UNIT_LEN;
	return mem_leave(ms, 0);
}

static void
ms_free(struct store *st)
{
	struct mem_store *ms = (struct mem_store *)st;

	mem_unref(ms, ms->root);
	(void)pthread_mutex_destroy(&ms->mutex);
	(void)pthread_cond_destroy(&ms->unlocked);
	free(ms);
}

static const struct store_ops mem_ops = {
	.open = ms_open,
	.create = ms_create,
	.close = ms_close,
	.size = ms_size,
	.read = ms_read,
	.write = ms_write,
	.punch = ms_punch,
	.truncate = ms_truncate,
	.writeback = ms_writeback,
	.uncache = ms_uncache,
	.drop = ms_drop,
	.allocated = ms_allocated,
	.sync = ms_sync,
	.sync_dir = mem_sync_dir,
	.sync_all = ms_sync_all,
	.list = mem_list,
	.load = mem_load,
	.replace = mem_replace,
	.rename = mem_rename,
	.remove = mem_remove,
	.lock = mem_lock,
	.lock_say = mem_lock_say,
	.unlock = mem_unlock,
	.lock_check = mem_lock_check,
	.lock_owner = mem_lock_owner,
	.space = ms_space,
	.free = ms_free,
};

int
mem_store_open(struct store **ret)
{
	struct mem_store *ms = mem_need(calloc(1, sizeof(*ms)));

	ms->base.ops = &mem_ops;
	(void)pthread_mutex_init(&ms->mutex, NULL);
	(void)pthread_cond_init(&ms->unlocked, NULL);
	ms->root = mem_ref(mem_node_new(true));
	*ret = &ms->base;
	return 0;
}

static void
crash_below(struct mem_store *ms, struct node *n)
{
	struct entry *e;

	ms->used -= content_units(&n->content);
	content_crash(&n->content, &ms->rng);
	ms->used += content_units(&n->content);
	for (e = n->entries; e; e = e->next) {
		bool keep = e->seen == e->durable || mem_random(&ms->rng) % 2;

		if (!keep)
			mem_point(ms, &e->seen, e->durable);
		mem_settle(ms, e);
		if (e->seen)
			crash_below(ms, e->seen);
	}
}

void
mem_store_crash(struct store *st, uint64_t seed)
{
	struct mem_store *ms = mem_enter(st);

	ms->rng = seed;
	ms->life++;
	crash_below(ms, ms->root);
	(void)mem_leave(ms, 0);
}

void
mem_store_kill(struct store *st)
{
	struct mem_store *ms = mem_enter(st);

	ms->life++;
	ms->dead = false;
	ms->dies_in = 0;
	(void)mem_leave(ms, 0);
}

void
mem_store_die(struct store *st, unsigned n, void (*fn)(void *arg), void *arg)
{
	struct mem_store *ms = mem_enter(st);

	ms->dies_in = n;
	ms->died = fn;
	ms->died_arg = arg;
	if (n == 0) {
		ms->dead = true;
		ms->life++;
	}
	(void)mem_leave(ms, 0);
	if (n == 0 && fn)
		fn(arg);
}

bool
mem_store_settled(struct store *st, const char *path)
{
	struct mem_store *ms = mem_enter(st);
	struct entry *e;
	bool is = mem_entry(ms, path, false, &e) < 0 ||
		  (e->seen == e->durable && !e->past);

	(void)mem_leave(ms, 0);
	return is;
}

void
mem_store_spoil_pair(struct store *st, const char *part,
		     const uint64_t off[static 2], uint64_t len)
{
	struct mem_store *ms = mem_enter(st);

	strcpy(ms->bad_part, part);
	memcpy(ms->bad_off, off, sizeof(ms->bad_off));
	ms->bad_len = len;
	(void)mem_leave(ms, 0);
}

void
mem_store_spoil(struct store *st, const char *part, uint64_t off, uint64_t len)
{
	mem_store_spoil_pair(st, part, (const uint64_t[2]){ off, off }, len);
}

void
mem_store_limit(struct store *st, uint64_t bytes)
{
	struct mem_store *ms = mem_enter(st);

	ms->limit = bytes / UNIT_LEN;
	(void)mem_leave(ms, 0);
}

static void
lose_below(struct mem_store *ms, struct node *n)
{
	struct entry *e;

	content_lose(&n->content, &ms->rng);
	for (e = n->entries; e; e = e->next)
		if (e->seen)
			lose_below(ms, e->seen);
}

void
mem_store_lose(struct store *st, struct store_file *f)
{
	struct mem_store *ms = mem_enter(st);

	lose_below(ms, f ? ((struct mem_file *)f)->node : ms->root);
	(void)mem_leave(ms, 0);
}
