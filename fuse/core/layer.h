/*
 * layer.h - making a layer; what else can be done with one is the engine's own
 * (engine_private.h).
 */
#ifndef SEALDISK_LAYER_H
#define SEALDISK_LAYER_H

#include "meta.h"
#include "store.h"

/**
 * layer_create(st, m, dk):
 * Make layer.ini and a map with its root pages, under ${dk}, durable with all
 * folders above them.  ${m} names lineage and layer.
 */
int layer_create(struct store *st, const struct layer_meta *m,
		 const struct key *dk) NONNULL CHECKED;

/* Replace layer.ini and its spare copy, durably (layer_ini.c). */
int layer_put_meta(struct store *st, const struct layer_meta *m,
		   const struct key *dk) NONNULL CHECKED;
int layer_put_text(struct store *st, const struct layer_ref *ref,
		   const char *text) NONNULL CHECKED;
/* The spare copy, malloc'ed; nothing of it is known to be true. */
int layer_load_spare(struct store *st, const struct layer_ref *ref, char **ret,
		     size_t *ret_len) NONNULL CHECKED;

/* What authenticates the pages of its map. */
int layer_map_key(const struct key *dk, const struct uuid *layer,
		  struct key *ret) NONNULL CHECKED;

#endif
