/*
 * catalog.h - the names of a store: which disks, snapshots and images there
 * are, and the locks around them.
 *
 * Every function works on the store itself, whoever else uses it: a change of
 * names is made under locks/catalog, held for that change alone.  A disk's
 * content belongs to whoever holds locks/disk-UUID.
 *
 * What a crash can leave between the steps of a change is put right by
 * catalog_recover(): a rename's two names for one uuid, a lineage without
 * descriptor.  A lineage is removed only where `lineages/UUID/pending` says
 * that it was being made or removed, every descriptor of the store could be
 * read, and none names it: losing a descriptor by accident loses no data.
 */
#ifndef SEALDISK_CATALOG_H
#define SEALDISK_CATALOG_H

#include "meta.h"
#include "store.h"

struct catalog;

/**
 * catalog_init(st, m): write store.ini into an empty store.
 * -EEXIST    it is a store already
 * -ENOTEMPTY the folder holds something else (lost+found is passed over)
 */
int catalog_init(struct store *st, const struct store_meta *m) NONNULL CHECKED;

/* Where store.ini is gone or damaged: make it anew of its spare copy.  -ENOENT,
 * -EUCLEAN: there is none that is any better. */
int catalog_restore(struct store *st) NONNULL CHECKED;

/* Read store.ini.  -ENOENT: not a store.  ${st} stays the caller's. */
int catalog_open(struct store *st, struct catalog **ret) NONNULL CHECKED;
void catalog_close(struct catalog *c);
DEFINE_CLEANUP(struct catalog, catalog_close)
const struct store_meta *catalog_meta(const struct catalog *c) NONNULL;
struct store *catalog_store(const struct catalog *c) NONNULL;

/**
 * catalog_recover(c): see above.  Logs what it put right.  *ret_bad counts
 * descriptors that could not be read.
 */
int catalog_recover(struct catalog *c, unsigned *ret_bad) NONNULL CHECKED;

/* Calls ${fn} for each name of ${type}, sorted; it returns 0 to go on.  Here
 * and below a snapshot's name is DISK@NAME. */
int catalog_list(struct catalog *c, enum desc_type type,
		 int (*fn)(const char *name, void *arg), void *arg)
    __attribute__((__nonnull__(1, 3))) CHECKED;

/* The same for the snapshots of one disk, which may be gone, and for the names
 * of the disks, there or gone, that have any. */
int catalog_snapshots(struct catalog *c, const char *disk,
		      int (*fn)(const char *name, void *arg), void *arg)
    __attribute__((__nonnull__(1, 2, 3))) CHECKED;
int catalog_snapshot_folders(struct catalog *c,
			     int (*fn)(const char *disk, void *arg), void *arg)
    __attribute__((__nonnull__(1, 2))) CHECKED;

/**
 * catalog_load(c, type, name, ret, ret_text, ret_len):
 * Read and parse a descriptor, not authenticated yet.  ${ret_text} may be NULL;
 * else it is malloc'ed, for descriptor_verify().
 *
 * -ENOENT   no such name
 * -EUCLEAN  malformed; or type, name or store in it are not these
 */
int catalog_load(struct catalog *c, enum desc_type type, const char *name,
		 struct descriptor *ret, char **ret_text, size_t *ret_len)
    __attribute__((__nonnull__(1, 3, 4))) CHECKED;

/* catalog_load, kms_decrypt of its top DK, descriptor_verify. */
int catalog_load_verified(struct catalog *c, struct kms *kms,
			  enum desc_type type, const char *name,
			  struct descriptor *ret, struct key *ret_dk)
    NONNULL CHECKED;

/**
 * catalog_save(c, d, dk):
 * Replace the descriptor of a disk whose lock the caller holds (size, session,
 * properties), and its spare copy where that says something else.  Durable.
 */
int catalog_save(struct catalog *c, const struct descriptor *d,
		 const struct key *dk) NONNULL CHECKED;

/* The descriptor alone, where somebody waits and no wrapped key has gone; and
 * its spare copy, later. */
int catalog_save_first(struct catalog *c, const struct descriptor *d,
		       const struct key *dk) NONNULL CHECKED;
int catalog_keep_spare(struct catalog *c, const struct descriptor *d,
		       const struct key *dk) NONNULL CHECKED;

struct disk_params {
	const char *name;
	uint64_t size;
	uint32_t sector_size; /* 512 or 4096 */
	const char *kind;     /* system | data; NULL: data */
	const char *category; /* NULL: the default */
	const char *key;      /* CMK: id, ARN or alias */
	uint32_t uid, gid, mode;
};

/**
 * catalog_create(c, kms, p, ret, ret_dk):
 * Make a disk: lineage and DK (GenerateDataKey), its first layer with its root
 * pages, and at last the descriptor, each durable before the next.  A new disk
 * has session 0 and is clean.  ${ret_dk} may be NULL.
 *
 * -EEXIST  a disk of that name, or snapshots of one that is gone
 * -EINVAL, -EFBIG  name, size, sector size, kind or category
 */
int catalog_create(struct catalog *c, struct kms *kms,
		   const struct disk_params *p, struct descriptor *ret,
		   struct key *ret_dk) __attribute__((__nonnull__(1, 2, 3, 4)))
CHECKED;

/* 0, or -EINVAL: no name; -EEXIST: it is taken.  ${of}: a snapshot's disk. */
int catalog_check_free(struct catalog *c, enum desc_type type, const char *of,
		       const char *name) __attribute__((__nonnull__(1, 4)))
CHECKED;

/**
 * catalog_add(c, d, dks, n):
 * Descriptors of what is there already: snapshots and images of frozen layers,
 * durable, all of them or after a crash none.  The caller shares the locks of
 * their lineages.  -EEXIST.
 */
int catalog_add(struct catalog *c, const struct descriptor *d,
		const struct key *const *dks, size_t n) NONNULL CHECKED;

/* What a new disk has of its own; the rest is as in what it comes from. */
struct clone_params {
	const char *name;
	uint64_t size;               /* 0: as it was; else not less */
	uint32_t sector_size;        /* 0: as it was */
	const char *kind, *category; /* NULL: as they were */
	uint32_t uid, gid, mode;
	const char *own_key; /* CMK of a DK of its own; NULL: the same DK */
};

/**
 * catalog_clone(c, kms, type, name, p, ret):
 * A disk on a layer of its own above that of a snapshot (DISK@NAME) or image:
 * no block is copied, the DK is shared.  One Decrypt, and for a DK of its own
 * one GenerateDataKey.
 *
 * -EEXIST; -EINVAL: a value, or a size below that of what it comes from
 * -E2BIG   a DK of its own would be one too many for a descriptor
 */
int catalog_clone(struct catalog *c, struct kms *kms, enum desc_type type,
		  const char *name, const struct clone_params *p,
		  struct descriptor *ret) NONNULL CHECKED;

/**
 * catalog_own_key(c, kms, name, key):
 * The same for a clone that is there, ${name}, and that was never attached: it
 * gets a lineage and DK of its own under CMK ${key}.
 *
 * -EINVAL  it was attached, or comes of nothing
 * -EBUSY   it is attached; -E2BIG
 */
int catalog_own_key(struct catalog *c, struct kms *kms, const char *name,
		    const char *key) NONNULL CHECKED;

/* The same with what it comes from loaded, ${from}, under ${dk}; the caller
 * shares its lineage's lock.  ${p} NULL: name and the rest are those of
 * ${from}. */
int catalog_put_clone(struct catalog *c, const struct descriptor *from,
		      const struct key *dk, const struct clone_params *p,
		      struct descriptor *ret)
    __attribute__((__nonnull__(1, 2, 3))) CHECKED;

/**
 * catalog_image(c, kms, snapshot, name, uid, gid, mode):
 * An image of a snapshot (DISK@NAME): another name for what it has.  One
 * Decrypt.
 */
int catalog_image(struct catalog *c, struct kms *kms, const char *snapshot,
		  const struct clone_params *p) NONNULL CHECKED;

/**
 * catalog_rollback(c, kms, snapshot):
 * The disk of a snapshot becomes what that is, with a layer of its own above
 * it; what was written since is gone.  Snapshots stay.  One Decrypt each.
 *
 * -EBUSY  the disk is attached
 */
int catalog_rollback(struct catalog *c, struct kms *kms, const char *snapshot)
    NONNULL CHECKED;

/**
 * catalog_update(c, kms, type, name, uuid, fn, arg):
 * Change owner and mode of the snapshot or image ${uuid}, called ${name}:
 * ${fn} edits the descriptor and returns 0 or an error.  It may be open,
 * wherever that is: who reads it never writes its descriptor, so that the
 * names' lock is enough.  One Decrypt.
 *
 * -ENOENT  the name is another's by now
 * -EBUSY   it is just being removed
 */
int catalog_update(struct catalog *c, struct kms *kms, enum desc_type type,
		   const char *name, const struct uuid *uuid,
		   int (*fn)(struct descriptor *desc, void *arg), void *arg)
    __attribute__((__nonnull__(1, 2, 4, 5, 6))) CHECKED;

/* The same for its name, a snapshot's without the disk's.  -EEXIST. */
int catalog_move(struct catalog *c, struct kms *kms, enum desc_type type,
		 const char *name, const struct uuid *uuid, const char *to)
    NONNULL CHECKED;

/**
 * catalog_survey(c, ret):
 * How the layers of a store hang together, as far as it can be read: costs a
 * look at every descriptor and every layer.ini, so keep it for a while.
 */
struct survey;
int catalog_survey(struct catalog *c, struct survey **ret) NONNULL CHECKED;
void survey_free(struct survey *s);
DEFINE_CLEANUP(struct survey, survey_free)

/**
 * survey_look(s, d, ret_layers, ret_needed):
 * How many layers ${d} reads from, and whether its own one is needed by another
 * descriptor too, or may be as far as can be known.  -ENOENT: not seen.
 */
int survey_look(const struct survey *s, const struct descriptor *d,
		unsigned *ret_layers, bool *ret_needed) NONNULL CHECKED;

/* Whether who reads all layers of a store, one descriptor after another, has to
 * read ${d}, for all it sees in the other ones. */
bool survey_is_alone(const struct survey *s, const struct descriptor *d)
    NONNULL CHECKED;

/**
 * catalog_would_free(c, d, max_chunks, ret):
 * How many bytes come free when ${d} is removed and the store is swept: blocks,
 * and the pages of chunks.  Of an attached disk, as of its last commit.  Costs
 * a look at every descriptor and layer.ini, and at the pages of the chunks of
 * its own layers and of one more: 64 KiB each, of at most ${max_chunks}; 0:
 * all.
 *
 * -E2BIG    there are more
 * -EUCLEAN  some descriptor or layer.ini cannot be read
 */
int catalog_would_free(struct catalog *c, const struct descriptor *d,
		       uint64_t max_chunks, uint64_t *ret) NONNULL CHECKED;

/* A layer that was made and that nothing names: the sweep removes it. */
void catalog_drop_layer(struct catalog *c, const struct layer_ref *l) NONNULL;

/**
 * catalog_rename(c, d, dk, to): give the disk another name.  The caller holds
 * the disk's lock; ${d} is verified and is changed.  -EEXIST.
 */
int catalog_rename(struct catalog *c, struct descriptor *d,
		   const struct key *dk, const char *to) NONNULL CHECKED;

/**
 * catalog_remove(c, type, name): the name goes, durably; what it held is
 * removed by catalog_sweep().  Takes the disk's lock itself.
 *
 * -EBUSY  attached
 */
int catalog_remove(struct catalog *c, enum desc_type type, const char *name)
    NONNULL CHECKED;

/* Remove files of lineages that are gone, a piece at a time: at most
 * ${max_files}.  *ret_more: call again. */
int catalog_sweep(struct catalog *c, unsigned max_files, bool *ret_more)
    NONNULL CHECKED;

/**
 * catalog_reclaim(c, ret):
 * What has been removed and still takes space, as it is now.  Nothing is
 * locked for longer than a look at the descriptors.
 */
struct reclaim {
	unsigned lineages; /* that nothing names any more, */
	uint64_t files;    /* and their files; a million are counted */
	unsigned layers;   /* of others, that nothing reaches any more */
	unsigned merges;   /* layers that one other alone needs */
	bool stuck;        /* a descriptor or layer.ini cannot be read: nothing
			    * is removed until it can */
};
int catalog_reclaim(struct catalog *c, struct reclaim *ret) NONNULL CHECKED;

/**
 * catalog_lock_disk(c, uuid, mount_point, ret):
 * The lock of an attached disk; its file says host, boot id, pid, since when,
 * and the mount point (or "" for a command).
 * -EBUSY  somebody else has it, or catalog_disk_left() names a host
 */
int catalog_lock_disk(struct catalog *c, const struct uuid *uuid,
		      const char *mount_point, struct store_lock **ret)
    NONNULL CHECKED;

/* The same lock, shared, for who reads a snapshot or image: it is not removed
 * meanwhile.  -EBUSY: it is just being. */
int catalog_share_disk(struct catalog *c, const struct uuid *uuid,
		       struct store_lock **ret) NONNULL CHECKED;
/* The lock of a disk, or of what is frozen, that an earlier process took by
 * ${fd}, which is taken over; -1: anew.  -EBUSY: somebody else has it. */
int catalog_adopt_disk(struct catalog *c, const struct uuid *uuid,
		       enum desc_type type, const char *mount_point, int fd,
		       struct store_lock **ret) NONNULL CHECKED;

/* A lineage's lock, shared, for who makes a layer and then what names it. Waits
 * for who is removing layers. */
int catalog_share_lineage(struct catalog *c, const struct uuid *lineage,
			  struct store_lock **ret) NONNULL CHECKED;

struct lock_owner {
	/* Whoever can write to the store may have chosen the mount point: any
	 * bytes, to be masked where it is shown. */
	char host[256], boot_id[40], mount_point[4096];
	long pid;
	int64_t since;
	bool this_host; /* host and boot id are ours */
	bool
	    other_host; /* neither is: another machine, as far as can be told */
};
/* -ENOENT: nobody holds it. */
int catalog_disk_owner(struct catalog *c, const struct uuid *uuid,
		       struct lock_owner *ret) NONNULL CHECKED;

/**
 * catalog_disk_left(c, uuid, ret):
 * The other host that had the disk, did not detach it, and has not let go of
 * its lock by itself: whether it holds the lock still, or lost it when its
 * lease ran out.  It may write as long as it runs.  -ENOENT: none.
 */
int catalog_disk_left(struct catalog *c, const struct uuid *uuid,
		      struct lock_owner *ret) NONNULL CHECKED;

/**
 * catalog_break_lock(c, uuid):
 * That host is off, says the caller: the disk may be attached elsewhere.
 *
 * -EBUSY  somebody holds the lock
 */
int catalog_break_lock(struct catalog *c, const struct uuid *uuid)
    NONNULL CHECKED;

/* Paths of format.md, into ${out} of PATH_LEN. */
void path_descriptor(enum desc_type type, const char *of, const char *name,
		     char out[static STORE_PATH_LEN]);
void path_layer(const struct layer_ref *l, const char *file,
		char out[static STORE_PATH_LEN]) NONNULL;
void path_chunk(const struct uuid *lineage, uint64_t index,
		const struct uuid *creator, const uint8_t salt[static 12],
		char out[static STORE_PATH_LEN]) NONNULL;

#endif
