/*
 * workload.h - all that a disk can do, done on one disk whose store may fail,
 * against a model of what it may hold.
 *
 * A call that fails may have been done, or a part of it: what is there then is
 * read, and as long as it cannot be read nothing more is written there.
 */
#ifndef SEALDISK_WORKLOAD_H
#define SEALDISK_WORKLOAD_H

#include "block_model.h"
#include "engine_env.h"
#include "engine_private.h"
#include "fault_store.h"
#include "mem_store.h"

#define KiB 1024u
#define MiB (1024u * KiB)
#define MAX_SIZE (16 * MiB)
#define MAX_OPS 64

enum op_kind { WRITE, ZERO, READ, RESIZE, FLUSH, BACKGROUND };

struct op {
	enum op_kind kind;
	uint64_t off, len; /* RESIZE: the size in len */
};

/* On a fresh disk of 8 MiB: some of it flushed, some mirrored, some neither. */
static const struct op before[] = {
	{ WRITE, 0, 64 * KiB },       { WRITE, 4 * MiB - 8 * KiB, 16 * KiB },
	{ BACKGROUND, 0, 0 },         { WRITE, 0, 16 * KiB },
	{ ZERO, 32 * KiB, 8 * KiB },  { FLUSH, 0, 0 },
	{ WRITE, 8 * KiB, 12 * KiB }, { WRITE, 512 * KiB, 4 * KiB },
};

static const struct op work[] = {
	{ READ, 0, 64 * KiB },
	{ WRITE, 0, 4 * KiB },
	{ WRITE, 5000, 1000 },
	{ WRITE, 512 * KiB - 6000, 12000 },
	{ FLUSH, 0, 0 },
	{ WRITE, 4 * MiB + 100 * KiB, 600 * KiB },
	{ ZERO, 8 * KiB, 8 * KiB },
	{ ZERO, 20 * KiB + 100, 5000 },
	{ FLUSH, 0, 0 },
	{ WRITE, 0, 32 * KiB },
	{ BACKGROUND, 0, 0 },
	{ ZERO, 4 * MiB, 4 * MiB },
	{ WRITE, 4 * MiB, 4 * KiB },
	{ READ, 4 * MiB - 8 * KiB, 16 * KiB },
	{ FLUSH, 0, 0 },
	{ BACKGROUND, 0, 0 },
	{ WRITE, 5 * MiB, 64 * KiB },
	{ RESIZE, 0, 5 * MiB + 8 * KiB },
	{ WRITE, 5 * MiB - 4 * KiB, 8 * KiB },
	{ FLUSH, 0, 0 },
	{ RESIZE, 0, 9 * MiB },
	{ WRITE, 9 * MiB - 2 * KiB, 6 * KiB },
	{ WRITE, 12 * MiB, 4 * KiB },
	{ FLUSH, 0, 0 },
	{ RESIZE, 0, 11 * MiB },
	{ WRITE, 11 * MiB - 4 * KiB, 4 * KiB },
	{ FLUSH, 0, 0 },
	{ WRITE, 0, 4 * KiB },
};

static struct engine_env env;
static struct model model;

/* One run. */
static struct {
	struct disk *d;
	bool unsure[MAX_SIZE / MODEL_BLOCK]; /* could not be read since */
	uint64_t size;                       /* as it is */
	uint64_t sizes[MAX_OPS];             /* that a crash may bring back */
	unsigned n_sizes;
	unsigned n_writes;
	int err; /* that calls to the store fail with; 0: they do not */
} run;

static uint8_t io[MAX_SIZE];

/* As much of the range as is there, zeros after it. */
static inline bool
read_range(uint64_t off, uint64_t len, uint8_t *out)
{
	uint64_t n = run.size > off ? run.size - off : 0;

	if (n > len)
		n = len;
	memset(out + n, 0, len - n);
	return n == 0 || disk_read(run.d, env.s, out, n, off) == 0;
}

static inline void
learn_block(uint64_t b, const uint8_t *p)
{
	/* A shrunken disk shows but a part of its last block. */
	if (b >= run.size / MODEL_BLOCK)
		return;
	if (!model_learn(&model, b, p))
		fail_msg("block %" PRIu64 " holds nothing that it may", b);
}

/* See what is there of the range, after a failure or a crash: in one piece
 * where that can be read, else block by block. */
static inline void
learn(uint64_t off, uint64_t len)
{
	uint64_t first = off / MODEL_BLOCK, b;
	uint64_t end = (off + len + MODEL_BLOCK - 1) / MODEL_BLOCK;
	bool whole =
	    read_range(first * MODEL_BLOCK, (end - first) * MODEL_BLOCK, io);

	for (b = first; b < end; b++) {
		uint8_t *p = io + (b - first) * MODEL_BLOCK;

		run.unsure[b] = !whole &&
				!read_range(b * MODEL_BLOCK, MODEL_BLOCK, p);
		if (!run.unsure[b])
			learn_block(b, p);
	}
}

/* The whole disk; of what was never written some blocks must do. */
static inline void
learn_disk(void)
{
	uint64_t b = 0, n, end = (run.size + MODEL_BLOCK - 1) / MODEL_BLOCK;

	for (; b < end; b += n + 1) {
		for (n = 0; b + n < end && model.maybe[b + n].n; n++)
			;
		if (n > 0 || b % 64 == 0)
			learn(b * MODEL_BLOCK, (n ? n : 1) * MODEL_BLOCK);
	}
}

/* Whether it is known what the range holds. */
static inline bool
sure(uint64_t off, uint64_t len)
{
	for (uint64_t b = off / MODEL_BLOCK; b * MODEL_BLOCK < off + len; b++) {
		if (run.unsure[b])
			learn(b * MODEL_BLOCK, MODEL_BLOCK);
		if (run.unsure[b])
			return false;
	}
	return true;
}

static inline void
check_error(const char *what, int r)
{
	if (r < 0 && (!run.err || (r != run.err && r != -EIO && r != -EROFS)))
		fail_msg("%s: %s (%d)", what, strerror(-r), r);
}

static inline void
changed(const uint8_t *buf, const struct op *o, int r)
{
	model_wrote(&model, buf, o->len, o->off, r == 0);
	if (r < 0)
		learn(o->off, o->len);
}

static inline void
size_changed(uint64_t size)
{
	run.size = size;
	run.sizes[run.n_sizes++] = size;
}

/* What could not be read is one of the same things as before. */
static inline void
flushed(void)
{
	uint64_t n = model.n_list;

	model.n_list = 0;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t b = model.list[i];

		if (run.unsure[b])
			model.list[model.n_list++] = b;
		else
			model_settle(&model, b);
	}
	run.sizes[0] = run.size;
	run.n_sizes = 1;
}

static inline void
do_write(const struct op *o)
{
	int r;

	if (!sure(o->off, o->len))
		return;
	fill_pattern(io, o->len, ++run.n_writes);
	r = disk_write(run.d, env.s, io, o->len, o->off);
	check_error("write", r);
	/* The end may have moved without the write being done. */
	if (disk_size(run.d) != run.size)
		size_changed(disk_size(run.d));
	changed(io, o, r);
}

static inline void
do_zero(const struct op *o)
{
	int r;

	if (!sure(o->off, o->len))
		return;
	r = disk_zero(run.d, env.s, o->off, o->len);
	check_error("zero", r);
	changed(NULL, o, r);
}

static inline void
do_read(const struct op *o)
{
	int r;

	if (!sure(o->off, o->len) || o->off + o->len > run.size)
		return;
	r = disk_read(run.d, env.s, io, o->len, o->off);
	check_error("read", r);
	if (r == 0)
		assert_memory_equal(io, model.cur + o->off, o->len);
}

/* What lies past a new end is zeros, or is not yet where it failed. */
static inline void
do_resize(const struct op *o)
{
	struct op rest = { ZERO, o->len, 0 };
	int r;

	if (o->len < run.size)
		rest.len = run.size - o->len;
	r = disk_resize(run.d, env.s, o->len);
	check_error("resize", r);
	if (r == 0)
		size_changed(o->len);
	else
		run.sizes[run.n_sizes++] = o->len;
	changed(NULL, &rest, r);
	/* Shrinking flushes, and the size is durable either way. */
	if (r == 0 && rest.len)
		flushed();
	if (r == 0)
		run.sizes[0] = run.sizes[(run.n_sizes = 1) - 1] = run.size;
}

static inline void
do_op(const struct op *o)
{
	int r = 0;

	switch (o->kind) {
	case WRITE:
		do_write(o);
		break;
	case ZERO:
		do_zero(o);
		break;
	case READ:
		do_read(o);
		break;
	case RESIZE:
		do_resize(o);
		break;
	case FLUSH:
		r = disk_flush(run.d);
		if (r == 0)
			flushed();
		break;
	case BACKGROUND:
		r = disk_background(run.d);
		if (r == 0)
			flushed();
		break;
	}
	check_error("flush", r);
}

/* ---- a run ---- */

/* ${st} NULL: in a folder. */
static inline void
begin_on(struct store *st)
{
	memset(&run, 0, sizeof(run));
	model_reset(&model);
	eenv_start(&env, st, CIPHER_AES256_GCM);
	env.e->quiet_ms = 0; /* whatever is quiet is so at once */
	eenv_create(&env, "d", 8 * MiB);
	run.size = 8 * MiB;
	assert_ok(disk_attach(env.e, DESC_DISK, "d", 0, &run.d));
	flushed();
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
		do_op(&before[i]);
	disk_abandon(run.d);
	run.d = NULL;
}

static inline void
begin(void)
{
	struct store *mem, *st;

	assert_ok(mem_store_open(&mem));
	assert_ok(fault_store_new(mem, &st));
	begin_on(st);
}

/* Kill or power cut; then the disk as it is found. */
static inline void
crash(bool power, uint64_t n)
{
	const char *seed = getenv("SEALDISK_SEED");
	struct store *mem = fault_inner(env.st);

	engine_close(env.e);
	if (power)
		mem_store_crash(mem, n + 1000 * strtoull(seed ? seed : "0",
							 NULL, 0));
	else
		mem_store_kill(mem);
	eenv_open(&env);
	env.e->quiet_ms = 0;
}

static inline bool
size_may_be(uint64_t size)
{
	for (unsigned i = 0; i < run.n_sizes; i++)
		if (run.sizes[i] == size)
			return true;
	return false;
}

/* After a crash: all that is there may be there. */
static inline void
adopt(void)
{
	struct disk_stats st;

	assert_ok(disk_attach(env.e, DESC_DISK, "d", 0, &run.d));
	run.size = disk_size(run.d);
	if (!size_may_be(run.size))
		fail_msg("the size is %" PRIu64, run.size);
	memset(run.unsure, 0, sizeof(run.unsure));
	learn_disk();
	for (uint64_t b = 0; b < model.n; b++) {
		assert_false(run.unsure[b]);
		if (b * MODEL_BLOCK >= run.size && model.maybe[b].n)
			memset(model.cur + b * MODEL_BLOCK, 0, MODEL_BLOCK);
		model_settle(&model, b);
	}
	model.n_list = 0;
	flushed();
	disk_stats(run.d, &st);
	assert_int_equal(st.faults, 0);
}

#endif
