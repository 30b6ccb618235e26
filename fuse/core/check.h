/*
 * check.h - a store looked at as a whole: what no disk has any more, and what
 * somebody has lost.
 *
 * Of what a disk has, scrub.h tells.  No key is needed here, and nothing is
 * authenticated: nothing of it is believed but that a file is not needed, which
 * whoever could forge it could have removed himself.
 */
#ifndef SEALDISK_CHECK_H
#define SEALDISK_CHECK_H

#include "catalog.h"

enum check_what {
	CHECK_DESCRIPTOR, /* cannot be read */
	CHECK_LINEAGE,    /* data that no descriptor names, and that nobody has
			   * removed: somebody lost a descriptor */
	CHECK_LAYER,      /* of a lineage in use, that nothing reaches */
	CHECK_CHUNK,      /* a chunk file that no map names */
	CHECK_MAP,        /* a map that cannot be read: nothing is said of the
			   * chunks of its lineage */
	CHECK_BUSY,       /* of a lineage in use just now nothing is said */
	CHECK_LOST,       /* a descriptor of which there is a spare copy */
	CHECK_SPARE,      /* a spare copy that is missing or damaged, or of
			   * nothing */
	CHECK_OLDER,      /* a descriptor that its spare copy is newer than */
	CHECK_NWHAT
};
/* "descriptor", ... */
const char *check_word(enum check_what w);

struct check_finding {
	enum check_what what;
	char path[STORE_PATH_LEN]; /* in the store */
	int err; /* of CHECK_DESCRIPTOR: why; of CHECK_LOST and CHECK_SPARE:
		  * why it was not made anew */
	bool removed, made;
};

struct check_options {
	bool repair; /* remove chunk files and layers that nobody needs */
	void (*found)(const struct check_finding *f, void *arg);
	void *arg;
	/* But chunk files stay: a map has just been made anew of what was
	 * found, and who knows what of. */
	bool keep_chunks;
};

/**
 * catalog_check(c, o):
 * Look at all names and all lineages.  What is found is no error of the call.
 */
int catalog_check(struct catalog *c, const struct check_options *o)
    NONNULL CHECKED;

#endif
