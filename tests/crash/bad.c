/*
 * bad.c - a place on the medium cannot be read any more, after a cut: where one
 * of the two copies of a page lies.  It is so at once, or when all disks have
 * been attached since, or looked at as well.  What is read all the same is what
 * may be there, and the rest comes back when the place does.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "crash.h"
#include "engine_private.h"
#include "super.h"

enum when { AT_ONCE, AFTER_AN_ATTACH, AFTER_A_LOOK, N_WHEN };

static void
spoil_some(struct store *st)
{
	unsigned n = random_below(2 * CHUNK_GROUPS + 4), copy = n % 2;

	if (n < 2 * CHUNK_GROUPS)
		mem_store_spoil(st, ".chunk", SUPER_LEN + n * PAGE_LEN,
				PAGE_LEN);
	else if (n < 2 * CHUNK_GROUPS + 2)
		mem_store_spoil(st, "/map", page_offset(0, copy), PAGE_LEN);
	else
		mem_store_spoil(st, "/map", MAP_OFFSET + page_offset(0, copy),
				PAGE_LEN);
}

/* Block ${b}, or what of it is to be seen; false: it holds what it may not. */
static bool
look_at_block(struct session *s, struct disk *d, unsigned b, struct vdisk *v,
	      const uint16_t *content, const char *name)
{
	uint64_t at = (uint64_t)b * BLOCK, size = disk_size(d);
	size_t len = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
	int r = disk_read(d, s->s, s->io, len, at);

	if (r == -EIO)
		return true;
	if (r < 0)
		return wrong(s, "%s: block %u beside a bad place: %s", name, b,
			     strerror(-r));
	return (content ? memcmp(s->io, content_bytes(content[b]), len) == 0
			: vdisk_learn(v, b, s->io, len)) ||
	       wrong(s, "%s: block %u beside a bad place holds what it may not",
		     name, b);
}

static bool
look_at(struct session *s, enum desc_type type, const char *name,
	struct vdisk *v, const uint16_t *content)
{
	struct disk *d;
	bool ok = true;
	int r = disk_attach(s->e, type, name, 0, &d);

	if (r < 0)
		return r == -ENOENT || r == -EIO ||
		       wrong(s, "%s beside a bad place: %s", name,
			     strerror(-r));
	for (unsigned b = 0; ok && (uint64_t)b * BLOCK < disk_size(d); b++)
		if (block_is_worth(v, content, b))
			ok = look_at_block(s, d, b, v, content, name);
	(void)!disk_detach(d);
	return ok;
}

static bool
attach_all(struct session *s, bool look)
{
	for (unsigned i = 0; i < DISKS; i++) {
		const char *name = disk_name(s->w, i);
		struct disk *d;
		int r = disk_attach(s->e, DESC_DISK, name, 0, &d);

		if (r == -ENOENT)
			continue;
		if (r == 0 && look)
			r = disk_background(d);
		if (r == 0)
			r = disk_detach(d);
		if (r < 0)
			return wrong(s, "%s: attached and detached: %s", name,
				     strerror(-r));
	}
	return true;
}

bool
look_beside_a_bad_place(struct session *s)
{
	enum when when = random_below(N_WHEN);
	bool ok = when == AT_ONCE || attach_all(s, when == AFTER_A_LOOK);
	char name[32];

	if (ok)
		spoil_some(s->st);
	for (unsigned i = 0; ok && i < SNAPS; i++) {
		const struct vsnap *n = &s->w->snap[i];

		if (n->there == YES)
			ok = look_at(s, n->type, snap_name(s->w, i, name), NULL,
				     n->content);
	}
	for (unsigned i = 0; ok && i < DISKS; i++)
		/* One that may be as a snapshot is that as a whole. */
		if (s->w->disk[i].there != NO && !s->w->disk[i].other)
			ok = look_at(s, DESC_DISK, disk_name(s->w, i),
				     &s->w->disk[i], NULL);
	mem_store_spoil(s->st, "", 0, 0);
	return ok;
}
