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

static bool
is_top(const struct repair *rp)
{
	return rp->desc.type == DESC_DISK &&
	       uuid_equal(&rp->ref.layer, &rp->desc.layer.layer);
}

/* A snapshot that was cut off has made a layer above, which the spare copy of
 * the descriptor may know: who makes that anew takes it.  Who has one that is
 * frozen on top gets a new one. */
static bool
may_be_open(const struct repair *rp)
{
	bool holds;

	return is_top(rp) && !catalog_spare_is_above(engine_catalog(rp->e),
						     &rp->desc, &holds);
}

/* What a spare copy need not know (layer_ini.c).  One that says that its layer
 * is sealed knows the digest: before that nothing else has it. */
static int
take_spare(struct repair *rp)
{
	int r;

	if (rp->meta.state == LAYER_OPEN && !may_be_open(rp))
		rp->meta.state = LAYER_FROZEN;
	memset(rp->meta.parent_digest, 0, sizeof(rp->meta.parent_digest));
	r = lineage_mark(rp->e->st, &rp->ref.lineage, UNSEALED);
	if (r == 0)
		r = layer_put_meta(rp->e->st, &rp->meta, rp->dk);
	rp->report.inis += r == 0;
	return r;
}

/* Whether it is what names the layer says. */
static bool
is_expected(const struct repair *rp, const struct layer_meta *m)
{
	return (m->state == LAYER_SEALED || m->state == LAYER_MERGING) &&
	       memcmp(m->digest, rp->expected, sizeof(m->digest)) == 0;
}

/* Both verify: which is the older one?  One that was put back, from a backup
 * perhaps, says that a layer is open which something is above, or does not know
 * its digest. */
static bool
is_older(const struct repair *rp, const struct layer_meta *ini,
	 const struct layer_meta *spare)
{
	if (!digest_is_none(rp->expected) && !is_expected(rp, ini) &&
	    is_expected(rp, spare))
		return true;
	return !is_top(rp) && ini->state == LAYER_OPEN &&
	       spare->state != LAYER_OPEN;
}

/* The spare copy of one that verifies. */
static int
check_spare(struct repair *rp, const char *text, size_t len)
{
	CLEANUP(free_memp) char *there = NULL;
	struct layer_meta spare;
	size_t n;
	int r = layer_load_spare(rp->e->st, &rp->ref, &there, &n);

	if (err_is_shortage(r))
		return r;
	if (r == 0 && n == len && memcmp(there, text, len) == 0)
		return 0;
	if (r == 0)
		r = layer_meta_parse(there, n, rp->dk, &spare);
	if (r == 0 && uuid_equal(&spare.uuid, &rp->meta.uuid) &&
	    is_older(rp, &rp->meta, &spare)) {
		log_note("a layer.ini is older than its spare copy: made anew");
		rp->meta = spare;
		return take_spare(rp);
	}
	/* Without one it is as whole. */
	if (layer_put_text(rp->e->st, &rp->ref, text) == 0)
		log_note("a layer.ini got a new spare copy");
	return 0;
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
	return r == 0 ? check_spare(rp, text, len) : r;
}
