/*
 * catalog_survey.c - how the layers of a store hang together: how long the
 * chain below a descriptor is, and who else needs its own layer.
 *
 * Of layers whose descriptor is D, another descriptor needs D's own one if it
 * names it too, or reaches a child of it: D itself reaches none of its layer's
 * children.  So each layer keeps whose it is, and whether it has a child that
 * anybody reaches.
 *
 * Nothing is locked meanwhile, and nothing of it is authenticated: it is what
 * people are told, and no decision is made by it.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/grow.h>
#include <sealdisk/log.h>

#include "catalog_private.h"

struct surveyed {
	struct uuid layer;
	struct uuid owner; /* the descriptor that names it; nil: none */
	unsigned depth;    /* layers from here down */
	bool several;      /* more than one names it */
	bool has_child;
};

struct survey {
	struct surveyed *v;
	size_t n, cap;
	bool incomplete; /* something could not be read */
};

void
survey_free(struct survey *s)
{
	if (!s)
		return;
	free(s->v);
	free(s);
}

static struct surveyed *
find(const struct survey *s, const struct uuid *layer)
{
	for (size_t i = 0; i < s->n; i++)
		if (uuid_equal(&s->v[i].layer, layer))
			return &s->v[i];
	return NULL;
}

static int
add(struct survey *s, const struct uuid *layer)
{
	struct surveyed *v;

	v = grow(s->v, s->n, &s->cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	s->v = v;
	s->v[s->n++] = (struct surveyed){ .layer = *layer };
	return 0;
}

/* A layer and all below it, until one that is known already. */
static int
walk(struct catalog *c, struct survey *s, struct layer_ref ref)
{
	size_t first = s->n;
	unsigned depth = 0;
	struct surveyed *known;
	struct layer_meta m;
	int r = 0;

	while (!(known = find(s, &ref.layer))) {
		r = add(s, &ref.layer);
		if (r < 0)
			return r;
		s->v[s->n - 1].has_child = s->n - 1 > first;
		r = layer_peek(c->st, &ref, &m);
		if (err_is_shortage(r))
			return r;
		s->incomplete |= r < 0;
		if (r < 0 || !m.has_parent)
			break;
		ref = m.parent;
	}
	if (known) {
		depth = known->depth;
		known->has_child |= s->n > first;
	}
	for (size_t i = s->n; i > first; i--)
		s->v[i - 1].depth = ++depth;
	return 0;
}

struct pass {
	struct catalog *c;
	struct survey *s;
	enum desc_type type;
	struct descriptor *d; /* room for one */
};

static int
survey_one(const char *name, void *arg)
{
	struct pass *p = arg;
	struct surveyed *l;
	int r = catalog_load(p->c, p->type, name, p->d, NULL, NULL);

	if (r == 0)
		r = walk(p->c, p->s, p->d->layer);
	else if (!err_is_shortage(r) && r != -ENOENT)
		p->s->incomplete = true;
	if (r < 0)
		return err_is_shortage(r) ? r : 0;
	l = find(p->s, &p->d->layer.layer);
	/* One that is being renamed may be met twice. */
	if (uuid_is_nil(&l->owner))
		l->owner = p->d->uuid;
	else if (!uuid_equal(&l->owner, &p->d->uuid))
		l->several = true;
	return 0;
}

int
catalog_survey(struct catalog *c, struct survey **ret)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(survey_freep) struct survey *s = calloc(1, sizeof(*s));
	struct pass p = { .c = c, .s = s, .d = d };
	int r = d && s ? 0 : -ENOMEM;

	for (p.type = DESC_DISK; p.type <= DESC_IMAGE && r == 0; p.type++)
		r = catalog_list(c, p.type, survey_one, &p);
	if (r < 0)
		return r;
	*ret = TAKE(s);
	return 0;
}

int
survey_look(const struct survey *s, const struct descriptor *d,
	    unsigned *ret_layers, bool *ret_needed)
{
	const struct surveyed *l = find(s, &d->layer.layer);

	if (!l)
		return -ENOENT;
	*ret_layers = l->depth;
	*ret_needed = l->several || l->has_child || s->incomplete ||
		      !uuid_equal(&l->owner, &d->uuid);
	return 0;
}

bool
survey_is_alone(const struct survey *s, const struct descriptor *d)
{
	const struct surveyed *l = find(s, &d->layer.layer);

	return d->type == DESC_DISK || !l ||
	       (!l->has_child && uuid_equal(&l->owner, &d->uuid));
}
