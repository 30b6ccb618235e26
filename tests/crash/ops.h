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
	bool sized;      /* its length is a disk's size */
	bool (*run)(struct session *s, const struct step *st);
};

extern const struct op ops[];
extern const size_t n_ops;

bool op_receive(struct session *s, const struct step *st);

#endif
