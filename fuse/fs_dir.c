/*
 * fs_dir.c - folders listed.
 *
 * An open folder reads names as they were when it was last read from its start:
 * they are kept.  But with the process that had them they are gone, and the one
 * after it goes on from the same position in a list that may be another by now;
 * who is in both must be told once.  So names are in the order of their
 * positions, and a name's position comes of itself alone: 61 bits of its hash,
 * of which no two are the same.
 */
#include "fs_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DOTS 2 /* positions 1 and 2 are those of "." and ".." */

/* One after the other: position, name, NUL. */
struct names {
	char *text;
	size_t len, cap;
	size_t n;
};

static uint64_t
position_at(const char *p)
{
	uint64_t pos;

	memcpy(&pos, p, sizeof(pos));
	return pos;
}

static const char *
name_at(const char *p)
{
	return p + sizeof(uint64_t);
}

static size_t
size_at(const char *p)
{
	return sizeof(uint64_t) + strlen(name_at(p)) + 1;
}

static int
add_name(const char *name, void *arg)
{
	size_t len = strlen(name) + 1;
	struct names *n = arg;
	uint8_t hash[SHA256_LEN];
	uint64_t pos;
	char *text;
	int r = sha256(name, len, hash);

	if (r < 0)
		return r;
	if (n->len + sizeof(pos) + len > n->cap) {
		text = realloc(n->text, n->cap * 2 + 4096);
		if (!text)
			return -ENOMEM;
		n->text = text;
		n->cap = n->cap * 2 + 4096;
	}
	memcpy(&pos, hash, sizeof(pos));
	pos = pos >> 2 | 4; /* behind the dots */
	memcpy(n->text + n->len, &pos, sizeof(pos));
	memcpy(n->text + n->len + sizeof(pos), name, len);
	n->len += sizeof(pos) + len;
	n->n++;
	return 0;
}

static int
by_position(const void *a, const void *b)
{
	uint64_t x = position_at(*(const char *const *)a);
	uint64_t y = position_at(*(const char *const *)b);

	return x < y ? -1 : x > y;
}

static int
sort_names(struct names *n)
{
	CLEANUP(free_memp) const char **v = calloc(n->n + 1, sizeof(*v));
	char *text = malloc(n->len + 1), *to = text;
	const char *p = n->text;

	if (!v || !text) {
		free(text);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n->n; i++, p += size_at(p))
		v[i] = p;
	qsort(v, n->n, sizeof(*v), by_position);
	for (size_t i = 0; i < n->n; i++) {
		memcpy(to, v[i], size_at(v[i]));
		to += size_at(v[i]);
	}
	free(n->text);
	n->text = text;
	return 0;
}

/* ${ret}->text is malloc()ed; NULL after an error. */
static int
read_names(struct fs *fs, uint64_t folder, struct names *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = tree_list(fs->tree, folder, add_name, ret);
	if (r == 0)
		r = sort_names(ret);
	if (r < 0)
		free(TAKE(ret->text));
	return r;
}

void
fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct node *n = fs_node(req, ino);
	int r;

	if (!n)
		return;
	r = node_is_folder(n) ? note_put(fs, NULL, 0, &fi->fh) : -ENOTDIR;
	if (r < 0)
		fs_reply(req, r);
	else if (fuse_reply_open(req, fi) < 0)
		note_drop(fs, fi->fh);
}

void
fs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	note_drop(fs_of(req), fi->fh);
	fs_reply(req, 0);
}

/* An answer under way. */
struct listing {
	struct fs *fs;
	fuse_req_t req;
	uint64_t folder;
	char *buf;
	size_t len, cap;
	bool plus; /* with attributes, and the kernel then knows the node */
};

/* False: it does not fit. */
static bool
put(struct listing *l, const char *name, const struct fuse_entry_param *e,
    off_t pos)
{
	size_t room = l->cap - l->len, len;

	if (l->plus)
		len = fuse_add_direntry_plus(l->req, l->buf + l->len, room,
					     name, e, pos);
	else
		len = fuse_add_direntry(l->req, l->buf + l->len, room, name,
					&e->attr, pos);
	if (len > room)
		return false;
	l->len += len;
	return true;
}

static bool
put_dot(struct listing *l, const char *name, off_t pos)
{
	/* No node: the kernel makes nothing of a dot's. */
	struct fuse_entry_param e = {
		.attr.st_ino = l->folder,
		.attr.st_mode = S_IFDIR,
	};

	return put(l, name, &e, pos);
}

/* Without a node id where its attributes cannot be had. */
static void
fill_entry(struct fs *fs, struct node *n, const struct descriptor *desc,
	   struct fuse_entry_param *e)
{
	if (fs_entry(fs, n, node_is_folder(n) ? NULL : desc, e) == 0)
		return;
	memset(e, 0, sizeof(*e));
	e->attr.st_mode = S_IFREG;
}

static bool
put_name(struct listing *l, const char *name, off_t pos)
{
	/* A name whose descriptor cannot be read is shown all the same. */
	struct fuse_entry_param e = {
		.attr.st_ino = UINT32_MAX,
		.attr.st_mode = S_IFREG,
	};
	struct fs *fs = l->fs;
	struct descriptor desc;
	struct node *n = NULL;
	bool fits;

	if (tree_lookup(fs->tree, l->folder, name, &desc, &n) < 0)
		return put(l, name, &e, pos);
	if (node_is_folder(n))
		e.attr.st_mode = S_IFDIR;
	if (l->plus) {
		/* Known before it is told, or it might be forgotten before. */
		tree_count(fs->tree, n);
		fill_entry(fs, n, &desc, &e);
	}
	e.attr.st_ino = n->id;
	fits = put(l, name, &e, pos);
	if (l->plus && (!fits || !e.ino))
		tree_forget(fs->tree, n->id, 1);
	tree_unpin(fs->tree, n);
	return fits;
}

static void
put_names(struct listing *l, const char *text, size_t len, off_t off)
{
	const char *p;

	if (off < 1 && !put_dot(l, ".", 1))
		return;
	if (off < DOTS && !put_dot(l, "..", DOTS))
		return;
	for (p = text; p < text + len; p += size_at(p))
		if (position_at(p) > (uint64_t)off &&
		    !put_name(l, name_at(p), (off_t)position_at(p)))
			return;
}

static void
list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, uint64_t fh,
     bool plus)
{
	struct worker *w = worker_self();
	struct listing l = {
		.fs = fs_of(req),
		.req = req,
		.folder = ino,
		.buf = (char *)w->out,
		.cap = size < WORKER_IO_MAX ? size : WORKER_IO_MAX,
		.plus = plus,
	};
	const char *text = off ? note_get(l.fs, fh, &size) : NULL;
	struct names names = { .text = NULL };
	int r = 0;

	if (!text) {
		r = read_names(l.fs, ino, &names);
		text = names.text;
		size = names.len;
	}
	if (r == 0)
		put_names(&l, text, size, off);
	if (names.text)
		note_set(l.fs, fh, names.text, names.len);
	if (w->out_used < l.len)
		w->out_used = l.len;
	if (r < 0)
		fs_reply(req, r);
	else
		(void)fuse_reply_buf(req, l.buf, l.len);
}

void
fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	   struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi->fh, false);
}

void
fs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	       struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi->fh, true);
}
