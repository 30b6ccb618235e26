/*
 * ops.c - what a workload can do: each op on the engine and on the model.
 *
 * Before the call the model says what a cut within it may leave, after it what
 * one may leave then.  An op that makes no sense just now does nothing, so that
 * any list of steps is a workload.  A new op is a function and a line of the
 * table.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "crash.h"
#include "engine_private.h"

#include "ops.h"

static uint8_t data[SIZE_MAX_OF_DISK];

bool
did(struct session *s, const char *what, int r)
{
	return r == 0 || wrong(s, "%s: %s", what, strerror(-r));
}

/* ---- what is in a disk ---- */

static bool
flush(struct session *s, unsigned i)
{
	if (!did(s, "flush", disk_flush(s->d[i])))
		return false;
	vdisk_flushed(&s->w->disk[i]);
	return true;
}

static void
fill(unsigned seed, uint64_t len)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;

	for (uint64_t i = 0; i < len; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		data[i] = (uint8_t)(x >> 56);
	}
	/* Of some writes a part is zeros. */
	if (seed % 8 == 3)
		memset(data + len / 2, 0, len - len / 2);
}

static bool
op_write(struct session *s, const struct step *st)
{
	struct vdisk *v = &s->w->disk[st->a];
	uint64_t end = (st->off + st->len + 511) / 512 * 512;

	if (!s->d[st->a] || end > SIZE_MAX_OF_DISK)
		return true;
	if (v->n_sizes == SIZES_MAX && !flush(s, st->a))
		return false;
	fill(st->seed, st->len);
	if (!vdisk_may(v, data, st->len, st->off)) {
		if (!flush(s, st->a))
			return false;
		(void)vdisk_may(v, data, st->len, st->off);
	}
	if (end > v->size)
		(void)vdisk_may_size(v, end);
	if (!did(s, "write",
		 disk_write(s->d[st->a], s->s, data, st->len, st->off)))
		return false;
	vdisk_wrote(v, st->len, st->off);
	if (end > v->size)
		v->size = end;
	return true;
}

static bool
op_zero(struct session *s, const struct step *st)
{
	struct vdisk *v = &s->w->disk[st->a];
	uint64_t len = st->len;

	if (!s->d[st->a] || st->off >= v->size)
		return true;
	if (len > v->size - st->off)
		len = v->size - st->off;
	if (!vdisk_may(v, NULL, len, st->off)) {
		if (!flush(s, st->a))
			return false;
		(void)vdisk_may(v, NULL, len, st->off);
	}
	if (!did(s, "zero", disk_zero(s->d[st->a], s->s, st->off, st->len)))
		return false;
	vdisk_wrote(v, len, st->off);
	return true;
}

static bool
op_flush(struct session *s, const struct step *st)
{
	return !s->d[st->a] || flush(s, st->a);
}

/* Commits as a flush does, mirrors, and punches. */
static bool
op_background(struct session *s, const struct step *st)
{
	if (!s->d[st->a])
		return true;
	if (!did(s, "background", disk_background(s->d[st->a])))
		return false;
	vdisk_flushed(&s->w->disk[st->a]);
	return true;
}

static bool
op_resize(struct session *s, const struct step *st)
{
	struct vdisk *v = &s->w->disk[st->a];
	uint64_t size = st->len;

	if (!s->d[st->a] || size == 0 || size > SIZE_MAX_OF_DISK)
		return true;
	/* Room for what is past a new end to be zeros, and for two sizes. */
	if (!flush(s, st->a))
		return false;
	(void)vdisk_may_size(v, size);
	if (size < v->size)
		(void)vdisk_may(v, NULL, v->size - size, size);
	if (!did(s, "resize", disk_resize(s->d[st->a], s->s, size)))
		return false;
	if (size < v->size)
		vdisk_wrote(v, v->size - size, size);
	v->size = size;
	vdisk_flushed(v);
	return true;
}

/* ---- disks ---- */

bool
snap_is_free(const struct world *w, unsigned snap)
{
	return w->snap[snap].there == NO && !w->snap[snap].ghost;
}

bool
is_free(const struct world *w, unsigned disk)
{
	for (unsigned i = 0; i < SNAPS; i++)
		if (!snap_is_free(w, i) && w->snap[i].of == disk &&
		    w->snap[i].type == DESC_SNAPSHOT)
			return false;
	return w->disk[disk].there == NO && !w->disk[disk].ghost;
}

static bool
op_create(struct session *s, const struct step *st)
{
	struct vdisk *v = &s->w->disk[st->a];
	struct disk_params p = { .name = disk_name(s->w, st->a),
				 .size = st->len,
				 .sector_size = 512,
				 .key = KMS_SERVICE_ALIAS,
				 .mode = 0600 };
	struct descriptor d;

	if (!is_free(s->w, st->a) || p.size == 0 || p.size > SIZE_MAX_OF_DISK)
		return true;
	vdisk_set(v, NULL, p.size);
	v->there = PERHAPS;
	if (!did(s, "create",
		 catalog_create(engine_catalog(s->e), s->kms, &p, &d, NULL)))
		return false;
	v->there = YES;
	return true;
}

static bool
op_attach(struct session *s, const struct step *st)
{
	unsigned i = st->a;

	if (s->w->disk[i].there != YES || s->d[i])
		return true;
	if (did(s, "attach",
		disk_attach(s->e, DESC_DISK, disk_name(s->w, i), 0, &s->d[i])))
		return true;
	s->d[i] = NULL;
	return false;
}

bool
op_detach(struct session *s, const struct step *st)
{
	struct disk *d = s->d[st->a];

	if (!d)
		return true;
	s->d[st->a] = NULL;
	if (!did(s, "detach", disk_detach(d)))
		return false;
	vdisk_flushed(&s->w->disk[st->a]);
	return true;
}

/* To and fro between two names; its snapshots come along. */
static bool
op_rename(struct session *s, const struct step *st)
{
	struct vdisk *v = &s->w->disk[st->a];
	bool ok;

	if (!s->d[st->a])
		return true;
	v->renaming = true;
	v->name = !v->name;
	ok = did(s, "rename", disk_rename(s->d[st->a], disk_name(s->w, st->a)));
	v->renaming = false;
	return ok;
}

static bool
op_remove_disk(struct session *s, const struct step *st)
{
	struct vdisk *v = &s->w->disk[st->a];

	if (v->there != YES || !op_detach(s, st))
		return v->there != YES;
	v->there = PERHAPS;
	if (!did(s, "remove",
		 catalog_remove(engine_catalog(s->e), DESC_DISK,
				disk_name(s->w, st->a))))
		return false;
	v->there = NO;
	return true;
}

/* ---- what goes on behind ---- */

static bool
op_sweep(struct session *s, const struct step *st)
{
	bool more;

	(void)st;
	return did(s, "sweep", catalog_sweep(engine_catalog(s->e), 2, &more));
}

/* A piece of it: some chunks. */
static bool
op_merge(struct session *s, const struct step *st)
{
	int r;

	s->e->merge_chunks = 1 + st->b;
	r = engine_merge(s->e, NULL);
	return r >= 0 || did(s, "merge", r);
}

/* A new DK, at a flush; a few at most, and only one at a time. */
static bool
op_reencrypt(struct session *s, const struct step *st)
{
	int r;

	if (!s->d[st->a])
		return true;
	r = disk_reencrypt(s->d[st->a], s->s, NULL, 0);
	if (r == -EALREADY || r == -E2BIG)
		return true;
	if (!did(s, "reencrypt", r))
		return false;
	vdisk_flushed(&s->w->disk[st->a]);
	return true;
}

static bool
op_reencrypt_step(struct session *s, const struct step *st)
{
	int r = s->d[st->a] ? disk_reencrypt_step(s->d[st->a]) : 0;

	return r >= 0 || did(s, "reencrypt step", r);
}

/* All that there is to do. */
static bool
op_tidy(struct session *s, const struct step *st)
{
	const atomic_bool stop = false;

	(void)st;
	engine_sweep(s->e, &stop);
	return true;
}

const struct op ops[] = {
	{ "write", 30, true, OF_RANGE, op_write },
	{ "zero", 8, true, OF_RANGE, op_zero },
	{ "flush", 8, true, OF_RANGE, op_flush },
	{ "background", 5, true, OF_RANGE, op_background },
	{ "resize", 3, true, OF_DISK, op_resize },
	{ "create", 3, false, OF_DISK, op_create },
	{ "attach", 6, true, OF_RANGE, op_attach },
	{ "detach", 3, true, OF_RANGE, op_detach },
	{ "rename", 1, true, OF_RANGE, op_rename },
	{ "remove-disk", 1, false, OF_RANGE, op_remove_disk },
	{ "snapshot", 6, true, OF_RANGE, op_snapshot },
	{ "set", 2, true, OF_RANGE, op_set },
	{ "copy", 2, true, OF_RANGE, op_copy },
	{ "clone", 3, true, OF_RANGE, op_clone },
	{ "own-clone", 2, true, OF_RANGE, op_own_clone },
	{ "rollback", 2, true, OF_RANGE, op_rollback },
	{ "remove-snap", 5, true, OF_RANGE, op_remove_snap },
	{ "sweep", 3, true, OF_RANGE, op_sweep },
	{ "merge", 6, true, OF_RANGE, op_merge },
	{ "reencrypt", 2, true, OF_RANGE, op_reencrypt },
	{ "reencrypt-step", 4, true, OF_RANGE, op_reencrypt_step },
	{ "tidy", 2, true, OF_RANGE, op_tidy },
	{ "die", 10, true, OF_CHANGES, op_die },
	{ "receive", 2, false, OF_RANGE, op_receive },
};
const size_t n_ops = sizeof(ops) / sizeof(ops[0]);

bool
step_run(struct session *s, const struct step *st)
{
	lay_ghosts(s);
	if (s->dies_in > 0 && ops[st->op].run != op_die)
		return die_within(s, st);
	return ops[st->op].run(s, st);
}
