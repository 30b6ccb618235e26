/*
 * copy.c - the content of a disk into a file, or of a file into a disk.
 */
#include "copy.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <sealdisk/io.h>
#include <sealdisk/progress.h>
#include <sealdisk/secret.h>

#include "cmd.h"

#define BUF_LEN (1024 * 1024) /* two groups of the store */
#define GRAIN 4096            /* what is looked at for zeros */

static volatile sig_atomic_t interrupted;

static void
on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

void
copy_catch_signals(void)
{
	/* What is under way is not to be torn: it is asked for in between. */
	struct sigaction sa = { .sa_handler = on_signal,
				.sa_flags = SA_RESTART };

	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGHUP, &sa, NULL);
}

bool
copy_interrupted(void)
{
	return interrupted != 0;
}

/* As lseek's SEEK_DATA and SEEK_HOLE; the end of the image is both. */
static int
seek(const struct copy_end *e, uint64_t off, bool data, uint64_t size,
     uint64_t *ret)
{
	uint64_t at;
	off_t o;
	int r = 0;

	if (e->disk) {
		r = disk_seek(e->disk, e->scratch, off, data, &at);
	} else {
		o = lseek(e->fd, (off_t)off, data ? SEEK_DATA : SEEK_HOLE);
		r = o < 0 ? -errno : 0;
		at = (uint64_t)o;
		/* A block device, or a file system that cannot tell. */
		if (r == -EINVAL || r == -EOPNOTSUPP) {
			at = data ? off : size;
			r = 0;
		}
	}
	if (r == -ENXIO) {
		at = size;
		r = 0;
	}
	if (r == 0)
		*ret = at < size ? at : size;
	return r;
}

static int
read_at(const struct copy_end *e, void *buf, size_t len, uint64_t off)
{
	return e->disk ? disk_read(e->disk, e->scratch, buf, len, off)
		       : io_pread_all(e->fd, buf, len, off);
}

static int
write_at(const struct copy_end *e, const void *buf, size_t len, uint64_t off)
{
	return e->disk ? disk_write(e->disk, e->scratch, buf, len, off)
		       : io_pwrite_all(e->fd, buf, len, off);
}

static bool
is_zero(const uint8_t *p, size_t len)
{
	/* Each byte is as the one before it, and the first is zero. */
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* Where the run that starts at ${at} ends: all zeros, or without any. */
static size_t
run_end(const uint8_t *buf, size_t at, size_t len, bool *ret_zero)
{
	bool first = true;

	while (at < len) {
		size_t n = len - at < GRAIN ? len - at : GRAIN;
		bool zero = is_zero(buf + at, n);

		if (!first && zero != *ret_zero)
			break;
		*ret_zero = zero;
		first = false;
		at += n;
	}
	return at;
}

static int
write_runs(const struct copy_end *to, const uint8_t *buf, size_t len,
	   uint64_t off)
{
	bool zero = false;
	int r = 0;

	for (size_t at = 0, end; at < len && r == 0; at = end) {
		end = run_end(buf, at, len, &zero);
		if (!zero)
			r = write_at(to, buf + at, end - at, off + at);
	}
	return r;
}

struct copy {
	const struct copy_end *from, *to;
	struct progress *progress;
	uint8_t *buf;
	bool reading;
};

static int
copy_range(struct copy *c, uint64_t off, uint64_t end)
{
	int r = 0;

	while (off < end && r == 0) {
		/* To the end of a buffer's worth of the disk, so that all but
		 * the first begin where a group begins. */
		uint64_t n = BUF_LEN - off % BUF_LEN;

		if (n > end - off)
			n = end - off;
		c->reading = true;
		r = copy_interrupted()
			? -ECANCELED
			: read_at(c->from, c->buf, (size_t)n, off);
		if (r < 0)
			return r;
		c->reading = false;
		r = write_runs(c->to, c->buf, (size_t)n, off);
		off += n;
		if (c->progress)
			progress_update(c->progress, off);
	}
	return r;
}

static int
copy_all(struct copy *c, uint64_t size)
{
	uint64_t off = 0, end;
	int r = 0;

	while (r == 0 && off < size) {
		c->reading = true;
		r = seek(c->from, off, true, size, &off);
		if (r == 0 && off < size)
			r = seek(c->from, off, false, size, &end);
		if (r < 0 || off == size)
			break;
		r = copy_range(c, off, end);
		off = end;
	}
	if (r == 0 && c->progress)
		progress_update(c->progress, size);
	return r;
}

int
copy_image(const char *op, const struct copy_end *from,
	   const struct copy_end *to, uint64_t size, bool *ret_reading)
{
	CLEANUP(progress_freep)
	struct progress *p = progress_new(cmd_globals.progress, op, size, "B");
	struct copy c = { .from = from, .to = to, .progress = p };
	int r;

	*ret_reading = false;
	c.buf = mmap(NULL, BUF_LEN, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c.buf == MAP_FAILED)
		return -ENOMEM;
	(void)madvise(c.buf, BUF_LEN, MADV_DONTDUMP);
	r = copy_all(&c, size);
	*ret_reading = c.reading;
	secret_wipe(c.buf, BUF_LEN);
	(void)munmap(c.buf, BUF_LEN);
	return r;
}
