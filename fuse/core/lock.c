/*
 * lock.c - who has a disk, the names, a lineage.
 *
 * What a lock's file says of its holder is `key=value` lines with values as
 * canon.h encodes them.  It helps people to find the holder; that a lock is
 * held, the store alone knows.
 *
 * Words under a lock that is free were left by a holder that did not release
 * it.  Of this host, it has ended: the kernel says so.  Of another host, whose
 * lease on a shared file system ran out, perhaps, nobody can say: it may still
 * write.  So a disk that it did not detach is not attached here until somebody
 * who knows has broken that lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sealdisk/canon.h>

#include "catalog_private.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define MOUNT_TEXT_MAX (3 * 4096)
#define OWNER_MAX 16384 /* bytes of what a lock's file says */

/* A process that cannot tell who it is holds a lock all the same. */
static void
this_boot(char out[static 40])
{
	CLEANUP(close_fdp) int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, 39);

	out[n < 0 ? 0 : n] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static void
this_host(char out[static 256])
{
	if (gethostname(out, 256) < 0)
		out[0] = '\0';
	out[255] = '\0';
}

/* malloc'ed; NULL: no memory. */
static char *
owner_text(const struct catalog *c, const char *mount_point)
{
	CLEANUP(free_memp) char *mount = malloc(MOUNT_TEXT_MAX);
	char host[256], host_text[3 * 256], boot[40], since[TIME_STR_LEN];
	char *text;

	if (!mount)
		return NULL;
	this_host(host);
	this_boot(boot);
	format_time(time(NULL), since);
	if (canon_encode(host, host_text, sizeof(host_text)) < 0)
		strcpy(host_text, "-");
	if (canon_encode(mount_point, mount, MOUNT_TEXT_MAX) < 0)
		strcpy(mount, "-");
	if (asprintf(&text,
		     "host=%s\nboot_id=%s\npid=%ld\nsince=%s\nmount_point=%s\n",
		     host_text, boot, (long)(c->owner ? c->owner : getpid()),
		     since, mount) < 0)
		return NULL;
	return text;
}

static int
lock(struct catalog *c, const char *path, bool wait, const char *mount_point,
     struct store_lock **ret)
{
	CLEANUP(free_memp) char *text = owner_text(c, mount_point);

	if (!text)
		return -ENOMEM;
	return c->st->ops->lock(c->st, path, STORE_LOCK_EX, wait, text, ret);
}

static void
lock_path(const char *what, const struct uuid *uuid,
	  char out[static STORE_PATH_LEN])
{
	char u[UUID_STR_LEN];

	uuid_format(uuid, u);
	(void)snprintf(out, STORE_PATH_LEN, "locks/%s-%s", what, u);
}

int
catalog_lock_names(struct catalog *c, struct store_lock **ret)
{
	return lock(c, "locks/catalog", true, "", ret);
}

int
catalog_try_names(struct catalog *c, struct store_lock **ret)
{
	return lock(c, "locks/catalog", false, "", ret);
}

int
catalog_lock_lineage(struct catalog *c, const struct uuid *lineage,
		     struct store_lock **ret)
{
	char path[STORE_PATH_LEN];

	lock_path("lineage", lineage, path);
	return lock(c, path, false, "", ret);
}

int
catalog_share_lineage(struct catalog *c, const struct uuid *lineage,
		      struct store_lock **ret)
{
	char path[STORE_PATH_LEN];

	lock_path("lineage", lineage, path);
	return c->st->ops->lock(c->st, path, STORE_LOCK_SH, true, NULL, ret);
}

/* ---- several lineages ---- */

static int
by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct uuid));
}

static int
lock_lineage(struct catalog *c, const struct uuid *lineage, bool receive,
	     struct store_lock **ret)
{
	char path[STORE_PATH_LEN];

	if (!receive)
		return catalog_share_lineage(c, lineage, ret);
	lock_path("receive", lineage, path);
	return c->st->ops->lock(c->st, path, STORE_LOCK_EX, false, NULL, ret);
}

int
lineages_lock(struct catalog *c, const struct uuid *v, size_t n, bool receive,
	      struct lineage_locks *ret)
{
	CLEANUP(free_memp) struct uuid *all = calloc(n, sizeof(*all));
	struct lineage_locks l = { .own = receive };
	int r = 0;

	l.v = calloc(n, sizeof(*l.v));
	if (!l.v || !all) {
		free(l.v);
		return -ENOMEM;
	}
	memcpy(all, v, n * sizeof(*all));
	qsort(all, n, sizeof(*all), by_bytes);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (i > 0 && uuid_equal(&all[i], &all[i - 1]))
			continue;
		r = lock_lineage(c, &all[i], receive, &l.v[l.n]);
		if (r == 0)
			l.n++;
	}
	if (r < 0)
		lineages_unlock(&l);
	else
		*ret = l;
	return r;
}

size_t
descriptor_lineages(const struct descriptor *d,
		    struct uuid ret[static LINEAGES_MAX])
{
	size_t n = 0;

	ret[n++] = d->lineage;
	for (size_t i = 0; i < d->n_keys; i++)
		ret[n++] = d->keys[i].dk.lineage;
	return n;
}

void
lineages_unlock(struct lineage_locks *l)
{
	while (l->n > 0)
		if (l->v[--l->n])
			l->v[l->n]->st->ops->unlock(l->v[l->n], l->own);
	free(l->v);
	*l = (struct lineage_locks){ 0 };
}

int
lineages_share(struct catalog *c, const struct descriptor *d,
	       struct lineage_locks *ret)
{
	struct uuid v[LINEAGES_MAX];

	return lineages_lock(c, v, descriptor_lineages(d, v), false, ret);
}

/* ---- who has it ---- */

/* What does not decode is left empty: words do not make an owner. */
static void
take_line(const char *key, const char *value, struct lock_owner *o)
{
	uint64_t n;

	if (!strcmp(key, "host")) {
		if (canon_decode(value, o->host, sizeof(o->host)) < 0)
			o->host[0] = '\0';
		text_mask_control(o->host); /* no host is called so */
	} else if (!strcmp(key, "boot_id")) {
		(void)snprintf(o->boot_id, sizeof(o->boot_id), "%s", value);
	} else if (!strcmp(key, "mount_point")) {
		if (canon_decode(value, o->mount_point,
				 sizeof(o->mount_point)) < 0)
			o->mount_point[0] = '\0';
	} else if (!strcmp(key, "pid")) {
		if (parse_u64(value, &n) == 0 && n <= INT32_MAX)
			o->pid = (long)n;
	} else if (!strcmp(key, "since")) {
		if (parse_time(value, &o->since) < 0)
			o->since = 0;
	}
}

/* Cuts ${text} up. */
static void
parse_owner(char *text, struct lock_owner *ret)
{
	char host[256], boot[40], *line, *value;

	memset(ret, 0, sizeof(*ret));
	while ((line = strsep(&text, "\n"))) {
		value = strchr(line, '=');
		if (!value)
			continue;
		*value++ = '\0';
		take_line(line, value, ret);
	}
	this_host(host);
	this_boot(boot);
	ret->this_host = *boot && !strcmp(host, ret->host) &&
			 !strcmp(boot, ret->boot_id);
	/* A container has a name of its own and the kernel of its host; a host
	 * that has started again has its name still. */
	ret->other_host = *ret->host && *ret->boot_id &&
			  strcmp(host, ret->host) != 0 &&
			  strcmp(boot, ret->boot_id) != 0;
}

int
catalog_disk_owner(struct catalog *c, const struct uuid *uuid,
		   struct lock_owner *ret)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	int r;

	lock_path("disk", uuid, path);
	r = c->st->ops->lock_owner(c->st, path, &text);
	if (r == 0)
		parse_owner(text, ret);
	return r;
}

struct search {
	struct catalog *c;
	const struct uuid *uuid;
	struct descriptor *d;
	bool clean;
};

static int
look_clean(const char *name, void *arg)
{
	struct search *s = arg;

	if (catalog_load(s->c, DESC_DISK, name, s->d, NULL, NULL) < 0 ||
	    !uuid_equal(&s->d->uuid, s->uuid))
		return 0;
	s->clean = s->d->clean;
	return 1;
}

/* A disk that was detached before its host went away: none of its writes can
 * be on the way.  One that is not found is not known to be. */
static int
is_clean(struct catalog *c, const struct uuid *uuid)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	struct search s = { .c = c, .uuid = uuid, .d = d };
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_list(c, DESC_DISK, look_clean, &s);
	return r < 0 ? r : s.clean;
}

/* What the file of the disk's lock says, held or not.  -ENOENT: nothing. */
static int
load_words(struct catalog *c, const struct uuid *uuid, struct lock_owner *ret)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	lock_path("disk", uuid, path);
	r = c->st->ops->load(c->st, path, OWNER_MAX, &text, &len);
	if (r == 0 && len == 0)
		r = -ENOENT;
	if (r == 0)
		parse_owner(text, ret);
	return r;
}

int
catalog_disk_left(struct catalog *c, const struct uuid *uuid,
		  struct lock_owner *ret)
{
	struct lock_owner o;
	int r;

	r = load_words(c, uuid, &o);
	if (r == 0 && (!o.other_host || is_clean(c, uuid) > 0))
		r = -ENOENT;
	if (r == 0)
		*ret = o;
	return r;
}

/* The engine of this process, or of the daemon of this host, has a disk for a
 * moment (merge.c): that is waited for, as one piece of it takes. */
#define TRIES 400
#define FEW_TRIES 20
#define TRY_MS 5

/* Whether who has the lock may soon be done with it.  Who has just taken it has
 * not said yet who he is, and who reads a snapshot never does: for either a few
 * times, which ${nameless} counts, one after the other. */
static bool
is_brief(struct catalog *c, const struct uuid *uuid, unsigned *nameless)
{
	struct lock_owner o;

	if (catalog_disk_owner(c, uuid, &o) < 0)
		return true; /* it is free by now */
	if (!o.host[0] && o.pid == 0)
		return (*nameless)++ < FEW_TRIES;
	*nameless = 0;
	/* A daemon that was killed may be a moment on its way out yet. */
	if (o.this_host && o.pid > 0 && kill((pid_t)o.pid, 0) < 0 &&
	    errno == ESRCH)
		return true;
	return o.this_host && !o.mount_point[0];
}

static int
lock_brief(struct catalog *c, const struct uuid *uuid,
	   enum store_lock_mode mode, struct store_lock **ret)
{
	const struct timespec pause = { 0, TRY_MS * 1000000L };
	char path[STORE_PATH_LEN];
	unsigned nameless = 0;
	int r = -EBUSY;

	lock_path("disk", uuid, path);
	for (unsigned i = 0; i < TRIES; i++) {
		r = c->st->ops->lock(c->st, path, mode, false, NULL, ret);
		if (r != -EBUSY || !is_brief(c, uuid, &nameless))
			break;
		(void)nanosleep(&pause, NULL);
	}
	return r;
}

int
catalog_lock_disk(struct catalog *c, const struct uuid *uuid,
		  const char *mount_point, struct store_lock **ret)
{
	CLEANUP(store_unlockp) struct store_lock *l = NULL;
	CLEANUP(free_memp) char *text = owner_text(c, mount_point);
	struct lock_owner o;
	int r;

	if (!text)
		return -ENOMEM;
	r = lock_brief(c, uuid, STORE_LOCK_EX, &l);
	if (r < 0)
		return r;
	/* Now nobody can leave other words than these. */
	r = catalog_disk_left(c, uuid, &o);
	if (r == -ENOENT)
		r = c->st->ops->lock_say(l, text);
	else if (r == 0)
		r = -EBUSY;
	if (r == 0)
		*ret = TAKE(l);
	return r;
}

int
catalog_share_disk(struct catalog *c, const struct uuid *uuid,
		   struct store_lock **ret)
{
	return lock_brief(c, uuid, STORE_LOCK_SH, ret);
}

int
catalog_adopt_disk(struct catalog *c, const struct uuid *uuid,
		   enum desc_type type, const char *mount_point, int fd,
		   struct store_lock **ret)
{
	enum store_lock_mode mode = type == DESC_DISK ? STORE_LOCK_EX
						      : STORE_LOCK_SH;
	char path[STORE_PATH_LEN];

	if (fd >= 0 && c->st->ops->lock_adopt) {
		lock_path("disk", uuid, path);
		return c->st->ops->lock_adopt(c->st, path, mode, fd, ret);
	}
	if (fd >= 0)
		(void)close(fd);
	return type == DESC_DISK ? catalog_lock_disk(c, uuid, mount_point, ret)
				 : catalog_share_disk(c, uuid, ret);
}

int
catalog_break_lock(struct catalog *c, const struct uuid *uuid)
{
	struct store_lock *l;
	char path[STORE_PATH_LEN];
	int r;

	lock_path("disk", uuid, path);
	r = lock(c, path, false, "", &l);
	if (r == 0)
		store_unlock(l); /* which wipes the words */
	return r;
}
