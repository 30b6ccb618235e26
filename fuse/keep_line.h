/*
 * keep_line.h - what keeper and worker say to each other, over a socket pair.
 *
 * A worker that has just been started is given the shared memory (LINE_KEEP)
 * and the locks of the disks that are attached (LINE_LOCK).  It looks whether
 * it can do its work and says so (LINE_HELLO), and then waits for /dev/fuse
 * (LINE_GO).  A message that was sent arrives, with its descriptor, also when
 * its sender has died since.
 *
 * Functions return 0 or a negative errno; -EPIPE: the other one is gone.
 */
#ifndef SEALDISK_KEEP_LINE_H
#define SEALDISK_KEEP_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

enum line_what {
	/* to the worker */
	LINE_KEEP = 1, /* with the descriptor of struct keep; ${value}: mode */
	LINE_LOCK,     /* both ways: ${slot}'s lock, with its descriptor */
	LINE_GO,       /* with /dev/fuse */
	LINE_REFUSED,  /* the upgrade: ${text} says why */
	LINE_HANDOVER, /* no more requests: another one takes over */
	/* to the keeper */
	LINE_HELLO,   /* ${value}: 0, or why it cannot, as an errno; ${text} */
	LINE_DROP,    /* the lock of ${slot} */
	LINE_READY,   /* it serves; ${text} for the service manager */
	LINE_STATUS,  /* ${text} for the service manager */
	LINE_UPGRADE, /* try another binary */
};

/* Of LINE_KEEP: what the worker is started for. */
enum line_mode {
	LINE_START = 1, /* the first: it opens all, and says hello */
	LINE_GO_ON,     /* after a death: the rest comes at once */
	LINE_TRIAL,     /* of an upgrade: it says whether it could */
};

struct line_msg {
	uint32_t what;
	uint32_t slot;
	int32_t value;
	char text[500];
};

/* A pair of ends, closed on exec. */
int line_pair(int ret[static 2]) CHECKED;
/* ${fd} may be -1. */
int line_send(int line, const struct line_msg *m, int fd) NONNULL CHECKED;
/* *${ret_fd} is -1, or a descriptor that is the caller's.  -EAGAIN: nothing
 * there, with ${wait} false. */
int line_receive(int line, bool wait, struct line_msg *ret, int *ret_fd)
    NONNULL CHECKED;

/* Without text or descriptor. */
int line_say(int line, enum line_what what, unsigned slot, int value) CHECKED;
int line_say_text(int line, enum line_what what, int value, const char *text)
    NONNULL CHECKED;

#endif
