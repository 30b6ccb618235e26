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

/* What authenticates the pages of its map. */
int layer_map_key(const struct key *dk, const struct uuid *layer,
		  struct key *ret) NONNULL CHECKED;

#endif
