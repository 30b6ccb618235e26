/*
 * lost_map.h - a page of a layer's map that neither copy verifies of.
 */
#ifndef SEALDISK_LOST_MAP_H
#define SEALDISK_LOST_MAP_H

#include "test.h"

#include "engine_private.h"

/* The first one. */
static inline void
lose_map_page(struct store *st, const struct layer_ref *ref)
{
	uint8_t junk[PAGE_LEN];
	char path[STORE_PATH_LEN];
	struct store_file *f;

	memset(junk, 0x5a, sizeof(junk));
	path_layer(ref, "map", path);
	assert_ok(st->ops->open(st, path, true, &f));
	for (unsigned i = 0; i < 2; i++)
		assert_ok(st->ops->write(f, junk, PAGE_LEN,
					 MAP_OFFSET + page_offset(0, i)));
	store_close(f);
}

#endif
