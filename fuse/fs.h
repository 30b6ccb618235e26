/*
 * fs.h - the file system that FUSE's requests speak to: disks as files.
 *
 * fs.c and its neighbours fs_*.c, with session.c, are the only files that know
 * libfuse.  Below them are tree.h for names and the engine for all else.
 *
 * Requests come in on the session's workers.  What may wait for a KMS, for a
 * lock or for a long commit is answered later, by a job; each disk's jobs run
 * one after the other.  Functions return 0 or a negative errno.
 */
#ifndef SEALDISK_FS_H
#define SEALDISK_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <sealdisk/cleanup.h>

#include "disk.h"
#include "jobs.h"
#include "keeper_link.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

struct fs;

struct fs_options {
	struct engine *engine;
	struct jobs *jobs;
	const char *mount_point;
	const char *key; /* CMK of disks that file operations make */
	uint64_t linger_ms;
	uint64_t key_check_ms; /* between looks at the keys; 0: never */
	uid_t uid; /* who mounts: owner of folders and of new disks */
	gid_t gid;
	bool read_only;
	bool writeback_cache;
	/* Called by any thread: fs_tick() has something to do. */
	void (*wake)(void *arg);
	void *arg;
	struct keeper_link *link; /* NULL: nothing outlives this process */
};

/* What ${o} points to outlives the fs, except ${o} itself. */
int fs_new(const struct fs_options *o, struct fs **ret) NONNULL CHECKED;
/* Every disk must have been detached. */
void fs_free(struct fs *fs);
DEFINE_CLEANUP(struct fs, fs_free)

/* Their userdata is the struct fs. */
extern const struct fuse_lowlevel_ops fs_ops;
void fs_set_session(struct fs *fs, struct fuse_session *se);

/* Whether the kernel has greeted us and requests are answered. */
bool fs_is_serving(const struct fs *fs) NONNULL;

/* After another worker's death: its disks, as it had them attached.  Before the
 * first request.  What cannot be gone on with is logged, and fails. */
void fs_resume(struct fs *fs) NONNULL;

/* The upgrade that was asked for does not take place: ${why}. */
void fs_upgrade_refused(struct fs *fs, const char *why) NONNULL;

/**
 * fs_tick(fs):
 * For the housekeeping thread: starts the detach of disks that have lingered
 * long enough, and looks at the keys of the others.  Returns in how many
 * milliseconds it is to be called again, or -1.
 */
int fs_tick(struct fs *fs) NONNULL;

/* Whether a disk was detached since the last call: workers are to be wiped. */
bool fs_take_wipe(struct fs *fs) NONNULL;

/* Commit every attached disk.  Logs what fails. */
void fs_commit_all(struct fs *fs) NONNULL;

/* When no more requests come: detach every disk, and wait for it.  The first
 * error of a detach. */
int fs_detach_all(struct fs *fs) NONNULL;

/* How many disks are attached; ${ret_open}, unless NULL: files open on them. */
unsigned fs_count(struct fs *fs, unsigned *ret_open)
    __attribute__((__nonnull__(1)));

/* Remove what deleted disks left, in the background. */
void fs_sweep(struct fs *fs) NONNULL;
/* The same if something was left, or is just being done: after a disk was
 * attached or detached, whose layers may have been in use. */
void fs_sweep_rest(struct fs *fs) NONNULL;
/* In how many ms there is one more for what was left, which is begun if that is
 * now; -1: not before an event. */
int64_t fs_sweep_due(struct fs *fs) NONNULL;
/* Tell that to end. */
void fs_stop_sweep(struct fs *fs) NONNULL;

#endif
