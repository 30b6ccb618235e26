/*
 * copy.h - the content of a disk into a file, or of a file into a disk.
 *
 * Holes are passed over on both sides, and what reads as zeros is not written:
 * the place that it goes to is new, and reads as zeros by itself.
 */
#ifndef SEALDISK_COPY_H
#define SEALDISK_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#include "disk.h"

/* A disk that the command has attached, or where that is NULL, a file. */
struct copy_end {
	struct disk *disk;
	struct scratch *scratch; /* the disk's */
	int fd;
};

/**
 * copy_image(op, from, to, size, ret_reading):
 * Copy ${size} bytes, showing how far it is as ${op}.  Nothing is durable when
 * it returns.  *${ret_reading}, also on failure: it was reading that failed.
 *
 * -ECANCELED  a signal of copy_catch_signals()
 */
int copy_image(const char *op, const struct copy_end *from,
	       const struct copy_end *to, uint64_t size, bool *ret_reading)
    NONNULL CHECKED;

/* From now on SIGINT, SIGTERM and SIGHUP end no process, but a copy, so that
 * what is half done can be taken away. */
void copy_catch_signals(void);
bool copy_interrupted(void);

#endif
