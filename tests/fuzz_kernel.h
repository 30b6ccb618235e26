/*
 * fuzz_kernel.h - the kernel's side of a FUSE session, for fuzz_fuse.c: it
 * sends requests, holds the answers against what a kernel takes, and keeps what
 * it was told of nodes and open files.
 *
 * The file system is ours, on an engine over a store in memory that has a disk
 * "d" with a snapshot "s", and an image "i".  In place of /dev/fuse there is a
 * file that the answers are read from.
 */
#ifndef SEALDISK_FUZZ_KERNEL_H
#define SEALDISK_FUZZ_KERNEL_H

#include "fs.h"

#define REQUESTS_MAX 64
#define NAMES_LEN 600  /* of two names in a request */
#define DATA_MAX 65536 /* bytes of a read or write */

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

struct kind {
	uint32_t opcode;
	size_t len; /* of its struct */
	enum more more;
	enum handle handle;
};

#define NODES_MAX (16 * REQUESTS_MAX)

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

/* A request: its struct, and what follows it. */
extern char *const kernel_in;

/* A session that was greeted. */
void kernel_mount(struct kernel *k, bool writeback);
/* As session.c ends it: every disk can be detached. */
void kernel_end(struct kernel *k);

/* Send the ${len} bytes of kernel_in. */
void kernel_send(struct kernel *k, const struct kind *kind, uint64_t node,
		 size_t len);
/* Let all jobs run; each request has been answered then. */
void kernel_wait(struct kernel *k);

#endif
