/*
 * repair_ini.c - a layer.ini made anew of its spare copy, or that of it.
 */
#include "repair_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "digest.h"

/* By the DK that authenticates it. */
static int
parse_ini(struct repair *rp, const char *text, size_t len)
{
	int r = -EBADMSG;

	for (size_t i = 0; r == -EBADMSG && i < rp->desc.n_keys; i++) {
		r = layer_meta_parse(text, len, &rp->dks[i], &rp->meta);
		if (r == 0)
			rp->dk = &rp->dks[i];
	}
	if (r == 0 && (!uuid_equal(&rp->meta.uuid, &rp->ref.layer) ||
		       !uuid_equal(&rp->meta.lineage, &rp->ref.lineage)))
		r = -EUCLEAN;
	return r;
}

/* Whether the list of its pages' digests is the one that it says: 1 or 0. */
static int
is_sealed(struct repair *rp)
{
	CLEANUP(digests_freep) struct digests *known = NULL;
	uint8_t sum[SHA256_LEN];
	int r;

	r = digests_load(rp->e->st, &rp->ref, &rp->map_key, &known);
	if (r < 0)
		return err_is_shortage(r) ? r : 0;
	digests_sum(known, sum);
	return memcmp(sum, rp->meta.digest, sizeof(sum)) == 0;
}

/* What a spare copy need not know (layer_ini.c) is found out. */
static int
take_spare(struct repair *rp)
{
	bool top = rp->desc.type == DESC_DISK &&
		   uuid_equal(&rp->ref.layer, &rp->desc.layer.layer);
	bool sealed = false;
	int r = 0;

	if (rp->meta.state == LAYER_OPEN && !top)
		rp->meta.state = LAYER_FROZEN;
	if (rp->meta.state == LAYER_SEALED) {
		r = is_sealed(rp);
		sealed = r > 0;
	}
	memset(rp->meta.parent_digest, 0, sizeof(rp->meta.parent_digest));
	if (r >= 0)
		r = lineage_mark(rp->e->st, &rp->ref.lineage, UNSEALED);
	if (r == 0)
		r = layer_put_meta(rp->e->st, &rp->meta, rp->dk);
	if (r < 0)
		return r;
	rp->report.inis++;
	/* It is not what whoever names it may say that it is. */
	if (!sealed && !top && rp->meta.state != LAYER_MERGING) {
		r = unseal_lost(rp->e, &rp->meta, rp->dk, &rp->desc);
		rp->meta.state = LAYER_FROZEN;
	}
	return r;
}

/* The spare copy of one that is whole. */
static void
check_spare(struct repair *rp, const char *text, size_t len)
{
	CLEANUP(free_memp) char *there = NULL;
	size_t n;
	int r = layer_load_spare(rp->e->st, &rp->ref, &there, &n);

	if (err_is_shortage(r) ||
	    (r == 0 && n == len && memcmp(there, text, len) == 0))
		return;
	if (layer_put_text(rp->e->st, &rp->ref, text) == 0)
		log_note("a layer.ini got a new spare copy");
}

int
repair_load_layer(struct repair *rp)
{
	CLEANUP(free_memp) char *text = NULL, *spare = NULL;
	struct store *st = rp->e->st;
	char path[STORE_PATH_LEN];
	size_t len;
	int r, e;

	path_layer(&rp->ref, "layer.ini", path);
	r = st->ops->load(st, path, META_MAX, &text, &len);
	if (r == 0)
		r = parse_ini(rp, text, len);
	e = r;
	if (r < 0 && !err_is_shortage(r))
		r = layer_load_spare(st, &rp->ref, &spare, &len);
	if (spare)
		r = parse_ini(rp, spare, len);
	if (r == 0)
		r = layer_map_key(rp->dk, &rp->ref.layer, &rp->map_key);
	if (r < 0 && !err_is_shortage(r)) {
		strcpy(rp->report.path, path);
		rp->report.top =
		    uuid_equal(&rp->ref.layer, &rp->desc.layer.layer);
		return e == -ENOENT ? -EUCLEAN : e;
	}
	if (r == 0 && spare) {
		log_note("%s: %s: made anew of its spare copy", path,
			 err_text(e));
		return take_spare(rp);
	}
	if (r == 0)
		check_spare(rp, text, len);
	return r;
}
