/*
 * host.c - limits, locked memory, the mount's bdi, the service manager.
 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include <sealdisk/log.h>

#include "worker.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define FS_TYPE "fuse.sealdisk"
#define MAX_OPEN_FILES (1U << 20)

/* Percent of memory that may be dirty on our mount; 1 without. */
#define MAX_RATIO "20"

/* What host_prepare() was given. */
static struct {
	bool flusher, memory, files;
} granted = { true, true, true };

static bool
have_capability(unsigned cap)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &head, data) == 0 &&
	       (data[cap / 32].effective >> (cap % 32) & 1);
}

/*
 * Under a limit, MCL_FUTURE would make later allocations fail, which is worse
 * than memory that is not locked: keys are locked in any case (secret.h).
 */
static bool
lock_memory(void)
{
	struct rlimit rl;

	if (!have_capability(CAP_IPC_LOCK) &&
	    (getrlimit(RLIMIT_MEMLOCK, &rl) < 0 ||
	     rl.rlim_cur != RLIM_INFINITY))
		return false;
	return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

/* An open chunk is a file. */
static bool
raise_files(void)
{
	struct rlimit rl = { MAX_OPEN_FILES, MAX_OPEN_FILES };

	if (setrlimit(RLIMIT_NOFILE, &rl) == 0)
		return true;
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return false;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
	return rl.rlim_cur >= 65536;
}

static void
block_signals(void)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR1 };
	struct sigaction sa = { .sa_handler = SIG_IGN };
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaddset(&set, signals[i]);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)sigaction(SIGPIPE, &sa, NULL);
}

/* For threads that others start, too: the engine's, a library's. */
static void
small_stacks(void)
{
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) != 0)
		return;
	if (pthread_attr_setstacksize(&attr, WORKER_STACK_SIZE) == 0)
		(void)pthread_setattr_default_np(&attr);
	(void)pthread_attr_destroy(&attr);
}

void
host_prepare(void)
{
	block_signals();
	small_stacks();
	/* Our allocations would wait for the writing of pages that only we
	 * can write. */
	granted.flusher = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0;
	granted.memory = lock_memory();
	granted.files = raise_files();
}

void
host_warn(void)
{
	char what[64];

	(void)snprintf(what, sizeof(what), "%s%s%s",
		       granted.flusher ? "" : ", PR_SET_IO_FLUSHER",
		       granted.memory ? "" : ", mlockall",
		       granted.files ? "" : ", more open files");
	if (what[0])
		log_warn("the system refuses %s: `sealdisk doctor` says what "
			 "that costs",
			 what + 2);
}

unsigned
host_threads(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN) * 4;

	return n < 8 ? 8 : n > 32 ? 32 : (unsigned)n;
}

/*
 * The mount.
 */

/* As mountinfo writes a path. */
static int
escape(const char *path, char ret[static PATH_MAX])
{
	size_t len = 0;

	for (; *path; path++) {
		bool plain = !strchr(" \t\n\\", *path);

		if (len + 5 > PATH_MAX)
			return -ENAMETOOLONG;
		len += (size_t)snprintf(ret + len, 5, plain ? "%c" : "\\%03o",
					(unsigned char)*path);
	}
	ret[len] = '\0';
	return 0;
}

/* "36 35 98:0 / MOUNT rw,noatime master:1 - TYPE SOURCE rw" */
int
host_mount_device(const char *mnt, dev_t *ret)
{
	CLEANUP(free_memp) char *line = NULL;
	char want[PATH_MAX], place[PATH_MAX];
	unsigned maj, min;
	size_t cap = 0;
	int r = escape(mnt, want);
	FILE *f;

	if (r < 0)
		return r;
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	r = -ENOENT;
	while (getline(&line, &cap, f) > 0) {
		const char *type = strstr(line, " - ");

		if (!type ||
		    sscanf(line, "%*s %*s %u:%u %*s %4095s", &maj, &min,
			   place) != 3 ||
		    strcmp(place, want) != 0)
			continue;
		/* Whatever lies over ours hides it. */
		r = strncmp(type + 3, FS_TYPE " ", sizeof(FS_TYPE)) == 0
			? 0
			: -ENOENT;
		*ret = makedev(maj, min);
	}
	(void)fclose(f);
	return r;
}

static bool
write_setting(dev_t dev, const char *key, const char *value)
{
	CLEANUP(close_fdp) int fd = -1;
	char path[128];

	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/%s",
		       major(dev), minor(dev), key);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 &&
	       write(fd, value, strlen(value)) == (ssize_t)strlen(value);
}

bool
host_tune_mount(dev_t dev, size_t readahead)
{
	char kib[32];
	bool done;

	(void)snprintf(kib, sizeof(kib), "%zu", readahead / 1024);
	done = write_setting(dev, "read_ahead_kb", kib);
	/* Older kernels have no strict_limit there. */
	(void)write_setting(dev, "strict_limit", "0");
	return write_setting(dev, "max_ratio", MAX_RATIO) && done;
}

/* fusermount3 is set-uid root: the way for others. */
static int
run_fusermount(const char *mnt, bool lazy)
{
	static const char *const places[] = {
		"/usr/bin/fusermount3",
		"/bin/fusermount3",
	};
	char name[] = "fusermount3", quiet[] = "-uq", quiet_lazy[] = "-uqz";
	char end[] = "--";
	CLEANUP(free_memp) char *copy = strdup(mnt);
	char *argv[] = { name, lazy ? quiet_lazy : quiet, end, copy, NULL };
	int status = -1, r = ENOENT;
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;

	if (!copy || posix_spawnattr_init(&attr) != 0)
		return -ENOMEM;
	(void)sigemptyset(&none);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	for (size_t i = 0; r && i < sizeof(places) / sizeof(places[0]); i++)
		r = posix_spawn(&pid, places[i], NULL, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

int
host_unmount(const char *mnt, bool lazy)
{
	if (umount2(mnt, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	return errno == EPERM ? run_fusermount(mnt, lazy) : -errno;
}

/*
 * Out of memory.
 */

#define OOM_FILE "/proc/self/oom_score_adj"
#define OOM_NEVER "-1000"

int
host_keep_alive(bool never)
{
	static char before[16];
	CLEANUP(close_fdp) int fd = open(OOM_FILE, O_RDWR | O_CLOEXEC);
	const char *value = never ? OOM_NEVER : before;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (never && !before[0]) {
		n = read(fd, before, sizeof(before) - 1);
		if (n < 0)
			return -errno;
	}
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

/*
 * The service manager.
 */

void
host_notify(const char *fmt, ...)
{
#ifdef HAVE_LIBSYSTEMD
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)sd_notify(0, text);
#else
	(void)fmt;
#endif
}
