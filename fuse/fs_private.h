/*
 * fs_private.h - what the fs*.c files share.
 */
#ifndef SEALDISK_FS_PRIVATE_H
#define SEALDISK_FS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fs.h"
#include "pending.h"
#include "tree.h"
#include "worker.h"

/*
 * How long the kernel may believe what it was told, in seconds.  A disk that
 * is not attached here can be changed by any command at any time; one that is
 * changes through this mount alone, but its name may change just after.
 */
#define TIMEOUT_DETACHED 0.0
#define TIMEOUT_ATTACHED 1.0
#define TIMEOUT_FOLDER 3600.0

/* Bits of a disk's file handle; above them is its place (fs_once.c). */
enum { FH_DIRECT = 1 };

/* Of a disk, what a stat tells. */
struct disk_attr {
	uint64_t size, allocated;
	int64_t created;
	uint32_t uid, gid, mode;
};

/*
 * What a disk is put into to be used, kept with its node.  ${disk} is set and
 * cleared by jobs of the strand, under the lock; whoever has counted itself in
 * ${users} (an open file, a request under way) may use it without the lock.
 */
struct drive {
	struct strand strand;
	struct node *node;
	pthread_mutex_t lock; /* guards what follows */
	_Atomic(struct disk *) disk;
	/* Shared by a request for an open file; exclusive to take the disk
	 * away from under the open files. */
	pthread_rwlock_t gate;
	int cut;      /* why that was done; 0 again when they are closed */
	bool leaving; /* its detach has begun */
	struct disk_attr last; /* if so: as it was then */
	bool due;              /* a detach job is queued */
	unsigned users;
	/* Open files past the kernel's page cache, and through it; whether the
	 * pages that the kernel has are those of the disk. */
	unsigned n_direct, n_cached;
	bool pages;
	int64_t idle_ms;         /* monotonic: when the last user went */
	time_t since;            /* when it was attached */
	int attach_error;        /* what the last attach said */
	struct scrubbing *scrub; /* the last one, or NULL */
	/* guarded by fs->lock: the list of drives that hold a disk, and whether
	 * it was told that the store does not answer */
	struct drive *next, *prev;
	bool hangs;
};

struct note;

struct fs {
	struct fs_options opt;
	struct catalog *catalog;
	struct tree *tree;
	_Atomic(struct fuse_session *) session; /* NULL: no mount */
	time_t mounted;
	_Atomic bool serving, wipe_wanted, stop_checks;
	pthread_mutex_t lock; /* guards what follows */
	struct drive *drives;
	bool closing; /* detach without lingering */
	bool sweeping, sweep_again;
	int64_t sweep_at;  /* monotonic ms: once more; 0: nothing was left */
	unsigned sweep_ms; /* how long after the last one that is */
	int detach_error;
	int64_t check_ms; /* monotonic: when the keys are looked at again */
	bool checking;
	int check_error; /* of the last look, or 0 */
	struct note *notes;
	uint64_t next_note;
	atomic_bool stop_sweep;
	fuse_req_t upgrade; /* waits for how that ends; or NULL */
	struct keep_job *upgrade_job;
	pthread_mutex_t survey_lock; /* guards what follows, see fs_info.c */
	struct survey *survey;
	int64_t survey_ms;
};

/* A request that is answered by a job. */
struct fs_job {
	struct job job;
	struct fs *fs;
	fuse_req_t req;    /* NULL: nobody waits */
	struct node *node; /* pinned; NULL where it is about a new name */
	struct drive *drive;
	void (*run)(struct fs_job *j);
	int flags; /* of open, create, rename */
	mode_t mode;
	struct stat st; /* of setattr */
	int to_set;
	/* A name that there is, as the catalog has it; a new one. */
	char name[NODE_NAME_MAX + 1], to[DISK_NAME_MAX + 1];
	fuse_ino_t parent; /* of link */
	void *data;        /* free()d at the end */
	uint64_t unique;   /* of the request; 0: not known */
	struct keep_job *pending;
	struct keep_once *once;
};

/*
 * fs.c: answers, attributes, jobs.
 */

/* The errno that a client sees for the engine's ${r}: positive. */
int fs_errno(int r) CHECKED;
/* Answer 0 or an error. */
void fs_reply(fuse_req_t req, int r);

struct fs *fs_of(fuse_req_t req);
/* The node that a request is about, or NULL, answered. */
struct node *fs_node(fuse_req_t req, fuse_ino_t ino);

/* *ret_timeout: see TIMEOUT_...  ${desc} NULL: it is looked up. */
int fs_stat(struct fs *fs, struct node *n, const struct descriptor *desc,
	    struct stat *ret, double *ret_timeout)
    __attribute__((__nonnull__(1, 2, 4, 5))) CHECKED;
int fs_entry(struct fs *fs, struct node *n, const struct descriptor *desc,
	     struct fuse_entry_param *ret)
    __attribute__((__nonnull__(1, 2, 4), __warn_unused_result__));

/* Answer with a node that the kernel then knows; ${desc} as for fs_entry(). */
void fs_reply_node(fuse_req_t req, struct node *n,
		   const struct descriptor *desc)
    __attribute__((__nonnull__(2)));

/**
 * fs_job_new(fs, req, node, run):
 * A job on the strand of ${node} (which it pins), or on none where that is
 * NULL.  It is queued by fs_start() when its arguments are filled in.  NULL:
 * no memory, which has been answered.
 */
struct fs_job *fs_job_new(struct fs *fs, fuse_req_t req, struct node *node,
			  void (*run)(struct fs_job *j));
void fs_start(struct fs_job *j) NONNULL;
/* ${to} answers the request of ${from} from now on. */
void fs_job_pass(struct fs_job *from, struct fs_job *to) NONNULL;

/*
 * fs_drive.c: attach, detach, and the time between.
 */

/* The drive of a disk's node.  NULL: no memory. */
struct drive *drive_of(struct fs *fs, struct node *n) NONNULL;
/* The same, if it was made already. */
struct drive *drive_peek(struct node *n) NONNULL;
void drive_release(void *user);

/* If a disk is there and stays, count the caller in: until drive_unuse(). */
bool drive_use(struct drive *d) NONNULL CHECKED;
void drive_unuse(struct fs *fs, struct drive *d) NONNULL;
/* Whether what is attached is there to be read alone: see disk_stats. */
bool drive_is_older(struct drive *d) NONNULL;

/* For the jobs of the drive's strand alone: */
/* Attach, unless it is, and count the caller in.  ${to_read}: what was put back
 * to an older state, too. */
int drive_attach(struct fs *fs, struct drive *d, bool to_read) NONNULL CHECKED;
/* What it is now is right, whatever it was.  -EBUSY: in use. */
int drive_accept(struct fs *fs, struct drive *d) NONNULL CHECKED;
/* -EBUSY: in use.  0 also where it is not attached. */
int drive_detach(struct fs *fs, struct drive *d) NONNULL CHECKED;
/* It has a disk, from now on. */
void drive_list(struct fs *fs, struct drive *d) NONNULL;

/**
 * drive_cut(fs, d, why):
 * Take the disk away from whoever has it open: what was written is committed,
 * the DK wiped, and all I/O on files that are open fails from now on.  Until
 * they are closed nobody opens it, which fails with ${why}.  -EBUSY: something
 * else is done with it now, to be tried again.
 */
int drive_cut(struct fs *fs, struct drive *d, int why) NONNULL CHECKED;

/* Of an attached disk, also while it is being detached: what is in its
 * descriptor then may be older.  False: it is not attached. */
bool drive_attr(struct node *n, struct disk_attr *ret, bool *ret_leaving)
    NONNULL CHECKED;
bool drive_stats(struct node *n, struct disk_stats *ret) NONNULL CHECKED;
/* Of one that stays attached, for now. */
bool drive_descriptor(struct node *n, struct descriptor *ret) NONNULL CHECKED;
/* Whether it is being reencrypted, and how far that is. */
bool drive_reencrypting(struct node *n, struct reencrypt_state *ret)
    NONNULL CHECKED;
/* Since when it is attached here; 0: it is not. */
time_t drive_since(struct node *n) NONNULL CHECKED;
/* What the kernel has of the file and was not written yet comes; its pages go.
 */
void drive_drop_pages(struct fs *fs, struct drive *d) NONNULL;
/* What the last attach said: 0 or a negative errno of disk.h. */
int drive_attach_error(struct node *n) NONNULL CHECKED;

/*
 * fs_scrub.c.  On the strand: begin a scrub, for which the disk is attached, or
 * end one.  -EALREADY: one is under way.
 */
struct scrubbing;
struct sd_ioc_scrub;
int drive_scrub(struct fs *fs, struct drive *d, const struct sd_ioc_scrub *arg)
    NONNULL CHECKED;
/* Returns when it has ended. */
void drive_scrub_stop(struct drive *d) NONNULL;
bool drive_is_scrubbed(struct drive *d) NONNULL;
void drive_scrub_free(struct scrubbing *sc);
/* The sections of an info file; ${d} NULL: of no node that is known. */
void drive_scrub_print(FILE *f, struct fs *fs, struct drive *d,
		       const struct descriptor *desc)
    __attribute__((__nonnull__(1, 2, 4)));

/* The kernel's pages of the file, by how it was opened: answers of open. */
struct fuse_open_answer {
	uint64_t fh;
	uint32_t flags;
};
/* ${unique}: of the request.  -ENFILE, and the caller is counted out. */
int drive_opened(struct fs *fs, struct drive *d, uint64_t unique, int flags,
		 struct fuse_open_answer *ret) NONNULL CHECKED;
void drive_closed(struct fs *fs, struct drive *d, uint64_t fh) NONNULL;

/**
 * drive_change(fs, d, fn, arg):
 * On the strand: change the descriptor, whether the disk is attached here or
 * not.  -EBUSY: somebody else has it.  A snapshot or image may be open here and
 * elsewhere: nobody who reads it has a copy that would be written back, so that
 * it is changed in the store, under the lock of the names (catalog_update).
 */
int drive_change(struct fs *fs, struct drive *d,
		 int (*fn)(struct descriptor *desc, void *arg), void *arg)
    __attribute__((__nonnull__(1, 2, 3))) CHECKED;

/*
 * fs_open.c, fs_file.c, fs_attr.c, fs_dir.c, fs_name.c, fs_link.c, fs_info.c,
 * fs_ioctl.c: requests.
 */
void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev);
void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi);
void fs_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	      off_t off, struct fuse_file_info *fi);
void fs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		  off_t len, struct fuse_file_info *fi);
void fs_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	      struct fuse_file_info *fi);
void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	      struct fuse_file_info *fi);

void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		struct fuse_file_info *fi);

void fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void fs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);
void fs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	       fuse_ino_t to_parent, const char *to, unsigned flags);
void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
	     const char *name);
void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
		const char *name);
/* 0, or what a new name in that folder is refused with. */
int fs_check_name(uint64_t parent, const char *name) NONNULL CHECKED;
/* -EEXIST: something there has it. */
int fs_name_is_new(struct fs *fs, uint64_t parent, const char *name)
    NONNULL CHECKED;
/* Whether what has the name there is ${uuid}. */
bool fs_name_is(struct fs *fs, uint64_t parent, const char *name,
		const struct uuid *uuid) NONNULL CHECKED;

/* What is known of a disk because it is attached here. */
struct look {
	struct disk_stats stats;
	struct disk_attr attr;
	bool there; /* attr; stats are zeros if not, or if it is just going */
	time_t since;
	int attach_error;
	bool reencrypting;
	struct reencrypt_state re;
};
void info_look(struct fs *fs, struct node *info, struct look *ret) NONNULL;
/* Names have changed: what was found out about layers is old. */
void info_outdated(struct fs *fs) NONNULL;
/* The text of an info file; malloc'ed. */
int info_text(struct fs *fs, struct node *n, char **ret, size_t *ret_len)
    NONNULL CHECKED;
void info_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi);
void info_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	       uint64_t fh);
/* The size of the text that ${fh} reads; ${size} where that is not known. */
off_t info_size(struct fs *fs, uint64_t fh, off_t size) NONNULL CHECKED;
/* SD_IOC_SNAPSHOT, after the caller's right to it was looked at. */
void fs_snapshot(fuse_req_t req, const void *in, size_t in_len) NONNULL;
void fs_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
	      struct fuse_file_info *fi, unsigned flags, const void *in,
	      size_t in_len, size_t out_len);

/* fs_keys.c: with fs->lock held, look at the keys of attached disks if it is
 * time to; in how many ms that is again, or -1. */
int64_t fs_check_keys(struct fs *fs) NONNULL;

/*
 * fs_once.c: what must not be done twice.  All of it takes NULL for a request
 * that is not noted, as where there is no keeper.
 */
enum once_was { ONCE_NEW, ONCE_WAS_BEGUN, ONCE_WAS_DONE };

/* The request that the calling thread is at; was it begun, or done, before?
 * NULL: it is not noted, as ONCE_NEW. */
struct keep_once *fs_once(struct fs *fs, enum once_was *ret_was)
    __attribute__((__nonnull__(2)));
/* It was seen that it is not done; ${about}, or NULL. */
void once_begin(struct keep_once *o, const struct uuid *about);
/* With its result, and what else is answered. */
void once_done(struct keep_once *o, int result, const void *out, size_t len);
/* It was answered. */
void once_end(struct keep_once *o);

/* An open file's number, which holds how it is open.  -ENFILE. */
int handle_new(struct fs *fs, uint64_t unique, uint64_t node, bool direct,
	       uint64_t *ret_fh) NONNULL CHECKED;
/* That of a request that comes again, if it was given one. */
bool handle_find(struct fs *fs, uint64_t unique, uint64_t node,
		 uint64_t *ret_fh) NONNULL CHECKED;
/* False: it was closed before. */
bool handle_free(struct fs *fs, uint64_t fh) NONNULL CHECKED;
void handle_count(struct fs *fs, uint64_t node, unsigned *ret_direct,
		  unsigned *ret_cached) NONNULL;
/* The node of the next one from place *${i} on, which is moved; 0: none. */
uint64_t handle_next(struct fs *fs, unsigned *i) NONNULL;

/*
 * fs_note.c: text that an open file or folder goes on reading as it was when
 * it was opened.  A handle that is not known (of an earlier process) is no
 * error: whoever reads makes the text anew.
 */

/* Takes ${text} over, NULL for none yet.  *ret_id is never 0. */
int note_put(struct fs *fs, char *text, size_t len, uint64_t *ret_id)
    __attribute__((__nonnull__(1, 4))) CHECKED;
/* Replace the text. */
void note_set(struct fs *fs, uint64_t id, char *text, size_t len) NONNULL;
/* NULL: not known.  The text stays until note_drop() of an open file. */
const char *note_get(struct fs *fs, uint64_t id, size_t *ret_len) NONNULL;
void note_drop(struct fs *fs, uint64_t id) NONNULL;
void notes_free(struct fs *fs) NONNULL;

#endif
