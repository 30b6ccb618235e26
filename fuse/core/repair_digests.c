/*
 * repair_digests.c - a layer's list of digests made anew of its map.
 *
 * A sealed layer, and a disk that was detached cleanly, cannot be opened
 * without it.  All that it says is in the pages of the map, and what names the
 * layer has the digest that it must come to: so where it comes to that, nothing
 * is believed that was not known.  One that is authentic and says something
 * else is left: it tells that something has been put back.
 */
#include "repair_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "digest.h"

/* What the list must come to, and its session; false: nobody says. */
static bool
is_wanted(const struct repair *rp, const uint8_t **ret_sum,
	  uint64_t *ret_session)
{
	const struct descriptor *d = &rp->desc;

	*ret_session = 0;
	*ret_sum = rp->meta.digest;
	if (rp->meta.state == LAYER_SEALED)
		return true;
	*ret_session = d->digest_session;
	*ret_sum = d->digest;
	return d->type == DESC_DISK && !digest_is_none(d->digest) &&
	       uuid_equal(&rp->ref.layer, &d->layer.layer);
}

static int
collect(struct repair *rp, struct digests *g)
{
	union page_body root, page;
	struct page_taken t;
	int r = 0;

	for (unsigned i = 0; i < ROOTS; i++) {
		r = repair_page(rp, PAGE_ROOT, i, &root, &t);
		if (r <= 0)
			return r < 0 ? r : -EBADMSG;
		digests_set(g, PAGE_ROOT, i, t.mac);
		for (unsigned bit = 0; bit < ROOT_BITS; bit++) {
			uint64_t n = (uint64_t)i * ROOT_BITS + bit;

			if (!(root.bitmap[bit / 8] >> (bit % 8) & 1))
				continue;
			r = repair_page(rp, PAGE_MAP, n, &page, &t);
			if (r <= 0)
				return r < 0 ? r : -EBADMSG;
			digests_set(g, PAGE_MAP, n, t.mac);
		}
	}
	return 0;
}

int
repair_digests(struct repair *rp)
{
	CLEANUP(digests_freep) struct digests *g = NULL;
	struct store *st = rp->e->st;
	char path[STORE_PATH_LEN];
	const uint8_t *sum;
	uint64_t session;
	int r;

	if (!is_wanted(rp, &sum, &session))
		return 0;
	r = digests_load(st, &rp->ref, &rp->map_key, &g);
	if (r == 0 || err_is_shortage(r))
		return r;
	r = digests_new(&g);
	if (r == 0)
		r = collect(rp, g);
	if (r == 0)
		r = digests_save_as(g, st, &rp->ref, &rp->map_key, session,
				    sum);
	path_layer(&rp->ref, "digests", path);
	if (r == 0) {
		rp->report.lists++;
		log_note("%s: made anew of the map", path);
	} else if (r == -EBADMSG) {
		repair_names(rp, path);
	}
	return r;
}
