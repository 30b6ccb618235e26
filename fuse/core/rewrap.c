/*
 * rewrap.c - see rewrap.h.
 *
 * The KMS may let us wait; so it is asked with no lock of the store held, and
 * what it was asked about is compared under the lock with what is there then.
 * Wrapped keys lie outside the descriptor's MAC, whose key nobody needs for
 * this.  The old text stays good for ever, since a CMK keeps its versions: a
 * crash leaves one or the other.
 *
 * Of an attached disk the descriptor in memory is the one that counts, for it
 * is written again at the next resize or detach; so there it is changed first.
 */
#include <errno.h>
#include <string.h>

#include "catalog_private.h"
#include "datakey.h"
#include "engine_private.h"
#include "rewrap.h"

#define TRIES 5

/* What is asked of the DKs of a descriptor. */
struct rewrap {
	struct kms *kms;
	const char *key; /* NULL: each under its own */
	bool dry;
	unsigned n; /* how many were not wrapped so */
	/* Which DK it is, from what does not change. */
	int (*know)(const struct desc_key *k, struct key *ret, void *arg);
	void *arg;
};

static int
rewrap_one(struct rewrap *w, struct desc_key *k)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct kms_key_info to;
	int r;

	r = kms_describe_key(w->kms, w->key ? w->key : k->dk.key_id, &to);
	if (r < 0)
		return r;
	if (strcmp(k->dk.key_id, to.id) == 0 &&
	    strcmp(k->dk.key_version_id, to.primary_version) == 0)
		return 0;
	w->n++;
	if (w->dry)
		return 0;
	r = w->know(k, &dk, w->arg);
	return r < 0 ? r : datakey_rewrap(w->kms, &k->dk, &dk, to.id);
}

/* After an error ${d} is of no use. */
static int
rewrap_keys(struct rewrap *w, struct descriptor *d)
{
	int r = 0;

	for (size_t i = 0; i < d->n_keys && r == 0; i++)
		r = rewrap_one(w, &d->keys[i]);
	return r;
}

/* ---- of the store ---- */

struct stored {
	struct kms *kms;
	const struct descriptor *d;
	const char *text;
	size_t len;
};

/* As the old wrapping says; that of the descriptor has to be the one that
 * authenticates it. */
static int
know_stored(const struct desc_key *k, struct key *ret, void *arg)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	const struct stored *s = arg;
	int r = kms_decrypt(s->kms, &k->dk, &dk);

	if (r == 0 && uuid_equal(&k->uuid, &s->d->key))
		r = descriptor_verify(s->text, s->len, &s->d->uuid, &dk);
	if (r == 0)
		memcpy(ret, &dk, sizeof(*ret));
	return r;
}

/* With the names locked: -EAGAIN if it is not ${text} any more. */
static int
replace(struct catalog *c, enum desc_type type, const char *name,
	const char *text, size_t len, const struct descriptor *d)
{
	CLEANUP(free_memp) char *now = NULL, *new = NULL;
	char path[STORE_PATH_LEN];
	size_t now_len;
	int r;

	r = catalog_path(type, name, path);
	if (r == 0)
		r = c->st->ops->load(c->st, path, META_MAX, &now, &now_len);
	if (r == 0 && (now_len != len || memcmp(now, text, len) != 0))
		r = -EAGAIN;
	if (r == 0)
		r = descriptor_rewrite_keys(text, len, d, &new);
	/* Of what was wrapped before no copy stays. */
	if (r == 0)
		r = spare_follow(c, &d->uuid, new);
	return r < 0 ? r : c->st->ops->replace(c->st, path, new, strlen(new));
}

static int
rewrap_once(struct catalog *c, struct kms *kms, enum desc_type type,
	    const char *name, const char *key, bool dry, unsigned *ret_n)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(free_memp) char *text = NULL;
	struct stored s = { .kms = kms, .d = d };
	struct rewrap w = { .kms = kms,
			    .key = key,
			    .dry = dry,
			    .know = know_stored,
			    .arg = &s };
	size_t len;
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_load(c, type, name, d, &text, &len);
	s.text = text;
	s.len = len;
	if (r == 0)
		r = rewrap_keys(&w, d);
	if (r == 0 && w.n > 0 && d->read_only)
		r = -EROFS;
	if (r == 0 && w.n > 0 && !dry) {
		r = catalog_lock_names(c, &lock);
		if (r == 0)
			r = replace(c, type, name, text, len, d);
	}
	if (r == 0)
		*ret_n = w.n;
	return r;
}

int
catalog_rewrap(struct catalog *c, struct kms *kms, enum desc_type type,
	       const char *name, const char *key, bool dry, unsigned *ret_n)
{
	int i, r = -EAGAIN;

	for (i = 0; i < TRIES && r == -EAGAIN; i++)
		r = rewrap_once(c, kms, type, name, key, dry, ret_n);
	return r == -EAGAIN ? -EBUSY : r;
}

/* Of an attached disk. */

struct change {
	const struct descriptor *from, *to;
};

static bool
same_dk(const struct wrapped_dk *a, const struct wrapped_dk *b)
{
	return a->blob_len == b->blob_len &&
	       memcmp(a->blob, b->blob, a->blob_len) == 0;
}

static int
take_keys(struct descriptor *d, void *arg)
{
	const struct change *c = arg;
	size_t i;

	if (d->n_keys != c->from->n_keys)
		return -EAGAIN;
	for (i = 0; i < d->n_keys; i++)
		if (!same_dk(&d->keys[i].dk, &c->from->keys[i].dk))
			return -EAGAIN;
	memcpy(d->keys, c->to->keys, sizeof(d->keys));
	return 0;
}

/* It has them open. */
static int
know_attached(const struct desc_key *k, struct key *ret, void *arg)
{
	int r = disk_get_dk(arg, &k->uuid, ret);

	return r == -ENOKEY ? -EAGAIN : r; /* it has none of it any more */
}

static int
disk_rewrap_once(struct disk *d, const char *key, unsigned *ret_n)
{
	CLEANUP(free_memp) struct descriptor *from = malloc(sizeof(*from));
	CLEANUP(free_memp) struct descriptor *to = malloc(sizeof(*to));
	struct change c = { from, to };
	struct rewrap w = {
		.kms = d->e->kms, .key = key, .know = know_attached, .arg = d
	};
	int r;

	if (!from || !to)
		return -ENOMEM;
	disk_descriptor(d, from);
	memcpy(to, from, sizeof(*to));
	r = rewrap_keys(&w, to);
	if (r == 0 && w.n > 0)
		r = from->read_only ? -EROFS : disk_update(d, take_keys, &c);
	if (r == 0)
		*ret_n = w.n;
	return r;
}

int
disk_rewrap(struct disk *d, const char *key, unsigned *ret_n)
{
	int i, r = -EAGAIN;

	for (i = 0; i < TRIES && r == -EAGAIN; i++)
		r = disk_rewrap_once(d, key, ret_n);
	return r == -EAGAIN ? -EBUSY : r;
}
