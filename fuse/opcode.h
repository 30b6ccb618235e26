/*
 * opcode.h - FUSE's requests by name, for people.
 */
#ifndef SEALDISK_OPCODE_H
#define SEALDISK_OPCODE_H

#include <stdint.h>

/* "?" for one that is not known. */
const char *opcode_name(uint32_t opcode);

#endif
