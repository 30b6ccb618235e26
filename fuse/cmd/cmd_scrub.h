/*
 * cmd_scrub.h - a scrub, as `scrub` and `check` begin it.
 */
#ifndef SEALDISK_CMD_SCRUB_H
#define SEALDISK_CMD_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd.h"

/**
 * scrub_run(t, flags, rate, background, files, ret):
 * Have ${t} scrubbed as SD_SCRUB_... say, and unless ${background} or it is
 * stopped wait for it: *${ret} is what it has found, as `scrub --json` prints
 * it.  ${rate}: bytes a second, 0 for no limit.  ${files}: of what is lost, say
 * which files have it (damage.h).  Failures are told.
 */
int scrub_run(const struct cmd_target *t, uint32_t flags, uint64_t rate,
	      bool background, bool files, json_t **ret) NONNULL CHECKED;

/**
 * scrub_tell(list, result, repaired, last):
 * Add what scrub_run() has found to ${list}, and print it for people; but what
 * was stopped and, not being the ${last} time, is begun again has no result.
 * 0, or told: -EBADMSG something is damaged, -ECANCELED it was stopped, -EIO it
 * came to no end.
 */
int scrub_tell(json_t *list, json_t *result, bool repaired, bool last)
    NONNULL CHECKED;

#endif
