/*
 * engine_private.h - what the files of the engine call of each other, file by
 * file.
 */
#ifndef SEALDISK_ENGINE_PRIVATE_H
#define SEALDISK_ENGINE_PRIVATE_H

#include "engine_types.h"

int64_t now_ms(void);

/* Take engine->merging.  -EINTR: *${stop} came first, as whoever has it may be
 * waiting for a store that does not answer.  NULL: it is waited for. */
int merging_lock(struct engine *e, const atomic_bool *stop)
    __attribute__((__nonnull__(1))) CHECKED;
void merging_unlock(struct engine *e) NONNULL;

/* ---- disk_keys.c ---- */

/* A DK that the disk has; NULL: it has it not. */
struct key *disk_dk(struct disk *d, const struct uuid *uuid) NONNULL;
/* That of the top layer. */
const struct key *disk_top_dk(struct disk *d) NONNULL;
/* Those of the layers below, which the descriptor does not authenticate, are
 * what they were sealed with, as far as it can be told: -EPROTO if the key
 * service has given another. */
int disk_prove_dks(struct disk *d) NONNULL CHECKED;
/* A copy of it; -ENOKEY. */
int disk_get_dk(struct disk *d, const struct uuid *uuid, struct key *ret)
    NONNULL CHECKED;
/* Copied. */
int disk_add_dk(struct disk *d, const struct uuid *uuid, const struct key *dk)
    NONNULL CHECKED;
/* Those of d->desc, from a disk that has them. */
int disk_copy_dks(struct disk *d, struct disk *from) NONNULL CHECKED;
/* Those that the descriptor does not name, and no open layer needs. */
void disk_forget_dks(struct disk *d) NONNULL;
void disk_free_dks(struct disk *d) NONNULL;
/* Only the top one and those of ${used}. */
void descriptor_keep_keys(struct descriptor *d, const struct uuid *used,
			  size_t n) NONNULL;
/* The descriptor names only DKs that some layer of the chain is under;
 * ${done}: it is not being reencrypted any more.  Under engine->merging. */
int disk_drop_keys(struct disk *d, bool done) NONNULL CHECKED;

/* ---- reencrypt.c ---- */

/* Go on with what the descriptor asks for, if it does; and no longer. */
int reencrypt_start(struct disk *d) NONNULL CHECKED;
void reencrypt_stop(struct disk *d) NONNULL;

/* ---- disk_props.c ---- */

/* With size_lock held: what the descriptor is from now on. */
void disk_set_desc(struct disk *d, const struct descriptor *n) NONNULL;
void disk_set_desc_size(struct disk *d, uint64_t size) NONNULL;
/* For how many ms the commit that runs has. */
int64_t disk_commit_ms(struct disk *d) NONNULL;
/* The spare copy of the descriptor, which was changed alone, is to follow; and
 * follows, if it has waited long enough. */
void spare_later(struct disk *d) NONNULL;
void spare_round(struct disk *d, bool now) NONNULL;
/* Grown by a write: the descriptor first, so that what lies past the old end is
 * never there before the end is. */
int disk_save_size(struct disk *d) NONNULL CHECKED;
/*
 * Whether the descriptor says that somebody has attached the disk since.  A
 * lock that was lost can be free again when we look at it, as on a network file
 * system after its lease ran out; taking it once more then changes nothing.
 * That the descriptor cannot be read says nothing.
 */
bool disk_session_lost(struct disk *d) NONNULL;

/* ---- disk.c ---- */

/* For disk_resume(): the layers of a disk whose session is known, or those of
 * what is frozen. */
int disk_open_top(struct disk *d, int flags) NONNULL CHECKED;
int disk_open_frozen(struct disk *d) NONNULL CHECKED;
/* resume.c: like attach. */
int disk_go_on(struct disk *d, unsigned slot, const char *name, int lock_fd)
    NONNULL CHECKED;

/* A disk without a name that has layer ${ref}, frozen, on top, by the keys of
 * a descriptor; what it writes there is durable as that of any disk.  Ends with
 * disk_abandon().  -EAGAIN: that names another layer by now, and has other keys
 * perhaps. */
struct seen;
int disk_open_layer(struct engine *e, const struct seen *by,
		    const struct layer_ref *ref, struct disk **ret)
    NONNULL CHECKED;
/* The same by the keys of an attached one: no KMS is asked. */
int disk_open_layer_of(struct disk *d, const struct layer_ref *ref,
		       struct disk **ret) NONNULL CHECKED;

/* ---- snapshot.c ---- */

struct own_key;
/* A new layer above the top one, durable and open, that nothing names yet; its
 * lineage is ${own}'s, which the disk has, or where that is NULL the disk's.
 * The caller shares the lineages' locks. */
int snapshot_new_top(struct disk *d, const struct own_key *own,
		     struct layer **ret) __attribute__((__nonnull__(1, 3)))
CHECKED;
/* At a flush barrier: the disk goes on in a layer under ${own}, and asks to be
 * reencrypted at ${rate}.  -EALREADY: it does already. */
int snapshot_rekey(struct disk *d, struct scratch *s, const struct own_key *own,
		   uint64_t rate) NONNULL CHECKED;

static inline struct cache *
cache_of(const struct layer *l)
{
	return &l->disk->e->cache;
}

/*
 * What a page or chunk of the pool is, as a clock reads it that does not hold
 * it: it may become another one meanwhile.  What was read is a guess, which the
 * table confirms or not.
 */
#define POOL_GUESS(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define POOL_SET(field, value)                                                 \
	__atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

static inline uint64_t
cache_hash(const struct layer *l, unsigned kind, uint64_t index)
{
	uint64_t h = ((uintptr_t)l >> 4) * 0x9e3779b97f4a7c15ULL;

	h ^= (index * 8 + kind) * 0xff51afd7ed558ccdULL;
	return h ^ (h >> 29);
}

static inline struct shard *
cache_shard(struct cache *c, uint64_t hash)
{
	return &c->shards[hash % SHARDS];
}

/* ---- cache.c, cache_page.c: a bounded set of pages and chunks ---- */

void cache_lock_init(pthread_rwlock_t *l) NONNULL;
int cache_init(struct cache *c, uint64_t bytes) NONNULL CHECKED;
void cache_done(struct cache *c) NONNULL;

/**
 * page_get(l, kind, index, ret, ret_new):
 * A reference to that page.  With *${ret_new} it is an empty one, locked
 * exclusively by the caller, who loads it and unlocks it.
 *
 * -EAGAIN  every page is in use or dirty: let go of all locks, commit, retry
 */
int page_get(struct layer *l, enum page_kind kind, uint64_t index,
	     struct page **ret, bool *ret_new) NONNULL CHECKED;
/* The page if it is cached, with a reference, or NULL. */
struct page *page_peek(struct layer *l, enum page_kind kind, uint64_t index)
    NONNULL;
void page_put(struct page *p) NONNULL;
/* No-one finds it any more; the last reference frees it. */
void page_unhash(struct page *p) NONNULL;
void page_init(struct page *p) NONNULL;

/* -EAGAIN as above; a new chunk object is not in the table yet. */
int chunk_alloc(struct layer *l, uint64_t index, struct chunk **ret)
    NONNULL CHECKED;
struct chunk *chunk_peek(struct layer *l, uint64_t index) NONNULL;
/* Put ${c} into the table, or, where there is one already, drop ${c} and give
 * that one. */
struct chunk *chunk_insert(struct chunk *c) NONNULL;
void chunk_unhash(struct chunk *c) NONNULL;
/* The same, if it still is one of ${d}, and of ${l} where that is not NULL. */
void chunk_unhash_of(struct chunk *c, const struct disk *d,
		     const struct layer *l) __attribute__((__nonnull__(1, 2)));
void chunk_ref(struct chunk *c) NONNULL;
void chunk_put(struct chunk *c) NONNULL;
/* Make room for one more open file.  -EAGAIN: all of them are unsynced. */
int cache_file_slot(struct cache *c) NONNULL CHECKED;
/* This thread commits, and so gives files back: it may pass the limit. */
void cache_exceed(bool may);

/* No-one finds any of its pages and chunks any more. */
void cache_forget_layer(struct cache *c, struct layer *l) NONNULL;
/* Whether there are any that somebody holds. */
bool cache_has_layer(struct cache *c, const struct layer *l) NONNULL;
/* Forget all pages and chunks of ${d}, whatever their state. */
void cache_forget(struct cache *c, struct disk *d) NONNULL;
/* Call ${fn} for each page of ${d}, with a reference held. */
int cache_each(struct cache *c, struct disk *d,
	       int (*fn)(struct page *p, void *arg), void *arg)
    __attribute__((__nonnull__(1, 2, 3))) CHECKED;

/* ---- block.c: one block sealed ---- */

struct nonce {
	uint8_t base[NONCE_LEN];
};
int nonce_draw(struct nonce *n) NONNULL CHECKED;
/* Seal block ${bno} (in its chunk) into ${out}; fills unique and digest. The
 * aead of ${s} must have been keyed by block_key(). */
int block_seal(struct scratch *s, const struct chunk *c, unsigned bno,
	       const struct nonce *n, unsigned place, const uint8_t *in,
	       uint8_t *out, struct entry *e) NONNULL CHECKED;
int block_open(struct scratch *s, const struct chunk *c, unsigned bno,
	       const struct entry *e, const uint8_t *in, uint8_t *out)
    NONNULL CHECKED;
int block_key(struct scratch *s, const struct chunk *c) NONNULL CHECKED;
bool block_is_zero(const uint8_t *p) NONNULL;

static inline uint64_t
slot_offset(uint64_t group, unsigned slot)
{
	return SLOTS_OFFSET +
	       ((group % CHUNK_GROUPS) * GROUP_SLOTS + slot) * BLOCK_SIZE;
}

/* ---- layer.c: the map ---- */

/* ${digest}: what it must be if it is sealed, or NULL or zeros: not known. */
int layer_open(struct disk *d, const struct layer_ref *ref,
	       const uint8_t *digest, struct layer **ret)
    __attribute__((__nonnull__(1, 2, 4))) CHECKED;
/* The one below ${l}, see layer_parent(). */
int layer_open_parent(const struct layer *l, struct layer **ret)
    NONNULL CHECKED;
void layer_close(struct layer *l);
/* What its layer.ini says by now. */
int layer_load_meta(struct layer *l) NONNULL CHECKED;
/* Replace layer.ini and its spare copy, durably; or it alone, under the
 * barrier, and the other one later. */
int layer_save_meta(struct layer *l, const struct layer_meta *m)
    NONNULL CHECKED;
int layer_save_meta_first(struct layer *l, const struct layer_meta *m)
    NONNULL CHECKED;
void layer_save_spare(struct layer *l) NONNULL;
/* Whether the files say the same now; and the spare copy made anew of what
 * stands there, if that verifies.  For who knows that nobody changes them. */
bool layer_spare_is_same(const struct layer *l) NONNULL;
int layer_renew_spare(const struct layer *l) NONNULL CHECKED;
/* Load all root pages, as of a top layer: what is wrong is known at once. */
int layer_load_roots(struct layer *l, struct scratch *s) NONNULL CHECKED;
/* A root page, loaded. */
int root_get(struct layer *l, uint64_t n, struct scratch *s, struct page **ret)
    NONNULL CHECKED;
/* Open files of `todo`, of a layer that is on top. */
int layer_open_todo(struct layer *l) NONNULL CHECKED;

/**
 * layer_lookup(l, s, index, ret_state, ret):
 * What the map says of a chunk: ENTRY_ABSENT, ENTRY_ZERO, or ENTRY_DATA and a
 * reference to the chunk.
 */
int layer_lookup(struct layer *l, struct scratch *s, uint64_t index,
		 enum entry_state *ret_state, struct chunk **ret)
    NONNULL CHECKED;
/* The same without opening the chunk; ${ret_salt} is that of ENTRY_DATA. */
int layer_entry(struct layer *l, struct scratch *s, uint64_t index,
		enum entry_state *ret_state, uint8_t ret_salt[static 12])
    NONNULL CHECKED;
/* What the map says is the chunk's digest, if it still names ${c}. */
int layer_set_digest(struct layer *l, struct scratch *s, const struct chunk *c,
		     const uint8_t digest[static DIGEST_LEN]) NONNULL CHECKED;
/* Whether it has a digest there, or needs none. */
int layer_has_digest(struct layer *l, struct scratch *s, uint64_t index,
		     bool *ret) NONNULL CHECKED;
/* The first chunk at or after ${index} that the map may have; UINT64_MAX. */
int layer_next(struct layer *l, struct scratch *s, uint64_t index,
	       uint64_t *ret) NONNULL CHECKED;
/* The first map page from ${n} on that a root page knows; UINT64_MAX. */
int layer_next_map(struct layer *l, struct scratch *s, uint64_t n,
		   uint64_t *ret) NONNULL CHECKED;
/* Change an entry; ${salt} for ENTRY_DATA.  Marks map and root page dirty. */
int layer_set(struct layer *l, struct scratch *s, uint64_t index,
	      enum entry_state state, const uint8_t *salt, struct chunk *c)
    __attribute__((__nonnull__(1, 2))) CHECKED;
/* Whether the parents of ${l} may have anything in chunk ${index}. */
int layer_parent_has(struct layer *l, struct scratch *s, uint64_t index,
		     bool *ret) NONNULL CHECKED;
/* Remove chunk files that an unclean stop left unnamed (`todo`). */
int layer_clean_todo(struct layer *l, struct scratch *s) NONNULL CHECKED;

static inline bool
layer_is_frozen(const struct layer *l)
{
	return atomic_load(&l->frozen);
}

/* ---- chain.c: the parents of a layer ---- */

/* The parent, opened; ${l} has one. */
int layer_parent(struct layer *l, struct scratch *s, struct layer **ret)
    NONNULL CHECKED;
/* The chunk from ${index} on that a parent of ${l} has, where that comes before
 * *${best}. */
int chain_next(struct layer *l, struct scratch *s, uint64_t index,
	       uint64_t *best) NONNULL CHECKED;
/* Where the parents of ${l} have the blocks of a group: the numbers of layers,
 * or 0 for zeros.  The page is locked, shared. */
int chain_get(struct layer *l, uint64_t group, struct scratch *s,
	      struct page **ret) NONNULL CHECKED;
/**
 * chain_merged(d, y, gone):
 * Layer ${y}, which ${d} or another disk has on top, has got all that its
 * parent, ${gone}, had, and that one's parent: so has it in the chain of ${d}
 * from now on.  With the barrier held exclusively.  The one that has left the
 * chain, for chain_close() when the barrier is let go of, or NULL.
 */
struct layer *chain_merged(struct disk *d, struct layer *y,
			   const struct uuid *gone) NONNULL;
/* The same where it has got all that lies below, and has no parent any more.
 * The first of those that have left, or NULL; chain_close_all(). */
struct layer *chain_cut(struct disk *d, struct layer *y) NONNULL;
/* Layer ${l} and all that are open below it; NULL: none. */
void chain_close_all(struct layer *l);
/* Where somebody holds a page or chunk of it just now, it stays open until the
 * disk is detached. */
void chain_close(struct layer *l) NONNULL;
/* What ${l} does not have: its parents' content, or zeros.  Within a group. */
int parent_read(struct layer *l, struct scratch *s, void *buf, size_t len,
		uint64_t off) NONNULL CHECKED;

/* ---- chunk.c: a chunk's file ---- */

/* Derive keys from c->salt and c->cipher and the layer's DK. */
int chunk_derive(struct chunk *c) NONNULL CHECKED;
/* Find a chunk's file and learn its cipher, then derive.  Its pages are in
 * s->run. */
int chunk_begin(struct chunk *c, struct scratch *s) NONNULL CHECKED;
/* Its 16 pages into s->run, zeros for what cannot be read: ${ret_unread} is of
 * which groups.  With chunk->lock held.  -ENODATA: the file is too short. */
int chunk_pages(struct chunk *c, struct scratch *s, unsigned *ret_unread)
    NONNULL CHECKED;
/* Make the chunk in the top layer, if it still is not there.  A reference. */
int chunk_make(struct layer *l, struct scratch *s, uint64_t index,
	       struct chunk **ret) NONNULL CHECKED;
/* Note its name, for whoever cleans up after a crash. */
void chunk_note(const struct chunk *c) NONNULL;
/* A new file that no map names yet, its blocks all in ${state}. */
int chunk_create(struct layer *l, struct scratch *s, uint64_t index,
		 enum entry_state state, struct chunk **ret) NONNULL CHECKED;
/* Such a file goes again. */
void chunk_abandon(struct chunk *c) NONNULL;
/* With chunk->lock held in any mode: the open file. */
int chunk_file(struct chunk *c, struct store_file **ret) NONNULL CHECKED;
/* The whole chunk becomes absent or zero.  Takes no locks held. */
int chunk_discard(struct layer *l, struct scratch *s, uint64_t index,
		  enum entry_state state) NONNULL CHECKED;
/* Re-encrypt into a new file under a new salt.  Takes no locks held. */
int chunk_rewrite(struct layer *l, struct scratch *s, uint64_t index)
    NONNULL CHECKED;
/* With chunk->lock held: its file has writes that are not synced. */
void chunk_touch(struct chunk *c) NONNULL;
/* The same: they are, and its name is, from now on. */
int chunk_sync(struct chunk *c) NONNULL CHECKED;
void chunk_name(const struct chunk *c, char out[static STORE_PATH_LEN]) NONNULL;
/* Its file by another layer's name; ${path} is by its own, and is changed. */
int chunk_find_passed(struct chunk *c, char path[static STORE_PATH_LEN])
    NONNULL CHECKED;
/* Data blocks in the groups of ${mask}, by the pages in the file.  With
 * chunk->lock held. */
unsigned chunk_count(struct chunk *c, struct scratch *s, unsigned mask) NONNULL;

/* ---- load.c: a page from its two copies ---- */

/* ${p} is empty and locked exclusively; sets state.  For a group page the
 * chunk's lock is held. */
int page_load(struct page *p, struct scratch *s) NONNULL CHECKED;
/* The key, file and offset base of a page. */
int page_home_of(struct page *p, const uint8_t **ret_key,
		 struct store_file **ret_file, uint64_t *ret_base)
    NONNULL CHECKED;

/**
 * group_get(c, group, s, exclusive, ret):
 * The page of a group of ${c}, loaded and locked.  The chunk's lock is held,
 * shared, by the caller.
 */
int group_get(struct chunk *c, uint64_t group, struct scratch *s,
	      bool exclusive, struct page **ret) NONNULL CHECKED;
/* The same for a map page; -ENOENT where the root pages know none, unless
 * ${make}. */
int map_get(struct layer *l, uint64_t n, struct scratch *s, bool exclusive,
	    bool make, struct page **ret) NONNULL CHECKED;
void page_release(struct page *p) NONNULL;

/* ---- dirty.c ---- */

/* With the page's lock held exclusively (or a root's): it has changed.
 * ${bytes}: what was written, for the bound of the background commits. */
void page_dirty(struct page *p, uint64_t bytes) NONNULL;
/* Whether a commit has anything to do; the disk's mutex is held. */
bool disk_is_dirty(struct disk *d) NONNULL;
/* A sync has failed: final (format.md, "Errors").  -EIO. */
int disk_fail(struct disk *d, int err, const char *what) NONNULL;
/* The same for all disks: the error of a sync of the whole store is told once,
 * to whoever asked first. */
void engine_fail(struct engine *e, int err) NONNULL;
/* Drop every reference that lists and commits hold (detach, abandon). */
void dirty_drop(struct disk *d) NONNULL;

/* ---- commit.c, commit_wait.c ---- */

int commit_new(struct commit **ret) NONNULL CHECKED;
void commit_free(struct commit *c);
/* Commit what is dirty now, or share the commit that will. */
int commit_wait(struct disk *d) NONNULL CHECKED;
/* Ask the background thread for one. */
void commit_ask(struct disk *d) NONNULL;
/* No page or descriptor was to be had: commit, so that there is one. */
int commit_for_room(struct disk *d) NONNULL CHECKED;

/* ---- merge.c ---- */

/* A piece of merging layers that one child alone needs.  1: there is more. */
int engine_merge(struct engine *e, const atomic_bool *stop)
    __attribute__((__nonnull__(1))) CHECKED;

/* ---- checkpoint*.c: what the newest version of everything is ---- */

/**
 * checkpoint_verify(d):
 * Before anything is written: whether the files of the top layer are those of
 * the last checkpoint, or were written after it.  ${d} keeps what they should
 * be, for checkpoint_begin().
 *
 * -ESTALE  they are older; logged
 */
int checkpoint_verify(struct disk *d, int flags, struct digests **ret)
    NONNULL CHECKED;
/* -ESTALE, or where that is asked for it is read all the same: 0.  Logs. */
int checkpoint_rolled_back(struct disk *d, int flags, const char *why)
    NONNULL CHECKED;
/* The map of ${l}, the top layer, was put back alone: the same. */
int checkpoint_older(struct layer *l, int flags) NONNULL CHECKED;
/* ${l} has just been put on top, with nothing read of it yet.  ${known} is what
 * checkpoint_verify() gave, or NULL; it is the layer's from now on. */
int checkpoint_begin(struct layer *l, struct digests *known, bool tracked)
    __attribute__((__nonnull__(1))) CHECKED;
/* Of a layer that is sealed. */
int checkpoint_hold(struct layer *l) NONNULL CHECKED;
void checkpoint_end(struct layer *l) NONNULL;
/* recount.c: nothing of ${l}, the top layer, is known to be what the descriptor
 * says of it, and nothing has changed yet. */
int recount_begin(struct layer *l) NONNULL CHECKED;
void recount_end(struct layer *l) NONNULL;
/* Whether the chunk is still to be counted; and so many has it, with nobody
 * else at it. */
bool recount_needs(const struct layer *l, uint64_t index) NONNULL;
void recount_chunk(struct layer *l, uint64_t index, unsigned blocks) NONNULL;
/* It is new, or has gone: from now on all that changes there is known. */
void recount_known(struct layer *l, uint64_t index) NONNULL;
/* All have been counted. */
void recount_done(struct layer *l) NONNULL;
/* So many blocks of the chunk have come, or gone. */
void blocks_changed(struct layer *l, uint64_t index, int64_t blocks) NONNULL;
/* What a descriptor says where there is no checkpoint of the top layer. */
void checkpoint_clear(struct descriptor *d) NONNULL;
/* A group of the chunk has become dirty, or its entry in the map. */
void checkpoint_changed(struct layer *l, uint64_t index) NONNULL;
/* A page was loaded: -EBADMSG, it is an older one.  Locked exclusively. */
int checkpoint_page(struct page *p) NONNULL CHECKED;
/* A page was committed. */
void checkpoint_committed(struct page *p) NONNULL;
/* The 16 pages of ${c} are in s->run, ${e} is its entry: -EBADMSG the same. */
int checkpoint_chunk(struct chunk *c, struct scratch *s, const struct entry *e)
    NONNULL CHECKED;
/* A round in the background; whether there may be more to do. */
void checkpoint_round(struct disk *d) NONNULL;
bool checkpoint_due(struct disk *d) NONNULL;
/* At detach, when all is committed and mirrored, and again when what this has
 * changed is: the first brings the digests up to date, 1 where it cannot or
 * need not; the second puts the checkpoint into ${desc}. */
int checkpoint_refresh(struct disk *d) NONNULL CHECKED;
int checkpoint_take(struct disk *d, struct descriptor *desc) NONNULL CHECKED;
/* All pages of the layer's map are loaded once, and so known to the list. */
int checkpoint_complete(struct layer *l, struct scratch *s) NONNULL CHECKED;
/* Replace the list of ${l}, all of whose pages are durable. */
int checkpoint_save(struct layer *l, struct scratch *s, uint64_t session,
		    uint8_t ret[static SHA256_LEN]) NONNULL CHECKED;

/* What ${d} has of a layer, if it knows what of that has changed; or NULL. */
struct layer *checkpoint_known(struct disk *d, const struct uuid *layer)
    NONNULL;
/* The chunk from *${at} on that may lack its digest, by ${known}, from which it
 * is taken, or where that is NULL the next one of ${l}; UINT64_MAX. */
int checkpoint_next(struct layer *l, struct layer *known, struct scratch *s,
		    uint64_t *at) __attribute__((__nonnull__(1, 3, 4))) CHECKED;
/* Put its digest right, whatever that takes; nobody else writes to it.
 * ${lacking}: where it has none only. */
int checkpoint_chunk_digest(struct layer *l, struct scratch *s, uint64_t index,
			    bool lacking) NONNULL CHECKED;

/* ---- anchor.c: what the key service knows ---- */

/* -ESTALE: the descriptor is older than that. */
int anchor_check(struct disk *d, int flags) NONNULL CHECKED;
/* Tell it, if ${d} has it so, what has become durable; it fails with a warning.
 */
void anchor_tell(struct kms *kms, const struct descriptor *d) NONNULL;
/* The same where it knows of a later state. */
void anchor_force(struct kms *kms, const struct descriptor *d) NONNULL;

/* ---- seal.c: a frozen layer gets its digest ---- */

struct verdict; /* catalog_private.h */
struct sealing {
	struct engine *e;
	const struct verdict *v;
	const struct layer_meta *l;
	const struct key *dk;
	struct disk *d;      /* has it on top, and is not its disk */
	struct disk *held;   /* attached, and ... */
	struct layer *known; /* ... its layer knows which chunks to look at */
	uint64_t before;     /* chunks that are done, by what an earlier piece
			      * knew */
	bool locked;         /* the caller has locked all disks that reach it */
	uint8_t digest[SHA256_LEN]; /* what is written; zeros: none */
};

/* seal_names.c: s->digest to those that name the layer, but for children in
 * other lineages, or on top of disks that another process has. */
int seal_put_children(const struct sealing *s) NONNULL CHECKED;
int seal_put_pins(const struct sealing *s) NONNULL CHECKED;
/* Whether one of them has another. */
bool seal_is_stale(const struct verdict *v, const struct layer_meta *l)
    NONNULL CHECKED;
struct census; /* catalog_private.h */
/* The disk that writes a layer; NULL: nobody does. */
const struct seen *seal_writer_of(const struct census *c,
				  const struct uuid *layer) NONNULL;

/* ${s} has e, v, l, dk, d and `locked`: nobody relies any more on the digest of
 * the layer that s->d has on top, not even the ${n} attached disks ${held}. */
int unseal(struct sealing *s, struct disk *const *held, size_t n)
    NONNULL CHECKED;

/* The same of a layer whose map is lost; the caller has locked all disks that
 * write into its lineage, and this. */
int unseal_lost(struct engine *e, const struct layer_meta *l,
		const struct key *dk) NONNULL CHECKED;

/* ---- quiet.c: what is done when nobody is waiting ---- */

int quiet_start(struct disk *d) NONNULL CHECKED;
void quiet_stop(struct disk *d) NONNULL;
/* Mirror and punch now what would be when it has been quiet. */
void quiet_hurry(struct disk *d) NONNULL;
/* One round; ${all}: without waiting for age (detach). */
void quiet_round(struct disk *d, bool all) NONNULL;
/* Write a page's second copy; lock held exclusively.  0 where it need not. */
int page_mirror(struct page *p) NONNULL CHECKED;
/* Mirror and punch a page that is about to leave; takes what locks it can
 * get without waiting.  -EAGAIN: not now. */
int page_retire(struct page *p) NONNULL CHECKED;

/* With the locks of page and chunk held: give back the space of freed slots,
 * where at least ${min_run} lie side by side. */
void group_punch(struct page *p, unsigned min_run) NONNULL;
/* Keep disk->kept right after used, prot, infl or space has changed. */
void group_count_kept(struct page *p) NONNULL;
/* Write one copy of ${p} (load.c). */
int page_write_copy(struct page *p, unsigned copy, const uint8_t *raw,
		    bool sync) NONNULL CHECKED;
/* A reference to a page that may be on its way out. */
bool page_try_ref(struct page *p) NONNULL;

/* ---- group.c: blocks of one group ---- */

/*
 * The range lies within one group.  All of them return -EAGAIN where a commit
 * must come first, and -ESTALE where the chunk was replaced: try again.
 */
int group_read(struct layer *l, struct scratch *s, void *buf, size_t len,
	       uint64_t off) NONNULL CHECKED;
/* The states of what ${l} itself has. */
int own_states(struct layer *l, struct scratch *s, uint64_t group,
	       uint8_t ret[static GROUP_BLOCKS]) NONNULL CHECKED;
/* The 128 states of a group, absent ones filled in from the parents. */
int group_states(struct layer *l, struct scratch *s, uint64_t group,
		 uint8_t ret[static GROUP_BLOCKS]) NONNULL CHECKED;
int group_write(struct disk *d, struct scratch *s, const void *buf, size_t len,
		uint64_t off) NONNULL CHECKED;
/* ${off} and ${len} are whole blocks of one group of a chunk of the top. */
int group_zero(struct disk *d, struct scratch *s, uint64_t off, size_t len)
    NONNULL CHECKED;

/* What a layer takes from below. */
struct fill {
	struct layer *parent;
	uint64_t limit;  /* bytes of the disk, from where on nothing is */
	bool deep;       /* also from below the parent */
	uint8_t *buf;    /* room for a group */
	unsigned blocks; /* counted: that were copied */
};
/**
 * group_fill(c, s, group, f):
 * What ${c}, whose lock is held, does not have of a group and the parent itself
 * has, it has from now on; with f->deep, what is data in any layer below.
 * -EKEYEXPIRED: sealed too often under its key.
 */
int group_fill(struct chunk *c, struct scratch *s, uint64_t group,
	       struct fill *f) NONNULL CHECKED;

/* An integrity fault: counted and logged where it is found, so that many of one
 * kind do not keep those of another out of the log. */
void fault_log_at(struct disk *d, const char *file, int line, const char *fmt,
		  ...) __attribute__((__format__(__printf__, 4, 5)));
#define fault_log(d, ...) fault_log_at(d, __FILE__, __LINE__, __VA_ARGS__)

#endif
