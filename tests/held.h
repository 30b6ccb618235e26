/*
 * held.h - a chunk's file may be closed by whoever needs a descriptor unless
 * the chunk is held (chunk->lock) or has writes that are not synced.  Here
 * every read and write of a store is asked whether that is so.
 *
 * One engine at a time; where it has threads, one that reads unheld beside one
 * that holds the same chunk goes unseen.
 */
#ifndef SEALDISK_HELD_H
#define SEALDISK_HELD_H

#include "engine_env.h"
#include "engine_private.h"

static struct {
	const struct store_ops *below;
	struct store_ops ops;
	struct engine_env *env;
	unsigned unheld;
} held;

static inline void
held_ask(struct store_file *f)
{
	struct cache *ca = held.env->e ? &held.env->e->cache : NULL;

	for (unsigned i = 0; ca && i < ca->fresh_chunks; i++) {
		struct chunk *c = &ca->chunk[i];

		if (!c->disk || atomic_load(&c->file) != f ||
		    atomic_load(&c->unsynced) ||
		    pthread_rwlock_trywrlock(&c->lock) != 0)
			continue;
		pthread_rwlock_unlock(&c->lock);
		held.unheld++;
	}
}

static inline int
held_read(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	held_ask(f);
	return held.below->read(f, buf, len, off);
}

static inline int
held_write(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	held_ask(f);
	return held.below->write(f, buf, len, off);
}

/* From here on. */
static inline void
held_watch(struct engine_env *env)
{
	held.env = env;
	held.unheld = 0;
	held.below = env->st->ops;
	held.ops = *held.below;
	held.ops.read = held_read;
	held.ops.write = held_write;
	env->st->ops = &held.ops;
}

static inline void
held_always(void)
{
	assert_int_equal(held.unheld, 0);
}

#endif
