/*
 * salvage.h - what can be read of a damaged disk, in a new one.
 */
#ifndef SEALDISK_SALVAGE_H
#define SEALDISK_SALVAGE_H

#include "cmd.h"

/**
 * salvage_disk(t, name):
 * Make disk ${name}, of the size and kind of ${t} and under its master key,
 * with all of its content that can be read, and print the ranges that cannot
 * be, which read as zeros there.
 *
 * -EBADMSG  there are some, which has been told
 */
int salvage_disk(const struct cmd_target *t, const char *name) NONNULL CHECKED;

#endif
