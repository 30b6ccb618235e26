/*
 * engine_types.h - what the engine is made of.
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
#ifndef SEALDISK_ENGINE_TYPES_H
#define SEALDISK_ENGINE_TYPES_H

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
	atomic_uint kept; /* freed slots with space, as counted in disk->kept */

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
	/* No page was left with copies that differ by whoever wrote it before:
	 * where one of them cannot be read, the other will do. */
	atomic_bool at_rest;
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
	bool unproved;    /* some of it could not be looked at */
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

#endif
