/*
 * damage.c - which files lie where a disk is damaged (damage.h).
 */
#include "damage_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>

#include "damage.h"
#include "program.h"

#define TEXT_MAX (4U << 20) /* of what a program prints */
#define BLOCKS_MAX 65536    /* of a range, that are asked for */
#define NAMES_MAX 100
#define PARTS_MAX 128

/* ---- programs ---- */

void
text_done(struct text *t)
{
	free(t->s);
	t->s = NULL;
	t->len = 0;
}

static void
collect(const char *text, size_t len, void *arg)
{
	struct text *t = arg;
	char *s;

	if (t->len + len >= TEXT_MAX)
		return;
	s = realloc(t->s, t->len + len + 1);
	if (!s)
		return;
	memcpy(s + t->len, text, len);
	t->s = s;
	t->len += len;
	s[t->len] = '\0';
}

void
damage_ask(const char *name, const char *const *argv, struct text *ret)
{
	static const char *const places[] = { "/usr/sbin/", "/sbin/",
					      "/usr/bin/", "/bin/" };
	char path[64], said[PROGRAM_SAID_MAX];

	for (size_t i = 0; i < 4; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", places[i], name);
		if (access(path, X_OK) < 0)
			continue;
		(void)!program_run(path, argv, collect, ret, said);
		break;
	}
	if (!ret->len)
		collect("", 0, ret);
}

/* ---- names ---- */

static bool
has_name(const json_t *list, const char *name)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (strcmp(json_string_value(v), name) == 0)
			return true;
	}
	return false;
}

void
damage_name(json_t *list, const char *name)
{
	char *clean = strdup(name);
	json_t *v;

	if (!clean)
		return;
	text_mask_control(clean);
	v = json_string(json_array_size(list) < NAMES_MAX ? clean
							  : "(and more)");
	if (!v)
		v = json_string("(a name that is no UTF-8)");
	if (v && !has_name(list, json_string_value(v)))
		(void)!json_array_append(list, v);
	json_decref(v);
	free(clean);
}

void
found_inode(struct found *f, uint64_t inode)
{
	size_t i = 0;

	while (i < f->n && f->inode[i] != inode)
		i++;
	if (i == f->n && i < BATCH)
		f->inode[f->n++] = inode;
}

void
found_name(struct found *f, uint64_t inode, const char *name, json_t *list)
{
	for (size_t i = 0; i < f->n; i++) {
		if (f->inode[i] != inode)
			continue;
		f->named[i] = true;
		damage_name(list, name);
	}
}

void
found_rest(const struct found *f, json_t *list)
{
	char text[40];

	for (size_t i = 0; i < f->n; i++) {
		if (f->named[i])
			continue;
		(void)snprintf(text, sizeof(text), "(inode %" PRIu64 ")",
			       f->inode[i]);
		damage_name(list, text);
	}
	if (f->metadata)
		damage_name(list, "(file system metadata)");
	if (f->free_space)
		damage_name(list, "(free space)");
}

/* ---- what is there ---- */

static bool
read_at(const char *image, void *buf, size_t len, uint64_t off)
{
	CLEANUP(close_fdp) int fd = open(image, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && io_pread_all(fd, buf, len, off) == 0;
}

static uint32_t
be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static bool
is_ext(const uint8_t sb[static 128], unsigned group)
{
	return sb[56] == 0x53 && sb[57] == 0xef && sb[24] <= 6 &&
	       (unsigned)(sb[90] | sb[91] << 8) == group;
}

/* Its first copy, where it is by default. */
static void
find_second_super(struct part *p)
{
	uint8_t sb[128];

	for (uint32_t block = 1024; block <= 4096; block *= 2) {
		uint32_t at = 8 * block + (block == 1024);

		if (!read_at(p->image, sb, sizeof(sb),
			     p->start + (uint64_t)at * block) ||
		    !is_ext(sb, 1) || 1024U << sb[24] != block)
			continue;
		p->fs = PART_EXT;
		p->block = block;
		p->super = at;
		break;
	}
}

/* By its superblock. */
static void
find_fs(struct part *p)
{
	uint8_t sb[1024 + 128];

	p->fs = PART_UNKNOWN;
	p->super = 0;
	if (read_at(p->image, sb, 128, p->start) &&
	    memcmp(sb, "XFSB", 4) == 0) {
		p->block = be32(sb + 4);
		p->ag_blocks = be32(sb + 84);
		p->ag_bits = sb[124];
		if (p->block >= 512 && p->block <= 65536 && p->ag_blocks > 0 &&
		    p->ag_bits < 32)
			p->fs = PART_XFS;
		return;
	}
	if (read_at(p->image, sb + 1024, 128, p->start + 1024) &&
	    is_ext(sb + 1024, 0)) {
		p->fs = PART_EXT;
		p->block = 1024U << sb[1024 + 24];
		return;
	}
	find_second_super(p);
}

/* Rows of START SECTORS, of 512 bytes whatever the disk's have.  How many have
 * a file system that is known. */
static unsigned
find_parts(const char *image, uint32_t sector, struct part *ret, size_t *ret_n)
{
	CLEANUP(text_done) struct text t = { .len = 0 };
	char size[16], *line, *save = NULL, *gap;
	const char *argv[] = { "partx", "-g", "-r",  "-o", "START,SECTORS",
			       "-S",    size, image, NULL };
	unsigned known = 0;

	*ret_n = 0;
	(void)snprintf(size, sizeof(size), "%u", sector);
	damage_ask("partx", argv, &t);
	for (line = strtok_r(t.s, "\n", &save); line && *ret_n < PARTS_MAX;
	     line = strtok_r(NULL, "\n", &save)) {
		struct part *p = &ret[*ret_n];

		*p = (struct part){ .image = image };
		gap = strchr(line, ' ');
		if (!gap)
			continue;
		*gap = '\0';
		if (parse_u64(line, &p->start) < 0 ||
		    parse_u64(gap + 1, &p->len) < 0 ||
		    p->start > INT64_MAX / 512 || p->len > INT64_MAX / 512)
			continue;
		p->start *= 512;
		p->len *= 512;
		find_fs(p);
		known += p->fs != PART_UNKNOWN;
		(*ret_n)++;
	}
	return known;
}

/* ---- a range ---- */

static void
name_in(const struct part *p, uint64_t off, uint64_t len, json_t *ret)
{
	uint64_t first = off / p->block;
	uint64_t n = (off + len - 1) / p->block + 1 - first;
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < n && i < BLOCKS_MAX; i += BATCH) {
		unsigned now = n - i < BATCH ? (unsigned)(n - i) : BATCH;

		r = p->fs == PART_EXT ? damage_ext(p, first + i, now, ret)
				      : damage_xfs(p, first + i, now, ret);
	}
	if (r < 0)
		damage_name(ret, "(the file system cannot be read)");
	else if (n > BLOCKS_MAX)
		damage_name(ret, "(what lies further on was not asked for)");
}

/* Whether the range is in it. */
static bool
name_part(const struct part *p, uint64_t off, uint64_t len, json_t *ret)
{
	uint64_t end = off + len;

	if (off < p->start)
		off = p->start;
	if (end > p->start + p->len)
		end = p->start + p->len;
	if (off >= end)
		return false;
	if (p->fs == PART_UNKNOWN)
		damage_name(ret, "(no file system that is known)");
	else
		name_in(p, off - p->start, end - off, ret);
	return true;
}

/* A disk is partitioned by the sectors that it had then: those of a loop device
 * are of 512 bytes if nobody says otherwise. */
static size_t
find_all(const char *image, uint32_t sector, struct part *ret)
{
	size_t n;

	if (find_parts(image, sector, ret, &n) == 0 &&
	    find_parts(image, sector == 512 ? 4096 : 512, ret, &n) == 0) {
		*ret = (struct part){ .image = image, .len = INT64_MAX };
		find_fs(ret);
		n = 1;
	}
	return n;
}

void
damage_files(const char *image, uint32_t sector, uint64_t off, uint64_t len,
	     json_t *ret)
{
	CLEANUP(free_memp) struct part *p = calloc(PARTS_MAX, sizeof(*p));
	bool inside = false;
	size_t n;

	if (!p || len == 0)
		return;
	n = find_all(image, sector, p);
	for (size_t i = 0; i < n; i++)
		inside |= name_part(&p[i], off, len, ret);
	if (!inside)
		damage_name(ret, "(in no partition)");
}
