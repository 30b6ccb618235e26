/*
 * scrub.c - every bit of a disk looked at (scrub.h).
 *
 * The layers of the chain are gone through from the top one down, and of each
 * its map, and of each chunk that this names its eight groups, one at a time:
 * for each the disk's barrier is taken as a reader does, the layer found again
 * in the chain, and the page had from the cache, so that what is looked at is
 * what a reader would be given.  A layer that was merged meanwhile has passed
 * on what it had; the next scrub sees it there.
 *
 * A page has two copies, and the one that nobody has read may have rotted: both
 * are read from the file here.  One that is being committed is not looked at.
 */
#include "scrub.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sealdisk/log.h>

#include "check_private.h"

struct scrub {
	struct disk *d;
	struct scratch *s;
	const struct scrub_options *o;
	struct scrub_totals t;
	struct layer_ref *refs; /* of the chain, from the top */
	size_t n_refs;
	struct layer_ref at; /* the one that is looked at */
	uint64_t read;       /* bytes, since ${since} */
	int64_t since;       /* ms */
	uint8_t *group;      /* GROUP_LEN: what the disk reads */
};

const char *
scrub_word(enum scrub_what w)
{
	static const char *const words[] = {
		"layer", "map page", "chunk",     "group page",
		"block", "lost",     "page copy", "superblock",
	};

	return words[w];
}

static void
tell(struct scrub *sc, enum scrub_what what, uint64_t off, uint64_t len,
     const char *file, bool repaired)
{
	struct scrub_fault f = {
		.what = what, .off = off, .len = len, .repaired = repaired
	};

	if (what != SCRUB_LOST)
		f.layer = sc->at;
	if (file)
		(void)strcpy(f.file, file);
	sc->t.faults[what]++;
	sc->t.repaired += repaired;
	if (what == SCRUB_LOST)
		sc->t.lost += len;
	if (sc->o->fault)
		sc->o->fault(&f, sc->o->arg);
}

static int
again(struct scrub *sc, int r)
{
	if (r == -ESTALE)
		return 0;
	return r == -EAGAIN ? commit_for_room(sc->d) : r;
}

/* Whether ${r} says that something is damaged, and not that the machine cannot
 * do what was asked. */
static bool
is_damage(int r)
{
	return r == -EBADMSG || r == -EUCLEAN || r == -ENODATA || r == -EIO;
}

/* As long as what was read takes at the rate that is allowed. */
static int
pause_for(struct scrub *sc)
{
	int64_t due = sc->since;

	if (sc->o->rate)
		due += (int64_t)(sc->read * 1000 / sc->o->rate);
	while (!*sc->o->stop && now_ms() < due)
		(void)usleep(10000);
	return *sc->o->stop ? -ECANCELED : 0;
}

/* ---- what the disk shows ---- */

/* The blocks of one group that cannot be read, run by run. */
static void
tell_lost_blocks(struct scrub *sc, uint64_t off, size_t len)
{
	uint64_t from = UINT64_MAX;

	for (size_t i = 0; i < len; i += BLOCK_SIZE) {
		size_t n = len - i < BLOCK_SIZE ? len - i : BLOCK_SIZE;
		bool bad =
		    is_damage(disk_read(sc->d, sc->s, sc->group, n, off + i));

		if (bad && from == UINT64_MAX)
			from = off + i;
		if (!bad && from != UINT64_MAX) {
			tell(sc, SCRUB_LOST, from, off + i - from, NULL, false);
			from = UINT64_MAX;
		}
	}
	if (from != UINT64_MAX)
		tell(sc, SCRUB_LOST, from, off + len - from, NULL, false);
}

/* Of a range that something is damaged in. */
static int
tell_lost(struct scrub *sc, uint64_t off, uint64_t len)
{
	uint64_t size = disk_size(sc->d);
	uint64_t end = off + len < size ? off + len : size;

	for (uint64_t at = off; at < end && !*sc->o->stop; at += GROUP_LEN) {
		size_t n = end - at < GROUP_LEN ? (size_t)(end - at)
						: GROUP_LEN;

		if (is_damage(disk_read(sc->d, sc->s, sc->group, n, at)))
			tell_lost_blocks(sc, at, n);
	}
	return *sc->o->stop ? -ECANCELED : 0;
}

/* ---- a page's copies ---- */

/* Which of the two alone is bad, or -1.  ${raw} holds
 * them. */
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

/*
 * ${p} is locked, exclusively if it is to be repaired.  At rest the other copy
 * is, byte for byte, what belongs there; what is frozen nobody else writes.
 * Else it is still to be mirrored.
 */
static void
check_copies(struct scrub *sc, struct page *p, uint64_t off, uint64_t len)
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
	if (sc->o->repair && p->same)
		repaired = f->st->ops->write(f, raw[!bad], PAGE_LEN, at[bad]) ==
			       0 &&
			   f->st->ops->sync(f) == 0;
	else if (sc->o->repair)
		repaired = page_mirror(p) == 0 && p->same;
	if (p->chunk)
		chunk_name(p->chunk, name);
	else
		path_layer(&p->layer->ref, "map", name);
	tell(sc, SCRUB_COPY, off, len, name, repaired);
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
	check_copies(sc, p, group * GROUP_LEN, GROUP_LEN);
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

	memcpy(su.salt, c->salt, sizeof(su.salt));
	/* A map that was made anew may not have had the salt: what there is of
	 * it is not written over. */
	return chunk_last_session(f, c->index, c->keys + KEY_LEN) > 0 &&
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
	tell(sc, SCRUB_SUPER, c->index * CHUNK_LEN, CHUNK_LEN, name, repaired);
}

static void
tell_bad_blocks(struct scrub *sc, const struct bad_blocks *bad, uint64_t group,
		const char *file)
{
	for (unsigned i = 0, n; bad->n > 0 && i < GROUP_BLOCKS; i += n) {
		for (n = 0; i + n < GROUP_BLOCKS && bad->v[i + n];)
			n++;
		if (n)
			tell(sc, SCRUB_BLOCK,
			     group * GROUP_LEN + (uint64_t)i * BLOCK_SIZE,
			     (uint64_t)n * BLOCK_SIZE, file, false);
		else
			n = 1;
	}
}

/* The layer that is looked at, if it still is in the chain; the barrier is
 * held. */
static struct layer *
find(struct scrub *sc)
{
	struct layer *l = sc->d->top;

	while (l && !uuid_equal(&l->ref.layer, &sc->at.layer))
		l = atomic_load(&l->parent);
	return l;
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
		l = find(sc);
		r = l ? look_at_group(sc, l, group, &bad, name) : -ENOENT;
		pthread_rwlock_unlock(&sc->d->barrier);
	} while ((r == -ESTALE || r == -EAGAIN) && (r = again(sc, r)) == 0);
	if (r == -ENOENT)
		return 1;
	if (bad.n > 0)
		tell_bad_blocks(sc, &bad, group, name);
	if (!is_damage(r))
		return r < 0 || bad.n == 0
			   ? r
			   : tell_lost(sc, group * GROUP_LEN, GROUP_LEN);
	/* Before a chunk is found no name of it is known. */
	if (name[0]) {
		tell(sc, SCRUB_GROUP, group * GROUP_LEN, GROUP_LEN, name,
		     false);
		return tell_lost(sc, group * GROUP_LEN, GROUP_LEN);
	}
	tell(sc, SCRUB_CHUNK, group * GROUP_LEN / CHUNK_LEN * CHUNK_LEN,
	     CHUNK_LEN, NULL, false);
	r = tell_lost(sc, group * GROUP_LEN / CHUNK_LEN * CHUNK_LEN, CHUNK_LEN);
	return r < 0 ? r : 1;
}

static int
scrub_chunk(struct scrub *sc, uint64_t index)
{
	int r = 0;

	for (unsigned g = 0; r == 0 && g < CHUNK_GROUPS; g++) {
		r = scrub_group(sc, index * CHUNK_GROUPS + g);
		if (r >= 0 && pause_for(sc) < 0)
			r = -ECANCELED;
	}
	sc->t.done++;
	if (r >= 0 && sc->o->progress)
		sc->o->progress(&sc->t, sc->o->arg);
	return r < 0 ? r : 0;
}

/* ---- one layer ---- */

/* Which chunks of a map page have a file, and under what salt. */
struct map_chunks {
	bool has[MAP_CHUNKS];
	uint8_t salt[MAP_CHUNKS][12];
};

static void
copy_map(const struct page *p, struct map_chunks *ret)
{
	for (unsigned i = 0; i < MAP_CHUNKS; i++) {
		ret->has[i] = p->body.entry[i].state == ENTRY_DATA;
		memcpy(ret->salt[i], p->body.entry[i].unique, 12);
	}
}

static int
look_at_map(struct scrub *sc, struct layer *l, uint64_t n,
	    struct map_chunks *ret, bool check)
{
	const uint64_t len = (uint64_t)MAP_CHUNKS * CHUNK_LEN;
	struct page *p;
	int r;

	r = map_get(l, n, sc->s, check && sc->o->repair, false, &p);
	if (r < 0)
		return r;
	copy_map(p, ret);
	if (check)
		check_copies(sc, p, n * len, len);
	page_release(p);
	return 0;
}

/* What a layer that is being merged has passed to its child is the child's,
 * which writes to it; the layer's own entry is asked by nobody. */
static int
forget_passed(struct scrub *sc, struct layer *l, uint64_t n,
	      struct map_chunks *m)
{
	struct layer *above = sc->d->top;
	struct map_chunks theirs;
	int r;

	if (l == above || l->meta.state != LAYER_MERGING)
		return 0;
	while (atomic_load(&above->parent) != l)
		above = atomic_load(&above->parent);
	r = look_at_map(sc, above, n, &theirs, false);
	for (unsigned i = 0; r == 0 && i < MAP_CHUNKS; i++)
		if (theirs.has[i] &&
		    memcmp(theirs.salt[i], m->salt[i], 12) == 0)
			m->has[i] = false;
	return r == -ENOENT || is_damage(r) ? 0 : r;
}

/* -ENOENT: it is not there any more. */
static int
get_map(struct scrub *sc, uint64_t n, struct map_chunks *ret, bool check)
{
	struct layer *l;
	int r;

	do {
		pthread_rwlock_rdlock(&sc->d->barrier);
		l = find(sc);
		r = l ? look_at_map(sc, l, n, ret, check) : -ENOENT;
		if (r == 0)
			r = forget_passed(sc, l, n, ret);
		pthread_rwlock_unlock(&sc->d->barrier);
	} while (r == -EAGAIN && (r = again(sc, r)) == 0);
	return r;
}

/* The next map page from ${n} on; UINT64_MAX. */
static int
next_map(struct scrub *sc, uint64_t n, uint64_t *ret)
{
	struct layer *l;
	int r = 0;

	*ret = UINT64_MAX;
	pthread_rwlock_rdlock(&sc->d->barrier);
	l = find(sc);
	if (l)
		r = layer_next_map(l, sc->s, n, ret);
	pthread_rwlock_unlock(&sc->d->barrier);
	return r;
}

static int
tell_bad_map(struct scrub *sc, uint64_t n)
{
	const uint64_t len = (uint64_t)MAP_CHUNKS * CHUNK_LEN;
	char path[STORE_PATH_LEN];

	path_layer(&sc->at, "map", path);
	tell(sc, SCRUB_MAP, n * len, len, path, false);
	return tell_lost(sc, n * len, len);
}

static int
scrub_map(struct scrub *sc, uint64_t n)
{
	struct map_chunks m;
	int r;

	r = get_map(sc, n, &m, true);
	if (r == -ENOENT)
		return 0;
	if (is_damage(r))
		return tell_bad_map(sc, n);
	for (unsigned i = 0; r == 0 && i < MAP_CHUNKS; i++)
		if (m.has[i])
			r = scrub_chunk(sc, n * MAP_CHUNKS + i);
	return r;
}

static int
count_map(struct scrub *sc, uint64_t n)
{
	struct map_chunks m;
	int r = get_map(sc, n, &m, false);

	for (unsigned i = 0; r == 0 && i < MAP_CHUNKS; i++)
		sc->t.chunks += m.has[i];
	return r == -ENOENT || is_damage(r) ? 0 : r;
}

/* Its copies. */
static void
scrub_root(struct scrub *sc, unsigned n)
{
	const uint64_t len = (uint64_t)MAP_CHUNKS * CHUNK_LEN * ROOT_BITS;
	struct layer *l;
	struct page *p;

	pthread_rwlock_rdlock(&sc->d->barrier);
	l = find(sc);
	/* All of them were loaded before, or the layer would not be here. */
	if (l && root_get(l, n, sc->s, &p) == 0) {
		pthread_rwlock_wrlock(&p->lock);
		check_copies(sc, p, n * len, len);
		pthread_rwlock_unlock(&p->lock);
	}
	pthread_rwlock_unlock(&sc->d->barrier);
}

static int
each_map(struct scrub *sc, int (*fn)(struct scrub *sc, uint64_t n))
{
	uint64_t n;
	int r;

	r = next_map(sc, 0, &n);
	while (r == 0 && n != UINT64_MAX) {
		r = *sc->o->stop ? -ECANCELED : fn(sc, n);
		if (r == 0)
			r = next_map(sc, n + 1, &n);
	}
	return r;
}

/* ---- the chain ---- */

static int
add_layer(struct scrub *sc, size_t *cap, const struct layer_ref *ref)
{
	struct layer_ref *refs;

	if (sc->n_refs == *cap) {
		*cap = *cap ? 2 * *cap : 16;
		refs = reallocarray(sc->refs, *cap, sizeof(*refs));
		if (!refs)
			return -ENOMEM;
		sc->refs = refs;
	}
	sc->refs[sc->n_refs++] = *ref;
	return 0;
}

/* All layers, opened with their root pages; where one cannot be, what lies
 * below it is not known.  *${ret_limit}: of the disk, what that one is asked
 * for. */
static int
find_layers(struct scrub *sc, uint64_t *ret_limit)
{
	struct layer *l = sc->d->top;
	size_t cap = 0;
	int r = 0;

	*ret_limit = disk_size(sc->d);
	while (r == 0) {
		sc->at = l->ref;
		r = layer_load_roots(l, sc->s);
		if (r == 0)
			r = add_layer(sc, &cap, &l->ref);
		if (r < 0 || !l->meta.has_parent)
			break;
		sc->at = l->meta.parent;
		if (l->parent_limit < *ret_limit)
			*ret_limit = l->parent_limit;
		r = layer_parent(l, sc->s, &l);
	}
	return r;
}

static int
scrub(struct scrub *sc)
{
	uint64_t limit;
	int r;

	pthread_rwlock_rdlock(&sc->d->barrier);
	r = find_layers(sc, &limit);
	pthread_rwlock_unlock(&sc->d->barrier);
	if (is_damage(r)) {
		char path[STORE_PATH_LEN];

		path_layer(&sc->at, "layer.ini", path);
		tell(sc, SCRUB_LAYER, 0, limit, path, false);
		r = tell_lost(sc, 0, limit);
	}
	for (size_t i = 0; r == 0 && i < sc->n_refs; i++) {
		sc->at = sc->refs[i];
		r = each_map(sc, count_map);
	}
	sc->since = now_ms();
	for (size_t i = 0; r == 0 && i < sc->n_refs; i++) {
		sc->at = sc->refs[i];
		for (unsigned n = 0; n < ROOTS; n++)
			scrub_root(sc, n);
		r = each_map(sc, scrub_map);
	}
	return r;
}

int
disk_scrub(struct disk *d, struct scratch *s, const struct scrub_options *o,
	   struct scrub_totals *ret)
{
	static const atomic_bool never = false;
	struct scrub_options opt = *o;
	struct scrub sc = { .d = d, .s = s, .o = &opt };
	int r;

	if (!opt.stop)
		opt.stop = &never;
	sc.group = malloc(GROUP_LEN);
	r = sc.group ? scrub(&sc) : -ENOMEM;
	if (sc.group)
		secret_wipe(sc.group, GROUP_LEN);
	free(sc.group);
	free(sc.refs);
	scratch_wipe(s);
	*ret = sc.t;
	return r;
}
