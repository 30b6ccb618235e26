/*
 * catalog_private.h - what the files of the catalog share.
 */
#ifndef SEALDISK_CATALOG_PRIVATE_H
#define SEALDISK_CATALOG_PRIVATE_H

#include "catalog.h"
#include "kept.h"

struct catalog {
	struct store *st;
	struct store_meta meta;
	pid_t owner; /* whose number stands in locks; 0: ours */
	/* Disks that a process before this one had attached, and whose locks
	 * are held for us until they are gone on with; or NULL. */
	const struct kept *kept;
};

/* Names, collected from a listing. */
struct names {
	char **v;
	bool *is_dir;
	size_t n, cap;
	size_t max; /* 0: all; else the listing ends with that many */
};
/* Replaces what ${n} holds; a folder that is not there is empty. */
int names_list(struct store *st, const char *path, struct names *n)
    NONNULL CHECKED;
void names_done(struct names *n);

/* Where ${name} (DISK@NAME of a snapshot) lies.  -EINVAL: not a name. */
int catalog_path(enum desc_type type, const char *name,
		 char out[static STORE_PATH_LEN]) NONNULL CHECKED;
/* The folder that a path lies in. */
void path_folder(const char *path, char out[static STORE_PATH_LEN]) NONNULL;
/* Whether something is there: 1, 0, or a negative errno. */
int store_exists(struct store *st, const char *path) NONNULL CHECKED;
/* snapshots/DISK; and whether it holds anything. */
void path_snapshots(const char *disk, char out[static STORE_PATH_LEN]) NONNULL;
int has_snapshots(struct store *st, const char *disk) NONNULL CHECKED;
/* lineages/UUID, or with ${file} what is in it. */
void path_lineage(const struct uuid *lineage, const char *file,
		  char out[static STORE_PATH_LEN])
    __attribute__((__nonnull__(1, 3)));

/* locks/catalog, waited for. */
int catalog_lock_names(struct catalog *c, struct store_lock **ret)
    NONNULL CHECKED;
/* The same, not waited for: -EBUSY. */
int catalog_try_names(struct catalog *c, struct store_lock **ret)
    NONNULL CHECKED;
/* -EBUSY */
int catalog_lock_lineage(struct catalog *c, const struct uuid *lineage,
			 struct store_lock **ret) NONNULL CHECKED;

/* lock.c: locks of several lineages, in an order that is always the same. */
struct lineage_locks {
	struct store_lock **v;
	size_t n;
	bool own; /* their files go with them */
};
/* ${receive}: locks/receive-UUID, for ourselves, else -EBUSY; otherwise the
 * lineage's, shared. */
int lineages_lock(struct catalog *c, const struct uuid *v, size_t n,
		  bool receive, struct lineage_locks *ret) NONNULL CHECKED;
/* Those of a descriptor, one or the other more than once. */
#define LINEAGES_MAX (DESC_KEYS_MAX + 1)
size_t descriptor_lineages(const struct descriptor *d,
			   struct uuid ret[static LINEAGES_MAX]) NONNULL;
void lineages_unlock(struct lineage_locks *l);
/* Those that a descriptor's layers lie in, shared: for who makes a layer or a
 * name that reaches them. */
int lineages_share(struct catalog *c, const struct descriptor *d,
		   struct lineage_locks *ret) NONNULL CHECKED;

/*
 * The mark of a lineage that is being made or removed.  It is an empty file: it
 * can be made where a file system is full, and so a disk removed.
 */
#define PENDING "pending"
int pending_mark(struct store *st, const struct uuid *lineage) NONNULL CHECKED;
/* The mark of one in which layers are frozen and not sealed, or what names them
 * does not say so, or are being made; the same kind of file.  Made and removed
 * under the lineage's lock. */
#define UNSEALED "unsealed"
int lineage_mark(struct store *st, const struct uuid *lineage, const char *mark)
    NONNULL CHECKED;
/* Needs no sync: a mark that comes back is looked at again. */
void lineage_unmark(struct store *st, const struct uuid *lineage,
		    const char *mark) NONNULL;

/* All lineages of a descriptor that goes, or has other layers from now on. */
int pending_mark_all(struct store *st, const struct descriptor *d)
    NONNULL CHECKED;
/* Again, after it was replaced without the names' lock: a sweep that found them
 * alive just before takes the mark away, and has done so when that lock is
 * ours. Unmarked they stay until the next removal there. */
void pending_mark_left(struct catalog *c, const struct descriptor *d) NONNULL;

/* catalog_ownkey.c: a new lineage and its DK, which nothing names yet. */
struct own_key {
	struct desc_key k;
	struct key dk;
};
/* Under CMK ${key}, for what stands on the layers of ${over}.  -E2BIG: that
 * has as many DKs as a descriptor can name. */
int own_key_new(struct kms *kms, const char *key, const struct descriptor *over,
		struct own_key *ret) NONNULL CHECKED;
void own_key_wipe(struct own_key *o) NONNULL;
/* ${d} is of that lineage; its layer is still to be made. */
void own_key_put(const struct own_key *o, struct descriptor *d) NONNULL;

/* catalog_change.c.  -EEXIST: a disk of that name, or snapshots of one that is
 * gone. */
int names_check_free(struct catalog *c, enum desc_type type, const char *of,
		     const char *name) __attribute__((__nonnull__(1, 4)))
CHECKED;
/* catalog_rename() with the names locked. */
int rename_locked(struct catalog *c, struct descriptor *d, const struct key *dk,
		  const char *to) NONNULL CHECKED;
/* A new descriptor; after an error it is not there, as far as that goes. */
int catalog_add_one(struct catalog *c, const struct descriptor *d,
		    const struct key *dk) NONNULL CHECKED;
/* After an error, and as far as it goes. */
void try_remove(struct store *st, const char *path) NONNULL;

/* Sets of snapshots that are being made: an empty file each, named by its uuid.
 */
#define SETS "sets"

#define STORE_INI "store.ini"

/* catalog_spare.c: spares/UUID.ini, by the uuid of the descriptor. */
#define SPARES "spares"
void path_spare(const struct uuid *uuid, char out[static STORE_PATH_LEN])
    NONNULL;
bool spare_name_parse(const char *name, struct uuid *ret) NONNULL CHECKED;
enum spare_state { SPARE_NONE, SPARE_SAME, SPARE_OTHER, SPARE_AHEAD };
/* Whether a spare says all that ${text} does but what changes by itself. */
bool spare_says(const char *spare, const char *text, bool frozen)
    NONNULL CHECKED;
/*
 * Whether a disk's spare copy, ${text}, names a layer above ${layer}, which its
 * descriptor does, and there is something in what is above: the descriptor is
 * of before a snapshot, and was put back.  A crash may leave a spare that is
 * ahead by a layer that nobody has written to.
 */
bool spare_is_ahead(struct store *st, const char *text, size_t len,
		    const struct layer_ref *layer) NONNULL;
/* The same of the one that there is. */
bool catalog_spare_is_ahead(struct catalog *c, const struct descriptor *d)
    NONNULL;
/* Whether that names a layer above; and if so, whether there is something. */
bool catalog_spare_is_above(struct catalog *c, const struct descriptor *d,
			    bool *ret_holds) NONNULL;
/* What the spare of ${d}, the text of which is ${text}, is. */
int spare_look(struct catalog *c, const struct descriptor *d, const char *text,
	       enum spare_state *ret) NONNULL CHECKED;
/* Before a descriptor is replaced of which a wrapped key has changed, or
 * removed.  Durable.  That there is none to be removed is no error. */
int spare_put(struct catalog *c, const struct uuid *uuid, const char *text)
    NONNULL CHECKED;
/* The same, but that a folder in its place, which says nothing, is no error. */
int spare_follow(struct catalog *c, const struct uuid *uuid, const char *text)
    NONNULL CHECKED;
int spare_remove(struct catalog *c, const struct uuid *uuid) NONNULL CHECKED;
/* The same of store.ini; made where there is none, if there is space. */
int store_spare_put(struct store *st, const char *text) NONNULL CHECKED;
void store_spare_keep(struct catalog *c) NONNULL;

/* Every descriptor of a store, as far as recovery and sweeping ask. */
struct seen {
	enum desc_type type;
	char *name; /* DISK@NAME of a snapshot */
	struct uuid uuid, key;
	struct layer_ref layer;
	int64_t created;
	uint64_t session, size;
	uint8_t digest[SHA256_LEN];
	struct uuid set;
};
struct census {
	struct seen *seen;
	size_t n, cap;
	struct uuid *lineages; /* that some descriptor names */
	size_t n_lineages, cap_lineages;
	unsigned bad; /* descriptors that could not be read, or are lost: what
		       * they name is not known, or nobody names it */
};
/* The caller holds locks/catalog. */
int census_take(struct catalog *c, struct census *ret) NONNULL CHECKED;
/* The same for who does not. */
int catalog_census(struct catalog *c, struct census *ret) NONNULL CHECKED;
void census_done(struct census *s);
bool census_has_lineage(const struct census *s, const struct uuid *lineage)
    NONNULL;

/* catalog_layers.c: layers as their layer.ini says, not authenticated. */
struct layer_set {
	struct layer_meta *v;
	size_t n, cap;
};
void layers_done(struct layer_set *s);
int layers_put(struct layer_set *s, const struct layer_meta *m) NONNULL CHECKED;
const struct layer_meta *layers_find(const struct layer_set *s,
				     const struct uuid *layer) NONNULL;
/* A layer.ini, not authenticated. */
int layer_peek(struct store *st, const struct layer_ref *ref,
	       struct layer_meta *ret) NONNULL CHECKED;
/* One of which no more is known, which is neither merged nor merged into. */
int layers_add(struct layer_set *s, const struct uuid *layer) NONNULL CHECKED;
static inline bool
layers_has(const struct layer_set *s, const struct uuid *layer)
{
	return layers_find(s, layer) != NULL;
}
/* All that the descriptors reach, in whatever lineage. */
int layers_reached(struct store *st, const struct census *census,
		   struct layer_set *ret) NONNULL CHECKED;
/* Whether ${layer} is ${from} or one below it. */
bool layers_reach(const struct layer_set *live, const struct layer_ref *from,
		  const struct uuid *layer) NONNULL;
/* The next layer ${x}, from *${at} on, that only its child ${y} needs, under
 * the same DK.  -ENOENT. */
int layers_find_merge(const struct census *census, const struct layer_set *live,
		      const struct uuid *lineage, size_t *at,
		      const struct layer_meta **ret_x,
		      const struct layer_meta **ret_y) NONNULL CHECKED;
/* Whether a lineage has others, 1 or 0; and remove them: the caller has its
 * lock for itself.  0, or 1 where ${budget}, which counts files, has run out.
 */
int layers_any_dead(struct store *st, const struct uuid *lineage,
		    const struct layer_set *live) NONNULL CHECKED;
int layers_count_dead(struct store *st, const struct uuid *lineage,
		      const struct layer_set *live, unsigned *ret)
    NONNULL CHECKED;
int layers_remove_dead(struct store *st, const struct uuid *lineage,
		       const struct layer_set *live, unsigned *budget)
    NONNULL CHECKED;

/* IIIIIII-LLLLLLLL-SSSSSSSS.chunk: a chunk file's index and the first bytes of
 * its salt. */
bool chunk_name_parse(const char *name, uint64_t *ret_index,
		      uint8_t salt[static 4]) NONNULL CHECKED;

/* catalog_sweep.c: what is known of a store when it is decided what is dead,
 * and what can be merged. */
struct verdict {
	struct census census;
	struct layer_set live;
	bool alive; /* some descriptor names the lineage */
};
void verdict_done(struct verdict *v) NONNULL;
/**
 * catalog_judge(c, lineage, ret, v):
 * Take the lineage's lock for ourselves, then look.
 *
 * -EBUSY    somebody is making a layer of it
 * -EUCLEAN  some descriptor or layer.ini cannot be read
 */
int catalog_judge(struct catalog *c, const struct uuid *lineage,
		  struct store_lock **ret, struct verdict *v) NONNULL CHECKED;
/* Lineages that bear the mark; ${ret} is malloc'ed. */
int catalog_marked(struct catalog *c, struct uuid **ret, size_t *ret_n)
    NONNULL CHECKED;
int catalog_unsealed(struct catalog *c, struct uuid **ret, size_t *ret_n)
    NONNULL CHECKED;
/* receiving.c: layers of a lineage that are being received; *${ret_alive} is
 * set where there are any. */
int receiving_reached(struct store *st, const struct uuid *lineage,
		      struct layer_set *live, bool *ret_alive) NONNULL CHECKED;
/* The end of marks that a crash has left: of what is in ${s}, or of what is
 * going to be removed, ${gone}; either may be NULL. */
int receiving_forget(struct store *st, const struct census *s,
		     const struct descriptor *gone)
    __attribute__((__nonnull__(1))) CHECKED;

#endif
