/*
 * client_private.h - the embedded service's client, and what it writes down.
 *
 *     struct record c = { .action = "EnableKey", .key = id };
 *
 *     r = record_begin(k, &c);
 *     if (r == 0)
 *             r = record_end(k, &c, keys_enable(k->keys, id));
 *
 * Recorded is what uses keys or changes anything.  Whoever has the keystore can
 * read it without us: looks at keys are not.
 */
#ifndef SEALDISK_KMS_CLIENT_PRIVATE_H
#define SEALDISK_KMS_CLIENT_PRIVATE_H

#include <pthread.h>

#include <sealdisk/kms.h>

#include "keys.h"
#include "ledger.h"

struct kms {
	struct keys *keys;
	struct settings settings;
	pthread_mutex_t lock;  /* of ledger, until it is open */
	struct ledger *ledger; /* opened by the first call that is recorded */
};

/* One call: what is known before it, and after. */
struct record {
	const char *action;
	const char *key, *version; /* ids; ${key} may be an alias, too */
	const char *alias;         /* that is made, moved or removed */
	const struct context *context;
	uint64_t began; /* microseconds */
};

/* Whether it can be recorded, before it is done. */
int record_begin(struct kms *k, struct record *c) NONNULL CHECKED;
/* ${r}, the call's result, or why it could not be recorded: then nobody is to
 * learn of a result. */
int record_end(struct kms *k, struct record *c, int r) NONNULL CHECKED;

#endif
