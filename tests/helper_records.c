/*
 * helper_records.c - records whose durability can be checked after a crash.
 *
 *	helper_records write DIR FIRST
 *	helper_records verify DIR LAST
 *
 * `write` makes record FIRST, the next, and so on until a write or sync fails,
 * and prints a record's number when all of it has been synced.  `verify` looks
 * whether records 1 to LAST are there, whole; of LAST + 1, which was under way,
 * any part may be.
 *
 * A record is, in DIR: its place in `log`, which grows; its slot in `ring`,
 * which is overwritten, each block of it by itself; and, of every 16th, a file
 * of its own that gets its name by a rename.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_LEN 5000 /* bytes of a record: aligned to nothing */
#define BLOCK 4096
#define SLOT_BLOCKS 2
#define SLOTS 64
#define FILE_EVERY 16
#define FILE_LEN 20000

static int dir_fd, log_fd, ring_fd;

static void
die(const char *what)
{
	fprintf(stderr, "helper_records: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* What a record, or a part of one, holds: its number and what comes of it. */
static void
fill(uint8_t *buf, size_t len, uint64_t seq, uint64_t part)
{
	uint64_t x = seq * 0x9e3779b97f4a7c15U + part;

	memcpy(buf, &seq, sizeof(seq));
	for (size_t i = sizeof(seq); i < len; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		buf[i] = (uint8_t)(x >> 56);
	}
}

static bool
put(int fd, const uint8_t *buf, size_t len, uint64_t off)
{
	return pwrite(fd, buf, len, (off_t)off) == (ssize_t)len;
}

static bool
put_file(uint64_t seq)
{
	uint8_t buf[FILE_LEN];
	char name[32];
	bool done;
	int fd = openat(dir_fd, "new", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		return false;
	fill(buf, sizeof(buf), seq, 3);
	snprintf(name, sizeof(name), "record.%" PRIu64, seq);
	done = put(fd, buf, sizeof(buf), 0) && fsync(fd) == 0 &&
	       renameat(dir_fd, "new", dir_fd, name) == 0 && fsync(dir_fd) == 0;
	close(fd);
	return done;
}

static bool
put_record(uint64_t seq)
{
	uint8_t buf[LOG_LEN], slot[SLOT_BLOCKS * BLOCK];

	fill(buf, sizeof(buf), seq, 0);
	for (uint64_t i = 0; i < SLOT_BLOCKS; i++)
		fill(slot + i * BLOCK, BLOCK, seq, 1 + i);
	return put(log_fd, buf, sizeof(buf), (seq - 1) * LOG_LEN) &&
	       fdatasync(log_fd) == 0 &&
	       put(ring_fd, slot, sizeof(slot), seq % SLOTS * sizeof(slot)) &&
	       fdatasync(ring_fd) == 0 && (seq % FILE_EVERY || put_file(seq));
}

static int
write_all(uint64_t seq)
{
	char line[32];
	int len;

	for (; put_record(seq); seq++) {
		len = snprintf(line, sizeof(line), "%" PRIu64 "\n", seq);
		if (write(STDOUT_FILENO, line, (size_t)len) != len)
			die("standard output");
	}
	fprintf(stderr, "helper_records: record %" PRIu64 ": %s\n", seq,
		strerror(errno));
	return 0;
}

/* Whether ${fd} holds at ${off} what fill() made. */
static bool
is_there(int fd, size_t len, uint64_t off, uint64_t seq, uint64_t part)
{
	uint8_t want[FILE_LEN], got[FILE_LEN];

	fill(want, len, seq, part);
	return pread(fd, got, len, (off_t)off) == (ssize_t)len &&
	       memcmp(want, got, len) == 0;
}

static bool
has_file(uint64_t seq)
{
	char name[32];
	bool there;
	int fd;

	snprintf(name, sizeof(name), "record.%" PRIu64, seq);
	fd = openat(dir_fd, name, O_RDONLY);
	if (fd < 0)
		return false;
	there = is_there(fd, FILE_LEN, 0, seq, 3);
	close(fd);
	return there;
}

/* The newest record of the slot, or in each block the one after ${last}. */
static bool
has_slot(uint64_t seq, uint64_t last)
{
	for (uint64_t i = 0; i < SLOT_BLOCKS; i++) {
		uint64_t off = (seq % SLOTS * SLOT_BLOCKS + i) * BLOCK;
		bool there = is_there(ring_fd, BLOCK, off, seq, 1 + i);

		if (!there && (last + 1) % SLOTS == seq % SLOTS)
			there = is_there(ring_fd, BLOCK, off, last + 1, 1 + i);
		if (!there)
			return false;
	}
	return true;
}

static int
verify_all(uint64_t last)
{
	unsigned bad = 0;

	for (uint64_t seq = 1; seq <= last; seq++) {
		const char *what = NULL;

		if (!is_there(log_fd, LOG_LEN, (seq - 1) * LOG_LEN, seq, 0))
			what = "log";
		else if (seq + SLOTS > last && !has_slot(seq, last))
			what = "ring";
		else if (seq % FILE_EVERY == 0 && !has_file(seq))
			what = "file";
		if (what && bad++ < 10)
			printf("record %" PRIu64 " of %" PRIu64
			       " is not whole in its %s\n",
			       seq, last, what);
	}
	printf("%" PRIu64 " records, %u bad\n", last, bad);
	return bad ? 1 : 0;
}

int
main(int argc, char **argv)
{
	bool writing;
	uint64_t n;

	if (argc != 4) {
		fprintf(stderr, "usage: helper_records write|verify DIR N\n");
		return 2;
	}
	writing = strcmp(argv[1], "write") == 0;
	n = strtoull(argv[3], NULL, 10);
	dir_fd = open(argv[2], O_RDONLY | O_DIRECTORY);
	if (dir_fd < 0)
		die(argv[2]);
	log_fd = openat(dir_fd, "log", O_RDWR | (writing ? O_CREAT : 0), 0600);
	ring_fd =
	    openat(dir_fd, "ring", O_RDWR | (writing ? O_CREAT : 0), 0600);
	if (log_fd < 0 || ring_fd < 0)
		die("log, ring");
	return writing ? write_all(n) : verify_all(n);
}
