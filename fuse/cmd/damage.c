/*
 * damage.c - which files lie where a disk is damaged (damage.h).
 */
#include "damage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>

#include "program.h"

#define TEXT_MAX (1U << 20) /* of what a program prints */
#define BLOCKS_MAX 64       /* of a range, that are asked for */
#define NAMES_MAX 100

struct text {
	char *s; /* ends with a NUL */
	size_t len;
};

static void
text_done(struct text *t)
{
	free(t->s);
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

/* What one of the system's programs prints; "" if it fails. */
static void
ask(const char *name, const char *const *argv, struct text *ret)
{
	static const char *const places[] = { "/usr/sbin/", "/sbin/",
					      "/usr/bin/", "/bin/" };
	char path[64], said[PROGRAM_SAID_MAX];

	for (size_t i = 0; i < 4; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", places[i], name);
		if (access(path, X_OK) < 0)
			continue;
		if (program_run(path, argv, collect, ret, said) < 0)
			ret->len = 0;
		break;
	}
	if (!ret->len)
		collect("", 0, ret);
}

/* ---- names ---- */

/* Once each; what a terminal would take for a command is not printed. */
static void
add_name(json_t *list, const char *name)
{
	char *clean = strdup(name);
	json_t *v;
	size_t i;

	if (!clean)
		return;
	for (char *p = clean; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	json_array_foreach(list, i, v)
	{
		if (strcmp(json_string_value(v), clean) == 0) {
			free(clean);
			return;
		}
	}
	v = json_string(clean);
	if (!v)
		v = json_string("(a name that is no UTF-8)");
	if (json_array_size(list) < NAMES_MAX)
		(void)!json_array_append_new(list, v);
	else
		json_decref(v);
	free(clean);
}

/* ---- ext2, ext3, ext4 ---- */

struct part {
	const char *image;
	uint64_t start, len; /* in the image */
	uint32_t block;      /* size of the file system's */
};

static void
debugfs(const struct part *p, const char *request, struct text *ret)
{
	char image[4096 + 32];
	const char *argv[] = { "debugfs", "-R", request, image, NULL };

	(void)snprintf(image, sizeof(image), "%s?offset=%" PRIu64, p->image,
		       p->start);
	ask("debugfs", argv, ret);
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

/* Those in use that no inode has are the file system's own. */
static void
name_block(const struct part *p, uint64_t block, json_t *ret)
{
	CLEANUP(text_done) struct text t = { .len = 0 };
	char request[64];

	(void)snprintf(request, sizeof(request), "testb %" PRIu64, block);
	debugfs(p, request, &t);
	if (strstr(t.s, "marked in use"))
		add_name(ret, "(file system metadata)");
	else if (strstr(t.s, "not in use"))
		add_name(ret, "(free space)");
}

static void
name_inode(const struct part *p, uint64_t inode, json_t *ret)
{
	CLEANUP(text_done) struct text t = { .len = 0 };
	char request[64], *line, *save = NULL, *rest;
	uint64_t n;

	if (inode == 8) {
		add_name(ret, "(journal)");
		return;
	}
	if (inode == 2) {
		add_name(ret, "/");
		return;
	}
	(void)snprintf(request, sizeof(request), "ncheck %" PRIu64, inode);
	debugfs(p, request, &t);
	for (line = strtok_r(t.s, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (parse_row(line, &n, &rest) == 0 && n == inode)
			add_name(ret, rest + (strncmp(rest, "//", 2) == 0));
}

static void
name_ext(const struct part *p, uint64_t off, uint64_t len, json_t *ret)
{
	uint64_t first = off / p->block, end = (off + len - 1) / p->block + 1;
	CLEANUP(text_done) struct text t = { .len = 0 };
	char request[32 * BLOCKS_MAX] = "icheck";
	char *line, *save = NULL, *rest;
	uint64_t block, inode;
	size_t at = strlen(request);

	for (uint64_t b = first; b < end && b < first + BLOCKS_MAX; b++)
		at += (size_t)snprintf(request + at, sizeof(request) - at,
				       " %" PRIu64, b);
	debugfs(p, request, &t);
	for (line = strtok_r(t.s, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (parse_row(line, &block, &rest) < 0)
			continue;
		if (parse_u64(rest, &inode) == 0)
			name_inode(p, inode, ret);
		else
			name_block(p, block, ret);
	}
}

/* ---- XFS ---- */

/* xfs_db takes no offset, so it gets a device that begins where the file system
 * does. */
static void
make_device(const struct part *p, struct text *ret)
{
	char start[32], len[32];
	const char *argv[] = { "losetup", "-r",          "-f", "--show", "-o",
			       start,     "--sizelimit", len,  p->image, NULL };

	(void)snprintf(start, sizeof(start), "%" PRIu64, p->start);
	(void)snprintf(len, sizeof(len), "%" PRIu64, p->len);
	ask("losetup", argv, ret);
	ret->s[strcspn(ret->s, "\n")] = '\0';
}

static void
remove_device(const char *device)
{
	const char *argv[] = { "losetup", "-d", device, NULL };
	CLEANUP(text_done) struct text t = { .len = 0 };

	ask("losetup", argv, &t);
}

/* The numbers that XFS has for blocks: "0xfa (250)", a line each. */
static size_t
number_blocks(const struct part *p, const char *dev, uint64_t off, uint64_t len,
	      uint64_t ret[static BLOCKS_MAX])
{
	CLEANUP(text_done) struct text t = { .len = 0 };
	const char *argv[4 + 2 * BLOCKS_MAX] = { "xfs_db", "-r" };
	char request[BLOCKS_MAX][64], *line, *save = NULL, *number;
	uint64_t at = off / p->block * p->block;
	size_t n = 2, count = 0;

	for (size_t i = 0; i < BLOCKS_MAX && at < off + len;
	     i++, at += p->block) {
		(void)snprintf(request[i], sizeof(request[i]),
			       "convert daddr %" PRIu64 " fsblock", at / 512);
		argv[n++] = "-c";
		argv[n++] = request[i];
	}
	argv[n++] = dev;
	ask("xfs_db", argv, &t);
	for (line = strtok_r(t.s, "\n", &save); line && count < BLOCKS_MAX;
	     line = strtok_r(NULL, "\n", &save)) {
		number = strchr(line, '(');
		if (!number)
			continue;
		number[1 + strcspn(number + 1, ")")] = '\0';
		count += parse_u64(number + 1, &ret[count]) == 0;
	}
	return count;
}

/* "setting block 1/24464 to free1", "inode 132 block 250 at offset 226". */
static void
take_use(char *line, uint64_t inodes[static BLOCKS_MAX], size_t *n, bool *other,
	 bool *free_space)
{
	uint64_t inode;
	char *end, *to;

	if (strncmp(line, "inode ", 6) == 0 &&
	    (end = strstr(line, " block "))) {
		*end = '\0';
		if (*n < BLOCKS_MAX && parse_u64(line + 6, &inode) == 0)
			inodes[(*n)++] = inode;
		return;
	}
	to = strstr(line, " to ");
	if (strncmp(line, "setting block ", 14) != 0 || !to)
		return;
	if (strncmp(to + 4, "free", 4) == 0)
		*free_space = true;
	else if (strcmp(to + 4, "data") != 0)
		*other = true;
}

static void
name_inodes(const char *dev, const uint64_t *inodes, size_t n, json_t *ret)
{
	CLEANUP(text_done) struct text t = { .len = 0 };
	char request[32 * BLOCKS_MAX] = "ncheck", *line, *save = NULL, *name;
	const char *argv[] = { "xfs_db", "-r",    "-c", "blockget -n",
			       "-c",     request, dev,  NULL };
	size_t at = strlen(request);

	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(request + at, sizeof(request) - at,
				       " -i %" PRIu64, inodes[i]);
	ask("xfs_db", argv, &t);
	for (line = strtok_r(t.s, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " ");
		name = strchr(line, ' ');
		if (name && line[0] >= '0' && line[0] <= '9')
			add_name(ret, name + 1);
	}
}

static void
name_xfs(const struct part *p, uint64_t off, uint64_t len, json_t *ret)
{
	CLEANUP(text_done) struct text dev = { .len = 0 }, t = { .len = 0 };
	uint64_t block[BLOCKS_MAX], inodes[BLOCKS_MAX];
	char request[32 * BLOCKS_MAX] = "blockget -n", *line, *save = NULL;
	const char *argv[] = { "xfs_db", "-r", "-c", request, NULL, NULL };
	bool other = false, free_space = false;
	size_t n, n_inodes = 0, at = strlen(request);

	make_device(p, &dev);
	if (strncmp(dev.s, "/dev/", 5) != 0)
		return;
	n = number_blocks(p, dev.s, off, len, block);
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(request + at, sizeof(request) - at,
				       " -b %" PRIu64, block[i]);
	argv[4] = dev.s;
	if (n > 0)
		ask("xfs_db", argv, &t);
	for (line = n ? strtok_r(t.s, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		take_use(line, inodes, &n_inodes, &other, &free_space);
	if (n_inodes > 0)
		name_inodes(dev.s, inodes, n_inodes, ret);
	if (other)
		add_name(ret, "(file system metadata)");
	if (free_space)
		add_name(ret, "(free space)");
	remove_device(dev.s);
}

/* ---- what is there ---- */

static bool
read_at(const char *image, void *buf, size_t len, uint64_t off)
{
	CLEANUP(close_fdp) int fd = open(image, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && io_pread_all(fd, buf, len, off) == 0;
}

/* The file system of a partition, or of the disk, by its superblock. */
static void
name_part(struct part *p, uint64_t off, uint64_t len, json_t *ret)
{
	uint8_t sb[1024 + 64];
	uint64_t end = off + len;

	if (off < p->start)
		off = p->start;
	if (end > p->start + p->len)
		end = p->start + p->len;
	if (off >= end || !read_at(p->image, sb, sizeof(sb), p->start))
		return;
	if (sb[1024 + 56] == 0x53 && sb[1024 + 57] == 0xef &&
	    sb[1024 + 24] <= 6) {
		p->block = 1024U << sb[1024 + 24];
		name_ext(p, off - p->start, end - off, ret);
	} else if (memcmp(sb, "XFSB", 4) == 0) {
		p->block = (uint32_t)sb[4] << 24 | (uint32_t)sb[5] << 16 |
			   (uint32_t)sb[6] << 8 | sb[7];
		if (p->block >= 512 && p->block <= 65536)
			name_xfs(p, off - p->start, end - off, ret);
	}
}

/* Rows of START SECTORS; the number of partitions. */
static unsigned
name_parts(const char *image, uint32_t sector, uint64_t off, uint64_t len,
	   json_t *ret)
{
	CLEANUP(text_done) struct text t = { .len = 0 };
	char size[16], *line, *save = NULL, *gap;
	const char *argv[] = { "partx", "-g", "-r",  "-o", "START,SECTORS",
			       "-S",    size, image, NULL };
	struct part p = { .image = image };
	unsigned n = 0;

	(void)snprintf(size, sizeof(size), "%u", sector);
	ask("partx", argv, &t);
	for (line = strtok_r(t.s, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		gap = strchr(line, ' ');
		if (!gap)
			continue;
		*gap = '\0';
		if (parse_u64(line, &p.start) < 0 ||
		    parse_u64(gap + 1, &p.len) < 0 ||
		    p.start > INT64_MAX / sector || p.len > INT64_MAX / sector)
			continue;
		p.start *= sector;
		p.len *= sector;
		n++;
		name_part(&p, off, len, ret);
	}
	return n;
}

void
damage_files(const char *image, uint32_t sector, uint64_t off, uint64_t len,
	     json_t *ret)
{
	struct part whole = { .image = image, .len = INT64_MAX };

	if (len > 0 && name_parts(image, sector, off, len, ret) == 0)
		name_part(&whole, off, len, ret);
}
