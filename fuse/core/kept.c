/*
 * kept.c - slots of attached disks, and the ring of what is not committed.
 */
#include "kept_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#define KEPT_VERSION 1
#define ASK_EVERY 2048 /* cells: how often it is looked whether to commit */

static const char magic[8] = "SDKEPT";

size_t
kept_size(void)
{
	return sizeof(struct kept);
}

void
kept_init(struct kept *k)
{
	memcpy(k->magic, magic, sizeof(magic));
	k->version = KEPT_VERSION;
	k->cell_len = sizeof(struct kept_cell);
	k->disk_len = sizeof(struct kept_disk);
	k->n_disks = KEPT_DISKS;
	k->n_cells = KEPT_CELLS;
}

int
kept_check(const struct kept *k, size_t len)
{
	bool same = len == sizeof(*k) &&
		    memcmp(k->magic, magic, sizeof(magic)) == 0 &&
		    k->version == KEPT_VERSION &&
		    k->cell_len == sizeof(struct kept_cell) &&
		    k->disk_len == sizeof(struct kept_disk) &&
		    k->n_disks == KEPT_DISKS && k->n_cells == KEPT_CELLS;

	return same ? 0 : -EPROTONOSUPPORT;
}

/* ---- slots ---- */

unsigned
kept_next(const struct kept *k, unsigned i, enum desc_type *ret_type,
	  struct uuid *ret_uuid)
{
	for (; i < KEPT_DISKS; i++) {
		const struct kept_disk *s = &k->disks[i];

		if (atomic_load(&s->state) != KEPT_ATTACHED)
			continue;
		*ret_type = (enum desc_type)s->type;
		*ret_uuid = s->uuid;
		break;
	}
	return i;
}

static void
wipe_dk(struct kept_dk *k)
{
	atomic_store(&k->valid, 0);
	secret_wipe(k->key, sizeof(k->key));
}

void
kept_forget(struct kept *k, unsigned slot)
{
	struct kept_disk *s = &k->disks[slot];

	/* In this order: one that is half wiped is none. */
	atomic_store(&s->state, KEPT_TAKEN);
	for (size_t i = 0; i < DISK_DKS; i++)
		wipe_dk(&s->dks[i]);
	atomic_store(&s->state, KEPT_FREE);
}

void
kept_sweep(struct kept *k)
{
	for (unsigned i = 0; i < KEPT_DISKS; i++)
		if (atomic_load(&k->disks[i].state) == KEPT_TAKEN)
			kept_forget(k, i);
}

static struct kept_disk *
take_slot(struct kept *k, unsigned *ret)
{
	for (unsigned i = 0; i < KEPT_DISKS; i++) {
		uint32_t free = KEPT_FREE;

		if (!atomic_compare_exchange_strong(&k->disks[i].state, &free,
						    KEPT_TAKEN))
			continue;
		*ret = i;
		if (atomic_load(&k->used) < i + 1)
			atomic_store(&k->used, i + 1);
		return &k->disks[i];
	}
	return NULL;
}

static void
set_dk(struct kept_dk *k, const struct disk_dk *dk)
{
	if (atomic_load(&k->valid) && uuid_equal(&k->uuid, &dk->uuid))
		return;
	wipe_dk(k);
	k->uuid = dk->uuid;
	memcpy(k->key, dk->key->bytes, sizeof(k->key));
	atomic_store(&k->valid, 1);
}

void
kept_dks(struct disk *d)
{
	if (!d->slot)
		return;
	pthread_mutex_lock(&d->layers_lock);
	for (size_t i = 0; i < DISK_DKS; i++)
		if (d->dks[i].key)
			set_dk(&d->slot->dks[i], &d->dks[i]);
		else
			wipe_dk(&d->slot->dks[i]);
	pthread_mutex_unlock(&d->layers_lock);
}

static int
give_lock(struct disk *d)
{
	const struct engine *e = d->e;
	int fd = d->lock && d->lock->st->ops->lock_fd
		     ? d->lock->st->ops->lock_fd(d->lock)
		     : -1;

	return fd >= 0 && e->keep_lock
		   ? e->keep_lock(e->keep_arg, d->slot_no, fd)
		   : 0;
}

void
kept_use(struct disk *d, struct kept_disk *s)
{
	pthread_mutex_lock(&d->mutex);
	d->slot = s;
	pthread_mutex_unlock(&d->mutex);
}

int
kept_claim(struct disk *d)
{
	struct kept *k = d->e->kept;
	struct kept_disk *s;
	int r;

	if (!k || d->brief)
		return 0;
	s = take_slot(k, &d->slot_no);
	if (!s)
		return -ENFILE;
	s->type = d->desc.type;
	s->uuid = d->desc.uuid;
	s->session = d->session;
	s->read_only = d->read_only;
	s->older = d->rolled_back;
	s->drop_cache = d->drop_cache;
	atomic_store(&s->failed, 0);
	atomic_store(&s->size, atomic_load(&d->size));
	atomic_store(&s->allocated, d->desc.allocated);
	atomic_store(&s->committed, atomic_load(&k->head));
	kept_use(d, s);
	kept_dks(d);
	r = give_lock(d);
	if (r == 0)
		atomic_store(&s->state, KEPT_ATTACHED);
	return r;
}

void
kept_release(struct disk *d)
{
	const struct engine *e = d->e;

	if (!d->slot)
		return;
	d->slot = NULL;
	kept_forget(e->kept, d->slot_no);
	if (e->drop_lock)
		e->drop_lock(e->keep_arg, d->slot_no);
}

/* ---- the ring ---- */

static struct kept_cell *
cell_at(struct kept *k, uint64_t pos)
{
	return &k->cells[pos % KEPT_CELLS];
}

static void
put(struct disk *d, uint64_t pos, struct kept_cell *c)
{
	struct kept_cell *to = cell_at(d->e->kept, pos);

	c->disk = (uint16_t)d->slot_no;
	memcpy(c->layer, d->top->ref.layer.bytes, sizeof(c->layer));
	/* Whoever is killed here leaves a cell that is none. */
	atomic_store_explicit(&to->seq, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	memcpy((uint8_t *)to + sizeof(to->seq), (uint8_t *)c + sizeof(c->seq),
	       sizeof(*c) - sizeof(c->seq));
	atomic_store_explicit(&to->seq, pos + 1, memory_order_release);
}

static uint64_t
reserve(struct disk *d, unsigned n)
{
	struct kept *k = d->e->kept;
	uint64_t pos = atomic_fetch_add(&k->head, n);

	if ((pos + n) / ASK_EVERY != pos / ASK_EVERY &&
	    pos + n - atomic_load(&k->tail) > KEPT_CELLS / 4)
		commit_ask(d);
	return pos;
}

/* How many entries from ${e} on are one cell. */
static unsigned
cell_len(const struct entry *e, unsigned n)
{
	unsigned i = 1;

	if (e->state == ENTRY_DATA)
		return 1;
	while (i < n && e[i].state == e->state)
		i++;
	return i;
}

void
kept_group(struct page *p, unsigned first, unsigned n)
{
	const struct entry *e = &p->body.entry[first];
	struct disk *d = p->disk;
	unsigned cells = 0;
	uint64_t pos;

	if (!d->slot || p->layer != d->top)
		return;
	for (unsigned i = 0; i < n; i += cell_len(e + i, n - i))
		cells++;
	pos = reserve(d, cells);
	for (unsigned i = 0, len; i < n; i += len) {
		struct kept_cell c = {
			.at = p->index * GROUP_BLOCKS + first + i,
			.kind = e[i].state == ENTRY_DATA ? KEPT_BLOCK
							 : KEPT_RUN,
			.entry = e[i],
		};

		len = cell_len(e + i, n - i);
		c.n = (uint16_t)len;
		memcpy(c.salt, p->chunk->salt, sizeof(c.salt));
		put(d, pos++, &c);
	}
}

void
kept_map(struct layer *l, uint64_t index, const struct entry *e)
{
	struct disk *d = l->disk;
	struct kept_cell c = { .at = index, .kind = KEPT_CHUNK, .entry = *e };

	if (d->slot && l == d->top && !d->unheard)
		put(d, reserve(d, 1), &c);
}

/* ---- what is committed ---- */

bool
kept_crowded(struct engine *e)
{
	struct kept *k = e->kept;

	return k &&
	       atomic_load_explicit(&k->head, memory_order_relaxed) -
		       atomic_load_explicit(&k->tail, memory_order_relaxed) >
		   KEPT_CELLS / 2;
}

uint64_t
kept_cut(struct disk *d)
{
	return d->slot ? atomic_load(&d->e->kept->head) : 0;
}

/*
 * A disk with nothing dirty and no commit under way needs none of the cells
 * that there were before it was looked at: whoever appends has marked his page
 * before.
 */
static void
look_whether_clean(struct disk *d, uint64_t head)
{
	pthread_mutex_lock(&d->mutex);
	if (d->slot && !d->committing && !disk_is_dirty(d))
		atomic_store(&d->slot->committed, head);
	pthread_mutex_unlock(&d->mutex);
}

/* What any slot needs, also that of a disk that is still to be resumed.  One
 * that has failed commits nothing any more: it must not hold up the others. */
static uint64_t
needed_from(const struct kept *k, uint64_t head)
{
	unsigned end = atomic_load(&k->used);
	uint64_t from = head;

	for (unsigned i = 0; i < end; i++) {
		const struct kept_disk *s = &k->disks[i];
		uint64_t at = atomic_load(&s->committed);

		if (atomic_load(&s->state) == KEPT_ATTACHED &&
		    !atomic_load(&s->failed) && at < from)
			from = at;
	}
	return from;
}

void
kept_count(struct disk *d)
{
	int64_t blocks = atomic_load(&d->allocated);

	if (d->slot)
		atomic_store(&d->slot->allocated,
			     blocks > 0 ? (uint64_t)blocks * BLOCK_SIZE : 0);
}

void
kept_committed(struct disk *d, uint64_t cut)
{
	struct engine *e = d->e;
	struct kept *k = e->kept;
	uint64_t head;

	if (!d->slot)
		return;
	atomic_store(&d->slot->committed, cut);
	kept_count(d);
	pthread_mutex_lock(&e->mutex);
	head = atomic_load(&k->head);
	for (struct link *l = e->disks.next; l != &e->disks; l = l->next)
		if (l != &d->all)
			look_whether_clean(LINK_OWNER(l, struct disk, all),
					   head);
	head = needed_from(k, head);
	if (head > atomic_load(&k->tail))
		atomic_store(&k->tail, head);
	pthread_mutex_unlock(&e->mutex);
}
