/*
 * point.c - ends the process at a POINT() of planted.h: linked into
 * tests/sealdisk_planted alone, the program `sealdisk` built with them.
 *
 * $SEALDISK_POINT names a file with "NAME AT COUNT": at the point NAME, where
 * AT is "-" or says where in the disk, the process has a segmentation fault,
 * COUNT times over all of the processes.
 * With $SEALDISK_RACE threads change one number at the points, in no order:
 * what looks for data races must find it. With $SEALDISK_NO_RESEND the kernel
 * is taken for one that does not send requests again.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "planted.h"

enum planted planted;
static const char *file;

static void
on_point(const char *name, uint64_t at)
{
	char text[128] = "", want[64], where[32];
	int fd = open(file, O_RDWR | O_CLOEXEC);
	unsigned count;
	int n;

	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0 &&
	    sscanf(text, "%63s %31s %u", want, where, &count) == 3 &&
	    strcmp(want, name) == 0 && count > 0 &&
	    (where[0] == '-' || strtoull(where, NULL, 10) == at)) {
		n = snprintf(text, sizeof(text), "%s %s %u\n", want, where,
			     count - 1);
		if (ftruncate(fd, 0) == 0 &&
		    pwrite(fd, text, (size_t)n, 0) == n)
			(void)raise(SIGSEGV);
	}
	(void)close(fd);
}

static void
on_race(const char *name, uint64_t at)
{
	static uint64_t sum;

	(void)name;
	sum += at;
	if (sum == 1) /* no offset is odd: but the sum is wanted */
		abort();
}

static void __attribute__((__constructor__)) begin(void)
{
	if (getenv("SEALDISK_RACE"))
		planted_point = on_race;
	if (getenv("SEALDISK_NO_RESEND"))
		planted = NO_RESEND;
	file = getenv("SEALDISK_POINT");
	if (file)
		planted_point = on_point;
}
