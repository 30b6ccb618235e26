/*
 * seal_names.c - what says which digest a layer has (seal.c): the layer.ini of
 * its children, and the descriptors that name it; and before a sealed layer is
 * changed, that nothing says so any more.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "layer.h"
#include "merge_private.h"

/* How long names are waited for. */
#define NAMES_MS 20

/* Its disk is not attached here, and nobody else writes it. */
static int
rewrite_child(const struct sealing *s, const struct layer_ref *ref)
{
	struct store *st = s->e->st;
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	struct layer_meta m;
	size_t len;
	int r;

	path_layer(ref, "layer.ini", path);
	r = st->ops->load(st, path, META_MAX, &text, &len);
	if (r == 0)
		r = layer_meta_parse(text, len, s->dk, &m);
	if (r == 0 && !uuid_equal(&m.uuid, &ref->layer))
		r = -EUCLEAN;
	if (r < 0)
		return r;
	memcpy(m.parent_digest, s->digest, sizeof(m.parent_digest));
	return layer_put_meta(st, &m, s->dk);
}

/* The top layer of a disk that is attached here: by what is in memory. */
static int
change_top(const struct sealing *s, struct disk *d, const struct uuid *layer)
{
	struct layer_meta m;
	struct layer *l;
	int r = -EAGAIN; /* it has another one by now */

	pthread_rwlock_wrlock(&d->barrier);
	l = d->top;
	m = l->meta;
	memcpy(m.parent_digest, s->digest, sizeof(m.parent_digest));
	if (uuid_equal(&l->ref.layer, layer))
		r = layer_save_meta_first(l, &m);
	pthread_rwlock_unlock(&d->barrier);
	if (r == 0)
		layer_save_spare(l);
	return r;
}

const struct seen *
seal_writer_of(const struct census *c, const struct uuid *layer)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->seen[i].type == DESC_DISK &&
		    uuid_equal(&c->seen[i].layer.layer, layer))
			return &c->seen[i];
	return NULL;
}

static int
put_child(const struct sealing *s, const struct layer_meta *child)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	const struct seen *w = seal_writer_of(&s->v->census, &child->uuid);
	struct layer_ref ref = { child->lineage, child->uuid };
	struct disk *d = w ? engine_hold(s->e, &w->uuid) : NULL;
	int r = 0;

	if (d) {
		r = change_top(s, d, &child->uuid);
		engine_release(s->e, d);
		return r;
	}
	if (w && !s->locked)
		r = catalog_lock_disk(s->e->cat, &w->uuid, "", &lock);
	return r < 0 ? r : rewrite_child(s, &ref);
}

static bool
is_child(const struct layer_meta *m, const struct layer_meta *of)
{
	return m->has_parent && uuid_equal(&m->parent.layer, &of->uuid) &&
	       uuid_equal(&m->lineage, &of->lineage) &&
	       uuid_equal(&m->key, &of->key);
}

static bool
is_pin(const struct seen *s, const struct layer_meta *of)
{
	return s->type != DESC_DISK && uuid_equal(&s->layer.layer, &of->uuid);
}

int
seal_put_children(const struct sealing *s)
{
	const struct layer_set *live = &s->v->live;
	int r = 0, error = 0;

	for (size_t i = 0; i < live->n; i++) {
		const struct layer_meta *m = &live->v[i];

		if (!is_child(m, s->l) ||
		    memcmp(m->parent_digest, s->digest, SHA256_LEN) == 0)
			continue;
		r = put_child(s, m);
		error = r < 0 ? r : error;
	}
	return error;
}

static int
put_pin(const struct sealing *s, const struct seen *pin, struct descriptor *d)
{
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	int r;

	r = catalog_load(s->e->cat, pin->type, pin->name, d, &text, &len);
	if (r == 0 && !uuid_equal(&d->uuid, &pin->uuid))
		r = -EAGAIN;
	if (r == 0)
		r = descriptor_verify(text, len, &d->uuid, s->dk);
	if (r < 0)
		return r;
	memcpy(d->digest, s->digest, sizeof(d->digest));
	return catalog_save(s->e->cat, d, s->dk);
}

/* Who has the names may wait for a disk that we have: they are not waited for
 * long. */
static int
take_names(struct catalog *c, struct store_lock **ret)
{
	int r = catalog_try_names(c, ret);

	for (unsigned i = 0; r == -EBUSY && i < NAMES_MS; i++) {
		usleep(1000);
		r = catalog_try_names(c, ret);
	}
	return r;
}

int
seal_put_pins(const struct sealing *s)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	const struct census *c = &s->v->census;
	int r = d ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < c->n; i++) {
		if (!is_pin(&c->seen[i], s->l) ||
		    memcmp(c->seen[i].digest, s->digest, SHA256_LEN) == 0)
			continue;
		if (!names)
			r = take_names(s->e->cat, &names);
		if (r == 0)
			r = put_pin(s, &c->seen[i], d);
	}
	return r;
}

bool
seal_is_stale(const struct verdict *v, const struct layer_meta *l)
{
	for (size_t i = 0; i < v->live.n; i++)
		if (is_child(&v->live.v[i], l) &&
		    memcmp(v->live.v[i].parent_digest, l->digest, SHA256_LEN))
			return true;
	for (size_t i = 0; i < v->census.n; i++)
		if (is_pin(&v->census.seen[i], l) &&
		    memcmp(v->census.seen[i].digest, l->digest, SHA256_LEN))
			return true;
	return false;
}

/* ---- before a sealed layer is changed ---- */

/* Nobody relies any more on what ${d} knows of the layer.  Nobody reads
 * meanwhile: a layer that was being opened is, by what was there
 * before, and the next one by what is there now. */
static void
forget(struct disk *d, const struct uuid *layer)
{
	pthread_rwlock_wrlock(&d->barrier);
	pthread_mutex_lock(&d->layers_lock);
	for (unsigned i = 1; d->layers && i <= d->n_layers; i++) {
		struct layer *l = d->layers[i];

		if (!l)
			continue;
		if (uuid_equal(&l->ref.layer, layer)) {
			atomic_store(&l->held, false);
			atomic_store(&l->at_rest, false);
			l->tracked = false;
		}
		if (l->meta.has_parent &&
		    uuid_equal(&l->meta.parent.layer, layer))
			memset(l->meta.parent_digest, 0,
			       sizeof(l->meta.parent_digest));
	}
	pthread_mutex_unlock(&d->layers_lock);
	pthread_rwlock_unlock(&d->barrier);
}

static int
say_unsealed(struct sealing *s, const struct uuid *lineage)
{
	int r;

	memset(s->digest, 0, sizeof(s->digest));
	r = lineage_mark(s->e->st, lineage, UNSEALED);
	if (r == 0)
		r = seal_put_children(s);
	return r < 0 ? r : seal_put_pins(s);
}

int
unseal(struct sealing *s, struct disk *const *held, size_t n)
{
	struct layer_meta m;
	int r;

	/* One that is written to may get a new size. */
	pthread_rwlock_rdlock(&s->d->barrier);
	m = s->d->top->meta;
	pthread_rwlock_unlock(&s->d->barrier);
	if (m.state == LAYER_OPEN)
		return 0;
	/* A seal that is under way begins anew: chunks come in behind it. */
	if (uuid_equal(&s->e->seal_layer, &m.uuid))
		memset(&s->e->seal_layer, 0, sizeof(s->e->seal_layer));
	for (size_t i = 0; i < n; i++)
		forget(held[i], &m.uuid);
	if (m.state != LAYER_SEALED)
		return 0;
	r = say_unsealed(s, &m.lineage);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		forget(held[i], &m.uuid);
	/* Its digest stays: that says that its chunks have theirs, but for
	 * those that get zeros. */
	m.state = LAYER_FROZEN;
	r = layer_save_meta(s->d->top, &m);
	/* Who has opened it since then. */
	for (size_t i = 0; i < n; i++)
		forget(held[i], &m.uuid);
	return r;
}

/* Those of its lineage that can be read. */
static int
find_children(struct store *st, const struct uuid *lineage,
	      struct layer_set *ret)
{
	CLEANUP(names_done) struct names n = { 0 };
	struct layer_ref ref = { .lineage = *lineage };
	char path[STORE_PATH_LEN];
	struct layer_meta m;
	int r;

	path_lineage(lineage, "layers", path);
	r = names_list(st, path, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		if (uuid_parse(n.v[i], &ref.layer) < 0)
			continue;
		r = layer_peek(st, &ref, &m);
		if (r == 0)
			r = layers_put(ret, &m);
		else if (!err_is_shortage(r))
			r = 0;
	}
	return r;
}

/* Its chunks have no digests any more, either. */
int
unseal_lost(struct engine *e, const struct layer_meta *l, const struct key *dk)
{
	CLEANUP(verdict_done) struct verdict v = { 0 };
	struct sealing s = {
		.e = e, .v = &v, .l = l, .dk = dk, .locked = true
	};
	const struct layer_ref ref = { l->lineage, l->uuid };
	struct layer_meta m = *l;
	char path[STORE_PATH_LEN];
	int r;

	/* What cannot be read is not told: it knows no digest when it has been
	 * made anew. */
	r = catalog_census(e->cat, &v.census);
	if (r == 0)
		r = find_children(e->st, &l->lineage, &v.live);
	if (r == 0)
		r = say_unsealed(&s, &l->lineage);
	m.state = LAYER_FROZEN;
	memset(m.digest, 0, sizeof(m.digest));
	if (r == 0)
		r = layer_put_meta(e->st, &m, dk);
	path_layer(&ref, "digests", path);
	if (r == 0)
		r = e->st->ops->remove(e->st, path);
	return r == -ENOENT ? 0 : r;
}
