/*
 * fs_ioctl.c - what a file operation cannot say, on files below info/ and on
 * the mount's own folder.
 */
#include "fs_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/ioctl.h>

#include "rewrap.h"

static bool
is_one_of(const char *value, const char *a, const char *b)
{
	return strcmp(value, a) == 0 || strcmp(value, b) == 0;
}

/* As the categories of cloud disks are called: cloud_essd.  Local disks are
 * never encrypted there, so that no disk of ours is one. */
static bool
is_category(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len < sizeof(((struct descriptor *)0)->category) &&
	       strncmp(s, "local", 5) != 0 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/* The property's place in the descriptor, if ${p} is one with a valid value. */
static int
find_property(struct descriptor *desc, const struct sd_ioc_property *p,
	      char **ret, size_t *ret_room)
{
	bool valid;

	if (strcmp(p->key, "kind") == 0) {
		valid = is_one_of(p->value, "system", "data");
		*ret = desc->kind;
		*ret_room = sizeof(desc->kind);
	} else if (strcmp(p->key, "category") == 0) {
		valid = is_category(p->value);
		*ret = desc->category;
		*ret_room = sizeof(desc->category);
	} else if (strcmp(p->key, "on_key_revoked") == 0) {
		valid = is_one_of(p->value, "keep", "stop");
		*ret = desc->on_key_revoked;
		*ret_room = sizeof(desc->on_key_revoked);
	} else if (strcmp(p->key, "anchor") == 0) {
		valid = is_one_of(p->value, "none", "kms");
		*ret = desc->anchor;
		*ret_room = sizeof(desc->anchor);
	} else {
		valid = false;
	}
	return valid ? 0 : -EINVAL;
}

static int
edit(struct descriptor *desc, void *arg)
{
	const struct sd_ioc_property *p = arg;
	size_t len = strlen(p->value) + 1, room;
	char *to;
	int r = find_property(desc, p, &to, &room);

	if (r < 0)
		return r;
	if (len > room)
		return -EINVAL;
	memcpy(to, p->value, len);
	return 0;
}

static void
reply_ioctl(fuse_req_t req, int r, const void *out, size_t len)
{
	if (r < 0)
		fs_reply(req, r);
	else
		(void)fuse_reply_ioctl(req, 0, out, len);
}

/* That of a job, which is told to the next process, too. */
static void
reply_job(struct fs_job *j, int r, const void *out, size_t len)
{
	once_done(j->once, r, out, len);
	reply_ioctl(j->req, r, out, len);
}

static void
run_set(struct fs_job *j)
{
	int r = drive_change(j->fs, j->drive, edit, j->data);

	reply_job(j, r, NULL, 0);
}

static void
run_detach(struct fs_job *j)
{
	reply_job(j, drive_detach(j->fs, j->drive), NULL, 0);
}

static void
run_accept(struct fs_job *j)
{
	reply_job(j, drive_accept(j->fs, j->drive), NULL, 0);
}

/* A job on the strand of the disk that an info file is about.  NULL: it has
 * been answered, by what it did before or with an error.  All of these can be
 * done twice, but are not if that is known. */
static struct fs_job *
disk_job(fuse_req_t req, struct node *info, void (*run)(struct fs_job *j))
{
	struct fs *fs = fs_of(req);
	enum once_was was;
	struct keep_once *o = fs_once(fs, &was);
	struct fs_job *j = NULL;
	struct node *n;
	int r;

	if (was == ONCE_WAS_DONE) {
		reply_ioctl(req, o->result, o->out, o->out_len);
		once_end(o);
		return NULL;
	}
	r = tree_other(fs->tree, info, NODE_DISK, &n);
	if (r < 0) {
		fs_reply(req, r);
	} else {
		j = fs_job_new(fs, req, n, run);
		tree_unpin(fs->tree, n);
	}
	if (j) {
		j->once = o;
		once_begin(o, NULL);
	} else {
		once_end(o);
	}
	return j;
}

static void
start_disk_job(fuse_req_t req, struct node *info, void (*run)(struct fs_job *j),
	       void *data)
{
	struct fs_job *j = disk_job(req, info, run);

	if (!j) {
		free(data);
		return;
	}
	j->data = data;
	fs_start(j);
}

/* A copy of what came with the request, the caller's; else NULL, and *${ret_r}
 * says why. */
static void *
copy_in(const void *in, size_t in_len, size_t want, int *ret_r)
{
	void *p = in_len == want ? malloc(want) : NULL;

	*ret_r = p ? 0 : in_len == want ? -ENOMEM : -EINVAL;
	if (p)
		memcpy(p, in, want);
	return p;
}

static void
ioctl_set(fuse_req_t req, struct node *info, const void *in, size_t in_len)
{
	CLEANUP(free_memp) struct sd_ioc_property *p = NULL;
	int r = -EROFS;

	if (info->type == DESC_DISK)
		p = copy_in(in, in_len, sizeof(*p), &r);
	if (r == 0 && (!memchr(p->key, 0, sizeof(p->key)) ||
		       !memchr(p->value, 0, sizeof(p->value))))
		r = -EINVAL;
	if (r < 0)
		fs_reply(req, r);
	else
		start_disk_job(req, info, run_set, TAKE(p));
}

/* The lock is what keeps others from attaching it meanwhile. */
static int
rewrap_detached(struct fs *fs, struct node *n, const char *key, unsigned *ret_n)
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	struct descriptor desc;
	int r;

	r = catalog_lock_disk(fs->catalog, &n->uuid, fs->opt.mount_point,
			      &lock);
	if (r == 0)
		r = tree_load(fs->tree, n, &desc, NULL, NULL);
	return r < 0 ? r
		     : catalog_rewrap(fs->catalog, engine_kms(fs->opt.engine),
				      DESC_DISK, desc.name, key, false, ret_n);
}

/* Whoever reads it has its keys, and keeps no copy of the descriptor that would
 * be written back: there is nothing to be kept away. */
static int
rewrap_frozen(struct fs *fs, struct node *n, const char *key, unsigned *ret_n)
{
	char name[NODE_NAME_MAX + 1];
	struct descriptor desc;
	int r = -ENOENT;

	/* Somebody may just have renamed it, or its disk. */
	for (int tries = 0; tries < 3 && r == -ENOENT; tries++) {
		r = tree_load(fs->tree, n, &desc, NULL, NULL);
		if (r < 0)
			return r;
		tree_name(fs->tree, n, name);
		r = catalog_rewrap(fs->catalog, engine_kms(fs->opt.engine),
				   n->type, name, key, false, ret_n);
	}
	return r;
}

static void
run_rewrap(struct fs_job *j)
{
	struct sd_ioc_rewrap *p = j->data;
	const char *key = p->key[0] ? p->key : NULL;
	unsigned n = 0;
	int r;

	if (j->node->type != DESC_DISK) {
		r = rewrap_frozen(j->fs, j->node, key, &n);
	} else if (drive_use(j->drive)) {
		r = disk_rewrap(atomic_load(&j->drive->disk), key, &n);
		drive_unuse(j->fs, j->drive);
	} else {
		r = drive_detach(j->fs, j->drive); /* one that has failed */
		if (r != -EBUSY)
			r = rewrap_detached(j->fs, j->node, key, &n);
	}
	p->rewrapped = n;
	reply_job(j, r, p, sizeof(*p));
}

static void
ioctl_rewrap(fuse_req_t req, struct node *info, const void *in, size_t in_len)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	int r;
	CLEANUP(free_memp)
	struct sd_ioc_rewrap *p = copy_in(in, in_len, sizeof(*p), &r);

	if (r == 0 && !memchr(p->key, 0, sizeof(p->key)))
		r = -EINVAL;
	if (r == 0 && p->key[0] && uid != 0 && uid != fs_of(req)->opt.uid)
		r = -EPERM;
	if (r < 0)
		fs_reply(req, r);
	else
		start_disk_job(req, info, run_rewrap, TAKE(p));
}

static int
reencrypt(struct fs_job *j, struct sd_ioc_reencrypt *p)
{
	struct disk *disk = atomic_load(&j->drive->disk);
	CLEANUP(scratch_freep) struct scratch *scratch = NULL;
	struct reencrypt_state st;
	int r = 0;

	if (p->start) {
		r = scratch_new(&scratch);
		if (r == 0)
			r = disk_reencrypt(disk, scratch,
					   p->key[0] ? p->key : NULL, p->rate);
		if (r == -EALREADY)
			r = 0;
	}
	p->running = disk_reencrypting(disk, &st);
	p->done = st.done;
	p->total = st.total;
	p->error = (uint64_t)-st.error;
	return r;
}

static void
run_reencrypt(struct fs_job *j)
{
	struct sd_ioc_reencrypt *p = j->data;
	int r = -ENODEV;

	p->running = 0;
	if (drive_use(j->drive)) {
		r = reencrypt(j, p);
		drive_unuse(j->fs, j->drive);
	}
	reply_job(j, r, p, sizeof(*p));
}

static void
ioctl_reencrypt(fuse_req_t req, struct node *info, const void *in,
		size_t in_len)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	int r;
	CLEANUP(free_memp)
	struct sd_ioc_reencrypt *p = copy_in(in, in_len, sizeof(*p), &r);

	if (r == 0 && !memchr(p->key, 0, sizeof(p->key)))
		r = -EINVAL;
	if (r == 0 && info->type != DESC_DISK)
		r = -EROFS;
	if (r == 0 && p->start && uid != 0 && uid != fs_of(req)->opt.uid)
		r = -EPERM;
	if (r < 0)
		fs_reply(req, r);
	else
		start_disk_job(req, info, run_reencrypt, TAKE(p));
}

static void
run_scrub(struct fs_job *j)
{
	reply_job(j, drive_scrub(j->fs, j->drive, j->data), NULL, 0);
}

static void
ioctl_scrub(fuse_req_t req, struct node *info, const void *in, size_t in_len)
{
	int r;
	struct sd_ioc_scrub *p = copy_in(in, in_len, sizeof(*p), &r);

	if (r < 0)
		fs_reply(req, r);
	else
		start_disk_job(req, info, run_scrub, p);
}

static void
ioctl_stats(fuse_req_t req, struct node *info)
{
	struct sd_ioc_stats out = { .version = 1 };
	struct look l;

	info_look(fs_of(req), info, &l);
	out.attached = l.there;
	out.reads = l.stats.reads;
	out.read_bytes = l.stats.read_bytes;
	out.writes = l.stats.writes;
	out.write_bytes = l.stats.write_bytes;
	out.zeros = l.stats.zeros;
	out.flushes = l.stats.flushes;
	out.commits = l.stats.commits;
	out.commit_errors = l.stats.commit_errors;
	out.faults = l.stats.faults;
	out.repairs = l.stats.repairs;
	out.allocated = l.stats.allocated;
	out.dirty_groups = l.stats.dirty_groups;
	out.chunks_open = l.stats.chunks_open;
	out.failed = l.stats.failed;
	out.unclean = l.stats.unclean;
	out.attach_error = (uint64_t)-l.attach_error;
	reply_ioctl(req, 0, &out, sizeof(out));
}

static void
ioctl_daemon(fuse_req_t req)
{
	const struct keeper_link *l = fs_of(req)->opt.link;
	struct sd_ioc_daemon out = {
		.version = 1,
		.pid = l ? l->keep->keeper : getpid(),
		.worker = getpid(),
	};

	if (l) {
		out.restarts = l->keep->restarts;
		out.upgrades = l->keep->upgrades;
	}
	out.attached = fs_count(fs_of(req), NULL);
	reply_ioctl(req, 0, &out, sizeof(out));
}

/* ---- the daemon itself ---- */

static void
reply_upgrade(fuse_req_t req, int err, const char *why)
{
	struct sd_ioc_upgrade out = { .error = (uint32_t)err };

	(void)snprintf(out.why, sizeof(out.why), "%s", why);
	reply_ioctl(req, 0, &out, sizeof(out));
}

void
fs_upgrade_refused(struct fs *fs, const char *why)
{
	fuse_req_t req;

	(void)pthread_mutex_lock(&fs->lock);
	req = TAKE(fs->upgrade);
	pending_job_end(TAKE(fs->upgrade_job));
	(void)pthread_mutex_unlock(&fs->lock);
	if (req)
		reply_upgrade(req, ENOEXEC, why);
}

/*
 * The keeper answers, by a refusal or by the worker that takes over: that one
 * gets this request again.
 */
static void
ask_for_upgrade(fuse_req_t req, struct keeper_link *l)
{
	struct fs *fs = fs_of(req);
	bool first;

	(void)pthread_mutex_lock(&fs->lock);
	first = !fs->upgrade;
	if (first) {
		fs->upgrade = req;
		fs->upgrade_job = pending_job(l, pending_unique());
		l->keep->upgrades_before = l->keep->upgrades;
	}
	(void)pthread_mutex_unlock(&fs->lock);
	if (!first)
		reply_upgrade(req, EBUSY, "an upgrade is under way");
	else if (line_say(l->line, LINE_UPGRADE, 0, 0) < 0)
		fs_upgrade_refused(fs, "the keeper does not answer");
}

static void
ioctl_upgrade(fuse_req_t req)
{
	struct keeper_link *l = fs_of(req)->opt.link;
	uid_t uid = fuse_req_ctx(req)->uid;

	if (uid != 0 && uid != fs_of(req)->opt.uid)
		fs_reply(req, -EPERM);
	else if (!l)
		reply_upgrade(req, ENOTSUP, "it was mounted with keeper=no");
	else if (!(pending_unique() & KEEP_RESENT))
		ask_for_upgrade(req, l);
	else if (l->keep->upgrades > l->keep->upgrades_before)
		reply_upgrade(req, 0, "");
	else
		reply_upgrade(req, ENOEXEC,
			      "a process died before the new program served");
}

/* As link(2) in a folder that is the mounting user's. */
static void
ioctl_snapshot(fuse_req_t req, const void *in, size_t in_len)
{
	const struct fs *fs = fs_of(req);
	uid_t uid = fuse_req_ctx(req)->uid;

	if (uid != 0 && uid != fs->opt.uid)
		fs_reply(req, -EPERM);
	else if (fs->opt.read_only)
		fs_reply(req, -EROFS);
	else
		fs_snapshot(req, in, in_len);
}

void
fs_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
	 struct fuse_file_info *fi, unsigned flags, const void *in,
	 size_t in_len, size_t out_len)
{
	struct node *n = fs_node(req, ino);
	struct fs_job *j;

	(void)arg;
	(void)fi;
	(void)flags;
	(void)out_len;
	if (!n)
		return;
	if (cmd == SD_IOC_DAEMON && ino == NODE_ROOT) {
		ioctl_daemon(req);
	} else if (cmd == SD_IOC_SNAPSHOT && ino == NODE_ROOT) {
		ioctl_snapshot(req, in, in_len);
	} else if (cmd == SD_IOC_UPGRADE && ino == NODE_ROOT) {
		ioctl_upgrade(req);
	} else if (n->kind != NODE_INFO) {
		fs_reply(req, -ENOTTY);
	} else if (cmd == SD_IOC_SET) {
		ioctl_set(req, n, in, in_len);
	} else if (cmd == SD_IOC_REWRAP) {
		ioctl_rewrap(req, n, in, in_len);
	} else if (cmd == SD_IOC_SCRUB) {
		ioctl_scrub(req, n, in, in_len);
	} else if (cmd == SD_IOC_REENCRYPT) {
		ioctl_reencrypt(req, n, in, in_len);
	} else if (cmd == SD_IOC_STATS) {
		ioctl_stats(req, n);
	} else if (cmd == SD_IOC_ACCEPT) {
		j = n->type == DESC_DISK ? disk_job(req, n, run_accept) : NULL;
		if (j)
			fs_start(j);
		else if (n->type != DESC_DISK)
			fs_reply(req, -EROFS);
	} else if (cmd == SD_IOC_DETACH) {
		j = disk_job(req, n, run_detach);
		if (j)
			fs_start(j);
	} else {
		fs_reply(req, -ENOTTY);
	}
}
