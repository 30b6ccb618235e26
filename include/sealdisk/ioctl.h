/*
 * ioctl.h - what a file operation cannot say to a mounted store.
 *
 * The calls are made on info/disks/NAME, opened for reading (opening the disk
 * itself would attach it), or where it is said so on the mount's own folder.
 * Whoever may open the info file, its owner and root, may make them.  Those on
 * info/snapshots/DISK/NAME and info/images/NAME are the same, but that nothing
 * can be set there: -EROFS.
 *
 * They fail with the errno of a file operation: namespace.md, architecture.md.
 * libfuse 3.14 passes at most 16,383 bytes.
 */
#ifndef SEALDISK_IOCTL_H
#define SEALDISK_IOCTL_H

#include <stdint.h>
#include <sys/ioctl.h>

#define SD_IOC_TYPE 0xe5

/*
 * Set one property of the disk: kind, category, on_key_revoked or anchor; both
 * strings end with a NUL.  -EINVAL: no such property, or not a value of it.
 * -EBUSY: another process has the disk.
 */
struct sd_ioc_property {
	char key[32];
	char value[224];
};
#define SD_IOC_SET _IOW(SD_IOC_TYPE, 1, struct sd_ioc_property)

/* What this mount knows of the disk; zeros where it is not attached by it. */
struct sd_ioc_stats {
	uint64_t version; /* 1; later ones only add to the end */
	uint64_t attached;
	uint64_t reads, read_bytes, writes, write_bytes, zeros, flushes;
	uint64_t commits, commit_errors;
	uint64_t faults, repairs;
	uint64_t allocated, dirty_groups, chunks_open;
	uint64_t failed, unclean;
	/* Why the last attach failed, where a client of the mount saw EIO
	 * alone: the errno of fuse/core/disk.h (EBADMSG, EUCLEAN, ...); 0: it
	 * did not. */
	uint64_t attach_error;
	uint64_t reserved[14];
};
#define SD_IOC_STATS _IOR(SD_IOC_TYPE, 2, struct sd_ioc_stats)

/*
 * Detach the disk now instead of when it has lingered, and return when it is
 * committed and its lock is free.  0 also if it was not attached by this mount.
 * -EBUSY: it is open.
 */
#define SD_IOC_DETACH _IO(SD_IOC_TYPE, 3)

/*
 * What the disk is now is right, whatever it was at its last checkpoint, and
 * whatever of it is older than its digest: until there is a new checkpoint
 * nothing of it is known for an older version.  -EBUSY: it is open.
 */
#define SD_IOC_ACCEPT _IO(SD_IOC_TYPE, 7)

/*
 * Wrap the disk's data keys under the newest version of their master key, or of
 * ${key}: an id, ARN or alias, which ends with a NUL; "" for their own. Another
 * key is the choice of root and of the daemon's user alone: -EPERM.
 */
struct sd_ioc_rewrap {
	char key[256];
	uint32_t rewrapped; /* answered: how many were not */
	uint32_t pad;
	uint64_t reserved[4];
};
#define SD_IOC_REWRAP _IOWR(SD_IOC_TYPE, 5, struct sd_ioc_rewrap)

/*
 * On the mount's own folder: a snapshot of each of several disks, all at one
 * instant, DISK@${name}.  Names end with a NUL.  One alone is a link(2).  For
 * root and the daemon's user alone: -EPERM.
 *
 * -EEXIST  one of the names is taken, -EBUSY another process has one of the
 *          disks, -EINVAL a name, or one disk twice: nothing was done
 */
#define SD_IOC_NAME 208
#define SD_IOC_DISKS 32
struct sd_ioc_snapshot {
	uint32_t n; /* 1 to SD_IOC_DISKS */
	uint32_t pad;
	uint64_t reserved[4];
	char name[SD_IOC_NAME];
	char disks[SD_IOC_DISKS][SD_IOC_NAME];
};
#define SD_IOC_SNAPSHOT _IOW(SD_IOC_TYPE, 6, struct sd_ioc_snapshot)

/*
 * Begin to look at every bit of the disk, which is attached for it, and return;
 * or with SD_SCRUB_STOP end that, and return when it has ended.  How far it is
 * and what it found stands in the info file.  -EALREADY: one is under way.
 */
enum {
	SD_SCRUB_BLOCKS = 1, /* read all blocks; else the pages alone */
	SD_SCRUB_REPAIR = 2, /* a copy that does not verify from the other */
	SD_SCRUB_STOP = 4,
};
struct sd_ioc_scrub {
	uint32_t flags;
	uint32_t pad;
	uint64_t rate; /* bytes a second; 0: as fast as it goes */
	uint64_t reserved[4];
};
#define SD_IOC_SCRUB _IOW(SD_IOC_TYPE, 10, struct sd_ioc_scrub)

/*
 * With ${start}: give the disk, which is open, a new data key under master key
 * ${key} (an id, ARN or alias that ends with a NUL; "": the one that it has),
 * and copy all its blocks in the background, at most ${rate} bytes a second (0:
 * as it goes); where that is going on, it has another rate from now on.
 * Answered are how far it is, or that it is not going on.  To start is for root
 * and the daemon's user alone: -EPERM.  -ENODEV: the disk is not attached by
 * this mount.
 */
struct sd_ioc_reencrypt {
	char key[256];
	uint64_t rate;
	uint32_t start;       /* 0: only tell */
	uint32_t running;     /* answered */
	uint64_t done, total; /* answered: bytes of the disk */
	uint64_t error; /* answered: the errno with which the last try ended */
	uint64_t reserved[4];
};
#define SD_IOC_REENCRYPT _IOWR(SD_IOC_TYPE, 9, struct sd_ioc_reencrypt)

/* On the mount's own folder: who serves it. */
struct sd_ioc_daemon {
	uint32_t version;  /* 1 */
	int32_t pid;       /* the keeper's, as it sees itself: the mount's */
	uint64_t attached; /* disks */
	int32_t worker;    /* who answers just now */
	uint32_t pad;
	uint64_t restarts; /* workers that died and were followed */
	uint64_t upgrades;
	uint64_t reserved[3];
};
#define SD_IOC_DAEMON _IOR(SD_IOC_TYPE, 4, struct sd_ioc_daemon)

/*
 * On the mount's own folder: let the program that now lies where this one was
 * started from take over, with all that is attached and open.  Answered when it
 * serves; or ${error} says that it does not, ${why} why not, and the old one
 * goes on.  For root and the daemon's user alone: -EPERM.
 */
struct sd_ioc_upgrade {
	uint32_t error; /* 0, or an errno */
	uint32_t pad;
	char why[504];
};
#define SD_IOC_UPGRADE _IOR(SD_IOC_TYPE, 11, struct sd_ioc_upgrade)

#endif
