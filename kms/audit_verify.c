/*
 * audit_verify.c - is a log whole?
 *
 * Each line is held against what the one before makes of it, and the last that
 * the head speaks of against the head: who changes a line would have to change
 * all that follow, and then the head, which is not in the log.  After a flaw
 * the next line is taken at its word, so that one is not told as many.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "audit_private.h"

struct verify {
	const struct audit_head *head;
	const struct key *key;
	void (*fn)(const struct kms_audit_flaw *f, void *arg);
	void *arg;
	struct audit_head at;  /* after what was read */
	bool trust;            /* take the next line at its word */
	bool sealed, met_head; /* this file is; the head's line was read */
	struct kms_audit_report *report;
};

static void
flaw(struct verify *v, uint64_t line, const char *what)
{
	const struct kms_audit_flaw f = { v->at.file, line, what };

	v->report->flaws++;
	v->fn(&f, v->arg);
}

/* {"n":N,"prev":"HEX", as it stands in a line; false: it is not there. */
static bool
read_start(const char *line, size_t len, uint64_t *ret_n,
	   uint8_t ret_prev[static SHA256_LEN])
{
	char start[AUDIT_START_MAX], again[AUDIT_START_MAX];
	struct audit_head h = { 0 };
	char hex[2 * SHA256_LEN + 1];
	unsigned long long n;
	size_t got;

	(void)snprintf(start, sizeof(start), "%.*s",
		       (int)(len < sizeof(start) ? len : sizeof(start) - 1),
		       line);
	if (sscanf(start, "{\"n\":%20llu,\"prev\":\"%64[0-9a-f]\",", &n, hex) !=
		2 ||
	    n == 0 || hex_decode(hex, h.hash, sizeof(h.hash)) < 0)
		return false;
	h.lines = n - 1;
	got = audit_line_start(&h, again);
	if (got > len || memcmp(again, line, got) != 0)
		return false;
	*ret_n = n;
	memcpy(ret_prev, h.hash, SHA256_LEN);
	return true;
}

/* Does this line follow what was read? */
static void
check_start(struct verify *v, const char *line, size_t len)
{
	uint8_t prev[SHA256_LEN];
	uint64_t n, want = v->at.lines + 1;

	if (!read_start(line, len, &n, prev)) {
		flaw(v, want, "it was changed: it does not begin as a line");
		v->trust = true;
		return;
	}
	if (!v->trust && n > want)
		flaw(v, want, "lines from here on are missing");
	else if (!v->trust && n < want)
		flaw(v, n, "it is not in its place");
	else if (!v->trust && memcmp(prev, v->at.hash, SHA256_LEN) != 0)
		flaw(v, want - 1, "it was changed: the next one says so");
	v->at.lines = n - 1;
	v->trust = false;
}

static int
check_seal(struct verify *v, const char *line, size_t len)
{
	uint8_t has[MAC_LEN], want[MAC_LEN];
	int r;

	v->sealed = true;
	v->report->seals++;
	if (!v->key) {
		v->report->seals_unchecked++;
		return 0;
	}
	r = audit_seal_mac(v->key, &v->at, want);
	if (r < 0)
		return r;
	if (audit_seal_read(line, len, has) < 0 ||
	    !crypto_equal(has, want, sizeof(has)))
		flaw(v, v->at.lines + 1, "the seal of the file is not genuine");
	return 0;
}

static void
check_head(struct verify *v)
{
	const struct audit_head *h = v->head;

	if (v->at.lines > h->lines || h->file == 0)
		v->report->unsealed++;
	if (v->at.lines != h->lines || h->file == 0)
		return;
	v->met_head = true;
	if (memcmp(v->at.hash, h->hash, SHA256_LEN) != 0)
		flaw(v, h->lines,
		     "it, or lines before it, were changed: the "
		     "keystore says so");
}

static int
check_line(struct verify *v, const char *line, size_t len)
{
	int r = 0;

	if (v->sealed)
		flaw(v, v->at.lines + 1, "it stands after the file's seal");
	check_start(v, line, len);
	if (audit_line_is(line, len, "seal"))
		r = check_seal(v, line, len);
	else if (audit_line_is(line, len, "gap"))
		flaw(v, v->at.lines + 1,
		     "before it the log was cut or replaced, as was seen then");
	if (r == 0)
		r = audit_head_add(&v->at, line, len);
	v->report->lines++;
	if (r == 0)
		check_head(v);
	return r;
}

/* The end of a file: what is behind its last line, and whether it is sealed. */
static int
check_end(struct verify *v, struct audit_reader *rd, bool newest)
{
	struct stat st;

	if (fstat(rd->fd, &st) < 0)
		return -errno;
	/* Behind the head a crash may have torn one, or it is being written. */
	if ((uint64_t)st.st_size > audit_reader_pos(rd) &&
	    (!newest || v->at.lines < v->head->lines))
		flaw(v, v->at.lines + 1, "it has no end");
	if (!newest && !v->sealed)
		flaw(v, 0, "the file was cut off: it has no seal");
	return 0;
}

static int
check_file(struct verify *v, int dirfd, uint32_t file, bool newest)
{
	CLEANUP(audit_reader_close) struct audit_reader rd = { 0 };
	const char *line;
	size_t len;
	int r;

	v->at.file = file;
	v->at.size = 0;
	v->sealed = false;
	r = audit_reader_open(dirfd, file, 0, &rd);
	if (r == -ENOENT || r == -ELOOP) {
		flaw(v, 0, "the file is gone");
		v->trust = true;
		return 0;
	}
	while (r == 0) {
		r = audit_reader_next(&rd, &line, &len);
		if (r == 0)
			r = check_line(v, line, len);
	}
	if (r == -EFBIG) {
		flaw(v, v->at.lines + 1, "it has no end");
		v->trust = true;
		return 0;
	}
	return r == -ENODATA ? check_end(v, &rd, newest) : r;
}

int
audit_verify(const char *dir, const struct audit_head *head,
	     const struct key *key, uint32_t from,
	     void (*fn)(const struct kms_audit_flaw *f, void *arg), void *arg,
	     struct kms_audit_report *ret)
{
	CLEANUP(close_fdp)
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct kms_audit_report report = { 0 };
	struct verify v = { .head = head,
			    .key = key,
			    .fn = fn,
			    .arg = arg,
			    .trust = from > 1,
			    .report = &report };
	uint32_t first, last, file;
	int r;

	if (dirfd < 0)
		return -errno;
	r = audit_find_files(dir, &first, &last);
	if (r < 0)
		return r;
	if (head->file > last)
		last = head->file;
	if (from > last && from > 1)
		return -ENOENT;
	for (file = from; r == 0 && file <= last; file++)
		r = check_file(&v, dirfd, file, file == last);
	if (r < 0)
		return r;
	if (head->lines > 0 && !v.met_head)
		flaw(&v, v.at.lines + 1, "the end of the log was cut off");
	report.first_file = from;
	report.last_file = last;
	*ret = report;
	return 0;
}
