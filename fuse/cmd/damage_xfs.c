/*
 * damage_xfs.c - XFS, by xfs_db(8).
 *
 * It takes no offset, so it gets a loop device that begins where the file
 * system does; and of a file with several names it knows one.
 */
#include "damage_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/codec.h>

static void
make_device(const struct part *p, struct text *ret)
{
	char start[32], len[32];
	const char *argv[] = { "losetup", "-r",          "-f", "--show", "-o",
			       start,     "--sizelimit", len,  p->image, NULL };

	(void)snprintf(start, sizeof(start), "%" PRIu64, p->start);
	(void)snprintf(len, sizeof(len), "%" PRIu64, p->len);
	damage_ask("losetup", argv, ret);
	ret->s[strcspn(ret->s, "\n")] = '\0';
}

static void
remove_device(const char *device)
{
	const char *argv[] = { "losetup", "-d", device, NULL };
	CLEANUP(text_done) struct text t = { .len = 0 };

	damage_ask("losetup", argv, &t);
}

/* "setting block 1/24464 to free1", "inode 132 block 250 at offset 226". */
static void
take_use(char *line, struct found *f)
{
	uint64_t inode;
	char *end, *to;

	if (strncmp(line, "inode ", 6) == 0 &&
	    (end = strstr(line, " block "))) {
		*end = '\0';
		if (parse_u64(line + 6, &inode) == 0)
			found_inode(f, inode);
		return;
	}
	to = strstr(line, " to ");
	if (strncmp(line, "setting block ", 14) != 0 || !to)
		return;
	if (strncmp(to + 4, "free", 4) == 0)
		f->free_space = true;
	else if (strcmp(to + 4, "data") != 0)
		f->metadata = true;
}

static unsigned
count_names(const char *dev, uint64_t inode)
{
	CLEANUP(text_done) struct text t = { .len = 0 };
	char request[40];
	const char *argv[] = { "xfs_db",         "-r", "-c", request, "-c",
			       "p core.nlinkv2", dev,  NULL };
	const char *eq;
	unsigned n = 1;

	(void)snprintf(request, sizeof(request), "inode %" PRIu64, inode);
	damage_ask("xfs_db", argv, &t);
	eq = strstr(t.s, "core.nlinkv2 = ");
	if (eq && sscanf(eq + 15, "%u", &n) != 1)
		n = 1;
	return n;
}

/* "   132 dir/a file", "   131 dir/." */
static void
take_name(const char *dev, char *line, struct found *f, json_t *ret)
{
	char name[4096 + 2], others[64], *gap;
	size_t len;
	uint64_t inode;
	unsigned n = 1;

	line += strspn(line, " ");
	gap = strchr(line, ' ');
	if (!gap)
		return;
	*gap = '\0';
	if (parse_u64(line, &inode) < 0)
		return;
	(void)snprintf(name, sizeof(name), "/%.4096s", gap + 1);
	len = strlen(name);
	if (len >= 2 && strcmp(name + len - 2, "/.") == 0)
		name[len == 2 ? 1 : len - 2] = '\0';
	else if ((n = count_names(dev, inode)) > 1)
		(void)snprintf(others, sizeof(others),
			       "(inode %" PRIu64 " has %u names)", inode, n);
	found_name(f, inode, name, ret);
	if (n > 1)
		damage_name(ret, others);
}

static void
name_inodes(const char *dev, struct found *f, json_t *ret)
{
	CLEANUP(free_memp) char *request = malloc(28 * (BATCH + 1));
	CLEANUP(text_done) struct text t = { .len = 0 };
	const char *argv[] = { "xfs_db", "-r",    "-c", "blockget -n",
			       "-c",     request, dev,  NULL };
	char *line, *save = NULL;
	size_t at = 6;

	if (!request || f->n == 0)
		return;
	strcpy(request, "ncheck");
	for (size_t i = 0; i < f->n; i++)
		at +=
		    (size_t)sprintf(request + at, " -i %" PRIu64, f->inode[i]);
	damage_ask("xfs_db", argv, &t);
	for (line = strtok_r(t.s, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		take_name(dev, line, f, ret);
}

static int
ask_for(const char *dev, const struct part *p, uint64_t first, unsigned n,
	struct found *f)
{
	CLEANUP(free_memp) char *request = malloc(28 * (BATCH + 1));
	CLEANUP(text_done) struct text t = { .len = 0 };
	const char *argv[] = { "xfs_db", "-r", "-c", request, dev, NULL };
	char *line, *save = NULL;
	size_t at = 11;

	if (!request)
		return -ENOMEM;
	strcpy(request, "blockget -n");
	for (uint64_t b = first; b < first + n; b++)
		at += (size_t)sprintf(request + at, " -b %" PRIu64,
				      b / p->ag_blocks << p->ag_bits |
					  b % p->ag_blocks);
	damage_ask("xfs_db", argv, &t);
	if (t.len == 0)
		return -EIO;
	for (line = strtok_r(t.s, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		take_use(line, f);
	return 0;
}

int
damage_xfs(const struct part *p, uint64_t first, unsigned n, json_t *ret)
{
	CLEANUP(free_memp) struct found *f = calloc(1, sizeof(*f));
	CLEANUP(text_done) struct text dev = { .len = 0 };
	int r;

	if (!f)
		return -ENOMEM;
	make_device(p, &dev);
	if (strncmp(dev.s, "/dev/", 5) != 0)
		return -EIO;
	r = ask_for(dev.s, p, first, n, f);
	if (r == 0) {
		name_inodes(dev.s, f, ret);
		found_rest(f, ret);
	}
	remove_device(dev.s);
	return r;
}
