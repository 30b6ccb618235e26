/*
 * lose_ini.c - some layer.ini of what a cut left are lost, and made anew of
 * their spare copies: what a cut may leave in those is as good.  So are the
 * digests of some sealed layers, of their maps.
 *
 * A spare copy may know that a merge has ended before layer.ini does: then the
 * parent that was merged is nobody's any more, and stays lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/grow.h>

#include "catalog_private.h"
#include "crash.h"
#include "repair.h"

struct losing {
	struct session *s;
	enum desc_type type;
	struct layer_meta *lost; /* of their layer.ini */
	size_t n, cap;
	unsigned made;
	unsigned lost_lists, made_lists;
	bool repair, ok;
};

static void
add_lost(struct losing *l, const struct layer_meta *m)
{
	l->lost = grow(l->lost, l->n, &l->cap, sizeof(*m));
	if (!l->lost)
		abort();
	l->lost[l->n++] = *m;
}

/* Those that were being merged and have not been made anew.  None may be
 * reached, or what reaches it cannot be read, as all is after this. */
static unsigned
merged(const struct losing *l)
{
	struct layer_ref ref;
	struct layer_meta m;
	unsigned n = 0;

	for (size_t i = 0; i < l->n; i++) {
		ref = (struct layer_ref){ l->lost[i].lineage, l->lost[i].uuid };
		n += l->lost[i].state == LAYER_MERGING &&
		     layer_peek(l->s->st, &ref, &m) < 0;
	}
	return n;
}

/* Of a chain; with a bit changed, or gone. */
static int
lose_chain(struct losing *l, struct layer_ref ref)
{
	struct store *st = l->s->st;
	char path[STORE_PATH_LEN];
	struct layer_meta m;
	char *text;
	size_t len;
	int r;

	for (;;) {
		r = layer_peek(st, &ref, &m);
		if (r < 0) /* another chain's, lost before */
			return 0;
		path_layer(&ref, "digests", path);
		if (m.state == LAYER_SEALED && random_below(3) == 0 &&
		    st->ops->remove(st, path) == 0)
			l->lost_lists++;
		path_layer(&ref, "layer.ini", path);
		if (random_below(3) == 0) {
			add_lost(l, &m);
			if (random_below(2))
				r = st->ops->remove(st, path);
			else if ((r = st->ops->load(st, path, META_MAX, &text,
						    &len)) == 0) {
				r = st->ops->replace(st, path, text, len / 2);
				free(text);
			}
		}
		if (r < 0 || !m.has_parent)
			return r;
		ref = m.parent;
	}
}

static int
each(const char *name, void *arg)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	struct losing *l = arg;
	struct repair_report rep;
	int r;

	if (!d)
		abort();
	if (l->repair) {
		r = engine_repair_maps(l->s->e, l->type, name, &rep);
		l->made += rep.inis;
		l->made_lists += rep.lists;
		if (r < 0 || rep.pages > 0)
			l->ok = wrong(l->s, "%s: repaired: %s, %u pages", name,
				      strerror(-r), rep.pages);
		return l->ok ? 0 : 1;
	}
	r = catalog_load(engine_catalog(l->s->e), l->type, name, d, NULL, NULL);
	return r < 0 ? r : lose_chain(l, d->layer);
}

bool
lose_some_layers(struct session *s)
{
	struct losing l = { .s = s, .ok = true };
	struct catalog *c = engine_catalog(s->e);
	size_t made;
	int r = 0;

	for (unsigned i = 0; i < 2 && l.ok; i++) {
		l.repair = i;
		for (l.type = DESC_DISK; r == 0 && l.type <= DESC_IMAGE;
		     l.type++)
			r = catalog_list(c, l.type, each, &l);
	}
	made = l.made + merged(&l);
	free(l.lost);
	if (r < 0)
		return wrong(s, "some layer.ini lost: %s", strerror(-r));
	if (!l.ok || (made == l.n && l.made_lists == l.lost_lists))
		return l.ok;
	return wrong(s, "%zu layer.ini, %u lists lost, %zu and %u made anew",
		     l.n, l.lost_lists, made, l.made_lists);
}
