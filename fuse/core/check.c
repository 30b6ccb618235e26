/*
 * check.c - a store looked at as a whole (check.h).
 *
 * A chunk file belongs to the layer whose map names it.  One that no map of its
 * lineage names was never acknowledged, or its map's layer has gone and a crash
 * came before the file had: nobody needs it.  That can be said only of a
 * lineage none of whose disks is attached, with the lineage's lock and all of
 * theirs held, and only where every map of it can be read.
 */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#include "check_private.h"

const char *
check_word(enum check_what w)
{
	static const char *const words[] = {
		"descriptor", "lineage", "layer", "chunk", "map",
		"busy",       "lost",    "spare", "older",
	};

	return words[w];
}

struct check {
	struct catalog *c;
	const struct check_options *o;
	unsigned bad; /* descriptors */
	enum desc_type type;
	struct chunk_set named; /* by the maps of one lineage */
};

static void
tell(struct check *k, enum check_what what, const char *path, int err,
     bool removed)
{
	struct check_finding f = { .what = what,
				   .err = err,
				   .removed = removed };

	(void)snprintf(f.path, sizeof(f.path), "%s", path);
	k->o->found(&f, k->o->arg);
}

/* ---- descriptors ---- */

static int
look_at_name(const char *name, void *arg)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	struct check *k = arg;
	char path[STORE_PATH_LEN];
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_load(k->c, k->type, name, d, NULL, NULL);
	if (r == 0 || r == -ENOENT || err_is_shortage(r))
		return r == -ENOENT ? 0 : r;
	if (catalog_path(k->type, name, path) < 0)
		(void)snprintf(path, sizeof(path), "%s", name);
	k->bad++;
	tell(k, CHECK_DESCRIPTOR, path, r, false);
	return 0;
}

static int
look_at_names(struct check *k)
{
	int r = 0;

	for (k->type = DESC_DISK; r == 0 && k->type <= DESC_IMAGE; k->type++)
		r = catalog_list(k->c, k->type, look_at_name, k);
	return r;
}

/* ---- chunk files ---- */

static int
look_at_file(const char *path, uint64_t index, const uint8_t salt[static 4],
	     void *arg)
{
	struct check *k = arg;
	struct store *st = k->c->st;
	bool removed;

	if (chunk_set_ask(&k->named, index, salt) != CLAIM_NONE)
		return 0;
	/* What a copy that cannot be read just now may name is kept. */
	removed = k->o->repair && !k->o->keep_chunks && !k->named.doubtful &&
		  st->ops->remove(st, path) == 0;
	tell(k, CHECK_CHUNK, path, 0, removed);
	return 0;
}

/* ---- one lineage ---- */

struct locks {
	struct store_lock **v;
	size_t n;
};

static void
locks_done(struct locks *l)
{
	while (l->n > 0)
		store_unlock(l->v[--l->n]);
	free(l->v);
}

/* Of all disks that write into the lineage.  -EBUSY */
static int
lock_disks(struct check *k, const struct verdict *v, const struct uuid *lineage,
	   struct locks *ret)
{
	int r = 0;

	ret->v = calloc(v->census.n + 1, sizeof(struct store_lock *));
	if (!ret->v)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < v->census.n; i++) {
		const struct seen *s = &v->census.seen[i];

		if (s->type != DESC_DISK ||
		    !uuid_equal(&s->layer.lineage, lineage))
			continue;
		r = catalog_lock_disk(k->c, &s->uuid, "", &ret->v[ret->n]);
		ret->n += r == 0;
	}
	return r;
}

static int
look_at_chunks(struct check *k, const struct verdict *v,
	       const struct uuid *lineage)
{
	CLEANUP(locks_done) struct locks locks = { .n = 0 };
	CLEANUP(names_done) struct names layers = { 0 };
	struct layer_ref ref = { .lineage = *lineage };
	char path[STORE_PATH_LEN];
	int r;

	r = lock_disks(k, v, lineage, &locks);
	if (r < 0)
		return r;
	chunk_set_clear(&k->named);
	/* Those that nothing reaches, too: the sweep finds its files by them.
	 */
	path_lineage(lineage, "layers", path);
	r = names_list(k->c->st, path, &layers);
	for (size_t i = 0; r == 0 && i < layers.n && k->named.n_gaps == 0; i++)
		if (uuid_parse(layers.v[i], &ref.layer) == 0)
			r = chunk_set_add_layer(&k->named, k->c->st, &ref,
						!layers_has(&v->live,
							    &ref.layer));
	if (r == 0 && k->named.n_gaps > 0) {
		path_layer(&ref, "map", path);
		tell(k, CHECK_MAP, path, -EUCLEAN, false);
		return 0;
	}
	chunk_set_sort(&k->named);
	return r < 0 ? r : each_chunk_file(k->c->st, lineage, look_at_file, k);
}

/* What is marked, the sweep comes to. */
static int
look_at_layers(struct check *k, const struct verdict *v,
	       const struct uuid *lineage)
{
	struct store *st = k->c->st;
	char path[STORE_PATH_LEN];
	unsigned dead;
	bool removed;
	int r;

	path_lineage(lineage, PENDING, path);
	r = store_exists(st, path);
	if (r == 0)
		r = layers_count_dead(st, lineage, &v->live, &dead);
	else if (r == 1)
		return 0;
	if (r < 0 || dead == 0)
		return r;
	path_lineage(lineage, "layers", path);
	removed = k->o->repair && pending_mark(st, lineage) == 0;
	tell(k, CHECK_LAYER, path, 0, removed);
	return 0;
}

/* Nothing names it, and with its lock held nobody makes it or removes it.  What
 * was swept since the lineages were listed is no more, and of what was killed
 * at the end of that an empty folder stays. */
static int
look_at_dead(struct check *k, const struct uuid *lineage)
{
	CLEANUP(names_done) struct names n = { 0 };
	char path[STORE_PATH_LEN];
	int r;

	path_lineage(lineage, PENDING, path);
	r = store_exists(k->c->st, path);
	if (r != 0)
		return r < 0 ? r : 0;
	path_lineage(lineage, NULL, path);
	r = names_list(k->c->st, path, &n);
	if (r == 0 && n.n > 0)
		tell(k, CHECK_LINEAGE, path, 0, false);
	else if (r == 0 && k->o->repair)
		(void)!k->c->st->ops->remove(k->c->st, path);
	return r == -ENOENT ? 0 : r;
}

static int
look_at_lineage(struct check *k, const struct uuid *lineage)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(verdict_done) struct verdict v = { 0 };
	char path[STORE_PATH_LEN];
	int r;

	r = catalog_judge(k->c, lineage, &lock, &v);
	if (r == 0 && !v.alive)
		return look_at_dead(k, lineage);
	if (r == 0)
		r = look_at_layers(k, &v, lineage);
	if (r == 0)
		r = look_at_chunks(k, &v, lineage);
	if (r == -EBUSY) {
		path_lineage(lineage, NULL, path);
		tell(k, CHECK_BUSY, path, 0, false);
		r = 0;
	}
	return r == -EUCLEAN ? 0 : r;
}

int
catalog_check(struct catalog *c, const struct check_options *o)
{
	CLEANUP(names_done) struct names n = { 0 };
	struct check k = { .c = c, .o = o };
	struct uuid lineage;
	int r;

	r = look_at_names(&k);
	/* Who knows what one that cannot be read names. */
	if (r == 0 && k.bad == 0)
		r = names_list(c->st, "lineages", &n);
	for (size_t i = 0; r == 0 && i < n.n; i++)
		if (n.is_dir[i] && uuid_parse(n.v[i], &lineage) == 0)
			r = look_at_lineage(&k, &lineage);
	chunk_set_done(&k.named);
	return r;
}
