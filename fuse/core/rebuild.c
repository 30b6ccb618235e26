/*
 * rebuild.c - lost descriptors made anew (rebuild.h): which are lost, where
 * they were, and the spare copies of the others.  What a disk's is to say:
 * rebuild_state.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#include "rebuild_private.h"

static void
tell(struct rebuild *k, enum check_what what, const char *path, int err,
     bool made)
{
	struct check_finding f = { .what = what, .err = err, .made = made };

	(void)snprintf(f.path, sizeof(f.path), "%s", path);
	k->o->found(&f, k->o->arg);
}

/* ---- spare copies ---- */

static int
load_spare(struct rebuild *k, const struct uuid *uuid, struct descriptor *d,
	   char **ret_text, size_t *ret_len)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	path_spare(uuid, path);
	r = k->c->st->ops->load(k->c->st, path, META_MAX, &text, &len);
	if (r == 0)
		r = descriptor_parse(text, len, d);
	if (r == 0 && (!uuid_equal(&d->uuid, uuid) ||
		       !uuid_equal(&d->store, &k->c->meta.uuid)))
		r = -EUCLEAN;
	if (r < 0)
		return r == -EFBIG ? -EUCLEAN : r;
	*ret_text = TAKE(text);
	*ret_len = len;
	return 0;
}

static void
full_name(const struct descriptor *d, char out[static FULL_NAME_MAX])
{
	bool snapshot = d->type == DESC_SNAPSHOT;

	(void)snprintf(out, FULL_NAME_MAX, "%s%s%s", snapshot ? d->of : "",
		       snapshot ? "@" : "", d->name);
}

static const struct seen *
find_seen(const struct rebuild *k, const struct uuid *uuid)
{
	for (size_t i = 0; i < k->census.n; i++)
		if (uuid_equal(&k->census.seen[i].uuid, uuid))
			return &k->census.seen[i];
	return NULL;
}

static int
find_spares(struct rebuild *k)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(names_done) struct names n = { 0 };
	int r;

	if (!d)
		return -ENOMEM;
	r = names_list(k->c->st, SPARES, &n);
	k->v = calloc(n.n + 1, sizeof(*k->v));
	if (!k->v)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		CLEANUP(free_memp) char *text = NULL;
		struct spare *s = &k->v[k->n];
		const struct seen *seen;
		size_t len;

		if (!spare_name_parse(n.v[i], &s->uuid))
			continue;
		k->n++;
		s->err = load_spare(k, &s->uuid, d, &text, &len);
		if (err_is_shortage(s->err))
			return s->err;
		if (s->err < 0)
			continue;
		s->type = d->type;
		s->layer = d->layer;
		seen = find_seen(k, &s->uuid);
		s->ahead = seen && seen->type == DESC_DISK &&
			   spare_is_ahead(k->c->st, text, len, &seen->layer);
		full_name(d, s->name);
	}
	return r;
}

static int
look_at_names(struct rebuild *k)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	int r;

	census_done(&k->census);
	r = catalog_lock_names(k->c, &names);
	return r == 0 ? census_take(k->c, &k->census) : r;
}

/* ---- where it was ---- */

/* A snapshot whose disk has another name now belongs to the one disk that
 * stands on its layer, if there is one.  Clones do too, and are younger. */
static void
find_disk(struct rebuild *k, struct descriptor *d)
{
	CLEANUP(layers_done) struct layer_set live = { .n = 0 };
	const struct seen *found = NULL;
	unsigned n = 0;

	if (layers_reached(k->c->st, &k->census, &live) < 0)
		return;
	for (size_t i = 0; i < k->census.n; i++) {
		const struct seen *s = &k->census.seen[i];

		if (s->type != DESC_DISK)
			continue;
		if (strcmp(s->name, d->of) == 0)
			return;
		if (s->created < d->created &&
		    layers_reach(&live, &s->layer, &d->layer.layer)) {
			found = s;
			n++;
		}
	}
	if (n == 1)
		(void)snprintf(d->of, sizeof(d->of), "%s", found->name);
}

/* Nothing is there that could be another's: what cannot be read could not be
 * used.  -EEXIST */
static int
is_free(struct rebuild *k, const struct descriptor *d)
{
	CLEANUP(free_memp) struct descriptor *o = malloc(sizeof(*o));
	char name[FULL_NAME_MAX];
	int r;

	if (!o)
		return -ENOMEM;
	full_name(d, name);
	r = catalog_load(k->c, d->type, name, o, NULL, NULL);
	if (r == -ENOENT || r == -EUCLEAN)
		return 0;
	if (r == 0)
		r = uuid_equal(&o->uuid, &d->uuid) ? 0 : -EEXIST;
	return r;
}

/* Another name where that is taken. */
static int
find_place(struct rebuild *k, const struct seen *seen, struct descriptor *d)
{
	char was[DISK_NAME_MAX + 1], hex[9];
	const char *at;
	int r;

	if (seen) {
		at = strchr(seen->name, '@');
		strcpy(d->name, at ? at + 1 : seen->name);
		if (at)
			(void)snprintf(d->of, sizeof(d->of), "%.*s",
				       (int)(at - seen->name), seen->name);
		return 0;
	}
	if (d->type == DESC_SNAPSHOT)
		find_disk(k, d);
	r = is_free(k, d);
	if (r != -EEXIST)
		return r;
	strcpy(was, d->name);
	hex_encode(d->uuid.bytes, 4, hex);
	(void)snprintf(d->name, sizeof(d->name), "%.*s-%s",
		       DISK_NAME_MAX - (int)sizeof(hex), was, hex);
	r = name_check(d->name);
	return r < 0 ? r : is_free(k, d);
}

static int
put(struct rebuild *k, const struct seen *seen, struct descriptor *d,
    const struct key *dk)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	int r;

	r = catalog_lock_names(k->c, &names);
	if (r == 0)
		r = find_place(k, seen, d);
	/* What is frozen is told its digest if it lacks it. */
	if (r == 0 && d->type != DESC_DISK)
		r = lineage_mark(k->c->st, &d->layer.lineage, UNSEALED);
	return r == 0 ? catalog_save(k->c, d, dk) : r;
}

/* ---- one of them ---- */

static int
unwrap(struct rebuild *k, const struct descriptor *d, const char *text,
       size_t len, struct key *dk)
{
	int r = kms_decrypt(k->kms, &descriptor_key(d, &d->key)->dk, dk);

	return r < 0 ? r : descriptor_verify(text, len, &d->uuid, dk);
}

static bool
is_damage(int r)
{
	return r == -EBADMSG || r == -EUCLEAN || r == -EKEYREJECTED;
}

/* The key service opens the spare copy as it should.  It may not have when it
 * was asked about what is there: -EALREADY, if that is well. */
static int
look_again(struct rebuild *k, const struct seen *seen)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_load_verified(k->c, k->kms, seen->type, seen->name, d, &dk);
	if (r == 0)
		return -EALREADY;
	return is_damage(r) ? 0 : r;
}

static int
make(struct rebuild *k, const struct spare *s, const struct seen *seen,
     struct descriptor *d)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	int r;

	r = catalog_lock_disk(k->c, &s->uuid, "", &lock);
	if (r == 0)
		r = load_spare(k, &s->uuid, d, &text, &len);
	if (r == 0)
		r = unwrap(k, d, text, len, &dk);
	if (r == 0 && seen)
		r = look_again(k, seen);
	if (r == 0)
		r = rebuild_state(k, d, &dk);
	return r == 0 ? put(k, seen, d, &dk) : r;
}

/* Nothing is left that it could be a key to. */
static bool
is_of_nothing(struct rebuild *k, const struct spare *s)
{
	CLEANUP(names_done) struct names n = { .max = 1 };
	char path[STORE_PATH_LEN];

	path_lineage(&s->layer.lineage, NULL, path);
	return names_list(k->c->st, path, &n) == 0 && n.n == 0;
}

static int
is_lost(struct rebuild *k, const struct spare *s, const struct seen *seen)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	char path[STORE_PATH_LEN];
	int r;

	if (!d)
		return -ENOMEM;
	path_spare(&s->uuid, path);
	if (store_exists(k->c->st, path) == 0)
		return 0; /* it was removed meanwhile, with its descriptor */
	if (s->err < 0) {
		tell(k, CHECK_LOST, path, s->err, false);
		return 0;
	}
	if (k->o->repair && is_of_nothing(k, s)) {
		tell(k, CHECK_SPARE, path, 0,
		     spare_remove(k->c, &s->uuid) == 0);
		return 0;
	}
	if (catalog_path(s->type, s->name, path) < 0)
		return 0;
	if (!k->o->repair) {
		/* Of what cannot be read catalog_check() tells. */
		if (store_exists(k->c->st, path) == 0)
			tell(k, CHECK_LOST, path, 0, false);
		return 0;
	}
	r = make(k, s, seen, d);
	if (r == -ENOENT || r == -EALREADY)
		return 0;
	if (err_is_shortage(r))
		return r;
	/* It may be that we are refused the key, and not that it is wrong. */
	if (seen && r == -EKEYREJECTED)
		return 0;
	if (r == 0)
		path_descriptor(d->type, d->of, d->name, path);
	tell(k, CHECK_LOST, path, r, r == 0);
	return r == 0 ? look_at_names(k) : 0;
}

/* What a descriptor that is well has for a spare copy.  ${s} NULL: none. */
static int
keep(struct rebuild *k, const struct spare *s, const struct descriptor *d,
     const struct key *dk)
{
	CLEANUP(free_memp) struct descriptor *o = malloc(sizeof(*o));
	CLEANUP(free_memp) char *text = NULL, *spare = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	if (!o)
		return -ENOMEM;
	r = descriptor_format(d, dk, &text);
	if (r < 0)
		return r;
	if (s && load_spare(k, &d->uuid, o, &spare, &len) == 0 &&
	    descriptor_verify(spare, len, &d->uuid, dk) == 0 &&
	    spare_says(spare, text, d->type != DESC_DISK))
		return 0;
	r = spare_put(k->c, &d->uuid, text);
	path_spare(&d->uuid, path);
	tell(k, CHECK_SPARE, path, r, r == 0);
	return 0;
}

/* While nobody changes it.  One that somebody has attached is his. */
static int
look_at_well(struct rebuild *k, const struct spare *s, const struct seen *seen)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL, *names = NULL;
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_load_verified(k->c, k->kms, seen->type, seen->name, d, &dk);
	if (is_damage(r))
		return s ? is_lost(k, s, seen) : 0;
	if (r == 0)
		r = catalog_lock_disk(k->c, &seen->uuid, "", &lock);
	if (r == 0)
		r = catalog_lock_names(k->c, &names);
	if (r == 0)
		r = catalog_load(k->c, seen->type, seen->name, d, &text, &len);
	if (r == 0)
		r = descriptor_verify(text, len, &seen->uuid, &dk);
	if (r == 0 && !d->read_only)
		r = keep(k, s, d, &dk);
	/* What else is wrong with it its own check tells. */
	return err_is_shortage(r) ? r : 0;
}

static bool
is_wanted(const struct rebuild *k, const char *name)
{
	return !k->name || strcmp(k->name, name) == 0;
}

static int
look_at_spare(struct rebuild *k, const struct spare *s)
{
	const struct seen *seen = find_seen(k, &s->uuid);
	char path[STORE_PATH_LEN];

	if (!is_wanted(k, seen ? seen->name : s->name))
		return 0;
	if (!seen)
		return is_lost(k, s, NULL);
	if (s->ahead && catalog_path(seen->type, seen->name, path) == 0) {
		tell(k, CHECK_OLDER, path, 0, false);
		return 0;
	}
	if (k->o->repair)
		return look_at_well(k, s, seen);
	path_spare(&s->uuid, path);
	if (s->err < 0)
		tell(k, CHECK_SPARE, path, s->err, false);
	return 0;
}

/* Made by a program that knew of no spare copies, or lost. */
static int
look_at_seen(struct rebuild *k, const struct seen *seen)
{
	char path[STORE_PATH_LEN];
	int r;

	path_spare(&seen->uuid, path);
	r = store_exists(k->c->st, path);
	if (r != 0 || !is_wanted(k, seen->name))
		return 0;
	if (k->o->repair)
		return look_at_well(k, NULL, seen);
	tell(k, CHECK_SPARE, path, 0, false);
	return 0;
}

static int
run(struct rebuild *k)
{
	int r;

	r = look_at_names(k);
	if (r == 0)
		r = find_spares(k);
	/* A snapshot is to find its disk. */
	for (enum desc_type t = DESC_DISK; r == 0 && t <= DESC_IMAGE; t++)
		for (size_t i = 0; r == 0 && i < k->n; i++)
			if (k->v[i].type == t)
				r = look_at_spare(k, &k->v[i]);
	for (size_t i = 0; r == 0 && i < k->census.n; i++)
		r = look_at_seen(k, &k->census.seen[i]);
	return r;
}

int
catalog_rebuild(struct catalog *c, struct kms *kms, const char *name,
		const struct check_options *o)
{
	struct rebuild k = { .c = c, .kms = kms, .name = name, .o = o };
	int r = run(&k);

	census_done(&k.census);
	free(k.v);
	return r;
}
