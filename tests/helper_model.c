/*
 * helper_model.c - random work in a mounted tree whose worker is killed all the
 * while, against a model in memory.
 *
 *	helper_model MNT SEED STEPS DEATHS EXPECTED
 *
 * Threads, each with disks, snapshots and images of its own, do STEPS of what
 * file operations can do and look at what they did.  Each operation must end
 * as the model says, and what is read be what was last written: as if no worker
 * had ever died.  Before some steps the worker is killed, during others; DEATHS
 * in all.  A few times the one that follows it is killed, too, and while it
 * takes over.
 *
 * What must be there at the end is written below the folder EXPECTED; the last
 * line says how many deaths there were.  The seed repeats what each thread
 *does, not when the worker dies of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sealdisk/ioctl.h>

#define THREADS 3
#define THINGS 12         /* of a thread */
#define NAME_LEN 48       /* with its end */
#define PATH_LEN 4096     /* with its end */
#define MAX_SIZE 6291456u /* a chunk and a half */
#define MAX_IO 262144u
#define SECTOR 512u
#define TAKEOVERS 6 /* of ten in a minute a keeper makes EIO */

enum kind { NONE, DISK, SNAPSHOT, IMAGE };

struct thing {
	enum kind kind;
	char name[NAME_LEN], of[NAME_LEN]; /* of: a snapshot's disk */
	mode_t mode;
	uint64_t size;
	uint8_t *data; /* MAX_SIZE; zeros past the size */
	int fd;        /* of a disk; -1: it is closed */
};

struct world {
	pthread_t thread;
	unsigned id, names;
	uint64_t rng, step;
	struct thing things[THINGS];
	uint8_t *io;     /* MAX_IO, aligned */
	char what[1024]; /* is being done */
};

static const char *mnt;
static int mnt_fd;
static uint64_t n_steps;

/* Deaths. */
static pthread_mutex_t kill_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned deaths, takeovers;
static pthread_mutex_t due_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t due_changed = PTHREAD_COND_INITIALIZER;
static unsigned due_us; /* 0: nobody has asked */
static bool over;
static uint64_t n_deaths;
static _Atomic uint64_t longest_ns;

static void __attribute__((__format__(__printf__, 2, 3), __noreturn__))
fail(const struct world *w, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)printf("thread %u, step %" PRIu64 ", %s: ", w->id, w->step,
		     w->what);
	(void)vprintf(format, ap);
	(void)printf("\n");
	va_end(ap);
	(void)fflush(stdout);
	_exit(1);
}

static void __attribute__((__format__(__printf__, 2, 3)))
now_doing(struct world *w, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(w->what, sizeof(w->what), format, ap);
	va_end(ap);
}

static uint64_t
rnd(struct world *w, uint64_t n)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return w->rng % n;
}

/*
 * Deaths.
 */

/* Whoever is a child of the keeper: who takes over just now, and who waits. */
static void
kill_children(int keeper)
{
	char path[64], line[256], *p = line;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", keeper,
		       keeper);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f))
		for (long pid; (pid = strtol(p, &p, 10)) > 0;)
			(void)kill((pid_t)pid, SIGKILL);
	if (f)
		(void)fclose(f);
}

/* Waits for one that serves. */
static void
kill_worker(unsigned after_us)
{
	struct sd_ioc_daemon d = { 0 };

	(void)pthread_mutex_lock(&kill_lock);
	if (ioctl(mnt_fd, SD_IOC_DAEMON, &d) < 0) {
		perror("helper_model: who serves");
		_exit(1);
	}
	(void)usleep(after_us);
	if (kill(d.worker, SIGKILL) == 0)
		deaths++;
	if (takeovers < TAKEOVERS && deaths % 8 == 0) {
		takeovers++;
		(void)usleep(after_us);
		kill_children(d.pid);
	}
	(void)pthread_mutex_unlock(&kill_lock);
}

static void *
run_killer(void *arg)
{
	unsigned us;

	(void)pthread_mutex_lock(&due_lock);
	while (!over) {
		us = due_us;
		due_us = 0;
		if (!us) {
			(void)pthread_cond_wait(&due_changed, &due_lock);
			continue;
		}
		(void)pthread_mutex_unlock(&due_lock);
		kill_worker(us);
		(void)pthread_mutex_lock(&due_lock);
	}
	(void)pthread_mutex_unlock(&due_lock);
	return arg;
}

/* Before a step, or somewhere in this one or the next. */
static void
maybe_death(struct world *w)
{
	if (rnd(w, THREADS * n_steps) >= n_deaths)
		return;
	if (rnd(w, 4) == 0) {
		kill_worker(0);
		return;
	}
	(void)pthread_mutex_lock(&due_lock);
	due_us = 1 + (unsigned)rnd(w, rnd(w, 2) ? 300 : 5000);
	(void)pthread_cond_signal(&due_changed);
	(void)pthread_mutex_unlock(&due_lock);
}

/*
 * Things.
 */

/* ${root}: of the mount, or of what is expected. */
static void
path_of(const char *root, const struct thing *t, char ret[static PATH_LEN])
{
	if (t->kind == SNAPSHOT)
		(void)snprintf(ret, PATH_LEN, "%s/snapshots/%s/%s", root, t->of,
			       t->name);
	else
		(void)snprintf(ret, PATH_LEN, "%s/%s/%s", root,
			       t->kind == DISK ? "disks" : "images", t->name);
}

static struct thing *
any(struct world *w, enum kind kind)
{
	unsigned at = (unsigned)rnd(w, THINGS);

	for (unsigned i = 0; i < THINGS; i++) {
		struct thing *t = &w->things[(at + i) % THINGS];

		if (t->kind == kind)
			return t;
	}
	return NULL;
}

/* A place for one more; its name is new. */
static struct thing *
place(struct world *w, enum kind kind)
{
	struct thing *t = any(w, NONE);

	if (!t)
		return NULL;
	t->kind = kind;
	t->fd = -1;
	t->of[0] = '\0';
	(void)snprintf(t->name, sizeof(t->name), "t%u-%u", w->id, w->names++);
	return t;
}

static void
copy(struct thing *to, const struct thing *from)
{
	memcpy(to->data, from->data, MAX_SIZE);
	to->size = from->size;
	to->mode = from->mode;
}

static void
check(const struct world *w, bool ok)
{
	if (!ok)
		fail(w, "%s", strerror(errno));
}

static void
refused(const struct world *w, int r, int err)
{
	if (r >= 0 || errno != err)
		fail(w, "%s instead of %s", r < 0 ? strerror(errno) : "done",
		     strerror(err));
}

static void
open_disk(struct world *w, struct thing *t)
{
	bool direct = rnd(w, 2);
	char path[PATH_LEN];

	if (t->fd >= 0)
		return;
	path_of(mnt, t, path);
	now_doing(w, "open %s%s", path, direct ? ", direct" : "");
	t->fd = open(path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	check(w, t->fd >= 0);
}

static void
close_disk(struct world *w, struct thing *t)
{
	now_doing(w, "close %s", t->name);
	check(w, t->fd < 0 || close(t->fd) == 0);
	t->fd = -1;
}

static void
range(struct world *w, uint64_t limit, uint64_t *off, uint64_t *len)
{
	*off = rnd(w, limit / SECTOR) * SECTOR;
	*len = (1 + rnd(w, MAX_IO / SECTOR >> rnd(w, 10))) * SECTOR;
	if (*len > limit - *off)
		*len = limit - *off;
}

static void
compare(struct world *w, int fd, const struct thing *t, uint64_t off,
	uint64_t len)
{
	ssize_t n = pread(fd, w->io, len, (off_t)off);

	if (n != (ssize_t)len)
		fail(w, "%zd bytes: %s", n, n < 0 ? strerror(errno) : "short");
	for (uint64_t i = 0; i < len; i++)
		if (w->io[i] != t->data[off + i])
			fail(w, "byte %" PRIu64 " is %#x instead of %#x",
			     off + i, w->io[i], t->data[off + i]);
}

static void
compare_all(struct world *w, struct thing *t)
{
	char path[PATH_LEN];
	struct stat st;
	int fd;

	path_of(mnt, t, path);
	now_doing(w, "look at all of %s", path);
	fd = open(path, O_RDONLY | O_CLOEXEC | (rnd(w, 2) ? O_DIRECT : 0));
	check(w, fd >= 0 && fstat(fd, &st) == 0);
	if ((uint64_t)st.st_size != t->size || (st.st_mode & 0777) != t->mode)
		fail(w, "%" PRIu64 " bytes, mode %o instead of %" PRIu64 ", %o",
		     (uint64_t)st.st_size, st.st_mode & 0777, t->size, t->mode);
	for (uint64_t off = 0; off < t->size; off += MAX_IO)
		compare(w, fd, t, off,
			t->size - off < MAX_IO ? t->size - off : MAX_IO);
	check(w, close(fd) == 0);
}

/*
 * Steps: what is in a disk.
 */

static void
step_write(struct world *w, struct thing *t)
{
	uint64_t off, len, x = rnd(w, UINT64_MAX);

	open_disk(w, t);
	range(w, rnd(w, 8) ? t->size : MAX_SIZE, &off, &len);
	for (uint64_t i = 0; i < len; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		w->io[i] = (uint8_t)(x >> 56);
	}
	now_doing(w, "write %s, %" PRIu64 " at %" PRIu64, t->name, len, off);
	check(w, pwrite(t->fd, w->io, len, (off_t)off) == (ssize_t)len);
	memcpy(t->data + off, w->io, len);
	if (off + len > t->size)
		t->size = off + len;
}

static void
step_read(struct world *w, struct thing *t)
{
	uint64_t off, len;

	open_disk(w, t);
	range(w, t->size, &off, &len);
	now_doing(w, "read %s, %" PRIu64 " at %" PRIu64, t->name, len, off);
	if (rnd(w, 2))
		(void)posix_fadvise(t->fd, 0, 0, POSIX_FADV_DONTNEED);
	compare(w, t->fd, t, off, len);
}

static void
step_sync(struct world *w, struct thing *t)
{
	open_disk(w, t);
	now_doing(w, "fsync %s", t->name);
	check(w, (rnd(w, 2) ? fsync(t->fd) : fdatasync(t->fd)) == 0);
}

static void
step_resize(struct world *w, struct thing *t)
{
	uint64_t size = (1 + rnd(w, MAX_SIZE / SECTOR)) * SECTOR;

	open_disk(w, t);
	now_doing(w, "truncate %s, %" PRIu64 " to %" PRIu64, t->name, t->size,
		  size);
	check(w, ftruncate(t->fd, (off_t)size) == 0);
	if (size < t->size)
		memset(t->data + size, 0, t->size - size);
	t->size = size;
}

static void
step_zero(struct world *w, struct thing *t)
{
	bool punch = rnd(w, 2);
	uint64_t off, len;

	open_disk(w, t);
	range(w, t->size, &off, &len);
	if (rnd(w, 3) == 0)
		len = t->size - off;
	now_doing(w, "%s %s, %" PRIu64 " at %" PRIu64, punch ? "punch" : "zero",
		  t->name, len, off);
	check(w, fallocate(t->fd,
			   FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE
							: FALLOC_FL_ZERO_RANGE),
			   (off_t)off, (off_t)len) == 0);
	memset(t->data + off, 0, len);
}

static void
step_close(struct world *w, struct thing *t)
{
	close_disk(w, t);
	if (rnd(w, 2))
		open_disk(w, t);
}

/*
 * Steps: names.
 */

static void
step_create(struct world *w)
{
	struct thing *t = place(w, DISK);
	char path[PATH_LEN];

	if (!t)
		return;
	path_of(mnt, t, path);
	now_doing(w, "create %s", path);
	t->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	check(w, t->fd >= 0);
	t->mode = 0600;
	t->size = 0;
	memset(t->data, 0, MAX_SIZE);
	step_resize(w, t);
}

/* A snapshot or clone of a disk, an image or clone of a snapshot, a clone of an
 * image. */
static void
step_link(struct world *w, struct thing *from, enum kind kind)
{
	char old[PATH_LEN], new[PATH_LEN];
	struct thing *t = from ? place(w, kind) : NULL;

	if (!t)
		return;
	(void)strcpy(t->of, kind == SNAPSHOT ? from->name : "");
	path_of(mnt, from, old);
	path_of(mnt, t, new);
	now_doing(w, "link %s to %s", old, new);
	check(w, link(old, new) == 0);
	copy(t, from);
	if (kind == DISK && from->kind != DISK)
		t->mode |= 0200;
}

/* Of two disks at one instant, with the same name. */
static void
step_two(struct world *w, struct thing *a, struct thing *b)
{
	struct sd_ioc_snapshot q = { .n = 2 };
	struct thing *sa = a == b ? NULL : place(w, SNAPSHOT);
	struct thing *sb = sa ? place(w, SNAPSHOT) : NULL;

	if (!sb) {
		if (sa)
			sa->kind = NONE;
		return;
	}
	(void)strcpy(sb->name, sa->name);
	(void)strcpy(sa->of, a->name);
	(void)strcpy(sb->of, b->name);
	(void)strcpy(q.name, sa->name);
	(void)strcpy(q.disks[0], a->name);
	(void)strcpy(q.disks[1], b->name);
	now_doing(w, "snapshot %s of %s and %s", q.name, a->name, b->name);
	check(w, ioctl(mnt_fd, SD_IOC_SNAPSHOT, &q) == 0);
	copy(sa, a);
	copy(sb, b);
}

static void
step_rename(struct world *w, struct thing *t)
{
	char old[PATH_LEN], new[PATH_LEN], name[NAME_LEN];

	path_of(mnt, t, old);
	(void)strcpy(name, t->name);
	(void)snprintf(t->name, sizeof(t->name), "t%u-%u", w->id, w->names++);
	path_of(mnt, t, new);
	now_doing(w, "rename %s to %s", old, new);
	check(w, rename(old, new) == 0);
	for (unsigned i = 0; i < THINGS && t->kind == DISK; i++)
		if (strcmp(w->things[i].of, name) == 0)
			(void)strcpy(w->things[i].of, t->name);
}

/* The release of a file that was closed may still be on its way. */
static void
step_remove(struct world *w, struct thing *t)
{
	char path[PATH_LEN];
	int r = -1;

	path_of(mnt, t, path);
	now_doing(w, "remove %s", path);
	if (t->kind == DISK && t->fd >= 0)
		refused(w, unlink(path), EBUSY);
	close_disk(w, t);
	now_doing(w, "remove %s", path);
	for (unsigned i = 0; i < 1000 && (r = unlink(path)) < 0; i++) {
		check(w, errno == EBUSY && t->kind == DISK);
		(void)usleep(5000);
	}
	check(w, r == 0);
	refused(w, unlink(path), ENOENT);
	t->kind = NONE;
}

static void
step_refused(struct world *w, struct thing *t, struct thing *onto)
{
	char old[PATH_LEN], new[PATH_LEN];

	path_of(mnt, t, old);
	path_of(mnt, onto, new);
	now_doing(w, "create, link to, rename to %s, which there is", new);
	refused(w, open(new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600),
		EEXIST);
	refused(w, link(old, new), EEXIST);
	if (t != onto)
		refused(w, rename(old, new), EEXIST);
}

static void
step_mode(struct world *w, struct thing *t)
{
	char path[PATH_LEN];

	path_of(mnt, t, path);
	t->mode = (t->kind == DISK ? 0600 : 0400) | (rnd(w, 2) ? 0044 : 0);
	now_doing(w, "chmod %o %s", t->mode, path);
	check(w, chmod(path, t->mode) == 0);
}

/* The names of this thread in a folder are those that must be. */
static void
look_at(struct world *w, enum kind kind, const char *of)
{
	unsigned n = 0, expected = 0;
	char path[PATH_LEN], mine[16];
	const struct dirent *e;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s%s", mnt,
		       kind == DISK    ? "disks"
		       : kind == IMAGE ? "images"
				       : "snapshots/",
		       of);
	(void)snprintf(mine, sizeof(mine), "t%u-", w->id);
	for (unsigned i = 0; i < THINGS; i++)
		expected += w->things[i].kind == kind &&
			    strcmp(w->things[i].of, of) == 0;
	now_doing(w, "list %s", path);
	d = opendir(path);
	check(w, d);
	while ((e = readdir(d))) {
		bool known = false;

		if (strncmp(e->d_name, mine, strlen(mine)) != 0)
			continue;
		for (unsigned i = 0; i < THINGS; i++)
			known |= w->things[i].kind == kind &&
				 strcmp(w->things[i].of, of) == 0 &&
				 strcmp(w->things[i].name, e->d_name) == 0;
		if (!known)
			fail(w, "%s is there", e->d_name);
		n++;
	}
	(void)closedir(d);
	if (n != expected)
		fail(w, "%u names instead of %u", n, expected);
}

static void
step_list(struct world *w)
{
	struct thing *t = any(w, DISK);

	look_at(w, DISK, "");
	look_at(w, IMAGE, "");
	if (t && any(w, SNAPSHOT))
		look_at(w, SNAPSHOT, t->name);
}

static void
step_names(struct world *w, struct thing *disk)
{
	struct thing *frozen = any(w, rnd(w, 2) ? SNAPSHOT : IMAGE);
	struct thing *t = rnd(w, 2) || !frozen ? disk : frozen;

	switch (rnd(w, 12)) {
	case 0:
		step_create(w);
		break;
	case 1:
	case 2:
		step_link(w, disk, SNAPSHOT);
		break;
	case 3:
		step_link(w, t, DISK);
		break;
	case 4:
		step_link(w, any(w, SNAPSHOT), IMAGE);
		break;
	case 5:
	case 6:
		step_two(w, disk, any(w, DISK));
		break;
	case 7:
	case 8:
		step_rename(w, t);
		break;
	case 9:
		step_refused(w, disk, any(w, DISK));
		break;
	case 10:
		step_mode(w, t);
		break;
	default:
		compare_all(w, t);
	}
}

static void
step(struct world *w)
{
	static void (*const content[])(struct world * w, struct thing * t) = {
		step_write, step_write,  step_write, step_write, step_read,
		step_read,  step_resize, step_zero,  step_sync,  step_close,
	};
	struct thing *disk = any(w, DISK);

	if (!disk) {
		step_create(w);
		return;
	}
	if (!any(w, NONE)) {
		step_remove(w, &w->things[rnd(w, THINGS)]);
		disk = any(w, rnd(w, 2) ? SNAPSHOT : DISK);
		if (disk)
			step_remove(w, disk);
	} else if (rnd(w, 20) == 0) {
		step_list(w);
	} else if (rnd(w, 3)) {
		content[rnd(w, sizeof(content) / sizeof(content[0]))](w, disk);
	} else {
		step_names(w, disk);
	}
}

static uint64_t
clock_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void *
run_world(void *arg)
{
	struct world *w = arg;

	for (w->step = 1; w->step <= n_steps; w->step++) {
		uint64_t at, longest;

		maybe_death(w);
		at = clock_ns();
		step(w);
		at = clock_ns() - at;
		longest = atomic_load(&longest_ns);
		while (at > longest &&
		       !atomic_compare_exchange_weak(&longest_ns, &longest, at))
			;
	}
	return NULL;
}

/*
 * The end.
 */

static void
write_expected(struct world *w, const char *root, const struct thing *t)
{
	char path[PATH_LEN];
	FILE *f;

	/* Each disk has a folder of snapshots, and each snapshot is in one. */
	(void)snprintf(path, sizeof(path), "%s/snapshots/%s", root,
		       t->kind == DISK ? t->name : t->of);
	now_doing(w, "make %s", path);
	check(w, mkdir(path, 0700) == 0 || errno == EEXIST);
	path_of(root, t, path);
	now_doing(w, "write %s", path);
	f = fopen(path, "we");
	check(w, f && fwrite(t->data, 1, t->size, f) == t->size);
	check(w, fclose(f) == 0);
}

static void
finish_world(struct world *w, const char *root)
{
	w->step = n_steps + 1;
	step_list(w);
	for (unsigned i = 0; i < THINGS; i++) {
		struct thing *t = &w->things[i];

		if (t->kind == NONE)
			continue;
		if (t->kind == DISK)
			close_disk(w, t);
		compare_all(w, t);
		write_expected(w, root, t);
	}
}

static void
make_world(struct world *w, unsigned id, uint64_t seed)
{
	w->id = id;
	w->rng = (seed * THREADS + id + 1) * UINT64_C(0x9e3779b97f4a7c15);
	w->io = aligned_alloc(4096, MAX_IO);
	check(w, w->io);
	for (unsigned i = 0; i < THINGS; i++) {
		w->things[i].data = calloc(1, MAX_SIZE);
		check(w, w->things[i].data);
	}
}

int
main(int argc, char **argv)
{
	static struct world worlds[THREADS];
	pthread_t killer;

	if (argc != 6) {
		(void)fprintf(stderr, "usage: helper_model MNT SEED STEPS "
				      "DEATHS EXPECTED\n");
		return 2;
	}
	mnt = argv[1];
	n_steps = strtoull(argv[3], NULL, 10);
	n_deaths = strtoull(argv[4], NULL, 10);
	mnt_fd = open(mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mnt_fd < 0 || pthread_create(&killer, NULL, run_killer, NULL))
		return 2;
	for (unsigned i = 0; i < THREADS; i++) {
		make_world(&worlds[i], i, strtoull(argv[2], NULL, 10));
		if (pthread_create(&worlds[i].thread, NULL, run_world,
				   &worlds[i]))
			return 2;
	}
	for (unsigned i = 0; i < THREADS; i++)
		(void)pthread_join(worlds[i].thread, NULL);
	(void)pthread_mutex_lock(&due_lock);
	over = true;
	(void)pthread_cond_signal(&due_changed);
	(void)pthread_mutex_unlock(&due_lock);
	(void)pthread_join(killer, NULL);
	for (unsigned i = 0; i < THREADS; i++)
		finish_world(&worlds[i], argv[5]);
	(void)printf("longest step %" PRIu64 " ms\n%u deaths\n",
		     atomic_load(&longest_ns) / 1000000, deaths);
	return 0;
}
