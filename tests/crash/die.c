/*
 * die.c - the process dies, between two steps or within one, and the next one
 * goes on with its disks, as a worker does for the one before it (kept.h,
 * fs_resume.c).
 *
 * Within a step it dies before a change of the store: what was kept for the
 * next one is put aside at that moment, as the model is, and put back when the
 * engine has come back from a store that does nothing any more.  What is there
 * then is what there was, or what the step was to make of it; of a disk that
 * was attached each block by itself.  What a cut may leave is what it was: all
 * that was written since the last flush.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_private.h"
#include "kept_private.h"

#include "ops.h"

struct death {
	struct session *s;
	bool within, died;
	bool had[DISKS];           /* attached, before the step */
	struct world before, then; /* at that moment */
	struct kept *kept;         /* of it what is before the cells */
};

static uint64_t n_deaths, n_within;

uint64_t
deaths(uint64_t *ret_within)
{
	*ret_within = n_within;
	return n_deaths;
}

/* ---- the end ---- */

static size_t
kept_used(const struct kept *k)
{
	return offsetof(struct kept, disks) +
	       atomic_load(&k->used) * sizeof(k->disks[0]);
}

static void
on_death(void *arg)
{
	struct death *t = arg;

	n_deaths++;
	n_within += t->within;
	t->died = true;
	t->then = *t->s->w;
	t->kept = aligned_alloc(64, (kept_used(t->s->kept) + 63) / 64 * 64);
	if (!t->kept)
		abort();
	memcpy((void *)t->kept, t->s->kept, kept_used(t->s->kept));
	alarm_heed(false);
}

/* All that came after that moment did not. */
static void
put_back(struct death *t)
{
	struct kept *k = t->s->kept;
	uint64_t end = atomic_load(&k->head);

	for (uint64_t at = atomic_load(&t->kept->head); at < end; at++)
		atomic_store(&k->cells[at % KEPT_CELLS].seq, 0);
	memset(k->disks, 0, atomic_load(&k->used) * sizeof(k->disks[0]));
	memcpy((void *)k, t->kept, kept_used(t->kept));
	*t->s->w = t->then;
}

static void
end_process(struct session *s)
{
	for (unsigned i = 0; i < DISKS; i++) {
		if (s->d[i])
			disk_die(s->d[i]);
		s->d[i] = NULL;
	}
	engine_close(s->e);
	s->e = NULL;
	mem_store_kill(s->st);
	alarm_heed(true);
}

/* ---- the next one ---- */

/* As whoever outlives the process holds them, until the next one has them. */
static unsigned
hold_locks(struct session *s, struct store_lock *locks[static DISKS])
{
	struct catalog *c;
	enum desc_type type;
	struct uuid uuid;
	unsigned n = 0;

	if (catalog_open(s->st, &c) < 0)
		abort();
	for (unsigned i = 0; n < DISKS; i++) {
		i = kept_next(s->kept, i, &type, &uuid);
		if (i == KEPT_DISKS)
			break;
		if (catalog_lock_disk(c, &uuid, "", &locks[n++]) < 0)
			abort();
	}
	catalog_close(c);
	return n;
}

static bool
open_again(struct session *s)
{
	struct store_lock *locks[DISKS];
	unsigned n = hold_locks(s, locks);
	bool ok = session_go_on(s);

	while (n > 0)
		store_unlock(locks[--n]);
	return ok;
}

/* DISKS: none of them. */
static unsigned
disk_of(struct session *s, const struct uuid *uuid)
{
	struct descriptor d;
	unsigned i = 0;

	for (; i < DISKS; i++)
		if (s->w->disk[i].there == YES &&
		    catalog_load(engine_catalog(s->e), DESC_DISK,
				 disk_name(s->w, i), &d, NULL, NULL) == 0 &&
		    uuid_equal(uuid, &d.uuid))
			break;
	return i;
}

/* A disk that was coming or going need not be gone on with. */
static bool
resume_slot(struct death *t, const bool *stays, unsigned slot,
	    const struct uuid *uuid)
{
	struct session *s = t->s;
	unsigned i = disk_of(s, uuid);
	int r = -ENOENT;

	if (i < DISKS)
		r = disk_resume(s->e, slot, disk_name(s->w, i), -1, &s->d[i]);
	if (r == 0)
		return true;
	if (i < DISKS)
		s->d[i] = NULL;
	kept_forget(s->kept, slot);
	if (i < DISKS && stays[i])
		return wrong(s, "%s cannot be gone on with: %s",
			     disk_name(s->w, i), strerror(-r));
	return r == -ENODEV || r == -EBUSY || r == -ENOENT ||
	       wrong(s, "slot %u: %s", slot, strerror(-r));
}

static bool
resume_all(struct death *t, const bool *stays)
{
	enum desc_type type;
	struct uuid uuid;
	unsigned n = 0;

	kept_sweep(t->s->kept);
	while ((n = kept_next(t->s->kept, n, &type, &uuid)) < KEPT_DISKS)
		if (!resume_slot(t, stays, n++, &uuid))
			return false;
	for (unsigned i = 0; i < DISKS; i++)
		if (stays[i] && !t->s->d[i])
			return wrong(t->s, "%s is not attached any more",
				     disk_name(t->s->w, i));
	return true;
}

/* ---- what there is then ---- */

/* Each block as it was, or as the step was to make it. */
static void
expect(struct vdisk *x, const struct vdisk *was, const struct vdisk *v)
{
	memcpy(x, was->there == YES ? was : v, sizeof(*x));
	x->renaming = false;
	for (unsigned b = 0; b < BLOCKS; b++) {
		x->may[b][0] = x->cur[b];
		x->may[b][1] = v->may[b][v->n_may[b] - 1];
		x->n_may[b] = 1 + (x->may[b][1] != x->cur[b]);
	}
	x->n_sizes = 0;
	x->sizes[x->n_sizes++] = x->size;
	x->sizes[x->n_sizes++] = v->size;
	x->sizes[x->n_sizes++] = v->sizes[v->n_sizes - 1];
}

static bool
take_block(struct vdisk *v, const struct vdisk *x, unsigned b)
{
	unsigned id = x->cur[b];

	/* Of the last one only a part was seen: mostly it has a number. */
	for (unsigned i = 0; i < x->n_may[b]; i++)
		if (memcmp(content_bytes(x->may[b][i]), content_bytes(id),
			   BLOCK) == 0)
			id = x->may[b][i];
	if ((uint64_t)b * BLOCK >= v->size)
		id = 0;
	return id == v->cur[b] && v->may[b][v->n_may[b] - 1] == id
		   ? true
		   : vdisk_is(v, b, id);
}

static bool
learn_disk(struct session *s, unsigned i, const struct vdisk *was)
{
	struct vdisk *v = &s->w->disk[i], *x = malloc(sizeof(*x));
	const char *name = disk_name(s->w, i);
	struct disk *d = s->d[i];
	bool ok, room = true;

	if (!x)
		abort();
	expect(x, was, v);
	ok = disk_size(d) == x->sizes[0] || disk_size(d) == x->sizes[1] ||
	     disk_size(d) == x->sizes[2] ||
	     wrong(s, "%s: after a death its size is %llu", name,
		   (unsigned long long)disk_size(d));
	ok = ok && look_at_content(s, d, name, x, NULL);
	v->size = disk_size(d);
	for (unsigned b = 0; ok && b < BLOCKS; b++)
		room &= take_block(v, x, b);
	free(x);
	if (!ok || !look_at_faults(s, d, name))
		return false;
	if (room)
		return true;
	ok = did(s, "flush", disk_flush(d));
	vdisk_flushed(v);
	return ok;
}

static bool
learn_attached(struct death *t, unsigned i)
{
	struct session *s = t->s;
	struct vdisk *v = &s->w->disk[i];
	int r = 0;

	if (v->there != YES || (!s->d[i] && !t->within))
		return true;
	if (!s->d[i])
		r = disk_attach(s->e, DESC_DISK, disk_name(s->w, i), 0,
				&s->d[i]);
	else if (!t->within && random_below(2))
		return true; /* nothing has changed; it is read later */
	if (r < 0) {
		s->d[i] = NULL;
		return did(s, "attach after a death", r);
	}
	if (was_rolled_back(s, s->d[i], v))
		return look_at_faults(s, s->d[i], disk_name(s->w, i));
	return learn_disk(s, i, &t->before.disk[i]);
}

/* Until it is gone on with a disk may get back the name that it had. */
static void
mark_renamed(struct session *s, unsigned i, const struct vdisk *then)
{
	struct vdisk *v = &s->w->disk[i];
	char path[STORE_PATH_LEN];

	v->name = !v->name;
	v->renaming = then->renaming && v->there == YES &&
		      catalog_path(DESC_DISK, disk_name(s->w, i), path) == 0 &&
		      !mem_store_settled(s->st, path);
	v->name = !v->name;
}

static void
mark_ghosts(struct session *s, const struct world *then)
{
	for (unsigned i = 0; i < DISKS; i++)
		mark_renamed(s, i, &then->disk[i]);
	for (unsigned i = 0; i < DISKS; i++)
		s->w->disk[i].ghost =
		    s->w->disk[i].there == NO &&
		    (then->disk[i].there == PERHAPS || then->disk[i].ghost);
	for (unsigned i = 0; i < SNAPS; i++)
		s->w->snap[i].ghost =
		    s->w->snap[i].there == NO &&
		    (then->snap[i].there == PERHAPS || then->snap[i].ghost);
}

static bool
learn_all(struct death *t)
{
	struct session *s = t->s;

	for (unsigned i = 0; i < DISKS; i++)
		if (!learn_attached(t, i))
			return false;
	for (unsigned i = 0; i < SNAPS; i++)
		if ((t->within || random_below(4) == 0) && !look_at_snap(s, i))
			return false;
	return true;
}

static bool
go_on(struct death *t)
{
	struct session *s = t->s;
	bool stays[DISKS];

	for (unsigned i = 0; i < DISKS; i++)
		stays[i] = t->had[i] && s->d[i];
	end_process(s);
	if (!open_again(s) || !look_for_all(s))
		return false;
	mark_ghosts(s, &t->then);
	if (!resume_all(t, stays))
		return false;
	for (unsigned i = 0; i < DISKS; i++)
		s->w->disk[i].renaming = false;
	return learn_all(t);
}

/* ---- the steps ---- */

static struct death *
death_new(struct session *s)
{
	struct death *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->s = s;
	t->before = *s->w;
	for (unsigned i = 0; i < DISKS; i++)
		t->had[i] = s->d[i];
	return t;
}

static void
death_free(struct death *t)
{
	free(t->kept);
	free(t);
}

/* Now, or within the next step. */
bool
op_die(struct session *s, const struct step *st)
{
	struct death *t;
	bool ok;

	s->dies_in = (unsigned)st->len;
	if (s->dies_in > 0)
		return true;
	t = death_new(s);
	mem_store_die(s->st, 0, on_death, t);
	ok = go_on(t);
	death_free(t);
	return ok;
}

bool
die_within(struct session *s, const struct step *st)
{
	struct death *t = death_new(s);
	bool ok;

	t->within = true;
	mem_store_die(s->st, s->dies_in, on_death, t);
	s->dies_in = 0;
	ok = ops[st->op].run(s, st);
	if (t->died) {
		put_back(t);
		ok = true;
	} else if (!ok) {
		mem_store_die(s->st, 0, NULL, NULL);
	} else {
		/* It has come to its end: right after that, then. */
		t->within = false;
		t->before = *s->w;
		mem_store_die(s->st, 0, on_death, t);
	}
	ok = ok && go_on(t);
	death_free(t);
	return ok;
}

/* ---- ghosts ---- */

static void
lay(struct session *s, bool *ghost, enum desc_type type, const char *name)
{
	char path[STORE_PATH_LEN];

	if (*ghost && catalog_path(type, name, path) == 0)
		*ghost = !mem_store_settled(s->st, path);
}

void
lay_ghosts(struct session *s)
{
	char name[32];

	for (unsigned i = 0; i < DISKS; i++)
		lay(s, &s->w->disk[i].ghost, DESC_DISK, disk_name(s->w, i));
	for (unsigned i = 0; i < SNAPS; i++)
		lay(s, &s->w->snap[i].ghost,
		    s->w->snap[i].type == DESC_DISK ? DESC_IMAGE
						    : s->w->snap[i].type,
		    snap_name(s->w, i, name));
}
