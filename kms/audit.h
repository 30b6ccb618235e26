/*
 * audit.h - what was asked of the key service, by whom, and what came of it.
 *
 * One JSON line a request, in files audit-NNNNNN.log of a folder.  Each line
 * begins with its number, the SHA-256 of the line before (without its line
 * feed) and its kind:
 *
 *     {"n":7,"prev":"HEX","kind":"request","time":"...","request_id":...}
 *
 * Numbers and hashes run on over the files.  A file that is full ends with a
 * line of kind "seal", an HMAC over where it ends, under a key that is derived
 * from the keystore key.  Where the log ends - its *head* - is kept by whoever
 * made it, in the keystore, and is saved after the lines that it speaks of are
 * on the disk: a log that ends before its head was cut off.  What a crash may
 * leave is lines after the head, the last of them torn.  Whoever goes on from
 * there takes the whole ones in, cuts the torn one off, and says so in a line
 * of kind "resumed".  Where the log was cut or replaced instead, it goes on in
 * a new file, with a line of kind "gap".
 *
 * Strings are ASCII and JSON escapes: whatever stands in a request, it is one
 * line, and none that a terminal obeys.
 *
 * Shared: any number of processes append, each line under a lock, after where
 * the others have got to, and a line is durable when its writer returns.
 * Exclusive: one process has the folder alone, and lines that need not be
 * durable at once share a sync: a crash of the machine loses no more of them
 * than AUDIT_DELAY_MS, that of the process none.
 *
 * A struct audit may be used from any thread; it is not carried over a fork.
 * 0 or a negative errno; -EHOSTDOWN: others kept the folder locked.  What
 * makes the log unusable is logged here, once.
 */
#ifndef SEALDISK_KMS_AUDIT_H
#define SEALDISK_KMS_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/crypto.h>
#include <sealdisk/kms_record.h>

#include "envelope.h"

#define AUDIT_DELAY_MS 100
#define AUDIT_LINE_MAX 32768
#define AUDIT_FILE_MAX (UINT64_C(64) << 20) /* bytes, about */

struct audit;

/* Where a log ends. */
struct audit_head {
	uint32_t file; /* 0: there is no log yet */
	uint64_t size; /* bytes of that file */
	uint64_t lines;
	uint8_t hash[SHA256_LEN]; /* of the last one */
};

/* What the owner of the head does for the log. */
struct audit_owner {
	int (*load)(void *arg, struct audit_head *ret);
	int (*save)(void *arg, const struct audit_head *h); /* durably */
	/* -ENOKEY: not now; then a full file grows on. */
	int (*key)(void *arg, struct key *ret);
	void *arg;
};

/* A request and its answer.  NULL and 0: it has none. */
struct audit_event {
	const char *request_id;
	const char *principal, *access_key, *peer;
	const char *action;
	const char *key, *version, *alias;
	const struct context *context;
	const char *result; /* "ok", or the error's code */
	const char *reason; /* what is told here alone */
	unsigned status;    /* as HTTP has it */
	uint64_t micros;    /* how long it took */
};

/* ${dir} is made, mode 0700, if it is missing.  -EBUSY: exclusive, and somebody
 * else has it.  What ${owner} names must live as long as the log. */
int audit_open(const char *dir, bool exclusive, const struct audit_owner *owner,
	       struct audit **ret) NONNULL CHECKED;
void audit_close(struct audit *a);
DEFINE_CLEANUP(struct audit, audit_close)

/* For tests: another size than AUDIT_FILE_MAX. */
void audit_set_file_max(struct audit *a, uint64_t size) NONNULL;

/**
 * audit_ready(a):
 * Whether a line can be written, as far as that can be known: there is room.
 * What cannot be recorded is not to be done, so this comes before.
 */
int audit_ready(struct audit *a) NONNULL CHECKED;

/**
 * audit_write(a, e, durable):
 * Append a line.  Once this returned 0 it survives the process, and, if
 * ${durable} or shared, the machine.
 */
int audit_write(struct audit *a, const struct audit_event *e, bool durable)
    NONNULL CHECKED;

/*
 * Looking a log over.  It may be in use meanwhile.
 */

/**
 * audit_verify(dir, head, key, from, fn, arg, ret):
 * Read the log from file ${from} (1: all of it) to its end, calling ${fn} for
 * each flaw.  ${key} NULL: seals are not checked.
 *
 * 0 whatever flaws there are; -ENOENT  there is no such file
 */
int audit_verify(const char *dir, const struct audit_head *head,
		 const struct key *key, uint32_t from,
		 void (*fn)(const struct kms_audit_flaw *f, void *arg),
		 void *arg, struct kms_audit_report *ret)
    __attribute__((__nonnull__(1, 2, 5, 7))) CHECKED;

/* Each line of the log, oldest first, without its line feed; ${fn} returns 0 to
 * go on, else its value is returned at once. */
int audit_each(const char *dir,
	       int (*fn)(const char *line, size_t len, void *arg), void *arg)
    __attribute__((__nonnull__(1, 2))) CHECKED;

/* The key that seals are made with, from the keystore key. */
int audit_key(const struct key *kek, struct key *ret) NONNULL CHECKED;

#endif
