/*
 * engine_private.h - what the files of the engine share.
 *
 * From the outside in: a disk has a chain of layers; a layer has a map (root
 * pages and map pages) that names its chunks; a chunk is a file with eight
 * groups; a group's page says where its 128 blocks lie.
 *
 * Locks, in the order in which they are taken:
 *
 *   disk->snapshots one change of what the disk is: its name, layers, keys
 *   disk->barrier   shared around a change; exclusive to freeze the top layer
 *   layer->creating one of 64, by chunk index: a chunk is made or discarded
 *   chunk->lock     shared by whatever uses the chunk's file; exclusive to let
 *                   the chunk die or to close its file
 *   page->lock      a child's page before its parent's; a group's before a
 *                   chain page, that before a map's, a map's before a root's
 *   layer->open_lock   while a root page or the parent is opened
 *   disk->size_lock while the descriptor is replaced
 *   disk->desc_lock the descriptor in memory
 *   disk->mutex     lists and counters of a disk
 *   shard->mutex    a bucket of the cache; nothing is taken under it
 *
 * Nobody waits for a commit with any of these held, but for a snapshot with
 * the first two.  Of what the store does none is held that another disk needs:
 * a call that hangs holds up its own disk, and what is done to names.
 */
#ifndef SEALDISK_ENGINE_PRIVATE_H
#define SEALDISK_ENGINE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "digest.h"
#include "disk.h"
#include "layer.h"
#include "page.h"
#include "super.h"

#define GROUP_BLOCKS 128
#define GROUP_LEN (GROUP_BLOCKS * BLOCK_SIZE)
#define CHUNK_GROUPS 8
#define CHUNK_BLOCKS (CHUNK_GROUPS * GROUP_BLOCKS)
#define CHUNK_LEN (CHUNK_GROUPS * GROUP_LEN)
#define GROUP_SLOTS 256
#define MAP_CHUNKS PAGE_ENTRIES /* chunks that one map page covers */
#define ROOTS 8
#define UNMERGED_MAX 16
#define LAYERS_MAX 65536 /* that a disk's chain may have, and one */

/* Where things lie in a chunk file and in a map (format.md, "Chunk file"). */
#define SLOTS_OFFSET 69632
#define MAP_OFFSET (16 * PAGE_LEN) /* map pages follow the root pages */

/* A circular list; a link that is in none points to itself. */
struct link {
	struct link *prev, *next;
};

static inline void
link_init(struct link *l)
{
	l->prev = l->next = l;
}
static inline bool
link_empty(const struct link *l)
{
	return l->next == l;
}
static inline void
link_append(struct link *list, struct link *l)
{
	l->prev = list->prev;
	l->next = list;
	list->prev->next = l;
	list->prev = l;
}
static inline void
link_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	link_init(l);
}
/* Move all of ${from} into the empty list ${to}. */
static inline void
link_move(struct link *from, struct link *to)
{
	link_init(to);
	if (link_empty(from))
		return;
	*to = *from;
	to->prev->next = to;
	to->next->prev = to;
	link_init(from);
}
#define LINK_OWNER(l, type, member)                                            \
	((type *)(void *)((char *)(l)-offsetof(type, member)))

/* 256 bits: slots of a group. */
struct slots {
	uint64_t w[GROUP_SLOTS / 64];
};

static inline bool
slots_has(const struct slots *s, unsigned i)
{
	return s->w[i / 64] >> (i % 64) & 1;
}
static inline void
slots_add(struct slots *s, unsigned i)
{
	s->w[i / 64] |= 1ULL << (i % 64);
}
static inline void
slots_del(struct slots *s, unsigned i)
{
	s->w[i / 64] &= ~(1ULL << (i % 64));
}
static inline void
slots_or(struct slots *s, const struct slots *o)
{
	for (unsigned i = 0; i < GROUP_SLOTS / 64; i++)
		s->w[i] |= o->w[i];
}
static inline unsigned
slots_count(const struct slots *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < GROUP_SLOTS / 64; i++)
		n += (unsigned)__builtin_popcountll(s->w[i]);
	return n;
}

enum page_state { PAGE_EMPTY, PAGE_LOADED, PAGE_FAILED };

/*
 * A page in memory: a group's, a map's or a root's.  `body` is what is current;
 * generation and session are those of the newest copy that is durable (or is
 * where a commit may still be retried).
 */
struct page {
	/* the cache's, under the shard's mutex */
	struct page *hash_next;
	atomic_uint refs;
	atomic_bool referenced; /* the clock's second chance */

	struct disk *_Atomic disk; /* NULL: not in use */
	struct layer *layer;
	enum page_kind kind;
	uint64_t index;
	pthread_rwlock_t lock;

	/* under `lock`; dirty and inflight are read without it by the clock */
	enum page_state state;
	int error; /* PAGE_FAILED: why */
	uint64_t generation, session;
	uint8_t cipher;
	uint32_t seals;
	uint8_t mac[DIGEST_LEN];      /* of that copy: its beginning */
	uint8_t next_mac[DIGEST_LEN]; /* of the image under way */
	atomic_bool dirty;    /* differs from what the last image says */
	atomic_bool inflight; /* an image of it is being committed */
	bool fresh;           /* a map page that is in no file yet */
	atomic_bool same;     /* both copies hold generation `generation` */
	bool drop_older; /* the copies differ: slots of both are in `prot` */
	_Atomic int64_t touched; /* ms; last change */
	struct link dirty_link;  /* disk->dirty, or the commit's own list */
	struct link commit_link; /* images under way */
	struct link quiet_link;  /* disk->quiet or disk->keep */
	unsigned kept; /* freed slots with space, as counted in disk->kept */

	/* a group's */
	struct chunk *chunk; /* holds a reference */
	struct slots used;   /* named by body */
	struct slots infl;   /* named by the image under way */
	struct slots prot;   /* named by a copy that a crash may bring back */
	struct slots space;  /* known to have space in the file */
	bool space_unknown;  /* of slots that are free: not known */

	union page_body body;
};

/*
 * A chunk of a layer.  The object may outlive its open file, which is closed
 * when descriptors run short; an object is kept while a page of it is cached.
 */
struct chunk {
	struct chunk *hash_next;
	atomic_uint refs;
	atomic_bool referenced;

	struct disk *_Atomic disk; /* NULL: not in use */
	struct layer *layer;
	uint64_t index;
	pthread_rwlock_t lock;
	pthread_mutex_t open_lock; /* serialises opening */
	_Atomic(struct store_file *) file;
	uint8_t salt[12];
	uint8_t cipher;
	struct uuid creator;
	uint8_t *keys;       /* 64 bytes of secret memory: block key, MAC key */
	atomic_bool dropped; /* its cached pages were dropped in this session */
	atomic_bool unsynced; /* on disk->unsynced, holding a reference */
	bool is_new;          /* its folder is not synced yet */
	bool made;            /* by this object: no slot had space before */
	bool dead;            /* under lock: no map names it any more */
	uint64_t dead_seq;    /* commits begun when it died */
	uint8_t uncounted;    /* of a dead one: groups that were not cached */
	struct link sync_link;
	struct link dead_link;
};

struct shard {
	pthread_mutex_t mutex;
	struct page **pages; /* buckets */
	struct chunk **chunks;
};

#define SHARDS 64

struct cache {
	struct shard shards[SHARDS];
	unsigned buckets;  /* a shard, a power of two */
	struct page *page; /* the pool */
	unsigned n_pages;
	struct chunk *chunk;
	unsigned n_chunks;
	atomic_uint page_hand, chunk_hand, file_hand;
	pthread_mutex_t free_lock;
	struct page *free_pages;
	struct chunk *free_chunks;
	atomic_uint fresh_pages, fresh_chunks; /* of the pool, never used yet */
	unsigned max_files;
	atomic_uint open_files;
	atomic_uint pinned; /* pages dirty or being committed */
};

/* Whether more than one in ${part} of all pages is pinned. */
static inline bool
cache_crowded(const struct cache *c, unsigned part)
{
	return atomic_load(&c->pinned) > c->n_pages / part;
}

/*
 * Chunks whose digest in the map may be an older one, of a layer that is
 * written to.  Atomic, so that a write costs no lock for it.
 */
#define CHANGED_WORDS (DISK_SIZE_MAX / CHUNK_LEN / 64)
struct changed {
	_Atomic uint64_t *bits; /* of all that there can be; NULL: not kept */
	_Atomic uint64_t end;   /* no word from here on has any */
	atomic_uint n;
	uint64_t at; /* the next word to look at */
};

/* recount.c */
struct recount {
	_Atomic uint64_t *counted;  /* a bit a chunk; NULL: all that there is */
	_Atomic int64_t correction; /* blocks */
	bool going_on;              /* the correction is still to be made */
};

/*
 * A layer of one disk's chain.  All but the top one are opened when they are
 * first asked: an attach costs the same however many snapshots there are.
 */
struct layer {
	struct disk *disk;
	unsigned number;    /* in disk->layers, from 1 on */
	atomic_bool frozen; /* nobody writes to it any more */
	struct layer_ref ref;
	struct layer_meta meta;
	struct key *dk;      /* one of disk->dks */
	struct key *map_key; /* secret memory */
	struct store_file *map;
	struct store_file *todo; /* of the top layer */
	uint64_t todo_len;
	pthread_mutex_t open_lock; /* what follows is opened as needed */
	struct page *_Atomic roots[ROOTS]; /* not in the cache */
	struct layer
	    *_Atomic parent; /* meta.has_parent: whether there is one */
	pthread_mutex_t creating[64];
	uint64_t parent_limit;

	/* checkpoint.c */
	struct digests *digests; /* of its pages; NULL: not kept */
	atomic_bool held;        /* what is read is held against them... */
	uint64_t digest_session; /* ...unless it was written after this one */
	atomic_bool older;       /* a root page was of before */
	struct changed changed;
	bool tracked;     /* what is not in `changed` has its digest */
	uint64_t walk_at; /* else: the next chunk to look at */
	bool lost;        /* nobody can know: no checkpoint in this session */
	struct recount recount;
};

struct scratch {
	struct aead *aead;
	uint8_t *run;   /* GROUP_LEN: sealed blocks on their way to the file */
	uint8_t *block; /* one block, decrypted */
	uint8_t *other; /* another one: the last of a request */
	uint8_t *temp;  /* a third: of which a part is wanted; settling */
};

#define DISK_DKS (DESC_KEYS_MAX + 1)
struct disk_dk {
	struct uuid uuid;
	struct key *key; /* secret memory; NULL: none */
};

/* Set by another thread. */
static inline bool
is_told(const atomic_bool *stop)
{
	return atomic_load_explicit(stop, memory_order_relaxed);
}

/* A copy of what lies below into layers under the disk's newest DK
 * (reencrypt.c). */
struct reencrypt {
	pthread_t thread;
	bool has_thread;
	atomic_bool stop;
	bool running; /* under size_lock */
	bool unsaved; /* a parent was dropped, perhaps not durably */
	/* under engine->merging: the next group of which layer */
	struct uuid layer;
	uint64_t at;
	int64_t next_ms;              /* when the rate lets it go on */
	_Atomic uint64_t done, total; /* bytes of that layer */
	atomic_int error;             /* of the last piece */
};

struct disk {
	struct engine *e;
	/* One that freezes it, gives it another name or other keys at a time;
	 * of several disks by address, before any other lock. */
	pthread_mutex_t snapshots;
	/* Changed under size_lock, which is held while the store is written to,
	 * and desc_lock, which is not: who reads it has either. */
	struct descriptor desc;
	pthread_mutex_t size_lock, desc_lock;
	struct disk_dk dks[DISK_DKS]; /* under layers_lock */
	struct reencrypt re;
	struct store_lock *lock;
	struct layer *_Atomic top;
	/* Shared by whoever changes the top layer; exclusive to freeze it. */
	pthread_rwlock_t barrier;
	struct layer *_Atomic
	    *layers;       /* LAYERS_MAX, by number; NULL: no chain */
	unsigned n_layers; /* under layers_lock */
	pthread_mutex_t layers_lock;
	uint64_t session;
	bool read_only;
	bool rolled_back; /* it is read all the same: no checkpoint is made */
	bool drop_cache;  /* after an unclean stop: see format.md, "Attach" */
	_Atomic uint64_t size;
	atomic_bool size_dirty; /* grown by a write, descriptor not replaced */
	/* ms: the spare copy does not say what the descriptor does; 0: it does
	 */
	_Atomic int64_t spare_since;
	atomic_bool failed; /* a sync has failed */
	atomic_uint pinned; /* its part of cache->pinned */

	pthread_mutex_t mutex;
	pthread_cond_t wake;      /* the background thread */
	pthread_cond_t committed; /* a commit ended */
	struct link dirty;        /* group pages */
	struct link dirty_map;    /* map pages */
	struct link dirty_root;   /* root pages */
	struct link quiet;        /* pages whose copies differ, oldest first */
	struct link keep;         /* mirrored groups with freed slots kept */
	struct link unsynced;     /* chunks */
	struct link dead;         /* chunks whose files are to go */
	unsigned n_dirty, n_dirty_map;
	int64_t dirty_since;          /* ms; 0: nothing is dirty */
	_Atomic uint64_t dirty_bytes; /* written since the last commit began */
	_Atomic uint64_t seq;         /* commits begun, and one */
	uint64_t done_seq;            /* the commit that ended last */
	uint64_t good_seq;            /* the last one that succeeded */
	int last_error;               /* of the commit that ended last */
	bool committing;
	_Atomic int64_t commit_since; /* ms; 0: none runs */
	bool commit_wanted;
	atomic_bool stop;
	bool has_thread;
	pthread_t thread;
	struct scratch *bg;    /* the background thread's, or the detacher's */
	struct commit *commit; /* buffers of the commit under way */
	char *seen; /* its: the descriptor as it was last looked at */
	_Atomic uint64_t kept; /* freed slots that still have space */

	_Atomic uint64_t reads, read_bytes, writes, write_bytes, zeros, flushes;
	_Atomic uint64_t commits, commit_errors, faults, repairs;
	_Atomic int64_t allocated; /* blocks */
	struct link all;           /* engine->disks */
	struct scratch *mover;     /* the merger's */
	bool attached;             /* under engine->mutex: to its end */
	unsigned holds;            /* the same: it is not detached meanwhile */
	bool brief;                /* DISK_BRIEF */
	bool nameless; /* of the merger: no descriptor, no lock of its own */
	/* kept_private.h, resume.c */
	struct kept_disk *slot; /* NULL: it has none */
	unsigned slot_no;
	struct replay *replay; /* of what a dead process has left; or NULL */
	atomic_bool replaying; /* some of it is still to be done */
	bool gone_on;          /* after that */
	bool unheard;          /* what changes now is in the ring already */
	atomic_bool unsettled; /* what that wrote need not be durable yet */
	_Atomic uint64_t resumed;
};

struct engine {
	struct store *st;
	struct kms *kms;
	struct catalog *cat;
	struct store_meta meta;
	struct cache cache;
	char *mount_point;
	unsigned commit_ms, quiet_ms;
	uint32_t seal_limit;   /* of a group; then its chunk is rewritten */
	unsigned merge_chunks; /* that a piece takes; 0: by time */
	bool manual;
	pthread_mutex_t mutex;
	pthread_cond_t released; /* of disk->holds, under `mutex` */
	pthread_mutex_t merging; /* one at a time */
	struct uuid merge_x,
	    merge_y; /* under `merging`: where it has come to */
	uint64_t merge_at;
	/* The same: children whose merge has failed in this sweep.  It has
	 * unsealed them, and who sealed them again would have it tried again,
	 * without end. */
	struct uuid unmerged[UNMERGED_MAX];
	unsigned n_unmerged;
	struct uuid seal_layer; /* the same of seal.c */
	bool seal_known;
	uint64_t seal_at;
	/* Of merging, in chunks, for who looks on; 0 of 0: nothing is merged.
	 */
	_Atomic uint64_t merged, merge_total;
	atomic_bool has_left; /* by the last sweep, something to do */
	struct link disks;
	struct kept *kept;
	int (*keep_lock)(void *arg, unsigned slot, int fd);
	void (*drop_lock)(void *arg, unsigned slot);
	void *keep_arg;
};

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

/* ---- disk.c ---- */

/* ---- disk_props.c ---- */

/* With size_lock held: what the descriptor is from now on. */
void disk_set_desc(struct disk *d, const struct descriptor *n) NONNULL;
void disk_set_desc_size(struct disk *d, uint64_t size) NONNULL;
/* For how many ms the commit that runs has. */
int64_t disk_commit_ms(struct disk *d) NONNULL;

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
/* The same, if it still is one of ${l}. */
void chunk_unhash_of(struct chunk *c, struct layer *l) NONNULL;
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
void layer_close(struct layer *l);
/* What its layer.ini says by now. */
int layer_load_meta(struct layer *l) NONNULL CHECKED;
/* Replace layer.ini, durably. */
int layer_save_meta(struct layer *l, const struct layer_meta *m)
    NONNULL CHECKED;
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
/* Its 16 pages into s->run, zeros for what cannot be read.  With chunk->lock
 * held.  -ENODATA: the file is too short. */
int chunk_pages(struct chunk *c, struct scratch *s) NONNULL CHECKED;
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

/* ---- commit.c ---- */

/* With the page's lock held exclusively (or a root's): it has changed.
 * ${bytes}: what was written, for the bound of the background commits. */
void page_dirty(struct page *p, uint64_t bytes) NONNULL;
/* Commit what is dirty now, or share the commit that will. */
int commit_wait(struct disk *d) NONNULL CHECKED;
/* A sync has failed: final (format.md, "Errors").  -EIO. */
int disk_fail(struct disk *d, int err, const char *what) NONNULL;
/* The same for all disks: the error of a sync of the whole store is told once,
 * to whoever asked first. */
void engine_fail(struct engine *e, int err) NONNULL;
/* Ask the background thread for one. */
void commit_ask(struct disk *d) NONNULL;
/* No page or descriptor was to be had: commit, so that there is one. */
int commit_for_room(struct disk *d) NONNULL CHECKED;
int commit_new(struct commit **ret) NONNULL CHECKED;
void commit_free(struct commit *c);
/* Whether a commit has anything to do; the disk's mutex is held. */
bool disk_is_dirty(struct disk *d) NONNULL;
/* Drop every reference that lists and commits hold (detach, abandon). */
void commit_drop(struct disk *d) NONNULL;
/* Write a page's second copy; lock held exclusively.  0 where it need not. */
int page_mirror(struct page *p) NONNULL CHECKED;
/* Mirror and punch a page that is about to leave; takes what locks it can
 * get without waiting.  -EAGAIN: not now. */
int page_retire(struct page *p) NONNULL CHECKED;

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
	struct disk *d;      /* has it on top, and is not its disk */
	struct disk *held;   /* attached, and ... */
	struct layer *known; /* ... its layer knows which chunks to look at */
	bool locked;         /* the caller has locked all disks that reach it */
	uint8_t digest[SHA256_LEN]; /* what is written; zeros: none */
};

/* ${s} has e, v, l, d and `locked`: nobody relies any more on the digest of the
 * layer that s->d has on top, not even the ${n} attached disks ${held}. */
int unseal(struct sealing *s, struct disk *const *held, size_t n)
    NONNULL CHECKED;

/* ---- quiet.c: what is done when nobody is waiting ---- */

int quiet_start(struct disk *d) NONNULL CHECKED;
void quiet_stop(struct disk *d) NONNULL;
/* Mirror and punch now what would be when it has been quiet. */
void quiet_hurry(struct disk *d) NONNULL;
/* One round; ${all}: without waiting for age (detach). */
void quiet_round(struct disk *d, bool all) NONNULL;
/* disk_props.c: the spare copy of the descriptor, which was changed alone, is
 * to follow; and follows, if it has waited long enough. */
void spare_later(struct disk *d) NONNULL;
void spare_round(struct disk *d, bool now) NONNULL;
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
