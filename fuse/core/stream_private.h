/*
 * stream_private.h - what the files of send and receive share: the records of
 * sealdisk-stream(5), and the layers that a stream has.
 */
#ifndef SEALDISK_STREAM_PRIVATE_H
#define SEALDISK_STREAM_PRIVATE_H

#include "catalog_private.h"
#include "engine_private.h"
#include "stream.h"

enum record_type {
	RECORD_HEAD = 1,
	RECORD_DESCRIPTOR,
	RECORD_LAYER,
	RECORD_ROOT,
	RECORD_MAP,
	RECORD_GROUP,
	RECORD_END,
};

#define RECORD_HEAD_LEN 40
#define STREAM_ID_LEN 12
#define STREAM_HEAD_LEN 104
#define GROUP_HEAD_LEN 16
#define END_LEN 16
#define RECORD_MAX (GROUP_HEAD_LEN + 2 * PAGE_LEN + GROUP_SLOTS * BLOCK_SIZE)

/* One more than the index of any chunk that a map can name. */
#define CHUNKS_MAX ((uint64_t)ROOTS * ROOT_BITS * MAP_CHUNKS)

struct record {
	enum record_type type;
	uint32_t len, crc; /* of what follows */
	uint64_t number;
	uint8_t stream[STREAM_ID_LEN];
};
void record_put(const struct record *rec, uint8_t out[static RECORD_HEAD_LEN])
    NONNULL;
/* Everything that the head alone can tell.  -EPROTO: it is none; -EBADMSG: the
 * CRC. */
int record_get(const uint8_t in[static RECORD_HEAD_LEN], struct record *ret)
    NONNULL CHECKED;

struct stream_head {
	bool has_base;
	uint32_t n_layers, at_layer;
	uint64_t at_chunk, chunks;
	struct layer_ref base;
	struct uuid store, snapshot;
};
void stream_head_put(const struct stream_head *h,
		     uint8_t out[static STREAM_HEAD_LEN]) NONNULL;
/* -EPROTO, -EPROTONOSUPPORT */
int stream_head_get(const uint8_t in[static STREAM_HEAD_LEN],
		    struct stream_head *ret) NONNULL CHECKED;

struct group_head {
	uint64_t group;
	unsigned n_pages, n_blocks;
	unsigned len[2]; /* of the pages, shortened */
};
void group_head_put(const struct group_head *h,
		    uint8_t out[static GROUP_HEAD_LEN]) NONNULL;
/* -EPROTO, also where it does not fit a record of ${len} bytes. */
int group_head_get(const uint8_t *in, size_t len, struct group_head *ret)
    NONNULL CHECKED;

/* How long a page is without the zeros at its end. */
unsigned page_shorten(const uint8_t raw[static PAGE_LEN]) NONNULL;
/* Back to the whole.  -EPROTO: no page is so long, or that is not its shortest
 * form. */
int page_restore(const uint8_t *in, size_t len, uint8_t raw[static PAGE_LEN])
    NONNULL CHECKED;

/* The slots that a group's entries name. */
void body_slots(const union page_body *b, struct slots *ret) NONNULL;
/* The slot that comes at or after ${slot}; GROUP_SLOTS: none.  *${ret_run}:
 * with how many side by side. */
unsigned slots_next(const struct slots *s, unsigned slot, unsigned *ret_run)
    NONNULL;

struct token {
	struct uuid snapshot, layer;
	uint64_t chunk;
};
void token_format(const struct token *t, char out[static STREAM_TOKEN_LEN])
    NONNULL;
/* -EINVAL */
int token_parse(const char *text, struct token *ret) NONNULL CHECKED;

/* The layers of a stream, each the parent of the next. */
struct plan_layer {
	struct layer_ref ref;
	struct layer_meta meta;
	char *text; /* layer.ini; malloc'ed */
	size_t len;
	bool there; /* receive: a descriptor of the store reaches it */
};
struct plan {
	struct plan_layer *v;
	size_t n, cap;
};
/* Takes ${text} over, also on failure.  -E2BIG. */
int plan_add(struct plan *p, const struct layer_meta *m, char *text, size_t len)
    NONNULL CHECKED;
void plan_done(struct plan *p);
/* The number of a layer, or p->n. */
size_t plan_find(const struct plan *p, const struct uuid *layer) NONNULL;

static inline bool
ref_equal(const struct layer_ref *a, const struct layer_ref *b)
{
	return uuid_equal(&a->layer, &b->layer) &&
	       uuid_equal(&a->lineage, &b->lineage);
}

/* ---- stream_send.c, stream_send_layer.c ---- */

#define CHUNK_PAGES_LEN (2 * CHUNK_GROUPS * PAGE_LEN)

struct sender {
	struct catalog *c;
	struct store *st;
	const struct stream_sink *sink;
	struct descriptor d;
	char *text; /* its file */
	size_t len;
	struct layer_ref base;
	bool has_base;
	struct plan plan;
	struct store_lock *lock;
	struct lineage_locks lineages;
	uint8_t stream[STREAM_ID_LEN];
	uint64_t number; /* of the next record */
	uint8_t *buf;    /* a record, its head included */
	uint8_t *pages;  /* of a chunk: CHUNK_PAGES_LEN */
	bool counting;   /* nothing is sent yet: how much will it be? */
	bool at_rest;    /* the layer that is sent is sealed */
	uint64_t total, done;
	struct stream_result *ret;
};

static inline uint8_t *
send_payload(struct sender *s)
{
	return s->buf + RECORD_HEAD_LEN;
}

/* Say what is wrong, and return ${err}. */
int send_why(struct sender *s, int err, const char *text)
    __attribute__((__nonnull__(1))) CHECKED;
/* ${len} bytes of payload are in place. */
int send_record(struct sender *s, enum record_type type, size_t len)
    NONNULL CHECKED;
/* The contents, from where ${h} says on; first they are counted. */
int send_layers(struct sender *s, const struct stream_head *h, bool counting)
    NONNULL CHECKED;

/* ---- receiving.c: the mark of a receive that is not done ---- */

struct receiving {
	enum desc_type type;
	char of[DISK_NAME_MAX + 1], name[DISK_NAME_MAX + 1];
	struct uuid snapshot; /* the sender's descriptor */
	uint32_t at;          /* one of the layers: up to it, and in it */
	uint64_t chunk;       /* up to that, all is durable */
	size_t n;
	struct layer_ref *v; /* what is being made; malloc'ed */
};
void receiving_done(struct receiving *m);
/* Durable. */
int receiving_save(struct store *st, const struct receiving *m) NONNULL CHECKED;
/* By its topmost layer.  -ENOENT, -EUCLEAN */
int receiving_load(struct store *st, const struct uuid *top,
		   struct receiving *ret) NONNULL CHECKED;
/* By the name of what is being received.  -ENOENT */
int receiving_find(struct catalog *c, const struct stream_name *name,
		   struct receiving *ret) NONNULL CHECKED;
/* Whether another mark than that of ${top} has one of the layers of ${m}. */
int receiving_clashes(struct store *st, const struct receiving *m, bool *ret)
    NONNULL CHECKED;
/* It is over; durable. */
int receiving_remove(struct store *st, const struct receiving *m)
    NONNULL CHECKED;

/* ---- stream_store.c: what was received goes into the store ---- */

struct chunk_dest {
	struct store *st;
	struct layer_ref ref;
	struct store_file *map, *file;
	uint8_t *head;  /* SLOTS_OFFSET bytes: superblock and pages */
	uint64_t bytes; /* written since the last checkpoint */
	bool sync_failed;
	/* Chunks of this lineage that others have made, in one folder. */
	char folder[STORE_PATH_LEN];
	struct here *here;
	size_t n_here, cap_here;
};

/* The map of a layer; ${again}: it is there, to go on with. */
int dest_begin(struct chunk_dest *d, bool again) NONNULL CHECKED;
/* Both copies of a page. */
int dest_page(struct chunk_dest *d, enum page_kind kind, uint64_t n,
	      const uint8_t raw[static PAGE_LEN]) NONNULL CHECKED;
/* Before any file of a chunk that is newly named there; what the map page says
 * is durable.  -EEXIST: a chunk of it is here under another layer. */
int dest_map_ready(struct chunk_dest *d, uint64_t n,
		   const union page_body *body) NONNULL CHECKED;
int dest_chunk_begin(struct chunk_dest *d, uint64_t index,
		     const uint8_t salt[static 12]) NONNULL CHECKED;
/* The page copies of group ${g} of the chunk. */
void dest_group_pages(struct chunk_dest *d, unsigned g,
		      const uint8_t raw[2][PAGE_LEN]) NONNULL;
int dest_blocks(struct chunk_dest *d, uint64_t group, const struct slots *s,
		const uint8_t *blocks) NONNULL CHECKED;
int dest_chunk_end(struct chunk_dest *d, const struct super *su,
		   const uint8_t mac_key[static KEY_LEN]) NONNULL CHECKED;
/* Close what is open. */
void dest_close(struct chunk_dest *d);

/* ---- stream_receive.c, stream_plan.c, stream_content.c ---- */

/* Secret memory. */
struct receive_keys {
	struct key dk[DESC_KEYS_MAX]; /* as the descriptor's keys */
	struct key map;
	uint8_t chunk[2 * KEY_LEN];
	uint8_t plain[BLOCK_SIZE];
};

struct receiver {
	struct catalog *c;
	struct store *st;
	struct kms *kms;
	const struct stream_name *to;
	const struct stream_source *source;
	struct stream_result *ret;
	uint8_t stream[STREAM_ID_LEN];
	uint64_t number; /* of the next record */
	uint8_t *buf;    /* what follows its head */
	size_t len;
	struct stream_head head;
	struct descriptor d; /* the sender's, verified */
	struct plan plan;
	struct receive_keys *keys;
	struct aead *aead;
	struct lineage_locks own, shared;
	struct {
		struct uuid lineage;
		bool was; /* marked as pending before we came */
	} pending[LINEAGES_MAX];
	size_t n_pending;
	struct receiving mark;
	bool marked; /* it stands in the store */
	bool gained; /* and says more than nothing */
	/* Up to where all is durable: a layer of the plan, and a chunk. */
	size_t safe_layer;
	uint64_t safe_chunk;
	/* The same for what is there, durable or not. */
	size_t at_layer;
	uint64_t at_chunk;
	struct chunk_dest dest;
	uint64_t chunks, blocks; /* of the stream */
};

/* stream_receive.c.  Say what is wrong, and return ${err}. */
int receive_why(struct receiver *r, int err, const char *why)
    __attribute__((__nonnull__(1))) CHECKED;
/* The next record, which must be one of these: checked in all that can be
 * without a key. */
int receive_next(struct receiver *r, enum record_type want) NONNULL CHECKED;
/* Make all that is there durable, and say so in the mark. */
int receive_checkpoint(struct receiver *r, size_t layer, uint64_t chunk)
    NONNULL CHECKED;
/* The DK called ${uuid}, or NULL. */
const struct key *receive_dk(const struct receiver *r, const struct uuid *uuid)
    NONNULL;

/* stream_plan.c.  Where the store stands: which layers it has, what was there
 * to go on with; the locks and the mark. */
int receive_prepare(struct receiver *r) NONNULL CHECKED;
/* It is over, well or not. */
void receive_leave(struct receiver *r, bool done) NONNULL;

/* stream_content.c.  All layers. */
int receive_contents(struct receiver *r) NONNULL CHECKED;

#endif
