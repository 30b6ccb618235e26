/*
 * fault_store.c - see fault_store.h.  Every operation asks judge() first what
 * is to become of it.
 */
#include "fault_store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define KINDS 16

struct fault_store {
	struct store base;
	struct store *inner;
	pthread_mutex_t mutex;
	unsigned kinds;
	unsigned nth; /* calls until one fails; 0: none will */
	int err;
	bool lasting, fired, full;
	enum fault_mode mode;
	void (*on_sync)(struct store *inner, struct store_file *f);
	char only[2][STORE_PATH_LEN]; /* "": any */
	pthread_cond_t moved;         /* all that are stuck are let go */
	unsigned stuck;
	uint64_t count[KINDS];
};

struct fault_file {
	struct store_file base;
	struct store_file *inner;
	char path[];
};

struct fault_lock {
	struct store_lock base;
	struct store_lock *inner;
	char path[];
};

struct verdict {
	int before; /* an error: the call is not made */
	int after;  /* an error: it is, and this is said of it */
	enum fault_mode mode;
};

static struct fault_store *
fault_of(struct store *st)
{
	return (struct fault_store *)st;
}

static struct store_file *
below(struct store_file *f)
{
	return ((struct fault_file *)f)->inner;
}

static const char *
path_of(struct store_file *f)
{
	return ((struct fault_file *)f)->path;
}

/* What a test sets, other threads may be reading. */

static struct fault_store *
take(struct store *st)
{
	(void)pthread_mutex_lock(&fault_of(st)->mutex);
	return fault_of(st);
}

static void
give(struct fault_store **fs)
{
	(void)pthread_mutex_unlock(&(*fs)->mutex);
}

/* Under the mutex. */
static bool
strikes(struct fault_store *fs, unsigned kind, const char *path)
{
	if (!(fs->kinds & kind) || fs->nth == 0 || !strstr(path, fs->only[0]) ||
	    !strstr(path, fs->only[1]))
		return false;
	if (--fs->nth > 0)
		return false;
	if (fs->lasting)
		fs->nth = 1;
	fs->fired = true;
	return true;
}

/* Under the mutex, which is let go of meanwhile. */
static void
stick(struct fault_store *fs)
{
	fs->stuck++;
	while (fs->mode == FAULT_STUCK && fs->err)
		(void)pthread_cond_wait(&fs->moved, &fs->mutex);
	fs->stuck--;
}

static struct verdict
judge(struct store *st, enum fault_kind kind, const char *path)
{
	const unsigned grows = FAULT_WRITE | FAULT_CREATE | FAULT_REPLACE |
			       FAULT_TRUNCATE;
	CLEANUP(give) struct fault_store *fs = take(st);
	struct verdict v = { 0 };

	fs->count[__builtin_ctz(kind)]++;
	if (strikes(fs, kind, path)) {
		v.mode = fs->mode;
		if (fs->mode == FAULT_STUCK)
			stick(fs);
		else if (fs->mode == FAULT_AFTER)
			v.after = fs->err;
		else
			v.before = fs->err;
	} else if (fs->full && (grows & kind)) {
		v.before = -ENOSPC;
	}
	return v;
}

static int
told(struct verdict v, int r)
{
	return r < 0 || !v.after ? r : v.after;
}

/* Declares ${v} and ${in}, and ends the function where the call is not made. */
#define JUDGE(st, kind, path)                                                  \
	struct verdict v = judge(st, kind, path);                              \
	struct store *in = fault_of(st)->inner;                                \
                                                                               \
	if (v.before)                                                          \
	return v.before

/* Files. */

static int
wrap_file(struct store *st, struct verdict v, const char *path,
	  struct store_file *inner, struct store_file **ret)
{
	struct fault_file *f = v.after ? NULL
				       : malloc(sizeof(*f) + strlen(path) + 1);

	if (!f) {
		store_close(inner);
		return v.after ? v.after : -ENOMEM;
	}
	f->base.st = st;
	f->inner = inner;
	strcpy(f->path, path);
	*ret = &f->base;
	return 0;
}

static int
ft_open(struct store *st, const char *path, bool writable,
	struct store_file **ret)
{
	struct store_file *inner;
	int r;

	JUDGE(st, FAULT_OPEN, path);
	r = in->ops->open(in, path, writable, &inner);
	return r < 0 ? r : wrap_file(st, v, path, inner, ret);
}

static int
ft_create(struct store *st, const char *path, struct store_file **ret)
{
	struct store_file *inner;
	int r;

	JUDGE(st, FAULT_CREATE, path);
	r = in->ops->create(in, path, &inner);
	return r < 0 ? r : wrap_file(st, v, path, inner, ret);
}

static void
ft_close(struct store_file *f)
{
	store_close(below(f));
	free((struct fault_file *)f);
}

static int
ft_size(struct store_file *f, uint64_t *ret)
{
	JUDGE(f->st, FAULT_SIZE, path_of(f));
	return told(v, in->ops->size(below(f), ret));
}

static int
ft_read(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	JUDGE(f->st, FAULT_READ, path_of(f));
	return told(v, in->ops->read(below(f), buf, len, off));
}

static int
ft_write(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	struct verdict v = judge(f->st, FAULT_WRITE, path_of(f));
	struct store *in = fault_of(f->st)->inner;
	int r;

	if (v.before && v.mode == FAULT_HALF && len > 1) {
		r = in->ops->write(below(f), buf, len / 2, off);
		return r < 0 ? r : v.before;
	}
	if (v.before)
		return v.before;
	return told(v, in->ops->write(below(f), buf, len, off));
}

static int
ft_punch(struct store_file *f, uint64_t off, uint64_t len)
{
	JUDGE(f->st, FAULT_PUNCH, path_of(f));
	return told(v, in->ops->punch(below(f), off, len));
}

static int
ft_truncate(struct store_file *f, uint64_t len)
{
	JUDGE(f->st, FAULT_TRUNCATE, path_of(f));
	return told(v, in->ops->truncate(below(f), len));
}

static void
ft_writeback(struct store_file *f, uint64_t off, uint64_t len)
{
	below(f)->st->ops->writeback(below(f), off, len);
}

static void
ft_uncache(struct store_file *f, uint64_t off, uint64_t len)
{
	below(f)->st->ops->uncache(below(f), off, len);
}

static void
ft_drop(struct store_file *f)
{
	below(f)->st->ops->drop(below(f));
}

static int
ft_allocated(struct store_file *f, uint64_t *ret)
{
	JUDGE(f->st, FAULT_SIZE, path_of(f));
	return told(v, in->ops->allocated(below(f), ret));
}

static void
lose(struct store *st, struct verdict v, struct store_file *inner)
{
	struct fault_store *fs = fault_of(st);

	if (v.before && fs->on_sync)
		fs->on_sync(fs->inner, inner);
}

static int
ft_sync(struct store_file *f)
{
	struct verdict v = judge(f->st, FAULT_SYNC, path_of(f));

	lose(f->st, v, below(f));
	if (v.before)
		return v.before;
	return told(v, below(f)->st->ops->sync(below(f)));
}

static int
ft_sync_dir(struct store *st, const char *path)
{
	JUDGE(st, FAULT_SYNC_DIR, path);
	return told(v, in->ops->sync_dir(in, path));
}

static int
ft_sync_all(struct store *st)
{
	struct verdict v = judge(st, FAULT_SYNC_ALL, "");
	struct store *in = fault_of(st)->inner;

	lose(st, v, NULL);
	return v.before ? v.before : told(v, in->ops->sync_all(in));
}

static int
ft_list(struct store *st, const char *path,
	int (*fn)(const char *name, bool is_dir, void *arg), void *arg)
{
	JUDGE(st, FAULT_LIST, path);
	return told(v, in->ops->list(in, path, fn, arg));
}

static int
ft_load(struct store *st, const char *path, size_t max, char **ret_buf,
	size_t *ret_len)
{
	char *buf;
	size_t len;
	int r;

	JUDGE(st, FAULT_LOAD, path);
	r = in->ops->load(in, path, max, &buf, &len);
	if (r < 0)
		return r;
	if (v.after) {
		free(buf);
		return v.after;
	}
	*ret_buf = buf;
	*ret_len = len;
	return 0;
}

static int
ft_replace(struct store *st, const char *path, const void *buf, size_t len)
{
	JUDGE(st, FAULT_REPLACE, path);
	return told(v, in->ops->replace(in, path, buf, len));
}

static int
ft_rename(struct store *st, const char *from, const char *to)
{
	JUDGE(st, FAULT_RENAME, from);
	return told(v, in->ops->rename(in, from, to));
}

static int
ft_remove(struct store *st, const char *path)
{
	JUDGE(st, FAULT_REMOVE, path);
	return told(v, in->ops->remove(in, path));
}

static int
ft_lock(struct store *st, const char *path, enum store_lock_mode mode,
	bool wait, const char *info, struct store_lock **ret)
{
	struct store_lock *inner;
	struct fault_lock *l;
	int r;

	JUDGE(st, FAULT_LOCK, path);
	r = in->ops->lock(in, path, mode, wait, info, &inner);
	if (r < 0)
		return r;
	l = v.after ? NULL : malloc(sizeof(*l) + strlen(path) + 1);
	if (!l) {
		store_unlock(inner);
		return v.after ? v.after : -ENOMEM;
	}
	l->base.st = st;
	l->inner = inner;
	strcpy(l->path, path);
	*ret = &l->base;
	return 0;
}

static int
ft_lock_say(struct store_lock *l, const char *info)
{
	struct fault_lock *fl = (struct fault_lock *)l;

	JUDGE(l->st, FAULT_LOCK, fl->path);
	return told(v, in->ops->lock_say(fl->inner, info));
}

static void
ft_unlock(struct store_lock *l, bool remove)
{
	struct fault_lock *fl = (struct fault_lock *)l;

	fl->inner->st->ops->unlock(fl->inner, remove);
	free(fl);
}

static int
ft_lock_check(struct store_lock *l)
{
	struct fault_lock *fl = (struct fault_lock *)l;

	JUDGE(l->st, FAULT_LOCK, fl->path);
	return told(v, in->ops->lock_check(fl->inner));
}

static int
ft_lock_owner(struct store *st, const char *path, char **ret)
{
	char *text;
	int r;

	JUDGE(st, FAULT_LOCK, path);
	r = in->ops->lock_owner(in, path, &text);
	if (r < 0)
		return r;
	if (v.after) {
		free(text);
		return v.after;
	}
	*ret = text;
	return 0;
}

/* The store. */

static int
ft_space(struct store *st, struct store_space *ret)
{
	JUDGE(st, FAULT_SIZE, "");
	return told(v, in->ops->space(in, ret));
}

static void
ft_free(struct store *st)
{
	store_free(fault_of(st)->inner);
	(void)pthread_mutex_destroy(&fault_of(st)->mutex);
	(void)pthread_cond_destroy(&fault_of(st)->moved);
	free(fault_of(st));
}

static const struct store_ops fault_ops = {
	.open = ft_open,
	.create = ft_create,
	.close = ft_close,
	.size = ft_size,
	.read = ft_read,
	.write = ft_write,
	.punch = ft_punch,
	.truncate = ft_truncate,
	.writeback = ft_writeback,
	.uncache = ft_uncache,
	.drop = ft_drop,
	.allocated = ft_allocated,
	.sync = ft_sync,
	.sync_dir = ft_sync_dir,
	.sync_all = ft_sync_all,
	.list = ft_list,
	.load = ft_load,
	.replace = ft_replace,
	.rename = ft_rename,
	.remove = ft_remove,
	.lock = ft_lock,
	.lock_say = ft_lock_say,
	.unlock = ft_unlock,
	.lock_check = ft_lock_check,
	.lock_owner = ft_lock_owner,
	.space = ft_space,
	.free = ft_free,
};

int
fault_store_new(struct store *inner, struct store **ret)
{
	struct fault_store *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return -ENOMEM;
	fs->base.ops = &fault_ops;
	fs->inner = inner;
	fs->kinds = FAULT_ALL;
	(void)pthread_mutex_init(&fs->mutex, NULL);
	(void)pthread_cond_init(&fs->moved, NULL);
	*ret = &fs->base;
	return 0;
}

struct store *
fault_inner(struct store *st)
{
	return fault_of(st)->inner;
}

void
fault_arm(struct store *st, unsigned nth, int err, bool lasting)
{
	CLEANUP(give) struct fault_store *fs = take(st);

	fs->nth = nth;
	fs->err = err;
	fs->lasting = lasting;
	fs->fired = false;
}

void
fault_kinds(struct store *st, unsigned kinds)
{
	CLEANUP(give) struct fault_store *fs = take(st);

	fs->kinds = kinds;
}

void
fault_mode(struct store *st, enum fault_mode mode)
{
	CLEANUP(give) struct fault_store *fs = take(st);

	fs->mode = mode;
}

void
fault_only(struct store *st, const char *part, const char *other)
{
	CLEANUP(give) struct fault_store *fs = take(st);

	strcpy(fs->only[0], part);
	strcpy(fs->only[1], other);
}

bool
fault_is_stuck(struct store *st)
{
	CLEANUP(give) struct fault_store *fs = take(st);

	return fs->stuck > 0;
}

void
fault_let_go(struct store *st)
{
	CLEANUP(give) struct fault_store *fs = take(st);

	fs->nth = 0;
	fs->err = 0;
	(void)pthread_cond_broadcast(&fs->moved);
}

bool
fault_fired(struct store *st)
{
	CLEANUP(give) struct fault_store *fs = take(st);

	return fs->fired;
}

uint64_t
fault_count(struct store *st, unsigned kinds)
{
	CLEANUP(give) struct fault_store *fs = take(st);
	uint64_t n = 0;

	for (unsigned i = 0; i < KINDS; i++)
		if (kinds >> i & 1)
			n += fs->count[i];
	return n;
}

void
fault_full(struct store *st, bool full)
{
	CLEANUP(give) struct fault_store *fs = take(st);

	fs->full = full;
}

void
fault_on_sync(struct store *st,
	      void (*fn)(struct store *inner, struct store_file *f))
{
	CLEANUP(give) struct fault_store *fs = take(st);

	fs->on_sync = fn;
}
