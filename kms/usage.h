/*
 * usage.h - calls, counted.
 *
 * Counts are gathered in memory and go to the keystore together, with the end
 * of the audit log.  Any thread.
 */
#ifndef SEALDISK_KMS_USAGE_H
#define SEALDISK_KMS_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "keystore_service.h"

#define USAGE_ROWS 1024 /* different ones that are gathered */

struct usage;
struct usage_table;

int usage_new(struct usage **ret) NONNULL CHECKED;
void usage_free(struct usage *u);
DEFINE_CLEANUP(struct usage, usage_free)

/* 202611 of seconds since the epoch, UTC. */
unsigned usage_month(int64_t now);
/* Count row->calls.  -ENOSPC: take out first what has been gathered. */
int usage_add(struct usage *u, const struct kms_usage *row) NONNULL CHECKED;

/**
 * usage_take(u):
 * All that has been gathered, or NULL, if that is nothing: to be written with
 * usage_write(), and then freed, or given back, if it could not be committed.
 */
struct usage_table *usage_take(struct usage *u) NONNULL;
int usage_write(const struct usage_table *t, struct keystore *ks)
    NONNULL CHECKED;
void usage_give_back(struct usage *u, struct usage_table *t) NONNULL;
void usage_table_free(struct usage_table *t);

#endif
