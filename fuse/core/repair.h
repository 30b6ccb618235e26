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
	unsigned inis;       /* layer.ini made anew, of their spare copies */
	unsigned lists;      /* of digests, made anew of their maps */
	unsigned pages;      /* of maps, made anew */
	uint64_t chunks;     /* that they name */
	uint64_t doubtful;   /* of these, chosen among several files */
	uint64_t unreadable; /* of these, whose superblock and pages say
			      * nothing, or which may be another layer's */
	uint64_t groups;     /* of chunks, taken of the one copy of a page that
			      * could be read: it may be the older one */
	char path[STORE_PATH_LEN]; /* what cannot be repaired; "": nothing */
	bool top; /* of the top layer, without which nothing can be read */
};

/**
 * engine_repair_maps(e, type, name, ret):
 * Look at the maps of all layers of a disk, snapshot or image that nobody has
 * attached.  A map that is whole is left as it is, and so is a layer.ini; of
 * that the spare copy is made anew.  ${ret} says also after an error what was
 * done.
 *
 * -EBUSY    somebody has it, or makes a layer of its lineage
 * -EUCLEAN, -EBADMSG  a layer.ini is damaged, and its spare copy, too; or a
 *           list of digests, and its map is not what it was
 */
int engine_repair_maps(struct engine *e, enum desc_type type, const char *name,
		       struct repair_report *ret) NONNULL CHECKED;

#endif
