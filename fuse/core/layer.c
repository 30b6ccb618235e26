/*
 * layer.c - the map of a layer: which chunks it has.
 *
 * Eight root pages say which map pages there are, a map page names 128 chunks
 * by their salts.  Nothing is absent but what an authenticated page says is.
 * A root page that was needed stays in memory as long as the layer is open, map
 * pages are in the cache like any other.
 */
#include "kept_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <sealdisk/log.h>

#include "planted.h"

int
layer_map_key(const struct key *dk, const struct uuid *layer, struct key *ret)
{
	static const char label[] = "sealdisk/1 map";
	uint8_t info[sizeof(label) - 1 + 16];

	memcpy(info, label, sizeof(label) - 1);
	memcpy(info + sizeof(label) - 1, layer->bytes, 16);
	return hkdf_sha256(dk->bytes, KEY_LEN, NULL, 0, info, sizeof(info),
			   ret->bytes, KEY_LEN);
}

/* ---- making ---- */

static int
write_roots(struct store_file *f, const struct key *key)
{
	uint8_t raw[PAGE_LEN];
	union page_body body;
	int r = 0;

	memset(&body, 0, sizeof(body));
	for (unsigned i = 0; r == 0 && i < ROOTS; i++) {
		struct page_head h = { PAGE_ROOT, i, 1, 0, 0, 0 };

		r = page_encode(&h, &body, key->bytes, raw);
		for (unsigned copy = 0; r == 0 && copy < 2; copy++)
			r = f->st->ops->write(f, raw, PAGE_LEN,
					      page_offset(i, copy));
	}
	return r;
}

static int
create_map(struct store *st, const struct layer_ref *ref, const struct key *dk)
{
	CLEANUP(key_wipe) struct key key = { { 0 } };
	CLEANUP(store_closep) struct store_file *f = NULL;
	char path[STORE_PATH_LEN];
	int r;

	r = layer_map_key(dk, &ref->layer, &key);
	if (r < 0)
		return r;
	path_layer(ref, "map", path);
	r = st->ops->create(st, path, &f);
	if (r == 0)
		r = write_roots(f, &key);
	if (r == 0)
		r = st->ops->sync(f);
	return r;
}

/* The folders from the lineage's down to the layer's. */
static int
sync_folders(struct store *st, const struct layer_ref *ref)
{
	char path[STORE_PATH_LEN];
	int r = 0;

	path_layer(ref, "", path);
	for (char *slash; r == 0 && (slash = strrchr(path, '/'));) {
		*slash = '\0';
		r = st->ops->sync_dir(st, path);
	}
	return r;
}

int
layer_create(struct store *st, const struct layer_meta *m, const struct key *dk)
{
	struct layer_ref ref = { m->lineage, m->uuid };
	int r;

	r = create_map(st, &ref, dk);
	if (r == 0)
		r = layer_put_meta(st, m, dk);
	if (r == 0)
		r = sync_folders(st, &ref);
	return r;
}

/* ---- opening ---- */

/* layer.ini names its DK, and is authenticated by it. */
int
layer_load_meta(struct layer *l)
{
	struct store *st = l->disk->e->st;
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	path_layer(&l->ref, "layer.ini", path);
	r = st->ops->load(st, path, META_MAX, &text, &len);
	if (r < 0)
		goto out;
	r = layer_meta_peek(text, len, &l->meta);
	if (r == 0)
		l->dk = disk_dk(l->disk, &l->meta.key);
	if (r == 0 && !l->dk)
		r = -EBADMSG;
	if (r == 0)
		r = layer_meta_parse(text, len, l->dk, &l->meta);
	if (r == 0 && (!uuid_equal(&l->meta.uuid, &l->ref.layer) ||
		       !uuid_equal(&l->meta.lineage, &l->ref.lineage)))
		r = -EUCLEAN;
out:
	if (r == -EBADMSG || r == -EUCLEAN || r == -ENOENT)
		fault_log(l->disk, "%s: %s", path,
			  r == -ENOENT ? "is not there" : err_text(r));
	return r == -ENOENT ? -EUCLEAN : r;
}

static int
open_map(struct layer *l)
{
	struct store *st = l->disk->e->st;
	char path[STORE_PATH_LEN];
	int r;

	path_layer(&l->ref, "map", path);
	r = st->ops->open(st, path, true, &l->map);
	if (r == -ENOENT) {
		fault_log(l->disk, "%s: is not there", path);
		return -EUCLEAN;
	}
	if (r == 0 && l->disk->drop_cache)
		st->ops->drop(l->map);
	return r;
}

int
root_get(struct layer *l, uint64_t n, struct scratch *s, struct page **ret)
{
	struct page *p = atomic_load(&l->roots[n]);
	int r = 0;

	if (p) {
		*ret = p;
		return 0;
	}
	pthread_mutex_lock(&l->open_lock);
	p = atomic_load(&l->roots[n]);
	if (!p) {
		p = malloc(sizeof(*p));
		r = p ? 0 : -ENOMEM;
	}
	if (r == 0 && !atomic_load(&l->roots[n])) {
		page_init(p);
		p->disk = l->disk;
		p->layer = l;
		p->kind = PAGE_ROOT;
		p->index = n;
		p->refs = 1;
		r = page_load(p, s);
		if (r == 0)
			atomic_store(&l->roots[n], p);
		else
			free(p);
	}
	pthread_mutex_unlock(&l->open_lock);
	if (r == 0)
		*ret = p;
	return r;
}

int
layer_load_roots(struct layer *l, struct scratch *s)
{
	struct page *p;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < ROOTS; i++)
		r = root_get(l, i, s, &p);
	return r;
}

static int
open_layer(struct layer *l)
{
	const struct disk *d = l->disk;
	int r;

	r = layer_load_meta(l);
	if (r < 0)
		return r;
	l->parent_limit = l->meta.has_parent ? l->meta.parent_limit : 0;
	/* What is frozen was not mirrored any more until it was sealed. */
	atomic_store(&l->at_rest, l->meta.state == LAYER_SEALED ||
				      PLANTED(REST_UNPROVED) ||
				      (l->meta.state == LAYER_OPEN &&
				       !d->drop_cache && !d->gone_on));
	atomic_store(&l->frozen, l->meta.state != LAYER_OPEN);
	l->map_key = secret_alloc(sizeof(*l->map_key));
	if (!l->map_key)
		return -ENOMEM;
	r = layer_map_key(l->dk, &l->ref.layer, l->map_key);
	if (r == 0)
		r = open_map(l);
	if (r == 0 && l->meta.state == LAYER_SEALED)
		r = checkpoint_hold(l);
	return r;
}

/* Whether it is what whoever names it knew, or has been on its way since. */
static int
check_expected(const struct layer *l, const uint8_t *digest)
{
	char path[STORE_PATH_LEN];

	if (!digest || digest_is_none(digest) ||
	    ((l->meta.state == LAYER_SEALED ||
	      l->meta.state == LAYER_MERGING) &&
	     memcmp(l->meta.digest, digest, SHA256_LEN) == 0))
		return 0;
	path_layer(&l->ref, "layer.ini", path);
	fault_log(l->disk, "%s: the layer is an older version of itself", path);
	return -EBADMSG;
}

/* Its number, by which chain pages name it. */
static int
number_layer(struct layer *l)
{
	struct disk *d = l->disk;
	unsigned n = 1;
	int r = 0;

	pthread_mutex_lock(&d->layers_lock);
	if (!d->layers)
		d->layers = calloc(LAYERS_MAX, sizeof(*d->layers));
	/* That of one that was closed serves again. */
	while (d->layers && n <= d->n_layers && d->layers[n])
		n++;
	if (!d->layers)
		r = -ENOMEM;
	else if (n == LAYERS_MAX)
		r = -E2BIG;
	if (r == 0) {
		l->number = n;
		if (n > d->n_layers)
			d->n_layers = n;
		atomic_store(&d->layers[n], l);
	}
	pthread_mutex_unlock(&d->layers_lock);
	return r;
}

/* A parent is frozen. */
static int
open_as(struct disk *d, const struct layer_ref *ref, const uint8_t *digest,
	bool parent, struct layer **ret)
{
	struct layer *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->disk = d;
	l->ref = *ref;
	pthread_mutex_init(&l->open_lock, NULL);
	for (unsigned i = 0; i < 64; i++)
		pthread_mutex_init(&l->creating[i], NULL);
	r = open_layer(l);
	if (r == 0)
		r = check_expected(l, digest);
	if (r == 0 && parent && !layer_is_frozen(l)) {
		fault_log(d, "a parent layer is not frozen");
		r = -EUCLEAN;
	}
	if (r == 0)
		r = number_layer(l);
	if (r < 0)
		layer_close(l);
	else
		*ret = l;
	return r;
}

int
layer_open(struct disk *d, const struct layer_ref *ref, const uint8_t *digest,
	   struct layer **ret)
{
	return open_as(d, ref, digest, false, ret);
}

int
layer_open_parent(const struct layer *l, struct layer **ret)
{
	const struct layer_ref *parent = &l->meta.parent;
	/* Nobody who merges in another lineage can keep it right. */
	const uint8_t *digest = uuid_equal(&parent->lineage, &l->ref.lineage)
				    ? l->meta.parent_digest
				    : NULL;

	return open_as(l->disk, parent, digest, true, ret);
}

/* Those still to be mirrored are on the disk's list. */
static void
free_roots(struct layer *l)
{
	struct disk *d = l->disk;

	pthread_mutex_lock(&d->mutex);
	for (unsigned i = 0; i < ROOTS; i++)
		if (l->roots[i])
			link_remove(&l->roots[i]->quiet_link);
	pthread_mutex_unlock(&d->mutex);
	for (unsigned i = 0; i < ROOTS; i++)
		free(l->roots[i]);
}

void
layer_close(struct layer *l)
{
	if (!l)
		return;
	store_close(l->map);
	store_close(l->todo);
	secret_free(l->map_key, sizeof(*l->map_key));
	free_roots(l);
	checkpoint_end(l);
	pthread_mutex_destroy(&l->open_lock);
	free(l);
}

int
layer_open_todo(struct layer *l)
{
	struct store *st = l->disk->e->st;
	char path[STORE_PATH_LEN];
	int r;

	path_layer(&l->ref, "todo", path);
	r = st->ops->open(st, path, true, &l->todo);
	if (r == -ENOENT)
		r = st->ops->create(st, path, &l->todo);
	if (r == 0)
		r = st->ops->size(l->todo, &l->todo_len);
	if (r == 0 || err_is_shortage(r))
		return r;
	/* It is a hint: what it cannot say, `check` finds. */
	log_warn("%s: %s", path, err_text(r));
	store_close(TAKE(l->todo));
	l->todo_len = 0;
	return 0;
}
