/*
 * fault_store.h - a store whose calls fail when a test says so.
 *
 * It wraps another store and owns it.  Any thread.
 */
#ifndef SEALDISK_FAULT_STORE_H
#define SEALDISK_FAULT_STORE_H

#include "store.h"

enum fault_kind {
	FAULT_OPEN = 1 << 0,
	FAULT_CREATE = 1 << 1,
	FAULT_READ = 1 << 2,
	FAULT_WRITE = 1 << 3,
	FAULT_PUNCH = 1 << 4,
	FAULT_TRUNCATE = 1 << 5,
	FAULT_SYNC = 1 << 6,
	FAULT_SYNC_DIR = 1 << 7,
	FAULT_SYNC_ALL = 1 << 8,
	FAULT_LIST = 1 << 9,
	FAULT_LOAD = 1 << 10,
	FAULT_REPLACE = 1 << 11,
	FAULT_RENAME = 1 << 12,
	FAULT_REMOVE = 1 << 13,
	FAULT_LOCK = 1 << 14, /* and what asks for one, or says whose it is */
	FAULT_SIZE = 1 << 15, /* size, allocated and space */
	FAULT_ALL = (1 << 16) - 1,
	FAULT_SYNCS = FAULT_SYNC | FAULT_SYNC_DIR | FAULT_SYNC_ALL,
	FAULT_CHANGES = FAULT_CREATE | FAULT_WRITE | FAULT_PUNCH |
			FAULT_TRUNCATE | FAULT_SYNCS | FAULT_REPLACE |
			FAULT_RENAME | FAULT_REMOVE,
};

enum fault_mode {
	FAULT_BEFORE, /* the call is not made */
	FAULT_AFTER,  /* it is made, and then said to have failed */
	FAULT_HALF,   /* a write does its first half; else as FAULT_BEFORE */
	FAULT_STUCK,  /* it waits for fault_let_go(), and is made then */
};

int fault_store_new(struct store *inner, struct store **ret) NONNULL CHECKED;
struct store *fault_inner(struct store *st) NONNULL;

/**
 * fault_arm(st, nth, err, lasting):
 * Fail the ${nth} call from now (1: the next) with ${err}; with ${lasting} all
 * that follow as well.  0: none.  Counts calls of the kinds set before.
 */
void fault_arm(struct store *st, unsigned nth, int err, bool lasting) NONNULL;
void fault_kinds(struct store *st, unsigned kinds) NONNULL; /* FAULT_ALL */
void fault_mode(struct store *st, enum fault_mode mode) NONNULL;
/* Only those on paths that have both in them count; "": all do. */
void fault_only(struct store *st, const char *part, const char *other) NONNULL;
/* Whether a call is stuck; and no longer let any be. */
bool fault_is_stuck(struct store *st) NONNULL;
void fault_let_go(struct store *st) NONNULL;
/* Whether any call has failed since fault_arm(). */
bool fault_fired(struct store *st) NONNULL;

/* Calls of ${kinds} that were made since the store was opened. */
uint64_t fault_count(struct store *st, unsigned kinds) NONNULL;

/* While ${full}: write, create, replace and truncate are -ENOSPC. */
void fault_full(struct store *st, bool full) NONNULL;

/* Called with the inner store and file (NULL: all) when a sync is to fail:
 * mem_store_lose(). */
void fault_on_sync(struct store *st,
		   void (*fn)(struct store *inner, struct store_file *f))
    __attribute__((__nonnull__(1)));

#endif
