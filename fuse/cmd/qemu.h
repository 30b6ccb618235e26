/*
 * qemu.h - disk images in other formats than raw, through qemu-img(1).
 *
 * qemu-img is run by its absolute path, without a shell, with paths that begin
 * with a slash (it takes "nbd:..." and "json:..." for something else), with the
 * format said (what a raw image holds must not make it something else), and
 * never on an image that names other files.
 *
 * Failures are told here, as of COMMAND FILE, and a negative errno returned.
 */
#ifndef SEALDISK_QEMU_H
#define SEALDISK_QEMU_H

#include <stdbool.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

/* A format as qemu-img calls it, from what people call it: NULL is none that
 * is known, or with ${write} none that is made. */
const char *qemu_format(const char *name, bool write) NONNULL;
/* "raw, qcow2, ...": those of qemu_format(). */
const char *qemu_format_names(bool write);

/**
 * qemu_detect(fd, size):
 * The format of an image by its first bytes, and a VHD's by its last; what is
 * none of those that are known is raw.
 */
const char *qemu_detect(int fd, uint64_t size) CHECKED;

/* The size of the disk in image ${file}; it is refused where its content is not
 * in this one file. */
int qemu_size(const char *file, const char *format, uint64_t *ret)
    NONNULL CHECKED;

/* ${size} is for showing how far it is. -ECANCELED: see copy.h. */
int qemu_to_disk(const char *file, const char *format, const char *disk,
		 uint64_t size) NONNULL CHECKED;
/* ${file} is there, and empty. */
int qemu_from_disk(const char *disk, const char *file, const char *format,
		   uint64_t size) NONNULL CHECKED;

#endif
