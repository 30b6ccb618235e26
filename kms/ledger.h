/*
 * ledger.h - what the service writes down of each request: a line in the audit
 * log, and a count.
 *
 * Any thread, but not within a transaction; not carried over a fork.
 */
#ifndef SEALDISK_KMS_LEDGER_H
#define SEALDISK_KMS_LEDGER_H

#include <limits.h>
#include <stdbool.h>

#include <sealdisk/settings.h>

#include "audit.h"
#include "keys.h"
#include "usage.h"

struct ledger;

/* The folder of the audit log, which [keystore] audit names; "": none is
 * kept.  -ENAMETOOLONG */
int ledger_audit_dir(const struct settings *s, char out[static PATH_MAX])
    NONNULL CHECKED;

/* Of the keystore and root that ${k}, which must live as long, has open.
 * Exclusive and errors: as audit_open() has it. */
int ledger_open(const struct settings *s, struct keys *k, bool exclusive,
		struct ledger **ret) NONNULL CHECKED;
void ledger_close(struct ledger *l);
DEFINE_CLEANUP(struct ledger, ledger_close)

/* Before an action: whether it could be written down. */
int ledger_ready(struct ledger *l) NONNULL CHECKED;

/**
 * ledger_write(l, e, durable, billable):
 * Write down a request that was answered.  ${durable}: before this returns; it
 * is for what changes anything, so that who is told of it can count on its
 * line.
 */
int ledger_write(struct ledger *l, const struct audit_event *e, bool durable,
		 bool billable) NONNULL CHECKED;

/* Write down what this process has done to the keystore of ${s} as a whole: it
 * is opened for that, and not unlocked.  That it cannot be written is logged.
 */
void ledger_note(const struct settings *s, const char *action) NONNULL;

/* Encrypt, Decrypt and the like.  They are billable, but not with the service
 * key. */
bool ledger_is_data(const char *action) NONNULL;

/* Calls of ${month}, or, 0, all of them, and what is still in memory is written
 * first. */
int ledger_each_usage(struct ledger *l, unsigned month,
		      int (*fn)(const struct kms_usage *u, void *arg),
		      void *arg) __attribute__((__nonnull__(1, 3))) CHECKED;

/* As audit_verify(), of this ledger's log. */
int ledger_verify(struct ledger *l, uint32_t from,
		  void (*fn)(const struct kms_audit_flaw *f, void *arg),
		  void *arg, struct kms_audit_report *ret)
    __attribute__((__nonnull__(1, 3, 5))) CHECKED;

#endif
