/*
 * each.h - all disks, snapshots and images of a store, one after another, while
 * others rename, remove and detach them.
 */
#ifndef SEALDISK_EACH_H
#define SEALDISK_EACH_H

#include <stdbool.h>
#include <stddef.h>

#include "cmd.h"

/* One that there was at the beginning, under the name that it has by now. */
struct each_item {
	struct cmd_target t;
	struct uuid uuid;
};

struct each {
	struct each_item *v; /* malloc'ed */
	size_t n, cap;
};

void each_done(struct each *e) NONNULL;

/* All that there are and whose descriptors can be read, added to *${e}. */
int each_add_all(struct each *e, struct catalog *c) NONNULL CHECKED;
int each_add(struct each *e, const struct cmd_target *t,
	     const struct uuid *uuid) NONNULL CHECKED;

/**
 * each_do(c, it, fn, arg):
 * Have ${fn} look at ${it}, once more if that failed and it has another name by
 * now, or was cut off (-ECANCELED) and this command was not interrupted;
 * ${last} of ${fn}: that is not done again.  One that was removed is told and
 * passed over: 0.  Else what ${fn} returned.
 */
int each_do(struct catalog *c, struct each_item *it,
	    int (*fn)(const struct cmd_target *t, bool last, void *arg),
	    void *arg) __attribute__((__nonnull__(1, 2, 3))) CHECKED;

#endif
