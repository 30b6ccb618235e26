/*
 * checkpoint_verify.c - what is there is held against what it should be
 * (checkpoint.c says how that comes to be known): the files of the top layer at
 * attach, a page of a map when it is loaded, a chunk when it is opened.
 *
 * Whatever is of a session after the checkpoint is newer than that; a layer
 * that is sealed has nothing that is.
 */
#include "engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <sealdisk/log.h>

/* ---- what is read ---- */

static void
say_older(const struct layer *l, const char *what, uint64_t index)
{
	char path[STORE_PATH_LEN];

	path_layer(&l->ref, "map", path);
	fault_log(l->disk,
		  "%s: %s page %" PRIu64 " is an older version of itself", path,
		  what, index);
}

int
checkpoint_page(struct page *p)
{
	struct layer *l = p->layer;
	uint8_t mac[DIGEST_LEN];

	if (p->kind == PAGE_GROUP || !l->digests)
		return 0;
	if (atomic_load(&l->held) && p->session <= l->digest_session &&
	    (!digests_get(l->digests, p->kind, p->index, mac) ||
	     memcmp(mac, p->mac, DIGEST_LEN) != 0)) {
		say_older(l, p->kind == PAGE_ROOT ? "root" : "map", p->index);
		if (p->kind == PAGE_ROOT)
			atomic_store(&l->older, true);
		return -EBADMSG;
	}
	digests_set(l->digests, p->kind, p->index, p->mac);
	return 0;
}

void
checkpoint_committed(struct page *p)
{
	if (p->kind != PAGE_GROUP && p->layer->digests)
		digests_set(p->layer->digests, p->kind, p->index, p->mac);
}

int
checkpoint_chunk(struct chunk *c, struct scratch *s, const struct entry *e)
{
	static const uint8_t none[DIGEST_LEN];
	struct layer *l = c->layer;
	struct chunk_look look;
	char name[STORE_PATH_LEN];
	int r;

	if (!atomic_load(&l->held) ||
	    memcmp(e->digest, none, DIGEST_LEN) == 0 ||
	    chunk_is(s->run, e->digest))
		return 0;
	r = chunk_look(s->run, c->keys + KEY_LEN, c->index, &look);
	if (r < 0 || look.session > l->digest_session)
		return r;
	chunk_name(c, name);
	if (look.bad) {
		fault_log(l->disk,
			  "%s: whether it is an older version cannot be told",
			  name);
		return 0;
	}
	if (memcmp(look.digest, e->digest, DIGEST_LEN) == 0)
		return 0;
	fault_log(l->disk, "%s: it is an older version of itself", name);
	return -EBADMSG;
}

/* ---- at attach ---- */

void
checkpoint_clear(struct descriptor *d)
{
	memset(d->digest, 0, sizeof(d->digest));
	d->digest_session = d->session > 0 ? d->session - 1 : 0;
	d->checkpointed = 0;
}

int
checkpoint_rolled_back(struct disk *d, int flags, const char *why)
{
	atomic_fetch_add(&d->faults, 1);
	log_error("disk %s: integrity: it was put back to an older state: %s; "
		  "attach it with --ro to look, with --accept-rollback to go "
		  "on by it",
		  d->desc.name, why);
	if (!(flags & (DISK_READ_ONLY | DISK_READ_OLDER)))
		return -ESTALE;
	d->rolled_back = true;
	return 0;
}

/* What the descriptor says does not hold. */
static int
rolled_back(struct disk *d, const char *found, int flags)
{
	const struct descriptor *desc = &d->desc;
	char since[TIME_STR_LEN], why[256];

	format_time(desc->checkpointed, since);
	(void)snprintf(why, sizeof(why),
		       "the checkpoint of %s is of session %" PRIu64 ", %s",
		       since, desc->digest_session, found);
	return checkpoint_rolled_back(d, flags, why);
}

int
checkpoint_verify(struct disk *d, int flags, struct digests **ret)
{
	CLEANUP(digests_freep) struct digests *known = NULL;
	CLEANUP(key_wipe) struct key key = { { 0 } };
	uint8_t sum[SHA256_LEN];
	char found[64];
	int r;

	*ret = NULL;
	if (flags & DISK_ACCEPT_ROLLBACK) {
		log_note("disk %s: taken as it is, whatever it was at the last "
			 "checkpoint",
			 d->desc.name);
		checkpoint_clear(&d->desc);
	}
	if (digest_is_none(d->desc.digest))
		return 0;
	r = layer_map_key(disk_top_dk(d), &d->desc.layer.layer, &key);
	if (r == 0)
		r = digests_load(d->e->st, &d->desc.layer, &key, &known);
	if (r == -ENOENT || r == -EBADMSG || r == -EUCLEAN)
		return rolled_back(d,
				   "and its list of digests is lost "
				   "(`check --repair` makes it anew)",
				   flags);
	if (r < 0)
		return r;
	digests_sum(known, sum);
	/* A later one is of a checkpoint that was cut short. */
	if (memcmp(sum, d->desc.digest, sizeof(sum)) != 0 &&
	    digests_session(known) <= d->desc.digest_session) {
		(void)snprintf(found, sizeof(found),
			       "what is there is of session %" PRIu64,
			       digests_session(known));
		return rolled_back(d, found, flags);
	}
	/* Where the descriptor alone is older: no session comes twice. */
	if (digests_session(known) > d->desc.session)
		d->desc.session = digests_session(known);
	*ret = TAKE(known);
	return 0;
}

int
checkpoint_older(struct layer *l, int flags)
{
	int r = rolled_back(l->disk, "which what is there is not", flags);

	if (r == 0)
		atomic_store(&l->held, false);
	return r;
}

/* Of the largest disk, and of it what is touched: malloc would clear it all as
 * often as not. */
#define CHANGED_BYTES (CHANGED_WORDS * sizeof(uint64_t))

static int
changed_begin(struct changed *c)
{
	void *p = mmap(NULL, CHANGED_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	if (c->bits)
		munmap(c->bits, CHANGED_BYTES);
	c->bits = p;
	return 0;
}

int
checkpoint_begin(struct layer *l, struct digests *known, bool tracked)
{
	digests_free(l->digests);
	l->digests = known;
	pthread_mutex_lock(&l->disk->desc_lock);
	l->digest_session = l->disk->desc.digest_session;
	pthread_mutex_unlock(&l->disk->desc_lock);
	atomic_store(&l->held, known != NULL);
	l->tracked = tracked;
	/* What a later version has added must not be passed over. */
	pthread_mutex_lock(&l->disk->desc_lock);
	l->lost = l->meta.read_only || l->disk->desc.read_only;
	pthread_mutex_unlock(&l->disk->desc_lock);
	if (changed_begin(&l->changed) < 0)
		return -ENOMEM;
	/* What a nameless disk adds is all that is asked of it. */
	if (!tracked && !l->lost && !l->disk->nameless && recount_begin(l) < 0)
		return -ENOMEM;
	return known ? 0 : digests_new(&l->digests);
}

int
checkpoint_hold(struct layer *l)
{
	uint8_t sum[SHA256_LEN];
	char path[STORE_PATH_LEN];
	int r;

	r = digests_load(l->disk->e->st, &l->ref, l->map_key, &l->digests);
	if (r == 0)
		digests_sum(l->digests, sum);
	if (r == 0 && memcmp(sum, l->meta.digest, sizeof(sum)) != 0)
		r = -EBADMSG;
	if (r == 0) {
		l->digest_session = UINT64_MAX;
		atomic_store(&l->held, true);
	}
	if (r != -ENOENT && r != -EBADMSG && r != -EUCLEAN)
		return r;
	path_layer(&l->ref, "digests", path);
	fault_log(l->disk, "%s: %s", path,
		  r == -ENOENT ? "is not there" : "is not that of the layer");
	return -EBADMSG;
}

void
checkpoint_end(struct layer *l)
{
	digests_free(l->digests);
	if (l->changed.bits)
		munmap(l->changed.bits, CHANGED_BYTES);
	recount_end(l);
}
