/*
 * repair.h - a map whose pages are lost in both copies, made anew from the
 * chunk files themselves.
 *
 * Each says in its superblock, authentically, which chunk of which layer it
 * was made for.  What no file says is lost: that a chunk was discarded is read
 * as that it never was written, and an older version of a chunk that somebody
 * put there cannot be told from the last one.  So this is done only when it is
 * asked for.
 */
#ifndef SEALDISK_REPAIR_H
#define SEALDISK_REPAIR_H

#include "disk.h"

struct repair_report {
	unsigned layers;     /* looked at */
	unsigned pages;      /* made anew */
	uint64_t chunks;     /* that they name */
	uint64_t doubtful;   /* of these, chosen among several files */
	uint64_t unreadable; /* of these, whose superblock and pages say
			      * nothing, or which may be another layer's */
};

/**
 * engine_repair_maps(e, type, name, ret):
 * Look at the maps of all layers of a disk, snapshot or image that nobody has
 * attached.  A map that is whole is left as it is.
 *
 * -EBUSY    somebody has it, or makes a layer of its lineage
 * -EUCLEAN  a layer.ini is damaged
 */
int engine_repair_maps(struct engine *e, enum desc_type type, const char *name,
		       struct repair_report *ret) NONNULL CHECKED;

#endif
