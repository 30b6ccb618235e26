/*
 * mem_private.h - what the files of the store in memory share: the content of
 * files, and the tree of names.
 */
#ifndef SEALDISK_MEM_PRIVATE_H
#define SEALDISK_MEM_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

#define PIECE_LEN 65536
#define SECTOR_LEN 512
#define PIECE_SECTORS (PIECE_LEN / SECTOR_LEN)
#define UNIT_LEN 4096 /* of space */

/* splitmix64: the same on every machine for one seed. */
static inline uint64_t
mem_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

struct sectors {
	uint64_t w[PIECE_SECTORS / 64];
};

/*
 * 64 KiB.  NULL is zeros.  ${seen} and ${durable} are one buffer as long as no
 * sector is dirty (to be written) or lost (differs, and will not be).
 */
struct piece {
	uint8_t *seen, *durable;
	struct sectors dirty, lost;
	uint16_t used; /* units of ${seen} that take space */
};

/* A write, or zeros where ${data} is NULL, that was not synced since. */
struct change {
	struct change *next;
	uint64_t off, len;
	uint64_t size; /* of the file, after it */
	uint8_t *data;
};

struct content {
	struct piece **pieces; /* NULL: a hole, durably */
	size_t n;
	uint64_t size, durable_size;
	struct change *changes, **last; /* where they are recorded */
};

void content_read(const struct content *c, void *buf, size_t len, uint64_t off);
/* ${rng} NULL, here and below: nothing gets durable unasked. */
/* Units of space that it adds; -ENOMEM. */
int content_write(struct content *c, const void *buf, size_t len, uint64_t off,
		  uint64_t *rng);
/* Units that writing there would add. */
unsigned content_cost(const struct content *c, size_t len, uint64_t off);
/* Units that become free; never past the end. */
unsigned content_zero(struct content *c, uint64_t off, uint64_t len,
		      uint64_t *rng);
unsigned content_truncate(struct content *c, uint64_t size, uint64_t *rng);
unsigned content_units(const struct content *c);

/* Remember what was done to it just now; ${buf} NULL: zeros. */
void content_record(struct content *c, const void *buf, uint64_t len,
		    uint64_t off);

void content_sync(struct content *c);
void content_lose(struct content *c, uint64_t *rng);
void content_drop(struct content *c);
void content_crash(struct content *c, uint64_t *rng);
void content_done(struct content *c);

struct node;

/* What a name stood for. */
struct past {
	struct past *next;
	struct node *node;
};

/* A name in a folder, as it is seen and as it is durable; NULL: not there. */
struct entry {
	struct entry *next;
	struct node *seen, *durable;
	struct past *past; /* recorded: what it was in between, oldest first */
	char name[];
};

struct node {
	unsigned refs; /* entries, twice, and open files */
	bool is_dir;
	struct entry *entries;
	struct content content;
};

struct mem_lock {
	struct store_lock base;
	struct mem_lock *next;
	unsigned life;
	enum store_lock_mode mode;
	char *path, *info;
};

struct mem_store {
	struct store base;
	pthread_mutex_t mutex;
	pthread_cond_t unlocked;
	struct node *root;
	struct mem_lock *locks;
	unsigned life; /* +1 at each crash or kill */
	uint64_t rng;
	uint64_t limit, used; /* units; limit 0: none */
	char bad_part[STORE_PATH_LEN];
	uint64_t bad_off[2], bad_len;
	bool recording;
	void (*watch)(void *arg); /* or NULL */
	void *watch_arg;
	unsigned dies_in; /* changes; 0: it does not */
	bool dead;
	void (*died)(void *arg);
	void *died_arg;
};

/* A test without memory is at its end. */
void *mem_need(void *p);

struct mem_store *mem_enter(struct store *st); /* takes the mutex */
int mem_leave(struct mem_store *ms, int r);    /* returns ${r} */

/* Something is going to be changed; true: no, the process is dead. */
bool mem_dies(struct store *st);
/* Something is going to be durable; true: the same. */
bool mem_watch(struct store *st);

struct node *mem_node_new(bool is_dir);
struct node *mem_ref(struct node *n);
void mem_unref(struct mem_store *ms, struct node *n);
/* Let *${to} refer to ${n} instead of what it does. */
void mem_point(struct mem_store *ms, struct node **to, struct node *n);

struct entry *mem_find(struct node *dir, const char *name, size_t len,
		       bool make);
/* Change what is seen; what was there may get durable first, unasked. */
void mem_set(struct mem_store *ms, struct entry *e, struct node *n);
/* What is seen is durable. */
void mem_settle(struct mem_store *ms, struct entry *e);
/* The folder of the last component of ${path}, which *${ret_name} points at. */
int mem_parent(struct mem_store *ms, const char *path, bool make,
	       struct node **ret, const char **ret_name);
int mem_entry(struct mem_store *ms, const char *path, bool make,
	      struct entry **ret);
int mem_node(struct mem_store *ms, const char *path, struct node **ret);
int mem_folder(struct mem_store *ms, const char *path, struct node **ret);
/* Everything, or the names alone, durable as it is seen. */
void mem_sync_below(struct mem_store *ms, struct node *n, bool content);
/* Whether writing there is -ENOSPC. */
bool mem_no_space(struct mem_store *ms, const struct content *c, size_t len,
		  uint64_t off);

/* The operations of mem_name.c and mem_lock.c. */
int mem_sync_dir(struct store *st, const char *path);
int mem_list(struct store *st, const char *path,
	     int (*fn)(const char *name, bool is_dir, void *arg), void *arg);
int mem_load(struct store *st, const char *path, size_t max, char **ret_buf,
	     size_t *ret_len);
int mem_replace(struct store *st, const char *path, const void *buf,
		size_t len);
int mem_rename(struct store *st, const char *from, const char *to);
int mem_remove(struct store *st, const char *path);
int mem_lock(struct store *st, const char *path, enum store_lock_mode mode,
	     bool wait, const char *info, struct store_lock **ret);
int mem_lock_say(struct store_lock *l, const char *info);
void mem_unlock(struct store_lock *l, bool remove);
int mem_lock_check(struct store_lock *l);
int mem_lock_owner(struct store *st, const char *path, char **ret);

#endif
