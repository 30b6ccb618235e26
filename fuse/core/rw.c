/*
 * rw.c - reads, writes and zeros of any offset and length, cut into groups.
 *
 * Where a piece says that a commit must come first (-EAGAIN) or that its chunk
 * was just replaced (-ESTALE), it is tried again with no lock held.
 */
#include "kept_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

static const uint8_t zero_block[BLOCK_SIZE];

/* 0: try again. */
static int
again(struct disk *d, int r)
{
	if (r == -ESTALE)
		return 0;
	return r == -EAGAIN ? commit_for_room(d) : r;
}

static size_t
piece(uint64_t off, uint64_t len)
{
	uint64_t n = GROUP_LEN - off % GROUP_LEN;

	return (size_t)(n < len ? n : len);
}

bool
disk_is_damage(int err)
{
	return err < 0 && !err_is_shortage(err) && err != -ENOSPC &&
	       err != -EDQUOT && err != -EROFS && err != -ECANCELED;
}

int
disk_read(struct disk *d, struct scratch *s, void *buf, size_t len,
	  uint64_t off)
{
	uint8_t *p = buf;
	uint64_t size = atomic_load(&d->size);
	int r = 0;

	if (off > size || len > size - off)
		return -EINVAL;
	atomic_fetch_add_explicit(&d->reads, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&d->read_bytes, len, memory_order_relaxed);
	while (r == 0 && len > 0) {
		size_t n = piece(off, len);

		pthread_rwlock_rdlock(&d->barrier);
		r = group_read(d->top, s, p, n, off);
		pthread_rwlock_unlock(&d->barrier);
		if (r < 0) {
			r = again(d, r);
			continue;
		}
		p += n;
		off += n;
		len -= n;
	}
	return r;
}

static int
check_writable(struct disk *d)
{
	return d->read_only || atomic_load(&d->failed) ? -EROFS : 0;
}

/* A write that ended past the end: there is the end now. */
static void
grow(struct disk *d, uint64_t end)
{
	end = (end + 511) / 512 * 512;
	pthread_mutex_lock(&d->size_lock);
	if (end > atomic_load(&d->size)) {
		atomic_store(&d->size, end);
		if (d->slot)
			atomic_store(&d->slot->size, end);
		atomic_store(&d->size_dirty, true);
	}
	pthread_mutex_unlock(&d->size_lock);
	pthread_mutex_lock(&d->mutex);
	if (d->dirty_since == 0) {
		d->dirty_since = now_ms();
		pthread_cond_signal(&d->wake);
	}
	pthread_mutex_unlock(&d->mutex);
}

int
disk_write(struct disk *d, struct scratch *s, const void *buf, size_t len,
	   uint64_t off)
{
	const uint8_t *p = buf;
	int r = check_writable(d);

	if (off > DISK_SIZE_MAX || len > DISK_SIZE_MAX - off)
		return -EFBIG;
	atomic_fetch_add_explicit(&d->writes, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&d->write_bytes, len, memory_order_relaxed);
	if (r == 0 && len > 0 && off + len > atomic_load(&d->size))
		grow(d, off + len);
	while (r == 0 && len > 0) {
		size_t n = piece(off, len);

		pthread_rwlock_rdlock(&d->barrier);
		r = group_write(d, s, p, n, off);
		pthread_rwlock_unlock(&d->barrier);
		if (r < 0) {
			r = again(d, r);
			continue;
		}
		p += n;
		off += n;
		len -= n;
	}
	return r;
}

/* ---- zeros ---- */

/* The first chunk from ${index} on that any layer may have; UINT64_MAX. */
static int
next_chunk(struct disk *d, struct scratch *s, uint64_t index, uint64_t *ret)
{
	int r = layer_next(d->top, s, index, ret);

	return r == 0 ? chain_next(d->top, s, index, ret) : r;
}

/* Nothing but what some map has is to be cleared: jump there. */
static int
skip_absent(struct disk *d, struct scratch *s, uint64_t *off)
{
	uint64_t next;
	int r;

	if (*off % CHUNK_LEN)
		return 0;
	r = next_chunk(d, s, *off / CHUNK_LEN, &next);
	if (r == 0)
		*off = next > DISK_SIZE_MAX / CHUNK_LEN ? DISK_SIZE_MAX
							: next * CHUNK_LEN;
	return r;
}

static int
zero_chunk(struct disk *d, struct scratch *s, uint64_t index)
{
	bool parent;
	int r;

	r = layer_parent_has(d->top, s, index, &parent);
	if (r < 0)
		return r;
	return chunk_discard(d->top, s, index,
			     parent ? ENTRY_ZERO : ENTRY_ABSENT);
}

/* The first piece of a range whose end is on a block or on the disk's. */
static int
zero_piece(struct disk *d, struct scratch *s, uint64_t off, uint64_t len,
	   size_t *ret_n)
{
	size_t n;

	if (kept_crowded(d->e))
		return -EAGAIN;
	if (off % BLOCK_SIZE || len < BLOCK_SIZE) {
		n = BLOCK_SIZE - off % BLOCK_SIZE;
		*ret_n = n < len ? n : (size_t)len;
		return group_write(d, s, zero_block, *ret_n, off);
	}
	if (off % CHUNK_LEN == 0 && len >= CHUNK_LEN) {
		*ret_n = CHUNK_LEN;
		return zero_chunk(d, s, off / CHUNK_LEN);
	}
	*ret_n = piece(off, len / BLOCK_SIZE * BLOCK_SIZE);
	return group_zero(d, s, off, *ret_n);
}

/* Past the end there is nothing: the last block, and the last chunk, go whole.
 */
static uint64_t
zero_end(uint64_t end, uint64_t size)
{
	if (end < size)
		return end;
	return (size + CHUNK_LEN - 1) / CHUNK_LEN * CHUNK_LEN;
}

int
disk_zero(struct disk *d, struct scratch *s, uint64_t off, uint64_t len)
{
	uint64_t size = atomic_load(&d->size), end;
	int r = check_writable(d);

	if (off >= size || len == 0)
		return r;
	end = zero_end(len > size - off ? size : off + len, size);
	atomic_fetch_add_explicit(&d->zeros, 1, memory_order_relaxed);
	while (r == 0 && off < end) {
		size_t n = 0;

		pthread_rwlock_rdlock(&d->barrier);
		r = skip_absent(d, s, &off);
		if (r == 0 && off < end)
			r = zero_piece(d, s, off, end - off, &n);
		pthread_rwlock_unlock(&d->barrier);
		if (r < 0)
			r = again(d, r);
		else
			off += n;
	}
	return r;
}

int
disk_flush(struct disk *d)
{
	atomic_fetch_add_explicit(&d->flushes, 1, memory_order_relaxed);
	return commit_wait(d);
}

/* ---- where data is ---- */

/* The first offset in this group, from ${off} on, that is data or is not. */
static int
seek_group(struct disk *d, struct scratch *s, uint64_t off, bool data,
	   uint64_t *ret)
{
	uint8_t state[GROUP_BLOCKS];
	uint64_t base = off / GROUP_LEN * GROUP_LEN;
	int r;

	r = group_states(d->top, s, off / GROUP_LEN, state);
	if (r < 0)
		return r;
	for (uint64_t b = (off - base) / BLOCK_SIZE; b < GROUP_BLOCKS; b++)
		if ((state[b] == ENTRY_DATA) == data) {
			uint64_t at = base + b * BLOCK_SIZE;

			*ret = at > off ? at : off;
			return 0;
		}
	*ret = base + GROUP_LEN;
	return 1;
}

/* 0: *${off} is it.  1: on from there. */
static int
seek_step(struct disk *d, struct scratch *s, uint64_t size, bool data,
	  uint64_t *off)
{
	uint64_t next;
	int r;

	r = next_chunk(d, s, *off / CHUNK_LEN, &next);
	if (r < 0)
		return r;
	if (next != *off / CHUNK_LEN) {
		if (!data)
			return 0;
		*off = next > DISK_SIZE_MAX / CHUNK_LEN ? size
							: next * CHUNK_LEN;
		if (*off >= size)
			return 0;
	}
	return seek_group(d, s, *off, data, off);
}

int
disk_seek(struct disk *d, struct scratch *s, uint64_t off, bool data,
	  uint64_t *ret_off)
{
	uint64_t size = atomic_load(&d->size);
	int r = 1;

	if (off >= size)
		return -ENXIO;
	while (r != 0 && off < size) {
		pthread_rwlock_rdlock(&d->barrier);
		r = seek_step(d, s, size, data, &off);
		pthread_rwlock_unlock(&d->barrier);
		if (r < 0) {
			r = again(d, r);
			if (r < 0)
				return r;
			r = 1;
		}
	}
	if (off >= size && data)
		return -ENXIO;
	*ret_off = off < size ? off : size;
	return 0;
}
