/*
 * fs_keys.c - the master keys of attached disks, looked at now and then.
 *
 * A disk that is attached needs its KMS no more, and would never hear that its
 * CMK was revoked or has a new version.  So each key_check_interval one job
 * asks about the keys of all disks, one after the other: a disk that is to stop
 * (on_key_revoked) when its key is refused is cut off, and one whose key has a
 * newer version is wrapped under that.
 *
 * Only a refusal counts: that the KMS says of a key that it is disabled, gone
 * or not for us.  Whatever else goes wrong, with the KMS or on the way to it,
 * ends this round, so that one that is away is waited for once, on one thread.
 * That there is no such key counts as little: that is what a KMS says whose
 * keystore is another, while a key that was destroyed has left a tombstone.
 *
 * The KMS is asked on no strand, so that it keeps nobody waiting who opens or
 * closes a disk; what is to be done about the answer is a job of the strand.
 */
#include "fs_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/clock.h>
#include <sealdisk/log.h>

struct check {
	size_t n;
	struct node *nodes[]; /* pinned */
};

struct verdict {
	int why;
};

/* 0 or what it is refused with. */
static int
state_error(enum kms_key_state s)
{
	switch (s) {
	case KMS_ENABLED:
		return 0;
	case KMS_PENDING_DELETION:
		return -EKEYEXPIRED;
	default:
		return -EKEYREVOKED;
	}
}

static bool
is_refusal(int r)
{
	return r == -EKEYREVOKED || r == -EKEYEXPIRED || r == -EKEYREJECTED;
}

/* May ${w} be opened still?  *${ret_old}: there is a newer version.  That we
 * may not look at the key is no refusal of its use. */
static int
ask(struct kms *kms, const struct wrapped_dk *w, bool use, bool *ret_old)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct kms_key_info info;
	int r;

	r = kms_describe_key(kms, w->key_id, &info);
	if (r == 0)
		r = state_error(info.state);
	if (r == 0)
		*ret_old |= strcmp(info.primary_version, w->key_version_id) !=
			    0;
	if (use && (r == 0 || r == -EKEYREJECTED))
		r = kms_decrypt(kms, w, &dk);
	return r;
}

/* On the strand. */

static void
run_cut(struct fs_job *j)
{
	const struct verdict *v = j->data;
	char name[NODE_NAME_MAX + 1];
	int r;

	tree_name(j->fs->tree, j->node, name);
	r = drive_cut(j->fs, j->drive, v->why);
	if (r == -EBUSY) {
		(void)pthread_mutex_lock(&j->fs->lock);
		j->fs->check_ms = clock_ms() + 1000;
		(void)pthread_mutex_unlock(&j->fs->lock);
		j->fs->opt.wake(j->fs->opt.arg);
		return;
	}
	log_error("disk %s was cut off, as its on_key_revoked says: %s", name,
		  err_text(v->why));
}

static void
run_renew(struct fs_job *j)
{
	char name[NODE_NAME_MAX + 1];
	unsigned n = 0;
	int r;

	if (!drive_use(j->drive))
		return;
	r = disk_rewrap(atomic_load(&j->drive->disk), NULL, &n);
	drive_unuse(j->fs, j->drive);
	tree_name(j->fs->tree, j->node, name);
	if (r == 0 && n > 0)
		log_note("disk %s: its data key is wrapped under the newest "
			 "version of its master key",
			 name);
	else if (r < 0)
		log_warn("disk %s: its data key cannot be wrapped under the "
			 "newest version of its master key: %s",
			 name, err_text(r));
}

static void
cut(struct fs *fs, struct node *n, int why)
{
	struct verdict *v = malloc(sizeof(*v));
	struct fs_job *j = v ? fs_job_new(fs, NULL, n, run_cut) : NULL;

	if (!j) {
		free(v);
		return; /* the next round does it */
	}
	v->why = why;
	j->data = v;
	fs_start(j);
}

static void
renew(struct fs *fs, struct node *n)
{
	struct fs_job *j = fs_job_new(fs, NULL, n, run_renew);

	if (j)
		fs_start(j);
}

/* Beside all others. */

/* An error that is no refusal is returned. */
static int
check_node(struct fs *fs, struct node *n, struct descriptor *desc)
{
	struct kms *kms = engine_kms(fs->opt.engine);
	bool stop, old = false;
	int r;

	if (!drive_descriptor(n, desc))
		return 0;
	stop = strcmp(desc->on_key_revoked, "stop") == 0;
	r = 0;
	for (size_t i = 0; i < desc->n_keys && r == 0; i++)
		r = ask(kms, &desc->keys[i].dk, stop, &old);
	if (is_refusal(r)) {
		if (stop)
			cut(fs, n, r);
		return 0;
	}
	if (r == 0 && old && n->type == DESC_DISK && !fs->opt.read_only &&
	    !desc->read_only)
		renew(fs, n);
	return r;
}

static void
check_end(struct fs *fs, int r)
{
	bool is_new;

	(void)pthread_mutex_lock(&fs->lock);
	is_new = r != fs->check_error;
	fs->check_error = r;
	fs->checking = false;
	fs->check_ms = clock_ms() + (int64_t)fs->opt.key_check_ms;
	(void)pthread_mutex_unlock(&fs->lock);
	if (r < 0 && is_new)
		log_warn("the master keys of attached disks cannot be looked "
			 "at: %s; the disks go on",
			 err_text(r));
	fs->opt.wake(fs->opt.arg);
}

static void
run_check(struct fs_job *j)
{
	CLEANUP(free_memp) struct descriptor *desc = malloc(sizeof(*desc));
	struct check *c = j->data;
	struct fs *fs = j->fs;
	int r = desc ? 0 : -ENOMEM;

	for (size_t i = 0; i < c->n; i++) {
		if (r == 0 && !atomic_load(&fs->stop_checks))
			r = check_node(fs, c->nodes[i], desc);
		tree_unpin(fs->tree, c->nodes[i]);
	}
	check_end(fs, r);
}

static int
start(struct fs *fs)
{
	struct check *c;
	struct fs_job *j;
	size_t n = 0;

	for (struct drive *d = fs->drives; d; d = d->next)
		n++;
	c = malloc(sizeof(*c) + n * sizeof(c->nodes[0]));
	j = c ? fs_job_new(fs, NULL, NULL, run_check) : NULL;
	if (!j) {
		free(c);
		return -ENOMEM;
	}
	c->n = 0;
	for (struct drive *d = fs->drives; d; d = d->next) {
		tree_pin(fs->tree, d->node);
		c->nodes[c->n++] = d->node;
	}
	j->data = c;
	fs_start(j);
	return 0;
}

int64_t
fs_check_keys(struct fs *fs)
{
	int64_t now = clock_ms();

	if (!fs->drives)
		fs->check_ms = 0;
	if (!fs->opt.key_check_ms || !fs->drives || fs->checking || fs->closing)
		return -1;
	if (!fs->check_ms)
		fs->check_ms = now + (int64_t)fs->opt.key_check_ms;
	if (now < fs->check_ms)
		return fs->check_ms - now;
	if (start(fs) < 0)
		return 1000; /* no memory now */
	fs->checking = true;
	return -1;
}
