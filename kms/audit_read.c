/*
 * audit_read.c - the files of an audit log, and the lines in them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "audit_private.h"

#define NAME_BEFORE "audit-"
#define NAME_AFTER ".log"
#define BUF_LEN (4 * AUDIT_LINE_MAX)

void
audit_file_name(uint32_t file, char out[static AUDIT_NAME_LEN])
{
	(void)snprintf(out, AUDIT_NAME_LEN, NAME_BEFORE "%06u" NAME_AFTER,
		       file);
}

uint32_t
audit_file_number(const char *name)
{
	char again[AUDIT_NAME_LEN], digits[AUDIT_NAME_LEN];
	uint64_t n;
	size_t len = strlen(name), around = strlen(NAME_BEFORE NAME_AFTER);

	if (len <= around || len >= sizeof(digits))
		return 0;
	(void)snprintf(digits, sizeof(digits), "%.*s", (int)(len - around),
		       name + strlen(NAME_BEFORE));
	if (parse_u64(digits, &n) < 0 || n == 0 || n > UINT32_MAX)
		return 0;
	audit_file_name((uint32_t)n, again);
	return strcmp(again, name) == 0 ? (uint32_t)n : 0;
}

int
audit_find_files(const char *dir, uint32_t *ret_first, uint32_t *ret_last)
{
	uint32_t first = 0, last = 0, n;
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		n = audit_file_number(e->d_name);
		if (n == 0)
			continue;
		if (first == 0 || n < first)
			first = n;
		if (n > last)
			last = n;
	}
	(void)closedir(d);
	*ret_first = first;
	*ret_last = last;
	return 0;
}

int
audit_reader_open(int dirfd, uint32_t file, uint64_t at,
		  struct audit_reader *ret)
{
	struct audit_reader r = { .at = at };
	char name[AUDIT_NAME_LEN];

	audit_file_name(file, name);
	r.fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r.fd < 0)
		return -errno;
	r.buf = malloc(BUF_LEN);
	if (!r.buf) {
		(void)close(r.fd);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}

void
audit_reader_close(struct audit_reader *r)
{
	if (!r->buf)
		return;
	(void)close(r->fd);
	free(r->buf);
	r->buf = NULL;
}

/* More behind what is not used yet.  0: the end. */
static int
fill(struct audit_reader *r)
{
	ssize_t n;

	memmove(r->buf, r->buf + r->used, r->len - r->used);
	r->at += r->used;
	r->len -= r->used;
	r->used = 0;
	if (r->len == BUF_LEN)
		return -EFBIG;
	do
		n = pread(r->fd, r->buf + r->len, BUF_LEN - r->len,
			  (off_t)(r->at + r->len));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r->len += (size_t)n;
	return n > 0;
}

int
audit_reader_next(struct audit_reader *r, const char **ret, size_t *ret_len)
{
	size_t seen = 0;
	const char *p, *nl;
	int got;

	for (;;) {
		p = r->buf + r->used;
		nl = memchr(p + seen, '\n', r->len - r->used - seen);
		if (nl)
			break;
		seen = r->len - r->used;
		got = fill(r);
		if (got <= 0)
			return got < 0 ? got : -ENODATA;
	}
	*ret = p;
	*ret_len = (size_t)(nl - p);
	r->used += *ret_len + 1;
	return 0;
}

uint64_t
audit_reader_pos(const struct audit_reader *r)
{
	return r->at + r->used;
}

int
audit_head_add(struct audit_head *h, const char *line, size_t len)
{
	int r = sha256(line, len, h->hash);

	if (r < 0)
		return r;
	h->lines++;
	h->size += len + 1;
	return 0;
}

int
audit_each(const char *dir, int (*fn)(const char *line, size_t len, void *arg),
	   void *arg)
{
	CLEANUP(close_fdp)
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint32_t file, last;
	int r;

	if (dirfd < 0)
		return -errno;
	r = audit_find_files(dir, &file, &last);
	for (; r == 0 && file && file <= last; file++) {
		CLEANUP(audit_reader_close) struct audit_reader rd = { 0 };
		const char *line;
		size_t len;

		r = audit_reader_open(dirfd, file, 0, &rd);
		if (r == -ENOENT) {
			r = 0; /* archived, or lost: `verify` tells */
			continue;
		}
		while (r == 0) {
			r = audit_reader_next(&rd, &line, &len);
			if (r == 0)
				r = fn(line, len, arg);
		}
		if (r == -ENODATA)
			r = 0;
	}
	return r;
}
