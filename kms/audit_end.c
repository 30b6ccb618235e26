/*
 * audit_end.c - the end of the audit log: where it goes on, and its files.
 *
 * The order that a crash may interrupt anywhere:
 *
 *	a line is written | the file is flushed | the head is saved
 *
 * so that the head never speaks of a line that may be lost.  A new file is
 *made, with its folder flushed, before a head names it; until then the old
 *one's head stands, and whoever goes on from it finds the seal, and the new
 *file.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "audit_private.h"

/* What cannot be helped by trying again. */
int
audit_fail(struct audit *a, int err, const char *what)
{
	if (a->failed == 0)
		log_error("audit log %s: cannot %s: %s; nothing is done that "
			  "cannot be recorded",
			  a->dir, what, err_text(err));
	a->failed = err;
	return err;
}

/* Files. */

static void
use_file(struct audit *a, int fd)
{
	close_fdp(&a->fd);
	a->fd = fd;
	a->reserved = 0;
}

static int
open_file(struct audit *a, uint32_t file, int flags, int *ret)
{
	char name[AUDIT_NAME_LEN];
	int fd;

	audit_file_name(file, name);
	fd = openat(a->dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags,
		    0600);
	if (fd < 0)
		return -errno;
	*ret = fd;
	return 0;
}

/* A file that is not there yet goes on after ${h}. */
static int
make_file(struct audit *a, const struct audit_head *h, uint32_t file)
{
	int fd, r;

	r = open_file(a, file, O_CREAT | O_EXCL, &fd);
	if (r < 0)
		return r;
	use_file(a, fd);
	a->head = *h;
	a->head.file = file;
	a->head.size = 0;
	a->sealed = false;
	return fsync(a->dirfd) < 0 ? -errno : 0;
}

/* A line that is in a->line. */
int
audit_append(struct audit *a, size_t len)
{
	int r = io_pwrite_all(a->fd, a->line, len, a->head.size);

	if (r == 0)
		return audit_head_add(&a->head, a->line, len - 1);
	/* Half a line would be the end of all that can be read. */
	if (ftruncate(a->fd, (off_t)a->head.size) < 0)
		return audit_fail(a, r, "write");
	a->reserved = 0;
	return r;
}

int
audit_flush(struct audit *a)
{
	if (fdatasync(a->fd) < 0)
		return audit_fail(a, -errno, "flush it");
	return 0;
}

int
audit_save_head(struct audit *a)
{
	int r = a->owner.save(a->owner.arg, &a->head);

	if (r == 0)
		a->saved = a->head;
	return r;
}

/* Where the log goes on. */

/* In a new file: there is none yet, or the one that the head names cannot be
 * gone on with. */
static int
start_over(struct audit *a, const struct audit_head *h, const char *why)
{
	uint32_t first, last;
	int r;

	r = audit_find_files(a->dir, &first, &last);
	if (r == 0)
		r = make_file(a, h, (last > h->file ? last : h->file) + 1);
	if (r == 0 && why) {
		log_error("audit log %s: %s; it goes on in file %u", a->dir,
			  why, a->head.file);
		r = audit_append(a, audit_line_gap(&a->head, why, a->line));
	}
	if (r == 0)
		r = audit_flush(a);
	return r < 0 ? r : audit_save_head(a);
}

/* Take in what is whole after the head, as far as it goes on from there. */
static int
take_lines(struct audit *a)
{
	CLEANUP(audit_reader_close) struct audit_reader rd = { 0 };
	char start[AUDIT_START_MAX];
	const char *line;
	size_t len, n;
	int r;

	r = audit_reader_open(a->dirfd, a->head.file, a->head.size, &rd);
	while (r == 0) {
		r = audit_reader_next(&rd, &line, &len);
		if (r < 0)
			break;
		n = audit_line_start(&a->head, start);
		if (len < n || memcmp(line, start, n) != 0)
			return 0;
		r = audit_head_add(&a->head, line, len);
		a->sealed = audit_line_is(line, len, "seal");
	}
	return r == -ENODATA || r == -EFBIG ? 0 : r;
}

/* The file after this one, if it goes on from here, or is empty: a crash came
 * right after it was made.  -ENOENT */
static int
next_file(struct audit *a)
{
	struct audit_head here = a->head;
	CLEANUP(close_fdp) int fd = -1;
	struct stat st;
	int r;

	r = open_file(a, here.file + 1, 0, &fd);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	a->head.file++;
	a->head.size = 0;
	r = take_lines(a);
	if (r == 0 && st.st_size > 0 && a->head.lines == here.lines)
		r = -ENOENT; /* another log's */
	if (r < 0)
		a->head = here;
	else
		use_file(a, TAKE_FD(fd));
	if (r == 0 && a->head.lines == here.lines)
		a->sealed = false;
	return r;
}

/* Whether what follows the head is a line that was torn, and no more. */
static int
is_torn(struct audit *a, bool *ret)
{
	CLEANUP(audit_reader_close) struct audit_reader rd = { 0 };
	const char *line;
	size_t len;
	int r;

	r = audit_reader_open(a->dirfd, a->head.file, a->head.size, &rd);
	if (r == 0)
		r = audit_reader_next(&rd, &line, &len);
	*ret = r == -ENODATA;
	return r == -ENODATA || r == -EFBIG ? 0 : r;
}

/* Lines were written after the head was saved, or part of one. */
static int
resume(struct audit *a, uint64_t before)
{
	struct stat st;
	uint64_t rest;
	bool torn;
	int r;

	if (fstat(a->fd, &st) < 0)
		return -errno;
	rest = (uint64_t)st.st_size - a->head.size;
	if (rest == 0 && a->head.lines == before)
		return 0;
	r = is_torn(a, &torn);
	if (r == 0 && !torn)
		return start_over(a, &a->head,
				  "lines at its end are not its own");
	if (r == 0 && rest && ftruncate(a->fd, (off_t)a->head.size) < 0)
		r = -errno;
	if (r == 0)
		r = audit_append(a, audit_line_resumed(&a->head,
						       a->head.lines - before,
						       rest, a->line));
	if (r == 0)
		r = audit_flush(a);
	return r < 0 ? r : audit_save_head(a);
}

/* Go on from the head that was saved. */
int
audit_find_end(struct audit *a)
{
	struct audit_head h = { 0 };
	struct stat st;
	int fd, r;

	r = a->owner.load(a->owner.arg, &h);
	if (r < 0)
		return r;
	a->saved = h;
	if (h.file == 0)
		return start_over(a, &h, NULL);
	r = open_file(a, h.file, 0, &fd);
	if (r == -ENOENT)
		return start_over(a, &h, "its newest file is gone");
	if (r < 0)
		return r;
	use_file(a, fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size < h.size)
		return start_over(a, &h, "its end was cut off");
	a->head = h;
	a->sealed = false;
	r = take_lines(a);
	while (r == 0)
		r = next_file(a);
	if (r == -ENOENT)
		r = a->sealed ? make_file(a, &a->head, a->head.file + 1) : 0;
	if (r == -EEXIST)
		return start_over(a, &a->head, "what follows is not its own");
	return r < 0 ? r : resume(a, h.lines);
}

/* Under the folder's lock: after what others have written meanwhile. */
int
audit_refresh(struct audit *a)
{
	struct stat st;

	if (a->fd >= 0 && a->head.lines == a->saved.lines &&
	    fstat(a->fd, &st) == 0 && st.st_nlink > 0 &&
	    (uint64_t)st.st_size == a->head.size)
		return 0;
	return audit_find_end(a);
}

/* Full files. */

static int
seal_file(struct audit *a)
{
	CLEANUP(key_wipe) struct key key = { { 0 } };
	uint8_t mac[MAC_LEN];
	char name[AUDIT_NAME_LEN];
	int r;

	audit_file_name(a->head.file + 1, name);
	if (faccessat(a->dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -ENOKEY; /* another log's: this one stays where it is */
	r = a->owner.key(a->owner.arg, &key);
	if (r < 0)
		return r;
	r = audit_seal_mac(&key, &a->head, mac);
	if (r == 0)
		r = audit_append(a, audit_line_seal(&a->head, mac, a->line));
	if (r == 0)
		r = audit_flush(a);
	if (r == 0)
		r = make_file(a, &a->head, a->head.file + 1);
	return r < 0 ? r : audit_save_head(a);
}

/* That it cannot be sealed now is no reason to stop. */
int
audit_turn_over(struct audit *a)
{
	int r;

	if (a->head.size < a->file_max)
		return 0;
	while (a->syncing)
		(void)pthread_cond_wait(&a->changed, &a->lock);
	if (a->head.size < a->file_max)
		return 0; /* another did */
	r = seal_file(a);
	return r == -ENOKEY ? 0 : r;
}
