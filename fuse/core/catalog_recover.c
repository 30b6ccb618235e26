/*
 * catalog_recover.c - what a crash left of a change of names; see
 * catalog_change.c for the order of its steps.
 *
 * Two descriptors of one uuid, each under its own name, that agree in what a
 * rename keeps, are a rename that was cut short.  The one that was attached
 * last stays; where neither was since, the larger one, for the disk may have
 * grown under the name that it kept; where they are equal, either would do, and
 * the first in the order of bytes stays, so that whoever recovers comes to the
 * same end.
 *
 * Descriptors are not authenticated here: who could forge one to have another
 * removed can remove that itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/grow.h>
#include <sealdisk/log.h>

#include "catalog_private.h"

struct census_arg {
	struct catalog *c;
	struct census *s;
	enum desc_type type;
	struct descriptor *d; /* room for one */
};

void
census_done(struct census *s)
{
	while (s->n > 0)
		free(s->seen[--s->n].name);
	free(s->seen);
	free(s->lineages);
	*s = (struct census){ 0 };
}

bool
census_has_lineage(const struct census *s, const struct uuid *lineage)
{
	size_t i;

	for (i = 0; i < s->n_lineages; i++)
		if (uuid_equal(&s->lineages[i], lineage))
			return true;
	return false;
}

static int
add_lineage(struct census *s, const struct uuid *lineage)
{
	struct uuid *v;

	if (s->n_lineages &&
	    uuid_equal(&s->lineages[s->n_lineages - 1], lineage))
		return 0; /* the commonest repetition */
	v = grow(s->lineages, s->n_lineages, &s->cap_lineages, sizeof(*v));
	if (!v)
		return -ENOMEM;
	s->lineages = v;
	s->lineages[s->n_lineages++] = *lineage;
	return 0;
}

static int
add_lineages(struct census *s, const struct descriptor *d)
{
	size_t i;
	int r;

	r = add_lineage(s, &d->lineage);
	if (r == 0)
		r = add_lineage(s, &d->layer.lineage);
	for (i = 0; i < d->n_keys && r == 0; i++)
		r = add_lineage(s, &d->keys[i].dk.lineage);
	return r;
}

static int
add_seen(struct census *s, const char *name, const struct descriptor *d)
{
	struct seen *v;

	v = grow(s->seen, s->n, &s->cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	s->seen = v;
	v = &s->seen[s->n];
	*v = (struct seen){
		.type = d->type,
		.name = strdup(name),
		.uuid = d->uuid,
		.key = d->key,
		.layer = d->layer,
		.created = d->created,
		.session = d->session,
		.set = d->set,
		.size = d->size,
	};
	memcpy(v->digest, d->digest, sizeof(v->digest));
	if (!v->name)
		return -ENOMEM;
	s->n++;
	return add_lineages(s, d);
}

static int
census_one(const char *name, void *arg)
{
	struct census_arg *a = arg;
	int r;

	r = catalog_load(a->c, a->type, name, a->d, NULL, NULL);
	if (r == 0)
		return add_seen(a->s, name, a->d);
	if (err_is_shortage(r))
		return r;
	a->s->bad++;
	log_warn("descriptor \"%s\" cannot be read: %s", name, err_text(r));
	return 0;
}

static int
compare_uuids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct uuid));
}

/* Of a disk that was put back somebody may want what it does not know. */
static void
look_whether_ahead(struct store *st, struct census *s, const struct seen *seen)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;

	path_spare(&seen->uuid, path);
	if (seen->type != DESC_DISK ||
	    st->ops->load(st, path, META_MAX, &text, &len) < 0 ||
	    !spare_is_ahead(st, text, len, &seen->layer))
		return;
	s->bad++;
	log_warn("%s: it is newer than the descriptor of disk %s: `sealdisk "
		 "check` says what to do",
		 path, seen->name);
}

/* A spare copy is made after its descriptor, and removed before it. */
static void
look_at_spare(struct census *s, const struct uuid *sorted, const char *name)
{
	struct uuid uuid;

	if (!spare_name_parse(name, &uuid) ||
	    (s->n && bsearch(&uuid, sorted, s->n, sizeof(uuid), compare_uuids)))
		return;
	s->bad++;
	log_warn("the descriptor is gone that " SPARES "/%s is a copy of: "
		 "`sealdisk check --repair` makes it anew",
		 name);
}

static int
look_for_lost(struct catalog *c, struct census *s)
{
	CLEANUP(names_done) struct names n = { 0 };
	CLEANUP(free_memp) struct uuid *sorted = NULL;
	int r;

	/* One that cannot be read is counted already: its spare may be any. */
	if (s->bad)
		return 0;
	sorted = calloc(s->n + 1, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < s->n; i++)
		sorted[i] = s->seen[i].uuid;
	qsort(sorted, s->n, sizeof(*sorted), compare_uuids);
	r = names_list(c->st, SPARES, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++)
		look_at_spare(s, sorted, n.v[i]);
	for (size_t i = 0; r == 0 && i < s->n; i++)
		look_whether_ahead(c->st, s, &s->seen[i]);
	return r;
}

int
census_take(struct catalog *c, struct census *ret)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(census_done) struct census s = { 0 };
	struct census_arg a = { .c = c, .s = &s, .d = d };
	int r = 0;

	if (!d)
		return -ENOMEM;
	for (a.type = DESC_DISK; a.type <= DESC_IMAGE && r == 0; a.type++)
		r = catalog_list(c, a.type, census_one, &a);
	if (r == 0)
		r = look_for_lost(c, &s);
	if (r < 0)
		return r;
	*ret = s;
	s = (struct census){ 0 };
	return 0;
}

int
catalog_census(struct catalog *c, struct census *ret)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	int r = catalog_lock_names(c, &names);

	return r == 0 ? census_take(c, ret) : r;
}

/* Renames. */

static int
by_uuid(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;
	int r = memcmp(&x->uuid, &y->uuid, sizeof(x->uuid));

	if (r == 0 && x->session != y->session)
		r = x->session > y->session ? -1 : 1;
	if (r == 0 && x->size != y->size)
		r = x->size > y->size ? -1 : 1;
	return r ? r : strcmp(x->name, y->name);
}

static bool
is_pair(const struct seen *a, const struct seen *b)
{
	return uuid_equal(&a->uuid, &b->uuid) && a->type == b->type &&
	       a->created == b->created && uuid_equal(&a->key, &b->key) &&
	       uuid_equal(&a->layer.layer, &b->layer.layer) &&
	       uuid_equal(&a->layer.lineage, &b->layer.lineage);
}

/* snapshots/FROM, if ${to} has none of its own. */
static int
bring_snapshots(struct store *st, const char *from, const char *to)
{
	char from_path[STORE_PATH_LEN], to_path[STORE_PATH_LEN];
	int r;

	r = has_snapshots(st, from);
	if (r > 0)
		r = has_snapshots(st, to) ? -EEXIST : 1;
	if (r <= 0)
		return r;
	path_snapshots(from, from_path);
	path_snapshots(to, to_path);
	r = st->ops->remove(st, to_path);
	if (r < 0 && r != -ENOENT)
		return r;
	return st->ops->rename(st, from_path, to_path);
}

/* The spare copy says one of the two names.  Without space it may be the other
 * one, until the disk is attached. */
static void
take_for_spare(struct catalog *c, const struct seen *keep)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	r = catalog_path(keep->type, keep->name, path);
	if (r == 0)
		r = c->st->ops->load(c->st, path, META_MAX, &text, &len);
	if (r == 0)
		(void)!spare_put(c, &keep->uuid, text);
}

static int
drop_name(struct catalog *c, const struct seen *keep, const struct seen *drop)
{
	char path[STORE_PATH_LEN], folder[STORE_PATH_LEN];
	int r = 0;

	if (drop->type == DESC_DISK)
		r = bring_snapshots(c->st, drop->name, keep->name);
	take_for_spare(c, keep);
	if (r == 0)
		r = catalog_path(drop->type, drop->name, path);
	if (r == 0)
		r = c->st->ops->remove(c->st, path);
	if (r < 0)
		return r;
	path_folder(path, folder);
	r = c->st->ops->sync_dir(c->st, folder);
	if (r == 0)
		log_note("a rename was cut short: \"%s\" stays, \"%s\" goes",
			 keep->name, drop->name);
	return r;
}

/* Its lock is held, but for us: who had it attached has died, of the rename
 * perhaps, and we are who goes on with it, under the name that it has then. */
static bool
is_kept(const struct catalog *c, const struct uuid *uuid)
{
	enum desc_type type;
	struct uuid u;

	for (unsigned i = 0; c->kept && i < KEPT_DISKS; i++) {
		i = kept_next(c->kept, i, &type, &u);
		if (i < KEPT_DISKS && uuid_equal(&u, uuid))
			return true;
	}
	return false;
}

static int
finish_renames(struct catalog *c, struct census *s)
{
	const struct seen *keep = s->seen;
	size_t i;
	int r;

	if (s->n)
		qsort(s->seen, s->n, sizeof(*s->seen), by_uuid);
	for (i = 1; i < s->n; i++) {
		CLEANUP(store_unlockp) struct store_lock *lock = NULL;

		if (!is_pair(keep, &s->seen[i])) {
			keep = &s->seen[i];
			continue;
		}
		r = is_kept(c, &keep->uuid)
			? 0
			: catalog_lock_disk(c, &keep->uuid, "", &lock);
		if (r == -EBUSY)
			continue; /* its holder knows its name */
		if (r == 0)
			r = drop_name(c, keep, &s->seen[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Lineages. */

/* A folder with nothing in it is what a sweep or a create had not come to the
 * end of.  A mark on a lineage that is in use is the sweep's. */
static int
look_at_lineage(struct catalog *c, const struct census *s,
		const struct uuid *lineage)
{
	char path[STORE_PATH_LEN];
	int r;

	if (census_has_lineage(s, lineage))
		return 0;
	path_lineage(lineage, NULL, path);
	r = c->st->ops->remove(c->st, path);
	if (r == 0)
		log_note("removed %s, which was empty", path);
	return r == -ENOTEMPTY || r == -ENOENT ? 0 : r;
}

static int
look_at_lineages(struct catalog *c, const struct census *s)
{
	CLEANUP(names_done) struct names n = { 0 };
	struct uuid lineage;
	size_t i;
	int r;

	r = names_list(c->st, "lineages", &n);
	for (i = 0; i < n.n && r == 0; i++)
		if (n.is_dir[i] && uuid_parse(n.v[i], &lineage) == 0)
			r = look_at_lineage(c, s, &lineage);
	return r;
}

/* Sets. */

static int
drop_member(struct catalog *c, const struct seen *seen)
{
	char path[STORE_PATH_LEN], folder[STORE_PATH_LEN];
	int r;

	r = catalog_path(seen->type, seen->name, path);
	if (r == 0)
		r = spare_remove(c, &seen->uuid);
	if (r == 0)
		r = c->st->ops->remove(c->st, path);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	path_folder(path, folder);
	r = c->st->ops->sync_dir(c->st, folder);
	if (r == 0)
		r = pending_mark(c->st, &seen->layer.lineage);
	if (r == 0)
		log_note("\"%s\" is one of several snapshots that were not "
			 "finished: it goes",
			 seen->name);
	return r;
}

static int
drop_set(struct catalog *c, const struct census *s, const char *name)
{
	char path[STORE_PATH_LEN];
	struct uuid set;
	int r = 0;

	if (uuid_parse(name, &set) < 0)
		return 0;
	for (size_t i = 0; i < s->n && r == 0; i++)
		if (s->seen[i].type != DESC_DISK &&
		    uuid_equal(&s->seen[i].set, &set))
			r = drop_member(c, &s->seen[i]);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), SETS "/%s", name);
	r = c->st->ops->remove(c->st, path);
	return r == -ENOENT ? 0 : r;
}

static int
drop_sets(struct catalog *c, const struct census *s)
{
	CLEANUP(names_done) struct names n = { 0 };
	int r;

	r = names_list(c->st, SETS, &n);
	for (size_t i = 0; i < n.n && r == 0; i++)
		r = drop_set(c, s, n.v[i]);
	return r;
}

int
catalog_recover(struct catalog *c, unsigned *ret_bad)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(census_done) struct census s = { 0 };
	int r;

	r = catalog_lock_names(c, &lock);
	if (r == 0)
		r = census_take(c, &s);
	if (r == 0)
		r = drop_sets(c, &s);
	if (r == 0)
		r = finish_renames(c, &s);
	if (r == 0)
		r = look_at_lineages(c, &s);
	if (r == 0)
		r = receiving_forget(c->st, &s, NULL);
	store_spare_keep(c);
	if (r == 0)
		*ret_bad = s.bad;
	return r;
}
