/*
 * fs_once.c - requests that a second doing would spoil, and open files: what is
 * known of them to the next process (keep.h).
 *
 * A request that was read and not answered comes once more when its worker has
 * died (KEEP_RESENT).  Writing and the like is done again.  One that changes
 * names is noted before it is begun, when it has been seen that it is not done
 * yet, with what it is about; so whoever gets it again can tell whether it was
 * done, by looking.  When it is, its result is noted before it is answered.
 *
 * An open file's number is what the kernel says at its release; a release that
 * comes again finds it gone.
 */
#include "fs_private.h"

#include <errno.h>
#include <string.h>

#include "pending.h"

static struct keep *
keep_of(const struct fs *fs)
{
	return fs->opt.link ? fs->opt.link->keep : NULL;
}

/* ---- once ---- */

static struct keep_once *
find_once(struct keep *k, uint64_t unique)
{
	for (unsigned i = 0; i < KEEP_ONCE; i++)
		if (atomic_load(&k->once[i].unique) == unique)
			return &k->once[i];
	return NULL;
}

/* A free one, else one of an earlier worker, of which nothing comes any more
 * by now or there would not be so many. */
static struct keep_once *
new_once(struct keep *k, uint64_t unique)
{
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < KEEP_ONCE; i++) {
			struct keep_once *o = &k->once[i];
			uint64_t was = atomic_load(&o->unique);

			if (was && (pass == 0 || o->run == k->runs))
				continue;
			if (!atomic_compare_exchange_strong(&o->unique, &was,
							    UINT64_MAX))
				continue;
			memset(&o->uuid, 0, sizeof(o->uuid));
			o->run = k->runs;
			o->result = 0;
			o->out_len = 0;
			atomic_store(&o->state, 0);
			atomic_store(&o->unique, unique);
			return o;
		}
	return NULL;
}

struct keep_once *
fs_once(struct fs *fs, enum once_was *ret_was)
{
	uint64_t unique = pending_unique(), plain = unique & ~KEEP_RESENT;
	struct keep *k = keep_of(fs);
	struct keep_once *o = NULL;
	uint32_t state;

	*ret_was = ONCE_NEW;
	if (!k || !plain)
		return NULL;
	if (unique & KEEP_RESENT)
		o = find_once(k, plain);
	if (!o)
		return new_once(k, plain);
	o->run = k->runs;
	state = atomic_load(&o->state);
	if (state == ONCE_BEGUN)
		*ret_was = ONCE_WAS_BEGUN;
	else if (state == ONCE_DONE)
		*ret_was = ONCE_WAS_DONE;
	return o;
}

void
once_begin(struct keep_once *o, const struct uuid *about)
{
	if (!o)
		return;
	if (about)
		o->uuid = *about;
	atomic_store(&o->state, ONCE_BEGUN);
}

void
once_done(struct keep_once *o, int result, const void *out, size_t len)
{
	if (!o)
		return;
	o->result = result;
	o->out_len = 0;
	if (len && len <= sizeof(o->out)) {
		memcpy(o->out, out, len);
		o->out_len = (uint32_t)len;
	}
	atomic_store(&o->state, ONCE_DONE);
}

void
once_end(struct keep_once *o)
{
	if (o)
		atomic_store(&o->unique, 0);
}

/* ---- open files ---- */

/* The number: a serial number, the place in the table, how it is open. */
#define PLACE_BITS 15
_Static_assert(KEEP_HANDLES <= 1 << (PLACE_BITS - 1), "places");

static struct keep_handle *
place_of(struct keep *k, uint64_t fh)
{
	uint64_t i = (fh & ((1U << PLACE_BITS) - 1)) >> 1;

	return i < KEEP_HANDLES ? &k->handles[i] : NULL;
}

int
handle_new(struct fs *fs, uint64_t unique, uint64_t node, bool direct,
	   uint64_t *ret_fh)
{
	struct keep *k = keep_of(fs);
	uint64_t n;

	*ret_fh = direct ? FH_DIRECT : 0;
	if (!k)
		return 0;
	n = atomic_fetch_add(&k->next_handle, 1) + 1;
	for (unsigned i = 0; i < KEEP_HANDLES; i++) {
		uint64_t at = (n + i) % KEEP_HANDLES, none = 0;
		struct keep_handle *h = &k->handles[at];

		/* Whoever is killed here leaves a place that nobody frees
		 * before the mount ends. */
		if (!atomic_compare_exchange_strong(&h->id, &none, UINT64_MAX))
			continue;
		h->unique = unique & ~KEEP_RESENT;
		h->node = node;
		*ret_fh |= n << PLACE_BITS | at << 1;
		atomic_store(&h->id, *ret_fh);
		return 0;
	}
	return -ENFILE;
}

bool
handle_find(struct fs *fs, uint64_t unique, uint64_t node, uint64_t *ret_fh)
{
	struct keep *k = keep_of(fs);

	if (!k || !(unique & KEEP_RESENT))
		return false;
	for (unsigned i = 0; i < KEEP_HANDLES; i++) {
		struct keep_handle *h = &k->handles[i];
		uint64_t id = atomic_load(&h->id);

		if (id && id != UINT64_MAX && h->node == node &&
		    h->unique == (unique & ~KEEP_RESENT)) {
			*ret_fh = id;
			return true;
		}
	}
	return false;
}

bool
handle_free(struct fs *fs, uint64_t fh)
{
	struct keep *k = keep_of(fs);
	struct keep_handle *h;

	if (!k)
		return true;
	h = place_of(k, fh);
	return h && atomic_compare_exchange_strong(&h->id, &fh, 0);
}

void
handle_count(struct fs *fs, uint64_t node, unsigned *ret_direct,
	     unsigned *ret_cached)
{
	struct keep *k = keep_of(fs);

	*ret_direct = *ret_cached = 0;
	for (unsigned i = 0; k && i < KEEP_HANDLES; i++) {
		struct keep_handle *h = &k->handles[i];
		uint64_t id = atomic_load(&h->id);

		if (!id || id == UINT64_MAX || h->node != node)
			continue;
		if (id & FH_DIRECT)
			++*ret_direct;
		else
			++*ret_cached;
	}
}

uint64_t
handle_next(struct fs *fs, unsigned *i)
{
	struct keep *k = keep_of(fs);

	while (k && *i < KEEP_HANDLES) {
		struct keep_handle *h = &k->handles[(*i)++];
		uint64_t id = atomic_load(&h->id);

		if (id == UINT64_MAX)
			atomic_store(&h->id, 0);
		else if (id)
			return h->node;
	}
	return 0;
}
