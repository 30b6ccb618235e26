/*
 * fuzz_kms.h - what fuzzers of the engine run on: a store in memory, and in
 * place of the client of a KMS one whose only data key is 32 times 0x42, so
 * that what was sealed once can be opened by any of them.
 */
#ifndef SEALDISK_FUZZ_KMS_H
#define SEALDISK_FUZZ_KMS_H

#include <sealdisk/kms.h>

#include "catalog.h"

#define FUZZ_DK_BYTE 0x42

/* Not looked into by any of its calls. */
extern int fuzz_kms;
#define FUZZ_KMS ((struct kms *)(void *)&fuzz_kms)

/* A new store in memory, and its catalog.  The store goes with it. */
struct catalog *fuzz_store(void);
void fuzz_store_free(struct catalog *c) NONNULL;

#endif
