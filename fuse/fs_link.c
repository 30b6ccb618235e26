/*
 * fs_link.c - link(2): snapshots, images and clones; and the ioctl for several
 * snapshots at one instant.
 *
 * A new name is always that of a new node, with which the link is answered: the
 * kernel takes it, and the link count of either stays 1.
 *
 * The kernel holds the locks of the folder and of the disk's inode as long as
 * it waits for the answer.  So nothing here may wait for another request on
 * them; writes that are under way are past those locks.
 */
#include "fs_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/ioctl.h>
#include <sealdisk/log.h>

#include "snapshot.h"

/* Whether ${p} is the folder of snapshots of what is called ${name}: a disk, or
 * one of its snapshots. */
static bool
is_folder_of(const struct tree_place *p, const char *name)
{
	size_t len = strcspn(name, "@");

	return strlen(p->of) == len && memcmp(p->of, name, len) == 0;
}

/* What can be made of what. */
static int
check(enum desc_type from, const char *name, const struct tree_place *to)
{
	if (to->type == DESC_SNAPSHOT && !is_folder_of(to, name))
		return -EXDEV;
	if (from == DESC_DISK || to->type == DESC_DISK)
		return 0;
	return from == DESC_SNAPSHOT && to->type == DESC_IMAGE ? 0 : -EPERM;
}

/* ---- of a disk ---- */

static int
freeze(struct fs_job *j, const struct tree_place *to)
{
	struct fs *fs = j->fs;
	struct snapshot_request q = { .type = to->type, .name = j->to };
	struct descriptor desc;
	int r = drive_attach(fs, j->drive, false);

	if (r < 0)
		return r;
	/* What was written into the kernel's pages alone counts as written,
	 * too. */
	if (fs->opt.writeback_cache)
		drive_drop_pages(fs, j->drive);
	q.disk = atomic_load(&j->drive->disk);
	disk_descriptor(q.disk, &desc);
	r = check(DESC_DISK, desc.name, to); /* as it is called now */
	if (r == 0)
		r = disks_snapshot(fs->opt.engine, worker_self()->scratch, &q,
				   1);
	drive_unuse(fs, j->drive);
	return r;
}

/* ---- of a snapshot or image ---- */

static int
copy_name(struct fs_job *j, const struct tree_place *to)
{
	struct fs *fs = j->fs;
	struct kms *kms = engine_kms(fs->opt.engine);
	struct clone_params p = { .name = j->to };
	char name[NODE_NAME_MAX + 1];
	struct descriptor desc;
	int r = tree_load(fs->tree, j->node, &desc, NULL, NULL);

	if (r < 0)
		return r;
	tree_name(fs->tree, j->node, name);
	p.uid = desc.uid;
	p.gid = desc.gid;
	p.mode = desc.mode;
	if (to->type == DESC_IMAGE)
		return catalog_image(fs->catalog, kms, name, &p);
	p.mode |= 0200; /* who may read only what is frozen writes to the disk
			 * that is his */
	return catalog_clone(fs->catalog, kms, j->node->type, name, &p, &desc);
}

/* ---- the whole ---- */

static void
reply_new(struct fs_job *j)
{
	struct descriptor desc;
	struct node *n;
	int r = tree_lookup(j->fs->tree, j->parent, j->to, &desc, &n);

	if (r < 0) {
		fs_reply(j->req, r);
		return;
	}
	fs_reply_node(j->req, n, &desc);
	tree_unpin(j->fs->tree, n);
}

static void
run_link(struct fs_job *j)
{
	struct fs *fs = j->fs;
	struct tree_place to;
	int r = tree_place(fs->tree, j->parent, &to);

	if (r == 0)
		r = j->node->type == DESC_DISK ? freeze(j, &to)
					       : copy_name(j, &to);
	once_done(j->once, r, NULL, 0);
	if (r == 0) {
		info_outdated(fs);
		reply_new(j);
		fs_sweep(fs); /* what was frozen is sealed */
		return;
	}
	fs_reply(j->req, r);
	if (r == -EEXIST || r == -EXDEV || r == -EBUSY)
		return;
	log_error("link %s to %s%s%s: %s", j->name, to.of, to.of[0] ? "@" : "",
		  j->to, err_text(r));
	fs_sweep(fs); /* a layer, perhaps, that came to have no name */
}

void
fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct node *n = fs_node(req, ino);
	char from[NODE_NAME_MAX + 1];
	struct keep_once *o;
	enum once_was was;
	struct tree_place to;
	struct fs_job *j;
	int r;

	if (!n)
		return;
	tree_name(fs->tree, n, from);
	r = tree_place(fs->tree, parent, &to);
	if (r == -ENOTDIR ||
	    (r == 0 && (to.kind != NODE_DISK || n->kind != NODE_DISK)))
		r = -EPERM;
	if (r == 0)
		r = check(n->type, from, &to);
	if (r == 0)
		r = strlen(name) > DISK_NAME_MAX ? -ENAMETOOLONG
						 : name_check(name);
	if (r < 0) {
		fs_reply(req, r);
		return;
	}
	o = fs_once(fs, &was);
	r = fs_name_is_new(fs, parent, name);
	if (was == ONCE_WAS_DONE && o->result < 0)
		r = o->result;
	if (r < 0 && !(was != ONCE_NEW && r == -EEXIST)) {
		once_end(o);
		fs_reply(req, r);
		return;
	}
	/* Begun before, and it is there: it was made by that. */
	j = fs_job_new(fs, req, n, r == -EEXIST ? reply_new : run_link);
	if (!j) {
		once_end(o);
		return;
	}
	j->once = o;
	once_begin(o, NULL);
	j->parent = parent;
	(void)strcpy(j->name, from);
	(void)strcpy(j->to, name);
	fs_start(j);
}

/* ---- several disks ---- */

/*
 * Each disk is attached by a job of its own strand, one after the other: the
 * job of one queues that of the next, and the last one, when all of them are
 * counted in, freezes them.  So no job waits for another.
 */
struct batch {
	struct sd_ioc_snapshot q;
	struct node *nodes[SD_IOC_DISKS]; /* pinned */
	uint32_t n, attached;
};

/* ${b} is free()d by whoever has it. */
static void
batch_done(struct fs *fs, struct batch *b)
{
	for (uint32_t i = 0; i < b->attached; i++)
		drive_unuse(fs, drive_peek(b->nodes[i]));
	for (uint32_t i = 0; i < b->n; i++)
		tree_unpin(fs->tree, b->nodes[i]);
}

static int
freeze_all(struct fs *fs, const struct batch *b)
{
	struct snapshot_request q[SD_IOC_DISKS];

	for (uint32_t i = 0; i < b->n; i++) {
		struct drive *d = drive_peek(b->nodes[i]);

		if (fs->opt.writeback_cache)
			drive_drop_pages(fs, d);
		q[i].disk = atomic_load(&d->disk);
		q[i].type = DESC_SNAPSHOT;
		q[i].name = b->q.name;
	}
	return disks_snapshot(fs->opt.engine, worker_self()->scratch, q, b->n);
}

static void
run_gather(struct fs_job *j)
{
	struct batch *b = j->data;
	struct fs *fs = j->fs;
	struct fs_job *next;
	int r = drive_attach(fs, j->drive, false);

	if (r == 0 && ++b->attached < b->n) {
		next = fs_job_new(fs, NULL, b->nodes[b->attached], run_gather);
		if (next) {
			fs_job_pass(j, next);
			next->data = TAKE(j->data);
			fs_start(next);
			return;
		}
		r = -ENOMEM;
	}
	if (r == 0)
		r = freeze_all(fs, b);
	batch_done(fs, b);
	once_done(j->once, r, NULL, 0);
	if (r == 0)
		info_outdated(fs);
	else if (r != -EEXIST && r != -EBUSY)
		log_error("snapshot of several disks, %s: %s", b->q.name,
			  err_text(r));
	if (r < 0)
		fs_reply(j->req, r);
	else
		(void)fuse_reply_ioctl(j->req, 0, NULL, 0);
	if (r != -EEXIST && r != -EBUSY)
		fs_sweep(fs);
}

static int
check_request(const struct sd_ioc_snapshot *q)
{
	if (q->n < 1 || q->n > SD_IOC_DISKS ||
	    !memchr(q->name, 0, sizeof(q->name)) || name_check(q->name) < 0)
		return -EINVAL;
	for (uint32_t i = 0; i < q->n; i++)
		if (!memchr(q->disks[i], 0, sizeof(q->disks[i])))
			return -EINVAL;
	return 0;
}

static int
find_disks(struct fs *fs, struct batch *b)
{
	struct descriptor desc;
	int r = 0;

	while (r == 0 && b->n < b->q.n) {
		r = tree_lookup(fs->tree, NODE_DISKS, b->q.disks[b->n], &desc,
				&b->nodes[b->n]);
		if (r == 0)
			b->n++;
	}
	return r;
}

/* How many of the snapshots there are. */
static unsigned
count_made(struct fs *fs, const struct sd_ioc_snapshot *q)
{
	struct descriptor desc;
	unsigned n = 0;

	for (uint32_t i = 0; i < q->n; i++) {
		char name[NODE_NAME_MAX + 1];

		(void)snprintf(name, sizeof(name), "%.*s@%.*s", DISK_NAME_MAX,
			       q->disks[i], DISK_NAME_MAX, q->name);
		n += catalog_load(fs->catalog, DESC_SNAPSHOT, name, &desc, NULL,
				  NULL) == 0;
	}
	return n;
}

/* 1: it was done before.  What has begun is done whole or not at all. */
static int
look_whether_done(struct fs *fs, const struct sd_ioc_snapshot *q,
		  struct keep_once **ret)
{
	enum once_was was;
	struct keep_once *o = fs_once(fs, &was);
	unsigned made;

	*ret = o;
	if (!o)
		return 0;
	if (was == ONCE_WAS_DONE)
		return o->result < 0 ? o->result : 1;
	made = count_made(fs, q);
	if (was == ONCE_WAS_BEGUN && made == q->n)
		return 1;
	if (made > 0)
		return -EEXIST;
	once_begin(o, NULL);
	return 0;
}

void
fs_snapshot(fuse_req_t req, const void *in, size_t in_len)
{
	CLEANUP(free_memp) struct batch *b = calloc(1, sizeof(*b));
	struct fs *fs = fs_of(req);
	struct keep_once *o = NULL;
	struct fs_job *j = NULL;
	int r = b ? 0 : -ENOMEM;

	if (r == 0 && in_len != sizeof(b->q))
		r = -EINVAL;
	if (r == 0) {
		memcpy(&b->q, in, sizeof(b->q));
		r = check_request(&b->q);
	}
	if (r == 0)
		r = look_whether_done(fs, &b->q, &o);
	if (r == 1) {
		(void)fuse_reply_ioctl(req, 0, NULL, 0);
		once_end(o);
		return;
	}
	if (r == 0)
		r = find_disks(fs, b);
	if (r < 0) {
		if (b)
			batch_done(fs, b);
		fs_reply(req, r);
		once_end(o);
		return;
	}
	j = fs_job_new(fs, req, b->nodes[0], run_gather);
	if (!j) {
		batch_done(fs, b);
		once_end(o);
		return;
	}
	j->once = o;
	j->data = TAKE(b);
	fs_start(j);
}
