/*
 * crowd.c - see crowd.h.
 */
#include "crowd.h"

#include <stdatomic.h>

#define LOOK_MS 200

static bool
is_full(const struct crowd *c)
{
	return atomic_load(&c->busy) >= atomic_load(&c->threads);
}

bool
crowd_begin(struct crowd *c)
{
	atomic_fetch_add(&c->busy, 1);
	return is_full(c) && !atomic_load(&c->full) &&
	       !atomic_exchange(&c->full, true);
}

void
crowd_end(struct crowd *c)
{
	atomic_fetch_add_explicit(&c->done, 1, memory_order_relaxed);
	atomic_fetch_sub(&c->busy, 1);
}

int
crowd_look(struct crowd *c, int64_t now_ms, bool *stuck)
{
	unsigned done = atomic_load(&c->done);

	*stuck = false;
	if (!atomic_load(&c->full))
		return -1;
	if (!is_full(c)) {
		c->since_ms = 0;
		/* At the second look only, so that where there are few threads
		 * not each request wakes whoever looks. */
		c->quiet = !c->quiet;
		if (c->quiet)
			return LOOK_MS;
		atomic_store(&c->full, false);
		/* Once more since then: that one may have said nothing. */
		if (!is_full(c) || atomic_exchange(&c->full, true))
			return -1;
	}
	c->quiet = false;
	if (!c->since_ms || done != c->done_then) {
		c->since_ms = now_ms;
		c->done_then = done;
	} else if (now_ms - c->since_ms >= CROWD_STUCK_MS) {
		c->since_ms = now_ms;
		*stuck = true;
	}
	return LOOK_MS;
}
