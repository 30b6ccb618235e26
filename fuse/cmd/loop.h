/*
 * loop.h - loop devices over a disk: set up, found, given up.
 *
 * Devices are named by their path, "/dev/loop7".  0 or a negative errno.
 */
#ifndef SEALDISK_LOOP_H
#define SEALDISK_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#define LOOP_DEV_LEN 32
#define LOOP_MAX 16 /* devices over one disk that are told apart */

struct loop_list {
	char dev[LOOP_MAX][LOOP_DEV_LEN];
	size_t n;
};

/* The devices whose file is ${path}, by whatever mount they came to it. */
void loop_find(const char *path, struct loop_list *ret) NONNULL;

/**
 * loop_attach(fd, path, sector_size, read_only, ret):
 * A free loop device over ${fd}, which was opened O_DIRECT on ${path}: with
 * direct I/O, partitions scanned, and staying until it is detached.
 *
 * -ENOENT, -EACCES  /dev/loop-control cannot be opened
 */
int loop_attach(int fd, const char *path, uint32_t sector_size, bool read_only,
		char ret[static LOOP_DEV_LEN]) NONNULL CHECKED;

/* Whether the device does direct I/O; without, it has one request in flight. */
bool loop_is_direct(const char *dev) NONNULL;

/* The file has another size now. */
int loop_resized(const char *dev) NONNULL CHECKED;

/**
 * loop_user(dev, ret, cap):
 * Whether anything uses the device or a partition of it: then 0, and ${ret}
 * says what, "/dev/loop0 is mounted on /mnt".  -ENOENT: nothing does.
 */
int loop_user(const char *dev, char *ret, size_t cap) NONNULL CHECKED;

/**
 * loop_detach(dev):
 * Give the device up, and return when it has let go of its file.
 *
 * -EBUSY  somebody opened it just now; it goes when they close it
 */
int loop_detach(const char *dev) NONNULL CHECKED;

#endif
