/*
 * scrub.c - every bit of a disk looked at (scrub.h).
 *
 * The layers of the chain are gone through from the top one down, and of each
 * its map, and of each chunk that this names its eight groups, one at a time:
 * for each the disk's barrier is taken as a reader does, the layer found again
 * in the chain, and the page had from the cache, so that what is looked at is
 * what a reader would be given.  A layer that was merged meanwhile has passed
 * on what it had; the next scrub sees it there.
 */
#include "scrub_private.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sealdisk/grow.h>

#define SPARE_TRIES 3
#define SPARE_US 20000

const char *
scrub_word(enum scrub_what w)
{
	static const char *const words[] = {
		"layer",    "map page", "chunk",     "group page", "block",
		"put back", "lost",     "page copy", "superblock", "spare copy",
	};

	return words[w];
}

void
scrub_say(struct scrub *sc, enum scrub_what what, uint64_t off, uint64_t len,
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
	if (sc->o->fault)
		sc->o->fault(&f, sc->o->arg);
}

int
scrub_again(struct scrub *sc, int r)
{
	if (*sc->o->stop)
		return -ECANCELED;
	if (r == -ESTALE)
		return 0;
	return r == -EAGAIN ? commit_for_room(sc->d) : r;
}

bool
scrub_is_damage(int r)
{
	return disk_is_damage(r) && r != -ENOENT;
}

int
scrub_pause(struct scrub *sc)
{
	int64_t due = sc->since;

	if (sc->o->rate)
		due += (int64_t)(sc->read * 1000 / sc->o->rate);
	while (!*sc->o->stop && now_ms() < due)
		(void)usleep(10000);
	return *sc->o->stop ? -ECANCELED : 0;
}

/* ---- one layer ---- */

struct layer *
scrub_find(struct scrub *sc)
{
	struct layer *l = sc->d->top;

	while (l && !uuid_equal(&l->ref.layer, &sc->at.layer))
		l = atomic_load(&l->parent);
	return l;
}

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
		scrub_copies(sc, p, n * len, len);
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
	return r == -ENOENT || scrub_is_damage(r) ? 0 : r;
}

/* -ENOENT: it is not there any more. */
static int
get_map(struct scrub *sc, uint64_t n, struct map_chunks *ret, bool check)
{
	struct layer *l;
	int r;

	do {
		pthread_rwlock_rdlock(&sc->d->barrier);
		l = scrub_find(sc);
		r = l ? look_at_map(sc, l, n, ret, check) : -ENOENT;
		if (r == 0)
			r = forget_passed(sc, l, n, ret);
		pthread_rwlock_unlock(&sc->d->barrier);
	} while (r == -EAGAIN && (r = scrub_again(sc, r)) == 0);
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
	l = scrub_find(sc);
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
	scrub_say(sc, SCRUB_MAP, n * len, len, path, false);
	return scrub_find_lost(sc, n * len, len);
}

static int
scrub_map(struct scrub *sc, uint64_t n)
{
	struct map_chunks m;
	int r;

	r = get_map(sc, n, &m, true);
	if (r == -ENOENT)
		return 0;
	if (scrub_is_damage(r))
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
	return r == -ENOENT || scrub_is_damage(r) ? 0 : r;
}

/* Its copies. */
static void
scrub_root(struct scrub *sc, unsigned n)
{
	const uint64_t len = (uint64_t)MAP_CHUNKS * CHUNK_LEN * ROOT_BITS;
	struct layer *l;
	struct page *p;

	pthread_rwlock_rdlock(&sc->d->barrier);
	l = scrub_find(sc);
	/* All of them were loaded before, or the layer would not be here. */
	if (l && root_get(l, n, sc->s, &p) == 0) {
		pthread_rwlock_wrlock(&p->lock);
		scrub_copies(sc, p, n * len, len);
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

	refs = grow(sc->refs, sc->n_refs, cap, sizeof(*refs));
	if (!refs)
		return -ENOMEM;
	sc->refs = refs;
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

/* Somebody may be changing both. */
static void
scrub_spare(struct scrub *sc)
{
	char path[STORE_PATH_LEN];
	bool same = false, repaired = false;
	struct layer *l;

	for (unsigned i = 0; !same && i < SPARE_TRIES; i++) {
		if (i > 0)
			(void)usleep(SPARE_US);
		pthread_rwlock_rdlock(&sc->d->barrier);
		l = scrub_find(sc);
		same = !l || layer_spare_is_same(l);
		if (!same && sc->o->repair && i + 1 == SPARE_TRIES)
			repaired = layer_renew_spare(l) == 0 &&
				   layer_spare_is_same(l);
		pthread_rwlock_unlock(&sc->d->barrier);
	}
	path_layer(&sc->at, "layer.spare", path);
	if (!same)
		scrub_say(sc, SCRUB_SPARE, 0, 0, path, repaired);
}

static int
scrub(struct scrub *sc)
{
	uint64_t limit;
	int r;

	if (sc->d->rolled_back)
		scrub_say(sc, SCRUB_OLDER, 0, disk_size(sc->d), NULL, false);

	pthread_rwlock_rdlock(&sc->d->barrier);
	r = find_layers(sc, &limit);
	pthread_rwlock_unlock(&sc->d->barrier);
	if (scrub_is_damage(r)) {
		char path[STORE_PATH_LEN];

		/* Which of its files it was is in the log. */
		path_layer(&sc->at, "map", path);
		*strrchr(path, '/') = '\0';
		scrub_say(sc, SCRUB_LAYER, 0, limit, path, false);
		r = scrub_find_lost(sc, 0, limit);
	}
	for (size_t i = 0; r == 0 && i < sc->n_refs; i++) {
		sc->at = sc->refs[i];
		r = each_map(sc, count_map);
	}
	sc->since = now_ms();
	for (size_t i = 0; r == 0 && i < sc->n_refs; i++) {
		sc->at = sc->refs[i];
		scrub_spare(sc);
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
	scrub_tell_lost(&sc);
	if (sc.group)
		secret_wipe(sc.group, GROUP_LEN);
	free(sc.group);
	free(sc.refs);
	free(sc.lost);
	scratch_wipe(s);
	*ret = sc.t;
	return r;
}
