/*
 * each.c - see each.h.
 */
#include "each.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/grow.h>
#include <sealdisk/log.h>

#include "copy.h"

void
each_done(struct each *e)
{
	free(e->v);
	*e = (struct each){ .n = 0 };
}

int
each_add(struct each *e, const struct cmd_target *t, const struct uuid *uuid)
{
	struct each_item *v;

	v = grow(e->v, e->n, &e->cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	e->v = v;
	e->v[e->n++] = (struct each_item){ *t, *uuid };
	return 0;
}

struct adding {
	struct each *e;
	struct catalog *c;
	enum desc_type type;
};

static int
add_name(const char *name, void *arg)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	const struct adding *a = arg;
	struct cmd_target t;
	int r = d ? catalog_load(a->c, a->type, name, d, NULL, NULL) : -ENOMEM;

	if (r < 0)
		return err_is_shortage(r) ? r : 0;
	cmd_target_of(a->type, name, &t);
	return each_add(a->e, &t, &d->uuid);
}

int
each_add_all(struct each *e, struct catalog *c)
{
	struct adding a = { e, c, DESC_DISK };
	int r = 0;

	for (; r == 0 && a.type <= DESC_IMAGE; a.type++)
		r = catalog_list(c, a.type, add_name, &a);
	return r;
}

/* ---- where it is ---- */

static bool
has_its_name(struct catalog *c, const struct each_item *it)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	int r = d ? catalog_load(c, it->t.type, it->t.name, d, NULL, NULL)
		  : -ENOMEM;

	/* What cannot be read is its, for all that is known. */
	return r == 0 ? uuid_equal(&d->uuid, &it->uuid) : r != -ENOENT;
}

/* -ENOENT: nothing has its uuid any more. */
static int
find(struct catalog *c, struct each_item *it)
{
	int r = 0;

	/* Twice: it may have got its name after they were listed, and lost the
	 * old one before that was read. */
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		CLEANUP(each_done) struct each now = { .n = 0 };
		struct adding a = { &now, c, it->t.type };

		if (has_its_name(c, it))
			return 0;
		r = catalog_list(c, a.type, add_name, &a);
		for (size_t k = 0; r == 0 && k < now.n; k++)
			if (uuid_equal(&now.v[k].uuid, &it->uuid)) {
				it->t = now.v[k].t;
				return 0;
			}
	}
	return r < 0 ? r : -ENOENT;
}

/* ---- doing it ---- */

static int
find_or_tell(struct catalog *c, struct each_item *it)
{
	int r = find(c, it);

	if (r == -ENOENT)
		cmd_note("%s %s: it was removed meanwhile", cmd_name(),
			 it->t.text);
	return r;
}

int
each_do(struct catalog *c, struct each_item *it,
	int (*fn)(const struct cmd_target *t, bool last, void *arg), void *arg)
{
	struct cmd_target was;
	int r, found = find_or_tell(c, it);

	for (unsigned i = 0; found == 0; i++) {
		was = it->t;
		r = fn(&was, i == 2, arg);
		if (r >= 0 || r == -EBADMSG || copy_interrupted())
			return r;
		found = find_or_tell(c, it);
		if (found == 0 && (i == 2 || (r != -ECANCELED &&
					      !strcmp(was.name, it->t.name))))
			return r;
		if (found == 0)
			cmd_note("%s %s: once more", cmd_name(), it->t.text);
	}
	return found == -ENOENT ? 0 : found;
}
