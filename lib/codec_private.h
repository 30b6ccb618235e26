/*
 * codec_private.h - parts of codec.h that its own files and tests share.
 */
#ifndef SEALDISK_CODEC_PRIVATE_H
#define SEALDISK_CODEC_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C by table, on any machine: what crc32c() falls back to. */
uint32_t crc32c_portable(const void *buf, size_t len);

#endif
