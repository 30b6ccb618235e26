/*
 * recount.c - how many blocks a disk holds, after an unclean stop.
 *
 * The descriptor has the number of the last clean detach, and every change is
 * added to it.  What a session changed that did not end well is nowhere; so
 * after such a one all chunks of the top layer are counted, as checkpoint.c
 * comes by them anyway: one after another, in the background.
 *
 * Meanwhile blocks come and go.  A bit a chunk says that it has been counted;
 * what changes in one that has not been is left out of the sum.  What was added
 * for such changes, and what the descriptor said, is subtracted in the end,
 * when all have been counted: `correction` is the sum less that.  A chunk that
 * is made now needs no counting, for all its changes are known.
 *
 * Bits change under the chunk's lock, held exclusively, or where nobody can
 * know of the chunk yet; blocks change with it held shared.
 */
#include "engine_private.h"

#include <errno.h>
#include <sys/mman.h>

#define BITS_LEN (CHANGED_WORDS * sizeof(uint64_t))

static uint64_t
bit(uint64_t index)
{
	return 1ULL << (index % 64);
}

int
recount_begin(struct layer *l)
{
	struct recount *c = &l->recount;
	void *p = mmap(NULL, BITS_LEN, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	recount_end(l);
	atomic_store(&c->correction, -atomic_load(&l->disk->allocated));
	c->counted = p;
	c->going_on = true;
	return 0;
}

void
recount_end(struct layer *l)
{
	if (l->recount.counted)
		munmap(l->recount.counted, BITS_LEN);
	l->recount.counted = NULL;
}

bool
recount_needs(const struct layer *l, uint64_t index)
{
	const struct recount *c = &l->recount;

	return c->counted &&
	       !(atomic_load(&c->counted[index / 64]) & bit(index));
}

void
recount_known(struct layer *l, uint64_t index)
{
	if (l->recount.counted)
		atomic_fetch_or(&l->recount.counted[index / 64], bit(index));
}

void
recount_chunk(struct layer *l, uint64_t index, unsigned blocks)
{
	if (!recount_needs(l, index))
		return;
	atomic_fetch_add(&l->recount.correction, blocks);
	recount_known(l, index);
}

void
blocks_changed(struct layer *l, uint64_t index, int64_t blocks)
{
	if (recount_needs(l, index))
		atomic_fetch_sub(&l->recount.correction, blocks);
	atomic_fetch_add(&l->disk->allocated, blocks);
}

void
recount_done(struct layer *l)
{
	struct recount *c = &l->recount;

	if (!c->going_on)
		return;
	c->going_on = false;
	atomic_fetch_add(&l->disk->allocated,
			 atomic_exchange(&c->correction, 0));
}
