/*
 * catalog_sweep.c - the files of lineages that no descriptor names any more.
 *
 * That a lineage may go is decided under locks/catalog: it bears the mark,
 * every descriptor of the store can be read, and none names it.  After that
 * nothing can name it again, and its files are removed under its own lock
 * alone: first what it holds, durably, then the mark, then its folder. Wherever
 * this stops, the mark is still there, or the folder is empty.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#include "catalog_private.h"

#define DEPTH_MAX 4 /* lineages/UUID/chunks/XXXX/FILE and some room */

struct uuids {
	struct uuid *v;
	size_t n;
};

static void
uuids_done(struct uuids *u)
{
	free(u->v);
}

static int
is_marked(struct store *st, const struct uuid *lineage)
{
	char path[STORE_PATH_LEN];

	path_lineage(lineage, PENDING, path);
	return store_exists(st, path);
}

static int
find_marked(struct store *st, struct uuids *ret)
{
	CLEANUP(names_done) struct names n = { 0 };
	struct uuid lineage;
	size_t i;
	int r;

	r = names_list(st, "lineages", &n);
	if (r < 0 || n.n == 0)
		return r;
	ret->v = calloc(n.n, sizeof(*ret->v));
	if (!ret->v)
		return -ENOMEM;
	for (i = 0; i < n.n && r >= 0; i++) {
		if (!n.is_dir[i] || uuid_parse(n.v[i], &lineage) < 0)
			continue;
		r = is_marked(st, &lineage);
		if (r == 1)
			ret->v[ret->n++] = lineage;
	}
	return r < 0 ? r : 0;
}

/* Of those that bear the mark, leave the ones that may go in ${u}; the others
 * lose it. */
static int
decide(struct catalog *c, struct uuids *u)
{
	CLEANUP(census_done) struct census s = { 0 };
	char path[STORE_PATH_LEN];
	size_t i, n = u->n;
	int r;

	r = census_take(c, &s);
	if (r < 0)
		return r;
	u->n = 0;
	if (s.bad) /* who knows what it names */
		return 0;
	for (i = 0; i < n; i++) {
		if (!census_has_lineage(&s, &u->v[i])) {
			u->v[u->n++] = u->v[i];
			continue;
		}
		path_lineage(&u->v[i], PENDING, path);
		r = c->st->ops->remove(c->st, path);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
find_dead(struct catalog *c, struct uuids *ret)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	int r;

	r = catalog_lock_names(c, &lock);
	if (r == 0)
		r = find_marked(c->st, ret);
	return r < 0 || ret->n == 0 ? r : decide(c, ret);
}

/*
 * Remove what is in folder ${path}, but the mark.  ${budget} counts down; 1
 * when it has run out, 0 when the folder is empty.
 */
static int
empty_folder(struct store *st, const char *path, unsigned depth,
	     unsigned *budget)
{
	CLEANUP(names_done) struct names n = { .max = *budget + 1 };
	char below[STORE_PATH_LEN];
	size_t i;
	int r;

	r = names_list(st, path, &n);
	for (i = 0; i < n.n && r == 0; i++) {
		if (depth == 0 && !strcmp(n.v[i], PENDING))
			continue;
		if (snprintf(below, sizeof(below), "%s/%s", path, n.v[i]) >=
		    (int)sizeof(below))
			return -ENAMETOOLONG;
		if (n.is_dir[i] && depth < DEPTH_MAX)
			r = empty_folder(st, below, depth + 1, budget);
		if (r == 0 && *budget == 0)
			r = 1;
		if (r == 0)
			r = st->ops->remove(st, below);
		if (r == -ENOENT)
			r = 0;
		if (r == 0)
			(*budget)--;
	}
	return r;
}

static int
sweep_lineage(struct store *st, const struct uuid *lineage, unsigned *budget)
{
	char folder[STORE_PATH_LEN], mark[STORE_PATH_LEN];
	int r;

	path_lineage(lineage, NULL, folder);
	path_lineage(lineage, PENDING, mark);
	r = empty_folder(st, folder, 0, budget);
	if (r)
		return r;
	r = st->ops->sync_dir(st, folder);
	if (r == 0)
		r = st->ops->remove(st, mark);
	if (r == 0)
		r = st->ops->remove(st, folder);
	if (r == 0)
		log_debug("removed %s", folder);
	return r;
}

/* 0, 1 where there is more to do, or an error. */
static int
visit(struct catalog *c, const struct uuid *lineage, unsigned *budget)
{
	struct store_lock *lock;
	int r;

	r = catalog_lock_lineage(c, lineage, &lock);
	if (r < 0)
		return r == -EBUSY ? 0 : r; /* being read, or swept */
	r = sweep_lineage(c->st, lineage, budget);
	c->st->ops->unlock(lock, true);
	return r == -ENOENT ? 0 : r; /* somebody else was first */
}

int
catalog_sweep(struct catalog *c, unsigned max_files, bool *ret_more)
{
	CLEANUP(uuids_done) struct uuids dead = { 0 };
	unsigned budget = max_files;
	size_t i;
	int r;

	r = find_dead(c, &dead);
	for (i = 0; i < dead.n && r == 0; i++)
		r = visit(c, &dead.v[i], &budget);
	if (r < 0)
		return r;
	*ret_more = r == 1;
	return 0;
}
