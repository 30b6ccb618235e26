/*
 * kms_record.h - what the key service has written down: the audit log, and how
 * often it was called.
 *
 * Of the embedded service's keystore; or of that which a kmsd serves, on its
 * host.  Errors as in kms.h; -EOPNOTSUPP for a service that is elsewhere.
 */
#ifndef SEALDISK_KMS_RECORD_H
#define SEALDISK_KMS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/kms.h>

#define KMS_PRINCIPAL_LEN 96 /* "user/NAME", with its NUL */
#define KMS_ACTION_LEN 64

/* Calls of one action with one key, by one principal, in one month. */
struct kms_usage {
	unsigned month; /* 202611 */
	char principal[KMS_PRINCIPAL_LEN];
	char key[KMS_ID_LEN]; /* its id, or "" */
	char action[KMS_ACTION_LEN];
	bool billable;
	uint64_t calls;
};

/* Of ${month}, or, 0, of all, in order; ${fn} returns 0 to go on, else its
 * value is returned at once. */
int kms_each_usage(struct kms *k, unsigned month,
		   int (*fn)(const struct kms_usage *u, void *arg), void *arg)
    __attribute__((__nonnull__(1, 3))) CHECKED;

/* "2026-11" <-> 202611.  -EINVAL */
int kms_parse_month(const char *text, unsigned *ret) NONNULL CHECKED;
void kms_format_month(unsigned month, char out[static 8]) NONNULL;

/* Each line of the audit log, a JSON object, oldest first; as above.
 * -ENOENT: none is kept */
int kms_each_audit_line(struct kms *k,
			int (*fn)(const char *line, size_t len, void *arg),
			void *arg) __attribute__((__nonnull__(1, 2))) CHECKED;

/* One thing that is wrong with the log. */
struct kms_audit_flaw {
	uint32_t file;
	uint64_t line;    /* by its place in the log, or 0 */
	const char *what; /* plain words */
};

struct kms_audit_report {
	uint32_t first_file, last_file;
	uint64_t lines;    /* that were read */
	uint64_t unsealed; /* after the head: of a crash, or just written */
	uint64_t flaws;
	unsigned seals, seals_unchecked; /* there was no key for these */
};

/**
 * kms_verify_audit(k, from, fn, arg, ret):
 * Read the log from file ${from} (1: all of it), calling ${fn} for each flaw.
 * Of a keystore that is not unlocked, seals are not checked.  0 whatever flaws
 * there are.
 *
 * -ENOENT  there is no such file, or no log is kept
 */
int kms_verify_audit(struct kms *k, uint32_t from,
		     void (*fn)(const struct kms_audit_flaw *f, void *arg),
		     void *arg, struct kms_audit_report *ret)
    __attribute__((__nonnull__(1, 3, 5))) CHECKED;

#endif
