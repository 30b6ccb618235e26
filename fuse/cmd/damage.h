/*
 * damage.h - which files lie where a disk is damaged, as far as its file system
 * can tell.
 *
 * ext2, ext3, ext4 by debugfs(8) and XFS by xfs_db(8), on the whole disk or in
 * its partitions.  They read what somebody else has written on the disk, so
 * they are asked only where the user says so.
 */
#ifndef SEALDISK_DAMAGE_H
#define SEALDISK_DAMAGE_H

#include <stdint.h>

#include <jansson.h>

#include <sealdisk/cleanup.h>

/**
 * damage_files(image, sector, off, len, ret):
 * Add to array ${ret} the names of what has blocks in that range of the image:
 * paths, or words in parentheses for what is no file.  ${sector}: the disk's
 * sector size.  Nothing is added where that cannot be told.
 */
void damage_files(const char *image, uint32_t sector, uint64_t off,
		  uint64_t len, json_t *ret) NONNULL;

#endif
