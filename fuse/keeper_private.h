/*
 * keeper_private.h - the keeper's state, all of it: what a keeper leaves to the
 * process that an upgrade makes of it is this struct, and its descriptors.
 */
#ifndef SEALDISK_KEEPER_PRIVATE_H
#define SEALDISK_KEEPER_PRIVATE_H

#include "keeper.h"
#include "keeper_link.h"

struct child {
	pid_t pid;      /* 0: none */
	int line;       /* -1: none */
	int64_t due_ms; /* to be killed then, or 0 */
	bool said_hello, may_go;
};

#define DEATHS_MAX 64

struct keeper {
	char magic[8];
	uint64_t len;
	struct child worker;
	struct child spare; /* ready to be the next one */
	struct child next;  /* of an upgrade, on trial */
	int keep_fd, fuse_fd, signal_fd, exe_fd;
	int locks[LINK_LOCKS];      /* by slot; -1: none */
	int64_t deaths[DEATHS_MAX]; /* when; 0: none */
	unsigned n_deaths;
	unsigned in_vain; /* workers that died before they served */
	int64_t spare_ms; /* when a spare one is started; 0: there is */
	int64_t start_ms; /* when the next one is started; 0: it runs */
	int64_t renew_ms; /* when the keeper itself is to be exchanged */
	bool handing_over, terminate, told, foreground;
	char path[PATH_MAX]; /* of the program */
	/* Not what it leaves. */
	const struct keeper_options *o;
	struct keep *keep;
};

/* Start a child: of the binary at ${path}, or where that is NULL of our own. */
int keeper_start(struct keeper *k, const char *path, int mode,
		 struct child *ret) __attribute__((__nonnull__(1, 4))) CHECKED;
/* All locks, and /dev/fuse: it may begin. */
int keeper_let_go(struct keeper *k, struct child *c) NONNULL CHECKED;
/* Become the binary at k->path; returns where that cannot be. */
void keeper_renew(struct keeper *k) NONNULL;

#endif
