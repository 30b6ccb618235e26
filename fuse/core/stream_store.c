/*
 * stream_store.c - a received layer goes into the store.
 *
 * All that comes here has been authenticated.  Pages and blocks are stored as
 * they came, into the slots that they were in; the superblock alone is new.
 *
 * The sweep finds the chunks of a layer by its map.  So a map page is durable
 * before there is a file of a chunk that it names, and wherever a receive stops
 * nothing is left that nobody finds.  And it finds them by index and salt,
 * whoever made them: so a chunk that is in this lineage already, under another
 * layer (one that has been merged on the other side, and not here), must not
 * come in a second time, or the end of one layer would take it from the other.
 */
#include "stream_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/grow.h>

/* After a sync that failed nobody knows what of all that was written will be
 * there.  A write that failed is nothing against those before it. */
static int
synced(struct chunk_dest *d, int err)
{
	if (err < 0)
		d->sync_failed = true;
	return err;
}

int
dest_begin(struct chunk_dest *d, bool again)
{
	char path[STORE_PATH_LEN], folder[STORE_PATH_LEN];
	struct store *st = d->st;
	int r;

	path_layer(&d->ref, "map", path);
	if (again)
		return st->ops->open(st, path, true, &d->map);
	r = st->ops->remove(st, path);
	if (r == 0 || r == -ENOENT)
		r = st->ops->create(st, path, &d->map);
	path_folder(path, folder);
	return r < 0 ? r : synced(d, st->ops->sync_dir(st, folder));
}

int
dest_page(struct chunk_dest *d, enum page_kind kind, uint64_t n,
	  const uint8_t raw[static PAGE_LEN])
{
	uint64_t base = kind == PAGE_MAP ? MAP_OFFSET : 0;
	int r = 0;

	for (unsigned copy = 0; r == 0 && copy < 2; copy++)
		r = d->st->ops->write(d->map, raw, PAGE_LEN,
				      base + page_offset(n, copy));
	return r;
}

/* ---- chunks that are here ---- */

struct here {
	uint32_t index;
	uint8_t salt[4]; /* the beginning of it */
};

static int
add_here(struct chunk_dest *d, const struct here *h)
{
	struct here *v;

	v = grow(d->here, d->n_here, &d->cap_here, sizeof(*v));
	if (!v)
		return -ENOMEM;
	d->here = v;
	d->here[d->n_here++] = *h;
	return 0;
}

/* A chunk that another layer has made. */
static int
note_here(const char *name, bool is_dir, void *arg)
{
	struct chunk_dest *d = arg;
	char hex[2][9];
	struct here h;
	uint8_t by[4];
	int end = 0;

	if (is_dir || strlen(name) != 31 ||
	    sscanf(name, "%7" SCNx32 "-%8[0-9a-f]-%8[0-9a-f].chunk%n", &h.index,
		   hex[0], hex[1], &end) != 3 ||
	    end != 31 || hex_decode(hex[0], by, 4) < 0 ||
	    hex_decode(hex[1], h.salt, 4) < 0 ||
	    memcmp(by, d->ref.layer.bytes, 4) == 0)
		return 0;
	return add_here(d, &h);
}

/* Those in one folder of a lineage are listed once, not once a map page. */
static int
list_here(struct chunk_dest *d, uint64_t index)
{
	static const uint8_t no_salt[12];
	char path[STORE_PATH_LEN], folder[STORE_PATH_LEN];
	int r;

	path_chunk(&d->ref.lineage, index, &d->ref.layer, no_salt, path);
	path_folder(path, folder);
	if (strcmp(folder, d->folder) == 0)
		return 0;
	d->n_here = 0;
	r = d->st->ops->list(d->st, folder, note_here, d);
	if (r < 0 && r != -ENOENT)
		return r;
	strcpy(d->folder, folder);
	return 0;
}

int
dest_map_ready(struct chunk_dest *d, uint64_t n, const union page_body *body)
{
	int r;

	r = list_here(d, n * MAP_CHUNKS);
	if (r < 0)
		return r;
	for (size_t i = 0; i < d->n_here; i++) {
		const struct here *h = &d->here[i];
		const struct entry *e = &body->entry[h->index % MAP_CHUNKS];

		if (h->index / MAP_CHUNKS == n && e->state == ENTRY_DATA &&
		    memcmp(e->unique, h->salt, sizeof(h->salt)) == 0)
			return -EEXIST;
	}
	return synced(d, d->st->ops->sync(d->map));
}

/* ---- a chunk ---- */

int
dest_chunk_begin(struct chunk_dest *d, uint64_t index,
		 const uint8_t salt[static 12])
{
	struct store *st = d->st;
	char path[STORE_PATH_LEN];
	int r;

	if (!d->head)
		d->head = malloc(SLOTS_OFFSET);
	if (!d->head)
		return -ENOMEM;
	path_chunk(&d->ref.lineage, index, &d->ref.layer, salt, path);
	r = st->ops->create(st, path, &d->file);
	if (r != -EEXIST)
		return r;
	/* Of a receive that was cut; how much of it is durable, who knows. */
	r = st->ops->remove(st, path);
	return r < 0 ? r : st->ops->create(st, path, &d->file);
}

void
dest_group_pages(struct chunk_dest *d, unsigned g,
		 const uint8_t raw[2][PAGE_LEN])
{
	for (unsigned copy = 0; copy < 2; copy++)
		memcpy(d->head + SUPER_LEN + page_offset(g, copy), raw[copy],
		       PAGE_LEN);
}

int
dest_blocks(struct chunk_dest *d, uint64_t group, const struct slots *s,
	    const uint8_t *blocks)
{
	unsigned slot, run;
	int r = 0;

	for (slot = slots_next(s, 0, &run); r == 0 && run > 0;
	     slot = slots_next(s, slot + run, &run)) {
		size_t len = (size_t)run * BLOCK_SIZE;

		r = d->st->ops->write(d->file, blocks, len,
				      slot_offset(group, slot));
		blocks += len;
		d->bytes += len;
	}
	return r;
}

int
dest_chunk_end(struct chunk_dest *d, const struct super *su,
	       const uint8_t mac_key[static KEY_LEN])
{
	int r;

	r = super_encode(su, mac_key, d->head);
	if (r == 0)
		r = d->st->ops->write(d->file, d->head, SLOTS_OFFSET, 0);
	if (r < 0)
		return r;
	/* So that the sync at the end of the layer finds little to do. */
	d->st->ops->writeback(d->file, 0, SLOTS_OFFSET + 2 * CHUNK_LEN);
	store_close(d->file);
	d->file = NULL;
	return 0;
}

void
dest_close(struct chunk_dest *d)
{
	store_close(d->file);
	store_close(d->map);
	free(d->head);
	free(d->here);
	d->file = d->map = NULL;
	d->head = NULL;
	d->here = NULL;
}
