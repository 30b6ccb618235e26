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
 * wait), the number of the node, that of the handle
 * or of another node, how many bytes of its
 * struct and those, and of each name the length and the name.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays tests/data/fuzz_fuse,
 * as it is and changed at random.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <sealdisk/ioctl.h>
#include <sealdisk/log.h>

#include "fs.h"
#include "fuzz.h"
#include "fuzz_jobs.h"
#include "fuzz_kms.h"
#include "mem_store.h"
#include "snapshot.h"
#include "tree.h"

#define INPUT_MAX 8192
#define REQUESTS_MAX 64
#define DATA_MAX 65536 /* of a read or write */

/* ---- a store with a disk, a snapshot and an image ---- */

static struct store *made; /* each input has a fork of it */

static void
make_store(void)
{
	static const struct engine_options opt = { .mount_point = "",
						   .manual = true };
	struct disk_params p = { .name = "d",
				 .size = 5u << 20,
				 .sector_size = 512,
				 .kind = "data",
				 .key = "k",
				 .mode = 0600 };
	struct snapshot_request q = { NULL, DESC_SNAPSHOT, "s" };
	struct scratch *s = fuzz_worker()->scratch;
	struct catalog *c = fuzz_store();
	struct descriptor d;
	struct engine *e;

	made = catalog_store(c);
	mem_store_record(made, NULL, NULL);
	must(catalog_create(c, FUZZ_KMS, &p, &d, NULL) == 0);
	catalog_close(c);
	must(engine_open(made, FUZZ_KMS, &opt, &e) == 0);
	must(disk_attach(e, DESC_DISK, "d", 0, &q.disk) == 0);
	must(disk_write(q.disk, s, "some data", 9, 100) == 0);
	must(disks_snapshot(e, s, &q, 1) == 0);
	q.type = DESC_IMAGE;
	q.name = "i";
	must(disks_snapshot(e, s, &q, 1) == 0);
	must(disk_write(q.disk, s, "and more", 8, 4u << 20) == 0);
	must(disk_detach(q.disk) == 0);
	engine_close(e);
}

static unsigned
all(void *arg, const struct mem_ask *ask)
{
	(void)arg;
	return ask->what == MEM_WRITE || ask->what == MEM_SECTOR ? 1
								 : ask->n - 1;
}

/* ---- what the kernel can ask for ---- */

enum more { NOTHING, NAME, NAMES, DATA, IN };
/* What the first 64 bits of its struct are, and what comes of it. */
enum handle {
	NONE,
	OTHER_NODE,
	USED,
	FILE_OPENED,
	FILE_CLOSED,
	DIR_OPENED,
	DIR_CLOSED
};

static const struct kind {
	uint32_t opcode;
	size_t len; /* of its struct */
	enum more more;
	enum handle handle;
} kinds[] = {
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
				     SD_IOC_REENCRYPT, SD_IOC_DAEMON };
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* ---- the kernel's side ---- */

#define NODES_MAX (2 * REQUESTS_MAX * 8)

struct request {
	const struct kind *kind;
	uint64_t node;
	bool answered;
};

struct kernel {
	struct store *st;
	struct engine *e;
	struct jobs *jobs;
	struct fs *fs;
	struct fuse_session *se;
	int fd;
	uint64_t read; /* bytes of answers */
	/* What it was told of. */
	struct {
		uint64_t id, n;
	} nodes[NODES_MAX];
	size_t n_nodes;
	struct {
		uint64_t node, fh;
		bool is_dir;
	} open[REQUESTS_MAX];
	size_t n_open;
	struct request requests[REQUESTS_MAX]; /* unique is the place, plus 1 */
	size_t n_requests;
};

static void
learn(struct kernel *k, uint64_t id)
{
	size_t i = 0;

	if (id == 0) /* no entry, to be remembered as that */
		return;
	while (i < k->n_nodes && k->nodes[i].id != id)
		i++;
	must(i < NODES_MAX);
	k->nodes[i].id = id;
	k->nodes[i].n++;
	if (i == k->n_nodes)
		k->n_nodes++;
}

static void
learn_open(struct kernel *k, const struct request *q, uint64_t node,
	   const void *data)
{
	struct fuse_open_out out;

	memcpy(&out, data, sizeof(out));
	must(k->n_open < REQUESTS_MAX);
	k->open[k->n_open].node = node;
	k->open[k->n_open].fh = out.fh;
	k->open[k->n_open++].is_dir = q->kind->handle == DIR_OPENED;
}

static void
learn_listing(struct kernel *k, const char *p, size_t len)
{
	struct fuse_direntplus e;
	const size_t head = offsetof(struct fuse_direntplus, dirent.name);

	while (len > 0) {
		size_t all_of_it;

		must(len >= head);
		memcpy(&e, p, head);
		all_of_it = FUSE_DIRENT_ALIGN(head + e.dirent.namelen);
		must(all_of_it <= len && e.dirent.namelen > 0);
		learn(k, e.entry_out.nodeid);
		p += all_of_it;
		len -= all_of_it;
	}
}

/* What a request that was done is answered with. */
static void
take_data(struct kernel *k, const struct request *q, const char *p, size_t len)
{
	struct fuse_entry_out entry;

	switch (q->kind->opcode) {
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_LINK:
	case FUSE_CREATE:
		must(len >= sizeof(entry));
		memcpy(&entry, p, sizeof(entry));
		learn(k, entry.nodeid);
		if (q->kind->opcode == FUSE_CREATE) {
			must(len ==
			     sizeof(entry) + sizeof(struct fuse_open_out));
			learn_open(k, q, entry.nodeid, p + sizeof(entry));
		}
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		must(len == sizeof(struct fuse_open_out));
		learn_open(k, q, q->node, p);
		break;
	case FUSE_READDIRPLUS:
		learn_listing(k, p, len);
		break;
	default:
		must(len <= DATA_MAX + sizeof(struct sd_ioc_snapshot));
	}
}

static void
take_answer(struct kernel *k, const struct fuse_out_header *h, const char *p)
{
	struct request *q;

	if (h->unique == 0) /* a notification */
		return;
	must(h->unique <= k->n_requests);
	q = &k->requests[h->unique - 1];
	must(!q->answered && h->error <= 0 && h->error > -512);
	q->answered = true;
	if (h->error == 0)
		take_data(k, q, p, h->len - sizeof(*h));
	else
		must(h->len == sizeof(*h));
}

static void
take_answers(struct kernel *k)
{
	static char buf[DATA_MAX + 65536];
	struct fuse_out_header h;

	while (pread(k->fd, &h, sizeof(h), (off_t)k->read) == sizeof(h)) {
		must(h.len >= sizeof(h) && h.len - sizeof(h) <= sizeof(buf));
		must(pread(k->fd, buf, h.len - sizeof(h),
			   (off_t)(k->read + sizeof(h))) ==
		     (ssize_t)(h.len - sizeof(h)));
		k->read += h.len;
		take_answer(k, &h, buf);
	}
}

static void
do_jobs(struct kernel *k)
{
	jobs_drain(k->jobs);
	take_answers(k);
	for (size_t i = 0; i < k->n_requests; i++)
		must(k->requests[i].answered);
}

/* ---- requests ---- */

static char sent[sizeof(struct fuse_in_header) + 256 + DATA_MAX];

static void
send_it(struct kernel *k, const struct kind *kind, uint64_t node, size_t len)
{
	struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + len),
				    .opcode = kind->opcode,
				    .unique = k->n_requests + 1,
				    .nodeid = node,
				    .uid = getuid() };
	struct fuse_buf buf = { .mem = sent, .size = sizeof(h) + len };

	must(k->n_requests < REQUESTS_MAX);
	k->requests[k->n_requests++] =
	    (struct request){ kind, node, kind->opcode == FUSE_FORGET };
	memcpy(sent, &h, sizeof(h));
	fuse_session_process_buf(k->se, &buf);
	take_answers(k);
}

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

/* What comes with an ioctl: of the right length, unless cmd's high bit is set.
 */
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

	do_jobs(k);
	while (n < k->n_open &&
	       k->open[n].is_dir != (kind->handle == DIR_CLOSED))
		n++;
	if (n >= k->n_open)
		return;
	node = k->open[n].node;
	memcpy(in, &k->open[n].fh, sizeof(k->open[n].fh));
	last = --k->n_open;
	k->open[n] = k->open[last];
	send_it(k, kind, node, kind->len);
}

/* All of what it was told, or one time of it. */
static void
forget_one(struct kernel *k, const struct kind *kind, size_t n, char *in)
{
	struct fuse_forget_in f;
	uint64_t node;

	do_jobs(k);
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
	send_it(k, kind, node, kind->len);
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
	char *in = sent + sizeof(struct fuse_in_header);
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
		send_it(k, kind, choose_node(k, node), len);
	if (!(which & 0x80))
		do_jobs(k);
	return true;
}

/* ---- a session ---- */

static void
wake(void *arg)
{
	(void)arg;
}

static void
greet(struct kernel *k)
{
	static const struct kind init = { FUSE_INIT,
					  sizeof(struct fuse_init_in), NOTHING,
					  NONE };
	struct fuse_init_in in = { .major = FUSE_KERNEL_VERSION,
				   .minor = 36,
				   .max_readahead = 131072,
				   .flags = UINT32_MAX & ~FUSE_INIT_EXT };

	memcpy(sent + sizeof(struct fuse_in_header), &in, sizeof(in));
	send_it(k, &init, 0, sizeof(in));
	must(k->requests[0].answered && fs_is_serving(k->fs));
}

static void
open_session(struct kernel *k)
{
	static char name[] = "fuzz", *argv[] = { name };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	char path[32];
	int fd = memfd_create("answers", MFD_CLOEXEC);

	must(fd >= 0);
	k->fd = fd;
	k->se = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), k->fs);
	(void)snprintf(path, sizeof(path), "/dev/fd/%d", dup(fd));
	must(k->se && fuse_session_mount(k->se, path) == 0);
	fs_set_session(k->fs, k->se);
	fuse_opt_free_args(&args);
}

static void
mount_it(struct kernel *k, bool writeback)
{
	static const struct engine_options opt = { .mount_point = "/nowhere",
						   .cache_size = 1 << 20,
						   .manual = true };
	static struct workers nobody;
	struct fs_options fo = { .mount_point = "/nowhere",
				 .key = "k",
				 .uid = getuid(),
				 .writeback_cache = writeback,
				 .wake = wake };

	k->st = mem_store_fork(made, all, NULL);
	must(engine_open(k->st, FUZZ_KMS, &opt, &k->e) == 0);
	must(jobs_new(&nobody, 1, &k->jobs) == 0);
	fo.engine = k->e;
	fo.jobs = k->jobs;
	must(fs_new(&fo, &k->fs) == 0);
	open_session(k);
	greet(k);
}

/* As session.c ends it. */
static void
end(struct kernel *k)
{
	do_jobs(k);
	fs_stop_sweep(k->fs);
	fs_set_session(k->fs, NULL);
	must(fs_detach_all(k->fs) == 0);
	fuse_session_unmount(k->se);
	fuse_session_destroy(k->se);
	fs_free(k->fs);
	jobs_free(k->jobs);
	engine_close(k->e);
	store_free(k->st);
	(void)close(k->fd);
}

static void
ignore(enum fuse_log_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
}

static bool
take(const void *data, size_t len)
{
	static struct kernel k;
	struct reader r = reader_over(data, len);

	if (!made) {
		must(crypto_init() == 0);
		log_to_syslog();
		fuse_set_log_func(ignore);
		make_store();
	}
	if (len < 1 || len > INPUT_MAX)
		return false;
	memset(&k, 0, sizeof(k));
	mount_it(&k, get_u8(&r) & 1);
	while (request(&k, &r))
		;
	end(&k);
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
