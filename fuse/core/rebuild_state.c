/*
 * rebuild_state.c - what the layers of a disk know of it that a spare copy does
 * not (rebuild.h).
 *
 * A spare copy may be of an older session, and of a disk of which a snapshot
 * was taken since also of an older top layer: then the highest one above that,
 * which nobody else has, is its.  No session comes twice, so the new
 * descriptor's is far beyond all that can have been.
 *
 * The last checkpoint is that of the layer's list of digests, which was written
 * just before the descriptor that was lost.  Of an anchored disk it must be the
 * one that the key service knows: else that learns of an end in the session
 * that begins now, and so the disk counts as put back until somebody accepts
 * it.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>

#include "digest.h"
#include "layer.h"
#include "rebuild_private.h"

/* More attaches than there can have been since a spare copy was made. */
#define SESSIONS (1ULL << 32)
#define CHAIN_MAX 65536 /* layers above the one that a spare copy names */

/* ---- which layer is on top ---- */

/* A layer.ini under ${dk}. */
static int
load_layer(struct rebuild *k, const struct layer_ref *ref, const struct key *dk,
	   struct layer_meta *ret)
{
	CLEANUP(free_memp) char *text = NULL, *spare = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	path_layer(ref, "layer.ini", path);
	r = k->c->st->ops->load(k->c->st, path, META_MAX, &text, &len);
	if (r == 0)
		r = layer_meta_parse(text, len, dk, ret);
	/* That is made anew when its disk is there again. */
	if (r < 0 && !err_is_shortage(r) &&
	    layer_load_spare(k->c->st, ref, &spare, &len) == 0)
		r = layer_meta_parse(spare, len, dk, ret);
	if (r == 0 && !uuid_equal(&ret->uuid, &ref->layer))
		r = -EUCLEAN;
	return r;
}

/* Whether some descriptor or spare copy names the layer, or one above it. */
static bool
is_taken(const struct rebuild *k, const struct layer_set *live,
	 const struct uuid *layer)
{
	bool taken = layers_has(live, layer);

	for (size_t i = 0; !taken && i < k->n; i++)
		taken = k->v[i].err == 0 &&
			uuid_equal(&k->v[i].layer.layer, layer);
	return taken;
}

/* Whether the spare copy of another disk than ${d} names the layer. */
static bool
is_of_other(const struct rebuild *k, const struct descriptor *d,
	    const struct uuid *layer)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].err == 0 && k->v[i].type == DESC_DISK &&
		    !uuid_equal(&k->v[i].uuid, &d->uuid) &&
		    uuid_equal(&k->v[i].layer.layer, layer))
			return true;
	return false;
}

/* Whether ${from} is above ${below}, which may be NULL, all under ${dk}, and no
 * other disk's layer is in between: that one's it would be. */
static bool
is_above(struct rebuild *k, const struct descriptor *d,
	 const struct layer_meta *from, const struct layer_ref *below,
	 const struct key *dk)
{
	struct layer_meta m = *from;
	struct layer_ref ref;

	for (unsigned i = 0; i < CHAIN_MAX && m.has_parent; i++) {
		ref = m.parent;
		if (below && uuid_equal(&ref.layer, &below->layer))
			return true;
		if (is_of_other(k, d, &ref.layer))
			return false;
		if (load_layer(k, &ref, dk, &m) < 0)
			break;
	}
	return !below;
}

/* Whether it was made for a snapshot that did not come about: what is below is
 * written to, and it has nothing. */
static bool
is_in_vain(struct rebuild *k, const struct layer_meta *m, const struct key *dk)
{
	struct layer_meta below;

	return m->has_parent && load_layer(k, &m->parent, dk, &below) == 0 &&
	       below.state == LAYER_OPEN;
}

/* What all descriptors reach but that of ${d}, which may be there, damaged. */
static int
reached_by_others(struct rebuild *k, const struct descriptor *d,
		  struct layer_set *ret)
{
	CLEANUP(free_memp) struct seen *v = calloc(k->census.n + 1, sizeof(*v));
	struct census others = { .seen = v };
	bool alive;
	int r;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < k->census.n; i++)
		if (!uuid_equal(&k->census.seen[i].uuid, &d->uuid))
			v[others.n++] = k->census.seen[i];
	r = layers_reached(k->c->st, &others, ret);
	return r < 0 ? r
		     : receiving_reached(k->c->st, &d->lineage, ret, &alive);
}

/* Whether layer ${ref} may be what is looked for, or below that: 1 or 0.  One
 * that cannot be read may be. */
static int
is_its(struct rebuild *k, const struct descriptor *d, const struct key *dk,
       const struct layer_ref *below, const struct layer_ref *ref,
       struct layer_meta *ret)
{
	int r = load_layer(k, ref, dk, ret);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return ret->state != LAYER_MERGING && !is_in_vain(k, ret, dk) &&
	       is_above(k, d, ret, below, dk);
}

static bool
has_child(const struct layer_meta *v, size_t n, const struct layer_meta *m)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].has_parent && uuid_equal(&v[i].parent.layer, &m->uuid))
			return true;
	return false;
}

/* The highest one of ${v}. */
static int
choose_top(const struct layer_meta *v, size_t n, struct layer_ref *ret)
{
	unsigned found = 0;

	for (size_t i = 0; i < n; i++) {
		if (has_child(v, n, &v[i]))
			continue;
		*ret = (struct layer_ref){ v[i].lineage, v[i].uuid };
		found++;
	}
	return found == 1 ? 0 : found ? -EUCLEAN : -ENOENT;
}

/* The one above ${below}, unless that is NULL, that nobody else has.  It is
 * frozen where a snapshot was cut off.  -ENOENT; -EUCLEAN: there are several,
 * or it is not known. */
static int
find_above(struct rebuild *k, const struct descriptor *d, const struct key *dk,
	   const struct layer_ref *below, struct layer_ref *ret)
{
	CLEANUP(layers_done) struct layer_set live = { .n = 0 };
	CLEANUP(names_done) struct names names = { 0 };
	CLEANUP(free_memp) struct layer_meta *v = NULL;
	struct layer_ref ref = { .lineage = d->lineage };
	char path[STORE_PATH_LEN];
	size_t n = 0;
	int r;

	r = reached_by_others(k, d, &live);
	path_lineage(&d->lineage, "layers", path);
	if (r == 0)
		r = names_list(k->c->st, path, &names);
	v = calloc(names.n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		if (uuid_parse(names.v[i], &ref.layer) < 0 ||
		    is_taken(k, &live, &ref.layer))
			continue;
		r = is_its(k, d, dk, below, &ref, &v[n]);
		n += r == 1;
	}
	if (r < 0)
		return err_is_shortage(r) ? r : -EUCLEAN;
	return choose_top(v, n, ret);
}

/* One that is frozen gets another above it when the disk is attached.  One that
 * is being merged has, or had, a child above the same parent, and is not what
 * it was. */
static int
find_top(struct rebuild *k, struct descriptor *d, const struct key *dk)
{
	const struct layer_ref *below = NULL;
	struct layer_ref top;
	struct layer_meta m;
	int r, r2;

	r = load_layer(k, &d->layer, dk, &m);
	if (r == -ENOENT)
		r = -EUCLEAN;
	if (r == 0 && m.state == LAYER_OPEN && is_in_vain(k, &m, dk))
		d->layer = m.parent;
	if (d->type != DESC_DISK || (r == 0 && m.state == LAYER_OPEN))
		return r;
	if (r == 0 && m.state != LAYER_MERGING)
		below = &d->layer;
	else if (r == 0 && m.has_parent)
		below = &m.parent;
	r2 = find_above(k, d, dk, below, &top);
	if (r2 == 0)
		d->layer = top;
	if (r2 != -ENOENT)
		return r2;
	return r == 0 && m.state == LAYER_MERGING ? -EUCLEAN : r;
}

/* ---- how far the disk had come ---- */

static int
take_checkpoint(struct rebuild *k, struct descriptor *d, const struct key *dk)
{
	CLEANUP(digests_freep) struct digests *g = NULL;
	CLEANUP(key_wipe) struct key key = { { 0 } };
	int r;

	memset(d->digest, 0, sizeof(d->digest));
	d->checkpointed = 0;
	r = layer_map_key(dk, &d->layer.layer, &key);
	if (r == 0)
		r = digests_load(k->c->st, &d->layer, &key, &g);
	if (r < 0)
		return err_is_shortage(r) ? r : 0; /* it has none */
	digests_sum(g, d->digest);
	d->digest_session = digests_session(g);
	if (d->session < d->digest_session)
		d->session = d->digest_session;
	return 0;
}

/* Whether that is where the key service has seen the disk last.  No two
 * checkpoints have one digest. */
static bool
is_last(const struct descriptor *d, uint64_t generation,
	const uint8_t digest[static SHA256_LEN])
{
	uint64_t was = digest_is_none(d->digest) ? 2 * d->session + d->clean
						 : 2 * d->digest_session + 1;
	bool same = memcmp(digest, d->digest, SHA256_LEN) == 0;

	if (same && !digest_is_none(d->digest))
		return true;
	return was > generation || (was == generation && same);
}

static int
ask_anchor(struct rebuild *k, struct descriptor *d)
{
	uint8_t digest[SHA256_LEN];
	bool last = true;
	uint64_t g;
	int r;

	r = kms_get_anchor(k->kms, &d->uuid, &g, digest);
	if (r == 0) {
		last = is_last(d, g, digest);
		if (d->session < g / 2)
			d->session = g / 2;
	}
	d->session += SESSIONS;
	if (r < 0 || last)
		return r == -ENOENT ? 0 : r;
	log_warn("disk %s: its last checkpoint is not the one that the key "
		 "service knows",
		 d->name);
	return kms_set_anchor(k->kms, &d->uuid, 2 * d->session + 1, digest,
			      false);
}

int
rebuild_state(struct rebuild *k, struct descriptor *d, const struct key *dk)
{
	int r = find_top(k, d, dk);

	d->rebuilt = time(NULL);
	if (r < 0 || d->type != DESC_DISK)
		return r;
	r = take_checkpoint(k, d, dk);
	if (r == 0)
		r = ask_anchor(k, d);
	d->clean = false;
	return r;
}
