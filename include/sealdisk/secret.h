/*
 * secret.h - memory for what must never be seen.
 *
 * Cells come from slabs that are locked, left out of core dumps and wiped when
 * freed.  Where locking is refused (RLIMIT_MEMLOCK without CAP_IPC_LOCK) the
 * slab is used all the same and secret_locked() says so; a program warns once.
 *
 * What this cannot do: what a library copies for itself, and registers while a
 * key is being used; secret_wipe_registers() is for when it is not.
 *
 * All functions may be called from any thread.
 */
#ifndef SEALDISK_SECRET_H
#define SEALDISK_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>

#define KEY_LEN 32 /* bytes; every key in Sealdisk: CMK, DK, and derived */

struct key {
	uint8_t bytes[KEY_LEN];
};

/* Overwrite ${len} bytes at ${p}; never optimised away. */
void secret_wipe(void *p, size_t len);

/**
 * secret_wipe_registers():
 * Clear this thread's vector registers.  A copy of 32 bytes goes through one of
 * them and stays there, as does what a cipher works on, until somebody needs
 * the register; and the kernel keeps them of a thread that sleeps, where a core
 * dump takes them from.  For threads that go to sleep after handling keys. Does
 * nothing on other processors than x86-64.
 */
void secret_wipe_registers(void);

/* CLEANUP(key_wipe) struct key k: for a key on the stack. */
static inline void
key_wipe(struct key *k)
{
	secret_wipe(k, sizeof(*k));
}

/**
 * secret_harden():
 * Make this process undumpable (PR_SET_DUMPABLE 0, RLIMIT_CORE 0).  Called
 * first thing in every program, before any secret is read.
 */
int secret_harden(void) CHECKED;

/**
 * secret_alloc(len):
 * ${len} (1 to SECRET_MAX) zeroed bytes of secret memory, aligned to 64, or
 * NULL when there is no memory.  Released by secret_free().
 */
#define SECRET_MAX 65536
void *secret_alloc(size_t len) CHECKED;

/* Wipe and release; ${len} as it was allocated.  NULL is allowed. */
void secret_free(void *p, size_t len);

/* Whether every slab so far, and libgcrypt's pool, could be locked. */
bool secret_locked(void);

/* Cells in use, for tests and for `doctor`. */
size_t secret_in_use(void);

#endif
