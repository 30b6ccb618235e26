/*
 * progress.h - how far a long command has come.
 *
 * A bar on a terminal (standard error), JSON lines with --progress=json
 * ({"op":…,"done":…,"total":…,"unit":…}), nothing in a pipe.  One thread.
 */
#ifndef SEALDISK_PROGRESS_H
#define SEALDISK_PROGRESS_H

#include <stdint.h>

#include <sealdisk/cleanup.h>

enum progress_mode {
	PROGRESS_AUTO,
	PROGRESS_NONE,
	PROGRESS_JSON,
	PROGRESS_BAR
};

struct progress;
/* ${total} 0: not known.  ${unit}: "B" is shown as sizes, others as counts. */
struct progress *progress_new(enum progress_mode mode, const char *op,
			      uint64_t total, const char *unit) NONNULL;
/* At most ten updates a second are shown. */
void progress_update(struct progress *p, uint64_t done);
/* Shows the last state, ends the line, and frees. */
void progress_free(struct progress *p);
DEFINE_CLEANUP(struct progress, progress_free)

#endif
