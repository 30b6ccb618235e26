/*
 * damage_private.h - what damage.c asks of a file system.
 */
#ifndef SEALDISK_DAMAGE_PRIVATE_H
#define SEALDISK_DAMAGE_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>

#include <sealdisk/cleanup.h>

#define BATCH 2048 /* blocks that are asked for at once */

enum part_fs { PART_UNKNOWN, PART_EXT, PART_XFS };

/* A partition, or the whole disk. */
struct part {
	const char *image;
	uint64_t start, len; /* in the image, bytes */
	enum part_fs fs;
	uint32_t block;     /* size of the file system's */
	uint32_t super;     /* PART_EXT: the superblock that can be read, if it
			     * is not the first one: its block */
	uint32_t ag_blocks; /* PART_XFS: blocks of an allocation group, and the
			     * bits that they take in a block's number */
	uint8_t ag_bits;
};

/* What a program has printed. */
struct text {
	char *s; /* ends with a NUL */
	size_t len;
};

/* What a batch has found. */
struct found {
	uint64_t inode[BATCH];
	bool named[BATCH];
	size_t n;
	bool metadata, free_space;
};

void text_done(struct text *t) NONNULL;
/* What one of the system's programs prints, also if it fails; "" if it is not
 * there. */
void damage_ask(const char *name, const char *const *argv, struct text *ret)
    NONNULL;

/* Once each; what a terminal would take for a command is not printed. */
void damage_name(json_t *list, const char *name) NONNULL;
void found_inode(struct found *f, uint64_t inode) NONNULL;
/* ${name} is one of it: "" if nobody can tell. */
void found_name(struct found *f, uint64_t inode, const char *name, json_t *list)
    NONNULL;
/* What has no name, and is no file. */
void found_rest(const struct found *f, json_t *list) NONNULL;

/* ${n} blocks of the file system from ${first} on, BATCH at most.  -EIO: it
 * cannot be read. */
int damage_ext(const struct part *p, uint64_t first, unsigned n, json_t *ret)
    NONNULL CHECKED;
int damage_xfs(const struct part *p, uint64_t first, unsigned n, json_t *ret)
    NONNULL CHECKED;

#endif
