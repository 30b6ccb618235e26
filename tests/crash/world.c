/*
 * world.c - the model: what may be there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

/* ---- contents ---- */

static uint8_t (*bytes)[BLOCK];
static unsigned n_bytes, cap_bytes;

static unsigned
content_new(const uint8_t *p)
{
	if (n_bytes == cap_bytes) {
		cap_bytes = cap_bytes ? 2 * cap_bytes : 256;
		bytes = reallocarray(bytes, cap_bytes, BLOCK);
		if (!bytes || cap_bytes > UINT16_MAX)
			abort();
	}
	if (n_bytes == 0)
		memset(bytes[n_bytes++], 0, BLOCK);
	if (memcmp(p, bytes[0], BLOCK) == 0)
		return 0;
	memcpy(bytes[n_bytes], p, BLOCK);
	return n_bytes++;
}

const uint8_t *
content_bytes(unsigned id)
{
	static const uint8_t zeros[BLOCK];

	return id == 0 ? zeros : bytes[id];
}

unsigned
contents(void)
{
	return n_bytes;
}

void
contents_cut(unsigned n)
{
	n_bytes = n;
}

/* ---- names ---- */

void
world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
}

const char *
disk_name(const struct world *w, unsigned i)
{
	static const char *const names[DISKS][2] = { { "d0", "e0" },
						     { "d1", "e1" },
						     { "d2", "e2" } };

	return names[i][w->disk[i].name];
}

const char *
snap_name(const struct world *w, unsigned i, char out[static 32])
{
	if (w->snap[i].type == DESC_SNAPSHOT)
		(void)snprintf(out, 32, "%s@s%u", disk_name(w, w->snap[i].of),
			       i);
	else
		(void)snprintf(out, 32, "i%u", i);
	return out;
}

/* ---- disks ---- */

static bool
may_hold(struct vdisk *d, unsigned b, unsigned id)
{
	for (unsigned i = 0; i < d->n_may[b]; i++)
		if (d->may[b][i] == id)
			return true;
	if (d->n_may[b] == MAY_MAX)
		return false;
	d->may[b][d->n_may[b]++] = (uint16_t)id;
	return true;
}

static unsigned
blocks_end(uint64_t len, uint64_t off)
{
	return (unsigned)((off + len + BLOCK - 1) / BLOCK);
}

/* Block ${b} as the write makes it. */
static unsigned
overlay(const struct vdisk *d, unsigned b, const uint8_t *buf, uint64_t len,
	uint64_t off)
{
	uint64_t start = (uint64_t)b * BLOCK, end = start + BLOCK;
	uint64_t from = off > start ? off : start;
	uint64_t to = off + len < end ? off + len : end;
	uint8_t block[BLOCK];

	memcpy(block, content_bytes(d->cur[b]), BLOCK);
	if (buf)
		memcpy(block + (from - start), buf + (from - off), to - from);
	else
		memset(block + (from - start), 0, to - from);
	return content_new(block);
}

bool
vdisk_may(struct vdisk *d, const uint8_t *buf, uint64_t len, uint64_t off)
{
	unsigned end = blocks_end(len, off);

	for (unsigned b = (unsigned)(off / BLOCK); b < end; b++)
		if (d->n_may[b] == MAY_MAX)
			return false;
	for (unsigned b = (unsigned)(off / BLOCK); b < end; b++) {
		unsigned id = overlay(d, b, buf, len, off);

		/* The newest one is what the write makes: vdisk_wrote(). */
		for (unsigned i = 0; i < d->n_may[b]; i++)
			if (d->may[b][i] == id)
				d->may[b][i] = d->may[b][--d->n_may[b]];
		(void)may_hold(d, b, id);
	}
	return true;
}

void
vdisk_wrote(struct vdisk *d, uint64_t len, uint64_t off)
{
	for (unsigned b = (unsigned)(off / BLOCK); b < blocks_end(len, off);
	     b++)
		d->cur[b] = d->may[b][d->n_may[b] - 1];
}

bool
vdisk_may_size(struct vdisk *d, uint64_t size)
{
	if (d->n_sizes == SIZES_MAX)
		return false;
	d->sizes[d->n_sizes++] = size;
	return true;
}

void
vdisk_cut(struct vdisk *d, uint64_t size)
{
	for (unsigned b = blocks_end(size, 0); b < BLOCKS; b++)
		d->cur[b] = 0;
	vdisk_flushed(d);
}

void
vdisk_flushed(struct vdisk *d)
{
	for (unsigned b = 0; b < BLOCKS; b++) {
		d->may[b][0] = d->cur[b];
		d->n_may[b] = 1;
	}
	d->sizes[0] = d->size;
	d->n_sizes = 1;
}

void
vdisk_set(struct vdisk *d, const uint16_t *content, uint64_t size)
{
	if (content)
		memcpy(d->cur, content, sizeof(d->cur));
	else
		memset(d->cur, 0, sizeof(d->cur));
	d->size = size;
	d->other = 0;
	vdisk_flushed(d);
}

bool
vdisk_is(struct vdisk *d, unsigned b, unsigned id)
{
	unsigned n = 0;

	d->cur[b] = (uint16_t)id;
	for (unsigned i = 0; i < d->n_may[b]; i++)
		if (d->may[b][i] != id)
			d->may[b][n++] = d->may[b][i];
	d->n_may[b] = (uint8_t)n;
	return may_hold(d, b, id);
}

bool
vdisk_learn(struct vdisk *d, unsigned b, const uint8_t *p, size_t len)
{
	uint8_t block[BLOCK] = { 0 };

	for (unsigned i = 0; i < d->n_may[b]; i++)
		if (memcmp(p, content_bytes(d->may[b][i]), len) == 0) {
			d->cur[b] = d->may[b][i];
			if (len < BLOCK) {
				memcpy(block, p, len);
				d->cur[b] = (uint16_t)content_new(block);
			}
			return true;
		}
	return false;
}
