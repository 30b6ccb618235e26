/*
 * fs_info.c - the files below info/: text about a disk, snapshot or image.
 *
 * The text is INI: the descriptor as it stands in the store, then [state] and
 * [counters]; and of the last scrub [scrub] and, from this process, [faults].
 */
#include "fs_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/clock.h>

void
info_look(struct fs *fs, struct node *info, struct look *ret)
{
	struct node *n;
	bool leaving;

	memset(ret, 0, sizeof(*ret));
	if (tree_other(fs->tree, info, NODE_DISK, &n) < 0)
		return;
	ret->there = drive_attr(n, &ret->attr, &leaving);
	if (!drive_stats(n, &ret->stats))
		memset(&ret->stats, 0, sizeof(ret->stats));
	ret->reencrypting = drive_reencrypting(n, &ret->re);
	ret->since = drive_since(n);
	ret->attach_error = drive_attach_error(n);
	tree_unpin(fs->tree, n);
}

/*
 * How layers hang together is found out for all descriptors at once and kept
 * for a while, so that listing many info files with their sizes costs that
 * once.
 */
#define SURVEY_MS 1000

void
info_outdated(struct fs *fs)
{
	(void)pthread_mutex_lock(&fs->survey_lock);
	survey_free(TAKE(fs->survey));
	(void)pthread_mutex_unlock(&fs->survey_lock);
}

/* With the lock held: -ENOENT if it is not there, or not any more. */
static int
look_in_survey(struct fs *fs, const struct descriptor *desc, unsigned *layers,
	       bool *needed)
{
	if (!fs->survey || clock_ms() - fs->survey_ms > SURVEY_MS)
		return -ENOENT;
	return survey_look(fs->survey, desc, layers, needed);
}

/* No layers: it could not be found out. */
static void
look_at_layers(struct fs *fs, const struct descriptor *desc, unsigned *layers,
	       bool *needed)
{
	int r;

	(void)pthread_mutex_lock(&fs->survey_lock);
	r = look_in_survey(fs, desc, layers, needed);
	if (r == -ENOENT) {
		survey_free(TAKE(fs->survey));
		r = catalog_survey(fs->catalog, &fs->survey);
		fs->survey_ms = clock_ms();
	}
	if (r == 0)
		r = look_in_survey(fs, desc, layers, needed);
	(void)pthread_mutex_unlock(&fs->survey_lock);
	if (r == 0)
		return;
	*layers = 0;
	*needed = true;
}

/* Who reads what is frozen shares the lock, and so leaves no words there: of
 * others it is known only that there are some. */
static void
print_owner(FILE *f, struct fs *fs, const struct descriptor *desc,
	    const struct look *l)
{
	char since[TIME_STR_LEN] = "", host[256] = "";
	struct lock_owner o;
	int r = catalog_disk_owner(fs->catalog, &desc->uuid, &o);

	if (r == 0 && desc->type != DESC_DISK) {
		(void)gethostname(host, sizeof(host) - 1);
		(void)snprintf(o.host, sizeof(o.host), "%s", host);
		(void)snprintf(o.mount_point, sizeof(o.mount_point), "%s",
			       fs->opt.mount_point);
		o.pid = fs->opt.link ? fs->opt.link->keep->keeper : getpid();
		o.since = l->since;
	}
	if (r < 0) {
		fprintf(f, "attached_by =\n");
	} else if (desc->type != DESC_DISK && !l->since) {
		fprintf(f, "attached_by = another process\n");
	} else {
		format_time(o.since, since);
		text_mask_control(o.mount_point);
		fprintf(f, "attached_by = host %s, process %ld%s%s\n", o.host,
			o.pid, o.mount_point[0] ? ", on " : "", o.mount_point);
	}
	fprintf(f, "since =%s%s\n", since[0] ? " " : "", since);
}

static void
print_state(FILE *f, struct fs *fs, const struct descriptor *desc,
	    const struct look *l)
{
	uint64_t allocated = l->there ? l->attr.allocated : desc->allocated;
	unsigned layers;
	bool needed;

	look_at_layers(fs, desc, &layers, &needed);
	fprintf(f, "\n[state]\n");
	print_owner(f, fs, desc, l);
	fprintf(f, "allocated = %" PRIu64 "\n", allocated);
	fprintf(f, "layers = %u\n", layers);
	fprintf(f, "would_free = %" PRIu64 "\n", needed ? 0 : allocated);
	if (l->reencrypting)
		fprintf(f, "reencrypting = %" PRIu64 "/%" PRIu64 "\n",
			l->re.done, l->re.total);
}

static void
print_counters(FILE *f, const struct disk_stats *s)
{
	const struct {
		const char *key;
		uint64_t value;
	} rows[] = {
		{ "reads", s->reads },
		{ "read_bytes", s->read_bytes },
		{ "writes", s->writes },
		{ "write_bytes", s->write_bytes },
		{ "zeros", s->zeros },
		{ "flushes", s->flushes },
		{ "commits", s->commits },
		{ "commit_errors", s->commit_errors },
		{ "commit_ms", s->commit_ms },
		{ "faults", s->faults },
		{ "repairs", s->repairs },
		{ "dirty_groups", s->dirty_groups },
		{ "chunks_open", s->chunks_open },
		{ "failed", s->failed },
		{ "unclean", s->unclean },
	};

	fprintf(f, "\n[counters]\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		fprintf(f, "%s = %" PRIu64 "\n", rows[i].key, rows[i].value);
}

/* Who serves it, and how often that was another. */
static void
print_daemon(FILE *f, struct fs *fs)
{
	const struct keep *k = fs->opt.link ? fs->opt.link->keep : NULL;

	fprintf(f, "daemon_pid = %ld\n", (long)(k ? k->keeper : getpid()));
	fprintf(f, "worker_pid = %ld\n", (long)getpid());
	fprintf(f, "restarts = %" PRIu64 "\n", k ? k->restarts : 0);
	fprintf(f, "upgrades = %" PRIu64 "\n", k ? k->upgrades : 0);
}

/*
 * The store as a whole: store.ini as it stands there, and what of that which
 * was removed still takes space.
 */
static int
print_store(FILE *f, struct fs *fs)
{
	const struct store_meta *m = catalog_meta(fs->catalog);
	CLEANUP(free_memp) char *text = NULL;
	uint64_t done, total;
	struct reclaim left;
	bool sweeping;
	int r;

	r = store_meta_format(m, &text);
	if (r == 0)
		r = catalog_reclaim(fs->catalog, &left);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&fs->lock);
	sweeping = fs->sweeping;
	(void)pthread_mutex_unlock(&fs->lock);
	fprintf(f, "%s\n[reclaim]\n", text);
	fprintf(f, "state = %s\n",
		left.stuck ? "stuck"
		: sweeping ? "running"
			   : "idle");
	fprintf(f, "lineages = %u\n", left.lineages);
	fprintf(f, "files = %" PRIu64 "\n", left.files);
	fprintf(f, "layers = %u\n", left.layers);
	fprintf(f, "merges = %u\n", left.merges);
	if (engine_merging(fs->opt.engine, &done, &total))
		fprintf(f,
			"merged_chunks = %" PRIu64 "\n"
			"merge_chunks = %" PRIu64 "\n",
			done, total);
	fprintf(f, "\n[daemon]\n");
	print_daemon(f, fs);
	return 0;
}

static int
store_text(struct fs *fs, char **ret, size_t *ret_len)
{
	CLEANUP(free_memp) char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);
	int r;

	if (!f)
		return -errno;
	r = print_store(f, fs);
	if (fclose(f) != 0 && r == 0)
		r = -errno;
	if (r < 0)
		return r;
	*ret = TAKE(out);
	*ret_len = len;
	return 0;
}

static void
print_scrub(FILE *f, struct fs *fs, struct node *info,
	    const struct descriptor *desc)
{
	struct node *n;

	if (tree_other(fs->tree, info, NODE_DISK, &n) < 0)
		return;
	drive_scrub_print(f, fs, drive_peek(n), desc);
	tree_unpin(fs->tree, n);
}

int
info_text(struct fs *fs, struct node *n, char **ret, size_t *ret_len)
{
	CLEANUP(free_memp) char *text = NULL, *out = NULL;
	struct descriptor desc;
	struct look look;
	size_t len, out_len;
	FILE *f;
	int r;

	if (n->kind == NODE_STORE)
		return store_text(fs, ret, ret_len);
	r = tree_load(fs->tree, n, &desc, &text, &len);
	if (r < 0)
		return r;
	info_look(fs, n, &look);
	f = open_memstream(&out, &out_len);
	if (!f)
		return -errno;
	(void)fwrite(text, 1, len, f);
	print_state(f, fs, &desc, &look);
	print_counters(f, &look.stats);
	print_scrub(f, fs, n, &desc);
	if (fclose(f) != 0)
		return -errno;
	*ret = TAKE(out);
	*ret_len = out_len;
	return 0;
}

void
info_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	size_t len;
	char *text;
	int r = 0;

	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		r = -EACCES;
	if (r == 0)
		r = info_text(fs, n, &text, &len);
	if (r == 0)
		r = note_put(fs, text, len, &fi->fh);
	if (r < 0) {
		fs_reply(req, r);
		return;
	}
	/* The size that the kernel knows is not that of this text. */
	fi->direct_io = 1;
	if (fuse_reply_open(req, fi) < 0)
		note_drop(fs, fi->fh);
}

/* From the reply buffer: the text may go as soon as the reader has its answer,
 * and so before this has returned. */
static void
reply_part(fuse_req_t req, const char *text, size_t len, size_t size, off_t off)
{
	struct worker *w = worker_self();

	if (size > WORKER_IO_MAX)
		size = WORKER_IO_MAX;
	if ((uint64_t)off >= len)
		size = 0;
	else if (size > len - (size_t)off)
		size = len - (size_t)off;
	if (size)
		memcpy(w->out, text + off, size);
	if (w->out_used < size)
		w->out_used = size;
	(void)fuse_reply_buf(req, (const char *)w->out, size);
}

/* A file that an earlier process opened: its text is made anew. */
static void
read_anew(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off)
{
	CLEANUP(free_memp) char *text = NULL;
	struct node *n = fs_node(req, ino);
	size_t len = 0;
	int r = -EIO;

	if (!n)
		return;
	if (node_is_info(n))
		r = info_text(fs_of(req), n, &text, &len);
	if (r < 0)
		fs_reply(req, r);
	else
		reply_part(req, text, len, size, off);
}

void
info_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, uint64_t fh)
{
	size_t len;
	const char *text = note_get(fs_of(req), fh, &len);

	if (text)
		reply_part(req, text, len, size, off);
	else
		read_anew(req, ino, size, off);
}

off_t
info_size(struct fs *fs, uint64_t fh, off_t size)
{
	size_t len;

	return note_get(fs, fh, &len) ? (off_t)len : size;
}
