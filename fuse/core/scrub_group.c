/*
 * scrub_group.c - what a scrub looks at in a chunk: its superblock, its pages
 * and its blocks.
 *
 * A page has two copies, and the one that nobody has read may have rotted: both
 * are read from the file here.  One that is being committed is not looked at.
 */
#include "scrub_private.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "check_private.h"

/* ---- a page's copies ---- */

/* Which of the two alone is bad, or -1.  ${raw} holds them. */
static int
bad_copy(struct scrub *sc, struct page *p, struct store_file *f,
	 const uint8_t *key, uint64_t at[2], uint8_t raw[2][PAGE_LEN])
{
	union page_body body;
	struct page_head head;
	bool good[2];

	for (unsigned i = 0; i < 2; i++) {
		good[i] = f->st->ops->read(f, raw[i], PAGE_LEN, at[i]) == 0 &&
			  page_decode(raw[i], key, p->kind, p->index, &head,
				      &body) == 0;
		sc->read += PAGE_LEN;
	}
	return good[0] == good[1] ? -1 : good[0] ? 1 : 0;
}

void
scrub_copies(struct scrub *sc, struct page *p, uint64_t off, uint64_t len)
{
	char name[STORE_PATH_LEN] = "";
	uint8_t raw[2][PAGE_LEN];
	struct store_file *f;
	const uint8_t *key;
	uint64_t at[2], base;
	bool repaired = false;
	int bad;

	sc->t.pages++;
	if (p->dirty || p->inflight || p->fresh ||
	    page_home_of(p, &key, &f, &base) < 0)
		return;
	for (unsigned i = 0; i < 2; i++)
		at[i] = base + page_offset(p->kind == PAGE_GROUP
					       ? p->index % CHUNK_GROUPS
					       : p->index,
					   i);
	bad = bad_copy(sc, p, f, key, at, raw);
	if (bad < 0)
		return;
	/* At rest the other copy is, byte for byte, what belongs there; what is
	 * frozen nobody else writes, but it may be an older one, if it is not
	 * what is in memory.  Else it is still to be mirrored. */
	if (sc->o->repair && p->same &&
	    memcmp(raw[!bad] + PAGE_MAC, p->mac, sizeof(p->mac)) == 0)
		repaired = f->st->ops->write(f, raw[!bad], PAGE_LEN, at[bad]) ==
			       0 &&
			   f->st->ops->sync(f) == 0;
	else if (sc->o->repair && !p->same)
		repaired = page_mirror(p) == 0 && p->same;
	if (p->chunk)
		chunk_name(p->chunk, name);
	else
		path_layer(&p->layer->ref, "map", name);
	scrub_say(sc, SCRUB_COPY, off, len, name, repaired);
}

/* ---- one group ---- */

struct bad_blocks {
	bool v[GROUP_BLOCKS];
	unsigned n;
};

static bool
block_verifies(struct scrub *sc, struct chunk *c, const struct page *p,
	       unsigned b, uint8_t *sealed)
{
	unsigned bno = (unsigned)(p->index % CHUNK_GROUPS) * GROUP_BLOCKS + b;

	return block_open(sc->s, c, bno, &p->body.entry[b], sealed, sealed) ==
	       0;
}

/* Blocks in slots side by side are read at once, and where that fails one by
 * one. */
static int
check_run(struct scrub *sc, struct chunk *c, const struct page *p,
	  unsigned first, unsigned n, struct bad_blocks *bad)
{
	uint64_t at = slot_offset(p->index, p->body.entry[first].slot);
	struct store_file *f;
	uint8_t *buf = sc->s->run;
	bool whole;
	int r;

	r = chunk_file(c, &f);
	if (r < 0)
		return r;
	whole = f->st->ops->read(f, buf, (size_t)n * BLOCK_SIZE, at) == 0;
	sc->read += (uint64_t)n * BLOCK_SIZE;
	sc->t.blocks += n;
	for (unsigned i = 0; i < n; i++) {
		uint8_t *b = buf + (size_t)i * BLOCK_SIZE;
		bool there = whole ||
			     f->st->ops->read(f, b, BLOCK_SIZE,
					      at + (uint64_t)i * BLOCK_SIZE) ==
				 0;

		if (there && block_verifies(sc, c, p, first + i, b))
			continue;
		bad->v[first + i] = true;
		bad->n++;
	}
	return 0;
}

static int
check_blocks(struct scrub *sc, struct chunk *c, const struct page *p,
	     struct bad_blocks *bad)
{
	int r = block_key(sc->s, c);

	for (unsigned i = 0, n = 1; r == 0 && i < GROUP_BLOCKS; i += n) {
		const struct entry *e = &p->body.entry[i];

		n = 1;
		if (e->state != ENTRY_DATA)
			continue;
		while (i + n < GROUP_BLOCKS && e[n].state == ENTRY_DATA &&
		       e[n].slot == e[0].slot + n)
			n++;
		r = check_run(sc, c, p, i, n, bad);
	}
	return r;
}

static int
check_page(struct scrub *sc, struct chunk *c, uint64_t group,
	   struct bad_blocks *bad)
{
	struct page *p;
	int r;

	if (c->dead)
		return -ESTALE;
	r = group_get(c, group, sc->s, sc->o->repair, &p);
	if (r < 0)
		return r;
	scrub_copies(sc, p, group * GROUP_LEN, GROUP_LEN);
	if (sc->o->blocks)
		r = check_blocks(sc, c, p, bad);
	page_release(p);
	return r;
}

/* All that it says is known otherwise, but when the file was made; and of one
 * that another layer made, which, but for what stands in the name. */
static bool
mend_super(struct scrub *sc, struct chunk *c, struct store_file *f)
{
	struct super su = { .cipher = c->cipher,
			    .store = sc->d->e->meta.uuid,
			    .lineage = c->layer->ref.lineage,
			    .dk = c->layer->meta.key,
			    .layer = c->creator,
			    .session = sc->d->session,
			    .index = c->index,
			    .created = time(NULL) };
	uint8_t raw[SUPER_LEN];
	uint64_t session;

	memcpy(su.salt, c->salt, sizeof(su.salt));
	/* A map that was made anew may not have had the salt: what there is of
	 * it is not written over. */
	return chunk_last_session(f, c->index, c->keys + KEY_LEN, &session) &&
	       super_encode(&su, c->keys + KEY_LEN, raw) == 0 &&
	       f->st->ops->write(f, raw, sizeof(raw), 0) == 0 &&
	       f->st->ops->sync(f) == 0;
}

static void
check_super(struct scrub *sc, struct chunk *c)
{
	bool repaired = false;
	char name[STORE_PATH_LEN];
	uint8_t raw[SUPER_LEN];
	struct store_file *f = NULL;
	struct super su;
	int r;

	r = chunk_file(c, &f);
	if (r == 0)
		r = f->st->ops->read(f, raw, sizeof(raw), 0);
	if (r == 0)
		r = super_parse(raw, &su);
	if (r == 0)
		r = super_verify(raw, c->keys + KEY_LEN);
	if (r == 0 && (su.index != c->index ||
		       memcmp(su.salt, c->salt, sizeof(su.salt)) != 0))
		r = -EBADMSG;
	if (r == 0)
		return;
	chunk_name(c, name);
	if (f && sc->o->repair && (r == -EBADMSG || r == -EUCLEAN || r == -EIO))
		repaired = mend_super(sc, c, f);
	scrub_say(sc, SCRUB_SUPER, c->index * CHUNK_LEN, CHUNK_LEN, name,
		  repaired);
}

static void
tell_bad_blocks(struct scrub *sc, const struct bad_blocks *bad, uint64_t group,
		const char *file)
{
	for (unsigned i = 0, n; bad->n > 0 && i < GROUP_BLOCKS; i += n) {
		for (n = 0; i + n < GROUP_BLOCKS && bad->v[i + n];)
			n++;
		if (n)
			scrub_say(sc, SCRUB_BLOCK,
				  group * GROUP_LEN + (uint64_t)i * BLOCK_SIZE,
				  (uint64_t)n * BLOCK_SIZE, file, false);
		else
			n = 1;
	}
}

/* -ENOENT: there is nothing of it any more. */
static int
look_at_group(struct scrub *sc, struct layer *l, uint64_t group,
	      struct bad_blocks *bad, char name[static STORE_PATH_LEN])
{
	enum entry_state state;
	struct chunk *c;
	int r;

	r = layer_lookup(l, sc->s, group / CHUNK_GROUPS, &state, &c);
	if (r < 0 || state != ENTRY_DATA)
		return r < 0 ? r : -ENOENT;
	chunk_name(c, name);
	pthread_rwlock_rdlock(&c->lock);
	if (group % CHUNK_GROUPS == 0)
		check_super(sc, c);
	r = check_page(sc, c, group, bad);
	pthread_rwlock_unlock(&c->lock);
	chunk_put(c);
	return r;
}

/* 1: the chunk is done with. */
static int
scrub_group(struct scrub *sc, uint64_t group)
{
	struct bad_blocks bad;
	char name[STORE_PATH_LEN];
	struct layer *l;
	int r;

	do {
		memset(&bad, 0, sizeof(bad));
		name[0] = '\0';
		pthread_rwlock_rdlock(&sc->d->barrier);
		l = scrub_find(sc);
		r = l ? look_at_group(sc, l, group, &bad, name) : -ENOENT;
		pthread_rwlock_unlock(&sc->d->barrier);
	} while ((r == -ESTALE || r == -EAGAIN) &&
		 (r = scrub_again(sc, r)) == 0);
	if (r == -ENOENT)
		return 1;
	if (bad.n > 0)
		tell_bad_blocks(sc, &bad, group, name);
	if (!scrub_is_damage(r))
		return r < 0 || bad.n == 0
			   ? r
			   : scrub_find_lost(sc, group * GROUP_LEN, GROUP_LEN);
	/* Before a chunk is found no name of it is known. */
	if (name[0]) {
		scrub_say(sc, SCRUB_GROUP, group * GROUP_LEN, GROUP_LEN, name,
			  false);
		return scrub_find_lost(sc, group * GROUP_LEN, GROUP_LEN);
	}
	scrub_say(sc, SCRUB_CHUNK, group * GROUP_LEN / CHUNK_LEN * CHUNK_LEN,
		  CHUNK_LEN, NULL, false);
	r = scrub_find_lost(sc, group * GROUP_LEN / CHUNK_LEN * CHUNK_LEN,
			    CHUNK_LEN);
	return r < 0 ? r : 1;
}

int
scrub_chunk(struct scrub *sc, uint64_t index)
{
	int r = 0;

	for (unsigned g = 0; r == 0 && g < CHUNK_GROUPS; g++) {
		r = scrub_group(sc, index * CHUNK_GROUPS + g);
		if (r >= 0 && scrub_pause(sc) < 0)
			r = -ECANCELED;
	}
	sc->t.done++;
	if (r >= 0 && sc->o->progress)
		sc->o->progress(&sc->t, sc->o->arg);
	return r < 0 ? r : 0;
}
