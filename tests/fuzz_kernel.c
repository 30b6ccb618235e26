/*
 * fuzz_kernel.c - a FUSE session without a kernel.
 */
#include "fuzz_kernel.h"

#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <sealdisk/ioctl.h>
#include <sealdisk/log.h>

#include "fuzz.h"
#include "fuzz_jobs.h"
#include "fuzz_kms.h"
#include "mem_store.h"
#include "snapshot.h"

static char sent[sizeof(struct fuse_in_header) + 256 + NAMES_LEN + DATA_MAX];
char *const kernel_in = sent + sizeof(struct fuse_in_header);

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

/* ---- answers ---- */

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

void
kernel_wait(struct kernel *k)
{
	jobs_drain(k->jobs);
	take_answers(k);
	for (size_t i = 0; i < k->n_requests; i++)
		must(k->requests[i].answered);
}

/* ---- requests ---- */

void
kernel_send(struct kernel *k, const struct kind *kind, uint64_t node,
	    size_t len)
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

/* ---- a session ---- */

static void
ignore(enum fuse_log_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
}

/* Once. */
static void
begin(void)
{
	must(crypto_init() == 0);
	log_to_syslog();
	fuse_set_log_func(ignore);
	make_store();
}

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

	memcpy(kernel_in, &in, sizeof(in));
	kernel_send(k, &init, 0, sizeof(in));
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

void
kernel_mount(struct kernel *k, bool writeback)
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

	if (!made)
		begin();
	memset(k, 0, sizeof(*k));
	k->st = mem_store_fork(made, all, NULL);
	must(engine_open(k->st, FUZZ_KMS, &opt, &k->e) == 0);
	must(jobs_new(&nobody, 1, &k->jobs) == 0);
	fo.engine = k->e;
	fo.jobs = k->jobs;
	must(fs_new(&fo, &k->fs) == 0);
	open_session(k);
	greet(k);
}

void
kernel_end(struct kernel *k)
{
	kernel_wait(k);
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
