/*
 * helper_guest.c - a guest that writes to its disk what can be looked for after
 * its host has died, and what looks for it.
 *
 *	helper_guest verify FILE FIRST:LAST...
 *
 * As the first and only process of a guest it has writers, each with an area of
 * the disk to itself, which make numbered records one after the other, past the
 * cache, and say on the serial console which one has been flushed: "@1 17;" is
 * record 17 of writer 1.  One more writes and never flushes.  The kernel's
 * command line has what comes first: soak=18,1,40.
 *
 * `verify` looks at such a disk, or an image of it.  Of each writer all that it
 * had said must be there, whole, and of the record that was under way any
 * sectors.  Which record was the last one is a number from FIRST to LAST.
 *
 * A record lies somewhere in its slot of a ring, in sectors of 512 bytes that
 * begin and end where blocks of 4 KiB do not.  Some are zeros, by a command for
 * that, and some are discarded before they are written.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define WRITERS 3
#define SECTOR 512
#define SLOT (64 * 1024) /* bytes */
#define SLOTS 128
#define AREA ((uint64_t)SLOT * SLOTS)

/* Where a record lies, in bytes of the disk, and how it gets there. */
struct record {
	uint64_t seq;
	uint64_t off;
	uint64_t len;
	unsigned writer;
	bool zero, discard;
};

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static struct record
record_of(unsigned writer, uint64_t seq)
{
	uint64_t x = mix(seq * 31 + writer);
	uint64_t len = 1 + x % (x & 0x1000 ? 96 : 12);
	uint64_t start = (x >> 20) % (SLOT / SECTOR - len + 1);

	return (struct record){
		.seq = seq,
		.off = writer * AREA + seq % SLOTS * SLOT + start * SECTOR,
		.len = len * SECTOR,
		.writer = writer,
		.zero = seq % 16 == 5,
		.discard = seq % 16 == 11,
	};
}

/* What the record has at ${off} of the disk. */
static void
fill(const struct record *r, uint64_t off, uint8_t buf[static SECTOR])
{
	uint64_t x = mix(r->seq << 8 | r->writer) ^ off;

	memset(buf, 0, SECTOR);
	for (size_t i = 0; i < SECTOR && !r->zero; i += sizeof(x)) {
		memcpy(buf + i, &x, sizeof(x));
		x = mix(x + UINT64_C(0x9e3779b97f4a7c15));
	}
}

/* The guest. */

static bool
put(int fd, const struct record *r)
{
	static uint8_t buf[SLOT] __attribute__((__aligned__(4096)));
	uint64_t range[2] = { r->off, r->len };

	if (r->zero)
		return ioctl(fd, BLKZEROOUT, range) == 0;
	if (r->discard && ioctl(fd, BLKDISCARD, range) < 0)
		return false;
	for (uint64_t i = 0; i < r->len; i += SECTOR)
		fill(r, r->off + i, buf + i);
	return pwrite(fd, buf, r->len, (off_t)r->off) == (ssize_t)r->len;
}

/* Nothing comes after it before it is out. */
static void
say(int console, char what, unsigned writer, uint64_t n)
{
	dprintf(console, "%c%u %" PRIu64 ";\r\n", what, writer, n);
	tcdrain(console);
}

static void
write_records(int fd, int console, unsigned writer, uint64_t seq)
{
	struct record r;

	for (;; seq++) {
		r = record_of(writer, seq);
		if (!put(fd, &r) || fdatasync(fd) < 0)
			break;
		say(console, '@', writer, seq);
	}
	say(console, '!', writer, (uint64_t)errno);
	_exit(1);
}

static void
make_noise(int fd)
{
	struct record r;

	for (uint64_t seq = 1;; seq++) {
		r = record_of(WRITERS, seq);
		if (!put(fd, &r))
			_exit(1);
	}
}

static int
open_console(void)
{
	int fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
	struct termios t;

	if (fd >= 0 && tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		(void)tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

/* The disk, which turns up some time after the kernel. */
static int
open_disk(void)
{
	int fd = -1;

	for (int i = 0; i < 1000 && fd < 0; i++) {
		fd = open("/dev/nvme0n1", O_RDWR | O_DIRECT);
		if (fd < 0)
			usleep(10000);
	}
	return fd;
}

static void
be_guest(void)
{
	const char *soak = getenv("soak");
	uint64_t first[WRITERS] = { 0 };
	int console, fd;

	(void)mount("dev", "/dev", "devtmpfs", 0, "");
	console = open_console();
	fd = open_disk();
	if (fd < 0 || !soak ||
	    sscanf(soak, "%" SCNu64 ",%" SCNu64 ",%" SCNu64, &first[0],
		   &first[1], &first[2]) != WRITERS) {
		say(console, '!', WRITERS, (uint64_t)errno);
		return;
	}
	for (unsigned w = 0; w <= WRITERS; w++) {
		if (fork() != 0)
			continue;
		if (w == WRITERS)
			make_noise(fd);
		else
			write_records(fd, console, w, first[w]);
	}
	while (wait(NULL) > 0)
		;
}

/* The host. */

static bool
is_sector(const struct record *r, uint64_t off, const uint8_t *got)
{
	static const uint8_t zeros[SECTOR];
	uint8_t want[SECTOR];

	fill(r, off, want);
	return memcmp(got, want, SECTOR) == 0 ||
	       (r->discard && memcmp(got, zeros, SECTOR) == 0);
}

/* Whether ${r} is there, or in its place what came of ${next}. */
static bool
is_there(int fd, struct record r, const struct record *next)
{
	uint8_t got[SLOT];

	if (pread(fd, got, r.len, (off_t)r.off) != (ssize_t)r.len)
		return false;
	/* Discarded is what it was before it was written, not afterwards. */
	r.discard = false;
	for (uint64_t i = 0; i < r.len; i += SECTOR) {
		uint64_t off = r.off + i;

		if (is_sector(&r, off, got + i))
			continue;
		if (off < next->off || off >= next->off + next->len ||
		    !is_sector(next, off, got + i))
			return false;
	}
	return true;
}

/* How many records of the writer are there; -1, and the one that is not. */
static int64_t
verify_writer(int fd, unsigned writer, uint64_t last, uint64_t *ret_bad)
{
	struct record next = record_of(writer, last + 1);
	uint64_t first = last > SLOTS ? last - SLOTS + 1 : 1;

	for (uint64_t seq = first; seq <= last; seq++) {
		if (!is_there(fd, record_of(writer, seq), &next)) {
			*ret_bad = seq;
			return -1;
		}
	}
	return (int64_t)(last - first + 1);
}

static bool
verify_range(int fd, unsigned writer, const char *range, int64_t *n)
{
	uint64_t first, last, bad = 0;
	int64_t found = -1;

	if (sscanf(range, "%" SCNu64 ":%" SCNu64, &first, &last) != 2)
		return false;
	for (uint64_t l = first; l <= last && found < 0; l++)
		found = verify_writer(fd, writer, l, &bad);
	if (found < 0) {
		printf("writer %u, last record %s: record %" PRIu64
		       " is not whole\n",
		       writer, range, bad);
		return false;
	}
	*n += found;
	return true;
}

static int
verify(const char *file, char **ranges)
{
	int fd = open(file, O_RDONLY);
	bool good = fd >= 0;
	int64_t n = 0;

	for (unsigned w = 0; w < WRITERS; w++)
		good &= verify_range(fd, w, ranges[w], &n);
	printf("%" PRId64 " records\n", n);
	return good ? 0 : 1;
}

int
main(int argc, char **argv)
{
	if (getpid() == 1) {
		be_guest();
		reboot(RB_POWER_OFF);
	}
	if (argc != 3 + WRITERS || strcmp(argv[1], "verify") != 0) {
		fprintf(stderr, "usage: helper_guest verify FILE FIRST:LAST "
				"FIRST:LAST FIRST:LAST\n");
		return 2;
	}
	return verify(argv[2], argv + 3);
}
