/*
 * mem_name.c - the tree of names of the store in memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem_private.h"
#include "mem_store.h"

void *
mem_need(void *p)
{
	if (!p)
		abort();
	return p;
}

struct mem_store *
mem_enter(struct store *st)
{
	struct mem_store *ms = (struct mem_store *)st;

	(void)pthread_mutex_lock(&ms->mutex);
	return ms;
}

bool
mem_dies(struct store *st)
{
	struct mem_store *ms = (struct mem_store *)st;

	if (ms->dies_in > 0 && --ms->dies_in == 0)
		mem_store_die(st, 0, ms->died, ms->died_arg);
	return ms->dead;
}

bool
mem_watch(struct store *st)
{
	struct mem_store *ms = (struct mem_store *)st;

	if (mem_dies(st))
		return true;
	if (ms->watch)
		ms->watch(ms->watch_arg);
	return false;
}

int
mem_leave(struct mem_store *ms, int r)
{
	(void)pthread_mutex_unlock(&ms->mutex);
	return r;
}

/* Nodes. */

struct node *
mem_node_new(bool is_dir)
{
	struct node *n = mem_need(calloc(1, sizeof(*n)));

	n->is_dir = is_dir;
	return n;
}

struct node *
mem_ref(struct node *n)
{
	if (n)
		n->refs++;
	return n;
}

static void
forget(struct mem_store *ms, struct entry *e)
{
	struct past *p;

	while ((p = e->past)) {
		e->past = p->next;
		mem_unref(ms, p->node);
		free(p);
	}
}

void
mem_unref(struct mem_store *ms, struct node *n)
{
	struct entry *e;

	if (!n || --n->refs > 0)
		return;
	while ((e = n->entries)) {
		n->entries = e->next;
		mem_unref(ms, e->seen);
		mem_unref(ms, e->durable);
		forget(ms, e);
		free(e);
	}
	ms->used -= content_units(&n->content);
	content_done(&n->content);
	free(n);
}

void
mem_point(struct mem_store *ms, struct node **to, struct node *n)
{
	struct node *old = *to;

	*to = mem_ref(n);
	mem_unref(ms, old);
}

struct entry *
mem_find(struct node *dir, const char *name, size_t len, bool make)
{
	struct entry *e;

	for (e = dir->entries; e; e = e->next)
		if (!strncmp(e->name, name, len) && !e->name[len])
			return e;
	if (!make)
		return NULL;
	e = mem_need(calloc(1, sizeof(*e) + len + 1));
	memcpy(e->name, name, len);
	e->next = dir->entries;
	dir->entries = e;
	return e;
}

static void
remember(struct entry *e)
{
	struct past **p = &e->past;

	if (e->seen == e->durable && !e->past)
		return;
	while (*p)
		p = &(*p)->next;
	*p = mem_need(calloc(1, sizeof(**p)));
	(*p)->node = mem_ref(e->seen);
}

void
mem_set(struct mem_store *ms, struct entry *e, struct node *n)
{
	if (ms->recording)
		remember(e);
	else if (e->seen != e->durable && mem_random(&ms->rng) % 4 == 0)
		mem_point(ms, &e->durable, e->seen);
	mem_point(ms, &e->seen, n);
}

void
mem_settle(struct mem_store *ms, struct entry *e)
{
	forget(ms, e);
	mem_point(ms, &e->durable, e->seen);
}

int
mem_parent(struct mem_store *ms, const char *path, bool make, struct node **ret,
	   const char **ret_name)
{
	struct node *dir = ms->root;
	size_t len;
	int r;

	r = store_path_check(path);
	if (r < 0)
		return r;
	for (; path[len = strcspn(path, "/")]; path += len + 1) {
		struct entry *e = mem_find(dir, path, len, make);

		if (e && !e->seen && make) {
			mem_point(ms, &e->seen, mem_node_new(true));
			mem_settle(ms, e);
		}
		if (!e || !e->seen)
			return -ENOENT;
		dir = e->seen;
		if (!dir->is_dir)
			return -ENOTDIR;
	}
	*ret = dir;
	*ret_name = path;
	return 0;
}

int
mem_entry(struct mem_store *ms, const char *path, bool make, struct entry **ret)
{
	struct node *dir;
	const char *name;
	int r;

	r = mem_parent(ms, path, make, &dir, &name);
	if (r < 0)
		return r;
	*ret = mem_find(dir, name, strlen(name), make);
	return *ret ? 0 : -ENOENT;
}

int
mem_node(struct mem_store *ms, const char *path, struct node **ret)
{
	struct entry *e;
	int r;

	if (!*path) {
		*ret = ms->root;
		return 0;
	}
	r = mem_entry(ms, path, false, &e);
	if (r < 0)
		return r;
	*ret = e->seen;
	return e->seen ? 0 : -ENOENT;
}

int
mem_folder(struct mem_store *ms, const char *path, struct node **ret)
{
	int r = mem_node(ms, path, ret);

	return r == 0 && !(*ret)->is_dir ? -ENOTDIR : r;
}

int
mem_sync_dir(struct store *st, const char *path)
{
	struct mem_store *ms;
	struct node *dir;
	struct entry *e;
	int r;

	if (mem_watch(st))
		return -EIO;
	ms = mem_enter(st);
	r = mem_folder(ms, path, &dir);
	for (e = r == 0 ? dir->entries : NULL; e; e = e->next)
		mem_settle(ms, e);
	if (r == 0 && *path && mem_entry(ms, path, false, &e) == 0)
		mem_settle(ms, e);
	return mem_leave(ms, r);
}

void
mem_sync_below(struct mem_store *ms, struct node *n, bool content)
{
	struct entry *e;

	if (content)
		content_sync(&n->content);
	for (e = n->entries; e; e = e->next) {
		mem_settle(ms, e);
		if (e->seen)
			mem_sync_below(ms, e->seen, content);
	}
}

bool
mem_no_space(struct mem_store *ms, const struct content *c, size_t len,
	     uint64_t off)
{
	unsigned units = content_cost(c, len, off);

	if (!ms->limit || ms->used + units <= ms->limit)
		return false;
	/* What was removed gives its space back before anybody is refused. */
	mem_sync_below(ms, ms->root, false);
	return ms->used + units > ms->limit;
}

/* Operations. */

struct listed {
	char *name;
	bool is_dir;
};

static struct listed *
copy_names(const struct node *dir, size_t *ret_n)
{
	const struct entry *e;
	struct listed *v;
	size_t n = 0;

	for (e = dir->entries; e; e = e->next)
		n += e->seen != NULL;
	v = mem_need(calloc(n + 1, sizeof(*v)));
	n = 0;
	for (e = dir->entries; e; e = e->next)
		if (e->seen && e->name[0] != '.')
			v[n++] = (struct listed){ mem_need(strdup(e->name)),
						  e->seen->is_dir };
	*ret_n = n;
	return v;
}

int
mem_list(struct store *st, const char *path,
	 int (*fn)(const char *name, bool is_dir, void *arg), void *arg)
{
	struct mem_store *ms = mem_enter(st);
	struct listed *v = NULL;
	struct node *dir;
	size_t i, n = 0;
	int r;

	r = mem_folder(ms, path, &dir);
	if (r == 0)
		v = copy_names(dir, &n);
	(void)mem_leave(ms, 0);
	for (i = 0; i < n; i++) {
		if (r == 0)
			r = fn(v[i].name, v[i].is_dir, arg);
		free(v[i].name);
	}
	free(v);
	return r;
}

int
mem_load(struct store *st, const char *path, size_t max, char **ret_buf,
	 size_t *ret_len)
{
	struct mem_store *ms = mem_enter(st);
	struct node *n;
	size_t len;
	int r;

	r = mem_node(ms, path, &n);
	if (r == 0 && n->is_dir)
		r = -EISDIR;
	if (r == 0 && n->content.size > max)
		r = -EFBIG;
	if (r < 0)
		return mem_leave(ms, r);
	len = (size_t)n->content.size;
	*ret_buf = mem_need(malloc(len + 1));
	content_read(&n->content, *ret_buf, len, 0);
	(*ret_buf)[len] = '\0';
	*ret_len = len;
	return mem_leave(ms, 0);
}

int
mem_replace(struct store *st, const char *path, const void *buf, size_t len)
{
	struct content empty = { 0 };
	struct mem_store *ms;
	struct entry *e;
	struct node *n;
	int r;

	if (mem_watch(st))
		return -EIO;
	ms = mem_enter(st);
	r = mem_entry(ms, path, true, &e);
	if (r == 0 && e->seen && e->seen->is_dir)
		r = -EISDIR;
	if (r == 0 && mem_no_space(ms, &empty, len, 0))
		r = -ENOSPC;
	if (r < 0)
		return mem_leave(ms, r);
	n = mem_node_new(false);
	ms->used += (unsigned)content_write(&n->content, buf, len, 0, &ms->rng);
	content_sync(&n->content);
	mem_point(ms, &e->seen, n);
	mem_settle(ms, e);
	return mem_leave(ms, 0);
}

int
mem_rename(struct store *st, const char *from, const char *to)
{
	struct entry *src, *dst;
	struct mem_store *ms;
	struct node *dir;
	const char *name;
	int r;

	if (mem_watch(st))
		return -EIO;
	ms = mem_enter(st);
	r = mem_entry(ms, from, false, &src);
	if (r == 0 && !src->seen)
		r = -ENOENT;
	if (r == 0)
		r = mem_parent(ms, to, false, &dir, &name);
	if (r < 0)
		return mem_leave(ms, r);
	dst = mem_find(dir, name, strlen(name), true);
	if (dst->seen)
		return mem_leave(ms, -EEXIST);
	mem_point(ms, &dst->seen, src->seen);
	mem_settle(ms, dst);
	mem_point(ms, &src->seen, NULL);
	mem_settle(ms, src);
	return mem_leave(ms, 0);
}

static bool
is_empty(const struct node *dir)
{
	const struct entry *e;

	for (e = dir->entries; e; e = e->next)
		if (e->seen)
			return false;
	return true;
}

int
mem_remove(struct store *st, const char *path)
{
	struct mem_store *ms;
	struct entry *e;
	int r;

	if (mem_dies(st))
		return -EIO;
	ms = mem_enter(st);
	r = mem_entry(ms, path, false, &e);
	if (r == 0 && !e->seen)
		r = -ENOENT;
	if (r == 0 && e->seen->is_dir && !is_empty(e->seen))
		r = -ENOTEMPTY;
	if (r == 0)
		mem_set(ms, e, NULL);
	return mem_leave(ms, r);
}
