/*
 * cmd_scrub.h - a scrub, as `scrub` and `check` begin it.
 */
#ifndef SEALDISK_CMD_SCRUB_H
#define SEALDISK_CMD_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd.h"

/**
 * scrub_run(t, flags, rate, background):
 * Have ${t} scrubbed as SD_SCRUB_... say, and unless ${background} wait for it
 * and print what was found.  ${rate}: bytes a second, 0 for no limit.
 *
 * -EBADMSG    something is damaged, which has been told
 * -ECANCELED  it was stopped
 */
int scrub_run(const struct cmd_target *t, uint32_t flags, uint64_t rate,
	      bool background) NONNULL CHECKED;

#endif
