/*
 * secret.c - memory for what must never be seen.
 *
 * Memory comes from the kernel in slabs, since mlock works on whole pages and
 * RLIMIT_MEMLOCK counts them: 4000 chunk keys of 64 bytes are one slab, not
 * 4000 pages.  A slab is cut from its start into cells of a multiple of 64
 * bytes.  A freed cell is wiped and waits in the list of its size; cells are
 * never joined and slabs never given back, so that nothing is ever unlocked.
 * Sizes here are few (keys, pairs of keys, buffers of one size), and what one
 * disk gives back the next one takes.
 */
#include <sealdisk/secret.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "secret_private.h"

#define CELL_UNIT 64
#define SLAB_LEN (4 * (size_t)SECRET_MAX)

/* What a free cell holds: all zeros but for this. */
struct free_cell {
	struct free_cell *next;
};

static struct {
	pthread_mutex_t lock;
	struct free_cell *free[SECRET_MAX / CELL_UNIT + 1]; /* by units */
	uint8_t *fresh; /* the part of the newest slab never handed out */
	size_t fresh_units;
	size_t in_use;
	bool unlocked; /* a slab, or libgcrypt's pool, could not be locked */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

void
secret_wipe(void *p, size_t len)
{
	explicit_bzero(p, len);
}

/* Nobody reads these after a call (System V ABI: the caller saves them), so
 * that nothing need be told of them to the compiler. */
void
secret_wipe_registers(void)
{
#if defined(__x86_64__)
	if (!__builtin_cpu_supports("avx")) {
		__asm__ volatile(
		    "pxor %xmm0, %xmm0\n\tpxor %xmm1, %xmm1\n\t"
		    "pxor %xmm2, %xmm2\n\tpxor %xmm3, %xmm3\n\t"
		    "pxor %xmm4, %xmm4\n\tpxor %xmm5, %xmm5\n\t"
		    "pxor %xmm6, %xmm6\n\tpxor %xmm7, %xmm7\n\t"
		    "pxor %xmm8, %xmm8\n\tpxor %xmm9, %xmm9\n\t"
		    "pxor %xmm10, %xmm10\n\tpxor %xmm11, %xmm11\n\t"
		    "pxor %xmm12, %xmm12\n\tpxor %xmm13, %xmm13\n\t"
		    "pxor %xmm14, %xmm14\n\tpxor %xmm15, %xmm15");
		return;
	}
	__asm__ volatile("vzeroall");
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile(".irp n,16,17,18,19,20,21,22,23,24,25,26,27,"
				 "28,29,30,31\n\t"
				 "vpxord %zmm\\n, %zmm\\n, %zmm\\n\n\t"
				 ".endr");
#endif
}

int
secret_harden(void)
{
	const struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	return 0;
}

static size_t
units_of(size_t len)
{
	return (len + CELL_UNIT - 1) / CELL_UNIT;
}

static void
cell_put(void *p, size_t units)
{
	struct free_cell *cell = p;

	cell->next = pool.free[units];
	pool.free[units] = cell;
}

static int
slab_add(void)
{
	void *p = mmap(NULL, SLAB_LEN, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	if (mlock(p, SLAB_LEN) < 0)
		pool.unlocked = true;
	(void)madvise(p, SLAB_LEN, MADV_DONTDUMP);

	/* What is left of the slab before becomes one cell; see SLAB_LEN. */
	if (pool.fresh_units > 0)
		cell_put(pool.fresh, pool.fresh_units);
	pool.fresh = p;
	pool.fresh_units = SLAB_LEN / CELL_UNIT;
	return 0;
}

static void *
cell_get(size_t units)
{
	struct free_cell *cell = pool.free[units];
	void *p;

	if (cell) {
		pool.free[units] = cell->next;
		cell->next = NULL;
		return cell;
	}
	if (pool.fresh_units < units && slab_add() < 0)
		return NULL;
	p = pool.fresh;
	pool.fresh += units * CELL_UNIT;
	pool.fresh_units -= units;
	return p;
}

void *
secret_alloc(size_t len)
{
	void *p;

	if (len == 0 || len > SECRET_MAX)
		return NULL;
	(void)pthread_mutex_lock(&pool.lock);
	p = cell_get(units_of(len));
	pool.in_use += p != NULL;
	(void)pthread_mutex_unlock(&pool.lock);
	return p;
}

void
secret_free(void *p, size_t len)
{
	if (!p)
		return;
	secret_wipe(p, units_of(len) * CELL_UNIT);
	(void)pthread_mutex_lock(&pool.lock);
	cell_put(p, units_of(len));
	pool.in_use--;
	(void)pthread_mutex_unlock(&pool.lock);
}

void
secret_note_unlocked(void)
{
	(void)pthread_mutex_lock(&pool.lock);
	pool.unlocked = true;
	(void)pthread_mutex_unlock(&pool.lock);
}

bool
secret_locked(void)
{
	bool unlocked;

	(void)pthread_mutex_lock(&pool.lock);
	unlocked = pool.unlocked;
	(void)pthread_mutex_unlock(&pool.lock);
	return !unlocked;
}

size_t
secret_in_use(void)
{
	size_t n;

	(void)pthread_mutex_lock(&pool.lock);
	n = pool.in_use;
	(void)pthread_mutex_unlock(&pool.lock);
	return n;
}
