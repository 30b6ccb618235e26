/*
 * lose.c - of a state that a cut left, descriptors are lost, and made anew of
 * their spare copies: nothing else may have changed by that.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/codec.h>

#include "catalog_private.h"
#include "crash.h"
#include "rebuild.h"

struct losing {
	struct session *s;
	enum desc_type type;
	struct descriptor d, spare;
	unsigned lost, made;
	int err;
	char path[STORE_PATH_LEN];
	/* what was lost */
	struct was {
		char path[STORE_PATH_LEN], *text;
		size_t len;
	} was[DISKS + SNAPS];
};

/* A size that was grown by a write the spare copy has some seconds later, and a
 * snapshot's disk that was renamed since it never learns. */
static bool
has_spare(struct losing *l)
{
	CLEANUP(free_memp) char *text = NULL;
	struct store *st = l->s->st;
	char path[STORE_PATH_LEN];
	size_t len;

	path_spare(&l->d.uuid, path);
	return st->ops->load(st, path, META_MAX, &text, &len) == 0 &&
	       descriptor_parse(text, len, &l->spare) == 0 &&
	       l->spare.size == l->d.size && strcmp(l->spare.of, l->d.of) == 0;
}

static int
lose(const char *name, void *arg)
{
	struct losing *l = arg;
	struct store *st = l->s->st;
	struct was *was = &l->was[l->lost];
	int r;

	if (random_below(2) || l->lost == DISKS + SNAPS)
		return 0;
	r = catalog_load(engine_catalog(l->s->e), l->type, name, &l->d, NULL,
			 NULL);
	if (r < 0 || !has_spare(l))
		return r;
	r = catalog_path(l->type, name, was->path);
	if (r == 0)
		r = st->ops->load(st, was->path, META_MAX, &was->text,
				  &was->len);
	if (r == 0)
		r = st->ops->remove(st, was->path);
	l->lost += r == 0;
	return r;
}

/* It was not known which layer it had: then somebody finds it again. */
static int
put_back(struct losing *l, const char *path)
{
	struct store *st = l->s->st;

	for (unsigned i = 0; i < l->lost; i++)
		if (strcmp(l->was[i].path, path) == 0) {
			l->made++;
			return st->ops->replace(st, path, l->was[i].text,
						l->was[i].len);
		}
	return -ENOENT;
}

static void
on_found(const struct check_finding *f, void *arg)
{
	struct losing *l = arg;

	if (f->what != CHECK_LOST)
		return;
	l->made += f->made;
	if (f->err < 0 && (f->err != -EUCLEAN || put_back(l, f->path) < 0)) {
		l->err = f->err;
		(void)snprintf(l->path, sizeof(l->path), "%s", f->path);
	}
}

bool
lose_some(struct session *s)
{
	CLEANUP(free_memp) struct losing *l = calloc(1, sizeof(*l));
	struct check_options o = { true, on_found, l, false };
	struct catalog *c = engine_catalog(s->e);
	int r = 0;

	if (!l)
		abort();
	l->s = s;
	for (l->type = DESC_DISK; r == 0 && l->type <= DESC_IMAGE; l->type++)
		r = catalog_list(c, l->type, lose, l);
	if (r == 0)
		r = catalog_rebuild(c, s->kms, NULL, &o);
	for (unsigned i = 0; i < l->lost; i++)
		free(l->was[i].text);
	if (r < 0)
		return wrong(s, "descriptors made anew: %s", strerror(-r));
	if (l->err < 0)
		return wrong(s, "%s was not made anew: %s", l->path,
			     strerror(-l->err));
	return l->made == l->lost ||
	       wrong(s, "%u descriptors were lost, %u made anew", l->lost,
		     l->made);
}
