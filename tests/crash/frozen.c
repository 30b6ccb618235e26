/*
 * frozen.c - what a workload can do about snapshots; see ops.c.
 */
#include <stdio.h>
#include <string.h>

#include "ops.h"
#include "snapshot.h"

static void
hold(struct session *s, unsigned snap, enum desc_type type, unsigned of,
     unsigned set)
{
	struct vsnap *n = &s->w->snap[snap];
	const struct vdisk *v = &s->w->disk[of];

	n->there = PERHAPS;
	n->type = type;
	n->of = of;
	n->set = set;
	n->size = v->size;
	memcpy(n->content, v->cur, sizeof(n->content));
}

bool
op_snapshot(struct session *s, const struct step *st)
{
	struct vsnap *n = &s->w->snap[st->b];
	char name[32], *at;
	struct snapshot_request q = { s->d[st->a],
				      st->seed % 3 ? DESC_SNAPSHOT : DESC_IMAGE,
				      name };

	if (!q.disk || !snap_is_free(s->w, st->b))
		return true;
	hold(s, st->b, q.type, st->a, 0);
	(void)snap_name(s->w, st->b, name);
	at = strchr(name, '@');
	q.name = at ? at + 1 : name;
	if (!did(s, "snapshot", disks_snapshot(s->e, s->s, &q, 1)))
		return false;
	vdisk_flushed(&s->w->disk[st->a]);
	n->there = YES;
	return true;
}

/* Of all disks that are attached, at one instant. */
bool
op_set(struct session *s, const struct step *st)
{
	struct snapshot_request q[DISKS];
	unsigned snap[DISKS], of[DISKS], n = 0, set = s->w->n_sets + 1;
	char name[DISKS][32];

	(void)st;
	for (unsigned i = 0, k = 0; i < DISKS; i++) {
		if (!s->d[i])
			continue;
		while (k < SNAPS && !snap_is_free(s->w, k))
			k++;
		if (k == SNAPS)
			return true;
		snap[n] = k++;
		of[n++] = i;
	}
	if (n < 2)
		return true;
	s->w->n_sets = set;
	for (unsigned i = 0; i < n; i++) {
		hold(s, snap[i], DESC_SNAPSHOT, of[i], set);
		(void)snap_name(s->w, snap[i], name[i]);
		q[i] = (struct snapshot_request){ s->d[of[i]], DESC_SNAPSHOT,
						  strchr(name[i], '@') + 1 };
	}
	if (!did(s, "snapshots", disks_snapshot(s->e, s->s, q, n)))
		return false;
	for (unsigned i = 0; i < n; i++) {
		vdisk_flushed(&s->w->disk[of[i]]);
		s->w->snap[snap[i]].there = YES;
	}
	return true;
}

/* Disk ${b} as a copy of ${a}. */
bool
op_copy(struct session *s, const struct step *st)
{
	unsigned to = st->b % DISKS;
	struct vdisk *v = &s->w->disk[to], *from = &s->w->disk[st->a];
	struct snapshot_request q = { s->d[st->a], DESC_DISK,
				      disk_name(s->w, to) };

	if (!q.disk || !is_free(s->w, to))
		return true;
	vdisk_set(v, from->cur, from->size);
	v->there = PERHAPS;
	if (!did(s, "copy", disks_snapshot(s->e, s->s, &q, 1)))
		return false;
	vdisk_flushed(from);
	v->there = YES;
	return true;
}

/* ${own}: with a DK of its own. */
static bool
make_clone(struct session *s, const struct step *st, bool own)
{
	struct vdisk *v = &s->w->disk[st->a];
	const struct vsnap *n = &s->w->snap[st->b];
	struct clone_params p = { .name = disk_name(s->w, st->a),
				  .mode = 0600 };
	struct descriptor d;
	char name[32];

	if (!is_free(s->w, st->a) || n->there != YES)
		return true;
	if (st->seed % 2 && n->size + 4096 <= SIZE_MAX_OF_DISK)
		p.size = n->size + 4096;
	if (own)
		p.own_key = KMS_SERVICE_ALIAS;
	vdisk_set(v, n->content, p.size ? p.size : n->size);
	v->there = PERHAPS;
	if (!did(s, "clone",
		 catalog_clone(engine_catalog(s->e), s->kms, n->type,
			       snap_name(s->w, st->b, name), &p, &d)))
		return false;
	v->there = YES;
	return true;
}

bool
op_clone(struct session *s, const struct step *st)
{
	return make_clone(s, st, false);
}

bool
op_own_clone(struct session *s, const struct step *st)
{
	return make_clone(s, st, true);
}

bool
op_rollback(struct session *s, const struct step *st)
{
	const struct vsnap *n = &s->w->snap[st->b];
	struct vdisk *v = &s->w->disk[n->of];
	struct step of = { .a = n->of };
	char name[32];

	if (n->there != YES || n->type != DESC_SNAPSHOT || v->there != YES)
		return true;
	if (!op_detach(s, &of))
		return false;
	v->other = 1 + st->b;
	if (!did(s, "rollback",
		 catalog_rollback(engine_catalog(s->e), s->kms,
				  snap_name(s->w, st->b, name))))
		return false;
	vdisk_set(v, n->content, n->size);
	return true;
}

bool
op_remove_snap(struct session *s, const struct step *st)
{
	struct vsnap *n = &s->w->snap[st->b];
	char name[32];

	if (n->there != YES)
		return true;
	/* Of the others of its set all stay. */
	n->set = 0;
	n->there = PERHAPS;
	if (!did(s, "remove",
		 catalog_remove(engine_catalog(s->e), n->type,
				snap_name(s->w, st->b, name))))
		return false;
	n->there = NO;
	return true;
}
