/*
 * damage_ext.c - ext2, ext3 and ext4, by debugfs(8).
 *
 * Where a bitmap is damaged it opens the file system only if it is told not to
 * read them; then it cannot tell what is free.
 */
#include "damage_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/codec.h>

#define ROOT_INODE 2
#define JOURNAL_INODE 8
#define FIRST_INODE 11 /* that is a file's */

static void
debugfs(const struct part *p, bool bitmaps, const char *request,
	struct text *ret)
{
	char image[4096 + 32], super[16], block[16];
	const char *argv[10] = { "debugfs" };
	size_t n = 1;

	(void)snprintf(image, sizeof(image), "%s?offset=%" PRIu64, p->image,
		       p->start);
	if (!bitmaps)
		argv[n++] = "-c";
	if (p->super) {
		(void)snprintf(super, sizeof(super), "%" PRIu32, p->super);
		(void)snprintf(block, sizeof(block), "%" PRIu32, p->block);
		argv[n++] = "-s";
		argv[n++] = super;
		argv[n++] = "-b";
		argv[n++] = block;
	}
	argv[n++] = "-R";
	argv[n++] = request;
	argv[n] = image;
	damage_ask("debugfs", argv, ret);
}

/* "NUMBER\tREST": 0, or -ENOENT. */
static int
parse_row(char *line, uint64_t *ret, char **ret_rest)
{
	char *tab = strchr(line, '\t');

	if (!tab)
		return -ENOENT;
	*tab = '\0';
	*ret_rest = tab + 1;
	return parse_u64(line, ret) == 0 ? 0 : -ENOENT;
}

/* Of blocks that no inode has, those in use are the file system's own. */
static void
test_blocks(const struct part *p, uint64_t first, unsigned n, struct found *f)
{
	CLEANUP(text_done) struct text t = { .len = 0 };
	char request[64];

	if (n == 0 || (f->metadata && f->free_space))
		return;
	(void)snprintf(request, sizeof(request), "testb %" PRIu64 " %u", first,
		       n);
	debugfs(p, true, request, &t);
	f->metadata |= strstr(t.s, "marked in use") != NULL;
	f->free_space |= strstr(t.s, "not in use") != NULL;
}

/* Rows of a block, and its inode or "<block not found>".  How many. */
static unsigned
take_rows(const struct part *p, bool bitmaps, char *text, struct found *f)
{
	char *line, *save = NULL, *rest;
	uint64_t block, inode, first = 0;
	unsigned rows = 0, n = 0;

	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (parse_row(line, &block, &rest) < 0)
			continue;
		rows++;
		if (parse_u64(rest, &inode) == 0) {
			if (inode == ROOT_INODE || inode == JOURNAL_INODE ||
			    inode >= FIRST_INODE)
				found_inode(f, inode);
			else
				f->metadata = true;
			continue;
		}
		/* Before the first one that counts, perhaps. */
		if (block == 0) {
			f->metadata = true;
			continue;
		}
		if (bitmaps && block != first + n) {
			test_blocks(p, first, n, f);
			n = 0;
		}
		first = n ? first : block;
		n++;
	}
	if (bitmaps)
		test_blocks(p, first, n, f);
	return rows;
}

static void
name_inodes(const struct part *p, bool bitmaps, struct found *f, json_t *ret)
{
	CLEANUP(text_done) struct text t = { .len = 0 };
	CLEANUP(free_memp) char *request = malloc(24 * (BATCH + 1));
	char *line, *save = NULL, *rest;
	size_t at = 6;
	uint64_t n;

	found_name(f, JOURNAL_INODE, "(journal)", ret);
	found_name(f, ROOT_INODE, "/", ret);
	if (!request || f->n == 0)
		return;
	strcpy(request, "ncheck");
	for (size_t i = 0; i < f->n; i++)
		if (!f->named[i])
			at += (size_t)sprintf(request + at, " %" PRIu64,
					      f->inode[i]);
	if (at > 6)
		debugfs(p, bitmaps, request, &t);
	for (line = t.s ? strtok_r(t.s, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		if (parse_row(line, &n, &rest) == 0)
			found_name(f, n, rest + (strncmp(rest, "//", 2) == 0),
				   ret);
}

int
damage_ext(const struct part *p, uint64_t first, unsigned n, json_t *ret)
{
	CLEANUP(free_memp) struct found *f = calloc(1, sizeof(*f));
	CLEANUP(free_memp) char *request = malloc(24 * (BATCH + 1));
	CLEANUP(text_done) struct text t = { .len = 0 };
	bool bitmaps = true;
	size_t at = 6;
	unsigned rows;

	if (!f || !request)
		return -ENOMEM;
	strcpy(request, "icheck");
	for (unsigned i = 0; i < n; i++)
		at += (size_t)sprintf(request + at, " %" PRIu64, first + i);
	debugfs(p, true, request, &t);
	rows = take_rows(p, true, t.s, f);
	if (rows == 0) {
		bitmaps = false;
		text_done(&t);
		debugfs(p, false, request, &t);
		rows = take_rows(p, false, t.s, f);
	}
	if (rows == 0)
		return -EIO;
	name_inodes(p, bitmaps, f, ret);
	found_rest(f, ret);
	return 0;
}
