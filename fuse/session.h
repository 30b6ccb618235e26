/*
 * session.h - one mount from mount(2) to the last detach.
 *
 * Requests are read and answered by workers (worker.h) in a loop of our own,
 * since libfuse's keeps plaintext in buffers that nobody can wipe.  The thread
 * that calls session_run() takes the signals and does the housekeeping: it
 * starts detaches that are due, sees to it that plaintext is wiped after them,
 * and lets go of the mount.
 *
 * SIGTERM (and SIGINT, and SIGHUP in the foreground) commits every disk and
 * takes the mount away from its place; whoever has a file open is served until
 * the last close.  The same end is reached by umount(8).
 */
#ifndef SEALDISK_SESSION_H
#define SEALDISK_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#include "disk.h"
#include "keeper_link.h"

struct session_options {
	struct engine *engine;
	const char *store;       /* absolute: the mount's source */
	const char *mount_point; /* absolute */
	const char *key;         /* CMK of disks that file operations make */
	const char *kernel;      /* more options for mount(2): "noexec,..." */
	uint64_t linger_ms;
	uint64_t key_check_ms; /* between looks at the keys; 0: never */
	unsigned threads;      /* 0: as many as suit */
	bool allow_other, read_only, writeback_cache, foreground;
	/* Called once, when the mount serves. */
	void (*ready)(void *arg);
	void *arg;
	/* A worker's: it has the mount from there.  NULL: this process mounts,
	 * and its end is that of the mount. */
	struct keeper_link *link;
};

/* The keeper's part: mount, and no more.  *${ret_why} as below. */
int session_mount(const struct session_options *o, int *ret_fd,
		  const char **ret_why) NONNULL CHECKED;

/**
 * session_run(o, ret_why):
 * Mount, serve, and return when the mount is gone and every disk has been
 * detached: 0, or the first error of a detach, which was logged.
 * Where it fails before it serves, *${ret_why} (static) is what libfuse said of
 * it, or NULL.
 * A worker goes on with what the one before it has left, if there was one, and
 * says in the memory that it shares with its keeper when the mount has come to
 * its end.
 */
int session_run(const struct session_options *o, const char **ret_why)
    NONNULL CHECKED;

#endif
