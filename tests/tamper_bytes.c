/*
 * tamper_bytes.c - see tamper_bytes.h.
 */
#include "tamper_bytes.h"

#include <stdlib.h>
#include <string.h>

#define OPEN_MAX_FILES 64
#define SEVERAL UINT8_MAX

/* What reads a byte.  Blocks are counted from 1; 0: none. */
struct readers {
	bool open;             /* engine_open() */
	uint8_t items;         /* a bit each: what is to be attached anew */
	uint8_t block[ITEMS];  /* the only one, and each time that it is read */
	uint8_t first, second; /* of the item that is watched */
};

struct bytes {
	struct store *base;
	struct readers *who[FILES_MAX];
	struct store *st; /* whose disks stay attached; NULL: none */
	struct engine *e;
	struct disk *d[ITEMS];
	struct store_file *f; /* of it, the one of file ${at} */
	size_t at;
};

/* ---- watching what is read ---- */

enum step { S_OPEN, S_ATTACH, S_FIRST, S_SECOND };

/* One store is watched at a time: operations have no argument of ours. */
static struct {
	const struct store_ops *below;
	struct store_ops ops;
	struct bytes *bs;
	enum step step;
	unsigned item, block;
	struct {
		struct store_file *f;
		size_t file;
	} opened[OPEN_MAX_FILES];
} watch;

static void
see(uint8_t *seen)
{
	uint8_t block = (uint8_t)(watch.block + 1);

	*seen = *seen && *seen != block ? SEVERAL : block;
}

static void
mark(size_t file, size_t off, size_t len)
{
	struct readers *r = watch.bs->who[file];

	for (size_t i = off; i < off + len; i++)
		switch (watch.step) {
		case S_OPEN:
			r[i].open = true;
			break;
		case S_ATTACH:
			r[i].items |= (uint8_t)(1U << watch.item);
			break;
		case S_FIRST:
			see(&r[i].first);
			break;
		case S_SECOND:
			see(&r[i].second);
		}
}

/* FILES_MAX: none of the copy, which leaves locks out. */
static size_t
file_of(const char *path)
{
	const struct copy *c = &tamper_copies[END];
	const struct file *f = find(c, path);

	return f ? (size_t)(f - c->f) : FILES_MAX;
}

static void
watch_opened(struct store_file *f, const char *path)
{
	size_t i = 0;

	while (watch.opened[i].f)
		assert_true(++i < OPEN_MAX_FILES);
	watch.opened[i].f = f;
	watch.opened[i].file = file_of(path);
}

static int
watch_open(struct store *st, const char *path, bool writable,
	   struct store_file **ret)
{
	int r = watch.below->open(st, path, writable, ret);

	if (r == 0)
		watch_opened(*ret, path);
	return r;
}

static int
watch_create(struct store *st, const char *path, struct store_file **ret)
{
	int r = watch.below->create(st, path, ret);

	if (r == 0)
		watch_opened(*ret, path);
	return r;
}

static size_t
opened_at(struct store_file *f)
{
	size_t i = 0;

	while (watch.opened[i].f != f)
		assert_true(++i < OPEN_MAX_FILES);
	return i;
}

static void
watch_close(struct store_file *f)
{
	watch.opened[opened_at(f)].f = NULL;
	watch.below->close(f);
}

static int
watch_read(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	int r = watch.below->read(f, buf, len, off);
	size_t file = watch.opened[opened_at(f)].file;

	if (r == 0 && file < FILES_MAX)
		mark(file, off, len);
	return r;
}

static int
watch_load(struct store *st, const char *path, size_t max, char **ret_buf,
	   size_t *ret_len)
{
	int r = watch.below->load(st, path, max, ret_buf, ret_len);
	size_t file = file_of(path);

	if (r == 0 && file < FILES_MAX)
		mark(file, 0, *ret_len);
	return r;
}

static void
watch_begin(struct bytes *bs, struct store *st)
{
	memset(&watch, 0, sizeof(watch));
	watch.bs = bs;
	watch.below = st->ops;
	watch.ops = *st->ops;
	watch.ops.open = watch_open;
	watch.ops.create = watch_create;
	watch.ops.close = watch_close;
	watch.ops.read = watch_read;
	watch.ops.load = watch_load;
	st->ops = &watch.ops;
}

/* ---- who reads what ---- */

static void
read_all(struct disk *d, enum step step)
{
	watch.step = step;
	for (watch.block = 0; watch.block < BLOCKS; watch.block++)
		assert_int_equal(tamper_read_block(d, watch.item, watch.block),
				 O_SAME);
	watch.step = S_ATTACH;
}

/* What was read for one block, and again when that was read again, was not
 * kept.  All else counts as read to attach. */
static void
settle(struct readers *r, unsigned item)
{
	if (r->first == r->second && r->first != SEVERAL)
		r->block[item] = r->first;
	else
		r->items |= (uint8_t)(1U << item);
	r->first = r->second = 0;
}

static void
watch_item(struct bytes *bs, struct engine *e, unsigned item)
{
	const struct copy *c = &tamper_copies[END];
	struct disk *d;

	watch.step = S_ATTACH;
	watch.item = item;
	assert_ok(tamper_attach(e, item, &d));
	read_all(d, S_FIRST);
	read_all(d, S_SECOND);
	disk_abandon(d);
	for (size_t i = 0; i < c->n; i++)
		for (size_t at = 0; at < c->f[i].len; at++)
			settle(&bs->who[i][at], item);
}

static void
watch_all(struct bytes *bs)
{
	struct store *st = tamper_fork(bs->base);
	struct engine *e;

	watch_begin(bs, st);
	watch.step = S_OPEN;
	assert_ok(engine_open(st, tamper_env.kms, &tamper_env.opt, &e));
	for (unsigned i = 0; i < ITEMS; i++)
		watch_item(bs, e, i);
	watch.step = S_OPEN;
	engine_close(e);
	store_free(st);
}

/* ---- disks that stay attached ---- */

static void
bytes_detach(struct bytes *bs)
{
	if (!bs->st)
		return;
	store_close(bs->f);
	for (unsigned i = 0; i < ITEMS; i++)
		disk_abandon(bs->d[i]);
	engine_close(bs->e);
	store_free(bs->st);
	bs->st = NULL;
	bs->f = NULL;
}

static void
bytes_attach(struct bytes *bs)
{
	if (bs->st)
		return;
	bs->st = tamper_fork(bs->base);
	assert_ok(engine_open(bs->st, tamper_env.kms, &tamper_env.opt, &bs->e));
	for (unsigned i = 0; i < ITEMS; i++) {
		assert_ok(tamper_attach(bs->e, i, &bs->d[i]));
		for (unsigned b = 0; b < BLOCKS; b++)
			assert_int_equal(tamper_read_block(bs->d[i], i, b),
					 O_SAME);
	}
}

static void
bytes_open(struct bytes *bs, size_t i)
{
	if (bs->f && bs->at == i)
		return;
	store_close(bs->f);
	bs->f = NULL;
	assert_ok(bs->st->ops->open(bs->st, tamper_copies[END].f[i].path, true,
				    &bs->f));
	bs->at = i;
}

/* What each that reads it for a block says of that. */
static enum outcome
read_blocks(struct bytes *bs, const struct readers *r)
{
	struct disk_stats was, is;
	enum outcome o = O_SAME;

	for (unsigned i = 0; i < ITEMS; i++) {
		if (!r->block[i] || (r->items >> i & 1))
			continue;
		disk_stats(bs->d[i], &was);
		o = worse(o, tamper_read_block(bs->d[i], i, r->block[i] - 1U));
		disk_stats(bs->d[i], &is);
		if (is.faults > was.faults || is.repairs > was.repairs)
			o = worse(o, O_FOUND);
	}
	return o;
}

static enum outcome
try_blocks(struct bytes *bs, size_t i, size_t at)
{
	const struct file *f = &tamper_copies[END].f[i];
	const struct readers *r = &bs->who[i][at];
	enum outcome o;

	bytes_attach(bs);
	bytes_open(bs, i);
	tamper_turn(bs->f, f, at);
	o = read_blocks(bs, r);
	assert_ok(bs->st->ops->write(bs->f, f->data + at, 1, at));
	/* Who remembers it is of no use for the next one. */
	if (read_blocks(bs, r) != O_SAME)
		bytes_detach(bs);
	return o;
}

static enum outcome
try_items(struct bytes *bs, size_t i, size_t at, unsigned items)
{
	const struct file *f = &tamper_copies[END].f[i];
	struct store *st = tamper_fork(bs->base);
	struct store_file *to;

	assert_ok(st->ops->open(st, f->path, true, &to));
	tamper_turn(to, f, at);
	store_close(to);
	return tamper_look(st, items);
}

/* ---- the whole ---- */

static bool
is_read_for_block(const struct readers *r)
{
	for (unsigned i = 0; i < ITEMS; i++)
		if (r->block[i] && !(r->items >> i & 1))
			return true;
	return false;
}

enum byte_way
bytes_way(const struct bytes *bs, size_t i, size_t at)
{
	const struct readers *r = &bs->who[i][at];

	return r->open                ? BYTE_ALL
	       : r->items             ? BYTE_ITEMS
	       : is_read_for_block(r) ? BYTE_BLOCK
				      : BYTE_UNREAD;
}

enum outcome
bytes_try(struct bytes *bs, size_t i, size_t at)
{
	const struct readers *r = &bs->who[i][at];
	enum outcome o = O_SAME;

	if (r->open || r->items)
		o = try_items(bs, i, at, r->open ? ALL_ITEMS : r->items);
	if (!r->open && is_read_for_block(r))
		o = worse(o, try_blocks(bs, i, at));
	return o;
}

struct bytes *
bytes_new(struct store *base)
{
	const struct copy *c = &tamper_copies[END];
	struct bytes *bs = calloc(1, sizeof(*bs));

	assert_non_null(bs);
	bs->base = base;
	for (size_t i = 0; i < c->n; i++) {
		bs->who[i] = calloc(c->f[i].len + 1, sizeof(*bs->who[i]));
		assert_non_null(bs->who[i]);
	}
	watch_all(bs);
	return bs;
}

void
bytes_free(struct bytes *bs)
{
	if (!bs)
		return;
	bytes_detach(bs);
	for (size_t i = 0; i < FILES_MAX; i++)
		free(bs->who[i]);
	free(bs);
}
