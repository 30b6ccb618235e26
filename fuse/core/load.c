/*
 * load.c - a page comes from its two copies (format.md, the table under
 * "Attach, crash, recovery").
 *
 *   equal                    at rest
 *   one valid, in its home   go on; the next commit or mirror writes the other
 *   one valid, as a mirror   put it into its home, synced, before it serves
 *   both valid, different    settle
 *   none valid               a fault
 *
 * To settle is to find out how much of the last commit reached the medium: an
 * entry in which the copies differ is the newer one where its block verifies,
 * else the older.  Where an older one was taken, the table that results is
 * written over the newer copy (generation + 2 has the same home) and synced
 * before anybody reads by it; else a second crash could find the newer copy
 * whole, and with it blocks that had been given up.
 *
 * A map page and a root page are written only when all that they name is
 * durable, so there the newer copy is right.
 */
#include "kept_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#include "planted.h"

struct copies {
	uint8_t raw[2][PAGE_LEN];
	struct page_head head[2];
	union page_body body[2];
	int error[2]; /* 0: valid */
};

int
page_home_of(struct page *p, const uint8_t **ret_key,
	     struct store_file **ret_file, uint64_t *ret_base)
{
	if (p->kind != PAGE_GROUP) {
		*ret_key = p->layer->map_key->bytes;
		*ret_file = p->layer->map;
		*ret_base = p->kind == PAGE_MAP ? MAP_OFFSET : 0;
		return 0;
	}
	*ret_key = p->chunk->keys + KEY_LEN;
	*ret_base = SUPER_LEN;
	return chunk_file(p->chunk, ret_file);
}

/* Its number among the pages of its file. */
static uint64_t
page_number(const struct page *p)
{
	return p->kind == PAGE_GROUP ? p->index % CHUNK_GROUPS : p->index;
}

int
page_write_copy(struct page *p, unsigned copy, const uint8_t *raw, bool sync)
{
	struct store_file *f;
	const uint8_t *key;
	uint64_t base;
	int r;

	r = page_home_of(p, &key, &f, &base);
	if (r == 0)
		r = f->st->ops->write(f, raw, PAGE_LEN,
				      base + page_offset(page_number(p), copy));
	if (r < 0 || !sync)
		return r;
	/* Its error may be that of other writes to the file, and it is told
	 * only once. */
	r = f->st->ops->sync(f);
	return r < 0 ? disk_fail(p->disk, r, "a page cannot be synced") : 0;
}

static void
page_name(const struct page *p, char out[static STORE_PATH_LEN + 64])
{
	char file[STORE_PATH_LEN] = "map";

	if (p->kind == PAGE_GROUP)
		chunk_name(p->chunk, file);
	(void)snprintf(out, STORE_PATH_LEN + 64, "%s: %s page %" PRIu64, file,
		       p->kind == PAGE_GROUP ? "group"
		       : p->kind == PAGE_MAP ? "map"
					     : "root",
		       p->index);
}

/* A passing fault of the medium, or of the network to it, is given another
 * chance. */
static int
read_copy(struct store_file *f, uint8_t *raw, uint64_t at)
{
	int r = f->st->ops->read(f, raw, PAGE_LEN, at);

	if (r < 0 && r != -ENODATA)
		r = f->st->ops->read(f, raw, PAGE_LEN, at);
	return r;
}

/* -EIO: could not be read; what cannot verify is in error[]. */
static int
read_copies(struct page *p, struct copies *c)
{
	struct store_file *f;
	const uint8_t *key;
	uint64_t base;
	int r;

	r = page_home_of(p, &key, &f, &base);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < 2; i++) {
		c->error[i] = read_copy(f, c->raw[i],
					base + page_offset(page_number(p), i));
		/*
		 * What cannot be read is not what does not verify.  At rest
		 * the copies are equal and one on a bad sector can be done
		 * without; else it may be the newer one.
		 */
		if (c->error[i] < 0 && c->error[i] != -ENODATA &&
		    (!atomic_load(&p->layer->at_rest) ||
		     err_is_shortage(c->error[i])))
			return c->error[i];
	}
	for (unsigned i = 0; i < 2; i++) {
		if (i == 1 && !c->error[0] && !c->error[1] &&
		    memcmp(c->raw[0], c->raw[1], PAGE_LEN) == 0) {
			c->head[1] = c->head[0];
			return 0;
		}
		if (!c->error[i])
			c->error[i] = page_decode(c->raw[i], key, p->kind,
						  p->index, &c->head[i],
						  &c->body[i]);
	}
	return 0;
}

static void
take_head(struct page *p, const struct page_head *h,
	  const uint8_t raw[static PAGE_LEN])
{
	memcpy(p->mac, raw + PAGE_MAC, sizeof(p->mac));
	p->generation = h->generation;
	p->session = h->session;
	p->cipher = h->cipher;
	p->seals = h->seals;
}

static void
slots_of(const union page_body *b, struct slots *s)
{
	for (unsigned i = 0; i < PAGE_ENTRIES; i++)
		if (b->entry[i].state == ENTRY_DATA)
			slots_add(s, b->entry[i].slot);
}

/* One copy alone is valid. */
static int
take_single(struct page *p, const struct copies *c, unsigned which)
{
	unsigned home = page_home(c->head[which].generation);
	char name[STORE_PATH_LEN + 64];
	int r;

	take_head(p, &c->head[which], c->raw[which]);
	p->body = c->body[which];
	p->same = false;
	atomic_fetch_add(&p->layer->disk->repairs, 1);
	/* Torn by a crash, if there was one; else it is rot. */
	page_name(p, name);
	log_warn("disk %s: %s: one copy does not verify, the other serves",
		 p->disk->desc.name, name);
	if (which == home || layer_is_frozen(p->layer))
		return 0;
	/* A mirror's place is where the next commit goes: first home. */
	r = page_write_copy(p, home, c->raw[which], true);
	p->same = r == 0;
	return r;
}

/* 1: yes.  0: no.  Negative: that could not be found out. */
static int
entry_verifies(struct page *p, struct scratch *s, unsigned i,
	       const struct entry *e)
{
	struct store_file *f;
	unsigned bno = (unsigned)(p->index % CHUNK_GROUPS) * GROUP_BLOCKS + i;
	int r;

	if (p->kind != PAGE_GROUP || e->state != ENTRY_DATA)
		return 1;
	r = chunk_file(p->chunk, &f);
	if (r == 0)
		r = f->st->ops->read(f, s->temp, BLOCK_SIZE,
				     slot_offset(p->index, e->slot));
	if (r == 0)
		r = block_open(s, p->chunk, bno, e, s->temp, s->temp);
	if (r == -EBADMSG || r == -ENODATA)
		return 0;
	return r < 0 ? r : 1;
}

/* The table that the two copies come to; how many older entries it took. */
static int
settle_entries(struct page *p, struct scratch *s, const union page_body *newer,
	       const union page_body *older, unsigned *ret_older)
{
	unsigned n = 0;
	int r;

	r = p->kind == PAGE_GROUP ? block_key(s, p->chunk) : 0;
	if (r < 0)
		return r;
	p->body = *newer;
	for (unsigned i = 0; p->kind != PAGE_ROOT && i < PAGE_ENTRIES; i++) {
		const struct entry *a = &newer->entry[i], *b = &older->entry[i];

		if (memcmp(a, b, sizeof(*a)) == 0)
			continue;
		r = entry_verifies(p, s, i, a);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		p->body.entry[i] = *b;
		n++;
	}
	*ret_older = n;
	return 0;
}

static int
write_settled(struct page *p)
{
	struct page_head h = { p->kind,    p->index,  p->generation,
			       p->session, p->cipher, p->seals };
	uint8_t raw[PAGE_LEN];
	struct store_file *f;
	const uint8_t *key;
	uint64_t base;
	int r;

	r = page_home_of(p, &key, &f, &base);
	if (r == 0)
		r = page_encode(&h, &p->body, key, raw);
	if (r == 0)
		memcpy(p->mac, raw + PAGE_MAC, sizeof(p->mac));
	if (r == 0)
		r = page_write_copy(p, page_home(p->generation), raw, true);
	return r;
}

static int
settle(struct page *p, struct scratch *s, const struct copies *c)
{
	unsigned nw = page_newer(&c->head[0], &c->head[1]) ? 0 : 1;
	unsigned older = 0;
	int r;

	take_head(p, &c->head[nw], c->raw[nw]);
	p->same = false;
	r = settle_entries(p, s, &c->body[nw], &c->body[!nw], &older);
	if (r < 0)
		return r;
	if (c->head[!nw].seals > p->seals)
		p->seals = c->head[!nw].seals;
	/* Until the next durable commit a crash can bring back either. */
	slots_of(&c->body[!nw], &p->prot);
	p->drop_older = true;
	/* Nothing is committed over either any more, so there is nothing that
	 * a second crash could mix up. */
	if (layer_is_frozen(p->layer))
		return 0;
	/* We never leave the newer copy away from its home, but somebody may
	 * have put an old page there: the next commit would go over it. */
	if (older == 0 && nw != page_home(p->generation)) {
		r = page_write_copy(p, !nw, c->raw[nw], true);
		p->same = r == 0;
	}
	if (older == 0 || PLANTED(SETTLED_IN_MEMORY))
		return r;
	log_note("settled %u blocks of group %" PRIu64
		 " to the state before an interrupted commit",
		 older, p->index);
	atomic_fetch_add(&p->layer->disk->repairs, 1);
	p->generation += 2;
	if (p->session < p->layer->disk->session)
		p->session = p->layer->disk->session;
	r = write_settled(p);
	/* A digest may just be being made of what was there before. */
	if (p->kind == PAGE_GROUP)
		checkpoint_changed(p->layer, p->index / CHUNK_GROUPS);
	return r;
}

static int
load(struct page *p, struct scratch *s, struct copies *c)
{
	char name[STORE_PATH_LEN + 64];
	int r;

	r = read_copies(p, c);
	if (r < 0)
		return r;
	if (c->error[0] && c->error[1]) {
		page_name(p, name);
		fault_log(p->disk, "%s: neither copy verifies", name);
		r = c->error[0] == -EIO ? -EIO : -EBADMSG;
	} else if (c->error[0] || c->error[1]) {
		r = take_single(p, c, c->error[0] ? 1 : 0);
	} else if (c->head[0].generation == c->head[1].generation &&
		   memcmp(c->raw[0], c->raw[1], PAGE_LEN) == 0) {
		take_head(p, &c->head[0], c->raw[0]);
		p->body = c->body[0];
		p->same = true;
	} else {
		r = settle(p, s, c);
	}
	return r == 0 ? checkpoint_page(p) : r;
}

int
page_load(struct page *p, struct scratch *s)
{
	struct copies c;
	struct disk *d = p->layer->disk;
	int r;

	r = load(p, s, &c);
	/* What is frozen others may have open, too: nobody writes to it. */
	if (r == 0 && layer_is_frozen(p->layer))
		p->same = true;
	if (r == 0 && p->kind == PAGE_GROUP) {
		slots_of(&p->body, &p->used);
		slots_or(&p->prot, &p->used);
		slots_or(&p->space, &p->prot);
		p->space_unknown = !p->chunk->made;
	}
	if (r == 0 && !p->same) {
		pthread_mutex_lock(&d->mutex);
		link_append(&d->quiet, &p->quiet_link);
		pthread_cond_signal(&d->wake);
		pthread_mutex_unlock(&d->mutex);
	}
	p->state = r == 0 ? PAGE_LOADED : PAGE_FAILED;
	p->error = r;
	p->touched = now_ms();
	if (r == 0 && p->kind == PAGE_GROUP)
		replay_page(p);
	return r;
}

void
page_release(struct page *p)
{
	pthread_rwlock_unlock(&p->lock);
	page_put(p);
}

/* A page that page_get() gave: load it if it is new, and lock it. */
static int
ready(struct page *p, bool is_new, struct scratch *s, bool exclusive,
      struct chunk *c)
{
	int r;

	if (is_new) {
		if (c) {
			chunk_ref(c);
			p->chunk = c;
		}
		r = page_load(p, s);
		if (r < 0)
			page_unhash(p);
		if (r == 0 && !exclusive) {
			pthread_rwlock_unlock(&p->lock);
			pthread_rwlock_rdlock(&p->lock);
		}
	} else if (exclusive) {
		pthread_rwlock_wrlock(&p->lock);
	} else {
		pthread_rwlock_rdlock(&p->lock);
	}
	/* Whoever waited for a load that failed shares its error. */
	r = p->state == PAGE_LOADED ? 0 : p->error;
	if (r < 0)
		page_release(p);
	return r;
}

int
group_get(struct chunk *c, uint64_t group, struct scratch *s, bool exclusive,
	  struct page **ret)
{
	struct page *p;
	bool is_new;
	int r;

	r = page_get(c->layer, PAGE_GROUP, group, &p, &is_new);
	if (r < 0)
		return r;
	r = ready(p, is_new, s, exclusive, c);
	if (r == 0)
		*ret = p;
	return r;
}

/* A map page that no file has yet: all its chunks are absent. */
static void
map_begin(struct page *p)
{
	memset(&p->body, 0, sizeof(p->body));
	p->fresh = true;
	p->same = true;
	p->state = PAGE_LOADED;
}

/* Whether the root pages say that there is such a map page. */
static int
map_known(struct layer *l, uint64_t n, struct scratch *s, bool *ret)
{
	unsigned bit = n % ROOT_BITS;
	struct page *root;
	int r;

	r = root_get(l, n / ROOT_BITS, s, &root);
	if (r < 0)
		return r;
	pthread_rwlock_rdlock(&root->lock);
	*ret = root->body.bitmap[bit / 8] >> (bit % 8) & 1;
	pthread_rwlock_unlock(&root->lock);
	return 0;
}

int
map_get(struct layer *l, uint64_t n, struct scratch *s, bool exclusive,
	bool make, struct page **ret)
{
	bool is_new, known;
	struct page *p;
	int r;

	if (n / ROOT_BITS >= ROOTS)
		return -EFBIG;
	r = map_known(l, n, s, &known);
	if (r == 0 && !make && !known)
		r = -ENOENT;
	if (r == 0)
		r = page_get(l, PAGE_MAP, n, &p, &is_new);
	if (r < 0)
		return r;
	/* Asked again: the page may have come, been committed and gone.  That
	 * root page is there, so that this cannot fail. */
	if (is_new && map_known(l, n, s, &known) == 0 && !known) {
		map_begin(p);
		if (!exclusive) {
			pthread_rwlock_unlock(&p->lock);
			pthread_rwlock_rdlock(&p->lock);
		}
		*ret = p;
		return 0;
	}
	r = ready(p, is_new, s, exclusive, NULL);
	if (r == 0)
		*ret = p;
	return r;
}
