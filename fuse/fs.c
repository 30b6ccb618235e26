/*
 * fs.c - answers, attributes, and the table of requests.
 */
#include "fs_private.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>

/*
 * The one place where the engine's errors become those of a client
 * (architecture.md, "Honest errors").  A newer format is no damage and is not
 * told as such.
 */
int
fs_errno(int r)
{
	switch (-r) {
	case EBADMSG:   /* does not authenticate */
	case EUCLEAN:   /* malformed */
	case ESTALE:    /* rolled back */
	case ESHUTDOWN: /* a KMS that cannot write down what it does */
	case EPROTO:    /* a KMS that talks nonsense */
	case ENODATA:   /* a file of the store ends too early */
		return EIO;
	case EHOSTDOWN: /* no KMS */
		return ENOKEY;
	case EPROTONOSUPPORT:
		return EOPNOTSUPP;
	default:
		/* The kernel takes no errno from 512 on. */
		return r > 0 || r <= -512 ? EIO : -r;
	}
}

void
fs_reply(fuse_req_t req, int r)
{
	(void)fuse_reply_err(req, fs_errno(r));
}

struct fs *
fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The kernel has a name still for a disk that is not there any more: it looks
 * that up once more, where another may have it by now. */
static void
reply_gone(fuse_req_t req, int r)
{
	if (r == -ENOENT)
		(void)fuse_reply_err(req, ESTALE);
	else
		fs_reply(req, r);
}

struct node *
fs_node(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	struct node *n = tree_find(fs->tree, ino);
	int r;

	if (n)
		return n;
	r = tree_recover(fs->tree, ino, &n);
	if (r == 0)
		return n;
	reply_gone(req, r);
	return NULL;
}

/*
 * Attributes.
 */

static void
stat_folder(const struct fs *fs, const struct node *n, struct stat *st)
{
	st->st_ino = n->id;
	st->st_mode = S_IFDIR | 0755;
	st->st_nlink = 2;
	st->st_uid = fs->opt.uid;
	st->st_gid = fs->opt.gid;
	st->st_mtime = st->st_ctime = st->st_atime = fs->mounted;
	st->st_blksize = 4096;
}

static void
stat_disk(const struct node *n, const struct disk_attr *a, struct stat *st)
{
	st->st_ino = n->id;
	st->st_mode = S_IFREG | (n->kind == NODE_INFO ? 0400 : a->mode);
	st->st_nlink = 1;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_mtime = st->st_ctime = st->st_atime = a->created;
	st->st_blksize = 4096;
	st->st_size = (off_t)a->size;
	st->st_blocks = (blkcnt_t)(a->allocated / 512);
}

/* The size of an info file is that of its text now; who has opened it reads the
 * text as it was then. */
static int
stat_info(struct fs *fs, struct node *n, struct stat *st)
{
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	int r = info_text(fs, n, &text, &len);

	if (r < 0)
		return r;
	st->st_size = (off_t)len;
	st->st_blocks = 0;
	return 0;
}

/* Of a disk that is not attached: ${desc}, or NULL to have it looked up. */
static int
stat_detached(struct fs *fs, struct node *n, const struct descriptor *desc,
	      struct stat *ret)
{
	struct descriptor loaded;
	struct disk_attr a;

	if (!desc) {
		int r = tree_load(fs->tree, n, &loaded, NULL, NULL);

		if (r < 0)
			return r;
		desc = &loaded;
	}
	a = (struct disk_attr){
		.size = desc->size,
		.allocated = desc->allocated,
		.created = desc->created,
		.uid = desc->uid,
		.gid = desc->gid,
		.mode = desc->mode,
	};
	stat_disk(n, &a, ret);
	return 0;
}

int
fs_stat(struct fs *fs, struct node *n, const struct descriptor *desc,
	struct stat *ret, double *ret_timeout)
{
	struct disk_attr a;
	bool leaving;
	int r;

	memset(ret, 0, sizeof(*ret));
	*ret_timeout = TIMEOUT_FOLDER;
	if (node_is_folder(n)) {
		/* One of snapshots comes and goes with its disk. */
		if (n->kind != NODE_FOLDER)
			*ret_timeout = TIMEOUT_DETACHED;
		stat_folder(fs, n, ret);
		return 0;
	}
	*ret_timeout = TIMEOUT_DETACHED;
	if (n->kind == NODE_STORE) {
		stat_folder(fs, n, ret);
		ret->st_mode = S_IFREG | 0400;
		ret->st_nlink = 1;
		return stat_info(fs, n, ret);
	}
	if (n->kind == NODE_DISK && drive_attr(n, &a, &leaving)) {
		if (!leaving)
			*ret_timeout = TIMEOUT_ATTACHED;
		/* Of what is frozen, the store alone has what was changed. */
		if (n->type == DESC_DISK) {
			stat_disk(n, &a, ret);
			return 0;
		}
	}
	r = stat_detached(fs, n, desc, ret);
	return r == 0 && n->kind == NODE_INFO ? stat_info(fs, n, ret) : r;
}

int
fs_entry(struct fs *fs, struct node *n, const struct descriptor *desc,
	 struct fuse_entry_param *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = fs_stat(fs, n, desc, &ret->attr, &ret->attr_timeout);
	ret->ino = n->id;
	ret->entry_timeout = ret->attr_timeout;
	return r;
}

void
fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *n = fs_node(req, ino);
	struct stat st;
	double timeout;
	int r;

	if (!n)
		return;
	r = fs_stat(fs_of(req), n, NULL, &st, &timeout);
	if (r < 0) {
		reply_gone(req, r);
		return;
	}
	if (fi && node_is_info(n))
		st.st_size = info_size(fs_of(req), fi->fh, st.st_size);
	(void)fuse_reply_attr(req, &st, timeout);
}

void
fs_reply_node(fuse_req_t req, struct node *n, const struct descriptor *desc)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;
	int r = fs_entry(fs, n, desc, &e);

	if (r < 0) {
		fs_reply(req, r);
		return;
	}
	tree_count(fs->tree, n);
	if (fuse_reply_entry(req, &e) < 0)
		tree_forget(fs->tree, n->id, 1);
}

static void
fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct descriptor desc;
	struct node *n;
	int r = tree_lookup(fs->tree, parent, name, &desc, &n);

	if (r < 0) {
		fs_reply(req, r);
		return;
	}
	fs_reply_node(req, n, node_is_folder(n) ? NULL : &desc);
	tree_unpin(fs->tree, n);
}

static void
fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	tree_forget(fs_of(req)->tree, ino, nlookup);
	fuse_reply_none(req);
}

static void
fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	for (size_t i = 0; i < count; i++)
		tree_forget(fs_of(req)->tree, f[i].ino, f[i].nlookup);
	fuse_reply_none(req);
}

/* f_bsize is also the granularity of a loop device's discard. */
static void
fs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct store *st = engine_store(fs_of(req)->opt.engine);
	struct store_space space;
	struct statvfs vfs = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_namemax = DISK_NAME_MAX,
	};
	int r = st->ops->space(st, &space);

	(void)ino;
	if (r < 0) {
		fs_reply(req, r);
		return;
	}
	vfs.f_blocks = space.total / 4096;
	vfs.f_bfree = vfs.f_bavail = space.free / 4096;
	(void)fuse_reply_statfs(req, &vfs);
}

/*
 * Jobs.
 */

static void
job_run(struct job *job)
{
	struct fs_job *j = (struct fs_job *)job;

	pending_job_run(j->pending);
	j->run(j);
	pending_job_run(NULL);
}

static void
job_done(struct job *job)
{
	struct fs_job *j = (struct fs_job *)job;

	pending_job_end(j->pending);
	once_end(j->once);
	if (j->node)
		tree_unpin(j->fs->tree, j->node);
	free(j->data);
	free(j);
}

/* One job answers for another. */
void
fs_job_pass(struct fs_job *from, struct fs_job *to)
{
	to->req = from->req;
	to->unique = from->unique;
	to->pending = TAKE(from->pending);
	to->once = TAKE(from->once);
}

struct fs_job *
fs_job_new(struct fs *fs, fuse_req_t req, struct node *node,
	   void (*run)(struct fs_job *j))
{
	CLEANUP(free_memp) struct fs_job *j = calloc(1, sizeof(*j));
	struct drive *d = NULL;

	if (node)
		d = drive_of(fs, node);
	if (!j || (node && !d)) {
		if (req)
			fs_reply(req, -ENOMEM);
		return NULL;
	}
	if (node)
		tree_pin(fs->tree, node);
	j->job.run = job_run;
	j->job.done = job_done;
	j->fs = fs;
	j->req = req;
	j->node = node;
	j->drive = d;
	j->run = run;
	if (req) {
		j->unique = pending_unique();
		j->pending = pending_job(fs->opt.link, j->unique);
	}
	return TAKE(j);
}

void
fs_start(struct fs_job *j)
{
	jobs_add(j->fs->opt.jobs, j->drive ? &j->drive->strand : NULL, &j->job);
}

/*
 * The session's greeting.  What libfuse would like to do by default and costs
 * us dearly is taken back here: see namespace.md, "measured".
 */

#define MAX_BACKGROUND 128

static void
fs_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;

	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE);
	/* open(O_TRUNC) is an open and a truncate: one way to shrink. */
	conn->want &= ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC;
	/* Whoever changes an attached disk does it through this mount, so the
	 * kernel's pages go only when we say so. */
	if (conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA) {
		conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
		conn->want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
	}
	conn->want |= conn->capable & FUSE_CAP_ASYNC_DIO;
	if (fs->opt.writeback_cache)
		conn->want |= conn->capable & FUSE_CAP_WRITEBACK_CACHE;
	conn->max_write = WORKER_IO_MAX;
	if (conn->max_readahead > WORKER_IO_MAX)
		conn->max_readahead = WORKER_IO_MAX;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	atomic_store(&fs->serving, true);
}

/*
 * No getxattr: ENOSYS is remembered, while an answer would be asked for before
 * every cached write.
 */
const struct fuse_lowlevel_ops fs_ops = {
	.init = fs_init,
	.lookup = fs_lookup,
	.forget = fs_forget,
	.forget_multi = fs_forget_multi,
	.getattr = fs_getattr,
	.setattr = fs_setattr,
	.mknod = fs_mknod,
	.mkdir = fs_mkdir,
	.unlink = fs_unlink,
	.rmdir = fs_rmdir,
	.symlink = fs_symlink,
	.rename = fs_rename,
	.link = fs_link,
	.open = fs_open,
	.read = fs_read,
	.write = fs_write,
	.flush = fs_flush,
	.release = fs_release,
	.fsync = fs_fsync,
	.opendir = fs_opendir,
	.readdir = fs_readdir,
	.readdirplus = fs_readdirplus,
	.releasedir = fs_releasedir,
	.statfs = fs_statfs,
	.create = fs_create,
	.ioctl = fs_ioctl,
	.fallocate = fs_fallocate,
	.lseek = fs_lseek,
};

void
fs_set_session(struct fs *fs, struct fuse_session *se)
{
	atomic_store(&fs->session, se);
}

bool
fs_is_serving(const struct fs *fs)
{
	return atomic_load(&fs->serving);
}

int
fs_new(const struct fs_options *o, struct fs **ret)
{
	CLEANUP(fs_freep) struct fs *fs = calloc(1, sizeof(*fs));
	int r;

	if (!fs)
		return -ENOMEM;
	fs->opt = *o;
	fs->catalog = engine_catalog(o->engine);
	fs->mounted = time(NULL);
	(void)pthread_mutex_init(&fs->lock, NULL);
	(void)pthread_mutex_init(&fs->survey_lock, NULL);
	/* So that the handles of an earlier process are not taken for ours. */
	r = crypto_random(&fs->next_note, sizeof(fs->next_note));
	if (r == 0)
		r = tree_new(fs->catalog, drive_release, &fs->tree);
	if (r < 0)
		return r;
	*ret = TAKE(fs);
	return 0;
}

void
fs_free(struct fs *fs)
{
	if (!fs)
		return;
	tree_free(fs->tree);
	notes_free(fs);
	survey_free(fs->survey);
	(void)pthread_mutex_destroy(&fs->survey_lock);
	(void)pthread_mutex_destroy(&fs->lock);
	free(fs);
}
