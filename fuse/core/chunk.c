/*
 * chunk.c - the file of a chunk: made, found, opened, discarded.
 *
 * A chunk is made on the first write into its 4 MiB: a new file under a new
 * salt, both copies of all eight pages in it, and only then named by the map in
 * memory; the next commit makes the file durable before the map says so.  What
 * a crash leaves between was never acknowledged: `todo` names it.
 *
 * A chunk that is discarded dies: nobody finds it any more, and when a commit
 * that began after that has ended, no map names its file and it is removed.
 */
#include "engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>

#define PAGES_LEN (2 * CHUNK_GROUPS * PAGE_LEN)

void
chunk_name(const struct chunk *c, char out[static STORE_PATH_LEN])
{
	path_chunk(&c->layer->ref.lineage, c->index, &c->creator, c->salt, out);
}

int
chunk_derive(struct chunk *c)
{
	return chunk_keys(c->layer->dk, c->salt, c->cipher, c->index, c->keys);
}

void
chunk_touch(struct chunk *c)
{
	struct disk *d = c->layer->disk;

	if (atomic_load(&c->unsynced))
		return;
	pthread_mutex_lock(&d->mutex);
	if (!atomic_load(&c->unsynced) && !atomic_load(&d->failed)) {
		chunk_ref(c);
		link_append(&d->unsynced, &c->sync_link);
		atomic_store(&c->unsynced, true);
	}
	pthread_mutex_unlock(&d->mutex);
}

/* ---- opening ---- */

struct search {
	const struct chunk *c;
	char name[64];
	struct uuid creator;
};

/* XXXXIII-LLLLLLLL-SSSSSSSS.chunk: the same but for the layer? */
static int
same_but_layer(const char *name, bool is_dir, void *arg)
{
	struct search *se = arg;
	size_t len = strlen(se->name);

	if (is_dir || strlen(name) != len || strncmp(name, se->name, 8) != 0 ||
	    strcmp(name + 16, se->name + 16) != 0)
		return 0;
	memset(&se->creator, 0, sizeof(se->creator));
	if (name[7] != '-' ||
	    hex_decode(strndupa(name + 8, 8), se->creator.bytes, 4) < 0)
		return 0;
	return 1;
}

/* A chunk that passed to this layer from another keeps its name. */
int
chunk_find_passed(struct chunk *c, char path[static STORE_PATH_LEN])
{
	struct store *st = c->layer->disk->e->st;
	struct search se = { .c = c };
	char *slash;
	int r;

	slash = strrchr(path, '/');
	if (!slash || strlen(slash + 1) >= sizeof(se.name))
		return -EINVAL;
	strcpy(se.name, slash + 1);
	*slash = '\0';
	r = st->ops->list(st, path, same_but_layer, &se);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	c->creator = se.creator;
	chunk_name(c, path);
	return 0;
}

/* A file system that has become read-only can be read. */
static int
open_path(struct store *st, const char *path, struct store_file **ret)
{
	int r = st->ops->open(st, path, true, ret);

	return r == -EROFS ? st->ops->open(st, path, false, ret) : r;
}

static int
open_file(struct chunk *c, struct store_file **ret)
{
	struct disk *d = c->layer->disk;
	struct store *st = d->e->st;
	char path[STORE_PATH_LEN];
	int r;

	chunk_name(c, path);
	r = open_path(st, path, ret);
	if (r == -ENOENT && chunk_find_passed(c, path) == 0)
		r = open_path(st, path, ret);
	if (r == -ENOENT) {
		chunk_name(c, path);
		fault_log(d,
			  "%s: the map names this chunk, but it is not there",
			  path);
		return -EUCLEAN;
	}
	if (r == 0 && d->drop_cache && !atomic_exchange(&c->dropped, true))
		st->ops->drop(*ret);
	return r;
}

int
chunk_file(struct chunk *c, struct store_file **ret)
{
	struct cache *ca = cache_of(c->layer);
	struct store_file *f = atomic_load(&c->file);
	int r = 0;

	if (f) {
		*ret = f;
		return 0;
	}
	pthread_mutex_lock(&c->open_lock);
	f = atomic_load(&c->file);
	if (!f) {
		r = cache_file_slot(ca);
		if (r == 0) {
			r = open_file(c, &f);
			if (r < 0)
				atomic_fetch_sub(&ca->open_files, 1);
			else
				atomic_store(&c->file, f);
		}
	}
	pthread_mutex_unlock(&c->open_lock);
	if (r == 0)
		*ret = f;
	return r;
}

/*
 * The pages of a chunk name its cipher, and the keys come of it: it must be
 * known before a page can be verified.  One rotten page must not cost the whole
 * chunk, so the pages vote; a wrong outcome verifies nothing.
 */
static uint8_t
vote_cipher(const uint8_t *pages)
{
	unsigned votes[256] = { 0 };
	uint8_t best = 0;

	for (unsigned i = 0; i < PAGES_LEN / PAGE_LEN; i++) {
		uint8_t c = pages[i * PAGE_LEN + 32];

		if (cipher_name(c) && ++votes[c] > votes[best])
			best = c;
	}
	return best;
}

/* All the pages of a chunk; zeros where a sector is bad, in one of ${unread}.
 * The error of the last one that could not be read, or 0 if any could. */
static int
read_pages(struct store_file *f, uint8_t *pages, unsigned *unread)
{
	unsigned n = 0;
	int r, err = 0;

	r = f->st->ops->read(f, pages, PAGES_LEN, SUPER_LEN);
	if (r == 0 || r == -ENODATA)
		return r;
	for (unsigned i = 0; i < PAGES_LEN / PAGE_LEN; i++) {
		uint8_t *page = pages + i * PAGE_LEN;

		r = f->st->ops->read(f, page, PAGE_LEN,
				     SUPER_LEN + i * PAGE_LEN);
		if (r == 0) {
			n++;
			continue;
		}
		memset(page, 0, PAGE_LEN);
		*unread |= 1u << i % CHUNK_GROUPS;
		err = r;
	}
	return n > 0 ? 0 : err;
}

int
chunk_pages(struct chunk *c, struct scratch *s, unsigned *ret_unread)
{
	struct store_file *f;
	int r = chunk_file(c, &f);

	*ret_unread = 0;
	if (r == 0) {
		memset(s->run, 0, PAGES_LEN);
		r = read_pages(f, s->run, ret_unread);
	}
	return r;
}

int
chunk_begin(struct chunk *c, struct scratch *s)
{
	char path[STORE_PATH_LEN];
	unsigned unread;
	int r;

	r = chunk_pages(c, s, &unread);
	if (r < 0 && r != -ENODATA)
		return r;
	c->cipher = vote_cipher(s->run);
	if (r == -ENODATA || (r == 0 && c->cipher == 0)) {
		chunk_name(c, path);
		fault_log(c->layer->disk, "%s: %s", path,
			  r < 0 ? "cut short" : "no page of it can be read");
		return -EUCLEAN;
	}
	return chunk_derive(c);
}

/* ---- making ---- */

void
chunk_note(const struct chunk *c)
{
	struct layer *l = c->layer;
	char path[STORE_PATH_LEN];
	char line[STORE_PATH_LEN + 1];
	struct disk *d = l->disk;
	uint64_t at;
	int n;

	/* A hint: what cannot be noted, `check` finds. */
	if (!l->todo)
		return;
	chunk_name(c, path);
	n = snprintf(line, sizeof(line), "%s\n", path);
	pthread_mutex_lock(&d->mutex);
	at = l->todo_len;
	l->todo_len += (unsigned)n;
	pthread_mutex_unlock(&d->mutex);
	(void)!l->todo->st->ops->write(l->todo, line, (size_t)n, at);
}

/* Superblock and both copies of eight pages, into s->run. */
static int
initial_content(struct chunk *c, struct scratch *s, enum entry_state state)
{
	struct disk *d = c->layer->disk;
	struct super su = { c->cipher,
			    d->e->meta.uuid,
			    c->layer->ref.lineage,
			    c->layer->meta.key,
			    c->layer->ref.layer,
			    d->session,
			    c->index,
			    { 0 },
			    time(NULL) };
	struct page_head h = { PAGE_GROUP, 0, 1, d->session, c->cipher, 0 };
	union page_body body;
	uint8_t *pages = s->run + SUPER_LEN;
	int r;

	memcpy(su.salt, c->salt, sizeof(su.salt));
	memset(&body, 0, sizeof(body));
	for (unsigned i = 0; i < GROUP_BLOCKS; i++)
		body.entry[i].state = (uint8_t)state;
	r = super_encode(&su, c->keys + KEY_LEN, s->run);
	for (unsigned g = 0; r == 0 && g < CHUNK_GROUPS; g++) {
		h.index = c->index * CHUNK_GROUPS + g;
		r = page_encode(&h, &body, c->keys + KEY_LEN,
				pages + page_offset(g, 0));
		memcpy(pages + page_offset(g, 1), pages + page_offset(g, 0),
		       PAGE_LEN);
	}
	return r;
}

/* The file of a new chunk object, written; the caller holds its lock. */
static int
create_file(struct chunk *c, struct scratch *s, enum entry_state state)
{
	struct disk *d = c->layer->disk;
	struct store *st = d->e->st;
	struct store_file *f = NULL;
	char path[STORE_PATH_LEN];
	int r;

	c->cipher = d->e->meta.cipher;
	c->creator = c->layer->ref.layer;
	r = crypto_random(c->salt, sizeof(c->salt));
	if (r == 0)
		r = chunk_derive(c);
	if (r == 0)
		r = initial_content(c, s, state);
	if (r == 0)
		r = cache_file_slot(&d->e->cache);
	if (r < 0)
		return r;
	chunk_name(c, path);
	chunk_note(c);
	r = st->ops->create(st, path, &f);
	if (r == 0) {
		r = st->ops->write(f, s->run, SLOTS_OFFSET, 0);
		if (r < 0) {
			store_close(f);
			(void)!st->ops->remove(st, path);
		}
	}
	if (r < 0) {
		atomic_fetch_sub(&d->e->cache.open_files, 1);
		return r;
	}
	c->dropped = true;
	c->is_new = true;
	c->made = true;
	atomic_store(&c->file, f);
	chunk_touch(c);
	return 0;
}

/* A file that no map came to name. */
void
chunk_abandon(struct chunk *c)
{
	struct disk *d = c->layer->disk;

	pthread_mutex_lock(&d->mutex);
	c->dead = true;
	c->dead_seq = 0;
	chunk_ref(c);
	link_append(&d->dead, &c->dead_link);
	pthread_mutex_unlock(&d->mutex);
}

int
chunk_create(struct layer *l, struct scratch *s, uint64_t index,
	     enum entry_state state, struct chunk **ret)
{
	struct chunk *c;
	int r;

	r = chunk_alloc(l, index, &c);
	if (r < 0)
		return r;
	/* Held, so that the clock does not close the file under us; once it
	 * is unsynced, that keeps it open. */
	pthread_rwlock_rdlock(&c->lock);
	r = create_file(c, s, state);
	pthread_rwlock_unlock(&c->lock);
	if (r < 0)
		chunk_put(c);
	else
		*ret = c;
	return r;
}

static int
make_locked(struct layer *l, struct scratch *s, uint64_t index,
	    struct chunk **ret)
{
	enum entry_state state;
	struct chunk *c;
	int r;

	r = layer_lookup(l, s, index, &state, ret);
	if (r < 0 || state == ENTRY_DATA)
		return r;
	r = chunk_create(l, s, index, state, &c);
	if (r < 0)
		return r;
	recount_known(l, index);
	r = layer_set(l, s, index, ENTRY_DATA, c->salt, c);
	if (r < 0) {
		chunk_abandon(c);
		chunk_put(c);
		return r;
	}
	*ret = c;
	return 0;
}

int
chunk_make(struct layer *l, struct scratch *s, uint64_t index,
	   struct chunk **ret)
{
	pthread_mutex_t *m = &l->creating[index % 64];
	int r;

	pthread_mutex_lock(m);
	r = make_locked(l, s, index, ret);
	pthread_mutex_unlock(m);
	return r;
}

/* The folders that have a new name in them, up to the lineage's. */
static int
sync_folder(struct store *st, const struct chunk *c)
{
	char path[STORE_PATH_LEN];
	int r = 0;

	chunk_name(c, path);
	for (unsigned up = 0; r == 0 && up < 2; up++) {
		*strrchr(path, '/') = '\0';
		r = st->ops->sync_dir(st, path);
	}
	return r;
}

int
chunk_sync(struct chunk *c)
{
	struct store *st = atomic_load(&c->disk)->e->st;
	struct store_file *f = atomic_load(&c->file);
	int r = f ? st->ops->sync(f) : 0;

	if (r == 0 && c->is_new)
		r = sync_folder(st, c);
	if (r == 0)
		c->is_new = false;
	return r;
}
