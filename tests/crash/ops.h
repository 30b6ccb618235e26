/*
 * ops.h - the form of an op; those that have a file of their own.
 */
#ifndef SEALDISK_CRASH_OPS_H
#define SEALDISK_CRASH_OPS_H

#include "crash.h"

struct op {
	const char *name;
	unsigned weight; /* how often at random, beside the others */
	bool second;     /* after a cut, too */
	/* What its length is. */
	enum { OF_RANGE, OF_DISK, OF_CHANGES } len;
	bool (*run)(struct session *s, const struct step *st);
};

extern const struct op ops[];
extern const size_t n_ops;

/* Whether the call succeeded, or else what was wrong. */
bool did(struct session *s, const char *what, int r);
/* The op of ${st}, in which the process dies. */
bool die_within(struct session *s, const struct step *st);
/* Ghosts that are none any more: their names are durably gone. */
void lay_ghosts(struct session *s);
/* A name is taken, too, by snapshots of a disk that is gone. */
bool is_free(const struct world *w, unsigned disk);
bool snap_is_free(const struct world *w, unsigned snap);

bool op_die(struct session *s, const struct step *st);
bool op_detach(struct session *s, const struct step *st);
bool op_snapshot(struct session *s, const struct step *st);
bool op_set(struct session *s, const struct step *st);
bool op_copy(struct session *s, const struct step *st);
bool op_clone(struct session *s, const struct step *st);
bool op_own_clone(struct session *s, const struct step *st);
bool op_rollback(struct session *s, const struct step *st);
bool op_remove_snap(struct session *s, const struct step *st);
bool op_receive(struct session *s, const struct step *st);

#endif
