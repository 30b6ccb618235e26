/*
 * layer_ini.c - a layer.ini is written (layer.h).
 *
 * What its parent is, which no chunk and no map says, stands there alone: who
 * loses that has lost the layer, and the disk with it.  So layer.spare beside
 * it has the same text under the same MAC.  As of a descriptor
 * (catalog_spare.c) it is no second truth: nobody reads it but who makes a
 * layer.ini anew (repair.c), and who looks whether it is there.
 *
 * The spare is written first.  So a crash between the two leaves in it what was
 * being done, and the other one is as good as done when that is taken for it.
 * But what is done under a disk's barrier, with all writers waiting, is
 * followed by its spare afterwards: until then that says what was before, and
 * who makes a layer.ini of it must not trust it in what that changes, which is
 * whether it is frozen, and the parent's digest.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#define SPARE "layer.spare"

static int
put_spare(struct store *st, const struct layer_ref *ref, const char *text)
{
	char path[STORE_PATH_LEN];
	int r;

	path_layer(ref, SPARE, path);
	r = store_put(st, path, text, strlen(text));
	if (r < 0)
		log_warn("%s: %s", path, err_text(r));
	return r;
}

/* One that cannot be written must not say what was before. */
static int
drop_spare(struct store *st, const struct layer_ref *ref)
{
	char path[STORE_PATH_LEN];
	int r;

	path_layer(ref, SPARE, path);
	r = st->ops->remove(st, path);
	/* A folder that somebody has put there says nothing, either. */
	return r == -ENOENT || r == -ENOTEMPTY ? 0 : r;
}

static int
put(struct store *st, const struct layer_ref *ref, const char *text)
{
	char path[STORE_PATH_LEN];

	path_layer(ref, "layer.ini", path);
	return store_put(st, path, text, strlen(text));
}

int
layer_put_text(struct store *st, const struct layer_ref *ref, const char *text)
{
	bool has_spare = put_spare(st, ref, text) == 0;
	int r = put(st, ref, text);

	return r == 0 && !has_spare ? drop_spare(st, ref) : r;
}

int
layer_put_meta(struct store *st, const struct layer_meta *m,
	       const struct key *dk)
{
	const struct layer_ref ref = { m->lineage, m->uuid };
	CLEANUP(free_memp) char *text = NULL;
	int r = layer_meta_format(m, dk, &text);

	return r < 0 ? r : layer_put_text(st, &ref, text);
}

int
layer_load_spare(struct store *st, const struct layer_ref *ref, char **ret,
		 size_t *ret_len)
{
	char path[STORE_PATH_LEN];

	path_layer(ref, SPARE, path);
	return st->ops->load(st, path, META_MAX, ret, ret_len);
}

int
layer_save_meta(struct layer *l, const struct layer_meta *m)
{
	int r = layer_put_meta(l->disk->e->st, m, l->dk);

	if (r == 0)
		l->meta = *m;
	return r;
}

int
layer_save_meta_first(struct layer *l, const struct layer_meta *m)
{
	CLEANUP(free_memp) char *text = NULL;
	int r = layer_meta_format(m, l->dk, &text);

	if (r == 0)
		r = put(l->disk->e->st, &l->ref, text);
	if (r == 0)
		l->meta = *m;
	return r;
}

/* Two may do so at a time. */
void
layer_save_spare(struct layer *l)
{
	struct store *st = l->disk->e->st;
	CLEANUP(free_memp) char *text = NULL, *there = NULL;
	size_t len;

	pthread_rwlock_rdlock(&l->disk->barrier);
	pthread_mutex_lock(&l->open_lock);
	if (layer_meta_format(&l->meta, l->dk, &text) == 0 &&
	    (layer_load_spare(st, &l->ref, &there, &len) < 0 ||
	     len != strlen(text) || memcmp(there, text, len) != 0))
		if (put_spare(st, &l->ref, text) < 0)
			(void)!drop_spare(st, &l->ref);
	pthread_mutex_unlock(&l->open_lock);
	pthread_rwlock_unlock(&l->disk->barrier);
}

/* What stands there now, of both. */
static bool
load_both(const struct layer *l, char **ret_ini, char **ret_spare)
{
	struct store *st = l->disk->e->st;
	char path[STORE_PATH_LEN];
	size_t len = 0, spare_len = 0;

	path_layer(&l->ref, "layer.ini", path);
	return st->ops->load(st, path, META_MAX, ret_ini, &len) == 0 &&
	       layer_load_spare(st, &l->ref, ret_spare, &spare_len) == 0 &&
	       len == spare_len && memcmp(*ret_ini, *ret_spare, len) == 0;
}

bool
layer_spare_is_same(const struct layer *l)
{
	CLEANUP(free_memp) char *ini = NULL, *spare = NULL;

	return load_both(l, &ini, &spare);
}

int
layer_renew_spare(const struct layer *l)
{
	CLEANUP(free_memp) char *ini = NULL, *spare = NULL;
	struct layer_meta m;
	int r;

	if (load_both(l, &ini, &spare))
		return 0;
	r = ini ? layer_meta_parse(ini, strlen(ini), l->dk, &m) : -EUCLEAN;
	return r < 0 ? r : put_spare(l->disk->e->st, &l->ref, ini);
}
