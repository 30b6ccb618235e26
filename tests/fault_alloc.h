/*
 * fault_alloc.h - allocations that fail when a test says so.
 *
 * The linker sends here what Sealdisk's own code takes: memory, secret memory,
 * mappings, threads, folders that are read, contexts of ciphers.  What the test
 * and its fakes take is left alone (alloc_cppflags of Makefile.am), and what
 * libraries take for themselves, too, but for those of gcrypt that are named
 * here.  Only the thread counts that armed it.
 */
#ifndef SEALDISK_FAULT_ALLOC_H
#define SEALDISK_FAULT_ALLOC_H

#include <stdbool.h>

/**
 * alloc_arm(nth, lasting):
 * Fail the ${nth} allocation from now (1: the next); with ${lasting} all that
 * follow as well.  0: none.
 */
void alloc_arm(unsigned nth, bool lasting);

/* Whether any has failed since. */
bool alloc_fired(void);

/* For hooks of libraries: whether this allocation is to fail. */
bool alloc_strikes(void);

#endif
