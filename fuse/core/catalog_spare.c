/*
 * catalog_spare.c - a spare copy of every descriptor, and of store.ini.
 *
 * A disk's wrapped data key is in its descriptor alone: who loses that has lost
 * the disk.  So spares/UUID.ini has the same text, under the same MAC.  It is
 * no second truth: nobody reads it but who makes a lost descriptor anew
 * (rebuild.c), and who looks whether there is a descriptor for each.
 *
 * It follows where something has changed that is not to be found elsewhere: not
 * with every session and checkpoint.  Where a wrapped key goes or is replaced,
 * by a rotation or at the end of a reencryption, no copy of it may stay: so the
 * spare is changed before the descriptor, and with it.  A new descriptor is
 * there before its spare, and a removed one's spare has gone before it, both
 * durably: so a spare without a descriptor means that the descriptor was lost,
 * and nothing of what it reaches is removed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "engine_private.h"

#define STORE_SPARE SPARES "/store.ini"

void
path_spare(const struct uuid *uuid, char out[static STORE_PATH_LEN])
{
	char u[UUID_STR_LEN];

	uuid_format(uuid, u);
	(void)snprintf(out, STORE_PATH_LEN, SPARES "/%s.ini", u);
}

bool
spare_name_parse(const char *name, struct uuid *ret)
{
	char u[UUID_STR_LEN];

	if (strlen(name) != UUID_STR_LEN - 1 + 4 ||
	    strcmp(name + UUID_STR_LEN - 1, ".ini") != 0)
		return false;
	memcpy(u, name, UUID_STR_LEN - 1);
	u[UUID_STR_LEN - 1] = '\0';
	return uuid_parse(u, ret) == 0;
}

/* ---- what it says ---- */

/* The digest of what is frozen is found out once. */
static bool
is_fleeting(const char *line, size_t len, bool frozen)
{
	static const char *const keys[] = {
		"digest", "session",      "clean",     "digest_session",
		"mac",    "checkpointed", "allocated",
	};

	for (size_t i = frozen; i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t n = strlen(keys[i]);

		if (len > n + 3 && memcmp(line, keys[i], n) == 0 &&
		    memcmp(line + n, " = ", 3) == 0)
			return true;
	}
	return false;
}

/* The next line from *${p} on that counts, with its length; NULL: none. */
static const char *
next_line(const char **p, size_t *ret_len, bool frozen)
{
	while (**p) {
		const char *line = *p;
		size_t len = strcspn(line, "\n");

		*p = line + len + (line[len] == '\n');
		if (is_fleeting(line, len, frozen))
			continue;
		*ret_len = len;
		return line;
	}
	return NULL;
}

bool
spare_says(const char *spare, const char *text, bool frozen)
{
	const char *a, *b;
	size_t la = 0, lb = 0;

	do {
		a = next_line(&spare, &la, frozen);
		b = next_line(&text, &lb, frozen);
	} while (a && b && la == lb && memcmp(a, b, la) == 0);
	return !a && !b;
}

#define CHAIN_MAX 65536 /* layers */

/* A map of root pages alone is that of a layer without content. */
static bool
has_pages(struct store *st, const struct layer_ref *ref)
{
	CLEANUP(store_closep) struct store_file *f = NULL;
	char path[STORE_PATH_LEN];
	uint64_t len;

	path_layer(ref, "map", path);
	return st->ops->open(st, path, false, &f) == 0 &&
	       st->ops->size(f, &len) == 0 && len > MAP_OFFSET;
}

/* Whether a spare copy names a layer above ${layer}, and whether that, or one
 * in between, has content. */
static bool
is_above(struct store *st, const char *text, size_t len,
	 const struct layer_ref *layer, bool *ret_holds)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	struct layer_ref ref;
	struct layer_meta m;

	*ret_holds = false;
	if (!d || descriptor_parse(text, len, d) < 0 ||
	    uuid_equal(&d->layer.layer, &layer->layer))
		return false;
	ref = d->layer;
	for (unsigned i = 0; i < CHAIN_MAX; i++) {
		if (layer_peek(st, &ref, &m) < 0 || !m.has_parent)
			return false;
		*ret_holds |= has_pages(st, &ref);
		if (uuid_equal(&m.parent.layer, &layer->layer))
			return true;
		ref = m.parent;
	}
	return false;
}

bool
spare_is_ahead(struct store *st, const char *text, size_t len,
	       const struct layer_ref *layer)
{
	bool holds;

	return is_above(st, text, len, layer, &holds) && holds;
}

bool
catalog_spare_is_above(struct catalog *c, const struct descriptor *d,
		       bool *ret_holds)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;

	path_spare(&d->uuid, path);
	return c->st->ops->load(c->st, path, META_MAX, &text, &len) == 0 &&
	       is_above(c->st, text, len, &d->layer, ret_holds);
}

bool
catalog_spare_is_ahead(struct catalog *c, const struct descriptor *d)
{
	bool holds;

	return catalog_spare_is_above(c, d, &holds) && holds;
}

int
spare_look(struct catalog *c, const struct descriptor *d, const char *text,
	   enum spare_state *ret)
{
	CLEANUP(free_memp) char *spare = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	path_spare(&d->uuid, path);
	r = c->st->ops->load(c->st, path, META_MAX, &spare, &len);
	if (err_is_shortage(r))
		return r;
	if (r == -ENOENT)
		*ret = SPARE_NONE;
	else if (r == 0 && d->type == DESC_DISK &&
		 spare_is_ahead(c->st, spare, len, &d->layer))
		*ret = SPARE_AHEAD;
	else if (r == 0 && spare_says(spare, text, d->type != DESC_DISK))
		*ret = SPARE_SAME;
	else
		*ret = SPARE_OTHER; /* or it cannot be read */
	return 0;
}

/* ---- changes ---- */

int
spare_put(struct catalog *c, const struct uuid *uuid, const char *text)
{
	char path[STORE_PATH_LEN];

	path_spare(uuid, path);
	return store_put(c->st, path, text, strlen(text));
}

int
spare_follow(struct catalog *c, const struct uuid *uuid, const char *text)
{
	char path[STORE_PATH_LEN];
	int r = spare_put(c, uuid, text);

	if (r != -EISDIR)
		return r;
	path_spare(uuid, path);
	log_warn("%s: %s: there is no spare copy", path, err_text(r));
	return 0;
}

int
spare_remove(struct catalog *c, const struct uuid *uuid)
{
	char path[STORE_PATH_LEN];
	int r;

	path_spare(uuid, path);
	r = c->st->ops->remove(c->st, path);
	if (r == -ENOENT || r == -ENOTEMPTY)
		return 0;
	return r < 0 ? r : c->st->ops->sync_dir(c->st, SPARES);
}

int
catalog_keep_spare(struct catalog *c, const struct descriptor *d,
		   const struct key *dk)
{
	CLEANUP(free_memp) char *text = NULL;
	enum spare_state state;
	int r;

	r = descriptor_format(d, dk, &text);
	if (r == 0)
		r = spare_look(c, d, text, &state);
	if (r == 0 && state != SPARE_SAME && state != SPARE_AHEAD)
		r = spare_put(c, &d->uuid, text);
	return r;
}

int
catalog_save(struct catalog *c, const struct descriptor *d,
	     const struct key *dk)
{
	CLEANUP(free_memp) char *text = NULL;
	enum spare_state state;
	char path[STORE_PATH_LEN];
	int r;

	r = descriptor_format(d, dk, &text);
	if (r == 0)
		r = spare_look(c, d, text, &state);
	if (r == 0 && state == SPARE_OTHER)
		r = spare_follow(c, &d->uuid, text);
	if (r < 0)
		return r;
	path_descriptor(d->type, d->of, d->name, path);
	r = c->st->ops->replace(c->st, path, text, strlen(text));
	if (r < 0 || state != SPARE_NONE)
		return r;
	/* The next change makes up for it. */
	r = spare_put(c, &d->uuid, text);
	if (r < 0)
		log_warn("%s has no spare copy: %s", path, err_text(r));
	return 0;
}

/* ---- store.ini ---- */

int
store_spare_put(struct store *st, const char *text)
{
	return st->ops->replace(st, STORE_SPARE, text, strlen(text));
}

void
store_spare_keep(struct catalog *c)
{
	CLEANUP(free_memp) char *text = NULL;

	if (store_exists(c->st, STORE_SPARE) == 0 &&
	    store_meta_format(&c->meta, &text) == 0)
		(void)!store_spare_put(c->st, text);
}

int
catalog_restore(struct store *st)
{
	struct catalog c = { .st = st };
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	int r;

	r = st->ops->load(st, STORE_SPARE, META_MAX, &text, &len);
	if (r == 0)
		r = store_meta_parse(text, len, &c.meta);
	if (r == 0)
		r = catalog_lock_names(&c, &lock);
	return r < 0 ? r : st->ops->replace(st, STORE_INI, text, len);
}
