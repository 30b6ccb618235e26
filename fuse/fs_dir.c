/*
 * fs_dir.c - folders listed.
 *
 * An open folder reads names as they were when it was last read from its start:
 * they are kept one after the other, each with its NUL, and the position that
 * the kernel gives back is the place behind a name, plus the two dots.
 */
#include "fs_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DOTS 2 /* positions 1 and 2 lie behind "." and ".." */

struct names {
	char *text;
	size_t len, cap;
};

static int
add_name(const char *name, void *arg)
{
	struct names *n = arg;
	size_t len = strlen(name) + 1;
	char *text;

	if (n->len + len > n->cap) {
		text = realloc(n->text, n->cap * 2 + 4096);
		if (!text)
			return -ENOMEM;
		n->text = text;
		n->cap = n->cap * 2 + 4096;
	}
	memcpy(n->text + n->len, name, len);
	n->len += len;
	return 0;
}

static int
read_names(struct fs *fs, uint64_t folder, struct names *ret)
{
	memset(ret, 0, sizeof(*ret));
	return tree_list(fs->tree, folder, add_name, ret);
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
	size_t at;

	if (off < 1 && !put_dot(l, ".", 1))
		return;
	if (off < DOTS && !put_dot(l, "..", DOTS))
		return;
	at = off < DOTS ? 0 : (size_t)off - DOTS;
	while (at < len) {
		const char *name = text + at;

		at += strlen(name) + 1;
		if (!put_name(l, name, (off_t)at + DOTS))
			return;
	}
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
