/*
 * audit_private.h - what the files of the audit log share.
 */
#ifndef SEALDISK_KMS_AUDIT_PRIVATE_H
#define SEALDISK_KMS_AUDIT_PRIVATE_H

#include <pthread.h>

#include <sealdisk/codec.h>

#include "audit.h"

#define AUDIT_NAME_LEN 24
#define AUDIT_LOCK "lock"

struct audit {
	struct audit_owner owner;
	bool exclusive;
	uint64_t file_max;
	int dirfd, lockfd;

	pthread_mutex_t lock;   /* holds for all that follows */
	pthread_cond_t changed; /* somebody has flushed */
	pthread_cond_t work; /* for the thread: there is something, or stop */
	int fd;
	struct audit_head head;  /* after what was written */
	struct audit_head saved; /* after what is durable */
	bool sealed;             /* the last line of the file is its seal */
	uint64_t reserved;       /* bytes of the file that have room */
	int failed;              /* nothing is written any more */
	bool syncing, idle, stop, has_thread;
	pthread_t thread;
	char line[AUDIT_LINE_MAX];
	char dir[];
};

/*
 * audit_end.c, under the lock: the end of the log.  Shared, all of it also
 * under that of the folder.
 */

/* Nothing is written any more: what cannot be helped by trying again. */
int audit_fail(struct audit *a, int err, const char *what) NONNULL CHECKED;
/* The ${len} bytes of a->line. */
int audit_append(struct audit *a, size_t len) NONNULL CHECKED;
int audit_flush(struct audit *a) NONNULL CHECKED;
int audit_save_head(struct audit *a) NONNULL CHECKED;
/* Go on from the head that was saved; and, if that has to be done again, from
 * where others have got to. */
int audit_find_end(struct audit *a) NONNULL CHECKED;
int audit_refresh(struct audit *a) NONNULL CHECKED;
/* If the file is full and can be sealed, go on in a new one. */
int audit_turn_over(struct audit *a) NONNULL CHECKED;

/*
 * audit_read.c
 */

/* "audit-000001.log" */
void audit_file_name(uint32_t file, char out[static AUDIT_NAME_LEN]);
/* 0: it is none. */
uint32_t audit_file_number(const char *name) NONNULL;
/* The lowest and highest number in a folder; 0: there is none. */
int audit_find_files(const char *dir, uint32_t *ret_first, uint32_t *ret_last)
    NONNULL CHECKED;

/*
 * audit_line.c
 */

#define AUDIT_START_MAX 160

/* What the line after ${h} begins with, up to its kind. */
size_t audit_line_start(const struct audit_head *h,
			char out[static AUDIT_START_MAX]) NONNULL;
/* Lines after ${h}, with their line feeds; their lengths. */
size_t audit_line_request(const struct audit_head *h,
			  const struct audit_event *e,
			  char out[static AUDIT_LINE_MAX]) NONNULL;
size_t audit_line_seal(const struct audit_head *h,
		       const uint8_t mac[static MAC_LEN],
		       char out[static AUDIT_LINE_MAX]) NONNULL;
size_t audit_line_resumed(const struct audit_head *h, uint64_t unsealed,
			  uint64_t torn, char out[static AUDIT_LINE_MAX])
    NONNULL;
size_t audit_line_gap(const struct audit_head *h, const char *why,
		      char out[static AUDIT_LINE_MAX]) NONNULL;
/* Whether a line, after its start, is of this kind. */
bool audit_line_is(const char *line, size_t len, const char *kind) NONNULL;
/* The HMAC of a seal that follows ${h}; and that in a line.  -EINVAL: it has
 * none. */
int audit_seal_mac(const struct key *key, const struct audit_head *h,
		   uint8_t ret[static MAC_LEN]) NONNULL CHECKED;
int audit_seal_read(const char *line, size_t len, uint8_t ret[static MAC_LEN])
    NONNULL CHECKED;

/*
 * audit_read.c: lines of a file.
 */

struct audit_reader {
	int fd;
	uint64_t at; /* where in the file the buffer begins */
	size_t len, used;
	char *buf;
};
int audit_reader_open(int dirfd, uint32_t file, uint64_t at,
		      struct audit_reader *ret) NONNULL CHECKED;
void audit_reader_close(struct audit_reader *r) NONNULL;
/* The next whole line, without its line feed, until the next call; -ENODATA:
 * there is no more; -EFBIG: what is there is longer than any line. */
int audit_reader_next(struct audit_reader *r, const char **ret, size_t *ret_len)
    NONNULL CHECKED;
/* Bytes up to the end of the last line that was read. */
uint64_t audit_reader_pos(const struct audit_reader *r) NONNULL;

/* What ${h} is after this line, whatever it says. */
int audit_head_add(struct audit_head *h, const char *line, size_t len)
    NONNULL CHECKED;

#endif
