/*
 * doctor_mount.c - checks of mounts in the kernel, of the loop devices over
 * their files, and of what the daemon says of its disks.
 */
#include "doctor.h"

#include <stdlib.h>
#include <string.h>

#include "cmd.h"

#define BACKGROUND 128     /* requests on their way: session.c asks for more */
#define READAHEAD_KIB 4096 /* session.c */
#define MAX_RATIO 20

/*
 * What the kernel does for a mount.
 */

/* Calls ${fn} for each mount of ours with the number in a file. */
static void
each_number(struct doctor *d, const char *before, const char *file, bool bdi,
	    void (*fn)(struct doctor *d, const struct doctor_fs *fs,
		       unsigned long n))
{
	char text[64], number[64];

	for (size_t i = 0; i < d->n_fs; i++) {
		const struct doctor_fs *fs = &d->fs[i];

		if (!doctor_is_ours(d, fs))
			continue;
		if (bdi)
			(void)snprintf(number, sizeof(number), "%u:%u",
				       fs->major, fs->minor);
		else
			(void)snprintf(number, sizeof(number), "%u", fs->minor);
		if (doctor_read(d, text, sizeof(text), "%s/%s/%s", before,
				number, file))
			fn(d, fs, strtoul(text, NULL, 10));
	}
}

static void
look_background(struct doctor *d, const struct doctor_fs *fs, unsigned long n)
{
	static const struct doctor_words w = {
		"max-background",
		"a loop device or direct I/O has no more on its way at once",
		"echo 128 > /sys/fs/fuse/connections/N/max_background, or "
		"mount it again",
	};

	if (n < BACKGROUND)
		doctor_add(d, WARNING, &w,
			   "the mount %s takes %lu requests at "
			   "a time",
			   fs->where, n);
}

static void
look_readahead(struct doctor *d, const struct doctor_fs *fs, unsigned long n)
{
	static const struct doctor_words w = {
		"readahead",
		"files that are read from start to end are read at a part of "
		"the speed",
		"mount it as root, which raises it to 4096",
	};

	if (n < READAHEAD_KIB)
		doctor_add(d, WARNING, &w, "the mount %s reads %lu KiB ahead",
			   fs->where, n);
}

static void
look_dirty(struct doctor *d, const struct doctor_fs *fs, unsigned long n)
{
	static const struct doctor_words w = {
		"max-ratio",
		"who writes without O_DIRECT is made to wait early",
		"mount it as root, which raises it to 20",
	};

	if (n < MAX_RATIO)
		doctor_add(d, WARNING, &w,
			   "the mount %s may have %lu %% of memory dirty",
			   fs->where, n);
}

void
doctor_background(struct doctor *d)
{
	each_number(d, "/sys/fs/fuse/connections", "max_background", false,
		    look_background);
}

void
doctor_readahead(struct doctor *d)
{
	each_number(d, "/sys/class/bdi", "read_ahead_kb", true, look_readahead);
}

void
doctor_dirty(struct doctor *d)
{
	each_number(d, "/sys/class/bdi", "max_ratio", true, look_dirty);
}

/*
 * Loop devices.
 */

static const struct doctor_words loop_direct = {
	"loop-direct-io",
	"it has one request on its way, and every block in memory twice: most "
	"of the speed is lost",
	"losetup --direct-io=on DEVICE; `sealdisk attach` does it by itself",
};
static const struct doctor_words loop_sector = {
	"loop-sector-size",
	"smaller writes than a block are read, changed and encrypted again",
	"detach it, and attach it with `sealdisk attach`",
};

/* The sector size that the disk behind a loop device was made with. */
static unsigned long
sector_size(struct doctor *d, const struct doctor_fs *fs, const char *file)
{
	char *text = calloc(1, 65536), value[32];
	unsigned long n = 0;

	if (text &&
	    doctor_read(d, text, 65536, "%s/info%s", fs->where,
			file + strlen(fs->where)) &&
	    doctor_find_line(text, "sector_size =", value, sizeof(value)))
		n = strtoul(value, NULL, 10);
	free(text);
	return n;
}

static void
look_at_loop(struct doctor *d, const char *dev, const char *file,
	     const struct doctor_fs *fs)
{
	unsigned long disk = sector_size(d, fs, file);
	char text[64];

	if (doctor_read(d, text, sizeof(text), "/sys/block/%s/loop/dio", dev) &&
	    strcmp(text, "0") == 0)
		doctor_add(d, WARNING, &loop_direct,
			   "/dev/%s over %s has no direct I/O", dev, file);
	if (doctor_read(d, text, sizeof(text),
			"/sys/block/%s/queue/logical_block_size", dev) &&
	    strtoul(text, NULL, 10) < disk)
		doctor_add(d, WARNING, &loop_sector,
			   "/dev/%s over %s has sectors of %s, the disk of %lu",
			   dev, file, text, disk);
}

static void
look_at_block(struct doctor *d, const char *name, void *arg)
{
	const struct doctor_fs *fs;
	char file[PATH_MAX];

	(void)arg;
	if (strncmp(name, "loop", 4) != 0 ||
	    !doctor_read(d, file, sizeof(file),
			 "/sys/block/%s/loop/backing_file", name))
		return;
	fs = doctor_fs_of(d, file);
	if (fs && doctor_is_ours(d, fs))
		look_at_loop(d, name, file, fs);
}

void
doctor_loops(struct doctor *d)
{
	doctor_list(d, "/sys/block", look_at_block, NULL);
}

/*
 * Disks.
 */

static const struct doctor_words disk_faults = {
	"disk-faults",
	"a part of it cannot be read any more",
	"`journalctl -t sealdisk` says what; put it back from a backup",
};
static const struct doctor_words disk_failed = {
	"disk-failed",
	"it is read-only, and what was not flushed before is lost",
	"see to the store's medium, then detach and attach the disk",
};

static void
look_at_disk(struct doctor *d, const char *name, void *arg)
{
	const struct doctor_fs *fs = arg;
	char *text = calloc(1, 65536), value[32];

	if (text &&
	    doctor_read(d, text, 65536, "%s/info/disks/%s", fs->where, name)) {
		if (doctor_find_line(text, "faults =", value, sizeof(value)) &&
		    strcmp(value, "0") != 0)
			doctor_add(d, SERIOUS, &disk_faults,
				   "on disk %s of %s, %s blocks or pages do "
				   "not verify",
				   name, fs->where, value);
		if (doctor_find_line(text, "failed =", value, sizeof(value)) &&
		    strcmp(value, "0") != 0)
			doctor_add(d, SERIOUS, &disk_failed,
				   "on disk %s of %s a sync has failed", name,
				   fs->where);
	}
	free(text);
}

void
doctor_disks(struct doctor *d)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < d->n_fs; i++) {
		struct doctor_fs *fs = &d->fs[i];
		int len;

		len = snprintf(path, sizeof(path), "%s/info/disks", fs->where);
		if (doctor_is_ours(d, fs) && len > 0 &&
		    (size_t)len < sizeof(path))
			doctor_list(d, path, look_at_disk, fs);
	}
}
