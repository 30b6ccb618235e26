/*
 * crash.h - the crash explorer: what a power cut could leave of a store, state
 * by state, each looked at by the real engine and held against a model.
 *
 * A workload is a list of steps on a few disks and snapshots of one store
 * (ops.c).  As it runs, world.c knows what may be there after a cut: for each
 * block of a disk what it held at the last flush or any write since, and for
 * each snapshot what it holds, exactly.  Before each call that makes something
 * durable the store in memory is forked into the states that a cut at that
 * moment could leave (explore.c); more of them there are not, for between two
 * such calls the set only grows.  Each state is attached, read and worked on
 * further, and cut once more (check.c).
 *
 * All that is random comes of the workload's seed, getrandom(2) too, so that a
 * state that was found wrong is found again.
 */
#ifndef SEALDISK_CRASH_H
#define SEALDISK_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/kms.h>
#include <sealdisk/settings.h>

#include "disk.h"
#include "mem_store.h"

#define KiB 1024u
#define MiB (1024u * KiB)
#define BLOCK 4096u
#define SIZE_MAX_OF_DISK (9 * MiB) /* the last chunk is not whole */
#define BLOCKS (SIZE_MAX_OF_DISK / BLOCK)
#define DISKS 3
#define SNAPS 6
#define MAY_MAX                                                                \
	8 /* contents that a block may have; what comes after flushes          \
	   */
#define SIZES_MAX 8 /* sizes that a disk may have */
#define WHY_LEN 512
#define CUTS 2
#define IO_LEN (64 * BLOCK)

/* ---- random numbers, by thread ---- */

void random_seed(uint64_t seed);
uint64_t random_number(void);
/* Below ${n}. */
unsigned random_below(unsigned n);

/* ---- the model ---- */

enum there { NO, PERHAPS, YES };

/* Contents are known by a number; 0 is zeros. */
struct vdisk {
	enum there there;
	uint64_t size; /* as it is now */
	uint64_t sizes[SIZES_MAX];
	unsigned n_sizes;     /* that a cut may bring back */
	unsigned other;       /* 1 +: or else all of it is as this snapshot */
	unsigned name;        /* which of its two, */
	bool renaming;        /* or the other one */
	bool ghost;           /* gone, and a cut may bring it back: see die.c */
	uint16_t cur[BLOCKS]; /* as it is read now */
	uint16_t may[BLOCKS][MAY_MAX];
	uint8_t n_may[BLOCKS];
};

struct vsnap {
	enum there there;
	enum desc_type type;
	unsigned of;  /* a snapshot's disk */
	unsigned set; /* those with one number are all there, or none is */
	bool ghost;   /* as of a disk */
	uint64_t size;
	uint16_t content[BLOCKS];
};

struct world {
	struct vdisk disk[DISKS];
	struct vsnap snap[SNAPS];
	unsigned n_sets;
	bool receive_cut;    /* one was under way as its process died */
	unsigned seal_limit; /* of the engine's options */
};

/* The bytes of content ${id}, and how many contents there are. */
const uint8_t *content_bytes(unsigned id);
unsigned contents(void);
/* Forget those from ${n} on. */
void contents_cut(unsigned n);

void world_init(struct world *w);
const char *disk_name(const struct world *w, unsigned i);
/* As the catalog knows it: DISK@NAME, or NAME. */
const char *snap_name(const struct world *w, unsigned i, char out[static 32]);

/* A write of ${buf} (NULL: zeros) may be done from here on.  False: too much
 * may be there already; flush first. */
bool vdisk_may(struct vdisk *d, const uint8_t *buf, uint64_t len, uint64_t off);
/* It is done. */
void vdisk_wrote(struct vdisk *d, uint64_t len, uint64_t off);
bool vdisk_may_size(struct vdisk *d, uint64_t size);
/* What lies past the end of a disk that got smaller. */
void vdisk_cut(struct vdisk *d, uint64_t size);
void vdisk_flushed(struct vdisk *d);
/* It holds what ${content} says (NULL: zeros), durably. */
void vdisk_set(struct vdisk *d, const uint16_t *content, uint64_t size);
/* What block ${b} holds now is ${id}, which a cut may leave, too; false: first
 * flush. */
bool vdisk_is(struct vdisk *d, unsigned b, unsigned id);
/* Block ${b} was found to hold ${p}, of which ${len} bytes are to be seen;
 * false: it may not. */
bool vdisk_learn(struct vdisk *d, unsigned b, const uint8_t *p, size_t len);

/* ---- an engine at work, or one that looks at what is left ---- */

struct session {
	struct store *st;
	struct engine *e;
	struct scratch *s;
	struct kms *kms;
	struct world *w;
	struct disk *d[DISKS]; /* attached */
	uint8_t *io;           /* IO_LEN */
	unsigned cuts;         /* before it; sessions stack */
	struct kept *kept;     /* outlives its processes, but no cut */
	unsigned dies_in;  /* so many changes of the next step; 0: not at all */
	char why[WHY_LEN]; /* what was wrong */
};

/* Say what is wrong; false. */
bool wrong(struct session *s, const char *fmt, ...)
    __attribute__((__format__(__printf__, 2, 3)));

bool session_open(struct session *s);
/* The next process, to which the last one has left ${s->kept}. */
bool session_go_on(struct session *s);
/* As a kill ends it; the store stays. */
void session_close(struct session *s);
/* What sessions keep for the next ones. */
void session_done(void);

/* ---- steps ---- */

struct step {
	unsigned op;
	unsigned a, b; /* a disk, a snapshot; each op takes them by its own */
	uint64_t off, len;
	unsigned seed;   /* of what is written */
	unsigned number; /* in the workload as it was */
};

/* False: something went wrong.  A step that cannot be done now is left out. */
bool step_run(struct session *s, const struct step *st);
void step_random(struct step *st, bool second);
/* By the name of its op. */
struct step step_named(const char *op, unsigned a, unsigned b, uint64_t off,
		       uint64_t len);
void step_print(const struct step *st);
/* What receive gets; needs a KMS.  Once, before all workloads. */
void stream_prepare(struct kms *kms);
void stream_done(void);

/* ---- looking at a state ---- */

/**
 * check_state(st, w, kms, seed, cuts, why):
 * Whether what is in ${st}, after so many cuts, may be there by ${w}.  After
 * fewer than CUTS goes on working on it, and cuts it once more.  Why not: in
 * ${why}.  ${st} is freed.
 */
bool check_state(struct store *st, const struct world *w, struct kms *kms,
		 uint64_t seed, unsigned cuts, char why[static WHY_LEN]);
/* Its parts, for who goes on without a cut: which names there are; and what a
 * snapshot or an attached disk holds, ${v} or, if it is not NULL, ${content}.
 */
bool look_for_all(struct session *s);
bool look_at_snap(struct session *s, unsigned i);
bool look_at_content(struct session *s, struct disk *d, const char *name,
		     struct vdisk *v, const uint16_t *content);
bool look_at_faults(struct session *s, struct disk *d, const char *name);
bool was_rolled_back(struct session *s, struct disk *d, struct vdisk *v);
/* Lose some descriptors, and make them anew (lose.c). */
bool lose_some(struct session *s);
/* The same with layers (lose_ini.c). */
bool lose_some_layers(struct session *s);
/* A bad place on the medium, for a while (bad.c). */
bool look_beside_a_bad_place(struct session *s);
/* Whether a block holds something, or may; of the others some.  ${v} or
 * ${content} may be NULL. */
bool block_is_worth(const struct vdisk *v, const uint16_t *content, unsigned b);
/* How many there were, of which so many had been cut twice. */
uint64_t states_checked(uint64_t *ret_twice);
/* How often the process died, so often of that within a step (die.c). */
uint64_t deaths(uint64_t *ret_within);
/* Tell what is done after the cuts, from here on. */
void check_explain(void);
/* log_at() calls it: an error of integrity was logged. */
void alarm_raised(const char *text);
/* Not what a process says of a store that it has lost. */
void alarm_heed(bool on);

/* ---- choices ---- */

struct choice {
	enum mem_what what;
	unsigned n, answer;
	uint64_t off, len;
	char path[80]; /* its end */
};

/* What was answered; the first ${n_given} are given, the others are made by
 * ${how}. */
struct choices {
	struct choice *v;
	size_t n, cap, n_given;
	unsigned torn, torn_at, sector; /* how the write under way is torn */
	enum { ALL_LOST, ALL_KEPT, WHOLE, TORN } how;
	unsigned keep; /* WHOLE, TORN: so many of 16 */
	uint64_t rng;
};
unsigned choices_answer(void *arg, const struct mem_ask *ask);
/* The next of all the states of whole writes; false: that was the last. */
bool choices_next(struct choices *c);
void choices_free(struct choices *c);
void choices_print(const struct choices *c);

/* ---- a workload, explored ---- */

struct workload {
	const char *name; /* NULL: a random one, by its seed */
	uint64_t seed;
	struct step *steps;
	size_t n_steps;
};

struct limits {
	unsigned all;    /* at each point: as many states systematically, */
	unsigned random; /* or as many at random */
	uint64_t states; /* in all; 0: no limit */
	int64_t only;    /* this state alone; -1: all */
	const struct choices *given; /* of that one; NULL: as they come */
};

struct finding {
	uint64_t state; /* its number */
	struct step at; /* the step under way */
	struct choices choices;
	uint64_t seed; /* of what was done after the cut */
	char why[WHY_LEN];
};

/* Whether something was found; then ${f} is the caller's to free. */
bool explore(const struct workload *w, struct kms *kms,
	     const struct limits *limits, struct finding *f);
/* Find it with less, and say how to find it again. */
void shrink(struct workload *w, struct kms *kms, const struct limits *limits,
	    struct finding *f);

#endif
