/*
 * stream_plan.c - what the store has of a stream already, and what it will be
 * told of a receive.
 *
 * A layer that a descriptor here reaches is whole, and is not stored again: a
 * layer's uuid is drawn once and its layer.ini authentic under the same DK, so
 * that it is the same layer.  It may have been sealed meanwhile, here or there;
 * but where one side has merged another into it, the two are not the same any
 * more, and the stream is refused.
 *
 * A layer that is here and that nobody reaches is one of a receive that was
 * cut, if the mark of this one says so.  Else it is what the sweep has not come
 * to, and it must go first.
 */
#include "stream_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

/* ---- layers that are here ---- */

static int
load_here(struct receiver *r, const struct layer_ref *ref,
	  struct layer_meta *ret)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	const struct key *dk;
	size_t len;
	int e;

	path_layer(ref, "layer.ini", path);
	e = r->st->ops->load(r->st, path, META_MAX, &text, &len);
	if (e == 0)
		e = layer_meta_peek(text, len, ret);
	if (e < 0)
		return e;
	dk = receive_dk(r, &ret->key);
	if (!dk || !uuid_equal(&ret->uuid, &ref->layer) ||
	    !uuid_equal(&ret->lineage, &ref->lineage))
		return -EBADMSG;
	return layer_meta_parse(text, len, dk, ret);
}

static bool
is_same(const struct layer_meta *a, const struct layer_meta *b)
{
	return a->state != LAYER_OPEN && uuid_equal(&a->key, &b->key) &&
	       a->has_parent == b->has_parent &&
	       (!a->has_parent || ref_equal(&a->parent, &b->parent)) &&
	       a->parent_limit == b->parent_limit && a->size == b->size &&
	       a->created == b->created;
}

static int
check_there(struct receiver *r, struct plan_layer *l)
{
	struct layer_meta m;
	int e;

	e = load_here(r, &l->ref, &m);
	if (e < 0)
		return receive_why(r, e,
				   "a layer that is here does not verify");
	if (!is_same(&m, &l->meta))
		return receive_why(r, -EEXIST,
				   "a layer of it is here, and is not the same "
				   "(one of the two has been merged)");
	l->there = true;
	r->ret->there++;
	return 0;
}

static int
check_base(struct receiver *r, const struct layer_set *live)
{
	struct layer_meta m;
	int e = -ENOENT;

	if (!r->head.has_base)
		return 0;
	if (layers_has(live, &r->head.base.layer))
		e = load_here(r, &r->head.base, &m);
	if (e == -ENOENT)
		return receive_why(r, e,
				   "what it goes on from is not in this store");
	if (e < 0 || m.state == LAYER_OPEN)
		return receive_why(r, e < 0 ? e : -EBADMSG,
				   "what it goes on from does not verify");
	return 0;
}

static int
check_layers(struct receiver *r)
{
	CLEANUP(layers_done) struct layer_set live = { 0 };
	CLEANUP(census_done) struct census s = { 0 };
	int e;

	e = census_take(r->c, &s);
	if (e == 0)
		e = layers_reached(r->st, &s, &live);
	if (e == 0)
		e = check_base(r, &live);
	r->ret->there = 0;
	for (size_t i = 0; e == 0 && i < r->plan.n; i++) {
		r->plan.v[i].there = false;
		if (layers_has(&live, &r->plan.v[i].ref.layer))
			e = check_there(r, &r->plan.v[i]);
	}
	return e;
}

/* ---- the mark ---- */

static int
new_mark(struct receiver *r, struct receiving *m)
{
	const char *at = strchr(r->to->name, '@');

	m->type = r->to->type;
	(void)snprintf(m->of, sizeof(m->of), "%.*s",
		       at ? (int)(at - r->to->name) : 0, r->to->name);
	(void)snprintf(m->name, sizeof(m->name), "%s",
		       at ? at + 1 : r->to->name);
	m->snapshot = r->d.uuid;
	m->v = calloc(r->plan.n, sizeof(*m->v));
	if (!m->v)
		return -ENOMEM;
	for (size_t i = 0; i < r->plan.n; i++)
		if (!r->plan.v[i].there)
			m->v[m->n++] = r->plan.v[i].ref;
	return 0;
}

static bool
marks_agree(const struct receiving *a, const struct receiving *b)
{
	return a->n == b->n && a->type == b->type &&
	       strcmp(a->of, b->of) == 0 && strcmp(a->name, b->name) == 0 &&
	       memcmp(a->v, b->v, a->n * sizeof(*a->v)) == 0;
}

/* A receive that was cut, under this name or of these layers? */
static int
find_mark(struct receiver *r, struct receiving *m)
{
	CLEANUP(receiving_done) struct receiving old = { .n = 0 };
	bool clash;
	int e;

	e = receiving_find(r->c, r->to, &old);
	if (e == 0 && !marks_agree(&old, m))
		return receive_why(r, -EBUSY,
				   "another stream was being received under "
				   "this name (`receive --abort` gives it up)");
	if (e == 0) {
		m->at = old.at;
		m->chunk = old.chunk;
		r->marked = r->gained = true;
	}
	if (e < 0 && e != -ENOENT)
		return e;
	e = receiving_clashes(r->st, m, &clash);
	if (e == 0 && !r->marked) {
		receiving_done(&old);
		e = receiving_load(r->st, &m->v[m->n - 1].layer, &old);
		clash = clash || e == 0;
		e = e == -ENOENT ? 0 : e;
	}
	if (e == 0 && clash)
		e = receive_why(r, -EBUSY,
				"it was being received under another name "
				"(`receive --abort` gives that up)");
	return e;
}

/* -EAGAIN: what nobody reaches must be swept first. */
static int
find_dead(struct receiver *r)
{
	static const char *const files[] = { "map", "layer.ini" };
	char path[STORE_PATH_LEN];
	int e = 0;

	for (size_t i = 0; e == 0 && i < r->plan.n; i++)
		for (size_t f = 0; e == 0 && !r->plan.v[i].there && f < 2;
		     f++) {
			path_layer(&r->plan.v[i].ref, files[f], path);
			e = store_exists(r->st, path);
		}
	return e > 0 ? -EAGAIN : e;
}

static int
mark_pending(struct receiver *r)
{
	char path[STORE_PATH_LEN];
	int e = 0;

	r->n_pending = 0;
	for (size_t i = 0; e == 0 && i < r->mark.n; i++) {
		const struct uuid *l = &r->mark.v[i].lineage;
		size_t n = r->n_pending;

		if (n > 0 && uuid_equal(&r->pending[n - 1].lineage, l))
			continue;
		if (n == LINEAGES_MAX)
			return -E2BIG;
		path_lineage(l, PENDING, path);
		e = store_exists(r->st, path);
		if (e < 0)
			return e;
		r->pending[n].lineage = *l;
		r->pending[n].was = e > 0;
		e = pending_mark(r->st, l);
		r->n_pending++;
	}
	return e;
}

/* Where in the plan the mark is. */
static void
take_position(struct receiver *r)
{
	r->safe_layer = r->plan.n;
	r->safe_chunk = 0;
	if (r->mark.n > 0) {
		r->safe_layer =
		    plan_find(&r->plan, &r->mark.v[r->mark.at].layer);
		r->safe_chunk = r->mark.chunk;
	}
	r->at_layer = r->safe_layer;
	r->at_chunk = r->safe_chunk;
}

/* Does the stream begin where it is needed, or before? */
static int
check_position(struct receiver *r)
{
	for (size_t i = 0; i <= r->head.at_layer; i++) {
		uint64_t has = i < r->safe_layer    ? CHUNKS_MAX
			       : i == r->safe_layer ? r->safe_chunk
						    : 0;
		uint64_t left_out = i < r->head.at_layer ? CHUNKS_MAX
							 : r->head.at_chunk;

		if (!r->plan.v[i].there && left_out > has)
			return receive_why(r, -ESTALE,
					   "it begins after what is here");
	}
	return 0;
}

static int
put_mark(struct receiver *r)
{
	int e;

	e = new_mark(r, &r->mark);
	if (e < 0 || r->mark.n == 0) {
		take_position(r);
		return e < 0 ? e : check_position(r);
	}
	e = find_mark(r, &r->mark);
	if (e == 0 && !r->marked)
		e = find_dead(r);
	if (e == 0) {
		take_position(r);
		e = check_position(r);
	}
	if (e == 0)
		e = mark_pending(r);
	if (e == 0) {
		e = receiving_save(r->st, &r->mark);
		r->marked = true; /* also where that failed, perhaps */
	}
	return e;
}

/* ---- all of it ---- */

static int
check_name(struct receiver *r)
{
	char path[STORE_PATH_LEN];
	int e;

	e = catalog_path(r->to->type, r->to->name, path);
	if (e == 0)
		e = store_exists(r->st, path);
	return e > 0 ? receive_why(r, -EEXIST, "the name is taken") : e;
}

static int
look(struct receiver *r)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	int e;

	e = catalog_lock_names(r->c, &names);
	if (e == 0)
		e = check_name(r);
	if (e == 0)
		e = check_layers(r);
	return e == 0 ? put_mark(r) : e;
}

static int
sweep(struct receiver *r, const struct uuid *v, size_t n)
{
	bool more = true;
	int e = 0;

	for (size_t i = 0; e == 0 && i < n; i++)
		e = pending_mark(r->st, &v[i]);
	while (e == 0 && more)
		e = catalog_sweep(r->c, 1000, &more);
	return e;
}

/* Those in which there are layers of it. */
static size_t
lineages_of(const struct receiver *r, struct uuid v[static LINEAGES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < r->plan.n; i++)
		if (n == 0 ||
		    (n < LINEAGES_MAX &&
		     !uuid_equal(&v[n - 1], &r->plan.v[i].ref.lineage)))
			v[n++] = r->plan.v[i].ref.lineage;
	return n;
}

int
receive_prepare(struct receiver *r)
{
	struct uuid all[LINEAGES_MAX], v[LINEAGES_MAX];
	size_t n_all = descriptor_lineages(&r->d, all);
	size_t n = lineages_of(r, v);
	bool swept = false;
	int e;

	e = lineages_lock(r->c, all, n_all, true, &r->own);
	if (e == -EBUSY)
		return receive_why(r, e,
				   "another receive of this lineage is under "
				   "way");
	while (e == 0) {
		e = lineages_lock(r->c, all, n_all, false, &r->shared);
		if (e == 0)
			e = look(r);
		if (e != -EAGAIN || swept)
			break;
		lineages_unlock(&r->shared);
		receiving_done(&r->mark);
		e = sweep(r, v, n);
		swept = true;
	}
	if (e == -EAGAIN)
		e = receive_why(r, -EBUSY,
				"layers of it are just being removed here");
	return e;
}

void
receive_leave(struct receiver *r, bool done)
{
	char path[STORE_PATH_LEN];
	int e = 0;

	if (r->marked && (done || !r->gained))
		e = receiving_remove(r->st, &r->mark);
	if (e < 0 && e != -ENOENT)
		log_note("the mark of a receive stays until the store is "
			 "opened again: %s",
			 err_text(e));
	/* A lineage with a descriptor is not one that is being made. */
	for (size_t i = 0; done && i < r->n_pending; i++) {
		if (r->pending[i].was)
			continue;
		path_lineage(&r->pending[i].lineage, PENDING, path);
		(void)!r->st->ops->remove(r->st, path);
	}
}

/* ---- what was cut ---- */

int
stream_token(struct catalog *c, const struct stream_name *to,
	     char out[static STREAM_TOKEN_LEN])
{
	CLEANUP(receiving_done) struct receiving m = { .n = 0 };
	struct token t;
	int e;

	e = receiving_find(c, to, &m);
	if (e < 0)
		return e;
	t.snapshot = m.snapshot;
	t.layer = m.v[m.at].layer;
	t.chunk = m.chunk;
	token_format(&t, out);
	return 0;
}

static int
give_up(struct catalog *c, const struct receiving *m)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	struct store *st = catalog_store(c);
	int e;

	e = catalog_lock_names(c, &names);
	for (size_t i = 0; e == 0 && i < m->n; i++)
		if (i == 0 ||
		    !uuid_equal(&m->v[i].lineage, &m->v[i - 1].lineage))
			e = pending_mark(st, &m->v[i].lineage);
	return e == 0 ? receiving_remove(st, m) : e;
}

int
stream_abort(struct catalog *c, const struct stream_name *to)
{
	CLEANUP(receiving_done) struct receiving m = { .n = 0 };
	CLEANUP(lineages_unlock) struct lineage_locks own = { .n = 0 };
	CLEANUP(free_memp) struct uuid *v = NULL;
	int e;

	e = receiving_find(c, to, &m);
	if (e < 0)
		return e;
	v = calloc(m.n, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < m.n; i++)
		v[i] = m.v[i].lineage;
	e = lineages_lock(c, v, m.n, true, &own);
	return e == 0 ? give_up(c, &m) : e;
}
