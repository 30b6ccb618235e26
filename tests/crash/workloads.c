/*
 * workloads.c - what is explored: short ones by name, and random ones.
 */
#include <stdlib.h>
#include <string.h>

#include "workloads.h"

static const struct named_step first[] = {
	NEW(0),
	{ "write", 0, 0, 0, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	{ "detach", 0, 0, 0, 0 },
};

static const struct named_step overwrite[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 1000, 6000 },
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 8 * KiB },
	{ "write", 0, 0, 4096, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
};

/* At rest both copies of a page are equal; the next commit is over one. */
static const struct named_step mirror[] = {
	NEW(0),
	{ "write", 0, 0, 0, 4 * KiB },
	{ "background", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "background", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "background", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 8 * KiB },
	{ "detach", 0, 0, 0, 0 },
	{ "attach", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "detach", 0, 0, 0, 0 },
};

static const struct named_step discard[] = {
	NEW(0),
	{ "write", 0, 0, 0, 16 * KiB },
	{ "write", 0, 0, 4 * MiB, 8 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "zero", 0, 0, 4 * KiB, 8 * KiB },
	{ "write", 0, 0, 8 * KiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "zero", 0, 0, 4 * MiB, 4 * MiB },
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	{ "background", 0, 0, 0, 0 },
	{ "zero", 0, 0, 0, 4 * MiB },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "background", 0, 0, 0, 0 },
	{ "background", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "detach", 0, 0, 0, 0 },
};

static const struct named_step resize[] = {
	{ "create", 0, 0, 0, 4 * MiB },
	{ "attach", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * MiB - 4 * KiB, 4 * KiB },
	{ "write", 0, 0, 4 * MiB - 2 * KiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "resize", 0, 0, 0, 8 * MiB },
	{ "write", 0, 0, 8 * MiB - 4 * KiB, 4 * KiB },
	{ "resize", 0, 0, 0, 4 * MiB - 1024 },
	{ "write", 0, 0, 4 * MiB - 8 * KiB, 4 * KiB },
	{ "resize", 0, 0, 0, 6 * MiB },
	{ "flush", 0, 0, 0, 0 },
};

static const struct named_step snapshot[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "snapshot", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "zero", 0, 0, 4 * KiB, 4 * KiB },
	{ "snapshot", 0, 1, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "remove-snap", 0, 0, 0, 0 },
	{ "rollback", 0, 1, 0, 0 },
	{ "attach", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "detach", 0, 0, 0, 0 },
};

static const struct named_step family[] = {
	NEW(0),
	NEW(1),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "write", 1, 0, 0, 4 * KiB },
	{ "set", 0, 0, 0, 0 },
	{ "copy", 0, 2, 0, 0 },
	{ "attach", 2, 0, 0, 0 },
	{ "write", 2, 0, 4 * KiB, 4 * KiB },
	{ "remove-disk", 2, 0, 0, 0 },
	{ "clone", 2, 1, 0, 0 },
	{ "attach", 2, 0, 0, 0 },
	{ "write", 2, 0, 0, 4 * KiB },
	{ "remove-disk", 1, 0, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "remove-snap", 0, 0, 0, 0 },
	{ "remove-snap", 0, 1, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "flush", 2, 0, 0, 0 },
};

/* A chunk that passes whole, one of which blocks are copied, one of zeros. */
static const struct named_step merge[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "write", 0, 0, 4 * MiB, 8 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "snapshot", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "remove-snap", 0, 0, 0, 0 },
	{ "sweep", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	{ "merge", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "sweep", 0, 0, 0, 0 },
	{ "sweep", 0, 0, 0, 0 },
	{ "snapshot", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "remove-snap", 0, 0, 0, 0 },
	{ "merge", 0, 4, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
};

/* Above a layer whose merge is half done another snapshot comes and goes. */
static const struct named_step merge_past[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "write", 0, 0, 4 * MiB, 8 * KiB },
	{ "snapshot", 0, 0, 0, 0 },
	{ "remove-snap", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "snapshot", 0, 1, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "remove-snap", 0, 1, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "sweep", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "sweep", 0, 0, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "detach", 0, 0, 0, 0 },
};

static const struct named_step merge_frozen[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	{ "snapshot", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "snapshot", 0, 1, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "detach", 0, 0, 0, 0 },
	{ "remove-snap", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "attach", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
};

static const struct named_step rename_it[] = {
	NEW(0),
	{ "write", 0, 0, 0, 4 * KiB },
	{ "rename", 0, 0, 0, 0 },
	{ "snapshot", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "rename", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
};

static const struct named_step resume_rename[] = {
	NEW(0),
	{ "write", 0, 0, 0, 4 * KiB },
	{ "snapshot", 0, 0, 0, 0 },
	DIE(4),
	{ "rename", 0, 0, 0, 0 },
	{ "resize", 0, 0, 0, 8 * MiB },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(2),
	{ "rename", 0, 0, 0, 0 },
	{ "snapshot", 0, 1, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(6),
	{ "rename", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
};

static const struct named_step reencrypt[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "reencrypt", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "reencrypt-step", 0, 0, 0, 0 },
	{ "reencrypt-step", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "snapshot", 0, 0, 0, 0 },
	{ "reencrypt-step", 0, 0, 0, 0 },
	{ "reencrypt-step", 0, 0, 0, 0 },
	{ "reencrypt-step", 0, 0, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "detach", 0, 0, 0, 0 },
};

static const struct named_step own_key[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "snapshot", 0, 0, 0, 0 },
	{ "own-clone", 1, 0, 0, 0 },
	{ "attach", 1, 0, 0, 0 },
	{ "write", 1, 0, 0, 4 * KiB },
	{ "flush", 1, 0, 0, 0 },
	{ "reencrypt-step", 1, 0, 0, 0 },
	{ "remove-snap", 0, 0, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "write", 1, 0, 4 * KiB, 4 * KiB },
	{ "detach", 1, 0, 0, 0 },
};

static const struct named_step receive[] = {
	{ "receive", 0, 0, 0, 0 },     { "clone", 0, 0, 0, 0 },
	{ "attach", 0, 0, 0, 0 },      { "write", 0, 0, 0, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },       { "receive", 0, 1, 0, 0 },
	{ "remove-snap", 0, 0, 0, 0 }, { "tidy", 0, 0, 0, 0 },
};

/* What was acknowledged and not flushed, in old chunks and in a new one. */
static const struct named_step resume[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	DIE(0),
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(0),
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	DIE(0),
	{ "background", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(0),
	{ "detach", 0, 0, 0, 0 },
};

/* Half of a commit, and then another one over it. */
static const struct named_step resume_commit[] = {
	NEW(0),
	{ "write", 0, 0, 0, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	DIE_IN_FLUSH(1),
	{ "flush", 0, 0, 0, 0 },
	DIE_IN_FLUSH(2),
	{ "write", 0, 0, 0, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	DIE_IN_FLUSH(3),
	DIE_IN_FLUSH(2),
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	DIE_IN_FLUSH(4),
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(3),
	{ "background", 0, 0, 0, 0 },
	{ "background", 0, 0, 0, 0 },
};

/* The map: a chunk goes, another one comes in its place. */
static const struct named_step resume_discard[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "zero", 0, 0, 0, 4 * MiB },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(0),
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	DIE(1),
	{ "zero", 0, 0, 4 * MiB, 4 * MiB },
	DIE(2),
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	DIE(5),
	{ "background", 0, 0, 0, 0 },
	{ "background", 0, 0, 0, 0 },
	{ "detach", 0, 0, 0, 0 },
};

static const struct named_step resume_resize[] = {
	{ "create", 0, 0, 0, 4 * MiB },
	{ "attach", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * MiB - 4 * KiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * MiB - 2 * KiB, 4 * KiB },
	DIE(0),
	{ "flush", 0, 0, 0, 0 },
	DIE(1),
	{ "resize", 0, 0, 0, 4 * MiB - 1024 },
	DIE(2),
	{ "resize", 0, 0, 0, 6 * MiB },
	DIE(2),
	{ "write", 0, 0, 6 * MiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
};

static const struct named_step resume_snapshot[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	DIE(2),
	{ "snapshot", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(7),
	{ "snapshot", 0, 1, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	DIE(12),
	{ "snapshot", 0, 2, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(17),
	{ "snapshot", 0, 3, 0, 0 },
	DIE(2),
	{ "remove-snap", 0, 3, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(0),
	{ "flush", 0, 0, 0, 0 },
};

static const struct named_step resume_clone[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "snapshot", 0, 0, 0, 0 },
	DIE(3),
	{ "clone", 1, 0, 0, 0 },
	{ "clone", 1, 0, 0, 0 },
	DIE(4),
	{ "attach", 1, 0, 0, 0 },
	{ "write", 1, 0, 0, 4 * KiB },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(6),
	{ "set", 0, 0, 0, 0 },
	{ "flush", 1, 0, 0, 0 },
	DIE(5),
	{ "detach", 1, 0, 0, 0 },
	{ "write", 1, 0, 4 * KiB, 4 * KiB },
	DIE(2),
	{ "remove-disk", 1, 0, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "flush", 0, 0, 0, 0 },
};

/* What was seen to be gone when the power failed may be there again. */
static const struct named_step resume_remove[] = {
	NEW(0),
	{ "create", 1, 0, 0, SIZE_MAX_OF_DISK },
	DIE(6),
	{ "remove-disk", 1, 0, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "create", 2, 0, 0, SIZE_MAX_OF_DISK },
	DIE(3),
	{ "remove-disk", 2, 0, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 8 * KiB },
	{ "snapshot", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "snapshot", 0, 1, 0, 0 },
	DIE(6),
	{ "remove-snap", 0, 0, 0, 0 },
	{ "sweep", 0, 0, 0, 0 },
	{ "merge", 0, 4, 0, 0 },
	{ "merge", 0, 4, 0, 0 },
	DIE(6),
	{ "remove-snap", 0, 1, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
};

static const struct named_step resume_merge[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	{ "write", 0, 0, 4 * MiB, 8 * KiB },
	{ "snapshot", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	{ "remove-snap", 0, 0, 0, 0 },
	DIE(2),
	{ "merge", 0, 0, 0, 0 },
	{ "write", 0, 0, 0, 4 * KiB },
	DIE(5),
	{ "merge", 0, 0, 0, 0 },
	{ "merge", 0, 0, 0, 0 },
	DIE(0),
	{ "merge", 0, 0, 0, 0 },
	DIE(3),
	{ "merge", 0, 4, 0, 0 },
	{ "merge", 0, 4, 0, 0 },
	DIE(1),
	{ "sweep", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * MiB, 4 * KiB },
	{ "flush", 0, 0, 0, 0 },
};

static const struct named_step resume_reencrypt[] = {
	NEW(0),
	{ "write", 0, 0, 0, 8 * KiB },
	DIE(8),
	{ "reencrypt", 0, 0, 0, 0 },
	{ "reencrypt", 0, 0, 0, 0 },
	{ "write", 0, 0, 4 * KiB, 4 * KiB },
	DIE(0),
	{ "reencrypt-step", 0, 0, 0, 0 },
	DIE(3),
	{ "reencrypt-step", 0, 0, 0, 0 },
	{ "reencrypt-step", 0, 0, 0, 0 },
	{ "tidy", 0, 0, 0, 0 },
	{ "flush", 0, 0, 0, 0 },
};

#define WORKLOAD(w)                                                            \
	{                                                                      \
#w, w, sizeof(w) / sizeof(w[0])                                \
	}

const struct named_workload named_workloads[] = {
	WORKLOAD(first),           WORKLOAD(overwrite),
	WORKLOAD(mirror),          WORKLOAD(resume),
	WORKLOAD(resume_commit),   WORKLOAD(resume_discard),
	WORKLOAD(discard),         WORKLOAD(resize),
	WORKLOAD(resume_resize),   WORKLOAD(snapshot),
	WORKLOAD(resume_snapshot), WORKLOAD(family),
	WORKLOAD(resume_clone),    WORKLOAD(resume_remove),
	WORKLOAD(merge),           WORKLOAD(merge_past),
	WORKLOAD(merge_frozen),    WORKLOAD(resume_merge),
	WORKLOAD(rename_it),       WORKLOAD(resume_rename),
	WORKLOAD(reencrypt),       WORKLOAD(resume_reencrypt),
	WORKLOAD(own_key),         WORKLOAD(receive),
	{ NULL, NULL, 0 },
};

bool
workload_named(struct workload *w, const char *name)
{
	const struct named_workload *n = named_workloads;

	while (n->name && strcmp(n->name, name) != 0)
		n++;
	if (!n->name)
		return false;
	*w = (struct workload){ .name = n->name, .n_steps = n->n };
	w->steps = calloc(n->n, sizeof(*w->steps));
	if (!w->steps)
		abort();
	for (size_t i = 0; i < n->n; i++) {
		const struct named_step *s = &n->steps[i];

		w->steps[i] = step_named(s->op, s->a, s->b, s->off, s->len);
		w->steps[i].seed += 8 * (unsigned)i;
	}
	return true;
}

/* Two disks at first, and then whatever comes. */
void
workload_random(struct workload *w, uint64_t seed, size_t n)
{
	*w = (struct workload){ .seed = seed, .n_steps = n + 4 };
	w->steps = calloc(w->n_steps, sizeof(*w->steps));
	if (!w->steps)
		abort();
	random_seed(seed * 7919 + 1);
	for (unsigned i = 0; i < 2; i++) {
		w->steps[2 * i] =
		    step_named("create", i, 0, 0, SIZE_MAX_OF_DISK);
		w->steps[2 * i + 1] = step_named("attach", i, 0, 0, 0);
	}
	for (size_t i = 4; i < w->n_steps; i++)
		step_random(&w->steps[i], false);
}
