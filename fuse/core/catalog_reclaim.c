/*
 * catalog_reclaim.c - how much of what was removed still takes space.
 *
 * The sweep and the merger (catalog_sweep.c, merge.c) keep no account: what is
 * left for them is in the store, and so it is also after a crash, and whoever
 * does the work.  Here it is looked at without doing any of it.
 */
#include <errno.h>
#include <stdio.h>

#include "catalog_private.h"

/* What is listed, at most, to be counted. */
#define FILES_MAX 1000000

/* Files in the folders of lineages/UUID/chunks. */
static int
count_files(struct store *st, const struct uuid *lineage, uint64_t *count)
{
	CLEANUP(names_done) struct names folders = { 0 };
	char chunks[STORE_PATH_LEN], path[STORE_PATH_LEN];
	int r;

	path_lineage(lineage, "chunks", chunks);
	r = names_list(st, chunks, &folders);
	for (size_t i = 0; r == 0 && i < folders.n && *count < FILES_MAX; i++) {
		CLEANUP(names_done) struct names files = { .max = FILES_MAX };

		if (snprintf(path, sizeof(path), "%s/%s", chunks,
			     folders.v[i]) >= (int)sizeof(path))
			return -ENAMETOOLONG;
		r = names_list(st, path, &files);
		*count += files.n;
	}
	return r;
}

static int
look_at_lineage(struct catalog *c, const struct uuid *lineage,
		struct verdict *v, struct reclaim *ret)
{
	const struct layer_meta *x, *y;
	unsigned layers;
	size_t at = 0;
	int r;

	v->alive = census_has_lineage(&v->census, lineage);
	r = receiving_reached(c->st, lineage, &v->live, &v->alive);
	if (r < 0)
		return r;
	if (!v->alive) {
		ret->lineages++;
		return count_files(c->st, lineage, &ret->files);
	}
	r = layers_count_dead(c->st, lineage, &v->live, &layers);
	if (r < 0)
		return r;
	ret->layers += layers;
	while (layers_find_merge(&v->census, &v->live, lineage, &at, &x, &y) ==
	       0)
		ret->merges++;
	return 0;
}

/* What descriptors reach, as it is now. */
static int
look_at_names(struct catalog *c, struct verdict *ret)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	int r;

	r = catalog_lock_names(c, &names);
	if (r == 0)
		r = census_take(c, &ret->census);
	if (r == 0 && ret->census.bad)
		r = -EUCLEAN;
	if (r == 0)
		r = layers_reached(c->st, &ret->census, &ret->live);
	return r;
}

int
catalog_reclaim(struct catalog *c, struct reclaim *ret)
{
	CLEANUP(free_memp) struct uuid *marked = NULL;
	CLEANUP(verdict_done) struct verdict v = { 0 };
	struct reclaim found = { 0 };
	size_t n = 0;
	int r;

	r = catalog_marked(c, &marked, &n);
	if (r == 0 && n > 0)
		r = look_at_names(c, &v);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = look_at_lineage(c, &marked[i], &v, &found);
		if (r == -ENOENT) /* gone meanwhile */
			r = 0;
	}
	if (r == -EUCLEAN) {
		found = (struct reclaim){ .stuck = true };
		r = 0;
	}
	if (r == 0)
		*ret = found;
	return r;
}
