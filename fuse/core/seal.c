/*
 * seal.c - a frozen layer gets its digest (format.md, "Digests").
 *
 * What is frozen does not change, so once all its pages are at rest and all its
 * chunks have their digests, one number stands for all of it: in its layer.ini,
 * in the descriptors that name it, and in the layer.ini of its children.  From
 * then on neither it nor a part of it can be an older one unnoticed.
 *
 * 1. each chunk: settled, mirrored, its digest in the map; durable
 * 2. `digests`, and then layer.ini: sealed, and the digest
 * 3. the children's parent_digest; the snapshots' and images' digest
 *
 * Who finds a digest in 3 knows that 2 is durable.  The other way round, before
 * a sealed layer is changed, which only a merge does, 3 goes, then 2 (unseal).
 * So whatever a crash leaves is right, and `unsealed` in the lineage's folder
 * says that there is something to do.  A layer that was sealed once and is not
 * any more keeps its digest in layer.ini, where nobody holds it against
 * anything: it says that the digests in its map are right, but for zeros.  So
 * what is merged into it does not make right a chunk that has been put back.
 *
 * Step 1 takes a piece of time, as merging does, under the lineage's lock.
 * Where the disk that froze the layer is attached here, it knows which chunks
 * have changed; else all of them are looked at.
 *
 * A child in another lineage, or on a disk that another process has attached,
 * is left as it is.
 */
#include "engine_private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "merge_private.h"

/* How long a piece takes, about; and how long names are waited for. */
#define PIECE_MS 20

/* ---- what says which digest a layer has ---- */

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

/* The disk that writes a layer; NULL: nobody does. */
static const struct seen *
writer_of(const struct census *c, const struct uuid *layer)
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
	const struct seen *w = writer_of(&s->v->census, &child->uuid);
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

static int
put_children(const struct sealing *s)
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

	for (unsigned i = 0; r == -EBUSY && i < PIECE_MS; i++) {
		usleep(1000);
		r = catalog_try_names(c, ret);
	}
	return r;
}

static int
put_pins(const struct sealing *s)
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
		r = put_children(s);
	return r < 0 ? r : put_pins(s);
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

/* Those that write what lies above, but ${own}. */
static int
lock_writers(struct catalog *cat, const struct census *c,
	     const struct layer_set *live, const struct layer_meta *l,
	     const struct descriptor *own, struct lineage_locks *ret)
{
	int r = 0;

	ret->v = calloc(c->n + 1, sizeof(struct store_lock *));
	if (!ret->v)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < c->n; i++) {
		const struct seen *s = &c->seen[i];

		if (s->type != DESC_DISK || uuid_equal(&s->uuid, &own->uuid) ||
		    !layers_reach(live, &s->layer, &l->uuid))
			continue;
		r = catalog_lock_disk(cat, &s->uuid, "", &ret->v[ret->n]);
		ret->n += r == 0;
	}
	return r;
}

/* Its chunks have no digests any more, either. */
int
unseal_lost(struct engine *e, const struct layer_meta *l, const struct key *dk,
	    const struct descriptor *own)
{
	CLEANUP(lineages_unlock) struct lineage_locks locks = { .n = 0 };
	CLEANUP(verdict_done) struct verdict v = { 0 };
	struct sealing s = {
		.e = e, .v = &v, .l = l, .dk = dk, .locked = true
	};
	const struct layer_ref ref = { l->lineage, l->uuid };
	struct layer_meta m = *l;
	char path[STORE_PATH_LEN];
	int r;

	r = catalog_decide(e->cat, &l->lineage, &v);
	if (r == 0)
		r = lock_writers(e->cat, &v.census, &v.live, l, own, &locks);
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

/* ---- sealing ---- */

static void
sealing_done(struct sealing *s)
{
	if (s->d)
		disk_abandon(s->d);
	if (s->held)
		engine_release(s->e, s->held);
}

/* An attached disk that has the layer in its chain and knows what of it has
 * changed. */
static void
find_known(struct sealing *s)
{
	const struct census *c = &s->v->census;

	for (size_t i = 0; i < c->n && !s->known; i++) {
		struct disk *d = NULL;

		if (c->seen[i].type == DESC_DISK &&
		    layers_reach(&s->v->live, &c->seen[i].layer, &s->l->uuid))
			d = engine_hold(s->e, &c->seen[i].uuid);
		if (!d)
			continue;
		s->known = checkpoint_known(d, &s->l->uuid);
		if (s->known)
			s->held = d;
		else
			engine_release(s->e, d);
	}
}

static int
open_sealing(struct sealing *s)
{
	const struct layer_ref ref = { s->l->lineage, s->l->uuid };
	const struct census *c = &s->v->census;
	size_t i = 0;

	while (i < c->n &&
	       !layers_reach(&s->v->live, &c->seen[i].layer, &s->l->uuid))
		i++;
	if (i == c->n)
		return -ENOENT;
	return disk_open_layer(s->e, &c->seen[i], &ref, &s->d);
}

/* Where it stopped; from the start, where that is not known: then somebody may
 * have been killed at it, and what he wrote is not durable perhaps. */
static int
begin(struct sealing *s)
{
	struct engine *e = s->e;
	int r;

	find_known(s);
	if (uuid_equal(&e->seal_layer, &s->l->uuid) &&
	    e->seal_known == (s->known != NULL))
		return 0;
	r = e->st->ops->sync_all(e->st);
	if (r < 0) {
		engine_fail(e, r);
		return r;
	}
	e->seal_layer = s->l->uuid;
	e->seal_known = s->known != NULL;
	e->seal_at = 0;
	return 0;
}

/* 1: there is more. */
static int
seal_chunks(struct sealing *s)
{
	struct layer *l = s->d->top;
	int64_t until = now_ms() + PIECE_MS;
	uint64_t *at = &s->e->seal_at;
	bool lacking = !digest_is_none(l->meta.digest);
	int r = 0;

	while (r == 0) {
		r = checkpoint_next(l, s->known, s->d->mover, at);
		if (r < 0 || *at == UINT64_MAX)
			break;
		r = checkpoint_chunk_digest(l, s->d->mover, (*at)++, lacking);
		if (r == 0 && now_ms() >= until)
			r = 1;
	}
	return r;
}

/* All that is in memory, in both copies. */
static int
settle_all(struct disk *d)
{
	int r = commit_wait(d);

	if (r < 0)
		return r;
	quiet_round(d, true);
	if (!link_empty(&d->unsynced))
		r = commit_for_room(d);
	if (r == 0)
		r = d->top->map->st->ops->sync(d->top->map);
	return r == 0 && !link_empty(&d->quiet) ? -EIO : r;
}

static int
say_sealed(struct sealing *s)
{
	struct layer *l = s->d->top;
	struct layer_meta m = l->meta;
	int r;

	r = checkpoint_save(l, s->d->mover, 0, s->digest);
	if (r < 0)
		return r;
	m.state = LAYER_SEALED;
	memcpy(m.digest, s->digest, sizeof(m.digest));
	r = layer_save_meta(l, &m);
	if (r < 0)
		return r;
	if (s->known)
		atomic_store(&s->known->at_rest, true);
	log_debug("a layer was sealed");
	return 0;
}

/* 1: there is more. */
static int
seal_content(struct sealing *s)
{
	int r, e;

	r = begin(s);
	if (r < 0)
		return r;
	r = seal_chunks(s);
	e = settle_all(s->d);
	if (r == 0 && e == 0)
		e = say_sealed(s);
	if (r > 0 && e == 0)
		return r;
	/* Some chunks were taken from what is known, and have no digest. */
	if (s->known && (r < 0 || e < 0))
		s->known->tracked = false;
	memset(&s->e->seal_layer, 0, sizeof(s->e->seal_layer));
	return e < 0 ? e : r;
}

static int
seal_one(struct engine *e, const struct verdict *v, const struct layer_meta *l)
{
	CLEANUP(sealing_done) struct sealing s = { .e = e, .v = v, .l = l };
	int r, error;

	r = open_sealing(&s);
	if (r == 0 && s.d->top->meta.state == LAYER_FROZEN)
		r = seal_content(&s);
	if (r != 0)
		return r;
	s.dk = s.d->top->dk;
	memcpy(s.digest, s.d->top->meta.digest, sizeof(s.digest));
	error = put_children(&s);
	r = put_pins(&s);
	return r < 0 ? r : error;
}

/* ---- which ---- */

static bool
is_stale(const struct verdict *v, const struct layer_meta *l)
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

/* One that a disk has on top, though it is frozen, is that disk's. */
static bool
is_wanted(const struct verdict *v, const struct layer_meta *l)
{
	return (l->state == LAYER_FROZEN && !writer_of(&v->census, &l->uuid)) ||
	       (l->state == LAYER_SEALED && is_stale(v, l));
}

/* Not in this sweep: see struct engine. */
static bool
is_left(const struct engine *e, const struct layer_meta *l)
{
	for (unsigned i = 0; i < e->n_unmerged; i++)
		if (uuid_equal(&e->unmerged[i], &l->uuid))
			return true;
	return e->n_unmerged == UNMERGED_MAX;
}

/*
 * A layer that was being made when the process died is named by nothing, and
 * nothing but this mark tells of it: it becomes the sweep's.  1: there is one.
 * What is seen of the descriptors must be what will be found after a power cut,
 * before anything goes for it.  Where the sweep knows already, it has failed.
 */
static int
find_dead(struct engine *e, const struct uuid *lineage, const struct verdict *v)
{
	char pending[STORE_PATH_LEN];
	int r = layers_any_dead(e->st, lineage, &v->live);

	if (r <= 0)
		return r;
	path_lineage(lineage, PENDING, pending);
	r = store_exists(e->st, pending);
	if (r != 0)
		return r < 0 ? r : 0;
	r = e->st->ops->sync_all(e->st);
	if (r < 0)
		engine_fail(e, r);
	if (r == 0)
		r = pending_mark(e->st, lineage);
	return r < 0 ? r : 1;
}

/* 1: there is more; 0: not now, at least. */
static int
seal_lineage(struct engine *e, const struct uuid *lineage)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(verdict_done) struct verdict v = { 0 };
	bool left = false;
	int r, error = 0;

	r = catalog_judge(e->cat, lineage, &lock, &v);
	if (r < 0 || !v.alive)
		return r == -EBUSY || r == -EUCLEAN ? 0 : r;
	for (size_t i = 0; i < v.live.n; i++) {
		const struct layer_meta *l = &v.live.v[i];

		if (!uuid_equal(&l->lineage, lineage) || !is_wanted(&v, l))
			continue;
		if (is_left(e, l)) {
			left = true;
			continue;
		}
		r = seal_one(e, &v, l);
		if (r >= 0)
			return 1;
		/* Damaged, or in use; the others all the same. */
		error = error ?: r;
	}
	if (error == 0)
		error = find_dead(e, lineage, &v);
	if (error >= 0 && !left)
		lineage_unmark(e->st, lineage, UNSEALED);
	return error == -EBUSY || error == -EAGAIN ? 0 : error;
}

int
engine_seal(struct engine *e, const atomic_bool *stop)
{
	CLEANUP(free_memp) struct uuid *marked = NULL;
	size_t n = 0;
	int r, error;

	r = error = catalog_unsealed(e->cat, &marked, &n);
	for (size_t i = 0; r <= 0 && i < n; i++) {
		if (merging_lock(e, stop) < 0)
			return error;
		r = seal_lineage(e, &marked[i]);
		merging_unlock(e);
		if (r < 0 && error == 0)
			error = r;
	}
	/* Others get at what was locked. */
	if (r > 0 && !e->manual)
		usleep(PIECE_MS * 1000);
	return r > 0 ? r : error;
}
