/*
 * loop.c - loop devices over a disk.
 *
 * What losetup leaves as it is costs a disk most of its speed: without direct
 * I/O a loop device has one request in flight, and every block lies in the page
 * cache twice.  See namespace.md, "What the kernel does ...".
 */
#include "loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <linux/fs.h>
#include <linux/loop.h>

#include <sealdisk/io.h>

#include "cmd.h"

/* The first readahead of a file system on the disk: bytes.  128 KiB, the
 * kernel's own, is one FUSE request; the daemon decrypts several at once. */
#define READ_AHEAD (1024 * 1024)

#define SYS_BLOCK "/sys/block"

/* A file of /sys without its line feed. */
static int
read_sys(const char *dev, const char *file, char *buf, size_t cap)
{
	char path[PATH_MAX];
	ssize_t len;
	int fd;

	(void)snprintf(path, sizeof(path), SYS_BLOCK "/%s/loop/%s",
		       strrchr(dev, '/') + 1, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read(fd, buf, cap - 1);
	(void)close(fd);
	if (len < 0)
		return -EIO;
	buf[len] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

/* LOOP_GET_STATUS64 is not used: it asks the daemon of the file, whichever that
 * is, and one that hangs never answers. */
void
loop_find(const char *path, struct loop_list *ret)
{
	char backing[PATH_MAX], dev[LOOP_DEV_LEN];
	DIR *d = opendir(SYS_BLOCK);
	struct dirent *ent;

	ret->n = 0;
	while (d && ret->n < LOOP_MAX && (ent = readdir(d))) {
		if (strncmp(ent->d_name, "loop", 4) != 0 ||
		    strlen(ent->d_name) > LOOP_DEV_LEN - 6)
			continue;
		(void)snprintf(dev, sizeof(dev), "/dev/%.20s", ent->d_name);
		/* The file is there only while the device is bound. */
		if (read_sys(dev, "backing_file", backing, sizeof(backing)) < 0)
			continue;
		if (cmd_same_file(backing, path))
			memcpy(ret->dev[ret->n++], dev, sizeof(dev));
	}
	if (d)
		(void)closedir(d);
}

bool
loop_is_direct(const char *dev)
{
	char dio[8];

	return read_sys(dev, "dio", dio, sizeof(dio)) == 0 && dio[0] == '1';
}

/* One attempt on a device that was free a moment ago.  -EBUSY: no longer. */
static int
configure(const char *dev, const struct loop_config *c)
{
	CLEANUP(close_fdp) int fd = -1;

	fd = open(dev, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, c) < 0)
		return -errno;
	/* In sectors of 512 bytes.  A refusal costs speed alone. */
	(void)ioctl(fd, BLKRASET, (unsigned long)READ_AHEAD / 512);
	return 0;
}

int
loop_attach(int fd, const char *path, uint32_t sector_size, bool read_only,
	    char ret[static LOOP_DEV_LEN])
{
	struct loop_config c = {
		.fd = (uint32_t)fd,
		.block_size = sector_size,
		.info.lo_flags = LO_FLAGS_DIRECT_IO | LO_FLAGS_PARTSCAN |
				 (read_only ? LO_FLAGS_READ_ONLY : 0),
	};
	CLEANUP(close_fdp) int control = -1;
	int n, r = -EBUSY;

	(void)snprintf((char *)c.info.lo_file_name, sizeof(c.info.lo_file_name),
		       "%s", path);
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return -errno;
	for (int tries = 0; tries < 64 && r == -EBUSY; tries++) {
		n = ioctl(control, LOOP_CTL_GET_FREE);
		if (n < 0)
			return -errno;
		(void)snprintf(ret, LOOP_DEV_LEN, "/dev/loop%d", n);
		r = configure(ret, &c);
	}
	return r;
}

int
loop_resized(const char *dev)
{
	CLEANUP(close_fdp) int fd = open(dev, O_RDONLY | O_CLOEXEC);

	return fd < 0 || ioctl(fd, LOOP_SET_CAPACITY, 0) < 0 ? -errno : 0;
}

int
loop_detach(const char *dev)
{
	const struct timespec pause = { 0, 20 * 1000000L };
	char backing[PATH_MAX];
	int fd, r = 0;

	fd = open(dev, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, LOOP_CLR_FD, 0) < 0)
		r = -errno;
	/* Since Linux 6.11 it is the last close that lets go, ours or that of
	 * udev, which looks at every device that changes. */
	(void)close(fd);
	if (r == -ENXIO)
		return 0;
	for (int i = 0; r == 0 && i < 150; i++) {
		if (read_sys(dev, "backing_file", backing, sizeof(backing)) < 0)
			return 0;
		(void)nanosleep(&pause, NULL);
	}
	return r < 0 ? r : -EBUSY;
}
