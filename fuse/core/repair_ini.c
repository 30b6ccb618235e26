/*
 * repair_ini.c - a layer.ini made anew of its spare copy, or that of it.
 */
#include "repair_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

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

/* What a spare copy need not know (layer_ini.c).  One that says that its layer
 * is sealed knows the digest: before that nothing else has it. */
static int
take_spare(struct repair *rp)
{
	bool top = rp->desc.type == DESC_DISK &&
		   uuid_equal(&rp->ref.layer, &rp->desc.layer.layer);
	int r;

	if (rp->meta.state == LAYER_OPEN && !top)
		rp->meta.state = LAYER_FROZEN;
	memset(rp->meta.parent_digest, 0, sizeof(rp->meta.parent_digest));
	r = lineage_mark(rp->e->st, &rp->ref.lineage, UNSEALED);
	if (r == 0)
		r = layer_put_meta(rp->e->st, &rp->meta, rp->dk);
	rp->report.inis += r == 0;
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
		repair_names(rp, path);
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
