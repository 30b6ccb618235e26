/*
 * catalog_sweep.c - the files of what no descriptor reaches any more: whole
 * lineages, and layers of lineages of which something is left.
 *
 * Both are looked for where the lineage bears the mark, under locks/catalog and
 * with the lineage's lock for ourselves: so nobody is just making a layer that
 * has no name yet.  Every descriptor of the store must be readable.  After that
 * nothing can name again what is dead, and its files are removed under the
 * lineage's lock alone, a piece at a time.
 *
 * Of a lineage first goes what it holds, durably, then the mark, then its
 * folder. Wherever this stops, the mark is still there, or the folder is empty.
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
is_marked(struct store *st, const struct uuid *lineage, const char *mark)
{
	char path[STORE_PATH_LEN];

	path_lineage(lineage, mark, path);
	return store_exists(st, path);
}

static int
find_marked(struct store *st, const char *mark, struct uuids *ret)
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
		r = is_marked(st, &lineage, mark);
		if (r == 1)
			ret->v[ret->n++] = lineage;
	}
	return r < 0 ? r : 0;
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
clear_mark(struct store *st, const struct uuid *lineage)
{
	char mark[STORE_PATH_LEN];
	int r;

	path_lineage(lineage, PENDING, mark);
	r = st->ops->remove(st, mark);
	return r == -ENOENT ? 0 : r;
}

static int
sweep_lineage(struct store *st, const struct uuid *lineage, unsigned *budget)
{
	char folder[STORE_PATH_LEN];
	int r;

	path_lineage(lineage, NULL, folder);
	r = empty_folder(st, folder, 0, budget);
	if (r)
		return r;
	r = st->ops->sync_dir(st, folder);
	if (r == 0)
		r = clear_mark(st, lineage);
	if (r == 0)
		r = st->ops->remove(st, folder);
	if (r == 0)
		log_debug("removed %s", folder);
	return r;
}

void
verdict_done(struct verdict *v)
{
	census_done(&v->census);
	layers_done(&v->live);
}

static int
decide(struct catalog *c, const struct uuid *lineage, struct verdict *ret)
{
	int r;

	r = census_take(c, &ret->census);
	if (r == 0 && ret->census.bad) /* who knows what it names */
		r = -EUCLEAN;
	if (r < 0)
		return r;
	ret->alive = census_has_lineage(&ret->census, lineage);
	if (ret->alive)
		r = layers_reached(c->st, &ret->census, &ret->live);
	if (r == 0)
		r = receiving_reached(c->st, lineage, &ret->live, &ret->alive);
	return r;
}

int
catalog_judge(struct catalog *c, const struct uuid *lineage,
	      struct store_lock **ret, struct verdict *v)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	struct store_lock *lock;
	int r;

	r = catalog_lock_names(c, &names);
	if (r == 0)
		r = catalog_lock_lineage(c, lineage, &lock);
	if (r < 0)
		return r;
	r = decide(c, lineage, v);
	if (r < 0)
		store_unlock(lock);
	else
		*ret = lock;
	return r;
}

static int
list_marked(struct catalog *c, const char *mark, struct uuid **ret,
	    size_t *ret_n)
{
	struct uuids u = { 0 };
	int r = find_marked(c->st, mark, &u);

	if (r < 0) {
		uuids_done(&u);
		return r;
	}
	*ret = u.v;
	*ret_n = u.n;
	return 0;
}

int
catalog_marked(struct catalog *c, struct uuid **ret, size_t *ret_n)
{
	return list_marked(c, PENDING, ret, ret_n);
}

int
catalog_unsealed(struct catalog *c, struct uuid **ret, size_t *ret_n)
{
	return list_marked(c, UNSEALED, ret, ret_n);
}

/*
 * Of a lineage in which layers can be merged the mark stays: that takes keys,
 * and is the engine's (merge.c).  What was removed after we had decided found
 * the mark there and left it to us: so it goes only when, with the names
 * locked, nothing is dead.  1: something is.
 */
static int
clear_mark_if_done(struct catalog *c, const struct uuid *lineage)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	CLEANUP(verdict_done) struct verdict v = { 0 };
	const struct layer_meta *x, *y;
	size_t at = 0;
	int r;

	r = catalog_lock_names(c, &names);
	if (r == 0)
		r = decide(c, lineage, &v);
	if (r == -EUCLEAN)
		return 0; /* it keeps the mark */
	if (r == 0 && !v.alive)
		r = 1;
	if (r == 0)
		r = layers_any_dead(c->st, lineage, &v.live);
	if (r ||
	    layers_find_merge(&v.census, &v.live, lineage, &at, &x, &y) == 0)
		return r;
	return clear_mark(c->st, lineage);
}

/* 0, 1 where there is more to do, or an error. */
static int
visit(struct catalog *c, const struct uuid *lineage, unsigned *budget)
{
	CLEANUP(verdict_done) struct verdict v = { 0 };
	struct store_lock *lock = NULL;
	int r;

	r = catalog_judge(c, lineage, &lock, &v);
	if (r == -EBUSY || r == -EUCLEAN)
		return 0; /* somebody makes a layer, or sweeps; another time */
	if (r < 0)
		return r;
	if (v.alive) {
		r = layers_remove_dead(c->st, lineage, &v.live, budget);
		if (r == 0)
			r = clear_mark_if_done(c, lineage);
	} else {
		r = sweep_lineage(c->st, lineage, budget);
	}
	/* Its file stays while the lineage does: others may be waiting. */
	c->st->ops->unlock(lock, !v.alive && r == 0);
	return r == -ENOENT ? 0 : r; /* somebody else was first */
}

int
catalog_sweep(struct catalog *c, unsigned max_files, bool *ret_more)
{
	CLEANUP(uuids_done) struct uuids marked = { 0 };
	unsigned budget = max_files;
	size_t i;
	int r;

	r = find_marked(c->st, PENDING, &marked);
	for (i = 0; i < marked.n && r == 0; i++)
		r = visit(c, &marked.v[i], &budget);
	if (r < 0)
		return r;
	*ret_more = r == 1;
	return 0;
}
