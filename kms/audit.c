/*
 * audit.c - the log that is written to; see audit.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "audit_private.h"

#define LOCK_TRIES 500             /* of 10 ms */
#define ROOM (UINT64_C(256) << 10) /* bytes that must be there to be ready */

/* The lock of the folder. */

static int
take_folder(struct audit *a, int tries)
{
	const struct timespec nap = { 0, 10000000 };
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	while (fcntl(a->lockfd, F_OFD_SETLK, &l) < 0) {
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return -errno;
		if (--tries <= 0)
			return -EHOSTDOWN;
		(void)nanosleep(&nap, NULL);
	}
	return 0;
}

static void
give_folder(struct audit *a)
{
	struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	(void)fcntl(a->lockfd, F_OFD_SETLK, &l);
}

/* Appending. */

static int
make_room(struct audit *a)
{
	if (a->head.size + ROOM <= a->reserved)
		return 0;
	if (fallocate(a->fd, FALLOC_FL_KEEP_SIZE, (off_t)a->head.size,
		      (off_t)(2 * ROOM)) < 0) {
		if (errno != EOPNOTSUPP && errno != ENOSYS)
			return -errno;
	}
	a->reserved = a->head.size + 2 * ROOM;
	return 0;
}

/* With the lock given up meanwhile. */
static int
flush_all(struct audit *a)
{
	struct audit_head h = a->head;
	int r, synced;

	a->syncing = true;
	(void)pthread_mutex_unlock(&a->lock);
	synced = fdatasync(a->fd) < 0 ? -errno : 0;
	r = synced < 0 ? synced : a->owner.save(a->owner.arg, &h);
	(void)pthread_mutex_lock(&a->lock);
	a->syncing = false;
	(void)pthread_cond_broadcast(&a->changed);
	if (synced < 0)
		return audit_fail(a, synced, "flush it");
	if (r == 0)
		a->saved = h;
	return r;
}

/* Until line ${n} is durable: one flushes for all that wait. */
static int
settle(struct audit *a, uint64_t n)
{
	int r = 0;

	while (r == 0 && a->saved.lines < n && a->failed == 0) {
		if (a->syncing)
			(void)pthread_cond_wait(&a->changed, &a->lock);
		else
			r = flush_all(a);
	}
	return a->failed ? a->failed : r;
}

static int
write_exclusive(struct audit *a, const struct audit_event *e, bool durable)
{
	int r = a->failed;

	if (r == 0)
		r = audit_turn_over(a);
	if (r == 0)
		r = audit_append(a, audit_line_request(&a->head, e, a->line));
	if (r < 0)
		return r;
	if (a->idle)
		(void)pthread_cond_signal(&a->work);
	return durable ? settle(a, a->head.lines) : 0;
}

static int
write_shared(struct audit *a, const struct audit_event *e)
{
	int r = audit_refresh(a);

	if (r == 0)
		r = audit_turn_over(a);
	if (r == 0)
		r = audit_append(a, audit_line_request(&a->head, e, a->line));
	if (r == 0)
		r = audit_flush(a);
	return r < 0 ? r : audit_save_head(a);
}

/* Shared: with the folder locked; ${e} NULL: only look. */
static int
with_folder(struct audit *a, const struct audit_event *e)
{
	int r = take_folder(a, LOCK_TRIES);

	if (r < 0)
		return r;
	r = a->failed;
	if (r == 0 && e)
		r = write_shared(a, e);
	else if (r == 0)
		r = audit_refresh(a);
	if (r == 0 && !e)
		r = make_room(a);
	give_folder(a);
	return r;
}

/* Once for each caller that is refused: he fails, and says so. */
static int
told(struct audit *a, int r)
{
	if (r < 0 && a->failed == 0)
		log_error("audit log %s: %s; nothing is done that cannot be "
			  "recorded",
			  a->dir, err_text(r));
	return r;
}

int
audit_ready(struct audit *a)
{
	int r;

	(void)pthread_mutex_lock(&a->lock);
	if (!a->exclusive)
		r = with_folder(a, NULL);
	else
		r = a->failed ? a->failed : make_room(a);
	r = told(a, r);
	(void)pthread_mutex_unlock(&a->lock);
	return r;
}

int
audit_write(struct audit *a, const struct audit_event *e, bool durable)
{
	int r;

	(void)pthread_mutex_lock(&a->lock);
	r = a->exclusive ? write_exclusive(a, e, durable) : with_folder(a, e);
	r = told(a, r);
	(void)pthread_mutex_unlock(&a->lock);
	return r;
}

/* Flushing what nobody waits for. */

static void
nap(struct audit *a)
{
	struct timespec until;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += AUDIT_DELAY_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	while (!a->stop && r == 0)
		r = pthread_cond_timedwait(&a->work, &a->lock, &until);
}

static void *
flush_now_and_then(void *arg)
{
	struct audit *a = arg;

	(void)pthread_mutex_lock(&a->lock);
	while (!a->stop && a->failed == 0) {
		a->idle = a->saved.lines == a->head.lines;
		if (a->idle) {
			(void)pthread_cond_wait(&a->work, &a->lock);
			continue;
		}
		nap(a);
		(void)settle(a, a->head.lines);
	}
	(void)pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* Opening. */

void
audit_set_file_max(struct audit *a, uint64_t size)
{
	a->file_max = size;
}

static void
stop_thread(struct audit *a)
{
	if (!a->has_thread)
		return;
	(void)pthread_mutex_lock(&a->lock);
	a->stop = true;
	(void)pthread_cond_signal(&a->work);
	(void)pthread_mutex_unlock(&a->lock);
	(void)pthread_join(a->thread, NULL);
	(void)pthread_mutex_lock(&a->lock);
	(void)settle(a, a->head.lines);
	(void)pthread_mutex_unlock(&a->lock);
}

void
audit_close(struct audit *a)
{
	if (!a)
		return;
	stop_thread(a);
	close_fdp(&a->fd);
	close_fdp(&a->lockfd);
	close_fdp(&a->dirfd);
	(void)pthread_cond_destroy(&a->changed);
	(void)pthread_cond_destroy(&a->work);
	(void)pthread_mutex_destroy(&a->lock);
	free(a);
}

static int
open_folder(struct audit *a)
{
	int r = io_mkdir_p(AT_FDCWD, a->dir, 0700);

	if (r < 0)
		return r;
	a->dirfd = open(a->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->dirfd < 0)
		return -errno;
	a->lockfd = openat(a->dirfd, AUDIT_LOCK,
			   O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return a->lockfd < 0 ? -errno : 0;
}

/* For as long as it is open. */
static int
open_exclusive(struct audit *a)
{
	int r = take_folder(a, 1);

	if (r < 0)
		return r == -EHOSTDOWN ? -EBUSY : r;
	r = audit_find_end(a);
	if (r < 0)
		return r;
	r = pthread_create(&a->thread, NULL, flush_now_and_then, a);
	a->has_thread = r == 0;
	return -r;
}

static void
init_locks(struct audit *a)
{
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_cond_init(&a->changed, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&a->work, &attr);
	(void)pthread_condattr_destroy(&attr);
}

int
audit_open(const char *dir, bool exclusive, const struct audit_owner *owner,
	   struct audit **ret)
{
	CLEANUP(audit_closep) struct audit *a = NULL;
	size_t len = strlen(dir) + 1;
	int r;

	a = calloc(1, sizeof(*a) + len);
	if (!a)
		return -ENOMEM;
	a->owner = *owner;
	a->exclusive = exclusive;
	a->file_max = AUDIT_FILE_MAX;
	a->dirfd = a->lockfd = a->fd = -1;
	memcpy(a->dir, dir, len);
	init_locks(a);
	r = open_folder(a);
	if (r == 0 && exclusive)
		r = open_exclusive(a);
	if (r < 0)
		return r;
	*ret = TAKE(a);
	return 0;
}
