/*
 * test_model.c - random work on disks, against an array in memory.
 *
 * Disks in one store: reads and writes of any offset and length, zeros,
 * resizes, flushes, detach and attach, kills, power cuts; snapshots of one and
 * of several, images, clones with the same data key or their own, copies,
 * rollbacks, removals, new data keys for disks.  The model knows for
 * each block of 4 KiB what it holds and what it may hold after a crash: what it
 * held at the last completed flush, or any of the writes since, whole.  What a
 * snapshot or image holds never changes.
 *
 *   SEALDISK_SEED=N SEALDISK_STEPS=N tests/test_model
 *
 * repeats one run; the seed of a run is printed.  SEALDISK_ROUNDS=N makes as
 * many runs with seeds from there on.
 */
#include "engine_env.h"
#include "engine_private.h"
#include "mem_store.h"
#include "snapshot.h"

#include <errno.h>
#include <inttypes.h>

#define BLOCK 4096u
#define MAX_SIZE (13u << 20)
#define MAX_BLOCKS (MAX_SIZE / BLOCK)
#define MAX_IO (1u << 20)
#define DISKS 5
#define SNAPS 8
#define ZERO_HASH 0

static uint64_t rng;

static uint64_t
rnd(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return n ? rng % n : rng;
}

/* What a block may hold after a crash, as hashes. */
struct maybe {
	unsigned n, cap;
	uint64_t *hash;
};

struct model {
	char name[24];
	struct disk *d;     /* NULL: there is no such disk */
	uint64_t size;      /* as it is */
	uint64_t safe_size; /* as of the last flush */
	uint8_t *cur;       /* MAX_SIZE */
	struct maybe maybe[MAX_BLOCKS];
	bool touched[MAX_BLOCKS]; /* since the last flush */
};

/* A snapshot or image; ${name} is "" where there is none. */
struct frozen {
	enum desc_type type;
	char name[64];
	uint64_t size;
	uint8_t *content;
};

static struct model models[DISKS];
static struct frozen snaps[SNAPS];
static unsigned names; /* given so far */
static uint8_t io[MAX_IO];

static uint64_t
hash(const uint8_t *p)
{
	uint64_t h = 0, w, any = 0;

	for (unsigned i = 0; i < BLOCK; i += 8) {
		memcpy(&w, p + i, 8);
		any |= w;
		h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 32;
	}
	return any ? h | 1 : ZERO_HASH;
}

static void
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

static void
maybe_set(struct maybe *m, uint64_t h)
{
	m->n = 0;
	maybe_add(m, h);
}

/* The blocks of a range have changed in cur. */
static void
model_changed(struct model *m, uint64_t off, uint64_t len)
{
	for (uint64_t b = off / BLOCK; len && b <= (off + len - 1) / BLOCK;
	     b++) {
		maybe_add(&m->maybe[b], hash(m->cur + b * BLOCK));
		m->touched[b] = true;
	}
}

static void
model_flushed(struct model *m)
{
	for (unsigned b = 0; b < MAX_BLOCKS; b++)
		if (m->touched[b]) {
			maybe_set(&m->maybe[b], hash(m->cur + b * BLOCK));
			m->touched[b] = false;
		}
	m->safe_size = m->size;
}

/* ---- steps ---- */

static void
random_range(uint64_t limit, uint64_t max, uint64_t *off, uint64_t *len)
{
	static const unsigned shapes[] = { 512, 4096, 4096, 65536, MAX_IO };
	uint64_t unit = rnd(2) ? 4096 : rnd(2) ? 512 : 1;
	uint64_t n = shapes[rnd(5)];

	*off = rnd(limit) / unit * unit;
	*len = (rnd(n < max ? n : max) / unit + 1) * unit;
	if (*len > max)
		*len = max;
	/* Come back to the same places often. */
	if (rnd(2))
		*off %= 4u << 20;
}

static void
fill_io(uint64_t len)
{
	uint64_t v = rnd(0);
	bool zeros = rnd(8) == 0;

	for (uint64_t i = 0; i < len; i++) {
		if (i % 64 == 0)
			v = v * 6364136223846793005ULL + 1442695040888963407ULL;
		io[i] = zeros ? 0 : (uint8_t)(v >> 56) ^ (uint8_t)i;
	}
}

static void
step_write(struct engine_env *v, struct model *m)
{
	uint64_t off, len;

	random_range(m->size + 65536, MAX_IO, &off, &len);
	if (off + len > MAX_SIZE)
		return;
	fill_io(len);
	assert_ok(disk_write(m->d, v->s, io, len, off));
	memcpy(m->cur + off, io, len);
	model_changed(m, off, len);
	if (off + len > m->size)
		m->size = (off + len + 511) / 512 * 512;
}

static void
step_read(struct engine_env *v, struct model *m)
{
	uint64_t off, len;

	random_range(m->size + 1, MAX_IO, &off, &len);
	if (off >= m->size)
		return;
	if (len > m->size - off)
		len = m->size - off;
	assert_ok(disk_read(m->d, v->s, io, len, off));
	assert_memory_equal(io, m->cur + off, len);
}

static void
step_zero(struct engine_env *v, struct model *m)
{
	uint64_t off, len, end;

	random_range(m->size + 1, 16u << 20, &off, &len);
	if (rnd(2)) {
		off = off / (4u << 20) * (4u << 20);
		len = (1 + rnd(3)) * (4u << 20);
	}
	assert_ok(disk_zero(m->d, v->s, off, len));
	end = off + len < m->size ? off + len : m->size;
	if (off >= end)
		return;
	memset(m->cur + off, 0, end - off);
	model_changed(m, off, end - off);
}

static void
step_resize(struct engine_env *v, struct model *m)
{
	uint64_t size = rnd(MAX_SIZE / 512 + 1) * 512;

	assert_ok(disk_resize(m->d, v->s, size));
	if (size < m->size) {
		memset(m->cur + size, 0, MAX_SIZE - size);
		/* Shrinking flushes: what is past the end is gone for good. */
		for (uint64_t b = size / BLOCK; b < MAX_BLOCKS; b++)
			m->touched[b] = true;
		model_flushed(m);
	}
	m->size = m->safe_size = size;
}

static void
step_flush(struct model *m)
{
	assert_ok(disk_flush(m->d));
	model_flushed(m);
}

/* By allocation: what is not data must be zeros. */
static void
step_seek(struct engine_env *v, struct model *m)
{
	uint64_t off = rnd(m->size + 1), data, hole;
	int r;

	r = disk_seek(m->d, v->s, off, true, &data);
	if (r == -ENXIO)
		data = m->size;
	else
		assert_ok(r);
	for (uint64_t i = off; i < data; i++)
		assert_int_equal(m->cur[i], 0);
	if (data >= m->size)
		return;
	assert_ok(disk_seek(m->d, v->s, data, false, &hole));
	assert_true(hole > data && hole <= m->size);
}

static void
check_whole(struct engine_env *v, struct model *m)
{
	for (uint64_t off = 0; off < m->size; off += MAX_IO) {
		uint64_t n = m->size - off < MAX_IO ? m->size - off : MAX_IO;

		assert_ok(disk_read(m->d, v->s, io, n, off));
		assert_memory_equal(io, m->cur + off, n);
	}
}

static void
step_reattach(struct engine_env *v, struct model *m)
{
	struct disk_stats st;

	assert_ok(disk_detach(m->d));
	model_flushed(m);
	assert_ok(disk_attach(v->e, DESC_DISK, m->name, 0, &m->d));
	disk_stats(m->d, &st);
	assert_false(st.unclean);
	assert_int_equal(disk_size(m->d), m->size);
	if (rnd(4) == 0)
		check_whole(v, m);
}

/* After a crash: see what is there, check that it may be, and go on by it. */
static void
adopt(struct engine_env *v, struct model *m)
{
	struct disk_stats st;
	uint64_t size;

	assert_ok(disk_attach(v->e, DESC_DISK, m->name, 0, &m->d));
	size = disk_size(m->d);
	assert_true(size == m->safe_size ||
		    (size > m->safe_size && size <= m->size));
	m->size = m->safe_size = size;
	memset(m->cur + size, 0, MAX_SIZE - size);
	for (uint64_t b = 0; b * BLOCK < MAX_SIZE; b++) {
		uint8_t *p = m->cur + b * BLOCK;
		uint64_t n = size > b * BLOCK ? size - b * BLOCK : 0, h;
		bool found = false;

		memset(p, 0, BLOCK);
		if (n > BLOCK)
			n = BLOCK;
		if (n > 0)
			assert_ok(disk_read(m->d, v->s, p, n, b * BLOCK));
		h = hash(p);
		for (unsigned i = 0; n == BLOCK && i < m->maybe[b].n; i++)
			found |= m->maybe[b].hash[i] == h;
		if (n == BLOCK && !found)
			fail_msg("disk %s: block %" PRIu64 " holds nothing "
				 "that was written to it",
				 m->name, b);
		maybe_set(&m->maybe[b], h);
		m->touched[b] = false;
	}
	disk_stats(m->d, &st);
	assert_int_equal(st.faults, 0);
}

static void
step_crash(struct engine_env *v, bool power)
{
	for (unsigned i = 0; i < DISKS; i++)
		if (models[i].d)
			disk_abandon(models[i].d);
	engine_close(v->e);
	if (power)
		mem_store_crash(v->st, rnd(0));
	else
		mem_store_kill(v->st);
	assert_ok(engine_open(v->st, v->kms, &v->opt, &v->e));
	for (unsigned i = 0; i < DISKS; i++)
		if (models[i].d)
			adopt(v, &models[i]);
}

/* ---- what is frozen, and disks of it ---- */

static struct model *
free_model(void)
{
	for (unsigned i = 0; i < DISKS; i++)
		if (!models[i].d)
			return &models[i];
	return NULL;
}

static struct frozen *
free_snap(void)
{
	for (unsigned i = 0; i < SNAPS; i++)
		if (!snaps[i].name[0])
			return &snaps[i];
	return NULL;
}

static struct frozen *
some_snap(void)
{
	struct frozen *s = &snaps[rnd(SNAPS)];

	return s->name[0] ? s : NULL;
}

static void
freeze(struct model *m, struct frozen *s, enum desc_type type, const char *name)
{
	model_flushed(m);
	s->type = type;
	s->size = m->size;
	(void)snprintf(s->name, sizeof(s->name), "%.23s%s%.15s",
		       type == DESC_SNAPSHOT ? m->name : "",
		       type == DESC_SNAPSHOT ? "@" : "", name);
	memcpy(s->content, m->cur, MAX_SIZE);
}

/* A disk that holds ${content}. */
static void
model_begin(struct model *m, const char *name, const uint8_t *content,
	    uint64_t size)
{
	if (name)
		(void)snprintf(m->name, sizeof(m->name), "%s", name);
	m->size = m->safe_size = size;
	if (content)
		memcpy(m->cur, content, MAX_SIZE);
	else
		memset(m->cur, 0, MAX_SIZE);
	for (unsigned b = 0; b < MAX_BLOCKS; b++) {
		maybe_set(&m->maybe[b], hash(m->cur + b * BLOCK));
		m->touched[b] = false;
	}
}

static void
step_snapshot(struct engine_env *v, struct model *m)
{
	struct snapshot_request req = { m->d,
					rnd(3) ? DESC_SNAPSHOT : DESC_IMAGE,
					NULL };
	struct frozen *s = free_snap();
	char name[16];

	if (!s)
		return;
	(void)snprintf(name, sizeof(name), "s%u", names++);
	req.name = name;
	assert_ok(disks_snapshot(v->e, v->s, &req, 1));
	freeze(m, s, req.type, name);
	assert_err(disks_snapshot(v->e, v->s, &req, 1), EEXIST);
}

/* All disks at one instant. */
static void
step_set(struct engine_env *v)
{
	struct snapshot_request reqs[DISKS];
	struct frozen *s;
	char name[16];
	unsigned n = 0, room = 0;

	for (unsigned i = 0; i < SNAPS; i++)
		room += !snaps[i].name[0];
	(void)snprintf(name, sizeof(name), "s%u", names++);
	for (unsigned i = 0; i < DISKS; i++)
		if (models[i].d)
			reqs[n++] = (struct snapshot_request){ models[i].d,
							       DESC_SNAPSHOT,
							       name };
	if (n > room)
		return;
	assert_ok(disks_snapshot(v->e, v->s, reqs, n));
	for (unsigned i = 0; i < DISKS; i++)
		if (models[i].d && (s = free_snap()))
			freeze(&models[i], s, DESC_SNAPSHOT, name);
}

static void
step_copy(struct engine_env *v, struct model *m)
{
	struct snapshot_request req = { m->d, DESC_DISK, NULL };
	struct model *to = free_model();
	char name[16];

	if (!to)
		return;
	(void)snprintf(name, sizeof(name), "d%u", names++);
	req.name = name;
	assert_ok(disks_snapshot(v->e, v->s, &req, 1));
	model_flushed(m);
	model_begin(to, name, m->cur, m->size);
	assert_ok(disk_attach(v->e, DESC_DISK, name, 0, &to->d));
	assert_int_equal(disk_size(to->d), to->size);
}

/* So many that one more may not have room. */
static bool
has_many_keys(struct engine_env *v, const struct frozen *s)
{
	struct descriptor d;

	assert_ok(catalog_load(engine_catalog(v->e), s->type, s->name, &d, NULL,
			       NULL));
	return d.n_keys == DESC_KEYS_MAX;
}

static void
step_clone(struct engine_env *v, const struct frozen *s)
{
	struct clone_params p = { .mode = 0600 };
	struct model *to = free_model();
	struct descriptor *d = calloc(1, sizeof(*d));
	char name[16];

	assert_non_null(d);
	if (to && s) {
		(void)snprintf(name, sizeof(name), "d%u", names++);
		p.name = name;
		if (rnd(3) == 0 && !has_many_keys(v, s))
			p.own_key = KMS_SERVICE_ALIAS;
		if (rnd(2))
			p.size = s->size + 512 < MAX_SIZE ? s->size + 512 : 0;
		assert_ok(catalog_clone(engine_catalog(v->e), v->kms, s->type,
					s->name, &p, d));
		model_begin(to, name, s->content, p.size ? p.size : s->size);
		assert_ok(disk_attach(v->e, DESC_DISK, name, 0, &to->d));
	}
	free(d);
}

static void
step_image(struct engine_env *v, const struct frozen *s)
{
	struct clone_params p = { .mode = 0400 };
	struct frozen *to = free_snap();
	char name[16];

	if (!to || !s || s->type != DESC_SNAPSHOT)
		return;
	(void)snprintf(name, sizeof(name), "i%u", names++);
	p.name = name;
	assert_ok(catalog_image(engine_catalog(v->e), v->kms, s->name, &p));
	to->type = DESC_IMAGE;
	to->size = s->size;
	memcpy(to->content, s->content, MAX_SIZE);
	(void)snprintf(to->name, sizeof(to->name), "%s", name);
}

static void
step_rollback(struct engine_env *v, const struct frozen *s)
{
	struct model *m = NULL;

	for (unsigned i = 0; s && i < DISKS; i++)
		if (models[i].d && s->type == DESC_SNAPSHOT &&
		    strncmp(s->name, models[i].name, strcspn(s->name, "@")) ==
			0 &&
		    strlen(models[i].name) == strcspn(s->name, "@"))
			m = &models[i];
	if (!m)
		return;
	assert_err(catalog_rollback(engine_catalog(v->e), v->kms, s->name),
		   EBUSY);
	assert_ok(disk_detach(m->d));
	assert_ok(catalog_rollback(engine_catalog(v->e), v->kms, s->name));
	model_begin(m, NULL, s->content, s->size);
	assert_ok(disk_attach(v->e, DESC_DISK, m->name, 0, &m->d));
	assert_int_equal(disk_size(m->d), m->size);
}

static void
check_snap(struct engine_env *v, const struct frozen *s)
{
	struct disk_stats st;
	struct disk *d;

	if (!s)
		return;
	assert_ok(disk_attach(v->e, s->type, s->name, 0, &d));
	assert_int_equal(disk_size(d), s->size);
	for (uint64_t off = 0; off < s->size; off += MAX_IO) {
		uint64_t n = s->size - off < MAX_IO ? s->size - off : MAX_IO;

		assert_ok(disk_read(d, v->s, io, n, off));
		assert_memory_equal(io, s->content + off, n);
	}
	assert_err(disk_write(d, v->s, io, 4096, 0), EROFS);
	assert_err(catalog_remove(engine_catalog(v->e), s->type, s->name),
		   EBUSY);
	disk_stats(d, &st);
	assert_int_equal(st.faults, 0);
	assert_ok(disk_detach(d));
}

static void
remove_snap(struct engine_env *v, struct frozen *s)
{
	if (!s)
		return;
	assert_ok(catalog_remove(engine_catalog(v->e), s->type, s->name));
	s->name[0] = '\0';
}

static void
remove_disk(struct engine_env *v, struct model *m)
{
	assert_ok(disk_detach(m->d));
	assert_ok(catalog_remove(engine_catalog(v->e), DESC_DISK, m->name));
	m->d = NULL;
}

/* The last one stays. */
static void
step_remove(struct engine_env *v, struct model *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < DISKS; i++)
		n += models[i].d != NULL;
	if (n > 1)
		remove_disk(v, m);
}

static void
sweep(struct engine_env *v)
{
	const atomic_bool stop = false;

	engine_sweep(v->e, &stop);
}

/* A few pieces of merging, each but a chunk where opt.merge_chunks is 1: so a
 * kill, a snapshot, a write comes in between. */
static void
step_merge(struct engine_env *v)
{
	bool more;

	if (rnd(2))
		assert_ok(catalog_sweep(engine_catalog(v->e), 2, &more));
	for (uint64_t n = rnd(4); n > 0; n--)
		assert_ok(rnd(3) ? engine_merge(v->e, NULL)
				 : engine_seal(v->e, NULL));
}

/* What has been written until now is durable then. */
static void
step_rekey(struct engine_env *v, struct model *m)
{
	int r = disk_reencrypt(m->d, v->s, NULL, 0);

	if (r != -EALREADY && r != -E2BIG) {
		assert_ok(r);
		model_flushed(m);
	}
}

/* A few pieces of what is under older keys. */
static void
step_reencrypt(struct model *m)
{
	int r = 1;

	for (uint64_t n = rnd(40); n > 0 && r > 0; n--)
		r = disk_reencrypt_step(m->d);
	assert_true(r >= 0);
}

static void
step_frozen(struct engine_env *v, struct model *m)
{
	switch (rnd(20)) {
	case 14:
		step_rekey(v, m);
		break;
	case 15:
	case 16:
	case 17:
		step_reencrypt(m);
		break;
	case 0:
	case 1:
		step_snapshot(v, m);
		break;
	case 2:
		step_set(v);
		break;
	case 3:
		step_copy(v, m);
		break;
	case 4:
		step_clone(v, some_snap());
		break;
	case 5:
		step_image(v, some_snap());
		break;
	case 6:
		step_rollback(v, some_snap());
		break;
	case 7:
		remove_snap(v, some_snap());
		break;
	case 8:
		step_remove(v, m);
		break;
	case 9:
		sweep(v);
		break;
	case 10:
	case 11:
		step_merge(v);
		break;
	default:
		check_snap(v, some_snap());
	}
}

/* Without a thread of their own the others commit nothing by themselves, and
 * what they have dirty could fill the whole of so small a cache. */
static void
make_room(const struct model *m)
{
	struct disk_stats st;
	uint64_t dirty = 0;

	for (unsigned i = 0; i < DISKS; i++) {
		if (!models[i].d || &models[i] == m)
			continue;
		disk_stats(models[i].d, &st);
		dirty += st.dirty_groups;
	}
	for (unsigned i = 0; dirty > 4 && i < DISKS; i++)
		if (models[i].d && &models[i] != m)
			step_flush(&models[i]);
}

static void
step(struct engine_env *v, struct model *m)
{
	unsigned what = (unsigned)rnd(1000);

	if (!m->d)
		return;
	make_room(m);
	if (rnd(20) == 0) {
		step_frozen(v, m);
		return;
	}
	if (what < 450)
		step_write(v, m);
	else if (what < 700)
		step_read(v, m);
	else if (what < 790)
		step_zero(v, m);
	else if (what < 880)
		step_flush(m);
	else if (what < 930)
		assert_ok(disk_background(m->d));
	else if (what < 950)
		step_seek(v, m);
	else if (what < 965)
		step_resize(v, m);
	else if (what < 985)
		step_reattach(v, m);
	else
		step_crash(v, rnd(2));
	/* disk_background commits as a flush does. */
	if (what >= 880 && what < 930)
		model_flushed(m);
}

/* ---- runs ---- */

static int
use_anchor(struct descriptor *d, void *arg)
{
	(void)arg;
	strcpy(d->anchor, "kms");
	return 0;
}

static void
begin(struct engine_env *v)
{
	struct store *st;
	char name[16];

	assert_ok(mem_store_open(&st));
	eenv_begin(v, st, rnd(2) ? CIPHER_AES256_GCM : CIPHER_AES256_OCB);
	engine_close(v->e);
	v->opt.cache_size = 1;
	v->opt.quiet_ms = 1;
	if (rnd(4) == 0)
		v->opt.seal_limit = 400;
	v->opt.merge_chunks = rnd(3) ? 1 : 0;
	assert_ok(engine_open(v->st, v->kms, &v->opt, &v->e));
	for (unsigned i = 0; i < DISKS; i++) {
		struct model *m = &models[i];

		memset(m, 0, sizeof(*m));
		m->cur = calloc(1, MAX_SIZE);
		assert_non_null(m->cur);
		if (i > 1)
			continue;
		(void)snprintf(name, sizeof(name), "d%u", names++);
		model_begin(m, name, NULL, (8u << 20) + rnd(64) * 512);
		eenv_create(v, m->name, m->size);
		assert_ok(disk_attach(v->e, DESC_DISK, m->name, 0, &m->d));
		if (i == 0)
			assert_ok(disk_update(m->d, use_anchor, NULL));
	}
	for (unsigned i = 0; i < SNAPS; i++) {
		snaps[i].name[0] = '\0';
		snaps[i].content = malloc(MAX_SIZE);
		assert_non_null(snaps[i].content);
	}
}

static int
is_left(const char *name, bool is_dir, void *arg)
{
	(void)is_dir;
	(void)arg;
	fail_msg("lineages/%s is left", name);
	return 0;
}

/* All is there; and when all has been removed, nothing is left. */
static void
end(struct engine_env *v)
{
	for (unsigned i = 0; i < SNAPS; i++)
		if (snaps[i].name[0])
			check_snap(v, &snaps[i]);
	for (unsigned i = 0; i < DISKS; i++)
		if (models[i].d) {
			check_whole(v, &models[i]);
			remove_disk(v, &models[i]);
		}
	for (unsigned i = 0; i < SNAPS; i++) {
		if (snaps[i].name[0])
			remove_snap(v, &snaps[i]);
		free(snaps[i].content);
	}
	sweep(v);
	(void)!v->st->ops->list(v->st, "lineages", is_left, NULL);
	for (unsigned i = 0; i < DISKS; i++) {
		free(models[i].cur);
		for (unsigned b = 0; b < MAX_BLOCKS; b++)
			free(models[i].maybe[b].hash);
	}
	eenv_end(v);
}

static uint64_t
number(const char *name, uint64_t dflt)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : dflt;
}

static void
disks_do_what_arrays_do(void **state)
{
	uint64_t seed = number("SEALDISK_SEED", 1);
	uint64_t steps = number("SEALDISK_STEPS", 1500);
	uint64_t rounds = number("SEALDISK_ROUNDS", 3);

	(void)state;
	for (uint64_t i = 0; i < rounds; i++) {
		struct engine_env v;

		printf("SEALDISK_SEED=%" PRIu64 " SEALDISK_STEPS=%" PRIu64 "\n",
		       seed + i, steps);
		fflush(stdout);
		rng = (seed + i) * 0x9e3779b97f4a7c15ULL;
		begin(&v);
		for (uint64_t k = 0; k < steps; k++)
			step(&v, &models[rnd(DISKS)]);
		end(&v);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_do_what_arrays_do),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
