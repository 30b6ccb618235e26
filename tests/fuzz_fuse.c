/*
 * fuzz_fuse.c - any requests on a raw FUSE session.
 *
 * A session of libfuse with our file system on an engine over a store in
 * memory, and in place of /dev/fuse a file that the answers are read from.
 * Requests are what the kernel could send: its header and lengths, names that
 * end, handles that were given out and not given back, no node forgotten more
 * often than it was told of.  All else is the input's: which request, on which
 * node, and every other byte of it.
 *
 * Each request is answered once, with an errno that the kernel takes, and at
 * the end every disk can be detached.  Jobs run in this one thread, at once or
 * after later requests (fuzz_jobs.c).
 *
 * An input is a list of requests: the number of its kind (the highest bit: jobs
 * wait), the number of the node, that of the handle or of another node, how
 * many bytes of its struct and those, and of each name the length and the name;
 * of an ioctl the length as u16, and what comes with it.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays tests/data/fuzz_fuse,
 * as it is and changed at random.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/ioctl.h>

#include "fuzz.h"
#include "fuzz_kernel.h"

#define INPUT_MAX 8192

/* ---- what the kernel can ask for ---- */

static const struct kind kinds[] = {
	{ FUSE_LOOKUP, 0, NAME, NONE },
	{ FUSE_GETATTR, sizeof(struct fuse_getattr_in), NOTHING, NONE },
	{ FUSE_SETATTR, sizeof(struct fuse_setattr_in), NOTHING, NONE },
	{ FUSE_OPEN, sizeof(struct fuse_open_in), NOTHING, FILE_OPENED },
	{ FUSE_READ, sizeof(struct fuse_read_in), NOTHING, USED },
	{ FUSE_WRITE, sizeof(struct fuse_write_in), DATA, USED },
	{ FUSE_RELEASE, sizeof(struct fuse_release_in), NOTHING, FILE_CLOSED },
	{ FUSE_FLUSH, sizeof(struct fuse_flush_in), NOTHING, USED },
	{ FUSE_FSYNC, sizeof(struct fuse_fsync_in), NOTHING, USED },
	{ FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), NOTHING, USED },
	{ FUSE_LSEEK, sizeof(struct fuse_lseek_in), NOTHING, USED },
	{ FUSE_OPENDIR, sizeof(struct fuse_open_in), NOTHING, DIR_OPENED },
	{ FUSE_READDIR, sizeof(struct fuse_read_in), NOTHING, USED },
	{ FUSE_READDIRPLUS, sizeof(struct fuse_read_in), NOTHING, USED },
	{ FUSE_RELEASEDIR, sizeof(struct fuse_release_in), NOTHING,
	  DIR_CLOSED },
	{ FUSE_CREATE, sizeof(struct fuse_create_in), NAME, FILE_OPENED },
	{ FUSE_MKNOD, sizeof(struct fuse_mknod_in), NAME, NONE },
	{ FUSE_MKDIR, sizeof(struct fuse_mkdir_in), NAME, NONE },
	{ FUSE_UNLINK, 0, NAME, NONE },
	{ FUSE_RMDIR, 0, NAME, NONE },
	{ FUSE_SYMLINK, 0, NAMES, NONE },
	{ FUSE_RENAME, sizeof(struct fuse_rename_in), NAMES, OTHER_NODE },
	{ FUSE_RENAME2, sizeof(struct fuse_rename2_in), NAMES, OTHER_NODE },
	{ FUSE_LINK, sizeof(struct fuse_link_in), NAME, OTHER_NODE },
	{ FUSE_IOCTL, sizeof(struct fuse_ioctl_in), IN, USED },
	{ FUSE_STATFS, 0, NOTHING, NONE },
	{ FUSE_ACCESS, sizeof(struct fuse_access_in), NOTHING, NONE },
	{ FUSE_READLINK, 0, NOTHING, NONE },
	{ FUSE_FSYNCDIR, sizeof(struct fuse_fsync_in), NOTHING, USED },
	{ FUSE_FORGET, sizeof(struct fuse_forget_in), NOTHING, NONE },
	/* No request of the kernel's: time passes. */
	{ 0, 0, NOTHING, NONE },
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const uint32_t commands[] = { SD_IOC_SET,       SD_IOC_STATS,
				     SD_IOC_DETACH,    SD_IOC_ACCEPT,
				     SD_IOC_REWRAP,    SD_IOC_SNAPSHOT,
				     SD_IOC_REENCRYPT, SD_IOC_DAEMON,
				     SD_IOC_SCRUB };
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* ---- requests ---- */

static uint64_t
choose_node(const struct kernel *k, uint8_t n)
{
	if (n >= 16 && k->n_nodes > 0)
		return k->nodes[(n - 16) % k->n_nodes].id;
	return n; /* the folders, and some that are none */
}

/* Up to its first NUL; with one. */
static size_t
put_name(struct reader *r, char *out)
{
	size_t n = get_u8(r), left = (size_t)(r->end - r->p);

	if (n > left)
		n = left;
	get_bytes(r, out, n);
	out[n] = '\0';
	return strlen(out) + 1;
}

static size_t
put_names(struct reader *r, const struct kind *kind, char *out)
{
	size_t len = put_name(r, out);

	return kind->more == NAMES ? len + put_name(r, out + len) : len;
}

/* Data of a write: as long as it says, up to what fits. */
static size_t
put_data(char *in)
{
	struct fuse_write_in w;

	memcpy(&w, in, sizeof(w));
	w.size %= DATA_MAX;
	w.offset &= INT64_MAX;
	memcpy(in, &w, sizeof(w));
	memset(in + sizeof(w), 0x5a, w.size);
	return w.size;
}

/* What comes with an ioctl, of the length that its number says. */
static size_t
put_ioctl(struct reader *r, char *in)
{
	struct fuse_ioctl_in i;
	char *out = in + sizeof(i);
	size_t n, left;

	memcpy(&i, in, sizeof(i));
	i.flags = 0;
	if (i.cmd % 16 < N_COMMANDS)
		i.cmd = commands[i.cmd % 16];
	i.in_size = _IOC_DIR(i.cmd) & _IOC_WRITE ? _IOC_SIZE(i.cmd) : 0;
	i.out_size = _IOC_DIR(i.cmd) & _IOC_READ ? _IOC_SIZE(i.cmd) : 0;
	memcpy(in, &i, sizeof(i));
	memset(out, 0, i.in_size);
	n = get_u16(r);
	left = (size_t)(r->end - r->p);
	n = n < left ? n : left;
	get_bytes(r, out, n < i.in_size ? n : i.in_size);
	return i.in_size;
}

/* The kernel's own checks of offsets and lengths. */
static void
put_right(const struct kind *kind, char *in)
{
	struct fuse_read_in read;
	struct fuse_fallocate_in f;

	switch (kind->opcode) {
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		memcpy(&read, in, sizeof(read));
		read.size %= DATA_MAX;
		read.offset &= INT64_MAX;
		memcpy(in, &read, sizeof(read));
		break;
	case FUSE_FALLOCATE:
		memcpy(&f, in, sizeof(f));
		f.offset &= INT64_MAX / 2;
		f.length = (f.length & (INT64_MAX / 2)) | 1;
		memcpy(in, &f, sizeof(f));
		break;
	default:
		break;
	}
}

/* One that was given out, or whatever stands there. */
static void
put_handle(const struct kernel *k, const struct kind *kind, uint8_t n, char *in)
{
	uint64_t other = choose_node(k, n);

	if (kind->handle == USED && n < k->n_open)
		memcpy(in, &k->open[n].fh, sizeof(k->open[n].fh));
	if (kind->handle == OTHER_NODE)
		memcpy(in, &other, sizeof(other));
}

/* Only what was opened is closed, once, when all that was asked is done. */
static void
close_one(struct kernel *k, const struct kind *kind, size_t n, char *in)
{
	size_t last;
	uint64_t node;

	kernel_wait(k);
	while (n < k->n_open &&
	       k->open[n].is_dir != (kind->handle == DIR_CLOSED))
		n++;
	if (n >= k->n_open)
		return;
	node = k->open[n].node;
	memcpy(in, &k->open[n].fh, sizeof(k->open[n].fh));
	last = --k->n_open;
	k->open[n] = k->open[last];
	kernel_send(k, kind, node, kind->len);
}

/* All of what it was told, or one time of it. */
static void
forget_one(struct kernel *k, const struct kind *kind, size_t n, char *in)
{
	struct fuse_forget_in f;
	uint64_t node;

	kernel_wait(k);
	if (n >= k->n_nodes)
		return;
	node = k->nodes[n].id;
	for (size_t i = 0; i < k->n_open; i++)
		if (k->open[i].node == node)
			return;
	memcpy(&f, in, sizeof(f));
	f.nlookup = f.nlookup % 2 ? 1 : k->nodes[n].n;
	memcpy(in, &f, sizeof(f));
	k->nodes[n].n -= f.nlookup;
	if (k->nodes[n].n == 0)
		k->nodes[n] = k->nodes[--k->n_nodes];
	kernel_send(k, kind, node, kind->len);
}

static void
let_time_pass(struct kernel *k)
{
	(void)fs_tick(k->fs);
	(void)fs_take_wipe(k->fs);
	jobs_drain(k->jobs);
}

static bool
request(struct kernel *k, struct reader *r)
{
	uint8_t which = get_u8(r), node = get_u8(r), handle = get_u8(r);
	const struct kind *kind = &kinds[(which & 0x7f) % N_KINDS];
	char *in = kernel_in;
	size_t n = get_u8(r), left = (size_t)(r->end - r->p), len = kind->len;

	if (r->bad || k->n_requests == REQUESTS_MAX)
		return false;
	memset(in, 0, 256);
	n = n < left ? n : left;
	get_bytes(r, in, n < len ? n : len);
	put_right(kind, in);
	put_handle(k, kind, handle, in);
	if (kind->more == NAME || kind->more == NAMES)
		len += put_names(r, kind, in + len);
	else if (kind->more == DATA)
		len += put_data(in);
	else if (kind->more == IN)
		len += put_ioctl(r, in);
	if (kind->opcode == 0)
		let_time_pass(k);
	else if (kind->opcode == FUSE_FORGET)
		forget_one(k, kind, handle, in);
	else if (kind->handle == FILE_CLOSED || kind->handle == DIR_CLOSED)
		close_one(k, kind, handle, in);
	else
		kernel_send(k, kind, choose_node(k, node), len);
	if (!(which & 0x80))
		kernel_wait(k);
	return true;
}

/* ---- the whole ---- */

static bool
take(const void *data, size_t len)
{
	static struct kernel k;
	struct reader r = reader_over(data, len);

	if (len < 1 || len > INPUT_MAX)
		return false;
	kernel_mount(&k, get_u8(&r) & 1);
	while (request(&k, &r))
		;
	kernel_end(&k);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	(void)take(data, len);
	return 0;
}

#ifndef SEALDISK_LIBFUZZER

int
main(int argc, char **argv)
{
	static const char some[] = "\0\1\2\3\4\5\6\7\20\30\77\377\200ds";
	static const struct fuzzer f = { "fuzz_fuse", take, some, sizeof(some),
					 20 };

	return replay_main(&f, argc, argv);
}

#endif
