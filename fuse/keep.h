/*
 * keep.h - the memory that outlives a worker: what the process that serves a
 * mount leaves to the one that comes after it.
 *
 * The keeper (keeper.h) makes it and has it locked; each worker maps it.  Its
 * engine's half is kept.h.  Both may be killed at any instruction: a word that
 * says that something is there is written last, and read first.
 *
 * Nothing in it is a pointer.  Its layout is of one build: a worker of another
 * layout refuses it (keep_check), and the old one goes on.
 */
#ifndef SEALDISK_KEEP_H
#define SEALDISK_KEEP_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/settings.h>

#include "kept.h"

#define KEEP_VERSION 1
#define KEEP_INIT_MAX 256  /* FUSE's greeting: 104 bytes today */
#define KEEP_THREADS 256   /* that read requests */
#define KEEP_HANDLES 16384 /* open files of disks */
#define KEEP_ONCE 1024     /* requests that must not be done twice */
#define KEEP_SUSPECTS 16   /* requests that a worker died of */
#define KEEP_FRAMES 32     /* of a backtrace */
#define KEEP_LAST 8        /* requests of a thread that are remembered */
#define KEEP_PAGE 4096
#define KEEP_RESENT (1ULL << 63) /* of a request's id: FUSE_UNIQUE_RESEND */

/* A request, without what it carries. */
struct keep_request {
	uint64_t unique; /* 0: none; without KEEP_RESENT */
	uint64_t node;
	uint64_t off, size; /* of those that have them */
	uint32_t opcode;
	uint32_t pad;
};

/*
 * A thread that reads requests.  The page is the first of its receive buffer:
 * FUSE's header lies at its end, and so is known even where the thread was
 * killed on the way back from the read; what a write carries lies behind it.
 */
struct keep_thread {
	uint8_t page[KEEP_PAGE];
};

struct keep_past {
	struct keep_request last[KEEP_LAST];
	uint32_t n;
	uint32_t pad;
};

/* A request that is answered by a job; free where its id is 0. */
struct keep_job {
	_Atomic uint64_t unique;
	uint64_t node;
	uint32_t opcode;
	uint32_t pad;
};

/* An open file of a disk; free where ${id} is 0. */
struct keep_handle {
	_Atomic uint64_t id; /* what the kernel calls it */
	uint64_t unique;     /* of the request that opened it */
	uint64_t node;
};

enum { ONCE_BEGUN = 1, ONCE_DONE = 2 };

/* A request that changes names or is an ioctl; free where its id is 0. */
struct keep_once {
	_Atomic uint64_t unique;
	uint64_t run; /* of which worker */
	_Atomic uint32_t state;
	int32_t result;
	struct uuid uuid; /* of what it is about */
	uint32_t out_len;
	uint8_t out[508];
};

struct keep_suspect {
	struct keep_request request;
	_Atomic uint32_t deaths;
};

struct keep_frame {
	char object[32]; /* the file's name */
	uint64_t offset; /* in it */
};

/* How a worker died, as its own handler saw it. */
struct keep_crash {
	_Atomic uint32_t signal; /* 0: nothing was seen */
	uint32_t n_frames;
	uint64_t address;
	char thread[16];
	struct keep_request request; /* unique 0: it was at none */
	struct keep_frame frames[KEEP_FRAMES];
};

/*
 * Workers die again and again: the next one answers EIO alone; and when the
 * mount is gone one more is tried, to commit what there is.
 */
enum { KEEP_BROKEN = 1, KEEP_BROKEN_GONE, KEEP_BROKEN_LAST };

struct keep {
	char magic[8];
	uint32_t version;
	uint32_t settings_len;
	uint64_t len;
	uint64_t kept_at; /* struct kept: bytes from here */

	/* How the mount came to be. */
	pid_t keeper;
	uint32_t background; /* it has left its terminal */
	char store[PATH_MAX], mount_point[PATH_MAX];
	uint64_t passphrase_len;
	uint8_t passphrase[1024 + 2]; /* that came by a descriptor */
	struct settings settings;     /* once `served` is not 0 */

	_Atomic uint32_t init_len; /* 0: not read yet */
	uint32_t pad;
	uint8_t init[KEEP_INIT_MAX];

	/* The keeper's. */
	uint32_t runs; /* workers started, this one included */
	uint32_t pad2;
	uint64_t restarts; /* after a death */
	uint64_t upgrades;
	uint64_t upgrades_before; /* when one was asked for */
	int32_t status;  /* of the worker that died last, as wait(2) says */
	pid_t dead;      /* its pid; 0: told already, or none has died */
	uint64_t broken; /* KEEP_..., or 0 */

	/* The worker's. */
	_Atomic uint32_t served;   /* which run has come to serve requests */
	_Atomic uint32_t finished; /* the mount is gone, all is detached */
	int32_t result;            /* then: 0 or an error */
	_Atomic uint64_t next_handle;

	struct keep_crash crash;
	struct keep_suspect suspects[KEEP_SUSPECTS];
	struct keep_past past[KEEP_THREADS];
	struct keep_job jobs[KEEP_ONCE];
	struct keep_once once[KEEP_ONCE];
	struct keep_handle handles[KEEP_HANDLES];
	struct keep_thread threads[KEEP_THREADS]
	    __attribute__((__aligned__(KEEP_PAGE)));
};

/* Of all of it, the engine's half included: whole pages. */
size_t keep_len(void);
/* New memory, locked, kept out of dumps: a descriptor, or a negative errno. */
int keep_new(int *ret_fd, struct keep **ret) NONNULL CHECKED;
/* The same memory, in another process.  -EPROTONOSUPPORT: another layout. */
int keep_map(int fd, struct keep **ret) NONNULL CHECKED;
struct kept *keep_kept(struct keep *k) NONNULL;

/* The receive buffer's first page becomes thread ${i}'s. */
int keep_map_thread(int fd, unsigned i, void *at) NONNULL CHECKED;

#endif
