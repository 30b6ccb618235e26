/*
 * group.c - blocks of one group, read.
 *
 * Blocks that lie side by side in the file are read with one call, into the
 * caller's buffer, and opened there in place.  The group's lock is held,
 * shared, all the while: so no slot that an entry names is given to another
 * block.
 */
#include "engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "group_private.h"

static void
block_fault(const struct chunk *c, uint64_t off, int err)
{
	char name[STORE_PATH_LEN];

	chunk_name(c, name);
	fault_log(c->layer->disk, "%s: block at offset %" PRIu64 " %s", name,
		  off, err == -ENODATA ? "is not there" : "does not verify");
}

/* ${n} blocks in slots side by side; ${off} is on a block. */
static int
read_run(struct scratch *s, struct chunk *c, const struct page *p, uint8_t *buf,
	 unsigned n, uint64_t off)
{
	const struct entry *e = &p->body.entry[block_of(off)];
	unsigned bno = (unsigned)(off % CHUNK_LEN / BLOCK_SIZE);
	struct store_file *f;
	int r;

	r = chunk_file(c, &f);
	if (r == 0)
		r = f->st->ops->read(f, buf, (size_t)n * BLOCK_SIZE,
				     slot_offset(p->index, e->slot));
	for (unsigned i = 0; r == 0 && i < n; i++) {
		uint8_t *b = buf + (size_t)i * BLOCK_SIZE;

		r = block_open(s, c, bno + i, e + i, b, b);
		if (r == -EBADMSG)
			off += (uint64_t)i * BLOCK_SIZE;
	}
	if (r == -EBADMSG || r == -ENODATA) {
		block_fault(c, off, r);
		r = -EBADMSG;
	}
	return r;
}

/* How many whole blocks from ${off} on lie side by side. */
static unsigned
run_length(const struct page *p, uint64_t off, size_t len)
{
	unsigned b = block_of(off), n = 1;
	const struct entry *e = &p->body.entry[b];

	while (b + n < GROUP_BLOCKS && (n + 1) * (size_t)BLOCK_SIZE <= len &&
	       e[n].state == ENTRY_DATA && e[n].slot == e[0].slot + n)
		n++;
	return n;
}

/* How many bytes from ${off} on have blocks of state ${state}. */
static size_t
same_state(const struct page *p, uint64_t off, size_t len, unsigned state)
{
	unsigned b = block_of(off);
	size_t n = BLOCK_SIZE - off % BLOCK_SIZE;

	while (n < len && ++b < GROUP_BLOCKS && p->body.entry[b].state == state)
		n += BLOCK_SIZE;
	return n < len ? n : len;
}

int
group_read_piece(struct scratch *s, struct chunk *c, const struct page *p,
		 uint8_t *buf, size_t len, uint64_t off, size_t *ret_n)
{
	const struct entry *e = &p->body.entry[block_of(off)];
	size_t in = off % BLOCK_SIZE, n;
	int r;

	if (e->state != ENTRY_DATA) {
		*ret_n = same_state(p, off, len, e->state);
		if (e->state == ENTRY_ZERO) {
			memset(buf, 0, *ret_n);
			return 0;
		}
		r = parent_read(c->layer, s, buf, *ret_n, off);
		/* The parent's chunk has another key. */
		return r < 0 || !c->layer->meta.has_parent ? r
							   : block_key(s, c);
	}
	if (in == 0 && len >= BLOCK_SIZE) {
		n = run_length(p, off, len);
		*ret_n = n * BLOCK_SIZE;
		return read_run(s, c, p, buf, (unsigned)n, off);
	}
	n = BLOCK_SIZE - in < len ? BLOCK_SIZE - in : len;
	*ret_n = n;
	r = read_run(s, c, p, s->temp, 1, off - in);
	if (r == 0)
		memcpy(buf, s->temp + in, n);
	return r;
}

static int
read_locked(struct scratch *s, struct chunk *c, uint8_t *buf, size_t len,
	    uint64_t off)
{
	struct page *p;
	size_t n;
	int r;

	if (c->dead)
		return -ESTALE;
	r = group_get(c, off / GROUP_LEN, s, false, &p);
	if (r < 0)
		return r;
	r = block_key(s, c);
	for (; r == 0 && len > 0; buf += n, off += n, len -= n)
		r = group_read_piece(s, c, p, buf, len, off, &n);
	page_release(p);
	return r;
}

int
group_read(struct layer *l, struct scratch *s, void *buf, size_t len,
	   uint64_t off)
{
	enum entry_state state;
	struct chunk *c;
	int r;

	r = layer_lookup(l, s, off / CHUNK_LEN, &state, &c);
	if (r < 0)
		return r;
	if (state == ENTRY_ZERO) {
		memset(buf, 0, len);
		return 0;
	}
	if (state == ENTRY_ABSENT)
		return parent_read(l, s, buf, len, off);
	pthread_rwlock_rdlock(&c->lock);
	r = read_locked(s, c, buf, len, off);
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return r;
}

/* ---- states ---- */

static int
states_locked(struct chunk *c, struct scratch *s, uint64_t group,
	      uint8_t ret[static GROUP_BLOCKS])
{
	struct page *p;
	int r;

	if (c->dead)
		return -ESTALE;
	r = group_get(c, group, s, false, &p);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < GROUP_BLOCKS; i++)
		ret[i] = p->body.entry[i].state;
	page_release(p);
	return 0;
}

int
own_states(struct layer *l, struct scratch *s, uint64_t group,
	   uint8_t ret[static GROUP_BLOCKS])
{
	enum entry_state state;
	struct chunk *c;
	int r;

	r = layer_lookup(l, s, group / CHUNK_GROUPS, &state, &c);
	if (r < 0)
		return r;
	memset(ret, (int)state, GROUP_BLOCKS);
	if (state != ENTRY_DATA)
		return 0;
	pthread_rwlock_rdlock(&c->lock);
	r = states_locked(c, s, group, ret);
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return r;
}

int
group_states(struct layer *l, struct scratch *s, uint64_t group,
	     uint8_t ret[static GROUP_BLOCKS])
{
	struct page *p;
	int r;

	r = own_states(l, s, group, ret);
	if (r < 0 || !l->meta.has_parent)
		return r;
	r = chain_get(l, group, s, &p);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < GROUP_BLOCKS; i++)
		if (ret[i] == ENTRY_ABSENT && p->body.from[i])
			ret[i] = ENTRY_DATA;
	page_release(p);
	return 0;
}
