/*
 * block_model.h - what the blocks of a disk hold, and what each of them may
 * hold after a crash: what it held at the last completed flush, or any of the
 * writes since, whole.
 *
 * A write that failed may have changed some of its blocks and not others, so
 * what is there then has to be read (model_learn) before more is written.
 */
#ifndef SEALDISK_BLOCK_MODEL_H
#define SEALDISK_BLOCK_MODEL_H

#include "test.h"

#include <inttypes.h>

#define MODEL_BLOCK 4096u

/* Hashes of contents; zeros have hash 0. */
struct maybe {
	unsigned n, cap;
	uint64_t *hash;
};

struct model {
	uint64_t n;   /* blocks */
	uint8_t *cur; /* what a read gives */
	struct maybe *maybe;
	bool *touched;  /* since the last flush */
	uint64_t *list; /* of the touched ones */
	uint64_t n_list;
};

static inline uint64_t
model_hash(const uint8_t *p)
{
	uint64_t h = 0, w, any = 0;

	for (unsigned i = 0; i < MODEL_BLOCK; i += 8) {
		memcpy(&w, p + i, 8);
		any |= w;
		h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 32;
	}
	return any ? h | 1 : 0;
}

static inline void
maybe_add(struct maybe *m, uint64_t h)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->hash[i] == h)
			return;
	if (m->n == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 2;
		m->hash = reallocarray(m->hash, m->cap, sizeof(*m->hash));
		assert_non_null(m->hash);
	}
	m->hash[m->n++] = h;
}

static inline bool
maybe_has(const struct maybe *m, uint64_t h)
{
	/* Untouched since it was made: zeros. */
	if (m->n == 0)
		return h == 0;
	for (unsigned i = 0; i < m->n; i++)
		if (m->hash[i] == h)
			return true;
	return false;
}

static inline void
model_new(struct model *m, uint64_t bytes)
{
	m->n = (bytes + MODEL_BLOCK - 1) / MODEL_BLOCK;
	m->cur = calloc(m->n, MODEL_BLOCK);
	m->maybe = calloc(m->n, sizeof(*m->maybe));
	m->touched = calloc(m->n, sizeof(*m->touched));
	m->list = calloc(m->n, sizeof(*m->list));
	m->n_list = 0;
	assert_true(m->cur && m->maybe && m->touched && m->list);
}

static inline void
model_free(struct model *m)
{
	for (uint64_t b = 0; b < m->n; b++)
		free(m->maybe[b].hash);
	free(m->cur);
	free(m->maybe);
	free(m->touched);
	free(m->list);
}

/* All zeros again, as a new disk. */
static inline void
model_reset(struct model *m)
{
	for (uint64_t b = 0; b < m->n; b++) {
		if (m->maybe[b].n > 0)
			memset(m->cur + b * MODEL_BLOCK, 0, MODEL_BLOCK);
		m->maybe[b].n = 0;
		m->touched[b] = false;
	}
	m->n_list = 0;
}

/* Block ${b} may now hold ${p} as well. */
static inline void
model_may(struct model *m, uint64_t b, const uint8_t *p)
{
	if (m->maybe[b].n == 0)
		maybe_add(&m->maybe[b], 0);
	maybe_add(&m->maybe[b], model_hash(p));
	if (!m->touched[b])
		m->list[m->n_list++] = b;
	m->touched[b] = true;
}

/* Block ${b} as a write of ${buf} (NULL: of zeros) makes it. */
static inline void
model_overlay(const struct model *m, uint64_t b, const uint8_t *buf,
	      uint64_t off, uint64_t len, uint8_t out[static MODEL_BLOCK])
{
	uint64_t start = b * MODEL_BLOCK, end = start + MODEL_BLOCK;
	uint64_t from = off > start ? off : start;
	uint64_t to = off + len < end ? off + len : end;

	memcpy(out, m->cur + start, MODEL_BLOCK);
	if (buf)
		memcpy(out + (from - start), buf + (from - off), to - from);
	else
		memset(out + (from - start), 0, to - from);
}

/* ${buf} NULL: zeros.  ${done}: it is there; else any of its blocks may be. */
static inline void
model_wrote(struct model *m, const uint8_t *buf, uint64_t len, uint64_t off,
	    bool done)
{
	uint8_t block[MODEL_BLOCK];

	if (len == 0)
		return;
	for (uint64_t b = off / MODEL_BLOCK; b * MODEL_BLOCK < off + len; b++) {
		if (!buf && m->maybe[b].n == 0)
			continue; /* zeros to zeros */
		model_overlay(m, b, buf, off, len, block);
		model_may(m, b, block);
		if (done)
			memcpy(m->cur + b * MODEL_BLOCK, block, MODEL_BLOCK);
	}
}

/* ${p} is what block ${b} holds; whether it may. */
static inline bool
model_learn(struct model *m, uint64_t b, const uint8_t *p)
{
	/* Most blocks never were anything but zeros. */
	if (m->maybe[b].n == 0)
		return p[0] == 0 && memcmp(p, p + 1, MODEL_BLOCK - 1) == 0;
	memcpy(m->cur + b * MODEL_BLOCK, p, MODEL_BLOCK);
	return maybe_has(&m->maybe[b], model_hash(p));
}

static inline void
model_settle(struct model *m, uint64_t b)
{
	if (m->maybe[b].n == 0)
		return;
	m->maybe[b].n = 0;
	maybe_add(&m->maybe[b], model_hash(m->cur + b * MODEL_BLOCK));
	m->touched[b] = false;
}

/* All that is there is durable. */
static inline void
model_flushed(struct model *m)
{
	while (m->n_list > 0)
		model_settle(m, m->list[--m->n_list]);
}

#endif
